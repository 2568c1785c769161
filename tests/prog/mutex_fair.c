/* SPDX-License-Identifier: MIT */
/*
 * Threads that lock, yield with the lock held and lock again at once leave the others their turn: whatever the number
 * of hogs, one more thread gets the lock again and again. (A queue that lets the woken loser go to its end can meet the
 * same loser at every second unlock, for ever.)
 */
#include "prog.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static volatile int stop;
static int owners;

static void turn(void)
{
	pthread_mutex_lock(&lock);
	CHECK_EQ(++owners, 1);
	sched_yield();
	CHECK_EQ(--owners, 0);
	pthread_mutex_unlock(&lock);
}

static void *hog(void *arg)
{
	while (!stop)
		turn();
	return arg;
}

static void *victim(void *arg)
{
	for (int i = 0; i < 20; i++)
		turn();
	return arg;
}

int main(void)
{
	pthread_t ts[9];

	prog_init();
	for (int hogs = 1; hogs <= 9; hogs++) {
		stop = 0;
		for (int i = 0; i < hogs; i++)
			ts[i] = prog_start(hog, NULL);
		prog_join(prog_start(victim, NULL));
		stop = 1;
		for (int i = 0; i < hogs; i++)
			prog_join(ts[i]);
	}
	puts("ok");
	return 0;
}
