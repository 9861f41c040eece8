/* SPDX-License-Identifier: MIT */
/*
 * find.c - the slot at a key, for each width of vector instructions.
 *
 * The way down is the same in all: as many steps as the root's height. In the leaf the
 * starts up to the key are counted at once, and the last of them is the one range that
 * can hold the key. Nothing branches on the key but the caller's use of the answer.
 */
#include "index/radix/node.h"
#include "index/radix/radix.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static const struct radix_leaf empty_leaf = {
    .self = 0, /* never followed: an empty index has height 0 */
    .start = {RADIX_PAD, RADIX_PAD, RADIX_PAD, RADIX_PAD, RADIX_PAD, RADIX_PAD, RADIX_PAD,
	      RADIX_PAD, RADIX_PAD, RADIX_PAD, RADIX_PAD, RADIX_PAD, RADIX_PAD, RADIX_PAD,
	      RADIX_PAD, RADIX_PAD},
    .pair = {{0}},
};

uint64_t radix_empty_word(void)
{
	return word_of_leaf(&empty_leaf);
}

/* The item of range n of a leaf if it holds the key and any range starts up to it. */
static inline void *leaf_answer(const struct radix_leaf *leaf, unsigned int n, bool any,
				uint64_t at)
{
	const struct radix_pair *pair = &leaf->pair[n];

	/* No branch: both operands of the conjunction are cheap. */
	return (void *)((uintptr_t)pair->item & -(uintptr_t)(any & (at < pair->end)));
}

void *radix_find_scalar(const struct index_root *root, uint64_t at)
{
	uint64_t word = root->word;
	const struct radix_leaf *leaf;
	const uint64_t *start;
	unsigned int i, n;

	for (i = root->height; i > 0; i--)
		word = word_step(word, at);
	leaf = word_leaf(word);
	start = leaf->start;
	/* Groups of four that begin up to the key, then within the last of them. */
	n = 4 * ((unsigned int)(start[4] <= at) + (unsigned int)(start[8] <= at) +
		 (unsigned int)(start[12] <= at));
	n += (unsigned int)(start[n + 1] <= at) + (unsigned int)(start[n + 2] <= at) +
	     (unsigned int)(start[n + 3] <= at);
	return leaf_answer(leaf, n, start[0] <= at, at);
}

#if defined(__x86_64__)

__attribute__((target("bmi,bmi2"))) static inline uint64_t step_bmi2(uint64_t word, uint64_t at)
{
	/* The shift is taken modulo 64 by the instruction, the bits from the low byte. */
	return word_dir(word)->word[_bzhi_u64(at >> (word & 63), (unsigned int)(word >> 56))];
}

__attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt"))) static void *
find_avx2(const struct index_root *root, uint64_t at)
{
	uint64_t word = root->word;
	const struct radix_leaf *leaf;
	__m256i key, above[4], half[2];
	unsigned int i, mask, n;

	for (i = root->height; i > 0; i--)
		word = step_bmi2(word, at);
	leaf = word_leaf(word);
	/* Signed comparison: keys and RADIX_PAD are below 2^63. */
	key = _mm256_set1_epi64x((long long)at);
	for (i = 0; i < 4; i++)
		above[i] = _mm256_cmpgt_epi64(
		    _mm256_load_si256((const __m256i *)(const void *)(leaf->start + 4 * i)), key);
	/* One byte each of 16 answers, in some order: only how many they are counts. */
	half[0] = _mm256_packs_epi32(above[0], above[1]);
	half[1] = _mm256_packs_epi32(above[2], above[3]);
	mask = (unsigned int)_mm256_movemask_epi8(_mm256_packs_epi16(half[0], half[1]));
	/* Two bytes an answer: 32 bits for 16 of them. */
	n = RADIX_LEAF_MAX - (unsigned int)_mm_popcnt_u32(mask) / 2;
	return leaf_answer(leaf, n - (n > 0), n > 0, at);
}

__attribute__((target("avx512f,bmi,bmi2,lzcnt"))) static void *
find_avx512(const struct index_root *root, uint64_t at)
{
	uint64_t word = root->word;
	const struct radix_leaf *leaf;
	unsigned int i, mask;
	__m512i key;

	for (i = root->height; i > 0; i--)
		word = step_bmi2(word, at);
	leaf = word_leaf(word);
	key = _mm512_set1_epi64((long long)at);
	mask = _mm512_cmple_epu64_mask(_mm512_load_si512(leaf->start), key);
	mask |= (unsigned int)_mm512_cmple_epu64_mask(_mm512_load_si512(leaf->start + 8), key) << 8;
	return leaf_answer(leaf, 31u - _lzcnt_u32(mask | 1), mask & 1, at);
}

enum index_simd index_simd_best(void)
{
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("bmi2"))
		return INDEX_AVX512;
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"))
		return INDEX_AVX2;
	return INDEX_SCALAR;
}

index_find_fn *radix_finder(enum index_simd simd)
{
	return simd == INDEX_AVX512 ? find_avx512
	       : simd == INDEX_AVX2 ? find_avx2
				    : radix_find_scalar;
}

#else

enum index_simd index_simd_best(void)
{
	return INDEX_SCALAR;
}

index_find_fn *radix_finder(enum index_simd simd)
{
	(void)simd;
	return radix_find_scalar;
}

#endif
