/* SPDX-License-Identifier: MIT */
/*
 * tlb.h - a vCPU's cache of translations, direct-mapped by page.
 *
 * Data. An entry answers reads where its read_tag is the page's address with the epoch in the
 * bits below a page, and writes where its write_tag is. Beside it, a few pages at which there is
 * no slot, for which the map's serial number is part of the key: any commit makes the vCPU ask
 * again, asked to flush or not.
 *
 * Invariants
 *   B1 the epoch is 1 to page size - 1: an entry that is all zeros answers nothing
 *   B2 a write_tag that answers is equal to the read_tag
 *   B3 no entry has a tag of an epoch that is not the present one, and will come again before the
 *      entries are cleared
 *
 * Only the vCPU's thread touches it, or whoever has the vCPU while no thread runs it. To forget
 * all is to go to the next epoch; only when they are used up are the entries cleared.
 */
#ifndef MSLOT_ACCESS_TLB_H
#define MSLOT_ACCESS_TLB_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <mslot/access.h>
#include <mslot/vcpu.h>

#define TLB_HOLES 8u

/* A page without a slot. */
struct tlb_hole {
	uint64_t tag[2]; /* for reads, for writes; as those of entries */
	uint64_t serial; /* of the snapshot in which there was none */
	uint64_t gpa;    /* of the page */
};

/* How a vCPU begins, and goes on. */
struct tlb {
	struct mslot_vcpu_head head;
	struct tlb_hole hole[TLB_HOLES];
};

_Static_assert(sizeof(struct mslot_tlb_entry) == 32 && MSLOT_TLB_ENTRIES == 256,
	       "entry_shift is for entries of 2^5 bytes");
_Static_assert(offsetof(struct mslot_vcpu_head, tlb) == 64, "entries share no lines");

static inline struct tlb *tlb_of(struct mslot_vcpu_head *head)
{
	return (struct tlb *)(void *)head;
}

static inline void tlb_init(struct mslot_vcpu_head *head, unsigned int page_shift)
{
	memset(head, 0, sizeof(struct tlb));
	head->epoch = 1;
	head->page_mask = ~((UINT64_C(1) << page_shift) - 1);
	head->page_shift = page_shift;
	head->entry_shift = page_shift - 5;
}

static inline uint64_t tlb_tag(const struct mslot_vcpu_head *head, uint64_t addr)
{
	return (addr & head->page_mask) | head->epoch;
}

static inline struct mslot_tlb_entry *tlb_entry(struct mslot_vcpu_head *head, uint64_t addr)
{
	return &head->tlb[(addr >> head->page_shift) % MSLOT_TLB_ENTRIES];
}

/* Forget everything. */
static inline void tlb_flush(struct mslot_vcpu_head *head)
{
	if (++head->epoch > ~head->page_mask) {
		memset(head->tlb, 0, sizeof(head->tlb));
		memset(tlb_of(head)->hole, 0, sizeof(tlb_of(head)->hole));
		head->epoch = 1;
	}
}

/*
 * Note that the page of `addr` is at that of `hva`, and whether it may be written to until the
 * next flush. What was said of it in this epoch stays: it goes with a flush alone.
 */
static inline void tlb_fill(struct mslot_vcpu_head *head, uint64_t addr, uint64_t hva,
			    bool writable)
{
	struct mslot_tlb_entry *entry = tlb_entry(head, addr);
	uint64_t tag = tlb_tag(head, addr), addend = hva - addr;

	if (entry->write_tag != tag || entry->addend != addend)
		entry->write_tag = 0;
	entry->read_tag = tag;
	entry->addend = addend;
	if (writable)
		entry->write_tag = tag;
}

/* ---- Pages without a slot ---- */

static inline struct tlb_hole *tlb_hole(struct mslot_vcpu_head *head, uint64_t addr)
{
	return &tlb_of(head)->hole[(addr >> head->page_shift) % TLB_HOLES];
}

/* Note that at `addr`, which means `gpa`, there is no slot in the snapshot of this serial. */
static inline void tlb_fill_hole(struct mslot_vcpu_head *head, uint64_t addr, uint64_t gpa,
				 enum mslot_access access, uint64_t serial)
{
	struct tlb_hole *hole = tlb_hole(head, addr);
	uint64_t tag = tlb_tag(head, addr), page = gpa & head->page_mask;

	/* What may be read need not be writable: the guest's tables answer for each by itself. */
	if (hole->serial != serial || hole->gpa != page || hole->tag[access != MSLOT_WRITE] != tag)
		hole->tag[access != MSLOT_WRITE] = 0;
	hole->tag[access == MSLOT_WRITE] = tag;
	hole->serial = serial;
	hole->gpa = page;
}

/* Is it known that there is no slot? Then *gpa is what `addr` means. */
static inline bool tlb_find_hole(struct mslot_vcpu_head *head, uint64_t addr,
				 enum mslot_access access, uint64_t serial, uint64_t *gpa)
{
	const struct tlb_hole *hole = tlb_hole(head, addr);

	if (hole->tag[access == MSLOT_WRITE] != tlb_tag(head, addr) || hole->serial != serial)
		return false;
	*gpa = hole->gpa | (addr & ~head->page_mask);
	return true;
}

/* Forget the page of `addr`. */
static inline void tlb_forget(struct mslot_vcpu_head *head, uint64_t addr)
{
	struct mslot_tlb_entry *entry = tlb_entry(head, addr);
	struct tlb_hole *hole = tlb_hole(head, addr);
	uint64_t tag = tlb_tag(head, addr);

	if (entry->read_tag == tag)
		entry->read_tag = entry->write_tag = 0;
	if (hole->tag[0] == tag)
		hole->tag[0] = 0;
	if (hole->tag[1] == tag)
		hole->tag[1] = 0;
}

#endif /* MSLOT_ACCESS_TLB_H */
