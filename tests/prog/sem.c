/* SPDX-License-Identifier: MIT */
/*
 * POSIX semaphores: counts, EAGAIN, EOVERFLOW, EINVAL, timed waits on both clocks, waiters woken
 * one per post, posts from many threads, a named semaphore.
 */
#include "prog.h"

#include <fcntl.h>
#include <limits.h>
#include <semaphore.h>

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
