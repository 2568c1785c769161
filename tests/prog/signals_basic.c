/* SPDX-License-Identifier: MIT */
/*
 * Signals and threads: pthread_kill runs the handler on the very thread in every blocking call,
 * with EINTR or restart as signal(7) says; raise, masks per thread, process-directed signals,
 * sigwait, alarm.
 *
 * That a thread is blocked cannot be seen, so the sender repeats until the call has returned
 * (EINTR), or until the handler has run a few times (restart): a signal that comes too early only
 * costs a round.
 */
#include "prog.h"

#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>

enum call {
	NANOSLEEP,
	CLOCK_NANOSLEEP,
	READ_PIPE,
	RECV,
	SEM_WAIT,
	SEM_TIMEDWAIT,
	COND_WAIT,
	PAUSE,
	POLL,
	SELECT,
	EPOLL_WAIT,
	SIGWAIT,
	SIGTIMEDWAIT,
	SIGSUSPEND,
	MUTEX_LOCK,
	JOIN,
	USLEEP,
	CALLS
};

static const char *const names[CALLS] = { "nanosleep",
					  "clock_nanosleep",
					  "read",
					  "recv",
					  "sem_wait",
					  "sem_timedwait",
					  "pthread_cond_wait",
					  "pause",
					  "poll",
					  "select",
					  "epoll_wait",
					  "sigwait",
					  "sigtimedwait",
					  "sigsuspend",
					  "pthread_mutex_lock",
					  "pthread_join",
					  "usleep" };

/*
 * With SA_RESTART these go on, the others fail with EINTR. sem_timedwait is among the others:
 * signal(7) says it is restarted, but the kernel ends a futex wait that has a timeout with EINTR.
 */
static int restarts(enum call call)
{
	return call == READ_PIPE || call == RECV || call == SEM_WAIT;
}

/* These never return EINTR at all: they are released by what they wait for. */
static int never_interrupted(enum call call)
{
	return call == COND_WAIT || call == SIGWAIT || call == MUTEX_LOCK || call == JOIN;
}

static int handled, wrong_thread, returned;
static pthread_t target;
static int pipefd[2], sockfd[2], epfd;
static sem_t sem, go, end;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER, held = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int cond_flag;
static pthread_t joined;

static void handler(int sig)
{
	(void)sig;
	if (!pthread_equal(pthread_self(), target))
		__atomic_store_n(&wrong_thread, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&handled, 1, __ATOMIC_RELEASE);
}

static void *waits_end(void *arg)
{
	CHECK_EQ(sem_wait(&end), 0);
	return arg;
}

/* 0 for success, else the errno of the call. */
static int do_call(enum call call)
{
	struct timespec ts = { .tv_sec = 1000 }, left = { 0 },
			far = prog_after_ms(CLOCK_REALTIME, 1000000);
	struct pollfd p = { .fd = pipefd[0], .events = POLLIN };
	struct epoll_event ev;
	sigset_t set;
	fd_set rd;
	int sig, err;
	char c;

	sigemptyset(&set);
	switch (call) {
	case NANOSLEEP:
		if (nanosleep(&ts, &left) == 0)
			return 0;
		err = errno;
		CHECK(left.tv_sec > 0 && left.tv_sec < 1000);
		return err;
	case CLOCK_NANOSLEEP:
		return clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
	case READ_PIPE:
		return read(pipefd[0], &c, 1) == 1 ? 0 : errno;
	case RECV:
		return recv(sockfd[0], &c, 1, 0) == 1 ? 0 : errno;
	case SEM_WAIT:
		return sem_wait(&sem) ? errno : 0;
	case SEM_TIMEDWAIT:
		return sem_timedwait(&sem, &far) ? errno : 0;
	case COND_WAIT:
		pthread_mutex_lock(&lock);
		while (!cond_flag)
			CHECK_EQ(pthread_cond_wait(&cond, &lock), 0);
		pthread_mutex_unlock(&lock);
		return 0;
	case PAUSE:
		return pause() ? errno : 0;
	case POLL:
		return poll(&p, 1, -1) < 0 ? errno : 0;
	case SELECT:
		FD_ZERO(&rd);
		FD_SET(pipefd[0], &rd);
		return select(pipefd[0] + 1, &rd, NULL, NULL, NULL) < 0 ? errno : 0;
	case EPOLL_WAIT:
		return epoll_wait(epfd, &ev, 1, -1) < 0 ? errno : 0;
	case SIGWAIT:
		sigaddset(&set, SIGUSR2);
		err = sigwait(&set, &sig);
		CHECK(err || sig == SIGUSR2);
		return err;
	case SIGTIMEDWAIT:
		sigaddset(&set, SIGUSR2);
		return sigtimedwait(&set, NULL, &ts) < 0 ? errno : 0;
	case SIGSUSPEND:
		sigaddset(&set, SIGUSR2);
		return sigsuspend(&set) ? errno : 0;
	case MUTEX_LOCK:
		CHECK_EQ(pthread_mutex_lock(&held), 0);
		return pthread_mutex_unlock(&held);
	case JOIN:
		return pthread_join(joined, NULL);
	default:
		return usleep(900000000) ? errno : 0;
	}
}

static void release(enum call call)
{
	switch (call) {
	case READ_PIPE:
		CHECK_EQ(write(pipefd[1], "x", 1), 1);
		break;
	case RECV:
		CHECK_EQ(send(sockfd[1], "x", 1, 0), 1);
		break;
	case SEM_WAIT:
	case SEM_TIMEDWAIT:
		sem_post(&sem);
		break;
	case COND_WAIT:
		pthread_mutex_lock(&lock);
		cond_flag = 1;
		pthread_cond_signal(&cond);
		pthread_mutex_unlock(&lock);
		break;
	case SIGWAIT:
		CHECK_EQ(pthread_kill(target, SIGUSR2), 0);
		break;
	case MUTEX_LOCK:
		pthread_mutex_unlock(&held);
		break;
	case JOIN:
		sem_post(&end);
		break;
	default:
		CHECK(!"reached");
	}
}

static void *calls(void *arg)
{
	sigset_t set;
	int err;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	__atomic_store_n(&target, pthread_self(), __ATOMIC_RELEASE);
	sem_post(&go);
	err = do_call((enum call)(long)arg);
	__atomic_store_n(&returned, 1, __ATOMIC_RELEASE);
	return (void *)(long)err;
}

static void check_call(enum call call, int restart)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = restart ? SA_RESTART : 0 };
	int goes_on = never_interrupted(call) || (restart && restarts(call));
	pthread_t t;
	long err;

	CHECK_EQ(sigaction(SIGUSR1, &sa, NULL), 0);
	handled = returned = cond_flag = 0;
	if (call == MUTEX_LOCK)
		pthread_mutex_lock(&held);
	if (call == JOIN)
		joined = prog_start(waits_end, NULL);
	t = prog_start(calls, (void *)(long)call);
	CHECK_EQ(sem_wait(&go), 0);
	for (int round = 0;; round++) {
		int before = __atomic_load_n(&handled, __ATOMIC_ACQUIRE);

		if (goes_on && round == 4)
			break;
		if (__atomic_load_n(&returned, __ATOMIC_ACQUIRE))
			break;
		prog_nap_ms(1);
		CHECK_EQ(pthread_kill(t, SIGUSR1), 0);
		while (goes_on && __atomic_load_n(&handled, __ATOMIC_ACQUIRE) == before)
			sched_yield();
	}
	if (goes_on) {
		CHECK_EQ(__atomic_load_n(&returned, __ATOMIC_ACQUIRE), 0);
		release(call);
	}
	err = (long)prog_join(t);
	CHECK_EQ(err, goes_on ? 0 : EINTR);
	CHECK(handled > 0);
	CHECK_EQ(wrong_thread, 0);
	printf("%s %s ok\n", names[call], restart ? "SA_RESTART" : "plain");
}

static __thread volatile sig_atomic_t tls_hits;

static void tls_handler(int sig)
{
	(void)sig;
	tls_hits++;
}

static void *raises(void *arg)
{
	for (int i = 1; i <= 10; i++) {
		CHECK_EQ(raise(SIGUSR1), 0);
		CHECK_EQ(tls_hits, i);		/* raise returns after the handler */
		CHECK_EQ(pthread_kill(pthread_self(), SIGUSR1), 0);
		tls_hits--;
	}
	return arg;
}

static void check_raise(void)
{
	struct sigaction sa = { .sa_handler = tls_handler };
	pthread_t ts[8];

	sigaction(SIGUSR1, &sa, NULL);
	for (int i = 0; i < 8; i++)
		ts[i] = prog_start(raises, NULL);
	for (int i = 0; i < 8; i++)
		prog_join(ts[i]);
	CHECK_EQ(tls_hits, 0);
	puts("raise ok");
}

static void *checks_mask(void *arg)
{
	sigset_t set, old, pending;

	/* inherited: SIGUSR2 blocked by the creator */
	CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &old), 0);
	CHECK(sigismember(&old, SIGUSR2));
	CHECK(!sigismember(&old, SIGHUP));
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGHUP);
	CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	raise(SIGUSR1);
	raise(SIGUSR1);
	CHECK_EQ(tls_hits, 0);
	CHECK_EQ(sigpending(&pending), 0);
	CHECK(sigismember(&pending, SIGUSR1));
	for (int i = 0; i < 20; i++)
		sched_yield();
	CHECK_EQ(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
	CHECK_EQ(tls_hits, 1);			/* standard signals do not queue */
	CHECK_EQ(sigpending(&pending), 0);
	CHECK(!sigismember(&pending, SIGUSR1));
	CHECK_EQ(pthread_sigmask(99, &set, NULL), EINVAL);
	CHECK_EQ(pthread_kill(pthread_self(), 1000), EINVAL);
	CHECK_EQ(pthread_kill(pthread_self(), 0), 0);
	return arg;
}

static void check_mask(void)
{
	sigset_t set, now;
	pthread_t ts[4];

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	for (int i = 0; i < 4; i++)
		ts[i] = prog_start(checks_mask, NULL);
	for (int i = 0; i < 4; i++)
		prog_join(ts[i]);
	CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &now), 0);
	CHECK(!sigismember(&now, SIGUSR1) && sigismember(&now, SIGUSR2));
	CHECK_EQ(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
	puts("mask ok");
}

static volatile int main_hits;
static pthread_t main_thread;

static void main_handler(int sig)
{
	(void)sig;
	if (pthread_equal(pthread_self(), main_thread))
		main_hits++;
	else
		main_hits = -1000;
}

static void *kills_process(void *arg)
{
	while (!__atomic_load_n(&returned, __ATOMIC_ACQUIRE)) {
		int had = main_hits;

		CHECK_EQ(kill(getpid(), SIGUSR1), 0);
		do
			prog_nap_ms(1);
		while (main_hits == had); /* the kernel gives another one to us as long as main has that one to take */
	}
	return arg;
}

static void check_process_directed(void)
{
	struct sigaction sa = { .sa_handler = main_handler };
	siginfo_t info;
	sigset_t set;
	pthread_t t;
	int sig;

	sigaction(SIGUSR1, &sa, NULL);
	returned = 0;
	t = prog_start(kills_process, NULL);
	CHECK_FAILS(pause(), EINTR);
	CHECK(main_hits > 0);
	__atomic_store_n(&returned, 1, __ATOMIC_RELEASE);
	prog_join(t);
	CHECK(main_hits > 0);
	puts("kill to main ok");

	/* blocked everywhere: sigwait takes it */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGRTMIN + 3);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	CHECK_EQ(kill(getpid(), SIGUSR2), 0);
	CHECK_EQ(sigwait(&set, &sig), 0);
	CHECK_EQ(sig, SIGUSR2);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){ .sival_int = 70 + i }),
			 0);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(sigwaitinfo(&set, &info), SIGRTMIN + 3);
		CHECK_EQ(info.si_value.sival_int, 70 + i);
	}
	CHECK_FAILS(sigtimedwait(&set, &info, &(struct timespec){ .tv_nsec = 5000000 }), EAGAIN);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	puts("sigwait ok");
}

/* The classic signal thread: everybody blocks, one thread sigwaits for the process. */
static void *signal_thread(void *arg)
{
	sigset_t set;
	int sig, n = 0;

	(void)arg;
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	for (;;) {
		CHECK_EQ(sigwait(&set, &sig), 0);
		if (sig == SIGTERM)
			return (void *)(long)n;
		n++;
		sem_post(&sem);
	}
}

static void check_signal_thread(void)
{
	sigset_t set;
	pthread_t t;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	t = prog_start(signal_thread, NULL);
	for (int i = 0; i < 50; i++) {
		CHECK_EQ(kill(getpid(), SIGHUP), 0);
		while (sem_wait(&sem) == -1)
			CHECK_EQ(errno, EINTR);
	}
	CHECK_EQ(kill(getpid(), SIGTERM), 0);
	CHECK_EQ((long)prog_join(t), 50);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	puts("signal thread ok");
}

static void check_alarm(void)
{
	struct sigaction sa = { .sa_handler = main_handler };

	main_hits = 0;
	sigaction(SIGALRM, &sa, NULL);
	CHECK_EQ(alarm(1), 0);
	CHECK_FAILS(pause(), EINTR);
	CHECK_EQ(main_hits, 1);
	CHECK_EQ(alarm(0), 0);
	puts("alarm ok");
}

int main(void)
{
	struct epoll_event ev = { .events = EPOLLIN };

	prog_init();
	main_thread = pthread_self();
	CHECK_EQ(pipe(pipefd), 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sockfd), 0);
	epfd = epoll_create1(0);
	CHECK_EQ(epoll_ctl(epfd, EPOLL_CTL_ADD, pipefd[0], &ev), 0);
	sem_init(&sem, 0, 0);
	sem_init(&go, 0, 0);
	sem_init(&end, 0, 0);
	for (int call = 0; call < CALLS; call++) {
		check_call((enum call)call, 0);
		check_call((enum call)call, 1);
	}
	check_raise();
	check_mask();
	check_process_directed();
	check_signal_thread();
	check_alarm();
	return 0;
}
