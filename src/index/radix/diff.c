/* SPDX-License-Identifier: MIT */
/*
 * diff.c - the entries that differ between two radix indexes.
 *
 * Both are walked by the same stretches of keys: directories of one shape slot by slot,
 * others run by run, until a leaf stands against a leaf. Where both lead to the same node
 * nothing differs. An entry belongs to the stretch that it starts in, so one that is listed in two
 * leaves is compared once.
 */
#include "index/radix/node.h"
#include "index/radix/radix.h"

struct diff {
	int (*visit)(void *ctx, bool in_a, const struct index_entry *entry);
	void *ctx;
};

static int diff_words(const struct diff *d, uint64_t a, uint64_t b, uint64_t lo, uint64_t hi);

static int diff_entries(const struct diff *d, const struct index_entry *a,
			const struct index_entry *b)
{
	int ret = 0;

	if (a && b && a->end == b->end && a->item == b->item)
		return 0;
	if (a)
		ret = d->visit(d->ctx, true, a);
	if (!ret && b)
		ret = d->visit(d->ctx, false, b);
	return ret;
}

static int diff_leaves(const struct diff *d, const struct radix_leaf *a, const struct radix_leaf *b,
		       uint64_t lo, uint64_t hi)
{
	unsigned int i = lo ? leaf_starts_up_to(a, lo - 1) : 0;
	unsigned int j = lo ? leaf_starts_up_to(b, lo - 1) : 0;
	struct index_entry in_a, in_b;
	bool has_a, has_b;
	int ret = 0;

	while (!ret) {
		has_a = i < a->count && leaf_start(a, i) < hi;
		has_b = j < b->count && leaf_start(b, j) < hi;
		if (!has_a && !has_b)
			break;
		if (has_a)
			in_a = leaf_entry(a, i);
		if (has_b)
			in_b = leaf_entry(b, j);
		if (has_a && has_b && in_a.start != in_b.start) {
			has_a = in_a.start < in_b.start;
			has_b = !has_a;
		}
		ret = diff_entries(d, has_a ? &in_a : NULL, has_b ? &in_b : NULL);
		i += has_a;
		j += has_b;
	}
	return ret;
}

/* The end of the stretch that slot `slot` of a directory leads on, cut at hi. */
static uint64_t slot_end(const struct radix_dir *dir, unsigned int slot, uint64_t hi)
{
	uint64_t end = slot + 1 == dir_slots(dir) ? hi : dir_key(dir, slot + 1);

	return end < hi ? end : hi;
}

/* Directories of one shape: stretches of slots that lead to one node on either side. */
static int diff_slots(const struct diff *d, const struct radix_dir *a, const struct radix_dir *b,
		      uint64_t lo, uint64_t hi)
{
	unsigned int slot, last;
	uint64_t end;
	int ret = 0;

	for (; !ret && lo < hi; lo = end) {
		slot = dir_slot(a, lo);
		for (last = slot; last + 1 < dir_slots(a); last++)
			if (dir_get(a, last + 1) != dir_get(a, slot) ||
			    dir_get(b, last + 1) != dir_get(b, slot))
				break;
		end = slot_end(a, last, hi);
		ret = diff_words(d, dir_get(a, slot), dir_get(b, slot), lo, end);
	}
	return ret;
}

/* One directory, run by run, against whatever is on the other side. */
static int diff_runs(const struct diff *d, const struct radix_dir *dir, bool is_a, uint64_t other,
		     uint64_t lo, uint64_t hi)
{
	unsigned int slot;
	uint64_t end;
	int ret = 0;

	for (; !ret && lo < hi; lo = end) {
		slot = dir_slot(dir, lo);
		end = slot_end(dir, dir_run_last(dir, slot), hi);
		ret = is_a ? diff_words(d, dir_get(dir, slot), other, lo, end)
			   : diff_words(d, other, dir_get(dir, slot), lo, end);
	}
	return ret;
}

/* What starts in [lo, hi) below two words. */
static int diff_words(const struct diff *d, uint64_t a, uint64_t b, uint64_t lo, uint64_t hi)
{
	const struct radix_dir *da = word_dir(a), *db = word_dir(b);

	if (a == b)
		return 0;
	if (word_is_dir(a) && word_is_dir(b) && da->lo == db->lo && da->shift == db->shift &&
	    da->bits == db->bits)
		return diff_slots(d, da, db, lo, hi);
	if (word_is_dir(a))
		return diff_runs(d, da, true, b, lo, hi);
	if (word_is_dir(b))
		return diff_runs(d, db, false, a, lo, hi);
	return diff_leaves(d, word_leaf(a), word_leaf(b), lo, hi);
}

int radix_diff(const struct index_root *a, const struct index_root *b,
	       int (*visit)(void *ctx, bool in_a, const struct index_entry *entry), void *ctx)
{
	const struct diff d = {.visit = visit, .ctx = ctx};

	return diff_words(&d, a->word, b->word, 0, INDEX_RADIX_LIMIT);
}
