// SPDX-License-Identifier: MIT
/*
 * Semaphores, on glibc's struct new_sem of 64-bit systems: the value in the low half of the first word, the number of
 * waiters in the high half, then whether it is shared. init, destroy, getvalue and trywait of libc work on it as they
 * are. Of the high half only "not 0" is used: somebody has waited since the queue was last seen empty. A waiter sets
 * it, with the bucket held; then sem_post hands its token to the first waiter, past the word, and clears it when it
 * finds none. So a pair that wakes each other in turns never writes the word.
 *
 * After the token is given, by a store to the word or to a waiter, sem_post does not touch the semaphore: whoever has
 * it may destroy it at once. Shared ones (sem_open too) wait in the kernel.
 *
 * Rejected: to add the token to the word and let the woken waiter take it, as NPTL does, so that others may come
 * first. It spares a switch to those who use a semaphore as a contended mutex, and costs all others five atomic
 * operations a round.
 */
#include "preload/locks.h"

#define VALUE_MASK UINT64_C(0xffffffff)
#define ONE_WAITER (UINT64_C(1) << 32)

struct new_sem {
	_Atomic(uint64_t) data;
	int shared; /* FUTEX_SHARED, 128, or 0 */
};

static inline struct new_sem *sem_of(sem_t *s)
{
	return (struct new_sem *)(void *)s;
}

static inline const void *key_of(struct new_sem *s)
{
	return &s->data;
}

static inline bool take(struct new_sem *s)
{
	uint64_t d = atomic_load_explicit(&s->data, memory_order_relaxed); /* checked by the CAS */

	while ((d & VALUE_MASK) != 0)
		/* acquire: pairs with the release of sem_post */
		if (atomic_compare_exchange_weak_explicit(&s->data, &d, d - 1, memory_order_acquire,
							  memory_order_relaxed))
			return true;
	return false;
}

/* Bucket held: take a token, or (false) leave the word with its waiters marked. */
static bool take_or_mark(struct new_sem *s)
{
	uint64_t d = atomic_load_explicit(&s->data, memory_order_relaxed); /* checked by the CAS */

	for (;;) {
		bool some = (d & VALUE_MASK) != 0;

		if (!some && d >= ONE_WAITER)
			return false;
		/* acquire: pairs with the release of sem_post, whose CAS it makes fail if it comes first */
		if (atomic_compare_exchange_weak_explicit(&s->data, &d, some ? d - 1 : ONE_WAITER,
							  memory_order_acquire, memory_order_relaxed))
			return some;
	}
}

/* 0 or an errno */
static noinline int wait_slow(struct new_sem *s, clockid_t clock, const struct timespec *abs)
{
	struct sema_waiter w = {.bitset = UINT32_MAX};
	struct intr_mark mark = intr_begin();
	int64_t deadline = GMP_NO_DEADLINE;
	struct parker foreign = {0};
	struct g *gp = getg();

	if (abs != NULL) {
		deadline = deadline_of(clock, abs);
		if (gmp_deadline_passed(deadline))
			return ETIMEDOUT;
	}
	for (;;) {
		struct sema_bucket *b;
		enum park_result r;

		gmp_enter();
		w.pk = gmp_my_parker(&foreign);
		b = gmp_sema_lock(key_of(s));
		if (take_or_mark(s)) {
			gmp_sema_unlock(b);
			gmp_leave();
			return 0;
		}
		r = gmp_sema_wait_on(b, &w, key_of(s), false, deadline, "semaphore");
		gmp_leave();
		if (r == PARK_READY && likely(w.granted)) /* a raw futex call on the word only wakes */
			return 0;
		if (r == PARK_TIMEOUT)
			return ETIMEDOUT;
		if (r == PARK_INTR) {
			if (gp != NULL)
				atomic_store(&gp->cancel_wake, 0); /* see gmp_lock_interrupted() */
			if (gp != NULL && gmp_cancel_pending(gp))
				gmp_testcancel();
			/* a timed wait is not restarted (the kernel ends a futex wait with a timeout by EINTR) */
			if (intr_fails(mark, deadline == GMP_NO_DEADLINE))
				return EINTR;
		}
	}
}

static int sem_wait_common(sem_t *sem, clockid_t clock, const struct timespec *abs)
{
	struct new_sem *s = sem_of(sem);
	int rc;

	if (likely(take(s)))
		return 0;
	rc = wait_slow(s, clock, abs);
	return rc == 0 ? 0 : fail(rc);
}

/* Shared ones without a free token: in the kernel, if this is a G with its P free meanwhile. */
#define SHARED_CALL(name, args)                         \
	do {                                            \
		int ret_;                               \
		if (take(sem_of(sem)))                  \
			return 0;                       \
		if (!on_g())                            \
			return real.name args;          \
		HANDOFF_CALL(ret_, real.name args);     \
		return ret_;                            \
	} while (0)

int hook_sem_wait(sem_t *sem)
{
	if (!live())
		return PASS(sem_wait)(sem);
	stress_point();
	gmp_testcancel();
	if (unlikely(sem_of(sem)->shared))
		SHARED_CALL(sem_wait, (sem));
	return sem_wait_common(sem, 0, NULL);
}

int hook_sem_timedwait(sem_t *sem, const struct timespec *abs)
{
	if (!live())
		return PASS(sem_timedwait)(sem, abs);
	stress_point();
	if (!ts_valid(abs))
		return fail(EINVAL);
	gmp_testcancel();
	if (unlikely(sem_of(sem)->shared))
		SHARED_CALL(sem_timedwait, (sem, abs));
	return sem_wait_common(sem, CLOCK_REALTIME, abs);
}

int hook_sem_clockwait(sem_t *sem, clockid_t clock, const struct timespec *abs)
{
	if (!live())
		return PASS(sem_clockwait)(sem, clock, abs);
	stress_point();
	if (!clock_ok(clock) || !ts_valid(abs))
		return fail(EINVAL);
	/* glibc tests for cancellation only when it waits; POSIX asks for it always */
	gmp_testcancel();
	if (unlikely(sem_of(sem)->shared))
		SHARED_CALL(sem_clockwait, (sem, clock, abs));
	return sem_wait_common(sem, clock, abs);
}

/* Somebody waits, or has waited. 0 or -1 with EOVERFLOW. */
static noinline int post_slow(struct new_sem *s)
{
	struct g *list = NULL, **tail = &list;
	struct sema_bucket *b;
	bool ok = true;

	gmp_enter();
	b = gmp_sema_lock(key_of(s));
	if (unlikely(!gmp_sema_grant(b, key_of(s), &tail))) {
		uint64_t d = atomic_load_explicit(&s->data, memory_order_relaxed); /* checked by the CAS */

		do
			ok = (d & VALUE_MASK) != SEM_VALUE_MAX;
		while (ok && !atomic_compare_exchange_weak_explicit(&s->data, &d, (d & VALUE_MASK) + 1,
								    memory_order_release, memory_order_relaxed));
	}
	gmp_sema_unlock_ready(b, list);
	gmp_leave();
	return ok ? 0 : fail(EOVERFLOW);
}

/* Async-signal-safe: handlers never run while the shim holds a lock. */
int hook_sem_post(sem_t *sem)
{
	struct new_sem *s = sem_of(sem);
	uint64_t d;

	if (unlikely(!live()) || unlikely(s->shared))
		return PASS(sem_post)(sem);
	d = atomic_load_explicit(&s->data, memory_order_relaxed); /* checked by the CAS, or under the bucket's lock */
	do {
		if (d >= ONE_WAITER)
			return post_slow(s);
		if ((d & VALUE_MASK) == SEM_VALUE_MAX)
			return fail(EOVERFLOW);
		/* release: pairs with the takers' acquire. The semaphore may be gone from here on. */
	} while (!atomic_compare_exchange_weak_explicit(&s->data, &d, d + 1, memory_order_release,
							memory_order_relaxed));
	return 0;
}
