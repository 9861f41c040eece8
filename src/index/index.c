/* SPDX-License-Identifier: MIT */
/*
 * index.c - what the kinds of index share: empty roots, batches, what an edit may be; and
 * the choice of the kind, operation by operation.
 */
#include "index/index.h"

#include <errno.h>

#include "base/alloc.h"
#include "index/radix/radix.h"
#include "index/tree/tree.h"

void index_root_init(struct index_root *root, enum index_kind kind, bool ties)
{
	*root = (struct index_root){.kind = (uint8_t)kind, .ties = ties};
	if (kind == INDEX_RADIX)
		root->word = radix_empty_word();
}

void index_batch_init(struct index_batch *batch, struct pool *pool, uint64_t birth)
{
	*batch = (struct index_batch){.pool = pool, .birth = birth};
}

void index_batch_rollback(struct index_batch *batch)
{
	struct pool_link *link, *next;

	for (link = batch->created; link; link = next) {
		next = link->next;
		pool_free(batch->pool, link);
	}
	batch->created = NULL;
	batch->retired = NULL;
	batch->retired_bytes = 0;
	batch->nfew = 0;
}

void index_batch_fini(struct index_batch *batch)
{
	if (batch->tree_scratch)
		tree_scratch_fini(batch);
	if (batch->radix_scratch)
		radix_scratch_fini(batch);
}

static bool key_less(const struct index_entry *a, const struct index_entry *b)
{
	return a->start < b->start || (a->start == b->start && a->tie < b->tie);
}

static bool edits_valid(const struct index_root *root, const struct index_edit *edits, size_t n)
{
	/* No entry starts at the last value, and searches rely on not being asked. */
	uint64_t limit = root->kind == INDEX_RADIX ? INDEX_RADIX_LIMIT : UINT64_MAX;
	const struct index_entry *e, *before = NULL;
	size_t i;

	for (i = 0; i < n; i++, before = e) {
		e = &edits[i].entry;
		if (e->start >= limit || (!root->ties && e->tie != 0))
			return false;
		if (edits[i].op == INDEX_PUT && (e->end <= e->start || e->end > limit))
			return false;
		if (before && !key_less(before, e))
			return false;
	}
	return true;
}

int index_apply(struct index_batch *batch, const struct index_root *in,
		const struct index_edit *edits, size_t n, struct index_root *out)
{
	if (!edits_valid(in, edits, n))
		return -EINVAL;
	if (n == 0) {
		*out = *in;
		return 0;
	}
	return in->kind == INDEX_RADIX ? radix_apply(batch, in, edits, n, out)
				       : tree_apply(batch, in, edits, n, out);
}

static struct index_edit edit_of(enum index_op op, const struct index_range *range,
				 uint64_t (*tie_of)(const void *item))
{
	return (struct index_edit){
	    .op = op,
	    .entry = {range->start, range->end, tie_of ? tie_of(range->item) : 0, range->item},
	};
}

size_t index_swap_edits(const struct index_swap *swap, uint64_t (*tie_of)(const void *item),
			struct index_edit *edits)
{
	struct index_edit cut, put;
	size_t i = 0, k = 0, n = 0;

	while (i < swap->ncut || k < swap->nput) {
		if (i < swap->ncut)
			cut = edit_of(INDEX_REMOVE, &swap->cut[i], tie_of);
		if (k < swap->nput)
			put = edit_of(INDEX_PUT, &swap->put[k], tie_of);
		if (k == swap->nput || (i < swap->ncut && key_less(&cut.entry, &put.entry))) {
			edits[n++] = cut;
			i++;
		} else {
			/* A put of the key of what goes is one edit. */
			i += i < swap->ncut && !key_less(&put.entry, &cut.entry);
			edits[n++] = put;
			k++;
		}
	}
	return n;
}

/* Are these ranges of a radix index? What goes was checked when it came. */
static bool puts_valid(const struct index_swap *swap)
{
	uint64_t from = 0;
	size_t i;

	for (i = 0; i < swap->nput; i++) {
		if (swap->put[i].start < from || swap->put[i].end <= swap->put[i].start)
			return false;
		from = swap->put[i].end;
	}
	return from <= INDEX_RADIX_LIMIT;
}

int index_replace(struct index_batch *batch, const struct index_root *in,
		  const struct index_swap *swap, struct index_root *out)
{
	struct index_edit small[2], *edits = small;
	int err;

	if (swap->ncut + swap->nput == 0) {
		*out = *in;
		return 0;
	}
	if (in->kind == INDEX_RADIX)
		return puts_valid(swap) ? radix_replace(batch, in, swap, out) : -EINVAL;
	if (swap->ncut + swap->nput > 2) {
		edits = mem_alloc((swap->ncut + swap->nput) * sizeof(*edits));
		if (!edits)
			return -ENOMEM;
	}
	err = index_apply(batch, in, edits, index_swap_edits(swap, NULL, edits), out);
	if (edits != small)
		mem_free(edits);
	return err;
}

void index_collect(const struct index_root *root, struct pool_link **list)
{
	if (root->kind == INDEX_RADIX)
		radix_collect(root, list);
	else
		tree_collect(root, list);
}

bool index_get(const struct index_root *root, uint64_t start, uint64_t tie, struct index_entry *out)
{
	if (root->kind == INDEX_RADIX)
		return tie == 0 && radix_get(root, start, out);
	return tree_get(root, start, tie, out);
}

void *index_find(const struct index_root *root, uint64_t at)
{
	if (root->kind == INDEX_TREE)
		return tree_find(root, at);
	return at < INDEX_RADIX_LIMIT ? radix_find_scalar(root, at) : NULL;
}

index_find_fn *index_finder(enum index_kind kind, enum index_simd simd)
{
	return kind == INDEX_RADIX ? radix_finder(simd) : tree_find;
}

bool index_below(const struct index_root *root, uint64_t at, struct index_entry *out)
{
	return root->kind == INDEX_RADIX ? radix_below(root, at, out) : tree_below(root, at, out);
}

bool index_above(const struct index_root *root, uint64_t at, struct index_entry *out)
{
	return root->kind == INDEX_RADIX ? radix_above(root, at, out) : tree_above(root, at, out);
}

void index_cursor_init(struct index_cursor *cur, const struct index_root *root, uint64_t start,
		       uint64_t end)
{
	cur->kind = root->kind;
	cur->start = start;
	cur->end = end;
	if (root->kind == INDEX_RADIX)
		radix_cursor_init(cur, root);
	else
		tree_cursor_init(cur, root);
}

bool index_cursor_next(struct index_cursor *cur, struct index_entry *out)
{
	return cur->kind == INDEX_RADIX ? radix_cursor_next(cur, out) : tree_cursor_next(cur, out);
}

void *index_cursor_item(struct index_cursor *cur)
{
	struct index_entry entry;

	if (cur->kind == INDEX_RADIX)
		return radix_cursor_item(cur);
	return tree_cursor_next(cur, &entry) ? entry.item : NULL;
}

bool index_first_overlap(const struct index_root *root, uint64_t start, uint64_t end,
			 struct index_entry *out)
{
	struct index_cursor cur;

	if (!out && root->kind == INDEX_RADIX)
		return radix_overlaps(root, start, end);
	index_cursor_init(&cur, root, start, end);
	return index_cursor_next(&cur, out);
}

int index_diff(const struct index_root *a, const struct index_root *b,
	       int (*visit)(void *ctx, bool in_a, const struct index_entry *entry), void *ctx)
{
	return a->kind == INDEX_RADIX ? radix_diff(a, b, visit, ctx) : tree_diff(a, b, visit, ctx);
}

const char *index_check(const struct index_root *root)
{
	return root->kind == INDEX_RADIX ? radix_check(root) : tree_check(root);
}
