/* SPDX-License-Identifier: MIT */
/*
 * lease.h - what waiting, release, commits and the dirty log need to know of leases.
 */
#ifndef MSLOT_MAP_LEASE_H
#define MSLOT_MAP_LEASE_H

#include <mslot/lease.h>

#include "map/snapshot.h"

/*
 * Has every lease been put that mslot_wait(generation) waits for: taken from an older
 * snapshot, and not intact in the current one? Those that have not are watched: their put
 * calls reclaimer_stir(). Queues parked regions that no lease holds any more, so that the
 * caller's next look at the queue of releases covers them. For reclaimer_wait(); never with
 * the registry's or the reclaimer's lock held.
 */
bool lease_settled(struct mslot_map *map, uint64_t generation);

/* Does a (write) lease of the map hold a page that `old` shows as it was taken, `next` not? */
bool lease_breaks(struct mslot_map *map, const struct mslot_snapshot *old,
		  const struct mslot_snapshot *next, bool writes_only);

/* Leases of the map that are not put. */
uint64_t lease_count(struct mslot_map *map);

/* The last reference of a region that was ever leased is gone: release it when no lease is. */
void lease_park(struct mslot_region *region);
/* Queue the parked regions that no lease holds; the puts of the leases of others will stir. */
void lease_rescan(void);

/* Memory of threads that have ended and hold no lease. */
void lease_sweep(void);
/* For tests that count allocations: as if the calling thread had ended. */
void lease_thread_drop(void);

/* Memory that a lease holds: one slot's part of its span. */
struct lease_span {
	const struct mslot_region *region;
	uint64_t hva;
	uint64_t len_bytes;
	uint64_t generation; /* of the snapshot that it was taken from */
};

/*
 * Every part of every write lease of the map. Leases that are taken or put meanwhile may be
 * missing or still there. visit() runs under the registry's lock: it must not take a lease
 * (a put is fine) and must not wait.
 */
void lease_for_each_write(struct mslot_map *map,
			  void (*visit)(void *ctx, const struct lease_span *span), void *ctx);

/* Fork: called by fork.c after the maps' locks and before the reclaimer's. */
void lease_before_fork(void);
void lease_after_fork(bool child);

#endif /* MSLOT_MAP_LEASE_H */
