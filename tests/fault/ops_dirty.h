/* SPDX-License-Identifier: MIT */
/* ops_dirty.h - operations on dirty pages, for the table of ops.c. */
#ifndef MSLOT_TESTS_OPS_DIRTY_H
#define MSLOT_TESTS_OPS_DIRTY_H

#include "fault.h"

/* arg: how many consumers there are already. */
void prepare_consumers(struct world *w, const struct op *op);
int run_dirty_create(struct world *w, const struct op *op);
void finish_consumers(struct world *w, const struct op *op);
int run_dirty_create_wide(struct world *w, const struct op *op);
void finish_dirty_wide(struct world *w, const struct op *op);
void prepare_dirty_wide(struct world *w, const struct op *op);
void prepare_dirty_destroy(struct world *w, const struct op *op);
int run_dirty_destroy(struct world *w, const struct op *op);
void prepare_dirty_get(struct world *w, const struct op *op);
int run_dirty_get(struct world *w, const struct op *op);
void finish_dirty_get(struct world *w, const struct op *op);

void prepare_kvm_log(struct world *w, const struct op *op);
int run_kvm_get(struct world *w, const struct op *op);
int run_kvm_clear(struct world *w, const struct op *op);
void finish_kvm_log(struct world *w, const struct op *op);

void prepare_final(struct world *w, const struct op *op);
int run_final(struct world *w, const struct op *op);
void finish_final(struct world *w, const struct op *op);

void prepare_rings(struct world *w, const struct op *op);
int run_ring_enable(struct world *w, const struct op *op);
int run_kvm_rings(struct world *w, const struct op *op);
void finish_rings(struct world *w, const struct op *op);
void prepare_ring_vcpu(struct world *w, const struct op *op);
/* arg: how many slots. */
void prepare_log_many(struct world *w, const struct op *op);
void finish_log_many(struct world *w, const struct op *op);
void prepare_final_many(struct world *w, const struct op *op);
void finish_final_many(struct world *w, const struct op *op);
void prepare_merge_logged(struct world *w, const struct op *op);
void finish_merge_logged(struct world *w, const struct op *op);

#endif /* MSLOT_TESTS_OPS_DIRTY_H */
