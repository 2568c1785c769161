/* SPDX-License-Identifier: MIT */
/*
 * CPU clocks of threads: a thread that sleeps or waits uses none while others burn; what all threads used adds up to
 * what the process used; clocks of running, waiting and ended threads from outside; RUSAGE_THREAD; a timer and a sleep
 * on another thread's clock; the clock never goes back, also when it was read before there were threads.
 */
#include "prog.h"

#include <semaphore.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define MS 1000000

static sem_t ready, go;
static _Atomic(int) stop;

static void burn(int64_t ns)
{
	while (prog_now_ns(CLOCK_THREAD_CPUTIME_ID) < ns)
		;
}

static void *burns(void *arg)
{
	int64_t *used = arg, raw;
	struct timespec ts;
	struct rusage ru;

	CHECK(prog_now_ns(CLOCK_THREAD_CPUTIME_ID) < 10 * MS);
	for (int64_t last = 0, now; last < 60 * MS; last = now) {
		now = prog_now_ns(CLOCK_THREAD_CPUTIME_ID);
		CHECK(now >= last);
		if (now % 7 == 0)
			sched_yield();
	}
	CHECK_EQ(getrusage(RUSAGE_THREAD, &ru), 0);
	CHECK(ru.ru_utime.tv_sec * 1000000 + ru.ru_utime.tv_usec + ru.ru_stime.tv_sec * 1000000 + ru.ru_stime.tv_usec >
	      59000);
	CHECK_EQ(syscall(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, &ts), 0);
	raw = ts.tv_sec * (int64_t)1000000000 + ts.tv_nsec;
	*used = prog_now_ns(CLOCK_THREAD_CPUTIME_ID);
	CHECK(raw >= 60 * MS && raw <= *used);
	return NULL;
}

static void *idles(void *arg)
{
	int64_t before = prog_now_ns(CLOCK_THREAD_CPUTIME_ID);

	sem_post(&ready);
	for (int i = 0; i < 20; i++)
		prog_nap_ms(2);
	CHECK_EQ(sem_wait(&go), 0);
	CHECK(prog_now_ns(CLOCK_THREAD_CPUTIME_ID) - before < 20 * MS);
	return arg;
}

static void *spins(void *arg)
{
	sem_post(&ready);
	while (!stop)
		;
	return arg;
}

/* However many there are. */
static void many_timers(clockid_t clock, const sigset_t *set)
{
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1 };
	struct itimerspec it = { 0 };
	timer_t timers[100];
	int64_t at;
	int sig;

	for (int i = 0; i < 100; i++)
		CHECK_EQ(timer_create(clock, &ev, &timers[i]), 0);
	at = prog_now_ns(clock) + 20 * MS;
	it.it_value = (struct timespec){ .tv_sec = at / 1000000000, .tv_nsec = at % 1000000000 };
	CHECK_EQ(timer_settime(timers[99], TIMER_ABSTIME, &it, NULL), 0);
	CHECK_EQ(sigwait(set, &sig), 0);
	CHECK(prog_now_ns(clock) >= at);
	for (int i = 0; i < 100; i++)
		CHECK_EQ(timer_delete(timers[i]), 0);
}

/* A child has no timers of its parent's, but the same numbers for others. */
static void check_child(void)
{
	struct sigevent ev = { .sigev_notify = SIGEV_NONE };
	struct itimerspec it = { .it_value = prog_after_ms(CLOCK_MONOTONIC, 100000) };
	pid_t pid = fork();
	timer_t timer;
	int status;

	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK_EQ(timer_create(CLOCK_MONOTONIC, &ev, &timer), 0);
		CHECK_EQ(timer_settime(timer, TIMER_ABSTIME, &it, NULL), 0);
		CHECK_EQ(timer_gettime(timer, &it), 0);
		CHECK(it.it_value.tv_sec < 100);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

static void check_other(void)
{
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1 };
	struct itimerspec it = { .it_value.tv_nsec = 20 * MS };
	struct timespec res, until = { .tv_nsec = 100 * MS };
	clockid_t clock, own;
	sigset_t set;
	timer_t timer;
	pthread_t t;
	int64_t at;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1);
	CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	t = prog_start(spins, NULL);
	CHECK_EQ(sem_wait(&ready), 0);
	CHECK_EQ(pthread_getcpuclockid(t, &clock), 0);
	CHECK_EQ(clock_getres(clock, &res), 0);
	CHECK_EQ(res.tv_nsec, 1);
	at = prog_now_ns(clock);
	while (prog_now_ns(clock) < at + 20 * MS)
		;
	CHECK_EQ(timer_create(clock, &ev, &timer), 0);
	at = prog_now_ns(clock);
	CHECK_EQ(timer_settime(timer, 0, &it, NULL), 0);
	CHECK_EQ(sigwait(&set, &sig), 0);
	CHECK(prog_now_ns(clock) >= at + 20 * MS);
	at = prog_now_ns(clock) + 20 * MS;
	it.it_value = (struct timespec){ .tv_sec = at / 1000000000, .tv_nsec = at % 1000000000 };
	CHECK_EQ(timer_settime(timer, TIMER_ABSTIME, &it, NULL), 0);
	CHECK_EQ(sigwait(&set, &sig), 0);
	CHECK(prog_now_ns(clock) >= at);
	many_timers(clock, &set);
	check_child();
	CHECK_EQ(timer_delete(timer), 0);
	at = prog_now_ns(clock) + 20 * MS;
	until = (struct timespec){ .tv_sec = at / 1000000000, .tv_nsec = at % 1000000000 };
	CHECK_EQ(clock_nanosleep(clock, TIMER_ABSTIME, &until, NULL), 0);
	CHECK(prog_now_ns(clock) >= at);
	CHECK_EQ(pthread_getcpuclockid(pthread_self(), &own), 0);
	CHECK_EQ(clock_nanosleep(own, TIMER_ABSTIME, &until, NULL), EINVAL);
	CHECK_EQ(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &until, NULL), EINVAL);
	stop = 1;
	prog_join(t);
	/* join returns before the kernel has taken the thread off its lists */
	while (clock_gettime(clock, &until) == 0)
		sched_yield();
	CHECK_EQ(errno, EINVAL);
	puts("another's clock ok");
}

/* A nice value of one thread is its own; nice(2) counts from there. */
static void *is_nice(void *arg)
{
	int before = getpriority(PRIO_PROCESS, 0);

	CHECK_EQ(setpriority(PRIO_PROCESS, 0, before + 2), 0);
	CHECK_EQ(nice(3), before + 5);
	sched_yield();
	CHECK_EQ(getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid)), before + 5);
	CHECK_EQ(getpriority(PRIO_PROCESS, (id_t)getpid()), before);
	return arg;
}

int main(void)
{
	int64_t used[6], sum = 0, early, process;
	pthread_t ts[6], idle;
	clockid_t clock;

	burn(30 * MS);
	early = prog_now_ns(CLOCK_THREAD_CPUTIME_ID);
	prog_init();
	sem_init(&ready, 0, 0);
	sem_init(&go, 0, 0);
	idle = prog_start(idles, NULL);
	CHECK_EQ(sem_wait(&ready), 0);
	CHECK(prog_now_ns(CLOCK_THREAD_CPUTIME_ID) >= early);
	CHECK_EQ(pthread_getcpuclockid(idle, &clock), 0);
	for (int i = 0; i < 6; i++)
		ts[i] = prog_start(burns, &used[i]);
	for (int i = 0; i < 6; i++)
		prog_join(ts[i]);
	CHECK(prog_now_ns(clock) < 20 * MS);
	sem_post(&go);
	prog_join(idle);
	for (int i = 0; i < 6; i++) {
		CHECK(used[i] >= 60 * MS);
		sum += used[i];
	}
	sum += prog_now_ns(CLOCK_THREAD_CPUTIME_ID);
	process = prog_now_ns(CLOCK_PROCESS_CPUTIME_ID);
	CHECK(sum <= process);
	CHECK(sum >= process / 4); /* the rest is the scheduler's, a lot of it in stress mode */
	puts("sum ok");
	check_other();
	prog_join(prog_start(is_nice, NULL));
	return 0;
}
