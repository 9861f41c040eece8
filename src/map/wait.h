/* SPDX-License-Identifier: MIT */
/*
 * wait.h - what mslot_wait() does before it waits for releases; for final harvests, which
 * keep regions themselves.
 */
#ifndef MSLOT_MAP_WAIT_H
#define MSLOT_MAP_WAIT_H

#include <stdint.h>

struct mslot_map;

/*
 * Wait until no section, no hold and no lease reaches what a commit up to `generation` removed,
 * or until the timeout, which is as in mslot_wait(). Returns as mslot_wait().
 */
int map_wait_settled(struct mslot_map *map, uint64_t generation, int64_t timeout_ns);

#endif /* MSLOT_MAP_WAIT_H */
