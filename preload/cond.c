// SPDX-License-Identifier: MIT
/*
 * Condition variables. Of glibc's object only two words are used, and both so that libc's own code still makes sense
 * of them (in a forked child, before it has threads):
 *
 *	__wrefs		flags (bit 0 shared, bit 1 monotonic clock, bit 2 destroy waits) and, from bit 3 on, the number
 *			of threads that may still touch the object. signal with none is one load.
 *	__wseq, high	counts, in twos, wake-ups that found nobody in the queue while somebody was registered: a waiter
 *			that a signal handler had called away sees that it missed one. Bucket lock.
 *
 * The waiter enters the queue under the bucket's lock, then releases the mutex, then parks: a signal sent by anybody
 * who got the mutex after it finds it. The queue is FIFO, signal claims the first. A waiter counts itself out before
 * it takes the mutex again, as glibc's does, so that destroy may follow a broadcast at once.
 *
 * broadcast by the owner of the waiters' ordinary mutex wakes nobody: it sets the lock word to 2 and moves all waiters
 * to the queue of the mutex, whose unlocks wake them one by one. The owner alone may do that: nobody else can know
 * that the mutex still exists. It counts the moved waiters out, they must not touch the condition again: a moved
 * waiter, seen by its changed address, has been signalled, whatever ended its wait. Without the mutex all are made
 * runnable.
 *
 * Shared conditions are libc's, in the kernel. libc's code would release a mutex of ours without waking our queue, so
 * only special mutexes (mutex.c: there too the TCB's tid is the M's) go there; with an ordinary one, which natively is
 * possible but odd, the wait is cut into spurious wake-ups 10 ms apart around a mutex of our own.
 */
#include "preload/locks.h"

#define SHARED 1u
#define MONOTONIC 2u
#define DESTROYING 4u
#define ONE_REF 8u
#define SHARED_SLICE_NS INT64_C(10000000)

struct cond_waiter {
	struct sema_waiter w; /* first */
	pthread_mutex_t *mutex; /* NULL: not one to be moved to */
};

static inline word32 *wrefs_of(pthread_cond_t *c)
{
	return WORD32(c->__data.__wrefs);
}

static inline word32 *missed_of(pthread_cond_t *c)
{
	return (word32 *)(void *)c + 1; /* little endian: the high half of __wseq */
}

static inline const void *key_of(const pthread_cond_t *c)
{
	return (const char *)c + 1;
}

/* n waiters will not touch the condition again. */
static void put_refs(pthread_cond_t *c, uint32_t n)
{
	word32 *w = wrefs_of(c);
	/* release: pairs with destroy's acquire; the condition may be gone from here on */
	uint32_t old = atomic_fetch_sub_explicit(w, n * ONE_REF, memory_order_release);

	if (unlikely((old & DESTROYING) && old / ONE_REF == n))
		gmp_sema_wake((const void *)w, INT_MAX, UINT32_MAX);
}

/* Take the waiter, which is queued and prepared, out again. True: it had been signalled. */
static bool withdraw(struct sema_waiter *w)
{
	gmp_wake(w->pk, w->ticket, PARK_INTR);
	return gmp_sema_wait(w, GMP_NO_DEADLINE, "cond wait") == PARK_READY;
}

static void enqueue(struct sema_bucket *b, struct sema_waiter *w, struct parker *foreign, const void *key)
{
	w->pk = gmp_my_parker(foreign);
	w->ticket = gmp_park_prepare(w->pk);
	gmp_sema_enqueue(b, w, key);
}

static int signal_one(pthread_cond_t *c)
{
	struct g *list = NULL, **tail = &list;
	struct sema_bucket *b = gmp_sema_lock(key_of(c));

	if (gmp_sema_claim(b, key_of(c), 1, UINT32_MAX, &tail) == 0)
		atomic_fetch_add_explicit(missed_of(c), 2, memory_order_relaxed); /* bucket lock */
	gmp_sema_unlock_ready(b, list);
	return 0;
}

/* The mutex is ordinary or special, the condition is not shared. */
static int wait_private(pthread_cond_t *c, pthread_mutex_t *mutex, int64_t deadline)
{
	bool special = mutex_special(mutex_kind(mutex)), cancel = false, granted = false;
	struct cond_waiter cw = {.mutex = special ? NULL : mutex};
	const void *key = key_of(c), *addr;
	struct parker foreign = {0};
	struct g *gp = getg();
	struct sema_bucket *b;
	int rc, result = 0;
	uint32_t missed;

	if (!special) {
		rc = gmp_mutex_cond_check(mutex);
		if (rc != 0)
			return rc;
	}
	cw.w.bitset = UINT32_MAX;
	gmp_enter();
	/* relaxed: who must see the count got the mutex after us */
	atomic_fetch_add_explicit(wrefs_of(c), ONE_REF, memory_order_relaxed);
	b = gmp_sema_lock(key);
	missed = atomic_load_explicit(missed_of(c), memory_order_relaxed); /* bucket lock */
	enqueue(b, &cw.w, &foreign, key);
	gmp_sema_unlock(b);
	rc = gmp_mutex_cond_unlock(mutex);
	if (unlikely(rc != 0)) {
		if (withdraw(&cw.w))
			signal_one(c); /* not for us */
		put_refs(c, 1);
		gmp_leave();
		return rc;
	}
	for (;;) {
		enum park_result r = gmp_sema_wait(&cw.w, deadline, "cond wait");

		/* off every queue: nobody else writes it */
		addr = atomic_load_explicit(&cw.w.addr, memory_order_relaxed);
		granted = r == PARK_READY && cw.w.granted;
		if (r == PARK_READY || addr != key)
			break;
		if (r == PARK_TIMEOUT) {
			result = ETIMEDOUT;
			break;
		}
		/* Handlers run now, without the mutex. */
		gmp_leave();
		if (gp != NULL)
			atomic_store(&gp->cancel_wake, 0); /* see gmp_lock_interrupted() */
		cancel = gp != NULL && gmp_cancel_pending(gp);
		gmp_enter();
		if (cancel)
			break;
		b = gmp_sema_lock(key);
		if (atomic_load_explicit(missed_of(c), memory_order_relaxed) != missed) {
			gmp_sema_unlock(b);
			break;
		}
		enqueue(b, &cw.w, &foreign, key);
		gmp_sema_unlock(b);
	}
	if (addr == key)
		put_refs(c, 1);
	else if (unlikely(addr != (const void *)&mutex->__data.__lock))
		/* Moved to the mutex of another waiter (undefined by POSIX): pass its wake-up on. */
		gmp_sema_wake(addr, 1, UINT32_MAX);
	gmp_leave();
	rc = gmp_mutex_cond_lock(mutex, addr != key, granted);
	if (unlikely(cancel))
		gmp_testcancel();
	return rc != 0 ? rc : result;
}

/* --- shared conditions --- */

static int real_wait(pthread_cond_t *c, pthread_mutex_t *mutex, clockid_t clock, const struct timespec *abs)
{
	return abs == NULL ? real.pthread_cond_wait(c, mutex) : real.pthread_cond_clockwait(c, mutex, clock, abs);
}

static void add_ns(struct timespec *ts, int64_t ns)
{
	ts->tv_nsec += ns;
	if (ts->tv_nsec >= NSEC_PER_SEC) {
		ts->tv_nsec -= NSEC_PER_SEC;
		ts->tv_sec++;
	}
}

static int wait_shared_ordinary(pthread_cond_t *c, pthread_mutex_t *mutex, clockid_t clock, const struct timespec *abs)
{
	pthread_mutex_t stand_in = PTHREAD_MUTEX_INITIALIZER;
	bool g = on_g(), last = false;
	struct timespec end;
	int rc, state;

	rc = gmp_mutex_cond_check(mutex);
	if (rc != 0)
		return rc;
	gmp_testcancel();
	real.clock_gettime(clock, &end);
	add_ns(&end, SHARED_SLICE_NS);
	if (abs != NULL && (abs->tv_sec < end.tv_sec || (abs->tv_sec == end.tv_sec && abs->tv_nsec <= end.tv_nsec))) {
		end = *abs;
		last = true;
	}
	/* libc's cancellation would unwind with the wrong mutex: test ourselves, with the right one */
	real.pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	real.pthread_mutex_lock(&stand_in);
	gmp_mutex_cond_unlock(mutex);
	if (g)
		gmp_entersyscall();
	rc = real_wait(c, &stand_in, clock, &end);
	if (g)
		gmp_exitsyscall();
	real.pthread_mutex_unlock(&stand_in);
	gmp_mutex_cond_lock(mutex, false, false);
	real.pthread_setcancelstate(state, NULL);
	gmp_testcancel();
	return rc == ETIMEDOUT && !last ? 0 : rc;
}

static int wait_shared(pthread_cond_t *c, pthread_mutex_t *mutex, clockid_t clock, const struct timespec *abs)
{
	struct special s;
	bool g;
	int rc;

	if (!mutex_special(mutex_kind(mutex)))
		return wait_shared_ordinary(c, mutex, clock, abs);
	gmp_testcancel();
	/* The G holds the mutex before and after, so it is locked to its M all the while. */
	s = gmp_special_begin(mutex->__data.__owner, false);
	g = s.gp != NULL && gmp_tls.inshim == 0;
	if (g)
		gmp_entersyscall();
	rc = real_wait(c, mutex, clock, abs);
	if (g)
		gmp_exitsyscall();
	gmp_special_end(&s, false);
	gmp_testcancel();
	return rc;
}

/* --- hooks --- */

static int wait_common(pthread_cond_t *c, pthread_mutex_t *mutex, clockid_t clock, const struct timespec *abs)
{
	stress_point();
	if (unlikely(atomic_load_explicit(wrefs_of(c), memory_order_relaxed) & SHARED)) /* constant */
		return wait_shared(c, mutex, clock, abs);
	gmp_testcancel();
	return wait_private(c, mutex, abs == NULL ? GMP_NO_DEADLINE : deadline_of(clock, abs));
}

int hook_pthread_cond_wait(pthread_cond_t *restrict c, pthread_mutex_t *restrict mutex)
{
	if (!live())
		return PASS(pthread_cond_wait)(c, mutex);
	return wait_common(c, mutex, CLOCK_REALTIME, NULL);
}

int hook_pthread_cond_timedwait(pthread_cond_t *restrict c, pthread_mutex_t *restrict mutex,
				const struct timespec *restrict abs)
{
	uint32_t flags;

	if (!live())
		return PASS(pthread_cond_timedwait)(c, mutex, abs);
	if (!ts_valid(abs))
		return EINVAL;
	flags = atomic_load_explicit(wrefs_of(c), memory_order_relaxed); /* constant */
	return wait_common(c, mutex, flags & MONOTONIC ? CLOCK_MONOTONIC : CLOCK_REALTIME, abs);
}

int hook_pthread_cond_clockwait(pthread_cond_t *restrict c, pthread_mutex_t *restrict mutex, clockid_t clock,
				const struct timespec *restrict abs)
{
	if (!live())
		return PASS(pthread_cond_clockwait)(c, mutex, clock, abs);
	if (!ts_valid(abs) || !clock_ok(clock))
		return EINVAL;
	return wait_common(c, mutex, clock, abs);
}

int hook_pthread_cond_signal(pthread_cond_t *c)
{
	uint32_t refs;

	if (unlikely(!live()))
		return PASS(pthread_cond_signal)(c);
	refs = atomic_load_explicit(wrefs_of(c), memory_order_relaxed); /* see wait_private() */
	if (refs < ONE_REF)
		return 0;
	if (unlikely(refs & SHARED))
		return real.pthread_cond_signal(c);
	gmp_enter();
	signal_one(c);
	gmp_leave();
	return 0;
}

/* The mutex of the first waiter, if it is an ordinary one that the caller owns. Bucket held: so it still exists. */
static pthread_mutex_t *owned_mutex(const struct sema_waiter *first)
{
	pthread_mutex_t *m = ((const struct cond_waiter *)(const void *)first)->mutex;

	if (m == NULL || m->__data.__lock == 0 || m->__data.__owner != self_tid() || mutex_special(mutex_kind(m)))
		return NULL;
	return m;
}

/* The caller owns m, so that m's word is not 0 and changes to 0 only after this. */
static void move_all(pthread_cond_t *c, pthread_mutex_t *m)
{
	word32 *lock = WORD32(m->__data.__lock);
	int woken, moved;

	uint32_t held = 1;

	/* relaxed: the caller's own later unlock sees it. 2 and 3 already say that somebody waits (mutex.c). */
	atomic_compare_exchange_strong_explicit(lock, &held, 2, memory_order_relaxed, memory_order_relaxed);
	/* The first key is odd, but never read: cmp is NULL. */
	moved = gmp_futex_requeue((const uint32_t *)(uintptr_t)key_of(c), 0, (const uint32_t *)lock, INT_MAX, NULL,
				  &woken);
	if (moved > 0)
		put_refs(c, (uint32_t)moved);
}

int hook_pthread_cond_broadcast(pthread_cond_t *c)
{
	struct g *list = NULL, **tail = &list;
	struct sema_waiter *first;
	struct sema_bucket *b;
	pthread_mutex_t *m;
	uint32_t refs;

	if (unlikely(!live()))
		return PASS(pthread_cond_broadcast)(c);
	refs = atomic_load_explicit(wrefs_of(c), memory_order_relaxed); /* see wait_private() */
	if (refs < ONE_REF)
		return 0;
	if (unlikely(refs & SHARED))
		return real.pthread_cond_broadcast(c);
	gmp_enter();
	b = gmp_sema_lock(key_of(c));
	atomic_fetch_add_explicit(missed_of(c), 2, memory_order_relaxed); /* bucket lock */
	first = gmp_sema_first(b, key_of(c));
	m = first != NULL ? owned_mutex(first) : NULL;
	if (m == NULL)
		gmp_sema_claim(b, key_of(c), INT_MAX, UINT32_MAX, &tail);
	gmp_sema_unlock(b);
	if (m != NULL)
		move_all(c, m);
	else
		wake_list(list);
	gmp_leave();
	return 0;
}

int hook_pthread_cond_destroy(pthread_cond_t *c)
{
	word32 *w = wrefs_of(c);
	uint32_t refs;

	if (!live())
		return PASS(pthread_cond_destroy)(c);
	/* acquire, here and below: pairs with put_refs() */
	refs = atomic_fetch_or_explicit(w, DESTROYING, memory_order_acquire) | DESTROYING;
	if (unlikely(refs & SHARED)) {
		int rc;

		if (!on_g())
			return real.pthread_cond_destroy(c);
		HANDOFF_CALL(rc, real.pthread_cond_destroy(c));
		return rc;
	}
	while (refs >= ONE_REF) {
		if (gmp_futex_wait((const uint32_t *)w, refs, UINT32_MAX, GMP_NO_DEADLINE, "cond destroy") == -EINTR)
			gmp_lock_interrupted();
		refs = atomic_load_explicit(w, memory_order_acquire);
	}
	return 0;
}
