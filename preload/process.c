// SPDX-License-Identifier: MIT
/*
 * fork and its relatives. fork runs libc's own on the G, with its thread pointer, other Ms running on. The child
 * trusts nothing of the parent's scheduler: gmp_fork_child rebuilds it around the calling G, which is the main
 * thread there, and the hooks pass again until the child's first pthread_create.
 */
#include "core/tcb.h"
#include "preload/preload.h"

/* In the child, on the only thread, all signals blocked. */
static void child_begin(void)
{
	struct g *gp = getg();
	int pid = sys_getpid();

	if (gp == NULL)
		return; /* forked by a thread that is no G: its child never had threads of ours */
	gmp_tls.inshim = 1;
	gmp_tls.deferred = 0;
	gmp_tls.pstolen = 0; /* the parent's sysmon may have been at it */
	gmp_fork_child();
	gmp_tcb_set_tid(gp, pid);
	gp->lockcnt = 0;
	gp->lockedm = NULL;
	gp->m->lockedg = NULL;
	gp->cancel_wake = 0;
	/* Words that the kernel writes for this kernel thread must not lie in a G's TCB (HAZARDS: fork). */
	gp->m->tidword = (uint32_t)sys1(__NR_set_tid_address, &gp->m->tidword);
	gmp_signal_fork_child();
	gmp_tls.inshim = 0;
}

/*
 * libc runs the child's atfork handlers before fork returns; they may lock, unlock and signal. Ours is the first one
 * registered, so the first to run. daemon and forkpty, which fork inside libc, come by here as well.
 */
void gmp_fork_init(void)
{
	real.__register_atfork(NULL, NULL, child_begin, NULL);
}

/* No handler of a signal may run in the child before child_begin. */
static int fork_blocked(int (*fork_fn)(void), bool runs_handlers)
{
	gmp_sigset old = getg()->sigmask;
	int pid, err;

	gmp_set_sigmask(SIG_ALL_BUT_NOTIFY);
	pid = fork_fn();
	err = errno;
	if (pid == 0 && !runs_handlers)
		child_begin();
	gmp_set_sigmask(old);
	errno = err;
	return pid;
}

pid_t hook_fork(void)
{
	if (getg() == NULL)
		return PASS(fork)();
	return fork_blocked(real.fork, true);
}

pid_t hook__Fork(void)
{
	if (getg() == NULL)
		return PASS(_Fork)();
	return fork_blocked(real._Fork, false);
}

long gmp_raw_fork(long nr, const long a[6])
{
	struct g *gp = getg();
	gmp_sigset old;
	long rc;

	if (gp == NULL || gmp_tls.inshim != 0) /* no G, or the child of vfork, whose memory is not its own */
		return PASS(syscall)(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	old = gp->sigmask;
	gmp_set_sigmask(SIG_ALL_BUT_NOTIFY);
	rc = sys6(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (rc == 0)
		child_begin();
	gmp_set_sigmask(old);
	return rc < 0 ? fail((int)-rc) : rc;
}

/* Called from assembler. */
void gmp_vfork_before(void) __attribute__((used));
long gmp_vfork_after(long rc) __attribute__((used));

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
