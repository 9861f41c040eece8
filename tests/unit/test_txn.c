/* SPDX-License-Identifier: MIT */
/*
 * test_txn.c - transactions that succeed, and the options of a commit. Transactions
 * that are refused are in test_txn_refused.c.
 */
#include "map_fixture.h"

struct fixture {
	struct mslot_map *map;
	struct mslot_region *region, *other;
	struct mslot_slot_def a, b, c; /* ids 1, 2, 3: frames 0-7, 8-15, 32-39; one host range */
};

static int setup(void **state)
{
	static struct fixture f;
	struct mslot_edit edits[3];

	f.map = make_map(NULL);
	f.region = make_region(HVA, REGION_PAGES);
	f.other = make_region(OTHER_HVA, REGION_PAGES);
	f.a = def_of(1, 0, 8, f.region, 64);
	f.b = def_of(2, 8, 8, f.region, 72);
	f.c = def_of(3, 32, 8, f.region, 80);
	edits[0] = edit_of(MSLOT_EDIT_CREATE, f.a);
	edits[1] = edit_of(MSLOT_EDIT_CREATE, f.b);
	edits[2] = edit_of(MSLOT_EDIT_CREATE, f.c);
	assert_int_equal(commit_edits(f.map, edits, 3, NULL), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(mslot_map_destroy(f->map), 0);
	mslot_region_put(f->region);
	mslot_region_put(f->other);
	return 0;
}

static void expect_abc(struct fixture *f)
{
	struct mslot_slot_def defs[] = {f->a, f->b, f->c};

	expect_slots(f->map, defs, 3);
}

/* ---- Sizes and places --------------------------------------------------- */

static void slots_of_every_awkward_size(void **state)
{
	static const uint64_t sizes[] = {
	    1, 63, 64, 65, 255, 256, 257, 65535, 65536, 65537, MSLOT_MAX_SLOT_PAGES};
	static const uint32_t shifts[] = {12, 14, 16};

	(void)state;
	for (size_t s = 0; s < 3; s++) {
		struct mslot_map_options opt = {.page_shift = shifts[s],
						.hva_limit = UINT64_C(1) << 62};
		uint64_t page = UINT64_C(1) << shifts[s];
		struct mslot_map *map = make_map(&opt);
		struct mslot_region *region = make_region(HVA, UINT64_C(1) << 40);
		struct mslot_slot_def defs[sizeof(sizes) / sizeof(*sizes)];
		uint64_t gpa = 0;

		for (uint32_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
			defs[i] = def_of(i, 0, 0, region, 0);
			defs[i].gpa = gpa;
			defs[i].len_bytes = sizes[i] * page;
			put_slot(map, defs[i]);
			gpa += defs[i].len_bytes;
		}
		expect_slots(map, defs, sizeof(sizes) / sizeof(*sizes));
		assert_int_equal(mslot_map_destroy(map), 0);
		mslot_region_put(region);
	}
}

static void overlap_touching_ranges(void **state)
{
	static const struct {
		uint64_t gfn, npages;
		int want;
	} rows[] = {
	    {16, 16, 0},        /* touches on both sides */
	    {40, 8, 0},         /* touches below */
	    {24, 8, 0},         /* touches above */
	    {16, 17, -EEXIST},  /* one page into c */
	    {15, 2, -EEXIST},   /* one page of b */
	    {39, 8, -EEXIST},   /* the last page of c */
	    {32, 8, -EEXIST},   /* equal to c */
	    {33, 2, -EEXIST},   /* inside c */
	    {20, 100, -EEXIST}, /* around c */
	    {0, 200, -EEXIST},  /* around everything */
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct mslot_edit edit =
		    edit_of(MSLOT_EDIT_CREATE, def_of(9, rows[i].gfn, rows[i].npages, f->other, 0));
		struct mslot_commit_result result;
		int rc = commit_edits(f->map, &edit, 1, &result);

		if (rc != rows[i].want)
			fail_msg("row %zu: %d, not %d", i, rc, rows[i].want);
		assert_int_equal(result.failed_edit, rc ? 0 : MSLOT_NO_EDIT);
		if (rc == 0)
			drop_slot(f->map, 9);
		expect_abc(f);
	}
}

static void spaces_do_not_overlap_each_other(void **state)
{
	struct mslot_map_options opt = {.nspaces = 16};
	struct fixture *f = *state;
	struct mslot_map *map = make_map(&opt);
	struct mslot_slot_def defs[16];
	struct mslot_edit edits[16];

	for (uint32_t space = 0; space < 16; space++) {
		defs[space] = def_of(1, 4, 4, f->region, 0);
		defs[space].key.space = space;
		edits[space] = edit_of(MSLOT_EDIT_CREATE, defs[space]);
	}
	assert_int_equal(commit_edits(map, edits, 16, NULL), 0);
	assert_int_equal(generation_of(map), 1);
	expect_slots(map, defs, 16);
	assert_int_equal(mslot_map_destroy(map), 0);
}

/* ---- Order does not matter ---------------------------------------------- */

/* Commit the edits in every order on fresh copies of a, b, c and expect `want`. */
static void in_every_order(struct fixture *f, const struct mslot_edit *edits, size_t n,
			   const struct mslot_slot_def *want, size_t nwant)
{
	size_t norders = 1;

	for (size_t i = 2; i <= n; i++)
		norders *= i;
	for (size_t order = 0; order < norders; order++) {
		struct mslot_map *map = make_map(NULL);
		struct mslot_edit left[4], now[4];
		size_t rest = order;

		put_slot(map, f->a);
		put_slot(map, f->b);
		put_slot(map, f->c);
		memcpy(left, edits, n * sizeof(*edits));
		for (size_t i = 0; i < n; i++) {
			size_t k = rest % (n - i);

			rest /= n - i;
			now[i] = left[k];
			memmove(&left[k], &left[k + 1], (n - i - 1 - k) * sizeof(*left));
		}
		assert_int_equal(commit_edits(map, now, n, NULL), 0);
		assert_int_equal(generation_of(map), 4);
		expect_slots(map, want, nwant);
		assert_int_equal(mslot_map_destroy(map), 0);
	}
}

static void swap_two_slots(void **state)
{
	struct fixture *f = *state;
	struct mslot_slot_def want[] = {f->a, f->b, f->c};
	struct mslot_edit edits[2];

	want[0].gpa = f->c.gpa;
	want[2].gpa = f->a.gpa;
	edits[0] = edit_of(MSLOT_EDIT_MOVE, want[0]);
	edits[1] = edit_of(MSLOT_EDIT_MOVE, want[2]);
	in_every_order(f, edits, 2, want, 3);
}

static void a_cycle_of_moves(void **state)
{
	struct fixture *f = *state;
	struct mslot_slot_def want[] = {f->a, f->b, f->c};
	struct mslot_edit edits[3];

	want[0].gpa = f->b.gpa;
	want[1].gpa = f->c.gpa;
	want[2].gpa = f->a.gpa;
	for (size_t i = 0; i < 3; i++)
		edits[i] = edit_of(MSLOT_EDIT_MOVE, want[i]);
	in_every_order(f, edits, 3, want, 3);
}

static void delete_one_and_move_another_into_its_place(void **state)
{
	struct fixture *f = *state;
	struct mslot_slot_def want[] = {f->b, f->c};
	struct mslot_edit edits[2];

	want[1].gpa = f->a.gpa;
	edits[0] = edit_of(MSLOT_EDIT_DELETE, f->a);
	edits[1] = edit_of(MSLOT_EDIT_MOVE, want[1]);
	in_every_order(f, edits, 2, want, 2);
}

static void delete_and_create_over_one_range(void **state)
{
	struct fixture *f = *state;
	struct mslot_slot_def want[] = {f->c, def_of(7, 2, 20, f->other, 5), f->a};
	struct mslot_edit edits[4];

	edits[0] = edit_of(MSLOT_EDIT_DELETE, f->b);
	edits[1] = edit_of(MSLOT_EDIT_CREATE, want[1]);
	want[2].len_bytes = PAGES(2);
	edits[2] = edit_of(MSLOT_EDIT_RESIZE, want[2]);
	want[0].flags = MSLOT_READONLY;
	edits[3] = edit_of(MSLOT_EDIT_SET_FLAGS, want[0]);
	in_every_order(f, edits, 4, want, 3);
}

/* ---- Each kind ---------------------------------------------------------- */

static void toggle_readonly_and_log_dirty(void **state)
{
	struct fixture *f = *state;

	for (uint32_t flags = 0; flags < 4; flags++) {
		struct mslot_txn *txn = begin(f->map);

		assert_int_equal(mslot_txn_set_flags(txn, f->b.key, flags), 0);
		assert_int_equal(finish(txn, NULL), 0);
		f->b.flags = flags;
		expect_abc(f);
		/* Setting 0 flags changed nothing (W3). */
		assert_int_equal(generation_of(f->map), 1 + flags);
	}
}

static void resize_both_ends(void **state)
{
	static const struct {
		uint64_t gfn, npages, offset;
	} rows[] = {
	    {31, 9, 79},  {32, 9, 80}, {31, 10, 79}, {33, 7, 81},  {32, 7, 80},
	    {33, 6, 81},  {39, 1, 87}, {32, 1, 80},  {16, 17, 64}, /* one kept page in front of
								      which it grows */
	    {39, 60, 87},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct mslot_slot_def back = f->c;
		struct mslot_txn *txn = begin(f->map);

		f->c = def_of(3, rows[i].gfn, rows[i].npages, f->region, rows[i].offset);
		assert_int_equal(
		    mslot_txn_resize(txn, f->c.key, (struct mslot_range){f->c.gpa, f->c.len_bytes}),
		    0);
		assert_int_equal(finish(txn, NULL), 0);
		expect_abc(f);
		f->c = back;
		txn = begin(f->map);
		assert_int_equal(mslot_txn_redefine(txn, &f->c), 0);
		assert_int_equal(finish(txn, NULL), 0);
		expect_abc(f);
	}
}

static void replace_and_redefine_give_new_memory(void **state)
{
	struct fixture *f = *state;
	struct mslot_txn *txn = begin(f->map);

	assert_int_equal(mslot_txn_replace(txn, f->a.key, f->other, PAGES(3)), 0);
	f->a.region = f->other;
	f->a.offset_bytes = PAGES(3);
	f->b = def_of(2, 100, 5, f->other, 200);
	f->b.flags = MSLOT_LOG_DIRTY | MSLOT_READONLY;
	assert_int_equal(mslot_txn_redefine(txn, &f->b), 1);
	/* The very end of the region. */
	assert_int_equal(mslot_txn_replace(txn, f->c.key, f->other, PAGES(REGION_PAGES - 8)), 2);
	f->c.region = f->other;
	f->c.offset_bytes = PAGES(REGION_PAGES - 8);
	assert_int_equal(finish(txn, NULL), 0);
	expect_abc(f);
}

static void split_into_n_and_merge_in_any_order(void **state)
{
	struct fixture *f = *state;

	for (uint32_t n = 1; n <= 7; n++) {
		struct mslot_part parts[7];
		struct mslot_slot_def want[10];
		struct mslot_txn *txn = begin(f->map);

		for (uint32_t k = 0; k < n; k++)
			parts[k] = (struct mslot_part){20 + k, PAGES(33 + k)};
		want[0] = f->a;
		want[1] = f->b;
		want[2] = def_of(3, 32, 1, f->region, 80);
		for (uint32_t k = 0; k < n; k++)
			want[3 + k] =
			    def_of(20 + k, 33 + k, k + 1 < n ? 1 : 8 - n, f->region, 81 + k);
		assert_int_equal(mslot_txn_split(txn, f->c.key, parts, n), 0);
		assert_int_equal(finish(txn, NULL), 0);
		expect_slots(f->map, want, 3 + n);
		/* Back together in another order, and into a slot in the middle. */
		txn = begin(f->map);
		f->c.key.id = 20 + n / 2;
		for (uint32_t k = 0, id = 0; k < n; id++)
			if (id != n / 2)
				parts[k++].id = id < n ? 20 + id : 3;
		assert_int_equal(mslot_txn_merge(txn, f->c.key, parts, n), 0);
		assert_int_equal(finish(txn, NULL), 0);
		expect_abc(f);
		f->c.key.id = 3;
		txn = begin(f->map);
		assert_int_equal(mslot_txn_delete(txn, (struct mslot_key){0, 20 + n / 2}), 0);
		assert_int_equal(mslot_txn_create(txn, &f->c), 1);
		assert_int_equal(finish(txn, NULL), 0);
		expect_abc(f);
	}
}

static void private_slots_need_their_flag_and_take_every_kind(void **state)
{
	struct fixture *f = *state;
	struct mslot_part part = {UINT32_MAX, PAGES(204)};
	struct mslot_slot_def want[5] = {f->a, f->b, f->c};
	struct mslot_edit edit;

	want[3] = def_of(MSLOT_DEFAULT_USER_SLOTS, 200, 8, f->other, 0);
	want[4] = def_of(UINT32_MAX, 204, 4, f->other, 4);
	edit = edit_of(MSLOT_EDIT_CREATE, want[3]);
	edit.edit_flags = MSLOT_EDIT_PRIVATE;
	assert_int_equal(commit_edits(f->map, &edit, 1, NULL), 0);
	expect_slots(f->map, want, 4);
	edit = edit_of(MSLOT_EDIT_SPLIT, want[3]);
	edit.edit_flags = MSLOT_EDIT_PRIVATE;
	edit.parts = &part;
	edit.nparts = 1;
	assert_int_equal(commit_edits(f->map, &edit, 1, NULL), 0);
	want[3].len_bytes = PAGES(4);
	expect_slots(f->map, want, 5);
	edit.kind = MSLOT_EDIT_MERGE;
	assert_int_equal(commit_edits(f->map, &edit, 1, NULL), 0);
	want[3].len_bytes = PAGES(8);
	expect_slots(f->map, want, 4);
	edit.kind = MSLOT_EDIT_DELETE;
	assert_int_equal(commit_edits(f->map, &edit, 1, NULL), 0);
	expect_abc(f);
}

static void fields_that_a_kind_ignores_are_not_looked_at(void **state)
{
	struct fixture *f = *state;
	struct mslot_slot_def junk = {
	    .gpa = 1,
	    .len_bytes = 3,
	    .region = (struct mslot_region *)(uintptr_t)0x10,
	    .offset_bytes = 7,
	    .flags = UINT32_MAX,
	};
	struct mslot_edit edits[3];

	edits[0] = edit_of(MSLOT_EDIT_DELETE, junk);
	edits[0].def.key = f->a.key;
	edits[1] = edit_of(MSLOT_EDIT_MOVE, junk);
	edits[1].def.key = f->b.key;
	edits[1].def.gpa = 0;
	edits[2] = edit_of(MSLOT_EDIT_SET_FLAGS, junk);
	edits[2].def.key = f->c.key;
	edits[2].def.flags = MSLOT_LOG_DIRTY;
	assert_int_equal(commit_edits(f->map, edits, 3, NULL), 0);
	f->b.gpa = 0;
	f->c.flags = MSLOT_LOG_DIRTY;
	expect_slots(f->map, (struct mslot_slot_def[]){f->b, f->c}, 2);
}

/* ---- Generations and options -------------------------------------------- */

static void a_commit_that_changes_nothing_publishes_nothing(void **state)
{
	struct fixture *f = *state;
	struct mslot_commit_result result = {0};
	struct mslot_edit edits[3];

	assert_int_equal(commit_edits(f->map, NULL, 0, &result), 0);
	assert_int_equal(result.generation, 1);
	edits[0] = edit_of(MSLOT_EDIT_REDEFINE, f->a);
	edits[1] = edit_of(MSLOT_EDIT_MOVE, f->b);
	edits[2] = edit_of(MSLOT_EDIT_RESIZE, f->c);
	assert_int_equal(commit_edits(f->map, edits, 3, &result), 0);
	assert_int_equal(result.generation, 1);
	assert_int_equal(result.failed_edit, MSLOT_NO_EDIT);
	assert_string_equal(result.reason, "");
	edits[1] = edit_of(MSLOT_EDIT_SET_FLAGS, f->b);
	edits[2] = edit_of(MSLOT_EDIT_REPLACE, f->c);
	assert_int_equal(commit_edits(f->map, edits, 3, &result), 0);
	assert_int_equal(result.generation, 1);
	assert_int_equal(generation_of(f->map), 1);
	expect_abc(f);
	/* One change among them is a change. */
	edits[1].def.flags = MSLOT_READONLY;
	assert_int_equal(commit_edits(f->map, edits, 3, &result), 0);
	assert_int_equal(result.generation, 2);
}

static void a_dry_run_answers_and_changes_nothing(void **state)
{
	struct mslot_commit_options dry = {.flags = MSLOT_COMMIT_DRY_RUN};
	struct fixture *f = *state;
	struct mslot_commit_result result;
	struct mslot_slot_def def = def_of(9, 16, 8, f->other, 0);
	struct mslot_txn *txn = begin(f->map);

	assert_int_equal(mslot_txn_create(txn, &def), 0);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(mslot_txn_commit(txn, &dry, &result), 0);
		assert_int_equal(result.generation, 1);
		assert_string_equal(result.reason, "");
		expect_abc(f);
	}
	put_slot(f->map, def_of(8, 20, 1, f->other, 0));
	assert_int_equal(mslot_txn_commit(txn, &dry, &result), -EEXIST);
	assert_int_equal(result.failed_edit, 0);
	assert_int_equal(result.generation, 2);
	drop_slot(f->map, 8);
	assert_int_equal(finish(txn, &result), 0);
	assert_int_equal(result.generation, 4);
	drop_slot(f->map, 9);
	expect_abc(f);
}

static void if_generation_refuses_every_other_generation(void **state)
{
	struct mslot_commit_options opt = {.flags = MSLOT_COMMIT_IF_GENERATION};
	struct fixture *f = *state;
	struct mslot_commit_result result;
	struct mslot_txn *txn = begin(f->map);

	assert_int_equal(mslot_txn_delete(txn, f->a.key), 0);
	assert_int_equal(mslot_txn_delete(txn, f->b.key), 1);
	for (uint64_t g = 0; g < 4; g++) {
		opt.generation = g == 3 ? UINT64_MAX : g;
		if (g == 1)
			continue;
		assert_int_equal(mslot_txn_commit(txn, &opt, &result), -EAGAIN);
		assert_int_equal(result.generation, 1);
		assert_int_equal(result.failed_edit, MSLOT_NO_EDIT);
		assert_true(result.reason[0] != '\0');
		expect_abc(f);
	}
	opt.generation = 1;
	opt.flags |= MSLOT_COMMIT_DRY_RUN;
	assert_int_equal(mslot_txn_commit(txn, &opt, &result), 0);
	opt.flags = MSLOT_COMMIT_IF_GENERATION;
	assert_int_equal(mslot_txn_commit(txn, &opt, &result), 0);
	assert_int_equal(result.generation, 2);
	expect_slots(f->map, &f->c, 1);
}

static void a_refused_transaction_can_be_tried_again(void **state)
{
	struct fixture *f = *state;
	struct mslot_slot_def def = def_of(9, 12, 8, f->other, 0);
	struct mslot_commit_result result;
	struct mslot_txn *txn = begin(f->map);

	assert_int_equal(mslot_txn_create(txn, &def), 0);
	assert_int_equal(mslot_txn_commit(txn, NULL, &result), -EEXIST);
	assert_int_equal(result.failed_edit, 0);
	/* By another edit in the same transaction ... */
	assert_int_equal(mslot_txn_delete(txn, f->b.key), 1);
	assert_int_equal(mslot_txn_delete(txn, f->b.key), 2);
	assert_int_equal(mslot_txn_commit(txn, NULL, &result), -EINVAL);
	assert_int_equal(result.failed_edit, 2);
	mslot_txn_abort(txn);
	/* ... or because the map has changed. */
	txn = begin(f->map);
	assert_int_equal(mslot_txn_create(txn, &def), 0);
	assert_int_equal(mslot_txn_commit(txn, NULL, NULL), -EEXIST);
	drop_slot(f->map, 2);
	assert_int_equal(mslot_txn_commit(txn, NULL, &result), 0);
	assert_int_equal(result.generation, 3);
	expect_slots(f->map, (struct mslot_slot_def[]){f->a, f->c, def}, 3);
	mslot_txn_abort(NULL);
}

static void a_transaction_keeps_copies_of_its_edits(void **state)
{
	struct fixture *f = *state;
	struct mslot_part parts[2] = {{21, PAGES(33)}, {22, PAGES(34)}};
	struct mslot_slot_def def = def_of(9, 64, 8, NULL, 0);
	struct mslot_slot_def want[6] = {f->a, f->b};
	const struct mslot_snapshot *snap = mslot_enter(f->map);
	struct mslot_txn *txn = begin(f->map); /* also inside a section */

	mslot_leave(snap);
	def.region = make_region(OTHER_HVA, 8);
	want[2] = def_of(3, 32, 1, f->region, 80);
	want[3] = def_of(21, 33, 1, f->region, 81);
	want[4] = def_of(22, 34, 6, f->region, 82);
	want[5] = def;
	assert_int_equal(mslot_txn_split(txn, f->c.key, parts, 2), 0);
	assert_int_equal(mslot_txn_create(txn, &def), 1);
	memset(parts, 0xff, sizeof(parts));
	mslot_region_put(def.region); /* the transaction has a reference */
	memset(&def, 0xff, sizeof(def));
	assert_int_equal(finish(txn, NULL), 0);
	expect_slots(f->map, want, 6);
}

static void max_edits_is_a_limit_for_adding(void **state)
{
	struct mslot_map_options opt = {.max_edits = 2};
	struct mslot_map *map = make_map(&opt);
	struct fixture *f = *state;
	struct mslot_txn *txn = begin(map);

	assert_int_equal(mslot_txn_create(txn, &f->a), 0);
	assert_int_equal(mslot_txn_create(txn, &f->b), 1);
	assert_int_equal(mslot_txn_create(txn, &f->c), -E2BIG);
	assert_int_equal(mslot_txn_delete(txn, f->c.key), -E2BIG);
	assert_int_equal(finish(txn, NULL), 0);
	expect_slots(map, (struct mslot_slot_def[]){f->a, f->b}, 2);
	assert_int_equal(mslot_map_destroy(map), 0);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(slots_of_every_awkward_size),
	    EACH(overlap_touching_ranges),
	    EACH(spaces_do_not_overlap_each_other),
	    EACH(swap_two_slots),
	    EACH(a_cycle_of_moves),
	    EACH(delete_one_and_move_another_into_its_place),
	    EACH(delete_and_create_over_one_range),
	    EACH(toggle_readonly_and_log_dirty),
	    EACH(resize_both_ends),
	    EACH(replace_and_redefine_give_new_memory),
	    EACH(split_into_n_and_merge_in_any_order),
	    EACH(private_slots_need_their_flag_and_take_every_kind),
	    EACH(fields_that_a_kind_ignores_are_not_looked_at),
	    EACH(a_commit_that_changes_nothing_publishes_nothing),
	    EACH(a_dry_run_answers_and_changes_nothing),
	    EACH(if_generation_refuses_every_other_generation),
	    EACH(a_refused_transaction_can_be_tried_again),
	    EACH(a_transaction_keeps_copies_of_its_edits),
	    EACH(max_edits_is_a_limit_for_adding),
	};

	return cmocka_run_group_tests_name("txn", tests, NULL, NULL);
}
