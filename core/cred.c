// SPDX-License-Identifier: MIT
/*
 * set*uid, set*gid, setgroups are properties of one thread in the kernel, of the process in POSIX. The caller's own
 * call decides; then every M and sysmon repeat it, in the handler of SIG_NOTIFY, which no mask blocks. The handler
 * only makes the system call, so it may run anywhere: in the shim, on a g0, in a kernel wait.
 *
 * cred.seq counts changes. m->setxid_seq is the last one an M has made; a new M inherits its cloner's number with
 * its credentials and catches up in mstart_cloned, so none slips through between two looks at sched.allm.
 */
#include <errno.h>
#include <signal.h>

#include "core/gmp.h"

static struct {
	struct lock lock; /* one change at a time; its holder waits for others, who never take it in a handler */
	_Atomic(uint32_t) seq;
	long nr, a, b, c; /* written before seq */
	_Atomic(bool) torn; /* somebody could not follow; written before its own number, so the broadcaster sees it */
} cred;

static _Atomic(uint32_t) sysmon_seq;
static _Atomic(int) sysmon_tid;
/* A signal is on its way to sysmon. As for an M (gmp_notify): they would pile up, and nest until its stack is full. */
static _Atomic(bool) sysmon_notified;

static void catch_up(_Atomic(uint32_t) *mine)
{
	uint32_t s = atomic_load_explicit(&cred.seq, memory_order_acquire); /* with the store in broadcast */

	if (atomic_load_explicit(mine, memory_order_relaxed) == s) /* own thread's */
		return;
	if (sys3(cred.nr, cred.a, cred.b, cred.c) < 0)
		atomic_store_explicit(&cred.torn, true, memory_order_relaxed); /* the release below publishes it */
	atomic_store_explicit(mine, s, memory_order_release); /* with the load in broadcast */
}

/* In the handler of SIG_NOTIFY and at the start of an M. mp == NULL: a thread without an M. */
void gmp_cred_catch_up(struct m *mp)
{
	if (mp != NULL)
		catch_up(&mp->setxid_seq);
	else if (sys_gettid() ==
		 atomic_load_explicit(&sysmon_tid, memory_order_relaxed)) { /* set before the first change */
		atomic_store(&sysmon_notified, false); /* before the look at seq */
		catch_up(&sysmon_seq);
	}
}

void gmp_cred_sysmon(void)
{
	sysmon_tid = sys_gettid();
	sysmon_seq = cred.seq;
}

void gmp_cred_new_m(struct m *mp, struct m *cloner)
{
	atomic_store_explicit(&mp->setxid_seq, cloner != NULL ? cloner->setxid_seq : cred.seq, memory_order_relaxed);
}

/*
 * The system call nr(a, b, c) for every kernel thread of the scheduler. 0 or -errno, then nothing has changed;
 * -ENOTRECOVERABLE: one that had ids of its own could not follow, and the threads' ids differ now.
 */
int gmp_cred_broadcast(long nr, long a, long b, long c)
{
	struct g *gp = getg();
	uint32_t s;
	int rc, behind;

	gmp_enter();
	while (!gmp_trylock(&cred.lock))
		sys_yield();
	rc = (int)sys3(nr, a, b, c);
	if (rc >= 0) {
		cred.nr = nr;
		cred.a = a;
		cred.b = b;
		cred.c = c;
		s = cred.seq + 1;
		if (gp != NULL)
			gp->m->setxid_seq = s;
		atomic_store_explicit(&cred.seq, s, memory_order_release); /* with catch_up */
		do {
			behind = atomic_load_explicit(&sysmon_seq, memory_order_acquire) != s;
			if (behind && !atomic_exchange(&sysmon_notified, true) &&
			    sys3(__NR_tgkill, sys_getpid(), sysmon_tid, SIG_NOTIFY) < 0)
				atomic_store(&sysmon_notified, false); /* the queue is full: again soon */
			for (struct m *mp = sched.allm; mp != NULL; mp = mp->alllink)
				if (atomic_load_explicit(&mp->setxid_seq, memory_order_acquire) != s &&
				    !atomic_load(&mp->dead)) {
					behind++;
					if (mp->tid != 0)
						gmp_notify(mp);
				}
			if (behind)
				sys_nanosleep(50000);
		} while (behind);
		if (atomic_load_explicit(&cred.torn, memory_order_relaxed)) /* the acquires above */
			rc = -ENOTRECOVERABLE;
	}
	gmp_unlock(&cred.lock);
	gmp_leave();
	return rc;
}

void gmp_cred_fork_child(void)
{
	cred.lock = (struct lock){0};
	sysmon_notified = false;
}
