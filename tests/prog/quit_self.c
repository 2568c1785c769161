/* SPDX-License-Identifier: MIT */
/*
 * SIGQUIT and SIGABRT that a thread sends to itself, or main to its process, with the default action: nothing follows
 * the call. (When another thread sends it to the process, the kernel lets that one run on until main has taken it: the
 * signals that dump core end the process only then.)
 */
#include "prog.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define ROUNDS	2

enum { BY_KILL, BY_SIGQUEUE, BY_SYSCALL, BY_RAISE, BY_PTHREAD_KILL, WAYS }; /* from BY_RAISE on: not main */

static int out, way, sig;
static pthread_barrier_t begun;

static void *bystander(void *arg)
{
	pthread_barrier_wait(&begun);
	for (;;)
		usleep(1000);
	return arg;
}

static void *sender(void *arg)
{
	switch (way) {
	case BY_KILL:
		kill(getpid(), sig);
		break;
	case BY_SIGQUEUE:
		sigqueue(getpid(), sig, (union sigval){ .sival_int = 1 });
		break;
	case BY_SYSCALL:
		syscall(SYS_kill, getpid(), sig);
		break;
	case BY_RAISE:
		raise(sig);
		break;
	default:
		pthread_kill(pthread_self(), sig);
	}
	CHECK_EQ(write(out, "alive", 5), 5);
	return arg;
}

static void child(void)
{
	int null = open("/dev/null", O_WRONLY);
	struct rlimit none = { 0, 0 };

	dup2(null, 2);	/* a dump may precede the end */
	setrlimit(RLIMIT_CORE, &none);
	CHECK_EQ(pthread_barrier_init(&begun, NULL, 4), 0);
	for (int i = 0; i < 3; i++)
		prog_start(bystander, NULL);
	/* who opens its mask while the signal is on its way to main could take it, and main run on */
	pthread_barrier_wait(&begun);
	if (way < BY_RAISE)
		sender(NULL);
	pthread_join(prog_start(sender, NULL), NULL);
	_exit(3);
}

int main(void)
{
	prog_init();
	for (int i = 0; i < ROUNDS * WAYS; i++) {
		int fd[2], status;
		char buf[8];
		pid_t pid;

		way = i % WAYS;
		sig = i / WAYS & 1 ? SIGQUIT : SIGABRT;
		CHECK_EQ(pipe(fd), 0);
		pid = fork();
		if (pid == 0) {
			out = fd[1];
			child();
		}
		close(fd[1]);
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == sig);
		CHECK_EQ(read(fd[0], buf, sizeof(buf)), 0);
		close(fd[0]);
	}
	puts("died");
	return 0;
}
