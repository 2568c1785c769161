/* SPDX-License-Identifier: MIT */
/*
 * The limit of every switch between threads: arch_switch and nothing else, to and fro between two stacks with a thread
 * pointer each. One line "value unit": ns of one switch, the least of ten tries.
 */
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <time.h>

#include "arch/arch.h"

#define STACK ((size_t)64 << 10)
#define SWITCHES 2000000

static struct arch_ctx here, there;

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void back(void *arg)
{
	(void)arg;
	for (;;)
		arch_switch(&there, &here);
}

int main(void)
{
	char *stack = mmap(NULL, 2 * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *tcb = stack + STACK + STACK / 2;
	double least = 1e9;

	if (stack == MAP_FAILED)
		return 1;
	arch_init(getauxval(AT_HWCAP2));
	arch_tcb_init(tcb, (const void *)arch_get_tp());
	here.tp = arch_get_tp();
	arch_ctx_init(&there, stack + STACK, (uintptr_t)tcb, back, NULL);
	for (int try = 0; try < 10; try++) {
		double t = now_ns();

		for (int i = 0; i < SWITCHES / 2; i++)
			arch_switch(&here, &there);
		t = (now_ns() - t) / SWITCHES;
		if (t < least)
			least = t;
	}
	printf("%.1f ns\n", least);
	return 0;
}
