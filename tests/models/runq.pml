/* SPDX-License-Identifier: MIT */
/*
 * core/runq.c: the local run queue. gmp_runqput (with runnext), runqput_slow, gmp_runqget by the owner; runqgrab and
 * gmp_runqsteal by two thieves, one of which takes runnext too. The ring has 4 places instead of 256.
 *
 * Properties: each G is taken exactly once, none is lost, no place of the ring is read after it was given to another G
 * (that would be a G taken twice).
 *
 * RUN
 * BUG -DGRAB_NO_CAS        the thief stores head instead of comparing it first
 * BUG -DGET_NO_CAS         the owner does
 * BUG -DPUT_STALE_HEAD     the owner takes the ring for not full though it is
 * BUG -DRUNNEXT_NO_CAS     a thief takes runnext without comparing
 * BUG -DRUNNEXT_STORE      the owner stores over a G in runnext that a thief may take meanwhile
 */
#define SIZE 4
#define GS 5

byte ring[SIZE], head, tail, runnext; /* Gs are 1 .. GS; head and tail count up, as there */
byte taken[GS + 1], total;
bool done_putting;

inline take(g)
{
	atomic {
		assert(g != 0);
		taken[g]++;
		assert(taken[g] == 1);
		total++
	}
}

/* the tail of gmp_runqput; global Gs count as taken */
inline put_ring(g)
{
	do
	:: true ->
		h = head; /* acquire */
		t = tail;
		if
#ifdef PUT_STALE_HEAD
		:: t - h <= SIZE ->
#else
		:: t - h < SIZE ->
#endif
			ring[t % SIZE] = g;
			tail = t + 1;
			break
		:: else -> /* runqput_slow: half of the ring and g */
			n = (t - h) / 2;
			i = 0;
			do
			:: i < n -> batch[i] = ring[(h + i) % SIZE]; i++
			:: else -> break
			od;
			atomic {
				ok = (head == h);
				if
				:: ok -> head = h + n
				:: else
				fi
			}
			if
			:: ok ->
				i = 0;
				do
				:: i < n -> take(batch[i]); i++
				:: else -> break
				od;
				take(g);
				break
			:: else
			fi
		fi
	od;
	h = 0; t = 0; n = 0; i = 0; ok = false; batch[0] = 0; batch[1] = 0
}

active proctype owner()
{
	byte g = 1, h, t, n, i, old, batch[2];
	bool ok;

	do
	:: g <= GS && !done_putting ->
		if
		:: true -> old = g	/* next == false */
		:: g % 3 == 2 -> /* next: what was there goes to the ring */
			old = runnext;
			if
			:: old == 0 -> runnext = g /* a store: nobody else fills it */
#ifdef RUNNEXT_STORE
			:: else -> runnext = g
#else
			:: else -> atomic { old = runnext; runnext = g }
#endif
			fi
		fi;
		if
		:: old != 0 -> put_ring(old)
		:: else
		fi;
		old = 0;
		g++;
		if
		:: g > GS -> done_putting = true
		:: else
		fi
	:: true -> /* gmp_runqget */
		n = runnext;
		if
		:: n != 0 ->
			atomic {
				ok = (runnext == n);
				if
				:: ok -> runnext = 0
				:: else
				fi
			}
			if
			:: ok -> take(n); goto next
			:: else
			fi
		:: else
		fi;
		do
		:: true ->
			h = head;
			t = tail;
			if
			:: t == h -> break
			:: else
			fi;
			n = ring[h % SIZE];
#ifdef GET_NO_CAS
			head = h + 1;
			ok = true;
#else
			atomic {
				ok = (head == h);
				if
				:: ok -> head = h + 1
				:: else
				fi
			}
#endif
			if
			:: ok -> take(n); break
			:: else
			fi
		od;
next:		if
		:: done_putting && t == h && runnext == 0 && head == tail -> break
		:: else
		fi;
		h = 0; t = 0; n = 0; ok = false
	od;
	/* all that was put and not stolen has been taken: the thieves finish what they hold */
	(total == GS)
}

proctype thief(bool steal_next)
{
	byte h, t, n, i, own[2], rounds;
	bool ok;

	do
	:: rounds < 1 ->
		rounds++;
		h = head;
		t = tail;
		n = t - h;
		n = n - n / 2;
		if
		:: n == 0 && steal_next ->
			n = runnext;
			if
			:: n != 0 ->
				atomic {
#ifdef RUNNEXT_NO_CAS
					ok = true;
#else
					ok = (runnext == n);
#endif
					if
					:: ok -> runnext = 0
					:: else
					fi
				}
				if
				:: ok -> take(n)
				:: else
				fi
			:: else
			fi
		:: n > 0 && n <= SIZE / 2 -> /* else h and t were not read together */
			i = 0;
			do
			:: i < n -> own[i] = ring[(h + i) % SIZE]; i++
			:: else -> break
			od;
#ifdef GRAB_NO_CAS
			head = h + n;
			ok = true;
#else
			atomic {
				ok = (head == h);
				if
				:: ok -> head = h + n
				:: else
				fi
			}
#endif
			if
			:: ok ->
				i = 0;
				do
				:: i < n -> take(own[i]); i++
				:: else -> break
				od
			:: else
			fi
		:: else
		fi;
		h = 0; t = 0; n = 0; i = 0; ok = false; own[0] = 0; own[1] = 0
	:: else -> break
	od
}

init
{
	atomic { run thief(false); run thief(true) }
}
