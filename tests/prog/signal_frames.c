/* SPDX-License-Identifier: MIT */
/*
 * Several signals for a thread that computes, at the same moment: the kernel makes the frames of all before the first
 * handler begins, and whose frame lies below runs later, on whatever kernel thread the others have left the thread. The
 * handlers here give the CPU away. No signal is lost, and every thread can be reached to the end: time slices of 100 us
 * make those frames meet the scheduler's own.
 */
#include "prog.h"

#include <signal.h>

#define HOGS   4
#define ROUNDS 200

static pthread_t hog[HOGS];
static __thread int me = -1;
static volatile int got[HOGS], stop;
static int of_process;

static void on_directed(int sig)
{
	sched_yield();
	got[me]++;
}

static void on_process(int sig)
{
	sched_yield();
	__atomic_add_fetch(&of_process, 1, __ATOMIC_RELAXED);
}

static void *computes(void *arg)
{
	sigset_t set;

	me = (int)(long)arg;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigaddset(&set, SIGRTMIN + 1);
	CHECK_EQ(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
	while (!stop)
		;
	return arg;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_directed };
	int rounds = ROUNDS * prog_scale(argc, argv);
	sigset_t set;

	if (getenv("GMPSHIM_SLICE_US") == NULL) {
		setenv("GMPSHIM_SLICE_US", "100", 1);
		execv("/proc/self/exe", argv);
	}
	prog_init();
	sigfillset(&sa.sa_mask);
	CHECK_EQ(sigaction(SIGRTMIN, &sa, NULL), 0);
	sa.sa_handler = on_process;
	CHECK_EQ(sigaction(SIGRTMIN + 1, &sa, NULL), 0);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigaddset(&set, SIGRTMIN + 1);
	CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	for (long i = 0; i < HOGS; i++)
		hog[i] = prog_start(computes, (void *)i);
	for (int i = 0; i < rounds; i++) {
		for (int k = 0; k < HOGS; k++) {
			CHECK_EQ(kill(getpid(), SIGRTMIN + 1), 0);
			CHECK_EQ(pthread_kill(hog[k], SIGRTMIN), 0);
		}
		for (int k = 0; k < HOGS; k++)
			while (got[k] < i + 1)
				sched_yield();
	}
	while (__atomic_load_n(&of_process, __ATOMIC_RELAXED) < rounds * HOGS)
		sched_yield();
	stop = 1;
	for (int i = 0; i < HOGS; i++) {
		prog_join(hog[i]);
		CHECK_EQ(got[i], rounds);
	}
	CHECK_EQ(of_process, rounds * HOGS);
	puts("none lost");
	return 0;
}
