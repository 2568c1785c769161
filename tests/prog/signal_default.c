/* SPDX-License-Identifier: MIT */
/*
 * A timer's signal at the very moment at which the timer is stopped and the signal gets its default action, to end the
 * process: what came before that had its handler then, whichever kernel thread it came to.
 */
#include "prog.h"

#include <signal.h>
#include <sys/time.h>

#define ROUNDS 3000

static volatile int handled, stop;

static void on_signal(int sig)
{
	(void)sig;
	handled++;
}

/* Others that compute, so that a kernel thread that is woken does not run at once. With all signals blocked. */
static void *burns(void *arg)
{
	while (!stop)
		;
	return arg;
}

static void *waits(void *arg)
{
	pthread_barrier_wait(arg);
	return arg;
}

int main(int argc, char **argv)
{
	int rounds = ROUNDS * prog_scale(argc, argv);
	struct sigaction sa = { .sa_handler = on_signal };
	struct itimerval it = { 0 }, none = { 0 };
	pthread_barrier_t barrier;
	pthread_t t, burner[2];
	sigset_t all, old;

	prog_init();
	pthread_barrier_init(&barrier, NULL, 2);
	sigfillset(&all);
	CHECK_EQ(pthread_sigmask(SIG_BLOCK, &all, &old), 0);
	t = prog_start(waits, &barrier);
	for (int i = 0; i < 2; i++)
		burner[i] = prog_start(burns, NULL);
	CHECK_EQ(pthread_sigmask(SIG_SETMASK, &old, NULL), 0);
	for (int i = 0; i < rounds; i++) {
		int64_t end;

		CHECK_EQ(sigaction(SIGALRM, &sa, NULL), 0);
		it.it_value.tv_usec = 30;
		end = prog_now_ns(CLOCK_MONOTONIC) + 25000 + i % 100 * 200;
		CHECK_EQ(setitimer(ITIMER_REAL, &it, NULL), 0);
		while (prog_now_ns(CLOCK_MONOTONIC) < end)
			;
		CHECK_EQ(setitimer(ITIMER_REAL, &none, NULL), 0);
		CHECK(signal(SIGALRM, SIG_DFL) == on_signal);
		if (i % 100 == 99)
			sched_yield();
	}
	stop = 1;
	for (int i = 0; i < 2; i++)
		prog_join(burner[i]);
	pthread_barrier_wait(&barrier);
	prog_join(t);
	puts("alive");
	return 0;
}
