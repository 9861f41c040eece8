/* SPDX-License-Identifier: MIT */
/*
 * limit.pml - the W5 limit (map.c: map_write_begin(); reclaim.c).
 *
 * Two writers publish two generations each at a limit of one retired batch; a reader
 * looks at a snapshot and wants to commit inside its section; the reclaimer helps. What
 * is asserted: no section reaches a reclaimed batch; never more than the limit and one
 * commit's worth is retired; nobody waits for ever (an invalid end state otherwise).
 *
 * Mutants, one flag each; what they omit:
 *   SYNC_LOCKED    dropping the writer mutex for the grace period
 *   NO_EDEADLK     refusing to wait inside a section
 *   NO_RECHECK     looking at the limit again after the wait
 *   TARGET_AFTER   noting the generation before the grace period begins
 *   NO_LIMIT       waiting
 */
#define NTHR 4
#define RECLAIMER 2
#define READER 3
#define SNAPSHOT 0
#define PUBLISHED 1
#define NLOC 2
#define W 0
#define NMUTEX 1
#define NMSG 6
#define NQUEUE 4
#define SECTIONS_ONLY_READ
#include "wm.h"

#define LIMIT 1

byte generation; /* writer mutex */
byte retired;    /* batches; writer mutex */
byte graced;
byte reclaimed;
byte done;
bit kicked;
bit refused;

inline reclaim_run()
{
	d_step {
		if
		:: graced > reclaimed ->
			retired = retired - (graced - reclaimed);
			reclaimed = graced
		:: else
		fi
	}
}

inline reclaim_synchronize(me, target)
{
#ifdef TARGET_AFTER
	rcu_synchronize(me);
	load(me, PUBLISHED, ACQ, target);
#else
	load(me, PUBLISHED, ACQ, target);
	rcu_synchronize(me);
#endif
	d_step {
		graced = (target > graced -> target : graced);
		target = 0
	}
}

/* map_write_begin(): may_wait says whether the thread is outside sections. */
inline write_begin(me, may_wait, target)
{
	mutex_lock(me, W);
	do
#ifdef NO_LIMIT
	:: break
#else
	:: retired <= LIMIT -> break
#endif
	:: retired > LIMIT && !(may_wait) ->
		mutex_unlock(me, W);
		refused = 1;
		break
	:: retired > LIMIT && (may_wait) ->
#ifdef SYNC_LOCKED
		reclaim_synchronize(me, target);
#else
		mutex_unlock(me, W);
		reclaim_synchronize(me, target);
		mutex_lock(me, W);
#endif
		reclaim_run();
#ifdef NO_RECHECK
		break
#endif
	od
}

inline commit(me)
{
	atomic {
		generation++;
		store(me, SNAPSHOT, generation, SC)
	};
	store(me, PUBLISHED, generation, REL);
	d_step {
		retired++;
		assert(retired <= LIMIT + 1);
		kicked = 1
	};
	mutex_unlock(me, W)
}

proctype writer(byte me)
{
	WM_LOCALS;
	byte target, n;

	do
	:: n < 2 ->
		write_begin(me, true, target);
		commit(me);
		n++
	:: else -> break
	od;
	n = 0;
	done++
}

proctype reclaimer()
{
	WM_LOCALS;
	byte target;

end:
	do
	:: kicked ->
		kicked = 0;
		reclaim_synchronize(RECLAIMER, target);
		if
		:: mutex_lock(RECLAIMER, W);
			reclaim_run();
			mutex_unlock(RECLAIMER, W)
		:: skip
		fi
	od
}

proctype reader()
{
	WM_LOCALS;
	byte target, seen;

	rcu_enter(READER);
	load(READER, SNAPSHOT, ACQ, seen);
	assert(seen >= reclaimed);
#ifdef NO_EDEADLK
	write_begin(READER, true, target);
#else
	write_begin(READER, false, target);
#endif
	if
	:: !refused -> commit(READER)
	:: else
	fi;
	assert(seen >= reclaimed);
	rcu_leave(READER);
	seen = 0;
	done++
}

init {
	atomic {
		run writer(0);
		run writer(1);
		run reclaimer();
		run reader()
	};
	(done == 3)
}
