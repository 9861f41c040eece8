/* SPDX-License-Identifier: MIT */
/*
 * test_mmu_age.c - what leaves note about their use, and pages protected against writes.
 */
#include "mmu_fixture.h"

#define BOTH (MSLOT_AGE_ACCESSED | MSLOT_AGE_DIRTY)

static const struct mslot_key slot1 = {0, 1};

static struct mslot_age age_of(uint64_t first, uint64_t n, uint32_t what, uint64_t *bitmap)
{
	return (struct mslot_age){{BIG_HVA + PAGES(first), PAGES(n)}, what, bitmap};
}

static int64_t age(struct mmu_fixture *f, uint64_t first, uint64_t n, uint32_t what,
		   uint64_t *bitmap)
{
	const struct mslot_age a = age_of(first, n, what, bitmap);

	return mslot_age(f->mmu, &a);
}

static int64_t test_age(struct mmu_fixture *f, uint64_t first, uint64_t n, uint32_t what,
			uint64_t *bitmap)
{
	const struct mslot_age a = age_of(first, n, what, bitmap);

	return mslot_test_age(f->mmu, &a);
}

/* ---- Age ------------------------------------------------------------------------ */

static void what_age_refuses(void **state)
{
	struct mslot_age a = {.what = MSLOT_AGE_DIRTY};
	struct mmu_fixture f;
	uint64_t word = 0;
	size_t i;
	static const struct mslot_range wrong[] = {
	    {BIG_HVA, 0},
	    {BIG_HVA + 1, PAGE},
	    {BIG_HVA, 4095},
	    {0 - PAGE, PAGES(2)},
	};

	(void)state;
	mmu_setup(&f, 1);
	for (i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		a.hva = wrong[i];
		assert_int_equal(mslot_age(f.mmu, &a), -EINVAL);
		assert_int_equal(mslot_test_age(f.mmu, &a), -EINVAL);
	}
	assert_int_equal(age(&f, 0, 8, 0, &word), -EINVAL);
	assert_int_equal(age(&f, 0, 8, 4, &word), -EINVAL);
	assert_int_equal(test_age(&f, 0, 8, BOTH | 8, &word), -EINVAL);
	assert_int_equal(age(&f, 0, 8, BOTH, NULL), 0);
	mmu_teardown(&f);
}

static void leaves_are_told_apart_by_their_use(void **state)
{
	uint64_t flushes, bitmap[2] = {0};
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 1);
	put_slot(f.map, def_of(1, 0, 128, f.region, 0));
	assert_int_equal(mslot_vcpu_root_set(f.vcpu, f.direct), 0);
	fault_range(&f, 10, 3, MSLOT_READ);
	fault_range(&f, 12, 1, MSLOT_WRITE);
	fault_range(&f, 63, 2, MSLOT_WRITE);
	flushes = mmu_stats(&f).flushes;
	assert_int_equal(test_age(&f, 0, 128, BOTH, NULL), 5);
	assert_int_equal(test_age(&f, 0, 128, MSLOT_AGE_DIRTY, bitmap), 3);
	assert_int_equal(bitmap[0], UINT64_C(1) << 12 | UINT64_C(1) << 63);
	assert_int_equal(bitmap[1], 1);
	/* The first page of the range is bit 0; others' bits stay. */
	bitmap[0] = 2;
	assert_int_equal(test_age(&f, 12, 52, MSLOT_AGE_ACCESSED, bitmap), 2);
	assert_int_equal(bitmap[0], 3 | UINT64_C(1) << 51);
	assert_int_equal(mmu_stats(&f).flushes, flushes);

	mmu_enter(&f);
	assert_int_equal(age(&f, 11, 53, MSLOT_AGE_DIRTY, NULL), 2);
	assert_true(was_asked(&f));
	/* Also where nothing was found: a page may be cached without a leaf. */
	assert_int_equal(mslot_vcpu_poll(f.vcpu, &f.snap), 0);
	assert_false(was_asked(&f));
	assert_int_equal(age(&f, 11, 53, MSLOT_AGE_DIRTY, NULL), 0);
	assert_true(was_asked(&f));
	assert_int_equal(age(&f, 0, 128, BOTH, NULL), 5);
	assert_int_equal(age(&f, 0, 128, BOTH, NULL), 0);
	assert_true(was_asked(&f));
	/* A write to a leaf that is writable still is noted once more. */
	assert_null(mslot_vcpu_hit(f.vcpu, PAGES(12), 1, MSLOT_READ));
	assert_int_equal(fault_at(&f, 12, MSLOT_READ, NULL), 0);
	assert_null(mslot_vcpu_hit(f.vcpu, PAGES(12), 1, MSLOT_WRITE));
	assert_int_equal(test_age(&f, 12, 1, MSLOT_AGE_DIRTY, NULL), 0);
	assert_int_equal(test_age(&f, 12, 1, MSLOT_AGE_ACCESSED, NULL), 1);
	assert_int_equal(fault_at(&f, 12, MSLOT_WRITE, NULL), 0);
	assert_int_equal(test_age(&f, 12, 1, MSLOT_AGE_DIRTY, NULL), 1);
	mmu_leave(&f);
	assert_int_equal(mmu_stats(&f).zapped, 0);
	mmu_teardown(&f);
}

static void of_large_leaves_all_pages_count(void **state)
{
	uint64_t bitmap[17] = {0};
	struct mmu_fixture f;
	unsigned int i;

	(void)state;
	mmu_setup(&f, 2);
	put_slot(f.map, def_of(1, 0, 2 * LARGE, f.region, 0));
	fault_range(&f, LARGE + 5, 1, MSLOT_READ);
	assert_int_equal(test_age(&f, 0, LARGE, BOTH, bitmap), 0);
	assert_int_equal(test_age(&f, LARGE - 64, 65, BOTH, bitmap), 1);
	assert_int_equal(bitmap[0], 0);
	assert_int_equal(bitmap[1], 1);
	bitmap[1] = 0;
	assert_int_equal(test_age(&f, LARGE - 64, LARGE + 64 + 32, BOTH, bitmap), 1);
	for (i = 0; i < 17; i++)
		assert_int_equal(bitmap[i], i >= 1 && i <= 8 ? UINT64_MAX : 0);
	mmu_teardown(&f);
}

/* A leaf that shows two slots since one was split is one leaf. */
static void a_leaf_of_two_slots_is_one(void **state)
{
	uint64_t bitmap[LARGE / 64] = {0};
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 2);
	put_slot(f.map, def_of(1, 0, LARGE, f.region, 0));
	fault_range(&f, 5, 1, MSLOT_WRITE);
	split_slot(f.map, 1, 100, 2);
	split_slot(f.map, 2, 200, 3);
	assert_int_equal(test_age(&f, 0, LARGE, BOTH, bitmap), 1);
	assert_int_equal(bitmap[0] & bitmap[1] & bitmap[3] & bitmap[7], UINT64_MAX);
	assert_int_equal(test_age(&f, 150, 100, BOTH, NULL), 1);
	assert_int_equal(test_age(&f, 300, 1, BOTH, NULL), 1);
	assert_int_equal(age(&f, 300, 1, MSLOT_AGE_DIRTY, NULL), 1);
	assert_int_equal(age(&f, 0, LARGE, BOTH, NULL), 1);
	assert_int_equal(test_age(&f, 0, LARGE, BOTH, NULL), 0);
	mmu_teardown(&f);
}

/* ---- Write protection ------------------------------------------------------------- */

static bool is_writable(struct mmu_fixture *f, uint64_t page)
{
	struct mslot_translation t;

	assert_int_equal(look_at(f, f->direct, page, &t), 0);
	return t.writable != 0;
}

static void masks_choose_pages(void **state)
{
	static const uint64_t sizes[] = {1, 63, 64, 65, 128, 129};
	uint64_t mask[3], n, i;
	struct mmu_fixture f;
	size_t k;

	(void)state;
	for (k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
		n = sizes[k];
		mmu_setup(&f, 1);
		put_slot(f.map, def_of(1, 3, n, f.region, 3));
		put_slot(f.map, def_of(2, 3 + n, 4, f.region, 3 + n));
		fault_range(&f, 3, n + 4, MSLOT_WRITE);
		memset(mask, 0, sizeof(mask));
		mask[(n - 1) / 64] = UINT64_MAX << (n - 1) % 64; /* and beyond the slot */
		mask[0] |= 1;
		mmu_enter(&f);
		assert_int_equal(mslot_write_protect(f.mmu, slot1, mask), n > 1 ? 2 : 1);
		assert_true(was_asked(&f));
		mmu_leave(&f);
		for (i = 0; i < n + 4; i++)
			assert_int_equal(is_writable(&f, 3 + i), i != 0 && i != n - 1);
		/* Those that are protected are none that were writable. */
		assert_int_equal(mslot_write_protect(f.mmu, slot1, NULL), n > 2 ? n - 2 : 0);
		assert_true(is_writable(&f, 3 + n));
		/* The first write is seen, and the next is not. */
		fault_range(&f, 3, 1, MSLOT_READ);
		assert_false(is_writable(&f, 3));
		fault_range(&f, 3, 1, MSLOT_WRITE);
		assert_true(is_writable(&f, 3));
		mmu_teardown(&f);
	}
}

static void what_protection_refuses(void **state)
{
	struct mmu_fixture f;
	uint64_t flushes;

	(void)state;
	mmu_setup(&f, 1);
	put_slot(f.map, def_of(1, 0, 4, f.region, 0));
	flushes = mmu_stats(&f).flushes;
	assert_int_equal(mslot_write_protect(f.mmu, (struct mslot_key){0, 2}, NULL), -ENOENT);
	assert_int_equal(mslot_write_protect(f.mmu, (struct mslot_key){1, 1}, NULL), -ENOENT);
	assert_int_equal(mslot_write_protect(f.mmu, (struct mslot_key){2, 1}, NULL), -ENOENT);
	assert_int_equal(mmu_stats(&f).flushes, flushes);
	assert_int_equal(mslot_write_protect(f.mmu, slot1, NULL), 0);
	mmu_teardown(&f);
}

/* A large leaf never gets the permission back: each page is written by its own leave. */
static void large_leaves_stay_protected(void **state)
{
	uint64_t mask[LARGE / 32] = {0};
	struct mslot_translation t;
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 2);
	put_slot(f.map, def_of(1, 0, 2 * LARGE, f.region, 0));
	fault_range(&f, 5, 1, MSLOT_WRITE);
	fault_range(&f, LARGE, 1, MSLOT_WRITE);
	mask[1] = 1;
	assert_int_equal(mslot_write_protect(f.mmu, slot1, mask), 1);
	assert_true(is_writable(&f, LARGE));
	assert_int_equal(mslot_vcpu_root_set(f.vcpu, f.direct), 0);
	mmu_enter(&f);
	assert_int_equal(fault_at(&f, 7, MSLOT_WRITE, &t), 0);
	assert_int_equal(t.level, 2);
	assert_int_equal(t.len_bytes, PAGE);
	assert_int_equal(t.writable, 1);
	assert_int_equal(fault_at(&f, 8, MSLOT_READ, &t), 0);
	assert_int_equal(t.writable, 0);
	assert_int_equal(t.len_bytes, PAGES(LARGE - 8));
	assert_non_null(mslot_vcpu_hit(f.vcpu, PAGES(7), 1, MSLOT_WRITE));
	assert_null(mslot_vcpu_hit(f.vcpu, PAGES(8), 1, MSLOT_WRITE));
	mmu_leave(&f);
	assert_false(is_writable(&f, 7));
	/* The pages of one that is split are each other's no more. */
	split_slot(f.map, 1, 64, 2);
	drop_slot(f.map, 2);
	assert_false(is_writable(&f, 5));
	fault_range(&f, 5, 1, MSLOT_WRITE);
	assert_true(is_writable(&f, 5));
	assert_false(is_writable(&f, 6));
	mmu_teardown(&f);
}

/* A large leaf takes over the protection of the small ones whose place it takes, if any. */
static void collapses_keep_protection(void **state)
{
	struct mmu_fixture f;
	uint64_t bit = 4;
	int protects;

	(void)state;
	for (protects = 0; protects < 2; protects++) {
		mmu_setup(&f, 2);
		put_slot(f.map, def_of(1, 0, LARGE - 1, f.region, 0));
		fault_range(&f, 0, 4, MSLOT_WRITE);
		assert_int_equal(age(&f, 0, 4, BOTH, NULL), 4);
		fault_range(&f, 1, 1, MSLOT_WRITE);
		if (protects)
			assert_int_equal(mslot_write_protect(f.mmu, slot1, &bit), 1);
		{
			struct mslot_txn *txn = begin(f.map);

			assert_int_equal(
			    mslot_txn_resize(txn, slot1, (struct mslot_range){0, PAGES(LARGE)}), 0);
			assert_int_equal(finish(txn, NULL), 0);
		}
		fault_range(&f, 100, 1, MSLOT_READ);
		assert_int_equal(mmu_stats(&f).collapses, 1);
		assert_int_equal(is_writable(&f, 2), !protects);
		/* What was noted of the small ones is not lost either. */
		assert_int_equal(test_age(&f, 0, 1, MSLOT_AGE_DIRTY, NULL), 1);
		mmu_teardown(&f);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_age_refuses),
	    cmocka_unit_test(leaves_are_told_apart_by_their_use),
	    cmocka_unit_test(of_large_leaves_all_pages_count),
	    cmocka_unit_test(a_leaf_of_two_slots_is_one),
	    cmocka_unit_test(masks_choose_pages),
	    cmocka_unit_test(what_protection_refuses),
	    cmocka_unit_test(large_leaves_stay_protected),
	    cmocka_unit_test(collapses_keep_protection),
	};

	return MMU_RUN_BOTH_FORMS(tests);
}
