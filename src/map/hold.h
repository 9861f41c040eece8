/* SPDX-License-Identifier: MIT */
/*
 * hold.h - what reclamation needs to know of holds.
 */
#ifndef MSLOT_MAP_HOLD_H
#define MSLOT_MAP_HOLD_H

#include "map/snapshot.h"

/* The youngest live hold with a generation <= limit, or NULL. holds_lock held. */
struct mslot_hold *hold_youngest(struct mslot_map *map, uint64_t limit);

/* Does a live hold, or one put but not yet processed, keep a generation < limit? */
bool hold_older_than(struct mslot_map *map, uint64_t limit);

#endif /* MSLOT_MAP_HOLD_H */
