// SPDX-License-Identifier: MIT
/*
 * syscall(2): the kernel's calls by number. One whose libc function is hooked does what the hook does, in the kernel's
 * own convention: sizes of signal sets, the structure behind pselect6, timeouts that are updated. What else may block
 * is handed off; what never blocks goes straight through. rows[] says which; a number that is not in it may block.
 *
 * None of these calls is a cancellation point, though the hooks are: rows with R_SHIELD run with cancellation disabled,
 * unless it is asynchronous, which acts anywhere (cancel.c).
 */
#include <asm/prctl.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <linux/openat2.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>

#include "core/tcb.h"
#include "preload/io.h"
#include "preload/preload.h"

#define INT(i) ((int)a[i])
#define UINT(i) ((unsigned)a[i])
#define SIZE(i) ((size_t)a[i])
#define PTR(i) ((void *)a[i])
#define ADDR(i) ((__SOCKADDR_ARG){.__sockaddr__ = PTR(i)})
#define CONST_ADDR(i) ((__CONST_SOCKADDR_ARG){.__sockaddr__ = PTR(i)})

/* A row whose hook has the kernel's arguments and result. */
#define SAME(name, call)                         \
	static long raw_##name(const long a[6])  \
	{                                        \
		(void)a;                         \
		return (call);                   \
	}

/* Functions that return an error number. */
static long from_errno(int err)
{
	return err == 0 ? 0 : fail(err);
}

/* The program's memory may be anything: a bad pointer is EFAULT. The kernel reads 8 bytes and rejects the call. */
bool gmp_readable(const void *p, size_t size)
{
	const char *c = p;

	for (size_t i = 0; i < size; i += 8) {
		size_t at = i + 8 <= size ? i : size - 8;

		/* NULL would mean that there is no set to read */
		if ((uintptr_t)c + at == 0 ||
		    sys4(__NR_rt_sigprocmask, -1, c + at, NULL, sizeof(gmp_sigset)) == -EFAULT)
			return false;
	}
	return true;
}

/* --- reading and writing --- */

SAME(read, hook_read(INT(0), PTR(1), SIZE(2)))
SAME(write, hook_write(INT(0), PTR(1), SIZE(2)))
SAME(readv, hook_readv(INT(0), PTR(1), INT(2)))
SAME(writev, hook_writev(INT(0), PTR(1), INT(2)))
SAME(recvfrom, hook_recvfrom(INT(0), PTR(1), SIZE(2), INT(3), ADDR(4), PTR(5)))
SAME(recvmsg, hook_recvmsg(INT(0), PTR(1), INT(2)))
SAME(recvmmsg, hook_recvmmsg(INT(0), PTR(1), UINT(2), INT(3), PTR(4)))
SAME(sendto, hook_sendto(INT(0), PTR(1), SIZE(2), INT(3), CONST_ADDR(4), (socklen_t)a[5]))
SAME(sendmsg, hook_sendmsg(INT(0), PTR(1), INT(2)))
SAME(sendmmsg, hook_sendmmsg(INT(0), PTR(1), UINT(2), INT(3)))
SAME(accept, hook_accept(INT(0), ADDR(1), PTR(2)))
SAME(accept4, hook_accept4(INT(0), ADDR(1), PTR(2), INT(3)))
SAME(connect, hook_connect(INT(0), CONST_ADDR(1), (socklen_t)a[2]))
SAME(sendfile, hook_sendfile64(INT(0), INT(1), PTR(2), SIZE(3)))
SAME(splice, hook_splice(INT(0), PTR(1), INT(2), PTR(3), SIZE(4), UINT(5)))
SAME(tee, hook_tee(INT(0), INT(1), SIZE(2), UINT(3)))
SAME(vmsplice, hook_vmsplice(INT(0), PTR(1), SIZE(2), UINT(3)))
SAME(setsockopt, hook_setsockopt(INT(0), INT(1), INT(2), PTR(3), (socklen_t)a[4]))

/* --- waiting on many descriptors; the kernel writes back what is left of a time --- */

/* A signal set with its size. False: the kernel's errno is set. */
static bool good_set(const void *set, size_t size)
{
	if (set == NULL)
		return true;
	if (size != sizeof(gmp_sigset)) {
		errno = EINVAL;
		return false;
	}
	if (!gmp_readable(set, sizeof(gmp_sigset))) {
		errno = EFAULT;
		return false;
	}
	return true;
}

/* What is left is written by the kernel after success and failure, but not after a call that was not to wait. */
static void write_left(struct timespec *ts, int64_t until)
{
	int err = errno;
	struct timespec left;

	if (ts == NULL || (ts->tv_sec == 0 && ts->tv_nsec == 0) || !ts_valid(ts) || ts->tv_sec < 0)
		return;
	gmp_time_left(until, &left);
	*ts = left;
	errno = err;
}

/* The pointer of a timespec, checked. */
static bool good_time(const struct timespec *ts)
{
	if (ts == NULL || gmp_readable(ts, sizeof(*ts)))
		return true;
	errno = EFAULT;
	return false;
}

static long raw_ppoll(const long a[6])
{
	struct timespec *ts = PTR(2);
	int64_t until;
	long ret;

	if (!good_time(ts) || !good_set(PTR(3), SIZE(4)))
		return -1;
	until = ts != NULL && ts_valid(ts) ? gmp_deadline_rel(ts) : 0;
	ret = hook_ppoll(PTR(0), (nfds_t)a[1], ts, PTR(3));
	write_left(ts, until);
	return ret;
}

static long raw_pselect6(const long a[6])
{
	struct {
		const sigset_t *set;
		size_t size;
	} *six = PTR(5), none = {0};
	struct timespec *ts = PTR(4);
	int64_t until;
	long ret;

	if (six == NULL)
		six = (void *)&none;
	else if (!gmp_readable(six, sizeof(*six)))
		return fail(EFAULT);
	if (!good_time(ts) || !good_set(six->set, six->size))
		return -1;
	until = ts != NULL && ts_valid(ts) ? gmp_deadline_rel(ts) : 0;
	ret = hook_pselect(INT(0), PTR(1), PTR(2), PTR(3), ts, six->set);
	write_left(ts, until);
	return ret;
}

static long raw_epoll_pwait(const long a[6])
{
	return good_set(PTR(4), SIZE(5)) ? hook_epoll_pwait(INT(0), PTR(1), INT(2), INT(3), PTR(4)) : -1;
}

static long raw_epoll_pwait2(const long a[6])
{
	return good_time(PTR(3)) && good_set(PTR(4), SIZE(5))
		       ? hook_epoll_pwait2(INT(0), PTR(1), INT(2), PTR(3), PTR(4))
		       : -1;
}

#ifdef SYS_poll
SAME(poll, hook_poll(PTR(0), (nfds_t)UINT(1), INT(2)))
SAME(select, hook_select(INT(0), PTR(1), PTR(2), PTR(3), PTR(4)))
SAME(epoll_wait, hook_epoll_wait(INT(0), PTR(1), INT(2), INT(3)))
#endif

/* --- time --- */

SAME(mq_timedsend, good_time(PTR(4)) ? hook_mq_timedsend(INT(0), PTR(1), SIZE(2), UINT(3), PTR(4)) : -1)
SAME(mq_timedreceive, good_time(PTR(4)) ? hook_mq_timedreceive(INT(0), PTR(1), SIZE(2), PTR(3), PTR(4)) : -1)
SAME(nanosleep, good_time(PTR(0)) ? hook_nanosleep(PTR(0), PTR(1)) : -1)

static long raw_clock_nanosleep(const long a[6])
{
	return good_time(PTR(2)) ? from_errno(hook_clock_nanosleep((clockid_t)a[0], INT(1), PTR(2), PTR(3))) : -1;
}

SAME(sched_yield, hook_sched_yield())
SAME(semtimedop, hook_semtimedop(INT(0), PTR(1), SIZE(2), PTR(3)))
SAME(gettid, hook_gettid())

static long raw_futex(const long a[6])
{
	struct intr_mark mark;
	struct timespec rest;
	long ret, limit = a[3];
	int64_t since;

	if (gmp_private_futex(a, &ret))
		return ret < 0 ? fail((int)-ret) : ret;
	if (!on_g())
		return real.syscall(SYS_futex, a[0], a[1], a[2], a[3], a[4], a[5]);
	mark = intr_begin();
	since = gmp_nanotime();
	HANDOFF_ONCE(ret, real.syscall(SYS_futex, a[0], a[1], a[2], limit, a[4], a[5]));
	while (ret == -1 && errno == EINTR && !intr_fails(mark, false)) {
		if ((INT(1) & FUTEX_CMD_MASK) == FUTEX_WAIT) /* the one whose time is relative */
			limit = (long)gmp_time_rest(PTR(3), since, &rest);
		HANDOFF_ONCE(ret, real.syscall(SYS_futex, a[0], a[1], a[2], limit, a[4], a[5]));
	}
	return ret;
}

/* --- descriptors --- */

/* What makes a descriptor: the number is new, whatever was known of it. */
#define MAKES(name)                                                                                         \
	static long raw_##name(const long a[6])                                                             \
	{                                                                                                   \
		long ret;                                                                                   \
                                                                                                            \
		if (on_g())                                                                                 \
			HANDOFF_CALL(ret, real.syscall(SYS_##name, a[0], a[1], a[2], a[3], a[4], a[5]));    \
		else                                                                                        \
			ret = PASS(syscall)(SYS_##name, a[0], a[1], a[2], a[3], a[4], a[5]);                \
		return gmp_fd_made((int)ret);                                                               \
	}

SAME(close, hook_close(INT(0)))
SAME(close_range, hook_close_range(UINT(0), UINT(1), INT(2)))
SAME(dup, hook_dup(INT(0)))
SAME(dup3, hook_dup3(INT(0), INT(1), INT(2)))
SAME(socket, hook_socket(INT(0), INT(1), INT(2)))
SAME(socketpair, hook_socketpair(INT(0), INT(1), INT(2), PTR(3)))
SAME(pipe2, hook_pipe2(PTR(0), INT(1)))
SAME(eventfd2, hook_eventfd(UINT(0), INT(1)))
SAME(timerfd_create, hook_timerfd_create((clockid_t)a[0], INT(1)))
SAME(inotify_init1, hook_inotify_init1(INT(0)))
SAME(epoll_create1, hook_epoll_create1(INT(0)))
SAME(fcntl, hook_fcntl(INT(0), INT(1), PTR(2)))
SAME(ioctl, hook_ioctl(INT(0), (unsigned long)a[1], PTR(2)))
MAKES(openat)
MAKES(openat2)
MAKES(open_by_handle_at)
MAKES(signalfd4)
MAKES(memfd_create)
MAKES(pidfd_open)
MAKES(pidfd_getfd)
MAKES(fanotify_init)
MAKES(userfaultfd)
MAKES(io_uring_setup)
MAKES(mq_open)
#ifdef SYS_open
MAKES(open)
MAKES(creat)
MAKES(signalfd)
SAME(dup2, hook_dup2(INT(0), INT(1)))
SAME(pipe, hook_pipe(PTR(0)))
SAME(eventfd, hook_eventfd(UINT(0), 0))
SAME(inotify_init, hook_inotify_init())
SAME(epoll_create, hook_epoll_create(INT(0)))
#endif

/* --- signals --- */

struct kernel_sigaction {
	void *handler;
	unsigned long flags;
	void (*restorer)(void);
	gmp_sigset mask;
};

static long raw_rt_sigaction(const long a[6])
{
	const struct kernel_sigaction *k = PTR(1);
	struct kernel_sigaction *kold = PTR(2);
	struct sigaction act, old;

	if (a[3] != sizeof(gmp_sigset))
		return fail(EINVAL);
	if (k != NULL) {
		if (!gmp_readable(k, sizeof(*k)))
			return fail(EFAULT);
		memset(&act, 0, sizeof(act));
		act.sa_handler = (__sighandler_t)(uintptr_t)k->handler;
		act.sa_flags = (int)k->flags;
		memcpy(&act.sa_mask, &k->mask, sizeof(k->mask));
	}
	if (hook_sigaction(INT(0), k != NULL ? &act : NULL, &old) < 0)
		return -1;
	if (kold != NULL) {
		if (!gmp_readable(kold, sizeof(*kold)))
			return fail(EFAULT);
		kold->handler = (void *)(uintptr_t)old.sa_handler;
		kold->flags = (unsigned long)(unsigned)old.sa_flags;
		kold->restorer = old.sa_restorer;
		memcpy(&kold->mask, &old.sa_mask, sizeof(kold->mask));
	}
	return 0;
}

static void set_of(sigset_t *set, const void *from)
{
	memset(set, 0, sizeof(*set));
	memcpy(set, from, sizeof(gmp_sigset));
}

static long raw_rt_sigprocmask(const long a[6])
{
	sigset_t set, old;

	if (a[3] != sizeof(gmp_sigset))
		return fail(EINVAL);
	if (!good_set(PTR(1), SIZE(3)))
		return -1;
	if (a[1] != 0)
		set_of(&set, PTR(1));
	if (hook_sigprocmask(INT(0), a[1] != 0 ? &set : NULL, &old) < 0)
		return -1;
	if (a[2] != 0 && !gmp_readable(PTR(2), sizeof(gmp_sigset)))
		return fail(EFAULT);
	if (a[2] != 0)
		memcpy(PTR(2), &old, sizeof(gmp_sigset));
	return 0;
}

static long raw_rt_sigpending(const long a[6])
{
	sigset_t set;

	if (SIZE(1) > sizeof(gmp_sigset))
		return fail(EINVAL);
	if (!gmp_readable(PTR(0), sizeof(gmp_sigset)))
		return fail(EFAULT);
	sigemptyset(&set);
	if (hook_sigpending(&set) < 0)
		return -1;
	memcpy(PTR(0), &set, SIZE(1));
	return 0;
}

static long raw_rt_sigsuspend(const long a[6])
{
	if (a[1] != sizeof(gmp_sigset))
		return fail(EINVAL);
	return good_set(PTR(0), SIZE(1)) ? hook_sigsuspend(PTR(0)) : -1;
}

static long raw_rt_sigtimedwait(const long a[6])
{
	if (a[3] != sizeof(gmp_sigset))
		return fail(EINVAL);
	if (a[0] == 0)
		return fail(EFAULT);
	return good_set(PTR(0), SIZE(3)) && good_time(PTR(2)) ? gmp_sigtimedwait(PTR(0), PTR(1), PTR(2)) : -1;
}

static long raw_rt_tgsigqueueinfo(const long a[6])
{
	struct g *gp = live() && INT(0) == sys_getpid() ? gmp_g_of_tid(INT(1)) : NULL;
	siginfo_t info;

	if (gp == NULL || INT(1) <= 0)
		return PASS(syscall)(SYS_rt_tgsigqueueinfo, a[0], a[1], a[2], a[3]);
	if (!gmp_readable(PTR(3), sizeof(info)))
		return fail(EFAULT);
	memcpy(&info, PTR(3), sizeof(info));
	info.si_signo = INT(2);
	if ((info.si_code >= 0 || info.si_code == SI_TKILL) && gp != getg())
		return fail(EPERM); /* the kernel's rule: nobody may pose as it */
	return from_errno(gmp_signal_send(gp, INT(2), &info));
}

SAME(kill, hook_kill(INT(0), INT(1)))
SAME(tgkill, hook_tgkill(INT(0), INT(1), INT(2)))
SAME(tkill, INT(0) <= 0 ? fail(EINVAL) : hook_tgkill(sys_getpid(), INT(0), INT(1)))
SAME(sigaltstack, hook_sigaltstack(PTR(0), PTR(1)))
#ifdef SYS_pause
SAME(pause, hook_pause())
#endif

/* --- processes --- */

SAME(execve, hook_execve(PTR(0), PTR(1), PTR(2)))
SAME(wait4, hook_wait4(INT(0), PTR(1), INT(2), PTR(3)))

static long raw_execveat(const long a[6])
{
	long ret;

	if (!on_g())
		return PASS(syscall)(SYS_execveat, a[0], a[1], a[2], a[3], a[4]);
	gmp_quiet_begin();
	ret = real.syscall(SYS_execveat, a[0], a[1], a[2], a[3], a[4]);
	gmp_quiet_end();
	return ret;
}

static long raw_waitid(const long a[6])
{
	long ret;

	if (a[4] == 0 && a[2] != 0) /* libc's has no resource usage, and wants somewhere to write */
		return hook_waitid((idtype_t)a[0], (id_t)a[1], PTR(2), INT(3));
	HANDOFF_CALL(ret, real.syscall(SYS_waitid, a[0], a[1], a[2], a[3], a[4]));
	return ret;
}

#ifdef SYS_fork
static long raw_fork(const long a[6])
{
	(void)a;
	return gmp_raw_fork(SYS_fork, a);
}

/* The child must not share this stack, whose frame it would leave; that the parent waits is kept. */
static long raw_vfork(const long a[6])
{
	const long args[6] = {CLONE_VFORK | SIGCHLD};

	(void)a;
	return gmp_raw_fork(SYS_clone, args);
}
#endif

static long raw_clone(const long a[6])
{
	long args[6] = {a[0], a[1], a[2], a[3], a[4], a[5]};

	if (a[1] != 0 || (a[0] & (CLONE_THREAD | CLONE_SETTLS)) || ((a[0] & CLONE_VM) && !(a[0] & CLONE_VFORK)))
		return real.syscall(SYS_clone, a[0], a[1], a[2], a[3], a[4], a[5]);
	args[0] &= ~(long)CLONE_VM; /* as vfork */
	return gmp_raw_fork(SYS_clone, args);
}

static long raw_clone3(const long a[6])
{
	const struct clone_args *ca = PTR(0);

	if (a[1] < CLONE_ARGS_SIZE_VER0 || !gmp_readable(ca, CLONE_ARGS_SIZE_VER0) || ca->stack != 0 ||
	    (ca->flags & (CLONE_THREAD | CLONE_SETTLS | CLONE_VM)))
		return real.syscall(SYS_clone3, a[0], a[1]);
	return gmp_raw_fork(SYS_clone3, a);
}

static long raw_exit(const long a[6])
{
	if (!on_g())
		return PASS(syscall)(SYS_exit, a[0]);
	gmp_thread_exit_raw(INT(0));
}

/* --- properties of a kernel thread --- */

SAME(sched_setaffinity, hook_sched_setaffinity(INT(0), SIZE(1), PTR(2)))
SAME(sched_setscheduler, hook_sched_setscheduler(INT(0), INT(1), PTR(2)))
SAME(sched_setparam, hook_sched_setparam(INT(0), PTR(1)))
SAME(sched_getscheduler, hook_sched_getscheduler(INT(0)))
SAME(sched_getparam, hook_sched_getparam(INT(0), PTR(1)))
SAME(sched_setattr, gmp_sched_setattr(INT(0), PTR(1), UINT(2)))
SAME(setpriority, hook_setpriority((__priority_which_t)a[0], (id_t)a[1], INT(2)))

/* The kernel returns how many bytes it wrote, libc fills the rest and returns 0. */
static long raw_sched_getaffinity(const long a[6])
{
	cpu_set_t set[8];
	long n = sys3(__NR_sched_getaffinity, 0, SIZE(1), PTR(2));
	struct g *gp = gmp_g_of_tid(INT(0));

	if (gp == NULL)
		return PASS(syscall)(SYS_sched_getaffinity, a[0], a[1], a[2]);
	if (n < 0)
		return fail((int)-n);
	if ((size_t)n <= sizeof(set) && hook_sched_getaffinity(INT(0), sizeof(set), set) == 0)
		memcpy(PTR(2), set, (size_t)n);
	return n;
}

/* The kernel's is 20 - nice, so that no result looks like an error. */
/* A thread's CPU clock is the hook's; all others, and bad pointers, are the kernel's. */
static long raw_clock(long nr, int (*hook)(clockid_t, struct timespec *), const long a[6])
{
	if ((INT(0) >= 0 && INT(0) != CLOCK_THREAD_CPUTIME_ID) || !gmp_readable(PTR(1), sizeof(struct timespec)))
		return PASS(syscall)(nr, a[0], a[1]);
	return hook(INT(0), PTR(1));
}

SAME(getrusage, hook_getrusage((__rusage_who_t)a[0], PTR(1)))

static long raw_clock_gettime(const long a[6])
{
	return raw_clock(SYS_clock_gettime, hook_clock_gettime, a);
}

static long raw_clock_getres(const long a[6])
{
	return raw_clock(SYS_clock_getres, hook_clock_getres, a);
}

static long raw_getpriority(const long a[6])
{
	int prio, err = errno;

	errno = 0;
	prio = hook_getpriority((__priority_which_t)a[0], (id_t)a[1]);
	if (prio == -1 && errno != 0)
		return -1;
	errno = err;
	return 20 - prio;
}

/* Calls whose argument is a tid: the kernel gets that of the M. The index of the argument is the macro's. */
#define TID_CALL(name, i)                                                                             \
	static long raw_##name(const long a[6])                                                       \
	{                                                                                             \
		long b[6];                                                                            \
                                                                                                      \
		memcpy(b, a, sizeof(b));                                                              \
		b[i] = gmp_kernel_tid(INT(i));                                                        \
		return PASS(syscall)(SYS_##name, b[0], b[1], b[2], b[3], b[4], b[5]);                 \
	}

TID_CALL(sched_getattr, 0)
TID_CALL(sched_rr_get_interval, 0)
TID_CALL(prlimit64, 0)
TID_CALL(process_vm_readv, 0)
TID_CALL(process_vm_writev, 0)
TID_CALL(move_pages, 0)
TID_CALL(migrate_pages, 0)
TID_CALL(kcmp, 0)
TID_CALL(ioprio_get, 1)
TID_CALL(getpgid, 0)
TID_CALL(getsid, 0)

/*
 * A thread has the list that libc registers for each: it is the kernel's only while the thread holds robust mutexes,
 * and that of its M may be an earlier thread's.
 */
static long raw_get_robust_list(const long a[6])
{
	struct g *gp = getg();
	long rc = PASS(syscall)(SYS_get_robust_list, gmp_kernel_tid(INT(0)), a[1], a[2]);

	if (rc == 0 && gp != NULL && (INT(0) == 0 || INT(0) == gp->tid))
		*(void **)PTR(1) = gp->tcb + gmp_tcb.robust_head;
	return rc;
}

/* Its own list back is no change. Another one is for the kernel thread, which knows no owner by the numbers of ours. */
static long raw_set_robust_list(const long a[6])
{
	if (PTR(0) == getg()->tcb + gmp_tcb.robust_head && SIZE(1) == 3 * sizeof(long))
		return 0;
	return PASS(syscall)(SYS_set_robust_list, a[0], a[1]);
}

/*
 * Changes of one kernel thread that nobody can take back for it: the G keeps its M for life, and the M runs nothing
 * else after it.
 */
#define TAINTS(name)                                                                            \
	static long raw_##name(const long a[6])                                                 \
	{                                                                                       \
		gmp_taint_os_thread();                                                          \
		return real.syscall(SYS_##name, a[0], a[1], a[2], a[3], a[4], a[5]);            \
	}

TAINTS(setuid)
TAINTS(setgid)
TAINTS(setreuid)
TAINTS(setregid)
TAINTS(setresuid)
TAINTS(setresgid)
TAINTS(setfsuid)
TAINTS(setfsgid)
TAINTS(setgroups)
TAINTS(unshare)
TAINTS(setns)
TAINTS(keyctl)
TAINTS(set_mempolicy)

/* The kernel's form of a notification by a thread is not libc's. */
static long raw_mq_notify(const long a[6])
{
	if (PTR(1) != NULL)
		gmp_keep_files();
	return PASS(syscall)(SYS_mq_notify, a[0], a[1]);
}

SAME(prctl, hook_prctl(INT(0), a[1], a[2], a[3], a[4]))

static long raw_seccomp(const long a[6])
{
	if (INT(0) == SECCOMP_SET_MODE_FILTER)
		gmp_seccomp_look(PTR(2));
	if (on_g() && (INT(0) == SECCOMP_SET_MODE_FILTER || INT(0) == SECCOMP_SET_MODE_STRICT))
		gmp_taint_os_thread();
	return PASS(syscall)(SYS_seccomp, a[0], a[1], a[2]);
}

/* libc's registration stands for every thread natively, and no second one is possible. An M's would outlive the G. */
static long raw_rseq(const long a[6])
{
	(void)a;
	return fail(EINVAL);
}

#ifdef ARCH_SET_GS
static long raw_arch_prctl(const long a[6])
{
	if (INT(0) == ARCH_SET_GS)
		gmp_taint_os_thread();
	return real.syscall(SYS_arch_prctl, a[0], a[1]);
}
#endif

int hook_personality(unsigned long persona)
{
	if (on_g() && persona != 0xffffffff) /* the question what it is */
		gmp_taint_os_thread();
	return PASS(personality)(persona);
}

SAME(personality, hook_personality((unsigned long)a[0]))

/* Of any thread, which has its kernel thread for itself from then on: never m0 unless it is main. */
static long raw_ioprio_set(const long a[6])
{
	struct g *gp = INT(0) == IOPRIO_WHO_PROCESS ? gmp_g_of_tid(INT(1)) : NULL;
	long rc;

	if (gp == NULL)
		return PASS(syscall)(SYS_ioprio_set, a[0], a[1], a[2]);
	if (gmp_props_bind(gp) == 0)
		return fail(ESRCH);
	rc = real.syscall(SYS_ioprio_set, a[0], (long)gp->lockedm->tid, a[2]);
	if (rc == 0)
		gp->lockedm->tainted = true;
	return rc;
}

/* What is counted is a kernel thread: the thread has one for itself from then on. */
static long raw_perf_event_open(const long a[6])
{
	struct g *gp = INT(1) >= 0 && !(a[4] & PERF_FLAG_PID_CGROUP) ? gmp_g_of_tid(INT(1)) : NULL;
	long pid = gp != NULL ? gmp_props_bind(gp) : a[1];

	if (gp != NULL && pid == 0)
		return fail(ESRCH);
	return gmp_fd_made((int)PASS(syscall)(SYS_perf_event_open, a[0], pid, a[2], a[3], a[4]));
}

/* A pointer into the program's memory, which the kernel would clear when the M ends: never. */
SAME(set_tid_address, hook_gettid())

/* --- libc functions that are nothing but such a call: not for ptrace, whose results differ --- */

int hook_sched_rr_get_interval(pid_t tid, struct timespec *ts)
{
	return PASS(sched_rr_get_interval)((pid_t)gmp_kernel_tid(tid), ts);
}

int hook_prlimit(pid_t pid, __rlimit_resource_t what, const struct rlimit *set, struct rlimit *old)
{
	return PASS(prlimit)((pid_t)gmp_kernel_tid(pid), what, set, old);
}

int hook_prlimit64(pid_t pid, __rlimit_resource_t what, const struct rlimit64 *set, struct rlimit64 *old)
{
	return PASS(prlimit64)((pid_t)gmp_kernel_tid(pid), what, set, old);
}

ssize_t hook_process_vm_readv(pid_t pid, const struct iovec *to, unsigned long n, const struct iovec *from,
			      unsigned long m, unsigned long flags)
{
	return PASS(process_vm_readv)((pid_t)gmp_kernel_tid(pid), to, n, from, m, flags);
}

ssize_t hook_process_vm_writev(pid_t pid, const struct iovec *from, unsigned long n, const struct iovec *to,
			       unsigned long m, unsigned long flags)
{
	return PASS(process_vm_writev)((pid_t)gmp_kernel_tid(pid), from, n, to, m, flags);
}

#define TAINTING(name, params, args)            \
	int hook_##name params                  \
	{                                       \
		if (on_g())                     \
			gmp_taint_os_thread();  \
		return PASS(name) args;         \
	}

TAINTING(setfsuid, (uid_t id), (id))
TAINTING(setfsgid, (gid_t id), (id))
TAINTING(unshare, (int flags), (flags))
TAINTING(setns, (int fd, int type), (fd, type))

/* The kernel knows a thread's capabilities by its own number. A version that it does not know it answers in head. */
static int cap_call(long nr, struct __user_cap_header_struct *head, const void *data)
{
	struct __user_cap_header_struct own;
	struct g *gp = getg();
	int rc;

	if (!on_g() || !gmp_readable(head, sizeof(*head)))
		return (int)PASS(syscall)(nr, head, data);
	own = *head;
	own.pid = own.pid == gp->tid ? 0 : (int)gmp_kernel_tid(own.pid);
	rc = (int)real.syscall(nr, &own, data);
	if (own.version != head->version)
		head->version = own.version;
	return rc;
}

int hook_capget(struct __user_cap_header_struct *head, struct __user_cap_data_struct *data)
{
	return cap_call(SYS_capget, head, data);
}

int hook_capset(struct __user_cap_header_struct *head, const struct __user_cap_data_struct *data)
{
	if (on_g())
		gmp_taint_os_thread();
	return cap_call(SYS_capset, head, data);
}

SAME(capget, hook_capget(PTR(0), PTR(1)))
SAME(capset, hook_capset(PTR(0), PTR(1)))

/* A tracer is one kernel thread. Its requests are for another one, by the kernel's number. */
long hook_ptrace(enum __ptrace_request request, ...)
{
	va_list ap;
	pid_t pid;
	void *addr, *data;

	va_start(ap, request);
	pid = va_arg(ap, pid_t);
	addr = va_arg(ap, void *);
	data = va_arg(ap, void *);
	va_end(ap);
	if (on_g() && request != PTRACE_TRACEME) {
		gmp_lock_os_thread(); /* to this one, even m0: it may have forked the child */
		gmp_taint_os_thread();
	}
	return PASS(ptrace)(request, pid, addr, data);
}

/* --- the table --- */

enum {
	R_SHIELD = 1, /* the hook is a cancellation point */
	R_ALWAYS = 2, /* also where there is no G, and before there are threads */
	R_DIRECT = 4, /* never blocks */
};

#define NROWS 512

static const struct row {
	long (*fn)(const long a[6]); /* NULL: the kernel's call */
	uint8_t flags;
} rows[NROWS + 1] = {
#define PARK(name)   [SYS_##name] = {raw_##name, R_SHIELD},
#define HOOKED(name) [SYS_##name] = {raw_##name, 0},
#define ALWAYS(name) [SYS_##name] = {raw_##name, R_ALWAYS},
#define DIRECT(name) [SYS_##name] = {NULL, R_DIRECT},
#include "preload/syscalls.def"
};

/* The number of arguments is not known: six are read, as the kernel's entry does. */
long hook_syscall(long nr, ...)
{
	const struct row *r = &rows[likely((unsigned long)nr < NROWS) ? nr : NROWS];
	bool shielded;
	long a[6], ret;
	va_list ap;

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (r->flags & R_ALWAYS)
		return r->fn(a);
	if ((r->flags & R_DIRECT) || !on_g())
		return PASS(syscall)(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (r->fn == NULL) {
		HANDOFF_CALL(ret, real.syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]));
		return ret;
	}
	shielded = (r->flags & R_SHIELD) && gmp_cancel_shield();
	ret = r->fn(a);
	if (shielded)
		gmp_cancel_unshield();
	return ret;
}
