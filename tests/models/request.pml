/* SPDX-License-Identifier: MIT */
/*
 * Requests that reach a G by SIG_NOTIFY: gmp_notify, on_notify and gmp_quiet_begin of core/preempt.c, gmp_leave and
 * gmp_leave_slow of core/sched.c, gmp_park_commit and gmp_interrupt of core/park.c, hook_pthread_cancel of
 * preload/cancel.c for a thread that admits cancellation at any time. The G enters the shim, yields there or parks, is
 * resumed on this M or on the other one, leaves, and computes for ever; with QUIET it is about to exec instead.
 *
 * Properties: a cancellation is acted upon, whatever the G does at that moment; the end of a slice is, too (asked for
 * until the G yields); the G does not sleep with a cancellation pending. With QUIET: when gmp_quiet_begin has returned
 * no signal is pending for the M, and none is sent.
 *
 * RUN
 * RUN -DQUIET
 * BUG -DCLEAR_LATE         the handler looks, and then says that the signal has arrived
 * BUG -DNO_CLEAR           the handler never says so inside the shim
 * BUG -DNOT_MARKED         the canceller leaves no mark: the G changes its M meanwhile
 * BUG -DLEAVE_QUIETLY      the shim's exit yields and does not look again
 * BUG -DNO_LOOK            parks without a look for requests
 * BUG -DQUIET -DQUIET_FIRST   the sender looks whether all must be quiet, then says that it sends
 */
#define RUNNING 0
#define QUEUED 1
#define PARKED 2

byte st = RUNNING, m;	/* of the G; its M */
byte notified[2];
bool sig[2];		/* SIG_NOTIFY is pending there */
byte inshim;
bool deferred, preempt, cancel, cancel_wake;
bool prepared;		/* the parker */
bool handling;		/* a handler runs on the G, which stands still */
byte quiet;
bool execing;

/* what on_notify and gmp_run_deferred do with a cancellation */
inline look() { cancel = false }

inline notify(k)
{
#ifdef QUIET_FIRST
	silent = (quiet > 0);
#endif
	atomic { was = notified[k]; notified[k] = 1 }
	if
	:: was -> skip
	:: else ->
#ifndef QUIET_FIRST
		silent = (quiet > 0);
#endif
		if
		:: silent -> notified[k] = 0
		:: else -> atomic { assert(!(execing && k == m)); sig[k] = true }
		fi
	fi;
	was = 0
}

/* gmp_gosched: queued, then resumed on one of the Ms; the slice is a new one */
inline gosched()
{
	d_step { preempt = false; st = QUEUED };
	if
	:: atomic { st == QUEUED -> m = 0; st = RUNNING }
	:: atomic { st == QUEUED -> m = 1; st = RUNNING }
	fi
}

active proctype gee() provided (!handling)
{
	byte n;

	do
	:: n < 2 ->
		n++;
		inshim = 1;
		if
		:: gosched()
		:: true -> /* gmp_park_prepare, gmp_park_commit */
			prepared = true;
			if
			:: atomic { prepared -> prepared = false; st = PARKED } /* the CAS */
#ifndef NO_LOOK
				if
				:: cancel_wake || deferred -> d_step {
						if
						:: st == PARKED -> st = RUNNING
						:: else
						fi
					}
				:: else
				fi
#endif
			:: else
			fi;
			if
			:: st != RUNNING ->
				/* the object it waits for must not be needed when a cancellation is on its way */
				if
				:: atomic { st == PARKED && !cancel -> m = 0; st = RUNNING }
				:: atomic { st == QUEUED -> m = 1; st = RUNNING }
				:: atomic { st == QUEUED -> m = 0; st = RUNNING }
				fi
			:: else
			fi;
			cancel_wake = false
		:: true
		fi;
		inshim = 0; /* gmp_leave */
		do
		:: deferred -> /* gmp_leave_slow */
			deferred = false;
			look();
			inshim = 1;
			if
			:: preempt -> gosched()
			:: else
			fi;
			inshim = 0;
#ifdef LEAVE_QUIETLY
			break
#endif
		:: else -> break
		od
	:: else -> break
	od;
#ifdef QUIET
	quiet++; /* gmp_quiet_begin */
	notified[m] == 0;
	execing = true;
	assert(!sig[m])
#endif
}

/* The kernel delivers SIG_NOTIFY; the handler. */
active proctype handler()
{
	bool look_at_slice;

end:	do
	/* on a g0 or another G: over before the M goes on */
	:: atomic { sig[0] && !(st == RUNNING && m == 0) -> sig[0] = false; notified[0] = 0 }
	:: atomic { sig[1] && !(st == RUNNING && m == 1) -> sig[1] = false; notified[1] = 0 }
	:: atomic { st == RUNNING && sig[m] -> sig[m] = false; handling = true }
#ifndef CLEAR_LATE
#ifdef NO_CLEAR
		if
		:: inshim > 0
		:: else -> notified[m] = 0
		fi;
#else
		notified[m] = 0;
#endif
#endif
		if
		:: inshim > 0 -> deferred = true
		:: else ->
			look();
			inshim = 1;
			if
			:: preempt -> gosched()
			:: else
			fi;
			inshim = 0;
			if
			:: deferred -> deferred = false
			:: else
			fi;
			look()
		fi;
#ifdef CLEAR_LATE
		notified[m] = 0;
#endif
		handling = false
	od
}

active proctype canceller()
{
	bool was, silent, woken;
	byte k;

	atomic { cancel = true; cancel_wake = true }
#ifndef NOT_MARKED
	deferred = true;
#endif
	atomic { /* gmp_interrupt */
		woken = (prepared || st == PARKED);
		if
		:: prepared -> prepared = false
		:: !prepared && st == PARKED -> st = QUEUED
		:: else
		fi
	}
	if
	:: woken
	:: else ->
		if
		:: st == RUNNING -> k = m; notify(k)
		:: else
		fi
	fi
}

active proctype sysmon()
{
	bool was, silent, once;
	byte k;

end:	do
	:: !once -> once = true; preempt = true
	:: atomic { preempt && st == RUNNING && !notified[m] && quiet == 0 -> k = m } notify(k)
	od
}

init
{
	atomic { timeout -> assert((execing || !cancel) && st == RUNNING); assert(quiet > 0 || !preempt) }
}
