/* SPDX-License-Identifier: MIT */
/*
 * check.c - every invariant of an MMU, for tests.
 */
#include <errno.h>

#include "mmu/rmap.h"

struct check {
	struct mslot_mmu *mmu;
	const struct mslot_snapshot *snap;
	const char *why;
	uint64_t leaves;
	uint64_t tables;
};

static bool fail(struct check *c, const char *why)
{
	c->why = why;
	return false;
}

/* Does the map say what the leaf says, of each slot that it shows? */
static bool leaf_is_true(struct check *c, const struct mmu_table *table, unsigned int i,
			 uint64_t entry)
{
	uint64_t gfn = table_gfn(table, i), end = gfn + level_pages(table->level), at;
	const struct mslot_slot *slot;

	for (at = gfn; at < end; at = slot_end_gfn(slot)) {
		slot = mslot_find(c->snap, table->space, at << c->mmu->page_shift);
		if (!slot)
			return fail(c, "a leaf maps a frame without a slot");
		if (slot->hva + ((at - slot->base_gfn) << c->mmu->page_shift) !=
		    entry_hva(entry) + ((at - gfn) << c->mmu->page_shift))
			return fail(c, "a leaf maps another host page than its slot");
		if (entry & ENTRY_WRITABLE && (slot->flags & MSLOT_READONLY || slot->log))
			return fail(c, "a leaf is writable where its slot wants to know");
		if (c->mmu->bitmaps &&
		    !slotbits_test(table, slots_index(c->mmu, slot_name_of(slot))))
			return fail(c, "a table does not know a slot that it maps");
	}
	return true;
}

static bool has_leaf(struct mslot_mmu *mmu, const struct mmu_table *table, unsigned int i)
{
	_Atomic uint64_t *head =
	    frames_find(&mmu->frames[table->space], table_gfn(table, i), table->level);
	const struct rmap_list *list;
	uint64_t value, n, leaf = rmap_leaf(table, i);

	if (!head)
		return false;
	value = atomic_load_explicit(head, memory_order_relaxed);
	if (!(value & HEAD_LIST))
		return value == leaf;
	for (list = rmap_lists(value); list; list = list->next)
		for (n = 0; n < list->n; n++)
			if (list->leaf[n] == leaf)
				return true;
	return false;
}

static bool check_table(struct check *c, const struct mmu_table *table)
{
	const struct mmu_table *below;
	uint64_t entry;
	unsigned int i;

	for (i = 0; i < TABLE_ENTRIES; i++) {
		entry = atomic_load_explicit(&table->entry[i], memory_order_relaxed);
		if (entry & ENTRY_BUSY)
			return fail(c, "an entry is busy for ever");
		if (entry_is_leaf(entry)) {
			c->leaves++;
			if (table->level > c->mmu->max_level)
				return fail(c, "a leaf is larger than allowed");
			if (!leaf_is_true(c, table, i, entry))
				return false;
			if (!c->mmu->bitmaps && !has_leaf(c->mmu, table, i))
				return fail(c, "a leaf is not in its reverse map");
			continue;
		}
		below = entry_table(entry);
		if (!below)
			continue;
		c->tables++;
		if (below->parent != table || below->index != i || below->level + 1 != table->level)
			return fail(c, "a table is not where it thinks it is");
		if (!check_table(c, below))
			return false;
	}
	return true;
}

static bool check_leaf_of_head(struct check *c, uint64_t leaf, unsigned int level, uint64_t gfn)
{
	const struct mmu_table *table = rmap_table(leaf);
	unsigned int i = rmap_index(leaf);

	if (table->level != level)
		return fail(c, "a reverse map has a leaf of another level");
	if (!entry_is_leaf(atomic_load_explicit(&table->entry[i], memory_order_relaxed)))
		return fail(c, "a reverse map has a leaf that is none");
	if (table_gfn(table, i) != gfn)
		return fail(c, "a reverse map has a leaf of another frame");
	return true;
}

static bool check_head(struct check *c, uint64_t value, unsigned int level, uint64_t gfn)
{
	const struct rmap_list *list;
	uint64_t n;

	if (value & (HEAD_LOCKED | HEAD_DEAD))
		return fail(c, "a head is locked or dead for ever");
	if (!value)
		return true;
	if (!(value & HEAD_LIST))
		return check_leaf_of_head(c, value, level, gfn);
	n = 0;
	for (list = rmap_lists(value); list; list = list->next)
		n += list->n;
	if (n != rmap_count(value) || n < 2)
		return fail(c, "a reverse map has another number of leaves than it says");
	for (list = rmap_lists(value); list; list = list->next) {
		if (list->n == 0 || list->n > list->room)
			return fail(c, "a list of a reverse map is empty or too long");
		for (n = 0; n < list->n; n++)
			if (!check_leaf_of_head(c, list->leaf[n], level, gfn))
				return false;
	}
	return true;
}

static bool check_frames(struct check *c, struct frames *frames, unsigned int level)
{
	struct frame_node *node;
	uint64_t number = 0, gfn, value;
	unsigned int i;

	while ((node = frames_next(frames, level, &number, UINT64_MAX)) != NULL) {
		gfn = number & ~(level_pages(level) * FRAME_FANOUT - 1);
		for (i = 0; i < FRAME_FANOUT; i++, gfn += level_pages(level)) {
			value = atomic_load_explicit(&node->head[i], memory_order_relaxed);
			if (!check_head(c, value, level, gfn))
				return false;
		}
		number = gfn;
	}
	return true;
}

static bool check_all(struct check *c)
{
	struct mslot_root *root;
	struct mmu_table *top;
	unsigned int level;
	uint32_t space;

	for (root = c->mmu->roots; root; root = root->next) {
		top = root_top(root);
		if (top && !check_table(c, top))
			return false;
	}
	for (space = 0; space < c->snap->nspaces && !c->mmu->bitmaps; space++)
		for (level = 1; level <= LEAF_LEVELS; level++)
			if (!check_frames(c, &c->mmu->frames[space], level))
				return false;
	/* Tables that are not taken apart yet have leaves, and tables, as well. */
	if (!c->mmu->bitmaps && count_get(&c->mmu->counters, COUNT_MAPPED) < c->leaves)
		return fail(c, "fewer leaves are counted than there are");
	if (count_get(&c->mmu->counters, COUNT_TABLES) < c->tables)
		return fail(c, "fewer tables are counted than there are");
	return true;
}

int mslot_check_mmu(struct mslot_mmu *mmu, const char **why)
{
	struct check c = {.mmu = mmu};
	bool right;

	if (map_owned(mmu->map))
		return -EDEADLK;
	map_lock(mmu->map);
	pthread_mutex_lock(&mmu->roots_lock);
	c.snap = map_snapshot(mmu->map);
	right = check_all(&c);
	pthread_mutex_unlock(&mmu->roots_lock);
	map_unlock(mmu->map);
	if (!right && why)
		*why = c.why;
	return right ? 0 : -EUCLEAN;
}
