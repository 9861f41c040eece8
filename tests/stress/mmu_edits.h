/* SPDX-License-Identifier: MIT */
/*
 * mmu_edits.h - random edits of the layout of an MMU's world.
 */
#ifndef MSLOT_TESTS_MMU_EDITS_H
#define MSLOT_TESTS_MMU_EDITS_H

#include "stress/mmu_world.h"

/* Slots in all islands, of all sizes. */
void mmu_first_layout(struct mmu_world *world, struct mslot_txn *txn, struct mmu_slot *next);
/* Add an edit of a kind to a transaction, and do it to `next`. Returns false if there is none. */
bool mmu_edit(struct mmu_world *world, struct stress_thread *self, struct mslot_txn *txn,
	      struct mmu_slot *next, unsigned int kind);
/* Is each slot in an island and in a region, and no two overlap? */
bool mmu_layout_valid(const struct mmu_slot *slots);

#endif /* MSLOT_TESTS_MMU_EDITS_H */
