/* SPDX-License-Identifier: MIT */
/*
 * scope.c - the frames that a consumer looks at.
 *
 * Invariant: a scope's ranges rise by (space, gfn), are not empty and do not touch, so that
 * each page of a slot is in one window at most and a run never ends between two of them.
 */
#include <errno.h>
#include <stdlib.h>

#include "dirty/dirty.h"

/* No slot has the last frame below 2^64, so that the end of all frames has a number. */
static uint64_t all_frames(const struct mslot_map *map)
{
	return UINT64_MAX >> map->opt.page_shift;
}

size_t scope_room(const struct mslot_map *map, const struct mslot_dirty_options *opt)
{
	return opt && opt->nranges ? opt->nranges : map->opt.nspaces;
}

static int convert(const struct mslot_map *map, const struct mslot_dirty_range *in,
		   struct scope_range *out)
{
	unsigned int shift = map->opt.page_shift;
	uint64_t end;

	if (in->space >= map->opt.nspaces || in->range.len_bytes == 0 ||
	    !page_aligned(in->range.start, shift) || !page_aligned(in->range.len_bytes, shift) ||
	    !range_end(in->range.start, in->range.len_bytes, &end))
		return -EINVAL;
	*out = (struct scope_range){in->space, in->range.start >> shift, end >> shift};
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct scope_range *x = a, *y = b;

	if (x->space != y->space)
		return x->space < y->space ? -1 : 1;
	return (x->first_gfn > y->first_gfn) - (x->first_gfn < y->first_gfn);
}

/* Join sorted ranges that touch. Returns how many are left. */
static size_t join(struct scope_range *ranges, size_t n)
{
	size_t i, last = 0;

	for (i = 1; i < n; i++) {
		if (ranges[i].space == ranges[last].space &&
		    ranges[i].first_gfn <= ranges[last].end_gfn)
			ranges[last].end_gfn = u64_max(ranges[last].end_gfn, ranges[i].end_gfn);
		else
			ranges[++last] = ranges[i];
	}
	return last + 1;
}

int scope_init(const struct mslot_map *map, const struct mslot_dirty_options *opt,
	       struct scope_range *out, size_t *nranges)
{
	size_t i, n = scope_room(map, opt);
	int err;

	for (i = 0; i < n; i++) {
		if (!opt || opt->nranges == 0) {
			out[i] = (struct scope_range){(uint32_t)i, 0, all_frames(map)};
			continue;
		}
		err = convert(map, &opt->ranges[i], &out[i]);
		if (err)
			return err;
	}
	qsort(out, n, sizeof(*out), compare);
	*nranges = join(out, n);
	return 0;
}

size_t scope_at(const struct mslot_dirty *dirty, uint32_t space, uint64_t gfn)
{
	size_t low = 0, high = dirty->nranges, mid;
	const struct scope_range *range;

	while (low < high) {
		mid = low + (high - low) / 2;
		range = &dirty->ranges[mid];
		if (range->space < space || (range->space == space && range->end_gfn <= gfn))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

void scope_begin(struct scope_cursor *c, const struct mslot_dirty *dirty,
		 const struct mslot_snapshot *snap)
{
	c->dirty = dirty;
	c->snap = snap;
	c->range = 0;
	c->open = false;
}

const struct mslot_slot *scope_next_slot(struct scope_cursor *c)
{
	unsigned int shift = c->snap->page_shift;
	const struct scope_range *range;
	const struct mslot_slot *slot;

	for (; c->range < c->dirty->nranges; c->range++, c->open = false) {
		range = &c->dirty->ranges[c->range];
		if (!c->open)
			mslot_iter_gpa(&c->iter, c->snap, range->space,
				       (struct mslot_range){
					   range->first_gfn << shift,
					   (range->end_gfn - range->first_gfn) << shift,
				       });
		c->open = true;
		slot = mslot_iter_next(&c->iter);
		if (slot)
			return slot;
	}
	return NULL;
}

bool scope_next(struct scope_cursor *c, struct window *w)
{
	const struct scope_range *range;
	const struct mslot_slot *slot;

	do {
		slot = scope_next_slot(c);
		if (!slot)
			return false;
	} while (!slot->log);
	range = &c->dirty->ranges[c->range];
	w->slot = slot;
	w->first = slot->log->first + u64_max(slot->base_gfn, range->first_gfn) - slot->base_gfn;
	w->end = slot->log->first + u64_min(slot_end_gfn(slot), range->end_gfn) - slot->base_gfn;
	return true;
}
