/* SPDX-License-Identifier: MIT */
/*
 * mmu_fixture.h - short words for the unit tests of software MMUs: a map, a vCPU inside its
 * section, an MMU of either form, and a root of each kind. Host addresses are made up, and
 * congruent with guest-physical ones modulo 2 MiB where a slot begins at such an offset of a
 * region.
 */
#ifndef MSLOT_TESTS_MMU_FIXTURE_H
#define MSLOT_TESTS_MMU_FIXTURE_H

#include "map_fixture.h"

#include <stdbool.h>
#include <stdio.h>

#include <mslot/mslot.h>

#include "base/alloc.h"
#include "map/defer.h"

#define BIG_HVA UINT64_C(0x4000000000) /* 1 GiB aligned */
#define BIG_PAGES (UINT64_C(4) << 18)  /* 4 GiB */
#define LARGE UINT64_C(512)            /* pages of a 2 MiB leaf */
#define HUGE_LEAF (LARGE * LARGE)      /* pages of a 1 GiB leaf */

struct mmu_fixture {
	uint64_t live; /* allocations, before there was any of this */
	struct mslot_map *map;
	struct mslot_region *region, *other;
	struct mslot_vcpu *vcpu;
	const struct mslot_snapshot *snap;
	struct mslot_mmu *mmu;
	struct mslot_root *direct, *shadow;
};

/* The form of the tests that run now. */
static enum mslot_mmu_form mmu_form;

static inline struct mslot_root *make_root(struct mslot_mmu *mmu, enum mslot_root_kind kind)
{
	struct mslot_root_options opt = {.kind = kind};
	struct mslot_root *root = NULL;

	assert_int_equal(mslot_root_create(mmu, &opt, &root), 0);
	return root;
}

static inline void mmu_enter(struct mmu_fixture *f)
{
	assert_int_equal(mslot_vcpu_enter(f->vcpu, &f->snap), 0);
}

static inline void mmu_leave(struct mmu_fixture *f)
{
	mslot_vcpu_leave(f->vcpu);
}

/* With leaves up to a level (0: all); the vCPU is outside. */
static inline void mmu_setup_with(struct mmu_fixture *f, const struct mslot_map_options *map_opt,
				  uint32_t max_leaf_level)
{
	struct mslot_mmu_options opt = {.form = mmu_form, .max_leaf_level = max_leaf_level};

	*f = (struct mmu_fixture){.live = alloc_live()};
	f->map = make_map(map_opt);
	f->region = make_region(BIG_HVA, BIG_PAGES);
	f->other = make_region(BIG_HVA + PAGES(BIG_PAGES), BIG_PAGES);
	assert_int_equal(mslot_vcpu_create(f->map, NULL, &f->vcpu), 0);
	assert_int_equal(mslot_mmu_create(f->map, &opt, &f->mmu), 0);
	f->direct = make_root(f->mmu, MSLOT_ROOT_DIRECT);
	f->shadow = make_root(f->mmu, MSLOT_ROOT_SHADOW);
}

static inline void mmu_setup(struct mmu_fixture *f, uint32_t max_leaf_level)
{
	mmu_setup_with(f, &(struct mslot_map_options){.nspaces = 2}, max_leaf_level);
}

static inline void mmu_assert_right(struct mmu_fixture *f)
{
	const char *why = "";

	if (mslot_check_mmu(f->mmu, &why))
		fail_msg("%s", why);
}

static inline void mmu_teardown(struct mmu_fixture *f)
{
	mmu_assert_right(f);
	assert_int_equal(mslot_vcpu_root_set(f->vcpu, NULL), 0);
	assert_int_equal(mslot_root_destroy(f->direct), 0);
	assert_int_equal(mslot_root_destroy(f->shadow), 0);
	assert_int_equal(mslot_mmu_destroy(f->mmu), 0);
	assert_int_equal(mslot_vcpu_destroy(f->vcpu), 0);
	mslot_region_put(f->region);
	mslot_region_put(f->other);
	assert_int_equal(mslot_check_map(f->map, NULL), 0);
	assert_int_equal(mslot_map_destroy(f->map), 0);
	assert_int_equal(alloc_live(), f->live);
}

/* A direct root's fault of a page. */
static inline int fault_at(struct mmu_fixture *f, uint64_t page, enum mslot_access access,
			   struct mslot_translation *out)
{
	struct mslot_fault fault = {.addr = PAGES(page), .access = access};

	return mslot_fault(f->vcpu, f->direct, &fault, out);
}

/* A shadow root's: `page` means frame gfn, by a guest leaf of a level. */
static inline int shadow_at(struct mmu_fixture *f, uint64_t page, uint64_t gfn, uint32_t level,
			    enum mslot_access access, struct mslot_translation *out)
{
	struct mslot_fault fault = {
	    .addr = PAGES(page), .walk = {.gpa = PAGES(gfn), .level = level}, .access = access};

	return mslot_fault(f->vcpu, f->shadow, &fault, out);
}

/* What a root has for a page: its host address, or 0. */
static inline uint64_t found_at(struct mmu_fixture *f, struct mslot_root *root, uint64_t page)
{
	const struct mslot_snapshot *snap = mslot_enter(f->map);
	struct mslot_translation t = {.hva = 0};
	int err = mslot_root_lookup(root, PAGES(page), &t);

	mslot_leave(snap);
	assert_true(err == 0 || err == -ENOENT);
	return err ? 0 : t.hva;
}

/* What a root has for a page. Returns the error of mslot_root_lookup(). */
static inline int look_at(struct mmu_fixture *f, struct mslot_root *root, uint64_t page,
			  struct mslot_translation *out)
{
	const struct mslot_snapshot *snap = mslot_enter(f->map);
	int err = mslot_root_lookup(root, PAGES(page), out);

	mslot_leave(snap);
	return err;
}

/* Fault pages of the direct root in; the vCPU is outside. */
static inline void fault_range(struct mmu_fixture *f, uint64_t first, uint64_t n,
			       enum mslot_access access)
{
	uint64_t i;

	mmu_enter(f);
	for (i = first; i < first + n; i++)
		assert_int_equal(fault_at(f, i, access, NULL), 0);
	mmu_leave(f);
}

/* Whether the vCPU was asked to flush, or anything else, since it entered or polled last. */
static inline bool was_asked(struct mmu_fixture *f)
{
	bool asked = mslot_vcpu_pending(f->vcpu) != 0;

	if (asked)
		assert_int_equal(mslot_vcpu_poll(f->vcpu, &f->snap), 0);
	return asked;
}

static inline void set_flags(struct mslot_map *map, uint32_t id, uint32_t flags)
{
	struct mslot_txn *txn = begin(map);

	assert_int_equal(mslot_txn_set_flags(txn, (struct mslot_key){0, id}, flags), 0);
	assert_int_equal(finish(txn, NULL), 0);
}

static inline struct mslot_mmu_stats mmu_stats(struct mmu_fixture *f)
{
	struct mslot_mmu_stats stats;

	mslot_mmu_stats_get(f->mmu, &stats);
	return stats;
}

/* Split slot `id` of space 0 at a frame; the upper part is slot `part`. */
static inline void split_slot(struct mslot_map *map, uint32_t id, uint64_t gfn, uint32_t part)
{
	const struct mslot_part at = {.id = part, .gpa = PAGES(gfn)};
	struct mslot_txn *txn = begin(map);

	assert_int_equal(mslot_txn_split(txn, (struct mslot_key){0, id}, &at, 1), 0);
	assert_int_equal(finish(txn, NULL), 0);
}

static inline void merge_slots(struct mslot_map *map, uint32_t id, uint32_t part)
{
	const struct mslot_part other = {.id = part};
	struct mslot_txn *txn = begin(map);

	assert_int_equal(mslot_txn_merge(txn, (struct mslot_key){0, id}, &other, 1), 0);
	assert_int_equal(finish(txn, NULL), 0);
}

static inline bool mmu_begin_form(enum mslot_mmu_form form)
{
	puts(form == MSLOT_MMU_REVERSE_MAPS ? "reverse maps" : "slot bitmaps");
	mmu_form = form;
	return true;
}

/* Run a group in both forms, one after the other: operands of a sum have no order. */
#define MMU_RUN_BOTH_FORMS(tests)                                                                  \
	(mmu_begin_form(MSLOT_MMU_REVERSE_MAPS) && cmocka_run_group_tests(tests, NULL, NULL)) ||   \
	    (mmu_begin_form(MSLOT_MMU_SLOT_BITMAPS) && cmocka_run_group_tests(tests, NULL, NULL))

/* Before a fork: the reclaimer runs. A thread that is just starting may hold a lock of ASan's. */
static inline void mmu_before_fork(struct mmu_fixture *f)
{
	struct mslot_map_stats stats;

	assert_int_equal(mslot_map_stats_get(f->map, &stats), 0);
	assert_int_equal(mslot_wait(f->map, stats.generation, INT64_C(60000000000)), 0);
}

#endif /* MSLOT_TESTS_MMU_FIXTURE_H */
