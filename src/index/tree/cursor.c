/* SPDX-License-Identifier: MIT */
/*
 * cursor.c - the entries that overlap a range, by rising key.
 *
 * Data: a stack of nodes from the root down; pos[] is the next entry to look at.
 *
 * Cost. A child is entered when its smallest start lies below the range's end and its
 * largest end above the range's start. Unless its starts straddle the range's end, the
 * entry with that largest end overlaps, so a descent is in vain at most once a level.
 */
#include "index/tree/node.h"
#include "index/tree/tree.h"

static void push(struct index_cursor *cur, const struct index_node *node)
{
	cur->node[cur->depth] = node;
	cur->pos[cur->depth] = 0;
	cur->depth++;
}

void tree_cursor_init(struct index_cursor *cur, const struct index_root *root)
{
	cur->depth = 0;
	if (root->node && cur->start < cur->end)
		push(cur, root->node);
}

bool tree_cursor_next(struct index_cursor *cur, struct index_entry *out)
{
	const struct index_node *node;
	unsigned int i;

	while (cur->depth > 0) {
		node = cur->node[cur->depth - 1];
		i = cur->pos[cur->depth - 1];
		while (i < node->count && node_end(node, i) <= cur->start)
			i++;
		if (i == node->count) {
			cur->depth--;
			continue;
		}
		if (node->word[i] >= cur->end) {
			/* Keys rise: nothing behind this one overlaps, at any level. */
			cur->depth = 0;
			break;
		}
		cur->pos[cur->depth - 1] = (uint8_t)(i + 1);
		if (node->level == 0) {
			if (out)
				*out = node_entry(node, i);
			return true;
		}
		push(cur, node_child(node, i));
	}
	return false;
}
