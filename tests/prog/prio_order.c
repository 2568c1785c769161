/* SPDX-License-Identifier: MIT */
/*
 * Threads with real-time priorities that wait on a futex, and are moved to another, are woken by priority, and in the
 * order of their coming among equals; those without one come last. All wait queues are of this kind.
 */
#include "prog.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>

#define THREADS 8

static const int prios[THREADS] = {10, 0, 30, 20, 30, 0, 5, 20};

static _Atomic int word, moved_to, woken;

static void *waits(void *arg)
{
	CHECK_EQ(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL), 0);
	printf("thread %ld, priority %d\n", (long)arg, prios[(long)arg]);
	woken++;
	return arg;
}

static long move(void)
{
	return syscall(SYS_futex, &word, FUTEX_REQUEUE_PRIVATE, 0, (long)INT_MAX, &moved_to);
}

int main(void)
{
	struct sched_param param = {.sched_priority = 50};
	pthread_t ts[THREADS];
	pthread_attr_t attr;

	prog_init();
	if (pthread_setschedparam(pthread_self(), SCHED_FIFO, &param) != 0) {
		printf("no real-time priorities here\n");
		return 77;
	}
	for (long i = 0; i < THREADS; i++) {
		param.sched_priority = prios[i];
		pthread_attr_init(&attr);
		pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
		pthread_attr_setschedpolicy(&attr, prios[i] ? SCHED_FIFO : SCHED_OTHER);
		pthread_attr_setschedparam(&attr, &param);
		CHECK_EQ(pthread_create(&ts[i], &attr, waits, (void *)i), 0);
		pthread_attr_destroy(&attr);
		while (move() != 1) /* until it waits */
			usleep(1000);
	}
	for (int i = 0; i < THREADS; i++) {
		CHECK_EQ(syscall(SYS_futex, &moved_to, FUTEX_WAKE_PRIVATE, 1), 1);
		while (woken <= i)
			usleep(1000);
	}
	for (int i = 0; i < THREADS; i++)
		prog_join(ts[i]);
	return 0;
}
