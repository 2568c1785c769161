/* SPDX-License-Identifier: MIT */
/*
 * Waiting for signals, by many threads at once and with few kernel threads: sigwait, sigwaitinfo, sigtimedwait,
 * sigsuspend, pause, and ppoll, pselect, epoll_pwait with a mask. Signals for a thread and for the process, real-time
 * ones in their order, one handler per exchange of masks, the mask afterwards.
 */
#include "prog.h"

#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>

#define MANY 1000

static sem_t ready, done;
static volatile int handled, order[8];
static int taken;

static void on_signal(int sig)
{
	if (handled < 8)
		order[handled] = sig;
	__atomic_add_fetch(&handled, 1, __ATOMIC_SEQ_CST); /* many threads at once */
}

static sigset_t set_of(int sig)
{
	sigset_t s;

	sigemptyset(&s);
	if (sig)
		sigaddset(&s, sig);
	return s;
}

static void install(int sig, int flags, int fill)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = flags };

	if (fill)
		sigfillset(&sa.sa_mask);
	CHECK_EQ(sigaction(sig, &sa, NULL), 0);
}

static void *waits_usr1(void *arg)
{
	sigset_t s = set_of(SIGUSR1);
	int sig = 0;

	sem_post(&ready);
	CHECK_EQ(sigwait(&s, &sig), 0);
	CHECK_EQ(sig, SIGUSR1);
	__atomic_add_fetch(&taken, 1, __ATOMIC_RELAXED);
	sem_post(&done);
	return arg;
}

/* Half of them by pthread_kill, half by kill, which any of them may take. */
static void many_sigwait(void)
{
	static pthread_t t[MANY];

	taken = 0;
	for (int i = 0; i < MANY; i++)
		t[i] = prog_start(waits_usr1, NULL);
	for (int i = 0; i < MANY; i++)
		sem_wait(&ready);
	prog_nap_ms(20);
	prog_few_kthreads(MANY);
	for (int i = 0; i < MANY / 2; i++) {
		CHECK_EQ(pthread_kill(t[i], SIGUSR1), 0);
		sem_wait(&done);
	}
	for (int i = MANY / 2; i < MANY; i++) {
		CHECK_EQ(kill(getpid(), SIGUSR1), 0);
		sem_wait(&done); /* a standard signal is not queued twice */
	}
	for (int i = 0; i < MANY; i++)
		prog_join(t[i]);
	CHECK_EQ(taken, MANY);
	puts("sigwait ok");
}

static void *suspends(void *arg)
{
	sigset_t none = set_of(0), now;

	sem_post(&ready);
	CHECK_FAILS(sigsuspend(&none), EINTR);
	CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &now), 0);
	CHECK_EQ(sigismember(&now, SIGUSR2), 1);
	sem_post(&done);
	return arg;
}

static void many_sigsuspend(void)
{
	static pthread_t t[MANY];

	handled = 0;
	for (int i = 0; i < MANY; i++)
		t[i] = prog_start(suspends, NULL);
	for (int i = 0; i < MANY; i++)
		sem_wait(&ready);
	prog_nap_ms(20);
	prog_few_kthreads(MANY);
	for (int i = 0; i < MANY / 2; i++) {
		CHECK_EQ(pthread_kill(t[i], SIGUSR2), 0);
		prog_join(t[i]);
		sem_wait(&done);
	}
	/* the rest by signals for the process: each ends one of them */
	for (int i = MANY / 2; i < MANY; i++) {
		CHECK_EQ(kill(getpid(), SIGUSR2), 0);
		sem_wait(&done);
	}
	for (int i = MANY / 2; i < MANY; i++)
		prog_join(t[i]);
	CHECK_EQ(handled, MANY);
	puts("sigsuspend ok");
}

static void *pauses(void *arg)
{
	sem_post(&ready);
	while (handled == 0)
		if (pause() != -1 || errno != EINTR)
			_exit(1);
	return arg;
}

static void paused(void)
{
	pthread_t t;

	handled = 0;
	t = prog_start(pauses, NULL);
	sem_wait(&ready);
	prog_nap_ms(10);
	CHECK_EQ(pthread_kill(t, SIGHUP), 0);
	prog_join(t);
	CHECK_EQ(handled, 1);
	puts("pause ok");
}

static void realtime(void)
{
	sigset_t s = set_of(SIGRTMIN);
	struct timespec zero = { 0, 0 }, soon = { 0, 30000000 }, bad = { 0, -1 };
	siginfo_t si;
	int64_t t0;

	sigaddset(&s, SIGRTMIN + 1);
	for (int i = 0; i < 5; i++)
		CHECK_EQ(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){ .sival_int = i }), 0);
	for (int i = 5; i < 8; i++)
		CHECK_EQ(pthread_sigqueue(pthread_self(), SIGRTMIN, (union sigval){ .sival_int = i }), 0);
	for (int i = 5; i < 8; i++) {
		CHECK_EQ(sigwaitinfo(&s, &si), SIGRTMIN);
		CHECK_EQ(si.si_value.sival_int, i);
		CHECK_EQ(si.si_code, SI_QUEUE);
	}
	for (int i = 0; i < 5; i++) {
		CHECK_EQ(sigtimedwait(&s, &si, &zero), SIGRTMIN + 1);
		CHECK_EQ(si.si_value.sival_int, i);
		CHECK_EQ(si.si_pid, getpid());
	}
	CHECK_FAILS(sigtimedwait(&s, &si, &zero), EAGAIN);
	CHECK_FAILS(sigtimedwait(&s, &si, &bad), EINVAL);
	t0 = prog_now_ns(CLOCK_MONOTONIC);
	CHECK_FAILS(sigtimedwait(&s, &si, &soon), EAGAIN);
	CHECK(prog_now_ns(CLOCK_MONOTONIC) - t0 >= 30000000);
	CHECK_EQ(pthread_kill(pthread_self(), SIGRTMIN), 0);
	CHECK_EQ(sigwaitinfo(&s, &si), SIGRTMIN);
	CHECK_EQ(si.si_code, SI_USER);
	CHECK_EQ(pthread_kill(pthread_self(), SIGRTMIN), 0);
	CHECK_EQ(syscall(SYS_rt_sigtimedwait, &s, &si, NULL, 8), SIGRTMIN);
	CHECK_EQ(si.si_code, SI_TKILL);
	puts("real-time ok");
}

static int pipefd[2], epfd;

/* One call with a mask that admits SIGRTMIN to +2; -1 and errno, or the number of ready descriptors. */
static int masked(int how, int fd, long ms)
{
	sigset_t mask;
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 }, *tp = ms < 0 ? NULL : &ts;
	struct pollfd p = { fd, POLLIN, 0 };
	struct epoll_event ev;
	fd_set rd;

	CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
	for (int i = 0; i < 3; i++)
		sigdelset(&mask, SIGRTMIN + i);
	switch (how) {
	case 0:
		return ppoll(&p, 1, tp, &mask);
	case 1:
		FD_ZERO(&rd);
		FD_SET(fd, &rd);
		return pselect(fd + 1, &rd, NULL, NULL, tp, &mask);
	case 2:
		return epoll_pwait(epfd, &ev, 1, (int)ms, &mask);
	case 3:
		return epoll_pwait2(epfd, &ev, 1, tp, &mask);
	default:
		return ppoll(NULL, 0, tp, &mask);
	}
}

static void *masked_waits(void *arg)
{
	sem_post(&ready);
	CHECK_FAILS(masked((int)(long)arg, pipefd[0], -1), EINTR);
	sem_post(&done);
	return arg;
}

static void masks(void)
{
	static const char *const name[] = { "ppoll", "pselect", "epoll_pwait", "epoll_pwait2", "ppoll of nothing" };
	struct epoll_event ev = { .events = EPOLLIN };
	static pthread_t t[200];
	sigset_t before, after;
	char c;

	CHECK_EQ(pipe(pipefd), 0);
	epfd = epoll_create1(0);
	CHECK(epfd >= 0);
	CHECK_EQ(epoll_ctl(epfd, EPOLL_CTL_ADD, pipefd[0], &ev), 0);
	CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &before), 0);
	for (int how = 0; how < 5; how++) {
		int epoll = how == 2 || how == 3;
		int64_t t0;

		/* pending before: the handler runs in the call, one of two, as its own mask blocks the other */
		handled = 0;
		install(SIGRTMIN, 0, 1);
		install(SIGRTMIN + 1, SA_RESTART, 1);
		CHECK_EQ(raise(SIGRTMIN), 0);
		CHECK_EQ(kill(getpid(), SIGRTMIN + 1), 0);
		CHECK_EQ(handled, 0);
		CHECK_FAILS(masked(how, pipefd[0], -1), EINTR);
		CHECK_EQ(handled, 1);
		CHECK_EQ(order[0], SIGRTMIN);
		CHECK_FAILS(masked(how, pipefd[0], 10000), EINTR);
		CHECK_EQ(handled, 2);
		/* not to wait at all: poll and select tell of the signal, epoll does not */
		CHECK_EQ(raise(SIGRTMIN), 0);
		if (epoll)
			CHECK_EQ(masked(how, pipefd[0], 0), 0);
		else
			CHECK_FAILS(masked(how, pipefd[0], 0), EINTR);
		CHECK_EQ(handled, epoll ? 2 : 3);
		if (epoll)
			CHECK_FAILS(masked(how, pipefd[0], -1), EINTR);
		CHECK_EQ(handled, 3);
		/* a descriptor that is ready comes first, the signal stays pending */
		if (how < 4) {
			CHECK_EQ(write(pipefd[1], "x", 1), 1);
			CHECK_EQ(raise(SIGRTMIN), 0);
			CHECK_EQ(masked(how, pipefd[0], -1), 1);
			CHECK_EQ(handled, 3);
			CHECK_EQ(sigpending(&after), 0);
			CHECK_EQ(sigismember(&after, SIGRTMIN), 1);
			CHECK_EQ(read(pipefd[0], &c, 1), 1);
			CHECK_FAILS(masked(how, pipefd[0], -1), EINTR);
			CHECK_EQ(handled, 4);
		}
		/* time */
		t0 = prog_now_ns(CLOCK_MONOTONIC);
		CHECK_EQ(masked(how, pipefd[0], 30), 0);
		CHECK(prog_now_ns(CLOCK_MONOTONIC) - t0 >= 30000000);
		CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
		CHECK_EQ(memcmp(&before, &after, 8), 0); /* what the kernel writes */
		/* many at once, each its own signal, and the process's for any of them */
		handled = 0;
		for (int i = 0; i < 200; i++)
			t[i] = prog_start(masked_waits, (void *)(long)how);
		for (int i = 0; i < 200; i++)
			sem_wait(&ready);
		prog_nap_ms(10);
		prog_few_kthreads(200);
		for (int i = 0; i < 100; i++)
			CHECK_EQ(pthread_kill(t[i], SIGRTMIN), 0);
		for (int i = 0; i < 100; i++)
			prog_join(t[i]);
		for (int i = 0; i < 100; i++)
			sem_wait(&done);
		for (int i = 100; i < 200; i++) {
			CHECK_EQ(kill(getpid(), SIGRTMIN), 0);
			sem_wait(&done);
		}
		for (int i = 100; i < 200; i++)
			prog_join(t[i]);
		CHECK_EQ(handled, 200);
		printf("%s ok\n", name[how]);
	}
}

int main(void)
{
	sigset_t block;

	prog_init();
	sem_init(&ready, 0, 0);
	sem_init(&done, 0, 0);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	sigaddset(&block, SIGUSR2);
	for (int i = 0; i < 3; i++)
		sigaddset(&block, SIGRTMIN + i);
	CHECK_EQ(pthread_sigmask(SIG_BLOCK, &block, NULL), 0);
	install(SIGUSR2, 0, 0);
	install(SIGHUP, SA_RESTART, 0);
	many_sigwait();
	many_sigsuspend();
	paused();
	realtime();
	masks();
	return 0;
}
