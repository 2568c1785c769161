// SPDX-License-Identifier: MIT
/*
 * prctl(2): what a thread says of itself. Its name is the G's, by whichever of the interfaces it is given; that of the
 * main thread is the process's too (/proc/self/comm), and a new thread has its creator's. Other attributes are those
 * of a kernel thread, which the G keeps from then on (TAINTS in syscall.c); attributes of the process pass.
 */
#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/uio.h>

#include "preload/preload.h"

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif

/* The process's when threads began: those of all Ms. */
static char comm[16];
static unsigned long slack; /* of timers */

void gmp_names_live(void)
{
	real.prctl(PR_GET_NAME, comm);
	slack = (unsigned long)real.prctl(PR_GET_TIMERSLACK);
}

/* On a g0 that sysmon has cloned, which has its own, or a thread that is no G. */
void gmp_name_reset(void)
{
	sys2(__NR_prctl, PR_SET_NAME, comm);
	sys2(__NR_prctl, PR_SET_TIMERSLACK, slack);
}

void gmp_name_inherit(struct g *gp, const struct g *from)
{
	if (unlikely(from != NULL && from->named)) {
		memcpy(gp->name, from->name, sizeof(gp->name));
		gp->named = true;
	}
}

/* The child's only kernel thread is its main one. */
void gmp_name_fork_child(void)
{
	if (getg()->named)
		real.prctl(PR_SET_NAME, getg()->name);
}

static void name_get(const struct g *gp, char buf[16])
{
	memcpy(buf, gp->named ? gp->name : comm, 16);
}

/* name: at most 15 characters and the zeros behind them. */
static void name_set(struct g *gp, const char name[16])
{
	int fd;

	memcpy(gp->name, name, 16);
	gp->named = true;
	if (gp != sched.maing)
		return;
	fd = (int)sys4(__NR_openat, AT_FDCWD, "/proc/self/comm", O_WRONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return; /* no /proc: then nobody sees it */
	sys3(__NR_write, fd, name, strlen(name));
	sys1(__NR_close, fd);
}

int hook_pthread_setname_np(pthread_t th, const char *name)
{
	char copy[16] = "";
	struct g *gp;

	if (!live() || (gp = gmp_thread(th)) == NULL)
		return PASS(pthread_setname_np)(th, name);
	if (strlen(name) >= sizeof(copy))
		return ERANGE;
	if (gp->exited)
		return ENOENT; /* libc looks for it in /proc */
	memcpy(copy, name, strlen(name));
	name_set(gp, copy);
	return 0;
}

int hook_pthread_getname_np(pthread_t th, char *buf, size_t len)
{
	char name[16];
	struct g *gp;

	if (!live() || (gp = gmp_thread(th)) == NULL)
		return PASS(pthread_getname_np)(th, buf, len);
	if (len < sizeof(name)) /* as in libc, however short the name */
		return ERANGE;
	if (gp->exited)
		return ENOENT;
	name_get(gp, name);
	memcpy(buf, name, strlen(name) + 1);
	return 0;
}

/* As strncpy_from_user: the program's pointer may be bad, but only as far as the string goes. */
static int pr_set_name(const char *from)
{
	char name[16] = "";
	struct iovec to = {name, 15}, it = {(void *)(uintptr_t)from, 15};
	long got = sys6(__NR_process_vm_readv, sys_getpid(), &to, 1, &it, 1, 0);

	if (got == -EPERM || got == -ENOSYS) /* a sandbox refuses it */
		strncpy(name, from, 15);
	else if (got < 15 && memchr(name, '\0', got < 0 ? 0 : (size_t)got) == NULL)
		return fail(EFAULT);
	memset(name + strlen(name), 0, sizeof(name) - strlen(name));
	name_set(getg(), name);
	return 0;
}

static int pr_get_name(char *buf)
{
	int rc = real.prctl(PR_GET_NAME, buf); /* EFAULT */

	if (rc == 0)
		name_get(getg(), buf);
	return rc;
}

int hook_prctl(int option, ...)
{
	unsigned long a[4];
	va_list ap;

	va_start(ap, option);
	for (int i = 0; i < 4; i++)
		a[i] = va_arg(ap, unsigned long);
	va_end(ap);
	if (option == PR_SET_SECCOMP && a[0] == SECCOMP_MODE_FILTER)
		gmp_seccomp_look((const void *)a[1]);
	if (on_g()) {
		switch (option) {
		case PR_SET_NAME:
			return pr_set_name((const char *)a[0]);
		case PR_GET_NAME:
			return pr_get_name((char *)a[0]);
		case PR_CAP_AMBIENT:
			if (a[0] == PR_CAP_AMBIENT_IS_SET)
				break;
			gmp_taint_os_thread();
			break;
		case PR_SET_PDEATHSIG:
		case PR_SCHED_CORE:
		case PR_SET_KEEPCAPS:
		case PR_SET_SECUREBITS:
		case PR_CAPBSET_DROP:
		case PR_SET_NO_NEW_PRIVS:
		case PR_SET_SECCOMP:
		case PR_SET_TSC:
		case PR_SET_TIMERSLACK:
		case PR_MCE_KILL:
		case PR_SET_IO_FLUSHER:
		case PR_SET_SPECULATION_CTRL:
		case PR_SET_SYSCALL_USER_DISPATCH:
			gmp_taint_os_thread();
			break;
		}
	}
	return PASS(prctl)(option, a[0], a[1], a[2], a[3]);
}
