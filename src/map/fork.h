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

/* Call `run` while no map exists nor can come to exist. Returns false if there is one. */
bool fork_without_maps(void (*run)(void));

/* Embedded in what belongs to a map and has locks, or threads, of its own. */
struct map_fork_hook {
	struct map_fork_hook *next;
	/*
	 * In the child of a fork, in which only the calling thread exists: with all locks of the
	 * map held, its vCPUs out. May not lock, allocate or wait.
	 */
	void (*child)(struct map_fork_hook *hook);
};

/* Writer mutex held. */
void map_fork_hook_add(struct mslot_map *map, struct map_fork_hook *hook);
void map_fork_hook_remove(struct mslot_map *map, struct map_fork_hook *hook);

#endif /* MSLOT_MAP_FORK_H */
