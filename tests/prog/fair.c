/* SPDX-License-Identifier: MIT */
/*
 * The tests of Go's scheduler (proc_test.go), by meaning: yields make progress, threads that wait for each other by
 * spinning get their turns, big frames and loops without calls are stopped, timers are met beside threads that yield or
 * call the kernel all the time, a ping-pong pair and a hog share one processor, hogs share it among them.
 *
 * fair SECONDS measures instead: the spread of 8 hogs' work, and how late a 2 ms sleeper wakes beside them.
 */
#include "prog.h"

#include <semaphore.h>

#define MS INT64_C(1000000)

static volatile int stop, cond, started;
static volatile unsigned turn;
static sem_t sem, ball[2];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int procs, random_schedule; /* procs 0: native */

/* --- YieldProgress --- */

static void *yields(void *arg)
{
	started = 1;
	while (!cond) {
		if (arg)
			pthread_mutex_lock(&lock);
		sched_yield();
		if (arg)
			pthread_mutex_unlock(&lock);
	}
	return arg;
}

static void yield_progress(void *locked)
{
	pthread_t t;

	cond = started = 0;
	t = prog_start(yields, locked);
	while (!started)
		sched_yield();
	for (int i = 0; i < 10; i++) {
		pthread_mutex_lock(&lock);
		sched_yield();
		pthread_mutex_unlock(&lock);
	}
	cond = 1;
	prog_join(t);
}

/* --- GoroutineParallelism, Preemption --- */

#define SPINNERS 3
#define TURNS 8

static void *takes_turns(void *arg)
{
	unsigned me = (unsigned)(long)arg;

	for (unsigned i = 0; i < TURNS; i++) {
		while (turn != SPINNERS * i + me)
			;
		turn = turn + 1;
	}
	return arg;
}

static void spinning_turns(void)
{
	pthread_t ts[SPINNERS];

	turn = 0;
	for (long i = 0; i < SPINNERS; i++)
		ts[i] = prog_start(takes_turns, (void *)i);
	for (int i = 0; i < SPINNERS; i++)
		prog_join(ts[i]);
	CHECK_EQ(turn, SPINNERS * TURNS);
}

/* --- PreemptSplitBig --- */

static __attribute__((noinline)) int big_frame(int depth)
{
	volatile char frame[8192];

	frame[0] = (char)depth;
	frame[8191] = 1;
	if (depth == 0)
		return frame[0];
	return big_frame(depth - 1) + frame[8191];
}

static void *big_frames(void *arg)
{
	started = 1;
	while (!stop)
		CHECK_EQ(big_frame(20), 20);
	return arg;
}

static void preempt_big(void)
{
	pthread_t t;

	stop = started = 0;
	t = prog_start(big_frames, NULL);
	while (!started)
		;
	for (int i = 0; i < 5; i++)
		prog_nap_ms(1);
	stop = 1;
	prog_join(t);
}

/* --- TimerFairness, TimerFairness2 --- */

static void *busy_yields(void *arg)
{
	while (!stop) {
		sched_yield();
		CHECK(sem_trywait(&sem) == -1 && errno == EAGAIN);
	}
	return arg;
}

static void *busy_calls(void *arg)
{
	char c;

	while (!stop)
		CHECK_EQ(read(0, &c, 0), 0);
	return arg;
}

static void timer_fairness(void *(*fn)(void *))
{
	pthread_t ts[3];

	stop = 0;
	for (int i = 0; i < 3; i++)
		ts[i] = prog_start(fn, NULL);
	for (int i = 0; i < 10; i++)
		prog_nap_ms(2);
	stop = 1;
	for (int i = 0; i < 3; i++)
		prog_join(ts[i]);
}

/* --- PingPongHog --- */

static volatile unsigned long pings, hog_work[8];

static void *pings_pongs(void *arg)
{
	long me = (long)arg;

	for (int last = 0; !last;) {
		sem_wait(&ball[me]);
		pings = pings + 1;
		last = stop; /* with the ball: the other one will see it too */
		sem_post(&ball[!me]);
	}
	return arg;
}

static void *works(void *arg)
{
	volatile unsigned long *work = arg;

	while (!stop)
		*work = *work + 1;
	return arg;
}

/* Both for `ms` of CPU time; what each of them did per nanosecond of it. */
static void share(int ms, int pair, int hog, double *ret_pair, double *ret_hog)
{
	int64_t begin, took;
	pthread_t ts[3];
	int n = 0;

	stop = 0;
	pings = hog_work[0] = 0;
	sem_init(&ball[0], 0, 1);
	sem_init(&ball[1], 0, 0);
	begin = prog_now_ns(CLOCK_PROCESS_CPUTIME_ID);
	if (hog)
		ts[n++] = prog_start(works, (void *)&hog_work[0]);
	if (pair) {
		ts[n++] = prog_start(pings_pongs, (void *)0);
		ts[n++] = prog_start(pings_pongs, (void *)1);
	}
	while (prog_now_ns(CLOCK_PROCESS_CPUTIME_ID) - begin < ms * MS)
		prog_nap_ms(5);
	took = prog_now_ns(CLOCK_PROCESS_CPUTIME_ID) - begin;
	stop = 1;
	while (n > 0)
		prog_join(ts[--n]);
	*ret_pair = (double)pings / (double)took;
	*ret_hog = (double)hog_work[0] / (double)took;
}

static void ping_pong_hog(void)
{
	double pair, hog, pair_alone, hog_alone, zero;

	share(100, 1, 0, &pair_alone, &zero);
	share(100, 0, 1, &zero, &hog_alone);
	share(400, 1, 1, &pair, &hog);
	CHECK(pair > 0 && hog > 0);
	pair /= pair_alone;
	hog /= hog_alone;
	if (procs == 1 && !random_schedule && (pair > 2 * hog || hog > 2 * pair)) {
		dprintf(2, "the pair got %.2f of the processor, the hog %.2f\n", pair, hog);
		_exit(1);
	}
}

/* --- hogs, and a sleeper beside them --- */

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/*
 * For so much time of `clock`. In the test it is CPU time: of a second of a busy machine a hog may have got one turn,
 * another two, and each may have been away from its CPU for the most of a turn.
 */
static void hogs(clockid_t clock, int ms, int report)
{
	static int64_t late[100000];
	unsigned long least = -1ul, most = 0;
	int64_t end = prog_now_ns(clock) + ms * MS;
	pthread_t ts[8];
	int n = 0;

	stop = 0;
	for (int i = 0; i < 8; i++) {
		hog_work[i] = 0;
		ts[i] = prog_start(works, (void *)&hog_work[i]);
	}
	while (prog_now_ns(clock) < end && n < 100000) {
		int64_t due = prog_now_ns(CLOCK_MONOTONIC) + 2 * MS;

		prog_nap_ms(2);
		late[n++] = prog_now_ns(CLOCK_MONOTONIC) - due;
	}
	stop = 1;
	for (int i = 0; i < 8; i++)
		prog_join(ts[i]);
	for (int i = 0; i < 8; i++) {
		least = hog_work[i] < least ? hog_work[i] : least;
		most = hog_work[i] > most ? hog_work[i] : most;
	}
	qsort(late, (size_t)n, sizeof(late[0]), by_value);
	if (report)
		printf("hogs: most/least %.3f; sleeper: %d wake-ups, late by p50 %.2f p99 %.2f max %.2f ms\n",
		       (double)most / (double)least, n, (double)late[n / 2] / MS, (double)late[n * 99 / 100] / MS,
		       (double)late[n - 1] / MS);
	CHECK(least > 0);
	if (procs == 1 && !random_schedule && most > 2 * least) {
		dprintf(2, "one hog did %lu, another %lu\n", most, least);
		_exit(1);
	}
}

int main(int argc, char **argv)
{
	const char *env = getenv("GMPSHIM_EXPECT_LIVE") ? getenv("GOMAXPROCS") : NULL;

	procs = env ? atoi(env) : 0;
	random_schedule = getenv("GMPSHIM_SCHED") != NULL;
	prog_init();
	sem_init(&sem, 0, 0);
	if (argc > 1) {
		hogs(CLOCK_MONOTONIC, 1000 * atoi(argv[1]), 1);
		return 0;
	}
	yield_progress(NULL);
	yield_progress(&lock);
	puts("yields ok");
	spinning_turns();
	puts("spinning turns ok");
	preempt_big();
	puts("big frames ok");
	timer_fairness(busy_yields);
	timer_fairness(busy_calls);
	puts("timers ok");
	ping_pong_hog();
	puts("ping-pong beside a hog ok");
	hogs(CLOCK_PROCESS_CPUTIME_ID, 1000, 0);
	puts("hogs ok");
	return 0;
}
