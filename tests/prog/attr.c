/* SPDX-License-Identifier: MIT */
/*
 * Thread attributes: the stack size asked for can be used, pthread_getattr_np tells the truth
 * about a running thread and main, and where a stack overflow will fault, a caller's stack is the
 * one used, EINVAL where glibc says so.
 */
#include "prog.h"

#include <limits.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define MIB	((size_t)1 << 20)

static __attribute__((noinline)) size_t use_stack(size_t bytes)
{
	volatile char page[4096];

	for (size_t i = 0; i < sizeof(page); i += 64)
		page[i] = (char)bytes;
	if (bytes <= sizeof(page) + 128)
		return (size_t)page[64];
	return use_stack(bytes - sizeof(page) - 128) + (size_t)page[128];
}

static void *uses_stack(void *arg)
{
	volatile size_t sink = use_stack((size_t)arg);

	(void)sink;
	return arg;
}

static void run_with_stack(size_t size, size_t use)
{
	pthread_attr_t attr;
	size_t got;
	pthread_t t;

	CHECK_EQ(pthread_attr_init(&attr), 0);
	CHECK_EQ(pthread_attr_setstacksize(&attr, size), 0);
	CHECK_EQ(pthread_attr_getstacksize(&attr, &got), 0);
	CHECK_EQ(got, size);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(pthread_create(&t, &attr, uses_stack, (void *)use), 0);
		CHECK_EQ(prog_join(t), use);
	}
	CHECK_EQ(pthread_attr_destroy(&attr), 0);
}

/* --- an overflow faults in the guard, which lies right below the stack that pthread_getattr_np reports --- */

static char *reported, *guard_low;

static void overflown(int sig, siginfo_t *info, void *uc)
{
	char *at = info->si_addr;

	(void)sig, (void)uc;
	if (at >= guard_low && at < reported)
		_exit(7);
	dprintf(2, "fault at %p, stack from %p, guard from %p\n", at, reported, guard_low);
	_exit(8);
}

static __attribute__((noinline)) int recurses(int n)
{
	volatile char frame[256];

	frame[0] = (char)n;
	return n == -1 ? 0 : recurses(n + 1) + frame[0];
}

static void *overflows(void *arg)
{
	static char altstack[64 * 1024];
	stack_t ss = { .ss_sp = altstack, .ss_size = sizeof(altstack) };
	pthread_attr_t attr;
	size_t size, guard;
	void *addr;

	CHECK_EQ(pthread_getattr_np(pthread_self(), &attr), 0);
	CHECK_EQ(pthread_attr_getstack(&attr, &addr, &size), 0);
	CHECK_EQ(pthread_attr_getguardsize(&attr, &guard), 0);
	reported = addr;
	guard_low = reported - guard;
	CHECK_EQ(sigaltstack(&ss, NULL), 0);
	return (void *)(long)recurses((int)(long)arg);
}

static void run_overflow(size_t size)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		struct sigaction sa = { .sa_sigaction = overflown, .sa_flags = SA_SIGINFO | SA_ONSTACK };
		pthread_attr_t attr;
		pthread_t t;

		CHECK_EQ(sigaction(SIGSEGV, &sa, NULL), 0);
		CHECK_EQ(pthread_attr_init(&attr), 0);
		if (size)
			CHECK_EQ(pthread_attr_setstacksize(&attr, size), 0);
		CHECK_EQ(pthread_create(&t, &attr, overflows, NULL), 0);
		pthread_join(t, NULL);
		_exit(9);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), 7);
}

struct want {
	size_t size;		/* bytes, the least getattr_np may report */
	char *low, *high;	/* the caller's stack, or NULL */
	int detached;
};

static void *checks_own_attr(void *arg)
{
	struct want *want = arg;
	pthread_attr_t attr;
	size_t size, guard;
	void *addr;
	int state;
	char here;

	CHECK_EQ(pthread_getattr_np(pthread_self(), &attr), 0);
	CHECK_EQ(pthread_attr_getstack(&attr, &addr, &size), 0);
	CHECK_EQ(pthread_attr_getguardsize(&attr, &guard), 0);
	CHECK_EQ(pthread_attr_getdetachstate(&attr, &state), 0);
	CHECK_EQ(state, want->detached ? PTHREAD_CREATE_DETACHED : PTHREAD_CREATE_JOINABLE);
	CHECK(size >= want->size);
	CHECK(&here >= (char *)addr && &here < (char *)addr + size);
	if (want->low) {
		CHECK(&here >= want->low && &here < want->high);
		CHECK((char *)addr == want->low);
		CHECK_EQ(size, want->high - want->low);
	} else {
		/* all of the reported stack can be read and written, down to the last page */
		volatile char *p = &here;

		while (p > (char *)addr + 8192) {
			p -= 4096;
			*p = 1;
		}
	}
	CHECK_EQ(pthread_attr_destroy(&attr), 0);
	return NULL;
}

static void check_getattr(void)
{
	struct want want = { .size = 2 * MIB - 64 * 1024 };
	pthread_attr_t attr;
	pthread_t t;
	size_t len = 256 * 1024;
	char *mem;

	pthread_attr_init(&attr);
	CHECK_EQ(pthread_attr_setstacksize(&attr, 2 * MIB), 0);
	CHECK_EQ(pthread_create(&t, &attr, checks_own_attr, &want), 0);
	prog_join(t);
	pthread_attr_destroy(&attr);

	mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(mem != MAP_FAILED);
	want = (struct want){ .size = len, .low = mem, .high = mem + len };
	pthread_attr_init(&attr);
	CHECK_EQ(pthread_attr_setstack(&attr, mem, len), 0);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(pthread_create(&t, &attr, checks_own_attr, &want), 0);
		prog_join(t);
		memset(mem, 0xa5, len);		/* the caller's again, and dirty for the next */
	}
	pthread_attr_destroy(&attr);
	CHECK_EQ(munmap(mem, len), 0);

	pthread_attr_init(&attr);
	CHECK_EQ(pthread_getattr_np(pthread_self(), &attr), 0);
	void *addr;
	size_t size;
	CHECK_EQ(pthread_attr_getstack(&attr, &addr, &size), 0);
	CHECK((char *)&addr >= (char *)addr && (char *)&addr < (char *)addr + size);
	pthread_attr_destroy(&attr);
}

static void check_errors(void)
{
	pthread_attr_t attr;
	int v;

	pthread_attr_init(&attr);
	CHECK_EQ(pthread_attr_setstacksize(&attr, 0), EINVAL);
	CHECK_EQ(pthread_attr_setstacksize(&attr, (size_t)PTHREAD_STACK_MIN - 1), EINVAL);
	CHECK_EQ(pthread_attr_setstacksize(&attr, (size_t)PTHREAD_STACK_MIN), 0);
	CHECK_EQ(pthread_attr_setdetachstate(&attr, 99), EINVAL);
	CHECK_EQ(pthread_attr_setscope(&attr, PTHREAD_SCOPE_PROCESS), ENOTSUP);
	CHECK_EQ(pthread_attr_setscope(&attr, PTHREAD_SCOPE_SYSTEM), 0);
	CHECK_EQ(pthread_attr_setinheritsched(&attr, 99), EINVAL);
	CHECK_EQ(pthread_attr_setschedpolicy(&attr, 99), EINVAL);
	CHECK_EQ(pthread_attr_getdetachstate(&attr, &v), 0);
	CHECK_EQ(v, PTHREAD_CREATE_JOINABLE);
	CHECK_EQ(pthread_attr_setguardsize(&attr, 0), 0);
	pthread_attr_destroy(&attr);
}

static void check_no_guard(void)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	CHECK_EQ(pthread_attr_setguardsize(&attr, 0), 0);
	CHECK_EQ(pthread_create(&t, &attr, uses_stack, (void *)MIB), 0);
	prog_join(t);
	CHECK_EQ(pthread_attr_setguardsize(&attr, 64 * 1024), 0);
	CHECK_EQ(pthread_create(&t, &attr, uses_stack, (void *)MIB), 0);
	prog_join(t);
	/* more than any machine has: EAGAIN, and the process goes on */
	CHECK_EQ(pthread_attr_setstacksize(&attr, (size_t)1 << 50), 0);
	CHECK_EQ(pthread_create(&t, &attr, uses_stack, (void *)MIB), EAGAIN);
	CHECK_EQ(pthread_attr_setstacksize(&attr, MIB), 0);
	CHECK_EQ(pthread_create(&t, &attr, uses_stack, (void *)(MIB / 2)), 0);
	prog_join(t);
	pthread_attr_destroy(&attr);
}

static void check_default(void)
{
	pthread_attr_t attr;
	size_t before, size;
	pthread_t t;

	pthread_attr_init(&attr);
	CHECK_EQ(pthread_getattr_default_np(&attr), 0);
	CHECK_EQ(pthread_attr_getstacksize(&attr, &before), 0);
	CHECK_EQ(pthread_attr_setstacksize(&attr, 12 * MIB), 0);
	CHECK_EQ(pthread_setattr_default_np(&attr), 0);
	t = prog_start(uses_stack, (void *)(11 * MIB));
	prog_join(t);
	CHECK_EQ(pthread_getattr_default_np(&attr), 0);
	CHECK_EQ(pthread_attr_getstacksize(&attr, &size), 0);
	CHECK_EQ(size, 12 * MIB);
	CHECK_EQ(pthread_attr_setstacksize(&attr, before), 0);
	CHECK_EQ(pthread_setattr_default_np(&attr), 0);
	pthread_attr_destroy(&attr);
}

int main(void)
{
	prog_init();
	run_with_stack(16 * MIB, 16 * MIB - 128 * 1024);
	run_with_stack((size_t)PTHREAD_STACK_MIN + 64 * 1024, 56 * 1024);
	run_with_stack(64 * MIB, 1 * MIB);
	puts("stack size ok");

	run_overflow(0);
	run_overflow(64 * 1024);
	run_overflow(2 * MIB);
	puts("overflow ok");
	check_getattr();
	puts("getattr ok");
	check_errors();
	puts("errors ok");
	check_no_guard();
	puts("guard ok");
	check_default();
	puts("default ok");
	return 0;
}
