/* SPDX-License-Identifier: MIT */
/*
 * perturb.h - named windows in which a stress test may delay a thread.
 * PERTURB() is empty unless MSLOT_TESTING is defined.
 */
#ifndef MSLOT_BASE_PERTURB_H
#define MSLOT_BASE_PERTURB_H

enum perturb_point {
	PERTURB_READER_ENTERED,     /* in the section, before loading the snapshot pointer */
	PERTURB_SNAPSHOT_LOADED,    /* snapshot loaded, nothing looked up yet */
	PERTURB_READER_LEAVING,     /* before leaving the section */
	PERTURB_BEFORE_PREPARE,     /* next snapshot built, no listener asked */
	PERTURB_BEFORE_ABORT,       /* a listener vetoed, those before it still prepared */
	PERTURB_BEFORE_UNDO,        /* commit refused, what it built still there */
	PERTURB_BEFORE_PUBLISH,     /* all prepared */
	PERTURB_POINTER_PUBLISHED,  /* readers see it, published still says the last one */
	PERTURB_AFTER_PUBLISH,      /* listeners told, published still says the last one */
	PERTURB_BEFORE_RETIRE,      /* noted as published, nothing retired */
	PERTURB_GRACE_BEGINS,       /* target read, grace period not begun */
	PERTURB_GRACE_OVER,         /* grace period over, not noted */
	PERTURB_AT_LIMIT,           /* commit has to wait, writer mutex not dropped yet */
	PERTURB_BEFORE_RECLAIM,     /* grace period noted, nothing freed */
	PERTURB_BEFORE_RECLAIMED,   /* queue worked off, not noted */
	PERTURB_REGION_AT_ZERO,     /* last reference gone, release not queued */
	PERTURB_BEFORE_RELEASE,     /* region unreachable, callback not called */
	PERTURB_HOLD_REGISTER,      /* about to register a hold */
	PERTURB_HOLD_PUT,           /* hold removed from the list, its nodes not handed on */
	PERTURB_HOLD_INHERIT,       /* the same, and off the list of put holds */
	PERTURB_WAIT_LOOKED,        /* a waiter looked in vain, does not sleep yet */
	PERTURB_WAIT_UNREACHABLE,   /* nothing reachable, releases not counted */
	PERTURB_MARK_LIVE_LOADED,   /* a write's data stored, its mark not made */
	PERTURB_HARVEST_SWAPPED,    /* writers mark the other bits, old marks may still come */
	PERTURB_LEASE_FILLED,       /* record filled, not active yet */
	PERTURB_LEASE_ENDED,        /* record no longer active, not given back, nobody told */
	PERTURB_LEASE_SEEN,         /* a scan saw it active, has not read it yet */
	PERTURB_REGION_PARKED,      /* on the list, the reclaimer does not know */
	PERTURB_WAIT_SETTLED,       /* no lease to wait for, releases not counted */
	PERTURB_VCPU_INSIDE,        /* a vCPU counts as inside, its requests not answered */
	PERTURB_VCPU_ANSWERED,      /* requests answered, the gate not looked at */
	PERTURB_VCPU_OUT,           /* a vCPU is out, whoever waits for that not woken */
	PERTURB_VCPU_ASKED,         /* a request posted, not known whether to kick */
	PERTURB_VCPUS_ASKED,        /* all asked, grace period not begun */
	PERTURB_GATE_CLOSED,        /* gate closed, no vCPU asked to come out */
	PERTURB_GATE_WATCHED,       /* a vCPU is inside and watched, the committer not asleep */
	PERTURB_EXCLUDED,           /* no vCPU inside, nothing committed */
	PERTURB_RING_CLAIMED,       /* a page claimed for a ring, no entry of it made */
	PERTURB_RING_FILLED,        /* an entry filled, its flags not stored */
	PERTURB_RING_ADMITTED,      /* pages in the ring, the data not stored */
	PERTURB_RING_COLLECTED,     /* an entry read, not given to the reset */
	PERTURB_RING_GIVEN,         /* an entry free again, its page still counts as in a ring */
	PERTURB_RING_RESET,         /* pages no longer in rings, grace period not begun */
	PERTURB_DEFERRED_BREAK,     /* some of what was deferred was run, the mutex free */
	PERTURB_FAULT_RESOLVED,     /* a fault knows its slot, has not walked */
	PERTURB_FAULT_WALKED,       /* its entry found, its guard not taken */
	PERTURB_FAULT_LOCKED,       /* its guard taken, the snapshot not looked at again */
	PERTURB_SLOT_CLAIMED,       /* bits of the slot set, the snapshot not looked at again */
	PERTURB_FAULT_AGAIN,        /* something had changed, it begins anew */
	PERTURB_LEAF_BUSY,          /* a leaf in its reverse map, its entry busy */
	PERTURB_LEAF_SEEN,          /* a leaf to be taken out, its guard not taken */
	PERTURB_LEAF_TAKEN,         /* out of its reverse map and its entry, the guard still held */
	PERTURB_HEAD_LOCKED,        /* a range has a guard, its leaves not visited */
	PERTURB_CHUNK_DIES,         /* its last slot is gone, none of its heads is dead yet */
	PERTURB_TABLE_UNLINKED,     /* a table unlinked, its grace period not asked for */
	PERTURB_TABLE_TAKEN_APART,  /* the grace period is over, its leaves are in reverse maps */
	PERTURB_TABLE_EVICTED,      /* unlinked by the budget, not retired */
	PERTURB_TABLE_QUEUE_LOCKED, /* retired, in the queue still, which is locked */
	PERTURB_INVALIDATION_BEGUN, /* counted, nothing zapped */
	PERTURB_INVALIDATION_ENDING, /* the sequence moved, counted still */
	PERTURB_POINTS
};

#ifdef MSLOT_TESTING
#include <stdatomic.h>
#include <stddef.h>

/* Set by tests, called with the point. NULL: nothing happens. */
extern void (*_Atomic perturb_hook)(enum perturb_point point);

static inline void perturb(enum perturb_point point)
{
	/* Relaxed: the hook must add no order that the library itself does not make. */
	void (*hook)(enum perturb_point) =
	    atomic_load_explicit(&perturb_hook, memory_order_relaxed);

	if (hook)
		hook(point);
}

/* Guards of the MMU that the calling thread holds, and the most since a test cleared it (T3). */
extern _Thread_local unsigned int perturb_guards, perturb_guards_most;

static inline void perturb_guard_locked(void)
{
	if (++perturb_guards > perturb_guards_most)
		perturb_guards_most = perturb_guards;
}

#define PERTURB(point) perturb(PERTURB_##point)
#define PERTURB_GUARD_LOCKED() perturb_guard_locked()
#define PERTURB_GUARD_FREE() ((void)perturb_guards--)
#else
#define PERTURB(point) ((void)0)
#define PERTURB_GUARD_LOCKED() ((void)0)
#define PERTURB_GUARD_FREE() ((void)0)
#endif

#endif /* MSLOT_BASE_PERTURB_H */
