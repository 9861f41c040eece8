/* SPDX-License-Identifier: MIT */
/*
 * txn_gen.h - how the generator thinks of a transaction.
 *
 * It keeps a plan: the map as it will be after the edits chosen so far. Each step
 * changes the plan without overlap, so the transaction is legal whatever the order
 * of its edits, and the edits are shuffled at the end. A fold lets steps follow each
 * other on the same slots and then declares only the net change of each id.
 */
#ifndef MSLOT_TESTS_TXN_GEN_H
#define MSLOT_TESTS_TXN_GEN_H

#include "txn_twin.h"

struct gen {
	struct rng *rng;
	const struct naive_map *cur;
	const struct twin_shape *shape;
	struct twin_txn *txn;
	struct naive_map plan;
	struct mslot_key claimed[TWIN_EDITS * (TWIN_PARTS + 1)];
	size_t nclaimed;
	uint64_t page;
	bool fold;
};

/* One step of each kind. They do nothing where the map offers no opportunity. */
void gen_step_create(struct gen *g);
void gen_step_delete(struct gen *g);
void gen_step_redefine(struct gen *g);
void gen_step_move(struct gen *g);
void gen_step_flags(struct gen *g);
void gen_step_resize(struct gen *g);
void gen_step_replace(struct gen *g);
void gen_step_split(struct gen *g);
void gen_step_merge(struct gen *g);
void gen_step_rotate(struct gen *g);
void gen_step_rehome(struct gen *g);

/* Declare an edit (nothing in a fold) and claim the ids it names. */
struct mslot_edit *gen_declare(struct gen *g, enum mslot_edit_kind kind,
			       const struct naive_slot *slot);
/* A slot of the plan that no edit has named, or -1. */
int gen_pick(struct gen *g);
/* An id that no edit of the transaction names and no slot has; false if none was found. */
bool gen_fresh_id(struct gen *g, uint32_t space, bool is_private, uint32_t *id);

#endif /* MSLOT_TESTS_TXN_GEN_H */
