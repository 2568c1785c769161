/* SPDX-License-Identifier: MIT */
/*
 * The second names that libpthread had for its functions, bound by version as a program linked long ago does: with the
 * first names they act on the same objects, and who waits through one is woken through the other.
 */
#include "prog.h"

#if defined(__x86_64__)
#define OLD(name) __asm__(".symver __" #name ", __" #name "@GLIBC_2.2.5"); extern __typeof__(name) __##name;
OLD(pthread_mutex_lock)
OLD(pthread_mutex_trylock)
OLD(pthread_mutex_unlock)
OLD(pthread_rwlock_rdlock)
OLD(pthread_rwlock_wrlock)
OLD(pthread_rwlock_tryrdlock)
OLD(pthread_rwlock_trywrlock)
OLD(pthread_rwlock_unlock)
OLD(pthread_once)

static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int counter, inits;

static void init(void)
{
	prog_nap_ms(5);
	inits++;
}

static void *old(void *arg)
{
	CHECK_EQ(__pthread_once(&once, init), 0);
	CHECK_EQ(inits, 1);
	for (int i = 0; i < 500; i++) {
		while (i % 3 == 0 ? __pthread_mutex_trylock(&m) : __pthread_mutex_lock(&m))
			sched_yield();
		counter++;
		if (i % 20 == 0)
			sched_yield();
		CHECK_EQ(__pthread_mutex_unlock(&m), 0);
		while (i % 3 == 0 ? __pthread_rwlock_trywrlock(&rw) : __pthread_rwlock_wrlock(&rw))
			sched_yield();
		CHECK_EQ(__pthread_rwlock_unlock(&rw), 0);
		while (i % 3 == 0 ? __pthread_rwlock_tryrdlock(&rw) : __pthread_rwlock_rdlock(&rw))
			sched_yield();
		CHECK_EQ(__pthread_rwlock_unlock(&rw), 0);
	}
	return arg;
}

static void *new(void *arg)
{
	CHECK_EQ(pthread_once(&once, init), 0);
	for (int i = 0; i < 500; i++) {
		CHECK_EQ(pthread_mutex_lock(&m), 0);
		counter++;
		if (i % 20 == 0)
			sched_yield();
		CHECK_EQ(pthread_mutex_unlock(&m), 0);
		CHECK_EQ(pthread_rwlock_wrlock(&rw), 0);
		CHECK_EQ(pthread_rwlock_unlock(&rw), 0);
	}
	return arg;
}

int main(void)
{
	pthread_t ts[8];

	prog_init();
	for (int i = 0; i < 8; i++)
		ts[i] = prog_start(i % 2 ? old : new, NULL);
	for (int i = 0; i < 8; i++)
		prog_join(ts[i]);
	CHECK_EQ(counter, 4000);
	CHECK_EQ(inits, 1);
	puts("old names ok");
	return 0;
}
#else
int main(void)
{
	return 77; /* they have other versions there, or none */
}
#endif
