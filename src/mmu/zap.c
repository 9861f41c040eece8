/* SPDX-License-Identifier: MIT */
/*
 * zap.c - zaps that somebody asks for.
 */
#include <errno.h>

#include "access/tlb.h"
#include "access/vcpu.h"
#include "base/page.h"
#include "map/wait.h"
#include "mmu/zap.h"

int mslot_zap_page(struct mslot_vcpu *vcpu, struct mslot_root *root, uint64_t addr)
{
	struct mmu_table *table, *below;
	uint64_t page, entry;
	unsigned int i, level = 0;
	int n = 0;

	if (root_page(root, addr, &page))
		return 0;
	/*
	 * seq_cst, as the loads below: either we find what a fault makes of an older walk, or it
	 * finds the new stamp. Pairs with stamp_is_old().
	 */
	atomic_fetch_add_explicit(&root->stamp, 1, memory_order_seq_cst);
	/* Tables may be retired meanwhile. */
	rcu_enter();
	for (table = root_top(root); table; table = below) {
		level = table->level;
		i = table_index(level, page);
		entry = table_entry(table, i);
		below = entry_table(entry);
		if (entry_is_leaf(entry)) {
			n = leaf_take(table, i);
			/* Somebody did, or has split it: the page has a leaf below then. */
			if (!n)
				below = table;
		}
	}
	rcu_leave();
	count_add(&root->mmu->counters, COUNT_ZAPPED, (uint64_t)n);
	if (!vcpu || vcpu->root != root)
		return n;
	/* A large leaf, gone by now or before, may have filled other entries than the page's. */
	if (level != 1)
		tlb_flush(&vcpu->head);
	else
		tlb_forget(&vcpu->head, addr);
	return n;
}

static enum leaf_verdict zap_visit(struct range_op *op, struct mmu_table *table, unsigned int i,
				   uint64_t gfn)
{
	(void)table;
	(void)i;
	(void)gfn;
	op->n++;
	return LEAF_ZAP;
}

int64_t mslot_zap_gfn(struct mslot_mmu *mmu, uint32_t space, struct mslot_range range)
{
	uint64_t last;
	struct range_op op = {
	    .mmu = mmu,
	    .space = space,
	    .visit = zap_visit,
	    .slot = SLOT_ANY,
	};

	if (space >= mmu->map->opt.nspaces)
		return -EINVAL;
	if (map_owned(mmu->map))
		return -EDEADLK;
	if (range.len_bytes == 0)
		return 0;
	if (!range_end(range.start, range.len_bytes - 1, &last))
		last = UINT64_MAX;
	op.first = range.start >> mmu->page_shift;
	op.end = (last >> mmu->page_shift) + 1;
	map_lock(mmu->map);
	range_run(&op);
	mmu_flush(mmu);
	map_unlock(mmu->map);
	return (int64_t)op.n;
}

void range_run_hva(struct range_op *op, struct mslot_range hva)
{
	const struct mslot_snapshot *snap = map_current(op->mmu->map);
	unsigned int shift = op->mmu->page_shift;
	const struct mslot_slot *slot;
	struct mslot_iter iter;
	uint64_t last, from, to;

	if (hva.len_bytes == 0)
		return;
	if (!range_end(hva.start, hva.len_bytes - 1, &last))
		last = UINT64_MAX;
	mslot_iter_hva(&iter, snap, hva);
	while ((slot = mslot_iter_next(&iter)) != NULL) {
		from = u64_max(hva.start, slot->hva);
		to = u64_min(last, slot->hva + (slot_len_bytes(slot) - 1));
		op->space = slot->space;
		op->first = slot->base_gfn + ((from - slot->hva) >> shift);
		op->end = slot->base_gfn + ((to - slot->hva) >> shift) + 1;
		op->slot = op->mmu->bitmaps ? slots_index(op->mmu, slot_name_of(slot)) : SLOT_ANY;
		range_run(op);
	}
}

uint64_t zap_hva(struct mslot_mmu *mmu, struct mslot_range range)
{
	struct range_op op = {.mmu = mmu, .visit = zap_visit};

	range_run_hva(&op, range);
	mmu_flush(mmu);
	return op.n;
}

int64_t mslot_zap_hva(struct mslot_mmu *mmu, struct mslot_range range)
{
	uint64_t n;

	if (map_owned(mmu->map))
		return -EDEADLK;
	map_lock(mmu->map);
	n = zap_hva(mmu, range);
	map_unlock(mmu->map);
	return (int64_t)n;
}

void mslot_zap_all(struct mslot_mmu *mmu)
{
	/* seq_cst: pairs with root_top() and root_make_top(). */
	atomic_fetch_add_explicit(&mmu->zap_generation, 1, memory_order_seq_cst);
	mmu_flush(mmu);
}

int mslot_mmu_sync(struct mslot_mmu *mmu)
{
	if (map_wait_refused())
		return -EDEADLK;
	map_synchronize(mmu->map);
	return 0;
}
