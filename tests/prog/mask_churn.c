/* SPDX-License-Identifier: MIT */
/*
 * Threads that block and admit all signals all the time, as interpreters do around the start and the end of each
 * thread, with moments in which everybody blocks a signal and sleeps in between, so that kernel threads become idle
 * with whatever mask. Nobody may get stuck, no signal may be lost or come to a thread that blocks it.
 */
#include "prog.h"

#include <signal.h>
#include <stdatomic.h>

#define THREADS	12
#define ROUNDS	400

static _Atomic int handled;
static __thread volatile int blocked;

static void on_usr1(int sig)
{
	CHECK_EQ(sig, SIGUSR1);
	CHECK(!blocked);
	handled++;
}

static void churn(unsigned seed, int rounds)
{
	sigset_t all, old;

	sigfillset(&all);
	for (int i = 0; i < rounds; i++) {
		CHECK_EQ(pthread_sigmask(SIG_SETMASK, &all, &old), 0);
		blocked = 1;
		seed = seed * 1103515245 + 12345;
		if (seed >> 28 == 0)
			usleep(seed >> 20 & 63);
		else if (seed >> 28 == 1)
			sched_yield();
		blocked = 0;
		CHECK_EQ(pthread_sigmask(SIG_SETMASK, &old, NULL), 0);
		if (seed >> 28 == 2)
			usleep(seed >> 20 & 63);
	}
}

static void *churner(void *arg)
{
	churn((unsigned)(uintptr_t)arg, ROUNDS);
	return arg;
}

static void *sleeper(void *arg)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	for (int i = 0; i < 50; i++)
		usleep(100);
	return arg;
}

int main(void)
{
	struct sigaction act = { .sa_handler = on_usr1, .sa_flags = SA_RESTART };
	pthread_t t[THREADS], s[THREADS];

	prog_init();
	CHECK_EQ(sigaction(SIGUSR1, &act, NULL), 0);
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < THREADS; i++) {
			t[i] = prog_start(churner, (void *)(uintptr_t)(round * 100 + i));
			s[i] = prog_start(sleeper, NULL);
		}
		churn((unsigned)round, ROUNDS);
		CHECK_EQ(kill(getpid(), SIGUSR1), 0);
		for (int i = 0; i < THREADS; i++) {
			prog_join(t[i]);
			prog_join(s[i]);
		}
		for (int i = 0; handled <= round; i++)	/* one at a time: they would be merged */
			prog_nap_ms(1);
	}
	CHECK_EQ(handled, 20);
	puts("done");
	return 0;
}
