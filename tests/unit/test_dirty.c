/* SPDX-License-Identifier: MIT */
/*
 * test_dirty.c - consumers and batches: what is reported, to whom, until when.
 */
#include "dirty_fixture.h"

#include <sched.h>

#include "base/alloc.h"
#include "rng.h"

struct fixture {
	struct mslot_map *map;
	struct mslot_region *region;
};

static int setup(void **state)
{
	static struct fixture f;
	const struct mslot_map_options opt = {.nspaces = 2};

	f.map = make_map(&opt);
	f.region = make_region(HVA, BIG_PAGES);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	end_map(f->map);
	mslot_region_put(f->region);
	return 0;
}

static void put(struct fixture *f, uint32_t id, uint64_t gfn, uint64_t npages, uint64_t offset)
{
	put_slot(f->map, def_of(id, gfn, npages, f->region, offset));
}

/* ---- Create and destroy ------------------------------------------------- */

static void create_refuses_bad_options(void **state)
{
	struct fixture *f = *state;
	static const struct mslot_dirty_range bad[] = {
	    {0, {0, 0}},        {0, {1, PAGE}},
	    {0, {0, PAGE + 1}}, {0, {PAGE, UINT64_MAX & ~(PAGE - 1)}},
	    {2, {0, PAGE}},
	};
	struct mslot_dirty *dirty = (void *)f;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct mslot_dirty_range two[2] = {{1, {0, PAGE}}, bad[i]};
		struct mslot_dirty_options opt = {.ranges = two, .nranges = 2};

		assert_int_equal(mslot_dirty_create(f->map, &opt, &dirty), -EINVAL);
	}
	assert_int_equal(
	    mslot_dirty_create(f->map, &(struct mslot_dirty_options){.flags = 2}, &dirty), -EINVAL);
	assert_ptr_equal(dirty, f);
	assert_int_equal(generation_of(f->map), 0);
}

static int call_in_callback(void *ctx, const struct mslot_diff *diff)
{
	struct mslot_dirty **dirty = ctx;
	struct mslot_map *map = *(struct mslot_map **)(void *)&dirty[1];
	struct mslot_dirty_batch *batch;
	struct mslot_dirty *other;

	(void)diff;
	if (mslot_dirty_create(map, NULL, &other) != -EDEADLK ||
	    mslot_dirty_get(dirty[0], &batch) != -EDEADLK ||
	    mslot_dirty_destroy(dirty[0]) != -EDEADLK)
		return -EPROTO;
	return 0;
}

static void waiting_calls_are_refused_where_they_would_deadlock(void **state)
{
	static const struct mslot_listener_ops ops = {.prepare = call_in_callback};
	struct fixture *f = *state;
	const struct mslot_snapshot *snap;
	struct mslot_listener *listener;
	struct mslot_dirty_batch *batch;
	struct mslot_dirty *dirty = consumer(f->map), *other;
	void *ctx[2] = {dirty, f->map};

	snap = mslot_enter(f->map);
	assert_int_equal(mslot_dirty_create(f->map, NULL, &other), -EDEADLK);
	assert_int_equal(mslot_dirty_get(dirty, &batch), -EDEADLK);
	assert_int_equal(mslot_dirty_destroy(dirty), -EDEADLK);
	mslot_leave(snap);
	assert_int_equal(mslot_listener_add(f->map, &ops, ctx, 0, &listener), 0);
	put(f, 1, 0, 4, 0);
	assert_int_equal(mslot_listener_remove(listener), 0);
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
}

static void a_map_with_consumers_is_busy(void **state)
{
	struct fixture *f = *state;
	struct mslot_dirty *dirty = consumer(f->map);

	assert_int_equal(mslot_map_destroy(f->map), -EBUSY);
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
	assert_int_equal(mslot_dirty_destroy(NULL), 0);
}

static void fifteen_consumers_and_no_more(void **state)
{
	struct mslot_dirty *dirty[MSLOT_MAX_DIRTY_CONSUMERS], *other = NULL;
	struct fixture *f = *state;

	put(f, 1, 0, 4, 0);
	for (size_t i = 0; i < MSLOT_MAX_DIRTY_CONSUMERS; i++)
		dirty[i] = consumer(f->map);
	assert_int_equal(mslot_dirty_create(f->map, NULL, &other), -EBUSY);
	assert_null(other);
	mark(f->map, 2, 1);
	for (size_t i = 0; i < MSLOT_MAX_DIRTY_CONSUMERS; i++)
		expect_dirty(dirty[i], RUNS({2, 1}));
	assert_int_equal(mslot_dirty_destroy(dirty[7]), 0);
	dirty[7] = consumer(f->map);
	expect_clean(dirty[7]);
	for (size_t i = 0; i < MSLOT_MAX_DIRTY_CONSUMERS; i++)
		assert_int_equal(mslot_dirty_destroy(dirty[i]), 0);
}

struct seen {
	unsigned int commits, reprotected;
	int veto;
};

static int see_prepare(void *ctx, const struct mslot_diff *diff)
{
	(void)diff;
	return ((struct seen *)ctx)->veto;
}

static void see_commit(void *ctx, const struct mslot_diff *diff)
{
	struct seen *seen = ctx;

	seen->commits++;
	for (size_t i = 0; i < diff->nsegs; i++)
		seen->reprotected += diff->segs[i].kind == MSLOT_DIFF_REPROTECTED;
}

static void logging_goes_on_and_off_with_consumers(void **state)
{
	static const struct mslot_listener_ops ops = {.prepare = see_prepare, .commit = see_commit};
	struct fixture *f = *state;
	struct mslot_dirty *first, *second = NULL;
	struct mslot_listener *listener;
	struct seen seen = {.veto = -EXDEV};
	struct mslot_slot_def logged = def_of(2, 8, 4, f->region, 8);
	uint64_t generation;

	put(f, 1, 0, 4, 0);
	logged.flags = LOG;
	put_slot(f->map, logged);
	put(f, 3, 20, 4, 20);
	generation = generation_of(f->map);
	assert_int_equal(mslot_listener_add(f->map, &ops, &seen, 0, &listener), 0);

	assert_int_equal(mslot_dirty_create(f->map, NULL, &first), -EXDEV);
	assert_int_equal(generation_of(f->map), generation);
	assert_sound(f->map);
	seen.veto = 0;
	first = consumer(f->map);
	assert_int_equal(seen.commits, 1);
	assert_int_equal(seen.reprotected, 2);
	second = consumer(f->map);
	assert_int_equal(seen.commits, 1);
	assert_sound(f->map);

	assert_int_equal(mslot_dirty_destroy(first), 0);
	assert_int_equal(seen.commits, 1);
	mark(f->map, 0, 1);
	seen.veto = -EXDEV;
	assert_int_equal(mslot_dirty_destroy(second), -EXDEV);
	assert_sound(f->map);
	expect_dirty(second, RUNS({0, 1}));
	seen.veto = 0;
	assert_int_equal(mslot_dirty_destroy(second), 0);
	assert_int_equal(seen.commits, 2);
	assert_int_equal(seen.reprotected, 4);
	assert_sound(f->map);
	assert_int_equal(mslot_listener_remove(listener), 0);
}

/* The library's own edits are not those that max_edits counts. */
static void more_slots_than_max_edits(void **state)
{
	const struct mslot_map_options opt = {.max_edits = 2, .max_user_slots = 10};
	struct mslot_map *map = make_map(&opt);
	struct fixture *f = *state;
	struct mslot_dirty *dirty;

	for (uint32_t id = 0; id < 12; id++) {
		struct mslot_edit edit =
		    edit_of(MSLOT_EDIT_CREATE, def_of(id, 2 * id, 1, f->region, id));

		edit.edit_flags = id >= 10 ? MSLOT_EDIT_PRIVATE : 0;
		assert_int_equal(commit_edits(map, &edit, 1, NULL), 0);
	}
	dirty = consumer(map);
	mark(map, 0, 24);
	expect_dirty(dirty, RUNS({0, 1}, {2, 1}, {4, 1}, {6, 1}, {8, 1}, {10, 1}, {12, 1}, {14, 1},
				 {16, 1}, {18, 1}, {20, 1}, {22, 1}));
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
	end_map(map);
}

/* ---- Harvests ----------------------------------------------------------- */

static void get_ack_nack(void **state)
{
	struct fixture *f = *state;
	struct mslot_dirty_batch *batch;
	struct mslot_dirty *dirty;

	put(f, 1, 0x10, 64, 3);
	dirty = consumer(f->map);
	expect_clean(dirty);
	mark(f->map, 0x11, 2);
	batch = harvest(dirty);
	expect_runs(batch, RUNS({0x11, 2}));
	mark(f->map, 0x20, 1);
	expect_runs(batch, RUNS({0x11, 2}));
	mslot_dirty_nack(batch);
	batch = harvest(dirty);
	expect_runs(batch, RUNS({0x11, 2}, {0x20, 1}));
	mark(f->map, 0x11, 1);
	mslot_dirty_ack(batch);
	expect_dirty(dirty, RUNS({0x11, 1}));
	expect_clean(dirty);
	/* Neither does anything. */
	mslot_dirty_ack(NULL);
	mslot_dirty_nack(NULL);
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
}

static void another_get_ends_a_batch_that_was_not_ended(void **state)
{
	struct fixture *f = *state;
	struct mslot_dirty_batch *batch;
	struct mslot_dirty *dirty;

	put(f, 1, 0, 64, 0);
	dirty = consumer_of(f->map, &(struct mslot_dirty_options){.tag = "migration"});
	mark(f->map, 1, 1);
	(void)harvest(dirty);
	mark(f->map, 3, 1);
	batch = harvest(dirty);
	expect_runs(batch, RUNS({1, 1}, {3, 1}));
	assert_int_equal(mslot_holders(f->map, NULL, 0), 1);
	batch = harvest(dirty);
	expect_runs(batch, RUNS({1, 1}, {3, 1}));
	struct mslot_holder holder;
	assert_int_equal(mslot_holders(f->map, &holder, 1), 1);
	assert_string_equal(holder.tag, "migration");
	/* With a batch. */
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
	assert_int_equal(mslot_holders(f->map, NULL, 0), 0);
}

static void no_consumer_hides_a_write_from_another(void **state)
{
	struct fixture *f = *state;
	struct mslot_dirty *a, *b, *c;
	struct mslot_dirty_batch *batch;

	put(f, 1, 0, 700, 5);
	a = consumer(f->map);
	b = consumer(f->map);
	mark(f->map, 600, 3);
	expect_dirty(a, RUNS({600, 3}));
	mark(f->map, 10, 1);
	batch = harvest(b);
	expect_runs(batch, RUNS({10, 1}, {600, 3}));
	expect_dirty(a, RUNS({10, 1}));
	mslot_dirty_nack(batch);
	c = consumer(f->map);
	expect_clean(c);
	expect_dirty(b, RUNS({10, 1}, {600, 3}));
	assert_int_equal(mslot_dirty_destroy(b), 0);
	mark(f->map, 1, 1);
	expect_dirty(c, RUNS({1, 1}));
	expect_dirty(a, RUNS({1, 1}));
	assert_int_equal(mslot_dirty_destroy(a), 0);
	assert_int_equal(mslot_dirty_destroy(c), 0);
}

static void every_write_path_marks(void **state)
{
	static _Alignas(4096) unsigned char host[8 * 4096];
	struct mslot_region *region = make_region((uintptr_t)host, 8);
	struct fixture *f = *state;
	const struct mslot_span span = {.gpa = PAGES(0x107), .len_bytes = 8, .access = MSLOT_WRITE};
	const struct mslot_snapshot *snap;
	struct mslot_dirty *dirty;
	uint64_t was = 0, word = 7;
	struct iovec seg;

	put_slot(f->map, def_of(1, 0x100, 8, region, 0));
	dirty = consumer(f->map);
	snap = mslot_enter(f->map);
	assert_int_equal(mslot_write(snap, (struct mslot_addr){0, PAGES(0x100)}, &word, 8), 0);
	mslot_leave(snap);
	expect_dirty(dirty, RUNS({0x100, 1}));
	snap = mslot_enter(f->map);
	assert_int_equal(mslot_store(snap, (struct mslot_addr){0, PAGES(0x101)}, 8, 5), 0);
	assert_int_equal(mslot_cmpxchg(snap, (struct mslot_addr){0, PAGES(0x103)}, 8, &was, 5), 1);
	mslot_leave(snap);
	expect_dirty(dirty, RUNS({0x101, 1}, {0x103, 1}));
	snap = mslot_enter(f->map);
	assert_int_equal(mslot_copy(snap, (struct mslot_addr){0, PAGES(0x105) - 1},
				    (struct mslot_addr){0, PAGES(0x101)}, 2),
			 0);
	assert_int_equal(mslot_clear(snap, (struct mslot_addr){0, PAGES(0x102)}, 1), 0);
	assert_int_equal(mslot_write_begin(snap, &span, &seg, 1), 1);
	mslot_write_end(snap, &span);
	mslot_leave(snap);
	expect_dirty(dirty, RUNS({0x102, 1}, {0x104, 2}, {0x107, 1}));
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
	drop_slot(f->map, 1);
	mslot_region_put(region);
}

/* ---- Reading a batch ---------------------------------------------------- */

static const uint64_t sizes[] = {1, 63, 64, 65, 511, 512, 513, 1025, 65535, 65537};

/* What a batch must report, page by page. */
static void compare_pages(struct mslot_dirty_batch *batch, const bool *want, uint64_t gfn,
			  uint64_t npages)
{
	uint64_t page = 0, count = 0;
	struct mslot_dirty_run run;

	mslot_dirty_rewind(batch);
	while (mslot_dirty_next(batch, &run)) {
		uint64_t first = run.gpa / PAGE - gfn, n = run.len_bytes / PAGE;

		for (; page < first; page++)
			assert_false(want[page]);
		for (; page < first + n; page++)
			assert_true(want[page]);
		count += n;
	}
	for (; page < npages; page++)
		assert_false(want[page]);
	assert_int_equal(mslot_dirty_pages(batch), count);
}

static void compare_bitmap(struct mslot_dirty_batch *batch, uint32_t id, const bool *want,
			   uint64_t npages)
{
	size_t words = (size_t)bitmap_words(npages);
	uint64_t *bitmap = malloc((words + 1) * sizeof(*bitmap)), count = 0;

	assert_non_null(bitmap);
	memset(bitmap, 0xa5, (words + 1) * sizeof(*bitmap));
	assert_int_equal(
	    mslot_dirty_bitmap(batch, (struct mslot_key){0, id}, bitmap, words * 8 - 1), -ENOSPC);
	assert_int_equal(bitmap[0], UINT64_C(0xa5a5a5a5a5a5a5a5));
	int64_t n = mslot_dirty_bitmap(batch, (struct mslot_key){0, id}, bitmap, words * 8);

	for (uint64_t i = 0; i < words * 64; i++) {
		assert_int_equal(bitmap_test(bitmap, i), i < npages && want[i]);
		count += i < npages && want[i];
	}
	assert_int_equal(n, count);
	assert_int_equal(bitmap[words], UINT64_C(0xa5a5a5a5a5a5a5a5));
	free(bitmap);
}

static void random_marks(struct mslot_map *map, struct rng *rng, bool *want, uint64_t gfn,
			 uint64_t npages)
{
	for (int i = 0; i < 12; i++) {
		uint64_t first = rng_below(rng, npages);
		uint64_t n = rng_range(rng, 1, rng_chance(rng, 20) ? npages : 70);

		n = n < npages - first ? n : npages - first;
		mark(map, gfn + first, n);
		memset(want + first, true, n);
	}
}

/* Cut the slot 1 into parts 2, 3, 4 and join them again: pieces begin at any bit. */
static void split_and_merge(struct mslot_map *map, struct rng *rng, uint64_t gfn, uint64_t npages)
{
	struct mslot_part part[3] = {{.id = 2}, {.id = 3}, {.id = 4}};
	struct mslot_edit edit = {.kind = MSLOT_EDIT_SPLIT, .def.key = {0, 1}, .parts = part};
	struct mslot_edit grow = edit_of(MSLOT_EDIT_RESIZE, def_of(1, gfn, npages - 1, NULL, 0));

	if (npages < 8)
		return;
	part[0].gpa = PAGES(gfn + rng_range(rng, 1, npages - 7));
	part[1].gpa = part[0].gpa + PAGES(rng_range(rng, 1, 2));
	part[2].gpa = part[1].gpa + PAGES(rng_range(rng, 1, 2));
	edit.nparts = 3;
	assert_int_equal(commit_edits(map, &edit, 1, NULL), 0);
	edit.kind = MSLOT_EDIT_MERGE;
	assert_int_equal(commit_edits(map, &edit, 1, NULL), 0);
	/* The last page begins anew in an extent of its own. */
	assert_int_equal(commit_edits(map, &grow, 1, NULL), 0);
	grow.def.len_bytes = PAGES(npages);
	assert_int_equal(commit_edits(map, &grow, 1, NULL), 0);
}

static void batches_at_every_size(void **state)
{
	static bool want[65537];
	struct fixture *f = *state;
	struct rng rng;

	rng_init(&rng, 5);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		uint64_t npages = sizes[i], gfn = 7 + i;
		struct mslot_dirty_batch *batch;
		struct mslot_dirty *dirty;

		put(f, 1, gfn, npages, 3 * i + 1);
		dirty = consumer(f->map);
		memset(want, 0, sizeof(want));
		for (int round = 0; round < 4; round++) {
			split_and_merge(f->map, &rng, gfn, npages);
			if (npages >= 8)
				want[npages - 1] = false;
			random_marks(f->map, &rng, want, gfn, npages);
			batch = harvest(dirty);
			compare_pages(batch, want, gfn, npages);
			compare_bitmap(batch, 1, want, npages);
			if (round % 2) {
				mslot_dirty_ack(batch);
				memset(want, 0, sizeof(want));
			} else {
				mslot_dirty_nack(batch);
			}
		}
		expect_clean(dirty);
		mark(f->map, gfn, npages);
		expect_dirty(dirty, RUNS({gfn, npages}));
		assert_int_equal(mslot_dirty_destroy(dirty), 0);
		drop_slot(f->map, 1);
	}
}

static void bitmap_of_what_is_not_there(void **state)
{
	struct fixture *f = *state;
	struct mslot_dirty_range range = {0, {PAGES(100), PAGE}};
	struct mslot_dirty *dirty;
	struct mslot_dirty_batch *batch;
	uint64_t word = 9;

	put(f, 1, 0, 4, 0);
	dirty = consumer_of(f->map, &(struct mslot_dirty_options){.ranges = &range, .nranges = 1});
	batch = harvest(dirty);
	assert_int_equal(mslot_dirty_bitmap(batch, (struct mslot_key){0, 2}, &word, 8), -ENOENT);
	assert_int_equal(mslot_dirty_bitmap(batch, (struct mslot_key){9, 1}, &word, 8), -ENOENT);
	/* There, but nobody logs it. */
	assert_int_equal(mslot_dirty_bitmap(batch, (struct mslot_key){0, 1}, &word, 8), -ENOENT);
	assert_int_equal(word, 9);
	mslot_dirty_ack(batch);
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
}

/* ---- Scopes ------------------------------------------------------------- */

static void scopes_cut_slots(void **state)
{
	/* Unsorted, overlapping, touching: 2-5 and 8-10, and all of space 1. */
	static const struct mslot_dirty_range ranges[] = {
	    {0, {PAGES(9), PAGES(1)}}, {1, {0, PAGES(1000)}},      {0, {PAGES(2), PAGES(2)}},
	    {0, {PAGES(3), PAGES(2)}}, {0, {PAGES(40), PAGES(4)}}, {0, {PAGES(8), PAGES(1)}},
	};
	const struct mslot_dirty_options opt = {.ranges = ranges, .nranges = 6};
	struct fixture *f = *state;
	struct mslot_dirty *dirty, *all;
	struct mslot_dirty_batch *batch;
	struct mslot_slot_def def = def_of(1, 0, 12, f->region, 100);
	uint64_t word = 0;

	put(f, 1, 0, 12, 5);
	put(f, 2, 20, 4, 20);
	def.key.space = 1;
	put_slot(f->map, def);
	dirty = consumer_of(f->map, &opt);
	all = consumer(f->map);
	mark(f->map, 0, 30);
	batch = harvest(dirty);
	expect_runs(batch, RUNS({2, 3}, {8, 2}));
	assert_int_equal(mslot_dirty_bitmap(batch, (struct mslot_key){0, 1}, &word, 8), 5);
	assert_int_equal(word, 0x31c);
	assert_int_equal(mslot_dirty_bitmap(batch, (struct mslot_key){0, 2}, &word, 8), 0);
	assert_int_equal(word, 0);
	mslot_dirty_ack(batch);
	expect_clean(dirty);
	expect_dirty(all, RUNS({0, 12}, {20, 4}));
	/* Written out of the scope, reported when it comes in; what was reported is not. */
	struct mslot_edit move = edit_of(MSLOT_EDIT_MOVE, def_of(1, 32, 0, NULL, 0));
	assert_int_equal(commit_edits(f->map, &move, 1, NULL), 0);
	expect_dirty(dirty, RUNS({42, 2}));
	assert_int_equal(mslot_dirty_destroy(all), 0);
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
}

static void spaces_are_apart(void **state)
{
	struct fixture *f = *state;
	struct mslot_dirty_range range = {1, {0, PAGES(64)}};
	struct mslot_slot_def def = def_of(1, 0, 4, f->region, 50);
	const struct mslot_snapshot *snap;
	struct mslot_dirty *dirty;
	struct mslot_dirty_batch *batch;
	struct mslot_dirty_run run;

	put(f, 1, 0, 4, 0);
	def.key.space = 1;
	put_slot(f->map, def);
	dirty = consumer_of(f->map, &(struct mslot_dirty_options){.ranges = &range, .nranges = 1});
	mark(f->map, 1, 1);
	snap = mslot_enter(f->map);
	mslot_mark_dirty(snap, (struct mslot_addr){1, PAGES(2)}, 1);
	mslot_leave(snap);
	batch = harvest(dirty);
	assert_int_equal(mslot_dirty_next(batch, &run), 1);
	assert_int_equal(run.key.space, 1);
	assert_int_equal(run.gpa, PAGES(2));
	assert_int_equal(mslot_dirty_next(batch, &run), 0);
	mslot_dirty_ack(batch);
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
}

static void initially_set(void **state)
{
	const struct mslot_dirty_options opt = {.flags = MSLOT_DIRTY_INITIALLY_SET};
	struct fixture *f = *state;
	struct mslot_dirty *plain, *dirty, *late;
	struct mslot_part part = {.id = 2, .gpa = PAGES(7)};
	struct mslot_edit edit = {.kind = MSLOT_EDIT_SPLIT, .def.key = {0, 1}, .parts = &part};

	put(f, 1, 0, 12, 0);
	put(f, 3, 40, 2, 40);
	dirty = consumer_of(f->map, &opt);
	expect_dirty(dirty, RUNS({0, 12}, {40, 2}));
	plain = consumer(f->map);
	expect_clean(plain);
	/* Hot-plugged memory, and what a slot grows by. */
	put(f, 4, 50, 3, 50);
	expect_dirty(dirty, RUNS({50, 3}));
	edit.nparts = 1;
	assert_int_equal(commit_edits(f->map, &edit, 1, NULL), 0);
	expect_clean(dirty);
	expect_clean(plain);
	struct mslot_edit grow = edit_of(MSLOT_EDIT_RESIZE, def_of(4, 48, 6, NULL, 0));
	assert_int_equal(commit_edits(f->map, &grow, 1, NULL), 0);
	expect_dirty(dirty, RUNS({48, 2}, {53, 1}));
	/* Both parts of the split share an extent; each gets its bits. */
	late = consumer_of(f->map, &opt);
	expect_dirty(late, RUNS({0, 7}, {7, 5}, {40, 2}, {48, 6}));
	assert_int_equal(mslot_dirty_destroy(late), 0);
	assert_int_equal(mslot_dirty_destroy(plain), 0);
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
}

/* ---- Numbers ------------------------------------------------------------ */

/* A set goes with its consumer: the next one of that number begins clean. */
static void a_number_is_reused_clean(void **state)
{
	struct fixture *f = *state;
	struct mslot_dirty *keeps, *dirty;
	uint64_t live;

	put(f, 1, 0, 64, 0);
	keeps = consumer(f->map);
	live = alloc_live();
	for (int i = 0; i < 3; i++) {
		dirty = consumer(f->map);
		mark(f->map, 9, 4);
		expect_dirty(keeps, RUNS({9, 4}));
		(void)harvest(dirty);
		mark(f->map, 20, 4);
		expect_dirty(keeps, RUNS({20, 4}));
		assert_int_equal(mslot_dirty_destroy(dirty), 0);
		dirty = consumer(f->map);
		expect_clean(dirty);
		assert_int_equal(mslot_dirty_destroy(dirty), 0);
		/* Put holds are freed when the reclaimer comes to it; a set left over never. */
		while (alloc_live() > live)
			sched_yield();
	}
	assert_int_equal(mslot_dirty_destroy(keeps), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    CASE(create_refuses_bad_options),
	    CASE(waiting_calls_are_refused_where_they_would_deadlock),
	    CASE(a_map_with_consumers_is_busy),
	    CASE(fifteen_consumers_and_no_more),
	    CASE(logging_goes_on_and_off_with_consumers),
	    CASE(more_slots_than_max_edits),
	    CASE(get_ack_nack),
	    CASE(another_get_ends_a_batch_that_was_not_ended),
	    CASE(no_consumer_hides_a_write_from_another),
	    CASE(every_write_path_marks),
	    CASE(batches_at_every_size),
	    CASE(bitmap_of_what_is_not_there),
	    CASE(scopes_cut_slots),
	    CASE(spaces_are_apart),
	    CASE(initially_set),
	    CASE(a_number_is_reused_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
