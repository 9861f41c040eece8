/* SPDX-License-Identifier: MIT */
/*
 * resolve.c - from edits to changes: check 5 of mslot_txn_commit().
 *
 * Each edit kind is turned into complete contents of the slots it names (or their
 * absence), and every content goes through one check. A content equal to the slot as it
 * is makes no change.
 *
 * A name claimed twice is found by sorting all names once; the edit to blame is the one
 * that names it second, and an earlier edit with another fault wins over it.
 */
#include <errno.h>

#include "base/page.h"
#include "map/txn.h"

struct resolver {
	struct commit *c;
	const struct mslot_edit *edit;
	uint32_t index;    /* of the edit */
	uint32_t claim;    /* of its own name; those of its parts follow */
	const char *fault; /* why the edit is refused */
	unsigned int shift;
};

int commit_refuse(struct commit *c, int err, uint32_t edit, const char *reason)
{
	c->failed_edit = edit;
	c->reason = reason;
	return err;
}

static bool fault(struct resolver *r, const char *why)
{
	r->fault = why;
	return false;
}

/* The name that is the edit's own, and that of its i-th part. */
#define OWN 0u
#define PART(i) ((uint32_t)(i) + 1)

static const struct mslot_slot *slot_now(const struct resolver *r, uint32_t name)
{
	return r->c->claims[r->claim + name].slot;
}

/* The slot that an edit changes; one with private memory can only be deleted. */
static const struct mslot_slot *slot_to_change(struct resolver *r, uint32_t name)
{
	const struct mslot_slot *slot = slot_now(r, name);

	if (!slot)
		(void)fault(r, "no such slot");
	else if ((slot->flags & MSLOT_GUEST_MEMFD) && r->edit->kind != MSLOT_EDIT_DELETE) {
		(void)fault(r, "a guest_memfd slot can only be deleted");
		slot = NULL;
	}
	return slot;
}

static bool same_content(const struct resolver *r, const struct mslot_slot *slot,
			 const struct slot_content *content)
{
	if (slot->base_gfn != content->base_gfn || slot->npages != content->npages ||
	    slot->region != content->region || slot->flags != content->flags ||
	    slot_offset_bytes(slot) != content->offset_bytes)
		return false;
	/* A slot whose logging was asked for, or given up, since it was made is not the same. */
	return !slot->log == !logging_wants(r->c->map, slot->space, content->base_gfn,
					    content->npages, content->flags)
				  .sets;
}

/* Does the host memory exist, and is it addressable? */
static bool check_host(struct resolver *r, const struct slot_content *content, uint64_t len)
{
	const struct mslot_region *region = content->region;
	uint64_t end, hva, hva_end;

	if (!region)
		return fault(r, "no region");
	if (!page_aligned(content->offset_bytes, r->shift))
		return fault(r, "the region offset is not page aligned");
	if (!range_end(content->offset_bytes, len, &end) || end > region->opt.len_bytes)
		return fault(r, "the slot reaches beyond its region");
	if (!range_end((uintptr_t)region->opt.hva, content->offset_bytes, &hva) ||
	    !page_aligned(hva, r->shift))
		return fault(r, "the host address is not page aligned");
	if (!range_end(hva, len, &hva_end) || hva_end > r->c->map->opt.hva_limit)
		return fault(r, "the host memory ends beyond hva_limit");
	return true;
}

static bool check_content(struct resolver *r, const struct slot_content *content)
{
	uint64_t len, end;

	if (content->flags & ~r->c->args->slot_flags)
		return fault(r, "unknown slot flags");
	if (content->npages == 0)
		return fault(r, "the slot is empty");
	if (content->npages > MSLOT_MAX_SLOT_PAGES)
		return fault(r, "the slot has too many pages");
	len = content->npages << r->shift;
	if (!range_end(content->base_gfn << r->shift, len, &end))
		return fault(r, "the guest-physical range wraps");
	return check_host(r, content, len);
}

/* Where the content of the next change will be: put together there, it need not be copied. */
static struct slot_content *next_content(const struct resolver *r)
{
	return &r->c->changes[r->c->nchanges].content;
}

/* Record what becomes of a slot: `content`, or nothing when it is NULL. */
static bool result(struct resolver *r, uint32_t name, const struct mslot_slot *before,
		   const struct slot_content *content)
{
	const struct mslot_edit *edit = r->edit;
	struct commit *c = r->c;
	struct change *change = &c->changes[c->nchanges];

	if (content && !check_content(r, content))
		return false;
	if (content && before && same_content(r, before, content))
		return true;
	change->space = edit->def.key.space;
	change->id = name == OWN ? edit->def.key.id : edit->parts[name - 1].id;
	change->edit = r->index;
	change->exists_after = content != NULL;
	change->before = before;
	change->after = NULL;
	if (content && content != &change->content)
		change->content = *content;
	c->nresults += content != NULL;
	c->nbefore += before != NULL;
	c->npages += (content ? content->npages : 0) - (before ? before->npages : 0);
	c->claims[r->claim + name].change = c->nchanges++;
	return true;
}

static struct slot_content content_of(const struct mslot_slot *slot)
{
	return (struct slot_content){
	    .base_gfn = slot->base_gfn,
	    .npages = slot->npages,
	    .offset_bytes = slot_offset_bytes(slot),
	    .region = slot->region,
	    .flags = slot->flags,
	};
}

/* gpa and len_bytes of a definition into frames. */
static bool frames_of_def(struct resolver *r, struct slot_content *content)
{
	const struct mslot_slot_def *def = &r->edit->def;

	if (!page_aligned(def->gpa, r->shift))
		return fault(r, "gpa is not page aligned");
	if (!page_aligned(def->len_bytes, r->shift))
		return fault(r, "the length is not a multiple of the page size");
	content->base_gfn = def->gpa >> r->shift;
	content->npages = def->len_bytes >> r->shift;
	return true;
}

static bool resolve_define(struct resolver *r)
{
	const struct mslot_slot_def *def = &r->edit->def;
	struct slot_content *content = next_content(r);
	const struct mslot_slot *before = NULL;

	content->offset_bytes = def->offset_bytes;
	content->region = def->region;
	content->flags = def->flags;
	if (r->edit->kind == MSLOT_EDIT_CREATE) {
		if (slot_now(r, OWN))
			return fault(r, "the slot exists already");
	} else {
		before = slot_to_change(r, OWN);
		if (!before)
			return false;
	}
	return frames_of_def(r, content) && result(r, OWN, before, content);
}

static bool resolve_delete(struct resolver *r)
{
	const struct mslot_slot *before = slot_to_change(r, OWN);

	return before && result(r, OWN, before, NULL);
}

static bool resize_content(struct resolver *r, const struct mslot_slot *before,
			   struct slot_content *content)
{
	if (!frames_of_def(r, content))
		return false;
	/* Bounded before the shifts below, so that ends cannot wrap in frames. */
	if (content->npages == 0 || content->npages > MSLOT_MAX_SLOT_PAGES)
		return fault(r, "the new size is out of range");
	if (!range_overlaps(before->base_gfn, slot_end_gfn(before), content->base_gfn,
			    content->base_gfn + content->npages))
		return fault(r, "the new range does not meet the old one");
	/* They meet, so the distance is below 2^31 pages either way and the product fits. */
	if (content->base_gfn < before->base_gfn &&
	    (before->base_gfn - content->base_gfn) << r->shift > slot_offset_bytes(before))
		return fault(r, "the slot reaches beyond its region");
	content->offset_bytes =
	    slot_offset_bytes(before) + ((content->base_gfn - before->base_gfn) << r->shift);
	return true;
}

/* Kinds that keep the slot and change some of its fields. */
static bool resolve_modify(struct resolver *r)
{
	const struct mslot_slot_def *def = &r->edit->def;
	const struct mslot_slot *before = slot_to_change(r, OWN);
	struct slot_content *content = next_content(r);

	if (!before)
		return false;
	*content = content_of(before);
	switch (r->edit->kind) {
	case MSLOT_EDIT_MOVE:
		if (!page_aligned(def->gpa, r->shift))
			return fault(r, "gpa is not page aligned");
		content->base_gfn = def->gpa >> r->shift;
		break;
	case MSLOT_EDIT_SET_FLAGS:
		content->flags = def->flags;
		break;
	case MSLOT_EDIT_RESIZE:
		if (!resize_content(r, before, content))
			return false;
		break;
	default:
		content->region = def->region;
		content->offset_bytes = def->offset_bytes;
		break;
	}
	return result(r, OWN, before, content);
}

static bool resolve_split(struct resolver *r)
{
	const struct mslot_edit *edit = r->edit;
	const struct mslot_slot *before = slot_to_change(r, OWN);
	struct slot_content piece;
	uint64_t cut, last;
	size_t i;

	if (!before)
		return false;
	if (edit->nparts == 0)
		return fault(r, "a split without parts");
	last = before->base_gfn;
	for (i = 0; i < edit->nparts; i++) {
		cut = edit->parts[i].gpa >> r->shift;
		if (!page_aligned(edit->parts[i].gpa, r->shift))
			return fault(r, "a cut is not page aligned");
		if (cut <= last || cut >= slot_end_gfn(before))
			return fault(r, "cuts must rise strictly inside the slot");
		if (slot_now(r, PART(i)))
			return fault(r, "a part's id exists already");
		last = cut;
	}
	piece = content_of(before);
	piece.npages = (edit->parts[0].gpa >> r->shift) - before->base_gfn;
	if (!result(r, OWN, before, &piece))
		return false;
	for (i = 0; i < edit->nparts; i++) {
		piece.offset_bytes += piece.npages << r->shift;
		piece.base_gfn += piece.npages;
		cut = i + 1 < edit->nparts ? edit->parts[i + 1].gpa >> r->shift
					   : slot_end_gfn(before);
		piece.npages = cut - piece.base_gfn;
		if (!result(r, PART(i), NULL, &piece))
			return false;
	}
	return true;
}

/*
 * Parts may come in any order: they are contiguous exactly if they do not overlap (slots
 * of one space never do), the span from the lowest to the highest has as many pages as
 * all of them, and each one's offset follows from its place.
 */
static bool resolve_merge(struct resolver *r)
{
	const struct mslot_edit *edit = r->edit;
	const struct mslot_slot *before = slot_to_change(r, OWN), *part;
	uint64_t low, high, npages;
	struct slot_content merged;
	size_t i;

	if (!before)
		return false;
	if (edit->nparts == 0)
		return fault(r, "a merge without parts");
	low = before->base_gfn;
	high = slot_end_gfn(before);
	npages = before->npages;
	for (i = 0; i < edit->nparts; i++) {
		part = slot_to_change(r, PART(i));
		if (!part)
			return false;
		if (part->region != before->region || part->flags != before->flags)
			return fault(r, "merged slots differ in region or flags");
		if (part->hva - (part->base_gfn << r->shift) !=
		    before->hva - (before->base_gfn << r->shift))
			return fault(r, "merged slots are not contiguous in the region");
		low = u64_min(low, part->base_gfn);
		high = u64_max(high, slot_end_gfn(part));
		npages += part->npages;
	}
	if (high - low != npages)
		return fault(r, "merged slots are not contiguous in gpa");
	merged = content_of(before);
	merged.base_gfn = low;
	merged.npages = npages;
	merged.offset_bytes -= (before->base_gfn - low) << r->shift;
	if (!result(r, OWN, before, &merged))
		return false;
	for (i = 0; i < edit->nparts; i++)
		if (!result(r, PART(i), slot_now(r, PART(i)), NULL))
			return false;
	return true;
}

/* The names of an edit are in an existing space and of the class the edit says. */
static bool check_names(struct resolver *r)
{
	const struct mslot_edit *edit = r->edit;
	uint32_t limit = r->c->map->opt.max_user_slots;
	bool private = (edit->edit_flags & MSLOT_EDIT_PRIVATE) != 0;
	size_t i;

	if (edit->edit_flags & ~MSLOT_EDIT_PRIVATE)
		return fault(r, "unknown edit flags");
	if (edit->def.key.space >= r->c->map->opt.nspaces)
		return fault(r, "no such space");
	if ((edit->def.key.id >= limit) != private)
		return fault(r, "the id is of the wrong class (user or private)");
	for (i = 0; i < edit->nparts; i++)
		if ((edit->parts[i].id >= limit) != private)
			return fault(r, "a part's id is of the wrong class (user or private)");
	return true;
}

static bool resolve_one(struct resolver *r)
{
	switch (r->edit->kind) {
	case MSLOT_EDIT_CREATE:
	case MSLOT_EDIT_REDEFINE:
		return check_names(r) && resolve_define(r);
	case MSLOT_EDIT_DELETE:
		return check_names(r) && resolve_delete(r);
	case MSLOT_EDIT_MOVE:
	case MSLOT_EDIT_SET_FLAGS:
	case MSLOT_EDIT_RESIZE:
	case MSLOT_EDIT_REPLACE:
		return check_names(r) && resolve_modify(r);
	case MSLOT_EDIT_SPLIT:
		return check_names(r) && resolve_split(r);
	case MSLOT_EDIT_MERGE:
		return check_names(r) && resolve_merge(r);
	}
	return fault(r, "unknown kind of edit");
}

static void claim_name(struct commit *c, uint32_t edit, uint64_t name)
{
	struct claim *claim = &c->claims[c->nclaims];

	claim->edit = edit;
	claim->change = NO_CHANGE;
	claim->slot = name < INDEX_RADIX_LIMIT ? c->old->finders.find(&c->old->id, name) : NULL;
	/* It is looked at soon. That lookups stand close together is what makes them overlap. */
	__builtin_prefetch(claim->slot);
	c->by_name[c->nclaims] = (struct sort_item){.key = name, .value = c->nclaims};
	c->nclaims++;
}

/* Collect all names; returns the first edit that names one a second time, or nedits. */
static uint32_t collect_claims(struct commit *c)
{
	uint32_t i, edit, first = c->txn->nedits;
	size_t p;

	for (i = 0; i < c->txn->nedits; i++) {
		const struct mslot_edit *e = &c->txn->edits[i];

		claim_name(c, i, slot_name(e->def.key.space, e->def.key.id));
		for (p = 0; p < e->nparts; p++)
			claim_name(c, i, slot_name(e->def.key.space, e->parts[p].id));
	}
	/* Stable: of equal names, that of the earlier edit comes first. */
	if (c->nclaims > 1)
		c->by_name = sort_items(c->by_name, c->by_name + c->nclaims, c->nclaims);
	for (i = 1; i < c->nclaims; i++) {
		edit = c->claims[c->by_name[i].value].edit;
		if (c->by_name[i].key == c->by_name[i - 1].key && edit < first)
			first = edit;
	}
	return first;
}

int resolve_edits(struct commit *c)
{
	struct resolver r = {
	    .c = c,
	    .shift = c->map->opt.page_shift,
	};
	uint32_t i, twice = collect_claims(c);

	for (i = 0; i < c->txn->nedits; i++) {
		r.edit = &c->txn->edits[i];
		r.index = i;
		r.fault = "an id is named twice in the transaction";
		if (i == twice || !resolve_one(&r))
			return commit_refuse(c, -EINVAL, i, r.fault);
		r.claim += 1 + (uint32_t)r.edit->nparts;
	}
	for (i = 0; i < c->nclaims; i++)
		c->by_name[i].value = c->claims[c->by_name[i].value].change;
	return 0;
}
