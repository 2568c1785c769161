/* SPDX-License-Identifier: MIT */
/*
 * A library opened with RTLD_DEEPBIND, once threads exist or before there are any, takes turns with the program on the
 * same mutex, condition, semaphore and pipe, sleeps, and creates threads, while others compute.
 */
#include "prog.h"

#include <semaphore.h>
#include <sys/wait.h>

#define ROUNDS 100

struct shared { /* as in deepbind_lib.c */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	sem_t sem;
	int turn, pipe[2];
};

static struct shared s = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };
static int (*deep_rounds)(struct shared *, int, int), (*deep_threads)(struct shared *, int);
static volatile int stop;

static void *computes(void *arg)
{
	while (!stop)
		;
	return arg;
}

static void *their_side(void *arg)
{
	CHECK_EQ(deep_rounds(&s, 1, ROUNDS), 0);
	return arg;
}

/* As deep_rounds, with the program's own calls. */
static void *our_side(void *arg)
{
	char c = 'x';

	for (int i = 0; i < ROUNDS; i++) {
		CHECK_EQ(pthread_mutex_lock(&s.lock), 0);
		while (s.turn != 0)
			CHECK_EQ(pthread_cond_wait(&s.cond, &s.lock), 0);
		s.turn = 1;
		CHECK_EQ(pthread_cond_broadcast(&s.cond), 0);
		CHECK_EQ(pthread_mutex_unlock(&s.lock), 0);
		CHECK_EQ(sem_wait(&s.sem), 0);
		CHECK_EQ(write(s.pipe[1], &c, 1), 1);
	}
	return arg;
}

static int take_turns(void)
{
	pthread_t a, b, hog;
	char path[4096];
	void *h;

	prog_beside(path, sizeof(path), "deepbind_lib.so");
	h = dlopen(path, RTLD_NOW | RTLD_DEEPBIND);
	if (h == NULL) {
		dprintf(2, "%s\n", dlerror());
		return 1;
	}
	deep_rounds = (int (*)(struct shared *, int, int))dlsym(h, "deep_rounds");
	deep_threads = (int (*)(struct shared *, int))dlsym(h, "deep_threads");
	CHECK(deep_rounds != NULL && deep_threads != NULL);
	sem_init(&s.sem, 0, 0);
	CHECK_EQ(pipe(s.pipe), 0);
	hog = prog_start(computes, NULL);
	a = prog_start(our_side, NULL);
	b = prog_start(their_side, NULL);
	prog_join(a);
	prog_join(b);
	puts("in turns");
	CHECK_EQ(deep_threads(&s, ROUNDS), 0);
	puts("its own threads");
	stop = 1;
	prog_join(hog);
	return 0;
}

int main(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) { /* there are no threads yet */
		setvbuf(stdout, NULL, _IOLBF, 0);
		return take_turns();
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	prog_init();
	return take_turns();
}
