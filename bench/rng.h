/* SPDX-License-Identifier: MIT */
/* rng.h - a seeded generator (splitmix64): the same seed gives the same run everywhere. */
#ifndef MSLOT_BENCH_RNG_H
#define MSLOT_BENCH_RNG_H

#include <stdint.h>

struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
	uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* 0 .. n-1; the bias of the remainder does not matter here. */
static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
	return rng_next(r) % n;
}

#endif /* MSLOT_BENCH_RNG_H */
