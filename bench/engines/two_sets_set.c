/* SPDX-License-Identifier: MIT */
/*
 * two_sets_set.c - edits of one node set of the engine "two-sets", and its checker; see
 * two_sets_set.h. Nobody reads the set meanwhile.
 */
#include "two_sets_set.h"

#include "kvm_design.h"

static uint64_t max_last_hva(const struct rb_node *node, unsigned int k)
{
	uint64_t max = of_hva_node(node, k)->side[k].last_hva;

	for (int i = 0; i < 2; i++) {
		const struct rb_node *child = node->child[i];

		if (child && of_hva_node(child, k)->side[k].max_last_hva > max)
			max = of_hva_node(child, k)->side[k].max_last_hva;
	}
	return max;
}

static void refresh_0(struct rb_node *node)
{
	of_hva_node(node, 0)->side[0].max_last_hva = max_last_hva(node, 0);
}

static void refresh_1(struct rb_node *node)
{
	of_hva_node(node, 1)->side[1].max_last_hva = max_last_hva(node, 1);
}

void set_init(struct set *set, unsigned int k)
{
	set->by_hva.refresh = k ? refresh_1 : refresh_0;
}

static void add_by_gfn(struct set *set, unsigned int k, struct slot *slot)
{
	struct rb_node *parent = NULL, *node = set->by_gfn.root;
	int side = 0;

	while (node) {
		parent = node;
		side = slot->base_gfn >= of_gfn_node(node, k)->base_gfn;
		node = node->child[side];
	}
	rb_insert(&set->by_gfn, &slot->by_gfn[k], parent, side);
}

static void add_by_hva(struct set *set, unsigned int k, struct slot *slot)
{
	struct rb_node *parent = NULL, *node = set->by_hva.root;
	int side = 0;

	while (node) {
		parent = node;
		side = slot->side[k].first_hva >= of_hva_node(node, k)->side[k].first_hva;
		node = node->child[side];
	}
	rb_insert(&set->by_hva, &slot->side[k].by_hva, parent, side);
}

void set_add(struct set *set, unsigned int k, struct slot *slot)
{
	struct slot **bucket = &set->bucket[id_of(slot) % BUCKETS];

	add_by_gfn(set, k, slot);
	add_by_hva(set, k, slot);
	slot->side[k].next = *bucket;
	slot->side[k].link = bucket;
	if (*bucket)
		(*bucket)->side[k].link = &slot->side[k].next;
	*bucket = slot;
}

static void forget_last_used(struct set *set, const struct slot *slot)
{
	if (atomic_load_explicit(&set->last_used, memory_order_relaxed) == slot)
		atomic_store_explicit(&set->last_used, NULL, memory_order_relaxed);
}

void set_remove(struct set *set, unsigned int k, struct slot *slot)
{
	struct side *side = &slot->side[k];

	rb_erase(&set->by_gfn, &slot->by_gfn[k]);
	rb_erase(&set->by_hva, &side->by_hva);
	*side->link = side->next;
	if (side->next)
		side->next->side[k].link = side->link;
	forget_last_used(set, slot);
}

void set_replace(struct set *set, unsigned int k, struct slot *old, struct slot *next)
{
	struct side *from = &old->side[k], *to = &next->side[k];

	if (old->base_gfn == next->base_gfn) {
		rb_replace(&set->by_gfn, &old->by_gfn[k], &next->by_gfn[k]);
	} else {
		rb_erase(&set->by_gfn, &old->by_gfn[k]);
		add_by_gfn(set, k, next);
	}
	*to = *from;
	rb_replace(&set->by_hva, &from->by_hva, &to->by_hva);
	*to->link = next;
	if (to->next)
		to->next->side[k].link = &to->next;
	forget_last_used(set, old);
}

/* ---- The checker ----------------------------------------------------------- */

static bool gfn_ordered(const struct slot *a, const struct slot *b)
{
	return a->base_gfn + a->npages <= b->base_gfn;
}

static bool gfn_ordered_0(const struct rb_node *a, const struct rb_node *b)
{
	return gfn_ordered(of_gfn_node(a, 0), of_gfn_node(b, 0));
}

static bool gfn_ordered_1(const struct rb_node *a, const struct rb_node *b)
{
	return gfn_ordered(of_gfn_node(a, 1), of_gfn_node(b, 1));
}

static bool hva_ordered_0(const struct rb_node *a, const struct rb_node *b)
{
	return of_hva_node(a, 0)->side[0].first_hva <= of_hva_node(b, 0)->side[0].first_hva;
}

static bool hva_ordered_1(const struct rb_node *a, const struct rb_node *b)
{
	return of_hva_node(a, 1)->side[1].first_hva <= of_hva_node(b, 1)->side[1].first_hva;
}

static bool hva_fresh_0(const struct rb_node *node)
{
	return of_hva_node(node, 0)->side[0].max_last_hva == max_last_hva(node, 0);
}

static bool hva_fresh_1(const struct rb_node *node)
{
	return of_hva_node(node, 1)->side[1].max_last_hva == max_last_hva(node, 1);
}

static const char *check_slot(const struct set *set, unsigned int k, const struct slot *slot)
{
	const struct side *side = &slot->side[k];

	if (*side->link != slot)
		return "S4: a link does not point back";
	if (slot->id_flags & DESIGN_INVALID)
		return "T1: an invalid slot";
	if (search(set, k, slot->base_gfn) != slot)
		return "S1: a slot is not found by its gfn";
	if (side->last_hva - side->first_hva + 1 != (uint64_t)slot->npages << DESIGN_PAGE_SHIFT)
		return "S2: a slot has another size by hva";
	for (const struct slot *hit = search_hva(set, k, side->first_hva, side->first_hva); hit;
	     hit = next_by_hva(hit, k, side->first_hva, side->first_hva)) {
		if (hit == slot)
			return NULL;
	}
	return "S2: a slot is not found by its hva";
}

const char *set_check(const struct set *set, unsigned int k, size_t *n)
{
	static const struct rb_rules by_gfn[2] = {{gfn_ordered_0, NULL}, {gfn_ordered_1, NULL}};
	static const struct rb_rules by_hva[2] = {{hva_ordered_0, hva_fresh_0},
						  {hva_ordered_1, hva_fresh_1}};
	const struct slot *last = atomic_load_explicit(&set->last_used, memory_order_relaxed);
	size_t in_gfn = 0, in_hva = 0;
	const char *why = rb_check(&set->by_gfn, &by_gfn[k], &in_gfn);

	*n = 0;
	if (!why)
		why = rb_check(&set->by_hva, &by_hva[k], &in_hva);
	for (unsigned int i = 0; i < BUCKETS && !why; i++) {
		for (const struct slot *s = set->bucket[i]; s && !why; s = s->side[k].next, ++*n) {
			if (id_of(s) % BUCKETS != i)
				why = "S4: a slot is in another bucket";
			else
				why = check_slot(set, k, s);
			if (s == last)
				last = NULL;
		}
	}
	if (why)
		return why;
	if (last)
		return "S5: the cache names a slot that is not there";
	return *n == in_gfn && *n == in_hva ? NULL : "the indexes differ in the number of slots";
}
