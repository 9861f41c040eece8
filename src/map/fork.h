/* SPDX-License-Identifier: MIT */
/*
 * fork.h - the list of all maps, kept for fork handlers.
 */
#ifndef MSLOT_MAP_FORK_H
#define MSLOT_MAP_FORK_H

#include "map/snapshot.h"

/* Add or remove a map; the first call registers the handlers. */
void fork_track(struct mslot_map *map);
void fork_untrack(struct mslot_map *map);

#endif /* MSLOT_MAP_FORK_H */
