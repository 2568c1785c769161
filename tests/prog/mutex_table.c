/* SPDX-License-Identifier: MIT */
/*
 * Every kind of mutex x every operation x every owner: the results are printed, NPTL's own run is the reference.
 * Locked again by its owner, found locked by another, unlocked by a stranger, overflow of the recursion count, bad
 * clocks and times, destroy while in use, also by the waiter of a condition. With an argument: through the names that
 * libpthread had besides (__pthread_mutex_lock ...), where libc still exports them.
 */
#include "prog.h"

#include <semaphore.h>

static int (*lock)(pthread_mutex_t *) = pthread_mutex_lock;
static int (*trylock)(pthread_mutex_t *) = pthread_mutex_trylock;
static int (*unlock)(pthread_mutex_t *) = pthread_mutex_unlock;

static pthread_mutex_t m;
static pthread_cond_t cond;
static pthread_barrier_t barrier;
static int done;
static char what[80];

static void show(const char *op, int result)
{
	printf("%s %s: %s\n", what, op, result == 0 ? "ok" : strerrorname_np(result));
}

static int timed(clockid_t clock, long ms)
{
	struct timespec ts = prog_after_ms(clock == CLOCK_MONOTONIC ? clock : CLOCK_REALTIME, ms);

	return pthread_mutex_clocklock(&m, clock, &ts);
}

static int invalid(long nsec)
{
	struct timespec ts = { .tv_sec = time(NULL) + 100, .tv_nsec = nsec };

	return pthread_mutex_timedlock(&m, &ts);
}

/* The caller does not own it; held: somebody else does. */
static void *stranger(void *held)
{
	show("stranger try", trylock(&m));
	if (!held)
		show("stranger unlock own", unlock(&m));
	if (held) {
		struct timespec past = prog_after_ms(CLOCK_REALTIME, -1000), before1970 = { .tv_sec = -1 };

		show("stranger timed", timed(CLOCK_REALTIME, 5));
		show("stranger monotonic", timed(CLOCK_MONOTONIC, 5));
		show("stranger past", pthread_mutex_timedlock(&m, &past));
		show("stranger 1969", pthread_mutex_timedlock(&m, &before1970));
		show("stranger nsec", invalid(1000000000));
		show("stranger nsec<0", invalid(-1));
	}
	show("stranger coarse", timed(CLOCK_REALTIME_COARSE, 5));
	show("stranger cpu", timed(CLOCK_PROCESS_CPUTIME_ID, 5));
	return NULL;
}

/* Its unlock is an error that all but the fast kinds report. */
static void *bad_unlock(void *arg)
{
	show("stranger's unlock", unlock(&m));
	return arg;
}

static void *waits(void *arg)
{
	CHECK_EQ(lock(&m), 0);
	pthread_barrier_wait(&barrier);
	while (!done)
		CHECK_EQ(pthread_cond_wait(&cond, &m), 0);
	CHECK_EQ(unlock(&m), 0);
	return arg;
}

static void one(int type, int robust, int protocol, int shared)
{
	static const char *const types[] = { "normal", "recursive", "errorcheck", "adaptive" };
	static const char *const protocols[] = { "none", "inherit", "protect" };
	int reports = robust || type == PTHREAD_MUTEX_ERRORCHECK || type == PTHREAD_MUTEX_RECURSIVE;
	pthread_mutexattr_t attr;
	unsigned count;
	pthread_t t;
	int rc;

	snprintf(what, sizeof(what), "%s%s %s%s", types[type], robust ? " robust" : "", protocols[protocol],
		 shared ? " shared" : "");
	CHECK_EQ(pthread_mutexattr_init(&attr), 0);
	CHECK_EQ(pthread_mutexattr_settype(&attr, type), 0);
	CHECK_EQ(pthread_mutexattr_setrobust(&attr, robust ? PTHREAD_MUTEX_ROBUST : PTHREAD_MUTEX_STALLED), 0);
	CHECK_EQ(pthread_mutexattr_setprotocol(&attr, protocol), 0);
	CHECK_EQ(pthread_mutexattr_setpshared(&attr, shared), 0);
	rc = pthread_mutex_init(&m, &attr);
	show("init", rc);
	if (rc != 0)
		return;
	prog_join(prog_start(stranger, NULL));
	if (reports)
		show("unlock of a free one", unlock(&m));
	rc = lock(&m);
	show("lock", rc);
	if (rc != 0) /* PRIO_PROTECT without the right to it */
		return;
	if (type == PTHREAD_MUTEX_ERRORCHECK || type == PTHREAD_MUTEX_RECURSIVE) {
		show("again", rc = lock(&m));
		if (rc == 0)
			show("unlock again", unlock(&m));
		show("timed again", rc = timed(CLOCK_REALTIME, 5));
		if (rc == 0)
			show("unlock again", unlock(&m));
	}
	show("try again", rc = trylock(&m));
	if (rc == 0)
		show("unlock again", unlock(&m));
	if (type == PTHREAD_MUTEX_RECURSIVE) {
		count = m.__data.__count;
		m.__data.__count = (unsigned)-1;
		show("overflow", lock(&m));
		show("overflow try", trylock(&m));
		show("overflow timed", timed(CLOCK_REALTIME, 5));
		m.__data.__count = count;
	}
	prog_join(prog_start(stranger, (void *)1));
	if (reports)
		prog_join(prog_start(bad_unlock, NULL));
	show("consistent", pthread_mutex_consistent(&m));
	show("destroy held", robust ? 0 : pthread_mutex_destroy(&m));
	show("unlock", unlock(&m));

	/* in use while a condition's waiter has released it */
	done = 0;
	t = prog_start(waits, NULL);
	pthread_barrier_wait(&barrier);
	CHECK_EQ(lock(&m), 0);
	CHECK_EQ(unlock(&m), 0);
	show("destroy waited", robust ? 0 : pthread_mutex_destroy(&m));
	CHECK_EQ(lock(&m), 0);
	done = 1;
	CHECK_EQ(pthread_cond_signal(&cond), 0);
	CHECK_EQ(unlock(&m), 0);
	prog_join(t);
	show("destroy", pthread_mutex_destroy(&m));
	CHECK_EQ(pthread_mutexattr_destroy(&attr), 0);
}

static void *sym(const char *name, void *otherwise)
{
	void *fn = dlsym(RTLD_DEFAULT, name);

	return fn ? fn : otherwise;
}

int main(int argc, char **argv)
{
	(void)argv;
	prog_init();
	if (argc > 1) {
		lock = sym("__pthread_mutex_lock", lock);
		trylock = sym("__pthread_mutex_trylock", trylock);
		unlock = sym("__pthread_mutex_unlock", unlock);
	}
	pthread_cond_init(&cond, NULL);
	pthread_barrier_init(&barrier, NULL, 2);
	for (int shared = 0; shared < 2; shared++)
		for (int protocol = PTHREAD_PRIO_NONE; protocol <= PTHREAD_PRIO_INHERIT; protocol++)
			for (int robust = 0; robust < 2; robust++)
				for (int type = PTHREAD_MUTEX_NORMAL; type <= PTHREAD_MUTEX_ADAPTIVE_NP; type++)
					one(type, robust, protocol, shared);
	return 0;
}
