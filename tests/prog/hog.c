/* SPDX-License-Identifier: MIT */
/*
 * Threads that never call anything compute until a flag is set by a thread that has to get a
 * processor first: needs preemption when there are as many hogs as processors or more. Vector
 * registers, errno and the rounding mode of the hogs survive; a starting thread, a sleeper and a
 * lock hand-over get through.
 */
#include "prog.h"

#include <fenv.h>
#include <semaphore.h>

#define HOGS	9

static volatile int stop, running;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static sem_t sem;

static void *hogs(void *arg)
{
	long id = (long)arg;
	double a[8], sum = 0;
	unsigned long n = 0;

	errno = (int)id + 500;
	fesetround(id & 1 ? FE_UPWARD : FE_TONEAREST);
	for (int i = 0; i < 8; i++)
		a[i] = (double)(id * 8 + i);
	__atomic_add_fetch(&running, 1, __ATOMIC_RELAXED);
	while (!stop) {
		for (int i = 0; i < 8; i++)
			a[i] = a[i] + 1.0;
		n++;
		for (int i = 0; i < 8; i++)
			a[i] = a[i] - 1.0;
	}
	for (int i = 0; i < 8; i++) {
		CHECK(a[i] == (double)(id * 8 + i));
		sum += a[i];
	}
	CHECK_EQ(errno, (int)id + 500);
	CHECK_EQ(fegetround(), id & 1 ? FE_UPWARD : FE_TONEAREST);
	CHECK(sum == (double)(id * 64 + 28));
	return (void *)n;
}

static void *nothing(void *arg)
{
	return arg;
}

static void *takes(void *arg)
{
	for (int i = 0; i < 5; i++) {
		pthread_mutex_lock(&lock);
		pthread_mutex_unlock(&lock);
		sem_post(&sem);
	}
	return arg;
}

int main(void)
{
	pthread_t ts[HOGS], t;

	prog_init();
	sem_init(&sem, 0, 0);
	for (long i = 0; i < HOGS; i++)
		ts[i] = prog_start(hogs, (void *)i);
	while (running < HOGS)
		sched_yield();
	puts("all run");
	prog_nap_ms(20);
	puts("sleeper ran");
	for (int i = 0; i < 3; i++)
		prog_join(prog_start(nothing, NULL));
	puts("new threads ran");
	pthread_mutex_lock(&lock);
	t = prog_start(takes, NULL);
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < 5; i++)
		CHECK_EQ(sem_wait(&sem), 0);
	prog_join(t);
	puts("locks and posts got through");
	stop = 1;
	for (int i = 0; i < HOGS; i++)
		prog_join(ts[i]);
	puts("ok");
	return 0;
}
