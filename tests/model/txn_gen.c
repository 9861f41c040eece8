/* SPDX-License-Identifier: MIT */
/*
 * txn_gen.c - random transactions out of the steps of txn_steps.c, and the ways in
 * which they are spoilt.
 */
#include "txn_gen.h"

#include <stdlib.h>
#include <string.h>

/* Never looked at by a kind that does not use a region. */
#define POISON_REGION ((struct mslot_region *)(uintptr_t)0x10)

/* Overwrite the fields that the kind ignores: they must make no difference. */
static void poison(struct gen *g, struct mslot_edit *e)
{
	bool place = false, size = false, memory = false, flags = false;

	switch (e->kind) {
	case MSLOT_EDIT_CREATE:
	case MSLOT_EDIT_REDEFINE:
		return;
	case MSLOT_EDIT_MOVE:
		place = true;
		break;
	case MSLOT_EDIT_SET_FLAGS:
		flags = true;
		break;
	case MSLOT_EDIT_RESIZE:
		place = size = true;
		break;
	case MSLOT_EDIT_REPLACE:
		memory = true;
		break;
	case MSLOT_EDIT_DELETE:
	case MSLOT_EDIT_SPLIT:
	case MSLOT_EDIT_MERGE:
		break;
	}
	if (!place)
		e->def.gpa = rng_next(g->rng);
	if (!size)
		e->def.len_bytes = rng_next(g->rng);
	if (!memory) {
		e->def.region = POISON_REGION;
		e->def.offset_bytes = rng_next(g->rng);
	}
	if (!flags)
		e->def.flags = (uint32_t)rng_next(g->rng);
}

struct mslot_edit *gen_declare(struct gen *g, enum mslot_edit_kind kind,
			       const struct naive_slot *slot)
{
	struct mslot_edit *e = &g->txn->edits[g->txn->n];

	if (g->fold)
		return NULL;
	memset(e, 0, sizeof(*e));
	e->kind = kind;
	if (slot->key.id >= g->cur->opt.max_user_slots)
		e->edit_flags = MSLOT_EDIT_PRIVATE;
	e->def.key = slot->key;
	e->def.gpa = slot->gpa;
	e->def.len_bytes = slot->len;
	e->def.region = g->plan.regions[slot->region].handle;
	e->def.offset_bytes = slot->offset;
	e->def.flags = slot->flags;
	if (kind == MSLOT_EDIT_SPLIT || kind == MSLOT_EDIT_MERGE)
		e->parts = g->txn->parts[g->txn->n];
	poison(g, e);
	g->txn->n++;
	g->claimed[g->nclaimed++] = slot->key;
	return e;
}

static void (*const one_edit[])(struct gen *) = {
    gen_step_create, gen_step_create, gen_step_delete,  gen_step_redefine, gen_step_move,
    gen_step_flags,  gen_step_resize, gen_step_replace, gen_step_split,    gen_step_merge,
};
static void (*const many_edits[])(struct gen *) = {gen_step_rotate, gen_step_rehome};
#define MOST_EDITS_A_STEP 5u

static void step(struct gen *g, bool room)
{
	if (g->plan.n > g->shape->target && rng_chance(g->rng, 40))
		gen_step_delete(g);
	else if (g->plan.n < g->shape->target && rng_chance(g->rng, 25))
		gen_step_create(g);
	else if (room && rng_chance(g->rng, 15))
		many_edits[rng_below(g->rng, 2)](g);
	else
		one_edit[rng_below(g->rng, sizeof(one_edit) / sizeof(*one_edit))](g);
}

/* Declare the net change of each id between the current map and the plan. */
static void declare_net(struct gen *g)
{
	g->fold = false;
	for (size_t i = 0; i < g->cur->n && g->txn->n < TWIN_EDITS; i++)
		if (!naive_find_id(&g->plan, g->cur->slots[i].key))
			gen_declare(g, MSLOT_EDIT_DELETE, &g->cur->slots[i]);
	for (size_t i = 0; i < g->plan.n && g->txn->n < TWIN_EDITS; i++) {
		const struct naive_slot *now = &g->plan.slots[i];
		const struct naive_slot *was = naive_find_id(g->cur, now->key);

		if (!was)
			gen_declare(g, MSLOT_EDIT_CREATE, now);
		else if (!naive_slot_equal(was, now))
			gen_declare(g, MSLOT_EDIT_REDEFINE, now);
	}
}

static void shuffle(struct rng *rng, struct twin_txn *txn)
{
	for (size_t i = txn->n; i > 1; i--) {
		size_t k = rng_below(rng, i);
		struct mslot_edit edit = txn->edits[i - 1];

		txn->edits[i - 1] = txn->edits[k];
		txn->edits[k] = edit;
	}
}

void gen_txn(struct rng *rng, const struct naive_map *cur, const struct twin_shape *shape,
	     struct twin_txn *txn)
{
	/* Memory kept for the next call. */
	static struct gen g;
	size_t want = rng_range(rng, 1, rng_chance(rng, 10) ? TWIN_EDITS : 12);

	g.rng = rng;
	g.cur = cur;
	g.shape = shape;
	g.txn = txn;
	g.page = UINT64_C(1) << cur->opt.page_shift;
	g.fold = rng_chance(rng, 20);
	g.nclaimed = 0;
	naive_copy(&g.plan, cur);
	txn->n = 0;
	memset(txn->parts, 0, sizeof(txn->parts));
	if (g.fold) {
		for (size_t i = 0; i < want; i++)
			step(&g, true);
		declare_net(&g);
	}
	for (size_t tries = 0; txn->n < want && tries < want * 3; tries++)
		step(&g, txn->n + MOST_EDITS_A_STEP <= TWIN_EDITS);
	shuffle(rng, txn);
}

/* ---- Spoiling ----------------------------------------------------------- */

static uint64_t odd_length(struct rng *rng, uint64_t page, uint64_t len)
{
	switch (rng_below(rng, 6)) {
	case 0:
		return 0;
	case 1:
		return len + 1;
	case 2:
		return page * MSLOT_MAX_SLOT_PAGES;
	case 3:
		return page * (MSLOT_MAX_SLOT_PAGES + 1);
	case 4:
		return UINT64_MAX & ~(page - 1);
	default:
		return len + page;
	}
}

static uint64_t odd_gpa(struct rng *rng, const struct naive_map *cur, const struct mslot_edit *e)
{
	uint64_t page = UINT64_C(1) << cur->opt.page_shift, gpa = e->def.gpa;
	const struct naive_slot *other = cur->n ? &cur->slots[rng_below(rng, cur->n)] : NULL;

	switch (rng_below(rng, 8)) {
	case 0:
		return gpa + 1;
	case 1:
		return gpa + page / 2;
	case 2:
		return cur->opt.gpa_limit - page * rng_below(rng, 4);
	case 3:
		return 0 - page * rng_range(rng, 1, 4);
	case 4:
		return 0 - e->def.len_bytes;
	case 5:
		return other ? other->gpa : 0;
	case 6:
		return other ? other->gpa + other->len : 0;
	default:
		return other ? other->gpa + other->len - page : page;
	}
}

static void odd_memory(struct rng *rng, const struct naive_map *cur, struct mslot_slot_def *def)
{
	uint64_t page = UINT64_C(1) << cur->opt.page_shift;
	const struct naive_region *region = &cur->regions[rng_below(rng, cur->nregions)];

	switch (rng_below(rng, 6)) {
	case 0:
		def->region = NULL;
		break;
	case 1:
		def->offset_bytes += page / 2;
		break;
	case 2:
		def->offset_bytes = UINT64_MAX & ~(page - 1);
		break;
	case 3: /* at the very end of the region, or one page too far */
		if (region->usable) {
			def->region = region->handle;
			def->offset_bytes = region->len - def->len_bytes;
			def->offset_bytes += page * rng_below(rng, 2);
		}
		break;
	default:
		if (region->usable)
			def->region = region->handle;
		break;
	}
}

static void odd_parts(struct rng *rng, const struct naive_map *cur, struct mslot_edit *e)
{
	struct mslot_part *part;

	if (e->nparts == 0)
		return;
	part = (struct mslot_part *)&e->parts[rng_below(rng, e->nparts)];
	switch (rng_below(rng, 6)) {
	case 0:
		e->nparts--;
		break;
	case 1:
		part->gpa += 1;
		break;
	case 2:
		part->gpa = rng_chance(rng, 50) && cur->n
				? cur->slots[rng_below(rng, cur->n)].gpa
				: part->gpa - (UINT64_C(1) << cur->opt.page_shift);
		break;
	case 3:
		part->id = e->parts[0].id;
		break;
	case 4:
		part->id = e->def.key.id;
		break;
	default:
		part->id = (uint32_t)rng_below(rng, 64);
		break;
	}
}

static void odd_key(struct rng *rng, const struct naive_map *cur, struct mslot_edit *e)
{
	uint32_t users = cur->opt.max_user_slots;

	switch (rng_below(rng, 8)) {
	case 0:
		e->def.key.space = cur->opt.nspaces;
		break;
	case 1:
		e->def.key.space = UINT32_MAX;
		break;
	case 2:
		e->def.key.space = (uint32_t)rng_below(rng, cur->opt.nspaces);
		break;
	case 3:
		e->edit_flags ^= MSLOT_EDIT_PRIVATE;
		break;
	case 4:
		e->edit_flags |= 1u << rng_range(rng, 1, 31);
		break;
	case 5:
		e->def.key.id = rng_chance(rng, 50) ? users : users - 1;
		break;
	default:
		e->def.key.id = (uint32_t)rng_below(rng, 64);
		break;
	}
}

static void odd_kind(struct rng *rng, const struct naive_map *cur, struct mslot_edit *e)
{
	static const unsigned int unknown[] = {0, MSLOT_EDIT_MERGE + 1, 64, 1u << 30};

	/* From here on the region may be looked at. */
	e->def.region = NULL;
	if (cur->regions[0].usable)
		e->def.region = cur->regions[0].handle;
	if (rng_chance(rng, 50))
		e->kind = (enum mslot_edit_kind)unknown[rng_below(rng, 4)];
	else
		e->kind = (enum mslot_edit_kind)rng_range(rng, 1, MSLOT_EDIT_MERGE);
	if (e->kind == MSLOT_EDIT_SPLIT || e->kind == MSLOT_EDIT_MERGE)
		e->nparts = e->parts ? e->nparts : 0;
}

/* Put several slots on or near each other, so that many edits could be blamed. */
static void crowd(struct rng *rng, const struct naive_map *cur, struct twin_txn *txn)
{
	uint64_t page = UINT64_C(1) << cur->opt.page_shift;

	for (size_t i = 0; i < txn->n; i++) {
		struct mslot_edit *e = &txn->edits[i];
		const struct mslot_edit *other = &txn->edits[rng_below(rng, txn->n)];

		if (e->kind != MSLOT_EDIT_CREATE && e->kind != MSLOT_EDIT_REDEFINE &&
		    e->kind != MSLOT_EDIT_MOVE)
			continue;
		if (rng_chance(rng, 50) || (other->def.gpa & (page - 1)))
			continue;
		e->def.gpa = other->def.gpa + page * rng_below(rng, 3);
	}
}

static bool uses_region(const struct mslot_edit *e)
{
	return e->kind == MSLOT_EDIT_CREATE || e->kind == MSLOT_EDIT_REDEFINE ||
	       e->kind == MSLOT_EDIT_REPLACE;
}

void gen_spoil(struct rng *rng, const struct naive_map *cur, struct twin_txn *txn)
{
	uint64_t page = UINT64_C(1) << cur->opt.page_shift;
	struct mslot_edit *e, *other;

	if (txn->n == 0)
		return;
	e = &txn->edits[rng_below(rng, txn->n)];
	other = &txn->edits[rng_below(rng, txn->n)];
	switch (rng_below(rng, 10)) {
	case 0:
		odd_kind(rng, cur, e);
		break;
	case 1:
		odd_key(rng, cur, e);
		break;
	case 2:
	case 3:
		e->def.gpa = odd_gpa(rng, cur, e);
		break;
	case 4:
		e->def.len_bytes = odd_length(rng, page, e->def.len_bytes);
		break;
	case 5:
		e->def.flags |= 1u << rng_below(rng, 32);
		break;
	case 6:
		if (uses_region(e))
			odd_memory(rng, cur, &e->def);
		break;
	case 7:
		odd_parts(rng, cur, e);
		break;
	case 8:
		crowd(rng, cur, txn);
		break;
	default: /* name an id twice, or, where that is the only edit of it, another id */
		e->def.key = other->def.key;
		break;
	}
}
