/* SPDX-License-Identifier: MIT */
/*
 * The real-time clock is set while threads wait until a time on it: they follow, forward and back; who waits for a span
 * of time, or on the monotonic clock, does not. Sets the clock of the machine by an hour, for a moment: needs
 * CAP_SYS_TIME, and nothing else beside it.
 */
#include "prog.h"

#include <semaphore.h>

#define HOUR	3600
#define WAYS	6

static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER, held = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static pthread_t main_thread;
static sem_t none;
static int begun, returned;

static struct timespec now_plus(clockid_t clock, time_t secs)
{
	struct timespec ts;

	CHECK_EQ(clock_gettime(clock, &ts), 0);
	ts.tv_sec += secs;
	return ts;
}

static void step(time_t secs)
{
	struct timespec ts = now_plus(CLOCK_REALTIME, secs);

	if (clock_settime(CLOCK_REALTIME, &ts) != 0) {
		puts("may not set the clock");
		exit(77);
	}
}

struct wait {
	int way;
	time_t secs;
	clockid_t clock;
};

static void *waits(void *arg)
{
	struct wait *w = arg;
	struct timespec until = now_plus(w->clock, w->secs);
	void *res;

	__atomic_fetch_add(&begun, 1, __ATOMIC_RELEASE); /* whatever the clock does from here on, the time is set */
	switch (w->way) {
	case 0:
		CHECK_EQ(clock_nanosleep(w->clock, TIMER_ABSTIME, &until, NULL), 0);
		break;
	case 1:
		pthread_mutex_lock(&m);
		CHECK_EQ(pthread_cond_clockwait(&never, &m, w->clock, &until), ETIMEDOUT);
		pthread_mutex_unlock(&m);
		break;
	case 2:
		CHECK_FAILS(sem_clockwait(&none, w->clock, &until), ETIMEDOUT);
		break;
	case 3:
		CHECK_EQ(pthread_mutex_clocklock(&held, w->clock, &until), ETIMEDOUT);
		break;
	case 4:
		CHECK_EQ(pthread_rwlock_clockrdlock(&rw, w->clock, &until), ETIMEDOUT);
		break;
	default:
		CHECK_EQ(pthread_clockjoin_np(main_thread, &res, w->clock, &until), ETIMEDOUT);
	}
	__atomic_fetch_add(&returned, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void *sleeps(void *arg)
{
	*(int *)arg = nanosleep(&(struct timespec){ 10 * HOUR, 0 }, NULL);
	return arg;
}

static void run(time_t secs, time_t before, time_t after)
{
	struct wait w[WAYS];
	pthread_t t[WAYS];

	returned = begun = 0;
	for (int i = 0; i < WAYS; i++) {
		w[i] = (struct wait){ i, secs, CLOCK_REALTIME };
		t[i] = prog_start(waits, &w[i]);
	}
	while (__atomic_load_n(&begun, __ATOMIC_ACQUIRE) < WAYS)
		prog_nap_ms(1);
	/* Most of them wait by now; the others find the time past, or far, by the clock as it is. */
	prog_nap_ms(50);
	if (before != 0) {
		step(before);
		prog_nap_ms(50);
		CHECK_EQ(__atomic_load_n(&returned, __ATOMIC_ACQUIRE), 0);
	}
	step(after);
	for (int i = 0; i < WAYS; i++)
		prog_join(t[i]);
}

int main(void)
{
	struct wait w = { 0, HOUR / 2, CLOCK_MONOTONIC };
	int slept = 1;

	prog_init();
	main_thread = pthread_self();
	CHECK_EQ(sem_init(&none, 0, 0), 0);
	pthread_mutex_lock(&held);
	pthread_rwlock_wrlock(&rw);
	prog_start(sleeps, &slept);
	run(HOUR / 2, 0, HOUR);
	puts("forward ok");
	step(-HOUR);
	run(HOUR / 2, -HOUR, 2 * HOUR);
	step(-HOUR);
	puts("back and forward ok");
	prog_start(waits, &w);
	returned = 0;
	step(HOUR);
	prog_nap_ms(50);
	step(-HOUR);
	CHECK_EQ(__atomic_load_n(&returned, __ATOMIC_ACQUIRE), 0);
	CHECK_EQ(slept, 1);
	puts("the others wait");
	return 0;
}
