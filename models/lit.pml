/* SPDX-License-Identifier: MIT */
/*
 * lit.pml - does wm.h itself allow and forbid what it should? Classic two-thread tests.
 *   -DSB     each stores its own flag and loads the other's; both may miss only without
 *            a barrier.  -DORDER=n: of all accesses; -DFENCED: a fence between.
 *   -DMP     data, then flag; -DORDER=n: of the flag's store and load.
 *   -DCOUNT  two increments; -DTORN: as a load and a store.
 *   -DXCHG   two exchanges of one word: the later one gets what the first put there.  -DTORN.
 *   -DCAS    two compare-and-exchanges of one word: one succeeds.  -DTORN.
 *   -DGRACE  a store before rcu_synchronize() and one after it: a section that sees the
 *            second sees the first, whatever the order of its loads.  -DNOGRACE.
 *   -DMUTEX  data under a mutex.  -DNOMUTEX.
 */
#define NTHR 2
#define NLOC 2
#define NMUTEX 1
#define NMSG 4
#define NQUEUE 3
#include "wm.h"
#ifndef ORDER
#define ORDER RLX
#endif

byte done;
byte got[2];

#ifdef SB
proctype side(byte me)
{
	WM_LOCALS;
	byte v;

	store(me, me, 1, ORDER);
#ifdef FENCED
	fence(me);
#endif
	load(me, 1 - me, ORDER, v);
	got[me] = v;
	done++
}
#define VERDICT (got[0] || got[1])
#endif

#ifdef MP
proctype side(byte me)
{
	WM_LOCALS;
	byte flag, data;

	if
	:: me == 0 ->
		store(0, 0, 1, RLX);
		store(0, 1, 1, ORDER)
	:: else ->
		load(1, 1, ORDER, flag);
		load(1, 0, RLX, data);
		got[0] = flag;
		got[1] = data
	fi;
	done++
}
#define VERDICT (!got[0] || got[1])
#endif

#ifdef COUNT
proctype side(byte me)
{
	WM_LOCALS;
	byte v;

#ifdef TORN
	load(me, 0, ACQ, v);
	store(me, 0, v + 1, REL);
#else
	fetch_add(me, 0, 1, ACQ_REL, v);
#endif
	done++
}
#define VERDICT (newest(0) == 2)
#endif

#ifdef XCHG
/* A message passed by an exchange, which also takes what the other side put there. */
proctype side(byte me)
{
	WM_LOCALS;
	byte v;

#ifdef TORN
	load(me, 0, ACQ, v);
	store(me, 0, me + 1, REL);
#else
	exchange(me, 0, me + 1, ACQ_REL, v);
#endif
	got[me] = v;
	done++
}
#define VERDICT (got[0] + got[1] != 0)
#endif

#ifdef CAS
/* One of two gets what there is once. */
proctype side(byte me)
{
	WM_LOCALS;
	byte v;

#ifdef TORN
	load(me, 0, ACQ, v);
	if
	:: v == 0 -> store(me, 0, me + 1, REL)
	:: else
	fi;
#else
	compare_exchange(me, 0, 0, me + 1, ACQ_REL, v);
#endif
	got[me] = (v == 0);
	done++
}
#define VERDICT (got[0] + got[1] == 1)
#endif

#ifdef GRACE
proctype side(byte me)
{
	WM_LOCALS;
	byte first, second;

	if
	:: me == 0 ->
		store(0, 0, 1, RLX);
#ifndef NOGRACE
		rcu_synchronize(0);
#endif
		store(0, 1, 1, RLX)
	:: else ->
		rcu_enter(1);
		load(1, 0, RLX, first);
		load(1, 1, RLX, second);
		rcu_leave(1);
		got[0] = second;
		got[1] = first
	fi;
	done++
}
#define VERDICT (!got[0] || got[1])
#endif

#ifdef MUTEX
proctype side(byte me)
{
	WM_LOCALS;
	byte v;

#ifndef NOMUTEX
	mutex_lock(me, 0);
#endif
	load(me, 0, RLX, v);
	store(me, 0, v + 1, RLX);
#ifndef NOMUTEX
	mutex_unlock(me, 0);
#endif
	done++
}
#define VERDICT (newest(0) == 2)
#endif

init {
	atomic {
		run side(0);
		run side(1)
	};
	(done == 2 && drained(0) && drained(1));
	assert(VERDICT)
}
