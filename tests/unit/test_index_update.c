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
#include "index/tree/node.h"
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

#define PLENTY 64u

/*
 * Take free nodes out of the pool until each class, or only the `scarce` one while the
 * others have plenty, has exactly `left`, so that the next one has to come from the
 * system. Returns what was taken.
 */
static struct pool_link *drain(struct pool *pool, bool ties, unsigned int scarce, uint64_t left)
{
	struct pool_link *taken = NULL, *node, *spare;
	uint64_t n, spared, want;
	unsigned int groups;
	size_t bytes;
	bool keep;

	for (groups = 1; groups <= 4; groups++) {
		bytes = class_bytes(groups, ties);
		want = scarce && groups != scarce ? PLENTY : left;
		spare = NULL;
		spared = 0;
		for (n = 0; pool->partial[bytes / 8] || pool->spare || spared < want; n++) {
			node = pool_alloc(pool, bytes);
			assert_non_null(node);
			/* One in eight is never spared: a slab that is wholly free would go. */
			keep = spared < want && n % 8 > 0;
			spared += keep;
			node->next = keep ? spare : taken;
			*(keep ? &spare : &taken) = node;
		}
		nindex_free_list(pool, spare);
	}
	return taken;
}

struct oom_case {
	bool ties, persistent;
	size_t edits;
	uint64_t step;       /* between the counts of nodes that are left */
	unsigned int scarce; /* the class that runs out, by groups of four; 0: all */
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
	struct pool_link *taken = drain(&f->pool, c->ties, c->scarce, left);
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
	assert_null(nindex_compare(&c->naive, &c->root));
	index_batch_rollback(batch);
	assert_int_equal(f->pool.live_bytes, live);
	assert_null(pool_check(&f->pool));
	nindex_free_list(&f->pool, taken);
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
		nindex_init(&c.naive);
		assert_int_equal(nindex_apply(&c.naive, c.ties, all, tree), 0);
		apply(f, &c.root, all, tree);
		oom_case_run(f, &c);
		nindex_fini(&c.naive);
		drop_tree(f, &c.root);
		free(c.batch);
		free(all);
	}
}

static void test_out_of_memory_in_a_first_batch(void **state)
{
	struct fixture *f = *state;
	struct index_edit *edits = make_edits(5000, false);
	struct index_root empty = {0}, out = {.count = 12345};
	struct index_batch batch;
	struct naive_index naive;
	uint64_t nth = 0;
	int ret;

	nindex_init(&naive);
	assert_int_equal(nindex_apply(&naive, false, edits, 5000), 0);
	index_batch_init(&batch, &f->pool, 9);
	do {
		alloc_fail_at(++nth, 0);
		ret = index_apply(&batch, &empty, edits, 5000, &out);
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
	assert_null(nindex_compare(&naive, &out));
	index_batch_rollback(&batch);
	index_batch_fini(&batch);
	nindex_fini(&naive);
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
		uint64_t at = nindex_random(&f->rng) % 10000;
		struct index_edit e = put(at / 4 * 10, UINT64_MAX - i, at % 4, item(i));
		struct index_batch batch;
		size_t touched;

		if (index_get(&root, e.entry.start, e.entry.tie, NULL) && i % 2)
			e.op = INDEX_REMOVE;
		index_batch_init(&batch, &f->pool, i);
		assert_int_equal(index_apply(&batch, &root, &e, 1, &root), 0);
		touched = length(batch.created) + length(batch.retired);
		most = touched > most ? touched : most;
		nindex_free_list(&f->pool, batch.retired);
		index_batch_fini(&batch);
	}
	assert_null(index_check(&root));
	/* At most five levels; each may copy two neighbours and split in two. */
	assert_in_range(most, 6, 20);
	drop_tree(f, &root);
}

/* Leaves of 16 and 10: single removals shrink one and then the other down to where they join. */
static void test_single_removals_join_either_neighbour(void **state)
{
	static const unsigned int from[][2] = {{0, 16}, {16, 0}};
	struct fixture *f = *state;

	for (unsigned int turn = 0; turn < 2; turn++) {
		struct index_root root = make_tree(f, 26, false);

		for (unsigned int leaf = 0; leaf < 2; leaf++) {
			const unsigned int first = from[turn][leaf], n = first ? 10 : 16;

			for (unsigned int i = 0; i + 5 < n; i++) {
				struct index_edit e = removal((first + i) * 10, 0);

				apply(f, &root, &e, 1);
			}
		}
		assert_int_equal(root.count, 10);
		drop_tree(f, &root);
	}
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
		nindex_free_list(&f->pool, batch.retired);
		index_batch_fini(&batch);
	}
	assert_null(index_check(&one_by_one));
	assert_in_range(one_by_one.bytes, LARGEST, LARGEST * 28);
	assert_in_range(at_once.bytes, LARGEST, LARGEST * 28);
	drop_tree(f, &one_by_one);
	drop_tree(f, &at_once);
	free(e);
}

/*
 * Removals, which take turns: three entries in eight all over; one range; ranges with
 * gaps. Between ranges a tree is left whose nodes differ much in size.
 */
static size_t make_cut(struct fixture *f, const struct naive_index *naive, size_t round,
		       struct index_edit *cut)
{
	uint64_t most = 1 + naive->n / (2 + nindex_random(&f->rng) % 60);
	size_t i, end, made = 0;

	if (round % 8 < 3) {
		for (i = 0; i < naive->n; i++)
			if (nindex_random(&f->rng) % 8 < 3)
				cut[made++] = removal(naive->entry[i].start, 0);
		return made;
	}
	for (i = nindex_random(&f->rng) % naive->n; i < naive->n;) {
		end = i + 1 + nindex_random(&f->rng) % most;
		for (; i < end && i < naive->n; i++)
			cut[made++] = removal(naive->entry[i].start, 0);
		if (round % 2)
			break;
		i += 1 + nindex_random(&f->rng) % (4 * most);
	}
	return made;
}

/* Cut while nodes run out at each place once, and then for good. */
static void cut_tree(struct fixture *f, struct index_root *root, struct naive_index *naive,
		     struct index_edit *cut, size_t n)
{
	struct oom_case c = {.persistent = true, .edits = n, .root = *root, .batch = cut};
	struct index_batch batch;
	uint64_t left;

	c.naive = *naive;
	index_batch_init(&batch, &f->pool, 9);
	assert_true(try_apply(f, &c, &batch, 0, 0));
	for (c.scarce = 1; n < PLENTY * 2 && c.scarce <= 4; c.scarce++)
		for (left = 0; !try_apply(f, &c, &batch, left, 1);)
			left++;
	index_batch_fini(&batch);
	assert_int_equal(nindex_apply(naive, false, cut, n), 0);
	apply(f, root, cut, n);
	assert_null(nindex_compare(naive, root));
}

/* Thin a big tree out, then cut ranges from it: inner nodes meet and must be joined. */
static void test_cut_ranges_join_inner_nodes(void **state)
{
	struct fixture *f = *state;
	struct index_edit *e = make_edits(LARGEST, false), *cut = malloc(LARGEST * sizeof(*cut));
	struct naive_index naive;
	size_t round, made;

	assert_non_null(cut);
	for (f->rng = 1; f->rng < 41; f->rng++) {
		struct index_root root = make_tree(f, LARGEST, false);
		uint64_t seed = f->rng;

		nindex_init(&naive);
		assert_int_equal(nindex_apply(&naive, false, e, LARGEST), 0);
		for (round = 0; root.count > 0; round++) {
			made = make_cut(f, &naive, round, cut);
			cut_tree(f, &root, &naive, cut, made);
		}
		assert_null(root.node);
		assert_int_equal(f->pool.live_bytes, 0);
		nindex_fini(&naive);
		f->rng = seed;
	}
	free(cut);
	free(e);
}

static void remove_run(struct fixture *f, struct index_root *root, struct naive_index *naive,
		       uint64_t first, uint64_t n)
{
	struct index_edit *cut = malloc(n * sizeof(*cut));
	uint64_t i;

	assert_non_null(cut);
	for (i = 0; i < n; i++)
		cut[i] = removal((first + i) * 10, 0);
	cut_tree(f, root, naive, cut, n);
	free(cut);
}

/*
 * Two nodes over 16 full leaves each. The first keeps three leaves, the last of three
 * entries; the second loses leaves and most of its first one in one batch, takes the first
 * node in, and the two small leaves that then meet must become one.
 */
static void test_left_neighbour_taken_in_joins_leaves(void **state)
{
	struct fixture *f = *state;
	struct index_edit *e = make_edits(512, false);
	struct index_root root = {0};
	struct naive_index naive;

	nindex_init(&naive);
	assert_int_equal(nindex_apply(&naive, false, e, 512), 0);
	apply(f, &root, e, 512);
	assert_int_equal(root.node->level, 2);
	assert_int_equal(root.node->count, 2);
	remove_run(f, &root, &naive, 32, 208);
	remove_run(f, &root, &naive, 243, 13);
	assert_int_equal(root.node->count, 2);
	assert_int_equal(node_child(root.node, 0)->count, 3);
	remove_run(f, &root, &naive, 259, 125);
	assert_int_equal(root.node->level, 1);
	assert_int_equal(root.node->count, 11); /* 3 + 9, less the one that was joined */
	nindex_fini(&naive);
	drop_tree(f, &root);
	free(e);
}

/* 257 entries one by one end in a lone leaf below a lone node: both levels must go. */
static void test_chain_of_single_children_is_dropped(void **state)
{
	struct fixture *f = *state;
	struct index_edit *e = make_edits(257, false);
	struct index_root root = {0};
	size_t i;

	for (i = 0; i < 257; i++)
		apply(f, &root, &e[i], 1);
	for (i = 0; i < 256; i++)
		e[i].op = INDEX_REMOVE;
	apply(f, &root, e, 256);
	assert_int_equal(root.count, 1);
	assert_ptr_equal(index_find(&root, 2560), item(256));
	assert_int_equal(f->pool.live_bytes, root.bytes);
	assert_in_range(root.bytes, 1, 120); /* one node, a leaf */
	drop_tree(f, &root);
	free(e);
}

static void test_one_batch_serves_several_trees(void **state)
{
	struct fixture *f = *state;
	struct index_root a = make_tree(f, 100, false), b = make_tree(f, 1000, true), a2, b2;
	struct index_edit ea = put(5, 6, 0, item(1)), eb = removal(10, 2);
	struct nindex_nodes before = {0}, after = {0}, created = {0}, retired = {0};
	struct index_batch batch;

	nindex_nodes_add_tree(&before, &a);
	nindex_nodes_add_tree(&before, &b);
	index_batch_init(&batch, &f->pool, 9);
	assert_int_equal(index_apply(&batch, &a, &ea, 1, &a2), 0);
	assert_int_equal(index_apply(&batch, &b, &eb, 1, &b2), 0);
	assert_int_equal(batch.created->birth, 9);
	assert_int_equal(batch.retired->birth, 7);
	nindex_nodes_add_list(&created, batch.created);
	nindex_nodes_add_list(&retired, batch.retired);
	nindex_free_list(&f->pool, batch.retired);
	nindex_nodes_add_tree(&after, &a2);
	nindex_nodes_add_tree(&after, &b2);
	assert_true(nindex_nodes_accounts(&before, &retired, &created, &after));
	assert_int_equal(f->pool.live_bytes, a2.bytes + b2.bytes);
	index_batch_fini(&batch);
	nindex_nodes_fini(&before);
	nindex_nodes_fini(&after);
	nindex_nodes_fini(&created);
	nindex_nodes_fini(&retired);
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
	struct nindex_changes got = {0};
	struct nindex_nodes all = {0}, mine = {0};
	struct index_edit e[] = {put(55555, 55556, 0, item(1)), removal(120000, 0)};
	struct index_batch batch;
	size_t i, bytes;
	char *saved;

	nindex_nodes_add_tree(&all, &a);
	index_batch_init(&batch, &f->pool, 9);
	assert_int_equal(index_apply(&batch, &a, e, 2, &b), 0);
	nindex_nodes_add_list(&mine, batch.retired);
	saved = malloc(all.n * POOL_MAX_BYTES);
	assert_non_null(saved);
	for (i = 0; i < all.n; i++) {
		bytes = pool_node_bytes(all.node[i]);
		memcpy(saved + i * POOL_MAX_BYTES, all.node[i], bytes);
		if (!bsearch(&all.node[i], mine.node, mine.n, sizeof(*mine.node),
			     nindex_by_address))
			memset(all.node[i], 0xa5, bytes);
	}
	assert_int_equal(index_diff(&a, &b, nindex_collect_change, &got), 0);
	assert_int_equal(got.n, 2);
	assert_false(got.change[0].in_a);
	assert_int_equal(got.change[0].entry.start, 55555);
	assert_true(got.change[1].in_a);
	assert_int_equal(got.change[1].entry.start, 120000);
	for (i = 0; i < all.n; i++)
		memcpy(all.node[i], saved + i * POOL_MAX_BYTES, pool_node_bytes(all.node[i]));
	assert_null(index_check(&a));
	nindex_free_list(&f->pool, batch.retired);
	index_batch_fini(&batch);
	nindex_changes_fini(&got);
	nindex_nodes_fini(&all);
	nindex_nodes_fini(&mine);
	free(saved);
	drop_tree(f, &b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(test_out_of_memory_at_every_allocation),
	    CASE(test_out_of_memory_in_a_first_batch),
	    CASE(test_single_edit_touches_a_path),
	    CASE(test_single_removals_join_either_neighbour),
	    CASE(test_rising_insertion_makes_a_dense_tree),
	    CASE(test_cut_ranges_join_inner_nodes),
	    CASE(test_left_neighbour_taken_in_joins_leaves),
	    CASE(test_chain_of_single_children_is_dropped),
	    CASE(test_one_batch_serves_several_trees),
	    CASE(test_diff_stops_when_told),
	    CASE(test_diff_never_enters_shared_nodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
