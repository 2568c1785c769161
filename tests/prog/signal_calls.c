/* SPDX-License-Identifier: MIT */
/* The older functions on signals and jumps, beside a native run: handlers, masks, restart, what they return. */
#include "prog.h"

#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* they are what is tested */

#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>

sighandler_t bsd_signal(int sig, sighandler_t handler);
sighandler_t __sysv_signal(int sig, sighandler_t handler);
int sigblock(int mask);
int sigsetmask(int mask);
int tgkill(pid_t pid, pid_t tid, int sig);
void __longjmp_chk(struct __jmp_buf_tag env[1], int val) __attribute__((noreturn));

static volatile int handled;

static void on_signal(int sig)
{
	handled++;
}

static void show(const char *what, sighandler_t was)
{
	struct sigaction sa;

	CHECK_EQ(sigaction(SIGUSR1, NULL, &sa), 0);
	printf("%s: was %s, now %s, flags %x\n", what, was == SIG_DFL ? "default" : was == on_signal ? "ours" :
	       was == SIG_HOLD ? "hold" : was == SIG_ERR ? "error" : "other",
	       sa.sa_handler == on_signal ? "ours" : sa.sa_handler == SIG_IGN ? "ignored" : "default",
	       (unsigned)sa.sa_flags);
}

static int blocked(int sig)
{
	sigset_t s;

	CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &s), 0);
	return sigismember(&s, sig);
}

static void handlers(void)
{
	show("bsd_signal", bsd_signal(SIGUSR1, on_signal));
	show("ssignal", ssignal(SIGUSR1, on_signal));
	CHECK_EQ(gsignal(SIGUSR1), 0);
	CHECK_EQ(handled, 1);
	CHECK_EQ(siginterrupt(SIGUSR1, 1), 0);
	show("siginterrupt", SIG_DFL);
	show("signal", signal(SIGUSR1, on_signal));
	CHECK_EQ(siginterrupt(SIGUSR1, 0), 0);
	show("sysv_signal", sysv_signal(SIGUSR1, on_signal));
	CHECK_EQ(raise(SIGUSR1), 0);
	CHECK_EQ(handled, 2);
	show("one shot", SIG_DFL);
	show("__sysv_signal", __sysv_signal(SIGUSR1, on_signal));
	show("sigset", sigset(SIGUSR1, on_signal));
	show("sigset hold", sigset(SIGUSR1, SIG_HOLD));
	CHECK_EQ(blocked(SIGUSR1), 1);
	CHECK_EQ(raise(SIGUSR1), 0);
	CHECK_EQ(handled, 2);
	show("sigset again", sigset(SIGUSR1, on_signal));
	CHECK_EQ(handled, 3);
	CHECK_EQ(sighold(SIGUSR1), 0);
	CHECK_EQ(tgkill(getpid(), gettid(), SIGUSR1), 0);
	CHECK_EQ(handled, 3);
	CHECK_EQ(sigrelse(SIGUSR1), 0);
	CHECK_EQ(handled, 4);
	CHECK_FAILS(sighold(1000), EINVAL);
	CHECK_FAILS(tgkill(getpid(), gettid(), 1000), EINVAL);
	CHECK_FAILS(tgkill(getpid(), 1 << 29, 0), ESRCH);
	CHECK_EQ(sigignore(SIGUSR1), 0);
	show("sigignore", SIG_DFL);
	CHECK_EQ(raise(SIGUSR1), 0);
	printf("%x\n", (unsigned)sigblock(1 << (SIGUSR2 - 1)));
	printf("%x\n", (unsigned)sigsetmask(0));
	CHECK_EQ(blocked(SIGUSR2), 0);
	CHECK_EQ(kill(getpid(), 0), 0);
	CHECK_FAILS(kill(getpid(), 1000), EINVAL);
	show("error", signal(1000, on_signal));
}

/* Each jump comes back here once; a mask only where it was saved. */
static void jumps(void)
{
	static jmp_buf env;
	static sigjmp_buf senv;
	static ucontext_t uc;
	static volatile int round;

	if (_setjmp(env) == 0)
		_longjmp(env, 1);
	if (_setjmp(env) == 0)
		__longjmp_chk(env, 1);
	if (sigsetjmp(senv, 1) == 0) {
		sigblock(1 << (SIGUSR2 - 1));
		siglongjmp(senv, 1);
	}
	CHECK_EQ(blocked(SIGUSR2), 0);
	round = 0;
	CHECK_EQ(getcontext(&uc), 0);
	if (round++ == 0) {
		sigblock(1 << (SIGUSR2 - 1));
		setcontext(&uc);
	}
	CHECK_EQ(round, 2);
	CHECK_EQ(blocked(SIGUSR2), 0);
	puts("jumps ok");
}

static void *body(void *arg)
{
	handlers();
	jumps();
	return arg;
}

int main(void)
{
	prog_init();
	prog_join(prog_start(body, NULL));
	return 0;
}
