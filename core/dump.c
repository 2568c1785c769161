// SPDX-License-Identifier: MIT
/*
 * Dumps: every G with its state, for how long, what it waits for, its stack, and who created it; equal stacks once.
 *
 * sysmon writes them, with its own large stack, so a signal handler only asks. It takes no lock of the scheduler and
 * allocates by mmap: whatever state the program is in, at most the unwinder's loading (dlopen) may hang in libc.
 * The world is not stopped. A parked G is read while it is parked, and what was read is dropped when it has moved; a G
 * on an M is asked by SIG_NOTIFY, whose handler shows its registers and waits until its stack is read.
 *
 * A deadly signal: the G that took it waits for sysmon as long as that gets on, so that nothing of the program follows
 * the signal. When sysmon hangs in dlopen, it writes the dump itself, without stacks; when it hangs elsewhere,
 * none.
 */
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/un.h>

#include "core/gmp.h"
#include "core/image.h"
#include "core/log.h"
#include "core/netpoll.h"

#define AF_UNIX	     1
#define AF_INET	     2
#define AF_INET6     10
#define SOCKADDR_MAX 128 /* sizeof(struct sockaddr_storage) */
#define MAX_FRAMES   64
#define ANSWER_NS    INT64_C(300000000) /* an M that has not answered by then is in an uninterruptible sleep */
#define RELEASE_NS   INT64_C(5000000000)
#define LOCKED_NS    INT64_C(3000000000) /* see patience() */
#define OPEN_NS	     INT64_C(10000000000)
#define FREE_NS	     INT64_C(60000000000)
#define BRIEF_GROUPS 16
#define BRIEF_GS     3
#define MINUTE_NS    (60 * NSEC_PER_SEC)
#define NONE	     UINT32_MAX

enum { DUMP_QUIET, DUMP_ASK, DUMP_ANSWERED }; /* m.dump_state: ASK and QUIET are set by sysmon, ANSWERED by the M */
enum phase { PHASE_NONE, PHASE_OPEN, PHASE_WRITE, PHASE_DONE };

struct entry { /* a G */
	struct g *gp;
	uint32_t next;	   /* of the same group */
	uint32_t tid_next; /* of the same slot of tids */
};

struct group { /* Gs that wait for the same reason at the same place */
	uint64_t hash;
	const char *why;
	uint32_t status, npcs;
	uintptr_t createpc;
	const uintptr_t *pcs;
	uint32_t first, last, count;
};

struct owner {
	const void *obj;
	const char *why;
	uint64_t goid; /* 0: not known */
	const char *role;
};

struct symbol {
	uintptr_t pc, offset;
	struct gmp_module *mod;
	const char *name;
};

struct dump {
	struct gmp_out out;
	bool frames;
	uint32_t flags;
	int sig;
	int64_t now;
	uint32_t n, ngroups, mask;
	struct entry *entries;
	struct group *groups;
	uint32_t *buckets, *tids;
	uintptr_t *pcs, *pcs_end;
	struct gmp_module *shim;
	uint32_t nregions;
	struct {
		void *p;
		size_t size;
	} regions[8];
	struct owner owners[256];
	struct symbol symbols[1024];
};

static struct {
	_Atomic(uint32_t) flags; /* DUMP_*, and DUMP_ASKED; 0 = no dump wanted */
	_Atomic(uint32_t) sig;
	_Atomic(uint32_t) crasher; /* tid of the thread that waits in gmp_dump_wait */
	struct g *crash_g;
	struct arch_regs crash_regs;
	_Atomic(uint32_t) phase, progress, abandoned;
	_Atomic(uint32_t) writer; /* tid of sysmon while it is at it */
} req;

#define DUMP_ASKED 0x80000000u

static struct dump dump;
static bool dead_told; /* sysmon */

bool gmp_dump_wanted(void)
{
	return unlikely(atomic_load_explicit(&req.flags, memory_order_relaxed) != 0);
}

void gmp_dump_request(int sig, uint32_t flags)
{
	atomic_store(&req.sig, (uint32_t)sig);
	atomic_fetch_or(&req.flags, flags | DUMP_ASKED); /* seq_cst: then look at sysmonwait */
	gmp_wake_sysmon();
}

/* --- Ms that run a G --- */

void gmp_dump_answer(struct g *gp, void *uc)
{
	struct m *mp = gp->m;
	uint32_t st = DUMP_ASK;
	int64_t end;

	mp->dump_g = gp->kind == GK_G0 ? NULL : gp;
	arch_regs_of_uc(uc, &mp->dump_regs);
	gmp_tls.inshim++; /* not to be preempted here */
	atomic_signal_fence(memory_order_seq_cst);
	/* release: the two above; pairs with the load in ask() */
	if (atomic_compare_exchange_strong(&mp->dump_state, &st, DUMP_ANSWERED)) {
		sys_futex_wake(&mp->dump_state, 1);
		end = gmp_nanotime() + RELEASE_NS;
		while (atomic_load(&mp->dump_state) == DUMP_ANSWERED && gmp_nanotime() < end)
			sys_futex_wait(&mp->dump_state, DUMP_ANSWERED, RELEASE_NS / 10);
		st = DUMP_ANSWERED;
		atomic_compare_exchange_strong(&mp->dump_state, &st, DUMP_QUIET);
	}
	atomic_signal_fence(memory_order_seq_cst);
	gmp_tls.inshim--;
}

/* The M answered: until release() its G stays where it is. */
static bool ask(struct m *mp)
{
	int64_t end = gmp_nanotime() + ANSWER_NS;
	uint32_t st;

	atomic_store(&mp->dump_state, DUMP_ASK);
	gmp_notify(mp);
	while ((st = atomic_load(&mp->dump_state)) == DUMP_ASK && gmp_nanotime() < end)
		sys_futex_wait(&mp->dump_state, DUMP_ASK, ANSWER_NS / 10);
	return st != DUMP_ASK || !atomic_compare_exchange_strong(&mp->dump_state, &st, DUMP_QUIET);
}

static void release(struct m *mp)
{
	atomic_store(&mp->dump_state, DUMP_QUIET);
	sys_futex_wake(&mp->dump_state, 1);
}

/*
 * The M of a running G sleeps in the kernel past the hooks, where a signal could show as EINTR: stack pointer and
 * program counter from /proc. False: it does not sleep, or that cannot be told.
 */
static bool asleep_unseen(struct m *mp, struct arch_regs *regs)
{
	char path[64], line[256];
	uintptr_t last[2] = {0, 0};
	long fd, len;

	path[gmp_format(path, sizeof(path), "/proc/self/task/%d/syscall", mp->tid)] = '\0';
	fd = sys4(__NR_openat, -100 /* AT_FDCWD */, path, 02000000 /* O_CLOEXEC */, 0);
	if (fd < 0)
		return false;
	len = sys3(__NR_read, fd, line, sizeof(line) - 1);
	sys1(__NR_close, fd);
	if (len <= 0 || line[0] == 'r') /* running */
		return false;
	for (long i = 0; i < len; i++) { /* the last two numbers are sp and pc */
		if (line[i] == ' ') {
			last[0] = last[1];
			last[1] = 0;
		} else if (line[i] >= '0' && line[i] <= '9') {
			last[1] = last[1] * 16 + (uintptr_t)(line[i] - '0');
		} else if (line[i] >= 'a' && line[i] <= 'f') {
			last[1] = last[1] * 16 + (uintptr_t)(line[i] - 'a' + 10);
		}
	}
	*regs = (struct arch_regs){.r = {[ARCH_REG_SP] = last[0], [ARCH_REG_PC] = last[1]}};
	return true;
}

/* --- stacks --- */

static int trace_parked(struct g *gp, uintptr_t *pcs)
{
	uintptr_t frame[ARCH_CTX_WORDS], sp = (uintptr_t)gp->ctx.sp;
	uint64_t word = atomic_load(&gp->parker.word);
	struct arch_regs regs;
	int n;

	if (atomic_load_explicit(&gp->ctx.running, memory_order_acquire) != 0 || !gmp_peek(frame, sp, sizeof(frame)))
		return 0;
	arch_regs_of_ctx(sp, frame, &regs);
	n = gmp_host.unwind(&regs, pcs, MAX_FRAMES);
	if (atomic_load(&gp->ctx.running) != 0 || (uintptr_t)gp->ctx.sp != sp || atomic_load(&gp->parker.word) != word)
		return 0; /* it has run meanwhile */
	return n;
}

static int trace_on_m(struct g *gp, uint32_t status, uintptr_t *pcs)
{
	struct m *mp = gp->m;
	struct arch_regs regs;
	int n = 0;

	if (mp == NULL || mp->curg != gp)
		return 0;
	if (status == G_RUNNING && !(dump.flags & (DUMP_KILL | DUMP_CRASH)) && asleep_unseen(mp, &regs))
		return gmp_host.unwind(&regs, pcs, MAX_FRAMES);
	if (!ask(mp))
		return 0;
	if (mp->dump_g == gp)
		n = gmp_host.unwind(&mp->dump_regs, pcs, MAX_FRAMES);
	release(mp);
	return n;
}

static bool in_shim(uintptr_t pc)
{
	return dump.shim != NULL && pc >= dump.shim->lo && pc < dump.shim->hi;
}

/* Of the frames of the library show only the call that the program made. How many are left, from *pcs on. */
static int trim(uintptr_t **pcs, int n)
{
	while (n > 1 && in_shim((*pcs)[0]) && in_shim((*pcs)[1])) {
		++*pcs;
		n--;
	}
	while (n > 1 && in_shim((*pcs)[n - 1]))
		n--;
	return n;
}

static int trace(struct g *gp, uint32_t status, uintptr_t *pcs)
{
	if (!dump.frames)
		return 0;
	if ((dump.flags & (DUMP_CRASH | DUMP_KILL)) && gp == req.crash_g)
		return gmp_host.unwind(&req.crash_regs, pcs, MAX_FRAMES);
	switch (status) {
	case G_RUNNING:
	case G_SYSCALL:
		return trace_on_m(gp, status, pcs);
	case G_RUNNABLE:
	case G_WAITING:
		return trace_parked(gp, pcs);
	default:
		return 0;
	}
}

/* --- groups --- */

static uint64_t mix(uint64_t h, uint64_t v)
{
	return (h ^ v) * UINT64_C(0x9e3779b97f4a7c15) + (h >> 29);
}

static bool same_group(const struct group *a, const struct group *b)
{
	return a->hash == b->hash && a->why == b->why && a->status == b->status && a->createpc == b->createpc &&
	       a->npcs == b->npcs && __builtin_memcmp(a->pcs, b->pcs, a->npcs * sizeof(*a->pcs)) == 0;
}

/* Trace entry i and put it into its group. */
static void classify(uint32_t i)
{
	struct g *gp = dump.entries[i].gp;
	uintptr_t *pcs = dump.pcs;
	struct group want = {.status = atomic_load_explicit(&gp->status, memory_order_acquire)}, *grp;
	uint32_t slot;

	if (want.status == G_WAITING)
		want.why = gp->waitreason;
	want.createpc = gp->createpc;
	if (dump.pcs_end - dump.pcs >= MAX_FRAMES)
		want.npcs = (uint32_t)trace(gp, want.status, pcs);
	if (!(dump.flags & DUMP_CRASH) || gp != req.crash_g)
		want.npcs = (uint32_t)trim(&pcs, (int)want.npcs);
	want.pcs = pcs;
	want.hash = mix(mix(want.status, (uintptr_t)want.why), want.createpc);
	for (uint32_t f = 0; f < want.npcs; f++)
		want.hash = mix(want.hash, pcs[f]);
	dump.entries[i].next = NONE;
	for (slot = (uint32_t)(want.hash >> 32) & dump.mask;; slot = (slot + 1) & dump.mask) {
		if (dump.buckets[slot] == 0) {
			grp = &dump.groups[dump.ngroups++];
			*grp = want;
			grp->first = grp->last = i;
			grp->count = 1;
			dump.buckets[slot] = dump.ngroups;
			dump.pcs = pcs + want.npcs;
			return;
		}
		grp = &dump.groups[dump.buckets[slot] - 1];
		if (same_group(grp, &want)) {
			dump.entries[grp->last].next = i;
			grp->last = i;
			grp->count++;
			return;
		}
	}
}

/* Zeroed memory until the dump is written. */
static void *take(size_t size)
{
	void *p = gmp_mmap(size);

	if (p != NULL) {
		dump.regions[dump.nregions].p = p;
		dump.regions[dump.nregions++].size = size;
	}
	return p;
}

static bool collect(void)
{
	struct g *first = atomic_load_explicit(&sched.allg, memory_order_acquire), *gp;
	uint32_t n = 0, at, size = 16;
	size_t depth = dump.frames ? MAX_FRAMES : 1;

	for (gp = first; gp != NULL; gp = gp->alllink)
		n++;
	while (size < 2 * n)
		size *= 2;
	dump.mask = size - 1;
	dump.entries = take(n * sizeof(*dump.entries));
	dump.groups = take(n * sizeof(*dump.groups));
	dump.buckets = take(size * sizeof(*dump.buckets));
	dump.tids = take(size * sizeof(*dump.tids));
	dump.pcs = take((n * depth + MAX_FRAMES) * sizeof(*dump.pcs));
	if (!dump.entries || !dump.groups || !dump.buckets || !dump.tids || !dump.pcs)
		return false;
	dump.pcs_end = dump.pcs + n * depth + MAX_FRAMES;
	/* Oldest first: the list is newest first. */
	at = n;
	for (gp = first; gp != NULL; gp = gp->alllink) {
		uint32_t st = atomic_load_explicit(&gp->status, memory_order_relaxed), *slot;

		if (st == G_IDLE || st == G_DEAD)
			continue;
		dump.entries[--at].gp = gp;
		slot = &dump.tids[(uint32_t)gp->tid & dump.mask];
		dump.entries[at].tid_next = *slot;
		*slot = at + 1;
	}
	dump.n = n;
	for (uint32_t i = at; i < n; i++) {
		if (atomic_load_explicit(&req.abandoned, memory_order_relaxed))
			return false;
		classify(i);
		atomic_fetch_add_explicit(&req.progress, 1, memory_order_relaxed);
	}
	dump.n = n - at;
	return true;
}

/* --- printing --- */

static const struct symbol *symbol(uintptr_t pc, bool call)
{
	struct symbol *s = &dump.symbols[mix(pc, call) >> 54];

	if (s->pc != pc || s->mod == NULL) {
		s->pc = pc;
		s->mod = gmp_module_of(pc);
		/* a return address may lie behind the last instruction of its function */
		s->name = s->mod != NULL ? gmp_symbol(s->mod, pc - call, &s->offset) : NULL;
		s->offset += call;
	}
	return s;
}

static void print_pc(const char *before, uintptr_t pc, bool call, uint64_t parent)
{
	const struct symbol *s = symbol(pc, call);

	if (s->name != NULL)
		gmp_outf(&dump.out, "%s%s+0x%lx", before, s->name, (unsigned long)s->offset);
	else
		gmp_outf(&dump.out, "%s0x%lx", before, (unsigned long)pc);
	if (parent != 0)
		gmp_outf(&dump.out, " in goroutine %lu", (unsigned long)parent);
	gmp_outf(&dump.out, "\n\t");
	if (s->mod != NULL)
		gmp_outf(&dump.out, "%s+0x%lx\n", s->mod->path, (unsigned long)(pc - s->mod->bias));
	else
		gmp_outf(&dump.out, "0x%lx\n", (unsigned long)pc);
}

static void print_address(const void *sa)
{
	const struct sockaddr_in *in = sa;
	const struct sockaddr_in6 *in6 = sa;
	const struct sockaddr_un *un = sa;
	const uint8_t *b = (const void *)&in->sin_addr;

	if (in->sin_family == AF_INET) {
		gmp_outf(&dump.out, "%u.%u.%u.%u:%u", b[0], b[1], b[2], b[3], __builtin_bswap16(in->sin_port));
	} else if (in->sin_family == AF_INET6) {
		gmp_outf(&dump.out, "[");
		for (int i = 0; i < 8; i++)
			gmp_outf(&dump.out, "%s%x", i > 0 ? ":" : "",
				 (unsigned)(in6->sin6_addr.s6_addr[2 * i] << 8 | in6->sin6_addr.s6_addr[2 * i + 1]));
		gmp_outf(&dump.out, "]:%u", __builtin_bswap16(in6->sin6_port));
	} else if (in->sin_family == AF_UNIX) {
		gmp_outf(&dump.out, "unix:%s", un->sun_path[0] != '\0' ? un->sun_path : "?");
	} else {
		gmp_outf(&dump.out, "family %u", in->sin_family);
	}
}

static void print_fd(int fd)
{
	char sa[SOCKADDR_MAX + 1] = {0}, path[32], link[128];
	int len = sizeof(sa) - 1;
	struct gmp_out name = {.fd = -1};
	long rc;

	gmp_outf(&dump.out, " fd %d", fd);
	if (sys3(__NR_getpeername, fd, sa, &len) == 0) {
		gmp_outf(&dump.out, " peer ");
		print_address(sa);
		return;
	}
	len = sizeof(sa) - 1;
	if (sys3(__NR_getsockname, fd, sa, &len) == 0) {
		gmp_outf(&dump.out, " at ");
		print_address(sa);
		return;
	}
	gmp_outf(&name, "/proc/self/fd/%d", fd);
	__builtin_memcpy(path, name.buf, name.n);
	path[name.n] = '\0';
	rc = sys4(__NR_readlinkat, -100 /* AT_FDCWD */, path, link, sizeof(link) - 1);
	if (rc > 0) {
		link[rc] = '\0';
		gmp_outf(&dump.out, " %s", link);
	}
}

static uint64_t goid_of_tid(int tid)
{
	for (uint32_t i = dump.tids[(uint32_t)tid & dump.mask]; i != 0; i = dump.entries[i - 1].tid_next)
		if (dump.entries[i - 1].gp->tid == tid)
			return dump.entries[i - 1].gp->goid;
	return 0;
}

static void print_lock(const char *why, const void *obj)
{
	struct owner *o = &dump.owners[mix((uintptr_t)obj, 0) >> 56];

	if (o->obj != obj || o->why != why) {
		*o = (struct owner){.obj = obj, .why = why, .role = "held by"};
		if (gmp_host.lock_owner != NULL)
			o->goid = goid_of_tid(gmp_host.lock_owner(why, obj, &o->role));
	}
	/* a wait queue's key may be an odd address inside of the object */
	gmp_outf(&dump.out, " on 0x%lx", (unsigned long)((uintptr_t)obj & -(uintptr_t)4));
	if (o->goid != 0)
		gmp_outf(&dump.out, " %s goroutine %lu", o->role, (unsigned long)o->goid);
}

static void print_time(const char *before, int64_t ns, const char *behind)
{
	if (ns >= 2 * MINUTE_NS)
		gmp_outf(&dump.out, "%s%ld minutes%s", before, (long)(ns / MINUTE_NS), behind);
	else if (ns >= 10 * NSEC_PER_SEC)
		gmp_outf(&dump.out, "%s%ld s%s", before, (long)(ns / NSEC_PER_SEC), behind);
	else
		gmp_outf(&dump.out, "%s%ld ms%s", before, (long)(ns / 1000000), behind);
}

static void print_g(struct g *gp, const struct group *grp)
{
	static const char *const names[] = {"idle", "runnable", "running", "syscall", "waiting", "dead"};
	uintptr_t obj = (uintptr_t)gp->waitobj;
	int64_t waited, when = gp->timer.when;
	char name[sizeof(gp->name) + 1] = {0};

	__builtin_memcpy(name, gp->name, sizeof(gp->name));
	gmp_outf(&dump.out, "goroutine %lu", (unsigned long)gp->goid);
	if (name[0] != '\0')
		gmp_outf(&dump.out, " \"%s\"", name);
	gmp_outf(&dump.out, " [%s", grp->why != NULL ? grp->why : names[grp->status]);
	waited = grp->status == G_WAITING || grp->status == G_SYSCALL ? dump.now - gp->waitsince : 0;
	if (waited >= MINUTE_NS) /* what is in brackets is as Go prints it */
		gmp_outf(&dump.out, ", %ld minutes", (long)(waited / MINUTE_NS));
	if (gp->lockcnt > 0)
		gmp_outf(&dump.out, ", locked to thread");
	gmp_outf(&dump.out, "]");
	if (waited >= NSEC_PER_SEC && waited < MINUTE_NS)
		print_time(" for ", waited, "");
	if (grp->status == G_WAITING) {
		if (obj & WAIT_FD)
			print_fd((int)obj);
		else if (obj != 0)
			print_lock(grp->why, (const void *)obj);
		if (gp->timer.pp != NULL && when > dump.now)
			print_time(", ", when - dump.now, " left");
	}
	if ((dump.flags & DUMP_CRASH) && gp == req.crash_g)
		gmp_outf(&dump.out, " signal %d here", dump.sig);
	gmp_outf(&dump.out, ":\n");
}

static void print_group(const struct group *grp)
{
	uint32_t shown = 0, i = grp->first;

	if (grp->count > 1)
		gmp_outf(&dump.out, "%u goroutines with this stack:\n", grp->count);
	for (; i != NONE; i = dump.entries[i].next) {
		if ((dump.flags & DUMP_BRIEF) && ++shown > BRIEF_GS) {
			gmp_outf(&dump.out, "...\n");
			break;
		}
		print_g(dump.entries[i].gp, grp);
		atomic_fetch_add_explicit(&req.progress, 1, memory_order_relaxed);
	}
	for (uint32_t f = 0; f < grp->npcs; f++)
		print_pc("", grp->pcs[f], f > 0, 0);
	if (grp->npcs == 0 && dump.frames)
		gmp_outf(&dump.out, "\t(no stack: it ran on while it was looked at)\n");
	if (grp->createpc != 0)
		print_pc("created by ", grp->createpc, true, dump.entries[grp->first].gp->parent);
	gmp_outf(&dump.out, "\n");
}

static bool has_g(const struct group *grp, const struct g *gp)
{
	for (uint32_t i = grp->first; i != NONE; i = dump.entries[i].next)
		if (dump.entries[i].gp == gp)
			return true;
	return false;
}

static void print_all(void)
{
	uint32_t crashed = NONE;

	gmp_outf(&dump.out, "gmpshim: %u goroutines, process %d", dump.n, sys_getpid());
	if (dump.sig != 0)
		gmp_outf(&dump.out, ", signal %d", dump.sig);
	gmp_outf(&dump.out, "%s\n\n", dump.frames ? "" : ", no stacks: libunwind-x86_64.so.8 cannot be used");
	for (uint32_t i = 0; i < dump.ngroups && (dump.flags & DUMP_CRASH) && crashed == NONE; i++)
		if (has_g(&dump.groups[i], req.crash_g))
			crashed = i;
	if (crashed != NONE)
		print_group(&dump.groups[crashed]);
	for (uint32_t i = 0; i < dump.ngroups; i++) {
		if ((dump.flags & DUMP_BRIEF) && i == BRIEF_GROUPS) {
			gmp_outf(&dump.out, "... %u more stacks\n\n", dump.ngroups - i);
			break;
		}
		if (i != crashed)
			print_group(&dump.groups[i]);
	}
	gmp_report_pm(&dump.out);
	gmp_outf(&dump.out, "\n");
	gmp_out_flush(&dump.out);
}

static void write_dump(bool frames, uint32_t flags, int sig)
{
	__builtin_memset(&dump, 0, sizeof(dump));
	dump.out.fd = 2;
	dump.frames = frames;
	dump.flags = flags;
	dump.sig = sig;
	dump.now = gmp_nanotime();
	if (!gmp_image_open())
		return;
	dump.shim = gmp_module_of((uintptr_t)gmp_dump);
	if (collect())
		print_all();
	gmp_image_close();
	for (uint32_t i = 0; i < dump.nregions; i++)
		gmp_munmap(dump.regions[i].p, dump.regions[i].size);
}

/* sysmon */
void gmp_dump(void)
{
	uint32_t flags = atomic_exchange(&req.flags, 0);
	int sig = (int)atomic_load(&req.sig);
	bool frames;

	if (flags == 0 || atomic_load(&req.abandoned))
		return;
	atomic_store(&req.writer, (uint32_t)sys_gettid());
	atomic_store(&req.phase, PHASE_OPEN);
	frames = gmp_host.open_unwinder != NULL && gmp_host.open_unwinder();
	if (atomic_load(&req.abandoned))
		return;
	atomic_store(&req.phase, PHASE_WRITE);
	write_dump(frames, flags, sig);
	atomic_store(&req.writer, 0);
	atomic_store(&req.phase, PHASE_DONE);
	sys_futex_wake(&req.phase, INT32_MAX);
	if ((flags & DUMP_KILL) && atomic_load(&req.crasher) == 0) { /* nobody waits to do it */
		gmp_sigset one = SIG_BIT(sig);
		uint64_t dfl[4] = {0}; /* the kernel's struct sigaction: default action */

		sys4(__NR_rt_sigaction, sig, dfl, NULL, sizeof(gmp_sigset));
		sys3(__NR_tgkill, sys_getpid(), sys_gettid(), sig);
		sys_sigmask(1 /* SIG_UNBLOCK */, &one, NULL);
	}
}

/*
 * Go's checkdead. All Ps are idle; no timer, no descriptor, no system call (an M without a G sleeps or polls) can make
 * a G runnable. A signal or a thread that is no G still could, so it is a warning, once.
 */
bool gmp_checkdead(void)
{
	if (dead_told || atomic_load(&sched.npidle) != sched.gomaxprocs || atomic_load(&sched.runqsize) != 0 ||
	    gmp_timers_next(0) != 0 || gmp_netpoll_any_waiters() || atomic_load(&sched.nlive) == 0)
		return false;
	for (struct m *mp = atomic_load_explicit(&sched.allm, memory_order_acquire); mp != NULL; mp = mp->alllink)
		if (*(struct g *volatile *)&mp->curg != NULL)
			return false;
	return true;
}

/* Kernel threads of this process that are neither Ms nor sysmon. */
static bool foreign_threads(void)
{
	char text[2048];
	long fd = sys4(__NR_openat, -100 /* AT_FDCWD */, "/proc/self/status", 02000000 /* O_CLOEXEC */, 0);
	long n, threads = 0;

	if (fd < 0)
		return true;
	n = sys3(__NR_read, fd, text, sizeof(text) - 1);
	sys1(__NR_close, fd);
	for (long i = 0; i + 10 < n; i++)
		if (__builtin_memcmp(text + i, "\nThreads:\t", 10) == 0)
			for (i += 10; i < n && text[i] >= '0' && text[i] <= '9'; i++)
				threads = threads * 10 + (text[i] - '0');
	return threads != sched.mcount + 1;
}

/* A wait that a signal ends, such as sigwait: that is no deadlock. */
static bool waits_for_signal(void)
{
	for (struct g *gp = atomic_load_explicit(&sched.allg, memory_order_acquire); gp != NULL; gp = gp->alllink)
		if (gp->status == G_WAITING && gp->waitreason != NULL &&
		    __builtin_memcmp(gp->waitreason, "sig", 3) == 0)
			return true;
	return false;
}

void gmp_report_dead(void)
{
	if (!gmp_checkdead() || foreign_threads() || waits_for_signal())
		return;
	dead_told = true;
	gmp_log("warning: all threads are asleep - deadlock? Only a signal could wake one.");
	gmp_dump_request(0, DUMP_BRIEF);
}

/*
 * How long the waiting thread lets sysmon be without a step. Inside of the shim it may hold a lock that sysmon waits
 * for before it begins; dlopen may wait for one of libc's. Otherwise sysmon can only be slow.
 */
static int64_t patience(uint32_t phase)
{
	if (phase == PHASE_OPEN)
		return OPEN_NS;
	return gmp_tls.inshim > 0 ? LOCKED_NS : FREE_NS;
}

void gmp_dump_wait(int sig, uint32_t flags, void *uc)
{
	uint32_t nobody = 0, seen = 0, now_seen, phase;
	int64_t moved = gmp_nanotime();

	if (atomic_load(&req.writer) == (uint32_t)sys_gettid())
		return; /* the dump itself: nobody else to write one */
	if (!atomic_compare_exchange_strong(&req.crasher, &nobody, (uint32_t)sys_gettid())) {
		/* A second one: the first ends the process. */
		if (nobody != (uint32_t)sys_gettid())
			for (int i = 0; i < 10; i++)
				sys_nanosleep(NSEC_PER_SEC);
		return;
	}
	req.crash_g = getg() != NULL && getg()->kind != GK_G0 ? getg() : NULL;
	arch_regs_of_uc(uc, &req.crash_regs);
	atomic_store(&req.phase, PHASE_NONE);
	gmp_dump_request(sig, flags);
	while ((phase = atomic_load(&req.phase)) != PHASE_DONE) {
		sys_futex_wait(&req.phase, phase, NSEC_PER_SEC / 10);
		now_seen = atomic_load(&req.progress) + atomic_load(&req.phase);
		if (now_seen != seen) {
			seen = now_seen;
			moved = gmp_nanotime();
		} else if (gmp_nanotime() - moved > patience(phase)) {
			break;
		}
	}
	if (phase == PHASE_DONE)
		return;
	atomic_store(&req.abandoned, 1);
	if (phase == PHASE_OPEN)
		write_dump(false, flags, sig); /* the unwinder needs a lock that the crash holds */
	else
		gmp_log("no dump: sysmon does not get on");
}

void gmp_dump_fork_child(void)
{
	req.flags = req.crasher = req.abandoned = 0;
}
