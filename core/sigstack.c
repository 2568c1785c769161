// SPDX-License-Identifier: MIT
/*
 * Signal stacks. The kernel keeps one alternate stack for a kernel thread, and a program has one for each of its
 * threads. Were they the same, each switch would have to change it, and a signal in the middle of a switch, or on a g0,
 * would be put over what a G has there that is elsewhere by then. So each M has one of its own (Go: gsignal), for ever.
 * A signal that asks for the alternate stack arrives there, with everything blocked: SIG_NOTIFY, SIG_KICK, and those
 * whose handler the program installed with SA_ONSTACK. What can be done there, without a switch, is; else the handler
 * moves the kernel's frame to a stack of the G's and goes on there. The G's alternate stack is known to this library
 * alone: whether it is in use is a question of the stack pointer, as in the kernel.
 *
 * So no frame of ours is ever below the stack pointer of code that wants none there (Erlang's compiled code keeps its
 * heap in that place, and asks for the alternate stack for every handler), nor on a coroutine's stack.
 *
 * On an M's signal stack nothing may switch: no gmp_enter() on a G, no hook.
 */
#include "core/gmp.h"

/* A mode that sigaltstack(2) does not have. The kernel takes it for an error, which sigreturn does not report. */
#define KEEP_ALTSTACK 0x7fffffff

void gmp_sigstack_set(struct m *mp)
{
	struct gmp_altstack ss = {.sp = mp->sigstack, .size = GMP_SIGSTACK};

	sys2(__NR_sigaltstack, &ss, NULL);
}

void gmp_sigstack_keep(void *uc)
{
	((ucontext_t *)uc)->uc_stack.ss_flags = KEEP_ALTSTACK;
}

/* Not the alternate stack, which may be part of it. */
bool gmp_on_own_stack(const struct g *gp, uintptr_t sp)
{
	return sp > (uintptr_t)gp->stack_lo && sp <= (uintptr_t)gp->stack_hi && !gmp_on_altstack(&gp->altstack, sp);
}

/* A copy of uc, which is on the M's signal stack, where gp was interrupted on its own stack; NULL: not, or no room. */
void *gmp_sigframe_home(struct g *gp, void *uc, size_t room)
{
	uintptr_t sp = arch_uc_sp(uc);

	if (!gmp_on_own_stack(gp, sp))
		return NULL;
	return arch_sigframe_copy(uc, sp - ARCH_RED_ZONE, (uintptr_t)gp->stack_lo + room);
}

/*
 * A copy where the kernel would put the frame of a handler of gp's that asks for the alternate stack; NULL: no room.
 * That of a thread which stands on that stack is nested, whatever its flags are: what is to be disarmed for the time of
 * a handler (SS_AUTODISARM) is not yet, when the frame has just been moved there.
 */
void *gmp_sigframe_handler(struct g *gp, void *uc)
{
	const struct gmp_altstack *ss = &gp->altstack;
	uintptr_t sp = arch_uc_sp(uc), lo = (uintptr_t)ss->sp;

	if (ss->sp != NULL && !gmp_on_altstack(ss, sp))
		return arch_sigframe_copy(uc, lo + ss->size, lo);
	return arch_sigframe_copy(uc, sp - ARCH_RED_ZONE, lo);
}
