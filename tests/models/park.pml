/* SPDX-License-Identifier: MIT */
/*
 * core/park.c: gmp_park_prepare, gmp_park_commit, gmp_wake, gmp_interrupt, and the switch of core/sched.c
 * (ctx.running). One G waits twice, with a new ticket each time. The object wakes the ticket that it finds in its
 * queue, the timer and an old waker use tickets that may be stale, a sender stores its request and interrupts.
 *
 * Properties: a wait ends exactly once, with the result of the one that won; a wake-up of the object that was not
 * consumed is not lost (gives == READY results); the G is never made runnable twice nor resumed before its registers
 * are saved; nobody sleeps for ever (no invalid end state), also when the signal is all that comes.
 *
 * BEGIN: gmp_park_begin and gmp_park_end instead of prepare and commit, without a timer.
 *
 * RUN
 * RUN -DSIGNAL_ONLY
 * RUN -DBEGIN
 * RUN -DBEGIN -DSIGNAL_ONLY
 * BUG -DBEGIN -DSIGNAL_ONLY -DREQUEST_BEFORE_PREPARE
 * BUG -DSIGNAL_ONLY -DREQUEST_BEFORE_PREPARE    looks for requests, then prepares
 * BUG -DNO_TICKETS                           a late timer ends the next wait, or wakes twice
 * BUG -DNO_RUNNING                           resumed while still on its stack
 */
#define IDLE 0
#define PREPARED 1
#define PARKED 2
#define WOKEN 3 /* + READY, TIMEOUT, INTR */
#define READY 0
#define TIMEOUT 1
#define INTR 2
#define WAITS 2

byte state = IDLE, ticket;    /* the parker's word: changed together, by CAS */
byte obj_ticket, timer_ticket; /* published; 0: not in the queue, not in the heap */
bool request;		      /* g->sigpending */
byte runnable;		      /* on a run queue, so many times */
bool running = true;	      /* ctx.running: on its stack */
byte gives, readies;
bool over;

#ifdef NO_TICKETS
#define SAME(t) true
#else
#define SAME(t) (ticket == t)
#endif

/* gmp_wake_claim and gmp_ready: won is set when the CAS succeeded */
inline wake(t, why, won)
{
	atomic {
		if
		:: SAME(t) && (state == PREPARED || state == PARKED) ->
			assert(t == ticket); /* a waker of an older wait does nothing */
			won = true;
			was = state;
			state = WOKEN + why
		:: else -> won = false; was = IDLE
		fi
	}
	if
	:: was == PARKED ->
		atomic { runnable++; assert(runnable == 1) }
	:: else
	fi;
	was = IDLE
}

active proctype owner()
{
	byte n, result;
	bool asked;

	do
	:: n < WAITS ->
		n++;
#ifdef REQUEST_BEFORE_PREPARE
		asked = request;
#endif
#ifdef BEGIN
		atomic { ticket++; state = PARKED } /* a store, as below; the queue's lock is held */
#ifndef SIGNAL_ONLY
		obj_ticket = ticket; /* seen when the lock is given up */
#endif
#else
		atomic { ticket++; state = PREPARED } /* the owner's alone: IDLE before */
#ifndef SIGNAL_ONLY
		obj_ticket = ticket; /* under the queue's lock */
		timer_ticket = ticket;
#endif
		atomic {
			if
			:: state == PREPARED -> state = PARKED
			:: else -> goto woken
			fi
		}
#endif
#ifndef REQUEST_BEFORE_PREPARE
		asked = request;
#endif
		if
		:: asked ->
			atomic {
				if
				:: state == PARKED -> state = WOKEN + INTR; goto woken
				:: else
				fi
			}
		:: else
		fi;
		running = false; /* gmp_block_switch: registers saved, on another stack; then an M takes it off */
		atomic { runnable > 0 && running; runnable-- }
woken:
		timer_ticket = 0; /* gmp_timer_del */
		obj_ticket = 0;	  /* gmp_sema_wait: off the queue */
		assert(state >= WOKEN);
		result = state - WOKEN;
		state = IDLE;
		if
		:: result == READY -> readies++
		:: result == INTR -> request = false
		:: else
		fi
	:: else -> break
	od;
	over = true
}

/* execute(): whoever takes a G off a run queue waits until its registers are saved. */
active proctype scheduler()
{
end:	do
#ifdef NO_RUNNING
	:: atomic { runnable > 0 -> assert(!running); running = true }
#else
	:: atomic { runnable > 0 && !running -> running = true }
#endif
	od
}

#ifndef SIGNAL_ONLY
active proctype object()
{
	byte t, was;
	bool won;

end:	do
	:: atomic { obj_ticket != 0 -> t = obj_ticket; obj_ticket = 0 }
		wake(t, READY, won);
		if
		:: won -> gives++
		:: else
		fi;
		won = false
	od
}

active proctype timer()
{
	byte t, was;
	bool won;

end:	do
	:: atomic { timer_ticket != 0 -> t = timer_ticket; timer_ticket = 0 }
		wake(t, TIMEOUT, won)
	od
}
#endif

active proctype sender()
{
	byte t, n, was;
	bool won, waits;

	do
	:: n < WAITS ->
		n++;
#ifdef SIGNAL_ONLY
		(!request); /* one signal for each wait */
#endif
		request = true;
		atomic { t = ticket; waits = (state == PREPARED || state == PARKED) }
		if
		:: waits -> wake(t, INTR, won)
		:: else
		fi
	:: else -> break
	od
}

/* When everybody is done: what the object gave was taken. */
active proctype judge()
{
end:	atomic { over && timeout -> assert(gives == readies && runnable == 0) }
}
