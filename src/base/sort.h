/* SPDX-License-Identifier: MIT */
/*
 * sort.h - a stable radix sort of 64-bit keys that carry a word.
 *
 * Data: items in one array, and a second one of the same length to work in. Time is
 * linear in the items and in the bits in which their keys differ; items that are in order
 * already are only looked at. No memory is taken, so nothing can fail.
 */
#ifndef MSLOT_BASE_SORT_H
#define MSLOT_BASE_SORT_H

#include <stddef.h>
#include <stdint.h>

struct sort_item {
	uint64_t key;
	uint64_t value;
};

/*
 * Sort n items by rising key; those with equal keys stay in the order in which they came.
 * `room` has place for n items and does not overlap them. Returns where the sorted items
 * are, `items` or `room`; the content of the other is undefined.
 */
struct sort_item *sort_items(struct sort_item *items, struct sort_item *room, size_t n);

#endif /* MSLOT_BASE_SORT_H */
