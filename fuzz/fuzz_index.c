/* SPDX-License-Identifier: MIT */
/*
 * fuzz_index.c - batches of edits on the copy-on-write index of each kind, and on ranges
 * that may overlap (ranges.h), against a sorted array.
 *
 * Some old versions stay and must not change; each batch must create and retire exactly
 * the nodes by which two versions differ; a batch that is refused, for its edits or for
 * lack of memory, leaves nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "fuzz.h"
#include "index/ranges.h"
#include "naive_index.h"

#define KEPT 4u
#define MAX_EDITS 512u
#define MAX_BATCHES 40u
#define CELL_BYTES 10u
#define CELLS 2040u

/* Kinds of world. In RADIX_FAR cells lie at every distance and an entry may fill its cell. */
enum what { TREE, RADIX, RANGES, RADIX_FAR };

struct version {
	struct index_root root;
	struct index_ranges ranges; /* the same content, in worlds of that kind */
	struct naive_index naive;
	struct pool_link *retired; /* by the batch that ended this version */
};

struct world {
	struct input in;
	enum what what;
	bool ties;
	uint64_t base; /* of all keys */
	uint64_t nbatches;
	struct pool pool;
	struct version kept[KEPT];
	struct index_edit edits[MAX_EDITS];
	size_t nedits;
};

static struct version *newest(struct world *w)
{
	return &w->kept[w->nbatches % KEPT];
}

static uint64_t tie_of(const void *item)
{
	return (uintptr_t)item >> 8;
}

static uint64_t key_limit(const struct world *w)
{
	return w->what == TREE ? UINT64_MAX : INDEX_RADIX_LIMIT;
}

static uint64_t cell_start(const struct world *w, uint64_t cell)
{
	if (cell > CELLS)
		cell = CELLS;
	if (w->what == RADIX_FAR)
		return (UINT64_C(1) << (12 + cell / 45)) + cell % 45 * CELL_BYTES;
	return w->base + cell * CELL_BYTES;
}

/* The entry of a cell. Without ties entries of different cells do not overlap. */
static struct index_entry entry_of(struct world *w, uint64_t cell, uint8_t how)
{
	struct index_entry e = {.start = cell_start(w, cell)};

	e.item = (void *)(uintptr_t)(8 + 8 * (how & 7u));
	e.end = e.start + (how & 8 ? CELL_BYTES : 1u + how % CELL_BYTES);
	if (w->what == RADIX_FAR && how & 8)
		e.end = cell_start(w, cell + 1);
	if (w->ties) {
		e.start = w->base + (cell - cell % 8) * CELL_BYTES;
		e.tie = cell % 8 == 7 && w->what == TREE ? UINT64_MAX : cell % 8;
		e.end = e.start + 1 + (how & 8 ? how * UINT64_C(97) : how);
	}
	if (w->what == RANGES)
		e.item = (void *)(uintptr_t)(e.tie << 8 | (uintptr_t)e.item);
	if (e.end <= e.start || e.end > key_limit(w))
		e.end = key_limit(w);
	return e;
}

static void add_edit(struct world *w, uint64_t cell, uint8_t how)
{
	const struct index_entry e = entry_of(w, cell, how);
	struct index_edit *edit = &w->edits[w->nedits];
	struct index_entry old;
	const bool exists = nindex_get(&newest(w)->naive, e.start, e.tie, &old);

	if (w->nedits == MAX_EDITS || cell >= CELLS || (!exists && how & 0x80))
		return;
	edit->op = exists && how & 0x80 ? INDEX_REMOVE : INDEX_PUT;
	edit->entry = e;
	w->nedits++;
}

/* Runs of cells, rising. */
static void make_batch(struct world *w)
{
	const uint32_t nruns = 1 + in_below(&w->in, 8);
	uint64_t cell = 0;

	w->nedits = 0;
	for (uint32_t run = 0; run < nruns; run++) {
		const uint32_t shape = in_u8(&w->in);
		const uint32_t step = 1 + (shape & 3);
		uint32_t n = 1;

		cell += in_u8(&w->in);
		if (shape & 0x40)
			n = 1 + in_u8(&w->in);
		for (uint32_t i = 0; i < n; i++) {
			/* A run of removals, of insertions, or of both. */
			uint8_t how = shape & 0x20 ? in_u8(&w->in) : (uint8_t)(shape + i);

			if (!(shape & 0x20))
				how = (uint8_t)((how & 0x7f) | (shape & 0x80));
			add_edit(w, cell, how);
			cell += step;
		}
	}
}

/* Now and then break one edit in a way that index_apply() must refuse. */
static void spoil(struct world *w)
{
	const uint8_t how = in_u8(&w->in);
	struct index_edit *e;

	if (how < 0xe8 || w->nedits == 0)
		return;
	e = &w->edits[in_u8(&w->in) % w->nedits];
	switch (how & 3) {
	case 0:
		e->op = INDEX_PUT;
		e->entry.end = e->entry.start;
		break;
	case 1:
		e->op = INDEX_REMOVE;
		e->entry.start++;
		break;
	case 2:
		e->entry = w->edits[0].entry;
		break;
	default:
		/* An item of ranges knows its tie. */
		if (w->what == RANGES)
			e->entry.end = 0;
		else
			e->entry.tie++;
		break;
	}
}

/* The finder of each width. */
static void check_finders(const struct version *v, uint64_t at)
{
	for (int simd = INDEX_SCALAR; simd <= (int)index_simd_best(); simd++)
		FUZZ_REQUIRE(index_finder(INDEX_RADIX, (enum index_simd)simd)(&v->root, at) ==
			     nindex_find(&v->naive, at));
}

static void check_point(struct world *w, const struct version *v, uint64_t at)
{
	const uint64_t tie = w->ties ? at % 9 : 0;
	struct index_entry e, want;
	bool got;

	if (!w->ties)
		FUZZ_REQUIRE(index_find(&v->root, at) == nindex_find(&v->naive, at));
	if (v->root.kind == INDEX_RADIX && at < INDEX_RADIX_LIMIT)
		check_finders(v, at);
	if (w->what == RANGES) {
		got = index_ranges_get(&v->ranges, at, tie, &e);
		FUZZ_REQUIRE(got == nindex_get(&v->naive, at, tie, &want));
		FUZZ_REQUIRE(!got || nindex_entry_equal(&e, &want));
	}
	got = index_get(&v->root, at, tie, &e);
	FUZZ_REQUIRE(got == nindex_get(&v->naive, at, tie, &want));
	FUZZ_REQUIRE(!got || nindex_entry_equal(&e, &want));
	got = index_below(&v->root, at, &e);
	FUZZ_REQUIRE(got == nindex_below(&v->naive, at, &want));
	FUZZ_REQUIRE(!got || nindex_entry_equal(&e, &want));
	got = index_above(&v->root, at, &e);
	FUZZ_REQUIRE(got == nindex_above(&v->naive, at, &want));
	FUZZ_REQUIRE(!got || nindex_entry_equal(&e, &want));
}

static void check_ranges(const struct version *v, uint64_t start, uint64_t end)
{
	size_t i = nindex_overlap(&v->naive, 0, start, end);
	struct index_ranges_cursor cur;
	struct index_entry e;

	index_ranges_cursor_init(&cur, &v->ranges, start, end);
	for (; index_ranges_cursor_next(&cur, &e); i = nindex_overlap(&v->naive, i + 1, start, end))
		FUZZ_REQUIRE(i < v->naive.n && nindex_entry_equal(&e, &v->naive.entry[i]));
	FUZZ_REQUIRE(i == v->naive.n);
}

static void check_range(const struct version *v, uint64_t start, uint64_t end)
{
	size_t i = nindex_overlap(&v->naive, 0, start, end);
	struct index_cursor cur;
	struct index_entry e;
	const bool any = index_first_overlap(&v->root, start, end, &e);

	FUZZ_REQUIRE(any == (i < v->naive.n));
	FUZZ_REQUIRE(!any || nindex_entry_equal(&e, &v->naive.entry[i]));
	index_cursor_init(&cur, &v->root, start, end);
	while (index_cursor_next(&cur, &e)) {
		FUZZ_REQUIRE(i < v->naive.n);
		FUZZ_REQUIRE(nindex_entry_equal(&e, &v->naive.entry[i]));
		i = nindex_overlap(&v->naive, i + 1, start, end);
	}
	FUZZ_REQUIRE(i == v->naive.n);
}

/* Ask around a few of the edited keys and at one place of the input's choice. */
static void check_version(struct world *w, const struct version *v)
{
	const char *why = nindex_compare(&v->naive, &v->root);
	const uint64_t at = w->base + in_uint(&w->in, 2);

	if (why)
		fuzz_fail("%s", why);
	for (size_t i = 0; i < w->nedits; i += 1 + w->nedits / 8)
		for (uint64_t k = 0; k < 3; k++)
			check_point(w, v, w->edits[i].entry.start + k - 1);
	if (w->what == RANGES) {
		why = index_ranges_check(&v->ranges);
		if (why)
			fuzz_fail("%s", why);
		FUZZ_REQUIRE(index_ranges_count(&v->ranges) == v->naive.n);
		check_ranges(v, 0, INDEX_RADIX_LIMIT);
		check_ranges(v, at, at + 1 + in_u8(&w->in));
	}
	check_point(w, v, at);
	check_range(v, at, at + 1 + in_u8(&w->in));
	if (v->naive.n)
		check_range(v, v->naive.entry[v->naive.n / 2].end - 1, UINT64_MAX);
}

/* The failed batch must leave the tree and the pool as they were. */
static void refuse(struct world *w, struct index_batch *batch, uint64_t live)
{
	const struct version *v = newest(w);
	const char *why;

	index_batch_rollback(batch);
	index_batch_fini(batch);
	FUZZ_REQUIRE(w->pool.live_bytes == live);
	why = nindex_compare(&v->naive, &v->root);
	if (why)
		fuzz_fail("after a refused batch: %s", why);
}

/* The batch's edits to all that a version has. */
static int apply_once(struct world *w, struct index_batch *batch, struct version *out)
{
	const struct version *v = newest(w);
	int err;

	index_batch_init(batch, &w->pool, w->nbatches + 1);
	err = w->what != RANGES
		  ? 0
		  : index_ranges_apply(batch, &v->ranges, w->edits, w->nedits, &out->ranges);
	return err ? err : index_apply(batch, &v->root, w->edits, w->nedits, &out->root);
}

/* The same; retried with memory where that was lacking. */
static int apply(struct world *w, struct index_batch *batch, struct version *out)
{
	const uint64_t live = w->pool.live_bytes;
	const bool may_fail = fuzz_alloc_fail(&w->in);
	const uint64_t count = out->ranges.apart.count;
	int err = apply_once(w, batch, out);

	if (fuzz_alloc_heal() && err == -ENOMEM) {
		FUZZ_REQUIRE(may_fail && !out->root.count);
		refuse(w, batch, live);
		err = apply_once(w, batch, out);
	}
	if (err) {
		FUZZ_REQUIRE(out->ranges.apart.count == count);
		refuse(w, batch, live);
	}
	return err;
}

/* All nodes of a version; collecting rewrites their links. */
static void add_nodes(struct world *w, struct nindex_nodes *set, const struct version *v)
{
	nindex_nodes_add_tree(set, &v->root);
	if (w->what == RANGES) {
		nindex_nodes_add_tree(set, &v->ranges.apart);
		nindex_nodes_add_tree(set, &v->ranges.rest);
	}
}

static void account(struct world *w, struct nindex_nodes *before, const struct version *v,
		    const struct index_batch *batch)
{
	struct nindex_nodes created = {0}, retired = {0}, after = {0};

	/* The lists first: collecting a tree rewrites the links of all its nodes. */
	nindex_nodes_add_list(&created, batch->created);
	nindex_nodes_add_list(&retired, batch->retired);
	add_nodes(w, &after, v);
	FUZZ_REQUIRE(nindex_nodes_accounts(before, &retired, &created, &after));
	nindex_nodes_fini(before);
	nindex_nodes_fini(&created);
	nindex_nodes_fini(&retired);
	nindex_nodes_fini(&after);
}

static void step(struct world *w)
{
	struct version *v = newest(w), *next = &w->kept[(w->nbatches + 1) % KEPT];
	struct version out = {0};
	struct nindex_nodes before = {0};
	struct naive_index naive;
	struct index_batch batch;
	int want;

	nindex_copy(&naive, &v->naive);
	want = nindex_apply(&naive, w->ties, w->edits, w->nedits);
	add_nodes(w, &before, v);
	FUZZ_REQUIRE(apply(w, &batch, &out) == want);
	if (want) {
		nindex_fini(&naive);
		nindex_nodes_fini(&before);
		return;
	}
	account(w, &before, &out, &batch);
	nindex_free_list(&w->pool, next->retired);
	nindex_fini(&next->naive);
	out.naive = naive;
	*next = out;
	v->retired = batch.retired;
	index_batch_fini(&batch);
	w->nbatches++;
	check_version(w, next);
	FUZZ_REQUIRE(nindex_diff_agrees(&v->naive, &v->root, &next->naive, &next->root));
}

static void check_old(struct world *w)
{
	const struct version *a = &w->kept[in_u8(&w->in) % KEPT], *b = newest(w);

	check_version(w, a);
	FUZZ_REQUIRE(nindex_diff_agrees(&b->naive, &b->root, &a->naive, &a->root));
	FUZZ_REQUIRE(pool_check(&w->pool) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	const uint64_t live = alloc_live();
	uint8_t how;

	memset(&w, 0, sizeof(w));
	w.in = (struct input){data, size};
	how = in_u8(&w.in);
	w.what = (enum what)(how >> 2 & 3);
	w.ties = w.what == RANGES || (w.what == TREE && how & 1);
	/* From 0 up, or up to the very last key. */
	w.base = how & 2 ? key_limit(&w) - UINT64_C(20470) : 0;
	pool_init(&w.pool);
	for (unsigned int i = 0; i < KEPT; i++) {
		index_root_init(&w.kept[i].root,
				w.what == RADIX || w.what == RADIX_FAR ? INDEX_RADIX : INDEX_TREE,
				w.ties);
		index_ranges_init(&w.kept[i].ranges, how & 0x10 ? INDEX_TREE : INDEX_RADIX, tie_of);
	}
	for (unsigned int i = 0; i < MAX_BATCHES && w.in.left; i++) {
		make_batch(&w);
		spoil(&w);
		step(&w);
		if (in_chance(&w.in, 64))
			check_old(&w);
	}
	for (unsigned int i = 0; i < KEPT; i++) {
		nindex_free_list(&w.pool, w.kept[i].retired);
		nindex_fini(&w.kept[i].naive);
	}
	FUZZ_REQUIRE(w.pool.live_bytes ==
		     newest(&w)->root.bytes + index_ranges_bytes(&newest(&w)->ranges));
	pool_fini(&w.pool);
	FUZZ_REQUIRE(alloc_live() == live);
	return 0;
}
