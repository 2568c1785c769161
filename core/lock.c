// SPDX-License-Identifier: MIT
/*
 * Runtime lock and note (Go's lock_futex.go). A lock spins a little, since critical sections are short,
 * then sleeps on a kernel futex. key: 0 free, 1 held, 2 held and somebody may sleep.
 */
#include "core/lock.h"

#include "core/gmp.h"

#define ACTIVE_SPIN 4	  /* Go: active_spin, rounds of ... */
#define ACTIVE_SPIN_CNT 30 /* ... pauses */

void gmp_lock_slow(struct lock *l)
{
	for (int i = 0; i < ACTIVE_SPIN; i++) {
		for (int j = 0; j < ACTIVE_SPIN_CNT; j++)
			arch_pause();
		if (gmp_trylock(l))
			return;
	}
	/* A sleeper takes the lock as 2: it cannot know whether it was the only one. */
	while (atomic_exchange_explicit(&l->key, 2, memory_order_acquire) != 0)
		sys_futex_wait(&l->key, 2, -1);
}

void gmp_unlock_slow(struct lock *l)
{
	sys_futex_wake(&l->key, 1);
}

void gmp_noteclear(struct note *n)
{
	/* relaxed: only the owner clears, before it publishes that it will sleep */
	atomic_store_explicit(&n->key, 0, memory_order_relaxed);
}

void gmp_notewakeup(struct note *n)
{
	/* release: what the waker wrote before (m->nextp ...) is seen after gmp_notesleep */
	atomic_store_explicit(&n->key, 1, memory_order_release);
	sys_futex_wake(&n->key, 1);
}

int gmp_notesleep(struct note *n, int64_t rel_ns)
{
	int64_t end = rel_ns >= 0 ? gmp_nanotime() + rel_ns : 0;

	while (atomic_load_explicit(&n->key, memory_order_acquire) == 0) {
		sys_futex_wait(&n->key, 0, rel_ns);
		/* It may also have ended by a signal: go on with what is left. */
		if (rel_ns >= 0 && (rel_ns = end - gmp_nanotime()) <= 0)
			return atomic_load_explicit(&n->key, memory_order_acquire) != 0;
	}
	return 1;
}
