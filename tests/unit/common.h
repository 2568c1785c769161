// SPDX-License-Identifier: MIT
/*
 * What the unit tests share: a fake gmp_host in three strengths, native kernel threads, and the runner. check forks
 * each test case, so every case begins with untouched runtime state.
 *
 *	ut_host()	clock and page size: for data structures and threads that are no Gs
 *	ut_host_tls()	real TLS blocks from ld.so too: for gmp_galloc
 *	ut_boot()	the whole scheduler, without preemption; the test function becomes the main G
 */
#pragma once
#include <check.h>
#include <pthread.h>

#include "core/gmp.h"

/* An assertion for hot loops and races: a check that holds costs nothing (ck_assert writes to a file each time). */
#define UT_ASSERT(cond)                                   \
	do {                                              \
		if (!(cond))                              \
			ck_abort_msg("%s is false", #cond); \
	} while (0)

#define UT_MAX_KERNEL_TID 4194304 /* PID_MAX_LIMIT of a 64-bit kernel */

void ut_host(void);
void ut_host_tls(void);
void ut_boot(int procs);

/* A G that runs fn(arg) and frees its slot at the end. On a G or a native thread, after ut_boot(). */
struct g *ut_go(void (*fn)(void *), void *arg);
void ut_yield(void);
void ut_wait_all(void); /* main G: until every G of ut_go has ended */

/* Zeroed structs that are never run. */
struct g *ut_fake_gs(int n);
struct p *ut_fake_p(void);

/* Until *word is not val; yields the CPU after a while. */
void ut_spin_until(_Atomic(uint32_t) *word, uint32_t val);

pthread_t ut_thread(void *(*fn)(void *), void *arg);
void ut_join(pthread_t th);

/* A generator with a seed of its own, printed when the test begins; UT_SEED=n repeats a run. */
uint32_t ut_rand(uint32_t below);

/* futex-like wake, as a hook does it */
int ut_wake(const void *addr, int n);

/* Run all cases, TAP on stdout. The exit status. */
int ut_run(TCase *tc, const char *name);
