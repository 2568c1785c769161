// SPDX-License-Identifier: MIT
/*
 * Read-write locks. The word __readers has NPTL's bits, with NPTL's meaning while nobody waits, so a lock taken by
 * libc's code before threads began (or used in a forked child) goes on:
 *
 *	bit 0 WRPHASE	with WRLOCKED: a writer has the lock; alone it means nothing (NPTL: idle after a writer)
 *	bit 1 WRLOCKED	a writer has the lock, __cur_writer says who
 *	bit 2 WAITERS	somebody may be in the queue: who releases the lock does so under the bucket's lock. Only there
 *			the bit changes.
 *	bits 3..	the number of readers that have the lock (those that wait are not counted, unlike NPTL)
 *
 * While nobody waits, each operation is one CAS. A release with WAITERS calls settle(), which brings queue and word
 * together: it hands the lock to all waiting readers (they are counted before they are woken), or frees it and wakes
 * one writer, which competes as a locker of a mutex does (mutex.c); WAITERS is then cleared, and set again by that
 * writer, so one wake-up is under way at a time.
 *
 * Who is preferred, as in NPTL: by default readers, also while a writer waits, and a writer's unlock lets waiting
 * readers in first; PREFER_WRITER lets waiting writers in first; PREFER_WRITER_NONRECURSIVE moreover makes new
 * readers wait behind a waiting writer. When that writer gives up (timeout) settle() lets them go.
 *
 * As long as WAITERS is set, nobody can finish a release while settle() works, so the lock cannot be destroyed under
 * it; after the last change of the word only its address is used. Handing over to readers finds fewer than counted if
 * some time out at that moment; those are still inside their call, so the lock still exists.
 *
 * Shared locks are libc's, with the M's tid as the writer (special objects, mutex.c).
 */
#include "preload/locks.h"

#define WRPHASE	      1u
#define WRLOCKED      2u
#define WAITERS	      4u
#define ONE_READER    8u
#define READERS_LIMIT (1u << 31) /* as NPTL */

/* classes of waiters */
#define READER 1u
#define WRITER 2u

static inline word32 *word_of(pthread_rwlock_t *rw)
{
	return WORD32(rw->__data.__readers);
}

static inline const void *key_of(const pthread_rwlock_t *rw)
{
	return (const char *)rw + 2;
}

static inline bool writer_is_me(pthread_rwlock_t *rw)
{
	/* relaxed: only this thread can have written its own tid */
	return atomic_load_explicit(WORD32(rw->__data.__cur_writer), memory_order_relaxed) == (uint32_t)self_tid();
}

static inline void set_writer(pthread_rwlock_t *rw, int tid)
{
	atomic_store_explicit(WORD32(rw->__data.__cur_writer), (uint32_t)tid, memory_order_relaxed); /* as above */
}

static inline bool cas_acquire(word32 *w, uint32_t *old, uint32_t new)
{
	/* acquire: pairs with cas_release() and settle() of the last owner */
	return atomic_compare_exchange_weak_explicit(w, old, new, memory_order_acquire, memory_order_relaxed);
}

static inline bool cas_release(word32 *w, uint32_t *old, uint32_t new)
{
	return atomic_compare_exchange_weak_explicit(w, old, new, memory_order_acq_rel, memory_order_relaxed);
}

/* A reader may have the lock now, as far as the word tells. */
static inline bool reader_may(pthread_rwlock_t *rw, uint32_t r)
{
	if (r & WRLOCKED)
		return false;
	return likely(!(r & WAITERS)) || r < ONE_READER ||
	       rw->__data.__flags != PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP;
}

static inline bool writer_may(uint32_t r)
{
	return !(r & WRLOCKED) && r < ONE_READER;
}

static void count(struct sema_bucket *b, const void *key, int *ret_readers, int *ret_writers)
{
	*ret_readers = *ret_writers = 0;
	for (struct sema_waiter *w = gmp_sema_first(b, key); w != NULL; w = w->next)
		++*(w->bitset == READER ? ret_readers : ret_writers);
}

/* Bucket held, WAITERS set or the caller inside a lock call: let in who may come in. Gs to be readied: **tail. */
static void settle(pthread_rwlock_t *rw, struct sema_bucket *b, struct g ***tail)
{
	bool prefer_writer = rw->__data.__flags != PTHREAD_RWLOCK_PREFER_READER_NP;
	const void *key = key_of(rw);
	word32 *w = word_of(rw);

	for (;;) {
		int readers, writers, claimed;
		uint32_t r, new;

		count(b, key, &readers, &writers);
		r = atomic_load_explicit(w, memory_order_relaxed); /* checked by the CASes */
		if (readers + writers == 0) {
			if (!(r & WAITERS) || cas_release(w, &r, r & ~WAITERS))
				return;
		} else if ((r & WRLOCKED) || (r >= ONE_READER && writers > 0 && (prefer_writer || readers == 0))) {
			/* its release comes here */
			if ((r & WAITERS) || cas_release(w, &r, r | WAITERS))
				return;
		} else if (readers > 0 && !(prefer_writer && writers > 0)) {
			new = (r & ~(WRPHASE | WAITERS)) + (uint32_t)readers *ONE_READER;
			/* acquire: the last writer, for all these readers; they get it with their wake-up */
			if (!cas_release(w, &r, new | (writers > 0 ? WAITERS : 0)))
				continue;
			claimed = gmp_sema_claim(b, key, INT_MAX, READER, tail);
			if (claimed == readers)
				return;
			/* WAITERS again first: this release must be noticed only here */
			r = atomic_load_explicit(w, memory_order_relaxed);
			while (!cas_release(w, &r, (r | WAITERS) - (uint32_t)(readers - claimed) * ONE_READER))
				;
		} else {
			/* free, and a writer is due */
			if (cas_release(w, &r, r & ~(WRPHASE | WAITERS)) &&
			    gmp_sema_claim(b, key, 1, WRITER, tail) == 1)
				return;
		}
	}
}

/* Give up what `held` stands for: WRLOCKED | WRPHASE, or ONE_READER. */
static noinline void release_slow(pthread_rwlock_t *rw, uint32_t held)
{
	struct g *list = NULL, **tail = &list;
	word32 *w = word_of(rw);
	struct sema_bucket *b;
	uint32_t r;

	gmp_enter();
	b = gmp_sema_lock(key_of(rw));
	r = atomic_load_explicit(w, memory_order_relaxed); /* WAITERS is stable now, the rest the CAS checks */
	/* release: pairs with cas_acquire(). Without WAITERS the lock may be gone after this */
	while (!cas_release(w, &r, held == ONE_READER ? r - ONE_READER : r & ~held))
		;
	if (r & WAITERS)
		settle(rw, b, &tail);
	gmp_sema_unlock(b);
	wake_list(list);
	gmp_leave();
}

static bool spin(pthread_rwlock_t *rw, bool writer)
{
	word32 *w = word_of(rw);

	for (int i = 0; i < LOCK_SPIN_ROUNDS && gmp_lock_may_spin(); i++) {
		uint32_t r;

		lock_spin(i);
		r = atomic_load_explicit(w, memory_order_relaxed);
		if (writer ? writer_may(r) && cas_acquire(w, &r, r | WRPHASE | WRLOCKED)
			   : reader_may(rw, r) && r < READERS_LIMIT - ONE_READER &&
				     cas_acquire(w, &r, (r & ~WRPHASE) + ONE_READER))
			return true;
	}
	return false;
}

/* Bucket held. 0: acquired; EAGAIN; EBUSY: WAITERS is set, wait. */
static int try_or_wait(pthread_rwlock_t *rw, struct sema_bucket *b, bool writer)
{
	uint32_t r = atomic_load_explicit(word_of(rw), memory_order_relaxed), waiters;
	struct sema_waiter *first = gmp_sema_first(b, key_of(rw));

	waiters = first != NULL ? WAITERS : 0;
	for (;;) {
		/* here the queue itself tells whether somebody waits: a writer, if the lock has readers */
		if (writer && writer_may(r)) {
			if (cas_acquire(word_of(rw), &r, WRPHASE | WRLOCKED | waiters))
				return 0;
		} else if (!writer && reader_may(rw, (r & ~WAITERS) | waiters)) {
			if (r >= READERS_LIMIT - ONE_READER)
				return EAGAIN;
			if (cas_acquire(word_of(rw), &r, ((r & ~(WRPHASE | WAITERS)) | waiters) + ONE_READER))
				return 0;
		} else if (cas_release(word_of(rw), &r, r | WAITERS)) {
			return EBUSY;
		}
	}
}

/* 0, EAGAIN, EDEADLK or ETIMEDOUT. abs, if any, is valid. */
static noinline int lock_slow(pthread_rwlock_t *rw, bool writer, clockid_t clock, const struct timespec *abs)
{
	int64_t deadline = abs == NULL ? GMP_NO_DEADLINE : deadline_of(clock, abs);
	const void *key = key_of(rw);
	struct g *list = NULL, **tail = &list;
	struct parker foreign = {0};
	struct sema_bucket *b;
	struct sema_waiter w;
	int rc;

	if (writer_is_me(rw))
		return EDEADLK;
	if (spin(rw, writer))
		return 0;
	for (;;) {
		enum park_result r;

		gmp_enter();
		b = gmp_sema_lock(key);
		rc = try_or_wait(rw, b, writer);
		if (rc == EBUSY && gmp_deadline_passed(deadline))
			rc = ETIMEDOUT;
		if (rc != EBUSY) {
			if (rc == ETIMEDOUT)
				settle(rw, b, &tail);
			gmp_sema_unlock(b);
			wake_list(list);
			gmp_leave();
			return rc;
		}
		w.bitset = writer ? WRITER : READER;
		w.pk = gmp_my_parker(&foreign);
		r = gmp_sema_wait_on(b, &w, key, false, deadline, writer ? "rwlock write" : "rwlock read");
		if (r == PARK_TIMEOUT) {
			/* Readers may have waited for this writer only; and WAITERS may be true no more. */
			b = gmp_sema_lock(key);
			settle(rw, b, &tail);
			gmp_sema_unlock(b);
			wake_list(list);
		}
		gmp_leave();
		if (r == PARK_TIMEOUT)
			return ETIMEDOUT;
		if (r == PARK_READY && !writer)
			return 0; /* handed over */
		if (r == PARK_INTR)
			gmp_lock_interrupted();
	}
}

static inline int rdlock(pthread_rwlock_t *rw, clockid_t clock, const struct timespec *abs)
{
	word32 *w = word_of(rw);
	uint32_t r = atomic_load_explicit(w, memory_order_relaxed); /* checked by the CAS */

	while (likely(reader_may(rw, r))) {
		if (unlikely(r >= READERS_LIMIT - ONE_READER))
			return EAGAIN;
		if (likely(cas_acquire(w, &r, (r & ~WRPHASE) + ONE_READER)))
			return 0;
	}
	return lock_slow(rw, false, clock, abs);
}

static inline int wrlock(pthread_rwlock_t *rw, clockid_t clock, const struct timespec *abs)
{
	word32 *w = word_of(rw);
	uint32_t r = atomic_load_explicit(w, memory_order_relaxed); /* checked by the CAS */
	int rc;

	while (likely((r & ~WRPHASE) == 0))
		if (likely(cas_acquire(w, &r, WRPHASE | WRLOCKED)))
			goto acquired;
	rc = lock_slow(rw, true, clock, abs);
	if (rc != 0)
		return rc;
acquired:
	set_writer(rw, self_tid());
	return 0;
}

/* --- shared ones --- */

enum rw_op { RDLOCK, WRLOCK, TRYRDLOCK, TRYWRLOCK, UNLOCK };

static int shared_call(pthread_rwlock_t *rw, enum rw_op op, clockid_t clock, const struct timespec *abs)
{
	switch (op) {
	case RDLOCK:
		return abs == NULL ? real.pthread_rwlock_rdlock(rw) : real.pthread_rwlock_clockrdlock(rw, clock, abs);
	case WRLOCK:
		return abs == NULL ? real.pthread_rwlock_wrlock(rw) : real.pthread_rwlock_clockwrlock(rw, clock, abs);
	case TRYRDLOCK:
		return real.pthread_rwlock_tryrdlock(rw);
	case TRYWRLOCK:
		return real.pthread_rwlock_trywrlock(rw);
	default:
		return real.pthread_rwlock_unlock(rw);
	}
}

static noinline int shared(pthread_rwlock_t *rw, enum rw_op op, clockid_t clock, const struct timespec *abs)
{
	struct special s = gmp_special_begin(rw->__data.__cur_writer, false);
	bool handoff = s.gp != NULL && gmp_tls.inshim == 0 && (op == RDLOCK || op == WRLOCK);
	bool held = s.gp != NULL && s.gp->lockcnt > 1; /* its own and that of the acquire */
	int rc;

	if (handoff)
		gmp_entersyscall();
	rc = shared_call(rw, op, clock, abs);
	if (handoff)
		gmp_exitsyscall();
	gmp_special_end(&s, op != UNLOCK && rc == 0);
	if (op == UNLOCK && held)
		gmp_unlock_os_thread();
	return rc;
}

static inline bool is_shared(const pthread_rwlock_t *rw)
{
	return unlikely(rw->__data.__shared != 0);
}

/* --- hooks --- */

int hook_pthread_rwlock_rdlock(pthread_rwlock_t *rw)
{
	if (unlikely(!live()))
		return PASS(pthread_rwlock_rdlock)(rw);
	stress_point();
	return is_shared(rw) ? shared(rw, RDLOCK, 0, NULL) : rdlock(rw, 0, NULL);
}

int hook_pthread_rwlock_wrlock(pthread_rwlock_t *rw)
{
	if (unlikely(!live()))
		return PASS(pthread_rwlock_wrlock)(rw);
	stress_point();
	return is_shared(rw) ? shared(rw, WRLOCK, 0, NULL) : wrlock(rw, 0, NULL);
}

static int timed(pthread_rwlock_t *rw, enum rw_op op, clockid_t clock, const struct timespec *abs)
{
	stress_point();
	if (abs != NULL && (!clock_ok(clock) || !ts_valid(abs))) /* NULL: as without a time, in libc */
		return EINVAL;
	if (is_shared(rw))
		return shared(rw, op, clock, abs);
	return op == RDLOCK ? rdlock(rw, clock, abs) : wrlock(rw, clock, abs);
}

int hook_pthread_rwlock_timedrdlock(pthread_rwlock_t *restrict rw, const struct timespec *restrict abs)
{
	return live() ? timed(rw, RDLOCK, CLOCK_REALTIME, abs) : PASS(pthread_rwlock_timedrdlock)(rw, abs);
}

int hook_pthread_rwlock_timedwrlock(pthread_rwlock_t *restrict rw, const struct timespec *restrict abs)
{
	return live() ? timed(rw, WRLOCK, CLOCK_REALTIME, abs) : PASS(pthread_rwlock_timedwrlock)(rw, abs);
}

int hook_pthread_rwlock_clockrdlock(pthread_rwlock_t *restrict rw, clockid_t clock, const struct timespec *restrict abs)
{
	return live() ? timed(rw, RDLOCK, clock, abs) : PASS(pthread_rwlock_clockrdlock)(rw, clock, abs);
}

int hook_pthread_rwlock_clockwrlock(pthread_rwlock_t *restrict rw, clockid_t clock, const struct timespec *restrict abs)
{
	return live() ? timed(rw, WRLOCK, clock, abs) : PASS(pthread_rwlock_clockwrlock)(rw, clock, abs);
}

int hook_pthread_rwlock_tryrdlock(pthread_rwlock_t *rw)
{
	word32 *w = word_of(rw);
	uint32_t r;

	if (unlikely(!live()))
		return PASS(pthread_rwlock_tryrdlock)(rw);
	if (is_shared(rw))
		return shared(rw, TRYRDLOCK, 0, NULL);
	r = atomic_load_explicit(w, memory_order_relaxed); /* checked by the CAS */
	while (reader_may(rw, r)) {
		if (r >= READERS_LIMIT - ONE_READER)
			return EAGAIN;
		if (cas_acquire(w, &r, (r & ~WRPHASE) + ONE_READER))
			return 0;
	}
	return EBUSY;
}

int hook_pthread_rwlock_trywrlock(pthread_rwlock_t *rw)
{
	word32 *w = word_of(rw);
	uint32_t r;

	if (unlikely(!live()))
		return PASS(pthread_rwlock_trywrlock)(rw);
	if (is_shared(rw))
		return shared(rw, TRYWRLOCK, 0, NULL);
	r = atomic_load_explicit(w, memory_order_relaxed); /* checked by the CAS */
	while (writer_may(r))
		if (cas_acquire(w, &r, r | WRPHASE | WRLOCKED)) {
			set_writer(rw, self_tid());
			return 0;
		}
	return EBUSY;
}

int hook_pthread_rwlock_unlock(pthread_rwlock_t *rw)
{
	word32 *w = word_of(rw);
	uint32_t r, held = ONE_READER;

	if (unlikely(!live()))
		return PASS(pthread_rwlock_unlock)(rw);
	if (is_shared(rw))
		return shared(rw, UNLOCK, 0, NULL);
	if (writer_is_me(rw)) {
		set_writer(rw, 0);
		held = WRLOCKED | WRPHASE;
	}
	r = atomic_load_explicit(w, memory_order_relaxed); /* checked by the CAS */
	/* Not the last reader, or nobody waits: release pairs with cas_acquire(); the lock may be gone after it. */
	while (!(r & WAITERS) || (held == ONE_READER && r >= 2 * ONE_READER))
		if (cas_release(w, &r, held == ONE_READER ? r - ONE_READER : r & ~held))
			return 0;
	release_slow(rw, held);
	return 0;
}

/* libpthread's old second names, which programs linked long ago call */
__typeof__(__pthread_rwlock_rdlock) hook___pthread_rwlock_rdlock __attribute__((alias("pthread_rwlock_rdlock")));
__typeof__(__pthread_rwlock_wrlock) hook___pthread_rwlock_wrlock __attribute__((alias("pthread_rwlock_wrlock")));
__typeof__(__pthread_rwlock_tryrdlock) hook___pthread_rwlock_tryrdlock
	__attribute__((alias("pthread_rwlock_tryrdlock")));
__typeof__(__pthread_rwlock_trywrlock) hook___pthread_rwlock_trywrlock
	__attribute__((alias("pthread_rwlock_trywrlock")));
__typeof__(__pthread_rwlock_unlock) hook___pthread_rwlock_unlock __attribute__((alias("pthread_rwlock_unlock")));
