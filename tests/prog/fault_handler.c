/* SPDX-License-Identifier: MIT */
/*
 * Faults as a tool: a SIGSEGV handler in many threads at once maps the page in or jumps out, with
 * and without an alternate stack, and catches the overflow of a thread's stack at its guard page.
 */
#include "prog.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#define PAGES	16

static __thread char *area;
static __thread sigjmp_buf jump;
static __thread volatile sig_atomic_t jumping;
static volatile int bottomless = 1;

static void handler(int sig, siginfo_t *info, void *context)
{
	char *page = (char *)((uintptr_t)info->si_addr & ~(uintptr_t)4095);

	(void)context;
	CHECK_EQ(sig, SIGSEGV);
	if (jumping)
		siglongjmp(jump, 1);
	CHECK(page >= area && page < area + PAGES * 4096);
	CHECK_EQ(mprotect(page, 4096, PROT_READ | PROT_WRITE), 0);
}

static __attribute__((noinline)) int overflow(int n)
{
	volatile char frame[1024];

	frame[0] = (char)n;
	if (bottomless)
		return overflow(n + 1) + frame[0];
	return frame[0];
}

static void *faults(void *arg)
{
	stack_t ss = { .ss_size = 65536 }, old;
	int with_stack = (long)arg & 1;

	if (with_stack) {
		ss.ss_sp = malloc(ss.ss_size);
		CHECK_EQ(sigaltstack(&ss, NULL), 0);
	} else {
		CHECK_EQ(sigaltstack(NULL, &old), 0);
		CHECK_EQ(old.ss_flags, SS_DISABLE);	/* not another thread's */
	}
	area = mmap(NULL, PAGES * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(area != MAP_FAILED);
	for (int i = 0; i < PAGES; i++) {
		area[i * 4096 + 5] = (char)i;
		sched_yield();
		CHECK_EQ(area[i * 4096 + 5], i);
	}
	for (volatile int i = 0; i < 20; i++) {
		jumping = 1;
		if (sigsetjmp(jump, 1) == 0) {
			*(volatile int *)(uintptr_t)(8 + (i & 1) * 4096) = 1;
			CHECK(!"reached");
		}
		jumping = 0;
		sched_yield();
	}
	if (with_stack) {
		jumping = 1;
		if (sigsetjmp(jump, 1) == 0)
			CHECK(overflow(0) == -1);
		jumping = 0;
		CHECK_EQ(sigaltstack(NULL, &old), 0);
		CHECK(old.ss_sp == ss.ss_sp);
		ss.ss_flags = SS_DISABLE;
		CHECK_EQ(sigaltstack(&ss, NULL), 0);
		free(ss.ss_sp);
	}
	munmap(area, PAGES * 4096);
	return arg;
}

int main(void)
{
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	pthread_attr_t attr;
	pthread_t ts[12];

	prog_init();
	CHECK_EQ(sigaction(SIGSEGV, &sa, NULL), 0);
	pthread_attr_init(&attr);
	CHECK_EQ(pthread_attr_setstacksize(&attr, 256 * 1024), 0);
	for (int round = 0; round < 3; round++) {
		for (long i = 0; i < 12; i++)
			CHECK_EQ(pthread_create(&ts[i], &attr, faults, (void *)i), 0);
		for (int i = 0; i < 12; i++)
			prog_join(ts[i]);
	}
	faults((void *)0);
	puts("ok");
	return 0;
}
