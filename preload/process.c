// SPDX-License-Identifier: MIT
/*
 * fork and its relatives. fork runs libc's own on the G, with its thread pointer, other Ms running on. The child
 * trusts nothing of the parent's scheduler: gmp_fork_child rebuilds it around the calling G, which is the main
 * thread there, and the hooks pass again until the child's first pthread_create.
 */
#include <sched.h>
#include <stdarg.h>

#include "core/tcb.h"
#include "preload/preload.h"

/* Called from assembler as well. */
void gmp_vfork_before(void) __attribute__((used));
long gmp_vfork_after(long rc) __attribute__((used));

/* The child of vfork, whose memory is its parent's. */
static bool borrowed(void)
{
	return gmp_tls.inshim != 0;
}

/* In the child, on the only thread, all signals blocked. */
static void child_begin(void)
{
	struct g *gp = getg();
	int pid = sys_getpid();

	gmp_tls.inshim = 1;
	gmp_tls.deferred = 0;
	gmp_tls.pstolen = 0; /* the parent's sysmon may have been at it */
	gmp_fork_child();
	gmp_tcb_set_tid(gp, pid);
	/* bound by its properties or by gmpshim.h it stays; an owner of the parent's PI mutexes it is no more */
	gp->lockcnt = gp->user_locks + gmp_props_fork_child(gp);
	gp->lockedm = gp->lockcnt > 0 ? gp->m : NULL;
	gp->m->lockedg = gp->lockcnt > 0 ? gp : NULL;
	gmp_cpu_timers_fork_child();
	gmp_layout_fork_child();
	gp->cancel_wake = 0;
	/* Words that the kernel writes for this kernel thread must not lie in a G's TCB (HAZARDS: fork). */
	gp->m->tidword = (uint32_t)sys1(__NR_set_tid_address, &gp->m->tidword);
	gmp_signal_fork_child();
	gmp_tls.inshim = 0;
	gmp_name_fork_child();
}

/*
 * No handler of a signal may run in the child before child_begin: all are blocked from the last handler of
 * pthread_atfork on, and come back before the first one in the child and in the parent. Ours is registered before all
 * others, so that is where it runs, also for daemon and forkpty, which fork inside libc.
 */
static void before_fork(void)
{
	struct g *gp = getg();

	if (gp == NULL || borrowed())
		return;
	gp->fork_mask = gp->sigmask;
	gmp_set_sigmask(SIG_ALL_BUT_NOTIFY);
}

static void after_fork_parent(void)
{
	struct g *gp = getg();

	if (gp != NULL && !borrowed())
		gmp_set_sigmask(gp->fork_mask);
}

/* The child of a thread that is no G never had threads of ours. */
static void after_fork_child(void)
{
	struct g *gp = getg();
	gmp_sigset mask;

	if (gp == NULL)
		return;
	mask = gp->fork_mask;
	if (borrowed())
		sys_sigmask(SIG_SETMASK, NULL, &mask);
	child_begin();
	gmp_set_sigmask(mask);
}

void gmp_fork_init(void)
{
	real.__register_atfork(before_fork, after_fork_parent, after_fork_child, NULL);
}

pid_t hook_fork(void)
{
	return PASS(fork)();
}

/* A copy of the process that no handler of pthread_atfork sees; fork_fn(arg) makes it. */
static long copy_process(long (*fork_fn)(void *), void *arg)
{
	long pid;
	int err;

	before_fork();
	pid = fork_fn(arg);
	err = errno;
	if (pid == 0)
		after_fork_child();
	else
		after_fork_parent();
	errno = err;
	return pid;
}

static long call_fork(void *arg)
{
	(void)arg;
	return real._Fork();
}

pid_t hook__Fork(void)
{
	if (getg() == NULL)
		return PASS(_Fork)();
	return (pid_t)copy_process(call_fork, NULL);
}

struct raw_fork {
	long nr;
	const long *a;
};

static long call_raw_fork(void *arg)
{
	const struct raw_fork *f = arg;

	return sys6(f->nr, f->a[0], f->a[1], f->a[2], f->a[3], f->a[4], f->a[5]);
}

long gmp_raw_fork(long nr, const long a[6])
{
	struct raw_fork f = {nr, a};
	long rc;

	if (getg() == NULL || borrowed())
		return PASS(syscall)(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	rc = copy_process(call_raw_fork, &f);
	return rc < 0 ? fail((int)-rc) : rc;
}

/*
 * clone(2) as sandboxes use it: a child with memory of its own, on a stack that the caller gives. It is as a child of
 * fork, though on another stack. One that shares the memory while the parent waits is as a child of vfork. Others are
 * threads that the program makes by itself.
 */
struct clone_call {
	int (*fn)(void *);
	void *stack, *arg, *tls;
	pid_t *ptid, *ctid;
	int flags;
};

static int clone_main(void *arg)
{
	struct clone_call c = *(struct clone_call *)arg;
	struct g *gp = getg();
	int status;

	if (c.flags & CLONE_VM)
		return c.fn(c.arg);
	gp->stack_lo = (char *)sched.page_size;
	gp->stack_hi = (char *)UINTPTR_MAX;
	after_fork_child();
	status = c.fn(c.arg);
	if (on_g()) /* what follows in libc ends one kernel thread */
		gmp_thread_exit_raw(status);
	return status;
}

static long call_clone(void *arg)
{
	struct clone_call *c = arg;

	return real.clone(clone_main, c->stack, c->flags, c, c->ptid, c->tls, c->ctid);
}

int hook_clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	struct clone_call c = {.fn = fn, .stack = stack, .arg = arg, .flags = flags};
	va_list ap;
	int rc;

	va_start(ap, arg);
	c.ptid = va_arg(ap, pid_t *);
	c.tls = va_arg(ap, void *);
	c.ctid = va_arg(ap, pid_t *);
	va_end(ap);
	if (getg() == NULL || borrowed() || fn == NULL || stack == NULL || (flags & (CLONE_THREAD | CLONE_SETTLS)) ||
	    ((flags & CLONE_VM) && !(flags & CLONE_VFORK)))
		return PASS(clone)(fn, stack, flags, arg, c.ptid, c.tls, c.ctid);
	if (!(flags & CLONE_VM))
		return (int)copy_process(call_clone, &c);
	gmp_vfork_before();
	rc = (int)call_clone(&c);
	return (int)gmp_vfork_after(rc < 0 ? -errno : rc);
}

void gmp_vfork_before(void)
{
	if (live() && getg() != NULL)
		gmp_entersyscall(); /* the parent sleeps until the child has gone */
	gmp_enter(); /* the child shares this TLS: every hook it calls passes */
}

long gmp_vfork_after(long rc)
{
	gmp_leave_quiet();
	if (live() && getg() != NULL)
		gmp_exitsyscall();
	return rc < 0 ? fail((int)-rc) : rc;
}

ARCH_VFORK(vfork, gmp_vfork_before, gmp_vfork_after);

#define HANDOFF_RC(name, params, args)          \
	int hook_##name params                  \
	{                                       \
		int rc;                         \
                                                \
		if (!on_g())                    \
			return PASS(name) args; \
		gmp_entersyscall();             \
		rc = real.name args;            \
		gmp_exitsyscall();              \
		return rc;                      \
	}

HANDOFF_RC(posix_spawn,
	   (pid_t * pid, const char *path, const posix_spawn_file_actions_t *fa, const posix_spawnattr_t *attr,
	    char *const argv[], char *const envp[]),
	   (pid, path, fa, attr, argv, envp))
HANDOFF_RC(posix_spawnp,
	   (pid_t * pid, const char *path, const posix_spawn_file_actions_t *fa, const posix_spawnattr_t *attr,
	    char *const argv[], char *const envp[]),
	   (pid, path, fa, attr, argv, envp))
