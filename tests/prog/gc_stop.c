/* SPDX-License-Identifier: MIT */
/*
 * A collector that stops the world as Boehm's and others do: it signals every thread, waits until each has said that it
 * stands still, looks at their stacks, and lets them go by a second signal, for which they wait in sigsuspend. The
 * threads are parked in every kind of call, or compute, or come and go; some hold locks that others wait for.
 */
#include "prog.h"

#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/socket.h>

#define THREADS 30
#define ROUNDS	20

static sem_t acks;
static volatile int cycle, stop, restart_cycle, begun;
static pthread_t threads[THREADS];
static int pipefd[2], sock[2];
static sem_t never;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER, busy = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static volatile long work[THREADS], seen[THREADS];

static __thread int me;
static struct {
	volatile uintptr_t sp;
	volatile int stopped, cycle;
} state[THREADS];

static void on_suspend(int sig)
{
	int mine = cycle, err = errno;
	sigset_t set;
	char here;

	if (state[me].cycle == mine)
		return; /* one of an earlier round came late */
	state[me].cycle = mine;
	state[me].sp = (uintptr_t)&here;
	__atomic_store_n(&state[me].stopped, 1, __ATOMIC_SEQ_CST);
	sem_post(&acks);
	sigfillset(&set);
	sigdelset(&set, SIGXCPU);
	while (__atomic_load_n(&restart_cycle, __ATOMIC_SEQ_CST) != mine)
		sigsuspend(&set);
	__atomic_store_n(&state[me].stopped, 0, __ATOMIC_SEQ_CST);
	sem_post(&acks);
	errno = err;
}

static void on_restart(int sig)
{
}

static void *mutator(void *arg)
{
	struct timespec ts = { 0, 200000 }, far;
	struct pollfd p = { pipefd[0], POLLIN, 0 };
	char c;

	me = (int)(long)arg;
	__atomic_add_fetch(&begun, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		switch (me % 10) {
		case 0: /* parked for good */
			while (sem_wait(&never) != 0 && !stop)
				;
			break;
		case 1:
			nanosleep(&ts, NULL);
			break;
		case 2:
			poll(&p, 1, -1);
			break;
		case 3:
			if (read(sock[0], &c, 1) == 0)
				return NULL;
			break;
		case 4:
			pthread_mutex_lock(&lock);
			work[me]++;
			pthread_mutex_unlock(&lock);
			break;
		case 5:
			pthread_mutex_lock(&lock);
			far = prog_after_ms(CLOCK_REALTIME, 1);
			pthread_cond_timedwait(&cond, &lock, &far);
			pthread_mutex_unlock(&lock);
			break;
		case 6:
			for (volatile int i = 0; i < 20000; i++)
				;
			break;
		case 7:
			free(malloc(1000 + (size_t)work[me] % 1000));
			break;
		case 8:
			pthread_rwlock_rdlock(&rw);
			sched_yield();
			pthread_rwlock_unlock(&rw);
			break;
		default:
			pthread_mutex_lock(&busy); /* held most of the time by one of them, asleep */
			nanosleep(&ts, NULL);
			pthread_mutex_unlock(&busy);
		}
		work[me]++;
		if (me >= 10)
			nanosleep(&ts, NULL);
	}
	return arg;
}

static void take_acks(int n)
{
	while (n > 0)
		if (sem_wait(&acks) == 0)
			n--;
		else
			CHECK_EQ(errno, EINTR);
}

int main(void)
{
	struct sigaction sa = { .sa_handler = on_suspend, .sa_flags = SA_RESTART };
	int value;

	prog_init();
	sem_init(&acks, 0, 0);
	sem_init(&never, 0, 0);
	CHECK_EQ(pipe(pipefd), 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sock), 0);
	sigfillset(&sa.sa_mask);
	CHECK_EQ(sigaction(SIGPWR, &sa, NULL), 0);
	sa.sa_handler = on_restart;
	CHECK_EQ(sigaction(SIGXCPU, &sa, NULL), 0);
	for (long i = 0; i < THREADS; i++)
		threads[i] = prog_start(mutator, (void *)i);
	while (__atomic_load_n(&begun, __ATOMIC_ACQUIRE) < THREADS)
		sched_yield();
	for (int round = 1; round <= ROUNDS; round++) {
		__atomic_store_n(&cycle, round, __ATOMIC_SEQ_CST);
		for (int i = 0; i < THREADS; i++)
			CHECK_EQ(pthread_kill(threads[i], SIGPWR), 0);
		take_acks(THREADS);
		for (int i = 0; i < THREADS; i++) {
			CHECK_EQ(state[i].stopped, 1);
			CHECK_EQ(state[i].cycle, round);
			seen[i] = work[i];
		}
		if (round % 10 == 0)
			prog_nap_ms(1);
		for (int i = 0; i < THREADS; i++)
			CHECK_EQ(work[i], seen[i]); /* nobody moved */
		__atomic_store_n(&restart_cycle, round, __ATOMIC_SEQ_CST);
		for (int i = 0; i < THREADS; i++)
			CHECK_EQ(pthread_kill(threads[i], SIGXCPU), 0);
		take_acks(THREADS);
		if (round % 5 == 0)
			prog_nap_ms(1);
	}
	CHECK_EQ(sem_getvalue(&acks, &value), 0);
	CHECK_EQ(value, 0);
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < THREADS; i++)
		sem_post(&never);
	CHECK_EQ(write(pipefd[1], "x", 1), 1);
	close(sock[1]);
	for (int i = 0; i < THREADS; i++)
		prog_join(threads[i]);
	printf("%d collections\n", ROUNDS);
	return 0;
}
