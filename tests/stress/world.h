/* SPDX-License-Identifier: MIT */
/*
 * world.h - a map whose content is a version number written all over it.
 *
 * Each of `nspaces` spaces has `nslots` (a power of two) places of one page, side by side. Version
 * v shows at place p of space s a page of one region that belongs to (v, s, p) alone, and
 * the slot there has the id (p + v) mod nslots: a mix of two versions shows in any two slots,
 * a hole in any one. The memory is never touched.
 */
#ifndef MSLOT_TESTS_WORLD_H
#define MSLOT_TESTS_WORLD_H

#include <mslot/mslot.h>

#include "stress/stress.h"

#define WORLD_PAGE UINT64_C(4096)

struct world {
	struct mslot_map *map;
	struct mslot_region *region;
	uint32_t nspaces;
	uint32_t nslots;
	_Atomic uint64_t version; /* the last one committed */
	pthread_mutex_t lock;     /* writers take turns at versions */
	_Atomic uint64_t releases;
};

/* Version 0 committed. `opt` may be NULL; its nspaces is overwritten. */
void world_init(struct world *world, const struct mslot_map_options *opt, uint32_t nspaces,
		uint32_t nslots);
/* Waits, checks the map and that the region was released exactly once. */
void world_fini(struct world *world);

/* Add the edits that lead to version v. */
void world_edit(struct world *world, struct mslot_txn *txn, uint64_t v);
/* Commit the next version. Returns 0 or mslot_txn_commit()'s error, with nothing changed. */
int world_advance(struct world *world, struct mslot_commit_result *result);

/* The version that one place shows; fails at a hole. */
uint64_t world_version_at(const struct world *world, const struct mslot_snapshot *snap,
			  uint32_t space, uint32_t place);
/* Every place by gpa, by id and by iteration; fails unless all show one version. Returns it. */
uint64_t world_check(const struct world *world, const struct mslot_snapshot *snap);

#endif /* MSLOT_TESTS_WORLD_H */
