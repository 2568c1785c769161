/* SPDX-License-Identifier: MIT */
/*
 * Private futexes by syscall(), as C++, Rust and Go runtimes use them: wait and wake counts,
 * EAGAIN, ETIMEDOUT not early, bitsets, requeue, EFAULT, and a mutex built on them.
 */
#include "prog.h"

#include <linux/futex.h>
#include <sys/mman.h>

#define THREADS	10

static int word, other, waiting, lock, counter;

static long futex(void *addr, int op, int val, const void *timeout, void *addr2, unsigned int val3)
{
	return syscall(SYS_futex, addr, op, val, timeout, addr2, val3);
}

static void *waits(void *arg)
{
	__atomic_add_fetch(&waiting, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(&word, __ATOMIC_ACQUIRE) == 0)
		if (futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) == -1)
			CHECK(errno == EAGAIN || errno == EINTR);
	return arg;
}

/* Waits once, for exactly one wake. */
static void *waits_bit(void *arg)
{
	unsigned int bit = 1u << (long)arg;

	__atomic_add_fetch(&waiting, 1, __ATOMIC_ACQ_REL);
	CHECK_EQ(futex(&other, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, bit), 0);
	return arg;
}

/* The three-state mutex of "Futexes are tricky". */
static void take(void)
{
	int v = 0;

	if (__atomic_compare_exchange_n(&lock, &v, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	while (__atomic_exchange_n(&lock, 2, __ATOMIC_ACQUIRE) != 0)
		futex(&lock, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
}

static void drop(void)
{
	if (__atomic_exchange_n(&lock, 0, __ATOMIC_RELEASE) == 2)
		futex(&lock, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *counts(void *arg)
{
	for (int i = 0; i < 2000; i++) {
		take();
		counter++;
		if (i % 100 == 0)
			sched_yield();
		drop();
	}
	return arg;
}

static void await_waiting(int n)
{
	while (__atomic_load_n(&waiting, __ATOMIC_ACQUIRE) < n)
		sched_yield();
}

int main(void)
{
	struct timespec rel = { .tv_nsec = 15000000 }, until;
	pthread_t ts[THREADS];
	int64_t before;
	void *bad;

	prog_init();
	CHECK_FAILS(futex(&word, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0), EAGAIN);
	CHECK_EQ(futex(&word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 0);
	before = prog_now_ns(CLOCK_MONOTONIC);
	CHECK_FAILS(futex(&word, FUTEX_WAIT_PRIVATE, 0, &rel, NULL, 0), ETIMEDOUT);
	CHECK(prog_now_ns(CLOCK_MONOTONIC) - before >= 15000000);
	until = prog_after_ms(CLOCK_MONOTONIC, 10);
	CHECK_FAILS(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, &until, NULL, ~0u), ETIMEDOUT);
	until = prog_after_ms(CLOCK_REALTIME, 10);
	CHECK_FAILS(futex(&word, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 0, &until, NULL,
			  ~0u),
		    ETIMEDOUT);
	CHECK(prog_now_ns(CLOCK_REALTIME) >= (int64_t)until.tv_sec * 1000000000 + until.tv_nsec);
	CHECK_FAILS(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, 0), EINVAL);
	rel.tv_nsec = -1;
	CHECK_FAILS(futex(&word, FUTEX_WAIT_PRIVATE, 0, &rel, NULL, 0), EINVAL);
	bad = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK_FAILS(futex(bad, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), EFAULT);
	CHECK_FAILS(futex((char *)&word + 1, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), EINVAL);
	puts("errors ok");

	for (int i = 0; i < THREADS; i++)
		ts[i] = prog_start(waits, NULL);
	await_waiting(THREADS);
	__atomic_store_n(&word, 1, __ATOMIC_RELEASE);
	CHECK(futex(&word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0) <= THREADS);
	for (int i = 0; i < THREADS; i++)
		prog_join(ts[i]);
	puts("wake ok");

	waiting = 0;
	for (long i = 0; i < THREADS; i++)
		ts[i] = prog_start(waits_bit, (void *)i);
	for (int i = THREADS; i-- > 0;) {
		while (futex(&other, FUTEX_WAKE_BITSET_PRIVATE, 100, NULL, NULL, 1u << i) == 0)
			sched_yield();
		prog_join(ts[i]);
	}
	puts("bitset ok");

	waiting = 0;
	for (long i = 0; i < 3; i++)
		ts[i] = prog_start(waits_bit, (void *)i);
	/* moved over to word, woken there */
	for (long moved = 0; moved < 3;) {
		long n = futex(&other, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)(long)INT32_MAX, &word,
			       0);

		CHECK(n >= 0);
		moved += n;
		sched_yield();
	}
	CHECK_EQ(futex(&other, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0), 0);
	CHECK_EQ(futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 1);
	CHECK_EQ(futex(&word, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0), 2);
	for (int i = 0; i < 3; i++)
		prog_join(ts[i]);
	CHECK_FAILS(futex(&other, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)1L, &word, 77), EAGAIN);
	puts("requeue ok");

	for (int i = 0; i < THREADS; i++)
		ts[i] = prog_start(counts, NULL);
	for (int i = 0; i < THREADS; i++)
		prog_join(ts[i]);
	CHECK_EQ(counter, THREADS * 2000);
	puts("mutex ok");
	return 0;
}
