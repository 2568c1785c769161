// SPDX-License-Identifier: MIT
/* core/stack.c and tcb.c: slots, guards, reuse, renewed TLS blocks, and memory that is given back. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"
#include "core/tcb.h"

#define KB ((size_t)1 << 10)
#define MB ((size_t)1 << 20)

/* What every thread of the program finds in its own block. volatile: it is read in blocks of others. */
static __thread volatile int tls_data = 42;
static __thread volatile int tls_zero;
static __thread volatile char tls_text[24] = "a thread's own text";

static struct g *galloc(size_t stack, size_t guard)
{
	int err = 0;
	struct g *gp = gmp_galloc(stack, guard, &err);

	if (gp == NULL)
		ck_abort_msg("gmp_galloc(%zu, %zu): errno %d", stack, guard, err);
	return gp;
}

/* The address of a __thread variable of ours in the TLS block of gp. */
static volatile void *in_block(struct g *gp, volatile void *mine)
{
	return gp->tcb + ((volatile char *)mine - (volatile char *)arch_get_tp());
}

/* How a child ends that writes one byte: 0, or the signal. */
static int write_status(volatile char *at)
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct rlimit none = {0, 0};

		setrlimit(RLIMIT_CORE, &none);
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		*at = 1;
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

START_TEST(geometry)
{
	static const struct {
		size_t stack, guard;
	} rows[] = {
		{8 * MB, 4096}, {1 * MB, 4096}, {256 * KB, 4096}, {64 * KB, 4096}, {16 * KB, 4096},
		{20000, 100},	{64 * KB, 0},	{1 * MB, 64 * KB}, {16 * KB + 1, 0},
	};
	size_t stack = rows[_i].stack, guard = rows[_i].guard, page;

	ut_host_tls();
	page = sched.page_size;
	for (int i = 0; i < 20; i++) {
		struct g *gp = galloc(stack, guard);
		uintptr_t lo = (uintptr_t)gp->stack_lo, hi = (uintptr_t)gp->stack_hi;

		ck_assert_uint_eq(gp->guardsize, (guard + page - 1) & -page);
		ck_assert_uint_eq(lo % page, 0);
		/* as NPTL counts: TLS block and TCB are part of the stack, struct g is not */
		ck_assert_uint_eq(gmp_stack_size(gp), (stack + page - 1) & -page);
		ck_assert_uint_ge(hi - lo + gmp_host.tls_size + gmp_host.tls_align, gmp_stack_size(gp));
		ck_assert_uint_lt((uintptr_t)gp->tcb, lo + gmp_stack_size(gp));
		ck_assert_uint_eq((uintptr_t)gp->tcb % gmp_host.tls_align, 0);
		ck_assert_uint_le(hi + gmp_host.tls_size - gmp_host.tcb_size, (uintptr_t)gp->tcb);
		ck_assert_uint_le((uintptr_t)gp->tcb + gmp_host.tcb_size, (uintptr_t)gp);
		memset(gp->stack_lo, 0xa5, hi - lo); /* all of it can be used and harms nobody */
		ck_assert_ptr_eq(*(void **)gp->tcb, gp->tcb);
		ck_assert_ptr_eq(gmp_g_of_tcb(gp->tcb), gp);
		ck_assert_int_eq(*(int *)(gp->tcb + gmp_tcb.tid), gp->tid);
		ck_assert_int_eq(*(volatile int *)in_block(gp, &tls_data), 42);
	}
}
END_TEST

START_TEST(guard_faults)
{
	static const size_t guards[] = {4096, 16384};
	size_t guard = guards[_i];
	struct g *gp, *first = NULL;

	ut_host_tls();
	for (int i = 0; i < 10; i++) { /* more than one batch of opened slots */
		gp = galloc(64 * KB, guard);
		if (first == NULL)
			first = gp;
	}
	for (int i = 0; i < 2; i++, gp = first) {
		ck_assert_int_eq(write_status(gp->stack_lo), 0);
		ck_assert_int_eq(write_status(gp->stack_hi - 1), 0);
		ck_assert_int_eq(write_status(gp->stack_lo - 1), SIGSEGV);
		ck_assert_int_eq(write_status(gp->stack_lo - guard), SIGSEGV);
	}
	/* still there in the slot's next life, and after its memory was given back */
	gp->status = G_DEAD;
	gmp_gfree(gp);
	gmp_scavenge(1);
	gmp_scavenge(1 + NSEC_PER_SEC);
	ck_assert_int_eq(write_status(gp->stack_lo - 1), SIGSEGV);
	ck_assert_ptr_eq(galloc(64 * KB, guard), gp);
	ck_assert_int_eq(write_status(gp->stack_lo - 1), SIGSEGV);
	ck_assert_int_eq(write_status(gp->stack_lo), 0);
}
END_TEST

START_TEST(no_guard)
{
	struct g *a, *b;

	ut_host_tls();
	a = galloc(64 * KB, 0);
	b = galloc(64 * KB, 0);
	/* neighbours: right below the upper one's stack is the lower one's slot */
	if (b->stack_lo < a->stack_lo) {
		struct g *t = a;

		a = b;
		b = t;
	}
	ck_assert_uint_eq(b->guardsize, 0);
	ck_assert_int_eq(write_status(b->stack_lo), 0);
	ck_assert_int_eq(write_status(b->stack_lo - 1), 0);
}
END_TEST

START_TEST(reuse)
{
	struct g *gp, *other, *again;
	int tid;
	uint64_t goid;

	ut_host_tls();
	gp = galloc(64 * KB, 4096);
	other = galloc(128 * KB, 4096);
	ck_assert_ptr_ne(gp, other);
	tid = gp->tid;
	goid = gp->goid;
	gp->result = gp;
	gp->exited = 1;
	gp->joinstate = 3;
	gp->lockcnt = 2;
	gp->user_stack = true;
	gp->sigpending = 1;
	gp->cancel_wake = 1;
	gp->name[0] = 'x';
	gp->tls->inshim = 7;
	gp->tls->deferred = 1;
	gmp_gfree(gp);
	ck_assert_uint_eq(gp->status, G_DEAD);
	ck_assert_uint_eq(gmp_tls.inshim, 0);
	again = galloc(64 * KB, 4096);
	ck_assert_ptr_eq(again, gp);
	ck_assert_int_ne(gp->tid, tid);
	ck_assert_uint_gt(gp->goid, goid);
	ck_assert_ptr_null(gp->result);
	ck_assert_uint_eq(gp->exited, 0);
	ck_assert_uint_eq(gp->joinstate, 0);
	ck_assert_uint_eq(gp->lockcnt, 0);
	ck_assert_uint_eq(gp->sigpending, 0);
	ck_assert_uint_eq(gp->cancel_wake, 0);
	ck_assert(!gp->user_stack);
	ck_assert_int_eq(gp->name[0], '\0');
	ck_assert_uint_eq(gp->tls->inshim, 1); /* a G begins inside the shim */
	ck_assert_uint_eq(gp->tls->deferred, 0);
	ck_assert_int_eq(gp->tls->tid, gp->tid);
	ck_assert_int_eq(*(int *)(gp->tcb + gmp_tcb.tid), gp->tid);
	ck_assert_ptr_eq(gmp_g_of_tcb(gp->tcb), gp);
	/* another class is not served from this one's dead */
	gmp_gfree(gp);
	ck_assert_ptr_ne(galloc(64 * KB, 8192), gp);
	ck_assert_ptr_ne(galloc(128 * KB, 4096), gp);
	ck_assert_ptr_eq(galloc(64 * KB, 4096), gp);
}
END_TEST

/* A dead G that is still on its own stack is not handed out before it has left it. */
static _Atomic(uint32_t) left;
static struct g *leaving;

static void *leaver(void *arg)
{
	sys_nanosleep(20000000);
	atomic_store(&left, 1);
	atomic_store_explicit(&leaving->ctx.running, 0, memory_order_release);
	return arg;
}

START_TEST(reuse_waits)
{
	pthread_t th;

	ut_host_tls();
	leaving = galloc(64 * KB, 4096);
	leaving->ctx.running = 1;
	gmp_gfree(leaving);
	th = ut_thread(leaver, NULL);
	ck_assert_ptr_eq(galloc(64 * KB, 4096), leaving);
	ck_assert_uint_eq(left, 1);
	ut_join(th);
}
END_TEST

/* The next thread in a slot finds the initial values of the program's __thread variables. */
START_TEST(tls_renewed)
{
	struct g *gp;

	ut_host_tls();
	tls_data = 1; /* this thread's own is another matter */
	gp = galloc(64 * KB, 4096);
	ck_assert(gp->tls_fresh);
	for (int life = 0; life < 3; life++) {
		volatile int *data = in_block(gp, &tls_data), *zero = in_block(gp, &tls_zero);
		volatile char *text = in_block(gp, tls_text);

		ck_assert_int_eq(*data, 42);
		ck_assert_int_eq(*zero, 0);
		ck_assert_int_eq(strcmp((char *)text, "a thread's own text"), 0);
		*data = 7;
		*zero = 8;
		text[0] = 'X';
		gmp_gfree(gp);
		ck_assert_ptr_eq(galloc(64 * KB, 4096), gp);
		ck_assert(!gp->tls_fresh);
	}
	ck_assert_int_eq(tls_data, 1);
}
END_TEST

static int cmp_int(const void *a, const void *b)
{
	return *(const int *)a < *(const int *)b ? -1 : *(const int *)a > *(const int *)b;
}

/* No two threads of a process ever have the same id, and none has one that the kernel gives out. */
#define NTIDS 30000

static int tids[4][NTIDS / 4];

static void *tid_taker(void *arg)
{
	int *out = arg;

	for (int i = 0; i < NTIDS / 4; i++)
		out[i] = gmp_newtid();
	return NULL;
}

START_TEST(unique_tids)
{
	pthread_t th[4];
	int *all = &tids[0][0];

	ut_host_tls();
	for (int i = 0; i < 4; i++)
		th[i] = ut_thread(tid_taker, tids[i]);
	for (int i = 0; i < 4; i++)
		ut_join(th[i]);
	qsort(all, NTIDS, sizeof(int), cmp_int);
	ck_assert_int_gt(all[0], UT_MAX_KERNEL_TID);
	ck_assert_int_lt(all[NTIDS - 1], 1 << 30); /* FUTEX_TID_MASK */
	for (int i = 1; i < NTIDS; i++)
		UT_ASSERT(all[i] != all[i - 1]);
	ck_assert_int_gt(galloc(64 * KB, 0)->tid, all[NTIDS - 1]);
	/* The numbers begin again before they reach the futex flags. */
	sched.tidgen = INT32_MAX;
	for (int i = 0; i < 4; i++) {
		int tid = gmp_newtid();

		ck_assert_int_gt(tid, UT_MAX_KERNEL_TID);
		ck_assert_int_lt(tid, 1 << 30);
	}
}
END_TEST

/* size (0) and resident (1) in pages */
static void statm(long v[2])
{
	FILE *f = fopen("/proc/self/statm", "r");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%ld %ld", &v[0], &v[1]), 2);
	fclose(f);
}

START_TEST(flat)
{
	long before[2], after[2];
	struct g *gs[8];

	ut_host_tls();
	for (int i = 0; i < 100008; i++) {
		if (i == 1000 || i == 0) /* the first one brings in what reading the file needs */
			statm(before);
		if (i >= 8)
			gmp_gfree(gs[i % 8]);
		gs[i % 8] = galloc(64 * KB, 4096);
	}
	statm(after);
	ck_assert_int_eq(after[0], before[0]);
	ck_assert_int_le(after[1], before[1] + 16);
}
END_TEST

/* Resident pages of [lo, hi). */
static size_t resident(char *lo, char *hi)
{
	static unsigned char vec[4096];
	size_t n = (size_t)(hi - lo) / sched.page_size, sum = 0;

	ck_assert_uint_le(n, sizeof(vec));
	ck_assert_int_eq(mincore(lo, n * sched.page_size, vec), 0);
	for (size_t i = 0; i < n; i++)
		sum += vec[i] & 1;
	return sum;
}

/* Dead stacks are given back after a while; living ones, and the TLS block of dead ones, are left alone. */
#define SCAV 40

START_TEST(scavenge)
{
	struct g *gs[SCAV], *live, *young;
	char *low_end;
	int64_t now = NSEC_PER_SEC;

	ut_host_tls();
	live = galloc(1 * MB, 4096);
	memset(live->stack_lo, 0x5a, (size_t)(live->stack_hi - live->stack_lo));
	for (int i = 0; i < SCAV; i++) {
		gs[i] = galloc(1 * MB, 4096);
		memset(gs[i]->stack_lo, 1, (size_t)(gs[i]->stack_hi - gs[i]->stack_lo));
		*(volatile int *)in_block(gs[i], &tls_data) = 7;
		ck_assert_uint_ge(resident(gs[i]->stack_lo, gs[i]->stack_hi), 1 * MB / sched.page_size - 8);
	}
	for (int i = 0; i < SCAV; i++)
		gmp_gfree(gs[i]);

	/* not at once: a program that starts threads all the time keeps its stacks warm */
	gmp_scavenge(now);
	gmp_scavenge(now + 50000000);
	ck_assert_uint_gt(resident(gs[0]->stack_lo, gs[0]->stack_hi), 200);
	/* one that has not left its stack yet is left alone */
	gs[3]->ctx.running = 1;
	for (int i = 0; i < 4; i++)
		gmp_scavenge(now += 200000000);
	for (int i = 0; i < SCAV; i++) {
		low_end = gs[i]->stack_hi - 4 * sched.page_size;
		if (i == 3)
			ck_assert_uint_gt(resident(gs[i]->stack_lo, low_end), 200);
		else
			ck_assert_uint_eq(resident(gs[i]->stack_lo, low_end), 0);
		ck_assert_int_eq(*(volatile int *)in_block(gs[i], &tls_data), 7);
	}
	gs[3]->ctx.running = 0;
	for (char *p = live->stack_lo; p < live->stack_hi; p++)
		UT_ASSERT(*p == 0x5a);

	/* all of them can be had again */
	for (int i = 0; i < SCAV; i++) {
		young = galloc(1 * MB, 4096);
		ck_assert_int_eq(*(volatile int *)in_block(young, &tls_data), 42);
		young->goid = 0;
	}
	for (int i = 0; i < SCAV; i++)
		ck_assert_uint_eq(gs[i]->goid, 0);

	/* a second round works like the first */
	for (int i = 0; i < SCAV; i++) {
		memset(gs[i]->stack_lo, 1, (size_t)(gs[i]->stack_hi - gs[i]->stack_lo));
		gmp_gfree(gs[i]);
	}
	for (int i = 0; i < 5; i++)
		gmp_scavenge(now += 200000000);
	for (int i = 0; i < SCAV; i++)
		ck_assert_uint_eq(resident(gs[i]->stack_lo, gs[i]->stack_hi - 4 * sched.page_size), 0);
}
END_TEST

/* No memory is an answer, not an accident: EAGAIN, and the slot serves the next one. */
static void *(*real_allocate)(void *);

static void *no_tls(void *tcb)
{
	(void)tcb;
	return NULL;
}

START_TEST(out_of_memory)
{
	struct rlimit lim;
	long v[2];
	int err = 0;
	struct g *gp;

	ut_host_tls();
	real_allocate = gmp_host.allocate_tls;
	gmp_host.allocate_tls = no_tls;
	ck_assert_ptr_null(gmp_galloc(64 * KB, 4096, &err));
	ck_assert_int_eq(err, 11);
	gmp_host.allocate_tls = real_allocate;
	gp = galloc(64 * KB, 4096);
	ck_assert_int_eq(*(volatile int *)in_block(gp, &tls_data), 42);
	ck_assert_ptr_eq(gmp_g_of_tcb(gp->tcb), gp);

	statm(v);
	lim.rlim_cur = lim.rlim_max = (rlim_t)v[0] * sched.page_size + 4 * MB;
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &lim), 0);
	err = 0;
	ck_assert_ptr_null(gmp_galloc(64 * MB, 4096, &err));
	ck_assert_int_eq(err, 11);
	ck_assert_ptr_nonnull(galloc(64 * KB, 4096)); /* a smaller one still fits */
	ck_assert_ptr_nonnull(galloc(1 * MB, 4096));  /* a slab of one slot does */
	ck_assert_uint_eq(gmp_tls.inshim, 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("stack");

	tcase_add_loop_test(tc, geometry, 0, 9);
	tcase_add_loop_test(tc, guard_faults, 0, 2);
	tcase_add_test(tc, no_guard);
	tcase_add_test(tc, reuse);
	tcase_add_test(tc, reuse_waits);
	tcase_add_test(tc, tls_renewed);
	tcase_add_test(tc, unique_tids);
	tcase_add_test(tc, flat);
	tcase_add_test(tc, scavenge);
	tcase_add_test(tc, out_of_memory);
	return ut_run(tc, "stack");
}
