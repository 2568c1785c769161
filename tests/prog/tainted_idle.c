/* SPDX-License-Identifier: MIT */
/*
 * A thread that has changed its own credentials by the raw system call, and so has a kernel thread for itself from
 * which no other is made, waits for another process again and again while nobody else runs. Each answer wakes it.
 * Several such processes at once make the CPUs busy, so that kernel threads are late to go idle.
 */
#include "prog.h"

#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define WORKERS 12
#define ROUNDS 3000

static void *ends(void *arg)
{
	return arg;
}

/* In a child without threads: every byte comes back. */
static void echoes(int in, int out)
{
	char c;

	while (read(in, &c, 1) == 1)
		CHECK_EQ(write(out, &c, 1), 1);
	_exit(0);
}

static void asks(void)
{
	int to[2], from[2], status;
	pthread_t t;
	pid_t pid;
	char c;

	CHECK_EQ(pipe(to), 0);
	CHECK_EQ(pipe(from), 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		close(to[1]);
		echoes(to[0], from[1]);
	}
	CHECK_EQ(pthread_create(&t, NULL, ends, NULL), 0);
	CHECK_EQ(pthread_join(t, NULL), 0);
	CHECK_EQ(syscall(SYS_setresuid, -1, -1, -1), 0);
	for (int i = 0; i < ROUNDS; i++) {
		struct pollfd pfd = { .fd = from[0], .events = POLLIN };

		CHECK_EQ(write(to[1], "x", 1), 1);
		CHECK_EQ(poll(&pfd, 1, -1), 1);
		CHECK_EQ(read(from[0], &c, 1), 1);
	}
	close(to[1]);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	exit(0);
}

int main(void)
{
	int status;

	alarm(100);
	for (int i = 0; i < WORKERS; i++) {
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (pid == 0) {
			alarm(90); /* a hang, not slowness */
			asks();
		}
	}
	for (int i = 0; i < WORKERS; i++) {
		CHECK(wait(&status) > 0);
		CHECK_EQ(status, 0);
	}
	puts("answers ok");
	return 0;
}
