/* SPDX-License-Identifier: MIT */
/*
 * txn_diff.c - the difference of two naive maps, from the definition: cut each space
 * at every border of every slot of both maps, ask both maps about each piece, and
 * join neighbouring pieces that answer alike.
 */
#include "txn_twin.h"

#include <stdlib.h>

struct borders {
	uint64_t *at;
	size_t n, cap;
};

static void border_add(struct borders *b, uint64_t at)
{
	if (b->n == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 64;
		b->at = realloc(b->at, b->cap * sizeof(*b->at));
		if (!b->at)
			abort();
	}
	b->at[b->n++] = at;
}

static int by_value(const void *pa, const void *pb)
{
	uint64_t a = *(const uint64_t *)pa, b = *(const uint64_t *)pb;

	return a < b ? -1 : a > b;
}

/* Bytes of the region that both slots show; false if there are none. */
static bool shared_bytes(const struct naive_slot *a, const struct naive_slot *b, uint64_t *first,
			 uint64_t *end)
{
	uint64_t a_end = a->offset + a->len, b_end = b->offset + b->len;

	*first = a->offset > b->offset ? a->offset : b->offset;
	*end = a_end < b_end ? a_end : b_end;
	return a->region == b->region && *first < *end;
}

static void borders_of(struct borders *out, const struct naive_map *before,
		       const struct naive_map *after, uint32_t space)
{
	out->n = 0;
	for (size_t i = 0; i < before->n; i++) {
		if (before->slots[i].key.space != space)
			continue;
		border_add(out, before->slots[i].gpa);
		border_add(out, before->slots[i].gpa + before->slots[i].len);
	}
	for (size_t i = 0; i < after->n; i++) {
		const struct naive_slot *slot = &after->slots[i], *was;
		uint64_t first, end;

		if (slot->key.space != space)
			continue;
		border_add(out, slot->gpa);
		border_add(out, slot->gpa + slot->len);
		/* A slot that moved may have shown only some of its bytes before. */
		was = naive_find_id(before, slot->key);
		if (was && shared_bytes(slot, was, &first, &end)) {
			border_add(out, slot->gpa + (first - slot->offset));
			border_add(out, slot->gpa + (end - slot->offset));
		}
	}
	if (out->n)
		qsort(out->at, out->n, sizeof(*out->at), by_value);
}

static void set_origin(struct naive_seg *seg, const struct naive_map *before)
{
	const struct naive_slot *was = naive_find_id(before, seg->after->key);
	uint64_t byte = seg->after->offset + (seg->gpa - seg->after->gpa);

	if (!was || was->region != seg->after->region || byte < was->offset ||
	    byte - was->offset >= was->len)
		return;
	seg->moved = 1;
	seg->origin_gpa = was->gpa + (byte - was->offset);
}

/* Fill in what changed at seg->gpa; false if nothing did. */
static bool classify(struct naive_seg *seg, const struct naive_map *before,
		     const struct naive_map *after)
{
	const struct naive_slot *b = naive_find(before, seg->space, seg->gpa);
	const struct naive_slot *a = naive_find(after, seg->space, seg->gpa);

	seg->before = b;
	seg->after = a;
	if (!a && !b)
		return false;
	if (!b)
		seg->kind = MSLOT_DIFF_ADDED;
	else if (!a)
		seg->kind = MSLOT_DIFF_REMOVED;
	else if (a->region != b->region || a->offset - a->gpa != b->offset - b->gpa)
		seg->kind = MSLOT_DIFF_REMAPPED;
	else if (a->flags != b->flags)
		seg->kind = MSLOT_DIFF_REPROTECTED;
	else if (a->key.id != b->key.id)
		seg->kind = MSLOT_DIFF_REHOMED;
	else
		return false;
	if (seg->kind == MSLOT_DIFF_ADDED || seg->kind == MSLOT_DIFF_REMAPPED)
		set_origin(seg, before);
	return true;
}

static bool continues(const struct naive_seg *last, const struct naive_seg *seg)
{
	return last->space == seg->space && last->gpa + last->len == seg->gpa &&
	       last->kind == seg->kind && last->before == seg->before &&
	       last->after == seg->after && last->moved == seg->moved &&
	       (!seg->moved || last->origin_gpa + last->len == seg->origin_gpa);
}

static void seg_add(struct naive_diff *diff, const struct naive_seg *seg)
{
	if (diff->n && continues(&diff->segs[diff->n - 1], seg)) {
		diff->segs[diff->n - 1].len += seg->len;
		return;
	}
	if (diff->n == diff->cap) {
		diff->cap = diff->cap ? diff->cap * 2 : 64;
		diff->segs = realloc(diff->segs, diff->cap * sizeof(*diff->segs));
		if (!diff->segs)
			abort();
	}
	diff->segs[diff->n++] = *seg;
}

void naive_diff_make(const struct naive_map *before, const struct naive_map *after,
		     struct naive_diff *diff)
{
	struct borders borders = {0};

	diff->n = 0;
	for (uint32_t space = 0; space < after->opt.nspaces; space++) {
		borders_of(&borders, before, after, space);
		for (size_t i = 0; i + 1 < borders.n; i++) {
			struct naive_seg seg = {.space = space, .gpa = borders.at[i]};

			seg.len = borders.at[i + 1] - seg.gpa;
			if (seg.len && classify(&seg, before, after))
				seg_add(diff, &seg);
		}
	}
	free(borders.at);
}

void naive_diff_fini(struct naive_diff *diff)
{
	free(diff->segs);
	diff->segs = NULL;
	diff->n = diff->cap = 0;
}
