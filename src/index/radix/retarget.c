/* SPDX-License-Identifier: MIT */
/*
 * retarget.c - other items for ranges that stay where they are.
 *
 * Flags of many slots change at once, as when dirty logging begins; and a move leaves the
 * names and the host memory of slots alone. No leaf gets more ranges or fewer then: each
 * node on the way to one of them is copied once, and nothing is laid out anew.
 */
#include <errno.h>

#include "index/radix/update.h"

bool radix_keeps_shape(struct ranges cut, struct ranges put)
{
	size_t i;

	if (cut.n != put.n)
		return false;
	for (i = 0; i < put.n; i++)
		if (cut.at[i].start != put.at[i].start || cut.at[i].end != put.at[i].end)
			return false;
	return true;
}

static int retarget_leaf(struct radix_update *up, const struct radix_leaf *old, struct ranges put,
			 uint64_t hi, uint64_t *word)
{
	struct radix_leaf *leaf = radix_leaf_clone(up, old);
	unsigned int at = old->count;

	if (!leaf)
		return -ENOMEM;
	for (; put.n > 0 && put.at->start < hi; put.at++, put.n--) {
		/* Starts fall, so that the last one is the lowest; each of these is there. */
		while (leaf->start[at - 1] < put.at->start)
			at--;
		leaf->pair[at - 1].item = put.at->item;
	}
	radix_discard(up, word_of_leaf(old));
	*word = leaf->self;
	return 0;
}

/* The first and last slot of the run that a key leads to, and the run's coverage. */
struct run {
	unsigned int first, last;
	uint64_t lo, hi;
};

static struct run run_of(const struct frame *f, uint64_t key)
{
	struct run run;
	unsigned int slot = dir_slot(f->dir, key);

	run.first = dir_run_first(f->dir, slot);
	run.last = dir_run_last(f->dir, slot);
	run.lo = frame_lo(f, run.first);
	run.hi = frame_hi(f, run.last);
	return run;
}

/*
 * `put` has the ranges that end behind `lo` and get another item, of which some start below
 * `hi`; those and only those are the node's.
 */
static int retarget(struct radix_update *up, uint64_t old, uint64_t lo, uint64_t hi,
		    struct ranges put, uint64_t *word)
{
	struct frame f = {.up = up, .lo = lo, .hi = hi};
	struct run run;
	uint64_t child;
	int err;

	if (!word_is_dir(old))
		return retarget_leaf(up, word_leaf(old), put, hi, word);
	f.dir = radix_dir_clone(up, word_dir(old));
	if (!f.dir)
		return -ENOMEM;
	while (lo < hi && put.n > 0 && put.at->start < hi) {
		run = run_of(&f, put.at->start > lo ? put.at->start : lo);
		err = retarget(up, dir_get(f.dir, run.first), run.lo, run.hi, put, &child);
		if (err)
			return err;
		radix_fill(f.dir, run.first, run.last, child);
		/* One that crosses the border is in the next run, too. */
		lo = run.hi;
		put = ranges_from(put, lo);
	}
	radix_discard(up, old);
	*word = word_of_dir(f.dir);
	return 0;
}

int radix_retarget(struct radix_update *up, const struct index_root *in, struct ranges put,
		   uint64_t *word)
{
	return retarget(up, in->word, 0, INDEX_RADIX_LIMIT, put, word);
}
