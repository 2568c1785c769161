/* SPDX-License-Identifier: MIT */
/*
 * How costs grow with the number of threads: an ordinary pthread program that knows nothing of the shim.
 *
 *	growth switch N		sched_yield among N threads
 *	growth wake N		a semaphore round trip with one of N parked threads, each in turn
 *	growth poll N		a socket round trip with one of N threads blocked in read, each in turn
 *	growth create N		pthread_create of N threads that stay
 *	growth idle N		N threads blocked in read, nothing happens
 *
 * One line "value unit": ns per operation of wall-clock time; idle: CPU ns in a second. growth.go does the same with
 * goroutines. Status 3: the threads or descriptors cannot be had.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STACK ((size_t)64 << 10)
#define MIN_OPS 400000L
#define STRIDE 7919 /* a prime: the next thread is far away in memory */

struct peer {
	pthread_t thread;
	sem_t go;
	int fd[2];
};

static struct peer *peers;
static long n, rounds;
static sem_t all_there, gate, answer;
static _Atomic(long) there;

static int64_t ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static void impossible(const char *what)
{
	perror(what);
	exit(3);
}

static void arrive(void)
{
	if (++there == n)
		sem_post(&all_there);
}

static void *yields(void *arg)
{
	arrive();
	sem_wait(&gate);
	for (long i = 0; i < rounds; i++)
		sched_yield();
	if (--there == 0)
		sem_post(&all_there);
	return arg;
}

static void *answers(void *arg)
{
	struct peer *p = arg;

	arrive();
	while (sem_wait(&p->go) == 0)
		sem_post(&answer);
	return NULL;
}

static void *echoes(void *arg)
{
	struct peer *p = arg;
	char c;

	arrive();
	while (read(p->fd[1], &c, 1) == 1)
		if (write(p->fd[1], &c, 1) != 1)
			break;
	return NULL;
}

static void start_all(void *(*fn)(void *))
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	for (long i = 0; i < n; i++)
		if (pthread_create(&peers[i].thread, &attr, fn, &peers[i]) != 0)
			impossible("pthread_create");
}

static void open_all(void)
{
	struct rlimit lim;

	getrlimit(RLIMIT_NOFILE, &lim);
	lim.rlim_cur = lim.rlim_max;
	setrlimit(RLIMIT_NOFILE, &lim);
	for (long i = 0; i < n; i++)
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, peers[i].fd) != 0)
			impossible("socketpair");
}

static double time_switch(void)
{
	int64_t t;

	rounds = MIN_OPS / n > 4 ? MIN_OPS / n : 4;
	start_all(yields);
	sem_wait(&all_there);
	t = ns(CLOCK_MONOTONIC);
	for (long i = 0; i < n; i++)
		sem_post(&gate);
	sem_wait(&all_there);
	return (double)(ns(CLOCK_MONOTONIC) - t) / (double)(n * rounds);
}

static double time_wake(void)
{
	long ops = n > MIN_OPS ? n : MIN_OPS;
	int64_t t;

	start_all(answers);
	sem_wait(&all_there);
	t = ns(CLOCK_MONOTONIC);
	for (long i = 0; i < ops; i++) {
		sem_post(&peers[i * STRIDE % n].go);
		sem_wait(&answer);
	}
	return (double)(ns(CLOCK_MONOTONIC) - t) / (double)ops;
}

static double time_poll(void)
{
	long ops = MIN_OPS / 8 > n ? MIN_OPS / 8 : n;
	int64_t t;
	char c = 0;

	open_all();
	start_all(echoes);
	sem_wait(&all_there);
	t = ns(CLOCK_MONOTONIC);
	for (long i = 0; i < ops; i++) {
		int fd = peers[i * STRIDE % n].fd[0];

		if (write(fd, &c, 1) != 1 || read(fd, &c, 1) != 1)
			impossible("socket");
	}
	return (double)(ns(CLOCK_MONOTONIC) - t) / (double)ops;
}

static double time_create(void)
{
	int64_t t = ns(CLOCK_MONOTONIC);

	start_all(answers);
	sem_wait(&all_there);
	return (double)(ns(CLOCK_MONOTONIC) - t) / (double)n;
}

static double cpu_idle(void)
{
	int64_t t;

	open_all();
	start_all(echoes);
	sem_wait(&all_there);
	sleep(1); /* until all have gone to sleep, and whoever looks after them has lost interest */
	t = ns(CLOCK_PROCESS_CPUTIME_ID);
	sleep(1);
	return (double)(ns(CLOCK_PROCESS_CPUTIME_ID) - t);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		double (*run)(void);
	} all[] = {{"switch", time_switch}, {"wake", time_wake}, {"poll", time_poll}, {"create", time_create},
		   {"idle", cpu_idle}};

	n = argc == 3 ? atol(argv[2]) : 0;
	for (size_t i = 0; n > 0 && i < sizeof(all) / sizeof(all[0]); i++) {
		if (strcmp(argv[1], all[i].name) != 0)
			continue;
		peers = calloc((size_t)n, sizeof(*peers));
		if (peers == NULL)
			impossible("calloc");
		for (long j = 0; j < n; j++)
			sem_init(&peers[j].go, 0, 0);
		sem_init(&all_there, 0, 0);
		sem_init(&gate, 0, 0);
		sem_init(&answer, 0, 0);
		printf("%.1f ns\n", all[i].run());
		fflush(stdout);
		_exit(0);
	}
	fputs("usage: growth switch|wake|poll|create|idle N\n", stderr);
	return 2;
}
