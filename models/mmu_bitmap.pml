/* SPDX-License-Identifier: MIT */
/*
 * mmu_bitmap.pml - without reverse maps: tables say which slots they map.
 *
 * A root has one table, and that one leaf, of a slot with a dense index. A commit removes
 * the slot and zaps from the root down, past tables whose bitmap does not have the index. Faults
 * link the table, set the bit on both levels, look at the snapshot again and install.
 * Asserted: the leaf is gone at the end.
 *
 * -DRENUMBER   a commit before that gives the slot another index, and sets its bit wherever the
 *              old one is set
 * -DSET        the bit of the upper level is set already, for another table
 * -DGROW       the bitmap of the upper level gets its second part meanwhile
 * -DSIBLINGS   each fault has a table of its own below the one
 * -DTEST_FIRST a bit that is set already is not set again
 *
 * Mutants, one flag each; what they omit:
 *   NO_RECHECK       the second load of the snapshot
 *   BIT_LATE         the bits before the second load
 *   ABOVE_LATE       the bit of the upper level before it
 *   NO_INDEX         the index from what is compared
 *   NO_REHOME        setting the new bit
 *   RECHECK_ACQUIRE  seq_cst: of the second load
 *   SET_ACQUIRE              of setting bits
 *   PRUNE_ACQUIRE            of the zap's look at bits
 *   ENTRY_ACQUIRE            of the zap's loads of entries, with SET and TEST_FIRST
 *   LINK_ACQUIRE             of linking the table, likewise
 *   SKIP_ABOVE       looking at the upper level when the lower one has the bit. As good, but not
 *                    with UPWARDS and SIBLINGS
 *   GROW_COPIES      leaving bits in the first part: the second gets a copy, and replaces it
 *   LOOKS_AGAIN      with GROW_COPIES: whoever set a bit in the first part looks for a second
 * As good:
 *   UPWARDS          sets the lower level's bit first
 */
#define NTHR 3
#define COMMITTER 0
#define SNAPSHOT 0
#define PARENT 1 /* the upper table's entry: 1: the table */
#ifdef SIBLINGS
#define ENTRY(v) (6 * (v) - 4) /* of the vCPU's own table; and its lock */
#define LOCK(v) (6 * (v) - 3)
#else
#define ENTRY(v) 2
#define LOCK(v) 3
#endif
#define BELOW(i) (4 + (i)) /* bits of the table: indexes 0 and 1 */
#ifdef GROW
#define MORE 5     /* the upper table has a second part of its bitmap */
#define ABOVE(i) 6 /* bit of index 0 in the first */
#define SECOND 7   /* and, where there are copies, in the second */
#else
#define ABOVE(i) (6 + (i))
#endif
#ifdef SIBLINGS
#define NLOC 10
#else
#define NLOC 8
#endif
#define NMUTEX 1
#define NMSG 14
#define NQUEUE 4
#include "wm.h"

#define GONE 2 /* snapshot 0: index 0, 1: index 1, 2: no slot */
#ifdef NO_INDEX
#define differ(s, now) (((s) == GONE) != ((now) == GONE))
#else
#define differ(s, now) ((s) != (now))
#endif

#ifdef RECHECK_ACQUIRE
#define RECHECK ACQ
#else
#define RECHECK SC
#endif
#ifdef SET_ACQUIRE
#define SET_BIT ACQ_REL
#else
#define SET_BIT SC
#endif
#ifdef PRUNE_ACQUIRE
#define PRUNE ACQ
#else
#define PRUNE SC
#endif
#ifdef ENTRY_ACQUIRE
#define DESCEND ACQ
#else
#define DESCEND SC
#endif
#ifdef LINK_ACQUIRE
#define LINK ACQ_REL
#else
#define LINK SC
#endif

byte done;

/* ---- Faults ----------------------------------------------------------------- */

inline set_bit(me, l, r)
{
#ifdef TEST_FIRST
	load(me, l, ACQ, r);
	if
	:: r
	:: else -> exchange(me, l, 1, SET_BIT, r)
	fi
#else
	exchange(me, l, 1, SET_BIT, r)
#endif
}

inline set_above(me, i, r)
{
#ifdef GROW
	load(me, MORE, SC, r);
#ifdef GROW_COPIES
	if
	:: r -> exchange(me, SECOND, 1, SC, r)
	:: else ->
		exchange(me, ABOVE(i), 1, SC, r);
#ifdef LOOKS_AGAIN
		load(me, MORE, SC, r);
		if
		:: r -> exchange(me, SECOND, 1, SC, r)
		:: else
		fi
#endif
	fi
#else
	exchange(me, ABOVE(i), 1, SC, r)
#endif
#else
	set_bit(me, ABOVE(i), r)
#endif
}

inline set_bits(me, i, r)
{
#ifdef SKIP_ABOVE
	load(me, BELOW(i), ACQ, r);
	if
	:: r
	:: else ->
#endif
#ifdef UPWARDS
	set_bit(me, BELOW(i), r);
	set_above(me, i, r);
#elif defined(ABOVE_LATE)
	set_bit(me, BELOW(i), r);
#else
	set_above(me, i, r);
	set_bit(me, BELOW(i), r);
#endif
#ifdef SKIP_ABOVE
	fi;
#endif
	r = 0
}

inline install(me, s, r)
{
#ifdef BIT_LATE
	set_bits(me, s, r);
#endif
#ifdef ABOVE_LATE
	set_above(me, s, r);
	r = 0;
#endif
	store(me, ENTRY(me), 1, REL)
}

/* In r whether the slot was there; the snapshot's number is the index. */
inline fault(me, s, now, r, ok)
{
	do
	:: ok -> break
	:: else ->
		load(me, SNAPSHOT, ACQ, s);
		if
		:: s == GONE -> ok = 1
		:: else ->
			compare_exchange(me, PARENT, 0, 1, LINK, r);
			lock_bit(me, LOCK(me), 1, ACQ_REL, r);
#ifndef BIT_LATE
			set_bits(me, s, r);
#endif
			load(me, SNAPSHOT, RECHECK, now);
#ifdef NO_RECHECK
			now = s;
#endif
			if
			:: differ(s, now)
			:: else ->
				install(me, s, r);
				ok = 1
			fi;
			store(me, LOCK(me), 0, REL)
		fi
	od
}

proctype vcpu(byte me)
{
	WM_LOCALS;
	byte s, now, r;
	bit ok;

	rcu_enter(me);
	fault(me, s, now, r, ok);
	rcu_leave(me);
	s = 0;
	now = 0;
	r = 0;
	ok = 0;
	forget(me);
	done++
}

#ifdef GROW
proctype grower()
{
	WM_LOCALS;
	byte r;

	rcu_enter(2);
#ifdef GROW_COPIES
	load(2, ABOVE(0), SC, r);
	store(2, SECOND, r, RLX);
#endif
	compare_exchange(2, MORE, 0, 1, SC, r);
	rcu_leave(2);
	r = 0;
	forget(2);
	done++
}
#endif

/* ---- Commits ----------------------------------------------------------------- */

/* Does the upper table have the bit? */
inline look_above(i, r)
{
#if defined(GROW) && defined(GROW_COPIES)
	load(COMMITTER, MORE, SC, r);
	if
	:: r -> load(COMMITTER, SECOND, SC, r)
	:: else -> load(COMMITTER, ABOVE(i), SC, r)
	fi
#else
	load(COMMITTER, ABOVE(i), PRUNE, r)
#endif
}

inline zap_table(v, r)
{
	lock_bit(COMMITTER, LOCK(v), 1, ACQ_REL, r);
	store(COMMITTER, ENTRY(v), 0, REL);
	store(COMMITTER, LOCK(v), 0, REL)
}

inline zap(i, r)
{
	look_above(i, r);
	if
	:: r -> load(COMMITTER, PARENT, DESCEND, r)
	:: else
	fi;
	if
	:: r -> load(COMMITTER, BELOW(i), PRUNE, r)
	:: else
	fi;
	if
	:: r ->
		zap_table(1, r);
#ifdef SIBLINGS
		zap_table(2, r)
#endif
	:: else
	fi;
	r = 0
}

#ifdef RENUMBER
inline rehome(r)
{
#ifndef NO_REHOME
	load(COMMITTER, ABOVE(0), PRUNE, r);
	if
	:: r ->
		exchange(COMMITTER, ABOVE(1), 1, SET_BIT, r);
		load(COMMITTER, PARENT, DESCEND, r);
		if
		:: r -> load(COMMITTER, BELOW(0), PRUNE, r)
		:: else
		fi;
		if
		:: r -> exchange(COMMITTER, BELOW(1), 1, SET_BIT, r)
		:: else
		fi
	:: else
	fi;
#endif
	r = 0
}
#endif

proctype committer()
{
	WM_LOCALS;
	byte r;

#ifdef RENUMBER
	store(COMMITTER, SNAPSHOT, 1, SC);
	rehome(r);
	store(COMMITTER, SNAPSHOT, GONE, SC);
	zap(1, r);
#else
	store(COMMITTER, SNAPSHOT, GONE, SC);
	zap(0, r);
#endif
	forget(COMMITTER);
	done++
}

init {
	atomic {
#ifdef SET
		init_loc(ABOVE(0), 1);
#endif
		run committer();
		run vcpu(1);
#ifdef GROW
		run grower()
#else
		run vcpu(2)
#endif
	};
	(done == 3);
	(drained(0) && drained(1) && drained(2));
	assert(newest(ENTRY(1)) == 0 && newest(ENTRY(2)) == 0)
}
