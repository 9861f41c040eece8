/* SPDX-License-Identifier: MIT */
/*
 * wm.h - weak memory for Spin: what the models use in place of plain variables
 * wherever the code uses an atomic, a mutex or a read section.
 *
 * The model defines, before it includes this file:
 *   NTHR    threads; a thread passes its own number to every operation
 *   NLOC    memory locations, bytes, all 0 at the start
 *   NMUTEX  mutexes
 *   NMSG    longest history of one location (an assertion fails when it is too short)
 *   NQUEUE  longest store queue of one thread (a full queue only delays the thread)
 *   SECTIONS_ONLY_READ  where it is so: the end of a section then carries nothing
 * and every proctype that uses an operation starts with WM_LOCALS.
 *
 * -DTSO   x86: a store enters its thread's FIFO queue and reaches memory later; a
 *         load looks at its own queue first; seq_cst stores, read-modify-writes and
 *         mutex_lock() wait for the queue to drain.
 * else    the release/acquire machine of C11: each location keeps the history of its
 *         stores, each thread a view (per location, the oldest message it may still
 *         read); a release message carries the view of its writer and an acquire load
 *         takes it over. Any message the view allows can be read, so every stale read
 *         happens. seq_cst accesses respect a floor per location, fences a common view.
 *         Not covered: loads that read from the future (no compiler in use does that).
 *
 * Read sections follow the contract of rcu.h, not liburcu's inside: rcu_synchronize()
 * waits for the sections open when it starts; what its caller knew then is known to
 * every section that opens later; what was done in the sections it waited for, or that
 * ended before, is known to the caller afterwards.
 */
#define RLX 0
#define ACQ 1
#define ACQ_REL 1
#define SC 2
#define REL 3

#define WM_LOCALS byte wm_i

typedef Owed {
	bit by[NTHR]
};

bit inside[NTHR];
Owed owed[NTHR]; /* owed[w].by[t]: the grace period of w waits for the section of t */
hidden byte k_, w_;

#if NTHR == 2
#define no_section_owed(t) (owed[t].by[0] + owed[t].by[1] == 0)
#elif NTHR == 3
#define no_section_owed(t) (owed[t].by[0] + owed[t].by[1] + owed[t].by[2] == 0)
#elif NTHR == 4
#define no_section_owed(t)                                                                         \
	(owed[t].by[0] + owed[t].by[1] + owed[t].by[2] + owed[t].by[3] == 0)
#elif NTHR == 5
#define no_section_owed(t)                                                                         \
	(owed[t].by[0] + owed[t].by[1] + owed[t].by[2] + owed[t].by[3] + owed[t].by[4] == 0)
#else
#error "wm.h serves two to five threads"
#endif

inline note_open_sections(t)
{
	k_ = 0;
	do
	:: k_ < NTHR -> owed[t].by[k_] = inside[k_]; k_++
	:: else -> break
	od
}

#ifdef TSO

typedef Queue {
	byte count;
	byte loc[NQUEUE];
	byte val[NQUEUE]
};

Queue sq[NTHR];
byte mem[NLOC + NMUTEX];

#define init_loc(l, x) mem[l] = x
#define newest(l) mem[l]
#define drained(t) (sq[t].count == 0)

inline load(t, l, order, dst)
{
	d_step {
		dst = mem[l];
		k_ = 0;
		do
		:: k_ < sq[t].count ->
			if
			:: sq[t].loc[k_] == (l) -> dst = sq[t].val[k_]
			:: else
			fi;
			k_++
		:: else -> break
		od
	}
}

inline store(t, l, x, order)
{
	atomic {
		sq[t].count < NQUEUE ->
		sq[t].loc[sq[t].count] = l;
		sq[t].val[sq[t].count] = x;
		sq[t].count++;
		if
		:: (order) == SC -> drained(t)
		:: else
		fi
	}
}

inline fence(t)
{
	drained(t)
}

inline fetch_add(t, l, delta, order, dst)
{
	atomic {
		drained(t) ->
		dst = mem[l];
		mem[l] = mem[l] + (delta)
	}
}

inline exchange(t, l, x, order, dst)
{
	atomic {
		drained(t) ->
		dst = mem[l];
		mem[l] = x
	}
}

/* dst is what was there; x is there now if that was `from`. */
inline compare_exchange(t, l, from, x, order, dst)
{
	atomic {
		drained(t) ->
		dst = mem[l];
		mem[l] = (dst == (from) -> (x) : dst)
	}
}

inline mutex_lock(t, m)
{
	atomic {
		drained(t) && mem[NLOC + (m)] == 0 ->
		mem[NLOC + (m)] = 1
	}
}

inline mutex_unlock(t, m)
{
	store(t, NLOC + (m), 0, REL)
}

/* Lock and unlock at once: starts an atomic that nobody could see half done. */
inline mutex_pass(t, m)
{
	drained(t) && mem[NLOC + (m)] == 0
}

inline drain_one(t)
{
	d_step {
		sq[t].count > 0 ->
		mem[sq[t].loc[0]] = sq[t].val[0];
		sq[t].count--;
		k_ = 0;
		do
		:: k_ < sq[t].count ->
			sq[t].loc[k_] = sq[t].loc[k_ + 1];
			sq[t].val[k_] = sq[t].val[k_ + 1];
			k_++
		:: else -> break
		od;
		sq[t].loc[sq[t].count] = 0;
		sq[t].val[sq[t].count] = 0
	}
}

active proctype store_queues()
{
end:
	do
	:: drain_one(0)
	:: drain_one(1)
#if NTHR > 2
	:: drain_one(2)
#endif
#if NTHR > 3
	:: drain_one(3)
#endif
#if NTHR > 4
	:: drain_one(4)
#endif
	od
}

inline rcu_enter(t)
{
	inside[t] = 1
}

/* Others see the section closed after what it stored: the same queue. */
inline rcu_leave(t)
{
	d_step {
		drained(t) ->
		inside[t] = 0;
		w_ = 0;
		do
		:: w_ < NTHR -> owed[w_].by[t] = 0; w_++
		:: else -> break
		od
	}
}

/* liburcu also drains every other thread's queue; no protocol here may rely on that. */
inline rcu_synchronize_begin(t)
{
	d_step {
		drained(t) ->
		note_open_sections(t)
	}
}

inline rcu_synchronize_end(t)
{
	no_section_owed(t)
}

#define forget(t) skip

#else /* release/acquire */

typedef Message {
	byte val;
	byte seen[NLOC]
};

typedef History {
	byte count; /* messages after the initial one */
	Message msg[NMSG]
};

typedef View {
	byte at[NLOC]
};

History hist[NLOC];
View view[NTHR];
View fence_view;      /* what fences have in common */
View enter_view;      /* known to sections that open from now on */
View leave_view;      /* known at the end of the sections that have ended */
View owed_view[NTHR]; /* collected for a grace period in progress */
View lock_view[NMUTEX];
bit lock_held[NMUTEX];
byte floor[NLOC];

#define init_loc(l, x) hist[l].msg[0].val = x
#define newest(l) hist[l].msg[hist[l].count].val
#define drained(t) true

#define JOIN(into, from)                                                                           \
	k_ = 0;                                                                                    \
	do                                                                                         \
	:: k_ < NLOC ->                                                                            \
		if                                                                                 \
		:: into[k_] < from[k_] -> into[k_] = from[k_]                                      \
		:: else                                                                            \
		fi;                                                                                \
		k_++                                                                               \
	:: else -> break                                                                           \
	od

inline load(t, l, order, dst)
{
	atomic {
		wm_i = view[t].at[l];
		if
		:: (order) == SC && floor[l] > wm_i -> wm_i = floor[l]
		:: else
		fi;
		do
		:: wm_i < hist[l].count -> wm_i++
		:: break
		od;
		dst = hist[l].msg[wm_i].val;
		d_step {
			view[t].at[l] = wm_i;
			if
			:: (order) != RLX -> JOIN(view[t].at, hist[l].msg[wm_i].seen)
			:: else
			fi;
			if
			:: (order) == SC && floor[l] < wm_i -> floor[l] = wm_i
			:: else
			fi;
			wm_i = 0
		}
	}
}

/* In a d_step: one more message. */
inline append(t, l, x, order)
{
	assert(hist[l].count + 1 < NMSG);
	hist[l].count++;
	hist[l].msg[hist[l].count].val = x;
	view[t].at[l] = hist[l].count;
	if
	:: (order) != RLX -> JOIN(hist[l].msg[hist[l].count].seen, view[t].at)
	:: else
	fi;
	if
	:: (order) == SC -> floor[l] = hist[l].count
	:: else
	fi
}

inline store(t, l, x, order)
{
	d_step { append(t, l, x, order) }
}

inline fence(t)
{
	d_step {
		JOIN(view[t].at, fence_view.at);
		JOIN(fence_view.at, view[t].at)
	}
}

/* The new message also carries what the one it replaces carried: a release sequence. */
inline fetch_add(t, l, delta, order, dst)
{
	d_step {
		dst = newest(l);
		if
		:: (order) != RLX && (order) != REL ->
			JOIN(view[t].at, hist[l].msg[hist[l].count].seen)
		:: else
		fi;
		append(t, l, dst + (delta), order);
		JOIN(hist[l].msg[hist[l].count].seen, hist[l].msg[hist[l].count - 1].seen)
	}
}

inline exchange(t, l, x, order, dst)
{
	d_step {
		dst = newest(l);
		if
		:: (order) != RLX && (order) != REL ->
			JOIN(view[t].at, hist[l].msg[hist[l].count].seen)
		:: else
		fi;
		append(t, l, x, order);
		JOIN(hist[l].msg[hist[l].count].seen, hist[l].msg[hist[l].count - 1].seen)
	}
}

/* dst is what was there, the newest also where it fails; x is there now if dst was `from`. */
inline compare_exchange(t, l, from, x, order, dst)
{
	d_step {
		dst = newest(l);
		if
		:: (order) != RLX && (order) != REL ->
			JOIN(view[t].at, hist[l].msg[hist[l].count].seen)
		:: else
		fi;
		view[t].at[l] = hist[l].count;
		if
		:: dst == (from) ->
			append(t, l, x, order);
			JOIN(hist[l].msg[hist[l].count].seen,
			     hist[l].msg[hist[l].count - 1].seen)
		:: else
		fi
	}
}

inline mutex_lock(t, m)
{
	d_step {
		!lock_held[m] ->
		lock_held[m] = 1;
		JOIN(view[t].at, lock_view[m].at)
	}
}

inline mutex_unlock(t, m)
{
	d_step {
		JOIN(lock_view[m].at, view[t].at);
		lock_held[m] = 0
	}
}

/* Lock and unlock at once: starts an atomic that nobody could see half done. */
inline mutex_pass(t, m)
{
	d_step {
		!lock_held[m] ->
		JOIN(view[t].at, lock_view[m].at);
		JOIN(lock_view[m].at, view[t].at)
	}
}

inline rcu_enter(t)
{
	d_step {
		inside[t] = 1;
		JOIN(view[t].at, enter_view.at)
	}
}

inline rcu_leave(t)
{
	d_step {
		inside[t] = 0;
#ifndef SECTIONS_ONLY_READ
		JOIN(leave_view.at, view[t].at);
#endif
		w_ = 0;
		do
		:: w_ < NTHR ->
#ifndef SECTIONS_ONLY_READ
			if
			:: owed[w_].by[t] -> JOIN(owed_view[w_].at, view[t].at)
			:: else
			fi;
#endif
			owed[w_].by[t] = 0;
			w_++
		:: else -> break
		od
	}
}

inline rcu_synchronize_begin(t)
{
	d_step {
		note_open_sections(t);
		JOIN(enter_view.at, view[t].at);
#ifndef SECTIONS_ONLY_READ
		JOIN(owed_view[t].at, leave_view.at)
#endif
	}
}

inline rcu_synchronize_end(t)
{
	d_step {
		no_section_owed(t) ->
#ifndef SECTIONS_ONLY_READ
		JOIN(view[t].at, owed_view[t].at)
#endif
	}
}

/* A thread that ends: what it knew no longer tells two states apart. */
inline forget(t)
{
	d_step {
		k_ = 0;
		do
		:: k_ < NLOC -> view[t].at[k_] = 0; k_++
		:: else -> break
		od
	}
}

#endif /* TSO */

/* A lock that is a bit of a word: waits for the bit, sets it; dst is the rest of the word. */
inline lock_bit(t, l, mask, order, dst)
{
	atomic {
		drained(t) && (newest(l) & (mask)) == 0 ->
		fetch_add(t, l, mask, order, dst)
	}
}

inline rcu_synchronize(t)
{
	rcu_synchronize_begin(t);
	rcu_synchronize_end(t)
}
