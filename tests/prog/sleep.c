/* SPDX-License-Identifier: MIT */
/*
 * Sleeping: never shorter than asked, relative and absolute on both clocks, EINVAL cases, zero,
 * usleep, sleep's result, 500 sleepers at once wake in their time and a sleeper does not stop the
 * others.
 */
#include "prog.h"

#define SLEEPERS	500

static int64_t mono(void)
{
	return prog_now_ns(CLOCK_MONOTONIC);
}

static void *sleeps(void *arg)
{
	int64_t ns = (int64_t)(long)arg * 100000, before = mono();
	struct timespec ts = { .tv_nsec = ns };

	CHECK_EQ(nanosleep(&ts, NULL), 0);
	CHECK(mono() - before >= ns);
	return NULL;
}

static void check_absolute(clockid_t clock)
{
	struct timespec until = prog_after_ms(clock, 15), past = { 1, 0 };

	CHECK_EQ(clock_nanosleep(clock, TIMER_ABSTIME, &until, NULL), 0);
	CHECK(prog_now_ns(clock) >= (int64_t)until.tv_sec * 1000000000 + until.tv_nsec);
	CHECK_EQ(clock_nanosleep(clock, TIMER_ABSTIME, &past, NULL), 0);
}

static void *checks(void *arg)
{
	struct timespec ts = { .tv_nsec = 12345678 }, left = { 7, 7 };
	struct timespec negative = { .tv_sec = -1 }, big = { .tv_nsec = 1000000000 }, zero = { 0 };
	int64_t before;

	(void)arg;
	before = mono();
	CHECK_EQ(nanosleep(&ts, &left), 0);
	CHECK(mono() - before >= 12345678);
	CHECK(left.tv_sec == 7 && left.tv_nsec == 7);		/* untouched unless interrupted */
	before = mono();
	CHECK_EQ(clock_nanosleep(CLOCK_REALTIME, 0, &ts, NULL), 0);
	CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL), 0);
	CHECK(mono() - before >= 2 * 12345678);
	check_absolute(CLOCK_REALTIME);
	check_absolute(CLOCK_MONOTONIC);
	check_absolute(CLOCK_BOOTTIME);
	CHECK_EQ(nanosleep(&zero, NULL), 0);

	CHECK_FAILS(nanosleep(&negative, NULL), EINVAL);
	CHECK_FAILS(nanosleep(&big, NULL), EINVAL);
	CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &negative, NULL), EINVAL);
	CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &big, NULL), EINVAL);
	CHECK_EQ(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &ts, NULL), EINVAL);
	CHECK_EQ(clock_nanosleep(12345, 0, &ts, NULL), EINVAL);

	before = mono();
	CHECK_EQ(usleep(5000), 0);
	CHECK(mono() - before >= 5000000);
	CHECK_EQ(usleep(0), 0);
	before = mono();
	CHECK_EQ(sleep(1), 0);
	CHECK(mono() - before >= 1000000000);
	CHECK_EQ(sleep(0), 0);
	return NULL;
}

/* Makes progress while everybody else sleeps. */
static void *counts(void *arg)
{
	for (long i = 0; i < 1000; i++) {
		++*(long *)arg;
		sched_yield();
	}
	return NULL;
}

int main(void)
{
	static pthread_t ts[SLEEPERS];
	pthread_t t;
	long n = 0;

	prog_init();
	t = prog_start(checks, NULL);
	for (long i = 0; i < SLEEPERS; i++)
		ts[i] = prog_start(sleeps, (void *)(i * 7919 % SLEEPERS));
	prog_join(prog_start(counts, &n));
	CHECK_EQ(n, 1000);
	for (int i = 0; i < SLEEPERS; i++)
		prog_join(ts[i]);
	puts("sleepers ok");
	prog_join(t);
	puts("calls ok");
	checks(NULL);
	puts("main ok");
	return 0;
}
