/* SPDX-License-Identifier: MIT */
/*
 * pthread_once: the routine runs exactly once, every caller returns after it has finished, also
 * when it blocks; nested controls; a cancelled or exiting initialiser lets another thread try.
 */
#include "prog.h"

#include <semaphore.h>

#define THREADS	40

static pthread_once_t once = PTHREAD_ONCE_INIT, outer = PTHREAD_ONCE_INIT,
		      inner = PTHREAD_ONCE_INIT;
static pthread_once_t broken = PTHREAD_ONCE_INIT;
static int runs, finished, outer_runs, inner_runs, tries;
static sem_t inside, go;

static void init_slow(void)
{
	__atomic_add_fetch(&runs, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < 20; i++)
		sched_yield();
	prog_nap_ms(5);
	__atomic_store_n(&finished, 1, __ATOMIC_RELAXED);
}

static void *calls_once(void *arg)
{
	(void)arg;
	CHECK_EQ(pthread_once(&once, init_slow), 0);
	CHECK_EQ(__atomic_load_n(&finished, __ATOMIC_RELAXED), 1);
	return NULL;
}

static void init_inner(void)
{
	inner_runs++;
}

static void init_outer(void)
{
	pthread_once(&inner, init_inner);
	outer_runs++;
}

static void *calls_outer(void *arg)
{
	(void)arg;
	pthread_once(&outer, init_outer);
	CHECK_EQ(outer_runs, 1);
	CHECK_EQ(inner_runs, 1);
	return NULL;
}

/* The first thread leaves by pthread_exit in the middle: the control is unused again. */
static void init_broken(void)
{
	if (tries++ == 0) {
		sem_post(&inside);
		sem_wait(&go);
		pthread_exit((void *)9);
	}
}

static void *calls_broken(void *arg)
{
	(void)arg;
	CHECK_EQ(pthread_once(&broken, init_broken), 0);
	CHECK_EQ(tries, 2);
	return (void *)8;
}

int main(void)
{
	pthread_t ts[THREADS], first;

	prog_init();
	sem_init(&inside, 0, 0);
	sem_init(&go, 0, 0);
	for (int i = 0; i < THREADS; i++)
		ts[i] = prog_start(calls_once, NULL);
	for (int i = 0; i < THREADS; i++)
		prog_join(ts[i]);
	CHECK_EQ(runs, 1);
	puts("once ok");
	for (int i = 0; i < THREADS; i++)
		ts[i] = prog_start(calls_outer, NULL);
	for (int i = 0; i < THREADS; i++)
		prog_join(ts[i]);
	puts("nested ok");
	first = prog_start(calls_broken, NULL);
	sem_wait(&inside);
	for (int i = 0; i < 5; i++)
		ts[i] = prog_start(calls_broken, NULL);
	prog_nap_ms(2);
	sem_post(&go);
	CHECK(prog_join(first) == (void *)9);
	for (int i = 0; i < 5; i++)
		CHECK(prog_join(ts[i]) == (void *)8);
	puts("retried ok");
	return 0;
}
