/* SPDX-License-Identifier: MIT */
/*
 * build.c - new nodes of the radix index, and which ranges share one.
 *
 * Ranges that do not fit one leaf are cut at slot borders, so that as few leaves as can be
 * have them evenly; where the one too many was added at an edge, the
 * others stay together, so that insertion in order leaves full leaves behind. Where one slot alone
 * has too many, the directory doubles its slots; at 2^7 of them that slot gets a directory of its
 * own, whose window fits the ranges in it.
 */
#include "index/radix/update.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "index/radix/radix.h"

/* ---- Nodes ---- */

static void *node_alloc(struct radix_update *up, size_t bytes)
{
	struct pool_link *link = pool_alloc(up->batch->pool, bytes);

	if (!link)
		return NULL;
	if ((uint64_t)(uintptr_t)link >> (64 - WORD_TAGS)) {
		/* No system hands such memory out unasked. */
		pool_free(up->batch->pool, link);
		return NULL;
	}
	link->next = up->batch->created;
	link->birth = up->batch->birth;
	up->batch->created = link;
	up->bytes += bytes;
	return link;
}

static size_t node_cost(uint64_t word)
{
	return word_is_dir(word) ? radix_dir_bytes(word_dir(word)->bits)
				 : radix_leaf_bytes(word_leaf(word)->room);
}

void radix_discard(struct radix_update *up, uint64_t word)
{
	struct pool_link *link = word_link(word);
	uint64_t bytes;

	if (word == radix_empty_word())
		return;
	bytes = node_cost(word);
	up->bytes -= bytes;
	if (link->birth == up->batch->birth) {
		node_head(link)->dead = 1;
		up->ndead++;
		return;
	}
	index_batch_retire(up->batch, link, bytes);
}

void radix_discard_all(struct radix_update *up, uint64_t word)
{
	unsigned int i;

	if (word_is_dir(word)) {
		const struct radix_dir *dir = word_dir(word);

		for (i = 0; i < dir_slots(dir); i = dir_run_last(dir, i) + 1)
			radix_discard_all(up, dir_get(dir, i));
	}
	radix_discard(up, word);
}

struct radix_leaf *radix_leaf_alloc(struct radix_update *up, size_t n)
{
	unsigned int room = radix_leaf_room(n);
	struct radix_leaf *leaf = node_alloc(up, radix_leaf_bytes(room));

	if (!leaf)
		return NULL;
	leaf->height = 0;
	leaf->count = (uint8_t)n;
	leaf->room = (uint8_t)room;
	leaf->dead = 0;
	leaf->unused = 0;
	leaf->self = word_of_leaf(leaf);
	return leaf;
}

struct radix_leaf *radix_leaf_clone(struct radix_update *up, const struct radix_leaf *leaf)
{
	struct radix_leaf *copy = radix_leaf_alloc(up, leaf->count);

	if (!copy)
		return NULL;
	memcpy(copy->start, leaf->start, sizeof(copy->start));
	memcpy(copy->pair, leaf->pair, copy->room * sizeof(copy->pair[0]));
	return copy;
}

static int leaf_create(struct radix_update *up, const struct index_range *range, size_t n,
		       uint64_t *word)
{
	struct radix_leaf *leaf = radix_leaf_alloc(up, n);
	unsigned int i, at = (unsigned int)n;

	if (!leaf)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		at--;
		leaf->start[at] = range[i].start;
		leaf->pair[at] = (struct radix_pair){range[i].end, range[i].item};
	}
	for (i = (unsigned int)n; i < leaf->room; i++)
		leaf->pair[i] = (struct radix_pair){0, NULL};
	for (i = (unsigned int)n; i < RADIX_LEAF_STARTS; i++)
		leaf->start[i] = 0;
	*word = leaf->self;
	return 0;
}

static struct radix_dir *dir_alloc(struct radix_update *up, unsigned int bits, unsigned int shift,
				   uint64_t lo)
{
	struct radix_dir *dir = node_alloc(up, radix_dir_bytes(bits));

	if (!dir)
		return NULL;
	dir->height = 1;
	dir->bits = (uint8_t)bits;
	dir->shift = (uint8_t)shift;
	dir->dead = 0;
	dir->lo = lo;
	return dir;
}

struct radix_dir *radix_dir_create(struct radix_update *up, unsigned int bits, unsigned int shift,
				   uint64_t lo, uint64_t word)
{
	struct radix_dir *dir = dir_alloc(up, bits, shift, lo);

	if (dir)
		radix_fill(dir, 0, dir_slots(dir) - 1, word);
	return dir;
}

struct radix_dir *radix_dir_clone(struct radix_update *up, const struct radix_dir *dir)
{
	struct radix_dir *copy = dir_alloc(up, dir->bits, dir->shift, dir->lo);

	if (!copy)
		return NULL;
	copy->height = dir->height;
	memcpy(copy->word, dir->word, sizeof(uint64_t) << dir->bits);
	return copy;
}

void radix_fill(struct radix_dir *dir, unsigned int first, unsigned int last, uint64_t word)
{
	unsigned int i, height = word_height(word) + 1;

	for (i = first; i <= last; i++)
		*dir_word(dir, i) = word;
	if (height > dir->height)
		dir->height = (uint8_t)height;
}

/* ---- Layout ---- */

unsigned int radix_window_shift(uint64_t lo, uint64_t hi, unsigned int bits)
{
	unsigned int shift = 0;

	while (((hi - 1) >> shift) - (lo >> shift) >= UINT64_C(1) << bits)
		shift++;
	return shift;
}

uint64_t radix_window_lo(const struct window *window, unsigned int bits, unsigned int shift)
{
	uint64_t lo = window->lo >> shift, end = ((window->hi - 1) >> shift) + 1;

	if (!window->room_below)
		return lo;
	return end > UINT64_C(1) << bits ? end - (UINT64_C(1) << bits) : 0;
}

/* Twice the slots, each half as wide, that lead where they led. */
static int double_slots(struct frame *f)
{
	struct radix_dir *old = f->dir, *dir;
	unsigned int i;

	dir = dir_alloc(f->up, old->bits + 1u, old->shift - 1u, old->lo * 2);
	if (!dir)
		return -ENOMEM;
	dir->height = old->height;
	for (i = 0; i < dir_slots(dir); i++)
		*dir_word(dir, i) = dir_get(old, i / 2);
	radix_discard(f->up, word_of_dir(old));
	f->dir = dir;
	return 0;
}

/* Slots of so many bits or more double to save a leaf only if there are leaves for them. */
#define FEW_SLOTS_BITS 5u

/* Ranges that do not fit a leaf, all in one slot of those from first to last. */
static int place_in_slot(struct frame *f, unsigned int first, unsigned int last,
			 struct ranges ranges)
{
	uint64_t lo = frame_lo(f, first), hi = frame_hi(f, last), word;
	int err;

	if (f->dir->bits < RADIX_BITS_MAX && f->dir->shift > 0) {
		err = double_slots(f);
		return err ? err : radix_place(f, 2 * first, 2 * last + 1, ranges.at, ranges.n);
	}
	err = radix_build(f->up, ranges, lo, hi, NULL, &word);
	if (!err)
		radix_fill(f->dir, first, last, word);
	return err;
}

/* How many ranges start before a slot. */
static size_t starts_before(const struct radix_dir *dir, unsigned int slot, struct ranges ranges,
			    size_t hint)
{
	uint64_t key = dir_key(dir, slot);

	while (hint < ranges.n && ranges.at[hint].start < key)
		hint++;
	while (hint > 0 && ranges.at[hint - 1].start >= key)
		hint--;
	return hint;
}

/* The slot in (low, high] before which to cut, so that both sides have ranges. */
static unsigned int cut_slot(const struct frame *f, struct ranges ranges, unsigned int low,
			     unsigned int high)
{
	size_t leaves = (ranges.n + RADIX_LEAF_MAX - 1) / RADIX_LEAF_MAX;
	size_t want = (ranges.n + leaves - 1) / leaves, here, next;
	unsigned int slot;

	if (ranges.n == RADIX_LEAF_MAX + 1 && f->edge != 0)
		want = f->edge > 0 ? ranges.n - 1 : 1;
	slot = dir_slot(f->dir, ranges.at[want].start);
	if (slot <= low)
		return low + 1;
	if (slot >= high)
		return high;
	here = starts_before(f->dir, slot, ranges, want);
	next = starts_before(f->dir, slot + 1, ranges, want);
	return next <= RADIX_LEAF_MAX && next - want < want - here ? slot + 1 : slot;
}

static unsigned int count_runs(const struct radix_dir *dir)
{
	unsigned int i, n = 0;

	for (i = 0; i < dir_slots(dir); i = dir_run_last(dir, i) + 1)
		n++;
	return n;
}

/*
 * Would ranges that fit two leaves need three, for want of a slot border in between? Twice
 * the slots cost less than a leaf where slots are few, and where there are many leaves for
 * them others gain as well.
 */
static bool wants_finer_slots(const struct frame *f, struct ranges ranges, unsigned int cut)
{
	size_t left, right;

	if (ranges.n > 2 * (size_t)RADIX_LEAF_MAX || f->dir->bits == RADIX_BITS_MAX ||
	    f->dir->shift == 0)
		return false;
	if (f->dir->bits >= FEW_SLOTS_BITS && count_runs(f->dir) < dir_slots(f->dir) / 4)
		return false;
	left = starts_before(f->dir, cut, ranges, RADIX_LEAF_MAX);
	right = ranges.n - left + (ranges.at[left - 1].end > dir_key(f->dir, cut));
	return left > RADIX_LEAF_MAX || right > RADIX_LEAF_MAX;
}

int radix_place(struct frame *f, unsigned int first, unsigned int last,
		const struct index_range *range, size_t n)
{
	struct ranges rest = {range, n};
	uint64_t start, key, end = dir_key(f->dir, last + 1), word;
	unsigned int low, high, cut;
	size_t left;
	int err;

	while (rest.n > RADIX_LEAF_MAX) {
		/* A range may reach beyond these slots on either side, and they beyond the
		 * coverage. */
		start = rest.at[0].start > f->lo ? rest.at[0].start : f->lo;
		low = dir_slot(f->dir, start);
		low = low > first ? low : first;
		key = rest.at[rest.n - 1].end < f->hi ? rest.at[rest.n - 1].end : f->hi;
		high = dir_slot(f->dir, key - 1);
		high = high < last ? high : last;
		if (low == high)
			return place_in_slot(f, first, last, rest);
		cut = cut_slot(f, rest, low, high);
		if (wants_finer_slots(f, rest, cut)) {
			err = double_slots(f);
			return err ? err : radix_place(f, 2 * first, 2 * last + 1, rest.at, rest.n);
		}
		key = dir_key(f->dir, cut);
		left = starts_before(f->dir, cut, rest, RADIX_LEAF_MAX);
		err = radix_place(f, first, cut - 1, rest.at, left);
		if (err)
			return err;
		/* The directory may have doubled: count slots anew. */
		first = dir_slot(f->dir, key);
		last = dir_slot(f->dir, end - 1);
		left -= rest.at[left - 1].end > key;
		rest.at += left;
		rest.n -= left;
	}
	err = leaf_create(f->up, rest.at, rest.n, &word);
	if (!err)
		radix_fill(f->dir, first, last, word);
	return err;
}

int radix_build(struct radix_update *up, struct ranges ranges, uint64_t lo, uint64_t hi,
		const struct window *least, uint64_t *word)
{
	uint64_t start = ranges.at[0].start, end = ranges.at[ranges.n - 1].end;
	struct window window = least ? *least : (struct window){UINT64_MAX, 0, false};
	unsigned int bits = RADIX_BITS_MIN, shift;
	struct frame f = {.up = up, .lo = lo, .hi = hi};
	int err;

	if (ranges.n <= RADIX_LEAF_MAX)
		return leaf_create(up, ranges.at, ranges.n, word);
	start = start > lo ? start : lo;
	end = end < hi ? end : hi;
	window.lo = start < window.lo ? start : window.lo;
	window.hi = end > window.hi ? end : window.hi;
	/* Four ranges a slot or fewer, if they lie evenly. */
	while (bits < RADIX_BITS_MAX && (size_t)4 << bits < ranges.n)
		bits++;
	shift = radix_window_shift(window.lo, window.hi, bits);
	f.dir = radix_dir_create(up, bits, shift, radix_window_lo(&window, bits, shift), 0);
	if (!f.dir)
		return -ENOMEM;
	err = radix_place(&f, 0, dir_slots(f.dir) - 1, ranges.at, ranges.n);
	*word = word_of_dir(f.dir);
	/* In a window larger than need be, one slot may have them all. */
	if (!err && dir_run_last(f.dir, 0) + 1 == dir_slots(f.dir)) {
		*word = dir_get(f.dir, 0);
		radix_discard(up, word_of_dir(f.dir));
	}
	return err;
}

/* ---- Scratch ---- */

struct index_range *radix_reserve(struct index_batch *batch, size_t vec_offset, size_t n)
{
	struct radix_vec *vec;
	struct index_range *range;

	if (!batch->radix_scratch) {
		batch->radix_scratch = mem_zalloc(sizeof(*batch->radix_scratch));
		if (!batch->radix_scratch)
			return NULL;
	}
	vec = (struct radix_vec *)(void *)((char *)batch->radix_scratch + vec_offset);
	if (vec->room < n) {
		range = mem_alloc(n * sizeof(*range));
		if (!range)
			return NULL;
		mem_free(vec->range);
		*vec = (struct radix_vec){range, n};
	}
	return vec->range;
}

void radix_scratch_fini(struct index_batch *batch)
{
	struct radix_scratch *scratch = batch->radix_scratch;

	mem_free(scratch->cut.range);
	mem_free(scratch->put.range);
	mem_free(scratch->merged.range);
	mem_free(scratch->gathered.range);
	mem_free(scratch);
	batch->radix_scratch = NULL;
}
