/* SPDX-License-Identifier: MIT */
/*
 * gettid() is stable for a thread's life over every kind of blocking, equals the raw system call,
 * is unique among living threads, and is getpid() for main. /proc/self and getpid agree in all
 * threads.
 */
#include "prog.h"

#include <semaphore.h>

#define THREADS	64

static pthread_barrier_t all;
static pid_t tids[THREADS];
static sem_t sem;

static void *worker(void *arg)
{
	int mine = (int)(long)arg;
	pid_t tid = gettid();

	CHECK(tid > 0);
	CHECK(tid != getpid());
	CHECK_EQ(syscall(SYS_getpid), getpid());
	tids[mine] = tid;
	pthread_barrier_wait(&all);
	for (int i = 0; i < 50; i++) {
		CHECK_EQ(gettid(), tid);
		CHECK_EQ(syscall(SYS_gettid), tid);
		sched_yield();
		CHECK_EQ(sem_wait(&sem), 0);
		CHECK_EQ(gettid(), tid);
		sem_post(&sem);
		if (i % 25 == 0)
			prog_nap_ms(1);
	}
	pthread_barrier_wait(&all);
	CHECK_EQ(gettid(), tid);
	return NULL;
}

int main(void)
{
	pthread_t ts[THREADS];
	char link[32], want[32];
	ssize_t n;

	prog_init();
	sem_init(&sem, 0, 3);
	CHECK_EQ(gettid(), getpid());
	pthread_barrier_init(&all, NULL, THREADS + 1);
	for (long i = 0; i < THREADS; i++)
		ts[i] = prog_start(worker, (void *)i);
	pthread_barrier_wait(&all);
	for (int i = 0; i < THREADS; i++)
		for (int j = 0; j < i; j++)
			CHECK(tids[i] != tids[j]);
	CHECK_EQ(gettid(), getpid());
	CHECK_EQ(syscall(SYS_gettid), getpid());
	pthread_barrier_wait(&all);
	for (int i = 0; i < THREADS; i++)
		prog_join(ts[i]);
	n = readlink("/proc/self", link, sizeof(link) - 1);
	CHECK(n > 0);
	link[n] = '\0';
	snprintf(want, sizeof(want), "%d", (int)getpid());
	CHECK(!strcmp(link, want));
	puts("ok");
	return 0;
}
