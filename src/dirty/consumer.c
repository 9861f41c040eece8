/* SPDX-License-Identifier: MIT */
/*
 * consumer.c - beginning and ending consumers.
 *
 * Invariants
 *   N1 bit i of map->log.consumers is set exactly while consumer i exists; its ranges are
 *      then in map->log.ranges
 *   N2 an extent of the published map in which a consumer's pages are has its set
 *   N3 no extent of the published map has the set of a consumer that does not exist: it
 *      goes with the consumer, so that the next one of that number begins clean. What only
 *      older snapshots reach keeps it and never comes back into the map; a final harvest
 *      might show it, which is why there must be none
 *
 * Protocol. The harvest lock, then the writer mutex: no harvest and no commit is under way.
 * Slots whose logging changes get an edit each, which sets the flags they have; commits give
 * its result a log, or none. Then both are dropped, and readers that entered before are
 * waited for: they store without marking.
 */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "dirty/dirty.h"
#include "map/logging.h"
#include "map/txn.h"
#include "map/wait.h"

static uint32_t set_bit(const struct mslot_dirty *dirty)
{
	return UINT32_C(1) << dirty->set;
}

/* ---- The map's list of ranges ---- */

static int add_ranges(const struct mslot_dirty *dirty, bool fill)
{
	struct map_log *log = &dirty->map->log;
	struct log_range *ranges;
	size_t i;

	ranges = mem_realloc(log->ranges, (log->nranges + dirty->nranges) * sizeof(*ranges));
	if (!ranges)
		return -ENOMEM;
	log->ranges = ranges;
	for (i = 0; i < dirty->nranges; i++)
		ranges[log->nranges++] = (struct log_range){
		    .consumer = dirty->set,
		    .space = dirty->ranges[i].space,
		    .first_gfn = dirty->ranges[i].first_gfn,
		    .end_gfn = dirty->ranges[i].end_gfn,
		    .fill = fill,
		};
	return 0;
}

/* Those of the consumer go behind the end, where restoring nranges finds them. */
static void remove_ranges(const struct mslot_dirty *dirty)
{
	struct map_log *log = &dirty->map->log;
	struct log_range range;
	size_t i, n = 0;

	for (i = 0; i < log->nranges; i++) {
		if (log->ranges[i].consumer == dirty->set)
			continue;
		range = log->ranges[i];
		log->ranges[i] = log->ranges[n];
		log->ranges[n++] = range;
	}
	log->nranges = n;
}

/* ---- Extents and slots ---- */

/*
 * Sets for the slots of the scope that are logged already: whole, as they are logged, since
 * pages out of the scope may come into it.
 */
static int equip_view(const struct mslot_dirty *dirty, const struct log_view *view, bool fill)
{
	const struct log_wants wants = {.sets = set_bit(dirty)};
	const struct log_piece *piece;
	struct log_set *set;
	bool added;
	uint32_t i;
	int err;

	for (i = 0; i < view->npieces; i++) {
		piece = &view->pieces[i];
		err = log_extent_equip(piece->extent, &wants, piece->first, piece->npages, &added);
		if (err)
			return err;
		/* Here, not by wants.fill: the set may be there for another slot's pages. */
		set = log_extent_set(piece->extent, dirty->set);
		if (fill)
			log_bits_set_range(set->fresh, piece->first - piece->extent->first,
					   piece->npages);
	}
	return 0;
}

static int equip_scope(const struct mslot_dirty *dirty, bool fill)
{
	struct scope_cursor cursor;
	const struct mslot_slot *slot;
	int err = 0;

	scope_begin(&cursor, dirty, map_current(dirty->map));
	while (!err && (slot = scope_next_slot(&cursor)) != NULL)
		if (slot->log)
			err = equip_view(dirty, slot->log, fill);
	return err;
}

static void drop_sets(const struct mslot_dirty *dirty)
{
	const struct mslot_snapshot *snap = map_current(dirty->map);
	struct index_cursor cur;
	struct index_entry entry;
	uint32_t i;

	index_cursor_init(&cur, &snap->id, 0, UINT64_MAX);
	while (index_cursor_next(&cur, &entry)) {
		const struct log_view *view = ((const struct mslot_slot *)entry.item)->log;

		for (i = 0; view && i < view->npieces; i++)
			log_extent_drop_set(view->pieces[i].extent, dirty->set);
	}
}

/* An edit of a slot that gives it, or takes away, what logging it ought to have. */
static int add_edit(struct mslot_txn *txn, const struct mslot_slot *slot)
{
	struct mslot_edit edit = {
	    .kind = MSLOT_EDIT_SET_FLAGS,
	    .edit_flags = slot->is_private ? MSLOT_EDIT_PRIVATE : 0,
	    .def = {.key = {.space = slot->space, .id = slot->id}, .flags = slot->flags},
	};
	struct log_wants wants;
	int index;

	if (slot->flags & MSLOT_GUEST_MEMFD)
		return 0;
	wants = logging_wants(txn->map, slot->space, slot->base_gfn, slot->npages, slot->flags);
	if ((wants.sets != 0) == (slot->log != NULL))
		return 0;
	index = txn_add(txn, &edit);
	return index < 0 ? index : 0;
}

/* Slots of the scope are logged exactly if somebody wants it, as the ranges say now. */
static int switch_logging(const struct mslot_dirty *dirty)
{
	static const struct txn_commit_args args = {.slot_flags = MSLOT_LOG_DIRTY | MSLOT_READONLY};
	const struct mslot_slot *slot, *last = NULL;
	struct scope_cursor cursor;
	struct mslot_txn txn;
	int err = 0;

	txn_init(&txn, dirty->map);
	scope_begin(&cursor, dirty, map_current(dirty->map));
	while (!err && (slot = scope_next_slot(&cursor)) != NULL) {
		/* One that meets several ranges comes several times, at once. */
		if (slot != last)
			err = add_edit(&txn, slot);
		last = slot;
	}
	if (!err)
		err = txn_commit_locked(&txn, &args, NULL);
	txn_fini(&txn);
	return err;
}

/* ---- Create ---- */

static int choose_set(struct mslot_dirty *dirty)
{
	uint32_t taken = dirty->map->log.consumers | 1u << LOG_SET_KVM;
	uint32_t set = 0;

	while (set < LOG_SETS && taken & 1u << set)
		set++;
	if (set == LOG_SETS)
		return -EBUSY;
	dirty->set = set;
	return 0;
}

/* Both locks held. */
static int attach(struct mslot_dirty *dirty, bool fill)
{
	struct map_log *log = &dirty->map->log;
	int err = choose_set(dirty);

	if (err)
		return err;
	err = add_ranges(dirty, fill);
	if (err)
		return err;
	err = equip_scope(dirty, fill);
	if (!err)
		err = switch_logging(dirty);
	if (err) {
		remove_ranges(dirty);
		drop_sets(dirty);
		return err;
	}
	log->consumers |= set_bit(dirty);
	return 0;
}

static int consumer_alloc(struct mslot_map *map, const struct mslot_dirty_options *opt,
			  struct mslot_dirty **out)
{
	struct mslot_dirty *dirty;
	size_t bytes;
	int err;

	if (opt && (opt->flags & ~MSLOT_DIRTY_INITIALLY_SET))
		return -EINVAL;
	if (__builtin_mul_overflow(scope_room(map, opt), sizeof(dirty->ranges[0]), &bytes) ||
	    __builtin_add_overflow(bytes, sizeof(*dirty), &bytes))
		return -ENOMEM;
	dirty = mem_zalloc(bytes);
	if (!dirty)
		return -ENOMEM;
	dirty->map = map;
	dirty->tagged = opt && opt->tag;
	if (dirty->tagged)
		memcpy(dirty->tag, opt->tag, strnlen(opt->tag, sizeof(dirty->tag) - 1));
	err = scope_init(map, opt, dirty->ranges, &dirty->nranges);
	if (err) {
		mem_free(dirty);
		return err;
	}
	*out = dirty;
	return 0;
}

int mslot_dirty_create(struct mslot_map *map, const struct mslot_dirty_options *opt,
		       struct mslot_dirty **out)
{
	bool fill = opt && (opt->flags & MSLOT_DIRTY_INITIALLY_SET);
	struct mslot_dirty *dirty;
	int err;

	if (map_wait_refused())
		return -EDEADLK;
	err = consumer_alloc(map, opt, &dirty);
	if (err)
		return err;
	pthread_mutex_lock(&map->log.harvest_lock);
	err = map_write_begin(map);
	if (!err) {
		err = attach(dirty, fill);
		map_write_end(map);
	}
	pthread_mutex_unlock(&map->log.harvest_lock);
	if (err) {
		mem_free(dirty);
		return err;
	}
	/*
	 * Also where nothing was switched: another call may have, and be waiting still. Where vCPUs
	 * have rings, what lets one of them write without a mark may stand on an entry there, of
	 * which the new consumer knows nothing: it goes.
	 */
	if (atomic_load_explicit(&map->log.ring_entries, memory_order_relaxed))
		map_flush(map);
	else
		map_synchronize(map);
	*out = dirty;
	return 0;
}

/* ---- Destroy ---- */

/* Both locks held. */
static int detach(struct mslot_dirty *dirty)
{
	struct map_log *log = &dirty->map->log;
	size_t nranges = log->nranges;
	int err;

	if (log->nfinals > 0)
		return -EBUSY;
	remove_ranges(dirty);
	err = switch_logging(dirty);
	if (err) {
		log->nranges = nranges;
		return err;
	}
	drop_sets(dirty);
	log->consumers &= ~set_bit(dirty);
	return 0;
}

int mslot_dirty_destroy(struct mslot_dirty *dirty)
{
	struct mslot_map *map;
	int err;

	if (!dirty)
		return 0;
	if (map_wait_refused())
		return -EDEADLK;
	map = dirty->map;
	pthread_mutex_lock(&map->log.harvest_lock);
	err = map_write_begin(map);
	if (!err) {
		err = detach(dirty);
		map_write_end(map);
	}
	pthread_mutex_unlock(&map->log.harvest_lock);
	if (err)
		return err;
	if (dirty->batch)
		batch_free(dirty->batch);
	mem_free(dirty);
	return 0;
}
