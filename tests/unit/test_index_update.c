/* SPDX-License-Identifier: MIT */
/*
 * Updates of the index: memory running out, which nodes they touch, and differences.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "index/index.h"
#include "index_fixture.h"
#include "naive_index.h"

#define SLAB 8192u /* what the pool takes from the system at a time */

/* ---- Memory running out -------------------------------------------------- */

/* A batch that inserts, replaces and removes all over a tree made by make_tree(). */
static struct index_edit *mixed_edits(size_t n, size_t tree, bool ties)
{
	struct index_edit *all = make_edits(tree, ties), *e = malloc(n * sizeof(*e));
	size_t i, at;

	assert_non_null(e);
	for (i = 0; i < n; i++) {
		at = i * tree / n;
		e[i] = all[at];
		if (i % 3 == 0)
			e[i].op = INDEX_REMOVE;
		else if (i % 3 == 1 && !ties)
			e[i] = put(at * 10 + 5, at * 10 + 6, 0, item(i));
		else
			e[i].entry.item = item(tree + i);
	}
	free(all);
	return e;
}

/* The size of nodes with room for so many groups of four. */
static size_t class_bytes(unsigned int groups, bool ties)
{
	return 24 + groups * 4 * (ties ? 32u : 24u);
}

/*
 * Take free nodes out of the pool until each class has exactly `left`, so that the next
 * one has to come from the system. Returns what was taken.
 */
static struct pool_link *drain(struct pool *pool, bool ties, uint64_t left)
{
	struct pool_link *taken = NULL, *node, *spare;
	uint64_t n, spared;
	unsigned int groups;
	size_t bytes;
	bool keep;

	for (groups = 1; groups <= 4; groups++) {
		bytes = class_bytes(groups, ties);
		spare = NULL;
		spared = 0;
		for (n = 0; pool->partial[bytes / 8] || spared < left; n++) {
			node = pool_alloc(pool, bytes);
			assert_non_null(node);
			/* One in eight is never spared: a slab that is wholly free would go. */
			keep = spared < left && n % 8 > 0;
			spared += keep;
			node->next = keep ? spare : taken;
			*(keep ? &spare : &taken) = node;
		}
		naive_free_list(pool, spare);
	}
	return taken;
}

struct oom_case {
	bool ties, persistent;
	size_t edits;
	uint64_t step; /* between the counts of nodes that are left */
	struct index_root root;
	struct naive_index naive;
	struct index_edit *batch;
};

/*
 * Apply the batch with `left` nodes of each class in the pool and the nth allocation from
 * the system failing. Returns whether it worked nevertheless.
 */
static bool try_apply(struct fixture *f, const struct oom_case *c, struct index_batch *batch,
		      uint64_t left, uint64_t nth)
{
	struct index_root out = {.count = 12345};
	struct pool_link *taken = drain(&f->pool, c->ties, left);
	uint64_t live = f->pool.live_bytes;
	int ret;

	alloc_fail_at(nth, c->persistent);
	ret = index_apply(batch, &c->root, c->batch, c->edits, &out);
	alloc_fail_at(0, 0);
	if (ret) {
		assert_int_equal(ret, -ENOMEM);
		assert_int_equal(out.count, 12345);
	} else {
		assert_null(index_check(&out));
	}
	/* The old tree is there whether it worked or not, and so is the way back. */
	assert_null(naive_compare(&c->naive, &c->root));
	index_batch_rollback(batch);
	assert_int_equal(f->pool.live_bytes, live);
	assert_null(pool_check(&f->pool));
	naive_free_list(&f->pool, taken);
	return ret == 0;
}

static void oom_case_run(struct fixture *f, struct oom_case *c)
{
	struct index_batch batch;
	uint64_t nth = 0, left = 0, slabs = f->pool.slab_bytes / SLAB, live = alloc_live() - slabs;
	bool done;

	do {
		index_batch_init(&batch, &f->pool, 9);
		done = try_apply(f, c, &batch, 0, ++nth);
		index_batch_fini(&batch);
		assert_int_equal(alloc_live() - f->pool.slab_bytes / SLAB, live);
	} while (!done);
	assert_true(nth > 1);
	/* A slab serves many nodes: also let the k-th node be the one there is none for. */
	index_batch_init(&batch, &f->pool, 9);
	assert_true(try_apply(f, c, &batch, left, 0)); /* makes the batch's scratch memory */
	c->persistent = true;
	while (!try_apply(f, c, &batch, left, 1))
		left += c->step;
	assert_true(left > 0);
	index_batch_fini(&batch);
}

static void test_out_of_memory_at_every_allocation(void **state)
{
	static const size_t edits[] = {1, 1, 64, 5000}, steps[] = {1, 1, 1, 61};
	const size_t tree = 15000;
	struct fixture *f = *state;
	size_t k;

	for (k = 0; k < 16; k++) {
		struct oom_case c = {.ties = k / 4 % 2, .persistent = k / 8};
		struct index_edit *all = make_edits(tree, c.ties);

		c.edits = edits[k % 4];
		c.step = steps[k % 4];
		c.batch = mixed_edits(c.edits, tree, c.ties);
		c.root.ties = c.ties;
		/* One edit changes a leaf in place, the other one splits nodes up to the root. */
		if (k % 4 == 1)
			c.batch[0] = put(5, 6, c.ties, item(1));
		naive_init(&c.naive);
		assert_int_equal(naive_apply(&c.naive, c.ties, all, tree), 0);
		apply(f, &c.root, all, tree);
		oom_case_run(f, &c);
		naive_fini(&c.naive);
		drop_tree(f, &c.root);
		free(c.batch);
		free(all);
	}
}

static void test_out_of_memory_in_build(void **state)
{
	struct fixture *f = *state;
	struct index_edit *edits = make_edits(5000, false);
	struct index_root out = {.count = 12345};
	struct index_batch batch;
	struct naive_index naive;
	uint64_t nth = 0;
	int ret;

	naive_init(&naive);
	assert_int_equal(naive_apply(&naive, false, edits, 5000), 0);
	index_batch_init(&batch, &f->pool, 9);
	do {
		alloc_fail_at(++nth, 0);
		ret = index_build(&batch, naive.entry, 5000, false, &out);
		alloc_fail_at(0, 0);
		if (ret) {
			assert_int_equal(ret, -ENOMEM);
			assert_int_equal(out.count, 12345);
			index_batch_rollback(&batch);
			index_batch_fini(&batch);
			assert_int_equal(f->pool.live_bytes, 0);
		}
	} while (ret);
	assert_true(nth > 10);
	assert_null(naive_compare(&naive, &out));
	index_batch_rollback(&batch);
	index_batch_fini(&batch);
	naive_fini(&naive);
	free(edits);
}

/* ---- Cost --------------------------------------------------------------- */

static size_t length(const struct pool_link *list)
{
	size_t n = 0;

	for (; list; list = list->next)
		n++;
	return n;
}

/* Any single edit of 10,000 ranges that all overlap copies a path, not the tree. */
static void test_single_edit_touches_a_path(void **state)
{
	struct fixture *f = *state;
	struct index_root root = make_tree(f, 10000, true);
	size_t i, most = 0;

	for (i = 0; i < 20000; i++) {
		uint64_t at = naive_random(&f->rng) % 10000;
		struct index_edit e = put(at / 4 * 10, UINT64_MAX - i, at % 4, item(i));
		struct index_batch batch;
		size_t touched;

		if (index_get(&root, e.entry.start, e.entry.tie, NULL) && i % 2)
			e.op = INDEX_REMOVE;
		index_batch_init(&batch, &f->pool, i);
		assert_int_equal(index_apply(&batch, &root, &e, 1, &root), 0);
		touched = length(batch.created) + length(batch.retired);
		most = touched > most ? touched : most;
		naive_free_list(&f->pool, batch.retired);
		index_batch_fini(&batch);
	}
	assert_null(index_check(&root));
	/* At most five levels; each may copy two neighbours and split in two. */
	assert_in_range(most, 6, 20);
	drop_tree(f, &root);
}

static void test_rising_insertion_makes_a_dense_tree(void **state)
{
	struct fixture *f = *state;
	struct index_root one_by_one = {0}, at_once = make_tree(f, LARGEST, false);
	struct index_edit *e = make_edits(LARGEST, false);
	struct index_batch batch;
	size_t i;

	for (i = 0; i < LARGEST; i++) {
		index_batch_init(&batch, &f->pool, i);
		assert_int_equal(index_apply(&batch, &one_by_one, &e[i], 1, &one_by_one), 0);
		naive_free_list(&f->pool, batch.retired);
		index_batch_fini(&batch);
	}
	assert_null(index_check(&one_by_one));
	assert_in_range(one_by_one.bytes, LARGEST, LARGEST * 28);
	assert_in_range(at_once.bytes, LARGEST, LARGEST * 28);
	drop_tree(f, &one_by_one);
	drop_tree(f, &at_once);
	free(e);
}

/* Thin a big tree out, then cut ranges from it: inner nodes meet and must be joined. */
static void test_cut_ranges_join_inner_nodes(void **state)
{
	struct fixture *f = *state;
	size_t n = LARGEST, i, round, made;
	struct index_edit *e = make_edits(n, false), *cut = malloc(n * sizeof(*cut));
	struct index_root root = make_tree(f, n, false);
	struct naive_index naive;

	assert_non_null(cut);
	naive_init(&naive);
	assert_int_equal(naive_apply(&naive, false, e, n), 0);
	for (round = 0; root.count > 0; round++) {
		size_t from = naive_random(&f->rng) % naive.n, len = 1 + naive.n / 9;
		bool thin = round < 3;

		made = 0;
		for (i = thin ? 0 : from; i < naive.n && (thin || i < from + len); i++)
			if (!thin || naive_random(&f->rng) % 8 < 3)
				cut[made++] = removal(naive.entry[i].start, 0);
		assert_int_equal(naive_apply(&naive, false, cut, made), 0);
		apply(f, &root, cut, made);
		assert_null(naive_compare(&naive, &root));
	}
	assert_null(root.node);
	assert_int_equal(f->pool.live_bytes, 0);
	naive_fini(&naive);
	free(cut);
	free(e);
}

static void test_one_batch_serves_several_trees(void **state)
{
	struct fixture *f = *state;
	struct index_root a = make_tree(f, 100, false), b = make_tree(f, 1000, true), a2, b2;
	struct index_edit ea = put(5, 6, 0, item(1)), eb = removal(10, 2);
	struct node_set before = {0}, after = {0}, created = {0}, retired = {0};
	struct index_batch batch;

	node_set_add_tree(&before, &a);
	node_set_add_tree(&before, &b);
	index_batch_init(&batch, &f->pool, 9);
	assert_int_equal(index_apply(&batch, &a, &ea, 1, &a2), 0);
	assert_int_equal(index_apply(&batch, &b, &eb, 1, &b2), 0);
	assert_int_equal(batch.created->birth, 9);
	assert_int_equal(batch.retired->birth, 7);
	node_set_add_list(&created, batch.created);
	node_set_add_list(&retired, batch.retired);
	naive_free_list(&f->pool, batch.retired);
	node_set_add_tree(&after, &a2);
	node_set_add_tree(&after, &b2);
	assert_true(node_set_accounts(&before, &retired, &created, &after));
	assert_int_equal(f->pool.live_bytes, a2.bytes + b2.bytes);
	index_batch_fini(&batch);
	node_set_fini(&before);
	node_set_fini(&after);
	node_set_fini(&created);
	node_set_fini(&retired);
	drop_tree(f, &a2);
	drop_tree(f, &b2);
}

/* ---- Difference --------------------------------------------------------- */

struct stopper {
	int after, calls;
};

static int stop_after(void *ctx, bool in_a, const struct index_entry *entry)
{
	struct stopper *s = ctx;

	(void)in_a;
	(void)entry;
	return ++s->calls == s->after ? -ECANCELED : 0;
}

static void test_diff_stops_when_told(void **state)
{
	struct fixture *f = *state;
	struct index_root a = make_tree(f, 50, false), b = make_tree(f, 0, false);
	struct stopper s = {.after = 7};
	struct index_edit e;

	assert_int_equal(index_diff(&a, &b, stop_after, &s), -ECANCELED);
	assert_int_equal(s.calls, 7);
	s = (struct stopper){.after = 8};
	assert_int_equal(index_diff(&b, &a, stop_after, &s), -ECANCELED);
	assert_int_equal(s.calls, 8);
	s = (struct stopper){.after = 51};
	assert_int_equal(index_diff(&a, &b, stop_after, &s), 0);
	assert_int_equal(s.calls, 50);
	/* Equal keys, another end: told once for each tree, and each may stop the walk. */
	b = make_tree(f, 50, false);
	e = put(0, 9, 0, item(0));
	apply(f, &b, &e, 1);
	s = (struct stopper){.after = 1};
	assert_int_equal(index_diff(&a, &b, stop_after, &s), -ECANCELED);
	s = (struct stopper){.after = 2};
	assert_int_equal(index_diff(&a, &b, stop_after, &s), -ECANCELED);
	s = (struct stopper){.after = 3};
	assert_int_equal(index_diff(&a, &b, stop_after, &s), 0);
	assert_int_equal(s.calls, 2);
	drop_tree(f, &a);
	drop_tree(f, &b);
}

/*
 * Shared nodes must not be entered: their insides are spoiled before the walk. What the
 * update touched is what the two trees do not share.
 */
static void test_diff_never_enters_shared_nodes(void **state)
{
	struct fixture *f = *state;
	struct index_root a = make_tree(f, 20000, false), b;
	struct naive_changes got = {0};
	struct node_set all = {0}, mine = {0};
	struct index_edit e[] = {put(55555, 55556, 0, item(1)), removal(120000, 0)};
	struct index_batch batch;
	size_t i, bytes;
	char *saved;

	node_set_add_tree(&all, &a);
	index_batch_init(&batch, &f->pool, 9);
	assert_int_equal(index_apply(&batch, &a, e, 2, &b), 0);
	node_set_add_list(&mine, batch.retired);
	saved = malloc(all.n * POOL_MAX_BYTES);
	assert_non_null(saved);
	for (i = 0; i < all.n; i++) {
		bytes = pool_node_bytes(all.node[i]);
		memcpy(saved + i * POOL_MAX_BYTES, all.node[i], bytes);
		if (!bsearch(&all.node[i], mine.node, mine.n, sizeof(*mine.node), naive_by_address))
			memset(all.node[i], 0xa5, bytes);
	}
	assert_int_equal(index_diff(&a, &b, naive_collect_change, &got), 0);
	assert_int_equal(got.n, 2);
	assert_false(got.change[0].in_a);
	assert_int_equal(got.change[0].entry.start, 55555);
	assert_true(got.change[1].in_a);
	assert_int_equal(got.change[1].entry.start, 120000);
	for (i = 0; i < all.n; i++)
		memcpy(all.node[i], saved + i * POOL_MAX_BYTES, pool_node_bytes(all.node[i]));
	assert_null(index_check(&a));
	naive_free_list(&f->pool, batch.retired);
	index_batch_fini(&batch);
	naive_changes_fini(&got);
	node_set_fini(&all);
	node_set_fini(&mine);
	free(saved);
	drop_tree(f, &b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(test_out_of_memory_at_every_allocation),
	    CASE(test_out_of_memory_in_build),
	    CASE(test_single_edit_touches_a_path),
	    CASE(test_rising_insertion_makes_a_dense_tree),
	    CASE(test_cut_ranges_join_inner_nodes),
	    CASE(test_one_batch_serves_several_trees),
	    CASE(test_diff_stops_when_told),
	    CASE(test_diff_never_enters_shared_nodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
