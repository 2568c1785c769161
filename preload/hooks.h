// SPDX-License-Identifier: MIT
/*
 * The libc face. A hooked function is one row in hooks.def and one body:
 *
 *	HOOK(accept4, NULL, PARK)				 hooks.def
 *	int hook_accept4(int fd, ...) { ... real.accept4(...) }	 net.c
 *
 * hook_accept4 is declared here with the type of libc's own accept4 and the assembler name "accept4", so that a body
 * without a row (missing prototype), or with another signature, does not compile, and a row without a body fails
 * check-exports. real.accept4 is the original, found in libc itself (resolve.c).
 *
 * Every body begins with the way out for "the scheduler is not running": PASS(name)(args).
 */
#pragma once
#include <errno.h>
#include <stdbool.h>

#include "core/gmp.h"
#include "preload/libc.h"

#define HOOK(name, version, class) \
	extern __typeof__(name) hook_##name __asm__(#name) __attribute__((visibility("default")));
#include "preload/hooks.def"
#undef HOOK

struct real {
#define HOOK(name, version, class) __typeof__(name) *name;
#include "preload/hooks.def"
#undef HOOK
#define REAL(name, version) __typeof__(name) *name;
#include "preload/real.def"
#undef REAL
};

extern struct real real;

extern bool gmp_resolved; /* real is filled */
void gmp_resolve(void);	  /* idempotent; calls no hooked function */

/* The original of a hooked function, also before the constructor ran. */
#define PASS(name) (likely(gmp_resolved) ? real.name : (gmp_resolve(), real.name))

/* Threads are Gs from the first pthread_create on; until then every hook passes. */
static inline bool live(void)
{
	return likely(atomic_load_explicit(&sched.started, memory_order_relaxed)); /* set before other threads are */
}

/* The calling thread is a G that may park or give its P away. Mends a system call left by longjmp. */
static inline bool on_g(void)
{
	struct g *gp = getg();

	if (!live() || gp == NULL || unlikely(gmp_tls.inshim != 0)) /* inshim: the child of vfork */
		return false;
	return likely(gp->status == G_RUNNING) || (gp->status == G_SYSCALL && gmp_exitsyscall_stale(gp));
}

/* errno as a value: safe across a switch, since the thread pointer, and so errno, belongs to the G. */
static inline int fail(int err)
{
	errno = err;
	return -1;
}

/* --- signal.c and cancel.c: what a blocking hook does when its wait was interrupted --- */

/* Remember how many handlers ran; to be taken before the wait. */
struct intr_mark {
	uint32_t count, norestart;
};

static inline struct intr_mark intr_begin(void)
{
	return (struct intr_mark){gmp_tls.sig_count, gmp_tls.sig_norestart};
}

/* True: the call must fail with EINTR (a handler ran; restartable calls: one without SA_RESTART). */
static inline bool intr_fails(struct intr_mark m, bool restartable)
{
	return restartable ? gmp_tls.sig_norestart != m.norestart : gmp_tls.sig_count != m.count;
}

void gmp_testcancel(void); /* a cancellation point: does not return when one is due */

/* In stress mode, now and then let others run; every blocking hook begins with it. */
static inline void stress_point(void)
{
	void gmp_stress_yield(void);

	if (unlikely(sched.stress))
		gmp_stress_yield();
}

/*
 * A call that blocks in the kernel: the P is free meanwhile (entersyscall, exitsyscall). A call that returns -1 with
 * EINTR though no handler ran on this G (a wake-up meant for another G on this M) goes on.
 */
#define HANDOFF_CALL(ret, call)                                                    \
	do {                                                                       \
		struct intr_mark intr_ = intr_begin();                             \
		gmp_entersyscall();                                                \
		(ret) = (call);                                                    \
		gmp_exitsyscall();                                                 \
		if ((long)(ret) != -1 || errno != EINTR || intr_fails(intr_, false)) \
			break;                                                     \
	} while (1)

#define HANDOFF(type, name, params, args)      \
	type hook_##name params                \
	{                                      \
		type ret;                      \
                                               \
		if (!on_g())                   \
			return PASS(name) args; \
		stress_point();                \
		HANDOFF_CALL(ret, real.name args); \
		return ret;                    \
	}

/* --- deadlines --- */

/* A valid timespec: 0 <= tv_nsec < 1e9. */
static inline bool ts_valid(const struct timespec *ts)
{
	return ts->tv_nsec >= 0 && ts->tv_nsec < NSEC_PER_SEC;
}

/*
 * The deadline (core/gmp.h) of an absolute time on clock (CLOCK_REALTIME or CLOCK_MONOTONIC), or of a relative one
 * (gmp_deadline_rel: always monotonic). Saturates before GMP_NO_DEADLINE. The time must be valid (ts_valid).
 */
int64_t gmp_deadline_abs(clockid_t clock, const struct timespec *abs);
int64_t gmp_deadline_rel(const struct timespec *rel);
