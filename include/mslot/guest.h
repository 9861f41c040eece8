/* SPDX-License-Identifier: MIT */
/*
 * mslot/guest.h - memory accesses of a vCPU through its root.
 *
 * Each vCPU has a translation cache, direct-mapped by page: an access that hits costs about a
 * nanosecond, inline; one that misses walks the root, faults, and fills the cache. The cache
 * forgets when the vCPU answers a request to flush, and when it gets another root. Accesses may
 * cross pages and slots; one that meets a hole, a read-only page or anything else that fails
 * transfers nothing.
 *
 * All of this happens on the vCPU's thread, inside its section, with a root
 * (mslot_vcpu_root_set()). Pages that are written are marked dirty where slots are logged.
 * The host memory of a region must be mapped (readable, and writable for writes).
 *
 * What the functions return beside 0: -ENOENT no slot (MMIO: complete it with
 * mslot_vcpu_mmio()), -EACCES read-only, -EAGAIN a host invalidation is under way (poll, and
 * try again), -ENOSPC the dirty ring is full, -ENOMEM, what the root's walk() returned, -EINVAL
 * no root, not inside, or what each says.
 */
#ifndef MSLOT_GUEST_H
#define MSLOT_GUEST_H

#include <string.h>

#include <mslot/mmu.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- The cache ---------------------------------------------------------- */

#define MSLOT_TLB_ENTRIES 256u

/* One page. A tag is the page's address with the cache's epoch in the bits below a page. */
struct mslot_tlb_entry {
	uint64_t read_tag;  /* as is, for reads */
	uint64_t write_tag; /* and for writes: they were marked when it was filled in */
	uint64_t addend;    /* address + addend = host address */
	uint64_t reserved;
};

/* How a vCPU begins: for the inline functions below alone. */
struct mslot_vcpu_head {
	struct mslot_tlb_entry *tlb; /* MSLOT_TLB_ENTRIES of them */
	uint64_t epoch;              /* below a page; never 0 */
	uint64_t page_mask;          /* of an address's bits above a page */
	uint32_t page_shift;
	uint32_t reserved;
};

/*
 * mslot_vcpu_hit() - host address of a guest access, if the cache has it. Inline.
 *   vcpu         the vCPU, inside its section
 *   addr         address in its root; need not be aligned
 *   size_bytes   1 to 4096
 *   access       what for
 * Returns the host address, or NULL: not in the cache, or the access crosses a page.
 * Context: the vCPU's thread. Wait-free.
 * Lifetime: until the section ends.
 */
MSLOT_INLINE void *mslot_vcpu_hit(const struct mslot_vcpu *vcpu, uint64_t addr,
				  unsigned int size_bytes, enum mslot_access access);

static inline void *mslot_vcpu_hit(const struct mslot_vcpu *vcpu, uint64_t addr,
				   unsigned int size_bytes, enum mslot_access access)
{
	const struct mslot_vcpu_head *head =
	    (const struct mslot_vcpu_head *)(const void *)vcpu;
	const struct mslot_tlb_entry *entry =
	    &head->tlb[(addr >> head->page_shift) & (MSLOT_TLB_ENTRIES - 1)];
	uint64_t tag = access == MSLOT_WRITE ? entry->write_tag : entry->read_tag;

	if (__builtin_expect(tag != ((addr & head->page_mask) | head->epoch), 0) ||
	    __builtin_expect((addr & ~head->page_mask) + size_bytes > ~head->page_mask + 1, 0))
		return NULL;
	return (void *)(uintptr_t)(addr + entry->addend);
}

#ifdef __cplusplus
}
#endif

#endif /* MSLOT_GUEST_H */
