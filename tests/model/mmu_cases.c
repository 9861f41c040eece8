/* SPDX-License-Identifier: MIT */
/*
 * mmu_cases.c - short sequences with one root and one vCPU, in both forms: what random steps seldom
 * line up, and what went wrong once.
 */
#include "mmu_twin.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PAGE UINT64_C(4096)
#define UNIT UINT64_C(512)
#define HOST_GFN (UNIT * UNIT * 4) /* congruent with everything */
#define REGION_PAGES (UNIT * UNIT * 2)
#define BASE_GFN (UNIT * UNIT)

struct fixture {
	struct mslot_map *map;
	struct mslot_mmu *mmu;
	struct mslot_region *region;
	struct mslot_root *root, *shadow;
	struct mslot_vcpu *vcpu;
};

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			return twin_fail("line %d: %s\n", __LINE__, #cond);                        \
	} while (0)

/* ---- What cases do ------------------------------------------------------------- */

/* Slots are named by their ids; each shows the region from `page` of it on. */
static bool commit(struct fixture *f, struct mslot_edit *edit)
{
	struct mslot_txn *txn;
	int err;

	if (mslot_txn_begin(f->map, &txn))
		abort();
	if (mslot_txn_add(txn, edit) < 0)
		abort();
	err = mslot_txn_commit(txn, NULL, NULL);
	return !err || twin_fail("commit: %d\n", err);
}

static bool create(struct fixture *f, uint32_t id, uint64_t gfn, uint64_t npages)
{
	return commit(f, &(struct mslot_edit){
			     .kind = MSLOT_EDIT_CREATE,
			     .def = {.key = {0, id},
				     .gpa = gfn * PAGE,
				     .len_bytes = npages * PAGE,
				     .region = f->region,
				     .offset_bytes = (gfn - BASE_GFN) * PAGE},
			 });
}

/* To a definition of which the kind looks at some fields. */
static bool edit(struct fixture *f, enum mslot_edit_kind kind, uint32_t id,
		 struct mslot_slot_def def)
{
	def.key.id = id;
	return commit(f, &(struct mslot_edit){.kind = kind, .def = def});
}

/* Returns the level, or the error. */
static int fault_at(struct fixture *f, uint64_t addr, uint64_t gfn, enum mslot_access access)
{
	const struct mslot_fault fault = {
	    .addr = addr, .walk = {gfn * PAGE, NMMU_LEVELS, 0}, .access = access};
	const struct mslot_snapshot *snap;
	struct mslot_translation out = {0};
	int err;

	if (mslot_vcpu_enter(f->vcpu, &snap))
		abort();
	err = mslot_fault(f->vcpu, f->root, &fault, &out);
	mslot_vcpu_leave(f->vcpu);
	return err ? err : (int)out.level;
}

static int fault(struct fixture *f, uint64_t gfn, enum mslot_access access)
{
	return fault_at(f, gfn * PAGE, gfn, access);
}

/* The level of what a root has, 16 more where it is writable, or the error. */
static int found(struct fixture *f, uint64_t gfn)
{
	const struct mslot_snapshot *snap = mslot_enter(f->map);
	struct mslot_translation out = {0};
	const int err = mslot_root_lookup(f->root, gfn * PAGE, &out);

	mslot_leave(snap);
	return err ? err : (int)out.level + (out.writable ? 16 : 0);
}

static struct mslot_mmu_stats stats(struct fixture *f)
{
	struct mslot_mmu_stats now;

	mslot_mmu_stats_get(f->mmu, &now);
	return now;
}

static bool is_right(struct fixture *f)
{
	const char *why = "";

	return !mslot_check_mmu(f->mmu, &why) || twin_fail("mslot_check_mmu: %s\n", why);
}

/* ---- Cases ----------------------------------------------------------------------- */

/* A slot moves between alignments: no large leaf is left of the old one, nor made of the new one.
 */
static bool moved_between_alignments(struct fixture *f)
{
	static const struct {
		uint64_t by;
		int level;
	} at[] = {{0, 2}, {1, 1}, {0, 2}, {UNIT, 2}, {UNIT + 1, 1}, {2 * UNIT, 2}, {0, 2}};

	CHECK(create(f, 1, BASE_GFN, 4 * UNIT));
	for (size_t i = 0; i < sizeof(at) / sizeof(*at); i++) {
		const uint64_t gfn = BASE_GFN + at[i].by;

		CHECK(edit(f, MSLOT_EDIT_MOVE, 1, (struct mslot_slot_def){.gpa = gfn * PAGE}));
		CHECK(i == 0 || at[i].by >= at[i - 1].by ||
		      found(f, BASE_GFN + at[i - 1].by + 4 * UNIT - 1) == -ENOENT);
		CHECK(fault(f, gfn + UNIT + 7, MSLOT_READ) == at[i].level);
		CHECK(fault(f, gfn + 3 * UNIT, MSLOT_WRITE) == at[i].level);
		CHECK(is_right(f));
	}
	return true;
}

/* Slots 60 to 70 are added while tables map the others: each is found by its own number alone. */
static bool bitmap_grows_across_64(struct fixture *f)
{
	for (uint32_t id = 0; id < 70; id++) {
		CHECK(create(f, id, BASE_GFN + 2 * id, 1));
		CHECK(fault(f, BASE_GFN + 2 * id, MSLOT_WRITE) == 1);
	}
	for (uint32_t id = 0; id < 70; id++) {
		CHECK(mslot_write_protect(f->mmu, (struct mslot_key){0, id}, NULL) == 1);
		CHECK(found(f, BASE_GFN + 2 * id) == 1);
		CHECK(id == 69 || found(f, BASE_GFN + 2 * id + 2) == 17);
	}
	for (uint32_t id = 69; id > 55; id--) {
		CHECK(edit(f, MSLOT_EDIT_DELETE, id, (struct mslot_slot_def){0}));
		CHECK(found(f, BASE_GFN + 2 * id) == -ENOENT);
		CHECK(found(f, BASE_GFN + 2 * id - 2) == 1);
	}
	return is_right(f);
}

/* Another id for the same memory costs nothing, and protection by it finds the leaves. */
static bool renumbered_slot_keeps_leaves(struct fixture *f)
{
	const struct mslot_edit redo[2] = {
	    {.kind = MSLOT_EDIT_DELETE, .def.key.id = 1},
	    {.kind = MSLOT_EDIT_CREATE,
	     .def = {.key = {0, 2},
		     .gpa = BASE_GFN * PAGE,
		     .len_bytes = 2 * UNIT * PAGE,
		     .region = f->region}},
	};
	struct mslot_txn *txn;
	uint64_t flushes;

	CHECK(create(f, 1, BASE_GFN, 2 * UNIT));
	CHECK(fault(f, BASE_GFN + 5, MSLOT_WRITE) == 2);
	flushes = stats(f).flushes;
	CHECK(!mslot_txn_begin(f->map, &txn));
	CHECK(mslot_txn_add(txn, &redo[0]) == 0 && mslot_txn_add(txn, &redo[1]) == 1);
	CHECK(!mslot_txn_commit(txn, NULL, NULL));
	CHECK(found(f, BASE_GFN + 5) == 18 && stats(f).flushes == flushes);
	CHECK(mslot_write_protect(f->mmu, (struct mslot_key){0, 2}, NULL) == 1);
	CHECK(found(f, BASE_GFN + 5) == 2);
	CHECK(edit(f, MSLOT_EDIT_DELETE, 2, (struct mslot_slot_def){0}));
	CHECK(found(f, BASE_GFN + 5) == -ENOENT);
	return true;
}

/* The last page of a leaf of 1 GiB goes: the others stay, in leaves as large as they can be. */
static bool huge_leaf_loses_a_page(struct fixture *f)
{
	const uint64_t n = UNIT * UNIT;
	const struct mslot_slot_def shorter = {.gpa = BASE_GFN * PAGE, .len_bytes = (n - 1) * PAGE};
	const struct mslot_slot_def whole = {.gpa = BASE_GFN * PAGE, .len_bytes = n * PAGE};

	CHECK(create(f, 1, BASE_GFN, n));
	CHECK(fault(f, BASE_GFN + 12345, MSLOT_WRITE) == 3);
	CHECK(edit(f, MSLOT_EDIT_RESIZE, 1, shorter));
	for (uint64_t i = 0; i < UNIT - 1; i++)
		CHECK(found(f, BASE_GFN + i * UNIT) == 18 &&
		      found(f, BASE_GFN + n - UNIT + i) == 17);
	CHECK(found(f, BASE_GFN + n - 1) == -ENOENT);
	CHECK(stats(f).splits == 2 && is_right(f));
	CHECK(edit(f, MSLOT_EDIT_RESIZE, 1, whole));
	CHECK(found(f, BASE_GFN + n - 1) == -ENOENT && found(f, BASE_GFN + n - 2) == 17);
	/* One table at a time, from the finest on. */
	CHECK(fault(f, BASE_GFN + n - 1, MSLOT_READ) == 2 && stats(f).collapses == 1);
	CHECK(fault(f, BASE_GFN + n - 2, MSLOT_READ) == 3 && stats(f).collapses == 2);
	return is_right(f);
}

/* Logging takes the permission of a large leaf and nothing else; while it lasts none is made. */
static bool logging_changes_no_shape(struct fixture *f)
{
	const struct mslot_slot_def on = {.flags = MSLOT_LOG_DIRTY}, off = {0};

	CHECK(create(f, 1, BASE_GFN, 3 * UNIT));
	CHECK(fault(f, BASE_GFN, MSLOT_WRITE) == 2);
	CHECK(edit(f, MSLOT_EDIT_SET_FLAGS, 1, on));
	CHECK(found(f, BASE_GFN + 1) == 2);
	CHECK(fault(f, BASE_GFN + 1, MSLOT_WRITE) == 2 && found(f, BASE_GFN + 1) == 2);
	CHECK(fault(f, BASE_GFN + UNIT, MSLOT_WRITE) == 1 && found(f, BASE_GFN + UNIT) == 1);
	CHECK(fault(f, BASE_GFN + UNIT + 1, MSLOT_READ) == 1);
	CHECK(edit(f, MSLOT_EDIT_SET_FLAGS, 1, off));
	CHECK(found(f, BASE_GFN + 1) == 2 && found(f, BASE_GFN + UNIT) == 1);
	CHECK(fault(f, BASE_GFN + 1, MSLOT_WRITE) == 2 && found(f, BASE_GFN + 1) == 18);
	CHECK(stats(f).collapses == 0);
	CHECK(fault(f, BASE_GFN + UNIT + 2, MSLOT_READ) == 2 && stats(f).collapses == 1);
	return is_right(f);
}

static bool readonly_is_taken_from_leaves(struct fixture *f)
{
	const struct mslot_slot_def on = {.flags = MSLOT_READONLY}, off = {0};

	CHECK(create(f, 1, BASE_GFN, 2 * UNIT + 1));
	CHECK(fault(f, BASE_GFN, MSLOT_WRITE) == 2 && found(f, BASE_GFN) == 18);
	CHECK(fault(f, BASE_GFN + 2 * UNIT, MSLOT_WRITE) == 1);
	CHECK(edit(f, MSLOT_EDIT_SET_FLAGS, 1, on));
	CHECK((found(f, BASE_GFN) & 16) == 0 && (found(f, BASE_GFN + 2 * UNIT) & 16) == 0);
	CHECK(fault(f, BASE_GFN, MSLOT_WRITE) == -EACCES && fault(f, BASE_GFN, MSLOT_READ) == 2);
	CHECK((found(f, BASE_GFN) & 16) == 0);
	CHECK(edit(f, MSLOT_EDIT_SET_FLAGS, 1, off));
	CHECK(fault(f, BASE_GFN, MSLOT_WRITE) == 2 && found(f, BASE_GFN) == 18);
	return true;
}

/* A read-only slot is split, and one part may be written to: the leaf of both may not. */
static bool loosened_part_of_a_leaf(struct fixture *f)
{
	const struct mslot_slot_def readonly = {.flags = MSLOT_READONLY}, off = {0};
	struct mslot_part part = {.id = 2, .gpa = (BASE_GFN + 100) * PAGE};

	CHECK(create(f, 1, BASE_GFN, UNIT));
	CHECK(edit(f, MSLOT_EDIT_SET_FLAGS, 1, readonly));
	CHECK(fault(f, BASE_GFN, MSLOT_READ) == 2);
	CHECK(
	    commit(f, &(struct mslot_edit){
			  .kind = MSLOT_EDIT_SPLIT, .def.key.id = 1, .parts = &part, .nparts = 1}));
	CHECK(edit(f, MSLOT_EDIT_SET_FLAGS, 2, off) && found(f, BASE_GFN) == 2);
	CHECK(fault(f, BASE_GFN + 100, MSLOT_WRITE) == 2 && found(f, BASE_GFN + 100) == 2);
	CHECK(fault(f, BASE_GFN + 99, MSLOT_WRITE) == -EACCES);
	return is_right(f);
}

/* A slot is split under a writable leaf, and one part becomes read-only: the other keeps all. */
static bool tightened_part_of_a_leaf(struct fixture *f)
{
	const struct mslot_slot_def readonly = {.flags = MSLOT_READONLY};
	struct mslot_part part = {.id = 2, .gpa = (BASE_GFN + 100) * PAGE};

	CHECK(create(f, 1, BASE_GFN, UNIT));
	CHECK(fault(f, BASE_GFN, MSLOT_WRITE) == 2);
	CHECK(
	    commit(f, &(struct mslot_edit){
			  .kind = MSLOT_EDIT_SPLIT, .def.key.id = 1, .parts = &part, .nparts = 1}));
	CHECK(found(f, BASE_GFN) == 18 && stats(f).flushes == 0);
	CHECK(edit(f, MSLOT_EDIT_SET_FLAGS, 2, readonly));
	for (uint64_t i = 0; i < UNIT; i++)
		CHECK(found(f, BASE_GFN + i) == (i < 100 ? 17 : 1));
	return is_right(f);
}

/* The same host page by way of another frame: from then on the leaf goes with that one. */
static bool alias_behind_a_shadow_page(struct fixture *f)
{
	const uint64_t gfn[2] = {BASE_GFN + 3, BASE_GFN + 5 * UNIT + 3};
	struct mslot_slot_def alias = {.key.id = 2,
				       .gpa = gfn[1] * PAGE,
				       .len_bytes = PAGE,
				       .region = f->region,
				       .offset_bytes = 3 * PAGE};
	struct mslot_root *direct = f->root;
	bool good;

	CHECK(create(f, 1, gfn[0], 1) && edit(f, MSLOT_EDIT_CREATE, 2, alias));
	f->root = f->shadow;
	good = fault_at(f, 77 * PAGE, gfn[0], MSLOT_READ) == 1 &&
	       fault_at(f, 77 * PAGE, gfn[1], MSLOT_READ) == 1 &&
	       edit(f, MSLOT_EDIT_DELETE, 1, alias) && found(f, 77) > 0 &&
	       edit(f, MSLOT_EDIT_DELETE, 2, alias) && found(f, 77) == -ENOENT;
	f->root = direct;
	CHECK(good);
	return is_right(f);
}

/* Bits of the second and third word of a mask, and a mask of nothing. */
static bool protection_by_words_of_a_mask(struct fixture *f)
{
	uint64_t mask[3] = {0};

	CHECK(create(f, 1, BASE_GFN + 1, 130));
	for (uint64_t i = 0; i < 130; i++)
		CHECK(fault(f, BASE_GFN + 1 + i, MSLOT_WRITE) == 1);
	CHECK(mslot_write_protect(f->mmu, (struct mslot_key){0, 1}, mask) == 0);
	mask[1] = 2;
	mask[2] = 1;
	CHECK(mslot_write_protect(f->mmu, (struct mslot_key){0, 1}, mask) == 2);
	for (uint64_t i = 0; i < 130; i++)
		CHECK(found(f, BASE_GFN + 1 + i) == (i == 65 || i == 128 ? 1 : 17));
	return true;
}

static bool age_forgets_what_it_reports(struct fixture *f)
{
	uint64_t bits[2] = {0};
	const struct mslot_age both = {.hva = {HOST_GFN * PAGE, 100 * PAGE},
				       .what = MSLOT_AGE_ACCESSED | MSLOT_AGE_DIRTY,
				       .bitmap = bits};
	struct mslot_age dirty = both;

	dirty.what = MSLOT_AGE_DIRTY;
	dirty.bitmap = NULL;
	CHECK(create(f, 1, BASE_GFN, 200));
	CHECK(fault(f, BASE_GFN + 3, MSLOT_READ) == 1 &&
	      fault(f, BASE_GFN + 70, MSLOT_WRITE) == 1 &&
	      fault(f, BASE_GFN + 100, MSLOT_WRITE) == 1);
	CHECK(mslot_test_age(f->mmu, &dirty) == 1 && mslot_test_age(f->mmu, &both) == 2);
	CHECK(bits[0] == 8 && bits[1] == 64);
	CHECK(mslot_age(f->mmu, &dirty) == 1 && mslot_test_age(f->mmu, &dirty) == 0);
	CHECK(mslot_age(f->mmu, &both) == 2 && mslot_age(f->mmu, &both) == 0);
	CHECK(fault(f, BASE_GFN + 70, MSLOT_WRITE) == 1 && mslot_test_age(f->mmu, &dirty) == 1);
	return true;
}

/* ---- All of them -------------------------------------------------------------------- */

static const struct {
	const char *name;
	bool (*run)(struct fixture *f);
} cases[] = {
#define CASE(name)                                                                                 \
	{                                                                                          \
#name, name                                                                        \
	}
    CASE(moved_between_alignments),     CASE(bitmap_grows_across_64),
    CASE(renumbered_slot_keeps_leaves), CASE(huge_leaf_loses_a_page),
    CASE(logging_changes_no_shape),     CASE(readonly_is_taken_from_leaves),
    CASE(loosened_part_of_a_leaf),      CASE(tightened_part_of_a_leaf),
    CASE(alias_behind_a_shadow_page),   CASE(protection_by_words_of_a_mask),
    CASE(age_forgets_what_it_reports),
#undef CASE
};

static bool run_case(size_t i, enum mslot_mmu_form form)
{
	const struct mslot_mmu_options opt = {.form = form};
	const struct mslot_root_options root = {.kind = MSLOT_ROOT_DIRECT};
	const struct mslot_root_options shadow = {.kind = MSLOT_ROOT_SHADOW};
	const struct mslot_region_options region = {.hva = (void *)(uintptr_t)(HOST_GFN * PAGE),
						    .len_bytes = REGION_PAGES * PAGE,
						    .fd = -1};
	struct fixture f;
	bool good;

	if (mslot_map_create(NULL, &f.map) || mslot_mmu_create(f.map, &opt, &f.mmu) ||
	    mslot_region_create(&region, &f.region) || mslot_vcpu_create(f.map, NULL, &f.vcpu) ||
	    mslot_root_create(f.mmu, &root, &f.root) ||
	    mslot_root_create(f.mmu, &shadow, &f.shadow))
		abort();
	good = cases[i].run(&f);
	if (!good)
		printf("case %s, %s\n", cases[i].name,
		       form == MSLOT_MMU_SLOT_BITMAPS ? "slot bitmaps" : "reverse maps");
	if (mslot_vcpu_destroy(f.vcpu) || mslot_root_destroy(f.root) ||
	    mslot_root_destroy(f.shadow) || mslot_mmu_destroy(f.mmu))
		abort();
	mslot_region_put(f.region);
	if (mslot_map_destroy(f.map))
		abort();
	return good;
}

bool mmu_cases(void)
{
	bool good = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		good &= run_case(i, MSLOT_MMU_REVERSE_MAPS);
		good &= run_case(i, MSLOT_MMU_SLOT_BITMAPS);
	}
	return good;
}
