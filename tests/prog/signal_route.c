/* SPDX-License-Identifier: MIT */
/*
 * Which thread has a signal: SIGPIPE and SIGXFSZ are for the one that writes; one for the process goes on to another
 * thread when the one it was meant for ends or blocks it; one for a thread and one for the process are two. What is
 * discarded when a signal becomes ignored, how many are queued, what a signalfd sees, and that a handler finds the
 * instruction that it interrupted.
 */
#include "prog.h"

#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <ucontext.h>

static sem_t ready, go;
static volatile int hits, on_target, stop;
static __thread volatile int mine;

static void count(int sig)
{
	mine++;
	__atomic_add_fetch(&hits, 1, __ATOMIC_SEQ_CST);
}

static void install(int sig, int flags)
{
	struct sigaction sa = { .sa_handler = count, .sa_flags = flags };

	CHECK_EQ(sigaction(sig, &sa, NULL), 0);
}

static void block(int how, int sig)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	CHECK_EQ(pthread_sigmask(how, &set, NULL), 0);
}

static void *breaks_pipe(void *arg)
{
	int p[2];

	CHECK_EQ(pipe(p), 0);
	close(p[0]);
	for (int i = 1; i <= 50; i++) {
		CHECK_FAILS(write(p[1], "x", 1), EPIPE);
		CHECK_EQ(mine, i);
		usleep(10);
	}
	close(p[1]);
	return arg;
}

static void *breaks_limit(void *arg)
{
	char name[] = "/tmp/signal_routeXXXXXX";
	int fd = mkstemp(name);

	CHECK(fd >= 0);
	unlink(name);
	CHECK_EQ(lseek(fd, 1 << 20, SEEK_SET), 1 << 20);
	mine = 0;
	CHECK_FAILS(write(fd, "x", 1), EFBIG);
	CHECK_EQ(mine, 1);
	close(fd);
	return arg;
}

static void writers(void)
{
	struct rlimit was, lim;
	pthread_t t[8];

	install(SIGPIPE, SA_RESTART);
	install(SIGXFSZ, SA_RESTART);
	for (int i = 0; i < 8; i++)
		t[i] = prog_start(breaks_pipe, NULL);
	for (int i = 0; i < 8; i++)
		prog_join(t[i]);
	CHECK_EQ(mine, 0);
	CHECK_EQ(getrlimit(RLIMIT_FSIZE, &was), 0);
	lim = was;
	lim.rlim_cur = 1 << 20;
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &lim), 0);
	for (int i = 0; i < 8; i++)
		prog_join(prog_start(breaks_limit, NULL));
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &was), 0);
	CHECK_EQ(mine, 0);
	puts("SIGPIPE, SIGXFSZ ok");
}

/* Threads that admit the signal for a moment only; each signal must find one of them. */
static void *short_lived(void *arg)
{
	block(SIG_UNBLOCK, SIGRTMIN);
	for (int i = 0; i < 3; i++)
		sched_yield();
	if (arg != NULL)
		block(SIG_BLOCK, SIGRTMIN);
	return arg;
}

static void *makes_them(void *arg)
{
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		pthread_t a = prog_start(short_lived, NULL), b = prog_start(short_lived, (void *)1);

		prog_join(a);
		prog_join(b);
	}
	return arg;
}

static void moves_on(void)
{
	pthread_t t;

	install(SIGRTMIN, SA_RESTART);
	block(SIG_BLOCK, SIGRTMIN);
	hits = stop = 0;
	t = prog_start(makes_them, NULL);
	for (int i = 0; i < 3000; i++) {
		CHECK_EQ(sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_int = i }), 0);
		if (i % 16 == 0)
			usleep(50);
	}
	while (hits < 3000)
		usleep(1000);
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	prog_join(t);
	CHECK_EQ(hits, 3000);
	CHECK_EQ(mine, 0);
	puts("moves on ok");
}

static void *two_kinds(void *arg)
{
	sigset_t set;
	siginfo_t si;

	block(SIG_BLOCK, SIGUSR1);
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(pthread_kill(pthread_self(), SIGUSR1), 0);
		CHECK_EQ(kill(getpid(), SIGUSR1), 0);
	}
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	CHECK_EQ(sigwaitinfo(&set, &si), SIGUSR1);
	CHECK_EQ(sigwaitinfo(&set, &si), SIGUSR1);
	CHECK_FAILS(sigtimedwait(&set, &si, &(struct timespec){ 0, 0 }), EAGAIN);
	return arg;
}

static void *discarded(void *arg)
{
	sigset_t pending;

	block(SIG_BLOCK, SIGUSR2);
	CHECK_EQ(raise(SIGUSR2), 0);
	sem_post(&ready);
	while (sem_wait(&go) != 0)
		;
	CHECK_EQ(sigpending(&pending), 0);
	CHECK_EQ(sigismember(&pending, SIGUSR2), 0);
	block(SIG_UNBLOCK, SIGUSR2);
	CHECK_EQ(mine, 0);
	CHECK_EQ(raise(SIGUSR2), 0);
	CHECK_EQ(mine, 1);
	return arg;
}

static void pending_sets(void)
{
	pthread_t t;

	install(SIGUSR1, 0);
	block(SIG_BLOCK, SIGUSR1);
	prog_join(prog_start(two_kinds, NULL));
	block(SIG_UNBLOCK, SIGUSR1);
	puts("two kinds ok");

	install(SIGUSR2, 0);
	t = prog_start(discarded, NULL);
	sem_wait(&ready);
	CHECK(signal(SIGUSR2, SIG_IGN) == count);
	install(SIGUSR2, 0);
	sem_post(&go);
	prog_join(t);
	puts("discarded ok");
}

static void queue_limit(void)
{
	struct rlimit was, lim;
	int n = 0, got = 0;
	sigset_t set;

	block(SIG_BLOCK, SIGRTMIN + 1);
	CHECK_EQ(getrlimit(RLIMIT_SIGPENDING, &was), 0);
	lim = was;
	lim.rlim_cur = 20;
	CHECK_EQ(setrlimit(RLIMIT_SIGPENDING, &lim), 0);
	while (n < 100 && pthread_sigqueue(pthread_self(), SIGRTMIN + 1, (union sigval){ .sival_int = n }) == 0)
		n++;
	CHECK(n <= 20);
	CHECK_EQ(pthread_sigqueue(pthread_self(), SIGRTMIN + 1, (union sigval){ 0 }), EAGAIN);
	CHECK_EQ(setrlimit(RLIMIT_SIGPENDING, &was), 0);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1);
	for (siginfo_t si; sigtimedwait(&set, &si, &(struct timespec){ 0, 0 }) > 0; got++)
		CHECK_EQ(si.si_value.sival_int, got);
	CHECK_EQ(got, n);
	puts("queue limit ok");
}

static void *reads_signalfd(void *arg)
{
	int fd = (int)(long)arg;
	struct signalfd_siginfo si;

	for (int i = 0; i < 3; i++) {
		CHECK_EQ(read(fd, &si, sizeof(si)), (long)sizeof(si));
		CHECK_EQ(si.ssi_signo, SIGHUP);
		sem_post(&ready);
	}
	return arg;
}

static void signalfds(void)
{
	sigset_t set;
	struct pollfd p;
	pthread_t t;
	int fd;
	struct signalfd_siginfo si;

	block(SIG_BLOCK, SIGHUP);
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_EQ(raise(SIGHUP), 0);
	p = (struct pollfd){ fd, POLLIN, 0 };
	CHECK_EQ(poll(&p, 1, -1), 1);
	CHECK_EQ(read(fd, &si, sizeof(si)), (long)sizeof(si));
	CHECK_EQ(si.ssi_signo, SIGHUP);
	t = prog_start(reads_signalfd, (void *)(long)fd);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(kill(getpid(), SIGHUP), 0);
		sem_wait(&ready);
	}
	prog_join(t);
	close(fd);
	puts("signalfd ok");
}

static volatile int spun;

__attribute__((noinline, aligned(64))) static void spins(void)
{
	while (!stop)
		spun++;
}

__attribute__((noinline, aligned(64))) static void after_spins(void)
{
	spun = 0;
}

static void looks(int sig, siginfo_t *si, void *uc)
{
	uintptr_t pc = (uintptr_t)((ucontext_t *)uc)->uc_mcontext.gregs[REG_RIP];
	uintptr_t a = (uintptr_t)spins, b = (uintptr_t)after_spins;

	if (a < b ? pc >= a && pc < b : pc >= a && pc < a + 64)
		on_target++;
	hits++;
}

static void *spinner(void *arg)
{
	sem_post(&ready);
	spins();
	after_spins();
	return arg;
}

static void exact_context(void)
{
	struct sigaction sa = { .sa_sigaction = looks, .sa_flags = SA_SIGINFO | SA_RESTART };
	pthread_t t;

	CHECK_EQ(sigaction(SIGUSR1, &sa, NULL), 0);
	hits = on_target = stop = 0;
	t = prog_start(spinner, NULL);
	sem_wait(&ready);
	while (spun == 0)
		usleep(100);
	for (int i = 1; i <= 40; i++) {
		CHECK_EQ(pthread_kill(t, SIGUSR1), 0);
		while (hits < i)
			sched_yield();
	}
	stop = 1;
	prog_join(t);
	CHECK_EQ(hits, 40);
	CHECK(on_target >= 36);
	puts("context ok");
}

/* The end of the process by a signal that one of many threads sends to it. */
static void *idles(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void dies(int sig)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		if (freopen("/dev/null", "w", stderr) == NULL)
			_exit(3);
		signal(sig, SIG_DFL);
		for (int i = 0; i < 4; i++)
			prog_start(idles, NULL);
		kill(getpid(), sig);
		_exit(1); /* not before it is dead */
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status));
	CHECK_EQ(WTERMSIG(status), sig);
}

int main(void)
{
	prog_init();
	sem_init(&ready, 0, 0);
	sem_init(&go, 0, 0);
	writers();
	moves_on();
	pending_sets();
	queue_limit();
	signalfds();
	exact_context();
	dies(SIGQUIT);
	dies(SIGTERM);
	dies(SIGABRT);
	dies(SIGSEGV);
	puts("dies ok");
	return 0;
}
