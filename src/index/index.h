/* SPDX-License-Identifier: MIT */
/*
 * index.h - a copy-on-write ordered index of ranges. Pure: no locks, no RCU, no
 * knowledge of slots.
 *
 * Data. A tree maps keys (start, tie) to entries [start, end) -> item. Keys are
 * unique; ranges may overlap. A tree without ties (tie == 0 for every entry) has
 * smaller nodes. Nodes are immutable once the batch that made them is published;
 * a node has 1 to 16 entries and room for just the next multiple of four.
 *
 * Invariants (index_check()):
 *   I1 all leaves have the same depth
 *   I2 keys rise strictly within a node and across neighbouring nodes
 *   I3 an inner entry's (start, tie) is the smallest key below it, its end the
 *      largest end below it
 *   I4 no node is empty; two neighbouring children of one parent have more than
 *      INDEX_MERGE_MAX entries together, hence O(log n) depth; a root that is an inner
 *      node has at least two children
 *   I5 root.count is the number of entries, root.bytes what the nodes cost
 *
 * Update. index_apply() takes a sorted batch, copies each touched node once, and
 * leaves the old tree intact; new nodes are listed in batch->created and the nodes
 * that only the old tree reaches in batch->retired. One batch may serve several
 * trees, each at most once.
 */
#ifndef MSLOT_INDEX_INDEX_H
#define MSLOT_INDEX_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"

#define INDEX_FANOUT 16u
#define INDEX_MERGE_MAX 12u /* neighbours with this many entries or fewer become one node */
#define INDEX_MAX_DEPTH 20u

struct index_node;
struct index_scratch;

struct index_entry {
	uint64_t start;
	uint64_t end; /* exclusive; > start */
	uint64_t tie;
	void *item;
};

struct index_root {
	struct index_node *node; /* NULL when empty */
	uint64_t count;
	uint64_t bytes;
	bool ties; /* fixed for the life of a tree */
};

enum index_op {
	INDEX_PUT,    /* insert, or replace end and item of an existing key */
	INDEX_REMOVE, /* the key must exist */
};

struct index_edit {
	enum index_op op;
	struct index_entry entry; /* REMOVE: only start and tie */
};

struct index_batch {
	struct pool *pool;
	uint64_t birth;                /* stamped into every created node's link */
	struct pool_link *created;     /* new nodes of all trees of the batch */
	struct pool_link *retired;     /* replaced nodes of all trees of the batch */
	struct index_scratch *scratch; /* private; freed by index_batch_fini() */
};

void index_batch_init(struct index_batch *batch, struct pool *pool, uint64_t birth);
/* Give all created nodes back to the pool and forget the retired list: the old trees stay. */
void index_batch_rollback(struct index_batch *batch);
/* Free scratch memory. The lists stay as they are. */
void index_batch_fini(struct index_batch *batch);

/*
 * Apply edits, sorted strictly by rising (start, tie), to `in` and store the new
 * tree in *out (may be the same struct). n == 0 copies the root.
 * Returns 0, -ENOMEM, or -EINVAL: edits unsorted, a REMOVE of an absent key, a tie
 * in a tree without ties, end <= start. After an error *out is untouched and the
 * caller must index_batch_rollback() the whole batch. A single edit that neither splits
 * nor merges nodes takes no memory but that of the nodes it copies.
 */
int index_apply(struct index_batch *batch, const struct index_root *in,
		const struct index_edit *edits, size_t n, struct index_root *out);

/* Build a tree from entries sorted strictly by (start, tie). Errors as index_apply(). */
int index_build(struct index_batch *batch, const struct index_entry *entries, size_t n, bool ties,
		struct index_root *out);

/* Put every node of a tree on `list` (for tearing a tree down). */
void index_collect(const struct index_root *root, struct pool_link **list);

/* The entry with this key, or false. `out` may be NULL. */
bool index_get(const struct index_root *root, uint64_t start, uint64_t tie,
	       struct index_entry *out);

/*
 * The item whose range contains `at`, or NULL. Only for trees without overlaps:
 * looks at the entry with the largest start <= at.
 */
void *index_find(const struct index_root *root, uint64_t at);

/* The entry with the largest key whose start is <= at (below), or false. */
bool index_below(const struct index_root *root, uint64_t at, struct index_entry *out);
/* The entry with the smallest key whose start is >= at, or false. */
bool index_above(const struct index_root *root, uint64_t at, struct index_entry *out);

/*
 * Iteration over the entries that overlap [start, end), by rising key. A cursor is
 * plain memory and valid while the tree is. Each step is O(log n) at worst, and
 * subtrees that end before `start` are skipped whole.
 */
struct index_cursor {
	uint64_t start, end;
	unsigned int depth; /* levels in use; 0 = at the end */
	struct {
		const struct index_node *node;
	} level[INDEX_MAX_DEPTH];
	uint8_t pos[INDEX_MAX_DEPTH];
};

/* Position on the first entry that overlaps [start, end); with start >= end none does. */
void index_cursor_init(struct index_cursor *cur, const struct index_root *root, uint64_t start,
		       uint64_t end);
/* The entry at the cursor, which then advances; false at the end. */
bool index_cursor_next(struct index_cursor *cur, struct index_entry *out);

/* Does any entry overlap [start, end)? The first by key is stored in *out (may be NULL). */
bool index_first_overlap(const struct index_root *root, uint64_t start, uint64_t end,
			 struct index_entry *out);

/*
 * Entries that differ between two trees: visit() gets those only `a` has (in_a true)
 * and those only `b` has (in_a false), each by rising key; two entries are the same
 * when key, end and item are. Subtrees that both trees share are skipped.
 * visit() returning nonzero stops the walk and is returned.
 */
int index_diff(const struct index_root *a, const struct index_root *b,
	       int (*visit)(void *ctx, bool in_a, const struct index_entry *entry), void *ctx);

/* Every invariant above. Returns NULL or a static text naming the broken one. */
const char *index_check(const struct index_root *root);

#endif /* MSLOT_INDEX_INDEX_H */
