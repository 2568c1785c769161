/* SPDX-License-Identifier: MIT */
/*
 * gmpshim.h, with and without the shim. GOMAXPROCS goes up and down, by two setters at once, while threads lock, wait,
 * sleep, compute, allocate and do I/O: each goes on after each change, and nothing is lost. Bound threads keep their
 * kernel thread, nested, and one that ends bound takes it along. A forked child inherits the number.
 */
#include "prog.h"

#include <fcntl.h>
#include <limits.h>
#include <semaphore.h>
#include <sys/wait.h>

#include "gmpshim.h"

#define CHANGES 30
#define PAIRS 2

static _Atomic int stop;
static int native;

static int set(int n)
{
	int was;

	errno = 77;
	was = gmpshim_gomaxprocs(n);
	CHECK_EQ(errno, 77);
	return native ? n : was;
}

/* --- the load; each worker counts what it does --- */

enum { LOCKER, COMPUTER, SLEEPER, ALLOCATOR, SYSTEM, KINDS };

static _Atomic long done[KINDS][PAIRS], passed[PAIRS], piped[PAIRS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static long under_lock;
static sem_t ping[PAIRS][2];
static int pipes[PAIRS][2][2];

struct worker {
	int kind, i;
};

static void *works(void *arg)
{
	struct worker *w = arg;
	volatile double x = 1;

	while (!stop) {
		switch (w->kind) {
		case LOCKER:
			pthread_mutex_lock(&lock);
			under_lock++;
			if (under_lock % 64 == 0)
				pthread_cond_broadcast(&cond);
			pthread_mutex_unlock(&lock);
			sched_yield();
			break;
		case COMPUTER:
			for (int i = 0; i < 100000; i++)
				x = x * 1.000001 + 0.5;
			break;
		case SLEEPER:
			if (w->i == 0) {
				struct timespec end = prog_after_ms(CLOCK_REALTIME, 2);
				int rc;

				pthread_mutex_lock(&lock);
				rc = pthread_cond_timedwait(&cond, &lock, &end);
				CHECK(rc == 0 || rc == ETIMEDOUT);
				pthread_mutex_unlock(&lock);
			} else {
				usleep(500);
			}
			break;
		case ALLOCATOR:
			for (int i = 1; i < 50; i++)
				free(malloc((size_t)i * 100));
			break;
		case SYSTEM:
			CHECK(getppid() > 0);
			close(open("/proc/self/comm", O_RDONLY));
			break;
		}
		/* two of them compute without end, the others leave room for the rest */
		if (++done[w->kind][w->i] % 8 == 0 && w->kind != COMPUTER)
			usleep(200);
	}
	return arg;
}

static void *passes(void *arg)
{
	int i = (int)(long)arg / 2, me = (int)(long)arg % 2;

	while (!stop) {
		CHECK_EQ(sem_wait(&ping[i][me]), 0);
		passed[i]++;
		sem_post(&ping[i][!me]);
	}
	sem_post(&ping[i][!me]);
	return arg;
}

static void *pipes_through(void *arg)
{
	int i = (int)(long)arg / 2, me = (int)(long)arg % 2;
	char c = 'x';

	while (!stop) {
		CHECK_EQ(read(pipes[i][me][0], &c, 1), 1);
		piped[i]++;
		CHECK_EQ(write(pipes[i][!me][1], &c, 1), 1);
	}
	CHECK_EQ(write(pipes[i][!me][1], &c, 1), 1);
	return arg;
}

static long least(void)
{
	long n = LONG_MAX;

	for (int i = 0; i < PAIRS; i++) {
		for (int k = 0; k < KINDS; k++)
			n = done[k][i] < n ? done[k][i] : n;
		n = passed[i] < n ? passed[i] : n;
		n = piped[i] < n ? piped[i] : n;
	}
	return n;
}

static void *sets_too(void *arg)
{
	for (int i = 0; i < CHANGES && !stop; i++) {
		CHECK(set(1 + i * 5 % 8) > 0);
		usleep(3000);
	}
	return arg;
}

static void under_load(void)
{
	static const int steps[] = {8, 1, 2, 7, 1, 8, 3, 4, 1, 2};
	struct worker w[KINDS * PAIRS];
	pthread_t ts[KINDS * PAIRS + 4 * PAIRS], other;
	int n = 0;

	for (int k = 0; k < KINDS; k++)
		for (int i = 0; i < PAIRS; i++, n++) {
			w[n] = (struct worker){k, i};
			ts[n] = prog_start(works, &w[n]);
		}
	for (long i = 0; i < PAIRS; i++) {
		sem_init(&ping[i][0], 0, 1);
		sem_init(&ping[i][1], 0, 0);
		CHECK_EQ(pipe(pipes[i][0]) | pipe(pipes[i][1]), 0);
		CHECK_EQ(write(pipes[i][0][1], "x", 1), 1);
		for (int me = 0; me < 2; me++) {
			ts[n++] = prog_start(passes, (void *)(2 * i + me));
			ts[n++] = prog_start(pipes_through, (void *)(2 * i + me));
		}
	}
	/* alone: the number is in effect when the call returns */
	for (int i = 0; i < CHANGES / 2; i++) {
		long before[3];
		int to = steps[i % 10];

		CHECK(set(to) > 0);
		CHECK_EQ(set(0), native ? 0 : to);
		before[0] = done[COMPUTER][0];
		before[1] = done[SLEEPER][1];
		before[2] = piped[0];
		while (done[COMPUTER][0] == before[0] || done[SLEEPER][1] == before[1] || piped[0] == before[2])
			usleep(100);
	}
	other = prog_start(sets_too, NULL);
	for (int i = 0; i < CHANGES; i++) {
		long was = least();

		CHECK(set(steps[i % 10]) > 0);
		while (i % 8 == 0 && least() == was)
			usleep(100);
	}
	prog_join(other);
	stop = 1;
	while (n > 0)
		prog_join(ts[--n]);
	CHECK(least() > 3);
}

/* --- the rest --- */

/* The kernel's number of the kernel thread that runs this. */
static int kernel_tid(void)
{
	char link[64];
	ssize_t n = readlink("/proc/thread-self", link, sizeof(link) - 1);

	CHECK(n > 0);
	link[n] = '\0';
	return atoi(strrchr(link, '/') + 1);
}

static void *binds(void *arg)
{
	int tid;

	CHECK_EQ(gmpshim_unlock_os_thread(), native ? 0 : EPERM);
	CHECK_EQ(gmpshim_lock_os_thread(), 0);
	tid = kernel_tid();
	CHECK_EQ(gmpshim_lock_os_thread(), 0);
	CHECK(tid != getpid());
	for (int i = 0; i < 50; i++) {
		CHECK_EQ(kernel_tid(), tid);
		if (i == 25)
			CHECK_EQ(gmpshim_unlock_os_thread(), 0);
		if (i % 2)
			sched_yield();
		else
			usleep(200);
	}
	*(int *)arg = tid;
	if (tid % 2) /* a mutex is none of its business */
		CHECK_EQ(gmpshim_unlock_os_thread() | gmpshim_lock_os_thread(), 0);
	return arg; /* bound */
}

static int task_exists(int tid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d", tid);
	return access(path, F_OK) == 0;
}

static void *asks(void *arg)
{
	CHECK(gmpshim_threads() >= (native ? 0 : 2));
	return arg;
}

static void bound(void)
{
	pthread_t ts[8];
	int tids[8];

	for (int i = 0; i < 8; i++)
		ts[i] = prog_start(binds, &tids[i]);
	for (int i = 0; i < 8; i++)
		prog_join(ts[i]);
	for (int i = 0; i < 8; i++)
		while (task_exists(tids[i]))
			usleep(100);
	CHECK_EQ(gmpshim_lock_os_thread() | gmpshim_lock_os_thread(), 0);
	CHECK_EQ(gmpshim_unlock_os_thread() | gmpshim_unlock_os_thread(), 0);
	CHECK_EQ(gmpshim_unlock_os_thread(), native ? 0 : EPERM);
	for (int i = 0; i < 8; i++)
		ts[i] = prog_start(asks, NULL);
	for (int i = 0; i < 8; i++)
		prog_join(ts[i]);
}

static void in_child(void)
{
	int status;
	pid_t pid;

	CHECK(set(3) > 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK_EQ(set(5), native ? 5 : 3);
		prog_join(prog_start(asks, NULL));
		CHECK_EQ(set(1), native ? 1 : 5);
		prog_join(prog_start(asks, NULL));
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	pid = vfork();
	if (pid == 0)
		_exit(native || (gmpshim_gomaxprocs(2) == -EPERM && gmpshim_lock_os_thread() == EPERM) ? 0 : 1);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	CHECK_EQ(set(0), native ? 0 : 3);
}

int main(void)
{
	int procs = getenv("GOMAXPROCS") ? atoi(getenv("GOMAXPROCS")) : 0;

	native = !getenv("GMPSHIM_EXPECT_LIVE");
	CHECK_EQ(gmpshim_live(), !native);
	CHECK_EQ(gmpshim_version(), native ? 0 : GMPSHIM_VERSION);
	CHECK_EQ(gmpshim_threads(), native ? 0 : 1);
	/* before there are threads */
	CHECK_EQ(set(0), native ? 0 : procs);
	CHECK_EQ(set(5), native ? 5 : procs);
	CHECK_EQ(set(2), native ? 2 : 5);
	CHECK_EQ(gmpshim_gomaxprocs(-1), native ? 0 : -EINVAL);
	CHECK_EQ(gmpshim_gomaxprocs(GMPSHIM_MAXPROCS + 1), native ? 0 : -EINVAL);
	prog_init();
	CHECK_EQ(gmpshim_live(), !native);
	under_load();
	puts("load ok");
	bound();
	puts("bound ok");
	in_child();
	CHECK(set(GMPSHIM_MAXPROCS) > 0);
	prog_join(prog_start(asks, NULL));
	CHECK_EQ(set(1), native ? 1 : GMPSHIM_MAXPROCS);
	puts("ok");
	return 0;
}
