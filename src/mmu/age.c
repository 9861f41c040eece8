/* SPDX-License-Identifier: MIT */
/*
 * age.c - what leaves note about their use, and permission to write taken from them.
 */
#include <errno.h>

#include "base/bitmap.h"
#include "base/page.h"
#include "mmu/zap.h"

/* ---- Age ---------------------------------------------------------------------- */

struct aging {
	const struct mslot_age *age;
	uint64_t bits;
	bool forget;
};

/* Set the bits of those pages of a leaf that are in the range. */
static void report(const struct aging *aging, uint64_t hva, uint64_t bytes, unsigned int shift)
{
	const struct mslot_range *range = &aging->age->hva;
	uint64_t from = u64_max(hva, range->start);
	uint64_t to = u64_min(hva + bytes, range->start + range->len_bytes), page;

	for (page = (from - range->start) >> shift; page < (to - range->start) >> shift; page++)
		aging->age->bitmap[page / 64] |= UINT64_C(1) << page % 64;
}

/* A leaf that shows several slots is visited for each; it counts with the first in the range. */
static bool is_counted(const struct range_op *op, uint64_t gfn, uint64_t hva)
{
	const struct aging *aging = op->arg;
	uint64_t from = u64_max(hva, aging->age->hva.start);
	uint64_t first = gfn + ((from - hva) >> op->mmu->page_shift);

	return first >= op->first && first < op->end;
}

static enum leaf_verdict age_visit(struct range_op *op, struct mmu_table *table, unsigned int i,
				   uint64_t gfn)
{
	const struct aging *aging = op->arg;
	uint64_t entry = atomic_load_explicit(&table->entry[i], memory_order_relaxed);

	if (!is_counted(op, gfn, entry_hva(entry)))
		return LEAF_KEEP;
	if (aging->forget)
		/* Relaxed: they order nothing. */
		entry =
		    atomic_fetch_and_explicit(&table->entry[i], ~aging->bits, memory_order_relaxed);
	if (!(entry & aging->bits))
		return LEAF_KEEP;
	op->n++;
	if (aging->age->bitmap)
		report(aging, entry_hva(entry), level_pages(table->level) << op->mmu->page_shift,
		       op->mmu->page_shift);
	return LEAF_KEEP;
}

static int64_t age_range(struct mslot_mmu *mmu, const struct mslot_age *age, bool forget)
{
	uint64_t mask = page_bytes(mmu->page_shift) - 1, last;
	struct aging aging = {.age = age, .forget = forget};
	struct range_op op = {.mmu = mmu, .visit = age_visit, .arg = &aging};

	if (age->hva.len_bytes == 0 || ((age->hva.start | age->hva.len_bytes) & mask) ||
	    !range_end(age->hva.start, age->hva.len_bytes - 1, &last))
		return -EINVAL;
	if (age->what == 0 || age->what & ~(MSLOT_AGE_ACCESSED | MSLOT_AGE_DIRTY))
		return -EINVAL;
	if (map_owned(mmu->map))
		return -EDEADLK;
	if (age->what & MSLOT_AGE_ACCESSED)
		aging.bits |= ENTRY_ACCESSED;
	if (age->what & MSLOT_AGE_DIRTY)
		aging.bits |= ENTRY_DIRTY;
	map_lock(mmu->map);
	range_run_hva(&op, age->hva);
	/* Also when no leaf was used: what is cached may have none any more. */
	if (forget)
		mmu_flush(mmu);
	map_unlock(mmu->map);
	return (int64_t)op.n;
}

int64_t mslot_age(struct mslot_mmu *mmu, const struct mslot_age *age)
{
	return age_range(mmu, age, true);
}

int64_t mslot_test_age(struct mslot_mmu *mmu, const struct mslot_age *age)
{
	return age_range(mmu, age, false);
}

/* ---- Write protection ----------------------------------------------------------- */

struct protection {
	const struct mslot_slot *slot;
	const uint64_t *mask;
};

/* Is a page of the slot that the leaf has in the mask? */
static bool is_masked(const struct protection *p, uint64_t gfn, uint64_t npages)
{
	uint64_t page = u64_max(gfn, p->slot->base_gfn) - p->slot->base_gfn;
	uint64_t end = u64_min(gfn + npages, slot_end_gfn(p->slot)) - p->slot->base_gfn;

	for (; p->mask && page < end; page++)
		if (p->mask[page / 64] >> page % 64 & 1)
			return true;
	return !p->mask;
}

static enum leaf_verdict protect_visit(struct range_op *op, struct mmu_table *table, unsigned int i,
				       uint64_t gfn)
{
	uint64_t entry;

	if (!is_masked(op->arg, gfn, level_pages(table->level)))
		return LEAF_KEEP;
	/* seq_cst: pairs with leaf_bits() in fault.c. */
	entry = atomic_fetch_or_explicit(&table->entry[i], ENTRY_PROTECTED, memory_order_seq_cst);
	op->n += (entry & ENTRY_WRITABLE) != 0;
	return LEAF_PROTECT;
}

int64_t mslot_write_protect(struct mslot_mmu *mmu, struct mslot_key key, const uint64_t *mask)
{
	struct protection protection = {.mask = mask};
	struct range_op op = {
	    .mmu = mmu,
	    .space = key.space,
	    .visit = protect_visit,
	    .arg = &protection,
	    /* A fault that collapses sees the small leaves' protection, or we see its large leaf.
	     */
	    .fine_first = true,
	};
	const struct mslot_slot *slot;

	if (map_owned(mmu->map))
		return -EDEADLK;
	map_lock(mmu->map);
	slot = mslot_find_id(map_current(mmu->map), key);
	if (slot) {
		protection.slot = slot;
		op.first = slot->base_gfn;
		op.end = slot_end_gfn(slot);
		op.slot = mmu->bitmaps ? slots_index(mmu, slot_name_of(slot)) : SLOT_ANY;
		range_run(&op);
		mmu_flush(mmu);
	}
	map_unlock(mmu->map);
	return slot ? (int64_t)op.n : -ENOENT;
}
