/* SPDX-License-Identifier: MIT */
/*
 * test_ring.c - dirty rings: what is pushed, collected and reset, full rings, and KVM's calls.
 */
#include "ring_fixture.h"

/* ---- Enable --------------------------------------------------------------- */

static void enable_refuses(void **state)
{
	static const struct {
		uint64_t bytes;
		uint32_t flags;
		int err;
	} cases[] = {
	    {0, 0, -EINVAL},
	    {1, 0, -EINVAL},
	    {2048, 0, -EINVAL},
	    {4095, 0, -EINVAL},
	    {4097, 0, -EINVAL},
	    {12288, 0, -EINVAL},
	    {4096, 2, -EINVAL},
	    {UINT64_C(3) << 40, 0, -EINVAL},
	    {UINT64_C(1) << 21, 0, -E2BIG},
	    {UINT64_C(1) << 63, 0, -E2BIG},
	    {UINT64_C(1) << 20, 0, 0},
	    {UINT64_C(1) << 20, 0, -EBUSY},
	    {4096, 1, -EBUSY},
	};
	struct mslot_map *map = make_map(NULL);
	const struct mslot_snapshot *snap;

	(void)state;
	snap = mslot_enter(map);
	assert_int_equal(mslot_ring_enable(map, 4096, 0), -EDEADLK);
	mslot_leave(snap);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(mslot_ring_enable(map, cases[i].bytes, cases[i].flags),
				 cases[i].err);
	end_map(map);
}

static void rings_come_before_vcpus_and_have_a_page_at_least(void **state)
{
	const struct mslot_map_options opt = {.page_shift = 14};
	struct mslot_map *map = make_map(&opt);
	struct mslot_ring_entry *entries = NULL;
	struct mslot_vcpu *vcpu = make_vcpu(map);

	(void)state;
	assert_int_equal(mslot_ring_enable(map, 16384, 0), -EBUSY);
	assert_int_equal(mslot_vcpu_ring(vcpu, &entries), -ENXIO);
	assert_int_equal(mslot_vcpu_collect(vcpu, NULL, 0), -ENXIO);
	assert_int_equal(mslot_ring_reset(map), -ENXIO);
	assert_null(entries);
	assert_int_equal(mslot_vcpu_destroy(vcpu), 0);
	assert_int_equal(mslot_ring_enable(map, 8192, 0), -EINVAL);
	assert_int_equal(mslot_ring_enable(map, 16384, 0), 0);
	vcpu = make_vcpu(map);
	assert_int_equal(mslot_vcpu_ring(vcpu, &entries), 1024);
	assert_int_equal((uintptr_t)entries % 16384, 0);
	assert_int_equal(mslot_vcpu_destroy(vcpu), 0);
	end_map(map);
}

static int enable_in_callback(void *ctx, const struct mslot_diff *diff)
{
	(void)diff;
	return mslot_ring_enable(ctx, 4096, 0) == -EDEADLK && mslot_ring_reset(ctx) == -EDEADLK
		   ? 0
		   : -EPROTO;
}

static void calls_that_wait_are_refused_in_callbacks_and_sections(void **state)
{
	static const struct mslot_listener_ops ops = {.prepare = enable_in_callback};
	struct fixture *f = *state;
	const struct mslot_snapshot *snap;
	struct mslot_listener *listener;

	assert_int_equal(mslot_listener_add(f->map, &ops, f->map, 0, &listener), 0);
	move_to(f, 1, 512);
	assert_int_equal(mslot_listener_remove(listener), 0);
	assert_int_equal(mslot_vcpu_enter(f->vcpu[0], &snap), 0);
	assert_int_equal(mslot_ring_reset(f->map), -EDEADLK);
	mslot_vcpu_leave(f->vcpu[0]);
}

static void the_ring_can_be_in_memory_of_the_callers(void **state)
{
	struct fixture *f = *state;
	struct mslot_ring_entry *memory = aligned_alloc(PAGE, 2 * PAGE), *e;
	struct mslot_vcpu_options opt = {.ring_memory = (char *)memory + 8};
	struct mslot_vcpu *vcpu = NULL;

	memset(memory, 0, 2 * PAGE);
	assert_int_equal(mslot_vcpu_create(f->map, &opt, &vcpu), -EINVAL);
	opt.ring_memory = (char *)memory + PAGE / 2;
	assert_int_equal(mslot_vcpu_create(f->map, &opt, &vcpu), -EINVAL);
	assert_null(vcpu);
	opt.ring_memory = memory;
	assert_int_equal(mslot_vcpu_create(f->map, &opt, &vcpu), 0);
	assert_int_equal(mslot_vcpu_ring(vcpu, &e), SIZE);
	assert_ptr_equal(e, memory);
	assert_int_equal(write_frames(vcpu, 5, 1), 0);
	assert_int_equal(write_frames(vcpu, 7, 1), 0);
	assert_true(memory[0].flags == MSLOT_RING_DIRTY && memory[0].offset == 5);
	assert_true(memory[1].flags == MSLOT_RING_DIRTY && memory[1].offset == 7);
	memory[0].flags = MSLOT_RING_RESET;
	assert_int_equal(mslot_ring_reset(f->map), 1);
	assert_int_equal(memory[0].flags, 0);
	/* What is left goes to the bitmap, and nothing behind the ring was touched. */
	assert_int_equal(mslot_vcpu_destroy(vcpu), 0);
	expect_bitmap(f, 7, 1);
	for (size_t i = 0; i < SIZE; i++)
		assert_true(memory[SIZE + i].flags == 0 && memory[SIZE + i].offset == 0);
	free(memory);
}

/* ---- Push and collect ----------------------------------------------------- */

static void entries_are_those_of_kvm(void **state)
{
	struct fixture *f = *state;
	struct mslot_slot_def def = def_of(7, 600, 8, f->region, 700);
	struct mslot_ring_entry *e;

	def.flags = LOG;
	put_slot(f->map, def);
	assert_int_equal(mslot_vcpu_ring(f->vcpu[0], &e), SIZE);
	assert_int_equal((uintptr_t)e % PAGE, 0);
	assert_int_equal(write_frames(f->vcpu[0], 5, 1), 0);
	assert_int_equal(write_frames(f->vcpu[0], 603, 1), 0);
	assert_true(e[0].flags == MSLOT_RING_DIRTY && e[0].slot == 1 && e[0].offset == 5);
	assert_true(e[1].flags == MSLOT_RING_DIRTY && e[1].slot == 7 && e[1].offset == 3);
	assert_int_equal(e[2].flags, 0);
	assert_int_equal(mslot_ring_reset(f->map), 0);
	e[0].flags = MSLOT_RING_RESET;
	/* What was never pushed is not reset, whatever its flags. */
	e[1].flags = e[2].flags = MSLOT_RING_RESET;
	assert_int_equal(mslot_ring_reset(f->map), 2);
	assert_int_equal(e[0].flags, 0);
	assert_int_equal(e[1].flags, 0);
	e[2].flags = 0;
}

static void every_write_of_a_vcpu_is_pushed_once(void **state)
{
	struct fixture *f = *state;
	struct mslot_addr at = {0, PAGES(10) + 8};
	const struct mslot_span span = {.gpa = PAGES(20), .len_bytes = PAGES(2)};
	const struct mslot_snapshot *snap;
	struct iovec seg;
	uint64_t val = 1;

	assert_int_equal(mslot_vcpu_enter(f->vcpu[0], &snap), 0);
	assert_int_equal(mslot_store(snap, at, 8, 7), 0);
	assert_int_equal(mslot_store(snap, at, 8, 8), 0);
	at.gpa += PAGE;
	assert_int_equal(mslot_cmpxchg(snap, at, 8, &val, 2), 0);
	assert_int_equal(val, 0);
	at.gpa += PAGE;
	val = UINT64_C(0xff00000000);
	assert_int_equal(mslot_cmpxchg(snap, at, 4, &val, 2), 1);
	at.gpa += PAGE;
	assert_int_equal(mslot_clear(snap, at, PAGE), 0);
	assert_int_equal(mslot_copy(snap, (struct mslot_addr){0, PAGES(15)},
				    (struct mslot_addr){0, PAGES(40)}, 1),
			 0);
	assert_int_equal(mslot_write(snap, at, "x", 0), 0);
	assert_int_equal(mslot_write_begin(snap, &span, &seg, 1), 1);
	mslot_write_end(snap, &span);
	mslot_vcpu_leave(f->vcpu[0]);
	assert_int_equal(mslot_vcpu_collect(f->vcpu[0], &(struct mslot_ring_page){0}, 0), 0);
	struct mslot_ring_page out[3];
	static const uint64_t frames[] = {10, 12, 13, 14, 15, 20, 21};

	for (size_t i = 0, got = 0; i < 7; i += got) {
		got = (size_t)mslot_vcpu_collect(f->vcpu[0], out, 3);
		assert_int_equal(got, i < 6 ? 3 : 1);
		for (size_t j = 0; j < got; j++)
			assert_int_equal(out[j].gpa, PAGES(frames[i + j]));
	}
	expect_empty(f, f->vcpu[0]);
	expect_bitmap(f, 0, 0);
	assert_int_equal(mslot_ring_reset(f->map), 7);
	assert_int_equal(mslot_ring_reset(f->map), 0);
}

static void others_and_slots_without_log_do_not_push(void **state)
{
	struct fixture *f = *state;
	const struct mslot_snapshot *snap;
	struct mslot_map *other = make_map(NULL);
	struct mslot_slot_def def = def_of(1, 0, 8, f->region, 512);

	put_slot(f->map, def_of(9, 600, 8, f->region, 600));
	def.flags = LOG;
	put_slot(other, def);
	assert_int_equal(mslot_ring_enable(other, PAGE, 0), 0);
	assert_int_equal(write_frames(f->vcpu[0], 600, 8), 0);
	mark(f->map, 3, 2);
	/* In the vCPU's section, but another map's. */
	assert_int_equal(mslot_vcpu_enter(f->vcpu[0], &snap), 0);
	mark(other, 0, 1);
	mslot_vcpu_leave(f->vcpu[0]);
	expect_empty(f, f->vcpu[0]);
	expect_bitmap(f, 3, 2);
	end_map(other);
}

static void a_page_is_in_one_ring_until_it_is_reset(void **state)
{
	struct fixture *f = *state;

	for (unsigned int round = 0; round < 3; round++) {
		assert_int_equal(write_frames(f->vcpu[0], 7, 2), 0);
		assert_int_equal(write_frames(f->vcpu[1], 6, 3), 0);
		expect_ring(f, f->vcpu[0], 1, 7, 2, 7);
		expect_ring(f, f->vcpu[1], 1, 6, 1, 6);
		/* Collected, not reset: the copy is still to come. */
		assert_int_equal(write_frames(f->vcpu[1], 6, 3), 0);
		expect_empty(f, f->vcpu[1]);
		assert_int_equal(mslot_ring_reset(f->map), 3);
	}
	expect_bitmap(f, 0, 0);
}

static struct fixture *meanwhile;

/* Write as a vCPU from a hook: whether its ring is soft-full, and who is inside, does not matter.
 */
static void write_as(struct mslot_vcpu *vcpu, uint64_t gfn)
{
	struct mslot_vcpu *running = vcpu_current;
	const struct mslot_snapshot *snap = mslot_enter(vcpu->map);

	perturb_hook = NULL;
	vcpu_current = vcpu;
	assert_int_equal(mslot_write(snap, (struct mslot_addr){0, PAGES(gfn)}, "y", 1), 0);
	vcpu_current = running;
	mslot_leave(snap);
}

/* The second vCPU writes while the first has claimed the page and made no entry. */
static void other_writes(enum perturb_point point)
{
	if (point == PERTURB_RING_CLAIMED)
		write_as(meanwhile->vcpu[1], 7);
}

static void who_relies_on_an_entry_in_the_making_marks_too(void **state)
{
	struct fixture *f = *state;

	meanwhile = f;
	perturb_hook = other_writes;
	assert_int_equal(write_frames(f->vcpu[0], 7, 1), 0);
	assert_null(perturb_hook);
	expect_ring(f, f->vcpu[0], 1, 7, 1, 7);
	expect_empty(f, f->vcpu[1]);
	expect_bitmap(f, 7, 1);
	assert_int_equal(write_frames(f->vcpu[1], 7, 1), 0);
	expect_bitmap(f, 0, 0);
}

static void rings_wrap(void **state)
{
	struct fixture *f = *state;
	uint64_t gfn = 0;

	/* Also the counts, which are 32 bits. */
	atomic_store(&f->vcpu[0]->ring.pushed, UINT32_MAX - 255);
	atomic_store(&f->vcpu[0]->ring.reset, UINT32_MAX - 255);
	f->vcpu[0]->ring.collected = UINT32_MAX - 255;
	for (unsigned int round = 0; round < 20; round++, gfn = (gfn + 100) % 400) {
		assert_int_equal(write_frames(f->vcpu[0], gfn, 100), 0);
		expect_ring(f, f->vcpu[0], 1, gfn, 100, gfn);
		assert_int_equal(mslot_ring_reset(f->map), 100);
	}
}

static void reset_stops_at_what_was_not_collected(void **state)
{
	struct fixture *f = *state;
	struct mslot_ring_page out[8];
	struct mslot_ring_entry *e;

	assert_int_equal(mslot_vcpu_ring(f->vcpu[0], &e), SIZE);
	/* Words apart, one word, and back: pages are cleared wherever they are. */
	assert_int_equal(write_frames(f->vcpu[0], 62, 4), 0);
	assert_int_equal(write_frames(f->vcpu[0], 300, 1), 0);
	assert_int_equal(write_frames(f->vcpu[0], 60, 1), 0);
	e[0].flags = e[1].flags = e[3].flags = MSLOT_RING_RESET;
	assert_int_equal(mslot_ring_reset(f->map), 2);
	assert_int_equal(write_frames(f->vcpu[0], 62, 4), 0);
	assert_true(e[6].offset == 62 && e[7].offset == 63 && e[8].flags == 0);
	e[2].flags = MSLOT_RING_RESET;
	assert_int_equal(mslot_ring_reset(f->map), 2);
	for (unsigned int i = 4; i < 8; i++)
		e[i].flags = MSLOT_RING_RESET;
	assert_int_equal(mslot_ring_reset(f->map), 4);
	assert_int_equal(write_frames(f->vcpu[1], 60, 6), 0);
	assert_int_equal(write_frames(f->vcpu[1], 300, 1), 0);
	assert_int_equal(mslot_vcpu_collect(f->vcpu[1], out, 8), 7);
	assert_int_equal(out[6].gpa, PAGES(300));
}

static void write_once(enum perturb_point point)
{
	if (point == PERTURB_RING_GIVEN)
		write_as(meanwhile->vcpu[0], 300);
}

/* The vCPU pushes as soon as the reset has counted the entry, into that very entry. */
static void an_entry_is_free_when_it_is_given_back(void **state)
{
	struct fixture *f = *state;
	struct mslot_ring_page out[SIZE];

	tell(f->vcpu[0], 0, SIZE);
	assert_int_equal(mslot_vcpu_collect(f->vcpu[0], out, SIZE), SIZE);
	meanwhile = f;
	perturb_hook = write_once;
	assert_int_equal(mslot_ring_reset(f->map), SIZE);
	assert_null(perturb_hook);
	expect_ring(f, f->vcpu[0], 1, 300, 1, 300);
}

/* ---- Full ----------------------------------------------------------------- */

static void soft_full_keeps_a_vcpu_out(void **state)
{
	struct fixture *f = *state;
	const struct mslot_snapshot *snap, *none = NULL;
	struct mslot_ring_page out[SIZE];

	assert_int_equal(write_frames(f->vcpu[0], 0, SOFT - 1), 0);
	assert_int_equal(mslot_vcpu_enter(f->vcpu[0], &snap), 0);
	assert_int_equal(mslot_vcpu_poll(f->vcpu[0], &snap), 0);
	assert_int_equal(mslot_write(snap, (struct mslot_addr){0, PAGES(400)}, "x", 1), 0);
	assert_int_equal(mslot_vcpu_poll(f->vcpu[0], &none), -ENOSPC);
	assert_ptr_equal(vcpu_running(), f->vcpu[0]);
	assert_int_equal(mslot_vcpu_enter(f->vcpu[0], &none), 0);
	mslot_vcpu_leave(f->vcpu[0]);
	mslot_vcpu_leave(f->vcpu[0]);
	none = NULL;
	assert_int_equal(mslot_vcpu_enter(f->vcpu[0], &none), -ENOSPC);
	assert_null(none);
	assert_null(vcpu_running());
	assert_int_equal(mslot_vcpu_enter(f->vcpu[1], &snap), 0);
	mslot_vcpu_leave(f->vcpu[1]);
	assert_int_equal(mslot_vcpu_collect(f->vcpu[0], out, 1), 1);
	assert_int_equal(mslot_vcpu_enter(f->vcpu[0], &none), -ENOSPC);
	assert_int_equal(mslot_ring_reset(f->map), 1);
	assert_int_equal(mslot_vcpu_enter(f->vcpu[0], &snap), 0);
	mslot_vcpu_leave(f->vcpu[0]);
}

static void the_reserved_entries_are_for_who_asks(void **state)
{
	struct fixture *f = *state;
	const struct mslot_snapshot *snap = NULL, *inner = NULL;
	uint64_t gfn;

	assert_int_equal(write_frames(f->vcpu[0], 0, SOFT), 0);
	assert_int_equal(mslot_vcpu_enter(f->vcpu[0], &snap), -ENOSPC);
	assert_int_equal(mslot_vcpu_enter_reserved(f->vcpu[0], &snap), 0);
	assert_ptr_equal(vcpu_running(), f->vcpu[0]);
	assert_int_equal(mslot_snapshot_generation(snap), generation_of(f->map));
	assert_int_equal(mslot_vcpu_enter_reserved(f->vcpu[1], &inner), -EBUSY);
	assert_int_equal(mslot_vcpu_enter_reserved(f->vcpu[0], &inner), 0);
	assert_ptr_equal(inner, snap);
	mslot_vcpu_leave(f->vcpu[0]);
	assert_int_equal(mslot_vcpu_poll(f->vcpu[0], &inner), -ENOSPC);
	for (gfn = SOFT; gfn < SIZE; gfn++)
		assert_int_equal(mslot_write(snap, (struct mslot_addr){0, PAGES(gfn)}, "x", 1), 0);
	assert_int_equal(mslot_write(snap, (struct mslot_addr){0, PAGES(gfn)}, "x", 1), -ENOSPC);
	mslot_vcpu_leave(f->vcpu[0]);
	assert_null(vcpu_running());
	/* Full to the last entry: a section may begin even so, and write to what is there. */
	assert_int_equal(mslot_vcpu_enter_reserved(f->vcpu[0], &snap), 0);
	assert_int_equal(mslot_write(snap, (struct mslot_addr){0, PAGES(gfn)}, "x", 1), -ENOSPC);
	assert_int_equal(mslot_write(snap, (struct mslot_addr){0, 0}, "x", 1), 0);
	mslot_vcpu_leave(f->vcpu[0]);
}

static void hard_full_writes_nothing_and_drops_nothing(void **state)
{
	struct fixture *f = *state;
	const struct mslot_addr at = {0, PAGES(SIZE)}, seen = {0, PAGES(3)};
	static unsigned char two[2 * 4096];
	const struct mslot_snapshot *snap;
	uint64_t val = 0;

	memset(two, 0x77, sizeof(two));
	assert_int_equal(mslot_vcpu_enter(f->vcpu[0], &snap), 0);
	assert_int_equal(mslot_clear(snap, (struct mslot_addr){0, 0}, PAGES(SIZE + 1)), -ENOSPC);
	assert_int_equal(mslot_clear(snap, (struct mslot_addr){0, 0}, PAGES(SIZE - 1)), 0);
	/* One entry left, two pages to push: none of them is. */
	assert_int_equal(mslot_write(snap, at, two, sizeof(two)), -ENOSPC);
	assert_int_equal(f->host[PAGES(SIZE)], 0);
	assert_int_equal(mslot_write(snap, (struct mslot_addr){0, PAGES(SIZE - 2)}, two, PAGES(2)),
			 0);
	assert_int_equal(mslot_write(snap, at, two, 1), -ENOSPC);
	assert_int_equal(mslot_store(snap, at, 8, 1), -ENOSPC);
	assert_int_equal(mslot_cmpxchg(snap, at, 8, &val, 1), -ENOSPC);
	val = 5;
	assert_int_equal(mslot_cmpxchg(snap, at, 8, &val, 1), 0);
	assert_int_equal(mslot_copy(snap, at, seen, 1), -ENOSPC);
	assert_int_equal(f->host[PAGES(SIZE)], 0);
	/* What is in a ring needs no room. */
	assert_int_equal(mslot_store(snap, seen, 8, 1), 0);
	mslot_mark_dirty(snap, at, PAGES(2));
	mslot_vcpu_leave(f->vcpu[0]);
	expect_ring(f, f->vcpu[0], 1, 0, SIZE, 0);
	expect_bitmap(f, SIZE, 2);
	assert_int_equal(mslot_ring_reset(f->map), SIZE);
	tell(f->vcpu[0], SIZE, 2);
	expect_ring(f, f->vcpu[0], 1, SIZE, 2, SIZE);
	expect_bitmap(f, 0, 0);
}

/* ---- KVM ------------------------------------------------------------------ */

static int cap(struct mslot_map *map, uint32_t number, uint64_t arg, uint32_t flags)
{
	const struct kvm_enable_cap request = {.cap = number, .flags = flags, .args = {arg}};

	return mslot_kvm_enable_cap(map, &request);
}

/* As a kernel answered (6.18). */
static void kvm_enables_rings_as_kvm_does(void **state)
{
	struct mslot_map *map = make_map(NULL);
	struct kvm_dirty_log get = {.slot = 0xffffffff};
	struct kvm_clear_dirty_log clear = {.slot = 0xffffffff, .first_page = 3};
	struct mslot_vcpu *vcpu = make_vcpu(map);

	(void)state;
	assert_int_equal(mslot_kvm_reset_dirty_rings(map), -EINVAL);
	assert_int_equal(cap(map, KVM_CAP_DIRTY_LOG_RING, 65536, 0), -EINVAL);
	assert_int_equal(cap(map, KVM_CAP_DIRTY_LOG_RING, 1 << 21, 0), -E2BIG);
	assert_int_equal(mslot_vcpu_destroy(vcpu), 0);
	assert_int_equal(cap(map, KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP, 0, 0), -EINVAL);
	assert_int_equal(cap(map, KVM_CAP_DIRTY_LOG_RING, UINT64_C(1) << 32, 0), -EINVAL);
	assert_int_equal(cap(map, KVM_CAP_DIRTY_LOG_RING, 2048, 0), -EINVAL);
	assert_int_equal(cap(map, KVM_CAP_DIRTY_LOG_RING_ACQ_REL, (UINT64_C(1) << 32) | 4096, 7),
			 0);
	assert_int_equal(cap(map, KVM_CAP_DIRTY_LOG_RING, 4096, 0), -EINVAL);
	assert_int_equal(cap(map, KVM_CAP_DIRTY_LOG_RING, 1 << 21, 0), -E2BIG);
	assert_int_equal(cap(map, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 3, 0), 0);
	assert_int_equal(mslot_kvm_get_dirty_log(map, &get), -ENXIO);
	assert_int_equal(mslot_kvm_clear_dirty_log(map, &clear), -ENXIO);
	assert_int_equal(mslot_kvm_reset_dirty_rings(map), 0);
	end_map(map);
}

static void kvm_allows_a_bitmap_before_the_first_slot(void **state)
{
	struct fixture *f = *state;
	struct mslot_map *map = make_map(NULL);
	struct kvm_dirty_log get = {.slot = 0};

	assert_int_equal(cap(map, KVM_CAP_DIRTY_LOG_RING, 4096, 0), 0);
	put_slot(map, def_of(0, 0, 1, f->region, 0));
	assert_int_equal(cap(map, KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP, 0, 0), -EINVAL);
	drop_slot(map, 0);
	assert_int_equal(cap(map, KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP, 0, 1), -EINVAL);
	assert_int_equal(mslot_kvm_get_dirty_log(map, &get), -ENXIO);
	assert_int_equal(cap(map, KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP, 0, 0), 0);
	assert_int_equal(mslot_kvm_get_dirty_log(map, &get), -ENOENT);
	end_map(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(enable_refuses),
	    cmocka_unit_test(rings_come_before_vcpus_and_have_a_page_at_least),
	    TEST(calls_that_wait_are_refused_in_callbacks_and_sections),
	    TEST(the_ring_can_be_in_memory_of_the_callers),
	    TEST(entries_are_those_of_kvm),
	    TEST(every_write_of_a_vcpu_is_pushed_once),
	    TEST(others_and_slots_without_log_do_not_push),
	    TEST(a_page_is_in_one_ring_until_it_is_reset),
	    TEST(who_relies_on_an_entry_in_the_making_marks_too),
	    TEST(rings_wrap),
	    TEST(reset_stops_at_what_was_not_collected),
	    TEST(an_entry_is_free_when_it_is_given_back),
	    TEST(soft_full_keeps_a_vcpu_out),
	    TEST(the_reserved_entries_are_for_who_asks),
	    TEST(hard_full_writes_nothing_and_drops_nothing),
	    cmocka_unit_test(kvm_enables_rings_as_kvm_does),
	    TEST(kvm_allows_a_bitmap_before_the_first_slot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
