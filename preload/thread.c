// SPDX-License-Identifier: MIT
/*
 * pthread_create, join, detach, exit and what is asked about a thread. A pthread_t of ours is, as glibc's, the
 * address of the TCB, so that pthread_self, which libc inlines, needs no hook.
 *
 * joinstate: JOINABLE -> JOINING (one joiner) -> back on timeout or cancel, or JOINABLE -> DETACHED. The ending thread
 * moves it to EXITED; who then wins EXITED -> JOINED (joiner or detacher) frees it. A detached one frees itself and
 * stays DETACHED.
 */
#include <limits.h>
#include <string.h>

#include "core/log.h"
#include "core/sema.h"
#include "core/tcb.h"
#include "preload/locks.h"
#include "preload/preload.h"

enum { J_JOINABLE, J_JOINING, J_DETACHED, J_EXITED, J_JOINED };

#define MINIMAL_REST_STACK 2048 /* nptl/allocatestack.c */
#define HOST_EXITED ((void *)1) /* g->host: pthread_exit set g->result */

static _Atomic(size_t) default_stacksize, default_guardsize; /* 0: ask libc */
static _Atomic(bool) default_sizes_only = true; /* pthread_setattr_default_np has set nothing else */

/* The head of pthread_attr_t, the same in every glibc: nptl's struct pthread_attr. */
struct attr_head {
	struct sched_param param;
	int policy, flags;
	size_t guardsize;
	void *stackaddr;
	size_t stacksize;
	void *extension; /* affinity and signal mask; NULL: neither */
};

/* attr_head.flags */
#define ATTR_NOTINHERITSCHED 0x02
#define ATTR_SCHED_SET 0x20
#define ATTR_POLICY_SET 0x40


struct g *gmp_thread(pthread_t th)
{
	return sched.maing == NULL || th == 0 ? NULL : gmp_g_of_tcb((const void *)th);
}

int gmp_live_count(void)
{
	return atomic_load_explicit(&sched.nlive, memory_order_relaxed); /* a report */
}

/* The robust mutexes that the thread still holds: what the kernel does when a kernel thread dies. */
static void release_robust(struct g *gp)
{
	char *head = gp->tcb + gmp_tcb.robust_head;
	char *entry = *(char **)head;
	int limit = 2048; /* ROBUST_LIST_LIMIT of the kernel */

	while (((uintptr_t)entry & ~1ul) != (uintptr_t)head && limit-- > 0) {
		char *node = (char *)((uintptr_t)entry & ~1ul);
		_Atomic(uint32_t) *word = (_Atomic(uint32_t) *)(node + gmp_tcb.robust_futex_offset);
		uint32_t v = atomic_load(word);

		entry = *(char **)node;
		while ((v & FUTEX_TID_MASK) == (uint32_t)gp->m->tid || (v & FUTEX_TID_MASK) == (uint32_t)gp->tid)
			if (atomic_compare_exchange_weak(word, &v, (v & FUTEX_WAITERS) | FUTEX_OWNER_DIED)) {
				if (v & FUTEX_WAITERS)
					sys3(__NR_futex, word, FUTEX_WAKE, 1);
				break;
			}
	}
	*(char **)head = head;
}

/*
 * A robust mutex with priority inheritance is in its list, or about to be: the kernel hands it on, nobody else can. The
 * mutex says so: bit 0 of its entry does too, but libc's trylock leaves it out where it gives EOWNERDEAD.
 */
static bool holds_robust_pi(struct g *gp)
{
	char *head = gp->tcb + gmp_tcb.robust_head;
	uintptr_t entry = *(uintptr_t *)head, pending = ((uintptr_t *)head)[2];

	if (pending & 1)
		return true;
	for (int limit = 2048; (entry & ~1ul) != (uintptr_t)head && limit > 0; limit--) {
		uintptr_t node = entry & ~1ul;
		pthread_mutex_t *m = (pthread_mutex_t *)(node + gmp_tcb.robust_futex_offset);

		if (mutex_kind(m) & MUTEX_PRIO_INHERIT)
			return true;
		entry = *(uintptr_t *)node;
	}
	return false;
}

static _Atomic(int) raw_status = -1; /* of the main thread's exit(2): then it is the process's */

/* What the kernel and the scheduler have to do with the end of a thread. */
static void __attribute__((noreturn)) thread_gone(struct g *gp)
{
	uint32_t old = J_JOINABLE;

	gmp_props_end(gp);
	gmp_signal_end_g(gp);
	/* what the program has made of a kernel thread that it bound ends with it, but for the process's first */
	if (gp->lockcnt > 0 &&
	    (((gp->user_locks > 0 || gp->m->tainted) && gp->m != sched.m0) || holds_robust_pi(gp))) {
		gmp_shed_os_thread();
		*(char **)(gp->tcb + gmp_tcb.robust_head) = gp->tcb + gmp_tcb.robust_head;
	}
	gmp_enter();
	if (*(char **)(gp->tcb + gmp_tcb.robust_head) != gp->tcb + gmp_tcb.robust_head)
		release_robust(gp);
	if (gp->lockcnt > 0) {
		gp->lockcnt = 0;
		gp->lockedm = NULL;
		gp->m->lockedg = NULL;
	}
	if (unlikely(sched.cpu_acct))
		gmp_cpu_switch(gp->m, gp); /* the slot may soon be another's */
	atomic_store_explicit(&gp->status, G_DEAD, memory_order_relaxed); /* exited, below, publishes it */
	*(int *)(gp->tcb + gmp_tcb.tid) = 0;
	/* release: the result; pairs with the joiner's acquire. From here on a joiner may free the slot, and
	 * ctx.running keeps it from being reused until this stack has been left. */
	atomic_store_explicit(&gp->exited, 1, memory_order_release);
	while (old != J_DETACHED && !atomic_compare_exchange_weak(&gp->joinstate, &old, J_EXITED))
		;
	if (old == J_JOINING)
		gmp_sema_wake(&gp->exited, 1, UINT32_MAX);
	else if (old == J_DETACHED && gp->kind != GK_MAIN)
		gmp_gfree(gp);
	gmp_goexit();
}

/* The end of a thread, on its own stack, in the order of glibc's start_thread. */
static void __attribute__((noreturn)) thread_end(struct g *gp)
{
	if (gp->status == G_SYSCALL) /* cancelled inside a system call */
		gmp_exitsyscall();
	real.__call_tls_dtors();
	gmp_tsd_run_destructors(gp);
	if (real.dlerror() != NULL) /* twice frees a pending message */
		real.dlerror();
	if (atomic_fetch_sub(&sched.nlive, 1) == 1) {
		if (raw_status >= 0)
			sys1(__NR_exit_group, raw_status);
		real.exit(0); /* the last thread: POSIX pthread_exit */
	}
	thread_gone(gp);
}

void gmp_thread_exit_raw(int status)
{
	struct g *gp = getg();

	if (gp == sched.maing)
		raw_status = status & 0xff;
	if (atomic_fetch_sub(&sched.nlive, 1) == 1)
		sys1(__NR_exit_group, raw_status >= 0 ? raw_status : status);
	thread_gone(gp);
}

void gmp_main_exit(void *result)
{
	struct g *gp = getg();

	(void)result;
	if (gp->host != HOST_EXITED)
		gp->result = PTHREAD_CANCELED;
	thread_end(gp);
}

/*
 * A frame between the one that registered the clean-up buffer and the program's start routine: the forced unwind of
 * pthread_exit stops at the former, so the latter must not be inlined into it.
 */
static noinline void *call_start(struct g *gp)
{
	if (gp->c11)
		return (void *)(intptr_t)((thrd_start_t)(uintptr_t)gp->start_fn)(gp->start_arg);
	return ((void *(*)(void *))(uintptr_t)gp->start_fn)(gp->start_arg);
}

static void thread_main(void *arg)
{
	struct g *gp = arg;
	__pthread_unwind_buf_t buf;

	errno = 0;
	if (!gp->tls_fresh && real.uselocale((locale_t)0) != LC_GLOBAL_LOCALE)
		real.uselocale(LC_GLOBAL_LOCALE);
	real.__ctype_init();
	if (gmp_sigsetjmp(buf.__cancel_jmp_buf, 0) == 0) {
		__pthread_register_cancel(&buf);
		if (unlikely(gp->m->sigslot != NULL)) /* of the switch that led here; as gmp_block_switch does */
			gmp_tls.deferred = 1;
		gmp_leave(); /* a G begins inside the shim */
		if (unlikely(gp->props != NULL))
			gmp_props_apply(gp);
		gp->result = call_start(gp);
	} else if (getg()->host != HOST_EXITED) {
		getg()->result = PTHREAD_CANCELED;
	}
	thread_end(getg());
}

struct create_args {
	size_t stacksize, guardsize;
	char *stack; /* the caller's, its top; NULL: ours */
	bool detached, explicit_sched;
	bool has_mask, has_props;
	gmp_sigset mask;
	struct create_props props;
};

static size_t default_attr(_Atomic(size_t) *which)
{
	size_t v = atomic_load_explicit(which, memory_order_relaxed); /* a constant but for setattr_default_np */
	pthread_attr_t attr;

	if (v != 0)
		return v;
	if (real.pthread_getattr_default_np(&attr) != 0)
		return which == &default_stacksize ? (size_t)8 << 20 : sched.page_size;
	real.pthread_attr_getstacksize(&attr, &v);
	atomic_store_explicit(&default_stacksize, v, memory_order_relaxed);
	real.pthread_attr_getguardsize(&attr, &v);
	atomic_store_explicit(&default_guardsize, v ? v : 1, memory_order_relaxed);
	real.pthread_attr_destroy(&attr);
	return atomic_load_explicit(which, memory_order_relaxed);
}

/* Scheduling and affinity of a new thread. 0 or an errno: the kernel's verdict on them. */
static int read_props(const pthread_attr_t *attr, struct create_args *a)
{
	const struct attr_head *h = (const void *)attr;
	unsigned char cpus[sizeof(a->props.cpus) + sizeof(long)];

	memset(&a->props, 0, sizeof(a->props));
	a->explicit_sched = h->flags & ATTR_NOTINHERITSCHED;
	a->props.sched = a->explicit_sched && h->flags & (ATTR_SCHED_SET | ATTR_POLICY_SET);
	a->props.policy = h->policy;
	a->props.param = h->param;
	/* where none was set, it answers with ones as far as we ask: also beyond what one of 1,024 CPUs can have */
	if (h->extension != NULL && real.pthread_attr_getaffinity_np(attr, sizeof(cpus), (void *)cpus) == 0 &&
	    cpus[sizeof(cpus) - 1] == 0) {
		a->props.affinity = true;
		memcpy(a->props.cpus, cpus, sizeof(a->props.cpus));
	}
	a->has_props = a->props.sched || a->props.affinity;
	return a->has_props ? gmp_props_check(&a->props, h->flags & ATTR_POLICY_SET, h->flags & ATTR_SCHED_SET) : 0;
}

/* 0 or an errno. */
static int read_attr(const pthread_attr_t *attr, struct create_args *a)
{
	const struct attr_head *h = (const void *)attr;
	void *addr;
	size_t size = 0, guard, tls = gmp_host.tls_size;
	int detached = PTHREAD_CREATE_JOINABLE;
	sigset_t set;

	a->stack = NULL;
	a->detached = a->explicit_sched = a->has_mask = a->has_props = false;
	a->props.sched = a->props.affinity = false;
	if (attr == NULL) {
		pthread_attr_t def;
		int rc;

		if (likely(atomic_load_explicit(&default_sizes_only, memory_order_relaxed))) {
			a->stacksize = default_attr(&default_stacksize);
			a->guardsize = default_attr(&default_guardsize);
			return 0;
		}
		rc = real.pthread_getattr_default_np(&def);
		if (rc != 0)
			return rc;
		rc = read_attr(&def, a);
		real.pthread_attr_destroy(&def);
		return rc;
	}
	real.pthread_attr_getstack(attr, &addr, &size);
	real.pthread_attr_getguardsize(attr, &a->guardsize);
	real.pthread_attr_getdetachstate(attr, &detached);
	a->detached = detached == PTHREAD_CREATE_DETACHED;
	if (h->extension != NULL && real.pthread_attr_getsigmask_np(attr, &set) == 0) {
		a->has_mask = true;
		memcpy(&a->mask, &set, sizeof(a->mask));
	}
	if ((uintptr_t)addr + size != 0) { /* pthread_attr_setstack */
		if (size < tls + MINIMAL_REST_STACK)
			return EINVAL;
		a->stack = (char *)addr + size;
		a->stacksize = size;
		a->guardsize = 0;
	} else {
		/* getstacksize answers the default where none was set */
		real.pthread_attr_getstacksize(attr, &a->stacksize);
		a->stacksize &= -gmp_host.tls_align;
		guard = (a->guardsize + sched.page_size - 1) & -sched.page_size;
		if (guard < a->guardsize || a->stacksize + guard < guard ||
		    a->stacksize + guard <
			    ((guard + tls + MINIMAL_REST_STACK + sched.page_size - 1) & -sched.page_size))
			return EINVAL;
	}
	return h->extension != NULL || h->flags & ATTR_NOTINHERITSCHED ? read_props(attr, a) : 0;
}

static void free_joined(struct g *gp)
{
	if (gp->kind == GK_MAIN)
		return;
	gmp_enter();
	gmp_gfree(gp);
	gmp_leave();
}

static int create(pthread_t *th, const pthread_attr_t *attr, void *fn, void *arg, bool c11, void *caller)
{
	struct create_args a;
	struct g *gp, *self = getg();
	int rc = read_attr(attr, &a);

	if (rc != 0)
		return rc;
	gp = gmp_galloc(a.stack ? 0 : a.stacksize, a.stack ? 0 : a.guardsize, &rc);
	if (gp == NULL) {
		/* Threads that have been made, but not run, may give back what is missing. */
		if (on_g())
			hook_sched_yield();
		return rc;
	}
	gp->kind = GK_THREAD;
	gp->start_fn = fn;
	gp->start_arg = arg;
	gp->host = NULL;
	gp->c11 = c11;
	gp->createpc = (uintptr_t)caller;
	gp->parent = self != NULL ? self->goid : 0;
	gmp_name_inherit(gp, self);
	gp->guardsize = a.guardsize;
	gp->explicit_sched = a.explicit_sched;
	if (unlikely(a.has_props || (self != NULL && self->props != NULL))) {
		rc = gmp_props_create(gp, &a.props);
		if (rc != 0) {
			free_joined(gp);
			return rc;
		}
	}
	if (unlikely(self != NULL && self->lockcnt > 0 && self->m->tainted)) {
		bool made;

		gmp_enter();
		made = gmp_newm_tainted(gp);
		gmp_leave();
		if (!made) {
			free_joined(gp);
			return EAGAIN;
		}
	}
	if (a.stack != NULL) {
		gp->user_stack = true;
		gp->stack_lo = a.stack - a.stacksize;
		gp->stack_hi = a.stack;
	}
	atomic_store_explicit(&gp->joinstate, a.detached ? J_DETACHED : J_JOINABLE, memory_order_relaxed);
	if (!a.has_mask) {
		if (self != NULL)
			a.mask = self->sigmask;
		else
			sys_sigmask(SIG_BLOCK, NULL, &a.mask);
	}
	gmp_signal_new_g(gp, a.mask & SIG_ALL_BUT_NOTIFY);
	arch_ctx_init(&gp->ctx, gp->stack_hi, (uintptr_t)gp->tcb, thread_main, gp);
	atomic_fetch_add_explicit(&sched.nlive, 1, memory_order_relaxed); /* the creator is alive: no race to 0 */
	*th = (pthread_t)gp->tcb;
	gmp_enter();
	gmp_newproc(gp);
	gmp_leave();
	return 0;
}

int hook_pthread_create(pthread_t *th, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	int rc;

	gmp_resolve();
	rc = gmp_go_live();
	if (rc != 0)
		return rc < 0 ? real.pthread_create(th, attr, fn, arg) : rc;
	stress_point();
	if (unlikely(atomic_load_explicit(&gmp_execstack_unknown, memory_order_relaxed))) /* a hint */
		gmp_check_execstack();
	return create(th, attr, (void *)(uintptr_t)fn, arg, false, __builtin_return_address(0));
}

int hook_thrd_create(thrd_t *th, thrd_start_t fn, void *arg)
{
	int rc;

	gmp_resolve();
	rc = gmp_go_live();
	if (rc < 0)
		return real.thrd_create(th, fn, arg);
	if (rc == 0)
		rc = create(th, NULL, (void *)(uintptr_t)fn, arg, true, __builtin_return_address(0));
	return rc == 0 ? thrd_success : rc == EAGAIN || rc == ENOMEM ? thrd_nomem : thrd_error;
}

/* block: wait at all. */
static int join(pthread_t th, void **result, bool block, int64_t deadline)
{
	struct g *gp = gmp_thread(th);
	uint32_t st = J_JOINABLE;

	if (gp->status == G_DEAD && gp->joinstate == J_JOINED)
		return ESRCH;
	if (!block && !atomic_load_explicit(&gp->exited, memory_order_acquire))
		return EBUSY;
	if (gp->joinstate == J_DETACHED)
		return EINVAL;
	if (gp == getg())
		return EDEADLK;
	if (atomic_compare_exchange_strong(&gp->joinstate, &st, J_JOINING)) {
		int rc = 0;

		/* acquire: pairs with the release of exited in thread_end */
		while (!atomic_load_explicit(&gp->exited, memory_order_acquire)) {
			rc = gmp_futex_wait((const uint32_t *)&gp->exited, 0, UINT32_MAX, deadline, "join");
			if (rc == -ETIMEDOUT || (rc == -EINTR && gmp_cancel_pending(getg()))) {
				st = J_JOINING;
				if (!atomic_compare_exchange_strong(&gp->joinstate, &st, J_JOINABLE))
					break; /* it ended just now */
				if (rc == -ETIMEDOUT)
					return ETIMEDOUT;
				gmp_testcancel();
				st = J_JOINABLE;
				if (!atomic_compare_exchange_strong(&gp->joinstate, &st, J_JOINING))
					break;
			}
		}
	} else if (st != J_EXITED) {
		return EINVAL;
	}
	/* The thread sets exited, then joinstate: wait for the second. */
	for (int i = 0; atomic_load(&gp->joinstate) == J_JOINING; i++)
		gmp_spin(i);
	st = J_EXITED;
	if (!atomic_compare_exchange_strong(&gp->joinstate, &st, J_JOINED))
		return EINVAL;
	if (result != NULL)
		*result = gp->result;
	if (gp->user_stack)
		gmp_wait_off_stack(gp); /* the stack is the program's again */
	free_joined(gp);
	return 0;
}

int hook_pthread_join(pthread_t th, void **result)
{
	if (!live() || gmp_thread(th) == NULL) {
		int rc;

		if (!on_g())
			return PASS(pthread_join)(th, result);
		gmp_entersyscall();
		rc = real.pthread_join(th, result);
		gmp_exitsyscall();
		return rc;
	}
	stress_point();
	gmp_testcancel();
	return join(th, result, true, GMP_NO_DEADLINE);
}

int hook_pthread_tryjoin_np(pthread_t th, void **result)
{
	if (!live() || gmp_thread(th) == NULL)
		return PASS(pthread_tryjoin_np)(th, result);
	return join(th, result, false, 0);
}

int hook_pthread_clockjoin_np(pthread_t th, void **result, clockid_t clock, const struct timespec *abs)
{
	if (!live() || gmp_thread(th) == NULL)
		return PASS(pthread_clockjoin_np)(th, result, clock, abs);
	if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC)
		return EINVAL;
	gmp_testcancel();
	if (abs == NULL)
		return join(th, result, true, GMP_NO_DEADLINE);
	/* libc goes on waiting when the kernel refuses the time */
	if (!ts_valid(abs) && abs->tv_sec >= 0)
		return join(th, result, true, GMP_NO_DEADLINE);
	return join(th, result, true, abs->tv_sec < 0 ? 1 : gmp_deadline_abs(clock, abs));
}

int hook_pthread_timedjoin_np(pthread_t th, void **result, const struct timespec *abs)
{
	if (!live() || gmp_thread(th) == NULL)
		return PASS(pthread_timedjoin_np)(th, result, abs);
	return hook_pthread_clockjoin_np(th, result, CLOCK_REALTIME, abs);
}

int hook_pthread_detach(pthread_t th)
{
	struct g *gp;
	uint32_t st = J_JOINABLE;

	if (!live() || (gp = gmp_thread(th)) == NULL)
		return PASS(pthread_detach)(th);
	if (gp->status == G_DEAD && gp->joinstate == J_JOINED)
		return ESRCH;
	if (atomic_compare_exchange_strong(&gp->joinstate, &st, J_DETACHED) || st == J_JOINING)
		return 0;
	if (st == J_EXITED && atomic_compare_exchange_strong(&gp->joinstate, &st, J_JOINED)) {
		free_joined(gp);
		return 0;
	}
	return EINVAL;
}

int hook_thrd_join(thrd_t th, int *result)
{
	void *r = NULL;
	int rc;

	if (!live() || gmp_thread(th) == NULL)
		return PASS(thrd_join)(th, result);
	rc = hook_pthread_join(th, &r);
	if (rc == 0 && result != NULL)
		*result = (int)(intptr_t)r;
	return rc == 0 ? thrd_success : thrd_error;
}

int hook_thrd_detach(thrd_t th)
{
	if (!live() || gmp_thread(th) == NULL)
		return PASS(thrd_detach)(th);
	return hook_pthread_detach(th) == 0 ? thrd_success : thrd_error;
}

void hook_pthread_exit(void *value)
{
	struct g *gp = getg();

	gmp_resolve();
	if (live() && gp != NULL) {
		gp->result = value;
		gp->host = HOST_EXITED;
	}
	real.pthread_exit(value);
}

void hook_thrd_exit(int value)
{
	hook_pthread_exit((void *)(intptr_t)value);
}

int hook_pthread_setattr_default_np(const pthread_attr_t *attr)
{
	int rc = PASS(pthread_setattr_default_np)(attr);

	atomic_store_explicit(&default_stacksize, 0, memory_order_relaxed);
	atomic_store_explicit(&default_guardsize, 0, memory_order_relaxed);
	if (rc == 0) {
		const struct attr_head *h = (const void *)attr;

		atomic_store_explicit(&default_sizes_only, h->flags == 0 && h->extension == NULL,
				      memory_order_relaxed);
	}
	return rc;
}

int hook_pthread_getattr_np(pthread_t th, pthread_attr_t *attr)
{
	struct attr_head *h = (void *)attr;
	unsigned char cpus[128];
	struct g *gp;
	int rc;

	if (!live() || (gp = gmp_thread(th)) == NULL)
		return PASS(pthread_getattr_np)(th, attr);
	rc = gp->kind == GK_MAIN ? real.pthread_getattr_np(th, attr) : real.pthread_attr_init(attr);
	if (rc != 0)
		return rc;
	gmp_props_attr(gp, &h->policy, &h->param, cpus);
	if (gp->kind != GK_MAIN) {
		real.pthread_attr_setstack(attr, gp->stack_lo, gmp_stack_size(gp));
		/* as libc: what it is in pages */
		real.pthread_attr_setguardsize(attr, (gp->guardsize + sched.page_size - 1) & -sched.page_size);
		real.pthread_attr_setdetachstate(attr, gp->joinstate == J_DETACHED ? PTHREAD_CREATE_DETACHED
										   : PTHREAD_CREATE_JOINABLE);
		if (gp->explicit_sched)
			h->flags |= ATTR_NOTINHERITSCHED;
	}
	rc = real.pthread_attr_setaffinity_np(attr, sizeof(cpus), (const void *)cpus);
	if (rc != 0)
		real.pthread_attr_destroy(attr);
	return rc;
}
