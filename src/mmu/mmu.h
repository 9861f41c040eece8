/* SPDX-License-Identifier: MIT */
/*
 * mmu.h - an MMU from inside: tables, entries, guards, and who may touch what.
 *
 * Data
 *   table   512 entries of one level of one root. An entry is 0, a leaf, a link to the table
 *           below, or for a moment ENTRY_BUSY
 *   head    of a frame: which leaves map it; and its lock (rmap.h)
 *   guard   what a leaf is installed and taken out under: with reverse maps the head of its
 *           frame at its level, with slot bitmaps the lock of its table
 *
 * Invariants
 *   M1 an entry becomes a leaf, and stops being one, under its guard; only its bits ACCESSED and
 *      DIRTY change without it, by compare-exchange
 *   M2 a leaf is in the reverse map of its frame, or its slot in the bitmaps of its table and of
 *      those above, before it can be seen, and as long as it is there
 *   M3 a fault installs what the current snapshot said at a load under the guard; a commit
 *      publishes before it zaps, and zapping takes the same guards: what is stale is zapped
 *   M4 a table is unlinked by one exchange of its parent's entry, whose winner has it retired;
 *      it is taken apart after a grace period, under the writer mutex: no walk is inside then
 *   M5 a guard's holder allocates nothing, and waits for nothing but, in a split, finer guards
 *   M6 the writer mutex is held by whoever goes over ranges: commits, zaps, age, protection,
 *      taking apart. Faults and mslot_zap_page() do not take it
 *
 * Locks: writer mutex, then roots_lock, then guards (coarse before fine), then evict_lock, in which
 * nothing is locked.
 */
#ifndef MSLOT_MMU_MMU_H
#define MSLOT_MMU_MMU_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <mslot/mmu.h>

#include "map/defer.h"
#include "map/fork.h"
#include "map/snapshot.h"
#include "map/writer.h"
#include "mmu/count.h"
#include "mmu/frames.h"

#define TABLE_BITS 9u
#define TABLE_ENTRIES (1u << TABLE_BITS)
#define LEAF_LEVELS 3u /* leaves are at levels 1 to 3 */
/* The least page budget, in tables. */
#define MIN_TABLES 64u

/* Pages of a leaf of a level. */
static inline uint64_t level_pages(unsigned int level)
{
	return UINT64_C(1) << (TABLE_BITS * (level - 1));
}

/* ---- Entries --------------------------------------------------------------- */

#define ENTRY_LEAF (UINT64_C(1) << 0)
#define ENTRY_TABLE (UINT64_C(1) << 1)    /* the rest is the address of a struct mmu_table */
#define ENTRY_WRITABLE (UINT64_C(1) << 2) /* a write needs nobody's knowledge */
#define ENTRY_ACCESSED (UINT64_C(1) << 3)
#define ENTRY_DIRTY (UINT64_C(1) << 4)
#define ENTRY_PROTECTED (UINT64_C(1) << 5) /* by mslot_write_protect(): large ones stay so */
#define ENTRY_BUSY (UINT64_C(1) << 8)      /* being made; neither leaf nor table */
#define ENTRY_BITS UINT64_C(0x1ff)         /* host addresses and tables are aligned to more */

struct mmu_table;

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

/* ---- Tables (table.c, evict.c) ---------------------------------------------- */

/* Which slots are mapped in a table and below, by dense index; with slot bitmaps only. */
struct slot_bits {
	_Atomic uint64_t low;                  /* indexes below 64 */
	_Atomic(struct slot_bits_more *) more; /* the others (slotbits.c); NULL: none */
};

struct mmu_table {
	_Atomic uint64_t entry[TABLE_ENTRIES];
	struct mslot_mmu *mmu;
	struct mmu_table *parent; /* NULL of a top; alive as long as this is linked or queued */
	uint64_t first;           /* page number of entry 0: address >> page shift */
	uint64_t generation;      /* of a top: mmu->zap_generation when it was made */
	uint32_t space;
	uint16_t index; /* in the parent */
	uint8_t level;
	bool shadow;
	bool queued;         /* in the queue of the budget; evict_lock */
	_Atomic bool locked; /* guard, with slot bitmaps */
	struct slot_bits slots;
	struct mmu_table *next_new;    /* made, not in the queue yet; or in a list of spares */
	struct mmu_table *prev, *next; /* queue of the budget, oldest first; evict_lock */
	struct map_deferred deferred;
	_Atomic uint64_t gfn[]; /* shadow tables of levels 1 to 3: the first of each leaf */
};

/* First frame of a leaf of a table. Of shadow tables: under its guard. */
static inline uint64_t table_gfn(const struct mmu_table *table, unsigned int i)
{
	if (table->shadow)
		return atomic_load_explicit(&table->gfn[i], memory_order_relaxed);
	return table->first + i * level_pages(table->level);
}

static inline unsigned int table_index(unsigned int level, uint64_t page)
{
	return (unsigned int)(page >> (TABLE_BITS * (level - 1))) & (TABLE_ENTRIES - 1);
}

/* An entry, once it is made. */
static inline uint64_t table_entry(const struct mmu_table *table, unsigned int i)
{
	uint64_t entry;

	/* seq_cst: pairs with table_link(), with install_guarded(), and with the zapper of slot
	 * bitmaps. */
	while ((entry = atomic_load_explicit(&table->entry[i], memory_order_seq_cst)) & ENTRY_BUSY)
		sched_yield();
	return entry;
}

/* A table of a level, for page numbers from `first` on. NULL without memory. */
struct mmu_table *table_create(struct mslot_mmu *mmu, uint32_t space, bool shadow,
			       unsigned int level, uint64_t first);
/* Of one that nobody has seen, or that is taken apart. */
void table_free(struct mmu_table *table);
/* Is a table linked below? What a walk sees, while faults link some. */
bool table_has_tables(const struct mmu_table *table);
/*
 * Put a table in the place of `seen` in its parent. Returns false if the entry had changed: the
 * table is still the caller's.
 */
bool table_link(struct mmu_table *parent, unsigned int i, uint64_t seen, struct mmu_table *table);
/* One that the caller has unlinked: it is taken apart later. Any context, guards held or not. */
void table_retire(struct mmu_table *table);

/* ---- Roots (root.c) -------------------------------------------------------- */

struct mslot_root {
	struct mslot_mmu *mmu;
	struct mslot_root *next, *prev; /* roots_lock */
	struct mslot_root_options opt;
	unsigned int levels;
	_Atomic(struct mmu_table *) top; /* NULL, or of an older generation: nothing is mapped */
	_Atomic uint32_t vcpus;          /* whose root it is */
	_Atomic uint64_t stamp;          /* calls of mslot_zap_page(), and one */
};

/* The page number of an address in a root. Returns 0 or -EINVAL. */
int root_page(const struct mslot_root *root, uint64_t addr, uint64_t *page);
/* The top, if it is of this generation; else NULL. In a section. */
struct mmu_table *root_top(const struct mslot_root *root);
/* The walk() of a root that has one, for a fault's address, on the vCPU's thread in its section. */
int root_walk(struct mslot_root *root, struct mslot_vcpu *vcpu, struct mslot_fault *fault);
/* The top, made if there was none. NULL without memory. In a section. */
struct mmu_table *root_make_top(struct mslot_root *root);

/* ---- MMUs (mmu.c) ---------------------------------------------------------- */

/* Host ranges that are being invalidated (invalidate.c). */
struct mmu_invalidation {
	pthread_mutex_t lock;         /* for begin and end */
	_Atomic uint64_t count;       /* begun and not ended */
	_Atomic uint64_t seq;         /* ended */
	_Atomic uint64_t start, last; /* while count != 0: bytes, all of them are in between */
};

struct mslot_mmu {
	struct mslot_map *map;
	struct mslot_listener *listener;
	bool bitmaps;           /* the form; constant, like the next */
	unsigned int max_level; /* of leaves */
	unsigned int page_shift;
	_Atomic uint64_t max_tables; /* in force */
	_Atomic bool default_limit;
	_Atomic uint64_t zap_generation;
	struct mmu_invalidation inv;
	struct frames frames[MSLOT_MAX_SPACES]; /* heads, by space; not with slot bitmaps */

	pthread_mutex_t roots_lock;
	struct mslot_root *roots;

	/* The budget: tables from the oldest on, and a stack of new ones. */
	pthread_mutex_t evict_lock;
	struct mmu_table *oldest, *newest;
	_Atomic(struct mmu_table *) new_tables;

	/* For the commit under way; writer mutex. */
	struct mmu_table *spare_tables;
	struct rmap_list *spare_lists;
	/* Dense indexes of slots, with slot bitmaps (slots.c); changed under the writer mutex. */
	struct frames names;  /* slot_name() -> index + 1 */
	uint64_t *index_used; /* bitmap */
	size_t index_words;

	struct map_fork_hook fork_hook;
	_Atomic uint64_t longest;
	struct mmu_counters counters;
};

/* Ask all vCPUs of the map to forget. */
void mmu_flush(struct mslot_mmu *mmu);
/* Compute the default page budget anew from a number of pages. */
void mmu_limit_default(struct mslot_mmu *mmu, uint64_t npages);

/* ---- The budget (evict.c) -------------------------------------------------- */

/* A table was linked: it can be evicted from now on. Lock-free. */
void evict_push(struct mslot_mmu *mmu, struct mmu_table *table);
/* A table is no longer a candidate. */
void evict_remove(struct mmu_table *table);
/* Bring the number of tables down to the limit. In a section, no guard held. */
void evict_excess(struct mslot_mmu *mmu);
/* In the child of a fork: there is no queue. */
void evict_forked(struct mslot_mmu *mmu);

/* ---- Leaves (leaf.c) ------------------------------------------------------- */

/* The guard of a leaf, locked by guard_lock(). */
struct guard {
	_Atomic uint64_t *head;  /* with reverse maps */
	uint64_t value;          /* of the head; changed, and put back by guard_unlock() */
	struct mmu_table *table; /* with slot bitmaps */
};

/* `head` is that of the leaf's frame at its level; NULL with slot bitmaps. */
void guard_lock(struct guard *guard, _Atomic uint64_t *head, struct mmu_table *table);
void guard_unlock(struct guard *guard);
void table_lock(struct mmu_table *table);
void table_unlock(struct mmu_table *table);

/* Take the leaf of an entry out, if there is one. Returns whether it was taken. No guard held. */
bool leaf_take(struct mmu_table *table, unsigned int i);

/*
 * Set bits ACCESSED and DIRTY of a leaf that was seen. Returns false if it is that leaf no longer.
 */
static inline bool leaf_note(_Atomic uint64_t *entry, uint64_t seen, uint64_t bits)
{
	uint64_t leaf = seen;

	while ((leaf & bits) != bits) {
		/* Relaxed: they tell of accesses, vaguely, and order nothing. */
		if (atomic_compare_exchange_weak_explicit(
			entry, &leaf, leaf | bits, memory_order_relaxed, memory_order_relaxed))
			return true;
		if (!entry_is_leaf(leaf) || entry_hva(leaf) != entry_hva(seen))
			return false;
	}
	return true;
}

/* ---- Ranges (range.c) ------------------------------------------------------ */

enum leaf_verdict {
	LEAF_KEEP,
	LEAF_ZAP,
	LEAF_PROTECT, /* take the permission to write */
	/* Replace a large leaf by smaller ones, without those in the range unless op->keep. */
	LEAF_SPLIT,
};

/*
 * Go over all leaves that map frames [first, end) of a space, coarse to fine, each under its guard.
 * Writer mutex held.
 */
struct range_op {
	struct mslot_mmu *mmu;
	uint32_t space;
	uint64_t first, end;
	/* gfn: of the leaf, which has level_pages(table->level) pages. */
	enum leaf_verdict (*visit)(struct range_op *op, struct mmu_table *table, unsigned int i,
				   uint64_t gfn);
	const void *arg; /* of visit() */
	uint64_t n;      /* likewise */
	bool fine_first; /* from small leaves to large ones */
	bool keep;       /* what is split keeps all its pages; if it cannot be, LEAF_PROTECT */
	/* With slot bitmaps: the index of the slot that the range is of, or SLOT_ANY. */
	uint64_t slot;
	/* Chunks of heads without a slot in this snapshot are dropped; NULL: none are. */
	const struct mslot_snapshot *after;
};

void range_run(struct range_op *op);

/* ---- Splits (split.c); writer mutex held ------------------------------------- */

/*
 * Replace a large leaf, whose guard is held, by a table of smaller ones, but for those wholly in
 * [first, end). A spare table is used up. Returns false, with nothing changed, without one.
 */
bool split_leaf(struct mmu_table *table, unsigned int i, uint64_t first, uint64_t end);
/*
 * Have spare memory to split what an operation will split, so far as can be seen: leaves that are
 * partly in its range. Returns 0 or -ENOMEM; split_done() frees what is left in either case.
 */
int split_prepare(const struct range_op *op);
void split_done(struct mslot_mmu *mmu);

/* ---- Slots by number, with slot bitmaps (slots.c, slotbits.c) ---------------- */

#define SLOT_ANY UINT64_MAX /* also: no such slot */

/* The index of a slot by slot_name(), or SLOT_ANY. Any context in a section. */
uint64_t slots_index(struct mslot_mmu *mmu, uint64_t name);
/* The rest with the writer mutex held. Give a slot an index, if it has none. 0 or -ENOMEM. */
int slots_assign(struct mslot_mmu *mmu, uint64_t name);
void slots_release(struct mslot_mmu *mmu, uint64_t name);
void slots_fini(struct mslot_mmu *mmu);

/* Have room for an index in a table and those above it. Returns false without memory. */
bool slotbits_reserve(struct mmu_table *table, uint64_t index);
/* Set the bit in a table and those above it, from the top down; there is room. */
void slotbits_set(struct mmu_table *table, uint64_t index);
bool slotbits_test(const struct mmu_table *table, uint64_t index);
/* The bit of a table and of all above it. */
bool slotbits_test_all(const struct mmu_table *table, uint64_t index);
void slotbits_clear(struct mmu_table *table, uint64_t index);
void slotbits_fini(struct mmu_table *table);

/* Have room for all indexes below `end` in a table alone. Returns false without memory. */
bool slotbits_reserve_all(struct mmu_table *table, uint64_t end);
/* Take over the bits of another table, all below `end`. Returns false if there is no room. */
bool slotbits_copy(struct mmu_table *table, const struct mmu_table *from, uint64_t end);
/* One past the greatest index in use. */
static inline uint64_t slots_end(const struct mslot_mmu *mmu)
{
	return mmu->index_words * UINT64_C(64);
}

/* In all roots of a space: what has one index has another too. Returns false without memory. */
bool slots_rehome(struct mslot_mmu *mmu, uint32_t space, uint64_t index, uint64_t other);
/* No table has the index. */
void slots_forget(struct mslot_mmu *mmu, uint32_t space, uint64_t index);

/* Listener callbacks (listener.c); ctx is the MMU. */
extern const struct mslot_listener_ops mmu_listener_ops;

#endif /* MSLOT_MMU_MMU_H */
