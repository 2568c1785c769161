// SPDX-License-Identifier: MIT
#include "common.h"

#include <dlfcn.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

#include "core/log.h"
#include "core/osinit.h"
#include "core/sema.h"
#include "core/tcb.h"

#define G_STACK ((size_t)64 << 10)

static _Atomic(uint32_t) nrunning; /* Gs of ut_go that have not ended */
static struct g main_g;

/* --- the host --- */

static int host_clock(int clockid, int64_t ts[2])
{
	return clock_gettime(clockid, (struct timespec *)ts);
}

static int host_start_sysmon(void *(*fn)(void *))
{
	sigset_t all, old;
	pthread_t th;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&th, NULL, fn, NULL);
	gmp_preempt_handlers(); /* as the shim does: the first pthread_create has taken SIG_NOTIFY */
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

static void host_run_deferred(struct g *gp)
{
	(void)gp; /* SIG_NOTIFY asks for a look here: the unit tests have no signals of their own */
	atomic_store_explicit(&gmp_tls.deferred, 0, memory_order_relaxed);
}

static void host_route_slot(struct m *mp)
{
	(void)mp;
	gmp_throw("unit test: no signal was kept");
}

static void host_last_exit(void)
{
	_exit(0);
}

void ut_host(void)
{
	static struct p p0;

	gmp_host.clock_gettime = host_clock;
	gmp_host.start_sysmon = host_start_sysmon;
	gmp_host.run_deferred = host_run_deferred;
	gmp_host.route_slot = host_route_slot;
	gmp_host.last_exit = host_last_exit;
	gmp_osinit(getauxval(AT_HWCAP2), getauxval(AT_PAGESZ), false);
	if (sched.gomaxprocs == 0) {
		sched.gomaxprocs = 1;
		sched.allp[0] = &p0;
	}
}

/* --- TLS, as preload/layout.c finds it; all by dlsym: a copy relocation of _rtld_global hangs pthread_create --- */

static void *must_sym(const char *name)
{
	void *p = dlsym(RTLD_DEFAULT, name);

	if (p == NULL) {
		fprintf(stderr, "this libc has no %s\n", name);
		abort();
	}
	return p;
}

static size_t db_offset(const char *name)
{
	return ((const uint32_t *)must_sym(name))[2]; /* {bits, count, offset} */
}

/* Static TLS modules but libc's own. Ours is among them: it holds the tests' __thread variables. */
static int read_module(struct dl_phdr_info *info, size_t size, void *arg)
{
	uintptr_t tp = arch_get_tp(), low = tp - (gmp_host.tls_size - gmp_host.tcb_size);
	uintptr_t at = (uintptr_t)info->dlpi_tls_data;
	struct gmp_tls_module *tm = &gmp_tcb.modules[gmp_tcb.nmodules];
	const char *base = strrchr(info->dlpi_name, '/');

	(void)size;
	(void)arg;
	if (info->dlpi_tls_modid == 0 || at < low || at >= tp || (base != NULL && strncmp(base, "/libc.so", 8) == 0))
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type != PT_TLS)
			continue;
		tm->offset = (ptrdiff_t)(at - tp);
		tm->image = (const void *)(info->dlpi_addr + ph->p_vaddr);
		tm->filesz = ph->p_filesz;
		tm->memsz = ph->p_memsz;
		gmp_tcb.nmodules++;
	}
	return 0;
}

static void read_modules(void)
{
	gmp_tcb.nmodules = 0;
	dl_iterate_phdr(read_module, NULL);
}

void ut_host_tls(void)
{
	static const size_t generation = 1; /* the tests load nothing */
	void (*static_info)(size_t *, size_t *);
	char *tcb = (char *)arch_get_tp();
	size_t end;

	ut_host();
	static_info = (void (*)(size_t *, size_t *))must_sym("_dl_get_tls_static_info");
	static_info(&gmp_host.tls_size, &gmp_host.tls_align);
	gmp_host.tcb_size = *(const uint32_t *)must_sym("_thread_db_sizeof_pthread");
	if (gmp_host.tls_align < 64)
		gmp_host.tls_align = 64;
	gmp_host.tls_size = (gmp_host.tls_size + gmp_host.tls_align - 1) & -gmp_host.tls_align;
	gmp_host.shim_tls_offset = (char *)&gmp_tls - tcb;
	gmp_host.allocate_tls = (void *(*)(void *))must_sym("_dl_allocate_tls");

	gmp_tcb.tid = db_offset("_thread_db_pthread_tid");
	gmp_tcb.list = db_offset("_thread_db_pthread_list");
	gmp_tcb.specific = db_offset("_thread_db_pthread_specific");
	gmp_tcb.cancelhandling = db_offset("_thread_db_pthread_cancelhandling");
	gmp_tcb.robust_prev = gmp_tcb.tid + 8;
	gmp_tcb.robust_head = gmp_tcb.tid + 16;
	gmp_tcb.cleanup = gmp_tcb.cancelhandling - 16;
	gmp_tcb.cleanup_jmp_buf = gmp_tcb.cancelhandling - 8;
	gmp_tcb.specific_block = gmp_tcb.specific - 32 * 16;
	end = gmp_tcb.specific + 32 * sizeof(void *);
	gmp_tcb.user_stack = end + 2;
	gmp_tcb.setxid_futex = end + 12;
	gmp_tcb.joinid = end + 16;
	gmp_tcb.result = end + 24;
	gmp_tcb.rseq = *(const ptrdiff_t *)must_sym("__rseq_offset");
	gmp_tcb.generation = &generation;
	gmp_tcb.read_modules = read_modules;
	gmp_tcb.free = free;
	read_modules();
	gmp_tcb.modules_generation = generation;
}

/* Code in which a G is not stopped, as init_nopreempt of preload/boot.c: libc, ld.so, the vdso. */
static int note_text(struct dl_phdr_info *info, size_t size, void *arg)
{
	const char *base = strrchr(info->dlpi_name, '/');
	unsigned *n = arg;

	(void)size;
	if (*info->dlpi_name == '\0' && info->dlpi_addr != getauxval(AT_SYSINFO_EHDR))
		return 0; /* the test itself */
	if (base != NULL && strncmp(base, "/libcheck", 9) == 0)
		return 0;
	for (int i = 0; i < info->dlpi_phnum && *n < 8; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_X))
			continue;
		gmp_host.nopreempt[*n].lo = info->dlpi_addr + ph->p_vaddr;
		gmp_host.nopreempt[*n].hi = gmp_host.nopreempt[*n].lo + ph->p_memsz;
		++*n;
	}
	return 0;
}

/* --- the scheduler, as rt0_go and gmp_go_live of preload/boot.c --- */

void ut_boot(int procs)
{
	struct g *gp = &main_g;
	unsigned n = 0;
	char *area;

	ut_host_tls();
	dl_iterate_phdr(note_text, &n);
	sched.preempt_off = true;
	sched.gomaxprocs = 0; /* ut_host's one P is none of schedinit's */
	gmp_schedinit(procs);
	gp->kind = GK_MAIN;
	gp->tcb = (char *)arch_get_tp();
	gp->tls = &gmp_tls;
	gp->tid = sys_gettid();
	gp->goid = atomic_fetch_add(&sched.goidgen, 1) + 1;
	gp->parker.gp = gp;
	gp->stack_lo = (char *)sched.page_size;
	gp->stack_hi = (char *)UINTPTR_MAX;
	gp->sigmask = sched.m0->kmask;
	gp->ctx.tp = arch_get_tp();
	gp->ctx.running = 1;
	gp->status = G_RUNNABLE;
	sched.maing = gp;
	sched.allg = gp;
	sched.nlive = 1;
	gmp_tls.g = gp;
	gmp_tls.tid = gp->tid;
	gmp_enter();
	gmp_runqput(sched.allp[0], gp, true);
	sched.m0->g0.ctx.running = 1;
	arch_switch(&gp->ctx, &sched.m0->g0.ctx);
	gmp_leave();
	ck_assert_uint_eq(gp->status, G_RUNNING);

	/* The main G will leave this kernel thread: nothing of the kernel's may point into its TCB. */
	area = gp->tcb + gmp_tcb.rseq;
	sys4(__NR_rseq, area, 32, 1 /* RSEQ_FLAG_UNREGISTER */, 0x53053053);
	*(int *)(area + 4) = -2;
	sys1(__NR_set_tid_address, &gp->m->tidword);
	gmp_preempt_init();
	gmp_preempt_init();
	ck_assert_int_eq(gmp_main_started(), 0);
}

static noinline void g_body(struct g *gp)
{
	((void (*)(void *))gp->start_fn)(gp->start_arg);
}

static void g_main(void *arg)
{
	struct g *gp = arg;

	gmp_leave(); /* a G begins inside the shim */
	g_body(gp);
	gmp_enter();
	gp->status = G_DEAD;
	if (atomic_fetch_sub(&nrunning, 1) == 1)
		gmp_sema_wake(&nrunning, INT32_MAX, UINT32_MAX);
	gmp_gfree(gp);
	gmp_goexit();
}

struct g *ut_go(void (*fn)(void *), void *arg)
{
	int err = 0;
	struct g *gp = gmp_galloc(G_STACK, sched.page_size, &err);

	if (gp == NULL)
		gmp_throw("unit test: no memory for a G");
	gp->kind = GK_THREAD;
	gp->start_fn = (void *)fn;
	gp->start_arg = arg;
	gp->sigmask = main_g.sigmask;
	arch_ctx_init(&gp->ctx, gp->stack_hi, (uintptr_t)gp->tcb, g_main, gp);
	atomic_fetch_add(&nrunning, 1);
	gmp_enter();
	gmp_newproc(gp);
	gmp_leave();
	return gp;
}

void ut_yield(void)
{
	gmp_enter();
	gmp_gosched();
	gmp_leave();
}

void ut_wait_all(void)
{
	uint32_t n;

	while ((n = atomic_load(&nrunning)) != 0)
		gmp_futex_wait((const uint32_t *)&nrunning, n, UINT32_MAX, GMP_NO_DEADLINE, "unit test");
}

/* --- helpers --- */

struct g *ut_fake_gs(int n)
{
	struct g *gs = aligned_alloc(64, ((size_t)n * sizeof(*gs) + 63) & -(size_t)64);

	memset(gs, 0, (size_t)n * sizeof(*gs));
	for (int i = 0; i < n; i++)
		gs[i].parker.gp = &gs[i];
	return gs;
}

struct p *ut_fake_p(void)
{
	struct p *pp = aligned_alloc(64, sizeof(*pp));

	memset(pp, 0, sizeof(*pp));
	return pp;
}

void ut_spin_until(_Atomic(uint32_t) *word, uint32_t val)
{
	for (int i = 0; atomic_load(word) == val; i++)
		if (i > 100)
			sys_yield();
		else
			arch_pause();
}

pthread_t ut_thread(void *(*fn)(void *), void *arg)
{
	pthread_t th;

	ck_assert_int_eq(pthread_create(&th, NULL, fn, arg), 0);
	return th;
}

void ut_join(pthread_t th)
{
	ck_assert_int_eq(pthread_join(th, NULL), 0);
}

uint32_t ut_rand(uint32_t below)
{
	static uint64_t state;

	if (state == 0) {
		const char *env = getenv("UT_SEED");

		state = env != NULL ? strtoull(env, NULL, 0) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32;
		state |= 1;
		fprintf(stderr, "UT_SEED=%llu\n", (unsigned long long)state);
	}
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(state >> 33) % below;
}

int ut_wake(const void *addr, int n)
{
	int woken;

	gmp_enter();
	woken = gmp_sema_wake(addr, n, UINT32_MAX);
	gmp_leave();
	return woken;
}

int ut_run(TCase *tc, const char *name)
{
	Suite *s = suite_create(name);
	SRunner *r;
	int failed;

	tcase_set_timeout(tc, 300);
	suite_add_tcase(s, tc);
	r = srunner_create(s);
	srunner_set_fork_status(r, CK_FORK);
	srunner_set_tap(r, "-");
	srunner_run_all(r, CK_SILENT);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
