// SPDX-License-Identifier: MIT
/*
 * G, M, P and the scheduler: types, states and who owns what. The names are those of Go's runtime2.go.
 *
 *   G  a pthread of the program: stack, glibc TCB and TLS block, struct g, all in one slot of a slab.
 *   M  a kernel thread. It runs scheduler code on its g0 (a stack and a TLS block of ours) and
 *      program code on the stack and the thread pointer of a G.
 *   P  the right to run program code; GOMAXPROCS of them. It owns a run queue, timers and dead Gs.
 *
 * Slots, Ms and Ps are never unmapped, so a stale pointer stays readable; tickets (struct parker)
 * and states tell that it is stale.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/arch.h"
#include "core/lock.h"
#include "core/sys.h"

#define NSEC_PER_SEC INT64_C(1000000000)
/*
 * A deadline: nanoseconds of the monotonic clock, > 0; or less than 0: minus those of the real-time clock, and it
 * follows when that is set.
 */
#define GMP_NO_DEADLINE INT64_MAX
#define GMP_BUSY_NS INT64_C(500000) /* sysmon: CPU time that only a G that computes uses in a slice */

/* A G's life. Only the party named may change the state. */
enum gstatus {
	G_IDLE,	    /* slot never used or being set up; owned by the creator */
	G_RUNNABLE, /* on exactly one run queue, or in the hands of the one that readies it */
	G_RUNNING,  /* owned by its M, which holds a P. g->m is set */
	G_SYSCALL,  /* owned by its M, which may have lost its P; the stack is in use. g->m is set */
	G_WAITING,  /* not on a run queue; owned by whoever wins its parker */
	G_DEAD,	    /* ended; the joiner, or the P's or global list of dead Gs, owns the slot */
};

/* A P's life: sched.lock protects IDLE; RUNNING <-> SYSCALL is the M's; SYSCALL -> IDLE is a CAS. */
enum pstatus {
	P_IDLE,	   /* on sched.pidle */
	P_RUNNING, /* p->m runs program or scheduler code with it */
	P_SYSCALL, /* its M is in a system call: that M's exitsyscall or sysmon's retake takes it by CAS */
	P_DEAD = 4, /* Go: _Pdead. GOMAXPROCS is smaller than its number; on no list, queues empty. sched.lock */
};

/* Why a park ended. PARK_READY comes from the object waited for and consumes its wake-up. */
enum park_result {
	PARK_READY = 0,
	PARK_TIMEOUT = 1,
	PARK_INTR = 2, /* a signal or a cancellation request for this G */
};

/*
 * A parker arbitrates between everything that may end one wait: the object, a deadline, a signal,
 * a cancellation. word = ticket << 3 | state. Whoever moves the state from PREPARED or PARKED to
 * WOKEN + result has won and, if it was PARKED, must make the G runnable (gmp_wake does both).
 * Tickets grow with every wait: a late waker with an old ticket fails its CAS and does nothing.
 * gp == NULL: a kernel thread that is no G; it sleeps on the low half of word with a kernel futex
 * and its parker lives on its stack, so wakers must hold the lock under which they found it.
 */
enum { PARKER_IDLE = 0, PARKER_PREPARED = 1, PARKER_PARKED = 2, PARKER_WOKEN = 3 /* + enum park_result */ };
#define PARKER_STATE_BITS 3

struct parker {
	_Atomic(uint64_t) word;
	struct g *gp;
};

struct m;
struct p;
struct stack_class;
struct trace_rec;
struct gmp_out;
struct gmp_sigq;

struct gmp_altstack { /* sigaltstack(2)'s stack_t; sp == NULL: disabled */
	void *sp;
	int flags;
	size_t size;
};

/* A deadline in the heap of one P. Embedded in its G: a G waits for one deadline at a time. */
struct timer {
	int64_t when;	 /* for people; the heap has its own copy to compare */
	uint64_t ticket; /* what gmp_wake() gets when it fires */
	struct p *_Atomic pp; /* whose heap, NULL when in none; written under that P's timers_lock */
	uint32_t index;	 /* in that heap */
	int64_t real;	 /* the deadline on the real-time clock, < 0; 0: it is monotonic. Under timers_lock */
};

struct timer_entry {
	int64_t when; /* monotonic nanoseconds */
	struct g *gp;
	uint32_t seq; /* order of creation among equal deadlines */
};

enum gkind {
	GK_THREAD, /* a pthread */
	GK_MAIN,   /* the process's main thread: stack and TCB are adopted, not ours */
	GK_G0,	   /* the scheduler's own context of an M */
};

#define WAIT_FD ((uintptr_t)1 << (8 * sizeof(uintptr_t) - 1)) /* no address is that high */

struct g {
	/* what a switch touches */
	struct arch_ctx ctx;
	struct m *m;		   /* while RUNNING or SYSCALL; owner M */
	_Atomic(uint32_t) status;  /* enum gstatus */
	_Atomic(uint32_t) lockcnt; /* > 0: locked to lockedm (LockOSThread); owner G */
	gmp_sigset sigmask;	   /* the G's signal mask; written by the G itself */
	struct g *schedlink;	   /* next in a run queue or list; owner of that list */
	struct parker parker;
	struct gmp_tls *tls; /* this G's copy of gmp_tls */
	struct m *lockedm;
	struct timer timer;
	uint8_t prio;	     /* SCHED_FIFO or SCHED_RR: its priority, for wait queues; else 0 */
	uint32_t user_locks; /* of lockcnt: those by gmpshim_lock_os_thread */

	/* identity; constant while the G lives */
	enum gkind kind;
	int tid;		   /* stable virtual thread id; main: getpid() */
	uint64_t goid;		   /* serial number, for people */
	void (*entry)(struct g *); /* set by the creator, run as the first code of the G */
	void *start_fn, *start_arg;

	/* stack; constant for the life of the slot except for caller-provided stacks */
	char *stack_lo, *stack_hi; /* usable range */
	size_t guardsize;
	struct stack_class *sc;
	char *tcb; /* thread pointer of this G; pthread_t of the program */
	uint64_t tls_generation;
	bool tls_fresh; /* the TLS block is as _dl_allocate_tls made it */
	bool user_stack; /* the caller's: [stack_lo, stack_hi) */
	bool c11;	 /* start_fn returns int */
	bool explicit_sched; /* made with PTHREAD_EXPLICIT_SCHED, says pthread_getattr_np */
	bool slot_dirty; /* dead: its stack may still hold memory (stack.c) */
	bool named;
	char name[16]; /* if named; else the process's holds */

	/* end of life; the G itself until exited, then the joiner */
	_Atomic(uint32_t) exited;   /* 1 = result is valid; waited for by join through sema */
	_Atomic(uint32_t) joinstate; /* preload: enum of thread.c */
	void *result;
	struct g *alllink; /* all slots ever made, newest first; written once */

	/* signals: preload/signal.c through core/park.c */
	_Atomic(uint64_t) sigpending; /* signals queued for this G alone, bit n-1 */
	struct gmp_sigq *sigq;	      /* their siginfo, oldest first; sched.sig_lock */
	struct gmp_sigq *sigq_tail;   /* valid if sigq is */
	_Atomic(bool) sigtold;	      /* it is to take from the process's queue what it admits */
	_Atomic(bool) sigclosed;      /* it ends: takes no further ones */
	struct gmp_altstack altstack; /* sigaltstack(2) of this thread, which the kernel is not told of; owner G */
	int mask_slot;		      /* index in sched.masks */
	_Atomic(uint32_t) cancel_wake; /* a cancellation request wants to end parks */
	_Atomic(uint64_t) sigwaits;   /* blocked signals that end its park all the same: sigwait */
	gmp_sigset fork_mask;	      /* preload/process.c: to come back to */
	gmp_sigset swap_mask;	      /* while `swapped`, in a wait with another mask: the one to come back to, */
	int swap_slot;		      /* and its index */
	bool swapped;
	bool shielded;		      /* preload/cancel.c: cancellation is disabled for a moment */
	void *host;		      /* preload: HOST_EXITED of thread.c */
	void *props;		      /* preload/props.c */
	_Atomic(int64_t) cpu_ns;      /* CPU time, while sched.cpu_acct; cputime.c */
	uint64_t born;		      /* arch_cycles() at creation */
	uintptr_t syscall_sp;	      /* stack pointer at entersyscall */
	int64_t waitsince;	      /* sched.coarse_now when it began to wait or entered the system call */
	const char *waitreason;
	int64_t unparked_since;	      /* see gmp_io_share; 0: not long ago; INT64_MAX: an event loop */
	uint32_t received;	      /* receives since it last parked, or since a look at the clock; owner G */
	uint64_t parent;	      /* goid of its creator, 0 = no G; set with the next, before it runs */
	uintptr_t createpc;	      /* where it was created */
	const void *waitobj;	      /* what a wait is for, for reports: address of the lock, or WAIT_FD + number */
};

/*
 * Per kernel-visible thread pointer: in the TLS block of every G, every g0 and every foreign thread.
 * inshim counts nested critical sections of the shim: while it is not 0, program signal handlers are
 * put off and the G may not be preempted. Owner thread only; a signal handler on the same M reads it.
 */
struct gmp_tls {
	struct g *g;		   /* NULL on a thread that is no G */
	uint32_t inshim;
	_Atomic(uint32_t) deferred; /* something must be done when inshim falls to 0; set by anybody, relaxed: the
				     request itself is elsewhere and ordered by its own atomics */
	int tid;		   /* gettid() of this thread; 0 = ask the kernel */
	uint32_t sig_norestart;    /* handlers without SA_RESTART that ran here; counts up */
	uint32_t sig_count;	   /* all handlers that ran here; counts up */
	uint32_t rnd;
	_Atomic(uint32_t) pstolen; /* enum pstolen: what sysmon does to this G's P; see preempt.c */
	gmp_sigset foreign_mask;   /* a thread that is no G: its mask while signals are put off */
};

extern __thread struct gmp_tls gmp_tls __attribute__((visibility("hidden"), tls_model("initial-exec")));

#define RUNQ_SIZE 256u /* Go: p.runq */
#define PARK_CAUSES 32u /* a power of two, more than there are causes */

/* What happened on one P; written by the M that holds it, read by reports without a lock. */
struct pstat {
	uint64_t created, switches, steals, preempts;
	struct {
		const char *why; /* as given to gmp_park_commit; NULL: free */
		uint64_t n;
	} parks[PARK_CAUSES]; /* hashed by address; equal texts are added up by the report */
};

struct p {
	_Atomic(uint32_t) status; /* enum pstatus */
	int32_t id;
	struct m *m;		  /* NULL when idle; in a system call the M that makes it */
	struct p *link;		  /* sched.pidle; sched.lock */
	_Atomic(bool) retiring;	  /* who next has it in hand without a G makes it P_DEAD; written under sched.lock */

	/* run queue: the owner puts at tail and takes at head; thieves take at head by CAS */
	_Atomic(uint32_t) runqhead __attribute__((aligned(64)));
	_Atomic(uint32_t) runqtail;
	struct g *_Atomic runnext; /* inherits the time slice of the G that readied it */
	struct g *_Atomic runq[RUNQ_SIZE];

	/* owner M only, read by sysmon */
	_Atomic(uint32_t) schedtick __attribute__((aligned(64)));
	_Atomic(uint32_t) syscalltick;
	_Atomic(uint32_t) preempt; /* sysmon: the current time slice is over */
	uint32_t fasttick;	   /* direct switches since the last look at the timers */
	struct trace_rec *_Atomic trace; /* evtrace.c: the next record; NULL: nothing is recorded */
	struct pstat stat;

	/* dead Gs of the default stack class; pushed and popped by the owner M only, taken whole by any (stack.c) */
	struct g *_Atomic gfree;
	uint32_t ngfree; /* owner M only; too large after the list was taken, until it is empty for the owner */

	/* deadlines: a 4-ary heap */
	struct lock timers_lock __attribute__((aligned(64)));
	struct timer_entry *timers;
	uint32_t ntimers, timers_cap;
	uint32_t timer_seq; /* of the last timer added */
	_Atomic(int64_t) timer0_when; /* 0 = none; read without the lock */

	/* sysmon only */
	int64_t mon_cpu;	     /* CPU time of its M when last looked at, 0 = not yet in this slice */
	int64_t mon_cpu0, mon_since; /* and when first looked at in this slice, and when that was */
	int64_t mon_probed;	     /* when /proc was last asked about its M */
	int64_t mon_still;	     /* since when the clock stands still */
	int64_t mon_asked;	     /* when its G was last asked to yield */
	uint32_t mon_refused, mon_probes; /* how often in this slice it was asked to yield, and /proc about it */
	bool mon_slept;			  /* its M slept at the last look, but not since the one before */
	uint32_t mon_schedtick, mon_syscalltick;
	int64_t mon_schedwhen, mon_syscallwhen;
};

enum { IDLE_PARKED = 1, IDLE_POLLING = 2 };

struct m {
	struct g g0;	    /* first member */
	struct g *curg;	    /* the G on this M, NULL on g0 without one */
	struct p *p;	    /* NULL when idle or in a system call that lost it */
	struct p *oldp;	    /* P held when the system call began */
	struct p *nextp;    /* P handed over by startm */
	bool spinning;	    /* counted in sched.nmspinning */
	bool idlemask_on;   /* kmask was set for idling */
	int id;
	int tid;	    /* kernel thread id */
	_Atomic(uint32_t) tidword; /* CLEARTID target */
	gmp_sigset kmask;   /* the mask the kernel has for this thread; owner M */
	char *sigstack;	    /* Go: gsignal. The alternate signal stack that the kernel has for this thread; constant */
	_Atomic(uint32_t) idlewait; /* in a kernel wait on g0 with no lock held; IDLE_* */
	struct note park;
	struct g *lockedg;  /* runs only this G */
	bool tainted;	    /* runs nothing after it; clones only Ms for threads of its G, which inherit it */
	bool listed;	    /* on sched.allm: it has had a kernel thread */
	bool props;	    /* affinity, policy or nice value are its G's, not the process's */
	bool reset_props;   /* cloned from such a one: to be made ordinary before it runs a G */
	bool reset_name;    /* cloned from sysmon, or a thread that is no G: has that one's name and timer slack */
	bool exiting;	    /* ends its kernel thread when it next comes to the scheduler; own M */
	_Atomic(bool) dead; /* its kernel thread has ended, or is about to, with all signals blocked */
	struct m *schedlink; /* sched.midle or sched.mdead; sched.lock */
	struct m *alllink;   /* sched.allm, written once */
	uint32_t fastrand;
	void *_Atomic sigslot; /* preload's record of a signal taken inside the shim; own M only */
	_Atomic(uint32_t) notified, kicked; /* a SIG_NOTIFY, a SIG_KICK is on its way */
	_Atomic(bool) cut; /* in gmp_syscall_cut: ask it to come back if it loses its P */
	int64_t lost_asked, lost_cpu; /* sysmon: last look at a G without a P, and the CPU time then */
	_Atomic(int64_t) cpu_mark; /* cputime.c */
	_Atomic(uint32_t) setxid_seq; /* last credential change applied */
	_Atomic(uint32_t) dump_state; /* dump.c: DUMP_* */
	struct g *dump_g;	      /* who ran there when it answered, and with what registers */
	struct arch_regs dump_regs;
	uint64_t stat_polls, stat_polled; /* looks into the network, Gs found ready there; own M */
};

#define GMP_MAXPROCS 256  /* as many as a sane machine has; larger values of GOMAXPROCS are refused */
#define GMP_MAXM 10000	  /* Go: sched.maxmcount */
#define GMP_MASKS 64	  /* distinct signal masks kept apart; further ones count as "admits all" */

struct sched {
	/* set once at boot */
	int ncpu;
	size_t page_size;
	int64_t slice_ns;     /* GMPSHIM_SLICE_US */
	bool preempt_off;     /* GODEBUG=asyncpreemptoff=1 */
	bool stress;	      /* GMPSHIM_SCHED=random:<seed> */
	uint64_t stress_seed;
	struct p *allp[GMP_MAXPROCS];
	struct m *m0;
	struct g *maing;

	/* atomics, read everywhere */
	_Atomic(bool) started __attribute__((aligned(64))); /* sysmon and further Ms exist */
	_Atomic(bool) cpu_acct; /* the CPU time of each G is counted (cputime.c) */
	_Atomic(bool) quick; /* started, and not in stress mode: one test for the hottest hooks */
	_Atomic(int32_t) gomaxprocs; /* Ps in service; changed under lock */
	_Atomic(int32_t) nallp;	     /* Ps ever made: allp is valid below it, dead ones included. Only grows */
	_Atomic(int32_t) npidle;
	_Atomic(int32_t) nmspinning;
	_Atomic(int32_t) runqsize;   /* changed under lock, read without */
	_Atomic(int64_t) lastpoll;   /* 0 while an M blocks in netpoll */
	_Atomic(int64_t) poll_until; /* when that M will wake by itself; 0 = never */
	_Atomic(uint32_t) sysmonwait;
	_Atomic(uint64_t) goidgen;
	_Atomic(int32_t) tidgen;
	_Atomic(int32_t) nlive; /* Gs that have not ended, main included */

	/* lock */
	struct lock lock __attribute__((aligned(64)));
	struct m *midle;
	struct m *mdead; /* to be started again */
	int nmidle;
	int mcount;
	struct p *pidle;
	int procs_wanted;	/* what GOMAXPROCS was last set to; gomaxprocs follows */
	bool resizing;		/* somebody is in gmp_procresize */
	struct note resized;	/* a P has retired */
	struct g *runqhead, *runqtail;

	struct note sysmonnote;
	struct m *_Atomic allm; /* list by alllink; push only */
	struct g *_Atomic allg; /* list by alllink; push only */

	/* distinct signal masks of living Gs: an idle M admits what any of them admits */
	struct lock sig_lock;
	struct {
		gmp_sigset mask;
		_Atomic(uint32_t) refs;
	} masks[GMP_MASKS];
	_Atomic(uint64_t) idlemask; /* what idle Ms block: what every living G blocks */

	/* reports: trace.c, dump.c */
	int64_t trace_ns;  /* GODEBUG=schedtrace; 0 = off */
	bool trace_detail; /* GODEBUG=scheddetail=1 */
	_Atomic(uint64_t) stat_handoffs; /* slow paths only: the fast ones count in struct pstat */
	uint64_t stat_unseen, stat_polls, stat_polled; /* sysmon */
	_Atomic(int32_t) peak_live;
	/* CLOCK_MONOTONIC as of the last round of sysmon or the last time an M woke: 10 ms late at most */
	_Atomic(int64_t) coarse_now __attribute__((aligned(64)));
};

extern struct sched sched;

/*
 * What core needs from the libc side. preload sets it before gmp_rt0(); unit tests set their own.
 * clock_gettime may be called on g0; everything else runs on a G or a foreign thread.
 */
struct gmp_host {
	int (*clock_gettime)(int clockid, int64_t ret_ts[2]); /* vdso; 0 or an error */
	int (*start_sysmon)(void *(*fn)(void *)); /* one real pthread, all signals blocked; 0 or errno */
	void *(*allocate_tls)(void *tcb);	  /* _dl_allocate_tls: TLS block below tcb; NULL = no memory */
	void (*init_tcb)(struct g *gp, bool first); /* fill or renew the TCB of gp before it runs */
	void (*link_tcb)(struct g *gp);		  /* put a new TCB on libc's list, once */
	/* Signals left for gp: deliver what it admits. Runs on gp with inshim == 0. */
	void (*run_deferred)(struct g *gp);
	/* Route the signal in mp->sigslot; on g0, no lock held. */
	void (*route_slot)(struct m *mp);
	/* sysmon: take signals that wait for a G while every M runs one that blocks them. */
	void (*take_signals)(void);
	/* g0 of a new M that was cloned from one with properties of its own: make it ordinary */
	void (*reset_props)(void), (*reset_name)(void); /* of the calling M: as the process's */
	/* stop for ever the whole process when the last G ends */
	void (*last_exit)(void);
	/* SIG_NOTIFY on a G outside the shim: cancellation. May not return. */
	void (*notify)(struct g *gp, void *uc);
	/* The last thing there: what was put off, as run_deferred, but signals are delivered at uc. */
	void (*signals)(struct g *gp, void *uc);
	/*
	 * Reports, on sysmon. open_unwinder: load it; false: no stack traces. unwind: the return addresses of the
	 * stack that regs begin, innermost first; how many. lock_owner: the tid of the holder of obj, which a G waits
	 * for with that reason; 0 = not known. *ret_role is "held by"; it may be set to something fitter.
	 */
	bool (*open_unwinder)(void);
	int (*unwind)(const struct arch_regs *regs, uintptr_t *pcs, int max);
	int (*lock_owner)(const char *why, const void *obj, const char **ret_role);
	/* Code in which a G may not be stopped: libc, ld.so, the vdso. */
	struct {
		uintptr_t lo, hi;
	} nopreempt[8];
	size_t tls_size;  /* static TLS with TCB, from _dl_get_tls_static_info */
	size_t tls_align;
	size_t tcb_size;  /* bytes of it above the thread pointer: sizeof(struct pthread) */
	ptrdiff_t shim_tls_offset; /* &gmp_tls - thread pointer */
};

extern struct gmp_host gmp_host;

static inline struct g *getg(void)
{
	return gmp_tls.g;
}

/* Round i of waiting for what another M is in the middle of: after a while it has lost its CPU. */
static inline void gmp_spin(int i)
{
	arch_pause();
	if (i > 200)
		sys_yield();
}

/* --- critical sections of the shim, see struct gmp_tls --- */
void gmp_enter_stolen(void);

static inline void gmp_enter(void)
{
	gmp_tls.inshim++;
	/* A compiler barrier is enough: sysmon's membarrier is the other half (preempt.c). */
	atomic_signal_fence(memory_order_seq_cst);
	if (unlikely(atomic_load_explicit(&gmp_tls.pstolen, memory_order_relaxed) != 0))
		gmp_enter_stolen();
}

void gmp_leave_slow(void);

static inline void gmp_leave(void)
{
	atomic_signal_fence(memory_order_seq_cst);
	if (--gmp_tls.inshim == 0 && unlikely(atomic_load_explicit(&gmp_tls.deferred, memory_order_relaxed)))
		gmp_leave_slow();
}

/*
 * As gmp_enter for a few instructions on data of the own M, without a look at pstolen: the G may have no P, but it is
 * certainly not switched. Pairs with gmp_leave_quiet.
 */
static inline void gmp_enter_quiet(void)
{
	gmp_tls.inshim++;
	atomic_signal_fence(memory_order_seq_cst);
}

/* Leave without running what was put off: the caller does it, or a caller above it. */
static inline void gmp_leave_quiet(void)
{
	atomic_signal_fence(memory_order_seq_cst);
	gmp_tls.inshim--;
}

/* --- time.c --- */
int64_t gmp_nanotime(void); /* CLOCK_MONOTONIC in nanoseconds; never 0 */
int64_t gmp_deadline_mono(int64_t deadline); /* as a monotonic one, by the present reading of the clocks */
bool gmp_deadline_passed(int64_t deadline);

/* --- sched.c: names as in Go's proc.go --- */
void gmp_schedinit(int gomaxprocs);
void gmp_mstart(void *mp) __attribute__((noreturn));
int gmp_main_started(void);	/* sysmon, and Ms on demand from here on; on a G, idempotent; 0 or errno */
void gmp_ready(struct g *gp);	 /* WAITING -> RUNNABLE; from any thread, inside gmp_enter() */
void gmp_ready_queue(struct g *gp); /* the first half of it; then any atomic read-modify-write, then ... */
void gmp_ready_wake(void);	    /* ... the second */
void gmp_newproc(struct g *gp);	 /* first ready of a new G */
bool gmp_gosched(void);		 /* let others run: to the tail of the local queue; false: there was nobody */
void gmp_io_share(void);		 /* after receives that had no need to wait */
void gmp_slice_end(struct g *gp); /* on gp, inside gmp_enter(): if its time slice is over, let others run */
void gmp_goexit(void) __attribute__((noreturn)); /* last act of a G, inside gmp_enter() */
void gmp_wait_off_stack_slow(struct g *gp);

/* gp was seen parked, runnable or dead: until its registers are saved and nobody is on its stack any more. */
static inline void gmp_wait_off_stack(struct g *gp)
{
	/* acquire: pairs with the release in arch_switch */
	if (unlikely(atomic_load_explicit(&gp->ctx.running, memory_order_acquire) != 0))
		gmp_wait_off_stack_slow(gp);
}

void gmp_block_switch(struct g *gp); /* the G is WAITING or queued: run something else until resumed */
void gmp_entersyscall(void);
void gmp_exitsyscall(void);
void gmp_wakep(void);
bool gmp_work_waits(void);
void gmp_handoffp(struct p *pp);
void gmp_startm(struct p *pp, bool spinning);
void gmp_injectglist(struct g *list); /* ready a list linked by schedlink; takes no P */
void gmp_lock_os_thread(void);	 /* nestable; Go's LockOSThread for the calling G */
void gmp_lock_own_thread(void);	 /* the same, but not to m0 if it is not the main G's; may change the M first */
void gmp_unlock_os_thread(void);
bool gmp_newm_tainted(struct g *gp); /* an M for gp, which the calling G creates, if that is on a tainted one */
void gmp_taint_os_thread(void); /* for life: the calling G's M will not be like the others again */
void gmp_shed_os_thread(void);	 /* unlock; the kernel thread ends, the G goes on on another when it has */
int gmp_gomaxprocs(void);
int gmp_procresize(int n); /* change it; on a G. The old number or -errno */
bool gmp_exitsyscall_stale(struct g *gp);
uint32_t gmp_fastrand(void);
void gmp_fork_child(void); /* rebuild everything around the calling G, the only thread */
void gmp_poke(struct m *mp); /* in a signal handler on mp: do not begin to wait */
void gmp_set_kmask(struct m *mp, gmp_sigset mask);

/* --- runq.c --- */
void gmp_runqput(struct p *pp, struct g *gp, bool next);
struct g *gmp_runqget(struct p *pp, bool *ret_inherit);
bool gmp_runqempty(struct p *pp);
struct g *gmp_runqsteal(struct p *pp, struct p *victim, bool steal_next);
void gmp_runqput_batch(struct p *pp, struct g *list, int n);
void gmp_globrunqput_locked(struct g *gp);
void gmp_globrunqput_batch_locked(struct g *head, struct g *tail, int n);
struct g *gmp_globrunqget_locked(struct p *pp, int max);

/* --- park.c --- */
uint64_t gmp_park_prepare(struct parker *pk);
enum park_result gmp_park_commit(struct parker *pk, uint64_t ticket, int64_t deadline, const char *why);
void gmp_park_abort(struct parker *pk, uint64_t ticket); /* after prepare: do not wait */
/*
 * prepare and commit in another cut, for a G's wait without a deadline: begin, publish the ticket, do any atomic
 * read-modify-write (an unlock), end. From begin on others may make the G runnable: it must go on to end at once.
 */
uint64_t gmp_park_begin(struct g *gp, const char *why);
enum park_result gmp_park_end(struct g *gp, uint64_t ticket, const char *why);
bool gmp_wake(struct parker *pk, uint64_t ticket, enum park_result why); /* false: somebody else won */
int gmp_wake_claim(struct parker *pk, uint64_t ticket, enum park_result why); /* 0 lost, 1 won, 2 ready gp */
struct parker *gmp_my_parker(struct parker *foreign); /* the G's own, or *foreign where there is none */
bool gmp_interrupt(struct g *gp); /* end whatever park gp is in with PARK_INTR */
int gmp_sleep_until(int64_t deadline); /* 0 or -EINTR */

/* --- timer.c --- */
void gmp_timer_add(struct g *gp, int64_t deadline, uint64_t ticket);
void gmp_timer_del(struct g *gp);
void gmp_timers_move(struct p *from, struct p *to); /* from: a P without an M; the callers agree on an order */
int64_t gmp_timers_fire(struct p *pp, int64_t now, struct g **list); /* next deadline or 0 */
void gmp_timers_clock_set(void); /* the real-time clock was set */
int64_t gmp_timers_next(int64_t poll_until);			     /* over all Ps; 0 = none */

/* --- stack.c, tcb.c --- */
struct g *gmp_galloc(size_t stacksize, size_t guardsize, int *ret_err);
void gmp_gfree(struct g *gp);
void gmp_gfree_flush(struct p *pp); /* the dead Gs of a P without an M, for all to use */
void gmp_stacks_executable(void); /* from here on, the present ones too; idempotent */
void gmp_scavenge(int64_t now); /* sysmon: give memory of dead stacks back */
void gmp_stack_fork_child(void);
struct g *gmp_g_of_tcb(const void *tcb);
size_t gmp_stack_size(const struct g *gp);

/* --- sigstack.c --- */
#define GMP_SIGSTACK ((size_t)64 << 10)

/* As the kernel sees it: a stack that grows down from its end. */
static inline bool gmp_on_altstack(const struct gmp_altstack *ss, uintptr_t sp)
{
	return sp - (uintptr_t)ss->sp - 1 < ss->size;
}

static inline bool gmp_on_sigstack(const struct m *mp, uintptr_t sp)
{
	return sp - (uintptr_t)mp->sigstack - 1 < GMP_SIGSTACK;
}

void gmp_sigstack_set(struct m *mp); /* own thread */
bool gmp_on_own_stack(const struct g *gp, uintptr_t sp);
void gmp_sigstack_keep(void *uc); /* sigreturn with uc, on whatever M, leaves that M its stack */
void *gmp_sigframe_home(struct g *gp, void *uc, size_t room);
void *gmp_sigframe_handler(struct g *gp, void *uc);

/* --- preempt.c --- */
void gmp_preempt_init(void);
void gmp_preempt_handlers(void); /* install those of SIG_NOTIFY and SIG_KICK; idempotent */
void gmp_preemptone(struct p *pp);  /* sysmon: ask the G that runs on pp to yield */
bool gmp_retake_unseen(struct p *pp); /* sysmon: pp's M sleeps past the hooks, or will not stop: take pp from it */
void gmp_notify(struct m *mp); /* run SIG_NOTIFY's handler there, soon */
void gmp_kick(struct m *mp);   /* the same with SIG_KICK */
/*
 * On a G: a system call that goes on by itself when it is interrupted (connect). If it lasts, and costs its M the P, it
 * ends with -EINTR, so that the G may park for the rest.
 */
long gmp_syscall_cut(long nr, long a, long b, long c);
void gmp_cut(struct m *mp); /* sysmon: mp lost its P */
void gmp_quiet_begin(void); /* around exec */
void gmp_quiet_end(void);
void gmp_block_everywhere(gmp_sigset bits); /* no M on its g0 admits them when it returns */
bool gmp_notify_lost(int64_t now); /* sysmon: remind running Gs without a P to queue; true when there was one */
void gmp_reacquire(struct g *gp); /* sched.c: a G without a P gets one, or waits for it */

/* --- cred.c --- */
int gmp_cred_broadcast(long nr, long a, long b, long c);
void gmp_cred_catch_up(struct m *mp);
void gmp_cred_new_m(struct m *mp, struct m *cloner);
void gmp_cred_sysmon(void);
void gmp_cred_fork_child(void);

/* --- cputime.c --- */
void gmp_cpu_switch(struct m *mp, struct g *gp);
void gmp_cpu_asked(void);
void gmp_cpu_live(void);
int64_t gmp_cpu_of(struct g *gp);
void gmp_cpu_fork_child(void);

/* --- sysmon.c --- */
void *gmp_sysmon(void *);
int64_t gmp_thread_cpu(int tid); /* ns; -1 when it cannot be read */
void gmp_sysmon_fork_child(void);
void gmp_keep_files(void); /* from here on sysmon closes no copy of a descriptor; for good */
char gmp_thread_state(int tid);	 /* sysmon: as in /proc/PID/stat: R, S, D ...; 0 when it cannot be told */

/* --- trace.c --- */
void gmp_schedtrace(int64_t now); /* sysmon: a line, or with scheddetail many, if one is due */
void gmp_stats(int fd, bool json, const char *program);
void gmp_stats_fork_child(void);
void gmp_report_pm(struct gmp_out *o); /* the lines of Ps and Ms */

/* --- dump.c --- */
enum { DUMP_KILL = 1, DUMP_CRASH = 2, DUMP_BRIEF = 4 };

/* In any signal handler: print all Gs, soon. DUMP_KILL: then end the process by the default action of sig. */
void gmp_dump_request(int sig, uint32_t flags);
/* In a handler of a deadly signal: print all Gs, and come back when that is done or does not get on. */
void gmp_dump_wait(int sig, uint32_t flags, void *uc);
bool gmp_dump_wanted(void);
void gmp_dump(void);	    /* sysmon: what was asked for */
void gmp_dump_answer(struct g *gp, void *uc); /* SIG_NOTIFY's handler: if a dump asks, show the registers and wait */
bool gmp_checkdead(void);   /* sysmon, all Ps idle: no G can go on by itself, and nobody has been told so */
void gmp_report_dead(void); /* if that still holds: a warning */
void gmp_dump_fork_child(void);
void gmp_wake_sysmon(void);

/* The slot of `why` in pp's table; PARK_CAUSES: the table is full. */
static inline uint32_t gmp_count_park(struct p *pp, const char *why)
{
	for (uint32_t i = (uint32_t)((uintptr_t)why >> 2), n = 0; n < PARK_CAUSES; i++, n++) {
		if (pp->stat.parks[i % PARK_CAUSES].why == NULL)
			pp->stat.parks[i % PARK_CAUSES].why = why;
		if (likely(pp->stat.parks[i % PARK_CAUSES].why == why)) {
			pp->stat.parks[i % PARK_CAUSES].n++;
			return i % PARK_CAUSES;
		}
	}
	return PARK_CAUSES;
}

/* --- mem.c --- */
void *gmp_persistentalloc(size_t size, size_t align); /* zeroed, never freed; NULL when mmap fails */
void *gmp_mmap(size_t size);			      /* NULL on failure */
void gmp_munmap(void *p, size_t size);
void gmp_mem_fork_child(void);
