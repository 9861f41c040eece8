/* SPDX-License-Identifier: MIT */
/*
 * mmu_gen.c - single edits that matter to translation tables: slots that are congruent with large
 * units and stop being so, flags that come and go, ends that shrink by a page and grow back.
 * (Those of txn_gen.c seldom leave or make anything that a large leaf fits.)
 */
#include "mmu_twin.h"

#define MOST_TRIES 8u

/* Often one of which a root has a large leaf. */
static const struct naive_slot *some_slot(struct mmu_world *w)
{
	const struct mmu_root *root = mmu_chance(w, 60) ? mmu_some_root(w) : NULL;

	for (unsigned int i = 0; root && root->runs.n && i < MOST_TRIES; i++) {
		const struct nmmu_run *run = &root->runs.run[mmu_below(w, root->runs.n)];
		const struct naive_slot *slot = nmmu_slot(&w->naive, root->space, run->gfn);

		if (run->level > 1 && slot)
			return slot;
	}
	return &w->naive.slots[mmu_below(w, w->naive.n)];
}

static struct mslot_edit *begin(struct mmu_world *w, enum mslot_edit_kind kind,
				const struct naive_slot *slot)
{
	struct mslot_edit *e = &w->txn.edits[0];

	*e = (struct mslot_edit){.kind = kind};
	e->def.key = slot->key;
	e->def.gpa = slot->gpa;
	e->def.len_bytes = slot->len;
	e->def.offset_bytes = slot->offset;
	e->def.flags = slot->flags;
	if (slot->region >= 0)
		e->def.region = w->regions[slot->region].handle;
	if (slot->key.id >= w->naive.opt.max_user_slots)
		e->edit_flags = MSLOT_EDIT_PRIVATE;
	w->txn.n = 1;
	return e;
}

static uint32_t fresh_id(struct mmu_world *w, uint32_t space)
{
	struct mslot_key key = {space, 200 + (uint32_t)mmu_below(w, 8192)};

	while (naive_find_id(&w->naive, key))
		key.id++;
	return key.id;
}

/* Memory of a region that is congruent with a frame, by units of 2^18 or 2^9 pages; or nearly. */
static bool congruent_memory(struct mmu_world *w, struct naive_slot *slot)
{
	const uint64_t unit =
	    nmmu_level_pages(w->mode->unit_pages >= nmmu_level_pages(3) / 2 ? 3 : 2);
	const uint64_t npages = slot->len >> w->shift;

	for (unsigned int i = 0; i < MOST_TRIES; i++) {
		const size_t r = mmu_below(w, MMU_REGIONS);
		const uint64_t have = w->regions[r].len >> w->shift;
		uint64_t offset = (slot->gpa >> w->shift) - (w->regions[r].hva >> w->shift);

		offset &= unit - 1;
		if (offset + npages > have)
			continue;
		offset += mmu_below(w, (have - npages - offset) / unit + 1) * unit;
		if (mmu_chance(w, 10) && offset > 0)
			offset--;
		slot->region = (int)r;
		slot->offset = offset << w->shift;
		return true;
	}
	return false;
}

static bool free_place(struct mmu_world *w, struct naive_slot *slot, const struct naive_slot *self)
{
	const uint64_t window = w->mode->window_pages, npages = slot->len >> w->shift;
	const uint64_t unit = w->mode->unit_pages >= 512 ? 512 : 1;

	for (unsigned int i = 0; i < MOST_TRIES && npages < window; i++) {
		uint64_t gfn =
		    w->mode->base_gfn + mmu_below(w, (window - npages) / unit + 1) * unit;

		gfn += mmu_chance(w, 15);
		slot->gpa = gfn << w->shift;
		if (!naive_overlaps(&w->naive, slot->key.space, slot->gpa, slot->len, self))
			return true;
	}
	return false;
}

static bool gen_create(struct mmu_world *w)
{
	struct naive_slot slot = {.key.space = (uint32_t)mmu_below(w, w->naive.opt.nspaces)};
	uint64_t npages = w->mode->unit_pages * (1 + mmu_below(w, 3));

	if (mmu_chance(w, 40))
		npages += mmu_below(w, 20);
	slot.len = npages << w->shift;
	slot.flags = mmu_chance(w, 75) ? 0 : (uint32_t)mmu_below(w, 4);
	if (!free_place(w, &slot, NULL) || !congruent_memory(w, &slot))
		return false;
	slot.key.id = fresh_id(w, slot.key.space);
	begin(w, MSLOT_EDIT_CREATE, &slot);
	return true;
}

/* By a page, by 2 MiB, or to another place. */
static bool gen_move(struct mmu_world *w)
{
	const struct naive_slot *slot = some_slot(w);
	struct naive_slot to = *slot;

	switch (mmu_below(w, 4)) {
	case 0:
		to.gpa += UINT64_C(1) << w->shift;
		break;
	case 1:
		to.gpa -= UINT64_C(1) << w->shift;
		break;
	case 2:
		to.gpa += UINT64_C(512) << w->shift;
		break;
	default:
		if (!free_place(w, &to, slot))
			return false;
		break;
	}
	begin(w, MSLOT_EDIT_MOVE, &to);
	return true;
}

/* One end by a page or a few units, in or out. */
static bool gen_resize(struct mmu_world *w)
{
	static const uint64_t steps[] = {1, 1, 2, 511, 512, 262144};
	const uint64_t by = steps[mmu_below(w, 6)] << w->shift;
	struct naive_slot to = *some_slot(w);

	switch (mmu_below(w, 4)) {
	case 0:
		to.len += by;
		break;
	case 1:
		to.gpa -= by;
		to.len += by;
		break;
	case 2:
		to.len -= by < to.len ? by : 0;
		break;
	default:
		to.gpa += by < to.len ? by : 0;
		to.len -= by < to.len ? by : 0;
		break;
	}
	begin(w, MSLOT_EDIT_RESIZE, &to);
	return true;
}

/* Flags are toggled, and mostly end up unset. */
static bool gen_flags(struct mmu_world *w)
{
	struct naive_slot to = *some_slot(w);

	to.flags = to.flags ? 0 : 1 + (uint32_t)mmu_below(w, 3);
	begin(w, MSLOT_EDIT_SET_FLAGS, &to);
	return true;
}

static bool gen_replace(struct mmu_world *w)
{
	struct naive_slot to = *some_slot(w);

	if (!congruent_memory(w, &to))
		return false;
	begin(w, MSLOT_EDIT_REPLACE, &to);
	return true;
}

static bool gen_split(struct mmu_world *w)
{
	const struct naive_slot *slot = some_slot(w);
	const uint64_t npages = slot->len >> w->shift;
	struct mslot_part *part = w->txn.parts[0];
	uint64_t at;

	if (npages < 2)
		return false;
	at = 1 + mmu_below(w, npages - 1);
	if (npages > 512 && mmu_chance(w, 40))
		at = (at + 511) / 512 * 512 < npages ? (at + 511) / 512 * 512 : at;
	part->gpa = slot->gpa + (at << w->shift);
	part->id = fresh_id(w, slot->key.space);
	if (slot->key.id >= w->naive.opt.max_user_slots)
		part->id += w->naive.opt.max_user_slots;
	begin(w, MSLOT_EDIT_SPLIT, slot)->parts = part;
	w->txn.edits[0].nparts = 1;
	return true;
}

static bool gen_merge(struct mmu_world *w)
{
	struct mslot_part *part = w->txn.parts[0];
	const size_t first = mmu_below(w, w->naive.n);

	for (size_t i = 0; i + 1 < w->naive.n; i++) {
		const struct naive_slot *slot = &w->naive.slots[(first + i) % (w->naive.n - 1)];

		if (slot[1].key.space != slot->key.space || slot[1].gpa != slot->gpa + slot->len ||
		    slot[1].region != slot->region || slot[1].offset != slot->offset + slot->len ||
		    slot[1].flags != slot->flags)
			continue;
		part->id = slot[1].key.id;
		begin(w, MSLOT_EDIT_MERGE, slot)->parts = part;
		w->txn.edits[0].nparts = 1;
		return true;
	}
	return false;
}

static bool gen_delete(struct mmu_world *w)
{
	begin(w, MSLOT_EDIT_DELETE, some_slot(w));
	return w->naive.n >= w->mode->target;
}

/* Another id. */
static bool gen_renumber(struct mmu_world *w)
{
	struct naive_slot slot = *some_slot(w);

	begin(w, MSLOT_EDIT_DELETE, &slot);
	w->txn.edits[1] = w->txn.edits[0];
	slot.key.id = fresh_id(w, slot.key.space);
	begin(w, MSLOT_EDIT_CREATE, &slot);
	w->txn.n = 2;
	return true;
}

static bool (*const gens[])(struct mmu_world *w) = {
    gen_create, gen_create, gen_move,  gen_resize,   gen_resize,  gen_flags,  gen_flags,
    gen_flags,  gen_split,  gen_merge, gen_renumber, gen_replace, gen_delete,
};

void mmu_gen_edit(struct mmu_world *w)
{
	const bool few = w->naive.n < w->mode->target / 2 + 1;

	if ((!few && gens[mmu_below(w, sizeof(gens) / sizeof(*gens))](w)) || gen_create(w))
		return;
	gen_txn(&w->rng, &w->naive, &w->shape, &w->txn);
}
