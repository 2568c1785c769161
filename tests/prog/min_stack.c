/* SPDX-License-Identifier: MIT */
/*
 * Stacks of PTHREAD_STACK_MIN, made by libc and given by the program: pthread_getattr_np answers what was asked for,
 * all of it can be used, and there is room for everything that may happen to a thread: it computes while others must
 * run, gets signals there and in its waits, has thread-local variables, and is cancelled, also while it computes.
 */
#include "prog.h"

#include <limits.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>

#define THREADS 4
#define SIGNALS 50

static size_t least;
static __thread long own[8] = { 5, 6, 7 };
static _Atomic int handled;
static _Atomic int computing, over, turn;
static sem_t sem, started;
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int fds[2];
static __thread int cleaned;
static _Atomic int nclean;

static void on_signal(int sig)
{
	(void)sig;
	own[7]++;
	handled++;
}

static void check_own_attr(const char *low, size_t size)
{
	volatile char *p;
	pthread_attr_t attr;
	size_t got, guard;
	void *addr;
	char here;

	CHECK_EQ(pthread_getattr_np(pthread_self(), &attr), 0);
	CHECK_EQ(pthread_attr_getstack(&attr, &addr, &got), 0);
	CHECK_EQ(pthread_attr_getguardsize(&attr, &guard), 0);
	CHECK_EQ(got, size);
	CHECK(&here > (char *)addr && &here < (char *)addr + got);
	/* thread-local variables and what pthread_self() is are part of it, unless the program gave it */
	if (low == NULL) {
		CHECK_EQ(guard, 4096);
		CHECK((char *)own > (char *)addr && (char *)(own + 8) <= (char *)addr + got);
		CHECK((char *)pthread_self() > (char *)addr && (char *)pthread_self() < (char *)addr + got);
	} else {
		CHECK(addr == low);
	}
	for (p = &here - 1024; p > (char *)addr; p -= 256)
		*p = 1;
	*(volatile char *)addr = 1;
	CHECK_EQ(pthread_attr_destroy(&attr), 0);
}

static char *given;	/* the caller's stacks, or NULL */
static size_t size;

static pthread_t start(int i, void *(*fn)(void *), long arg)
{
	pthread_attr_t attr;
	pthread_t t;

	CHECK_EQ(pthread_attr_init(&attr), 0);
	if (given != NULL)
		CHECK_EQ(pthread_attr_setstack(&attr, given + (size_t)i * size, size), 0);
	else
		CHECK_EQ(pthread_attr_setstacksize(&attr, size), 0);
	CHECK_EQ(pthread_create(&t, &attr, fn, (void *)arg), 0);
	CHECK_EQ(pthread_attr_destroy(&attr), 0);
	return t;
}

static void *tells(void *arg)
{
	check_own_attr(given, size);
	return arg;
}

/* Each counts in its turn and computes until all have had theirs: at GOMAXPROCS=1 they must be preempted. */
static void *computes(void *arg)
{
	long id = (long)arg;

	CHECK(own[0] == 5 && own[1] == 6 && own[2] == 7 && own[7] == 0);
	computing++;
	while (turn < 3 * THREADS)
		if (turn % THREADS == id)
			turn++;
	while (!over)
		;
	return (void *)own[7];
}

static void *waits(void *arg)
{
	char c;

	sem_post(&started);
	while (sem_wait(&sem) != 0)
		CHECK_EQ(errno, EINTR);
	while (read(fds[0], &c, 1) != 1)
		CHECK_EQ(errno, EINTR);
	pthread_mutex_lock(&m);
	while (!over)
		CHECK_EQ(pthread_cond_wait(&cond, &m), 0);
	pthread_mutex_unlock(&m);
	return (void *)own[7];
}

static void cleans(void *arg)
{
	(void)arg;
	cleaned++;
	nclean += cleaned;
}

static void *is_cancelled(void *arg)
{
	pthread_cleanup_push(cleans, NULL);
	if (arg != NULL)
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	sem_post(&started);
	while (arg != NULL)
		;
	for (;;)
		sem_wait(&sem);
	pthread_cleanup_pop(0);
	return NULL;
}

static void one_kind(const char *what)
{
	pthread_t t[THREADS];
	long sum = 0;

	prog_join(start(0, tells, 0));

	turn = over = computing = handled = 0;
	for (int i = 0; i < THREADS; i++)
		t[i] = start(i, computes, i);
	while (computing < THREADS)
		sched_yield();
	for (int n = 0; n < SIGNALS; n++) {
		int before = handled;

		CHECK_EQ(pthread_kill(t[n % THREADS], SIGUSR1), 0);
		while (handled == before)
			sched_yield();
	}
	over = 1;
	for (int i = 0; i < THREADS; i++)
		sum += (long)prog_join(t[i]);
	CHECK_EQ(sum, SIGNALS);
	printf("%s: computes\n", what);

	over = handled = 0;
	sum = 0;
	for (int i = 0; i < THREADS; i++)
		t[i] = start(i, waits, 0);
	for (int i = 0; i < THREADS; i++)
		sem_wait(&started);
	for (int n = 0; n < 3 * THREADS; n++) {
		int before = handled;

		if (n / THREADS == 1)
			sem_post(&sem);
		if (n / THREADS == 2)
			CHECK_EQ(write(fds[1], "x", 1), 1);
		CHECK_EQ(pthread_kill(t[n % THREADS], SIGUSR1), 0);
		while (handled == before)
			sched_yield();
	}
	pthread_mutex_lock(&m);
	over = 1;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&m);
	for (int i = 0; i < THREADS; i++)
		sum += (long)prog_join(t[i]);
	CHECK_EQ(sum, 3 * THREADS);
	printf("%s: waits\n", what);

	nclean = 0;
	for (int i = 0; i < THREADS; i++)
		t[i] = start(i, is_cancelled, i % 2);
	for (int i = 0; i < THREADS; i++)
		sem_wait(&started);
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_cancel(t[i]), 0);
	for (int i = 0; i < THREADS; i++)
		CHECK(prog_join(t[i]) == PTHREAD_CANCELED);
	CHECK_EQ(nclean, THREADS);
	printf("%s: cancelled\n", what);
}

int main(void)
{
	struct sigaction sa = { .sa_handler = on_signal };
	static const size_t kb[] = { 0, 64, 256, 1024, 3 * 1024 };

	prog_init();
	least = (size_t)PTHREAD_STACK_MIN;
	CHECK_EQ(sigaction(SIGUSR1, &sa, NULL), 0);
	CHECK_EQ(sem_init(&sem, 0, 0), 0);
	CHECK_EQ(sem_init(&started, 0, 0), 0);
	CHECK_EQ(pipe(fds), 0);
	/* from the smallest on: libc may use a stack again that is larger than asked for */
	for (unsigned i = 0; i < sizeof(kb) / sizeof(*kb); i++) {
		size = kb[i] != 0 ? kb[i] << 10 : least;
		for (int n = 0; n < 20; n++)
			prog_join(start(0, tells, 0));
	}
	puts("sizes");
	size = least;
	given = NULL;
	one_kind("made");
	given = mmap(NULL, THREADS * least, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(given != MAP_FAILED);
	one_kind("given");
	return 0;
}
