/* SPDX-License-Identifier: MIT */
/*
 * Pairs of threads hand a ball to and fro over two semaphores: strict alternation, no post is
 * lost.
 */
#include "prog.h"

#include <semaphore.h>

#define PAIRS	4

struct pair {
	sem_t ping, pong;
	long ball;		/* owned by whoever was posted */
};

static struct pair pairs[PAIRS];
static long rounds;

static void *pings(void *arg)
{
	struct pair *p = arg;

	for (long i = 0; i < rounds; i++) {
		CHECK_EQ(p->ball, 2 * i);
		p->ball++;
		sem_post(&p->ping);
		CHECK_EQ(sem_wait(&p->pong), 0);
	}
	return NULL;
}

static void *pongs(void *arg)
{
	struct pair *p = arg;

	for (long i = 0; i < rounds; i++) {
		CHECK_EQ(sem_wait(&p->ping), 0);
		CHECK_EQ(p->ball, 2 * i + 1);
		p->ball++;
		sem_post(&p->pong);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t ts[2 * PAIRS];

	prog_init();
	rounds = 10000L * prog_scale(argc, argv);
	for (int i = 0; i < PAIRS; i++) {
		sem_init(&pairs[i].ping, 0, 0);
		sem_init(&pairs[i].pong, 0, 0);
		ts[2 * i] = prog_start(pings, &pairs[i]);
		ts[2 * i + 1] = prog_start(pongs, &pairs[i]);
	}
	for (int i = 0; i < 2 * PAIRS; i++)
		prog_join(ts[i]);
	for (int i = 0; i < PAIRS; i++)
		CHECK_EQ(pairs[i].ball, 2 * rounds);
	puts("ok");
	return 0;
}
