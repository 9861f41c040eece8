/* SPDX-License-Identifier: MIT */
/*
 * txn_steps.c - the single steps of which the generator makes transactions.
 */
#include "txn_gen.h"

static uint64_t pages_below(struct gen *g, uint64_t bytes)
{
	return bytes < g->page ? 0 : rng_below(g->rng, bytes / g->page) * g->page;
}

static uint64_t some_len(struct gen *g)
{
	uint64_t max = MSLOT_MAX_SLOT_PAGES * g->page;
	uint64_t len = g->shape->unit_bytes * rng_range(g->rng, 1, 6);

	if (rng_chance(g->rng, 30))
		len += rng_below(g->rng, 4) * g->page;
	return len > max ? max : len;
}

/* Find room in the plan for slot->len bytes, often right beside another slot. */
static bool find_room(struct gen *g, struct naive_slot *slot)
{
	for (unsigned int tries = 0; tries < 6; tries++) {
		uint64_t gpa = g->shape->base_gpa + pages_below(g, g->shape->window_bytes);

		if (g->plan.n && rng_chance(g->rng, 40)) {
			const struct naive_slot *by = &g->plan.slots[rng_below(g->rng, g->plan.n)];

			gpa = rng_chance(g->rng, 50) ? by->gpa + by->len : by->gpa - slot->len;
		}
		if (gpa + slot->len < gpa || gpa + slot->len > g->plan.opt.gpa_limit)
			continue;
		if (naive_overlaps(&g->plan, slot->key.space, gpa, slot->len, NULL))
			continue;
		slot->gpa = gpa;
		return true;
	}
	return false;
}

static bool some_memory(struct gen *g, struct naive_slot *slot)
{
	for (unsigned int tries = 0; tries < 8; tries++) {
		int r = (int)rng_below(g->rng, g->plan.nregions);
		const struct naive_region *region = &g->plan.regions[r];

		if (!region->usable || region->odd || region->len < slot->len)
			continue;
		slot->region = r;
		slot->offset = pages_below(g, region->len - slot->len + g->page);
		return true;
	}
	return false;
}

static uint32_t some_flags(struct gen *g)
{
	return rng_chance(g->rng, 60) ? 0 : (uint32_t)rng_below(g->rng, 4);
}

/* Take slot i out of the plan and return it. */
static struct naive_slot lift(struct gen *g, int i)
{
	struct naive_slot slot = g->plan.slots[i];

	naive_remove(&g->plan, (size_t)i);
	return slot;
}

static bool named(struct gen *g, struct mslot_key key)
{
	for (size_t i = 0; i < g->nclaimed && !g->fold; i++)
		if (g->claimed[i].space == key.space && g->claimed[i].id == key.id)
			return true;
	return false;
}

int gen_pick(struct gen *g)
{
	for (unsigned int tries = 0; tries < 8 && g->plan.n; tries++) {
		size_t i = rng_below(g->rng, g->plan.n);

		if (named(g, g->plan.slots[i].key))
			continue;
		/* A fold may declare a redefine, which may not name a region that was put. */
		if (g->fold && !g->plan.regions[g->plan.slots[i].region].usable)
			continue;
		return (int)i;
	}
	return -1;
}

bool gen_fresh_id(struct gen *g, uint32_t space, bool is_private, uint32_t *id)
{
	uint32_t users = g->cur->opt.max_user_slots;
	uint64_t span = g->shape->target * 3 + 8;

	for (unsigned int tries = 0; tries < 8; tries++) {
		struct mslot_key key = {space, (uint32_t)rng_below(g->rng, span)};

		if (is_private)
			key.id = rng_chance(g->rng, 90) ? users + key.id : UINT32_MAX - key.id % 4;
		else if (key.id >= users)
			key.id %= users;
		else if (rng_chance(g->rng, 5))
			key.id = users - 1;
		if (named(g, key) || naive_find_id(&g->plan, key))
			continue;
		if (!g->fold && naive_find_id(g->cur, key))
			continue;
		*id = key.id;
		return true;
	}
	return false;
}

void gen_step_create(struct gen *g)
{
	struct naive_slot slot = {.flags = some_flags(g), .len = some_len(g)};
	bool beside = false;

	slot.key.space = (uint32_t)rng_below(g->rng, g->cur->opt.nspaces);
	if (!some_memory(g, &slot))
		return;
	if (g->plan.n && rng_chance(g->rng, 50)) {
		const struct naive_slot *like = &g->plan.slots[rng_below(g->rng, g->plan.n)];
		const struct naive_region *region = &g->plan.regions[like->region];

		if (!region->usable)
			return;
		slot.region = like->region;
		slot.offset = like->offset;
		beside = rng_chance(g->rng, 50) && like->offset + like->len < region->len;
		if (beside) { /* goes on where `like` ends: the two could be merged */
			slot.key.space = like->key.space;
			slot.gpa = like->gpa + like->len;
			slot.offset += like->len;
			slot.flags = like->flags;
		} else {
			slot.len = like->len; /* an alias */
		}
		if (slot.len > region->len - slot.offset)
			slot.len = region->len - slot.offset;
	}
	if (beside ? naive_overlaps(&g->plan, slot.key.space, slot.gpa, slot.len, NULL)
		   : !find_room(g, &slot))
		return;
	if (!gen_fresh_id(g, slot.key.space, rng_chance(g->rng, 15), &slot.key.id))
		return;
	naive_add(&g->plan, &slot);
	gen_declare(g, MSLOT_EDIT_CREATE, &slot);
}

void gen_step_delete(struct gen *g)
{
	int i = gen_pick(g);
	struct naive_slot slot;

	if (i < 0)
		return;
	slot = lift(g, i);
	gen_declare(g, MSLOT_EDIT_DELETE, &slot);
}

/* Another place for a part of what the slot showed, so that its move is partial. */
static void slide(struct gen *g, struct naive_slot *slot)
{
	uint64_t skip = pages_below(g, slot->len);

	slot->offset += skip;
	slot->len -= skip;
	if (slot->len > g->page && rng_chance(g->rng, 50))
		slot->len -= pages_below(g, slot->len);
}

void gen_step_redefine(struct gen *g)
{
	int i = gen_pick(g);
	struct naive_slot old, slot;

	if (i < 0 || !g->plan.regions[g->plan.slots[i].region].usable)
		return;
	old = slot = lift(g, i);
	switch (rng_below(g->rng, 4)) {
	case 0:
		slot.len = some_len(g);
		slot.flags = some_flags(g);
		if (!some_memory(g, &slot) || !find_room(g, &slot))
			slot = old;
		break;
	case 1:
		slide(g, &slot);
		if (!find_room(g, &slot))
			slot = old;
		break;
	case 2: /* the window slides: same gpa, other bytes */
		slide(g, &slot);
		slot.flags = some_flags(g);
		break;
	default: /* equal, or other flags */
		slot.flags = rng_chance(g->rng, 50) ? some_flags(g) : slot.flags;
		break;
	}
	naive_add(&g->plan, &slot);
	gen_declare(g, MSLOT_EDIT_REDEFINE, &slot);
}

void gen_step_move(struct gen *g)
{
	int i = gen_pick(g);
	struct naive_slot old, slot;

	if (i < 0)
		return;
	old = slot = lift(g, i);
	if (rng_chance(g->rng, 40)) { /* onto its own old place, shifted */
		slot.gpa += pages_below(g, slot.len) - pages_below(g, slot.len);
		if (slot.gpa + slot.len < slot.gpa || slot.gpa + slot.len > g->plan.opt.gpa_limit ||
		    naive_overlaps(&g->plan, slot.key.space, slot.gpa, slot.len, NULL))
			slot = old;
	} else if (!find_room(g, &slot)) {
		slot = old;
	}
	naive_add(&g->plan, &slot);
	gen_declare(g, MSLOT_EDIT_MOVE, &slot);
}

void gen_step_flags(struct gen *g)
{
	int i = gen_pick(g);

	if (i < 0)
		return;
	g->plan.slots[i].flags = (uint32_t)rng_below(g->rng, 4);
	gen_declare(g, MSLOT_EDIT_SET_FLAGS, &g->plan.slots[i]);
}

void gen_step_resize(struct gen *g)
{
	int i = gen_pick(g);
	struct naive_slot old, slot;
	uint64_t front, back, region_len;

	if (i < 0)
		return;
	old = slot = lift(g, i);
	region_len = g->plan.regions[slot.region].len;
	front = pages_below(g, slot.len);
	back = pages_below(g, slot.len);
	if (rng_chance(g->rng, 50) && front <= slot.offset && front <= slot.gpa) {
		slot.gpa -= front;
		slot.offset -= front;
		slot.len += front;
	} else {
		slot.gpa += front;
		slot.offset += front;
		slot.len -= front;
	}
	if (rng_chance(g->rng, 50))
		slot.len += back;
	else
		slot.len -= pages_below(g, slot.len);
	if (slot.gpa + slot.len > g->plan.opt.gpa_limit || slot.gpa + slot.len < slot.gpa ||
	    slot.offset + slot.len > region_len || slot.len / g->page > MSLOT_MAX_SLOT_PAGES ||
	    naive_overlaps(&g->plan, slot.key.space, slot.gpa, slot.len, NULL))
		slot = old;
	naive_add(&g->plan, &slot);
	gen_declare(g, MSLOT_EDIT_RESIZE, &slot);
}

void gen_step_replace(struct gen *g)
{
	int i = gen_pick(g);

	if (i < 0 || !some_memory(g, &g->plan.slots[i]))
		return;
	gen_declare(g, MSLOT_EDIT_REPLACE, &g->plan.slots[i]);
}

void gen_step_split(struct gen *g)
{
	struct mslot_part parts[TWIN_PARTS];
	size_t nparts = rng_range(g->rng, 1, TWIN_PARTS);
	int i = gen_pick(g);
	struct naive_slot slot, piece;
	struct mslot_edit *edit;
	uint64_t npages;

	if (i < 0)
		return;
	npages = g->plan.slots[i].len / g->page;
	if (npages < 2)
		return;
	nparts = nparts < npages ? nparts : npages - 1;
	slot = piece = lift(g, i);
	naive_add(&g->plan, &slot); /* so that no part gets its id */
	edit = gen_declare(g, MSLOT_EDIT_SPLIT, &slot);
	for (size_t k = 0; k < nparts; k++) {
		uint64_t left = slot.gpa + slot.len - piece.gpa;
		uint64_t most = left - (nparts - k) * g->page; /* a page for each later part */

		if (!gen_fresh_id(g, slot.key.space, slot.key.id >= g->cur->opt.max_user_slots,
				  &parts[k].id)) {
			nparts = k;
			break;
		}
		parts[k].gpa = piece.gpa + g->page + pages_below(g, most);
		g->plan.slots[g->plan.n - 1].len = parts[k].gpa - piece.gpa;
		piece.offset += parts[k].gpa - piece.gpa;
		piece.gpa = parts[k].gpa;
		piece.len = slot.gpa + slot.len - piece.gpa;
		piece.key.id = parts[k].id;
		naive_add(&g->plan, &piece);
		if (edit) {
			((struct mslot_part *)edit->parts)[k] = parts[k];
			g->claimed[g->nclaimed++] = piece.key;
		}
	}
	if (edit)
		edit->nparts = nparts; /* 0 is one more illegal edit */
}

/* The slot that goes on where `slot` ends, in gpa and in host memory, or -1. */
static int follower(struct gen *g, const struct naive_slot *slot)
{
	for (size_t i = 0; i < g->plan.n; i++) {
		const struct naive_slot *next = &g->plan.slots[i];

		if (next->key.space == slot->key.space && next->gpa == slot->gpa + slot->len &&
		    next->region == slot->region && next->offset == slot->offset + slot->len &&
		    next->flags == slot->flags && !named(g, next->key) &&
		    (next->key.id >= g->cur->opt.max_user_slots) ==
			(slot->key.id >= g->cur->opt.max_user_slots))
			return (int)i;
	}
	return -1;
}

void gen_step_merge(struct gen *g)
{
	struct mslot_key keys[TWIN_PARTS + 1];
	struct naive_slot whole;
	struct mslot_edit *edit;
	size_t n = 1, keep;
	int i = gen_pick(g);

	for (unsigned int tries = 0; tries < 6 && i >= 0; tries++) {
		if (follower(g, &g->plan.slots[i]) >= 0)
			break;
		i = gen_pick(g);
	}
	if (i < 0 || follower(g, &g->plan.slots[i]) < 0)
		return;
	whole = lift(g, i);
	keys[0] = whole.key;
	while (n <= TWIN_PARTS && (i = follower(g, &whole)) >= 0) {
		struct naive_slot next = lift(g, i);

		whole.len += next.len;
		keys[n++] = next.key;
		if (rng_chance(g->rng, 25))
			break;
	}
	keep = rng_below(g->rng, n);
	whole.key = keys[keep];
	naive_add(&g->plan, &whole);
	edit = gen_declare(g, MSLOT_EDIT_MERGE, &whole);
	if (!edit)
		return;
	for (size_t k = 0; k < n; k++) {
		size_t at;

		if (k == keep)
			continue;
		at = rng_below(g->rng, edit->nparts + 1);
		((struct mslot_part *)edit->parts)[edit->nparts++] = edit->parts[at];
		((struct mslot_part *)edit->parts)[at] = (struct mslot_part){keys[k].id, 0};
		g->claimed[g->nclaimed++] = keys[k];
	}
}

/* A cycle of moves: each of some slots goes where the next one was; two make a swap. */
void gen_step_rotate(struct gen *g)
{
	struct naive_slot slots[5];
	uint64_t gpas[5];
	size_t n = 0, want = rng_range(g->rng, 2, 5);
	uint32_t space = 0;
	bool fits = true;

	for (unsigned int tries = 0; tries < 16 && n < want; tries++) {
		int i = gen_pick(g);

		if (i < 0 || (n && g->plan.slots[i].key.space != space))
			continue;
		/* Equal lengths fit for certain, others only by luck. */
		if (n && g->plan.slots[i].len != slots[0].len && rng_chance(g->rng, 80))
			continue;
		space = g->plan.slots[i].key.space;
		slots[n] = lift(g, i);
		gpas[n] = slots[n].gpa;
		n++;
	}
	for (size_t k = 0; k < n; k++) {
		slots[k].gpa = gpas[(k + 1) % n];
		fits = fits && slots[k].gpa + slots[k].len <= g->plan.opt.gpa_limit &&
		       slots[k].gpa + slots[k].len > slots[k].gpa &&
		       !naive_overlaps(&g->plan, space, slots[k].gpa, slots[k].len, NULL);
		naive_add(&g->plan, &slots[k]);
	}
	for (size_t k = 0; k < n; k++) {
		if (!fits)
			g->plan.slots[g->plan.n - n + k].gpa = gpas[k];
		else
			gen_declare(g, MSLOT_EDIT_MOVE, &slots[k]);
	}
}

/* The same translation under another id. */
void gen_step_rehome(struct gen *g)
{
	int i = gen_pick(g);
	struct naive_slot slot;
	uint32_t id;

	if (i < 0 || !g->plan.regions[g->plan.slots[i].region].usable)
		return;
	if (!gen_fresh_id(g, g->plan.slots[i].key.space, rng_chance(g->rng, 15), &id))
		return;
	slot = lift(g, i);
	gen_declare(g, MSLOT_EDIT_DELETE, &slot);
	slot.key.id = id;
	if (rng_chance(g->rng, 20))
		slot.flags = some_flags(g);
	naive_add(&g->plan, &slot);
	gen_declare(g, MSLOT_EDIT_CREATE, &slot);
}
