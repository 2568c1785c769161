// SPDX-License-Identifier: MIT
/*
 * Run queues. Local (Go's runqput family): a ring of 256 with one producer, its owner, and many
 * consumers: the owner and thieves advance head by CAS. runnext is a slot of one that only the owner fills and
 * anybody empties by CAS. Global: an intrusive list under sched.lock.
 */
#include "core/gmp.h"

/* Move half of pp's ring and gp to the global queue. False when a thief was faster: retry. */
static bool runqput_slow(struct p *pp, struct g *gp, uint32_t h, uint32_t t)
{
	struct g *batch[RUNQ_SIZE / 2 + 1];
	uint32_t n = (t - h) / 2;

	for (uint32_t i = 0; i < n; i++)
		batch[i] = atomic_load_explicit(&pp->runq[(h + i) % RUNQ_SIZE], memory_order_relaxed);
	/* release: commits the take; pairs with the load-acquire of head in gmp_runqput */
	if (!atomic_compare_exchange_strong_explicit(&pp->runqhead, &h, h + n, memory_order_release,
						     memory_order_relaxed))
		return false;
	batch[n] = gp;
	for (uint32_t i = 0; i < n; i++)
		batch[i]->schedlink = batch[i + 1];
	gmp_lock(&sched.lock);
	gmp_globrunqput_batch_locked(batch[0], batch[n], (int)n + 1);
	gmp_unlock(&sched.lock);
	return true;
}

/* Owner P only. next: put into runnext and kick what was there to the tail. */
void gmp_runqput(struct p *pp, struct g *gp, bool next)
{
	uint32_t h, t;

	if (sched.stress && next && (gmp_fastrand() & 1))
		next = false;
	if (next) {
		/* release, here and in the exchange: the G's state; pairs with the CAS-acquire of whoever takes it */
		if (likely(atomic_load_explicit(&pp->runnext, memory_order_relaxed) == NULL)) { /* stays so */
			atomic_store_explicit(&pp->runnext, gp, memory_order_release);
			return;
		}
		gp = atomic_exchange_explicit(&pp->runnext, gp, memory_order_acq_rel);
		if (gp == NULL)
			return;
	}
	do {
		h = atomic_load_explicit(&pp->runqhead, memory_order_acquire); /* synchronizes with consumers */
		t = atomic_load_explicit(&pp->runqtail, memory_order_relaxed); /* only the owner writes it */
		if (likely(t - h < RUNQ_SIZE)) {
			atomic_store_explicit(&pp->runq[t % RUNQ_SIZE], gp, memory_order_relaxed);
			/* release: makes the item available for consumption */
			atomic_store_explicit(&pp->runqtail, t + 1, memory_order_release);
			return;
		}
	} while (!runqput_slow(pp, gp, h, t));
}

/* Owner P only: a list of n Gs linked by schedlink, in order. */
void gmp_runqput_batch(struct p *pp, struct g *list, int n)
{
	for (; n > 0; n--) {
		struct g *gp = list;
		list = gp->schedlink;
		gmp_runqput(pp, gp, false);
	}
}

/*
 * The G after the one taken from h will run soon, the next one a little later: fetch what the switch to them touches.
 * Each lies on pages of its own, which with thousands of Gs are in no cache. Only hints: thieves may take them
 * meanwhile, but a struct g stays readable for ever.
 */
static void prefetch_next(struct p *pp, uint32_t h, uint32_t t)
{
	struct g *gp;

	if (t - h > 2)
		__builtin_prefetch(atomic_load_explicit(&pp->runq[(h + 2) % RUNQ_SIZE], memory_order_relaxed));
	if (t - h > 1) {
		gp = atomic_load_explicit(&pp->runq[(h + 1) % RUNQ_SIZE], memory_order_relaxed);
		__builtin_prefetch((const void *)gp->ctx.sp);
		__builtin_prefetch((const void *)gp->ctx.tp);
	}
}

/* Owner P only. *ret_inherit: the G goes on with the current time slice. */
struct g *gmp_runqget(struct p *pp, bool *ret_inherit)
{
	struct g *next = atomic_load_explicit(&pp->runnext, memory_order_relaxed);

	/* Only the owner sets runnext to non-NULL, so a failed CAS means a thief emptied it. */
	if (next != NULL && atomic_compare_exchange_strong_explicit(&pp->runnext, &next, NULL,
								     memory_order_acquire, memory_order_relaxed)) {
		*ret_inherit = true;
		return next;
	}
	*ret_inherit = false;
	for (;;) {
		uint32_t h = atomic_load_explicit(&pp->runqhead, memory_order_acquire); /* with other consumers */
		uint32_t t = atomic_load_explicit(&pp->runqtail, memory_order_relaxed); /* own */

		if (t == h)
			return NULL;
		next = atomic_load_explicit(&pp->runq[h % RUNQ_SIZE], memory_order_relaxed);
		prefetch_next(pp, h, t);
		/* release: commits the take; pairs with the load-acquire in gmp_runqput */
		if (atomic_compare_exchange_strong_explicit(&pp->runqhead, &h, h + 1, memory_order_release,
							     memory_order_relaxed))
			return next;
	}
}

/* Any thread. True only if at some moment during the call the queue and runnext were both empty. */
bool gmp_runqempty(struct p *pp)
{
	for (;;) {
		uint32_t h = atomic_load_explicit(&pp->runqhead, memory_order_seq_cst);
		uint32_t t = atomic_load_explicit(&pp->runqtail, memory_order_seq_cst);
		struct g *next = atomic_load_explicit(&pp->runnext, memory_order_seq_cst);

		/* tail unchanged: no G was kicked from runnext into the ring between the loads */
		if (t == atomic_load_explicit(&pp->runqtail, memory_order_seq_cst))
			return h == t && next == NULL;
	}
}

#define LIVELY 16 /* switches while a thief backs off */

/* Any thread: a count that only its P's M changes. */
static uint64_t switches(const struct p *pp)
{
	return __atomic_load_n(&pp->stat.switches, __ATOMIC_RELAXED);
}

/* Take half of victim's queue into pp's ring behind tail t; returns how many. pp is the caller's own. */
static uint32_t runqgrab(struct p *victim, struct p *pp, uint32_t t, bool steal_next)
{
	for (;;) {
		uint32_t h = atomic_load_explicit(&victim->runqhead, memory_order_acquire); /* other consumers */
		uint32_t vt = atomic_load_explicit(&victim->runqtail, memory_order_acquire); /* the producer */
		uint32_t n = vt - h;

		n -= n / 2;
		if (n == 0) {
			struct g *next;

			if (!steal_next)
				return 0;
			next = atomic_load_explicit(&victim->runnext, memory_order_acquire);
			if (next == NULL)
				return 0;
			/*
			 * The victim is about to run it, most likely: a wake-up and the block of the waker take some
			 * 50 ns. Back off so that two Ps do not throw one G to and fro (Go: 3 us; the kernel makes some
			 * 55 of them). If the victim meanwhile went from G to G all the time, then whatever is next
			 * there does not wait for long, and to move it here would cost more.
			 */
			if (atomic_load_explicit(&victim->status, memory_order_relaxed) == P_RUNNING && !sched.stress) {
				uint64_t before = switches(victim);

				sys_nanosleep(3000);
				if (switches(victim) - before >= LIVELY)
					return 0;
			}
			if (!atomic_compare_exchange_strong_explicit(&victim->runnext, &next, NULL,
								     memory_order_acquire, memory_order_relaxed))
				continue;
			atomic_store_explicit(&pp->runq[t % RUNQ_SIZE], next, memory_order_relaxed);
			return 1;
		}
		if (n > RUNQ_SIZE / 2) /* h and vt were not read together */
			continue;
		for (uint32_t i = 0; i < n; i++) {
			struct g *gp = atomic_load_explicit(&victim->runq[(h + i) % RUNQ_SIZE], memory_order_relaxed);
			atomic_store_explicit(&pp->runq[(t + i) % RUNQ_SIZE], gp, memory_order_relaxed);
		}
		/* release: commits the take; pairs with the load-acquire in gmp_runqput */
		if (atomic_compare_exchange_strong_explicit(&victim->runqhead, &h, h + n, memory_order_acq_rel,
							     memory_order_relaxed))
			return n;
	}
}

/* Steal half of victim's queue; returns one G to run at once, NULL when there was nothing. */
struct g *gmp_runqsteal(struct p *pp, struct p *victim, bool steal_next)
{
	uint32_t t = atomic_load_explicit(&pp->runqtail, memory_order_relaxed);
	uint32_t n = runqgrab(victim, pp, t, steal_next);
	struct g *gp;

	if (n == 0)
		return NULL;
	n--;
	gp = atomic_load_explicit(&pp->runq[(t + n) % RUNQ_SIZE], memory_order_relaxed);
	if (n > 0)
		atomic_store_explicit(&pp->runqtail, t + n, memory_order_release); /* available for consumption */
	return gp;
}

void gmp_globrunqput_batch_locked(struct g *head, struct g *tail, int n)
{
	tail->schedlink = NULL;
	if (sched.runqtail != NULL)
		sched.runqtail->schedlink = head;
	else
		sched.runqhead = head;
	sched.runqtail = tail;
	/* seq_cst: submit, then look for spinning Ms; pairs with the recheck in findrunnable */
	atomic_fetch_add(&sched.runqsize, n);
}

void gmp_globrunqput_locked(struct g *gp)
{
	gmp_globrunqput_batch_locked(gp, gp, 1);
}

/* Take a share of the global queue: one is returned, the others go to pp's ring. max 0: no limit. */
struct g *gmp_globrunqget_locked(struct p *pp, int max)
{
	int size = atomic_load_explicit(&sched.runqsize, memory_order_relaxed);
	int n = size / sched.gomaxprocs + 1;
	struct g *gp, *list;

	if (size == 0)
		return NULL;
	if (n > size)
		n = size;
	if (max > 0 && n > max)
		n = max;
	if (n > (int)RUNQ_SIZE / 2)
		n = RUNQ_SIZE / 2;
	gp = sched.runqhead;
	list = gp->schedlink;
	sched.runqhead = list;
	for (int i = 1; i < n; i++) {
		struct g *one = sched.runqhead;
		sched.runqhead = one->schedlink;
		gmp_runqput(pp, one, false);
	}
	if (sched.runqhead == NULL)
		sched.runqtail = NULL;
	atomic_fetch_sub_explicit(&sched.runqsize, n, memory_order_relaxed); /* under sched.lock */
	return gp;
}
