/* SPDX-License-Identifier: MIT */
/*
 * pthread_create at the end of the address space: EAGAIN, what was made works and can be joined, and as many (or more)
 * fit again: nothing leaks. Then the same with stacks of another size, and detached threads that make room.
 */
#include "prog.h"

#include <semaphore.h>
#include <sys/resource.h>

#define MOST 4000

static pthread_t ts[MOST];
static sem_t go;

static void *waits(void *arg)
{
	CHECK_EQ(sem_wait(&go), 0);
	return arg;
}

static int fill(pthread_attr_t *attr)
{
	int n, rc = 0;

	for (n = 0; n < MOST && (rc = pthread_create(&ts[n], attr, waits, (void *)(long)n)) == 0; n++)
		;
	CHECK(n > 3);
	CHECK(n < MOST);
	CHECK_EQ(rc, EAGAIN);
	CHECK_EQ(pthread_create(&ts[n], attr, waits, NULL), EAGAIN);
	for (int i = 0; i < n; i++)
		sem_post(&go);
	for (int i = 0; i < n; i++)
		CHECK((long)prog_join(ts[i]) == i);
	return n;
}

static void *nothing(void *arg)
{
	sem_post(&go);
	return arg;
}

int main(void)
{
	struct rlimit limit;
	pthread_attr_t attr;
	int first, n;

	prog_init();
	sem_init(&go, 0, 0);
	prog_join(prog_start(nothing, NULL));
	sem_wait(&go);
	CHECK_EQ(pthread_attr_init(&attr), 0);
	CHECK_EQ(pthread_attr_setstacksize(&attr, 16 << 20), 0);
	limit.rlim_cur = limit.rlim_max = (rlim_t)2 << 30;
	CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
	first = fill(&attr);
	for (int i = 0; i < 5; i++) {
		n = fill(&attr);
		CHECK(n >= first - first / 8);
	}
	puts("full, joined, full again");
	CHECK_EQ(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED), 0);
	for (int i = 0; i < 2000; i++) {
		pthread_t t;

		while ((n = pthread_create(&t, &attr, nothing, NULL)) != 0) {
			CHECK_EQ(n, EAGAIN);
			CHECK_EQ(sched_yield(), 0);
		}
	}
	for (int i = 0; i < 2000; i++)
		CHECK_EQ(sem_wait(&go), 0);
	puts("detached ones make room");
	return 0;
}
