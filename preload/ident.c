// SPDX-License-Identifier: MIT
/* gettid, futex(2) by syscall.c, and dlopen: calls that would show the kernel thread, or pass by the hooks. */
#include <link.h>
#include <string.h>
#include <sys/auxv.h>

#include "core/sema.h"
#include "preload/preload.h"

pid_t hook_gettid(void)
{
	int tid = gmp_tls.tid;

	if (tid == 0 || getg() == NULL || gmp_tls.inshim != 0) /* the child of vfork has its parent's TLS */
		return (pid_t)sys0(__NR_gettid);
	return tid;
}

#define BAD_DEADLINE INT64_MIN

/* A relative or absolute futex timeout as a deadline. */
static int64_t futex_deadline(const struct timespec *ts, bool absolute, clockid_t clock)
{
	if (ts == NULL)
		return GMP_NO_DEADLINE;
	if (!ts_valid(ts) || ts->tv_sec < 0)
		return BAD_DEADLINE;
	return absolute ? gmp_deadline_abs(clock, ts) : gmp_deadline_rel(ts);
}

/*
 * EFAULT belongs to the kernel: a requeue of nobody makes it read the word and do nothing else (a wait without a
 * timeout would be a waiter for a moment, and could swallow a wake-up). The page that was right last time is not asked
 * about again. Also answers EAGAIN when the word differs.
 */
static int check_word(uint32_t *addr, uint32_t val)
{
	static __thread uintptr_t good_page __attribute__((tls_model("initial-exec")));
	int rc;

	if (((uintptr_t)addr & -(uintptr_t)sched.page_size) == good_page)
		return 0;
	rc = (int)sys6(__NR_futex, addr, FUTEX_CMP_REQUEUE_PRIVATE, 0, 0, addr, val);
	if (rc == -EFAULT || rc == -EAGAIN)
		return rc;
	good_page = (uintptr_t)addr & -(uintptr_t)sched.page_size;
	return 0;
}

static long futex_wait(uint32_t *addr, uint32_t val, uint32_t bitset, int64_t deadline)
{
	struct intr_mark mark = intr_begin();
	int rc;

	if (deadline == BAD_DEADLINE || bitset == 0)
		return -EINVAL;
	rc = check_word(addr, val);
	if (rc != 0)
		return rc;
	do {
		rc = gmp_futex_wait(addr, val, bitset, deadline, "futex");
		if (rc == -EINTR)
			gmp_testcancel_async();
		/* the kernel restarts only a wait without a timeout */
	} while (rc == -EINTR && !intr_fails(mark, deadline == GMP_NO_DEADLINE));
	return rc;
}

/* Threads that are no G, and libgomp's inline calls, wait in the kernel: what is not found here may be there. */
static long futex_wake(uint32_t *addr, int n, uint32_t bitset)
{
	int woken;
	long more = 0;

	if (bitset == 0)
		return -EINVAL;
	gmp_enter();
	woken = gmp_sema_wake(addr, n < 1 ? 1 : n, bitset);
	gmp_leave();
	if (woken < n)
		more = sys6(__NR_futex, addr, FUTEX_WAKE_BITSET_PRIVATE, n - woken, NULL, NULL, bitset);
	return woken + (more > 0 ? more : 0);
}

static uint32_t wake_op_new(uint32_t old, uint32_t op)
{
	uint32_t arg = op >> 12 & 0xfff;

	if (op >> 28 & FUTEX_OP_OPARG_SHIFT)
		arg = 1u << (arg & 31);
	switch (op >> 28 & 7) {
	case FUTEX_OP_SET:
		return arg;
	case FUTEX_OP_ADD:
		return old + arg;
	case FUTEX_OP_OR:
		return old | arg;
	case FUTEX_OP_ANDN:
		return old & ~arg;
	default:
		return old ^ arg;
	}
}

static bool wake_op_cmp(uint32_t old, uint32_t op)
{
	int32_t v = (int32_t)old, arg = (int32_t)(op << 20) >> 20;

	switch (op >> 24 & 15) {
	case FUTEX_OP_CMP_EQ:
		return v == arg;
	case FUTEX_OP_CMP_NE:
		return v != arg;
	case FUTEX_OP_CMP_LT:
		return v < arg;
	case FUTEX_OP_CMP_LE:
		return v <= arg;
	case FUTEX_OP_CMP_GT:
		return v > arg;
	default:
		return v >= arg;
	}
}

/* futex(2) on private words; everything else is the kernel's. True when handled. */
bool gmp_private_futex(const long a[6], long *ret)
{
	uint32_t *addr = (uint32_t *)a[0], *addr2 = (uint32_t *)a[4], val = (uint32_t)a[2], old, cmp;
	const struct timespec *ts = (const struct timespec *)a[3];
	int op = (int)a[1], woken;
	clockid_t clock = op & FUTEX_CLOCK_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC;

	if (!(op & FUTEX_PRIVATE_FLAG) || ((uintptr_t)addr & 3))
		return false;
	switch (op & FUTEX_CMD_MASK) {
	case FUTEX_WAIT:
		*ret = futex_wait(addr, val, UINT32_MAX, futex_deadline(ts, false, CLOCK_MONOTONIC));
		return true;
	case FUTEX_WAIT_BITSET:
		*ret = futex_wait(addr, val, (uint32_t)a[5], futex_deadline(ts, true, clock));
		return true;
	case FUTEX_WAKE:
		*ret = futex_wake(addr, (int)val, UINT32_MAX);
		return true;
	case FUTEX_WAKE_BITSET:
		*ret = futex_wake(addr, (int)val, (uint32_t)a[5]);
		return true;
	case FUTEX_REQUEUE:
	case FUTEX_CMP_REQUEUE:
		cmp = (uint32_t)a[5];
		*ret = gmp_futex_requeue(addr, (int)val, addr2, (int)a[3],
					 (op & FUTEX_CMD_MASK) == FUTEX_REQUEUE ? NULL : &cmp, &woken);
		return true;
	case FUTEX_WAKE_OP:
		old = __atomic_load_n(addr2, __ATOMIC_SEQ_CST);
		while (!__atomic_compare_exchange_n(addr2, &old, wake_op_new(old, (uint32_t)a[5]), false,
						    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			;
		*ret = futex_wake(addr, (int)val, UINT32_MAX);
		if (wake_op_cmp(old, (uint32_t)a[5]))
			*ret += futex_wake(addr2, (int)a[3], UINT32_MAX);
		return true;
	}
	return false;
}

/* An object without the header wants what the ABI once gave everybody: an executable stack. */
static int wants_exec(struct dl_phdr_info *info, size_t size, void *found)
{
	bool exec = true;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_GNU_STACK)
			exec = info->dlpi_phdr[i].p_flags & PF_X;
	if (!exec || info->dlpi_addr == getauxval(AT_SYSINFO_EHDR)) /* the vdso has no say */
		return 0;
	*(bool *)found = true;
	return 1;
}

_Atomic(bool) gmp_execstack_unknown;

void gmp_check_execstack(void)
{
	static _Atomic(bool) done;
	bool found = false;

	atomic_store_explicit(&gmp_execstack_unknown, false, memory_order_relaxed); /* a hint between threads */
	if (done)
		return;
	dl_iterate_phdr(wants_exec, &found);
	if (found) {
		gmp_stacks_executable();
		done = true;
	}
}

/*
 * RTLD_DEEPBIND makes the object reach libc's own functions past the hooks: a wake-up it sends to a futex would not
 * reach a G. The flag is dropped, also before there are threads, as the object stays; symbols that it would have found
 * in itself first may come from the program.
 *
 * libc looks at its return address to see whose RUNPATH and $ORIGIN count. A plain path needs neither, and allows to
 * look at what has been loaded; any other name is passed on by a jump, and its object is looked at when the next
 * thread is created.
 */
void *hook_dlopen(const char *file, int flags)
{
	void *h;

	if (sched.maing == NULL) /* the scheduler is off */
		return PASS(dlopen)(file, flags);
	flags &= ~RTLD_DEEPBIND;
	if (!live())
		return PASS(dlopen)(file, flags);
	if (file == NULL || strchr(file, '/') == NULL || strchr(file, '$') != NULL) {
		atomic_store_explicit(&gmp_execstack_unknown, true, memory_order_relaxed); /* a hint */
		return real.dlopen(file, flags);
	}
	h = real.dlopen(file, flags);
	if (h != NULL)
		gmp_check_execstack();
	return h;
}
