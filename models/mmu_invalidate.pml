/* SPDX-License-Identifier: MIT */
/*
 * mmu_invalidate.pml - host memory that changes: mslot_invalidate_begin(), faults, end.
 *
 * The owner begins, changes the host's page when begin has returned, and ends. vCPUs look the
 * entry up, fault and cache; a fault takes what the host has after it has looked at `seq`. It
 * is refused while the page is in the range of what is under way; then it leaves, polls, and
 * comes again. Asserted: when begin has returned, nobody uses the old page; at the end the entry
 * does not have it.
 *
 * -DTWO     a second invalidation, of other memory, follows
 * -DEXTEND  one of other memory is under way all the time
 * -DCOMMIT  instead: a commit has published that the slot is gone, and zaps meanwhile; begin
 *           looks up which frames the memory has
 * -DFORGOTTEN  with COMMIT: another's zap has taken the leaf, and asked nobody
 *
 * Mutants, one flag each; what they omit:
 *   COUNT_FIRST      ending with `seq` before the count
 *   NO_SEQ           the look at `seq`
 *   NO_COUNT         the look at the count
 *   CHECK_FIRST      the lock before both
 *   NO_GRACE         the grace period of begin
 *   WAIT_INSIDE      leaving the section to wait for the end
 *   COUNT_ACQUIRE    seq_cst: of the count
 *   CHUNK_ACQUIRE            of the zap's load of the chunk
 *   SEQ_RELAXED      release and acquire of `seq`
 *   RANGE_LATE       noting the range before the count
 *   RANGE_RELAXED    release and acquire of the range
 *   LOOKUP_UNLOCKED  the writer mutex around lookup and zap
 *   FLUSH_FOUND      asking although nothing was found
 */
#ifndef VCPUS
#define VCPUS 2
#endif
#ifndef SECTIONS
#define SECTIONS 1
#endif
#define OWNER 0
#ifdef COMMIT
#define NTHR 3
#define COMMITTER 1
#define VCPU 2
#define SNAPSHOT 0
#define HEAD 1
#define ENTRY 2
#define REQUEST 3
#define NLOC 4
#else
#define NTHR (VCPUS + 1)
#define COUNT 0
#define SEQ 1
#define RANGE 2 /* 1: the page is in it */
#define CHUNK 3
#define HEAD 4
#define ENTRY 5
#define HOST 6
#define REQUEST(v) (6 + (v))
#define NLOC (7 + VCPUS)
#endif
#define WRITER 0
#define NMUTEX 1
#define NMSG 12
#define NQUEUE 4
#include "wm.h"

#define MAPPED 1
#define LOCKED 2
#ifdef COUNT_ACQUIRE
#define BEGIN ACQ_REL
#define UNDER_WAY ACQ
#else
#define BEGIN SC
#define UNDER_WAY SC
#endif
#ifdef CHUNK_ACQUIRE
#define ZAP_CHUNK ACQ
#else
#define ZAP_CHUNK SC
#endif
#ifdef SEQ_RELAXED
#define SEQ_STORE RLX
#define SEQ_LOAD RLX
#else
#define SEQ_STORE REL
#define SEQ_LOAD ACQ
#endif
#ifdef RANGE_RELAXED
#define RANGE_STORE RLX
#define RANGE_LOAD RLX
#else
#define RANGE_STORE REL
#define RANGE_LOAD ACQ
#endif

bit begun; /* begin has returned */
byte done;

inline head_lock(me, order, head)
{
	lock_bit(me, HEAD, LOCKED, order, head)
}

inline head_unlock(me, head)
{
	store(me, HEAD, head, REL)
}

/* As in mmu_fault.pml. */
inline zap(me, head, found)
{
	load(me, HEAD, SC, head);
	if
	:: head ->
		head_lock(me, ACQ_REL, head);
		if
		:: head & MAPPED ->
			store(me, ENTRY, 0, REL);
			found = 1
		:: else
		fi;
		head_unlock(me, 0)
	:: else
	fi;
	head = 0
}

#ifndef COMMIT

/* An entry, and what is cached, is 1 + the host's page: 0 is the old one. */
#define OLD 1
#ifdef EXTEND
#define OTHERS 1
#else
#define OTHERS 0
#endif

/* ---- Faults ----------------------------------------------------------------- */

inline look(me, count, range, seq)
{
	load(me, COUNT, UNDER_WAY, count);
	load(me, RANGE, RANGE_LOAD, range);
	load(me, SEQ, SEQ_LOAD, seq)
}

inline chunk_get(me, c)
{
	load(me, CHUNK, SC, c);
	if
	:: c
	:: else -> compare_exchange(me, CHUNK, 0, 1, SC, c)
	fi
}

inline fault(me, seq, count, range, now, host, head, cached)
{
	load(me, SEQ, SEQ_LOAD, seq);
	load(me, HOST, RLX, host);
	chunk_get(me, head);
#ifdef CHECK_FIRST
	look(me, count, range, now);
	head_lock(me, SC, head);
#else
	head_lock(me, SC, head);
	look(me, count, range, now);
#endif
#ifdef NO_SEQ
	now = seq;
#endif
#ifdef NO_COUNT
	count = 0;
#endif
	if
	:: (count && range) || seq != now -> head_unlock(me, head)
	:: else ->
		cached = 1 + host;
		store(me, ENTRY, cached, REL);
		head_unlock(me, MAPPED)
	fi;
	seq = 0;
	count = 0;
	range = 0;
	now = 0;
	host = 0;
	head = 0
}

proctype vcpu(byte me)
{
	WM_LOCALS;
	byte r, seq, count, range, now, host, head, cached, n;

	do
	:: n < SECTIONS ->
		rcu_enter(me);
		exchange(me, REQUEST(me), 0, ACQ_REL, r);
		cached = (r -> 0 : cached);
		r = 0;
		if
		:: cached
		:: else -> load(me, ENTRY, ACQ, cached)
		fi;
		do
		:: cached -> break
		:: else ->
			fault(me, seq, count, range, now, host, head, cached);
#ifdef WAIT_INSIDE
			newest(COUNT) == OTHERS
#else
			break
#endif
		od;
		assert(!(begun && cached == OLD));
		rcu_leave(me);
		if
		:: cached == 0 -> newest(COUNT) == OTHERS /* polls */
		:: else
		fi;
		n++
	:: else -> break
	od;
	cached = 0;
	forget(me);
	done++
}

/* ---- The owner --------------------------------------------------------------- */

inline begin(range, c, head, found)
{
#ifdef RANGE_LATE
	fetch_add(OWNER, COUNT, 1, BEGIN, c);
	store(OWNER, RANGE, range, RANGE_STORE);
#else
	store(OWNER, RANGE, range, RANGE_STORE);
	fetch_add(OWNER, COUNT, 1, BEGIN, c);
#endif
	if
	:: range ->
		load(OWNER, CHUNK, ZAP_CHUNK, c);
		if
		:: c -> zap(OWNER, head, found)
		:: else
		fi;
		exchange(OWNER, REQUEST(1), 1, ACQ_REL, c);
#if VCPUS > 1
		exchange(OWNER, REQUEST(2), 1, ACQ_REL, c);
#endif
#ifndef NO_GRACE
		rcu_synchronize(OWNER)
#endif
	:: else
	fi;
	c = 0;
	found = 0
}

inline end(n, c)
{
#ifdef COUNT_FIRST
	fetch_add(OWNER, COUNT, 255, REL, c);
	store(OWNER, SEQ, n, SEQ_STORE);
#else
	store(OWNER, SEQ, n, SEQ_STORE);
	fetch_add(OWNER, COUNT, 255, REL, c);
#endif
	c = 0
}

proctype owner()
{
	WM_LOCALS;
	byte c, head;
	bit found;

	begin(1, c, head, found);
	begun = 1;
	store(OWNER, HOST, 1, RLX);
	end(1, c);
#ifdef TWO
	begin(0, c, head, found);
	end(2, c);
#endif
	forget(OWNER);
	done++
}

init {
	atomic {
#ifdef EXTEND
		init_loc(COUNT, 1);
#endif
		run owner();
#if VCPUS > 1
		run vcpu(2);
#endif
		run vcpu(1)
	};
	(done == VCPUS + 1);
	(drained(0) && drained(1) && drained(VCPUS));
	assert(newest(ENTRY) != OLD)
}

#else /* COMMIT */

inline post(me, r)
{
	exchange(me, REQUEST, 1, ACQ_REL, r);
	r = 0
}

/* The listener: the writer mutex is held. */
proctype committer()
{
	WM_LOCALS;
	byte head, r;
	bit found;

	mutex_lock(COMMITTER, WRITER);
	store(COMMITTER, SNAPSHOT, 1, SC);
	zap(COMMITTER, head, found);
	post(COMMITTER, r);
	mutex_unlock(COMMITTER, WRITER);
	found = 0;
	forget(COMMITTER);
	done++
}

proctype vcpu()
{
	WM_LOCALS;
	byte r, n;
	byte cached = 1;

	do
	:: n < 2 ->
		rcu_enter(VCPU);
		exchange(VCPU, REQUEST, 0, ACQ_REL, r);
		cached = (r -> 0 : cached);
		r = 0;
		if
		:: cached
		:: else -> load(VCPU, ENTRY, ACQ, cached)
		fi;
		assert(!(begun && cached));
		rcu_leave(VCPU);
		n++
	:: else -> break
	od;
	cached = 0;
	forget(VCPU);
	done++
}

proctype owner()
{
	WM_LOCALS;
	byte s, head;
	bit found;

#ifndef LOOKUP_UNLOCKED
	mutex_lock(OWNER, WRITER);
#endif
	load(OWNER, SNAPSHOT, ACQ, s);
	if
	:: s
	:: else -> zap(OWNER, head, found)
	fi;
#ifndef LOOKUP_UNLOCKED
	mutex_unlock(OWNER, WRITER);
#endif
#ifdef FLUSH_FOUND
	if
	:: found -> post(OWNER, s)
	:: else
	fi;
#else
	post(OWNER, s);
#endif
	rcu_synchronize(OWNER);
	begun = 1;
	assert(newest(ENTRY) == 0);
	s = 0;
	found = 0;
	forget(OWNER);
	done++
}

init {
	atomic {
#ifndef FORGOTTEN
		init_loc(ENTRY, 1);
		init_loc(HEAD, MAPPED);
#endif
		run owner();
		run committer();
		run vcpu()
	};
	(done == 3)
}

#endif
