/* SPDX-License-Identifier: MIT */
/*
 * Timers and the threads that their signals are for: SIGEV_THREAD_ID by the number that gettid() gave, to a thread that
 * is parked, runs, or takes it with sigwaitinfo; SIGEV_SIGNAL, SIGEV_THREAD, SIGEV_NONE; CPU clocks; what a timer that
 * is not taken counts; the interval timers, of which those of CPU time tell which thread computes.
 */
#include "prog.h"

#include <semaphore.h>
#include <signal.h>
#include <sys/time.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define ENOUGH 20

static sem_t ready, never, enough;
static volatile int stop, hits, wrong, code, value;
static pthread_t target;
static long target_tid;

static void on_timer(int sig, siginfo_t *si, void *uc)
{
	if (!pthread_equal(pthread_self(), target))
		wrong++;
	code = si->si_code;
	value = si->si_value.sival_int;
	if (__atomic_add_fetch(&hits, 1, __ATOMIC_SEQ_CST) == ENOUGH)
		sem_post(&enough);
}

static void install(int sig, int flags)
{
	struct sigaction sa = { .sa_sigaction = on_timer, .sa_flags = SA_SIGINFO | flags };

	CHECK_EQ(sigaction(sig, &sa, NULL), 0);
}

static timer_t timer_for(clockid_t clock, int notify, int sig, long tid, int val)
{
	struct sigevent ev = { .sigev_notify = notify, .sigev_signo = sig, .sigev_value.sival_int = val };
	timer_t t;

	if (notify == SIGEV_THREAD_ID)
		ev.sigev_notify_thread_id = (pid_t)tid;
	CHECK_EQ(timer_create(clock, &ev, &t), 0);
	return t;
}

static void every(timer_t t, long us)
{
	struct itimerspec its = { .it_value = { us / 1000000, us % 1000000 * 1000 },
				  .it_interval = { us / 1000000, us % 1000000 * 1000 } };

	CHECK_EQ(timer_settime(t, 0, &its, NULL), 0);
}

static void announce(void)
{
	target = pthread_self();
	target_tid = syscall(SYS_gettid);
	sem_post(&ready);
}

static void *parks(void *arg)
{
	announce();
	while (!stop)
		if (sem_wait(&never) == 0)
			break;
		else
			CHECK_EQ(errno, EINTR);
	return arg;
}

static void *computes(void *arg)
{
	announce();
	while (!stop)
		for (volatile int i = 0; i < 1000; i++)
			;
	return arg;
}

/* The others admit the signal as well: it is not theirs. */
static void *bystander(void *arg)
{
	while (!__atomic_load_n((int *)arg, __ATOMIC_ACQUIRE))
		usleep(500);
	return NULL;
}

static void to_thread(void *(*what)(void *), const char *name)
{
	int over = 0;
	pthread_t t, other[3];
	timer_t timer;

	hits = wrong = stop = 0;
	for (int i = 0; i < 3; i++)
		other[i] = prog_start(bystander, &over);
	t = prog_start(what, NULL);
	sem_wait(&ready);
	timer = timer_for(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGRTMIN, target_tid, 77);
	every(timer, 1000);
	while (hits < 50)
		usleep(1000);
	CHECK_EQ(timer_delete(timer), 0);
	stop = 1;
	sem_post(&never);
	prog_join(t);
	__atomic_store_n(&over, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < 3; i++)
		prog_join(other[i]);
	while (sem_trywait(&never) == 0)
		;
	CHECK_EQ(wrong, 0);
	CHECK_EQ(code, SI_TIMER);
	CHECK_EQ(value, 77);
	printf("%s ok\n", name);
}

static void *waits(void *arg)
{
	sigset_t set;
	siginfo_t si;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1);
	announce();
	for (int i = 0; i < 50; i++) {
		CHECK_EQ(sigwaitinfo(&set, &si), SIGRTMIN + 1);
		CHECK_EQ(si.si_code, SI_TIMER);
		CHECK_EQ(si.si_value.sival_int, 5);
	}
	return arg;
}

/* Blocked by all; another thread waits for the same signal, which is not for it. */
static void *waits_too(void *arg)
{
	struct timespec ts = { 0, 1000000 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1);
	while (!stop)
		CHECK_FAILS(sigtimedwait(&set, NULL, &ts), EAGAIN);
	return arg;
}

static void sigwaiter(void)
{
	struct timespec zero = { 0, 0 };
	pthread_t t, other;
	timer_t timer;
	sigset_t set;

	stop = 0;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1);
	CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	other = prog_start(waits_too, NULL);
	t = prog_start(waits, NULL);
	sem_wait(&ready);
	timer = timer_for(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGRTMIN + 1, target_tid, 5);
	every(timer, 1000);
	prog_join(t); /* the timer goes on, for a thread that has ended */
	prog_nap_ms(10);
	stop = 1;
	prog_join(other);
	CHECK_EQ(timer_delete(timer), 0);
	CHECK_FAILS(sigtimedwait(&set, NULL, &zero), EAGAIN);
	puts("sigwaitinfo ok");
}

/* One signal at a time, which counts the others. */
static void overrun(void)
{
	sigset_t set, pending;
	struct timespec zero = { 0, 0 };
	siginfo_t si;
	timer_t timer;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 2);
	CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	timer = timer_for(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGRTMIN + 2, syscall(SYS_gettid), 9);
	every(timer, 100);
	prog_nap_ms(30);
	CHECK_EQ(sigpending(&pending), 0);
	CHECK_EQ(sigismember(&pending, SIGRTMIN + 2), 1);
	CHECK_EQ(sigwaitinfo(&set, &si), SIGRTMIN + 2);
	CHECK_EQ(si.si_value.sival_int, 9);
	CHECK(si.si_overrun >= 100);
	CHECK_EQ(timer_delete(timer), 0);
	while (sigtimedwait(&set, &si, &zero) == SIGRTMIN + 2)
		;
	puts("overrun ok");
}

static volatile int in_thread;

static void notify_fn(union sigval v)
{
	CHECK_EQ(v.sival_int, 3);
	__atomic_add_fetch(&in_thread, 1, __ATOMIC_SEQ_CST);
}

static void other_modes(void)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD, .sigev_notify_function = notify_fn,
			       .sigev_value.sival_int = 3 };
	struct itimerspec its;
	timer_t t;

	target = pthread_self();
	hits = wrong = 0;
	t = timer_for(CLOCK_REALTIME, SIGEV_SIGNAL, SIGRTMIN, 0, 1);
	every(t, 1000);
	while (hits < 10)
		pause();
	CHECK_EQ(timer_delete(t), 0);

	CHECK_EQ(timer_create(CLOCK_MONOTONIC, &ev, &t), 0);
	every(t, 1000);
	while (in_thread < 10)
		usleep(500);
	CHECK_EQ(timer_delete(t), 0);

	t = timer_for(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0, 0);
	every(t, 1000000);
	CHECK_EQ(timer_gettime(t, &its), 0);
	CHECK(its.it_value.tv_sec == 0 && its.it_value.tv_nsec > 0);
	CHECK_EQ(timer_getoverrun(t), 0);
	CHECK_EQ(timer_delete(t), 0);
	ev = (struct sigevent){ .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN };
	ev.sigev_notify_thread_id = 0x3fffffff; /* nobody */
	CHECK_FAILS(timer_create(CLOCK_MONOTONIC, &ev, &t), EINVAL);
	puts("other modes ok");
}

/* Its own CPU clock, as sampling profilers have it. */
static void *burns(void *arg)
{
	timer_t t;

	announce();
	t = timer_for(CLOCK_THREAD_CPUTIME_ID, SIGEV_THREAD_ID, SIGRTMIN, syscall(SYS_gettid), 4);
	every(t, 1000);
	while (hits < 10)
		;
	CHECK_EQ(timer_delete(t), 0);
	return arg;
}

static void cpu_clock(void)
{
	hits = wrong = 0;
	prog_join(prog_start(burns, NULL));
	sem_wait(&ready);
	CHECK_EQ(wrong, 0);
	puts("CPU clock ok");
}

static void interval(int which, int sig, const char *name)
{
	struct itimerval on = { { 0, 2000 }, { 0, 2000 } }, off = { { 0, 0 }, { 0, 0 } };
	pthread_t t;

	hits = wrong = stop = 0;
	install(sig, SA_RESTART);
	t = prog_start(computes, NULL);
	sem_wait(&ready);
	if (which == ITIMER_REAL)
		target = pthread_self();
	CHECK_EQ(sem_init(&enough, 0, 0), 0);
	CHECK_EQ(setitimer(which, &on, NULL), 0);
	while (sem_wait(&enough) == -1)
		CHECK_EQ(errno, EINTR);
	CHECK_EQ(setitimer(which, &off, NULL), 0);
	stop = 1;
	prog_join(t);
	/*
	 * Of CPU time, the one that computes gets most: the main thread uses none while it waits. One that comes late,
	 * while the main thread still handles the one before, is another thread's.
	 */
	CHECK(wrong <= hits / 3);
	printf("%s ok\n", name);
}

int main(void)
{
	prog_init();
	sem_init(&ready, 0, 0);
	sem_init(&never, 0, 0);
	install(SIGRTMIN, 0);
	to_thread(parks, "parked");
	install(SIGRTMIN, SA_RESTART);
	to_thread(computes, "running");
	sigwaiter();
	overrun();
	install(SIGRTMIN, 0);
	other_modes();
	cpu_clock();
	interval(ITIMER_REAL, SIGALRM, "ITIMER_REAL");
	interval(ITIMER_VIRTUAL, SIGVTALRM, "ITIMER_VIRTUAL");
	interval(ITIMER_PROF, SIGPROF, "ITIMER_PROF");
	return 0;
}
