/* SPDX-License-Identifier: MIT */
/*
 * 2,000 threads blocked at once on one condition, then one broadcast; three rounds, and a relay
 * through all.
 */
#include "prog.h"

#include <limits.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER, other = PTHREAD_COND_INITIALIZER;
static int waiting, generation, awake;
static __thread int mine;

static void *waits(void *arg)
{
	int until = (int)(long)arg;

	mine = until;
	pthread_mutex_lock(&lock);
	waiting++;
	pthread_cond_signal(&other);
	while (generation < until)
		pthread_cond_wait(&cond, &lock);
	awake++;
	pthread_mutex_unlock(&lock);
	CHECK_EQ(mine, until);
	return &generation;
}

int main(int argc, char **argv)
{
	int n = 2000 * prog_scale(argc, argv);
	pthread_t *ts = calloc((size_t)n, sizeof(*ts));
	pthread_attr_t attr;

	prog_init();
	CHECK(ts);
	pthread_attr_init(&attr);
	CHECK_EQ(pthread_attr_setstacksize(&attr, 128 * 1024), 0);
	for (int round = 1; round <= 3; round++) {
		waiting = awake = 0;
		for (int i = 0; i < n; i++)
			prog_created(pthread_create(&ts[i], &attr, waits, (void *)(long)round));
		pthread_mutex_lock(&lock);
		while (waiting < n)
			pthread_cond_wait(&other, &lock);
		CHECK_EQ(awake, 0);
		generation = round;
		pthread_cond_broadcast(&cond);
		pthread_mutex_unlock(&lock);
		for (int i = 0; i < n; i++)
			CHECK(prog_join(ts[i]) == &generation);
		CHECK_EQ(awake, n);
		printf("round %d ok\n", round);
	}
	free(ts);
	return 0;
}
