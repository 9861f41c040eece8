/* SPDX-License-Identifier: MIT */
/*
 * listener.c - what a commit does to translations.
 *
 * From the diff: removed and remapped frames are zapped; frames whose permission tightens (READONLY
 * or logging comes) lose "writable"; all else keeps its leaves (T2). Large leaves that are partly
 * concerned are split. Then, if anything was taken away, the vCPUs are asked to flush, also when no
 * leaf was found: another thread's zap of the same leaf may not have asked yet.
 *
 * With slot bitmaps: a name that comes gets its index in prepare(), since faults of the new
 * snapshot need it; one that goes loses it last; where frames are rehomed, tables get the new
 * slot's bit.
 */
#include <errno.h>

#include "dirty/dirty.h"
#include "mmu/mmu.h"

/* ---- What a segment asks for --------------------------------------------------- */

static bool is_taken(const struct mslot_diff_seg *seg)
{
	return seg->kind == MSLOT_DIFF_REMOVED || seg->kind == MSLOT_DIFF_REMAPPED;
}

/* Do writes need somebody's knowledge that they did not need before? */
static bool is_tightened(const struct mslot_diff_seg *seg)
{
	const struct mslot_slot *before = seg->before, *after = seg->after;

	return seg->kind == MSLOT_DIFF_REPROTECTED &&
	       ((after->flags & ~before->flags & MSLOT_READONLY) || (after->log && !before->log));
}

/*
 * Is there a page of the segment that was logged, and is, in other bits? Its old mark, with which a
 * vCPU got permission, is none there.
 */
static bool is_logged_anew(const struct mslot_mmu *mmu, const struct mslot_diff_seg *seg)
{
	const struct mslot_slot *before = seg->before, *after = seg->after;
	struct log_extent *old, *new;
	uint64_t gfn = seg->gpa >> mmu->page_shift, page, end, n, bit;

	if (is_taken(seg) || !before || !after || !before->log || !after->log ||
	    before->flags & MSLOT_READONLY)
		return false;
	page = slot_log_page(after, gfn);
	for (end = page + (seg->len_bytes >> mmu->page_shift); page < end; page += n) {
		n = view_part(after->log, page, end, &new, &bit);
		n = view_part(before->log, page, page + n, &old, &bit);
		if (old != new)
			return true;
	}
	return false;
}

static enum leaf_verdict visit(struct range_op *op, struct mmu_table *table, unsigned int i,
			       uint64_t gfn)
{
	uint64_t npages = level_pages(table->level);
	bool inside = gfn >= op->first && gfn + npages <= op->end;

	(void)i;
	if (!inside && table->level > 1)
		return LEAF_SPLIT;
	return op->keep ? LEAF_PROTECT : LEAF_ZAP;
}

static struct range_op op_for(struct mslot_mmu *mmu, const struct mslot_diff *diff,
			      const struct mslot_diff_seg *seg)
{
	uint64_t first = seg->gpa >> mmu->page_shift;

	return (struct range_op){
	    .mmu = mmu,
	    .space = seg->space,
	    .first = first,
	    .end = first + (seg->len_bytes >> mmu->page_shift),
	    .visit = visit,
	    .keep = !is_taken(seg),
	    .slot = mmu->bitmaps ? slots_index(mmu, slot_name_of(seg->before)) : SLOT_ANY,
	    .after = is_taken(seg) ? diff->after : NULL,
	};
}

/* ---- Names, with slot bitmaps -------------------------------------------------- */

static bool has_name(const struct mslot_snapshot *snap, const struct mslot_slot *slot)
{
	return mslot_find_id(snap, (struct mslot_key){.space = slot->space, .id = slot->id});
}

static int assign_names(struct mslot_mmu *mmu, const struct mslot_diff *diff)
{
	int err = 0;
	size_t i;

	for (i = 0; mmu->bitmaps && !err && i < diff->nsegs; i++)
		if (diff->segs[i].after)
			err = slots_assign(mmu, slot_name_of(diff->segs[i].after));
	return err;
}

/* Those that only `snap`'s other side has lose their index. */
static void release_names(struct mslot_mmu *mmu, const struct mslot_diff *diff, bool committed)
{
	const struct mslot_snapshot *stays = committed ? diff->after : diff->before;
	const struct mslot_slot *slot;
	uint64_t index;
	size_t i;

	for (i = 0; mmu->bitmaps && i < diff->nsegs; i++) {
		slot = committed ? diff->segs[i].before : diff->segs[i].after;
		if (!slot || has_name(stays, slot))
			continue;
		index = slots_index(mmu, slot_name_of(slot));
		if (committed && index != SLOT_ANY)
			slots_forget(mmu, slot->space, index);
		slots_release(mmu, slot_name_of(slot));
	}
}

/* Frames that keep their translation under another name. Returns false without memory. */
static bool rehome(struct mslot_mmu *mmu, const struct mslot_diff_seg *seg)
{
	uint64_t before, after;

	if (!mmu->bitmaps || is_taken(seg) || !seg->before || !seg->after ||
	    seg->before->id == seg->after->id)
		return true;
	before = slots_index(mmu, slot_name_of(seg->before));
	after = slots_index(mmu, slot_name_of(seg->after));
	return slots_rehome(mmu, seg->space, before, after);
}

/* ---- The callbacks ------------------------------------------------------------- */

static int prepare(void *ctx, const struct mslot_diff *diff)
{
	struct mslot_mmu *mmu = ctx;
	int err = assign_names(mmu, diff);
	struct range_op op;
	size_t i;

	for (i = 0; !err && i < diff->nsegs; i++) {
		if (!is_taken(&diff->segs[i]) && !is_tightened(&diff->segs[i]))
			continue;
		op = op_for(mmu, diff, &diff->segs[i]);
		err = split_prepare(&op);
	}
	if (err) {
		split_done(mmu);
		release_names(mmu, diff, false);
	}
	return err;
}

static void abort_prepared(void *ctx, const struct mslot_diff *diff)
{
	split_done(ctx);
	release_names(ctx, diff, false);
}

static void commit(void *ctx, const struct mslot_diff *diff)
{
	struct mslot_mmu *mmu = ctx;
	bool flush = false, rehomed = true;
	struct range_op op;
	size_t i;

	/* Before the zaps: a segment may be of a slot that an earlier one was rehomed to. */
	for (i = 0; i < diff->nsegs; i++) {
		rehomed &= rehome(mmu, &diff->segs[i]);
		flush |= is_logged_anew(mmu, &diff->segs[i]);
	}
	for (i = 0; i < diff->nsegs; i++) {
		if (!is_taken(&diff->segs[i]) && !is_tightened(&diff->segs[i]))
			continue;
		op = op_for(mmu, diff, &diff->segs[i]);
		range_run(&op);
		flush = true;
	}
	split_done(mmu);
	release_names(mmu, diff, true);
	if (!rehomed)
		/* Unknown tables map unknown slots: begin anew. */
		mslot_zap_all(mmu);
	else if (flush)
		mmu_flush(mmu);
	mmu_limit_default(mmu, diff->after->npages);
}

const struct mslot_listener_ops mmu_listener_ops = {
    .prepare = prepare,
    .abort = abort_prepared,
    .commit = commit,
};
