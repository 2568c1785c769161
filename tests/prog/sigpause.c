/* SPDX-License-Identifier: MIT */
/*
 * sigpause: X/Open's, which takes one signal off the mask, BSD's, which takes a mask, and the function behind both. It
 * ends with EINTR after a handler, and the mask is as before; it is a cancellation point; many threads that wait in it
 * have no kernel thread each.
 */
#include "prog.h"

#include <signal.h>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

int bsd_sigpause(int mask) __asm__("sigpause");
int __sigpause(int sig_or_mask, int is_sig);

#define FORMS	4
#define EACH	20
#define BIT(s)	(1 << ((s) - 1))

static __thread int handled;
static _Atomic int waiting;

static void on_signal(int sig)
{
	(void)sig;
	handled++;
}

static int call(int form)
{
	switch (form) {
	case 0:
		return sigpause(SIGUSR1);
	case 1:
		return bsd_sigpause(BIT(SIGUSR2));
	case 2:
		return __sigpause(SIGUSR1, 1);
	default:
		return __sigpause(BIT(SIGUSR2), 0);
	}
}

static void check_mask(void)
{
	sigset_t now;

	CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &now), 0);
	CHECK(sigismember(&now, SIGUSR1) && sigismember(&now, SIGUSR2) && !sigismember(&now, SIGTERM));
}

/* Both signals are blocked; SIGUSR2 stays so. */
static void *pauses(void *arg)
{
	int form = (int)(long)arg;

	check_mask();
	waiting++;
	CHECK_FAILS(call(form), EINTR);
	CHECK_EQ(handled, 1);
	check_mask();
	return arg;
}

int main(void)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	pthread_t t[FORMS * EACH];
	sigset_t set;

	prog_init();
	CHECK_EQ(sigaction(SIGUSR1, &sa, NULL), 0);
	CHECK_EQ(sigaction(SIGUSR2, &sa, NULL), 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	CHECK_FAILS(sigpause(1000), EINVAL);
	CHECK_FAILS(__sigpause(-1, 1), EINVAL);
	for (int i = 0; i < FORMS; i++) { /* one that is pending */
		handled = 0;
		CHECK_EQ(raise(SIGUSR1), 0);
		CHECK_FAILS(call(i), EINTR);
		CHECK_EQ(handled, 1);
		check_mask();
	}
	puts("pending");
	for (int i = 0; i < FORMS * EACH; i++)
		t[i] = prog_start(pauses, (void *)(long)(i % FORMS));
	while (waiting < FORMS * EACH)
		sched_yield();
	prog_nap_ms(50);
	prog_few_kthreads(FORMS * EACH);
	for (int i = 0; i < FORMS * EACH; i++)
		CHECK_EQ(pthread_kill(t[i], SIGUSR2), 0);
	for (int i = 0; i < FORMS * EACH; i++) {
		if (i / FORMS % 2) {
			CHECK_EQ(pthread_cancel(t[i]), 0);
			CHECK(prog_join(t[i]) == PTHREAD_CANCELED);
		} else {
			CHECK_EQ(pthread_kill(t[i], SIGUSR1), 0);
			CHECK(prog_join(t[i]) != PTHREAD_CANCELED);
		}
	}
	puts("woken and cancelled");
	return 0;
}
