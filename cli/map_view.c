/* SPDX-License-Identifier: MIT */
/* map_view.c - the slots of a snapshot and which of them show the same memory; see map.h. */
#include "map.h"

#include <stdlib.h>

#include "cli.h"

/* Note that host bytes [lo, hi) of the row are shown by another slot too; lo never falls. */
static void note_shared(struct map_view *v, struct map_row *row, uint64_t lo, uint64_t hi)
{
	const uint64_t skew = row->slot.gpa - row->slot.hva;
	struct plan_ranges *const s = &v->shared;
	struct plan_range *const last = row->nshared > 0 ? &s->range[s->nranges - 1] : NULL;

	if (last != NULL && lo + skew <= last->end) {
		last->end = hi + skew > last->end ? hi + skew : last->end;
		return;
	}
	s->range = cli_grow(s->range, s->nranges, &s->cap, sizeof(*s->range));
	s->range[s->nranges++] = (struct plan_range){row->slot.key.space, lo + skew, hi + skew};
	row->nshared++;
}

static bool all_shared(const struct map_view *v, const struct map_row *row)
{
	const struct plan_range *const r = &v->shared.range[row->first_shared];

	return row->nshared == 1 && r->end - r->start == row->slot.len_bytes;
}

/*
 * Aliases are slots of one space: that two spaces show the same memory is what spaces are
 * for. Looking ends when nothing more can be learned, so that a thousand slots that all
 * show one page cost no million steps.
 */
static void find_twins(struct map_view *v, struct map_row *row, const struct mslot_snapshot *snap)
{
	const uint64_t lo = row->slot.hva, hi = lo + row->slot.len_bytes;
	const struct mslot_slot *slot;
	struct mslot_slot_info info;
	struct mslot_iter iter;

	row->first_shared = v->shared.nranges;
	mslot_iter_hva(&iter, snap, (struct mslot_range){lo, row->slot.len_bytes});
	while ((slot = mslot_iter_next(&iter)) != NULL) {
		uint64_t end;

		mslot_slot_info_get(slot, &info);
		if (info.key.space != row->slot.key.space || info.key.id == row->slot.key.id)
			continue;
		if (row->ntwins == 0)
			row->twin = info.key;
		row->ntwins += row->ntwins < 2;
		end = info.hva + info.len_bytes;
		note_shared(v, row, info.hva > lo ? info.hva : lo, end < hi ? end : hi);
		if (row->ntwins == 2 && all_shared(v, row))
			break;
	}
}

void map_view_init(struct map_view *v, const struct mslot_snapshot *snap, uint32_t only)
{
	const struct mslot_slot *slot;
	struct mslot_iter iter;
	size_t cap = 0;

	*v = (struct map_view){.nspaces = 1};
	for (uint32_t space = 0; space < MSLOT_MAX_SPACES; space++) {
		if (only != MSLOT_MAX_SPACES && only != space)
			continue;
		mslot_iter_gpa(&iter, snap, space, (struct mslot_range){0, UINT64_MAX});
		while ((slot = mslot_iter_next(&iter)) != NULL) {
			struct map_row row = {.ntwins = 0};

			mslot_slot_info_get(slot, &row.slot);
			find_twins(v, &row, snap);
			v->row = cli_grow(v->row, v->nrows, &cap, sizeof(*v->row));
			v->row[v->nrows++] = row;
			v->nspaces = space + 1;
		}
	}
}

void map_view_fini(struct map_view *v)
{
	free(v->row);
	free(v->shared.range);
	*v = (struct map_view){0};
}

size_t map_view_space(const struct map_view *v, uint32_t space, size_t *first)
{
	size_t i = 0;

	while (i < v->nrows && v->row[i].slot.key.space < space)
		i++;
	*first = i;
	while (i < v->nrows && v->row[i].slot.key.space == space)
		i++;
	return i;
}

uint64_t map_view_bytes(const struct map_view *v, size_t first, size_t end)
{
	uint64_t sum = 0;

	for (size_t i = first; i < end; i++)
		sum += v->row[i].slot.len_bytes;
	return sum;
}
