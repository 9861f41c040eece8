/* SPDX-License-Identifier: MIT */
/*
 * invalidate.c - host memory that changes or goes away for a while.
 *
 * Begin: count and range, then the zap under the writer mutex (a commit that has published a
 * removal and not zapped it yet would hide the slot from us), flush, grace period. End: sequence,
 * then count. A fault reads the sequence before it resolves, and under its guard the count, the
 * range, and the sequence again.
 */
#include <errno.h>

#include "base/page.h"
#include "base/perturb.h"
#include "map/wait.h"
#include "mmu/zap.h"

/* Returns 0 or -EINVAL. */
static int last_byte(struct mslot_range range, uint64_t *last)
{
	return range.len_bytes == 0 || !range_end(range.start, range.len_bytes - 1, last) ? -EINVAL
											  : 0;
}

int mslot_invalidate_begin(struct mslot_mmu *mmu, struct mslot_range range)
{
	struct mmu_invalidation *inv = &mmu->inv;
	uint64_t last;

	if (last_byte(range, &last))
		return -EINVAL;
	if (map_wait_refused())
		return -EDEADLK;
	pthread_mutex_lock(&inv->lock);
	/* seq_cst: the range before the count before the zap. Pairs with check_invalidation(). */
	if (atomic_load_explicit(&inv->count, memory_order_relaxed) == 0 ||
	    range.start < atomic_load_explicit(&inv->start, memory_order_relaxed))
		atomic_store_explicit(&inv->start, range.start, memory_order_seq_cst);
	if (atomic_load_explicit(&inv->count, memory_order_relaxed) == 0 ||
	    last > atomic_load_explicit(&inv->last, memory_order_relaxed))
		atomic_store_explicit(&inv->last, last, memory_order_seq_cst);
	atomic_fetch_add_explicit(&inv->count, 1, memory_order_seq_cst);
	pthread_mutex_unlock(&inv->lock);
	PERTURB(INVALIDATION_BEGUN);
	map_lock(mmu->map);
	zap_hva(mmu, range);
	map_unlock(mmu->map);
	map_synchronize(mmu->map);
	return 0;
}

void mslot_invalidate_end(struct mslot_mmu *mmu, struct mslot_range range)
{
	struct mmu_invalidation *inv = &mmu->inv;

	(void)range;
	pthread_mutex_lock(&inv->lock);
	/* Release: what was done to the memory. In this order: pairs with check_invalidation(). */
	atomic_fetch_add_explicit(&inv->seq, 1, memory_order_release);
	PERTURB(INVALIDATION_ENDING);
	atomic_fetch_sub_explicit(&inv->count, 1, memory_order_release);
	pthread_mutex_unlock(&inv->lock);
}
