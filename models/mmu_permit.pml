/* SPDX-License-Identifier: MIT */
/*
 * mmu_permit.pml - permission to write a logged page, in vCPUs' caches alone, and harvests.
 *
 * A vCPU without permission marks the page, or finds it marked, and may write until it is asked
 * to flush. A harvest swaps the bitmaps, asks, waits for the grace period, copies what was marked.
 * It protects no entry. Asserted at the end: what a vCPU wrote last is in the copy, or the page
 * is marked for the next harvest (D1).
 *
 * Mutants, one flag each; what they omit:
 *   FLUSH_FIRST   swapping before asking
 *   FLUSH_LATE    asking before the grace period
 *   NO_FLUSH      asking
 *   NO_GRACE      the grace period
 *   COPY_EARLY    the grace period before the copy
 *   CHECK_FIRST   beginning the section before the request is looked at
 *   PERMIT_FOUND  marking, where another vCPU has permission
 * As good:
 *   STORE_FIRST   stores, then marks, in one section
 */
#define NTHR 3
#define HARVEST 0
#define LIVE 0 /* which bitmap */
#define MARK(b) (1 + (b))
#define DATA(v) (2 + (v)) /* what the vCPU writes, all in the one page */
#define REQUEST(v) (4 + (v))
#define NLOC 7
#define NMUTEX 1
#define NMSG 10
#define NQUEUE 4
#include "wm.h"

#ifndef HARVESTS
#define HARVESTS 2
#endif
byte wrote[3], copy[3];
bit permitted[3];
byte done;

inline mark(me, b, r)
{
	load(me, LIVE, ACQ, b);
	load(me, MARK(b), ACQ, r);
	if
	:: r
	:: else -> store(me, MARK(b), 1, REL)
	fi;
	b = 0;
	r = 0
}

inline write(me)
{
	atomic {
		wrote[me]++;
		store(me, DATA(me), wrote[me], RLX)
	}
}

inline enter(me, r)
{
#ifdef CHECK_FIRST
	exchange(me, REQUEST(me), 0, ACQ_REL, r);
	rcu_enter(me);
#else
	rcu_enter(me);
	exchange(me, REQUEST(me), 0, ACQ_REL, r);
#endif
	permitted[me] = (r -> 0 : permitted[me]);
	r = 0
}

proctype vcpu(byte me)
{
	WM_LOCALS;
	byte r, b, n;

	do
	:: n < 2 ->
		enter(me, r);
		if
		:: permitted[me] -> write(me)
		:: else ->
#ifdef STORE_FIRST
			write(me);
			mark(me, b, r);
			permitted[me] = 1
#else
#ifdef PERMIT_FOUND
			if
			:: permitted[3 - me]
			:: else -> mark(me, b, r)
			fi;
#else
			mark(me, b, r);
#endif
			permitted[me] = 1;
			write(me)
#endif
		fi;
		rcu_leave(me);
		n++
	:: else -> break
	od;
	permitted[me] = 0;
	forget(me);
	done++
}

inline flush(r)
{
	exchange(HARVEST, REQUEST(1), 1, ACQ_REL, r);
	exchange(HARVEST, REQUEST(2), 1, ACQ_REL, r);
	r = 0
}

inline copy_page(b, r)
{
	load(HARVEST, MARK(b), RLX, r);
	if
	:: r ->
		load(HARVEST, DATA(1), RLX, copy[1]);
		load(HARVEST, DATA(2), RLX, copy[2])
	:: else
	fi;
	r = 0
}

proctype harvest()
{
	WM_LOCALS;
	byte r, b, n;

	do
	:: n < HARVESTS ->
#ifdef FLUSH_FIRST
		flush(r);
#endif
		exchange(HARVEST, LIVE, 1 - b, ACQ_REL, r);
		r = 0;
#if !defined(FLUSH_FIRST) && !defined(FLUSH_LATE) && !defined(NO_FLUSH)
		flush(r);
#endif
#ifdef COPY_EARLY
		copy_page(b, r);
#endif
#ifndef NO_GRACE
		rcu_synchronize(HARVEST);
#endif
#ifdef FLUSH_LATE
		flush(r);
#endif
#ifndef COPY_EARLY
		copy_page(b, r);
#endif
		store(HARVEST, MARK(b), 0, RLX);
		b = 1 - b;
		n++
	:: else -> break
	od;
	b = 0;
	forget(HARVEST);
	done++
}

init {
	atomic {
		run harvest();
		run vcpu(1);
		run vcpu(2)
	};
	(done == 3);
	(drained(0) && drained(1) && drained(2));
	assert(newest(MARK(newest(LIVE))) ||
	       (copy[1] == wrote[1] && copy[2] == wrote[2]))
}
