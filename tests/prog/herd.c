/* SPDX-License-Identifier: MIT */
/*
 * A broadcast to many waiters of one condition, with and without its mutex held: all go on, one at a time, in a time
 * that grows with their number and not with its square. argv[1]: how many.
 */
#include "prog.h"

#include <limits.h>
#include <semaphore.h>

static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t waiting;
static int round_no, inside;
static long woken;

static void *waits(void *arg)
{
	for (int mine = 0; mine < 2; mine++) {
		CHECK_EQ(pthread_mutex_lock(&m), 0);
		sem_post(&waiting);
		while (round_no == mine)
			CHECK_EQ(pthread_cond_wait(&cond, &m), 0);
		CHECK_EQ(++inside, 1);
		woken++;
		inside--;
		CHECK_EQ(pthread_mutex_unlock(&m), 0);
	}
	return arg;
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 2000;
	pthread_t *ts = calloc((size_t)n, sizeof(*ts));
	pthread_attr_t attr;

	prog_init();
	CHECK(ts);
	sem_init(&waiting, 0, 0);
	pthread_attr_init(&attr);
	CHECK_EQ(pthread_attr_setstacksize(&attr, 64 << 10), 0);
	for (int i = 0; i < n; i++)
		prog_created(pthread_create(&ts[i], &attr, waits, NULL));
	for (int i = 0; i < n; i++)
		CHECK_EQ(sem_wait(&waiting), 0);
	for (int r = 0; r < 2; r++) {
		int64_t begin = prog_now_ns(CLOCK_MONOTONIC), ns;

		CHECK_EQ(pthread_mutex_lock(&m), 0);
		round_no++;
		if (r == 0) /* else the mutex is free when they wake */
			CHECK_EQ(pthread_cond_broadcast(&cond), 0);
		CHECK_EQ(pthread_mutex_unlock(&m), 0);
		if (r == 1)
			CHECK_EQ(pthread_cond_broadcast(&cond), 0);
		for (int i = 0; r == 0 && i < n; i++)
			CHECK_EQ(sem_wait(&waiting), 0);
		for (int i = 0; r == 1 && i < n; i++)
			prog_join(ts[i]);
		ns = prog_now_ns(CLOCK_MONOTONIC) - begin;
		CHECK_EQ(woken, (long)n * (r + 1));
		if (argc > 1)
			fprintf(stderr, "round %d: %lld ns a waiter\n", r, (long long)ns / n);
		printf("round %d ok\n", r);
	}
	free(ts);
	return 0;
}
