// SPDX-License-Identifier: MIT
/*
 * Waiting: prepare, publish the ticket (in a wait queue, a pollDesc, a timer), commit. See struct parker.
 *
 *	IDLE --prepare--> PREPARED --commit--> PARKED
 *	                      |                   |
 *	                      +-----gmp_wake------+--> WOKEN+result --commit returns--> IDLE
 *
 * prepare and the last step are the owner's; the others are CASes, so exactly one waker wins. A waker that
 * finds PREPARED leaves the result and the owner never switches away. One that finds PARKED makes the G
 * runnable, perhaps before its registers are saved: ctx.running keeps it from being resumed too early.
 * gmp_park_begin goes to PARKED by a store, under the lock of the queue: for the usual waker nothing lies
 * between PREPARED and PARKED then, and the unlock's atomic operation is the barrier that the CAS was.
 *
 * Signals and cancellation: the sender stores its request first and then calls gmp_interrupt; commit
 * makes its CAS to PARKED first and looks at the requests after it. Both sides are seq_cst (StoreLoad),
 * so either the sender finds PARKED or the owner sees the request.
 */
#include "core/evtrace.h"
#include "core/gmp.h"
#include "core/probe.h"

#define WORD(ticket, state) ((ticket) << PARKER_STATE_BITS | (uint64_t)(state))
#define WORD_STATE(w) ((w) & ((1 << PARKER_STATE_BITS) - 1))
#define WORD_TICKET(w) ((w) >> PARKER_STATE_BITS)

uint64_t gmp_park_prepare(struct parker *pk)
{
	/* relaxed: only the owner moves the word out of IDLE or WOKEN; publishing the ticket releases it */
	uint64_t ticket = WORD_TICKET(atomic_load_explicit(&pk->word, memory_order_relaxed)) + 1;

	atomic_store_explicit(&pk->word, WORD(ticket, PARKER_PREPARED), memory_order_release);
	return ticket;
}

static enum park_result park_result(struct parker *pk, uint64_t ticket)
{
	uint64_t w = atomic_load_explicit(&pk->word, memory_order_acquire); /* what the waker did before */

	atomic_store_explicit(&pk->word, WORD(ticket, PARKER_IDLE), memory_order_relaxed); /* owner again */
	return (enum park_result)(WORD_STATE(w) - PARKER_WOKEN);
}

void gmp_park_abort(struct parker *pk, uint64_t ticket)
{
	uint64_t w = WORD(ticket, PARKER_PREPARED);

	/* A failed CAS means a waker was faster: its wake-up is dropped, as for a G that just timed out. */
	atomic_compare_exchange_strong(&pk->word, &w, WORD(ticket, PARKER_IDLE));
	atomic_store_explicit(&pk->word, WORD(ticket, PARKER_IDLE), memory_order_relaxed);
}

/* A thread that is no G: sleep in the kernel on the low half of the word. */
static enum park_result park_foreign(struct parker *pk, uint64_t ticket, int64_t deadline)
{
	uint64_t w = WORD(ticket, PARKER_PREPARED);

	if (atomic_compare_exchange_strong(&pk->word, &w, WORD(ticket, PARKER_PARKED))) {
		for (;;) {
			int rc;

			w = atomic_load_explicit(&pk->word, memory_order_acquire);
			if (WORD_STATE(w) >= PARKER_WOKEN)
				break;
			if (gmp_deadline_passed(deadline)) {
				gmp_wake(pk, ticket, PARK_TIMEOUT);
				continue;
			}
			rc = sys_futex_wait_until((_Atomic(uint32_t) *)&pk->word, (uint32_t)w, deadline);
			if (rc == -4 /* EINTR */)
				gmp_wake(pk, ticket, PARK_INTR);
		}
	}
	return park_result(pk, ticket);
}

/* gp is PARKED, or woken again, and WAITING for everybody: look at the requests, then switch away. */
static enum park_result parked(struct g *gp, uint64_t ticket, const char *why)
{
	struct parker *pk = &gp->parker;
	/* seq_cst: PARKED was stored before; pairs with store, then gmp_interrupt, of the sender */
	bool request = (atomic_load(&gp->sigpending) & (~gp->sigmask | atomic_load(&gp->sigwaits))) != 0 ||
		       atomic_load(&gp->cancel_wake) ||
		       atomic_load_explicit(&gmp_tls.deferred, memory_order_relaxed);
	uint64_t w = WORD(ticket, PARKER_PARKED);

	if (unlikely(request) &&
	    atomic_compare_exchange_strong(&pk->word, &w, WORD(ticket, PARKER_WOKEN + PARK_INTR))) {
		atomic_store_explicit(&gp->status, G_RUNNING, memory_order_relaxed);
	} else {
		gmp_trace_park(gp->m->p, gp, gmp_count_park(gp->m->p, why));
		GMP_PROBE3(park, gp->goid, why, gp->waitobj);
		gmp_block_switch(gp);
	}
	gp->waitobj = NULL;
	return park_result(pk, ticket);
}

/* For everybody gp waits from here on, though it is still on its stack. */
static void set_waiting(struct g *gp, const char *why)
{
	gp->waitreason = why;
	gp->waitsince = atomic_load_explicit(&sched.coarse_now, memory_order_relaxed); /* for reports */
	gp->unparked_since = 0;
	gp->received = 0;
	/* relaxed: the store or CAS of PARKED publishes it */
	atomic_store_explicit(&gp->status, G_WAITING, memory_order_relaxed);
}

enum park_result gmp_park_commit(struct parker *pk, uint64_t ticket, int64_t deadline, const char *why)
{
	struct g *gp = pk->gp;
	uint64_t w = WORD(ticket, PARKER_PREPARED);
	enum park_result r;

	if (gp == NULL)
		return park_foreign(pk, ticket, deadline);
	if (deadline != GMP_NO_DEADLINE)
		gmp_timer_add(gp, deadline, ticket);
	set_waiting(gp, why);
	if (atomic_compare_exchange_strong(&pk->word, &w, WORD(ticket, PARKER_PARKED))) {
		r = parked(gp, ticket, why);
	} else {
		atomic_store_explicit(&gp->status, G_RUNNING, memory_order_relaxed);
		gp->waitobj = NULL;
		r = park_result(pk, ticket);
	}
	if (deadline != GMP_NO_DEADLINE)
		gmp_timer_del(gp);
	return r;
}

uint64_t gmp_park_begin(struct g *gp, const char *why)
{
	struct parker *pk = &gp->parker;
	uint64_t ticket = WORD_TICKET(atomic_load_explicit(&pk->word, memory_order_relaxed)) + 1; /* as in prepare */

	set_waiting(gp, why);
	atomic_store_explicit(&pk->word, WORD(ticket, PARKER_PARKED), memory_order_release);
	return ticket;
}

enum park_result gmp_park_end(struct g *gp, uint64_t ticket, const char *why)
{
	arch_mb_after_rmw();
	return parked(gp, ticket, why);
}

/*
 * End the wait `ticket` of pk with the given result. 0: it had ended already; 1: won; 2: won, and the
 * caller must make pk->gp runnable. A foreign parker is woken here.
 */
int gmp_wake_claim(struct parker *pk, uint64_t ticket, enum park_result why)
{
	uint64_t w = atomic_load_explicit(&pk->word, memory_order_relaxed);

	for (;;) {
		uint64_t state = WORD_STATE(w);
		struct g *gp = pk->gp;

		if (WORD_TICKET(w) != ticket || (state != PARKER_PREPARED && state != PARKER_PARKED))
			return 0;
		/* release: the waker's writes, with park_result; acquire: gp is off its run queue */
		if (!atomic_compare_exchange_weak(&pk->word, &w, WORD(ticket, PARKER_WOKEN + why)))
			continue;
		if (state == PARKER_PREPARED)
			return 1;
		if (gp != NULL)
			return 2;
		/* pk may be gone from here on; a wake on a dead address does no harm */
		sys_futex_wake((_Atomic(uint32_t) *)&pk->word, 1);
		return 1;
	}
}

bool gmp_wake(struct parker *pk, uint64_t ticket, enum park_result why)
{
	struct g *gp = pk->gp;
	int won = gmp_wake_claim(pk, ticket, why);

	if (won == 2)
		gmp_ready(gp);
	return won != 0;
}

bool gmp_interrupt(struct g *gp)
{
	uint64_t w = atomic_load(&gp->parker.word); /* seq_cst: after the sender's store of its request */

	if (WORD_STATE(w) != PARKER_PREPARED && WORD_STATE(w) != PARKER_PARKED)
		return false;
	return gmp_wake(&gp->parker, WORD_TICKET(w), PARK_INTR);
}

/* Sleep until the monotonic deadline. 0, or -EINTR when a signal or a cancellation came first. */
int gmp_sleep_until(int64_t deadline)
{
	struct parker foreign = {0}, *pk;
	enum park_result r;

	gmp_enter();
	pk = gmp_my_parker(&foreign);
	r = gmp_park_commit(pk, gmp_park_prepare(pk), deadline, "sleep");
	gmp_leave();
	return r == PARK_INTR ? -4 /* EINTR */ : 0;
}
