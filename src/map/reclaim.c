/* SPDX-License-Identifier: MIT */
/*
 * reclaim.c - when dead nodes may be freed, and freeing them.
 *
 * Data. What died with a superseded snapshot is a batch; batches queue in order of
 * generation on map->retired_head. graced says how far grace periods have come,
 * reclaimed how far the queue was worked off.
 *
 * Invariants
 *   C1 reclaimed <= graced <= published
 *   C2 a batch leaves the queue only when its generation < graced: every section that
 *      could have entered its snapshot has been left
 *   C3 a node of a batch is freed only when no hold has a generation in [birth, death);
 *      else the youngest such hold gets it (hold.c, H2)
 *   C4 retired_bytes and held_bytes are the sums over the queue and over the holds
 *
 * Why the youngest: when that hold is put, the next older one is the only candidate left,
 * so a node is looked at once for each hold that ever pinned it, and never searched for.
 */
#include "map/reclaim.h"

#include <time.h>

#include "base/alloc.h"
#include "base/perturb.h"
#include "base/rcu.h"
#include "map/hold.h"

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

uint64_t deadline_of(int64_t timeout_ns)
{
	if (timeout_ns < 0)
		return UINT64_MAX;
	/* now + timeout stays below UINT64_MAX: both are below 2^63. */
	return now_ns() + (uint64_t)timeout_ns;
}

void reclaim_retire(struct mslot_map *map, struct retired *batch)
{
	batch->next = NULL;
	*map->retired_tail = batch;
	map->retired_tail = &batch->next;
	map->retired_bytes += batch->bytes;
	map->unasked_bytes += batch->bytes;
}

/* Freeing nodes of one map; references of dead slots gather while the region stays the same. */
struct disposal {
	struct mslot_map *map;
	struct mslot_region *region;
	uint64_t nrefs;
};

static void drop_references(struct disposal *d)
{
	if (d->nrefs)
		region_unref(d->region, d->nrefs);
	d->nrefs = 0;
}

static void free_node(struct disposal *d, struct pool_link *link, bool is_slot)
{
	struct mslot_region *region;

	if (is_slot) {
		log_view_destroy(((struct mslot_slot *)link)->log);
		region = ((struct mslot_slot *)link)->region;
		if (region != d->region)
			drop_references(d);
		d->region = region;
		d->nrefs++;
	}
	pool_free(&d->map->pool, link);
}

/* Free a node that `hold` (may be NULL) does not reach, else that gets it. */
static void dispose_node(struct disposal *d, struct pool_link *node, struct mslot_hold *hold,
			 bool is_slot)
{
	struct pool_link **pinned;

	if (hold && hold->generation >= node->birth) {
		pinned = is_slot ? &hold->pinned.slots : &hold->pinned.nodes;
		node->next = *pinned;
		*pinned = node;
		d->map->held_bytes += pool_node_bytes(node);
	} else {
		free_node(d, node, is_slot);
	}
}

static void dispose_list(struct disposal *d, struct pool_link *list, struct mslot_hold *hold,
			 bool are_slots)
{
	struct pool_link *next;

	for (; list; list = next) {
		next = list->next;
		dispose_node(d, list, hold, are_slots);
	}
}

/* What the next batches need was last touched long ago: have it at hand by then. */
static void prefetch_batches(const struct retired *next)
{
	uint32_t i;

	if (!next)
		return;
	for (i = 0; i < next->nfew; i++) {
		__builtin_prefetch(next->few[i], 1);
		__builtin_prefetch(pool_slab_of(next->few[i]), 1);
	}
	if (!next->next)
		return;
	__builtin_prefetch(next->next);
	__builtin_prefetch(&next->next->few[0]);
	__builtin_prefetch(&next->next->few[8]);
}

static void dispose_batch(struct disposal *d, struct retired *batch)
{
	struct mslot_hold *hold = hold_youngest(d->map, batch->generation);
	uint32_t i;

	prefetch_batches(batch->next);
	d->map->retired_bytes -= batch->bytes;
	for (i = 0; i < batch->nfew; i++)
		dispose_node(d, batch->few[i], hold, false);
	if (batch->slot)
		dispose_node(d, batch->slot, hold, true);
	dispose_list(d, batch->lists.nodes, hold, false);
	dispose_list(d, batch->lists.slots, hold, true);
	pool_free(&d->map->pool, batch);
}

static uint64_t list_bytes(const struct pool_link *list)
{
	uint64_t bytes = 0;

	for (; list; list = list->next)
		bytes += pool_node_bytes(list);
	return bytes;
}

/* A hold was put: its nodes go to the next older hold that reaches them, or are freed. */
static void dispose_hold(struct disposal *d, struct mslot_hold *dropped)
{
	struct mslot_map *map = d->map;
	struct mslot_hold *hold = hold_youngest(map, dropped->generation);

	PERTURB(HOLD_INHERIT);
	map->held_bytes -= list_bytes(dropped->pinned.nodes) + list_bytes(dropped->pinned.slots);
	dispose_list(d, dropped->pinned.nodes, hold, false);
	dispose_list(d, dropped->pinned.slots, hold, true);
	mem_free(dropped);
}

void reclaim_run(struct mslot_map *map, unsigned int max_batches)
{
	/* Acquire: what readers did in their sections before we reuse the memory. Pairs with
	 * reclaim_graced(). */
	uint64_t graced = atomic_load_explicit(&map->graced, memory_order_acquire);
	struct disposal d = {.map = map};
	struct retired *batch;
	struct mslot_hold *dropped;

	PERTURB(BEFORE_RECLAIM);
	pthread_mutex_lock(&map->holds_lock);
	while (max_batches-- && (batch = map->retired_head) != NULL && batch->generation < graced) {
		map->retired_head = batch->next;
		if (!map->retired_head)
			map->retired_tail = &map->retired_head;
		dispose_batch(&d, batch);
	}
	/* Somebody has waited for a grace period: there is nothing to ask the reclaimer for. */
	if (!map->retired_head)
		map->unasked_bytes = 0;
	while ((dropped = map->dropped) != NULL) {
		map->dropped = dropped->next;
		dispose_hold(&d, dropped);
	}
	drop_references(&d);
	PERTURB(BEFORE_RECLAIMED);
	/* Release: regions queued for release before the waiter's look at the queue. Pairs with
	 * mslot_wait(). */
	atomic_store_explicit(&map->reclaimed,
			      map->retired_head && map->retired_head->generation < graced
				  ? map->retired_head->generation
				  : graced,
			      memory_order_release);
	pthread_mutex_unlock(&map->holds_lock);
}

void reclaim_graced(struct mslot_map *map, uint64_t generation)
{
	uint64_t seen = atomic_load_explicit(&map->graced, memory_order_relaxed);

	/* Release: the grace period before the reuse. Pairs with reclaim_run(). Never lowers. */
	while (seen < generation &&
	       !atomic_compare_exchange_weak_explicit(&map->graced, &seen, generation,
						      memory_order_release, memory_order_relaxed))
		;
}

void reclaim_synchronize(struct mslot_map *map)
{
	/*
	 * The generation first, the grace period after it: the other order would claim that
	 * readers of a snapshot published in between are gone. Acquire pairs with the store
	 * in commit_publish().
	 */
	uint64_t generation = atomic_load_explicit(&map->published, memory_order_acquire);

	PERTURB(GRACE_BEGINS);
	rcu_synchronize();
	PERTURB(GRACE_OVER);
	reclaim_graced(map, generation);
}
