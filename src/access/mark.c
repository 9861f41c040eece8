/* SPDX-License-Identifier: MIT */
/*
 * mark.c - dirty marks for those who write through host addresses.
 */
#include "access/locate.h"
#include "base/page.h"

void mslot_mark_dirty(const struct mslot_snapshot *snap, struct mslot_addr at, uint64_t len_bytes)
{
	struct mslot_vcpu *vcpu = vcpu_ringing(snap);
	const struct mslot_slot *slot;
	struct mslot_iter iter;
	uint64_t last, first, end;

	if (len_bytes == 0)
		return;
	/* A span that wraps is cut at the end of the address space. */
	if (!range_end(at.gpa, len_bytes - 1, &last))
		last = UINT64_MAX;
	mslot_iter_gpa(&iter, snap, at.space,
		       (struct mslot_range){.start = at.gpa, .len_bytes = len_bytes});
	while ((slot = mslot_iter_next(&iter))) {
		first = u64_max(at.gpa, access_slot_start(slot));
		end = u64_min(last, access_slot_end(slot) - 1);
		/* Not to be refused any more: what the ring has no room for is marked. */
		if (vcpu && slot->log)
			ring_wrote(vcpu, snap, slot, first >> slot->page_shift,
				   (end >> slot->page_shift) - (first >> slot->page_shift) + 1);
		access_wrote(snap, slot, first, end - first + 1);
	}
}

int mslot_write_begin(const struct mslot_snapshot *snap, const struct mslot_span *span,
		      struct iovec *seg, size_t nseg)
{
	struct mslot_span write = *span;

	write.access = MSLOT_WRITE;
	return mslot_translate(snap, &write, seg, nseg);
}

void mslot_write_end(const struct mslot_snapshot *snap, const struct mslot_span *span)
{
	mslot_mark_dirty(snap, (struct mslot_addr){.space = span->space, .gpa = span->gpa},
			 span->len_bytes);
}
