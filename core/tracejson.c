// SPDX-License-Identifier: MIT
/*
 * Raw traces (tracefile.h) as JSON in Chrome's Trace Event Format, which ui.perfetto.dev and chrome://tracing open.
 * Also part of gmprun. Two "processes": the Ps with what runs on each and one track for wake-ups by threads without a
 * P, and the threads with what each does: running, a reason to wait, runnable. Arrows go from who readied to where it
 * runs.
 *
 * What viewers ask for: numbers of tracks are unique in the file, since Perfetto names a thread by its tid alone. A
 * slice ends before its successor begins: of two that touch, rounding makes one a part of the other; chrome://tracing
 * even rounds to whole microseconds, if displayTimeUnit does not say otherwise. An event at the begin of a slice stands
 * behind it, since Perfetto goes by time, then place.
 *
 * The records of all Ps are merged by time, since what a G waits for is told on one P, its wake-up on another, and its
 * run on a third. Where records were left out, what is known of waits is forgotten: their ends may be among them.
 */
#include "core/gmp.h"
#include "core/log.h"
#include "core/tracefile.h"

#define MAX_TRACKS (GMP_MAXPROCS + 1)
#define THREADS	   1	      /* process ids of the file; tids: of a G its goid, of a P its number above PS */
#define PS	   1000000000 /* as tid P 0 */
#define TICK_NS	   5 /* length of a slice that an arrow can begin at: shorter than a look at the clock takes */

struct gstate {
	uint64_t goid;	/* 0: free; real ones begin with 1 */
	uint64_t since; /* begin of its wait, 0 = none that is known */
	const char *why;
	uint64_t ready_at; /* 0 = not yet */
	uint64_t began, until; /* its last run; 0 = none */
	uint32_t ready_p;      /* NOBODY: no arrow */
	uint32_t epoch;	   /* in which all this was learnt */
	bool by_nobody;	   /* readied while no G ran there: by the scheduler itself, for a timer or a descriptor */
	bool named;
};

struct track {
	const struct trace_block *block; /* whose records are next; NULL: there are no more */
	const struct trace_rec *rec, *end;
	uint64_t at;	   /* time of the next record */
	uint64_t run_goid; /* what runs since when; 0 = nothing that is known */
	uint64_t run_at, last;
	uint64_t arrow; /* the one that ends where this run begins; 0 = none */
	uint64_t switches;
	const char *reasons[PARK_CAUSES];
};

#define NOBODY UINT32_MAX

static struct {
	const char *raw, *end;
	uint32_t nps, ntracks;
	uint32_t order[MAX_TRACKS]; /* the numbers of the tracks that there are */
	int64_t ns0, ns1;
	uint64_t cycles0, cycles1, arrows;
	uint32_t epoch;
	struct gstate *gs;
	uint32_t ngs, mask;
	struct track tracks[MAX_TRACKS];
	struct gmp_out out;
} js;

/* --- the file --- */

static const struct trace_block *next_block(const struct trace_block *b)
{
	const char *at = b == NULL ? js.raw : (const char *)(b + 1) + b->size;

	b = (const void *)at;
	if (js.end - at < (ptrdiff_t)sizeof(*b) || b->magic != TRACE_MAGIC ||
	    js.end - at - (ptrdiff_t)sizeof(*b) < (ptrdiff_t)b->size)
		return NULL;
	return b;
}

static struct gstate *memory(size_t n)
{
	long p = sys6(__NR_mmap, 0, n * sizeof(struct gstate), 3 /* READ | WRITE */, 0x22 /* PRIVATE | ANONYMOUS */, -1,
		      0);

	return p < 0 && p > -4096 ? NULL : (void *)p;
}

static struct gstate *slot_of(uint64_t goid)
{
	uint32_t i = (uint32_t)(goid * UINT64_C(0x9e3779b97f4a7c15) >> 32) & js.mask;

	while (js.gs[i].goid != 0 && js.gs[i].goid != goid)
		i = (i + 1) & js.mask;
	return &js.gs[i];
}

/* What is known of goid; NULL: no memory. */
static struct gstate *state_of(uint64_t goid)
{
	struct gstate *g = slot_of(goid), *old = js.gs;
	uint32_t size = js.mask + 1;

	if (g->goid == goid)
		return g;
	if (js.ngs >= size / 2) {
		js.gs = memory(2 * (size_t)size);
		if (js.gs == NULL) {
			js.gs = old;
			return NULL;
		}
		js.mask = 2 * size - 1;
		for (uint32_t i = 0; i < size; i++)
			if (old[i].goid != 0)
				*slot_of(old[i].goid) = old[i];
		sys2(__NR_munmap, old, size * sizeof(*old));
		g = slot_of(goid);
	}
	js.ngs++;
	g->goid = goid;
	return g;
}

/* What was learnt before records were left out does not count. */
static void refresh(struct gstate *g)
{
	if (g->epoch != js.epoch)
		g->since = g->ready_at = 0;
	g->epoch = js.epoch;
}

/* --- JSON --- */

static int64_t ns_of(uint64_t cycles)
{
	if (cycles <= js.cycles0 || js.cycles1 <= js.cycles0)
		return 0;
	return (int64_t)((double)(cycles - js.cycles0) * (double)(js.ns1 - js.ns0) / (double)(js.cycles1 - js.cycles0));
}

/* "name":microseconds with three decimals */
static void time_field(const char *name, int64_t ns)
{
	unsigned frac = (unsigned)(ns % 1000);

	gmp_outf(&js.out, ",\"%s\":%ld.%u%u%u", name, (long)(ns / 1000), frac / 100, frac / 10 % 10, frac % 10);
}

static void head(const char *ph, const char *name, int pid, uint64_t tid, int64_t ns)
{
	gmp_outf(&js.out, ",\n{\"ph\":\"%s\",\"name\":\"%s\",\"pid\":%d,\"tid\":%lu", ph, name, pid,
		 (unsigned long)tid);
	time_field("ts", ns);
}

/* Without its end, for more fields. A nanosecond is kept free before the next one. */
static void slice_head(const char *name, int pid, uint64_t tid, int64_t from, int64_t to)
{
	head("X", name, pid, tid, from);
	time_field("dur", to > from ? to - from - 1 : 0);
}

static void slice_ns(const char *name, int pid, uint64_t tid, int64_t from, int64_t to)
{
	slice_head(name, pid, tid, from, to);
	gmp_outf(&js.out, "}");
}

static void slice_g(const char *name, uint64_t goid, uint64_t from, uint64_t to)
{
	slice_ns(name, THREADS, goid, ns_of(from), ns_of(to));
}

static const char *g_name(char buf[32], uint64_t goid)
{
	char digits[24];
	int n = 0, len = 0;

	do
		digits[n++] = (char)('0' + goid % 10);
	while ((goid /= 10) != 0);
	buf[len++] = 'G';
	while (n > 0)
		buf[len++] = digits[--n];
	buf[len] = '\0';
	return buf;
}

/* A program chooses names of its threads and itself. */
static void quoted(const char *s, size_t max)
{
	char c[2] = {0};

	for (; max > 0 && *s != '\0'; s++, max--) {
		c[0] = *s < ' ' || *s == '"' || *s == '\\' || *s == 127 ? '?' : *s;
		gmp_outf(&js.out, "%s", c);
	}
}

static void track_name(int pid, uint64_t tid, const char *kind, bool numbered, const char *name, size_t max)
{
	unsigned long number = (unsigned long)(pid == PS ? tid - PS : tid);

	gmp_outf(&js.out, ",\n{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":%d,\"tid\":%lu,\"args\":{\"name\":\"%s",
		 pid, (unsigned long)tid, kind);
	if (numbered)
		gmp_outf(&js.out, " %lu", number);
	if (name[0] != '\0')
		gmp_outf(&js.out, " ");
	quoted(name, max);
	gmp_outf(&js.out,
		 "\"}},\n{\"ph\":\"M\",\"name\":\"thread_sort_index\",\"pid\":%d,\"tid\":%lu,"
		 "\"args\":{\"sort_index\":%lu}}",
		 pid, (unsigned long)tid, number);
}

static void process_name(int pid, const char *kind, const char *program)
{
	gmp_outf(&js.out, "%s{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":%d,\"args\":{\"name\":\"%s of ",
		 pid == PS ? "" : ",\n", pid, kind);
	quoted(program, 16);
	gmp_outf(&js.out,
		 "\"}},\n{\"ph\":\"M\",\"name\":\"process_sort_index\",\"pid\":%d,"
		 "\"args\":{\"sort_index\":%d}}",
		 pid, pid == PS ? 0 : 1);
}

/* "s" where it begins, "f" where it ends. */
static void arrow(const char *ph, uint32_t p, uint64_t at, uint64_t id)
{
	head(ph, "wake", PS, PS + p, ns_of(at));
	gmp_outf(&js.out, ",\"cat\":\"wake\",\"bp\":\"e\",\"id\":%lu}", (unsigned long)id);
}

static void mark(const char *name, uint32_t p, uint64_t at)
{
	head("i", name, PS, PS + p, ns_of(at));
	gmp_outf(&js.out, ",\"s\":\"t\"}");
}

static void counter(const char *name, const char *what, int64_t ns, uint64_t value)
{
	head("C", name, PS, PS, ns);
	gmp_outf(&js.out, ",\"args\":{\"%s\":%lu}}", what, (unsigned long)value);
}

static void counters(const struct trace_block *b, const struct trace_block *before)
{
	int64_t ns = b->ns - js.ns0;

	counter("threads", "live", ns, (uint32_t)b->v[0]);
	counter("global queue", "length", ns, b->v[0] >> 32);
	counter("local queues", "length", ns, (uint32_t)b->v[1]);
	counter("idle Ps", "number", ns, b->v[1] >> 32);
	counter("netpoll", "ready", ns, before != NULL ? b->v[2] - before->v[2] : 0);
	counter("hand-offs", "number", ns, before != NULL ? b->v[3] - before->v[3] : 0);
}

/* --- one track --- */

static void end_run(struct track *t, uint32_t p, uint64_t at)
{
	char name[32];
	struct gstate *g = t->run_goid != 0 ? state_of(t->run_goid) : NULL;
	uint64_t until = at;

	if (t->run_goid != 0) {
		/* It may run elsewhere before this P tells of its next. */
		if (g != NULL && g->began > t->run_at && g->began < at)
			until = g->began;
		if (g != NULL && until > g->until)
			g->until = until;
		slice_ns(g_name(name, t->run_goid), PS, PS + p, ns_of(t->run_at), ns_of(at));
		slice_g("running", t->run_goid, t->run_at, until);
		if (t->arrow != 0)
			arrow("f", p, t->run_at, t->arrow);
	}
	t->run_goid = t->arrow = 0;
}

/* The block with the records of p that follows b. */
static const struct trace_block *next_records(const struct trace_block *b, uint32_t p)
{
	do
		b = next_block(b);
	while (b != NULL && (b->kind != TB_RECS || b->p != p || b->size == 0));
	return b;
}

/* The time of the next record; one that has none takes that of its successor. */
static void set_time(struct track *t, uint32_t p)
{
	const struct trace_block *b;
	const struct trace_rec *r = t->rec;

	if (r->at == 0 && r + 1 < t->end) {
		r++;
	} else if (r->at == 0) {
		b = next_records(t->block, p);
		if (b != NULL && b->v[0] == t->switches)
			r = (const void *)(b + 1);
	}
	t->at = r->at != 0 ? r->at : t->last; /* nothing follows, or not at once */
}

/* To the next record of p. */
static void advance(struct track *t, uint32_t p)
{
	const struct trace_block *b;
	uint64_t lost;

	if (t->rec < t->end)
		t->rec++;
	if (t->rec == t->end) {
		b = next_records(t->block, p);
		t->block = b;
		if (b == NULL)
			return;
		lost = t->last != 0 ? b->v[0] - t->switches : 0;
		t->rec = (const void *)(b + 1);
		t->end = t->rec + b->size / sizeof(*t->rec);
		t->switches = b->v[1];
		set_time(t, p);
		if (lost != 0) {
			end_run(t, p, t->last);
			slice_head("not recorded", PS, PS + p, ns_of(t->last), ns_of(t->at));
			gmp_outf(&js.out, ",\"args\":{\"switches\":%lu}}", (unsigned long)lost);
			js.epoch++;
		}
	} else {
		set_time(t, p);
	}
}

/* Times before the end of the last run become that: one that gives way waits before this P tells of its next. */
static uint64_t after_run(const struct gstate *g, uint64_t time, uint64_t at)
{
	uint64_t until = g->until < at ? g->until : at;

	return time == 0 || time > until ? time : until;
}

/* goid begins to run on p: what it did before is known. */
static void run(struct track *t, uint32_t p, uint64_t at, uint64_t goid)
{
	struct gstate *g;
	uint64_t since, ready;

	end_run(t, p, at);
	t->run_goid = goid;
	t->run_at = at;
	g = state_of(goid);
	if (g == NULL)
		return;
	refresh(g);
	if (!g->named)
		track_name(THREADS, goid, "G", true, "", 0);
	g->named = true;
	g->began = at;
	since = after_run(g, g->since, at);
	ready = after_run(g, g->ready_at, at);
	if (since != 0)
		slice_g(g->why, goid, since, ready > since ? ready : at);
	if (ready != 0)
		slice_g("runnable", goid, ready > since ? ready : since, at);
	if (g->ready_at != 0 && g->ready_p != NOBODY) {
		t->arrow = ++js.arrows;
		if (g->by_nobody)
			slice_ns("ready", PS, PS + g->ready_p, ns_of(g->ready_at), ns_of(g->ready_at) + TICK_NS);
		arrow("s", g->ready_p, g->ready_at, t->arrow);
	}
	g->since = g->ready_at = 0;
}

static void waits(uint64_t goid, uint64_t at, const char *why)
{
	struct gstate *g = state_of(goid);

	if (g == NULL)
		return;
	refresh(g);
	g->since = at;
	g->why = why != NULL ? why : "waiting";
}

static void is_ready(uint64_t goid, uint64_t at, uint32_t p)
{
	struct gstate *g = state_of(goid);

	if (g == NULL)
		return;
	refresh(g);
	g->ready_at = at;
	g->ready_p = p;
	g->by_nobody = p != NOBODY && js.tracks[p].run_goid == 0;
}

static void record(struct track *t, uint32_t p)
{
	uint64_t what = t->rec->what, goid = what >> 16, at = t->at;
	uint32_t arg = what >> 8 & 0xff;

	switch ((enum trace_kind)(what & 0xff)) {
	case TR_RUN:
		run(t, p, at, goid);
		break;
	case TR_STOP:
		end_run(t, p, at);
		break;
	case TR_PARK:
		waits(goid, at, arg < PARK_CAUSES ? t->reasons[arg] : NULL);
		break;
	case TR_SYSCALL:
		end_run(t, p, at);
		waits(goid, at, "syscall");
		break;
	case TR_READY:
		is_ready(goid, at, p);
		break;
	case TR_PREEMPT:
		mark("preempt", p, at);
		is_ready(goid, at, NOBODY);
		break;
	case TR_HANDOFF:
		end_run(t, p, at);
		mark("hand-off", p, at);
		break;
	}
	t->last = at;
}

/* --- the whole --- */

/* What stands beside the records: clocks, reasons, names, counters. */
static void first_pass(void)
{
	const struct trace_block *before = NULL;
	struct gstate *g;

	for (const struct trace_block *b = next_block(NULL); b != NULL; b = next_block(b)) {
		const char *more = (const char *)(b + 1);

		if (b->kind != TB_RECS) {
			js.ns1 = b->ns;
			js.cycles1 = b->cycles;
		}
		if (b->kind == TB_REASON && b->p < MAX_TRACKS && b->v[0] < PARK_CAUSES) {
			js.tracks[b->p].reasons[b->v[0]] = more;
		} else if (b->kind == TB_COUNT) {
			counters(b, before);
			before = b;
		} else if (b->kind == TB_G && (g = state_of(b->v[0])) != NULL) {
			track_name(THREADS, g->goid, "G", true, more, 16);
			g->named = true;
		}
	}
}

/* Waits that last till the end. */
static void still_waiting(void)
{
	for (const struct trace_block *b = next_block(NULL); b != NULL; b = next_block(b)) {
		struct gstate *g = b->kind == TB_G && b->v[1] != 0 ? state_of(b->v[0]) : NULL;
		int64_t since = (int64_t)b->v[1] - js.ns0;

		if (g == NULL)
			continue;
		refresh(g);
		if (g->since != 0 && g->ready_at == 0)
			since = ns_of(g->since);
		slice_ns((const char *)(b + 1) + 16, THREADS, g->goid, since > 0 ? since : 0, ns_of(js.cycles1));
	}
}

/* Of all Ps at the beginning, those that came later and did something, and threads without one. */
static void name_tracks(void)
{
	bool used[MAX_TRACKS] = {0};

	for (const struct trace_block *b = next_block(NULL); b != NULL; b = next_block(b))
		if (b->kind == TB_RECS && b->p < MAX_TRACKS)
			used[b->p] = true;
	for (uint32_t i = 0; i < MAX_TRACKS; i++) {
		if (i >= js.nps && i != GMP_MAXPROCS && !used[i])
			continue;
		js.order[js.ntracks++] = i;
		track_name(PS, PS + i, i < GMP_MAXPROCS ? "P" : "netpoll", i < GMP_MAXPROCS, "", 0);
	}
}

int gmp_trace_json(const void *raw, size_t size, int fd)
{
	const struct trace_block *b;

	js.raw = raw;
	js.end = js.raw + size;
	b = next_block(NULL);
	if (b == NULL || b->kind != TB_START || b->size != 16)
		return -1;
	js.gs = memory(1024);
	if (js.gs == NULL)
		return -1;
	js.nps = b->p;
	js.ns0 = b->ns;
	js.cycles0 = b->cycles;
	js.mask = 1023;
	js.out.fd = fd;
	gmp_outf(&js.out, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n");
	process_name(PS, "Ps", (const char *)(b + 1));
	process_name(THREADS, "threads", (const char *)(b + 1));
	first_pass();
	name_tracks();
	for (uint32_t i = 0; i < js.ntracks; i++)
		advance(&js.tracks[js.order[i]], js.order[i]);
	for (;;) {
		uint32_t first = NOBODY;

		for (uint32_t i = 0; i < js.ntracks; i++)
			if (js.tracks[js.order[i]].block != NULL &&
			    (first == NOBODY || js.tracks[js.order[i]].at < js.tracks[first].at))
				first = js.order[i];
		if (first == NOBODY)
			break;
		record(&js.tracks[first], first);
		advance(&js.tracks[first], first);
	}
	for (uint32_t i = 0; i < js.ntracks; i++)
		end_run(&js.tracks[js.order[i]], js.order[i], js.cycles1);
	still_waiting();
	gmp_outf(&js.out, "\n]}\n");
	gmp_out_flush(&js.out);
	return 0;
}
