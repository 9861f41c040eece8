/* SPDX-License-Identifier: MIT */
/*
 * walk.c - from a key to its neighbours: exact entries, the ones below and above, and
 * iteration.
 *
 * Steps. A path remembers the directories and slots on the way to a leaf; the leaf before
 * or behind it is found by going up until there is another run on that side, and
 * down again along that side. A cursor does not keep a path: behind a leaf's last range it goes
 * down anew with that range's end as key, which takes no longer.
 */
#include "index/radix/node.h"
#include "index/radix/radix.h"

struct path {
	const struct radix_dir *dir[RADIX_DEPTH];
	unsigned int slot[RADIX_DEPTH];
	unsigned int depth;
};

static const struct radix_leaf *descend(struct path *path, uint64_t word, uint64_t at)
{
	while (word_is_dir(word)) {
		const struct radix_dir *dir = word_dir(word);
		unsigned int slot = dir_slot(dir, at);

		path->dir[path->depth] = dir;
		path->slot[path->depth++] = slot;
		word = dir_get(dir, slot);
	}
	return word_leaf(word);
}

static const struct radix_leaf *path_init(struct path *path, const struct index_root *root,
					  uint64_t at)
{
	path->depth = 0;
	return descend(path, root->word, at);
}

/* The next leaf in order, or NULL. */
static const struct radix_leaf *path_next(struct path *path)
{
	while (path->depth > 0) {
		const struct radix_dir *dir = path->dir[path->depth - 1];
		unsigned int slot = dir_run_last(dir, path->slot[path->depth - 1]) + 1;

		if (slot < dir_slots(dir)) {
			path->slot[path->depth - 1] = slot;
			return descend(path, dir_get(dir, slot), 0);
		}
		path->depth--;
	}
	return NULL;
}

/* The leaf before in order, or NULL. */
static const struct radix_leaf *path_before(struct path *path)
{
	while (path->depth > 0) {
		const struct radix_dir *dir = path->dir[path->depth - 1];
		unsigned int slot = dir_run_first(dir, path->slot[path->depth - 1]);

		if (slot > 0) {
			path->slot[path->depth - 1] = slot - 1;
			return descend(path, dir_get(dir, slot - 1), UINT64_MAX);
		}
		path->depth--;
	}
	return NULL;
}

bool radix_get(const struct index_root *root, uint64_t start, struct index_entry *out)
{
	struct path path;
	const struct radix_leaf *leaf = path_init(&path, root, start);
	unsigned int n = leaf_starts_up_to(leaf, start);

	if (n == 0 || leaf_start(leaf, n - 1) != start)
		return false;
	if (out)
		*out = leaf_entry(leaf, n - 1);
	return true;
}

bool radix_overlaps(const struct index_root *root, uint64_t start, uint64_t end)
{
	uint64_t word = root->word;
	const struct radix_leaf *leaf;
	struct index_cursor cur;
	struct index_entry hit;
	unsigned int n;

	if (start >= end)
		return false;
	while (word_is_dir(word))
		word = dir_get(word_dir(word), dir_slot(word_dir(word), end - 1));
	leaf = word_leaf(word);
	n = leaf_starts_up_to(leaf, end - 1);
	/* Of the ranges that start before `end` the last one reaches furthest. */
	if (n > 0)
		return leaf_end(leaf, n - 1) > start;
	cur = (struct index_cursor){.start = start, .end = end, .kind = INDEX_RADIX};
	radix_cursor_init(&cur, root);
	return radix_cursor_next(&cur, &hit);
}

bool radix_below(const struct index_root *root, uint64_t at, struct index_entry *out)
{
	struct path path;
	const struct radix_leaf *leaf = path_init(&path, root, at);
	unsigned int n = leaf_starts_up_to(leaf, at);

	while (n == 0) {
		leaf = path_before(&path);
		if (!leaf)
			return false;
		n = leaf_starts_up_to(leaf, at);
	}
	if (out)
		*out = leaf_entry(leaf, n - 1);
	return true;
}

bool radix_above(const struct index_root *root, uint64_t at, struct index_entry *out)
{
	struct path path;
	const struct radix_leaf *leaf = path_init(&path, root, at);
	unsigned int n = at == 0 ? 0 : leaf_starts_up_to(leaf, at - 1);

	while (n == leaf->count) {
		leaf = path_next(&path);
		if (!leaf)
			return false;
		n = at == 0 ? 0 : leaf_starts_up_to(leaf, at - 1);
	}
	if (out)
		*out = leaf_entry(leaf, n);
	return true;
}

/* Put the cursor on the first range that ends behind `at`. */
static void seek(struct index_cursor *cur, uint64_t at)
{
	struct path path;
	const struct radix_leaf *leaf = path_init(&path, &cur->root, at);
	unsigned int n = leaf_starts_up_to(leaf, at);

	/* Of the ranges that start up to there only the last one can end behind it. */
	n -= n > 0 && leaf_end(leaf, n - 1) > at;
	while (n == leaf->count) {
		leaf = path_next(&path);
		if (!leaf)
			break;
		n = leaf_starts_up_to(leaf, at);
		n -= n > 0 && leaf_end(leaf, n - 1) > at;
	}
	cur->leaf = leaf;
	cur->at = (uint8_t)n;
}

void radix_cursor_init(struct index_cursor *cur, const struct index_root *root)
{
	cur->root = *root;
	cur->leaf = NULL;
	if (cur->start < cur->end)
		seek(cur, cur->start);
}

/* The leaf and the place in it of the range at the cursor, which advances; NULL at the end. */
static inline const struct radix_leaf *step(struct index_cursor *cur, unsigned int *at)
{
	const struct radix_leaf *leaf = cur->leaf;

	if (!leaf)
		return NULL;
	*at = leaf->count - 1u - cur->at;
	if (leaf->start[*at] >= cur->end) {
		cur->leaf = NULL;
		return NULL;
	}
	if (leaf->pair[*at].end >= cur->end)
		cur->leaf = NULL;
	else if (++cur->at == leaf->count)
		seek(cur, leaf->pair[*at].end);
	return leaf;
}

bool radix_cursor_next(struct index_cursor *cur, struct index_entry *out)
{
	unsigned int at;
	const struct radix_leaf *leaf = step(cur, &at);

	if (leaf && out) {
		out->start = leaf->start[at];
		out->end = leaf->pair[at].end;
		out->tie = 0;
		out->item = leaf->pair[at].item;
	}
	return leaf != NULL;
}

void *radix_cursor_item(struct index_cursor *cur)
{
	unsigned int at;
	const struct radix_leaf *leaf = step(cur, &at);

	return leaf ? leaf->pair[at].item : NULL;
}

static void collect(uint64_t word, struct pool_link **list)
{
	unsigned int i;

	if (word_is_dir(word)) {
		struct radix_dir *dir = word_dir(word);

		for (i = 0; i < dir_slots(dir); i = dir_run_last(dir, i) + 1)
			collect(dir_get(dir, i), list);
	}
	word_link(word)->next = *list;
	*list = word_link(word);
}

void radix_collect(const struct index_root *root, struct pool_link **list)
{
	if (root->word != radix_empty_word())
		collect(root->word, list);
}
