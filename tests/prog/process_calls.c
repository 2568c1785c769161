/* SPDX-License-Identifier: MIT */
/* Processes, credentials and properties of threads: results and errors, beside a native run. */
#undef _FILE_OFFSET_BITS /* prlimit under its own name */
#include "prog.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/fsuid.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>


int capset(cap_user_header_t head, const cap_user_data_t data);
int capget(cap_user_header_t head, cap_user_data_t data);
extern char **environ;

/* The result of a call, with errno if it failed. */
#define SHOW(call)                                                            \
	do {                                                                  \
		errno = 0;                                                    \
		long show_ret = (long)(call);                                 \
		printf("%s: %ld %d\n", #call, show_ret, show_ret == -1 ? errno : 0); \
	} while (0)

/* A child runs this expression, which is an exec. */
#define EXECS(call)                                      \
	do {                                             \
		int status;                              \
		pid_t pid = _Fork();                     \
		if (pid == 0) {                          \
			call;                            \
			_exit(99);                       \
		}                                        \
		CHECK_EQ(waitpid(pid, &status, 0), pid); \
		printf("%s: %d\n", #call, WEXITSTATUS(status)); \
	} while (0)

static void execs(void)
{
	char *argv[] = { "sh", "-c", "exit $CODE", NULL }, *env[] = { "CODE=5", "PATH=/bin:/usr/bin", NULL };
	int status, fd = open("/bin/sh", O_RDONLY | O_CLOEXEC);
	pid_t pid;

	setenv("CODE", "6", 1);
	EXECS(execve("/bin/sh", argv, env));
	EXECS(execvpe("sh", argv, env));
	EXECS(execvp("sh", argv));
	EXECS(execlp("sh", "sh", "-c", "exit 7", NULL));
	EXECS(execle("/bin/sh", "sh", "-c", "exit $CODE", NULL, env));
	EXECS(fexecve(fd, argv, env));
	SHOW(execve("/nonexistent", argv, env));
	SHOW(execvp("no such program", argv));
	CHECK_EQ(posix_spawnp(&pid, "sh", NULL, NULL, argv, environ), 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	printf("%d\n", WEXITSTATUS(status));
	SHOW(posix_spawnp(&pid, "no such program", NULL, NULL, argv, environ));
}

static pid_t exits(int code)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0)
		_exit(code);
	return pid;
}

static void waits(void)
{
	struct rusage ru = { 0 };
	int status;
	pid_t pid = exits(1);

	CHECK_EQ(wait(&status), pid);
	printf("%d\n", WEXITSTATUS(status));
	pid = exits(2);
	CHECK_EQ(wait3(&status, 0, &ru), pid);
	printf("%d %d\n", WEXITSTATUS(status), ru.ru_maxrss > 0);
	pid = exits(3);
	CHECK_EQ(wait4(pid, &status, 0, &ru), pid);
	printf("%d\n", WEXITSTATUS(status));
	SHOW(wait(NULL));
	SHOW(wait3(NULL, WNOHANG, NULL));
	SHOW(wait4(1, NULL, 0, NULL));
	/*
	 * A child that is traced stops, and waitpid says so without being asked. Its tracer is the kernel thread that
	 * forked: one that has called ptrace before keeps its own (README, limits).
	 */
	CHECK_FAILS(ptrace(PTRACE_CONT, getpid(), NULL, NULL), ESRCH);
	pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(4);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	printf("%d\n", WIFSTOPPED(status) || WEXITSTATUS(status) == 4);
	if (WIFSTOPPED(status)) {
		CHECK_EQ(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
		CHECK_EQ(waitpid(pid, &status, 0), pid);
	}
	printf("%d\n", WEXITSTATUS(status));
}

static void *scheduling(void *arg)
{
	struct sched_param p = { 0 }, high = { 1000 };
	struct timespec ts;
	cpu_set_t set;
	pid_t tid = gettid();

	SHOW(sched_getscheduler(tid) == sched_getscheduler(0));
	SHOW(sched_setscheduler(tid, SCHED_OTHER, &p));
	SHOW(sched_setscheduler(tid, SCHED_OTHER, &high));
	SHOW(sched_setscheduler(tid, 77, &p));
	SHOW(sched_setscheduler(tid, SCHED_BATCH, &p));
	SHOW(sched_getscheduler(0));
	SHOW(sched_setparam(0, &p));
	SHOW(sched_getparam(tid, &p));
	SHOW(p.sched_priority);
	SHOW(sched_rr_get_interval(tid, &ts));
	SHOW(sched_getaffinity(tid, sizeof(set), &set));
	SHOW(sched_setaffinity(tid, sizeof(set), &set));
	CPU_ZERO(&set);
	SHOW(sched_setaffinity(tid, sizeof(set), &set));
	SHOW(pthread_setschedprio(pthread_self(), 0));
	SHOW(pthread_setschedprio(pthread_self(), 50));
	SHOW(getpriority(PRIO_PROCESS, 0));
	SHOW(setpriority(PRIO_PROCESS, tid, 5));
	SHOW(getpriority(PRIO_PROCESS, tid));
	SHOW(getpriority(PRIO_PROCESS, 1 << 29));
	return arg;
}

static void memory(void)
{
	char from[8] = "source", to[8] = "";
	struct iovec a = { to, 8 }, b = { from, 8 };
	struct rlimit r;
	struct rlimit64 r64;

	SHOW(process_vm_readv(getpid(), &a, 1, &b, 1, 0));
	puts(to);
	from[0] = 'S';
	SHOW(process_vm_writev(gettid(), &b, 1, &a, 1, 0));
	puts(to);
	SHOW(prlimit(gettid(), RLIMIT_NOFILE, NULL, &r));
	SHOW(prlimit64(getpid(), RLIMIT_NOFILE, NULL, &r64));
	SHOW(r.rlim_cur == r64.rlim_cur);
	SHOW(prlimit(0, 9999, NULL, &r));
}

/* What the caller is already, and what it may not be. */
static void credentials(void)
{
	uid_t u = getuid();
	gid_t g = getgid(), gids[64];
	int n = getgroups(64, gids);

	SHOW(setuid(u));
	SHOW(setgid(g));
	SHOW(setreuid(-1, u));
	SHOW(setregid(-1, g));
	SHOW(setresuid(-1, u, -1));
	SHOW(setresgid(-1, g, -1));
	SHOW(seteuid(u));
	SHOW(setegid(g));
	SHOW(seteuid(-1));
	SHOW(setegid(-1));
	SHOW(setuid(-1));
	SHOW(setgroups((size_t)n, gids));
	SHOW(setgroups((size_t)1 << 20, gids));
	if (fork() == 0) { /* of its own */
		SHOW(initgroups("root", 0));
		_exit(0);
	}
	wait(NULL);
}

/* These change one thread; it is not used for anything else. */
static void *own_thread(void *arg)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	SHOW(setfsuid(geteuid()) == (int)geteuid());
	SHOW(setfsgid(getegid()) == (int)getegid());
	SHOW(unshare(CLONE_FILES));
	SHOW(unshare(-1));
	SHOW(setns(-1, 0));
	CHECK_EQ(capget(&head, data), 0);
	SHOW(capset(&head, data));
	head.version = 1;
	SHOW(capset(&head, data));
	SHOW(ptrace(PTRACE_CONT, 1 << 29, NULL, NULL));
	return arg;
}

static void *body(void *arg)
{
	execs();
	waits();
	memory();
	credentials();
	prog_join(prog_start(scheduling, NULL));
	prog_join(prog_start(own_thread, NULL));
	return arg;
}

int main(void)
{
	prog_init();
	prog_join(prog_start(body, NULL));
	/* nothing of it is left for the others */
	prog_join(prog_start(scheduling, NULL));
	return 0;
}
