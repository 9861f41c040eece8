/* SPDX-License-Identifier: MIT */
/*
 * ring.pml - dirty rings of vCPUs: push, collect, reset, copy.
 *
 * A vCPU pushes the pages that it writes into its ring, but for those whose bit in `ringed`
 * says that they are in one already: that bitmap is the extent's, one for all rings. The
 * consumer collects entries, resets the rings, and copies the pages that it collected. A
 * second thread resets the rings too. An entry's payload and its private cell, of which
 * reset takes the page, are one plain location here.
 *
 * -DRINGS=1 (default)   one vCPU, -DWRITES=n (3) to -DPAGES=n (2) in turn, the second resetter
 * -DRINGS=2             two vCPUs, two writes each to one page
 * -DSIZE=n              entries of a ring (1)
 * What is asserted:
 *   nothing is lost: the last copies leave the consumer with the newest data
 *   no push is dropped: a vCPU that finds its ring full waits before it writes
 *   a collected entry names the page that was pushed
 *   there is no data race on an entry (C11; two reads count as one, too)
 *
 * Variants that are as good:
 *   RINGED_FIRST     clearing `ringed` before the entry is given back
 *   PUSH_FIRST       pushing before the data are stored, in the same section
 *   MARK_OUTSIDE     looking at `ringed` after the section that stored
 *   GRACE_ALWAYS     the grace period after the ring mutex, also when nothing was reset
 * Mutants, one flag each; what they omit:
 *   PUSH_RELAXED COLLECT_RELAXED   the order of writing an entry and reading it
 *   GIVE_RELAXED RESET_RELAXED     the order of the consumer's reads and the reset
 *   INDEX_RELAXED ROOM_RELAXED     the order of the reset's reads and the next push
 *   INDEX_FIRST      clearing the flags before the reset index moves
 *   PAGE_LATE        reading the page before the reset index moves
 *   NO_ROOM          waiting for room before the write
 *   NO_GRACE         the grace period of a reset
 *   GRACE_UNLOCKED   the ring mutex through it: who finds nothing to reset waits for whoever did
 *   COPY_EARLY       copying after the reset
 *   RINGED_NEVER     clearing `ringed`
 */
#ifndef RINGS
#define RINGS 1
#endif
#if RINGS == 2
#define PAGES 1
#define WRITES 2
#endif
#ifndef PAGES
#define PAGES 2
#endif
#ifndef WRITES
#define WRITES 3
#endif
#ifndef SIZE
#define SIZE 1
#endif

#define CONSUMER RINGS
#define RESETTER (RINGS + 1)
#if RINGS == 1
#define NTHR 3
#else
#define NTHR (RINGS + 1)
#endif

#define CELL(r, i) ((r) * SIZE + (i) % SIZE)
#define FLAGS(r, i) CELL(r, i)
#define ENTRY(r, i) (RINGS * SIZE + CELL(r, i))
#define INDEX(r) (2 * RINGS * SIZE + (r)) /* reset index */
#define RINGED(p) (2 * RINGS * SIZE + RINGS + (p))
#define DATA(p, r) (2 * RINGS * SIZE + RINGS + PAGES + (p) * RINGS + (r))
#define NLOC (2 * RINGS * SIZE + RINGS + PAGES + PAGES * RINGS)
#ifdef GRACE_ALWAYS
#define must_wait(any) true
#else
#define must_wait(any) (any)
#endif
#define M 0 /* ring mutex */
#define NMUTEX 1
#ifndef NMSG
#define NMSG 12
#endif
#define NQUEUE 5
#include "wm.h"

/* FLAGS */
#define DIRTY 1
#define RESET 2

#ifdef PUSH_RELAXED
#define PUSH RLX
#else
#define PUSH REL
#endif
#ifdef COLLECT_RELAXED
#define COLLECT RLX
#else
#define COLLECT ACQ
#endif
#ifdef GIVE_RELAXED
#define GIVE RLX
#else
#define GIVE REL
#endif
#ifdef RESET_RELAXED
#define LOAD_RESET RLX
#else
#define LOAD_RESET ACQ
#endif
#ifdef INDEX_RELAXED
#define STORE_INDEX RLX
#else
#define STORE_INDEX REL
#endif
#ifdef ROOM_RELAXED
#define ROOM RLX
#else
#define ROOM ACQ
#endif

typedef Copies {
	byte of_ring[RINGS]
};

typedef Pushes {
	byte page[WRITES]
};

Copies img[PAGES];
Pushes pushes[RINGS];
byte done; /* vCPUs */

/* Plain accesses. In C11 each must know of all before it, reads too. */
#ifdef TSO
#define plain_load(t, l, dst) load(t, l, RLX, dst)
#define plain_store(t, l, x) store(t, l, x, RLX)
#else
inline plain_load(t, l, dst)
{
	d_step {
		assert(view[t].at[l] == hist[l].count);
		dst = newest(l);
		append(t, l, dst, RLX)
	}
}

inline plain_store(t, l, x)
{
	d_step {
		assert(view[t].at[l] == hist[l].count);
		append(t, l, x, RLX)
	}
}
#endif

/* The caller of the last round has joined the vCPUs' threads. */
inline join(t)
{
#ifdef TSO
	drained(t)
#else
	d_step { JOIN(view[CONSUMER].at, view[t].at) }
#endif
}

/* Out of sections: the vCPU exits to its owner. */
inline wait_for_room(r, pushed, b)
{
#ifdef NO_ROOM
	skip
#else
	do
	:: load(r, INDEX(r), ROOM, b);
		if
		:: pushed < b + SIZE -> b = 0; break
		:: else -> b = 0; (pushed < newest(INDEX(r)) + SIZE)
		fi
	od
#endif
}

inline push(r, p, pushed, b)
{
	exchange(r, RINGED(p), 1, RLX, b);
	if
	:: b == 0 ->
		d_step { pushes[r].page[pushed] = p };
		plain_store(r, ENTRY(r, pushed), p + 1);
		atomic {
			store(r, FLAGS(r, pushed), DIRTY, PUSH);
			pushed++
		}
	:: else
	fi;
	b = 0
}

proctype vcpu(byte r)
{
	WM_LOCALS;
	byte n, p, pushed, b;

	do
	:: n < WRITES ->
		n++;
		p = n % PAGES;
		wait_for_room(r, pushed, b);
		rcu_enter(r);
#ifdef PUSH_FIRST
		push(r, p, pushed, b);
		store(r, DATA(p, r), n, RLX);
#else
		store(r, DATA(p, r), n, RLX);
#ifdef MARK_OUTSIDE
		rcu_leave(r);
#endif
		push(r, p, pushed, b);
#endif
#ifndef MARK_OUTSIDE
		rcu_leave(r)
#else
		skip
#endif
	:: else -> break
	od;
	atomic {
		n = 0;
		p = 0;
		pushed = 0;
		done++
	}
}

/* All entries of one ring that are RESET, in order. */
inline reset_ring(me, r, i, b, p, any)
{
	load(me, INDEX(r), RLX, i); /* written under the ring mutex only */
	do
	:: load(me, FLAGS(r, i), LOAD_RESET, b);
		if
		:: b == RESET -> b = 0; any = 1
		:: else -> b = 0; break
		fi;
#ifndef PAGE_LATE
		plain_load(me, ENTRY(r, i), p);
#endif
#ifdef RINGED_FIRST
		store(me, RINGED(p - 1), 0, RLX);
#endif
#ifdef INDEX_FIRST
		store(me, INDEX(r), i + 1, STORE_INDEX);
		store(me, FLAGS(r, i), 0, RLX);
#else
		store(me, FLAGS(r, i), 0, RLX);
		store(me, INDEX(r), i + 1, STORE_INDEX);
#endif
#ifdef PAGE_LATE
		plain_load(me, ENTRY(r, i), p);
#endif
#if !defined(RINGED_FIRST) && !defined(RINGED_NEVER)
		store(me, RINGED(p - 1), 0, RLX);
#endif
		atomic {
			p = 0;
			i++
		}
	od;
	i = 0
}

inline reset(me, i, b, p, any)
{
	mutex_lock(me, M);
	reset_ring(me, 0, i, b, p, any);
#if RINGS > 1
	reset_ring(me, 1, i, b, p, any);
#endif
#if defined(GRACE_UNLOCKED) || defined(GRACE_ALWAYS)
	mutex_unlock(me, M);
#endif
#ifndef NO_GRACE
	if
	:: must_wait(any) -> rcu_synchronize(me)
	:: else
	fi;
#endif
	any = 0;
#if !defined(GRACE_UNLOCKED) && !defined(GRACE_ALWAYS)
	mutex_unlock(me, M)
#else
	skip
#endif
}

inline collect_ring(r, head, b, p)
{
	do
	:: load(CONSUMER, FLAGS(r, head), COLLECT, b);
		if
		:: b == DIRTY -> b = 0
		:: else -> b = 0; break
		fi;
		plain_load(CONSUMER, ENTRY(r, head), p);
		atomic {
			assert(p == pushes[r].page[head] + 1);
			mine[p - 1] = 1;
			p = 0
		};
		atomic {
			store(CONSUMER, FLAGS(r, head), RESET, GIVE);
			head++
		}
	od
}

inline copy(p)
{
	do
	:: p < PAGES ->
		if
		:: mine[p] ->
			mine[p] = 0;
			load(CONSUMER, DATA(p, 0), RLX, img[p].of_ring[0]);
#if RINGS > 1
			load(CONSUMER, DATA(p, 1), RLX, img[p].of_ring[1]);
#endif
		:: else
		fi;
		p++
	:: else -> break
	od;
	p = 0
}

#if RINGS == 1
#define any_flags(f) flags_of(0, f)
#else
#define any_flags(f) (flags_of(0, f) || flags_of(1, f))
#endif
#if SIZE == 1
#define flags_of(r, f) (newest(FLAGS(r, 0)) == f)
#else
#define flags_of(r, f) (newest(FLAGS(r, 0)) == f || newest(FLAGS(r, 1)) == f)
#endif

/* Rounds while vCPUs run, and one more when they have ended. */
proctype consumer()
{
	WM_LOCALS;
	byte head[RINGS], i, b, p;
	bit mine[PAGES], any, last;

	do
	:: atomic {
			any_flags(DIRTY) || done == RINGS ->
			last = (done == RINGS);
			if
			:: last -> join(0); join(RINGS - 1)
			:: else
			fi
		};
		collect_ring(0, head[0], b, p);
#if RINGS > 1
		collect_ring(1, head[1], b, p);
#endif
#ifdef COPY_EARLY
		copy(p);
#endif
		reset(CONSUMER, i, b, p, any);
		copy(p);
		if
		:: last -> break
		:: else
		fi
	od;
	p = 0;
	do
	:: p < PAGES ->
		assert(img[p].of_ring[0] == newest(DATA(p, 0)));
#if RINGS > 1
		assert(img[p].of_ring[1] == newest(DATA(p, 1)));
#endif
		p++
	:: else -> break
	od
}

#if RINGS == 1
proctype resetter()
{
	WM_LOCALS;
	byte i, b, p;
	bit any;

end:
	do
	:: any_flags(RESET) -> reset(RESETTER, i, b, p, any)
	od
}
#endif

init {
	atomic {
		run vcpu(0);
#if RINGS > 1
		run vcpu(1);
#else
		run resetter();
#endif
		run consumer()
	}
}
