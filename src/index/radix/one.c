/* SPDX-License-Identifier: MIT */
/*
 * one.c - the short way through radix_apply() for a single edit.
 *
 * Most single edits concern one leaf, which has room afterwards and stays large enough:
 * the leaf is copied with the edit, and each directory above with another word for the
 * leaf's run. Ranges that cross the leaf's border, splits, joins and larger windows are left
 * to apply.c.
 */
#include <errno.h>
#include <string.h>

#include "index/radix/update.h"

#include "index/radix/radix.h"

struct step {
	const struct radix_dir *dir;
	unsigned int first, last; /* the run on the path */
};

struct path {
	struct step step[RADIX_DEPTH];
	unsigned int depth;
	uint64_t lo, hi; /* coverage of the leaf */
	const struct radix_leaf *leaf;
};

/* The way to the leaf of a key; false when keys up to `end` leave a directory's window. */
static bool path_find(struct path *path, const struct index_root *in, uint64_t at, uint64_t end)
{
	uint64_t word = in->word, slot;

	path->depth = 0;
	path->lo = 0;
	path->hi = INDEX_RADIX_LIMIT;
	while (word_is_dir(word)) {
		const struct radix_dir *dir = word_dir(word);
		struct step *step = &path->step[path->depth++];

		slot = (at >> dir->shift) - dir->lo;
		if (slot >= dir_slots(dir) || ((end - 1) >> dir->shift) - dir->lo >= dir_slots(dir))
			return false;
		step->dir = dir;
		step->first = dir_run_first(dir, (unsigned int)slot);
		step->last = dir_run_last(dir, (unsigned int)slot);
		if (step->first > 0)
			path->lo = dir_key(dir, step->first);
		if (step->last + 1 < dir_slots(dir))
			path->hi = dir_key(dir, step->last + 1);
		word = dir_get(dir, (unsigned int)slot);
	}
	path->leaf = word_leaf(word);
	return true;
}

static unsigned int count_of_leaf(uint64_t word)
{
	return word_is_dir(word) ? RADIX_LEAF_MAX : word_leaf(word)->count;
}

/* Would apply.c join a leaf of `count` ranges with a neighbour? */
static bool may_join(const struct path *path, unsigned int count)
{
	const struct step *step = &path->step[path->depth - 1];

	if (path->depth == 0 || count >= RADIX_LEAF_MERGE)
		return false;
	if (step->first > 0 &&
	    count + count_of_leaf(dir_get(step->dir, step->first - 1)) <= RADIX_LEAF_MERGE + 1)
		return true;
	return step->last + 1 < dir_slots(step->dir) &&
	       count + count_of_leaf(dir_get(step->dir, step->last + 1)) <= RADIX_LEAF_MERGE + 1;
}

static void set_range(struct radix_leaf *leaf, unsigned int at, const struct range *range)
{
	leaf->start[at] = range->start;
	leaf->pair[at] = (struct radix_pair){range->end, range->item};
}

/* Copy the ranges of a leaf without `cut` and with `put` at its place; either may be NULL. */
static void copy_ranges(struct radix_leaf *to, const struct radix_leaf *from,
			const struct range *cut, const struct range *put)
{
	unsigned int i, n = 0;

	for (i = 0; i < from->count; i++) {
		if (put && put->start > from->start[i]) {
			set_range(to, n++, put);
			put = NULL;
		}
		if (cut && cut->start == from->start[i])
			continue;
		to->start[n] = from->start[i];
		to->pair[n++] = from->pair[i];
	}
	if (put)
		set_range(to, n++, put);
	for (i = n; i < to->room; i++)
		to->pair[i] = (struct radix_pair){0, NULL};
	for (i = n; i < RADIX_LEAF_STARTS; i++)
		to->start[i] = 0;
}

/* The same where `put` has the place of `cut`. */
static void copy_replaced(struct radix_leaf *to, const struct radix_leaf *from,
			  const struct range *put)
{
	unsigned int at = 0;

	memcpy(to->start, from->start, sizeof(to->start));
	memcpy(to->pair, from->pair, to->room * sizeof(*to->pair));
	while (from->start[at] != put->start)
		at++;
	set_range(to, at, put);
}

int radix_apply_one(struct radix_update *up, const struct index_root *in, const struct range *cut,
		    const struct range *put, uint64_t *word)
{
	const struct range *low = cut && (!put || cut->start < put->start) ? cut : put;
	bool same = cut && put && cut->start == put->start;
	uint64_t end = cut ? cut->end : 0;
	struct radix_leaf *leaf;
	struct path path;
	unsigned int i, count;

	end = put && put->end > end ? put->end : end;
	if (!low || !path_find(&path, in, low->start, end))
		return 0;
	count = path.leaf->count + (put ? 1u : 0u) - (cut ? 1u : 0u);
	if (low->start < path.lo || end > path.hi || count == 0 || count > RADIX_LEAF_MAX ||
	    (!put && may_join(&path, count)))
		return 0;
	leaf = radix_leaf_alloc(up, count);
	if (!leaf)
		return -ENOMEM;
	if (same)
		copy_replaced(leaf, path.leaf, put);
	else
		copy_ranges(leaf, path.leaf, cut, put);
	radix_discard(up, word_of_leaf(path.leaf));
	*word = leaf->self;
	for (i = path.depth; i > 0; i--) {
		const struct step *step = &path.step[i - 1];
		struct radix_dir *dir = radix_dir_clone(up, step->dir);

		if (!dir)
			return -ENOMEM;
		radix_fill(dir, step->first, step->last, *word);
		radix_discard(up, word_of_dir(step->dir));
		*word = word_of_dir(dir);
	}
	return 1;
}
