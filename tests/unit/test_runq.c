// SPDX-License-Identifier: MIT
/* core/runq.c on Ps that no M runs, after the tests of Go's runtime/proc_test.go and proc_runtime_test.go. */
#include <sched.h>
#include <stdlib.h>

#include "common.h"

/* Where head and tail begin: also where the ring and the 32-bit counters wrap. */
static const uint32_t starts[] = {0, 200, UINT32_MAX - 100};

#define NSTARTS (int)(sizeof(starts) / sizeof(starts[0]))

static void set_start(struct p *pp, uint32_t at)
{
	pp->runqhead = pp->runqtail = at;
}

/* The calling thread to the first or the last CPU it may use: two threads that race must run at the same time. */
static void pin(bool last)
{
	cpu_set_t all, one;
	int cpu = -1;

	if (sched_getaffinity(0, sizeof(all), &all) != 0)
		return;
	for (int i = 0; i < CPU_SETSIZE && (last || cpu < 0); i++)
		if (CPU_ISSET(i, &all))
			cpu = i;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static uint32_t ring_size(struct p *pp)
{
	return pp->runqtail - pp->runqhead;
}

/* RunSchedLocalQueueTest: what is put comes out, in order, and nothing else. */
START_TEST(local_queue)
{
	struct g *gs = ut_fake_gs(RUNQ_SIZE);
	struct p *pp = ut_fake_p();

	ut_host();
	set_start(pp, starts[_i]);
	for (uint32_t n = 0; n <= RUNQ_SIZE; n++) {
		bool inherit = true;

		ck_assert(gmp_runqempty(pp));
		ck_assert_ptr_null(gmp_runqget(pp, &inherit));
		for (uint32_t i = 0; i < n; i++)
			gmp_runqput(pp, &gs[i], false);
		ck_assert(n == 0 || !gmp_runqempty(pp));
		for (uint32_t i = 0; i < n; i++) {
			inherit = true;
			UT_ASSERT(gmp_runqget(pp, &inherit) == &gs[i]);
			UT_ASSERT(!inherit);
		}
		ck_assert_ptr_null(gmp_runqget(pp, &inherit));
		ck_assert_int_eq(sched.runqsize, 0);
	}
}
END_TEST

/* runnext comes first and inherits the time slice; what it displaces goes to the tail. */
START_TEST(runnext)
{
	struct g *gs = ut_fake_gs(4);
	struct p *pp = ut_fake_p();
	bool inherit = false;

	ut_host();
	gmp_runqput(pp, &gs[0], false);
	gmp_runqput(pp, &gs[1], true);
	ck_assert_ptr_eq(pp->runnext, &gs[1]);
	ck_assert_uint_eq(ring_size(pp), 1);
	gmp_runqput(pp, &gs[2], true);
	ck_assert_ptr_eq(pp->runnext, &gs[2]);
	ck_assert_uint_eq(ring_size(pp), 2);

	ck_assert_ptr_eq(gmp_runqget(pp, &inherit), &gs[2]);
	ck_assert(inherit);
	ck_assert_ptr_eq(gmp_runqget(pp, &inherit), &gs[0]);
	ck_assert(!inherit);
	ck_assert_ptr_eq(gmp_runqget(pp, &inherit), &gs[1]);
	ck_assert(!inherit);
	ck_assert_ptr_null(gmp_runqget(pp, &inherit));

	gmp_runqput(pp, &gs[3], true);
	ck_assert(!gmp_runqempty(pp));
	ck_assert_ptr_eq(gmp_runqget(pp, &inherit), &gs[3]);
	ck_assert(gmp_runqempty(pp));
}
END_TEST

/* RunSchedLocalQueueStealTest: the larger half goes over; nothing is lost, nothing is there twice. */
START_TEST(steal)
{
	struct g *gs = ut_fake_gs(RUNQ_SIZE), *gp;
	struct p *from = ut_fake_p(), *to = ut_fake_p();
	bool inherit;

	ut_host();
	set_start(from, starts[_i / NSTARTS]);
	set_start(to, starts[_i % NSTARTS]);
	for (uint32_t n = 0; n <= RUNQ_SIZE; n++) {
		uint32_t stolen = 0, kept = 0;

		for (uint32_t i = 0; i < n; i++) {
			gs[i].goid = 0;
			gmp_runqput(from, &gs[i], false);
		}
		gp = gmp_runqsteal(to, from, false);
		ck_assert((gp != NULL) == (n > 0));
		for (; gp != NULL; gp = gmp_runqget(to, &inherit)) {
			gp->goid++;
			stolen++;
		}
		while ((gp = gmp_runqget(from, &inherit)) != NULL) {
			gp->goid++;
			kept++;
		}
		ck_assert_uint_eq(stolen, n - n / 2);
		ck_assert_uint_eq(kept, n / 2);
		for (uint32_t i = 0; i < n; i++)
			UT_ASSERT(gs[i].goid == 1);
	}
}
END_TEST

/* runnext is stolen only on demand, and only when the ring is empty. */
START_TEST(steal_runnext)
{
	struct g *gs = ut_fake_gs(2);
	struct p *from = ut_fake_p(), *to = ut_fake_p();

	ut_host();
	gmp_runqput(from, &gs[0], true);
	ck_assert_ptr_null(gmp_runqsteal(to, from, false));
	ck_assert_ptr_eq(from->runnext, &gs[0]);
	gmp_runqput(from, &gs[1], false);
	ck_assert_ptr_eq(gmp_runqsteal(to, from, true), &gs[1]);
	ck_assert_ptr_eq(from->runnext, &gs[0]);
	ck_assert_ptr_eq(gmp_runqsteal(to, from, true), &gs[0]);
	ck_assert_ptr_null(from->runnext);
	ck_assert_ptr_null(gmp_runqsteal(to, from, true));
	ck_assert(gmp_runqempty(from));
	ck_assert(gmp_runqempty(to));
}
END_TEST

/* The 257th put moves half of the ring and itself to the global queue, in order. */
START_TEST(overflow)
{
	struct g *gs = ut_fake_gs(RUNQ_SIZE + 1), *gp;
	struct p *pp = ut_fake_p();
	bool inherit;

	ut_host();
	set_start(pp, starts[_i]);
	for (uint32_t i = 0; i < RUNQ_SIZE; i++)
		gmp_runqput(pp, &gs[i], false);
	ck_assert_int_eq(sched.runqsize, 0);
	gmp_runqput(pp, &gs[RUNQ_SIZE], false);
	ck_assert_int_eq(sched.runqsize, RUNQ_SIZE / 2 + 1);
	ck_assert_uint_eq(ring_size(pp), RUNQ_SIZE / 2);

	gp = sched.runqhead;
	for (uint32_t i = 0; i < RUNQ_SIZE / 2; i++, gp = gp->schedlink)
		ck_assert_ptr_eq(gp, &gs[i]);
	ck_assert_ptr_eq(gp, &gs[RUNQ_SIZE]);
	ck_assert_ptr_null(gp->schedlink);
	ck_assert_ptr_eq(sched.runqtail, gp);
	for (uint32_t i = RUNQ_SIZE / 2; i < RUNQ_SIZE; i++)
		ck_assert_ptr_eq(gmp_runqget(pp, &inherit), &gs[i]);
	ck_assert(gmp_runqempty(pp));
}
END_TEST

/* A P takes its share of the global queue: size / GOMAXPROCS + 1, at most max, at most half a ring. */
START_TEST(global_share)
{
	static const struct {
		int procs, size, max, want;
	} rows[] = {
		{1, 1, 0, 1},	 {1, 10, 0, 10},    {4, 100, 0, 26}, {4, 3, 0, 1},
		{4, 100, 1, 1}, {4, 100, 5, 5},	    {4, 100, 50, 26}, {1, 1000, 0, (int)RUNQ_SIZE / 2},
		{2, 300, 0, (int)RUNQ_SIZE / 2},    {256, 255, 0, 1},
	};
	int size = rows[_i].size, want = rows[_i].want;
	struct g *gs = ut_fake_gs(size);
	struct p *pp = ut_fake_p();
	bool inherit;

	ut_host();
	sched.gomaxprocs = rows[_i].procs;
	gmp_lock(&sched.lock);
	ck_assert_ptr_null(gmp_globrunqget_locked(pp, 0));
	for (int i = 0; i < size; i++)
		gmp_globrunqput_locked(&gs[i]);
	ck_assert_ptr_eq(gmp_globrunqget_locked(pp, rows[_i].max), &gs[0]);
	gmp_unlock(&sched.lock);
	ck_assert_int_eq(sched.runqsize, size - want);
	ck_assert_uint_eq(ring_size(pp), (uint32_t)want - 1);
	for (int i = 1; i < want; i++)
		ck_assert_ptr_eq(gmp_runqget(pp, &inherit), &gs[i]);

	/* The rest is still whole, and the queue still works when it has been empty. */
	gmp_lock(&sched.lock);
	for (int i = want; i < size; i++)
		ck_assert_ptr_eq(gmp_globrunqget_locked(pp, 1), &gs[i]);
	ck_assert_ptr_null(sched.runqhead);
	ck_assert_ptr_null(sched.runqtail);
	ck_assert_ptr_null(gmp_globrunqget_locked(pp, 1));
	gmp_globrunqput_locked(&gs[0]);
	ck_assert_ptr_eq(gmp_globrunqget_locked(pp, 1), &gs[0]);
	gmp_unlock(&sched.lock);
}
END_TEST

START_TEST(batch)
{
	struct g *gs = ut_fake_gs(300);
	struct p *pp = ut_fake_p();
	bool inherit;

	ut_host();
	for (int i = 0; i < 299; i++)
		gs[i].schedlink = &gs[i + 1];
	gmp_runqput_batch(pp, gs, 100);
	ck_assert_uint_eq(ring_size(pp), 100);
	for (int i = 0; i < 100; i++)
		ck_assert_ptr_eq(gmp_runqget(pp, &inherit), &gs[i]);
	gmp_runqput_batch(pp, &gs[0], 300); /* overflows on the way */
	ck_assert_uint_eq(ring_size(pp) + (uint32_t)sched.runqsize, 300);
}
END_TEST

/*
 * RunSchedLocalQueueEmptyTest: a queue that always holds at least one G never looks empty, while its owner moves Gs
 * from runnext to the ring and takes them.
 */
#define EMPTY_ROUNDS 200000u

static struct {
	struct p *pp;
	_Atomic(uint32_t) go, done __attribute__((aligned(64)));
	_Atomic(uint32_t) seen_empty;
	_Atomic(uint64_t) looks;
} em;

static void *empty_watcher(void *arg)
{
	pin(true);
	for (uint32_t i = 1; i <= EMPTY_ROUNDS; i++) {
		ut_spin_until(&em.go, i - 1);
		if (gmp_runqempty(em.pp))
			atomic_fetch_add(&em.seen_empty, 1);
		atomic_store(&em.done, i);
	}
	return arg;
}

START_TEST(never_empty)
{
	struct g *gs = ut_fake_gs(2);
	pthread_t th;
	bool inherit;

	ut_host();
	em.pp = ut_fake_p();
	th = ut_thread(empty_watcher, NULL);
	pin(false);
	for (uint32_t i = 1; i <= EMPTY_ROUNDS; i++) {
		gmp_runqput(em.pp, &gs[0], i & 1);
		atomic_store(&em.go, i);
		for (uint32_t j = ut_rand(16); j > 0; j--) /* meet the watcher at different points */
			atomic_signal_fence(memory_order_seq_cst);
		gmp_runqput(em.pp, &gs[1], i & 2);
		UT_ASSERT(gmp_runqget(em.pp, &inherit) != NULL);
		ut_spin_until(&em.done, i - 1);
		UT_ASSERT(gmp_runqget(em.pp, &inherit) != NULL);
	}
	ut_join(th);
	ck_assert_uint_eq(em.seen_empty, 0);
}
END_TEST

/*
 * The same without a rendezvous, which finds smaller windows: the owner goes round and round these states, none of
 * which is empty, and the watcher looks all the time.
 *
 *	ring -, runnext a  ->  put b as next  ->  ring a, runnext b  ->  get  ->  ring a, runnext -
 *	->  put c as next  ->  ring a, runnext c  ->  steal from the ring  ->  ring -, runnext c
 */
#ifdef __SANITIZE_THREAD__
#define CYCLES 1000000u
#else
#define CYCLES 10000000u
#endif

static void *cycle_watcher(void *arg)
{
	uint64_t n = 0;

	pin(true);
	while (!atomic_load_explicit(&em.done, memory_order_relaxed)) {
		if (gmp_runqempty(em.pp))
			atomic_fetch_add(&em.seen_empty, 1);
		atomic_store_explicit(&em.looks, ++n, memory_order_relaxed);
	}
	return arg;
}

START_TEST(never_empty_cycle)
{
	struct g *gs = ut_fake_gs(3);
	struct p *thief_p = ut_fake_p();
	pthread_t th;
	bool inherit;

	ut_host();
	em.pp = ut_fake_p();
	gmp_runqput(em.pp, &gs[0], true);
	th = ut_thread(cycle_watcher, NULL);
	pin(false);
	for (uint32_t i = 0; i < CYCLES || atomic_load_explicit(&em.looks, memory_order_relaxed) < CYCLES; i++) {
		struct g *a = &gs[i % 2 ? 2 : 0], *b = &gs[1], *c = &gs[i % 2 ? 0 : 2];

		gmp_runqput(em.pp, b, true);
		UT_ASSERT(gmp_runqget(em.pp, &inherit) == b);
		gmp_runqput(em.pp, c, true);
		UT_ASSERT(gmp_runqsteal(thief_p, em.pp, false) == a);
	}
	atomic_store(&em.done, 1);
	ut_join(th);
	ck_assert_uint_eq(em.seen_empty, 0);
}
END_TEST

/*
 * One owner that puts and gets, and three thieves, on few Gs that come back again and again. state is 1 from before a
 * put until a get: a G obtained twice, or torn out of two queues, is seen at once, and the counts tell of a lost one.
 */
#define ITEMS 1000000u
#define STEALS 50000 /* and at least as many as this, however few CPUs there are */
#define POOL 2048
#define THIEVES 3

static struct {
	struct p *pp;
	struct g *gs;
	_Atomic(uint32_t) state[POOL];
	_Atomic(long) taken, twice, stolen;
	_Atomic(uint32_t) finished;
} cc;

static void take(struct g *gp)
{
	if (atomic_exchange(&cc.state[gp - cc.gs], 0) != 1)
		atomic_fetch_add(&cc.twice, 1);
	atomic_fetch_add(&cc.taken, 1);
}

static void *thief(void *arg)
{
	struct p *pp = ut_fake_p();
	struct g *gp;
	bool inherit;

	pin(true);
	for (uint32_t i = 0; !atomic_load(&cc.finished); i++) {
		gp = gmp_runqsteal(pp, cc.pp, i & 1);
		if (gp == NULL) {
			gmp_lock(&sched.lock);
			gp = gmp_globrunqget_locked(pp, 4);
			gmp_unlock(&sched.lock);
		} else {
			atomic_fetch_add(&cc.stolen, 1);
		}
		for (; gp != NULL; gp = gmp_runqget(pp, &inherit))
			take(gp);
		if (i % 64 == 0)
			sys_yield();
	}
	return arg;
}

START_TEST(thieves)
{
	pthread_t th[THIEVES];
	uint32_t put = 0;
	struct g *gp;
	bool inherit;

	ut_host();
	sched.gomaxprocs = 4;
	cc.pp = ut_fake_p();
	cc.gs = ut_fake_gs(POOL);
	for (int i = 0; i < THIEVES; i++)
		th[i] = ut_thread(thief, NULL);
	pin(false);
	for (uint32_t at = 0; put < ITEMS || atomic_load(&cc.stolen) < STEALS; at = (at + 1) % POOL) {
		if (atomic_load(&cc.state[at]) != 0) {
			gp = gmp_runqget(cc.pp, &inherit);
			if (gp != NULL)
				take(gp);
			continue;
		}
		atomic_store(&cc.state[at], 1);
		gmp_runqput(cc.pp, &cc.gs[at], put++ % 3 == 0);
	}
	while ((gp = gmp_runqget(cc.pp, &inherit)) != NULL)
		take(gp);
	while (atomic_load(&sched.runqsize) > 0) /* the thieves are still at it */
		sys_yield();
	for (int i = 0; i < 1000 && atomic_load(&cc.taken) < put; i++)
		sys_nanosleep(1000000);
	atomic_store(&cc.finished, 1);
	for (int i = 0; i < THIEVES; i++)
		ut_join(th[i]);
	ck_assert_int_eq(cc.twice, 0);
	ck_assert_int_eq(cc.taken, put);
	for (int i = 0; i < POOL; i++)
		ck_assert_uint_eq(cc.state[i], 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("runq");

	tcase_add_loop_test(tc, local_queue, 0, NSTARTS);
	tcase_add_test(tc, runnext);
	tcase_add_loop_test(tc, steal, 0, NSTARTS * NSTARTS);
	tcase_add_test(tc, steal_runnext);
	tcase_add_loop_test(tc, overflow, 0, NSTARTS);
	tcase_add_loop_test(tc, global_share, 0, 10);
	tcase_add_test(tc, batch);
	tcase_add_test(tc, never_empty);
	tcase_add_test(tc, never_empty_cycle);
	tcase_add_test(tc, thieves);
	return ut_run(tc, "runq");
}
