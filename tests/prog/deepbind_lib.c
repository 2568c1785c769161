/* SPDX-License-Identifier: MIT */
/* Opened by deepbind with RTLD_DEEPBIND: what it calls is looked for in itself and its own libraries first. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <time.h>
#include <unistd.h>

struct shared {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	sem_t sem;
	int turn, pipe[2];
};

int deep_rounds(struct shared *s, int me, int n);
int deep_threads(struct shared *s, int n);

/* In turns with a thread of the program's: a lock, a condition, a semaphore, a pipe, a sleep. 0, or where it failed. */
int deep_rounds(struct shared *s, int me, int n)
{
	struct timespec ts = { 0, 100000 };
	char c = 'x';

	for (int i = 0; i < n; i++) {
		if (pthread_mutex_lock(&s->lock) != 0)
			return 1;
		while (s->turn != me)
			if (pthread_cond_wait(&s->cond, &s->lock) != 0)
				return 2;
		s->turn = !me;
		if (pthread_cond_broadcast(&s->cond) != 0 || pthread_mutex_unlock(&s->lock) != 0)
			return 3;
		if (me ? sem_post(&s->sem) != 0 : sem_wait(&s->sem) != 0 && errno != EINTR)
			return 4;
		if (me ? read(s->pipe[0], &c, 1) != 1 : write(s->pipe[1], &c, 1) != 1)
			return 5;
		if (i % 16 == 0 && nanosleep(&ts, NULL) != 0)
			return 6;
	}
	return 0;
}

struct job {
	struct shared *s;
	int me, n, ret;
};

static void *runs(void *arg)
{
	struct job *j = arg;

	j->ret = deep_rounds(j->s, j->me, j->n);
	return arg;
}

/* Both sides in threads of the library's own. */
int deep_threads(struct shared *s, int n)
{
	struct job j[2] = { { s, 0, n, 0 }, { s, 1, n, 0 } };
	pthread_t t[2];

	for (int i = 0; i < 2; i++)
		if (pthread_create(&t[i], NULL, runs, &j[i]) != 0)
			return 11;
	for (int i = 0; i < 2; i++)
		if (pthread_join(t[i], NULL) != 0)
			return 12;
	return j[0].ret + j[1].ret;
}
