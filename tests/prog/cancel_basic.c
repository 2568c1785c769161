/* SPDX-License-Identifier: MIT */
/*
 * Cancellation: deferred requests act in every tested cancellation point whether they come before
 * or during it, cleanup handlers run in order, the condition's mutex is held in them, disabled
 * state and pthread_testcancel are honoured, and an asynchronous request stops a computing loop.
 */
#include "prog.h"

#include <poll.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum point {
	NANOSLEEP,
	READ,
	RECV,
	ACCEPT,
	POLL,
	COND_WAIT,
	COND_TIMEDWAIT,
	SEM_WAIT,
	JOIN,
	PAUSE,
	SLEEP,
	WRITE,
	TESTCANCEL,
	POINTS
};

static const char *const names[POINTS] = { "nanosleep",
					   "read",
					   "recv",
					   "accept",
					   "poll",
					   "pthread_cond_wait",
					   "pthread_cond_timedwait",
					   "sem_wait",
					   "pthread_join",
					   "pause",
					   "sleep",
					   "write",
					   "pthread_testcancel" };

static pthread_mutex_t lock = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t sem, ready, go;
static int pipefd[2], fullfd[2], sockfd[2], listenfd;
static pthread_t sleeper;
static pthread_key_t key;
static int key_gone;
static char order[32];

static void key_dtor(void *v)
{
	(void)v;
	key_gone++;
}

static void note(void *arg)
{
	size_t n = strlen(order);

	order[n] = *(char *)arg;
}

static void unlock(void *arg)
{
	CHECK_EQ(pthread_mutex_lock(arg), EDEADLK);	/* held by us again */
	CHECK_EQ(pthread_mutex_unlock(arg), 0);
}

static void wait_cond(int timed)
{
	struct timespec far = prog_after_ms(CLOCK_REALTIME, 1000000);

	CHECK_EQ(pthread_mutex_lock(&lock), 0);
	pthread_cleanup_push(unlock, &lock);
	for (;;) {
		if (timed)
			pthread_cond_timedwait(&cond, &lock, &far);
		else
			pthread_cond_wait(&cond, &lock);
	}
	pthread_cleanup_pop(1);
}

static void block_at(enum point point)
{
	struct timespec ts = { .tv_sec = 1000 };
	struct pollfd p = { .fd = pipefd[0], .events = POLLIN };
	static char big[65536];
	char c;

	switch (point) {
	case NANOSLEEP:
		nanosleep(&ts, NULL);
		break;
	case READ:
		CHECK(read(pipefd[0], &c, 1) < 0);
		break;
	case RECV:
		recv(sockfd[0], &c, 1, 0);
		break;
	case ACCEPT:
		accept(listenfd, NULL, NULL);
		break;
	case POLL:
		poll(&p, 1, -1);
		break;
	case COND_WAIT:
		wait_cond(0);
		break;
	case COND_TIMEDWAIT:
		wait_cond(1);
		break;
	case SEM_WAIT:
		sem_wait(&sem);
		break;
	case JOIN:
		pthread_join(sleeper, NULL);
		break;
	case PAUSE:
		pause();
		break;
	case SLEEP:
		sleep(1000);
		break;
	case WRITE:
		for (;;)
			CHECK(write(fullfd[1], big, sizeof(big)) > 0);
	default:
		for (;;) {
			pthread_testcancel();
			sched_yield();
		}
	}
	CHECK(!"reached");
}

static void *cancelled(void *arg)
{
	pthread_setspecific(key, arg);
	pthread_cleanup_push(note, "1");
	pthread_cleanup_push(note, "2");
	pthread_cleanup_push(note, "x");
	pthread_cleanup_pop(0);
	sem_post(&ready);
	block_at((enum point)((long)arg - 1));
	pthread_cleanup_pop(0);
	pthread_cleanup_pop(0);
	return NULL;
}

/* The request is pending when the thread comes to the point. */
static void *cancelled_before(void *arg)
{
	CHECK_EQ(sem_post(&ready), 0);
	CHECK_EQ(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL), 0);
	sem_wait(&go);
	CHECK_EQ(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL), 0);
	return cancelled(arg);
}

static void *waits_forever(void *arg)
{
	pause();
	return arg;
}

static void check_point(enum point point, int before)
{
	pthread_t t;

	memset(order, 0, sizeof(order));
	key_gone = 0;
	if (point == JOIN)
		sleeper = prog_start(waits_forever, NULL);
	t = prog_start(before ? cancelled_before : cancelled, (void *)((long)point + 1));
	CHECK_EQ(sem_wait(&ready), 0);
	if (!before)
		prog_nap_ms(2);			/* most likely inside by now */
	CHECK_EQ(pthread_cancel(t), 0);
	if (before)
		sem_post(&go);
	CHECK(prog_join(t) == PTHREAD_CANCELED);
	CHECK(!strcmp(order, "21"));
	CHECK_EQ(key_gone, 1);
	if (before)
		CHECK_EQ(sem_wait(&ready), 0);
	CHECK_EQ(pthread_mutex_trylock(&lock), 0);
	CHECK_EQ(pthread_mutex_unlock(&lock), 0);
	if (point == JOIN) {			/* still joinable by another */
		CHECK_EQ(pthread_cancel(sleeper), 0);
		CHECK(prog_join(sleeper) == PTHREAD_CANCELED);
	}
	printf("%s %s ok\n", names[point], before ? "pending" : "blocked");
}

static void *disabled(void *arg)
{
	struct timespec ts = { .tv_nsec = 1000000 };
	int old;

	CHECK_EQ(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old), 0);
	CHECK_EQ(old, PTHREAD_CANCEL_ENABLE);
	CHECK_EQ(pthread_setcancelstate(99, &old), EINVAL);
	CHECK_EQ(pthread_setcanceltype(99, &old), EINVAL);
	sem_post(&ready);
	CHECK_EQ(sem_wait(&go), 0);
	/* a pending request neither cancels nor interrupts */
	CHECK_EQ(nanosleep(&ts, NULL), 0);
	pthread_testcancel();
	CHECK_EQ(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old), 0);
	CHECK_EQ(old, PTHREAD_CANCEL_DISABLE);
	*(int *)arg = 1;			/* enabling is no cancellation point */
	pthread_testcancel();
	*(int *)arg = 2;
	return NULL;
}

static volatile unsigned long spins;

static void *computes(void *arg)
{
	int old;

	(void)arg;
	CHECK_EQ(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old), 0);
	CHECK_EQ(old, PTHREAD_CANCEL_DEFERRED);
	pthread_cleanup_push(note, "c");
	sem_post(&ready);
	for (;;)
		spins++;
	pthread_cleanup_pop(0);
	return NULL;
}

/* The request comes while it yields, or just after: nothing else will ever tell it. */
static void *yields_computes(void *arg)
{
	CHECK_EQ(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL), 0);
	sem_post(&ready);
	for (long n = (long)arg; n > 0; n--)
		sched_yield();
	for (;;)
		spins++;
	return NULL;
}

static void *ends(void *arg)
{
	return arg;
}

static void *exits(void *arg)
{
	pthread_cleanup_push(note, "1");
	pthread_cleanup_push(note, "2");
	pthread_exit(arg);
	pthread_cleanup_pop(0);
	pthread_cleanup_pop(0);
	return NULL;
}

int main(void)
{
	pthread_t t;
	int reached = 0;

	prog_init();
	CHECK_EQ(pipe(pipefd), 0);
	CHECK_EQ(pipe(fullfd), 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sockfd), 0);
	listenfd = socket(AF_INET, SOCK_STREAM, 0);
	CHECK_EQ(listen(listenfd, 1), 0);
	sem_init(&sem, 0, 0);
	sem_init(&ready, 0, 0);
	sem_init(&go, 0, 0);
	CHECK_EQ(pthread_key_create(&key, key_dtor), 0);
	for (int point = 0; point < POINTS; point++) {
		check_point((enum point)point, 0);
		check_point((enum point)point, 1);
	}

	t = prog_start(disabled, &reached);
	sem_wait(&ready);
	CHECK_EQ(pthread_cancel(t), 0);
	CHECK_EQ(pthread_cancel(t), 0);
	sem_post(&go);
	CHECK(prog_join(t) == PTHREAD_CANCELED);
	CHECK_EQ(reached, 1);
	puts("disabled ok");

	memset(order, 0, sizeof(order));
	t = prog_start(computes, NULL);
	sem_wait(&ready);
	CHECK_EQ(pthread_cancel(t), 0);
	CHECK(prog_join(t) == PTHREAD_CANCELED);
	CHECK(!strcmp(order, "c"));
	for (long i = 0; i < 400; i++) {
		t = prog_start(yields_computes, (void *)(1000 + i));
		sem_wait(&ready);
		for (volatile long n = i * 50; n > 0; n--)
			;
		CHECK_EQ(pthread_cancel(t), 0);
		CHECK(prog_join(t) == PTHREAD_CANCELED);
	}
	puts("asynchronous ok");

	t = prog_start(ends, (void *)5);
	prog_nap_ms(2);
	CHECK_EQ(pthread_cancel(t), 0);		/* no cancellation point: never acts */
	CHECK(prog_join(t) == (void *)5);
	memset(order, 0, sizeof(order));
	CHECK(prog_join(prog_start(exits, (void *)6)) == (void *)6);
	CHECK(!strcmp(order, "21"));
	puts("exit ok");
	return 0;
}
