/* SPDX-License-Identifier: MIT */
/*
 * Signal storms during lock, I/O and fork load: three senders at once, by pthread_sigqueue to threads in their turn, by
 * sigqueue to the process, and from another process. Real-time signals with numbers: none is lost, doubled, or runs on
 * the wrong thread; those of one sender to one thread come in their order.
 */
#include "prog.h"

#include <semaphore.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define WORKERS	 8
#define DIRECTED 8000 /* to threads */
#define SHARED	 4000 /* to the process */
#define OUTSIDE	 4000 /* to the process, by a child */
#define IN_FLIGHT 500

static pthread_t worker[WORKERS];
static volatile int stop;
static int ready; /* workers that know who they are */
static __thread int me = -1;
static int last[WORKERS], misdirected, disorder;
static unsigned char got_shared[SHARED], got_outside[OUTSIDE];
static int n_directed, n_shared, n_outside, twice;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long under_lock;
static int pipes[2][2];

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
	int n = si->si_value.sival_int, outside = sig == SIGRTMIN + 2;

	if (__atomic_exchange_n(&(outside ? got_outside : got_shared)[n], 1, __ATOMIC_RELAXED))
		__atomic_add_fetch(&twice, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(outside ? &n_outside : &n_shared, 1, __ATOMIC_RELEASE);
}

/* Keep few enough in flight for RLIMIT_SIGPENDING. */
static void pace(int sent, int *taken)
{
	while (sent - __atomic_load_n(taken, __ATOMIC_ACQUIRE) > IN_FLIGHT)
		sched_yield();
}

static void *works(void *arg)
{
	char c;

	me = (int)(long)arg;
	last[me] = -1;
	__atomic_add_fetch(&ready, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
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
			if (me == 3) {
				int status;
				pid_t pid = fork();

				if (pid == 0)
					_exit(7);
				CHECK(pid > 0);
				while (waitpid(pid, &status, 0) != pid)
					CHECK_EQ(errno, EINTR);
				CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
			} else {
				usleep(50);
			}
		}
	}
	return arg;
}

static void *sends_directed(void *arg)
{
	for (int i = 0; i < DIRECTED; i++) {
		pace(i, &n_directed);
		CHECK_EQ(pthread_sigqueue(worker[i % WORKERS], SIGRTMIN, (union sigval){ .sival_int = i }), 0);
	}
	return arg;
}

static void *sends_shared(void *arg)
{
	for (int i = 0; i < SHARED; i++) {
		pace(i, &n_shared);
		CHECK_EQ(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){ .sival_int = i }), 0);
	}
	return arg;
}

int main(void)
{
	struct sigaction sa = { .sa_sigaction = on_directed, .sa_flags = SA_SIGINFO | SA_RESTART };
	pthread_t a, b;
	int fifo[2];
	pid_t pid, child;
	int status;

	prog_init();
	pid = getpid();
	CHECK_EQ(pipe(pipes[0]), 0);
	CHECK_EQ(pipe(pipes[1]), 0);
	CHECK_EQ(pipe(fifo), 0);
	CHECK_EQ(sigaction(SIGRTMIN, &sa, NULL), 0);
	sa.sa_sigaction = on_process;
	CHECK_EQ(sigaction(SIGRTMIN + 1, &sa, NULL), 0);
	CHECK_EQ(sigaction(SIGRTMIN + 2, &sa, NULL), 0);
	child = fork();
	if (child == 0) { /* a burst of IN_FLIGHT for each byte */
		char c;

		for (int i = 0; i < OUTSIDE; i++) {
			if (i % IN_FLIGHT == 0 && read(fifo[0], &c, 1) != 1)
				_exit(1);
			if (sigqueue(pid, SIGRTMIN + 2, (union sigval){ .sival_int = i }) != 0)
				_exit(2);
		}
		_exit(0);
	}
	for (long i = 0; i < WORKERS; i++)
		worker[i] = prog_start(works, (void *)i);
	while (__atomic_load_n(&ready, __ATOMIC_ACQUIRE) < WORKERS)
		sched_yield();
	a = prog_start(sends_directed, NULL);
	b = prog_start(sends_shared, NULL);
	for (int i = 0; i < OUTSIDE / IN_FLIGHT; i++) {
		CHECK_EQ(write(fifo[1], "x", 1), 1);
		while (__atomic_load_n(&n_outside, __ATOMIC_ACQUIRE) < (i + 1) * IN_FLIGHT)
			usleep(100);
	}
	while (waitpid(child, &status, 0) != child)
		CHECK_EQ(errno, EINTR);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	prog_join(a);
	prog_join(b);
	while (__atomic_load_n(&n_directed, __ATOMIC_ACQUIRE) < DIRECTED ||
	       __atomic_load_n(&n_shared, __ATOMIC_ACQUIRE) < SHARED)
		usleep(100);
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < WORKERS; i++) { /* whoever reads when all others have left */
		CHECK_EQ(write(pipes[0][1], "x", 1), 1);
		CHECK_EQ(write(pipes[1][1], "x", 1), 1);
	}
	for (int i = 0; i < WORKERS; i++)
		prog_join(worker[i]);
	CHECK_EQ(misdirected, 0);
	CHECK_EQ(disorder, 0);
	CHECK_EQ(twice, 0);
	CHECK_EQ(n_directed, DIRECTED);
	CHECK_EQ(n_shared, SHARED);
	CHECK_EQ(n_outside, OUTSIDE);
	puts("none lost, doubled or misdirected");
	return 0;
}
