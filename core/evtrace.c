// SPDX-License-Identifier: MIT
/*
 * GMPSHIM_TRACE: scheduling events as a file for ui.perfetto.dev and chrome://tracing (Trace Event Format, JSON). One
 * track per P and per G, arrows from who readied a G to where it runs, marks for preemptions and hand-offs, counters.
 *
 * Each P has a ring, written by the M that holds it; sysmon empties the rings and writes the file. Time is the CPU's
 * counter, turned into nanoseconds by sysmon, which reads both clocks. A G carries the beginning and the reason of its
 * wait itself, so that every event can be written without another one's help. What does not fit is counted and lost.
 */
#include <fcntl.h>

#include "core/evtrace.h"
#include "core/log.h"

#define RING 32768u /* events; a power of two */
#define COUNTER_NS INT64_C(5000000)

struct trace_event {
	uint64_t at, since; /* counter of the CPU; since: of the wait that is over, 0 = none */
	uint64_t goid, n;   /* n: the arrow's number, 0 = none */
	const char *why;
	uint32_t kind;
	bool first; /* of this G */
};

struct trace_ring {
	_Atomic(uint64_t) head; /* next to write; owner */
	_Atomic(uint64_t) tail; /* next to read; the reader, under `busy` */
	uint64_t lost;
	uint64_t run_at, run_goid; /* reader: what runs there since when; 0 = nothing */
	bool named;		   /* reader */
	struct trace_event ev[RING];
};

static struct {
	int fd; /* -1: off */
	_Atomic(uint32_t) busy;
	uint64_t cycles0;
	double ns_per_cycle;
	int64_t ns0, counted;
	uint64_t polled;
	struct gmp_out out;
} tr = {.fd = -1};

void gmp_trace_wait_begins(struct g *gp, const char *why)
{
	gp->trace_since = arch_cycles();
	gp->trace_why = why;
}

void gmp_trace_add(struct trace_ring *r, enum trace_kind kind, struct g *gp)
{
	uint64_t h = atomic_load_explicit(&r->head, memory_order_relaxed); /* own */
	struct trace_event *e = &r->ev[h % RING];

	/* acquire: the reader is done with the place; pairs with the release in empty() */
	if (h - atomic_load_explicit(&r->tail, memory_order_acquire) >= RING) {
		r->lost++;
		return;
	}
	e->at = arch_cycles();
	e->kind = kind;
	e->n = 0;
	e->since = 0;
	e->goid = gp != NULL ? gp->goid : 0;
	if (kind == TR_RUN) {
		e->since = gp->trace_since;
		e->why = gp->trace_why;
		e->n = gp->trace_arrow;
		e->first = gp->trace_goid != gp->goid;
		gp->trace_goid = gp->goid;
		gp->trace_since = gp->trace_arrow = 0;
	} else if (kind == TR_READY) {
		e->n = gp->trace_arrow = e->at;
	}
	atomic_store_explicit(&r->head, h + 1, memory_order_release); /* the event is whole */
}

/* --- the reader --- */

/* Nanoseconds since the start. */
static int64_t ns_of(uint64_t cycles)
{
	return cycles > tr.cycles0 ? (int64_t)((double)(cycles - tr.cycles0) * tr.ns_per_cycle) : 0;
}

/* "name":microseconds with three decimals */
static void time_field(const char *name, int64_t ns)
{
	unsigned frac = (unsigned)(ns % 1000);

	gmp_outf(&tr.out, ",\"%s\":%ld.%u%u%u", name, (long)(ns / 1000), frac / 100, frac / 10 % 10, frac % 10);
}

static void head(const char *ph, const char *name, uint64_t goid, int pid, uint64_t tid, int64_t ns)
{
	gmp_outf(&tr.out, ",\n{\"ph\":\"%s\",\"name\":\"%s", ph, name);
	if (goid != 0)
		gmp_outf(&tr.out, "%lu", (unsigned long)goid);
	gmp_outf(&tr.out, "\",\"pid\":%d,\"tid\":%lu", pid, (unsigned long)tid);
	time_field("ts", ns);
}

static void slice(const char *name, uint64_t goid, int pid, uint64_t tid, uint64_t from, uint64_t to)
{
	int64_t begin = ns_of(from);

	head("X", name, goid, pid, tid, begin);
	time_field("dur", ns_of(to) - begin);
	gmp_outf(&tr.out, "}");
}

static void track_name(int pid, uint64_t tid, const char *name)
{
	gmp_outf(&tr.out,
		 ",\n{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":%d,\"tid\":%lu,\"args\":{\"name\":\"%s %lu\"}}",
		 pid, (unsigned long)tid, name, (unsigned long)tid);
}

/* A piece of an arrow: "s" where it begins, "f" where it ends. */
static void arrow(const char *ph, uint64_t p, uint64_t at, uint64_t n)
{
	head(ph, "wake", 0, 1, p, ns_of(at));
	gmp_outf(&tr.out, ",\"cat\":\"wake\",\"bp\":\"e\",\"id\":%lu}", (unsigned long)n);
}

static void end_run(struct trace_ring *r, uint64_t p, uint64_t at)
{
	if (r->run_at == 0)
		return;
	slice("G", r->run_goid, 1, p, r->run_at, at);
	slice("running", 0, 2, r->run_goid, r->run_at, at);
	r->run_at = 0;
}

static void write_event(struct trace_ring *r, uint64_t p, const struct trace_event *e)
{
	switch (e->kind) {
	case TR_RUN:
		end_run(r, p, e->at);
		if (e->first)
			track_name(2, e->goid, "G");
		if (e->since != 0)
			slice(e->why, 0, 2, e->goid, e->since, e->at);
		if (e->n != 0)
			arrow("f", p, e->at, e->n);
		r->run_at = e->at;
		r->run_goid = e->goid;
		break;
	case TR_STOP:
		end_run(r, p, e->at);
		break;
	case TR_READY:
		arrow("s", p, e->at, e->n);
		break;
	case TR_HANDOFF:
		end_run(r, p, e->at);
		/* fallthrough */
	case TR_PREEMPT:
		head("i", e->kind == TR_PREEMPT ? "preempt" : "hand-off", 0, 1, p, ns_of(e->at));
		gmp_outf(&tr.out, ",\"s\":\"t\"}");
		break;
	}
}

static void empty(struct trace_ring *r, uint64_t p)
{
	uint64_t t = atomic_load_explicit(&r->tail, memory_order_relaxed); /* own, under busy */
	uint64_t h = atomic_load_explicit(&r->head, memory_order_acquire); /* whole events */

	for (; t != h; t++) {
		write_event(r, p, &r->ev[t % RING]);
		atomic_store_explicit(&r->tail, t + 1, memory_order_release); /* the place is free */
	}
}

static void counters(int64_t now)
{
	uint64_t polled = sched.stat_polled;

	for (struct m *mp = atomic_load_explicit(&sched.allm, memory_order_acquire); mp != NULL; mp = mp->alllink)
		polled += mp->stat_polled;
	head("C", "netpoll", 0, 1, 0, now - tr.ns0);
	gmp_outf(&tr.out, ",\"args\":{\"ready\":%lu}}", (unsigned long)(polled - tr.polled));
	tr.polled = polled;
	head("C", "threads", 0, 1, 0, now - tr.ns0);
	gmp_outf(&tr.out, ",\"args\":{\"live\":%d}}", sched.nlive);
	head("C", "global queue", 0, 1, 0, now - tr.ns0);
	gmp_outf(&tr.out, ",\"args\":{\"length\":%d}}", sched.runqsize);
}

/* busy is ours */
static void drain(int64_t now)
{
	uint64_t cycles = arch_cycles();

	if (cycles > tr.cycles0 && now > tr.ns0)
		tr.ns_per_cycle = (double)(now - tr.ns0) / (double)(cycles - tr.cycles0);
	for (int i = 0; i < sched.nallp; i++) {
		struct trace_ring *r = sched.allp[i]->trace;

		if (r == NULL)
			continue;
		if (!r->named) {
			track_name(1, (uint64_t)i, "P");
			r->named = true;
		}
		empty(r, (uint64_t)i);
	}
	if (now - tr.counted >= COUNTER_NS) {
		tr.counted = now;
		counters(now);
	}
}

void gmp_trace_drain(int64_t now)
{
	uint32_t free = 0;

	if (tr.fd >= 0 && atomic_compare_exchange_strong(&tr.busy, &free, 1)) {
		drain(now);
		atomic_store(&tr.busy, 0);
	}
}

void gmp_trace_finish(void)
{
	uint32_t free = 0;
	uint64_t lost = 0;

	if (tr.fd < 0)
		return;
	/* sysmon may be at it; for good, since it is not to go on afterwards */
	for (int i = 0; !atomic_compare_exchange_strong(&tr.busy, &free, 1) && i < 1000; i++, free = 0)
		sys_nanosleep(1000000);
	drain(gmp_nanotime());
	for (int i = 0; i < sched.nallp; i++) {
		if (sched.allp[i]->trace == NULL)
			continue;
		end_run(sched.allp[i]->trace, (uint64_t)i, arch_cycles());
		lost += sched.allp[i]->trace->lost;
	}
	for (struct g *gp = atomic_load_explicit(&sched.allg, memory_order_acquire); gp != NULL; gp = gp->alllink)
		if (atomic_load_explicit(&gp->status, memory_order_relaxed) == G_WAITING && gp->trace_since != 0)
			slice(gp->trace_why, 0, 2, gp->goid, gp->trace_since, arch_cycles()); /* waits still */
	gmp_outf(&tr.out, "\n]\n");
	gmp_out_flush(&tr.out);
	sys1(__NR_close, tr.fd);
	tr.fd = -1;
	if (lost != 0)
		gmp_log("trace: %lu events did not fit", (unsigned long)lost);
}

bool gmp_tracing(void)
{
	return tr.fd >= 0;
}

void gmp_trace_new_p(struct p *pp)
{
	if (tr.fd >= 0)
		pp->trace = gmp_mmap(sizeof(struct trace_ring));
}

int gmp_trace_start(const char *path)
{
	long fd = sys4(__NR_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), high;

	if (fd < 0)
		return (int)fd;
	high = sys3(__NR_fcntl, fd, F_DUPFD_CLOEXEC, 500); /* out of the way of programs that count on numbers */
	if (high >= 0) {
		sys1(__NR_close, fd);
		fd = high;
	}
	tr.fd = tr.out.fd = (int)fd;
	tr.ns0 = gmp_nanotime();
	tr.cycles0 = arch_cycles();
	gmp_outf(&tr.out, "[{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":1,\"args\":{\"name\":\"Ps\"}},\n"
			  "{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":2,\"args\":{\"name\":\"threads\"}}");
	for (int i = 0; i < sched.nallp; i++)
		gmp_trace_new_p(sched.allp[i]);
	return 0;
}

void gmp_trace_fork_child(void)
{
	if (tr.fd >= 0)
		sys1(__NR_close, tr.fd);
	tr.fd = -1;
	for (int i = 0; i < sched.nallp; i++)
		sched.allp[i]->trace = NULL;
}
