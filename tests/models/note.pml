/* SPDX-License-Identifier: MIT */
/*
 * An M that stops: m_sleep, stopm and gmp_poke of core/sched.c with gmp_notewakeup and gmp_noteclear of core/lock.c and
 * gmp_startm, which takes it off the list of idle Ms. m->park.key is 0 (asleep), 1 (woken) or 2 (poked by a signal
 * handler on the M). The kernel compares the key when it puts the M to sleep; a handler ends the sleep.
 *
 * Properties: a wake-up is not lost and not doubled, the P comes with it; a signal that was taken while the M sleeps,
 * or is about to, is routed (no M sleeps with a full slot); the M is given at most one P at a time.
 *
 * RUN
 * BUG -DCLEAR_BEFORE      the M clears the note when it begins to sleep
 * BUG -DPOKE_STORES       the handler stores 2 instead of comparing with 0
 * BUG -DUNPOKE_STORES     the M stores 0 when it has seen 2
 * BUG -DNO_POKE           the handler does not poke
 * BUG -DNO_SLOT_LOOK      and the M does not look at its slot before it sleeps
 * BUG -DPOKE_ANYWAY       the handler pokes an M that does not wait
 * BUG -DP_AFTER           the waker wakes first, then hands the P over
 */
#define STOPS 2

byte key;
bool asleep;		/* in futex_wait */
bool idle;		/* on sched.midle */
byte nextp;		/* 0 none */
bool slot;		/* m->sigslot */
bool idlewait;
bool handling;		/* a signal handler runs on the M, which stands still */
byte routed, taken;
bool over, quit;
bool lock;

inline acquire() { atomic { !lock -> lock = true } }
inline release() { lock = false }

/* the kernel: sleep if key is 0 */
inline futex_wait()
{
	atomic {
		if
		:: key == 0 -> asleep = true
		:: else
		fi
	}
end:	!asleep
}

active proctype M() provided (!handling)
{
	byte n, k;

	do
	:: n < STOPS ->
		n++;
		acquire(); /* stopm */
		idle = true;
		release();
#ifdef CLEAR_BEFORE
		key = 0;
#endif
		do /* m_sleep */
		:: true ->
			k = key;
			if
			:: k == 1 -> break
			:: else
			fi;
			idlewait = true;
#ifdef NO_SLOT_LOOK
			if
			:: k == 0 -> futex_wait()
			:: else
			fi;
#else
			if
			:: k == 0 && !slot -> futex_wait()
			:: else
			fi;
#endif
			idlewait = false;
#ifdef UNPOKE_STORES
			k = key;
			if
			:: k == 2 -> key = 0
			:: else
			fi;
#else
			atomic {
				if
				:: key == 2 -> key = 0
				:: else
				fi
			}
#endif
			if
			:: slot -> slot = false; routed++
			:: else
			fi
		od;
#ifndef CLEAR_BEFORE
		key = 0;
#endif
		assert(nextp != 0);
		nextp = 0;
		/* it runs; findrunnable routes what came meanwhile */
		if
		:: slot -> slot = false; routed++
		:: else
		fi
	:: else -> break
	od;
	over = true
}

/* Signals on the M: the slot holds one, with all blocked until it is empty. */
active proctype signals()
{
	byte n;

end:	do
	:: atomic { n < 2 && !slot && !over -> n++; handling = true; asleep = false }
		slot = true;
		taken++;
		/* gmp_poke */
#ifdef POKE_ANYWAY
		if
		:: key == 0 || key == 1 -> key = 2
#else
		if
#ifndef NO_POKE
#ifdef POKE_STORES
		:: idlewait -> key = 2
#else
		:: idlewait ->
			atomic {
				if
				:: key == 0 -> key = 2
				:: else
				fi
			}
#endif
#endif
#endif
		:: else
		fi;
		handling = false
	od
}

/* gmp_startm: two Ps come up, perhaps while the M is still awake */
active proctype waker()
{
	byte n;
	bool mine;

	do
	:: n < STOPS -> /* or never */
		quit = true;
		break
	:: n < STOPS ->
		acquire();
		mine = idle;
		idle = false;
		release();
		if
		:: mine ->
			n++;
#ifndef P_AFTER
			assert(nextp == 0);
			nextp = n;
#endif
			key = 1; /* gmp_notewakeup */
			asleep = false;
#ifdef P_AFTER
			nextp = n
#endif
		:: else -> skip
		fi;
		mine = false
	:: else -> break
	od
}

init
{
	atomic { timeout -> assert((over || quit) && !(asleep && (slot || key != 0))) }
}
