// SPDX-License-Identifier: MIT
/* core/timer.c: the heap against a plain array, and what firing does to the Gs. */
#include <stdlib.h>

#include "common.h"

static struct m fake_m;
static struct p *pp;

/* n Gs that seem to run on pp. */
static struct g *setup(int n)
{
	struct g *gs = ut_fake_gs(n);

	ut_host();
	pp = ut_fake_p();
	fake_m.p = pp;
	for (int i = 0; i < n; i++)
		gs[i].m = &fake_m;
	return gs;
}

static void park(struct g *gp, uint64_t ticket)
{
	gp->parker.word = ticket << PARKER_STATE_BITS | PARKER_PARKED;
}

static uint64_t parker_state(struct g *gp)
{
	return gp->parker.word & ((1 << PARKER_STATE_BITS) - 1);
}

static void check_heap(void)
{
	for (uint32_t i = 0; i < pp->ntimers; i++) {
		UT_ASSERT(pp->timers[i].gp->timer.index == i);
		UT_ASSERT(pp->timers[i].gp->timer.pp == pp);
		UT_ASSERT(i == 0 || pp->timers[(i - 1) / 4].when <= pp->timers[i].when);
	}
}

#define NGS 1500 /* more than the first heap holds */

/* Random adds, deletes and fires; the array of deadlines is the reference, 0 = not in the heap. */
START_TEST(random_ops)
{
	static int64_t when[NGS];
	struct g *gs = setup(NGS);
	int64_t now = 1000;

	for (int op = 0; op < 20000; op++) {
		int i = (int)ut_rand(NGS);
		uint32_t count = 0;
		int64_t first = 0;

		if (op % 97 == 0) {
			struct g *list = NULL;
			int64_t next;
			int fired = 0, due = 0;

			now += ut_rand(300);
			next = gmp_timers_fire(pp, now, &list);
			for (; list != NULL; list = list->schedlink, fired++) {
				UT_ASSERT(when[list - gs] > 0);
				UT_ASSERT(when[list - gs] <= now);
				UT_ASSERT(list->timer.pp == NULL);
				UT_ASSERT(parker_state(list) == PARKER_WOKEN + PARK_TIMEOUT);
			}
			for (int k = 0; k < NGS; k++)
				if (when[k] != 0 && when[k] <= now) {
					when[k] = 0;
					due++;
				}
			ck_assert_int_eq(fired, due);
			ck_assert_int_eq(next, pp->timer0_when);
		} else if (when[i] == 0) {
			when[i] = now + 1 + ut_rand(10000); /* with ties */
			park(&gs[i], (uint64_t)op);
			gmp_timer_add(&gs[i], when[i], (uint64_t)op);
		} else if (op % 3 == 0) {
			when[i] = 0;
			gmp_timer_del(&gs[i]);
			ck_assert_ptr_null(gs[i].timer.pp);
		}
		for (int k = 0; k < NGS; k++)
			if (when[k] != 0) {
				count++;
				if (first == 0 || when[k] < first)
					first = when[k];
			}
		UT_ASSERT(pp->ntimers == count);
		UT_ASSERT(pp->timer0_when == first);
		if (op % 16 == 0)
			check_heap();
	}
}
END_TEST

/* Only what is due fires, and the next deadline is told. */
START_TEST(due_only)
{
	struct g *gs = setup(3), *list = NULL;

	for (int i = 0; i < 3; i++) {
		park(&gs[i], 1);
		gmp_timer_add(&gs[i], 100 * (i + 1), 1);
	}
	ck_assert_int_eq(gmp_timers_fire(pp, 99, &list), 100);
	ck_assert_ptr_null(list);
	ck_assert_int_eq(gmp_timers_fire(pp, 100, &list), 200);
	ck_assert_ptr_eq(list, &gs[0]);
	ck_assert_ptr_null(list->schedlink);
	list = NULL;
	ck_assert_int_eq(gmp_timers_fire(pp, 1000, &list), 0);
	ck_assert_int_eq(pp->timer0_when, 0);
	ck_assert_uint_eq(pp->ntimers, 0);
	ck_assert_ptr_eq(list, &gs[1]); /* in the order of their deadlines */
	ck_assert_ptr_eq(list->schedlink, &gs[2]);
	ck_assert_ptr_null(list->schedlink->schedlink);
	ck_assert_int_eq(gmp_timers_fire(pp, 2000, &list), 0);
}
END_TEST

/* Due together: in order of deadline; equal deadlines in order of creation, whatever was deleted in between. */
START_TEST(order)
{
	enum { N = 500 };
	struct g *gs = setup(N), *list = NULL;
	int64_t last = 0;
	int n = 0, kept = 0;

	for (int i = 0; i < N; i++) {
		park(&gs[i], 1);
		gmp_timer_add(&gs[i], 100 + (int64_t)ut_rand(4), 1);
	}
	for (int i = 0; i < N; i += 1 + (int)ut_rand(9))
		gmp_timer_del(&gs[i]);
	for (int i = 0; i < N; i++)
		kept += gs[i].timer.pp != NULL;
	gmp_timers_fire(pp, 200, &list);
	for (struct g *gp = list; gp != NULL; last = gp->timer.when, gp = gp->schedlink, n++) {
		ck_assert_int_ge(gp->timer.when, last);
		if (gp->schedlink != NULL && gp->schedlink->timer.when == gp->timer.when)
			ck_assert(gp < gp->schedlink);
	}
	ck_assert_int_eq(n, kept);
}
END_TEST

/* A timer wakes by ticket: one of an older wait does nothing, one before the park leaves its result. */
START_TEST(tickets)
{
	struct g *gs = setup(2), *list = NULL;
	uint64_t t;

	park(&gs[0], 5);
	gmp_timer_add(&gs[0], 10, 4);
	t = gmp_park_prepare(&gs[1].parker);
	gmp_timer_add(&gs[1], 10, t);
	gmp_timers_fire(pp, 10, &list);
	ck_assert_ptr_null(list);
	ck_assert_uint_eq(parker_state(&gs[0]), PARKER_PARKED);
	ck_assert_uint_eq(parker_state(&gs[1]), PARKER_WOKEN + PARK_TIMEOUT);
	ck_assert_uint_eq(pp->ntimers, 0);
}
END_TEST

START_TEST(delete_absent)
{
	struct g *gs = setup(2), *list = NULL;

	gmp_timer_del(&gs[0]); /* never added */
	park(&gs[1], 1);
	gmp_timer_add(&gs[1], 10, 1);
	gmp_timer_del(&gs[0]);
	ck_assert_uint_eq(pp->ntimers, 1);
	gmp_timers_fire(pp, 10, &list);
	gmp_timer_del(&gs[1]); /* fired */
	gmp_timer_add(&gs[1], 20, 1);
	gmp_timer_del(&gs[1]);
	gmp_timer_del(&gs[1]); /* twice */
	ck_assert_uint_eq(pp->ntimers, 0);
	ck_assert_int_eq(pp->timer0_when, 0);
}
END_TEST

static int64_t clock_offset; /* of the real-time clock, to the monotonic one */

static int fake_clock(int clock, int64_t ts[2])
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	ts[0] = now.tv_sec + (clock == CLOCK_REALTIME ? clock_offset / NSEC_PER_SEC : 0);
	ts[1] = now.tv_nsec;
	return 0;
}

/* The real-time clock is set: its deadlines move, the monotonic ones stay, and the heap is one again. */
START_TEST(clock_set)
{
	enum { N = 900 };
	struct g *gs = setup(N), *list = NULL;
	int64_t hour = 3600 * INT64_C(1000000000), now;
	int fired = 0;

	sched.allp[0] = pp;
	sched.nallp = 1;
	gmp_host.clock_gettime = fake_clock;
	clock_offset = 500000 * hour;
	now = gmp_nanotime();
	for (int i = 0; i < N; i++) {
		int64_t in = 2 * hour + (int64_t)ut_rand(NSEC_PER_SEC);

		park(&gs[i], 1);
		gmp_timer_add(&gs[i], i % 3 == 0 ? -(now + clock_offset + in) : now + in, 1);
		UT_ASSERT(gs[i].timer.when >= now + 2 * hour && gs[i].timer.when < now + 3 * hour);
	}
	clock_offset += hour;
	gmp_timers_clock_set();
	check_heap();
	for (int i = 0; i < N; i++)
		UT_ASSERT((gs[i].timer.when < now + 2 * hour) == (i % 3 == 0));
	clock_offset -= 2 * hour; /* back, and more */
	gmp_timers_clock_set();
	check_heap();
	for (int i = 0; i < N; i++)
		UT_ASSERT((gs[i].timer.when > now + 3 * hour - NSEC_PER_SEC / 2) == (i % 3 == 0));
	clock_offset += 5 * hour;
	gmp_timers_clock_set();
	gmp_timers_fire(pp, gmp_nanotime(), &list);
	for (; list != NULL; list = list->schedlink, fired++)
		UT_ASSERT((list - gs) % 3 == 0);
	ck_assert_int_eq(fired, N / 3);
	check_heap();
}
END_TEST

/* A timer is deleted from the heap it is in, wherever its G runs by then; a deadline in the past is not "none". */
START_TEST(other_p)
{
	struct g *gs = setup(3);
	struct p *other = ut_fake_p();

	gmp_timer_add(&gs[0], 50, 1);
	fake_m.p = other;
	gmp_timer_add(&gs[1], 30, 1);
	gmp_timer_add(&gs[2], -5, 1);
	ck_assert_int_eq(pp->timer0_when, 50);
	ck_assert_int_eq(other->timer0_when, 1);

	sched.gomaxprocs = sched.nallp = 2;
	sched.allp[0] = pp;
	sched.allp[1] = other;
	ck_assert_int_eq(gmp_timers_next(0), 1);
	gmp_timer_del(&gs[2]);
	ck_assert_int_eq(gmp_timers_next(0), 30);
	ck_assert_int_eq(gmp_timers_next(20), 20);
	ck_assert_int_eq(gmp_timers_next(40), 30);
	gmp_timer_del(&gs[0]);
	ck_assert_int_eq(pp->timer0_when, 0);
	ck_assert_int_eq(gmp_timers_next(0), 30);
	gmp_timer_del(&gs[1]);
	ck_assert_int_eq(gmp_timers_next(0), 0);
	ck_assert_int_eq(gmp_timers_next(7), 7);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("timer");

	tcase_add_test(tc, random_ops);
	tcase_add_test(tc, due_only);
	tcase_add_test(tc, order);
	tcase_add_test(tc, tickets);
	tcase_add_test(tc, clock_set);
	tcase_add_test(tc, delete_absent);
	tcase_add_test(tc, other_p);
	return ut_run(tc, "timer");
}
