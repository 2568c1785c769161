/* SPDX-License-Identifier: MIT */
/*
 * Shared memory between this process and one started without LD_PRELOAD: an ordinary, an errorcheck and a robust
 * mutex, a condition, a rwlock, a barrier and a semaphore, used by threads on both sides; then each side dies with
 * robust mutexes (ordinary and with priority inheritance), the other is told.
 */
#include "prog.h"

#include <semaphore.h>
#include <sys/mman.h>
#include <signal.h>
#include <sys/wait.h>

#define THREADS 3
#define ROUNDS	200

struct area {
	pthread_mutex_t plain, check, robust, robust_pi;
	pthread_cond_t cond;
	pthread_rwlock_t rwlock;
	pthread_barrier_t barrier;
	sem_t sem;
	int turn, counter, inside, readers_ok;
};

static struct area *area;

static void init_mutex(pthread_mutex_t *m, int type, int robust, int protocol)
{
	pthread_mutexattr_t attr;

	CHECK_EQ(pthread_mutexattr_init(&attr), 0);
	CHECK_EQ(pthread_mutexattr_settype(&attr, type), 0);
	CHECK_EQ(pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED), 0);
	CHECK_EQ(pthread_mutexattr_setrobust(&attr, robust), 0);
	CHECK_EQ(pthread_mutexattr_setprotocol(&attr, protocol), 0);
	CHECK_EQ(pthread_mutex_init(m, &attr), 0);
}

static void *counts(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_t *m = i % 3 == 0 ? &area->robust_pi : i % 3 == 1 ? &area->robust : &area->check;

		CHECK_EQ(pthread_mutex_lock(m), 0);
		if (m == &area->check) {
			CHECK_EQ(pthread_mutex_lock(m), EDEADLK);
			CHECK_EQ(++area->inside, 1);
			sched_yield();
			CHECK_EQ(--area->inside, 0);
		}
		CHECK_EQ(pthread_mutex_unlock(m), 0);
		CHECK_EQ(pthread_rwlock_wrlock(&area->rwlock), 0);
		area->counter++;
		CHECK_EQ(pthread_rwlock_unlock(&area->rwlock), 0);
		CHECK_EQ(pthread_rwlock_rdlock(&area->rwlock), 0);
		CHECK_EQ(pthread_rwlock_unlock(&area->rwlock), 0);
	}
	return arg;
}

/* The two processes take turns. */
static void *plays(void *arg)
{
	int mine = (int)(long)arg;

	for (int i = 0; i < ROUNDS; i++) {
		CHECK_EQ(pthread_mutex_lock(&area->plain), 0);
		while (area->turn % 2 != mine)
			CHECK_EQ(pthread_cond_wait(&area->cond, &area->plain), 0);
		area->turn++;
		CHECK_EQ(pthread_cond_broadcast(&area->cond), 0);
		CHECK_EQ(pthread_mutex_unlock(&area->plain), 0);
	}
	return arg;
}

static void work(int mine)
{
	pthread_t ts[THREADS], player = prog_start(plays, (void *)(long)mine);

	for (int i = 0; i < THREADS; i++)
		ts[i] = prog_start(counts, NULL);
	for (int i = 0; i < THREADS; i++)
		prog_join(ts[i]);
	prog_join(player);
	pthread_barrier_wait(&area->barrier);
}

static void *holds(void *arg)
{
	CHECK_EQ(pthread_mutex_lock(&area->robust), 0);
	CHECK_EQ(pthread_mutex_lock(&area->robust_pi), 0);
	sem_post(&area->sem);
	for (;;)
		pause();
	return arg;
}

static void inherit(pthread_mutex_t *m)
{
	CHECK_EQ(pthread_mutex_lock(m), EOWNERDEAD);
	CHECK_EQ(pthread_mutex_consistent(m), 0);
	CHECK_EQ(pthread_mutex_unlock(m), 0);
}

static void *inherits(void *arg)
{
	inherit(&area->robust);
	inherit(&area->robust_pi);
	return arg;
}

static void map(int fd)
{
	area = mmap(NULL, sizeof(*area), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(area != MAP_FAILED);
}

static pid_t start(char *self, const char *role, int fd, int plain)
{
	char num[16];
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid > 0)
		return pid;
	snprintf(num, sizeof(num), "%d", fd);
	if (plain) {
		unsetenv("LD_PRELOAD");
		unsetenv("GMPSHIM_EXPECT_LIVE");
	}
	execl(self, self, role, num, NULL);
	_exit(97);
}

static void ends(pid_t pid, int signal)
{
	int status;

	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status), signal);
}

/* Whoever is started dies with the robust mutexes while threads of ours wait for them. */
static void check_death(char *self, int fd, int plain)
{
	pid_t pid = start(self, "dies", fd, plain);
	pthread_t t;

	CHECK_EQ(sem_wait(&area->sem), 0);
	t = prog_start(inherits, NULL);
	prog_nap_ms(20);
	CHECK_EQ(kill(pid, SIGKILL), 0);
	ends(pid, SIGKILL);
	prog_join(t);
}

int main(int argc, char **argv)
{
	pthread_barrierattr_t battr;
	pthread_rwlockattr_t rattr;
	pthread_condattr_t cattr;
	char self[4096];
	pid_t pid;
	int fd;

	prog_init();
	if (argc > 2) {
		map(atoi(argv[2]));
		if (!strcmp(argv[1], "works")) {
			work(1);
		} else if (!strcmp(argv[1], "dies")) {
			prog_join(prog_start(holds, NULL));
		} else { /* the heir: as check_death, of its parent's grandchild */
			inherits(NULL);
		}
		return 0;
	}
	prog_beside(self, sizeof(self), "pshared_plain");
	fd = memfd_create("area", 0);
	CHECK(fd >= 0);
	CHECK_EQ(ftruncate(fd, sizeof(*area)), 0);
	map(fd);
	init_mutex(&area->plain, PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE);
	init_mutex(&area->check, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE);
	init_mutex(&area->robust, PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_NONE);
	init_mutex(&area->robust_pi, PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_INHERIT);
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

	for (int plain = 1; plain >= 0; plain--) {
		area->turn = area->counter = 0;
		pid = start(self, "works", fd, plain);
		work(0);
		ends(pid, 0);
		CHECK_EQ(area->turn, 2 * ROUNDS);
		CHECK_EQ(area->counter, 2 * THREADS * ROUNDS);
		printf("work ok, other side %d\n", plain);
		check_death(self, fd, plain);
		printf("death ok, other side %d\n", plain);
		/* our thread dies with them, a waiter over there inherits */
		CHECK_EQ(pthread_mutex_lock(&area->robust), 0);
		CHECK_EQ(pthread_mutex_lock(&area->robust_pi), 0);
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) { /* holds others of its own tid: nothing of ours */
			CHECK_EQ(pthread_mutex_trylock(&area->robust), EBUSY);
			CHECK_EQ(pthread_mutex_trylock(&area->robust_pi), EBUSY);
			_exit(0);
		}
		ends(pid, 0);
		CHECK_EQ(pthread_mutex_unlock(&area->robust), 0);
		CHECK_EQ(pthread_mutex_unlock(&area->robust_pi), 0);
		{
			pid_t dying = start(self, "dies", fd, !plain), heir;

			CHECK_EQ(sem_wait(&area->sem), 0);
			heir = start(self, "inherits", fd, plain);
			prog_nap_ms(20);
			CHECK_EQ(kill(dying, SIGKILL), 0);
			ends(dying, SIGKILL);
			ends(heir, 0);
		}
		printf("heir ok, other side %d\n", plain);
	}
	return 0;
}
