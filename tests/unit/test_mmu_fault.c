/* SPDX-License-Identifier: MIT */
/*
 * test_mmu_fault.c - what mslot_fault() and mslot_prefault() make of slots: leaves of which
 * level, who may write, what is refused, what is counted.
 */
#include "mmu_fixture.h"

/* ---- Permissions and refusals ------------------------------------------------- */

static void expect_fault(struct mmu_fixture *f, uint64_t page, enum mslot_access access,
			 struct mslot_translation want)
{
	struct mslot_translation t = {.hva = 1};

	assert_int_equal(fault_at(f, page, access, &t), 0);
	assert_int_equal(t.hva, want.hva);
	assert_int_equal(t.len_bytes, want.len_bytes);
	assert_int_equal(t.level, want.level);
	assert_int_equal(t.writable != 0, want.writable);
}

static void reads_and_writes(void **state)
{
	const struct mslot_translation read = {BIG_HVA + PAGES(2), PAGE, 1, 0},
				       written = {BIG_HVA + PAGES(2), PAGE, 1, 1};
	struct mslot_translation t;
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 0);
	put_slot(f.map, def_of(1, 0, 8, f.region, 0));
	assert_int_equal(look_at(&f, f.direct, 2, &t), -ENOENT);
	mmu_enter(&f);
	expect_fault(&f, 2, MSLOT_READ, read);
	/* The leaf may be written to, but nobody has noted a write yet. */
	assert_int_equal(look_at(&f, f.direct, 2, &t), 0);
	assert_int_equal(t.writable, 1);
	expect_fault(&f, 2, MSLOT_WRITE, written);
	expect_fault(&f, 2, MSLOT_READ, written);
	expect_fault(&f, 3, MSLOT_WRITE,
		     (struct mslot_translation){BIG_HVA + PAGES(3), PAGE, 1, 1});
	mmu_leave(&f);
	assert_int_equal(mmu_stats(&f).faults, 4);
	assert_int_equal(mmu_stats(&f).installed, 2);
	assert_int_equal(mmu_stats(&f).retries, 0);
	assert_int_equal(mmu_stats(&f).mapped, mmu_form ? 0 : 2);
	assert_int_equal(mmu_stats(&f).longest, mmu_form ? 0 : 1);
	assert_int_equal(mmu_stats(&f).frame_bytes > 0, !mmu_form);
	assert_int_equal(mmu_stats(&f).tables, 3);
	assert_in_range(mmu_stats(&f).table_bytes, 4 * 4096, 4 * 8192);
	mmu_teardown(&f);
}

static void offsets_in_pages(void **state)
{
	struct mslot_fault fault = {.addr = PAGES(2) + 5, .access = MSLOT_READ};
	struct mslot_translation t;
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 0);
	put_slot(f.map, def_of(1, 0, LARGE, f.region, 0));
	put_slot(f.map, def_of(2, LARGE, 8, f.region, LARGE + 3));
	mmu_enter(&f);
	assert_int_equal(mslot_fault(f.vcpu, f.direct, &fault, &t), 0);
	assert_int_equal(t.hva, BIG_HVA + PAGES(2) + 5);
	assert_int_equal(t.len_bytes, PAGES(LARGE - 2) - 5);
	assert_int_equal(mslot_root_lookup(f.direct, PAGES(3) - 1, &t), 0);
	assert_int_equal(t.hva, BIG_HVA + PAGES(3) - 1);
	assert_int_equal(t.len_bytes, PAGES(LARGE - 3) + 1);
	fault.addr = PAGES(LARGE + 1) + 4095;
	assert_int_equal(mslot_fault(f.vcpu, f.direct, &fault, &t), 0);
	assert_int_equal(t.hva, BIG_HVA + PAGES(LARGE + 4) + 4095);
	assert_int_equal(t.len_bytes, 1);
	mmu_leave(&f);
	mmu_teardown(&f);
}

static void read_only_slots(void **state)
{
	struct mslot_slot_def def;
	struct mslot_translation t = {.hva = 1};
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 0);
	def = def_of(1, 0, LARGE, f.region, 0);
	def.flags = MSLOT_READONLY;
	put_slot(f.map, def);
	assert_int_equal(mslot_vcpu_root_set(f.vcpu, f.direct), 0);
	mmu_enter(&f);
	assert_int_equal(fault_at(&f, 2, MSLOT_WRITE, &t), -EACCES);
	assert_int_equal(t.hva, 1);
	assert_int_equal(look_at(&f, f.direct, 2, &t), -ENOENT);
	expect_fault(&f, 2, MSLOT_READ,
		     (struct mslot_translation){BIG_HVA + PAGES(2), PAGES(LARGE - 2), 2, 0});
	assert_int_equal(look_at(&f, f.direct, 2, &t), 0);
	assert_int_equal(t.writable, 0);
	assert_int_equal(fault_at(&f, 2, MSLOT_WRITE, &t), -EACCES);
	assert_null(mslot_vcpu_hit(f.vcpu, PAGES(2), 1, MSLOT_WRITE));
	mmu_leave(&f);
	assert_int_equal(mmu_stats(&f).faults, 1);
	mmu_teardown(&f);
}

static void holes(void **state)
{
	struct mslot_translation t = {.hva = 1};
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 0);
	put_slot(f.map, def_of(1, 4, 8, f.region, 0));
	mmu_enter(&f);
	assert_int_equal(fault_at(&f, 3, MSLOT_READ, &t), -ENOENT);
	assert_int_equal(fault_at(&f, 12, MSLOT_WRITE, &t), -ENOENT);
	assert_int_equal(fault_at(&f, 4, MSLOT_READ, NULL), 0);
	assert_int_equal(fault_at(&f, 11, MSLOT_WRITE, NULL), 0);
	mmu_leave(&f);
	assert_int_equal(t.hva, 1);
	assert_int_equal(mmu_stats(&f).mmio, 2);
	assert_int_equal(mmu_stats(&f).faults, 2);
	mmu_teardown(&f);
}

static void what_is_refused(void **state)
{
	struct mslot_translation t = {.hva = 1};
	struct mmu_fixture f, other;

	(void)state;
	mmu_setup(&other, 0);
	put_slot(other.map, def_of(1, 0, 8, other.region, 0));
	mmu_setup(&f, 0);
	put_slot(f.map, def_of(1, 0, 8, f.region, 0));
	assert_int_equal(fault_at(&f, 1, MSLOT_READ, &t), -EINVAL);
	f.snap = mslot_enter(f.map);
	assert_int_equal(fault_at(&f, 1, MSLOT_READ, &t), -EINVAL);
	mslot_leave(f.snap);
	mmu_enter(&other);
	assert_int_equal(fault_at(&f, 1, MSLOT_READ, &t), -EINVAL);
	assert_int_equal(mslot_fault(other.vcpu, f.direct, &(struct mslot_fault){.addr = 0}, &t),
			 -EINVAL);
	mmu_leave(&other);
	mmu_enter(&f);
	assert_int_equal(shadow_at(&f, 1, 1, 0, MSLOT_READ, &t), -EINVAL);
	assert_int_equal(shadow_at(&f, 1, 1, 4, MSLOT_READ, &t), -EINVAL);
	assert_int_equal(shadow_at(&f, 1, 8, 1, MSLOT_READ, &t), -ENOENT);
	/* Frames beyond all that there can be. */
	assert_int_equal(shadow_at(&f, 1, UINT64_MAX >> 12, 1, MSLOT_READ, &t), -ENOENT);
	assert_int_equal(t.hva, 1);
	/* A direct root does not look at the walk. */
	assert_int_equal(fault_at(&f, 1, MSLOT_READ, &t), 0);
	mmu_leave(&f);
	mmu_teardown(&f);
	mmu_teardown(&other);
}

static void the_guest_s_own_read_only(void **state)
{
	struct mslot_fault fault = {.addr = PAGES(70), .walk = {PAGES(3), 2, 1}};
	struct mslot_translation t;
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 0);
	put_slot(f.map, def_of(1, 0, 2 * LARGE, f.region, 0));
	assert_int_equal(mslot_vcpu_root_set(f.vcpu, f.shadow), 0);
	mmu_enter(&f);
	fault.access = MSLOT_WRITE;
	assert_int_equal(mslot_fault(f.vcpu, f.shadow, &fault, &t), -EACCES);
	fault.access = MSLOT_READ;
	assert_int_equal(mslot_fault(f.vcpu, f.shadow, &fault, &t), 0);
	assert_int_equal(t.writable, 0);
	assert_int_equal(t.level, 1); /* 70 and 3 are not congruent */
	assert_int_equal(look_at(&f, f.shadow, 70, &t), 0);
	assert_int_equal(t.writable, 0);
	/* The guest allows writes, and takes that back. */
	fault.walk.guest_readonly = 0;
	fault.access = MSLOT_WRITE;
	assert_int_equal(mslot_fault(f.vcpu, f.shadow, &fault, &t), 0);
	assert_int_equal(t.writable, 1);
	assert_int_equal(look_at(&f, f.shadow, 70, &t), 0);
	assert_int_equal(t.writable, 1);
	fault.walk.guest_readonly = 1;
	assert_int_equal(mslot_fault(f.vcpu, f.shadow, &fault, &t), -EACCES);
	fault.access = MSLOT_READ;
	assert_int_equal(mslot_fault(f.vcpu, f.shadow, &fault, &t), 0);
	assert_int_equal(t.writable, 0);
	assert_int_equal(look_at(&f, f.shadow, 70, &t), 0);
	assert_int_equal(t.writable, 0);
	/* The cache is told as a processor is: by an instruction. */
	assert_int_equal(mslot_zap_page(f.vcpu, f.shadow, PAGES(70)), 1);
	assert_int_equal(mslot_fault(f.vcpu, f.shadow, &fault, &t), 0);
	assert_null(mslot_vcpu_hit(f.vcpu, PAGES(70), 1, MSLOT_WRITE));
	mmu_leave(&f);
	assert_int_equal(mmu_stats(&f).installed, 2);
	mmu_teardown(&f);
}

/* What the guest told of between a walk and its fault is not installed. */
static void stale_walks_are_refused(void **state)
{
	struct mslot_fault fault = {.addr = PAGES(9), .walk = {.gpa = PAGES(3), .level = 1}};
	struct mslot_translation t = {.hva = 1};
	struct mmu_fixture f;
	uint64_t stamp;

	(void)state;
	mmu_setup(&f, 0);
	put_slot(f.map, def_of(1, 0, 8, f.region, 0));
	mmu_enter(&f);
	stamp = mslot_root_stamp(f.shadow);
	assert_int_not_equal(stamp, 0);
	fault.stamp = stamp;
	assert_int_equal(mslot_zap_page(NULL, f.direct, PAGES(9)), 0);
	assert_int_equal(mslot_root_stamp(f.shadow), stamp);
	assert_int_equal(mslot_fault(f.vcpu, f.shadow, &fault, NULL), 0);
	assert_int_equal(mslot_zap_page(NULL, f.shadow, PAGES(9)), 1);
	assert_int_not_equal(mslot_root_stamp(f.shadow), stamp);
	assert_int_equal(mslot_fault(f.vcpu, f.shadow, &fault, &t), -EAGAIN);
	assert_int_equal(t.hva, 1);
	assert_int_equal(mslot_root_lookup(f.shadow, PAGES(9), &t), -ENOENT);
	fault.stamp = mslot_root_stamp(f.shadow);
	assert_int_equal(mslot_fault(f.vcpu, f.shadow, &fault, &t), 0);
	/* 0: the walk stays right. */
	fault.stamp = 0;
	assert_int_equal(mslot_zap_page(NULL, f.shadow, PAGES(9)), 1);
	assert_int_equal(mslot_fault(f.vcpu, f.shadow, &fault, &t), 0);
	mmu_leave(&f);
	mmu_teardown(&f);
}

/* The same address comes to mean another frame, also one that shows the same host page. */
static void the_guest_changes_its_tables(void **state)
{
	struct mslot_translation t;
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 0);
	put_slot(f.map, def_of(1, 0, 8, f.region, 0));
	put_slot(f.map, def_of(2, 100, 8, f.region, 0));
	mmu_enter(&f);
	assert_int_equal(shadow_at(&f, 9, 3, 1, MSLOT_WRITE, &t), 0);
	assert_int_equal(shadow_at(&f, 9, 4, 1, MSLOT_READ, &t), 0);
	assert_int_equal(t.hva, BIG_HVA + PAGES(4));
	assert_int_equal(t.writable, 0);
	assert_int_equal(shadow_at(&f, 9, 104, 1, MSLOT_READ, &t), 0);
	assert_int_equal(t.hva, BIG_HVA + PAGES(4));
	mmu_leave(&f);
	mmu_assert_right(&f);
	drop_slot(f.map, 1);
	assert_int_equal(found_at(&f, f.shadow, 9), BIG_HVA + PAGES(4));
	drop_slot(f.map, 2);
	assert_int_equal(found_at(&f, f.shadow, 9), 0);
	mmu_teardown(&f);
}

/* ---- Levels -------------------------------------------------------------------- */

struct large_case {
	uint64_t gfn, npages, offset; /* of the slot */
	uint64_t page;                /* that is faulted */
	uint32_t max, level;
};

static void which_leaves_are_large(void **state)
{
	static const struct large_case cases[] = {
	    /* Exactly one, one page less at either end, one more. */
	    {512, 512, 512, 512, 0, 2},
	    {512, 512, 512, 1023, 0, 2},
	    {512, 511, 512, 512, 0, 1},
	    {513, 511, 513, 1023, 0, 1},
	    {511, 513, 511, 511, 0, 1},
	    {511, 513, 511, 512, 0, 2},
	    {512, 513, 512, 1024, 0, 1},
	    {512, 513, 512, 1023, 0, 2},
	    /* Host memory that is not congruent, in 2 MiB or 1 GiB. */
	    {512, 512, 513, 600, 0, 1},
	    {512, 512, 1024, 600, 0, 2},
	    {HUGE_LEAF, HUGE_LEAF, 512, HUGE_LEAF + 5, 0, 2},
	    {HUGE_LEAF, HUGE_LEAF, 1, HUGE_LEAF + 5, 0, 1},
	    {HUGE_LEAF, HUGE_LEAF, 0, HUGE_LEAF + 5, 0, 3},
	    {HUGE_LEAF, HUGE_LEAF, HUGE_LEAF, 2 * HUGE_LEAF - 1, 3, 3},
	    {HUGE_LEAF, HUGE_LEAF - 1, 0, HUGE_LEAF + 5, 0, 2},
	    {HUGE_LEAF, HUGE_LEAF - 1, 0, 2 * HUGE_LEAF - 2, 0, 1},
	    {HUGE_LEAF + 1, HUGE_LEAF - 1, 1, HUGE_LEAF + 600, 0, 2},
	    {HUGE_LEAF + 1, HUGE_LEAF - 1, 1, HUGE_LEAF + 5, 0, 1},
	    /* The MMU's limit. */
	    {HUGE_LEAF, HUGE_LEAF, 0, HUGE_LEAF + 5, 2, 2},
	    {HUGE_LEAF, HUGE_LEAF, 0, HUGE_LEAF + 5, 1, 1},
	};
	struct mmu_fixture f;
	uint64_t bytes;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct large_case *c = &cases[i];

		mmu_setup(&f, c->max);
		put_slot(f.map, def_of(1, c->gfn, c->npages, f.region, c->offset));
		bytes = PAGE << 9 * (c->level - 1);
		mmu_enter(&f);
		expect_fault(&f, c->page, MSLOT_READ,
			     (struct mslot_translation){
				 .hva = BIG_HVA + PAGES(c->offset + c->page - c->gfn),
				 .len_bytes = bytes - PAGES(c->page) % bytes,
				 .level = c->level,
			     });
		mmu_leave(&f);
		mmu_teardown(&f);
	}
}

/* A guest's leaf of 512 pages allows ours, one page does not, wherever we began. */
static void leaves_are_no_larger_than_the_guest_s(void **state)
{
	struct mslot_translation t;
	struct mmu_fixture f;
	uint32_t level;

	(void)state;
	mmu_setup(&f, 0);
	put_slot(f.map, def_of(1, 0, HUGE_LEAF, f.region, 0));
	mmu_enter(&f);
	for (level = 1; level <= 3; level++) {
		assert_int_equal(shadow_at(&f, 2 * HUGE_LEAF + 7, 7, level, MSLOT_WRITE, &t), 0);
		assert_int_equal(t.level, level);
		assert_int_equal(mmu_stats(&f).collapses, level - 1);
	}
	for (level = 3; level >= 1; level--) {
		assert_int_equal(shadow_at(&f, 2 * HUGE_LEAF + 7, 7, level, MSLOT_WRITE, &t), 0);
		assert_int_equal(t.level, level);
		assert_int_equal(t.hva, BIG_HVA + PAGES(7));
	}
	/* Congruent in 2 MiB only. */
	assert_int_equal(shadow_at(&f, LARGE + 7, 7, 3, MSLOT_READ, &t), 0);
	assert_int_equal(t.level, 2);
	mmu_leave(&f);
	mmu_teardown(&f);
}

/* ---- Logging -------------------------------------------------------------------- */

static uint64_t dirty_pages(struct mmu_fixture *f, uint32_t id, uint64_t *bitmap)
{
	const struct kvm_dirty_log log = {.slot = id, .dirty_bitmap = bitmap};

	return (uint64_t)mslot_kvm_get_dirty_log(f->map, &log);
}

static void logged_slots_have_small_leaves(void **state)
{
	const struct mslot_translation page5 = {BIG_HVA + PAGES(5), PAGE, 1, 1};
	uint64_t bitmap[LARGE / 64];
	struct mslot_translation t;
	struct mslot_slot_def def;
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 0);
	def = def_of(1, 0, LARGE, f.region, 0);
	def.flags = MSLOT_LOG_DIRTY;
	put_slot(f.map, def);
	assert_int_equal(mslot_vcpu_root_set(f.vcpu, f.direct), 0);
	mmu_enter(&f);
	expect_fault(&f, 5, MSLOT_WRITE, page5);
	assert_non_null(mslot_vcpu_hit(f.vcpu, PAGES(5), 1, MSLOT_WRITE));
	/* The cache has the permission, the leaf has not. */
	assert_int_equal(look_at(&f, f.direct, 5, &t), 0);
	assert_int_equal(t.writable, 0);
	expect_fault(&f, 6, MSLOT_READ, (struct mslot_translation){BIG_HVA + PAGES(6), PAGE, 1, 0});
	assert_null(mslot_vcpu_hit(f.vcpu, PAGES(6), 1, MSLOT_WRITE));
	mmu_leave(&f);
	assert_int_equal(dirty_pages(&f, 1, bitmap), 0);
	assert_int_equal(bitmap[0], UINT64_C(1) << 5);
	/* The harvest took it back, and reported this. */
	mmu_enter(&f);
	assert_null(mslot_vcpu_hit(f.vcpu, PAGES(5), 1, MSLOT_WRITE));
	expect_fault(&f, 5, MSLOT_WRITE, page5);
	mmu_leave(&f);
	assert_int_equal(dirty_pages(&f, 1, bitmap), 0);
	assert_int_equal(bitmap[0], UINT64_C(1) << 5);
	/* Logging ends: large leaves again. */
	set_flags(f.map, 1, 0);
	mmu_enter(&f);
	expect_fault(&f, 7, MSLOT_WRITE,
		     (struct mslot_translation){BIG_HVA + PAGES(7), PAGES(LARGE - 7), 2, 1});
	mmu_leave(&f);
	assert_int_equal(mmu_stats(&f).collapses, 1);
	mmu_teardown(&f);
}

/* Logging that begins keeps the large leaf; each page is marked by its own first write. */
static void large_leaves_stay_when_logging_begins(void **state)
{
	uint64_t bitmap[LARGE / 64];
	struct mslot_translation t;
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 0);
	put_slot(f.map, def_of(1, 0, LARGE, f.region, 0));
	fault_range(&f, 3, 1, MSLOT_WRITE);
	set_flags(f.map, 1, MSLOT_LOG_DIRTY);
	assert_int_equal(look_at(&f, f.direct, 3, &t), 0);
	assert_int_equal(t.level, 2);
	assert_int_equal(t.writable, 0);
	mmu_enter(&f);
	expect_fault(&f, 9, MSLOT_READ,
		     (struct mslot_translation){BIG_HVA + PAGES(9), PAGES(LARGE - 9), 2, 0});
	expect_fault(&f, 9, MSLOT_WRITE,
		     (struct mslot_translation){BIG_HVA + PAGES(9), PAGE, 2, 1});
	mmu_leave(&f);
	assert_int_equal(dirty_pages(&f, 1, bitmap), 0);
	assert_int_equal(bitmap[0], UINT64_C(1) << 9);
	assert_int_equal(mmu_stats(&f).installed, 1);
	set_flags(f.map, 1, 0);
	mmu_enter(&f);
	expect_fault(&f, 9, MSLOT_WRITE,
		     (struct mslot_translation){BIG_HVA + PAGES(9), PAGES(LARGE - 9), 2, 1});
	mmu_leave(&f);
	assert_int_equal(look_at(&f, f.direct, 9, &t), 0);
	assert_int_equal(t.writable, 1);
	mmu_teardown(&f);
}

static void a_full_ring_refuses_writes(void **state)
{
	struct mslot_map_options map_opt = {.nspaces = 1};
	struct mslot_slot_def def;
	struct mmu_fixture f;
	uint64_t page;
	int err = 0;

	(void)state;
	mmu_setup_with(&f, &map_opt, 0);
	assert_int_equal(mslot_vcpu_destroy(f.vcpu), 0);
	assert_int_equal(mslot_ring_enable(f.map, PAGE, 0), 0);
	assert_int_equal(mslot_vcpu_create(f.map, NULL, &f.vcpu), 0);
	def = def_of(1, 0, LARGE, f.region, 0);
	def.flags = MSLOT_LOG_DIRTY;
	put_slot(f.map, def);
	mmu_enter(&f);
	for (page = 0; page < LARGE && !err; page++)
		err = fault_at(&f, page, MSLOT_WRITE, NULL);
	assert_int_equal(err, -ENOSPC);
	assert_int_equal(page, 256 + 1);
	assert_int_equal(fault_at(&f, 3, MSLOT_WRITE, NULL), 0);
	assert_int_equal(fault_at(&f, 300, MSLOT_READ, NULL), 0);
	mmu_leave(&f);
	mmu_teardown(&f);
}

/* ---- Prefault -------------------------------------------------------------------- */

static void ranges_are_faulted_in(void **state)
{
	const struct mslot_range all = {0, PAGES(40)};
	struct mslot_translation t;
	struct mslot_slot_def def;
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 0);
	put_slot(f.map, def_of(1, 2, 8, f.region, 0));
	def = def_of(2, 20, 8, f.region, 20);
	def.flags = MSLOT_READONLY;
	put_slot(f.map, def);
	def = def_of(3, 30, 4, f.region, 30);
	def.flags = MSLOT_LOG_DIRTY;
	put_slot(f.map, def);
	assert_int_equal(mslot_prefault(f.vcpu, f.direct, all, MSLOT_READ), -EINVAL);
	assert_int_equal(mslot_vcpu_root_set(f.vcpu, f.direct), 0);
	mmu_enter(&f);
	assert_int_equal(mslot_prefault(f.vcpu, f.direct, all, MSLOT_WRITE), 8 + 4);
	assert_null(mslot_vcpu_hit(f.vcpu, PAGES(2), 1, MSLOT_READ));
	assert_int_equal(look_at(&f, f.direct, 2, &t), 0);
	assert_int_equal(t.writable, 1);
	assert_int_equal(look_at(&f, f.direct, 20, &t), -ENOENT);
	assert_int_equal(look_at(&f, f.direct, 33, &t), 0);
	assert_int_equal(t.writable, 0);
	assert_int_equal(mslot_prefault(f.vcpu, f.direct, all, MSLOT_READ), 8 + 8 + 4);
	assert_int_equal(look_at(&f, f.direct, 27, &t), 0);
	assert_int_equal(t.writable, 0);
	/* Parts of pages are pages. */
	assert_int_equal(
	    mslot_prefault(f.vcpu, f.direct, (struct mslot_range){PAGES(3) - 1, 2}, MSLOT_READ), 2);
	assert_int_equal(
	    mslot_prefault(f.vcpu, f.direct, (struct mslot_range){PAGES(3), 0}, MSLOT_READ), 0);
	assert_int_equal(mslot_prefault(f.vcpu, f.direct,
					(struct mslot_range){PAGES(3), UINT64_MAX}, MSLOT_READ),
			 -EINVAL);
	assert_int_equal(mslot_prefault(f.vcpu, f.direct,
					(struct mslot_range){UINT64_C(1) << 48, PAGE}, MSLOT_READ),
			 -EINVAL);
	/* What it comes to behind the first page ends it. */
	assert_int_equal(mslot_prefault(f.vcpu, f.direct,
					(struct mslot_range){(UINT64_C(1) << 48) - PAGE, PAGES(2)},
					MSLOT_READ),
			 0);
	mmu_leave(&f);
	{
		uint64_t bitmap = 0;

		assert_int_equal(dirty_pages(&f, 3, &bitmap), 0);
		assert_int_equal(bitmap, 0);
	}
	mmu_teardown(&f);
}

static void large_leaves_are_faulted_in_once(void **state)
{
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 2);
	put_slot(f.map, def_of(1, 0, 2 * LARGE + 3, f.region, 0));
	mmu_enter(&f);
	assert_int_equal(mslot_prefault(f.vcpu, f.direct,
					(struct mslot_range){PAGES(100), PAGES(2 * LARGE)},
					MSLOT_READ),
			 2 * LARGE - 100 + 3);
	assert_int_equal(mmu_stats(&f).installed, 2 + 3);
	assert_int_equal(mslot_prefault(f.vcpu, f.direct,
					(struct mslot_range){PAGES(100), PAGES(LARGE)}, MSLOT_READ),
			 LARGE);
	assert_int_equal(mmu_stats(&f).installed, 2 + 3);
	mmu_leave(&f);
	mmu_teardown(&f);
}

struct walker {
	unsigned int calls;
	uint64_t fails_at; /* page */
	int err;
};

/* Page n means frame n + 16; guest-readonly from page 40 on. */
static int walk(void *ctx, struct mslot_vcpu *vcpu, uint64_t addr, enum mslot_access access,
		struct mslot_walk *out)
{
	struct walker *walker = ctx;

	(void)vcpu;
	walker->calls++;
	if (addr / PAGE == walker->fails_at)
		return walker->err;
	*out = (struct mslot_walk){addr + PAGES(16), 1, addr >= PAGES(40)};
	(void)access;
	return 0;
}

static void shadow_roots_are_walked(void **state)
{
	struct walker walker = {.fails_at = 37, .err = -EPERM};
	struct mslot_root_options opt = {.kind = MSLOT_ROOT_SHADOW, .walk = walk, .ctx = &walker};
	const struct mslot_range range = {PAGES(32), PAGES(16)}, second = {PAGES(38), PAGES(16)};
	struct mslot_root *root;
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 0);
	put_slot(f.map, def_of(1, 16, 64, f.region, 0));
	assert_int_equal(mslot_root_create(f.mmu, &opt, &root), 0);
	assert_int_equal(mslot_prefault(f.vcpu, root, range, MSLOT_READ), -EINVAL);
	assert_int_equal(walker.calls, 0);
	mmu_enter(&f);
	assert_int_equal(mslot_prefault(f.vcpu, f.shadow, range, MSLOT_READ), -EINVAL);
	assert_int_equal(mslot_prefault(f.vcpu, root, range, MSLOT_READ), 5);
	assert_int_equal(walker.calls, 6);
	assert_int_equal(found_at(&f, root, 36), BIG_HVA + PAGES(36));
	/* Writes pass over what the guest has as read-only. */
	assert_int_equal(mslot_prefault(f.vcpu, root, second, MSLOT_WRITE), 2);
	walker.fails_at = 32;
	assert_int_equal(mslot_prefault(f.vcpu, root, range, MSLOT_READ), -EPERM);
	walker.err = 5;
	assert_int_equal(mslot_prefault(f.vcpu, root, range, MSLOT_READ), -EINVAL);
	walker.err = -ENOENT;
	assert_int_equal(mslot_prefault(f.vcpu, root, range, MSLOT_READ), 15);
	mmu_leave(&f);
	assert_int_equal(mslot_root_destroy(root), 0);
	mmu_teardown(&f);
}

static void requests_stop_a_prefault(void **state)
{
	const struct mslot_range range = {0, PAGES(16)};
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 0);
	put_slot(f.map, def_of(1, 0, 16, f.region, 1));
	mmu_enter(&f);
	mslot_zap_all(f.mmu);
	assert_int_equal(mslot_prefault(f.vcpu, f.direct, range, MSLOT_READ), 1);
	assert_true(was_asked(&f));
	assert_int_equal(mslot_prefault(f.vcpu, f.direct, range, MSLOT_READ), 16);
	mmu_leave(&f);
	mmu_teardown(&f);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_and_writes),
	    cmocka_unit_test(offsets_in_pages),
	    cmocka_unit_test(read_only_slots),
	    cmocka_unit_test(holes),
	    cmocka_unit_test(what_is_refused),
	    cmocka_unit_test(the_guest_s_own_read_only),
	    cmocka_unit_test(stale_walks_are_refused),
	    cmocka_unit_test(the_guest_changes_its_tables),
	    cmocka_unit_test(which_leaves_are_large),
	    cmocka_unit_test(leaves_are_no_larger_than_the_guest_s),
	    cmocka_unit_test(logged_slots_have_small_leaves),
	    cmocka_unit_test(large_leaves_stay_when_logging_begins),
	    cmocka_unit_test(a_full_ring_refuses_writes),
	    cmocka_unit_test(ranges_are_faulted_in),
	    cmocka_unit_test(large_leaves_are_faulted_in_once),
	    cmocka_unit_test(shadow_roots_are_walked),
	    cmocka_unit_test(requests_stop_a_prefault),
	};

	return MMU_RUN_BOTH_FORMS(tests);
}
