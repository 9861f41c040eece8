/* SPDX-License-Identifier: MIT */
/*
 * batch.c - what one harvest reported: reading it, and its end.
 *
 * The bits are in the `batch` of the consumer's sets, which nobody but the consumer's thread
 * changes between two harvests of its own; the snapshot's hold keeps the extents. Pages of
 * the snapshot's slots in the scope are reported; an extent may have bits of more: of pages
 * that left the map and wait for a final harvest, or that are out of the scope. That is why
 * an acknowledgement clears pages, not bitmaps.
 */
#include <errno.h>

#include "base/alloc.h"
#include "dirty/dirty.h"

void batch_free(struct mslot_dirty_batch *batch)
{
	mslot_hold_put(batch->hold);
	mem_free(batch);
}

static const struct log_bits *batch_bits(const struct log_extent *extent, uint32_t number)
{
	const struct log_set *set = log_extent_set(extent, number);

	return set ? set->batch : NULL;
}

/* The first page of [page, end) whose bit is as wanted, or end. */
static uint64_t next_page(const struct log_view *view, uint32_t number, uint64_t page, uint64_t end,
			  bool wanted)
{
	const struct log_bits *bits;
	struct log_extent *extent;
	uint64_t n, bit, found;

	for (; page < end; page += n) {
		n = view_part(view, page, end, &extent, &bit);
		bits = batch_bits(extent, number);
		if (bits)
			found = wanted ? log_bits_next_set(bits, bit, bit + n)
				       : log_bits_next_clear(bits, bit, bit + n);
		else
			found = wanted ? bit + n : bit;
		if (found < bit + n)
			return page + (found - bit);
	}
	return end;
}

static void runs_begin(struct run_cursor *c, const struct mslot_dirty_batch *batch)
{
	scope_begin(&c->scope, batch->dirty, batch->snap);
	c->window = (struct window){0};
	c->page = 0;
}

/* The next run, as pages of the window. */
static bool runs_next(struct run_cursor *c, uint64_t *first, uint64_t *end)
{
	uint32_t number = c->scope.dirty->set;
	const struct log_view *view;

	for (;;) {
		if (c->page < c->window.end) {
			view = c->window.slot->log;
			*first = next_page(view, number, c->page, c->window.end, true);
			*end = next_page(view, number, *first, c->window.end, false);
			c->page = *end;
			if (*first < *end)
				return true;
		}
		if (!scope_next(&c->scope, &c->window))
			return false;
		c->page = c->window.first;
	}
}

int mslot_dirty_next(struct mslot_dirty_batch *batch, struct mslot_dirty_run *run)
{
	const struct mslot_slot *slot;
	uint64_t first, end, skip;

	if (!runs_next(&batch->next, &first, &end))
		return 0;
	slot = batch->next.window.slot;
	skip = (first - slot->log->first) << slot->page_shift;
	*run = (struct mslot_dirty_run){
	    .key = {.space = slot->space, .id = slot->id},
	    .gpa = (slot->base_gfn << slot->page_shift) + skip,
	    .len_bytes = (end - first) << slot->page_shift,
	    .hva = slot->hva + skip,
	    .offset_bytes = slot_offset_bytes(slot) + skip,
	    .region = slot->region,
	};
	return 1;
}

void mslot_dirty_rewind(struct mslot_dirty_batch *batch)
{
	runs_begin(&batch->next, batch);
}

uint64_t mslot_dirty_pages(const struct mslot_dirty_batch *batch)
{
	uint64_t page, n, bit, npages = 0;
	const struct log_bits *bits;
	struct scope_cursor cursor;
	struct log_extent *extent;
	struct window w;

	scope_begin(&cursor, batch->dirty, batch->snap);
	while (scope_next(&cursor, &w)) {
		for (page = w.first; page < w.end; page += n) {
			n = view_part(w.slot->log, page, w.end, &extent, &bit);
			bits = batch_bits(extent, batch->dirty->set);
			if (bits)
				npages += log_bits_or_out(bits, bit, n, NULL, 0);
		}
	}
	return npages;
}

int64_t mslot_dirty_bitmap(const struct mslot_dirty_batch *batch, struct mslot_key key,
			   uint64_t *bitmap, size_t bitmap_bytes)
{
	const struct mslot_slot *slot = mslot_find_id(batch->snap, key);
	struct bits_query query = {
	    .set = batch->dirty->set,
	    .what = BITS_BATCH,
	    .scope = batch->dirty,
	    .space = key.space,
	};

	if (!slot || !slot->log)
		return -ENOENT;
	if (bitmap_bytes < bits_copy_bytes(slot->log))
		return -ENOSPC;
	query.view = slot->log;
	query.base_gfn = slot->base_gfn;
	return (int64_t)bits_count_out(&query, bitmap);
}

const struct mslot_snapshot *mslot_dirty_snapshot(const struct mslot_dirty_batch *batch)
{
	return batch->snap;
}

void mslot_dirty_ack(struct mslot_dirty_batch *batch)
{
	struct scope_cursor cursor;
	struct log_extent *extent;
	struct log_set *set;
	uint64_t page, n, bit;
	struct window w;

	if (!batch)
		return;
	scope_begin(&cursor, batch->dirty, batch->snap);
	while (scope_next(&cursor, &w)) {
		for (page = w.first; page < w.end; page += n) {
			n = view_part(w.slot->log, page, w.end, &extent, &bit);
			set = log_extent_set(extent, batch->dirty->set);
			if (set)
				log_bits_clear_range(set->batch, bit, n);
		}
	}
	mslot_dirty_nack(batch);
}

void mslot_dirty_nack(struct mslot_dirty_batch *batch)
{
	if (!batch)
		return;
	batch->dirty->batch = NULL;
	batch_free(batch);
}
