/* SPDX-License-Identifier: MIT */
/*
 * build.c - the indexes of the next snapshot: what the changes of a commit take out of each
 * index, and what they put in.
 *
 * Each index gets two lists, sorted by its own key. A transaction of many slots is sorted
 * as seldom as possible: resolve.c has its names in order, validate.c its results by guest
 * frame; host addresses are sorted here. What goes is in the order of what comes unless
 * slots move or only go, and is sorted apart then.
 */
#include "map/build.h"

#define EVERY_SPACE UINT32_MAX

/* So that each index has code of its own, in which the way to its ranges is no call. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

/* What one of the three kinds of index stores of a slot. */
typedef void range_fn(struct index_range *range, const struct mslot_slot *slot);

static void range_gfn(struct index_range *range, const struct mslot_slot *slot)
{
	range->start = slot->base_gfn;
	range->end = slot_end_gfn(slot);
	range->item = (void *)(uintptr_t)slot;
}

static void range_hva(struct index_range *range, const struct mslot_slot *slot)
{
	range->start = slot->hva >> slot->page_shift;
	range->end = range->start + slot->npages;
	range->item = (void *)(uintptr_t)slot;
}

static void range_id(struct index_range *range, const struct mslot_slot *slot)
{
	range->start = slot_name_of(slot);
	range->end = slot_name_of(slot) + 1;
	range->item = (void *)(uintptr_t)slot;
}

/* ---- Order ---- */

/* Changes in the order of what they were or become; a change is told by its index. */
struct order {
	struct sort_item *item;
	size_t n;
};

static bool concerns(const struct change *change, uint32_t space)
{
	return space == EVERY_SPACE || change->space == space;
}

static ALWAYS_INLINE void add_to_order(const struct commit *c, struct order *order, uint32_t i,
				       uint32_t space, bool after, range_fn *range_of)
{
	const struct change *change = &c->changes[i];
	const struct mslot_slot *slot = after ? change->after : change->before;
	struct index_range range;

	if (!slot || !concerns(change, space))
		return;
	range_of(&range, slot);
	order->item[order->n++] = (struct sort_item){.key = range.start, .value = i};
}

static bool starts_repeat(const struct order *order)
{
	size_t i;

	for (i = 1; i < order->n; i++)
		if (order->item[i].key == order->item[i - 1].key)
			return true;
	return false;
}

/*
 * Changes by rising start of what they were or become, and by name where starts are equal.
 * They are taken as they come, which is kind to caches, and again by name where starts
 * repeat: sorting is stable.
 */
static ALWAYS_INLINE struct order order_of(const struct commit *c, uint32_t space, bool after,
					   range_fn *range_of)
{
	struct order order = {.item = c->items};
	uint32_t i;

	for (i = 0; i < c->nchanges; i++)
		add_to_order(c, &order, i, space, after, range_of);
	order.item = sort_items(c->items, c->items + order.n, order.n);
	if (!starts_repeat(&order))
		return order;
	order = (struct order){.item = c->items};
	for (i = 0; i < c->nclaims; i++)
		if (c->by_name[i].value != NO_CHANGE)
			add_to_order(c, &order, (uint32_t)c->by_name[i].value, space, after,
				     range_of);
	order.item = sort_items(c->items, c->items + order.n, order.n);
	return order;
}

/* ---- Lists ---- */

/* Slots are met in another order than that in which they lie: look so many ahead. */
#define AHEAD 8u

static void prefetch_slots(const struct commit *c, const struct order *order, size_t i)
{
	const struct change *change;

	if (i + 2 * AHEAD < order->n && order->item[i + 2 * AHEAD].value != NO_CHANGE)
		__builtin_prefetch(&c->changes[order->item[i + 2 * AHEAD].value].before);
	if (i + AHEAD < order->n && order->item[i + AHEAD].value != NO_CHANGE) {
		change = &c->changes[order->item[i + AHEAD].value];
		__builtin_prefetch(change->before);
		__builtin_prefetch(change->after);
	}
}

/* Slots that a space, or any, has before the commit and that change. */
static size_t count_before(const struct commit *c, uint32_t space)
{
	uint32_t i;
	size_t n = 0;

	if (space == EVERY_SPACE)
		return c->nbefore;
	for (i = 0; i < c->nchanges; i++)
		n += c->changes[i].before && concerns(&c->changes[i], space);
	return n;
}

/* What goes, in an order of its own. */
static ALWAYS_INLINE void list_cuts(struct commit *c, uint32_t space, range_fn *range_of,
				    struct index_swap *swap)
{
	struct order order = order_of(c, space, false, range_of);
	size_t i;

	for (i = 0; i < order.n; i++)
		range_of(&c->cut[i], c->changes[order.item[i].value].before);
	swap->ncut = order.n;
}

/*
 * Both lists for the changes of one space, or all, from an order of what comes in which
 * changes that are NO_CHANGE are left out.
 */
static ALWAYS_INLINE struct index_swap list_swap(struct commit *c, struct order order,
						 uint32_t space, range_fn *range_of)
{
	struct index_swap swap = {.cut = c->cut, .put = c->put};
	const struct change *change;
	bool sorted = true;
	size_t i;

	for (i = 0; i < order.n; i++) {
		if (order.item[i].value == NO_CHANGE)
			continue;
		prefetch_slots(c, &order, i);
		change = &c->changes[order.item[i].value];
		if (change->after)
			range_of(&c->put[swap.nput++], change->after);
		if (change->before) {
			range_of(&c->cut[swap.ncut++], change->before);
			sorted = sorted && (swap.ncut == 1 || c->cut[swap.ncut - 2].start <
								  c->cut[swap.ncut - 1].start);
		}
	}
	if (!sorted || swap.ncut != count_before(c, space))
		list_cuts(c, space, range_of, &swap);
	return swap;
}

/* The part of validate.c's order that is of one space. */
static struct order order_in_space(const struct commit *c, uint32_t space)
{
	struct order order = {.item = c->by_gfn};
	size_t end = 0;

	while (end < c->nresults && c->changes[c->by_gfn[end].value].space < space)
		end++;
	order.item += end;
	while (end + order.n < c->nresults && c->changes[order.item[order.n].value].space == space)
		order.n++;
	return order;
}

/* ---- Indexes ---- */

static int build_for_all(struct commit *c)
{
	struct mslot_snapshot *old = c->old, *next = c->next;
	struct order names = {.item = c->by_name, .n = c->nclaims};
	struct index_swap swap;
	uint32_t space;
	int err;

	for (space = 0; space < old->nspaces; space++) {
		swap = list_swap(c, order_in_space(c, space), space, range_gfn);
		err = index_replace(&c->batch, &old->gfn[space], &swap, &next->gfn[space]);
		if (err)
			return err;
	}
	swap = list_swap(c, order_of(c, EVERY_SPACE, true, range_hva), EVERY_SPACE, range_hva);
	err = index_ranges_replace(&c->batch, &old->hva, &swap, &next->hva);
	if (err)
		return err;
	swap = list_swap(c, names, EVERY_SPACE, range_id);
	return index_replace(&c->batch, &old->id, &swap, &next->id);
}

static ALWAYS_INLINE void list_one(const struct commit *c, range_fn *range_of,
				   struct index_swap *swap)
{
	swap->ncut = swap->nput = 0;
	if (c->changes->before)
		range_of(&c->cut[swap->ncut++], c->changes->before);
	if (c->changes->after)
		range_of(&c->put[swap->nput++], c->changes->after);
}

/* The same for one change. */
static int build_for_one(struct commit *c)
{
	struct mslot_snapshot *old = c->old, *next = c->next;
	struct index_swap swap = {.cut = c->cut, .put = c->put};
	uint32_t space;
	int err;

	for (space = 0; space < old->nspaces; space++)
		next->gfn[space] = old->gfn[space];
	space = c->changes->space;
	list_one(c, range_gfn, &swap);
	err = index_replace(&c->batch, &old->gfn[space], &swap, &next->gfn[space]);
	if (err)
		return err;
	list_one(c, range_hva, &swap);
	err = index_ranges_replace(&c->batch, &old->hva, &swap, &next->hva);
	if (err)
		return err;
	list_one(c, range_id, &swap);
	return index_replace(&c->batch, &old->id, &swap, &next->id);
}

int build_indexes(struct commit *c)
{
	struct mslot_snapshot *next = c->next;
	int err = c->nchanges == 1 ? build_for_one(c) : build_for_all(c);
	uint32_t space;

	if (err)
		return err;
	next->bytes = pool_node_bytes(next) + index_ranges_bytes(&next->hva) + next->id.bytes;
	for (space = 0; space < next->nspaces; space++)
		next->bytes +=
		    next->gfn[space].bytes + next->gfn[space].count * sizeof(struct mslot_slot);
	return 0;
}
