// SPDX-License-Identifier: MIT
/* x86-64: first contexts and CPU facts. */
#include <errno.h>

#include "arch/arch.h"

#define HWCAP2_FSGSBASE 2u /* the kernel lets user space run wrfsbase (AT_HWCAP2 bit 1) */

uint32_t arch_fast_tp;

void arch_entry(void); /* ctx.S */

void arch_init(unsigned long hwcap2)
{
	arch_fast_tp = (hwcap2 & HWCAP2_FSGSBASE) != 0;
}

void arch_ctx_init(struct arch_ctx *ctx, void *top, uintptr_t tp, void (*entry)(void *), void *arg)
{
	uint64_t *sp = (uint64_t *)((uintptr_t)top & ~(uintptr_t)15);
	uint32_t mxcsr;
	uint16_t x87;

	/* A new thread inherits the floating-point environment of its creator (POSIX, fenv.h). */
	__asm__("stmxcsr %0" : "=m"(mxcsr));
	__asm__("fnstcw %0" : "=m"(x87));

	*--sp = 0; /* arch_entry's caller: none; keeps the stack 16-byte aligned at its call */
	*--sp = 0;
	*--sp = (uint64_t)(uintptr_t)arch_entry;
	*--sp = 0;			     /* rbp */
	*--sp = (uint64_t)(uintptr_t)entry;  /* rbx */
	*--sp = (uint64_t)(uintptr_t)arg;    /* r12 */
	*--sp = 0;
	*--sp = 0;
	*--sp = 0;
	*--sp = (uint64_t)x87 << 32 | mxcsr;
	ctx->sp = sp;
	ctx->tp = tp;
	atomic_store_explicit(&ctx->running, 0, memory_order_relaxed); /* published with the G */
}

/* glibc: sysdeps/x86_64/nptl/tls.h, tcbhead_t. */
#define TCB_DTV 8
#define TCB_SELF 16
#define TCB_MULTIPLE_THREADS 24
#define TCB_STACK_GUARD 40
#define TCB_SHARED_END 80 /* stack_guard, pointer_guard, unused vgetcpu cache, feature_1 and its pad */

void arch_tcb_init(void *tcb, const void *from)
{
	char *t = tcb;

	*(void **)t = tcb;
	*(void **)(t + TCB_SELF) = tcb;
	*(int *)(t + TCB_MULTIPLE_THREADS) = 1;
	__builtin_memcpy(t + TCB_STACK_GUARD, (const char *)from + TCB_STACK_GUARD,
			 TCB_SHARED_END - TCB_STACK_GUARD);
}

void **arch_tcb_dtv(void *tcb)
{
	return (void **)((char *)tcb + TCB_DTV);
}

/* ctx.S: behind the system call instruction. */
extern const char arch_syscall_cut_made[] __attribute__((visibility("hidden")));

bool arch_uc_cut(void *uc)
{
	greg_t *r = ((ucontext_t *)uc)->uc_mcontext.gregs;
	uintptr_t pc = (uintptr_t)r[16]; /* REG_RIP */

	if (pc < (uintptr_t)arch_syscall_cut || pc >= (uintptr_t)arch_syscall_cut_made)
		return false;
	r[16] = (greg_t)(uintptr_t)arch_syscall_cut_made;
	r[13] = -EINTR; /* REG_RAX */
	return true;
}

/* linux: arch/x86/include/asm/sigframe.h, struct rt_sigframe: pretcode, ucontext (304 bytes), siginfo; sigcontext.h */
#define SIGFRAME_SIZE (8 + 304 + 128)
#define FXSAVE_SIZE 512
#define SW_BYTES 464 /* struct _fpx_sw_bytes within it: magic1, extended_size */
#define XSTATE_MAGIC1 0x46505853u
#define XSAVE_ALIGN 64

void *arch_sigframe_copy(const void *uc, uintptr_t top, uintptr_t lo)
{
	const char *state = (const char *)((const ucontext_t *)uc)->uc_mcontext.fpregs;
	size_t size = state != NULL ? FXSAVE_SIZE : 0;
	uintptr_t to, frame;
	uint32_t sw[2];

	if (state != NULL) {
		__builtin_memcpy(sw, state + SW_BYTES, sizeof(sw));
		if (sw[0] == XSTATE_MAGIC1)
			size = sw[1];
	}
	if (top < lo || top - lo < size + XSAVE_ALIGN + SIGFRAME_SIZE + 2 * sizeof(long) + 16)
		return NULL;
	to = (top - size) & -(uintptr_t)XSAVE_ALIGN;
	frame = ((to - SIGFRAME_SIZE) & -(uintptr_t)16) - sizeof(long); /* as if a call had pushed pretcode */
	__builtin_memcpy((void *)to, state, size);
	__builtin_memcpy((void *)frame, (const char *)uc - sizeof(long), SIGFRAME_SIZE);
	if (state != NULL)
		((ucontext_t *)(frame + sizeof(long)))->uc_mcontext.fpregs = (void *)to;
	return (void *)(frame + sizeof(long));
}
