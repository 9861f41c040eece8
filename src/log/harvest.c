/* SPDX-License-Identifier: MIT */
/*
 * harvest.c - an extent's share of a harvest. The caller has the harvest lock, waits for
 * the grace period, and only then lets anybody copy pages:
 *
 *   log_extent_clean(): nothing to do, and nobody to wait for
 *   log_extent_swap() of every extent that is not clean
 *   one grace period: no section can mark the old bits any more, and what was stored
 *     before a mark, or before a mark was found made, is there to be copied
 *   log_extent_fan_out(): the old bits go to every consumer
 */
#include <stddef.h>

#include "base/perturb.h"
#include "log/log.h"

bool log_extent_clean(const struct log_extent *extent)
{
	return !log_bits_any(atomic_load_explicit(&extent->live, memory_order_relaxed));
}

void log_extent_swap(struct log_extent *extent)
{
	/*
	 * Release: that the new bits are clear; acquire: the marks in the old ones. Pairs with
	 * log_mark(). Marks of sections in progress are ordered by the grace period.
	 */
	extent->spare =
	    atomic_exchange_explicit(&extent->live, extent->spare, memory_order_acq_rel);
	PERTURB(HARVEST_SWAPPED);
}

void log_extent_fan_out(struct log_extent *extent)
{
	struct log_set *set, *heir = NULL;
	struct log_bits *clear;
	uint32_t i;

	for (i = 0; i < LOG_SETS; i++) {
		set = log_extent_set(extent, i);
		if (!set)
			continue;
		if (!heir && !log_bits_any(set->fresh))
			heir = set;
		else
			log_bits_or(set->fresh, extent->spare);
	}
	if (!heir) {
		log_bits_clear_all(extent->spare);
		return;
	}
	/* One set that is clear can have the bitmap itself, when the others have their copies. */
	clear = heir->fresh;
	heir->fresh = extent->spare;
	extent->spare = clear;
}
