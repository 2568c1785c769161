/* SPDX-License-Identifier: MIT */
/*
 * The allocator under many threads: contents survive, blocks may be freed by another thread than
 * their maker, realloc and aligned blocks too, and short-lived threads inherit a sound heap.
 */
#include "prog.h"

#include <malloc.h>

#define THREADS	16
#define SHARED	256

static unsigned char *shared[SHARED];
static int rounds;

static unsigned char *make(unsigned int seed)
{
	size_t n = 16 + seed % 3000;
	unsigned char *p = seed % 5 ? malloc(n) : aligned_alloc(64, (n + 63) / 64 * 64);

	CHECK(p);
	if (seed % 5 == 0)
		CHECK_EQ((uintptr_t)p % 64, 0);
	memcpy(p, &n, sizeof(n));
	memset(p + sizeof(n), (int)n & 0xff, n - sizeof(n));
	return p;
}

static void check_free(unsigned char *p)
{
	size_t n;

	if (!p)
		return;
	memcpy(&n, p, sizeof(n));
	for (size_t i = sizeof(n); i < n; i++)
		CHECK_EQ(p[i], n & 0xff);
	CHECK(malloc_usable_size(p) >= n);
	if (n % 3 == 0) {
		p = realloc(p, n * 2);
		CHECK(p);
		for (size_t i = sizeof(n); i < n; i++)
			CHECK_EQ(p[i], n & 0xff);
	}
	free(p);
}

static void *worker(void *arg)
{
	unsigned int seed = (unsigned int)(long)arg * 7919 + 1;

	for (int i = 0; i < rounds; i++) {
		seed = seed * 1103515245u + 12345u;
		unsigned char **slot = &shared[(seed >> 16) % SHARED];

		check_free(__atomic_exchange_n(slot, make(seed >> 12), __ATOMIC_ACQ_REL));
		if (i % 500 == 0)
			sched_yield();
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t ts[THREADS];
	int scale = prog_scale(argc, argv);

	prog_init();
	rounds = 4000 * scale;
	for (long i = 0; i < THREADS; i++)
		ts[i] = prog_start(worker, (void *)i);
	for (int i = 0; i < THREADS; i++)
		prog_join(ts[i]);
	puts("long ok");
	rounds = 20;
	for (int round = 0; round < 60 * scale; round++) {
		for (long i = 0; i < THREADS; i++)
			ts[i] = prog_start(worker, (void *)(i + round));
		for (int i = 0; i < THREADS; i++)
			prog_join(ts[i]);
	}
	for (int i = 0; i < SHARED; i++)
		check_free(shared[i]);
	puts("short ok");
	return 0;
}
