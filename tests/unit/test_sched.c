// SPDX-License-Identifier: MIT
/*
 * The whole scheduler on Gs with real TLS blocks, without preload. The test function is the main G; what a G finds is
 * counted and judged there, since check may only be called from one place at a time.
 */
#include <errno.h>
#include <fenv.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"
#include "core/log.h"
#include "core/sema.h"

#define ANY UINT32_MAX

static __thread volatile int own_var = 42;
static _Atomic(long) bad, count;
static _Atomic(uint32_t) in_call, others_ran;

/* Use the CPU for ns without giving it up. */
static void burn(int64_t ns)
{
	int64_t end = gmp_nanotime() + ns;

	while (gmp_nanotime() < end)
		arch_pause();
}

/* The sum of one counter of struct pstat. */
static uint64_t total(size_t offset)
{
	uint64_t n = 0;

	for (int i = 0; i < sched.gomaxprocs; i++)
		n += *(uint64_t *)((char *)&sched.allp[i]->stat + offset);
	return n;
}

/* --- many Gs --- */

#define MANY   10000
#define YIELDS 10

static void yielder(void *arg)
{
	struct g *self = getg();
	int base = (int)(intptr_t)arg;

	if (own_var != 42 || self == NULL || self->status != G_RUNNING || self->m->curg != self)
		atomic_fetch_add(&bad, 1);
	own_var = base;
	for (int i = 0; i < YIELDS; i++) {
		ut_yield();
		if (getg() != self || own_var != base + i || self->m->curg != self)
			atomic_fetch_add(&bad, 1);
		own_var = own_var + 1;
	}
	atomic_fetch_add(&count, YIELDS);
}

START_TEST(many)
{
	ut_boot(1 << _i);
	for (int i = 0; i < MANY; i++)
		ut_go(yielder, (void *)(intptr_t)i);
	ut_wait_all();
	ck_assert_int_eq(bad, 0);
	ck_assert_int_eq(count, (long)MANY * YIELDS);
	ck_assert_uint_eq(total(offsetof(struct pstat, created)), MANY);
	/* the Ms are few: M:N, not one for each */
	ck_assert_int_lt(sched.mcount, 17);
	/* a second wave lives in the slots of the first */
	for (int i = 0; i < MANY; i++)
		ut_go(yielder, (void *)(intptr_t)i);
	ut_wait_all();
	ck_assert_int_eq(bad, 0);
	ck_assert_int_eq(count, 2L * MANY * YIELDS);
	ck_assert_ptr_eq(getg(), sched.maing);
}
END_TEST

/* --- sharing a P while peers answer at once --- */

static _Atomic(int) other_ran;

static void other(void *arg)
{
	atomic_store(&other_ran, 1);
}

/* Without preemption, and with no call that parks: only gmp_io_share lets the other run. */
static void receiver(void *arg)
{
	int64_t end = gmp_nanotime() + 10 * NSEC_PER_SEC;
	long calls = 0;

	ut_go(other, NULL);
	while (!atomic_load(&other_ran) && gmp_nanotime() < end) {
		gmp_io_share();
		calls++;
	}
	if (!atomic_load(&other_ran) || calls < 2) /* not at the first call: it has only just begun */
		atomic_fetch_add(&bad, 1);
}

/* An event loop does not yield. */
static void event_loop(void *arg)
{
	atomic_store(&other_ran, 0);
	getg()->unparked_since = INT64_MAX;
	ut_go(other, NULL);
	for (int64_t end = gmp_nanotime() + 2000000; gmp_nanotime() < end;)
		gmp_io_share();
	if (atomic_load(&other_ran))
		atomic_fetch_add(&bad, 1);
}

START_TEST(io_share)
{
	ut_boot(1);
	ut_go(receiver, NULL);
	ut_wait_all();
	ck_assert_int_eq(bad, 0);
	ut_go(event_loop, NULL);
	ut_wait_all();
	ck_assert_int_eq(bad, 0);
	ck_assert_int_eq(other_ran, 1);
}
END_TEST

/* --- park and ready --- */

#define PING_ROUNDS 100000u

static _Atomic(uint32_t) turn;

static void futex_side(void *arg)
{
	for (uint32_t i = (uint32_t)(uintptr_t)arg; i < 2 * PING_ROUNDS; i += 2) {
		uint32_t v;

		while ((v = atomic_load(&turn)) != i)
			gmp_futex_wait((const uint32_t *)&turn, v, ANY, GMP_NO_DEADLINE, "test");
		atomic_store(&turn, i + 1);
		ut_wake(&turn, 1);
	}
}

START_TEST(ping_pong)
{
	ut_boot(1 << _i);
	ut_go(futex_side, (void *)0);
	ut_go(futex_side, (void *)1);
	ut_wait_all();
	ck_assert_uint_eq(turn, 2 * PING_ROUNDS);
}
END_TEST

/* The same on bare parkers: each side publishes its ticket and wakes the other by ticket. */
static struct {
	struct g *_Atomic gp;
	_Atomic(uint64_t) ticket; /* 0: not waiting */
} side[2];

static void parker_side(void *arg)
{
	int me = (int)(intptr_t)arg;
	struct g *self = getg();

	atomic_store(&side[me].gp, self);
	for (uint32_t i = 0; i < PING_ROUNDS; i++) {
		uint64_t t, other;

		gmp_enter();
		t = gmp_park_prepare(&self->parker);
		atomic_store(&side[me].ticket, t);
		/* Both publish before they look, so at least one finds the other; each ticket is taken once. */
		other = atomic_exchange(&side[!me].ticket, 0);
		if (other != 0 && !gmp_wake(&atomic_load(&side[!me].gp)->parker, other, PARK_READY))
			atomic_fetch_add(&bad, 1);
		if (gmp_park_commit(&self->parker, t, GMP_NO_DEADLINE, "test") != PARK_READY)
			atomic_fetch_add(&bad, 1);
		gmp_leave();
		atomic_fetch_add(&count, 1);
	}
	/* the last one is not left alone */
	for (;;) {
		uint64_t other = atomic_exchange(&side[!me].ticket, 0);

		gmp_enter();
		if (other != 0)
			gmp_wake(&atomic_load(&side[!me].gp)->parker, other, PARK_READY);
		gmp_leave();
		if (atomic_load(&count) >= 2 * (long)PING_ROUNDS)
			break;
		ut_yield();
	}
}

START_TEST(parkers)
{
	ut_boot(1 << _i);
	ut_go(parker_side, (void *)0);
	ut_go(parker_side, (void *)1);
	ut_wait_all();
	ck_assert_int_eq(bad, 0);
	ck_assert_int_eq(count, 2 * (long)PING_ROUNDS);
}
END_TEST

/* A kernel thread that is no G wakes a G and waits for it. */
static void *foreign_side(void *arg)
{
	futex_side(arg);
	return NULL;
}

START_TEST(with_foreign)
{
	pthread_t th;

	ut_boot(1 << _i);
	th = ut_thread(foreign_side, (void *)1);
	futex_side((void *)0); /* the main G */
	ut_join(th);
	ck_assert_uint_eq(turn, 2 * PING_ROUNDS);
}
END_TEST

/* --- time --- */

#define NSLEEPERS 200

static int64_t sleep_base;

static void sleeper(void *arg)
{
	int64_t due = sleep_base + (intptr_t)arg % 50 * 1000000;

	if (gmp_sleep_until(due) != 0 || gmp_nanotime() < due)
		atomic_fetch_add(&bad, 1);
	atomic_fetch_add(&count, 1);
}

START_TEST(sleepers)
{
	int64_t took;

	ut_boot(1 << _i);
	sleep_base = gmp_nanotime();
	for (intptr_t i = 0; i < NSLEEPERS; i++)
		ut_go(sleeper, (void *)i);
	ut_wait_all();
	took = gmp_nanotime() - sleep_base;
	ck_assert_int_eq(bad, 0);
	ck_assert_int_eq(count, NSLEEPERS);
	ck_assert_int_ge(took, 49000000);
	/* side by side, not one after the other (5 s) */
	ck_assert_int_lt(took, 2 * NSEC_PER_SEC);
	for (int i = 0; i < 1 << _i; i++)
		ck_assert_uint_eq(sched.allp[i]->ntimers, 0);
}
END_TEST

static uint32_t never;
static _Atomic(int) timed_result = 1;

static void timed_waiter(void *arg)
{
	(void)arg;
	atomic_store(&timed_result, gmp_futex_wait(&never, 0, ANY, gmp_nanotime() + 5000000, "test"));
}

START_TEST(timed_wait)
{
	struct sema_bucket *b;

	ut_boot(1 << _i);
	ut_go(timed_waiter, NULL);
	ut_wait_all();
	ck_assert_int_eq(timed_result, -110 /* ETIMEDOUT */);
	b = gmp_sema_lock(&never);
	ck_assert_ptr_null(gmp_sema_first(b, &never));
	gmp_sema_unlock(b);
}
END_TEST

/* A wait that ends before its deadline takes its timer along. */
static _Atomic(uint32_t) early_turn;

static void early_side(void *arg)
{
	for (uint32_t i = (uint32_t)(uintptr_t)arg; i < 2000; i += 2) {
		uint32_t v;

		while ((v = atomic_load(&early_turn)) != i)
			gmp_futex_wait((const uint32_t *)&early_turn, v, ANY, gmp_nanotime() + 3600 * NSEC_PER_SEC,
				       "test");
		atomic_store(&early_turn, i + 1);
		ut_wake(&early_turn, 1);
	}
}

START_TEST(early_wake)
{
	ut_boot(1 << _i);
	ut_go(early_side, (void *)0);
	ut_go(early_side, (void *)1);
	ut_wait_all();
	ck_assert_uint_eq(early_turn, 2000);
	for (int i = 0; i < 1 << _i; i++) {
		ck_assert_uint_eq(sched.allp[i]->ntimers, 0);
		ck_assert_int_eq(sched.allp[i]->timer0_when, 0);
	}
}
END_TEST

/* --- the floating-point environment is the G's own, and a new G inherits its creator's --- */

static const int roundings[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};

static void rounder(void *arg)
{
	int mine = roundings[(intptr_t)arg];
	volatile double one = 1, three = 3;
	volatile long double lone = 1, lthree = 3;
	double third;
	long double lthird;

	if (fegetround() != FE_UPWARD) /* as the main G had it */
		atomic_fetch_add(&bad, 1);
	fesetround(mine);
	third = one / three;
	lthird = lone / lthree;
	for (int i = 0; i < 100; i++) {
		ut_yield();
		if (fegetround() != mine || one / three != third || lone / lthree != lthird)
			atomic_fetch_add(&bad, 1);
	}
}

START_TEST(fp_env)
{
	ut_boot(1 << _i);
	fesetround(FE_UPWARD);
	for (int i = 0; i < 16; i++)
		ut_go(rounder, (void *)(intptr_t)(i % 4));
	ut_wait_all();
	ck_assert_int_eq(bad, 0);
	ck_assert_int_eq(fegetround(), FE_UPWARD);
}
END_TEST

/* --- more than one P --- */

static _Atomic(uint64_t) seen_ms; /* bit per M */

static void burner(void *arg)
{
	int id = getg()->m->id;

	(void)arg;
	if (id < 64)
		atomic_fetch_or(&seen_ms, UINT64_C(1) << id);
	burn(2000000);
	atomic_fetch_add(&count, 1);
}

/* Work that one P made is taken over by another one that has none. */
START_TEST(steals)
{
	ut_boot(2);
	for (int i = 0; i < 100; i++)
		ut_go(burner, NULL);
	burn(20000000); /* this P does nothing for them */
	ck_assert_int_gt(count, 0);
	ut_wait_all();
	ck_assert_int_eq(count, 100);
	ck_assert_uint_gt(total(offsetof(struct pstat, steals)), 0);
	ck_assert_uint_ne(seen_ms & (seen_ms - 1), 0); /* at least two bits */
}
END_TEST

/* With one P, program code of one G runs at a time, whatever the number of Ms. */
static _Atomic(int) inside;

static void alone(void *arg)
{
	(void)arg;
	for (int i = 0; i < 20; i++) {
		if (atomic_fetch_add(&inside, 1) != 0)
			atomic_fetch_add(&bad, 1);
		burn(20000);
		atomic_fetch_sub(&inside, 1);
		if (i % 4 == 0) {
			gmp_entersyscall();
			sys_nanosleep(200000);
			gmp_exitsyscall();
		} else {
			ut_yield();
		}
	}
}

START_TEST(one_at_a_time)
{
	ut_boot(1);
	for (int i = 0; i < 16; i++)
		ut_go(alone, NULL);
	ut_wait_all();
	ck_assert_int_eq(bad, 0);
}
END_TEST

/* --- preemption --- */

static _Atomic(uint32_t) hog_stop;

/* Never calls anything; its registers must survive being stopped. */
static void hog(void *arg)
{
	uint64_t a = (uintptr_t)arg, b = a * 3, rounds = 0;
	double x = (double)a;

	while (!atomic_load_explicit(&hog_stop, memory_order_relaxed)) {
		a++;
		b += 3;
		x += 1.0;
		rounds++;
	}
	if (a != (uintptr_t)arg + rounds || b != 3 * a || x != (double)a || getg() == NULL)
		atomic_fetch_add(&bad, 1);
	atomic_fetch_add(&count, 1);
}

/* Gs that never yield do not keep the others, the main G among them, from the only P. */
START_TEST(preemption)
{
	sched.slice_ns = 1000000;
	ut_boot(1 << _i);
	sched.preempt_off = false;
	for (int i = 0; i < 3 << _i; i++)
		ut_go(hog, (void *)(intptr_t)(i + 1));
	/*
	 * Many times: where CPUs are scarce, sysmon now and then takes the P of a hog whose CPU clock stands still, so
	 * a few rounds would also end without preemption.
	 */
	for (int i = 0; i < 200; i++)
		gmp_sleep_until(gmp_nanotime() + 1000000);
	ck_assert_int_eq(count, 0);
	atomic_store(&hog_stop, 1);
	ut_wait_all();
	ck_assert_int_eq(count, 3 << _i);
	ck_assert_int_eq(bad, 0);
}
END_TEST

/* One request, one switch: the G that is asked goes to the end of the queue, whatever it was doing. */
static _Atomic(uint64_t) progress[2];
static _Atomic(long) stuck;

static void counter(void *arg)
{
	_Atomic(uint64_t) *mine = &progress[(intptr_t)arg];

	while (!atomic_load_explicit(&hog_stop, memory_order_relaxed))
		atomic_fetch_add_explicit(mine, 1, memory_order_relaxed);
}

static void *requester(void *arg)
{
	struct p *pp = sched.allp[0];
	int64_t limit = gmp_nanotime() + 20 * NSEC_PER_SEC;

	for (int round = 0; round < 100; round++) {
		uint64_t before = atomic_load(&progress[round % 2]);

		while (atomic_load(&progress[round % 2]) == before) {
			atomic_store(&pp->preempt, 1);
			gmp_preemptone(pp);
			sys_nanosleep(200000);
			if (gmp_nanotime() > limit) {
				atomic_fetch_add(&stuck, 1);
				break;
			}
		}
	}
	atomic_store(&hog_stop, 1);
	return arg;
}

START_TEST(preempt_request)
{
	pthread_t th;

	sched.slice_ns = INT64_MAX / 2; /* sysmon stays out of it */
	ut_boot(1);
	th = ut_thread(requester, NULL);
	ut_go(counter, (void *)0);
	ut_go(counter, (void *)1);
	ut_wait_all();
	ut_join(th);
	ck_assert_int_eq(stuck, 0);
}
END_TEST

/* A G that sleeps in the kernel past entersyscall loses its P after a slice, and gets one again. */
static void unseen_sleeper(void *arg)
{
	struct g *self = getg();

	(void)arg;
	atomic_store(&in_call, 1);
	while (!atomic_load(&others_ran))
		sys_nanosleep(200000000);
	ut_yield(); /* queues for a P first */
	if (getg() != self || self->m->p == NULL || self->m->p->m != self->m || self->status != G_RUNNING)
		atomic_fetch_add(&bad, 1);
	atomic_fetch_add(&count, 1);
}

/* One that computes on after its sleep, and never calls anything, is told to queue. */
static void unseen_then_busy(void *arg)
{
	struct g *self = getg();
	volatile bool has_p = false;
	int64_t limit;

	(void)arg;
	atomic_store(&in_call, 1);
	while (!atomic_load(&others_ran))
		sys_nanosleep(50000000);
	limit = gmp_nanotime() + 10 * NSEC_PER_SEC;
	while (!has_p && gmp_nanotime() < limit) {
		struct m *volatile *mpp = &self->m;
		struct p *volatile *ppp = &(*mpp)->p;
		struct p *pp = *ppp;

		has_p = pp != NULL && *(struct m *volatile *)&pp->m == *mpp;
	}
	if (!has_p)
		atomic_fetch_add(&bad, 1);
	atomic_fetch_add(&count, 1);
}

START_TEST(unseen_busy)
{
	ut_boot(1);
	ut_go(unseen_then_busy, NULL);
	while (!atomic_load(&in_call))
		ut_yield();
	atomic_store(&others_ran, 1);
	while (!atomic_load(&count)) /* the P stays in use */
		ut_yield();
	ut_wait_all();
	ck_assert_int_eq(bad, 0);
}
END_TEST

START_TEST(unseen_block)
{
	ut_boot(1);
	ut_go(unseen_sleeper, NULL);
	while (!atomic_load(&in_call))
		ut_yield();
	atomic_store(&others_ran, 1);
	ut_wait_all();
	ck_assert_int_eq(count, 1);
	ck_assert_int_eq(bad, 0);
	ck_assert_uint_gt(sched.stat_handoffs, 0);
}
END_TEST

/* sysmon's question to the kernel: right answers, and no descriptor number is taken for it. */
static _Atomic(int) state_tid;
static _Atomic(uint32_t) state_go, state_end;

static void *state_thread(void *arg)
{
	(void)arg;
	atomic_store(&state_tid, sys_gettid());
	sys_futex_wait(&state_go, 0, -1);
	while (!atomic_load(&state_end))
		arch_pause();
	return NULL;
}

static void *state_fds(void *arg)
{
	while (!atomic_load(&state_end)) {
		int fd = dup(0);

		if (fd != (intptr_t)arg)
			atomic_fetch_add(&bad, 1);
		close(fd);
	}
	return NULL;
}

START_TEST(thread_state)
{
	pthread_t th, fds;
	int fd = dup(0);
	char state = 0;
	int64_t limit;

	ut_host();
	limit = gmp_nanotime() + 20 * NSEC_PER_SEC;
	close(fd);
	th = ut_thread(state_thread, NULL);
	fds = ut_thread(state_fds, (void *)(intptr_t)fd);
	while (state != 'S' && gmp_nanotime() < limit)
		state = state_tid != 0 ? gmp_thread_state(state_tid) : 0;
	ck_assert_int_eq(state, 'S');
	atomic_store(&state_go, 1);
	sys_futex_wake(&state_go, 1);
	while (state != 'R' && gmp_nanotime() < limit)
		state = gmp_thread_state(state_tid);
	ck_assert_int_eq(state, 'R');
	for (int i = 0; i < 1000; i++)
		gmp_thread_state(state_tid);
	ck_assert_int_eq(gmp_thread_state(0x3fffffff), 0); /* nobody */
	atomic_store(&state_end, 1);
	ut_join(th);
	ut_join(fds);
	ck_assert_int_eq(bad, 0);
}
END_TEST

/* Go's NumGoroutine: while many begin and end, what allg shows is never more than are alive. */
static void counts_gs(void *arg)
{
	int alive = 0;

	(void)arg;
	for (struct g *gp = atomic_load(&sched.allg); gp != NULL; gp = gp->alllink)
		alive += gp->status != G_IDLE && gp->status != G_DEAD;
	if (alive < 2 || alive > 201)
		atomic_fetch_add(&bad, 1);
	atomic_fetch_add(&count, 1);
}

START_TEST(num_gs)
{
	int alive = 0;

	ut_boot(1 << _i);
	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < 200; i++)
			ut_go(counts_gs, NULL);
		ut_wait_all();
	}
	ck_assert_int_eq(count, 50 * 200);
	ck_assert_int_eq(bad, 0);
	for (struct g *gp = atomic_load(&sched.allg); gp != NULL; gp = gp->alllink)
		alive += gp->status != G_IDLE && gp->status != G_DEAD;
	ck_assert_int_eq(alive, 1);
}
END_TEST

/* --- system calls --- */

static void caller(void *arg)
{
	struct g *self = getg();

	(void)arg;
	gmp_entersyscall();
	if (self->status != G_SYSCALL)
		atomic_fetch_add(&bad, 1);
	atomic_store(&in_call, 1);
	while (!atomic_load(&others_ran)) /* a call that only ends when another G has run */
		sys_nanosleep(1000000);
	gmp_exitsyscall();
	if (self->status != G_RUNNING || getg() != self || self->m->p == NULL || self->m->p->m != self->m)
		atomic_fetch_add(&bad, 1);
}

/* The only P does not wait for a G in a system call: sysmon takes it, or there would be no end. */
START_TEST(syscall_handoff)
{
	ut_boot(1);
	ut_go(caller, NULL);
	while (!atomic_load(&in_call))
		ut_yield();
	atomic_store(&others_ran, 1);
	ut_wait_all();
	ck_assert_int_eq(bad, 0);
	ck_assert_uint_gt(sched.stat_handoffs, 0);
	ck_assert_int_ge(sched.mcount, 2);
}
END_TEST

/* Short calls keep their P: nothing is handed over, nothing is lost. */
static void short_calls(void *arg)
{
	(void)arg;
	for (int i = 0; i < 20000; i++) {
		struct g *self = getg();

		gmp_entersyscall();
		gmp_exitsyscall();
		if (self->m->p == NULL || self->status != G_RUNNING)
			atomic_fetch_add(&bad, 1);
	}
	atomic_fetch_add(&count, 1);
}

START_TEST(short_syscalls)
{
	ut_boot(1 << _i);
	for (int i = 0; i < 8; i++)
		ut_go(short_calls, NULL);
	ut_wait_all();
	ck_assert_int_eq(bad, 0);
	ck_assert_int_eq(count, 8);
}
END_TEST

/* --- LockOSThread --- */

static void locked(void *arg)
{
	struct g *self = getg();
	int tid;

	(void)arg;
	gmp_lock_os_thread();
	tid = sys_gettid();
	for (int i = 0; i < 200; i++) {
		switch (i % 3) {
		case 0:
			ut_yield();
			break;
		case 1:
			gmp_sleep_until(gmp_nanotime() + 100000);
			break;
		case 2:
			gmp_entersyscall();
			sys_nanosleep(50000);
			gmp_exitsyscall();
		}
		if (sys_gettid() != tid || getg() != self)
			atomic_fetch_add(&bad, 1);
	}
	gmp_unlock_os_thread();
	ut_yield();
}

static _Atomic(uint32_t) stop_noise;

static void noise(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop_noise))
		ut_yield();
}

static void end_noise(void *arg)
{
	(void)arg;
	gmp_sleep_until(gmp_nanotime() + 100000000);
	atomic_store(&stop_noise, 1);
}

START_TEST(lock_os_thread)
{
	ut_boot(1 << _i);
	for (int i = 0; i < 4; i++)
		ut_go(locked, NULL);
	for (int i = 0; i < 4; i++)
		ut_go(noise, NULL);
	ut_go(end_noise, NULL);
	ut_wait_all();
	ck_assert_int_eq(bad, 0);
}
END_TEST

/* --- the stress mode runs the same programs --- */

START_TEST(stress_mode)
{
	sched.stress = true;
	sched.stress_seed = 1 + ut_rand(1000000);
	ut_boot(2);
	for (int i = 0; i < 1000; i++)
		ut_go(yielder, (void *)(intptr_t)i);
	ut_wait_all();
	ck_assert_int_eq(bad, 0);
	ck_assert_int_eq(count, 1000L * YIELDS);
}
END_TEST

/* --- fork --- */

START_TEST(fork_child)
{
	pid_t pid;
	int status;

	ut_boot(2);
	for (int i = 0; i < 100; i++)
		ut_go(yielder, (void *)(intptr_t)i);
	ut_wait_all();
	pid = fork();
	if (pid == 0) {
		gmp_fork_child();
		gmp_preempt_init();
		if (gmp_main_started() != 0)
			_exit(2);
		atomic_store(&count, 0);
		for (int i = 0; i < 100; i++)
			ut_go(yielder, (void *)(intptr_t)i);
		ut_wait_all();
		_exit(count == 100L * YIELDS && bad == 0 ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

/* --- the end of the world --- */

START_TEST(throw_aborts)
{
	ut_boot(1);
	gmp_throw("unit test: on purpose");
}
END_TEST

/* --- GOMAXPROCS at run time --- */

static _Atomic(uint32_t) resize_stop;

static void nothing_at_all(void *arg)
{
	(void)arg;
}

static void sleeps_and_yields(void *arg)
{
	int me = (int)(intptr_t)arg;

	for (int i = 0; !resize_stop; i++) {
		if (me % 3 == 0)
			gmp_sleep_until(gmp_nanotime() + 100000 * (1 + me % 7));
		else if (me % 3 == 1)
			ut_go(nothing_at_all, NULL);
		if (me % 3 != 0)
			ut_yield(); /* nobody is preempted here */
		atomic_fetch_add(&count, 1);
	}
}

/* Right after a change: n Ps are in service, the first; the others have nothing left. */
static void check_resized(int n)
{
	int dead = 0;

	gmp_enter();
	gmp_lock(&sched.lock);
	if (sched.gomaxprocs != n || gmp_gomaxprocs() != n || sched.npidle > n)
		atomic_fetch_add(&bad, 1);
	for (int i = 0; i < sched.nallp; i++) {
		struct p *pp = sched.allp[i];

		if ((pp->status == P_DEAD) != (i >= n))
			atomic_fetch_add(&bad, 1);
		if (pp->status != P_DEAD)
			continue;
		dead++;
		if (pp->m != NULL || !gmp_runqempty(pp) || pp->ntimers != 0 || pp->timer0_when != 0 ||
		    pp->gfree != NULL || pp->ngfree != 0)
			atomic_fetch_add(&bad, 1);
	}
	for (struct p *pp = sched.pidle; pp != NULL; pp = pp->link)
		if (pp->id >= n)
			atomic_fetch_add(&bad, 1);
	gmp_unlock(&sched.lock);
	gmp_leave();
	if (dead != sched.nallp - n)
		atomic_fetch_add(&bad, 1);
}

static void resizes(void *arg)
{
	int was = gmp_gomaxprocs();

	(void)arg;
	for (int i = 0; i < 300; i++) {
		int n = 1 + (int)(gmp_fastrand() % 8), got = gmp_procresize(n);
		long before = count;

		if (got != was)
			atomic_fetch_add(&bad, 1);
		check_resized(n);
		was = n;
		while (i % 10 == 0 && count < before + 50)
			ut_yield();
	}
	resize_stop = 1;
}

START_TEST(resize)
{
	ut_boot(1 << _i);
	ck_assert_int_eq(gmp_procresize(0), -EINVAL);
	ck_assert_int_eq(gmp_procresize(GMP_MAXPROCS + 1), -EINVAL);
	for (int i = 0; i < 60; i++)
		ut_go(sleeps_and_yields, (void *)(intptr_t)i);
	ut_go(resizes, NULL);
	ut_wait_all();
	ck_assert_int_eq(bad, 0);
}
END_TEST

/* A G that stops for nobody, and a P that its M left in a system call, keep nobody waiting. */
static void in_kernel(void *arg)
{
	(void)arg;
	gmp_entersyscall();
	in_call = 1;
	while (!resize_stop)
		sys_yield();
	gmp_exitsyscall();
}

START_TEST(resize_stuck)
{
	ut_boot(4);
	ut_go(in_kernel, NULL);
	while (!in_call)
		ut_yield();
	ck_assert_int_eq(gmp_procresize(1), 4);
	check_resized(1);
	ck_assert_int_eq(bad, 0);
	ck_assert_int_eq(gmp_procresize(3), 1);
	resize_stop = 1;
	ut_wait_all();
	check_resized(3);
	ck_assert_int_eq(bad, 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("sched");

	/* _i: GOMAXPROCS is 1 << _i */
	tcase_add_loop_test(tc, many, 0, 3);
	tcase_add_test(tc, io_share);
	tcase_add_loop_test(tc, ping_pong, 0, 2);
	tcase_add_loop_test(tc, parkers, 0, 2);
	tcase_add_loop_test(tc, with_foreign, 0, 2);
	tcase_add_loop_test(tc, sleepers, 0, 2);
	tcase_add_loop_test(tc, timed_wait, 0, 2);
	tcase_add_loop_test(tc, early_wake, 0, 2);
	tcase_add_loop_test(tc, fp_env, 0, 2);
	tcase_add_test(tc, steals);
	tcase_add_test(tc, one_at_a_time);
	tcase_add_loop_test(tc, preemption, 0, 2);
	tcase_add_test(tc, preempt_request);
	tcase_add_test(tc, thread_state);
	tcase_add_loop_test(tc, num_gs, 0, 3);
	tcase_add_test(tc, unseen_block);
	tcase_add_test(tc, unseen_busy);
	tcase_add_test(tc, syscall_handoff);
	tcase_add_loop_test(tc, short_syscalls, 0, 2);
	tcase_add_loop_test(tc, lock_os_thread, 0, 2);
	tcase_add_test(tc, stress_mode);
	tcase_add_test(tc, fork_child);
	tcase_add_test_raise_signal(tc, throw_aborts, SIGABRT);
	tcase_add_loop_test(tc, resize, 0, 4);
	tcase_add_test(tc, resize_stuck);
	return ut_run(tc, "sched");
}
