/* SPDX-License-Identifier: MIT */
/*
 * two_sets_set.h - one node set of the engine "two-sets", and the searches in it.
 *
 * A set has a red-black tree by gfn, an interval tree by hva (a red-black tree by first hva,
 * with the greatest last hva of each subtree), a hash table by id, and a cache of the last
 * slot found, shared by all readers. A slot has nodes for both sets in it, as in the kernel,
 * and its own part for each: functions take the set and its index `k` of these. All that a
 * lookup by gfn reads of a slot, in either set, is in one cache line.
 *
 * Invariants:
 *   S1 the tree by gfn is in rising order of base_gfn, and no two slots overlap.
 *   S2 the tree by hva is in rising order of first_hva; slots may overlap.
 *   S3 max_last_hva is the greatest last_hva of the node's subtree.
 *   S4 a slot is in the bucket id % BUCKETS; *link is what points to it there.
 *   S5 last_used is NULL or in the set.
 */
#ifndef MSLOT_BENCH_TWO_SETS_SET_H
#define MSLOT_BENCH_TWO_SETS_SET_H

#include <stdatomic.h>

#include "two_sets_rbtree.h"

/* The kernel's number, whatever the number of slots. */
#define BUCKETS 128u

/* A slot's part of one set, but for its node by gfn. */
struct side {
	struct rb_node by_hva;
	uint64_t max_last_hva; /* of the subtree below by_hva */
	uint64_t first_hva, last_hva;
	struct slot *next, **link; /* in the bucket; what points to this slot */
};

struct slot {
	struct rb_node by_gfn[2];
	uint64_t base_gfn;
	uint32_t npages;
	uint32_t id_flags; /* id << FLAG_BITS | flags */
	struct side side[2];
};

#define FLAG_BITS 2
#define MAX_LIMIT (UINT32_C(1) << (32 - FLAG_BITS))

_Static_assert(offsetof(struct slot, side) == 64 && sizeof(struct side) == 64,
	       "a lookup by gfn reads one cache line of a slot, one by hva another");

struct set {
	struct slot *_Atomic last_used;
	struct rb_tree by_gfn, by_hva;
	struct slot *bucket[BUCKETS];
};

/* `k` is a constant wherever a lookup calls these. */
static inline struct slot *of_gfn_node(const struct rb_node *node, unsigned int k)
{
	return (struct slot *)((uintptr_t)node - offsetof(struct slot, by_gfn) -
			       k * sizeof(struct rb_node));
}

static inline struct slot *of_hva_node(const struct rb_node *node, unsigned int k)
{
	return (struct slot *)((uintptr_t)node - offsetof(struct slot, side) -
			       k * sizeof(struct side) - offsetof(struct side, by_hva));
}

static inline uint32_t flags_of(const struct slot *slot)
{
	return slot->id_flags & ((1u << FLAG_BITS) - 1);
}

static inline uint32_t id_of(const struct slot *slot)
{
	return slot->id_flags >> FLAG_BITS;
}

/* ---- Searches in set k ------------------------------------------------------ */

static inline __attribute__((always_inline)) struct slot *search(const struct set *set,
								 unsigned int k, uint64_t gfn)
{
	const struct rb_node *node = set->by_gfn.root;

	while (node) {
		struct slot *slot = of_gfn_node(node, k);

		if (gfn - slot->base_gfn < slot->npages)
			return slot;
		/* An index and no condition: the way down is hard to predict. */
		node = node->child[gfn >= slot->base_gfn];
	}
	return NULL;
}

/* The first slot in order that ends behind `gfn`. */
static inline struct slot *search_from(const struct set *set, unsigned int k, uint64_t gfn)
{
	const struct rb_node *node = set->by_gfn.root;
	struct slot *best = NULL;

	while (node) {
		struct slot *slot = of_gfn_node(node, k);

		if (slot->base_gfn + slot->npages > gfn) {
			best = slot;
			node = node->child[0];
		} else {
			node = node->child[1];
		}
	}
	return best;
}

static inline struct slot *next_by_gfn(const struct slot *slot, unsigned int k)
{
	const struct rb_node *next = rb_next(&slot->by_gfn[k]);

	return next ? of_gfn_node(next, k) : NULL;
}

static inline struct slot *search_id(const struct set *set, unsigned int k, uint32_t id)
{
	struct slot *slot = set->bucket[id % BUCKETS];

	while (slot && id_of(slot) != id)
		slot = slot->side[k].next;
	return slot;
}

/*
 * The first node in order below `node` that overlaps [first, last], NULL if none; something
 * below it ends at `first` or behind. When the left subtree has such an end, then either an
 * overlap is in it, or all from there on begins behind `last`.
 */
static inline __attribute__((always_inline)) struct slot *
first_by_hva(const struct rb_node *node, unsigned int k, uint64_t first, uint64_t last)
{
	for (;;) {
		struct slot *slot = of_hva_node(node, k);
		const struct rb_node *left = node->child[0];

		if (left && of_hva_node(left, k)->side[k].max_last_hva >= first) {
			node = left;
			continue;
		}
		if (slot->side[k].first_hva > last)
			return NULL;
		if (slot->side[k].last_hva >= first)
			return slot;
		node = node->child[1];
	}
}

static inline __attribute__((always_inline)) struct slot *
next_by_hva(const struct slot *slot, unsigned int k, uint64_t first, uint64_t last)
{
	const struct rb_node *node = &slot->side[k].by_hva, *child;

	for (;;) {
		const struct rb_node *right = node->child[1];

		if (right && of_hva_node(right, k)->side[k].max_last_hva >= first)
			return first_by_hva(right, k, first, last);
		do {
			child = node;
			node = rb_parent(node);
			if (!node)
				return NULL;
		} while (node->child[1] == child);
		struct slot *up = of_hva_node(node, k);
		if (up->side[k].first_hva > last)
			return NULL;
		if (up->side[k].last_hva >= first)
			return up;
	}
}

static inline __attribute__((always_inline)) struct slot *
search_hva(const struct set *set, unsigned int k, uint64_t first, uint64_t last)
{
	const struct rb_node *root = set->by_hva.root;

	if (!root || of_hva_node(root, k)->side[k].max_last_hva < first)
		return NULL;
	return first_by_hva(root, k, first, last);
}

/* ---- Edits of set k; two_sets_set.c ------------------------------------------- */

/* `set` is zeroed. */
void set_init(struct set *set, unsigned int k);
/* The slot's hva fields of side k are set, and its place and id are free. */
void set_add(struct set *set, unsigned int k, struct slot *slot);
void set_remove(struct set *set, unsigned int k, struct slot *slot);
/* `next` has the id, size and host memory of `old`, and its place or a free one. */
void set_replace(struct set *set, unsigned int k, struct slot *old, struct slot *next);
/* NULL, or which invariant of the set or of its trees does not hold; in *n how many slots. */
const char *set_check(const struct set *set, unsigned int k, size_t *n);

#endif /* MSLOT_BENCH_TWO_SETS_SET_H */
