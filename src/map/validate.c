/* SPDX-License-Identifier: MIT */
/*
 * validate.c - the final map: checks 6, 7 and 9 of mslot_txn_commit(); allocation, which
 * KVM does before it looks at the guest-physical limit, comes between the last two.
 *
 * The final map is the old one without the claimed slots that change, plus the changes
 * that exist afterwards. Nothing of it is built here; the cost is O(changes * log slots).
 */
#include <errno.h>

#include "base/page.h"
#include "map/txn.h"

/* An edit adds slots or pages to one space: the last edit that does is to blame. */
struct growth {
	int64_t slots, pages;
};

static void count_change(const struct change *change, struct growth *growth)
{
	if (change->before) {
		growth->slots--;
		growth->pages -= (int64_t)change->before->npages;
	}
	if (change->exists_after) {
		growth->slots++;
		growth->pages += (int64_t)change->content.npages;
	}
}

/*
 * Growth of all changes in `space` (or anywhere), and the last edit that grew. A slot has
 * less than 2^31 pages and a transaction less than 2^31 edits and parts: no overflow.
 */
static struct growth growth_of(const struct commit *c, uint32_t space, uint32_t *last_slots,
			       uint32_t *last_pages)
{
	struct growth total = {0}, edit;
	uint32_t i = 0, index;

	*last_slots = *last_pages = MSLOT_NO_EDIT;
	while (i < c->nchanges) {
		index = c->changes[i].edit;
		edit = (struct growth){0};
		for (; i < c->nchanges && c->changes[i].edit == index; i++)
			if (space == UINT32_MAX || c->changes[i].space == space)
				count_change(&c->changes[i], &edit);
		if (edit.slots > 0)
			*last_slots = index;
		if (edit.pages > 0)
			*last_pages = index;
		total.slots += edit.slots;
		total.pages += edit.pages;
	}
	return total;
}

static int check_limits(struct commit *c)
{
	uint32_t space, last_slots, last_pages;
	struct growth growth;

	for (space = 0; space < c->old->nspaces; space++) {
		/* Who is to blame is looked for only where the limit may be reached. */
		if (c->old->gfn[space].count + c->nresults < c->map->opt.max_slots)
			continue;
		growth = growth_of(c, space, &last_slots, &last_pages);
		if (growth.slots > 0 &&
		    c->old->gfn[space].count + (uint64_t)growth.slots > c->map->opt.max_slots)
			return commit_refuse(c, -E2BIG, last_slots, "too many slots in a space");
	}
	if (c->npages <= c->map->opt.max_pages)
		return 0;
	growth = growth_of(c, UINT32_MAX, &last_slots, &last_pages);
	if (growth.pages > 0)
		return commit_refuse(c, -E2BIG, last_pages, "too many pages in the map");
	return 0;
}

/* Frames have at most 52 bits: pages are 4 KiB or larger. */
#define SPACE_SHIFT 52u

/* Bring the changes that exist after in order: nresults items with the change's index. */
static void sort_by_gfn(struct commit *c)
{
	struct sort_item *items = c->by_gfn;
	const struct change *change;
	uint32_t i;

	for (i = 0; i < c->nchanges; i++) {
		change = &c->changes[i];
		if (change->exists_after)
			*items++ = (struct sort_item){
			    .key =
				(uint64_t)change->space << SPACE_SHIFT | change->content.base_gfn,
			    .value = i,
			};
	}
	c->by_gfn = sort_items(c->by_gfn, c->by_gfn + c->nresults, c->nresults);
}

static uint64_t end_gfn(const struct change *change)
{
	return change->content.base_gfn + change->content.npages;
}

/* The first edit of which a result overlaps another result, or MSLOT_NO_EDIT. */
static uint32_t overlap_among_results(const struct commit *c)
{
	const struct sort_item *order = c->by_gfn;
	uint32_t blamed = MSLOT_NO_EDIT, i, widest = 0;

	/* By rising base it is enough to compare with the one that reaches furthest so far... */
	for (i = 1; i < c->nresults; i++) {
		const struct change *now = &c->changes[order[i].value];
		const struct change *reach = &c->changes[order[widest].value];

		if (reach->space == now->space && end_gfn(reach) > now->content.base_gfn)
			blamed = (uint32_t)u64_min(blamed, now->edit);
		if (reach->space != now->space || end_gfn(now) > end_gfn(reach))
			widest = i;
	}
	/* ... and, for those that are overlapped from above, with the next one. */
	for (i = 0; i + 1 < c->nresults; i++) {
		const struct change *now = &c->changes[order[i].value];
		const struct change *next = &c->changes[order[i + 1].value];

		if (next->space == now->space && end_gfn(now) > next->content.base_gfn)
			blamed = (uint32_t)u64_min(blamed, now->edit);
	}
	return blamed;
}

/* Does the transaction change or delete this slot? */
static bool slot_changes(const struct commit *c, const struct mslot_slot *slot)
{
	uint64_t name = slot_name_of(slot);
	uint32_t low = 0, high = c->nclaims, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (c->by_name[mid].key < name)
			low = mid + 1;
		else
			high = mid;
	}
	return low < c->nclaims && c->by_name[low].key == name &&
	       c->by_name[low].value != NO_CHANGE;
}

static bool overlaps_staying_slot(const struct commit *c, const struct change *change)
{
	const struct index_root *root = &c->old->gfn[change->space];
	struct index_cursor cur;
	struct index_entry entry;

	/* Inside its own old place nothing else can be. */
	if (change->before && change->content.base_gfn >= change->before->base_gfn &&
	    end_gfn(change) <= slot_end_gfn(change->before))
		return false;

	if (!index_first_overlap(root, change->content.base_gfn, end_gfn(change), NULL))
		return false;
	index_cursor_init(&cur, root, change->content.base_gfn, end_gfn(change));
	while (index_cursor_next(&cur, &entry))
		if (!slot_changes(c, entry.item))
			return true;
	return false;
}

static int refuse_overlap(struct commit *c, uint32_t blamed)
{
	if (blamed == MSLOT_NO_EDIT)
		return 0;
	return commit_refuse(c, -EEXIST, blamed, "overlaps another slot of its space");
}

static int check_overlap(struct commit *c)
{
	uint32_t blamed = MSLOT_NO_EDIT, i;

	if (c->nchanges > 1) {
		sort_by_gfn(c);
		blamed = overlap_among_results(c);
	}

	/* Every slot that there is changes or goes. */
	if (c->nbefore == c->old->id.count)
		return refuse_overlap(c, blamed);
	/*
	 * Only earlier edits can still take the blame, and their results overlap no other
	 * result: all their walks together see a slot that changes at most twice.
	 */
	for (i = 0; i < c->nchanges && c->changes[i].edit < blamed; i++) {
		const struct change *change = &c->changes[i];

		if (change->exists_after && overlaps_staying_slot(c, change))
			blamed = change->edit;
	}
	return refuse_overlap(c, blamed);
}

int validate_gpa_limit(struct commit *c)
{
	uint64_t limit = c->map->opt.gpa_limit >> c->map->opt.page_shift;
	uint32_t i;

	/* Changes are in the order of their edits. */
	for (i = 0; i < c->nchanges; i++)
		if (c->changes[i].exists_after && end_gfn(&c->changes[i]) > limit)
			return commit_refuse(c, -EINVAL, c->changes[i].edit,
					     "the slot ends beyond gpa_limit");
	return 0;
}

int validate_final(struct commit *c)
{
	int err = check_limits(c);

	if (err)
		return err;
	err = check_overlap(c);
	if (!err && c->args->late_errno)
		err = commit_refuse(c, c->args->late_errno, 0, "refused by the entry point");
	return err;
}
