/* SPDX-License-Identifier: MIT */
/*
 * What every program in this folder shares: CHECK, the proof that the shim is live, and a few
 * shorthands. The programs are plain pthread programs: they pass on NPTL and include nothing of
 * ours.
 */
#pragma once

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PROG_MAX_KERNEL_TID	4194304		/* PID_MAX_LIMIT of a 64-bit kernel */

/* Ends the process at once, also from a thread or a forked child. */
#define CHECK(cond)								\
	do {									\
		int prog_errno = errno;						\
		if (!(cond)) {							\
			dprintf(2, "%s:%d: CHECK(%s) failed, errno before %d, after %d\n",	\
				__FILE__, __LINE__, #cond, prog_errno, errno);	\
			_exit(1);						\
		}								\
	} while (0)

/* Like CHECK(got == want) for integers; says both values. */
#define CHECK_EQ(got, want)							\
	do {									\
		long long prog_got = (long long)(got);				\
		long long prog_want = (long long)(want);			\
		if (prog_got != prog_want) {					\
			dprintf(2, "%s:%d: %s is %lld, want %s = %lld, errno %d\n",	\
				__FILE__, __LINE__, #got, prog_got, #want, prog_want, errno); \
			_exit(1);						\
		}								\
	} while (0)

/* call must return -1 and set errno to err. */
#define CHECK_FAILS(call, err)							\
	do {									\
		errno = 0;							\
		long long prog_ret = (long long)(call);				\
		int prog_err = errno;						\
		if (prog_ret != -1 || prog_err != (err)) {			\
			dprintf(2, "%s:%d: %s gave %lld, errno %d, want -1 and %s\n",	\
				__FILE__, __LINE__, #call, prog_ret, prog_err, #err);	\
			_exit(1);						\
		}								\
	} while (0)

/* Natively there may be no room for so many threads, and the test is skipped; under the shim there must be. */
static inline void prog_created(int err)
{
	if (err == EAGAIN && !getenv("GMPSHIM_EXPECT_LIVE")) {
		dprintf(2, "not so many threads here\n");
		_exit(77);
	}
	CHECK_EQ(err, 0);
}

static inline pthread_t prog_start(void *(*fn)(void *), void *arg)
{
	pthread_t t;

	prog_created(pthread_create(&t, NULL, fn, arg));
	return t;
}

static inline void *prog_join(pthread_t t)
{
	void *ret = NULL;

	CHECK_EQ(pthread_join(t, &ret), 0);
	return ret;
}

static inline void *prog_live_thread(void *arg)
{
	*(long *)arg = syscall(SYS_gettid);
	return NULL;
}

/*
 * To be called first in main. With GMPSHIM_EXPECT_LIVE=1 it proves that threads are run by the
 * shim: a shim that stepped aside would pass every test of this folder.
 */
static inline void prog_init(void)
{
	const char *want = getenv("GMPSHIM_EXPECT_LIVE");
	void *sym = dlsym(RTLD_DEFAULT, "pthread_create");
	Dl_info info;
	long tid = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!want || strcmp(want, "1"))
		return;
	if (!sym || !dladdr(sym, &info) || !info.dli_fname ||
	    !strstr(info.dli_fname, "libgmpshim")) {
		dprintf(2, "prog_init: pthread_create is not libgmpshim's\n");
		_exit(99);
	}
	prog_join(prog_start(prog_live_thread, &tid));
	if (tid <= PROG_MAX_KERNEL_TID) {
		dprintf(2, "prog_init: the shim is not live: gettid() of a thread is %ld\n", tid);
		_exit(99);
	}
}

/* Number of kernel threads of this process. */
static inline int prog_kthreads(void)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	int n = 0;

	CHECK(d);
	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

/*
 * Under the shim, many threads that wait have no kernel thread each. How many there are depends on the machine: whom
 * the kernel stops inside a short system call has another one stand in for it, and none of them ever ends.
 */
static inline void prog_few_kthreads(int waiters)
{
	int seen = prog_kthreads();

	if (getenv("GMPSHIM_EXPECT_LIVE") && seen >= waiters / 2) {
		dprintf(2, "%d kernel threads for %d waiters\n", seen, waiters);
		_exit(1);
	}
}

/* A system call by the instruction: not syscall(2), which a library could see as well. -errno on failure. */
static inline long prog_raw(long nr, long a, long b, long c, long d)
{
	long ret;

#if defined(__x86_64__)
	register long r10 __asm__("r10") = d;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = nr, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	ret = x0;
#endif
	return ret;
}

/* How much work to do: argv[1], default 1. */
static inline int prog_scale(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 1;

	return n > 0 ? n : 1;
}

static inline int64_t prog_now_ns(clockid_t clock)
{
	struct timespec ts;

	CHECK_EQ(clock_gettime(clock, &ts), 0);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* The time ms milliseconds from now (negative: ago) on the clock. */
static inline struct timespec prog_after_ms(clockid_t clock, long ms)
{
	int64_t ns = prog_now_ns(clock) + (int64_t)ms * 1000000;
	struct timespec ts = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	return ts;
}

/*
 * Makes an interleaving likely, e.g. that another thread is parked by now. No result may rest on
 * it.
 */
static inline void prog_nap_ms(long ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	while (nanosleep(&ts, &ts) == -1 && errno == EINTR)
		;
}

/* Writes the path of a file beside this executable into buf. */
static inline void prog_beside(char *buf, size_t size, const char *file)
{
	ssize_t n = readlink("/proc/self/exe", buf, size - 1);
	char *slash;

	CHECK(n > 0);
	buf[n] = '\0';
	slash = strrchr(buf, '/');
	CHECK(slash && (size_t)(slash + 1 - buf) + strlen(file) < size);
	strcpy(slash + 1, file);
}
