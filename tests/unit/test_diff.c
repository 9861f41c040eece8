/* SPDX-License-Identifier: MIT */
/*
 * test_diff.c - the difference between two snapshots: each kind, and what wins.
 */
#include "map_fixture.h"

struct fixture {
	struct mslot_map *map;
	struct mslot_region *region, *other;
	struct mslot_slot_def def; /* id 1: frames 16-31, host pages 100-115 */
	struct mslot_hold *before;
};

static int setup(void **state)
{
	static struct fixture f;
	struct mslot_map_options opt = {.nspaces = 2};

	f.map = make_map(&opt);
	f.region = make_region(HVA, REGION_PAGES);
	f.other = make_region(HVA, REGION_PAGES); /* the same bytes, but not the same region */
	f.def = def_of(1, 16, 16, f.region, 100);
	put_slot(f.map, f.def);
	f.before = hold_now(f.map, "before");
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	mslot_hold_put(f->before);
	assert_int_equal(mslot_map_destroy(f->map), 0);
	mslot_region_put(f->region);
	mslot_region_put(f->other);
	return 0;
}

#define NOT_MOVED UINT64_MAX

struct seg {
	enum mslot_diff_kind kind;
	uint64_t gfn, npages, origin_gfn; /* or NOT_MOVED */
};

static void expect_diff(const struct mslot_snapshot *from, const struct mslot_snapshot *to,
			const struct seg *want, size_t n)
{
	struct mslot_diff *diff = NULL;

	assert_int_equal(mslot_diff_create(from, to, &diff), 0);
	assert_ptr_equal(diff->before, from);
	assert_ptr_equal(diff->after, to);
	assert_int_equal(diff->nsegs, n);
	for (size_t i = 0; i < n; i++) {
		const struct mslot_diff_seg *seg = &diff->segs[i];
		uint64_t last = seg->gpa + seg->len_bytes - 1;

		assert_int_equal(seg->kind, want[i].kind);
		assert_int_equal(seg->gpa, PAGES(want[i].gfn));
		assert_int_equal(seg->len_bytes, PAGES(want[i].npages));
		assert_int_equal(seg->moved, want[i].origin_gfn != NOT_MOVED);
		if (seg->moved)
			assert_int_equal(seg->origin_gpa, PAGES(want[i].origin_gfn));
		assert_ptr_equal(seg->before, mslot_find(from, seg->space, seg->gpa));
		assert_ptr_equal(seg->before, mslot_find(from, seg->space, last));
		assert_ptr_equal(seg->after, mslot_find(to, seg->space, seg->gpa));
		assert_ptr_equal(seg->after, mslot_find(to, seg->space, last));
		assert_int_equal(seg->kind == MSLOT_DIFF_ADDED, seg->before == NULL);
		assert_int_equal(seg->kind == MSLOT_DIFF_REMOVED, seg->after == NULL);
	}
	mslot_diff_destroy(diff);
}

/* From the fixture's map to the current one. */
static void expect_since(struct fixture *f, const struct seg *want, size_t n)
{
	const struct mslot_snapshot *now = mslot_enter(f->map);

	expect_diff(mslot_hold_snapshot(f->before), now, want, n);
	mslot_leave(now);
}

static void change(struct fixture *f, struct mslot_edit edit)
{
	assert_int_equal(commit_edits(f->map, &edit, 1, NULL), 0);
}

static void equal_snapshots_have_no_difference(void **state)
{
	struct fixture *f = *state;
	const struct mslot_snapshot *snap = mslot_hold_snapshot(f->before);

	expect_diff(snap, snap, NULL, 0);
	expect_since(f, NULL, 0);
	/* There and back again: other descriptors, the same meaning. */
	f->def.flags = MSLOT_READONLY;
	change(f, edit_of(MSLOT_EDIT_SET_FLAGS, f->def));
	f->def.flags = 0;
	change(f, edit_of(MSLOT_EDIT_SET_FLAGS, f->def));
	assert_int_equal(generation_of(f->map), 3);
	expect_since(f, NULL, 0);
	mslot_diff_destroy(NULL);
}

static void added_and_removed(void **state)
{
	struct fixture *f = *state;
	const struct mslot_snapshot *now;
	struct seg added[] = {{MSLOT_DIFF_ADDED, 32, 4, NOT_MOVED}};
	struct seg removed[] = {{MSLOT_DIFF_REMOVED, 32, 4, NOT_MOVED}};
	struct seg gone[] = {{MSLOT_DIFF_REMOVED, 16, 16, NOT_MOVED},
			     {MSLOT_DIFF_ADDED, 32, 4, NOT_MOVED}};

	put_slot(f->map, def_of(2, 32, 4, f->region, 0));
	expect_since(f, added, 1);
	now = mslot_enter(f->map);
	expect_diff(now, mslot_hold_snapshot(f->before), removed, 1);
	mslot_leave(now);
	drop_slot(f->map, 1);
	expect_since(f, gone, 2);
}

static void remapped_by_region_or_offset(void **state)
{
	struct fixture *f = *state;
	struct seg all[] = {{MSLOT_DIFF_REMAPPED, 16, 16, NOT_MOVED}};
	struct seg slid[] = {{MSLOT_DIFF_REMAPPED, 16, 12, 20},
			     {MSLOT_DIFF_REMAPPED, 28, 4, NOT_MOVED}};
	struct mslot_slot_def def = f->def;

	def.region = f->other; /* at the same host address, and still another translation */
	change(f, edit_of(MSLOT_EDIT_REPLACE, def));
	expect_since(f, all, 1);
	/* Other flags as well: the higher kind wins. */
	def.flags = MSLOT_READONLY;
	change(f, edit_of(MSLOT_EDIT_SET_FLAGS, def));
	expect_since(f, all, 1);
	/* The window slides by four pages: most of it was shown further up before. */
	def = f->def;
	def.offset_bytes += PAGES(4);
	change(f, edit_of(MSLOT_EDIT_REDEFINE, def));
	expect_since(f, slid, 2);
}

static void reprotected_and_rehomed(void **state)
{
	static const uint32_t flags[] = {MSLOT_READONLY, MSLOT_LOG_DIRTY,
					 MSLOT_READONLY | MSLOT_LOG_DIRTY};
	struct fixture *f = *state;
	struct seg reprotected[] = {{MSLOT_DIFF_REPROTECTED, 16, 16, NOT_MOVED}};
	struct seg rehomed[] = {{MSLOT_DIFF_REHOMED, 16, 16, NOT_MOVED}};
	struct mslot_edit edits[2];

	for (size_t i = 0; i < 3; i++) {
		f->def.flags = flags[i];
		change(f, edit_of(MSLOT_EDIT_SET_FLAGS, f->def));
		expect_since(f, reprotected, 1);
	}
	/* Another id and other flags: the higher kind wins. */
	edits[0] = edit_of(MSLOT_EDIT_DELETE, f->def);
	edits[1] = edit_of(MSLOT_EDIT_CREATE, f->def);
	edits[1].def.key.id = 5;
	assert_int_equal(commit_edits(f->map, edits, 2, NULL), 0);
	expect_since(f, reprotected, 1);
	edits[1].def.flags = 0;
	change(f, edit_of(MSLOT_EDIT_SET_FLAGS, edits[1].def));
	expect_since(f, rehomed, 1);
}

static void split_and_merge_only_rehome(void **state)
{
	struct fixture *f = *state;
	struct mslot_part parts[] = {{7, PAGES(20)}, {8, PAGES(30)}};
	struct seg split[] = {{MSLOT_DIFF_REHOMED, 20, 10, NOT_MOVED},
			      {MSLOT_DIFF_REHOMED, 30, 2, NOT_MOVED}};
	struct seg merged[] = {{MSLOT_DIFF_REHOMED, 16, 14, NOT_MOVED}};
	struct mslot_edit edit = edit_of(MSLOT_EDIT_SPLIT, f->def);

	/* The part that keeps its id is not reported at all. */
	edit.parts = parts;
	edit.nparts = 2;
	change(f, edit);
	expect_since(f, split, 2);
	edit.kind = MSLOT_EDIT_MERGE;
	edit.def.key.id = 8;
	parts[1].id = 1;
	change(f, edit);
	merged[0].npages = 16;
	expect_since(f, merged, 1);
}

static void a_move_names_its_origin_also_over_its_own_place(void **state)
{
	struct fixture *f = *state;
	struct seg away[] = {{MSLOT_DIFF_REMOVED, 16, 16, NOT_MOVED},
			     {MSLOT_DIFF_ADDED, 64, 16, 16}};
	struct seg shifted[] = {{MSLOT_DIFF_REMOVED, 16, 4, NOT_MOVED},
				{MSLOT_DIFF_REMAPPED, 20, 12, 16},
				{MSLOT_DIFF_ADDED, 32, 4, 28}};
	struct mslot_slot_def def = f->def;

	def.gpa = PAGES(64);
	change(f, edit_of(MSLOT_EDIT_MOVE, def));
	expect_since(f, away, 2);
	def.gpa = PAGES(20);
	change(f, edit_of(MSLOT_EDIT_MOVE, def));
	expect_since(f, shifted, 3);
}

static void a_swap_remaps_both_with_their_origins(void **state)
{
	struct fixture *f = *state;
	struct mslot_slot_def other = def_of(2, 48, 16, f->other, 0);
	struct seg want[] = {{MSLOT_DIFF_REMAPPED, 16, 16, 48}, {MSLOT_DIFF_REMAPPED, 48, 16, 16}};
	struct mslot_edit edits[2];

	put_slot(f->map, other);
	mslot_hold_put(f->before);
	f->before = hold_now(f->map, "before the swap");
	edits[0] = edit_of(MSLOT_EDIT_MOVE, f->def);
	edits[0].def.gpa = other.gpa;
	edits[1] = edit_of(MSLOT_EDIT_MOVE, other);
	edits[1].def.gpa = f->def.gpa;
	assert_int_equal(commit_edits(f->map, edits, 2, NULL), 0);
	expect_since(f, want, 2);
}

static void a_partial_move_is_cut_where_its_bytes_are_new(void **state)
{
	struct fixture *f = *state;
	/* Host pages 96-119 at frames 64-87; pages 100-115 were at 16-31 before. */
	struct mslot_slot_def def = def_of(1, 64, 24, f->region, 96);
	struct seg want[] = {{MSLOT_DIFF_REMOVED, 16, 16, NOT_MOVED},
			     {MSLOT_DIFF_ADDED, 64, 4, NOT_MOVED},
			     {MSLOT_DIFF_ADDED, 68, 16, 16},
			     {MSLOT_DIFF_ADDED, 84, 4, NOT_MOVED}};

	change(f, edit_of(MSLOT_EDIT_REDEFINE, def));
	expect_since(f, want, 4);
}

static void resize_reports_only_the_ends(void **state)
{
	struct fixture *f = *state;
	struct seg want[] = {{MSLOT_DIFF_ADDED, 12, 4, NOT_MOVED},
			     {MSLOT_DIFF_REMOVED, 30, 2, NOT_MOVED}};
	struct mslot_slot_def def = f->def;

	def.gpa = PAGES(12);
	def.len_bytes = PAGES(18);
	change(f, edit_of(MSLOT_EDIT_RESIZE, def));
	expect_since(f, want, 2);
}

static void segments_rise_by_space_and_gpa(void **state)
{
	struct fixture *f = *state;
	struct mslot_edit edits[4];
	struct mslot_diff *diff;
	const struct mslot_snapshot *now;

	/* Added from high to low. */
	for (uint32_t i = 0; i < 4; i++) {
		edits[i] = edit_of(MSLOT_EDIT_CREATE, def_of(i + 2, 100 - 10 * i, 2, f->other, 0));
		edits[i].def.key.space = i < 2;
	}
	assert_int_equal(commit_edits(f->map, edits, 4, NULL), 0);
	now = mslot_enter(f->map);
	assert_int_equal(mslot_diff_create(mslot_hold_snapshot(f->before), now, &diff), 0);
	assert_int_equal(diff->nsegs, 4);
	assert_int_equal(diff->segs[0].gpa, PAGES(70));
	assert_int_equal(diff->segs[1].gpa, PAGES(80));
	assert_int_equal(diff->segs[1].space, 0);
	assert_int_equal(diff->segs[2].gpa, PAGES(90));
	assert_int_equal(diff->segs[2].space, 1);
	assert_int_equal(diff->segs[3].gpa, PAGES(100));
	mslot_diff_destroy(diff);
	mslot_leave(now);
}

static void one_change_among_thousands_is_one_segment(void **state)
{
	struct fixture *f = *state;
	struct mslot_txn *txn = begin(f->map);
	struct seg want[] = {{MSLOT_DIFF_REPROTECTED, 10000 + 2 * 3000, 1, NOT_MOVED}};

	for (uint32_t i = 0; i < 5000; i++) {
		struct mslot_slot_def def = def_of(10 + i, 10000 + 2 * i, 1, f->other, i % 1000);

		assert_int_equal(mslot_txn_create(txn, &def), (int)i);
	}
	assert_int_equal(finish(txn, NULL), 0);
	mslot_hold_put(f->before);
	f->before = hold_now(f->map, "thousands");
	txn = begin(f->map);
	assert_int_equal(mslot_txn_set_flags(txn, (struct mslot_key){0, 3010}, MSLOT_READONLY), 0);
	assert_int_equal(finish(txn, NULL), 0);
	expect_since(f, want, 1);
}

static void snapshots_of_two_maps_are_refused(void **state)
{
	struct mslot_diff *const untouched = (struct mslot_diff *)(uintptr_t)0x1234;
	struct fixture *f = *state;
	struct mslot_map *map = make_map(NULL);
	struct mslot_hold *hold = hold_now(map, "other");
	struct mslot_diff *diff = untouched;

	assert_int_equal(
	    mslot_diff_create(mslot_hold_snapshot(f->before), mslot_hold_snapshot(hold), &diff),
	    -EINVAL);
	assert_ptr_equal(diff, untouched);
	mslot_hold_put(hold);
	assert_int_equal(mslot_map_destroy(map), 0);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    EACH(equal_snapshots_have_no_difference),
	    EACH(added_and_removed),
	    EACH(remapped_by_region_or_offset),
	    EACH(reprotected_and_rehomed),
	    EACH(split_and_merge_only_rehome),
	    EACH(a_move_names_its_origin_also_over_its_own_place),
	    EACH(a_swap_remaps_both_with_their_origins),
	    EACH(a_partial_move_is_cut_where_its_bytes_are_new),
	    EACH(resize_reports_only_the_ends),
	    EACH(segments_rise_by_space_and_gpa),
	    EACH(one_change_among_thousands_is_one_segment),
	    EACH(snapshots_of_two_maps_are_refused),
	};

	return cmocka_run_group_tests_name("diff", tests, NULL, NULL);
}
