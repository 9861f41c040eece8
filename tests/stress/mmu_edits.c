/* SPDX-License-Identifier: MIT */
#include "stress/mmu_edits.h"

#include <string.h>

#define IDS 5000u

static struct mslot_key key_of(const struct mmu_slot *slot)
{
	return (struct mslot_key){.id = slot->id};
}

static struct mslot_slot_def def_of(const struct mmu_world *world, const struct mmu_slot *slot)
{
	return (struct mslot_slot_def){
	    .key = key_of(slot),
	    .gpa = mmu_place_gpa(slot->place),
	    .len_bytes = slot->n * MMU_PAGE,
	    .region = world->regions[slot->page / MMU_REGION_PAGES],
	    .offset_bytes = slot->page % MMU_REGION_PAGES * MMU_PAGE,
	    .flags = slot->flags,
	};
}

static uint32_t fresh_id(struct mmu_world *world, const struct mmu_slot *slots)
{
	uint32_t i;

	do {
		world->next_id = (world->next_id + 1) % IDS;
		for (i = 0; i < MMU_SLOTS; i++)
			if (slots[i].n && slots[i].id == world->next_id)
				break;
	} while (i < MMU_SLOTS);
	return world->next_id;
}

static struct mmu_slot *any_slot(struct stress_thread *self, struct mmu_slot *slots)
{
	uint32_t i = (uint32_t)rng_below(&self->rng, MMU_SLOTS), tries;

	for (tries = 0; tries < MMU_SLOTS; tries++, i = (i + 1) % MMU_SLOTS)
		if (slots[i].n)
			return &slots[i];
	return NULL;
}

static struct mmu_slot *free_slot(struct mmu_slot *slots)
{
	uint32_t i;

	for (i = 0; i < MMU_SLOTS; i++)
		if (!slots[i].n)
			return &slots[i];
	return NULL;
}

/* A page for n pages from a place on: mostly such that large leaves can be. */
static uint32_t any_page(struct stress_thread *self, uint32_t place, uint32_t n)
{
	uint32_t region = (uint32_t)rng_below(&self->rng, MMU_REGIONS) * MMU_REGION_PAGES;
	uint32_t page = place % 512;

	if (rng_chance(&self->rng, 50))
		page += 512;
	if (page + n > MMU_REGION_PAGES)
		page = place % 512;
	if (page + n > MMU_REGION_PAGES || rng_chance(&self->rng, 20))
		page = (uint32_t)rng_below(&self->rng, MMU_REGION_PAGES - n + 1);
	return region + page;
}

static uint32_t any_place(struct stress_thread *self, uint32_t n)
{
	uint32_t island = (uint32_t)rng_below(&self->rng, MMU_ISLANDS) * MMU_ISLAND_PLACES;
	uint32_t place = (uint32_t)rng_below(&self->rng, MMU_ISLAND_PLACES - n + 1);

	/* Where units begin, if there is room. */
	if (rng_chance(&self->rng, 50) && place / 512 * 512 + n <= MMU_ISLAND_PLACES)
		place = place / 512 * 512;
	return island + place;
}

bool mmu_layout_valid(const struct mmu_slot *slots)
{
	unsigned char taken[MMU_PLACES] = {0};
	const struct mmu_slot *slot;
	uint32_t i;

	for (i = 0; i < MMU_SLOTS; i++) {
		slot = &slots[i];
		if (!slot->n)
			continue;
		if (slot->place + slot->n > MMU_PLACES ||
		    slot->place / MMU_ISLAND_PLACES !=
			(slot->place + slot->n - 1) / MMU_ISLAND_PLACES ||
		    slot->page / MMU_REGION_PAGES !=
			(slot->page + slot->n - 1) / MMU_REGION_PAGES ||
		    memchr(&taken[slot->place], 1, slot->n))
			return false;
		memset(&taken[slot->place], 1, slot->n);
	}
	return true;
}

/* ---- Kinds ---- */

static bool do_create(struct mmu_world *world, struct stress_thread *self, struct mslot_txn *txn,
		      struct mmu_slot *next, struct mmu_slot *a)
{
	static const uint32_t sizes[] = {1, 8, 100, 512, 700, 1024};
	struct mslot_slot_def def;

	(void)a;
	a = free_slot(next);
	if (!a)
		return false;
	a->id = fresh_id(world, next);
	a->n = sizes[rng_below(&self->rng, 6)];
	a->place = any_place(self, a->n);
	a->page = any_page(self, a->place, a->n);
	a->flags = rng_chance(&self->rng, 20) ? MSLOT_LOG_DIRTY : 0;
	def = def_of(world, a);
	return mslot_txn_create(txn, &def) >= 0;
}

static bool do_delete(struct mmu_world *world, struct stress_thread *self, struct mslot_txn *txn,
		      struct mmu_slot *next, struct mmu_slot *a)
{
	struct mslot_key key = key_of(a);

	(void)world;
	(void)self;
	(void)next;
	a->n = 0;
	return mslot_txn_delete(txn, key) >= 0;
}

static bool do_move(struct mmu_world *world, struct stress_thread *self, struct mslot_txn *txn,
		    struct mmu_slot *next, struct mmu_slot *a)
{
	(void)world;
	(void)next;
	a->place = any_place(self, a->n);
	return mslot_txn_move(txn, key_of(a), mmu_place_gpa(a->place)) >= 0;
}

/* The same name and frames, other memory. */
static bool do_replace(struct mmu_world *world, struct stress_thread *self, struct mslot_txn *txn,
		       struct mmu_slot *next, struct mmu_slot *a)
{
	(void)next;
	a->page = any_page(self, a->place, a->n);
	return mslot_txn_replace(txn, key_of(a), world->regions[a->page / MMU_REGION_PAGES],
				 a->page % MMU_REGION_PAGES * MMU_PAGE) >= 0;
}

static bool do_split(struct mmu_world *world, struct stress_thread *self, struct mslot_txn *txn,
		     struct mmu_slot *next, struct mmu_slot *a)
{
	struct mmu_slot *b = free_slot(next);
	struct mslot_part part;
	uint32_t cut;

	if (!b || a->n < 2)
		return false;
	cut = (uint32_t)rng_range(&self->rng, 1, a->n - 1);
	*b = *a;
	b->id = fresh_id(world, next);
	b->place += cut;
	b->page += cut;
	b->n -= cut;
	a->n = cut;
	part = (struct mslot_part){.id = b->id, .gpa = mmu_place_gpa(b->place)};
	return mslot_txn_split(txn, key_of(a), &part, 1) >= 0;
}

static bool do_merge(struct mmu_world *world, struct stress_thread *self, struct mslot_txn *txn,
		     struct mmu_slot *next, struct mmu_slot *a)
{
	struct mslot_part part;
	struct mmu_slot *b;
	uint32_t i;

	(void)world;
	(void)self;
	for (i = 0; i < MMU_SLOTS * MMU_SLOTS; i++) {
		a = &next[i / MMU_SLOTS];
		b = &next[i % MMU_SLOTS];
		if (!a->n || !b->n || b->place != a->place + a->n || b->page != a->page + a->n ||
		    b->flags != a->flags || b->page % MMU_REGION_PAGES == 0 ||
		    b->place % MMU_ISLAND_PLACES == 0)
			continue;
		part = (struct mslot_part){.id = b->id};
		a->n += b->n;
		b->n = 0;
		return mslot_txn_merge(txn, key_of(a), &part, 1) >= 0;
	}
	return false;
}

/* Another name, all else stays. */
static bool do_renumber(struct mmu_world *world, struct stress_thread *self, struct mslot_txn *txn,
			struct mmu_slot *next, struct mmu_slot *a)
{
	struct mslot_key key = key_of(a);
	struct mslot_slot_def def;

	(void)self;
	a->id = fresh_id(world, next);
	def = def_of(world, a);
	return mslot_txn_delete(txn, key) >= 0 && mslot_txn_create(txn, &def) >= 0;
}

static bool do_resize(struct mmu_world *world, struct stress_thread *self, struct mslot_txn *txn,
		      struct mmu_slot *next, struct mmu_slot *a)
{
	uint32_t by = (uint32_t)rng_below(&self->rng, rng_chance(&self->rng, 50) ? a->n : 16);

	(void)world;
	(void)next;
	by = by < a->n ? by : a->n - 1;
	switch (rng_below(&self->rng, 4)) {
	case 0: /* less at the end */
		a->n -= by;
		break;
	case 1: /* less at the beginning */
		a->place += by;
		a->page += by;
		a->n -= by;
		break;
	case 2: /* more at the end */
		a->n += by;
		break;
	default: /* more at the beginning */
		if (by > a->place || by > a->page)
			return false;
		a->place -= by;
		a->page -= by;
		a->n += by;
		break;
	}
	/* What is not valid is looked for after this: the transaction is aborted. */
	return mslot_txn_resize(txn, key_of(a),
				(struct mslot_range){mmu_place_gpa(a->place), a->n * MMU_PAGE}) >=
	       0;
}

static bool do_readonly(struct mmu_world *world, struct stress_thread *self, struct mslot_txn *txn,
			struct mmu_slot *next, struct mmu_slot *a)
{
	(void)world;
	(void)self;
	(void)next;
	a->flags ^= MSLOT_READONLY;
	return mslot_txn_set_flags(txn, key_of(a), a->flags) >= 0;
}

static bool do_log(struct mmu_world *world, struct stress_thread *self, struct mslot_txn *txn,
		   struct mmu_slot *next, struct mmu_slot *a)
{
	(void)world;
	(void)self;
	(void)next;
	a->flags ^= MSLOT_LOG_DIRTY;
	return mslot_txn_set_flags(txn, key_of(a), a->flags) >= 0;
}

bool mmu_edit(struct mmu_world *world, struct stress_thread *self, struct mslot_txn *txn,
	      struct mmu_slot *next, unsigned int kind)
{
	static bool (*const kinds[MMU_EDITS])(struct mmu_world * world, struct stress_thread * self,
					      struct mslot_txn * txn, struct mmu_slot * next,
					      struct mmu_slot * a) = {
	    do_create, do_delete,   do_move,   do_replace,  do_split,
	    do_merge,  do_renumber, do_resize, do_readonly, do_log,
	};
	struct mmu_slot *a = any_slot(self, next);

	return (a || kind == 0) && kinds[kind](world, self, txn, next, a);
}

void mmu_first_layout(struct mmu_world *world, struct mslot_txn *txn, struct mmu_slot *next)
{
	static const uint32_t sizes[MMU_ISLANDS] = {1024, 700, 512, 512, 100, 8};
	struct mslot_slot_def def;
	uint32_t i;

	for (i = 0; i < MMU_ISLANDS; i++) {
		next[i] = (struct mmu_slot){
		    .id = i,
		    .place = i * MMU_ISLAND_PLACES,
		    .n = sizes[i],
		    .page = i % MMU_REGIONS * MMU_REGION_PAGES,
		};
		def = def_of(world, &next[i]);
		CHECK(mslot_txn_create(txn, &def) >= 0, "create");
	}
	world->next_id = MMU_ISLANDS;
}
