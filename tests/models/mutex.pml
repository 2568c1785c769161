/* SPDX-License-Identifier: MIT */
/*
 * preload/mutex.c: take_slow, take_or_mark, wait_word, give_up, release_waited, with the wait queue of core/sema.c
 * (gmp_sema_claim, gmp_sema_grant). The word is FREE, HELD, WAITED or STARVING. Three threads take it: one once and
 * again at once, one that may give up by a deadline while it waits, one that may be starving whenever it finds it
 * taken.
 *
 * Properties: never two owners; nobody waits for ever (no invalid end state); at the end the word is FREE and the
 * queue empty.
 *
 * RUN
 * BUG -DTAKE_AS_HELD      a woken waiter takes the word as HELD: the next one is never woken
 * BUG -DNO_RECHECK        wait_word queues without looking at the word again
 * BUG -DGRANT_FREE        the word becomes FREE though it was handed over
 * BUG -DGRANT_HELD        the word becomes HELD when it is handed over, though others may wait
 * BUG -DMARK_AFTER_GRANT  a waiter that was handed the word takes it once more
 */
#define FREE 0
#define HELD 1
#define WAITED 2
#define STARVING 3
#define THREADS 3

byte word;
bool lock;			/* of the bucket */
byte queue[THREADS], qlen;	/* of waiters, oldest first */
byte parker[THREADS];		/* 0 none, 1 waits, 2 READY, 3 TIMEOUT */
bool granted[THREADS];
byte owners;

inline acquire() { atomic { !lock -> lock = true } }
inline release_bucket() { lock = false }

/* bucket locked: take t off the queue if it is there */
inline dequeue(t)
{
	d_step {
		i = 0;
		do
		:: i < qlen && queue[i] == t ->
			do
			:: i + 1 < qlen -> queue[i] = queue[i + 1]; i++
			:: else -> break
			od;
			qlen--;
			queue[qlen] = 0;
			break
		:: i < qlen && queue[i] != t -> i++
		:: else -> break
		od;
		i = 0
	}
}

/* bucket locked: end the wait of the first waiter that still waits; found: there was one */
inline claim(hand)
{
	d_step {
		found = false;
		do
		:: qlen > 0 && !found ->
			first = queue[0];
			i = 0;
			do
			:: i + 1 < qlen -> queue[i] = queue[i + 1]; i++
			:: else -> break
			od;
			qlen--;
			queue[qlen] = 0;
			granted[first] = hand;
			if
			:: parker[first] == 1 -> parker[first] = 2; found = true
			:: else
			fi
		:: else -> break
		od;
		i = 0;
		first = 0
	}
}

proctype thread(byte me, rounds; bool may_give_up, starves)
{
	byte v, mark, i, first;
	bool mine, found;

	do
	:: rounds > 0 ->
		rounds--;
		mark = WAITED;
		atomic { /* take */
			mine = (word == FREE);
			if
			:: mine -> word = HELD
			:: else
			fi
		}
		do
		:: mine -> break
		:: else ->
			if
			:: starves -> mark = STARVING
			:: true
			fi;
			atomic { /* take_or_mark */
				v = word;
				if
				:: v == FREE ->
					mine = true;
#ifdef TAKE_AS_HELD
					word = HELD
#else
					word = WAITED
#endif
				:: v != FREE && v < mark -> word = mark
				:: else
				fi
			}
			if
			:: mine -> break
			:: else
			fi;
			acquire(); /* wait_word */
#ifndef NO_RECHECK
			if
			:: word < WAITED -> release_bucket(); goto again
			:: else
			fi;
#endif
			atomic { parker[me] = 1; granted[me] = false; queue[qlen] = me; qlen++ }
			release_bucket();
			if
			:: parker[me] == 2
			:: atomic { may_give_up && parker[me] == 1 -> parker[me] = 3 }
			fi;
			if
			:: parker[me] == 3 ->
				acquire();
				dequeue(me);
				release_bucket();
				parker[me] = 0;
				goto out
#ifndef MARK_AFTER_GRANT
			:: parker[me] == 2 && granted[me] -> mine = true
#endif
			:: else
			fi;
			parker[me] = 0;
again:			skip
		od;
		atomic { owners++; assert(owners == 1) }
		assert(word != FREE);
		owners--;
		mine = false;
		atomic { v = word; word = word - 1 } /* give_up: HELD becomes FREE, the others are still taken */
		if
		:: v != HELD -> /* release_waited */
			acquire();
			found = false;
			if
			:: v == STARVING || word == STARVING -> claim(true)
			:: else
			fi;
			if
			:: found ->
#ifdef GRANT_FREE
				word = FREE
#else
#ifdef GRANT_HELD
				word = HELD
#else
				word = WAITED
#endif
#endif
			:: else ->
				word = FREE;
				claim(false)
			fi;
			release_bucket()
		:: else
		fi;
		found = false
	:: else -> break
	od;
out:	skip
}

init
{
	atomic {
		run thread(0, 2, false, false);
		run thread(1, 1, true, false);
		run thread(2, 2, false, true)
	}
	atomic { _nr_pr == 1 -> assert(word == FREE && qlen == 0) }
}
