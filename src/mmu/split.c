/* SPDX-License-Identifier: MIT */
/*
 * split.c - a large leaf becomes a table, because a commit changes a part of it (T2).
 *
 * Memory is had before: a commit counts in prepare() the leaves that it will split, and has a table
 * for each, and a list for each frame that is mapped by somebody already. What faults add
 * between that and the publish may have to do without: a large leaf without a table goes as a
 * whole, a small one without a list faults again.
 *
 * Order: the small leaves and their reverse maps, each under its own guard, with that of the large
 * one held; then the link, in one exchange. Nobody installs below meanwhile: the way there is the
 * large leaf.
 */
#include <errno.h>

#include "base/alloc.h"
#include "mmu/rmap.h"

static struct mmu_table *take_spare(struct mslot_mmu *mmu, bool shadow)
{
	struct mmu_table **link = &mmu->spare_tables, *table;

	while (*link && (*link)->shadow != shadow)
		link = &(*link)->next_new;
	table = *link;
	if (table)
		*link = table->next_new;
	return table;
}

static void take_list(struct mslot_mmu *mmu, struct rmap_list **spare)
{
	*spare = mmu->spare_lists;
	if (*spare)
		mmu->spare_lists = (*spare)->next;
}

/* A small leaf of a table that is not linked yet, into its reverse map. False: do without it. */
static bool map_small(struct mslot_mmu *mmu, struct mmu_table *below, unsigned int i, uint64_t gfn)
{
	struct rmap_list *spare = NULL;
	_Atomic uint64_t *head;
	uint64_t value;
	bool done;

	if (mmu->bitmaps)
		return true;
	head = frames_find(&mmu->frames[below->space], gfn, below->level);
	if (!head)
		return false;
	value = head_lock(head);
	done = !(value & HEAD_DEAD);
	if (done && rmap_needs_list(value)) {
		take_list(mmu, &spare);
		done = spare != NULL;
	}
	if (done)
		value = rmap_add(mmu, value, rmap_leaf(below, i), &spare);
	head_unlock(head, value);
	return done;
}

/* Accesses that were noted in the large leaf after it was read. */
static void note_late(struct mmu_table *below, uint64_t bits)
{
	uint64_t entry;
	unsigned int i;

	for (i = 0; bits && i < TABLE_ENTRIES; i++) {
		entry = atomic_load_explicit(&below->entry[i], memory_order_relaxed);
		if (entry_is_leaf(entry))
			leaf_note(&below->entry[i], entry, bits);
	}
}

bool split_leaf(struct mmu_table *table, unsigned int i, uint64_t first, uint64_t end)
{
	struct mslot_mmu *mmu = table->mmu;
	uint64_t gfn = table_gfn(table, i), npages = level_pages(table->level - 1u), leaf, at, old;
	struct mmu_table *below = take_spare(mmu, table->shadow);
	unsigned int j;

	if (!below)
		return false;
	below->space = table->space;
	below->level = (uint8_t)(table->level - 1);
	below->first = table->first + i * level_pages(table->level);
	below->parent = table;
	below->index = (uint16_t)i;
	if (mmu->bitmaps && !slotbits_copy(below, table, slots_end(mmu))) {
		table_free(below);
		return false;
	}
	leaf = atomic_load_explicit(&table->entry[i], memory_order_relaxed);
	for (j = 0; j < TABLE_ENTRIES; j++, gfn += npages) {
		if ((gfn >= first && gfn + npages <= end) || !map_small(mmu, below, j, gfn))
			continue;
		at = leaf + ((j * npages) << mmu->page_shift);
		atomic_store_explicit(&below->entry[j], at, memory_order_relaxed);
		if (table->shadow)
			atomic_store_explicit(&below->gfn[j], gfn, memory_order_relaxed);
	}
	evict_push(mmu, below);
	count_add(&mmu->counters, COUNT_TABLES, 1);
	/* Release: the table. Pairs with table_entry(). */
	old = atomic_exchange_explicit(&table->entry[i], (uint64_t)(uintptr_t)below | ENTRY_TABLE,
				       memory_order_acq_rel);
	note_late(below, old & ~leaf & (ENTRY_ACCESSED | ENTRY_DIRTY));
	count_add(&mmu->counters, COUNT_SPLITS, 1);
	return true;
}

/* ---- Memory ------------------------------------------------------------------ */

struct need {
	uint64_t tables[2];        /* direct, shadow */
	const struct range_op *op; /* what will be done */
};

static enum leaf_verdict count_leaf(struct range_op *op, struct mmu_table *table, unsigned int i,
				    uint64_t gfn)
{
	struct need *need = (struct need *)(uintptr_t)op->arg;
	uint64_t npages = level_pages(table->level);

	(void)i;
	if (table->level > 1 && (gfn < need->op->first || gfn + npages > need->op->end)) {
		/* One of 2^18 pages, and one of the 512 that it becomes. */
		need->tables[table->shadow] += table->level - 1u;
	}
	return LEAF_KEEP;
}

/* Heads at or below the border's large unit that have a leaf already. */
static uint64_t count_heads(struct frames *frames, uint64_t gfn, unsigned int level)
{
	uint64_t first = gfn & ~(level_pages(level) - 1), n = 0;
	unsigned int i;
	_Atomic uint64_t *head;

	for (i = 0; i < FRAME_FANOUT; i++) {
		head = frames_find(frames, first + i * level_pages(level - 1), level - 1);
		if (!head)
			return n;
		n += atomic_load_explicit(head, memory_order_relaxed) != 0;
	}
	return n;
}

static int have_lists(struct mslot_mmu *mmu, uint64_t n)
{
	struct rmap_list *list;

	for (; n > 0; n--) {
		list = rmap_list_create(mmu, 0);
		if (!list)
			return -ENOMEM;
		list->next = mmu->spare_lists;
		mmu->spare_lists = list;
	}
	return 0;
}

static int have_tables(struct mslot_mmu *mmu, const struct need *need)
{
	struct mmu_table *table;
	uint64_t n;
	int shadow;

	for (shadow = 0; shadow < 2; shadow++) {
		for (n = need->tables[shadow]; n > 0; n--) {
			/* Level and place come with its use. */
			table = table_create(mmu, 0, shadow, 1, 0);
			if (!table)
				return -ENOMEM;
			table->next_new = mmu->spare_tables;
			mmu->spare_tables = table;
			if (mmu->bitmaps && !slotbits_reserve_all(table, slots_end(mmu)))
				return -ENOMEM;
		}
	}
	return 0;
}

/* For the leaves that have a frame and are not wholly in the operation's range. */
static int prepare_border(const struct range_op *op, uint64_t gfn)
{
	struct mslot_mmu *mmu = op->mmu;
	struct need need = {.op = op};
	struct range_op count = *op;
	uint64_t n, lists;
	int err;

	count.first = gfn;
	count.end = gfn + 1;
	count.visit = count_leaf;
	count.arg = &need;
	count.after = NULL;
	range_run(&count);
	n = need.tables[0] + need.tables[1];
	if (n == 0)
		return 0;
	err = have_tables(mmu, &need);
	if (err || mmu->bitmaps)
		return err;
	if (!frames_make(&mmu->frames[op->space], gfn, 1))
		return -ENOMEM;
	lists = count_heads(&mmu->frames[op->space], gfn, 2) +
		count_heads(&mmu->frames[op->space], gfn, 3);
	/* The first leaf split makes the heads of the others' pages ones that have a leaf. */
	return have_lists(mmu, lists * n + (n - 1) * 2 * FRAME_FANOUT);
}

int split_prepare(const struct range_op *op)
{
	int err = prepare_border(op, op->first);

	return err ? err : prepare_border(op, op->end - 1);
}

void split_done(struct mslot_mmu *mmu)
{
	struct mmu_table *table;
	struct rmap_list *list;

	while ((table = mmu->spare_tables) != NULL) {
		mmu->spare_tables = table->next_new;
		table_free(table);
	}
	while ((list = mmu->spare_lists) != NULL) {
		mmu->spare_lists = list->next;
		rmap_list_free(mmu, list);
	}
}
