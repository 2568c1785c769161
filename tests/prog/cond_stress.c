/* SPDX-License-Identifier: MIT */
/*
 * A bounded buffer with many producers and consumers, some waiting with short time-outs: every
 * item arrives exactly once, no wake-up is lost. Then a token ring of one condition variable per
 * thread.
 */
#include "prog.h"

#define SLOTS		8
#define PRODUCERS	10
#define CONSUMERS	10
#define RING		16

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t not_empty = PTHREAD_COND_INITIALIZER, not_full = PTHREAD_COND_INITIALIZER;
static long slots[SLOTS];
static int head, used, per_producer;

static pthread_cond_t ring[RING];
static int token, laps;

static void wait_for(pthread_cond_t *c, int timed)
{
	struct timespec until;
	int err;

	if (!timed) {
		CHECK_EQ(pthread_cond_wait(c, &lock), 0);
		return;
	}
	until = prog_after_ms(CLOCK_MONOTONIC, 1);
	err = pthread_cond_clockwait(c, &lock, CLOCK_MONOTONIC, &until);
	CHECK(err == 0 || err == ETIMEDOUT);
}

static void *produces(void *arg)
{
	long id = (long)arg;

	for (int i = 0; i < per_producer; i++) {
		pthread_mutex_lock(&lock);
		while (used == SLOTS)
			wait_for(&not_full, id == 0);
		slots[(head + used++) % SLOTS] = id * per_producer + i;
		pthread_cond_signal(&not_empty);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static void *consumes(void *arg)
{
	long sum = 0, item;
	int timed = (long)arg == 0;

	for (;;) {
		pthread_mutex_lock(&lock);
		while (!used)
			wait_for(&not_empty, timed);
		item = slots[head];
		if (item < 0) {		/* the end mark stays for the others */
			pthread_cond_signal(&not_empty);
			pthread_mutex_unlock(&lock);
			return (void *)sum;
		}
		head = (head + 1) % SLOTS;
		used--;
		pthread_mutex_unlock(&lock);
		pthread_cond_signal(&not_full);
		sum += item;
	}
}

static void *passes_token(void *arg)
{
	int mine = (int)(long)arg;

	for (int i = 0; i < laps; i++) {
		pthread_mutex_lock(&lock);
		while (token != mine)
			pthread_cond_wait(&ring[mine], &lock);
		token = (mine + 1) % RING;
		pthread_cond_signal(&ring[token]);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int scale = prog_scale(argc, argv);
	pthread_t p[PRODUCERS], c[CONSUMERS], r[RING];
	long n, sum = 0;

	prog_init();
	per_producer = 3000 * scale;
	for (long i = 0; i < CONSUMERS; i++)
		c[i] = prog_start(consumes, (void *)i);
	for (long i = 0; i < PRODUCERS; i++)
		p[i] = prog_start(produces, (void *)i);
	for (int i = 0; i < PRODUCERS; i++)
		prog_join(p[i]);
	pthread_mutex_lock(&lock);
	while (used == SLOTS)
		pthread_cond_wait(&not_full, &lock);
	slots[(head + used++) % SLOTS] = -1;
	pthread_cond_broadcast(&not_empty);
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < CONSUMERS; i++)
		sum += (long)prog_join(c[i]);
	n = (long)PRODUCERS * per_producer;
	CHECK_EQ(sum, n * (n - 1) / 2);
	CHECK_EQ(used, 1);
	puts("buffer ok");

	laps = 500 * scale;
	for (int i = 0; i < RING; i++)
		pthread_cond_init(&ring[i], NULL);
	for (long i = 0; i < RING; i++)
		r[i] = prog_start(passes_token, (void *)i);
	for (int i = 0; i < RING; i++)
		prog_join(r[i]);
	CHECK_EQ(token, 0);
	for (int i = 0; i < RING; i++)
		CHECK_EQ(pthread_cond_destroy(&ring[i]), 0);
	puts("ring ok");
	return 0;
}
