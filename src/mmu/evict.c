/* SPDX-License-Identifier: MIT */
/*
 * evict.c - the page budget: the oldest tables go when there are too many.
 *
 * Data: a lock-free stack of new tables, so that faults within the budget take no common lock, and
 * behind it a queue from the oldest on, under evict_lock.
 *
 * Invariants
 *   E1 a table is in the stack or the queue from before it is linked until it is unlinked, and its
 *      parent is alive as long: parents are taken apart before they are freed
 *   E2 whoever removes a table empties the stack first
 *
 * What is mapped in an evicted table stays right, so that nobody needs to flush.
 */
#include "base/perturb.h"
#include "mmu/mmu.h"

/* Tables that one call evicts, and looks at, at most. */
#define EVICT_AT_ONCE 8u
#define EVICT_LOOKS 32u

void evict_push(struct mslot_mmu *mmu, struct mmu_table *table)
{
	struct mmu_table *top = atomic_load_explicit(&mmu->new_tables, memory_order_relaxed);

	do {
		table->next_new = top;
		/* Release: the table. Pairs with drain(). */
	} while (!atomic_compare_exchange_weak_explicit(
	    &mmu->new_tables, &top, table, memory_order_release, memory_order_relaxed));
}

static void append(struct mslot_mmu *mmu, struct mmu_table *table)
{
	table->next = NULL;
	table->prev = mmu->newest;
	if (mmu->newest)
		mmu->newest->next = table;
	else
		mmu->oldest = table;
	mmu->newest = table;
	/* Last: a fork finds what says so in the queue. */
	table->queued = true;
}

static void detach(struct mslot_mmu *mmu, struct mmu_table *table)
{
	table->queued = false;
	if (table->prev)
		table->prev->next = table->next;
	else
		mmu->oldest = table->next;
	if (table->next)
		table->next->prev = table->prev;
	else
		mmu->newest = table->prev;
}

/* evict_lock held. */
static void drain(struct mslot_mmu *mmu)
{
	/* Acquire: pairs with evict_push(). */
	struct mmu_table *table =
	    atomic_exchange_explicit(&mmu->new_tables, NULL, memory_order_acquire);
	struct mmu_table *oldest_first = NULL, *next;

	for (; table; table = next) {
		next = table->next_new;
		table->next_new = oldest_first;
		oldest_first = table;
	}
	for (table = oldest_first; table; table = next) {
		next = table->next_new;
		append(mmu, table);
	}
}

void evict_remove(struct mmu_table *table)
{
	struct mslot_mmu *mmu = table->mmu;

	pthread_mutex_lock(&mmu->evict_lock);
	PERTURB(TABLE_QUEUE_LOCKED);
	drain(mmu);
	if (table->queued)
		detach(mmu, table);
	pthread_mutex_unlock(&mmu->evict_lock);
}

/*
 * Unlink the oldest table that has none below it, and take it off the queue. NULL: none was found.
 * Whoever else is at the queue is waited for: if faults went on instead, as many tables would be
 * made as fit in the time for which a thread that holds the lock is off its CPU.
 */
static struct mmu_table *unlink_oldest(struct mslot_mmu *mmu)
{
	struct mmu_table *table;
	unsigned int looks;
	uint64_t link;

	pthread_mutex_lock(&mmu->evict_lock);
	drain(mmu);
	for (looks = 0; looks < EVICT_LOOKS && (table = mmu->oldest) != NULL; looks++) {
		detach(mmu, table);
		link = (uint64_t)(uintptr_t)table | ENTRY_TABLE;
		if (!table_has_tables(table) && atomic_compare_exchange_strong_explicit(
						    &table->parent->entry[table->index], &link, 0,
						    memory_order_acq_rel, memory_order_relaxed)) {
			pthread_mutex_unlock(&mmu->evict_lock);
			return table;
		}
		/* In use, not linked yet, or on its way out. */
		append(mmu, table);
	}
	pthread_mutex_unlock(&mmu->evict_lock);
	return NULL;
}

void evict_excess(struct mslot_mmu *mmu)
{
	uint64_t max = atomic_load_explicit(&mmu->max_tables, memory_order_relaxed);
	struct mmu_table *table;
	unsigned int i;

	for (i = 0; i < EVICT_AT_ONCE && count_get(&mmu->counters, COUNT_TABLES) > max; i++) {
		table = unlink_oldest(mmu);
		if (!table)
			return;
		PERTURB(TABLE_EVICTED);
		count_add(&mmu->counters, COUNT_EVICTED, 1);
		table_retire(table);
	}
}

void evict_forked(struct mslot_mmu *mmu)
{
	struct mmu_table *table;

	pthread_mutex_init(&mmu->evict_lock, NULL);
	for (table = mmu->oldest; table; table = table->next)
		table->queued = false;
	mmu->oldest = mmu->newest = NULL;
	atomic_store_explicit(&mmu->new_tables, NULL, memory_order_relaxed);
}
