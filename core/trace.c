// SPDX-License-Identifier: MIT
/*
 * Reports on the scheduler as a whole: GODEBUG=schedtrace prints the lines of Go's schedtrace (proc.go), with its
 * field names, order and status numbers, so that what parses Go's output parses ours; GMPSHIM_STATS prints what
 * was counted at exit. All is read without locks: a number may be a moment older than its neighbour.
 */
#include "core/gmp.h"
#include "core/log.h"

/* Go's numbers: its 5 is unused. */
static int go_status(uint32_t st)
{
	return st == G_DEAD ? 6 : (int)st;
}

/* " name=7", or " name=nil" for n < 0. */
static void field(struct gmp_out *o, const char *name, int64_t n)
{
	if (n < 0)
		gmp_outf(o, "%snil", name);
	else
		gmp_outf(o, "%s%ld", name, (long)n);
}

static uint32_t runq_len(struct p *pp)
{
	uint32_t h = atomic_load_explicit(&pp->runqhead, memory_order_relaxed);
	uint32_t t = atomic_load_explicit(&pp->runqtail, memory_order_relaxed);

	/* Go leaves runnext out too; the two are not read together */
	return (int32_t)(t - h) > 0 ? t - h : 0;
}

void gmp_report_pm(struct gmp_out *o)
{
	for (int i = 0; i < sched.gomaxprocs; i++) {
		struct p *pp = sched.allp[i];
		struct m *mp = pp->m;

		gmp_outf(o, "  P%d: status=%u schedtick=%u syscalltick=%u", i, pp->status, pp->schedtick,
			 pp->syscalltick);
		field(o, " m=", mp != NULL ? mp->id : -1);
		gmp_outf(o, " runqsize=%u gfreecnt=%u timerslen=%u\n", runq_len(pp), pp->ngfree, pp->ntimers);
	}
	for (struct m *mp = atomic_load_explicit(&sched.allm, memory_order_acquire); mp != NULL; mp = mp->alllink) {
		struct p *pp = mp->p;
		struct g *curg = mp->curg, *locked = mp->lockedg;
		bool blocked = atomic_load_explicit(&mp->idlewait, memory_order_relaxed) == IDLE_PARKED;

		gmp_outf(o, "  M%d:", mp->id);
		field(o, " p=", pp != NULL ? pp->id : -1);
		field(o, " curg=", curg != NULL ? (int64_t)curg->goid : -1);
		gmp_outf(o, " mallocing=0 throwing=0 preemptoff= locks=0 dying=0 spinning=%s blocked=%s",
			 mp->spinning ? "true" : "false", blocked ? "true" : "false");
		field(o, " lockedg=", locked != NULL ? (int64_t)locked->goid : -1);
		gmp_outf(o, "\n");
	}
}

static void detail(struct gmp_out *o)
{
	gmp_outf(o, " gcwaiting=false nmidlelocked=0 stopwait=0 sysmonwait=%s\n", sched.sysmonwait ? "true" : "false");
	gmp_report_pm(o);
	for (struct g *gp = atomic_load_explicit(&sched.allg, memory_order_acquire); gp != NULL; gp = gp->alllink) {
		uint32_t st = atomic_load_explicit(&gp->status, memory_order_relaxed);
		struct m *mp = st == G_RUNNING || st == G_SYSCALL ? gp->m : NULL, *locked = gp->lockedm;
		const char *why = gp->waitreason;

		if (st == G_IDLE)
			continue;
		gmp_outf(o, "  G%lu: status=%d(%s)", (unsigned long)gp->goid, go_status(st),
			 st == G_WAITING && why != NULL ? why : "");
		field(o, " m=", mp != NULL ? mp->id : -1);
		field(o, " lockedm=", locked != NULL ? locked->id : -1);
		gmp_outf(o, "\n");
	}
}

void gmp_schedtrace(int64_t now)
{
	static int64_t begin, last;
	struct gmp_out o = {.fd = 2};

	if (begin == 0)
		begin = now;
	else if (now - last < sched.trace_ns)
		return;
	last = now;
	gmp_outf(&o,
		 "SCHED %ldms: gomaxprocs=%d idleprocs=%d threads=%d spinningthreads=%d needspinning=0 "
		 "idlethreads=%d runqueue=%d",
		 (long)((now - begin) / 1000000), sched.gomaxprocs, sched.npidle, sched.mcount + 1, sched.nmspinning,
		 sched.nmidle, sched.runqsize);
	if (sched.trace_detail) {
		detail(&o);
	} else {
		gmp_outf(&o, " [ ");
		for (int i = 0; i < sched.gomaxprocs; i++)
			gmp_outf(&o, "%u ", runq_len(sched.allp[i]));
		gmp_outf(&o, "] schedticks=[ ");
		for (int i = 0; i < sched.gomaxprocs; i++)
			gmp_outf(&o, "%u ", sched.allp[i]->schedtick);
		gmp_outf(&o, "]\n");
	}
	gmp_out_flush(&o);
}

/* --- counters --- */

struct totals {
	struct pstat sum;
	uint64_t syscalls, polls, polled;
};

static bool same(const char *a, const char *b)
{
	while (*a != '\0' && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

/* One text may have several addresses. */
static void add_park(struct pstat *sum, const char *why, uint64_t n)
{
	for (uint32_t i = 0; i < PARK_CAUSES; i++) {
		if (sum->parks[i].why == NULL)
			sum->parks[i].why = why;
		if (same(sum->parks[i].why, why)) {
			sum->parks[i].n += n;
			return;
		}
	}
}

static void add_up(struct totals *t)
{
	*t = (struct totals){.polls = sched.stat_polls, .polled = sched.stat_polled};
	for (int i = 0; i < sched.nallp; i++) {
		const struct p *pp = sched.allp[i];

		t->sum.created += pp->stat.created;
		t->sum.switches += pp->stat.switches;
		t->sum.steals += pp->stat.steals;
		t->sum.preempts += pp->stat.preempts;
		t->syscalls += pp->syscalltick;
		for (uint32_t c = 0; c < PARK_CAUSES; c++)
			if (pp->stat.parks[c].why != NULL)
				add_park(&t->sum, pp->stat.parks[c].why, pp->stat.parks[c].n);
	}
	for (struct m *mp = atomic_load_explicit(&sched.allm, memory_order_acquire); mp != NULL; mp = mp->alllink) {
		t->polls += mp->stat_polls;
		t->polled += mp->stat_polled;
	}
}

/* One name and its number in both forms; JSON objects are opened and closed by the caller. */
static void number(struct gmp_out *o, bool json, const char *name, uint64_t n)
{
	gmp_outf(o, json ? ", \"%s\": %lu" : "gmpshim:   %s %lu\n", name, (unsigned long)n);
}

void gmp_stats(int fd, bool json, const char *program)
{
	struct gmp_out o = {.fd = fd};
	struct totals t;

	add_up(&t);
	if (json)
		gmp_outf(&o, "{\"pid\": %d", sys_getpid());
	else
		gmp_outf(&o, "gmpshim: statistics of %s, process %d\n", program, sys_getpid());
	number(&o, json, "gomaxprocs", (uint64_t)sched.gomaxprocs);
	number(&o, json, "gs_made", t.sum.created);
	number(&o, json, "gs_peak", (uint64_t)sched.peak_live);
	number(&o, json, "ms_peak", (uint64_t)sched.mcount);
	number(&o, json, "switches", t.sum.switches);
	number(&o, json, "steals", t.sum.steals);
	number(&o, json, "preemptions", t.sum.preempts);
	number(&o, json, "syscalls", t.syscalls);
	number(&o, json, "handoffs", sched.stat_handoffs);
	number(&o, json, "unseen_blocks", sched.stat_unseen);
	number(&o, json, "netpolls", t.polls);
	number(&o, json, "netpoll_ready", t.polled);
	gmp_outf(&o, json ? ", \"parks\": {" : "gmpshim:   parks:\n");
	for (uint32_t i = 0; i < PARK_CAUSES && t.sum.parks[i].why != NULL; i++)
		gmp_outf(&o, json ? "%s\"%s\": %lu" : "gmpshim:%s     %s %lu\n", json && i > 0 ? ", " : "",
			 t.sum.parks[i].why, (unsigned long)t.sum.parks[i].n);
	if (json)
		gmp_outf(&o, "}}\n");
	gmp_out_flush(&o);
}

void gmp_stats_fork_child(void)
{
	for (int i = 0; i < sched.nallp; i++)
		sched.allp[i]->stat = (struct pstat){0};
	sched.stat_handoffs = 0;
	sched.stat_unseen = sched.stat_polls = sched.stat_polled = 0;
	sched.peak_live = 1;
}
