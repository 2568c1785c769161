// SPDX-License-Identifier: MIT
/* x86-64 half of arch.h: see there for what each function promises. */
#pragma once
#include <asm/prctl.h>
#include <asm/unistd.h>
#include <stdint.h>
#include <ucontext.h>

static inline long arch_syscall6(long nr, long a, long b, long c, long d, long e, long f)
{
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

static inline void arch_pause(void)
{
	__asm__ volatile("pause");
}

static inline void arch_mb_after_rmw(void)
{
	__asm__ volatile("" : : : "memory"); /* a locked instruction is a full barrier */
}

static inline uint64_t arch_cycles(void)
{
	uint32_t lo, hi;
	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

/* The TCB's first word points at itself (psABI, variant II), so no wrfsbase support is needed. */
static inline uintptr_t arch_get_tp(void)
{
	uintptr_t tp;
	__asm__ volatile("mov %%fs:0, %0" : "=r"(tp));
	return tp;
}

extern uint32_t arch_fast_tp;

static inline void arch_set_tp(uintptr_t tp)
{
	if (arch_fast_tp)
		__asm__ volatile("wrfsbase %0" : : "r"(tp) : "memory");
	else
		arch_syscall6(__NR_arch_prctl, ARCH_SET_FS, (long)tp, 0, 0, 0, 0);
}

#define ARCH_RED_ZONE 128
#define ARCH_AUDIT AUDIT_ARCH_X86_64 /* linux/audit.h: how seccomp filters know the architecture */

static inline uintptr_t arch_sp(void)
{
	return (uintptr_t)__builtin_frame_address(0);
}

static inline uintptr_t arch_uc_pc(void *uc)
{
	return (uintptr_t)((ucontext_t *)uc)->uc_mcontext.gregs[16]; /* REG_RIP */
}

static inline uintptr_t arch_uc_sp(void *uc)
{
	return (uintptr_t)((ucontext_t *)uc)->uc_mcontext.gregs[15]; /* REG_RSP */
}

static inline uint64_t arch_uc_sigmask(void *uc)
{
	uint64_t mask;

	__builtin_memcpy(&mask, &((ucontext_t *)uc)->uc_sigmask, sizeof(mask));
	return mask;
}

static inline void arch_uc_set_sigmask(void *uc, uint64_t mask)
{
	__builtin_memcpy(&((ucontext_t *)uc)->uc_sigmask, &mask, sizeof(mask));
}

/* Registers by DWARF number, for unwinding; those that a context does not keep are 0. */
enum { ARCH_REG_SP = 7, ARCH_REG_PC = 16, ARCH_NREGS = 17, ARCH_CTX_WORDS = 8 };

struct arch_regs {
	uintptr_t r[ARCH_NREGS];
};

/* sp: ctx.sp; frame: the ARCH_CTX_WORDS words there (ctx.S). */
static inline void arch_regs_of_ctx(uintptr_t sp, const uintptr_t *frame, struct arch_regs *regs)
{
	*regs = (struct arch_regs){.r = {[15] = frame[1], [14] = frame[2], [13] = frame[3], [12] = frame[4],
					 [3] = frame[5], [6] = frame[6], [ARCH_REG_PC] = frame[7],
					 [ARCH_REG_SP] = sp + ARCH_CTX_WORDS * sizeof(uintptr_t)}};
}

static inline void arch_regs_of_uc(const void *uc, struct arch_regs *regs)
{
	/* of gregs, in DWARF order: rax rdx rcx rbx rsi rdi rbp rsp r8-r15 rip */
	static const uint8_t greg[ARCH_NREGS] = {13, 12, 14, 11, 9, 8, 10, 15, 0, 1, 2, 3, 4, 5, 6, 7, 16};

	for (int i = 0; i < ARCH_NREGS; i++)
		regs->r[i] = (uintptr_t)((const ucontext_t *)uc)->uc_mcontext.gregs[greg[i]];
}

/* See arch.h. At file scope: a compiler takes any function named vfork for one that returns twice, and calls. */
#define ARCH_VFORK(symbol, before, after)                 \
	__asm__(".globl " #symbol "\n"                    \
		".type " #symbol ", @function\n"          \
		#symbol ":\n"                             \
		"	endbr64\n"                        \
		"	lea " #before "(%rip), %rdi\n"    \
		"	lea " #after "(%rip), %rsi\n"     \
		"	jmp arch_vfork\n"                 \
		".size " #symbol ", . - " #symbol "\n")
