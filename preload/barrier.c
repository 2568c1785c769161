// SPDX-License-Identifier: MIT
/*
 * Barriers and spin locks.
 *
 * A barrier uses glibc's words, all under the bucket's lock: `in` counts the threads that entered since the last
 * reset, current_round those whose round is complete, `out` those that will not touch the barrier again. A round is
 * complete when in - current_round reaches count; whoever completes it claims all waiters, which then are out. A
 * waiter that a signal handler had called away at that moment comes back to see the new current_round and counts
 * itself out; destroy waits for it.
 *
 * A spin lock whose holder was descheduled would cost its waiter a time slice: after some rounds the waiter lets
 * others run. trylock and unlock are libc's.
 */
#include "preload/locks.h"

#define RESET_AT (1u << 30)

struct pthread_barrier { /* sysdeps/nptl/internaltypes.h */
	uint32_t in, current_round, count;
	int shared;
	uint32_t out;
};

static inline struct pthread_barrier *barrier_of(pthread_barrier_t *b)
{
	return (struct pthread_barrier *)(void *)b;
}

static inline const void *key_of(const struct pthread_barrier *bar)
{
	return (const char *)bar + 3;
}

/* classes of waiters */
#define ROUND 1u
#define DESTROY 2u

/* Bucket held: n more threads are out. Nobody touches the barrier after the last one, but under the bucket's lock. */
static void leave(struct pthread_barrier *bar, uint32_t n, struct sema_bucket *b, struct g ***tail)
{
	bar->out += n;
	if (bar->out != bar->in)
		return;
	if (bar->in >= RESET_AT)
		bar->in = bar->current_round = bar->out = 0;
	gmp_sema_claim(b, key_of(bar), INT_MAX, DESTROY, tail);
}

/* Bucket held: queue the caller, give the bucket up and wait. */
static enum park_result wait_in(const void *key, struct sema_bucket *b, uint32_t class, const char *why)
{
	struct parker foreign = {0};
	struct sema_waiter w = {.bitset = class};

	w.pk = gmp_my_parker(&foreign);
	return gmp_sema_wait_on(b, &w, key, false, GMP_NO_DEADLINE, why);
}

static int barrier_wait(struct pthread_barrier *bar)
{
	struct g *list = NULL, **tail = &list;
	const void *key = key_of(bar);
	struct sema_bucket *b;
	uint32_t round;
	int rc = 0;

	gmp_enter();
	b = gmp_sema_lock(key);
	round = bar->current_round;
	if (++bar->in - round == bar->count) {
		bar->current_round = bar->in;
		leave(bar, 1 + (uint32_t)gmp_sema_claim(b, key, INT_MAX, ROUND, &tail), b, &tail);
		rc = PTHREAD_BARRIER_SERIAL_THREAD;
	} else {
		do {
			enum park_result r = wait_in(key, b, ROUND, "barrier");

			gmp_leave();
			if (r == PARK_READY)
				return 0;
			gmp_lock_interrupted();
			gmp_enter();
			b = gmp_sema_lock(key);
		} while (bar->current_round == round);
		leave(bar, 1, b, &tail);
	}
	gmp_sema_unlock(b);
	wake_list(list);
	gmp_leave();
	return rc;
}

int hook_pthread_barrier_wait(pthread_barrier_t *barrier)
{
	int rc;

	if (!live())
		return PASS(pthread_barrier_wait)(barrier);
	stress_point();
	if (likely(barrier_of(barrier)->shared == 0))
		return barrier_wait(barrier_of(barrier));
	if (!on_g())
		return real.pthread_barrier_wait(barrier);
	/* not HANDOFF_CALL: PTHREAD_BARRIER_SERIAL_THREAD is -1 */
	gmp_entersyscall();
	rc = real.pthread_barrier_wait(barrier);
	gmp_exitsyscall();
	return rc;
}

int hook_pthread_barrier_destroy(pthread_barrier_t *barrier)
{
	struct pthread_barrier *bar = barrier_of(barrier);
	struct sema_bucket *b;
	int rc;

	if (!live())
		return PASS(pthread_barrier_destroy)(barrier);
	if (bar->shared != 0) {
		if (!on_g())
			return real.pthread_barrier_destroy(barrier);
		HANDOFF_CALL(rc, real.pthread_barrier_destroy(barrier));
		return rc;
	}
	gmp_enter();
	b = gmp_sema_lock(key_of(bar));
	while (bar->out != bar->in) {
		if (wait_in(key_of(bar), b, DESTROY, "barrier destroy") == PARK_INTR) {
			gmp_leave();
			gmp_lock_interrupted();
			gmp_enter();
		}
		b = gmp_sema_lock(key_of(bar));
	}
	gmp_sema_unlock(b);
	gmp_leave();
	return 0;
}

/* --- spin locks --- */

#define SPIN_ROUNDS 8 /* 255 pauses, some microseconds */

int hook_pthread_spin_lock(pthread_spinlock_t *lock)
{
	if (!live())
		return PASS(pthread_spin_lock)(lock);
	while (real.pthread_spin_trylock(lock) != 0) {
		/* With one P the holder runs only if we do not. */
		for (int i = 0; i < SPIN_ROUNDS && sched.gomaxprocs > 1; i++) {
			lock_spin(i);
			if (real.pthread_spin_trylock(lock) == 0)
				return 0;
		}
		hook_sched_yield();
	}
	return 0;
}
