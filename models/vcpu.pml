/* SPDX-License-Identifier: MIT */
/*
 * vcpu.pml - requests to vCPUs and EXCLUSIVE commits (vcpu.c, vcpus.c, map_synchronize()).
 *
 * -DFLUSH: an asker publishes a removal, asks, waits for a grace period. The vCPU registers
 * meanwhile, caches what was published until it is told to flush, and leaves a section
 * by itself (-DSHORT: always) or when kicked. Asserted: nothing removed is used after the grace period; nobody waits for
 * ever (an invalid end state otherwise).
 * -DEXCLUDE: a commit keeps out VCPUS vCPUs that enter and leave; with -DTIMEOUT it may give
 * up. Asserted: no vCPU is inside meanwhile, each side sees what the other stored; nobody
 * sleeps for ever.
 *
 * Mutants, one flag each; what they omit:
 *   CHECK_FIRST        beginning the section before the request is looked at
 *   REGISTER_UNLOCKED  the lock around registering
 *   REQUEST_STORE      clearing the request by an exchange
 *   REQUEST_RELAXED    release and acquire of the request word
 *   POST_LATE          posting before the grace period begins
 *   NO_GRACE           the grace period
 *   NO_AWAITED         asking oneself while somebody waits
 *   AWAITED_LATE       saying that somebody waits before the requests
 *   KICK_FIRST         posting before looking whether to kick
 *   GATE_FIRST         saying that one is inside before the gate is looked at
 *   GATE_RELAXED       release and acquire of the gate
 *   LEAVE_RELAXED      release and acquire of the word that says who is inside
 *   WAKE_UNLOCKED      the lock around the wake-up
 *   NO_WATCH           looking whether somebody sleeps
 */
#ifndef VCPUS
#define VCPUS 1
#endif
#if VCPUS == 1
#define NTHR 2
#else
#define NTHR 3
#endif
#define ASKER 0 /* or committer; vCPUs are 1 and 2 */
#ifdef FLUSH
#define REQUEST(v) 0
#define INSIDE(v) 1
#define GONE 2 /* what is cached, removed */
#define AWAITED 3
#define REGISTERED 4
#define NLOC 5
#else
#define GATE 0
#define LISTENER 1 /* what callbacks of the commit store */
#define REQUEST(v) (3 * (v) - 1)
#define INSIDE(v) (3 * (v))
#define MEM(v) (3 * (v) + 1) /* what the vCPU stores in its sections */
#define NLOC (2 + 3 * VCPUS)
#endif
#define V 0
#define NMUTEX 1
#define NMSG 12
#define NQUEUE 4
#include "wm.h"

#ifdef REQUEST_RELAXED
#define ANSWER RLX
#else
#define ANSWER ACQ_REL
#endif
#ifdef LEAVE_RELAXED
#define LEAVE RLX
#else
#define LEAVE ACQ_REL
#endif
#ifdef GATE_RELAXED
#define OPEN RLX
#else
#define OPEN REL
#endif

byte done;
bit asleep_committer, asleep_vcpus;

inline take_request(me, r)
{
#ifdef REQUEST_STORE
	load(me, REQUEST(me), ACQ, r);
	store(me, REQUEST(me), 0, REL)
#else
	exchange(me, REQUEST(me), 0, ANSWER, r)
#endif
}

#ifdef FLUSH

bit waited;
bit kicked;
bit asked; /* the asker is done */

inline ask_one(me, v, had, in)
{
#ifdef KICK_FIRST
	load(me, INSIDE(v), RLX, in);
	exchange(me, REQUEST(v), 1, ANSWER, had);
#else
	exchange(me, REQUEST(v), 1, ANSWER, had);
	load(me, INSIDE(v), RLX, in);
#endif
	if
	:: !had && in -> kicked = 1
	:: else
	fi;
	had = 0;
	in = 0
}

inline register(me)
{
#ifndef REGISTER_UNLOCKED
	mutex_lock(me, V);
#endif
	store(me, REGISTERED, 1, RLX);
#ifndef REGISTER_UNLOCKED
	mutex_unlock(me, V)
#else
	skip
#endif
}

inline enter(me, r, in, cached)
{
#ifdef CHECK_FIRST
	store(me, INSIDE(me), 1, RLX);
	take_request(me, r);
	rcu_enter(me);
#else
	rcu_enter(me);
	store(me, INSIDE(me), 1, RLX);
	take_request(me, r);
#endif
	cached = (r -> 0 : cached);
#ifndef NO_AWAITED
	load(me, AWAITED, RLX, r);
	if
	:: r -> ask_one(me, me, r, in)
	:: else
	fi
#endif
	r = 0
}

proctype vcpu(byte me)
{
	WM_LOCALS;
	byte r, in, n;
	bit cached, stays;

	register(me);
	do
	:: n < 3 ->
		enter(me, r, in, cached);
		if
		:: cached
		:: else ->
			load(me, GONE, ACQ, r);
			cached = (r -> 0 : 1);
			r = 0
		fi;
		assert(!(cached && waited));
		/* In guest code, for a moment or until a kick. */
		if
		:: skip
#ifndef SHORT
		:: stays = 1
#endif
		fi;
		if
		:: stays ->
			(kicked || asked);
			kicked = 0;
			stays = 0
		:: else
		fi;
		assert(!(cached && waited));
		exchange(me, INSIDE(me), 0, LEAVE, r);
		r = 0;
		rcu_leave(me);
		n++
	:: else -> break
	od;
	done++
}

inline ask_all(me, r, had, in)
{
	mutex_lock(me, V);
	load(me, REGISTERED, RLX, r);
	if
	:: r -> ask_one(me, 1, had, in)
	:: else
	fi;
	r = 0;
	mutex_unlock(me, V)
}

proctype asker()
{
	WM_LOCALS;
	byte r, had, in;

	store(ASKER, GONE, 1, SC);
#ifdef AWAITED_LATE
	ask_all(ASKER, r, had, in);
	fetch_add(ASKER, AWAITED, 1, RLX, r);
	rcu_synchronize(ASKER);
#else
	fetch_add(ASKER, AWAITED, 1, RLX, r);
#ifdef POST_LATE
	rcu_synchronize_begin(ASKER);
	ask_all(ASKER, r, had, in);
	rcu_synchronize_end(ASKER);
#else
	ask_all(ASKER, r, had, in);
#ifndef NO_GRACE
	rcu_synchronize(ASKER);
#endif
#endif
#endif
	waited = 1;
	fetch_add(ASKER, AWAITED, 255, RLX, r);
	asked = 1;
	done++
}

init {
	atomic {
		run asker();
		run vcpu(1)
	};
	(done == 2)
}

#else /* EXCLUDE */

bit committing;
byte inside_now;
byte commits;  /* that callbacks have stored of */
byte stored[3]; /* sections of each vCPU that have stored */

/* The condition: sleep() gives the lock back and sleeps at once. */
inline sleep(me, who)
{
	atomic {
		who = 1;
		mutex_unlock(me, V)
	};
	(!who);
	mutex_lock(me, V)
}

inline wake()
{
	d_step {
		asleep_committer = 0;
		asleep_vcpus = 0
	}
}

inline step_out(me, r)
{
	exchange(me, INSIDE(me), 0, LEAVE, r);
	if
#ifdef NO_WATCH
	:: r == 3
#else
	:: r == 3 ->
#ifdef WAKE_UNLOCKED
		wake()
#else
		mutex_lock(me, V);
		wake();
		mutex_unlock(me, V)
#endif
#endif
	:: else
	fi;
	r = 0
}

inline section(me, r)
{
	d_step {
		inside_now++;
		assert(!committing)
	};
	load(me, LISTENER, RLX, r);
	assert(r == commits);
	r = 0;
	atomic {
		stored[me]++;
		store(me, MEM(me), stored[me], RLX)
	};
	d_step {
		inside_now--;
		assert(!committing)
	}
}

inline gate_wait(me, r)
{
	mutex_lock(me, V);
	load(me, GATE, RLX, r);
	do
	:: r ->
		sleep(me, asleep_vcpus);
		load(me, GATE, RLX, r)
	:: else -> break
	od;
	mutex_unlock(me, V)
}

proctype vcpu(byte me)
{
	WM_LOCALS;
	byte r, n;

	do
	:: n < 2 ->
#ifdef GATE_FIRST
		load(me, GATE, OPEN, r);
		if
		:: r -> gate_wait(me, r)
		:: else ->
			store(me, INSIDE(me), 1, RLX);
			take_request(me, r);
			r = 0;
			section(me, r);
			step_out(me, r);
			n++
		fi
#else
		store(me, INSIDE(me), 1, RLX);
		take_request(me, r);
		load(me, GATE, OPEN, r);
		if
		:: r ->
			step_out(me, r);
			gate_wait(me, r)
		:: else ->
			section(me, r);
			step_out(me, r);
			n++
		fi
#endif
	:: else -> break
	od;
	n = 0;
	done++
}

/* Is vCPU v inside? If so, it is watched. */
inline watch(v, seen)
{
	compare_exchange(ASKER, INSIDE(v), 1, 3, (LEAVE), seen)
}

inline commit(v, seen)
{
	d_step {
		committing = 1;
		assert(inside_now == 0)
	};
	v = 1;
	do
	:: v <= VCPUS ->
		load(ASKER, MEM(v), RLX, seen);
		assert(seen == stored[v]);
		v++
	:: else -> break
	od;
	atomic {
		commits++;
		store(ASKER, LISTENER, commits, RLX)
	};
	seen = 0;
	d_step {
		assert(inside_now == 0);
		committing = 0
	}
}

proctype committer()
{
	WM_LOCALS;
	byte v, seen;
	bit late;

	mutex_lock(ASKER, V);
	store(ASKER, GATE, 1, RLX);
	v = 1;
	do
	:: v <= VCPUS -> exchange(ASKER, REQUEST(v), 1, ANSWER, seen); v++
	:: else -> break
	od;
	v = 1;
	do
	:: v <= VCPUS && !late ->
		watch(v, seen);
		if
		:: seen ->
			if
			:: sleep(ASKER, asleep_committer)
#ifdef TIMEOUT
			:: late = 1
#endif
			fi
		:: else -> v++
		fi
	:: else -> break
	od;
	if
	:: late
	:: else ->
		mutex_unlock(ASKER, V);
		commit(v, seen);
		mutex_lock(ASKER, V)
	fi;
	store(ASKER, GATE, 0, OPEN);
	wake();
	mutex_unlock(ASKER, V);
	done++
}

init {
	atomic {
		run committer();
		run vcpu(1)
#if VCPUS == 2
		;
		run vcpu(2)
#endif
	};
	(done == VCPUS + 1)
}

#endif
