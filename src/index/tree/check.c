/* SPDX-License-Identifier: MIT */
/*
 * check.c - the full walk behind tree_check(), and the one of tree_collect().
 */
#include "index/tree/node.h"
#include "index/tree/tree.h"

struct walk {
	uint64_t count, bytes;
	bool started;
	uint64_t last_start, last_tie; /* the largest key so far */
	bool ties;
};

static const char *check_shape(const struct walk *walk, const struct index_node *node,
			       unsigned int level)
{
	unsigned int i, columns = (unsigned int)node_columns(node->ties);

	if (node->level != level)
		return "index: I1 leaves at different depths";
	if (node->ties != walk->ties)
		return "index: a node has the wrong columns";
	if (node->count == 0)
		return "index: I4 an empty node";
	if (node->count > TREE_FANOUT || node->cap != node_cap(node->count))
		return "index: a node's count does not fit its room";
	if (node->fresh || node->dead)
		return "index: a node bears marks of an unfinished update";
	for (i = node->count; i < node->cap * columns; i++)
		if (i % node->cap >= node->count &&
		    node->word[i] != (i < node->cap ? UINT64_MAX : 0))
			return "index: padding is not clean";
	return NULL;
}

static const char *check_leaf(struct walk *walk, const struct index_node *node)
{
	struct index_entry e;
	unsigned int i;

	for (i = 0; i < node->count; i++) {
		e = node_entry(node, i);
		if (e.end <= e.start)
			return "index: an entry ends where it starts or before";
		if (walk->started && !key_less(walk->last_start, walk->last_tie, e.start, e.tie))
			return "index: I2 keys do not rise";
		walk->started = true;
		walk->last_start = e.start;
		walk->last_tie = e.tie;
	}
	walk->count += node->count;
	return NULL;
}

static const char *check_node(struct walk *walk, const struct index_node *node, unsigned int level)
{
	const char *why = check_shape(walk, node, level);
	const struct index_node *child;
	unsigned int i, before = TREE_FANOUT;
	struct index_entry e;

	if (why)
		return why;
	walk->bytes += pool_node_bytes(node);
	if (level == 0)
		return check_leaf(walk, node);
	for (i = 0; i < node->count; i++) {
		e = node_entry(node, i);
		child = e.item;
		why = check_node(walk, child, level - 1);
		if (why)
			return why;
		if (child->word[0] != e.start || node_tie(child, 0) != e.tie)
			return "index: I3 a key is not the smallest one below it";
		if (index_node_max_end(child) != e.end)
			return "index: I3 an end is not the largest one below it";
		if (before + child->count <= TREE_MERGE_MAX)
			return "index: I4 two neighbours should be one node";
		before = child->count;
	}
	return NULL;
}

const char *tree_check(const struct index_root *root)
{
	struct walk walk = {.ties = root->ties};
	const struct index_node *node = root->node;
	const char *why;

	if (node) {
		if (node->level >= INDEX_TREE_DEPTH)
			return "index: too deep";
		if (node->level > 0 && node->count < 2)
			return "index: I4 an inner root with one child";
		why = check_node(&walk, node, node->level);
		if (why)
			return why;
	}
	if (walk.count != root->count)
		return "index: I5 the root's count is wrong";
	if (walk.bytes != root->bytes)
		return "index: I5 the root's bytes are wrong";
	return NULL;
}

static void collect(struct index_node *node, struct pool_link **list)
{
	unsigned int i;

	if (node->level > 0)
		for (i = 0; i < node->count; i++)
			collect(node_child(node, i), list);
	node->link.next = *list;
	*list = &node->link;
}

void tree_collect(const struct index_root *root, struct pool_link **list)
{
	if (root->node)
		collect(root->node, list);
}
