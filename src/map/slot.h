/* SPDX-License-Identifier: MIT */
/*
 * slot.h - slot descriptors and regions.
 *
 * A descriptor is immutable from the publish of its first snapshot to the grace
 * period after its last one; only the link is written in between, by the writer, and
 * readers never look at it. An edit makes a new descriptor.
 */
#ifndef MSLOT_MAP_SLOT_H
#define MSLOT_MAP_SLOT_H

#include <stdatomic.h>
#include <stdbool.h>

#include <mslot/map.h>

#include "base/pool.h"
#include "log/log.h"

struct mslot_slot {
	struct pool_link link;
	uint64_t base_gfn;
	uint64_t npages;
	uint64_t hva; /* of base_gfn: region's hva + offset in it */
	struct mslot_region *region;
	struct log_view *log; /* bits of its pages; owned; NULL: not logged */
	uint32_t id;
	uint8_t space;
	uint8_t flags;
	uint8_t page_shift;
	uint8_t is_private;
};

_Static_assert(sizeof(struct mslot_slot) == 64, "a slot descriptor is one cache line");

static inline uint64_t slot_end_gfn(const struct mslot_slot *slot)
{
	return slot->base_gfn + slot->npages;
}

static inline uint64_t slot_len_bytes(const struct mslot_slot *slot)
{
	return slot->npages << slot->page_shift;
}

/* The key of the id index, and the tie that orders slots of one hva. */
static inline uint64_t slot_name(uint32_t space, uint32_t id)
{
	return (uint64_t)space << 32 | id;
}

static inline uint64_t slot_name_of(const struct mslot_slot *slot)
{
	return slot_name(slot->space, slot->id);
}

/* The same of an index entry's item. */
static inline uint64_t slot_tie(const void *item)
{
	return slot_name_of(item);
}

/*
 * References: one of the creator, one of each descriptor that is not freed, one of
 * each transaction that names the region. At zero `release` is queued to the reclaimer, once
 * no lease holds the region's memory.
 */
struct mslot_region {
	struct mslot_region_options opt;
	_Atomic uint64_t refs;
	_Atomic bool leased; /* ever; stored in the section that takes a lease */
	bool built_in;       /* part of a map: never freed by reference */
	bool parked;         /* no reference is left, but maybe leases; lease_scan.c */
	bool needed;         /* by a lease, says the scan in progress */
	struct mslot_region *release_next; /* the parked ones, or the reclaimer's queue */
};

/* n references at once: counting is what costs. */
void region_get(struct mslot_region *region, uint64_t n);
void region_unref(struct mslot_region *region, uint64_t n);

static inline uint64_t slot_offset_bytes(const struct mslot_slot *slot)
{
	return slot->hva - (uintptr_t)slot->region->opt.hva;
}

/* The page of the region that a frame of the slot shows: how logs name it. */
static inline uint64_t slot_log_page(const struct mslot_slot *slot, uint64_t gfn)
{
	return slot->log->first + (gfn - slot->base_gfn);
}

#endif /* MSLOT_MAP_SLOT_H */
