/* SPDX-License-Identifier: MIT */
/*
 * mmu.h - an MMU from inside: tables, entries, heads, and who may touch what.
 *
 * Data
 *   table   512 entries of one level of one root. An entry is 0, a leaf, a link to the table
 *           below, or (in shadow tables, for a moment) ENTRY_BUSY
 *   head    of a frame: which leaves map it; and its lock (frames.h)
 *   guard   what a leaf is installed and taken out under: with reverse maps the head of its
 *           frame at its level, with slot bitmaps the lock of its table
 *
 * Invariants
 *   M1 an entry becomes a leaf, and stops being one, under its guard; only its bits ACCESSED and
 *      DIRTY change without it, by compare-exchange
 *   M2 a leaf is in the reverse map of its frame, or its slot in the bitmap of its table, before
 *      it can be seen, and as long as it is there
 *   M3 a fault installs what the current snapshot said at a load under the guard; a commit
 *      publishes before it zaps, and zapping takes the same guards: what is stale is zapped
 *   M4 a table is unlinked by one exchange of its parent's entry, whose winner has it retired; it is
 *      taken apart after a grace period, under the writer mutex, and no walk is inside then
 *   M5 a guard's holder allocates nothing, and waits for nothing but, in a split, a finer guard
 *   M6 the writer mutex is held by whoever goes over ranges: commits, zaps, age, protection,
 *      taking apart. Faults and mslot_zap_page() do not take it
 */
#ifndef MSLOT_MMU_MMU_H
#define MSLOT_MMU_MMU_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <mslot/mmu.h>

#include "map/snapshot.h"
#include "map/writer.h"

#define TABLE_BITS 9u
#define TABLE_ENTRIES (1u << TABLE_BITS)
#define LEAF_LEVELS 3u /* leaves are at levels 1 to 3 */

/* Pages of a leaf of a level. */
static inline uint64_t level_pages(unsigned int level)
{
	return UINT64_C(1) << (TABLE_BITS * (level - 1));
}

/* ---- Entries --------------------------------------------------------------- */

#define ENTRY_LEAF (1u << 0)
#define ENTRY_TABLE (1u << 1)    /* the rest is the address of a struct mmu_table */
#define ENTRY_WRITABLE (1u << 2) /* a write needs nobody's knowledge */
#define ENTRY_ACCESSED (1u << 3)
#define ENTRY_DIRTY (1u << 4)
#define ENTRY_GUEST_READONLY (1u << 5) /* the guest's own table does not allow writes */
#define ENTRY_BITS UINT64_C(0x1ff)     /* hvas and tables are aligned to more */
#define ENTRY_BUSY ((uint64_t)1 << 8)  /* being made; neither leaf nor table */

static inline bool entry_is_leaf(uint64_t entry)
{
	return (entry & ENTRY_LEAF) != 0;
}

static inline struct mmu_table *entry_table(uint64_t entry)
{
	return entry & ENTRY_TABLE ? (struct mmu_table *)(uintptr_t)(entry & ~ENTRY_BITS) : NULL;
}

static inline uint64_t entry_hva(uint64_t entry)
{
	return entry & ~ENTRY_BITS;
}

/* ---- Tables ---------------------------------------------------------------- */

/* Which slots a table maps, by dense index (slots.h); with slot bitmaps only. */
struct mmu_slots {
	_Atomic uint64_t inline_bits;              /* indexes below 64, while `more` is NULL */
	_Atomic(struct mmu_slot_bits *) more;      /* all indexes, once one was 64 or above */
};

struct mmu_table {
	_Atomic uint64_t entry[TABLE_ENTRIES];
	struct mslot_root *root;
	struct mmu_table *parent; /* NULL of a top */
	uint64_t first;           /* page number of entry 0: address >> page shift */
	uint16_t index;           /* in the parent */
	uint8_t level;
	bool queued;                   /* in the queue of the budget; evict lock */
	_Atomic uint32_t lock;         /* guard, with slot bitmaps */
	struct mmu_slots slots;
	struct mmu_table *next_new;    /* made, not in the queue yet */
	struct mmu_table *older, *newer; /* queue of the budget; evict lock */
	struct map_deferred deferred;
	_Atomic uint64_t gfn[]; /* shadow tables of levels 1 to 3: the first of each leaf */
};

/* ---- Roots and MMUs -------------------------------------------------------- */

struct mslot_root {
	struct mslot_mmu *mmu;
	struct mslot_root *next, *prev; /* mmu->roots_lock */
	struct mslot_root_options opt;
	unsigned int levels;
	_Atomic(struct mmu_table *) top; /* of zap generation top->first, see root.c */
	_Atomic uint32_t vcpus;          /* whose root it is */
};

/* Counters, a few lines of them so that vCPUs do not meet (count.h). */
#define COUNT_STRIPES 8u
enum mmu_count {
	COUNT_FAULTS,
	COUNT_INSTALLED,
	COUNT_RETRIES,
	COUNT_MMIO,
	COUNT_INVALIDATED,
	COUNT_ZAPPED,
	COUNT_SPLITS,
	COUNT_COLLAPSES,
	COUNT_EVICTED,
	COUNT_FLUSHES,
	COUNT_TABLES,
	COUNT_DEAD_TABLES,
	COUNT_TABLE_BYTES,
	COUNT_FRAME_BYTES,
	COUNT_LIST_BYTES,
	COUNT_MAPPED,
	COUNTS,
};
struct mmu_stripe {
	_Alignas(64) _Atomic uint64_t n[COUNTS];
};
