/* SPDX-License-Identifier: MIT */
/*
 * validate.c - the final map: checks 6, 7 and 9 of mslot_txn_commit(); allocation, which
 * KVM does before it looks at the guest-physical limit, comes between the last two.
 *
 * The final map is the old one without the claimed slots that change, plus the changes
 * that exist afterwards. Nothing of it is built here; the cost is O(changes * log slots).
 */
#include <errno.h>
#include <stdlib.h>

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
		growth = growth_of(c, space, &last_slots, &last_pages);
		if (growth.slots > 0 &&
		    c->old->gfn[space].count + (uint64_t)growth.slots > c->map->opt.max_slots)
			return commit_refuse(c, -E2BIG, last_slots, "too many slots in a space");
	}
	growth = growth_of(c, UINT32_MAX, &last_slots, &last_pages);
	c->npages = c->old->npages + (uint64_t)growth.pages;
	if (growth.pages > 0 && c->npages > c->map->opt.max_pages)
		return commit_refuse(c, -E2BIG, last_pages, "too many pages in the map");
	return 0;
}

static int order_cmp(const void *va, const void *vb, void *arg)
{
	const struct change *changes = arg;
	const struct change *a = &changes[*(const uint32_t *)va];
	const struct change *b = &changes[*(const uint32_t *)vb];

	if (a->space != b->space)
		return a->space < b->space ? -1 : 1;
	if (a->content.base_gfn != b->content.base_gfn)
		return a->content.base_gfn < b->content.base_gfn ? -1 : 1;
	return 0;
}

static void sort_by_gfn(struct commit *c)
{
	uint32_t i;

	c->norder = 0;
	for (i = 0; i < c->nchanges; i++)
		if (c->changes[i].exists_after)
			c->order[c->norder++] = i;
	for (i = 1; i < c->norder; i++)
		if (order_cmp(&c->order[i - 1], &c->order[i], c->changes) > 0) {
			qsort_r(c->order, c->norder, sizeof(*c->order), order_cmp, c->changes);
			return;
		}
}

static uint64_t end_gfn(const struct change *change)
{
	return change->content.base_gfn + change->content.npages;
}

/* The first edit of which a result overlaps another result, or MSLOT_NO_EDIT. */
static uint32_t overlap_among_results(const struct commit *c)
{
	uint32_t blamed = MSLOT_NO_EDIT, i, widest = 0;

	/* By rising base it is enough to compare with the one that reaches furthest so far... */
	for (i = 1; i < c->norder; i++) {
		const struct change *now = &c->changes[c->order[i]];
		const struct change *reach = &c->changes[c->order[widest]];

		if (reach->space == now->space && end_gfn(reach) > now->content.base_gfn)
			blamed = (uint32_t)u64_min(blamed, now->edit);
		if (reach->space != now->space || end_gfn(now) > end_gfn(reach))
			widest = i;
	}
	/* ... and, for those that are overlapped from above, with the next one. */
	for (i = 0; i + 1 < c->norder; i++) {
		const struct change *now = &c->changes[c->order[i]];
		const struct change *next = &c->changes[c->order[i + 1]];

		if (next->space == now->space && end_gfn(now) > next->content.base_gfn)
			blamed = (uint32_t)u64_min(blamed, now->edit);
	}
	return blamed;
}

/* Does the transaction change or delete this slot? */
static bool slot_changes(const struct commit *c, const struct mslot_slot *slot)
{
	const struct claim *claim = claim_find(c, slot_name_of(slot));

	return claim && claim->change != NO_CHANGE;
}

static bool overlaps_staying_slot(const struct commit *c, const struct change *change)
{
	struct index_cursor cur;
	struct index_entry entry;

	/* Inside its own old place nothing else can be. */
	if (change->before && change->content.base_gfn >= change->before->base_gfn &&
	    end_gfn(change) <= slot_end_gfn(change->before))
		return false;

	index_cursor_init(&cur, &c->old->gfn[change->space], change->content.base_gfn,
			  end_gfn(change));
	while (index_cursor_next(&cur, &entry))
		if (!slot_changes(c, entry.item))
			return true;
	return false;
}

static int check_overlap(struct commit *c)
{
	uint32_t blamed = overlap_among_results(c), i;

	/*
	 * Only earlier edits can still take the blame, and their results overlap no other
	 * result: all their walks together see a slot that changes at most twice.
	 */
	for (i = 0; i < c->norder; i++) {
		const struct change *change = &c->changes[c->order[i]];

		if (change->edit < blamed && overlaps_staying_slot(c, change))
			blamed = change->edit;
	}
	if (blamed != MSLOT_NO_EDIT)
		return commit_refuse(c, -EEXIST, blamed, "overlaps another slot of its space");
	return 0;
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
	sort_by_gfn(c);
	err = check_overlap(c);
	if (!err && c->args->late_errno)
		err = commit_refuse(c, c->args->late_errno, 0, "refused by the entry point");
	return err;
}
