/* SPDX-License-Identifier: MIT */
/*
 * A radix index and a B+tree, driven by the same edits, against a sorted array, where
 * ranges are of any length and lie anywhere: in one leaf, a page apart, at every distance,
 * reaching from one heap to the next over many borders of directories; with outliers that
 * come and go, so that windows grow and directories become children of larger ones; and
 * with every allocation of an update failing in turn.
 *
 * A batch is made on a copy of the array, operation by operation; what then differs
 * is the batch. Some old versions stay and must not change.
 *
 *   test-model-radix_twin [SEED [BATCHES]]
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "index/index.h"
#include "naive_index.h"

#define KEPT 6u
#define LIMIT INDEX_RADIX_LIMIT
#define NKINDS 2u

#define REQUIRE(cond, what)                                                                        \
	do {                                                                                       \
		if (!(cond))                                                                       \
			fail(tw, what, #cond);                                                     \
	} while (0)

struct version {
	struct index_root root[NKINDS]; /* by enum index_kind */
	struct naive_index naive;
	struct pool_link *retired; /* by the update that ended this version */
};

/* Where ranges are put. */
enum shape {
	ONE_LEAF,
	PAGES,
	EVEN,
	FAR,
	EXPONENTIAL,
	OUTLIERS,
	BRIDGES,
	BORDERS,
	TOP,
	MIXED,
	NSHAPES
};
static const char *const names[NSHAPES] = {
    "one leaf", "a page apart", "even",    "far apart", "exponential",
    "outliers", "bridges",      "borders", "top",       "mixed",
};
/* About how many ranges there are when there are most. */
static const uint64_t sizes[NSHAPES] = {17, 900, 3000, 1500, 1200, 2500, 1200, 600, 1500, 1500};

struct twin {
	enum shape shape;
	uint64_t seed, rng, batch;
	uint64_t singles;   /* batches of one change that were applied by index_replace() */
	uint64_t retargets; /* and of changed items alone, of several */
	struct pool pool;
	struct version kept[KEPT]; /* ring; the newest at batch % KEPT */
	struct naive_index work;   /* the next version, in the making */
	struct index_edit *edits;
	size_t nedits;
	uint64_t refusals;
};

static void fail(const struct twin *tw, const char *what, const char *cond)
{
	fprintf(stderr, "radix_twin: %s, batch %" PRIu64 " of seed %" PRIu64 ": %s (%s)\n",
		names[tw->shape], tw->batch, tw->seed, what, cond);
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

/* ---- Batches -------------------------------------------------------------- */

/* Any number of bits, up to `most`. */
static uint64_t any_size(struct twin *tw, unsigned int most)
{
	return nindex_random(&tw->rng) >> (64 - (1 + pick(tw, most)));
}

static uint64_t point_of(struct twin *tw, enum shape shape)
{
	switch (shape) {
	case ONE_LEAF:
		return (UINT64_C(1) << 40) + pick(tw, 40);
	case PAGES:
		return (UINT64_C(3) << 30) + pick(tw, 2000);
	case EVEN:
		return pick(tw, UINT64_C(1) << 36);
	case FAR:
		return (pick(tw, 5) << 51) + pick(tw, 4000);
	case EXPONENTIAL:
		return (UINT64_C(1) << pick(tw, 62)) + pick(tw, 50);
	case OUTLIERS:
		if (pick(tw, 12) == 0)
			return any_size(tw, 62);
		return (UINT64_C(5) << 32) + pick(tw, 5000);
	case BRIDGES:
		/* Heaps of some tens, at distances of 2^10, 2^20 and 2^30. */
		return (pick(tw, 4) << 40) + (pick(tw, 4) << 30) + (pick(tw, 4) << 20) +
		       (pick(tw, 3) << 10) + pick(tw, 40);
	case BORDERS:
		/* Short of a border of many directories, so that windows reach beyond it. */
		return ((1 + pick(tw, 4)) << (10 + 10 * pick(tw, 3))) - 1 -
		       pick(tw, pick(tw, 3) ? 60 : 300);
	case TOP:
		return LIMIT - 1 - (pick(tw, 3) ? pick(tw, 3000) : any_size(tw, 62));
	default:
		return point_of(tw, (enum shape)(tw->batch / 40 % MIXED));
	}
}

static uint64_t length_of(struct twin *tw)
{
	enum shape shape = tw->shape == MIXED ? (enum shape)(tw->batch / 40 % MIXED) : tw->shape;

	switch (pick(tw, 100)) {
	case 0:
		return 1 + any_size(tw, 61);
	case 1:
		return shape == BRIDGES ? LIMIT : 1 + any_size(tw, 12);
	case 2:
	case 3:
		/* Often over the border. */
		return shape == BORDERS ? 1 + any_size(tw, 12) : 1;
	default:
		return shape == ONE_LEAF || shape == PAGES || shape == OUTLIERS ? 1
										: 1 + pick(tw, 30);
	}
}

static void *random_item(struct twin *tw)
{
	return (void *)(uintptr_t)(8 + 8 * pick(tw, 1000));
}

static void insert(struct twin *tw, size_t i, struct index_entry e)
{
	struct naive_index *work = &tw->work;

	work->entry = realloc(work->entry, (work->n + 1) * sizeof(*work->entry));
	REQUIRE(work->entry != NULL, "memory");
	memmove(work->entry + i + 1, work->entry + i, (work->n - i) * sizeof(e));
	work->entry[i] = e;
	work->n++;
}

static void erase(struct twin *tw, size_t i, size_t n)
{
	struct naive_index *work = &tw->work;

	memmove(work->entry + i, work->entry + i + n, (work->n - i - n) * sizeof(*work->entry));
	work->n -= n;
}

/* The free stretch before entry i. */
static uint64_t gap_start(const struct twin *tw, size_t i)
{
	return i > 0 ? tw->work.entry[i - 1].end : 0;
}

static uint64_t gap_end(const struct twin *tw, size_t i)
{
	return i < tw->work.n ? tw->work.entry[i].start : LIMIT;
}

static void add_at(struct twin *tw, uint64_t at)
{
	size_t i = nindex_lower(&tw->work, at, 0);
	struct index_entry e = {.start = at, .item = random_item(tw)};
	uint64_t len = length_of(tw), from = gap_start(tw, i), end = gap_end(tw, i);

	if (at >= end)
		return;
	if (at < from) {
		/* Within another range, of which only what is below stays. */
		end = tw->work.entry[i - 1].end;
		tw->work.entry[i - 1].end = at;
		from = at;
	}
	if (pick(tw, 64) == 0)
		e.start = from;
	e.end = len < end - at ? at + len : end;
	insert(tw, i, e);
}

/* Change one entry: its ends into the free stretches beside it, or what it leads to. */
static void change(struct twin *tw, size_t i)
{
	struct index_entry *e = &tw->work.entry[i];
	uint64_t from = gap_start(tw, i), end = gap_end(tw, i + 1);

	switch (pick(tw, 24)) {
	case 0:
		e->end = end;
		break;
	case 1:
		e->end = e->start + 1 + pick(tw, e->end - e->start);
		break;
	case 2:
		e->start = from;
		break;
	case 3:
		e->start += pick(tw, e->end - e->start);
		break;
	case 4:
		e->end += end > e->end ? pick(tw, end - e->end) : 0;
		break;
	default:
		e->item = random_item(tw);
	}
}

static void cut(struct twin *tw, size_t i, uint64_t most)
{
	size_t n = 1 + (size_t)pick(tw, most);

	erase(tw, i, n < tw->work.n - i ? n : tw->work.n - i);
}

/* Outliers go, so that others come. */
static void cut_outliers(struct twin *tw)
{
	const uint64_t low = UINT64_C(5) << 32, high = low + 5000;

	for (size_t i = tw->work.n; i-- > 0;)
		if (tw->work.entry[i].start < low || tw->work.entry[i].start >= high)
			erase(tw, i, 1);
}

static void operate(struct twin *tw, bool shrink)
{
	const uint64_t how = pick(tw, 16);
	size_t i = tw->work.n ? (size_t)pick(tw, tw->work.n) : 0;

	if (tw->work.n == 0 || how < (shrink ? 3 : 7)) {
		add_at(tw, point_of(tw, tw->shape));
	} else if (how < 9) {
		erase(tw, i, 1);
	} else if (how < 10 && pick(tw, shrink ? 1 : 8) == 0) {
		cut(tw, i, pick(tw, 4) == 0 ? 100 : 8);
	} else if (how < 15) {
		change(tw, i);
	} else {
		/* A run of neighbours that touch. */
		uint64_t at = point_of(tw, tw->shape), len = 1 + any_size(tw, 10);

		for (uint64_t k = 0; k < 1 + pick(tw, 40) && at < LIMIT - len; k++, at += len)
			add_at(tw, at);
	}
}

/* What the working copy differs by, with `noise` now and then an entry put as it is. */
static void derive_edits(struct twin *tw, bool noise)
{
	const struct naive_index *old = &newest(tw)->naive, *new = &tw->work;
	const struct index_entry *a, *b;
	size_t i = 0, j = 0;

	free(tw->edits);
	tw->edits = malloc((old->n + new->n + 1) * sizeof(*tw->edits));
	REQUIRE(tw->edits != NULL, "memory");
	tw->nedits = 0;
	while (i < old->n || j < new->n) {
		a = i < old->n ? &old->entry[i] : NULL;
		b = j < new->n ? &new->entry[j] : NULL;
		if (!b || (a && a->start < b->start)) {
			tw->edits[tw->nedits++] = (struct index_edit){INDEX_REMOVE, *a};
			i++;
			continue;
		}
		if (!a || b->start < a->start || !nindex_entry_equal(a, b) ||
		    (noise && pick(tw, 500) == 0))
			tw->edits[tw->nedits++] = (struct index_edit){INDEX_PUT, *b};
		i += a && a->start == b->start;
		j++;
	}
}

/* One range comes, goes, changes or goes elsewhere. */
static void operate_once(struct twin *tw)
{
	size_t i = tw->work.n ? (size_t)pick(tw, tw->work.n) : 0;

	if (tw->work.n > 0 && pick(tw, 3) == 0) {
		erase(tw, i, 1);
		add_at(tw, point_of(tw, tw->shape));
	} else {
		operate(tw, false);
	}
}

static void make_batch(struct twin *tw)
{
	uint64_t most = sizes[tw->shape], n = pick(tw, 3) ? 1 + pick(tw, 3) : 1 + pick(tw, 40);
	bool shrink = tw->batch / 150 % 2 == 1, once;

	nindex_fini(&tw->work);
	nindex_copy(&tw->work, &newest(tw)->naive);
	once = tw->batch % 150 >= 8 && tw->work.n >= most / 8 && pick(tw, 3) == 0;
	if (once) {
		operate_once(tw);
		derive_edits(tw, false);
		return;
	}
	if (tw->work.n > 0 && pick(tw, 8) == 0) {
		/* Other items, a few or many, in the ranges that there are. */
		for (n = 2 + pick(tw, pick(tw, 2) ? 4 : 1 + most / 4); n > 0; n--)
			tw->work.entry[pick(tw, tw->work.n)].item = random_item(tw);
		derive_edits(tw, true);
		return;
	}
	if (tw->batch % 150 < 8 || tw->work.n < most / 8)
		n += pick(tw, 1 + most / 2);
	if (pick(tw, 400) == 0)
		tw->work.n = 0;
	if (tw->shape == OUTLIERS && pick(tw, 6) == 0)
		cut_outliers(tw);
	while (n-- > 0)
		operate(tw, shrink || tw->work.n > most);
	derive_edits(tw, true);
}

/* ---- Comparison ------------------------------------------------------------ */

static uint64_t random_point(struct twin *tw, const struct version *v)
{
	const struct index_entry *e;

	if (v->naive.n == 0 || pick(tw, 4) == 0)
		return pick(tw, 2) ? point_of(tw, tw->shape) : nindex_random(&tw->rng);
	e = &v->naive.entry[pick(tw, v->naive.n)];
	return (pick(tw, 2) ? e->start : e->end) + pick(tw, 3) - 1;
}

static void check_one(struct twin *tw, const struct version *v, const struct index_root *root,
		      bool all_borders)
{
	const char *why = nindex_compare(&v->naive, root);
	uint64_t a, b;
	size_t i;

	for (i = 0; all_borders && !why && i < v->naive.n; i++) {
		for (a = 0; a < 3 && !why; a++) {
			why =
			    nindex_check_point(&v->naive, root, v->naive.entry[i].start + a - 1, 0);
			if (!why)
				why = nindex_check_point(&v->naive, root,
							 v->naive.entry[i].end + a - 1, 0);
		}
	}
	for (i = 0; i < 12 && !why; i++) {
		a = random_point(tw, v);
		b = pick(tw, 2) ? a + any_size(tw, 20) : random_point(tw, v);
		why = nindex_check_point(&v->naive, root, a, pick(tw, 9) == 0);
		if (!why)
			why = nindex_check_range(&v->naive, root, a, b);
	}
	if (why)
		fail(tw, why, root->kind == INDEX_RADIX ? "radix" : "tree");
}

static void check_version(struct twin *tw, const struct version *v, bool all_borders)
{
	for (unsigned int kind = 0; kind < NKINDS; kind++)
		check_one(tw, v, &v->root[kind], all_borders);
}

/* Both kinds tell a difference in one order: change by change. */
static void check_diff(struct twin *tw, const struct version *a, const struct version *b)
{
	struct nindex_changes got[NKINDS] = {0};

	for (unsigned int kind = 0; kind < NKINDS; kind++) {
		REQUIRE(nindex_diff_agrees(&a->naive, &a->root[kind], &b->naive, &b->root[kind]),
			"index_diff()");
		REQUIRE(index_diff(&a->root[kind], &b->root[kind], nindex_collect_change,
				   &got[kind]) == 0,
			"index_diff()");
	}
	REQUIRE(got[0].n == got[1].n, "differences of both kinds");
	for (size_t i = 0; i < got[0].n; i++)
		REQUIRE(got[0].change[i].in_a == got[1].change[i].in_a &&
			    nindex_entry_equal(&got[0].change[i].entry, &got[1].change[i].entry),
			"the order of differences");
	nindex_changes_fini(&got[0]);
	nindex_changes_fini(&got[1]);
}

/* The newest version built at once, which shares nothing with it. */
static void check_built(struct twin *tw)
{
	const struct version *v = newest(tw);
	struct index_edit *edits = malloc((v->naive.n + 1) * sizeof(*edits));
	struct index_batch batch;
	struct index_root built;

	REQUIRE(edits != NULL, "memory");
	for (size_t i = 0; i < v->naive.n; i++)
		edits[i] = (struct index_edit){INDEX_PUT, v->naive.entry[i]};
	index_root_init(&built, INDEX_RADIX, false);
	index_batch_init(&batch, &tw->pool, tw->batch + 1);
	REQUIRE(index_apply(&batch, &built, edits, v->naive.n, &built) == 0, "built at once");
	check_one(tw, v, &built, false);
	REQUIRE(nindex_diff_agrees(&v->naive, &v->root[INDEX_RADIX], &v->naive, &built),
		"diff of equals that share nothing");
	index_batch_rollback(&batch);
	index_batch_fini(&batch);
	free(edits);
}

/* ---- Steps ------------------------------------------------------------------ */

/* Does nothing change but items? */
static bool keeps_shape(const struct index_swap *swap)
{
	size_t i;

	for (i = 0; i < swap->ncut && i < swap->nput; i++)
		if (swap->cut[i].start != swap->put[i].start ||
		    swap->cut[i].end != swap->put[i].end)
			return false;
	return swap->ncut == swap->nput;
}

/* The edits of a batch, or what goes and what comes, in turn. */
static int apply(struct twin *tw, struct index_batch *batch, const struct naive_index *naive,
		 const struct index_root *in, struct index_root *out)
{
	struct index_swap swap;
	int err;

	if (tw->batch % 2 == 0)
		return index_apply(batch, in, tw->edits, tw->nedits, out);
	swap = nindex_swap(naive, tw->edits, tw->nedits);
	tw->singles += swap.ncut <= 1 && swap.nput <= 1;
	tw->retargets += swap.nput > 1 && keeps_shape(&swap);
	err = index_replace(batch, in, &swap, out);
	nindex_swap_fini(&swap);
	return err;
}

/* The batch while the nth allocation fails. Returns whether it was refused. */
static bool try_refused(struct twin *tw, uint64_t nth, int persistent)
{
	const struct version *v = newest(tw);
	struct index_root out = {.count = 12345};
	uint64_t live = tw->pool.live_bytes;
	struct index_batch batch;
	int err;

	index_batch_init(&batch, &tw->pool, tw->batch + 1);
	alloc_count_nodes(true);
	alloc_fail_at(nth, persistent);
	err = apply(tw, &batch, &v->naive, &v->root[INDEX_RADIX], &out);
	alloc_fail_at(0, 0);
	alloc_count_nodes(false);
	REQUIRE(err == 0 || err == -ENOMEM, "an error for lack of memory");
	REQUIRE(err == 0 || out.count == 12345, "a failed batch wrote its result");
	index_batch_rollback(&batch);
	index_batch_fini(&batch);
	REQUIRE(tw->pool.live_bytes == live, "a rollback leaks");
	REQUIRE(nindex_compare(&v->naive, &v->root[INDEX_RADIX]) == NULL,
		"a failed batch changed the index");
	tw->refusals += err != 0;
	return err != 0;
}

/* Every allocation fails in turn; of very many, some. */
static void refuse_each(struct twin *tw)
{
	const uint64_t stride = 1 + tw->nedits / 40;
	uint64_t live = alloc_live() - tw->pool.slab_bytes / 8192;

	for (uint64_t nth = 1; try_refused(tw, nth, (int)(tw->batch & 1));)
		nth += 1 + pick(tw, stride);
	REQUIRE(alloc_live() - tw->pool.slab_bytes / 8192 == live, "memory leaks");
}

static void step(struct twin *tw)
{
	struct version *v = newest(tw), *next = &tw->kept[(tw->batch + 1) % KEPT];
	struct nindex_nodes before = {0}, created = {0}, retired = {0}, after = {0};
	struct index_batch batch;

	nindex_free_list(&tw->pool, next->retired);
	nindex_fini(&next->naive);
	index_batch_init(&batch, &tw->pool, tw->batch + 1);
	for (unsigned int kind = 0; kind < NKINDS; kind++) {
		nindex_nodes_add_tree(&before, &v->root[kind]);
		REQUIRE(apply(tw, &batch, &v->naive, &v->root[kind], &next->root[kind]) == 0,
			"index_apply()");
	}
	nindex_nodes_add_list(&created, batch.created);
	nindex_nodes_add_list(&retired, batch.retired);
	for (unsigned int kind = 0; kind < NKINDS; kind++)
		nindex_nodes_add_tree(&after, &next->root[kind]);
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
	tw->batch++;
}

static void twin_init(struct twin *tw, enum shape shape, uint64_t seed)
{
	memset(tw, 0, sizeof(*tw));
	tw->shape = shape;
	tw->seed = tw->rng = seed;
	pool_init(&tw->pool);
	for (unsigned int i = 0; i < KEPT; i++)
		for (unsigned int kind = 0; kind < NKINDS; kind++)
			index_root_init(&tw->kept[i].root[kind], (enum index_kind)kind, false);
}

static void run(struct twin *tw, uint64_t batches)
{
	uint64_t edits = 0, largest = 0, height = 0;
	const struct version *v;
	unsigned int i;

	while (tw->batch < batches) {
		make_batch(tw);
		edits += tw->nedits;
		if (tw->batch % 25 == 0 && tw->nedits > 0)
			refuse_each(tw);
		step(tw);
		v = newest(tw);
		check_version(tw, v, tw->batch % 64 == 0);
		check_version(tw, &tw->kept[pick(tw, KEPT)], false);
		if (tw->batch % 8 == 0) {
			check_diff(tw, &tw->kept[pick(tw, KEPT)], v);
			check_diff(tw, v, &tw->kept[pick(tw, KEPT)]);
			check_built(tw);
		}
		largest = v->naive.n > largest ? v->naive.n : largest;
		if (v->root[INDEX_RADIX].height > height)
			height = v->root[INDEX_RADIX].height;
	}
	v = newest(tw);
	for (i = 0; i < KEPT; i++) {
		if (&tw->kept[i] != v)
			nindex_free_list(&tw->pool, tw->kept[i].retired);
		nindex_fini(&tw->kept[i].naive);
	}
	REQUIRE(tw->pool.live_bytes == v->root[0].bytes + v->root[1].bytes, "nodes leak");
	REQUIRE(pool_check(&tw->pool) == NULL, "the pool");
	REQUIRE(tw->refusals > 0, "no allocation was refused");
	pool_fini(&tw->pool);
	free(tw->edits);
	printf("radix_twin: %s: %" PRIu64 " batches, %" PRIu64 " edits, up to %" PRIu64
	       " entries, height %" PRIu64 ", %" PRIu64 " single changes, %" PRIu64
	       " of items alone, %" PRIu64 " refusals\n",
	       names[tw->shape], batches, edits, largest, height, tw->singles, tw->retargets,
	       tw->refusals);
	if (batches >= 500 && tw->singles < 20) {
		fprintf(stderr, "radix_twin: %s: hardly any single changes\n", names[tw->shape]);
		exit(1);
	}
	if (batches >= 500 && tw->retargets < 10) {
		fprintf(stderr, "radix_twin: %s: hardly any changes of items alone\n",
			names[tw->shape]);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	static struct twin tw;
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	uint64_t batches = argc > 2 ? strtoull(argv[2], NULL, 0) : 800;

	for (int shape = 0; shape < NSHAPES; shape++) {
		twin_init(&tw, (enum shape)shape, seed);
		run(&tw, batches);
	}
	return 0;
}
