// SPDX-License-Identifier: MIT
/*
 * Raw system calls: no errno, no cancellation, no TLS. Each returns -errno on failure.
 * Only what core itself needs.
 */
#pragma once
#include <asm/unistd.h>
#include <linux/futex.h>
#include <linux/time_types.h>
#include <stdint.h>

#include "arch/arch.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define noinline __attribute__((noinline))

#define sys6(n, a, b, c, d, e, f) \
	arch_syscall6((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define sys5(n, a, b, c, d, e) sys6(n, a, b, c, d, e, 0)
#define sys4(n, a, b, c, d) sys6(n, a, b, c, d, 0, 0)
#define sys3(n, a, b, c) sys6(n, a, b, c, 0, 0, 0)
#define sys2(n, a, b) sys6(n, a, b, 0, 0, 0, 0)
#define sys1(n, a) sys6(n, a, 0, 0, 0, 0, 0)
#define sys0(n) sys6(n, 0, 0, 0, 0, 0, 0)

typedef uint64_t gmp_sigset; /* the kernel's sigset_t: bit n-1 is signal n */

#define SIG_BIT(n) (UINT64_C(1) << ((n) - 1))
/*
 * glibc's SIGCANCEL and SIGSETXID: no program can see, block or send them. SIG_KICK is the same as SIG_NOTIFY, but
 * system calls end with EINTR. It has the lower number: the kernel takes that first; SIG_NOTIFY would restart the call.
 */
#define SIG_KICK   32
#define SIG_NOTIFY 33
#define SIG_ALL_BUT_NOTIFY (~(SIG_BIT(SIG_NOTIFY) | SIG_BIT(SIG_KICK)))

static inline int sys_futex_wait(_Atomic(uint32_t) *addr, uint32_t val, int64_t rel_ns)
{
	struct __kernel_timespec ts = {.tv_sec = rel_ns / 1000000000, .tv_nsec = rel_ns % 1000000000};
	return (int)sys4(__NR_futex, addr, FUTEX_WAIT_PRIVATE, val, rel_ns < 0 ? NULL : &ts);
}

/* deadline: as in gmp.h, INT64_MAX: none. */
static inline int sys_futex_wait_until(_Atomic(uint32_t) *addr, uint32_t val, int64_t deadline)
{
	int64_t when = deadline < 0 ? -deadline : deadline;
	struct __kernel_timespec ts = {.tv_sec = when / 1000000000, .tv_nsec = when % 1000000000};
	int op = FUTEX_WAIT_BITSET_PRIVATE | (deadline < 0 ? FUTEX_CLOCK_REALTIME : 0);

	return (int)sys6(__NR_futex, addr, op, val, deadline == INT64_MAX ? NULL : &ts, NULL, FUTEX_BITSET_MATCH_ANY);
}

static inline int sys_futex_wake(_Atomic(uint32_t) *addr, int n)
{
	return (int)sys3(__NR_futex, addr, FUTEX_WAKE_PRIVATE, n);
}

static inline int sys_sigmask(int how, const gmp_sigset *set, gmp_sigset *old)
{
	return (int)sys4(__NR_rt_sigprocmask, how, set, old, sizeof(gmp_sigset));
}

static inline int sys_gettid(void)
{
	return (int)sys0(__NR_gettid);
}

static inline int sys_getpid(void)
{
	return (int)sys0(__NR_getpid);
}

static inline void sys_yield(void)
{
	sys0(__NR_sched_yield);
}

static inline void sys_nanosleep(int64_t ns)
{
	struct __kernel_timespec ts = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
	sys2(__NR_nanosleep, &ts, NULL);
}
