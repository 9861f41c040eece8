/* SPDX-License-Identifier: MIT */
/*
 * test_mmu_zap.c - zaps by page, frame, host address and of everything; host invalidations.
 */
#include "mmu_fixture.h"

static struct mslot_range pages(uint64_t first, uint64_t n)
{
	return (struct mslot_range){PAGES(first), PAGES(n)};
}

static struct mslot_range host(uint64_t first, uint64_t n)
{
	return (struct mslot_range){BIG_HVA + PAGES(first), PAGES(n)};
}

/* ---- One page ----------------------------------------------------------------- */

static void a_page_of_one_root_goes(void **state)
{
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 1);
	put_slot(f.map, def_of(1, 0, 8, f.region, 0));
	assert_int_equal(mslot_vcpu_root_set(f.vcpu, f.direct), 0);
	assert_int_equal(mslot_zap_page(f.vcpu, f.direct, PAGES(2)), 0);
	mmu_enter(&f);
	assert_int_equal(fault_at(&f, 2, MSLOT_WRITE, NULL), 0);
	assert_int_equal(fault_at(&f, 3, MSLOT_WRITE, NULL), 0);
	assert_int_equal(shadow_at(&f, 2, 2, 1, MSLOT_READ, NULL), 0);
	assert_int_equal(mslot_zap_page(NULL, f.direct, PAGES(2) + 9), 1);
	/* Nobody's cache was meant; then ours, also when the leaf is gone. */
	assert_non_null(mslot_vcpu_hit(f.vcpu, PAGES(2), 1, MSLOT_WRITE));
	assert_int_equal(mslot_zap_page(f.vcpu, f.direct, PAGES(2)), 0);
	assert_null(mslot_vcpu_hit(f.vcpu, PAGES(2), 1, MSLOT_READ));
	assert_null(mslot_vcpu_hit(f.vcpu, PAGES(2), 1, MSLOT_WRITE));
	assert_non_null(mslot_vcpu_hit(f.vcpu, PAGES(3), 1, MSLOT_WRITE));
	assert_false(was_asked(&f));
	mmu_leave(&f);
	assert_int_equal(found_at(&f, f.direct, 2), 0);
	assert_int_equal(found_at(&f, f.direct, 3), BIG_HVA + PAGES(3));
	assert_int_equal(found_at(&f, f.shadow, 2), BIG_HVA + PAGES(2));
	assert_int_equal(mmu_stats(&f).zapped, 1);
	mmu_teardown(&f);
}

/* What was walked before the guest changed its tables, and told of it, is not installed. */
static void old_walks_are_refused(void **state)
{
	struct mslot_fault fault = {.addr = PAGES(7), .walk = {.gpa = PAGES(2), .level = 1}};
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 1);
	put_slot(f.map, def_of(1, 0, 8, f.region, 0));
	mmu_enter(&f);
	fault.stamp = mslot_root_stamp(f.shadow);
	assert_true(fault.stamp > 0);
	assert_int_equal(mslot_zap_page(NULL, f.shadow, PAGES(7)), 0);
	assert_true(mslot_root_stamp(f.shadow) != fault.stamp);
	assert_int_equal(mslot_fault(f.vcpu, f.shadow, &fault, NULL), -EAGAIN);
	assert_int_equal(found_at(&f, f.shadow, 7), 0);
	fault.stamp = mslot_root_stamp(f.shadow);
	assert_int_equal(mslot_fault(f.vcpu, f.shadow, &fault, NULL), 0);
	/* Nor does one change what is there. */
	assert_int_equal(mslot_write_protect(f.mmu, (struct mslot_key){0, 1}, NULL), 1);
	assert_int_equal(mslot_zap_page(NULL, f.shadow, PAGES(6)), 0);
	fault.access = MSLOT_WRITE;
	assert_int_equal(mslot_fault(f.vcpu, f.shadow, &fault, NULL), -EAGAIN);
	/* Another root's pages are its own. */
	fault.stamp = mslot_root_stamp(f.shadow);
	assert_int_equal(mslot_zap_page(NULL, f.direct, PAGES(7)), 0);
	assert_int_equal(mslot_fault(f.vcpu, f.shadow, &fault, NULL), 0);
	mmu_leave(&f);
	mmu_teardown(&f);
}

/* With all that the cache got through it. */
static void a_large_leaf_goes_by_any_page(void **state)
{
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 2);
	put_slot(f.map, def_of(1, 0, LARGE, f.region, 0));
	assert_int_equal(mslot_vcpu_root_set(f.vcpu, f.direct), 0);
	mmu_enter(&f);
	assert_int_equal(fault_at(&f, 2, MSLOT_READ, NULL), 0);
	assert_int_equal(fault_at(&f, 400, MSLOT_READ, NULL), 0);
	assert_int_equal(mslot_zap_page(f.vcpu, f.direct, PAGES(511)), 1);
	assert_null(mslot_vcpu_hit(f.vcpu, PAGES(2), 1, MSLOT_READ));
	assert_null(mslot_vcpu_hit(f.vcpu, PAGES(400), 1, MSLOT_READ));
	assert_int_equal(mslot_zap_page(f.vcpu, f.direct, PAGES(511)), 0);
	/* Of another root than the vCPU's nothing is cached. */
	assert_int_equal(fault_at(&f, 2, MSLOT_READ, NULL), 0);
	assert_int_equal(shadow_at(&f, 2, 2, 2, MSLOT_READ, NULL), 0);
	assert_int_equal(mslot_zap_page(f.vcpu, f.shadow, PAGES(2)), 1);
	assert_non_null(mslot_vcpu_hit(f.vcpu, PAGES(2), 1, MSLOT_READ));
	mmu_leave(&f);
	mmu_teardown(&f);
}

/* ---- Frames ------------------------------------------------------------------- */

static void frames_go_from_all_roots(void **state)
{
	struct mmu_fixture f;
	uint64_t i;

	(void)state;
	mmu_setup(&f, 1);
	put_slot(f.map, def_of(1, 0, 600, f.region, 0));
	fault_range(&f, 0, 600, MSLOT_READ);
	mmu_enter(&f);
	for (i = 0; i < 40; i++)
		assert_int_equal(shadow_at(&f, 1000 + i, 512, 1, MSLOT_READ, NULL), 0);
	assert_int_equal(mslot_zap_gfn(f.mmu, 0, pages(3, 0)), 0);
	assert_int_equal(mslot_zap_gfn(f.mmu, 0, pages(700, 100)), 0);
	assert_int_equal(mslot_zap_gfn(f.mmu, 1, pages(0, 600)), 0);
	assert_true(was_asked(&f));
	assert_int_equal(mslot_zap_gfn(f.mmu, 0, pages(511, 2)), 2 + 40);
	assert_true(was_asked(&f));
	mmu_leave(&f);
	mmu_assert_right(&f);
	assert_int_equal(mmu_stats(&f).longest, mmu_form ? 0 : 41);
	assert_int_equal(found_at(&f, f.direct, 510), BIG_HVA + PAGES(510));
	assert_int_equal(found_at(&f, f.direct, 511), 0);
	assert_int_equal(found_at(&f, f.direct, 512), 0);
	assert_int_equal(found_at(&f, f.direct, 513), BIG_HVA + PAGES(513));
	/* Bytes: the pages that they are of. */
	assert_int_equal(mslot_zap_gfn(f.mmu, 0, (struct mslot_range){PAGES(6) - 1, 2}), 2);
	assert_int_equal(mslot_zap_gfn(f.mmu, 0, (struct mslot_range){PAGES(6) - 1, 1}), 0);
	/* Beyond all addresses. */
	assert_int_equal(mslot_zap_gfn(f.mmu, 0, (struct mslot_range){PAGES(590), UINT64_MAX}), 10);
	assert_int_equal(mslot_zap_gfn(f.mmu, 0, (struct mslot_range){0, UINT64_MAX}), 586);
	assert_int_equal(mmu_stats(&f).zapped, 42 + 2 + 10 + 586);
	mmu_teardown(&f);
}

/* Frames far beyond those that a slot may have are others than these. */
static void frames_beyond_the_map(void **state)
{
	static const unsigned int bits[] = {52, 53, 55, 57, 60, 63};
	struct mmu_fixture f;
	unsigned int i;

	(void)state;
	mmu_setup(&f, 0);
	put_slot(f.map, def_of(1, 0, LARGE, f.region, 0));
	put_slot(f.map, def_of(2, LARGE, 8, f.region, 0));
	fault_range(&f, 0, LARGE + 8, MSLOT_READ);
	for (i = 0; i < sizeof(bits) / sizeof(*bits); i++)
		assert_int_equal(
		    mslot_zap_gfn(f.mmu, 0,
				  (struct mslot_range){UINT64_C(1) << bits[i], PAGES(2 * LARGE)}),
		    0);
	assert_int_equal(mmu_stats(&f).zapped, 0);
	assert_int_equal(found_at(&f, f.direct, 3), BIG_HVA + PAGES(3));
	assert_int_equal(mslot_zap_gfn(f.mmu, 0, (struct mslot_range){0, UINT64_MAX}), 9);
	mmu_teardown(&f);
}

static void large_leaves_go_as_a_whole(void **state)
{
	struct mslot_translation t;
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 0);
	put_slot(f.map, def_of(1, 0, 2 * LARGE, f.region, 0));
	put_slot(f.map, def_of(2, HUGE_LEAF, HUGE_LEAF, f.region, HUGE_LEAF));
	fault_range(&f, 0, 2 * LARGE, MSLOT_READ);
	fault_range(&f, HUGE_LEAF, 3, MSLOT_READ);
	assert_int_equal(mslot_zap_gfn(f.mmu, 0, pages(511, 1)), 1);
	assert_int_equal(look_at(&f, f.direct, 0, &t), -ENOENT);
	assert_int_equal(look_at(&f, f.direct, 512, &t), 0);
	assert_int_equal(mslot_zap_gfn(f.mmu, 0, pages(2 * HUGE_LEAF - 1, 1)), 1);
	assert_int_equal(look_at(&f, f.direct, HUGE_LEAF, &t), -ENOENT);
	assert_int_equal(mmu_stats(&f).splits, 0);
	mmu_teardown(&f);
}

/* ---- Host memory ---------------------------------------------------------------- */

static void host_memory_goes_through_all_slots(void **state)
{
	struct mslot_slot_def def;
	struct mmu_fixture f;
	struct mslot_root *second;

	(void)state;
	mmu_setup(&f, 1);
	put_slot(f.map, def_of(1, 0, 64, f.region, 0));
	put_slot(f.map, def_of(2, 100, 64, f.region, 32));
	def = def_of(1, 0, 64, f.region, 40);
	def.key.space = 1;
	put_slot(f.map, def);
	assert_int_equal(
	    mslot_root_create(f.mmu, &(struct mslot_root_options){.space = 1}, &second), 0);
	fault_range(&f, 0, 64, MSLOT_READ);
	fault_range(&f, 100, 64, MSLOT_READ);
	mmu_enter(&f);
	assert_int_equal(mslot_fault(f.vcpu, second, &(struct mslot_fault){.addr = 0}, NULL), 0);
	assert_int_equal(mslot_zap_hva(f.mmu, host(96, 9)), 0);
	assert_int_equal(mslot_zap_hva(f.mmu, host(40, 0)), 0);
	assert_int_equal(mslot_zap_hva(f.mmu, (struct mslot_range){BIG_HVA + PAGES(41) - 1, 2}),
			 2 + 2 + 1);
	assert_true(was_asked(&f));
	mmu_leave(&f);
	assert_int_equal(found_at(&f, f.direct, 40), 0);
	assert_int_equal(found_at(&f, f.direct, 41), 0);
	assert_int_equal(found_at(&f, f.direct, 42), BIG_HVA + PAGES(42));
	assert_int_equal(found_at(&f, f.direct, 107), BIG_HVA + PAGES(39));
	assert_int_equal(found_at(&f, f.direct, 108), 0);
	assert_int_equal(found_at(&f, second, 0), 0);
	assert_int_equal(
	    mslot_zap_hva(f.mmu, (struct mslot_range){BIG_HVA + PAGES(94), UINT64_MAX}), 2);
	assert_int_equal(mslot_root_destroy(second), 0);
	mmu_teardown(&f);
}

/* ---- Everything ------------------------------------------------------------------ */

static void everything_goes_at_once(void **state)
{
	struct mmu_fixture f;
	uint64_t tables;

	(void)state;
	mmu_setup(&f, 2);
	put_slot(f.map, def_of(1, 0, 2 * LARGE + 20, f.region, 0));
	fault_range(&f, 0, 2 * LARGE + 20, MSLOT_WRITE);
	tables = mmu_stats(&f).tables;
	mmu_enter(&f);
	assert_int_equal(shadow_at(&f, 9, 9, 1, MSLOT_READ, NULL), 0);
	mslot_zap_all(f.mmu);
	assert_true(was_asked(&f));
	mmu_leave(&f);
	assert_int_equal(found_at(&f, f.direct, 3), 0);
	assert_int_equal(found_at(&f, f.direct, 2 * LARGE + 3), 0);
	assert_int_equal(found_at(&f, f.shadow, 9), 0);
	assert_int_equal(mmu_stats(&f).zapped, 0);
	mmu_assert_right(&f);
	fault_range(&f, 3, 1, MSLOT_READ);
	assert_int_equal(found_at(&f, f.direct, 3), BIG_HVA + PAGES(3));
	assert_int_equal(found_at(&f, f.direct, 2 * LARGE + 3), 0);
	assert_true(mmu_stats(&f).dead_tables > 0);
	map_drain_deferred(f.map);
	assert_int_equal(mmu_stats(&f).dead_tables, 0);
	/* Of the direct root what one fault needs; of the shadow one what is still hanging. */
	assert_int_equal(mmu_stats(&f).tables, tables - 1 + 3);
	assert_int_equal(mmu_stats(&f).mapped, mmu_form ? 0 : 2);
	/* A commit in between finds old tables by their reverse maps, or not at all. */
	mslot_zap_all(f.mmu);
	drop_slot(f.map, 1);
	put_slot(f.map, def_of(1, 0, 8, f.region, 100));
	fault_range(&f, 3, 1, MSLOT_READ);
	assert_int_equal(found_at(&f, f.direct, 3), BIG_HVA + PAGES(103));
	mmu_teardown(&f);
}

/* ---- Invalidations ----------------------------------------------------------------- */

static void invalidated_memory_is_kept_off(void **state)
{
	struct mslot_translation t = {.hva = 1};
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 1);
	put_slot(f.map, def_of(1, 0, 64, f.region, 0));
	assert_int_equal(mslot_vcpu_root_set(f.vcpu, f.direct), 0);
	fault_range(&f, 0, 64, MSLOT_WRITE);
	assert_int_equal(mslot_invalidate_begin(f.mmu, host(1, 0)), -EINVAL);
	assert_int_equal(mslot_invalidate_begin(f.mmu, (struct mslot_range){PAGE, UINT64_MAX}),
			 -EINVAL);
	assert_int_equal(mmu_stats(&f).zapped, 0);
	assert_int_equal(mslot_invalidate_begin(f.mmu, host(10, 4)), 0);
	assert_int_equal(mmu_stats(&f).zapped, 4);
	mmu_enter(&f);
	assert_null(mslot_vcpu_hit(f.vcpu, PAGES(10), 1, MSLOT_READ));
	assert_int_equal(fault_at(&f, 10, MSLOT_READ, &t), -EAGAIN);
	assert_int_equal(fault_at(&f, 13, MSLOT_WRITE, &t), -EAGAIN);
	assert_int_equal(t.hva, 1);
	assert_int_equal(found_at(&f, f.direct, 10), 0);
	assert_int_equal(mslot_prefault(f.vcpu, f.direct, pages(10, 2), MSLOT_READ), -EAGAIN);
	assert_int_equal(mslot_prefault(f.vcpu, f.direct, pages(8, 8), MSLOT_READ), 2);
	assert_int_equal(fault_at(&f, 9, MSLOT_WRITE, NULL), 0);
	assert_int_equal(fault_at(&f, 14, MSLOT_WRITE, NULL), 0);
	assert_int_equal(mmu_stats(&f).invalidated, 4);
	mslot_invalidate_end(f.mmu, host(10, 4));
	assert_int_equal(fault_at(&f, 10, MSLOT_READ, &t), 0);
	mmu_leave(&f);
	mmu_teardown(&f);
}

/* Bytes of a page are the page. */
static void parts_of_pages_are_invalidated(void **state)
{
	const struct mslot_range range = {BIG_HVA + PAGES(5) - 1, 2};
	struct mmu_fixture f;
	uint64_t i;

	(void)state;
	mmu_setup(&f, 1);
	put_slot(f.map, def_of(1, 0, 64, f.region, 0));
	assert_int_equal(mslot_invalidate_begin(f.mmu, range), 0);
	mmu_enter(&f);
	for (i = 0; i < 10; i++)
		assert_int_equal(fault_at(&f, i, MSLOT_READ, NULL), i == 4 || i == 5 ? -EAGAIN : 0);
	mmu_leave(&f);
	mslot_invalidate_end(f.mmu, range);
	mmu_teardown(&f);
}

static void several_invalidations_at_once(void **state)
{
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 1);
	put_slot(f.map, def_of(1, 0, 64, f.region, 0));
	assert_int_equal(mslot_invalidate_begin(f.mmu, host(20, 4)), 0);
	assert_int_equal(mslot_invalidate_begin(f.mmu, host(10, 2)), 0);
	assert_int_equal(mslot_invalidate_begin(f.mmu, host(22, 8)), 0);
	assert_int_equal(mslot_invalidate_begin(f.mmu, host(21, 1)), 0);
	mmu_enter(&f);
	assert_int_equal(fault_at(&f, 9, MSLOT_READ, NULL), 0);
	assert_int_equal(fault_at(&f, 10, MSLOT_READ, NULL), -EAGAIN);
	assert_int_equal(fault_at(&f, 29, MSLOT_READ, NULL), -EAGAIN);
	assert_int_equal(fault_at(&f, 30, MSLOT_READ, NULL), 0);
	mslot_invalidate_end(f.mmu, host(20, 4));
	mslot_invalidate_end(f.mmu, host(21, 1));
	mslot_invalidate_end(f.mmu, host(22, 8));
	assert_int_equal(fault_at(&f, 11, MSLOT_READ, NULL), -EAGAIN);
	mslot_invalidate_end(f.mmu, host(10, 2));
	assert_int_equal(fault_at(&f, 11, MSLOT_READ, NULL), 0);
	mmu_leave(&f);
	/* The next one is alone. */
	assert_int_equal(mslot_invalidate_begin(f.mmu, host(40, 1)), 0);
	mmu_enter(&f);
	assert_int_equal(fault_at(&f, 21, MSLOT_READ, NULL), 0);
	assert_int_equal(fault_at(&f, 40, MSLOT_READ, NULL), -EAGAIN);
	assert_int_equal(fault_at(&f, 41, MSLOT_READ, NULL), 0);
	mmu_leave(&f);
	mslot_invalidate_end(f.mmu, host(40, 1));
	mmu_teardown(&f);
}

/* Beside invalidated memory leaves are as large as they can be; afterwards large again. */
static void large_leaves_shrink_beside_an_invalidation(void **state)
{
	struct mslot_translation t;
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 0);
	put_slot(f.map, def_of(1, 0, HUGE_LEAF, f.region, 0));
	fault_range(&f, 5, 1, MSLOT_WRITE);
	assert_int_equal(mslot_invalidate_begin(f.mmu, host(600, 1)), 0);
	assert_int_equal(mmu_stats(&f).zapped, 1);
	mmu_enter(&f);
	assert_int_equal(fault_at(&f, 600, MSLOT_READ, &t), -EAGAIN);
	assert_int_equal(fault_at(&f, 601, MSLOT_READ, &t), 0);
	assert_int_equal(t.level, 1);
	assert_int_equal(fault_at(&f, 5, MSLOT_READ, &t), 0);
	assert_int_equal(t.level, 2);
	assert_int_equal(fault_at(&f, 1024, MSLOT_READ, &t), 0);
	assert_int_equal(t.level, 2);
	assert_true(mmu_stats(&f).retries > 0);
	mslot_invalidate_end(f.mmu, host(600, 1));
	assert_int_equal(fault_at(&f, 600, MSLOT_READ, &t), 0);
	assert_int_equal(t.level, 2);
	/* No table is below the upper one any more. */
	assert_int_equal(fault_at(&f, 600, MSLOT_READ, &t), 0);
	assert_int_equal(t.level, 3);
	mmu_leave(&f);
	assert_int_equal(mmu_stats(&f).collapses, 2);
	mmu_teardown(&f);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_page_of_one_root_goes),
	    cmocka_unit_test(old_walks_are_refused),
	    cmocka_unit_test(a_large_leaf_goes_by_any_page),
	    cmocka_unit_test(frames_go_from_all_roots),
	    cmocka_unit_test(frames_beyond_the_map),
	    cmocka_unit_test(large_leaves_go_as_a_whole),
	    cmocka_unit_test(host_memory_goes_through_all_slots),
	    cmocka_unit_test(everything_goes_at_once),
	    cmocka_unit_test(invalidated_memory_is_kept_off),
	    cmocka_unit_test(parts_of_pages_are_invalidated),
	    cmocka_unit_test(several_invalidations_at_once),
	    cmocka_unit_test(large_leaves_shrink_beside_an_invalidation),
	};

	return MMU_RUN_BOTH_FORMS(tests);
}
