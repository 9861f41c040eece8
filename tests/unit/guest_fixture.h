/* SPDX-License-Identifier: MIT */
/*
 * guest_fixture.h - a map whose memory is there, an MMU, a direct and a shadow root, and a vCPU
 * that accesses through one of them.
 *
 *   frames          slot   pages of the host memory
 *   0 - 64          1      0 - 64, logged
 *   64 - 72         2      100 - 108
 *   72 - 76         3      120 - 124, read-only
 *   76 -                   nothing
 *   1024 - 1624     4      128 - 728
 *
 * The shadow root's addresses begin at SHADOW; its pages are frames in pairs changed about.
 */
#ifndef MSLOT_TESTS_GUEST_FIXTURE_H
#define MSLOT_TESTS_GUEST_FIXTURE_H

#include "dirty_fixture.h"

#include <sys/mman.h>

#include <mslot/mslot.h>

#include "access/vcpu.h"
#include "base/perturb.h"
#include "map/vcpus.h"

#define SHADOW UINT64_C(0x100000000000)
#define HOST_PAGES UINT64_C(768)
#define SHOWN_PAGES UINT64_C(128) /* those of slots 1 to 3 are among them */
#define HOLE 76u
/* Pages of the shadow root that the guest's own tables do not map, or not for writing. */
#define UNMAPPED_PAGE 40u
#define GUEST_READONLY_PAGE 44u

struct fixture {
	struct mslot_map *map;
	struct mslot_region *region;
	unsigned char *host;
	unsigned char *twin; /* what the memory should be */
	struct mslot_mmu *mmu;
	struct mslot_root *direct, *shadow;
	struct mslot_vcpu *vcpu;
	uint64_t base; /* of the root's addresses */
	unsigned int walks;
};

static inline uint64_t frame_of(uint64_t addr)
{
	return addr < SHADOW ? addr / PAGE : ((addr - SHADOW) / PAGE) ^ 1;
}

static inline int walk_pairs(void *ctx, struct mslot_vcpu *vcpu, uint64_t addr,
			     enum mslot_access access, struct mslot_walk *out)
{
	struct fixture *f = ctx;
	uint64_t page = (addr - SHADOW) / PAGE;

	assert_ptr_equal(vcpu, f->vcpu);
	f->walks++;
	if (page == UNMAPPED_PAGE || (page == GUEST_READONLY_PAGE && access == MSLOT_WRITE))
		return -EFAULT;
	*out = (struct mslot_walk){
	    .gpa = PAGES(frame_of(addr)) + addr % PAGE,
	    .level = 1,
	    .guest_readonly = page == GUEST_READONLY_PAGE,
	};
	return 0;
}

/* Offset in the host memory of what is at an address, or -ENOENT, -EACCES, -EFAULT. */
static inline int64_t place_of(uint64_t addr, enum mslot_access access)
{
	uint64_t frame = frame_of(addr), page = (addr - SHADOW) / PAGE;

	if (addr >= SHADOW &&
	    (page == UNMAPPED_PAGE || (page == GUEST_READONLY_PAGE && access == MSLOT_WRITE)))
		return -EFAULT;
	if (frame < 64)
		page = frame;
	else if (frame < 72)
		page = frame + 36;
	else if (frame < HOLE)
		page = frame + 48;
	else if (frame >= 1024 && frame < 1624)
		page = frame - 896;
	else
		return -ENOENT;
	if (frame >= 72 && frame < HOLE && access == MSLOT_WRITE)
		return -EACCES;
	return (int64_t)(page * PAGE + addr % PAGE);
}

static inline void put_flagged(struct mslot_map *map, struct mslot_slot_def def, uint32_t flags)
{
	def.flags = flags;
	put_slot(map, def);
}

static inline void make_roots(struct fixture *f)
{
	struct mslot_root_options opt = {.kind = MSLOT_ROOT_DIRECT};

	assert_int_equal(mslot_mmu_create(f->map, NULL, &f->mmu), 0);
	assert_int_equal(mslot_root_create(f->mmu, &opt, &f->direct), 0);
	opt = (struct mslot_root_options){.kind = MSLOT_ROOT_SHADOW, .walk = walk_pairs, .ctx = f};
	assert_int_equal(mslot_root_create(f->mmu, &opt, &f->shadow), 0);
}

static inline void use_root(struct fixture *f, struct mslot_root *root)
{
	assert_int_equal(mslot_vcpu_root_set(f->vcpu, root), 0);
	f->base = root == f->shadow ? SHADOW : 0;
}

static inline void fixture_begin(struct fixture *f, bool rings)
{
	memset(f, 0, sizeof(*f));
	f->map = make_map(NULL);
	f->host = mmap(NULL, PAGES(HOST_PAGES), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);
	assert_true(f->host != MAP_FAILED);
	f->twin = malloc(PAGES(HOST_PAGES));
	assert_non_null(f->twin);
	for (uint64_t i = 0; i < PAGES(HOST_PAGES); i++)
		f->host[i] = f->twin[i] = (unsigned char)((i * 2654435761u) >> 13);
	f->region = make_region((uintptr_t)f->host, HOST_PAGES);
	put_flagged(f->map, def_of(1, 0, 64, f->region, 0), LOG);
	put_slot(f->map, def_of(2, 64, 8, f->region, 100));
	put_flagged(f->map, def_of(3, 72, 4, f->region, 120), MSLOT_READONLY);
	put_slot(f->map, def_of(4, 1024, 600, f->region, 128));
	if (rings)
		assert_int_equal(mslot_ring_enable(f->map, 256 * sizeof(struct mslot_ring_entry),
						   MSLOT_RING_WITH_BITMAP),
				 0);
	make_roots(f);
	assert_int_equal(mslot_vcpu_create(f->map, NULL, &f->vcpu), 0);
	use_root(f, f->direct);
}

static inline int setup(void **state)
{
	static struct fixture f;

	fixture_begin(&f, false);
	*state = &f;
	return 0;
}

static inline int setup_rings(void **state)
{
	static struct fixture f;

	fixture_begin(&f, true);
	*state = &f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;
	const char *why = "";

	if (mslot_check_mmu(f->mmu, &why))
		fail_msg("%s", why);
	if (f->vcpu->root == f->direct)
		assert_int_equal(mslot_root_destroy(f->direct), -EBUSY);
	/* It drops the root's count. */
	assert_int_equal(mslot_vcpu_destroy(f->vcpu), 0);
	assert_int_equal(mslot_root_destroy(f->direct), 0);
	assert_int_equal(mslot_root_destroy(f->shadow), 0);
	assert_int_equal(mslot_mmu_destroy(f->mmu), 0);
	assert_int_equal(mslot_map_destroy(f->map), 0);
	mslot_region_put(f->region);
	free(f->twin);
	return munmap(f->host, PAGES(HOST_PAGES));
}

static inline void enter(struct fixture *f)
{
	const struct mslot_snapshot *snap;

	assert_int_equal(mslot_vcpu_enter(f->vcpu, &snap), 0);
}

static inline void leave(struct fixture *f)
{
	mslot_vcpu_leave(f->vcpu);
}

/* A section anew, for whatever was asked meanwhile. */
static inline void enter_again(struct fixture *f)
{
	const struct mslot_snapshot *snap;

	assert_int_equal(mslot_vcpu_poll(f->vcpu, &snap), 0);
}

static inline uint64_t faults(struct fixture *f)
{
	struct mslot_mmu_stats stats;

	mslot_mmu_stats_get(f->mmu, &stats);
	return stats.faults + stats.mmio;
}

#endif /* MSLOT_TESTS_GUEST_FIXTURE_H */
