/* SPDX-License-Identifier: MIT */
/* naive_mmu_map.c - what a map says of the runs of naive_mmu.h, before and after commits. */
#include "naive_mmu.h"

const struct naive_slot *nmmu_slot_above(const struct naive_map *map, uint32_t space, uint64_t gfn)
{
	const uint64_t gpa = gfn << map->opt.page_shift;
	size_t lo = 0, hi = map->n;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;
		const struct naive_slot *slot = &map->slots[mid];

		if (slot->key.space > space ||
		    (slot->key.space == space && slot->gpa + slot->len > gpa))
			hi = mid;
		else
			lo = mid + 1;
	}
	return &map->slots[lo];
}

const struct naive_slot *nmmu_slot(const struct naive_map *map, uint32_t space, uint64_t gfn)
{
	const struct naive_slot *slot = nmmu_slot_above(map, space, gfn);

	return slot < map->slots + map->n && slot->key.space == space &&
		       slot->gpa <= gfn << map->opt.page_shift
		   ? slot
		   : NULL;
}

bool nmmu_logged(const struct nmmu_view *view, const struct naive_slot *slot)
{
	return slot->flags & MSLOT_LOG_DIRTY || (view->bits && twin_logged(view->bits, slot));
}

uint64_t nmmu_hva(const struct naive_map *map, const struct nmmu_run *run)
{
	return map->regions[run->region].hva + (run->offset_pages << map->opt.page_shift);
}

/* The bytes of the region that the slot shows at a frame. */
static uint64_t offset_at(const struct naive_map *map, const struct naive_slot *slot, uint64_t gfn)
{
	const unsigned int shift = map->opt.page_shift;

	return (slot->offset >> shift) + (gfn - (slot->gpa >> shift));
}

/* The part of [gfn, gfn + npages) that the first slot above `gfn` has; false: none. */
static bool next_piece(const struct naive_map *map, uint32_t space, uint64_t gfn, uint64_t end,
		       struct nmmu_run *out)
{
	const struct naive_slot *slot = nmmu_slot_above(map, space, gfn);
	const unsigned int shift = map->opt.page_shift;
	uint64_t last;

	if (gfn >= end || slot == map->slots + map->n || slot->key.space != space ||
	    slot->gpa >> shift >= end)
		return false;
	last = (slot->gpa + slot->len) >> shift;
	last = last < end ? last : end;
	*out = (struct nmmu_run){.gfn = slot->gpa >> shift > gfn ? slot->gpa >> shift : gfn};
	out->npages = last - out->gfn;
	out->region = slot->region;
	out->offset_pages = offset_at(map, slot, out->gfn);
	return true;
}

bool nmmu_agrees(const struct naive_map *map, uint32_t space, const struct nmmu_run *run)
{
	const uint64_t end = run->gfn + run->npages;
	struct nmmu_run piece;

	for (uint64_t gfn = run->gfn; gfn < end; gfn += piece.npages)
		if (!next_piece(map, space, gfn, end, &piece) || piece.gfn != gfn ||
		    nmmu_hva(map, &piece) !=
			nmmu_hva(map, run) + ((gfn - run->gfn) << map->opt.page_shift))
			return false;
	return true;
}

struct nmmu_run nmmu_leaf(const struct naive_map *map, const struct nmmu_at *at, uint32_t level)
{
	const struct naive_slot *slot = nmmu_slot(map, at->space, at->gfn);
	const uint64_t npages = nmmu_level_pages(level), in = at->page & (npages - 1);

	return (struct nmmu_run){
	    .page = at->page - in,
	    .npages = npages,
	    .gfn = at->gfn - in,
	    .region = slot->region,
	    .offset_pages = offset_at(map, slot, at->gfn) - in,
	    .level = level,
	};
}

static bool level_fits(const struct naive_map *map, const struct nmmu_at *at, uint32_t level)
{
	const struct naive_slot *slot = nmmu_slot(map, at->space, at->gfn);
	const uint64_t npages = nmmu_level_pages(level), first = at->gfn & ~(npages - 1);
	const unsigned int shift = map->opt.page_shift;
	const uint64_t hva = naive_hva(map, slot) >> shift;

	return ((at->page ^ at->gfn) & (npages - 1)) == 0 &&
	       ((hva ^ (slot->gpa >> shift)) & (npages - 1)) == 0 && first >= slot->gpa >> shift &&
	       first + npages <= (slot->gpa + slot->len) >> shift;
}

uint32_t nmmu_allowed_level(const struct nmmu_view *view, const struct nmmu_at *at)
{
	uint32_t level = 1;

	if (nmmu_logged(view, nmmu_slot(view->map, at->space, at->gfn)))
		return 1;
	while (level < at->max_level && level_fits(view->map, at, level + 1))
		level++;
	return level;
}

bool nmmu_writable(const struct nmmu_view *view, uint32_t space, const struct nmmu_run *run)
{
	const uint64_t end = run->gfn + run->npages;
	struct nmmu_run piece;

	for (uint64_t gfn = run->gfn; gfn < end; gfn += piece.npages) {
		const struct naive_slot *slot = nmmu_slot(view->map, space, gfn);

		if (!slot || slot->flags & MSLOT_READONLY || nmmu_logged(view, slot) ||
		    !next_piece(view->map, space, gfn, end, &piece))
			return false;
	}
	return !run->guest_readonly;
}

bool nmmu_one_slot(const struct naive_map *map, uint32_t space, const struct nmmu_run *run)
{
	return nmmu_slot(map, space, run->gfn) == nmmu_slot(map, space, run->gfn + run->npages - 1);
}

/* ---- Commits --------------------------------------------------------------- */

static bool slot_tightens(const struct nmmu_view *before, const struct naive_slot *slot,
			  const struct nmmu_view *after)
{
	const unsigned int shift = before->map->opt.page_shift;
	const uint64_t end = (slot->gpa + slot->len) >> shift;
	struct nmmu_run piece;

	for (uint64_t gfn = slot->gpa >> shift; gfn < end; gfn += piece.npages) {
		const struct naive_slot *now;

		if (!next_piece(after->map, slot->key.space, gfn, end, &piece) ||
		    piece.gfn != gfn || piece.region != slot->region ||
		    piece.offset_pages != offset_at(before->map, slot, gfn))
			return true;
		now = nmmu_slot(after->map, slot->key.space, gfn);
		if ((now->flags & ~slot->flags & MSLOT_READONLY) ||
		    (nmmu_logged(after, now) && !nmmu_logged(before, slot)))
			return true;
	}
	return false;
}

bool nmmu_tightens(const struct nmmu_view *before, const struct nmmu_view *after)
{
	for (size_t i = 0; i < before->map->n; i++)
		if (slot_tightens(before, &before->map->slots[i], after))
			return true;
	return false;
}

/* In another slot. */
static bool logged_in(const struct nmmu_view *view, const struct naive_slot *at)
{
	for (size_t i = 0; i < view->map->n; i++) {
		const struct naive_slot *slot = &view->map->slots[i];

		if (slot->key.space == at->key.space && slot->key.id != at->key.id &&
		    slot->gpa < at->gpa + at->len && at->gpa < slot->gpa + slot->len &&
		    nmmu_logged(view, slot))
			return true;
	}
	return false;
}

bool nmmu_logs_anew(const struct nmmu_view *before, const struct nmmu_view *after,
		    const struct twin_txn *txn)
{
	for (size_t i = 0; i < txn->n; i++) {
		const struct mslot_edit *e = &txn->edits[i];
		const struct naive_slot *now = naive_find_id(after->map, e->def.key);

		/* The parts of these keep their bits, wherever they were. */
		if (e->kind == MSLOT_EDIT_SPLIT || e->kind == MSLOT_EDIT_MERGE)
			continue;
		if (now && nmmu_logged(after, now) && logged_in(before, now))
			return true;
	}
	return false;
}

/* What the map has left of a run goes behind `to`. Returns how many pages. */
static uint64_t follow_run(const struct nmmu_run *run, uint32_t space, const struct naive_map *map,
			   struct nmmu_runs *to)
{
	const uint64_t end = run->gfn + run->npages;
	struct nmmu_run piece, part = {0};
	uint64_t left = 0;

	for (uint64_t gfn = run->gfn; next_piece(map, space, gfn, end, &piece);
	     gfn = piece.gfn + piece.npages) {
		const uint64_t from = piece.gfn - run->gfn;

		if (piece.region != run->region || piece.offset_pages != run->offset_pages + from)
			continue;
		if (part.npages && part.gfn + part.npages == piece.gfn) {
			part.npages += piece.npages;
		} else {
			if (part.npages)
				nmmu_append(to, &part);
			part = nmmu_part(run, from, piece.npages);
		}
		left += piece.npages;
	}
	if (left == run->npages)
		part = *run;
	if (part.npages)
		nmmu_append(to, &part);
	return left;
}

/* Parts of a writable run that are writable still, and parts that are not. Returns which there are.
 */
static bool follow_permission(const struct nmmu_run *run, uint32_t space,
			      const struct nmmu_view *after, struct nmmu_runs *to)
{
	const uint64_t end = run->gfn + run->npages;
	struct nmmu_run piece, part = {0};
	bool tight = false;

	for (uint64_t gfn = run->gfn; next_piece(after->map, space, gfn, end, &piece);
	     gfn += piece.npages) {
		const bool writable = nmmu_writable(after, space, &piece);

		tight |= !writable;
		if (part.npages && (part.write == NMMU_YES) == writable) {
			part.npages += piece.npages;
			continue;
		}
		if (part.npages)
			nmmu_append(to, &part);
		part = nmmu_part(run, gfn - run->gfn, piece.npages);
		part.write = writable ? NMMU_YES : NMMU_NO;
	}
	if (part.npages == run->npages) {
		const enum nmmu_bit write = part.write;

		part = *run;
		part.write = write;
	}
	nmmu_append(to, &part);
	return tight;
}

bool nmmu_follow(struct nmmu_runs *runs, uint32_t space, const struct nmmu_view *after)
{
	struct nmmu_runs parts = {0}, to = {0};
	bool lost = false;

	for (size_t i = 0; i < runs->n; i++) {
		const struct nmmu_run *run = &runs->run[i];

		nmmu_clear(&parts);
		lost |= follow_run(run, space, after->map, &parts) != run->npages;
		for (size_t k = 0; k < parts.n; k++) {
			struct nmmu_run *part = &parts.run[k];

			if (part->write == NMMU_YES) {
				lost |= follow_permission(part, space, after, &to);
				continue;
			}
			/* Whether it is split where it has no permission to lose is all the same.
			 */
			if (part->level > 1)
				part->level = 0;
			nmmu_append(&to, part);
		}
	}
	nmmu_fini(&parts);
	nmmu_fini(runs);
	*runs = to;
	return lost;
}
