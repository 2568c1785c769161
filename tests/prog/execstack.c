/* SPDX-License-Identifier: MIT */
/*
 * A library that wants executable stacks is opened while threads run: their stacks, those of later threads and of a
 * thread that is created on a used stack become executable. Before, none is.
 */
#include "prog.h"

#define THREADS 20

static pthread_barrier_t barrier;

/* Is the memory of a local variable mapped executable? */
static int stack_exec(void)
{
	unsigned long lo, hi, here = (unsigned long)&lo;
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512], prot[8];
	int found = -1;

	CHECK(f);
	while (found < 0 && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx %7s", &lo, &hi, prot) == 3 && lo <= here && here < hi)
			found = prot[2] == 'x';
	fclose(f);
	CHECK(found >= 0);
	return found;
}

static void *looks(void *arg)
{
	CHECK_EQ(stack_exec(), (long)arg);
	return arg;
}

static void *waits(void *arg)
{
	CHECK_EQ(stack_exec(), 0);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	CHECK_EQ(stack_exec(), 1);
	return arg;
}

int main(void)
{
	pthread_t ts[THREADS];
	char path[4096];
	int (*answer)(void);
	void *lib;

	prog_init();
	CHECK_EQ(stack_exec(), 0);
	prog_join(prog_start(looks, (void *)0));
	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++)
		ts[i] = prog_start(waits, NULL);
	pthread_barrier_wait(&barrier);
	prog_beside(path, sizeof(path), "execstack_lib.so");
	lib = dlopen(path, RTLD_NOW);
	if (!lib) { /* glibc 2.41 and later refuse */
		printf("cannot be opened here\n");
		return 77;
	}
	*(void **)&answer = dlsym(lib, "execstack_answer");
	CHECK_EQ(answer(), 42);
	CHECK_EQ(stack_exec(), 1);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < THREADS; i++)
		prog_join(ts[i]);
	for (int i = 0; i < THREADS + 10; i++)
		ts[i % THREADS] = prog_start(looks, (void *)1), prog_join(ts[i % THREADS]);
	for (int i = 0; i < THREADS; i++)
		ts[i] = prog_start(looks, (void *)1);
	for (int i = 0; i < THREADS; i++)
		prog_join(ts[i]);
	puts("ok");
	return 0;
}
