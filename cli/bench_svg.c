/* SPDX-License-Identifier: MIT */
/*
 * bench_svg.c - the drawing of `mslot bench --svg`: a panel for each case and layout, in it a
 * line for each engine over the number of slots. Results without slots are left out.
 */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "svg_plot.h"

#define MARGIN 22.0
#define WIDTH 470.0
#define HEIGHT 300.0
#define BETWEEN 26.0
#define HEAD 40.0
#define NOTE_ROW 17.0
#define NOTE_SIZE 11.0
#define MAX_NOTES 8u
#define FLOOR_NEAR 30

struct picture {
	const struct bench_output *out;
	const struct bench_row **panel; /* any row of each */
	size_t npanels;
	char note[MAX_NOTES][SVG_TEXT_MAX];
	size_t nnotes;
};

static bool drawn(const struct bench_result *r)
{
	return r->why == NULL && r->row.slots > 0 && r->row.value > 0;
}

static bool same_panel(const struct bench_row *a, const struct bench_row *b)
{
	return strcmp(a->name, b->name) == 0 && strcmp(a->layout, b->layout) == 0;
}

static int tick_compare(const void *pa, const void *pb)
{
	const double a = *(const double *)pa, b = *(const double *)pb;

	return (a > b) - (a < b);
}

static bool same_axis(const struct bench_row *a, const struct bench_row *b)
{
	return (a->axis == NULL) == (b->axis == NULL) && strcmp(bench_axis(a), bench_axis(b)) == 0;
}

/* What a panel has on its x axis: all numbers that any panel of that axis has, each once. */
static size_t choose_ticks(const struct picture *pic, const struct bench_row *panel,
			   double tick[BENCH_MAX_LIST])
{
	const struct bench_output *const out = pic->out;
	size_t n = 0;

	for (size_t i = 0; i < out->nresults; i++) {
		const struct bench_row *const row = &out->result[i].row;
		size_t k = 0;

		while (k < n && tick[k] != (double)row->slots)
			k++;
		if (k == n && n < BENCH_MAX_LIST && drawn(&out->result[i]) && same_axis(panel, row))
			tick[n++] = (double)row->slots;
	}
	qsort(tick, n, sizeof(tick[0]), tick_compare);
	return n;
}

/* The engines of a panel, in the order of their rows. */
static size_t choose_lines(const struct picture *pic, const struct bench_row *panel,
			   const char *name[BENCH_MAX_LIST])
{
	const struct bench_output *const out = pic->out;
	size_t n = 0;

	for (size_t i = 0; i < out->nresults; i++) {
		const struct bench_row *const row = &out->result[i].row;
		size_t k = 0;

		if (!drawn(&out->result[i]) || !same_panel(panel, row))
			continue;
		while (k < n && strcmp(name[k], row->engine) != 0)
			k++;
		if (k == n && n < BENCH_MAX_LIST)
			name[n++] = row->engine;
	}
	return n;
}

/* Of cases with an axis of their own, those that are measured at one place of it are no lines. */
static bool is_panel(const struct bench_output *out, const struct bench_row *row)
{
	bool more = row->axis == NULL;

	for (size_t i = 0; i < out->nresults && !more; i++)
		more = same_panel(row, &out->result[i].row) && drawn(&out->result[i]) &&
		       out->result[i].row.slots != row->slots;
	return more;
}

static void choose_panels(struct picture *pic)
{
	const struct bench_output *const out = pic->out;

	pic->panel = cli_alloc(out->nresults, sizeof(struct bench_row *));
	for (size_t i = 0; i < out->nresults; i++) {
		const struct bench_row *const row = &out->result[i].row;
		size_t k = 0;

		while (k < pic->npanels && !same_panel(pic->panel[k], row))
			k++;
		if (drawn(&out->result[i]) && k == pic->npanels && is_panel(out, row))
			pic->panel[pic->npanels++] = row;
	}
}

/* ---- Notes below the panels --------------------------------------------------- */

static size_t note_chars(double width)
{
	const size_t n = (size_t)(width / svg_text_width(NOTE_SIZE, 1));

	return n < SVG_TEXT_MAX ? n : SVG_TEXT_MAX - 1;
}

/* Put a part behind what the last note says, or in a note of its own where it is too long. */
static void add_note(struct picture *pic, size_t most, bool fresh, const char *part)
{
	char *note = pic->nnotes > 0 ? pic->note[pic->nnotes - 1] : NULL;

	if (fresh || note == NULL || strlen(note) + strlen(part) + 2 > most) {
		if (pic->nnotes == MAX_NOTES)
			return;
		note = pic->note[pic->nnotes++];
		snprintf(note, most + 1, "%s", part);
		return;
	}
	strcat(note, "; ");
	strcat(note, part);
}

static void choose_notes(struct picture *pic, double width)
{
	const struct bench_options *const o = pic->out->o;
	const size_t most = note_chars(width);
	char part[SVG_TEXT_MAX];
	bool first = true;

	snprintf(part, sizeof(part), "median of %u repetition%s, all engines in turn",
		 o->repetitions, o->repetitions == 1 ? "" : "s");
	add_note(pic, most, true, part);
	snprintf(part, sizeof(part), "floor: a load whose address is the load before, %.2f ns",
		 pic->out->floor);
	add_note(pic, most, false, part);
	for (size_t i = 0; i < o->nengines && o->maps; i++) {
		const struct engine *const e = o->engine[i];

		if (bench_absent(e) != NULL)
			snprintf(part, sizeof(part), "%s: absent", e->name);
		else if (e->version != NULL)
			snprintf(part, sizeof(part), "%s: %s", e->name, e->version());
		else
			continue;
		add_note(pic, most, first, part);
		first = false;
	}
}

/* ---- Panels ------------------------------------------------------------------- */

/* Those of one engine, in the order of the panel's ticks. */
static size_t collect_points(const struct bench_output *out, const struct bench_row *of,
			     const struct plot_panel *panel, struct plot_point *point)
{
	size_t n = 0;

	for (size_t t = 0; t < panel->nticks; t++) {
		for (size_t i = 0; i < out->nresults; i++) {
			const struct bench_row *const row = &out->result[i].row;

			if (!drawn(&out->result[i]) || !same_panel(of, row) ||
			    strcmp(row->engine, of->engine) != 0 ||
			    (double)row->slots != panel->tick[t])
				continue;
			point[n++] = (struct plot_point){(double)row->slots, row->value};
			break;
		}
	}
	return n;
}

static void draw_panel(struct svg *s, const struct picture *pic, const struct bench_row *row,
		       const double at[2])
{
	struct plot_point point[BENCH_MAX_LIST][BENCH_MAX_LIST];
	struct plot_line line[BENCH_MAX_LIST];
	const struct bench_options *const o = pic->out->o;
	const char *name[BENCH_MAX_LIST];
	double lowest = INFINITY, tick[BENCH_MAX_LIST];
	struct plot_panel panel = {.what = row->what,
				   .xname = bench_axis(row),
				   .yname = row->unit,
				   .line = line,
				   .tick = tick,
				   .nticks = choose_ticks(pic, row, tick)};
	char title[SVG_TEXT_MAX];

	/* From behind, so that mslot lies over all others. */
	for (size_t e = choose_lines(pic, row, name); e > 0; e--) {
		struct bench_row of = *row;
		size_t n;

		of.engine = name[e - 1];
		n = collect_points(pic->out, &of, &panel, point[e - 1]);
		for (size_t i = 0; i < n; i++)
			lowest = fmin(lowest, point[e - 1][i].y);
		line[panel.nlines++] = (struct plot_line){
		    .name = of.engine,
		    .style =
			(unsigned int)(row->axis != NULL ? e - 1 : bench_engine_index(of.engine)) %
			PLOT_NSTYLES,
		    .point = point[e - 1],
		    .npoints = n};
	}
	/* Where all are far above it the floor would only take the room of the lines. */
	if (strcmp(row->unit, "ns/op") == 0 && lowest < FLOOR_NEAR * pic->out->floor)
		panel.floor = pic->out->floor;
	if (row->axis != NULL || o->nlayouts > 1 || o->layout[0] != LAYOUT_RANDOM)
		snprintf(title, sizeof(title), "%s, %s", row->name, row->layout);
	else
		snprintf(title, sizeof(title), "%s", row->name);
	panel.title = title;
	plot_draw(s, &panel, (const double[]){at[0], at[1], WIDTH, HEIGHT});
}

/* What all panels are about. */
static const char *title_of(const struct bench_options *o)
{
	bool dirty = false, mmu = false;

	for (size_t i = 0; i < o->ncases; i++) {
		dirty |= (o->cases[i]->flags & CASE_DIRTY) != 0;
		mmu |= (o->cases[i]->flags & CASE_MMU) != 0;
	}
	if (o->table2021)
		return "Phases of memslot_perf_test by number of slots";
	if (o->maps)
		return "Guest-memory maps by number of slots";
	if (dirty && mmu)
		return "Leases, dirty pages and translation tables";
	return mmu ? "Translation tables by number of slots"
		   : "Leases by threads, harvests of dirty pages by size in MiB";
}

static void draw_page(struct svg *s, struct picture *pic)
{
	const size_t ncolumns = pic->npanels < 2 ? 1 : 2;
	const size_t nrows = (pic->npanels + ncolumns - 1) / ncolumns;
	const double width = (double)ncolumns * (WIDTH + BETWEEN) - BETWEEN;
	const double foot = MARGIN + HEAD + (double)nrows * (HEIGHT + BETWEEN);
	const struct svg_font bold = {15, SVG_START, "bold"}, dim = {NOTE_SIZE, SVG_START, "dim"};
	const char *const title = title_of(pic->out->o);

	choose_notes(pic, width);
	svg_begin(s, width + 2 * MARGIN, foot + (double)pic->nnotes * NOTE_ROW + MARGIN / 2, title);
	plot_styles(s);
	svg_text(s, MARGIN, MARGIN + 14, &bold, "%s", title);
	for (size_t i = 0; i < pic->npanels; i++) {
		const size_t column = i % ncolumns, row = i / ncolumns;
		const double at[] = {MARGIN + (double)column * (WIDTH + BETWEEN),
				     MARGIN + HEAD + (double)row * (HEIGHT + BETWEEN)};

		draw_panel(s, pic, pic->panel[i], at);
	}
	for (size_t i = 0; i < pic->nnotes; i++)
		svg_text(s, MARGIN, foot + ((double)i + 0.5) * NOTE_ROW, &dim, "%s", pic->note[i]);
}

int bench_svg(const struct bench_output *out)
{
	struct picture pic = {.out = out};
	const bool existed = access(out->o->svg, F_OK) == 0;
	struct svg s;
	int ret = -1;

	choose_panels(&pic);
	if (pic.npanels == 0)
		cli_error(BENCH_VERB, "%s: nothing was measured that has slots", out->o->svg);
	else if (svg_open(&s, BENCH_VERB, out->o->svg) == 0) {
		draw_page(&s, &pic);
		ret = svg_close(&s);
		if (ret < 0 && !existed)
			unlink(out->o->svg);
	}
	free(pic.panel);
	return ret;
}
