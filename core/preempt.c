// SPDX-License-Identifier: MIT
/*
 * Stopping a G that runs too long, and taking the P of an M that sleeps in the kernel where no hook sees it or whose G
 * cannot be stopped.
 *
 * Preemption: sysmon sends SIG_NOTIFY to the M. Its handler begins on the M's signal stack and moves to the G's own
 * (sigstack.c); the kernel's frame there holds every register, and the G is queued and switched away from right there;
 * it is resumed, perhaps on another M, by returning from the handler. Not now, if the G is in a critical section of the
 * shim (inshim): it yields at the section's end. Nor on a stack that is not its own, or in code that holds locks others
 * cannot wait for cleanly (host.nopreempt: libc, ld.so, vdso): then p->preempt stays set and sysmon asks again every
 * 100 us; after two slices it takes the P as if the M slept, and the G runs on without one. No libc function, no lock,
 * no unwinding in the handler.
 *
 * Taking a P: from an M that holds it and sleeps past the hooks, or runs program code. Only one of sysmon and the M may
 * end up with the P:
 *
 *	sysmon			M, waking up
 *	pstolen = TRYING	inshim++		 (gmp_enter)
 *	membarrier		compiler barrier
 *	read inshim		read pstolen
 *
 * If sysmon reads inshim == 0 the M reads TRYING or TAKEN, and waits for the verdict. The flag is in the TLS of the G,
 * where gmp_enter finds it with one load. What the M really does, sleep, wait for a CPU (sysmon.c) or run, does not
 * matter for this. An M whose P was TAKEN queues its G at its next entry into the shim; one that does not come by is
 * reminded with SIG_NOTIFY (gmp_notify_lost).
 */
#include <linux/membarrier.h>
#include <signal.h>

#include "core/evtrace.h"
#include "core/gmp.h"

#define LOST_NS INT64_C(1000000) /* between two looks at a G without a P */

#define BLOCKABLE (SIG_ALL_BUT_NOTIFY & ~(SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP)))

enum pstolen { STOLEN_NO, STOLEN_TRYING, STOLEN_TAKEN };

static _Atomic(int) quiet; /* > 0: nobody sends SIG_NOTIFY */
static _Atomic(int) nlost; /* Gs that run without a P */

/* sysmon. True when pp was taken and handed on. */
bool gmp_retake_unseen(struct p *pp)
{
	struct m *mp = pp->m;
	struct g *gp = mp != NULL ? mp->curg : NULL;
	uint32_t tick = atomic_load_explicit(&pp->schedtick, memory_order_acquire), no = STOLEN_NO;
	bool ok;

	if (gp == NULL || gp->tls == NULL || gp->status != G_RUNNING)
		return false;
	if (!atomic_compare_exchange_strong(&gp->tls->pstolen, &no, STOLEN_TRYING))
		return false;
	ok = sys3(__NR_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0 && /* else a sandbox refuses it */
	     *(volatile uint32_t *)&gp->tls->inshim == 0 && mp->curg == gp && pp->m == mp && mp->p == pp &&
	     gp->status == G_RUNNING && atomic_load(&pp->schedtick) == tick && atomic_load(&pp->status) == P_RUNNING;
	if (!ok) {
		atomic_store(&gp->tls->pstolen, STOLEN_NO);
		return false;
	}
	atomic_fetch_add(&nlost, 1);
	sched.stat_unseen++;
	mp->lost_cpu = pp->mon_cpu;
	mp->lost_asked = 0;
	pp->m = NULL;
	atomic_store(&pp->status, P_IDLE);
	pp->mon_cpu = 0;
	atomic_fetch_add_explicit(&pp->schedtick, 1, memory_order_relaxed); /* a new slice */
	atomic_store(&gp->tls->pstolen, STOLEN_TAKEN); /* the M may go on; pp is no longer its own */
	gmp_handoffp(pp);
	return true;
}

/* gmp_enter found pstolen set; inshim is 1 or more. */
void gmp_enter_stolen(void)
{
	struct g *gp = getg();
	uint32_t v;

	for (int i = 0; (v = atomic_load(&gmp_tls.pstolen)) == STOLEN_TRYING; i++)
		gmp_spin(i);
	if (v != STOLEN_TAKEN)
		return;
	atomic_store(&gmp_tls.pstolen, STOLEN_NO);
	atomic_fetch_sub(&nlost, 1);
	gmp_reacquire(gp);
}

/*
 * Both are real-time signals: each one sent is queued, and they would nest on the receiver's stack. So none is sent
 * while one is on its way; the handler clears the flag before it looks at anything.
 */
static void notify(struct m *mp, int sig, _Atomic(uint32_t) *sent)
{
	if (atomic_exchange(sent, 1) != 0)
		return;
	/* seq_cst: sent, then quiet; pairs with gmp_quiet_begin */
	if (atomic_load(&quiet) > 0 || sys3(__NR_tgkill, sys_getpid(), mp->tid, sig) < 0)
		atomic_store(sent, 0); /* or the queue is full, the thread not yet there: asked again later */
}

void gmp_notify(struct m *mp)
{
	notify(mp, SIG_NOTIFY, &mp->notified);
}

void gmp_kick(struct m *mp)
{
	notify(mp, SIG_KICK, &mp->kicked);
}

/* cut is set before the P may be taken: who takes it sees that, and clears it. One that longjmp left costs a signal. */
long gmp_syscall_cut(long nr, long a, long b, long c)
{
	struct m *mp;
	long rc;

	gmp_enter();
	mp = getg()->m;
	atomic_store_explicit(&mp->cut, true, memory_order_relaxed); /* entersyscall releases it */
	gmp_entersyscall();
	gmp_leave();
	rc = arch_syscall_cut(nr, a, b, c, &mp->cut);
	atomic_store_explicit(&mp->cut, false, memory_order_relaxed);
	gmp_exitsyscall();
	return rc;
}

void gmp_cut(struct m *mp)
{
	if (mp != NULL && atomic_exchange_explicit(&mp->cut, false, memory_order_relaxed))
		gmp_notify(mp);
}

/* The calling G is about to exec: when this returns neither signal is pending for its M, and none will be sent. */
void gmp_quiet_begin(void)
{
	struct m *mp;

	atomic_fetch_add(&quiet, 1); /* seq_cst; from here on the G is not preempted, so it stays on its M */
	mp = getg()->m;
	while (atomic_load(&mp->notified) != 0 || atomic_load(&mp->kicked) != 0) {
		sys_yield();
		mp = getg()->m; /* the last one may have moved us */
	}
}

void gmp_quiet_end(void)
{
	atomic_fetch_sub(&quiet, 1);
}

/* It has computed since the last look, and runs at this moment or waits for a CPU. A sleeper would see EINTR. */
static bool computes(struct m *mp)
{
	int64_t cpu = gmp_thread_cpu(mp->tid), was = mp->lost_cpu;

	mp->lost_cpu = gmp_thread_cpu(mp->tid);
	return cpu - was >= GMP_BUSY_NS && (mp->lost_cpu > cpu || gmp_thread_state(mp->tid) == 'R');
}

/* sysmon: remind Gs that woke up, or ran on, without a P. */
bool gmp_notify_lost(int64_t now)
{
	bool any = false;

	if (atomic_load_explicit(&nlost, memory_order_relaxed) == 0)
		return false;
	for (struct m *mp = atomic_load_explicit(&sched.allm, memory_order_acquire); mp != NULL; mp = mp->alllink) {
		struct g *gp = mp->curg;

		if (gp != NULL && gp->tls != NULL && gp->tls->pstolen == STOLEN_TAKEN) {
			if (now - mp->lost_asked < LOST_NS)
				continue;
			mp->lost_asked = now;
			if (!computes(mp))
				continue;
			gmp_notify(mp);
			any = true;
		}
	}
	return any;
}

void gmp_preemptone(struct p *pp)
{
	struct m *mp = pp->m;

	if (mp != NULL)
		gmp_notify(mp);
}

/* The switch needs room below the handler: an overflow in its middle would be a fault inside the scheduler. */
#define STOP_ROOM 4096

/* uc: on whatever stack of gp's the handler is. */
static bool may_stop(struct g *gp, void *uc)
{
	uintptr_t pc = arch_uc_pc(uc);

	/*
	 * kmask: the kernel has set another mask than the books say, or the M's books another than the G's, for a few
	 * instructions: a handler begins or ends. The next G would run with that mask, or this one bring it to another
	 * M. sigslot: a signal waits for the hook's exit with all blocked; the same.
	 */
	if (gp->m->sigslot != NULL || gp->status != G_RUNNING || !gmp_on_own_stack(gp, arch_uc_sp(uc)) ||
	    !gmp_on_own_stack(gp, (uintptr_t)uc) ||
	    (((arch_uc_sigmask(uc) ^ gp->m->kmask) | (gp->sigmask ^ gp->m->kmask)) & BLOCKABLE) != 0)
		return false;
	for (unsigned i = 0; i < sizeof(gmp_host.nopreempt) / sizeof(gmp_host.nopreempt[0]); i++)
		if (pc >= gmp_host.nopreempt[i].lo && pc < gmp_host.nopreempt[i].hi)
			return false;
	return true;
}

/* On a g0, in the handler: block from here on what every G blocks (gmp_block_everywhere). */
static void refresh_idle_mask(struct m *mp, void *uc)
{
	gmp_sigset mask = mp->kmask | atomic_load(&sched.idlemask);

	arch_uc_set_sigmask(uc, mask);
	mp->kmask = mask;
}

/*
 * The last G that admitted one of `bits` has blocked it. Ms on their g0 may still admit it, with the mask of an earlier
 * G: a signal must not find them. Returns when none does, or some G admits them again: then Ms may, and nothing would
 * make them stop. Not inside gmp_enter() with a lock held.
 */
void gmp_block_everywhere(gmp_sigset bits)
{
	struct g *self = getg();

	for (struct m *mp = atomic_load_explicit(&sched.allm, memory_order_acquire); mp != NULL; mp = mp->alllink) {
		/* With a G on it, it is about to take over that G's mask; a handler may have set another one for good.
		 */
		int patience = 1000;

		while ((self == NULL || mp != self->m) && mp->tid != 0 &&
		       (~*(volatile gmp_sigset *)&mp->kmask & atomic_load(&sched.idlemask) & bits) != 0 &&
		       (mp->curg == NULL || patience-- > 0)) {
			if (mp->curg == NULL)
				gmp_notify(mp);
			sys_yield();
		}
	}
}

/* The rest of on_notify, on a stack of gp's. */
static void stop(int sig, siginfo_t *info, void *uc)
{
	gmp_sigset mask = arch_uc_sigmask(uc);
	struct g *gp = getg();

	(void)sig;
	(void)info;
	sys_sigmask(SIG_SETMASK, &mask, NULL); /* what came meanwhile comes now */
	if (gmp_host.notify != NULL)
		gmp_host.notify(gp, uc);
	if (may_stop(gp, uc)) {
		gmp_enter(); /* a G that lost its P queues here */
		gmp_slice_end(gp);
		gmp_leave_quiet(); /* what was put off comes below */
		/* While it was queued a cancellation may have come, whose sender found no M to notify. */
		if (gmp_host.notify != NULL)
			gmp_host.notify(gp, uc);
	}
	if (gmp_host.signals != NULL)
		gmp_host.signals(gp, uc);
}

/*
 * Where to go on with a G outside the shim: on its own stack, if it was there. Else it cannot be stopped; if there is
 * news for it, where a handler of its own would run, with room for us. NULL: nowhere; news waits for its next hook.
 */
static void *landing(struct g *gp, void *uc)
{
	void *to = gmp_sigframe_home(gp, uc, STOP_ROOM);
	uintptr_t at;

	if (to != NULL || !atomic_load_explicit(&gmp_tls.deferred, memory_order_relaxed)) /* whoever set it notifies */
		return to;
	to = gmp_sigframe_handler(gp, uc);
	at = (uintptr_t)to;
	if (gmp_on_altstack(&gp->altstack, at) && at - (uintptr_t)gp->altstack.sp < STOP_ROOM)
		return NULL;
	return to;
}

/*
 * SIG_NOTIFY and SIG_KICK. On an M's signal stack, with all signals blocked: the kernel makes the frames of all that
 * are pending before the first of their handlers begins, and under one whose handler waits or jumps this one would
 * clear the flag of another M, or none.
 */
static void on_notify(int sig, siginfo_t *info, void *uc)
{
	struct g *gp = getg();
	void *to;

	(void)info;
	if (gp != NULL)
		atomic_store(sig == SIG_KICK ? &gp->m->kicked : &gp->m->notified, 0);
	gmp_cred_catch_up(gp != NULL ? gp->m : NULL);
	arch_uc_cut(uc);
	if (gp != NULL && gp->kind == GK_G0 && atomic_load_explicit(&gp->m->idlewait, memory_order_relaxed))
		refresh_idle_mask(gp->m, uc); /* else the M is on its way and looks by itself */
	if (gp != NULL && unlikely(atomic_load_explicit(&gp->m->dump_state, memory_order_relaxed) != 0))
		gmp_dump_answer(gp, uc);
	if (gp == NULL && gmp_trace_asked())
		gmp_wake_sysmon(); /* gmprun trace of a process that idles */
	if (gp == NULL || gp->kind == GK_G0)
		return;
	/* in the shim, or in a handler that is still on this stack */
	if (gmp_tls.inshim > 0 || gmp_on_sigstack(gp->m, arch_uc_sp(uc))) {
		atomic_store_explicit(&gmp_tls.deferred, 1, memory_order_relaxed); /* own thread */
		return;
	}
	gmp_sigstack_keep(uc);
	to = landing(gp, uc);
	if (to != NULL)
		arch_rehandle(to, sig, stop);
}

/* glibc's first pthread_create installs a handler of its own for SIG_NOTIFY. */
void gmp_preempt_handlers(void)
{
	struct {
		void (*handler)(int, siginfo_t *, void *);
		unsigned long flags;
		void (*restorer)(void);
		gmp_sigset mask;
	} act = {on_notify, SA_SIGINFO | SA_ONSTACK | SA_RESTART | 0x04000000 /* SA_RESTORER */, arch_sigreturn,
		 ~(gmp_sigset)0};

	sys4(__NR_rt_sigaction, SIG_NOTIFY, &act, NULL, sizeof(gmp_sigset));
	act.flags &= ~(unsigned long)SA_RESTART;
	sys4(__NR_rt_sigaction, SIG_KICK, &act, NULL, sizeof(gmp_sigset));
}

void gmp_preempt_init(void)
{
	gmp_preempt_handlers();
	sys3(__NR_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
	atomic_store_explicit(&nlost, 0, memory_order_relaxed); /* also in a forked child */
	atomic_store_explicit(&quiet, 0, memory_order_relaxed);
}
