// SPDX-License-Identifier: MIT
/*
 * The CPU time of each G, for CLOCK_THREAD_CPUTIME_ID and its like. The kernel counts it per M; telling the Gs of an M
 * apart costs a system call per switch, ten times the switch. So it is done only once a thread's CPU clock has been
 * asked for (sched.cpu_acct); from then on all Gs are counted exactly: each switch charges what the M's clock has
 * advanced since mark to the G that leaves. Time on the g0 belongs to nobody, or to the G that the M is locked to.
 *
 * What a G had used before the first question is not known. The main G has at least what the process had when threads
 * began; the G that asks is given the lesser of its own age and its M's CPU time, others begin at 0. A program that
 * asks before it creates threads is counted from the start.
 *
 * m->cpu_mark: the M's clock at its last switch, 0 = not yet counting. Its owner exchanges it, gmp_cpu_begin sets it
 * once from 0. g->cpu_ns: atomic adds only, since a dead G's slot may be in use again when the last bit arrives.
 */
#include "core/gmp.h"

#define THREAD_CPUTIME 3 /* CLOCK_THREAD_CPUTIME_ID */

static int64_t live_cpu;      /* of the process's only thread when threads began */
static int64_t live_ns;	      /* and when that was */
static uint64_t live_cycles;
static bool asked_early;

static int64_t own_cpu(void)
{
	int64_t ts[2];

	return sys2(__NR_clock_gettime, THREAD_CPUTIME, ts) == 0 ? ts[0] * NSEC_PER_SEC + ts[1] : 0;
}

/* On mp: what it did since the last call was gp's (NULL: its g0's). */
void gmp_cpu_switch(struct m *mp, struct g *gp)
{
	int64_t now = own_cpu(), mark = atomic_exchange_explicit(&mp->cpu_mark, now, memory_order_relaxed);

	if (gp == NULL)
		gp = mp->lockedg;
	if (gp != NULL && mark != 0)
		atomic_fetch_add_explicit(&gp->cpu_ns, now - mark, memory_order_relaxed);
}

static void count_on(void)
{
	atomic_store(&sched.cpu_acct, true);
	for (struct m *mp = sched.allm; mp != NULL; mp = mp->alllink) {
		int64_t zero = 0, now = mp->tid != 0 ? gmp_thread_cpu(mp->tid) : -1;

		if (now > 0)
			atomic_compare_exchange_strong(&mp->cpu_mark, &zero, now);
	}
}

/* Before threads begin: somebody has read a thread's CPU clock. */
void gmp_cpu_asked(void)
{
	asked_early = true;
}

/* Threads begin. On the main G. */
void gmp_cpu_live(void)
{
	live_cpu = own_cpu();
	live_ns = gmp_nanotime();
	live_cycles = arch_cycles();
	atomic_store(&getg()->cpu_ns, live_cpu);
	getg()->born = live_cycles;
	if (asked_early) {
		count_on();
		gmp_cpu_switch(getg()->m, NULL);
	}
}

/* The first question. It comes from gp, in gmp_enter(). */
static void begin(struct g *gp)
{
	int64_t cpu, age = 0, ns = gmp_nanotime() - live_ns;
	uint64_t cycles = arch_cycles();

	if (cycles > live_cycles && cycles > gp->born)
		age = (int64_t)((double)ns * (double)(cycles - gp->born) / (double)(cycles - live_cycles));
	cpu = own_cpu() - (gp->m == sched.m0 ? live_cpu : 0);
	atomic_fetch_add(&gp->cpu_ns, cpu < age ? cpu : age);
	count_on();
	gmp_cpu_switch(gp->m, NULL);
}

/* The CPU time of a living G in ns. On any thread, perhaps on gp itself. */
int64_t gmp_cpu_of(struct g *gp)
{
	struct g *self = getg();
	int64_t ns = 0;

	gmp_enter();
	if (!atomic_load_explicit(&sched.cpu_acct, memory_order_relaxed))
		self != NULL ? begin(self) : count_on();
	if (gp == self) {
		gmp_cpu_switch(gp->m, gp);
		ns = atomic_load_explicit(&gp->cpu_ns, memory_order_relaxed);
		gmp_leave();
		return ns;
	}
	for (int i = 0; i < 1000; i++) {
		struct m *mp = *(struct m *volatile *)&gp->m;
		int64_t mark = 0, now = 0;

		ns = atomic_load(&gp->cpu_ns);
		if (mp == NULL || *(struct g *volatile *)&mp->curg != gp)
			break; /* it does not run; what it has just used is on its way or there */
		mark = atomic_load(&mp->cpu_mark);
		now = gmp_thread_cpu(mp->tid);
		if (atomic_load(&mp->cpu_mark) != mark || atomic_load(&gp->cpu_ns) != ns ||
		    *(struct g *volatile *)&mp->curg != gp)
			continue;
		if (mark != 0 && now > mark)
			ns += now - mark;
		break;
	}
	gmp_leave();
	return ns;
}

void gmp_cpu_fork_child(void)
{
	/* the kernel's clock of the child begins at 0 as well */
	atomic_store(&sched.cpu_acct, false);
	atomic_store(&getg()->cpu_ns, 0);
	atomic_store(&getg()->m->cpu_mark, 0);
	asked_early = false;
}
