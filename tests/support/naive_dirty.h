/* SPDX-License-Identifier: MIT */
/*
 * naive_dirty.h - KVM's dirty log the slow and obvious way: one bool a page.
 *
 * It does not judge requests for slots: it is told of those that were accepted. What it
 * knows of the calls of the dirty log was found out by asking a kernel: see data/README.md.
 */
#ifndef NAIVE_DIRTY_H
#define NAIVE_DIRTY_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct naive_dirty_slot {
	uint32_t slot; /* space << 16 | id */
	uint32_t flags;
	uint64_t gpa;
	uint64_t npages;
	bool *dirty; /* npages of them; NULL where nothing is logged */
};

struct naive_dirty {
	uint32_t nspaces;
	uint32_t max_user_slots;
	bool manual;    /* a get leaves the bits */
	bool initially; /* switching the log on sets all bits */
	bool ring;      /* no bitmaps any more */
	struct naive_dirty_slot *slot;
	size_t nslots;
};

void ndirty_init(struct naive_dirty *d, uint32_t nspaces, uint32_t max_user_slots);
void ndirty_fini(struct naive_dirty *d);

/* What follows from a request that was accepted. */
void ndirty_region(struct naive_dirty *d, const struct kvm_userspace_memory_region *region);
/* The guest writes to a page of a slot; ignored where nothing is logged. */
void ndirty_write(struct naive_dirty *d, uint32_t slot, uint64_t page);

/* The ioctls; bitmaps are words of 64 pages, the last one padded. */
int ndirty_enable_cap(struct naive_dirty *d, const struct kvm_enable_cap *cap);
int ndirty_get(struct naive_dirty *d, const struct kvm_dirty_log *log);
int ndirty_clear(struct naive_dirty *d, const struct kvm_clear_dirty_log *log);

#endif /* NAIVE_DIRTY_H */
