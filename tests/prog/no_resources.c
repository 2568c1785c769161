/* SPDX-License-Identifier: MIT */
/*
 * No memory for stacks, no kernel threads left: pthread_create says EAGAIN, the threads that are there go on, and what
 * was refused works again when the resource is back. Each case runs in a child of its own.
 */
#include <fcntl.h>
#include <malloc.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "prog.h"

#define MB	((size_t)1 << 20)
#define MAXT	512
#define ROUNDS	20000

static sem_t go;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_t threads[MAXT];
static int ran;

static void *waiter(void *arg)
{
	char *p = malloc(100);

	CHECK(p);
	memset(p, 1, 100);
	free(p);
	while (sem_wait(&go))
		CHECK_EQ(errno, EINTR);
	__atomic_fetch_add(&ran, 1, __ATOMIC_RELEASE);
	return arg;
}

/* Threads until EAGAIN; how many it were. */
static int as_many_as_possible(const pthread_attr_t *attr)
{
	int n = 0, rc = 0;

	while (n < MAXT && (rc = pthread_create(&threads[n], attr, waiter, NULL)) == 0)
		n++;
	if (n < MAXT)
		CHECK_EQ(rc, EAGAIN);
	return n;
}

static void finish(int n)
{
	ran = 0;
	for (int i = 0; i < n; i++)
		sem_post(&go);
	for (int i = 0; i < n; i++)
		prog_join(threads[i]);
	CHECK_EQ(ran, n);
}

static void finish_detached(int n)
{
	int done = __atomic_load_n(&ran, __ATOMIC_RELAXED);

	for (int i = 0; i < n; i++)
		sem_post(&go);
	/* No call in here: the threads end on another P, where there is one. */
	while (__atomic_load_n(&ran, __ATOMIC_ACQUIRE) < done + n)
		;
}

static size_t address_space(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	CHECK(f && fscanf(f, "%lu", &pages) == 1);
	fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void memory(int which)
{
	struct rlimit lim, old;
	pthread_attr_t attr;
	int n[3], again;

	/* Each further arena of malloc would take 64 MB of what is meant for stacks. */
	CHECK(mallopt(M_ARENA_MAX, 1));
	prog_join(prog_start(waiter, (sem_post(&go), NULL)));
	pthread_attr_init(&attr);
	CHECK_EQ(pthread_attr_setstacksize(&attr, 4 * MB), 0);
	CHECK_EQ(getrlimit(which, &old), 0);
	lim = old;
	lim.rlim_cur = address_space() + 400 * MB;
	CHECK_EQ(setrlimit(which, &lim), 0);
	for (int r = 0; r < 3; r++) {
		n[r] = as_many_as_possible(&attr);
		/* A slot is a little more than the stack. NPTL gets about 98. */
		CHECK(n[r] >= 60 && n[r] <= (which == RLIMIT_AS ? 110 : 250));
		CHECK_EQ(pthread_create(&threads[MAXT - 1], &attr, waiter, NULL), EAGAIN);
		finish(n[r]);
		CHECK(r == 0 || n[r] >= n[0]);
	}
	CHECK_EQ(setrlimit(which, &old), 0);
	for (again = 0; again < 150; again++)
		CHECK_EQ(pthread_create(&threads[again], &attr, waiter, NULL), 0);
	finish(again);
	/* A stack that never fits */
	lim.rlim_cur = address_space() + 100 * MB;
	CHECK_EQ(setrlimit(which, &lim), 0);
	pthread_attr_setstacksize(&attr, 300 * MB);
	CHECK_EQ(pthread_create(&threads[0], &attr, waiter, NULL), EAGAIN);
	prog_join(prog_start(waiter, (sem_post(&go), NULL)));
}

static void case_as(void)
{
	memory(RLIMIT_AS);
}

static void case_data(void)
{
	memory(RLIMIT_DATA);
}

/*
 * Few large stacks of threads that nobody joins, so that dead ones stay where they ended: the next round finds them. Of
 * the first thread's size, for which each P keeps its own. A thread may take a while to end after its last word.
 */
static void case_few(void)
{
	struct rlimit lim;
	pthread_attr_t attr;
	int first, good = 0;

	CHECK(mallopt(M_ARENA_MAX, 1));
	pthread_attr_init(&attr);
	CHECK_EQ(pthread_attr_setstacksize(&attr, 16 * MB), 0);
	CHECK_EQ(pthread_create(&threads[0], &attr, waiter, NULL), 0);
	finish(1);
	CHECK_EQ(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED), 0);
	CHECK_EQ(getrlimit(RLIMIT_AS, &lim), 0);
	lim.rlim_cur = address_space() + 60 * MB;
	CHECK_EQ(setrlimit(RLIMIT_AS, &lim), 0);
	first = as_many_as_possible(&attr);
	CHECK(first >= 3);
	finish_detached(first);
	for (int r = 0; good < 20; r++) {
		int n = as_many_as_possible(&attr);

		finish_detached(n);
		good += n >= first;
		CHECK(r < ROUNDS);
	}
}

static int file, pipes[2];

/* Locks, a pipe and calls in which a kernel thread waits. */
static void *worker(void *arg)
{
	char c = 'x';

	for (int i = 0; i < 100; i++) {
		CHECK_EQ(pwrite(file, &c, 1, (off_t)(intptr_t)arg), 1);
		CHECK_EQ(write(pipes[1], &c, 1), 1);
		CHECK_EQ(read(pipes[0], &c, 1), 1);
		pthread_mutex_lock(&lock);
		ran++;
		pthread_mutex_unlock(&lock);
		if (i % 10 == 0)
			CHECK_EQ(fsync(file), 0);
	}
	return NULL;
}

static sem_t ball[2];

/* Each hand-over asks for another kernel thread. */
static void *player(void *arg)
{
	int me = (int)(intptr_t)arg;

	for (int i = 0; i < ROUNDS; i++) {
		while (sem_wait(&ball[me]))
			CHECK_EQ(errno, EINTR);
		ran++;
		sem_post(&ball[!me]);
	}
	return NULL;
}

/* The limit does not bind root: the child becomes a user that nobody else is. */
static void case_nproc(void)
{
	struct rlimit lim = { 1, 1000 };
	char path[] = "/tmp/limits.XXXXXX";
	int n;
	long tid;
	size_t before;

	uid_t uid = 100000 + (uid_t)getpid(); /* this test may run more than once at a time */

	if (getuid() != 0 || setresuid(uid, uid, uid))
		return;
	file = mkstemp(path);
	CHECK(file >= 0);
	unlink(path);
	CHECK_EQ(pipe(pipes), 0);
	CHECK_EQ(setrlimit(RLIMIT_NPROC, &lim), 0);
	CHECK_EQ(as_many_as_possible(NULL), 0);
	CHECK_EQ(prog_live_thread(&tid), NULL);
	CHECK_EQ(tid, getpid());
	lim.rlim_cur = 2;
	CHECK_EQ(setrlimit(RLIMIT_NPROC, &lim), 0);
	n = as_many_as_possible(NULL);
	CHECK(n >= 1);
	finish(n);
	before = address_space();
	ran = 0;
	CHECK_EQ(sem_init(&ball[0], 0, 1), 0);
	CHECK_EQ(sem_init(&ball[1], 0, 0), 0);
	CHECK_EQ(pthread_create(&threads[0], NULL, player, NULL), 0);
	player((void *)1);
	prog_join(threads[0]);
	CHECK_EQ(ran, 2 * ROUNDS);
	/* What was tried in vain has cost nothing: a try that lost 64 kB would have lost this much. */
	CHECK(address_space() < before + 160 * MB);
	/* No process either while a kernel thread is there; with the limit gone everything works again. */
	CHECK_EQ(pthread_create(&threads[0], NULL, waiter, NULL), 0);
	CHECK_FAILS(fork(), EAGAIN);
	finish(1);
	lim.rlim_cur = 1000;
	CHECK_EQ(setrlimit(RLIMIT_NPROC, &lim), 0);
	for (ran = n = 0; n < 40; n++)
		CHECK_EQ(pthread_create(&threads[n], NULL, worker, (void *)(intptr_t)n), 0);
	for (int i = 0; i < n; i++)
		prog_join(threads[i]);
	CHECK_EQ(ran, 40 * 100);
}

static void run(const char *name, void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		alarm(200);
		fn();
		exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	printf("%s\n", name);
}

int main(void)
{
	CHECK_EQ(sem_init(&go, 0, 0), 0);
	prog_init();
	run("address space", case_as);
	run("data", case_data);
	run("few stacks", case_few);
	run("kernel threads", case_nproc);
	return 0;
}
