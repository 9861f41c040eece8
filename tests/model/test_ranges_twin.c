/* SPDX-License-Identifier: MIT */
/*
 * Ranges that may overlap (ranges.h), against a sorted array and a tree with ties: apart,
 * all over each other, the same range under several ties; growing, shrinking and moving
 * in place; with every allocation failing in turn. Old versions stay and must not change.
 *
 * An item is its tie and four bits more, so that tie_of() needs no memory.
 *
 *   test-model-ranges_twin [SEED [BATCHES]]
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "index/ranges.h"
#include "naive_index.h"

#define KEPT 6u
#define LIMIT INDEX_RADIX_LIMIT
#define MOST 1200u

#define REQUIRE(cond, what)                                                                        \
	do {                                                                                       \
		if (!(cond))                                                                       \
			fail(tw, what, #cond);                                                     \
	} while (0)

struct version {
	struct index_ranges ranges;
	struct index_root tree; /* the same content, with ties */
	struct naive_index naive;
	struct pool_link *retired;
};

/* How ranges lie to each other. */
enum shape { APART, ALIASES, NESTED, EVERYTHING, FEW_STARTS, MIXED, NSHAPES };
static const char *const names[NSHAPES] = {
    "apart", "aliases", "nested", "everything overlaps", "few starts", "mixed",
};

struct twin {
	enum shape shape;
	enum index_kind kind;
	uint64_t seed, rng, batch;
	uint64_t singles; /* batches of one change that were applied by index_replace() */
	struct pool pool;
	struct version kept[KEPT]; /* ring; the newest at batch % KEPT */
	struct naive_index work;
	struct index_edit *edits;
	size_t nedits;
	uint64_t refusals, moves; /* between the parts */
};

static void fail(const struct twin *tw, const char *what, const char *cond)
{
	fprintf(stderr, "ranges_twin: %s in a %s, batch %" PRIu64 " of seed %" PRIu64 ": %s (%s)\n",
		names[tw->shape], tw->kind == INDEX_RADIX ? "radix" : "tree", tw->batch, tw->seed,
		what, cond);
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

/* ---- Batches --------------------------------------------------------------- */

static uint64_t tie_of(const void *item)
{
	return (uintptr_t)item >> 4;
}

static void *item_of(struct twin *tw, uint64_t tie)
{
	return (void *)(uintptr_t)(tie << 4 | (1 + pick(tw, 15)));
}

static enum shape shape_now(const struct twin *tw)
{
	return tw->shape == MIXED ? (enum shape)(tw->batch / 25 % MIXED) : tw->shape;
}

static struct index_entry random_range(struct twin *tw)
{
	struct index_entry e = {.tie = pick(tw, 6)};
	uint64_t cell = pick(tw, 2000);

	switch (shape_now(tw)) {
	case APART:
		/* One in 50 reaches into others. */
		e.start = cell << 9;
		e.end = e.start + 1 + pick(tw, pick(tw, 50) ? 512 : 5000);
		e.tie = cell;
		break;
	case ALIASES:
		e.start = cell / 4 << 9;
		e.end = e.start + 512;
		e.tie = cell;
		break;
	case NESTED:
		/* From 2^k-fold cells down to single ones. */
		e.tie = pick(tw, 11);
		e.start = cell >> e.tie << (e.tie + 4);
		e.end = e.start + (UINT64_C(16) << e.tie);
		break;
	case EVERYTHING:
		e.start = 100000 - 10 * cell / 2;
		e.end = 100001 + pick(tw, LIMIT - 100001);
		break;
	default:
		e.start = pick(tw, 30) * 100;
		e.end = e.start + 1 + pick(tw, pick(tw, 3) ? 100 : 700);
		e.tie = pick(tw, 40);
	}
	e.item = item_of(tw, e.tie);
	return e;
}

static void erase(struct twin *tw, size_t i)
{
	struct naive_index *work = &tw->work;

	memmove(work->entry + i, work->entry + i + 1, (work->n - i - 1) * sizeof(*work->entry));
	work->n--;
}

/* Insert, or put in the place of the same key. */
static void put(struct twin *tw, struct index_entry e)
{
	struct naive_index *work = &tw->work;
	size_t i = nindex_lower(work, e.start, e.tie);

	if (i < work->n && work->entry[i].start == e.start && work->entry[i].tie == e.tie) {
		work->entry[i] = e;
		return;
	}
	work->entry = realloc(work->entry, (work->n + 1) * sizeof(*work->entry));
	REQUIRE(work->entry != NULL, "memory");
	memmove(work->entry + i + 1, work->entry + i, (work->n - i) * sizeof(e));
	work->entry[i] = e;
	work->n++;
}

/* The same start under another tie, as a slot that is deleted while another takes its memory. */
static void retie(struct twin *tw, size_t i)
{
	struct index_entry e = tw->work.entry[i];

	if (pick(tw, 3))
		erase(tw, i);
	e.tie = pick(tw, 2) ? e.tie + 1 : pick(tw, 2000);
	e.item = item_of(tw, e.tie);
	if (pick(tw, 3) == 0)
		e.end = e.start + 1 + pick(tw, e.end - e.start);
	put(tw, e);
}

static void change(struct twin *tw, size_t i)
{
	struct index_entry *e = &tw->work.entry[i];

	switch (pick(tw, 5)) {
	case 0:
		e->end += pick(tw, LIMIT - e->end < 1000 ? 1 : 1000);
		break;
	case 1:
		e->end = e->start + 1 + pick(tw, e->end - e->start);
		break;
	case 2:
		e->item = item_of(tw, e->tie);
		break;
	default:
		retie(tw, i);
	}
}

/* What overlaps a range goes. */
static void uncover(struct twin *tw, size_t i)
{
	const struct index_entry e = tw->work.entry[i];
	size_t most = 1 + (size_t)pick(tw, 12);

	for (size_t k = tw->work.n; k-- > 0 && most > 0;) {
		const struct index_entry *other = &tw->work.entry[k];

		if (other->start < e.end && other->end > e.start && k != i) {
			erase(tw, k);
			i -= k < i;
			most--;
		}
	}
}

static void operate(struct twin *tw, bool shrink)
{
	uint64_t how = pick(tw, 16);
	size_t i = tw->work.n ? (size_t)pick(tw, tw->work.n) : 0;

	if (tw->work.n == 0 || how < (shrink ? 3 : 8))
		put(tw, random_range(tw));
	else if (how < 10)
		erase(tw, i);
	else if (how < 15)
		change(tw, i);
	else if (pick(tw, 4) == 0)
		uncover(tw, i);
}

static int order(const struct index_entry *a, const struct index_entry *b)
{
	if (!a || !b)
		return a ? -1 : 1;
	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	return a->tie < b->tie ? -1 : a->tie > b->tie;
}

static void derive_edits(struct twin *tw)
{
	const struct naive_index *old = &newest(tw)->naive, *new = &tw->work;
	const struct index_entry *a, *b;
	size_t i = 0, j = 0;
	int way;

	free(tw->edits);
	tw->edits = malloc((old->n + new->n + 1) * sizeof(*tw->edits));
	REQUIRE(tw->edits != NULL, "memory");
	tw->nedits = 0;
	while (i < old->n || j < new->n) {
		a = i < old->n ? &old->entry[i] : NULL;
		b = j < new->n ? &new->entry[j] : NULL;
		way = order(a, b);
		if (way < 0)
			tw->edits[tw->nedits++] = (struct index_edit){INDEX_REMOVE, *a};
		else if (way > 0 || !nindex_entry_equal(a, b) || pick(tw, 500) == 0)
			tw->edits[tw->nedits++] = (struct index_edit){INDEX_PUT, *b};
		i += way <= 0;
		j += way >= 0;
	}
}

static void make_batch(struct twin *tw)
{
	uint64_t n = pick(tw, 3) ? 1 + pick(tw, 3) : 1 + pick(tw, 100);
	bool shrink = tw->batch / 100 % 2 == 1;

	nindex_fini(&tw->work);
	nindex_copy(&tw->work, &newest(tw)->naive);
	if (tw->batch % 100 < 4)
		n += pick(tw, MOST);
	if (pick(tw, 400) == 0)
		tw->work.n = 0;
	while (n-- > 0)
		operate(tw, shrink || tw->work.n > MOST);
	derive_edits(tw);
}

/* ---- Comparison ------------------------------------------------------------ */

static void check_range(struct twin *tw, const struct version *v, uint64_t start, uint64_t end)
{
	size_t i = nindex_overlap(&v->naive, 0, start, end);
	struct index_ranges_cursor cur;
	struct index_entry e;

	index_ranges_cursor_init(&cur, &v->ranges, start, end);
	while (index_ranges_cursor_next(&cur, &e)) {
		REQUIRE(i < v->naive.n, "the cursor goes on");
		REQUIRE(nindex_entry_equal(&e, &v->naive.entry[i]), "the cursor's entry");
		i = nindex_overlap(&v->naive, i + 1, start, end);
	}
	REQUIRE(i == v->naive.n, "the cursor stops early");
	REQUIRE(!index_ranges_cursor_next(&cur, &e), "the cursor goes on after its end");
}

static void check_get(struct twin *tw, const struct version *v, uint64_t start, uint64_t tie)
{
	struct index_entry e, want;
	bool got = index_ranges_get(&v->ranges, start, tie, &e);

	REQUIRE(got == nindex_get(&v->naive, start, tie, &want), "index_ranges_get()");
	REQUIRE(!got || nindex_entry_equal(&e, &want), "index_ranges_get()");
}

static void check_version(struct twin *tw, const struct version *v)
{
	const char *why = index_ranges_check(&v->ranges);
	struct index_entry e;
	size_t i;

	if (!why)
		why = nindex_compare(&v->naive, &v->tree);
	if (why)
		fail(tw, why, "check");
	REQUIRE(index_ranges_count(&v->ranges) == v->naive.n, "the count");
	check_range(tw, v, 0, LIMIT);
	check_range(tw, v, 1, 0);
	for (i = 0; i < 16; i++) {
		e = random_range(tw);
		check_range(tw, v, e.start, e.end);
		check_range(tw, v, e.start, e.start + 1);
		check_range(tw, v, e.end - 1, e.end + pick(tw, 2));
		check_get(tw, v, e.start, e.tie);
		if (v->naive.n == 0)
			continue;
		e = v->naive.entry[pick(tw, v->naive.n)];
		check_range(tw, v, e.start - (e.start > 0), e.end + pick(tw, 3) - 1);
		check_get(tw, v, e.start, e.tie);
		check_get(tw, v, e.start, e.tie + 1);
		check_get(tw, v, e.start + 1, e.tie);
	}
}

/* ---- Steps ------------------------------------------------------------------- */

static bool same_roots(const struct index_ranges *a, const struct index_ranges *b)
{
	return a->apart.word == b->apart.word && a->apart.count == b->apart.count &&
	       a->apart.bytes == b->apart.bytes && a->rest.node == b->rest.node &&
	       a->rest.count == b->rest.count && a->tie_of == b->tie_of;
}

/* The edits of a batch, or what goes and what comes, in turn. */
static int apply(struct twin *tw, struct index_batch *batch, const struct naive_index *naive,
		 const struct index_ranges *in, struct index_ranges *out)
{
	struct index_swap swap;
	int err;

	if (tw->batch % 2 == 0)
		return index_ranges_apply(batch, in, tw->edits, tw->nedits, out);
	swap = nindex_swap(naive, tw->edits, tw->nedits);
	tw->singles += swap.ncut <= 1 && swap.nput <= 1;
	err = index_ranges_replace(batch, in, &swap, out);
	nindex_swap_fini(&swap);
	return err;
}

static bool try_refused(struct twin *tw, uint64_t nth, int persistent)
{
	const struct version *v = newest(tw);
	const struct index_ranges was = v->ranges;
	struct index_ranges out = v->ranges;
	uint64_t live = tw->pool.live_bytes;
	struct index_batch batch;
	int err;

	index_batch_init(&batch, &tw->pool, tw->batch + 1);
	alloc_count_nodes(true);
	alloc_fail_at(nth, persistent);
	err = apply(tw, &batch, &v->naive, &v->ranges, &out);
	alloc_fail_at(0, 0);
	alloc_count_nodes(false);
	REQUIRE(err == 0 || err == -ENOMEM, "an error for lack of memory");
	REQUIRE(err == 0 || same_roots(&out, &was), "a failed batch wrote its result");
	index_batch_rollback(&batch);
	index_batch_fini(&batch);
	REQUIRE(tw->pool.live_bytes == live, "a rollback leaks");
	check_version(tw, v);
	tw->refusals += err != 0;
	return err != 0;
}

static void refuse_each(struct twin *tw)
{
	uint64_t live = alloc_live() - tw->pool.slab_bytes / 8192;

	for (uint64_t nth = 1; try_refused(tw, nth, (int)(tw->batch & 1));)
		nth += 1 + pick(tw, 1 + tw->nedits / 40);
	REQUIRE(alloc_live() - tw->pool.slab_bytes / 8192 == live, "memory leaks");
}

static void refuse_one(struct twin *tw, const struct index_edit *edits, size_t n)
{
	const struct version *v = newest(tw);
	struct index_ranges out = v->ranges;
	uint64_t live = tw->pool.live_bytes;
	struct index_batch batch;

	index_batch_init(&batch, &tw->pool, tw->batch + 1);
	REQUIRE(index_ranges_apply(&batch, &v->ranges, edits, n, &out) == -EINVAL, "a bad batch");
	index_batch_rollback(&batch);
	index_batch_fini(&batch);
	REQUIRE(same_roots(&out, &v->ranges), "a bad batch wrote its result");
	REQUIRE(tw->pool.live_bytes == live, "a rollback leaks");
}

/* What is not there cannot go, nothing ends where it starts, and edits rise strictly. */
static void refuse_bad(struct twin *tw)
{
	struct index_edit e[2] = {{INDEX_PUT, random_range(tw)}, {INDEX_PUT, random_range(tw)}};

	e[1].entry.start = e[0].entry.start;
	e[1].entry.tie = e[0].entry.tie;
	e[1].entry.item = e[0].entry.item;
	e[1].entry.end = e[0].entry.end;
	refuse_one(tw, e, 2);
	e[0].entry.start++;
	e[0].entry.end++;
	refuse_one(tw, e, 2);
	e[0].op = INDEX_REMOVE;
	e[0].entry.start += LIMIT / 2;
	refuse_one(tw, e, 1);
	e[1].entry.end = e[1].entry.start;
	refuse_one(tw, &e[1], 1);
	e[1].entry.end = LIMIT + 1;
	if (tw->kind == INDEX_RADIX)
		refuse_one(tw, &e[1], 1);
}

static void add_nodes(struct nindex_nodes *set, const struct version *v)
{
	nindex_nodes_add_tree(set, &v->ranges.apart);
	nindex_nodes_add_tree(set, &v->ranges.rest);
	nindex_nodes_add_tree(set, &v->tree);
}

static void step(struct twin *tw)
{
	struct version *v = newest(tw), *next = &tw->kept[(tw->batch + 1) % KEPT];
	struct nindex_nodes before = {0}, created = {0}, retired = {0}, after = {0};
	struct index_batch batch;

	nindex_free_list(&tw->pool, next->retired);
	nindex_fini(&next->naive);
	add_nodes(&before, v);
	index_batch_init(&batch, &tw->pool, tw->batch + 1);
	REQUIRE(apply(tw, &batch, &v->naive, &v->ranges, &next->ranges) == 0,
		"index_ranges_apply()");
	REQUIRE(index_apply(&batch, &v->tree, tw->edits, tw->nedits, &next->tree) == 0,
		"index_apply()");
	nindex_nodes_add_list(&created, batch.created);
	nindex_nodes_add_list(&retired, batch.retired);
	add_nodes(&after, next);
	REQUIRE(nindex_nodes_accounts(&before, &retired, &created, &after), "created and retired");
	nindex_nodes_fini(&before);
	nindex_nodes_fini(&created);
	nindex_nodes_fini(&retired);
	nindex_nodes_fini(&after);
	v->retired = batch.retired;
	next->retired = NULL;
	index_batch_fini(&batch);
	next->naive = tw->work;
	nindex_init(&tw->work);
	tw->moves += next->ranges.apart.count > v->ranges.apart.count &&
		     next->ranges.rest.count < v->ranges.rest.count;
	tw->batch++;
}

static void twin_init(struct twin *tw, enum shape shape, enum index_kind kind, uint64_t seed)
{
	memset(tw, 0, sizeof(*tw));
	tw->shape = shape;
	tw->kind = kind;
	tw->seed = tw->rng = seed;
	pool_init(&tw->pool);
	for (unsigned int i = 0; i < KEPT; i++) {
		index_ranges_init(&tw->kept[i].ranges, kind, tie_of);
		index_root_init(&tw->kept[i].tree, INDEX_TREE, true);
	}
}

static void run(struct twin *tw, uint64_t batches)
{
	uint64_t edits = 0, largest = 0, rest = 0;
	const struct version *v;
	unsigned int i;

	while (tw->batch < batches) {
		make_batch(tw);
		edits += tw->nedits;
		if (tw->batch % 25 == 0 && tw->nedits > 0)
			refuse_each(tw);
		refuse_bad(tw);
		step(tw);
		v = newest(tw);
		check_version(tw, v);
		check_version(tw, &tw->kept[pick(tw, KEPT)]);
		largest = v->naive.n > largest ? v->naive.n : largest;
		rest = v->ranges.rest.count > rest ? v->ranges.rest.count : rest;
	}
	v = newest(tw);
	for (i = 0; i < KEPT; i++) {
		if (&tw->kept[i] != v)
			nindex_free_list(&tw->pool, tw->kept[i].retired);
		nindex_fini(&tw->kept[i].naive);
	}
	REQUIRE(tw->pool.live_bytes == index_ranges_bytes(&v->ranges) + v->tree.bytes,
		"nodes leak");
	REQUIRE(pool_check(&tw->pool) == NULL, "the pool");
	REQUIRE(tw->refusals > 0, "no allocation was refused");
	pool_fini(&tw->pool);
	free(tw->edits);
	printf("ranges_twin: %s in a %s: %" PRIu64 " edits, up to %" PRIu64 " ranges, %" PRIu64
	       " in the rest; %" PRIu64 " batches moved some apart, %" PRIu64
	       " single changes, %" PRIu64 " refusals\n",
	       names[tw->shape], tw->kind == INDEX_RADIX ? "radix" : "tree", edits, largest, rest,
	       tw->moves, tw->singles, tw->refusals);
}

int main(int argc, char **argv)
{
	static struct twin tw;
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	uint64_t batches = argc > 2 ? strtoull(argv[2], NULL, 0) : 400;

	for (int shape = 0; shape < NSHAPES; shape++) {
		twin_init(&tw, (enum shape)shape, INDEX_RADIX, seed);
		run(&tw, batches);
	}
	twin_init(&tw, MIXED, INDEX_TREE, seed);
	run(&tw, batches);
	return 0;
}
