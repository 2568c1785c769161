/* SPDX-License-Identifier: MIT */
/*
 * Barriers: nobody passes before all have come, exactly one serial thread per round, reuse at
 * once, EINVAL for a count of zero, destroy right after the last round.
 */
#include "prog.h"

#define THREADS	16

static pthread_barrier_t barrier;
static int arrived, serials, rounds;

static void *worker(void *arg)
{
	int err;

	(void)arg;
	for (int i = 0; i < rounds; i++) {
		__atomic_add_fetch(&arrived, 1, __ATOMIC_RELAXED);
		err = pthread_barrier_wait(&barrier);
		CHECK(err == 0 || err == PTHREAD_BARRIER_SERIAL_THREAD);
		CHECK(__atomic_load_n(&arrived, __ATOMIC_RELAXED) >= (i + 1) * THREADS);
		if (err)
			__atomic_add_fetch(&serials, 1, __ATOMIC_RELAXED);
		/* second barrier: the count of this round is complete for all */
		err = pthread_barrier_wait(&barrier);
		CHECK_EQ(__atomic_load_n(&serials, __ATOMIC_RELAXED), i + 1);
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

static void *waits(void *arg)
{
	return (void *)(long)pthread_barrier_wait(arg);
}

int main(int argc, char **argv)
{
	pthread_t ts[THREADS];

	prog_init();
	rounds = 300 * prog_scale(argc, argv);
	CHECK_EQ(pthread_barrier_init(&barrier, NULL, 0), EINVAL);
	CHECK_EQ(pthread_barrier_init(&barrier, NULL, 1), 0);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(pthread_barrier_wait(&barrier), PTHREAD_BARRIER_SERIAL_THREAD);
	CHECK_EQ(pthread_barrier_destroy(&barrier), 0);
	puts("one ok");

	CHECK_EQ(pthread_barrier_init(&barrier, NULL, THREADS), 0);
	for (int i = 0; i < THREADS; i++)
		ts[i] = prog_start(worker, NULL);
	for (int i = 0; i < THREADS; i++)
		prog_join(ts[i]);
	CHECK_EQ(pthread_barrier_destroy(&barrier), 0);
	puts("rounds ok");

	/* destroy may be called as soon as one's own wait returned */
	for (int i = 0; i < 300; i++) {
		pthread_barrier_t b;
		int serial;

		CHECK_EQ(pthread_barrier_init(&b, NULL, 3), 0);
		ts[0] = prog_start(waits, &b);
		ts[1] = prog_start(waits, &b);
		serial = pthread_barrier_wait(&b) != 0;
		CHECK_EQ(pthread_barrier_destroy(&b), 0);
		memset(&b, 0xee, sizeof(b));
		serial += prog_join(ts[0]) != NULL;
		serial += prog_join(ts[1]) != NULL;
		CHECK_EQ(serial, 1);
	}
	puts("destroy ok");
	return 0;
}
