// SPDX-License-Identifier: MIT
/*
 * Threads that wait in every way, to be looked at from outside: waits N [crash|abort|deadlock|rwlock]. Prints "ready"
 * when all are about to wait, then reads a line from stdin and goes on: exits with 0, faults, aborts, or waits for what
 * never comes.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER, cond_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t written = PTHREAD_RWLOCK_INITIALIZER;
static sem_t empty;
static int pair[2];
static atomic_int running, stop;

__attribute__((noinline)) static void deep_in_program(int n)
{
	if (n > 0) {
		deep_in_program(n - 1);
	} else {
		pthread_mutex_lock(&held);
		pthread_mutex_unlock(&held);
	}
	__asm__ volatile("" ::: "memory"); /* no tail call */
}

static void *wait_mutex(void *arg)
{
	atomic_fetch_add(&running, 1);
	deep_in_program(3);
	return arg;
}

static void *wait_cond(void *arg)
{
	pthread_mutex_lock(&cond_lock);
	atomic_fetch_add(&running, 1);
	while (!stop)
		pthread_cond_wait(&never, &cond_lock);
	pthread_mutex_unlock(&cond_lock);
	return arg;
}

static void *wait_rwlock(void *arg)
{
	atomic_fetch_add(&running, 1);
	pthread_rwlock_rdlock(&written);
	return arg;
}

static void *wait_sem(void *arg)
{
	atomic_fetch_add(&running, 1);
	sem_wait(&empty);
	return arg;
}

static void *wait_socket(void *arg)
{
	char c;

	atomic_fetch_add(&running, 1);
	return read(pair[0], &c, 1) == 1 ? arg : NULL;
}

static void *wait_sleep(void *arg)
{
	atomic_fetch_add(&running, 1);
	sleep(1000);
	return arg;
}

static void *burn(void *arg)
{
	atomic_fetch_add(&running, 1);
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		;
	return arg;
}

__attribute__((noinline)) static void fault_here(void)
{
	static volatile int *volatile nowhere;

	*nowhere = 1;
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 10;
	const char *end = argc > 2 ? argv[2] : "";
	int deadlock = strcmp(end, "deadlock") == 0;
	pthread_attr_t attr;
	pthread_t th;
	char line[8];

	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	sem_init(&empty, 0, 0);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	pthread_mutex_lock(&held);
	for (int i = 0; i < n; i++) {
		void *(*fn)(void *) = deadlock	 ? wait_mutex
				      : i == 0	 ? wait_cond
				      : i == 1	 ? wait_sem
				      : i == 2	 ? wait_socket
				      : i == 3	 ? wait_sleep
				      : i == 4	 ? burn
						 : wait_mutex;
		if (pthread_create(&th, &attr, fn, NULL) != 0)
			return 1;
		if (i == 1)
			pthread_setname_np(th, "semmy");
	}
	if (strcmp(end, "rwlock") == 0) { /* one more */
		pthread_rwlock_wrlock(&written);
		if (pthread_create(&th, &attr, wait_rwlock, NULL) != 0)
			return 1;
		n++;
	}
	while (running < n)
		usleep(1000);
	puts("ready");
	fflush(stdout);
	if (deadlock)
		pthread_join(th, NULL);
	if (read(0, line, sizeof(line)) < 0)
		return 1;
	if (strcmp(end, "crash") == 0)
		fault_here();
	if (strcmp(end, "abort") == 0)
		abort();
	puts("bye");
	return 0;
}
