/* SPDX-License-Identifier: MIT */
/*
 * naive_map.c - the naive map itself and the questions to it. Transactions are in
 * naive_txn.c.
 */
#include "naive_map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void naive_init(struct naive_map *map, const struct mslot_map_options *opt,
		const struct naive_region *regions, size_t nregions)
{
	memset(map, 0, sizeof(*map));
	map->opt = *opt;
	map->regions = regions;
	map->nregions = nregions;
}

void naive_fini(struct naive_map *map)
{
	free(map->slots);
	map->slots = NULL;
	map->n = map->cap = 0;
}

static void reserve(struct naive_map *map, size_t n)
{
	if (n <= map->cap)
		return;
	map->cap = n * 2;
	map->slots = realloc(map->slots, map->cap * sizeof(*map->slots));
	if (!map->slots)
		abort();
}

void naive_copy(struct naive_map *to, const struct naive_map *from)
{
	reserve(to, from->n);
	if (from->n)
		memcpy(to->slots, from->slots, from->n * sizeof(*from->slots));
	to->n = from->n;
	to->opt = from->opt;
	to->generation = from->generation;
	to->regions = from->regions;
	to->nregions = from->nregions;
}

void naive_add(struct naive_map *map, const struct naive_slot *slot)
{
	reserve(map, map->n + 1);
	map->slots[map->n++] = *slot;
}

void naive_remove(struct naive_map *map, size_t i)
{
	map->n--;
	memmove(&map->slots[i], &map->slots[i + 1], (map->n - i) * sizeof(*map->slots));
}

static int by_place(const void *pa, const void *pb)
{
	const struct naive_slot *a = pa, *b = pb;

	if (a->key.space != b->key.space)
		return a->key.space < b->key.space ? -1 : 1;
	if (a->gpa != b->gpa)
		return a->gpa < b->gpa ? -1 : 1;
	return 0;
}

void naive_sort(struct naive_map *map)
{
	if (map->n)
		qsort(map->slots, map->n, sizeof(*map->slots), by_place);
}

uint64_t naive_hva(const struct naive_map *map, const struct naive_slot *slot)
{
	return map->regions[slot->region].hva + slot->offset;
}

int naive_region_of(const struct naive_map *map, const struct mslot_region *handle)
{
	for (size_t i = 0; handle && i < map->nregions; i++)
		if (map->regions[i].handle == handle && map->regions[i].usable)
			return (int)i;
	return NAIVE_NO_REGION;
}

const struct naive_slot *naive_find(const struct naive_map *map, uint32_t space, uint64_t gpa)
{
	for (size_t i = 0; i < map->n; i++) {
		const struct naive_slot *slot = &map->slots[i];

		if (slot->key.space > space || (slot->key.space == space && slot->gpa > gpa))
			break; /* sorted */
		if (slot->key.space == space && gpa - slot->gpa < slot->len)
			return slot;
	}
	return NULL;
}

const struct naive_slot *naive_find_id(const struct naive_map *map, struct mslot_key key)
{
	for (size_t i = 0; i < map->n; i++)
		if (map->slots[i].key.space == key.space && map->slots[i].key.id == key.id)
			return &map->slots[i];
	return NULL;
}

const struct naive_slot *naive_nearest(const struct naive_map *map, uint32_t space, uint64_t gpa,
				       enum mslot_nearest which)
{
	const struct naive_slot *best = naive_find(map, space, gpa);

	for (size_t i = 0; !best && i < map->n; i++) {
		/* Sorted by gpa: the first one above, walking up; the last one below, walking down.
		 */
		bool up = which == MSLOT_AT_OR_ABOVE;
		const struct naive_slot *slot = &map->slots[up ? i : map->n - 1 - i];

		if (slot->key.space == space && (up ? slot->gpa > gpa : slot->gpa < gpa))
			best = slot;
	}
	return best;
}

bool naive_overlaps(const struct naive_map *map, uint32_t space, uint64_t gpa, uint64_t len,
		    const struct naive_slot *except)
{
	for (size_t i = 0; i < map->n; i++) {
		const struct naive_slot *slot = &map->slots[i];

		if (slot != except && slot->key.space == space && slot->gpa < gpa + len &&
		    gpa < slot->gpa + slot->len)
			return true;
	}
	return false;
}

bool naive_slot_equal(const struct naive_slot *a, const struct naive_slot *b)
{
	return a->key.space == b->key.space && a->key.id == b->key.id && a->gpa == b->gpa &&
	       a->len == b->len && a->region == b->region && a->offset == b->offset &&
	       a->flags == b->flags;
}

uint64_t naive_npages(const struct naive_map *map)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < map->n; i++)
		sum += map->slots[i].len >> map->opt.page_shift;
	return sum;
}

uint64_t naive_nslots(const struct naive_map *map, uint32_t space)
{
	uint64_t count = 0;

	for (size_t i = 0; i < map->n; i++)
		count += map->slots[i].key.space == space;
	return count;
}

int naive_translate(const struct naive_map *map, const struct mslot_span *span, struct iovec *seg,
		    size_t nseg)
{
	uint64_t gpa = span->gpa, left = span->len_bytes;
	size_t used = 0;

	if (left == 0 || (span->access != MSLOT_READ && span->access != MSLOT_WRITE))
		return -EINVAL;
	if (gpa > UINT64_MAX - (left - 1))
		return -EOVERFLOW;
	while (left) {
		const struct naive_slot *slot = naive_find(map, span->space, gpa);
		uint64_t take;

		if (!slot)
			return -ENOENT;
		if (span->access == MSLOT_WRITE && (slot->flags & MSLOT_READONLY))
			return -EACCES;
		if (used == nseg)
			return -ENOSPC;
		take = slot->len - (gpa - slot->gpa);
		take = take < left ? take : left;
		seg[used].iov_base = (void *)(naive_hva(map, slot) + (gpa - slot->gpa));
		seg[used++].iov_len = take;
		gpa += take;
		left -= take;
	}
	return (int)used;
}
