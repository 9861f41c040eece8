/* SPDX-License-Identifier: MIT */
#include "base/bitmap.h"

/* The bits of word `w` that lie in [first, end); w is one that the range touches. */
static uint64_t range_mask(uint64_t w, uint64_t first, uint64_t end)
{
	uint64_t mask = UINT64_MAX;

	if (w == first / BITMAP_WORD_BITS)
		mask <<= first % BITMAP_WORD_BITS;
	if (w == end / BITMAP_WORD_BITS)
		mask &= bitmap_mask(end) - 1;
	return mask;
}

void bitmap_set_range(uint64_t *map, uint64_t first, uint64_t n)
{
	uint64_t w, end = first + n;

	if (n == 0)
		return;
	for (w = first / BITMAP_WORD_BITS; w < bitmap_words(end); w++)
		map[w] |= range_mask(w, first, end);
}

void bitmap_clear_range(uint64_t *map, uint64_t first, uint64_t n)
{
	uint64_t w, end = first + n;

	if (n == 0)
		return;
	for (w = first / BITMAP_WORD_BITS; w < bitmap_words(end); w++)
		map[w] &= ~range_mask(w, first, end);
}

/* The first bit in [from, nbits) that differs from those of `flip`, 0 or all ones. */
static uint64_t next(const uint64_t *map, uint64_t nbits, uint64_t from, uint64_t flip)
{
	uint64_t w, word;

	if (from >= nbits)
		return nbits;
	for (w = from / BITMAP_WORD_BITS; w < bitmap_words(nbits); w++) {
		word = (map[w] ^ flip) & range_mask(w, from, nbits);
		if (word)
			return w * BITMAP_WORD_BITS + (uint64_t)__builtin_ctzll(word);
	}
	return nbits;
}

uint64_t bitmap_next_set(const uint64_t *map, uint64_t nbits, uint64_t from)
{
	return next(map, nbits, from, 0);
}

uint64_t bitmap_next_clear(const uint64_t *map, uint64_t nbits, uint64_t from)
{
	return next(map, nbits, from, UINT64_MAX);
}

uint64_t bitmap_count(const uint64_t *map, uint64_t first, uint64_t n)
{
	uint64_t w, end = first + n, count = 0;

	if (n == 0)
		return 0;
	for (w = first / BITMAP_WORD_BITS; w < bitmap_words(end); w++)
		count += (uint64_t)__builtin_popcountll(map[w] & range_mask(w, first, end));
	return count;
}
