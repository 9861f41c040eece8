/* SPDX-License-Identifier: MIT */
/*
 * sort.c - least significant digits first, and only digits in which keys differ.
 *
 * A digit starts at the lowest bit that differs anywhere and was not sorted by yet, so that
 * page-aligned addresses or ids of few slots take one or two passes rather than six.
 */
#include "base/sort.h"

#include <string.h>

/* Below this many items the tables of a pass cost more than moving items one by one. */
#define FEW_ITEMS 24u
/* Below this many the larger table is not worth clearing. */
#define MANY_ITEMS 2048u
#define DIGIT_BITS_FEW 8u
#define DIGIT_BITS_MANY 11u

static void insertion_sort(struct sort_item *items, size_t n)
{
	struct sort_item item;
	size_t i, k;

	for (i = 1; i < n; i++) {
		item = items[i];
		for (k = i; k > 0 && items[k - 1].key > item.key; k--)
			items[k] = items[k - 1];
		items[k] = item;
	}
}

/* One pass: move n items by one digit. */
static void scatter(const struct sort_item *from, struct sort_item *to, size_t n,
		    unsigned int shift, unsigned int bits)
{
	size_t place[1u << DIGIT_BITS_MANY], i, count, before = 0;
	const uint64_t mask = (UINT64_C(1) << bits) - 1;

	memset(place, 0, sizeof(*place) << bits);
	for (i = 0; i < n; i++)
		place[from[i].key >> shift & mask]++;
	for (i = 0; i <= mask; i++) {
		count = place[i];
		place[i] = before;
		before += count;
	}
	for (i = 0; i < n; i++)
		to[place[from[i].key >> shift & mask]++] = from[i];
}

struct sort_item *sort_items(struct sort_item *items, struct sort_item *room, size_t n)
{
	const unsigned int bits = n < MANY_ITEMS ? DIGIT_BITS_FEW : DIGIT_BITS_MANY;
	struct sort_item *swap;
	uint64_t differ = 0;
	unsigned int shift;
	size_t i, sorted;

	for (sorted = 1; sorted < n && items[sorted - 1].key <= items[sorted].key; sorted++)
		;
	if (sorted >= n)
		return items;
	if (n <= FEW_ITEMS) {
		insertion_sort(items, n);
		return items;
	}
	for (i = 1; i < n; i++)
		differ |= items[i].key ^ items[0].key;
	while (differ) {
		shift = (unsigned int)__builtin_ctzll(differ);
		scatter(items, room, n, shift, bits);
		swap = items;
		items = room;
		room = swap;
		differ &= ~(((UINT64_C(1) << bits) - 1) << shift);
	}
	return items;
}
