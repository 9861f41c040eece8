/* SPDX-License-Identifier: MIT */
/*
 * mark.c - a write's mark.
 *
 * Steps, in the section in which the data was stored:
 *   1 load `live`
 *   2 the bit is set already: done. The harvest that will take it waits for this section
 *     before anybody copies the page
 *   3 set the chunk's summary bit, then the bit
 * In this order, because step 2 of another writer must be able to rely on the summary: a
 * harvest that finds the summary clear says clean without waiting for anybody.
 */
#include "base/page.h"
#include "base/perturb.h"
#include "log/log.h"

/* Mark those of the 64 bits of one word that a mask has. */
static void mark_word(struct log_bits *bits, uint64_t index, uint64_t mask)
{
	uint64_t *word = &bits->words[bits->nsummary + index], *summary;
	uint64_t chunk = index / LOG_CHUNK_WORDS;

	/* Acquire: whoever set the bits set the summary before. Pairs with the release below. */
	if ((__atomic_load_n(word, __ATOMIC_ACQUIRE) & mask) == mask)
		return;
	summary = &bits->words[chunk / BITMAP_WORD_BITS];
	if (!(__atomic_load_n(summary, __ATOMIC_RELAXED) & bitmap_mask(chunk)))
		__atomic_fetch_or(summary, bitmap_mask(chunk), __ATOMIC_RELEASE);
	/* Release: data and summary before the bit. Pairs with the acquire above. */
	__atomic_fetch_or(word, mask, __ATOMIC_RELEASE);
}

static void mark_bits(struct log_extent *extent, uint64_t first, uint64_t n)
{
	/* Acquire: that it is clear. Pairs with log_extent_swap(). */
	struct log_bits *bits = atomic_load_explicit(&extent->live, memory_order_acquire);
	uint64_t end = first + n, next, low, high;

	PERTURB(MARK_LIVE_LOADED);
	for (; first < end; first = next) {
		next = u64_min(end, (first / BITMAP_WORD_BITS + 1) * BITMAP_WORD_BITS);
		low = ~UINT64_C(0) << first % BITMAP_WORD_BITS;
		high = ~UINT64_C(0) >> (BITMAP_WORD_BITS - 1 - (next - 1) % BITMAP_WORD_BITS);
		mark_word(bits, first / BITMAP_WORD_BITS, low & high);
	}
}

void log_mark_one(struct log_extent *extent, uint64_t bit)
{
	mark_bits(extent, bit, 1);
}

void log_mark(const struct log_view *view, uint64_t first, uint64_t npages)
{
	const struct log_piece *piece = log_view_piece(view, first);
	uint64_t n;

	for (; npages > 0; npages -= n, first += n, piece++) {
		n = u64_min(npages, piece->first + piece->npages - first);
		mark_bits(piece->extent, first - piece->extent->first, n);
	}
}

void log_mark_beside_ring(const struct log_view *view, uint64_t first, uint64_t npages)
{
	const struct log_piece *piece = log_view_piece(view, first);
	uint64_t n;

	for (; npages > 0; npages -= n, first += n, piece++) {
		n = u64_min(npages, piece->first + piece->npages - first);
		/* Relaxed: a consumer waits for readers after its sets exist. */
		if (!log_has_ring(piece->extent) ||
		    atomic_load_explicit(&piece->extent->others, memory_order_relaxed))
			mark_bits(piece->extent, first - piece->extent->first, n);
	}
}
