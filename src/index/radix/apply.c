/* SPDX-License-Identifier: MIT */
/*
 * apply.c - copy-on-write update of a radix index.
 *
 * Steps
 *   1 look the old ends up: what goes (cut) and what comes (put), each without overlap
 *   2 edits that are many beside the ranges there are: list all ranges, build anew
 *   3 else go down from the root. A touched directory is copied; each of its runs that
 *     the edits meet gets its ranges laid out anew (build.c). A leaf that lost ranges takes its
 *     neighbours in when together they are few. An empty stretch goes to the run beside it,
 *     and a directory with one run left to that run's node
 *   4 a put outside a directory's window: the directory becomes a child of one with a
 *     window for both when it is small beside it, else its ranges are built anew. Windows
 *     at least double each time and never shrink, so that this happens seldom
 */
#include <errno.h>
#include <string.h>

#include "index/radix/radix.h"
#include "index/radix/update.h"

/* Ranges on the stack: those of a leaf, of its two neighbours and of a few edits. */
#define SMALL 64u
/* A window this many times that of a directory has the directory as a child. */
#define EMBED 8u

static int touch_dir(struct radix_update *up, const struct radix_dir *old, uint64_t lo, uint64_t hi,
		     struct edits edits, uint64_t *word);

/* ---- Lists of ranges ---- */

/* Those that meet [lo, hi), of a list that begins where `lo` is; none meets it if lo >= hi. */
static struct ranges ranges_meeting(struct ranges ranges, uint64_t lo, uint64_t hi)
{
	size_t n = 0;

	ranges = ranges_from(ranges, lo);
	while (lo < hi && n < ranges.n && ranges.at[n].start < hi)
		n++;
	ranges.n = n;
	return ranges;
}

static struct edits edits_meeting(struct edits edits, uint64_t lo, uint64_t hi)
{
	return (struct edits){
	    .cut = ranges_meeting(edits.cut, lo, hi),
	    .put = ranges_meeting(edits.put, lo, hi),
	};
}

static bool edits_meet(struct edits edits, uint64_t lo, uint64_t hi)
{
	struct edits meeting = edits_meeting(edits, lo, hi);

	return meeting.cut.n + meeting.put.n > 0;
}

/* What is left of `from` after the edits; returns how many, at most from.n + put.n. */
static size_t merge(struct ranges from, struct edits edits, struct index_range *out)
{
	struct ranges cut = edits.cut, put = edits.put;
	size_t n = 0;

	while (from.n > 0 || put.n > 0) {
		if (from.n == 0 || (put.n > 0 && put.at->start < from.at->start)) {
			out[n++] = *put.at++;
			put.n--;
			continue;
		}
		while (cut.n > 0 && cut.at->start < from.at->start) {
			cut.at++;
			cut.n--;
		}
		if ((cut.n == 0 || cut.at->start != from.at->start) &&
		    (put.n == 0 || put.at->start != from.at->start))
			out[n++] = *from.at;
		from.at++;
		from.n--;
	}
	return n;
}

static size_t leaf_ranges(const struct radix_leaf *leaf, struct index_range *out)
{
	unsigned int i;

	for (i = 0; i < leaf->count; i++)
		out[leaf->count - 1 - i] =
		    (struct index_range){leaf->start[i], leaf->pair[i].end, leaf->pair[i].item};
	return leaf->count;
}

/* All ranges below a word, behind the n that are there; one listed twice comes once. */
static size_t gather(uint64_t word, struct index_range *out, size_t n)
{
	unsigned int i, first;

	if (word_is_dir(word)) {
		const struct radix_dir *dir = word_dir(word);

		for (i = 0; i < dir_slots(dir); i = dir_run_last(dir, i) + 1)
			n = gather(dir_get(dir, i), out, n);
		return n;
	}
	first = n > 0 && word_leaf(word)->count > 0 &&
		out[n - 1].start == leaf_start(word_leaf(word), 0);
	return n - first + leaf_ranges(word_leaf(word), out + n - first);
}

static size_t count_below(uint64_t word)
{
	const struct radix_dir *dir = word_dir(word);
	unsigned int i;
	size_t n = 0;

	if (!word_is_dir(word))
		return word_leaf(word)->count;
	for (i = 0; i < dir_slots(dir); i = dir_run_last(dir, i) + 1)
		n += count_below(dir_get(dir, i));
	return n;
}

/*
 * Build anew what is below a word, with edits, in a window that holds `least` if that is
 * not NULL. Word 0: nothing is left.
 */
static int rebuild(struct radix_update *up, uint64_t old, uint64_t lo, uint64_t hi,
		   struct edits edits, const struct window *least, uint64_t *word)
{
	size_t n = count_below(old);
	struct index_range *all, *merged;

	all = RADIX_RESERVE(up->batch, gathered, n + 1);
	merged = RADIX_RESERVE(up->batch, merged, n + edits.put.n + 1);
	if (!all || !merged)
		return -ENOMEM;
	n = gather(old, all, 0);
	n = merge((struct ranges){all, n}, edits, merged);
	radix_discard_all(up, old);
	*word = 0;
	return n ? radix_build(up, (struct ranges){merged, n}, lo, hi, least, word) : 0;
}

/* ---- Runs of a directory ---- */

/* Nothing is left for these slots: they go to the run beside them. */
static void leave_gap(struct frame *f, unsigned int first, unsigned int last)
{
	uint64_t word = 0;

	if (first > 0)
		word = dir_get(f->dir, first - 1);
	else if (last + 1 < dir_slots(f->dir))
		word = dir_get(f->dir, last + 1);
	radix_fill(f->dir, first, last, word);
}

/* The leaf in a slot, or NULL when something else is there. */
static const struct radix_leaf *leaf_in(const struct frame *f, unsigned int slot)
{
	uint64_t word = dir_get(f->dir, slot);

	return word_is_dir(word) ? NULL : word_leaf(word);
}

/* Take in the leaf before slot *first if both have few ranges. Returns how many there are then. */
static size_t join_before(struct frame *f, unsigned int *first, struct index_range *range, size_t n,
			  size_t limit)
{
	const struct radix_leaf *leaf = *first > 0 ? leaf_in(f, *first - 1) : NULL;
	size_t more;

	if (!leaf)
		return n;
	more = leaf->count - (size_t)(leaf_start(leaf, leaf->count - 1u) == range[0].start);
	if (n + more > limit)
		return n;
	memmove(range + more, range, n * sizeof(*range));
	n += more;
	/* What both have is the last here and the first there: written twice, the same. */
	leaf_ranges(leaf, range);
	*first = dir_run_first(f->dir, *first - 1);
	radix_discard(f->up, word_of_leaf(leaf));
	return n;
}

/* The same with the leaf behind slot *last, unless edits are yet to come to it. */
static size_t join_behind(struct frame *f, unsigned int *last, struct edits edits,
			  struct index_range *range, size_t n, size_t limit)
{
	const struct radix_leaf *leaf =
	    *last + 1 < dir_slots(f->dir) ? leaf_in(f, *last + 1) : NULL;
	unsigned int far;
	size_t shared;

	if (!leaf)
		return n;
	shared = leaf_start(leaf, 0) == range[n - 1].start;
	far = dir_run_last(f->dir, *last + 1);
	if (n + leaf->count - shared > limit ||
	    edits_meet(edits, frame_hi(f, *last), frame_hi(f, far)))
		return n;
	n += leaf_ranges(leaf, range + n - shared) - shared;
	*last = far;
	radix_discard(f->up, word_of_leaf(leaf));
	return n;
}

/*
 * A leaf's run with what is left for it; *at becomes the first key not dealt with. `range`
 * has room for the ranges of two more leaves.
 */
static int settle_run(struct frame *f, unsigned int first, unsigned int last, struct edits edits,
		      struct ranges ranges, uint64_t *at)
{
	struct index_range *range = (struct index_range *)(uintptr_t)ranges.at;
	size_t n = ranges.n, limit = 0;

	if (n == 0) {
		*at = frame_hi(f, last);
		leave_gap(f, first, last);
		return 0;
	}
	/* One leaf too full makes three of two rather than two of one: leaves stay fuller. */
	if (n < RADIX_LEAF_MERGE)
		limit = RADIX_LEAF_MERGE;
	else if (n > RADIX_LEAF_MAX && f->edge == 0)
		limit = RADIX_LEAF_SHARE;
	if (n < limit)
		n = join_before(f, &first, range, n, limit);
	if (n < limit)
		n = join_behind(f, &last, edits, range, n, limit);
	*at = frame_hi(f, last);
	return radix_place(f, first, last, range, n);
}

static int touch_leaf(struct frame *f, unsigned int first, unsigned int last, struct edits edits,
		      uint64_t *at)
{
	const struct radix_leaf *leaf = leaf_in(f, first);
	struct edits mine = edits_meeting(edits, frame_lo(f, first), frame_hi(f, last));
	struct index_range was[RADIX_LEAF_MAX], small[SMALL], *range = small;
	struct ranges from = {was, leaf_ranges(leaf, was)};
	size_t most = from.n + mine.put.n + 2 * (size_t)RADIX_LEAF_MAX, n;

	if (most > SMALL) {
		range = RADIX_RESERVE(f->up->batch, merged, most);
		if (!range)
			return -ENOMEM;
	}
	n = merge(from, mine, range);
	f->edge = 0;
	if (mine.put.n == 1 && n > 0)
		f->edge = (mine.put.at->start == range[n - 1].start) -
			  (mine.put.at->start == range[0].start);
	radix_discard(f->up, word_of_leaf(leaf));
	return settle_run(f, first, last, edits, (struct ranges){range, n}, at);
}

/*
 * A run that leads to a directory. Puts for slots of the run that lie beside the child's
 * window are not for the child: those slots get nodes of their own.
 */
static int touch_child(struct frame *f, unsigned int first, unsigned int last, struct edits edits,
		       uint64_t *at)
{
	const struct radix_dir *child = word_dir(dir_get(f->dir, first));
	unsigned int low = dir_slot(f->dir, dir_key(child, 0));
	unsigned int high = dir_slot(f->dir, dir_key(child, dir_slots(child)) - 1);
	uint64_t lo = frame_lo(f, first), hi = frame_hi(f, last), done = hi, word, begin, end;
	struct ranges beside;
	int err;

	if (low > first) {
		beside = ranges_meeting(edits.put, lo, dir_key(f->dir, low));
		if (beside.n) {
			*at = dir_key(f->dir, low);
			return radix_place(f, first, low - 1, beside.at, beside.n);
		}
	}
	if (high < last) {
		end = dir_key(f->dir, high + 1);
		beside = ranges_meeting(edits.put, end, hi);
		if (beside.n) {
			begin = dir_key(f->dir, first);
			err = radix_place(f, high + 1, last, beside.at, beside.n);
			if (err)
				return err;
			/* The directory may have doubled. */
			first = dir_slot(f->dir, begin);
			last = dir_slot(f->dir, end - 1);
			hi = end;
		}
	}
	err = touch_dir(f->up, child, lo, hi, edits_meeting(edits, lo, hi), &word);
	if (err)
		return err;
	if (word == 0 || word_height(word) < child->height)
		f->lowered = true;
	*at = done;
	if (word == 0) {
		leave_gap(f, first, last);
	} else if (!word_is_dir(word)) {
		struct index_range small[SMALL];
		struct ranges left = {small, leaf_ranges(word_leaf(word), small)};

		radix_discard(f->up, word);
		err = settle_run(f, first, last, edits, left, at);
		*at = done > *at ? done : *at;
		return err;
	} else {
		radix_fill(f->dir, first, last, word);
	}
	return 0;
}

/* ---- Directories ---- */

static bool window_holds(const struct radix_dir *dir, uint64_t lo, uint64_t hi)
{
	return lo >> dir->shift >= dir->lo && (hi - 1) >> dir->shift < dir->lo + dir_slots(dir);
}

/*
 * A larger window for a directory, for keys in `window` as well, which grows by the old
 * window. Returns 1 with the directory as a child of f->dir, 0 when it is too large for
 * that, or -ENOMEM.
 */
static int embed(struct frame *f, const struct radix_dir *old, struct window *window)
{
	uint64_t begin = dir_key(old, 0), end = dir_key(old, dir_slots(old));
	unsigned int shift;

	begin = begin > f->lo ? begin : f->lo;
	end = end < f->hi ? end : f->hi;
	/* Where one edit went others may follow. */
	window->room_below = window->lo < begin && window->hi <= end;
	window->lo = window->lo < begin ? window->lo : begin;
	window->hi = window->hi > end ? window->hi : end;
	shift = radix_window_shift(window->lo, window->hi, old->bits);
	if ((((end - 1) >> shift) - (begin >> shift) + 1) * EMBED > dir_slots(old))
		return 0;
	f->dir = radix_dir_create(f->up, old->bits, shift,
				  radix_window_lo(window, old->bits, shift), word_of_dir(old));
	return f->dir ? 1 : -ENOMEM;
}

/*
 * The directory to work on: a copy, or one above with room for all puts. 1, 0 with the
 * window there must be, or -ENOMEM, as above.
 */
static int open_dir(struct frame *f, const struct radix_dir *old, struct ranges put,
		    struct window *window)
{
	if (put.n > 0) {
		window->lo = put.at[0].start > f->lo ? put.at[0].start : f->lo;
		window->hi = put.at[put.n - 1].end < f->hi ? put.at[put.n - 1].end : f->hi;
		if (!window_holds(old, window->lo, window->hi))
			return embed(f, old, window);
	}
	f->dir = radix_dir_clone(f->up, old);
	if (!f->dir)
		return -ENOMEM;
	radix_discard(f->up, word_of_dir(old));
	return 1;
}

/* What a directory has become: itself, the node of its one run, or 0 for nothing. */
static uint64_t close_dir(struct frame *f)
{
	struct radix_dir *dir = f->dir;
	unsigned int i, height = 1;
	uint64_t word;

	if (dir_run_last(dir, 0) + 1 == dir_slots(dir)) {
		word = dir_get(dir, 0);
		radix_discard(f->up, word_of_dir(dir));
		return word;
	}
	if (f->lowered) {
		for (i = 0; i < dir_slots(dir); i = dir_run_last(dir, i) + 1)
			if (word_height(dir_get(dir, i)) + 1 > height)
				height = word_height(dir_get(dir, i)) + 1;
		dir->height = (uint8_t)height;
	}
	return word_of_dir(dir);
}

/* The first key from `at` on where an edit has something to do; false when none does. */
static bool next_edit(struct edits *edits, uint64_t *at)
{
	uint64_t key = UINT64_MAX;

	edits->cut = ranges_from(edits->cut, *at);
	edits->put = ranges_from(edits->put, *at);
	if (edits->cut.n)
		key = edits->cut.at->start;
	if (edits->put.n && edits->put.at->start < key)
		key = edits->put.at->start;
	*at = key > *at ? key : *at;
	return edits->cut.n + edits->put.n > 0;
}

/* Edits that all meet [lo, hi), the coverage of a directory. Word 0: nothing is left. */
static int touch_dir(struct radix_update *up, const struct radix_dir *old, uint64_t lo, uint64_t hi,
		     struct edits edits, uint64_t *word)
{
	struct frame f = {.up = up, .lo = lo, .hi = hi};
	unsigned int first, last;
	struct window window;
	uint64_t at = lo;
	int err = open_dir(&f, old, edits.put, &window);

	if (err == 0)
		return rebuild(up, word_of_dir(old), lo, hi, edits, &window, word);
	if (err < 0)
		return err;
	while (next_edit(&edits, &at) && at < hi) {
		first = dir_run_first(f.dir, dir_slot(f.dir, at));
		last = dir_run_last(f.dir, dir_slot(f.dir, at));
		err = leaf_in(&f, first) ? touch_leaf(&f, first, last, edits, &at)
					 : touch_child(&f, first, last, edits, &at);
		if (err)
			return err;
	}
	*word = close_dir(&f);
	return 0;
}

/* ---- The whole index ---- */

/* The edits with their old ends. Returns the change of the number of ranges, or -EINVAL. */
static int look_up(const struct index_root *in, const struct index_edit *edits, size_t n,
		   struct edits *out, uint64_t *count)
{
	struct index_range *cut = (struct index_range *)(uintptr_t)out->cut.at;
	struct index_range *put = (struct index_range *)(uintptr_t)out->put.at;
	struct index_entry old;
	size_t i;

	*count = in->count;
	for (i = 0; i < n; i++) {
		const struct index_entry *e = &edits[i].entry;
		bool exists = radix_get(in, e->start, &old);

		if (exists)
			cut[out->cut.n++] = (struct index_range){old.start, old.end, old.item};
		else if (edits[i].op == INDEX_REMOVE)
			return -EINVAL;
		if (edits[i].op == INDEX_PUT)
			put[out->put.n++] = (struct index_range){e->start, e->end, e->item};
		*count += (uint64_t)(edits[i].op == INDEX_PUT) - exists;
	}
	return 0;
}

/* Free the dead among the nodes made since `mark` headed the list. */
static void free_dead(struct radix_update *up, const struct pool_link *mark)
{
	struct pool_link **at = &up->batch->created, *link;

	while (up->ndead > 0 && *at != mark) {
		link = *at;
		if (node_head(link)->dead) {
			*at = link->next;
			pool_free(up->batch->pool, link);
			up->ndead--;
		} else {
			at = &link->next;
		}
	}
}

static int update(struct radix_update *up, const struct index_root *in, struct edits edits,
		  uint64_t *word)
{
	if (edits.cut.n == in->count && in->count > 0) {
		/* Nothing stays. */
		radix_discard_all(up, in->word);
		*word = 0;
		return edits.put.n ? radix_build(up, edits.put, 0, INDEX_RADIX_LIMIT, NULL, word)
				   : 0;
	}
	if (word_is_dir(in->word) && (edits.cut.n + edits.put.n) * 4 < in->count)
		return touch_dir(up, word_dir(in->word), 0, INDEX_RADIX_LIMIT, edits, word);
	if (!word_is_dir(in->word) && in->count + edits.put.n <= SMALL) {
		struct index_range was[RADIX_LEAF_MAX], small[SMALL];
		struct ranges from = {was, leaf_ranges(word_leaf(in->word), was)};
		size_t left = merge(from, edits, small);

		radix_discard(up, in->word);
		*word = 0;
		return left ? radix_build(up, (struct ranges){small, left}, 0, INDEX_RADIX_LIMIT,
					  NULL, word)
			    : 0;
	}
	return rebuild(up, in->word, 0, INDEX_RADIX_LIMIT, edits, NULL, word);
}

/* One or many edits on `in`, whose number of ranges becomes `count`; see radix_apply(). */
static int apply(struct index_batch *batch, const struct index_root *in, struct edits edits,
		 uint64_t count, struct index_root *out)
{
	struct radix_update up = {.batch = batch, .bytes = in->bytes};
	const struct pool_link *mark = batch->created;
	uint64_t word = 0;
	int err = 0;

	/* 1: done; 0: not by a short way. */
	if (edits.cut.n <= 1 && edits.put.n <= 1 && in->count > 0)
		err = radix_apply_one(&up, in, edits.cut.n ? edits.cut.at : NULL,
				      edits.put.n ? edits.put.at : NULL, &word);
	if (err == 0 && radix_keeps_shape(edits.cut, edits.put))
		err = radix_retarget(&up, in, edits.put, &word) ? -ENOMEM : 1;
	if (err == 0)
		err = update(&up, in, edits, &word);
	if (err < 0)
		return err;
	free_dead(&up, mark);
	out->word = word ? word : radix_empty_word();
	out->count = count;
	out->bytes = up.bytes;
	out->kind = INDEX_RADIX;
	out->ties = false;
	out->height = (uint8_t)word_height(word);
	return 0;
}

int radix_apply(struct index_batch *batch, const struct index_root *in,
		const struct index_edit *edits, size_t n, struct index_root *out)
{
	struct index_range small[2][4];
	struct edits ranges = {.cut.at = small[0], .put.at = small[1]};
	uint64_t count;
	int err;

	if (n > 4) {
		ranges.cut.at = RADIX_RESERVE(batch, cut, n);
		ranges.put.at = RADIX_RESERVE(batch, put, n);
		if (!ranges.cut.at || !ranges.put.at)
			return -ENOMEM;
	}
	err = look_up(in, edits, n, &ranges, &count);
	return err ? err : apply(batch, in, ranges, count, out);
}

int radix_replace(struct index_batch *batch, const struct index_root *in,
		  const struct index_swap *swap, struct index_root *out)
{
	struct edits edits = {
	    .cut = {swap->cut, swap->ncut},
	    .put = {swap->put, swap->nput},
	};

	return apply(batch, in, edits, in->count + swap->nput - swap->ncut, out);
}
