/* SPDX-License-Identifier: MIT */
/*
 * POSIX semaphores: counts, EAGAIN, EOVERFLOW, EINVAL, timed waits on both clocks, waiters woken
 * one per post, posts from many threads, no token lost between them, timeouts and handlers; a named semaphore.
 */
#include "prog.h"

#include <fcntl.h>
#include <limits.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>

static sem_t sem, ack;

static int value_of(sem_t *s)
{
	int v;

	CHECK_EQ(sem_getvalue(s, &v), 0);
	return v;
}

static void check_timeout(clockid_t clock, int plain)
{
	struct timespec until = prog_after_ms(clock, 20), past = { 0 },
			bad = { .tv_nsec = 1000000000 };

	if (plain)
		CHECK_FAILS(sem_timedwait(&sem, &until), ETIMEDOUT);
	else
		CHECK_FAILS(sem_clockwait(&sem, clock, &until), ETIMEDOUT);
	CHECK(prog_now_ns(clock) >= (int64_t)until.tv_sec * 1000000000 + until.tv_nsec);
	CHECK_FAILS(sem_clockwait(&sem, clock, &past), ETIMEDOUT);
	CHECK_FAILS(sem_clockwait(&sem, clock, &bad), EINVAL);
}

static void *waits(void *arg)
{
	struct timespec real = prog_after_ms(CLOCK_REALTIME, 600000);
	struct timespec mono = prog_after_ms(CLOCK_MONOTONIC, 600000);

	switch ((long)arg % 3) {
	case 0:
		CHECK_EQ(sem_wait(&sem), 0);
		break;
	case 1:
		CHECK_EQ(sem_timedwait(&sem, &real), 0);
		break;
	default:
		CHECK_EQ(sem_clockwait(&sem, CLOCK_MONOTONIC, &mono), 0);
	}
	CHECK_EQ(sem_post(&ack), 0);
	return NULL;
}

/* Timed waits that end by a token, a timeout or a handler, all at once: no token is lost or made. */
static _Atomic(int) taken, posting;

static void on_signal(int sig)
{
	(void)sig;
}

static void *takes(void *arg)
{
	for (unsigned i = 0; posting > 0; i++) {
		struct timespec end;

		CHECK_EQ(clock_gettime(CLOCK_REALTIME, &end), 0);
		end.tv_nsec += (long)(i * 7919 % 200000);
		if (end.tv_nsec >= 1000000000) {
			end.tv_nsec -= 1000000000;
			end.tv_sec++;
		}
		if (sem_timedwait(&sem, &end) == 0)
			taken++;
		else
			CHECK(errno == ETIMEDOUT || errno == EINTR);
	}
	return arg;
}

static void *gives(void *arg)
{
	pthread_t *takers = arg;

	for (int i = 0; i < 2000; i++) {
		CHECK_EQ(sem_post(&sem), 0);
		if (i % 16 == 0)
			CHECK_EQ(pthread_kill(takers[i / 16 % 8], SIGUSR1), 0);
		if (i % 3 == 0)
			sched_yield();
	}
	posting--;
	return NULL;
}

static void check_tokens(void)
{
	struct sigaction act = { .sa_handler = on_signal };
	pthread_t takers[8], givers[4];

	CHECK_EQ(sigaction(SIGUSR1, &act, NULL), 0);
	posting = 4;
	for (int i = 0; i < 8; i++)
		takers[i] = prog_start(takes, NULL);
	for (int i = 0; i < 4; i++)
		givers[i] = prog_start(gives, takers);
	for (int i = 0; i < 4; i++)
		prog_join(givers[i]);
	for (int i = 0; i < 8; i++)
		prog_join(takers[i]);
	while (sem_trywait(&sem) == 0)
		taken++;
	CHECK_EQ(taken, 8000);
	puts("tokens ok");
}

/* Who got the token may destroy the semaphore at once, also its memory. */
static void *posts_one(void *arg)
{
	CHECK_EQ(sem_post(*(sem_t *_Atomic *)arg), 0);
	return NULL;
}

static void check_destroy(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (int i = 0; i < 300; i++) {
		sem_t *_Atomic s = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		pthread_t t;

		CHECK(s != MAP_FAILED);
		CHECK_EQ(sem_init(s, 0, 0), 0);
		t = prog_start(posts_one, (void *)&s);
		CHECK_EQ(sem_wait(s), 0);
		CHECK_EQ(sem_destroy(s), 0);
		CHECK_EQ(munmap(s, page), 0);
		prog_join(t);
	}
	puts("destroy ok");
}

static void *posts(void *arg)
{
	for (int i = 0; i < 1000; i++)
		CHECK_EQ(sem_post(arg), 0);
	return NULL;
}

int main(void)
{
	struct timespec past = { 0 };
	pthread_t ts[30];
	sem_t *named;
	char name[64];

	prog_init();
	CHECK_EQ(sem_init(&sem, 0, 3), 0);
	CHECK_EQ(sem_init(&ack, 0, 0), 0);
	CHECK_EQ(value_of(&sem), 3);
	CHECK_EQ(sem_wait(&sem), 0);
	CHECK_EQ(sem_trywait(&sem), 0);
	CHECK_EQ(sem_timedwait(&sem, &past), 0);	/* free: the deadline does not matter */
	CHECK_FAILS(sem_trywait(&sem), EAGAIN);
	CHECK_EQ(value_of(&sem), 0);
	puts("counts ok");

	check_timeout(CLOCK_REALTIME, 1);
	check_timeout(CLOCK_REALTIME, 0);
	check_timeout(CLOCK_MONOTONIC, 0);
	CHECK_FAILS(sem_clockwait(&sem, CLOCK_PROCESS_CPUTIME_ID, &past), EINVAL);
	CHECK_EQ(value_of(&sem), 0);
	puts("timeouts ok");

	for (long i = 0; i < 30; i++)
		ts[i] = prog_start(waits, (void *)i);
	for (int i = 0; i < 30; i++) {
		CHECK_EQ(sem_post(&sem), 0);
		CHECK_EQ(sem_wait(&ack), 0);
		CHECK_EQ(value_of(&ack), 0);
	}
	for (int i = 0; i < 30; i++)
		prog_join(ts[i]);
	CHECK_EQ(value_of(&sem), 0);
	puts("waiters ok");

	for (int i = 0; i < 8; i++)
		ts[i] = prog_start(posts, &sem);
	for (int i = 0; i < 8000; i++)
		CHECK_EQ(sem_wait(&sem), 0);
	for (int i = 0; i < 8; i++)
		prog_join(ts[i]);
	CHECK_FAILS(sem_trywait(&sem), EAGAIN);
	puts("posts ok");

	check_tokens();
	check_destroy();
	CHECK_EQ(value_of(&sem), 0);
	CHECK_EQ(sem_destroy(&sem), 0);
	CHECK_FAILS(sem_init(&sem, 0, (unsigned int)SEM_VALUE_MAX + 1), EINVAL);
	CHECK_EQ(sem_init(&sem, 0, SEM_VALUE_MAX), 0);
	CHECK_FAILS(sem_post(&sem), EOVERFLOW);
	CHECK_EQ(value_of(&sem), SEM_VALUE_MAX);
	puts("limits ok");

	snprintf(name, sizeof(name), "/gmpshim-test-%d", (int)getpid());
	named = sem_open(name, O_CREAT | O_EXCL, 0600, 1);
	if (named != SEM_FAILED) {	/* no /dev/shm in some sandboxes */
		CHECK(sem_open(name, O_CREAT | O_EXCL, 0600, 1) == SEM_FAILED && errno == EEXIST);
		CHECK_EQ(sem_wait(named), 0);
		CHECK_FAILS(sem_trywait(named), EAGAIN);
		ts[0] = prog_start(posts, named);
		for (int i = 0; i < 1000; i++)
			CHECK_EQ(sem_wait(named), 0);
		prog_join(ts[0]);
		CHECK_EQ(sem_close(named), 0);
		CHECK_EQ(sem_unlink(name), 0);
	}
	puts("named ok");
	return 0;
}
