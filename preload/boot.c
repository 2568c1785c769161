// SPDX-License-Identifier: MIT
/*
 * rt0_go: the constructor turns the process's main thread into m0 and the main G, in Go's order: osinit, schedinit
 * (with procresize), newproc of the main G, mstart; schedule, execute and the switch then return here.
 * The library is linked -z initfirst, so this runs before any other object's constructor.
 *
 * Phases (core/HACKING.md): off -> booted (hooks pass) -> live (first pthread_create; sched.started).
 */
#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>

#include "core/log.h"
#include "core/netpoll.h"
#include "core/osinit.h"
#include "core/tcb.h"
#include "preload/preload.h"
#include "preload/resolve.h"

#define SYSMON_STACK ((size_t)256 << 10)

extern void __asan_init(void) __attribute__((weak));
extern void __tsan_init(void) __attribute__((weak));
extern void __msan_init(void) __attribute__((weak));

static struct g main_g;
static bool booted;
static const char *_Atomic aside; /* what gmp_step_aside() was told, until it is said */
static char **boot_envp;
static struct note sysmon_up;

const char *gmp_getenv(const char *name)
{
	size_t n = strlen(name);

	for (char **e = boot_envp; e != NULL && *e != NULL; e++)
		if (strncmp(*e, name, n) == 0 && (*e)[n] == '=')
			return *e + n + 1;
	return NULL;
}

/* GMPSHIM_INHERIT=0: what this process executes is not preloaded. Ours goes from the list, others' stay. */
static void disinherit(char **envp)
{
	static const char var[] = "LD_PRELOAD=", ours[] = "libgmpshim.so";

	for (char **e = envp; *e != NULL; e++) {
		char *from, *to;

		if (strncmp(*e, var, sizeof(var) - 1) != 0)
			continue;
		for (from = to = *e + sizeof(var) - 1; *from != '\0';) {
			size_t n = strcspn(from, ": ");
			const char *name = from;

			for (size_t i = 0; i < n; i++)
				if (from[i] == '/')
					name = from + i + 1;
			n += from[n] != '\0';
			if (strncmp(name, ours, sizeof(ours) - 1) != 0) {
				memmove(to, from, n);
				to += n;
			}
			from += n;
		}
		*to = '\0';
		if ((*e)[sizeof(var) - 1] != '\0')
			return;
		for (; *e != NULL; e++) /* nothing is left: as if it had never been set */
			e[0] = e[1];
		return;
	}
}

static int host_clock(int clockid, int64_t ts[2])
{
	return real.clock_gettime(clockid, (struct timespec *)ts);
}

/* The main program's notes tell a Go binary: its own scheduler would fight with this one. */
static int find_go_note(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		const char *p = (const char *)(info->dlpi_addr + ph->p_vaddr), *end = p + ph->p_memsz;

		while (ph->p_type == PT_NOTE && p + sizeof(ElfW(Nhdr)) <= end) {
			const ElfW(Nhdr) *nh = (const void *)p;

			if (nh->n_namesz == 4 && memcmp(p + sizeof(*nh), "Go\0", 4) == 0)
				*(bool *)arg = true;
			p += sizeof(*nh) + ((nh->n_namesz + 3) & ~3u) + ((nh->n_descsz + 3) & ~3u);
		}
	}
	return 1; /* the first object is the program */
}

static char refuses[64] = "the kernel or a sandbox refuses ";

/* Why threads stay NPTL's in this process; NULL: they need not. */
static const char *why_not(void)
{
	const char *on = gmp_getenv("GMPSHIM"), *others = gmp_getenv("LD_PRELOAD"), *why;
	bool go = false;

	if (on != NULL && strcmp(on, "0") == 0)
		return "GMPSHIM=0";
	if (getauxval(AT_SECURE))
		return "the program runs with raised privileges (AT_SECURE)";
	if (__asan_init || __tsan_init || __msan_init)
		return "the program is built with a sanitizer";
	if (others != NULL && strstr(others, "/vgpreload_") != NULL)
		return "valgrind runs the program, on one kernel thread at a time and with thread pointers of its own";
	dl_iterate_phdr(find_go_note, &go);
	if (go)
		return "this is a Go program, it has the scheduler already";
	why = gmp_osrefuses();
	if (why != NULL)
		return strcat(refuses, why);
	why = gmp_layout_init();
	return why != NULL ? why : gmp_stdio_init();
}

static int procs_from_env(const char *env)
{
	int n = env != NULL && *env != '\0' ? gmp_parse_procs(env) : 0;

	if (n == 0 && env != NULL && *env != '\0')
		gmp_log("GOMAXPROCS=%s is not a number from 1 to %d: using %d", env, GMP_MAXPROCS, sched.ncpu);
	return n > 0 ? n : sched.ncpu;
}

static void stress_from_env(const char *env)
{
	static const char prefix[] = "random";
	uint64_t seed = 0;

	if (env == NULL)
		return;
	if (strncmp(env, prefix, sizeof(prefix) - 1) != 0) {
		gmp_log("GMPSHIM_SCHED=%s: the only value is random[:seed]; ignored", env);
		return;
	}
	for (const char *s = env + sizeof(prefix) - 1; *s != '\0'; s++)
		if (*s >= '0' && *s <= '9')
			seed = seed * 10 + (uint64_t)(*s - '0');
	if (seed == 0)
		seed = arch_cycles() & 0xffffff;
	sched.stress = true;
	sched.stress_seed = seed;
	if (gmp_getenv("GMPSHIM_LOG") != NULL)
		gmp_log("scheduling at random, GMPSHIM_SCHED=random:%lu", (unsigned long)seed);
}

static void slice_from_env(const char *us, const char *godebug)
{
	int64_t v = us != NULL ? gmp_parse_number(us, 1000000) : 0;

	if (us != NULL && v < 100)
		gmp_log("GMPSHIM_SLICE_US=%s is not a number from 100 to 1000000: using 10000", us);
	sched.slice_ns = v >= 100 ? v * 1000 : sched.stress ? 100000 : 10000000;
	sched.preempt_off = godebug != NULL && strstr(godebug, "asyncpreemptoff=1") != NULL;
}

static int note_text(struct dl_phdr_info *info, size_t size, void *arg)
{
	unsigned *n = arg;
	uintptr_t vdso = getauxval(AT_SYSINFO_EHDR), rtld = getauxval(AT_BASE);

	(void)size;
	for (int i = 0; i < info->dlpi_phnum && *n < 8; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t lo = info->dlpi_addr + ph->p_vaddr, hi = lo + ph->p_memsz;
		bool own = (uintptr_t)note_text >= lo && (uintptr_t)note_text < hi;

		if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_X))
			continue;
		if (own || info->dlpi_addr == gmp_libc.base || info->dlpi_addr == rtld || info->dlpi_addr == vdso) {
			gmp_host.nopreempt[*n].lo = lo;
			gmp_host.nopreempt[(*n)++].hi = hi;
		}
	}
	return 0;
}

/*
 * Code in which a G is not stopped: it may hold a lock of libc's or be in a vdso sequence. In ours a signal handler may
 * have begun or be about to return, when the mask that the kernel has is not the one on record (signal.c).
 */
static void init_nopreempt(void)
{
	unsigned n = 0;

	if (gmp_host.nopreempt[0].hi == 0)
		dl_iterate_phdr(note_text, &n);
}

static void *sysmon_main(void *arg)
{
	(void)arg;
	gmp_layout_from_thread();
	sys3(__NR_prctl, PR_SET_NAME, "sysmon", 0);
	gmp_notewakeup(&sysmon_up);
	return gmp_sysmon(NULL);
}

/*
 * The one real pthread: making it takes glibc out of its single-threaded mode for good. On a stack of ours, so
 * that no stack of glibc's cache is involved, with all signals blocked.
 */
static int start_sysmon(void *(*fn)(void *))
{
	gmp_sigset all = ~UINT64_C(0), old;
	pthread_attr_t attr;
	pthread_t th;
	char *stack = gmp_mmap(SYSMON_STACK);
	int rc;

	(void)fn;
	if (stack == NULL)
		return EAGAIN;
	gmp_noteclear(&sysmon_up);
	real.pthread_attr_init(&attr);
	real.pthread_attr_setstack(&attr, stack, SYSMON_STACK);
	real.pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sys_sigmask(SIG_SETMASK, &all, &old);
	rc = real.pthread_create(&th, &attr, sysmon_main, NULL);
	gmp_preempt_handlers();
	sys_sigmask(SIG_SETMASK, &old, NULL);
	real.pthread_attr_destroy(&attr);
	if (rc != 0) {
		gmp_munmap(stack, SYSMON_STACK);
		return rc;
	}
	gmp_notesleep(&sysmon_up, -1);
	return 0;
}

static void host_last_exit(void)
{
	real.exit(0);
}

static void init_host(void)
{
	gmp_host.clock_gettime = host_clock;
	gmp_host.start_sysmon = start_sysmon;
	gmp_host.run_deferred = gmp_run_deferred;
	gmp_host.route_slot = gmp_route_slot;
	gmp_host.reset_props = gmp_props_reset;
	gmp_host.reset_name = gmp_name_reset;
	gmp_host.last_exit = host_last_exit;
	gmp_host.notify = gmp_cancel_async;
	gmp_host.signals = gmp_signal_news;
	gmp_host.take_signals = gmp_take_signals;
	gmp_host.open_unwinder = gmp_unwinder_open;
	gmp_host.unwind = gmp_unwinder_trace;
}

/* ld.so: where the kernel put argc. Weak, as all that only ld.so has. */
extern void *__libc_stack_end __attribute__((weak));

/*
 * From its limit, which may grow, to the highest page; what the program raises the limit by later counts as foreign.
 * Without a limit it is an eighth of the address space: other memory begins lower.
 */
static void main_stack(struct g *gp)
{
	struct rlimit lim;
	uintptr_t hi, size;

	gp->stack_lo = (char *)sched.page_size;
	gp->stack_hi = (char *)UINTPTR_MAX;
	if (&__libc_stack_end == NULL)
		return;
	hi = ((uintptr_t)__libc_stack_end + sched.page_size - 1) & -sched.page_size;
	size = hi / 8;
	if (getrlimit(RLIMIT_STACK, &lim) == 0 && lim.rlim_cur < size)
		size = lim.rlim_cur;
	gp->stack_hi = (char *)hi;
	gp->stack_lo = (char *)(hi - size);
}

/* The running stack and TCB become a G on allp[0]'s queue; m0 enters mstart and finds it there. */
static void rt0_go(int procs)
{
	struct g *gp = &main_g;

	gmp_schedinit(procs);
	gp->kind = GK_MAIN;
	gp->tcb = (char *)arch_get_tp();
	gp->tls = &gmp_tls;
	gp->tid = sys_gettid();
	gp->goid = atomic_fetch_add(&sched.goidgen, 1) + 1;
	gp->parker.gp = gp;
	main_stack(gp);
	gp->sigmask = sched.m0->kmask;
	gp->ctx.tp = arch_get_tp();
	gp->ctx.running = 1;
	gp->status = G_RUNNABLE;
	sched.maing = gp;
	sched.allg = gp;
	sched.nlive = 1;
	gmp_tls.g = gp;
	gmp_tls.tid = gp->tid;
	gmp_signal_init();
	gmp_enter();
	gmp_runqput(sched.allp[0], gp, true);
	sched.m0->g0.ctx.running = 1;
	arch_switch(&gp->ctx, &sched.m0->g0.ctx);
	gmp_leave();
	gmp_lock_os_thread(); /* constructors run on m0, until main is entered */
}

static void __attribute__((constructor)) gmp_boot(int argc, char **argv, char **envp)
{
	const char *why, *procs;

	(void)argc;
	(void)argv;
	gmp_resolve();
	if (booted)
		return;
	boot_envp = envp;
	if (gmp_getenv("GMPSHIM_INHERIT") != NULL && strcmp(gmp_getenv("GMPSHIM_INHERIT"), "0") == 0)
		disinherit(envp);
	init_host();
	why = why_not();
	if (why != NULL) {
		gmp_log("off, threads stay kernel threads: %s", why);
		return;
	}
	procs = gmp_getenv("GOMAXPROCS");
	gmp_osinit(getauxval(AT_HWCAP2), getauxval(AT_PAGESZ), procs == NULL || gmp_parse_procs(procs) == 0);
	stress_from_env(gmp_getenv("GMPSHIM_SCHED"));
	slice_from_env(gmp_getenv("GMPSHIM_SLICE_US"), gmp_getenv("GODEBUG"));
	gmp_see_init();
	gmp_fork_init();
	rt0_go(procs_from_env(procs));
	booted = true;
}

bool gmp_step_aside(const char *refused)
{
	if (!booted || live() || getg() != &main_g) /* the child of another thread: libc does not know its TCB */
		return false;
	booted = false;
	aside = refused;
	gmp_signal_off();
	sys1(__NR_set_tid_address, main_g.tcb + gmp_tcb.tid); /* fork gave it another, before there were threads */
	sched.maing = NULL;
	gmp_tls.g = NULL;
	return true;
}

/* The first pthread_create. 0; -1: the scheduler is off; else errno, nothing has changed. */
int gmp_go_live(void)
{
	struct g *gp = getg();
	int rc;

	if (live())
		return 0;
	if (!booted || gp == NULL) {
		const char *refused = atomic_exchange(&aside, NULL);

		/* Only here: most programs that restrict themselves, or what they then execute, have no threads. */
		if (refused != NULL)
			gmp_log("off, threads stay kernel threads: the program's seccomp filter refuses %s", refused);
		return -1;
	}
	/*
	 * The kernel keeps addresses inside the main thread's TCB for this kernel thread; the main G leaves it soon.
	 * rseq: the kernel would write CPU numbers there while the G runs elsewhere.
	 */
	if (gmp_tcb.rseq != 0) {
		char *area = gp->tcb + gmp_tcb.rseq;

		sys4(__NR_rseq, area, 32, 1 /* RSEQ_FLAG_UNREGISTER */, 0x53053053);
		*(int *)(area + 4) = -2; /* RSEQ_CPU_ID_REGISTRATION_FAILED */
	}
	gp->m->tidword = (uint32_t)sys1(__NR_set_tid_address, &gp->m->tidword);
	gmp_signal_live();
	gmp_names_live();
	init_nopreempt();
	gmp_stdio_live();
	gmp_check_execstack();
	gmp_tsd_live();
	gmp_props_init();
	gmp_cpu_live();
	gmp_preempt_init();
	gmp_netpoll_init(); /* while nobody else opens descriptors; tried again on need if it fails */
	rc = gmp_main_started();
	return rc;
}

/* --- main --- */

static int (*program_main)(int, char **, char **);

/*
 * main runs inside an entry of ours, so that pthread_exit from main unwinds to here and ends the G, not m0. Not
 * inlined, and main is called from a frame of its own: a forced unwind stops at the frame that registered itself.
 */
static noinline int call_main(int argc, char **argv, char **envp)
{
	return program_main(argc, argv, envp);
}

static int main_wrapper(int argc, char **argv, char **envp)
{
	__pthread_unwind_buf_t buf;
	int rc;

	if (booted && getg() != NULL) {
		gmp_unlock_os_thread();
		if (gmp_sigsetjmp(buf.__cancel_jmp_buf, 0) != 0) {
			if (getg() == NULL) /* gmp_step_aside() */
				__pthread_unwind_next(&buf);
			gmp_main_exit(NULL);
		}
		__pthread_register_cancel(&buf);
		rc = call_main(argc, argv, envp);
		__pthread_unregister_cancel(&buf);
		return rc;
	}
	return call_main(argc, argv, envp);
}

int hook___libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
			   void (*fini)(void), void (*rtld_fini)(void), void *stack_end)
{
	gmp_resolve();
	program_main = main;
	return real.__libc_start_main(booted ? main_wrapper : main, argc, argv, init, fini, rtld_fini, stack_end);
}
