/* SPDX-License-Identifier: MIT */
/*
 * A thread that has changed its kernel thread for good (setfsuid) talks with another over a socket. Under the shim its
 * kernel thread can make no other one, which would inherit the change: when it waits, somebody else must watch the
 * network, also if nobody is at hand that very moment.
 */
#include <poll.h>
#include <stdbool.h>
#include <sys/fsuid.h>
#include <sys/socket.h>

#include "prog.h"

#define ROUNDS 2000

static int sv[2];

static void echo_once(int fd, bool polls)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	char c;

	if (polls)
		CHECK_EQ(poll(&pfd, 1, -1), 1);
	CHECK_EQ(read(fd, &c, 1), 1);
	CHECK_EQ(write(fd, &c, 1), 1);
}

static void *echoes(void *arg)
{
	(void)arg;
	for (int i = 0; i < ROUNDS; i++)
		echo_once(sv[1], i % 2);
	return NULL;
}

int main(void)
{
	pthread_t th;
	char c = 'x';

	prog_init();
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	th = prog_start(echoes, NULL);
	setfsuid((uid_t)setfsuid(-1));
	CHECK_EQ(write(sv[0], &c, 1), 1);
	for (int i = 0; i < ROUNDS - 1; i++)
		echo_once(sv[0], i % 2);
	CHECK_EQ(read(sv[0], &c, 1), 1);
	prog_join(th);
	puts("ok");
	return 0;
}
