/* SPDX-License-Identifier: MIT */
/*
 * The radix index on its own: what its checker names, how windows and heights come about,
 * what it costs in memory and in nodes; and what ranges.h keeps apart.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "index/radix/node.h"
#include "index/ranges.h"
#include "index_fixture.h"
#include "naive_index.h"

static struct index_root radix_root(void)
{
	struct index_root root;

	index_root_init(&root, INDEX_RADIX, false);
	return root;
}

/* Apply edits and free what is retired; returns how many nodes were made. */
static size_t edit(struct fixture *f, struct index_root *root, const struct index_edit *edits,
		   size_t n)
{
	static uint64_t birth;
	struct index_batch batch;
	struct pool_link *link;
	size_t made = 0;

	index_batch_init(&batch, &f->pool, ++birth);
	assert_int_equal(index_apply(&batch, root, edits, n, root), 0);
	for (link = batch.created; link; link = link->next)
		made++;
	nindex_free_list(&f->pool, batch.retired);
	index_batch_fini(&batch);
	return made;
}

static size_t put_one(struct fixture *f, struct index_root *root, uint64_t start, uint64_t end)
{
	struct index_edit e = put(start, end, 0, item(start % 100000));

	return edit(f, root, &e, 1);
}

static size_t remove_one(struct fixture *f, struct index_root *root, uint64_t start)
{
	struct index_edit e = removal(start, 0);

	return edit(f, root, &e, 1);
}

static void drop(struct fixture *f, struct index_root *root)
{
	struct pool_link *list = NULL;

	assert_null(index_check(root));
	index_collect(root, &list);
	nindex_free_list(&f->pool, list);
	*root = radix_root();
	assert_int_equal(f->pool.live_bytes, 0);
}

static struct index_root make_radix(struct fixture *f, size_t n)
{
	struct index_root root = radix_root();
	struct index_edit *edits = make_edits(n, false);

	edit(f, &root, edits, n);
	assert_null(index_check(&root));
	free(edits);
	return root;
}

/* ---- The checker ---------------------------------------------------------- */

static void expect(const struct index_root *root, const char *name)
{
	const char *why = index_check(root);

	if (!why || !strstr(why, name))
		fail_msg("expected %s, got %s", name, why ? why : "nothing");
}

static void spoil(const struct index_root *root, uint64_t *word, uint64_t bad, const char *name)
{
	uint64_t good = *word;

	*word = bad;
	expect(root, name);
	*word = good;
	assert_null(index_check(root));
}

static void spoil_byte(const struct index_root *root, uint8_t *byte, uint8_t bad, const char *name)
{
	uint8_t good = *byte;

	*byte = bad;
	expect(root, name);
	*byte = good;
	assert_null(index_check(root));
}

/* The first leaf below a word that is not full, and whose first range starts above 0. */
static struct radix_leaf *some_leaf(struct radix_dir *dir, unsigned int *slot)
{
	for (*slot = 1; *slot < dir_slots(dir); ++*slot)
		if (!word_is_dir(dir_get(dir, *slot)) &&
		    word_leaf(dir_get(dir, *slot))->count % 4 != 0 &&
		    dir_get(dir, *slot) != dir_get(dir, 0))
			return word_leaf(dir_get(dir, *slot));
	fail_msg("no leaf with padding");
	return NULL;
}

static void test_check_names_each_broken_invariant(void **state)
{
	struct fixture *f = *state;
	struct index_root root = make_radix(f, 500);
	struct radix_dir *dir = word_dir(root.word);
	unsigned int slot, i;
	struct radix_leaf *leaf = some_leaf(dir, &slot);

	assert_int_equal(root.height, 1);
	spoil(&root, &leaf->start[1], leaf->start[0], "R2");
	spoil(&root, &leaf->start[1], leaf->pair[0].end - 1, "R2");
	spoil(&root, &leaf->pair[0].end, leaf->start[0], "R2");
	spoil(&root, &leaf->start[leaf->count], 5, "R2 what is behind");
	spoil(&root, &leaf->pair[leaf->count].end, 5, "R2 what is behind");
	spoil_byte(&root, &leaf->count, 0, "R2");
	spoil_byte(&root, &leaf->count, 17, "R2");
	spoil_byte(&root, &leaf->room, 20, "R2");
	spoil_byte(&root, &leaf->dead, 1, "unfinished");
	spoil(&root, &leaf->self, leaf->self + 64, "itself");
	/* The first range moved beyond its neighbour's end, and one that reaches too far. */
	spoil(&root, &leaf->start[leaf->count - 1], leaf->start[leaf->count - 1] - 1, "R1");
	spoil(&root, &leaf->pair[0].end, LARGEST * 10, "R1");
	spoil(&root, &dir->lo, dir->lo + dir_slots(dir), "R");
	spoil_byte(&root, &dir->shift, (uint8_t)(dir->shift - 1), "differs from its directory");
	spoil_byte(&root, &dir->dead, 1, "differs from its directory");
	spoil_byte(&root, &dir->height, 0, "R5");
	spoil_byte(&root, &dir->height, 2, "R5 the root");
	spoil_byte(&root, &root.height, 2, "R5 the root");
	spoil(&root, dir_word(dir, slot), 0, "R4");
	spoil(&root, &root.count, root.count + 1, "R6");
	spoil(&root, &root.bytes, root.bytes + 64, "R6");
	for (i = 0; i < dir_slots(dir); i++)
		assert_int_not_equal(dir_get(dir, i), 0);
	drop(f, &root);
}

/* A window that does not hold its ranges, and a directory with one run: made by hand. */
static void test_check_sees_windows_and_lone_runs(void **state)
{
	struct fixture *f = *state;
	struct index_root root = make_radix(f, 100);
	struct radix_dir *dir = word_dir(root.word);
	uint64_t saved[1u << RADIX_BITS_MAX], word = root.word;
	unsigned int i;

	memcpy(saved, dir->word, sizeof(uint64_t) << dir->bits);
	for (i = 0; i < dir_slots(dir); i++)
		dir->word[i] = dir_get(dir, 0);
	expect(&root, "R4 a directory with one run");
	memcpy(dir->word, saved, sizeof(uint64_t) << dir->bits);
	/* Slots half as wide: the upper half of all ranges lies outside. */
	dir->shift--;
	root.word = word_of_dir(dir);
	expect(&root, "R3");
	dir->shift++;
	root.word = word;
	drop(f, &root);
}

/* ---- Shapes ---------------------------------------------------------------- */

static void test_heights_and_windows(void **state)
{
	struct fixture *f = *state;
	struct index_root root = make_radix(f, RADIX_LEAF_MAX);
	const struct radix_dir *dir;

	assert_int_equal(root.height, 0);
	assert_false(word_is_dir(root.word));
	put_one(f, &root, 1000, 1010);
	assert_int_equal(root.height, 1);
	/* An outlier far above: the directory becomes a child; without it, the root again. */
	put_one(f, &root, UINT64_C(1) << 40, (UINT64_C(1) << 40) + 1);
	assert_int_equal(root.height, 2);
	dir = word_dir(root.word);
	assert_true(dir_key(dir, 0) == 0);
	assert_true(dir_key(dir, dir_slots(dir)) > UINT64_C(1) << 40);
	remove_one(f, &root, UINT64_C(1) << 40);
	assert_int_equal(root.height, 1);
	assert_null(index_check(&root));
	drop(f, &root);
	/* What lies evenly needs two levels at most. */
	root = make_radix(f, 4096);
	assert_in_range(root.height, 1, 2);
	drop(f, &root);
	root = make_radix(f, LARGEST);
	assert_in_range(root.height, 2, 2);
	drop(f, &root);
}

/* Ranges at each power of two, with heaps: the path is no longer than the key. */
static void test_depth_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct index_root root = radix_root();
	unsigned int power, i, most = 0;

	/* Windows nested in each other: from the smallest to the largest and back. */
	for (power = 0; power < 2 * 57; power++) {
		uint64_t base = UINT64_C(1) << (5 + (power < 57 ? power : 113 - power));

		for (i = 0; i < 20; i++)
			put_one(f, &root, base + i + (power < 57 ? 0 : base >> 1),
				base + i + (power < 57 ? 0 : base >> 1) + 1);
		most = root.height > most ? root.height : most;
	}
	assert_null(index_check(&root));
	assert_in_range(most, 5, RADIX_DEPTH / 2);
	drop(f, &root);
}

/* ---- Memory ----------------------------------------------------------------- */

/* n ranges, sorted, of random length in random places. */
static struct index_edit *random_edits(struct fixture *f, size_t n)
{
	struct index_edit *e = malloc((n + 1) * sizeof(*e));
	uint64_t at = 0, len;
	size_t i;

	assert_non_null(e);
	for (i = 0; i < n; i++) {
		at += nindex_random(&f->rng) % (i % 16 ? 1000 : 40000);
		len = 1 + nindex_random(&f->rng) % 1000;
		e[i] = put(at, at + len, 0, item(i));
		at += len;
	}
	return e;
}

static void test_bytes_for_each_entry(void **state)
{
	struct fixture *f = *state;
	struct index_edit *e = random_edits(f, LARGEST);
	struct index_root at_once = radix_root(), one_by_one = radix_root();
	size_t i;

	edit(f, &at_once, e, LARGEST);
	assert_in_range(at_once.bytes, LARGEST * 16, LARGEST * 45);
	shuffle(f, e, LARGEST);
	for (i = 0; i < LARGEST; i++)
		edit(f, &one_by_one, &e[i], 1);
	assert_null(index_check(&one_by_one));
	assert_in_range(one_by_one.bytes, LARGEST * 16, LARGEST * 45);
	print_message("bytes an entry: %.1f at once, %.1f one by one\n",
		      (double)at_once.bytes / LARGEST, (double)one_by_one.bytes / LARGEST);
	assert_int_equal(f->pool.live_bytes, at_once.bytes + one_by_one.bytes);
	free(e);
	drop_tree(f, &at_once);
	drop(f, &one_by_one);
}

/* Keys as dense as can be, such as ids: a run of 2^k slots is full or empty. */
static void test_bytes_for_each_dense_entry(void **state)
{
	static const size_t sizes[] = {30, 509, 4096, LARGEST};
	struct fixture *f = *state;
	size_t i, k, n;

	for (k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
		struct index_root root = radix_root();
		struct index_edit *e;

		n = sizes[k];
		e = malloc(n * sizeof(*e));
		assert_non_null(e);
		for (i = 0; i < n; i++)
			e[i] = put(i, i + 1, 0, item(i));
		shuffle(f, e, n);
		for (i = 0; i < n; i++)
			edit(f, &root, &e[i], 1);
		assert_null(index_check(&root));
		print_message("%zu: %.1f bytes an entry\n", n, (double)root.bytes / (double)n);
		assert_in_range(root.bytes, n * 16, n * 45);
		free(e);
		drop(f, &root);
	}
}

/*
 * Of 4096 even ranges every 16th stays, the others go one by one: leaves join and what is
 * left costs in proportion, but for directories, which keep their slots. Ranges of length 1
 * cross no border of leaves, ranges that touch do.
 */
static void bytes_when_most_have_gone(struct fixture *f, uint64_t len)
{
	struct index_root root = radix_root(), at_once = radix_root();
	struct index_edit *e = malloc(4096 * sizeof(*e));
	size_t i;

	assert_non_null(e);
	for (i = 0; i < 4096; i++)
		e[i] = put(i * 10, i * 10 + len, 0, item(i));
	edit(f, &root, e, 4096);
	for (i = 0; i < 4096; i++)
		if (i % 16)
			remove_one(f, &root, i * 10);
		else
			e[i / 16] = put(i * 10, i * 10 + len, 0, item(i));
	edit(f, &at_once, e, 256);
	free(e);
	assert_int_equal(root.count, 256);
	assert_null(index_check(&root));
	print_message("%.1f bytes an entry, %.1f built at once\n", (double)root.bytes / 256,
		      (double)at_once.bytes / 256);
	assert_in_range(root.bytes, 256 * 16, at_once.bytes * 3 / 2);
	drop_tree(f, &at_once);
	drop_tree(f, &root);
}

static void test_bytes_when_most_have_gone(void **state)
{
	bytes_when_most_have_gone(*state, 10);
	bytes_when_most_have_gone(*state, 1);
}

/* ---- Cost -------------------------------------------------------------------- */

struct cost {
	size_t rebuilds, most; /* edits that made more than MANY nodes; the most of the others */
	uint64_t nodes;
};

#define MANY 24u

static void note(struct cost *cost, size_t made)
{
	cost->nodes += made;
	if (made > MANY)
		cost->rebuilds++;
	else if (made > cost->most)
		cost->most = made;
}

/* Growing to 32764 by single edits and back: no more than four dear ones a doubling, in any order.
 */
static void test_single_edits_seldom_rebuild(void **state)
{
	static const char *const orders[] = {"rising", "falling", "random"};
	struct fixture *f = *state;
	struct index_edit *e = random_edits(f, LARGEST);
	size_t i, order;

	for (order = 0; order < 3; order++) {
		struct index_root root = radix_root();
		struct cost grow = {0}, fall = {0};

		if (order == 2)
			shuffle(f, e, LARGEST);
		for (i = 0; i < LARGEST; i++) {
			e[i].op = INDEX_PUT;
			note(&grow, edit(f, &root, &e[order == 1 ? LARGEST - 1 - i : i], 1));
			e[order == 1 ? LARGEST - 1 - i : i].op = INDEX_PUT;
		}
		assert_null(index_check(&root));
		for (i = 0; i < LARGEST; i++) {
			struct index_edit cut = removal(e[i].entry.start, 0);

			note(&fall, edit(f, &root, &cut, 1));
		}
		print_message("%s: %zu dear edits up, %zu down, others %zu and %zu nodes at most, "
			      "%.2f and %.2f a time\n",
			      orders[order], grow.rebuilds, fall.rebuilds, grow.most, fall.most,
			      (double)grow.nodes / LARGEST, (double)fall.nodes / LARGEST);
		assert_in_range(grow.rebuilds, 0, 4 * 15);
		assert_int_equal(fall.rebuilds, 0);
		assert_in_range(grow.nodes, LARGEST, LARGEST * 8);
		assert_in_range(fall.nodes, 1, LARGEST * 6);
		assert_int_equal(root.count, 0);
		assert_int_equal(f->pool.live_bytes, 0);
	}
	free(e);
}

/*
 * One range that comes and goes, above and below all others by turns, where neither window
 * holds the other place and neither is far enough for the old directory to be a child.
 */
static void test_an_outlier_by_turns_does_not_rebuild_each_time(void **state)
{
	const uint64_t base = UINT64_C(1) << 40, width = UINT64_C(10) * LARGEST;
	struct fixture *f = *state;
	struct index_edit *e = make_edits(LARGEST, false);
	struct index_root root = radix_root();
	struct cost cost = {0};
	size_t i;

	for (i = 0; i < LARGEST; i++) {
		e[i].entry.start += base;
		e[i].entry.end += base;
	}
	edit(f, &root, e, LARGEST);
	for (i = 0; i < 100; i++) {
		uint64_t at = i % 2 ? base + width + width / 2 : base - width / 2;

		note(&cost, put_one(f, &root, at, at + 1));
		note(&cost, remove_one(f, &root, at));
	}
	print_message("%zu dear edits of 200\n", cost.rebuilds);
	assert_in_range(cost.rebuilds, 0, 10);
	assert_null(index_check(&root));
	drop(f, &root);
	free(e);
}

/* ---- Ranges that may overlap --------------------------------------------------- */

static uint64_t tie_of(const void *what)
{
	return (uintptr_t)what / 8;
}

static void edit_ranges(struct fixture *f, struct index_ranges *ranges, struct index_edit e)
{
	static uint64_t birth = UINT64_C(1) << 32;
	struct index_batch batch;

	index_batch_init(&batch, &f->pool, ++birth);
	assert_int_equal(index_ranges_apply(&batch, ranges, &e, 1, ranges), 0);
	nindex_free_list(&f->pool, batch.retired);
	index_batch_fini(&batch);
	assert_null(index_ranges_check(ranges));
}

static void drop_ranges(struct fixture *f, struct index_ranges *ranges)
{
	struct pool_link *list = NULL;

	index_collect(&ranges->apart, &list);
	index_collect(&ranges->rest, &list);
	nindex_free_list(&f->pool, list);
	assert_int_equal(f->pool.live_bytes, 0);
}

/* An alias goes to the rest, and comes apart when what it overlapped goes. */
static void test_ranges_move_apart(void **state)
{
	struct fixture *f = *state;
	struct index_ranges ranges;
	uint64_t i;

	index_ranges_init(&ranges, INDEX_RADIX, tie_of);
	for (i = 1; i <= 100; i++)
		edit_ranges(f, &ranges, put(i * 10, i * 10 + 10, i, (void *)(uintptr_t)(8 * i)));
	assert_int_equal(ranges.rest.count, 0);
	for (i = 101; i <= 200; i++)
		edit_ranges(
		    f, &ranges,
		    put((i - 100) * 10, (i - 100) * 10 + 10, i, (void *)(uintptr_t)(8 * i)));
	assert_int_equal(ranges.rest.count, 100);
	for (i = 1; i <= 100; i++) {
		edit_ranges(f, &ranges, removal(i * 10, i));
		assert_int_equal(ranges.rest.count, 100 - i);
		assert_int_equal(ranges.apart.count, 100);
	}
	drop_ranges(f, &ranges);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(test_check_names_each_broken_invariant),
	    CASE(test_check_sees_windows_and_lone_runs),
	    CASE(test_heights_and_windows),
	    CASE(test_depth_is_bounded),
	    CASE(test_bytes_for_each_entry),
	    CASE(test_bytes_for_each_dense_entry),
	    CASE(test_bytes_when_most_have_gone),
	    CASE(test_single_edits_seldom_rebuild),
	    CASE(test_an_outlier_by_turns_does_not_rebuild_each_time),
	    CASE(test_ranges_move_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
