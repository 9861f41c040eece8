/* SPDX-License-Identifier: MIT */
/*
 * lease_fixture.h - short words for the unit tests of leases, and a region that counts its
 * releases.
 */
#ifndef MSLOT_TESTS_LEASE_FIXTURE_H
#define MSLOT_TESTS_LEASE_FIXTURE_H

#include "map_fixture.h"

#include <stdatomic.h>

#include <mslot/lease.h>

static inline struct mslot_span span_of(uint64_t gpa, uint64_t len, enum mslot_access access)
{
	return (struct mslot_span){.gpa = gpa, .len_bytes = len, .access = access};
}

/* A lease on frames of space 0, from the newest snapshot. */
static inline struct mslot_lease *lease_now(struct mslot_map *map, uint64_t gfn, uint64_t npages,
					    const char *tag)
{
	const struct mslot_span span = span_of(PAGES(gfn), PAGES(npages), MSLOT_WRITE);
	const struct mslot_snapshot *snap = mslot_enter(map);
	struct mslot_lease *lease = NULL;

	assert_int_equal(mslot_lease_take(snap, &span, tag, &lease), 0);
	assert_non_null(lease);
	mslot_leave(snap);
	return lease;
}

static inline void on_counted_release(void *ctx, const struct mslot_region_options *opt)
{
	(void)opt;
	atomic_fetch_add((_Atomic unsigned int *)ctx, 1);
}

static inline struct mslot_region *make_counted(uint64_t hva, _Atomic unsigned int *releases)
{
	const struct mslot_region_options opt = {
	    .hva = (void *)(uintptr_t)hva,
	    .len_bytes = PAGES(REGION_PAGES),
	    .fd = -1,
	    .release = on_counted_release,
	    .ctx = releases,
	};
	struct mslot_region *region = NULL;

	*releases = 0;
	assert_int_equal(mslot_region_create(&opt, &region), 0);
	return region;
}

static inline uint64_t leases_of(struct mslot_map *map)
{
	struct mslot_map_stats stats;

	assert_int_equal(mslot_map_stats_get(map, &stats), 0);
	assert_int_equal(stats.leases, mslot_lease_holders(map, NULL, 0));
	return stats.leases;
}

#endif /* MSLOT_TESTS_LEASE_FIXTURE_H */
