/* SPDX-License-Identifier: MIT */
/*
 * dirty_writers.pml - the threads of dirty.pml that write to the page: a writer in sections,
 * one through a hold, a device under a write lease. Part of dirty.pml, which includes it.
 */
/* log_mark() */
inline mark(me, cur, b)
{
	load(me, LIVE, LOAD_LIVE, cur);
	load(me, BIT(cur), TEST, b);
	if
	:: b == 0 ->
#ifdef SUMMARY_LATE
		exchange(me, BIT(cur), 1, SET_BIT, b);
#endif
		atomic {
			load(me, SUMMARY(cur), RLX, b);
			if
			:: b == 0 -> exchange(me, SUMMARY(cur), 1, RLX, b)
			:: else
			fi
		};
#ifndef SUMMARY_LATE
		exchange(me, BIT(cur), 1, SET_BIT, b)
#endif
	:: else
	fi;
	d_step {
		cur = 0;
		b = 0
	}
}

inline write_data(me, n, s)
{
	if
	:: mapped(s) -> store(me, DATA(me), n, RLX)
	:: else
	fi
}

inline write_mark(me, s, cur, b)
{
	if
	:: logged(s) -> mark(me, cur, b)
	:: else
	fi
}

/* Each write in a section of its own, on the newest snapshot. */
proctype writer(byte me, writes)
{
	WM_LOCALS;
	byte n, s, cur, b;

	do
	:: n < writes ->
		n++;
		rcu_enter(me);
#ifdef SNAPSHOTS
		load(me, SNAPSHOT, ACQ, s);
#endif
#ifdef MARK_FIRST
		write_mark(me, s, cur, b);
		write_data(me, n, s);
#else
		write_data(me, n, s);
#ifdef MARK_OUTSIDE
		rcu_leave(me);
#endif
		write_mark(me, s, cur, b);
#endif
		atomic {
#ifndef MARK_OUTSIDE
			rcu_leave(me);
#endif
			if
			:: mapped(s) -> complete(me, n)
			:: else
			fi;
			s = 0
		}
	:: else -> break
	od;
	atomic {
		forget(me);
		n = 0;
		done++
	}
}

/* On the newest snapshot, in a section; what comes after needs none to keep it. */
inline hold(s)
{
#ifdef SNAPSHOTS
	rcu_enter(1);
	load(1, SNAPSHOT, ACQ, s);
	atomic {
		holding = 1;
		rcu_leave(1)
	}
#else
	skip
#endif
}

inline hold_put()
{
	holding = 0
}

/* The caller learns what was done through the hold: both took the lock of the holds. */
inline wait_for_hold(me)
{
	atomic {
		!holding -> learn(me, 1)
	}
}

/* A write through a held snapshot: only the mark is in a section. */
proctype hold_writer()
{
	WM_LOCALS;
	byte s, cur, b;

	hold(s);
#ifndef MARK_FIRST
	write_data(1, 1, s);
#endif
#ifndef MARK_OUTSIDE
	rcu_enter(1);
#endif
	write_mark(1, s, cur, b);
#ifndef MARK_OUTSIDE
	rcu_leave(1);
#endif
#ifdef MARK_FIRST
	write_data(1, 1, s);
#endif
	atomic {
		drained(1);
		tell(1);
		hold_put();
		if
		:: mapped(s) -> complete(1, 1)
		:: else
		fi;
		forget(1);
		s = 0;
		done++
	}
}

#ifdef LEASE
/* mslot_lease_take(): on the newest snapshot, or (LEASE_HOLD) a held one: then only the mark
 * is in a section. */
inline lease_take(s, cur, b)
{
#ifdef LEASE_HOLD
	hold(s);
#else
	rcu_enter(1);
#ifdef SNAPSHOTS
	load(1, SNAPSHOT, ACQ, s);
#endif
#endif
	if
	:: mapped(s) ->
#ifndef MARK_FIRST
		store(1, STATE, ACTIVE, REL);
#endif
#ifdef LEASE_HOLD
		rcu_enter(1);
#endif
		write_mark(1, s, cur, b);
#ifdef LEASE_HOLD
		rcu_leave(1);
#endif
#ifdef MARK_FIRST
		store(1, STATE, ACTIVE, REL);
#endif
		taken = 1
	:: else
	fi;
	atomic {
#ifdef LEASE_HOLD
		drained(1);
		hold_put();
#else
		rcu_leave(1);
#endif
		s = 0;
		held = taken;
		tell(1)
	}
}

proctype device()
{
	WM_LOCALS;
	byte s, cur, b;
	bit taken;

	lease_take(s, cur, b);
	if
	:: taken ->
		store(1, DATA(1), 1, RLX);
		held = 0;
#ifdef PUT_RELAXED
		store(1, STATE, ENDED, RLX);
#else
		exchange(1, STATE, ENDED, ACQ_REL, b);
#endif
		atomic {
			drained(1);
			complete(1, 1)
		}
	:: else
	fi;
	atomic {
		forget(1);
		taken = 0;
		b = 0;
		done++
	}
}
#endif
