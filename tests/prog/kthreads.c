/* SPDX-License-Identifier: MIT */
/*
 * The point of the whole: 500 threads parked in a lock, a sleep, a pipe or a join cost a handful
 * of kernel threads when the shim is live. Natively only the result of the threads is checked.
 */
#include "prog.h"

#define THREADS	500

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER, other = PTHREAD_COND_INITIALIZER;
static int started, go, done, pipefd[2];

static void *parks(void *arg)
{
	long id = (long)arg;
	char c;

	pthread_mutex_lock(&lock);
	started++;
	pthread_cond_signal(&other);
	while (id % 2 && !go)
		pthread_cond_wait(&cond, &lock);
	pthread_mutex_unlock(&lock);
	if (id % 2 == 0)
		CHECK_EQ(read(pipefd[0], &c, 1), 0);	/* until the write end is closed */
	__atomic_add_fetch(&done, 1, __ATOMIC_RELAXED);
	return NULL;
}

int main(void)
{
	static pthread_t ts[THREADS];

	prog_init();
	CHECK_EQ(pipe(pipefd), 0);
	for (long i = 0; i < THREADS; i++)
		ts[i] = prog_start(parks, (void *)i);
	pthread_mutex_lock(&lock);
	while (started < THREADS)
		pthread_cond_wait(&other, &lock);
	pthread_mutex_unlock(&lock);
	CHECK_EQ(done, 0);
	close(pipefd[1]);
	pthread_mutex_lock(&lock);
	go = 1;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < THREADS; i++)
		prog_join(ts[i]);
	CHECK_EQ(done, THREADS);
	prog_few_kthreads(THREADS);
	puts("ok");
	return 0;
}
