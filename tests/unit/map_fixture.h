/* SPDX-License-Identifier: MIT */
/*
 * map_fixture.h - short words for the unit tests of maps and transactions.
 * Host addresses are made up: a map never looks at the memory itself.
 */
#ifndef MSLOT_TESTS_MAP_FIXTURE_H
#define MSLOT_TESTS_MAP_FIXTURE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <mslot/txn.h>

#define PAGE UINT64_C(4096)
#define PAGES(n) ((uint64_t)(n)*PAGE)
#define HVA UINT64_C(0x100000000)
#define OTHER_HVA UINT64_C(0x900000000)
#define REGION_PAGES UINT64_C(1024)

static inline struct mslot_map *make_map(const struct mslot_map_options *opt)
{
	struct mslot_map *map = NULL;

	assert_int_equal(mslot_map_create(opt, &map), 0);
	assert_non_null(map);
	return map;
}

static inline struct mslot_region *make_region(uint64_t hva, uint64_t npages)
{
	struct mslot_region_options opt = {
	    .hva = (void *)(uintptr_t)hva, .len_bytes = PAGES(npages), .fd = -1};
	struct mslot_region *region = NULL;

	assert_int_equal(mslot_region_create(&opt, &region), 0);
	return region;
}

/* A slot of space 0 without flags; frame, size and offset in pages. */
static inline struct mslot_slot_def def_of(uint32_t id, uint64_t gfn, uint64_t npages,
					   struct mslot_region *region, uint64_t offset)
{
	return (struct mslot_slot_def){
	    .key = {0, id},
	    .gpa = PAGES(gfn),
	    .len_bytes = PAGES(npages),
	    .region = region,
	    .offset_bytes = PAGES(offset),
	};
}

static inline struct mslot_edit edit_of(enum mslot_edit_kind kind, struct mslot_slot_def def)
{
	return (struct mslot_edit){.kind = kind, .def = def};
}

static inline struct mslot_txn *begin(struct mslot_map *map)
{
	struct mslot_txn *txn = NULL;

	assert_int_equal(mslot_txn_begin(map, &txn), 0);
	assert_non_null(txn);
	return txn;
}

/* Commit without options and end the transaction either way. */
static inline int finish(struct mslot_txn *txn, struct mslot_commit_result *result)
{
	int rc = mslot_txn_commit(txn, NULL, result);

	if (rc)
		mslot_txn_abort(txn);
	return rc;
}

static inline int commit_edits(struct mslot_map *map, const struct mslot_edit *edits, size_t n,
			       struct mslot_commit_result *result)
{
	struct mslot_txn *txn = begin(map);

	for (size_t i = 0; i < n; i++)
		assert_int_equal(mslot_txn_add(txn, &edits[i]), (int)i);
	return finish(txn, result);
}

static inline void put_slot(struct mslot_map *map, struct mslot_slot_def def)
{
	struct mslot_txn *txn = begin(map);

	assert_int_equal(mslot_txn_create(txn, &def), 0);
	assert_int_equal(finish(txn, NULL), 0);
}

static inline void drop_slot(struct mslot_map *map, uint32_t id)
{
	struct mslot_txn *txn = begin(map);

	assert_int_equal(mslot_txn_delete(txn, (struct mslot_key){0, id}), 0);
	assert_int_equal(finish(txn, NULL), 0);
}

static inline void expect_info(const struct mslot_slot *slot, const struct mslot_slot_def *def)
{
	struct mslot_region_options region;
	struct mslot_slot_info info;

	assert_non_null(slot);
	memset(&info, 0xff, sizeof(info));
	mslot_slot_info_get(slot, &info);
	mslot_region_options_get(def->region, &region);
	assert_int_equal(info.key.space, def->key.space);
	assert_int_equal(info.key.id, def->key.id);
	assert_int_equal(info.gpa, def->gpa);
	assert_int_equal(info.len_bytes, def->len_bytes);
	assert_ptr_equal(info.region, def->region);
	assert_int_equal(info.offset_bytes, def->offset_bytes);
	assert_int_equal(info.hva, (uintptr_t)region.hva + def->offset_bytes);
	assert_int_equal(info.flags, def->flags);
}

/* The newest snapshot has exactly these slots, and the map is sound. */
static inline void expect_slots(struct mslot_map *map, const struct mslot_slot_def *defs, size_t n)
{
	const struct mslot_snapshot *snap = mslot_enter(map);
	struct mslot_map_options opt;
	uint64_t count = 0, npages = 0;
	const char *why = NULL;

	mslot_map_options_get(map, &opt);
	for (uint32_t space = 0; space < opt.nspaces; space++)
		count += mslot_snapshot_nslots(snap, space);
	for (size_t i = 0; i < n; i++) {
		uint32_t space = defs[i].key.space;

		expect_info(mslot_find_id(snap, defs[i].key), &defs[i]);
		expect_info(mslot_find(snap, space, defs[i].gpa), &defs[i]);
		expect_info(mslot_find(snap, space, defs[i].gpa + defs[i].len_bytes - 1), &defs[i]);
		npages += defs[i].len_bytes >> opt.page_shift;
	}
	assert_int_equal(count, n);
	assert_int_equal(mslot_snapshot_npages(snap), npages);
	mslot_leave(snap);
	if (mslot_check_map(map, &why))
		fail_msg("mslot_check_map: %s", why);
}

static inline uint64_t generation_of(struct mslot_map *map)
{
	const struct mslot_snapshot *snap = mslot_enter(map);
	uint64_t generation = mslot_snapshot_generation(snap);

	mslot_leave(snap);
	return generation;
}

static inline struct mslot_hold *hold_now(struct mslot_map *map, const char *tag)
{
	const struct mslot_snapshot *snap = mslot_enter(map);
	struct mslot_hold *hold = NULL;

	assert_int_equal(mslot_hold(snap, tag, &hold), 0);
	mslot_leave(snap);
	return hold;
}

#endif /* MSLOT_TESTS_MAP_FIXTURE_H */
