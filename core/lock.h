// SPDX-License-Identifier: MIT
/*
 * The runtime's own mutex and one-shot note, on a kernel futex. They block the M, never a G, so they are
 * held for a few dozen instructions only, inside gmp_enter(); nothing parks, calls libc or touches program
 * memory under one. Ranks: core/HACKING.md; a thread takes locks in growing rank.
 */
#pragma once
#include <stdatomic.h>
#include <stdint.h>

struct lock {
	_Atomic(uint32_t) key; /* 0 free, 1 held, 2 held and perhaps waited for */
};

void gmp_lock_slow(struct lock *l);
void gmp_unlock_slow(struct lock *l);

static inline void gmp_lock(struct lock *l)
{
	uint32_t free = 0;
	/* acquire: pairs with the release in gmp_unlock */
	if (!atomic_compare_exchange_strong_explicit(&l->key, &free, 1, memory_order_acquire,
						     memory_order_relaxed))
		gmp_lock_slow(l);
}

static inline int gmp_trylock(struct lock *l)
{
	uint32_t free = 0;
	return atomic_compare_exchange_strong_explicit(&l->key, &free, 1, memory_order_acquire,
						       memory_order_relaxed);
}

static inline void gmp_unlock(struct lock *l)
{
	/* release: pairs with the acquire in gmp_lock */
	if (atomic_exchange_explicit(&l->key, 0, memory_order_release) == 2)
		gmp_unlock_slow(l);
}

/* A note is cleared by its owner, then slept on by the owner and woken once by anybody. */
struct note {
	_Atomic(uint32_t) key;
};

void gmp_noteclear(struct note *n);
void gmp_notewakeup(struct note *n);
/* rel_ns < 0: no limit. True when woken, false on timeout. May also be interrupted by signals: retried. */
int gmp_notesleep(struct note *n, int64_t rel_ns);
