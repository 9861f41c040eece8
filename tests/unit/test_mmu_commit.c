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

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_deleted_slot_is_unmapped),
	    cmocka_unit_test(what_is_split_and_merged_stays),
	    cmocka_unit_test(part_of_a_large_leaf_goes),
	};

	return MMU_RUN_BOTH_FORMS(tests);
}
