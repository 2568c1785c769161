/* SPDX-License-Identifier: MIT */
/*
 * Who wakes for a timer: findrunnable's last part of core/sched.c (sched.lastpoll, sched.poll_until),
 * gmp_handoffp, gmp_timer_add of core/timer.c, gmp_netpoll_break and its eventfd of core/netpoll.c. Two Ps with a
 * heap each, three Ms. Before it looks for work each M adds a deadline to the heap of its P, once, or none; sysmon
 * takes the P of M 1 while that is in a system call, and hands it off. Work does not come into it: a P without a
 * due timer goes idle, and an M without a P stops until it is started.
 *
 * Property: when nothing moves any more but time, some M is in netpoll until the earliest deadline of all or less, or
 * there is none.
 *
 * RUN
 * BUG -DNO_BREAK         the M that finds another one polling does not wake it for an earlier deadline
 * BUG -DHANDOFF_SILENT   a P is handed off with its timers and nobody is told
 * BUG -DFORGETS_BREAK    the eventfd is written only while somebody polls
 */
#define NONE 9

byte timer0[2];			/* of each P's heap; 0 none */
bool idle[2];
byte npidle;
bool lock;
bool lastpoll = true;		/* nobody is in netpoll; false: sched.lastpoll is 0 */
byte poll_until;		/* 0: never, or not said yet */
bool polling;			/* in epoll_wait ... */
byte delay;			/* ... until then */
bool broken;			/* the eventfd can be read */
byte nextp[3] = NONE;
bool stopped[3];		/* M 2 is one that is made when it is needed */
bool in_call;			/* M 1, with P 1 */

inline acquire() { atomic { !lock -> lock = true } }
inline release() { lock = false }

inline pidleput(pp) { d_step { idle[pp] = true; npidle++ } }
inline pidleget(pp)
{
	d_step {
		if
		:: idle[0] -> pp = 0; idle[0] = false; npidle--
		:: !idle[0] && idle[1] -> pp = 1; idle[1] = false; npidle--
		:: else -> pp = NONE
		fi
	}
}

inline timers_next(t)
{
	t = timer0[0];
	if
	:: timer0[1] != 0 && (t == 0 || timer0[1] < t) -> t = timer0[1]
	:: else
	fi
}

inline netpoll_break()
{
#ifdef FORGETS_BREAK
	if
	:: polling -> broken = true
	:: else
	fi
#else
	broken = true
#endif
}

/* wake a stopped M, with P sp, or an idle one */
inline startm(sp)
{
	acquire();
	if
	:: sp == NONE -> pidleget(sp)
	:: else
	fi;
	if
	:: sp != NONE && stopped[0] -> d_step { stopped[0] = false; nextp[0] = sp }
	:: sp != NONE && !stopped[0] && stopped[1] -> d_step { stopped[1] = false; nextp[1] = sp }
	:: sp != NONE && !stopped[0] && !stopped[1] && stopped[2] -> d_step { stopped[2] = false; nextp[2] = sp }
	:: sp != NONE && !stopped[0] && !stopped[1] && !stopped[2] -> pidleput(sp)
	:: else
	fi;
	release();
	sp = NONE
}

proctype M(byte me)
{
	byte pp, until, t;
	bool added;

	pp = me;
	if
	:: me == 1 ->
		if /* a timer of a G that waits on P 1, whose M then calls the kernel */
		:: timer0[1] = 1
		:: timer0[1] = 3
		:: true
		fi;
		in_call = true;
		if
		:: atomic { in_call -> in_call = false }
		:: else -> goto stop
		fi
	:: me == 2 -> goto end
	:: else
	fi;
top:	if /* the P's G parks with a deadline */
	:: !added && timer0[pp] == 0 -> added = true; timer0[pp] = 2
	:: true
	fi;
	acquire();
	pidleput(pp);
	pp = NONE;
	release();
	timers_next(until);
	if
	:: until != 0 ->
		if
		:: atomic { lastpoll -> lastpoll = false }
			poll_until = until;
			timers_next(t);
			delay = t;
			polling = true;
end_poll:		atomic { broken -> broken = false; polling = false }
			poll_until = 0;
			lastpoll = true;
			acquire();
			pidleget(pp);
			release();
			if
			:: pp != NONE -> goto top
			:: else
			fi
		:: else ->
#ifndef NO_BREAK
			t = poll_until;
			if
			:: t == 0 || t > until -> netpoll_break()
			:: else
			fi
#endif
		fi
	:: else
	fi;
stop:	acquire();
	stopped[me] = true;
	release();
end:	nextp[me] != NONE;
	d_step { pp = nextp[me]; nextp[me] = NONE };
	goto top
}

active proctype sysmon()
{
	byte sp = NONE, when;

	do
	:: atomic { in_call -> in_call = false } /* retake */
		acquire(); /* gmp_handoffp */
		if
		:: npidle == 1 && lastpoll -> release(); sp = 1; startm(sp)
		:: else ->
			when = timer0[1];
			pidleput(1);
			release();
#ifndef HANDOFF_SILENT
			if
			:: when != 0 && !lastpoll ->
				if
				:: poll_until == 0 || poll_until > when -> netpoll_break()
				:: else
				fi
			:: when != 0 && lastpoll -> startm(sp) /* wakep */
			:: else
			fi
#endif
		fi;
		break
	:: true -> break
	od
}

init
{
	byte first;

	atomic { nextp[0] = NONE; nextp[1] = NONE; nextp[2] = NONE; stopped[2] = true; run M(0); run M(1); run M(2) }
	atomic {
		timeout -> timers_next(first);
		assert(first == 0 || (polling && delay != 0 && delay <= first))
	}
}
