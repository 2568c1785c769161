/* SPDX-License-Identifier: MIT */
/*
 * fork from a thread while eight others compute, lock, allocate and print: the child has one
 * thread, its malloc, stdio, threads, sleeps, pipes and a further fork work, and its exit status
 * arrives.
 */
#include "prog.h"

#include <sys/wait.h>

static volatile int stop;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *null;
static __thread int tls = 11;

static void *busy(void *arg)
{
	long kind = (long)arg;

	while (!stop) {
		void *p = malloc((size_t)(100 + kind * 1000));

		memset(p, 1, 100);
		pthread_mutex_lock(&lock);
		fprintf(null, "busy %ld\n", kind);
		pthread_mutex_unlock(&lock);
		free(p);
		if (kind % 3 == 0)
			prog_nap_ms(1);
		else
			sched_yield();
	}
	return NULL;
}

static void *child_thread(void *arg)
{
	CHECK_EQ(tls, 11);
	free(malloc(10000));
	prog_nap_ms(1);
	return (char *)arg + 1;
}

static void *writes(void *arg)
{
	prog_nap_ms(1);
	CHECK_EQ(write(*(int *)arg, "child", 5), 5);
	return NULL;
}

/* Ends by exit(), which gcc takes for an endless recursion: hence a pointer. */
static void (*volatile again)(int depth, int code);

static void in_child(int depth, int code)
{
	pthread_mutex_t mine = PTHREAD_MUTEX_INITIALIZER;
	char buf[8], text[64];
	pthread_t ts[4];
	int p[2], status;
	pid_t pid;

	CHECK_EQ(tls, 12);			/* the forking thread's own value */
	CHECK_EQ(syscall(SYS_gettid), getpid());
	CHECK_EQ(pthread_mutex_lock(&mine), 0);
	for (int i = 0; i < 100; i++)
		free(malloc((size_t)i * 300));
	snprintf(text, sizeof(text), "%d %s", depth, "child");
	CHECK(!strcmp(text + 2, "child"));
	for (long i = 0; i < 4; i++)
		ts[i] = prog_start(child_thread, (void *)i);
	for (long i = 0; i < 4; i++)
		CHECK(prog_join(ts[i]) == (void *)(i + 1));
	CHECK_EQ(pipe(p), 0);
	ts[0] = prog_start(writes, &p[1]);
	CHECK_EQ(read(p[0], buf, 5), 5);
	prog_join(ts[0]);
	prog_nap_ms(2);
	CHECK_EQ(pthread_mutex_unlock(&mine), 0);
	if (depth > 0) {
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0)
			again(depth - 1, code + 1);
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		CHECK(WIFEXITED(status));
		CHECK_EQ(WEXITSTATUS(status), code + 1);
	}
	fprintf(null, "bye\n");
	exit(code);
}

static void *forks(void *arg)
{
	int rounds = (int)(long)arg, status;
	pid_t pid;

	tls = 12;
	for (int i = 0; i < rounds; i++) {
		fflush(stdout);
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0)
			in_child(i % 3, 20 + i % 5);
		CHECK_EQ(tls, 12);
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		CHECK(WIFEXITED(status));
		CHECK_EQ(WEXITSTATUS(status), 20 + i % 5);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t ts[8], a, b;

	prog_init();
	again = in_child;
	null = fopen("/dev/null", "w");
	CHECK(null);
	forks((void *)2L);		/* before the first thread */
	puts("alone ok");
	for (long i = 0; i < 8; i++)
		ts[i] = prog_start(busy, (void *)i);
	forks((void *)3L);
	puts("main ok");
	prog_join(prog_start(forks, (void *)(5L * prog_scale(argc, argv))));
	puts("thread ok");
	a = prog_start(forks, (void *)4L);
	b = prog_start(forks, (void *)4L);
	prog_join(a);
	prog_join(b);
	puts("two forkers ok");
	stop = 1;
	for (int i = 0; i < 8; i++)
		prog_join(ts[i]);
	return 0;
}
