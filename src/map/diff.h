/* SPDX-License-Identifier: MIT */
/*
 * diff.h - the exact difference between two snapshots.
 */
#ifndef MSLOT_MAP_DIFF_H
#define MSLOT_MAP_DIFF_H

#include "map/snapshot.h"

/*
 * The difference, in one allocation freed by mslot_diff_destroy(). Both snapshots
 * are of one map and cannot go away meanwhile. Returns 0 or -ENOMEM.
 */
int diff_build(const struct mslot_snapshot *before, const struct mslot_snapshot *after,
	       struct mslot_diff **out);

#endif /* MSLOT_MAP_DIFF_H */
