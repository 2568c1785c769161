// SPDX-License-Identifier: MIT
/*
 * The scheduler, after Go's proc.go: its function names, its order, its constants.
 *
 * Worker parking. Ready work must find an M, and idle Ms must not spin for ever. An M out of work spins (looks for
 * work to steal) before it sleeps; at most half of the busy Ps' number spin at once. Two orderings pair up:
 *
 *   submit work (run queue, timer, netpoll)  StoreLoad  look for an idle P and no spinner; if so, wake an M (wakep)
 *   give a P back (npidle++), nmspinning--   StoreLoad  look at every source of work once more
 *
 * so either the submitter wakes an M, or a spinner or whoever idles a P after it sees the work. The last spinner that
 * finds work wakes the next (resetspinning). Every M that gives its P back looks again, not only one that was spinning,
 * so no flag is needed for work that was found or submitted while there was no idle P (Go: needspinning). Checked by
 * tests/models/spinning.pml.
 *
 * Switching. A G that stops running does all its state changes on its own stack, then calls gmp_block_switch,
 * which goes straight to the next G of the local queue, or to g0, whose loop is schedule(). ctx.running of the
 * old G falls to 0 only when its registers are saved; whoever resumes it waits for that. g0 may wait (its own
 * caller is saved); a G on its own stack may not, or two Ms could wait for each other: it goes to g0 instead.
 *
 * Rejected: parking always through g0 as Go does (two switches instead of one: 40 ns a park), and
 * unlocking the wait queue only after the switch (a lock held across stacks).
 *
 * Contexts: functions marked g0 run on a g0; the others on a G, inside gmp_enter().
 */
#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/mman.h>

#include "core/gmp.h"
#include "core/evtrace.h"
#include "core/log.h"
#include "core/netpoll.h"
#include "core/probe.h"
#include "core/sema.h"
#include "core/tcb.h"

#define G0_STACK ((size_t)64 << 10)
#define RESIZE_NS INT64_C(1000000) /* gmp_procresize: between two looks at the Ps that are to go */
#define COALESCE_TIMERS 32
#define COALESCE_NS INT64_C(500000)
#define IO_SHARE_NS INT64_C(100000) /* of a P, without a park */
#define FAST_SWITCHES 8 /* direct switches between two looks at the timers, while there are some */
#define GLOBAL_TICKS 61 /* Go: one in so many looks at the global queue first */

struct sched sched;
struct gmp_host gmp_host;
__thread struct gmp_tls gmp_tls __attribute__((visibility("hidden"), tls_model("initial-exec")));

static struct m m0;
static struct m not_m0; /* g->lockedm of a runnable G that wants any M but m0 */

static void mstart_cloned(void *arg) __attribute__((noreturn));

uint32_t gmp_fastrand(void)
{
	uint32_t x = gmp_tls.rnd; /* xorshift32; a race with a signal handler only repeats a number */

	if (x == 0)
		x = (uint32_t)(sched.stress_seed ? sched.stress_seed + (uint64_t)gmp_tls.tid : arch_cycles()) | 1;
	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	gmp_tls.rnd = x;
	return x;
}

/* --- signal masks --- */

void gmp_set_kmask(struct m *mp, gmp_sigset mask)
{
	mask &= SIG_ALL_BUT_NOTIFY;
	if (mp->kmask == mask)
		return;
	sys_sigmask(SIG_SETMASK, &mask, NULL);
	mp->kmask = mask;
	atomic_signal_fence(memory_order_seq_cst);
	/* A signal just before or after the call filled the slot, which holds one: block everything again. */
	if (mp->sigslot != NULL && mp->kmask != SIG_ALL_BUT_NOTIFY) {
		mask = SIG_ALL_BUT_NOTIFY;
		sys_sigmask(SIG_SETMASK, &mask, NULL);
		mp->kmask = mask;
	}
}

/*
 * g0, before a wait: admit what some G admits. gmp_block_everywhere stores sched.idlemask, then looks at kmask; here
 * kmask is stored, then idlemask looked at again (both seq_cst). Signals are opened in kmask before the kernel opens
 * them and closed in it after, so that kmask never claims to block what the kernel admits.
 */
static void set_idle_mask(struct m *mp)
{
	for (;;) {
		gmp_sigset mask = atomic_load(&sched.idlemask) & SIG_ALL_BUT_NOTIFY, was = mp->kmask;

		if (mask != was) {
			mp->kmask = was & mask;
			atomic_thread_fence(memory_order_seq_cst);
			sys_sigmask(SIG_SETMASK, &mask, NULL);
			mp->kmask = mp->sigslot != NULL ? SIG_ALL_BUT_NOTIFY : mask;
			if (mp->sigslot != NULL) { /* a signal came in between and left everything blocked */
				mask = SIG_ALL_BUT_NOTIFY;
				sys_sigmask(SIG_SETMASK, &mask, NULL);
				return;
			}
			atomic_thread_fence(memory_order_seq_cst);
		}
		if ((atomic_load(&sched.idlemask) & SIG_ALL_BUT_NOTIFY) == mask)
			return;
	}
}

/* --- idle lists; sched.lock held --- */

/*
 * GOMAXPROCS falls without stopping the world: only the Ps that go are waited for (gmp_procresize). Any M that has one
 * of them in hand with nothing to run on it gives it up here.
 */
static void retire(struct p *pp)
{
	atomic_store_explicit(&pp->status, P_DEAD, memory_order_relaxed); /* sched.lock */
	pp->m = NULL;
	atomic_fetch_sub(&sched.gomaxprocs, 1);
	gmp_notewakeup(&sched.resized);
}

static void pidleput(struct p *pp)
{
	if (unlikely(pp->retiring)) {
		retire(pp);
		return;
	}
	atomic_store_explicit(&pp->status, P_IDLE, memory_order_relaxed); /* sched.lock */
	pp->m = NULL;
	pp->link = sched.pidle;
	sched.pidle = pp;
	atomic_fetch_add(&sched.npidle, 1);
}

void gmp_wake_sysmon(void)
{
	/* seq_cst: after the caller's change of npidle or of its P's status; pairs with gmp_sysmon's sleep */
	if (unlikely(atomic_load(&sched.sysmonwait)) && atomic_exchange(&sched.sysmonwait, 0))
		gmp_notewakeup(&sched.sysmonnote);
}

static struct p *pidleget(void)
{
	struct p *pp = sched.pidle;

	if (pp != NULL) {
		sched.pidle = pp->link;
		atomic_fetch_sub(&sched.npidle, 1);
		gmp_wake_sysmon();
	}
	return pp;
}

static void acquirep(struct m *mp, struct p *pp)
{
	pp->m = mp;
	mp->p = pp;
	atomic_store_explicit(&pp->status, P_RUNNING, memory_order_release); /* owner fields above, for sysmon */
}

static struct p *releasep(struct m *mp)
{
	struct p *pp = mp->p;

	mp->p = NULL;
	pp->m = NULL;
	return pp;
}

/* --- Ms --- */

/* g0: wait for a P. Idle Ms admit the signals that some G admits, and route them (host.route_slot). */
static void m_sleep(struct m *mp)
{
	uint32_t key;

	set_idle_mask(mp);
	/* key: 0 asleep, 1 woken by gmp_notewakeup, 2 poked by a signal handler of this M (gmp_poke) */
	while ((key = atomic_load_explicit(&mp->park.key, memory_order_acquire)) != 1) {
		atomic_store_explicit(&mp->idlewait, IDLE_PARKED, memory_order_relaxed); /* own signal handler only */
		if (key == 0 && mp->sigslot == NULL)
			sys_futex_wait(&mp->park.key, 0, -1);
		atomic_store_explicit(&mp->idlewait, 0, memory_order_relaxed);
		key = 2;
		atomic_compare_exchange_strong(&mp->park.key, &key, 0);
		if (mp->sigslot != NULL) {
			gmp_host.route_slot(mp);
			set_idle_mask(mp);
		}
	}
	gmp_noteclear(&mp->park);
	atomic_store_explicit(&sched.coarse_now, gmp_nanotime(), memory_order_relaxed); /* sysmon may have slept */
}

/*
 * In a signal handler that has filled mp's slot: a wait that is about to begin must not (the handler may run between
 * the look at the slot and the system call, which would then not see EINTR).
 */
void gmp_poke(struct m *mp)
{
	uint32_t zero = 0;

	switch (atomic_load_explicit(&mp->idlewait, memory_order_relaxed)) {
	case IDLE_PARKED:
		atomic_compare_exchange_strong(&mp->park.key, &zero, 2);
		break;
	case IDLE_POLLING:
		gmp_netpoll_break();
		break;
	}
}

static void midleput(struct m *mp)
{
	gmp_lock(&sched.lock);
	mp->schedlink = sched.midle;
	sched.midle = mp;
	sched.nmidle++;
	gmp_unlock(&sched.lock);
}

/* g0: mp is on the list of idle Ms, or its G's turn is awaited: sleep until somebody brings a P. */
static void m_sleep_for_p(struct m *mp)
{
	m_sleep(mp);
	acquirep(mp, mp->nextp);
	mp->nextp = NULL;
}

/* g0 */
static void stopm(struct m *mp)
{
	midleput(mp);
	m_sleep_for_p(mp);
}

static void *m_alloc_tls(struct m *mp)
{
	/* A g0 runs no libc code: a zeroed block with a self-consistent TCB is enough, and costs no malloc. */
	size_t size = gmp_host.tls_size + gmp_host.tls_align;
	char *mem = gmp_persistentalloc(size + 64, 64), *tcb;
	struct gmp_tls *tls;

	if (mem == NULL)
		return NULL;
	tcb = (char *)(((uintptr_t)mem + size - gmp_host.tcb_size) & -(uintptr_t)gmp_host.tls_align);
	arch_tcb_init(tcb, (const void *)arch_get_tp());
	tls = (struct gmp_tls *)(tcb + gmp_host.shim_tls_offset);
	tls->g = &mp->g0;
	tls->inshim = 1; /* for ever: program code never runs on a g0 */
	mp->g0.tls = tls;
	mp->g0.tcb = tcb;
	return tcb;
}

static bool m_init(struct m *mp)
{
	/* a guard, the signal stack, a guard, the stack of g0 */
	size_t signals = sched.page_size + GMP_SIGSTACK;
	char *mem = gmp_mmap(signals + G0_STACK), *stack;

	if (mem == NULL || m_alloc_tls(mp) == NULL)
		return false;
	stack = mem + signals;
	sys3(__NR_mprotect, mem, sched.page_size, PROT_NONE);
	sys3(__NR_mprotect, stack, sched.page_size, PROT_NONE);
	mp->sigstack = mem + sched.page_size;
	mp->g0.kind = GK_G0;
	mp->g0.m = mp;
	mp->g0.status = G_RUNNING;
	mp->g0.stack_lo = stack + sched.page_size;
	mp->g0.stack_hi = stack + G0_STACK;
	mp->g0.parker.gp = &mp->g0;
	arch_ctx_init(&mp->g0.ctx, mp->g0.stack_hi, (uintptr_t)mp->g0.tcb, gmp_mstart, mp);
	return true;
}

static void mdead_put(struct m *mp)
{
	atomic_store(&mp->dead, true);
	gmp_lock(&sched.lock);
	mp->schedlink = sched.mdead;
	sched.mdead = mp;
	gmp_unlock(&sched.lock);
}

/* An M whose kernel thread has left its stack, or never was, or NULL. */
static struct m *mdead_get(void)
{
	struct m **link, *mp;

	gmp_lock(&sched.lock);
	/* acquire: the kernel cleared the word as the thread's last act */
	for (link = &sched.mdead; (mp = *link) != NULL; link = &mp->schedlink)
		if (atomic_load_explicit(&mp->tidword, memory_order_acquire) == 0) {
			*link = mp->schedlink;
			break;
		}
	gmp_unlock(&sched.lock);
	return mp;
}

/* g0: the end of a kernel thread. What its robust list holds, and who waits for tidword, is the kernel's business. */
static void __attribute__((noreturn)) mexit(struct m *mp)
{
	gmp_sigset all = ~(gmp_sigset)0; /* SIG_NOTIFY as well */

	sys_sigmask(SIG_SETMASK, &all, NULL);
	if (mp->sigslot != NULL)
		gmp_host.route_slot(mp);
	mp->kmask = all;
	mp->exiting = false;
	mp->tid = 0;
	mp->cpu_mark = 0;
	mp->notified = mp->kicked = 0;
	if (mp->p != NULL)
		gmp_handoffp(releasep(mp));
	mdead_put(mp);
	for (;;)
		sys1(__NR_exit, 0);
}

/*
 * A new kernel thread: that takes pp, or (pp == NULL) that waits for `own`, the only G it is to run. False: the kernel
 * or memory says no; nothing has changed.
 */
static bool newm(struct p *pp, bool spinning, struct g *own)
{
	static const unsigned long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_SIGHAND |
					   CLONE_THREAD | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
	gmp_sigset all = SIG_ALL_BUT_NOTIFY, old;
	struct m *mp, *head;
	int tid;

	if (own == NULL && getg() != NULL && getg()->m->tainted)
		return false; /* sysmon will */
	mp = mdead_get();
	if (mp == NULL) {
		mp = gmp_persistentalloc(sizeof(*mp), 64);
		if (mp == NULL)
			return false;
		gmp_lock(&sched.lock);
		mp->id = sched.mcount++;
		gmp_unlock(&sched.lock);
		if (mp->id >= GMP_MAXM)
			gmp_throw("thread exhaustion: 10000 kernel threads are blocked; see README, limits");
	}
	if (mp->g0.stack_hi == NULL && !m_init(mp)) {
		mdead_put(mp);
		return false;
	}
	mp->tainted = own != NULL;
	mp->lockedg = own;
	gmp_cred_new_m(mp, getg() != NULL ? getg()->m : NULL);
	mp->nextp = pp;
	mp->spinning = spinning;
	mp->kmask = all;
	mp->reset_props = getg() != NULL && getg()->m->props;
	mp->reset_name = getg() == NULL;
	mp->g0.ctx.running = 1;
	atomic_store(&mp->dead, false); /* from here on a change of credentials waits for it */
	sys_sigmask(SIG_SETMASK, &all, &old);
	tid = arch_clone(flags, mp->g0.stack_hi, (uintptr_t)mp->g0.tcb, (int *)&mp->tidword, mstart_cloned, mp);
	sys_sigmask(SIG_SETMASK, &old, NULL);
	if (tid < 0) {
		mp->lockedg = NULL;
		mdead_put(mp); /* while a limit lasts there are many tries, and none may cost memory or a number */
		return false;
	}
	if (own != NULL) {
		own->lockedm = mp;
		own->lockcnt = 1;
	}
	if (mp->listed)
		return true;
	mp->listed = true;
	head = atomic_load_explicit(&sched.allm, memory_order_relaxed); /* a start value */
	do
		mp->alllink = head;
	while (!atomic_compare_exchange_weak_explicit(&sched.allm, &head, mp, memory_order_release,
						      memory_order_relaxed));
	return true;
}

/*
 * Inside gmp_enter() on a G whose M is tainted: what it creates inherits what it has become, so gp, which is not yet
 * ready, gets an M cloned from this one, tainted as well. False: there is none.
 */
bool gmp_newm_tainted(struct g *gp)
{
	return newm(NULL, false, gp);
}

/* Run pp (NULL: an idle one) on some M. spinning: the caller has counted it in nmspinning. Any thread. */
void gmp_startm(struct p *pp, bool spinning)
{
	struct m *mp;
	struct g *gp;
	bool inherit;

	gmp_lock(&sched.lock);
	if (pp == NULL)
		pp = pidleget();
	if (pp == NULL) {
		/* Under the lock: nobody may rely on this spinner who saw it after somebody has idled a P again. */
		if (spinning)
			atomic_fetch_sub(&sched.nmspinning, 1);
		gmp_unlock(&sched.lock);
		return;
	}
	mp = sched.midle;
	if (mp != NULL) {
		sched.midle = mp->schedlink;
		sched.nmidle--;
	}
	gmp_unlock(&sched.lock);
	if (mp != NULL) {
		mp->spinning = spinning;
		mp->nextp = pp;
		gmp_notewakeup(&mp->park);
		return;
	}
	if (newm(pp, spinning, NULL))
		return;
	/* No kernel thread to be had: the P waits; sysmon tries again while there is work. */
	if (spinning)
		atomic_fetch_sub(&sched.nmspinning, 1);
	gmp_lock(&sched.lock);
	while ((gp = gmp_runqget(pp, &inherit)) != NULL)
		gmp_globrunqput_locked(gp);
	pidleput(pp);
	gmp_unlock(&sched.lock);
}

/* Some queue is not empty. To be asked after npidle or nmspinning has been changed (seq_cst). */
bool gmp_work_waits(void)
{
	if (atomic_load(&sched.runqsize) != 0)
		return true;
	for (int i = 0; i < sched.nallp; i++)
		if (!gmp_runqempty(sched.allp[i]))
			return true;
	return false;
}

/* Hand a P that its M leaves behind to another M, or idle it. The caller holds it by nothing but pp. */
void gmp_handoffp(struct p *pp)
{
	int64_t when;

	if (unlikely(pp->retiring)) {
		bool inherit;
		struct g *gp;

		gmp_lock(&sched.lock);
		while ((gp = gmp_runqget(pp, &inherit)) != NULL)
			gmp_globrunqput_locked(gp);
		pidleput(pp);
		gmp_unlock(&sched.lock);
		gmp_wakep(); /* for its queue, and for the network, if it was the last that ran */
		return;
	}
	atomic_fetch_add_explicit(&sched.stat_handoffs, 1, memory_order_relaxed);
	GMP_PROBE1(handoff, pp->id);
	gmp_trace(pp, TR_HANDOFF, NULL); /* pp is the caller's alone */
	if (!gmp_runqempty(pp) || atomic_load(&sched.runqsize) != 0) {
		gmp_startm(pp, false);
		return;
	}
	/* No local work. No spinning and no idle Ps: somebody may need help. */
	if (atomic_load(&sched.nmspinning) + atomic_load(&sched.npidle) == 0) {
		int32_t zero = 0;

		if (atomic_compare_exchange_strong(&sched.nmspinning, &zero, 1)) {
			gmp_startm(pp, true);
			return;
		}
	}
	gmp_lock(&sched.lock);
	if (atomic_load(&sched.runqsize) != 0) {
		gmp_unlock(&sched.lock);
		gmp_startm(pp, false);
		return;
	}
	/* The last running P, and nobody polls the network: another M must. */
	if (atomic_load(&sched.npidle) == sched.gomaxprocs - 1 && atomic_load(&sched.lastpoll) != 0) {
		gmp_unlock(&sched.lock);
		gmp_startm(pp, false);
		return;
	}
	when = atomic_load(&pp->timer0_when);
	pidleput(pp);
	gmp_unlock(&sched.lock);
	if (gmp_work_waits())
		gmp_wakep();
	if (when != 0 && atomic_load(&sched.lastpoll) == 0) {
		int64_t until = atomic_load(&sched.poll_until);

		if (until == 0 || until > when)
			gmp_netpoll_break();
	} else if (when != 0) {
		gmp_wakep();
	}
}

/* Somebody submitted work: wake an M to look for it unless one is looking. Any thread. */
void gmp_wakep(void)
{
	int32_t zero = 0;

	if (!atomic_load_explicit(&sched.started, memory_order_relaxed)) /* set before the second G exists */
		return;
	/* seq_cst loads: the caller's submit is before them; pairs with findrunnable's recheck */
	if (atomic_load(&sched.npidle) == 0 || atomic_load(&sched.nmspinning) != 0 ||
	    !atomic_compare_exchange_strong(&sched.nmspinning, &zero, 1))
		return;
	gmp_startm(NULL, true);
}

/* --- making Gs runnable --- */

/* The P of the calling M, NULL on foreign threads, on sysmon and in system calls. */
static struct p *curp(void)
{
	struct g *gp = getg();

	return gp != NULL && gp->m != NULL ? gp->m->p : NULL;
}

void gmp_ready_queue(struct g *gp)
{
	struct p *pp = curp();

	GMP_PROBE1(ready, gp->goid);
	atomic_store_explicit(&gp->status, G_RUNNABLE, memory_order_relaxed); /* the run queue publishes it */
	if (likely(pp != NULL)) {
		gmp_trace(pp, TR_READY, gp);
		gmp_runqput(pp, gp, true);
	} else {
		gmp_lock(&sched.lock);
		gmp_trace_ready_locked(gp);
		gmp_globrunqput_locked(gp);
		gmp_unlock(&sched.lock);
	}
}

void gmp_ready_wake(void)
{
	arch_mb_after_rmw(); /* submit, StoreLoad, look for spinners */
	gmp_wakep();
}

void gmp_ready(struct g *gp)
{
	gmp_ready_queue(gp);
	atomic_thread_fence(memory_order_seq_cst); /* submit, StoreLoad, look for spinners */
	gmp_wakep();
}

void gmp_newproc(struct g *gp)
{
	int32_t live = atomic_load_explicit(&sched.nlive, memory_order_relaxed); /* a report */
	struct p *pp = curp();

	if (live > atomic_load_explicit(&sched.peak_live, memory_order_relaxed))
		atomic_store_explicit(&sched.peak_live, live, memory_order_relaxed);
	if (pp != NULL)
		pp->stat.created++;
	GMP_PROBE2(create, gp->goid, gp->parent);
	gmp_ready(gp);
}

/* A list linked by schedlink, all WAITING and claimed by the caller. Go's injectglist. */
void gmp_injectglist(struct g *list)
{
	struct p *pp = curp();
	struct g *tail = list;
	int n = 1;

	if (list == NULL)
		return;
	for (;; tail = tail->schedlink, n++) {
		GMP_PROBE1(ready, tail->goid);
		if (pp != NULL)
			gmp_trace(pp, TR_READY, tail);
		atomic_store_explicit(&tail->status, G_RUNNABLE, memory_order_relaxed); /* queue publishes */
		if (tail->schedlink == NULL)
			break;
	}
	if (pp != NULL && atomic_load(&sched.npidle) == 0) {
		gmp_runqput_batch(pp, list, n);
		atomic_thread_fence(memory_order_seq_cst); /* submit, StoreLoad, look for spinners */
		gmp_wakep();				   /* a P may have gone idle meanwhile */
		return;
	}
	gmp_lock(&sched.lock);
	if (pp == NULL && unlikely(gmp_tracing()))
		for (const struct g *gp = list; gp != NULL; gp = gp->schedlink)
			gmp_trace_ready_locked(gp);
	gmp_globrunqput_batch_locked(list, tail, n);
	gmp_unlock(&sched.lock);
	for (; n > 0 && atomic_load(&sched.npidle) > 0; n--) {
		if (!sched.started)
			break;
		gmp_startm(NULL, false);
	}
}

/* --- switching --- */

/* Owner of pp. What runs next does not inherit what is left of the slice, nor that nothing is left. */
static void end_slice(struct p *pp)
{
	/* relaxed, single writer: sysmon only compares it with an older value */
	atomic_store_explicit(&pp->schedtick, pp->schedtick + 1, memory_order_relaxed);
	atomic_store_explicit(&pp->preempt, 0, memory_order_relaxed);
}

static void prepare_run(struct m *mp, struct g *gp, bool inherit)
{
	struct p *pp = mp->p;

	if (unlikely(atomic_load_explicit(&sched.cpu_acct, memory_order_relaxed)))
		gmp_cpu_switch(mp, mp->curg); /* the one that leaves, NULL on g0 */
	atomic_store_explicit(&gp->ctx.running, 1, memory_order_relaxed); /* we own gp */
	gp->m = mp;
	mp->curg = gp;
	pp->stat.switches++;
	GMP_PROBE2(switch, gp->goid, pp->id);
	gmp_trace(pp, TR_RUN, gp);
	atomic_store_explicit(&gp->status, G_RUNNING, memory_order_relaxed); /* owner */
	if (!inherit)
		end_slice(pp);
	if (unlikely(gp->sigmask != mp->kmask))
		gmp_set_kmask(mp, gp->sigmask);
}

/* On the stack of a G that was just resumed: a signal that came in the middle of the switch is its business too. */
static void resumed(struct g *gp)
{
	if (unlikely(gp->m->sigslot != NULL))
		atomic_store_explicit(&gmp_tls.deferred, 1, memory_order_relaxed); /* own thread */
}

void gmp_wait_off_stack_slow(struct g *gp)
{
	for (int i = 0; atomic_load_explicit(&gp->ctx.running, memory_order_acquire) != 0; i++)
		gmp_spin(i);
}

/* g0. Returns when some G comes back to g0. */
static void execute(struct m *mp, struct g *gp, bool inherit)
{
	gmp_wait_off_stack(gp);
	prepare_run(mp, gp, inherit);
	arch_switch(&mp->g0.ctx, &gp->ctx);
}

static void switch_to_g0(struct g *gp)
{
	struct m *mp = gp->m;

	if (unlikely(atomic_load_explicit(&sched.cpu_acct, memory_order_relaxed)))
		gmp_cpu_switch(mp, gp);
	if (mp->p != NULL)
		gmp_trace(mp->p, TR_STOP, NULL);
	mp->curg = NULL;
	atomic_store_explicit(&mp->g0.ctx.running, 1, memory_order_relaxed); /* own M only */
	arch_switch(&gp->ctx, &mp->g0.ctx);
}

/*
 * On gp's stack: may it go to another G without g0? Not when it is time to look at the timers or at the global queue
 * (findrunnable).
 */
static bool may_go_direct(struct g *gp, struct p *pp)
{
	struct m *mp = gp->m;

	return pp != NULL && mp->lockedg == NULL && !sched.stress &&
	       !atomic_load_explicit(&pp->preempt, memory_order_relaxed) && mp->sigslot == NULL &&
	       /* relaxed: hints; who adds work elsewhere wakes an M for it */
	       (likely(atomic_load_explicit(&pp->timer0_when, memory_order_relaxed) == 0) ||
		++pp->fasttick % FAST_SWITCHES != 0) &&
	       (likely(atomic_load_explicit(&sched.runqsize, memory_order_relaxed) == 0) ||
		pp->schedtick % GLOBAL_TICKS != 0);
}

/* From gp to next, which the caller took off a queue; by way of g0 if next is still on its way off its own stack. */
static void switch_direct(struct g *gp, struct g *next, bool inherit)
{
	struct m *mp = gp->m;
	struct p *pp = mp->p;

	/* acquire: pairs with arch_switch, as in execute() */
	if (likely(next != gp && next->lockedm == NULL &&
		   atomic_load_explicit(&next->ctx.running, memory_order_acquire) == 0)) {
		prepare_run(mp, next, inherit);
		arch_switch(&gp->ctx, &next->ctx);
	} else {
		/* Not at hand: back to the front, for g0 to take. */
		if (atomic_load_explicit(&pp->runnext, memory_order_relaxed) == NULL)
			atomic_store_explicit(&pp->runnext, next, memory_order_release);
		else
			gmp_runqput(pp, next, false);
		switch_to_g0(gp);
	}
	resumed(gp);
}

/*
 * On gp's stack, inside gmp_enter(): gp is WAITING, queued or DEAD; run something else. Returns when gp is resumed,
 * on any M.
 */
void gmp_block_switch(struct g *gp)
{
	struct p *pp = gp->m->p;
	struct g *next;
	bool inherit;

	if (likely(may_go_direct(gp, pp)) && (next = gmp_runqget(pp, &inherit)) != NULL) {
		switch_direct(gp, next, inherit);
		return;
	}
	switch_to_g0(gp);
	resumed(gp);
}

static struct g *globrunqget(struct p *pp, int max)
{
	struct g *gp;

	gmp_lock(&sched.lock);
	gp = gmp_globrunqget_locked(pp, max);
	gmp_unlock(&sched.lock);
	return gp;
}

/* On gp's stack, inside gmp_enter(): to the end of the global queue, and on when an M takes it from there. */
static void gosched_global(struct g *gp)
{
	atomic_store_explicit(&gp->status, G_RUNNABLE, memory_order_relaxed); /* the queue publishes it */
	gmp_lock(&sched.lock);
	gmp_globrunqput_locked(gp);
	gmp_unlock(&sched.lock);
	switch_to_g0(gp);
	resumed(gp);
}

/* On a G with pp, inside gmp_enter(): make runnable whom the network has news for, if no M watches. False: nobody. */
static bool look_at_network(struct p *pp)
{
	struct g *list;

	if (!gmp_runqempty(pp) || atomic_load_explicit(&sched.runqsize, memory_order_relaxed) != 0 ||
	    !gmp_netpoll_inited() || !gmp_netpoll_any_waiters() || atomic_load(&sched.lastpoll) == 0)
		return false;
	list = gmp_netpoll(0);
	gmp_injectglist(list);
	return list != NULL;
}

/*
 * To the end of the local queue, which all Gs there run before; those of the global one have their tick. Only a G whose
 * slice is over goes to the global queue, as Go's gosched always does: taking sched.lock for every yield costs more
 * than the switch.
 *
 * With nobody there it looks at the network, as findrunnable would: who yields until a flag is set may wait for one
 * that waits for a descriptor, and with all Ps at that nobody else looks but sysmon, every 10 ms.
 */
bool gmp_gosched(void)
{
	struct g *gp = getg(), *next = NULL;
	struct p *pp = gp->m->p;
	bool direct = may_go_direct(gp, pp), inherit = false;

	if (unlikely(pp == NULL || atomic_load_explicit(&pp->preempt, memory_order_relaxed))) {
		/* It pays for the end of its slice itself: runnext need not go to the back as well (findrunnable). */
		if (pp != NULL)
			end_slice(pp);
		gosched_global(gp);
		return true;
	}
	if (direct && gmp_runqempty(pp) &&
	    (atomic_load_explicit(&sched.runqsize, memory_order_relaxed) == 0 ||
	     (next = globrunqget(pp, 0)) == NULL) &&
	    !look_at_network(pp))
		return false; /* nobody to yield to */
	atomic_store_explicit(&gp->status, G_RUNNABLE, memory_order_relaxed); /* the queue publishes it */
	gmp_runqput(pp, gp, false); /* before another is taken: a thief never finds the queue empty */
	if (direct && next == NULL)
		next = gmp_runqget(pp, &inherit);
	if (next == gp) { /* the others were stolen */
		atomic_store_explicit(&gp->status, G_RUNNING, memory_order_relaxed); /* owner again */
		return false;
	}
	if (likely(next != NULL)) {
		switch_direct(gp, next, inherit);
	} else {
		switch_to_g0(gp);
		resumed(gp);
	}
	return true;
}

/*
 * On a G that receives and receives and never has to wait, as its peer answers at once. While it holds a P nobody looks
 * at the network here, and with all Ps held so the others wait for sysmon's look, 10 ms later, and then for a slice
 * each. So it looks itself now and then, and yields.
 */
void gmp_io_share(void)
{
	struct g *gp = getg();
	int64_t now = gmp_nanotime();
	struct p *pp;

	gp->received = 0;
	if (gp->unparked_since == 0)
		gp->unparked_since = now;
	if (now - gp->unparked_since < IO_SHARE_NS)
		return;
	gp->unparked_since = now;
	gmp_enter();
	pp = gp->m->p;
	if (pp != NULL)
		look_at_network(pp);
	gmp_gosched();
	gmp_leave();
}

void gmp_slice_end(struct g *gp)
{
	struct p *pp = gp->m->p;

	if (likely(pp == NULL || !atomic_load_explicit(&pp->preempt, memory_order_relaxed))) /* sysmon's request */
		return;
	pp->stat.preempts++;
	gmp_trace(pp, TR_PREEMPT, gp);
	gmp_gosched();
}

void gmp_goexit(void)
{
	struct g *gp = getg();

	if (unlikely(gp->m->tainted))
		switch_to_g0(gp); /* nobody else may run here, also not who waits to join */
	gmp_block_switch(gp);
	gmp_throw("a dead G was resumed");
}

/* --- finding work; g0 --- */

/* Make runnable what is due on a P's heap, on the caller's queue. True when something was. */
static bool fire_timers(struct m *mp, struct p *whose, int64_t *now)
{
	struct g *list = NULL;
	int64_t first = atomic_load_explicit(&whose->timer0_when, memory_order_relaxed); /* hint */

	if (first == 0)
		return false;
	if (*now == 0)
		*now = gmp_nanotime();
	if (first > *now)
		return false;
	gmp_timers_fire(whose, *now, &list);
	if (list == NULL)
		return false;
	/*
	 * The first is next on this P: a sleeper does not wait for the slices of all that compute. But it does not
	 * kick out another, as Go's would: that one has the rest of a slice to use up, and a pair that wakes each other
	 * would get a new slice with every timer, before all of the global queue.
	 */
	for (bool next = atomic_load_explicit(&mp->p->runnext, memory_order_relaxed) == NULL; list != NULL;
	     next = false) {
		struct g *gp = list;

		list = gp->schedlink;
		GMP_PROBE1(ready, gp->goid);
		atomic_store_explicit(&gp->status, G_RUNNABLE, memory_order_relaxed);
		gmp_runqput(mp->p, gp, next);
	}
	atomic_thread_fence(memory_order_seq_cst); /* submit, StoreLoad, look for spinners */
	gmp_wakep();
	return true;
}

static uint32_t gcd(uint32_t a, uint32_t b)
{
	while (b != 0) {
		uint32_t t = a % b;
		a = b;
		b = t;
	}
	return a;
}

/* Visit all Ps in a random order: start anywhere, step by a number coprime to their count. */
static struct g *steal_work(struct m *mp, int64_t *now, bool *ret_new_work)
{
	struct p *pp = mp->p;
	uint32_t n = (uint32_t)sched.nallp; /* dead ones have nothing */

	for (int pass = 0; pass < 4; pass++) {
		bool last = pass == 3;
		uint32_t r = gmp_fastrand(), step = 1 + r / n % n, at = r % n;

		while (gcd(step, n) != 1)
			step++;
		for (uint32_t i = 0; i < n; i++, at = (at + step) % n) {
			struct p *victim = sched.allp[at];
			struct g *gp;

			if (victim == pp)
				continue;
			/* Timers only in the last pass, as runnext: it takes the victim's lock. */
			if (last && fire_timers(mp, victim, now))
				*ret_new_work = true;
			if (*ret_new_work) {
				bool inherit;

				gp = gmp_runqget(pp, &inherit);
				if (gp != NULL)
					return gp;
			}
			if (atomic_load_explicit(&victim->status, memory_order_relaxed) != P_IDLE) { /* hint */
				gp = gmp_runqsteal(pp, victim, last);
				if (gp != NULL) {
					pp->stat.steals++;
					return gp;
				}
			}
		}
	}
	return NULL;
}

static void become_spinning(struct m *mp)
{
	mp->spinning = true;
	atomic_fetch_add(&sched.nmspinning, 1);
}

static void resetspinning(struct m *mp)
{
	mp->spinning = false;
	atomic_fetch_sub(&sched.nmspinning, 1);
	gmp_wakep(); /* the last spinner found work: there may be more */
}

/* A rough number: read without locks. */
static uint32_t count_timers(void)
{
	uint32_t n = 0;

	for (int i = 0; i < sched.nallp; i++)
		n += sched.allp[i]->ntimers;
	return n;
}

static struct g *take_list(struct g *list)
{
	struct g *gp = list;

	list = gp->schedlink;
	GMP_PROBE1(ready, gp->goid);
	atomic_store_explicit(&gp->status, G_RUNNABLE, memory_order_relaxed);
	gmp_injectglist(list);
	return gp;
}

/* g0: the next G to run. Blocks until there is one. mp holds a P on entry and return. */
static struct g *findrunnable(struct m *mp, bool *ret_inherit)
{
	struct g *gp, *list;
	struct p *pp;
	int64_t now, poll_until, delay;
	bool was_spinning, new_work, fired;

top:
	pp = mp->p;
	if (unlikely(pp->retiring)) {
		if (mp->spinning)
			resetspinning(mp);
		gmp_handoffp(releasep(mp));
		stopm(mp);
		goto top;
	}
	now = 0;
	*ret_inherit = false;
	if (mp->sigslot != NULL)
		gmp_host.route_slot(mp);
	if (atomic_load_explicit(&pp->preempt, memory_order_relaxed)) {
		/* The slice that runnext would inherit is over: to the back of all, where a preempted G goes. */
		struct g *next = atomic_exchange_explicit(&pp->runnext, NULL, memory_order_acquire);

		if (next != NULL) {
			gmp_lock(&sched.lock);
			gmp_globrunqput_locked(next);
			gmp_unlock(&sched.lock);
		}
		end_slice(pp);
	}
	fired = fire_timers(mp, pp, &now);

	/* Once in 61 ticks look at the global queue first: two Gs that ready each other must not hide it. */
	if (pp->schedtick % GLOBAL_TICKS == 0 && atomic_load_explicit(&sched.runqsize, memory_order_relaxed) > 0) {
		gp = globrunqget(pp, 1);
		if (gp != NULL && !fired)
			return gp;
		if (gp != NULL)
			gmp_runqput(pp, gp, false); /* one whose time has come goes first */
	}
	gp = gmp_runqget(pp, ret_inherit);
	if (gp != NULL)
		return gp;
	if (atomic_load_explicit(&sched.runqsize, memory_order_relaxed) != 0) {
		gp = globrunqget(pp, 0);
		if (gp != NULL)
			return gp;
	}
	/* Poll the network, without blocking: cheaper than stealing. */
	if (gmp_netpoll_inited() && gmp_netpoll_any_waiters() && atomic_load(&sched.lastpoll) != 0) {
		list = gmp_netpoll(0);
		if (list != NULL)
			return take_list(list);
	}

	/* Spin: steal from others; not more spinners than half of the busy Ps. */
	if (mp->spinning || 2 * atomic_load(&sched.nmspinning) < sched.gomaxprocs - atomic_load(&sched.npidle)) {
		if (!mp->spinning)
			become_spinning(mp);
		new_work = false;
		gp = steal_work(mp, &now, &new_work);
		if (gp != NULL)
			return gp;
		if (new_work)
			goto top;
	}

	/* Nothing to do: give the P back. */
	gmp_lock(&sched.lock);
	if (atomic_load_explicit(&sched.runqsize, memory_order_relaxed) != 0) {
		gp = gmp_globrunqget_locked(pp, 0);
		gmp_unlock(&sched.lock);
		return gp;
	}
	releasep(mp);
	pidleput(pp);
	gmp_unlock(&sched.lock);

	/*
	 * Drop the spinning state first, then look at every source of work again: work submitted before relied on this
	 * M, or found no idle P; work submitted after it calls wakep.
	 */
	was_spinning = mp->spinning;
	if (was_spinning) {
		mp->spinning = false;
		atomic_fetch_sub(&sched.nmspinning, 1); /* seq_cst; pairs with gmp_wakep */
	}
	if (gmp_work_waits()) {
		gmp_lock(&sched.lock);
		pp = pidleget();
		gmp_unlock(&sched.lock);
		if (pp != NULL) { /* else those who have the Ps will look when they give them back */
			acquirep(mp, pp);
			become_spinning(mp);
			goto top;
		}
	}

	/* Block in the network until the next timer of any P. */
	poll_until = gmp_timers_next(0);
	if ((poll_until != 0 || gmp_netpoll_any_waiters()) && gmp_netpoll_init() == 0 &&
	    atomic_exchange(&sched.lastpoll, 0) != 0) {
		atomic_store(&sched.poll_until, poll_until);
		/* A timer added before the store above did not see poll_until: look again (StoreLoad). */
		poll_until = gmp_timers_next(0);
		delay = -1;
		if (poll_until != 0) {
			now = gmp_nanotime();
			delay = poll_until > now ? poll_until - now : 0;
			/*
			 * A few timers are met to the microsecond. With many, a wake-up for each would cost more than
			 * the Gs do: they wait for one another (Go: never less than 1 ms).
			 */
			if (delay > 0 && delay < COALESCE_NS && count_timers() > COALESCE_TIMERS)
				delay = COALESCE_NS;
		}
		set_idle_mask(mp);
		atomic_store_explicit(&mp->idlewait, IDLE_POLLING, memory_order_relaxed); /* own signal handler only */
		list = mp->sigslot == NULL ? gmp_netpoll(delay) : NULL;
		atomic_store_explicit(&mp->idlewait, 0, memory_order_relaxed);
		atomic_store(&sched.poll_until, 0);
		now = gmp_nanotime();
		atomic_store(&sched.lastpoll, now);
		atomic_store_explicit(&sched.coarse_now, now, memory_order_relaxed); /* sysmon may have slept */
		if (mp->sigslot != NULL)
			gmp_host.route_slot(mp);
		gmp_lock(&sched.lock);
		pp = pidleget();
		gmp_unlock(&sched.lock);
		if (pp == NULL) {
			gmp_injectglist(list);
		} else {
			acquirep(mp, pp);
			/*
			 * What this M has waited for is its to fire, on whatever P. Stealing, which looks at the timers
			 * of others, may be barred by a spinner that was woken and does not run yet.
			 */
			now = 0;
			for (int i = 0; i < sched.nallp && poll_until != 0; i++)
				fire_timers(mp, sched.allp[i], &now);
			if (list != NULL)
				return take_list(list);
			if (was_spinning)
				become_spinning(mp);
			goto top;
		}
	} else if (poll_until != 0) {
		int64_t until = atomic_load(&sched.poll_until);

		if (until == 0 || until > poll_until)
			gmp_netpoll_break(); /* the polling M must wake earlier */
	}
	stopm(mp);
	goto top;
}

/* g0, mp is locked to mp->lockedg: give the P away and wait until that G may run. */
static void stoplockedm(struct m *mp)
{
	if (mp->p != NULL)
		gmp_handoffp(releasep(mp));
	m_sleep_for_p(mp);
}

/* g0: gp is locked to another M: give it our P. */
static void startlockedm(struct m *mp, struct g *gp)
{
	struct m *other = gp->lockedm;

	if (other == &not_m0) { /* whoever gets our P finds it there */
		gmp_runqput(mp->p, gp, true);
		gmp_handoffp(releasep(mp));
		stopm(mp);
		return;
	}
	other->nextp = releasep(mp);
	midleput(mp); /* before the other runs: its G may park at once, and the P needs an idle M */
	gmp_notewakeup(&other->park);
	m_sleep_for_p(mp);
}

/* g0: one round of the scheduler. */
static void schedule(struct m *mp)
{
	struct g *gp;
	bool inherit;

	if (mp->lockedg != NULL) {
		stoplockedm(mp);
		execute(mp, mp->lockedg, false);
		return;
	}
	if (unlikely(mp->exiting))
		mexit(mp);
	while (unlikely(mp->tainted)) { /* m0, whose G has ended: the others end with theirs (gmp_shed_os_thread) */
		if (mp->p != NULL)
			gmp_handoffp(releasep(mp));
		m_sleep(mp);
	}
	if (mp->p == NULL)
		stopm(mp);
	for (;;) {
		gp = findrunnable(mp, &inherit);
		if (mp->spinning)
			resetspinning(mp);
		if (gp->lockedm == &not_m0 && mp != sched.m0)
			gp->lockedm = NULL;
		if (gp->lockedm == NULL)
			break;
		startlockedm(mp, gp);
	}
	execute(mp, gp, inherit);
}

/*
 * m0's way in. It has its P. In a forked child that is the first G to leave its stack who comes here; if it is locked
 * to m0 somebody may have given it a P already, in nextp: that is for stoplockedm.
 */
void gmp_mstart(void *arg)
{
	struct m *mp = arg;

	gmp_sigstack_set(mp);
	for (;;)
		schedule(mp);
}

/* A new kernel thread's, with the P that newm gave it, or locked to a G that will bring one. */
static void mstart_cloned(void *arg)
{
	struct m *mp = arg;

	gmp_sigstack_set(mp);
	mp->tid = sys_gettid();
	mp->g0.tls->tid = mp->tid;
	gmp_cred_catch_up(mp);
	if (mp->reset_props)
		gmp_host.reset_props();
	if (mp->reset_name && gmp_host.reset_name != NULL)
		gmp_host.reset_name();
	if (mp->lockedg == NULL) {
		acquirep(mp, mp->nextp);
		mp->nextp = NULL;
	}
	for (;;)
		schedule(mp);
}

/* --- system calls --- */

bool gmp_exitsyscall_stale(struct g *gp)
{
	/* A handler left a system call by longjmp: its frame, below ours, is gone. */
	if (gp->syscall_sp < arch_sp() && gp->syscall_sp >= (uintptr_t)gp->stack_lo &&
	    arch_sp() < (uintptr_t)gp->stack_hi) {
		gmp_exitsyscall();
		return true;
	}
	return false;
}

struct parker *gmp_my_parker(struct parker *foreign)
{
	struct g *gp = getg();

	if (gp != NULL && gp->kind != GK_G0 && sched.started) {
		if (likely(gp->status == G_RUNNING))
			return &gp->parker;
		if (gp->status == G_SYSCALL && gmp_exitsyscall_stale(gp))
			return &gp->parker;
	}
	return foreign;
}

/* The G may block in the kernel from here on; its P may be taken. Keeps errno. On a G with a P. */
void gmp_entersyscall(void)
{
	struct g *gp = getg();
	struct m *mp;
	struct p *pp;

	gmp_enter();
	mp = gp->m;
	pp = mp->p;
	gp->syscall_sp = arch_sp();
	gp->waitsince = atomic_load_explicit(&sched.coarse_now, memory_order_relaxed); /* for reports */
	atomic_store_explicit(&gp->status, G_SYSCALL, memory_order_relaxed); /* owner M */
	gmp_trace(pp, TR_SYSCALL, gp);
	mp->oldp = pp;
	mp->p = NULL;
	/* release: all that this M did with pp; pairs with the CAS of retake and exitsyscall */
	atomic_store(&pp->status, P_SYSCALL); /* seq_cst: then look at sysmonwait, pairs with sysmon's sleep */
	gmp_wake_sysmon();
	gmp_leave();
}

/* Slow way out: no P. Take an idle one or queue the G and wait. */
static noinline void exitsyscall_slow(struct g *gp, struct m *mp)
{
	struct p *pp;

	gmp_lock(&sched.lock);
	pp = pidleget();
	if (pp != NULL) {
		gmp_unlock(&sched.lock);
		acquirep(mp, pp);
		gmp_trace(pp, TR_RUN, gp);
		atomic_store_explicit(&gp->status, G_RUNNING, memory_order_relaxed);
		return;
	}
	atomic_store_explicit(&gp->status, G_RUNNABLE, memory_order_relaxed);
	gmp_globrunqput_locked(gp);
	gmp_unlock(&sched.lock);
	gmp_block_switch(gp); /* this M has no P: it goes to g0 and stops */
}

void gmp_exitsyscall(void)
{
	struct g *gp = getg();
	struct m *mp = gp->m;
	uint32_t st = P_SYSCALL;
	struct p *pp;

	gmp_enter();
	pp = mp->oldp;
	mp->oldp = NULL;
	/* acquire: what a thief did with pp before it gave it back; pairs with retake's CAS */
	if (likely(pp != NULL && atomic_compare_exchange_strong(&pp->status, &st, P_RUNNING))) {
		pp->m = mp;
		mp->p = pp;
		gmp_trace(pp, TR_RUN, gp);
		atomic_store_explicit(&pp->syscalltick, pp->syscalltick + 1, memory_order_relaxed);
		atomic_store_explicit(&gp->status, G_RUNNING, memory_order_relaxed);
		/* One that makes short calls all the time is in one whenever SIG_NOTIFY comes. */
		gmp_slice_end(gp);
	} else {
		exitsyscall_slow(gp, mp);
	}
	gmp_leave();
}

/* On gp, inside gmp_enter(): sysmon took its P while it slept in the kernel unseen. */
void gmp_reacquire(struct g *gp)
{
	gp->m->p = NULL;
	exitsyscall_slow(gp, gp->m);
}

/* --- LockOSThread --- */

/*
 * m0, the process's first kernel thread, stands for the process and for the main thread: it has the main thread's tid,
 * and its exit would make a zombie of the process. So it does not get the properties of another G's kernel thread, nor
 * dies for one.
 */
void gmp_lock_own_thread(void)
{
	struct g *gp = getg();

	gmp_enter();
	if (gp->lockcnt == 0 && gp->m == sched.m0 && gp != sched.maing && gmp_tls.inshim == 1 &&
	    gp->status == G_RUNNING) {
		gp->lockedm = &not_m0;
		gosched_global(gp);
	}
	gmp_lock_os_thread();
	gmp_leave();
}

void gmp_lock_os_thread(void)
{
	struct g *gp = getg();

	gmp_enter();
	if (gp->lockcnt++ == 0) {
		gp->lockedm = gp->m;
		gp->m->lockedg = gp;
	}
	gmp_leave();
}

void gmp_unlock_os_thread(void)
{
	struct g *gp = getg();

	gmp_enter();
	if (--gp->lockcnt == 0) {
		gp->m->lockedg = NULL;
		gp->lockedm = NULL;
	}
	gmp_leave();
}

void gmp_taint_os_thread(void)
{
	gmp_lock_own_thread(); /* what m0 has, main's number shows, and the process's */
	getg()->m->tainted = true;
}

/* The kernel does for the thread's mutexes what it does when a thread dies with them. On a locked G, not inshim. */
void gmp_shed_os_thread(void)
{
	struct g *gp = getg();
	struct m *mp = gp->m;
	uint32_t tid = mp->tidword;

	gmp_enter();
	gp->lockcnt = 0;
	gp->lockedm = NULL;
	mp->lockedg = NULL;
	mp->exiting = true;
	gosched_global(gp);
	gmp_leave();
	gmp_entersyscall();
	/* acquire: pairs with the kernel's store when the thread is gone; it also wakes us, by a shared wake-up */
	while (atomic_load_explicit(&mp->tidword, memory_order_acquire) == tid)
		sys4(__NR_futex, &mp->tidword, 0 /* FUTEX_WAIT, not private */, tid, NULL);
	gmp_exitsyscall();
}

/* --- GOMAXPROCS --- */

/* sched.lock. Ps that are made or come back: idle. False: no memory; nothing has changed. */
static bool grow(int n)
{
	for (int i = sched.nallp; i < n; i++) {
		struct p *pp = gmp_persistentalloc(sizeof(*pp), 64);

		if (pp == NULL)
			return false;
		pp->id = i;
		pp->status = P_DEAD;
		sched.allp[i] = pp;
		/* release: pairs with the loops over allp */
		atomic_store_explicit(&sched.nallp, i + 1, memory_order_release);
	}
	for (int i = n - 1; i >= 0; i--) { /* at start P0 is to be the first of the list */
		struct p *pp = sched.allp[i];

		pp->retiring = false;
		if (pp->status == P_DEAD) {
			atomic_fetch_add(&sched.gomaxprocs, 1);
			pidleput(pp);
		}
	}
	return true;
}

/* sched.lock. Ps from n on are to go; those that idle do so at once. */
static void shrink(int n)
{
	for (int i = n; i < sched.nallp; i++)
		sched.allp[i]->retiring = true;
	for (struct p **link = &sched.pidle, *pp; (pp = *link) != NULL;) {
		if (!pp->retiring) {
			link = &pp->link;
			continue;
		}
		*link = pp->link;
		atomic_fetch_sub(&sched.npidle, 1);
		retire(pp);
	}
}

/* Of the Ps that are to go, take those whose M is in a system call, and ask the Gs on the others to yield. */
static void hurry(int n)
{
	for (int i = n; i < sched.nallp; i++) {
		struct p *pp = sched.allp[i];
		uint32_t st = P_SYSCALL;

		if (!pp->retiring)
			continue;
		/* pairs with the CAS in gmp_exitsyscall, as sysmon's retake */
		if (atomic_compare_exchange_strong(&pp->status, &st, P_IDLE))
			gmp_handoffp(pp);
		else if (st == P_RUNNING)
			atomic_store_explicit(&pp->preempt, 1, memory_order_relaxed); /* sysmon sees to it */
	}
	gmp_wake_sysmon();
}

/*
 * Set GOMAXPROCS while everything runs. Go stops the world for this; here new Ps appear idle, and a P that goes is
 * given up by the M that has it at that M's next visit to the scheduler. A G on it is asked to yield as at the end of a
 * slice; from one that cannot, in libc say, where it may wait for a lock of a G that is stopped, sysmon takes the P. So
 * a lock of libc's is never waited for, and nobody else notices. What the gone ones had goes to everybody: their run
 * queues to the global queue when they are given up, then timers to P0, which never goes, and dead Gs to their class.
 *
 * Returns when n Ps are left, after a few slices at most. On a G outside critical sections, or a thread that is none.
 */
int gmp_procresize(int n)
{
	bool on_g = getg() != NULL, ok = true;
	int old;

	if (n < 1 || n > GMP_MAXPROCS)
		return -EINVAL;
	gmp_enter(); /* until the end: a signal handler that leaves by longjmp must not leave half of this undone */
	for (;;) {
		gmp_lock(&sched.lock);
		if (!sched.resizing)
			break;
		gmp_unlock(&sched.lock);
		if (on_g)
			gmp_gosched();
		else
			sys_yield();
	}
	sched.resizing = true;
	old = sched.procs_wanted;
	if (n > old)
		ok = grow(n);
	else
		shrink(n);
	if (ok)
		sched.procs_wanted = n;
	gmp_unlock(&sched.lock);
	if (ok && n > old)
		gmp_wakep();
	if (n < old) {
		if (on_g)
			gmp_entersyscall(); /* its own P may be one of them */
		while (sched.gomaxprocs > n) {
			gmp_noteclear(&sched.resized);
			hurry(n);
			if (sched.gomaxprocs > n)
				gmp_notesleep(&sched.resized, RESIZE_NS);
		}
		if (on_g)
			gmp_exitsyscall();
		for (int i = n; i < sched.nallp; i++) {
			gmp_timers_move(sched.allp[i], sched.allp[0]);
			gmp_gfree_flush(sched.allp[i]);
		}
	}
	gmp_lock(&sched.lock);
	sched.resizing = false;
	gmp_unlock(&sched.lock);
	gmp_leave();
	return ok ? old : -ENOMEM;
}

int gmp_gomaxprocs(void)
{
	return sched.procs_wanted;
}

/* --- boot --- */

/*
 * m0 is the calling kernel thread, its stack and TCB become the main G; allp[0] is m0's. host.* and page_size,
 * ncpu are set. The main G is not yet queued: preload's rt0 does that (Go: newproc(runtime.main)).
 */
void gmp_schedinit(int gomaxprocs)
{
	struct m *mp = &m0;
	gmp_sigset mask = 0;

	sched.m0 = mp;
	sched.mcount = 1;
	sched.lastpoll = gmp_nanotime();
	mp->id = 0;
	mp->tid = sys_gettid();
	sys_sigmask(SIG_SETMASK, NULL, &mask);
	mp->kmask = mask & SIG_ALL_BUT_NOTIFY;
	if (!m_init(mp))
		gmp_throw("out of memory at start");
	mp->g0.tls->tid = mp->tid;
	sched.allm = mp;
	mp->listed = true;
	if (sched.slice_ns == 0)
		sched.slice_ns = INT64_C(10000000); /* Go: forcePreemptNS */
	/* Go: procresize. P0 is m0's */
	if (!grow(gomaxprocs))
		gmp_throw("out of memory at start");
	sched.procs_wanted = gomaxprocs;
	acquirep(mp, pidleget());
}

/* sysmon, and Ms on demand, from here on (Go: mainStarted). On the main G, before any second G. 0 or errno. */
int gmp_main_started(void)
{
	int rc;

	if (atomic_load_explicit(&sched.started, memory_order_acquire))
		return 0;
	rc = gmp_host.start_sysmon(gmp_sysmon);
	if (rc == 0) {
		sched.coarse_now = gmp_nanotime();
		atomic_store_explicit(&sched.started, true, memory_order_release);
		atomic_store_explicit(&sched.quick, !sched.stress, memory_order_relaxed); /* no other G yet */
	}
	return rc;
}

/*
 * In a forked child: the calling G, on whatever kernel stack it ran, is all there is. Nothing of the parent's
 * queues, locks or Ms is trusted. The M it runs on stays the struct of this kernel thread, now as m0.
 */
void gmp_fork_child(void)
{
	struct g *gp = getg();
	struct m *mp = gp->m;

	gmp_mem_fork_child();
	gmp_stack_fork_child();
	gmp_sema_fork_child();
	gmp_netpoll_fork_child();
	gmp_cred_fork_child();
	gmp_stats_fork_child();
	gmp_dump_fork_child();
	gmp_trace_fork_child();
	gmp_cpu_fork_child();
	gmp_sysmon_fork_child();
	sched.started = sched.quick = false;
	sched.npidle = 0;
	sched.nmspinning = 0;
	sched.runqsize = 0;
	sched.lastpoll = gmp_nanotime();
	sched.poll_until = 0;
	sched.sysmonwait = 0;
	sched.sysmonnote = (struct note){0};
	sched.lock = (struct lock){0};
	sched.sig_lock = (struct lock){0};
	sched.midle = NULL;
	sched.mdead = NULL;
	sched.nmidle = 0;
	sched.mcount = 1;
	mp->id = 0; /* numbers begin anew; it would share its own, and the slot of a signal with it, with a later M */
	sched.pidle = NULL;
	sched.runqhead = sched.runqtail = NULL;
	sched.nlive = 1;
	sched.m0 = mp;
	sched.allm = mp;
	sched.maing = gp;
	mp->alllink = NULL;
	mp->schedlink = NULL;
	mp->tid = sys_gettid();
	mp->g0.tls->tid = mp->tid;
	mp->spinning = false;
	mp->park = (struct note){0};
	mp->nextp = mp->oldp = NULL;
	mp->sigslot = NULL;
	mp->notified = mp->kicked = 0;
	mp->tainted = false; /* it is all there is */
	mp->curg = gp;
	mp->p = NULL;
	/* g0 was left in schedule() of the parent: a fresh one starts when the G first switches to it */
	arch_ctx_init(&mp->g0.ctx, mp->g0.stack_hi, (uintptr_t)mp->g0.tcb, gmp_mstart, mp);
	sched.resizing = false;
	sched.resized = (struct note){0};
	sched.gomaxprocs = sched.procs_wanted;
	for (int i = sched.nallp - 1; i >= 0; i--) {
		struct p *pp = sched.allp[i];

		pp->runqhead = pp->runqtail = 0;
		pp->runnext = NULL;
		pp->gfree = NULL;
		pp->ngfree = 0;
		pp->ntimers = 0;
		pp->timer0_when = 0;
		pp->timers_lock = (struct lock){0};
		pp->preempt = 0;
		pp->retiring = i >= sched.procs_wanted;
		if (pp->retiring)
			pp->status = P_DEAD;
		else if (i > 0)
			pidleput(pp);
	}
	acquirep(mp, sched.allp[0]);
	gp->timer.pp = NULL;
	gp->status = G_RUNNING;
}

/* inshim fell to 0 with something put off: signals and requests first, then the time slice. */
void gmp_leave_slow(void)
{
	struct g *gp = getg();

	if (gp != NULL && gp->kind == GK_G0)
		return;
	do {
		gmp_host.run_deferred(gp);
		if (gp == NULL || gp->status != G_RUNNING)
			return;
		gmp_enter();
		gmp_slice_end(gp);
		gmp_leave_quiet();
		/* What came while it was queued: nobody would tell it again. */
	} while (unlikely(atomic_load_explicit(&gmp_tls.deferred, memory_order_relaxed)));
}
