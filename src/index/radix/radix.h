/* SPDX-License-Identifier: MIT */
/*
 * radix.h - the radix index's side of index.h, whose functions of the same name say what
 * these do. Keys and ends lie at or below INDEX_RADIX_LIMIT, lookups below it.
 */
#ifndef MSLOT_INDEX_RADIX_RADIX_H
#define MSLOT_INDEX_RADIX_RADIX_H

#include "index/index.h"

/* What an empty index leads to. */
uint64_t radix_empty_word(void);

int radix_apply(struct index_batch *batch, const struct index_root *in,
		const struct index_edit *edits, size_t n, struct index_root *out);
int radix_replace(struct index_batch *batch, const struct index_root *in,
		  const struct index_swap *swap, struct index_root *out);
void radix_collect(const struct index_root *root, struct pool_link **list);
bool radix_get(const struct index_root *root, uint64_t start, struct index_entry *out);
index_find_fn radix_find_scalar;
index_find_fn *radix_finder(enum index_simd simd);
bool radix_overlaps(const struct index_root *root, uint64_t start, uint64_t end);
bool radix_below(const struct index_root *root, uint64_t at, struct index_entry *out);
bool radix_above(const struct index_root *root, uint64_t at, struct index_entry *out);
/* With start, end and kind set. */
void radix_cursor_init(struct index_cursor *cur, const struct index_root *root);
bool radix_cursor_next(struct index_cursor *cur, struct index_entry *out);
void *radix_cursor_item(struct index_cursor *cur);
int radix_diff(const struct index_root *a, const struct index_root *b,
	       int (*visit)(void *ctx, bool in_a, const struct index_entry *entry), void *ctx);
const char *radix_check(const struct index_root *root);
/* Free the memory of a batch that only radix indexes use. */
void radix_scratch_fini(struct index_batch *batch);

#endif /* MSLOT_INDEX_RADIX_RADIX_H */
