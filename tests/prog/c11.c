/* SPDX-License-Identifier: MIT */
/*
 * C11 threads: thrd_*, mtx_*, cnd_*, tss_*, call_once, with results and error codes as glibc has
 * them.
 */
#include "prog.h"

#include <threads.h>

#define THREADS	8

static mtx_t lock, rec, timed;
static cnd_t cond;
static tss_t tss;
static once_flag flag = ONCE_FLAG_INIT;
static int counter, once_runs, tss_gone, turn;

static void once_fn(void)
{
	once_runs++;
}

static void tss_dtor(void *v)
{
	CHECK(v != NULL);
	__atomic_add_fetch(&tss_gone, 1, __ATOMIC_RELAXED);
}

static int worker(void *arg)
{
	int mine = (int)(long)arg;

	call_once(&flag, once_fn);
	CHECK_EQ(tss_set(tss, (void *)(long)(mine + 1)), thrd_success);
	for (int i = 0; i < 2000; i++) {
		CHECK_EQ(mtx_lock(&lock), thrd_success);
		counter++;
		CHECK_EQ(mtx_unlock(&lock), thrd_success);
		if (i % 100 == 0)
			thrd_yield();
	}
	mtx_lock(&lock);
	while (turn != mine)
		CHECK_EQ(cnd_wait(&cond, &lock), thrd_success);
	turn++;
	CHECK_EQ(cnd_broadcast(&cond), thrd_success);
	mtx_unlock(&lock);
	CHECK(tss_get(tss) == (void *)(long)(mine + 1));
	if (mine & 1)
		thrd_exit(-mine);
	return -mine;
}

static int try_timed(void *arg)
{
	struct timespec until = prog_after_ms(CLOCK_REALTIME, 20);

	(void)arg;
	CHECK_EQ(mtx_trylock(&timed), thrd_busy);
	CHECK_EQ(mtx_timedlock(&timed, &until), thrd_timedout);
	CHECK(prog_now_ns(CLOCK_REALTIME) >= (int64_t)until.tv_sec * 1000000000 + until.tv_nsec);
	CHECK_EQ(mtx_trylock(&rec), thrd_busy);
	return 0;
}

static int returns(void *arg)
{
	return *(int *)arg;
}

int main(void)
{
	struct timespec ms = { .tv_nsec = 10000000 }, until, left;
	thrd_t ts[THREADS], t;
	int64_t before;
	int res, value = INT32_MIN;

	prog_init();
	CHECK_EQ(mtx_init(&lock, mtx_plain), thrd_success);
	CHECK_EQ(mtx_init(&rec, mtx_plain | mtx_recursive), thrd_success);
	CHECK_EQ(mtx_init(&timed, mtx_timed), thrd_success);
	CHECK_EQ(cnd_init(&cond), thrd_success);
	CHECK_EQ(tss_create(&tss, tss_dtor), thrd_success);
	for (long i = 0; i < THREADS; i++)
		CHECK_EQ(thrd_create(&ts[i], worker, (void *)i), thrd_success);
	for (int i = 0; i < THREADS; i++) {
		CHECK_EQ(thrd_join(ts[i], &res), thrd_success);
		CHECK_EQ(res, -i);
	}
	CHECK_EQ(counter, THREADS * 2000);
	CHECK_EQ(once_runs, 1);
	CHECK_EQ(tss_gone, THREADS);
	puts("threads ok");

	CHECK_EQ(mtx_lock(&rec), thrd_success);
	CHECK_EQ(mtx_trylock(&rec), thrd_success);
	CHECK_EQ(mtx_lock(&timed), thrd_success);
	CHECK_EQ(thrd_create(&t, try_timed, NULL), thrd_success);
	CHECK_EQ(thrd_join(t, NULL), thrd_success);
	mtx_unlock(&rec);
	mtx_unlock(&rec);
	mtx_unlock(&timed);
	until = prog_after_ms(CLOCK_REALTIME, 20);
	mtx_lock(&lock);
	CHECK_EQ(cnd_timedwait(&cond, &lock, &until), thrd_timedout);
	CHECK(prog_now_ns(CLOCK_REALTIME) >= (int64_t)until.tv_sec * 1000000000 + until.tv_nsec);
	mtx_unlock(&lock);
	puts("timeouts ok");

	before = prog_now_ns(CLOCK_MONOTONIC);
	CHECK_EQ(thrd_sleep(&ms, &left), 0);
	CHECK(prog_now_ns(CLOCK_MONOTONIC) - before >= 10000000);
	ms.tv_nsec = 1000000000;
	CHECK(thrd_sleep(&ms, NULL) < -1);
	CHECK_EQ(thrd_create(&t, returns, &value), thrd_success);
	CHECK_EQ(thrd_join(t, &res), thrd_success);
	CHECK_EQ(res, INT32_MIN);
	CHECK(thrd_equal(thrd_current(), thrd_current()));
	CHECK_EQ(thrd_create(&t, returns, &value), thrd_success);
	CHECK_EQ(thrd_detach(t), thrd_success);
	tss_delete(tss);
	cnd_destroy(&cond);
	mtx_destroy(&lock);
	puts("rest ok");
	return 0;
}
