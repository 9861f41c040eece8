/* SPDX-License-Identifier: MIT */
/* svg_axis.c - the log-compressed axis of guest addresses; see svg_axis.h. */
#include "svg_axis.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define PAGE_BYTES 4096u
#define GAP_LEAST 16.0
#define GAP_DOUBLING 0.6
/* A run is this much higher than one piece of its size would be. */
#define RUN_PIECE 2.2 /* pixels a piece */
#define RUN_MOST 620.0
#define TICK_SIZE 11.0
#define TICK_PITCH 13.0

/* A border of a range: one more or one fewer range from here on. */
struct border {
	uint64_t addr;
	int step;
};

static int border_compare(const void *pa, const void *pb)
{
	const struct border *const a = pa, *const b = pb;

	if (a->addr != b->addr)
		return a->addr < b->addr ? -1 : 1;
	return 0;
}

static double min(double a, double b)
{
	return a < b ? a : b;
}

/* How often a page must be doubled; between powers of two along the chord. */
static double doublings(uint64_t len_bytes)
{
	const uint64_t npages = len_bytes / PAGE_BYTES;
	const int whole = npages > 0 ? 63 - __builtin_clzll(npages) : 0;

	return npages > 0 ? whole + (double)npages / (double)(UINT64_C(1) << whole) - 1 : 0;
}

static void cut_pieces(struct axis *a, const struct border *border, size_t nborders)
{
	size_t depth = 0;

	a->piece = cli_alloc(nborders, sizeof(*a->piece));
	for (size_t i = 0; i + 1 < nborders; i++) {
		depth += (size_t)border[i].step;
		if (border[i].addr == border[i + 1].addr)
			continue;
		a->piece[a->npieces++] = (struct axis_piece){
		    .start = border[i].addr, .end = border[i + 1].addr, .covered = depth > 0};
	}
}

/* Pieces from i on of which each is like the one `period` before it; 0 where no run. */
static size_t run_length(const struct axis *a, size_t i, size_t period)
{
	const struct axis_piece *const p = &a->piece[i];
	size_t n = period;

	if (!p->covered || i + period > a->npieces || (period == 2 && p[1].covered))
		return 0;
	while (i + n < a->npieces && p[n].covered == p[n - period].covered &&
	       p[n].end - p[n].start == p[n - period].end - p[n - period].start)
		n++;
	/* A gap at the end belongs to what follows. */
	n -= (n + 1) % period;
	return n / period + n % period >= AXIS_RUN_LEAST ? n : 0;
}

static size_t find_run(struct axis *a, size_t i)
{
	struct axis_piece *const p = &a->piece[i];

	for (p->period = 1; p->period <= 2; p->period++) {
		p->run = run_length(a, i, p->period);
		if (p->run > 0)
			return p->run;
	}
	return 1;
}

static double piece_height(const struct axis_piece *p, const struct axis_scale *scale)
{
	const double n = doublings(p->end - p->start);

	return p->covered ? scale->least + scale->doubling * n : GAP_LEAST + GAP_DOUBLING * n;
}

static double run_height(const struct axis_piece *p, size_t n, const struct axis_scale *scale)
{
	const struct axis_piece all = {.start = p->start, .end = p[n - 1].end, .covered = true};

	return piece_height(&all, scale) + min(RUN_PIECE * (double)n, RUN_MOST);
}

static void set_heights(struct axis *a, const struct axis_scale *scale)
{
	double y = 0, shrink;

	for (size_t i = 0, n; i < a->npieces; i += n) {
		struct axis_piece *const p = &a->piece[i];
		double sum = 0;

		n = find_run(a, i);
		for (size_t k = 0; k < n; k++) {
			p[k].height = piece_height(&p[k], scale);
			sum += p[k].height;
		}
		if (n > 1) {
			shrink = min(1, run_height(p, n, scale) / sum);
			for (size_t k = 0; k < n; k++)
				p[k].height *= shrink;
			sum *= shrink;
		}
		y += sum;
	}
	shrink = y > scale->most ? scale->most / y : 1;
	for (size_t i = 0; i < a->npieces; i++) {
		a->piece[i].y = a->height;
		a->piece[i].height *= shrink;
		a->height += a->piece[i].height;
	}
}

void axis_init(struct axis *a, const struct plan_ranges *ranges, uint32_t space,
	       const struct axis_scale *scale)
{
	struct border *const border = cli_alloc(2 * ranges->nranges + 1, sizeof(*border));
	size_t n = 1;

	*a = (struct axis){0};
	border[0] = (struct border){0, 0};
	for (size_t i = 0; i < ranges->nranges; i++) {
		if (ranges->range[i].space != space)
			continue;
		border[n++] = (struct border){ranges->range[i].start, 1};
		border[n++] = (struct border){ranges->range[i].end, -1};
	}
	qsort(border, n, sizeof(*border), border_compare);
	cut_pieces(a, border, n);
	set_heights(a, scale);
	free(border);
}

void axis_fini(struct axis *a)
{
	free(a->piece);
	*a = (struct axis){0};
}

size_t axis_piece_at(const struct axis *a, uint64_t addr)
{
	size_t lo = 0, hi = a->npieces;

	while (lo < hi) {
		const size_t mid = (lo + hi) / 2;

		if (a->piece[mid].end <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

double axis_y(const struct axis *a, uint64_t addr)
{
	const size_t i = axis_piece_at(a, addr);
	const struct axis_piece *const p = &a->piece[i];

	if (i == a->npieces)
		return a->height;
	return p->y + p->height * ((double)(addr - p->start) / (double)(p->end - p->start));
}

/* How round an address is: zeros at the end of its binary digits. */
static double roundness(uint64_t addr)
{
	return addr == 0 ? 64 : __builtin_ctzll(addr);
}

struct tick {
	double y;
	double round;
	uint64_t addr;
};

static int tick_compare(const void *pa, const void *pb)
{
	const struct tick *const a = pa, *const b = pb;

	if (a->round != b->round)
		return a->round > b->round ? -1 : 1;
	return a->addr < b->addr ? -1 : a->addr > b->addr;
}

/* Whether a tick at y has room; if so it takes it. Marks are half a pixel wide. */
static bool take_room(bool *taken, size_t nmarks, double y)
{
	const size_t from = (size_t)(2 * y), to = from + (size_t)(2 * TICK_PITCH);

	for (size_t i = from; i < to && i < nmarks; i++) {
		if (taken[i])
			return false;
	}
	for (size_t i = from; i < to && i < nmarks; i++)
		taken[i] = true;
	return true;
}

/* The borders that may get a tick; returns how many. */
static size_t find_ticks(const struct axis *a, struct tick *tick)
{
	size_t n = 0, inside = 0;

	for (size_t i = 0; i <= a->npieces && a->npieces > 0; i++) {
		const uint64_t addr = i < a->npieces ? a->piece[i].start : a->piece[i - 1].end;
		char text[SVG_BYTES_MAX];

		if (inside == 0 || strncmp(svg_address(text, addr), "0x", 2) != 0)
			tick[n++] = (struct tick){axis_y(a, addr), roundness(addr), addr};
		if (i < a->npieces && a->piece[i].run > 0)
			inside = a->piece[i].run;
		inside -= inside > 0;
	}
	return n;
}

void axis_ticks(struct svg *s, const struct axis *a, const double at[2])
{
	const struct svg_font font = {TICK_SIZE, SVG_END, "dim"};
	const size_t nmarks = (size_t)(2 * (a->height + 2 * TICK_PITCH)) + 2;
	struct tick *const tick = cli_alloc(a->npieces + 1, sizeof(*tick));
	bool *const taken = cli_alloc(nmarks, sizeof(*taken));
	const size_t n = find_ticks(a, tick);
	char text[SVG_BYTES_MAX];

	if (n > 0)
		qsort(tick, n, sizeof(*tick), tick_compare);
	for (size_t i = 0; i < n; i++) {
		const double y = at[1] + tick[i].y;

		if (!take_room(taken, nmarks, tick[i].y))
			continue;
		svg_text(s, at[0] - 8, y + 4, &font, "%s", svg_address(text, tick[i].addr));
		svg_line(s, (const double[]){at[0] - 5, y}, (const double[]){at[0], y}, "rim");
	}
	free(tick);
	free(taken);
}
