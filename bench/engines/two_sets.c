/* SPDX-License-Identifier: MIT */
/*
 * two_sets.c - the engine "two-sets": KVM's memory slots since 2021.
 *
 * Data: two node sets (two_sets_set.h), one of which is active: the readers' one. Each has all
 * slots, by gfn, by hva and by id, and a cache of the last slot found.
 *
 * Invariants:
 *   T1 between edits both sets hold the same slots, none of them DESIGN_INVALID.
 *   T2 only the inactive set is changed, and no reader is left in it by then.
 *   T3 a published slot does not change, its nodes of the inactive set excepted; another
 *      place or other flags are another slot, which takes the nodes of the old one over.
 *
 * An edit is made in the inactive set, which is then published with one store; after a
 * grace period the same edit is made in the other set. Remove and move do that twice, as the
 * kernel does: first with a copy of the slot that is invalid, so that nobody finds it any
 * more before its place is given to something else. So create and flags wait for one grace
 * period, remove and move for two. The design has no batches: fill() and batch_flags() are
 * sequences of single edits, each published, also into an empty map; an error in the middle
 * leaves those before it made.
 *
 * find() descends the tree, find_local() tries the cache first (the kernel's lookups by gfn
 * do that before they descend). Only lookups by gfn refuse an invalid slot. With 128 buckets,
 * the kernel's number, lookups by id get slower from some thousand slots on, and with them
 * all edits.
 *
 * A descent by gfn chooses the child by an index and not by a branch, so that the processor
 * works on several lookups at once. That makes find() faster than the design was measured in
 * other programs: with 10 / 100 / 509 / 4096 / 32764 slots of random sizes and a dependent
 * load of 1.1 ns it takes 8 / 17 / 22 / 38 / 65 ns, and with branches 13 / 29 / 38 / 73 / 170,
 * where their figures scaled to this floor are 12 / 25 / 39 / 69 / 145. By hva it takes 16 /
 * 33 / 47 / 88 / 159 ns, theirs 13 / 28 / 43 / 72 / 168.
 */
#include "two_sets.h"

#include <stdlib.h>

#include "kvm_design.h"
#include "two_sets_set.h"

struct engine_map {
	struct set *_Atomic active; /* one of set[] */
	uint32_t limit;
	uint64_t nslots;
	struct set set[2];
};

/* ---- Edits of the map ------------------------------------------------------- */

static inline unsigned int index_of_set(const struct engine_map *map, const struct set *set)
{
	return set != &map->set[0];
}

/* The index of the active set, for the writer: nobody else changes it. */
static unsigned int active_index(struct engine_map *map)
{
	return index_of_set(map, atomic_load_explicit(&map->active, memory_order_relaxed));
}

/* In the inactive set: `old` is replaced by `next`; no old slot, or no next one, is NULL. */
static void apply(struct engine_map *map, struct slot *old, struct slot *next)
{
	const unsigned int k = !active_index(map);

	if (!old)
		set_add(&map->set[k], k, next);
	else if (!next)
		set_remove(&map->set[k], k, old);
	else
		set_replace(&map->set[k], k, old, next);
}

/* Release: the set's content before the pointer. Pairs with enter(). T2: and wait. */
static void swap_sets(struct engine_map *map)
{
	atomic_store_explicit(&map->active, &map->set[!active_index(map)], memory_order_seq_cst);
	design_synchronize();
}

/* One edit in both sets, with its grace period. */
static void edit(struct engine_map *map, struct slot *old, struct slot *next)
{
	apply(map, old, next);
	swap_sets(map);
	apply(map, old, next);
}

static struct slot *slot_alloc(void)
{
	return aligned_alloc(64, sizeof(struct slot));
}

/* A slot of the same size and host memory; its nodes are not set. */
static struct slot *slot_copy(const struct slot *slot, uint64_t base_gfn, uint32_t flags)
{
	struct slot *copy = slot_alloc();

	if (!copy)
		return NULL;
	copy->base_gfn = base_gfn;
	copy->npages = slot->npages;
	copy->id_flags = id_of(slot) << FLAG_BITS | flags;
	return copy;
}

/* The slot with an id, for the writer; NULL if none. */
static struct slot *by_id(struct engine_map *map, uint32_t id)
{
	const unsigned int k = active_index(map);

	return id < map->limit ? search_id(&map->set[k], k, id) : NULL;
}

static bool overlaps(struct engine_map *map, uint64_t base_gfn, uint64_t npages,
		     const struct slot *except)
{
	const unsigned int k = active_index(map);
	const struct slot *slot = search_from(&map->set[k], k, base_gfn);

	if (slot && slot == except)
		slot = next_by_gfn(slot, k);
	return slot && slot->base_gfn < base_gfn + npages;
}

static int insert(struct engine_map *map, const struct engine_slot *def)
{
	const uint64_t base_gfn = def->gpa >> DESIGN_PAGE_SHIFT;
	int ret = design_check_slot(def, map->limit);
	struct slot *slot;

	if (ret)
		return ret;
	if (by_id(map, def->id))
		return -EINVAL;
	if (overlaps(map, base_gfn, def->len_bytes >> DESIGN_PAGE_SHIFT, NULL))
		return -EEXIST;
	ret = design_check_limit(def->gpa, def->len_bytes);
	if (ret)
		return ret;
	slot = slot_alloc();
	if (!slot)
		return -ENOMEM;
	slot->base_gfn = base_gfn;
	slot->npages = (uint32_t)(def->len_bytes >> DESIGN_PAGE_SHIFT);
	slot->id_flags = def->id << FLAG_BITS | def->flags;
	for (unsigned int k = 0; k < 2; k++) {
		slot->side[k].first_hva = def->hva;
		slot->side[k].last_hva = def->hva + def->len_bytes - 1;
	}
	edit(map, NULL, slot);
	map->nslots++;
	return 0;
}

/*
 * Replace a slot by `next` (NULL: by nothing), by way of `invalid`, its copy that nobody
 * finds. The invalid copy gets into one set only: the other one is without readers when
 * the new state comes.
 */
static void replace(struct engine_map *map, struct slot *old, struct slot *invalid,
		    struct slot *next)
{
	apply(map, old, invalid);
	swap_sets(map);
	apply(map, old, next);
	swap_sets(map);
	apply(map, invalid, next);
	free(invalid);
	free(old);
}

static int remove_slot(struct engine_map *map, uint32_t id)
{
	struct slot *old = by_id(map, id), *invalid;

	if (!old)
		return -EINVAL;
	invalid = slot_copy(old, old->base_gfn, flags_of(old) | DESIGN_INVALID);
	if (!invalid)
		return -ENOMEM;
	replace(map, old, invalid, NULL);
	map->nslots--;
	return 0;
}

static int move(struct engine_map *map, uint32_t id, uint64_t gpa)
{
	const uint64_t base_gfn = gpa >> DESIGN_PAGE_SHIFT;
	struct slot *old = by_id(map, id), *invalid, *next;
	uint64_t len_bytes;
	int ret;

	if (!old)
		return -EINVAL;
	len_bytes = (uint64_t)old->npages << DESIGN_PAGE_SHIFT;
	ret = design_check_place(gpa, len_bytes);
	if (ret)
		return ret;
	if (old->base_gfn == base_gfn)
		return 0;
	if (overlaps(map, base_gfn, old->npages, old))
		return -EEXIST;
	ret = design_check_limit(gpa, len_bytes);
	if (ret)
		return ret;
	invalid = slot_copy(old, old->base_gfn, flags_of(old) | DESIGN_INVALID);
	next = slot_copy(old, base_gfn, flags_of(old));
	if (!invalid || !next) {
		free(invalid);
		free(next);
		return -ENOMEM;
	}
	replace(map, old, invalid, next);
	return 0;
}

static int set_flags(struct engine_map *map, uint32_t id, uint32_t flags)
{
	struct slot *old = by_id(map, id), *next;

	if (!old || flags > 1)
		return -EINVAL;
	if (flags_of(old) == flags)
		return 0;
	next = slot_copy(old, old->base_gfn, flags);
	if (!next)
		return -ENOMEM;
	edit(map, old, next);
	free(old);
	return 0;
}

static int fill(struct engine_map *map, const struct engine_slot *slots, size_t n)
{
	int ret = 0;

	while (!ret && map->nslots) {
		const unsigned int k = active_index(map);

		ret = remove_slot(map, id_of(of_gfn_node(rb_first(&map->set[k].by_gfn), k)));
	}
	for (size_t i = 0; i < n && !ret; i++)
		ret = insert(map, &slots[i]);
	return ret;
}

static int batch_flags(struct engine_map *map, const struct engine_slot *slots, size_t n)
{
	int ret = 0;

	for (size_t i = 0; i < n && !ret; i++)
		ret = set_flags(map, slots[i].id, slots[i].flags);
	return ret;
}

/* ---- Lookups --------------------------------------------------------------- */

static inline struct set *enter(struct engine_map *map)
{
	design_enter();
	return atomic_load_explicit(&map->active, memory_order_acquire);
}

/*
 * Call a loop over set k with k a constant, in a read section: that saves an addition at
 * each step of a descent.
 */
#define IN_SECTION(loop, map, ...)                                                                 \
	({                                                                                         \
		struct set *const set_ = enter(map);                                               \
		const uint64_t sum_ = index_of_set(map, set_) ? loop(set_, 1, __VA_ARGS__)         \
							      : loop(set_, 0, __VA_ARGS__);        \
		design_leave();                                                                    \
		sum_;                                                                              \
	})
#define LOOP static inline __attribute__((always_inline)) uint64_t

static inline uint64_t token(const struct slot *slot)
{
	return slot && !(slot->id_flags & DESIGN_INVALID) ? (uintptr_t)slot : 0;
}

LOOP find_in(const struct set *set, unsigned int k, const uint64_t *gpa, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += token(search(set, k, gpa[i] >> DESIGN_PAGE_SHIFT));
	return sum;
}

LOOP find_dependent_in(const struct set *set, unsigned int k, const uint64_t *gpa, size_t n)
{
	const uint64_t zero = design_unknown_zero();
	uint64_t sum = 0, last = 0;

	for (size_t i = 0; i < n; i++) {
		last = token(search(set, k, (gpa[i] + (last & zero)) >> DESIGN_PAGE_SHIFT));
		sum += last;
	}
	return sum;
}

LOOP find_local_in(struct set *set, unsigned int k, const uint64_t *gpa, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		const uint64_t gfn = gpa[i] >> DESIGN_PAGE_SHIFT;
		/* Relaxed: the set's pointer was acquired after the slot was published. */
		struct slot *slot = atomic_load_explicit(&set->last_used, memory_order_relaxed);

		if (!slot || gfn - slot->base_gfn >= slot->npages) {
			slot = search(set, k, gfn);
			if (slot)
				atomic_store_explicit(&set->last_used, slot, memory_order_relaxed);
		}
		sum += token(slot);
	}
	return sum;
}

LOOP find_hva_in(const struct set *set, unsigned int k, const uint64_t *hva, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		const struct slot *slot = search_hva(set, k, hva[i], hva[i]);

		for (; slot; slot = next_by_hva(slot, k, hva[i], hva[i]))
			sum += (uintptr_t)slot;
	}
	return sum;
}

LOOP find_id_in(const struct set *set, unsigned int k, const uint32_t *id, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (uintptr_t)search_id(set, k, id[i]);
	return sum;
}

LOOP count_gpa_in(const struct set *set, unsigned int k, uint64_t first, uint64_t last)
{
	const struct slot *slot = search_from(set, k, first);
	uint64_t count = 0;

	for (; slot && slot->base_gfn <= last; slot = next_by_gfn(slot, k))
		count++;
	return count;
}

LOOP count_hva_in(const struct set *set, unsigned int k, uint64_t first, uint64_t last)
{
	const struct slot *slot = search_hva(set, k, first, last);
	uint64_t count = 0;

	for (; slot; slot = next_by_hva(slot, k, first, last))
		count++;
	return count;
}

static uint64_t find(struct engine_map *map, const uint64_t *gpa, size_t n)
{
	return IN_SECTION(find_in, map, gpa, n);
}

static uint64_t find_dependent(struct engine_map *map, const uint64_t *gpa, size_t n)
{
	return IN_SECTION(find_dependent_in, map, gpa, n);
}

static uint64_t find_local(struct engine_map *map, const uint64_t *gpa, size_t n)
{
	return IN_SECTION(find_local_in, map, gpa, n);
}

static uint64_t find_section(struct engine_map *map, const uint64_t *gpa, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += IN_SECTION(find_in, map, gpa + i, 1);
	return sum;
}

static uint64_t find_hva(struct engine_map *map, const uint64_t *hva, size_t n)
{
	return IN_SECTION(find_hva_in, map, hva, n);
}

static uint64_t find_id(struct engine_map *map, const uint32_t *id, size_t n)
{
	return IN_SECTION(find_id_in, map, id, n);
}

static uint64_t token_of(struct engine_map *map, uint32_t id)
{
	return find_id(map, &id, 1);
}

LOOP flags_in(const struct set *set, unsigned int k, uint32_t id)
{
	const struct slot *const slot = search_id(set, k, id);

	return slot ? flags_of(slot) : 0;
}

static uint32_t flags_of_id(struct engine_map *map, uint32_t id)
{
	return (uint32_t)IN_SECTION(flags_in, map, id);
}

static uint64_t count_gpa(struct engine_map *map, uint64_t gpa, uint64_t len_bytes)
{
	if (!len_bytes)
		return 0;
	return IN_SECTION(count_gpa_in, map, gpa >> DESIGN_PAGE_SHIFT,
			  (gpa + len_bytes - 1) >> DESIGN_PAGE_SHIFT);
}

static uint64_t count_hva(struct engine_map *map, uint64_t hva, uint64_t len_bytes)
{
	return len_bytes ? IN_SECTION(count_hva_in, map, hva, hva + len_bytes - 1) : 0;
}

/* As the kernel's fault does it: by the last slot, else by the tree. */
LOOP translate_in(struct set *set, unsigned int k, uint64_t gpa)
{
	const struct slot *slot;

	if (find_local_in(set, k, &gpa, 1) == 0)
		return 0;
	slot = atomic_load_explicit(&set->last_used, memory_order_relaxed);
	return slot->side[k].first_hva + (gpa - (slot->base_gfn << DESIGN_PAGE_SHIFT));
}

LOOP visit_hva_in(const struct set *set, unsigned int k, uint64_t hva, uint64_t len_bytes,
		  const struct engine_visitor *visitor)
{
	const uint64_t last = hva + len_bytes - 1;
	const struct slot *slot = search_hva(set, k, hva, last);
	uint64_t count = 0;

	for (; slot; slot = next_by_hva(slot, k, hva, last)) {
		const struct engine_slot shown = {.gpa = slot->base_gfn << DESIGN_PAGE_SHIFT,
						  .len_bytes = (uint64_t)slot->npages
							       << DESIGN_PAGE_SHIFT,
						  .hva = slot->side[k].first_hva};

		engine_visit(visitor, &shown, hva, len_bytes);
		count++;
	}
	return count;
}

/* By one thread at a time: the slot found must still be the last one. */
static uint64_t translate(struct engine_map *map, uint64_t gpa)
{
	return IN_SECTION(translate_in, map, gpa);
}

static uint64_t visit_hva(struct engine_map *map, uint64_t hva, uint64_t len_bytes,
			  const struct engine_visitor *visitor)
{
	return IN_SECTION(visit_hva_in, map, hva, len_bytes, visitor);
}

/* ---- The map --------------------------------------------------------------- */

static struct engine_map *create(uint32_t limit)
{
	struct engine_map *map = limit <= MAX_LIMIT ? calloc(1, sizeof(*map)) : NULL;

	if (!map)
		return NULL;
	map->limit = limit;
	set_init(&map->set[0], 0);
	set_init(&map->set[1], 1);
	atomic_init(&map->active, &map->set[0]);
	return map;
}

static void destroy(struct engine_map *map)
{
	for (unsigned int i = 0; i < BUCKETS; i++) {
		for (struct slot *slot = map->set[0].bucket[i], *next; slot; slot = next) {
			next = slot->side[0].next;
			free(slot);
		}
	}
	free(map);
}

static uint64_t memory(struct engine_map *map)
{
	return sizeof(map->set) + map->nslots * sizeof(struct slot);
}

const char *two_sets_check(struct engine_map *map)
{
	const char *why[2];
	size_t n[2];

	for (unsigned int k = 0; k < 2; k++) {
		why[k] = set_check(&map->set[k], k, &n[k]);
		if (why[k])
			return why[k];
		if (n[k] != map->nslots)
			return "T1: a set has not all slots";
	}
	/* As many in both: then it is enough that those of one are in the other. */
	for (const struct rb_node *node = rb_first(&map->set[0].by_gfn); node;
	     node = rb_next(node)) {
		const struct slot *slot = of_gfn_node(node, 0);

		if (search(&map->set[1], 1, slot->base_gfn) != slot)
			return "T1: the sets have different slots";
	}
	return NULL;
}

const struct engine engine_two_sets = {
    .name = "two-sets",
    .what = "KVM since 2021: two sets of trees in turn, a grace period each",
    .overlaps_hva = true,
    .create = create,
    .destroy = destroy,
    .insert = insert,
    .remove = remove_slot,
    .move = move,
    .set_flags = set_flags,
    .fill = fill,
    .batch_flags = batch_flags,
    .token_of = token_of,
    .flags_of = flags_of_id,
    .find = find,
    .find_dependent = find_dependent,
    .find_local = find_local,
    .find_section = find_section,
    .find_hva = find_hva,
    .find_id = find_id,
    .count_gpa = count_gpa,
    .count_hva = count_hva,
    .translate = translate,
    .visit_hva = visit_hva,
    .memory = memory,
    .thread_begin = design_thread_begin,
};
