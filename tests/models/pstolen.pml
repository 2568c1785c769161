/* SPDX-License-Identifier: MIT */
/*
 * core/preempt.c: gmp_retake_unseen (sysmon) against gmp_enter, gmp_enter_stolen and gmp_leave (the G). The G's store
 * to inshim stays in its CPU's store buffer for as long as the CPU likes, past its read of pstolen: gmp_enter has only
 * a compiler barrier. membarrier() empties the buffer.
 *
 * Properties: whenever the G acts as owner of the P, inside the shim, sysmon has not given the P to somebody else; a G
 * that lost its P takes another one before it acts; neither side waits for ever.
 *
 * RUN
 * BUG -DNO_MEMBARRIER
 * BUG -DNO_TRYING     sysmon looks first and says TAKEN at once
 * BUG -DNO_WAIT       the G goes on while sysmon is TRYING
 */
#define NO 0
#define TRYING 1
#define TAKEN 2
#define ROUNDS 3

byte pstolen;
byte inshim;		/* what others see */
bool buffered;		/* a store to inshim is in the buffer ... */
byte buffer;		/* ... this one */
byte mine = 1;		/* the P that the G takes for its own: 1, later another one */
bool handed_on;		/* P 1 belongs to another M */
byte tick;		/* p->schedtick */
bool over;

inline store(v)
{
	atomic { !buffered -> buffered = true; buffer = v }
}

active proctype cpu()
{
end:	do
	:: atomic { buffered -> inshim = buffer; buffered = false }
	od
}

active proctype gee()
{
	byte n;

	do
	:: n < ROUNDS ->
		n++;
		/* the program's own code; then gmp_enter */
		store(1);
		if
		:: pstolen != NO -> /* gmp_enter_stolen */
#ifndef NO_WAIT
			(pstolen != TRYING);
#endif
			if
			:: pstolen == TAKEN ->
				pstolen = NO;
				mine = 2 /* gmp_reacquire: another P */
			:: else
			fi
		:: else
		fi;
		/* it uses its P: puts a G on the queue, say */
		assert(mine != 1 || !handed_on);
		if
		:: mine == 1 -> tick++; assert(!handed_on)
		:: else
		fi;
		store(0) /* gmp_leave */
	:: else -> break
	od;
	over = true
}

active proctype sysmon()
{
	byte seen;
	bool ok;

	do
	:: over -> break
	:: handed_on -> break
	:: else ->
		seen = tick;
#ifndef NO_TRYING
		pstolen = TRYING; /* CAS from NO: only sysmon leaves NO */
#endif
#ifndef NO_MEMBARRIER
		atomic { /* every running CPU empties its buffer */
			if
			:: buffered -> inshim = buffer; buffered = false
			:: else
			fi
		}
#endif
		ok = (inshim == 0);
		ok = (ok && tick == seen);
		if
		:: ok ->
			handed_on = true;
			pstolen = TAKEN
		:: else ->
			pstolen = NO
		fi
	od
}
