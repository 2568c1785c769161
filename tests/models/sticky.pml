/* SPDX-License-Identifier: MIT */
/*
 * The short-read shortcut: gmp_netpoll_empty, gmp_netpoll_known_empty and gmp_netpoll_begin of core/netpoll.h,
 * gmp_netpoll_wait and handle_event of core/netpoll.c, with the loop of the reading hooks (preload/io.c, net.c). Two
 * readers of one stream, to which data, an urgent mark behind which more data waits, and perhaps the end come; the
 * kernel's event carries whatever is there when it is read, several arrivals perhaps as one. A read takes what is there
 * up to the mark, at most two units; one that got less than two was short.
 *
 * Property: nobody is parked for good while a read would not fail.
 *
 * RUN
 * RUN -DMARK
 * BUG -DNO_STICKY        a short read always proves that there is nothing more
 * BUG -DMARK -DNO_PRI    an urgent mark sets no sticky bit
 * BUG -DSTICKY_LATE      the event counts first and sets the sticky bit after
 * BUG -DCOUNT_LATE       the event count that goes with a short read is read after the read
 * BUG -DNO_COUNT         known to be empty for ever, whatever events come
 */
#define READERS 2
#ifdef MARK
#define UNITS 1
#else
#define UNITS 2
#endif

byte data, behind;	/* in the kernel; behind the urgent mark */
bool mark, fin;
bool event;		/* pending in the epoll set: the poller has not seen what came last */
byte events = 1, known;	/* pd->events; pd->empty, 0 none, else the count + 1 */
bool sticky;
bool lock;
byte parked, woken;	/* readers in the queue; told to look again */
byte finished;

inline acquire() { atomic { !lock -> lock = true } }
inline release() { lock = false }

active proctype kernel()
{
	byte n;

	do
	:: n < UNITS -> atomic { n++; data++; event = true }
	:: else -> break
	od;
#ifdef MARK
	atomic { mark = true; behind = 1; event = true };
#endif
	if
	:: atomic { fin = true; event = true }
	:: true /* no end comes */
	fi
}

active proctype poller()
{
	bool more;

end:	do
	:: atomic { event -> event = false; more = fin }
#ifdef MARK
#ifndef NO_PRI
		more = (more || mark);
#endif
#endif
		acquire(); /* handle_event */
#ifdef STICKY_LATE
		events++;
		sticky = (sticky || more);
#else
		sticky = (sticky || more);
		events++;
#endif
		if
		:: parked > 0 -> parked--; woken++
		:: else
		fi;
		release()
	od
}

proctype reader()
{
	byte seen, got, mine;
	bool over, no_try;

	do
	:: !over ->
		seen = events; /* gmp_netpoll_begin */
		do
		:: true ->
#ifdef NO_COUNT
			no_try = (known != 0);
#else
			no_try = (known == seen + 1);
#endif
#ifndef NO_STICKY
			no_try = (no_try && !sticky);
#endif
			got = 0;
			if
			:: no_try
			:: else ->
				atomic { /* the kernel's read; at the mark a new one goes past it */
					if
					:: mark && data == 0 && behind > 0 -> mark = false; data = behind; behind = 0
					:: else
					fi;
					if
					:: data >= 2 -> got = 2; data = data - 2
					:: data == 1 -> got = 1; data = 0
					:: data == 0 && fin && behind == 0 -> over = true
					:: else
					fi
				}
				if
				:: over || got > 0 -> break
				:: else
				fi
			fi;
			acquire(); /* gmp_netpoll_wait */
			if
			:: events != seen -> seen = events; release()
			:: else ->
				parked++;
				release();
end:				atomic { woken > 0 -> woken-- }
				acquire();
				seen = events;
				release()
			fi
		od;
		if
		:: got == 1 -> /* gmp_netpoll_empty */
#ifdef COUNT_LATE
			seen = events;
#endif
			known = seen + 1
		:: else
		fi;
		/* gmp_netpoll_done: the baton */
		if
		:: parked > 0 ->
			acquire();
			if
			:: parked > 0 -> parked--; woken++
			:: else
			fi;
			release()
		:: else
		fi
	:: else -> break
	od;
	finished++
}

init
{
	atomic { run reader(); run reader() }
	atomic { timeout -> assert(data + behind == 0 && (!fin || finished == READERS)) }
}
