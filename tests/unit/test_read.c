/* SPDX-License-Identifier: MIT */
/*
 * test_read.c - what a snapshot answers: find, hints, neighbours, iteration, translation.
 */
#include "map_fixture.h"

/* Slots of one region: 1 at frames 4-7, 2 at 8 (read-only), 3 at 16-31, a private one at 40. */
struct fixture {
	struct mslot_map *map;
	struct mslot_region *region;
	struct mslot_slot_def defs[4];
	const struct mslot_snapshot *snap;
};

#define PRIVATE_ID 100u

static int setup(void **state)
{
	static struct fixture f;
	struct mslot_map_options opt = {.nspaces = 2, .max_user_slots = PRIVATE_ID};
	struct mslot_edit edits[4];

	f.map = make_map(&opt);
	f.region = make_region(HVA, REGION_PAGES);
	f.defs[0] = def_of(1, 4, 4, f.region, 0);
	f.defs[1] = def_of(2, 8, 1, f.region, 100);
	f.defs[1].flags = MSLOT_READONLY;
	f.defs[2] = def_of(3, 16, 16, f.region, 50);
	f.defs[2].flags = MSLOT_LOG_DIRTY;
	f.defs[3] = def_of(PRIVATE_ID, 40, 2, f.region, 0);
	for (size_t i = 0; i < 4; i++)
		edits[i] = edit_of(MSLOT_EDIT_CREATE, f.defs[i]);
	edits[3].edit_flags = MSLOT_EDIT_PRIVATE;
	assert_int_equal(commit_edits(f.map, edits, 4, NULL), 0);
	f.snap = mslot_enter(f.map);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	mslot_leave(f->snap);
	assert_int_equal(mslot_map_destroy(f->map), 0);
	mslot_region_put(f->region);
	return 0;
}

/* The index in defs[] of the slot, or -1. */
static int which(const struct fixture *f, const struct mslot_slot *slot)
{
	struct mslot_slot_info info;

	if (!slot)
		return -1;
	mslot_slot_info_get(slot, &info);
	for (int i = 0; i < 4; i++)
		if (f->defs[i].key.id == info.key.id) {
			expect_info(slot, &f->defs[i]);
			assert_int_equal(info.is_private, i == 3);
			return i;
		}
	fail_msg("slot %u is in no list", info.key.id);
	return -1;
}

static void find_is_exact_at_every_edge(void **state)
{
	static const struct {
		uint64_t gpa;
		int found, below, above;
	} rows[] = {
	    {0, -1, -1, 0},           {PAGES(4) - 1, -1, -1, 0}, {PAGES(4), 0, 0, 0},
	    {PAGES(8) - 1, 0, 0, 0},  {PAGES(8), 1, 1, 1},       {PAGES(9) - 1, 1, 1, 1},
	    {PAGES(9), -1, 1, 2},     {PAGES(16) - 1, -1, 1, 2}, {PAGES(16), 2, 2, 2},
	    {PAGES(24) + 5, 2, 2, 2}, {PAGES(32) - 1, 2, 2, 2},  {PAGES(32), -1, 2, 3},
	    {PAGES(42) - 1, 3, 3, 3}, {PAGES(42), -1, 3, -1},    {UINT64_C(1) << 52, -1, 3, -1},
	    {UINT64_MAX, -1, 3, -1},
	};
	struct fixture *f = *state;
	struct mslot_hint hint = {0};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint64_t gpa = rows[i].gpa;

		assert_int_equal(which(f, mslot_find(f->snap, 0, gpa)), rows[i].found);
		assert_int_equal(which(f, mslot_find_hint(f->snap, 0, gpa, &hint)), rows[i].found);
		assert_int_equal(which(f, mslot_find_hint(f->snap, 0, gpa, &hint)), rows[i].found);
		assert_int_equal(which(f, mslot_hint_slot(f->snap, 0, gpa, &hint)), rows[i].found);
		assert_int_equal(which(f, mslot_find_nearest(f->snap, 0, gpa, MSLOT_AT_OR_BELOW)),
				 rows[i].below);
		assert_int_equal(which(f, mslot_find_nearest(f->snap, 0, gpa, MSLOT_AT_OR_ABOVE)),
				 rows[i].above);
	}
}

static void other_spaces_and_absent_spaces_have_no_slots(void **state)
{
	static const uint32_t spaces[] = {1, 2, 16, UINT32_MAX};
	struct mslot_span span = {.gpa = PAGES(4), .len_bytes = 1};
	struct fixture *f = *state;
	struct mslot_hint hint = {0};
	struct mslot_iter iter;
	struct iovec seg;

	assert_int_equal(which(f, mslot_find_hint(f->snap, 0, PAGES(4), &hint)), 0);
	for (size_t i = 0; i < sizeof(spaces) / sizeof(*spaces); i++) {
		uint32_t space = spaces[i];

		assert_null(mslot_find(f->snap, space, PAGES(4)));
		assert_null(mslot_find_hint(f->snap, space, PAGES(4), &hint));
		assert_null(mslot_find_id(f->snap, (struct mslot_key){space, 1}));
		assert_null(mslot_find_nearest(f->snap, space, PAGES(4), MSLOT_AT_OR_BELOW));
		assert_null(mslot_find_nearest(f->snap, space, PAGES(4), MSLOT_AT_OR_ABOVE));
		assert_int_equal(mslot_snapshot_nslots(f->snap, space), 0);
		mslot_iter_gpa(&iter, f->snap, space, (struct mslot_range){0, UINT64_MAX});
		assert_null(mslot_iter_next(&iter));
		span.space = space;
		assert_int_equal(mslot_translate(f->snap, &span, &seg, 1), -ENOENT);
	}
}

static void find_id_knows_user_and_private_ids(void **state)
{
	static const uint32_t absent[] = {0, 4, 99, 101, UINT32_MAX};
	struct fixture *f = *state;

	for (int i = 0; i < 4; i++)
		assert_int_equal(which(f, mslot_find_id(f->snap, f->defs[i].key)), i);
	for (size_t i = 0; i < sizeof(absent) / sizeof(*absent); i++)
		assert_null(mslot_find_id(f->snap, (struct mslot_key){0, absent[i]}));
	assert_int_equal(mslot_snapshot_nslots(f->snap, 0), 4);
	assert_int_equal(mslot_snapshot_npages(f->snap), 4 + 1 + 16 + 2);
}

static void a_hint_of_another_snapshot_or_map_is_not_believed(void **state)
{
	struct fixture *f = *state;
	struct mslot_hint hint = {0};
	struct mslot_map *map;
	const struct mslot_snapshot *snap;

	assert_int_equal(which(f, mslot_find_hint(f->snap, 0, PAGES(4), &hint)), 0);
	drop_slot(f->map, 1);
	snap = mslot_enter(f->map);
	assert_null(mslot_find_hint(snap, 0, PAGES(4), &hint));
	mslot_leave(snap);
	assert_int_equal(which(f, mslot_find_hint(f->snap, 0, PAGES(4), &hint)), 0);
	for (unsigned int i = 0; i < 3; i++) {
		/* The same generation again, and likely the same memory. */
		map = make_map(NULL);
		put_slot(map, def_of(1, 4 + i, 1, f->region, 0));
		snap = mslot_enter(map);
		assert_int_equal(mslot_find_hint(snap, 0, PAGES(4), &hint) != NULL, i == 0);
		assert_non_null(mslot_find_hint(snap, 0, PAGES(4 + i), &hint));
		assert_null(mslot_find_hint(snap, 0, PAGES(5 + i), &hint));
		mslot_leave(snap);
		/* Destroying is not allowed in the section of the fixture's map. */
		mslot_leave(f->snap);
		assert_int_equal(mslot_map_destroy(map), 0);
		f->snap = mslot_enter(f->map);
	}
}

static void iteration_by_gpa_returns_what_touches_the_range(void **state)
{
	static const struct {
		struct mslot_range range;
		int first, n;
	} rows[] = {
	    {{0, UINT64_MAX}, 0, 4},
	    {{0, 0}, 0, 0},
	    {{PAGES(5), 0}, 0, 0},
	    {{PAGES(5), 1}, 0, 1},
	    {{0, PAGES(4)}, 0, 0},
	    {{0, PAGES(4) + 1}, 0, 1},
	    {{PAGES(8) - 1, 2}, 0, 2},
	    {{PAGES(8), 1}, 1, 1},
	    {{PAGES(9), PAGES(7)}, 0, 0},
	    {{PAGES(9), PAGES(7) + 1}, 2, 1},
	    {{PAGES(20), UINT64_MAX}, 2, 2}, /* wraps, so is cut at 2^64 */
	    {{PAGES(41), UINT64_MAX - PAGES(41)}, 3, 1},
	    {{PAGES(42), UINT64_MAX}, 0, 0},
	    {{UINT64_MAX, UINT64_MAX}, 0, 0},
	};
	struct fixture *f = *state;
	struct mslot_iter iter;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		mslot_iter_gpa(&iter, f->snap, 0, rows[i].range);
		for (int k = 0; k < rows[i].n; k++)
			assert_int_equal(which(f, mslot_iter_next(&iter)), rows[i].first + k);
		for (int k = 0; k < 3; k++)
			assert_null(mslot_iter_next(&iter));
	}
}

static void iteration_by_hva_orders_aliases_by_space_and_id(void **state)
{
	/* hva frames: defs[0] and [3] at 0, defs[2] at 50-65, defs[1] at 100. */
	struct fixture *f = *state;
	struct mslot_slot_def twin = def_of(0, 4, 4, f->region, 0);
	const struct mslot_snapshot *snap;
	struct mslot_slot_info info;
	struct mslot_iter iter;

	mslot_iter_hva(&iter, f->snap, (struct mslot_range){HVA, PAGES(REGION_PAGES)});
	assert_int_equal(which(f, mslot_iter_next(&iter)), 0);
	assert_int_equal(which(f, mslot_iter_next(&iter)), 3);
	assert_int_equal(which(f, mslot_iter_next(&iter)), 2);
	assert_int_equal(which(f, mslot_iter_next(&iter)), 1);
	assert_null(mslot_iter_next(&iter));
	/* One byte that only the longer alias shows, and one past everything. */
	mslot_iter_hva(&iter, f->snap, (struct mslot_range){HVA + PAGES(2), 1});
	assert_int_equal(which(f, mslot_iter_next(&iter)), 0);
	assert_null(mslot_iter_next(&iter));
	mslot_iter_hva(&iter, f->snap, (struct mslot_range){HVA + PAGES(4), 1});
	assert_null(mslot_iter_next(&iter));
	mslot_iter_hva(&iter, f->snap, (struct mslot_range){HVA, 0});
	assert_null(mslot_iter_next(&iter));
	/* Space 1 comes after space 0 although its id is smaller. */
	twin.key.space = 1;
	put_slot(f->map, twin);
	snap = mslot_enter(f->map);
	mslot_iter_hva(&iter, snap, (struct mslot_range){HVA, 1});
	assert_int_equal(which(f, mslot_iter_next(&iter)), 0);
	assert_int_equal(which(f, mslot_iter_next(&iter)), 3);
	mslot_slot_info_get(mslot_iter_next(&iter), &info);
	assert_int_equal(info.key.space, 1);
	assert_null(mslot_iter_next(&iter));
	mslot_leave(snap);
}

/* Frame 2 of the region: in slots 1 and PRIVATE_ID of space 0 and then in two of space 1. */
static void find_hva_counts_all_and_writes_what_fits(void **state)
{
	struct fixture *f = *state;
	const struct mslot_slot *got[5];
	struct mslot_edit edits[3];
	const struct mslot_snapshot *snap;

	assert_int_equal(mslot_find_hva(f->snap, HVA + PAGES(5), NULL, 0), 0);
	assert_int_equal(mslot_find_hva(f->snap, 0, NULL, 0), 0);
	assert_int_equal(mslot_find_hva(f->snap, UINT64_MAX, NULL, 0), 0);
	assert_int_equal(mslot_find_hva(f->snap, HVA + PAGES(100) + 7, got, 5), 1);
	assert_int_equal(which(f, got[0]), 1);
	for (uint32_t i = 0; i < 3; i++) {
		edits[i] = edit_of(MSLOT_EDIT_CREATE, def_of(7 + i, 4 + 8 * i, 4, f->region, 0));
		edits[i].def.key.space = 1;
	}
	edits[2].def.offset_bytes = PAGES(200);
	assert_int_equal(commit_edits(f->map, edits, 3, NULL), 0);
	snap = mslot_enter(f->map);
	for (size_t room = 0; room <= 5; room++) {
		memset(got, 0, sizeof(got));
		assert_int_equal(mslot_find_hva(snap, HVA + PAGES(1) + 9, room ? got : NULL, room),
				 4);
		for (size_t i = 0; i < 5; i++)
			assert_int_equal(got[i] != NULL, i < room && i < 4);
		if (room < 4)
			continue;
		expect_info(got[0], &f->defs[0]);
		expect_info(got[1], &f->defs[3]);
		expect_info(got[2], &edits[0].def);
		expect_info(got[3], &edits[1].def);
	}
	assert_int_equal(mslot_find_hva(snap, HVA + PAGES(3), got, 5), 3);
	assert_int_equal(mslot_find_hva(snap, HVA + PAGES(201), got, 1), 1);
	expect_info(got[0], &edits[2].def);
	mslot_leave(snap);
}

/* Every width of vector instructions, also one that the processor may not have. */
static void each_vector_width_answers_alike(void **state)
{
	struct mslot_region *region = make_region(HVA, REGION_PAGES);
	const struct mslot_slot *got[2];

	(void)state;
	for (uint32_t simd = MSLOT_SIMD_BEST; simd <= MSLOT_SIMD_AVX512; simd++) {
		struct mslot_map *map = make_map(&(struct mslot_map_options){.simd = simd});
		const struct mslot_snapshot *snap;
		struct mslot_txn *txn = begin(map);

		/* Every other frame of 2000, and the host pages in the other order. */
		for (uint32_t i = 0; i < 1000; i++) {
			struct mslot_slot_def def = def_of(i, 2 * i, 1, region, 999 - i);
			struct mslot_edit edit = edit_of(MSLOT_EDIT_CREATE, def);

			assert_int_equal(mslot_txn_add(txn, &edit), (int)i);
		}
		assert_int_equal(finish(txn, NULL), 0);
		snap = mslot_enter(map);
		for (uint32_t i = 0; i < 1000; i++) {
			struct mslot_slot_def def = def_of(i, 2 * i, 1, region, 999 - i);
			const struct mslot_slot *slot = mslot_find(snap, 0, def.gpa + 5);

			expect_info(slot, &def);
			assert_ptr_equal(mslot_find_id(snap, def.key), slot);
			assert_null(mslot_find(snap, 0, def.gpa + PAGE));
			assert_int_equal(mslot_find_hva(snap, HVA + PAGES(999 - i) + 1, got, 2), 1);
			assert_ptr_equal(got[0], slot);
		}
		assert_null(mslot_find(snap, 0, UINT64_MAX));
		assert_null(mslot_find_id(snap, (struct mslot_key){UINT32_MAX, 1}));
		assert_null(mslot_find_id(snap, (struct mslot_key){0, UINT32_MAX}));
		assert_null(mslot_find_id(snap, (struct mslot_key){UINT32_MAX, UINT32_MAX}));
		assert_int_equal(mslot_find_hva(snap, UINT64_MAX, got, 2), 0);
		mslot_leave(snap);
		assert_int_equal(mslot_map_destroy(map), 0);
	}
	mslot_region_put(region);
}

static void translation_answers_each_error_and_touches_nothing(void **state)
{
	enum { R = MSLOT_READ, W = MSLOT_WRITE, UNKNOWN = 2 };
	static const struct {
		int access;
		uint64_t gpa, len;
		size_t nseg;
		int want;
	} rows[] = {
	    {R, PAGES(4), 1, 1, 1},
	    {R, PAGES(4), PAGES(4), 1, 1},
	    {R, PAGES(4), PAGES(4) + 1, 2, 2},
	    {R, PAGES(4), PAGES(5), 2, 2},
	    {R, PAGES(8) - 1, 2, 2, 2},
	    {W, PAGES(4), PAGES(4), 1, 1},
	    {W, PAGES(16), PAGES(16), 9, 1},
	    {R, PAGES(4), PAGES(5), 1, -ENOSPC},
	    {R, PAGES(4), 1, 0, -ENOSPC},
	    {R, 0, 1, 0, -ENOENT},
	    {R, PAGES(4), PAGES(5) + 1, 2, -ENOENT},
	    {R, PAGES(4), PAGES(5) + 1, 1, -ENOSPC}, /* the second slot comes before the hole */
	    {R, PAGES(4) - 1, 2, 2, -ENOENT},
	    {W, PAGES(8), 1, 1, -EACCES},
	    {W, PAGES(4), PAGES(5), 2, -EACCES},
	    {W, PAGES(4), PAGES(6), 2, -EACCES}, /* read-only comes before the hole */
	    {W, PAGES(4), PAGES(5), 0, -ENOSPC}, /* and the lack of room before read-only */
	    {W, PAGES(9), 1, 1, -ENOENT},
	    {R, PAGES(4), 0, 4, -EINVAL},
	    {UNKNOWN, PAGES(4), 1, 4, -EINVAL},
	    {R, UINT64_MAX, 1, 1, -ENOENT}, /* ends at 2^64: no wrap */
	    {R, UINT64_MAX, 2, 1, -EOVERFLOW},
	    {R, PAGES(4), UINT64_MAX, 9, -EOVERFLOW},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct mslot_span span = {0, (enum mslot_access)rows[i].access, rows[i].gpa,
					  rows[i].len};
		struct iovec seg[9], before[9];
		int rc;

		memset(seg, 0x5c, sizeof(seg));
		memset(before, 0x5c, sizeof(before));
		rc = mslot_translate(f->snap, &span, seg, rows[i].nseg);
		if (rc != rows[i].want)
			fail_msg("row %zu: %d, not %d", i, rc, rows[i].want);
		if (rc < 0)
			assert_memory_equal(seg, before, sizeof(seg));
	}
}

static void translation_cuts_at_slot_edges_and_nowhere_else(void **state)
{
	struct mslot_span span = {.gpa = PAGES(4) + 3, .len_bytes = PAGES(5) - 3 - 10};
	struct fixture *f = *state;
	struct iovec seg[3];

	assert_int_equal(mslot_translate(f->snap, &span, seg, 3), 2);
	assert_int_equal((uintptr_t)seg[0].iov_base, HVA + 3);
	assert_int_equal(seg[0].iov_len, PAGES(4) - 3);
	assert_int_equal((uintptr_t)seg[1].iov_base, HVA + PAGES(100));
	assert_int_equal(seg[1].iov_len, PAGE - 10);
	span = (struct mslot_span){.gpa = PAGES(17), .len_bytes = PAGES(15)};
	assert_int_equal(mslot_translate(f->snap, &span, seg, 1), 1);
	assert_int_equal((uintptr_t)seg[0].iov_base, HVA + PAGES(51));
	assert_int_equal(seg[0].iov_len, PAGES(15));
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    EACH(find_is_exact_at_every_edge),
	    EACH(other_spaces_and_absent_spaces_have_no_slots),
	    EACH(find_id_knows_user_and_private_ids),
	    EACH(a_hint_of_another_snapshot_or_map_is_not_believed),
	    EACH(iteration_by_gpa_returns_what_touches_the_range),
	    EACH(iteration_by_hva_orders_aliases_by_space_and_id),
	    EACH(find_hva_counts_all_and_writes_what_fits),
	    cmocka_unit_test(each_vector_width_answers_alike),
	    EACH(translation_answers_each_error_and_touches_nothing),
	    EACH(translation_cuts_at_slot_edges_and_nowhere_else),
	};

	return cmocka_run_group_tests_name("read", tests, NULL, NULL);
}
