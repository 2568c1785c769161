/* SPDX-License-Identifier: MIT */
/*
 * Names that old programs and libraries bind, and calls that answer for the thread or the process: getrusage,
 * clock_getres, nice.
 */
#include "prog.h"

#include <sys/resource.h>

/* They are there for old programs only: a new one must ask for their version. */
#if defined(__x86_64__)
#define OLD "GLIBC_2.2.5"
#else
#define OLD "GLIBC_2.17"
#endif
#define OLD_NAME(type, name, ...)                      \
	extern type old_##name(__VA_ARGS__);           \
	__asm__(".symver old_" #name ", __pthread_" #name "@" OLD)

OLD_NAME(int, mutex_lock, pthread_mutex_t *);
OLD_NAME(int, mutex_trylock, pthread_mutex_t *);
OLD_NAME(int, mutex_unlock, pthread_mutex_t *);
OLD_NAME(int, rwlock_rdlock, pthread_rwlock_t *);
OLD_NAME(int, rwlock_wrlock, pthread_rwlock_t *);
OLD_NAME(int, rwlock_tryrdlock, pthread_rwlock_t *);
OLD_NAME(int, rwlock_trywrlock, pthread_rwlock_t *);
OLD_NAME(int, rwlock_unlock, pthread_rwlock_t *);
OLD_NAME(int, once, pthread_once_t *, void (*)(void));

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int times, count;

static void inits(void)
{
	sched_yield();
	times++;
}

static void *works(void *arg)
{
	for (int i = 0; i < 1000; i++) {
		CHECK_EQ(old_once(&once, inits), 0);
		CHECK_EQ(times, 1);
		CHECK_EQ(i % 2 ? old_mutex_lock(&lock) : pthread_mutex_lock(&lock), 0);
		CHECK_EQ(old_mutex_trylock(&lock), EBUSY);
		count++;
		if (i % 100 == 0)
			sched_yield();
		CHECK_EQ(i % 3 ? old_mutex_unlock(&lock) : pthread_mutex_unlock(&lock), 0);
		CHECK_EQ(old_rwlock_wrlock(&rw), 0);
		CHECK_EQ(old_rwlock_tryrdlock(&rw), EBUSY);
		CHECK_EQ(old_rwlock_unlock(&rw), 0);
		CHECK_EQ(old_rwlock_rdlock(&rw), 0);
		CHECK_EQ(old_rwlock_trywrlock(&rw), EBUSY);
		CHECK_EQ(pthread_rwlock_unlock(&rw), 0);
	}
	return arg;
}

int main(void)
{
	struct timespec res;
	struct rusage ru;
	pthread_t ts[4];

	prog_init();
	for (int i = 0; i < 4; i++)
		ts[i] = prog_start(works, NULL);
	for (int i = 0; i < 4; i++)
		prog_join(ts[i]);
	CHECK_EQ(count, 4000);
	CHECK_EQ(clock_getres(CLOCK_MONOTONIC, &res), 0);
	CHECK(res.tv_sec == 0 && res.tv_nsec > 0);
	CHECK_EQ(clock_getres(CLOCK_THREAD_CPUTIME_ID, &res), 0);
	CHECK_FAILS(clock_getres(12345, &res), EINVAL);
	CHECK_EQ(getrusage(RUSAGE_SELF, &ru), 0);
	CHECK(ru.ru_maxrss > 0);
	CHECK_EQ(getrusage(RUSAGE_THREAD, &ru), 0);
	CHECK_FAILS(getrusage(42, &ru), EINVAL);
	errno = 0;
	CHECK_EQ(nice(1), 1);
	CHECK_EQ(errno, 0);
	CHECK_EQ(getpriority(PRIO_PROCESS, 0), 1);
	puts("ok");
	return 0;
}
