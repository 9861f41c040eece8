/* SPDX-License-Identifier: MIT */
/*
 * test_guest_cache.c - what a vCPU's cache remembers and when it forgets: flushes, epochs, roots,
 * pages without a slot, and the permission to write, which goes with dirty bits.
 */
#include "guest_fixture.h"

#include <mslot/kvm.h>

static uint64_t load(struct fixture *f, uint64_t addr)
{
	uint64_t val = 0;

	assert_int_equal(mslot_vcpu_load64(f->vcpu, addr, &val), 0);
	return val;
}

static uint64_t in_twin(const struct fixture *f, uint64_t addr)
{
	uint64_t val;

	memcpy(&val, f->twin + place_of(addr, MSLOT_READ), sizeof(val));
	return val;
}

static bool hits(const struct fixture *f, uint64_t addr, enum mslot_access access)
{
	return mslot_vcpu_hit(f->vcpu, addr, 1, access) != NULL;
}

/* ---- Entries --------------------------------------------------------------- */

static void a_hit_stays_within_its_page(void **state)
{
	struct fixture *f = *state;
	const unsigned char *host = f->host + PAGES(3);

	enter(f);
	assert_false(hits(f, PAGES(3), MSLOT_READ));
	assert_int_equal(load(f, PAGES(3) + 8), in_twin(f, PAGES(3) + 8));
	for (unsigned int size = 1; size <= 4096; size++) {
		assert_ptr_equal(mslot_vcpu_hit(f->vcpu, PAGES(4) - size, size, MSLOT_READ),
				 host + PAGE - size);
		assert_null(mslot_vcpu_hit(f->vcpu, PAGES(4) - size + 1, size, MSLOT_READ));
	}
	/* Logged: to read is not to write; and its neighbours are not there. */
	assert_false(hits(f, PAGES(3), MSLOT_WRITE));
	assert_false(hits(f, PAGES(2), MSLOT_READ));
	assert_false(hits(f, PAGES(4), MSLOT_READ));
	assert_false(hits(f, PAGES(3 + MSLOT_TLB_ENTRIES), MSLOT_READ));
	leave(f);
}

static void who_may_write_goes_on_reading(void **state)
{
	struct fixture *f = *state;
	struct mslot_vcpu_head *head = &f->vcpu->head;
	uint64_t before;

	enter(f);
	assert_int_equal(mslot_vcpu_store64(f->vcpu, PAGES(3), 1), 0);
	assert_true(hits(f, PAGES(3), MSLOT_WRITE));
	before = faults(f);
	assert_int_equal(load(f, PAGES(3)), 1);
	assert_int_equal(faults(f), before);
	/* What was allowed stays so, for the same memory. */
	tlb_fill(head, PAGES(3), (uintptr_t)f->host + PAGES(3), false);
	assert_true(hits(f, PAGES(3), MSLOT_WRITE));
	tlb_fill(head, PAGES(3), (uintptr_t)f->host + PAGES(5), false);
	assert_false(hits(f, PAGES(3), MSLOT_WRITE));
	assert_ptr_equal(mslot_vcpu_hit(f->vcpu, PAGES(3), 1, MSLOT_READ), f->host + PAGES(5));
	tlb_fill(head, PAGES(3), (uintptr_t)f->host + PAGES(5), true);
	/* Another page in the same place. */
	tlb_fill(head, PAGES(3 + MSLOT_TLB_ENTRIES), (uintptr_t)f->host, false);
	assert_false(hits(f, PAGES(3 + MSLOT_TLB_ENTRIES), MSLOT_WRITE));
	assert_false(hits(f, PAGES(3), MSLOT_READ));
	assert_false(hits(f, PAGES(3), MSLOT_WRITE));
	leave(f);
}

static void one_page_is_forgotten(void **state)
{
	struct fixture *f = *state;
	struct mslot_vcpu_head *head = &f->vcpu->head;
	uint64_t gpa;

	for (unsigned int i = 0; i < MSLOT_TLB_ENTRIES; i++)
		tlb_fill(head, PAGES(i), (uintptr_t)f->host + PAGES(i), true);
	/* In the place of page 7, but not it. */
	tlb_forget(head, PAGES(7 + MSLOT_TLB_ENTRIES));
	assert_true(hits(f, PAGES(7), MSLOT_WRITE));
	tlb_forget(head, PAGES(7) + 99);
	for (unsigned int i = 0; i < MSLOT_TLB_ENTRIES; i++) {
		assert_int_equal(hits(f, PAGES(i), MSLOT_READ), i != 7);
		assert_int_equal(hits(f, PAGES(i), MSLOT_WRITE), i != 7);
	}
	for (int access = MSLOT_READ; access <= MSLOT_WRITE; access++) {
		tlb_fill_hole(head, PAGES(9), PAGES(1), (enum mslot_access)access, 5);
		tlb_fill_hole(head, PAGES(10), PAGES(2), (enum mslot_access)access, 5);
	}
	tlb_forget(head, PAGES(9));
	for (int access = MSLOT_READ; access <= MSLOT_WRITE; access++) {
		assert_false(tlb_find_hole(head, PAGES(9), (enum mslot_access)access, 5, &gpa));
		assert_true(tlb_find_hole(head, PAGES(10), (enum mslot_access)access, 5, &gpa));
	}
}

/* ---- Flushes ---------------------------------------------------------------- */

static void a_request_to_flush_empties_it(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	enter(f);
	(void)load(f, PAGES(65));
	before = faults(f);
	/* To be asked out is no reason to forget. */
	map_ask_vcpus(f->map, VCPU_LEAVE);
	enter_again(f);
	(void)load(f, PAGES(65));
	assert_int_equal(faults(f), before);
	/* Nor is a request that was not answered yet. */
	map_ask_vcpus(f->map, VCPU_FLUSH);
	(void)load(f, PAGES(65));
	assert_int_equal(faults(f), before);
	enter_again(f);
	assert_false(hits(f, PAGES(65), MSLOT_READ));
	(void)load(f, PAGES(65));
	assert_int_equal(faults(f), before + 1);
	leave(f);
}

/* The epochs are used up and begin anew: what is that old does not come back. */
static void epochs_that_come_again_find_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t gpa, epoch = f->vcpu->head.epoch;
	bool again = false;

	enter(f);
	(void)load(f, PAGES(3));
	assert_int_equal(mslot_vcpu_store64(f->vcpu, PAGES(5), 1), 0);
	tlb_fill_hole(&f->vcpu->head, PAGES(9), PAGES(1), MSLOT_READ, 5);
	assert_true(hits(f, PAGES(5), MSLOT_WRITE));
	for (unsigned int i = 0; i < 3 * 4096; i++) {
		map_ask_vcpus(f->map, VCPU_FLUSH);
		enter_again(f);
		again |= f->vcpu->head.epoch == epoch;
		assert_in_range(f->vcpu->head.epoch, 1, 4095);
		assert_false(hits(f, PAGES(3), MSLOT_READ));
		assert_false(hits(f, PAGES(5), MSLOT_WRITE));
		assert_false(hits(f, 0, MSLOT_READ));
		assert_false(tlb_find_hole(&f->vcpu->head, PAGES(9), MSLOT_READ, 5, &gpa));
	}
	assert_true(again);
	leave(f);
}

static void another_root_has_a_cache_of_its_own(void **state)
{
	struct fixture *f = *state;
	const uint64_t at = SHADOW + PAGES(2);
	uint64_t before;

	enter(f);
	(void)load(f, PAGES(2));
	use_root(f, f->direct);
	assert_true(hits(f, PAGES(2), MSLOT_READ));
	use_root(f, f->shadow);
	assert_false(hits(f, PAGES(2), MSLOT_READ));
	assert_int_equal(load(f, at), in_twin(f, PAGES(3)));
	before = faults(f);
	assert_int_equal(load(f, at), in_twin(f, PAGES(3)));
	assert_int_equal(faults(f), before);
	assert_int_equal(f->walks, 1);
	use_root(f, f->direct);
	assert_int_equal(load(f, PAGES(2)), in_twin(f, PAGES(2)));
	leave(f);
}

/* ---- Pages without a slot -------------------------------------------------- */

static void expect_mmio(struct fixture *f, struct mslot_mmio want)
{
	struct mslot_mmio got;

	memset(&got, 0xff, sizeof(got));
	assert_int_equal(mslot_vcpu_mmio(f->vcpu, &got), 0);
	assert_int_equal(got.addr, want.addr);
	assert_int_equal(got.gpa, want.gpa);
	assert_int_equal(got.before_bytes, want.before_bytes);
	assert_int_equal(got.access, want.access);
	assert_int_equal(got.reserved, 0);
}

static void mmio_is_described(void **state)
{
	struct fixture *f = *state;
	const uint64_t hole = PAGES(HOLE), end = SHADOW + PAGES(HOLE);
	struct mslot_mmio out;
	unsigned char buf[3 * 4096];
	uint64_t val = 7;

	assert_int_equal(mslot_vcpu_mmio(f->vcpu, &out), -EINVAL);
	enter(f);
	/* Both the first time and from the cache. */
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(mslot_vcpu_load64(f->vcpu, hole + 24, &val), -ENOENT);
		expect_mmio(f, (struct mslot_mmio){hole + 24, hole + 24, 0, MSLOT_READ, 0});
		assert_int_equal(mslot_vcpu_load64(f->vcpu, hole - 3, &val), -ENOENT);
		expect_mmio(f, (struct mslot_mmio){hole, hole, 3, MSLOT_READ, 0});
		assert_int_equal(mslot_vcpu_read(f->vcpu, hole - 4097, buf, 4098), -ENOENT);
		expect_mmio(f, (struct mslot_mmio){hole, hole, 4097, MSLOT_READ, 0});
		assert_int_equal(mslot_vcpu_store64(f->vcpu, hole + 4095, 1), -ENOENT);
		expect_mmio(f, (struct mslot_mmio){hole + 4095, hole + 4095, 0, MSLOT_WRITE, 0});
		assert_int_equal(mslot_vcpu_write(f->vcpu, hole + PAGE, buf, 5000), -ENOENT);
		expect_mmio(f, (struct mslot_mmio){hole + PAGE, hole + PAGE, 0, MSLOT_WRITE, 0});
	}
	/* Another failure is none of it. */
	assert_int_equal(mslot_vcpu_store64(f->vcpu, hole - 8, 1), -EACCES);
	assert_int_equal(mslot_vcpu_mmio(f->vcpu, &out), -EINVAL);
	use_root(f, f->shadow);
	assert_int_equal(mslot_vcpu_load64(f->vcpu, end + 12, &val), -ENOENT);
	expect_mmio(f, (struct mslot_mmio){end + 12, hole + PAGE + 12, 0, MSLOT_READ, 0});
	assert_int_equal(val, 7);
	leave(f);
	expect_mmio(f, (struct mslot_mmio){end + 12, hole + PAGE + 12, 0, MSLOT_READ, 0});
}

/* The generation rule: known for one snapshot, asked again after any commit. */
static void holes_are_asked_for_again_after_a_commit(void **state)
{
	struct fixture *f = *state;
	const uint64_t at = SHADOW + PAGES(HOLE);
	uint64_t val, before;

	use_root(f, f->shadow);
	enter(f);
	assert_int_equal(mslot_vcpu_load64(f->vcpu, at, &val), -ENOENT);
	before = faults(f);
	assert_int_equal(f->walks, 1);
	for (unsigned int i = 0; i < 10; i++) {
		assert_int_equal(mslot_vcpu_load64(f->vcpu, at + i, &val), -ENOENT);
		enter_again(f);
	}
	assert_int_equal(faults(f), before);
	assert_int_equal(f->walks, 1);
	/* What cannot be read here might be refused for writing before. */
	assert_int_equal(mslot_vcpu_store64(f->vcpu, at, 1), -ENOENT);
	assert_int_equal(f->walks, 2);
	assert_int_equal(mslot_vcpu_store64(f->vcpu, at, 1), -ENOENT);
	assert_int_equal(mslot_vcpu_load64(f->vcpu, at, &val), -ENOENT);
	assert_int_equal(f->walks, 2);
	/* Any commit. */
	before = faults(f);
	put_slot(f->map, def_of(5, 512, 1, f->region, 200));
	enter_again(f);
	assert_int_equal(mslot_vcpu_load64(f->vcpu, at, &val), -ENOENT);
	assert_int_equal(f->walks, 3);
	assert_int_equal(faults(f), before + 1);
	/* And one that puts a slot there, which asks nobody to flush. */
	put_slot(f->map, def_of(6, HOLE, 2, f->region, 300));
	assert_int_equal(mslot_vcpu_pending(f->vcpu), 0);
	enter_again(f);
	assert_int_equal(mslot_vcpu_load64(f->vcpu, at, &val), 0);
	assert_memory_equal(&val, f->twin + PAGES(301), sizeof(val));
	leave(f);
}

/* As many as there is room for, and one that takes another's place. */
static void holes_in_the_same_place_are_told_apart(void **state)
{
	struct fixture *f = *state;
	uint64_t val;

	use_root(f, f->shadow);
	enter(f);
	for (unsigned int round = 0; round < 3; round++)
		for (unsigned int i = 0; i < 2 * TLB_HOLES; i++) {
			const uint64_t at = SHADOW + PAGES(HOLE + i);

			assert_int_equal(mslot_vcpu_load8(f->vcpu, at + 5, (uint8_t *)&val),
					 -ENOENT);
			expect_mmio(f, (struct mslot_mmio){at + 5, PAGES(frame_of(at)) + 5, 0,
							   MSLOT_READ, 0});
		}
	assert_int_equal(f->walks, 3 * 2 * TLB_HOLES);
	leave(f);
}

/* ---- Writes that are told of ------------------------------------------------ */

static void store(struct fixture *f, uint64_t addr)
{
	enter(f);
	assert_int_equal(mslot_vcpu_store64(f->vcpu, addr, addr), 0);
	leave(f);
}

/* A store that crosses a border makes two pages dirty; of slot 1, which is logged. */
static void both_pages_of_a_store_are_marked(void **state)
{
	static const struct pages two[] = {{5, 2}};
	struct fixture *f = *state;
	struct mslot_dirty *dirty = consumer(f->map);

	store(f, PAGES(6) - 1);
	expect_dirty(dirty, two, 1);
	store(f, PAGES(6) - 7);
	expect_dirty(dirty, two, 1);
	/* One that fails stores nothing, and that it marked too much is no harm. */
	enter(f);
	assert_int_equal(mslot_vcpu_store64(f->vcpu, PAGES(72) - 1, 1), -EACCES);
	leave(f);
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
}

/* The permission is the mark's: it goes with it. */
static void a_harvest_takes_the_permission_away(void **state)
{
	static const struct pages five[] = {{5, 1}}, all[] = {{5, 1}, {7, 1}};
	struct fixture *f = *state;
	struct mslot_dirty *dirty = consumer(f->map);
	uint64_t before;

	store(f, PAGES(5));
	enter(f);
	before = faults(f);
	assert_true(hits(f, PAGES(5), MSLOT_WRITE));
	/* Marked already: no reason to ask. */
	assert_int_equal(mslot_vcpu_store64(f->vcpu, PAGES(5) + 8, 1), 0);
	assert_int_equal(faults(f), before);
	leave(f);
	expect_dirty(dirty, five, 1);
	store(f, PAGES(5));
	store(f, PAGES(7));
	expect_dirty(dirty, all, 2);
	/* A harvest that found nothing has taken nothing, and asks nobody to forget. */
	expect_clean(dirty);
	store(f, PAGES(5));
	enter(f);
	assert_true(hits(f, PAGES(5), MSLOT_WRITE));
	leave(f);
	expect_dirty(dirty, five, 1);
	expect_clean(dirty);
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
}

static void a_get_of_the_dirty_log_does_so_too(void **state)
{
	struct fixture *f = *state;
	uint64_t bitmap;
	struct kvm_dirty_log log = {.slot = 1, .dirty_bitmap = &bitmap};

	for (unsigned int i = 0; i < 3; i++) {
		store(f, PAGES(5));
		assert_int_equal(mslot_kvm_get_dirty_log(f->map, &log), 0);
		assert_int_equal(bitmap, UINT64_C(1) << 5);
	}
}

static void a_reset_of_rings_does_so_too(void **state)
{
	struct fixture *f = *state;
	struct mslot_ring_page page;

	for (unsigned int i = 0; i < 3; i++) {
		store(f, PAGES(5));
		store(f, PAGES(5));
		assert_int_equal(mslot_vcpu_collect(f->vcpu, &page, 1), 1);
		assert_int_equal(page.gpa, PAGES(5));
		assert_int_equal(mslot_vcpu_collect(f->vcpu, &page, 1), 0);
		assert_int_equal(mslot_ring_reset(f->map), 1);
	}
}

/* Deleted and created again, with the same memory, it has new bits: an old mark is none there. */
static void logging_anew_takes_the_permission_away(void **state)
{
	static const struct pages five[] = {{5, 1}};
	struct fixture *f = *state;
	struct mslot_dirty *dirty = consumer(f->map);
	struct mslot_edit edits[2] = {
	    {.kind = MSLOT_EDIT_DELETE, .def.key = {0, 1}},
	    edit_of(MSLOT_EDIT_CREATE, def_of(5, 0, 64, f->region, 0)),
	};

	edits[1].def.flags = LOG;
	store(f, PAGES(5));
	assert_int_equal(commit_edits(f->map, edits, 2, NULL), 0);
	assert_int_equal(mslot_wait(f->map, generation_of(f->map), -1), 0);
	expect_clean(dirty);
	store(f, PAGES(5));
	expect_dirty(dirty, five, 1);
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
}

/* What stands in a ring lets a vCPU write, but tells a consumer that comes later nothing. */
static void a_consumer_beside_rings_takes_the_permission_away(void **state)
{
	static const struct pages five[] = {{5, 1}};
	const struct mslot_dirty_range first = {0, {0, PAGES(64)}};
	struct fixture *f = *state;
	struct mslot_dirty *dirty;

	store(f, PAGES(5));
	/* Of a slot that is logged: none changes, and no commit asks vCPUs to flush. */
	dirty = consumer_of(f->map, &(struct mslot_dirty_options){.ranges = &first, .nranges = 1});
	expect_clean(dirty);
	store(f, PAGES(5));
	expect_dirty(dirty, five, 1);
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(a_hit_stays_within_its_page),
	    CASE(who_may_write_goes_on_reading),
	    CASE(one_page_is_forgotten),
	    CASE(a_request_to_flush_empties_it),
	    CASE(epochs_that_come_again_find_nothing),
	    CASE(another_root_has_a_cache_of_its_own),
	    CASE(mmio_is_described),
	    CASE(holes_are_asked_for_again_after_a_commit),
	    CASE(holes_in_the_same_place_are_told_apart),
	    CASE(both_pages_of_a_store_are_marked),
	    CASE(a_harvest_takes_the_permission_away),
	    CASE(a_get_of_the_dirty_log_does_so_too),
	    cmocka_unit_test_setup_teardown(a_reset_of_rings_does_so_too, setup_rings, teardown),
	    CASE(logging_anew_takes_the_permission_away),
	    cmocka_unit_test_setup_teardown(a_consumer_beside_rings_takes_the_permission_away,
					    setup_rings, teardown),
	};

	return cmocka_run_group_tests_name("guest_cache", tests, NULL, NULL);
}
