/* SPDX-License-Identifier: MIT */
/*
 * Two signals for one thread, microseconds apart, thousands of times, with handlers that run on the alternate stack,
 * and (on x86-64) one after each instruction on the first handler's way back: also while it is set back which alternate
 * stack there is. All handlers run on that stack, which is what it was afterwards. In a process without threads and in
 * one with threads.
 */
#include "prog.h"

#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

#define STACK		(64 * 1024)
#define PAIRS		4000

static char *stack;
static volatile int got;

static void on_signal(int sig)
{
	char here;

	(void)sig;
	CHECK(&here > stack && &here < stack + STACK);
	got++;
}

/* The alternate stack, which is never to change but by its owner's wish. */
static void stack_take(void)
{
	stack_t ss = { .ss_size = STACK };

	CHECK((stack = malloc(STACK)) != NULL);
	ss.ss_sp = stack;
	CHECK_EQ(sigaltstack(&ss, NULL), 0);
}

static void stack_give(void)
{
	stack_t ss = { .ss_flags = SS_DISABLE };

	CHECK_EQ(sigaltstack(&ss, NULL), 0);
	free(stack);
}

static void stack_is(int flags)
{
	stack_t now;

	CHECK_EQ(sigaltstack(NULL, &now), 0);
	CHECK_EQ(now.ss_flags, flags);
	CHECK(now.ss_sp == stack);
	CHECK_EQ(now.ss_size, STACK);
}

static void pairs(int n)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };

	stack_take();
	CHECK_EQ(sigaction(SIGUSR1, &sa, NULL), 0);
	CHECK_EQ(sigaction(SIGALRM, &sa, NULL), 0);
	got = 0;
	for (int i = 0; i < n; i++) {
		struct itimerval it = { .it_value = { .tv_usec = 1 + i % 13 } };

		CHECK_EQ(setitimer(ITIMER_REAL, &it, NULL), 0);
		CHECK_EQ(kill(getpid(), SIGUSR1), 0);
		while (got < 2 * (i + 1))
			;
		stack_is(0);
	}
	stack_give();
}

#ifdef __x86_64__

#define TRAP_FLAG  0x100

static volatile int stepping;
static int nsteps;

static void on_step(int sig)
{
	char here;

	(void)sig;
	nsteps++;
	CHECK(&here > stack && &here < stack + STACK);
	stack_is(SS_ONSTACK);
}

/* With the flag set a trap follows each instruction, until the context is back that was interrupted. */
static void steps_back(int sig)
{
	(void)sig;
	stepping++;
	__asm__ volatile("pushfq; orq %0, (%%rsp); popfq" ::"i"(TRAP_FLAG) : "memory", "cc");
}

static void steps(void)
{
	struct sigaction sa = { .sa_handler = steps_back, .sa_flags = SA_ONSTACK };

	stack_take();
	CHECK_EQ(sigaction(SIGUSR1, &sa, NULL), 0);
	sa.sa_handler = on_step;
	CHECK_EQ(sigaction(SIGTRAP, &sa, NULL), 0);
	CHECK_EQ(raise(SIGUSR1), 0);
	CHECK_EQ(stepping, 1);
	CHECK(nsteps > 0);
	stack_is(0);
	stack_give();
}
#else
static void steps(void)
{
}
#endif

/* With all signals blocked, from its start on. */
static void *waits(void *arg)
{
	pthread_barrier_wait(arg);
	return arg;
}

static void in_child(int n)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		steps();
		pairs(n);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

int main(int argc, char **argv)
{
	int n = PAIRS * prog_scale(argc, argv);
	pthread_barrier_t barrier;
	sigset_t all, old;
	pthread_t t;

	prog_init();
	in_child(n);
	puts("no threads");
	pthread_barrier_init(&barrier, NULL, 2);
	sigfillset(&all);
	CHECK_EQ(pthread_sigmask(SIG_BLOCK, &all, &old), 0);
	t = prog_start(waits, &barrier);
	CHECK_EQ(pthread_sigmask(SIG_SETMASK, &old, NULL), 0);
	pairs(n);
	puts("threads");
	pthread_barrier_wait(&barrier);
	prog_join(t);
	return 0;
}
