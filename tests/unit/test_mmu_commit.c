/* SPDX-License-Identifier: MIT */
/*
 * test_mmu_commit.c - what commits do to translations: T1 and T2, leaf by leaf.
 */
#include "mmu_fixture.h"

static void assert_range(struct mmu_fixture *f, uint64_t first, uint64_t n, uint64_t hva)
{
	uint64_t i;

	for (i = 0; i < n; i++)
		assert_int_equal(found_at(f, f->direct, first + i), hva ? hva + PAGES(i) : 0);
}

static void a_deleted_slot_is_unmapped(void **state)
{
	struct mmu_fixture f;
	struct mslot_mmu_stats before;

	(void)state;
	mmu_setup(&f, 1);
	put_slot(f.map, def_of(1, 0, 64, f.region, 0));
	put_slot(f.map, def_of(2, 100, 64, f.region, 64));
	fault_range(&f, 0, 64, MSLOT_WRITE);
	fault_range(&f, 100, 64, MSLOT_READ);
	mmu_enter(&f);
	assert_int_equal(shadow_at(&f, 7, 3, 1, MSLOT_READ, NULL), 0);
	assert_int_equal(shadow_at(&f, 8, 3, 1, MSLOT_READ, NULL), 0);
	assert_int_equal(shadow_at(&f, 9, 101, 1, MSLOT_READ, NULL), 0);
	mmu_leave(&f);
	mmu_assert_right(&f);
	before = mmu_stats(&f);
	if (!mmu_form)
		assert_int_equal(before.mapped, 64 + 64 + 3);
	drop_slot(f.map, 1);
	mmu_assert_right(&f);
	assert_range(&f, 0, 64, 0);
	assert_range(&f, 100, 64, BIG_HVA + PAGES(64));
	assert_int_equal(found_at(&f, f.shadow, 7), 0);
	assert_int_equal(found_at(&f, f.shadow, 8), 0);
	assert_int_equal(found_at(&f, f.shadow, 9), BIG_HVA + PAGES(65));
	assert_int_equal(mmu_stats(&f).zapped, 66);
	assert_int_equal(mmu_stats(&f).flushes, before.flushes + 1);
	mmu_teardown(&f);
}

static void what_is_split_and_merged_stays(void **state)
{
	struct mslot_mmu_stats before;
	struct mmu_fixture f;
	uint32_t level;

	(void)state;
	for (level = 1; level <= 2; level++) {
		mmu_setup(&f, level);
		put_slot(f.map, def_of(1, 0, 2 * LARGE, f.region, 0));
		fault_range(&f, 0, 2 * LARGE, MSLOT_WRITE);
		before = mmu_stats(&f);
		split_slot(f.map, 1, 700, 2);
		mmu_assert_right(&f);
		merge_slots(f.map, 1, 2);
		mmu_assert_right(&f);
		assert_range(&f, 0, 2 * LARGE, BIG_HVA);
		assert_int_equal(mmu_stats(&f).zapped, 0);
		assert_int_equal(mmu_stats(&f).flushes, before.flushes);
		mmu_teardown(&f);
	}
}

/* Of a large leaf the part that is not removed stays. */
static void part_of_a_large_leaf_goes(void **state)
{
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 0);
	put_slot(f.map, def_of(1, 0, 2 * HUGE_LEAF, f.region, 0));
	fault_range(&f, 5, 1, MSLOT_WRITE);
	fault_range(&f, HUGE_LEAF + 5, 1, MSLOT_WRITE);
	split_slot(f.map, 1, 700, 2);
	split_slot(f.map, 2, 1300, 3);
	assert_int_equal(mmu_stats(&f).zapped, 0);
	drop_slot(f.map, 2);
	mmu_assert_right(&f);
	assert_range(&f, 0, 700, BIG_HVA);
	assert_range(&f, 700, 600, 0);
	assert_range(&f, 1300, 1000, BIG_HVA + PAGES(1300));
	assert_range(&f, HUGE_LEAF - 10, 20, BIG_HVA + PAGES(HUGE_LEAF - 10));
	assert_true(mmu_stats(&f).splits >= 3);
	mmu_teardown(&f);
}

/* ---- T2: every kind of edit, leaf by leaf ---------------------------------------- */

/* Slot 1 has two units of 512 pages from frame 512 on, slot 3 a few far above. */
#define FIRST LARGE
#define N (2 * LARGE)

struct edit_case {
	const char *name;
	struct mslot_edit edit[2];
	size_t n;
	uint32_t flags_before;   /* of slot 1 */
	uint64_t kept, kept_end; /* frames that keep their translation */
	bool writable;           /* the same ones */
	bool asks;               /* vCPUs to flush */
};

static struct mslot_slot_def moved(struct mslot_slot_def def, uint64_t gfn)
{
	def.gpa = PAGES(gfn);
	return def;
}

static struct mslot_slot_def flagged(struct mslot_slot_def def, uint32_t flags)
{
	def.flags = flags;
	return def;
}

static void run_case(const struct edit_case *c, const struct mslot_slot_def *slot,
		     struct mmu_fixture *f)
{
	struct mslot_mmu_stats before;
	struct mslot_translation t;
	uint64_t page;
	int err;

	put_slot(f->map, flagged(*slot, c->flags_before));
	put_slot(f->map, def_of(3, 8 * LARGE, 4, f->region, 8 * LARGE));
	fault_range(f, FIRST, N, c->flags_before & MSLOT_READONLY ? MSLOT_READ : MSLOT_WRITE);
	fault_range(f, 8 * LARGE, 4, MSLOT_WRITE);
	before = mmu_stats(f);
	mmu_enter(f);
	assert_int_equal(commit_edits(f->map, c->edit, c->n, NULL), 0);
	assert_int_equal(was_asked(f), c->asks);
	mmu_leave(f);
	mmu_assert_right(f);
	for (page = FIRST; page < FIRST + N; page++) {
		err = look_at(f, f->direct, page, &t);
		if ((err == 0) != (page >= c->kept && page < c->kept_end))
			fail_msg("%s: page %u: %d", c->name, (unsigned int)page, err);
		if (err)
			continue;
		assert_int_equal(t.hva, BIG_HVA + PAGES(page));
		if ((t.writable != 0) != c->writable)
			fail_msg("%s: page %u may%s be written", c->name, (unsigned int)page,
				 c->writable ? " not" : "");
	}
	assert_int_equal(look_at(f, f->direct, 8 * LARGE, &t), 0);
	assert_int_equal(t.writable, 1);
	assert_int_equal(mmu_stats(f).flushes, before.flushes + c->asks);
	if (c->kept == FIRST && c->kept_end == FIRST + N)
		assert_int_equal(mmu_stats(f).zapped, 0);
}

static void run_cases(const struct edit_case *cases, size_t n, const struct mslot_slot_def *slot,
		      struct mslot_region *const *region)
{
	struct edit_case c;
	struct mmu_fixture f;
	uint32_t level;
	size_t i, k;

	/* Definitions were made before there were regions. */
	for (i = 0; i < n; i++)
		for (level = 1; level <= 2; level++) {
			struct mslot_slot_def def = *slot;

			mmu_setup(&f, level);
			def.region = f.region;
			c = cases[i];
			for (k = 0; k < c.n; k++)
				c.edit[k].def.region =
				    c.edit[k].def.region == *region ? f.other : f.region;
			run_case(&c, &def, &f);
			mmu_teardown(&f);
		}
}

/* long: a table */
static void only_what_an_edit_changes_goes(void **state)
{
	const uint64_t end = FIRST + N;
	struct mslot_region *other = make_region(HVA, 1);
	const struct mslot_slot_def s = def_of(1, FIRST, N, NULL, FIRST),
				    gone = def_of(1, 0, 0, NULL, 0);
	const struct mslot_part half = {.id = 2, .gpa = PAGES(FIRST + 700)};
	struct mslot_edit split = {.kind = MSLOT_EDIT_SPLIT, .def = s, .parts = &half, .nparts = 1};
	const struct edit_case cases[] = {
	    {"delete", {edit_of(MSLOT_EDIT_DELETE, gone)}, 1, 0, 0, 0, 0, true},
	    {"create",
	     {edit_of(MSLOT_EDIT_CREATE, def_of(5, 0, 8, NULL, 0))},
	     1,
	     0,
	     FIRST,
	     end,
	     true,
	     false},
	    {"read-only",
	     {edit_of(MSLOT_EDIT_SET_FLAGS, flagged(s, MSLOT_READONLY))},
	     1,
	     0,
	     FIRST,
	     end,
	     false,
	     true},
	    {"logged",
	     {edit_of(MSLOT_EDIT_SET_FLAGS, flagged(s, MSLOT_LOG_DIRTY))},
	     1,
	     0,
	     FIRST,
	     end,
	     false,
	     true},
	    {"writable",
	     {edit_of(MSLOT_EDIT_SET_FLAGS, s)},
	     1,
	     MSLOT_READONLY,
	     FIRST,
	     end,
	     false,
	     false},
	    {"read-only, no longer logged",
	     {edit_of(MSLOT_EDIT_SET_FLAGS, flagged(s, MSLOT_READONLY))},
	     1,
	     MSLOT_LOG_DIRTY,
	     FIRST,
	     end,
	     false,
	     true},
	    {"no longer logged",
	     {edit_of(MSLOT_EDIT_SET_FLAGS, s)},
	     1,
	     MSLOT_LOG_DIRTY,
	     FIRST,
	     end,
	     false,
	     false},
	    {"grown",
	     {edit_of(MSLOT_EDIT_RESIZE, def_of(1, FIRST - 9, N + 20, NULL, 0))},
	     1,
	     0,
	     FIRST,
	     end,
	     true,
	     false},
	    {"cut above",
	     {edit_of(MSLOT_EDIT_RESIZE, def_of(1, FIRST, N - 1, NULL, 0))},
	     1,
	     0,
	     FIRST,
	     end - 1,
	     true,
	     true},
	    {"cut below",
	     {edit_of(MSLOT_EDIT_RESIZE, def_of(1, FIRST + 1, N - 1, NULL, 0))},
	     1,
	     0,
	     FIRST + 1,
	     end,
	     true,
	     true},
	    {"cut to the middle",
	     {edit_of(MSLOT_EDIT_RESIZE, def_of(1, FIRST + 500, 20, NULL, 0))},
	     1,
	     0,
	     FIRST + 500,
	     FIRST + 520,
	     true,
	     true},
	    {"cut in half",
	     {edit_of(MSLOT_EDIT_RESIZE, def_of(1, FIRST, LARGE, NULL, 0))},
	     1,
	     0,
	     FIRST,
	     FIRST + LARGE,
	     true,
	     true},
	    {"moved", {edit_of(MSLOT_EDIT_MOVE, moved(s, 4 * LARGE))}, 1, 0, 0, 0, 0, true},
	    {"moved by a page",
	     {edit_of(MSLOT_EDIT_MOVE, moved(s, FIRST + 1))},
	     1,
	     0,
	     0,
	     0,
	     0,
	     true},
	    {"other memory",
	     {edit_of(MSLOT_EDIT_REPLACE, def_of(1, FIRST, N, other, FIRST))},
	     1,
	     0,
	     0,
	     0,
	     0,
	     true},
	    {"the same memory", {edit_of(MSLOT_EDIT_REPLACE, s)}, 1, 0, FIRST, end, true, false},
	    {"redefined, the lower half",
	     {edit_of(MSLOT_EDIT_REDEFINE, def_of(1, FIRST, 100, NULL, FIRST))},
	     1,
	     0,
	     FIRST,
	     FIRST + 100,
	     true,
	     true},
	    {"split", {split}, 1, 0, FIRST, end, true, false},
	    {"another name",
	     {edit_of(MSLOT_EDIT_DELETE, gone),
	      edit_of(MSLOT_EDIT_CREATE, def_of(77, FIRST, N, NULL, FIRST))},
	     2,
	     0,
	     FIRST,
	     end,
	     true,
	     false},
	};

	(void)state;
	run_cases(cases, sizeof(cases) / sizeof(*cases), &s, &other);
	mslot_region_put(other);
}

/* ---- Parts of large leaves ---------------------------------------------------------- */

/* A slot that shares its large leaf becomes read-only: split, and nobody faults for reading. */
static void part_of_a_large_leaf_is_protected(void **state)
{
	struct mslot_translation t;
	struct mmu_fixture f;
	uint64_t i;

	(void)state;
	mmu_setup(&f, 0);
	put_slot(f.map, def_of(1, 0, HUGE_LEAF, f.region, 0));
	fault_range(&f, 5, 1, MSLOT_WRITE);
	split_slot(f.map, 1, 700, 2);
	split_slot(f.map, 2, 705, 3);
	set_flags(f.map, 2, MSLOT_READONLY);
	mmu_assert_right(&f);
	for (i = 0; i < 3 * LARGE; i++) {
		assert_int_equal(look_at(&f, f.direct, i, &t), 0);
		assert_int_equal(t.hva, BIG_HVA + PAGES(i));
		assert_int_equal(t.level, i / LARGE == 1 ? 1 : 2);
		assert_int_equal(t.writable, i < 700 || i >= 705);
	}
	assert_int_equal(mmu_stats(&f).splits, 2);
	assert_int_equal(mmu_stats(&f).zapped, 0);
	mmu_teardown(&f);
}

/* Both borders of what goes, in leaves that two roots have. */
static void leaves_of_several_roots_are_split(void **state)
{
	struct mmu_fixture f;
	uint64_t i;

	(void)state;
	mmu_setup(&f, 0);
	put_slot(f.map, def_of(1, 0, 3 * LARGE, f.region, 0));
	fault_range(&f, 0, 3 * LARGE, MSLOT_WRITE);
	mmu_enter(&f);
	for (i = 0; i < 3; i++)
		assert_int_equal(
		    shadow_at(&f, 5 * LARGE + i * LARGE, i * LARGE, 2, MSLOT_READ, NULL), 0);
	mmu_leave(&f);
	split_slot(f.map, 1, LARGE - 1, 2);
	split_slot(f.map, 2, 2 * LARGE + 1, 3);
	drop_slot(f.map, 2);
	mmu_assert_right(&f);
	assert_range(&f, 0, LARGE - 1, BIG_HVA);
	assert_range(&f, LARGE - 1, LARGE + 2, 0);
	assert_range(&f, 2 * LARGE + 1, LARGE - 1, BIG_HVA + PAGES(2 * LARGE + 1));
	for (i = 0; i < 3 * LARGE; i++)
		assert_int_equal(found_at(&f, f.shadow, 5 * LARGE + i) != 0,
				 i < LARGE - 1 || i > 2 * LARGE);
	assert_int_equal(mmu_stats(&f).splits, 4);
	mmu_teardown(&f);
}

/* Moved between alignments: large, small, large elsewhere. */
static void a_slot_moves_between_alignments(void **state)
{
	static const uint64_t at[] = {LARGE, LARGE + 1, 4 * LARGE, 4 * LARGE - 1, HUGE_LEAF};
	struct mslot_translation t;
	struct mmu_fixture f;
	struct mslot_txn *txn;
	size_t i;

	(void)state;
	mmu_setup(&f, 0);
	put_slot(f.map, def_of(1, 0, 2 * LARGE, f.region, 0));
	for (i = 0; i < sizeof(at) / sizeof(*at); i++) {
		fault_range(&f, i ? at[i - 1] : 0, 2 * LARGE, MSLOT_WRITE);
		txn = begin(f.map);
		assert_int_equal(mslot_txn_move(txn, (struct mslot_key){0, 1}, PAGES(at[i])), 0);
		assert_int_equal(finish(txn, NULL), 0);
		mmu_assert_right(&f);
		fault_range(&f, at[i] + 700, 1, MSLOT_WRITE);
		assert_int_equal(look_at(&f, f.direct, at[i] + 700, &t), 0);
		assert_int_equal(t.level, at[i] % LARGE ? 1 : 2);
		assert_int_equal(t.hva, BIG_HVA + PAGES(700));
	}
	mmu_teardown(&f);
}

/* ---- Many slots ---------------------------------------------------------------------- */

/* One slot a page: bitmaps grow while tables with fewer words live. */
static void tables_of_many_slots(void **state)
{
	static const uint32_t sizes[] = {1, 63, 64, 65, 509, 4096};
	struct mslot_txn *txn;
	struct mmu_fixture f;
	uint32_t i, k, n = 0;

	(void)state;
	mmu_setup(&f, 0);
	for (k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
		txn = begin(f.map);
		for (i = n; i < sizes[k]; i++) {
			struct mslot_slot_def def = def_of(i, 2 * i, 1, f.region, 2 * i);

			assert_true(mslot_txn_create(txn, &def) >= 0);
		}
		assert_int_equal(finish(txn, NULL), 0);
		for (n = sizes[k], i = 0; i < n; i += i + 1 < n && n > 100 ? 7 : 1)
			fault_range(&f, 2 * i, 1, MSLOT_WRITE);
		fault_range(&f, 2 * (n - 1), 1, MSLOT_WRITE);
		mmu_assert_right(&f);
		/* The newest and the oldest go and come. */
		drop_slot(f.map, n - 1);
		assert_int_equal(found_at(&f, f.direct, 2 * (n - 1)), 0);
		if (n > 1)
			assert_int_not_equal(found_at(&f, f.direct, 0), 0);
		put_slot(f.map, def_of(n - 1, 2 * (n - 1), 1, f.region, 1));
		fault_range(&f, 2 * (n - 1), 1, MSLOT_WRITE);
		assert_int_equal(found_at(&f, f.direct, 2 * (n - 1)), BIG_HVA + PAGE);
		mmu_assert_right(&f);
	}
	/* Other names for all, which take other indexes. */
	txn = begin(f.map);
	for (i = 0; i < n - 1; i++) {
		struct mslot_slot_def def = def_of(10000 + i, 2 * i, 1, f.region, 2 * i);

		assert_true(mslot_txn_delete(txn, (struct mslot_key){0, i}) >= 0);
		assert_true(mslot_txn_create(txn, &def) >= 0);
	}
	assert_int_equal(finish(txn, NULL), 0);
	mmu_assert_right(&f);
	assert_int_equal(found_at(&f, f.direct, 2 * 7), BIG_HVA + PAGES(14));
	drop_slot(f.map, 10000 + 7);
	assert_int_equal(found_at(&f, f.direct, 2 * 7), 0);
	mmu_teardown(&f);
}

/* Frames whose slots are gone have no heads any more. */
static void heads_die_with_their_slots(void **state)
{
	struct mslot_mmu_stats empty;
	struct mmu_fixture f;
	uint64_t i;

	(void)state;
	mmu_setup(&f, 1);
	for (i = 0; i < 20; i++) {
		put_slot(f.map, def_of(1, 100 + i * LARGE, 3 * LARGE, f.region, 0));
		fault_range(&f, 100 + i * LARGE, 3 * LARGE, MSLOT_READ);
		mmu_assert_right(&f);
		drop_slot(f.map, 1);
		mmu_assert_right(&f);
		map_drain_deferred(f.map);
		if (i == 0)
			empty = mmu_stats(&f);
	}
	assert_int_equal(mmu_stats(&f).frame_bytes, empty.frame_bytes);
	assert_int_equal(mmu_stats(&f).mapped, 0);
	mmu_teardown(&f);
}

/* ---- KVM's calls ---------------------------------------------------------------------- */

static void kvm_s_calls_take_translations_out(void **state)
{
	struct kvm_userspace_memory_region region = {
	    .slot = 4,
	    .guest_phys_addr = PAGES(LARGE),
	    .memory_size = PAGES(LARGE),
	    .userspace_addr = BIG_HVA + PAGES(LARGE),
	};
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 0);
	assert_int_equal(mslot_kvm_set_user_memory_region(f.map, &region), 0);
	fault_range(&f, LARGE, 2, MSLOT_WRITE);
	region.guest_phys_addr = PAGES(3 * LARGE);
	assert_int_equal(mslot_kvm_set_user_memory_region(f.map, &region), 0);
	assert_int_equal(found_at(&f, f.direct, LARGE), 0);
	fault_range(&f, 3 * LARGE, 2, MSLOT_WRITE);
	region.flags = MSLOT_LOG_DIRTY;
	assert_int_equal(mslot_kvm_set_user_memory_region(f.map, &region), 0);
	assert_int_equal(found_at(&f, f.direct, 3 * LARGE + 1), BIG_HVA + PAGES(LARGE + 1));
	region.memory_size = 0;
	assert_int_equal(mslot_kvm_set_user_memory_region(f.map, &region), 0);
	assert_int_equal(found_at(&f, f.direct, 3 * LARGE + 1), 0);
	mmu_teardown(&f);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_deleted_slot_is_unmapped),
	    cmocka_unit_test(what_is_split_and_merged_stays),
	    cmocka_unit_test(part_of_a_large_leaf_goes),
	    cmocka_unit_test(only_what_an_edit_changes_goes),
	    cmocka_unit_test(part_of_a_large_leaf_is_protected),
	    cmocka_unit_test(leaves_of_several_roots_are_split),
	    cmocka_unit_test(a_slot_moves_between_alignments),
	    cmocka_unit_test(tables_of_many_slots),
	    cmocka_unit_test(heads_die_with_their_slots),
	    cmocka_unit_test(kvm_s_calls_take_translations_out),
	};

	return MMU_RUN_BOTH_FORMS(tests);
}
