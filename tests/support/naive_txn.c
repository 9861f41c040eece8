/* SPDX-License-Identifier: MIT */
/*
 * naive_txn.c - a transaction on the naive map, check by check as the comment of
 * mslot_txn_commit() lists them.
 */
#include "naive_map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct result {
	struct naive_slot slot;
	uint32_t edit;
	bool same; /* equal to the slot as it is: no change, so never to blame */
};

/* What one edit does to the sums that have limits. */
struct delta {
	uint32_t space;
	int64_t nslots, npages;
};

struct work {
	const struct naive_map *old;
	bool *taken; /* for each old slot: an edit replaces it */
	struct result *results;
	size_t nresults;
	struct mslot_key *named; /* by the edits so far */
	size_t nnamed;
	struct delta *deltas; /* one an edit */
	uint32_t edit;        /* the one being looked at */
};

static void *zalloc(size_t n, size_t bytes)
{
	void *p = calloc(n + 1, bytes);

	if (!p)
		abort();
	return p;
}

static void work_init(struct work *w, const struct naive_map *old, const struct mslot_edit *edits,
		      size_t n)
{
	size_t ids = n;

	for (size_t i = 0; i < n; i++)
		ids += edits[i].nparts;
	memset(w, 0, sizeof(*w));
	w->old = old;
	w->taken = zalloc(old->n, sizeof(*w->taken));
	w->results = zalloc(ids, sizeof(*w->results));
	w->named = zalloc(ids, sizeof(*w->named));
	w->deltas = zalloc(n, sizeof(*w->deltas));
}

static void work_fini(struct work *w)
{
	free(w->taken);
	free(w->results);
	free(w->named);
	free(w->deltas);
}

static const struct naive_slot *take(struct work *w, struct mslot_key key)
{
	const struct naive_slot *slot = naive_find_id(w->old, key);

	if (!slot)
		return NULL;
	w->taken[slot - w->old->slots] = true;
	w->deltas[w->edit].nslots -= 1;
	w->deltas[w->edit].npages -= (int64_t)(slot->len >> w->old->opt.page_shift);
	return slot;
}

/* Check every field of a result and add it; false is -EINVAL. */
static bool give(struct work *w, const struct naive_slot *slot)
{
	const struct mslot_map_options *opt = &w->old->opt;
	uint64_t mask = (UINT64_C(1) << opt->page_shift) - 1;
	const struct naive_slot *was = naive_find_id(w->old, slot->key);
	const struct naive_region *region;
	struct result *out;

	if (slot->len == 0 || ((slot->gpa | slot->len | slot->offset) & mask))
		return false;
	if (slot->len >> opt->page_shift > MSLOT_MAX_SLOT_PAGES)
		return false;
	if (slot->gpa + slot->len < slot->gpa)
		return false;
	if (slot->flags & ~(MSLOT_LOG_DIRTY | MSLOT_READONLY))
		return false;
	if (slot->region == NAIVE_NO_REGION)
		return false;
	region = &w->old->regions[slot->region];
	if (slot->offset > region->len || slot->len > region->len - slot->offset)
		return false;
	if ((region->hva + slot->offset) & mask)
		return false;
	if (region->hva + slot->offset + slot->len > opt->hva_limit)
		return false;
	out = &w->results[w->nresults++];
	out->slot = *slot;
	out->edit = w->edit;
	out->same = was && naive_slot_equal(was, slot);
	w->deltas[w->edit].nslots += 1;
	w->deltas[w->edit].npages += (int64_t)(slot->len >> opt->page_shift);
	return true;
}

/* Class and uniqueness of one id that the current edit names. */
static bool name(struct work *w, const struct mslot_edit *edit, uint32_t id)
{
	bool is_private = id >= w->old->opt.max_user_slots;
	struct mslot_key key = {edit->def.key.space, id};

	if (is_private != !!(edit->edit_flags & MSLOT_EDIT_PRIVATE))
		return false;
	for (size_t i = 0; i < w->nnamed; i++)
		if (w->named[i].space == key.space && w->named[i].id == key.id)
			return false;
	w->named[w->nnamed++] = key;
	return true;
}

static bool name_all(struct work *w, const struct mslot_edit *edit)
{
	if (edit->kind < MSLOT_EDIT_CREATE || edit->kind > MSLOT_EDIT_MERGE)
		return false;
	if (edit->edit_flags & ~MSLOT_EDIT_PRIVATE)
		return false;
	if (edit->def.key.space >= w->old->opt.nspaces)
		return false;
	if (!name(w, edit, edit->def.key.id))
		return false;
	if (edit->kind != MSLOT_EDIT_SPLIT && edit->kind != MSLOT_EDIT_MERGE)
		return true;
	for (size_t i = 0; i < edit->nparts; i++)
		if (!name(w, edit, edit->parts[i].id))
			return false;
	return edit->nparts > 0;
}

static struct naive_slot defined(const struct work *w, const struct mslot_slot_def *def)
{
	return (struct naive_slot){
	    .key = def->key,
	    .gpa = def->gpa,
	    .len = def->len_bytes,
	    .region = naive_region_of(w->old, def->region),
	    .offset = def->offset_bytes,
	    .flags = def->flags,
	};
}

static bool resize(struct work *w, struct naive_slot slot, const struct mslot_slot_def *def)
{
	struct naive_slot out = slot;

	out.gpa = def->gpa;
	out.len = def->len_bytes;
	out.offset = slot.offset + (def->gpa - slot.gpa);
	if (out.gpa + out.len < out.gpa)
		return false;
	if (out.gpa >= slot.gpa + slot.len || slot.gpa >= out.gpa + out.len)
		return false;
	if (out.gpa < slot.gpa && slot.gpa - out.gpa > slot.offset)
		return false;
	return give(w, &out);
}

static bool split(struct work *w, struct naive_slot slot, const struct mslot_edit *edit)
{
	struct naive_slot piece = slot;
	uint64_t end = slot.gpa + slot.len;

	for (size_t i = 0; i < edit->nparts; i++) {
		uint64_t cut = edit->parts[i].gpa;
		struct mslot_key key = {slot.key.space, edit->parts[i].id};

		if (cut <= piece.gpa || cut >= end || naive_find_id(w->old, key))
			return false;
		piece.len = cut - piece.gpa;
		if (!give(w, &piece))
			return false;
		piece.offset += piece.len;
		piece.gpa = cut;
		piece.key = key;
	}
	piece.len = end - piece.gpa;
	return give(w, &piece);
}

static bool merge(struct work *w, struct naive_slot slot, const struct mslot_edit *edit)
{
	struct naive_slot out = slot;
	uint64_t end = slot.gpa + slot.len, sum = slot.len;

	for (size_t i = 0; i < edit->nparts; i++) {
		struct mslot_key key = {slot.key.space, edit->parts[i].id};
		const struct naive_slot *part = take(w, key);

		if (!part || part->region != slot.region || part->flags != slot.flags ||
		    part->offset - part->gpa != slot.offset - slot.gpa)
			return false;
		if (part->gpa < out.gpa) {
			out.gpa = part->gpa;
			out.offset = part->offset;
		}
		if (part->gpa + part->len > end)
			end = part->gpa + part->len;
		sum += part->len;
	}
	/* No two slots overlap, so they are contiguous exactly when the lengths add up. */
	if (sum != end - out.gpa)
		return false;
	out.len = sum;
	return give(w, &out);
}

static bool apply_existing(struct work *w, const struct mslot_edit *edit, struct naive_slot slot)
{
	const struct mslot_slot_def *def = &edit->def;
	struct naive_slot out = slot;

	switch (edit->kind) {
	case MSLOT_EDIT_DELETE:
		return true;
	case MSLOT_EDIT_REDEFINE:
		out = defined(w, def);
		return give(w, &out);
	case MSLOT_EDIT_MOVE:
		out.gpa = def->gpa;
		return give(w, &out);
	case MSLOT_EDIT_SET_FLAGS:
		out.flags = def->flags;
		return give(w, &out);
	case MSLOT_EDIT_RESIZE:
		return resize(w, slot, def);
	case MSLOT_EDIT_REPLACE:
		out.region = naive_region_of(w->old, def->region);
		out.offset = def->offset_bytes;
		return give(w, &out);
	case MSLOT_EDIT_SPLIT:
		return split(w, slot, edit);
	case MSLOT_EDIT_MERGE:
		return merge(w, slot, edit);
	case MSLOT_EDIT_CREATE:
		break;
	}
	return false;
}

/* Check 5 for one edit. */
static bool apply(struct work *w, const struct mslot_edit *edit)
{
	const struct naive_slot *slot;

	if (!name_all(w, edit))
		return false;
	w->deltas[w->edit].space = edit->def.key.space;
	if (edit->kind == MSLOT_EDIT_CREATE) {
		struct naive_slot out = defined(w, &edit->def);

		return !naive_find_id(w->old, out.key) && give(w, &out);
	}
	slot = take(w, edit->def.key);
	return slot && apply_existing(w, edit, *slot);
}

static struct naive_outcome blame(int error, uint32_t edit)
{
	return (struct naive_outcome){.error = error, .failed_edit = edit};
}

/* Check 6; `next` is the final map. */
static struct naive_outcome check_limits(const struct work *w, const struct naive_map *next,
					 size_t n)
{
	for (uint32_t space = 0; space < next->opt.nspaces; space++) {
		if (naive_nslots(next, space) <= next->opt.max_slots)
			continue;
		for (size_t i = n; i-- > 0;)
			if (w->deltas[i].space == space && w->deltas[i].nslots > 0)
				return blame(-E2BIG, (uint32_t)i);
	}
	if (naive_npages(next) <= next->opt.max_pages)
		return blame(0, MSLOT_NO_EDIT);
	for (size_t i = n; i-- > 0;)
		if (w->deltas[i].npages > 0)
			return blame(-E2BIG, (uint32_t)i);
	return blame(0, MSLOT_NO_EDIT);
}

static bool collides(const struct naive_map *next, const struct naive_slot *slot)
{
	for (size_t i = 0; i < next->n; i++) {
		const struct naive_slot *other = &next->slots[i];

		if (other->key.space == slot->key.space && other->key.id != slot->key.id &&
		    other->gpa < slot->gpa + slot->len && slot->gpa < other->gpa + other->len)
			return true;
	}
	return false;
}

/* Checks 7 and 8. Results are in the order of their edits. */
static struct naive_outcome check_places(const struct work *w, const struct naive_map *next)
{
	for (size_t i = 0; i < w->nresults; i++)
		if (!w->results[i].same && collides(next, &w->results[i].slot))
			return blame(-EEXIST, w->results[i].edit);
	for (size_t i = 0; i < w->nresults; i++) {
		const struct naive_slot *slot = &w->results[i].slot;

		if (slot->gpa + slot->len > next->opt.gpa_limit)
			return blame(-EINVAL, w->results[i].edit);
	}
	return blame(0, MSLOT_NO_EDIT);
}

static void build_next(const struct work *w, struct naive_map *next)
{
	naive_copy(next, w->old);
	next->n = 0;
	for (size_t i = 0; i < w->old->n; i++)
		if (!w->taken[i])
			naive_add(next, &w->old->slots[i]);
	for (size_t i = 0; i < w->nresults; i++)
		naive_add(next, &w->results[i].slot);
	naive_sort(next);
}

static bool same_content(const struct naive_map *a, const struct naive_map *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (!naive_slot_equal(&a->slots[i], &b->slots[i]))
			return false;
	return true;
}

struct naive_outcome naive_commit(const struct naive_map *map, const struct mslot_edit *edits,
				  size_t n, const struct mslot_commit_options *opt,
				  struct naive_map *next)
{
	struct naive_outcome out = blame(0, MSLOT_NO_EDIT);
	struct work w;

	naive_copy(next, map);
	if (opt && (opt->flags & ~(MSLOT_COMMIT_DRY_RUN | MSLOT_COMMIT_IF_GENERATION |
				   MSLOT_COMMIT_NOWAIT | MSLOT_COMMIT_EXCLUSIVE)))
		return blame(-EINVAL, MSLOT_NO_EDIT);
	if (opt && (opt->flags & MSLOT_COMMIT_IF_GENERATION) && opt->generation != map->generation)
		return blame(-EAGAIN, MSLOT_NO_EDIT);
	work_init(&w, map, edits, n);
	for (size_t i = 0; i < n && out.error == 0; i++) {
		w.edit = (uint32_t)i;
		if (!apply(&w, &edits[i]))
			out = blame(-EINVAL, w.edit);
	}
	if (out.error == 0) {
		build_next(&w, next);
		out = check_limits(&w, next, n);
		if (out.error == 0)
			out = check_places(&w, next);
		out.changed = out.error == 0 && !same_content(map, next);
	}
	if (out.changed)
		next->generation++;
	else
		naive_copy(next, map);
	work_fini(&w);
	return out;
}
