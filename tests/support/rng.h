/* SPDX-License-Identifier: MIT */
/*
 * rng.h - a small seeded generator, so that every random test can be run again.
 */
#ifndef MSLOT_TESTS_RNG_H
#define MSLOT_TESTS_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *rng)
{
	uint64_t z = (rng->state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static inline void rng_init(struct rng *rng, uint64_t seed)
{
	rng->state = seed;
	/* One step apart, seeds 1 and 2 would share all but one number of their streams. */
	rng->state = rng_next(rng);
}

/* 0 .. n-1; n > 0. */
static inline uint64_t rng_below(struct rng *rng, uint64_t n)
{
	return (uint64_t)(((unsigned __int128)rng_next(rng) * n) >> 64);
}

/* lo .. hi, both included. */
static inline uint64_t rng_range(struct rng *rng, uint64_t lo, uint64_t hi)
{
	return lo + rng_below(rng, hi - lo + 1);
}

static inline bool rng_chance(struct rng *rng, unsigned int percent)
{
	return rng_below(rng, 100) < percent;
}

#endif /* MSLOT_TESTS_RNG_H */
