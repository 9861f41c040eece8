/* SPDX-License-Identifier: MIT */
/*
 * slots.c - dense indexes of slots, for the form with slot bitmaps.
 *
 * A slot gets its index in the prepare() of the commit that brings its name into the map, and loses
 * it in the commit() of the one that takes the name away, when nothing is mapped by it any more.
 * Faults look indexes up without a lock, and again under their guard.
 */
#include <errno.h>

#include "base/alloc.h"
#include "base/bitmap.h"
#include "mmu/mmu.h"

uint64_t slots_index(struct mslot_mmu *mmu, uint64_t name)
{
	_Atomic uint64_t *at = frames_find(&mmu->names, name, 1);

	/* seq_cst: the look at the snapshot first. Pairs with slots_assign(). */
	return at ? atomic_load_explicit(at, memory_order_seq_cst) - 1 : SLOT_ANY;
}

/* The first index that is free, with room for it in the bitmap. */
static int first_free(struct mslot_mmu *mmu, uint64_t *index)
{
	size_t i, words = mmu->index_words ? mmu->index_words * 2 : 1;
	uint64_t *used;

	for (i = 0; i < mmu->index_words && mmu->index_used[i] == UINT64_MAX; i++)
		;
	if (i == mmu->index_words) {
		used = mem_realloc(mmu->index_used, words * sizeof(*used));
		if (!used)
			return -ENOMEM;
		for (; mmu->index_words < words; mmu->index_words++)
			used[mmu->index_words] = 0;
		mmu->index_used = used;
	}
	*index = i * 64 + (uint64_t)__builtin_ctzll(~mmu->index_used[i]);
	return 0;
}

int slots_assign(struct mslot_mmu *mmu, uint64_t name)
{
	_Atomic uint64_t *at = frames_make(&mmu->names, name, 1);
	uint64_t index;

	if (!at)
		return -ENOMEM;
	if (atomic_load_explicit(at, memory_order_relaxed) > 0)
		return 0;
	if (first_free(mmu, &index))
		return -ENOMEM;
	mmu->index_used[index / 64] |= UINT64_C(1) << index % 64;
	/* seq_cst: pairs with slots_index(). */
	atomic_store_explicit(at, index + 1, memory_order_seq_cst);
	return 0;
}

void slots_release(struct mslot_mmu *mmu, uint64_t name)
{
	_Atomic uint64_t *at = frames_find(&mmu->names, name, 1);
	uint64_t index;

	if (!at)
		return;
	index = atomic_exchange_explicit(at, 0, memory_order_seq_cst);
	if (index-- > 0)
		mmu->index_used[index / 64] &= ~(UINT64_C(1) << index % 64);
}

void slots_fini(struct mslot_mmu *mmu)
{
	frames_fini(&mmu->names);
	mem_free(mmu->index_used);
}

/* ---- Over all tables ---------------------------------------------------------- */

struct change {
	uint64_t index;
	uint64_t other; /* to be set as well; SLOT_ANY: index is to be cleared */
};

static bool change_table(const struct change *change, struct mmu_table *table)
{
	struct mmu_table *below;
	bool done = true;
	unsigned int i;

	if (!slotbits_test(table, change->index))
		return true;
	if (change->other != SLOT_ANY) {
		if (!slotbits_reserve(table, change->other))
			return false;
		slotbits_set(table, change->other);
	}
	for (i = 0; table->level > 1 && i < TABLE_ENTRIES; i++) {
		below = entry_table(atomic_load_explicit(&table->entry[i], memory_order_seq_cst));
		if (below)
			done &= change_table(change, below);
	}
	if (change->other == SLOT_ANY)
		slotbits_clear(table, change->index);
	return done;
}

static bool change_all(struct mslot_mmu *mmu, uint32_t space, const struct change *change)
{
	struct mslot_root *root;
	struct mmu_table *top;
	bool done = true;

	pthread_mutex_lock(&mmu->roots_lock);
	for (root = mmu->roots; root; root = root->next) {
		top = root->opt.space == space ? root_top(root) : NULL;
		if (top)
			done &= change_table(change, top);
	}
	pthread_mutex_unlock(&mmu->roots_lock);
	return done;
}

bool slots_rehome(struct mslot_mmu *mmu, uint32_t space, uint64_t index, uint64_t other)
{
	return change_all(mmu, space, &(struct change){.index = index, .other = other});
}

void slots_forget(struct mslot_mmu *mmu, uint32_t space, uint64_t index)
{
	(void)change_all(mmu, space, &(struct change){.index = index, .other = SLOT_ANY});
}
