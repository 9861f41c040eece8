/* SPDX-License-Identifier: MIT */
/*
 * leaf.c - guards, and taking a single leaf out.
 */
#include <sched.h>

#include "base/perturb.h"
#include "base/rcu.h"
#include "mmu/mmu.h"
#include "mmu/rmap.h"

#define SPINS 128u

void table_lock(struct mmu_table *table)
{
	unsigned int spins = 0;

	/* seq_cst: as head_lock(). */
	while (atomic_exchange_explicit(&table->locked, true, memory_order_seq_cst))
		while (atomic_load_explicit(&table->locked, memory_order_relaxed))
			if (++spins % SPINS == 0)
				sched_yield();
	PERTURB_GUARD_LOCKED();
}

void table_unlock(struct mmu_table *table)
{
	PERTURB_GUARD_FREE();
	/* Release: what was done under the lock. Pairs with table_lock(). */
	atomic_store_explicit(&table->locked, false, memory_order_release);
}

void guard_lock(struct guard *guard, _Atomic uint64_t *head, struct mmu_table *table)
{
	*guard = (struct guard){.head = head, .table = table};
	if (head)
		guard->value = head_lock(head);
	else
		table_lock(table);
}

void guard_unlock(struct guard *guard)
{
	if (guard->head)
		head_unlock(guard->head, guard->value);
	else
		table_unlock(guard->table);
}

/*
 * The head, or with slot bitmaps NULL, is that of a leaf seen in the entry. Returns whether the
 * leaf is gone, be it by us (*taken) or not; false: look again.
 */
static bool take_seen(struct mmu_table *table, unsigned int i, _Atomic uint64_t *head, uint64_t gfn,
		      bool *taken)
{
	struct guard guard;
	bool found, done = false;
	uint64_t entry;

	guard_lock(&guard, head, table);
	entry = atomic_load_explicit(&table->entry[i], memory_order_relaxed);
	if (entry_is_leaf(entry) && table_gfn(table, i) == gfn && !(guard.value & HEAD_DEAD)) {
		if (head)
			guard.value =
			    rmap_remove(table->mmu, guard.value, rmap_leaf(table, i), &found);
		/* Not found after a fork only, when reverse maps begin anew. */
		atomic_store_explicit(&table->entry[i], 0, memory_order_release);
		*taken = done = true;
		PERTURB(LEAF_TAKEN);
	}
	guard_unlock(&guard);
	return done;
}

/*
 * A leaf whose frame has no head. It was lost in a fork, and its table is taken apart: then it is
 * out now. Or it was taken out, and its chunk dropped, since it was seen: what is there now may
 * look the same and be another frame's, to be taken out under that one's head. Returns whether it
 * was the first.
 */
static bool take_orphan(struct mmu_table *table, unsigned int i, uint64_t seen)
{
	/* With the writer mutex held no chunk is dropped. */
	return map_owned(table->mmu->map) &&
	       atomic_compare_exchange_strong_explicit(&table->entry[i], &seen, 0,
						       memory_order_relaxed, memory_order_relaxed);
}

bool leaf_take(struct mmu_table *table, unsigned int i)
{
	struct mslot_mmu *mmu = table->mmu;
	_Atomic uint64_t *head = NULL;
	uint64_t entry, gfn;
	bool taken = false;

	/* A chunk may be dropped meanwhile. */
	rcu_enter();
	for (;;) {
		/* Acquire: the frame of the leaf. Pairs with install_guarded(). */
		entry = atomic_load_explicit(&table->entry[i], memory_order_acquire);
		if (!entry_is_leaf(entry))
			break;
		gfn = table_gfn(table, i);
		if (!mmu->bitmaps)
			head = frames_find(&mmu->frames[table->space], gfn, table->level);
		if (!mmu->bitmaps && !head) {
			taken = take_orphan(table, i, entry);
			if (taken)
				break;
			continue;
		}
		PERTURB(LEAF_SEEN);
		if (take_seen(table, i, head, gfn, &taken))
			break;
	}
	rcu_leave();
	return taken;
}
