/* SPDX-License-Identifier: MIT */
/*
 * tree.h - the B+tree's side of index.h, whose functions of the same name say what these
 * do. A single edit that neither splits nor merges nodes takes no memory but that of the
 * nodes it copies.
 */
#ifndef MSLOT_INDEX_TREE_TREE_H
#define MSLOT_INDEX_TREE_TREE_H

#include "index/index.h"

int tree_apply(struct index_batch *batch, const struct index_root *in,
	       const struct index_edit *edits, size_t n, struct index_root *out);
void tree_collect(const struct index_root *root, struct pool_link **list);
bool tree_get(const struct index_root *root, uint64_t start, uint64_t tie, struct index_entry *out);
void *tree_find(const struct index_root *root, uint64_t at);
bool tree_below(const struct index_root *root, uint64_t at, struct index_entry *out);
bool tree_above(const struct index_root *root, uint64_t at, struct index_entry *out);
/* With start, end and kind set. */
void tree_cursor_init(struct index_cursor *cur, const struct index_root *root);
bool tree_cursor_next(struct index_cursor *cur, struct index_entry *out);
int tree_diff(const struct index_root *a, const struct index_root *b,
	      int (*visit)(void *ctx, bool in_a, const struct index_entry *entry), void *ctx);
const char *tree_check(const struct index_root *root);
/* Free the memory of a batch that only trees use. */
void tree_scratch_fini(struct index_batch *batch);

#endif /* MSLOT_INDEX_TREE_TREE_H */
