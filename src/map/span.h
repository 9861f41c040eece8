/* SPDX-License-Identifier: MIT */
/*
 * span.h - walking a guest-physical span slot by slot: what mslot_translate() and
 * mslot_lease_take() check and in which order.
 */
#ifndef MSLOT_MAP_SPAN_H
#define MSLOT_MAP_SPAN_H

#include <errno.h>

#include "base/page.h"
#include "map/snapshot.h"

/* What is wrong with a span whatever the map is: -EINVAL, -EOVERFLOW or 0. */
static inline int span_check(const struct mslot_span *span)
{
	uint64_t last;

	if (span->len_bytes == 0 || (span->access != MSLOT_READ && span->access != MSLOT_WRITE))
		return -EINVAL;
	return range_end(span->gpa, span->len_bytes - 1, &last) ? 0 : -EOVERFLOW;
}

/* One segment of a span: what of [gpa, gpa + left) lies in the slot at gpa. */
static inline int span_segment(const struct mslot_snapshot *snap, const struct mslot_span *span,
			       uint64_t gpa, uint64_t left, const struct mslot_slot **found,
			       struct iovec *seg)
{
	const struct mslot_slot *slot = mslot_find(snap, span->space, gpa);
	uint64_t skip;

	if (!slot)
		return -ENOENT;
	if (span->access == MSLOT_WRITE && (slot->flags & MSLOT_READONLY))
		return -EACCES;
	skip = gpa - (slot->base_gfn << slot->page_shift);
	seg->iov_base = (void *)(uintptr_t)(slot->hva + skip);
	seg->iov_len = u64_min(left, slot_len_bytes(slot) - skip);
	*found = slot;
	return 0;
}

#endif /* MSLOT_MAP_SPAN_H */
