/* SPDX-License-Identifier: MIT */
/*
 * errno belongs to the thread: it survives every way of blocking or yielding, and its address is
 * the thread's own. Successful calls in other threads never change it.
 */
#include "prog.h"

#include <fcntl.h>
#include <semaphore.h>

#define THREADS	16

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t step;
static int *addresses[THREADS];
static sem_t sem;

static void *worker(void *arg)
{
	int mine = (int)(long)arg + 1000;

	CHECK_EQ(errno, 0);
	addresses[mine - 1000] = &errno;
	for (int i = 0; i < 200; i++) {
		errno = mine;
		sched_yield();
		CHECK_EQ(errno, mine);
		pthread_mutex_lock(&lock);
		CHECK_EQ(errno, mine);
		sched_yield();
		pthread_mutex_unlock(&lock);
		CHECK_EQ(errno, mine);
		sem_wait(&sem);
		sem_post(&sem);
		CHECK_EQ(errno, mine);
		if (i % 50 == 0)
			prog_nap_ms(1);
		CHECK_EQ(errno, mine);
		CHECK_FAILS(close(-1), EBADF);
		CHECK_FAILS(open("/nonexistent/file", O_RDONLY), ENOENT);
	}
	errno = mine;
	pthread_barrier_wait(&step);
	CHECK_EQ(errno, mine);
	CHECK(&errno == addresses[mine - 1000]);
	pthread_barrier_wait(&step);
	return NULL;
}

int main(void)
{
	pthread_t ts[THREADS];

	prog_init();
	sem_init(&sem, 0, 2);
	pthread_barrier_init(&step, NULL, THREADS + 1);
	errno = 77;
	for (long i = 0; i < THREADS; i++) {
		ts[i] = prog_start(worker, (void *)i);
		CHECK_EQ(errno, 77);
	}
	pthread_barrier_wait(&step);
	CHECK_EQ(errno, 77);
	for (int i = 0; i < THREADS; i++) {
		CHECK(addresses[i] != &errno);
		for (int j = 0; j < i; j++)
			CHECK(addresses[i] != addresses[j]);
	}
	pthread_barrier_wait(&step);
	for (int i = 0; i < THREADS; i++)
		prog_join(ts[i]);
	CHECK_EQ(errno, 77);
	puts("ok");
	return 0;
}
