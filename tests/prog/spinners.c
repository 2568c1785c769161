/* SPDX-License-Identifier: MIT */
/*
 * Programs that wait by spinning end, also with one processor: on a flag, on a flag with sched_yield, on a lock of
 * their own with and without pauses, on a pthread_spin_lock whose holder computes for longer than a time slice, on
 * trylock.
 */
#include "prog.h"

#define THREADS 5

static volatile int flag, go;
static int own, counter;
static pthread_spinlock_t spin;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void *waits_for_flag(void *arg)
{
	go = go + 1;
	while (!flag)
		if (arg)
			sched_yield();
	return arg;
}

static void *sets_flag(void *arg)
{
	for (volatile long i = 0; i < 1000000; i++)
		;
	flag = 1;
	return arg;
}

static void compute(void)
{
	for (volatile long i = 0; i < 20000000; i++)
		;
}

static void *own_lock(void *arg)
{
	for (int i = 0; i < 200; i++) {
		while (__atomic_exchange_n(&own, 1, __ATOMIC_ACQUIRE)) {
#ifdef __x86_64__
			if (arg)
				__builtin_ia32_pause();
#endif
		}
		counter++;
		if (i == 100)
			compute();
		__atomic_store_n(&own, 0, __ATOMIC_RELEASE);
	}
	return arg;
}

static void *library_lock(void *arg)
{
	for (int i = 0; i < 200; i++) {
		CHECK_EQ(pthread_spin_lock(&spin), 0);
		counter++;
		if (i == 100)
			compute();
		CHECK_EQ(pthread_spin_unlock(&spin), 0);
	}
	return arg;
}

static void *try_lock(void *arg)
{
	for (int i = 0; i < 200; i++) {
		while (pthread_mutex_trylock(&mutex) != 0)
			;
		counter++;
		if (i == 100)
			compute();
		CHECK_EQ(pthread_mutex_unlock(&mutex), 0);
	}
	return arg;
}

static void all(void *(*fn)(void *), void *arg)
{
	pthread_t ts[THREADS];

	counter = 0;
	for (int i = 0; i < THREADS; i++)
		ts[i] = prog_start(fn, arg);
	for (int i = 0; i < THREADS; i++)
		prog_join(ts[i]);
	CHECK_EQ(counter, THREADS * 200);
}

int main(void)
{
	prog_init();
	for (long yield = 0; yield < 2; yield++) {
		pthread_t a, b;

		flag = go = 0;
		a = prog_start(waits_for_flag, (void *)yield);
		while (!go)
			;
		b = prog_start(sets_flag, NULL);
		prog_join(a);
		prog_join(b);
	}
	puts("flags ok");
	all(own_lock, NULL);
	all(own_lock, &own);
	puts("own locks ok");
	CHECK_EQ(pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE), 0);
	all(library_lock, NULL);
	puts("spin lock ok");
	all(try_lock, NULL);
	puts("trylock ok");
	return 0;
}
