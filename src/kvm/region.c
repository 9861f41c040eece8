/* SPDX-License-Identifier: MIT */
/*
 * region.c - KVM_SET_USER_MEMORY_REGION and its version 2 on a map.
 *
 * Steps: take the writer mutex; check the request and infer the change from the
 * published map; commit one edit; give the mutex back; and where the caller is going
 * to unmap (DELETE, MOVE) or to trust the dirty log (LOG_DIRTY on), wait for readers
 * that entered before the publish.
 */
#include <mslot/kvm.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>

#include "kvm/request.h"
#include "map/txn.h"
#include "map/writer.h"

static_assert(sizeof(struct mslot_kvm_userspace_memory_region2) == 160, "the kernel's layout");
static_assert(offsetof(struct mslot_kvm_userspace_memory_region2, guest_memfd) == 40,
	      "the kernel's layout");

/* With a transaction on the stack: nothing is allocated before the request was checked. */
static int commit_one(struct mslot_map *map, const struct kvm_request *req,
		      const struct kvm_plan *plan, int late_errno)
{
	struct mslot_txn txn;
	int err;

	txn_init(&txn, map);
	err = kvm_request_add(map, &txn, req, plan);
	if (err >= 0)
		err = kvm_commit(&txn, plan->waits, late_errno, NULL);
	txn_fini(&txn);
	return err;
}

static int set_region(struct mslot_map *map, const struct kvm_request *req, int late_errno)
{
	struct kvm_plan plan = {.change = KVM_CHANGE_NONE};
	int err;

	err = map_write_begin(map);
	if (err)
		return err;
	err = kvm_request_plan(map, req, &plan);
	if (!err && plan.change != KVM_CHANGE_NONE)
		err = commit_one(map, req, &plan, late_errno);
	map_write_end(map);
	if (!err && plan.waits)
		map_synchronize(map);
	return err;
}

int mslot_kvm_set_user_memory_region(struct mslot_map *map,
				     const struct kvm_userspace_memory_region *region)
{
	const struct kvm_request req = {
	    .key = kvm_key(region->slot),
	    .flags = region->flags,
	    .valid_flags = MSLOT_LOG_DIRTY | MSLOT_READONLY,
	    .gpa = region->guest_phys_addr,
	    .len_bytes = region->memory_size,
	    .hva = region->userspace_addr,
	};

	return set_region(map, &req, 0);
}

/* Only a CREATE gets as far as using this: a delete passes it by, all else fails before. */
static int memfd_errno(const struct mslot_kvm_userspace_memory_region2 *region)
{
	const int saved_errno = errno;
	int ret = 0;

	if (region->flags & MSLOT_GUEST_MEMFD && region->memory_size &&
	    fcntl((int)region->guest_memfd, F_GETFD) < 0)
		ret = -EBADF;
	errno = saved_errno;
	return ret;
}

int mslot_kvm_set_user_memory_region2(struct mslot_map *map,
				      const struct mslot_kvm_userspace_memory_region2 *region)
{
	const struct kvm_request req = {
	    .key = kvm_key(region->slot),
	    .flags = region->flags,
	    .valid_flags = MSLOT_LOG_DIRTY | MSLOT_READONLY | MSLOT_GUEST_MEMFD,
	    .gpa = region->guest_phys_addr,
	    .len_bytes = region->memory_size,
	    .hva = region->userspace_addr,
	    .memfd_offset = region->guest_memfd_offset,
	};

	return set_region(map, &req, memfd_errno(region));
}
