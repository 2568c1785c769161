/* SPDX-License-Identifier: MIT */
/*
 * sched_yield lets others progress: flags set by other threads are seen by loops that only yield,
 * in both directions and along a chain, with more threads than processors. Where each thread has
 * a processor of its own, but not a CPU, the kernel must be told to run another: a ring of them
 * would take minutes otherwise.
 */
#include "prog.h"

#define CHAIN	20
#define RING	8

static int flag, turn, laps;
static pthread_barrier_t all_here;
static int chain[CHAIN + 1];

static void *sets_flag(void *arg)
{
	(void)arg;
	__atomic_store_n(&flag, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void *alternates(void *arg)
{
	int mine = (int)(long)arg;

	for (int i = 0; i < laps; i++) {
		while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) % 3 != mine)
			CHECK_EQ(sched_yield(), 0);
		__atomic_add_fetch(&turn, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void *links(void *arg)
{
	int i = (int)(long)arg;

	while (!__atomic_load_n(&chain[i], __ATOMIC_ACQUIRE))
		sched_yield();
	__atomic_store_n(&chain[i + 1], 1, __ATOMIC_RELEASE);
	return NULL;
}

static void *passes_on(void *arg)
{
	int mine = (int)(long)arg;

	pthread_barrier_wait(&all_here);
	for (int i = 0; i < laps; i++) {
		while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) % RING != mine)
			sched_yield();
		__atomic_add_fetch(&turn, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t ts[CHAIN], t;

	prog_init();
	laps = 2000 * prog_scale(argc, argv);
	t = prog_start(sets_flag, NULL);
	while (!__atomic_load_n(&flag, __ATOMIC_ACQUIRE))
		sched_yield();
	prog_join(t);
	puts("flag ok");

	for (long i = 0; i < 3; i++)
		ts[i] = prog_start(alternates, (void *)i);
	for (int i = 0; i < 3; i++)
		prog_join(ts[i]);
	CHECK_EQ(turn, 3 * laps);
	puts("turns ok");

	for (long i = 0; i < CHAIN; i++)
		ts[i] = prog_start(links, (void *)i);
	__atomic_store_n(&chain[0], 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&chain[CHAIN], __ATOMIC_ACQUIRE))
		sched_yield();
	for (int i = 0; i < CHAIN; i++)
		prog_join(ts[i]);
	puts("chain ok");

	turn = 0;
	laps /= 2;
	CHECK_EQ(pthread_barrier_init(&all_here, NULL, RING), 0);
	for (long i = 0; i < RING; i++)
		ts[i] = prog_start(passes_on, (void *)i);
	for (int i = 0; i < RING; i++)
		prog_join(ts[i]);
	CHECK_EQ(turn, RING * laps);
	puts("ring ok");
	return 0;
}
