/* SPDX-License-Identifier: MIT */
/*
 * Mutexes whose owner matters to the kernel: robust ones report EOWNERDEAD after a thread or a
 * process died with them, PI ones exclude and hand over, process-shared ones work between parent
 * and child.
 */
#include "prog.h"

#include <semaphore.h>
#include <sys/mman.h>
#include <sys/wait.h>

struct area {
	pthread_mutex_t robust, shared, recursive;
	pthread_cond_t cond;
	pthread_barrier_t barrier;
	pthread_rwlock_t rwlock;
	sem_t sem;
	int turn, counter;
};

static struct area *area;

static void init_mutex(pthread_mutex_t *m, int type, int shared, int robust, int protocol)
{
	pthread_mutexattr_t attr;

	CHECK_EQ(pthread_mutexattr_init(&attr), 0);
	CHECK_EQ(pthread_mutexattr_settype(&attr, type), 0);
	CHECK_EQ(pthread_mutexattr_setpshared(&attr, shared), 0);
	CHECK_EQ(pthread_mutexattr_setrobust(&attr, robust), 0);
	CHECK_EQ(pthread_mutexattr_setprotocol(&attr, protocol), 0);
	CHECK_EQ(pthread_mutex_init(m, &attr), 0);
	CHECK_EQ(pthread_mutexattr_destroy(&attr), 0);
}

static void *dies_with(void *arg)
{
	CHECK_EQ(pthread_mutex_lock(arg), 0);
	return NULL;
}

static void *waits_for_dead(void *arg)
{
	int err = pthread_mutex_lock(arg);

	if (err == EOWNERDEAD)
		CHECK_EQ(pthread_mutex_consistent(arg), 0);
	else
		CHECK_EQ(err, 0);
	CHECK_EQ(pthread_mutex_unlock(arg), 0);
	return (void *)(long)err;
}

static void *dies_late(void *arg)
{
	CHECK_EQ(pthread_mutex_lock(arg), 0);
	pthread_barrier_wait(&area->barrier);
	prog_nap_ms(5);
	return NULL;
}

static void *dies_with_the_dead(void *arg)
{
	CHECK_EQ(pthread_mutex_trylock(arg), EOWNERDEAD);
	pthread_barrier_wait(&area->barrier);
	prog_nap_ms(5);
	return NULL;
}

static void check_robust(int type, int protocol)
{
	pthread_t ts[5], t;
	pthread_mutex_t m;
	int dead = 0;

	init_mutex(&m, type, PTHREAD_PROCESS_PRIVATE, PTHREAD_MUTEX_ROBUST, protocol);
	prog_join(prog_start(dies_with, &m));
	CHECK_EQ(pthread_mutex_lock(&m), EOWNERDEAD);
	CHECK_EQ(pthread_mutex_consistent(&m), 0);
	CHECK_EQ(pthread_mutex_unlock(&m), 0);
	CHECK_EQ(pthread_mutex_lock(&m), 0);
	CHECK_EQ(pthread_mutex_unlock(&m), 0);
	CHECK_EQ(pthread_mutex_consistent(&m), EINVAL);
	for (int twice = 0; twice < 2; twice++) {
		if (twice)
			prog_join(prog_start(dies_with, &m));
		t = prog_start(twice ? dies_with_the_dead : dies_late, &m);
		pthread_barrier_wait(&area->barrier);
		for (int i = 0; i < 5; i++)
			ts[i] = prog_start(waits_for_dead, &m);
		for (int i = 0; i < 5; i++)
			dead += (long)prog_join(ts[i]) == EOWNERDEAD;
		CHECK_EQ(dead, 1 + twice);
		prog_join(t);
	}
	prog_join(prog_start(dies_with, &m));
	CHECK_EQ(pthread_mutex_trylock(&m), EOWNERDEAD);
	CHECK_EQ(pthread_mutex_unlock(&m), 0);		/* not made consistent */
	CHECK_EQ(pthread_mutex_lock(&m), ENOTRECOVERABLE);
	CHECK_EQ(pthread_mutex_destroy(&m), 0);
}

static pthread_mutex_t pi;
static int pi_counter;

static void *counts_pi(void *arg)
{
	struct timespec far;

	for (int i = 0; i < 300; i++) {
		far = prog_after_ms(CLOCK_REALTIME, 600000);
		CHECK_EQ(i % 3 ? pthread_mutex_lock(&pi) : pthread_mutex_timedlock(&pi, &far), 0);
		pi_counter++;
		if (i % 20 == 0)
			sched_yield();
		CHECK_EQ(pthread_mutex_unlock(&pi), 0);
	}
	return arg;
}

static void *finds_pi_held(void *arg)
{
	struct timespec until = prog_after_ms(CLOCK_REALTIME, 10);

	CHECK_EQ(pthread_mutex_trylock(&pi), EBUSY);
	CHECK_EQ(pthread_mutex_timedlock(&pi, &until), ETIMEDOUT);
	return arg;
}

static void check_pi(int type)
{
	pthread_t ts[6];

	pi_counter = 0;
	init_mutex(&pi, type, PTHREAD_PROCESS_PRIVATE, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_INHERIT);
	CHECK_EQ(pthread_mutex_lock(&pi), 0);
	if (type == PTHREAD_MUTEX_ERRORCHECK)
		CHECK_EQ(pthread_mutex_lock(&pi), EDEADLK);
	if (type == PTHREAD_MUTEX_RECURSIVE) {
		CHECK_EQ(pthread_mutex_lock(&pi), 0);
		CHECK_EQ(pthread_mutex_unlock(&pi), 0);
	}
	prog_join(prog_start(finds_pi_held, NULL));
	for (int i = 0; i < 6; i++)
		ts[i] = prog_start(counts_pi, NULL);
	prog_nap_ms(1);
	CHECK_EQ(pthread_mutex_unlock(&pi), 0);
	for (int i = 0; i < 6; i++)
		prog_join(ts[i]);
	CHECK_EQ(pi_counter, 1800);
	CHECK_EQ(pthread_mutex_destroy(&pi), 0);
}

static void *plays(void *arg)
{
	int mine = (int)(long)arg;

	for (int i = 0; i < 200; i++) {
		CHECK_EQ(pthread_mutex_lock(&area->shared), 0);
		while (area->turn % 2 != mine)
			CHECK_EQ(pthread_cond_wait(&area->cond, &area->shared), 0);
		area->turn++;
		pthread_cond_signal(&area->cond);
		CHECK_EQ(pthread_mutex_unlock(&area->shared), 0);
		CHECK_EQ(pthread_mutex_lock(&area->recursive), 0);
		CHECK_EQ(pthread_mutex_lock(&area->recursive), 0);
		CHECK_EQ(++area->counter, 1);
		sched_yield();
		CHECK_EQ(--area->counter, 0);
		CHECK_EQ(pthread_mutex_unlock(&area->recursive), 0);
		CHECK_EQ(pthread_mutex_unlock(&area->recursive), 0);
	}
	pthread_barrier_wait(&area->barrier);
	return NULL;
}

static void check_shared(void)
{
	int status;
	pid_t pid;

	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		prog_join(prog_start(plays, (void *)1));
		sem_post(&area->sem);
		CHECK_EQ(pthread_rwlock_wrlock(&area->rwlock), 0);
		CHECK_EQ(area->turn, 1000);
		CHECK_EQ(pthread_rwlock_unlock(&area->rwlock), 0);
		CHECK_EQ(pthread_mutex_lock(&area->robust), 0);
		sem_post(&area->sem);
		_exit(3);			/* dies with the robust mutex */
	}
	CHECK_EQ(pthread_rwlock_wrlock(&area->rwlock), 0);
	prog_join(prog_start(plays, (void *)0));
	CHECK_EQ(sem_wait(&area->sem), 0);
	CHECK_EQ(area->turn, 400);
	prog_nap_ms(5);
	area->turn = 1000;
	CHECK_EQ(pthread_rwlock_unlock(&area->rwlock), 0);
	CHECK_EQ(sem_wait(&area->sem), 0);
	CHECK_EQ(pthread_mutex_lock(&area->robust), EOWNERDEAD);
	CHECK_EQ(pthread_mutex_consistent(&area->robust), 0);
	CHECK_EQ(pthread_mutex_unlock(&area->robust), 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), 3);
}

int main(void)
{
	pthread_barrierattr_t battr;
	pthread_rwlockattr_t rattr;
	pthread_condattr_t cattr;

	prog_init();
	area = mmap(NULL, sizeof(*area), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(area != MAP_FAILED);
	init_mutex(&area->robust, PTHREAD_MUTEX_NORMAL, PTHREAD_PROCESS_SHARED,
		   PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_NONE);
	init_mutex(&area->shared, PTHREAD_MUTEX_NORMAL, PTHREAD_PROCESS_SHARED,
		   PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE);
	init_mutex(&area->recursive, PTHREAD_MUTEX_RECURSIVE, PTHREAD_PROCESS_SHARED,
		   PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE);
	pthread_condattr_init(&cattr);
	CHECK_EQ(pthread_condattr_setpshared(&cattr, PTHREAD_PROCESS_SHARED), 0);
	CHECK_EQ(pthread_cond_init(&area->cond, &cattr), 0);
	pthread_barrierattr_init(&battr);
	CHECK_EQ(pthread_barrierattr_setpshared(&battr, PTHREAD_PROCESS_SHARED), 0);
	CHECK_EQ(pthread_barrier_init(&area->barrier, &battr, 2), 0);
	pthread_rwlockattr_init(&rattr);
	CHECK_EQ(pthread_rwlockattr_setpshared(&rattr, PTHREAD_PROCESS_SHARED), 0);
	CHECK_EQ(pthread_rwlock_init(&area->rwlock, &rattr), 0);
	CHECK_EQ(sem_init(&area->sem, 1, 0), 0);

	check_robust(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE);
	check_robust(PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_NONE);
	check_robust(PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE);
	puts("robust ok");
	check_pi(PTHREAD_MUTEX_NORMAL);
	check_pi(PTHREAD_MUTEX_ERRORCHECK);
	check_pi(PTHREAD_MUTEX_RECURSIVE);
	puts("pi ok");
	check_robust(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT);
	puts("robust pi ok");
	check_shared();
	puts("shared ok");
	return 0;
}
