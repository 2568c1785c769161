// SPDX-License-Identifier: MIT
/*
 * sysmon: the one thread without a P (Go's sysmon). It takes Ps back from long system calls, ends time slices,
 * polls the network when nobody has for 10 ms, starts Ms that could not be started, and scavenges dead stacks.
 * It runs every 20 us while it finds something, backs off to 10 ms, and sleeps on a note while all Ps idle.
 */
#include <sys/prctl.h>

#include "core/gmp.h"
#include "core/netpoll.h"

#define FIRST_DELAY_US 20
#define MAX_DELAY_US 10000
#define IDLE_ROUNDS 50		      /* rounds without a catch before the delay doubles */
#define SLICE_NS INT64_C(10000000)    /* forcePreemptNS */
#define POLL_NS INT64_C(10000000)     /* netpoll if the last one is older */
#define SCAVENGE_NS INT64_C(20000000)

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
		} else if (now - pp->mon_schedwhen >= SLICE_NS) {
			atomic_store_explicit(&pp->preempt, 1, memory_order_relaxed); /* a request, no order */
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
		    now - pp->mon_syscallwhen < SLICE_NS)
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
	int64_t delay = 0, scavenged = 0;
	int idle = 0;

	(void)arg;
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
		if (delay == MAX_DELAY_US && atomic_load(&sched.npidle) == sched.gomaxprocs) {
			next = gmp_timers_next(0);
			gmp_noteclear(&sched.sysmonnote);
			atomic_store(&sched.sysmonwait, 1); /* StoreLoad; pairs with wake_sysmon in sched.c */
			if (atomic_load(&sched.npidle) == sched.gomaxprocs &&
			    atomic_load_explicit(&sched.runqsize, memory_order_relaxed) == 0) {
				/* The M in netpoll minds the timers; be there if it cannot. */
				gmp_notesleep(&sched.sysmonnote, next == 0 ? -1 : next > now ? next - now + POLL_NS : POLL_NS);
				idle = 0;
			}
			atomic_store(&sched.sysmonwait, 0);
			now = gmp_nanotime();
		}
		last = atomic_load(&sched.lastpoll);
		if (gmp_netpoll_inited() && last != 0 && last + POLL_NS < now && gmp_netpoll_any_waiters()) {
			atomic_compare_exchange_strong(&sched.lastpoll, &last, now);
			list = gmp_netpoll(0);
			if (list != NULL)
				gmp_injectglist(list);
		}
		/* A timer is late, or work lies about while a P idles (an M could not be started): start an M. */
		next = gmp_timers_next(0);
		if ((next != 0 && next < now) || atomic_load(&sched.runqsize) > 0)
			gmp_wakep();
		if (retake(now) != 0)
			idle = 0;
		else
			idle++;
		if (now - scavenged > SCAVENGE_NS) {
			scavenged = now;
			gmp_scavenge(now);
		}
	}
	return NULL;
}
