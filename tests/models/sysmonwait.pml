/* SPDX-License-Identifier: MIT */
/*
 * core/sysmon.c: gmp_sysmon's sleep while all Ps idle, against gmp_wake_sysmon of core/sched.c, which pidleget calls,
 * and the note of core/lock.c. Two Ms take a P each, twice, and give it back.
 *
 * Property: sysmon does not sleep without a limit while a P is in use.
 *
 * RUN
 * BUG -DNO_RECHECK      sysmon says that it sleeps and does not look again
 * BUG -DSAY_LATE        it looks, and then says that it sleeps
 * BUG -DCLEAR_LATE      it clears the note when it has said so
 * BUG -DLOOK_FIRST      the M looks whether sysmon sleeps, then takes the P
 */
#define PS 2

byte npidle = PS;
bool sysmonwait;
byte key;
bool lock;

inline acquire() { atomic { !lock -> lock = true } }
inline release() { lock = false }

inline wake_sysmon()
{
	if
	:: sysmonwait ->
		atomic { was = sysmonwait; sysmonwait = false }
		if
		:: was -> key = 1 /* gmp_notewakeup */
		:: else
		fi;
		was = false
	:: else
	fi
}

active proctype sysmon()
{
	do
	:: npidle == PS -> /* at the end of a round */
#ifndef CLEAR_LATE
		key = 0;
#endif
#ifdef SAY_LATE
		if
		:: npidle == PS -> sysmonwait = true;
#else
		sysmonwait = true;
#ifdef CLEAR_LATE
		key = 0;
#endif
		if
#ifdef NO_RECHECK
		:: true ->
#else
		:: npidle == PS ->
#endif
#endif
end:			key != 0 /* gmp_notesleep */
		:: else
		fi;
		sysmonwait = false
	:: npidle < PS -> skip /* a round: nothing can be overlooked while it is awake */
	od
}

active [PS] proctype M()
{
	byte n;
	bool was;

	do
	:: n < 2 ->
		n++;
#ifdef LOOK_FIRST
		wake_sysmon();
#endif
		acquire(); /* pidleget */
		npidle--;
#ifndef LOOK_FIRST
		wake_sysmon();
#endif
		release();
		if
		:: n == 2 && _pid == 1 -> goto end_of_story /* its G computes for ever */
		:: else
		fi;
		acquire(); /* pidleput */
		npidle++;
		release()
	:: else -> break
	od;
end_of_story:
	false
}

init
{
	atomic { timeout -> assert(false) }
}
