/* SPDX-License-Identifier: MIT */
/*
 * Threads are stopped wherever they are: in C++ constructors and destructors, of objects and of static variables, while
 * an exception unwinds, in a signal handler on their stack and on an alternate one (from where another thread's handler
 * must not start on that stack), a few instructions before their end, and while they are cancelled.
 */
#include "prog.h"

#include <signal.h>
#include <stdexcept>
#include <vector>

static volatile int stop, ready;

static void spin_us(long us)
{
	int64_t end = prog_now_ns(CLOCK_MONOTONIC) + us * 1000;

	/* most of the time outside of the clock's code, in which no thread is stopped */
	while (prog_now_ns(CLOCK_MONOTONIC) < end)
		for (volatile int i = 0; i < 2000; i++)
			;
}

struct slow {
	long v;
	slow() : v(0)
	{
		for (int i = 0; i < 3; i++) {
			spin_us(4000);
			v++;
		}
	}
	~slow()
	{
		spin_us(4000);
		v = -1;
	}
};

static slow &one()
{
	static slow s; /* the others wait in its guard */

	return s;
}

static void *constructs(void *arg)
{
	CHECK_EQ(one().v, 3);
	for (int i = 0; i < 3; i++) {
		slow s;
		bool caught = false;

		CHECK_EQ(s.v, 3);
		try {
			slow on_the_way;

			throw std::runtime_error("x");
		} catch (const std::exception &e) {
			caught = !strcmp(e.what(), "x");
		}
		CHECK(caught);
	}
	return arg;
}

/* --- handlers --- */

static volatile int hogs;
static __thread volatile int handled, on_alternate;
static __thread char *alternate;
#define ALT_SIZE 65536

static void handler(int)
{
	char here;
	int was = errno;

	on_alternate = &here >= alternate && &here < alternate + ALT_SIZE;
	errno = 77;
	if (hogs)
		spin_us(25000);
	for (int i = 0; i < 5; i++)
		sched_yield();
	CHECK_EQ(errno, 77);
	errno = was;
	handled = handled + 1;
}

static void *signals_itself(void *arg)
{
	stack_t ss;

	memset(&ss, 0, sizeof(ss));
	alternate = new char[ALT_SIZE];
	ss.ss_sp = alternate;
	ss.ss_size = ALT_SIZE;
	CHECK_EQ(sigaltstack(&ss, NULL), 0);
	errno = 5;
	handled = 0;
	for (int i = 0; i < (hogs ? 4 : 40); i++) {
		int sig = i % 2 ? SIGUSR1 : SIGUSR2;

		sched_yield(); /* perhaps from another's handler */
		CHECK_EQ(pthread_kill(pthread_self(), sig), 0);
		CHECK_EQ(handled, i + 1);
		CHECK_EQ(on_alternate, sig == SIGUSR2);
		CHECK_EQ(errno, 5);
	}
	ss.ss_flags = SS_DISABLE;
	CHECK_EQ(sigaltstack(&ss, NULL), 0);
	delete[] alternate;
	return arg;
}

static void *computes(void *arg)
{
	while (!stop)
		;
	return arg;
}

/* --- ends --- */

static void *ends_soon(void *arg)
{
	for (volatile long i = 0; i < (long)arg; i++)
		;
	return arg;
}

struct counts {
	int *n;
	~counts() { __atomic_add_fetch(n, 1, __ATOMIC_RELAXED); }
};

static int unwound;

static void *cancelled(void *arg)
{
	counts c = { &unwound };

	(void)c;
	if (arg)
		CHECK_EQ(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL), 0);
	__atomic_add_fetch(&ready, 1, __ATOMIC_RELAXED);
	for (volatile long i = 0;; i++)
		if (!arg && i % 100000 == 0)
			pthread_testcancel();
}

int main()
{
	std::vector<pthread_t> ts;
	struct sigaction act;

	prog_init();
	for (int i = 0; i < 6; i++)
		ts.push_back(prog_start(constructs, NULL));
	for (pthread_t t : ts)
		prog_join(t);
	puts("constructors ok");

	memset(&act, 0, sizeof(act));
	act.sa_handler = handler;
	CHECK_EQ(sigaction(SIGUSR1, &act, NULL), 0);
	act.sa_flags = SA_ONSTACK;
	CHECK_EQ(sigaction(SIGUSR2, &act, NULL), 0);
	for (hogs = 0; hogs < 2; hogs++) {
		ts.clear();
		for (int i = 0; i < 2 * hogs; i++)
			ts.push_back(prog_start(computes, NULL));
		for (int i = 0; i < 4; i++)
			ts.push_back(prog_start(signals_itself, NULL));
		signals_itself(NULL);
		for (size_t i = (size_t)(2 * hogs); i < ts.size(); i++)
			prog_join(ts[i]);
		stop = 1;
		for (int i = 0; i < 2 * hogs; i++)
			prog_join(ts[(size_t)i]);
	}
	puts("handlers ok");

	for (int round = 0; round < 20; round++) {
		ts.clear();
		for (long i = 0; i < 10; i++)
			ts.push_back(prog_start(ends_soon, (void *)((long)round * 300000 + i * 1000)));
		for (pthread_t t : ts)
			prog_join(t);
	}
	puts("ends ok");

	for (long async = 0; async < 2; async++) {
		ts.clear();
		ready = unwound = 0;
		for (int i = 0; i < 6; i++)
			ts.push_back(prog_start(cancelled, (void *)async));
		while (ready < 6)
			sched_yield();
		for (pthread_t t : ts) {
			spin_us(3000);
			CHECK_EQ(pthread_cancel(t), 0);
		}
		for (pthread_t t : ts)
			CHECK(prog_join(t) == PTHREAD_CANCELED);
		if (!async)
			CHECK_EQ(unwound, 6);
	}
	puts("cancel ok");
	return 0;
}
