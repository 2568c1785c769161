/* SPDX-License-Identifier: MIT */
/*
 * core/sched.c: gmp_entersyscall, gmp_exitsyscall, exitsyscall_slow, gmp_handoffp, findrunnable's last look and stopm,
 * against retake of core/sysmon.c. One P; two Ms, each beginning with a G of its own that makes two system calls; the
 * second one comes back from a call without a P.
 *
 * Properties: the P has never two owners; every G gets to its end: none stays on the global queue while the P is idle
 * or lost.
 *
 * RUN
 * BUG -DRETAKE_NO_CAS     sysmon stores IDLE instead of comparing the status first
 * BUG -DEXIT_NO_CAS       the M that returns does the same with RUNNING
 * BUG -DQUEUE_LATE        a G without a P is queued after the look for an idle P, not under the same lock
 * BUG -DIDLE_UNSEEN       sysmon idles the P without a look at the global queue under the lock
 * BUG -DKEEP_OLDP         after the retake the M still takes the P for its own
 */
#define RUNNING 0
#define SYSCALL 1
#define IDLE 2
#define GS 2
#define CALLS 2

byte status = RUNNING;
bool pidle;		/* the P is on sched.pidle */
byte owners;		/* Ms and sysmon that act as its owner */
bool lock;
byte globq[GS], nglob;	/* Gs are 1 and 2 */
byte handed;		/* the P is on its way to a stopped M (m->nextp) */
byte calls[GS + 1], finished;

inline acquire() { atomic { !lock -> lock = true } }
inline release() { lock = false }
inline own() { atomic { owners++; assert(owners == 1) } }
inline disown() { owners-- }

/* sched.lock held */
inline globrunqput(g) { d_step { globq[nglob] = g; nglob++ } }
inline globrunqget(g)
{
	d_step {
		if
		:: nglob > 0 -> g = globq[0]; globq[0] = globq[1]; globq[1] = 0; nglob--
		:: else -> g = 0
		fi
	}
}

/* the owner gives the P to a stopped M; as many as needed can be made */
inline startm() { disown(); handed++ }

proctype M(byte me; bool has_p)
{
	byte g;

	g = me;
	if
	:: has_p -> own()
	:: else -> calls[me] = 1; goto slow
	fi;
	do
	:: true ->
		do
		:: calls[g] < CALLS ->
			calls[g]++;
			disown();
			status = SYSCALL; /* gmp_entersyscall */
			/* the call */
#ifdef EXIT_NO_CAS
			if
			:: status == SYSCALL -> status = RUNNING; own()
			:: else -> goto slow
			fi
#else
			if
#ifdef KEEP_OLDP
			:: atomic { status != IDLE -> status = RUNNING } own()
#else
			:: atomic { status == SYSCALL -> status = RUNNING; owners++; assert(owners == 1) }
#endif
			:: else -> goto slow
			fi
#endif
		:: else -> break
		od;
		atomic { finished++; g = 0 }
		goto find;
slow:		acquire(); /* exitsyscall_slow */
		if
		:: pidle ->
			pidle = false;
			release();
			status = RUNNING;
			own();
			goto next
		:: else
		fi;
#ifdef QUEUE_LATE
		release();
		acquire();
#endif
		globrunqput(g);
		release();
		g = 0;
		goto stop;
find:		acquire(); /* findrunnable */
		globrunqget(g);
		if
		:: g != 0 -> release()
		:: else -> disown(); status = IDLE; pidle = true; release(); goto stop
		fi;
		goto next;
stop:		/* stopm */
end:		atomic { handed > 0 -> handed--; status = RUNNING; owners++; assert(owners == 1) }
		goto find;
next:		skip
	od
}

active proctype sysmon()
{
	byte g;

end:	do
	:: status == SYSCALL ->
#ifdef RETAKE_NO_CAS
		status = IDLE;
		own();
#else
		if
		:: atomic { status == SYSCALL -> status = IDLE; owners++; assert(owners == 1) }
		:: else -> goto end
		fi;
#endif
		if /* gmp_handoffp */
		:: nglob > 0 -> startm()
		:: else ->
			acquire();
			if
#ifndef IDLE_UNSEEN
			:: nglob > 0 -> release(); startm()
#endif
			:: else -> disown(); pidle = true; release()
			fi
		fi
	od
}

init
{
	atomic { run M(1, true); run M(2, false) }
	atomic { timeout -> assert(finished == GS && nglob == 0) }
}
