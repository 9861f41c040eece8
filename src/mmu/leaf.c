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

/* Where take_seen() leaves a leaf. */
enum seen {
	SEEN_ELSEWHERE, /* not what was seen, or another head: look again */
	SEEN_DYING,     /* somebody else's: its chunk is being dropped */
	SEEN_TAKEN,
};

/* The head, or with slot bitmaps NULL, is that of a leaf of the frame seen in the entry. */
static enum seen take_seen(struct mmu_table *table, unsigned int i, _Atomic uint64_t *head,
			   uint64_t gfn, bool lost)
{
	enum seen seen = SEEN_ELSEWHERE;
	struct guard guard;
	bool found = true;
	uint64_t entry;

	guard_lock(&guard, head, table);
	entry = atomic_load_explicit(&table->entry[i], memory_order_relaxed);
	if (entry_is_leaf(entry) && table_gfn(table, i) == gfn && !(guard.value & HEAD_DEAD)) {
		if (head)
			guard.value =
			    rmap_remove(table->mmu, guard.value, rmap_leaf(table, i), &found);
		/* Not found: it is in the head's predecessor, whose chunk dies. */
		seen = found || lost ? SEEN_TAKEN : SEEN_DYING;
		if (seen == SEEN_TAKEN)
			atomic_store_explicit(&table->entry[i], 0, memory_order_release);
	}
	guard_unlock(&guard);
	return seen;
}

bool leaf_take(struct mmu_table *table, unsigned int i, bool lost)
{
	struct mslot_mmu *mmu = table->mmu;
	enum seen seen = SEEN_ELSEWHERE;
	_Atomic uint64_t *head = NULL;
	uint64_t entry, gfn;

	/* A chunk may be dropped meanwhile. */
	rcu_enter();
	while (seen == SEEN_ELSEWHERE) {
		/* Acquire: the frame of the leaf. Pairs with install_guarded(). */
		entry = atomic_load_explicit(&table->entry[i], memory_order_acquire);
		if (!entry_is_leaf(entry))
			break;
		gfn = table_gfn(table, i);
		if (!mmu->bitmaps)
			head = frames_find(&mmu->frames[table->space], gfn, table->level);
		if (mmu->bitmaps || head)
			seen = take_seen(table, i, head, gfn, lost);
		else if (!lost)
			seen = SEEN_DYING;
		else if (atomic_compare_exchange_strong_explicit(&table->entry[i], &entry, 0,
								 memory_order_relaxed,
								 memory_order_relaxed))
			seen = SEEN_TAKEN;
	}
	rcu_leave();
	return seen == SEEN_TAKEN;
}
