/* SPDX-License-Identifier: MIT */
/*
 * How a process with threads can end: return from main, exit in a thread, _exit, abort, SIGSEGV,
 * SIGKILL of itself, exit while others are blocked. Re-executes itself per mode and checks status
 * and atexit.
 */
#include "prog.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static int mode_fd = -1;

static void at_exit(void)
{
	CHECK_EQ(write(mode_fd, "a", 1), 1);
}

static void *blocks(void *arg)
{
	(void)arg;
	for (;;)
		pause();
	return NULL;
}

static void *locks_forever(void *arg)
{
	pthread_mutex_lock(arg);
	CHECK(!"reached");
	return NULL;
}

static void *ends(void *arg)
{
	const char *mode = arg;
	volatile int *null = NULL;

	if (!strcmp(mode, "exit"))
		exit(3);
	if (!strcmp(mode, "_exit"))
		_exit(4);
	if (!strcmp(mode, "quick_exit"))
		quick_exit(5);
	if (!strcmp(mode, "abort"))
		abort();
	if (!strcmp(mode, "segv"))
		*null = 1;
	if (!strcmp(mode, "kill"))
		kill(getpid(), SIGKILL);
	if (!strcmp(mode, "term"))
		raise(SIGTERM);
	if (!strcmp(mode, "fpe"))
		raise(SIGFPE);
	return NULL;
}

static int child(char **argv)
{
	static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
	const char *mode = argv[2];
	struct rlimit no_core = { 0, 0 };

	mode_fd = atoi(argv[3]);
	setrlimit(RLIMIT_CORE, &no_core);
	atexit(at_exit);
	pthread_mutex_lock(&held);
	for (int i = 0; i < 3; i++) {
		prog_start(blocks, NULL);
		prog_start(locks_forever, &held);
	}
	if (!strcmp(mode, "return"))
		return 7;
	if (!strcmp(mode, "main_exit"))
		exit(8);
	prog_start(ends, argv[2]);
	for (;;)
		pause();
}

static void run(const char *self, const char *mode, int want_exit, int want_sig, int want_atexit)
{
	char fd[12], buf[16];
	int pipefd[2], status;
	ssize_t n;
	pid_t pid;

	CHECK_EQ(pipe(pipefd), 0);
	snprintf(fd, sizeof(fd), "%d", pipefd[1]);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		close(pipefd[0]);
		execl(self, self, "--mode", mode, fd, (char *)NULL);
		_exit(127);
	}
	close(pipefd[1]);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	n = read(pipefd[0], buf, sizeof(buf));
	close(pipefd[0]);
	CHECK_EQ(n, want_atexit);
	if (want_sig) {
		CHECK(WIFSIGNALED(status));
		CHECK_EQ(WTERMSIG(status), want_sig);
	} else {
		CHECK(WIFEXITED(status));
		CHECK_EQ(WEXITSTATUS(status), want_exit);
	}
	printf("%s ok\n", mode);
}

int main(int argc, char **argv)
{
	char self[4096];
	ssize_t n;

	prog_init();
	if (argc == 4 && !strcmp(argv[1], "--mode"))
		return child(argv);
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	CHECK(n > 0);
	self[n] = '\0';
	run(self, "return", 7, 0, 1);
	run(self, "main_exit", 8, 0, 1);
	run(self, "exit", 3, 0, 1);
	run(self, "_exit", 4, 0, 0);
	run(self, "quick_exit", 5, 0, 0);
	run(self, "abort", 0, SIGABRT, 0);
	run(self, "segv", 0, SIGSEGV, 0);
	run(self, "kill", 0, SIGKILL, 0);
	run(self, "term", 0, SIGTERM, 0);
	run(self, "fpe", 0, SIGFPE, 0);
	return 0;
}
