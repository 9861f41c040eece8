/* SPDX-License-Identifier: MIT */
/*
 * ranges.h - an index of ranges that may overlap but seldom do.
 *
 * Data. Ranges that overlap no other are in `apart`, a radix index; what overlapped one of
 * them when it came is in `rest`, a tree with ties. So a range is in one of the two, those
 * in `apart` are free of overlap, and every operation is O(log n) however many ranges
 * show one key. Entries have the key (start, tie); in `apart` the tie is that of the item,
 * which tie_of() tells.
 *
 * Ranges of `rest` move to `apart` when what they overlapped has gone; a few at a time,
 * since an update must not become long for it.
 */
#ifndef MSLOT_INDEX_RANGES_H
#define MSLOT_INDEX_RANGES_H

#include "index/index.h"

struct index_ranges {
	struct index_root apart;
	struct index_root rest;
	uint64_t (*tie_of)(const void *item);
};

/* Empty; `kind` is that of the part without overlaps. */
void index_ranges_init(struct index_ranges *ranges, enum index_kind kind,
		       uint64_t (*tie_of)(const void *item));

static inline uint64_t index_ranges_count(const struct index_ranges *ranges)
{
	return ranges->apart.count + ranges->rest.count;
}

static inline uint64_t index_ranges_bytes(const struct index_ranges *ranges)
{
	return ranges->apart.bytes + ranges->rest.bytes;
}

/* As index_apply(), for edits with ties. */
int index_ranges_apply(struct index_batch *batch, const struct index_ranges *in,
		       const struct index_edit *edits, size_t n, struct index_ranges *out);
/* As index_replace(); ties are those of the items. */
int index_ranges_replace(struct index_batch *batch, const struct index_ranges *in,
			 const struct index_swap *swap, struct index_ranges *out);
bool index_ranges_get(const struct index_ranges *ranges, uint64_t start, uint64_t tie,
		      struct index_entry *out);

/* As index_cursor: entries that overlap [start, end), by rising (start, tie). */
struct index_ranges_cursor {
	struct index_cursor apart, rest;
	uint64_t (*tie_of)(const void *item);
	struct index_entry next[2]; /* of apart and of rest */
	bool has[2];
};

void index_ranges_cursor_init(struct index_ranges_cursor *cur, const struct index_ranges *ranges,
			      uint64_t start, uint64_t end);
bool index_ranges_cursor_next(struct index_ranges_cursor *cur, struct index_entry *out);

/* Returns NULL or a static text naming the broken invariant. */
const char *index_ranges_check(const struct index_ranges *ranges);

#endif /* MSLOT_INDEX_RANGES_H */
