// SPDX-License-Identifier: MIT
/*
 * Slots: stack, static TLS block, TCB and struct g of one G, side by side so that a live G touches few pages.
 *
 *	slot_lo                                                       slot end
 *	| guard | stack ...................... | TLS | TCB | struct g |
 *	        '---- the size asked for -----------------'
 *
 * As NPTL counts, TLS and TCB are part of the stack: pthread_getattr_np answers what was asked for, what a conservative
 * collector looks for in there is there, and an overflow faults right below it. Only struct g is on top. The shim's own
 * frames are small enough for a stack of PTHREAD_STACK_MIN, less than 1 KB more than libc's; what needs more, the frame
 * of SIG_NOTIFY, begins on the M's signal stack (sigstack.c) and comes here if there is room.
 *
 * Slots of one size come from slabs: one mapping of up to 64 slots, PROT_NONE until used, opened a few slots at a
 * time from the low end so that a slab is at most two VMAs. Guards are MADV_GUARD_INSTALL (no VMA) or mprotect.
 * Slabs are never unmapped: a stale struct g stays readable. A dead slot keeps its TCB pages; sysmon gives
 * the memory of its stack back when it has been idle for a while (gmp_scavenge).
 *
 * Dead Gs of the default class are kept per P, 2 x GFREE_BATCH at most; the rest is on the class's list. The P's owner
 * pushes and pops, without a lock; a creator for whom there is no memory takes the lists of all Ps whole.
 * A dead G may still be on its way off its own stack: whoever takes it waits for ctx.running == 0.
 */
#include <sys/mman.h>

#include "core/gmp.h"
#include "core/tcb.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* linux 6.13 */
#endif

#define SLAB_SLOTS 64
#define SLAB_FIRST 8	/* slots of a class's first slab */
#define SLAB_OPEN 8	/* slots opened by one mprotect */
#define GFREE_BATCH 32	/* Go: gfput moves 32 of 64 */
#define SHIFTS 16	/* different places of a G in its slot */
#define SHIFT 64
#define G_ALIGN 64
#define KEEP_TOP ((size_t)8 << 10)     /* what every G touches; not worth giving back */
#define IDLE_NS (100 * 1000000)	       /* a dead stack is scavenged after this long */

struct stack_class {
	size_t slot_size, stacksize, guardsize;
	struct lock lock;
	struct g *free; /* linked by schedlink */
	uint32_t nfree;
	uint32_t ndirty; /* entries of free that may hold memory */
	int64_t dirty_since;
	char *slab_next, *slab_open, *slab_end; /* next unused slot; end of the opened part; end of slab */
	uint32_t slab_slots;
	struct stack_class *next;
};

static struct stack_class *_Atomic classes;
static struct lock classes_lock;
static struct stack_class *_Atomic hot; /* the class whose dead Gs the Ps keep */
static _Atomic(int) have_guard = 1;	/* MADV_GUARD_INSTALL works here */
static _Atomic(int) stack_exec;		/* 0 or PROT_EXEC: see gmp_stacks_executable() */

static size_t round_page(size_t n)
{
	return (n + sched.page_size - 1) & -sched.page_size;
}

static bool sys_failed(long rc)
{
	return rc < 0 && rc > -4096;
}

/* Of the TCB, above the guard, in the first slot. Without a stack there is the TLS block below it. */
static size_t top_of(const struct stack_class *sc)
{
	return sc->stacksize != 0 ? sc->stacksize : gmp_host.tls_size + gmp_host.tls_align;
}

static struct stack_class *find_class(size_t stacksize, size_t guardsize)
{
	struct stack_class *sc;

	for (sc = atomic_load_explicit(&classes, memory_order_acquire); sc != NULL; sc = sc->next)
		if (sc->stacksize == stacksize && sc->guardsize == guardsize)
			return sc;
	gmp_lock(&classes_lock);
	for (sc = classes; sc != NULL; sc = sc->next)
		if (sc->stacksize == stacksize && sc->guardsize == guardsize)
			goto out;
	/* also called with classes_lock held only by thread creators: persistentalloc ranks above it */
	sc = gmp_persistentalloc(sizeof(*sc), _Alignof(struct stack_class));
	if (sc == NULL)
		goto out;
	sc->stacksize = stacksize;
	sc->guardsize = guardsize;
	sc->slot_size = round_page(guardsize + top_of(sc) + (SHIFTS - 1) * SHIFT + G_ALIGN + sizeof(struct g));
	sc->slab_slots = SLAB_FIRST;
	sc->next = classes;
	atomic_store_explicit(&classes, sc, memory_order_release); /* pairs with the walk above */
	if (hot == NULL && stacksize != 0)
		hot = sc;
out:
	gmp_unlock(&classes_lock);
	return sc;
}

/* sc->lock held. Maps a new slab; shrinks it until it fits. */
static bool new_slab(struct stack_class *sc)
{
	uint32_t n = sc->slab_slots;

	while (n > 1 && sc->slot_size > ((size_t)1 << 30) / n)
		n /= 2;
	for (; n > 0; n /= 2) {
		size_t size = sc->slot_size * n;
		long p = sys6(__NR_mmap, 0, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK,
			      -1, 0);

		if (sys_failed(p)) {
			sc->slab_slots = n > 1 ? n / 2 : 1; /* the next one need not try again what is too much */
			continue;
		}
		/* One touched page must not become a 2 MB page. */
		sys3(__NR_madvise, p, size, MADV_NOHUGEPAGE);
		sc->slab_next = sc->slab_open = (char *)p;
		sc->slab_end = (char *)p + size;
		if (sc->slab_slots < SLAB_SLOTS)
			sc->slab_slots *= 2;
		return true;
	}
	return false;
}

/* sc->lock held. Makes the next slot readable and writable, with its guard. */
static char *take_slot(struct stack_class *sc)
{
	char *slot;

	if (sc->slab_next == sc->slab_end && !new_slab(sc))
		return NULL;
	slot = sc->slab_next;
	if (slot == sc->slab_open) {
		size_t n = (size_t)(sc->slab_end - slot), batch = SLAB_OPEN * sc->slot_size;

		if (n > batch)
			n = batch;
		if (sys_failed(sys3(__NR_mprotect, slot, n, PROT_READ | PROT_WRITE | stack_exec)))
			return NULL;
		sc->slab_open = slot + n;
	}
	if (sc->guardsize > 0 &&
	    !(have_guard && sys3(__NR_madvise, slot, sc->guardsize, MADV_GUARD_INSTALL) == 0)) {
		have_guard = 0;
		if (sys_failed(sys3(__NR_mprotect, slot, sc->guardsize, PROT_NONE)))
			return NULL;
	}
	sc->slab_next = slot + sc->slot_size;
	return slot;
}

/* With its guard, where that is no mapping of its own: a slab stays two mappings. */
static void make_executable(struct g *gp)
{
	size_t guard = have_guard ? 0 : gp->sc->guardsize;

	sys3(__NR_mprotect, gp->stack_lo - gp->sc->guardsize + guard, gp->sc->slot_size - guard,
	     PROT_READ | PROT_WRITE | PROT_EXEC);
}

/*
 * All slots being alike, what a switch touches would lie at the same offset in a page for all Gs, in a few sets of the
 * caches. So neighbours differ by a line; the two pages that a parked G touches have room for that. It moves the end of
 * the TCB out of what pthread_getattr_np tells, by less than 1 KB: libc's resolver state.
 */
static size_t shift_of(const struct stack_class *sc, const char *slot)
{
	return (uintptr_t)slot / sc->slot_size % SHIFTS * SHIFT;
}

static struct g *new_slot(struct stack_class *sc)
{
	struct g *gp, *head;
	char *slot, *lo, *top, *tcb;

	gmp_enter();
	gmp_lock(&sc->lock);
	slot = take_slot(sc);
	gmp_unlock(&sc->lock);
	gmp_leave();
	if (slot == NULL)
		return NULL;
	lo = slot + sc->guardsize;
	top = lo + top_of(sc) + shift_of(sc, slot);
	tcb = (char *)((uintptr_t)(top - gmp_host.tcb_size) & -(uintptr_t)gmp_host.tls_align);
	gp = (struct g *)(((uintptr_t)tcb + gmp_host.tcb_size + G_ALIGN - 1) & -(uintptr_t)G_ALIGN);
	gp->tcb = tcb;
	gp->stack_lo = lo;
	gp->stack_hi = gp->tcb - (gmp_host.tls_size - gmp_host.tcb_size);
	gp->guardsize = sc->guardsize;
	gp->sc = sc;
	gp->parker.gp = gp;
	gp->tls = (struct gmp_tls *)(gp->tcb + gmp_host.shim_tls_offset);
	if (gmp_host.allocate_tls(gp->tcb) == NULL) {
		gp->slot_dirty = true; /* whole again for the next taker; without TLS yet */
		gp->tls = NULL;
		gmp_enter();
		gmp_lock(&sc->lock);
		if (sc->slab_next == slot + sc->slot_size)
			sc->slab_next = slot;
		gmp_unlock(&sc->lock);
		gmp_leave();
		return NULL;
	}
	gmp_tcb_birth(gp);
	head = atomic_load_explicit(&sched.allg, memory_order_relaxed); /* only a start value for the CAS */
	do
		gp->alllink = head;
	while (!atomic_compare_exchange_weak(&sched.allg, &head, gp)); /* seq_cst; pairs with gmp_stacks_executable */
	if (unlikely(atomic_load(&stack_exec)) && sc->stacksize != 0)
		make_executable(gp);
	return gp;
}

/* The caller's P, NULL on g0-less threads and in system calls. Inside gmp_enter(). */
static struct p *my_p(void)
{
	struct g *self = getg();

	return self != NULL && self->m != NULL ? self->m->p : NULL;
}

static void put_free_locked(struct stack_class *sc, struct g *gp)
{
	gp->schedlink = sc->free;
	sc->free = gp;
	sc->nfree++;
	sc->ndirty++;
}

/* Owner of pp, as for pop_local. */
static void push_local(struct p *pp, struct g *gp)
{
	struct g *head = atomic_load_explicit(&pp->gfree, memory_order_relaxed); /* only a start value for the CAS */

	do
		gp->schedlink = head;
	while (!atomic_compare_exchange_weak_explicit(&pp->gfree, &head, gp, memory_order_release, /* gather_free */
						      memory_order_relaxed));
	pp->ngfree = head == NULL ? 1 : pp->ngfree + 1;
}

static struct g *pop_local(struct p *pp)
{
	struct g *gp = atomic_load_explicit(&pp->gfree, memory_order_relaxed); /* own */

	/*
	 * If the list was taken meanwhile, schedlink is of no use and the CAS fails: nobody else puts a G here, so the
	 * same head is the same list.
	 */
	if (gp == NULL || !atomic_compare_exchange_strong_explicit(&pp->gfree, &gp, gp->schedlink, memory_order_relaxed,
								   memory_order_relaxed))
		return NULL;
	pp->ngfree--;
	return gp;
}

/* No memory for a new slot: the dead Gs that the Ps keep, to the class's list. Inside gmp_enter(). */
static void gather_free(struct stack_class *sc)
{
	for (int i = 0; i < sched.gomaxprocs && sc == hot; i++) {
		/* acquire: pairs with push_local */
		struct g *gp = atomic_exchange_explicit(&sched.allp[i]->gfree, NULL, memory_order_acquire), *next;

		gmp_lock(&sc->lock);
		for (; gp != NULL; gp = next) {
			next = gp->schedlink;
			put_free_locked(sc, gp);
		}
		gmp_unlock(&sc->lock);
	}
}

static struct g *take_free(struct stack_class *sc)
{
	struct g *gp = NULL;
	struct p *pp;

	gmp_enter();
	pp = my_p();
	if (pp != NULL && sc == hot) {
		gp = pop_local(pp);
		if (gp == NULL && sc->nfree > 0) { /* nfree: a hint, read without the lock */
			gmp_lock(&sc->lock);
			for (int i = 0; i < GFREE_BATCH && sc->free != NULL; i++) {
				gp = sc->free;
				sc->free = gp->schedlink;
				sc->nfree--;
				push_local(pp, gp);
			}
			gmp_unlock(&sc->lock);
			gp = pop_local(pp);
		}
	} else if (sc->nfree > 0) {
		gmp_lock(&sc->lock);
		gp = sc->free;
		if (gp != NULL) {
			sc->free = gp->schedlink;
			sc->nfree--;
		}
		gmp_unlock(&sc->lock);
	}
	gmp_leave();
	if (gp != NULL) {
		gmp_wait_off_stack(gp); /* its last life */
		gmp_tcb_renew(gp);
	}
	return gp;
}

/*
 * A G with a stack of stacksize bytes (TLS and TCB included, as NPTL counts) above guardsize bytes of guard.
 * stacksize 0: TCB only, the caller has a stack. NULL with *ret_err = EAGAIN when memory is short.
 */
struct g *gmp_galloc(size_t stacksize, size_t guardsize, int *ret_err)
{
	struct stack_class *sc = find_class(round_page(stacksize), round_page(guardsize));
	struct g *gp = NULL;

	if (sc != NULL) {
		gp = take_free(sc);
		if (gp == NULL)
			gp = new_slot(sc);
		if (unlikely(gp == NULL)) {
			gmp_enter();
			gather_free(sc);
			gmp_leave();
			gp = take_free(sc);
		}
	}
	if (gp == NULL) {
		*ret_err = 11; /* EAGAIN */
		return NULL;
	}
	/* relaxed, all: the run queue publishes the G */
	gp->user_stack = false;
	atomic_store_explicit(&gp->lockcnt, 0, memory_order_relaxed);
	gp->prio = 0;
	gp->user_locks = 0;
	gp->lockedm = NULL;
	gp->m = NULL;
	atomic_store_explicit(&gp->exited, 0, memory_order_relaxed);
	atomic_store_explicit(&gp->joinstate, 0, memory_order_relaxed);
	gp->result = NULL;
	atomic_store_explicit(&gp->sigpending, 0, memory_order_relaxed);
	gp->sigq = NULL;
	gp->props = NULL;
	gp->altstack = (struct gmp_altstack){0};
	atomic_store_explicit(&gp->cancel_wake, 0, memory_order_relaxed);
	atomic_store_explicit(&gp->cpu_ns, 0, memory_order_relaxed);
	gp->born = arch_cycles();
	gp->named = false;
	gp->name[0] = '\0';
	gp->goid = atomic_fetch_add_explicit(&sched.goidgen, 1, memory_order_relaxed) + 1;
	gmp_tcb_set_tid(gp, gmp_newtid());
	return gp;
}

/* The slot of a dead G goes back. May be called by the G itself, inside gmp_enter(), as its last act. */
void gmp_gfree(struct g *gp)
{
	struct stack_class *sc = gp->sc;
	struct p *pp;

	gmp_enter();
	atomic_store_explicit(&gp->status, G_DEAD, memory_order_relaxed);
	gp->slot_dirty = true;
	pp = my_p();
	if (pp != NULL && sc == hot) {
		if (pp->ngfree + 1 >= 2 * GFREE_BATCH) { /* gp, the hottest, stays here */
			struct g *cold;

			gmp_lock(&sc->lock);
			for (int i = 0; i < GFREE_BATCH && (cold = pop_local(pp)) != NULL; i++)
				put_free_locked(sc, cold);
			gmp_unlock(&sc->lock);
		}
		push_local(pp, gp);
	} else {
		gmp_lock(&sc->lock);
		put_free_locked(sc, gp);
		gmp_unlock(&sc->lock);
	}
	gmp_leave_quiet();
}

/*
 * An object that wants executable stacks (PT_GNU_STACK) has been loaded: all stacks become so, as glibc does it with
 * those of its own threads. A slot that was opened before the flag was set, and is not on allg yet, sees the flag when
 * it is. On a G or before threads.
 */
void gmp_stacks_executable(void)
{
	atomic_store(&stack_exec, PROT_EXEC);
	for (struct g *gp = atomic_load(&sched.allg); gp != NULL; gp = gp->alllink)
		if (gp->sc != NULL && gp->sc->stacksize != 0)
			make_executable(gp);
}

void gmp_gfree_flush(struct p *pp)
{
	struct g *gp;

	while ((gp = pp->gfree) != NULL) {
		struct stack_class *sc = gp->sc;

		pp->gfree = gp->schedlink;
		pp->ngfree--;
		gmp_lock(&sc->lock);
		gp->schedlink = sc->free;
		sc->free = gp;
		sc->nfree++;
		sc->ndirty++;
		gmp_unlock(&sc->lock);
	}
}

/* sysmon: give the stacks of dead Gs back to the kernel, some at a time. */
void gmp_scavenge(int64_t now)
{
	for (struct stack_class *sc = atomic_load_explicit(&classes, memory_order_acquire); sc; sc = sc->next) {
		struct g *batch[GFREE_BATCH];
		int n = 0;

		if (sc->ndirty == 0 || sc->stacksize == 0)
			continue;
		if (sc->dirty_since == 0) {
			sc->dirty_since = now;
			continue;
		}
		if (now - sc->dirty_since < IDLE_NS)
			continue;
		/* Take a batch off the list, so that nobody reuses a stack while it is being emptied. */
		gmp_lock(&sc->lock);
		for (struct g **link = &sc->free; *link != NULL && n < GFREE_BATCH;) {
			struct g *gp = *link;

			if (!gp->slot_dirty || atomic_load_explicit(&gp->ctx.running, memory_order_acquire)) {
				link = &gp->schedlink;
				continue;
			}
			*link = gp->schedlink;
			sc->nfree--;
			batch[n++] = gp;
		}
		gmp_unlock(&sc->lock);
		for (int i = 0; i < n; i++) {
			char *lo = batch[i]->tcb - (gmp_host.tls_size - gmp_host.tcb_size) - KEEP_TOP;

			lo = (char *)((uintptr_t)lo & -sched.page_size);
			if (lo > batch[i]->stack_lo && !batch[i]->user_stack)
				sys3(__NR_madvise, batch[i]->stack_lo, lo - batch[i]->stack_lo, MADV_DONTNEED);
			batch[i]->slot_dirty = false;
		}
		gmp_lock(&sc->lock);
		for (int i = 0; i < n; i++) {
			/* to the cold end would need a tail; the front is as good: they are clean */
			batch[i]->schedlink = sc->free;
			sc->free = batch[i];
			sc->nfree++;
		}
		sc->ndirty = n > 0 && sc->ndirty > (uint32_t)n ? sc->ndirty - (uint32_t)n : 0;
		if (n == 0 || sc->ndirty == 0)
			sc->dirty_since = 0;
		gmp_unlock(&sc->lock);
	}
}

/* What the program has, TLS and TCB included: as asked for, in whole pages. */
size_t gmp_stack_size(const struct g *gp)
{
	return gp->user_stack ? (size_t)(gp->stack_hi - gp->stack_lo) : gp->sc->stacksize;
}

struct g *gmp_g_of_tcb(const void *tcb)
{
	return ((const struct gmp_tls *)((const char *)tcb + gmp_host.shim_tls_offset))->g;
}

/* The lists may be half changed by a thread that is gone: forget the parent's dead slots. */
void gmp_stack_fork_child(void)
{
	classes_lock = (struct lock){0};
	for (struct stack_class *sc = classes; sc != NULL; sc = sc->next) {
		sc->lock = (struct lock){0};
		sc->free = NULL;
		sc->nfree = sc->ndirty = 0;
		sc->dirty_since = 0;
		/* The parent may have been inside take_slot: start a new slab. */
		sc->slab_next = sc->slab_open = sc->slab_end = NULL;
	}
}
