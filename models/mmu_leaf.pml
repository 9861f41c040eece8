/* SPDX-License-Identifier: MIT */
/*
 * mmu_leaf.pml - two sizes of leaves: zap, split, large and small faults, collapse.
 *
 * A unit of two pages, a and b. A commit removes a; b stays, but no large leaf may have it
 * then. The zap goes over the head of the large unit first, where it splits what it finds, then
 * over the head of a. Faults of before install a large leaf, also in the place of a table (which
 * they retire), or a small one, also in a table that is not linked any more. Asserted at the end:
 * no table in the root has a (T1); b is mapped if it was (T2), at every moment; leaves and reverse
 * maps agree in all tables, those that wait to be taken apart included (M2).
 *
 * -DSTART=n   0: nothing is mapped, 1: a large leaf, 2: a table with a and b
 * -DWALK      somebody looks b up all the time
 * -DZAP_PAGE  b is zapped, as mslot_zap_page() does; nobody faults, and it stays gone
 *
 * Mutants, one flag each; what they omit:
 *   FINE_FIRST           the zap of the large unit before that of the pages
 *   SPLIT_ALL            filling a table with what stays only. As good, but not with FINE_FIRST
 *   NO_RECHECK_LARGE     the second load of the snapshot, in the fault for a large leaf
 *   RECHECK_LARGE_FIRST  the lock before it
 *   NO_RECHECK_SMALL     the same in the fault for a small one
 *   SPLIT_UNLOCKED       the lock of the large unit in a split
 *   LINK_FIRST           reverse maps before the table is linked
 *   LINK_EMPTY           leaves before the table is linked
 *   COLLAPSE_CLEARS      replacing a table by a leaf in one step: clears the entry first
 */
#define COMMITTER 0
#define SMALL 1
#define LARGE 2
#define OTHER 3
#if defined(WALK) || defined(ZAP_PAGE)
#define NTHR 4
#else
#define NTHR 3
#endif
#define SNAPSHOT 0
#define PARENT 1 /* the entry of the unit */
#define COARSE 2 /* head of the unit */
#define FINE(x) (3 + (x)) /* heads of pages a and b */
#define ENTRY(t, x) (3 + 2 * (t) + (x)) /* in tables 1 and 2 */
#define NLOC 9
#define NMUTEX 1
#define NMSG 12
#define NQUEUE 4
#include "wm.h"

#define A 0
#define B 1
/* The entry of the unit; a table's is 1 + its number. */
#define LEAF 1
#define TABLE(t) (1 + (t))
#define number(e) ((e) - 1)
/* Heads: the lock, and leaves in the reverse map. */
#define LOCKED 1
#define MAPPED(t) (1 << (t)) /* of table t; of a large leaf MAPPED(1) */
#ifndef START
#define START 2
#endif

#ifdef NO_RECHECK_LARGE
#define LARGE_NOW(s, now) (s)
#else
#define LARGE_NOW(s, now) (now)
#endif
#ifdef NO_RECHECK_SMALL
#define SMALL_NOW(s, now) (s)
#else
#define SMALL_NOW(s, now) (now)
#endif

byte done;

inline head_unlock(me, l, head)
{
	store(me, l, head, REL)
}

/* ---- Faults ----------------------------------------------------------------- */

/* Under the lock of the unit; ok: nobody came in between. */
inline install_large(head, e, was, ok)
{
	load(LARGE, PARENT, ACQ, e);
	if
	:: e == LEAF -> ok = 1
	:: else ->
#ifdef COLLAPSE_CLEARS
		if
		:: e -> compare_exchange(LARGE, PARENT, e, 0, ACQ_REL, was); e = 0
		:: else
		fi;
#endif
		compare_exchange(LARGE, PARENT, e, LEAF, ACQ_REL, was);
		ok = (was == e);
		head = (ok -> MAPPED(1) : head)
	fi
}

proctype fault_large()
{
	WM_LOCALS;
	byte s, now, head, e, was;
	bit ok;

	rcu_enter(LARGE);
	do
	:: ok -> break
	:: else ->
		load(LARGE, SNAPSHOT, ACQ, s);
		if
		:: s -> ok = 1
		:: else ->
#ifdef RECHECK_LARGE_FIRST
			load(LARGE, SNAPSHOT, SC, now);
			lock_bit(LARGE, COARSE, LOCKED, SC, head);
#else
			lock_bit(LARGE, COARSE, LOCKED, SC, head);
			load(LARGE, SNAPSHOT, SC, now);
#endif
			if
			:: LARGE_NOW(s, now) == s -> install_large(head, e, was, ok)
			:: else
			fi;
			head_unlock(LARGE, COARSE, head)
		fi
	od;
	rcu_leave(LARGE);
	s = 0;
	now = 0;
	head = 0;
	e = 0;
	was = 0;
	ok = 0;
	forget(LARGE);
	done++
}

/* The table, made if there is none; 0 when a large leaf is there. */
inline walk(e, was)
{
	load(SMALL, PARENT, ACQ, e);
	if
	:: e == 0 ->
		compare_exchange(SMALL, PARENT, 0, TABLE(1), ACQ_REL, was);
		e = (was -> was : TABLE(1))
	:: else
	fi;
	was = 0
}

proctype fault_small()
{
	WM_LOCALS;
	byte s, now, head, e, was, x;
	bit ok;

	if
	:: x = A
	:: x = B
	fi;
	rcu_enter(SMALL);
	do
	:: ok -> break
	:: else ->
		load(SMALL, SNAPSHOT, ACQ, s);
		if
		:: s && x == A -> e = 0
		:: else -> walk(e, was)
		fi;
		if
		:: e <= LEAF -> ok = 1 /* no slot; or it is mapped, and right */
		:: else ->
			lock_bit(SMALL, FINE(x), LOCKED, SC, head);
			load(SMALL, SNAPSHOT, SC, now);
			if
			:: x == B || SMALL_NOW(s, now) == s ->
				compare_exchange(SMALL, ENTRY(number(e), x), 0, 1, ACQ_REL, was);
				head = (was -> head : head | MAPPED(number(e)));
				ok = 1
			:: else
			fi;
			head_unlock(SMALL, FINE(x), head)
		fi
	od;
	rcu_leave(SMALL);
	s = 0;
	now = 0;
	head = 0;
	e = 0;
	was = 0;
	ok = 0;
	x = 0;
	forget(SMALL);
	done++
}

/* ---- The commit -------------------------------------------------------------- */

inline add_reverse(x, fine)
{
	lock_bit(COMMITTER, FINE(x), LOCKED, SC, fine);
	head_unlock(COMMITTER, FINE(x), fine | MAPPED(2));
	fine = 0
}

inline fill_leaf(x, fine)
{
#ifdef LINK_FIRST
	store(COMMITTER, ENTRY(2, x), 1, REL)
#else
	lock_bit(COMMITTER, FINE(x), LOCKED, SC, fine);
	store(COMMITTER, ENTRY(2, x), 1, REL);
	head_unlock(COMMITTER, FINE(x), fine | MAPPED(2));
	fine = 0
#endif
}

inline fill_table(fine)
{
#ifdef SPLIT_ALL
	fill_leaf(A, fine);
#endif
	fill_leaf(B, fine)
}

/* Under the lock of the unit. */
inline split(fine, e)
{
#ifdef LINK_EMPTY
	exchange(COMMITTER, PARENT, TABLE(2), ACQ_REL, e);
	fill_table(fine);
#else
	fill_table(fine);
	exchange(COMMITTER, PARENT, TABLE(2), ACQ_REL, e);
#endif
	e = 0;
#ifdef LINK_FIRST
#ifdef SPLIT_ALL
	add_reverse(A, fine);
#endif
	add_reverse(B, fine)
#endif
}

inline zap_coarse(head, fine, e)
{
	load(COMMITTER, COARSE, SC, head);
	if
	:: head ->
#ifdef SPLIT_UNLOCKED
		(newest(COARSE) & LOCKED) == 0;
		load(COMMITTER, COARSE, ACQ, head);
#else
		lock_bit(COMMITTER, COARSE, LOCKED, ACQ_REL, head);
#endif
		if
		:: head & MAPPED(1) -> split(fine, e)
		:: else
		fi;
		head_unlock(COMMITTER, COARSE, 0)
	:: else
	fi;
	head = 0
}

inline zap_fine(head)
{
	load(COMMITTER, FINE(A), SC, head);
	if
	:: head ->
		lock_bit(COMMITTER, FINE(A), LOCKED, ACQ_REL, head);
		if
		:: head & MAPPED(1) -> store(COMMITTER, ENTRY(1, A), 0, REL)
		:: else
		fi;
		if
		:: head & MAPPED(2) -> store(COMMITTER, ENTRY(2, A), 0, REL)
		:: else
		fi;
		head_unlock(COMMITTER, FINE(A), 0)
	:: else
	fi;
	head = 0
}

proctype committer()
{
	WM_LOCALS;
	byte head, fine, e;

	store(COMMITTER, SNAPSHOT, 1, SC);
#ifdef FINE_FIRST
	zap_fine(head);
	zap_coarse(head, fine, e);
#else
	zap_coarse(head, fine, e);
	zap_fine(head);
#endif
	forget(COMMITTER);
	done++
}

/* ---- Others ------------------------------------------------------------------ */

#ifdef WALK
proctype walker()
{
	WM_LOCALS;
	byte e, leaf;

	rcu_enter(OTHER);
	load(OTHER, PARENT, ACQ, e);
	if
	:: e > LEAF -> load(OTHER, ENTRY(number(e), B), ACQ, leaf)
	:: else -> leaf = e
	fi;
	assert(leaf);
	rcu_leave(OTHER);
	e = 0;
	leaf = 0;
	forget(OTHER);
	done++
}
#endif

#ifdef ZAP_PAGE
inline zap_large(head, e, found)
{
	lock_bit(OTHER, COARSE, LOCKED, ACQ_REL, head);
	load(OTHER, PARENT, ACQ, e);
	if
	:: e == LEAF ->
		store(OTHER, PARENT, 0, REL);
		head = head & ~MAPPED(1);
		found = 1
	:: else
	fi;
	head_unlock(OTHER, COARSE, head)
}

inline zap_small(head, e, leaf)
{
	lock_bit(OTHER, FINE(B), LOCKED, ACQ_REL, head);
	load(OTHER, ENTRY(number(e), B), ACQ, leaf);
	if
	:: leaf ->
		store(OTHER, ENTRY(number(e), B), 0, REL);
		head = head & ~MAPPED(number(e))
	:: else
	fi;
	head_unlock(OTHER, FINE(B), head)
}

proctype zap_page()
{
	WM_LOCALS;
	byte head, e, leaf;
	bit found;

	rcu_enter(OTHER);
	do
	:: found -> break
	:: else ->
		load(OTHER, PARENT, ACQ, e);
		if
		:: e == 0 -> found = 1
		:: e == LEAF -> zap_large(head, e, found)
		:: else ->
			zap_small(head, e, leaf);
			found = 1
		fi
	od;
	rcu_leave(OTHER);
	head = 0;
	e = 0;
	leaf = 0;
	found = 0;
	forget(OTHER);
	done++
}
#endif

#define reached(x)                                                                                 \
	(newest(PARENT) == LEAF ||                                                                 \
	 (newest(PARENT) > LEAF && newest(ENTRY(number(newest(PARENT)), x))))
#define agree(t, x) ((newest(ENTRY(t, x)) != 0) == ((newest(FINE(x)) & MAPPED(t)) != 0))

init {
	atomic {
#if START == 1
		init_loc(PARENT, LEAF);
		init_loc(COARSE, MAPPED(1));
#elif START == 2
		init_loc(PARENT, TABLE(1));
		init_loc(ENTRY(1, A), 1);
		init_loc(ENTRY(1, B), 1);
		init_loc(FINE(A), MAPPED(1));
		init_loc(FINE(B), MAPPED(1));
#endif
		run committer();
#ifdef ZAP_PAGE
		run zap_page();
		done = done + 2;
#else
		run fault_small();
		run fault_large();
#ifdef WALK
		run walker()
#else
		done++
#endif
#endif
	};
	(done == 4);
	(drained(0) && drained(1) && drained(2) && drained(NTHR - 1));
	assert(!reached(A));
#ifdef ZAP_PAGE
	assert(!reached(B));
#elif START > 0
	assert(reached(B));
#endif
	assert(agree(1, A) && agree(1, B) && agree(2, A) && agree(2, B));
	assert((newest(PARENT) == LEAF) == ((newest(COARSE) & MAPPED(1)) != 0))
}
