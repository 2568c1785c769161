/* SPDX-License-Identifier: MIT */
/*
 * core/netpoll.c: gmp_netpoll_begin, gmp_netpoll_wait, lock_waiter, gmp_netpoll_done, handle_event and wake_locked, for
 * readers of one descriptor, of which one is a poll() (shared); with CLOSE also gmp_netpoll_close, which moves the
 * exclusive ones to an orphan (pollDesc 1) and takes the shared one off. The kernel's side: each arrival of data makes
 * the (edge-triggered) event pending in every epoll entry of the file, which the poller reads at any later time, two
 * arrivals perhaps as one event; a new entry reports at once what is ready. The shortcut after a short read is in
 * sticky.pml.
 *
 * Property: in the end no reader waits while there is something to read. Without CLOSE as many items arrive as there
 * are readers that take one. One of them may give up by a deadline at any time.
 *
 * RUN
 * RUN -DCLOSE
 * BUG -DNO_COUNT           waits without comparing the count of events
 * BUG -DNO_BATON           a reader that got something wakes nobody
 * BUG -DNO_NEXT            an event goes to a reader that has timed out meanwhile, and to no other
 * BUG -DSHARED_EATS        a shared waiter counts as the one that an event wakes
 * BUG -DCLOSE -DNO_SEQ     waits on a number that was closed since the try
 * BUG -DCLOSE -DOLD_LOCK   a reader takes itself off the pollDesc on which it began to wait
 * BUG -DCLOSE -DNO_REPORT  the orphan is not told what is ready already
 */
#define READERS 3
#define SHARED 0 /* this one looks, and takes nothing */
#ifdef CLOSE
#define ITEMS 1
#else
#define ITEMS 2
#endif

byte data;		/* in the kernel's buffer */
bool event[2];		/* pending in the epoll set */
byte events[2];		/* pd->events */
bool lock[2];		/* pd->lock */
bool orphan;		/* pollDesc 1 is registered */
bool closed;		/* pd->seq of pollDesc 0 has changed, its registration is gone */
bool queued[READERS];
byte where[READERS];	/* w->pd */
byte waitstate[READERS]; /* 0 none, 1 waits, 2 READY, 3 TIMEOUT: the parker */
byte queue_len[2];	/* pd->nwaiters */

inline acquire(p) { atomic { !lock[p] -> lock[p] = true } }
inline release(p) { lock[p] = false }

/* p locked: all shared waiters, and the first other whose parker can still be won */
inline wake_locked(p)
{
	d_step {
		w = 0;
		won = false;
		do
		:: w < READERS && queued[w] && where[w] == p && !(won && w != SHARED) ->
			queued[w] = false;
			queue_len[p]--;
			if
			:: waitstate[w] == 1 ->
				waitstate[w] = 2;
#ifdef SHARED_EATS
				won = true
#else
				won = (won || w != SHARED)
#endif
#ifdef NO_NEXT
			:: else -> won = true
#else
			:: else /* it timed out: the next one */
#endif
			fi;
			w++
		:: w < READERS && !(queued[w] && where[w] == p && !(won && w != SHARED)) -> w++
		:: else -> break
		od;
		w = 0;
		won = false
	}
}

active proctype kernel()
{
	byte n;

	do
	:: n < ITEMS -> atomic { n++; data++; event[0] = !closed; event[1] = orphan }
	:: else -> break
	od
}

active proctype poller()
{
	byte w;
	bool won;

end:	do
	:: atomic { event[0] -> event[0] = false }
		acquire(0);
		if
		:: closed /* the tag is an old one */
		:: else -> events[0]++; wake_locked(0)
		fi;
		release(0)
	:: atomic { event[1] -> event[1] = false }
		acquire(1);
		events[1]++;
		wake_locked(1);
		release(1)
	od
}

#ifdef CLOSE
active proctype closer()
{
	byte i;

	acquire(0);
	d_step {
		if
		:: queued[SHARED] -> queued[SHARED] = false; queue_len[0]-- /* goes on with its other descriptors */
			waitstate[SHARED] = 2
		:: else
		fi
	}
	acquire(1);
	i = 1;
	do
	:: i < READERS ->
		d_step {
			if
			:: queued[i] -> queue_len[0]--; where[i] = 1; queue_len[1]++
			:: else
			fi;
			i++
		}
	:: else -> break
	od;
	atomic {
		orphan = true;
#ifndef NO_REPORT
		event[1] = (data > 0);
#endif
		closed = true;
		event[0] = false
	}
	release(1);
	release(0)
}
#endif

proctype reader(byte me; bool may_give_up)
{
	byte seen, w, p, now;
	bool ok, won;

	seen = events[0]; /* gmp_netpoll_begin */
	if
	:: closed -> goto over
	:: else
	fi;
	do
	:: true ->
		atomic {
			ok = data > 0;
			if
			:: ok && me != SHARED -> data--
			:: else
			fi
		}
		if
		:: ok -> break
		:: else
		fi;
		acquire(p);
		if
#ifndef NO_SEQ
		:: p == 0 && closed -> release(p); goto over /* EBADF */
#endif
#ifndef NO_COUNT
		:: !(p == 0 && closed) && events[p] != seen -> seen = events[p]; release(p)
#endif
		:: else ->
			waitstate[me] = 1;
			queued[me] = true;
			where[me] = p;
			queue_len[p]++;
			release(p);
end:			if
			:: waitstate[me] == 2
			:: atomic { may_give_up && waitstate[me] == 1 -> waitstate[me] = 3 }
			fi;
			do /* lock_waiter */
			:: true ->
#ifdef OLD_LOCK
				now = p;
#else
				now = where[me];
#endif
				acquire(now);
				if
#ifdef OLD_LOCK
				:: true -> break
#else
				:: where[me] == now -> break
#endif
				:: else -> release(now)
				fi
			od;
			if
			:: queued[me] ->
				assert(queue_len[now] > 0 && where[me] == now);
				queued[me] = false;
				queue_len[now]--
			:: else
			fi;
			p = now;
			seen = events[p];
			release(p);
			if
			:: waitstate[me] == 3 -> break
			:: else
			fi
		fi
	od;
	/* gmp_netpoll_done */
#ifndef NO_BATON
	if
	:: ok && me != SHARED && queue_len[p] > 0 ->
		acquire(p);
		wake_locked(p);
		release(p)
	:: else
	fi;
#endif
over:	skip
}

init
{
	atomic {
		run reader(SHARED, false);
		run reader(1, true);
		run reader(2, false)
	}
	atomic {
		timeout ->
		assert(data == 0 || (waitstate[0] != 1 && waitstate[1] != 1 && waitstate[2] != 1))
	}
}
