/* SPDX-License-Identifier: MIT */
/* mmu_edits.c - commits, and consumers of dirty pages; see mmu_twin.h. */
#include "mmu_twin.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* Roots follow the map, or what is logged in it. Returns whether anything was lost. */
static bool follow(struct mmu_world *w)
{
	bool lost = false;

	for (size_t i = 0; i < MMU_ROOTS; i++)
		lost |= nmmu_follow(&w->roots[i].runs, w->roots[i].space, &w->view);
	return lost;
}

/* What a commit does to those who cache. */
struct effect {
	bool tightened; /* the map: something went, or a permission did */
	bool lost;      /* something that roots had */
	bool pending;   /* the vCPU inside was asked before */
	bool anew; /* without memory, tables with bitmaps of slots may be dropped, all of them */
};

/* Who has lost nothing is asked nothing (T2); where something went, everybody is asked (T1). */
static bool check_asked(struct mmu_world *w, const struct effect *effect)
{
	const bool pending = w->inside >= 0 && mmu_asked(w->vcpus[w->inside]);
	const bool lost = effect->lost, quiet = !effect->tightened && !effect->anew;
	struct mslot_mmu_stats now;

	mslot_mmu_stats_get(w->mmu, &now);
	mmu_tally.quiet += !effect->tightened;
	if (quiet && now.flushes != w->stats.flushes)
		return twin_fail("commit: asked to flush, though nothing was taken away\n");
	if (quiet && pending != effect->pending)
		return twin_fail("commit: the vCPU is asked, though nothing was taken away\n");
	if (lost && now.flushes == w->stats.flushes)
		return twin_fail("commit: nobody is asked to flush\n");
	return !lost || w->inside < 0 || pending ||
	       twin_fail("commit: the vCPU inside is not asked\n");
}

static void log_txn(struct mmu_world *w)
{
	for (size_t i = 0; i < w->txn.n; i++) {
		const struct mslot_edit *e = &w->txn.edits[i];

		mmu_log(w,
			"  edit %d of %u:%u gpa %#" PRIx64 " len %#" PRIx64 " offset %#" PRIx64
			" flags %u",
			e->kind, e->def.key.space, e->def.key.id, e->def.gpa, e->def.len_bytes,
			e->def.offset_bytes, e->def.flags);
	}
}

/*
 * Memory ran out: large leaves of which a part was removed may be gone as a whole; and where tables
 * have bitmaps of slots, and one of another number could not be made, everything.
 */
static void forgive(struct mmu_world *w)
{
	const bool all = w->mode->form == MSLOT_MMU_SLOT_BITMAPS;

	for (size_t i = 0; i < MMU_ROOTS; i++)
		for (size_t k = 0; k < w->roots[i].runs.n; k++)
			if (all || w->roots[i].runs.run[k].level == 0)
				w->roots[i].runs.run[k].must = false;
}

/* Returns what mslot_txn_commit() did. *scarce: memory ran out, and it was done even so. */
static int commit(struct mmu_world *w, bool *scarce)
{
	struct mslot_txn *txn;
	int err;

	if (mslot_txn_begin(w->map, &txn))
		abort();
	for (size_t i = 0; i < w->txn.n; i++)
		if (mslot_txn_add(txn, &w->txn.edits[i]) < 0)
			abort();
	mmu_scarce_begin(w);
	err = mslot_txn_commit(txn, NULL, NULL);
	*scarce = mmu_scarce_end(w);
	if (err == -ENOMEM && *scarce) {
		mmu_log(w, "commit without memory");
		*scarce = false;
		err = mmu_observe(w) ? mslot_txn_commit(txn, NULL, NULL) : err;
	}
	if (err)
		mslot_txn_abort(txn);
	mmu_log(w, "commit: %d", err);
	log_txn(w);
	return err;
}

bool mmu_commit(struct mmu_world *w)
{
	struct effect effect = {.pending = w->inside >= 0 && mmu_asked(w->vcpus[w->inside])};
	const struct naive_outcome want =
	    naive_commit(&w->naive, w->txn.edits, w->txn.n, NULL, &w->next);
	const struct nmmu_view next = {&w->next, w->view.bits};
	bool scarce;
	const int err = commit(w, &scarce);

	if (err != want.error)
		return twin_fail("commit: %d, not %d\n", err, want.error);
	if (err || !want.changed)
		return true;
	effect.tightened =
	    nmmu_tightens(&w->view, &next) || nmmu_logs_anew(&w->view, &next, &w->txn);
	if (w->mode->dirty && !twin_follow(&w->bits, &w->next, &w->txn, NULL, w->dirty))
		return false;
	naive_copy(&w->naive, &w->next);
	effect.lost = follow(w);
	effect.anew = scarce && w->mode->form == MSLOT_MMU_SLOT_BITMAPS;
	if (scarce)
		forgive(w);
	mmu_tally.commits++;
	return check_asked(w, &effect);
}

bool mmu_edit_step(struct mmu_world *w)
{
	if (mmu_chance(w, 50))
		mmu_leave(w);
	if (mmu_chance(w, 65)) {
		mmu_gen_edit(w);
		return mmu_commit(w);
	}
	gen_txn(&w->rng, &w->naive, &w->shape, &w->txn);
	/* Mostly single edits, which leave much alone. */
	if (mmu_chance(w, 75) && w->txn.n > 2)
		w->txn.n = 1 + mmu_below(w, 2);
	return mmu_commit(w);
}

/* ---- Consumers ------------------------------------------------------------------ */

static void choose_scope(struct mmu_world *w, struct twin_scope *scope)
{
	const uint64_t page = UINT64_C(1) << w->shift;

	*scope = (struct twin_scope){.exists = true, .fill = mmu_chance(w, 30)};
	scope->nranges = mmu_below(w, TWIN_RANGES + 1);
	for (size_t i = 0; i < scope->nranges; i++) {
		struct mslot_dirty_range *r = &scope->ranges[i];

		r->space = (uint32_t)mmu_below(w, w->naive.opt.nspaces);
		r->range.start = mmu_some_gfn(w, r->space) * page;
		r->range.len_bytes = (1 + mmu_below(w, w->mode->window_pages / 4)) * page;
	}
}

/* Logging changes permissions, and takes no page away. */
static bool relog(struct mmu_world *w, bool may_ask)
{
	struct mslot_mmu_stats now;

	(void)follow(w);
	mslot_mmu_stats_get(w->mmu, &now);
	return may_ask || now.flushes == w->stats.flushes ||
	       twin_fail("logging has ended, and somebody is asked to flush\n");
}

static bool create_consumer(struct mmu_world *w, unsigned int c)
{
	struct twin_scope *scope = &w->bits.scope[c];
	struct mslot_dirty_options opt = {0};
	int err;

	choose_scope(w, scope);
	opt.flags = scope->fill ? MSLOT_DIRTY_INITIALLY_SET : 0;
	opt.ranges = scope->ranges;
	opt.nranges = scope->nranges;
	err = mslot_dirty_create(w->map, &opt, &w->dirty[c]);
	mmu_log(w, "dirty_create %u, %zu ranges: %d", c, opt.nranges, err);
	if (err)
		return twin_fail("mslot_dirty_create: %d\n", err);
	twin_consumer_begins(&w->bits, c);
	return relog(w, true);
}

static bool end_batch(struct mmu_world *w, unsigned int c, bool ack)
{
	if (!w->batch[c])
		return true;
	mmu_log(w, "dirty_%s %u", ack ? "ack" : "nack", c);
	if (ack)
		mslot_dirty_ack(w->batch[c]);
	else
		mslot_dirty_nack(w->batch[c]);
	w->batch[c] = NULL;
	twin_batch_ends(&w->bits, c, ack);
	return true;
}

static bool destroy_consumer(struct mmu_world *w, unsigned int c)
{
	const int err = mslot_dirty_destroy(w->dirty[c]);

	mmu_log(w, "dirty_destroy %u: %d", c, err);
	if (err)
		return twin_fail("mslot_dirty_destroy: %d\n", err);
	w->dirty[c] = NULL;
	w->batch[c] = NULL;
	twin_consumer_ends(&w->bits, c);
	return relog(w, false);
}

static void sync_generation(struct mmu_world *w)
{
	const struct mslot_snapshot *snap = mslot_enter(w->map);

	w->naive.generation = mslot_snapshot_generation(snap);
	mslot_leave(snap);
}

bool mmu_dirty_step(struct mmu_world *w)
{
	const unsigned int c = 1 + (unsigned int)mmu_below(w, TWIN_CONSUMERS - 1);
	bool good;

	if (!w->mode->dirty)
		return mmu_edit_step(w);
	mmu_leave(w);
	if (!w->dirty[c]) {
		good = create_consumer(w, c);
	} else if (mmu_chance(w, 20)) {
		good = destroy_consumer(w, c);
	} else if (mmu_chance(w, 60)) {
		if (mslot_dirty_get(w->dirty[c], &w->batch[c]))
			return twin_fail("mslot_dirty_get\n");
		mmu_log(w, "dirty_get %u", c);
		mmu_tally.harvests++;
		good = twin_compare_batch(&w->bits, c, w->batch[c]);
	} else {
		good = end_batch(w, c, mmu_chance(w, 70));
	}
	sync_generation(w);
	return good;
}

bool mmu_dirty_end(struct mmu_world *w)
{
	for (unsigned int c = 1; c < TWIN_CONSUMERS; c++)
		if (w->dirty[c] && (!end_batch(w, c, true) || !destroy_consumer(w, c)))
			return false;
	return true;
}
