/* SPDX-License-Identifier: MIT */
/*
 * pthread_atfork: prepare handlers run last-in first-out, parent and child handlers in order, all
 * in the forking thread, and a lock protected that way is usable in the child.
 */
#include "prog.h"

#include <sys/wait.h>

static char order[64];
static pthread_t forker;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static volatile int stop;
static int owner_count;

static void note(char c)
{
	size_t n = strlen(order);

	CHECK(pthread_equal(pthread_self(), forker));
	CHECK(n + 1 < sizeof(order));
	order[n] = c;
}

static void prepare1(void) { note('1'); }
static void parent1(void) { note('a'); }
static void child1(void) { note('x'); }

static void prepare2(void)
{
	note('2');
	CHECK_EQ(pthread_mutex_lock(&lock), 0);
}

static void parent2(void)
{
	CHECK_EQ(pthread_mutex_unlock(&lock), 0);
	note('b');
}

static void child2(void)
{
	CHECK_EQ(pthread_mutex_unlock(&lock), 0);
	note('y');
}

static void *locks(void *arg)
{
	while (!stop) {
		pthread_mutex_lock(&lock);
		CHECK_EQ(++owner_count, 1);
		sched_yield();
		CHECK_EQ(--owner_count, 0);
		pthread_mutex_unlock(&lock);
	}
	return arg;
}

static void *forks(void *arg)
{
	int status;
	pid_t pid;

	forker = pthread_self();
	for (int i = 0; i < 20; i++) {
		memset(order, 0, sizeof(order));
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			CHECK(!strcmp(order, "21xy"));
			CHECK_EQ(pthread_mutex_lock(&lock), 0);
			CHECK_EQ(owner_count, 0);
			CHECK_EQ(pthread_mutex_unlock(&lock), 0);
			_exit(33);
		}
		CHECK(!strcmp(order, "21ab"));
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		CHECK(WIFEXITED(status));
		CHECK_EQ(WEXITSTATUS(status), 33);
	}
	return arg;
}

int main(void)
{
	pthread_t ts[4];

	prog_init();
	CHECK_EQ(pthread_atfork(prepare1, parent1, child1), 0);
	CHECK_EQ(pthread_atfork(prepare2, parent2, child2), 0);
	CHECK_EQ(pthread_atfork(NULL, NULL, NULL), 0);
	forks(NULL);
	puts("alone ok");
	for (int i = 0; i < 4; i++)
		ts[i] = prog_start(locks, NULL);
	prog_join(prog_start(forks, NULL));
	stop = 1;
	for (int i = 0; i < 4; i++)
		prog_join(ts[i]);
	puts("thread ok");
	return 0;
}
