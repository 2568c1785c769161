/* SPDX-License-Identifier: MIT */
/*
 * x86-64 context switch. Layout of struct arch_ctx (arch.h): sp 0, tp 8, running 16.
 * Saved at sp, upwards: x87 control word and mxcsr (8 bytes), r15 r14 r13 r12 rbx rbp, return address.
 */
#include "arch/asm.h"
#include <asm/errno.h>
#include <asm/prctl.h>
#include <asm/unistd.h>

/* void arch_switch(struct arch_ctx *from, const struct arch_ctx *to) */
FUNC(arch_switch)
	endbr64
	push %rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbp, 0
	push %rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbx, 0
	push %r12
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r12, 0
	push %r13
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r13, 0
	push %r14
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r14, 0
	push %r15
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r15, 0
	sub $8, %rsp
	.cfi_adjust_cfa_offset 8
	stmxcsr (%rsp)
	fnstcw 4(%rsp)
	mov (%rsp), %edx
	movzwl 4(%rsp), %ecx

	mov %rsp, 0(%rdi)
	mov 8(%rsi), %rax
	mov 0(%rsi), %rsp
	cmpl $0, arch_fast_tp(%rip)
	je 2f
	wrfsbase %rax
1:
	/* from is whole: release it (x86 stores have release order) */
	movl $0, 16(%rdi)
	/* control words are rarely changed: compare before the slow loads */
	cmp %edx, (%rsp)
	je 3f
	ldmxcsr (%rsp)
3:
	cmp %cx, 4(%rsp)
	je 4f
	fldcw 4(%rsp)
4:
	add $8, %rsp
	.cfi_adjust_cfa_offset -8
	pop %r15
	.cfi_adjust_cfa_offset -8
	.cfi_restore r15
	pop %r14
	.cfi_adjust_cfa_offset -8
	.cfi_restore r14
	pop %r13
	.cfi_adjust_cfa_offset -8
	.cfi_restore r13
	pop %r12
	.cfi_adjust_cfa_offset -8
	.cfi_restore r12
	pop %rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbx
	pop %rbp
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbp
	ret
2:	/* no fsgsbase: arch_prctl(ARCH_SET_FS, tp) on the new stack; keeps rdi, edx and ecx */
	.cfi_adjust_cfa_offset 56
	mov %rdi, %r8
	mov %edx, %r9d
	mov %ecx, %r10d
	mov %rax, %rsi
	mov $ARCH_SET_FS, %edi
	mov $__NR_arch_prctl, %eax
	syscall
	mov %r8, %rdi
	mov %r9d, %edx
	mov %r10d, %ecx
	jmp 1b
END(arch_switch)

/* First return address of a context: rbx = entry, r12 = arg (see arch_ctx_init). */
FUNC(arch_entry)
	.cfi_undefined rip
	endbr64
	xor %ebp, %ebp
	mov %r12, %rdi
	call *%rbx
	ud2
END(arch_entry)

/* int arch_clone(unsigned long flags, void *top, uintptr_t tp, int *ctid, void (*entry)(void *), void *arg) */
FUNC(arch_clone)
	endbr64
	and $-16, %rsi
	mov %r8, -8(%rsi)	/* entry */
	mov %r9, -16(%rsi)	/* arg */
	sub $16, %rsi
	mov %rdx, %r8		/* tls */
	mov %rcx, %rdx		/* parent_tid */
	mov %rcx, %r10		/* child_tid */
	mov $__NR_clone, %eax
	syscall
	test %rax, %rax
	jz 1f
	ret
1:
	.cfi_undefined rip
	xor %ebp, %ebp
	pop %rdi
	pop %rax
	call *%rax
	ud2
END(arch_clone)

/*
 * long arch_syscall_cut(long nr, long a, long b, long c, const _Atomic(bool) *go): see arch.h. A restarted call begins
 * anew at its instruction, so a handler finds it there.
 */
FUNC(arch_syscall_cut)
	endbr64
	mov %rdi, %rax
	mov %rsi, %rdi
	mov %rdx, %rsi
	mov %rcx, %rdx
	cmpb $0, (%r8)
	je 1f
	syscall
	.globl arch_syscall_cut_made
	.hidden arch_syscall_cut_made
arch_syscall_cut_made:
	ret
1:
	mov $-EINTR, %eax
	cltq
	ret
END(arch_syscall_cut)

/*
 * Returns from a signal handler. Unwinders find the interrupted registers by the rules below: a signal frame whose CFA
 * is the interrupted rsp, and each register in the mcontext of the ucontext that rsp points at. Some know the frame by
 * the bytes of the two instructions instead, so these are as in glibc. A nop before, for those that look at pc - 1.
 */
.macro IN_UC reg, low, high
	.cfi_escape 0x10, \reg, 3, 0x77, \low, \high	/* DW_CFA_expression: DW_OP_breg7 offset (sleb128) */
.endm
	.balign 16
	nop
FUNC(arch_sigreturn)
	.cfi_signal_frame
	.cfi_escape 0x0f, 4, 0x77, 0xa0, 1, 6	/* DW_CFA_def_cfa_expression: DW_OP_breg7 160, DW_OP_deref */
	IN_UC 8, 0xa8, 0
	IN_UC 9, 0xb0, 0
	IN_UC 10, 0xb8, 0
	IN_UC 11, 0xc0, 0
	IN_UC 12, 0xc8, 0
	IN_UC 13, 0xd0, 0
	IN_UC 14, 0xd8, 0
	IN_UC 15, 0xe0, 0
	IN_UC 5, 0xe8, 0
	IN_UC 4, 0xf0, 0
	IN_UC 6, 0xf8, 0
	IN_UC 3, 0x80, 1
	IN_UC 1, 0x88, 1
	IN_UC 0, 0x90, 1
	IN_UC 2, 0x98, 1
	IN_UC 7, 0xa0, 1
	IN_UC 16, 0xa8, 1
	mov $__NR_rt_sigreturn, %rax
	syscall
END(arch_sigreturn)

/* void arch_rehandle(void *uc, int sig, void (*handler)(int, siginfo_t *, void *)): as the kernel enters a handler */
FUNC(arch_rehandle)
	endbr64
	mov %rdx, %rax
	mov %rdi, %rdx
	lea -8(%rdi), %rsp	/* the restorer's address: pretcode of struct rt_sigframe */
	mov %esi, %edi
	lea 304(%rdx), %rsi	/* siginfo follows struct ucontext */
	jmp *%rax
END(arch_rehandle)

/*
 * long arch_vfork(void (*before)(void), long (*after)(long)): vfork(2) whose child returns on the caller's stack. The
 * child overwrites the stack below the caller's frame, so the return address is kept in a register meanwhile.
 * before runs first; after(rc) runs in the parent only, once the child has gone, and gives the result.
 */
FUNC(arch_vfork)
	endbr64
	push %rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbx, 0
	mov %rsi, %rbx
	call *%rdi
	mov %rbx, %rsi
	pop %rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbx
	pop %rdi
	.cfi_adjust_cfa_offset -8
	.cfi_register rip, rdi
	mov $__NR_vfork, %eax
	syscall
	push %rdi
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rip, 0
	test %rax, %rax
	jz 1f
	sub $8, %rsp
	.cfi_adjust_cfa_offset 8
	mov %rax, %rdi
	call *%rsi
	add $8, %rsp
	.cfi_adjust_cfa_offset -8
1:
	ret
END(arch_vfork)
