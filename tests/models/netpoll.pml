/* SPDX-License-Identifier: MIT */
/*
 * core/netpoll.c: gmp_netpoll_begin, gmp_netpoll_wait, gmp_netpoll_done, handle_event and wake_locked, for exclusive
 * readers of one descriptor. The kernel's side: each arrival of data makes the (edge-triggered) event pending, which
 * the poller reads at any later time, two arrivals perhaps as one event.
 *
 * Property: no reader waits while there is something to read (no invalid end state: as many items arrive as there are
 * readers, and one of them may give up by a deadline at any time).
 *
 * RUN
 * BUG -DNO_COUNT   waits without comparing the count of events
 * BUG -DNO_BATON   a reader that got something wakes nobody
 * BUG -DNO_NEXT    an event goes to a reader that has timed out meanwhile, and to no other
 */
#define READERS 3
#define ITEMS 3

byte data;	/* in the kernel's buffer */
bool event;	/* pending in the epoll set */
byte events;	/* pd->events */
bool lock;	/* pd->lock */
bool queued[READERS];
byte waitstate[READERS]; /* 0 none, 1 waits, 2 READY, 3 TIMEOUT: the parker */
byte queue_len;		 /* pd->nwaiters */

inline acquire() { atomic { !lock -> lock = true } }
inline release() { lock = false }

/* lock held: the first whose parker can still be won, reader 0 standing in front */
inline wake_one()
{
	d_step {
		w = 0;
		do
		:: w < READERS && queued[w] ->
			queued[w] = false;
			queue_len--;
			if
			:: waitstate[w] == 1 -> waitstate[w] = 2; w = READERS
#ifdef NO_NEXT
			:: else -> w = READERS
#else
			:: else -> w++ /* it timed out: the next one */
#endif
			fi
		:: w < READERS && !queued[w] -> w++
		:: else -> break
		od;
		w = 0
	}
}

active proctype kernel()
{
	byte n;

	do
	:: n < ITEMS -> atomic { n++; data++; event = true }
	:: else -> break
	od
}

active proctype poller()
{
	byte w;

end:	do
	:: atomic { event -> event = false }
		acquire();
		events++;
		wake_one();
		release()
	od
}

proctype reader(byte me; bool may_give_up)
{
	byte seen, w;
	bool ok;

	seen = events; /* gmp_netpoll_begin */
	do
	:: true ->
		atomic {
			ok = data > 0;
			if
			:: ok -> data--
			:: else
			fi
		}
		if
		:: ok -> break
		:: else
		fi;
		acquire();
		if
#ifndef NO_COUNT
		:: events != seen -> seen = events; release()
#endif
		:: else ->
			waitstate[me] = 1;
			queued[me] = true;
			queue_len++;
			release();
			if
			:: waitstate[me] == 2
			:: atomic { may_give_up && waitstate[me] == 1 -> waitstate[me] = 3 }
			fi;
			acquire(); /* lock_waiter */
			if
			:: queued[me] -> queued[me] = false; queue_len--
			:: else
			fi;
			seen = events;
			release();
			if
			:: waitstate[me] == 3 -> break
			:: else
			fi
		fi
	od;
	/* gmp_netpoll_done */
#ifndef NO_BATON
	if
	:: ok && queue_len > 0 ->
		acquire();
		wake_one();
		release()
	:: else
	fi;
#endif
	skip
}

init
{
	atomic {
		run reader(0, true);
		run reader(1, false);
		run reader(2, false)
	}
}
