// SPDX-License-Identifier: MIT
/*
 * See sema.h. A bucket is a lock and a list of addresses; an address is represented by its first waiter, which
 * also knows the last one. Waiters live on the stacks of their owners and are off the queue before these return.
 */
#include "core/sema.h"

#define NBUCKETS 8192u
#define EAGAIN 11
#define EINTR 4
#define ETIMEDOUT 110

struct sema_bucket {
	struct lock lock;
	struct sema_waiter *first; /* of the first address */
};

static struct sema_bucket buckets[NBUCKETS];

static struct sema_bucket *bucket_of(const void *addr)
{
	/* Fibonacci hashing: neighbouring words spread, the high bits are the good ones. */
	return &buckets[((uintptr_t)addr >> 2) * UINT64_C(0x9e3779b97f4a7c15) >> 51];
}

struct sema_bucket *gmp_sema_lock(const void *addr)
{
	struct sema_bucket *b = bucket_of(addr);

	gmp_lock(&b->lock);
	return b;
}

void gmp_sema_unlock(struct sema_bucket *b)
{
	gmp_unlock(&b->lock);
}


static struct sema_waiter **find(struct sema_bucket *b, const void *addr)
{
	struct sema_waiter **link = &b->first;

	while (*link != NULL && (*link)->addr != addr)
		link = &(*link)->hnext;
	return link;
}

/* b of addr held */
static void set_addr(struct sema_waiter *w, const void *addr)
{
	struct g *gp = w->pk->gp;

	atomic_store_explicit(&w->addr, addr, memory_order_relaxed); /* bucket lock */
	w->queued = true;
	w->granted = false;
	w->prio = 0;
	if (gp != NULL) {
		gp->waitobj = addr; /* for reports */
		w->prio = gp->prio;
	}
}

/* link: where the head of the address hangs; next: a waiter of it. */
static void insert_before(struct sema_waiter **link, struct sema_waiter *w, struct sema_waiter *next)
{
	struct sema_waiter *head = *link;

	w->next = next;
	w->prev = next->prev;
	next->prev = w;
	if (next != head) {
		w->prev->next = w;
		return;
	}
	w->tail = head->tail;
	w->hnext = head->hnext;
	*link = w;
}

static void append(struct sema_bucket *b, struct sema_waiter *head, struct sema_waiter *w)
{
	w->next = NULL;
	if (head == NULL) {
		w->prev = NULL;
		w->tail = w;
		w->hnext = b->first;
		b->first = w;
	} else {
		w->prev = head->tail;
		head->tail->next = w;
		head->tail = w;
	}
}

void gmp_sema_enqueue_first(struct sema_bucket *b, struct sema_waiter *w, const void *addr)
{
	struct sema_waiter **link = find(b, addr), *next = *link;

	set_addr(w, addr);
	while (next != NULL && unlikely(next->prio > w->prio))
		next = next->next;
	if (next != NULL)
		insert_before(link, w, next);
	else
		append(b, *link, w);
}

void gmp_sema_enqueue(struct sema_bucket *b, struct sema_waiter *w, const void *addr)
{
	struct sema_waiter **link = find(b, addr), *next = *link;

	set_addr(w, addr);
	if (likely(next == NULL || next->tail->prio >= w->prio)) {
		append(b, next, w);
		return;
	}
	while (next->prio >= w->prio) /* the last one's is lower */
		next = next->next;
	insert_before(link, w, next);
}

/* link: where the head of w's address hangs. Returns the new link target's head, NULL when none is left. */
static void dequeue(struct sema_waiter **link, struct sema_waiter *w)
{
	struct sema_waiter *head = *link;

	w->queued = false;
	if (w->next != NULL)
		w->next->prev = w->prev;
	if (w == head) {
		struct sema_waiter *n = w->next;

		if (n == NULL) {
			*link = w->hnext;
			return;
		}
		n->tail = head->tail;
		n->hnext = head->hnext;
		*link = n;
		return;
	}
	w->prev->next = w->next;
	if (head->tail == w)
		head->tail = w->prev;
}

/* After a wait that nobody's claim ended: off the queue, whatever address it has been moved to. */
static void leave_queue(struct sema_waiter *w)
{
	for (;;) {
		const void *addr = atomic_load_explicit(&w->addr, memory_order_relaxed); /* rechecked below */
		struct sema_bucket *b = gmp_sema_lock(addr);
		bool same = atomic_load_explicit(&w->addr, memory_order_relaxed) == addr;

		if (same && w->queued)
			dequeue(find(b, addr), w);
		gmp_sema_unlock(b);
		if (same)
			return;
	}
}

enum park_result gmp_sema_wait(struct sema_waiter *w, int64_t deadline, const char *why)
{
	enum park_result r = gmp_park_commit(w->pk, w->ticket, deadline, why);

	if (r != PARK_READY) /* else the waker dequeued it */
		leave_queue(w);
	return r;
}

enum park_result gmp_sema_wait_on(struct sema_bucket *b, struct sema_waiter *w, const void *addr, bool first,
				  int64_t deadline, const char *why)
{
	struct g *gp = w->pk->gp;
	bool quick = gp != NULL && deadline == GMP_NO_DEADLINE;
	enum park_result r;

	w->ticket = quick ? gmp_park_begin(gp, why) : gmp_park_prepare(w->pk);
	if (unlikely(first))
		gmp_sema_enqueue_first(b, w, addr);
	else
		gmp_sema_enqueue(b, w, addr);
	gmp_sema_unlock(b);
	r = quick ? gmp_park_end(gp, w->ticket, why) : gmp_park_commit(w->pk, w->ticket, deadline, why);
	if (r != PARK_READY)
		leave_queue(w);
	return r;
}

int gmp_sema_claim(struct sema_bucket *b, const void *addr, int n, uint32_t bitset, struct g ***tail)
{
	struct sema_waiter **link = find(b, addr), *w = *link, *next;
	int claimed = 0;

	for (; w != NULL && claimed < n; w = next) {
		struct g *gp = w->pk->gp;
		int won;

		next = w->next;
		if ((w->bitset & bitset) == 0)
			continue;
		dequeue(link, w);
		/* From a successful claim on, w belongs to its owner again. */
		won = gmp_wake_claim(w->pk, w->ticket, PARK_READY);
		if (won == 0)
			continue; /* timed out or interrupted: it goes by itself */
		claimed++;
		if (won == 2) {
			gp->schedlink = NULL;
			**tail = gp;
			*tail = &gp->schedlink;
		}
	}
	return claimed;
}

struct sema_waiter *gmp_sema_first(struct sema_bucket *b, const void *addr)
{
	return *find(b, addr);
}

bool gmp_sema_grant(struct sema_bucket *b, const void *addr, struct g ***tail)
{
	struct sema_waiter **link = find(b, addr), *w;

	/* *link becomes the head of another address when the last waiter of this one has left */
	while ((w = *link) != NULL && atomic_load_explicit(&w->addr, memory_order_relaxed) == addr) {
		struct g *gp = w->pk->gp;
		int won;

		dequeue(link, w);
		w->granted = true; /* before the claim, which publishes it; a waiter that was faster ignores it */
		won = gmp_wake_claim(w->pk, w->ticket, PARK_READY);
		if (won == 0)
			continue; /* timed out or interrupted: the grant goes to the next */
		if (won == 2) {
			gp->schedlink = NULL;
			**tail = gp;
			*tail = &gp->schedlink;
		}
		return true;
	}
	return false;
}

void gmp_sema_ready(struct g *list)
{
	while (list != NULL) {
		struct g *gp = list;
		list = gp->schedlink;
		gmp_ready(gp);
	}
}

void gmp_sema_unlock_ready(struct sema_bucket *b, struct g *list)
{
	if (list != NULL && list->schedlink == NULL) {
		gmp_ready_queue(list);
		gmp_sema_unlock(b);
		gmp_ready_wake();
	} else {
		gmp_sema_unlock(b);
		gmp_sema_ready(list);
	}
}

int gmp_sema_wake(const void *addr, int n, uint32_t bitset)
{
	struct g *list = NULL, **tail = &list;
	struct sema_bucket *b = gmp_sema_lock(addr);
	int woken = gmp_sema_claim(b, addr, n, bitset, &tail);

	gmp_sema_unlock_ready(b, list);
	return woken;
}

int gmp_futex_wait(const uint32_t *addr, uint32_t val, uint32_t bitset, int64_t deadline, const char *why)
{
	struct parker foreign = {0};
	struct sema_waiter w;
	struct sema_bucket *b;
	enum park_result r;

	gmp_enter();
	w.pk = gmp_my_parker(&foreign);
	w.bitset = bitset;
	b = gmp_sema_lock(addr);
	/* seq_cst: the waker changes the word before it takes the bucket lock */
	if (atomic_load((const _Atomic(uint32_t) *)addr) != val) {
		gmp_sema_unlock(b);
		gmp_leave();
		return -EAGAIN;
	}
	r = gmp_sema_wait_on(b, &w, addr, false, deadline, why);
	gmp_leave();
	return r == PARK_READY ? 0 : r == PARK_TIMEOUT ? -ETIMEDOUT : -EINTR;
}

int gmp_futex_requeue(const uint32_t *addr, int nwake, const uint32_t *addr2, int nmove, const uint32_t *cmp,
		      int *ret_woken)
{
	struct sema_bucket *b1 = bucket_of(addr), *b2 = bucket_of(addr2);
	struct g *list = NULL, **tail = &list;
	int woken, moved = 0;

	gmp_enter();
	/* two buckets: lower address first */
	gmp_lock(b1 <= b2 ? &b1->lock : &b2->lock);
	if (b1 != b2)
		gmp_lock(b1 <= b2 ? &b2->lock : &b1->lock);
	if (cmp != NULL && atomic_load((const _Atomic(uint32_t) *)addr) != *cmp) {
		woken = -EAGAIN;
		goto out;
	}
	woken = gmp_sema_claim(b1, addr, nwake, UINT32_MAX, &tail);
	while (moved < nmove) {
		struct sema_waiter **link = find(b1, addr), *w = *link;

		if (w == NULL || addr == addr2)
			break;
		dequeue(link, w);
		gmp_sema_enqueue(b2, w, addr2);
		moved++;
	}
out:
	if (b1 != b2)
		gmp_unlock(&b2->lock);
	gmp_unlock(&b1->lock);
	gmp_sema_ready(list);
	gmp_leave();
	if (woken < 0)
		return woken;
	*ret_woken = woken;
	return woken + moved;
}

void gmp_sema_fork_child(void)
{
	/* Only buckets in use are written: an untouched page stays shared with the parent. */
	for (unsigned i = 0; i < NBUCKETS; i++)
		if (buckets[i].first != NULL || buckets[i].lock.key != 0)
			buckets[i] = (struct sema_bucket){0};
}
