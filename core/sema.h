// SPDX-License-Identifier: MIT
/*
 * Wait queues keyed by address (Go's semaRoot, a "parking lot"): the base of mutex, cond, semaphore, rwlock,
 * barrier, once, join and private futexes. Objects keep glibc's layout and need no word for the queue.
 *
 * Waiters of one address are FIFO, but those with a real-time priority go before all with a lower one, as in the
 * kernel's futex queues. All functions run inside gmp_enter(); the queue of an address is protected by
 * its bucket's lock, rank SEMA.
 */
#pragma once
#include "core/gmp.h"

struct sema_waiter {
	struct parker *pk;
	uint64_t ticket;
	const void *_Atomic addr; /* the key it waits on; requeue changes it under both bucket locks */
	uint32_t bitset;	  /* futex bitset, or the caller's own class of waiter */
	uint8_t prio;		  /* of its G when it was queued */
	bool queued;		  /* bucket lock */
	bool granted;		  /* by gmp_sema_grant: the object is the waiter's already. Valid with PARK_READY */
	struct sema_waiter *next, *prev; /* same address; prev of the first is NULL */
	struct sema_waiter *tail;	 /* first waiter only */
	struct sema_waiter *hnext;	 /* first waiter only: next address in the bucket */
};

struct sema_bucket;

/* Lock the bucket of addr. Reading *addr under it is safe against lost wake-ups when every waker of addr takes it. */
struct sema_bucket *gmp_sema_lock(const void *addr);
void gmp_sema_unlock(struct sema_bucket *b);

/* Bucket held: put w, whose parker is prepared, into addr's queue; first: before all others of its priority. */
void gmp_sema_enqueue_first(struct sema_bucket *b, struct sema_waiter *w, const void *addr);
void gmp_sema_enqueue(struct sema_bucket *b, struct sema_waiter *w, const void *addr);

/* Commit w's park. Unless the result is PARK_READY, w has been taken off its queue on return. No lock held. */
enum park_result gmp_sema_wait(struct sema_waiter *w, int64_t deadline, const char *why);

/*
 * Bucket held, and given up here: enqueue w, whose pk and bitset are set, prepare its parker and wait; as the three
 * steps above. first: before all others.
 */
enum park_result gmp_sema_wait_on(struct sema_bucket *b, struct sema_waiter *w, const void *addr, bool first,
				  int64_t deadline, const char *why);

/*
 * Bucket held: dequeue up to n waiters of addr whose bitset meets `bitset` and claim them with PARK_READY. Gs to be
 * made runnable are appended to *list, whose tail link is *tail. Returns how many were claimed.
 */
int gmp_sema_claim(struct sema_bucket *b, const void *addr, int n, uint32_t bitset, struct g ***tail);
/* Bucket held: claim the first waiter of addr that can be claimed, and tell it so by w->granted. False: none. */
bool gmp_sema_grant(struct sema_bucket *b, const void *addr, struct g ***tail);
struct sema_waiter *gmp_sema_first(struct sema_bucket *b, const void *addr); /* bucket held; NULL = none */

/* Make the Gs of a claim list runnable. No lock held. */
void gmp_sema_ready(struct g *list);
void gmp_sema_unlock_ready(struct sema_bucket *b, struct g *list); /* the bucket is held, and given up here */

/* Lock, claim, unlock, ready. */
int gmp_sema_wake(const void *addr, int n, uint32_t bitset);

/*
 * futex(2) for private words, -errno in the kernel's terms. deadline: see gmp.h.
 * gmp_futex_wait: 0, -EAGAIN, -ETIMEDOUT, -EINTR. The words must be readable: the caller has touched them.
 */
int gmp_futex_wait(const uint32_t *addr, uint32_t val, uint32_t bitset, int64_t deadline, const char *why);
/* cmp == NULL: FUTEX_REQUEUE. Returns woken plus moved, or -EAGAIN. */
int gmp_futex_requeue(const uint32_t *addr, int nwake, const uint32_t *addr2, int nmove, const uint32_t *cmp,
		      int *ret_woken);

void gmp_sema_fork_child(void);
