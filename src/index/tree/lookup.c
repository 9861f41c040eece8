/* SPDX-License-Identifier: MIT */
/*
 * lookup.c - point lookups: one path from the root, no state, wait-free.
 *
 * An entry starts below UINT64_MAX, since its end lies above it; hence a key of
 * UINT64_MAX is looked up as the one before, and the padding of start[] is never met.
 */
#include "index/tree/node.h"
#include "index/tree/tree.h"

void *tree_find(const struct index_root *root, uint64_t at)
{
	const struct index_node *node = root->node;
	uint64_t key = at - (at == UINT64_MAX);
	unsigned int n;

	if (!node)
		return NULL;
	for (;;) {
		n = node_floor(node, key);
		if (node->level == 0)
			break;
		node = node_child(node, n);
	}
	/* One comparison for both borders: below start, which node_floor() allows, `at` wraps. */
	if (at - node->word[n] >= node_end(node, n) - node->word[n])
		return NULL;
	return node_item(node, n);
}

bool tree_get(const struct index_root *root, uint64_t start, uint64_t tie, struct index_entry *out)
{
	const struct index_node *node = root->node;
	unsigned int n;

	if (!node || start == UINT64_MAX)
		return false;
	for (;;) {
		n = node_keys_up_to(node, start, tie);
		if (n == 0)
			return false;
		if (node->level == 0)
			break;
		node = node_child(node, n - 1);
	}
	if (node->word[n - 1] != start || node_tie(node, n - 1) != tie)
		return false;
	if (out)
		*out = node_entry(node, n - 1);
	return true;
}

bool tree_below(const struct index_root *root, uint64_t at, struct index_entry *out)
{
	const struct index_node *node = root->node;
	uint64_t key = at - (at == UINT64_MAX);
	unsigned int n;

	if (!node)
		return false;
	for (;;) {
		n = node_starts_up_to(node, key);
		if (n == 0)
			return false;
		if (node->level == 0)
			break;
		node = node_child(node, n - 1);
	}
	if (out)
		*out = node_entry(node, n - 1);
	return true;
}

/*
 * The last child that starts below `at` may hold the answer; if it does not, the
 * answer is the first entry of the child behind it, the lowest such child on the path.
 */
bool tree_above(const struct index_root *root, uint64_t at, struct index_entry *out)
{
	const struct index_node *node = root->node, *next = NULL;
	unsigned int n, next_pos = 0;

	if (!node)
		return false;
	for (;;) {
		n = at == 0 ? 0 : node_starts_up_to(node, at - 1);
		if (n < node->count) {
			next = node;
			next_pos = n;
		}
		if (n == 0 || node->level == 0)
			break;
		node = node_child(node, n - 1);
	}
	if (!next)
		return false;
	while (next->level > 0) {
		next = node_child(next, next_pos);
		next_pos = 0;
	}
	if (out)
		*out = node_entry(next, next_pos);
	return true;
}
