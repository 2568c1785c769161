/* SPDX-License-Identifier: MIT */
/*
 * Detached threads: made so by attribute, by themselves, by another thread before and after their
 * end; joining them is EINVAL; thousands of them leave nothing behind that stops the next.
 */
#include "prog.h"

#include <semaphore.h>

static sem_t finished, go;

static void *posts(void *arg)
{
	sem_post(&finished);
	return arg;
}

static void *detaches_self(void *arg)
{
	CHECK_EQ(pthread_detach(pthread_self()), 0);
	CHECK_EQ(pthread_detach(pthread_self()), EINVAL);
	CHECK_EQ(pthread_join(pthread_self(), NULL), EINVAL);
	sem_post(&finished);
	return arg;
}

static void *waits(void *arg)
{
	CHECK_EQ(sem_wait(&go), 0);
	sem_post(&finished);
	return arg;
}

static void *creates_detached(void *arg)
{
	pthread_attr_t *attr = arg;
	pthread_t t;

	for (int i = 0; i < 200; i++)
		CHECK_EQ(pthread_create(&t, attr, posts, NULL), 0);
	return NULL;
}

static void await(int n)
{
	while (n--)
		CHECK_EQ(sem_wait(&finished), 0);
}

int main(int argc, char **argv)
{
	int n = 2000 * prog_scale(argc, argv);
	pthread_attr_t attr, got;
	pthread_t t, makers[5];
	int state;

	prog_init();
	sem_init(&finished, 0, 0);
	sem_init(&go, 0, 0);
	CHECK_EQ(pthread_attr_init(&attr), 0);
	CHECK_EQ(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED), 0);

	for (int i = 0; i < n; i++) {
		CHECK_EQ(pthread_create(&t, &attr, posts, NULL), 0);
		if (i % 100 == 99)
			await(100);
	}
	await(n % 100);
	puts("by attribute ok");

	for (int i = 0; i < 500; i++) {
		prog_start(detaches_self, NULL);
		await(1);
	}
	puts("by itself ok");

	for (int i = 0; i < 500; i++) {
		t = prog_start(posts, NULL);
		if (i & 1)
			await(1);		/* it may have ended already */
		CHECK_EQ(pthread_detach(t), 0);
		if (!(i & 1))
			await(1);
	}
	puts("by another ok");

	CHECK_EQ(pthread_create(&t, &attr, waits, NULL), 0);
	CHECK_EQ(pthread_join(t, NULL), EINVAL);
	CHECK_EQ(pthread_getattr_np(t, &got), 0);
	CHECK_EQ(pthread_attr_getdetachstate(&got, &state), 0);
	CHECK_EQ(state, PTHREAD_CREATE_DETACHED);
	pthread_attr_destroy(&got);
	sem_post(&go);
	await(1);
	puts("join refused ok");

	for (int i = 0; i < 5; i++)
		makers[i] = prog_start(creates_detached, &attr);
	for (int i = 0; i < 5; i++)
		prog_join(makers[i]);
	await(1000);
	puts("many makers ok");
	pthread_attr_destroy(&attr);
	return 0;
}
