/* SPDX-License-Identifier: MIT */
/*
 * find.c - find.h as functions, and which of them the processor can run.
 */
#include "index/radix/find.h"

#include "index/radix/radix.h"

static const struct radix_leaf empty_leaf = {.room = 1, .pair = {{0, NULL}}};

uint64_t radix_empty_word(void)
{
	return word_of_leaf(&empty_leaf);
}

void *radix_find_scalar(const struct index_root *root, uint64_t at)
{
	return radix_find_at_scalar(root, at);
}

#if defined(__x86_64__)

RADIX_TARGET_AVX2 static void *find_avx2(const struct index_root *root, uint64_t at)
{
	return radix_find_at_avx2(root, at);
}

RADIX_TARGET_AVX512 static void *find_avx512(const struct index_root *root, uint64_t at)
{
	return radix_find_at_avx512(root, at);
}

enum index_simd index_simd_best(void)
{
	if (!__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("popcnt"))
		return INDEX_SCALAR;
	if (__builtin_cpu_supports("avx512f"))
		return INDEX_AVX512;
	return __builtin_cpu_supports("avx2") ? INDEX_AVX2 : INDEX_SCALAR;
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
