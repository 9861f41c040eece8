/* SPDX-License-Identifier: MIT */
/*
 * ring_fixture.h - a map with rings, two vCPUs and one logged slot, and short words for the tests
 * of rings. Frames and pages are numbers of pages of 4096 bytes.
 */
#ifndef MSLOT_TESTS_RING_FIXTURE_H
#define MSLOT_TESTS_RING_FIXTURE_H

#include "dirty_fixture.h"

#include <sys/mman.h>

#include <mslot/mslot.h>

#include "access/vcpu.h"
#include "base/alloc.h"
#include "base/perturb.h"

#define SIZE 256u
#define SOFT (SIZE - MSLOT_RING_RESERVED)
#define HOST_PAGES UINT64_C(1024)

struct fixture {
	struct mslot_map *map;
	struct mslot_region *region;
	unsigned char *host;
	struct mslot_vcpu *vcpu[2];
};

static inline struct mslot_vcpu *make_vcpu(struct mslot_map *map)
{
	struct mslot_vcpu *vcpu = NULL;

	assert_int_equal(mslot_vcpu_create(map, NULL, &vcpu), 0);
	return vcpu;
}

/* Slot 1 shows pages [0, 512) at frame 0, logged. */
static inline int setup(void **state)
{
	static struct fixture f;
	struct mslot_slot_def def;

	f.map = make_map(NULL);
	f.host = mmap(NULL, PAGES(HOST_PAGES), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	assert_true(f.host != MAP_FAILED);
	f.region = make_region((uintptr_t)f.host, HOST_PAGES);
	def = def_of(1, 0, 512, f.region, 0);
	def.flags = LOG;
	put_slot(f.map, def);
	assert_int_equal(mslot_ring_enable(f.map, SIZE * sizeof(struct mslot_ring_entry),
					   MSLOT_RING_WITH_BITMAP),
			 0);
	f.vcpu[0] = make_vcpu(f.map);
	f.vcpu[1] = make_vcpu(f.map);
	*state = &f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	perturb_hook = NULL;
	assert_int_equal(mslot_vcpu_destroy(f->vcpu[0]), 0);
	assert_int_equal(mslot_vcpu_destroy(f->vcpu[1]), 0);
	end_map(f->map);
	mslot_region_put(f->region);
	assert_int_equal(munmap(f->host, PAGES(HOST_PAGES)), 0);
	return 0;
}

/* ---- Short words ---------------------------------------------------------- */

/* A byte to each of n frames, in one write each. Returns the first error. */
static inline int write_frames(struct mslot_vcpu *vcpu, uint64_t gfn, uint64_t n)
{
	const struct mslot_snapshot *snap;
	int err = mslot_vcpu_enter(vcpu, &snap);

	if (err)
		return err;
	for (; n > 0 && !err; n--, gfn++)
		err = mslot_write(snap, (struct mslot_addr){0, PAGES(gfn)}, "x", 1);
	mslot_vcpu_leave(vcpu);
	return err;
}

/* Say afterwards that n frames were written. */
static inline void tell(struct mslot_vcpu *vcpu, uint64_t gfn, uint64_t n)
{
	const struct mslot_snapshot *snap;

	assert_int_equal(mslot_vcpu_enter(vcpu, &snap), 0);
	mslot_mark_dirty(snap, (struct mslot_addr){0, PAGES(gfn)}, PAGES(n));
	mslot_vcpu_leave(vcpu);
}

/* A vCPU's ring has exactly these frames, as they were pushed, of pages from `page` on. */
static inline void expect_ring(struct fixture *f, struct mslot_vcpu *vcpu, uint32_t id,
			       uint64_t gfn, uint64_t n, uint64_t page)
{
	struct mslot_ring_page out[SIZE + 1];

	memset(out, 0xff, sizeof(out));
	assert_int_equal(mslot_vcpu_collect(vcpu, out, SIZE + 1), n);
	for (uint64_t i = 0; i < n; i++) {
		assert_int_equal(out[i].key.space, 0);
		assert_int_equal(out[i].key.id, id);
		assert_int_equal(out[i].gpa, PAGES(gfn + i));
		assert_int_equal(out[i].hva, (uintptr_t)f->host + PAGES(page + i));
	}
}

static inline void expect_empty(struct fixture *f, struct mslot_vcpu *vcpu)
{
	expect_ring(f, vcpu, 0, 0, 0, 0);
}

/* What KVM's call says of slot 1, and that is n pages from `first` on. */
static inline void expect_bitmap(struct fixture *f, uint64_t first, uint64_t n)
{
	uint64_t bitmap[8];
	struct kvm_dirty_log log = {.slot = 1, .dirty_bitmap = bitmap};

	memset(bitmap, 0, sizeof(bitmap));
	assert_int_equal(mslot_kvm_get_dirty_log(f->map, &log), 0);
	assert_int_equal(bitmap_count(bitmap, 0, 512), n);
	assert_int_equal(bitmap_count(bitmap, first, n), n);
}

static inline void commit(struct mslot_txn *txn, int index)
{
	assert_int_equal(index, 0);
	assert_int_equal(finish(txn, NULL), 0);
}

static inline void split_at(struct fixture *f, uint64_t gfn)
{
	const struct mslot_part part = {.id = 2, .gpa = PAGES(gfn)};
	struct mslot_txn *txn = begin(f->map);

	commit(txn, mslot_txn_split(txn, (struct mslot_key){0, 1}, &part, 1));
}

static inline void move_to(struct fixture *f, uint32_t id, uint64_t gfn)
{
	struct mslot_txn *txn = begin(f->map);

	commit(txn, mslot_txn_move(txn, (struct mslot_key){0, id}, PAGES(gfn)));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif /* MSLOT_TESTS_RING_FIXTURE_H */
