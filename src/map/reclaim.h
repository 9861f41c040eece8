/* SPDX-License-Identifier: MIT */
/*
 * reclaim.h - deferred reclamation: queues, the reclaimer thread, waiting.
 */
#ifndef MSLOT_MAP_RECLAIM_H
#define MSLOT_MAP_RECLAIM_H

#include "map/snapshot.h"

/* Queue what a commit retired, whose bytes are counted. Writer mutex held, after the publish. */
void reclaim_retire(struct mslot_map *map, struct retired *batch);

/*
 * Free, or give to holds, the nodes of up to max_batches batches whose grace period is
 * over, and of holds that were put. Writer mutex held.
 */
void reclaim_run(struct mslot_map *map, unsigned int max_batches);
#define RECLAIM_ALL (~0u)

/* A commit's share: cheap when there is nothing to do. Writer mutex held. */
static inline void reclaim_some(struct mslot_map *map)
{
	/* A stale value only delays recycling. */
	if (map->retired_head && map->retired_head->generation <
				     atomic_load_explicit(&map->graced, memory_order_acquire))
		reclaim_run(map, 4);
}

/* Note that every section entered before `generation` was published has been left. */
void reclaim_graced(struct mslot_map *map, uint64_t generation);

/*
 * Wait for a grace period on the calling thread and note it. No mutex held, not in a
 * section.
 */
void reclaim_synchronize(struct mslot_map *map);

/*
 * Ask the reclaimer thread to look after a map: a grace period if one is due, then
 * reclaim_run(). Urgent: somebody waits, or a region may be released; it then waits for
 * the writer mutex rather than leaving the work to the next commit. Any context.
 */
void reclaimer_kick(struct mslot_map *map, bool urgent);

/* Count a user (a map, a region with a release callback) and start the thread. 0 or -EAGAIN. */
int reclaimer_get(void);
void reclaimer_put(void);

/* Have `release` called and the region freed by the reclaimer. Any context. */
void reclaimer_release(struct mslot_region *region);

/*
 * A lease that somebody watches was put, or a region parked: wake those who wait, and have
 * the reclaimer call lease_rescan(). Any context.
 */
void reclaimer_stir(void);

/* Is the calling thread the reclaimer, that is, in a release callback? */
bool reclaimer_self(void);

/* Forget a map that is being destroyed: returns when the reclaimer no longer touches it. */
void reclaimer_forget(struct mslot_map *map);

/*
 * Wait until the callbacks of all regions queued for release so far have returned, or the
 * deadline of reclaimer_wait(). Returns 0 or -ETIMEDOUT.
 */
int reclaimer_flush(uint64_t deadline_ns);

/*
 * Sleep until done(map, arg) or the deadline (absolute CLOCK_MONOTONIC ns, UINT64_MAX
 * for ever). done() is called without locks after every step of the reclaimer.
 * Returns 0 or -ETIMEDOUT.
 */
int reclaimer_wait(bool (*done)(struct mslot_map *map, uint64_t arg), struct mslot_map *map,
		   uint64_t arg, uint64_t deadline_ns);

/* Fork: called by fork.c with every map locked. */
void reclaimer_before_fork(void);
void reclaimer_after_fork(bool child);
/* In the child: queue a map again, because its place in the reclaimer's loop was lost. */
void reclaimer_requeue(struct mslot_map *map);

/* Now, CLOCK_MONOTONIC, in ns. */
uint64_t now_ns(void);
/* When a timeout ends: UINT64_MAX, which is never, for one below 0. */
uint64_t deadline_of(int64_t timeout_ns);

/* A condition whose deadlines are of that clock. Returns 0 or an errno, positive. */
int cond_init(pthread_cond_t *cond);
/* Wait once, until then at the latest; *err is ETIMEDOUT when that was the end, else 0. */
void cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t deadline_ns, int *err);

#endif /* MSLOT_MAP_RECLAIM_H */
