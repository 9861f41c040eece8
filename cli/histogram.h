/* SPDX-License-Identifier: MIT */
/*
 * histogram.h - any number of durations in fixed memory: 32 buckets an octave, so that a
 * quantile is at most 3.1 % above the true one.
 */
#ifndef MSLOT_CLI_HISTOGRAM_H
#define MSLOT_CLI_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 6u
#define HISTOGRAM_BUCKETS ((64u - HISTOGRAM_SUB_BITS + 1u) << HISTOGRAM_SUB_BITS)

struct histogram {
	uint64_t n;
	uint64_t bucket[HISTOGRAM_BUCKETS];
};

static inline void histogram_add(struct histogram *h, uint64_t value)
{
	const unsigned int sub = 1u << HISTOGRAM_SUB_BITS;
	unsigned int shift = 0;

	if (value >= sub)
		shift = 63u - (unsigned int)__builtin_clzll(value) - HISTOGRAM_SUB_BITS + 1u;
	/* Shifted values lie in [sub / 2, sub); the lower half of a block above 0 is unused. */
	h->bucket[(shift << HISTOGRAM_SUB_BITS) + (value >> shift)]++;
	h->n++;
}

/* The highest value of the bucket that holds the quantile num / den; 0 when empty. */
static inline uint64_t histogram_quantile(const struct histogram *h, uint64_t num, uint64_t den)
{
	uint64_t seen = 0;

	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		const unsigned int shift = i >> HISTOGRAM_SUB_BITS;
		const uint64_t value = i & ((1u << HISTOGRAM_SUB_BITS) - 1u);

		seen += h->bucket[i];
		if (h->bucket[i] > 0 && seen * den >= h->n * num)
			return ((value + 1) << shift) - 1;
	}
	return 0;
}

#endif /* MSLOT_CLI_HISTOGRAM_H */
