/* SPDX-License-Identifier: MIT */
/* mmu_world.h - a world of the library's own engines in mmu_engines.h: its map, roots and vCPUs. */
#ifndef MSLOT_BENCH_MMU_WORLD_H
#define MSLOT_BENCH_MMU_WORLD_H

#include <mslot/mslot.h>

#include "mmu_engines.h"

struct mmu_world {
	struct mmu_shape shape;
	struct mslot_map *map;
	struct mslot_region *region;
	struct mslot_mmu *mmu;
	struct mslot_root *root[MMU_THREADS];
	struct mslot_vcpu *vcpu[MMU_THREADS];
	struct mslot_dirty *dirty; /* NULL: nobody has begun to harvest */
	bool invalidates;          /* drop() waits until nobody uses what goes */
	uint64_t *bitmap;          /* of the first slot, for dirty() */
};

/* A root of the same kind as the others, for vCPUs that had `old`, which ends; or -errno. */
int mmu_world_renew(struct mmu_world *w, unsigned int root);

static inline struct mslot_root *mmu_world_root(const struct mmu_world *w, unsigned int thread)
{
	return w->root[thread < w->shape.nroots ? thread : 0];
}

/* mmu_mslot_edit.c: functions of struct mmu_engine. */
int mmu_world_edit(void *world, enum mmu_edit edit);
int mmu_world_recreate(void *world, enum mmu_edit edit);
int mmu_world_split_leaves(void *world, enum mmu_edit edit);
int64_t mmu_world_fill(void *world, unsigned int thread, struct mslot_range range);
int64_t mmu_world_dirty(void *world);
int mmu_world_mark(void *world, const struct mmu_addrs *a);
int64_t mmu_world_harvest(void *world, uint64_t *pages);

#endif /* MSLOT_BENCH_MMU_WORLD_H */
