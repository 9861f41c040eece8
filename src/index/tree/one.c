/* SPDX-License-Identifier: MIT */
/*
 * one.c - the short way through tree_apply() for a single edit.
 *
 * Most single edits change one leaf and one entry in each node above it. Those nodes are
 * copied column by column, without the vectors of apply.c and without scratch memory;
 * whatever splits, vanishes or merges is left to apply.c.
 */
#include "index/tree/tree.h"
#include "index/tree/update.h"

#include <errno.h>
#include <string.h>

struct path {
	struct index_node *node[INDEX_TREE_DEPTH]; /* by level */
	unsigned int pos[INDEX_TREE_DEPTH];        /* the entry on the path */
	unsigned int top;                          /* the root's level */
	bool exact;                                /* the leaf's entry has the edit's key */
	bool first;                                /* the edit's key is below all keys */
};

static void find_path(struct path *path, struct index_node *node, const struct index_edit *edit)
{
	uint64_t start = edit->entry.start, tie = edit->entry.tie;
	unsigned int n;

	path->top = node->level;
	for (;;) {
		n = node_keys_up_to(node, start, tie);
		path->first = n == 0;
		n -= n > 0;
		path->node[node->level] = node;
		path->pos[node->level] = n;
		if (node->level == 0)
			break;
		node = node_child(node, n);
	}
	path->exact = node->word[n] == start && node_tie(node, n) == tie;
}

/* May the leaf lose an entry without a merge? */
static bool may_shrink(const struct path *path)
{
	unsigned int left = path->node[0]->count - 1u, pos;
	const struct index_node *parent;

	if (left == 0)
		return false;
	if (path->top == 0 || left >= TREE_MERGE_MAX)
		return true;
	parent = path->node[1];
	pos = path->pos[1];
	if (pos > 0 && left + node_child(parent, pos - 1)->count <= TREE_MERGE_MAX)
		return false;
	return pos + 1 == parent->count ||
	       left + node_child(parent, pos + 1)->count > TREE_MERGE_MAX;
}

/* A copy with the same entries, to be changed in place. */
static struct index_node *clone(struct index_update *up, const struct index_node *node)
{
	struct index_node *copy = index_node_alloc(up, node->level, node->count);
	size_t i, words = node->cap * node_columns(node->ties);

	if (!copy)
		return NULL;
	/* Columns come in fours: copies of known size, without a call or a string instruction. */
	for (i = 0; i < words; i += 4)
		memcpy(copy->word + i, node->word + i, 4 * sizeof(uint64_t));
	return copy;
}

/* Clear what lies behind the entries. */
static void pad(struct index_node *node)
{
	unsigned int i, cap = node->cap;

	for (i = node->count; i < cap; i++) {
		node->word[i] = UINT64_MAX;
		node->word[cap + i] = 0;
		node->word[2 * cap + i] = 0;
		if (node->ties)
			node->word[3 * cap + i] = 0;
	}
}

/*
 * Copy n entries, of which those from `at` on come from, or go, one place further on. All
 * columns in one loop: they are too short for a call or a vector loop each.
 */
static void copy_shifted(struct index_node *to, const struct index_node *from, unsigned int n,
			 unsigned int at, bool insert)
{
	unsigned int i, later, src, dst;

	for (i = 0; i < n; i++) {
		later = i >= at;
		src = insert ? i : i + later;
		dst = insert ? i + later : i;
		to->word[dst] = from->word[src];
		to->word[to->cap + dst] = from->word[from->cap + src];
		to->word[2u * to->cap + dst] = from->word[2u * from->cap + src];
		if (to->ties)
			to->word[3u * to->cap + dst] = from->word[3u * from->cap + src];
	}
	pad(to);
}

/* A copy with a gap at `at`. */
static struct index_node *clone_insert(struct index_update *up, const struct index_node *node,
				       unsigned int at)
{
	struct index_node *copy = index_node_alloc(up, node->level, node->count + 1u);

	if (copy)
		copy_shifted(copy, node, node->count, at, true);
	return copy;
}

/* A copy without the entry at `at`. */
static struct index_node *clone_remove(struct index_update *up, const struct index_node *node,
				       unsigned int at)
{
	struct index_node *copy = index_node_alloc(up, node->level, node->count - 1u);

	if (copy)
		copy_shifted(copy, node, node->count - 1u, at, false);
	return copy;
}

static void set_entry(struct index_node *node, unsigned int i, const struct index_entry *entry)
{
	uint64_t *word = node->word + i;
	unsigned int cap = node->cap;

	word[0] = entry->start;
	word[cap] = entry->end;
	word[2 * cap] = (uintptr_t)entry->item;
	if (node->ties)
		word[3 * cap] = entry->tie;
}

static struct index_node *change_leaf(struct index_update *up, const struct path *path,
				      const struct index_edit *edit)
{
	unsigned int pos = path->pos[0];
	struct index_node *leaf;

	if (edit->op == INDEX_REMOVE) {
		leaf = clone_remove(up, path->node[0], pos);
		up->count -= leaf != NULL;
		return leaf;
	}
	if (path->exact) {
		leaf = clone(up, path->node[0]);
	} else {
		pos += !path->first;
		leaf = clone_insert(up, path->node[0], pos);
		up->count += leaf != NULL;
	}
	if (leaf)
		set_entry(leaf, pos, &edit->entry);
	return leaf;
}

/*
 * The largest end of a changed node, of which `was` is the one before, `lost` that of
 * the entry that changed or went (0: none) and `now` that of the entry instead (0: none).
 */
static uint64_t changed_max_end(const struct index_node *node, uint64_t was, uint64_t lost,
				uint64_t now)
{
	if (now >= was)
		return now;
	return lost < was ? was : index_node_max_end(node);
}

/* Copy the nodes above the leaf, each with one changed entry. */
static int change_parents(struct index_update *up, const struct path *path, struct index_node *node,
			  uint64_t lost, uint64_t now, struct index_node **out)
{
	struct index_node *copy;
	unsigned int pos, level;
	uint64_t was;

	for (level = 1; level <= path->top; level++) {
		pos = path->pos[level];
		was = node_end(path->node[level], pos);
		copy = clone(up, path->node[level]);
		if (!copy)
			return -ENOMEM;
		now = changed_max_end(node, was, lost, now);
		lost = was;
		set_entry(copy, pos,
			  &(struct index_entry){
			      .start = node->word[0],
			      .end = now,
			      .tie = node_tie(node, 0),
			      .item = node,
			  });
		node = copy;
	}
	*out = node;
	return 1;
}

int index_apply_one(struct index_update *up, struct index_node *root, const struct index_edit *edit,
		    struct index_node **out)
{
	struct path path;
	struct index_node *leaf;
	uint64_t lost, now;
	unsigned int level;
	int ret;

	find_path(&path, root, edit);
	if (edit->op == INDEX_REMOVE) {
		if (!path.exact)
			return -EINVAL;
		if (!may_shrink(&path))
			return 0;
	} else if (!path.exact && path.node[0]->count == TREE_FANOUT) {
		return 0;
	}
	leaf = change_leaf(up, &path, edit);
	if (!leaf)
		return -ENOMEM;
	lost = path.exact ? node_end(path.node[0], path.pos[0]) : 0;
	now = edit->op == INDEX_PUT ? edit->entry.end : 0;
	ret = change_parents(up, &path, leaf, lost, now, out);
	for (level = 0; ret > 0 && level <= path.top; level++)
		index_node_retire(up, path.node[level]);
	return ret;
}
