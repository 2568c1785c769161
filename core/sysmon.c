// SPDX-License-Identifier: MIT
/*
 * sysmon: the one thread without a P (Go's sysmon). It takes Ps back from long system calls, ends time slices, finds
 * Ms that sleep in the kernel past the hooks, polls the network when nobody has for 10 ms, starts Ms that could not be
 * started, and scavenges dead stacks. It runs every 20 us while it finds something, backs off to 10 ms or until a P
 * that others wait for is to be looked at, and sleeps on a note while all Ps idle.
 *
 * What an M does is asked of its CPU clock first, at half a microsecond: two reads that differ, and it runs now. Equal
 * reads, also after a moment in which sysmon leaves the CPU to it, leave open whether it sleeps or waits for a CPU;
 * /proc/self/task/<tid>/stat tells. A descriptor for that would take a number that the program may be about to get, and
 * there may be thousands of Ms. So the question is put by a kernel thread with a descriptor table of its own, which
 * lives for the one answer (some 50 us, more on a busy machine, and rare). The kernel copies the first 64 descriptors
 * into that table all the same, and closes them again. With a message queue that ends the notification which the
 * process has asked for: where it asks for one (gmp_keep_files), the clock alone has to do, as without /proc.
 */
#include <signal.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sys/prctl.h>

#include "core/evtrace.h"
#include "core/gmp.h"
#include "core/netpoll.h"

#define FIRST_DELAY_US 20
#define MAX_DELAY_US   10000
#define IDLE_ROUNDS    50		 /* rounds without a catch before the delay doubles */
#define SYSCALL_NS     INT64_C(10000000) /* a P in a system call without work for it is left this long */
#define ASK_AGAIN_NS   INT64_C(100000)	 /* between two requests to the same G */
#define FIRST_LOOK_NS  (sched.slice_ns / 4) /* from the begin of a slice */
#define STAND_BACK_US  20		 /* for how long sysmon leaves the CPU to an M that it looks at */
#define LOOK_NS	       INT64_C(1000000)	 /* between two looks at an M that may sleep */
#define STILL_NS       INT64_C(5000000)	 /* no /proc: a clock that stands still this long is taken for sleep */
#define MAX_PROBES     2		 /* LOOK_NS is doubled so often */
#define PROBE_STACK    4096
#define POLL_NS	       INT64_C(10000000) /* netpoll if the last one is older */
#define LATE_NS	       INT64_C(1000000)	 /* timers are met later than due on purpose (COALESCE_NS in sched.c) */
#define SIGNALS_NS     INT64_C(10000000) /* between two looks for signals that no running G admits */
#define DEAD_NS	       NSEC_PER_SEC	 /* all Gs wait for each other this long: say so */
#define SCAVENGE_NS    INT64_C(20000000)
#define AUDIT_NS       INT64_C(10000000) /* a wait on a descriptor that lasts this long is checked; see netpoll.c */

/* The G on pp is to do something for another when it next leaves the shim, as preload/props.c asks. */
static bool wanted(struct p *pp)
{
	struct m *mp = pp->m;
	struct g *gp = mp != NULL ? mp->curg : NULL;

	return gp != NULL && gp->tls != NULL && atomic_load_explicit(&gp->tls->deferred, memory_order_relaxed) != 0;
}

/* Somebody could use pp, or wants its G: only then is it worth disturbing it. */
static bool work_waits(struct p *pp, int64_t now)
{
	int64_t timer = atomic_load_explicit(&pp->timer0_when, memory_order_relaxed); /* a hint */

	if (unlikely(atomic_load_explicit(&pp->retiring, memory_order_relaxed))) /* gmp_procresize waits */
		return true;
	return wanted(pp) || !gmp_runqempty(pp) || atomic_load_explicit(&sched.runqsize, memory_order_relaxed) > 0 ||
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

static struct {
	_Alignas(16) char stack[PROBE_STACK];
	int tid;
	char state;
} probe;

static _Atomic(bool) keep_files, probing;

void gmp_keep_files(void)
{
	atomic_store(&keep_files, true); /* seq_cst, both: then the look; pairs with gmp_thread_state */
	while (atomic_load(&probing))
		sys_yield();
}

/* The parent's sysmon may have been at it; it is not here. */
void gmp_sysmon_fork_child(void)
{
	probing = false;
}

/* The kernel thread of gmp_thread_state. No TLS, no lock. */
static void probe_main(void *arg)
{
	static const char head[] = "/proc/self/task/", tail[] = "/stat";
	char path[sizeof(head) + sizeof(tail) + 12], buf[128], digits[12];
	int n = 0, len = 0, fd, tid = probe.tid;
	long got;

	(void)arg;
	/* From here on a table of its own, an empty one; before linux 5.9: no answer. */
	if (sys3(__NR_close_range, 0, UINT32_MAX, 1u << 1 /* CLOSE_RANGE_UNSHARE */) == 0) {
		for (; tid > 0; tid /= 10)
			digits[n++] = (char)('0' + tid % 10);
		for (const char *s = head; *s != '\0'; s++)
			path[len++] = *s;
		while (n > 0)
			path[len++] = digits[--n];
		for (unsigned i = 0; i < sizeof(tail); i++)
			path[len++] = tail[i];
		fd = (int)sys4(__NR_openat, AT_FDCWD, path, O_RDONLY, 0);
		got = fd >= 0 ? sys3(__NR_read, fd, buf, sizeof(buf)) : 0;
		/* "tid (name) S ...": the name, of at most 15 bytes, may hold anything but ends with the last ')' */
		while (got > 3 && buf[got - 1] != ')')
			got--;
		if (got > 3)
			probe.state = buf[got + 1];
	}
	sys1(__NR_exit, 0);
}

char gmp_thread_state(int tid)
{
	/* VFORK: the caller goes on when the thread has ended. */
	static const unsigned long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_SIGHAND |
					   CLONE_THREAD | CLONE_VFORK;

	probe.tid = tid;
	probe.state = 0;
	atomic_store(&probing, true);
	if (!atomic_load(&keep_files))
		arch_clone(flags, probe.stack + PROBE_STACK, 0, NULL, probe_main, NULL);
	atomic_store_explicit(&probing, false, memory_order_release); /* the copies are closed */
	return *(volatile char *)&probe.state;
}

/* Its slice is over: ask the G on pp to yield. One that could not for a whole further slice loses its P: true. */
static bool ask(struct p *pp, struct m *mp, int64_t now)
{
	int64_t used = pp->mon_cpu - pp->mon_cpu0;

	/* One that runs for a moment now and then would be asleep, and see EINTR, before the signal is there. */
	if (used < GMP_BUSY_NS && (used < ASK_AGAIN_NS / 2 || used < (now - pp->mon_since) / 2))
		return false;
	if (sched.preempt_off || now - pp->mon_asked < ASK_AGAIN_NS)
		return false;
	if (now - pp->mon_schedwhen >= 2 * sched.slice_ns && pp->mon_refused > 1 && gmp_retake_unseen(pp))
		return true;
	pp->mon_asked = now;
	pp->mon_refused++;
	gmp_preemptone(pp);
	return false;
}

/*
 * Work waits and pp is held by the same G since pp->mon_schedwhen. If its M computes and the slice is over, ask the G
 * to yield; if the M sleeps somewhere past the hooks, take the P. True: it was taken. *ret_next: when to look again, at
 * the end of the slice at the latest.
 */
static bool look(struct p *pp, int64_t now, bool over, int64_t *ret_next)
{
	struct m *mp = pp->m;
	int64_t cpu, was = pp->mon_cpu;
	bool still;

	*ret_next = over ? now + ASK_AGAIN_NS : INT64_MAX; /* one that runs: at the end of its slice */
	if (mp == NULL)
		return false;
	if (mp->notified != 0) { /* a request it has not even seen: it waits for a CPU */
		*ret_next = now + LOOK_NS;
		return false;
	}
	cpu = gmp_thread_cpu(mp->tid);
	if (cpu < 0)
		return false;
	still = cpu == was;
	if (was == 0) {
		pp->mon_cpu0 = cpu;
		pp->mon_since = now;
	}
	if (!still)
		pp->mon_still = now;
	pp->mon_cpu = gmp_thread_cpu(mp->tid);
	if (pp->mon_cpu == cpu && over && !still) {
		/* sysmon itself may have taken its CPU */
		sys_nanosleep(STAND_BACK_US * 1000);
		pp->mon_cpu = gmp_thread_cpu(mp->tid);
	}
	if (pp->mon_cpu > cpu || (!over && was != 0 && cpu - was >= LOOK_NS / 2)) {
		pp->mon_slept = false;
		return over && ask(pp, mp, now);
	}
	/* It sleeps or waits for a CPU. The question costs something: less and less often. */
	*ret_next = pp->mon_probed + (LOOK_NS << pp->mon_probes);
	if (was == 0 || (!still && !over))
		*ret_next = now + LOOK_NS; /* if it does nothing until then */
	if (now < *ret_next)
		return false;
	pp->mon_probed = now;
	if (pp->mon_probes < MAX_PROBES)
		pp->mon_probes++;
	*ret_next = now + (LOOK_NS << pp->mon_probes);
	switch (gmp_thread_state(mp->tid)) {
	case 'S':
	case 'D':
		/* One that did something in between may just wait for a lock: it must be found asleep twice. */
		if (!still && !pp->mon_slept) {
			pp->mon_slept = true;
			return false;
		}
		return gmp_retake_unseen(pp);
	case 'R':
		pp->mon_slept = false;
		return over && ask(pp, mp, now);
	case 0:
		if (!still)
			return over && ask(pp, mp, now);
		return now - pp->mon_still >= STILL_NS && gmp_retake_unseen(pp);
	default:
		return false; /* stopped, traced */
	}
}

/* Take Ps back; how many. *ret_next: when to look again at one that others wait for. */
static int retake(int64_t now, int64_t *ret_next)
{
	int64_t next;
	int n = 0;

	*ret_next = INT64_MAX;

	for (int i = 0; i < sched.nallp; i++) {
		struct p *pp = sched.allp[i];
		struct m *mp;
		uint32_t st = atomic_load_explicit(&pp->status, memory_order_acquire), t;
		bool over;

		if (st != P_RUNNING && st != P_SYSCALL)
			continue;
		over = now - pp->mon_schedwhen >= sched.slice_ns;
		t = atomic_load_explicit(&pp->schedtick, memory_order_relaxed); /* compared only */
		if (pp->mon_schedtick != t) {
			pp->mon_schedtick = t;
			pp->mon_schedwhen = now;
			pp->mon_cpu = 0;
			pp->mon_refused = pp->mon_probes = 0;
			pp->mon_slept = false;
			if (st == P_RUNNING && now + FIRST_LOOK_NS < *ret_next && work_waits(pp, now))
				*ret_next = now + FIRST_LOOK_NS;
		} else if (over) {
			/* a request, no order; a G in a system call sees to it at the exit */
			atomic_store_explicit(&pp->preempt, 1, memory_order_relaxed);
		}
		if (pp->mon_schedwhen != now && st == P_RUNNING) { /* the same G since an earlier round */
			if (!work_waits(pp, now))
				continue;
			next = pp->mon_schedwhen + FIRST_LOOK_NS;
			if (over || now >= next)
				n += look(pp, now, over, &next);
			if (!over && next > pp->mon_schedwhen + sched.slice_ns)
				next = pp->mon_schedwhen + sched.slice_ns;
			if (next < *ret_next)
				*ret_next = next;
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
		mp = pp->m; /* a stale one is not cut for nothing: it is not in such a call */
		st = P_SYSCALL;
		/* pairs with the CAS in gmp_exitsyscall: one of the two gets it */
		if (atomic_compare_exchange_strong(&pp->status, &st, P_IDLE)) {
			n++;
			atomic_fetch_add_explicit(&pp->syscalltick, 1, memory_order_relaxed);
			gmp_handoffp(pp);
			gmp_cut(mp);
		}
	}
	return n;
}

/* How long to sleep: not past the time to look at a P that others wait for. */
static int64_t pause_ns(int64_t ns, int64_t look_at)
{
	int64_t left;

	if (look_at == INT64_MAX)
		return ns;
	left = look_at - gmp_nanotime();
	if (left < FIRST_DELAY_US * 1000)
		left = FIRST_DELAY_US * 1000;
	return ns < left ? ns : left;
}

/*
 * All idle, and no M waits in the network for those who wait there: the one that should could not be started. A P that
 * has just come back from there may look the same for a moment, which costs a start for nothing.
 */
static bool network_unwatched(void)
{
	return atomic_load(&sched.npidle) == sched.gomaxprocs && atomic_load(&sched.lastpoll) != 0 &&
	       gmp_netpoll_inited() && gmp_netpoll_any_waiters();
}

void *gmp_sysmon(void *arg)
{
	int64_t delay = 0, signals_taken = 0, scavenged = 0, audited = 0, look_at = INT64_MAX;
	int idle = 0;
	bool auditing = false, caught;
	gmp_sigset mask = SIG_ALL_BUT_NOTIFY;

	(void)arg;
	gmp_cred_sysmon();
	gmp_trace_ctl.sysmon = sys_gettid();
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
		sys_nanosleep(pause_ns(delay * 1000, look_at));
		now = gmp_nanotime();

		/* All idle, and for long enough that the delay is at its longest: sleep until somebody gets a P. */
		if (delay == MAX_DELAY_US && !auditing && sched.trace_ns == 0 && !gmp_tracing() &&
		    atomic_load(&sched.npidle) == sched.gomaxprocs) {
			next = gmp_timers_next(0);
			gmp_noteclear(&sched.sysmonnote);
			atomic_store(&sched.sysmonwait, 1); /* StoreLoad; pairs with wake_sysmon in sched.c */
			if (atomic_load(&sched.npidle) == sched.gomaxprocs && !network_unwatched() &&
			    atomic_load_explicit(&sched.runqsize, memory_order_relaxed) == 0 && !gmp_dump_wanted() &&
			    !gmp_trace_asked()) {
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
		if (unlikely(gmp_tracing()) || gmp_trace_asked())
			gmp_trace_sysmon(now);
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
		if (atomic_load(&sched.npidle) > 0 &&
		    ((next != 0 && next + LATE_NS < now) || gmp_work_waits() || network_unwatched()))
			gmp_wakep();
		caught = retake(now, &look_at) != 0;
		if (gmp_notify_lost(now) || caught)
			idle = 0;
		else
			idle++;
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
