/* SPDX-License-Identifier: MIT */
/*
 * What POSIX and glibc say about single calls: results and errors of the corners, printed; NPTL's own run is the
 * reference. Threads and their attributes, read-write locks, conditions, semaphores, barriers, keys, cancellation,
 * scheduling, clocks and timers, message queues, signals, asynchronous I/O. (Mutexes: mutex_table.c.)
 */
#include "prog.h"

#include <aio.h>
#include <fcntl.h>
#include <limits.h>
#include <mqueue.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <threads.h>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* siginterrupt, sighold, sigignore */
#pragma GCC diagnostic ignored "-Wunused-result"

/* A call that returns an error number, and one that returns -1 and sets errno. */
#define ERR(call) show_err(__LINE__, #call, (call))
#define RET(call) (errno = 0, show_ret(__LINE__, #call, (long)(call)))
#define VAL(expr) printf("%d %s: %ld\n", __LINE__, #expr, (long)(expr))

static const char *name_of(int err)
{
	const char *s = err == 0 ? "ok" : strerrorname_np(err);

	return s != NULL ? s : "?";
}

static int show_err(int line, const char *what, int err)
{
	if (err == PTHREAD_BARRIER_SERIAL_THREAD)
		printf("%d %s: serial\n", line, what);
	else
		printf("%d %s: %s\n", line, what, name_of(err));
	return err;
}

static long show_ret(int line, const char *what, long ret)
{
	if (ret == -1)
		printf("%d %s: -1 %s\n", line, what, name_of(errno));
	else
		printf("%d %s: %ld\n", line, what, ret);
	return ret;
}

static struct timespec at(clockid_t clock, long ms)
{
	return prog_after_ms(clock, ms);
}

static struct timespec past, soon, bad_nsec, neg_nsec, before1970, both_bad, far;
static sem_t go, ready;

static void *returns(void *arg)
{
	return arg;
}

static void *waits(void *arg)
{
	sem_post(&ready);
	while (sem_wait(&go) != 0)
		;
	return arg;
}

static pthread_t waiting(void)
{
	pthread_t t = prog_start(waits, &go);

	sem_wait(&ready);
	return t;
}

/* Until the thread has ended; it can still be joined. */
static pthread_t ended(void)
{
	pthread_t t = prog_start(returns, (void *)7);
	clockid_t clock;

	while (pthread_getcpuclockid(t, &clock) == 0)
		usleep(100);
	return t;
}

/* --- threads --- */

static pthread_t main_thread;

static void *joins_main(void *arg)
{
	struct timespec end = at(CLOCK_REALTIME, 50);

	ERR(pthread_timedjoin_np(main_thread, NULL, &end));
	return arg;
}

static void threads(void)
{
	pthread_t t, self = pthread_self();
	pthread_attr_t attr;
	char name[16], small[15], tiny[3];
	void *r;
	clockid_t clock;
	int policy;
	struct sched_param param;

	main_thread = self;
	ERR(pthread_join(self, NULL));
	ERR(pthread_tryjoin_np(self, NULL));
	ERR(pthread_timedjoin_np(self, NULL, &past));
	prog_join(prog_start(joins_main, NULL));
	t = waiting();
	ERR(pthread_tryjoin_np(t, &r));
	ERR(pthread_timedjoin_np(t, &r, &past));
	ERR(pthread_timedjoin_np(t, &r, &before1970));
	ERR(pthread_clockjoin_np(t, &r, CLOCK_PROCESS_CPUTIME_ID, &past));
	ERR(pthread_clockjoin_np(t, &r, CLOCK_REALTIME_COARSE, &past));
	ERR(pthread_clockjoin_np(t, &r, 12345, &past));
	ERR(pthread_setname_np(t, "0123456789abcde"));
	ERR(pthread_setname_np(t, "0123456789abcdef"));
	ERR(pthread_getname_np(t, name, sizeof(name)));
	ERR(pthread_getname_np(t, small, sizeof(small)));
	ERR(pthread_setname_np(t, "ab"));
	ERR(pthread_getname_np(t, tiny, sizeof(tiny)));
	ERR(pthread_getname_np(t, name, sizeof(name)));
	printf("name %s\n", name);
	ERR(pthread_setname_np(self, "x"));
	ERR(pthread_detach(t));
	ERR(pthread_detach(t));
	ERR(pthread_join(t, NULL));
	ERR(pthread_tryjoin_np(t, NULL));
	sem_post(&go);
	t = ended();
	ERR(pthread_kill(t, 0));
	ERR(pthread_kill(t, SIGUSR1));
	ERR(pthread_kill(t, 65));
	ERR(pthread_kill(t, -1));
	ERR(pthread_kill(self, 65));
	ERR(pthread_kill(self, 0));
	ERR(pthread_cancel(t));
	ERR(pthread_getcpuclockid(t, &clock));
	ERR(pthread_getschedparam(t, &policy, &param));
	param.sched_priority = 0;
	ERR(pthread_setschedparam(t, SCHED_OTHER, &param));
	ERR(pthread_setschedprio(t, 0));
	ERR(pthread_setname_np(t, "gone"));
	ERR(pthread_getname_np(t, name, sizeof(name)));
	ERR(pthread_timedjoin_np(t, &r, &bad_nsec));
	VAL((long)r);
	t = ended();
	ERR(pthread_tryjoin_np(t, &r));
	VAL((long)r);
	t = ended();
	ERR(pthread_clockjoin_np(t, &r, 12345, &past));
	ERR(pthread_detach(t));

	ERR(pthread_attr_init(&attr));
	ERR(pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN - 1));
	ERR(pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN));
	ERR(pthread_attr_setdetachstate(&attr, 5));
	ERR(pthread_attr_setscope(&attr, PTHREAD_SCOPE_PROCESS));
	ERR(pthread_attr_setscope(&attr, PTHREAD_SCOPE_SYSTEM));
	ERR(pthread_attr_setscope(&attr, 77));
	ERR(pthread_attr_setinheritsched(&attr, 77));
	ERR(pthread_attr_setschedpolicy(&attr, 77));
	ERR(pthread_attr_setstack(&attr, name, 100));
	ERR(pthread_create(&t, &attr, returns, NULL));
	ERR(pthread_join(t, NULL));
	param.sched_priority = 1;
	ERR(pthread_attr_setschedparam(&attr, &param));
	ERR(pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED));
	ERR(pthread_create(&t, &attr, returns, NULL)); /* priority 1, other */
	ERR(pthread_attr_setstacksize(&attr, (size_t)1 << 60));
	ERR(pthread_attr_setinheritsched(&attr, PTHREAD_INHERIT_SCHED));
	ERR(pthread_create(&t, &attr, returns, NULL));
	ERR(pthread_attr_setguardsize(&attr, SIZE_MAX - 100));
	ERR(pthread_create(&t, &attr, returns, NULL));
	ERR(pthread_attr_destroy(&attr));
	ERR(pthread_setconcurrency(-1));
	ERR(pthread_setconcurrency(5));
	VAL(pthread_getconcurrency());
	ERR(pthread_setconcurrency(0));
	VAL(pthread_equal(pthread_self(), self) != 0);
	ERR(pthread_sigmask(77, NULL, NULL));
	{
		sigset_t set;

		sigemptyset(&set);
		ERR(pthread_sigmask(77, &set, NULL));
		ERR(pthread_sigmask(SIG_BLOCK, &set, NULL));
	}
}

static size_t least_size;

/* What pthread_getattr_np says about itself in a thread made with these. */
static void *tells(void *arg)
{
	size_t size, guard;
	char *addr, here;
	pthread_attr_t attr;
	int state, inherit, scope, policy;
	struct sched_param param;

	ERR(pthread_getattr_np(pthread_self(), &attr));
	pthread_attr_getstack(&attr, (void **)&addr, &size);
	pthread_attr_getguardsize(&attr, &guard);
	pthread_attr_getdetachstate(&attr, &state);
	pthread_attr_getinheritsched(&attr, &inherit);
	pthread_attr_getscope(&attr, &scope);
	pthread_attr_getschedpolicy(&attr, &policy);
	pthread_attr_getschedparam(&attr, &param);
	/* sizes: libc may use a larger stack that it has cached; main's depends on where the kernel put it */
	printf("%s: size %d guard %zu state %d inherit %d scope %d policy %d priority %d, inside %d, aligned %d\n",
	       (char *)arg, size >= least_size, guard, state, inherit, scope, policy, param.sched_priority,
	       addr <= &here && &here < addr + size, (uintptr_t)addr % 4096 == 0);
	pthread_attr_destroy(&attr);
	return arg;
}

static void attributes(void)
{
	static const size_t guards[] = {0, 1, 1000, 4096, 5000, 65536}, stacks[] = {16384, 65536, 1 << 20};
	pthread_attr_t attr;
	pthread_t t;
	size_t size;
	void *mem;

	for (unsigned g = 0; g < sizeof(guards) / sizeof(*guards); g++)
		for (unsigned s = 0; s < sizeof(stacks) / sizeof(*stacks); s++) {
			char what[64];

			snprintf(what, sizeof(what), "stack %zu guard %zu", stacks[s], guards[g]);
			pthread_attr_init(&attr);
			least_size = stacks[s];
			pthread_attr_setstacksize(&attr, stacks[s]);
			pthread_attr_setguardsize(&attr, guards[g]);
			CHECK_EQ(pthread_create(&t, &attr, tells, what), 0);
			prog_join(t);
			pthread_attr_destroy(&attr);
		}
	CHECK_EQ(posix_memalign(&mem, 4096, 1 << 18), 0);
	pthread_attr_init(&attr);
	ERR(pthread_attr_setstack(&attr, mem, 1 << 18));
	CHECK_EQ(pthread_create(&t, &attr, tells, "own stack"), 0);
	prog_join(t);
	pthread_attr_destroy(&attr);
	free(mem);
	prog_join(prog_start(tells, "default"));
	pthread_attr_init(&attr);
	pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	CHECK_EQ(pthread_create(&t, &attr, tells, "explicit"), 0);
	prog_join(t);
	tells("main");
	ERR(pthread_getattr_default_np(&attr));
	ERR(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED));
	ERR(pthread_setattr_default_np(&attr));
	pthread_attr_getstacksize(&attr, &size);
	ERR(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_JOINABLE));
	least_size = 299968; /* in units of the TLS block's alignment */
	ERR(pthread_attr_setstacksize(&attr, 300000));
	ERR(pthread_attr_setguardsize(&attr, 9000));
	ERR(pthread_setattr_default_np(&attr));
	prog_join(prog_start(tells, "changed default"));
	ERR(pthread_attr_setstacksize(&attr, size));
	ERR(pthread_attr_setguardsize(&attr, 4096));
	ERR(pthread_setattr_default_np(&attr));
	prog_join(prog_start(tells, "default again"));
	pthread_attr_destroy(&attr);
}

/* --- read-write locks --- */

static pthread_rwlock_t rw;

static void *strangers_rw(void *arg)
{
	struct timespec end;

	printf("stranger, %s\n", (char *)arg);
	end = at(CLOCK_REALTIME, 5);
	if (ERR(pthread_rwlock_timedrdlock(&rw, &end)) == 0)
		ERR(pthread_rwlock_unlock(&rw));
	end = at(CLOCK_MONOTONIC, 5);
	if (ERR(pthread_rwlock_clockwrlock(&rw, CLOCK_MONOTONIC, &end)) == 0)
		ERR(pthread_rwlock_unlock(&rw));
	if (ERR(pthread_rwlock_tryrdlock(&rw)) == 0)
		ERR(pthread_rwlock_unlock(&rw));
	if (ERR(pthread_rwlock_trywrlock(&rw)) == 0)
		ERR(pthread_rwlock_unlock(&rw));
	if (ERR(pthread_rwlock_timedrdlock(&rw, &past)) == 0)
		ERR(pthread_rwlock_unlock(&rw));
	if (ERR(pthread_rwlock_timedwrlock(&rw, &before1970)) == 0)
		ERR(pthread_rwlock_unlock(&rw));
	ERR(pthread_rwlock_timedrdlock(&rw, &bad_nsec));
	ERR(pthread_rwlock_timedwrlock(&rw, &neg_nsec));
	ERR(pthread_rwlock_timedwrlock(&rw, &both_bad));
	ERR(pthread_rwlock_clockrdlock(&rw, CLOCK_REALTIME_COARSE, &past));
	ERR(pthread_rwlock_clockwrlock(&rw, 99, &past));
	return arg;
}

static void *wants_write(void *arg)
{
	sem_post(&ready);
	CHECK_EQ(pthread_rwlock_wrlock(&rw), 0);
	CHECK_EQ(pthread_rwlock_unlock(&rw), 0);
	return arg;
}

static void rwlocks(void)
{
	static const int kinds[] = {PTHREAD_RWLOCK_PREFER_READER_NP, PTHREAD_RWLOCK_PREFER_WRITER_NP,
				    PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP};
	pthread_rwlockattr_t attr;
	struct timespec end;
	pthread_t t;
	int v;

	pthread_rwlockattr_init(&attr);
	ERR(pthread_rwlockattr_setkind_np(&attr, 3));
	ERR(pthread_rwlockattr_setkind_np(&attr, -1));
	ERR(pthread_rwlockattr_setpshared(&attr, 2));
	for (int shared = 0; shared < 2; shared++)
		for (int k = 0; k < 3; k++) {
			printf("rwlock kind %d shared %d\n", k, shared);
			ERR(pthread_rwlockattr_setkind_np(&attr, kinds[k]));
			ERR(pthread_rwlockattr_setpshared(&attr, shared));
			ERR(pthread_rwlockattr_getkind_np(&attr, &v));
			ERR(pthread_rwlock_init(&rw, &attr));
			prog_join(prog_start(strangers_rw, "free"));
			ERR(pthread_rwlock_rdlock(&rw));
			prog_join(prog_start(strangers_rw, "read"));
			ERR(pthread_rwlock_rdlock(&rw));
			ERR(pthread_rwlock_trywrlock(&rw));
			end = at(CLOCK_REALTIME, 5);
			ERR(pthread_rwlock_timedwrlock(&rw, &end));
			/* with a writer that waits */
			t = prog_start(wants_write, NULL);
			sem_wait(&ready);
			usleep(20000);
			if (ERR(pthread_rwlock_tryrdlock(&rw)) == 0)
				ERR(pthread_rwlock_unlock(&rw));
			end = at(CLOCK_REALTIME, 5);
			if (ERR(pthread_rwlock_timedrdlock(&rw, &end)) == 0)
				ERR(pthread_rwlock_unlock(&rw));
			ERR(pthread_rwlock_unlock(&rw));
			ERR(pthread_rwlock_unlock(&rw));
			prog_join(t);
			ERR(pthread_rwlock_wrlock(&rw));
			prog_join(prog_start(strangers_rw, "written"));
			ERR(pthread_rwlock_wrlock(&rw));
			ERR(pthread_rwlock_rdlock(&rw));
			ERR(pthread_rwlock_tryrdlock(&rw));
			ERR(pthread_rwlock_trywrlock(&rw));
			ERR(pthread_rwlock_timedrdlock(&rw, &far));
			ERR(pthread_rwlock_timedwrlock(&rw, &far));
			ERR(pthread_rwlock_unlock(&rw));
			ERR(pthread_rwlock_destroy(&rw));
		}
	pthread_rwlockattr_destroy(&attr);
}

/* --- conditions --- */

static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;

static void conditions(void)
{
	pthread_condattr_t attr;
	pthread_mutexattr_t ma;
	pthread_mutex_t check, rec;
	pthread_cond_t c, mono;
	clockid_t clock;
	struct timespec end;

	ERR(pthread_condattr_init(&attr));
	ERR(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
	ERR(pthread_condattr_setclock(&attr, CLOCK_PROCESS_CPUTIME_ID));
	ERR(pthread_condattr_setclock(&attr, -1));
	ERR(pthread_condattr_getclock(&attr, &clock));
	VAL(clock);
	ERR(pthread_condattr_setpshared(&attr, 9));
	ERR(pthread_cond_init(&mono, &attr));
	ERR(pthread_cond_init(&c, NULL));
	pthread_mutexattr_init(&ma);
	ERR(pthread_mutexattr_settype(&ma, PTHREAD_MUTEX_ERRORCHECK));
	ERR(pthread_mutex_init(&check, &ma));
	ERR(pthread_mutexattr_settype(&ma, PTHREAD_MUTEX_RECURSIVE));
	ERR(pthread_mutex_init(&rec, &ma));
	ERR(pthread_cond_wait(&c, &check));
	ERR(pthread_cond_timedwait(&c, &check, &past));
	ERR(pthread_cond_timedwait(&c, &rec, &past));
	ERR(pthread_mutex_lock(&m));
	ERR(pthread_cond_timedwait(&c, &m, &past));
	ERR(pthread_cond_timedwait(&c, &m, &before1970));
	ERR(pthread_cond_timedwait(&c, &m, &bad_nsec));
	ERR(pthread_cond_timedwait(&c, &m, &neg_nsec));
	ERR(pthread_cond_timedwait(&c, &m, &both_bad));
	ERR(pthread_cond_clockwait(&c, &m, CLOCK_REALTIME_COARSE, &past));
	ERR(pthread_cond_clockwait(&c, &m, 55, &past));
	ERR(pthread_cond_clockwait(&c, &m, 55, &bad_nsec));
	end = at(CLOCK_MONOTONIC, 5);
	ERR(pthread_cond_timedwait(&mono, &m, &end));
	end = at(CLOCK_REALTIME, 5);
	ERR(pthread_cond_clockwait(&mono, &m, CLOCK_REALTIME, &end));
	ERR(pthread_mutex_trylock(&m)); /* still held */
	ERR(pthread_mutex_unlock(&m));
	ERR(pthread_mutex_lock(&rec));
	ERR(pthread_mutex_lock(&rec));
	ERR(pthread_cond_timedwait(&c, &rec, &past));
	ERR(pthread_mutex_unlock(&rec));
	ERR(pthread_mutex_unlock(&rec));
	ERR(pthread_mutex_unlock(&rec));
	ERR(pthread_cond_signal(&c));
	ERR(pthread_cond_broadcast(&c));
	ERR(pthread_cond_destroy(&c));
	ERR(pthread_cond_destroy(&mono));
	ERR(pthread_mutex_destroy(&check));
	ERR(pthread_mutex_destroy(&rec));
}

/* --- semaphores --- */

static void semaphores(void)
{
	struct timespec end;
	sem_t s, *named;
	int v;

	RET(sem_init(&s, 0, (unsigned)SEM_VALUE_MAX + 1));
	RET(sem_init(&s, 0, SEM_VALUE_MAX));
	RET(sem_post(&s));
	RET(sem_getvalue(&s, &v));
	VAL(v);
	RET(sem_trywait(&s));
	RET(sem_post(&s));
	for (int shared = 0; shared < 2; shared++) {
		RET(sem_init(&s, shared, 1));
		RET(sem_timedwait(&s, &bad_nsec));
		RET(sem_timedwait(&s, &past));
		RET(sem_timedwait(&s, &past));
		RET(sem_timedwait(&s, &before1970));
		RET(sem_timedwait(&s, &bad_nsec));
		RET(sem_timedwait(&s, &both_bad));
		RET(sem_clockwait(&s, CLOCK_REALTIME_COARSE, &past));
		RET(sem_clockwait(&s, CLOCK_MONOTONIC, &bad_nsec));
		end = at(CLOCK_MONOTONIC, 5);
		RET(sem_clockwait(&s, CLOCK_MONOTONIC, &end));
		RET(sem_trywait(&s));
		RET(sem_post(&s));
		RET(sem_wait(&s));
		RET(sem_getvalue(&s, &v));
		VAL(v);
		RET(sem_destroy(&s));
	}
	RET(sem_unlink("/gmpshim-no-such"));
	RET((long)sem_open("/gmpshim-no-such", 0) == (long)SEM_FAILED ? -1 : 0);
	RET((long)sem_open("", O_CREAT, 0600, 0) == (long)SEM_FAILED ? -1 : 0);
	RET((long)sem_open("/a/b", O_CREAT, 0600, 0) == (long)SEM_FAILED ? -1 : 0);
	RET((long)sem_open("/gmpshim-big", O_CREAT, 0600, (unsigned)SEM_VALUE_MAX + 1) == (long)SEM_FAILED ? -1 : 0);
	sem_unlink("/gmpshim-table");
	named = sem_open("/gmpshim-table", O_CREAT | O_EXCL, 0600, 1);
	CHECK(named != SEM_FAILED);
	RET((long)sem_open("/gmpshim-table", O_CREAT | O_EXCL, 0600, 1) == (long)SEM_FAILED ? -1 : 0);
	VAL(sem_open("/gmpshim-table", 0) == named);
	RET(sem_wait(named));
	RET(sem_trywait(named));
	RET(sem_timedwait(named, &past));
	RET(sem_close(named));
	RET(sem_unlink("/gmpshim-table"));
	RET(sem_close(named));
}

/* --- barriers, spin locks, once, keys --- */

static pthread_barrier_t bar;
static _Atomic int serials;

static void *enters(void *arg)
{
	for (int i = 0; i < 100; i++)
		serials += pthread_barrier_wait(&bar) == PTHREAD_BARRIER_SERIAL_THREAD;
	return arg;
}

static pthread_key_t keys[PTHREAD_KEYS_MAX + 1];
static int rounds[4];

static void keeps(void *arg)
{
	int i = (int)(long)arg;

	rounds[i]++;
	printf("destructor %d round %d\n", i, rounds[i]);
	if (i != 2 || rounds[i] < 2)
		pthread_setspecific(keys[i], arg);
	if (i == 3 && rounds[i] == 1)
		pthread_setspecific(keys[0], (void *)0);
}

static void *has_values(void *arg)
{
	for (long i = 1; i < 4; i++)
		ERR(pthread_setspecific(keys[i], (void *)i));
	return arg;
}

static void keeps_exit(void *arg)
{
	(void)arg;
	puts("pthread_exit in a destructor");
	pthread_exit((void *)5);
}

static void *exits_twice(void *arg)
{
	ERR(pthread_setspecific(*(pthread_key_t *)arg, arg));
	pthread_exit((void *)4);
}

static void others(void)
{
	pthread_barrierattr_t attr;
	pthread_spinlock_t spin;
	pthread_t ts[5];
	pthread_key_t k;
	int n;

	ERR(pthread_barrier_init(&bar, NULL, 0));
	ERR(pthread_barrierattr_init(&attr));
	ERR(pthread_barrierattr_setpshared(&attr, 5));
	for (int shared = 0; shared < 2; shared++) {
		ERR(pthread_barrierattr_setpshared(&attr, shared));
		ERR(pthread_barrier_init(&bar, &attr, 5));
		serials = 0;
		for (int i = 0; i < 5; i++)
			ts[i] = prog_start(enters, NULL);
		for (int i = 0; i < 5; i++)
			prog_join(ts[i]);
		VAL(serials);
		ERR(pthread_barrier_destroy(&bar));
		ERR(pthread_barrier_init(&bar, &attr, 1));
		ERR(pthread_barrier_wait(&bar));
		ERR(pthread_barrier_destroy(&bar));
	}
	ERR(pthread_barrier_init(&bar, NULL, 0x80000000u));
	ERR(pthread_spin_init(&spin, 0));
	ERR(pthread_spin_lock(&spin));
	ERR(pthread_spin_trylock(&spin));
	ERR(pthread_spin_unlock(&spin));
	ERR(pthread_spin_destroy(&spin));

	for (n = 0; n <= PTHREAD_KEYS_MAX && pthread_key_create(&keys[n], NULL) == 0; n++)
		;
	ERR(pthread_key_create(&k, NULL));
	while (n > 0)
		CHECK_EQ(pthread_key_delete(keys[--n]), 0);
	ERR(pthread_key_delete(keys[0]));
	ERR(pthread_key_delete(PTHREAD_KEYS_MAX));
	ERR(pthread_setspecific(PTHREAD_KEYS_MAX, &n));
	ERR(pthread_setspecific(keys[5], &n));
	VAL((long)pthread_getspecific(PTHREAD_KEYS_MAX + 5));
	for (int i = 0; i < 4; i++)
		ERR(pthread_key_create(&keys[i], keeps));
	prog_join(prog_start(has_values, NULL));
	ERR(pthread_key_create(&k, keeps_exit));
	ts[0] = prog_start(exits_twice, &k);
	VAL((long)prog_join(ts[0]));
	for (int i = 0; i < 4; i++)
		ERR(pthread_key_delete(keys[i]));
}

/* --- cancellation --- */

static void cleans(void *arg)
{
	printf("clean-up of %s, mutex %s\n", (char *)arg, name_of(pthread_mutex_trylock(&m)));
	pthread_mutex_unlock(&m);
}

static sem_t one;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;

/* A pending request, then each cancellation point in turn, which would not have to wait. */
static void *cancelled_at(void *arg)
{
	int which = (int)(long)arg, state, type, fds[2];
	char c = 0;
	static char what[40];
	struct timespec zero = {0};

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
	CHECK_EQ(pipe(fds), 0);
	CHECK_EQ(write(fds[1], "ab", 2), 2);
	pthread_cancel(pthread_self());
	snprintf(what, sizeof(what), "point %d", which);
	pthread_mutex_lock(&m);
	pthread_cleanup_push(cleans, what);
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
	switch (which) {
	case 0: pthread_testcancel(); break;
	case 1: pthread_cond_timedwait(&never, &m, &past); break;
	case 2: pthread_cond_wait(&never, &m); break;
	case 3: sem_wait(&one); break;
	case 4: sem_timedwait(&one, &past); break;
	case 5: read(fds[0], &c, 1); break;
	case 6: write(fds[1], &c, 1); break;
	case 7: nanosleep(&zero, NULL); break;
	case 8: clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &zero, NULL); break;
	case 9: poll(NULL, 0, 0); break;
	case 10: select(0, NULL, NULL, NULL, &(struct timeval){0}); break;
	case 11: usleep(0); break;
	case 12: open("/dev/null", O_RDONLY); break;
	case 13: close(dup(0)); break;
	case 14: waitpid(-1, NULL, WNOHANG); break;
	case 15: fsync(1); break;
	case 16: sigtimedwait(&(sigset_t){0}, NULL, &zero); break;
	case 17: fcntl(fds[0], F_SETLKW, &(struct flock){.l_type = F_UNLCK}); break;
	case 18: pthread_join(main_thread, NULL); break;
	case 19: pread(fds[0], &c, 1, 0); break;
	case 20: sched_yield(); break;
	case 21: pthread_mutex_trylock(&m); break;
	case 22: getpid(); break;
	case 23: sem_trywait(&one); break;
	case 24: pthread_rwlock_rdlock(&rw); pthread_rwlock_unlock(&rw); break;
	case 25: pthread_cond_signal(&never); break;
	case 26: kill(getpid(), 0); break;
	case 27: fcntl(fds[0], F_GETFD); break;
	case 28: dup(0); break;
	case 29: mq_receive((mqd_t)-1, &c, 0, NULL); break;
	case 30: msync(NULL, 0, MS_SYNC); break;
	case 31: pause(); break;
	case 32: sleep(0); break;
	case 33: pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL); break;
	case 34: pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL); break;
	case 35: pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, NULL); break;
	case 36: tcdrain(fds[0]); break;
	case 37: creat("/dev/null", 0); break;
	case 38: fdatasync(1); break;
	case 39: lockf(fds[0], F_TEST, 0); break;
	case 40: sigpause(0); break;
	case 41: wait(NULL); break;
	case 42: waitid(P_ALL, 0, NULL, WEXITED | WNOHANG); break;
	case 43: recv(-1, &c, 1, 0); break;
	case 44: accept(-1, NULL, NULL); break;
	case 45: system("true"); break;
	case 46: fflush(stdout); break;
	case 47: pthread_timedjoin_np(main_thread, NULL, &past); break;
	case 48: readv(fds[0], NULL, 0); break;
	case 49: thrd_sleep(&zero, NULL); break;
	}
	printf("point %d passed\n", which);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	pthread_cleanup_pop(0);
	pthread_mutex_unlock(&m);
	close(fds[0]);
	close(fds[1]);
	return NULL;
}

static void *bad_arguments(void *arg)
{
	int old = 77;

	ERR(pthread_setcancelstate(7, NULL));
	ERR(pthread_setcanceltype(7, NULL));
	ERR(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old));
	VAL(old);
	ERR(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old));
	VAL(old);
	ERR(pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, NULL));
	return arg;
}

static void cancellation(void)
{
	prog_join(prog_start(bad_arguments, NULL));
	pthread_rwlock_init(&rw, NULL);
	for (long i = 0; i < 50; i++) {
		sem_init(&one, 0, 1);
		printf("point %ld: %s\n", i, prog_join(prog_start(cancelled_at, (void *)i)) == PTHREAD_CANCELED
						     ? "cancelled" : "not");
	}
}

/* --- scheduling, clocks, timers --- */

static void scheduling(void)
{
	struct sched_param param = {0};
	struct timespec ts, one_ms = {0, 1000000};
	clockid_t clock;
	int policy;

	RET(sched_get_priority_min(SCHED_FIFO));
	RET(sched_get_priority_max(SCHED_RR));
	RET(sched_get_priority_max(77));
	RET(sched_getscheduler(0));
	RET(sched_getscheduler(-1));
	RET(sched_getparam(0, &param));
	RET(sched_getparam(-1, &param));
	RET(sched_getparam(0, NULL));
	RET(sched_setscheduler(0, 77, &param));
	RET(sched_setscheduler(-1, SCHED_OTHER, &param));
	RET(sched_setparam(-1, &param));
	RET(sched_setparam(0, NULL));
	param.sched_priority = 5;
	RET(sched_setparam(0, &param));
	RET(sched_setscheduler(0, SCHED_OTHER, &param));
	param.sched_priority = 1000;
	RET(sched_setscheduler(0, SCHED_FIFO, &param));
	RET(sched_rr_get_interval(-1, &ts));
	RET(sched_rr_get_interval(0, &ts));
	RET(sched_yield());
	ERR(pthread_setschedparam(pthread_self(), 77, &param));
	ERR(pthread_setschedparam(pthread_self(), SCHED_RR, &param));
	ERR(pthread_setschedprio(pthread_self(), 50));
	ERR(pthread_setschedprio(pthread_self(), -1));
	ERR(pthread_getschedparam(pthread_self(), &policy, &param));
	VAL(policy);
	VAL(param.sched_priority);
	RET(clock_gettime(77, &ts));
	RET(clock_gettime(-1, &ts));
	RET(clock_getres(77, &ts));
	RET(clock_getres(CLOCK_THREAD_CPUTIME_ID, &ts));
	RET(clock_getres(CLOCK_REALTIME, NULL));
	RET(clock_settime(CLOCK_MONOTONIC, &one_ms));
	RET(clock_settime(CLOCK_REALTIME, &bad_nsec));
	ERR(clock_getcpuclockid(0, &clock));
	ERR(clock_getcpuclockid(getpid(), &clock));
	ERR(clock_getcpuclockid(99999999, &clock));
	ERR(pthread_getcpuclockid(pthread_self(), &clock));
	RET(clock_gettime(clock, &ts));
	RET(nanosleep(&bad_nsec, NULL));
	RET(nanosleep(&neg_nsec, NULL));
	RET(nanosleep(&before1970, NULL));
	ERR(clock_nanosleep(CLOCK_REALTIME, 0, &bad_nsec, NULL));
	ERR(clock_nanosleep(CLOCK_REALTIME, 0, &before1970, NULL));
	ERR(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &before1970, NULL));
	ERR(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &past, NULL));
	ERR(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &one_ms, NULL));
	ERR(clock_nanosleep(77, 0, &one_ms, NULL));
	ERR(clock_nanosleep(CLOCK_REALTIME_COARSE, 0, &one_ms, NULL));
	ERR(clock_nanosleep(CLOCK_BOOTTIME, 0, &one_ms, NULL));
	ERR(clock_nanosleep(CLOCK_TAI, 0, &one_ms, NULL));
	ERR(clock_nanosleep(CLOCK_MONOTONIC_RAW, 0, &one_ms, NULL));
}

static _Atomic int notified;

static void notify(union sigval v)
{
	notified += v.sival_int;
}

static void timers(void)
{
	struct sigevent ev = {.sigev_notify = SIGEV_NONE};
	struct itimerspec its = {.it_value = {100, 0}}, old;
	timer_t t, gone;

	RET(timer_create(CLOCK_REALTIME, &ev, &t));
	RET(timer_settime(t, 0, &its, &old));
	its.it_value.tv_nsec = 1000000000;
	RET(timer_settime(t, 0, &its, &old));
	VAL(old.it_value.tv_sec);
	its.it_value.tv_nsec = -1;
	RET(timer_settime(t, 0, &its, &old));
	RET(timer_gettime(t, &old));
	VAL(old.it_value.tv_sec >= 99);
	its.it_value = past;
	RET(timer_settime(t, TIMER_ABSTIME, &its, NULL));
	RET(timer_getoverrun(t));
	RET(timer_delete(t));
	gone = t;
	RET(timer_delete(gone));
	RET(timer_gettime(gone, &old));
	RET(timer_getoverrun(gone));
	RET(timer_create(77, &ev, &t));
	ev.sigev_notify = 99;
	RET(timer_create(CLOCK_REALTIME, &ev, &t));
	ev.sigev_notify = SIGEV_SIGNAL;
	ev.sigev_signo = 99;
	RET(timer_create(CLOCK_REALTIME, &ev, &t));
	ev = (struct sigevent){.sigev_notify = SIGEV_THREAD, .sigev_notify_function = notify, .sigev_value = {3}};
	RET(timer_create(CLOCK_MONOTONIC, &ev, &t));
	its = (struct itimerspec){.it_value = {0, 1000000}};
	RET(timer_settime(t, 0, &its, NULL));
	while (!notified)
		usleep(100);
	VAL(notified);
	RET(timer_delete(t));
	RET(timer_create(CLOCK_THREAD_CPUTIME_ID, NULL, &t));
	RET(timer_delete(t));
	RET(timer_create(CLOCK_PROCESS_CPUTIME_ID, NULL, &t));
	RET(timer_delete(t));
}

/* --- message queues --- */

static void queues(void)
{
	struct mq_attr attr = {.mq_maxmsg = 2, .mq_msgsize = 16}, got;
	struct sigevent ev = {.sigev_notify = SIGEV_NONE};
	char buf[16];
	unsigned prio;
	mqd_t q;

	mq_unlink("/gmpshim-table");
	RET(mq_open("/gmpshim-table", O_RDWR));
	RET(mq_open("gmpshim-table", O_RDWR | O_CREAT, 0600, &attr));
	RET(mq_open("/a/b", O_RDWR | O_CREAT, 0600, &attr));
	RET(mq_unlink("/gmpshim-table"));
	q = mq_open("/gmpshim-table", O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	if (q == (mqd_t)-1) {
		printf("no message queues: %s\n", name_of(errno));
		return;
	}
	RET(mq_open("/gmpshim-table", O_RDWR | O_CREAT | O_EXCL, 0600, &attr));
	RET(mq_timedreceive(q, buf, sizeof(buf), &prio, &past));
	RET(mq_timedreceive(q, buf, sizeof(buf), &prio, &bad_nsec));
	RET(mq_timedreceive(q, buf, sizeof(buf), &prio, &before1970));
	RET(mq_timedreceive(q, buf, 15, &prio, &past));
	RET(mq_receive(q, buf, 15, &prio));
	RET(mq_send(q, "x", 17, 0));
	RET(mq_send(q, "low", 3, 1));
	RET(mq_send(q, "hi", 2, MQ_PRIO_MAX));
	RET(mq_timedsend(q, "hi", 2, 5, &bad_nsec));
	RET(mq_timedsend(q, "hi", 2, 5, &soon));
	RET(mq_timedsend(q, "full", 4, 5, &past));
	soon = at(CLOCK_REALTIME, 5);
	RET(mq_timedsend(q, "full", 4, 5, &soon));
	RET(mq_notify(q, &ev));
	RET(mq_notify(q, &ev));
	RET(mq_notify(q, NULL));
	RET(mq_timedreceive(q, buf, sizeof(buf), &prio, &past));
	VAL(prio);
	RET(mq_receive(q, buf, sizeof(buf), &prio));
	VAL(prio);
	soon = at(CLOCK_REALTIME, 5);
	RET(mq_timedreceive(q, buf, sizeof(buf), &prio, &soon));
	attr.mq_flags = O_NONBLOCK;
	RET(mq_setattr(q, &attr, &got));
	VAL(got.mq_flags);
	RET(mq_receive(q, buf, sizeof(buf), &prio));
	RET(mq_getattr(q, &got));
	VAL(got.mq_maxmsg * 1000 + got.mq_msgsize + got.mq_curmsgs);
	RET(mq_close(q));
	RET(mq_close(q));
	RET(mq_unlink("/gmpshim-table"));
}

/* --- signals, asynchronous I/O --- */

static void signals(void)
{
	struct timespec zero = {0};
	struct sigaction sa = {.sa_handler = SIG_IGN};
	sigset_t set, pending;
	siginfo_t info;
	stack_t ss;
	int sig;

	sigemptyset(&set);
	RET(sigaddset(&set, 65));
	RET(sigaddset(&set, 0));
	RET(sigaddset(&set, SIGUSR1));
	RET(sigaddset(&set, SIGRTMIN));
	RET(sigaction(SIGKILL, &sa, NULL));
	RET(sigaction(65, &sa, NULL));
	RET(sigaction(0, NULL, NULL));
	VAL(signal(SIGKILL, SIG_IGN) == SIG_ERR);
	RET(sigprocmask(77, &set, NULL));
	RET(sigprocmask(SIG_BLOCK, &set, NULL));
	RET(sigtimedwait(&set, &info, &zero));
	RET(sigtimedwait(&set, &info, &bad_nsec));
	RET(sigtimedwait(&set, &info, &neg_nsec));
	RET(kill(getpid(), SIGUSR1));
	RET(sigpending(&pending));
	VAL(sigismember(&pending, SIGUSR1));
	RET(sigtimedwait(&set, &info, &bad_nsec));
	RET(sigtimedwait(&set, &info, &zero));
	VAL(info.si_code == SI_USER);
	RET(sigqueue(getpid(), SIGRTMIN, (union sigval){42}));
	RET(sigqueue(getpid(), SIGRTMIN, (union sigval){43}));
	RET(sigqueue(getpid(), 65, (union sigval){42}));
	RET(sigqueue(99999999, 0, (union sigval){42}));
	RET(sigwaitinfo(&set, &info) == SIGRTMIN);
	VAL(info.si_value.sival_int);
	VAL(info.si_code == SI_QUEUE);
	ERR(sigwait(&set, &sig));
	VAL(sig == SIGRTMIN);
	ERR(pthread_sigqueue(pthread_self(), SIGUSR1, (union sigval){44}));
	RET(sigwaitinfo(&set, &info) == SIGUSR1);
	VAL(info.si_value.sival_int);
	RET(raise(SIGUSR1));
	RET(raise(65));
	ERR(sigwait(&set, &sig));
	VAL(sig);
	RET(kill(99999999, 0));
	RET(kill(getpid(), 65));
	RET(killpg(99999999, 0));
	RET(sigprocmask(SIG_UNBLOCK, &set, NULL));
	ss = (stack_t){.ss_sp = &ss, .ss_size = 10};
	RET(sigaltstack(&ss, NULL));
	ss = (stack_t){.ss_flags = 77};
	RET(sigaltstack(&ss, NULL));
	RET(siginterrupt(65, 1));
	RET(sighold(65));
	RET(sigignore(SIGKILL));
}

static void async_io(void)
{
	char path[] = "/tmp/gmpshim-table-XXXXXX", buf[10] = "0123456789";
	const struct aiocb *list[1];
	struct aiocb *ops[2], cb = {0}, second;
	int fd = mkstemp(path);

	CHECK(fd >= 0);
	unlink(path);
	cb.aio_fildes = fd;
	cb.aio_buf = buf;
	cb.aio_nbytes = 10;
	cb.aio_sigevent.sigev_notify = SIGEV_NONE;
	list[0] = &cb;
	RET(aio_write(&cb));
	RET(aio_suspend(list, 1, NULL));
	ERR(aio_error(&cb));
	RET(aio_return(&cb));
	cb.aio_offset = -1;
	RET(aio_read(&cb) == 0 && aio_suspend(list, 1, NULL) == 0 ? aio_error(&cb) : 1000);
	cb.aio_offset = 5;
	RET(aio_read(&cb));
	RET(aio_suspend(list, 1, &far));
	RET(aio_return(&cb));
	cb.aio_reqprio = -1;
	RET(aio_read(&cb));
	cb.aio_reqprio = 0;
	RET(aio_fsync(77, &cb));
	RET(aio_fsync(O_SYNC, &cb));
	RET(aio_suspend(list, 1, NULL));
	ERR(aio_error(&cb));
	RET(aio_cancel(fd, &cb));
	RET(aio_cancel(-1, NULL));
	cb.aio_fildes = -1;
	RET(aio_write(&cb) == 0 && aio_suspend(list, 1, NULL) == 0 ? aio_error(&cb) : 1000);
	cb.aio_fildes = fd;
	cb.aio_lio_opcode = LIO_READ;
	second = cb;
	second.aio_lio_opcode = LIO_NOP;
	ops[0] = &cb;
	ops[1] = &second;
	RET(lio_listio(77, ops, 2, NULL));
	RET(lio_listio(LIO_WAIT, ops, 2, NULL));
	RET(aio_return(&cb));
	close(fd);
}

int main(void)
{
	prog_init();
	sem_init(&go, 0, 0);
	sem_init(&ready, 0, 0);
	past = at(CLOCK_REALTIME, -1000);
	soon = at(CLOCK_REALTIME, 1000);
	far = at(CLOCK_REALTIME, 100000);
	bad_nsec = (struct timespec){past.tv_sec + 1000, 1000000000};
	neg_nsec = (struct timespec){past.tv_sec + 1000, -1};
	before1970 = (struct timespec){-1, 0};
	both_bad = (struct timespec){-1, -1};
	signal(SIGUSR1, SIG_DFL);
	threads();
	attributes();
	rwlocks();
	conditions();
	semaphores();
	others();
	cancellation();
	scheduling();
	timers();
	queues();
	signals();
	async_io();
	return 0;
}
