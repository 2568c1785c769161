/* SPDX-License-Identifier: MIT */
/*
 * Who yields until a flag is set that a thread sets which waits for a descriptor: a yield with nobody to yield to looks
 * whom the network has news for. Were it left to the look every 10 ms, each round would take thousands of yields.
 */
#include <poll.h>
#include <stdatomic.h>

#include "prog.h"

#define ROUNDS 200
#define MANY   2000

static int pipefd[2];
static _Atomic(int) seen;

static void *reads(void *arg)
{
	struct pollfd pfd = {.fd = pipefd[0], .events = POLLIN};
	char c;

	(void)arg;
	for (int i = 1; i <= ROUNDS; i++) {
		if (i % 2)
			CHECK_EQ(poll(&pfd, 1, -1), 1);
		CHECK_EQ(read(pipefd[0], &c, 1), 1);
		seen = i;
	}
	return NULL;
}

int main(void)
{
	pthread_t th;
	int slow = 0;

	prog_init();
	CHECK_EQ(pipe(pipefd), 0);
	th = prog_start(reads, NULL);
	for (int i = 1; i <= ROUNDS; i++) {
		int yields = 0;

		CHECK_EQ(write(pipefd[1], "x", 1), 1);
		for (; seen != i; yields++)
			sched_yield();
		slow += yields >= MANY;
	}
	prog_join(th);
	/* with a random schedule all yields go the long way, which looks where nothing is runnable */
	CHECK(slow < ROUNDS / 2 || getenv("GMPSHIM_SCHED") != NULL);
	puts("ok");
	return 0;
}
