// SPDX-License-Identifier: MIT
/*
 * core/sema.c. The queues are looked at with waiters that belong to Gs which are never run; sleeping and waking is
 * done by kernel threads that are no Gs.
 */
#include "core/sema.h"

#include <errno.h>
#include <stdlib.h>

#include "common.h"

#define ANY UINT32_MAX

/* A waiter of a G that seems to be parked. */
struct fake {
	struct sema_waiter w;
	struct g *gp;
};

static struct fake *fakes(int n)
{
	struct fake *f = calloc((size_t)n, sizeof(*f));
	struct g *gs = ut_fake_gs(n);

	ut_host();
	for (int i = 0; i < n; i++) {
		f[i].gp = &gs[i];
		gs[i].status = G_WAITING;
		f[i].w.pk = &gs[i].parker;
		f[i].w.bitset = ANY;
		f[i].w.ticket = gmp_park_prepare(&gs[i].parker);
		gs[i].parker.word = f[i].w.ticket << PARKER_STATE_BITS | PARKER_PARKED;
	}
	return f;
}

static void enqueue(struct fake *f, const void *addr)
{
	struct sema_bucket *b = gmp_sema_lock(addr);

	gmp_sema_enqueue(b, &f->w, addr);
	gmp_sema_unlock(b);
}

/* The queue of addr, both ways, is exactly the waiters f[order[0..n-1]]. */
static void check_queue(const void *addr, struct fake *f, const int *order, int n)
{
	struct sema_bucket *b = gmp_sema_lock(addr);
	struct sema_waiter *w = gmp_sema_first(b, addr), *prev = NULL;

	if (n > 0) {
		ck_assert_ptr_nonnull(w);
		ck_assert_ptr_eq(w->tail, &f[order[n - 1]].w);
	}
	for (int i = 0; i < n; i++, prev = w, w = w->next) {
		ck_assert_ptr_eq(w, &f[order[i]].w);
		ck_assert_ptr_eq(w->prev, prev);
		ck_assert_ptr_eq(w->addr, addr);
		ck_assert(w->queued);
	}
	ck_assert_ptr_null(w);
	gmp_sema_unlock(b);
}

#define QUEUE(addr, f, ...) \
	check_queue(addr, f, (int[]){__VA_ARGS__}, (int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)))
#define EMPTY(addr) check_queue(addr, NULL, NULL, 0)

static struct g *claim(const void *addr, int n, uint32_t bitset, int want)
{
	struct g *list = NULL, **tail = &list;
	struct sema_bucket *b = gmp_sema_lock(addr);

	ck_assert_int_eq(gmp_sema_claim(b, addr, n, bitset, &tail), want);
	gmp_sema_unlock(b);
	return list;
}

START_TEST(fifo)
{
	struct fake *f = fakes(4);
	uint32_t addr = 0;
	struct g *list;

	EMPTY(&addr);
	for (int i = 0; i < 4; i++)
		enqueue(&f[i], &addr);
	QUEUE(&addr, f, 0, 1, 2, 3);
	ck_assert_ptr_null(claim(&addr, 0, ANY, 0));
	list = claim(&addr, 1, ANY, 1);
	ck_assert_ptr_eq(list, f[0].gp);
	ck_assert_ptr_null(list->schedlink);
	ck_assert(!f[0].w.queued);
	QUEUE(&addr, f, 1, 2, 3);
	list = claim(&addr, 2, ANY, 2);
	ck_assert_ptr_eq(list, f[1].gp);
	ck_assert_ptr_eq(list->schedlink, f[2].gp);
	ck_assert_ptr_null(list->schedlink->schedlink);
	QUEUE(&addr, f, 3);
	list = claim(&addr, 100, ANY, 1);
	ck_assert_ptr_eq(list, f[3].gp);
	EMPTY(&addr);
	ck_assert_ptr_null(claim(&addr, 100, ANY, 0));
}
END_TEST

/* Only waiters whose bitset meets the waker's are claimed; the others keep their places. */
START_TEST(bitsets)
{
	struct fake *f = fakes(5);
	uint32_t addr = 0;
	struct g *list;

	for (int i = 0; i < 5; i++) {
		f[i].w.bitset = i % 2 ? 2 : 5;
		enqueue(&f[i], &addr);
	}
	ck_assert_ptr_null(claim(&addr, 10, 8, 0));
	QUEUE(&addr, f, 0, 1, 2, 3, 4);
	list = claim(&addr, 1, 2, 1);
	ck_assert_ptr_eq(list, f[1].gp);
	QUEUE(&addr, f, 0, 2, 3, 4);
	list = claim(&addr, 2, 4, 2);
	ck_assert_ptr_eq(list, f[0].gp);
	ck_assert_ptr_eq(list->schedlink, f[2].gp);
	QUEUE(&addr, f, 3, 4);
	list = claim(&addr, 10, 1, 1);
	ck_assert_ptr_eq(list, f[4].gp);
	QUEUE(&addr, f, 3);
	ck_assert_ptr_eq(claim(&addr, 10, 6, 1), f[3].gp);
	EMPTY(&addr);
}
END_TEST

/* A waiter that something else has woken is dropped from the queue and does not use up the wake-up. */
START_TEST(claim_loser)
{
	struct fake *f = fakes(3);
	uint32_t addr = 0;

	for (int i = 0; i < 3; i++)
		enqueue(&f[i], &addr);
	ck_assert_int_eq(gmp_wake_claim(f[0].w.pk, f[0].w.ticket, PARK_TIMEOUT), 2);
	ck_assert_ptr_eq(claim(&addr, 1, ANY, 1), f[1].gp);
	ck_assert(!f[0].w.queued);
	QUEUE(&addr, f, 2);
	/* One that has not parked yet is claimed, but is not to be made runnable. */
	f[2].gp->parker.word = f[2].w.ticket << PARKER_STATE_BITS | PARKER_PREPARED;
	ck_assert_ptr_null(claim(&addr, 1, ANY, 1));
	EMPTY(&addr);
}
END_TEST

/* Addresses that share a bucket have queues of their own. */
START_TEST(collisions)
{
	enum { WORDS = 1 << 20 };
	uint32_t *words = calloc(WORDS, sizeof(*words)), *same[3] = {words, NULL, NULL};
	struct sema_bucket *want = gmp_sema_lock(words);
	struct fake *f = fakes(9);
	int n = 1;

	gmp_sema_unlock(want);
	for (int i = 1; i < WORDS && n < 3; i++) {
		struct sema_bucket *b = gmp_sema_lock(&words[i]);

		gmp_sema_unlock(b);
		if (b == want)
			same[n++] = &words[i];
	}
	ck_assert_int_eq(n, 3);
	for (int i = 0; i < 9; i++)
		enqueue(&f[i], same[i % 3]);
	QUEUE(same[0], f, 0, 3, 6);
	QUEUE(same[1], f, 1, 4, 7);
	QUEUE(same[2], f, 2, 5, 8);
	ck_assert_ptr_eq(claim(same[1], 1, ANY, 1), f[1].gp); /* the one in the middle of the bucket's list */
	QUEUE(same[0], f, 0, 3, 6);
	QUEUE(same[1], f, 4, 7);
	QUEUE(same[2], f, 2, 5, 8);
	claim(same[1], 9, ANY, 2);
	EMPTY(same[1]);
	claim(same[2], 2, ANY, 2);
	QUEUE(same[0], f, 0, 3, 6);
	QUEUE(same[2], f, 8);
	claim(same[0], 9, ANY, 3);
	EMPTY(same[0]);
	QUEUE(same[2], f, 8);
	claim(same[2], 9, ANY, 1);
	EMPTY(same[2]);
}
END_TEST

/* A wait that times out leaves the queue whole, wherever in it the waiter was. */
START_TEST(timeout_leaves)
{
	struct fake *f = fakes(3);
	struct parker foreign = {0};
	uint32_t addr = 0;

	f[2].w.pk = &foreign; /* the waiter that is this thread */
	for (int i = 0; i < 3; i++) {
		if (i == _i) {
			f[2].w.ticket = gmp_park_prepare(&foreign);
			enqueue(&f[2], &addr);
		}
		if (i < 2)
			enqueue(&f[i], &addr);
	}
	gmp_enter();
	ck_assert_int_eq(gmp_sema_wait(&f[2].w, gmp_nanotime() + 2000000, "test"), PARK_TIMEOUT);
	gmp_leave();
	ck_assert(!f[2].w.queued);
	QUEUE(&addr, f, 0, 1);
	claim(&addr, 9, ANY, 2);
	EMPTY(&addr);
}
END_TEST

START_TEST(futex_wait_returns)
{
	uint32_t addr = 5;
	int64_t begin;

	ut_host();
	ck_assert_int_eq(gmp_futex_wait(&addr, 4, ANY, GMP_NO_DEADLINE, "test"), -EAGAIN);
	begin = gmp_nanotime();
	ck_assert_int_eq(gmp_futex_wait(&addr, 5, ANY, begin + 10000000, "test"), -ETIMEDOUT);
	ck_assert_int_ge(gmp_nanotime() - begin, 10000000);
	ck_assert_int_eq(gmp_futex_wait(&addr, 5, ANY, 1, "test"), -ETIMEDOUT); /* in the past */
	EMPTY(&addr);
	ck_assert_int_eq(ut_wake(&addr, 1), 0);
	ck_assert_uint_eq(gmp_tls.inshim, 0);
}
END_TEST

/* Gs that are woken by a thread without a P go to the global queue, in order. */
START_TEST(wake_readies)
{
	struct fake *f = fakes(3);
	uint32_t addr = 0;

	for (int i = 0; i < 3; i++)
		enqueue(&f[i], &addr);
	ck_assert_int_eq(ut_wake(&addr, 2), 2);
	ck_assert_int_eq(sched.runqsize, 2);
	ck_assert_ptr_eq(sched.runqhead, f[0].gp);
	ck_assert_ptr_eq(sched.runqtail, f[1].gp);
	ck_assert_uint_eq(f[0].gp->status, G_RUNNABLE);
	ck_assert_uint_eq(f[2].gp->status, G_WAITING);
	ck_assert_int_eq(ut_wake(&addr, 2), 1);
	ck_assert_int_eq(ut_wake(&addr, 2), 0);
}
END_TEST

START_TEST(requeue)
{
	struct fake *f = fakes(6);
	uint32_t from = 7, to = 0, cmp = 8;
	int woken = -1;

	for (int i = 0; i < 5; i++)
		enqueue(&f[i], &from);
	enqueue(&f[5], &to);
	ck_assert_int_eq(gmp_futex_requeue(&from, 1, &to, 2, &cmp, &woken), -EAGAIN);
	QUEUE(&from, f, 0, 1, 2, 3, 4);
	QUEUE(&to, f, 5);
	ck_assert_int_eq(sched.runqsize, 0);

	cmp = 7;
	ck_assert_int_eq(gmp_futex_requeue(&from, 1, &to, 2, &cmp, &woken), 3);
	ck_assert_int_eq(woken, 1);
	ck_assert_ptr_eq(sched.runqhead, f[0].gp);
	ck_assert_int_eq(sched.runqsize, 1);
	QUEUE(&from, f, 3, 4);
	QUEUE(&to, f, 5, 1, 2);

	/* without a comparison; more than there are */
	ck_assert_int_eq(gmp_futex_requeue(&from, 0, &to, INT32_MAX, NULL, &woken), 2);
	ck_assert_int_eq(woken, 0);
	EMPTY(&from);
	QUEUE(&to, f, 5, 1, 2, 3, 4);

	/* onto itself: nothing moves */
	ck_assert_int_eq(gmp_futex_requeue(&to, 2, &to, 2, NULL, &woken), 2);
	ck_assert_int_eq(woken, 2);
	QUEUE(&to, f, 2, 3, 4);
	ck_assert_int_eq(gmp_futex_requeue(&from, 1, &to, 1, NULL, &woken), 0);
	ck_assert_uint_eq(gmp_tls.inshim, 0);
}
END_TEST

/* --- kernel threads --- */

/* A waiter that was moved is woken at its new address, or times out from there. */
static uint32_t rq_from, rq_to;
static _Atomic(int) rq_results[2];

static void *moved_waiter(void *arg)
{
	bool timed = arg != NULL;
	int64_t deadline = timed ? gmp_nanotime() + 300000000 : GMP_NO_DEADLINE;

	rq_results[timed] = 1 + gmp_futex_wait(&rq_from, 0, ANY, deadline, "test");
	return NULL;
}

static int count_queued(const void *addr)
{
	struct sema_bucket *b = gmp_sema_lock(addr);
	int n = 0;

	for (struct sema_waiter *w = gmp_sema_first(b, addr); w != NULL; w = w->next)
		n++;
	gmp_sema_unlock(b);
	return n;
}

START_TEST(requeue_threads)
{
	pthread_t plain, timed;
	int woken;

	ut_host();
	timed = ut_thread(moved_waiter, &rq_to);
	while (count_queued(&rq_from) < 1)
		sys_yield();
	plain = ut_thread(moved_waiter, NULL);
	while (count_queued(&rq_from) < 2)
		sys_yield();
	ck_assert_int_eq(gmp_futex_requeue(&rq_from, 0, &rq_to, 2, NULL, &woken), 2);
	ck_assert_int_eq(ut_wake(&rq_from, 2), 0);
	ut_join(timed);
	ck_assert_int_eq(rq_results[1], 1 - ETIMEDOUT);
	ck_assert_int_eq(rq_results[0], 0);
	ck_assert_int_eq(count_queued(&rq_to), 1);
	ck_assert_int_eq(ut_wake(&rq_to, 2), 1);
	ut_join(plain);
	ck_assert_int_eq(rq_results[0], 1);
	EMPTY(&rq_to);
}
END_TEST

#define PING_ROUNDS 100000u

static _Atomic(uint32_t) ping_turn;

static void ping_side(uint32_t me)
{
	for (uint32_t i = me; i < 2 * PING_ROUNDS; i += 2) {
		uint32_t v;

		while ((v = atomic_load(&ping_turn)) != i)
			gmp_futex_wait((const uint32_t *)&ping_turn, v, ANY, GMP_NO_DEADLINE, "test");
		atomic_store(&ping_turn, i + 1);
		ut_wake(&ping_turn, 1);
	}
}

static void *ping_partner(void *arg)
{
	ping_side(1);
	return arg;
}

START_TEST(ping_pong)
{
	pthread_t th;

	ut_host();
	th = ut_thread(ping_partner, NULL);
	ping_side(0);
	ut_join(th);
	ck_assert_uint_eq(ping_turn, 2 * PING_ROUNDS);
	EMPTY(&ping_turn);
}
END_TEST

/* wake(n) wakes n of them, no more and no less. */
#define SLEEPERS 6

static uint32_t wc_word;
static _Atomic(uint32_t) wc_awake;

static void *wc_sleeper(void *arg)
{
	if (gmp_futex_wait(&wc_word, 0, ANY, GMP_NO_DEADLINE, "test") == 0)
		atomic_fetch_add(&wc_awake, 1);
	return arg;
}

START_TEST(wake_counts)
{
	pthread_t th[SLEEPERS];

	ut_host();
	for (int i = 0; i < SLEEPERS; i++)
		th[i] = ut_thread(wc_sleeper, NULL);
	while (count_queued(&wc_word) < SLEEPERS)
		sys_yield();
	ck_assert_int_eq(ut_wake(&wc_word, 2), 2);
	while (atomic_load(&wc_awake) < 2)
		sys_yield();
	sys_nanosleep(5000000);
	ck_assert_uint_eq(wc_awake, 2);
	ck_assert_int_eq(count_queued(&wc_word), SLEEPERS - 2);
	ck_assert_int_eq(ut_wake(&wc_word, INT32_MAX), SLEEPERS - 2);
	for (int i = 0; i < SLEEPERS; i++)
		ut_join(th[i]);
	ck_assert_uint_eq(wc_awake, SLEEPERS);
	ck_assert_int_eq(ut_wake(&wc_word, 1), 0);
}
END_TEST

/*
 * A counting semaphore with four takers and three givers; some takers time out now and then. A lost wake-up shows as a
 * taker that sleeps though there are tokens: then the test hangs and check ends it.
 */
#define GIVERS 3
#define TAKERS 4
#define TOKENS_EACH 120000u

static _Atomic(uint32_t) tokens, got;

static void *taker(void *arg)
{
	bool timed = arg != NULL;

	while (atomic_load(&got) < GIVERS * TOKENS_EACH) {
		uint32_t v = atomic_load(&tokens);

		if (v == UINT32_MAX)
			break; /* no token: the end came since the look at `got` */
		if (v > 0) {
			if (atomic_compare_exchange_strong(&tokens, &v, v - 1) &&
			    atomic_fetch_add(&got, 1) + 1 == GIVERS * TOKENS_EACH) {
				atomic_store(&tokens, UINT32_MAX); /* the end: let all go */
				ut_wake(&tokens, INT32_MAX);
			}
			continue;
		}
		gmp_futex_wait((const uint32_t *)&tokens, 0, ANY, timed ? gmp_nanotime() + 20000 : GMP_NO_DEADLINE,
			       "test");
	}
	return NULL;
}

static void *giver(void *arg)
{
	for (uint32_t i = 0; i < TOKENS_EACH; i++) {
		atomic_fetch_add(&tokens, 1);
		ut_wake(&tokens, 1);
	}
	return arg;
}

START_TEST(no_lost_wakeup)
{
	pthread_t th[GIVERS + TAKERS];

	ut_host();
	for (int i = 0; i < TAKERS; i++)
		th[i] = ut_thread(taker, _i != 0 && i % 2 ? th : NULL);
	for (int i = 0; i < GIVERS; i++)
		th[TAKERS + i] = ut_thread(giver, NULL);
	for (int i = 0; i < GIVERS + TAKERS; i++)
		ut_join(th[i]);
	ck_assert_uint_eq(got, GIVERS * TOKENS_EACH);
	EMPTY(&tokens);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("sema");

	tcase_add_test(tc, fifo);
	tcase_add_test(tc, bitsets);
	tcase_add_test(tc, claim_loser);
	tcase_add_test(tc, collisions);
	tcase_add_loop_test(tc, timeout_leaves, 0, 3);
	tcase_add_test(tc, futex_wait_returns);
	tcase_add_test(tc, wake_readies);
	tcase_add_test(tc, requeue);
	tcase_add_test(tc, requeue_threads);
	tcase_add_test(tc, ping_pong);
	tcase_add_test(tc, wake_counts);
	tcase_add_loop_test(tc, no_lost_wakeup, 0, 2);
	return ut_run(tc, "sema");
}
