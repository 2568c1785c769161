/* SPDX-License-Identifier: MIT */
/*
 * Descriptors that are closed and reused where no library call is: by the system call itself. A thread that then waits
 * under the number waits for the new file. And the numbers that a runtime may use for itself are the program's all
 * the same.
 */
#include "prog.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

static int sv[2];

static void *reads(void *arg)
{
	char c = 0;

	CHECK_EQ(read(sv[0], &c, 1), 1);
	return (void *)(intptr_t)(c + (arg != NULL));
}

static void *polls(void *arg)
{
	struct pollfd p = {.fd = sv[0], .events = POLLIN};

	CHECK_EQ(poll(&p, 1, -1), 1);
	return reads(arg);
}

/* A waiter makes the number known; then it becomes another file, and a waiter waits again. */
static void reuse(void *(*fn)(void *))
{
	int fresh[2];
	pthread_t t;

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	t = prog_start(fn, NULL);
	prog_nap_ms(5);
	CHECK_EQ(write(sv[1], "a", 1), 1);
	CHECK_EQ((intptr_t)prog_join(t), 'a');
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fresh), 0);
	CHECK_EQ(prog_raw(SYS_close, sv[0], 0, 0, 0), 0);
	CHECK_EQ(prog_raw(SYS_dup3, fresh[0], sv[0], 0, 0), sv[0]);
	t = prog_start(fn, NULL);
	prog_nap_ms(40);
	CHECK_EQ(write(fresh[1], "b", 1), 1);
	CHECK_EQ((intptr_t)prog_join(t), 'b');
	close(sv[0]);
	close(sv[1]);
	close(fresh[0]);
	close(fresh[1]);
}

static void *sleeps(void *arg)
{
	struct pollfd p = {.fd = sv[0], .events = POLLIN};

	for (int i = 0; i < 50; i++)
		CHECK_EQ(poll(&p, 1, 1), 0);
	return arg;
}

/* dup2 onto every number at the top of the range, while threads wait. */
static void all_numbers(void)
{
	struct rlimit lim;
	pthread_t t;
	int n;

	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &lim), 0);
	n = (int)lim.rlim_cur;
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	t = prog_start(sleeps, NULL);
	for (int i = 1; i <= 70 && i < n - 20; i++) {
		CHECK_EQ(dup2(2, n - i), n - i);
		CHECK(fcntl(n - i, F_GETFD) >= 0);
		sched_yield();
	}
	prog_join(t);
	t = prog_start(reads, NULL);
	prog_nap_ms(5);
	CHECK_EQ(write(sv[1], "c", 1), 1);
	CHECK_EQ((intptr_t)prog_join(t), 'c');
	for (int i = 1; i <= 70 && i < n - 20; i++)
		CHECK_EQ(close(n - i), 0);
	close(sv[0]);
	close(sv[1]);
}

int main(void)
{
	prog_init();
	alarm(200);
	for (int i = 0; i < 5; i++) {
		reuse(reads);
		reuse(polls);
	}
	all_numbers();
	CHECK_EQ(dup(2), 3);
	puts("ok");
	return 0;
}
