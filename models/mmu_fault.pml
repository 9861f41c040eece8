/* SPDX-License-Identifier: MIT */
/*
 * mmu_fault.pml - publish, fault and zap of one frame, and frames that die with their slots.
 *
 * A commit takes a page away while vCPUs look the entry up, fault, and cache what they found.
 * The frame's head is in a chunk that the first fault makes. A wait follows the commit. Asserted:
 * after it no vCPU uses the page and the entry does not have it (T1); at the end a leaf is in the
 * reverse map that can be found (M2); no head is touched in a chunk that was freed.
 *
 * -DDIE      the commit leaves the chunk without slots, so that it dies; a second commit brings
 *            the slot back, with page BACK (other, or the same as before)
 * -DLOG      the commit takes not the page away but the permission to write: logging begins
 * -DREMAP    the commit puts another page in the place of the first
 * -DNOTHING  the commit changes nothing: then nobody forgets anything (T2)
 * -DWAITER   the wait is another thread's, with `published` in between
 * -DMAPPED_BEFORE  the entry may be there already
 * -DZAP_PAGE vCPU 2 zaps the page too, as mslot_zap_page() does: without asking anybody
 *
 * Mutants, one flag each; what they omit:
 *   NO_RECHECK        the second load of the snapshot
 *   RECHECK_FIRST     the lock before the second load
 *   ADDRESS_ONLY      the permission from what is compared
 *   ZAP_FIRST         publishing before the zap
 *   PUBLISH_RELEASE   seq_cst: of the publish
 *   RECHECK_ACQUIRE           of the second load
 *   LOCK_ACQUIRE              of taking the lock in the fault
 *   SKIP_ACQUIRE              of the zap's look whether the head is empty
 *   CHUNK_ACQUIRE             of the zap's load of the chunk
 *   CREATE_ACQUIRE            of linking the chunk
 *   CHECK_FIRST       beginning the section before the request is looked at
 *   FLUSH_EARLY       zapping before asking
 *   FLUSH_FOUND       asking although nothing was found
 *   PUBLISHED_EARLY   asking before the commit is noted as published
 *   NO_GRACE          the grace period of the wait
 *   WAIT_FLUSHES      waiting without asking anybody to forget
 *   NO_DEAD           marking heads as dead
 *   SKIP_UNMARKED     marking heads that look empty
 *   UNLINK_LATE       unlinking the chunk before the commit ends: it does at the next one's
 *   GIVES_UP          with ZAP_PAGE: zapping a leaf whose chunk is not linked any more. As good,
 *                     but not with UNLINK_FIRST
 *   FREE_EARLY        the grace period before the chunk is freed
 * As good:
 *   UNLINK_FIRST      unlinks, then marks; as good for faults, that is
 *   LOAD_ACQUIRE      the fault's load of the chunk
 */
#ifndef VCPUS
#define VCPUS 2
#endif
#ifdef WAITER
#define NTHR (VCPUS + 2)
#else
#define NTHR (VCPUS + 1)
#endif
#define COMMITTER 0 /* vCPUs are 1 and 2 */
#define SNAPSHOT 0
#define CHUNK 1 /* which chunk the frame's head is in; 0: none */
#define ENTRY 2
#define PUBLISHED 3
#define HEAD(c) (3 + (c)) /* of chunks 1 and 2 */
#define REQUEST(v) (5 + (v))
#define NLOC (6 + VCPUS)
#define NMUTEX 1
#ifdef ZAP_PAGE
#define NMSG 20
#else
#define NMSG 12
#endif
#define NQUEUE 4
#include "wm.h"

/* A head: the leaf is in the reverse map; and its state. */
#define MAPPED 1
#define LOCKED 2
#define DEAD 4
/* An entry. */
#define READONLY 1 /* with LOG */
#define OLD 2
#define NEW 3
#define usable(e) ((e) >= OLD)
#ifdef LOG
#define ZAPPED READONLY
#else
#define ZAPPED 0
#endif
#ifndef BACK
#define BACK NEW
#endif

/* What snapshot s says of the page. */
#ifdef NOTHING
#define says(s) OLD
#elif defined(REMAP)
#define says(s) (OLD + (s))
#else
#define says(s) ((s) == 0 -> OLD : ((s) == 1 -> 0 : BACK))
#endif
#ifdef ADDRESS_ONLY
#define differ(s, now) false
#else
#define differ(s, now) (says(s) != says(now))
#endif

#ifdef PUBLISH_RELEASE
#define PUBLISH REL
#else
#define PUBLISH SC
#endif
#ifdef RECHECK_ACQUIRE
#define RECHECK ACQ
#else
#define RECHECK SC
#endif
#ifdef LOCK_ACQUIRE
#define LOCK ACQ_REL
#else
#define LOCK SC
#endif
#ifdef SKIP_ACQUIRE
#define SKIP ACQ
#else
#define SKIP SC
#endif
#ifdef CHUNK_ACQUIRE
#define ZAP_CHUNK ACQ
#else
#define ZAP_CHUNK SC
#endif
#ifdef CREATE_ACQUIRE
#define CREATE ACQ_REL
#define LOAD_ACQUIRE
#else
#define CREATE SC
#endif
#ifdef LOAD_ACQUIRE
#define FIND ACQ
#else
#define FIND SC
#endif
#ifndef SECTIONS
#define SECTIONS 2
#endif

bit waited;   /* the wait has returned */
byte installed; /* leaves */
bit freed[3]; /* chunks */
byte made;    /* chunks */
byte done;

/* ---- The fault --------------------------------------------------------------- */

/* In c the chunk, made if there is none. */
inline chunk_get(me, c)
{
	load(me, CHUNK, FIND, c);
	if
	:: c == 0 ->
		atomic {
			compare_exchange(me, CHUNK, 0, made + 1, CREATE, c);
			if
			:: c == 0 -> made++; c = made
			:: else
			fi
		}
	:: else
	fi
}

inline head_lock(me, c, order, head)
{
	assert(!freed[c]);
	lock_bit(me, HEAD(c), LOCKED, order, head)
}

inline head_unlock(me, c, head)
{
	assert(!freed[c]);
	store(me, HEAD(c), head, REL)
}

/* Under the lock. */
inline install(me, c, head, s, entry)
{
	load(me, ENTRY, ACQ, entry);
	if
	:: entry == says(s)
	:: else ->
		entry = says(s);
		atomic {
#ifdef ZAP_PAGE
			installed++;
#endif
			store(me, ENTRY, entry, REL)
		};
		head = MAPPED
	fi
}

/* Leaves in `entry` what the vCPU may cache, or 0. */
inline fault(me, s, now, c, head, entry)
{
	do
	::
		load(me, SNAPSHOT, ACQ, s);
		if
		:: says(s) == 0 -> entry = 0; break
		:: else
		fi;
		chunk_get(me, c);
#ifdef RECHECK_FIRST
		load(me, SNAPSHOT, RECHECK, now);
		head_lock(me, c, LOCK, head);
#else
		head_lock(me, c, LOCK, head);
		load(me, SNAPSHOT, RECHECK, now);
#endif
#ifdef NO_RECHECK
		now = s;
#endif
		if
		:: (head & DEAD) || differ(s, now) ->
			/* Nobody waits for somebody else's next commit. */
			assert(!((head & DEAD) && was_dead));
			was_dead = ((head & DEAD) -> 1 : 0);
			head_unlock(me, c, head)
		:: else ->
			install(me, c, head, s, entry);
			head_unlock(me, c, head);
			break
		fi
	od;
	s = 0;
	now = 0;
	c = 0;
	head = 0;
	was_dead = 0
}

/* ---- vCPUs ------------------------------------------------------------------ */

inline enter(me, r, cached)
{
#ifdef CHECK_FIRST
	exchange(me, REQUEST(me), 0, ACQ_REL, r);
	rcu_enter(me);
#else
	rcu_enter(me);
	exchange(me, REQUEST(me), 0, ACQ_REL, r);
#endif
#ifdef NOTHING
	assert(!(r && usable(cached)));
#endif
	cached = (r -> 0 : cached);
	r = 0
}

inline use(cached)
{
#ifndef NOTHING
	assert(!(cached == OLD && waited))
#else
	skip
#endif
}

#ifdef ZAP_PAGE
/* Under the lock: the leaf goes, if it is still there. */
inline take_out(me, c, head, entry)
{
	load(me, ENTRY, ACQ, entry);
	if
	:: (head & MAPPED) && usable(entry) ->
		store(me, ENTRY, ZAPPED, REL);
		head = head & ~MAPPED
	:: else
	fi;
	head_unlock(me, c, head)
}

/* When it returns, the leaf that it saw is gone. */
inline zap_page(me, c, head, entry)
{
	do
	::
		atomic {
			load(me, ENTRY, ACQ, entry);
			before = (usable(entry) -> installed : before);
			seen = (usable(entry) -> entry : seen)
		};
		if
		:: usable(entry) -> load(me, CHUNK, ACQ, c)
		:: else -> break
		fi;
		if
		:: c ->
			head_lock(me, c, ACQ_REL, head);
			take_out(me, c, head, entry)
		:: else
#ifdef GIVES_UP
			-> break
#endif
		fi
	od;
	entry = 0;
	d_step {
		drained(me) ->
		assert(!seen || newest(ENTRY) != seen || installed != before)
	};
	before = 0;
	seen = 0;
	c = 0;
	head = 0
}
#endif

proctype vcpu(byte me)
{
	WM_LOCALS;
	byte r, s, now, c, head, cached, n;
	bit was_dead;
#ifdef ZAP_PAGE
	byte before, seen;
#endif

	do
	:: n < SECTIONS ->
		enter(me, r, cached);
		if
		:: usable(cached)
		:: else ->
			load(me, ENTRY, ACQ, cached);
			if
			:: usable(cached)
			:: else -> fault(me, s, now, c, head, cached)
			fi
		fi;
		use(cached);
#ifdef ZAP_PAGE
		if
		:: me == 2 -> zap_page(me, c, head, cached)
		:: else
		fi;
#endif
		rcu_leave(me);
		n++
	:: else -> break
	od;
	cached = 0;
	forget(me);
	done++
}

/* ---- The commit -------------------------------------------------------------- */

inline post(v)
{
	if
	:: v <= VCPUS -> exchange(COMMITTER, REQUEST(v), 1, ACQ_REL, head)
	:: else
	fi;
	head = 0
}

inline flush()
{
	post(1);
	post(2)
}

/* Under the lock: the leaf goes, or its permission. */
inline clear(c, head, entry, end)
{
	if
	:: head & MAPPED ->
		load(COMMITTER, ENTRY, RLX, entry);
		if
		:: usable(entry) -> store(COMMITTER, ENTRY, ZAPPED, REL)
		:: else
		fi;
		entry = 0;
		found = 1
	:: else
	fi;
#ifdef LOG
	head_unlock(COMMITTER, c, head);
#else
	head_unlock(COMMITTER, c, end);
#endif
	head = 0
}

#ifndef DIE

inline zap(c, head, entry)
{
	load(COMMITTER, CHUNK, ZAP_CHUNK, c);
	if
	:: c ->
		load(COMMITTER, HEAD(c), SKIP, head);
		if
		:: head ->
			head_lock(COMMITTER, c, ACQ_REL, head);
			clear(c, head, entry, 0)
		:: else
		fi
	:: else
	fi;
	c = 0
}

#else

#ifdef NO_DEAD
#define END 0
#else
#define END DEAD
#endif

inline unlink_chunk(c)
{
	exchange(COMMITTER, CHUNK, 0, SC, c)
}

inline zap(c, head, entry)
{
#ifdef UNLINK_FIRST
	unlink_chunk(c);
#else
	load(COMMITTER, CHUNK, SC, c);
#endif
	head = 1;
#ifdef SKIP_UNMARKED
	load(COMMITTER, HEAD(c), SC, head);
#endif
	if
	:: head ->
		head_lock(COMMITTER, c, ACQ_REL, head);
		clear(c, head, entry, END)
	:: else
	fi;
#if !defined(UNLINK_FIRST) && !defined(UNLINK_LATE)
	unlink_chunk(c);
#endif
#ifdef FREE_EARLY
	freed[1] = 1;
#endif
	c = 0
}

#endif

proctype committer()
{
	WM_LOCALS;
	byte c, head, entry;
	bit found;

#ifdef ZAP_FIRST
	zap(c, head, entry);
#endif
	store(COMMITTER, SNAPSHOT, 1, PUBLISH);
#ifdef PUBLISHED_EARLY
	store(COMMITTER, PUBLISHED, 1, REL);
#endif
#ifdef FLUSH_EARLY
	flush();
#endif
#if !defined(ZAP_FIRST) && !defined(NOTHING)
	zap(c, head, entry);
#endif
#if !defined(FLUSH_EARLY) && !defined(NOTHING)
#ifdef FLUSH_FOUND
	if
	:: found -> flush()
	:: else
	fi;
#else
	flush();
#endif
#endif
#ifndef PUBLISHED_EARLY
	store(COMMITTER, PUBLISHED, 1, REL);
#endif
#ifdef DIE
	store(COMMITTER, SNAPSHOT, 2, PUBLISH);
#ifdef UNLINK_LATE
	unlink_chunk(c);
	c = 0;
#endif
#endif
#ifndef WAITER
#ifdef WAIT_FLUSHES
	flush();
#endif
#ifndef NO_GRACE
	rcu_synchronize(COMMITTER);
#endif
	d_step {
#if !(defined(DIE) && BACK == OLD)
		waited = 1;
#endif
#ifdef DIE
		freed[1] = 1
#else
		skip
#endif
	};
#endif
	found = 0;
	forget(COMMITTER);
	done++
}

#ifdef WAITER
#define WAITS (NTHR - 1)
proctype waiter()
{
	WM_LOCALS;
	byte r;

	newest(PUBLISHED) == 1;
	do
	:: r == 0 -> load(WAITS, PUBLISHED, ACQ, r)
	:: else -> break
	od;
	rcu_synchronize(WAITS);
	waited = 1;
	forget(WAITS);
	done++
}
#endif

#ifdef LOG
#define START 0
#else
#define START OLD
#endif

init {
	atomic {
#ifdef DIE
		init_loc(CHUNK, 1);
		made = 1;
#endif
#if defined(LOG) || defined(DIE) || defined(MAPPED_BEFORE)
		if
		:: init_loc(CHUNK, 1);
		   made = 1;
		   init_loc(HEAD(1), MAPPED);
		   init_loc(ENTRY, (ZAPPED -> ZAPPED : OLD))
		:: skip
		fi;
#endif
#ifdef WAITER
		run waiter();
#else
		done++;
#endif
		run committer();
		run vcpu(1)
#if VCPUS == 2
		;
		run vcpu(2)
#endif
	};
	(done == VCPUS + 2);
	(drained(COMMITTER) && drained(1) && drained(VCPUS));
#ifndef NOTHING
	assert(newest(ENTRY) != OLD || BACK == OLD);
#endif
	/* M2: what a later commit finds by the reverse map. */
	assert(!usable(newest(ENTRY)) ||
	       (newest(CHUNK) && newest(HEAD(newest(CHUNK))) == MAPPED))
}
