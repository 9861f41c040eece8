/* SPDX-License-Identifier: MIT */
/*
 * request.h - one KVM memory-slot request: its checks, the kind of change it asks
 * for, and the edit that makes it. Shared by the single calls and the list.
 */
#ifndef MSLOT_KVM_REQUEST_H
#define MSLOT_KVM_REQUEST_H

#include <stdbool.h>

#include <mslot/txn.h>

/* A request in one shape, whichever entry point it came through. */
struct kvm_request {
	struct mslot_key key;
	uint32_t flags;
	uint32_t valid_flags; /* those that the entry point knows */
	uint64_t gpa;
	uint64_t len_bytes;
	uint64_t hva;
	uint64_t memfd_offset; /* looked at with MSLOT_GUEST_MEMFD only */
};

enum kvm_change {
	KVM_CHANGE_NONE, /* the slot is as requested already */
	KVM_CHANGE_CREATE,
	KVM_CHANGE_DELETE,
	KVM_CHANGE_MOVE, /* flags may change too */
	KVM_CHANGE_FLAGS,
};

struct kvm_plan {
	enum kvm_change change;
	bool waits; /* the caller relies on old readers being gone */
	/*
	 * MOVE and FLAGS: the host memory that the slot keeps. It need not be the built-in
	 * region: a transaction may have made the slot, and its owner counts on being asked.
	 */
	struct mslot_region *region;
	uint64_t offset_bytes;
};

/* The slot number of KVM's structs: id in bits 0-15, space in bits 16-31. */
static inline struct mslot_key kvm_key(uint32_t slot)
{
	return (struct mslot_key){.space = slot >> 16, .id = slot & 0xffff};
}

/* Checks that need no slot: id, flags, size, gpa, hva, memfd offset, space, end, page count. */
int kvm_request_check(const struct mslot_map_options *opt, const struct kvm_request *req);

/*
 * Checks against the slot of that name (`old`, NULL if there is none) and the pages of
 * the whole map, and what the request then means. For a request that passed
 * kvm_request_check().
 */
int kvm_request_infer(const struct kvm_request *req, const struct mslot_slot_info *old,
		      uint64_t map_npages, uint64_t len_pages, struct kvm_plan *plan);

/* Both of the above on the current map, between map_write_begin() and map_write_end(). */
int kvm_request_plan(struct mslot_map *map, const struct kvm_request *req, struct kvm_plan *plan);

/* Add the edit of a change other than NONE. Returns as mslot_txn_add(). */
int kvm_request_add(struct mslot_map *map, struct mslot_txn *txn, const struct kvm_request *req,
		    const struct kvm_plan *plan);

/*
 * Commit edits made by kvm_request_add(). `waits` if any of their plans does;
 * `late_errno` as in struct txn_commit_args.
 */
int kvm_commit(struct mslot_txn *txn, bool waits, int late_errno,
	       struct mslot_commit_result *result);

#endif /* MSLOT_KVM_REQUEST_H */
