/* SPDX-License-Identifier: MIT */
/*
 * locate.h - from a guest-physical address to host memory and how far it goes.
 */
#ifndef MSLOT_ACCESS_LOCATE_H
#define MSLOT_ACCESS_LOCATE_H

#include <errno.h>

#include <mslot/access.h>

#include "access/vcpu.h"
#include "map/logging.h"
#include "map/slot.h"

/*
 * Aligned transfers of these sizes are single atomic accesses, so the aliased types
 * must be allowed to look at memory of any type.
 */
typedef uint8_t __attribute__((may_alias)) access_u8;
typedef uint16_t __attribute__((may_alias)) access_u16;
typedef uint32_t __attribute__((may_alias)) access_u32;
typedef uint64_t __attribute__((may_alias)) access_u64;

static inline bool access_atomic_size(uint64_t bytes)
{
	return bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8;
}

/* The slot at `at` that allows the access. Returns 0, -ENOENT or -EACCES. */
static inline int access_slot(const struct mslot_snapshot *snap, struct mslot_addr at,
			      enum mslot_access access, const struct mslot_slot **out)
{
	const struct mslot_slot *slot = mslot_find(snap, at.space, at.gpa);

	if (!slot)
		return -ENOENT;
	if (access == MSLOT_WRITE && slot->flags & MSLOT_READONLY)
		return -EACCES;
	*out = slot;
	return 0;
}

/* First and one past the last guest-physical byte of a slot; slots end below 2^64. */
static inline uint64_t access_slot_start(const struct mslot_slot *slot)
{
	return slot->base_gfn << slot->page_shift;
}

static inline uint64_t access_slot_end(const struct mslot_slot *slot)
{
	return slot_end_gfn(slot) << slot->page_shift;
}

/*
 * Before the stores to a checked span: where a vCPU writes, into its ring with the pages.
 * Returns 0 or -ENOSPC.
 */
static inline int access_will_write(const struct mslot_snapshot *snap, struct mslot_addr to,
				    uint64_t bytes)
{
	struct mslot_vcpu *vcpu = vcpu_ringing(snap);

	return vcpu && bytes > 0 ? ring_admit(vcpu, snap, to, bytes) : 0;
}

/*
 * Note that `bytes` > 0 from gpa on, all in the slot, were stored to: after the stores, in the
 * section or hold in which the slot was found, and in the vCPU's section, if it is in one, of
 * access_will_write().
 */
static inline void access_wrote(const struct mslot_snapshot *snap, const struct mslot_slot *slot,
				uint64_t gpa, uint64_t bytes)
{
	uint64_t first, last;

	if (!slot->log)
		return;
	first = gpa >> slot->page_shift;
	last = (gpa + (bytes - 1)) >> slot->page_shift;
	if (slot->flags & MSLOT_LOG_DIRTY && vcpu_ringing(snap))
		log_mark_beside_ring(slot->log, slot_log_page(slot, first), last - first + 1);
	else
		logging_mark(slot, slot_log_page(slot, first), last - first + 1);
}

#endif /* MSLOT_ACCESS_LOCATE_H */
