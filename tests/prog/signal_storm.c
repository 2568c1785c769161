/* SPDX-License-Identifier: MIT */
/*
 * Signal storms during lock, I/O and fork load, from six senders at once. Real-time signals with numbers, by
 * pthread_sigqueue to threads in their turn, by sigqueue to the process, and the same from another process: none is
 * lost, doubled, or runs on the wrong thread; those of one sender to one thread come in their order. Standard signals,
 * by pthread_kill and tgkill to threads, by kill, and by kill from another process: nobody gets more than were sent,
 * and one comes after the last.
 *
 * The threads also wait all the time. signal_storm SCALE: so many times as many, and what it took goes to stderr.
 */
#include "prog.h"

#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define WORKERS	  8
#define IN_FLIGHT 500 /* of each kind of real-time signals, for RLIMIT_SIGPENDING */

/* How many of each kind. */
static int directed = 8000, shared = 4000, outside = 4000, standard = 8000;
static int idle;

static pthread_t worker[WORKERS];
static pid_t tid[WORKERS];
static volatile int stop;
static int ready; /* workers that know who they are */
static __thread int me = -1;
static int last[WORKERS], misdirected, disorder, twice;
static unsigned char *got_shared, *got_outside;
static int n_directed, n_shared, n_outside;

/* Standard signals: sent before the call, seen and counted by the handler. */
struct count {
	int sent, seen, handled;
};
static struct count to_thread[WORKERS], to_process, *from_outside /* shared with the child */;
static int too_many;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long under_lock;
static int pipes[2][2];
static sem_t never;

static void on_directed(int sig, siginfo_t *si, void *uc)
{
	int n = si->si_value.sival_int;

	if (me != n % WORKERS)
		__atomic_add_fetch(&misdirected, 1, __ATOMIC_RELAXED);
	else if (n <= last[me])
		__atomic_add_fetch(&disorder, 1, __ATOMIC_RELAXED);
	else
		last[me] = n;
	__atomic_add_fetch(&n_directed, 1, __ATOMIC_RELEASE);
}

static void on_process(int sig, siginfo_t *si, void *uc)
{
	int n = si->si_value.sival_int, out = sig == SIGRTMIN + 2;

	if (__atomic_exchange_n(&(out ? got_outside : got_shared)[n], 1, __ATOMIC_RELAXED))
		__atomic_add_fetch(&twice, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(out ? &n_outside : &n_shared, 1, __ATOMIC_RELEASE);
}

static void on_standard(int sig, siginfo_t *si, void *uc)
{
	struct count *c = sig == SIGUSR2 ? &to_process : sig == SIGHUP ? from_outside : NULL;
	int sent, seen;

	if (sig == SIGUSR1 && me >= 0)
		c = &to_thread[me];
	if (c == NULL) {
		__atomic_add_fetch(&misdirected, 1, __ATOMIC_RELAXED);
		return;
	}
	sent = __atomic_load_n(&c->sent, __ATOMIC_SEQ_CST);
	seen = __atomic_load_n(&c->seen, __ATOMIC_SEQ_CST);
	while (seen < sent &&
	       !__atomic_compare_exchange_n(&c->seen, &seen, sent, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
	if (__atomic_add_fetch(&c->handled, 1, __ATOMIC_SEQ_CST) > __atomic_load_n(&c->sent, __ATOMIC_SEQ_CST))
		__atomic_add_fetch(&too_many, 1, __ATOMIC_RELAXED);
}

/* One after the last. */
static void wait_seen(struct count *c)
{
	while (__atomic_load_n(&c->seen, __ATOMIC_ACQUIRE) != c->sent)
		usleep(100);
}

/* Keep few enough in flight. */
static void pace(int sent, int *taken)
{
	while (sent - __atomic_load_n(taken, __ATOMIC_ACQUIRE) > IN_FLIGHT)
		sched_yield();
}

static void load(void)
{
	int status;
	pid_t pid;
	char c;

	switch (me % 4) {
	case 0:
		pthread_mutex_lock(&lock);
		under_lock++;
		pthread_mutex_unlock(&lock);
		break;
	case 1:
		CHECK_EQ(read(pipes[0][0], &c, 1), 1);
		CHECK_EQ(write(pipes[1][1], &c, 1), 1);
		break;
	case 2:
		CHECK_EQ(write(pipes[0][1], "x", 1), 1);
		CHECK_EQ(read(pipes[1][0], &c, 1), 1);
		break;
	default:
		if (me != 3) {
			usleep(50);
			break;
		}
		pid = fork();
		if (pid == 0)
			_exit(7);
		CHECK(pid > 0);
		while (waitpid(pid, &status, 0) != pid)
			CHECK_EQ(errno, EINTR);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	}
}

static void *works(void *arg)
{
	me = (int)(long)arg;
	last[me] = -1;
	tid[me] = (pid_t)syscall(SYS_gettid);
	__atomic_add_fetch(&ready, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		if (idle)
			sem_wait(&never);
		else
			load();
	}
	return arg;
}

static void *sends_directed(void *arg)
{
	for (int i = 0; i < directed; i++) {
		pace(i, &n_directed);
		CHECK_EQ(pthread_sigqueue(worker[i % WORKERS], SIGRTMIN, (union sigval){ .sival_int = i }), 0);
	}
	return arg;
}

static void *sends_shared(void *arg)
{
	for (int i = 0; i < shared; i++) {
		pace(i, &n_shared);
		CHECK_EQ(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){ .sival_int = i }), 0);
	}
	return arg;
}

static void *sends_standard(void *arg)
{
	for (int i = 0; i < standard; i++) {
		int w = i % WORKERS;

		__atomic_add_fetch(&to_thread[w].sent, 1, __ATOMIC_SEQ_CST);
		if (i / WORKERS % 2)
			CHECK_EQ(pthread_kill(worker[w], SIGUSR1), 0);
		else
			CHECK_EQ(syscall(SYS_tgkill, getpid(), tid[w], SIGUSR1), 0);
	}
	for (int w = 0; w < WORKERS; w++)
		wait_seen(&to_thread[w]);
	return arg;
}

static void *sends_kill(void *arg)
{
	for (int i = 0; i < standard; i++) {
		__atomic_add_fetch(&to_process.sent, 1, __ATOMIC_SEQ_CST);
		CHECK_EQ(kill(getpid(), SIGUSR2), 0);
	}
	wait_seen(&to_process);
	return arg;
}

/* In another process: real-time signals, a burst of IN_FLIGHT for each byte, or standard ones. */
static int sends_outside(pid_t pid, int fd, int sig)
{
	char c;

	for (int i = 0; i < (sig == SIGHUP ? standard : outside); i++) {
		if (sig == SIGHUP) {
			__atomic_add_fetch(&from_outside->sent, 1, __ATOMIC_SEQ_CST);
			if (kill(pid, sig) != 0)
				return 1;
		} else {
			if (i % IN_FLIGHT == 0 && read(fd, &c, 1) != 1)
				return 2;
			if (sigqueue(pid, sig, (union sigval){ .sival_int = i }) != 0)
				return 3;
		}
	}
	return 0;
}

static pid_t another_process(int fd, int sig)
{
	pid_t self = getpid(), pid = fork();

	if (pid == 0)
		_exit(sends_outside(self, fd, sig));
	CHECK(pid > 0);
	return pid;
}

static void wait_for_process(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) != pid)
		CHECK_EQ(errno, EINTR);
	CHECK_EQ(status, 0);
}

static void report(int64_t wall, int64_t cpu)
{
	int handled = to_process.handled + from_outside->handled, sent = directed + shared + outside + 3 * standard;

	for (int w = 0; w < WORKERS; w++)
		handled += to_thread[w].handled;
	handled += n_directed + n_shared + n_outside;
	dprintf(2, "%d sent, %.0f in a second; %d handled, %.0f in a second; CPU time %.2f us for one\n", sent,
		sent * 1e9 / (double)wall, handled, handled * 1e9 / (double)wall, (double)cpu / 1e3 / handled);
}

static void storm(int measured)
{
	int64_t wall, cpu;
	pthread_t s[4];
	pid_t child[2];
	int fifo[2];

	stop = ready = n_directed = n_shared = n_outside = 0;
	memset(got_shared, 0, (size_t)shared);
	memset(got_outside, 0, (size_t)outside);
	memset(to_thread, 0, sizeof(to_thread));
	memset(&to_process, 0, sizeof(to_process));
	memset(from_outside, 0, sizeof(*from_outside));
	sem_init(&never, 0, 0);
	CHECK_EQ(pipe(pipes[0]), 0);
	CHECK_EQ(pipe(pipes[1]), 0);
	CHECK_EQ(pipe(fifo), 0);
	for (long i = 0; i < WORKERS; i++)
		worker[i] = prog_start(works, (void *)i);
	while (__atomic_load_n(&ready, __ATOMIC_ACQUIRE) < WORKERS)
		sched_yield();
	wall = prog_now_ns(CLOCK_MONOTONIC);
	cpu = prog_now_ns(CLOCK_PROCESS_CPUTIME_ID);
	child[0] = another_process(fifo[0], SIGRTMIN + 2);
	child[1] = another_process(fifo[0], SIGHUP);
	s[0] = prog_start(sends_directed, NULL);
	s[1] = prog_start(sends_shared, NULL);
	s[2] = prog_start(sends_standard, NULL);
	s[3] = prog_start(sends_kill, NULL);
	for (int i = 0; i < outside / IN_FLIGHT; i++) {
		CHECK_EQ(write(fifo[1], "x", 1), 1);
		while (__atomic_load_n(&n_outside, __ATOMIC_ACQUIRE) < (i + 1) * IN_FLIGHT)
			usleep(100);
	}
	for (int i = 0; i < 2; i++)
		wait_for_process(child[i]);
	wait_seen(from_outside);
	for (int i = 0; i < 4; i++)
		prog_join(s[i]);
	while (__atomic_load_n(&n_directed, __ATOMIC_ACQUIRE) < directed ||
	       __atomic_load_n(&n_shared, __ATOMIC_ACQUIRE) < shared)
		usleep(100);
	wall = prog_now_ns(CLOCK_MONOTONIC) - wall;
	cpu = prog_now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < WORKERS; i++) { /* whoever reads when all others have left */
		CHECK_EQ(write(pipes[0][1], "x", 1), 1);
		CHECK_EQ(write(pipes[1][1], "x", 1), 1);
		sem_post(&never);
	}
	for (int i = 0; i < WORKERS; i++)
		prog_join(worker[i]);
	if (measured)
		report(wall, cpu);
	CHECK_EQ(misdirected, 0);
	CHECK_EQ(disorder, 0);
	CHECK_EQ(twice, 0);
	CHECK_EQ(too_many, 0);
	CHECK_EQ(n_directed, directed);
	CHECK_EQ(n_shared, shared);
	CHECK_EQ(n_outside, outside);
	for (int i = 0; i < 2; i++) {
		close(pipes[0][i]);
		close(pipes[1][i]);
		close(fifo[i]);
	}
}

static void handle(int sig, void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART };

	CHECK_EQ(sigaction(sig, &sa, NULL), 0);
}

int main(int argc, char **argv)
{
	int scale = prog_scale(argc, argv);

	prog_init();
	directed *= scale;
	shared *= scale;
	outside *= scale;
	standard *= scale;
	got_shared = malloc((size_t)shared);
	got_outside = malloc((size_t)outside);
	from_outside = mmap(NULL, sizeof(*from_outside), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(got_shared != NULL && got_outside != NULL && from_outside != MAP_FAILED);
	handle(SIGRTMIN, on_directed);
	handle(SIGRTMIN + 1, on_process);
	handle(SIGRTMIN + 2, on_process);
	handle(SIGUSR1, on_standard);
	handle(SIGUSR2, on_standard);
	handle(SIGHUP, on_standard);
	for (idle = 1; idle >= 0; idle--) {
		storm(argc > 1);
		printf("none lost, doubled or misdirected%s\n", idle ? ", threads wait" : "");
	}
	return 0;
}
