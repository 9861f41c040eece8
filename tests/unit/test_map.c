/* SPDX-License-Identifier: MIT */
/*
 * test_map.c - creating, ending and counting maps; sections and holds. What a
 * snapshot answers is in test_read.c.
 */
#include "map_fixture.h"

#include <pthread.h>

static void zero_options_are_the_documented_defaults(void **state)
{
	struct mslot_map_options zero = {0}, opt;
	struct mslot_map *maps[2];

	(void)state;
	maps[0] = make_map(NULL);
	maps[1] = make_map(&zero);
	for (size_t i = 0; i < 2; i++) {
		mslot_map_options_get(maps[i], &opt);
		assert_int_equal(opt.page_shift, 12);
		assert_int_equal(opt.nspaces, 1);
		assert_int_equal(opt.max_user_slots, MSLOT_DEFAULT_USER_SLOTS);
		assert_int_equal(opt.max_edits, 1u << 20);
		assert_int_equal(opt.max_slots, UINT64_C(1) << 32);
		assert_int_equal(opt.max_pages, UINT64_MAX);
		assert_int_equal(opt.gpa_limit, UINT64_C(1) << 52);
		assert_int_equal(opt.hva_limit, UINT64_C(0x7ffffffff000));
		assert_int_equal(opt.retired_limit_bytes, 4u << 20);
		assert_int_equal(opt.simd, MSLOT_SIMD_BEST);
		assert_int_equal(mslot_map_destroy(maps[i]), 0);
	}
}

static void options_out_of_range_are_refused(void **state)
{
	static const struct mslot_map_options bad[] = {
	    {.page_shift = 11},
	    {.page_shift = 13},
	    {.page_shift = 15},
	    {.page_shift = 17},
	    {.page_shift = 64},
	    {.page_shift = UINT32_MAX},
	    {.nspaces = 17},
	    {.nspaces = UINT32_MAX},
	    {.max_user_slots = (1u << 31) + 1},
	    {.max_user_slots = UINT32_MAX},
	    {.max_edits = (uint32_t)INT32_MAX + 1}, /* an index is returned as an int */
	    {.gpa_limit = 4095},
	    {.gpa_limit = 4097},
	    {.page_shift = 14, .gpa_limit = 4096},
	    {.page_shift = 16, .gpa_limit = 0x4000},
	    {.hva_limit = 4095},
	    {.page_shift = 16, .hva_limit = 0x11000},
	    {.retired_limit_bytes = 1},
	    {.retired_limit_bytes = 65535},
	    {.simd = MSLOT_SIMD_AVX512 + 1},
	};
	struct mslot_map *const untouched = (struct mslot_map *)(uintptr_t)0x1234;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct mslot_map *map = untouched;

		if (mslot_map_create(&bad[i], &map) != -EINVAL)
			fail_msg("row %zu was not refused", i);
		assert_ptr_equal(map, untouched);
	}
}

static void options_at_their_bounds_are_accepted(void **state)
{
	static const struct mslot_map_options good[] = {
	    {.page_shift = 12},
	    {.page_shift = 14},
	    {.page_shift = 16},
	    {.nspaces = 16},
	    {.max_user_slots = 1},
	    {.max_user_slots = 1u << 31},
	    {.max_edits = 1},
	    {.max_edits = INT32_MAX},
	    {.max_slots = 1},
	    {.max_slots = UINT64_MAX},
	    {.max_pages = 1},
	    {.gpa_limit = 4096},
	    {.gpa_limit = ~UINT64_C(4095)},
	    {.hva_limit = 4096},
	    {.hva_limit = ~UINT64_C(4095)},
	    {.retired_limit_bytes = 65536},
	    {.retired_limit_bytes = UINT64_MAX},
	    {.simd = MSLOT_SIMD_AVX512},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct mslot_map *map = make_map(&good[i]);
		struct mslot_map_options opt;

		mslot_map_options_get(map, &opt);
		if (good[i].nspaces)
			assert_int_equal(opt.nspaces, good[i].nspaces);
		if (good[i].page_shift)
			assert_int_equal(opt.page_shift, good[i].page_shift);
		if (good[i].max_edits)
			assert_int_equal(opt.max_edits, good[i].max_edits);
		if (good[i].gpa_limit)
			assert_int_equal(opt.gpa_limit, good[i].gpa_limit);
		assert_int_equal(mslot_check_map(map, NULL), 0);
		assert_int_equal(mslot_map_destroy(map), 0);
	}
}

static void destroy_is_refused_while_somebody_watches(void **state)
{
	struct mslot_listener_ops ops = {0};
	struct mslot_map *map = make_map(NULL);
	struct mslot_region *region = make_region(HVA, REGION_PAGES);
	struct mslot_slot_def def = def_of(3, 16, 4, region, 0);
	const struct mslot_snapshot *snap;
	struct mslot_listener *listener;
	struct mslot_hold *hold;

	(void)state;
	put_slot(map, def);
	assert_int_equal(mslot_listener_add(map, &ops, NULL, 0, &listener), 0);
	hold = hold_now(map, "h");
	assert_int_equal(mslot_map_destroy(map), -EBUSY);
	mslot_hold_put(hold);
	assert_int_equal(mslot_map_destroy(map), -EBUSY);
	hold = hold_now(map, "h");
	assert_int_equal(mslot_listener_remove(listener), 0);
	assert_int_equal(mslot_map_destroy(map), -EBUSY);
	mslot_hold_put(hold);
	snap = mslot_enter(map);
	assert_int_equal(mslot_map_destroy(map), -EDEADLK);
	expect_slots(map, &def, 1);
	mslot_leave(snap);
	assert_int_equal(mslot_map_destroy(map), 0);
	assert_int_equal(mslot_map_destroy(NULL), 0);
	mslot_region_put(region);
}

static void stats_count_what_happens(void **state)
{
	struct mslot_listener_ops ops = {0};
	struct mslot_map *map = make_map(NULL);
	struct mslot_region *region = make_region(HVA, REGION_PAGES);
	struct mslot_listener *listener;
	struct mslot_map_stats empty, now;
	struct mslot_hold *hold;

	(void)state;
	assert_int_equal(mslot_map_stats_get(map, &empty), 0);
	assert_int_equal(empty.generation, 0);
	assert_int_equal(empty.commits, 0);
	assert_int_equal(empty.retired_bytes, 0);
	assert_int_equal(empty.held_bytes, 0);
	assert_int_equal(empty.grace_waits, 0);
	assert_int_equal(empty.holds, 0);
	assert_int_equal(empty.listeners, 0);
	hold = hold_now(map, NULL);
	assert_int_equal(mslot_listener_add(map, &ops, NULL, 0, &listener), 0);
	for (uint32_t id = 0; id < 40; id++)
		put_slot(map, def_of(id, id * 2, 1, region, id));
	assert_int_equal(mslot_map_stats_get(map, &now), 0);
	assert_int_equal(now.generation, 40);
	assert_int_equal(now.commits, 40);
	assert_int_equal(now.holds, 1);
	assert_int_equal(now.listeners, 1);
	assert_true(now.reachable_bytes > empty.reachable_bytes + UINT64_C(40) * 40);
	assert_true(now.reachable_bytes <= now.pool_bytes);
	mslot_hold_put(hold);
	assert_int_equal(mslot_listener_remove(listener), 0);
	for (uint32_t id = 0; id < 40; id++)
		drop_slot(map, id);
	assert_int_equal(mslot_wait(map, 80, -1), 0);
	assert_int_equal(mslot_map_stats_get(map, &now), 0);
	assert_int_equal(now.generation, 80);
	assert_int_equal(now.holds, 0);
	assert_int_equal(now.listeners, 0);
	assert_int_equal(now.retired_bytes, 0);
	assert_int_equal(now.held_bytes, 0);
	assert_int_equal(now.reachable_bytes, empty.reachable_bytes);
	assert_int_equal(mslot_map_destroy(map), 0);
	mslot_region_put(region);
}

static void a_nested_section_may_be_newer_and_the_outer_one_stays(void **state)
{
	struct mslot_map *map = make_map(NULL);
	struct mslot_region *region = make_region(HVA, REGION_PAGES);
	struct mslot_slot_def def = def_of(1, 5, 3, region, 7);
	const struct mslot_snapshot *outer, *inner;
	const struct mslot_slot *slot;

	(void)state;
	put_slot(map, def);
	outer = mslot_enter(map);
	slot = mslot_find(outer, 0, def.gpa);
	drop_slot(map, 1);
	inner = mslot_enter(map);
	assert_int_equal(mslot_snapshot_generation(outer), 1);
	assert_int_equal(mslot_snapshot_generation(inner), 2);
	assert_null(mslot_find(inner, 0, def.gpa));
	mslot_leave(inner);
	expect_info(slot, &def);
	assert_ptr_equal(mslot_find(outer, 0, def.gpa), slot);
	assert_int_equal(mslot_snapshot_nslots(outer, 0), 1);
	assert_int_equal(mslot_snapshot_npages(outer), 3);
	mslot_leave(outer);
	assert_int_equal(mslot_map_destroy(map), 0);
	mslot_region_put(region);
}

static void a_hold_keeps_its_snapshot_whatever_is_committed(void **state)
{
	struct mslot_map *map = make_map(NULL);
	struct mslot_region *region = make_region(HVA, REGION_PAGES);
	struct mslot_hold *first, *second;
	struct mslot_map_stats stats;
	struct mslot_slot_def def;

	(void)state;
	for (uint32_t id = 0; id < 100; id++)
		put_slot(map, def_of(id, id * 2, 1, region, id));
	first = hold_now(map, "first");
	/* Another hold may be taken through the first one, outside any section. */
	assert_int_equal(mslot_hold(mslot_hold_snapshot(first), "second", &second), 0);
	assert_ptr_equal(mslot_hold_snapshot(first), mslot_hold_snapshot(second));
	for (uint32_t id = 0; id < 100; id++)
		drop_slot(map, id);
	mslot_hold_put(first);
	assert_int_equal(mslot_map_stats_get(map, &stats), 0);
	assert_int_equal(stats.holds, 1);
	for (uint32_t id = 0; id < 100; id++) {
		def = def_of(id, id * 2, 1, region, id);
		expect_info(mslot_find_id(mslot_hold_snapshot(second), def.key), &def);
	}
	assert_int_equal(mslot_snapshot_generation(mslot_hold_snapshot(second)), 100);
	assert_int_equal(mslot_snapshot_npages(mslot_hold_snapshot(second)), 100);
	expect_slots(map, NULL, 0);
	mslot_hold_put(second);
	mslot_hold_put(NULL);
	assert_int_equal(mslot_map_destroy(map), 0);
	mslot_region_put(region);
}

static void holders_are_listed_oldest_first_with_cut_tags(void **state)
{
	static const char long_tag[] = "0123456789abcdefghijklmnopqrstuvwxyz";
	struct mslot_map *map = make_map(NULL);
	struct mslot_region *region = make_region(HVA, REGION_PAGES);
	struct mslot_holder holders[4];
	struct mslot_hold *holds[3];

	(void)state;
	assert_int_equal(mslot_holders(map, NULL, 0), 0);
	holds[0] = hold_now(map, long_tag);
	put_slot(map, def_of(1, 1, 1, region, 0));
	holds[1] = hold_now(map, NULL);
	put_slot(map, def_of(2, 2, 1, region, 0));
	holds[2] = hold_now(map, "young");
	assert_int_equal(mslot_holders(map, NULL, 0), 3);
	memset(holders, 0xee, sizeof(holders));
	assert_int_equal(mslot_holders(map, holders, 2), 3);
	assert_int_equal((unsigned char)holders[2].tag[0], 0xee);
	assert_int_equal(mslot_holders(map, holders, 4), 3);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(holders[i].generation, i);
	assert_int_equal(strlen(holders[0].tag), 31);
	assert_memory_equal(holders[0].tag, long_tag, 31);
	assert_string_equal(holders[1].tag, "");
	assert_string_equal(holders[2].tag, "young");
	assert_true(holders[0].age_ns >= holders[2].age_ns);
	assert_int_equal((unsigned char)holders[3].tag[0], 0xee);
	mslot_hold_put(holds[1]);
	assert_int_equal(mslot_holders(map, holders, 4), 2);
	assert_int_equal(holders[1].generation, 2);
	mslot_hold_put(holds[0]);
	mslot_hold_put(holds[2]);
	assert_int_equal(mslot_map_destroy(map), 0);
	mslot_region_put(region);
}

static void *read_once(void *arg)
{
	struct mslot_map *map = arg;
	const struct mslot_snapshot *snap;
	uintptr_t found;

	assert_int_equal(mslot_thread_init(), 0);
	assert_int_equal(mslot_thread_init(), 0);
	snap = mslot_enter(map);
	found = mslot_find(snap, 0, PAGES(4)) != NULL;
	mslot_leave(snap);
	return (void *)found;
}

static void a_thread_that_read_and_ended_delays_nobody(void **state)
{
	struct mslot_map *map = make_map(NULL);
	struct mslot_region *region = make_region(HVA, REGION_PAGES);
	pthread_t thread;
	void *found;

	(void)state;
	put_slot(map, def_of(1, 4, 1, region, 0));
	for (unsigned int i = 0; i < 20; i++) {
		assert_int_equal(pthread_create(&thread, NULL, read_once, map), 0);
		assert_int_equal(pthread_join(thread, &found), 0);
		assert_int_equal((uintptr_t)found, 1);
	}
	drop_slot(map, 1);
	assert_int_equal(mslot_wait(map, 2, -1), 0);
	assert_int_equal(mslot_map_destroy(map), 0);
	mslot_region_put(region);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(zero_options_are_the_documented_defaults),
	    cmocka_unit_test(options_out_of_range_are_refused),
	    cmocka_unit_test(options_at_their_bounds_are_accepted),
	    cmocka_unit_test(destroy_is_refused_while_somebody_watches),
	    cmocka_unit_test(stats_count_what_happens),
	    cmocka_unit_test(a_nested_section_may_be_newer_and_the_outer_one_stays),
	    cmocka_unit_test(a_hold_keeps_its_snapshot_whatever_is_committed),
	    cmocka_unit_test(holders_are_listed_oldest_first_with_cut_tags),
	    cmocka_unit_test(a_thread_that_read_and_ended_delays_nobody),
	};

	return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
