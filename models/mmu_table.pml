/* SPDX-License-Identifier: MIT */
/*
 * mmu_table.pml - tables that die whole: unlinked, a grace period, taken apart, freed.
 *
 * A table has one page; its leaf shares a head with the leaf of another root's table, which
 * stays. The budget evicts the table (and the reclaimer takes it apart); meanwhile thread 3
 * faults in one of the two tables, maybe late. Further:
 * -DCOLLAPSE  a large leaf goes in the place of the table
 * -DZAP       a zap goes through the reverse map
 * -DZAP_PAGE  mslot_zap_page(), which goes through the root, without the writer mutex
 * -DPROTECT   a zap that takes only the permission to write
 * -DWALK      a walk notes that the page was accessed
 * Asserted: nobody touches a freed table; one unlinker wins; what is freed is in no reverse map;
 * leaves and reverse maps agree; a large leaf goes only with its reverse map.
 *
 * -DQUEUE     instead: a table whose parent dies, while it is linked, queued, and evicted
 *
 * Mutants, one flag each; what they omit:
 *   NO_GRACE           the grace period before a table is taken apart
 *   RETIRE_RELAXED     release and acquire of the list of retired tables
 *   EVICT_STORE        the compare-exchange: loads, then stores
 *   EVICT_EXCHANGE     looking at what was there: takes what it finds
 *   COLLAPSE_STORE     the compare-exchange of a collapse
 *   TAKE_UNLOCKED      locking the head for taking apart
 *   REVERSE_LATE       the reverse map before the lock is dropped
 *   ZAP_UNLOCKED       the lock of the head in a zap
 *   ZAP_NO_MUTEX       the writer mutex in a zap
 *   ZAP_PAGE_OUTSIDE   the section of mslot_zap_page()
 *   ZAP_PAGE_BLIND     looking at the entry again under the lock
 *   ACCESSED_STORE     the compare-exchange of the accessed bit
 *   CLEAR_LOST         taking the permission in one operation: the accessed bit is lost
 *   EVICT_UNLOCKED     holding the lock of the queue until the table is unlinked
 *   LEAVE_QUEUED       taking a table out of the queue before its parent is freed
 *   NO_DRAIN           looking among the new tables too
 */
#define RECLAIMER 0 /* also evicts; owns the writer mutex when it takes apart */
#define OTHER 1
#define FAULT 2
#define THIRD 3
#ifdef QUEUE
#define NTHR 3
#else
#define NTHR 4
#endif
#define PARENT 0 /* the parent's entry */
#define HEAD 1
#define ENTRY(t) (1 + (t)) /* of table 1, which dies, and 2 */
#define NEW 4              /* the table is among the new ones, not queued yet */
#define TOP 5              /* 1: the parent is linked */
#define NLOC 6
#define WRITER 0
#define EVICT 1
#define DEFERRED 2 /* of the list of what was retired */
#define NMUTEX 3
#define NMSG 12
#define NQUEUE 4
#include "wm.h"

#define LARGE_LEAF 1
#define TABLE 2
/* An entry. */
#define LEAF 1
#define ACCESSED 2
#define WRITABLE 4
/* A head: the lock, and leaves in the reverse map. */
#define LOCKED 1
#define MAPPED(t) (1 << (t))

byte winners; /* whoever thinks that the table is his */
bit coarse;   /* a large leaf is in the reverse map of its head */
bit retired, freed, parent_freed;
bit queued;
bit noted; /* that the page was accessed */
byte done;

#define touch() assert(!freed)
#define touch_parent() assert(!parent_freed)

inline head_lock(me, head)
{
	lock_bit(me, HEAD, LOCKED, SC, head)
}

inline head_unlock(me, head)
{
	store(me, HEAD, head, REL)
}

/* The table is on the list of what awaits a grace period. */
inline retire(me)
{
	atomic {
#ifndef RETIRE_RELAXED
		mutex_pass(me, DEFERRED);
#endif
		winners++;
		assert(winners == 1);
		retired = 1
	}
}

#ifndef QUEUE

/* ---- Unlinking --------------------------------------------------------------- */

inline evict(e)
{
#if defined(EVICT_EXCHANGE)
	exchange(RECLAIMER, PARENT, 0, ACQ_REL, e);
#elif defined(EVICT_STORE)
	load(RECLAIMER, PARENT, ACQ, e);
	if
	:: e == TABLE -> store(RECLAIMER, PARENT, 0, REL)
	:: else
	fi;
#else
	compare_exchange(RECLAIMER, PARENT, TABLE, 0, ACQ_REL, e);
#endif
	if
	:: e == TABLE -> retire(RECLAIMER)
	:: else
	fi;
	e = 0
}

/* Under the lock of the large unit, which nobody else wants here. */
inline collapse(e)
{
#ifdef COLLAPSE_STORE
	load(OTHER, PARENT, ACQ, e);
	if
	:: e == TABLE -> store(OTHER, PARENT, LARGE_LEAF, REL)
	:: else
	fi;
#else
	compare_exchange(OTHER, PARENT, TABLE, LARGE_LEAF, ACQ_REL, e);
#endif
	if
	:: e == TABLE ->
		coarse = 1;
		retire(OTHER)
	:: else
	fi;
	e = 0
}

/* ---- Taking apart ------------------------------------------------------------- */

inline take_apart(e, head)
{
	mutex_lock(RECLAIMER, WRITER);
	load(RECLAIMER, ENTRY(1), RLX, e);
	if
	:: e ->
#ifdef TAKE_UNLOCKED
		load(RECLAIMER, HEAD, ACQ, head);
		head_unlock(RECLAIMER, head & ~MAPPED(1))
#else
		head_lock(RECLAIMER, head);
		head_unlock(RECLAIMER, head & ~MAPPED(1))
#endif
	:: else
	fi;
	d_step {
		drained(RECLAIMER) ->
		freed = 1;
		assert((newest(HEAD) & MAPPED(1)) == 0)
	};
	mutex_unlock(RECLAIMER, WRITER);
	e = 0;
	head = 0
}

proctype reclaimer()
{
	WM_LOCALS;
	byte e, head;

	if
	:: evict(e)
	:: skip
	fi;
	do
	:: retired ->
#ifndef RETIRE_RELAXED
		atomic { mutex_pass(RECLAIMER, DEFERRED) };
#endif
#ifndef NO_GRACE
		rcu_synchronize(RECLAIMER);
#endif
		take_apart(e, head);
		break
	:: !retired && (done & 1) -> break
	od;
	forget(RECLAIMER);
	done = done + 2
}

/* ---- Others ------------------------------------------------------------------ */

inline walk(e, was)
{
	load(OTHER, PARENT, ACQ, e);
	if
	:: e == TABLE ->
		touch();
		load(OTHER, ENTRY(1), ACQ, e);
		touch();
		if
		:: e ->
#ifdef ACCESSED_STORE
			store(OTHER, ENTRY(1), e | ACCESSED, REL);
#else
			atomic {
				compare_exchange(OTHER, ENTRY(1), e, e | ACCESSED, ACQ_REL, was);
				noted = (was == e)
			};
#endif
			touch()
		:: else
		fi
	:: else
	fi;
	e = 0;
	was = 0
}

inline zap_page(head, e)
{
	load(OTHER, PARENT, ACQ, e);
	if
	:: e == TABLE ->
		touch();
		load(OTHER, ENTRY(1), ACQ, e);
		if
		:: e ->
			head_lock(OTHER, head);
			touch();
#ifndef ZAP_PAGE_BLIND
			load(OTHER, ENTRY(1), ACQ, e);
#endif
			if
			:: e ->
				assert(head & MAPPED(1));
				store(OTHER, ENTRY(1), 0, REL);
				head_unlock(OTHER, head & ~MAPPED(1))
			:: else -> head_unlock(OTHER, head)
			fi
		:: else
		fi
	:: else
	fi;
	head = 0;
	e = 0
}

proctype other()
{
	WM_LOCALS;
	byte e, was, head;

#ifndef ZAP_PAGE_OUTSIDE
	rcu_enter(OTHER);
#endif
#if defined(COLLAPSE)
	collapse(e);
#elif defined(WALK)
	walk(e, was);
#elif defined(ZAP_PAGE)
	zap_page(head, e);
#endif
#ifndef ZAP_PAGE_OUTSIDE
	rcu_leave(OTHER);
#endif
	forget(OTHER);
	drained(OTHER);
	done = done + 1
}

inline install(t, head, e)
{
	head_lock(FAULT, head);
	compare_exchange(FAULT, ENTRY(t), 0, LEAF | WRITABLE, ACQ_REL, e);
	if
	:: t == 1 -> touch()
	:: else
	fi;
#ifdef REVERSE_LATE
	head_unlock(FAULT, head);
	if
	:: e == 0 ->
		head_lock(FAULT, head);
		head_unlock(FAULT, head | MAPPED(t))
	:: else
	fi
#else
	if
	:: e == 0 -> head = head | MAPPED(t)
	:: else
	fi;
	head_unlock(FAULT, head)
#endif
}

proctype fault()
{
	WM_LOCALS;
	byte e, head;

	rcu_enter(FAULT);
	if
	::
		load(FAULT, PARENT, ACQ, e);
		if
		:: e == TABLE -> install(1, head, e)
		:: else
		fi
	:: install(2, head, e)
	fi;
	rcu_leave(FAULT);
	e = 0;
	head = 0;
	forget(FAULT);
	done = done + 4
}

inline zap_one(t, head)
{
	if
	:: head & MAPPED(t) ->
		if
		:: t == 1 -> touch()
		:: else
		fi;
		store(THIRD, ENTRY(t), 0, REL);
		head = head & ~MAPPED(t)
	:: else
	fi
}

inline zap(head)
{
#ifdef ZAP_UNLOCKED
	load(THIRD, HEAD, SC, head);
#else
	head_lock(THIRD, head);
#endif
	zap_one(1, head);
	zap_one(2, head);
	head_unlock(THIRD, head)
}

/* Takes WRITABLE. */
inline protect(head, e)
{
	head_lock(THIRD, head);
	if
	:: head & MAPPED(1) ->
		touch();
		load(THIRD, ENTRY(1), ACQ, e);
#ifdef CLEAR_LOST
		store(THIRD, ENTRY(1), e & ~WRITABLE, REL);
#else
		e = (e & WRITABLE -> 256 - WRITABLE : 0);
		fetch_add(THIRD, ENTRY(1), e, ACQ_REL, e);
#endif
	:: else
	fi;
	head_unlock(THIRD, head)
}

proctype third()
{
	WM_LOCALS;
	byte head, e;

#ifndef ZAP_NO_MUTEX
	mutex_lock(THIRD, WRITER);
#endif
#if defined(ZAP)
	zap(head);
#elif defined(PROTECT)
	protect(head, e);
#endif
#ifndef ZAP_NO_MUTEX
	mutex_unlock(THIRD, WRITER);
#endif
	e = 0;
	head = 0;
	forget(THIRD);
	done = done + 8
}

#define agree(t) ((newest(ENTRY(t)) != 0) == ((newest(HEAD) & MAPPED(t)) != 0))

init {
	atomic {
		init_loc(PARENT, TABLE);
		if
		:: init_loc(ENTRY(1), LEAF | WRITABLE);
		   init_loc(HEAD, MAPPED(1))
		:: skip
		fi;
		run reclaimer();
		run other();
		run fault();
		run third()
	};
	(done == 15);
	(drained(0) && drained(1) && drained(2) && drained(3));
	assert(agree(2));
	assert((freed -> (newest(HEAD) & MAPPED(1)) == 0 : agree(1)));
	assert(newest(HEAD) < 8 && (newest(HEAD) & LOCKED) == 0);
	assert((newest(PARENT) == LARGE_LEAF) == coarse);
#ifdef PROTECT
	assert(!noted || freed || (newest(ENTRY(1)) & ACCESSED))
#endif
}

#else /* QUEUE */

/* Under the lock of the queue. */
inline drain(me, r)
{
	exchange(me, NEW, 0, ACQ_REL, r);
	queued = (r -> 1 : queued);
	r = 0
}

/* A fault links the table, and puts it among the new ones. */
proctype maker()
{
	WM_LOCALS;
	byte e;

	rcu_enter(FAULT);
	load(FAULT, TOP, ACQ, e);
	if
	:: e ->
		touch_parent();
		compare_exchange(FAULT, PARENT, 0, TABLE, ACQ_REL, e);
		touch_parent();
		touch();
		store(FAULT, NEW, 1, REL)
	:: else
	fi;
	rcu_leave(FAULT);
	e = 0;
	forget(FAULT);
	done++
}

proctype evictor()
{
	WM_LOCALS;
	byte e;
	bit found;

	rcu_enter(OTHER);
	mutex_lock(OTHER, EVICT);
	drain(OTHER, e);
	found = queued;
#ifdef EVICT_UNLOCKED
	mutex_unlock(OTHER, EVICT);
#endif
	if
	:: found ->
		touch(); /* its parent and index */
		atomic {
			touch_parent();
			compare_exchange(OTHER, PARENT, TABLE, 0, ACQ_REL, e)
		};
		if
		:: e == TABLE ->
			queued = 0;
			retire(OTHER)
		:: else
		fi
	:: else
	fi;
#ifndef EVICT_UNLOCKED
	mutex_unlock(OTHER, EVICT);
#endif
	rcu_leave(OTHER);
	e = 0;
	found = 0;
	forget(OTHER);
	done++
}

/* Out of the queue; nobody can put it in again. */
inline unqueue(e)
{
	mutex_lock(RECLAIMER, EVICT);
#ifndef NO_DRAIN
	drain(RECLAIMER, e);
#endif
	queued = 0;
	mutex_unlock(RECLAIMER, EVICT)
}

proctype reclaimer()
{
	WM_LOCALS;
	byte e;

	exchange(RECLAIMER, TOP, 0, ACQ_REL, e);
	rcu_synchronize(RECLAIMER);
	/* The parent is taken apart, and with it what is still linked. */
	exchange(RECLAIMER, PARENT, 0, ACQ_REL, e);
	if
	:: e == TABLE ->
		winners++;
		assert(winners == 1);
#ifndef LEAVE_QUEUED
		unqueue(e);
#endif
		freed = 1
	:: else
	fi;
	parent_freed = 1;
	e = 0;
	forget(RECLAIMER);
	done++
}

init {
	atomic {
		init_loc(TOP, 1);
		run reclaimer();
		run maker();
		run evictor()
	};
	(done == 3);
	assert(!(freed && (queued || newest(NEW))))
}

#endif
