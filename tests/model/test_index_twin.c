/* SPDX-License-Identifier: MIT */
/*
 * Random batches of edits against a sorted array, in each kind of index: trees without
 * overlaps and with overlaps and ties, radix indexes of keys that lie evenly, in heaps, or
 * at every distance: content, every lookup, cursors, differences, and the nodes each
 * update creates and retires. Some old versions stay and must not change.
 *
 *   test-model-index_twin [SEED [BATCHES]]
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index/index.h"
#include "naive_index.h"

#define KEPT 8u
#define CELLS 6000u
#define MAX_EDITS 3000u

#define REQUIRE(cond, what)                                                                        \
	do {                                                                                       \
		if (!(cond))                                                                       \
			fail(tw, what, #cond);                                                     \
	} while (0)

struct version {
	struct index_root root;
	struct naive_index naive;
	struct pool_link *retired; /* by the update that ended this version */
};

/* Where the cells lie that entries are in. */
enum shape { ENDS, CONTIGUOUS, SKEWED, EXPONENTIAL, DENSE, FAR };

struct run {
	const char *name;
	enum index_kind kind;
	enum shape shape;
	bool ties;
};

struct twin {
	const char *name;
	enum index_kind kind;
	enum shape shape;
	bool ties;
	uint64_t seed, rng, batch;
	struct pool pool;
	struct version kept[KEPT]; /* ring; the newest at batch % KEPT */
	struct index_edit edits[MAX_EDITS];
};

static void fail(const struct twin *tw, const char *what, const char *cond)
{
	fprintf(stderr, "index_twin: %s, batch %" PRIu64 " of seed %" PRIu64 ": %s (%s)\n",
		tw->name, tw->batch, tw->seed, what, cond);
	exit(1);
}

static uint64_t pick(struct twin *tw, uint64_t below)
{
	return nindex_random(&tw->rng) % below;
}

static struct version *newest(struct twin *tw)
{
	return &tw->kept[tw->batch % KEPT];
}

/* The last key that an entry can have, and one more. */
static uint64_t key_limit(const struct twin *tw)
{
	return tw->kind == INDEX_RADIX ? INDEX_RADIX_LIMIT : UINT64_MAX;
}

static uint64_t cell_start(const struct twin *tw, uint64_t cell)
{
	switch (tw->shape) {
	case CONTIGUOUS:
		return (UINT64_C(1) << 20) + cell * 512;
	case SKEWED:
		/* 31 cells of two keys beside one of 2^24. */
		return ((cell / 32) << 25) + (cell % 32 < 31 ? cell % 32 * 2 : 1u << 20);
	case EXPONENTIAL:
		return (UINT64_C(1) << (12 + cell / 150)) + cell % 150 * 10;
	case DENSE:
		return (UINT64_C(1) << 51) + cell;
	case FAR:
		/* Two heaps, 2^51 keys apart. */
		return (cell >= CELLS / 2 ? UINT64_C(1) << 51 : 0) + cell * 10;
	default:
		/* Half of them from 0 up and half up to the very last one. */
		return cell < CELLS / 2 ? cell * 10 : key_limit(tw) - 1 - (CELLS - 1 - cell) * 10;
	}
}

static uint64_t cell_len(const struct twin *tw, uint64_t cell)
{
	switch (tw->shape) {
	case CONTIGUOUS:
		return 512;
	case SKEWED:
		return cell % 32 < 31 ? 2 : 1u << 24;
	case DENSE:
		return 1;
	default:
		return 10;
	}
}

static struct index_entry random_entry(struct twin *tw, uint64_t cell)
{
	struct index_entry e = {.start = cell_start(tw, cell)};
	uint64_t len = cell_len(tw, cell);

	e.item = (void *)(uintptr_t)(8 + 8 * pick(tw, 1000));
	if (!tw->ties) {
		e.end = e.start + (pick(tw, 2) ? len : 1 + pick(tw, len));
		if (e.end <= e.start || e.end > key_limit(tw))
			e.end = key_limit(tw);
		return e;
	}
	/* Few starts, many ties; ends near, far, or all the way up. */
	e.start = cell_start(tw, cell - cell % 8);
	e.tie = cell % 8 == 7 ? UINT64_MAX : cell % 8;
	switch (pick(tw, 4)) {
	case 0:
		e.end = UINT64_MAX;
		break;
	case 1:
		e.end = e.start + 1;
		break;
	default:
		e.end = e.start + 1 + pick(tw, pick(tw, 2) ? 200 : 30000);
	}
	if (e.end <= e.start)
		e.end = UINT64_MAX;
	return e;
}

/* Cells to edit, rising: scattered, or one behind the other. */
static size_t pick_cells(struct twin *tw, size_t n, uint64_t *cell)
{
	uint64_t at, gap = pick(tw, 3) == 0 ? 1 : 1 + 2 * CELLS / n;
	size_t i;

	at = pick(tw, gap == 1 ? CELLS : gap);
	for (i = 0; i < n && at < CELLS; i++) {
		cell[i] = at;
		at += 1 + (gap == 1 ? 0 : pick(tw, gap));
	}
	return i;
}

/* A batch; growth and decline take turns, so that the tree's size sweeps its whole range. */
static size_t make_edits(struct twin *tw)
{
	const struct naive_index *naive = &newest(tw)->naive;
	static uint64_t cell[MAX_EDITS];
	size_t n = pick(tw, 4) == 0 ? 1 : 1 + pick(tw, 64), i, made = 0;
	bool shrink = tw->batch / 300 % 2 == 1;
	struct index_entry e, old;

	if (pick(tw, 100) == 0)
		n = 1 + pick(tw, MAX_EDITS);
	n = pick_cells(tw, n, cell);
	for (i = 0; i < n; i++) {
		e = random_entry(tw, cell[i]);
		if (!nindex_get(naive, e.start, e.tie, &old)) {
			if (shrink && pick(tw, 4) > 0)
				continue;
			tw->edits[made++] = (struct index_edit){INDEX_PUT, e};
		} else if (pick(tw, 10) < (shrink ? 8u : 2u)) {
			tw->edits[made++] = (struct index_edit){INDEX_REMOVE, e};
		} else if (pick(tw, 2)) {
			tw->edits[made++] = (struct index_edit){INDEX_PUT, e};
		}
	}
	return made;
}

/* Break a batch in one of the ways that index_apply() must refuse. */
static void spoil_edits(struct twin *tw, size_t n)
{
	struct index_edit *e = &tw->edits[pick(tw, n)];

	switch (pick(tw, n > 1 ? 3 : 2)) {
	case 0:
		e->op = INDEX_PUT;
		e->entry.end = e->entry.start;
		break;
	case 1:
		e->op = INDEX_REMOVE;
		/* No entry starts inside a cell, nor above all of them. */
		e->entry.start = cell_len(tw, 0) > 1 ? e->entry.start + 1 : UINT64_C(1) << 60;
		break;
	default:
		e->entry = e > tw->edits ? e[-1].entry : e[1].entry;
	}
}

static void check_refusal(struct twin *tw, size_t n)
{
	struct version *v = newest(tw);
	struct index_root out = v->root;
	struct index_batch batch;
	uint64_t live = tw->pool.live_bytes;

	spoil_edits(tw, n);
	index_batch_init(&batch, &tw->pool, tw->batch);
	REQUIRE(nindex_apply(&v->naive, tw->ties, tw->edits, n) == -EINVAL, "a bad batch is bad");
	REQUIRE(index_apply(&batch, &v->root, tw->edits, n, &out) == -EINVAL, "a bad batch");
	REQUIRE(out.node == v->root.node, "a failed batch wrote its result");
	index_batch_rollback(&batch);
	index_batch_fini(&batch);
	REQUIRE(tw->pool.live_bytes == live, "a rollback leaks");
	REQUIRE(nindex_compare(&v->naive, &v->root) == NULL, "a failed batch changed the tree");
}

static void check_entry(struct twin *tw, bool got, const struct index_entry *e, bool want,
			const struct index_entry *w, const char *what)
{
	REQUIRE(got == want, what);
	REQUIRE(!got || nindex_entry_equal(e, w), what);
}

static void check_point(struct twin *tw, const struct version *v, uint64_t at)
{
	struct index_entry e, w;
	uint64_t tie = tw->ties ? pick(tw, 9) : 0;
	bool got, want;

	for (int simd = INDEX_SCALAR; tw->kind == INDEX_RADIX && simd <= (int)index_simd_best();
	     simd++)
		REQUIRE(at >= INDEX_RADIX_LIMIT || index_finder(INDEX_RADIX, (enum index_simd)simd)(
						       &v->root, at) == nindex_find(&v->naive, at),
			"a finder of index_finder()");
	if (!tw->ties)
		REQUIRE(index_find(&v->root, at) == nindex_find(&v->naive, at), "index_find()");
	got = index_get(&v->root, at, tie, &e);
	want = nindex_get(&v->naive, at, tie, &w);
	check_entry(tw, got, &e, want, &w, "index_get()");
	got = index_below(&v->root, at, &e);
	want = nindex_below(&v->naive, at, &w);
	check_entry(tw, got, &e, want, &w, "index_below()");
	got = index_above(&v->root, at, &e);
	want = nindex_above(&v->naive, at, &w);
	check_entry(tw, got, &e, want, &w, "index_above()");
}

static void check_range(struct twin *tw, const struct version *v, uint64_t start, uint64_t end)
{
	size_t i = nindex_overlap(&v->naive, 0, start, end);
	struct index_cursor cur;
	struct index_entry e;
	bool any = index_first_overlap(&v->root, start, end, &e);

	REQUIRE(any == (i < v->naive.n), "index_first_overlap()");
	REQUIRE(!any || nindex_entry_equal(&e, &v->naive.entry[i]), "index_first_overlap()");
	index_cursor_init(&cur, &v->root, start, end);
	while (index_cursor_next(&cur, &e)) {
		REQUIRE(i < v->naive.n, "the cursor goes on");
		REQUIRE(nindex_entry_equal(&e, &v->naive.entry[i]), "the cursor's entry");
		i = nindex_overlap(&v->naive, i + 1, start, end);
	}
	REQUIRE(i == v->naive.n, "the cursor stops early");
}

static uint64_t random_point(struct twin *tw, const struct version *v)
{
	const struct index_entry *e;

	if (v->naive.n == 0 || pick(tw, 4) == 0)
		return pick(tw, 2) ? cell_start(tw, pick(tw, CELLS)) + pick(tw, 12)
				   : nindex_random(&tw->rng);
	e = &v->naive.entry[pick(tw, v->naive.n)];
	return (pick(tw, 2) ? e->start : e->end) + pick(tw, 3) - 1;
}

static void check_version(struct twin *tw, const struct version *v, bool all_borders)
{
	const char *why = nindex_compare(&v->naive, &v->root);
	uint64_t a, b;
	size_t i;

	if (why)
		fail(tw, why, "nindex_compare()");
	for (i = 0; all_borders && i < v->naive.n; i++) {
		for (a = 0; a < 3; a++) {
			check_point(tw, v, v->naive.entry[i].start + a - 1);
			check_point(tw, v, v->naive.entry[i].end + a - 1);
		}
	}
	for (i = 0; i < 16; i++) {
		check_point(tw, v, random_point(tw, v));
		a = random_point(tw, v);
		b = pick(tw, 2) ? a + pick(tw, 100) : random_point(tw, v);
		check_range(tw, v, a, b);
	}
}

/* Apply the batch to a copy of the newest version, which becomes the newest. */
static void step(struct twin *tw, size_t n)
{
	struct version *v = newest(tw), *next = &tw->kept[(tw->batch + 1) % KEPT];
	struct nindex_nodes before = {0}, created = {0}, retired = {0}, after = {0};
	struct index_batch batch;

	nindex_free_list(&tw->pool, next->retired);
	nindex_fini(&next->naive);
	nindex_nodes_add_tree(&before, &v->root);
	index_batch_init(&batch, &tw->pool, tw->batch);
	REQUIRE(index_apply(&batch, &v->root, tw->edits, n, &next->root) == 0, "index_apply()");
	nindex_nodes_add_list(&created, batch.created);
	nindex_nodes_add_list(&retired, batch.retired);
	nindex_nodes_add_tree(&after, &next->root);
	REQUIRE(nindex_nodes_accounts(&before, &retired, &created, &after), "created and retired");
	nindex_nodes_fini(&before);
	nindex_nodes_fini(&created);
	nindex_nodes_fini(&retired);
	nindex_nodes_fini(&after);
	v->retired = batch.retired;
	next->retired = NULL;
	index_batch_fini(&batch);
	nindex_copy(&next->naive, &v->naive);
	REQUIRE(nindex_apply(&next->naive, tw->ties, tw->edits, n) == 0, "nindex_apply()");
	tw->batch++;
}

/* The newest version once more, in one batch. */
static void build(struct twin *tw, struct index_batch *batch, struct index_root *out)
{
	const struct naive_index *naive = &newest(tw)->naive;
	struct index_edit *edits = malloc((naive->n + 1) * sizeof(*edits));
	size_t i;

	REQUIRE(edits != NULL, "memory");
	for (i = 0; i < naive->n; i++)
		edits[i] = (struct index_edit){INDEX_PUT, naive->entry[i]};
	index_root_init(out, tw->kind, tw->ties);
	REQUIRE(index_apply(batch, out, edits, naive->n, out) == 0, "index_apply() to nothing");
	free(edits);
}

static void check_diffs(struct twin *tw)
{
	const struct version *v = newest(tw), *old = &tw->kept[pick(tw, KEPT)];
	struct index_root built;
	struct index_batch batch;

	REQUIRE(nindex_diff_agrees(&old->naive, &old->root, &v->naive, &v->root), "index_diff()");
	REQUIRE(nindex_diff_agrees(&v->naive, &v->root, &old->naive, &old->root), "index_diff()");
	/* A tree of the same content that shares nothing and is packed in another way. */
	index_batch_init(&batch, &tw->pool, tw->batch);
	build(tw, &batch, &built);
	REQUIRE(nindex_compare(&v->naive, &built) == NULL, "built at once");
	REQUIRE(nindex_diff_agrees(&v->naive, &v->root, &v->naive, &built), "diff of equals");
	REQUIRE(nindex_diff_agrees(&old->naive, &old->root, &v->naive, &built), "diff unshared");
	index_batch_rollback(&batch);
	index_batch_fini(&batch);
}

static void run(struct twin *tw, uint64_t batches)
{
	uint64_t i, edits = 0, largest = 0;
	size_t n;

	pool_init(&tw->pool);
	for (i = 0; i < KEPT; i++) {
		tw->kept[i] = (struct version){0};
		index_root_init(&tw->kept[i].root, tw->kind, tw->ties);
		nindex_init(&tw->kept[i].naive);
	}
	for (i = 0; i < batches; i++) {
		n = make_edits(tw);
		edits += n;
		step(tw, n);
		check_version(tw, newest(tw), i % 64 == 0);
		check_version(tw, &tw->kept[pick(tw, KEPT)], false);
		if (i % 8 == 0)
			check_diffs(tw);
		n = i % 16 == 0 ? make_edits(tw) : 0;
		if (n > 0)
			check_refusal(tw, n);
		largest = newest(tw)->root.count > largest ? newest(tw)->root.count : largest;
	}
	for (i = 0; i < KEPT; i++) {
		if (&tw->kept[i] != newest(tw))
			nindex_free_list(&tw->pool, tw->kept[i].retired);
		nindex_fini(&tw->kept[i].naive);
	}
	REQUIRE(tw->pool.live_bytes == newest(tw)->root.bytes, "nodes leak");
	REQUIRE(pool_check(&tw->pool) == NULL, "the pool");
	pool_fini(&tw->pool);
	printf("index_twin: %s: %" PRIu64 " batches, %" PRIu64 " edits, up to %" PRIu64
	       " entries\n",
	       tw->name, batches, edits, largest);
}

int main(int argc, char **argv)
{
	static const struct run runs[] = {
	    {"tree, disjoint", INDEX_TREE, ENDS, false},
	    {"tree, overlapping, with ties", INDEX_TREE, ENDS, true},
	    {"radix, at both ends", INDEX_RADIX, ENDS, false},
	    {"radix, contiguous", INDEX_RADIX, CONTIGUOUS, false},
	    {"radix, skewed", INDEX_RADIX, SKEWED, false},
	    {"radix, exponential", INDEX_RADIX, EXPONENTIAL, false},
	    {"radix, dense", INDEX_RADIX, DENSE, false},
	    {"radix, far apart", INDEX_RADIX, FAR, false},
	};
	static struct twin tw;
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	uint64_t batches = argc > 2 ? strtoull(argv[2], NULL, 0) : 1600;

	for (size_t i = 0; i < sizeof(runs) / sizeof(*runs); i++) {
		memset(&tw, 0, sizeof(tw));
		tw.name = runs[i].name;
		tw.kind = runs[i].kind;
		tw.shape = runs[i].shape;
		tw.ties = runs[i].ties;
		tw.seed = seed;
		tw.rng = seed;
		run(&tw, batches);
	}
	return 0;
}
