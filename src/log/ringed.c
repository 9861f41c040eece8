/* SPDX-License-Identifier: MIT */
/*
 * ringed.c - which pages of an extent are in the ring of a vCPU.
 *
 * Data. Bit p of `ringed` is set by the vCPU that is going to push page p (the claim), and
 * cleared when that entry is reset. Who finds it set need not push the page: whoever
 * collects the entry copies the page after the reset, which waits for every section that
 * may have found the bit set. `pushing` counts claims whose entries cannot be seen yet.
 *
 * Invariants
 *   I1 bit p is set exactly while one entry of p is in a ring or about to be
 *   I2 a write that relied on an entry which could not be seen yet is in `live` too: when it is
 *      complete, who looks at the rings and then at the bitmap finds it (D2)
 * The summary's bits are set with those of `ringed` and never cleared; they are hints for
 * reading the bitmap.
 */
#include "log/log.h"

/* Acquire: that it was clear when made. Pairs with log_extent_equip(). */
static struct log_bits *bits_of(const struct log_extent *extent)
{
	return atomic_load_explicit(&extent->ringed, memory_order_acquire);
}

static uint64_t *word_of(struct log_bits *bits, uint64_t bit)
{
	return &bits->words[bits->nsummary + bit / BITMAP_WORD_BITS];
}

bool log_ringed(const struct log_extent *extent, uint64_t bit)
{
	/* Acquire: that the claim is counted. Pairs with log_ring_claim(). */
	uint64_t word = __atomic_load_n(word_of(bits_of(extent), bit), __ATOMIC_ACQUIRE);

	return (word & bitmap_mask(bit)) != 0;
}

bool log_ring_claim(struct log_extent *extent, uint64_t bit)
{
	struct log_bits *bits = bits_of(extent);
	uint64_t chunk = bit / LOG_CHUNK_PAGES;
	uint64_t *summary = &bits->words[chunk / BITMAP_WORD_BITS];

	log_extent_get(extent);
	atomic_fetch_add_explicit(&extent->pushing, 1, memory_order_relaxed);
	if (!(__atomic_load_n(summary, __ATOMIC_RELAXED) & bitmap_mask(chunk)))
		__atomic_fetch_or(summary, bitmap_mask(chunk), __ATOMIC_RELAXED);
	/* Release: the count and the summary; acquire: another's. Pairs with log_ringed(). */
	if (!(__atomic_fetch_or(word_of(bits, bit), bitmap_mask(bit), __ATOMIC_ACQ_REL) &
	      bitmap_mask(bit)))
		return true;
	log_ring_pushed(extent);
	/* Not the last one: the caller's slot has another. */
	log_extent_put(extent);
	return false;
}

void log_ring_found(struct log_extent *extent, uint64_t bit)
{
	/* Acquire: the entry, for whoever we tell of our write. Pairs with log_ring_pushed(). */
	if (atomic_load_explicit(&extent->pushing, memory_order_acquire))
		log_mark_one(extent, bit);
}

void log_ring_pushed(struct log_extent *extent)
{
	/* Release: the entry. Pairs with log_ring_found(). */
	atomic_fetch_sub_explicit(&extent->pushing, 1, memory_order_release);
}

void log_ring_clear(struct log_extent *extent, uint64_t word, uint64_t mask)
{
	/* Relaxed: the grace period that follows has the order. */
	__atomic_fetch_and(word_of(bits_of(extent), word * BITMAP_WORD_BITS), ~mask,
			   __ATOMIC_RELAXED);
}
