/* SPDX-License-Identifier: MIT */
/*
 * count.h - counters of an MMU, in a few stripes so that vCPUs do not meet.
 *
 * Each is right by itself when nobody counts; what is subtracted in another stripe than it was
 * added in cancels in the sum, modulo 2^64.
 */
#ifndef MSLOT_MMU_COUNT_H
#define MSLOT_MMU_COUNT_H

#include <stdatomic.h>
#include <stdint.h>

enum mmu_count {
	COUNT_ROOTS,
	COUNT_FAULTS,
	COUNT_INSTALLED,
	COUNT_RETRIES,
	COUNT_MMIO,
	COUNT_INVALIDATED,
	COUNT_ZAPPED,
	COUNT_SPLITS,
	COUNT_COLLAPSES,
	COUNT_EVICTED,
	COUNT_FLUSHES,
	COUNT_TABLES,
	COUNT_DEAD_TABLES,
	COUNT_TABLE_BYTES,
	COUNT_FRAME_BYTES,
	COUNT_LIST_BYTES,
	COUNT_MAPPED,
	COUNTS,
};

#define COUNT_STRIPES 8u

struct mmu_counters {
	struct {
		_Alignas(64) _Atomic uint64_t n[COUNTS];
	} stripe[COUNT_STRIPES];
};

/* The stripe of the calling thread. */
static inline unsigned int count_stripe(void)
{
	static _Thread_local char here;

	return (unsigned int)((uintptr_t)&here >> 12) % COUNT_STRIPES;
}

static inline void count_add(struct mmu_counters *counters, enum mmu_count what, uint64_t n)
{
	atomic_fetch_add_explicit(&counters->stripe[count_stripe()].n[what], n,
				  memory_order_relaxed);
}

static inline void count_sub(struct mmu_counters *counters, enum mmu_count what, uint64_t n)
{
	count_add(counters, what, 0 - n);
}

/* Nobody else counts. */
static inline void count_reset(struct mmu_counters *counters, enum mmu_count what)
{
	unsigned int i;

	for (i = 0; i < COUNT_STRIPES; i++)
		atomic_store_explicit(&counters->stripe[i].n[what], 0, memory_order_relaxed);
}

static inline uint64_t count_get(const struct mmu_counters *counters, enum mmu_count what)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < COUNT_STRIPES; i++)
		sum += atomic_load_explicit(&counters->stripe[i].n[what], memory_order_relaxed);
	/* One that a thread, which a fork left behind, had not counted yet. */
	return (int64_t)sum < 0 ? 0 : sum;
}

#endif /* MSLOT_MMU_COUNT_H */
