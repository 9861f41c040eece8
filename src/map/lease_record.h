/* SPDX-License-Identifier: MIT */
/*
 * lease_record.h - the records of leases, the caches of threads that they come from, and
 * the registry of all caches. For lease.c, lease_thread.c and lease_scan.c alone.
 *
 * A record is one segment of a lease: one slot's part of its span. A lease of one slot is a
 * record; one of n slots is a head and n - 1 others, chained. Records never move, and their
 * memory is given back with their whole cache only, under the registry's lock: a scan that
 * holds it may read any record at any time.
 *
 * Invariants
 *   E1 a record is active, or on one list of its cache (`free` or `remote`), or in the hands
 *      of one thread between the two
 *   E2 fields are written by the taker only, while the record is not active; each life of
 *      a record has a sequence number of its own
 *   E3 WATCHED is set only on an active record, by a compare-and-swap under the registry's
 *      lock; the exchange that ends the life sees it
 *   E4 a cache without its thread is an orphan; its lists belong to the registry's lock
 */
#ifndef MSLOT_MAP_LEASE_RECORD_H
#define MSLOT_MAP_LEASE_RECORD_H

#include <mslot/lease.h>

#include "map/snapshot.h"

/* mslot_lease.state: sequence number << 2 | flags. */
#define LEASE_ACTIVE UINT64_C(1)
#define LEASE_WATCHED UINT64_C(2) /* somebody waits for the put */
#define LEASE_FLAGS (LEASE_ACTIVE | LEASE_WATCHED)

#define LEASE_TAG_WORDS 3u

/* What scans read is atomic, and relaxed: the state orders it. */
struct mslot_lease {
	_Alignas(64) _Atomic uint64_t state;
	_Atomic(struct mslot_lease *) next; /* of a free list; active: the next segment */
	_Atomic(struct mslot_map *) map;
	_Atomic(struct mslot_region *) region;
	_Atomic uint64_t gpa; /* of the segment, as the next two */
	_Atomic uint64_t len_bytes;
	_Atomic uint64_t hva;
	_Atomic uint64_t generation; /* of the snapshot */
	_Atomic uint64_t since_ns;   /* CLOCK_MONOTONIC_COARSE */
	_Atomic uint64_t span_bytes; /* of the whole lease in its head, else 0 */
	_Atomic uint32_t nsegs;      /* of the whole lease in its head */
	_Atomic uint16_t space;
	_Atomic uint16_t access;
	_Atomic uint64_t tag[LEASE_TAG_WORDS];
	/* The holder's own: no scan reads it. */
	union {
		struct iovec one;
		struct iovec *many; /* of a head with more segments than one */
	} iov;
};

_Static_assert(sizeof(struct mslot_lease) == 128, "a record is two cache lines");
_Static_assert(sizeof(((struct mslot_lease_holder *)NULL)->tag) ==
		   LEASE_TAG_WORDS * sizeof(uint64_t),
	       "a tag is as long as in mslot_lease_holders()");

/* Aligned to its size, so that a record finds its cache. */
#define LEASE_BLOCK_BYTES 4096u
#define LEASE_BLOCK_RECORDS 31u
struct lease_block {
	struct lease_thread *owner; /* constant */
	struct lease_block *next;
	_Alignas(128) struct mslot_lease rec[LEASE_BLOCK_RECORDS];
};
_Static_assert(sizeof(struct lease_block) == LEASE_BLOCK_BYTES, "a block is a page");

/* One thread's records. */
struct lease_thread {
	_Alignas(64) struct mslot_lease *free; /* the thread's own */
	/* Registry's lock. */
	struct lease_block *blocks;
	struct lease_thread *next;
	bool orphan;
	/* What other threads gave back; pushed by any, taken as a whole by the thread. */
	_Alignas(64) _Atomic(struct mslot_lease *) remote;
};

/* The calling thread's cache, or NULL. */
extern _Thread_local struct lease_thread *lease_cache;

static inline struct lease_thread *lease_owner(const struct mslot_lease *rec)
{
	uintptr_t block = (uintptr_t)rec & ~(uintptr_t)(LEASE_BLOCK_BYTES - 1);

	return ((const struct lease_block *)block)->owner;
}

/* The registry: the list of caches, their blocks, orphans, parked regions. */
void lease_registry_lock(void);
void lease_registry_unlock(void);

/* See that the calling thread has a cache with a free record. Returns 0 or -ENOMEM. */
int lease_refill(void);

/* All records of all threads, active or not. Registry locked; starts zeroed. */
struct lease_iter {
	const struct lease_thread *thread;
	struct lease_block *block;
	unsigned int i;
	bool begun;
};
struct mslot_lease *lease_iter_next(struct lease_iter *it);

/* CLOCK_MONOTONIC_COARSE, in ns: a few milliseconds coarse, and without a system call. */
uint64_t lease_now_ns(void);

#endif /* MSLOT_MAP_LEASE_RECORD_H */
