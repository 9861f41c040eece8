/* SPDX-License-Identifier: MIT */
/*
 * dirty_fixture.h - short words for the tests of dirty pages. Frames and pages are numbers of
 * pages of 4096 bytes; marks are made without touching the memory.
 */
#ifndef MSLOT_TESTS_DIRTY_FIXTURE_H
#define MSLOT_TESTS_DIRTY_FIXTURE_H

#include "map_fixture.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <mslot/access.h>
#include <mslot/dirty.h>

#include "base/bitmap.h"

#define LOG MSLOT_LOG_DIRTY
#define BIG_PAGES UINT64_C(0x20000)

struct pages {
	uint64_t gfn, n;
};

static inline void mark(struct mslot_map *map, uint64_t gfn, uint64_t n)
{
	const struct mslot_snapshot *snap = mslot_enter(map);

	mslot_mark_dirty(snap, (struct mslot_addr){0, PAGES(gfn)}, PAGES(n));
	mslot_leave(snap);
}

static inline struct mslot_dirty *consumer_of(struct mslot_map *map,
					      const struct mslot_dirty_options *opt)
{
	struct mslot_dirty *dirty = NULL;

	assert_int_equal(mslot_dirty_create(map, opt, &dirty), 0);
	assert_non_null(dirty);
	return dirty;
}

/* A consumer of all. */
static inline struct mslot_dirty *consumer(struct mslot_map *map)
{
	return consumer_of(map, NULL);
}

static inline struct mslot_dirty_batch *harvest(struct mslot_dirty *dirty)
{
	struct mslot_dirty_batch *batch = NULL;

	assert_int_equal(mslot_dirty_get(dirty, &batch), 0);
	assert_non_null(batch);
	return batch;
}

/* The batch has these runs, which are of different slots or do not touch. */
static inline void expect_runs(struct mslot_dirty_batch *batch, const struct pages *want, size_t n)
{
	const struct mslot_snapshot *snap = mslot_dirty_snapshot(batch);
	struct mslot_dirty_run run;
	struct mslot_slot_info info;
	uint64_t npages = 0;

	mslot_dirty_rewind(batch);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(mslot_dirty_next(batch, &run), 1);
		assert_int_equal(run.gpa, PAGES(want[i].gfn));
		assert_int_equal(run.len_bytes, PAGES(want[i].n));
		mslot_slot_info_get(mslot_find(snap, run.key.space, run.gpa), &info);
		assert_memory_equal(&run.key, &info.key, sizeof(info.key));
		assert_ptr_equal(run.region, info.region);
		assert_int_equal(run.hva, info.hva + (run.gpa - info.gpa));
		assert_int_equal(run.offset_bytes, info.offset_bytes + (run.gpa - info.gpa));
		npages += want[i].n;
	}
	assert_int_equal(mslot_dirty_next(batch, &run), 0);
	assert_int_equal(mslot_dirty_next(batch, &run), 0);
	assert_int_equal(mslot_dirty_pages(batch), npages);
}

#define RUNS(...)                                                                                  \
	(const struct pages[]){__VA_ARGS__},                                                       \
	    sizeof((const struct pages[]){__VA_ARGS__}) / sizeof(struct pages)

/* Harvest, compare, acknowledge. */
static inline void expect_dirty(struct mslot_dirty *dirty, const struct pages *want, size_t n)
{
	struct mslot_dirty_batch *batch = harvest(dirty);

	expect_runs(batch, want, n);
	mslot_dirty_ack(batch);
}

static inline void expect_clean(struct mslot_dirty *dirty)
{
	expect_dirty(dirty, NULL, 0);
}

static inline void assert_sound(struct mslot_map *map)
{
	const char *why = "";

	if (mslot_check_map(map, &why))
		fail_msg("mslot_check_map: %s", why);
}

static inline void end_map(struct mslot_map *map)
{
	assert_sound(map);
	assert_int_equal(mslot_map_destroy(map), 0);
}

#endif /* MSLOT_TESTS_DIRTY_FIXTURE_H */
