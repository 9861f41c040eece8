/* SPDX-License-Identifier: MIT */
/*
 * check.c - mslot_check_map(): every invariant, by walking everything.
 */
#include <errno.h>

#include "base/page.h"
#include "map/snapshot.h"

struct check {
	struct mslot_map *map;
	const struct mslot_snapshot *snap;
	uint64_t nslots, npages, bytes;
};

/* A view of all pages, by rising page and without gaps, in extents that have them. */
static bool log_sound(const struct check *k, const struct mslot_slot *slot)
{
	struct log_wants wants =
	    logging_wants(k->map, slot->space, slot->base_gfn, slot->npages, slot->flags);
	const struct log_view *log = slot->log;
	uint64_t page = slot->hva >> slot->page_shift;
	const struct log_piece *piece;
	uint32_t i;

	if (!log || !wants.sets)
		return !log && !wants.sets;
	if (log->first != page || log->npages != slot->npages)
		return false;
	for (i = 0; i < log->npieces; i++, page += piece->npages) {
		piece = &log->pieces[i];
		if (piece->first != page || page < piece->extent->first ||
		    page + piece->npages > piece->extent->first + piece->extent->npages)
			return false;
		if (wants.ring && !log_has_ring(piece->extent))
			return false;
	}
	return page == log->first + log->npages;
}

static const char *check_slot(const struct check *k, const struct mslot_slot *slot, uint32_t space)
{
	uint64_t name = slot_name_of(slot), frame = slot->hva >> slot->page_shift;
	struct index_entry entry;

	if (slot->space != space)
		return "slot: in the index of another space";
	if (slot->npages == 0 || slot->npages > MSLOT_MAX_SLOT_PAGES)
		return "slot: size out of range";
	if (slot->page_shift != k->snap->page_shift)
		return "slot: wrong page size";
	if (slot_end_gfn(slot) << slot->page_shift > k->map->opt.gpa_limit)
		return "slot: beyond gpa_limit";
	if (slot_offset_bytes(slot) + slot_len_bytes(slot) > slot->region->opt.len_bytes)
		return "slot: hva outside its region";
	if (!log_sound(k, slot))
		return "slot: its log does not cover its pages, or is not wanted";
	if (slot->is_private != (slot->id >= k->map->opt.max_user_slots))
		return "slot: wrong class of id";
	if (slot->link.birth > k->snap->generation)
		return "slot: born after its snapshot";
	if (!index_ranges_get(&k->snap->hva, frame, name, &entry) ||
	    entry.end != frame + slot->npages || entry.item != slot)
		return "slot: not in the hva index";
	if (!index_get(&k->snap->id, name, 0, &entry) || entry.end != name + 1 ||
	    entry.item != slot)
		return "slot: not in the id index";
	return NULL;
}

static const char *check_space(struct check *k, uint32_t space)
{
	const struct index_root *root = &k->snap->gfn[space];
	const char *why = index_check(root);
	const struct mslot_slot *slot;
	struct index_cursor cur;
	struct index_entry entry;
	uint64_t last_end = 0;

	index_cursor_init(&cur, root, 0, UINT64_MAX);
	while (!why && index_cursor_next(&cur, &entry)) {
		slot = entry.item;
		if (entry.start != slot->base_gfn || entry.end != slot_end_gfn(slot))
			return "gfn index: an entry differs from its slot";
		if (entry.start < last_end)
			return "gfn index: slots overlap";
		last_end = entry.end;
		k->nslots++;
		k->npages += slot->npages;
		why = check_slot(k, slot, space);
	}
	k->bytes += root->bytes;
	return why;
}

static const char *check_snapshot(struct check *k)
{
	const char *why = NULL;
	uint32_t space;

	for (space = 0; space < k->snap->nspaces && !why; space++)
		why = check_space(k, space);
	if (!why)
		why = index_ranges_check(&k->snap->hva);
	if (!why)
		why = index_check(&k->snap->id);
	if (why)
		return why;
	if (index_ranges_count(&k->snap->hva) != k->nslots || k->snap->id.count != k->nslots)
		return "snapshot: indexes differ in their number of slots";
	if (k->snap->npages != k->npages)
		return "snapshot: npages is wrong";
	k->bytes += index_ranges_bytes(&k->snap->hva) + k->snap->id.bytes +
		    k->nslots * sizeof(struct mslot_slot) + pool_node_bytes(k->snap);
	return k->snap->bytes == k->bytes ? NULL : "snapshot: bytes is wrong";
}

/* Sums over the queue and over the holds (C4). */
static const char *check_retired(struct check *k)
{
	const struct retired *batch;
	uint64_t retired = 0, last = 0;

	for (batch = k->map->retired_head; batch; batch = batch->next) {
		if (batch->generation < last || batch->generation >= k->snap->generation)
			return "retired: the queue is out of order";
		last = batch->generation;
		retired += batch->bytes;
	}
	if (retired != k->map->retired_bytes)
		return "retired: retired_bytes is wrong";
	if (k->map->pool.live_bytes != k->snap->bytes + retired + k->map->held_bytes)
		return "retired: nodes leaked from the pool";
	return NULL;
}

static const char *check_holds(const struct check *k)
{
	const struct mslot_hold *hold;
	uint64_t n = 0, last = 0;
	const char *why = NULL;

	pthread_mutex_lock(&k->map->holds_lock);
	for (hold = k->map->holds; hold && !why; hold = hold->next, n++) {
		if (hold->generation < last || hold->generation != hold->snap->generation)
			why = "holds: out of order";
		last = hold->generation;
	}
	if (!why && n != k->map->nholds)
		why = "holds: nholds is wrong";
	pthread_mutex_unlock(&k->map->holds_lock);
	return why;
}

static const char *check_all(struct check *k)
{
	const char *why = pool_check(&k->map->pool);

	if (!why)
		why = check_snapshot(k);
	if (!why)
		why = check_retired(k);
	if (!why)
		why = check_holds(k);
	if (!why && atomic_load(&k->map->published) != k->snap->generation)
		why = "map: the published generation is wrong";
	return why;
}

int mslot_check_map(struct mslot_map *map, const char **why)
{
	struct check k = {.map = map};
	const char *found;

	if (map_owned(map))
		return -EDEADLK;
	map_lock(map);
	k.snap = map_snapshot(map);
	found = check_all(&k);
	map_unlock(map);
	if (!found)
		return 0;
	if (why)
		*why = found;
	return -EUCLEAN;
}
