/* SPDX-License-Identifier: MIT */
/*
 * two_sets_rbtree.c - updates and the checker of the trees of two_sets_rbtree.h.
 *
 * The left and right cases are one code: `side` is 0 or 1, the other one !side. A rotation
 * leaves the aggregate of the subtree as a whole alone, so that only the two nodes that
 * change places are refreshed; a node that is linked or unlinked refreshes all above it,
 * before anything is rotated.
 */
#include "two_sets_rbtree.h"

#include <assert.h>

/* ---- Links ----------------------------------------------------------------- */

static bool is_red(const struct rb_node *node)
{
	return node && !(node->parent & RB_BLACK);
}

static void set_parent(struct rb_node *node, struct rb_node *parent)
{
	node->parent = (uintptr_t)parent | (node->parent & RB_BLACK);
}

static void set_black(struct rb_node *node)
{
	node->parent |= RB_BLACK;
}

static void set_red(struct rb_node *node)
{
	node->parent &= ~RB_BLACK;
}

/* Let what points down to `old`, a child of `parent` or the root, point to `next`. */
static void point_down(struct rb_tree *tree, struct rb_node *parent, const struct rb_node *old,
		       struct rb_node *next)
{
	if (parent)
		parent->child[parent->child[1] == old] = next;
	else
		tree->root = next;
}

static void refresh_upwards(struct rb_tree *tree, struct rb_node *node)
{
	if (!tree->refresh)
		return;
	for (; node; node = rb_parent(node))
		tree->refresh(node);
}

/* `top` goes down to `side`, its child of the other side takes its place. */
static void rotate(struct rb_tree *tree, struct rb_node *top, int side)
{
	struct rb_node *const up = top->child[!side];
	struct rb_node *const parent = rb_parent(top);

	top->child[!side] = up->child[side];
	if (up->child[side])
		set_parent(up->child[side], top);
	up->child[side] = top;
	set_parent(up, parent);
	point_down(tree, parent, top, up);
	set_parent(top, up);
	if (tree->refresh) {
		tree->refresh(top);
		tree->refresh(up);
	}
}

/* ---- Updates --------------------------------------------------------------- */

void rb_insert(struct rb_tree *tree, struct rb_node *node, struct rb_node *parent, int side)
{
	node->parent = (uintptr_t)parent; /* red */
	node->child[0] = node->child[1] = NULL;
	if (parent)
		parent->child[side] = node;
	else
		tree->root = node;
	refresh_upwards(tree, node);

	/* All holds but that `node` and its parent may both be red. */
	while (parent = rb_parent(node), is_red(parent)) {
		struct rb_node *const grand = rb_parent(parent);
		struct rb_node *uncle;

		side = grand->child[1] == parent;
		uncle = grand->child[!side];
		if (is_red(uncle)) {
			set_black(parent);
			set_black(uncle);
			set_red(grand);
			node = grand;
			continue;
		}
		if (parent->child[!side] == node) {
			rotate(tree, parent, side);
			parent = node;
		}
		set_black(parent);
		set_red(grand);
		rotate(tree, grand, !side);
		break;
	}
	set_black(tree->root);
}

/* Paths through `node` (NULL: through the missing child of `parent`) are one black node short. */
static void fill_shortage(struct rb_tree *tree, struct rb_node *node, struct rb_node *parent)
{
	while (parent && !is_red(node)) {
		const int side = parent->child[0] != node;
		struct rb_node *sibling = parent->child[!side];

		if (is_red(sibling)) {
			set_black(sibling);
			set_red(parent);
			rotate(tree, parent, side);
			sibling = parent->child[!side];
		}
		/* Paths through it have one black node more than those through `node`. */
		assert(sibling);
		if (!is_red(sibling->child[0]) && !is_red(sibling->child[1])) {
			set_red(sibling);
			node = parent;
			parent = rb_parent(node);
			continue;
		}
		if (!is_red(sibling->child[!side])) {
			set_black(sibling->child[side]);
			set_red(sibling);
			rotate(tree, sibling, !side);
			sibling = parent->child[!side];
		}
		if (is_red(parent))
			set_red(sibling);
		else
			set_black(sibling);
		set_black(parent);
		set_black(sibling->child[!side]);
		rotate(tree, parent, side);
		return;
	}
	if (node)
		set_black(node);
}

void rb_erase(struct rb_tree *tree, struct rb_node *node)
{
	struct rb_node *out = node, *below, *parent;
	bool was_red;

	/* Unlink a node with at most one child: this one, or the next in order for it. */
	if (node->child[0] && node->child[1]) {
		for (out = node->child[1]; out->child[0];)
			out = out->child[0];
	}
	below = out->child[!out->child[0]];
	parent = rb_parent(out);
	was_red = is_red(out);
	if (below)
		set_parent(below, parent);
	point_down(tree, parent, out, below);
	if (out != node) {
		if (parent == node)
			parent = out;
		rb_replace(tree, node, out);
	}
	refresh_upwards(tree, parent);
	if (!was_red)
		fill_shortage(tree, below, parent);
}

void rb_replace(struct rb_tree *tree, const struct rb_node *old, struct rb_node *next)
{
	*next = *old;
	point_down(tree, rb_parent(old), old, next);
	for (int side = 0; side < 2; side++) {
		if (next->child[side])
			set_parent(next->child[side], next);
	}
}

/* ---- Order ----------------------------------------------------------------- */

struct rb_node *rb_first(const struct rb_tree *tree)
{
	struct rb_node *node = tree->root;

	while (node && node->child[0])
		node = node->child[0];
	return node;
}

struct rb_node *rb_next(const struct rb_node *node)
{
	const struct rb_node *child;
	struct rb_node *next = node->child[1];

	if (next) {
		while (next->child[0])
			next = next->child[0];
		return next;
	}
	do {
		child = node;
		node = next = rb_parent(node);
	} while (next && next->child[1] == child);
	return next;
}

/* ---- The checker ----------------------------------------------------------- */

/* Black nodes on each path down from `node`; *why is set when a rule is broken below it. */
static size_t check_subtree(const struct rb_tree *tree, const struct rb_rules *rules,
			    const struct rb_node *node, size_t *n, const char **why)
{
	size_t black[2];

	if (!node)
		return 0;
	++*n;
	for (int side = 0; side < 2; side++) {
		const struct rb_node *child = node->child[side];

		if (child && rb_parent(child) != node)
			*why = "B3: a child has another parent";
		if (is_red(node) && is_red(child))
			*why = "B1: a red node has a red child";
		if (*why)
			return 0;
		black[side] = check_subtree(tree, rules, child, n, why);
		if (*why)
			return 0;
	}
	if (black[0] != black[1])
		*why = "B2: one path has more black nodes than another";
	else if (rules->fresh && !rules->fresh(node))
		*why = "B4: an aggregate is not that of its subtree";
	return black[0] + !is_red(node);
}

const char *rb_check(const struct rb_tree *tree, const struct rb_rules *rules, size_t *n)
{
	const struct rb_node *node, *next;
	const char *why = NULL;
	size_t steps = 0;

	*n = 0;
	if (tree->root && rb_parent(tree->root))
		return "B3: the root has a parent";
	if (is_red(tree->root))
		return "B1: the root is red";
	check_subtree(tree, rules, tree->root, n, &why);
	if (why)
		return why;
	for (node = rb_first(tree); node; node = next, steps++) {
		next = rb_next(node);
		if (next && !rules->ordered(node, next))
			return "two nodes are not in order";
	}
	return steps == *n ? NULL : "a walk in order misses nodes";
}
