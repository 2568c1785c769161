/* SPDX-License-Identifier: MIT */
/*
 * A forked child whose main thread is bound to its kernel thread, by a timer on its CPU clock or by CPU affinity: its
 * first wait may be ended by another thread before it has begun to sleep, and its affinity is that of its parent.
 */
#include "prog.h"

#include <semaphore.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

static sem_t sem;
static volatile int ready;
static int delay;

static void *posts(void *arg)
{
	while (!ready)
		;
	for (volatile int i = 0; i < delay; i++)
		;
	CHECK_EQ(sem_post(&sem), 0);
	return arg;
}

static void *yields(void *arg)
{
	for (int i = 0; i < 100; i++)
		sched_yield();
	return arg;
}

/* Bound in the child: before, the timer is not inherited and nothing is bound. */
static void first_wait(void)
{
	struct sigevent ev = {.sigev_notify = SIGEV_NONE};
	pthread_t t;
	timer_t id;

	CHECK_EQ(sem_init(&sem, 0, 0), 0);
	CHECK_EQ(pthread_create(&t, NULL, posts, NULL), 0);
	CHECK_EQ(timer_create(CLOCK_THREAD_CPUTIME_ID, &ev, &id), 0);
	ready = 1;
	CHECK_EQ(sem_wait(&sem), 0);
	CHECK_EQ(pthread_join(t, NULL), 0);
	CHECK_EQ(timer_delete(id), 0);
	_exit(0);
}

static void keeps_affinity(int cpu)
{
	pthread_t ts[4];
	cpu_set_t set;

	for (int i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&ts[i], NULL, yields, NULL), 0);
	for (int i = 0; i < 100; i++) {
		CHECK_EQ(sched_getcpu(), cpu);
		CHECK_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
		CHECK(CPU_COUNT(&set) == 1 && CPU_ISSET(cpu, &set));
		usleep(50); /* whoever looks at the timers finds it runnable */
	}
	for (int i = 0; i < 4; i++)
		CHECK_EQ(pthread_join(ts[i], NULL), 0);
	CHECK_EQ(sched_getcpu(), cpu);
	_exit(0);
}

static void wait_child(pid_t pid)
{
	int status = -1;

	CHECK(pid > 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

static void *bound(void *arg)
{
	cpu_set_t all, one;
	int cpu = CPU_SETSIZE - 1;

	CHECK_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
	while (!CPU_ISSET(cpu, &all))
		cpu--;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	CHECK_EQ(pthread_setaffinity_np(pthread_self(), sizeof(one), &one), 0);
	for (int i = 0; i < 10; i++) {
		pid_t pid = fork();

		if (pid == 0)
			keeps_affinity(cpu);
		wait_child(pid);
	}
	return arg;
}

int main(void)
{
	pthread_t t;

	CHECK_EQ(pthread_create(&t, NULL, yields, NULL), 0); /* the parent has threads */
	CHECK_EQ(pthread_join(t, NULL), 0);
	for (int i = 0; i < 300; i++) {
		pid_t pid;

		delay = i % 60 * 40;
		pid = fork();
		if (pid == 0)
			first_wait();
		wait_child(pid);
	}
	CHECK_EQ(pthread_create(&t, NULL, bound, NULL), 0);
	CHECK_EQ(pthread_join(t, NULL), 0);
	puts("bound children ok");
	return 0;
}
