// SPDX-License-Identifier: MIT
/*
 * Mutexes. Words and meaning are those of NPTL: __lock is 0 free, 1 held, 2 held and perhaps waited for; __owner is
 * the virtual tid, __nusers and __count as there (so init, destroy and a mutex locked before threads began need no
 * care). Waiters wait in core's queue on &__lock.
 *
 * Barging, not handing over: unlock frees the word and wakes the first waiter, and whoever comes first takes it. A
 * handed-over mutex stays locked until its next owner has been scheduled, and every further locker queues behind: a
 * convoy. A barging locker sets 1, not 2, so that its own unlock wakes nobody while the woken waiter is on its way;
 * that waiter takes the word as 2, as it cannot know whether others wait. So one wake-up is under way at a time.
 *
 * Starvation: a waiter that has waited 1 ms and lost the race again (Go: starvationThresholdNs) sets the word to 3.
 * Then unlock does hand over: the word stays taken, and the first waiter owns it when it wakes (w.granted). For libc's
 * own unlock 3 is as 2. Without it, a loop of lock, yield, unlock would keep all others out for ever on one P. Who was
 * woken and lost goes to the front of the queue (Go: queueLifo), or every second unlock, which does not hand over,
 * could meet the same waiter each time.
 *
 * A native unlock of the word (libc reached past the hooks: RTLD_DEEPBIND, dlmopen) wakes the kernel's futex, not our
 * queue: the waiter stays until the next contended unlock. A deadline on every wait would mend that but costs a
 * timer per wait, so it is not done here: dlopen drops RTLD_DEEPBIND instead (HAZARDS.md 41).
 *
 * Special mutexes (robust, priority, process-shared): the owner in the word must be a kernel tid. glibc's own code
 * runs them while the G is locked to its M, from acquire to release, and the TCB's tid field holds the M's tid around
 * the call. The M's robust list is the G's while robust ones are taken. The registration stays behind: an empty list
 * or entries with another M's tid mean nothing to the kernel. Waiters of such a mutex hold a kernel thread each.
 */
#include <sys/single_threaded.h>

#include "preload/locks.h"

#pragma weak __libc_single_threaded /* since glibc 2.32 */

/* --- waiting --- */

bool gmp_lock_may_spin(void)
{
	struct g *gp = getg();
	struct m *mp;
	struct p *pp;

	if (gp == NULL || sched.gomaxprocs < 2)
		return false;
	/* hints: the thread may be moved to another M in between, but Ms and Ps are never freed */
	mp = *(struct m *volatile *)&gp->m;
	pp = mp != NULL ? *(struct p *volatile *)&mp->p : NULL;
	return pp != NULL &&
	       sched.gomaxprocs - atomic_load_explicit(&sched.npidle, memory_order_relaxed) -
			       atomic_load_explicit(&sched.nmspinning, memory_order_relaxed) >
		       1 &&
	       gmp_runqempty(pp);
}

void gmp_lock_interrupted(void)
{
	struct g *gp = getg();

	if (gp == NULL)
		return;
	/*
	 * A cancellation request stays in the TCB's flags for the next cancellation point, whose first act is to look
	 * there; the wake-up must not end every further park. The requester sets the flags before cancel_wake.
	 */
	if (atomic_load_explicit(&gp->cancel_wake, memory_order_relaxed)) {
		atomic_store(&gp->cancel_wake, 0);
		gmp_cancel_async(gp, NULL); /* asynchronous cancelability ends the wait as well */
	}
}

static inline bool take(word32 *w)
{
	uint32_t free = 0; /* FREE */

	/* acquire: pairs with the release in release() */
	return atomic_compare_exchange_strong_explicit(w, &free, 1, memory_order_acquire, memory_order_relaxed);
}

static bool spin(word32 *w)
{
	for (int i = 0; i < LOCK_SPIN_ROUNDS && gmp_lock_may_spin(); i++) {
		lock_spin(i);
		if (atomic_load_explicit(w, memory_order_relaxed) == 0 && take(w))
			return true;
	}
	return false;
}

enum { FREE, HELD, WAITED, STARVING };

#define STARVING_NS INT64_C(1000000)

/* Take the word, or mark it as waited for: at least `mark` (WAITED or STARVING). True: taken. */
static bool take_or_mark(word32 *w, uint32_t mark)
{
	uint32_t v = atomic_load_explicit(w, memory_order_relaxed), next;

	do {
		/* taken by one who has waited: others may wait still */
		next = v == FREE ? WAITED : v < mark ? mark : v;
		/* acquire: pairs with release() */
	} while (!atomic_compare_exchange_weak_explicit(w, &v, next, memory_order_acquire, memory_order_relaxed));
	return v == FREE;
}

/*
 * Wait until the word is unlocked; first: before all who wait already. 0, -ETIMEDOUT, -EINTR; 1: it was handed over to
 * the caller. quiet: then signal handlers that were put off have not been run.
 */
static int wait_word(word32 *w, int64_t deadline, bool first, bool quiet)
{
	struct parker foreign = {0};
	struct sema_waiter sw = {.bitset = UINT32_MAX};
	struct sema_bucket *b;
	enum park_result r;

	gmp_enter();
	sw.pk = gmp_my_parker(&foreign);
	b = gmp_sema_lock((const void *)w);
	/* seq_cst: release() changes the word before it takes the bucket lock, or with it held */
	if (atomic_load(w) < WAITED) {
		gmp_sema_unlock(b);
		gmp_leave();
		return 0;
	}
	r = gmp_sema_wait_on(b, &sw, (const void *)w, first, deadline, "mutex lock");
	if (quiet && r == PARK_READY && sw.granted)
		gmp_leave_quiet();
	else
		gmp_leave();
	if (r == PARK_READY)
		return sw.granted ? 1 : 0;
	return r == PARK_TIMEOUT ? -ETIMEDOUT : -EINTR;
}

/* 0, or (abs != NULL) ETIMEDOUT, EINVAL. woken: the caller was waiting already, so others may be. */
static noinline int take_slow(word32 *w, clockid_t clock, const struct timespec *abs, bool woken)
{
	int64_t deadline = GMP_NO_DEADLINE, since = 0;
	uint32_t mark = WAITED;
	bool waited = false;

	if (!woken && spin(w))
		return 0;
	while (!take_or_mark(w, mark)) {
		int rc;

		if (abs != NULL && deadline == GMP_NO_DEADLINE) {
			/* As in NPTL, the time matters only to those who wait. */
			if (abs->tv_sec < 0)
				return ETIMEDOUT;
			if (!ts_valid(abs))
				return EINVAL;
			deadline = deadline_of(clock, abs);
			if (gmp_deadline_passed(deadline))
				return ETIMEDOUT;
		}
		waited = since != 0;
		if (!waited)
			since = gmp_nanotime();
		else if (mark == WAITED && gmp_nanotime() - since > STARVING_NS)
			mark = STARVING;
		rc = wait_word(w, deadline, waited, false);
		if (rc == 1)
			return 0;
		if (rc == -ETIMEDOUT)
			return ETIMEDOUT;
		if (rc == -EINTR)
			gmp_lock_interrupted();
	}
	return 0;
}

/*
 * Release a word, still taken, that was `was` when its owner gave it up; it may have been marked again since. False:
 * there was nobody in our queue.
 */
static noinline bool release_waited(word32 *w, uint32_t was)
{
	struct g *list = NULL, **tail = &list;
	struct sema_bucket *b;
	bool woke = true;

	gmp_enter();
	b = gmp_sema_lock((const void *)w);
	if ((was == STARVING || atomic_load_explicit(w, memory_order_relaxed) == STARVING) &&
	    gmp_sema_grant(b, (const void *)w, &tail)) {
		/* Handed over. The new owner's unlock looks at the queue again; starving is over until somebody says
		 * so. */
		atomic_store_explicit(w, WAITED, memory_order_release);
	} else {
		/* release: pairs with take(). The mutex may be gone from here on; its address is only a key. */
		atomic_store_explicit(w, FREE, memory_order_release);
		woke = gmp_sema_claim(b, (const void *)w, 1, UINT32_MAX, &tail) > 0;
	}
	gmp_sema_unlock_ready(b, list);
	gmp_leave();
	return woke;
}

/*
 * HELD becomes FREE; more than that, less by one, is still taken, for release_waited to settle. A subtraction costs
 * less than a compare-and-exchange. FREE, an unlock too many, becomes a large number for a moment, which waits like
 * WAITED.
 */
static inline uint32_t give_up(word32 *w)
{
	/* release: pairs with take(). If it was HELD the mutex may be gone from here on. */
	return atomic_fetch_sub_explicit(w, 1, memory_order_release);
}

static inline void release(word32 *w)
{
	uint32_t was = give_up(w);

	if (unlikely(was != HELD))
		release_waited(w, was);
}

/* --- lock words that libc's own code locks and unlocks as well (locks.h) --- */

#define LOOK_FIRST_NS INT64_C(1000000)
#define LOOK_MAX_NS   INT64_C(64000000)

void gmp_shared_word_lock_slow(word32 *w)
{
	int64_t look = LOOK_FIRST_NS, since = 0, now;
	uint32_t mark = WAITED;
	bool waited;

	if (spin(w))
		return;
	while (!take_or_mark(w, mark)) {
		int rc;

		now = gmp_nanotime();
		waited = since != 0;
		if (!waited)
			since = now;
		else if (now - since > STARVING_NS)
			mark = STARVING;
		rc = wait_word(w, now + look, waited, true);
		if (rc == 1)
			return;
		if (rc == -EINTR)
			gmp_lock_interrupted();
		else if (rc == -ETIMEDOUT && look < LOOK_MAX_NS)
			look *= 2;
	}
}

void gmp_shared_word_unlock_slow(word32 *w)
{
	/* libc's own waiters sleep in the kernel. Ours go first: each leaves the word as WAITED and comes by here. */
	if (!release_waited(w, WAITED))
		sys_futex_wake(w, 1);
}

/* --- ordinary mutexes --- */

static inline int lock_normal(pthread_mutex_t *m, bool woken)
{
	word32 *w = WORD32(m->__data.__lock);

	if (unlikely(woken || !take(w)))
		take_slow(w, 0, NULL, woken);
	return 0;
}

/* A second lock by the owner: what the kind says about it. -1: it is not the owner. */
static inline int relock(pthread_mutex_t *m, int kind, int tid)
{
	if (m->__data.__owner != tid)
		return -1;
	if ((kind & MUTEX_KIND) == PTHREAD_MUTEX_ERRORCHECK_NP)
		return EDEADLK;
	if ((kind & MUTEX_KIND) != PTHREAD_MUTEX_RECURSIVE_NP)
		return -1;
	if (unlikely(m->__data.__count + 1 == 0))
		return EAGAIN;
	m->__data.__count++;
	return 0;
}

static inline void acquired(pthread_mutex_t *m, int kind, int tid)
{
	if (unlikely((kind & MUTEX_KIND) == PTHREAD_MUTEX_RECURSIVE_NP))
		m->__data.__count = 1;
	m->__data.__owner = tid;
}

/* Before threads begin: what the kernel knows the owner of is counted, so that the main G stays on m0 with it. */
static bool early(const pthread_mutex_t *m)
{
	return getg() != NULL && mutex_special(mutex_kind(m));
}

static noinline int lock_kind(pthread_mutex_t *m, int kind)
{
	int tid = self_tid(), rc;

	if (mutex_special(kind))
		return gmp_special_mutex(MUTEX_LOCK, m, 0, NULL);
	rc = relock(m, kind, tid);
	if (rc >= 0)
		return rc;
	lock_normal(m, false);
	acquired(m, kind, tid);
	m->__data.__nusers++;
	return 0;
}

/*
 * No other thread yet, of whatever origin: a free word is taken and given back by plain stores, as NPTL does. libc
 * makes threads of its own past the hooks; it clears the flag for each.
 */
static inline bool alone(const pthread_mutex_t *m)
{
	return &__libc_single_threaded != NULL && __libc_single_threaded &&
	       (mutex_kind(m) & ~MUTEX_ELISION) == PTHREAD_MUTEX_TIMED_NP;
}

/* All but the usual case of hook_pthread_mutex_lock. */
static noinline int lock_rest(pthread_mutex_t *m)
{
	int kind;

	if (alone(m) && m->__data.__lock == FREE) {
		m->__data.__lock = HELD;
		m->__data.__owner = self_tid();
		m->__data.__nusers++;
		return 0;
	}

	if (unlikely(!atomic_load_explicit(&sched.quick, memory_order_relaxed))) { /* set before other threads are */
		if (!live())
			return early(m) ? gmp_special_mutex(MUTEX_LOCK, m, 0, NULL) : PASS(pthread_mutex_lock)(m);
		stress_point();
	}
	kind = mutex_kind(m);
	if (unlikely((kind & ~MUTEX_ELISION) != PTHREAD_MUTEX_TIMED_NP))
		return lock_kind(m, kind);
	lock_normal(m, false);
	m->__data.__owner = self_tid();
	m->__data.__nusers++;
	return 0;
}

static noinline int own_foreign(pthread_mutex_t *m)
{
	m->__data.__owner = self_tid();
	return 0;
}

/*
 * The hottest hook of all: a free ordinary mutex takes no stack frame and no call; so in unlock. The tid is read when
 * the word is taken: the processor waits with an atomic operation until all reads before it are done.
 */
int hook_pthread_mutex_lock(pthread_mutex_t *m)
{
	int tid;

	if (unlikely(!atomic_load_explicit(&sched.quick, memory_order_relaxed)) ||
	    unlikely((mutex_kind(m) & ~MUTEX_ELISION) != PTHREAD_MUTEX_TIMED_NP) ||
	    unlikely(!take(WORD32(m->__data.__lock))))
		return lock_rest(m);
	tid = gmp_tls.tid;
	m->__data.__owner = tid;
	m->__data.__nusers++;
	return likely(tid != 0) ? 0 : own_foreign(m);
}

static int clocklock(pthread_mutex_t *m, clockid_t clock, const struct timespec *abs)
{
	int kind = mutex_kind(m), tid = self_tid(), rc;
	word32 *w = WORD32(m->__data.__lock);

	stress_point();
	if (mutex_special(kind))
		return gmp_special_mutex(MUTEX_CLOCKLOCK, m, clock, abs);
	rc = relock(m, kind, tid);
	if (rc >= 0)
		return rc;
	if (!take(w)) {
		rc = take_slow(w, clock, abs, false);
		if (rc != 0)
			return rc;
	}
	acquired(m, kind, tid);
	m->__data.__nusers++;
	return 0;
}

int hook_pthread_mutex_timedlock(pthread_mutex_t *m, const struct timespec *abs)
{
	if (!live())
		return early(m) ? gmp_special_mutex(MUTEX_CLOCKLOCK, m, CLOCK_REALTIME, abs)
				: PASS(pthread_mutex_timedlock)(m, abs);
	return clocklock(m, CLOCK_REALTIME, abs);
}

int hook_pthread_mutex_clocklock(pthread_mutex_t *m, clockid_t clock, const struct timespec *abs)
{
	if (!live())
		return early(m) && clock_ok(clock) ? gmp_special_mutex(MUTEX_CLOCKLOCK, m, clock, abs)
						   : PASS(pthread_mutex_clocklock)(m, clock, abs);
	return clock_ok(clock) ? clocklock(m, clock, abs) : EINVAL;
}

int hook_pthread_mutex_trylock(pthread_mutex_t *m)
{
	int kind, tid;
	word32 *w;

	if (unlikely(!live()))
		return early(m) ? gmp_special_mutex(MUTEX_TRYLOCK, m, 0, NULL) : PASS(pthread_mutex_trylock)(m);
	kind = mutex_kind(m);
	if (mutex_special(kind))
		return gmp_special_mutex(MUTEX_TRYLOCK, m, 0, NULL);
	tid = self_tid();
	w = WORD32(m->__data.__lock);
	if ((kind & MUTEX_KIND) == PTHREAD_MUTEX_RECURSIVE_NP) {
		int rc = relock(m, kind, tid);

		if (rc >= 0)
			return rc;
	}
	if (atomic_load_explicit(w, memory_order_relaxed) != 0 || !take(w))
		return EBUSY;
	acquired(m, kind, tid);
	m->__data.__nusers++;
	return 0;
}

/* -1: the caller still holds it (recursive); 0: to be released; else an error. */
static inline int may_unlock(pthread_mutex_t *m, int kind)
{
	switch (kind & MUTEX_KIND) {
	case PTHREAD_MUTEX_RECURSIVE_NP:
		if (m->__data.__owner != self_tid())
			return EPERM;
		return --m->__data.__count != 0 ? -1 : 0;
	case PTHREAD_MUTEX_ERRORCHECK_NP:
		return m->__data.__owner != self_tid() || m->__data.__lock == 0 ? EPERM : 0;
	default:
		return 0;
	}
}

static noinline int unlock_kind(pthread_mutex_t *m, int kind)
{
	int rc;

	if (mutex_special(kind))
		return gmp_special_mutex(MUTEX_UNLOCK, m, 0, NULL);
	rc = may_unlock(m, kind);
	if (rc != 0)
		return rc < 0 ? 0 : rc;
	m->__data.__owner = 0;
	m->__data.__nusers--;
	release(WORD32(m->__data.__lock));
	return 0;
}

/* All but the usual kind of mutex. */
static noinline int unlock_rest(pthread_mutex_t *m)
{
	if (alone(m) && m->__data.__lock == HELD) {
		m->__data.__owner = 0;
		m->__data.__nusers--;
		m->__data.__lock = FREE;
		return 0;
	}
	return live() || early(m) ? unlock_kind(m, mutex_kind(m)) : PASS(pthread_mutex_unlock)(m);
}

static noinline int unlock_waited(word32 *w, uint32_t was)
{
	release_waited(w, was);
	return 0;
}

int hook_pthread_mutex_unlock(pthread_mutex_t *m)
{
	word32 *w = WORD32(m->__data.__lock);
	uint32_t was;

	if (unlikely(!live()) || unlikely((mutex_kind(m) & ~MUTEX_ELISION) != PTHREAD_MUTEX_TIMED_NP))
		return unlock_rest(m);
	m->__data.__owner = 0;
	m->__data.__nusers--;
	was = give_up(w);
	return likely(was == HELD) ? 0 : unlock_waited(w, was);
}

/* --- for condition variables --- */

int gmp_mutex_cond_check(const pthread_mutex_t *m)
{
	switch (mutex_kind(m) & MUTEX_KIND) {
	case PTHREAD_MUTEX_RECURSIVE_NP:
		return m->__data.__owner != self_tid() ? EPERM : 0;
	case PTHREAD_MUTEX_ERRORCHECK_NP:
		return m->__data.__owner != self_tid() || m->__data.__lock == 0 ? EPERM : 0;
	default:
		return 0;
	}
}

int gmp_mutex_cond_unlock(pthread_mutex_t *m)
{
	int kind = mutex_kind(m), rc;

	if (mutex_special(kind)) {
		bool gives_up = (kind & MUTEX_KIND) != PTHREAD_MUTEX_RECURSIVE_NP || m->__data.__count == 1;

		if (gives_up)
			m->__data.__nusers++; /* libc's unlock takes it back, still under the lock */
		rc = gmp_special_mutex(MUTEX_UNLOCK, m, 0, NULL);
		if (rc != 0 && gives_up)
			m->__data.__nusers--;
		return rc;
	}
	rc = may_unlock(m, kind);
	if (rc != 0)
		return rc < 0 ? 0 : rc; /* recursive and held more than once: waits with it, as in NPTL */
	m->__data.__owner = 0;
	release(WORD32(m->__data.__lock));
	return 0;
}

int gmp_mutex_cond_lock(pthread_mutex_t *m, bool moved, bool granted)
{
	int kind = mutex_kind(m), tid = self_tid(), rc;

	if (mutex_special(kind)) {
		rc = gmp_special_mutex(MUTEX_LOCK, m, 0, NULL);
		if (rc == EOWNERDEAD ||
		    (rc == 0 && ((kind & MUTEX_KIND) != PTHREAD_MUTEX_RECURSIVE_NP || m->__data.__count == 1)))
			m->__data.__nusers--;
		return rc;
	}
	rc = relock(m, kind, tid);
	if (rc >= 0)
		return rc;
	if (!granted)
		lock_normal(m, moved);
	acquired(m, kind, tid);
	return 0;
}

/* --- special mutexes --- */

struct special gmp_special_begin(int owner, bool robust)
{
	struct special s = {.gp = getg()};
	int *tid, ktid;

	if (s.gp != NULL && gmp_tls.inshim == 0 && live() && !on_g()) /* on_g(): mends a system call left by longjmp */
		s.gp = NULL;
	if (s.gp == NULL)
		return s;
	gmp_lock_own_thread();
	ktid = s.gp->m->tid; /* from here on the M is ours */
	if (s.gp->kind == GK_MAIN && owner == s.gp->tid)
		ktid = owner; /* taken before threads began */
	if (robust)
		sys2(__NR_set_robust_list, s.gp->tcb + gmp_tcb.robust_head, 3 * sizeof(long));
	tid = (int *)(s.gp->tcb + gmp_tcb.tid);
	s.old_tid = *tid;
	*tid = ktid;
	atomic_signal_fence(memory_order_seq_cst);
	return s;
}

void gmp_special_end(struct special *s, bool keep_locked)
{
	if (s->gp == NULL)
		return;
	atomic_signal_fence(memory_order_seq_cst);
	*(int *)(s->gp->tcb + gmp_tcb.tid) = s->old_tid;
	if (!keep_locked)
		gmp_unlock_os_thread();
}

static int special_lock(const struct special *s, enum mutex_op op, pthread_mutex_t *m, clockid_t clock,
			const struct timespec *abs)
{
	/* Mostly it is free. EBUSY: perhaps EDEADLK and the like, which the full call finds out. */
	int rc = real.pthread_mutex_trylock(m);
	bool handoff = s->gp != NULL && gmp_tls.inshim == 0 && live();

	if (op == MUTEX_TRYLOCK || rc != EBUSY)
		return rc;
	if (handoff)
		gmp_entersyscall();
	rc = op == MUTEX_LOCK ? real.pthread_mutex_lock(m) : real.pthread_mutex_clocklock(m, clock, abs);
	if (handoff)
		gmp_exitsyscall();
	return rc;
}

int gmp_special_mutex(enum mutex_op op, pthread_mutex_t *m, clockid_t clock, const struct timespec *abs)
{
	int kind = mutex_kind(m), owner = m->__data.__owner, rc;
	bool was_mine;
	struct special s;

	if (kind & (MUTEX_ROBUST | MUTEX_PRIO_INHERIT)) /* there the lock word tells, also of an inconsistent one */
		owner = (int)((uint32_t)m->__data.__lock & FUTEX_TID_MASK);
	s = gmp_special_begin(owner, (kind & MUTEX_ROBUST) && op != MUTEX_CONSISTENT);
	switch (op) {
	case MUTEX_CONSISTENT:
		rc = real.pthread_mutex_consistent(m);
		gmp_special_end(&s, false);
		return rc;
	case MUTEX_UNLOCK:
		/* lockcnt counts this call's own: > 1 if some acquire of ours stands behind it */
		was_mine = s.gp != NULL && s.gp->lockcnt > 1 && owner == s.gp->m->tid;
		rc = real.pthread_mutex_unlock(m);
		gmp_special_end(&s, false);
		if (was_mine && (rc == 0 || rc == ENOTRECOVERABLE))
			gmp_unlock_os_thread();
		return rc;
	default:
		rc = special_lock(&s, op, m, clock, abs);
		gmp_special_end(&s, rc == 0 || rc == EOWNERDEAD);
		return rc;
	}
}

int hook_pthread_mutex_consistent(pthread_mutex_t *m)
{
	if (!live() && !early(m))
		return PASS(pthread_mutex_consistent)(m);
	return gmp_special_mutex(MUTEX_CONSISTENT, m, 0, NULL);
}

/* Locks and unlocks the mutex inside. */
int hook_pthread_mutex_setprioceiling(pthread_mutex_t *m, int ceiling, int *old)
{
	struct special s;
	bool handoff;
	int rc;

	if (!live())
		return PASS(pthread_mutex_setprioceiling)(m, ceiling, old);
	s = gmp_special_begin(m->__data.__owner, false);
	handoff = s.gp != NULL && gmp_tls.inshim == 0;
	if (handoff)
		gmp_entersyscall();
	rc = real.pthread_mutex_setprioceiling(m, ceiling, old);
	if (handoff)
		gmp_exitsyscall();
	gmp_special_end(&s, false);
	return rc;
}

/* libpthread's old second names, which programs linked long ago call */
__typeof__(__pthread_mutex_lock) hook___pthread_mutex_lock __attribute__((alias("pthread_mutex_lock")));
__typeof__(__pthread_mutex_trylock) hook___pthread_mutex_trylock __attribute__((alias("pthread_mutex_trylock")));
__typeof__(__pthread_mutex_unlock) hook___pthread_mutex_unlock __attribute__((alias("pthread_mutex_unlock")));
