// SPDX-License-Identifier: MIT
/*
 * The whole contract with the CPU. A port is one folder, chosen by host_machine.cpu_family():
 *
 *   arch/<cpu>/arch_cpu.h   struct arch_ctx, inline helpers named below, struct arch_sigctx accessors
 *   arch/<cpu>/ctx.S        arch_switch, arch_entry, arch_clone, arch_syscall_cut
 *
 * arch has no state but arch_fast_tp, no policy and no libc: it may be called on any stack with
 * any thread pointer.
 *
 * A context is what a voluntary switch must keep by the psABI: the stack pointer with the callee-saved
 * registers and floating-point control words stored above it, and the thread pointer (FS base on
 * x86-64, TPIDR_EL0 on aarch64). Caller-saved registers, vectors included, are dead at the call.
 */
#pragma once
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arch_ctx {
	void *sp;		  /* valid only while running == 0 */
	uintptr_t tp;		  /* thread pointer of this context; constant for its life */
	_Atomic(uint32_t) running; /* 1 from before it is resumed until its registers are saved */
	uint32_t reserved;
};

#include "arch_cpu.h"

/* True when the thread pointer can be set from user space (wrfsbase); set once by arch_init(). */
extern uint32_t arch_fast_tp;

/* hwcap2: AT_HWCAP2 of the auxiliary vector. Called once, before any arch_switch(). */
void arch_init(unsigned long hwcap2);

/*
 * Save the caller into *from and resume *to. On to's stack, with to's thread pointer in place and
 * before any other instruction of to, from->running is cleared with release order: whoever sees 0
 * with acquire order may resume `from` on another kernel thread. The caller has set to->running = 1.
 */
void arch_switch(struct arch_ctx *from, const struct arch_ctx *to);

/*
 * Prepare *ctx so that the first arch_switch() to it calls entry(arg) on the given stack.
 * top: the highest address of the stack, any alignment. entry must not return. running becomes 0.
 */
void arch_ctx_init(struct arch_ctx *ctx, void *top, uintptr_t tp, void (*entry)(void *), void *arg);

/*
 * Raw clone(2) of a kernel thread that runs entry(arg) on `top` with thread pointer tp.
 * flags: CLONE_*; ctid: address for CLONE_CHILD_CLEARTID and CLONE_PARENT_SETTID.
 * Returns the kernel tid, or -errno. entry must not return.
 */
int arch_clone(unsigned long flags, void *top, uintptr_t tp, int *ctid, void (*entry)(void *), void *arg);

/*
 * vfork(2). before: runs first, in the parent. after: runs in the parent when the child has gone; gets what the system
 * call returned and gives the result. Must be the last call of a function whose frame is gone by then (a tail
 * call: ARCH_VFORK), since the child goes on in the caller's caller.
 */
long arch_vfork(void (*before)(void), long (*after)(long rc));
/* ARCH_VFORK(symbol, before, after): defines the global function `symbol` as that tail call. */

/*
 * A system call that a signal handler may end for good, without a race: who wants that clears *go and has a signal
 * sent. With *go clear the call is not made; arch_uc_cut(uc), in a handler that interrupted it later, while it waited
 * or before it was made, makes it return -EINTR, also where the kernel would make it anew. False: uc is not in such a
 * call, or in one that has its result.
 */
long arch_syscall_cut(long nr, long a, long b, long c, const _Atomic(bool) *go);
bool arch_uc_cut(void *uc);

void arch_sigreturn(void); /* sa_restorer of handlers installed by raw rt_sigaction */

/*
 * Moves a handler to another stack. arch_sigframe_copy copies the kernel's frame, vector state and all, to right below
 * `top` and returns the ucontext in the copy, or NULL if that would reach below lo. arch_rehandle leaves the calling
 * handler's stack for that of such a copy; `handler`, run there, returns to what was interrupted.
 */
void *arch_sigframe_copy(const void *uc, uintptr_t top, uintptr_t lo);
void arch_rehandle(void *uc, int sig, void (*handler)(int sig, siginfo_t *info, void *uc)) __attribute__((noreturn));

/*
 * Provided by arch_cpu.h:
 *   long arch_syscall6(long nr, long a, long b, long c, long d, long e, long f)   -errno on failure
 *   void arch_pause(void)            a hint inside a spin loop
 *   void arch_mb_after_rmw(void)     a full barrier, given that an atomic read-modify-write comes before it
 *   uint64_t arch_cycles(void)       a cheap monotonic counter, the same on all CPUs
 *   uintptr_t arch_get_tp(void)      the thread pointer
 *   void arch_set_tp(uintptr_t)      set it; the caller must not touch TLS across the call
 *   uintptr_t arch_sp(void)          roughly the stack pointer
 *   ARCH_RED_ZONE                    bytes below the stack pointer that belong to the code that runs there
 *   uintptr_t arch_uc_pc(void *uc), arch_uc_sp(void *uc)   of a signal's ucontext
 *   struct arch_regs, arch_regs_of_ctx(), arch_regs_of_uc()   registers by DWARF number, for unwinding
 *   uint64_t arch_uc_sigmask(void *uc), void arch_uc_set_sigmask(void *uc, uint64_t mask)  what sigreturn will set
 */

/*
 * The head of a glibc TCB (tcbhead_t), which is the CPU's part of its layout. Copies from the TCB of a running
 * thread what all threads share (stack and pointer guard, feature word) and makes `tcb` point at itself.
 */
void arch_tcb_init(void *tcb, const void *from);
void **arch_tcb_dtv(void *tcb); /* where the TCB keeps its dtv pointer */
