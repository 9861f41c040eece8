/* SPDX-License-Identifier: MIT */
/*
 * dump.c - a snapshot as text: the trace format of the command, see mslot(1).
 *
 * Each line is formatted on the stack and handed on at once, so that a section or a hold is
 * all that a dump needs. The text depends on the slots alone, not on how they came about:
 * equal maps have equal dumps.
 */
#include <inttypes.h>
#include <stdio.h>

#include "map/snapshot.h"

#define LINE_BYTES 160u /* the longest line has 103 */

struct dump {
	int (*write)(void *ctx, const char *text, size_t len_bytes);
	void *ctx;
};

static int write_header(const struct dump *d, const struct mslot_snapshot *snap)
{
	char line[LINE_BYTES];
	uint64_t nslots = 0;
	int len, ret;

	for (uint32_t space = 0; space < snap->nspaces; space++)
		nslots += snap->gfn[space].count;
	len =
	    snprintf(line, sizeof(line), "# mslot dump 1: %" PRIu64 " slots, 0x%" PRIx64 " bytes\n",
		     nslots, snap->npages << snap->page_shift);
	ret = d->write(d->ctx, line, (size_t)len);
	if (ret)
		return ret;
	len = snprintf(line, sizeof(line), "# time_s tx as_id slot flags gpa size hva kind\n");
	return d->write(d->ctx, line, (size_t)len);
}

static int write_slot(const struct dump *d, const struct mslot_slot *slot)
{
	/* A request of a trace can make neither, so for its readers they are comments. */
	const char *const mark = slot->is_private                         ? "#private "
				 : (slot->flags & MSLOT_GUEST_MEMFD) != 0 ? "#guest_memfd "
									  : "";
	char line[LINE_BYTES];
	const int len = snprintf(
	    line, sizeof(line),
	    "%s0.000000 0 %u %" PRIu32 " 0x%x 0x%" PRIx64 " 0x%" PRIx64 " 0x%" PRIx64 " ADD\n",
	    mark, (unsigned int)slot->space, slot->id, (unsigned int)slot->flags,
	    slot->base_gfn << slot->page_shift, slot_len_bytes(slot), slot->hva);

	return d->write(d->ctx, line, (size_t)len);
}

int mslot_dump(const struct mslot_snapshot *snap,
	       int (*write)(void *ctx, const char *text, size_t len_bytes), void *ctx)
{
	const struct dump d = {.write = write, .ctx = ctx};
	const struct mslot_slot *slot;
	struct mslot_iter iter;
	int ret = write_header(&d, snap);

	for (uint32_t space = 0; space < snap->nspaces && !ret; space++) {
		mslot_iter_gpa(&iter, snap, space, (struct mslot_range){0, UINT64_MAX});
		while (!ret && (slot = mslot_iter_next(&iter)) != NULL)
			ret = write_slot(&d, slot);
	}
	return ret;
}
