/* SPDX-License-Identifier: MIT */
/*
 * Spin locks: EBUSY, exclusion, and progress when there are more threads than processors and a
 * holder gives its processor away.
 */
#include "prog.h"

static pthread_spinlock_t spin;
static long counter;
static int rounds;

static void *finds_held(void *arg)
{
	(void)arg;
	CHECK_EQ(pthread_spin_trylock(&spin), EBUSY);
	return NULL;
}

static void *worker(void *arg)
{
	(void)arg;
	for (int i = 0; i < rounds; i++) {
		if (i % 8 == 0) {
			while (pthread_spin_trylock(&spin) == EBUSY)
				sched_yield();
		} else {
			CHECK_EQ(pthread_spin_lock(&spin), 0);
		}
		counter++;
		if (i % 512 == 0)
			sched_yield();		/* while holding it */
		CHECK_EQ(pthread_spin_unlock(&spin), 0);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t ts[6];

	prog_init();
	rounds = 2000 * prog_scale(argc, argv);
	CHECK_EQ(pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE), 0);
	CHECK_EQ(pthread_spin_lock(&spin), 0);
	prog_join(prog_start(finds_held, NULL));
	CHECK_EQ(pthread_spin_unlock(&spin), 0);
	CHECK_EQ(pthread_spin_trylock(&spin), 0);
	CHECK_EQ(pthread_spin_unlock(&spin), 0);
	for (int i = 0; i < 6; i++)
		ts[i] = prog_start(worker, NULL);
	for (int i = 0; i < 6; i++)
		prog_join(ts[i]);
	CHECK_EQ(counter, 6L * rounds);
	CHECK_EQ(pthread_spin_destroy(&spin), 0);
	puts("ok");
	return 0;
}
