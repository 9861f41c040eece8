/* SPDX-License-Identifier: MIT */
/*
 * reclaim.pml - publish, enter, retire, hold, reclaim, wait (src/map: commit.c, hold.c,
 * reclaim.c, read.c).
 *
 * The writer publishes generations 1 and 2. A generation's snapshot struct is a cell; its
 * content is the generation plus one, so that an unwritten or recycled cell shows. Three
 * nodes die: the snapshots of generations 0 and 1 and `shared`, born at 0 and reached by
 * both. The snapshot of generation 0 carries the last reference of a region. Its cell is
 * recycled for generation 2 when it is free by then.
 *
 * -DREADERS=n -DHOLDERS=n -DWAITER choose the threads. What is asserted:
 *   R1  a section reads an initialised snapshot, the same one at its start and its end
 *   R2  it is the one of the newest commit that had returned at entry, or a newer one
 *   R3  nothing a section or hold reaches is free, and its region is not released
 *   L2  the region is released exactly once
 *   W5  a hold gets only nodes that its snapshot reaches
 *   mslot_wait(1) returns: no section and no hold is left at generation 0, nodes of that
 *       generation only are free, release has returned; and it does return
 *   no node is lost: when all is over, all three are free
 *
 * Mutants, one flag each; what they omit:
 *   PUBLISH_RELAXED LOAD_RELAXED   the order of snapshot content and snapshot pointer
 *   PUBLISH_RELEASE      the store that is complete when commit returns (x86: R2)
 *   LOAD_FIRST           entering before the snapshot pointer is loaded
 *   NO_GRACE             the grace period
 *   TARGET_AFTER         noting the generation before the grace period begins
 *   TARGET_RELAXED       acquire on `published`: the publish is known before the grace period
 *   PUBLISHED_EARLY      storing `published` after the publish
 *   HOLD_OUTSIDE         registering the hold inside the section
 *   IGNORE_HOLDS         looking for holds before freeing
 *   ATTACH_OLDEST        the youngest hold older than the death
 *   IGNORE_BIRTH         the comparison with the node's birth
 *   PUT_FREES            handing a put hold's nodes to the next older hold
 *   PUT_LOSES            handing them to anybody
 *   PUT_SILENT           waking the reclaimer after a put
 *   COMMIT_SILENT        waking the reclaimer after a commit that removed a region
 *   PUT_BUSY             taking the put hold's nodes after it was unlinked, not before
 *   RELEASE_AT_RETIRE    dropping the region with the node's memory, not with its retirement
 *   RELEASE_TWICE        taking the region off the queue before its callback runs
 *   WAIT_UNRECLAIMED WAIT_NO_HOLDS WAIT_NO_DROPPED WAIT_NO_RELEASE WAIT_LOST
 *                        one condition of mslot_wait() each; the order of look and sleep
 *   RECLAIMED_EARLY      storing `reclaimed` after the batches were worked off
 *   WAIT_WINDOW          releasing holds_lock only after a put hold's nodes went on
 */
#ifndef READERS
#define READERS 2
#endif
#ifndef HOLDERS
#define HOLDERS 1
#endif
#ifdef WAITER
#define WAITERS 1
#else
#define WAITERS 0
#endif

#define WRITER 0
#define RECLAIMER 1
#define READER(i) (2 + (i))
#define HOLDER(i) (2 + READERS + (i))
#define WAIT (2 + READERS + HOLDERS)
#define NTHR (2 + READERS + HOLDERS + WAITERS)

#define SNAPSHOT 0 /* map->snapshot: the cell of the published snapshot */
#define PUBLISHED 1
#define RETURNED 2 /* what the world outside has been told of */
#define CELL(i) (3 + (i))
#define NLOC 6
#define W 0 /* writer mutex */
#define LOCK 1 /* the reclaimer's */
#define NMUTEX 2
#define NMSG 4
#define NQUEUE 4
#define SECTIONS_ONLY_READ
#include "wm.h"

#ifdef PUBLISH_RELAXED
#define PUBLISH RLX
#elif defined(PUBLISH_RELEASE)
#define PUBLISH REL
#else
#define PUBLISH SC
#endif
#ifdef LOAD_RELAXED
#define LOAD_SNAPSHOT RLX
#else
#define LOAD_SNAPSHOT ACQ
#endif
#ifdef TARGET_RELAXED
#define LOAD_PUBLISHED RLX
#else
#define LOAD_PUBLISHED ACQ
#endif

/* Nodes and where they are. */
#define SNAP0 0
#define SNAP1 1
#define SHARED 2
#define NNODES 3
#define BIRTH(n) (n == SNAP1)
#define DEATH(n) (1 + (n != SNAP0))
#define LIVE 0
#define RETIRED 1
#define FREE 2
#define PINNED 3 /* + hold */
byte where[NNODES];

/* Holds. */
#define NOHOLD 255
#define NEW 0
#define HELD 1
#define DROPPED 2
#define GONE 3
byte hold_state[HOLDERS + 1];
byte hold_gen[HOLDERS + 1];

byte graced;       /* atomic in the code; a stale value only delays */
byte reclaimed;    /* likewise */
byte told;         /* newest commit that returned */
bit kicked, urgent, stirred, idle;
byte queued;       /* releases queued so far */
byte taken;        /* taken off the queue */
byte released;     /* callbacks that returned */
bit waited;
byte readers_in, holders_in;
byte done;

hidden byte n_, h_, y_;

/* A section or hold on generation g looks at everything its snapshot reaches. */
inline touch(g)
{
	d_step {
		if
		:: g == 0 -> assert(where[SNAP0] != FREE && where[SHARED] != FREE);
			assert(released == 0);
			assert(!waited)
		:: g == 1 -> assert(where[SNAP1] != FREE && where[SHARED] != FREE)
		:: else
		fi
	}
}

/* In a d_step: y_ = the youngest live hold with a generation <= limit. */
inline hold_youngest(limit)
{
	y_ = NOHOLD;
	h_ = 0;
	do
	:: h_ < HOLDERS ->
		if
		:: hold_state[h_] == HELD && hold_gen[h_] <= (limit) ->
			if
			:: y_ == NOHOLD -> y_ = h_
#ifdef ATTACH_OLDEST
			:: y_ != NOHOLD && hold_gen[h_] < hold_gen[y_] -> y_ = h_
#else
			:: y_ != NOHOLD && hold_gen[h_] >= hold_gen[y_] -> y_ = h_
#endif
			:: else
			fi
		:: else
		fi;
		h_++
	:: else -> break
	od
}

inline free_node(n)
{
	where[n] = FREE;
#ifndef RELEASE_AT_RETIRE
	if
	:: n == SNAP0 -> queued++
	:: else
	fi
#endif
}

/* In a d_step: the node n_ goes to hold y_ if that reaches it. */
inline give_or_free()
{
	if
#ifdef IGNORE_BIRTH
	:: y_ != NOHOLD ->
#else
	:: y_ != NOHOLD && hold_gen[y_] >= BIRTH(n_) ->
#endif
		assert(hold_gen[y_] >= BIRTH(n_) && hold_gen[y_] < DEATH(n_));
		where[n_] = PINNED + y_
	:: else -> free_node(n_)
	fi
}

inline take_retired()
{
	d_step {
		n_ = 0;
		do
		:: n_ < NNODES ->
			if
			:: where[n_] == RETIRED && DEATH(n_) <= graced ->
#ifdef IGNORE_HOLDS
				y_ = NOHOLD;
#else
				hold_youngest(DEATH(n_) - 1);
#endif
				give_or_free()
			:: else
			fi;
			n_++
		:: else -> break
		od
	}
}

inline hand_on(h)
{
	n_ = 0;
	do
	:: n_ < NNODES ->
		if
		:: where[n_] == PINNED + h ->
#ifdef PUT_LOSES
			skip
#else
#ifdef PUT_FREES
			y_ = NOHOLD;
#else
			hold_youngest(hold_gen[h]);
#endif
			give_or_free()
#endif
		:: else
		fi;
		n_++
	:: else -> break
	od
}

inline take_dropped()
{
	d_step {
		w_ = 0;
		do
		:: w_ < HOLDERS ->
			if
			:: hold_state[w_] == DROPPED ->
				hold_state[w_] = GONE;
#ifndef WAIT_WINDOW
				hand_on(w_)
#endif
			:: else
			fi;
			w_++
		:: else -> break
		od
	}
}

inline take_gone()
{
	d_step {
		w_ = 0;
		do
		:: w_ < HOLDERS ->
			if
			:: hold_state[w_] == GONE -> hand_on(w_)
			:: else
			fi;
			w_++
		:: else -> break
		od
	}
}

/* In an atomic, writer mutex held: reclaim_run(); one step of holds_lock. */
inline reclaim_run()
{
	take_retired();
	take_dropped();
#ifndef RECLAIMED_EARLY
	reclaimed = graced
#endif
}

inline kick(me, now)
{
	atomic {
		mutex_pass(me, LOCK);
		urgent = urgent | now;
		kicked = 1
	}
}

/* mslot_txn_commit() of generation g. What nobody else can see yet is one step. */
inline commit(g)
{
	atomic {
		mutex_lock(WRITER, W);
		if
		:: where[SNAP0] == RETIRED && graced >= 1 -> reclaim_run()
		:: else
		fi;
		if
		:: g == 2 && where[SNAP0] == FREE -> cell = 0
		:: else -> cell = g
		fi;
		store(WRITER, CELL(cell), g + 1, RLX)
	};
#ifdef PUBLISHED_EARLY
	store(WRITER, PUBLISHED, g, REL);
#endif
	store(WRITER, SNAPSHOT, cell, PUBLISH);
#ifndef PUBLISHED_EARLY
	store(WRITER, PUBLISHED, g, REL);
#endif
	atomic {
		cell = 0;
		retire(g)
	};
	if
	:: g == 1 ->
#ifdef COMMIT_SILENT
		skip
#else
		kick(WRITER, 1)
#endif
	:: g == 2 -> kick(WRITER, 0)
	:: g == 2
	fi;
	mutex_unlock(WRITER, W);
	atomic {
		told = g;
#ifdef TELL
		store(WRITER, RETURNED, g, REL)
#endif
	}
}

inline retire(g)
{
	if
	:: g == 1 -> where[SNAP0] = RETIRED
	:: else -> where[SNAP1] = RETIRED; where[SHARED] = RETIRED
	fi;
#ifdef RELEASE_AT_RETIRE
	if
	:: g == 1 -> queued++
	:: else
	fi
#endif
}

proctype writer()
{
	WM_LOCALS;
	byte cell;

	commit(1);
	commit(2);
	done++
}

/* The callback unmaps what touch() then must not reach any more. */
inline run_callbacks()
{
	do
	:: d_step {
			taken < queued ->
#ifndef RELEASE_TWICE
			taken++
#endif
		};
		d_step {
			released++;
			assert(released == 1);
			stirred = 1
		}
	:: else -> break
	od
}

proctype reclaimer()
{
	WM_LOCALS;
	byte target;
	bit must;

end:
	do
	:: atomic {
			kicked ->
			mutex_pass(RECLAIMER, LOCK);
			must = urgent;
			urgent = 0;
			kicked = 0;
			idle = 0
		};
#ifdef TARGET_AFTER
		rcu_synchronize(RECLAIMER);
		load(RECLAIMER, PUBLISHED, LOAD_PUBLISHED, target);
#else
		load(RECLAIMER, PUBLISHED, LOAD_PUBLISHED, target);
		if
		:: target > graced ->
#ifndef NO_GRACE
			rcu_synchronize(RECLAIMER)
#endif
		:: else
		fi;
#endif
		d_step {
			graced = (target > graced -> target : graced);
#ifdef RECLAIMED_EARLY
			reclaimed = graced;
#endif
			target = 0
		};
		if
		:: atomic {
				mutex_lock(RECLAIMER, W);
				reclaim_run();
#ifdef WAIT_WINDOW
			};
			atomic {
				take_gone();
#endif
				mutex_unlock(RECLAIMER, W)
			}
		:: !must
		fi;
		must = 0;
		run_callbacks();
		stirred = 1;
		idle = 1
	:: taken < queued -> run_callbacks()
	od
}

/*
 * The newest commit that the caller of mslot_enter() knows to have returned. In C11 it
 * must have been told (-DTELL); on x86 it may know it from the clock.
 */
inline known(me, r)
{
#ifdef TSO
	r = told
#elif defined(TELL)
	load(me, RETURNED, ACQ, r)
#else
	skip
#endif
}

/* Threads of one kind are alike: `nth` lets them enter in one order, which loses nothing. */
inline enter(me, nth, entered, r, cell, seen)
{
	atomic {
		entered == nth -> entered++;
		known(me, r);
#ifdef LOAD_FIRST
		load(me, SNAPSHOT, LOAD_SNAPSHOT, cell)
	};
	rcu_enter(me);
#else
		rcu_enter(me)
	};
	load(me, SNAPSHOT, LOAD_SNAPSHOT, cell);
#endif
	atomic {
		load(me, CELL(cell), RLX, seen);
		assert(seen > 0);
		assert(seen > r);
		r = 0;
		touch(seen - 1)
	}
}

inline look_again(me, cell, seen, again)
{
	atomic {
		load(me, CELL(cell), RLX, again);
		assert(again == seen);
		again = 0;
		touch(seen - 1)
	}
}

proctype reader(byte me)
{
	WM_LOCALS;
	byte r, cell, seen, again;

	enter(me, me - READER(0), readers_in, r, cell, seen);
	look_again(me, cell, seen, again);
	atomic {
		rcu_leave(me);
		forget(me);
		done++
	}
}

inline hold(me, h, gen)
{
	atomic {
		hold_state[h] = HELD;
		hold_gen[h] = gen
	}
}

inline hold_put(me, h)
{
	atomic {
		hold_state[h] = DROPPED;
#ifndef PUT_SILENT
		urgent = 1;
		kicked = 1
#endif
	}
}

proctype holder(byte me, h)
{
	WM_LOCALS;
	byte r, cell, seen, again;

	enter(me, h, holders_in, r, cell, seen);
#ifdef HOLD_OUTSIDE
	rcu_leave(me);
	hold(me, h, seen - 1);
#else
	hold(me, h, seen - 1);
	rcu_leave(me);
#endif
	look_again(me, cell, seen, again);
#ifdef PUT_BUSY
	hold_put(me, h);
	look_again(me, cell, seen, again);
#else
	hold_put(me, h);
#endif
	atomic {
		forget(me);
		done++
	}
}

#ifdef WAITER
inline hold_older_than_1(found)
{
	atomic {
		found = 0;
		h_ = 0;
		do
		:: h_ < HOLDERS ->
			if
#ifndef WAIT_NO_HOLDS
			:: hold_state[h_] == HELD && hold_gen[h_] == 0 -> found = 1
#endif
#ifndef WAIT_NO_DROPPED
			:: hold_state[h_] == DROPPED && hold_gen[h_] == 0 -> found = 1
#endif
			:: else
			fi;
			h_++
		:: else -> break
		od
	}
}

/* mslot_wait(map, 1, -1) */
proctype waiter()
{
	WM_LOCALS;
	byte target;
	bit older;

	do
	:: load(WAIT, PUBLISHED, ACQ, target);
		if
		:: target > 0 -> target = 0; break
		:: else
		fi
	od;
	kick(WAIT, 1);
	do
	::
#ifndef WAIT_LOST
		stirred = 0;
#endif
#ifdef WAIT_UNRECLAIMED
		older = 0;
#else
		older = (reclaimed < 1);
#endif
		if
		:: !older -> hold_older_than_1(older)
		:: else
		fi;
		if
		:: !older -> break
		:: else
		fi;
#ifdef WAIT_LOST
		stirred = 0;
#endif
		(stirred)
	od;
#ifndef WAIT_NO_RELEASE
	target = queued;
	(released >= target);
	target = 0;
#endif
	assert(where[SNAP0] == FREE);
	d_step {
		assert(released == 1);
		waited = 1
	};
	done++
}
#endif

init {
	atomic {
		init_loc(CELL(0), 1);
		idle = 1;
		run writer();
		run reclaimer();
#if READERS > 0
		run reader(READER(0));
#endif
#if READERS > 1
		run reader(READER(1));
#endif
#if HOLDERS > 0
		run holder(HOLDER(0), 0);
#endif
#if HOLDERS > 1
		run holder(HOLDER(1), 1);
#endif
#ifdef WAITER
		run waiter();
#endif
	};
	(done == 1 + READERS + HOLDERS + WAITERS);
	(idle && !kicked && taken >= queued);
	(released >= queued);
	assert(released == 1);
	kick(WRITER, 1); /* the next commit, mslot_wait() or mslot_map_destroy() */
	(idle && !kicked);
	assert(where[SNAP0] == FREE && where[SNAP1] == FREE && where[SHARED] == FREE)
}
