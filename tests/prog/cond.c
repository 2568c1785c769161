/* SPDX-License-Identifier: MIT */
/*
 * Condition variables: signal wakes a waiter, broadcast all, timed waits on both clocks (by
 * attribute and by pthread_cond_clockwait) time out not early, and the mutex is held again on
 * every return.
 */
#include "prog.h"

#define WAITERS	20

static pthread_mutex_t lock = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER, other = PTHREAD_COND_INITIALIZER;
static int waiting, tickets, awake, generation;

static void *takes_ticket(void *arg)
{
	(void)arg;
	CHECK_EQ(pthread_mutex_lock(&lock), 0);
	waiting++;
	pthread_cond_signal(&other);
	while (!tickets)
		CHECK_EQ(pthread_cond_wait(&cond, &lock), 0);
	CHECK_EQ(pthread_mutex_lock(&lock), EDEADLK);	/* it is ours */
	tickets--;
	awake++;
	pthread_cond_signal(&other);
	CHECK_EQ(pthread_mutex_unlock(&lock), 0);
	return NULL;
}

static void *waits_generation(void *arg)
{
	struct timespec far = prog_after_ms(CLOCK_REALTIME, 600000);
	struct timespec mono = prog_after_ms(CLOCK_MONOTONIC, 600000);
	long how = (long)arg % 3;

	CHECK_EQ(pthread_mutex_lock(&lock), 0);
	waiting++;
	pthread_cond_signal(&other);
	while (!generation) {
		if (how == 0)
			CHECK_EQ(pthread_cond_wait(&cond, &lock), 0);
		else if (how == 1)
			CHECK_EQ(pthread_cond_timedwait(&cond, &lock, &far), 0);
		else
			CHECK_EQ(pthread_cond_clockwait(&cond, &lock, CLOCK_MONOTONIC, &mono), 0);
	}
	awake++;
	CHECK_EQ(pthread_mutex_unlock(&lock), 0);
	return NULL;
}

static void start_waiters(pthread_t *ts, void *(*fn)(void *))
{
	waiting = awake = 0;
	for (long i = 0; i < WAITERS; i++)
		ts[i] = prog_start(fn, (void *)i);
	pthread_mutex_lock(&lock);
	while (waiting < WAITERS)
		pthread_cond_wait(&other, &lock);
	pthread_mutex_unlock(&lock);
}

static void check_timeout(pthread_cond_t *c, clockid_t clock, int clockwait)
{
	struct timespec until, past = { 0 }, bad = { .tv_nsec = 1000000000 };
	int err;

	CHECK_EQ(pthread_mutex_lock(&lock), 0);
	until = prog_after_ms(clock, 25);
	do {		/* spurious wake-ups are allowed, early time-outs are not */
		if (clockwait)
			err = pthread_cond_clockwait(c, &lock, clock, &until);
		else
			err = pthread_cond_timedwait(c, &lock, &until);
	} while (err == 0);
	CHECK_EQ(err, ETIMEDOUT);
	CHECK(prog_now_ns(clock) >= (int64_t)until.tv_sec * 1000000000 + until.tv_nsec);
	CHECK_EQ(pthread_mutex_lock(&lock), EDEADLK);
	CHECK_EQ(pthread_cond_timedwait(c, &lock, &past), ETIMEDOUT);
	CHECK_EQ(pthread_cond_timedwait(c, &lock, &bad), EINVAL);
	CHECK_EQ(pthread_mutex_lock(&lock), EDEADLK);
	CHECK_EQ(pthread_mutex_unlock(&lock), 0);
}

int main(void)
{
	pthread_t ts[WAITERS];
	pthread_condattr_t attr;
	pthread_mutex_t normal = PTHREAD_MUTEX_INITIALIZER;
	struct timespec soon;
	pthread_cond_t mono;
	clockid_t clock;

	prog_init();
	CHECK_EQ(pthread_cond_signal(&cond), 0);	/* nobody there: forgotten */
	CHECK_EQ(pthread_cond_broadcast(&cond), 0);

	start_waiters(ts, takes_ticket);
	for (int i = 1; i <= WAITERS; i++) {
		pthread_mutex_lock(&lock);
		tickets = 1;
		if (i & 1)
			CHECK_EQ(pthread_cond_signal(&cond), 0);
		pthread_mutex_unlock(&lock);
		if (!(i & 1))
			CHECK_EQ(pthread_cond_signal(&cond), 0);
		pthread_mutex_lock(&lock);
		while (tickets)
			pthread_cond_wait(&other, &lock);
		CHECK_EQ(awake, i);
		pthread_mutex_unlock(&lock);
	}
	for (int i = 0; i < WAITERS; i++)
		prog_join(ts[i]);
	puts("signal ok");

	for (int round = 0; round < 20; round++) {
		generation = 0;
		start_waiters(ts, waits_generation);
		pthread_mutex_lock(&lock);
		generation = 1;
		CHECK_EQ(pthread_cond_broadcast(&cond), 0);
		CHECK_EQ(awake, 0);
		pthread_mutex_unlock(&lock);
		for (int i = 0; i < WAITERS; i++)
			prog_join(ts[i]);
		CHECK_EQ(awake, WAITERS);
	}
	puts("broadcast ok");

	CHECK_EQ(pthread_condattr_init(&attr), 0);
	CHECK_EQ(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC), 0);
	CHECK_EQ(pthread_condattr_getclock(&attr, &clock), 0);
	CHECK_EQ(clock, CLOCK_MONOTONIC);
	CHECK_EQ(pthread_condattr_setclock(&attr, CLOCK_PROCESS_CPUTIME_ID), EINVAL);
	memset(&mono, 0x5a, sizeof(mono));
	CHECK_EQ(pthread_cond_init(&mono, &attr), 0);
	CHECK_EQ(pthread_condattr_destroy(&attr), 0);
	check_timeout(&cond, CLOCK_REALTIME, 0);
	check_timeout(&cond, CLOCK_REALTIME, 1);
	check_timeout(&cond, CLOCK_MONOTONIC, 1);
	check_timeout(&mono, CLOCK_MONOTONIC, 0);
	check_timeout(&mono, CLOCK_REALTIME, 1);
	pthread_mutex_lock(&normal);
	soon = prog_after_ms(CLOCK_MONOTONIC, 5);
	CHECK_EQ(pthread_cond_timedwait(&mono, &normal, &soon), ETIMEDOUT);
	pthread_mutex_unlock(&normal);
	CHECK_EQ(pthread_cond_destroy(&mono), 0);
	puts("timeouts ok");

	CHECK_EQ(pthread_mutex_unlock(&lock), EPERM);
	CHECK_EQ(pthread_cond_wait(&cond, &lock), EPERM);	/* errorcheck mutex not held */
	CHECK_EQ(pthread_cond_destroy(&cond), 0);
	puts("errors ok");
	return 0;
}
