/* SPDX-License-Identifier: MIT */
/*
 * read.c - the read side: sections, lookups, iteration, translation.
 *
 * Nothing here locks, allocates, writes shared memory or calls the system (R4); after
 * mslot_enter() everything reached from the snapshot is constant.
 */
#include <errno.h>
#include <limits.h>

#include "base/page.h"
#include "base/perturb.h"
#include "base/rcu.h"
#include "map/fork.h"
#include "map/span.h"

int mslot_fence_readers(void)
{
	return fork_without_maps(rcu_fence_readers) ? 0 : -EBUSY;
}

int mslot_thread_init(void)
{
	rcu_thread_register();
	return 0;
}

/* Of its own, so that mslot_enter() saves no registers for the call. */
static __attribute__((noinline, cold)) const struct mslot_snapshot *
enter_first(struct mslot_map *map)
{
	rcu_thread_register();
	return mslot_enter(map);
}

const struct mslot_snapshot *mslot_enter(struct mslot_map *map)
{
	const struct mslot_snapshot *snap;

	if (__builtin_expect(!rcu_thread_registered(), 0))
		return enter_first(map);
	rcu_enter();
	PERTURB(READER_ENTERED);
	/*
	 * After rcu_enter(): a grace period that this section does not delay began before the
	 * section, hence after the publish of what we load. Acquire pairs with rcu_publish()
	 * in commit_publish().
	 */
	snap = rcu_load(&map->snapshot);
	PERTURB(SNAPSHOT_LOADED);
	return snap;
}

void mslot_leave(const struct mslot_snapshot *snap)
{
	(void)snap;
	PERTURB(READER_LEAVING);
	rcu_leave();
}

void mslot_slot_info_get(const struct mslot_slot *slot, struct mslot_slot_info *out)
{
	*out = (struct mslot_slot_info){
	    .key = {.space = slot->space, .id = slot->id},
	    .gpa = slot->base_gfn << slot->page_shift,
	    .len_bytes = slot_len_bytes(slot),
	    .hva = slot->hva,
	    .offset_bytes = slot_offset_bytes(slot),
	    .region = slot->region,
	    .flags = slot->flags,
	    .is_private = slot->is_private,
	};
}

uint64_t mslot_snapshot_generation(const struct mslot_snapshot *snap)
{
	return snap->generation;
}

uint64_t mslot_snapshot_nslots(const struct mslot_snapshot *snap, uint32_t space)
{
	return space < snap->nspaces ? snap->gfn[space].count : 0;
}

uint64_t mslot_snapshot_npages(const struct mslot_snapshot *snap)
{
	return snap->npages;
}

const struct mslot_slot *mslot_find(const struct mslot_snapshot *snap, uint32_t space, uint64_t gpa)
{
	return snap->finders.gpa(snap, space, gpa);
}

/* Compiled into callers: it can never move. */
_Static_assert(offsetof(struct mslot_snapshot, serial) == 16 &&
		   offsetof(struct mslot_snapshot_head, serial) == 16,
	       "the serial is where mslot_hint_slot() looks for it");

/* The slow way, of its own so that the fast one saves no registers. */
static __attribute__((noinline)) const struct mslot_slot *
find_and_note(const struct mslot_snapshot *snap, uint32_t space, uint64_t gpa,
	      struct mslot_hint *hint)
{
	const struct mslot_slot *slot = mslot_find(snap, space, gpa);

	if (slot)
		*hint = (struct mslot_hint){
		    .serial = snap->serial,
		    .slot = slot,
		    .gpa = slot->base_gfn << slot->page_shift,
		    .len_bytes = slot_len_bytes(slot),
		    .space = space,
		};
	return slot;
}

const struct mslot_slot *mslot_find_hint(const struct mslot_snapshot *snap, uint32_t space,
					 uint64_t gpa, struct mslot_hint *hint)
{
	const struct mslot_slot *slot = mslot_hint_slot(snap, space, gpa, hint);

	return slot ? slot : find_and_note(snap, space, gpa, hint);
}

const struct mslot_slot *mslot_find_id(const struct mslot_snapshot *snap, struct mslot_key key)
{
	if (key.space >= snap->nspaces)
		return NULL;
	return snap->finders.find(&snap->id, slot_name(key.space, key.id));
}

const struct mslot_slot *mslot_find_nearest(const struct mslot_snapshot *snap, uint32_t space,
					    uint64_t gpa, enum mslot_nearest which)
{
	uint64_t gfn = gpa >> snap->page_shift;
	const struct mslot_slot *slot = mslot_find(snap, space, gpa);
	struct index_entry entry;

	if (slot || space >= snap->nspaces)
		return slot;
	if (which == MSLOT_AT_OR_BELOW ? index_below(&snap->gfn[space], gfn, &entry)
				       : index_above(&snap->gfn[space], gfn, &entry))
		return entry.item;
	return NULL;
}

/*
 * An iteration: over one index, over both that have the slots by host page, or over the one
 * slot that has the whole range, which is what small ranges are about.
 */
enum iter_mode { ITER_ONE, ITER_MERGED, ITER_SLOT, ITER_END };
struct iter {
	enum iter_mode mode;
	union {
		const struct mslot_slot *slot;
		struct index_cursor one;
		struct index_ranges_cursor hva;
	};
};

_Static_assert(sizeof(struct iter) <= sizeof(struct mslot_iter), "an iteration fits");
_Static_assert(_Alignof(struct iter) <= _Alignof(struct mslot_iter), "and is aligned");

static struct iter *iter_of(struct mslot_iter *iter)
{
	return (struct iter *)(void *)iter;
}

/* The pages that a range of bytes touches; *end is 0 for none. */
static uint64_t pages_of(const struct mslot_snapshot *snap, struct mslot_range range, uint64_t *end)
{
	uint64_t last;

	*end = 0;
	if (range.len_bytes == 0)
		return 0;
	/* Cut at 2^64: no slot has the last byte's page end. */
	if (!range_end(range.start, range.len_bytes - 1, &last))
		last = UINT64_MAX;
	*end = (last >> snap->page_shift) + 1;
	return range.start >> snap->page_shift;
}

/* Iterate over the pages [start, end) of an index by guest or by host page. */
static void iter_init(struct iter *it, const struct mslot_snapshot *snap,
		      const struct index_root *root, uint64_t start, uint64_t end, bool by_hva)
{
	const struct mslot_slot *slot = start < end ? snap->finders.find(root, start) : NULL;
	uint64_t base;

	if (slot) {
		base = by_hva ? slot->hva >> slot->page_shift : slot->base_gfn;
		if (base + slot->npages >= end) {
			it->mode = ITER_SLOT;
			it->slot = slot;
			return;
		}
	}
	it->mode = ITER_ONE;
	index_cursor_init(&it->one, root, start, end);
}

void mslot_iter_gpa(struct mslot_iter *iter, const struct mslot_snapshot *snap, uint32_t space,
		    struct mslot_range range)
{
	uint64_t end, start = pages_of(snap, range, &end);

	if (space < snap->nspaces)
		iter_init(iter_of(iter), snap, &snap->gfn[space], start, end, false);
	else
		iter_of(iter)->mode = ITER_END;
}

void mslot_iter_hva(struct mslot_iter *iter, const struct mslot_snapshot *snap,
		    struct mslot_range range)
{
	uint64_t end, start = pages_of(snap, range, &end);
	struct iter *it = iter_of(iter);

	/* Where no slots overlap one index has them all. */
	if (snap->hva.rest.count == 0) {
		iter_init(it, snap, &snap->hva.apart, start, end, true);
		return;
	}
	it->mode = ITER_MERGED;
	index_ranges_cursor_init(&it->hva, &snap->hva, start, end);
}

const struct mslot_slot *mslot_iter_next(struct mslot_iter *iter)
{
	struct iter *it = iter_of(iter);
	struct index_entry entry;

	switch (it->mode) {
	case ITER_ONE:
		return index_cursor_item(&it->one);
	case ITER_MERGED:
		return index_ranges_cursor_next(&it->hva, &entry) ? entry.item : NULL;
	case ITER_SLOT:
		it->mode = ITER_END;
		return it->slot;
	case ITER_END:
		break;
	}
	return NULL;
}

size_t mslot_find_hva(const struct mslot_snapshot *snap, uint64_t hva,
		      const struct mslot_slot **slots, size_t nslots)
{
	return snap->finders.hva(snap, hva, slots, nslots);
}

/* Segments of a whole span; with `out` they are stored as well. */
static int walk_span(const struct mslot_snapshot *snap, const struct mslot_span *span,
		     struct iovec *out, size_t nseg)
{
	uint64_t gpa = span->gpa, left = span->len_bytes;
	const struct mslot_slot *slot;
	struct iovec seg;
	size_t n = 0;
	int err;

	for (; left; left -= seg.iov_len, gpa += seg.iov_len, n++) {
		err = span_segment(snap, span, gpa, left, &slot, &seg);
		if (err)
			return err;
		if (n == nseg || n == INT_MAX)
			return -ENOSPC;
		if (out)
			out[n] = seg;
	}
	return (int)n;
}

int mslot_translate(const struct mslot_snapshot *snap, const struct mslot_span *span,
		    struct iovec *seg, size_t nseg)
{
	const struct mslot_slot *slot;
	struct iovec first;
	int err = span_check(span);

	if (!err)
		err = span_segment(snap, span, span->gpa, span->len_bytes, &slot, &first);
	if (err)
		return err;
	if (nseg == 0)
		return -ENOSPC;
	if (first.iov_len == span->len_bytes) {
		seg[0] = first;
		return 1;
	}
	/* Look first, store then: outputs stay untouched on failure. */
	err = walk_span(snap, span, NULL, nseg);
	return err < 0 ? err : walk_span(snap, span, seg, nseg);
}
