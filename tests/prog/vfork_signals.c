/* SPDX-License-Identifier: MIT */
/*
 * The child of vfork changes signal actions and its mask before it execs, as launchers of processes do: the parent's
 * own stay as they were. Before there are threads, and with them.
 */
#include "prog.h"

#include <signal.h>
#include <sys/wait.h>

static volatile sig_atomic_t handled;

static void on_usr1(int sig)
{
	handled += sig == SIGUSR1;
}

static void launch(void)
{
	sigset_t all, old, now;
	struct sigaction dfl = { .sa_handler = SIG_DFL }, got;
	int status, before = handled;
	pid_t pid;

	sigfillset(&all);
	CHECK_EQ(pthread_sigmask(SIG_SETMASK, &all, &old), 0);
	pid = vfork();
	if (pid == 0) {
		struct sigaction was;

		if (sigaction(SIGUSR1, &dfl, &was) != 0 || was.sa_handler != on_usr1)
			_exit(1);
		if (pthread_sigmask(SIG_SETMASK, &old, NULL) != 0)
			_exit(2);
		kill(getpid(), SIGUSR1);
		_exit(3);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);

	/* still blocked here, and the handler in place */
	CHECK_EQ(pthread_kill(pthread_self(), SIGUSR1), 0);
	CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &now), 0);
	CHECK_EQ(sigismember(&now, SIGUSR1), 1);
	CHECK_EQ(handled, before);
	CHECK_EQ(pthread_sigmask(SIG_SETMASK, &old, NULL), 0);
	while (handled == before)
		prog_nap_ms(1);
	CHECK_EQ(sigaction(SIGUSR1, NULL, &got), 0);
	CHECK(got.sa_handler == on_usr1);
}

static void *napper(void *arg)
{
	prog_nap_ms(50);
	return arg;
}

int main(void)
{
	struct sigaction act = { .sa_handler = on_usr1 };
	pthread_t t;

	CHECK_EQ(sigaction(SIGUSR1, &act, NULL), 0);
	launch();
	prog_init();
	t = prog_start(napper, NULL);
	for (int i = 0; i < 20; i++)
		launch();
	prog_join(t);
	printf("handled %d\n", handled);
	return 0;
}
