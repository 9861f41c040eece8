/* SPDX-License-Identifier: MIT */
/*
 * two_sets_rbtree.h - red-black trees of nodes embedded in their items, for the engine
 * "two-sets"; with an aggregate over each subtree that the owner may keep.
 *
 * Invariants:
 *   B1 the root is black; a red node has no red child.
 *   B2 every path from the root down to a missing child meets as many black nodes.
 *   B3 a child's parent pointer names its parent; the root's is NULL.
 *   B4 every node's aggregate is that of its subtree (if the tree has a refresh()).
 *
 * The owner descends by itself, so that its comparison is inlined, and gives rb_insert()
 * the place that it found. One writer; readers only where the writer is not.
 */
#ifndef MSLOT_BENCH_TWO_SETS_RBTREE_H
#define MSLOT_BENCH_TWO_SETS_RBTREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rb_node {
	uintptr_t parent; /* | RB_BLACK */
	struct rb_node *child[2];
};

#define RB_BLACK ((uintptr_t)1)

struct rb_tree {
	struct rb_node *root;
	/* Recompute a node's aggregate from its item and its children's; NULL: there is none. */
	void (*refresh)(struct rb_node *node);
};

static inline struct rb_node *rb_parent(const struct rb_node *node)
{
	return (struct rb_node *)(node->parent & ~RB_BLACK);
}

/* Make `node` the child `side` of `parent`, which has none there; the root if parent is NULL. */
void rb_insert(struct rb_tree *tree, struct rb_node *node, struct rb_node *parent, int side);
void rb_erase(struct rb_tree *tree, struct rb_node *node);
/* Put `next` where `old` is. Its item has the same key and aggregate. */
void rb_replace(struct rb_tree *tree, const struct rb_node *old, struct rb_node *next);

/* The first node in order, and the one after a node; NULL when there is none. */
struct rb_node *rb_first(const struct rb_tree *tree);
struct rb_node *rb_next(const struct rb_node *node);

/* What an owner knows of its nodes, for rb_check(). */
struct rb_rules {
	bool (*ordered)(const struct rb_node *a, const struct rb_node *b); /* a may precede b */
	bool (*fresh)(const struct rb_node *node); /* B4 holds here; NULL: not checked */
};

/* NULL, or what is wrong with the tree; in *n the number of its nodes. */
const char *rb_check(const struct rb_tree *tree, const struct rb_rules *rules, size_t *n);

#endif /* MSLOT_BENCH_TWO_SETS_RBTREE_H */
