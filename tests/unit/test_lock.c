// SPDX-License-Identifier: MIT
/* core/lock.c between kernel threads. */
#include <signal.h>
#include <sys/time.h>

#include "common.h"

#define LOCKERS 4
#define LOCK_ROUNDS 300000

static struct {
	struct lock lock;
	volatile long a, b; /* under lock; equal outside */
	_Atomic(long) torn;
} ex;

static void *locker(void *arg)
{
	for (int i = 0; i < LOCK_ROUNDS; i++) {
		if (i % 4 == 0) {
			while (!gmp_trylock(&ex.lock))
				sys_yield();
		} else {
			gmp_lock(&ex.lock);
		}
		if (ex.a != ex.b)
			atomic_fetch_add(&ex.torn, 1);
		ex.a = ex.a + 1;
		if (i % 1024 == 0)
			sys_yield(); /* make others wait in the kernel */
		ex.b = ex.b + 1;
		gmp_unlock(&ex.lock);
	}
	return arg;
}

START_TEST(exclusion)
{
	pthread_t th[LOCKERS];

	for (int i = 0; i < LOCKERS; i++)
		th[i] = ut_thread(locker, NULL);
	for (int i = 0; i < LOCKERS; i++)
		ut_join(th[i]);
	ck_assert_int_eq(ex.torn, 0);
	ck_assert_int_eq(ex.a, (long)LOCKERS * LOCK_ROUNDS);
	ck_assert_int_eq(ex.b, ex.a);
	ck_assert_uint_eq(ex.lock.key, 0);
}
END_TEST

START_TEST(trylock)
{
	struct lock l = {0};

	ck_assert(gmp_trylock(&l));
	ck_assert(!gmp_trylock(&l));
	gmp_unlock(&l);
	ck_assert(gmp_trylock(&l));
	gmp_unlock(&l);
	gmp_lock(&l);
	ck_assert(!gmp_trylock(&l));
	gmp_unlock(&l);
	ck_assert_uint_eq(l.key, 0);
}
END_TEST

/* Sleepers on a held lock come through one after the other, also when they are many. */
static void *one_lock(void *arg)
{
	gmp_lock(&ex.lock);
	ex.a = ex.a + 1;
	gmp_unlock(&ex.lock);
	return arg;
}

START_TEST(sleepers)
{
	pthread_t th[8];

	for (int round = 0; round < 20; round++) {
		gmp_lock(&ex.lock);
		for (int i = 0; i < 8; i++)
			th[i] = ut_thread(one_lock, NULL);
		while (ex.lock.key != 2)
			sys_yield();
		sys_nanosleep(1000000);
		gmp_unlock(&ex.lock);
		for (int i = 0; i < 8; i++)
			ut_join(th[i]);
	}
	ck_assert_int_eq(ex.a, 8 * 20);
}
END_TEST

/* --- notes --- */

START_TEST(note_before_sleep)
{
	struct note n = {0};

	ut_host();
	gmp_noteclear(&n);
	gmp_notewakeup(&n);
	ck_assert(gmp_notesleep(&n, -1));
	ck_assert(gmp_notesleep(&n, 0)); /* stays woken until cleared */
	gmp_noteclear(&n);
	ck_assert(!gmp_notesleep(&n, 0));
}
END_TEST

START_TEST(note_timeout)
{
	struct note n = {0};
	int64_t begin;

	ut_host();
	gmp_noteclear(&n);
	begin = gmp_nanotime();
	ck_assert(!gmp_notesleep(&n, 20000000));
	ck_assert_int_ge(gmp_nanotime() - begin, 20000000);
}
END_TEST

/* A signal does not end the wait, nor make it longer. */
static _Atomic(int) interrupted;

static void interrupt(int sig)
{
	atomic_fetch_add(&interrupted, 1);
}

START_TEST(note_eintr)
{
	struct sigaction act = {.sa_handler = interrupt};
	struct itimerval every = {{0, 2000}, {0, 2000}}, off = {0};
	struct note n = {0};
	int64_t begin;

	ut_host();
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	do { /* a busy machine may be late, and then many signals are one */
		begin = gmp_nanotime();
		ck_assert(!gmp_notesleep(&n, 50000000));
		ck_assert_int_ge(gmp_nanotime() - begin, 50000000);
	} while (interrupted <= 3);
	setitimer(ITIMER_REAL, &off, NULL);
}
END_TEST

/* Two threads hand a number to and fro; what was written before the wake-up is seen after the sleep. */
#define NOTE_ROUNDS 20000

static struct {
	struct note to, back;
	long box;
} nt;

static void *note_partner(void *arg)
{
	for (int i = 0; i < NOTE_ROUNDS; i++) {
		if (!gmp_notesleep(&nt.to, -1))
			break; /* the main thread will wait in vain */
		gmp_noteclear(&nt.to);
		nt.box++;
		gmp_notewakeup(&nt.back);
	}
	return arg;
}

START_TEST(note_ping_pong)
{
	pthread_t th;

	ut_host();
	th = ut_thread(note_partner, NULL);
	for (int i = 0; i < NOTE_ROUNDS; i++) {
		nt.box = 2 * i;
		gmp_notewakeup(&nt.to);
		UT_ASSERT(gmp_notesleep(&nt.back, 30 * NSEC_PER_SEC));
		gmp_noteclear(&nt.back);
		UT_ASSERT(nt.box == 2 * i + 1);
	}
	ut_join(th);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("lock");

	tcase_add_test(tc, exclusion);
	tcase_add_test(tc, trylock);
	tcase_add_test(tc, sleepers);
	tcase_add_test(tc, note_before_sleep);
	tcase_add_test(tc, note_timeout);
	tcase_add_test(tc, note_eintr);
	tcase_add_test(tc, note_ping_pong);
	return ut_run(tc, "lock");
}
