/* SPDX-License-Identifier: MIT */
/*
 * What a thread has in its registers survives being stopped anywhere: AVX2 and AVX-512 registers and masks, the x87
 * stack, rounding modes of both units, the red zone below the stack pointer, and string instructions with the direction
 * flag set. Each thread holds values of its own and computes without a call; there are many more threads than
 * processors.
 */
#include "prog.h"

#define MS 400

static int64_t until;
static int running;

static int late(void)
{
	struct timespec ts;

	/* the raw call: the vdso is code in which no thread is stopped */
	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec > until;
}

#ifdef __x86_64__

#define SPIN 3000000 /* some milliseconds: most stops fall in here */

static void red_zone(uint64_t id)
{
	uint64_t got = 0, spin = SPIN;

	__asm__ volatile("mov %2, -8(%%rsp)\n"
			 "	not %2\n"
			 "	mov %2, -128(%%rsp)\n"
			 "1:	dec %1\n"
			 "	jnz 1b\n"
			 "	mov -128(%%rsp), %0\n"
			 "	not %0\n"
			 "	cmp -8(%%rsp), %0\n"
			 "	je 2f\n"
			 "	xor %0, %0\n"
			 "2:	not %2\n"
			 : "=&r"(got), "+r"(spin), "+r"(id)
			 :
			 : "memory", "cc");
	CHECK_EQ(got, id);
}

static void x87(uint64_t id)
{
	uint16_t cw = (uint16_t)(0x037f | (id % 4) << 10), was, now;
	uint64_t spin = SPIN;
	double in[3] = {(double)id, (double)id + 0.5, (double)id * 3}, out[3];

	__asm__ volatile("fnstcw %0" : "=m"(was));
	__asm__ volatile("fldcw %3\n"
			 "	fldl (%4)\n"
			 "	fldl 8(%4)\n"
			 "	fldl 16(%4)\n"
			 "1:	dec %0\n"
			 "	jnz 1b\n"
			 "	fstpl 16(%5)\n"
			 "	fstpl 8(%5)\n"
			 "	fstpl (%5)\n"
			 "	fnstcw %1\n"
			 "	fldcw %2\n"
			 : "+r"(spin), "=m"(now)
			 : "m"(was), "m"(cw), "r"(in), "r"(out)
			 : "memory", "cc");
	CHECK_EQ(now, cw);
	CHECK(!memcmp(in, out, sizeof(in)));
}

static void mxcsr(uint64_t id)
{
	uint32_t csr = (uint32_t)(0x1f80 | (id % 4) << 13 | (id & 4 ? 0x8040 : 0)), was, now;
	uint64_t spin = SPIN;

	__asm__ volatile("stmxcsr %0" : "=m"(was));
	__asm__ volatile("ldmxcsr %2\n"
			 "1:	dec %0\n"
			 "	jnz 1b\n"
			 "	stmxcsr %1\n"
			 : "+r"(spin), "=m"(now)
			 : "m"(csr)
			 : "memory", "cc");
	__asm__ volatile("ldmxcsr %0" : : "m"(was));
	CHECK_EQ(now, csr);
}

__attribute__((target("avx2"))) static void avx2(uint64_t id)
{
	uint64_t in[8] = {id, ~id, id << 32, id * 77, id + 1, id + 2, id + 3, id + 4}, out[8], spin = SPIN;

	__asm__ volatile("vmovdqu (%1), %%ymm0\n"
			 "	vmovdqu 32(%1), %%ymm15\n"
			 "1:	dec %0\n"
			 "	jnz 1b\n"
			 "	vmovdqu %%ymm0, (%2)\n"
			 "	vmovdqu %%ymm15, 32(%2)\n"
			 "	vzeroupper\n"
			 : "+r"(spin)
			 : "r"(in), "r"(out)
			 : "memory", "cc", "xmm0", "xmm15");
	CHECK(!memcmp(in, out, sizeof(in)));
}

__attribute__((target("avx512f"))) static void avx512(uint64_t id)
{
	uint64_t in[16], out[16], spin = SPIN;
	uint32_t k = 0;

	for (uint64_t i = 0; i < 16; i++)
		in[i] = id * 1000 + i;
	__asm__ volatile("vmovdqu64 (%2), %%zmm1\n"
			 "	vmovdqu64 64(%2), %%zmm31\n"
			 "	kmovw %k4, %%k3\n"
			 "1:	dec %0\n"
			 "	jnz 1b\n"
			 "	vmovdqu64 %%zmm1, (%3)\n"
			 "	vmovdqu64 %%zmm31, 64(%3)\n"
			 "	kmovw %%k3, %k1\n"
			 "	vzeroupper\n"
			 : "+r"(spin), "=&r"(k)
			 : "r"(in), "r"(out), "r"((uint32_t)id & 0xffff)
			 : "memory", "cc");
	CHECK(!memcmp(in, out, sizeof(in)));
	CHECK_EQ(k, id & 0xffff);
}

/* Downwards, byte by byte; a handler must not see the flag, and it must be there again afterwards. */
static void backwards(uint64_t id)
{
	static __thread unsigned char to[65536];
	unsigned char *end = to + sizeof(to) - 1;

	for (int i = 0; i < 30; i++) {
		uint64_t n = sizeof(to);
		unsigned char *p = end;

		__asm__ volatile("std\n"
				 "	rep stosb\n"
				 "	cld\n"
				 : "+c"(n), "+D"(p)
				 : "a"(id + (uint64_t)i)
				 : "memory", "cc");
		CHECK_EQ(end - p, sizeof(to));
		CHECK_EQ(to[0], (unsigned char)(id + (uint64_t)i));
		CHECK_EQ(*end, (unsigned char)(id + (uint64_t)i));
	}
}

static void hold(uint64_t id)
{
	red_zone(id);
	x87(id);
	mxcsr(id);
	backwards(id);
	if (__builtin_cpu_supports("avx2"))
		avx2(id);
	if (__builtin_cpu_supports("avx512f"))
		avx512(id);
}

#else

static void hold(uint64_t id)
{
	volatile double x[4];

	for (int i = 0; i < 4; i++)
		x[i] = (double)id + i;
	for (volatile int n = 0; n < 3000000; n++)
		;
	for (int i = 0; i < 4; i++)
		CHECK(x[i] == (double)id + i);
}

#endif

static void *holds(void *arg)
{
	__atomic_add_fetch(&running, 1, __ATOMIC_RELAXED);
	errno = (int)(long)arg;
	do {
		hold((uint64_t)(long)arg);
		CHECK_EQ(errno, (long)arg);
	} while (!late());
	return arg;
}

int main(void)
{
	pthread_t ts[12];

	prog_init();
	until = prog_now_ns(CLOCK_MONOTONIC) + (int64_t)MS * 1000000;
	for (long i = 0; i < 12; i++)
		ts[i] = prog_start(holds, (void *)(i + 1));
	for (int i = 0; i < 12; i++)
		prog_join(ts[i]);
	puts("ok");
	return 0;
}
