/* SPDX-License-Identifier: MIT */
/*
 * svg_labels.c - labels in a column that never overlap; see svg.h.
 *
 * Labels that touch form a block that lies where its members want it on average, within
 * the column; blocks that touch become one. So each label is moved as little as its
 * neighbours allow.
 */
#include "svg.h"

#include <stdlib.h>

#include "cli.h"

struct block {
	size_t first;
	size_t n;
	double sum; /* of the tops that the members want the block to have */
	double top;
};

static int by_weight(const void *pa, const void *pb)
{
	const struct svg_label *const a = pa, *const b = pb;

	if (a->weight != b->weight)
		return a->weight > b->weight ? -1 : 1;
	return a->want < b->want ? -1 : a->want > b->want;
}

static int by_place(const void *pa, const void *pb)
{
	const struct svg_label *const a = pa, *const b = pb;

	if (a->dropped != b->dropped)
		return a->dropped ? 1 : -1;
	return a->want < b->want ? -1 : a->want > b->want;
}

static void block_settle(struct block *b, const double span[2], double pitch)
{
	const double lowest = span[1] - (double)b->n * pitch;

	b->top = b->sum / (double)b->n;
	b->top = b->top > lowest ? lowest : b->top;
	b->top = b->top < span[0] ? span[0] : b->top;
}

size_t svg_labels_place(struct svg_label *label, size_t n, const double span[2], double pitch)
{
	const double room = (span[1] - span[0]) / pitch;
	const size_t kept = room < (double)n ? (size_t)(room > 0 ? room : 0) : n;
	struct block *const block = cli_alloc(n, sizeof(*block));
	size_t nblocks = 0;

	if (n > 0)
		qsort(label, n, sizeof(*label), by_weight);
	for (size_t i = 0; i < n; i++)
		label[i].dropped = i >= kept;
	if (n > 0)
		qsort(label, n, sizeof(*label), by_place);
	for (size_t i = 0; i < kept; i++) {
		struct block *b = &block[nblocks++];

		*b = (struct block){.first = i, .n = 1, .sum = label[i].want - pitch / 2};
		block_settle(b, span, pitch);
		while (nblocks > 1 && b[-1].top + (double)b[-1].n * pitch > b->top) {
			b[-1].sum += b->sum - (double)b->n * (double)b[-1].n * pitch;
			b[-1].n += b->n;
			b--;
			nblocks--;
			block_settle(b, span, pitch);
		}
	}
	for (size_t k = 0; k < nblocks; k++) {
		for (size_t i = 0; i < block[k].n; i++)
			label[block[k].first + i].y = block[k].top + ((double)i + 0.5) * pitch;
	}
	free(block);
	return n - kept;
}
