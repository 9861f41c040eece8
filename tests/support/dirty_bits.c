/* SPDX-License-Identifier: MIT */
/* dirty_bits.c - pages through marks and commits; see dirty_bits.h. */
#include "dirty_bits.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PAGES 65536u

uint64_t twin_npages(const struct naive_map *map, const struct naive_slot *slot)
{
	return slot->len >> map->opt.page_shift;
}

static bool overlaps(const struct twin_bits *b, unsigned int c, uint32_t space, uint64_t gpa,
		     uint64_t len)
{
	const struct twin_scope *scope = &b->scope[c];

	if (!scope->exists || scope->nranges == 0)
		return scope->exists;
	for (size_t i = 0; i < scope->nranges; i++) {
		const struct mslot_dirty_range *r = &scope->ranges[i];

		if (r->space == space && gpa < r->range.start + r->range.len_bytes &&
		    r->range.start < gpa + len)
			return true;
	}
	return false;
}

bool twin_in_scope(const struct twin_bits *b, unsigned int c, const struct naive_slot *slot,
		   uint64_t page)
{
	uint64_t bytes = UINT64_C(1) << b->map->opt.page_shift;

	if (c == 0)
		return slot->flags & MSLOT_LOG_DIRTY;
	return overlaps(b, c, slot->key.space, slot->gpa + page * bytes, bytes);
}

bool twin_wants(const struct twin_bits *b, unsigned int c, const struct naive_slot *slot)
{
	return c == 0 ? (slot->flags & MSLOT_LOG_DIRTY) != 0
		      : overlaps(b, c, slot->key.space, slot->gpa, slot->len);
}

bool twin_logged(const struct twin_bits *b, const struct naive_slot *slot)
{
	for (unsigned int c = 0; c < TWIN_CONSUMERS; c++)
		if (twin_wants(b, c, slot))
			return true;
	return false;
}

static struct twin_page *new_pages(const struct naive_map *map, const struct naive_slot *slot)
{
	struct twin_page *pages = calloc((size_t)twin_npages(map, slot), sizeof(*pages));

	if (!pages)
		abort();
	return pages;
}

void twin_bits_init(struct twin_bits *b, const struct naive_map *map)
{
	*b = (struct twin_bits){.map = map, .scope[0].exists = true};
}

void twin_bits_fini(struct twin_bits *b)
{
	for (size_t i = 0; i < b->map->n; i++)
		free(b->pages[i]);
	free(b->pages);
}

void twin_mark(struct twin_bits *b, size_t slot, uint64_t first, uint64_t n)
{
	const struct naive_slot *s = &b->map->slots[slot];

	if (!twin_logged(b, s))
		return;
	for (uint64_t i = first; i < first + n; i++) {
		twin_may(b, slot, i);
		for (unsigned int c = 0; c < TWIN_CONSUMERS; c++)
			b->pages[slot][i].must |= (uint8_t)(twin_in_scope(b, c, s, i) << c);
	}
}

void twin_may(struct twin_bits *b, size_t slot, uint64_t page)
{
	b->pages[slot][page].pending = true;
	for (unsigned int c = 0; c < TWIN_CONSUMERS; c++)
		b->pages[slot][page].may |= (uint8_t)(b->scope[c].exists << c);
}

void twin_mark_number(struct twin_bits *b, uint64_t number)
{
	for (size_t s = 0; number && s < b->map->n; s++)
		for (uint64_t i = 0; i < twin_npages(b->map, &b->map->slots[s]); i++)
			if (b->pages[s][i].number == number)
				twin_mark(b, s, i, 1);
}

void twin_past_init(struct twin_past *past, const struct twin_bits *b)
{
	const struct naive_map *map = b->map;

	naive_init(&past->map, &map->opt, map->regions, map->nregions);
	naive_copy(&past->map, map);
	past->numbers = calloc(map->n + 1, sizeof(*past->numbers));
	if (!past->numbers)
		abort();
	for (size_t s = 0; s < map->n; s++) {
		uint64_t npages = twin_npages(map, &map->slots[s]);

		past->numbers[s] = calloc((size_t)npages, sizeof(**past->numbers));
		if (!past->numbers[s])
			abort();
		for (uint64_t i = 0; i < npages; i++)
			past->numbers[s][i] = b->pages[s][i].number;
	}
}

void twin_past_fini(struct twin_past *past)
{
	for (size_t s = 0; s < past->map.n; s++)
		free(past->numbers[s]);
	free(past->numbers);
	naive_fini(&past->map);
}

/* Bits that a page begins with for a consumer that has begun to look at its slot. */
static void begin_page(const struct twin_bits *b, unsigned int c, const struct naive_slot *slot,
		       uint64_t i, struct twin_page *page)
{
	page->may |= (uint8_t)(page->pending << c);
	if (!b->scope[c].fill)
		return;
	page->may |= (uint8_t)(1u << c);
	page->must |= (uint8_t)(twin_in_scope(b, c, slot, i) << c);
}

void twin_consumer_begins(struct twin_bits *b, unsigned int c)
{
	for (size_t s = 0; s < b->map->n; s++) {
		const struct naive_slot *slot = &b->map->slots[s];

		for (uint64_t i = 0; i < twin_npages(b->map, slot); i++) {
			struct twin_page *page = &b->pages[s][i];

			/* Also elsewhere: a neighbour that it looks at may share the extent. */
			page->may |= (uint8_t)(page->pending << c);
			if (!twin_wants(b, c, slot))
				continue;
			begin_page(b, c, slot, i, page);
			if (!page->number)
				page->number = ++b->last_number;
		}
	}
}

void twin_consumer_ends(struct twin_bits *b, unsigned int c)
{
	uint8_t others = (uint8_t) ~(1u << c);

	b->scope[c].exists = false;
	for (size_t s = 0; s < b->map->n; s++) {
		const struct naive_slot *slot = &b->map->slots[s];
		bool logged = twin_logged(b, slot);

		for (uint64_t i = 0; i < twin_npages(b->map, slot); i++) {
			struct twin_page *page = &b->pages[s][i];

			page->must &= others;
			page->may &= others;
			page->batch &= others;
			page->in_batch &= others;
			if (!logged)
				*page = (struct twin_page){0};
		}
	}
}

/* ---- Commits ------------------------------------------------------------ */

static bool names(const struct mslot_edit *edit, struct mslot_key key)
{
	if (edit->def.key.space != key.space)
		return false;
	if (edit->def.key.id == key.id)
		return true;
	if (edit->kind != MSLOT_EDIT_SPLIT && edit->kind != MSLOT_EDIT_MERGE)
		return false;
	for (size_t i = 0; i < edit->nparts; i++)
		if (edit->parts[i].id == key.id)
			return true;
	return false;
}

static const struct mslot_edit *edit_naming(const struct twin_txn *txn, struct mslot_key key)
{
	for (size_t i = 0; i < txn->n; i++)
		if (names(&txn->edits[i], key))
			return &txn->edits[i];
	return NULL;
}

/* Pages that a changed slot has of an old one. */
static void inherit(struct twin_bits *b, size_t old, const struct naive_slot *slot,
		    struct twin_page *pages, bool *inherited)
{
	const struct naive_slot *was = &b->map->slots[old];
	unsigned int shift = b->map->opt.page_shift;
	unsigned int c, filled = 0;

	if (was->region != slot->region || !twin_logged(b, was))
		return;
	for (c = 0; c < TWIN_CONSUMERS; c++)
		filled |= b->scope[c].fill && twin_wants(b, c, slot) && !twin_wants(b, c, was);
	for (uint64_t i = 0; i < slot->len >> shift; i++) {
		uint64_t offset = slot->offset + (i << shift);
		struct twin_page *page = &pages[i], *from;

		if (offset < was->offset || offset >= was->offset + was->len)
			continue;
		from = &b->pages[old][(offset - was->offset) >> shift];
		from->kept = true;
		*page = *from;
		page->kept = page->seen = false;
		inherited[i] = true;
		for (c = 0; c < TWIN_CONSUMERS; c++)
			if (twin_wants(b, c, slot) && !twin_wants(b, c, was))
				begin_page(b, c, slot, i, page);
		if (!twin_wants(b, 0, slot))
			page->must &= 0xfe;
		if (filled) {
			/* Filling is done by a mark, which everybody sees. */
			page->pending = true;
			page->may |= 0xf;
		}
	}
}

static struct twin_page *follow_slot(struct twin_bits *b, const struct naive_slot *slot,
				     const struct twin_txn *txn)
{
	static bool inherited[MAX_PAGES];
	const struct mslot_edit *edit = edit_naming(txn, slot->key);
	const struct naive_slot *was = naive_find_id(b->map, slot->key);
	struct twin_page *pages = new_pages(b->map, slot);
	uint64_t npages = twin_npages(b->map, slot);
	bool same = was && naive_slot_equal(was, slot), none;

	if (npages > MAX_PAGES || (!same && !edit))
		abort();
	if (!twin_logged(b, slot))
		return pages;
	memset(inherited, 0, npages);
	none = !same && (edit->kind == MSLOT_EDIT_CREATE || edit->kind == MSLOT_EDIT_REPLACE);
	for (size_t i = 0; i < b->map->n && !none; i++)
		if (same ? &b->map->slots[i] == was : names(edit, b->map->slots[i].key))
			inherit(b, i, slot, pages, inherited);
	for (uint64_t i = 0; i < npages; i++) {
		if (inherited[i])
			continue;
		pages[i].number = ++b->last_number;
		for (unsigned int c = 0; c < TWIN_CONSUMERS; c++)
			if (twin_wants(b, c, slot))
				begin_page(b, c, slot, i, &pages[i]);
	}
	return pages;
}

static bool compare_range(struct twin_bits *b, struct mslot_final *final, size_t index,
			  struct mslot_dirty *const *dirty)
{
	static uint64_t bitmap[MAX_PAGES / 64];
	unsigned int shift = b->map->opt.page_shift;
	struct mslot_final_range range;
	const struct naive_slot *slot;
	struct twin_page *page;
	uint64_t i, at;

	for (unsigned int c = 0; c < TWIN_CONSUMERS; c++) {
		if (!b->scope[c].exists)
			continue;
		if (mslot_final_get(final, index, dirty[c], &range, bitmap, sizeof(bitmap)) < 0)
			return twin_fail("range %zu of a final harvest is refused\n", index);
		slot = naive_find_id(b->map, range.key);
		if (!slot || range.gpa < slot->gpa ||
		    range.gpa + range.len_bytes > slot->gpa + slot->len)
			return twin_fail("range %zu of a final harvest is of no slot\n", index);
		for (i = 0; i < range.len_bytes >> shift; i++) {
			bool bit = bitmap[i / 64] >> i % 64 & 1, in;

			at = ((range.gpa - slot->gpa) >> shift) + i;
			page = &b->pages[slot - b->map->slots][at];
			in = c == 0 || twin_in_scope(b, c, slot, at);
			page->seen = true;
			if (page->kept || (bit && !(in && (page->may | page->batch) >> c & 1)) ||
			    (!bit && in && (page->must | page->batch) >> c & 1))
				return twin_fail(
				    "final: consumer %u, page %" PRIu64 " of %u:%u: %d, kept %d\n",
				    c, at, range.key.space, range.key.id, bit, page->kept);
		}
	}
	return true;
}

static bool compare_final(struct twin_bits *b, struct mslot_final *final,
			  struct mslot_dirty *const *dirty)
{
	for (size_t i = 0; i < mslot_final_count(final); i++)
		if (!compare_range(b, final, i, dirty))
			return false;
	for (size_t s = 0; s < b->map->n; s++) {
		const struct naive_slot *slot = &b->map->slots[s];

		for (uint64_t i = 0; i < twin_npages(b->map, slot); i++) {
			const struct twin_page *page = &b->pages[s][i];

			for (unsigned int c = 0; c < TWIN_CONSUMERS; c++)
				if (!page->kept && !page->seen && twin_in_scope(b, c, slot, i) &&
				    (page->must | page->batch) >> c & 1)
					return twin_fail("page %" PRIu64 " of %u:%u is lost\n", i,
							 slot->key.space, slot->key.id);
		}
	}
	return true;
}

bool twin_follow(struct twin_bits *b, const struct naive_map *next, const struct twin_txn *txn,
		 struct mslot_final *final, struct mslot_dirty *const *dirty)
{
	struct twin_page **pages = calloc(next->n + 1, sizeof(*pages));
	bool good;

	if (!pages)
		abort();
	for (size_t i = 0; i < next->n; i++)
		pages[i] = follow_slot(b, &next->slots[i], txn);
	good = !final || compare_final(b, final, dirty);
	twin_bits_fini(b);
	b->pages = pages;
	return good;
}
