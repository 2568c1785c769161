// SPDX-License-Identifier: MIT
/*
 * Deadlines. Each P has a 4-ary heap of Gs ordered by deadline, then by age (Go's per-P timers); what is compared
 * is in the heap itself, as the Gs lie on a page each. A G adds and removes
 * its own timer; whoever fires it (the P's M in schedule, or a stealing M) holds timers_lock. A fired timer
 * wakes its G by ticket, so one that fires while its G is woken by something else does nothing.
 */
#include "core/gmp.h"
#include "core/log.h"
#include "core/netpoll.h"

static bool before(const struct timer_entry *a, const struct timer_entry *b)
{
	return a->when != b->when ? a->when < b->when : (int32_t)(a->seq - b->seq) < 0;
}

static void heap_set(struct p *pp, uint32_t i, struct timer_entry e)
{
	pp->timers[i] = e;
	e.gp->timer.index = i;
}

static void sift_up(struct p *pp, uint32_t i, struct timer_entry e)
{
	while (i > 0) {
		uint32_t parent = (i - 1) / 4;

		if (before(&pp->timers[parent], &e))
			break;
		heap_set(pp, i, pp->timers[parent]);
		i = parent;
	}
	heap_set(pp, i, e);
}

static void sift_down(struct p *pp, uint32_t i, struct timer_entry e)
{
	for (;;) {
		uint32_t first = 4 * i + 1, best;

		if (first >= pp->ntimers)
			break;
		best = first;
		for (uint32_t c = first + 1; c < first + 4 && c < pp->ntimers; c++)
			if (before(&pp->timers[c], &pp->timers[best]))
				best = c;
		if (before(&e, &pp->timers[best]))
			break;
		heap_set(pp, i, pp->timers[best]);
		i = best;
	}
	heap_set(pp, i, e);
}

/* timers_lock held */
static void update_timer0(struct p *pp)
{
	/* seq_cst: pairs with the reads in gmp_timers_next by an M about to sleep */
	atomic_store(&pp->timer0_when, pp->ntimers > 0 ? pp->timers[0].when : 0);
}

/* timers_lock held */
static void heap_remove(struct p *pp, struct g *gp)
{
	uint32_t i = gp->timer.index;
	struct timer_entry last = pp->timers[--pp->ntimers];

	if (last.gp != gp) {
		if (i > 0 && before(&last, &pp->timers[(i - 1) / 4]))
			sift_up(pp, i, last);
		else
			sift_down(pp, i, last);
	}
	atomic_store_explicit(&gp->timer.pp, NULL, memory_order_relaxed); /* under timers_lock */
	if (i == 0)
		update_timer0(pp);
}

/* timers_lock held */
static void heap_grow(struct p *pp)
{
	uint32_t cap = pp->timers_cap ? pp->timers_cap * 2 : 512;
	struct timer_entry *heap = gmp_mmap(cap * sizeof(*heap));

	if (heap == NULL)
		gmp_throw("out of memory for timers: raise the memory limit (RLIMIT_AS, cgroup)");
	for (uint32_t i = 0; i < pp->ntimers; i++)
		heap[i] = pp->timers[i];
	if (pp->timers != NULL)
		gmp_munmap(pp->timers, pp->timers_cap * sizeof(*heap));
	pp->timers = heap;
	pp->timers_cap = cap;
}

/* gp is the calling G, which holds a P. */
void gmp_timer_add(struct g *gp, int64_t deadline, uint64_t ticket)
{
	struct p *pp = gp->m->p;
	int64_t when;

	if (unlikely(deadline < 0))
		gmp_netpoll_init(); /* before the clock is read: it tells of a step from here on */
	gp->timer.ticket = ticket;
	gmp_lock(&pp->timers_lock);
	gp->timer.real = deadline < 0 ? deadline : 0;
	gp->timer.when = when = gmp_deadline_mono(deadline);
	if (pp->ntimers == pp->timers_cap)
		heap_grow(pp);
	atomic_store_explicit(&gp->timer.pp, pp, memory_order_relaxed); /* under timers_lock */
	sift_up(pp, pp->ntimers++, (struct timer_entry){when, gp, ++pp->timer_seq});
	if (gp->timer.index == 0)
		update_timer0(pp);
	gmp_unlock(&pp->timers_lock);
}

/* gp is the calling G. On return no timer of it is in a heap. */
void gmp_timer_del(struct g *gp)
{
	for (;;) {
		/* relaxed: only this G sets it; once it is NULL no heap refers to the G */
		struct p *pp = atomic_load_explicit(&gp->timer.pp, memory_order_relaxed);

		if (pp == NULL)
			return;
		gmp_lock(&pp->timers_lock);
		if (atomic_load_explicit(&gp->timer.pp, memory_order_relaxed) == pp) {
			heap_remove(pp, gp);
			gmp_unlock(&pp->timers_lock);
			return;
		}
		gmp_unlock(&pp->timers_lock);
	}
}

/* Both locks at once: a G must not find its timer in no heap while it is in one. */
void gmp_timers_move(struct p *from, struct p *to)
{
	gmp_lock(&from->timers_lock);
	gmp_lock(&to->timers_lock);
	/* taken in the order of the heap, so that equal deadlines keep theirs with new numbers */
	while (from->ntimers > 0) {
		struct timer_entry e = from->timers[0];

		heap_remove(from, e.gp);
		if (to->ntimers == to->timers_cap)
			heap_grow(to);
		e.seq = ++to->timer_seq;
		atomic_store_explicit(&e.gp->timer.pp, to, memory_order_relaxed); /* under timers_lock */
		sift_up(to, to->ntimers++, e);
	}
	update_timer0(to);
	gmp_unlock(&to->timers_lock);
	gmp_unlock(&from->timers_lock);
}

/*
 * Fire what is due on pp. Gs to make runnable are put in *list, linked by schedlink, in the order of their deadlines.
 * Returns the next deadline, 0 when there is none. Takes timers_lock.
 */
int64_t gmp_timers_fire(struct p *pp, int64_t now, struct g **list)
{
	int64_t next = atomic_load_explicit(&pp->timer0_when, memory_order_relaxed); /* a hint; rechecked below */

	*list = NULL;
	if (next == 0 || next > now)
		return next;
	gmp_lock(&pp->timers_lock);
	while (pp->ntimers > 0 && pp->timers[0].when <= now) {
		struct g *gp = pp->timers[0].gp;
		uint64_t ticket = gp->timer.ticket;

		for (uint32_t i = 1; i <= 4 && i < pp->ntimers; i++)
			__builtin_prefetch(&pp->timers[i].gp->timer); /* one of them is next */
		heap_remove(pp, gp);
		/* gp may have been woken and even have ended since: then its ticket is another */
		if (gmp_wake_claim(&gp->parker, ticket, PARK_TIMEOUT) == 2) {
			gp->schedlink = NULL;
			*list = gp;
			list = &gp->schedlink;
		}
	}
	next = pp->ntimers > 0 ? pp->timers[0].when : 0;
	gmp_unlock(&pp->timers_lock);
	return next;
}

/* A G that adds its timer while this goes on has read the clock after the step, or is found here. */
void gmp_timers_clock_set(void)
{
	int64_t next, until;

	for (int i = 0; i < sched.nallp; i++) {
		struct p *pp = sched.allp[i];
		bool any = false;

		gmp_lock(&pp->timers_lock);
		for (uint32_t k = 0; k < pp->ntimers; k++) {
			struct timer *t = &pp->timers[k].gp->timer;

			if (t->real == 0)
				continue;
			pp->timers[k].when = t->when = gmp_deadline_mono(t->real);
			any = true;
		}
		for (uint32_t k = pp->ntimers; any && k-- > 0;)
			sift_down(pp, k, pp->timers[k]);
		update_timer0(pp);
		gmp_unlock(&pp->timers_lock);
	}
	next = gmp_timers_next(0);
	/* seq_cst: after timer0_when; pairs with the second look before an M polls */
	until = atomic_load(&sched.poll_until);
	if (next != 0 && until > next)
		gmp_netpoll_break();
}

/* The earliest deadline of all Ps and poll_until; 0 = none. */
int64_t gmp_timers_next(int64_t poll_until)
{
	int64_t next = poll_until;

	for (int i = 0; i < sched.nallp; i++) {
		int64_t w = atomic_load(&sched.allp[i]->timer0_when);

		if (w != 0 && (next == 0 || w < next))
			next = w;
	}
	return next;
}
