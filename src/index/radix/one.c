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
	unsigned int at; /* the path's place in dir->word[] */
};

struct path {
	struct step step[RADIX_DEPTH];
	unsigned int depth;
	const struct radix_leaf *leaf;
};

/*
 * The way to the leaf that keys `at` and `last` both lead to; false when they part, or leave
 * a directory's window.
 */
static bool path_find(struct path *path, const struct index_root *in, uint64_t at, uint64_t last)
{
	uint64_t word = in->word;

	path->depth = 0;
	while (word_is_dir(word)) {
		const struct radix_dir *dir = word_dir(word);
		uint64_t slots = dir_slots(dir), low = at >> dir->shift, high = last >> dir->shift;
		struct step *step = &path->step[path->depth++];

		if (low - dir->lo >= slots || high - dir->lo >= slots)
			return false;
		step->dir = dir;
		step->at = (unsigned int)(low & (slots - 1));
		word = dir->word[step->at];
		/* A run leads to one node, and no other run leads there. */
		if (dir->word[high & (slots - 1)] != word)
			return false;
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
	const struct radix_dir *dir;
	const struct step *step;
	unsigned int slot, first, last;

	if (path->depth == 0 || count >= RADIX_LEAF_MERGE)
		return false;
	step = &path->step[path->depth - 1];
	dir = step->dir;
	slot = (step->at - (unsigned int)dir->lo) & (dir_slots(dir) - 1);
	first = dir_run_first(dir, slot);
	last = dir_run_last(dir, slot);
	if (first > 0 && count + count_of_leaf(dir_get(dir, first - 1)) <= RADIX_LEAF_MERGE + 1)
		return true;
	return last + 1 < dir_slots(dir) &&
	       count + count_of_leaf(dir_get(dir, last + 1)) <= RADIX_LEAF_MERGE + 1;
}

static void set_range(struct radix_leaf *leaf, unsigned int at, const struct index_range *range)
{
	leaf->start[at] = range->start;
	leaf->pair[at] = (struct radix_pair){range->end, range->item};
}

static void copy_some(struct radix_leaf *to, unsigned int at, const struct radix_leaf *from,
		      unsigned int first, unsigned int n)
{
	memcpy(&to->start[at], &from->start[first], n * sizeof(to->start[0]));
	memcpy(&to->pair[at], &from->pair[first], n * sizeof(to->pair[0]));
}

/* What is behind the ranges of a leaf is 0. */
static void clear_behind(struct radix_leaf *leaf)
{
	memset(&leaf->start[leaf->count], 0,
	       (RADIX_LEAF_STARTS - leaf->count) * sizeof(leaf->start[0]));
	memset(&leaf->pair[leaf->count], 0, (leaf->room - leaf->count) * sizeof(leaf->pair[0]));
}

/*
 * Copy the ranges of a leaf without `cut` and with `put` at its place. Either may be NULL, and
 * they start at different keys.
 */
static void copy_ranges(struct radix_leaf *to, const struct radix_leaf *from,
			const struct index_range *cut, const struct index_range *put)
{
	unsigned int out = cut ? leaf_starts_above(from, cut->start) : from->count;
	unsigned int in = put ? leaf_starts_above(from, put->start) : from->count;
	unsigned int low = in < out ? in : out, high = in < out ? out : in;

	/* Below the first place nothing moves; between both by one, up or down; then by both. */
	copy_some(to, 0, from, 0, low);
	if (put && in <= out) {
		set_range(to, in, put);
		copy_some(to, in + 1, from, in, high - in);
		if (cut)
			copy_some(to, out + 1, from, out + 1, from->count - out - 1);
	} else {
		copy_some(to, out, from, out + 1, high - out - 1);
		if (put) {
			set_range(to, in - 1, put);
			copy_some(to, in, from, in, from->count - in);
		}
	}
	clear_behind(to);
}

/*
 * A copy of a directory in which the run at a place of word[] leads elsewhere, or NULL. Most
 * runs are short: the places nearby are done without branches.
 */
#define NEARBY 4u
static struct radix_dir *clone_leading(struct radix_update *up, const struct step *step,
				       uint64_t word)
{
	const struct radix_dir *from = step->dir;
	struct radix_dir *dir = radix_dir_clone(up, from);
	unsigned int mask = dir_slots(from) - 1, i, k;
	uint64_t old = from->word[step->at];

	if (!dir)
		return NULL;
	for (k = 0; k <= 2 * NEARBY; k++) {
		i = (step->at - NEARBY + k) & mask;
		dir->word[i] = from->word[i] == old ? word : from->word[i];
	}
	for (i = (step->at - NEARBY) & mask; dir->word[i] == word && i != step->at;) {
		i = (i - 1) & mask;
		if (from->word[i] == old)
			dir->word[i] = word;
	}
	for (i = (step->at + NEARBY) & mask; dir->word[i] == word && i != step->at;) {
		i = (i + 1) & mask;
		if (from->word[i] == old)
			dir->word[i] = word;
	}
	return dir;
}

int radix_apply_one(struct radix_update *up, const struct index_root *in,
		    const struct index_range *cut, const struct index_range *put, uint64_t *word)
{
	const struct index_range *low = cut && (!put || cut->start < put->start) ? cut : put;
	uint64_t end = cut ? cut->end : 0;
	struct radix_leaf *leaf;
	struct path path;
	unsigned int i, count;
	bool same;

	end = put && put->end > end ? put->end : end;
	if (!low || !path_find(&path, in, low->start, end - 1))
		return 0;
	count = path.leaf->count + (put ? 1u : 0u) - (cut ? 1u : 0u);
	if (count == 0 || count > RADIX_LEAF_MAX || (!put && may_join(&path, count)))
		return 0;
	same = cut && put && cut->start == put->start;
	leaf = same ? radix_leaf_clone(up, path.leaf) : radix_leaf_alloc(up, count);
	if (!leaf)
		return -ENOMEM;
	if (same)
		set_range(leaf, leaf_starts_above(leaf, put->start), put);
	else
		copy_ranges(leaf, path.leaf, cut, put);
	radix_discard(up, word_of_leaf(path.leaf));
	*word = leaf->self;
	for (i = path.depth; i > 0; i--) {
		const struct step *step = &path.step[i - 1];
		struct radix_dir *dir = clone_leading(up, step, *word);

		if (!dir)
			return -ENOMEM;
		radix_discard(up, word_of_dir(step->dir));
		*word = word_of_dir(dir);
	}
	return 1;
}
