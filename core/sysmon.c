// SPDX-License-Identifier: MIT
/*
 * sysmon: the one thread without a P (Go's sysmon). It takes Ps back from long system calls, ends time slices,
 * polls the network when nobody has for 10 ms, starts Ms that could not be started, and scavenges dead stacks.
 * It runs every 20 us while it finds something, backs off to 10 ms, and sleeps on a note while all Ps idle.
 */
#include <signal.h>
#include <sys/prctl.h>

#include "core/gmp.h"
#include "core/netpoll.h"

#define FIRST_DELAY_US 20
#define MAX_DELAY_US   10000
#define IDLE_ROUNDS    50		 /* rounds without a catch before the delay doubles */
#define SYSCALL_NS     INT64_C(10000000) /* a P in a system call without work for it is left this long */
#define ASK_AGAIN_NS   INT64_C(100000)	 /* between two requests to the same G */
#define STILL_NS       INT64_C(5000000)	 /* a CPU clock that stands still this long: not just waiting for a CPU */
#define POLL_NS	       INT64_C(10000000) /* netpoll if the last one is older */
#define LATE_NS	       INT64_C(1000000)	 /* timers are met later than due on purpose (COALESCE_NS in sched.c) */
#define SIGNALS_NS     INT64_C(10000000) /* between two looks for signals that no running G admits */
#define DEAD_NS	       NSEC_PER_SEC	 /* all Gs wait for each other this long: say so */
#define SCAVENGE_NS    INT64_C(20000000)
#define AUDIT_NS       INT64_C(10000000) /* a wait on a descriptor that lasts this long is checked; see netpoll.c */

/* Somebody could use pp: only then is it worth disturbing its G. */
static bool work_waits(struct p *pp, int64_t now)
{
	int64_t timer = atomic_load_explicit(&pp->timer0_when, memory_order_relaxed); /* a hint */

	return !gmp_runqempty(pp) || atomic_load_explicit(&sched.runqsize, memory_order_relaxed) > 0 ||
	       (timer != 0 && timer + LATE_NS < now);
}

/* CPU time of a kernel thread of ours in ns; -1 when it cannot be read. */
int64_t gmp_thread_cpu(int tid)
{
	int64_t ts[2];
	/* linux: CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED */
	int clock = (int)(~(unsigned)tid << 3 | 6);

	return sys2(__NR_clock_gettime, clock, ts) == 0 ? ts[0] * NSEC_PER_SEC + ts[1] : -1;
}

/*
 * The G on pp has had its slice and others wait. If its M burns CPU, ask it to yield; if the M's CPU clock stands
 * still, it sleeps somewhere past the hooks: take the P. True when something was done.
 */
static bool slice_over(struct p *pp, int64_t now)
{
	struct m *mp = pp->m;
	int64_t cpu;

	if (mp == NULL)
		return false;
	cpu = gmp_thread_cpu(mp->tid);
	if (cpu < 0)
		return false;
	if (pp->mon_cpu == 0 || cpu != pp->mon_cpu) {
		bool ask = pp->mon_cpu != 0 && now - pp->mon_cpuwhen >= ASK_AGAIN_NS && !sched.preempt_off;

		if (pp->mon_cpu == 0 || ask)
			pp->mon_cpuwhen = now;
		pp->mon_cpu = cpu;
		pp->mon_cpustill = now;
		if (ask)
			gmp_preemptone(pp);
		return true;
	}
	if (now - pp->mon_cpustill < STILL_NS)
		return true;
	return gmp_retake_blocked(pp);
}

/* Take Ps back; how many. */
static int retake(int64_t now)
{
	int n = 0;

	for (int i = 0; i < sched.gomaxprocs; i++) {
		struct p *pp = sched.allp[i];
		uint32_t st = atomic_load_explicit(&pp->status, memory_order_acquire), t;

		if (st != P_RUNNING && st != P_SYSCALL)
			continue;
		t = atomic_load_explicit(&pp->schedtick, memory_order_relaxed); /* compared only */
		if (pp->mon_schedtick != t) {
			pp->mon_schedtick = t;
			pp->mon_schedwhen = now;
			pp->mon_cpu = 0;
		} else if (now - pp->mon_schedwhen >= sched.slice_ns && st == P_RUNNING) {
			atomic_store_explicit(&pp->preempt, 1, memory_order_relaxed); /* a request, no order */
			if (work_waits(pp, now) && slice_over(pp, now))
				n++;
		}
		if (st != P_SYSCALL)
			continue;
		/* In a system call for more than one tick of ours (at least 20 us). */
		t = atomic_load_explicit(&pp->syscalltick, memory_order_relaxed);
		if (pp->mon_syscalltick != t) {
			pp->mon_syscalltick = t;
			pp->mon_syscallwhen = now;
			continue;
		}
		/* No work for it, and others look for work: leave it, but not for ever. */
		if (gmp_runqempty(pp) && atomic_load(&sched.nmspinning) + atomic_load(&sched.npidle) > 0 &&
		    now - pp->mon_syscallwhen < SYSCALL_NS)
			continue;
		st = P_SYSCALL;
		/* pairs with the CAS in gmp_exitsyscall: one of the two gets it */
		if (atomic_compare_exchange_strong(&pp->status, &st, P_IDLE)) {
			n++;
			atomic_fetch_add_explicit(&pp->syscalltick, 1, memory_order_relaxed);
			gmp_handoffp(pp);
		}
	}
	return n;
}

void *gmp_sysmon(void *arg)
{
	int64_t delay = 0, signals_taken = 0, scavenged = 0, audited = 0;
	int idle = 0;
	bool auditing = false;
	gmp_sigset mask = SIG_ALL_BUT_NOTIFY;

	(void)arg;
	gmp_cred_sysmon();
	sys_sigmask(SIG_SETMASK, &mask, NULL);
	/* 20 us mean 20 us: the default slack of 50 us would more than triple it */
	sys2(__NR_prctl, PR_SET_TIMERSLACK, 1);
	for (;;) {
		int64_t now, last, next;
		struct g *list;

		if (idle == 0)
			delay = FIRST_DELAY_US; /* also after a sleep */
		else if (idle > IDLE_ROUNDS)
			delay *= 2;
		if (delay > MAX_DELAY_US)
			delay = MAX_DELAY_US;
		sys_nanosleep(delay * 1000);
		now = gmp_nanotime();

		/* All idle, and for long enough that the delay is at its longest: sleep until somebody gets a P. */
		if (delay == MAX_DELAY_US && !auditing && sched.trace_ns == 0 &&
		    atomic_load(&sched.npidle) == sched.gomaxprocs) {
			next = gmp_timers_next(0);
			gmp_noteclear(&sched.sysmonnote);
			atomic_store(&sched.sysmonwait, 1); /* StoreLoad; pairs with wake_sysmon in sched.c */
			if (atomic_load(&sched.npidle) == sched.gomaxprocs &&
			    atomic_load_explicit(&sched.runqsize, memory_order_relaxed) == 0 && !gmp_dump_wanted()) {
				int64_t rel = next == 0 ? -1 : next > now ? next - now + POLL_NS : POLL_NS;
				bool dead = rel < 0 && gmp_checkdead();

				/* The M in netpoll minds the timers; be there if it cannot. */
				if (!gmp_notesleep(&sched.sysmonnote, dead ? DEAD_NS : rel) && dead)
					gmp_report_dead();
				idle = 0;
			}
			atomic_store(&sched.sysmonwait, 0);
			now = gmp_nanotime();
		}
		atomic_store_explicit(&sched.coarse_now, now, memory_order_relaxed); /* for reports */
		if (unlikely(sched.trace_ns != 0))
			gmp_schedtrace(now);
		if (unlikely(gmp_dump_wanted()))
			gmp_dump();
		last = atomic_load(&sched.lastpoll);
		if (gmp_netpoll_inited() && last != 0 && last + POLL_NS < now && gmp_netpoll_any_waiters()) {
			atomic_compare_exchange_strong(&sched.lastpoll, &last, now);
			list = gmp_netpoll(0);
			if (list != NULL)
				gmp_injectglist(list);
		}
		/* A timer is late, or work lies about while a P idles (an M could not be started): start an M. */
		next = gmp_timers_next(0);
		if ((next != 0 && next + LATE_NS < now) || atomic_load(&sched.runqsize) > 0)
			gmp_wakep();
		if (retake(now) != 0)
			idle = 0;
		else
			idle++;
		gmp_notify_lost();
		if (now - signals_taken >= SIGNALS_NS && gmp_host.take_signals != NULL) {
			signals_taken = now;
			gmp_host.take_signals();
		}
		if (now - audited >= AUDIT_NS) {
			audited = now;
			auditing = gmp_netpoll_audit();
		}
		if (now - scavenged > SCAVENGE_NS) {
			scavenged = now;
			gmp_scavenge(now);
		}
	}
	return NULL;
}
