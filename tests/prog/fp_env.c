/* SPDX-License-Identifier: MIT */
/*
 * The floating-point environment belongs to the thread: rounding mode and flush-to-zero survive
 * blocking and yielding among threads that use others, and a new thread inherits its creator's.
 */
#include "prog.h"

#include <fenv.h>
#include <semaphore.h>
#ifdef __x86_64__
#include <xmmintrin.h>
#endif

static int modes[] = { FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static sem_t sem;

static double divide(double a, double b)
{
	volatile double x = a, y = b;

	return x / y;
}

static long double divide_long(long double a, long double b)
{
	volatile long double x = a, y = b;

	return x / y;
}

static void *child(void *arg)
{
	CHECK_EQ(fegetround(), *(int *)arg);
	CHECK_EQ(fesetround(FE_TONEAREST), 0);
	return NULL;
}

static void *worker(void *arg)
{
	int mode = modes[(long)arg % 4];
	double third;
	long double long_third;

	CHECK_EQ(fegetround(), FE_TONEAREST);
	CHECK_EQ(fesetround(mode), 0);
	third = divide(1, 3);
	long_third = divide_long(1, 3);
#ifdef __x86_64__
	if ((long)arg & 4)
		_mm_setcsr(_mm_getcsr() | 0x8000);
#endif
	for (int i = 0; i < 100; i++) {
		sched_yield();
		CHECK_EQ(fegetround(), mode);
		pthread_mutex_lock(&lock);
		sched_yield();
		pthread_mutex_unlock(&lock);
		sem_wait(&sem);
		sem_post(&sem);
		if (i % 50 == 0)
			prog_nap_ms(1);
		CHECK_EQ(fegetround(), mode);
		CHECK(divide(1, 3) == third);
		CHECK(divide_long(1, 3) == long_third);
#ifdef __x86_64__
		CHECK_EQ(!!(_mm_getcsr() & 0x8000), ((long)arg & 4) != 0);
#endif
	}
	prog_join(prog_start(child, &mode));
	CHECK_EQ(fegetround(), mode);
	return NULL;
}

int main(void)
{
	pthread_t ts[16];

	prog_init();
	sem_init(&sem, 0, 3);
	for (long i = 0; i < 16; i++)
		ts[i] = prog_start(worker, (void *)i);
	for (int i = 0; i < 16; i++)
		prog_join(ts[i]);
	CHECK_EQ(fegetround(), FE_TONEAREST);
	puts("per thread ok");
	CHECK_EQ(fesetround(FE_UPWARD), 0);
	prog_join(prog_start(child, &modes[1]));
	CHECK_EQ(fegetround(), FE_UPWARD);
	CHECK_EQ(fesetround(FE_TONEAREST), 0);
	CHECK(divide(1, 3) * 3 == 1.0);
	puts("inherited ok");
	return 0;
}
