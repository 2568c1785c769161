/* SPDX-License-Identifier: MIT */
/*
 * Read-write locks: sharing, exclusion, EBUSY, EDEADLK, timed and clock variants, writer
 * preference by attribute, static initialisers, and a stress run whose invariant every reader
 * checks.
 */
#include "prog.h"

#include <semaphore.h>

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_rwlock_t prefer_writer = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static sem_t ready, go;

static void check_deadline(int (*fn)(pthread_rwlock_t *, clockid_t, const struct timespec *),
			   clockid_t clock)
{
	struct timespec until = prog_after_ms(clock, 15), past = { 0 }, bad = { .tv_nsec = -5 };

	CHECK_EQ(fn(&lock, clock, &until), ETIMEDOUT);
	CHECK(prog_now_ns(clock) >= (int64_t)until.tv_sec * 1000000000 + until.tv_nsec);
	CHECK_EQ(fn(&lock, clock, &past), ETIMEDOUT);
	CHECK_EQ(fn(&lock, clock, &bad), EINVAL);
}

static void *finds_write_held(void *arg)
{
	struct timespec until = prog_after_ms(CLOCK_REALTIME, 5);

	(void)arg;
	CHECK_EQ(pthread_rwlock_tryrdlock(&lock), EBUSY);
	CHECK_EQ(pthread_rwlock_trywrlock(&lock), EBUSY);
	CHECK_EQ(pthread_rwlock_timedrdlock(&lock, &until), ETIMEDOUT);
	CHECK_EQ(pthread_rwlock_timedwrlock(&lock, &until), ETIMEDOUT);
	check_deadline(pthread_rwlock_clockrdlock, CLOCK_REALTIME);
	check_deadline(pthread_rwlock_clockrdlock, CLOCK_MONOTONIC);
	check_deadline(pthread_rwlock_clockwrlock, CLOCK_REALTIME);
	check_deadline(pthread_rwlock_clockwrlock, CLOCK_MONOTONIC);
	return NULL;
}

static void *finds_read_held(void *arg)
{
	(void)arg;
	CHECK_EQ(pthread_rwlock_trywrlock(&lock), EBUSY);
	check_deadline(pthread_rwlock_clockwrlock, CLOCK_MONOTONIC);
	CHECK_EQ(pthread_rwlock_tryrdlock(&lock), 0);
	CHECK_EQ(pthread_rwlock_unlock(&lock), 0);
	CHECK_EQ(pthread_rwlock_rdlock(&lock), 0);
	CHECK_EQ(pthread_rwlock_unlock(&lock), 0);
	return NULL;
}

static void *shares(void *arg)
{
	(void)arg;
	CHECK_EQ(pthread_rwlock_rdlock(&lock), 0);
	sem_post(&ready);
	CHECK_EQ(sem_wait(&go), 0);
	CHECK_EQ(pthread_rwlock_unlock(&lock), 0);
	return NULL;
}

static void *writes_once(void *arg)
{
	CHECK_EQ(pthread_rwlock_wrlock(arg), 0);
	CHECK_EQ(pthread_rwlock_unlock(arg), 0);
	return NULL;
}

static void check_basic(void)
{
	pthread_t ts[10], w;

	CHECK_EQ(pthread_rwlock_wrlock(&lock), 0);
	prog_join(prog_start(finds_write_held, NULL));
	CHECK_EQ(pthread_rwlock_wrlock(&lock), EDEADLK);
	CHECK_EQ(pthread_rwlock_rdlock(&lock), EDEADLK);
	CHECK_EQ(pthread_rwlock_tryrdlock(&lock), EBUSY);
	CHECK_EQ(pthread_rwlock_unlock(&lock), 0);
	CHECK_EQ(pthread_rwlock_rdlock(&lock), 0);
	CHECK_EQ(pthread_rwlock_rdlock(&lock), 0);
	prog_join(prog_start(finds_read_held, NULL));
	CHECK_EQ(pthread_rwlock_unlock(&lock), 0);
	CHECK_EQ(pthread_rwlock_trywrlock(&lock), EBUSY);
	CHECK_EQ(pthread_rwlock_unlock(&lock), 0);
	puts("basic ok");

	for (int i = 0; i < 10; i++)
		ts[i] = prog_start(shares, NULL);
	for (int i = 0; i < 10; i++)
		sem_wait(&ready);		/* all hold it for reading at once */
	w = prog_start(writes_once, &lock);
	for (int i = 0; i < 10; i++)
		sem_post(&go);
	for (int i = 0; i < 10; i++)
		prog_join(ts[i]);
	prog_join(w);
	puts("shared ok");
}

/* With writer preference a waiting writer keeps new readers out. */
static void check_preference(void)
{
	pthread_t w;

	CHECK_EQ(pthread_rwlock_rdlock(&prefer_writer), 0);
	CHECK_EQ(pthread_rwlock_tryrdlock(&prefer_writer), 0);
	CHECK_EQ(pthread_rwlock_unlock(&prefer_writer), 0);
	w = prog_start(writes_once, &prefer_writer);
	while (pthread_rwlock_tryrdlock(&prefer_writer) == 0) {
		CHECK_EQ(pthread_rwlock_unlock(&prefer_writer), 0);
		sched_yield();
	}
	CHECK_EQ(pthread_rwlock_tryrdlock(&prefer_writer), EBUSY);
	CHECK_EQ(pthread_rwlock_unlock(&prefer_writer), 0);
	prog_join(w);
	CHECK_EQ(pthread_rwlock_tryrdlock(&prefer_writer), 0);
	CHECK_EQ(pthread_rwlock_unlock(&prefer_writer), 0);
	puts("preference ok");
}

static long first, second;		/* equal whenever nobody writes */
static int rounds;
static pthread_rwlock_t *stressed;

static void *stresses(void *arg)
{
	unsigned int seed = (unsigned int)(long)arg + 17;
	long writes = 0;

	for (int i = 0; i < rounds; i++) {
		struct timespec soon = prog_after_ms(CLOCK_MONOTONIC, 1);

		seed = seed * 1103515245u + 12345u;
		if ((seed >> 16) % 4 == 0) {
			if ((seed >> 20) % 4 == 0) {
				if (pthread_rwlock_clockwrlock(stressed, CLOCK_MONOTONIC, &soon))
					continue;
			} else {
				CHECK_EQ(pthread_rwlock_wrlock(stressed), 0);
			}
			CHECK_EQ(first, second);
			first++;
			if ((seed >> 24) % 16 == 0)
				sched_yield();
			second++;
			writes++;
		} else {
			if ((seed >> 20) % 4 == 0) {
				if (pthread_rwlock_clockrdlock(stressed, CLOCK_MONOTONIC, &soon))
					continue;
			} else {
				CHECK_EQ(pthread_rwlock_rdlock(stressed), 0);
			}
			CHECK_EQ(first, second);
			if ((seed >> 24) % 16 == 0)
				sched_yield();
			CHECK_EQ(first, second);
		}
		CHECK_EQ(pthread_rwlock_unlock(stressed), 0);
	}
	return (void *)writes;
}

static void check_stress(int kind, const char *name)
{
	pthread_rwlockattr_t attr;
	pthread_rwlock_t l;
	pthread_t ts[10];
	long writes = 0;

	CHECK_EQ(pthread_rwlockattr_init(&attr), 0);
	CHECK_EQ(pthread_rwlockattr_setkind_np(&attr, kind), 0);
	memset(&l, 0x5a, sizeof(l));
	CHECK_EQ(pthread_rwlock_init(&l, &attr), 0);
	CHECK_EQ(pthread_rwlockattr_destroy(&attr), 0);
	stressed = &l;
	first = second = 0;
	for (long i = 0; i < 10; i++)
		ts[i] = prog_start(stresses, (void *)i);
	for (int i = 0; i < 10; i++)
		writes += (long)prog_join(ts[i]);
	CHECK_EQ(first, writes);
	CHECK_EQ(second, writes);
	CHECK_EQ(pthread_rwlock_destroy(&l), 0);
	printf("stress %s ok\n", name);
}

int main(int argc, char **argv)
{
	prog_init();
	rounds = 3000 * prog_scale(argc, argv);
	sem_init(&ready, 0, 0);
	sem_init(&go, 0, 0);
	check_basic();
	check_preference();
	check_stress(PTHREAD_RWLOCK_PREFER_READER_NP, "prefer reader");
	check_stress(PTHREAD_RWLOCK_PREFER_WRITER_NP, "prefer writer");
	check_stress(PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP, "prefer writer nonrecursive");
	return 0;
}
