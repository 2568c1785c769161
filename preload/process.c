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

	gmp_tls.inshim = 1;
	gmp_tls.deferred = 0;
	gmp_fork_child();
	gmp_tcb_set_tid(gp, pid);
	gp->lockcnt = 0;
	gp->lockedm = NULL;
	gp->m->lockedg = NULL;
	gp->cancel_wake = 0;
	/* Words that the kernel writes for this kernel thread must not lie in a G's TCB (HAZARDS: fork). */
	sys1(__NR_set_tid_address, &gp->m->tidword);
	gmp_signal_fork_child();
	gmp_tls.inshim = 0;
}

static int do_fork(int (*fork_fn)(void))
{
	gmp_sigset all = SIG_ALL_BUT_NOTIFY, old;
	int pid, err;

	/* No handler may run in the child before it is rebuilt. */
	sys_sigmask(SIG_SETMASK, &all, &old);
	pid = fork_fn();
	err = errno;
	if (pid == 0)
		child_begin();
	sys_sigmask(SIG_SETMASK, &old, NULL);
	errno = err;
	return pid;
}

pid_t hook_fork(void)
{
	if (getg() == NULL)
		return PASS(fork)();
	return do_fork(real.fork);
}

pid_t hook__Fork(void)
{
	if (getg() == NULL)
		return PASS(_Fork)();
	return do_fork(real._Fork);
}

static void vfork_before(void)
{
	if (!live() || getg() == NULL)
		return;
	gmp_entersyscall(); /* the parent sleeps until the child has gone */
	gmp_enter();	    /* the child shares this TLS: every hook it calls passes */
}

static long vfork_after(long rc)
{
	if (live() && getg() != NULL) {
		gmp_leave_quiet();
		gmp_exitsyscall();
	}
	return rc < 0 ? fail((int)-rc) : rc;
}

/* A tail call: the child returns to our caller and overwrites what is below (meson.build refuses to build without). */
pid_t hook_vfork(void)
{
	return (pid_t)arch_vfork(vfork_before, vfork_after);
}

/* daemon and forkpty call fork inside libc. */
int hook_daemon(int nochdir, int noclose)
{
	int rc = PASS(daemon)(nochdir, noclose);

	if (rc == 0 && getg() != NULL)
		child_begin();
	return rc;
}

int hook_forkpty(int *master, char *name, const struct termios *term, const struct winsize *size)
{
	int pid = PASS(forkpty)(master, name, term, size);

	if (pid == 0 && getg() != NULL)
		child_begin();
	return pid;
}

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
