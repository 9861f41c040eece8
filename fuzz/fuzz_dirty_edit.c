/* SPDX-License-Identifier: MIT */
/* fuzz_dirty_edit.c - edits of logged and unlogged slots, and final harvests; see fuzz_dirty.h. */
#include <errno.h>
#include <string.h>

#include <mslot/lease.h>

#include "fuzz_dirty.h"

#define MAX_EDITS 8u

/* ---- Edits -------------------------------------------------------------------- */

static void simple_create(struct world *w, struct mslot_edit *e)
{
	const uint8_t how = in_u8(&w->in);

	e->kind = MSLOT_EDIT_CREATE;
	e->edit_flags = 0;
	e->def = (struct mslot_slot_def){
	    .key = {how % w->naive.opt.nspaces, in_u8(&w->in) % 16u},
	    .gpa = w->shape.base_gpa + in_u8(&w->in) * 2 * w->page,
	    .len_bytes = (1 + in_u8(&w->in)) * w->page,
	    .region = w->regions[how % NREGIONS].handle,
	    .offset_bytes = in_u8(&w->in) % 128u * w->page,
	    .flags = how >> 6 & 3u,
	};
	if (how & 0x20)
		e->def.len_bytes += 260 * w->page;
}

static void simple_parts(struct world *w, struct mslot_edit *e, struct mslot_part *part,
			 const struct naive_slot *slot)
{
	const uint8_t how = in_u8(&w->in);

	e->parts = part;
	e->nparts = 1;
	if (e->kind == MSLOT_EDIT_SPLIT) {
		part->id = 16 + how % 16u;
		part->gpa = slot->gpa + how % twin_npages(&w->naive, slot) * w->page;
	} else if (slot + 1 < w->naive.slots + w->naive.n) {
		part->id = slot[1].key.id;
	}
}

static void simple_edit(struct world *w, struct mslot_edit *e, struct mslot_part *part)
{
	const struct naive_slot *slot = some_slot(w, &w->naive);
	const uint8_t how = in_u8(&w->in), by = in_u8(&w->in);

	memset(e, 0, sizeof(*e));
	e->kind = (enum mslot_edit_kind)(MSLOT_EDIT_CREATE + how % 9);
	if (!slot || e->kind == MSLOT_EDIT_CREATE) {
		simple_create(w, e);
		return;
	}
	e->def = (struct mslot_slot_def){
	    .key = slot->key,
	    .gpa = slot->gpa,
	    .len_bytes = slot->len,
	    .region = w->regions[slot->region].handle,
	    .offset_bytes = slot->offset,
	    .flags = slot->flags ^ (by & 3u),
	};
	if (slot->key.id >= w->naive.opt.max_user_slots)
		e->edit_flags = MSLOT_EDIT_PRIVATE;
	if (e->kind == MSLOT_EDIT_MOVE || by & 4)
		e->def.gpa = slot->gpa + (by >> 3) * w->page;
	if (e->kind == MSLOT_EDIT_RESIZE)
		e->def.len_bytes = (1 + by % (2 * twin_npages(&w->naive, slot))) * w->page;
	if (e->kind == MSLOT_EDIT_REPLACE && by & 0x80)
		e->def.region = w->regions[by % NREGIONS].handle;
	if (e->kind == MSLOT_EDIT_SPLIT || e->kind == MSLOT_EDIT_MERGE)
		simple_parts(w, e, part, slot);
}

static void choose_txn(struct world *w)
{
	const uint8_t how = in_u8(&w->in);

	if (how & 1) {
		rng_init(&w->rng, in_uint(&w->in, 2));
		gen_txn(&w->rng, &w->naive, &w->shape, &w->txn);
		if (w->txn.n > 1 + (how >> 1) % MAX_EDITS)
			w->txn.n = 1 + (how >> 1) % MAX_EDITS;
		return;
	}
	w->txn.n = 1 + (how >= 0xe0 ? 2u : how >= 0xc0);
	for (size_t i = 0; i < w->txn.n; i++)
		simple_edit(w, &w->txn.edits[i], &w->txn.parts[i][0]);
}

/* A failed commit may have filled what it would have kept. */
static void may_be_filled(struct world *w)
{
	bool fill = false;

	for (unsigned int c = 0; c < TWIN_CONSUMERS; c++)
		fill |= w->bits.scope[c].fill;
	for (size_t s = 0; fill && s < w->naive.n; s++)
		for (uint64_t i = 0; i < twin_npages(&w->naive, &w->naive.slots[s]); i++)
			if (w->bits.pages[s][i].number)
				twin_may(&w->bits, s, i);
}

static int commit(struct world *w, const struct mslot_commit_options *opt)
{
	struct mslot_txn *txn;
	int err;

	FUZZ_REQUIRE(mslot_txn_begin(w->map, &txn) == 0);
	for (size_t i = 0; i < w->txn.n; i++)
		FUZZ_REQUIRE(mslot_txn_add(txn, &w->txn.edits[i]) >= 0);
	(void)fuzz_alloc_fail(&w->in);
	err = mslot_txn_commit(txn, opt, NULL);
	if (fuzz_alloc_heal() && err == -ENOMEM) {
		FUZZ_REQUIRE(!opt->final || !*opt->final);
		fuzz_check_map(w->map);
		may_be_filled(w);
		err = mslot_txn_commit(txn, opt, NULL);
	}
	if (err)
		mslot_txn_abort(txn);
	return err;
}

/* Does a lease show other memory than the next map? */
static bool breaks(const struct world *w, const struct leased *l)
{
	for (size_t i = 0; i < l->npages; i++) {
		const struct leased_page *page = &l->pages[i];
		const uint64_t gpa = l->gpa + i * w->page;
		const struct naive_slot *slot = naive_find(&w->next, l->space, gpa);

		if (!slot || slot->region != page->region ||
		    slot->offset + (gpa - slot->gpa) != page->offset)
			return true;
	}
	return false;
}

static void forget_put_leases(struct world *w)
{
	for (unsigned int i = 0; i < LEASES; i++)
		if (w->leases[i].put)
			w->leases[i].lease = NULL;
	for (unsigned int i = 0; i < LEASES; i++)
		w->leases[i].put = false;
}

/* Waits for the newest commit, if nobody is in the way. */
static void settle(struct world *w)
{
	const struct mslot_snapshot *snap = mslot_enter(w->map);
	const uint64_t generation = mslot_snapshot_generation(snap);
	bool free = true;

	mslot_leave(snap);
	for (unsigned int i = 0; i < HOLDS; i++)
		free = free && !w->holds[i].hold;
	for (unsigned int c = 1; c < TWIN_CONSUMERS; c++)
		free = free && !w->batch[c];
	for (unsigned int i = 0; i < LEASES; i++)
		free = free && (!w->leases[i].lease || !breaks(w, &w->leases[i]));
	if (!free)
		return;
	FUZZ_REQUIRE(mslot_wait(w->map, generation, -1) == 0);
	w->settled = w->bits.last_number;
}

static void wait_final(struct world *w, struct mslot_final *final, bool held)
{
	if (held) {
		FUZZ_REQUIRE(mslot_final_wait(final, 0) == -ETIMEDOUT);
		FUZZ_REQUIRE(mslot_final_count(final) == 0 ||
			     mslot_final_get(final, 0, NULL, NULL, NULL, 0) == -EAGAIN);
		return;
	}
	for (unsigned int i = 0; i < LEASES; i++)
		if (w->leases[i].lease && breaks(w, &w->leases[i])) {
			FUZZ_REQUIRE(mslot_final_wait(final, 0) == -ETIMEDOUT);
			mslot_lease_put(w->leases[i].lease);
			w->leases[i].put = true;
		}
	FUZZ_REQUIRE(mslot_final_wait(final, -1) == 0);
	for (unsigned int c = 1; c < TWIN_CONSUMERS; c++)
		FUZZ_REQUIRE(mslot_dirty_destroy(w->dirty[c]) == (w->dirty[c] ? -EBUSY : 0));
}

/* Writes through the snapshot before the commit, which has been replaced by now. */
static void write_late(struct world *w, struct mslot_hold *hold, struct mslot_final *final)
{
	const struct view v = {mslot_hold_snapshot(hold), &w->naive, NULL};

	write_some(w, &v);
	if (final)
		wait_final(w, final, true);
	write_some(w, &v);
}

static struct mslot_hold *hold_newest(struct world *w)
{
	const struct mslot_snapshot *snap = mslot_enter(w->map);
	struct mslot_hold *hold;

	FUZZ_REQUIRE(mslot_hold(snap, "late", &hold) == 0);
	mslot_leave(snap);
	return hold;
}

/* A final harvest waits for holds: only those of late writes are there then. */
static void apply(struct world *w, uint8_t how)
{
	struct mslot_final *final = NULL;
	const struct mslot_commit_options opt = {.final = how & 1 ? &final : NULL};
	struct mslot_hold *late = NULL;
	struct naive_outcome want;
	int err;

	for (unsigned int c = 1; how & 1 && c < TWIN_CONSUMERS; c++)
		end_batch(w, c, how & 8);
	for (unsigned int i = 0; how & 1 && i < HOLDS; i++)
		put_hold(&w->holds[i]);
	if (how & 2)
		late = hold_newest(w);
	want = naive_commit(&w->naive, w->txn.edits, w->txn.n, &opt, &w->next);
	err = commit(w, &opt);
	if (err != want.error)
		fuzz_fail("commit: %d, not %d", err, want.error);
	FUZZ_REQUIRE((final != NULL) == (want.changed && how & 1));
	if (want.changed && late)
		write_late(w, late, final);
	mslot_hold_put(late);
	if (final)
		wait_final(w, final, false);
	if (want.changed && !twin_follow(&w->bits, &w->next, &w->txn, final, w->dirty))
		fuzz_fail("a final harvest");
	mslot_final_destroy(final);
	if (want.changed)
		naive_copy(&w->naive, &w->next);
	mark_leases(w);
	forget_put_leases(w);
	if (want.changed && how & 16)
		settle(w);
}

void edit_step(struct world *w)
{
	const uint8_t how = in_u8(&w->in);

	choose_txn(w);
	apply(w, how);
}

/* Pages leave a scope, a harvest of the others is acknowledged, and they come back. */
void shuttle_step(struct world *w)
{
	const struct naive_slot *slot = some_slot(w, &w->naive);
	const uint8_t how = in_u8(&w->in);
	const unsigned int c = 1 + how % (TWIN_CONSUMERS - 1);
	struct mslot_edit move = {.kind = MSLOT_EDIT_MOVE};
	uint64_t home;

	if (!slot || slot->flags & MSLOT_GUEST_MEMFD)
		return;
	home = slot->gpa;
	move.def.key = slot->key;
	move.def.gpa = home + in_u8(&w->in) * w->page;
	if (slot->key.id >= w->naive.opt.max_user_slots)
		move.edit_flags = MSLOT_EDIT_PRIVATE;
	w->txn.n = 1;
	w->txn.edits[0] = move;
	apply(w, 0);
	harvest(w, c);
	end_batch(w, c, how & 0x80);
	w->txn.edits[0].def.gpa = home;
	apply(w, 0);
}
