// SPDX-License-Identifier: MIT
/*
 * Clocks, timers and resource usage of one thread (core/cputime.c counts). The clock of another thread has the number
 * that glibc would make of its tid, here the virtual one.
 *
 * A timer on such a clock, and a sleep on it, are the kernel's: the G whose clock it is is locked to its M for the rest
 * of its life, and from then on both clocks differ by a constant.
 */
#include <string.h>
#include <sys/resource.h>

#include "core/lock.h"
#include "preload/preload.h"

/* linux/posix-timers: ~tid << 3 | CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED */
#define CLOCK_OF_TID(tid) ((clockid_t)(~(unsigned)(tid) << 3 | 6))
#define IS_TID_CLOCK(clock) ((clock) < 0 && ((clock)&7) == 6)
#define TID_OF_CLOCK(clock) ((int)~((unsigned)(clock) >> 3 | 7u << 29))

/* The living G whose CPU clock this is; NULL: none of ours. */
static struct g *g_of_clock(clockid_t clock)
{
	if (clock == CLOCK_THREAD_CPUTIME_ID)
		return getg();
	return IS_TID_CLOCK(clock) ? gmp_g_of_tid(TID_OF_CLOCK(clock)) : NULL;
}

static struct timespec to_ts(int64_t ns)
{
	return (struct timespec){.tv_sec = ns / NSEC_PER_SEC, .tv_nsec = ns % NSEC_PER_SEC};
}

static noinline int cpu_gettime(clockid_t clock, struct timespec *ts)
{
	struct g *gp;

	if (!live()) {
		if (clock == CLOCK_THREAD_CPUTIME_ID && getg() != NULL)
			gmp_cpu_asked();
		return PASS(clock_gettime)(clock, ts);
	}
	gp = g_of_clock(clock);
	if (gp == NULL)
		return real.clock_gettime(clock, ts);
	*ts = to_ts(gmp_cpu_of(gp));
	return 0;
}

int hook_clock_gettime(clockid_t clock, struct timespec *ts)
{
	/* CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, and from 4 on what is no thread's */
	if (likely(clock >= 0 && clock != CLOCK_THREAD_CPUTIME_ID))
		return PASS(clock_gettime)(clock, ts);
	return cpu_gettime(clock, ts);
}

int hook_clock_getres(clockid_t clock, struct timespec *res)
{
	if (live() && IS_TID_CLOCK(clock) && g_of_clock(clock) != NULL)
		clock = CLOCK_THREAD_CPUTIME_ID;
	return PASS(clock_getres)(clock, res);
}

int hook_pthread_getcpuclockid(pthread_t th, clockid_t *clock)
{
	struct g *gp;

	if (!live() || (gp = gmp_thread(th)) == NULL)
		return PASS(pthread_getcpuclockid)(th, clock);
	if (gp->exited)
		return ESRCH;
	*clock = CLOCK_OF_TID(gp->tid);
	return 0;
}

/*
 * RUSAGE_THREAD: the CPU time is the G's own, divided into user and system time as its M's is; the other numbers
 * are the M's.
 */
int hook_getrusage(__rusage_who_t who, struct rusage *ru)
{
	int rc = PASS(getrusage)(who, ru);
	int64_t user, system, total;

	if (rc != 0 || who != RUSAGE_THREAD)
		return rc;
	if (!live() || getg() == NULL) {
		if (getg() != NULL)
			gmp_cpu_asked();
		return rc;
	}
	user = ru->ru_utime.tv_sec * 1000000 + ru->ru_utime.tv_usec;
	system = ru->ru_stime.tv_sec * 1000000 + ru->ru_stime.tv_usec;
	total = gmp_cpu_of(getg()) / 1000;
	user = user + system == 0 ? total : (int64_t)((double)total * (double)user / (double)(user + system));
	system = total - user;
	ru->ru_utime = (struct timeval){.tv_sec = user / 1000000, .tv_usec = user % 1000000};
	ru->ru_stime = (struct timeval){.tv_sec = system / 1000000, .tv_usec = system % 1000000};
	return 0;
}

/* --- the kernel's timers on such a clock --- */

/* Lock gp to its M for life. The clock of that M; *ret_ahead: by what it is ahead of gp's. 0: gp has gone. */
static clockid_t bind_clock(struct g *gp, int64_t *ret_ahead)
{
	int tid = gmp_props_bind(gp);
	clockid_t clock = CLOCK_OF_TID(tid);
	struct timespec ts;

	if (tid == 0)
		return 0;
	*ret_ahead = -gmp_cpu_of(gp);
	real.clock_gettime(clock, &ts);
	*ret_ahead += ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
	return clock;
}

int gmp_cpu_nanosleep(clockid_t *clock, int flags, const struct timespec **req, struct timespec *moved)
{
	struct g *gp = g_of_clock(*clock);
	int64_t ahead;

	if (gp == NULL)
		return 0;
	if (gp == getg()) /* as the kernel says of a sleep that would end itself never */
		return EINVAL;
	*clock = bind_clock(gp, &ahead);
	if (*clock == 0)
		return EINVAL;
	if (flags & TIMER_ABSTIME && ts_valid(*req)) {
		*moved = to_ts((*req)->tv_sec * NSEC_PER_SEC + (*req)->tv_nsec + ahead);
		*req = moved;
	}
	return 0;
}

/* Timers whose clock is ahead of what the program thinks; few, if any. */
struct cpu_timer {
	struct cpu_timer *next;
	timer_t id;
	int64_t ahead;
};

static struct lock timers_lock; /* leaf; rank MEM: core/HACKING.md */
static struct cpu_timer *timers, *free_timers;
static _Atomic(bool) any_timer; /* there has been one */

static struct cpu_timer *new_timer(void)
{
	struct cpu_timer *t;

	gmp_enter();
	gmp_lock(&timers_lock);
	t = free_timers;
	if (t != NULL)
		free_timers = t->next;
	gmp_unlock(&timers_lock);
	if (t == NULL)
		t = gmp_persistentalloc(sizeof(*t), _Alignof(struct cpu_timer));
	gmp_leave();
	return t;
}

static void push_timer(struct cpu_timer **list, struct cpu_timer *t)
{
	gmp_enter();
	gmp_lock(&timers_lock);
	t->next = *list;
	*list = t;
	gmp_unlock(&timers_lock);
	gmp_leave();
}

/* By what the clock of this timer is ahead. */
static int64_t timer_ahead(timer_t id, bool forget)
{
	struct cpu_timer **link, *t;
	int64_t ahead = 0;

	gmp_enter();
	gmp_lock(&timers_lock);
	for (link = &timers; (t = *link) != NULL && t->id != id;)
		link = &t->next;
	if (t != NULL) {
		ahead = t->ahead;
		if (forget) {
			*link = t->next;
			t->next = free_timers;
			free_timers = t;
		}
	}
	gmp_unlock(&timers_lock);
	gmp_leave();
	return ahead;
}

/* A child inherits no timers; the kernel gives their numbers again. */
void gmp_cpu_timers_fork_child(void)
{
	timers_lock = (struct lock){0};
	timers = free_timers = NULL; /* may be half changed; lost */
	any_timer = false;
}

int hook_timer_create(clockid_t clock, struct sigevent *ev, timer_t *ret_id)
{
	struct g *gp = live() ? g_of_clock(clock) : NULL;
	struct cpu_timer *t = NULL;
	struct sigevent buf;
	int64_t ahead;
	int rc, tid;

	if (gp != NULL) {
		if ((clock = bind_clock(gp, &ahead)) == 0)
			return fail(EINVAL);
		if ((t = new_timer()) == NULL)
			return fail(EAGAIN);
	}
	rc = PASS(timer_create)(clock, (struct sigevent *)(uintptr_t)gmp_timer_event(ev, &buf, &tid), ret_id);
	if (rc == 0 && tid != 0)
		gmp_timer_made((int)(intptr_t)*ret_id, tid);
	if (t == NULL)
		return rc;
	if (rc != 0) {
		push_timer(&free_timers, t);
		return rc;
	}
	t->id = *ret_id;
	t->ahead = ahead;
	push_timer(&timers, t);
	atomic_store_explicit(&any_timer, true, memory_order_relaxed); /* before the caller can use it */
	return 0;
}

int hook_timer_settime(timer_t id, int flags, const struct itimerspec *new, struct itimerspec *old)
{
	struct itimerspec moved;
	int64_t ahead;

	if (!atomic_load_explicit(&any_timer, memory_order_relaxed) || !(flags & TIMER_ABSTIME) ||
	    (new->it_value.tv_sec == 0 && new->it_value.tv_nsec == 0) || !ts_valid(&new->it_value))
		return PASS(timer_settime)(id, flags, new, old);
	ahead = timer_ahead(id, false);
	moved = *new;
	moved.it_value = to_ts(new->it_value.tv_sec * NSEC_PER_SEC + new->it_value.tv_nsec + ahead);
	return real.timer_settime(id, flags, &moved, old);
}

int hook_timer_delete(timer_t id)
{
	if (atomic_load_explicit(&any_timer, memory_order_relaxed))
		timer_ahead(id, true);
	gmp_timer_gone((int)(intptr_t)id);
	return PASS(timer_delete)(id);
}
