/* SPDX-License-Identifier: MIT */
/*
 * Mutual exclusion under load: threads take mutexes of every type by lock, trylock and timedlock,
 * and add to plain counters; the sums must be exact and no thread may be left behind.
 */
#include "prog.h"

#define THREADS	12
#define LOCKS	5

static pthread_mutex_t locks[LOCKS];
static long counters[LOCKS];
static int rounds;

static void take(pthread_mutex_t *m, int how)
{
	struct timespec far;

	switch (how) {
	case 0:
		while (pthread_mutex_trylock(m) == EBUSY)
			sched_yield();
		break;
	case 1:
		far = prog_after_ms(CLOCK_REALTIME, 600000);
		CHECK_EQ(pthread_mutex_timedlock(m, &far), 0);
		break;
	case 2:
		do {		/* short deadlines: time-outs race with unlocks */
			far = prog_after_ms(CLOCK_MONOTONIC, 1);
		} while (pthread_mutex_clocklock(m, CLOCK_MONOTONIC, &far) == ETIMEDOUT);
		break;
	default:
		CHECK_EQ(pthread_mutex_lock(m), 0);
	}
}

static void *worker(void *arg)
{
	unsigned int seed = (unsigned int)(long)arg * 2654435761u + 1;

	for (int i = 0; i < rounds; i++) {
		int k, before;

		seed = seed * 1103515245u + 12345u;
		k = (int)(seed >> 16) % LOCKS;
		take(&locks[k], (int)(seed >> 20) % 8);
		if (k == 1) {
			CHECK_EQ(pthread_mutex_lock(&locks[k]), 0);
			CHECK_EQ(pthread_mutex_unlock(&locks[k]), 0);
		}
		before = (int)counters[k];
		if ((seed >> 24) % 32 == 0)
			sched_yield();
		counters[k] = before + 1;
		CHECK_EQ(pthread_mutex_unlock(&locks[k]), 0);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int types[] = { PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_ERRORCHECK,
			PTHREAD_MUTEX_ADAPTIVE_NP, PTHREAD_MUTEX_DEFAULT };
	pthread_t ts[THREADS];
	pthread_mutexattr_t attr;
	long sum = 0;

	prog_init();
	rounds = 20000 * prog_scale(argc, argv);
	for (int i = 0; i < LOCKS; i++) {
		pthread_mutexattr_init(&attr);
		CHECK_EQ(pthread_mutexattr_settype(&attr, types[i]), 0);
		CHECK_EQ(pthread_mutex_init(&locks[i], &attr), 0);
		pthread_mutexattr_destroy(&attr);
	}
	for (long i = 0; i < THREADS; i++)
		ts[i] = prog_start(worker, (void *)i);
	for (int i = 0; i < THREADS; i++)
		prog_join(ts[i]);
	for (int i = 0; i < LOCKS; i++) {
		sum += counters[i];
		CHECK_EQ(pthread_mutex_destroy(&locks[i]), 0);
	}
	CHECK_EQ(sum, (long)THREADS * rounds);
	puts("ok");
	return 0;
}
