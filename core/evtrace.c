// SPDX-License-Identifier: MIT
/*
 * Recording of scheduling events, for GMPSHIM_TRACE and gmprun trace: 16 bytes each into chunks of the P where they
 * happen, with the CPU's counter for time. No atomic read-modify-write, no lock, no system call on the way of a switch.
 *
 * Who owns what. p.trace points to the next record of the chunk that P fills; it is the P's (of the M that holds it)
 * while it is not NULL, and sysmon's while it is NULL. A P has CHUNKS chunks in a ring: `head` counts those it has
 * filled, `tail` those that sysmon has written out, `granted` those it may fill. A full chunk ends with the choice of
 * the next one, or with NULL when none is granted; what happens then is left out, and the P's count of switches tells
 * how much that was.
 *
 * The cost is bounded whatever the program does: sysmon grants a chunk for each CHUNK_CPU_NS of CPU time that the
 * process has used, some 30 times what it takes to fill and write one. A program that does nothing but switch threads
 * (90 ns each, of which the three records would take half) has most of it left out, a server nothing.
 *
 * What Ps do that come later, as GOMAXPROCS grows, is left out.
 *
 * Threads without a P (the M in netpoll, sysmon) ready Gs under sched.lock; they have a ring of their own, `others`.
 *
 * sysmon writes raw blocks (tracefile.h). Turning them into JSON costs more than recording does and is left to the
 * exit, or to gmprun for a live process. What has begun to wait before, and waits still, is told at the end (TB_G).
 */
#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>

#include "core/evtrace.h"
#include "core/log.h"

#define CHUNKS	     8u /* a power of two */
#define CHUNK_CPU_NS INT64_C(1000000)
#define DRAIN_NS     INT64_C(5000000)
#define FD_MIN	     500 /* out of the way of programs that count on numbers */
#define LIMIT_MB     32
#define MAX_LIMIT    4096
#define MAX_GS	     200000		 /* of which the end tells what they wait for */
#define KEEP_NS	     (10 * NSEC_PER_SEC) /* a trace that nobody collects */
#define OTHERS	     GMP_MAXPROCS	 /* number of the ring `others` */

struct ring {
	char *chunks;		   /* CHUNKS of TRACE_CHUNK bytes, aligned; made once */
	_Atomic(uint32_t) head;	   /* chunks filled; the P */
	uint32_t tail;		   /* chunks written; sysmon */
	_Atomic(uint32_t) granted; /* tail + CHUNKS at most; sysmon */
	struct trace_rec *from;	   /* sysmon: records before this one are of an earlier trace; NULL = none */
	uint32_t reasons;	   /* sysmon: slots whose text is written */
};

struct trace_ctl gmp_trace_ctl;

static struct {
	int fd;			/* -1: nothing is recorded */
	bool to_file;		/* GMPSHIM_TRACE: the file becomes JSON at the exit */
	bool full;		/* the limit of size was reached, or there is no room */
	bool broken;		/* a block could not be written: nothing may follow */
	_Atomic(bool) stop;	/* Ps: give the chunk back when it is full */
	_Atomic(uint32_t) busy; /* sysmon or the exiting thread is at it */
	uint64_t written, limit;
	int64_t drained, until, done;
	int64_t cpu;	 /* CPU time of the process that the budget has */
	uint32_t budget; /* chunks that may be granted */
	uint32_t first;	 /* who is asked first */
	uint32_t nprocs; /* Ps when the first recording began; the rings are theirs for good */
	struct p others; /* only .trace and .stat are used; sched.lock */
	struct ring rings[GMP_MAXPROCS + 1];
} tr = {.fd = -1};

static struct p *p_of(uint32_t i)
{
	return i == OTHERS ? &tr.others : sched.allp[i];
}

/* Rings in use: those of all Ps ever made, more of which may come while it records, then `others`. */
static uint32_t nrings(void)
{
	return (uint32_t)sched.nallp + 1;
}

static uint32_t ring_number(uint32_t n)
{
	return n + 1 < nrings() ? n : OTHERS;
}

static struct trace_block *chunk(const struct ring *r, uint32_t n)
{
	return (struct trace_block *)(r->chunks + (size_t)(n % CHUNKS) * TRACE_CHUNK);
}

static struct trace_rec *begin_chunk(struct ring *r, const struct p *pp, uint32_t n)
{
	struct trace_block *b = chunk(r, n);

	b->v[0] = pp->stat.switches;
	return (struct trace_rec *)(b + 1);
}

/* Owner of pp: its chunk is full. The next record, or NULL. */
static noinline struct trace_rec *next_chunk(struct p *pp)
{
	struct ring *r = &tr.rings[pp == &tr.others ? OTHERS : (uint32_t)pp->id];
	uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed); /* own */

	chunk(r, head)->v[1] = pp->stat.switches;
	atomic_store_explicit(&r->head, ++head, memory_order_release); /* the chunk is whole; pairs with drain_ring() */
	/* acquire: sysmon is done with that chunk; pairs with the release in grant() */
	if (head == atomic_load_explicit(&r->granted, memory_order_acquire) ||
	    atomic_load_explicit(&tr.stop, memory_order_relaxed)) /* a request, no order */
		return NULL;
	return begin_chunk(r, pp, head);
}

void gmp_trace_add(struct p *pp, struct trace_rec *r, enum trace_kind kind, uint32_t arg, const struct g *gp)
{
	r->at = kind == TR_PARK ? 0 : arch_cycles();
	r->what = (gp != NULL ? gp->goid << 16 : 0) | arg << 8 | kind;
	if (unlikely(((uintptr_t)++r & (TRACE_CHUNK - 1)) == 0))
		r = next_chunk(pp);
	atomic_store_explicit(&pp->trace, r, memory_order_release); /* the record is whole; pairs with drain_rest() */
}

void gmp_trace_ready_locked(const struct g *gp)
{
	gmp_trace(&tr.others, TR_READY, gp);
}

/* --- sysmon --- */

static void put(const void *data, size_t size)
{
	const char *s = data;

	tr.written += size;
	while (size > 0 && !tr.broken) {
		long n = sys3(__NR_write, tr.fd, s, size);

		if (n == -4 /* EINTR */)
			continue;
		if (n <= 0) {
			tr.full = tr.broken = true;
			return;
		}
		s += n;
		size -= (size_t)n;
	}
}

static void put_block(enum trace_block_kind kind, uint32_t p, const uint64_t v[4], const void *more, uint32_t size)
{
	struct trace_block b = {TRACE_MAGIC, kind, p, size, gmp_nanotime(), arch_cycles(), {v[0], v[1], v[2], v[3]}};

	put(&b, sizeof(b));
	if (size > 0)
		put(more, size);
}

static void put_text(char *to, size_t size, const char *text)
{
	size_t n = 0;

	for (; text != NULL && n + 1 < size && text[n] != '\0'; n++)
		to[n] = text[n];
	for (; n < size; n++)
		to[n] = '\0';
}

static void put_reasons(uint32_t i)
{
	struct ring *r = &tr.rings[i];
	const struct p *pp = p_of(i);
	char text[40];

	for (uint64_t slot = 0; slot < PARK_CAUSES; slot++) {
		if (pp->stat.parks[slot].why == NULL || (r->reasons & UINT32_C(1) << slot))
			continue;
		r->reasons |= UINT32_C(1) << slot;
		put_text(text, sizeof(text), pp->stat.parks[slot].why);
		put_block(TB_REASON, i, (uint64_t[4]){slot}, text, sizeof(text));
	}
}

/* The records of chunk n before `end`. */
static void put_chunk(uint32_t i, uint32_t n, struct trace_rec *end)
{
	struct ring *r = &tr.rings[i];
	struct trace_block *b = chunk(r, n);
	struct trace_rec *from = (struct trace_rec *)(b + 1);

	if (r->from >= from && r->from <= end) /* not what an earlier trace had of it */
		from = r->from;
	r->from = NULL;
	if (from >= end)
		return;
	*b = (struct trace_block){.magic = TRACE_MAGIC,
				  .kind = TB_RECS,
				  .p = i,
				  .size = (uint32_t)((char *)end - (char *)from),
				  .v = {b->v[0], b->v[1]}};
	if (from == (struct trace_rec *)(b + 1)) {
		put(b, sizeof(*b) + b->size);
	} else {
		put(b, sizeof(*b));
		put(from, b->size);
	}
}

static void drain_ring(uint32_t i)
{
	struct ring *r = &tr.rings[i];
	uint32_t head = atomic_load_explicit(&r->head, memory_order_acquire); /* whole chunks */

	for (; r->tail != head; r->tail++)
		put_chunk(i, r->tail, (struct trace_rec *)((char *)chunk(r, r->tail) + TRACE_CHUNK));
}

/* Let a P fill more chunks, as far as the budget goes; start it if it has none. */
static void grant(uint32_t i)
{
	struct ring *r = &tr.rings[i];
	struct p *pp = p_of(i);
	uint32_t more = r->tail + CHUNKS - r->granted;

	if (more > tr.budget)
		more = tr.budget;
	tr.budget -= more;
	/* release: what was in those chunks is written; pairs with next_chunk() */
	atomic_store_explicit(&r->granted, r->granted + more, memory_order_release);
	if (atomic_load_explicit(&pp->trace, memory_order_acquire) == NULL && r->head != r->granted)
		/* release: the chunk; pairs with gmp_trace() */
		atomic_store_explicit(&pp->trace, begin_chunk(r, pp, r->head), memory_order_release);
}

/* What of the CPU time since the last look may be spent on records, in chunks. */
static void add_budget(void)
{
	uint32_t most = CHUNKS * nrings();
	int64_t ts[2], n;

	if (sys2(__NR_clock_gettime, 2 /* CLOCK_PROCESS_CPUTIME_ID */, ts) != 0)
		return;
	n = (ts[0] * NSEC_PER_SEC + ts[1] - tr.cpu) / CHUNK_CPU_NS;
	tr.cpu += n * CHUNK_CPU_NS;
	tr.budget = n < most - tr.budget ? tr.budget + (uint32_t)n : most;
}

static void put_counts(void)
{
	uint64_t polled = sched.stat_polled, local = 0;

	for (struct m *mp = atomic_load_explicit(&sched.allm, memory_order_acquire); mp != NULL; mp = mp->alllink)
		polled += mp->stat_polled;
	for (int i = 0; i < sched.nallp; i++) {
		uint32_t n = sched.allp[i]->runqtail - sched.allp[i]->runqhead; /* not read together */

		local += n <= RUNQ_SIZE ? n : 0;
	}
	put_block(TB_COUNT, 0,
		  (uint64_t[4]){(uint32_t)sched.nlive | (uint64_t)sched.runqsize << 32,
				local | (uint64_t)sched.npidle << 32, polled, sched.stat_handoffs},
		  NULL, 0);
}

static bool make_ring(uint32_t i)
{
	struct ring *r = &tr.rings[i];
	char *p;

	if (r->chunks != NULL)
		return true;
	p = gmp_mmap((CHUNKS + 1) * TRACE_CHUNK);
	if (p == NULL)
		return false;
	r->chunks = (char *)(((uintptr_t)p + TRACE_CHUNK - 1) & -(uintptr_t)TRACE_CHUNK);
	return true;
}

static void drain(void)
{
	add_budget();
	tr.first = (tr.first + 1) % nrings();
	for (uint32_t n = 0; n < nrings(); n++) {
		uint32_t i = ring_number((tr.first + n) % nrings()); /* the budget may not reach all */

		if (!make_ring(i)) /* of a new P */
			continue;
		put_reasons(i); /* first: what the records refer to */
		drain_ring(i);
		grant(i);
	}
	put_counts();
	if (tr.written >= tr.limit)
		tr.full = true;
}

/* Chunks that are not full. */
static void drain_rest(void)
{
	for (uint32_t n = 0; n < nrings(); n++) {
		uint32_t i = ring_number(n);
		struct ring *r = &tr.rings[i];
		/* acquire: whole records */
		struct trace_rec *end = atomic_load_explicit(&p_of(i)->trace, memory_order_acquire);

		if (r->chunks == NULL)
			continue;
		drain_ring(i);
		if (end == NULL || ((uintptr_t)end & -(uintptr_t)TRACE_CHUNK) != (uintptr_t)chunk(r, r->tail))
			continue; /* it has got on meanwhile: that is written */
		chunk(r, r->tail)->v[1] = p_of(i)->stat.switches;
		put_chunk(i, r->tail, end);
	}
}

static void put_gs(void)
{
	uint32_t n = 0;
	struct {
		char name[16], reason[40];
	} text;

	for (struct g *gp = atomic_load_explicit(&sched.allg, memory_order_acquire); gp != NULL && n < MAX_GS;
	     gp = gp->alllink) {
		uint32_t st = atomic_load_explicit(&gp->status, memory_order_relaxed);
		bool waits = st == G_WAITING || st == G_SYSCALL;

		if (st == G_IDLE || st == G_DEAD)
			continue;
		n++;
		__builtin_memcpy(text.name, gp->name, sizeof(text.name));
		put_text(text.reason, sizeof(text.reason), st == G_WAITING ? gp->waitreason : "syscall");
		put_block(TB_G, 0, (uint64_t[4]){gp->goid, waits ? (uint64_t)gp->waitsince : 0}, &text, sizeof(text));
	}
}

/* Records no more; the file is whole. busy is ours. */
static void stop(void)
{
	atomic_store_explicit(&tr.stop, true, memory_order_relaxed); /* read at the end of each chunk */
	drain_rest();
	put_gs();
	put_block(TB_END, 0, (uint64_t[4]){tr.full}, NULL, 0);
}

static void program_name(char comm[16])
{
	long fd = sys4(__NR_openat, AT_FDCWD, "/proc/self/comm", O_RDONLY | O_CLOEXEC, 0), n;

	if (fd < 0)
		return;
	n = sys3(__NR_read, fd, comm, 15);
	sys1(__NR_close, fd);
	if (n > 0)
		comm[n - 1] = '\0'; /* the end of the line */
}

static int start(int fd, uint32_t limit_mb)
{
	char comm[16] = {0};

	if (tr.nprocs == 0)
		tr.nprocs = (uint32_t)sched.nallp;
	for (uint32_t n = 0; n < nrings(); n++) {
		uint32_t i = ring_number(n);
		struct ring *r = &tr.rings[i];
		struct trace_rec *at = atomic_load_explicit(&p_of(i)->trace, memory_order_acquire);

		if (!make_ring(i))
			return -12; /* ENOMEM */
		r->tail = atomic_load_explicit(&r->head, memory_order_acquire);
		r->granted = r->tail + (at != NULL);
		r->from = at; /* a P that has not got to the end of its chunk since the last trace goes on in it */
		r->reasons = 0;
	}
	tr.fd = fd;
	tr.written = 0;
	tr.limit = (uint64_t)(limit_mb > 0 && limit_mb <= MAX_LIMIT ? limit_mb : LIMIT_MB) << 20;
	tr.full = tr.broken = false;
	tr.drained = 0;
	program_name(comm);
	put_block(TB_START, tr.nprocs, (uint64_t[4]){(uint64_t)sys_getpid()}, comm, sizeof(comm));
	atomic_store_explicit(&tr.stop, false, memory_order_relaxed);
	tr.cpu = 0;
	add_budget(); /* from here on; and what the begin needs */
	tr.budget = CHUNKS * nrings();
	for (uint32_t n = 0; n < nrings(); n++)
		grant(ring_number(n));
	return 0;
}

static long move_up(long fd)
{
	long high = fd < 0 ? fd : sys3(__NR_fcntl, fd, F_DUPFD_CLOEXEC, FD_MIN);

	if (high < 0)
		return fd;
	sys1(__NR_close, fd);
	return high;
}

static void close_fd(void)
{
	if (tr.fd >= 0)
		sys1(__NR_close, tr.fd);
	tr.fd = -1;
}

/* --- for another process --- */

static void answer(int64_t now)
{
	uint32_t want = atomic_load(&gmp_trace_ctl.want), state = atomic_load(&gmp_trace_ctl.state);
	long rc;

	if (want == TRACE_RECORDING && state != TRACE_RECORDING) {
		close_fd(); /* of a trace that nobody has collected */
		rc = move_up(sys2(__NR_memfd_create, "gmpshim-trace", MFD_CLOEXEC));
		if (rc >= 0) {
			gmp_trace_ctl.fd = (int)rc;
			rc = start((int)rc, gmp_trace_ctl.limit_mb);
		}
		tr.until = now + (int64_t)gmp_trace_ctl.ms * 1000000;
		if (rc < 0) {
			close_fd();
			atomic_store(&gmp_trace_ctl.want, (uint32_t)rc);
		}
		atomic_store(&gmp_trace_ctl.state, rc < 0 ? (uint32_t)rc : TRACE_RECORDING);
	} else if (want == TRACE_DONE && state == TRACE_RECORDING) {
		tr.until = now;
	} else if (want != state) {
		if (state == TRACE_RECORDING)
			stop();
		close_fd();
		atomic_store(&gmp_trace_ctl.want, TRACE_OFF);
		atomic_store(&gmp_trace_ctl.state, TRACE_OFF);
	}
}

static void live(int64_t now)
{
	uint32_t want = TRACE_RECORDING;

	if (gmp_trace_asked())
		answer(now);
	if (atomic_load(&gmp_trace_ctl.state) == TRACE_RECORDING && (now >= tr.until || tr.full)) {
		stop();
		tr.done = now;
		atomic_compare_exchange_strong(&gmp_trace_ctl.want, &want, TRACE_DONE);
		atomic_store(&gmp_trace_ctl.state, TRACE_DONE);
	} else if (atomic_load(&gmp_trace_ctl.state) == TRACE_DONE && now - tr.done >= KEEP_NS) {
		atomic_store(&gmp_trace_ctl.want, TRACE_OFF);
	}
}

static bool recording(void)
{
	return tr.to_file || atomic_load_explicit(&gmp_trace_ctl.state, memory_order_relaxed) == TRACE_RECORDING;
}

void gmp_trace_sysmon(int64_t now)
{
	uint32_t free = 0;

	if (!atomic_compare_exchange_strong(&tr.busy, &free, 1))
		return;
	if (!tr.to_file)
		live(now);
	if (recording() && !tr.full && now - tr.drained >= DRAIN_NS) {
		tr.drained = now;
		drain();
	}
	atomic_store(&tr.busy, 0);
}

bool gmp_tracing(void)
{
	return tr.fd >= 0;
}

/* --- GMPSHIM_TRACE --- */

int gmp_trace_start_file(const char *path, uint32_t limit_mb)
{
	long fd = move_up(sys4(__NR_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
	int rc = fd < 0 ? (int)fd : start((int)fd, limit_mb);

	if (rc < 0)
		close_fd();
	else
		tr.to_file = true;
	return rc;
}

/* The raw trace becomes JSON in the same file: the process may not be able to write its folder any more. */
static void convert(void)
{
	size_t size = (size_t)sys3(__NR_lseek, tr.fd, 0, 2 /* SEEK_END */);
	char *raw = gmp_mmap(size);
	long n;

	if (raw == NULL)
		return; /* gmprun trace --convert can still do it */
	for (size_t at = 0; at < size; at += (size_t)n) {
		n = sys4(__NR_pread64, tr.fd, raw + at, size - at, at);
		if (n <= 0)
			return;
	}
	sys3(__NR_lseek, tr.fd, 0, 0 /* SEEK_SET */);
	sys2(__NR_ftruncate, tr.fd, 0);
	gmp_trace_json(raw, size, tr.fd);
	gmp_munmap(raw, size);
}

void gmp_trace_finish(void)
{
	uint32_t free = 0;

	if (!tr.to_file)
		return;
	/* sysmon may be at it; for good, since it is not to go on afterwards */
	for (int i = 0; !atomic_compare_exchange_strong(&tr.busy, &free, 1) && i < 1000; i++, free = 0)
		sys_nanosleep(1000000);
	if (tr.full)
		gmp_log("trace: its limit was reached %ld ms before the end; see GMPSHIM_TRACE_MB",
			(long)((gmp_nanotime() - tr.drained) / 1000000));
	stop();
	convert();
	close_fd();
	tr.to_file = false;
}

void gmp_trace_fork_child(void)
{
	close_fd();
	gmp_trace_ctl = (struct trace_ctl){0};
	tr.to_file = false;
	tr.busy = 0;
	for (uint32_t n = 0; n < nrings(); n++)
		atomic_store_explicit(&p_of(ring_number(n))->trace, NULL, memory_order_relaxed); /* no other thread */
}
