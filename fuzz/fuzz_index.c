/* SPDX-License-Identifier: MIT */
/*
 * fuzz_index.c - batches of edits on the copy-on-write index against a sorted array.
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
#include "index/index.h"
#include "naive_index.h"

#define KEPT 4u
#define MAX_EDITS 512u
#define MAX_BATCHES 40u
#define CELL_BYTES 10u
#define CELLS 2040u

struct version {
	struct index_root root;
	struct naive_index naive;
	struct pool_link *retired; /* by the batch that ended this version */
};

struct world {
	struct input in;
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

/* The entry of a cell. Without ties entries of different cells do not overlap. */
static struct index_entry entry_of(struct world *w, uint64_t cell, uint8_t how)
{
	struct index_entry e = {.start = w->base + cell * CELL_BYTES};

	e.item = (void *)(uintptr_t)(8 + 8 * (how & 7u));
	e.end = e.start + (how & 8 ? CELL_BYTES : 1u + how % CELL_BYTES);
	if (w->ties) {
		e.start = w->base + (cell - cell % 8) * CELL_BYTES;
		e.tie = cell % 8 == 7 ? UINT64_MAX : cell % 8;
		e.end = e.start + 1 + (how & 8 ? how * UINT64_C(97) : how);
	}
	if (e.end <= e.start)
		e.end = UINT64_MAX;
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
		e->entry.tie++;
		break;
	}
}

static void check_point(struct world *w, const struct version *v, uint64_t at)
{
	const uint64_t tie = w->ties ? at % 9 : 0;
	struct index_entry e, want;
	bool got;

	if (!w->ties)
		FUZZ_REQUIRE(index_find(&v->root, at) == nindex_find(&v->naive, at));
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

/* index_apply() with the batch's edits; retried with memory where that was lacking. */
static int apply(struct world *w, struct index_batch *batch, struct index_root *out)
{
	const struct index_root *in = &newest(w)->root;
	const struct index_root untouched = *out;
	const uint64_t live = w->pool.live_bytes;
	const bool may_fail = fuzz_alloc_fail(&w->in);
	int err;

	index_batch_init(batch, &w->pool, w->nbatches);
	err = index_apply(batch, in, w->edits, w->nedits, out);
	if (fuzz_alloc_heal() && err == -ENOMEM) {
		FUZZ_REQUIRE(may_fail && out->node == untouched.node);
		refuse(w, batch, live);
		index_batch_init(batch, &w->pool, w->nbatches);
		err = index_apply(batch, in, w->edits, w->nedits, out);
	}
	if (err) {
		FUZZ_REQUIRE(out->node == untouched.node && out->count == untouched.count);
		refuse(w, batch, live);
	}
	return err;
}

static void account(struct nindex_nodes *before, const struct index_root *after_root,
		    const struct index_batch *batch)
{
	struct nindex_nodes created = {0}, retired = {0}, after = {0};

	/* The lists first: collecting a tree rewrites the links of all its nodes. */
	nindex_nodes_add_list(&created, batch->created);
	nindex_nodes_add_list(&retired, batch->retired);
	nindex_nodes_add_tree(&after, after_root);
	FUZZ_REQUIRE(nindex_nodes_accounts(before, &retired, &created, &after));
	nindex_nodes_fini(before);
	nindex_nodes_fini(&created);
	nindex_nodes_fini(&retired);
	nindex_nodes_fini(&after);
}

static void step(struct world *w)
{
	struct version *v = newest(w), *next = &w->kept[(w->nbatches + 1) % KEPT];
	struct index_root out = {.ties = w->ties};
	struct nindex_nodes before = {0};
	struct naive_index naive;
	struct index_batch batch;
	int want;

	nindex_copy(&naive, &v->naive);
	want = nindex_apply(&naive, w->ties, w->edits, w->nedits);
	nindex_nodes_add_tree(&before, &v->root);
	FUZZ_REQUIRE(apply(w, &batch, &out) == want);
	if (want) {
		nindex_fini(&naive);
		nindex_nodes_fini(&before);
		return;
	}
	account(&before, &out, &batch);
	nindex_free_list(&w->pool, next->retired);
	nindex_fini(&next->naive);
	*next = (struct version){.root = out, .naive = naive};
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
	w.ties = how & 1;
	/* From 0 up, or up to the very last key. */
	w.base = how & 2 ? UINT64_MAX - UINT64_C(20470) : 0;
	pool_init(&w.pool);
	for (unsigned int i = 0; i < KEPT; i++)
		w.kept[i].root.ties = w.ties;
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
	FUZZ_REQUIRE(w.pool.live_bytes == newest(&w)->root.bytes);
	pool_fini(&w.pool);
	FUZZ_REQUIRE(alloc_live() == live);
	return 0;
}
