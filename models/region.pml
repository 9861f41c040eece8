/* SPDX-License-Identifier: MIT */
/*
 * region.pml - references of a region and its release (region.c, commit.c, reclaimer.c).
 *
 * A region's memory is shown by slot A. The writer replaces A by B (another id, same
 * region), then deletes B. The creator writes to the memory and puts its reference; a
 * reader writes to it inside a section. What is asserted: a section that reaches A or B
 * finds the region alive (R3); release runs exactly once, after everybody's last use,
 * and sees what they stored (L2); release may commit.
 *
 * Mutants, one flag each; what they omit:
 *   REF_RELAXED        release and acquire of the count
 *   REF_TORN           counting with one atomic operation
 *   GET_LATE           B's reference before the publish
 *   RELEASE_AT_RETIRE  a slot's reference until it is freed
 *   RELEASE_LOCKED     calling release without the writer mutex
 *   NO_GRACE           the grace period
 */
#define NTHR 4
#define WRITER 0
#define RECLAIMER 1
#define READER 2
#define CREATOR 3
#define SNAPSHOT 0 /* 0: A, 1: B, 2: nothing */
#define REFS 1
#define MEM_CREATOR 2 /* the region's memory: what each wrote last */
#define MEM_READER 3
#define NLOC 4
#define W 0
#define LOCK 1 /* the reclaimer's */
#define NMUTEX 2
#define NMSG 6
#define NQUEUE 4
#include "wm.h"

#ifdef REF_RELAXED
#define COUNT RLX
#else
#define COUNT ACQ_REL
#endif

byte published; /* writer mutex */
byte reclaimed;
byte done;
bit queued;
bit kicked;
bit gone;     /* the memory is unmapped */
bit wrote;    /* the reader stored to the memory */
byte released;

inline region_unref(me, old)
{
#ifdef REF_TORN
	load(me, REFS, ACQ, old);
	store(me, REFS, old - 1, REL);
#else
	fetch_add(me, REFS, 255, COUNT, old);
#endif
	if
	:: old == 1 ->
		atomic {
			mutex_pass(me, LOCK);
			queued = 1
		}
	:: else
	fi;
	old = 0
}

inline region_get(me, old)
{
	fetch_add(me, REFS, 1, RLX, old);
	old = 0
}

inline commit(me, g, old)
{
	mutex_lock(me, W);
#ifndef GET_LATE
	if
	:: g == 1 -> region_get(me, old)
	:: else
	fi;
#endif
	store(me, SNAPSHOT, g, SC);
	published = g;
#ifdef RELEASE_AT_RETIRE
	region_unref(me, old);
#endif
	kicked = 1;
	mutex_unlock(me, W);
#ifdef GET_LATE
	if
	:: g == 1 -> region_get(me, old)
	:: else
	fi
#else
	skip
#endif
}

proctype writer()
{
	WM_LOCALS;
	byte old;

	commit(WRITER, 1, old);
	commit(WRITER, 2, old);
	done++
}

/* The callback: unmaps, and takes the writer mutex as a commit of its own would. */
inline release(old)
{
	if
	:: queued ->
		atomic {
			mutex_pass(RECLAIMER, LOCK);
			queued = 0
		};
		load(RECLAIMER, MEM_CREATOR, RLX, old);
		assert(old == 1);
		load(RECLAIMER, MEM_READER, RLX, old);
		assert(old == wrote);
		old = 0;
		mutex_lock(RECLAIMER, W);
		mutex_unlock(RECLAIMER, W);
		d_step {
			gone = 1;
			released++;
			assert(released == 1)
		}
	:: else
	fi
}

proctype reclaimer()
{
	WM_LOCALS;
	byte target, old;

end:
	do
	:: kicked ->
		kicked = 0;
		mutex_lock(RECLAIMER, W);
		target = published;
		mutex_unlock(RECLAIMER, W);
#ifndef NO_GRACE
		rcu_synchronize(RECLAIMER);
#endif
		mutex_lock(RECLAIMER, W);
		do
		:: reclaimed < target ->
			reclaimed++;
#ifndef RELEASE_AT_RETIRE
			region_unref(RECLAIMER, old)
#endif
		:: else -> break
		od;
		target = 0;
#ifdef RELEASE_LOCKED
		release(old);
		mutex_unlock(RECLAIMER, W);
#else
		mutex_unlock(RECLAIMER, W);
		release(old);
#endif
	:: queued -> release(old)
	od
}

proctype reader()
{
	WM_LOCALS;
	byte seen;

	rcu_enter(READER);
	load(READER, SNAPSHOT, ACQ, seen);
	if
	:: seen < 2 ->
		assert(!gone);
		wrote = 1;
		store(READER, MEM_READER, 1, RLX);
		assert(!gone)
	:: else
	fi;
	seen = 0;
	rcu_leave(READER);
	done++
}

proctype creator()
{
	WM_LOCALS;
	byte old;

	store(CREATOR, MEM_CREATOR, 1, RLX);
	region_unref(CREATOR, old);
	done++
}

init {
	atomic {
		init_loc(REFS, 2);
		run writer();
		run reclaimer();
		run reader();
		run creator()
	};
	(done == 3 && released > 0)
}
