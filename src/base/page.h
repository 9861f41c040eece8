/* SPDX-License-Identifier: MIT */
/*
 * page.h - overflow-checked frame arithmetic. The page size is a property of the
 * map, so every function takes the shift (12, 14 or 16).
 */
#ifndef MSLOT_BASE_PAGE_H
#define MSLOT_BASE_PAGE_H

#include <stdbool.h>
#include <stdint.h>

static inline uint64_t page_bytes(unsigned int shift)
{
	return UINT64_C(1) << shift;
}

static inline bool page_aligned(uint64_t addr, unsigned int shift)
{
	return (addr & (page_bytes(shift) - 1)) == 0;
}

static inline bool page_shift_valid(unsigned int shift)
{
	return shift == 12 || shift == 14 || shift == 16;
}

/* start + len without wrapping past 2^64; the sum may not be 2^64 itself. */
static inline bool range_end(uint64_t start, uint64_t len, uint64_t *end)
{
	return !__builtin_add_overflow(start, len, end);
}

/* Do [a, a_end) and [b, b_end) share a point? */
static inline bool range_overlaps(uint64_t a, uint64_t a_end, uint64_t b, uint64_t b_end)
{
	return a < b_end && b < a_end;
}

static inline uint64_t u64_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t u64_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

#endif /* MSLOT_BASE_PAGE_H */
