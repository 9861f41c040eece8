/* SPDX-License-Identifier: MIT */
/*
 * range.c - going over all leaves that map a range of frames.
 *
 * With reverse maps: the heads of the range, level by level. A head that looks empty is skipped,
 * which is right because its load, the publish before, and the lock and recheck of a fault are
 * sequentially consistent: either we see the fault's lock, or the fault sees our publish.
 *
 * With slot bitmaps: the tables of all roots, from the tops down, but for those whose bitmap has
 * not the slot; the bits are set before the recheck, so that the same holds.
 *
 * One guard is held at a time, but in a split.
 */
#include "base/page.h"
#include "base/perturb.h"
#include "mmu/mmu.h"
#include "mmu/rmap.h"

/* One leaf under its guard. Returns whether it goes; a reverse map must then forget it. */
static bool visit_leaf(struct range_op *op, struct mmu_table *table, unsigned int i, uint64_t gfn)
{
	enum leaf_verdict verdict = op->visit(op, table, i, gfn);

	if (verdict == LEAF_SPLIT) {
		if (split_leaf(table, i, op->first, op->keep ? op->first : op->end))
			return true;
		verdict = op->keep ? LEAF_PROTECT : LEAF_ZAP;
	}
	if (verdict == LEAF_PROTECT)
		/* seq_cst: pairs with leaf_bits() in fault.c. */
		atomic_fetch_and_explicit(&table->entry[i], ~ENTRY_WRITABLE, memory_order_seq_cst);
	if (verdict != LEAF_ZAP)
		return false;
	/* Release: nothing of ours; but whoever sees it empty may install. */
	atomic_store_explicit(&table->entry[i], 0, memory_order_release);
	count_add(&op->mmu->counters, COUNT_ZAPPED, 1);
	return true;
}

/* ---- Reverse maps ------------------------------------------------------------ */

static bool visit_rmap(void *ctx, uint64_t leaf)
{
	struct mmu_table *table = rmap_table(leaf);
	unsigned int i = rmap_index(leaf);

	/* A leaf that was lost in a fork. */
	if (!entry_is_leaf(atomic_load_explicit(&table->entry[i], memory_order_relaxed)))
		return true;
	return visit_leaf(ctx, table, i, table_gfn(table, i));
}

static void visit_head(struct range_op *op, _Atomic uint64_t *head, bool dies)
{
	uint64_t value;

	/* seq_cst: pairs with head_lock() of a fault. */
	if (!dies && atomic_load_explicit(head, memory_order_seq_cst) == 0)
		return;
	value = head_lock(head);
	PERTURB(HEAD_LOCKED);
	if (value & ~HEAD_FLAGS)
		value = rmap_filter(op->mmu, value, visit_rmap, op);
	head_unlock(head, dies ? value | HEAD_DEAD : value);
}

/* Is there no slot left that has frames of the chunk? */
static bool chunk_dies(const struct range_op *op, uint64_t number)
{
	uint64_t first = number & ~(uint64_t)(FRAME_FANOUT - 1);
	unsigned int shift = op->mmu->page_shift;
	struct mslot_iter iter;

	if (!op->after)
		return false;
	mslot_iter_gpa(&iter, op->after, op->space,
		       (struct mslot_range){.start = first << shift,
					    .len_bytes = (uint64_t)FRAME_FANOUT << shift});
	return !mslot_iter_next(&iter);
}

/*
 * Chunks whose last slot is gone: emptied and dead, head by head, then unlinked, then freed. While
 * one of its leaves is there its head can be found, so that mslot_zap_page() takes it out under
 * this head and no other (M1).
 */
static void kill_chunk(struct range_op *op, struct frame_node *chunk, uint64_t number)
{
	struct range_op all = *op;
	unsigned int i;

	all.first = number & ~(uint64_t)(FRAME_FANOUT - 1);
	all.end = all.first + FRAME_FANOUT;
	PERTURB(CHUNK_DIES);
	for (i = 0; i < FRAME_FANOUT; i++)
		visit_head(&all, &chunk->head[i], true);
	frames_unlink(&op->mmu->frames[op->space], number);
	op->n = all.n;
	frames_drop(op->mmu->map, chunk);
}

static void run_level(struct range_op *op, unsigned int level)
{
	uint64_t unit = level_pages(level), number = op->first & ~(unit - 1), next;
	struct frames *frames = &op->mmu->frames[op->space];
	struct frame_node *node;

	while ((node = frames_next(frames, level, &number, op->end)) != NULL) {
		next = (number | (unit * FRAME_FANOUT - 1)) + 1;
		if (level == 1 && chunk_dies(op, number))
			kill_chunk(op, node, number);
		else
			for (; number < op->end && number < next; number += unit)
				visit_head(op, &node->head[frames_slot(number, level)], false);
		number = next;
		if (next == 0)
			break;
	}
}

/* ---- Slot bitmaps ------------------------------------------------------------ */

static bool in_range(const struct range_op *op, const struct mmu_table *table, uint64_t gfn)
{
	return gfn < op->end && gfn + level_pages(table->level) > op->first;
}

/* Entries of a table that can have frames of the range. */
static void entries_of(const struct range_op *op, const struct mmu_table *table,
		       unsigned int *first, unsigned int *end)
{
	uint64_t unit = level_pages(table->level), last = table->first + (unit * TABLE_ENTRIES - 1);

	*first = 0;
	*end = TABLE_ENTRIES;
	if (table->shadow)
		return;
	if (op->first > table->first)
		*first = op->first > last ? TABLE_ENTRIES
					  : (unsigned int)((op->first - table->first) / unit);
	if (op->end - 1 < last)
		*end = op->end <= table->first
			   ? 0
			   : (unsigned int)((op->end - 1 - table->first) / unit) + 1;
}

static void visit_leaves(struct range_op *op, struct mmu_table *table)
{
	unsigned int i, end;

	if (table->level > LEAF_LEVELS)
		return;
	table_lock(table);
	PERTURB(HEAD_LOCKED);
	for (entries_of(op, table, &i, &end); i < end; i++)
		if (entry_is_leaf(atomic_load_explicit(&table->entry[i], memory_order_relaxed)) &&
		    in_range(op, table, table_gfn(table, i)))
			visit_leaf(op, table, i, table_gfn(table, i));
	table_unlock(table);
}

static void visit_table(struct range_op *op, struct mmu_table *table)
{
	struct mmu_table *below;
	unsigned int i, end;

	if (op->slot != SLOT_ANY && !slotbits_test(table, op->slot))
		return;
	if (!op->fine_first)
		visit_leaves(op, table);
	for (entries_of(op, table, &i, &end); i < end && table->level > 1; i++) {
		/* seq_cst: pairs with table_link(). */
		below = entry_table(atomic_load_explicit(&table->entry[i], memory_order_seq_cst));
		if (below)
			visit_table(op, below);
	}
	if (op->fine_first)
		visit_leaves(op, table);
}

static void run_roots(struct range_op *op)
{
	struct mslot_root *root;
	struct mmu_table *top;

	pthread_mutex_lock(&op->mmu->roots_lock);
	for (root = op->mmu->roots; root; root = root->next) {
		if (root->opt.space != op->space)
			continue;
		top = root_top(root);
		if (top)
			visit_table(op, top);
	}
	pthread_mutex_unlock(&op->mmu->roots_lock);
}

/* ---- Both -------------------------------------------------------------------- */

void range_run(struct range_op *op)
{
	unsigned int i;

	if (op->mmu->bitmaps) {
		run_roots(op);
		return;
	}
	for (i = 0; i < LEAF_LEVELS; i++)
		run_level(op, op->fine_first ? i + 1 : LEAF_LEVELS - i);
}
