/* SPDX-License-Identifier: MIT */
/*
 * diff.c - the entries that differ between two trees.
 *
 * Two walkers move through the trees in step, each a stack of (node, next entry). What a
 * walker meets next has a smallest key; the walker with the smaller one is alone there
 * and goes on. At equal keys the higher walker descends until both stand at the same
 * level; equal children are then skipped, whatever they hold.
 *
 * A shared subtree is never entered by one walker before the other one stands at it:
 * its first key is that of both, and the walker that is higher comes down to it. An
 * imagined node above each root gives the roots themselves that treatment.
 */
#include "index/tree/node.h"
#include "index/tree/tree.h"

struct walker {
	bool in_a;
	unsigned int depth;     /* nodes on the stack */
	struct index_entry top; /* the imagined node's one entry: the root */
	bool top_pending;
	const struct index_node *node[INDEX_TREE_DEPTH];
	uint8_t pos[INDEX_TREE_DEPTH];
	struct index_entry next; /* what comes next, when there is anything */
	int level;               /* of the node that `next` is an entry of; -1 at the end */
};

/* Load `next` from the stack, dropping nodes that are done. */
static void settle(struct walker *w)
{
	while (w->depth > 0 && w->pos[w->depth - 1] == w->node[w->depth - 1]->count)
		w->depth--;
	if (w->depth > 0) {
		w->next = node_entry(w->node[w->depth - 1], w->pos[w->depth - 1]);
		w->level = w->node[w->depth - 1]->level;
	} else if (w->top_pending) {
		w->next = w->top;
		w->level = ((const struct index_node *)w->top.item)->level + 1;
	} else {
		w->level = -1;
	}
}

/* Mark `next` as seen. */
static void pass(struct walker *w)
{
	if (w->depth > 0)
		w->pos[w->depth - 1]++;
	else
		w->top_pending = false;
}

static void skip(struct walker *w)
{
	pass(w);
	settle(w);
}

static void descend(struct walker *w)
{
	const struct index_node *child = w->next.item;

	pass(w);
	w->node[w->depth] = child;
	w->pos[w->depth] = 0;
	w->depth++;
	settle(w);
}

static void walker_init(struct walker *w, const struct index_root *root, bool in_a)
{
	w->in_a = in_a;
	w->depth = 0;
	w->top_pending = root->node != NULL;
	if (root->node)
		w->top = (struct index_entry){
		    .start = root->node->word[0],
		    .tie = node_tie(root->node, 0),
		    .item = root->node,
		};
	settle(w);
}

/* <0, 0, >0: whose next key comes first; the end comes last. */
static int order(const struct walker *a, const struct walker *b)
{
	if (a->level < 0 || b->level < 0)
		return (a->level < 0) - (b->level < 0);
	if (key_less(a->next.start, a->next.tie, b->next.start, b->next.tie))
		return -1;
	return key_less(b->next.start, b->next.tie, a->next.start, a->next.tie);
}

/* Both stand at the same key. */
static int step_both(struct walker *a, struct walker *b,
		     int (*visit)(void *ctx, bool in_a, const struct index_entry *entry), void *ctx)
{
	int ret;

	if (a->level != b->level) {
		descend(a->level > b->level ? a : b);
		return 0;
	}
	if (a->level > 0 && a->next.item != b->next.item) {
		descend(a);
		descend(b);
		return 0;
	}
	/* A leaf's entries are compared, shared subtrees are not. */
	if (a->level == 0 && (a->next.item != b->next.item || a->next.end != b->next.end)) {
		ret = visit(ctx, true, &a->next);
		if (!ret)
			ret = visit(ctx, false, &b->next);
		if (ret)
			return ret;
	}
	skip(a);
	skip(b);
	return 0;
}

/* Only one walker stands at its key. */
static int step_one(struct walker *w,
		    int (*visit)(void *ctx, bool in_a, const struct index_entry *entry), void *ctx)
{
	int ret;

	if (w->level > 0) {
		descend(w);
		return 0;
	}
	ret = visit(ctx, w->in_a, &w->next);
	skip(w);
	return ret;
}

int tree_diff(const struct index_root *a, const struct index_root *b,
	      int (*visit)(void *ctx, bool in_a, const struct index_entry *entry), void *ctx)
{
	struct walker wa, wb;
	int ret = 0, first;

	walker_init(&wa, a, true);
	walker_init(&wb, b, false);
	while (!ret && (wa.level >= 0 || wb.level >= 0)) {
		first = order(&wa, &wb);
		if (first == 0)
			ret = step_both(&wa, &wb, visit, ctx);
		else
			ret = step_one(first < 0 ? &wa : &wb, visit, ctx);
	}
	return ret;
}
