// SPDX-License-Identifier: MIT
/*
 * Semaphores, on glibc's struct new_sem of 64-bit systems: the value in the low half of the first word, the number of
 * waiters in the high half, then whether it is shared. init, destroy, getvalue and trywait of libc work on it as they
 * are. As the value and the waiters are one word, sem_post touches the semaphore once and not after that: a waiter
 * may destroy it at once. Shared ones (sem_open too) wait in the kernel.
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

static inline const uint32_t *value_of(struct new_sem *s)
{
	return (const uint32_t *)(void *)&s->data; /* little endian: the low half */
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

/* 0 or an errno */
static noinline int wait_slow(struct new_sem *s, clockid_t clock, const struct timespec *abs)
{
	struct intr_mark mark = intr_begin();
	struct g *gp = getg();
	int64_t deadline = GMP_NO_DEADLINE;
	uint64_t d;
	int rc;

	if (abs != NULL) {
		deadline = deadline_of(clock, abs);
		if (deadline <= gmp_nanotime())
			return ETIMEDOUT;
	}
	/* seq_cst: before the look at the value inside gmp_futex_wait; pairs with the CAS of sem_post */
	d = atomic_fetch_add(&s->data, ONE_WAITER);
	for (;;) {
		if ((d & VALUE_MASK) != 0) {
			/* acquire: pairs with the release of sem_post */
			if (atomic_compare_exchange_weak_explicit(&s->data, &d, d - 1 - ONE_WAITER,
								  memory_order_acquire, memory_order_relaxed))
				return 0;
			continue;
		}
		rc = gmp_futex_wait(value_of(s), 0, UINT32_MAX, deadline, "semaphore");
		if (rc == -ETIMEDOUT)
			break;
		if (rc == -EINTR) {
			if (gp != NULL)
				atomic_store(&gp->cancel_wake, 0); /* see gmp_lock_interrupted() */
			if (gp != NULL && gmp_cancel_pending(gp)) {
				atomic_fetch_sub_explicit(&s->data, ONE_WAITER, memory_order_relaxed); /* a count */
				gmp_testcancel();
				atomic_fetch_add(&s->data, ONE_WAITER);
			}
			/* a timed wait is not restarted (the kernel ends a futex wait with a timeout by EINTR) */
			if (intr_fails(mark, deadline == GMP_NO_DEADLINE))
				break;
		}
		d = atomic_load_explicit(&s->data, memory_order_relaxed); /* checked by the CAS */
	}
	atomic_fetch_sub_explicit(&s->data, ONE_WAITER, memory_order_relaxed); /* a count; nobody waits for it */
	return -rc;
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

/* Async-signal-safe: handlers never run while the shim holds a lock. */
int hook_sem_post(sem_t *sem)
{
	struct new_sem *s = sem_of(sem);
	uint64_t d;

	if (unlikely(!live()) || unlikely(s->shared))
		return PASS(sem_post)(sem);
	d = atomic_load_explicit(&s->data, memory_order_relaxed); /* checked by the CAS */
	do {
		if ((d & VALUE_MASK) == SEM_VALUE_MAX)
			return fail(EOVERFLOW);
		/* seq_cst: release pairs with the takers' acquire; the waiters' count is read with the same access */
	} while (!atomic_compare_exchange_weak(&s->data, &d, d + 1));
	/* the semaphore may be gone from here on; its address is only a key */
	if (d >= ONE_WAITER) {
		gmp_enter();
		gmp_sema_wake(value_of(s), 1, UINT32_MAX);
		gmp_leave();
	}
	return 0;
}
