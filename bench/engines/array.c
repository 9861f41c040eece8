/* SPDX-License-Identifier: MIT */
/*
 * array.c - the engine "array": KVM's memory slots until 2021.
 *
 * Data: one array of slots, rising by base gfn, and a table id -> index of it, in one
 * allocation that is never changed once published; only `last_used`, an index that the
 * lookups with a cache try first, is written by readers. The table has a place for each id
 * below the limit, whatever the map holds, as the kernel's had.
 *
 * Invariants:
 *   A1 slot[0..used) is sorted by base_gfn and free of overlap.
 *   A2 index_of[slot[i].id] == i; all other entries are NO_INDEX.
 *   A3 no slot has DESIGN_INVALID but between the two publishes of a remove or a move.
 *
 * An update copies all of it, publishes the copy with one store, waits for a grace period
 * and drops the old one (two dropped arrays are kept as memory for the next copies: else most
 * of the time of a large copy would be page faults). Remove and move do that twice, as the kernel
 * did: first with a copy in which the slot is invalid, so that nobody finds it any more before its
 * place is given to something else. Both copies are made before the first publish, so that an
 * update which lacks memory changes nothing. fill() and batch_flags() make one copy for all; the
 * kernel never offered that, its way is one insert() or set_flags() a slot.
 *
 * A lookup by gfn is a binary search: find() does only that, find_local() tries the
 * last-used slot first (the kernel's lookups by gfn did that before they searched). There is
 * no index by hva: those lookups walk all slots. Only lookups by gfn refuse an invalid slot.
 *
 * The search has no branch that depends on an address, so that the processor works on several
 * lookups at once. That makes find() faster than the design was measured in other programs,
 * where each step was a branch: with 10 / 100 / 509 / 4096 / 32764 slots of random sizes and a
 * dependent load of 1.1 ns it takes 6 / 12 / 17 / 35 / 50 ns, and with branches 17 / 33 / 47 /
 * 80 / 107, where their figures scaled to this floor are 15 / 32 / 47 / 65 / 97.
 */
#include "kvm_design.h"

#include <stdlib.h>
#include <string.h>

#ifdef __SANITIZE_ADDRESS__
#define KEEP_SPARES false /* so that a reader of a dropped array is noticed */
#else
#define KEEP_SPARES true
#endif

#define NO_INDEX UINT16_MAX
#define MAX_SLOTS 65535u /* indexes of 16 bits, NO_INDEX excepted */

struct slot {
	uint64_t base_gfn;
	uint64_t npages;
	uint64_t hva;
	uint32_t flags;
	uint32_t id;
};

struct array {
	uint32_t used;
	_Atomic uint32_t last_used; /* any index, also one beyond `used` */
	uint16_t *index_of;         /* behind the slots */
	size_t room;                /* bytes of the allocation */
	char pad[40];               /* slots do not straddle cache lines */
	struct slot slot[];
};

struct engine_map {
	struct array *_Atomic active;
	uint32_t limit;
	struct array *spare[2]; /* for the next copies; NULL: none */
};

_Static_assert(sizeof(struct slot) == 32 && sizeof(struct array) == 64, "two slots a cache line");

/* ---- Arrays ---------------------------------------------------------------- */

static size_t array_bytes(const struct engine_map *map, uint32_t used)
{
	return sizeof(struct array) + used * sizeof(struct slot) + map->limit * sizeof(uint16_t);
}

/* Memory of at least `bytes`: a spare array, or new with some room to grow. */
static struct array *take_memory(struct engine_map *map, size_t bytes)
{
	struct array *array;

	for (int i = 0; i < 2; i++) {
		array = map->spare[i];
		if (array && array->room >= bytes) {
			map->spare[i] = NULL;
			return array;
		}
	}
	bytes = (bytes + bytes / 8 + 63) & ~(size_t)63;
	array = aligned_alloc(64, bytes);
	if (array)
		array->room = bytes;
	return array;
}

/* The slots and the index table are not set. */
static struct array *array_create(struct engine_map *map, uint32_t used)
{
	struct array *array = take_memory(map, array_bytes(map, used));

	if (!array)
		return NULL;
	array->used = used;
	atomic_init(&array->last_used, 0);
	array->index_of = (uint16_t *)(array->slot + used);
	return array;
}

/* No reader can have it, and the writer does not need it. NULL is allowed. */
static void array_destroy(struct engine_map *map, struct array *array)
{
	for (int i = 0; i < 2 && KEEP_SPARES && array; i++) {
		struct array *spare = map->spare[i];

		if (!spare || spare->room < array->room) {
			map->spare[i] = array;
			array = spare;
		}
	}
	free(array);
}

/* For the writer, who is the only one to change it. */
static struct array *active_array(struct engine_map *map)
{
	return atomic_load_explicit(&map->active, memory_order_relaxed);
}

/* Release: the array's content before the pointer. Pairs with enter(). */
static void publish(struct engine_map *map, struct array *array)
{
	struct array *old = active_array(map);

	atomic_store_explicit(&map->active, array, memory_order_seq_cst);
	design_synchronize();
	array_destroy(map, old);
}

static const struct array *enter(struct engine_map *map)
{
	design_enter();
	return atomic_load_explicit(&map->active, memory_order_acquire);
}

/* How many slots have a base gfn of at most `gfn`. */
static inline uint32_t count_upto(const struct array *array, uint64_t gfn)
{
	uint32_t base = 0, n = array->used;

	while (n > 0) {
		const uint32_t half = n - n / 2;
		uint32_t below = array->slot[base + half - 1].base_gfn <= gfn;

		/* What the compiler does not know to be a condition it cannot make a branch of. */
		__asm__("" : "+r"(below));
		base += half & -below;
		n -= half;
	}
	return base;
}

static inline const struct slot *search(const struct array *array, uint64_t gfn)
{
	const uint32_t n = count_upto(array, gfn);
	const struct slot *slot = array->slot + n;

	return n && gfn - slot[-1].base_gfn < slot[-1].npages ? slot - 1 : NULL;
}

/* ---- Edits ----------------------------------------------------------------- */

/* Slots and the part of the id table that edited() has written so far. */
static void append(struct array *array, uint32_t *n, const struct array *old, uint32_t from,
		   uint32_t to)
{
	memcpy(array->slot + *n, old->slot + from, (to - from) * sizeof(struct slot));
	*n += to - from;
}

/* A copy of `old` without the slot at index `drop` (if not NO_INDEX) and with `add` (if any). */
static struct array *edited(struct engine_map *map, const struct array *old, uint32_t drop,
			    const struct slot *add)
{
	const uint32_t used = old->used - (drop != NO_INDEX) + (add != NULL);
	/* Where `add` goes, in indexes of `old`; in its own old place if only its content differs.
	 */
	const uint32_t at = !add             ? old->used
			    : !add->base_gfn ? 0
					     : count_upto(old, add->base_gfn - 1);
	struct array *array = array_create(map, used);
	uint32_t from = 0, n = 0, first = at;

	if (!array)
		return NULL;
	if (drop < at && drop != NO_INDEX) {
		append(array, &n, old, 0, drop);
		from = drop + 1;
		first = drop;
	}
	append(array, &n, old, from, at);
	from = at;
	if (add)
		array->slot[n++] = *add;
	if (drop >= at && drop != NO_INDEX) {
		append(array, &n, old, at, drop);
		from = drop + 1;
	}
	append(array, &n, old, from, old->used);

	memcpy(array->index_of, old->index_of, map->limit * sizeof(uint16_t));
	if (drop != NO_INDEX)
		array->index_of[old->slot[drop].id] = NO_INDEX;
	/* Behind the higher of two places nothing has moved. */
	n = used != old->used ? used : (drop > at ? drop : at) + 1;
	for (uint32_t i = first; i < n && i < used; i++)
		array->index_of[array->slot[i].id] = (uint16_t)i;
	return array;
}

static bool overlaps(const struct array *array, uint64_t base_gfn, uint64_t npages, uint32_t except)
{
	/* All slots that begin before the range's end; the last two can reach into it. */
	uint32_t i = count_upto(array, base_gfn + npages - 1);

	for (uint32_t n = 0; i-- > 0 && n < 2; n++) {
		if (i != except)
			return array->slot[i].base_gfn + array->slot[i].npages > base_gfn;
	}
	return false;
}

static struct slot slot_of(const struct engine_slot *slot)
{
	return (struct slot){.base_gfn = slot->gpa >> DESIGN_PAGE_SHIFT,
			     .npages = slot->len_bytes >> DESIGN_PAGE_SHIFT,
			     .hva = slot->hva,
			     .flags = slot->flags,
			     .id = slot->id};
}

static int insert(struct engine_map *map, const struct engine_slot *def)
{
	const struct array *old = active_array(map);
	int ret = design_check_slot(def, map->limit);
	struct slot slot;
	struct array *array;

	if (ret)
		return ret;
	if (old->index_of[def->id] != NO_INDEX)
		return -EINVAL;
	slot = slot_of(def);
	if (overlaps(old, slot.base_gfn, slot.npages, NO_INDEX))
		return -EEXIST;
	ret = design_check_limit(def->gpa, def->len_bytes);
	if (ret)
		return ret;
	array = edited(map, old, NO_INDEX, &slot);
	if (!array)
		return -ENOMEM;
	publish(map, array);
	return 0;
}

/* Replace the slot at an index by `next` (NULL: by nothing) in two publishes. */
static int replace(struct engine_map *map, uint32_t index, const struct slot *next)
{
	const struct array *old = active_array(map);
	struct slot invalid = old->slot[index];
	struct array *first, *second;

	invalid.flags |= DESIGN_INVALID;
	first = edited(map, old, index, &invalid);
	second = edited(map, old, index, next);
	if (!first || !second) {
		array_destroy(map, first);
		array_destroy(map, second);
		return -ENOMEM;
	}
	publish(map, first);
	publish(map, second);
	return 0;
}

static uint32_t index_of_id(const struct engine_map *map, const struct array *array, uint32_t id)
{
	return id < map->limit ? array->index_of[id] : NO_INDEX;
}

static int remove_slot(struct engine_map *map, uint32_t id)
{
	const uint32_t index = index_of_id(map, active_array(map), id);

	return index == NO_INDEX ? -EINVAL : replace(map, index, NULL);
}

static int move(struct engine_map *map, uint32_t id, uint64_t gpa)
{
	const struct array *old = active_array(map);
	const uint32_t index = index_of_id(map, old, id);
	struct slot slot;
	uint64_t len_bytes;
	int ret;

	if (index == NO_INDEX)
		return -EINVAL;
	slot = old->slot[index];
	len_bytes = slot.npages << DESIGN_PAGE_SHIFT;
	ret = design_check_place(gpa, len_bytes);
	if (ret)
		return ret;
	if (slot.base_gfn == gpa >> DESIGN_PAGE_SHIFT)
		return 0;
	slot.base_gfn = gpa >> DESIGN_PAGE_SHIFT;
	if (overlaps(old, slot.base_gfn, slot.npages, index))
		return -EEXIST;
	ret = design_check_limit(gpa, len_bytes);
	return ret ? ret : replace(map, index, &slot);
}

static int set_flags(struct engine_map *map, uint32_t id, uint32_t flags)
{
	const struct array *old = active_array(map);
	const uint32_t index = index_of_id(map, old, id);
	struct array *array;
	struct slot slot;

	if (index == NO_INDEX || flags > 1)
		return -EINVAL;
	slot = old->slot[index];
	if (slot.flags == flags)
		return 0;
	slot.flags = flags;
	array = edited(map, old, index, &slot);
	if (!array)
		return -ENOMEM;
	publish(map, array);
	return 0;
}

static int by_base_gfn(const void *a, const void *b)
{
	const struct slot *x = a, *y = b;

	return (x->base_gfn > y->base_gfn) - (x->base_gfn < y->base_gfn);
}

static int fill_array(const struct engine_map *map, struct array *array,
		      const struct engine_slot *slots)
{
	uint32_t i;
	int ret;

	memset(array->index_of, 0xff, map->limit * sizeof(uint16_t));
	for (i = 0; i < array->used; i++) {
		ret = design_check_slot(&slots[i], map->limit);
		if (ret)
			return ret;
		if (array->index_of[slots[i].id] != NO_INDEX)
			return -EINVAL;
		array->index_of[slots[i].id] = 0;
		array->slot[i] = slot_of(&slots[i]);
	}
	qsort(array->slot, array->used, sizeof(struct slot), by_base_gfn);
	for (i = 0; i < array->used; i++) {
		const struct slot *slot = &array->slot[i];

		if (i && slot[-1].base_gfn + slot[-1].npages > slot->base_gfn)
			return -EEXIST;
		array->index_of[slot->id] = (uint16_t)i;
	}
	for (i = 0, ret = 0; i < array->used && !ret; i++)
		ret = design_check_limit(slots[i].gpa, slots[i].len_bytes);
	return ret;
}

static int fill(struct engine_map *map, const struct engine_slot *slots, size_t n)
{
	struct array *array;
	int ret;

	if (n > map->limit) /* two must have the same id */
		return -EINVAL;
	array = array_create(map, (uint32_t)n);
	if (!array)
		return -ENOMEM;
	ret = fill_array(map, array, slots);
	if (ret) {
		array_destroy(map, array);
		return ret;
	}
	publish(map, array);
	return 0;
}

static int batch_flags(struct engine_map *map, const struct engine_slot *slots, size_t n)
{
	const struct array *old = active_array(map);
	struct array *array = edited(map, old, NO_INDEX, NULL);
	bool changed = false;

	if (!array)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const uint32_t index = index_of_id(map, array, slots[i].id);

		if (index == NO_INDEX || slots[i].flags > 1) {
			array_destroy(map, array);
			return -EINVAL;
		}
		changed |= array->slot[index].flags != slots[i].flags;
		array->slot[index].flags = slots[i].flags;
	}
	if (changed)
		publish(map, array);
	else
		array_destroy(map, array);
	return 0;
}

/* ---- Lookups --------------------------------------------------------------- */

static inline uint64_t token(const struct slot *slot)
{
	return slot && !(slot->flags & DESIGN_INVALID) ? (uintptr_t)slot : 0;
}

static uint64_t find(struct engine_map *map, const uint64_t *gpa, size_t n)
{
	const struct array *array = enter(map);
	uint64_t sum = 0;

	for (size_t k = 0; k < n; k++)
		sum += token(search(array, gpa[k] >> DESIGN_PAGE_SHIFT));
	design_leave();
	return sum;
}

static uint64_t find_dependent(struct engine_map *map, const uint64_t *gpa, size_t n)
{
	const struct array *array = enter(map);
	const uint64_t zero = design_unknown_zero();
	uint64_t sum = 0, last = 0;

	for (size_t k = 0; k < n; k++) {
		last = token(search(array, (gpa[k] + (last & zero)) >> DESIGN_PAGE_SHIFT));
		sum += last;
	}
	design_leave();
	return sum;
}

static uint64_t find_local(struct engine_map *map, const uint64_t *gpa, size_t n)
{
	/* The active array, but for its one field that readers write. */
	struct array *array = (struct array *)(uintptr_t)enter(map);
	uint64_t sum = 0;

	for (size_t k = 0; k < n; k++) {
		const uint64_t gfn = gpa[k] >> DESIGN_PAGE_SHIFT;
		uint32_t i = atomic_load_explicit(&array->last_used, memory_order_relaxed);
		const struct slot *slot = &array->slot[i];

		if (i >= array->used || gfn - slot->base_gfn >= slot->npages) {
			slot = search(array, gfn);
			if (slot)
				atomic_store_explicit(&array->last_used,
						      (uint32_t)(slot - array->slot),
						      memory_order_relaxed);
		}
		sum += token(slot);
	}
	design_leave();
	return sum;
}

static uint64_t find_section(struct engine_map *map, const uint64_t *gpa, size_t n)
{
	uint64_t sum = 0;

	for (size_t k = 0; k < n; k++) {
		sum += token(search(enter(map), gpa[k] >> DESIGN_PAGE_SHIFT));
		design_leave();
	}
	return sum;
}

static uint64_t find_hva(struct engine_map *map, const uint64_t *hva, size_t n)
{
	const struct array *array = enter(map);
	uint64_t sum = 0;

	for (size_t k = 0; k < n; k++) {
		for (uint32_t i = 0; i < array->used; i++) {
			const struct slot *slot = &array->slot[i];

			if ((hva[k] - slot->hva) >> DESIGN_PAGE_SHIFT < slot->npages)
				sum += (uintptr_t)slot;
		}
	}
	design_leave();
	return sum;
}

static uint64_t find_id(struct engine_map *map, const uint32_t *id, size_t n)
{
	const struct array *array = enter(map);
	uint64_t sum = 0;

	for (size_t k = 0; k < n; k++) {
		const uint32_t i = index_of_id(map, array, id[k]);

		if (i != NO_INDEX)
			sum += (uintptr_t)&array->slot[i];
	}
	design_leave();
	return sum;
}

static uint64_t token_of(struct engine_map *map, uint32_t id)
{
	return find_id(map, &id, 1);
}

static uint32_t flags_of_id(struct engine_map *map, uint32_t id)
{
	const struct array *array = enter(map);
	const uint32_t i = index_of_id(map, array, id);
	const uint32_t flags = i != NO_INDEX ? array->slot[i].flags : 0;

	design_leave();
	return flags;
}

static uint64_t count_gpa(struct engine_map *map, uint64_t gpa, uint64_t len_bytes)
{
	const struct array *array = enter(map);
	const uint64_t first = gpa >> DESIGN_PAGE_SHIFT;
	uint64_t count = 0;

	if (len_bytes) {
		uint32_t begin = count_upto(array, first);

		if (begin &&
		    first - array->slot[begin - 1].base_gfn < array->slot[begin - 1].npages)
			begin--;
		count = count_upto(array, (gpa + len_bytes - 1) >> DESIGN_PAGE_SHIFT) - begin;
	}
	design_leave();
	return count;
}

static uint64_t count_hva(struct engine_map *map, uint64_t hva, uint64_t len_bytes)
{
	const struct array *array = enter(map);
	uint64_t count = 0;

	for (uint32_t i = 0; i < array->used && len_bytes; i++) {
		const struct slot *slot = &array->slot[i];

		count += slot->hva <= hva + len_bytes - 1 &&
			 hva <= slot->hva + (slot->npages << DESIGN_PAGE_SHIFT) - 1;
	}
	design_leave();
	return count;
}

/* As the kernel's fault did it: by the last-used slot, else by the search. */
static uint64_t translate(struct engine_map *map, uint64_t gpa)
{
	/* But for its one field that readers write. */
	struct array *array = (struct array *)(uintptr_t)enter(map);
	const uint64_t gfn = gpa >> DESIGN_PAGE_SHIFT;
	const uint32_t i = atomic_load_explicit(&array->last_used, memory_order_relaxed);
	const struct slot *slot = &array->slot[i];
	uint64_t hva = 0;

	if (i >= array->used || gfn - slot->base_gfn >= slot->npages) {
		slot = search(array, gfn);
		if (slot)
			atomic_store_explicit(&array->last_used, (uint32_t)(slot - array->slot),
					      memory_order_relaxed);
	}
	if (token(slot) != 0)
		hva = slot->hva + (gpa - (slot->base_gfn << DESIGN_PAGE_SHIFT));
	design_leave();
	return hva;
}

static uint64_t visit_hva(struct engine_map *map, uint64_t hva, uint64_t len_bytes,
			  const struct engine_visitor *visitor)
{
	const struct array *array = enter(map);
	uint64_t count = 0;

	for (uint32_t i = 0; i < array->used; i++) {
		const struct slot *slot = &array->slot[i];
		const struct engine_slot shown = {.gpa = slot->base_gfn << DESIGN_PAGE_SHIFT,
						  .len_bytes = slot->npages << DESIGN_PAGE_SHIFT,
						  .hva = slot->hva};

		if (shown.hva >= hva + len_bytes || hva >= shown.hva + shown.len_bytes)
			continue;
		engine_visit(visitor, &shown, hva, len_bytes);
		count++;
	}
	design_leave();
	return count;
}

/* ---- The map --------------------------------------------------------------- */

static struct engine_map *create(uint32_t limit)
{
	struct engine_map *map = limit <= MAX_SLOTS ? calloc(1, sizeof(*map)) : NULL;
	struct array *array;

	if (!map)
		return NULL;
	map->limit = limit;
	array = array_create(map, 0);
	if (!array) {
		free(map);
		return NULL;
	}
	memset(array->index_of, 0xff, limit * sizeof(uint16_t));
	atomic_init(&map->active, array);
	return map;
}

static void destroy(struct engine_map *map)
{
	free(map->spare[0]);
	free(map->spare[1]);
	free(active_array(map));
	free(map);
}

static uint64_t memory(struct engine_map *map)
{
	return array_bytes(map, active_array(map)->used);
}

const struct engine engine_array = {
    .name = "array",
    .what = "KVM until 2021: a sorted array, copied whole on each update",
    .max_slots = MAX_SLOTS,
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
