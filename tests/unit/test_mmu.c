/* SPDX-License-Identifier: MIT */
/*
 * test_mmu.c - software MMUs and roots: made and ended, limits, budget, page sizes, who may call.
 */
#include "mmu_fixture.h"

#include <sched.h>
#include <stdatomic.h>

/* ---- Create and destroy ------------------------------------------------------ */

static void options_are_checked(void **state)
{
	struct mslot_map *map = make_map(NULL);
	struct mslot_mmu_options opt = {.form = (enum mslot_mmu_form)2};
	struct mslot_mmu *mmu = NULL;
	uint64_t live = alloc_live();
	uint32_t level;

	(void)state;
	assert_int_equal(mslot_mmu_create(map, &opt, &mmu), -EINVAL);
	opt.form = mmu_form;
	opt.max_leaf_level = 4;
	assert_int_equal(mslot_mmu_create(map, &opt, &mmu), -EINVAL);
	assert_null(mmu);
	for (level = 0; level <= 3; level++) {
		opt.max_leaf_level = level;
		assert_int_equal(mslot_mmu_create(map, &opt, &mmu), 0);
		assert_int_equal(mslot_map_destroy(map), -EBUSY);
		assert_int_equal(mslot_mmu_destroy(mmu), 0);
		assert_int_equal(alloc_live(), live);
	}
	assert_int_equal(mslot_mmu_create(map, NULL, &mmu), 0);
	assert_int_equal(mslot_mmu_destroy(mmu), 0);
	assert_int_equal(mslot_mmu_destroy(NULL), 0);
	assert_int_equal(mslot_root_destroy(NULL), 0);
	assert_int_equal(mslot_map_destroy(map), 0);
}

static void an_mmu_in_use_stays(void **state)
{
	const struct mslot_range range = {BIG_HVA, PAGE};
	struct mslot_mmu *mmu = NULL;
	struct mslot_root *root;
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 0);
	assert_int_equal(
	    mslot_mmu_create(f.map, &(struct mslot_mmu_options){.form = mmu_form}, &mmu), 0);
	assert_int_equal(mslot_invalidate_begin(mmu, range), 0);
	assert_int_equal(mslot_mmu_destroy(mmu), -EBUSY);
	mslot_invalidate_end(mmu, range);
	root = make_root(mmu, MSLOT_ROOT_DIRECT);
	assert_int_equal(mslot_mmu_destroy(mmu), -EBUSY);
	assert_int_equal(mslot_root_destroy(root), 0);
	f.snap = mslot_enter(f.map);
	assert_int_equal(mslot_mmu_destroy(mmu), -EDEADLK);
	mslot_leave(f.snap);
	assert_int_equal(mslot_mmu_destroy(mmu), 0);
	mmu_teardown(&f);
}

/* ---- Who may call ------------------------------------------------------------ */

static void what_waits_is_refused(struct mslot_mmu *mmu)
{
	const struct mslot_range range = {BIG_HVA, PAGE};

	assert_int_equal(mslot_mmu_destroy(mmu), -EDEADLK);
	assert_int_equal(mslot_mmu_sync(mmu), -EDEADLK);
	assert_int_equal(mslot_invalidate_begin(mmu, range), -EDEADLK);
}

static int on_prepare(void *ctx, const struct mslot_diff *diff)
{
	const struct mslot_range range = {BIG_HVA, PAGE};
	const struct mslot_age age = {.hva = range, .what = MSLOT_AGE_DIRTY};
	struct mmu_fixture *f = ctx;
	struct mslot_mmu_stats before = mmu_stats(f);
	struct mslot_mmu *mmu = NULL;

	(void)diff;
	what_waits_is_refused(f->mmu);
	assert_int_equal(mslot_mmu_create(f->map, NULL, &mmu), -EDEADLK);
	assert_null(mmu);
	assert_int_equal(mslot_check_mmu(f->mmu, NULL), -EDEADLK);
	assert_int_equal(mslot_zap_gfn(f->mmu, 0, range), -EDEADLK);
	assert_int_equal(mslot_zap_hva(f->mmu, range), -EDEADLK);
	assert_int_equal(mslot_age(f->mmu, &age), -EDEADLK);
	assert_int_equal(mslot_test_age(f->mmu, &age), -EDEADLK);
	assert_int_equal(mslot_write_protect(f->mmu, (struct mslot_key){0, 1}, NULL), -EDEADLK);
	/* These may. */
	assert_int_equal(mslot_zap_page(NULL, f->direct, 0), 1);
	assert_int_equal(mslot_root_destroy(make_root(f->mmu, MSLOT_ROOT_SHADOW)), 0);
	mslot_mmu_limit_set(f->mmu, 100);
	mslot_zap_all(f->mmu);
	assert_int_equal(mmu_stats(f).flushes, before.flushes + 1);
	return 0;
}

static void listeners_cannot_wait_for_themselves(void **state)
{
	static const struct mslot_listener_ops ops = {.prepare = on_prepare};
	struct mslot_listener *listener;
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 0);
	put_slot(f.map, def_of(1, 0, 4, f.region, 0));
	fault_range(&f, 0, 1, MSLOT_READ);
	assert_int_equal(mslot_listener_add(f.map, &ops, &f, 0, &listener), 0);
	put_slot(f.map, def_of(2, 10, 4, f.region, 10));
	assert_int_equal(mslot_listener_remove(listener), 0);
	mmu_teardown(&f);
}

struct released {
	struct mslot_mmu *mmu;
	atomic_bool called;
};

static void on_release(void *ctx, const struct mslot_region_options *opt)
{
	struct released *released = ctx;

	(void)opt;
	what_waits_is_refused(released->mmu);
	atomic_store(&released->called, true);
}

static void sections_and_releases_cannot_wait(void **state)
{
	struct released released = {.called = false};
	struct mslot_region_options opt = {.hva = (void *)(uintptr_t)HVA,
					   .len_bytes = PAGE,
					   .fd = -1,
					   .release = on_release,
					   .ctx = &released};
	struct mslot_region *region;
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 0);
	released.mmu = f.mmu;
	assert_int_equal(mslot_region_create(&opt, &region), 0);
	mslot_region_put(region);
	while (!atomic_load(&released.called))
		(void)sched_yield();
	mmu_enter(&f);
	what_waits_is_refused(f.mmu);
	mmu_leave(&f);
	assert_int_equal(mslot_mmu_sync(f.mmu), 0);
	mmu_teardown(&f);
}

/* ---- Roots ------------------------------------------------------------------- */

static void root_options_are_checked(void **state)
{
	struct mslot_root_options opt = {.kind = (enum mslot_root_kind)2};
	struct mslot_root *root = NULL;
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 0);
	assert_int_equal(mslot_root_create(f.mmu, &opt, &root), -EINVAL);
	opt.kind = MSLOT_ROOT_SHADOW;
	opt.space = 2;
	assert_int_equal(mslot_root_create(f.mmu, &opt, &root), -EINVAL);
	opt.space = 1;
	for (opt.levels = 1; opt.levels < 8; opt.levels++) {
		if (opt.levels == 4 || opt.levels == 5)
			continue;
		assert_int_equal(mslot_root_create(f.mmu, &opt, &root), -EINVAL);
	}
	assert_null(root);
	assert_int_equal(mmu_stats(&f).roots, 2);
	opt.levels = 5;
	mmu_enter(&f);
	assert_int_equal(mslot_root_create(f.mmu, &opt, &root), 0);
	assert_int_equal(mmu_stats(&f).roots, 3);
	assert_int_equal(mslot_root_destroy(root), 0);
	mmu_leave(&f);
	assert_int_equal(mmu_stats(&f).roots, 2);
	mmu_teardown(&f);
}

static void a_vcpu_keeps_its_root(void **state)
{
	struct mslot_vcpu *vcpu;
	struct mslot_root *strange;
	struct mmu_fixture f, other;

	(void)state;
	mmu_setup(&other, 1);
	mmu_setup(&f, 1);
	strange = other.direct;
	put_slot(f.map, def_of(1, 0, 4, f.region, 0));
	assert_int_equal(mslot_vcpu_root_set(f.vcpu, strange), -EINVAL);
	assert_int_equal(mslot_vcpu_root_set(f.vcpu, f.direct), 0);
	assert_int_equal(mslot_root_destroy(f.direct), -EBUSY);
	mmu_enter(&f);
	assert_int_equal(fault_at(&f, 2, MSLOT_READ, NULL), 0);
	assert_ptr_equal(mslot_vcpu_hit(f.vcpu, PAGES(2) + 5, 1, MSLOT_READ),
			 (void *)(uintptr_t)(BIG_HVA + PAGES(2) + 5));
	assert_null(mslot_vcpu_hit(f.vcpu, PAGES(2), 1, MSLOT_WRITE));
	assert_null(mslot_vcpu_hit(f.vcpu, PAGES(3), 1, MSLOT_READ));
	/* The same one empties nothing, another does. */
	assert_int_equal(mslot_vcpu_root_set(f.vcpu, strange), -EINVAL);
	assert_int_equal(mslot_vcpu_root_set(f.vcpu, f.direct), 0);
	assert_non_null(mslot_vcpu_hit(f.vcpu, PAGES(2), 1, MSLOT_READ));
	assert_int_equal(mslot_vcpu_root_set(f.vcpu, f.shadow), 0);
	assert_null(mslot_vcpu_hit(f.vcpu, PAGES(2), 1, MSLOT_READ));
	/* Faults of a root that is not the vCPU's leave the cache alone. */
	assert_int_equal(fault_at(&f, 2, MSLOT_READ, NULL), 0);
	assert_null(mslot_vcpu_hit(f.vcpu, PAGES(2), 1, MSLOT_READ));
	mmu_leave(&f);
	assert_int_equal(mslot_root_destroy(f.shadow), -EBUSY);
	assert_int_equal(mslot_vcpu_create(f.map, NULL, &vcpu), 0);
	assert_int_equal(mslot_vcpu_root_set(vcpu, f.direct), 0);
	assert_int_equal(mslot_root_destroy(f.direct), -EBUSY);
	assert_int_equal(mslot_vcpu_destroy(vcpu), 0);
	assert_int_equal(mslot_root_destroy(f.direct), 0);
	f.direct = NULL;
	mmu_teardown(&f);
	mmu_teardown(&other);
}

/* ---- Addresses --------------------------------------------------------------- */

static int fault_addr(struct mmu_fixture *f, struct mslot_root *root, uint64_t addr)
{
	struct mslot_fault fault = {.addr = addr, .walk = {.gpa = 0, .level = 1}};

	return mslot_fault(f->vcpu, root, &fault, NULL);
}

static void addresses_beyond_a_root(void **state)
{
	static const struct {
		enum mslot_root_kind kind;
		uint32_t levels;
		uint64_t addr;
		int err; /* of a lookup of what is not there */
	} cases[] = {
	    {MSLOT_ROOT_DIRECT, 4, (UINT64_C(1) << 48) - 1, -ENOENT},
	    {MSLOT_ROOT_DIRECT, 4, UINT64_C(1) << 48, -EINVAL},
	    {MSLOT_ROOT_DIRECT, 5, (UINT64_C(1) << 57) - 1, -ENOENT},
	    {MSLOT_ROOT_DIRECT, 5, UINT64_C(1) << 57, -EINVAL},
	    {MSLOT_ROOT_DIRECT, 5, UINT64_MAX, -EINVAL},
	    {MSLOT_ROOT_SHADOW, 4, (UINT64_C(1) << 47) - 1, -ENOENT},
	    {MSLOT_ROOT_SHADOW, 4, UINT64_C(1) << 47, -EINVAL},
	    {MSLOT_ROOT_SHADOW, 4, 0 - (UINT64_C(1) << 47), -ENOENT},
	    {MSLOT_ROOT_SHADOW, 4, 0 - (UINT64_C(1) << 47) - 1, -EINVAL},
	    {MSLOT_ROOT_SHADOW, 4, UINT64_MAX, -ENOENT},
	    {MSLOT_ROOT_SHADOW, 5, (UINT64_C(1) << 56) - 1, -ENOENT},
	    {MSLOT_ROOT_SHADOW, 5, UINT64_C(1) << 56, -EINVAL},
	    {MSLOT_ROOT_SHADOW, 5, 0 - (UINT64_C(1) << 56), -ENOENT},
	    {MSLOT_ROOT_SHADOW, 5, 0 - (UINT64_C(1) << 56) - 1, -EINVAL},
	};
	struct mslot_translation t;
	struct mslot_root *root;
	struct mmu_fixture f;
	bool mapped;
	size_t i;

	(void)state;
	mmu_setup(&f, 0);
	put_slot(f.map, def_of(1, 0, 4, f.region, 0));
	mmu_enter(&f);
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct mslot_root_options opt = {.kind = cases[i].kind, .levels = cases[i].levels};

		assert_int_equal(mslot_root_create(f.mmu, &opt, &root), 0);
		assert_int_equal(mslot_root_lookup(root, cases[i].addr, &t), cases[i].err);
		mapped = cases[i].kind == MSLOT_ROOT_SHADOW && cases[i].err == -ENOENT;
		assert_int_equal(fault_addr(&f, root, cases[i].addr), mapped ? 0 : cases[i].err);
		assert_int_equal(mslot_root_lookup(root, cases[i].addr, &t),
				 mapped ? 0 : cases[i].err);
		if (mapped)
			assert_int_equal(t.hva, BIG_HVA + cases[i].addr % PAGE);
		assert_int_equal(mslot_zap_page(NULL, root, cases[i].addr), mapped);
		assert_int_equal(mslot_root_destroy(root), 0);
	}
	mmu_leave(&f);
	mmu_teardown(&f);
}

/* Of spaces each has its own; a root translates by one. */
static void spaces_are_apart(void **state)
{
	struct mslot_map_options map_opt = {.nspaces = MSLOT_MAX_SPACES};
	struct mslot_root *root[MSLOT_MAX_SPACES];
	struct mslot_translation t;
	struct mslot_slot_def def;
	struct mmu_fixture f;
	uint32_t i;

	(void)state;
	mmu_setup_with(&f, &map_opt, 0);
	for (i = 0; i < MSLOT_MAX_SPACES; i++) {
		const struct mslot_root_options opt = {.space = i};

		def = def_of(7, 16, 4, f.region, 16 * (uint64_t)i);
		def.key.space = i;
		put_slot(f.map, def);
		assert_int_equal(mslot_root_create(f.mmu, &opt, &root[i]), 0);
		mmu_enter(&f);
		assert_int_equal(
		    mslot_fault(f.vcpu, root[i], &(struct mslot_fault){.addr = PAGES(17)}, &t), 0);
		assert_int_equal(t.hva, BIG_HVA + PAGES(16 * i + 1));
		mmu_leave(&f);
	}
	mmu_assert_right(&f);
	assert_int_equal(mslot_zap_gfn(f.mmu, 5, (struct mslot_range){PAGES(16), PAGES(4)}), 1);
	for (i = 0; i < MSLOT_MAX_SPACES; i++) {
		assert_int_equal(look_at(&f, root[i], 17, &t), i == 5 ? -ENOENT : 0);
		assert_int_equal(mslot_root_destroy(root[i]), 0);
	}
	assert_int_equal(mslot_zap_gfn(f.mmu, MSLOT_MAX_SPACES, (struct mslot_range){0, PAGE}),
			 -EINVAL);
	mmu_teardown(&f);
}

/* Leaves of 512 pages whatever a page is. */
static void other_page_sizes(void **state)
{
	static const uint32_t shifts[] = {14, 16};
	struct mslot_translation t;
	struct mmu_fixture f;
	struct mslot_fault fault = {.access = MSLOT_WRITE};
	struct mslot_slot_def def;
	uint64_t page;
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct mslot_map_options opt = {.nspaces = 1, .page_shift = shifts[i]};

		page = UINT64_C(1) << shifts[i];
		mmu_setup_with(&f, &opt, 2);
		def = (struct mslot_slot_def){
		    .key = {0, 1}, .gpa = 512 * page, .len_bytes = 513 * page, .region = f.region};
		put_slot(f.map, def);
		mmu_enter(&f);
		fault.addr = 600 * page + 7;
		assert_int_equal(mslot_fault(f.vcpu, f.direct, &fault, &t), 0);
		assert_int_equal(t.level, 2);
		assert_int_equal(t.hva, BIG_HVA + 88 * page + 7);
		assert_int_equal(t.len_bytes, 424 * page - 7);
		fault.addr = 1024 * page + page - 1;
		assert_int_equal(mslot_fault(f.vcpu, f.direct, &fault, &t), 0);
		assert_int_equal(t.level, 1);
		assert_int_equal(t.len_bytes, 1);
		fault.addr = 1025 * page;
		assert_int_equal(mslot_fault(f.vcpu, f.direct, &fault, &t), -ENOENT);
		mmu_leave(&f);
		assert_int_equal(mslot_zap_gfn(f.mmu, 0, (struct mslot_range){1024 * page - 1, 1}),
				 1);
		mmu_teardown(&f);
	}
}

/* ---- The budget -------------------------------------------------------------- */

static void the_limit_follows_the_map(void **state)
{
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 1);
	assert_int_equal(mmu_stats(&f).max_tables, 64);
	put_slot(f.map, def_of(1, 0, 3249, f.region, 0));
	assert_int_equal(mmu_stats(&f).max_tables, 64);
	put_slot(f.map, def_of(2, 4000, 1, f.region, 4000));
	assert_int_equal(mmu_stats(&f).max_tables, 65);
	put_slot(f.map, def_of(3, 8000, 46750, f.region, 8000));
	assert_int_equal(mmu_stats(&f).max_tables, 1000);
	mslot_mmu_limit_set(f.mmu, 1);
	assert_int_equal(mmu_stats(&f).max_tables, 64);
	mslot_mmu_limit_set(f.mmu, 77);
	drop_slot(f.map, 2);
	assert_int_equal(mmu_stats(&f).max_tables, 77);
	mslot_mmu_limit_set(f.mmu, 0);
	assert_int_equal(mmu_stats(&f).max_tables, 999);
	drop_slot(f.map, 3);
	assert_int_equal(mmu_stats(&f).max_tables, 64);
	mmu_teardown(&f);
}

/* The oldest go, what is mapped in the others stays, and memory comes back. */
static void tables_beyond_the_limit_go(void **state)
{
	const struct mslot_mmu_options opt = {
	    .form = mmu_form, .max_leaf_level = 1, .max_tables = 70};
	struct mslot_mmu_stats stats;
	struct mslot_root *root;
	struct mslot_mmu *mmu;
	struct mmu_fixture f;
	uint64_t i;

	(void)state;
	mmu_setup(&f, 1);
	put_slot(f.map, def_of(1, 0, 200 * LARGE, f.region, 0));
	assert_int_equal(mslot_mmu_create(f.map, &opt, &mmu), 0);
	root = make_root(mmu, MSLOT_ROOT_DIRECT);
	mmu_enter(&f);
	for (i = 0; i < 200; i++) {
		struct mslot_fault fault = {.addr = PAGES(i * LARGE + i), .access = MSLOT_WRITE};

		assert_int_equal(mslot_fault(f.vcpu, root, &fault, NULL), 0);
		mslot_mmu_stats_get(mmu, &stats);
		assert_in_range(stats.tables, 1, 70);
	}
	assert_false(mslot_vcpu_pending(f.vcpu));
	mmu_leave(&f);
	/* 200 of pages and two above them: the first 132 had to go. */
	assert_int_equal(stats.evicted, 132);
	assert_int_equal(stats.zapped, 0);
	assert_int_equal(mslot_check_mmu(mmu, NULL), 0);
	for (i = 0; i < 200; i++)
		assert_int_equal(found_at(&f, root, i * LARGE + i),
				 i < 132 ? 0 : BIG_HVA + PAGES(i * LARGE + i));
	assert_int_equal(mslot_root_destroy(root), 0);
	/* As the reclaimer would sooner or later. */
	map_drain_deferred(f.map);
	mslot_mmu_stats_get(mmu, &stats);
	assert_int_equal(stats.tables, 0);
	assert_int_equal(stats.dead_tables, 0);
	assert_int_equal(stats.table_bytes, 0);
	assert_int_equal(stats.mapped, 0);
	assert_int_equal(mslot_mmu_destroy(mmu), 0);
	mmu_teardown(&f);
}

/* Faults that a host invalidation refuses make tables, too, but no more than allowed. */
static void refused_faults_keep_the_limit(void **state)
{
	const struct mslot_range range = {BIG_HVA, PAGES(200 * LARGE)};
	struct mmu_fixture f;
	uint64_t i;

	(void)state;
	mmu_setup(&f, 1);
	put_slot(f.map, def_of(1, 0, 200 * LARGE, f.region, 0));
	mslot_mmu_limit_set(f.mmu, 70);
	assert_int_equal(mslot_invalidate_begin(f.mmu, range), 0);
	mmu_enter(&f);
	for (i = 0; i < 200; i++) {
		assert_int_equal(fault_at(&f, i * LARGE, MSLOT_READ, NULL), -EAGAIN);
		assert_in_range(mmu_stats(&f).tables, 1, 70);
	}
	mmu_leave(&f);
	assert_int_equal(mmu_stats(&f).evicted, 132);
	mslot_invalidate_end(f.mmu, range);
	mmu_teardown(&f);
}

/* ---- Several ------------------------------------------------------------------ */

static void mmus_of_one_map_are_apart(void **state)
{
	const struct mslot_mmu_options opt = {.form = MSLOT_MMU_SLOT_BITMAPS - mmu_form};
	struct mslot_fault fault = {.addr = PAGES(3)};
	struct mslot_root *root;
	struct mslot_mmu *mmu;
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 0);
	put_slot(f.map, def_of(1, 0, 4, f.region, 0));
	assert_int_equal(mslot_mmu_create(f.map, &opt, &mmu), 0);
	root = make_root(mmu, MSLOT_ROOT_DIRECT);
	fault_range(&f, 3, 1, MSLOT_READ);
	mmu_enter(&f);
	assert_int_equal(mslot_fault(f.vcpu, root, &fault, NULL), 0);
	mmu_leave(&f);
	assert_int_equal(mslot_zap_gfn(f.mmu, 0, (struct mslot_range){0, PAGES(4)}), 1);
	assert_int_equal(found_at(&f, f.direct, 3), 0);
	assert_int_equal(found_at(&f, root, 3), BIG_HVA + PAGES(3));
	drop_slot(f.map, 1);
	assert_int_equal(found_at(&f, root, 3), 0);
	assert_int_equal(mslot_check_mmu(mmu, NULL), 0);
	assert_int_equal(mslot_root_destroy(root), 0);
	assert_int_equal(mslot_mmu_destroy(mmu), 0);
	mmu_teardown(&f);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(options_are_checked),
	    cmocka_unit_test(an_mmu_in_use_stays),
	    cmocka_unit_test(listeners_cannot_wait_for_themselves),
	    cmocka_unit_test(sections_and_releases_cannot_wait),
	    cmocka_unit_test(root_options_are_checked),
	    cmocka_unit_test(a_vcpu_keeps_its_root),
	    cmocka_unit_test(addresses_beyond_a_root),
	    cmocka_unit_test(spaces_are_apart),
	    cmocka_unit_test(other_page_sizes),
	    cmocka_unit_test(the_limit_follows_the_map),
	    cmocka_unit_test(tables_beyond_the_limit_go),
	    cmocka_unit_test(refused_faults_keep_the_limit),
	    cmocka_unit_test(mmus_of_one_map_are_apart),
	};

	return MMU_RUN_BOTH_FORMS(tests);
}
