/* SPDX-License-Identifier: MIT */
/*
 * check.c - the full walk behind radix_check().
 */
#include "index/radix/node.h"
#include "index/radix/radix.h"

struct walk {
	uint64_t count, bytes;
	struct index_entry last; /* the range with the largest start so far */
};

static const char *check_shape(const struct radix_leaf *leaf)
{
	unsigned int i;

	if (leaf->self != word_of_leaf(leaf))
		return "radix: a leaf does not lead to itself";
	if (leaf->dead)
		return "radix: a node bears marks of an unfinished update";
	if (leaf->count == 0 || leaf->count > RADIX_LEAF_MAX ||
	    leaf->room != radix_leaf_room(leaf->count))
		return "radix: R2 a leaf's count does not fit its room";
	for (i = 0; i < leaf->count; i++)
		if (leaf_end(leaf, i) <= leaf_start(leaf, i) ||
		    (i > 0 && leaf_start(leaf, i) < leaf_end(leaf, i - 1)))
			return "radix: R2 ranges are empty, overlap or are out of order";
	for (i = leaf->count; i < RADIX_LEAF_STARTS; i++)
		if (leaf->start[i] != 0 ||
		    (i < leaf->room && (leaf->pair[i].end || leaf->pair[i].item)))
			return "radix: R2 what is behind the ranges is not 0";
	return NULL;
}

static const char *check_leaf(struct walk *walk, const struct radix_leaf *leaf, uint64_t lo,
			      uint64_t hi)
{
	const char *why = check_shape(leaf);
	struct index_entry first;
	bool crosses;

	if (why)
		return why;
	first = leaf_entry(leaf, 0);
	if (first.end <= lo || leaf_start(leaf, leaf->count - 1u) >= hi)
		return "radix: R1 a range does not meet its leaf's coverage";
	/* What crosses the border from the last leaf is here too, and nothing else is from there.
	 */
	crosses = walk->count > 0 && walk->last.end > lo;
	if (crosses != (first.start < lo))
		return "radix: R1 a range that crosses a border is not on both sides of it";
	if (crosses && (first.start != walk->last.start || first.end != walk->last.end ||
			first.item != walk->last.item))
		return "radix: R1 a range differs on the two sides of a border";
	walk->count += leaf->count - crosses;
	walk->bytes += pool_node_bytes(leaf);
	walk->last = leaf_entry(leaf, leaf->count - 1u);
	return NULL;
}

static const struct radix_leaf *edge_leaf(uint64_t word, bool last)
{
	while (word_is_dir(word))
		word = dir_get(word_dir(word), last ? dir_slots(word_dir(word)) - 1 : 0);
	return word_leaf(word);
}

static const char *check_window(const struct radix_dir *dir, uint64_t lo, uint64_t hi)
{
	const struct radix_leaf *low = edge_leaf(word_of_dir(dir), false);
	const struct radix_leaf *high = edge_leaf(word_of_dir(dir), true);
	uint64_t start = leaf_start(low, 0), end = leaf_end(high, high->count - 1u);

	start = start > lo ? start : lo;
	end = end < hi ? end : hi;
	if (start >> dir->shift < dir->lo || (end - 1) >> dir->shift >= dir->lo + dir_slots(dir))
		return "radix: R3 a range lies outside its directory's window";
	return NULL;
}

static const char *check_word(struct walk *walk, uint64_t word, uint64_t lo, uint64_t hi)
{
	const struct radix_dir *dir = word_dir(word);
	unsigned int i, last;
	uint64_t begin, end;
	const char *why = NULL;

	if (word == 0)
		return "radix: R4 a slot leads nowhere";
	if (!word_is_dir(word))
		return check_leaf(walk, word_leaf(word), lo, hi);
	if (word != word_of_dir(dir) || dir->dead)
		return "radix: a word differs from its directory";
	if (dir_run_last(dir, 0) + 1 == dir_slots(dir))
		return "radix: R4 a directory with one run";
	why = check_window(dir, lo, hi);
	for (i = 0; !why && i < dir_slots(dir); i = last + 1) {
		last = dir_run_last(dir, i);
		begin = i == 0 ? lo : dir_key(dir, i);
		end = last + 1 == dir_slots(dir) ? hi : dir_key(dir, last + 1);
		if (begin >= end)
			return "radix: R4 a run that no key leads to";
		if (word_height(dir_get(dir, i)) >= dir->height)
			return "radix: R5 a directory is not higher than its child";
		why = check_word(walk, dir_get(dir, i), begin, end);
	}
	walk->bytes += pool_node_bytes(dir);
	return why;
}

const char *radix_check(const struct index_root *root)
{
	struct walk walk = {0};
	const char *why = NULL;

	if (root->word != radix_empty_word())
		why = check_word(&walk, root->word, 0, INDEX_RADIX_LIMIT);
	if (why)
		return why;
	if (root->height != word_height(root->word))
		return "radix: R5 the root's height is wrong";
	if (walk.count != root->count)
		return "radix: R6 the root's count is wrong";
	if (walk.bytes != root->bytes)
		return "radix: R6 the root's bytes are wrong";
	return NULL;
}
