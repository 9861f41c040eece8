/* SPDX-License-Identifier: MIT */
/*
 * wait.h - who may wait for sections; and what mslot_wait() does before it waits for releases, for
 * final harvests, which keep regions themselves.
 */
#ifndef MSLOT_MAP_WAIT_H
#define MSLOT_MAP_WAIT_H

#include <stdbool.h>
#include <stdint.h>

struct mslot_map;

/*
 * Would the calling thread wait for itself: inside a section of anybody's, in a listener callback,
 * or in a release callback? Whoever is about to wait for sections asks, and returns -EDEADLK.
 */
bool map_wait_refused(void);

/*
 * Wait until no section, no hold and no lease reaches what a commit up to `generation` removed,
 * or until the timeout, which is as in mslot_wait(). Returns as mslot_wait().
 */
int map_wait_settled(struct mslot_map *map, uint64_t generation, int64_t timeout_ns);

#endif /* MSLOT_MAP_WAIT_H */
