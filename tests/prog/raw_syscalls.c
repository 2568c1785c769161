/* SPDX-License-Identifier: MIT */
/*
 * syscall(SYS_x): the kernel's convention, where libc's function of the same name has another, and waits that do not
 * keep other threads from running. SYS_exit ends a thread, fork and clone copy a process.
 */
#include "prog.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>

static int fds[2];
static volatile int handled;

static void on_signal(int sig)
{
	handled++;
}

static void *writes(void *arg)
{
	prog_nap_ms(20);
	CHECK_EQ(syscall(SYS_write, fds[1], "x", 1), 1);
	return arg;
}

static void waits(void)
{
	struct pollfd p = { fds[0], POLLIN, 0 };
	struct timespec ts = { 10, 0 }, zero = { 0, 0 };
	struct timespec tenth = { 0, 20000000 };
	struct epoll_event ev = { .events = EPOLLIN };
	fd_set rd;
	pthread_t t;
	char c;
	int ep = (int)syscall(SYS_epoll_create1, 0);

	CHECK_EQ(syscall(SYS_epoll_ctl, ep, EPOLL_CTL_ADD, fds[0], &ev), 0);
	t = prog_start(writes, NULL);
	CHECK_EQ(syscall(SYS_ppoll, &p, 1, &ts, NULL, 8), 1);
	CHECK(ts.tv_sec < 10); /* what is left */
	prog_join(t);
	CHECK_EQ(syscall(SYS_read, fds[0], &c, 1), 1);
	CHECK_EQ(syscall(SYS_ppoll, &p, 1, &tenth, NULL, 8), 0);
	CHECK(tenth.tv_sec == 0 && tenth.tv_nsec == 0);
	CHECK_EQ(syscall(SYS_ppoll, &p, 1, &zero, NULL, 8), 0);
	CHECK_FAILS(syscall(SYS_ppoll, &p, 1, NULL, (void *)&ts, 4), EINVAL);
	CHECK_FAILS(syscall(SYS_ppoll, &p, 1, (void *)8, NULL, 8), EFAULT);
	CHECK_FAILS(syscall(SYS_ppoll, &p, 1, NULL, (void *)8, 8), EFAULT);
	ts = (struct timespec){ 10, 0 };
	FD_ZERO(&rd);
	FD_SET(fds[0], &rd);
	t = prog_start(writes, NULL);
	CHECK_EQ(syscall(SYS_pselect6, fds[0] + 1, &rd, NULL, NULL, &ts, NULL), 1);
	CHECK(ts.tv_sec < 10);
	prog_join(t);
	CHECK_EQ(syscall(SYS_epoll_pwait, ep, &ev, 1, -1, NULL, 8), 1);
	CHECK_EQ(syscall(SYS_readv, fds[0], &(struct iovec){ &c, 1 }, 1), 1);
	t = prog_start(writes, NULL);
	CHECK_EQ(syscall(SYS_epoll_pwait2, ep, &ev, 1, NULL, NULL, 8), 1);
	prog_join(t);
	CHECK_EQ(syscall(SYS_read, fds[0], &c, 1), 1);
	t = prog_start(writes, NULL);
	CHECK_EQ(syscall(SYS_read, fds[0], &c, 1), 1); /* parked until then */
	prog_join(t);
	CHECK_FAILS(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &(struct timespec){ 0, -1 }, NULL), EINVAL);
	CHECK_FAILS(syscall(SYS_nanosleep, (void *)8, NULL), EFAULT);
	CHECK_EQ(syscall(SYS_nanosleep, &(struct timespec){ 0, 1000 }, NULL), 0);
	CHECK_EQ(syscall(SYS_close, ep), 0);
	CHECK_FAILS(syscall(SYS_close, ep), EBADF);
	puts("waits ok");
}

struct ksigaction {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	unsigned long mask;
};

static void *kicks(void *arg)
{
	while (!handled) {
		prog_nap_ms(10);
		CHECK_EQ(pthread_kill(*(pthread_t *)arg, SIGUSR1), 0);
	}
	return arg;
}

static void signals(void)
{
	unsigned long set = 1ul << (SIGUSR2 - 1), old = 0, pending = 0, none;
	struct sigaction sa = { .sa_handler = on_signal };
	struct { const void *set; size_t size; } six = { &none, 8 };
	struct ksigaction k = { 0 };
	struct timespec zero = { 0, 0 }, ts = { 10, 0 };
	pthread_t t, self = pthread_self();
	siginfo_t si;
	char c;

	CHECK_EQ(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, &old, 8), 0);
	CHECK_FAILS(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, NULL, 128), EINVAL);
	CHECK_FAILS(syscall(SYS_rt_sigprocmask, SIG_BLOCK, (void *)8, NULL, 8), EFAULT);
	CHECK_EQ(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR2), 0);
	CHECK_EQ(syscall(SYS_rt_sigpending, &pending, 8), 0);
	CHECK_EQ(pending & set, set);
	CHECK_EQ(syscall(SYS_rt_sigtimedwait, &set, &si, &zero, 8), SIGUSR2);
	CHECK_EQ(si.si_code, SI_TKILL);
	CHECK_FAILS(syscall(SYS_rt_sigtimedwait, &set, &si, &zero, 8), EAGAIN);
	CHECK_EQ(sigaction(SIGUSR2, &sa, NULL), 0);
	CHECK_EQ(syscall(SYS_rt_sigaction, SIGUSR2, NULL, &k, 8), 0);
	CHECK(k.handler == on_signal);
	CHECK_FAILS(syscall(SYS_rt_sigaction, SIGUSR2, NULL, &k, 128), EINVAL);
	CHECK_EQ(syscall(SYS_tkill, syscall(SYS_gettid), SIGUSR2), 0);
	CHECK_EQ(handled, 0);
	none = old;
	CHECK_FAILS(syscall(SYS_rt_sigsuspend, &none, 8), EINTR);
	CHECK_EQ(handled, 1);
	CHECK_EQ(syscall(SYS_tkill, syscall(SYS_gettid), SIGUSR2), 0);
	CHECK_FAILS(syscall(SYS_pselect6, 0, NULL, NULL, NULL, &ts, &six), EINTR);
	CHECK_EQ(handled, 2);
	CHECK_EQ(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, 8), 0);
	handled = 0;
	CHECK_EQ(sigaction(SIGUSR1, &sa, NULL), 0);
	t = prog_start(kicks, &self);
	CHECK_FAILS(syscall(SYS_read, fds[0], &c, 1), EINTR);
	prog_join(t);
	puts("signals ok");
}

static sem_t go;
static int flag;

/* A raw call is no cancellation point. */
static void *raw_reads(void *arg)
{
	char c;

	sem_post(&go);
	CHECK_EQ(syscall(SYS_read, fds[0], &c, 1), 1);
	__atomic_store_n(&flag, 1, __ATOMIC_RELEASE);
	pthread_testcancel();
	return NULL;
}

static void *async_reads(void *arg)
{
	char c;

	CHECK_EQ(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL), 0);
	sem_post(&go);
	syscall(SYS_read, fds[0], &c, 1);
	return NULL;
}

static void cancellation(void)
{
	pthread_t t = prog_start(raw_reads, NULL);

	sem_wait(&go);
	prog_nap_ms(10);
	CHECK_EQ(pthread_cancel(t), 0);
	prog_nap_ms(10);
	CHECK_EQ(__atomic_load_n(&flag, __ATOMIC_ACQUIRE), 0);
	CHECK_EQ(write(fds[1], "x", 1), 1);
	CHECK(prog_join(t) == PTHREAD_CANCELED);
	CHECK_EQ(flag, 1);
	t = prog_start(async_reads, NULL);
	sem_wait(&go);
	prog_nap_ms(10);
	CHECK_EQ(pthread_cancel(t), 0);
	CHECK(prog_join(t) == PTHREAD_CANCELED);
	puts("cancellation ok");
}

static void *exits(void *arg)
{
	sem_post(&go);
	syscall(SYS_exit, 3);
	_exit(1);
}

static void *thread_of_child(void *arg)
{
	return arg;
}

static void child(pid_t pid, const char *what)
{
	int status;

	CHECK(pid >= 0);
	if (pid == 0) {
		/* a process of its own, with threads */
		if (syscall(SYS_gettid) != getpid() || prog_join(prog_start(thread_of_child, &go)) != &go)
			_exit(1);
		syscall(SYS_exit_group, 7);
	}
	CHECK_EQ(syscall(SYS_wait4, pid, &status, 0, NULL), pid);
	CHECK_EQ(WEXITSTATUS(status), 7);
	printf("%s ok\n", what);
}

static void processes(void)
{
	struct clone_args ca = { .exit_signal = SIGCHLD };
	struct rusage ru;
	siginfo_t si;
	pid_t pid;

	prog_join(prog_start(exits, NULL)); /* and the process goes on */
	sem_wait(&go);
	puts("exit ok");
#ifdef SYS_fork
	child((pid_t)syscall(SYS_fork), "fork");
#endif
	child((pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0), "clone");
	child((pid_t)syscall(SYS_clone3, &ca, sizeof(ca)), "clone3");
	pid = fork();
	if (pid == 0)
		_exit(5);
	CHECK_EQ(syscall(SYS_waitid, P_PID, pid, &si, WEXITED, &ru), 0);
	CHECK_EQ(si.si_status, 5);
	CHECK_FAILS(syscall(SYS_wait4, pid, NULL, 0, NULL), ECHILD);
}

static void properties(void)
{
	cpu_set_t set;
	long n = syscall(SYS_sched_getaffinity, 0, sizeof(set), &set);

	CHECK(n > 0 && n <= (long)sizeof(set)); /* bytes; libc's returns 0 */
	CHECK_EQ(syscall(SYS_sched_setaffinity, syscall(SYS_gettid), n, &set), 0);
	CHECK_EQ(syscall(SYS_getpriority, PRIO_PROCESS, 0), 20 - getpriority(PRIO_PROCESS, 0));
	CHECK_EQ(syscall(SYS_sched_getscheduler, syscall(SYS_gettid)), SCHED_OTHER);
	CHECK_EQ(syscall(SYS_setuid, getuid()), 0); /* this thread's alone; nothing changes */
	CHECK_EQ(syscall(SYS_getuid), getuid());
	CHECK_EQ(syscall(SYS_kill, getpid(), 0), 0);
	CHECK_EQ(syscall(SYS_kill, syscall(SYS_gettid), 0), 0);
	puts("properties ok");
}

/* The thread's list of robust mutexes, which begins and ends with its head. */
static void *robust_list(void *arg)
{
	void **head = NULL, **own;
	size_t size = 0;

	CHECK_EQ(syscall(SYS_get_robust_list, 0, &head, &size), 0);
	CHECK(head != NULL);
	CHECK_EQ(size, 3 * sizeof(long));
	CHECK(*head == head);
	CHECK_EQ(syscall(SYS_set_robust_list, head, size), 0);
	CHECK_EQ(syscall(SYS_get_robust_list, syscall(SYS_gettid), &own, &size), 0);
	CHECK(own == head);
	CHECK_FAILS(syscall(SYS_get_robust_list, 0, NULL, &size), EFAULT);
	CHECK_FAILS(syscall(SYS_set_robust_list, head, 1), EINVAL);
	return head;
}

static void robust_lists(void)
{
	void *mine = robust_list(NULL);

	CHECK(prog_join(prog_start(robust_list, NULL)) != mine);
	puts("robust lists ok");
}

static void descriptors(void)
{
	int s[2], fd = (int)syscall(SYS_eventfd2, 1, 0), fd2;
	uint64_t v;
	char b[4];

	CHECK(fd >= 0);
	CHECK_EQ(syscall(SYS_read, fd, &v, 8), 8);
	fd2 = (int)syscall(SYS_dup3, fd, 77, 0);
	CHECK_EQ(fd2, 77);
	CHECK_EQ(syscall(SYS_fcntl, fd, F_SETFL, O_NONBLOCK), 0);
	CHECK_FAILS(syscall(SYS_read, fd2, &v, 8), EAGAIN); /* one file, one flag */
	CHECK_EQ(syscall(SYS_close_range, 77, 77, 0), 0);
	CHECK_FAILS(syscall(SYS_read, fd2, &v, 8), EBADF);
	CHECK_EQ(syscall(SYS_close, fd), 0);
	CHECK_EQ(syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, s), 0);
	CHECK_EQ(syscall(SYS_sendto, s[0], "abcd", 4, 0, NULL, 0), 4);
	CHECK_EQ(syscall(SYS_recvfrom, s[1], b, 4, 0, NULL, NULL), 4);
	CHECK_EQ(syscall(SYS_close, s[0]), 0);
	CHECK_EQ(syscall(SYS_read, s[1], b, 4), 0);
	CHECK_EQ(syscall(SYS_close, s[1]), 0);
	fd = (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY);
	CHECK_EQ(syscall(SYS_pread64, fd, b, 1, 0), 0);
	CHECK_EQ(syscall(SYS_close, fd), 0);
	CHECK_FAILS(syscall(9999), ENOSYS);
	CHECK_FAILS(syscall(-1), ENOSYS);
	puts("descriptors ok");
}

static void *body(void *arg)
{
	waits();
	signals();
	cancellation();
	processes();
	descriptors();
	properties();
	robust_lists();
	return arg;
}

int main(void)
{
	prog_init();
	sem_init(&go, 0, 0);
	CHECK_EQ(syscall(SYS_pipe2, fds, 0), 0);
	prog_join(prog_start(body, NULL));
	/* The main thread's status is that of the process, once the others have ended. */
	syscall(SYS_exit, 0);
	return 1;
}
