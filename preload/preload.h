// SPDX-License-Identifier: MIT
/* What the files of preload share beside the hooks. */
#pragma once
#include "preload/hooks.h"

/* --- boot.c --- */
const char *gmp_getenv(const char *name); /* at boot only; NULL when unset */
int gmp_go_live(void);			  /* first pthread_create: 0 or errno */
/*
 * Before there are threads: those to come are libc's. refused: what the scheduler would need, said by the first
 * pthread_create; NULL: nothing may be said. False: too late.
 */
bool gmp_step_aside(const char *refused);

/* --- see.c: what the user asked to see --- */
void gmp_see_init(void); /* at boot */
void gmp_see_live(void); /* when threads begin */
/* The kernel's action for a signal whose default action the program wants: a dump first, where one is due. */
void gmp_see_default(int sig, struct sigaction *k);
void gmp_see_sent(int sig);
void gmp_see_handler(int sig, siginfo_t *info, void *uc);

/* --- syscall.c --- */
bool gmp_readable(const void *p, size_t size); /* the program's memory, which may be anything */

/* --- prctl.c --- */
void gmp_names_live(void); /* when threads begin */
void gmp_name_reset(void); /* host.reset_name */
void gmp_name_inherit(struct g *gp, const struct g *from); /* from: the creator, or NULL */
void gmp_name_fork_child(void);

/* --- seccomp.c --- */
struct sock_fprog;
void gmp_seccomp_look(const struct sock_fprog *prog); /* the program is about to install this filter */

/* --- unwinder.c --- */
bool gmp_unwinder_open(void);
int gmp_unwinder_trace(const struct arch_regs *regs, uintptr_t *pcs, int max);

/* --- layout.c: glibc's struct pthread, checked on the main thread --- */
/* NULL, or why M:N threads cannot work here (a constant string). */
const char *gmp_layout_init(void);
void gmp_layout_from_thread(void); /* on the sysmon thread: what only a real pthread can tell */
void gmp_layout_fork_child(void);

/* --- thread.c --- */
void gmp_main_exit(void *result) __attribute__((noreturn)); /* pthread_exit of the main thread landed */
struct g *gmp_thread(pthread_t th); /* NULL: not a G */
void gmp_tsd_run_destructors(struct g *gp);
void gmp_tsd_live(void); /* when threads begin */
int gmp_live_count(void);
void gmp_thread_exit_raw(int status) __attribute__((noreturn)); /* exit(2): no destructors, no handlers */

/* --- signal.c --- */
void gmp_signal_init(void);	       /* at boot */
void gmp_signal_live(void);	       /* when threads begin */
void gmp_signal_off(void);	       /* they will not: the kernel's actions are the program's again */
void gmp_signal_new_g(struct g *gp, gmp_sigset mask);
void gmp_signal_end_g(struct g *gp);
void gmp_run_deferred(struct g *gp);
void gmp_route_slot(struct m *mp);
void gmp_take_signals(void); /* on sysmon */
void gmp_signal_news(struct g *gp, void *uc); /* host.signals */
void gmp_signalfd_made(const sigset_t *set);
int gmp_signal_send(struct g *gp, int sig, siginfo_t *info); /* thread-directed */
void gmp_set_sigmask(gmp_sigset mask); /* the calling thread's; kernel, G and M */
void gmp_signal_fork_child(void);
int gmp_sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout); /* the kernel's; on a G */

/*
 * A wait with another signal mask. begin enters the shim and end leaves it, so that handlers run in swap_intr only;
 * the first of them brings the old mask back, as in the kernel. swap_intr and end: true if one has run.
 */
void gmp_swap_begin(const sigset_t *set);
bool gmp_swap_intr(void); /* a cancellation point */
bool gmp_swap_end(void);

/* --- cancel.c --- */
bool gmp_cancel_pending(struct g *gp);
void gmp_cancel_async(struct g *gp, void *uc);
void gmp_testcancel_async(void); /* in a wait that is no cancellation point */
bool gmp_cancel_shield(void);	 /* disable deferred cancellation; false: it was, or is asynchronous */
void gmp_cancel_unshield(void);

/* --- ident.c --- */
bool gmp_private_futex(const long a[6], long *ret); /* false: the kernel's; *ret: -errno */
extern _Atomic(bool) gmp_execstack_unknown; /* objects may have been loaded since the last check */
void gmp_check_execstack(void);		    /* some loaded object wants executable stacks: then all are */

/* --- timer.c: timers that signal a thread --- */
bool gmp_timer_thread(const siginfo_t *info, struct g **ret); /* SI_TIMER: is it for a thread; NULL: it has ended */
/* Before timer_create: what the kernel gets instead of ev; tid 0: ev itself. After: note whose it is. */
const struct sigevent *gmp_timer_event(const struct sigevent *ev, struct sigevent *buf, int *ret_tid);
void gmp_timer_made(int id, int tid);
void gmp_timer_gone(int id);
void gmp_timer_fork_child(void);

/* --- cputime.c --- */
/* Make of a G's clock and time the kernel's; 0 or errno. Other clocks are left alone. */
int gmp_cpu_nanosleep(clockid_t *clock, int flags, const struct timespec **req, struct timespec *moved);
void gmp_cpu_timers_fork_child(void);

/* --- stdio.c --- */
const char *gmp_stdio_init(void); /* NULL, or why threads cannot share streams here */
void gmp_stdio_live(void);	  /* when threads begin */

/* --- process.c --- */
void gmp_fork_init(void); /* at boot, before anybody else registers */
long gmp_raw_fork(long nr, const long a[6]); /* system call nr, which copies the process */

/* --- props.c --- */
void gmp_props_init(void);	       /* when threads begin */
void gmp_props_apply(struct g *gp);    /* on gp: what others set */
void gmp_props_end(struct g *gp);
bool gmp_props_fork_child(struct g *gp);
long gmp_sched_setattr(int tid, const void *attr, unsigned flags);
int gmp_props_bind(struct g *gp); /* lock gp to an M for life; its tid, 0: gp is gone */
void gmp_props_reset(void); /* host.reset_props */

struct create_props { /* what pthread_create has to give a new thread */
	bool sched, affinity;
	int policy;
	struct sched_param param;
	unsigned char cpus[128];
};

int gmp_props_check(struct create_props *cp, bool policy_set, bool param_set); /* on the creator: 0 or errno */
int gmp_props_create(struct g *gp, const struct create_props *cp); /* 0 or errno; what cp lacks is the creator's */
void gmp_props_attr(struct g *gp, int *ret_policy, struct sched_param *ret_param, unsigned char cpus[128]);
struct g *gmp_g_of_tid(int tid);
long gmp_kernel_tid(int tid); /* for the kernel: that of the M behind a virtual one, others as they are */
