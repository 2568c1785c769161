// SPDX-License-Identifier: MIT
/*
 * pthread_once, on glibc's values: 0 not done, fork generation | 1 under way, 2 done. One under way with another
 * generation was left behind in the parent of a fork, and begins anew.
 *
 * The code is used before threads begin as well: a routine begun by libc's code could start the threads that then
 * wait for it, and libc would wake the kernel's futex, not our queue.
 *
 * When init_routine is left by an exception or a cancellation, the control is reset and a waiter tries. As in NPTL by
 * two ways: the cleanup attribute (-fexceptions; needs _Unwind_Resume and __gcc_personality_v0), and a clean-up buffer,
 * which libc runs when a cancellation cannot be unwound because some frame has no call-frame information.
 */
#include "preload/locks.h"

#define IN_PROGRESS 1u
#define DONE 2u

static __thread pthread_once_t probe __attribute__((tls_model("initial-exec")));
static __thread uint32_t probed __attribute__((tls_model("initial-exec")));

static void probe_routine(void)
{
	probed = (uint32_t)probe & ~(IN_PROGRESS | DONE);
}

/* libc's __fork_generation is hidden, but it shows in a control while its routine runs. */
static uint32_t fork_generation(void)
{
	probe = PTHREAD_ONCE_INIT;
	PASS(pthread_once)(&probe, probe_routine);
	return probed;
}

struct running {
	word32 *control; /* NULL: nothing to be reset */
	struct _pthread_cleanup_buffer buffer;
};

static void wake_all(word32 *control)
{
	gmp_enter();
	gmp_sema_wake((const void *)control, INT_MAX, UINT32_MAX);
	gmp_leave();
}

static void abandon(void *arg)
{
	struct running *r = arg;
	word32 *control = r->control;

	if (control == NULL)
		return;
	r->control = NULL;
	atomic_store_explicit(control, 0, memory_order_relaxed); /* the next one starts from nothing */
	wake_all(control);
}

/* Every way out of run(), the last one on each: the buffer is on its stack. */
static void leave(struct running *r)
{
	abandon(r);
	real._pthread_cleanup_pop(&r->buffer, 0);
}

static noinline void run(word32 *control, void (*init_routine)(void))
{
	struct running r __attribute__((cleanup(leave))) = {.control = control};

	real._pthread_cleanup_push(&r.buffer, abandon, &r);
	init_routine();
	r.control = NULL;
}

static noinline int once_slow(word32 *control, void (*init_routine)(void))
{
	uint32_t mine = fork_generation() | IN_PROGRESS;

	stress_point();
	for (;;) {
		/* acquire: pairs with the release below */
		uint32_t v = atomic_load_explicit(control, memory_order_acquire);

		if (v & DONE)
			return 0;
		if (v == mine) {
			if (gmp_futex_wait((const uint32_t *)control, mine, UINT32_MAX, GMP_NO_DEADLINE, "once") ==
			    -EINTR)
				gmp_lock_interrupted();
			continue;
		}
		/* acquire: as above, for what an abandoned run left */
		if (!atomic_compare_exchange_strong_explicit(control, &v, mine, memory_order_acquire,
							     memory_order_relaxed))
			continue;
		run(control, init_routine);
		/* release: what the routine did; pairs with the acquire loads */
		atomic_store_explicit(control, DONE, memory_order_release);
		wake_all(control);
		return 0;
	}
}

int gmp_once(pthread_once_t *control, void (*init_routine)(void))
{
	word32 *w = WORD32(*control);

	/* acquire: pairs with the release in once_slow() */
	if (likely(atomic_load_explicit(w, memory_order_acquire) & DONE))
		return 0;
	return once_slow(w, init_routine);
}

int hook_pthread_once(pthread_once_t *control, void (*init_routine)(void))
{
	return gmp_once(control, init_routine);
}

/* libpthread's old second names, which programs linked long ago call */
__typeof__(__pthread_once) hook___pthread_once __attribute__((alias("pthread_once")));
