/* SPDX-License-Identifier: MIT */
/*
 * bits.c - the dirty bits of a slot's pages as a caller's bitmap, through a buffer of one
 * chunk: the caller's memory need not be aligned, and what several bitmaps have is counted once.
 */
#include <string.h>

#include "dirty/dirty.h"

#define CHUNK LOG_CHUNK_PAGES

uint64_t bits_copy_bytes(const struct log_view *view)
{
	return bitmap_words(view->npages) * sizeof(uint64_t);
}

/* OR the bits of pages [page, end) into buf from its bit `at` on. */
static void or_pages(const struct bits_query *q, uint64_t page, uint64_t end, uint64_t *buf,
		     uint64_t at)
{
	const struct log_bits *live, *ringed;
	struct log_extent *extent;
	struct log_set *set;
	uint64_t n, bit;

	for (; page < end; page += n, at += n) {
		n = view_part(q->view, page, end, &extent, &bit);
		set = log_extent_set(extent, q->set);
		if (!set)
			continue;
		/* Relaxed: only harvests change the pointer, and the caller has their lock. */
		live = atomic_load_explicit(&extent->live, memory_order_relaxed);
		ringed = atomic_load_explicit(&extent->ringed, memory_order_acquire);
		if (q->what & BITS_RINGED && ringed)
			log_bits_or_out(ringed, bit, n, buf, at);
		if (q->what & BITS_LIVE)
			log_bits_or_out(live, bit, n, buf, at);
		if (q->what & BITS_FRESH)
			log_bits_or_out(set->fresh, bit, n, buf, at);
		if (q->what & BITS_BATCH)
			log_bits_or_out(set->batch, bit, n, buf, at);
	}
}

/* Pages [first, first + n) of the view into buf, of the scope only. */
static void or_scope(const struct bits_query *q, uint64_t first, uint64_t n, uint64_t *buf)
{
	const struct mslot_dirty *dirty = q->scope;
	uint64_t gfn = q->base_gfn + first, from, to;
	uint64_t page = q->view->first + first;
	const struct scope_range *range;
	size_t i;

	if (!dirty) {
		or_pages(q, page, page + n, buf, 0);
		return;
	}
	for (i = scope_at(dirty, q->space, gfn); i < dirty->nranges; i++) {
		range = &dirty->ranges[i];
		if (range->space != q->space || range->first_gfn >= gfn + n)
			break;
		from = u64_max(range->first_gfn, gfn) - gfn;
		to = u64_min(range->end_gfn, gfn + n) - gfn;
		or_pages(q, page + from, page + to, buf, from);
	}
}

uint64_t bits_copy_out(const struct bits_query *query, void *out)
{
	uint64_t buf[LOG_CHUNK_WORDS], at, n, count = 0;

	for (at = 0; at < query->view->npages; at += n) {
		n = u64_min(CHUNK, query->view->npages - at);
		memset(buf, 0, sizeof(buf));
		or_scope(query, at, n, buf);
		count += bitmap_count(buf, 0, n);
		if (out)
			memcpy((char *)out + at / 8, buf, bitmap_words(n) * sizeof(*buf));
	}
	return count;
}
