/* SPDX-License-Identifier: MIT */
/*
 * core/sched.c: gmp_wakep, gmp_startm, gmp_handoffp, resetspinning and findrunnable's way from "spinning" to "stopped";
 * exitsyscall_slow, which takes an idle P without spinning; gmp_sysmon, which starts an M when none could be started.
 *
 * P 0: its G puts work on the P's queue and then computes for ever. P 1 is idle; M 1 comes back from a system call
 * without a P, M 2 has no kernel thread yet. A thread without a P puts a G on the global queue. With HANDOFF there is
 * no such thread; M 1 comes back while sysmon takes its P and hands it off, and there is a third P.
 *
 * Property: when nothing moves any more, all Gs have been run or all Ps are busy with one that computes for ever: no
 * work lies about while a P is idle.
 *
 * RUN
 * RUN -DHANDOFF
 * BUG -DNO_RECHECK        an M that gave its P back does not look again
 * BUG -DONLY_SPINNERS     only one that was spinning looks again
 * BUG -DRECHECK_FIRST     it looks first and then says that it does not spin
 * BUG -DHANDOFF -DNO_RESET_WAKE   a spinner that found work wakes no other
 * BUG -DWAKE_FIRST        the submitter looks for spinners, then puts the work on the queue
 * BUG -DLATE_DROP         a wake-up that finds no idle P counts as a spinner for longer than it holds the lock
 * BUG -DHANDOFF -DNO_HANDOFF_LOOK   a P that is handed off goes idle without a look at the others' queues
 * BUG -DNO_SYSMON         nobody tries again when no kernel thread could be had
 */
#ifdef HANDOFF
#define PS 3
#else
#define PS 2
#endif
#define MS 3
#define NONE 9

byte runq[PS], globq;		/* Gs on the queues */
bool idle[PS];			/* sched.pidle */
byte npidle, nmspinning;
bool in_call;			/* P 1 is in a system call */
bool stopped[MS];		/* sched.midle */
byte nextp[MS] = NONE;
bool nextspin[MS];
bool born[MS];			/* has a kernel thread */
bool refused;			/* clone() has failed once */
bool lock;			/* sched.lock */
byte submitted, ran;

#define ANY_WORK (globq + runq[0] + runq[1] + runq[PS - 1] > 0)

inline acquire() { atomic { !lock -> lock = true } }
inline release() { lock = false }

/* sched.lock held */
inline pidleput(pp) { d_step { idle[pp] = true; npidle++ } }
inline pidleget(pp)
{
	d_step {
		pp = 0;
		do
		:: pp < PS && !idle[pp] -> pp++
		:: pp < PS && idle[pp] -> idle[pp] = false; npidle--; break
		:: else -> pp = NONE; break
		od
	}
}

/* gmp_startm; sp NONE: an idle P. spins: nmspinning has been counted up. */
inline startm(sp, spins)
{
	acquire();
	if
	:: sp == NONE -> pidleget(sp)
	:: else
	fi;
	if
	:: sp == NONE ->
#ifdef LATE_DROP
		release();
		nmspinning--
#else
		nmspinning--;
		release()
#endif
	:: else ->
		d_step {
			sm = 0;
			do
			:: sm < MS && stopped[sm] -> stopped[sm] = false; break
			:: sm < MS && !stopped[sm] -> sm++
			:: else -> break
			od;
			if
			:: sm == MS && !born[MS - 1] -> sm = MS - 1; born[sm] = true
			:: else
			fi
		}
		release();
		if
		:: sm < MS -> d_step { nextspin[sm] = spins; nextp[sm] = sp }
		:: else -> /* newm failed: the P's work goes to the global queue */
			refused = true;
			if
			:: spins -> nmspinning--
			:: else
			fi;
			acquire();
			d_step { globq = globq + runq[sp]; runq[sp] = 0 };
			pidleput(sp);
			release()
		fi
	fi;
	sp = NONE;
	sm = 0
}

inline wakep()
{
	if
	:: npidle == 0
	:: else ->
		if
		:: atomic { nmspinning == 0 -> nmspinning++ } startm(sp, true)
		:: else
		fi
	fi
}

/* the G of P 0 */
proctype submitter()
{
	byte sp = NONE, sm, n;

	do
	:: n < 2 ->
		n++;
#ifdef WAKE_FIRST
		wakep();
		atomic { runq[0]++; submitted++ }
#else
		atomic { runq[0]++; submitted++ }
		wakep()
#endif
	:: else -> break
	od
}

#ifndef HANDOFF
proctype foreigner()
{
	byte sp = NONE, sm;

	acquire();
	atomic { globq++; submitted++ }
	release();
	wakep()
}
#endif

proctype sysmon()
{
	byte sp = NONE, sm;

end:	do
	:: atomic { in_call -> in_call = false } /* retake; gmp_handoffp(P 1), which has no work of its own */
		sp = 1;
		if
		:: globq != 0 -> startm(sp, false)
		:: else ->
			if
			:: atomic { nmspinning + npidle == 0 -> nmspinning++ } startm(sp, true)
			:: else ->
				acquire();
				if
				:: globq != 0 -> release(); startm(sp, false)
				:: else ->
					pidleput(sp);
					release();
					sp = NONE;
#ifndef NO_HANDOFF_LOOK
					if
					:: ANY_WORK -> wakep()
					:: else
					fi
#endif
				fi
			fi
		fi
#ifndef NO_SYSMON
	/* It does so without a refusal, too, and would heal here, late, what the others do wrong. */
	:: refused && npidle > 0 && nmspinning == 0 && ANY_WORK -> wakep()
#endif
	od
}

proctype M(byte me; bool in_syscall)
{
	byte pp = NONE, sp = NONE, sm;
	bool spinning, was, work;

	if
	:: in_syscall ->
		if
		:: atomic { in_call -> in_call = false } pp = 1; goto runs
		:: else
		fi;
		acquire(); /* its P was taken */
		pidleget(pp);
		if
		:: pp != NONE -> release(); goto runs
		:: else -> globq++; submitted++; release()
		fi
	:: else -> goto end
	fi;
stop:	acquire(); /* stopm */
	stopped[me] = true;
	release();
end:	nextp[me] != NONE;
	d_step { pp = nextp[me]; spinning = nextspin[me]; nextp[me] = NONE; nextspin[me] = false };
top:	/* findrunnable */
	if
	:: atomic { runq[pp] > 0 -> runq[pp]-- } goto found
	:: else
	fi;
	if
	:: spinning || 2 * nmspinning < PS - npidle ->
		if
		:: !spinning -> spinning = true; nmspinning++
		:: else
		fi;
		if
		:: atomic { runq[0] > 0 -> runq[0]-- } goto found /* steal_work */
		:: else
		fi
	:: else
	fi;
	acquire();
	if
	:: globq > 0 -> globq--; release(); goto found
	:: else
	fi;
	pidleput(pp);
	pp = NONE;
	release();
	was = spinning;
	work = false;
#ifdef RECHECK_FIRST
	work = ANY_WORK;
#endif
	if
	:: was -> spinning = false; nmspinning--
	:: else
	fi;
#ifdef ONLY_SPINNERS
	if
	:: was -> work = ANY_WORK
	:: else
	fi;
#else
#ifndef RECHECK_FIRST
#ifndef NO_RECHECK
	work = ANY_WORK;
#endif
#endif
#endif
	was = false;
	if
	:: work ->
		work = false;
		acquire();
		pidleget(pp);
		release();
		if
		:: pp != NONE -> spinning = true; nmspinning++; goto top
		:: else
		fi
	:: else
	fi;
	goto stop;
found:	ran++;
	if
	:: spinning -> /* resetspinning */
		spinning = false;
		nmspinning--;
#ifndef NO_RESET_WAKE
		wakep()
#endif
	:: else
	fi;
runs:	if
	:: goto top
	:: goto end_of_story /* the G computes for ever */
	fi;
end_of_story:
	false
}

init
{
	atomic {
#ifdef HANDOFF
		in_call = true;
#endif
		pidleput(PS - 1);
		born[1] = true;
		nextp[0] = NONE; nextp[1] = NONE; nextp[2] = NONE;
		run submitter();
#ifndef HANDOFF
		run foreigner();
#endif
		run sysmon();
		run M(1, true);
		run M(2, false)
	}
	atomic { timeout -> assert((ran == submitted || npidle == 0) && nmspinning == 0) }
}
