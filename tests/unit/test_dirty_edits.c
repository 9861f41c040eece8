/* SPDX-License-Identifier: MIT */
/*
 * test_dirty_edits.c - batches and bits while slots are split, moved, resized and deleted.
 */
#include "dirty_fixture.h"

struct fixture {
	struct mslot_map *map;
	struct mslot_region *region;
};

static int setup(void **state)
{
	static struct fixture f;
	const struct mslot_map_options opt = {.nspaces = 1};

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

static void a_batch_outlives_every_edit(void **state)
{
	struct fixture *f = *state;
	struct mslot_part part = {.id = 2, .gpa = PAGES(33)};
	struct mslot_edit edit = {.kind = MSLOT_EDIT_SPLIT, .def.key = {0, 1}, .parts = &part};
	struct mslot_dirty_batch *batch;
	struct mslot_dirty *dirty;

	put(f, 1, 0, 64, 1);
	dirty = consumer(f->map);
	mark(f->map, 30, 6);
	batch = harvest(dirty);
	edit.nparts = 1;
	assert_int_equal(commit_edits(f->map, &edit, 1, NULL), 0);
	mark(f->map, 34, 1);
	mark(f->map, 63, 1);
	expect_runs(batch, RUNS({30, 6}));
	mslot_dirty_ack(batch);
	batch = harvest(dirty);
	expect_runs(batch, RUNS({34, 1}, {63, 1}));
	mslot_dirty_rewind(batch);
	/* A run ends where its slot does. */
	mark(f->map, 32, 2);
	mslot_dirty_nack(batch);
	batch = harvest(dirty);
	expect_runs(batch, RUNS({32, 1}, {33, 2}, {63, 1}));
	drop_slot(f->map, 2);
	expect_runs(batch, RUNS({32, 1}, {33, 2}, {63, 1}));
	mslot_dirty_nack(batch);
	expect_dirty(dirty, RUNS({32, 1}));
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
}

static void bits_follow_the_memory(void **state)
{
	struct fixture *f = *state;
	struct mslot_edit move = edit_of(MSLOT_EDIT_MOVE, def_of(1, 200, 0, NULL, 0));
	struct mslot_edit replace = edit_of(MSLOT_EDIT_REPLACE, def_of(1, 0, 0, f->region, 900));
	struct mslot_edit flags = edit_of(MSLOT_EDIT_SET_FLAGS, def_of(1, 0, 0, NULL, 0));
	struct mslot_edit shrink = edit_of(MSLOT_EDIT_RESIZE, def_of(1, 210, 20, NULL, 0));
	struct mslot_dirty *dirty;

	put(f, 1, 0, 64, 1);
	dirty = consumer(f->map);
	mark(f->map, 12, 2);
	assert_int_equal(commit_edits(f->map, &move, 1, NULL), 0);
	mark(f->map, 220, 1);
	flags.def.flags = MSLOT_READONLY;
	assert_int_equal(commit_edits(f->map, &flags, 1, NULL), 0);
	assert_int_equal(commit_edits(f->map, &shrink, 1, NULL), 0);
	expect_dirty(dirty, RUNS({212, 2}, {220, 1}));
	mark(f->map, 212, 2);
	assert_int_equal(commit_edits(f->map, &replace, 1, NULL), 0);
	expect_clean(dirty);
	mark(f->map, 213, 1);
	expect_dirty(dirty, RUNS({213, 1}));
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
}

/* An extent with bits of pages that left: an acknowledgement of the rest does not touch them. */
static void a_shared_extent_is_harvested_once(void **state)
{
	struct fixture *f = *state;
	struct mslot_part part[3] = {
	    {.id = 2, .gpa = PAGES(5)}, {.id = 3, .gpa = PAGES(70)}, {.id = 4, .gpa = PAGES(71)}};
	struct mslot_edit edit = {
	    .kind = MSLOT_EDIT_SPLIT, .def.key = {0, 1}, .parts = part, .nparts = 3};
	struct mslot_dirty *a, *b;

	put(f, 1, 0, 600, 1);
	a = consumer(f->map);
	b = consumer(f->map);
	assert_int_equal(commit_edits(f->map, &edit, 1, NULL), 0);
	mark(f->map, 0, 600);
	expect_dirty(a, RUNS({0, 5}, {5, 65}, {70, 1}, {71, 529}));
	mark(f->map, 4, 2);
	expect_dirty(b, RUNS({0, 5}, {5, 65}, {70, 1}, {71, 529}));
	expect_dirty(a, RUNS({4, 1}, {5, 1}));
	expect_clean(b);
	assert_int_equal(mslot_dirty_destroy(a), 0);
	assert_int_equal(mslot_dirty_destroy(b), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    CASE(a_batch_outlives_every_edit),
	    CASE(bits_follow_the_memory),
	    CASE(a_shared_extent_is_harvested_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
