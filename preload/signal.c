// SPDX-License-Identifier: MIT
/*
 * Signals. The kernel mask of an M that runs a G is that G's mask (core/sched.c sets it at a switch when two words
 * differ), so much of signal(7) stays the kernel's work. Ours is to find the right thread and the right moment:
 *
 *  - Every handler of the program is installed as on_signal, with the program's flags and mask. One with SA_ONSTACK
 *    begins on the M's signal stack, with all blocked, and moves to the thread's (core/sigstack.c).
 *  - A signal for a thread waits in its G's queue (gp->sigq), one for the process in the process's, like the kernel's
 *    shared one. A G is chosen and told: the main G if that admits it, as the kernel prefers the main thread, else the
 *    one that the kernel interrupted, else any. Only who was told takes from there (sigtold, the kernel's
 *    TIF_SIGPENDING). When the chosen G ends or blocks the signal, another is told (offer_process), as the kernel does
 *    in exit and sigprocmask.
 *  - on_signal inside the shim or on a g0 only notes the signal in the M's slot and leaves all signals blocked; the
 *    hook's exit (gmp_run_deferred) or the scheduler (gmp_route_slot) goes on from there. So one slot is enough.
 *  - A queued signal is delivered by its G itself: it sends its own kernel thread a token (replay), the same number
 *    with si_code SI_GMP, upon which on_signal takes the entry. So the handler has the kernel's frame, on the stack
 *    that the program asked for, and may be left by longjmp like any other.
 *  - A G that runs is told by a kick: SIG_NOTIFY, which lets system calls go on, for handlers with SA_RESTART, or
 *    SIG_KICK, which ends them with EINTR. Its handler sends the token with everything blocked, so that the kernel
 *    delivers it at the instruction that the kick interrupted. On the wrong G a kick does nothing.
 *
 * Lost wake-ups. A sender queues the signal, then looks at masks and at what its target does; the target changes its
 * mask or its status, then looks at the queues. Where the target's half is on the scheduler's fast path, the sender
 * pays for both barriers (membarrier in notice()).
 *
 * Idle Ms block what every G blocks (sched.idlemask, from a small table of distinct masks with counts).
 */
#include <linux/membarrier.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "core/log.h"
#include "preload/preload.h"

#define SI_GMP	 (-77) /* no code of the kernel's: the token */
#define NSIG_MAX 64
#define KERNEL_MINSIGSTKSZ 2048 /* asm/signal.h; libc's MINSIGSTKSZ may be another */
#define SS_AUTODISARM (1 << 31) /* linux/signal.h */
#ifndef SA_RESTORER
#define SA_RESTORER 0x04000000 /* linux/signal.h; libc sets it in what it passes to the kernel */
#endif

struct gmp_sigq {
	struct gmp_sigq *next;
	bool taken; /* for a handler: the kernel would have called it at once */
	siginfo_t info;
};

struct sigslot { /* in the M */
	siginfo_t info;
};

/* A handler of the program. Two records a signal, so that on_signal never reads one that is being changed. */
struct action {
	void *handler;
	int flags;
	gmp_sigset mask;
};

static struct {
	struct action rec[2];
	_Atomic(uint32_t) current;
} actions[NSIG_MAX + 1];

static struct gmp_sigq *free_nodes; /* sched.sig_lock */
static uint32_t nqueued;	    /* entries of all queues; sched.sig_lock */

/* Signals for the process that are no longer the kernel's. A G that admits one, or waits for it, looks here too. */
static struct gmp_sigq *process_queue;	  /* sched.sig_lock */
static struct gmp_sigq *process_tail;
static _Atomic(uint64_t) process_pending; /* what is in it; written under sched.sig_lock */
static void offer_process(void);
static void offer_locked(void);
static int set_action(int sig, const struct sigaction *act, struct sigaction *old, bool taken_back);
static void mask_changed(gmp_sigset was, gmp_sigset mask);
static void collect(struct g *gp, gmp_sigset blocked);
static bool has_news(struct g *gp);
static void take_news(struct g *gp, ucontext_t *uc);

/* A bit of g->sigpending that stands for no signal; see "waiting for signals". */
#define NEWS SIG_BIT(SIG_NOTIFY)


static struct sigwaiter *sigwaiters; /* Gs in sigwait, oldest first; sched.sig_lock */
static struct g *sigleader;	     /* the one of them that waits in the kernel for all; sched.sig_lock */
static gmp_sigset sigleader_set;     /* ... for these */
static struct lock action_lock;	    /* rank SIG_ACTION: sigaction against sigaction */
static siginfo_t slots[GMP_MAXM];   /* by m->id; zero pages until used */

static gmp_sigset to_kernel(const sigset_t *set)
{
	gmp_sigset s;

	memcpy(&s, set, sizeof(s));
	return s & SIG_ALL_BUT_NOTIFY;
}

static void from_kernel(sigset_t *set, gmp_sigset s)
{
	memset(set, 0, sizeof(*set));
	memcpy(set, &s, sizeof(s));
}

static struct action action_of(int sig)
{
	/* acquire: pairs with the release in set_action */
	return actions[sig].rec[atomic_load_explicit(&actions[sig].current, memory_order_acquire) & 1];
}

static bool has_handler(const struct action *a)
{
	return a->handler != (void *)SIG_DFL && a->handler != (void *)SIG_IGN;
}

/* --- distinct masks --- */

/* sched.sig_lock held. What everybody blocks only since this change. */
static gmp_sigset recompute_idlemask(void)
{
	gmp_sigset all = SIG_ALL_BUT_NOTIFY, before = atomic_load_explicit(&sched.idlemask, memory_order_relaxed);

	for (int i = 0; i < GMP_MASKS; i++)
		if (atomic_load_explicit(&sched.masks[i].refs, memory_order_relaxed) > 0)
			all &= sched.masks[i].mask;
	atomic_store(&sched.idlemask, all); /* then gmp_block_everywhere looks at the Ms */
	return all & ~before;
}

/* A slot for mask with one more reference. The last slot means "admits everything" when the table is full. */
static int mask_get(gmp_sigset mask)
{
	gmp_sigset grown = 0;
	int slot = -1;

	gmp_enter();
	gmp_lock(&sched.sig_lock);
	for (int i = 0; i < GMP_MASKS - 1; i++) {
		if (sched.masks[i].refs > 0 && sched.masks[i].mask == mask) {
			slot = i;
			break;
		}
		if (slot < 0 && sched.masks[i].refs == 0)
			slot = i;
	}
	if (slot < 0)
		slot = GMP_MASKS - 1;
	if (sched.masks[slot].refs++ == 0) {
		sched.masks[slot].mask = slot == GMP_MASKS - 1 ? 0 : mask;
		grown = recompute_idlemask();
	}
	gmp_unlock(&sched.sig_lock);
	gmp_leave();
	if (grown != 0 && live())
		gmp_block_everywhere(grown);
	return slot;
}

static void mask_put(int slot)
{
	gmp_sigset grown;

	if (atomic_fetch_sub(&sched.masks[slot].refs, 1) != 1)
		return;
	gmp_enter();
	gmp_lock(&sched.sig_lock);
	grown = recompute_idlemask();
	gmp_unlock(&sched.sig_lock);
	/* A G that ends leaves its mask on its M. */
	if (grown != 0 && getg() != NULL)
		gmp_set_kmask(getg()->m, getg()->m->kmask | grown);
	gmp_leave();
	if (grown != 0 && live())
		gmp_block_everywhere(grown);
}

void gmp_signal_new_g(struct g *gp, gmp_sigset mask)
{
	struct g *self = getg();

	gp->sigmask = mask;
	gp->sigclosed = false;
	gp->sigtold = (atomic_load(&process_pending) & ~mask) != 0; /* what nobody has admitted so far */
	if (unlikely(gp->sigtold))
		gp->tls->deferred = 1;
	/* the creator's own reference keeps its slot alive */
	if (self != NULL && self->sigmask == mask && sched.masks[self->mask_slot].mask == mask) {
		gp->mask_slot = self->mask_slot;
		atomic_fetch_add_explicit(&sched.masks[gp->mask_slot].refs, 1, memory_order_relaxed);
	} else {
		gp->mask_slot = mask_get(mask);
	}
}

/* The calling thread's mask, in the G, on its M and in the kernel. */
void gmp_set_sigmask(gmp_sigset mask)
{
	struct g *gp = getg();

	mask &= SIG_ALL_BUT_NOTIFY & ~(SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP));
	if (gp == NULL) {
		sys_sigmask(SIG_SETMASK, &mask, NULL);
		return;
	}
	if (mask != gp->sigmask) {
		gmp_sigset was = gp->sigmask;
		int old = gp->mask_slot;

		gp->mask_slot = mask_get(mask);
		gmp_enter();
		gp->sigmask = mask;
		gmp_set_kmask(gp->m, mask);
		gmp_leave();
		mask_put(old); /* last: idle Ms must not admit what nobody admits any more */
		mask_changed(was, mask);
	}
	if (unlikely((atomic_load(&gp->sigpending) | atomic_load(&process_pending)) & ~mask))
		gmp_run_deferred(gp);
}

/* --- queues --- */

/* sched.sig_lock held; NULL: no memory, the signal is lost as when the kernel's queue is full */
static struct gmp_sigq *node_get(void)
{
	struct gmp_sigq *q = free_nodes;

	if (q != NULL) {
		free_nodes = q->next;
		nqueued++;
	}
	return q;
}

/* sched.sig_lock held */
static void node_put(struct gmp_sigq *q)
{
	q->next = free_nodes;
	free_nodes = q;
	nqueued--;
}

/* sched.sig_lock held. Take the oldest of the lowest signal in set off a queue; 0 = none. */
static int take_locked(struct gmp_sigq **queue, struct gmp_sigq **tail, _Atomic(uint64_t) *pending, gmp_sigset set,
		       siginfo_t *ret_info)
{
	gmp_sigset ready = atomic_load_explicit(pending, memory_order_relaxed) & set & ~NEWS; /* lock */
	struct gmp_sigq **link = queue, *q, *before = NULL;
	int sig;

	if (ready == 0)
		return 0;
	sig = __builtin_ctzll(ready) + 1;
	for (; (q = *link)->info.si_signo != sig; link = &q->next)
		before = q;
	*ret_info = q->info;
	*link = q->next;
	if (*tail == q)
		*tail = before;
	node_put(q);
	for (q = *link; q != NULL && q->info.si_signo != sig;)
		q = q->next;
	if (q == NULL)
		atomic_fetch_and(pending, ~SIG_BIT(sig));
	return sig;
}

/* sched.sig_lock held. The thread's own signals come before those of the process, as in the kernel. */
static int dequeue_locked(struct g *gp, gmp_sigset set, siginfo_t *ret_info)
{
	int sig = take_locked(&gp->sigq, &gp->sigq_tail, &gp->sigpending, set, ret_info);

	return sig != 0 ? sig : take_locked(&process_queue, &process_tail, &process_pending, set, ret_info);
}

/* Take a queued signal that is in set, of gp or of the process; 0 = none. */
static int dequeue(struct g *gp, gmp_sigset set, siginfo_t *ret_info)
{
	int sig;

	if (!((atomic_load(&gp->sigpending) | atomic_load(&process_pending)) & set))
		return 0;
	gmp_enter();
	gmp_lock(&sched.sig_lock);
	sig = dequeue_locked(gp, set, ret_info);
	gmp_unlock(&sched.sig_lock);
	gmp_leave_quiet();
	return sig;
}

/* Returns with sched.sig_lock held and, if there is memory, a node to be had. */
static void lock_with_node(void)
{
	struct gmp_sigq *made;

	gmp_lock(&sched.sig_lock);
	if (likely(free_nodes != NULL))
		return;
	gmp_unlock(&sched.sig_lock); /* memory has a lock of its own, of higher rank, but mmap may take long */
	made = gmp_persistentalloc(sizeof(*made), _Alignof(struct gmp_sigq));
	gmp_lock(&sched.sig_lock);
	if (made != NULL) {
		made->next = free_nodes;
		free_nodes = made;
	}
}

/* sched.sig_lock held. RLIMIT_SIGPENDING, as far as this process has used it up: then real-time signals are refused. */
static bool queue_full_locked(void)
{
	uint64_t limit[2];

	return sys4(__NR_prlimit64, 0, RLIMIT_SIGPENDING, NULL, limit) == 0 && nqueued >= limit[0];
}

/* sched.sig_lock held. Is there an entry that takes in another of its kind? */
static bool merge_locked(struct gmp_sigq *queue, const siginfo_t *info)
{
	int sig = info->si_signo;

	if (sig >= SIGRTMIN && info->si_code != SI_TIMER)
		return false;
	for (struct gmp_sigq *q = queue; q != NULL; q = q->next) {
		if (q->info.si_signo != sig)
			continue;
		/* a timer has one signal at a time, which counts what came too late */
		if (info->si_code == SI_TIMER && q->info.si_code == SI_TIMER &&
		    info->si_timerid == q->info.si_timerid) {
			q->info.si_overrun += info->si_overrun + 1;
			return true;
		}
		if (sig < SIGRTMIN)
			return true; /* a standard signal is not queued twice */
	}
	return false;
}

/* sched.sig_lock held */
static void append_locked(struct gmp_sigq **queue, struct gmp_sigq **tail, _Atomic(uint64_t) *pending,
			  const siginfo_t *info, bool taken)
{
	gmp_sigset bit = SIG_BIT(info->si_signo);
	struct action a = action_of(info->si_signo);
	struct gmp_sigq *q;

	if (taken && !has_handler(&a)) /* set before the queues are flushed */
		return;
	if ((atomic_load_explicit(pending, memory_order_relaxed) & bit) && merge_locked(*queue, info)) /* lock */
		return;
	q = node_get();
	if (q == NULL)
		return;
	q->next = NULL;
	q->taken = taken;
	q->info = *info;
	if (*queue == NULL)
		*queue = q;
	else
		(*tail)->next = q;
	*tail = q;
	atomic_fetch_or(pending, bit); /* seq_cst: then masks and what the target does */
}

static void append_process(const siginfo_t *info, bool taken)
{
	gmp_enter();
	lock_with_node();
	append_locked(&process_queue, &process_tail, &process_pending, info, taken);
	gmp_unlock(&sched.sig_lock);
	gmp_leave_quiet();
}

/* sched.sig_lock held. Signals sig leave the queue: all, or those that were taken for a handler. */
static void flush_locked(struct gmp_sigq **queue, struct gmp_sigq **tail, _Atomic(uint64_t) *pending, int sig,
			 bool all)
{
	struct gmp_sigq **link = queue, *q, *before = NULL;
	bool left = false;

	while ((q = *link) != NULL) {
		if (q->info.si_signo == sig && (all || q->taken)) {
			*link = q->next;
			if (*tail == q)
				*tail = before;
			node_put(q);
			continue;
		}
		left |= q->info.si_signo == sig;
		before = q;
		link = &q->next;
	}
	if (!left)
		atomic_fetch_and(pending, ~SIG_BIT(sig));
}

/*
 * The action has changed. all: it became to ignore the signal, and what is pending is discarded, blocked or not. Else
 * it became the default: that is not for what the kernel has given to a handler.
 */
static void flush_pending(int sig, bool all)
{
	gmp_sigset bit = SIG_BIT(sig);

	gmp_enter();
	gmp_lock(&sched.sig_lock);
	flush_locked(&process_queue, &process_tail, &process_pending, sig, all);
	for (struct g *gp = sched.allg; gp != NULL && nqueued > 0; gp = gp->alllink)
		if (atomic_load_explicit(&gp->sigpending, memory_order_relaxed) & bit) /* lock */
			flush_locked(&gp->sigq, &gp->sigq_tail, &gp->sigpending, sig, all);
	gmp_unlock(&sched.sig_lock);
	gmp_leave_quiet();
}

/* --- telling a G --- */

/* The calling M must look at G's queue; a system call there goes on or ends with EINTR as the handler of sig asks. */
static void kick(struct g *gp, int sig)
{
	struct m *mp = gp->m;
	struct action a;

	if (mp == NULL)
		return;
	a = action_of(sig);
	if (sig == 0 || !has_handler(&a) || (a.flags & SA_RESTART))
		gmp_notify(mp);
	else
		gmp_kick(mp);
}

static bool has_m(struct g *gp)
{
	uint32_t st = atomic_load(&gp->status);

	return st == G_RUNNING || st == G_SYSCALL;
}

/*
 * Inside the shim, no lock held: sig, queued for gp or the process, is for gp to take. Parked, it is woken; running,
 * its M is kicked. In between it leaves the shim when it runs again, and looks at `deferred` there: a barrier on every
 * thread stands in for the one that is missing between its store of the status and that look.
 */
static void notice(struct g *gp, int sig)
{
	uint32_t was = atomic_exchange(&gp->tls->deferred, 1); /* pairs with the exchange in gmp_run_deferred */

	if (gp == getg() || gmp_interrupt(gp))
		return;
	if (!has_m(gp)) {
		if (was != 0)
			return; /* whoever set it has seen to that, and gp has not looked since */
		sys3(__NR_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
		if (!has_m(gp))
			return;
	}
	kick(gp, sig);
}

/* The same for one of the process's queue. */
static void tell(struct g *gp, int sig)
{
	atomic_store(&gp->sigtold, true); /* seq_cst: after the queue; pairs with recall() */
	notice(gp, sig);
}

static bool admits(struct g *gp, int sig)
{
	uint32_t st = atomic_load_explicit(&gp->status, memory_order_relaxed); /* a hint: sigclosed decides */

	return st != G_IDLE && st != G_DEAD && !(*(volatile gmp_sigset *)&gp->sigmask & SIG_BIT(sig)) &&
	       !atomic_load(&gp->sigclosed);
}

/* Who is to take a signal for the process that interrupted `here` (NULL: a g0). NULL: everybody blocks it. */
static struct g *choose(int sig, struct g *here)
{
	if (admits(sched.maing, sig))
		return sched.maing;
	if (here != NULL && admits(here, sig))
		return here;
	if (atomic_load(&sched.idlemask) & SIG_BIT(sig))
		return NULL; /* no need to ask a million */
	for (struct g *gp = atomic_load_explicit(&sched.allg, memory_order_acquire); gp != NULL; gp = gp->alllink)
		if (admits(gp, sig))
			return gp;
	return NULL;
}

/* Signals of the process's queue need somebody to take them: tell a G in sigwait, or one that admits it. */
static void offer_process(void)
{
	gmp_sigset left;

	gmp_enter();
	gmp_lock(&sched.sig_lock);
	offer_locked();
	gmp_unlock(&sched.sig_lock);
	/* seq_cst: in the queue, then the masks; a G that admits it stores its mask, then looks at the queue */
	for (left = atomic_load(&process_pending); left != 0; left &= left - 1) {
		int sig = __builtin_ctzll(left) + 1;
		struct g *gp = choose(sig, NULL);

		if (gp != NULL)
			tell(gp, sig);
	}
	gmp_leave_quiet();
}

/*
 * The caller's mask was `was`. What he admits from here on is his, unless it is the main thread's, who was told of it
 * then or when it admitted it; others take over what he does not admit any more.
 */
static void mask_changed(gmp_sigset was, gmp_sigset mask)
{
	struct g *gp = getg();
	gmp_sigset pending;

	atomic_thread_fence(memory_order_seq_cst); /* the mask, then the queue; pairs with append, then admits() */
	pending = atomic_load(&process_pending);
	if (likely(pending == 0))
		return;
	for (gmp_sigset opened = pending & was & ~mask; opened != 0; opened &= opened - 1)
		if (gp == sched.maing || !admits(sched.maing, __builtin_ctzll(opened) + 1))
			atomic_store(&gp->sigtold, true);
	if (pending & mask & ~was)
		offer_process();
}

static void give_to_process(const siginfo_t *info)
{
	append_process(info, false);
	offer_process();
}

/* A signal for the process, which interrupted `here`: tell the one that is to have it. */
static void send_process(const siginfo_t *info, struct g *here, bool taken)
{
	struct g *gp;

	gmp_enter();
	append_process(info, taken);
	gp = choose(info->si_signo, here);
	if (gp != NULL)
		tell(gp, info->si_signo);
	gmp_leave_quiet();
	if (gp == NULL)
		offer_process();
}

/* sched.sig_lock held. Its thread ends, and they with it. */
static void drop_queue_locked(struct g *gp)
{
	siginfo_t info;

	while (take_locked(&gp->sigq, &gp->sigq_tail, &gp->sigpending, ~UINT64_C(0), &info) != 0)
		;
}

/* A signal for gp alone. 0 or an errno. Callable from on_signal outside the shim. */
static int enqueue(struct g *gp, const siginfo_t *info, bool taken)
{
	int sig = info->si_signo;
	bool full;

	gmp_enter();
	lock_with_node();
	full = sig >= SIGRTMIN && info->si_code != SI_USER && info->si_code != SI_TIMER && queue_full_locked();
	if (!full)
		append_locked(&gp->sigq, &gp->sigq_tail, &gp->sigpending, info, taken);
	if (unlikely(atomic_load(&gp->sigclosed))) /* it may have looked before */
		drop_queue_locked(gp);
	gmp_unlock(&sched.sig_lock);
	if (full)
		;
	else if (!(*(volatile gmp_sigset *)&gp->sigmask & SIG_BIT(sig)))
		notice(gp, sig);
	else if (atomic_load(&gp->sigwaits) & SIG_BIT(sig)) /* seq_cst: set before its look at sigpending */
		if (!gmp_interrupt(gp) && has_m(gp))
			kick(gp, 0);
	gmp_leave_quiet();
	return full ? EAGAIN : 0;
}

static bool synchronous(int sig, const siginfo_t *info)
{
	return info->si_code > 0 &&
	       (sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == SIGILL || sig == SIGTRAP || sig == SIGSYS);
}

/*
 * The thread that a signal is for which interrupted gp; NULL: it is for the process. Nobody: its thread has ended.
 * SIGPIPE and SIGXFSZ are the kernel's word to the thread that writes, with the code of kill; the program's own kill
 * does not come this way (hook_kill).
 */
static struct g *thread_of(struct g *gp, const siginfo_t *info, bool *ret_nobody)
{
	struct g *owner;

	*ret_nobody = false;
	if (info->si_code == SI_TKILL)
		return gp;
	if (info->si_code == SI_USER && (info->si_signo == SIGPIPE || info->si_signo == SIGXFSZ) &&
	    info->si_pid == sys_getpid())
		return gp;
	if (info->si_code != SI_TIMER || !gmp_timer_thread(info, &owner))
		return NULL;
	*ret_nobody = owner == NULL;
	return owner;
}

/*
 * Signals of timers are taken by the thread that they interrupt, if it admits them: those of CPU clocks tell what it
 * does, and the kernel prefers it for the others. Not by one that sleeps in a system call: the kernel found its M
 * because that is the process's first one, or the only one that admits the signal.
 */
static bool of_timer(const siginfo_t *info, const struct g *gp)
{
	return gp != NULL && gp->status == G_RUNNING &&
	       (info->si_code == SI_TIMER ||
		(info->si_code == SI_KERNEL && (info->si_signo == SIGPROF || info->si_signo == SIGVTALRM)));
}

/* --- delivery --- */

/* A handler ends a wait with another mask: its frame brings the old one back, as the kernel's does. */
static void swap_over(struct g *gp, ucontext_t *uc)
{
	int slot = gp->mask_slot;

	gp->swapped = false;
	memcpy(&uc->uc_sigmask, &gp->swap_mask, sizeof(gp->swap_mask));
	gp->mask_slot = gp->swap_slot;
	mask_put(slot);
}

/* --- alternate signal stacks: core/sigstack.c has what they are to the kernel --- */

static int alt_flags(const struct gmp_altstack *ss, uintptr_t sp)
{
	if (ss->sp == NULL)
		return SS_DISABLE;
	return ss->flags | (!(ss->flags & SS_AUTODISARM) && gmp_on_altstack(ss, sp) ? SS_ONSTACK : 0);
}

/*
 * A signal may come at any moment. While sp is NULL there is no alternate stack, whatever the rest says; a handler
 * leaves that as it was.
 */
static void alt_store(struct g *gp, struct gmp_altstack ss)
{
	gp->altstack.sp = NULL;
	atomic_signal_fence(memory_order_seq_cst);
	gp->altstack.flags = ss.flags;
	gp->altstack.size = ss.size;
	atomic_signal_fence(memory_order_seq_cst);
	gp->altstack.sp = ss.sp;
}

/* The stack in use is not changed. */
static bool alt_may_change(const struct g *gp, uintptr_t sp)
{
	return (gp->altstack.flags & SS_AUTODISARM) || !gmp_on_altstack(&gp->altstack, sp);
}

/* As the kernel's do_sigaltstack. sp: the caller's. 0 or an errno. */
static int alt_set(struct g *gp, const stack_t *ss, uintptr_t sp)
{
	int mode = ss->ss_flags & ~SS_AUTODISARM;

	if (!alt_may_change(gp, sp))
		return EPERM;
	if (mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0)
		return EINVAL;
	if (mode != SS_DISABLE && ss->ss_size < KERNEL_MINSIGSTKSZ)
		return ENOMEM;
	if (mode == SS_DISABLE)
		alt_store(gp, (struct gmp_altstack){0});
	else
		alt_store(gp, (struct gmp_altstack){ss->ss_sp, ss->ss_flags & SS_AUTODISARM, ss->ss_size});
	return 0;
}

static stack_t alt_told(const struct gmp_altstack *ss)
{
	return (stack_t){ss->sp, ss->sp == NULL ? SS_DISABLE : ss->flags, ss->size};
}

/* A handler is about to run: its frame says which alternate stack there was, and may have disarmed it. Returns that. */
static struct gmp_altstack alt_begin(struct g *gp, ucontext_t *uc)
{
	struct gmp_altstack was = gp->altstack;

	uc->uc_stack = alt_told(&was);
	if (was.flags & SS_AUTODISARM)
		alt_store(gp, (struct gmp_altstack){0});
	return was;
}

/*
 * It is over: what its frame says is set, as far as that can be. If the program has not changed that, it is what was
 * there, to the bit: this handler may have interrupted alt_store.
 */
static void alt_end(struct g *gp, ucontext_t *uc, struct gmp_altstack was)
{
	const stack_t told = alt_told(&was), *ss = &uc->uc_stack;
	const struct gmp_altstack *is = &gp->altstack;

	if (ss->ss_sp != told.ss_sp || ss->ss_flags != told.ss_flags || ss->ss_size != told.ss_size)
		alt_set(gp, ss, arch_uc_sp(uc));
	else if ((is->sp != was.sp || is->flags != was.flags || is->size != was.size) &&
		 alt_may_change(gp, arch_uc_sp(uc)))
		alt_store(gp, was);
	gmp_sigstack_keep(uc);
}

static void run_handler(int sig, siginfo_t *info, void *ucv)
{
	struct action a = action_of(sig);
	struct g *gp = getg();
	bool shielded = gp != NULL && gp->shielded;
	struct gmp_altstack was;

	if (!has_handler(&a))
		return; /* the program took it back meanwhile */
	if (a.flags & (int)SA_RESETHAND) { /* the handler goes, flags and mask stay */
		struct sigaction once = {.sa_flags = a.flags};

		from_kernel(&once.sa_mask, a.mask);
		set_action(sig, &once, NULL, false);
	}
	gmp_tls.sig_count++;
	if (!(a.flags & SA_RESTART))
		gmp_tls.sig_norestart++;
	if (gp != NULL && unlikely(gp->swapped))
		swap_over(gp, ucv);
	if (shielded)
		gmp_cancel_unshield(); /* the handler has cancellation points of its own */
	if (gp != NULL)
		was = alt_begin(gp, ucv);
	if (a.flags & SA_SIGINFO)
		((void (*)(int, siginfo_t *, void *))a.handler)(sig, info, ucv);
	else
		((void (*)(int))a.handler)(sig);
	if (gp != NULL)
		alt_end(gp, ucv, was);
	if (shielded)
		gmp_cancel_shield();
}

/* What is blocked while the handler of sig runs that has come with the mask `before`. */
static gmp_sigset handler_mask(int sig, gmp_sigset before)
{
	struct action a = action_of(sig);

	return (before | a.mask | (a.flags & SA_NODEFER ? 0 : SIG_BIT(sig))) & SIG_ALL_BUT_NOTIFY;
}

/*
 * The kernel has set the mask for the handler of sig. The M's books say so before anything can switch away from here (a
 * G is not preempted while they differ, see may_stop; gmp_signal_news puts them right): a G that has lost its P queues
 * at its next gmp_enter(). Returns the G's mask, which is another than `before` where a handler begins on top of one
 * that has not come so far.
 */
static gmp_sigset mask_entered(struct g *gp, int sig, gmp_sigset before)
{
	gp->m->kmask = handler_mask(sig, before);
	return gp->sigmask;
}

/* The handler begins: its mask is the G's, on the M where that is by now. */
static void mask_begin(struct g *gp, int sig, gmp_sigset before)
{
	gmp_enter_quiet();
	gp->sigmask = handler_mask(sig, before);
	/* one that was put off meanwhile has blocked all, and waits for the next hook's exit */
	if (gp->m->sigslot == NULL)
		gmp_set_kmask(gp->m, gp->sigmask);
	gmp_leave_quiet();
	mask_changed(before, gp->sigmask);
}

/* In the shim or on a g0: note it, block everything from here on, let the code below go on. */
static void put_off(struct g *gp, siginfo_t *info, ucontext_t *uc)
{
	gmp_sigset all = SIG_ALL_BUT_NOTIFY;

	if (gp != NULL) {
		struct m *mp = gp->m;

		if (mp->sigslot != NULL) { /* cannot be while all are blocked; the kernel keeps this one */
			sys4(__NR_rt_tgsigqueueinfo, sys_getpid(), mp->tid, info->si_signo, info);
		} else {
			slots[mp->id] = *info;
			mp->sigslot = &slots[mp->id];
			gmp_poke(mp);
		}
		mp->kmask = all;
	} else {
		gmp_tls.foreign_mask = to_kernel(&uc->uc_sigmask);
		sys4(__NR_rt_tgsigqueueinfo, sys_getpid(), sys_gettid(), info->si_signo, info);
	}
	memcpy(&uc->uc_sigmask, &all, sizeof(all));
	atomic_store_explicit(&gmp_tls.deferred, 1, memory_order_relaxed); /* own thread */
}

/* Signals for the calling thread that it is to take. */
static gmp_sigset deliverable(struct g *gp, gmp_sigset blocked)
{
	gmp_sigset pending = atomic_load(&gp->sigpending);

	if (unlikely(atomic_load(&gp->sigtold)))
		pending |= atomic_load(&process_pending);
	return pending & ~blocked & ~NEWS;
}

/* The process's queue may be empty again. Forget first, then look: pairs with tell(). */
static void recall(struct g *gp)
{
	if (atomic_load_explicit(&gp->sigtold, memory_order_relaxed) && atomic_exchange(&gp->sigtold, false) &&
	    (atomic_load(&process_pending) & ~gp->sigmask))
		atomic_store(&gp->sigtold, true);
}

/*
 * Send the calling kernel thread a token for sig, which is queued; what has no handler is sent itself. It stays in the
 * queue until on_signal takes it. False: the kernel's queue is full; the next look will try again. Outside the shim, in
 * code of ours, where nobody is preempted: the G does not change its M.
 */
static bool replay(struct g *gp, int sig)
{
	struct action a = action_of(sig);
	siginfo_t info;

	if (has_handler(&a)) {
		memset(&info, 0, sizeof(info));
		info.si_signo = sig;
		info.si_code = SI_GMP;
	} else if (dequeue(gp, SIG_BIT(sig), &info) == 0 || a.handler == (void *)SIG_IGN) {
		return true;
	}
	return sys4(__NR_rt_tgsigqueueinfo, sys_getpid(), gp->m->tid, sig, &info) == 0;
}

/*
 * In a signal handler of ours that is about to return to uc: what is queued is delivered there, one of each signal. All
 * are blocked until sigreturn; a kick that comes before it is delivered after it.
 */
static void replay_at_return(struct g *gp, const ucontext_t *uc)
{
	gmp_sigset ready = deliverable(gp, gp->sigmask | to_kernel(&uc->uc_sigmask));

	for (; ready != 0; ready &= ready - 1)
		if (!replay(gp, __builtin_ctzll(ready) + 1))
			break;
}

static void block_until_return(void)
{
	gmp_sigset all = ~(gmp_sigset)0;

	sys_sigmask(SIG_SETMASK, &all, NULL);
}

/*
 * The handler is over. With all blocked the books are made to say what sigreturn is about to set, perhaps on another M
 * than at the start; what is queued and admitted then comes at once, as does what was put off while it began.
 */
static void mask_end(struct g *gp, gmp_sigset before, gmp_sigset saved, const ucontext_t *uc)
{
	gmp_sigset after = to_kernel(&uc->uc_sigmask), was = gp->sigmask;

	if (unlikely(after != before)) { /* the handler has changed it */
		saved = after;
		gp->sigmask |= after;
		mask_changed(was, gp->sigmask);
		was = gp->sigmask;
	}
	if (unlikely(gp->m->sigslot != NULL))
		collect(gp, 0);
	block_until_return();
	gp->sigmask = saved;
	gp->m->kmask = after;
	mask_changed(was, gp->sigmask & was); /* only opens: does not switch */
	replay_at_return(gp, uc);
}

/*
 * The kernel has interrupted gp with a signal that is another's: hand it on, true. gp's mask is as it was: were the
 * signal blocked meanwhile, the G that opens it again would be the one to take it from the process's queue.
 */
static bool pass_on(struct g *gp, int sig, const siginfo_t *info, bool *ret_directed)
{
	struct g *target;
	bool nobody;

	*ret_directed = false;
	if (info->si_code == SI_GMP)
		return false;
	target = thread_of(gp, info, &nobody);
	*ret_directed = target == gp;
	if (target == gp)
		return false;
	if (target != NULL)
		enqueue(target, info, true);
	else if (!nobody && (of_timer(info, gp) || gp == sched.maing || !admits(sched.maing, sig)))
		return false;
	else if (!nobody)
		send_process(info, NULL, true);
	return true;
}

/*
 * gp is to take the signal; *own: the one whose turn it is. False: somebody else has taken it. Before the mask is the
 * handler's: what is in the process's queue when gp blocks it is offered to others.
 */
static bool take(struct g *gp, int sig, const siginfo_t *info, bool directed, siginfo_t *own)
{
	if (info->si_code != SI_GMP) {
		*own = *info;
		if (likely(!((atomic_load(&gp->sigpending) | atomic_load(&process_pending)) & SIG_BIT(sig))))
			return true;
		/* older ones of its kind go first */
		if (directed)
			enqueue(gp, info, true);
		else
			append_process(info, true);
	}
	return dequeue(gp, SIG_BIT(sig), own) != 0;
}

/* On a thread that is no G. */
static void dispatch_foreign(int sig, siginfo_t *info, void *uc)
{
	if (synchronous(sig, info) || info->si_code == SI_TKILL || choose(sig, NULL) == NULL)
		run_handler(sig, info, uc);
	else
		send_process(info, NULL, true);
}

/* With the mask that the program has asked for. */
static void handle(int sig, siginfo_t *info, void *ucv)
{
	struct g *gp = getg();
	gmp_sigset before, saved;
	siginfo_t own;
	bool directed;
	int err;

	if (gp != NULL)
		gmp_sigstack_keep(ucv);
	if (!live()) {
		run_handler(sig, info, ucv);
		return;
	}
	err = errno;
	if (gp == NULL) {
		dispatch_foreign(sig, info, ucv);
		errno = err;
		return;
	}
	before = to_kernel(&((ucontext_t *)ucv)->uc_sigmask);
	saved = mask_entered(gp, sig, before);
	if (synchronous(sig, info) ||
	    (!pass_on(gp, sig, info, &directed) && take(gp, sig, info, directed, &own))) {
		mask_begin(gp, sig, before);
		run_handler(sig, synchronous(sig, info) ? info : &own, ucv);
		mask_end(gp, before, saved, ucv);
	} else {
		if (has_news(gp))
			take_news(gp, ucv); /* another may have come meanwhile and been put off */
		block_until_return();
		gp->m->kmask = before; /* what sigreturn is about to set, perhaps on another M than at the start */
	}
	errno = err;
}

/* On the stack of the thread, or of one that is no G, with all blocked: others that have come are nested here. */
static void open_and_handle(int sig, siginfo_t *info, void *uc)
{
	gmp_sigset mask = handler_mask(sig, to_kernel(&((ucontext_t *)uc)->uc_sigmask));

	sys_sigmask(SIG_SETMASK, &mask, NULL);
	handle(sig, info, uc);
}

/* The kernel ends a process so when a frame does not fit on the alternate stack. */
static void __attribute__((noreturn)) altstack_full(void)
{
	gmp_sigset one = SIG_BIT(SIGSEGV);
	uint64_t dfl[4] = {0}; /* the kernel's struct sigaction: default action */

	sys4(__NR_rt_sigaction, SIGSEGV, dfl, NULL, sizeof(gmp_sigset));
	sys3(__NR_tgkill, sys_getpid(), sys_gettid(), SIGSEGV);
	sys_sigmask(SIG_UNBLOCK, &one, NULL);
	__builtin_trap();
}

/* Where the kernel enters: on an M's signal stack if the handler has SA_ONSTACK, all blocked. */
static void on_signal(int sig, siginfo_t *info, void *uc)
{
	struct g *gp = getg();
	void *to;

	if (live() && !synchronous(sig, info) && (gmp_tls.inshim > 0 || (gp != NULL && gp->kind == GK_G0))) {
		put_off(gp, info, uc);
	} else if (gp == NULL) {
		open_and_handle(sig, info, uc);
	} else if (gp->kind == GK_G0 || !gmp_on_sigstack(gp->m, arch_sp())) {
		handle(sig, info, uc);
	} else {
		to = gmp_sigframe_handler(gp, uc);
		if (to == NULL)
			altstack_full();
		arch_rehandle(to, sig, open_and_handle);
	}
}

/* A signal that was put off, on gp or (NULL) a g0. */
static void route(struct g *gp, const siginfo_t *info)
{
	struct g *target;
	bool nobody;

	target = thread_of(gp, info, &nobody);
	if (target != NULL)
		enqueue(target, info, true);
	else if (!nobody && info->si_code != SI_GMP)
		/* it may have been taken in a wait with another mask, which is over */
		send_process(info, of_timer(info, gp) && admits(gp, info->si_signo) ? gp : NULL, true);
}

/* On a g0, no lock held: hand the slot's signal to a G. */
void gmp_route_slot(struct m *mp)
{
	siginfo_t info = *(siginfo_t *)mp->sigslot;

	mp->sigslot = NULL;
	atomic_store_explicit(&gmp_tls.deferred, 0, memory_order_relaxed);
	route(NULL, &info);
}

/*
 * On a G, inshim == 0: what was put off is queued for whom it is for, and the mask is the G's again. blocked: and this,
 * what a handler blocks that has just begun: the next of its kind must not come before it.
 */
static void collect(struct g *gp, gmp_sigset blocked)
{
	if (unlikely(gp->props != NULL))
		gmp_props_apply(gp);
	do {
		struct m *mp;

		atomic_exchange(&gmp_tls.deferred, 0); /* seq_cst: then the queues; pairs with notice() */
		recall(gp);
		gmp_enter();
		mp = gp->m;
		if (mp->sigslot != NULL) {
			siginfo_t info = *(siginfo_t *)mp->sigslot;

			mp->sigslot = NULL;
			route(gp, &info);
		}
		gmp_set_kmask(mp, gp->sigmask | blocked);
		gmp_leave_quiet();
	} while (atomic_load_explicit(&gmp_tls.deferred, memory_order_relaxed)); /* own, or will be seen next time */
}

/* At the exit of a hook, with inshim == 0: what was put off. */
void gmp_run_deferred(struct g *gp)
{
	gmp_sigset ready;
	int err = errno;

	if (gp == NULL) {
		atomic_store_explicit(&gmp_tls.deferred, 0, memory_order_relaxed);
		sys_sigmask(SIG_SETMASK, &gmp_tls.foreign_mask, NULL); /* what waited in the kernel comes now */
		return;
	}
	do {
		collect(gp, 0);
		while ((ready = deliverable(gp, gp->sigmask)) != 0) {
			uint32_t ran = gmp_tls.sig_count;

			/* A handler may leave by a jump: the others come at its first hook then, or are nested. */
			if (ready & (ready - 1))
				atomic_store_explicit(&gmp_tls.deferred, 1, memory_order_relaxed); /* own thread */
			if (!replay(gp, __builtin_ctzll(ready) + 1))
				break;
			/* not delivered, not taken by another thread either: nothing will come of it here */
			if (gmp_tls.sig_count == ran && deliverable(gp, gp->sigmask) == ready)
				break;
		}
	} while (ready == 0 && atomic_load_explicit(&gmp_tls.deferred, memory_order_relaxed));
	errno = err;
	if (unlikely(gmp_cancel_pending(gp)))
		gmp_cancel_async(gp, NULL);
}

/* What was put off, or is queued and may be delivered. */
static bool has_news(struct g *gp)
{
	return atomic_load_explicit(&gmp_tls.deferred, memory_order_relaxed) || deliverable(gp, gp->sigmask) != 0;
}

/* On gp outside the shim, in a handler that is about to return to uc; the books say what the kernel blocks. */
static void take_news(struct g *gp, ucontext_t *uc)
{
	int err = errno;

	collect(gp, to_kernel(&uc->uc_sigmask));
	if (unlikely(gmp_cancel_pending(gp)))
		gmp_cancel_async(gp, NULL); /* may unwind: while the mask is the thread's */
	block_until_return();
	gp->m->kmask = to_kernel(&uc->uc_sigmask); /* what sigreturn is about to set, on whatever M this is */
	replay_at_return(gp, uc);
	errno = err;
}

/*
 * The handler of SIG_NOTIFY and SIG_KICK, with the mask of uc, which it interrupted: perhaps a handler that has just
 * begun, and the books do not know of its mask. A G that has lost its P leaves its M here, which must not keep that
 * mask unnoticed. Or a signal waits in the M's slot with all blocked, and uc was about to look: it will find nothing.
 */
void gmp_signal_news(struct g *gp, void *ucv)
{
	ucontext_t *uc = ucv;

	if (likely(!has_news(gp)))
		return;
	if (gp->m->sigslot != NULL)
		memcpy(&uc->uc_sigmask, &gp->sigmask, sizeof(gp->sigmask));
	else
		gp->m->kmask = to_kernel(&uc->uc_sigmask);
	take_news(gp, uc);
}

/*
 * sysmon, which blocks all signals: one that some G admits is pending because every M runs a G that blocks it. Take it
 * and give it to a G that admits it, or perform its default action.
 */
void gmp_take_signals(void)
{
	gmp_sigset admitted = ~atomic_load(&sched.idlemask) & SIG_ALL_BUT_NOTIFY;
	struct __kernel_timespec zero = {0};
	siginfo_t info;
	long sig;

	while ((sig = sys4(__NR_rt_sigtimedwait, &admitted, &info, &zero, sizeof(gmp_sigset))) > 0) {
		struct action a = action_of((int)sig);

		if (has_handler(&a)) {
			route(NULL, &info);
		} else if (a.handler == (void *)SIG_DFL) {
			gmp_sigset one = SIG_BIT(sig);

			sys4(__NR_rt_tgsigqueueinfo, sys_getpid(), sys_gettid(), sig, &info);
			sys_sigmask(SIG_UNBLOCK, &one, NULL);
			sys_sigmask(SIG_BLOCK, &one, NULL);
		}
	}
}

/* Its own signals go with it; those of the process that it was to take are others' from here on. */
void gmp_signal_end_g(struct g *gp)
{
	/* seq_cst: then the queues; pairs with append, then the look at sigclosed in enqueue() and admits() */
	atomic_store(&gp->sigclosed, true);
	if (unlikely(atomic_load(&gp->sigpending) != 0)) {
		gmp_enter();
		gmp_lock(&sched.sig_lock);
		drop_queue_locked(gp);
		gmp_unlock(&sched.sig_lock);
		gmp_leave_quiet();
	}
	if (unlikely(atomic_load(&process_pending) != 0))
		offer_process();
	mask_put(gp->mask_slot);
	if (gp->swapped) /* cancelled in the middle */
		mask_put(gp->swap_slot);
	gp->swapped = gp->shielded = false;
}

/* --- sigaction and its relatives --- */

/* The child of vfork has kernel state of its own, but our memory is its parent's: change nothing there. */
static bool in_vfork_child(void)
{
	return gmp_tls.inshim != 0;
}

static bool ignores(int sig, const struct sigaction *act)
{
	return act->sa_handler == SIG_IGN || (act->sa_handler == SIG_DFL && (sig == SIGCHLD || sig == SIGURG ||
									    sig == SIGWINCH || sig == SIGCONT));
}

/* taken_back: the handler that there is is to get no more signals. */
static int set_action(int sig, const struct sigaction *act, struct sigaction *old, bool taken_back)
{
	struct sigaction k, kold;
	struct action was;
	bool child;
	int rc;

	if (sig < 1 || sig > NSIG_MAX || sig == SIGKILL || sig == SIGSTOP || sig == SIG_NOTIFY || sig == SIG_KICK)
		return PASS(sigaction)(sig, act, old);
	if (sched.maing == NULL) /* the scheduler is off */
		return PASS(sigaction)(sig, act, old);
	child = in_vfork_child();
	gmp_enter();
	gmp_lock(&action_lock);
	was = action_of(sig);
	if (act != NULL && child) {
		k = *act; /* without on_signal, whose books are the parent's */
	} else if (act != NULL) {
		struct action a = {(void *)(uintptr_t)act->sa_handler, act->sa_flags, to_kernel(&act->sa_mask)};
		uint32_t next = actions[sig].current + 1;

		k = *act;
		if (has_handler(&a)) {
			k.sa_sigaction = on_signal;
			k.sa_flags = (act->sa_flags & ~(int)SA_RESETHAND) | SA_SIGINFO;
			if (a.flags & SA_ONSTACK)
				memset(&k.sa_mask, 0xff, sizeof(k.sa_mask)); /* ours, too: one frame on an M's stack */
		} else if (a.handler == (void *)SIG_DFL && live()) {
			gmp_see_default(sig, &k);
		}
		/* record first: a signal right after the kernel's change must find it */
		actions[sig].rec[next & 1] = a;
		atomic_store_explicit(&actions[sig].current, next, memory_order_release); /* pairs with action_of */
	}
	rc = real.sigaction(sig, act != NULL ? &k : NULL, &kold);
	if (rc == 0 && old != NULL) {
		*old = kold;
		if (kold.sa_sigaction == on_signal || kold.sa_sigaction == gmp_see_handler) {
			old->sa_handler = (__sighandler_t)(uintptr_t)was.handler;
			old->sa_flags = was.flags | (kold.sa_flags & SA_RESTORER);
			from_kernel(&old->sa_mask, was.mask);
		}
	}
	gmp_unlock(&action_lock);
	if (act != NULL && rc == 0 && !child && nqueued != 0 && ignores(sig, act)) /* a hint, as pending is a race */
		flush_pending(sig, true);
	else if (rc == 0 && taken_back)
		flush_pending(sig, false);
	gmp_leave();
	return rc;
}

/*
 * A signal that has come before its handler is taken back has had that: the kernel interrupts the thread in this very
 * call, at the latest. Here it may have come to another M, which the kernel has not let run yet.
 */
static void settle(int sig)
{
	struct __kernel_timespec zero = {0};
	gmp_sigset one = SIG_BIT(sig);
	struct g *gp = getg();
	siginfo_t info;

	if (!on_g() || (gp->sigmask & one))
		return;
	while (sys4(__NR_rt_sigtimedwait, &one, &info, &zero, sizeof(one)) == sig)
		route(gp, &info);
	if (deliverable(gp, gp->sigmask) & one)
		gmp_run_deferred(gp);
}

/* The program's own wish. */
static int change_action(int sig, const struct sigaction *act, struct sigaction *old)
{
	bool ends = act != NULL && (act->sa_handler == SIG_DFL || act->sa_handler == SIG_IGN) && live() && sig > 0 &&
		    sig <= NSIG_MAX && !in_vfork_child();

	if (ends) {
		struct action was = action_of(sig);

		ends = has_handler(&was);
	}
	if (ends)
		settle(sig);
	return set_action(sig, act, old, ends);
}

int hook_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	return change_action(sig, act, old);
}

int hook___sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	return change_action(sig, act, old);
}

static sigset_t interrupting; /* siginterrupt(3): signals whose signal() is without SA_RESTART */

static sighandler_t set_handler(int sig, sighandler_t handler, int flags)
{
	struct sigaction act = {.sa_flags = flags}, old;

	if (handler == SIG_ERR || sig < 1 || sig > NSIG_MAX) {
		errno = EINVAL;
		return SIG_ERR;
	}
	act.sa_handler = handler;
	return change_action(sig, &act, &old) == 0 ? old.sa_handler : SIG_ERR;
}

/* BSD semantics, as glibc's default signal(). */
sighandler_t hook_signal(int sig, sighandler_t handler)
{
	bool intr = sig >= 1 && sig <= NSIG_MAX && sigismember(&interrupting, sig) == 1;

	return set_handler(sig, handler, intr ? 0 : SA_RESTART);
}

sighandler_t hook_bsd_signal(int sig, sighandler_t handler)
{
	return hook_signal(sig, handler);
}

sighandler_t hook_ssignal(int sig, sighandler_t handler)
{
	return hook_signal(sig, handler);
}

sighandler_t hook_sysv_signal(int sig, sighandler_t handler)
{
	return set_handler(sig, handler, (int)(SA_RESETHAND | SA_NODEFER));
}

sighandler_t hook___sysv_signal(int sig, sighandler_t handler)
{
	return hook_sysv_signal(sig, handler);
}

int hook_siginterrupt(int sig, int on)
{
	struct sigaction act;

	if (set_action(sig, NULL, &act, false) < 0)
		return -1;
	if (on) {
		sigaddset(&interrupting, sig);
		act.sa_flags &= ~SA_RESTART;
	} else {
		sigdelset(&interrupting, sig);
		act.sa_flags |= SA_RESTART;
	}
	return set_action(sig, &act, NULL, false);
}

/* --- masks --- */

static int change_mask(int how, const sigset_t *set, sigset_t *old)
{
	struct g *gp = in_vfork_child() ? NULL : getg();
	gmp_sigset was, mask;

	if (gp == NULL)
		sys_sigmask(SIG_SETMASK, NULL, &was);
	else
		was = gp->sigmask;
	if (set != NULL) {
		mask = to_kernel(set);
		switch (how) {
		case SIG_BLOCK:
			mask |= was;
			break;
		case SIG_UNBLOCK:
			mask = was & ~mask;
			break;
		case SIG_SETMASK:
			break;
		default:
			return EINVAL;
		}
		if (gp != NULL && live())
			gmp_set_sigmask(mask);
		else if (gp != NULL) {
			gp->sigmask = mask & ~(SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP));
			gp->m->kmask = gp->sigmask;
			sys_sigmask(SIG_SETMASK, &gp->sigmask, NULL);
		} else
			sys_sigmask(SIG_SETMASK, &mask, NULL);
	}
	if (old != NULL)
		from_kernel(old, was);
	return 0;
}

int hook_pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	if (sched.maing == NULL)
		return PASS(pthread_sigmask)(how, set, old);
	return change_mask(how, set, old);
}

int hook_sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	int rc;

	if (sched.maing == NULL)
		return PASS(sigprocmask)(how, set, old);
	rc = change_mask(how, set, old);
	return rc == 0 ? 0 : fail(rc);
}

int hook_sigblock(int mask)
{
	sigset_t set, old;

	from_kernel(&set, (uint32_t)mask);
	hook_sigprocmask(SIG_BLOCK, &set, &old);
	return (int)to_kernel(&old);
}

int hook_sigsetmask(int mask)
{
	sigset_t set, old;

	from_kernel(&set, (uint32_t)mask);
	hook_sigprocmask(SIG_SETMASK, &set, &old);
	return (int)to_kernel(&old);
}

static int change_one(int how, int sig)
{
	sigset_t set;

	sigemptyset(&set);
	if (sigaddset(&set, sig) < 0)
		return -1;
	return hook_sigprocmask(how, &set, NULL);
}

int hook_sighold(int sig)
{
	return change_one(SIG_BLOCK, sig);
}

int hook_sigrelse(int sig)
{
	return change_one(SIG_UNBLOCK, sig);
}

int hook_sigignore(int sig)
{
	return set_handler(sig, SIG_IGN, 0) == SIG_ERR ? -1 : 0;
}

sighandler_t hook_sigset(int sig, sighandler_t disp)
{
	sigset_t set, old;
	struct sigaction act;

	sigemptyset(&set);
	if (disp == SIG_ERR || sigaddset(&set, sig) < 0) {
		errno = EINVAL;
		return SIG_ERR;
	}
	if (disp == SIG_HOLD) {
		if (hook_sigprocmask(SIG_BLOCK, &set, &old) < 0)
			return SIG_ERR;
		if (sigismember(&old, sig))
			return SIG_HOLD;
		return set_action(sig, NULL, &act, false) < 0 ? SIG_ERR : act.sa_handler;
	}
	disp = set_handler(sig, disp, 0);
	if (disp == SIG_ERR || hook_sigprocmask(SIG_UNBLOCK, &set, &old) < 0)
		return SIG_ERR;
	return sigismember(&old, sig) ? SIG_HOLD : disp;
}

int hook_sigpending(sigset_t *set)
{
	struct g *gp = getg();
	int rc = PASS(sigpending)(set);

	if (rc == 0 && gp != NULL)
		from_kernel(set, to_kernel(set) | ((gp->sigpending | process_pending) & gp->sigmask));
	return rc;
}

int hook_sigaltstack(const stack_t *ss, stack_t *old)
{
	struct g *gp = getg();
	stack_t was;
	int err = 0;

	if (gp == NULL || in_vfork_child())
		return PASS(sigaltstack)(ss, old);
	if (ss != NULL && !gmp_on_own_stack(gp, (uintptr_t)ss) && !gmp_readable(ss, sizeof(*ss)))
		return fail(EFAULT);
	was = (stack_t){gp->altstack.sp, alt_flags(&gp->altstack, arch_sp()), gp->altstack.size};
	if (ss != NULL)
		err = alt_set(gp, ss, arch_sp());
	if (err != 0)
		return fail(err);
	if (old != NULL && !gmp_on_own_stack(gp, (uintptr_t)old) && sys2(__NR_sigaltstack, NULL, old) != 0)
		return fail(EFAULT); /* the kernel's answer is not ours, but written there */
	if (old != NULL)
		*old = was;
	return 0;
}

/* --- a wait with another mask --- */

void gmp_swap_begin(const sigset_t *set)
{
	gmp_sigset mask = to_kernel(set) & ~(SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP));
	struct g *gp = getg();

	gmp_enter();
	gp->swap_mask = gp->sigmask;
	gp->swap_slot = gp->mask_slot;
	gp->mask_slot = mask_get(mask);
	gp->sigmask = mask;
	gp->swapped = true;
	gmp_set_kmask(gp->m, mask);
	mask_changed(gp->swap_mask, mask);
	/* after sigmask and its barrier; pairs with offer_process */
	if ((atomic_load(&gp->sigpending) | atomic_load(&process_pending)) & ~mask)
		atomic_store_explicit(&gmp_tls.deferred, 1, memory_order_relaxed); /* own thread */
}

bool gmp_swap_end(void)
{
	struct g *gp = getg();
	bool ran = !gp->swapped;

	if (!ran) {
		gmp_sigset was = gp->sigmask;
		int slot = gp->mask_slot;

		gp->swapped = false;
		gp->mask_slot = gp->swap_slot;
		gp->sigmask = gp->swap_mask;
		gmp_set_kmask(gp->m, gp->sigmask);
		mask_put(slot);
		mask_changed(was, gp->sigmask);
	}
	gmp_leave();
	return ran;
}

bool gmp_swap_intr(void)
{
	struct g *gp = getg();

	gmp_leave(); /* handlers */
	if (unlikely(gmp_cancel_pending(gp))) {
		gmp_enter();
		gmp_swap_end();
		gmp_testcancel();
		gmp_enter();
		return true;
	}
	gmp_testcancel(); /* takes back a wake-up that has become void */
	gmp_enter();
	return !gp->swapped;
}

static enum park_result park(int64_t deadline, const char *why)
{
	struct parker *pk = gmp_my_parker(NULL);

	return gmp_park_commit(pk, gmp_park_prepare(pk), deadline, why);
}

int hook_sigsuspend(const sigset_t *set)
{
	if (!on_g())
		return PASS(sigsuspend)(set);
	stress_point();
	gmp_testcancel();
	gmp_swap_begin(set);
	do
		park(GMP_NO_DEADLINE, "sigsuspend");
	while (!gmp_swap_intr());
	gmp_swap_end();
	return fail(EINTR);
}

/* libc's two functions of this name: BSD's takes the mask, X/Open's the one signal to be taken off it. */
int hook___sigpause(int sig_or_mask, int is_sig)
{
	sigset_t set;

	if (!is_sig)
		from_kernel(&set, (uint32_t)sig_or_mask);
	else if (hook_sigprocmask(SIG_BLOCK, NULL, &set) < 0 || sigdelset(&set, sig_or_mask) < 0)
		return -1;
	return hook_sigsuspend(&set);
}

int hook_sigpause(int mask)
{
	return hook___sigpause(mask, 0);
}

int hook___xpg_sigpause(int sig)
{
	return hook___sigpause(sig, 1);
}

/* --- waiting for signals --- */

/*
 * Signals for a thread are in its queue; those for the process are in the kernel, blocked everywhere. One of the Gs in
 * sigwait, the leader, waits there with its M for what all of them want, and passes on what is not for itself; the
 * others are parked. When it leaves, the next one leads.
 *
 * NEWS, a bit of g->sigpending that stands for no signal, wakes one of them: something has been put into the process's
 * queue for it, or it is to lead. A G on the list stays inside the shim: no handler runs that might not come back.
 */

struct sigwaiter {
	struct sigwaiter *next;
	struct g *gp;
	gmp_sigset want;
	bool given; /* woken to take a signal: no further one is fetched for it */
};

/* sched.sig_lock held */
static void tell_locked(struct g *gp)
{
	atomic_fetch_or(&gp->sigpending, NEWS); /* seq_cst: then gmp_interrupt */
	if (!gmp_interrupt(gp) && gp != getg() && has_m(gp))
		kick(gp, 0);
}

/* sched.sig_lock held. Wake somebody for each signal in the process's queue. */
static void offer_locked(void)
{
	gmp_sigset left = atomic_load(&process_pending);

	for (struct sigwaiter *w = sigwaiters; w != NULL && left != 0; w = w->next)
		if (!w->given && (w->want & left)) {
			left &= ~(w->want & left & -(w->want & left)); /* it takes the lowest */
			w->given = true;
			tell_locked(w->gp);
		}
}

/* sched.sig_lock held */
static void list_add_locked(struct sigwaiter *w)
{
	struct sigwaiter **link = &sigwaiters;

	while (*link != NULL)
		link = &(*link)->next;
	*link = w;
}

static void list_del_locked(struct sigwaiter *w)
{
	struct sigwaiter **link = &sigwaiters;

	while (*link != w)
		link = &(*link)->next;
	*link = w->next;
}

/*
 * The leader: wait in the kernel. The kicks, blocked and waited for as well, say that there is news: so they cannot
 * come too early. They bring what else they always bring.
 */
static int lead(struct g *gp, int64_t deadline, siginfo_t *ret_info)
{
	gmp_sigset all = SIG_BIT(SIG_NOTIFY) | SIG_BIT(SIG_KICK), kicks = all;
	struct __kernel_timespec left;
	int sig = 0;

	gmp_entersyscall();
	sys_sigmask(SIG_BLOCK, &kicks, NULL);
	gmp_lock(&sched.sig_lock);
	for (struct sigwaiter *w = sigwaiters; w != NULL; w = w->next)
		if (!w->given)
			all |= w->want;
	sigleader_set = all;
	gmp_unlock(&sched.sig_lock);
	if (deadline != GMP_NO_DEADLINE) {
		int64_t ns = deadline - gmp_nanotime();

		left = (struct __kernel_timespec){ns > 0 ? ns / NSEC_PER_SEC : 0, ns > 0 ? ns % NSEC_PER_SEC : 0};
	}
	/* seq_cst: after the SIG_BLOCK; pairs with the sender's store, then its look at status and m */
	if (!(atomic_load(&gp->sigpending) & (~gp->sigmask | atomic_load(&gp->sigwaits))) &&
	    !atomic_load(&gp->cancel_wake) && !atomic_load_explicit(&gmp_tls.deferred, memory_order_relaxed))
		sig = (int)sys4(__NR_rt_sigtimedwait, &all, ret_info, deadline != GMP_NO_DEADLINE ? &left : NULL,
				sizeof(gmp_sigset));
	if (sig == SIG_NOTIFY) {
		atomic_store(&gp->m->notified, 0);
		gmp_cred_catch_up(gp->m);
	} else if (sig == SIG_KICK) {
		atomic_store(&gp->m->kicked, 0);
	}
	sys_sigmask(SIG_UNBLOCK, &kicks, NULL);
	gmp_exitsyscall();
	return sig > 0 && (SIG_BIT(sig) & kicks) ? 0 : sig;
}

/* The leader has a signal. It is that, or 0: another's. */
static int lead_took(struct g *gp, gmp_sigset want, const siginfo_t *info)
{
	bool nobody;
	struct g *target = thread_of(NULL, info, &nobody);

	if (target != NULL && target != gp)
		enqueue(target, info, false);
	else if (nobody)
		;
	else if (want & SIG_BIT(info->si_signo))
		return info->si_signo;
	else
		give_to_process(info);
	return 0;
}

/* One stay on the list, inside the shim. A signal, 0: leave the shim for a moment and come back, or -errno. */
static int wait_listed(struct g *gp, gmp_sigset want, int64_t deadline, siginfo_t *ret_info)
{
	struct sigwaiter w = {.gp = gp, .want = want};
	bool leads;
	int sig = 0;

	atomic_store(&gp->sigwaits, want | NEWS); /* seq_cst: then the look at sigpending */
	gmp_lock(&sched.sig_lock);
	list_add_locked(&w);
	if (sigleader != NULL && (want & ~sigleader_set))
		tell_locked(sigleader); /* it must wait for more */
	for (;;) {
		atomic_fetch_and(&gp->sigpending, ~NEWS);
		w.given = false;
		if (sig == 0)
			sig = dequeue_locked(gp, want, ret_info);
		if (sig != 0)
			break;
		if (sigleader == NULL) {
			sigleader = gp;
			sigleader_set = ~UINT64_C(0); /* all, as it has not begun */
		}
		leads = sigleader == gp;
		gmp_unlock(&sched.sig_lock);
		if (leads) {
			sig = lead(gp, deadline, ret_info);
			if (sig > 0)
				sig = lead_took(gp, want, ret_info);
		} else if (park(deadline, "sigwait") == PARK_TIMEOUT) {
			sig = -EAGAIN;
		}
		gmp_lock(&sched.sig_lock);
		/* Neither a signal nor news for us: a handler, a cancellation, whatever the exit of the shim does. */
		if (sig == 0 &&
		    ((atomic_load(&gp->sigpending) & ~gp->sigmask & ~NEWS) || atomic_load(&gp->cancel_wake) ||
		     atomic_load_explicit(&gmp_tls.deferred, memory_order_relaxed)))
			break;
		/* The time is over or a handler waits, but a signal may have come first. */
		if (sig < 0) {
			int last = dequeue_locked(gp, want, ret_info);

			sig = last != 0 ? last : sig;
		}
	}
	list_del_locked(&w);
	atomic_store(&gp->sigwaits, 0);
	atomic_fetch_and(&gp->sigpending, ~NEWS);
	if (sigleader == gp)
		sigleader = NULL;
	if (sigleader == NULL && sigwaiters != NULL) /* also when the one that was told leaves before it leads */
		tell_locked(sigwaiters->gp);
	offer_locked();
	gmp_unlock(&sched.sig_lock);
	return sig;
}

/* A signal or -errno. */
static int wait_signal(const sigset_t *set, siginfo_t *ret_info, int64_t deadline, bool now)
{
	struct g *gp = getg();
	gmp_sigset want = to_kernel(set) & ~(SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP));
	gmp_sigset old = gp->sigmask;
	struct intr_mark mark = intr_begin();
	struct __kernel_timespec zero = {0};
	int sig;

	if (want & ~old)
		gmp_set_sigmask(old | want); /* in the kernel, too, what is waited for is not delivered */
	do {
		gmp_enter();
		sig = dequeue(gp, want, ret_info);
		if (sig == 0) {
			sig = (int)sys4(__NR_rt_sigtimedwait, &want, ret_info, &zero, sizeof(gmp_sigset));
			sig = sig > 0 ? lead_took(gp, want, ret_info) : 0;
		}
		if (sig == 0)
			sig = now ? -EAGAIN : wait_listed(gp, want, deadline, ret_info);
		gmp_leave();
		if (sig == -EINTR)
			sig = 0; /* only if a handler has run here */
		if (sig <= 0)
			gmp_testcancel();
	} while (sig == 0 && !intr_fails(mark, false));
	if (want & ~old)
		gmp_set_sigmask(old);
	return sig == 0 ? -EINTR : sig;
}

/* On a G, as the system call. */
int gmp_sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
	int64_t deadline = GMP_NO_DEADLINE;
	bool now = false;
	siginfo_t mine;
	int sig;

	stress_point();
	gmp_testcancel();
	if (timeout != NULL) {
		if (!ts_valid(timeout) || timeout->tv_sec < 0)
			return fail(EINVAL);
		now = timeout->tv_sec == 0 && timeout->tv_nsec == 0;
		deadline = gmp_deadline_rel(timeout);
	}
	sig = wait_signal(set, &mine, deadline, now);
	if (sig < 0)
		return fail(-sig);
	if (info != NULL)
		*info = mine;
	return sig;
}

int hook_sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
	int sig;

	if (!on_g())
		return PASS(sigtimedwait)(set, info, timeout);
	sig = gmp_sigtimedwait(set, info, timeout);
	if (sig > 0 && info != NULL && info->si_code == SI_TKILL)
		info->si_code = SI_USER; /* as libc does: its own raise is tkill */
	return sig;
}

int hook_sigwaitinfo(const sigset_t *set, siginfo_t *info)
{
	if (!on_g())
		return PASS(sigwaitinfo)(set, info);
	return hook_sigtimedwait(set, info, NULL);
}

int hook_sigwait(const sigset_t *set, int *ret_sig)
{
	siginfo_t info;
	int sig;

	if (!on_g())
		return PASS(sigwait)(set, ret_sig);
	stress_point();
	gmp_testcancel();
	do
		sig = wait_signal(set, &info, GMP_NO_DEADLINE, false);
	while (sig == -EINTR);
	if (sig < 0)
		return -sig;
	*ret_sig = sig;
	return 0;
}

/* --- sending to a thread --- */

/*
 * A signalfd reads what is pending for the thread that reads, and for the process. Of what waits in our queues the
 * kernel knows nothing: a signal that everybody blocks, and that some signalfd was made for, goes to the process, where
 * all see it.
 */
static _Atomic(uint64_t) signalfd_sets; /* all that signalfds were ever made for */

void gmp_signalfd_made(const sigset_t *set)
{
	atomic_fetch_or(&signalfd_sets, to_kernel(set));
}

static bool signalfd_has(struct g *gp, int sig)
{
	gmp_sigset bit = SIG_BIT(sig);

	return (atomic_load_explicit(&signalfd_sets, memory_order_relaxed) & bit) && /* the program made it before */
	       (gp->sigmask & bit) && !(atomic_load(&gp->sigwaits) & bit) && choose(sig, NULL) == NULL;
}

/*
 * It concerns the whole process: any thread of it will do that admits the signal, and the caller does not outlive the
 * process, nor run on while it is stopped.
 */
static void default_action(int sig, const struct action *a)
{
	gmp_sigset one = SIG_BIT(sig), old;

	gmp_enter(); /* stay on this M */
	sys_sigmask(SIG_UNBLOCK, &one, &old);
	sys3(__NR_tgkill, sys_getpid(), sys_gettid(), sig);
	sys_sigmask(SIG_SETMASK, &old, NULL);
	gmp_leave();
	if (a->handler == (void *)SIG_DFL)
		gmp_see_sent(sig);
}

/* 0 or an errno. */
int gmp_signal_send(struct g *gp, int sig, siginfo_t *info)
{
	struct action a;
	int rc;

	if (sig < 0 || sig > NSIG_MAX || sig == SIG_NOTIFY || sig == SIG_KICK)
		return EINVAL;
	if (sig == 0 || gp->exited)
		return 0; /* glibc 2.34: a thread that has ended but is not joined takes and drops signals */
	a = action_of(sig);
	if (!(gp->sigmask & SIG_BIT(sig)) && (!has_handler(&a) || sig == SIGKILL || sig == SIGSTOP)) {
		default_action(sig, &a);
		return 0;
	}
	if (signalfd_has(gp, sig))
		return (int)-sys2(__NR_kill, sys_getpid(), sig);
	rc = enqueue(gp, info, !(gp->sigmask & SIG_BIT(sig)));
	if (gp == getg() && deliverable(gp, gp->sigmask) != 0)
		gmp_run_deferred(gp);
	return rc;
}

static void fill_info(siginfo_t *info, int sig, int code)
{
	memset(info, 0, sizeof(*info));
	info->si_signo = sig;
	info->si_code = code;
	info->si_pid = sys_getpid();
	info->si_uid = (uid_t)sys0(__NR_getuid);
}

static int send_tkill(struct g *gp, int sig)
{
	siginfo_t info;

	fill_info(&info, sig, SI_TKILL);
	return gmp_signal_send(gp, sig, &info);
}

int hook_pthread_kill(pthread_t th, int sig)
{
	struct g *gp;

	if (!live() || in_vfork_child() || (gp = gmp_thread(th)) == NULL)
		return PASS(pthread_kill)(th, sig);
	if (gp->exited) /* as libc, whatever the number, but for its own two */
		return sig == SIG_NOTIFY || sig == SIG_NOTIFY + 1 ? EINVAL : 0;
	return send_tkill(gp, sig);
}

int hook_pthread_sigqueue(pthread_t th, int sig, const union sigval value)
{
	struct g *gp;
	siginfo_t info;

	if (!live() || in_vfork_child() || (gp = gmp_thread(th)) == NULL)
		return PASS(pthread_sigqueue)(th, sig, value);
	fill_info(&info, sig, SI_QUEUE);
	info.si_value = value;
	return gmp_signal_send(gp, sig, &info);
}

int hook_raise(int sig)
{
	struct g *gp = getg();
	int rc;

	if (!live() || in_vfork_child() || gp == NULL)
		return PASS(raise)(sig);
	rc = send_tkill(gp, sig);
	return rc == 0 ? 0 : fail(rc);
}

int hook_gsignal(int sig)
{
	return hook_raise(sig);
}

int hook_tgkill(pid_t pid, pid_t tid, int sig)
{
	struct g *gp;
	int rc;

	if (live() && !in_vfork_child() && pid == sys_getpid() && tid > 0 && (gp = gmp_g_of_tid(tid)) != NULL) {
		rc = send_tkill(gp, sig);
		return rc == 0 ? 0 : fail(rc);
	}
	return PASS(tgkill)(pid, tid, sig);
}

/*
 * A signal for the own process that somebody admits needs no way through the kernel, which would interrupt whatever
 * runs on the thread that it chooses. If it is the caller who takes it, he has when the call returns. False: the
 * kernel's.
 */
static bool send_own_process(pid_t pid, int sig, int code, union sigval value, int *ret_err)
{
	struct g *gp = getg(), *target;
	struct action a;
	siginfo_t info;
	bool full;

	if (!live() || gp == NULL || in_vfork_child() || pid != sys_getpid() || sig < 1 || sig > NSIG_MAX ||
	    sig == SIGKILL || sig == SIGSTOP || (target = choose(sig, gp)) == NULL)
		return false;
	a = action_of(sig);
	fill_info(&info, sig, code);
	if (code == SI_QUEUE)
		info.si_value = value;
	*ret_err = 0;
	if (!has_handler(&a)) {
		default_action(sig, &a);
		return true;
	}
	gmp_enter();
	if (target == gp) {
		*ret_err = enqueue(gp, &info, true); /* his already: nobody shall take it from him */
	} else {
		gmp_lock(&sched.sig_lock);
		full = sig >= SIGRTMIN && code != SI_USER && queue_full_locked();
		gmp_unlock(&sched.sig_lock);
		if (full)
			*ret_err = EAGAIN;
		else
			send_process(&info, NULL, true);
	}
	gmp_leave();
	return true;
}

int hook_kill(pid_t pid, int sig)
{
	union sigval none = {0};
	int err;

	if (!send_own_process(pid, sig, SI_USER, none, &err))
		return PASS(kill)((pid_t)gmp_kernel_tid(pid), sig);
	return err == 0 ? 0 : fail(err);
}

int hook_sigqueue(pid_t pid, int sig, const union sigval value)
{
	int err;

	if (!send_own_process(pid, sig, SI_QUEUE, value, &err))
		return PASS(sigqueue)((pid_t)gmp_kernel_tid(pid), sig, value);
	return err == 0 ? 0 : fail(err);
}

/* --- jumps that restore a mask inside libc --- */

static void note_mask(const sigset_t *set)
{
	struct g *gp = getg();

	if (gp != NULL && live())
		gmp_set_sigmask(to_kernel(set));
	else if (gp != NULL)
		gp->sigmask = gp->m->kmask = to_kernel(set);
}

static void note_jump(struct __jmp_buf_tag *env)
{
	if (env[0].__mask_was_saved)
		note_mask((sigset_t *)&env[0].__saved_mask);
}

void hook_siglongjmp(sigjmp_buf env, int val)
{
	note_jump(env);
	PASS(siglongjmp)(env, val);
	__builtin_unreachable();
}

void hook_longjmp(struct __jmp_buf_tag env[1], int val)
{
	note_jump(env);
	PASS(longjmp)(env, val);
	__builtin_unreachable();
}

void hook__longjmp(struct __jmp_buf_tag env[1], int val)
{
	note_jump(env);
	PASS(_longjmp)(env, val);
	__builtin_unreachable();
}

/* libc looks whether the jump goes up the stack, or leaves the alternate one, of which the kernel knows nothing. */
void hook___longjmp_chk(struct __jmp_buf_tag env[1], int val)
{
	struct g *gp = getg();

	note_jump(env);
	if (gp != NULL && gmp_on_altstack(&gp->altstack, arch_sp()))
		PASS(longjmp)(env, val);
	PASS(__longjmp_chk)(env, val);
	__builtin_unreachable();
}

int hook_setcontext(const ucontext_t *uc)
{
	note_mask(&uc->uc_sigmask);
	return PASS(setcontext)(uc);
}

int hook_swapcontext(ucontext_t *old, const ucontext_t *uc)
{
	note_mask(&uc->uc_sigmask);
	return PASS(swapcontext)(old, uc);
}

/* --- life --- */

void gmp_signal_init(void)
{
	struct g *gp = sched.maing;

	gp->mask_slot = mask_get(gp->sigmask);
}

void gmp_signal_off(void)
{
	struct g *gp = getg();
	stack_t alt = alt_told(&gp->altstack);
	struct sigaction k;

	for (int sig = 1; sig <= NSIG_MAX; sig++) {
		struct action a = action_of(sig);

		if (sig == SIG_NOTIFY || sig == SIG_KICK || real.sigaction(sig, NULL, &k) != 0 ||
		    k.sa_sigaction != on_signal)
			continue;
		k.sa_sigaction = (void (*)(int, siginfo_t *, void *))(uintptr_t)a.handler;
		k.sa_flags = a.flags | (k.sa_flags & SA_RESTORER);
		from_kernel(&k.sa_mask, a.mask);
		real.sigaction(sig, &k, NULL);
	}
	real.sigaltstack(&alt, NULL);
}

void gmp_signal_live(void)
{
	struct g *gp = getg();
	int old = gp->mask_slot;

	gp->mask_slot = mask_get(gp->sigmask); /* changes before were not counted */
	mask_put(old);
	gmp_see_live();
}

void gmp_signal_fork_child(void)
{
	struct g *gp = getg();

	action_lock = (struct lock){0};
	sched.sig_lock = (struct lock){0};
	free_nodes = NULL; /* may be half changed; lost */
	nqueued = 0;
	gp->sigq = process_queue = NULL;
	gp->sigpending = process_pending = 0; /* a child starts without pending signals */
	sigwaiters = NULL;
	sigleader = NULL;
	gmp_timer_fork_child();
	for (int i = 0; i < GMP_MASKS; i++)
		sched.masks[i].refs = 0;
	gp->mask_slot = mask_get(gp->sigmask);
}
