/* SPDX-License-Identifier: MIT */
/*
 * dpdk_vhost.c - the memory table of DPDK's vhost library (Debian: libdpdk-dev) as an engine.
 * Lookups are the inline function of <rte_vhost.h>, so that the header is all that is needed.
 * Without it, only why: DPDK_VHOST_ABSENT is then defined as the reason.
 *
 * Data: a struct rte_vhost_memory, regions in the order in which they came, behind one pointer;
 * beside it, by id, where in the table a slot is.
 *
 * What is measured: a linear search from the table's start. DPDK itself has at most 8 regions,
 * the function has no limit; beyond 4096 it takes too long to wait for.
 * - Readers have no protection in DPDK: it stops its queues before it changes a table. Here an
 *   edit copies the table and publishes it by one store; the table before it is freed by the
 *   edit that follows. There is no grace period: a reader that is slower than that would read
 *   freed memory, so edits beside readers must not be measured with this engine.
 * - A read section is the load of the pointer, all that there is to do.
 * - An overlap of guest addresses is refused by insert and move, which pass over the whole
 *   table anyway; fill takes a table as it is, as DPDK does with one that a VMM sends.
 *
 * ns per lookup here, N = 10 / 100 / 509 / 4096: 14 / 60 / 160 to 260 / 2600, on a machine with
 * a floor of 1.1 ns; 14 / 56 / 294 / 5199 are known from one with 1.4.
 *
 * A token is id + 1. The function answers with a host address, which is the guest address plus
 * a constant of the region: that constant is the token. Nothing is mapped or read there.
 */
#include "engine.h"

#ifdef DPDK_VHOST_ABSENT

static const char *absent(void)
{
	return DPDK_VHOST_ABSENT;
}

const struct engine engine_dpdk_vhost = {
    .name = "dpdk-vhost",
    .what = "DPDK's vhost library: a linear search",
    .absent = absent,
};

#else

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_config.h>
/* Only for string functions that nothing here calls; it may be absent. */
#undef RTE_USE_LIBBSD
#include <rte_version.h>
#include <rte_vhost.h>

#define MAX_SLOTS 4096u
#define NOT_THERE UINT32_MAX

/*
 * place[id] is the region of the slot in the table, NOT_THERE for none; id_at[] is the inverse
 * for the regions that there are.
 */
struct engine_map {
	_Atomic(struct rte_vhost_memory *) table;
	struct rte_vhost_memory *before; /* readers may still be in it; freed by the next edit */
	uint32_t limit;
	uint32_t *place, *id_at;
};

static struct rte_vhost_memory *alloc_table(size_t n)
{
	struct rte_vhost_memory *const t = malloc(sizeof(*t) + n * sizeof(t->regions[0]));

	if (t)
		t->nregions = (uint32_t)n;
	return t;
}

static void publish(struct engine_map *map, struct rte_vhost_memory *table)
{
	free(map->before);
	map->before = atomic_load_explicit(&map->table, memory_order_relaxed);
	/* Release: the regions before the pointer. Pairs with current_table(). */
	atomic_store_explicit(&map->table, table, memory_order_release);
}

static inline struct rte_vhost_memory *current_table(struct engine_map *map)
{
	return atomic_load_explicit(&map->table, memory_order_acquire);
}

static void destroy(struct engine_map *map)
{
	free(map->before);
	free(atomic_load_explicit(&map->table, memory_order_relaxed));
	free(map->place);
	free(map->id_at);
	free(map);
}

static struct engine_map *create(uint32_t limit)
{
	struct engine_map *map;

	if (limit > MAX_SLOTS)
		return NULL;
	map = calloc(1, sizeof(*map));
	if (!map)
		return NULL;
	map->limit = limit;
	map->place = malloc(((size_t)limit + 1) * sizeof(*map->place));
	map->id_at = malloc(((size_t)limit + 1) * sizeof(*map->id_at));
	atomic_init(&map->table, alloc_table(0));
	if (!map->place || !map->id_at || !current_table(map)) {
		destroy(map);
		return NULL;
	}
	memset(map->place, 0xff, ((size_t)limit + 1) * sizeof(*map->place));
	return map;
}

static struct rte_vhost_mem_region region_of(uint32_t id, uint64_t gpa, uint64_t len_bytes)
{
	return (struct rte_vhost_mem_region){
	    .guest_phys_addr = gpa,
	    .guest_user_addr = gpa,
	    .host_user_addr = gpa + id + 1,
	    .size = len_bytes,
	    .fd = -1,
	};
}

static bool wraps(uint64_t gpa, uint64_t len_bytes)
{
	return len_bytes == 0 || gpa + len_bytes < gpa;
}

/* Is anything of [gpa, gpa + len_bytes) in a region other than number `except`? */
static bool taken(const struct rte_vhost_memory *t, uint32_t except, uint64_t gpa,
		  uint64_t len_bytes)
{
	for (uint32_t i = 0; i < t->nregions; i++) {
		const struct rte_vhost_mem_region *const r = &t->regions[i];

		if (i != except && gpa < r->guest_phys_addr + r->size &&
		    r->guest_phys_addr < gpa + len_bytes)
			return true;
	}
	return false;
}

static int insert(struct engine_map *map, const struct engine_slot *slot)
{
	const struct rte_vhost_memory *const old = current_table(map);
	struct rte_vhost_memory *next;

	if (slot->id >= map->limit || map->place[slot->id] != NOT_THERE ||
	    wraps(slot->gpa, slot->len_bytes))
		return -EINVAL;
	if (taken(old, NOT_THERE, slot->gpa, slot->len_bytes))
		return -EEXIST;
	next = alloc_table((size_t)old->nregions + 1);
	if (!next)
		return -ENOMEM;
	memcpy(next->regions, old->regions, old->nregions * sizeof(next->regions[0]));
	next->regions[old->nregions] = region_of(slot->id, slot->gpa, slot->len_bytes);
	map->place[slot->id] = old->nregions;
	map->id_at[old->nregions] = slot->id;
	publish(map, next);
	return 0;
}

/* Named apart from remove() of <stdio.h>. */
static int remove_slot(struct engine_map *map, uint32_t id)
{
	const struct rte_vhost_memory *const old = current_table(map);
	struct rte_vhost_memory *next;
	uint32_t at;

	if (id >= map->limit || map->place[id] == NOT_THERE)
		return -EINVAL;
	next = alloc_table((size_t)old->nregions - 1);
	if (!next)
		return -ENOMEM;
	/* The last region takes the place. */
	at = map->place[id];
	memcpy(next->regions, old->regions, next->nregions * sizeof(next->regions[0]));
	if (at < next->nregions) {
		next->regions[at] = old->regions[next->nregions];
		map->id_at[at] = map->id_at[next->nregions];
		map->place[map->id_at[at]] = at;
	}
	map->place[id] = NOT_THERE;
	publish(map, next);
	return 0;
}

static int move(struct engine_map *map, uint32_t id, uint64_t gpa)
{
	const struct rte_vhost_memory *const old = current_table(map);
	struct rte_vhost_memory *next;
	uint64_t len_bytes;
	uint32_t at;

	if (id >= map->limit || map->place[id] == NOT_THERE)
		return -EINVAL;
	at = map->place[id];
	len_bytes = old->regions[at].size;
	if (wraps(gpa, len_bytes))
		return -EINVAL;
	if (taken(old, at, gpa, len_bytes))
		return -EEXIST;
	next = alloc_table(old->nregions);
	if (!next)
		return -ENOMEM;
	memcpy(next->regions, old->regions, old->nregions * sizeof(next->regions[0]));
	next->regions[at] = region_of(id, gpa, len_bytes);
	publish(map, next);
	return 0;
}

/* Each id below the limit, and once. place[] says which were met, and then all is as before. */
static bool ids_are_good(struct engine_map *map, const struct engine_slot *slots, size_t n)
{
	const struct rte_vhost_memory *const old = current_table(map);
	bool good = true;
	size_t met;

	for (uint32_t i = 0; i < old->nregions; i++)
		map->place[map->id_at[i]] = NOT_THERE;
	for (met = 0; met < n; met++) {
		good = slots[met].id < map->limit && map->place[slots[met].id] == NOT_THERE &&
		       !wraps(slots[met].gpa, slots[met].len_bytes);
		if (!good)
			break;
		map->place[slots[met].id] = 0;
	}
	for (size_t i = 0; i < met; i++)
		map->place[slots[i].id] = NOT_THERE;
	for (uint32_t i = 0; i < old->nregions; i++)
		map->place[map->id_at[i]] = i;
	return good;
}

static int fill(struct engine_map *map, const struct engine_slot *slots, size_t n)
{
	const struct rte_vhost_memory *const old = current_table(map);
	struct rte_vhost_memory *next;

	if (!ids_are_good(map, slots, n))
		return -EINVAL;
	next = alloc_table(n);
	if (!next)
		return -ENOMEM;
	for (uint32_t i = 0; i < old->nregions; i++)
		map->place[map->id_at[i]] = NOT_THERE;
	for (uint32_t i = 0; i < n; i++) {
		next->regions[i] = region_of(slots[i].id, slots[i].gpa, slots[i].len_bytes);
		map->place[slots[i].id] = i;
		map->id_at[i] = slots[i].id;
	}
	publish(map, next);
	return 0;
}

static uint64_t token_of(struct engine_map *map, uint32_t id)
{
	return id < map->limit && map->place[id] != NOT_THERE ? (uint64_t)id + 1 : 0;
}

static inline uint64_t lookup(struct rte_vhost_memory *table, uint64_t gpa)
{
	uint64_t len = 1;
	const uint64_t hva = rte_vhost_va_from_guest_pa(table, gpa, &len);

	return hva ? hva - gpa : 0;
}

static uint64_t find(struct engine_map *map, const uint64_t *gpa, size_t n)
{
	struct rte_vhost_memory *const table = current_table(map);
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += lookup(table, gpa[i]);
	return sum;
}

static uint64_t find_dependent(struct engine_map *map, const uint64_t *gpa, size_t n)
{
	static const volatile uint64_t always_zero;
	struct rte_vhost_memory *const table = current_table(map);
	/* The compiler cannot know it, so that each address needs the answer before it. */
	const uint64_t zero = always_zero;
	uint64_t sum = 0, last = 0;

	for (size_t i = 0; i < n; i++) {
		last = lookup(table, gpa[i] + (last & zero));
		sum += last;
	}
	return sum;
}

static uint64_t find_section(struct engine_map *map, const uint64_t *gpa, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += lookup(current_table(map), gpa[i]);
	return sum;
}

/*
 * The table before the last edit is not the map as it is, and place[] and id_at[] are no part
 * of DPDK.
 */
static uint64_t memory(struct engine_map *map)
{
	const struct rte_vhost_memory *const t = current_table(map);

	return sizeof(*t) + t->nregions * sizeof(t->regions[0]);
}

static const char *version(void)
{
	static char text[32];

	snprintf(text, sizeof(text), "DPDK %d.%02d.%d", RTE_VER_YEAR, RTE_VER_MONTH, RTE_VER_MINOR);
	return text;
}

const struct engine engine_dpdk_vhost = {
    .name = "dpdk-vhost",
    .what = "DPDK's vhost library: a linear search",
    .version = version,
    .max_slots = MAX_SLOTS,
    .overlaps_hva = true,
    .stops_readers = true,
    .create = create,
    .destroy = destroy,
    .insert = insert,
    .remove = remove_slot,
    .move = move,
    .fill = fill,
    .token_of = token_of,
    .find = find,
    .find_dependent = find_dependent,
    .find_section = find_section,
    .memory = memory,
};

#endif
