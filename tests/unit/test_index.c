/* SPDX-License-Identifier: MIT */
/*
 * The index: each function's successes, errors and borders, and the checker.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "index/index.h"
#include "index/tree/node.h"
#include "index_fixture.h"
#include "naive_index.h"

static const size_t sizes[] = {0, 1, 15, 16, 17, 255, 256, 257, 4096, LARGEST};
#define NSIZES (sizeof(sizes) / sizeof(sizes[0]))

/* ---- Sizes -------------------------------------------------------------- */

static void check_disjoint_lookups(const struct index_root *root, size_t n)
{
	struct index_entry e;
	uint64_t i;

	for (i = 0; i < n; i++) {
		assert_ptr_equal(index_find(root, i * 10), item(i));
		assert_ptr_equal(index_find(root, i * 10 + 9), item(i));
		assert_true(index_get(root, i * 10, 0, &e));
		assert_ptr_equal(e.item, item(i));
		assert_false(index_get(root, i * 10 + 1, 0, NULL));
		assert_true(index_below(root, i * 10 + 9, &e));
		assert_int_equal(e.start, i * 10);
		assert_true(index_above(root, i * 10, &e));
		assert_int_equal(e.start, i * 10);
		assert_int_equal(index_above(root, i * 10 + 1, &e), i + 1 < n);
		assert_true(index_first_overlap(root, i * 10 + 9, i * 10 + 11, &e));
		assert_int_equal(e.start, i * 10);
	}
	assert_null(index_find(root, n * 10));
	assert_null(index_find(root, UINT64_MAX));
	assert_false(index_first_overlap(root, n * 10, UINT64_MAX, NULL));
}

static void test_lookups_at_every_size(void **state)
{
	struct fixture *f = *state;
	size_t k;

	for (k = 0; k < NSIZES; k++) {
		struct index_root root = make_tree(f, sizes[k], false);

		assert_int_equal(root.count, sizes[k]);
		check_disjoint_lookups(&root, sizes[k]);
		drop_tree(f, &root);
		assert_int_equal(f->pool.live_bytes, 0);
	}
}

/* Built at once, in one batch, one by one upwards, downwards and at random: the same content. */
static void test_one_by_one_and_at_once_agree_at_every_size(void **state)
{
	struct fixture *f = *state;
	struct naive_index naive;
	struct index_batch batch;
	size_t k, i, ties, order;

	for (k = 0; k < 2 * (NSIZES - 1); k++) {
		size_t n = sizes[k / 2];
		struct index_edit *e;
		struct index_root root;

		ties = k % 2;
		e = make_edits(n, ties);
		nindex_init(&naive);
		assert_int_equal(nindex_apply(&naive, ties, e, n), 0);
		index_batch_init(&batch, &f->pool, 7);
		index_root_init(&root, INDEX_TREE, ties);
		assert_int_equal(index_apply(&batch, &root, e, n, &root), 0);
		assert_null(nindex_compare(&naive, &root));
		index_batch_rollback(&batch);
		index_batch_fini(&batch);
		for (order = 0; order < 3; order++) {
			root = (struct index_root){.ties = ties};
			if (order == 2)
				shuffle(f, e, n);
			for (i = 0; i < n; i++)
				apply(f, &root, &e[order == 1 ? n - 1 - i : i], 1);
			assert_null(nindex_compare(&naive, &root));
			shuffle(f, e, n);
			for (i = 0; i < n; i++) {
				e[i].op = INDEX_REMOVE;
				apply(f, &root, &e[i], 1);
			}
			assert_null(root.node);
			assert_int_equal(f->pool.live_bytes, 0);
			free(e);
			e = make_edits(n, ties);
		}
		free(e);
		nindex_fini(&naive);
	}
}

static void test_whole_tree_replaced_and_removed_in_one_batch(void **state)
{
	struct fixture *f = *state;
	size_t k, i;

	for (k = 0; k < 2 * NSIZES; k++) {
		size_t n = sizes[k / 2];
		struct index_root root = make_tree(f, n, k % 2);
		struct index_edit *e = make_edits(n, k % 2);
		struct index_entry got;

		for (i = 0; i < n; i++)
			e[i].entry.item = item(n + i);
		apply(f, &root, e, n);
		assert_int_equal(root.count, n);
		for (i = 0; i < n; i++) {
			assert_true(index_get(&root, e[i].entry.start, e[i].entry.tie, &got));
			assert_ptr_equal(got.item, item(n + i));
			e[i].op = INDEX_REMOVE;
		}
		apply(f, &root, e, n);
		assert_null(root.node);
		assert_int_equal(root.count, 0);
		assert_int_equal(root.bytes, 0);
		assert_int_equal(f->pool.live_bytes, 0);
		free(e);
	}
}

/* ---- Borders ------------------------------------------------------------ */

static void test_empty_tree_has_nothing(void **state)
{
	struct index_root root = {0};
	struct index_cursor cur;
	struct pool_link *list = NULL;

	(void)state;
	assert_null(index_find(&root, 0));
	assert_false(index_get(&root, 0, 0, NULL));
	assert_false(index_below(&root, UINT64_MAX, NULL));
	assert_false(index_above(&root, 0, NULL));
	assert_false(index_first_overlap(&root, 0, UINT64_MAX, NULL));
	index_cursor_init(&cur, &root, 0, UINT64_MAX);
	assert_false(index_cursor_next(&cur, NULL));
	index_collect(&root, &list);
	assert_null(list);
	assert_null(index_check(&root));
	assert_int_equal(index_diff(&root, &root, nindex_collect_change, NULL), 0);
}

static void test_first_and_last_possible_key(void **state)
{
	struct fixture *f = *state;
	struct index_root root = {0};
	struct index_edit e[] = {put(0, 1, 0, item(1)), put(TOP, UINT64_MAX, 0, item(2))};
	struct index_entry got;

	apply(f, &root, e, 2);
	assert_ptr_equal(index_find(&root, 0), item(1));
	assert_null(index_find(&root, 1));
	assert_null(index_find(&root, TOP - 1));
	assert_ptr_equal(index_find(&root, TOP), item(2));
	assert_null(index_find(&root, UINT64_MAX));
	assert_true(index_get(&root, TOP, 0, &got));
	assert_false(index_get(&root, UINT64_MAX, 0, &got));
	assert_true(index_below(&root, UINT64_MAX, &got));
	assert_int_equal(got.start, TOP);
	assert_true(index_below(&root, TOP - 1, &got));
	assert_int_equal(got.start, 0);
	assert_true(index_above(&root, 1, &got));
	assert_int_equal(got.start, TOP);
	assert_true(index_above(&root, TOP, &got));
	assert_false(index_above(&root, UINT64_MAX, &got));
	assert_true(index_first_overlap(&root, TOP, UINT64_MAX, &got));
	assert_false(index_first_overlap(&root, 1, TOP, &got));
	drop_tree(f, &root);
}

static void test_one_range_over_everything(void **state)
{
	struct fixture *f = *state;
	struct index_root root = {0};
	struct index_edit e = put(0, UINT64_MAX, 0, item(1));

	apply(f, &root, &e, 1);
	assert_ptr_equal(index_find(&root, 0), item(1));
	assert_ptr_equal(index_find(&root, TOP), item(1));
	assert_null(index_find(&root, UINT64_MAX));
	drop_tree(f, &root);
}

static void test_touching_ranges_do_not_overlap(void **state)
{
	struct fixture *f = *state;
	struct index_root root = make_tree(f, 100, false);
	struct index_cursor cur;
	struct index_entry e;

	index_cursor_init(&cur, &root, 500, 510);
	assert_true(index_cursor_next(&cur, &e));
	assert_int_equal(e.start, 500);
	assert_false(index_cursor_next(&cur, &e));
	assert_false(index_cursor_next(&cur, &e));
	index_cursor_init(&cur, &root, 499, 511);
	assert_true(index_cursor_next(&cur, &e));
	assert_int_equal(e.start, 490);
	assert_true(index_cursor_next(&cur, NULL));
	assert_true(index_cursor_next(&cur, &e));
	assert_int_equal(e.start, 510);
	assert_false(index_cursor_next(&cur, &e));
	drop_tree(f, &root);
}

static void test_empty_and_inverted_ranges_overlap_nothing(void **state)
{
	struct fixture *f = *state;
	struct index_root root = make_tree(f, 100, false);

	assert_false(index_first_overlap(&root, 505, 505, NULL));
	assert_false(index_first_overlap(&root, 505, 500, NULL));
	assert_false(index_first_overlap(&root, UINT64_MAX, 0, NULL));
	drop_tree(f, &root);
}

/* A long range at the front and a query far behind: the ranges between are no obstacle. */
static void test_overlap_found_behind_many_short_ranges(void **state)
{
	struct fixture *f = *state;
	struct index_root root = make_tree(f, 0, true);
	struct index_entry got;
	struct index_cursor cur;
	struct index_edit e;
	uint64_t i;

	for (i = 0; i < 1000; i++) {
		e = put(i * 10, i == 3 ? UINT64_MAX : i * 10 + 1, 5, item(i));
		apply(f, &root, &e, 1);
	}
	index_cursor_init(&cur, &root, 5005, 5021);
	assert_true(index_cursor_next(&cur, &got));
	assert_int_equal(got.start, 30);
	assert_true(index_cursor_next(&cur, &got));
	assert_int_equal(got.start, 5010);
	assert_true(index_cursor_next(&cur, &got));
	assert_int_equal(got.start, 5020);
	assert_false(index_cursor_next(&cur, &got));
	e = removal(30, 5);
	apply(f, &root, &e, 1);
	assert_false(index_first_overlap(&root, 5002, 5009, &got));
	drop_tree(f, &root);
}

static void test_ties_order_equal_starts(void **state)
{
	struct fixture *f = *state;
	struct index_root root = {.ties = true};
	struct index_entry got;
	struct index_edit e;
	uint64_t i;

	for (i = 0; i < 100; i++) {
		e = put(50, 51 + i, i * 2, item(i));
		apply(f, &root, &e, 1);
	}
	e = put(50, 60, UINT64_MAX, item(500));
	apply(f, &root, &e, 1);
	assert_true(index_get(&root, 50, 42, &got));
	assert_ptr_equal(got.item, item(21));
	assert_false(index_get(&root, 50, 43, &got));
	assert_true(index_below(&root, 50, &got));
	assert_int_equal(got.tie, UINT64_MAX);
	assert_true(index_above(&root, 50, &got));
	assert_int_equal(got.tie, 0);
	assert_false(index_above(&root, 51, &got));
	assert_false(index_below(&root, 49, &got));
	drop_tree(f, &root);
}

/* ---- Errors ------------------------------------------------------------- */

static void refuse(struct fixture *f, const struct index_root *root, const struct index_edit *edits,
		   size_t n)
{
	struct index_root out = {.count = 12345};
	struct index_batch batch;
	uint64_t live = f->pool.live_bytes;

	index_batch_init(&batch, &f->pool, 7);
	assert_int_equal(index_apply(&batch, root, edits, n, &out), -EINVAL);
	assert_int_equal(out.count, 12345);
	index_batch_rollback(&batch);
	assert_null(batch.created);
	assert_null(batch.retired);
	index_batch_fini(&batch);
	assert_int_equal(f->pool.live_bytes, live);
	assert_null(index_check(root));
}

static void test_bad_batches_are_refused(void **state)
{
	struct fixture *f = *state;
	size_t k;

	for (k = 0; k < 3; k++) {
		size_t n = (const size_t[]){0, 16, 1000}[k];
		struct index_root root = make_tree(f, n, false), tied = make_tree(f, n, true);
		struct index_edit absent = removal(5, 0), tie = put(5, 6, 1, NULL);
		struct index_edit tie_removal = removal(0, 1), empty = put(5, 5, 0, NULL);
		struct index_edit inverted = put(6, 5, 0, NULL), last = put(UINT64_MAX, 0, 0, NULL);
		struct index_edit beyond = removal(UINT64_MAX, 0);
		struct index_edit same[] = {put(5, 6, 0, NULL), put(5, 7, 0, NULL)};
		struct index_edit falling[] = {put(7, 8, 0, NULL), put(5, 6, 0, NULL)};
		struct index_edit ties_fall[] = {put(5, 6, 9, NULL), put(5, 7, 8, NULL)};
		struct index_edit late[] = {put(5, 6, 0, NULL), removal(UINT64_MAX - 5, 0)};

		refuse(f, &root, &absent, 1);
		refuse(f, &root, &tie, 1);
		refuse(f, &root, &tie_removal, 1);
		refuse(f, &root, &empty, 1);
		refuse(f, &root, &inverted, 1);
		refuse(f, &root, &last, 1);
		refuse(f, &root, &beyond, 1);
		refuse(f, &root, same, 2);
		refuse(f, &root, falling, 2);
		refuse(f, &root, late, 2);
		refuse(f, &tied, ties_fall, 2);
		refuse(f, &tied, late, 2);
		refuse(f, &tied, &absent, 1);
		refuse(f, &tied, &beyond, 1);
		drop_tree(f, &root);
		drop_tree(f, &tied);
	}
}

static void test_empty_batch_copies_the_root(void **state)
{
	struct fixture *f = *state;
	struct index_root root = make_tree(f, 100, false), out = {0};
	struct index_batch batch;

	index_batch_init(&batch, &f->pool, 7);
	assert_int_equal(index_apply(&batch, &root, NULL, 0, &out), 0);
	assert_ptr_equal(out.node, root.node);
	assert_int_equal(out.count, root.count);
	assert_int_equal(out.bytes, root.bytes);
	assert_null(batch.created);
	assert_null(batch.retired);
	index_batch_fini(&batch);
	drop_tree(f, &root);
}

/* ---- The checker -------------------------------------------------------- */

/* Does index_check() name the invariant while *word is `bad`? */
static void spoil(const struct index_root *root, uint64_t *word, uint64_t bad, const char *name)
{
	uint64_t good = *word;
	const char *why;

	*word = bad;
	why = index_check(root);
	*word = good;
	if (!why || !strstr(why, name))
		fail_msg("expected %s, got %s", name, why ? why : "nothing");
	assert_null(index_check(root));
}

static void spoil_byte(const struct index_root *root, uint8_t *byte, uint8_t bad, const char *name)
{
	uint8_t good = *byte;
	const char *why;

	*byte = bad;
	why = index_check(root);
	*byte = good;
	if (!why || !strstr(why, name))
		fail_msg("expected %s, got %s", name, why ? why : "nothing");
	assert_null(index_check(root));
}

static void test_check_names_each_broken_invariant(void **state)
{
	struct fixture *f = *state;
	struct index_root root = make_tree(f, 1001, false);
	struct index_node *top = root.node, *inner = node_child(top, 1),
			  *leaf = node_child(inner, 1);
	struct index_node *last = top;

	assert_int_equal(leaf->level, 0);
	while (last->level > 0)
		last = node_child(last, last->count - 1u);
	assert_int_not_equal(last->count, last->cap); /* has padding */
	spoil_byte(&root, &leaf->level, 1, "I1");
	spoil(&root, &leaf->word[3], leaf->word[2], "I2");
	spoil(&root, &leaf->word[0], leaf->word[0] - 10, "I2");
	spoil(&root, &leaf->word[0], leaf->word[0] + 1, "I3");
	spoil(&root, &inner->word[1], inner->word[1] + 1, "I3");
	spoil(&root, &inner->word[inner->cap + 1u], 1, "I3");
	spoil(&root, &leaf->word[leaf->cap + 5u], leaf->word[5], "ends where it starts");
	spoil(&root, &leaf->word[leaf->cap + 15u], UINT64_MAX, "I3");
	spoil_byte(&root, &leaf->count, 0, "I4");
	spoil_byte(&root, &leaf->count, 17, "room");
	spoil_byte(&root, &leaf->cap, 12, "room");
	spoil_byte(&root, &leaf->ties, 1, "columns");
	spoil_byte(&root, &leaf->fresh, 1, "unfinished");
	spoil(&root, &last->word[last->count], 0, "padding");
	spoil(&root, &last->word[last->cap + last->count], 1, "padding");
	spoil(&root, &root.count, root.count + 1, "I5");
	spoil(&root, &root.bytes, root.bytes + 8, "I5");
	drop_tree(f, &root);
}

/* Nodes too small side by side, and a root with one child: made by hand. */
static void test_check_sees_trees_that_are_too_high(void **state)
{
	struct fixture *f = *state;
	struct index_root root = make_tree(f, 17, false);
	struct index_node *top = root.node, *a = node_child(top, 0), *b = node_child(top, 1);
	struct index_root high = {.node = top};
	uint8_t a_cap = a->cap, b_cap = b->cap;

	assert_int_equal(top->level, 1);
	assert_int_equal(top->count, 2);
	spoil_byte(&root, &top->count, 1, "I4 an inner root with one child");
	/* Shrink both children in place; columns move, so write them anew. */
	for (unsigned int k = 0; k < 2; k++) {
		struct index_node *n = k ? b : a;
		unsigned int i;

		n->count = 4;
		n->cap = 4;
		for (i = 0; i < 4; i++) {
			n->word[i] = k * 100 + i;
			n->word[4 + i] = k * 100 + i + 1;
			n->word[8 + i] = 8;
		}
		top->word[k] = k * 100;
		top->word[top->cap + k] = k * 100 + 4;
	}
	high.count = 8;
	assert_string_equal(index_check(&high), "index: I4 two neighbours should be one node");
	a->cap = a_cap;
	b->cap = b_cap;
	drop_tree(f, &root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(test_lookups_at_every_size),
	    CASE(test_one_by_one_and_at_once_agree_at_every_size),
	    CASE(test_whole_tree_replaced_and_removed_in_one_batch),
	    CASE(test_empty_tree_has_nothing),
	    CASE(test_first_and_last_possible_key),
	    CASE(test_one_range_over_everything),
	    CASE(test_touching_ranges_do_not_overlap),
	    CASE(test_empty_and_inverted_ranges_overlap_nothing),
	    CASE(test_overlap_found_behind_many_short_ranges),
	    CASE(test_ties_order_equal_starts),
	    CASE(test_bad_batches_are_refused),
	    CASE(test_empty_batch_copies_the_root),
	    CASE(test_check_names_each_broken_invariant),
	    CASE(test_check_sees_trees_that_are_too_high),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
