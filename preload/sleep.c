// SPDX-License-Identifier: MIT
/*
 * Sleeping and yielding, and the deadlines of all hooks. A sleep never ends early but by a signal handler; after
 * one it is not restarted (signal(7)) and tells what is left.
 */
#include "preload/io.h"

#define SEC_MAX (INT64_MAX / NSEC_PER_SEC - 1)

/* a + b for b >= 0, at most the last deadline there is; at least 1, as 0 means "no timer" to core */
static int64_t deadline_add(int64_t a, int64_t b)
{
	int64_t sum;

	if (__builtin_add_overflow(a, b, &sum) || sum >= GMP_NO_DEADLINE)
		return b < 0 ? 1 : GMP_NO_DEADLINE - 1;
	return sum < 1 ? 1 : sum;
}

static int64_t ts_ns(const struct timespec *ts)
{
	if (ts->tv_sec > SEC_MAX)
		return INT64_MAX;
	if (ts->tv_sec < -SEC_MAX)
		return -INT64_MAX;
	return ts->tv_sec * NSEC_PER_SEC + ts->tv_nsec;
}

int64_t gmp_deadline_rel(const struct timespec *rel)
{
	return deadline_add(gmp_nanotime(), ts_ns(rel));
}

int64_t gmp_deadline_ms(int ms)
{
	return ms < 0 ? GMP_NO_DEADLINE : deadline_add(gmp_nanotime(), ms * INT64_C(1000000));
}

static int64_t clock_now(clockid_t clock)
{
	int64_t ts[2] = {0};

	gmp_host.clock_gettime(clock, ts);
	return ts[0] * NSEC_PER_SEC + ts[1];
}

int64_t gmp_deadline_abs(clockid_t clock, const struct timespec *abs)
{
	int64_t when = ts_ns(abs);

	if (clock == CLOCK_MONOTONIC)
		return deadline_add(when, 0);
	return when > 0 ? -when : 1;
}

void gmp_time_left(int64_t deadline, struct timespec *ret)
{
	int64_t left = deadline - gmp_nanotime();

	if (left < 0)
		left = 0;
	*ret = (struct timespec){.tv_sec = left / NSEC_PER_SEC, .tv_nsec = left % NSEC_PER_SEC};
}

int gmp_sleep_intr(int64_t deadline)
{
	struct intr_mark mark = intr_begin();

	gmp_testcancel();
	while (gmp_sleep_until(deadline) != 0) {
		gmp_io_interrupted();
		if (intr_fails(mark, false))
			return EINTR;
	}
	return 0;
}

/*
 * With no other G to run, the CPU itself is given away, as NPTL's sched_yield does: what the caller waits for may be
 * on an M that the kernel keeps off it (more Ps than CPUs, a busy machine, an M in a system call).
 */
const struct timespec *gmp_time_rest(const struct timespec *limit, int64_t since, struct timespec *buf)
{
	if (limit == NULL)
		return NULL;
	gmp_time_left(gmp_deadline_rel(limit) - (gmp_nanotime() - since), buf);
	return buf;
}

static void yield(void)
{
	bool others;

	gmp_enter();
	others = gmp_gosched();
	gmp_leave();
	if (!others)
		sys_yield();
}

void gmp_stress_yield(void)
{
	if (on_g() && gmp_fastrand() % 8 == 0)
		yield();
}

/* On a G. 0 or an errno; *rem is written when interrupted only. */
static int sleep_rel(const struct timespec *req, struct timespec *rem)
{
	int64_t deadline;

	if (req->tv_sec < 0 || !ts_valid(req))
		return EINVAL;
	if (req->tv_sec == 0 && req->tv_nsec == 0) {
		gmp_testcancel();
		yield();
		return 0;
	}
	deadline = gmp_deadline_rel(req);
	if (gmp_sleep_intr(deadline) == 0)
		return 0;
	if (rem != NULL)
		gmp_time_left(deadline, rem);
	return EINTR;
}

/* The real-time clock may be set back meanwhile: look again before waking up. */
static int sleep_abs(clockid_t clock, const struct timespec *abs)
{
	int rc;

	if (abs->tv_sec < 0 || !ts_valid(abs))
		return EINVAL;
	do {
		int64_t deadline = gmp_deadline_abs(clock, abs);

		gmp_testcancel();
		if (gmp_deadline_passed(deadline))
			return 0;
		rc = gmp_sleep_intr(deadline);
	} while (rc == 0 && clock_now(clock) < ts_ns(abs));
	return rc;
}

/* Clocks that only the kernel knows. */
static int sleep_kernel(clockid_t clock, int flags, const struct timespec *req, struct timespec *rem)
{
	struct intr_mark mark = intr_begin();
	struct timespec left = {0};
	int rc;

	HANDOFF_ONCE(rc, real.clock_nanosleep(clock, flags, req, &left));
	while (rc == EINTR && !intr_fails(mark, false)) {
		struct timespec again = left;

		HANDOFF_ONCE(rc, real.clock_nanosleep(clock, flags, flags & TIMER_ABSTIME ? req : &again, &left));
	}
	if (rc == EINTR && rem != NULL && !(flags & TIMER_ABSTIME))
		*rem = left;
	return rc;
}

int hook_nanosleep(const struct timespec *req, struct timespec *rem)
{
	int rc;

	if (!on_g())
		return PASS(nanosleep)(req, rem);
	stress_point();
	rc = sleep_rel(req, rem);
	return rc == 0 ? 0 : fail(rc);
}

int hook_clock_nanosleep(clockid_t clock, int flags, const struct timespec *req, struct timespec *rem)
{
	if (!on_g())
		return PASS(clock_nanosleep)(clock, flags, req, rem);
	stress_point();
	if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC) {
		struct timespec moved;
		int rc = gmp_cpu_nanosleep(&clock, flags, &req, &moved);

		return rc != 0 ? rc : sleep_kernel(clock, flags, req, rem);
	}
	/* A relative sleep is not touched by clock_settime: both clocks run alike. */
	return flags & TIMER_ABSTIME ? sleep_abs(clock, req) : sleep_rel(req, rem);
}

int hook_usleep(useconds_t us)
{
	struct timespec ts = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
	int rc;

	if (!on_g())
		return PASS(usleep)(us);
	stress_point();
	rc = sleep_rel(&ts, NULL);
	return rc == 0 ? 0 : fail(rc);
}

unsigned hook_sleep(unsigned seconds)
{
	struct timespec ts = {.tv_sec = seconds};

	if (!on_g())
		return PASS(sleep)(seconds);
	stress_point();
	return sleep_rel(&ts, &ts) == 0 ? 0 : (unsigned)ts.tv_sec;
}

int hook_thrd_sleep(const struct timespec *req, struct timespec *rem)
{
	int rc;

	if (!on_g())
		return PASS(thrd_sleep)(req, rem);
	stress_point();
	rc = sleep_rel(req, rem);
	return rc == 0 ? 0 : rc == EINTR ? -1 : -2;
}

int hook_sched_yield(void)
{
	if (!on_g())
		return PASS(sched_yield)();
	yield();
	return 0;
}

void hook_thrd_yield(void)
{
	hook_sched_yield();
}

int hook_pause(void)
{
	if (!on_g())
		return PASS(pause)();
	stress_point();
	return fail(gmp_sleep_intr(GMP_NO_DEADLINE));
}
