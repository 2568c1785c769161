/* SPDX-License-Identifier: MIT */
/*
 * Thread-specific data: values per thread, destructors (up to 4 rounds, at return and
 * pthread_exit), keys beyond the first block of 32, deletion, a reused key reads NULL, EAGAIN at
 * PTHREAD_KEYS_MAX.
 */
#include "prog.h"

#include <limits.h>

#define MANY	200

static pthread_key_t keys[PTHREAD_KEYS_MAX], again, once_key;
static int calls, again_calls;
static pthread_barrier_t step;

static void count(void *value)
{
	CHECK(value != NULL);
	__atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
}

/* Sets its key again for ever: glibc stops after PTHREAD_DESTRUCTOR_ITERATIONS. */
static void sets_again(void *value)
{
	CHECK(pthread_getspecific(again) == NULL);
	again_calls++;
	pthread_setspecific(again, value);
}

static void sets_other_once(void *value)
{
	(void)value;
	pthread_setspecific(keys[MANY - 1], (void *)7);
}

static void *sets_all(void *arg)
{
	for (int i = 0; i < MANY; i++) {
		CHECK(pthread_getspecific(keys[i]) == NULL);
		CHECK_EQ(pthread_setspecific(keys[i], (char *)arg + i), 0);
	}
	sched_yield();
	for (int i = 0; i < MANY; i++)
		CHECK(pthread_getspecific(keys[i]) == (char *)arg + i);
	if ((long)arg & 1)
		pthread_exit(NULL);
	return NULL;
}

static void *sets_again_thread(void *arg)
{
	pthread_setspecific(again, arg);
	return NULL;
}

static void *sets_once_thread(void *arg)
{
	pthread_setspecific(once_key, arg);
	return NULL;
}

static void *deleted_key(void *arg)
{
	pthread_setspecific(*(pthread_key_t *)arg, (void *)1);
	pthread_barrier_wait(&step);
	pthread_barrier_wait(&step);	/* main deleted the key: no destructor for it, value gone */
	CHECK(pthread_getspecific(*(pthread_key_t *)arg) == NULL);
	return NULL;
}

int main(void)
{
	pthread_key_t k, k2;
	pthread_t ts[20], t;
	int n;

	prog_init();
	for (int i = 0; i < MANY; i++)
		CHECK_EQ(pthread_key_create(&keys[i], count), 0);
	for (long i = 0; i < 20; i++)
		ts[i] = prog_start(sets_all, (void *)(1000 + i));
	for (int i = 0; i < 20; i++)
		prog_join(ts[i]);
	CHECK_EQ(calls, 20 * MANY);
	for (int i = 0; i < MANY; i++)
		CHECK(pthread_getspecific(keys[i]) == NULL);
	puts("values and destructors ok");

	CHECK_EQ(pthread_key_create(&again, sets_again), 0);
	prog_join(prog_start(sets_again_thread, &again));
	CHECK_EQ(again_calls, PTHREAD_DESTRUCTOR_ITERATIONS);
	prog_join(prog_start(sets_all, (void *)1000));	/* a recycled thread starts clean */
	CHECK_EQ(again_calls, PTHREAD_DESTRUCTOR_ITERATIONS);
	CHECK_EQ(pthread_key_delete(again), 0);
	puts("iterations ok");

	calls = 0;
	CHECK_EQ(pthread_key_create(&once_key, sets_other_once), 0);
	prog_join(prog_start(sets_once_thread, (void *)1));
	CHECK_EQ(calls, 1);
	CHECK_EQ(pthread_key_delete(once_key), 0);
	puts("destructor sets another ok");

	calls = 0;
	pthread_barrier_init(&step, NULL, 2);
	CHECK_EQ(pthread_key_create(&k, count), 0);
	t = prog_start(deleted_key, &k);
	pthread_barrier_wait(&step);
	CHECK_EQ(pthread_setspecific(k, (void *)2), 0);
	CHECK_EQ(pthread_key_delete(k), 0);
	CHECK_EQ(pthread_key_delete(k), EINVAL);
	CHECK_EQ(pthread_setspecific(k, (void *)2), EINVAL);
	CHECK(pthread_getspecific(k) == NULL);
	CHECK_EQ(pthread_key_create(&k2, count), 0);
	CHECK(pthread_getspecific(k2) == NULL);
	pthread_barrier_wait(&step);
	prog_join(t);
	CHECK_EQ(calls, 0);
	CHECK_EQ(pthread_key_delete(k2), 0);
	CHECK_EQ(pthread_key_delete(PTHREAD_KEYS_MAX), EINVAL);
	CHECK_EQ(pthread_setspecific(PTHREAD_KEYS_MAX, NULL), EINVAL);
	puts("delete ok");

	for (n = MANY; n < PTHREAD_KEYS_MAX; n++)
		if (pthread_key_create(&keys[n], NULL))
			break;
	if (n < PTHREAD_KEYS_MAX)
		CHECK_EQ(pthread_key_create(&k, NULL), EAGAIN);
	CHECK(n > PTHREAD_KEYS_MAX - 100);		/* libraries may hold a few */
	CHECK_EQ(pthread_setspecific(keys[n - 1], (void *)3), 0);
	CHECK(pthread_getspecific(keys[n - 1]) == (void *)3);
	for (int i = 0; i < n; i++)
		CHECK_EQ(pthread_key_delete(keys[i]), 0);
	CHECK_EQ(pthread_key_create(&k, NULL), 0);
	puts("limit ok");
	return 0;
}
