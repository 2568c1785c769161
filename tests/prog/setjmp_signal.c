/* SPDX-License-Identifier: MIT */
/*
 * siglongjmp out of a handler that interrupted a blocking call: the mask is restored, later calls
 * work, and a timeout built that way works in a thread; longjmp across plain calls that blocked
 * too.
 */
#include "prog.h"

#include <setjmp.h>
#include <signal.h>

static __thread sigjmp_buf jump;
static __thread volatile sig_atomic_t armed;
static int pipefd[2];
static volatile int done;

static void handler(int sig)
{
	(void)sig;
	if (armed) {
		armed = 0;
		siglongjmp(jump, 1);
	}
}

/* 1 when the handler jumped out, which the sender repeats until it happens. */
static int read_with_jump(char *c)
{
	if (sigsetjmp(jump, 1))
		return 1;
	armed = 1;
	CHECK_EQ(read(pipefd[0], c, 1), 1);
	armed = 0;
	return 0;
}

static void *jumps(void *arg)
{
	sigset_t mask;
	char c;

	for (int i = 0; i < 20; i++) {
		CHECK_EQ(read_with_jump(&c), 1);
		CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
		CHECK(!sigismember(&mask, SIGUSR1));	/* unblocked again after the jump */
		prog_nap_ms(1);
	}
	/* descriptors and locks still work after 20 abandoned reads */
	done = 1;
	CHECK_EQ(read(pipefd[0], &c, 1), 1);
	CHECK_EQ(c, 'k');
	return arg;
}

static void *times_out(void *arg)
{
	for (volatile int i = 0; i < 3; i++) {
		if (sigsetjmp(jump, 1) == 0) {
			armed = 1;
			for (;;)
				pause();
		}
	}
	done = 1;
	return arg;
}

static void *plain_jumps(void *arg)
{
	jmp_buf env;
	volatile int n = 0;

	if (setjmp(env) < 50) {
		n++;
		sched_yield();
		if (n % 10 == 0)
			prog_nap_ms(1);
		longjmp(env, n);
	}
	CHECK_EQ(n, 50);
	return arg;
}

int main(void)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_RESTART };
	pthread_t t, ts[8];

	prog_init();
	sigaction(SIGUSR1, &sa, NULL);
	CHECK_EQ(pipe(pipefd), 0);
	t = prog_start(jumps, NULL);
	while (!done) {
		prog_nap_ms(1);
		CHECK_EQ(pthread_kill(t, SIGUSR1), 0);
	}
	CHECK_EQ(write(pipefd[1], "k", 1), 1);
	prog_join(t);
	puts("read ok");

	done = 0;
	t = prog_start(times_out, NULL);
	while (!done) {
		prog_nap_ms(1);
		CHECK_EQ(pthread_kill(t, SIGUSR1), 0);
	}
	prog_join(t);
	puts("pause ok");

	for (int i = 0; i < 8; i++)
		ts[i] = prog_start(plain_jumps, NULL);
	for (int i = 0; i < 8; i++)
		prog_join(ts[i]);
	puts("longjmp ok");
	return 0;
}
