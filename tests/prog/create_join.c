/* SPDX-License-Identifier: MIT */
/*
 * pthread_create and pthread_join: values, 10,000 threads one after another, 500 alive at once,
 * and every error glibc reports (EDEADLK for oneself, EINVAL, ESRCH). Two joiners of one thread,
 * and threads that join each other, are left out: glibc 2.36 means to report them but its
 * comparison of joinid has its operands the wrong way round, so both hang there.
 */
#include "prog.h"

#include <semaphore.h>

#define ALIVE	500

static pthread_t early;
static sem_t go;
static pthread_barrier_t all_alive;
static pthread_t selves[ALIVE];

static void *add_one(void *arg)
{
	return (char *)arg + 1;
}

/* volatile: so that the compiler takes it for a call that returns. */
static void (*volatile leave)(void *) = pthread_exit;

static __attribute__((noinline)) void exit_deep(int depth, void *value)
{
	volatile char frame[100];

	frame[0] = (char)depth;
	if (depth > 0)
		exit_deep(depth - 1, value);
	else
		leave(value);
	frame[1] = frame[0];
}

static void *exits_deep(void *arg)
{
	exit_deep(50, (char *)arg + 2);
	return NULL;
}

/* glibc stores the handle before the thread runs. */
static void *sees_handle(void *arg)
{
	(void)arg;
	CHECK(pthread_equal(early, pthread_self()));
	CHECK_EQ(pthread_join(pthread_self(), NULL), EDEADLK);
	return NULL;
}

static void *alive(void *arg)
{
	size_t i = (size_t)arg;

	selves[i] = pthread_self();
	pthread_barrier_wait(&all_alive);
	pthread_barrier_wait(&all_alive);
	return &selves[i];
}

static void *waits_go(void *arg)
{
	CHECK_EQ(sem_wait(&go), 0);
	return arg;
}

static void *creates(void *arg)
{
	long depth = (long)arg;
	long below = 0;

	if (depth > 0)
		below = (long)prog_join(prog_start(creates, (void *)(depth - 1)));
	return (void *)(below + 1);
}

int main(int argc, char **argv)
{
	int scale = prog_scale(argc, argv);
	pthread_t ts[ALIVE], b;

	prog_init();
	sem_init(&go, 0, 0);

	CHECK(prog_join(prog_start(add_one, (void *)41)) == (void *)42);
	CHECK(prog_join(prog_start(exits_deep, (void *)40)) == (void *)42);
	CHECK_EQ(pthread_join(prog_start(add_one, NULL), NULL), 0);
	CHECK_EQ(pthread_create(&early, NULL, sees_handle, NULL), 0);
	prog_join(early);
	puts("values ok");

	for (long i = 0; i < 10000L * scale; i++)
		CHECK(prog_join(prog_start(add_one, (void *)i)) == (void *)(i + 1));
	puts("10000 in sequence ok");

	pthread_barrier_init(&all_alive, NULL, ALIVE + 1);
	for (size_t i = 0; i < ALIVE; i++)
		ts[i] = prog_start(alive, (void *)i);
	pthread_barrier_wait(&all_alive);
	for (size_t i = 0; i < ALIVE; i++) {
		CHECK(pthread_equal(ts[i], selves[i]));
		for (size_t j = 0; j < i; j++)
			CHECK(!pthread_equal(ts[i], ts[j]));
	}
	pthread_barrier_wait(&all_alive);
	for (size_t i = ALIVE; i-- > 0;)
		CHECK(prog_join(ts[i]) == &selves[i]);
	puts("500 alive ok");

	CHECK((long)prog_join(prog_start(creates, (void *)100)) == 101);
	puts("nested ok");

	CHECK_EQ(pthread_join(pthread_self(), NULL), EDEADLK);
	/*
	 * glibc keeps a joined thread's stack in its cache with tid -1: ESRCH, as many programs
	 * see it.
	 */
	b = prog_start(add_one, NULL);
	prog_join(b);
	CHECK_EQ(pthread_join(b, NULL), ESRCH);
	CHECK_EQ(pthread_detach(b), ESRCH);
	b = prog_start(waits_go, NULL);
	CHECK_EQ(pthread_detach(b), 0);
	CHECK_EQ(pthread_join(b, NULL), EINVAL);
	CHECK_EQ(pthread_detach(b), EINVAL);
	sem_post(&go);
	puts("errors ok");
	return 0;
}
