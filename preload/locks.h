// SPDX-License-Identifier: MIT
/*
 * What the lock family shares. The objects keep glibc's memory layout; waiters sit in core's wait queues (sema.h).
 *
 * Keys. mutex, semaphore and once wait on the address of their word and look at the word again when woken, so a
 * wake-up that comes late, for an object that was freed meanwhile, does no harm. Condition, rwlock and barrier are
 * handed something by their waker; they wait on an odd address inside the object (+1, +2, +3), which is never the
 * address of a futex word, and are woken only under the bucket's lock.
 */
#pragma once
#include <limits.h>

#include "core/sema.h"
#include "core/tcb.h"
#include "preload/preload.h"

typedef _Atomic(uint32_t) word32;

#define WORD32(field) ((word32 *)(void *)&(field))

/* What glibc's code has in THREAD_SELF->tid: the owner of a mutex or rwlock. A thread that is no G asks once. */
static inline int self_tid(void)
{
	int tid = gmp_tls.tid;

	if (unlikely(tid == 0))
		gmp_tls.tid = tid = sys_gettid();
	return tid;
}

/* The deadline of a timed call whose time is valid, but perhaps before 1970 (which the kernel would refuse). */
static inline int64_t deadline_of(clockid_t clock, const struct timespec *abs)
{
	return abs->tv_sec < 0 ? 1 : gmp_deadline_abs(clock, abs);
}

static inline bool clock_ok(clockid_t clock)
{
	return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC;
}

/* Make a claimed list runnable: one of them next on this P, many in order and for all idle Ps. */
static inline void wake_list(struct g *list)
{
	if (list == NULL)
		return;
	if (list->schedlink == NULL) {
		gmp_sema_ready(list);
		return;
	}
	gmp_injectglist(list);
	gmp_wakep(); /* a P may have gone idle after injectglist counted them */
}

/* --- mutex.c --- */

#define MUTEX_KIND 3
#define MUTEX_ROBUST 16
#define MUTEX_PRIO_INHERIT 32
#define MUTEX_PRIO_PROTECT 64
#define MUTEX_ELISION 0x300

enum mutex_op { MUTEX_LOCK, MUTEX_TRYLOCK, MUTEX_CLOCKLOCK, MUTEX_UNLOCK, MUTEX_CONSISTENT };

static inline int mutex_kind(const pthread_mutex_t *m)
{
	return __atomic_load_n(&m->__data.__kind, __ATOMIC_RELAXED); /* constant while the mutex is in use */
}

/* Its owner is a matter of the kernel or of other processes, or it is no mutex. */
static inline bool mutex_special(int kind)
{
	return unlikely((kind & ~(MUTEX_KIND | MUTEX_ELISION)) != 0);
}

int gmp_special_mutex(enum mutex_op op, pthread_mutex_t *m, clockid_t clock, const struct timespec *abs);

/*
 * As pthread_cond_wait needs them: without a change of __nusers. unlock may run inside gmp_enter(); lock may park.
 * moved: the caller was moved to the mutex's queue, and others may be waiting behind it.
 */
int gmp_mutex_cond_check(const pthread_mutex_t *m); /* 0 or EPERM */
int gmp_mutex_cond_unlock(pthread_mutex_t *m);
int gmp_mutex_cond_lock(pthread_mutex_t *m, bool moved, bool granted);

/*
 * A low-level lock word of libc's (0 free, 1 held, more: waited for), whose short way both sides take inline. Code of
 * libc's that no hook sees may hold it: when that unlocks, it wakes the kernel's futex, not our queue, so a waiter
 * looks again after a while, 64 ms at most. And it may wait for it, in the kernel.
 *
 * The lock may be recursive: the caller makes itself the owner and then does gmp_enter, gmp_leave, as a handler that
 * was put off meanwhile may want the lock.
 */
void gmp_shared_word_lock_slow(word32 *w);
void gmp_shared_word_unlock_slow(word32 *w); /* the word is not 1 */

/* The calling G is about to use glibc's own code on an owner-storing object: see special objects in mutex.c. */
struct special {
	struct g *gp; /* NULL: not a G, nothing to do */
	int old_tid;
};

struct special gmp_special_begin(int owner, bool robust);
void gmp_special_end(struct special *s, bool keep_locked);

/* A wait that is no cancellation point ended with PARK_INTR or -EINTR; handlers have run. Not inside gmp_enter(). */
void gmp_lock_interrupted(void);

/*
 * Whether a waiter should spin before it parks: as Go's runtime_canSpin, only while another P runs and nothing waits
 * for this one. Then call arch_pause() lock_spin_pauses(round) times and look again, for LOCK_SPIN_ROUNDS rounds.
 */
bool gmp_lock_may_spin(void);

#define LOCK_SPIN_ROUNDS 7

static inline void lock_spin(int round)
{
	for (int i = 0; i < 1 << round; i++)
		arch_pause();
}

/* --- once.c --- */
int gmp_once(pthread_once_t *control, void (*init_routine)(void));
