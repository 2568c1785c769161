// SPDX-License-Identifier: MIT
/*
 * A program that restricts its own system calls (prctl(2) PR_SET_SECCOMP, seccomp(2)) lists those of libc's threads,
 * not the scheduler's: an epoll set, membarrier, signals to a kernel thread. Often the penalty is death. So the filter
 * is tried here, before the kernel has it, on what the library calls. If it refuses something, and there are no
 * threads yet, there will be none of ours; later it is only said.
 *
 * A filter that came with the process is tried by calls instead: gmp_osrefuses(), which cannot survive one that kills.
 */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

#include "core/log.h"
#include "preload/preload.h"

/* What the library calls beyond what libc's threads need. SPARE: it can do without, if it is told by an errno. */
static const struct need {
	const char *name;
	int nr;
	bool spare;
} needs[] = {
#define NEED(name)  {#name, SYS_##name, false}
#define SPARE(name) {#name, SYS_##name, true}
	NEED(membarrier),    NEED(tgkill),	    NEED(rt_tgsigqueueinfo), NEED(rt_sigtimedwait), NEED(sigaltstack),
	NEED(clock_gettime), NEED(epoll_create1),   NEED(eventfd2),	     NEED(epoll_ctl),	    NEED(epoll_pwait),
	NEED(recvfrom),	     NEED(sendto),	    NEED(sendmsg),	     NEED(futex),	    NEED(clone),
	NEED(mmap),	     NEED(munmap),	    NEED(mprotect),	     NEED(rt_sigprocmask),  NEED(rt_sigreturn),
	NEED(read),	     NEED(write),	    NEED(close),	     NEED(poll),	    NEED(getpid),
	NEED(gettid),	     NEED(getsockopt),	    NEED(fcntl),	     NEED(fstat),	    NEED(exit),
	SPARE(preadv2),	     SPARE(pwritev2),	    SPARE(epoll_pwait2),     SPARE(ppoll),	    SPARE(madvise),
	SPARE(sched_yield),  SPARE(timerfd_create), SPARE(timerfd_settime),  SPARE(prlimit64),	    SPARE(prctl),
	SPARE(nanosleep),    SPARE(set_tid_address)};

/*
 * What the filter says to one system call, by classic BPF with the loads that seccomp allows; every jump is forward.
 * Anything that the kernel will not accept counts as a permission: the kernel says what is wrong with it.
 */
static uint32_t verdict(const struct sock_filter *code, unsigned n, const struct seccomp_data *data)
{
	uint32_t a = 0, x = 0, mem[BPF_MEMWORDS] = {0}, k, v;

	for (unsigned pc = 0; pc < n; pc++) {
		const struct sock_filter *f = &code[pc];

		k = f->k;
		v = BPF_SRC(f->code) == BPF_X ? x : k;
		switch (BPF_CLASS(f->code)) {
		case BPF_LD:
			if (BPF_MODE(f->code) == BPF_ABS && k <= sizeof(*data) - 4)
				__builtin_memcpy(&a, (const char *)data + k, 4);
			else if (BPF_MODE(f->code) == BPF_MEM)
				a = mem[k % BPF_MEMWORDS];
			else
				a = BPF_MODE(f->code) == BPF_LEN ? sizeof(*data) : k;
			break;
		case BPF_LDX:
			if (BPF_MODE(f->code) == BPF_MEM)
				x = mem[k % BPF_MEMWORDS];
			else
				x = BPF_MODE(f->code) == BPF_LEN ? sizeof(*data) : k;
			break;
		case BPF_ST:
			mem[k % BPF_MEMWORDS] = a;
			break;
		case BPF_STX:
			mem[k % BPF_MEMWORDS] = x;
			break;
		case BPF_ALU:
			switch (BPF_OP(f->code)) {
			case BPF_ADD:
				a += v;
				break;
			case BPF_SUB:
				a -= v;
				break;
			case BPF_MUL:
				a *= v;
				break;
			case BPF_DIV:
				a = v == 0 ? 0 : a / v;
				break;
			case BPF_OR:
				a |= v;
				break;
			case BPF_AND:
				a &= v;
				break;
			case BPF_XOR:
				a ^= v;
				break;
			case BPF_LSH:
				a <<= v & 31;
				break;
			case BPF_RSH:
				a >>= v & 31;
				break;
			case BPF_NEG:
				a = -a;
				break;
			}
			break;
		case BPF_JMP:
			switch (BPF_OP(f->code)) {
			case BPF_JA:
				if (k >= n)
					return SECCOMP_RET_ALLOW;
				pc += k;
				break;
			case BPF_JEQ:
				pc += a == v ? f->jt : f->jf;
				break;
			case BPF_JGT:
				pc += a > v ? f->jt : f->jf;
				break;
			case BPF_JGE:
				pc += a >= v ? f->jt : f->jf;
				break;
			case BPF_JSET:
				pc += a & v ? f->jt : f->jf;
				break;
			}
			break;
		case BPF_RET:
			return BPF_RVAL(f->code) == BPF_A ? a : k;
		case BPF_MISC:
			if (BPF_MISCOP(f->code) == BPF_TAX)
				x = a;
			else
				a = x;
			break;
		}
	}
	return SECCOMP_RET_ALLOW;
}

/* The arguments of the call are taken for 0: a filter that looks at them may be misjudged. */
static bool permits(const struct sock_fprog *prog, int nr, bool spare)
{
	struct seccomp_data data = {.nr = nr, .arch = ARCH_AUDIT};
	uint32_t action = verdict(prog->filter, prog->len, &data) & SECCOMP_RET_ACTION_FULL;

	return action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_LOG || (spare && action == SECCOMP_RET_ERRNO);
}

/* NULL: nothing */
static const char *refused(const struct sock_fprog *prog)
{
	if (!gmp_readable(prog, sizeof(*prog)) || prog->len == 0 || prog->len > BPF_MAXINSNS ||
	    !gmp_readable(prog->filter, prog->len * sizeof(*prog->filter)))
		return NULL; /* the kernel says what is wrong with it */
	for (unsigned i = 0; i < sizeof(needs) / sizeof(needs[0]); i++)
		if (!permits(prog, needs[i].nr, needs[i].spare))
			return needs[i].name;
	return NULL;
}

void gmp_seccomp_look(const struct sock_fprog *prog)
{
	static bool said;
	const char *name;

	if (getg() == NULL || gmp_tls.inshim != 0 || (name = refused(prog)) == NULL)
		return;
	if (gmp_step_aside(permits(prog, SYS_write, false) ? name : NULL) || said)
		return;
	gmp_log("the program's seccomp filter refuses %s, which the scheduler needs: calls may fail", name);
	said = true;
}
