/* SPDX-License-Identifier: MIT */
/*
 * kvm_calls.h - requests and what became of them, for the tests of the KVM entry points.
 */
#ifndef TESTS_UNIT_KVM_CALLS_H
#define TESTS_UNIT_KVM_CALLS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <mslot/kvm.h>
#include <mslot/txn.h>

#define P UINT64_C(0x1000)
#define HVA UINT64_C(0x200000000000)
#define HVA_LIMIT UINT64_C(0x7ffffffff000)
#define GPA_LIMIT (UINT64_C(1) << 52)
#define LOG MSLOT_LOG_DIRTY
#define RO MSLOT_READONLY
#define MEMFD MSLOT_GUEST_MEMFD

struct req {
	uint32_t slot, flags;
	uint64_t gpa, size, hva;
};

static inline int set(struct mslot_map *map, struct req r)
{
	const struct kvm_userspace_memory_region region = {
	    .slot = r.slot,
	    .flags = r.flags,
	    .guest_phys_addr = r.gpa,
	    .memory_size = r.size,
	    .userspace_addr = r.hva,
	};

	return mslot_kvm_set_user_memory_region(map, &region);
}

static inline int set2(struct mslot_map *map, struct req r, uint64_t offset, int fd)
{
	struct mslot_kvm_userspace_memory_region2 region = {
	    .slot = r.slot,
	    .flags = r.flags,
	    .guest_phys_addr = r.gpa,
	    .memory_size = r.size,
	    .userspace_addr = r.hva,
	    .guest_memfd_offset = offset,
	    .guest_memfd = (uint32_t)fd,
	    .pad1 = 77, /* pads are ignored */
	};

	memset(region.pad2, 0xff, sizeof(region.pad2));
	return mslot_kvm_set_user_memory_region2(map, &region);
}

static inline uint64_t generation(struct mslot_map *map)
{
	const struct mslot_snapshot *snap = mslot_enter(map);
	const uint64_t gen = mslot_snapshot_generation(snap);

	mslot_leave(snap);
	return gen;
}

static inline bool find(struct mslot_map *map, uint32_t slot, struct mslot_slot_info *info)
{
	const struct mslot_snapshot *snap = mslot_enter(map);
	const struct mslot_slot *found =
	    mslot_find_id(snap, (struct mslot_key){slot >> 16, slot & 0xffff});

	if (found)
		mslot_slot_info_get(found, info);
	mslot_leave(snap);
	return found != NULL;
}

static inline void assert_slot(struct mslot_map *map, struct req r)
{
	struct mslot_slot_info info;

	assert_true(find(map, r.slot, &info));
	assert_true(info.gpa == r.gpa && info.len_bytes == r.size && info.hva == r.hva);
	assert_true(info.offset_bytes == r.hva);
	assert_int_equal(info.flags, r.flags);
	assert_int_equal(info.is_private, 0);
}

static inline void assert_absent(struct mslot_map *map, uint32_t slot)
{
	struct mslot_slot_info info;

	assert_false(find(map, slot, &info));
}

/* An effective request: one generation further. */
static inline void assert_set(struct mslot_map *map, struct req r)
{
	const uint64_t gen = generation(map);

	assert_int_equal(set(map, r), 0);
	assert_true(generation(map) == gen + 1);
	if (r.size)
		assert_slot(map, r);
	else
		assert_absent(map, r.slot);
}

static inline void assert_refused(struct mslot_map *map, struct req r, int err)
{
	struct mslot_slot_info before, after;
	const uint64_t gen = generation(map);
	const bool there = find(map, r.slot, &before);

	assert_int_equal(set(map, r), err);
	assert_true(generation(map) == gen);
	assert_true(find(map, r.slot, &after) == there);
	if (there)
		assert_memory_equal(&before, &after, sizeof(before));
}

static inline struct mslot_map *make_map(uint32_t page_shift, uint32_t nspaces)
{
	const struct mslot_map_options opt = {.page_shift = page_shift, .nspaces = nspaces};
	struct mslot_map *map;

	assert_int_equal(mslot_map_create(&opt, &map), 0);
	return map;
}

#endif /* TESTS_UNIT_KVM_CALLS_H */
