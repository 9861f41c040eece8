/* SPDX-License-Identifier: MIT */
/*
 * apply.c - copy-on-write update of a tree by a sorted batch of edits, in one pass.
 *
 * Data. One vector of entries a level. A touched node is not copied to a node but yields
 * the entries it holds afterwards, appended to its level's vector; its parent packs them
 * into nodes when a run of touched children ends. So each touched node is copied once,
 * however many edits it takes.
 *
 * Steps, from the root down and back:
 *   1 a leaf merges its entries with its edits
 *   2 an inner node hands each child its edits. Touched children that follow each other
 *     form a run, which pack.c turns into nodes when it ends; the untouched child behind
 *     it joins the run first if it would be too small a neighbour
 *   3 the root's entries are packed into further levels while there are more than 16,
 *     and levels with one entry are dropped
 */
#include "index/tree/tree.h"
#include "index/tree/update.h"

#include <errno.h>

static int put_or_remove(struct index_update *up, const struct index_edit *edit, bool exists)
{
	struct index_vec *out = index_vec(up, 0);

	if (edit->op == INDEX_PUT) {
		out->entry[out->n++] = edit->entry;
		up->count += !exists;
		return 0;
	}
	up->count -= exists;
	return exists ? 0 : -EINVAL;
}

/* Merge a leaf (NULL: an empty tree) with its edits. */
static int apply_leaf(struct index_update *up, struct index_node *leaf,
		      const struct index_edit *edits, size_t n)
{
	struct index_vec *out = index_vec(up, 0);
	unsigned int i = 0, count = leaf ? leaf->count : 0;
	struct index_entry old;
	bool exists;
	size_t j;
	int ret = index_vec_reserve(out, count + n);

	if (ret)
		return ret;
	for (j = 0; j < n; j++) {
		exists = false;
		for (; i < count; i++) {
			old = node_entry(leaf, i);
			if (!key_less(old.start, old.tie, edits[j].entry.start, edits[j].entry.tie))
				break;
			out->entry[out->n++] = old;
		}
		if (i < count && old.start == edits[j].entry.start &&
		    old.tie == edits[j].entry.tie) {
			exists = true;
			i++;
		}
		ret = put_or_remove(up, &edits[j], exists);
		if (ret)
			return ret;
	}
	for (; i < count; i++)
		out->entry[out->n++] = node_entry(leaf, i);
	if (leaf)
		index_node_discard(up, leaf);
	return 0;
}

/* How many edits lie below the key of a node's entry i; all, behind its last entry. */
static size_t edits_below(const struct index_edit *edits, size_t n, const struct index_node *node,
			  unsigned int i)
{
	size_t lo = 0, step = 1, hi, mid;
	uint64_t start, tie;

	if (i == node->count)
		return n;
	start = node->word[i];
	tie = node_tie(node, i);
	/* Stride out first: the answer is near when edits are few for each child. */
	while (step <= n &&
	       key_less(edits[step - 1].entry.start, edits[step - 1].entry.tie, start, tie)) {
		lo = step;
		step *= 2;
	}
	for (hi = step <= n ? step - 1 : n; lo < hi;) {
		mid = lo + (hi - lo) / 2;
		if (key_less(edits[mid].entry.start, edits[mid].entry.tie, start, tie))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Append what a touched node holds afterwards to its level's vector. */
static int apply_node(struct index_update *up, struct index_node *node,
		      const struct index_edit *edits, size_t n)
{
	size_t base = index_vec(up, node->level)->n, mine;
	bool in_run = false, seam = true;
	struct index_entry entry;
	unsigned int i;
	int ret = 0;

	if (node->level == 0)
		return apply_leaf(up, node, edits, n);
	for (i = 0; !ret && i < node->count; i++, edits += mine, n -= mine) {
		mine = edits_below(edits, n, node, i + 1);
		entry = node_entry(node, i);
		if (mine > 0) {
			in_run = true;
			ret = apply_node(up, entry.item, edits, mine);
			continue;
		}
		if (in_run && index_run_wants(index_vec(up, node->level - 1u), entry.item)) {
			ret = index_absorb(up, entry.item);
			continue;
		}
		if (in_run) {
			/* Where a run has vanished, its neighbours meet. */
			seam = index_vec(up, node->level - 1u)->n == 0;
			in_run = false;
			ret = index_end_run(up, node->level - 1u, base);
		}
		if (!ret)
			ret = index_emit(up, node->level, &entry, seam);
		seam = false;
	}
	if (!ret && in_run)
		ret = index_end_run(up, node->level - 1u, base);
	if (!ret)
		index_node_discard(up, node);
	return ret;
}

/* Do all edits lie behind the last key of the tree? */
static bool is_append(const struct index_node *node, const struct index_edit *first)
{
	unsigned int last;

	while (node) {
		last = node->count - 1u;
		if (node->level == 0)
			return key_less(node->word[last], node_tie(node, last), first->entry.start,
					first->entry.tie);
		node = node_child(node, last);
	}
	return true;
}

static int apply_many(struct index_update *up, struct index_node *root,
		      const struct index_edit *edits, size_t n, struct index_node **out)
{
	const struct pool_link *mark = up->batch->created;
	unsigned int level = root ? root->level : 0;
	int ret = index_scratch_reset(up->batch);

	if (ret)
		return ret;
	up->append = is_append(root, &edits[0]);
	ret = root ? apply_node(up, root, edits, n) : apply_leaf(up, NULL, edits, n);
	if (!ret)
		ret = index_make_root(up, level, index_vec(up, level)->entry,
				      index_vec(up, level)->n, out);
	if (!ret)
		index_settle_created(up, mark);
	return ret;
}

int tree_apply(struct index_batch *batch, const struct index_root *in,
	       const struct index_edit *edits, size_t n, struct index_root *out)
{
	struct index_update up = {
	    .batch = batch,
	    .ties = in->ties,
	    .count = in->count,
	    .bytes = in->bytes,
	};
	struct index_node *root = in->node;
	int ret = 0;

	if (n == 1 && root)
		ret = index_apply_one(&up, root, edits, &root);
	if (ret == 0 && n > 0)
		ret = apply_many(&up, root, edits, n, &root);
	if (ret < 0)
		return ret;
	*out = (struct index_root){
	    .node = root,
	    .count = up.count,
	    .bytes = up.bytes,
	    .kind = INDEX_TREE,
	    .ties = up.ties,
	};
	return 0;
}
