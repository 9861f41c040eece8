/* SPDX-License-Identifier: MIT */
/*
 * region.c - host memory lent to maps, counted.
 */
#include <errno.h>

#include "base/alloc.h"
#include "base/page.h"
#include "base/perturb.h"
#include "map/lease.h"
#include "map/reclaim.h"

int mslot_region_create(const struct mslot_region_options *opt, struct mslot_region **out)
{
	struct mslot_region *region;
	uint64_t end;
	int err;

	if (opt->len_bytes == 0 || !range_end((uintptr_t)opt->hva, opt->len_bytes - 1, &end))
		return -EINVAL;
	region = mem_alloc(sizeof(*region));
	if (!region)
		return -ENOMEM;
	if (opt->release) {
		err = reclaimer_get();
		if (err) {
			mem_free(region);
			return err;
		}
	}
	*region = (struct mslot_region){.opt = *opt};
	atomic_init(&region->refs, 1);
	*out = region;
	return 0;
}

void region_get(struct mslot_region *region, uint64_t n)
{
	/* Relaxed: the caller reaches the region, so somebody's reference keeps it alive. */
	atomic_fetch_add_explicit(&region->refs, n, memory_order_relaxed);
}

void region_unref(struct mslot_region *region, uint64_t n)
{
	/*
	 * Release: this holder's use of the region before the count; acquire at zero: every
	 * other holder's use before the end. Pairs with the other calls of region_unref().
	 */
	if (atomic_fetch_sub_explicit(&region->refs, n, memory_order_acq_rel) != n)
		return;
	PERTURB(REGION_AT_ZERO);
	/* Relaxed: whoever took a lease had a reference, or a section that kept one. */
	if (atomic_load_explicit(&region->leased, memory_order_relaxed) && !region->built_in)
		lease_park(region);
	else if (region->opt.release)
		reclaimer_release(region);
	else if (!region->built_in)
		mem_free(region);
}

void mslot_region_put(struct mslot_region *region)
{
	if (region)
		region_unref(region, 1);
}

void mslot_region_options_get(const struct mslot_region *region, struct mslot_region_options *out)
{
	*out = region->opt;
}
