/* SPDX-License-Identifier: MIT */
/*
 * Threads before and after main: a constructor creates and joins some and leaves one running into
 * main, a destructor and an atexit handler use locks and create a last one.
 */
#include "prog.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int in_main, from_ctor;
static pthread_t early;

static void *adds(void *arg)
{
	pthread_mutex_lock(&lock);
	++*(int *)arg;
	pthread_cond_signal(&cond);
	pthread_mutex_unlock(&lock);
	return arg;
}

static void *waits_main(void *arg)
{
	pthread_mutex_lock(&lock);
	while (!in_main)
		pthread_cond_wait(&cond, &lock);
	pthread_mutex_unlock(&lock);
	return arg;
}

__attribute__((constructor)) static void before_main(void)
{
	for (int i = 0; i < 5; i++)
		prog_join(prog_start(adds, &from_ctor));
	early = prog_start(waits_main, &early);
}

__attribute__((destructor)) static void after_main(void)
{
	int n = 0;

	CHECK(prog_join(prog_start(adds, &n)) == &n);
	CHECK_EQ(n, 1);
	dprintf(1, "destructor ok\n");
}

static void at_exit(void)
{
	int n = 0;
	pthread_t t = prog_start(adds, &n);

	pthread_mutex_lock(&lock);
	while (!n)
		pthread_cond_wait(&cond, &lock);
	pthread_mutex_unlock(&lock);
	prog_join(t);
	puts("atexit ok");
	fflush(stdout);
}

int main(void)
{
	prog_init();
	CHECK_EQ(from_ctor, 5);
	atexit(at_exit);
	pthread_mutex_lock(&lock);
	in_main = 1;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&lock);
	CHECK(prog_join(early) == &early);
	puts("main ok");
	return 0;
}
