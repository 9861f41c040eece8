/* SPDX-License-Identifier: MIT */
/*
 * table.c - tables: made, linked, retired, taken apart.
 *
 * A table dies in these steps:
 *   1 unlinked: one exchange of its parent's entry (or of the root's top) decides who retires it
 *   2 a grace period: walks that were inside are over, and nobody installs in it any more;
 *     zaps find its leaves through the reverse maps as before
 *   3 taken apart, under the writer mutex: leaves out of the reverse maps, each under its
 *     guard; tables below are unlinked and retired in turn
 *   4 freed: the reverse maps were the last way to it
 */
#include <stddef.h>
#include <string.h>

#include "base/alloc.h"
#include "base/perturb.h"
#include "mmu/mmu.h"

/* Tables and leaves are told apart by the low bits of addresses. */
#define TABLE_ALIGN 512u

_Static_assert(TABLE_ALIGN > ENTRY_BITS && TABLE_ALIGN >= TABLE_ENTRIES, "bits below a table");

static size_t table_bytes(bool shadow, unsigned int level)
{
	size_t bytes = sizeof(struct mmu_table);

	if (shadow && level <= LEAF_LEVELS)
		bytes += TABLE_ENTRIES * sizeof(_Atomic uint64_t);
	return (bytes + TABLE_ALIGN - 1) / TABLE_ALIGN * TABLE_ALIGN;
}

struct mmu_table *table_create(struct mslot_mmu *mmu, uint32_t space, bool shadow,
			       unsigned int level, uint64_t first)
{
	size_t bytes = table_bytes(shadow, level);
	struct mmu_table *table = mem_alloc_aligned(TABLE_ALIGN, bytes);

	if (!table)
		return NULL;
	memset(table, 0, bytes);
	table->mmu = mmu;
	table->space = space;
	table->shadow = shadow;
	table->level = (uint8_t)level;
	table->first = first;
	count_add(&mmu->counters, COUNT_TABLE_BYTES, bytes);
	return table;
}

void table_free(struct mmu_table *table)
{
	count_sub(&table->mmu->counters, COUNT_TABLE_BYTES,
		  table_bytes(table->shadow, table->level));
	slotbits_fini(table);
	mem_free(table);
}

bool table_has_tables(const struct mmu_table *table)
{
	unsigned int i;

	for (i = 0; table->level > 1 && i < TABLE_ENTRIES; i++)
		if (atomic_load_explicit(&table->entry[i], memory_order_relaxed) & ENTRY_TABLE)
			return true;
	return false;
}

bool table_link(struct mmu_table *parent, unsigned int i, uint64_t seen, struct mmu_table *table)
{
	uint64_t link = (uint64_t)(uintptr_t)table | ENTRY_TABLE;

	table->parent = parent;
	table->index = (uint16_t)i;
	/* First, both: whoever retires it takes it off the queue, and the count never is below 0.
	 */
	count_add(&parent->mmu->counters, COUNT_TABLES, 1);
	evict_push(parent->mmu, table);
	/* seq_cst: the link before the recheck of the fault. Pairs with visit_table(). */
	if (!atomic_compare_exchange_strong_explicit(&parent->entry[i], &seen, link,
						     memory_order_seq_cst, memory_order_seq_cst)) {
		evict_remove(table);
		count_sub(&parent->mmu->counters, COUNT_TABLES, 1);
		return false;
	}
	return true;
}

static void take_apart(struct mslot_map *map, struct map_deferred *deferred)
{
	struct mmu_table *table =
	    (struct mmu_table *)(void *)((char *)deferred - offsetof(struct mmu_table, deferred));
	struct mmu_counters *counters = &table->mmu->counters;
	struct mmu_table *child;
	unsigned int i;

	(void)map;
	PERTURB(TABLE_TAKEN_APART);
	/* Nobody is inside any more; but before a fork, a thread that is dead may have been. */
	atomic_store_explicit(&table->locked, false, memory_order_relaxed);
	for (i = 0; i < TABLE_ENTRIES; i++) {
		if (leaf_take(table, i))
			continue;
		child = entry_table(atomic_load_explicit(&table->entry[i], memory_order_relaxed));
		if (!child)
			continue;
		/* The budget may be unlinking it right now. */
		child = entry_table(
		    atomic_exchange_explicit(&table->entry[i], 0, memory_order_acq_rel));
		if (child)
			table_retire(child);
	}
	count_sub(counters, COUNT_DEAD_TABLES, 1);
	table_free(table);
}

void table_retire(struct mmu_table *table)
{
	struct mslot_mmu *mmu = table->mmu;

	if (table->parent) {
		evict_remove(table);
		count_sub(&mmu->counters, COUNT_TABLES, 1);
	}
	count_add(&mmu->counters, COUNT_DEAD_TABLES, 1);
	table->deferred.run = take_apart;
	table->deferred.bytes = table_bytes(table->shadow, table->level);
	PERTURB(TABLE_UNLINKED);
	map_defer(mmu->map, &table->deferred);
}
