/* SPDX-License-Identifier: MIT */
/*
 * bitmap.h - bitmaps in arrays of 64-bit words: bit i is bit i % 64 of word i / 64.
 *
 * Positions and counts are 64 bits wide throughout. Plain memory accesses: the caller
 * serialises. Bits of the last word beyond nbits are never read as part of an answer and
 * never written.
 */
#ifndef MSLOT_BASE_BITMAP_H
#define MSLOT_BASE_BITMAP_H

#include <stdbool.h>
#include <stdint.h>

#define BITMAP_WORD_BITS 64u

/* Words that hold nbits bits. */
static inline uint64_t bitmap_words(uint64_t nbits)
{
	return nbits / BITMAP_WORD_BITS + (nbits % BITMAP_WORD_BITS != 0);
}

static inline uint64_t bitmap_mask(uint64_t bit)
{
	return UINT64_C(1) << (bit % BITMAP_WORD_BITS);
}

static inline bool bitmap_test(const uint64_t *map, uint64_t bit)
{
	return (map[bit / BITMAP_WORD_BITS] & bitmap_mask(bit)) != 0;
}

static inline void bitmap_set(uint64_t *map, uint64_t bit)
{
	map[bit / BITMAP_WORD_BITS] |= bitmap_mask(bit);
}

static inline void bitmap_clear(uint64_t *map, uint64_t bit)
{
	map[bit / BITMAP_WORD_BITS] &= ~bitmap_mask(bit);
}

/* Set or clear [first, first + n). */
void bitmap_set_range(uint64_t *map, uint64_t first, uint64_t n);
void bitmap_clear_range(uint64_t *map, uint64_t first, uint64_t n);

/* The first set (clear) bit in [from, nbits), or nbits. */
uint64_t bitmap_next_set(const uint64_t *map, uint64_t nbits, uint64_t from);
uint64_t bitmap_next_clear(const uint64_t *map, uint64_t nbits, uint64_t from);

/* Set bits in [first, first + n). */
uint64_t bitmap_count(const uint64_t *map, uint64_t first, uint64_t n);

#endif /* MSLOT_BASE_BITMAP_H */
