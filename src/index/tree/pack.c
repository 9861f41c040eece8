/* SPDX-License-Identifier: MIT */
/*
 * pack.c - from vectors of entries to nodes; the rules of I4 live here.
 *
 * A run of n entries becomes ceil(n / 16) nodes of even size; behind the last key of the
 * tree full nodes and a rest, so that rising insertion makes dense trees. A node next to
 * the run that would be too small a neighbour joins the run before it is packed: the one
 * behind by index_absorb(), the one before by index_end_run(). Taking a neighbour in never
 * makes an end of the run smaller, so what was checked first stays true.
 *
 * Where inner nodes are put together, the last child of one and the first of the next
 * become neighbours and may have to be joined, and so on below: join().
 *
 * A node made here may have to be given up again by the same update: it is marked dead
 * and leaves batch->created at the end. Until then all new nodes are on that list, so
 * that a failure can be rolled back at any point.
 */
#include "index/tree/tree.h"
#include "index/tree/update.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"

#define VEC_FIRST 64u

int index_vec_reserve(struct index_vec *vec, size_t more)
{
	size_t room = vec->room ? vec->room : VEC_FIRST;
	struct index_entry *entry;

	if (vec->room - vec->n >= more)
		return 0;
	while (room - vec->n < more)
		room *= 2;
	entry = mem_realloc(vec->entry, room * sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	vec->entry = entry;
	vec->room = room;
	return 0;
}

/* A node of entries, and its own entry for the level above. */
static int make_node(struct index_update *up, unsigned int level, const struct index_entry *entries,
		     size_t n, struct index_entry *out)
{
	struct index_node *node = index_node_create(up, level, entries, n);

	if (!node)
		return -ENOMEM;
	node->fresh = 1;
	*out = (struct index_entry){
	    .start = entries[0].start,
	    .end = index_node_max_end(node),
	    .tie = entries[0].tie,
	    .item = node,
	};
	return 0;
}

static unsigned int child_count(const struct index_entry *entry)
{
	return ((const struct index_node *)entry->item)->count;
}

/* Must these two neighbouring nodes become one? */
static bool too_small(const struct index_entry *a, const struct index_entry *b)
{
	return child_count(a) + child_count(b) <= TREE_MERGE_MAX;
}

/* Make one node of two neighbours that are too small, and below where they meet. */
static int join(struct index_update *up, struct index_entry *a, const struct index_entry *b)
{
	struct index_node *left = a->item, *right = b->item;
	struct index_entry entry[TREE_FANOUT];
	unsigned int i, n = 0, seam = left->count;
	int ret;

	for (i = 0; i < left->count; i++)
		entry[n++] = node_entry(left, i);
	for (i = 0; i < right->count; i++) {
		entry[n++] = node_entry(right, i);
		if (i > 0 || left->level == 0 || !too_small(&entry[seam - 1], &entry[seam]))
			continue;
		ret = join(up, &entry[seam - 1], &entry[seam]);
		if (ret)
			return ret;
		n--;
	}
	ret = make_node(up, left->level, entry, n, a);
	if (ret)
		return ret;
	index_node_discard(up, left);
	index_node_discard(up, right);
	return 0;
}

/* Append an entry of a node of `level`; at a seam its node may be joined to the last one. */
int index_emit(struct index_update *up, unsigned int level, const struct index_entry *entry,
	       bool seam)
{
	struct index_vec *out = index_vec(up, level);
	int ret;

	if (seam && level > 0 && out->n > 0 && too_small(&out->entry[out->n - 1], entry))
		return join(up, &out->entry[out->n - 1], entry);
	ret = index_vec_reserve(out, 1);
	if (!ret)
		out->entry[out->n++] = *entry;
	return ret;
}

/* Append the entries of a node that is given up. */
int index_absorb(struct index_update *up, struct index_node *node)
{
	struct index_entry entry;
	unsigned int i;
	int ret;

	for (i = 0; i < node->count; i++) {
		entry = node_entry(node, i);
		ret = index_emit(up, node->level, &entry, i == 0);
		if (ret)
			return ret;
	}
	index_node_discard(up, node);
	return 0;
}

/* Put the entries of the node before a run in front of it. */
static int absorb_left(struct index_update *up, struct index_node *node)
{
	struct index_vec *run = index_vec(up, node->level);
	unsigned int i, n = node->count;
	int ret = index_vec_reserve(run, n);

	if (ret)
		return ret;
	memmove(run->entry + n, run->entry, run->n * sizeof(*run->entry));
	run->n += n;
	for (i = 0; i < n; i++)
		run->entry[i] = node_entry(node, i);
	index_node_discard(up, node);
	if (node->level == 0 || !too_small(&run->entry[n - 1], &run->entry[n]))
		return 0;
	ret = join(up, &run->entry[n - 1], &run->entry[n]);
	if (ret)
		return ret;
	run->n--;
	memmove(run->entry + n, run->entry + n + 1, (run->n - n) * sizeof(*run->entry));
	return 0;
}

static size_t run_nodes(size_t n)
{
	return (n + TREE_FANOUT - 1) / TREE_FANOUT;
}

/* Entries of the first node that a run of n > 0 becomes; the last has no more, nor fewer by two. */
static size_t run_first(const struct index_update *up, size_t n)
{
	if (up->append)
		return n < TREE_FANOUT ? n : TREE_FANOUT;
	return (n + run_nodes(n) - 1) / run_nodes(n);
}

/* Pack entries into nodes of `level`, appended to the vector of the level above. */
static int pack(struct index_update *up, unsigned int level, const struct index_entry *entries,
		size_t n, bool seam)
{
	struct index_entry entry;
	size_t take;
	int ret;

	for (; n > 0; entries += take, n -= take) {
		take = run_first(up, n);
		ret = make_node(up, level, entries, take, &entry);
		if (!ret)
			ret = index_emit(up, level + 1, &entry, seam);
		if (ret)
			return ret;
		seam = false;
	}
	return 0;
}

/* Would the node behind the run be too small a neighbour of the run's last node? */
bool index_run_wants(const struct index_vec *run, const struct index_node *node)
{
	return run->n > 0 && run->n / run_nodes(run->n) + node->count <= TREE_MERGE_MAX;
}

/* A run of touched nodes of `level` ends; `base` is where their parent's entries begin. */
int index_end_run(struct index_update *up, unsigned int level, size_t base)
{
	struct index_vec *run = index_vec(up, level), *out = index_vec(up, level + 1);
	struct index_node *left;
	int ret;

	if (run->n > 0 && out->n > base) {
		left = out->entry[out->n - 1].item;
		if (left->count + run_first(up, run->n) <= TREE_MERGE_MAX) {
			out->n--;
			ret = absorb_left(up, left);
			if (ret)
				return ret;
		}
	}
	ret = pack(up, level, run->entry, run->n, out->n == base);
	run->n = 0;
	return ret;
}

/* Make a root of the entries of `level`: 5 of the head comment. */
int index_make_root(struct index_update *up, unsigned int level, const struct index_entry *entries,
		    size_t n, struct index_node **out)
{
	struct index_entry entry;
	struct index_node *node;
	int ret;

	while (n > TREE_FANOUT) {
		assert(level + 1 < INDEX_TREE_DEPTH);
		index_vec(up, level + 1)->n = 0;
		ret = pack(up, level, entries, n, false);
		if (ret)
			return ret;
		level++;
		entries = index_vec(up, level)->entry;
		n = index_vec(up, level)->n;
	}
	*out = NULL;
	if (n == 0)
		return 0;
	if (level == 0 || n > 1) {
		ret = make_node(up, level, entries, n, &entry);
		if (!ret)
			*out = entry.item;
		return ret;
	}
	for (node = entries[0].item; node->level > 0 && node->count == 1; node = *out) {
		*out = node_child(node, 0);
		index_node_discard(up, node);
	}
	*out = node;
	return 0;
}

/* Free the dead among the nodes made since `mark` headed the list, and clear the marks. */
void index_settle_created(struct index_update *up, const struct pool_link *mark)
{
	struct pool_link **at = &up->batch->created;
	struct index_node *node;

	while (*at != mark) {
		node = (struct index_node *)*at;
		if (node->dead) {
			*at = node->link.next;
			pool_free(up->batch->pool, node);
		} else {
			node->fresh = 0;
			at = &node->link.next;
		}
	}
}

int index_scratch_reset(struct index_batch *batch)
{
	unsigned int i;

	if (!batch->tree_scratch) {
		batch->tree_scratch = mem_zalloc(sizeof(*batch->tree_scratch));
		if (!batch->tree_scratch)
			return -ENOMEM;
	}
	for (i = 0; i <= INDEX_TREE_DEPTH; i++)
		batch->tree_scratch->level[i].n = 0;
	return 0;
}

void tree_scratch_fini(struct index_batch *batch)
{
	unsigned int i;

	for (i = 0; i <= INDEX_TREE_DEPTH; i++)
		mem_free(batch->tree_scratch->level[i].entry);
	mem_free(batch->tree_scratch);
	batch->tree_scratch = NULL;
}
