/* SPDX-License-Identifier: MIT */
/*
 * rmap.h - the reverse map of a frame: a word with a lock.
 *
 * The word is 0, the only leaf, or (HEAD_LIST) a list of chunks of leaves. A leaf is named by its
 * table, which is aligned to 512 bytes, and its index in there.
 */
#ifndef MSLOT_MMU_RMAP_H
#define MSLOT_MMU_RMAP_H

#include "base/perturb.h"
#include "mmu/mmu.h"

#define HEAD_LOCKED (UINT64_C(1) << 63)
#define HEAD_LIST (UINT64_C(1) << 62)
#define HEAD_DEAD (UINT64_C(1) << 61) /* the chunk is unlinked: look for the head again */
#define HEAD_FLAGS (HEAD_LOCKED | HEAD_LIST | HEAD_DEAD)

/* Most frames have few leaves: the first list is small, those that follow are two cache lines. */
#define RMAP_LIST_FEW 3u
#define RMAP_LIST_MANY 14u

struct rmap_list {
	struct rmap_list *next;
	uint16_t n, room;
	uint32_t total; /* leaves of this list and those behind it, in the first; or stale */
	uint64_t leaf[];
};

static inline uint64_t rmap_leaf(const struct mmu_table *table, unsigned int i)
{
	return (uint64_t)(uintptr_t)table | i;
}

static inline struct mmu_table *rmap_table(uint64_t leaf)
{
	return (struct mmu_table *)(uintptr_t)(leaf & ~(uint64_t)(TABLE_ENTRIES - 1));
}

static inline unsigned int rmap_index(uint64_t leaf)
{
	return (unsigned int)leaf & (TABLE_ENTRIES - 1);
}

/* The lists of a value that has HEAD_LIST. */
static inline struct rmap_list *rmap_lists(uint64_t value)
{
	return (struct rmap_list *)(uintptr_t)(value & ~HEAD_FLAGS);
}

/* The value of a head without its lock; the caller has it then. */
uint64_t head_lock(_Atomic uint64_t *head);
static inline void head_unlock(_Atomic uint64_t *head, uint64_t value)
{
	PERTURB_GUARD_FREE();
	/* Release: what was done under the lock. Pairs with head_lock(). */
	atomic_store_explicit(head, value, memory_order_release);
}

/* ---- Values of heads; the lock is held ---- */

/* Would adding a leaf need another list? */
bool rmap_needs_list(uint64_t value);
/* Add a leaf; *spare is used, and becomes NULL, if rmap_needs_list(). Returns the new value. */
uint64_t rmap_add(struct mslot_mmu *mmu, uint64_t value, uint64_t leaf, struct rmap_list **spare);
/* Remove a leaf, if it is there (*found). Returns the new value. */
uint64_t rmap_remove(struct mslot_mmu *mmu, uint64_t value, uint64_t leaf, bool *found);
/* Remove those leaves of which `remove` says so. Returns the new value. */
uint64_t rmap_filter(struct mslot_mmu *mmu, uint64_t value,
		     bool (*remove)(void *ctx, uint64_t leaf), void *ctx);
uint64_t rmap_count(uint64_t value);

/* Free the lists of a value. Nobody uses them. */
void rmap_free(struct mslot_mmu *mmu, uint64_t value);

/* For a head of this value; or any other, since every list will do. NULL without memory. */
struct rmap_list *rmap_list_create(struct mslot_mmu *mmu, uint64_t value);
void rmap_list_free(struct mslot_mmu *mmu, struct rmap_list *list); /* accepts NULL */

#endif /* MSLOT_MMU_RMAP_H */
