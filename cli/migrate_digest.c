/* SPDX-License-Identifier: MIT */
/*
 * migrate_digest.c - what a map's memory holds, page by page, and how two maps differ.
 *
 * Data: a digest of 64 bits for each page that a slot shows, in the order of the map, and one
 * over all pages and slots. Nothing that dirty tracking says is looked at.
 */
#include "migrate.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define LANES 4u

static uint64_t rotate(uint64_t val, unsigned int by)
{
	return val << by | val >> (64 - by);
}

/* A bijection of `val` for any `state`: two pages that differ in one word never meet. */
static uint64_t stir(uint64_t state, uint64_t val)
{
	return rotate((state ^ val) * UINT64_C(0x9fb21c651e98df25), 29) +
	       UINT64_C(0x2545f4914f6cdd1d);
}

static uint64_t finish(uint64_t val)
{
	val = (val ^ val >> 32) * UINT64_C(0xd6e8feb86659fd93);
	val = (val ^ val >> 32) * UINT64_C(0xd6e8feb86659fd93);
	return val ^ val >> 32;
}

static uint64_t digest_page(const uint8_t *page)
{
	uint64_t lane[LANES] = {1, 2, 3, 4}, word[LANES], sum = 0;

	for (size_t at = 0; at < MIGRATE_PAGE; at += sizeof(word)) {
		memcpy(word, page + at, sizeof(word));
		for (size_t i = 0; i < LANES; i++)
			lane[i] = stir(lane[i], word[i]);
	}
	for (size_t i = 0; i < LANES; i++)
		sum = stir(sum, finish(lane[i]));
	return finish(sum);
}

static void digest_slot(struct map_digest *out, const struct mslot_slot_info *info)
{
	const uint8_t *const host = (const uint8_t *)(uintptr_t)info->hva;

	out->whole = stir(stir(out->whole, info->key.space), info->key.id);
	out->whole = stir(stir(out->whole, info->gpa), info->len_bytes);
	for (uint64_t at = 0; at < info->len_bytes; at += MIGRATE_PAGE) {
		struct page_digest *const p = &out->page[out->npages++];

		*p = (struct page_digest){info->gpa + at, digest_page(host + at), info->key.space};
		out->whole = stir(out->whole, p->digest);
	}
}

void digest_map(struct mslot_map *map, struct map_digest *out)
{
	const struct mslot_snapshot *const snap = mslot_enter(map);

	*out =
	    (struct map_digest){.page = cli_alloc(mslot_snapshot_npages(snap), sizeof(*out->page))};
	for (uint32_t space = 0; space < MIGRATE_NSPACES; space++) {
		const struct mslot_slot *slot;
		struct mslot_slot_info info;
		struct mslot_iter iter;

		mslot_iter_gpa(&iter, snap, space, (struct mslot_range){0, UINT64_MAX});
		while ((slot = mslot_iter_next(&iter)) != NULL) {
			mslot_slot_info_get(slot, &info);
			digest_slot(out, &info);
		}
	}
	mslot_leave(snap);
	out->whole = finish(out->whole);
}

static int place_compare(const struct page_digest *a, const struct page_digest *b)
{
	if (a->space != b->space)
		return a->space < b->space ? -1 : 1;
	return (a->gpa > b->gpa) - (a->gpa < b->gpa);
}

uint64_t digest_compare(const struct map_digest *a, const struct map_digest *b)
{
	uint64_t lost = 0;
	size_t i = 0, k = 0;

	while (i < a->npages && k < b->npages) {
		const int order = place_compare(&a->page[i], &b->page[k]);

		lost += order != 0 || a->page[i].digest != b->page[k].digest;
		i += order <= 0;
		k += order >= 0;
	}
	return lost + (a->npages - i) + (b->npages - k);
}
