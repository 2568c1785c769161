/* SPDX-License-Identifier: MIT */
/*
 * pthread_tryjoin_np, pthread_timedjoin_np and pthread_clockjoin_np: EBUSY, ETIMEDOUT not before
 * the deadline on either clock, then the value; a timed-out join leaves the thread joinable.
 */
#include "prog.h"

#include <semaphore.h>

static sem_t go;

static void *waits_go(void *arg)
{
	CHECK_EQ(sem_wait(&go), 0);
	return arg;
}

static void check_timeout(pthread_t t, clockid_t clock, int plain)
{
	struct timespec until = prog_after_ms(clock, 30);
	int64_t until_ns = (int64_t)until.tv_sec * 1000000000 + until.tv_nsec;
	void *ret = (void *)0x11;

	if (plain)
		CHECK_EQ(pthread_timedjoin_np(t, &ret, &until), ETIMEDOUT);
	else
		CHECK_EQ(pthread_clockjoin_np(t, &ret, clock, &until), ETIMEDOUT);
	CHECK(prog_now_ns(clock) >= until_ns);
	CHECK(ret == (void *)0x11);
}

int main(void)
{
	struct timespec far, past = { 0 };
	void *ret = NULL;
	pthread_t t;
	int err;

	prog_init();
	sem_init(&go, 0, 0);

	t = prog_start(waits_go, (void *)0x77);
	for (int i = 0; i < 100; i++)
		CHECK_EQ(pthread_tryjoin_np(t, &ret), EBUSY);
	CHECK_EQ(pthread_tryjoin_np(pthread_self(), NULL), EBUSY);
	check_timeout(t, CLOCK_REALTIME, 1);
	check_timeout(t, CLOCK_REALTIME, 0);
	check_timeout(t, CLOCK_MONOTONIC, 0);
	CHECK_EQ(pthread_timedjoin_np(t, &ret, &past), ETIMEDOUT);
	CHECK_EQ(pthread_clockjoin_np(t, &ret, CLOCK_PROCESS_CPUTIME_ID, &past), EINVAL);
	CHECK_EQ(pthread_timedjoin_np(pthread_self(), &ret, &past), EDEADLK);
	CHECK_EQ(pthread_tryjoin_np(t, &ret), EBUSY);
	puts("timeouts ok");

	sem_post(&go);
	while ((err = pthread_tryjoin_np(t, &ret)) == EBUSY)
		sched_yield();
	CHECK_EQ(err, 0);
	CHECK(ret == (void *)0x77);
	puts("tryjoin ok");

	for (int i = 0; i < 200; i++) {
		clockid_t clock = i & 1 ? CLOCK_MONOTONIC : CLOCK_REALTIME;

		t = prog_start(waits_go, (void *)(long)i);
		far = prog_after_ms(clock, 600000);
		sem_post(&go);
		if (i % 3 == 0 && clock == CLOCK_REALTIME)
			CHECK_EQ(pthread_timedjoin_np(t, &ret, &far), 0);
		else
			CHECK_EQ(pthread_clockjoin_np(t, &ret, clock, &far), 0);
		CHECK(ret == (void *)(long)i);
	}
	t = prog_start(waits_go, (void *)5);
	sem_post(&go);
	CHECK_EQ(pthread_timedjoin_np(t, &ret, NULL), 0);	/* no deadline: as pthread_join */
	CHECK(ret == (void *)5);
	puts("timed joins ok");

	t = prog_start(waits_go, NULL);
	CHECK_EQ(pthread_detach(t), 0);
	CHECK_EQ(pthread_timedjoin_np(t, &ret, &past), EINVAL);
	sem_post(&go);
	puts("detached ok");
	return 0;
}
