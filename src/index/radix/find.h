/* SPDX-License-Identifier: MIT */
/*
 * find.h - the range at a key, for each width of vector instructions, to be compiled into
 * whoever looks up.
 *
 * The way down is the same in all: as many steps as the root's height; a leaf met earlier
 * leads to itself. In the leaf the starts above the key are counted at once, and the
 * range behind them is the one that can hold the key, be it the empty one. Nothing
 * branches on the key.
 *
 * Keys are below INDEX_RADIX_LIMIT.
 */
#ifndef MSLOT_INDEX_RADIX_FIND_H
#define MSLOT_INDEX_RADIX_FIND_H

#include "index/radix/node.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define RADIX_TARGET_AVX2 __attribute__((target("avx2,bmi,popcnt")))
#define RADIX_TARGET_AVX512 __attribute__((target("avx512f,bmi")))
#endif

/* The item of range n of a leaf if it ends behind the key. */
static inline void *radix_answer(const struct radix_leaf *leaf, unsigned int n, uint64_t at)
{
	const struct radix_pair *pair = &leaf->pair[n];

	/* No branch: a miss costs what a hit does. */
	return (void *)((uintptr_t)pair->item & -(uintptr_t)(at < pair->end));
}

static inline void *radix_find_at_scalar(const struct index_root *root, uint64_t at)
{
	uint64_t word = root->word, slot;
	const struct radix_leaf *leaf;
	const uint64_t *start;
	unsigned int i, n;

	for (i = root->height; i > 0; i--) {
		slot = (at >> (word & 63)) & ((UINT64_C(1) << (word >> 8 & 63)) - 1);
		word = word_dir(word)->word[slot];
	}
	leaf = word_leaf(word);
	start = leaf->start;
	/* Groups of four that end above the key, then within the one behind them. */
	n = 4 * ((unsigned int)(start[3] > at) + (unsigned int)(start[7] > at) +
		 (unsigned int)(start[11] > at));
	start += n;
	n += (unsigned int)(start[0] > at) + (unsigned int)(start[1] > at) +
	     (unsigned int)(start[2] > at);
	return radix_answer(leaf, n, at);
}

#if defined(__x86_64__)

RADIX_TARGET_AVX2 static inline const struct radix_leaf *
radix_leaf_of_avx2(const struct index_root *root, uint64_t at)
{
	uint64_t word = root->word;
	unsigned int i;

	for (i = root->height; i > 0; i--)
		word = word_dir(word)->word[__bextr_u64(at, word)];
	return word_leaf(word);
}

RADIX_TARGET_AVX2 static inline void *radix_find_at_avx2(const struct index_root *root, uint64_t at)
{
	const struct radix_leaf *leaf = radix_leaf_of_avx2(root, at);
	/* Signed comparison: keys and starts are below 2^63. */
	const __m256i key = _mm256_set1_epi64x((long long)at);
	const __m256i *start = (const __m256i *)(const void *)leaf->start;
	__m256i low, high;
	unsigned int mask;

	low = _mm256_packs_epi32(_mm256_cmpgt_epi64(_mm256_load_si256(start), key),
				 _mm256_cmpgt_epi64(_mm256_load_si256(start + 1), key));
	high = _mm256_packs_epi32(_mm256_cmpgt_epi64(_mm256_load_si256(start + 2), key),
				  _mm256_cmpgt_epi64(_mm256_load_si256(start + 3), key));
	/* Two bytes for each of 16 answers, in some order: only how many are set counts. */
	mask = (unsigned int)_mm256_movemask_epi8(_mm256_packs_epi16(low, high));
	return radix_answer(leaf, (unsigned int)_mm_popcnt_u32(mask) / 2, at);
}

RADIX_TARGET_AVX512 static inline void *radix_find_at_avx512(const struct index_root *root,
							     uint64_t at)
{
	const __m512i key = _mm512_set1_epi64((long long)at);
	uint64_t word = root->word;
	const struct radix_leaf *leaf;
	__mmask8 low, high;
	unsigned int i;

	for (i = root->height; i > 0; i--)
		word = word_dir(word)->word[__bextr_u64(at, word)];
	leaf = word_leaf(word);
	low = _mm512_cmpge_epu64_mask(key, _mm512_load_si512(leaf->start));
	high = _mm512_cmpge_epu64_mask(key, _mm512_load_si512(leaf->start + 8));
	/* Never 0: the empty range starts at 0. */
	i = (unsigned int)_mm512_kunpackb(high, low);
	return radix_answer(leaf, (unsigned int)__builtin_ctz(i), at);
}

#endif

#endif /* MSLOT_INDEX_RADIX_FIND_H */
