/* SPDX-License-Identifier: MIT */
/*
 * dirty.pml - marking, harvests, write leases, logging that goes on, and the final harvest
 * (src/log, src/dirty, src/map: logging.c, lease.c).
 *
 * One page of one extent. Its data are two words, each with one writer: thread 0 writes
 * through the library, thread 1 is a second such writer or a device under a write lease.
 * A bitmap is one bit and one summary bit; `live` says which of the two bitmaps is it, the
 * other one is `spare`. Consumers harvest, copy what is reported, and end the batch.
 *
 * -DCONSUMERS=n -DHARVESTS=n -DWRITES=n (of thread 0) choose the size, and
 *   -DHOLD_WRITER   thread 1 stores outside sections, as through a held snapshot
 *   -DLEASE         thread 1 takes a write lease; -DLEASE_HOLD: on a held snapshot
 *   -DBEGIN         the slot is logged from the commit of the consumer on
 *   -DFINAL         a commit deletes the slot; another slot keeps the extent
 * What is asserted:
 *   D1  when all is quiet, a last harvest leaves each consumer with the newest data; after a
 *       delete, it or the final harvest has them
 *   D2  a page reported clean holds no write that had completed before the harvest began,
 *       and that this consumer has not copied; in C11, that it was told of
 *   a harvest that begins and ends within a write lease reports its page
 *   G3  when a harvest begins, `spare` is clear
 *
 * Variants that are as good:
 *   SWAP_RELEASE     a release store of `live` instead of the exchange
 *   CLEAN=RLX        the clean check without acquire
 *   MARK_FIRST       marking before the data are stored or the lease is taken, in one section
 *   REPORT_LATER     pages of active write leases only marked, not also reported
 * Mutants, one flag each; what they omit:
 *   LOAD_LIVE=RLX SWAP=RLX      the order of clearing a bitmap and making it live
 *   TEST=RLX SET_BIT=RLX        the order of another writer's summary bit and its skip
 *   SUMMARY_LATE     setting the summary bit before the bit
 *   MARK_FIRST       with HOLD_WRITER or LEASE_HOLD: storing or taking before marking
 *   MARK_OUTSIDE     marking inside a section
 *   NO_GRACE         the grace period of a harvest
 *   COPY_EARLY       copying after the grace period
 *   CLEAR_EARLY      clearing the old bits after the grace period
 *   FANOUT_UNLOCKED  the harvest lock from the grace period on
 *   TAKE_UNLOCKED    the harvest lock while the own set is taken
 *   FANOUT_OWN       the sets of the other consumers
 *   ACK_FRESH        clearing no more than the batch: what came in since stays
 *   ACK_ALL          clearing no more than the batch: pages its snapshot does not have stay
 *   NACK_CLEARS      keeping the batch of a copy that failed
 *   SCAN_EARLY       looking for write leases after the grace period
 *   SCAN_NO_MARK     marking their pages again
 *   SCAN_CURRENT     looking them up in the harvest's own snapshot
 *   PUT_RELAXED SCAN=RLX        the order of the device's stores and the put
 *   BEGUN_NO_HOLDS FINAL_NO_HOLDS   waiting for holds older than the commit
 *   BEGUN_NO_GRACE   waiting for sections without log before the bulk copy
 *   BEGUN_NO_SCAN    marking the leases that are older than the log
 *   BEGUN_SCAN_EARLY BEGUN_SCAN_LATE   doing so between grace period and bulk copy
 *   FINAL_NO_GRACE FINAL_NO_DRAIN FINAL_UNLOCKED   one step of the final harvest each
 *   DRAIN=RLX        the order of the device's stores and the final copy
 *   SAME_EXTENT      giving the successor of the deleted slot an extent of its own
 */
#ifndef CONSUMERS
#define CONSUMERS 1
#endif
#ifndef HARVESTS
#define HARVESTS 2
#endif
#ifndef WRITES
#define WRITES 1
#endif
#ifdef LEASE_HOLD
#define LEASE
#endif
#if defined(BEGIN) || defined(FINAL)
#define SNAPSHOTS
#endif

#define CONSUMER(c) (2 + (c))
#define COMMITTER (2 + CONSUMERS)
#ifdef FINAL
#define NTHR (3 + CONSUMERS)
#else
#define NTHR (2 + CONSUMERS)
#endif

#define LIVE 0 /* which bitmap */
#define BIT(l) (1 + (l))
#define SUMMARY(l) (3 + (l))
#define DATA(w) (5 + (w))
#define STATE 7 /* of the lease */
#ifdef LEASE
#define SNAPSHOT 8
#else
#define SNAPSHOT 7
#endif
#ifdef SNAPSHOTS
#define NLOC (SNAPSHOT + 1)
#else
#define NLOC SNAPSHOT
#endif
#define H 0 /* harvest lock */
#define NMUTEX 1
#ifndef NMSG
#define NMSG 7
#endif
#define NQUEUE 4
#include "wm.h"

/* STATE */
#define ACTIVE 1
#define ENDED 2
/* SNAPSHOT: the page is there and logged */
#ifdef BEGIN
#define logged(s) ((s) == 1)
#elif defined(SAME_EXTENT)
#define logged(s) true
#else
#define logged(s) ((s) == 0)
#endif
#ifdef FINAL
#define mapped(s) ((s) == 0) /* else the successor is, with memory of its own */
#else
#define mapped(s) true
#endif

/* Orders: cases.txt relaxes each with -D. */
#ifndef LOAD_LIVE
#define LOAD_LIVE ACQ
#endif
#ifndef TEST
#define TEST ACQ
#endif
#ifndef SET_BIT
#define SET_BIT REL
#endif
#ifndef SWAP
#define SWAP ACQ_REL
#endif
#ifndef CLEAN
#define CLEAN ACQ
#endif
#ifndef SCAN
#define SCAN ACQ
#endif
#ifndef DRAIN
#define DRAIN ACQ
#endif

typedef Words {
	byte word[2]
};

Words img[CONSUMERS];  /* what each consumer has copied */
bit fresh[CONSUMERS];  /* sets; harvest lock */
bit batch[CONSUMERS];  /* taken under the harvest lock, ended without */
byte comp[2];          /* writes of each thread that have completed */
bit holding;           /* thread 1 has a hold that may be older than the commit */
bit held;              /* thread 1 has the lease, and has not begun to put it */
byte done;

#ifdef TSO
#define tell(w) skip
#define learn(me, w) skip
#else
View told[2]; /* what the thread knew when its newest write completed */

inline tell(w)
{
	d_step {
		k_ = 0;
		do
		:: k_ < NLOC -> told[w].at[k_] = view[w].at[k_]; k_++
		:: else -> break
		od
	}
}

inline learn(me, w)
{
	d_step { JOIN(view[me].at, told[w].at) }
}
#endif

/* What a consumer knows to be complete: on x86 all of it, by the clock; in C11 what it is told. */
inline know(me)
{
	if
	:: comp[0] > 0 -> learn(me, 0); pre[0] = comp[0]
#ifndef TSO
	:: true
#else
	:: else
#endif
	fi;
	if
	:: comp[1] > 0 || held -> learn(me, 1); pre[1] = comp[1]; within = held
#ifndef TSO
	:: true
#else
	:: else
#endif
	fi
}

inline complete(me, n)
{
	comp[me] = n;
	tell(me)
}

#include "dirty_writers.pml"

/* logging_mark_write_leases(), as far as the snapshot s shows the page. */
inline scan(me, s, st, cur, b, bits)
{
#ifdef LEASE
	if
	:: mapped(s) ->
		load(me, STATE, SCAN, st);
		if
		:: st == ACTIVE ->
			st = 0;
#ifndef SCAN_NO_MARK
			mark(me, cur, b);
#endif
#ifndef REPORT_LATER
			bits = 1
#endif
		:: else -> st = 0
		fi
	:: else
	fi
#else
	skip
#endif
}

/* What was live is read and cleared. */
inline take_old(me, old, b, bits)
{
	load(me, SUMMARY(old), RLX, b);
	if
	:: b -> load(me, BIT(old), RLX, b); bits = bits | b
	:: else
	fi;
	b = 0;
	store(me, BIT(old), 0, RLX);
	store(me, SUMMARY(old), 0, RLX)
}

inline fan_out(me, bits)
{
#ifdef FANOUT_OWN
	fresh[me - CONSUMER(0)] = fresh[me - CONSUMER(0)] | bits;
#else
	fresh[0] = fresh[0] | bits;
#if CONSUMERS > 1
	fresh[1] = fresh[1] | bits;
#endif
#endif
	bits = 0
}

/* The harvest of an extent that is not clean, for a batch of snapshot s. */
inline take_marks(me, s, old, st, cur, b, bits)
{
#ifdef SWAP_RELEASE
	store(me, LIVE, 1 - old, REL);
#else
	exchange(me, LIVE, 1 - old, SWAP, b);
#endif
#ifdef COPY_EARLY
	load(me, DATA(0), RLX, early.word[0]);
	load(me, DATA(1), RLX, early.word[1]);
#endif
#ifdef CLEAR_EARLY
	take_old(me, old, b, bits);
#endif
#ifdef FANOUT_UNLOCKED
	mutex_unlock(me, H);
#endif
#ifdef SCAN_EARLY
	scan(me, s, st, cur, b, bits);
#endif
#ifndef NO_GRACE
	rcu_synchronize(me);
#endif
#ifndef SCAN_EARLY
#ifdef SCAN_CURRENT
	load(me, SNAPSHOT, ACQ, now);
	scan(me, now, st, cur, b, bits);
	now = 0;
#else
	scan(me, s, st, cur, b, bits);
#endif
#endif
#ifndef CLEAR_EARLY
	take_old(me, old, b, bits);
#endif
	b = 0;
	fan_out(me, bits)
}

/* mslot_dirty_get(), to the point where the batch is the consumer's. */
inline get(me, c, s, old, st, cur, b, bits)
{
	atomic {
		mutex_lock(me, H);
		know(me);
		load(me, LIVE, RLX, old);
#ifdef CHECK_SPARE
		assert(newest(BIT(1 - old)) == 0 && newest(SUMMARY(1 - old)) == 0);
#endif
		load(me, SUMMARY(old), CLEAN, b)
	};
	if
	:: b == 0
	:: take_marks(me, s, old, st, cur, b, bits); /* another page is dirty, or this one */
#ifdef FANOUT_UNLOCKED
		mutex_lock(me, H)
#endif
	fi;
	old = 0;
#ifdef TAKE_UNLOCKED
	mutex_unlock(me, H);
	batch[c] = batch[c] | fresh[c];
	fresh[c] = 0
#else
	atomic {
		batch[c] = batch[c] | fresh[c];
		fresh[c] = 0;
		mutex_unlock(me, H)
	}
#endif
}

inline copy(me, c)
{
#ifdef COPY_EARLY
	img[c].word[0] = (early.word[0] > img[c].word[0] -> early.word[0] : img[c].word[0]);
	img[c].word[1] = (early.word[1] > img[c].word[1] -> early.word[1] : img[c].word[1])
#else
	load(me, DATA(0), RLX, img[c].word[0]);
	load(me, DATA(1), RLX, img[c].word[1])
#endif
}

inline check_report(c, s)
{
	d_step {
		assert(batch[c] || !mapped(s) ||
		       (img[c].word[0] >= pre[0] && img[c].word[1] >= pre[1]));
		assert(batch[c] || !mapped(s) || !within || !held);
		pre[0] = 0;
		pre[1] = 0;
		within = 0
	}
}

/* mslot_dirty_ack(), after the pages of the batch's snapshot were copied, or mslot_dirty_nack(). */
inline end_batch(me, c, s)
{
	if
	:: batch[c] && mapped(s) ->
		copy(me, c);
		batch[c] = 0;
#ifdef ACK_FRESH
		fresh[c] = 0
#endif
	:: batch[c] ->
#ifdef NACK_CLEARS
		batch[c] = 0
#endif
#if defined(ACK_ALL) || defined(SAME_EXTENT)
	:: batch[c] && !mapped(s) -> batch[c] = 0
#endif
	:: else
	fi
}

#ifdef BEGIN
/* mslot_dirty_create(), and the first copy of everything. */
inline begin(me, c, st, cur, b, bits)
{
	store(me, SNAPSHOT, 1, SC);
#ifdef BEGUN_SCAN_EARLY
	scan(me, 1, st, cur, b, bits);
#endif
#ifndef BEGUN_NO_GRACE
	rcu_synchronize(me);
#endif
#ifndef BEGUN_NO_HOLDS
	wait_for_hold(me);
#endif
#ifdef BEGUN_SCAN_LATE
	copy(me, c);
#endif
#if !defined(BEGUN_NO_SCAN) && !defined(BEGUN_SCAN_EARLY)
	scan(me, 1, st, cur, b, bits);
#endif
#ifndef BEGUN_SCAN_LATE
	copy(me, c);
#endif
	bits = 0
}
#endif

proctype consumer(byte me, c)
{
	WM_LOCALS;
	byte n, s, old, st, cur, b, now;
	bit bits, within;
	byte pre[2];
#ifdef COPY_EARLY
	Words early;
#endif

#ifdef BEGIN
	begin(me, c, st, cur, b, bits);
#endif
	do
	:: n < HARVESTS ->
		n++;
#ifdef FINAL
		rcu_enter(me);
		load(me, SNAPSHOT, ACQ, s);
		rcu_leave(me);
#endif
		get(me, c, s, old, st, cur, b, bits);
		check_report(c, s);
		end_batch(me, c, s);
		s = 0
	:: else -> break
	od;
	atomic {
		forget(me);
		n = 0;
		done++
	}
}

#ifdef FINAL
Words last; /* what the final harvest copied */
bit reported;

/* A commit that deletes the slot, mslot_final_wait(), mslot_final_get(), and the copy. */
proctype committer()
{
	WM_LOCALS;
	byte cur, b;

	store(COMMITTER, SNAPSHOT, 1, SC);
#ifndef FINAL_NO_GRACE
	rcu_synchronize(COMMITTER);
#endif
#ifndef FINAL_NO_HOLDS
	wait_for_hold(COMMITTER);
#endif
#if defined(LEASE) && !defined(FINAL_NO_DRAIN)
	do
	:: load(COMMITTER, STATE, DRAIN, b);
		if
		:: b != ACTIVE -> break
		:: else -> (newest(STATE) != ACTIVE)
		fi
	od;
#endif
#ifndef FINAL_UNLOCKED
	mutex_lock(COMMITTER, H);
#endif
	load(COMMITTER, LIVE, ACQ, cur);
	load(COMMITTER, BIT(cur), RLX, b);
	reported = b;
	reported = reported | fresh[0];
	reported = reported | batch[0];
#ifndef FINAL_UNLOCKED
	mutex_unlock(COMMITTER, H);
#endif
	load(COMMITTER, DATA(0), RLX, last.word[0]);
	load(COMMITTER, DATA(1), RLX, last.word[1]);
	atomic {
		forget(COMMITTER);
		cur = 0;
		b = 0;
		done++
	}
}
#endif

/* All is quiet: one more harvest by each consumer, or the final one, has the rest. */
inline check_nothing_lost(c)
{
#ifdef FINAL
	assert((reported -> last.word[0] : img[c].word[0]) == newest(DATA(0)));
	assert((reported -> last.word[1] : img[c].word[1]) == newest(DATA(1)))
#else
	assert(fresh[c] || batch[c] || img[c].word[0] == newest(DATA(0)));
	assert(fresh[c] || batch[c] || img[c].word[1] == newest(DATA(1)))
#endif
}

init {
	atomic {
		run writer(0, WRITES);
#ifdef LEASE
		run device();
#elif defined(HOLD_WRITER)
		run hold_writer();
#else
		run writer(1, 1);
#endif
		run consumer(CONSUMER(0), 0);
#if CONSUMERS > 1
		run consumer(CONSUMER(1), 1);
#endif
#ifdef FINAL
		run committer();
#endif
	};
	atomic {
		done == NTHR && drained(0) && drained(1) && drained(2) && drained(NTHR - 1);
		if
		:: newest(SUMMARY(newest(LIVE))) && newest(BIT(newest(LIVE))) ->
			fresh[0] = 1;
#if CONSUMERS > 1
			fresh[1] = 1
#endif
		:: else
		fi;
		check_nothing_lost(0);
#if CONSUMERS > 1
		check_nothing_lost(1)
#endif
	}
}
