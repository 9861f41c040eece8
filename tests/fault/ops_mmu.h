/* SPDX-License-Identifier: MIT */
/*
 * ops_mmu.h - operations of software MMUs, for the tables of ops.c and quiet.c.
 */
#ifndef MSLOT_TESTS_OPS_MMU_H
#define MSLOT_TESTS_OPS_MMU_H

#include "fault.h"

/* Bits of an operation's arg. */
#define MMU_BITMAPS 1u
#define MMU_SECOND 2u /* what is mapped has leaves elsewhere, too */

int run_mmu_create(struct world *w, const struct op *op);
void finish_mmu_create(struct world *w, const struct op *op);
void prepare_mmu(struct world *w, const struct op *op);
int run_root_create(struct world *w, const struct op *op);
void finish_root_create(struct world *w, const struct op *op);
void prepare_fault(struct world *w, const struct op *op);
int run_fault(struct world *w, const struct op *op);
int run_prefault(struct world *w, const struct op *op);
void finish_fault(struct world *w, const struct op *op);
void prepare_mmu_commit(struct world *w, const struct op *op);
int run_mmu_commit(struct world *w, const struct op *op);
void finish_mmu_commit(struct world *w, const struct op *op);

void quiet_mmu(struct world *w);

#endif /* MSLOT_TESTS_OPS_MMU_H */
