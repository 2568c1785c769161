// SPDX-License-Identifier: MIT
/*
 * Cancellation on glibc's own flags: pthread_cancel sets CANCELING|CANCELED in the target's TCB, so that libc's own
 * cancellation points, setcancelstate and testcancel act on it unhooked. Ours is to wake the target: out of a
 * park (PARK_INTR, then the hook tests), out of a system call and, for asynchronous cancelability, out of its own
 * code, by SIG_NOTIFY to its M, whose handler unwinds as glibc's does.
 */
#include <execinfo.h>
#include <string.h>

#include "core/tcb.h"
#include "preload/preload.h"

/* nptl/descr.h, glibc 2.34 to 2.36 */
#define CANCELSTATE 0x01 /* disabled */
#define CANCELTYPE 0x02	 /* asynchronous */
#define CANCELING 0x04
#define CANCELED 0x08
#define EXITING 0x10
#define TERMINATED 0x20

static _Atomic(int) *flags_of(struct g *gp)
{
	return (_Atomic(int) *)(gp->tcb + gmp_tcb.cancelhandling);
}

bool gmp_cancel_pending(struct g *gp)
{
	int v = atomic_load(flags_of(gp));

	return (v & (CANCELSTATE | CANCELED | EXITING | TERMINATED)) == CANCELED;
}

void gmp_testcancel(void)
{
	struct g *gp = getg();

	if (gp == NULL)
		return;
	/* The wake-up is spent; the request itself stays in libc's flags. Cleared before they are read. */
	if (unlikely(atomic_load_explicit(&gp->cancel_wake, memory_order_relaxed)))
		atomic_store(&gp->cancel_wake, 0);
	if (unlikely(gmp_cancel_pending(gp)))
		real.pthread_testcancel();
}

/* Deferred cancellation does not end such a wait: its wake-up is spent, the request stays. */
void gmp_testcancel_async(void)
{
	struct g *gp = getg();

	if (gp == NULL)
		return;
	atomic_store(&gp->cancel_wake, 0);
	if (gmp_cancel_pending(gp) && (atomic_load(flags_of(gp)) & CANCELTYPE))
		real.pthread_testcancel();
}

/*
 * A signal handler that runs meanwhile has its own cancellation points, and may leave by longjmp: run_handler in
 * signal.c takes the shield off for its time.
 */
bool gmp_cancel_shield(void)
{
	struct g *gp = getg();

	if (atomic_load_explicit(flags_of(gp), memory_order_relaxed) & (CANCELSTATE | CANCELTYPE))
		return false; /* own thread sets these */
	atomic_fetch_or(flags_of(gp), CANCELSTATE);
	gp->shielded = true;
	return true;
}

void gmp_cancel_unshield(void)
{
	struct g *gp = getg();

	gp->shielded = false;
	atomic_fetch_and(flags_of(gp), ~CANCELSTATE);
}

/* As libc's pthread_cancel: what unwinds the target is loaded here, where there is a stack for that. */
static void load_unwinder(void)
{
	static _Atomic(bool) loaded;
	void *pc;

	if (likely(atomic_load_explicit(&loaded, memory_order_relaxed))) /* libc has a lock for it */
		return;
	backtrace(&pc, 1);
	atomic_store_explicit(&loaded, true, memory_order_relaxed);
}

int hook_pthread_cancel(pthread_t th)
{
	struct g *gp;
	int v;

	if (!live() || (gp = gmp_thread(th)) == NULL)
		return PASS(pthread_cancel)(th);
	if (gp->exited)
		return 0;
	load_unwinder();
	v = atomic_fetch_or(flags_of(gp), CANCELING | CANCELED); /* seq_cst: then gmp_interrupt; see park.c */
	if (v & (CANCELSTATE | CANCELED | EXITING))
		return 0; /* disabled: seen when it is enabled; or asked before */
	if (gp == getg()) {
		if (v & CANCELTYPE)
			real.pthread_testcancel();
		return 0;
	}
	/* It may be in the shim, and on another M by the time of the signal: then it looks when it leaves. */
	if (v & CANCELTYPE)
		atomic_store_explicit(&gp->tls->deferred, 1, memory_order_relaxed);
	atomic_store(&gp->cancel_wake, 1);
	gmp_enter();
	if (!gmp_interrupt(gp)) {
		struct m *mp = gp->m;

		if (mp != NULL && (gp->status == G_RUNNING || gp->status == G_SYSCALL))
			gmp_notify(mp);
	}
	gmp_leave();
	return 0;
}

/*
 * In the handler of SIG_NOTIFY and at a hook's exit, on a G outside the shim: libc set the asynchronous type around its
 * system call too.
 */
void gmp_cancel_async(struct g *gp, void *uc)
{
	(void)uc;
	if (!gmp_cancel_pending(gp) || !(atomic_load(flags_of(gp)) & CANCELTYPE))
		return;
	if (gp->status == G_SYSCALL)
		gmp_exitsyscall();
	atomic_fetch_or(flags_of(gp), EXITING); /* libc says so later: a notice meanwhile would begin it anew */
	hook_pthread_exit(PTHREAD_CANCELED);
}
