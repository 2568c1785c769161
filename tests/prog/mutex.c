/* SPDX-License-Identifier: MIT */
/*
 * Mutexes of all four types, made statically and by attribute: EDEADLK, EPERM, EBUSY, recursion
 * counts, timed locks on both clocks that time out not before their deadline, and what init
 * rejects.
 */
#include "prog.h"

static pthread_mutex_t s_normal = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t s_recursive = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static pthread_mutex_t s_check = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
static pthread_mutex_t s_adaptive = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;

static void check_deadline(pthread_mutex_t *m, clockid_t clock, int plain)
{
	struct timespec until = prog_after_ms(clock, 20), past = { 0 }, bad = { .tv_nsec = -1 };

	if (plain)
		CHECK_EQ(pthread_mutex_timedlock(m, &until), ETIMEDOUT);
	else
		CHECK_EQ(pthread_mutex_clocklock(m, clock, &until), ETIMEDOUT);
	CHECK(prog_now_ns(clock) >= (int64_t)until.tv_sec * 1000000000 + until.tv_nsec);
	CHECK_EQ(pthread_mutex_clocklock(m, clock, &past), ETIMEDOUT);
	CHECK_EQ(pthread_mutex_clocklock(m, clock, &bad), EINVAL);
}

/* The mutex is held by another thread. */
static void *finds_held(void *arg)
{
	pthread_mutex_t *m = arg;

	CHECK_EQ(pthread_mutex_trylock(m), EBUSY);
	check_deadline(m, CLOCK_REALTIME, 1);
	check_deadline(m, CLOCK_REALTIME, 0);
	check_deadline(m, CLOCK_MONOTONIC, 0);
	CHECK_EQ(pthread_mutex_trylock(m), EBUSY);
	return NULL;
}

static void *unlocks_foreign(void *arg)
{
	CHECK_EQ(pthread_mutex_unlock(arg), EPERM);
	return NULL;
}

static void *locks(void *arg)
{
	struct timespec far = prog_after_ms(CLOCK_MONOTONIC, 600000);

	CHECK_EQ(pthread_mutex_clocklock(arg, CLOCK_MONOTONIC, &far), 0);
	CHECK_EQ(pthread_mutex_unlock(arg), 0);
	return NULL;
}

static void check_type(pthread_mutex_t *m, int type, const char *name)
{
	struct timespec far = prog_after_ms(CLOCK_REALTIME, 600000);
	pthread_t t;

	CHECK_EQ(pthread_mutex_lock(m), 0);
	prog_join(prog_start(finds_held, m));
	if (type == PTHREAD_MUTEX_RECURSIVE) {
		for (int i = 0; i < 100; i++) {
			CHECK_EQ(pthread_mutex_lock(m), 0);
			CHECK_EQ(pthread_mutex_trylock(m), 0);
			CHECK_EQ(pthread_mutex_timedlock(m, &far), 0);
		}
		for (int i = 0; i < 300; i++)
			CHECK_EQ(pthread_mutex_unlock(m), 0);
		CHECK_EQ(pthread_mutex_lock(m), 0);
		CHECK_EQ(pthread_mutex_unlock(m), 0);
	} else {
		CHECK_EQ(pthread_mutex_trylock(m), EBUSY);
	}
	if (type == PTHREAD_MUTEX_ERRORCHECK) {
		CHECK_EQ(pthread_mutex_lock(m), EDEADLK);
		CHECK_EQ(pthread_mutex_timedlock(m, &far), EDEADLK);
	}
	if (type == PTHREAD_MUTEX_NORMAL || type == PTHREAD_MUTEX_ADAPTIVE_NP) {
		far = prog_after_ms(CLOCK_MONOTONIC, 10);
		/* one's own mutex: waits until the time is over */
		CHECK_EQ(pthread_mutex_clocklock(m, CLOCK_MONOTONIC, &far), ETIMEDOUT);
	} else {
		prog_join(prog_start(unlocks_foreign, m));
	}
	prog_join(prog_start(finds_held, m));
	t = prog_start(locks, m);
	prog_nap_ms(2);
	CHECK_EQ(pthread_mutex_unlock(m), 0);
	prog_join(t);
	if (type == PTHREAD_MUTEX_RECURSIVE || type == PTHREAD_MUTEX_ERRORCHECK)
		CHECK_EQ(pthread_mutex_unlock(m), EPERM);
	CHECK_EQ(pthread_mutex_trylock(m), 0);
	CHECK_EQ(pthread_mutex_destroy(m), EBUSY);
	CHECK_EQ(pthread_mutex_unlock(m), 0);
	printf("%s ok\n", name);
}

static void check_attr_type(int type, const char *name)
{
	pthread_mutexattr_t attr;
	pthread_mutex_t m;
	int got;

	CHECK_EQ(pthread_mutexattr_init(&attr), 0);
	CHECK_EQ(pthread_mutexattr_settype(&attr, type), 0);
	CHECK_EQ(pthread_mutexattr_gettype(&attr, &got), 0);
	CHECK_EQ(got, type);
	memset(&m, 0x5a, sizeof(m));
	CHECK_EQ(pthread_mutex_init(&m, &attr), 0);
	CHECK_EQ(pthread_mutexattr_destroy(&attr), 0);
	check_type(&m, type, name);
	CHECK_EQ(pthread_mutex_destroy(&m), 0);
}

/* A relay: every thread takes lock i, then hands on; proves hand-over of a contended lock. */
static pthread_mutex_t relay = PTHREAD_MUTEX_INITIALIZER;
static int holders, total;

static void *relays(void *arg)
{
	(void)arg;
	for (int i = 0; i < 500; i++) {
		pthread_mutex_lock(&relay);
		CHECK_EQ(++holders, 1);
		if (i % 50 == 0)
			sched_yield();
		total++;
		CHECK_EQ(--holders, 0);
		pthread_mutex_unlock(&relay);
	}
	return NULL;
}

int main(void)
{
	pthread_mutexattr_t attr;
	pthread_t ts[10];

	prog_init();
	check_type(&s_normal, PTHREAD_MUTEX_NORMAL, "static normal");
	check_type(&s_recursive, PTHREAD_MUTEX_RECURSIVE, "static recursive");
	check_type(&s_check, PTHREAD_MUTEX_ERRORCHECK, "static errorcheck");
	check_type(&s_adaptive, PTHREAD_MUTEX_ADAPTIVE_NP, "static adaptive");
	check_attr_type(PTHREAD_MUTEX_NORMAL, "normal");
	check_attr_type(PTHREAD_MUTEX_RECURSIVE, "recursive");
	check_attr_type(PTHREAD_MUTEX_ERRORCHECK, "errorcheck");
	check_attr_type(PTHREAD_MUTEX_ADAPTIVE_NP, "adaptive");
	pthread_mutexattr_init(&attr);
	CHECK_EQ(pthread_mutexattr_settype(&attr, 99), EINVAL);
	CHECK_EQ(pthread_mutexattr_setpshared(&attr, 99), EINVAL);
	CHECK_EQ(pthread_mutexattr_setprotocol(&attr, 99), EINVAL);
	CHECK_EQ(pthread_mutexattr_setrobust(&attr, 99), EINVAL);
	for (int i = 0; i < 10; i++)
		ts[i] = prog_start(relays, NULL);
	for (int i = 0; i < 10; i++)
		prog_join(ts[i]);
	CHECK_EQ(total, 5000);
	puts("relay ok");
	return 0;
}
