/* SPDX-License-Identifier: MIT */
/*
 * bits.c - the dirty bits of a slot's pages as a caller's bitmap, whose memory need not be aligned.
 *
 * As a rule they are in one extent, all in the scope, and in step with the words of its bitmaps:
 * then whole words are copied. Otherwise they go through a buffer of one chunk.
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

static uint64_t copy_buffered(const struct bits_query *query, void *out)
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

/* ---- Whole words ---- */

/* Does the scope, if there is one, have all pages of the view? */
static bool scope_is_whole(const struct bits_query *q)
{
	const struct scope_range *range;
	size_t i;

	if (!q->scope)
		return true;
	i = scope_at(q->scope, q->space, q->base_gfn);
	if (i == q->scope->nranges)
		return false;
	range = &q->scope->ranges[i];
	return range->space == q->space && range->first_gfn <= q->base_gfn &&
	       range->end_gfn >= q->base_gfn + q->view->npages;
}

/* The only extent of the view, if words can be copied, and the view's first bit in it. */
static struct log_extent *in_step(const struct log_view *view, uint64_t *first)
{
	struct log_extent *extent = view->pieces[0].extent;

	*first = view->first - extent->first;
	if (view->npieces > 1 || !log_bits_in_step(extent->npages, *first, view->npages))
		return NULL;
	return extent;
}

static void copy_words(const struct bits_query *q, const struct log_extent *extent, uint64_t first,
		       log_any_word *out)
{
	const struct log_bits *ringed = atomic_load_explicit(&extent->ringed, memory_order_acquire);
	const struct log_set *set = log_extent_set(extent, q->set);
	uint64_t n = q->view->npages;

	if (set && q->what & BITS_FRESH)
		log_bits_copy_words(set->fresh, first, n, out);
	else if (set && q->what & BITS_BATCH)
		log_bits_copy_words(set->batch, first, n, out);
	else
		memset(out, 0, bits_copy_bytes(q->view));
	if (!set)
		return;
	if ((q->what & BITS_FRESH) && (q->what & BITS_BATCH))
		log_bits_or_words(set->batch, first, n, out);
	/* Relaxed: only harvests change the pointer, and the caller has their lock. */
	if (q->what & BITS_LIVE)
		log_bits_or_words(atomic_load_explicit(&extent->live, memory_order_relaxed), first,
				  n, out);
	if (q->what & BITS_RINGED && ringed)
		log_bits_or_words(ringed, first, n, out);
}

void bits_copy_out(const struct bits_query *query, void *out)
{
	struct log_extent *extent;
	uint64_t first;

	extent = in_step(query->view, &first);
	if (extent && scope_is_whole(query))
		copy_words(query, extent, first, out);
	else
		(void)copy_buffered(query, out);
}

/* Number of bits in words that need not be aligned. */
static uint64_t count_words(const log_any_word *words, uint64_t n)
{
	uint64_t i, count = 0;

	for (i = 0; i < n; i++)
		if (words[i])
			count += (uint64_t)__builtin_popcountll(words[i]);
	return count;
}

uint64_t bits_count_out(const struct bits_query *query, void *out)
{
	if (!out)
		return copy_buffered(query, NULL);
	bits_copy_out(query, out);
	return count_words(out, bitmap_words(query->view->npages));
}

void bits_take_out(const struct log_view *view, uint32_t number, void *out)
{
	const struct bits_query query = {.view = view, .set = number, .what = BITS_FRESH};
	uint64_t page, n, bit, end = view->first + view->npages;
	struct log_extent *extent;
	struct log_set *set;

	extent = in_step(view, &bit);
	set = extent ? log_extent_set(extent, number) : NULL;
	if (set) {
		log_bits_take_words(set->fresh, bit, view->npages, out);
		return;
	}
	bits_copy_out(&query, out);
	for (page = view->first; page < end; page += n) {
		n = view_part(view, page, end, &extent, &bit);
		set = log_extent_set(extent, number);
		if (set)
			log_bits_clear_range(set->fresh, bit, n);
	}
}
