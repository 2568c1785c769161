/* SPDX-License-Identifier: MIT */
/*
 * A signal for the process interrupts a sleep that no library function began: the main thread's, which is to take it,
 * or another's while the main thread sleeps. The handler runs with its mask, also in the kernel, and no thread is left
 * with another mask than it has set.
 */
#include "prog.h"

#include <signal.h>
#include <sys/time.h>

#define ROUNDS	60
#define OTHERS	6

static int stop;
static volatile int handled;
static pthread_t main_thread;
static pthread_barrier_t begun;

/* The kernel's mask of this kernel thread and the thread's agree, as far as a program may use signals. */
static void check_mask(int sig_blocked, int sig_open)
{
	uint64_t kernel = 0, own = 0;
	sigset_t set;

	CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &set), 0);
	memcpy(&own, &set, sizeof(own));
	CHECK_EQ(prog_raw(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)&kernel, 8), 0);
	CHECK_EQ((long)(kernel & 0x7fffffff), (long)(own & 0x7fffffff));
	CHECK(sig_blocked == 0 || sigismember(&set, sig_blocked) == 1);
	CHECK(sig_open == 0 || sigismember(&set, sig_open) == 0);
}

static void on_signal(int sig)
{
	CHECK(pthread_equal(pthread_self(), main_thread));
	check_mask(sig, 0);
	check_mask(SIGUSR2, 0);		/* in sa_mask */
	handled++;
}

static void sleep_raw(long ms)
{
	struct timespec ts = { .tv_nsec = ms * 1000000 };
	long rc = prog_raw(SYS_nanosleep, (long)&ts, 0, 0, 0);

	CHECK(rc == 0 || rc == -EINTR);
	check_mask(0, SIGALRM);
}

static void *sleeps(void *arg)
{
	pthread_barrier_wait(&begun);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		sleep_raw(50);
	return arg;
}

static void *computes(void *arg)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	if (arg)
		CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	pthread_barrier_wait(&begun);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		for (int i = 0; i < 20000 && !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++)
			;
		check_mask(arg ? SIGALRM : 0, arg ? SIGUSR2 : SIGALRM);
		sched_yield();
	}
	return NULL;
}

int main(void)
{
	struct sigaction act = { .sa_handler = on_signal };
	pthread_t others[OTHERS];

	prog_init();
	main_thread = pthread_self();
	sigaddset(&act.sa_mask, SIGUSR2);
	CHECK_EQ(sigaction(SIGALRM, &act, NULL), 0);
	CHECK_EQ(pthread_barrier_init(&begun, NULL, OTHERS + 1), 0);
	for (int i = 0; i < OTHERS; i++)
		others[i] = prog_start(i < 2 ? sleeps : computes, i < 4 ? NULL : &stop);
	pthread_barrier_wait(&begun);	/* who opens its mask may take what is on its way to main */
	for (int i = 0; i < ROUNDS; i++) {
		/* sooner or later than the sleep is found to hold a processor up */
		struct itimerval it = { .it_value.tv_usec = 1000 + i % 10 * 4000 };
		int had = handled;

		CHECK_EQ(setitimer(ITIMER_REAL, &it, NULL), 0);
		while (handled == had) {
			if (i & 1)
				sleep_raw(200);
			else
				usleep(200000);
			check_mask(0, SIGALRM);
		}
	}
	printf("slept %d times\n", handled);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < OTHERS; i++)
		prog_join(others[i]);
	return 0;
}
