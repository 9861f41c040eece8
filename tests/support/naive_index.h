/* SPDX-License-Identifier: MIT */
/*
 * naive_index.h - the twin of src/index: a sorted array, searched from one end to the
 * other wherever that is fast enough; and sets of nodes, to account for what an update
 * creates and retires.
 */
#ifndef NAIVE_INDEX_H
#define NAIVE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "index/index.h"

struct naive_index {
	struct index_entry *entry;
	size_t n;
};

void nindex_init(struct naive_index *naive);
void nindex_fini(struct naive_index *naive);
void nindex_copy(struct naive_index *to, const struct naive_index *from);

/* As index_apply() in place, -ENOMEM excepted; on -EINVAL nothing changes. */
int nindex_apply(struct naive_index *naive, bool ties, const struct index_edit *edits, size_t n);

/*
 * The edits of an array as index_replace() wants them: what goes is looked up. Lists are
 * from malloc(), for nindex_swap_fini().
 */
struct index_swap nindex_swap(const struct naive_index *naive, const struct index_edit *edits,
			      size_t n);
void nindex_swap_fini(struct index_swap *swap);

/* Position of the first entry whose key is not below (start, tie). */
size_t nindex_lower(const struct naive_index *naive, uint64_t start, uint64_t tie);
bool nindex_get(const struct naive_index *naive, uint64_t start, uint64_t tie,
		struct index_entry *out);
/* The item at `at`, for arrays without overlaps. */
void *nindex_find(const struct naive_index *naive, uint64_t at);
bool nindex_below(const struct naive_index *naive, uint64_t at, struct index_entry *out);
bool nindex_above(const struct naive_index *naive, uint64_t at, struct index_entry *out);
/* Position of the first entry from `pos` on that overlaps [start, end), or n. */
size_t nindex_overlap(const struct naive_index *naive, size_t pos, uint64_t start, uint64_t end);

bool nindex_entry_equal(const struct index_entry *a, const struct index_entry *b);

/* Where a tree differs from the array, in words; NULL when it does not. Also index_check(). */
const char *nindex_compare(const struct naive_index *naive, const struct index_root *root);

/*
 * Every lookup of an index at one key, and everything that overlaps [start, end), against
 * the array: NULL, or which lookup differs. Also each finder of a radix index.
 */
const char *nindex_check_point(const struct naive_index *naive, const struct index_root *root,
			       uint64_t at, uint64_t tie);
const char *nindex_check_range(const struct naive_index *naive, const struct index_root *root,
			       uint64_t start, uint64_t end);

/* One entry of a difference. */
struct nindex_change {
	bool in_a;
	struct index_entry entry;
};

struct nindex_changes {
	struct nindex_change *change;
	size_t n, room;
};

/* visit() of index_diff(): append to the struct nindex_changes at ctx. */
int nindex_collect_change(void *ctx, bool in_a, const struct index_entry *entry);
void nindex_changes_fini(struct nindex_changes *changes);
/* Does index_diff() of the trees report what the arrays differ by, in order, once each? */
bool nindex_diff_agrees(const struct naive_index *a, const struct index_root *root_a,
			const struct naive_index *b, const struct index_root *root_b);

/* A set of nodes, sorted by address. */
struct nindex_nodes {
	struct pool_link **node;
	size_t n, room;
};

/* Order of two `struct pool_link *`, for qsort() and bsearch(). */
int nindex_by_address(const void *a, const void *b);
void nindex_nodes_add_list(struct nindex_nodes *set, struct pool_link *list);
/* Uses index_collect(), which rewrites the links of all nodes of the tree. */
void nindex_nodes_add_tree(struct nindex_nodes *set, const struct index_root *root);
void nindex_nodes_fini(struct nindex_nodes *set);
/* Is `after` equal to `before` without `retired` and with `created`? */
bool nindex_nodes_accounts(const struct nindex_nodes *before, const struct nindex_nodes *retired,
			   const struct nindex_nodes *created, const struct nindex_nodes *after);

/* Give a list of nodes back, spoiled, so that whoever still reaches one notices. */
void nindex_free_list(struct pool *pool, struct pool_link *list);

/* A deterministic sequence of pseudo-random numbers. */
uint64_t nindex_random(uint64_t *state);

#endif /* NAIVE_INDEX_H */
