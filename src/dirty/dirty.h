/* SPDX-License-Identifier: MIT */
/*
 * dirty.h - consumers of dirty pages, harvests, and reading bits of a slot.
 *
 * Data
 *   consumer   a set number (log.h), the frames it looks at, its batch if there is one
 *   harvest    the extents that one call empties; under the map's harvest lock
 *   window     pages of one logged slot that a consumer looks at
 *
 * Protocol of a harvest
 *   1 harvest_begin(): the harvest lock
 *   2 hold a snapshot; harvest_add() the pages wanted: an extent that several slots share is
 *     taken once
 *   3 harvest_run(): what is live goes aside; vCPUs are asked; a grace period, after which
 *     nobody marks there any more; write leases mark what is live now; every set gets its
 *     copy of what was aside
 *   4 the caller takes its own set
 *   5 harvest_end()
 * Only then are pages copied: a store whose mark was harvested is complete.
 */
#ifndef MSLOT_DIRTY_DIRTY_H
#define MSLOT_DIRTY_DIRTY_H

#include <stdbool.h>

#include <mslot/dirty.h>

#include "base/page.h"
#include "log/log.h"
#include "map/snapshot.h"

/* Frames of one space. */
struct scope_range {
	uint32_t space;
	uint64_t first_gfn, end_gfn;
};

struct mslot_dirty {
	struct mslot_map *map;
	struct mslot_dirty_batch *batch; /* not ended, or NULL */
	uint32_t set;
	bool tagged;
	char tag[32];
	size_t nranges;
	struct scope_range ranges[]; /* by rising (space, gfn); they do not touch */
};

/* ---- Scopes (scope.c) ---- */

/*
 * Check the ranges of the options, sort them, join those that touch, and store them; `out`
 * has room for scope_room() of them. Returns 0 or -EINVAL.
 */
int scope_init(const struct mslot_map *map, const struct mslot_dirty_options *opt,
	       struct scope_range *out, size_t *nranges);
size_t scope_room(const struct mslot_map *map, const struct mslot_dirty_options *opt);

/* The first of a consumer's ranges that ends above a frame of a space, or beyond; or nranges. */
size_t scope_at(const struct mslot_dirty *dirty, uint32_t space, uint64_t gfn);

/* Pages [first, end) of the region of a slot, whose view has them. */
struct window {
	const struct mslot_slot *slot;
	uint64_t first, end;
};

struct scope_cursor {
	const struct mslot_dirty *dirty;
	const struct mslot_snapshot *snap;
	size_t range;
	bool open; /* iter is in that range */
	struct mslot_iter iter;
};

/* Slots of a snapshot in a consumer's scope, by rising (space, gpa); one a range it meets. */
void scope_begin(struct scope_cursor *c, const struct mslot_dirty *dirty,
		 const struct mslot_snapshot *snap);
const struct mslot_slot *scope_next_slot(struct scope_cursor *c);
/* The next one that is logged, and what of it is in the scope. */
bool scope_next(struct scope_cursor *c, struct window *w);

/* ---- Harvests (harvest.c) ---- */

struct harvest {
	struct mslot_map *map;
	struct log_extent *marked; /* linked by next_taken */
	struct log_extent *clean;
};

void harvest_begin(struct harvest *h, struct mslot_map *map);
void harvest_add(struct harvest *h, const struct log_view *view, uint64_t first, uint64_t end);
/* `snap` is held, and is the one whose pages were added. */
void harvest_run(struct harvest *h, const struct mslot_snapshot *snap);
void harvest_end(struct harvest *h);

/* ---- Bits of a slot's pages (bits.c) ---- */

/* Of pages [page, end) of a view: how many are in the same extent, which, and from which bit on. */
static inline uint64_t view_part(const struct log_view *view, uint64_t page, uint64_t end,
				 struct log_extent **extent, uint64_t *bit)
{
	const struct log_piece *piece = log_view_piece(view, page);

	*extent = piece->extent;
	*bit = page - piece->extent->first;
	return u64_min(end, piece->first + piece->npages) - page;
}

#define BITS_LIVE (1u << 0)
#define BITS_FRESH (1u << 1)
#define BITS_BATCH (1u << 2)
#define BITS_RINGED (1u << 3) /* pages whose ring entries were not reset */

/* Which bits of which pages. */
struct bits_query {
	const struct log_view *view;
	uint32_t set;  /* extents without this set have no bits */
	uint32_t what; /* BITS_..., together */
	/* Only frames of this consumer's scope, the first page being that frame; NULL: all. */
	const struct mslot_dirty *scope;
	uint32_t space;
	uint64_t base_gfn;
};

/*
 * Store one bit a page of the view, in whole words that need not be aligned. Harvest lock held
 * unless `what` is BITS_BATCH alone.
 */
void bits_copy_out(const struct bits_query *query, void *out);
/* The same. Returns the number of bits set; out may be NULL. */
uint64_t bits_count_out(const struct bits_query *query, void *out);
/* All fresh bits of a set, without a scope, which are clear then. Harvest lock held. */
void bits_take_out(const struct log_view *view, uint32_t number, void *out);
/* Bytes of that. */
uint64_t bits_copy_bytes(const struct log_view *view);

/* ---- Batches (batch.c) ---- */

struct run_cursor {
	struct scope_cursor scope;
	struct window window;
	uint64_t page; /* of the window; what lies below was returned */
};

struct mslot_dirty_batch {
	struct mslot_dirty *dirty;
	struct mslot_hold *hold;
	const struct mslot_snapshot *snap;
	struct run_cursor next;
};

/* End a batch and nothing else. */
void batch_free(struct mslot_dirty_batch *batch);

#endif /* MSLOT_DIRTY_DIRTY_H */
