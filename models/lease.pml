/* SPDX-License-Identifier: MIT */
/*
 * lease.pml - taking, putting, watching and waiting for leases, and the release of a region
 * that was leased (lease.c, lease_scan.c, reclaimer.c, wait.c).
 *
 * One record has two lives. Each is taken in a section: of region A while the map shows it,
 * else of B; another thread does the I/O and puts it. Generation 1 takes A out of the map;
 * the reclaimer, which also is the committer here, drops its last reference after the grace
 * period. The waiter waits for generation 1.
 *
 * What is asserted: A is there as long as a lease of it is (L1); it is released exactly once,
 * after the last I/O, and sees what that stored (L2); when the wait returns, no lease of A is
 * left and A is released; the wait does return, and A is released in the end, with -DALONE
 * also when nobody waits.
 *
 * Mutants, one flag each; what they omit:
 *   TAKE_LATE         storing ACTIVE before the section ends
 *   NO_GRACE          the grace period before the last reference goes
 *   ACTIVE_RELAXED    release of the fields with ACTIVE
 *   NO_FENCE          the order of a record's fields and the end of its last life
 *   PUT_STORE         the exchange: looks for WATCHED, then stores
 *   PUT_RELAXED       release of the I/O with the end
 *   EARLY_RETURN      ending the life before the record is given back
 *   WATCH_STORE       the compare-and-swap: stores WATCHED over what was read
 *   PUT_SILENT        stirring when somebody watches
 *   LATE_STIRRED      clearing `stirred` before the scan, not after it
 *   WAIT_LOST         noting the count of events before the look
 *   WAIT_NO_LEASES    looking for leases
 *   WAIT_LEAVES_PARKED  queueing regions whose lease is just gone
 */
#define NTHR 4
#define RECLAIMER 0
#define TAKER 1
#define PUTTER 2
#define WAITER 3
#define SNAPSHOT 0 /* 0: shows A, 1: shows B */
#define STATE 1    /* of the record */
#define REGION 2   /* its field */
#define LEASED 3   /* A ever was */
#define MEM 4      /* A's memory: the last I/O */
#define REMOTE 5   /* the record is on the owner's list */
#define NLOC 6
#define REGISTRY 0
#define LOCK 1 /* the reclaimer's */
#define MAIL 2 /* how the application hands a lease over */
#define NMUTEX 3
#define NMSG 12
#define NQUEUE 4
#include "wm.h"

#define A 1
#define B 2
#define IS_ACTIVE(s) ((s) & 1)
#define WATCHED 2
#define FLAGS 3
#ifndef LIVES
#define LIVES 2
#endif

#ifdef ACTIVE_RELAXED
#define ORDER_ACTIVE RLX
#else
#define ORDER_ACTIVE REL
#endif
/* A release fence and a relaxed store, a relaxed load and an acquire fence. */
#ifdef NO_FENCE
#define FENCED_STORE RLX
#define FENCED_LOAD RLX
#else
#define FENCED_STORE REL
#define FENCED_LOAD ACQ
#endif
#ifdef PUT_RELAXED
#define ORDER_END RLX
#else
#define ORDER_END ACQ_REL
#endif

byte handed, taken_back; /* leases handed over; put */
byte what;               /* region of the one handed over */
bit held;                /* a lease of A is taken and not put */
byte wrote;              /* the I/O in A so far */
bit reclaimed, parked, stirred, gone;
byte queued, released;
byte events;
byte done;

inline stir(me)
{
	atomic {
		mutex_pass(me, LOCK);
		stirred = 1;
		events++
	}
}

/* Registry locked: is a lease of A active? Watches it. */
inline scan(me, s, r, live)
{
	live = 0;
	load(me, STATE, ACQ, s);
	if
	:: IS_ACTIVE(s) ->
		load(me, REGION, FENCED_LOAD, r);
		if
		:: r == A ->
#ifdef WATCH_STORE
			store(me, STATE, s | WATCHED, REL);
			live = 1
#else
			compare_exchange(me, STATE, s, s | WATCHED, ACQ_REL, r);
			live = (r == s)
#endif
		:: else ->
			load(me, STATE, ACQ, s)
		fi
	:: else
	fi;
	s = 0;
	r = 0
}

inline release_parked(me, live)
{
	if
	:: parked && !live ->
		parked = 0;
		atomic {
			mutex_pass(me, LOCK);
			queued++
		}
	:: else
	fi
}

inline end_life(s, old)
{
	load(PUTTER, STATE, RLX, s);
#ifdef PUT_STORE
	old = s;
	store(PUTTER, STATE, (s | FLAGS) + 1, REL);
#else
	exchange(PUTTER, STATE, (s | FLAGS) + 1, ORDER_END, old);
#endif
	s = 0
}

inline give_back(old)
{
	fetch_add(PUTTER, REMOTE, 1, REL, old)
}

inline take(n, seen)
{
	rcu_enter(TAKER);
	load(TAKER, SNAPSHOT, ACQ, seen);
#ifdef TAKE_LATE
	rcu_leave(TAKER);
#endif
	store(TAKER, REGION, A + seen, FENCED_STORE);
	if
	:: seen == 0 ->
		store(TAKER, LEASED, 1, RLX)
	:: else
	fi;
	d_step {
		what = A + seen;
		held = (seen == 0)
	};
	store(TAKER, STATE, 4 * n + 1, ORDER_ACTIVE);
#ifndef TAKE_LATE
	rcu_leave(TAKER);
#endif
	seen = 0
}

proctype taker()
{
	WM_LOCALS;
	byte n, seen, old;

	do
	:: n < LIVES ->
		if
		:: n > 0 ->
			newest(REMOTE) == 1;
			fetch_add(TAKER, REMOTE, 255, ACQ, old);
			old = 0
		:: else
		fi;
		take(n, seen);
		n++;
		atomic {
			mutex_pass(TAKER, MAIL);
			handed = n
		}
	:: else -> break
	od;
	done++
}

proctype putter()
{
	WM_LOCALS;
	byte s, old, none;

	do
	:: taken_back < LIVES ->
		handed > taken_back;
		atomic { mutex_pass(PUTTER, MAIL) };
		if
		:: what == A ->
			assert(!gone);
			wrote++;
			store(PUTTER, MEM, wrote, RLX);
			assert(!gone)
		:: else
		fi;
#ifdef EARLY_RETURN
		give_back(none);
#endif
		held = 0;
		end_life(s, old);
		taken_back++;
#ifndef EARLY_RETURN
		give_back(none);
#endif
		none = 0;
#ifndef PUT_SILENT
		if
		:: old & WATCHED -> stir(PUTTER)
		:: else
		fi;
#endif
		old = 0
	:: else -> break
	od;
	done++
}

inline release(old)
{
	load(RECLAIMER, MEM, RLX, old);
	assert(!held);
	assert(old == wrote);
	old = 0;
	d_step {
		gone = 1;
		released++;
		assert(released == 1)
	}
}

inline last_reference(old)
{
	load(RECLAIMER, LEASED, RLX, old);
	if
	:: old ->
		mutex_lock(RECLAIMER, REGISTRY);
		parked = 1;
		mutex_unlock(RECLAIMER, REGISTRY);
		stir(RECLAIMER)
	:: else ->
		atomic {
			mutex_pass(RECLAIMER, LOCK);
			queued++
		}
	fi;
	old = 0
}

proctype reclaimer()
{
	WM_LOCALS;
	byte s, r, old;
	bit live;

	store(RECLAIMER, SNAPSHOT, 1, SC);
#ifndef NO_GRACE
	rcu_synchronize(RECLAIMER);
#endif
	last_reference(old);
	atomic {
		mutex_pass(RECLAIMER, LOCK);
		reclaimed = 1
	};
end:
	do
	:: stirred ->
#ifndef LATE_STIRRED
		atomic {
			mutex_pass(RECLAIMER, LOCK);
			stirred = 0
		};
#endif
		mutex_lock(RECLAIMER, REGISTRY);
		scan(RECLAIMER, s, r, live);
		release_parked(RECLAIMER, live);
		mutex_unlock(RECLAIMER, REGISTRY);
#ifdef LATE_STIRRED
		atomic {
			mutex_pass(RECLAIMER, LOCK);
			stirred = 0
		};
#endif
		live = 0
	:: queued > released ->
		atomic { mutex_pass(RECLAIMER, LOCK) };
		release(old)
	od
}

proctype waiter()
{
	WM_LOCALS;
	byte s, r, seen, target;
	bit live;

	reclaimed;
	atomic { mutex_pass(WAITER, LOCK) };
	do
	::
#ifndef WAIT_LOST
		atomic {
			mutex_pass(WAITER, LOCK);
			seen = events
		};
#endif
		mutex_lock(WAITER, REGISTRY);
		scan(WAITER, s, r, live);
#ifndef WAIT_LEAVES_PARKED
		release_parked(WAITER, live);
#endif
		mutex_unlock(WAITER, REGISTRY);
#ifdef WAIT_NO_LEASES
		live = 0;
#endif
#ifdef WAIT_LOST
		atomic {
			mutex_pass(WAITER, LOCK);
			seen = events
		};
#endif
		if
		:: live -> events != seen
		:: else -> break
		fi
	od;
	atomic {
		mutex_pass(WAITER, LOCK);
		target = queued
	};
	released >= target;
	assert(!held);
	assert(released == 1);
	done++
}

init {
	atomic {
		run reclaimer();
		run taker();
		run putter();
#ifndef ALONE
		run waiter();
#else
		done++
#endif
	};
	(done == 3 && released > 0)
}
