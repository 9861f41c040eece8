/* SPDX-License-Identifier: MIT */
/*
 * harvest.c - emptying what is live, and a consumer's share of it.
 *
 * The order of harvest_run(), and what each step is for:
 *   swap, then the grace period   a section that loaded the old bitmap before the swap marks
 *                                 there before the grace period ends; one that opens later
 *                                 marks in the new one
 *   swap, then the flush          a vCPU's own cache lets it write unmarked to a page that it has
 *                                 marked; that goes with the mark. It is asked before the grace
 *                                 period: a later section marks again, in the new bitmap
 *   grace period, then fan-out    nobody marks in what the sets get, so that no mark falls
 *                                 between reading a word and clearing it
 *   grace period, then leases     a lease being taken is known by then; its mark of the take
 *                                 is in one of the two bitmaps. Marked in the new one it is in
 *                                 the next harvest; in this one it is by the mark of its take
 *                                 or of the harvest before. So a lease in use is in each
 *   fan-out to all sets           one consumer's harvest hides nothing from another
 * Clean extents need none of this: what was complete when the call began had been marked. But
 * where logging has begun since somebody last waited, sections from before may still store to
 * pages of new extents and mark elsewhere, or nowhere: then the grace period is due even so. It
 * stays due while there is a hold from before, on which leases can be taken. The flush is due with
 * it: such a commit may not have asked for its own yet.
 */
#include <errno.h>

#include "base/alloc.h"
#include "dirty/dirty.h"
#include "map/logging.h"
#include "map/wait.h"
#include "map/writer.h"

void harvest_begin(struct harvest *h, struct mslot_map *map)
{
	pthread_mutex_lock(&map->log.harvest_lock);
	map->log.harvests++;
	*h = (struct harvest){.map = map};
}

void harvest_add(struct harvest *h, const struct log_view *view, uint64_t first, uint64_t end)
{
	struct log_extent *extent, **list;
	uint64_t page, n, bit;

	for (page = first; page < end; page += n) {
		n = view_part(view, page, end, &extent, &bit);
		if (extent->harvest == h->map->log.harvests)
			continue;
		extent->harvest = h->map->log.harvests;
		list = log_extent_clean(extent) ? &h->clean : &h->marked;
		extent->next_taken = *list;
		*list = extent;
	}
}

void harvest_run(struct harvest *h, const struct mslot_snapshot *snap)
{
	struct log_extent *extent;

	/* Acquire: pairs with the store in commit_publish(). */
	if (!h->marked && !atomic_load_explicit(&h->map->log.begun, memory_order_acquire))
		return;
	for (extent = h->marked; extent; extent = extent->next_taken)
		log_extent_swap(extent);
	map_flush(h->map);
	logging_mark_write_leases(h->map, snap);
	for (extent = h->marked; extent; extent = extent->next_taken)
		log_extent_fan_out(extent);
}

void harvest_end(struct harvest *h)
{
	pthread_mutex_unlock(&h->map->log.harvest_lock);
}

/* What was reported and not acknowledged, and what is fresh, become the batch. */
static void take_set(struct log_extent *extents, uint32_t number)
{
	struct log_extent *extent;
	struct log_bits *bits;
	struct log_set *set;

	for (extent = extents; extent; extent = extent->next_taken) {
		set = log_extent_set(extent, number);
		if (!set)
			continue;
		log_bits_move(set->fresh, set->batch);
		bits = set->fresh;
		set->fresh = set->batch;
		set->batch = bits;
	}
}

static int hold_newest(struct mslot_dirty_batch *batch, const struct mslot_dirty *dirty)
{
	int err;

	batch->snap = mslot_enter(dirty->map);
	err = mslot_hold(batch->snap, dirty->tagged ? dirty->tag : NULL, &batch->hold);
	mslot_leave(batch->snap);
	return err;
}

static int harvest_scope(struct mslot_dirty *dirty, struct mslot_dirty_batch *batch)
{
	struct scope_cursor cursor;
	struct window w;
	struct harvest h;
	int err;

	harvest_begin(&h, dirty->map);
	/* Inside, so that what the batch shows is not older than what another harvest cleared. */
	err = hold_newest(batch, dirty);
	if (!err) {
		scope_begin(&cursor, dirty, batch->snap);
		while (scope_next(&cursor, &w))
			harvest_add(&h, w.slot->log, w.first, w.end);
		harvest_run(&h, batch->snap);
		take_set(h.marked, dirty->set);
		take_set(h.clean, dirty->set);
	}
	harvest_end(&h);
	return err;
}

int mslot_dirty_get(struct mslot_dirty *dirty, struct mslot_dirty_batch **out)
{
	struct mslot_dirty_batch *batch;
	int err;

	if (map_wait_refused())
		return -EDEADLK;
	batch = mem_zalloc(sizeof(*batch));
	if (!batch)
		return -ENOMEM;
	batch->dirty = dirty;
	err = harvest_scope(dirty, batch);
	if (err) {
		mem_free(batch);
		return err;
	}
	mslot_dirty_rewind(batch);
	/* Its pages are in the new one. */
	if (dirty->batch)
		batch_free(dirty->batch);
	dirty->batch = batch;
	*out = batch;
	return 0;
}
