// SPDX-License-Identifier: MIT
/* core/park.c: the parker protocol, with kernel threads that are no Gs and with Gs that are never run. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "common.h"

static uint64_t state_of(struct parker *pk)
{
	return pk->word & ((1 << PARKER_STATE_BITS) - 1);
}

static bool wake(struct parker *pk, uint64_t ticket, enum park_result why)
{
	bool won;

	gmp_enter();
	won = gmp_wake(pk, ticket, why);
	gmp_leave();
	return won;
}

START_TEST(no_g_here)
{
	struct parker foreign = {0};

	ck_assert_ptr_null(getg());
	ck_assert_ptr_eq(gmp_my_parker(&foreign), &foreign);
}
END_TEST

START_TEST(woken_before_commit)
{
	struct parker pk = {0};

	ut_host();
	for (int why = PARK_READY; why <= PARK_INTR; why++) {
		uint64_t t = gmp_park_prepare(&pk);

		ck_assert_uint_eq(state_of(&pk), PARKER_PREPARED);
		ck_assert(wake(&pk, t, (enum park_result)why));
		ck_assert(!wake(&pk, t, PARK_READY)); /* one wake-up for one wait */
		ck_assert_int_eq(gmp_park_commit(&pk, t, GMP_NO_DEADLINE, "test"), why);
		ck_assert_uint_eq(state_of(&pk), PARKER_IDLE);
		ck_assert(!wake(&pk, t, PARK_READY)); /* over */
	}
}
END_TEST

START_TEST(tickets_grow)
{
	struct parker pk = {0};
	uint64_t last = 0;

	for (int i = 0; i < 100; i++) {
		uint64_t t = gmp_park_prepare(&pk);

		ck_assert_uint_gt(t, last);
		last = t;
		gmp_park_abort(&pk, t);
		ck_assert_uint_eq(state_of(&pk), PARKER_IDLE);
		ck_assert(!wake(&pk, t, PARK_READY));
	}
}
END_TEST

/* abort after a waker was faster: the wake-up is dropped, the next wait is not ended by it. */
START_TEST(abort_after_wake)
{
	struct parker pk = {0};
	uint64_t t = gmp_park_prepare(&pk), t2;

	ut_host();
	ck_assert(wake(&pk, t, PARK_READY));
	gmp_park_abort(&pk, t);
	ck_assert_uint_eq(state_of(&pk), PARKER_IDLE);
	t2 = gmp_park_prepare(&pk);
	ck_assert(!wake(&pk, t, PARK_READY));
	ck_assert_int_eq(gmp_park_commit(&pk, t2, gmp_nanotime() + 1000000, "test"), PARK_TIMEOUT);
}
END_TEST

/* A waker with the ticket of an older wait does nothing to a thread that sleeps in a new one. */
static struct {
	struct parker pk;
	_Atomic(uint32_t) round, result;
	uint64_t old, now;
} st;

static void *stale_sleeper(void *arg)
{
	st.old = gmp_park_prepare(&st.pk);
	gmp_park_commit(&st.pk, st.old, gmp_nanotime() + 1000000, "test");
	st.now = gmp_park_prepare(&st.pk);
	atomic_store(&st.round, 1);
	atomic_store(&st.result, 1 + (uint32_t)gmp_park_commit(&st.pk, st.now, GMP_NO_DEADLINE, "test"));
	return arg;
}

START_TEST(stale_ticket)
{
	pthread_t th;

	ut_host();
	th = ut_thread(stale_sleeper, NULL);
	ut_spin_until(&st.round, 0);
	while (state_of(&st.pk) != PARKER_PARKED)
		sys_yield();
	ck_assert(!wake(&st.pk, st.old, PARK_READY));
	sys_nanosleep(5000000);
	ck_assert_uint_eq(st.result, 0);
	ck_assert_uint_eq(state_of(&st.pk), PARKER_PARKED);
	ck_assert(wake(&st.pk, st.now, PARK_READY));
	ut_join(th);
	ck_assert_uint_eq(st.result, 1 + PARK_READY);
}
END_TEST

/* Of several wakers exactly one wins, and the sleeper gets that one's reason. */
#define WAKERS 3
#define RACE_ROUNDS 20000u

static struct {
	struct parker pk;
	_Atomic(uint64_t) ticket;
	_Atomic(uint32_t) round, wins, winner, ready;
} rc;

static void *racer(void *arg)
{
	uint32_t me = (uint32_t)(uintptr_t)arg;

	for (uint32_t i = 1; i <= RACE_ROUNDS; i++) {
		ut_spin_until(&rc.round, i - 1);
		if (wake(&rc.pk, atomic_load(&rc.ticket), (enum park_result)me)) {
			atomic_fetch_add(&rc.wins, 1);
			atomic_store(&rc.winner, me);
		}
		atomic_fetch_add(&rc.ready, 1);
	}
	return arg;
}

START_TEST(one_winner)
{
	pthread_t th[WAKERS];

	ut_host();
	for (int i = 0; i < WAKERS; i++)
		th[i] = ut_thread(racer, (void *)(uintptr_t)i);
	for (uint32_t i = 1; i <= RACE_ROUNDS; i++) {
		enum park_result r;
		uint64_t t = gmp_park_prepare(&rc.pk);

		atomic_store(&rc.ticket, t);
		atomic_store(&rc.round, i);
		r = gmp_park_commit(&rc.pk, t, GMP_NO_DEADLINE, "test");
		while (atomic_load(&rc.ready) != i * WAKERS)
			sys_yield();
		UT_ASSERT(rc.wins == i);
		UT_ASSERT(rc.winner == (uint32_t)r);
	}
	for (int i = 0; i < WAKERS; i++)
		ut_join(th[i]);
}
END_TEST

/* claim says what is left to do: 1 for a G that has not gone yet, 2 for one that must be made runnable. */
START_TEST(claim_of_g)
{
	struct g *gp = ut_fake_gs(1);
	uint64_t t = gmp_park_prepare(&gp->parker);

	ck_assert_int_eq(gmp_wake_claim(&gp->parker, t + 1, PARK_READY), 0);
	ck_assert_int_eq(gmp_wake_claim(&gp->parker, t, PARK_TIMEOUT), 1);
	ck_assert_uint_eq(state_of(&gp->parker), PARKER_WOKEN + PARK_TIMEOUT);
	ck_assert_int_eq(gmp_wake_claim(&gp->parker, t, PARK_READY), 0);
	t++;
	gp->parker.word = t << PARKER_STATE_BITS | PARKER_PARKED;
	ck_assert_int_eq(gmp_wake_claim(&gp->parker, t, PARK_READY), 2);
	ck_assert_int_eq(gmp_wake_claim(&gp->parker, t, PARK_READY), 0);
}
END_TEST

/* interrupt ends whatever wait there is, and only that; a parked G goes to the global queue of a thread without P. */
START_TEST(interrupt_g)
{
	struct g *gp = ut_fake_gs(1);
	uint64_t t;

	ut_host();
	gmp_enter();
	ck_assert(!gmp_interrupt(gp));
	t = gmp_park_prepare(&gp->parker);
	ck_assert(gmp_interrupt(gp));
	ck_assert_uint_eq(state_of(&gp->parker), PARKER_WOKEN + PARK_INTR);
	ck_assert(!gmp_interrupt(gp));
	ck_assert_int_eq(sched.runqsize, 0);
	gp->parker.word = (t + 1) << PARKER_STATE_BITS | PARKER_PARKED;
	gp->status = G_WAITING;
	ck_assert(gmp_interrupt(gp));
	ck_assert_int_eq(sched.runqsize, 1);
	ck_assert_ptr_eq(sched.runqhead, gp);
	ck_assert_uint_eq(gp->status, G_RUNNABLE);
	gmp_leave();
}
END_TEST

/* --- sleeping without a G --- */

START_TEST(sleep_foreign)
{
	int64_t begin;

	ut_host();
	begin = gmp_nanotime();
	ck_assert_int_eq(gmp_sleep_until(begin + 20000000), 0);
	ck_assert_int_ge(gmp_nanotime() - begin, 20000000);
	ck_assert_int_eq(gmp_sleep_until(begin), 0); /* past */
	ck_assert_int_eq(gmp_sleep_until(1), 0);
	ck_assert_uint_eq(gmp_tls.inshim, 0);
}
END_TEST

static void nothing(int sig)
{
	(void)sig;
}

static _Atomic(uint32_t) sleeping_tid;
static int sleep_result;

static void *interrupted(void *arg)
{
	atomic_store(&sleeping_tid, (uint32_t)sys_gettid());
	sleep_result = gmp_sleep_until(gmp_nanotime() + 30 * NSEC_PER_SEC);
	atomic_store(&sleeping_tid, 0);
	return arg;
}

START_TEST(sleep_interrupted)
{
	struct sigaction sa;
	pthread_t th;
	uint32_t tid;

	ut_host();
	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = nothing;
	ck_assert_int_eq(sigaction(SIGUSR1, &sa, NULL), 0);
	th = ut_thread(interrupted, NULL);
	ut_spin_until(&sleeping_tid, 0);
	while ((tid = atomic_load(&sleeping_tid)) != 0) { /* it may not sleep yet: until it hears */
		pthread_kill(th, SIGUSR1);
		sys_nanosleep(1000000);
	}
	ut_join(th);
	ck_assert_int_eq(sleep_result, -EINTR);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("park");

	tcase_add_test(tc, no_g_here);
	tcase_add_test(tc, woken_before_commit);
	tcase_add_test(tc, tickets_grow);
	tcase_add_test(tc, abort_after_wake);
	tcase_add_test(tc, stale_ticket);
	tcase_add_test(tc, one_winner);
	tcase_add_test(tc, claim_of_g);
	tcase_add_test(tc, interrupt_g);
	tcase_add_test(tc, sleep_foreign);
	tcase_add_test(tc, sleep_interrupted);
	return ut_run(tc, "park");
}
