/* SPDX-License-Identifier: MIT */
/*
 * index.h - a copy-on-write ordered index of ranges. Pure: no locks, no RCU, no
 * knowledge of slots.
 *
 * Data. An index maps keys (start, tie) to entries [start, end) -> item. Keys are unique.
 * Two kinds keep this contract, and a root says of which it is:
 *
 *   INDEX_TREE   a B+tree (src/index/tree). Any 64-bit key; with `ties` ranges may overlap
 *   INDEX_RADIX  directories over leaves of 15 (src/index/radix). Faster, but ranges must
 *                not overlap, ends are at most INDEX_RADIX_LIMIT, and there are no ties
 *
 * Nodes are immutable once the batch that made them is published. ranges.h puts both
 * together for ranges that seldom overlap.
 *
 * Update. index_apply() takes a sorted batch, copies each touched node once, and
 * leaves the old index intact; new nodes are listed in batch->created and the nodes
 * that only the old one reaches in batch->retired. One batch may serve several
 * indexes, each at most once.
 */
#ifndef MSLOT_INDEX_INDEX_H
#define MSLOT_INDEX_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"

#define INDEX_TREE_DEPTH 20u /* levels of a tree at most */
#define INDEX_RADIX_LIMIT (UINT64_C(1) << 62)

struct index_node;
struct tree_scratch;
struct radix_scratch;
struct radix_leaf;

struct index_entry {
	uint64_t start;
	uint64_t end; /* exclusive; > start */
	uint64_t tie;
	void *item;
};

enum index_kind { INDEX_TREE, INDEX_RADIX };

/* All bits zero is an empty tree; index_root_init() makes any other. */
struct index_root {
	union {
		struct index_node *node; /* tree: NULL when empty */
		uint64_t word;           /* radix: see radix/node.h; never 0 */
	};
	uint64_t count; /* entries */
	uint64_t bytes; /* what the nodes cost */
	uint8_t kind;   /* enum index_kind; fixed for the life of an index, like ties */
	bool ties;
	uint8_t height; /* radix: directories on the longest path */
};

enum index_op {
	INDEX_PUT,    /* insert, or replace end and item of an existing key */
	INDEX_REMOVE, /* the key must exist */
};

struct index_edit {
	enum index_op op;
	struct index_entry entry; /* REMOVE: only start and tie */
};

struct index_range {
	uint64_t start, end;
	void *item;
};

/* What goes and what comes: each list sorted by rising key and, without ties, free of overlap. */
struct index_swap {
	const struct index_range *cut, *put;
	size_t ncut, nput;
};

struct index_batch {
	struct pool *pool;
	uint64_t birth;            /* stamped into every created node's link; above that of every
				    * node of the indexes the batch is applied to */
	struct pool_link *created; /* new nodes of all trees of the batch */
	struct pool_link *retired; /* replaced nodes of all trees of the batch */
	uint64_t retired_bytes;    /* what they cost, those in `few` too */
	/*
	 * An array of the owner's, or NULL, that takes the first replaced nodes in place of the
	 * list: a list writes to nodes that readers have in their caches.
	 */
	struct pool_link **few;
	uint32_t nfew, few_room;
	/* Private memory of the kinds; freed by index_batch_fini(). */
	struct tree_scratch *tree_scratch;
	struct radix_scratch *radix_scratch;
};

/* An empty index. */
void index_root_init(struct index_root *root, enum index_kind kind, bool ties);

void index_batch_init(struct index_batch *batch, struct pool *pool, uint64_t birth);
/* Give all created nodes back to the pool and forget the retired list: the old trees stay. */
void index_batch_rollback(struct index_batch *batch);
/* Free scratch memory. The lists stay as they are. */
void index_batch_fini(struct index_batch *batch);

/* Note a replaced node of `bytes`. For the kinds of index. */
static inline void index_batch_retire(struct index_batch *batch, struct pool_link *link,
				      uint64_t bytes)
{
	batch->retired_bytes += bytes;
	if (batch->nfew < batch->few_room) {
		batch->few[batch->nfew++] = link;
	} else {
		link->next = batch->retired;
		batch->retired = link;
	}
}

/*
 * Apply edits, sorted strictly by rising (start, tie), to `in` and store the new
 * index in *out (may be the same struct). n == 0 copies the root.
 * Returns 0, -ENOMEM, or -EINVAL: edits unsorted, a REMOVE of an absent key, a tie
 * in an index without ties, end <= start, a radix key or end beyond its limit. After an
 * error *out is untouched and the caller must index_batch_rollback() the whole batch. The
 * result must be free of overlap but in a tree with ties; that is the caller's promise.
 */
int index_apply(struct index_batch *batch, const struct index_root *in,
		const struct index_edit *edits, size_t n, struct index_root *out);

/*
 * The same where the caller knows what goes, which saves the search for it. What goes must be
 * entries of the index.
 */
int index_replace(struct index_batch *batch, const struct index_root *in,
		  const struct index_swap *swap, struct index_root *out);
/*
 * The edits that a swap is, sorted, in an array for all that goes and comes. Returns how many
 * there are. tie_of() tells the tie of an item; NULL: there are none.
 */
size_t index_swap_edits(const struct index_swap *swap, uint64_t (*tie_of)(const void *item),
			struct index_edit *edits);

/* Put every node of an index on `list` (for tearing it down). */
void index_collect(const struct index_root *root, struct pool_link **list);

/* The entry with this key, or false. `out` may be NULL. */
bool index_get(const struct index_root *root, uint64_t start, uint64_t tie,
	       struct index_entry *out);

/*
 * The item whose range contains `at` < UINT64_MAX, or NULL. Only for indexes without
 * overlaps: looks at the entry with the largest start <= at.
 */
void *index_find(const struct index_root *root, uint64_t at);

/* The same for a radix index alone, compiled for one width of vector instructions. */
typedef void *index_find_fn(const struct index_root *root, uint64_t at);
enum index_simd { INDEX_SCALAR, INDEX_AVX2, INDEX_AVX512 };
/* The widest that the processor has. */
enum index_simd index_simd_best(void);
/* The lookup for a kind of index at a width that the processor has. */
index_find_fn *index_finder(enum index_kind kind, enum index_simd simd);

/* The entry with the largest key whose start is <= at (below), or false. */
bool index_below(const struct index_root *root, uint64_t at, struct index_entry *out);
/* The entry with the smallest key whose start is >= at, or false. */
bool index_above(const struct index_root *root, uint64_t at, struct index_entry *out);

/*
 * Iteration over the entries that overlap [start, end), by rising key. A cursor is
 * plain memory and valid while the index is. Each step is O(log n) at worst; in a tree
 * subtrees that end before `start` are skipped whole.
 */
struct index_cursor {
	uint64_t start, end;
	uint8_t kind;
	uint8_t at;    /* radix: the entry of the leaf that comes next */
	uint8_t depth; /* tree: levels in use; 0 = at the end */
	uint8_t pos[INDEX_TREE_DEPTH];
	union {
		const struct index_node *node[INDEX_TREE_DEPTH];
		struct {
			struct index_root root;
			const struct radix_leaf *leaf; /* NULL = at the end */
		};
	};
};

/* Position on the first entry that overlaps [start, end); with start >= end none does. */
void index_cursor_init(struct index_cursor *cur, const struct index_root *root, uint64_t start,
		       uint64_t end);
/* The entry at the cursor, which then advances; false at the end. */
bool index_cursor_next(struct index_cursor *cur, struct index_entry *out);
/* The same for those who want the item alone; NULL at the end. */
void *index_cursor_item(struct index_cursor *cur);

/* Does any entry overlap [start, end)? The first by key is stored in *out (may be NULL). */
bool index_first_overlap(const struct index_root *root, uint64_t start, uint64_t end,
			 struct index_entry *out);

/*
 * Entries that differ between two indexes of one kind: visit() gets those only `a` has (in_a true)
 * and those only `b` has (in_a false), each by rising key; two entries are the same
 * when key, end and item are. Nodes that both share are skipped.
 * visit() returning nonzero stops the walk and is returned.
 */
int index_diff(const struct index_root *a, const struct index_root *b,
	       int (*visit)(void *ctx, bool in_a, const struct index_entry *entry), void *ctx);

/* Every invariant above. Returns NULL or a static text naming the broken one. */
const char *index_check(const struct index_root *root);

#endif /* MSLOT_INDEX_INDEX_H */
