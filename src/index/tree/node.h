/* SPDX-License-Identifier: MIT */
/*
 * node.h - the nodes of the B+tree, private to src/index.
 *
 * Invariants (tree_check()):
 *   I1 all leaves have the same depth
 *   I2 keys rise strictly within a node and across neighbouring nodes
 *   I3 an inner entry's (start, tie) is the smallest key below it, its end the
 *      largest end below it
 *   I4 no node is empty; two neighbouring children of one parent have more than
 *      TREE_MERGE_MAX entries together, hence O(log n) depth; a root that is an inner
 *      node has at least two children
 *   I5 root.count is the number of entries, root.bytes what the nodes cost
 *
 * Data. A node is its header and then columns of `cap` words each, so that a search
 * reads one column only:
 *
 *   start[cap]  end[cap]  item-or-child[cap]  tie[cap], the last in trees with ties only
 *
 * cap is count rounded up to a multiple of four: a node never grows, so more room
 * would be waste. Unused words of start[] are UINT64_MAX, which no entry can start at,
 * so searches need not know where the used ones end; the other unused words are 0.
 */
#ifndef MSLOT_INDEX_TREE_NODE_H
#define MSLOT_INDEX_TREE_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "index/index.h"

#define TREE_FANOUT 16u
#define TREE_MERGE_MAX 12u /* neighbours with this many entries or fewer become one node */

struct index_node {
	struct pool_link link;
	uint8_t level; /* 0: leaf */
	uint8_t count; /* 1 .. TREE_FANOUT */
	uint8_t cap;
	uint8_t ties;
	uint8_t fresh; /* made by the tree_apply() that is running */
	uint8_t dead;  /* fresh, and replaced by that same tree_apply() */
	uint64_t word[];
};

_Static_assert(sizeof(struct index_node) == 24, "a node has 24 bytes besides its columns");
_Static_assert(TREE_FANOUT == 16, "node_floor() knows nodes of up to four groups of four");
_Static_assert(sizeof(struct index_node) + TREE_FANOUT * 32 <= POOL_MAX_BYTES,
	       "the largest node fits a pool");

static inline unsigned int node_cap(size_t count)
{
	return ((unsigned int)count + 3) & ~3u;
}

static inline size_t node_columns(bool ties)
{
	return ties ? 4 : 3;
}

static inline size_t node_bytes(unsigned int cap, bool ties)
{
	return sizeof(struct index_node) + cap * node_columns(ties) * sizeof(uint64_t);
}

static inline size_t node_cost(const struct index_node *node)
{
	return node_bytes(node->cap, node->ties);
}

static inline uint64_t node_end(const struct index_node *node, unsigned int i)
{
	return node->word[node->cap + i];
}

static inline uint64_t node_tie(const struct index_node *node, unsigned int i)
{
	return node->ties ? node->word[3u * node->cap + i] : 0;
}

static inline void *node_item(const struct index_node *node, unsigned int i)
{
	return (void *)(uintptr_t)node->word[2u * node->cap + i];
}

static inline struct index_node *node_child(const struct index_node *node, unsigned int i)
{
	return node_item(node, i);
}

static inline struct index_entry node_entry(const struct index_node *node, unsigned int i)
{
	return (struct index_entry){
	    .start = node->word[i],
	    .end = node_end(node, i),
	    .tie = node_tie(node, i),
	    .item = node_item(node, i),
	};
}

static inline bool key_less(uint64_t a, uint64_t a_tie, uint64_t b, uint64_t b_tie)
{
	return a < b || (a == b && a_tie < b_tie);
}

/*
 * The last entry whose start is <= at, or 0 when there is none; at < UINT64_MAX. Counts
 * the groups of four that start up to there and then within the last of them; branches
 * depend on the node's room alone, never on the key.
 */
static inline unsigned int node_floor(const struct index_node *node, uint64_t at)
{
	const uint64_t *start = node->word;
	unsigned int group = 0;

	switch (node->cap) {
	case 16:
		group += start[12] <= at;
		__attribute__((fallthrough));
	case 12:
		group += start[8] <= at;
		__attribute__((fallthrough));
	case 8:
		group += start[4] <= at;
		break;
	default:
		break;
	}
	start += (size_t)group * 4;
	return group * 4 + (unsigned int)(start[1] <= at) + (unsigned int)(start[2] <= at) +
	       (unsigned int)(start[3] <= at);
}

/* Entries whose start is <= at; at < UINT64_MAX. */
static inline unsigned int node_starts_up_to(const struct index_node *node, uint64_t at)
{
	return node->word[0] <= at ? node_floor(node, at) + 1 : 0;
}

/* Entries whose key is <= (start, tie); start < UINT64_MAX. */
static inline unsigned int node_keys_up_to(const struct index_node *node, uint64_t start,
					   uint64_t tie)
{
	unsigned int n = node_starts_up_to(node, start);

	/* The starts equal to this one come last among those counted. */
	if (node->ties)
		while (n > 0 && node->word[n - 1] == start && node_tie(node, n - 1) > tie)
			n--;
	return n;
}

/* The largest end in a node. */
uint64_t index_node_max_end(const struct index_node *node);

#endif /* MSLOT_INDEX_TREE_NODE_H */
