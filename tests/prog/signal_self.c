/* SPDX-License-Identifier: MIT */
/*
 * Signals that the main thread sends to its own process: it has taken them when the call returns, though there are
 * other threads that admit them. A default action happens there, too, and not a moment later.
 */
#include "prog.h"

#include <signal.h>
#include <sys/wait.h>

#define ROUNDS	3000

static volatile sig_atomic_t handled, code, value;
static pthread_t main_thread;
static pthread_barrier_t begun;
static volatile int stop;

static void on_signal(int sig, siginfo_t *info, void *uc)
{
	CHECK(pthread_equal(pthread_self(), main_thread));
	handled++;
	code = info->si_code;
	value = info->si_code == SI_QUEUE ? info->si_value.sival_int : info->si_pid;
}

static void *other(void *arg)
{
	if (arg)
		pthread_barrier_wait(arg);
	while (!stop) {
		usleep(50);
		sched_yield();
	}
	return arg;
}

int main(void)
{
	struct sigaction act = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO }, was;
	pthread_t t[6];
	sigset_t set, pending;

	prog_init();
	main_thread = pthread_self();
	CHECK_EQ(sigaction(SIGUSR1, &act, NULL), 0);
	CHECK_EQ(sigaction(SIGRTMIN, &act, NULL), 0);
	CHECK_EQ(pthread_barrier_init(&begun, NULL, 7), 0);
	for (int i = 0; i < 6; i++)
		t[i] = prog_start(other, &begun);
	/* who opens its mask, as a thread does when it begins, may take what is on its way to main */
	pthread_barrier_wait(&begun);
	for (int i = 0; i < ROUNDS; i++) {
		CHECK_EQ(kill(getpid(), SIGUSR1), 0);
		CHECK_EQ(handled, 3 * i + 1);
		CHECK(code == SI_USER && value == getpid());
		CHECK_EQ(sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_int = i }), 0);
		CHECK_EQ(handled, 3 * i + 2);
		CHECK(code == SI_QUEUE && value == i);
		CHECK_EQ(syscall(SYS_kill, getpid(), SIGUSR1), 0);
		CHECK_EQ(handled, 3 * i + 3);
		if (i % 100 == 0)
			usleep(100);	/* to come back on another kernel thread */
	}
	/* the usual way to die of a caught signal: the action taken back while the handler's effect is in */
	for (int i = 0; i < 200; i++) {
		CHECK_EQ(sigaction(SIGUSR2, &act, &was), 0);
		CHECK_EQ(kill(getpid(), SIGUSR2), 0);
		CHECK_EQ(sigaction(SIGUSR2, &was, NULL), 0);
	}
	CHECK_EQ(handled, 3 * ROUNDS + 200);

	/* ignored, and blocked everywhere: pending until admitted */
	signal(SIGUSR2, SIG_IGN);
	CHECK_EQ(kill(getpid(), SIGUSR2), 0);
	CHECK_FAILS(kill(getpid(), 65), EINVAL);
	CHECK_FAILS(sigqueue(getpid(), 65, (union sigval){ 0 }), EINVAL);
	CHECK_EQ(kill(getpid(), 0), 0);
	stop = 1;
	for (int i = 0; i < 6; i++)
		prog_join(t[i]);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	CHECK_EQ(kill(getpid(), SIGUSR1), 0);
	CHECK_EQ(handled, 3 * ROUNDS + 200);
	CHECK_EQ(sigpending(&pending), 0);
	CHECK_EQ(sigismember(&pending, SIGUSR1), 1);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	CHECK_EQ(handled, 3 * ROUNDS + 201);
	puts("taken");

	signal(SIGXCPU, SIG_DFL);
	for (int i = 0; i < 10; i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			stop = 0;
			prog_join(prog_start(other, (stop = 1, NULL)));
			kill(getpid(), SIGXCPU);
			_exit(0);
		}
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU);
	}
	puts("died");
	return 0;
}
