/* SPDX-License-Identifier: MIT */
/*
 * svg_axis.h - a log-compressed axis of guest addresses.
 *
 * The addresses are cut at every border of a slot. A piece gets a height that grows with
 * the logarithm of its size, so that 4 KiB and 64 GiB are legible at once; a piece that no
 * slot ever covers gets little; equal pieces in a row, such as DIMMs, also with equal gaps
 * between them, share what a few of them would get. Address 0 is at the top.
 */
#ifndef MSLOT_CLI_SVG_AXIS_H
#define MSLOT_CLI_SVG_AXIS_H

#include "plan.h"
#include "svg.h"

#define AXIS_RUN_LEAST 8u /* slots in a row that are shown as one run */

struct axis_piece {
	uint64_t start;
	uint64_t end;
	bool covered;
	double y; /* of start, from the top of the axis */
	double height;
	/* On the first piece of a run: its pieces, of which every period-th begins a new one. */
	size_t run;
	size_t period; /* 1, or 2 with gaps */
};

struct axis {
	struct axis_piece *piece; /* by rising address, adjacent, from address 0 */
	size_t npieces;
	double height;
};

struct axis_scale {
	double least;    /* pixels of a piece of 4 KiB */
	double doubling; /* more for each doubling */
	double most;     /* of the whole axis; all is made smaller beyond that */
};

/* An axis for the ranges of one space, which may overlap. */
void axis_init(struct axis *a, const struct plan_ranges *ranges, uint32_t space,
	       const struct axis_scale *scale);
void axis_fini(struct axis *a);

double axis_y(const struct axis *a, uint64_t addr);
/* Index of the piece that holds addr; npieces where none does. */
size_t axis_piece_at(const struct axis *a, uint64_t addr);

/*
 * Addresses of borders, flush right at at[0], the axis beginning at at[1]. The roundest get
 * room first; inside a run only those that are short.
 */
#define AXIS_TICKS_WIDTH 112.0 /* 2^52 is the highest address, 15 characters */
void axis_ticks(struct svg *s, const struct axis *a, const double at[2]);

#endif /* MSLOT_CLI_SVG_AXIS_H */
