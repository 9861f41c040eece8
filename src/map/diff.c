/* SPDX-License-Identifier: MIT */
/*
 * diff.c - the exact difference between two snapshots, as ordered segments.
 *
 * Steps: index_diff() lists, for each space, the descriptors that only one side has, both
 * lists by rising gfn and each free of overlap; a sweep over both lists cuts them into
 * ranges with one slot or none on each side, and classifies each range. Pages whose
 * region, offset, flags and slot id are the same on both sides make no segment, so
 * splitting, growing or re-creating a slot reports only what it does to translations.
 */
#include "map/diff.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/page.h"

struct slot_list {
	const struct mslot_slot **slots;
	size_t n, capacity;
};

struct sweep {
	const struct mslot_snapshot *before, *after;
	struct slot_list only_before, only_after;
	struct mslot_diff_seg *segs;
	size_t nsegs, capacity;
};

static int list_add(struct slot_list *list, const struct mslot_slot *slot)
{
	size_t capacity = list->capacity ? list->capacity * 2 : 16;
	const struct mslot_slot **slots;

	if (list->n == list->capacity) {
		slots = mem_realloc(list->slots, capacity * sizeof(const struct mslot_slot *));
		if (!slots)
			return -ENOMEM;
		list->slots = slots;
		list->capacity = capacity;
	}
	list->slots[list->n++] = slot;
	return 0;
}

static int visit(void *ctx, bool in_before, const struct index_entry *entry)
{
	struct sweep *s = ctx;

	return list_add(in_before ? &s->only_before : &s->only_after, entry->item);
}

/* Where in host memory a frame of a slot lies; wraps harmlessly, only compared. */
static uint64_t bias_of(const struct mslot_slot *slot)
{
	return slot->hva - (slot->base_gfn << slot->page_shift);
}

/* 0: nothing differs. */
static int classify(const struct mslot_slot *before, const struct mslot_slot *after)
{
	if (!before)
		return MSLOT_DIFF_ADDED;
	if (!after)
		return MSLOT_DIFF_REMOVED;
	if (before->region != after->region || bias_of(before) != bias_of(after))
		return MSLOT_DIFF_REMAPPED;
	/* Whose logging a consumer wants shows in no flag. */
	if (before->flags != after->flags || !before->log != !after->log)
		return MSLOT_DIFF_REPROTECTED;
	return before->id != after->id ? MSLOT_DIFF_REHOMED : 0;
}

static int emit(struct sweep *s, const struct mslot_diff_seg *seg)
{
	size_t capacity = s->capacity ? s->capacity * 2 : 16;
	struct mslot_diff_seg *segs;

	if (s->nsegs == s->capacity) {
		segs = mem_realloc(s->segs, capacity * sizeof(*segs));
		if (!segs)
			return -ENOMEM;
		s->segs = segs;
		s->capacity = capacity;
	}
	s->segs[s->nsegs++] = *seg;
	return 0;
}

/*
 * The frames of `after` that the slot of the same name showed elsewhere before, as a
 * range of frames of `after`; empty when there are none. *shift_gfns is what to add to
 * such a frame to get its origin.
 */
static bool moved_frames(const struct sweep *s, const struct mslot_slot *after, uint64_t *start,
			 uint64_t *end, uint64_t *shift_gfns)
{
	const struct mslot_slot *origin = index_find(&s->before->id, slot_name_of(after));
	uint64_t low, high;

	if (!origin || origin->region != after->region || bias_of(origin) == bias_of(after))
		return false;
	/* In host bytes: what both descriptors show. */
	low = u64_max(origin->hva, after->hva);
	high = u64_min(origin->hva + slot_len_bytes(origin), after->hva + slot_len_bytes(after));
	if (low >= high)
		return false;
	*start = after->base_gfn + ((low - after->hva) >> after->page_shift);
	*end = after->base_gfn + ((high - after->hva) >> after->page_shift);
	*shift_gfns = (origin->base_gfn - (origin->hva >> after->page_shift)) -
		      (after->base_gfn - (after->hva >> after->page_shift));
	return true;
}

static int emit_range(struct sweep *s, const struct mslot_slot *before,
		      const struct mslot_slot *after, uint64_t start, uint64_t end)
{
	uint64_t moved_start = 0, moved_end = 0, shift_gfns = 0, cut;
	int kind = classify(before, after), err;
	const struct mslot_slot *any = after ? after : before;
	unsigned int shift = any->page_shift;
	struct mslot_diff_seg seg;

	if (!kind)
		return 0;
	if (kind == MSLOT_DIFF_ADDED || kind == MSLOT_DIFF_REMAPPED)
		(void)moved_frames(s, after, &moved_start, &moved_end, &shift_gfns);
	for (; start < end; start = cut) {
		bool moved = start >= moved_start && start < moved_end;

		cut = end;
		if (moved)
			cut = u64_min(end, moved_end);
		else if (start < moved_start)
			cut = u64_min(end, moved_start);
		seg = (struct mslot_diff_seg){
		    .kind = (enum mslot_diff_kind)kind,
		    .space = any->space,
		    .gpa = start << shift,
		    .len_bytes = (cut - start) << shift,
		    .before = before,
		    .after = after,
		    .moved = moved,
		    .origin_gpa = moved ? (start + shift_gfns) << shift : 0,
		};
		err = emit(s, &seg);
		if (err)
			return err;
	}
	return 0;
}

/* Cut both lists of one space into ranges. `pos` is how far the sweep has come. */
static int sweep_space(struct sweep *s)
{
	size_t i = 0, j = 0;
	uint64_t pos = 0, end, b_start, a_start;
	const struct mslot_slot *b, *a;
	int err;

	for (;;) {
		b = i < s->only_before.n ? s->only_before.slots[i] : NULL;
		a = j < s->only_after.n ? s->only_after.slots[j] : NULL;
		if (!a && !b)
			return 0;
		b_start = b ? u64_max(b->base_gfn, pos) : UINT64_MAX;
		a_start = a ? u64_max(a->base_gfn, pos) : UINT64_MAX;
		pos = u64_min(a_start, b_start);
		/* The range ends where its own slots end or where the other side begins. */
		if (a && b && a_start == b_start) {
			end = u64_min(slot_end_gfn(a), slot_end_gfn(b));
		} else if (b && (!a || b_start < a_start)) {
			end = u64_min(slot_end_gfn(b), a_start);
			a = NULL;
		} else {
			end = u64_min(slot_end_gfn(a), b_start);
			b = NULL;
		}
		err = emit_range(s, b, a, pos, end);
		if (err)
			return err;
		pos = end;
		if (b && slot_end_gfn(b) == end)
			i++;
		if (a && slot_end_gfn(a) == end)
			j++;
	}
}

static int sweep_all(struct sweep *s)
{
	uint32_t space;
	int err;

	for (space = 0; space < s->after->nspaces; space++) {
		s->only_before.n = s->only_after.n = 0;
		err = index_diff(&s->before->gfn[space], &s->after->gfn[space], visit, s);
		if (!err)
			err = sweep_space(s);
		if (err)
			return err;
	}
	return 0;
}

int diff_build(const struct mslot_snapshot *before, const struct mslot_snapshot *after,
	       struct mslot_diff **out)
{
	struct sweep s = {.before = before, .after = after};
	struct mslot_diff *diff = NULL;
	int err = sweep_all(&s);

	if (!err) {
		diff = mem_alloc(sizeof(*diff) + s.nsegs * sizeof(*s.segs));
		if (!diff)
			err = -ENOMEM;
	}
	if (!err) {
		struct mslot_diff_seg *segs = (struct mslot_diff_seg *)(diff + 1);

		if (s.nsegs)
			memcpy(segs, s.segs, s.nsegs * sizeof(*segs));
		*diff = (struct mslot_diff){
		    .before = before,
		    .after = after,
		    .nsegs = s.nsegs,
		    .segs = segs,
		};
		*out = diff;
	}
	mem_free(s.segs);
	mem_free(s.only_before.slots);
	mem_free(s.only_after.slots);
	return err;
}

int mslot_diff_create(const struct mslot_snapshot *before, const struct mslot_snapshot *after,
		      struct mslot_diff **out)
{
	if (before->map != after->map)
		return -EINVAL;
	return diff_build(before, after, out);
}

void mslot_diff_destroy(struct mslot_diff *diff)
{
	mem_free(diff);
}
