/* SPDX-License-Identifier: MIT */
/*
 * ring.h - a vCPU's dirty ring from inside.
 */
#ifndef MSLOT_ACCESS_RING_H
#define MSLOT_ACCESS_RING_H

#include <mslot/access.h>
#include <mslot/vcpu.h>

#include "log/log.h"
#include "map/slot.h"

/* What an entry means, whatever is committed later. Written before the entry's flags. */
struct ring_cell {
	struct log_extent *extent; /* own reference */
	uint64_t bit;              /* page of the extent */
	uint64_t gfn;              /* through which it was written */
	struct mslot_key key;
};

/* Counts wrap; entry i is that at i % size. */
struct ring {
	struct mslot_ring_entry *entries; /* page aligned; NULL: the vCPU has no ring */
	struct ring_cell *cells;          /* behind them, where they are ours */
	void *memory;                     /* what ring_fini() frees */
	uint32_t size;
	uint32_t collected;                  /* the consumer's */
	_Atomic uint32_t pushed;             /* stored by the vCPU's thread */
	_Alignas(64) _Atomic uint32_t reset; /* stored under vcpus_lock */
};

/*
 * A ring of so many entries; 0: none. They are in `lent`, zeroed memory of the caller's that is
 * aligned to a page, or, where that is NULL, in our own. Returns 0 or -ENOMEM.
 */
int ring_init(struct ring *ring, uint32_t entries, unsigned int page_shift, void *lent);
void ring_fini(struct ring *ring);

/* Entries that there is room for. The vCPU's thread. */
static inline uint32_t ring_room(const struct ring *ring)
{
	uint32_t pushed = atomic_load_explicit(&ring->pushed, memory_order_relaxed);

	/* Acquire: the reset's reads before our next entry. Pairs with take_entry(). */
	return ring->size - (pushed - atomic_load_explicit(&ring->reset, memory_order_acquire));
}

/* Is so little left that the vCPU must not go on before a reset? */
static inline bool ring_soft_full(const struct ring *ring)
{
	return ring->entries && ring_room(ring) <= MSLOT_RING_RESERVED;
}

/*
 * What is in the ring of a vCPU that goes away: entries not collected become marks, the others
 * are reset. vcpus_lock held, in a section. Returns whether there were any.
 */
bool ring_drain(struct ring *ring);

/*
 * Push the pages of a checked span that the calling thread's vCPU is going to write, in the
 * section of the write. Returns 0, or -ENOSPC when there is no room for all of them: then
 * nothing may be written.
 */
int ring_admit(struct mslot_vcpu *vcpu, const struct mslot_snapshot *snap, struct mslot_addr to,
	       uint64_t len_bytes);
/* Push n frames of a logged slot that were written, or mark them where there is no room. */
void ring_wrote(struct mslot_vcpu *vcpu, const struct mslot_snapshot *snap,
		const struct mslot_slot *slot, uint64_t gfn, uint64_t n);

#endif /* MSLOT_ACCESS_RING_H */
