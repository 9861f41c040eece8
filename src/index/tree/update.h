/* SPDX-License-Identifier: MIT */
/*
 * update.h - what the parts of tree_apply() share, private to src/index: node.c makes
 * nodes, one.c takes the short way for one edit, apply.c goes down the tree with a batch
 * and pack.c turns what comes back up into nodes.
 */
#ifndef MSLOT_INDEX_TREE_UPDATE_H
#define MSLOT_INDEX_TREE_UPDATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "index/tree/node.h"

/* The update of one tree. */
struct index_update {
	struct index_batch *batch;
	bool ties;
	bool append;    /* all edits lie behind the last key */
	uint64_t count; /* entries of the new tree, kept modulo 2^64 on the way */
	uint64_t bytes; /* cost of the new tree, likewise */
};

/* Entries of nodes of one level, in the order of keys. */
struct index_vec {
	struct index_entry *entry;
	size_t n, room;
};

struct tree_scratch {
	struct index_vec level[INDEX_TREE_DEPTH + 1];
};

static inline struct index_vec *index_vec(const struct index_update *up, unsigned int level)
{
	return &up->batch->tree_scratch->level[level];
}

/* ---- node.c ---- */

/* An uninitialised node with room for `count` entries, listed in batch->created; or NULL. */
struct index_node *index_node_alloc(struct index_update *up, unsigned int level, size_t count);
/* A node of entries, or NULL. */
struct index_node *index_node_create(struct index_update *up, unsigned int level,
				     const struct index_entry *entries, size_t count);
/* Put a node of the old tree that the new one does not reach on batch->retired. */
void index_node_retire(struct index_update *up, struct index_node *node);
/* Give up a node of the old tree, or one that the same update has made. */
void index_node_discard(struct index_update *up, struct index_node *node);

/* ---- one.c ---- */

/*
 * One edit whose effect on each node of its path is a changed entry: no node splits,
 * vanishes or has to merge. Returns 1 and the new root's node, 0 when the edit is not of
 * this kind (nothing has happened), -ENOMEM, or -EINVAL: REMOVE of an absent key.
 */
int index_apply_one(struct index_update *up, struct index_node *root, const struct index_edit *edit,
		    struct index_node **out);

/* ---- pack.c: all return 0 or -ENOMEM ---- */

/* Make the scratch vectors empty. */
int index_scratch_reset(struct index_batch *batch);
/* Make room for `more` entries. */
int index_vec_reserve(struct index_vec *vec, size_t more);
/*
 * Append an entry to the vector of `level`. At a seam its node and that of the last entry
 * have become neighbours, and are joined where I4 demands it.
 */
int index_emit(struct index_update *up, unsigned int level, const struct index_entry *entry,
	       bool seam);
/* Append the entries of a node to its level's vector and discard it. */
int index_absorb(struct index_update *up, struct index_node *node);
/* Would a node behind the run of entries be too small a neighbour of the run's last node? */
bool index_run_wants(const struct index_vec *run, const struct index_node *node);
/*
 * Turn the vector of `level` into nodes, appended to the vector of the level above, where
 * the entries of their parent begin at `base`.
 */
int index_end_run(struct index_update *up, unsigned int level, size_t base);
/* Make a root of entries of `level`: further levels for many, fewer where one is enough. */
int index_make_root(struct index_update *up, unsigned int level, const struct index_entry *entries,
		    size_t n, struct index_node **out);
/* Free the dead among the nodes made since `mark` headed batch->created. */
void index_settle_created(struct index_update *up, const struct pool_link *mark);

#endif /* MSLOT_INDEX_TREE_UPDATE_H */
