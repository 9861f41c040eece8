/* SPDX-License-Identifier: MIT */
/*
 * migrate_svg.c - the drawing of `mslot migrate-demo --svg`: over the rounds, how many pages
 * were dirty and sent, and how fast they became dirty. The last round is the stop.
 */
#include "migrate.h"

#include <assert.h>

#include "cli.h"
#include "svg_plot.h"

#define MARGIN 22.0
#define WIDTH 470.0
#define HEIGHT 300.0
#define BETWEEN 26.0
#define HEAD 40.0
#define NOTE_ROW 17.0
#define NOTE_SIZE 11.0
#define MAX_POINTS (MIGRATE_MAX_ROUNDS + 1)

static_assert(MAX_POINTS <= PLOT_MAX_POINTS, "each round is a point of a line");

struct picture {
	const struct migrate_options *o;
	const struct migrate_result *result;
	double tick[MAX_POINTS];
};

/* The axes are logarithmic: what is 0 is left out. */
static size_t add_point(struct plot_point *point, size_t n, size_t round, double y)
{
	if (y <= 0)
		return n;
	point[n] = (struct plot_point){(double)(round + 1), y};
	return n + 1;
}

static void draw_panel(struct svg *s, const struct picture *pic, const double at[2],
		       struct plot_panel *panel, struct plot_line *line, size_t nlines)
{
	size_t n = 0;

	for (size_t i = 0; i < nlines; i++) {
		if (line[i].npoints > 0)
			line[n++] = line[i];
	}
	panel->xname = "round; the last one is the stop";
	panel->line = line;
	panel->nlines = n;
	panel->tick = pic->tick;
	panel->nticks = pic->result->nrounds;
	if (n > 0)
		plot_draw(s, panel, (const double[]){at[0], at[1], WIDTH, HEIGHT});
}

static void draw_pages(struct svg *s, const struct picture *pic, const double at[2])
{
	struct plot_point dirty[MAX_POINTS], sent[MAX_POINTS];
	struct plot_line line[2] = {{.name = "sent", .style = 1, .point = sent},
				    {.name = "dirty", .style = 0, .point = dirty}};
	struct plot_panel panel = {.title = "Dirty pages",
				   .what = "reported by the round's harvest, then sent",
				   .yname = "pages"};

	for (size_t i = 0; i < pic->result->nrounds; i++) {
		const struct migrate_round *const r = &pic->result->round[i];

		/* Otherwise one line would hide the other. */
		if (pic->result->pages_kept > 0)
			line[0].npoints =
			    add_point(sent, line[0].npoints, i, (double)r->sent_pages);
		line[1].npoints = add_point(dirty, line[1].npoints, i, (double)r->dirty_pages);
	}
	draw_panel(s, pic, at, &panel, line, 2);
}

static void draw_rates(struct svg *s, const struct picture *pic, const double at[2])
{
	struct plot_point dirty[MAX_POINTS], sent[MAX_POINTS];
	struct plot_line line[2] = {{.name = "sending", .style = 1, .point = sent},
				    {.name = "dirty rate", .style = 4, .point = dirty}};
	struct plot_panel panel = {.title = "Dirty rate",
				   .what = "since the harvest before; and how fast pages are sent",
				   .yname = "pages/s"};

	for (size_t i = 0; i < pic->result->nrounds; i++) {
		const struct migrate_round *const r = &pic->result->round[i];

		line[1].npoints = add_point(dirty, line[1].npoints, i, r->dirty_per_s);
		if (r->send_ns > 0)
			line[0].npoints =
			    add_point(sent, line[0].npoints, i,
				      (double)r->sent_pages * 1e9 / (double)r->send_ns);
	}
	draw_panel(s, pic, at, &panel, line, 2);
}

static void draw_notes(struct svg *s, const struct picture *pic, double y)
{
	const struct svg_font dim = {NOTE_SIZE, SVG_START, "dim"};
	const struct migrate_result *const r = pic->result;
	char size[SVG_BYTES_MAX], sent[32], count[32], lost[64] = "none was lost";

	if (r->lost_pages > 0)
		snprintf(lost, sizeof(lost), "%s lost", svg_count(count, r->lost_pages));
	svg_bytes(size, pic->o->size_bytes);
	svg_text(s, MARGIN, y, &dim,
		 "%s of guest memory, %u writing vCPU%s and a device; %s transactions", size,
		 pic->o->nwriters, pic->o->nwriters == 1 ? "" : "s",
		 svg_count(count, pic->o->ntransactions));
	svg_text(s, MARGIN, y + NOTE_ROW, &dim,
		 "%s pages sent; the guest stood for %.1f ms; %s pages compared, %s",
		 svg_count(sent, r->pages_sent), (double)r->downtime_ns / 1e6,
		 svg_count(count, r->pages_compared), lost);
}

int migrate_draw(const struct migrate_options *o, const struct migrate_result *result)
{
	const double width = 2 * WIDTH + BETWEEN, foot = MARGIN + HEAD + HEIGHT + BETWEEN;
	const struct svg_font bold = {15, SVG_START, "bold"};
	const char *const title = "A guest that moves while its memory map changes";
	struct picture pic = {.o = o, .result = result};
	struct svg s;

	for (size_t i = 0; i < MAX_POINTS; i++)
		pic.tick[i] = (double)(i + 1);
	if (svg_open(&s, MIGRATE_VERB, o->svg) < 0)
		return -1;
	svg_begin(&s, width + 2 * MARGIN, foot + 2 * NOTE_ROW + MARGIN / 2, title);
	plot_styles(&s);
	svg_text(&s, MARGIN, MARGIN + 14, &bold, "%s", title);
	draw_pages(&s, &pic, (const double[]){MARGIN, MARGIN + HEAD});
	draw_rates(&s, &pic, (const double[]){MARGIN + WIDTH + BETWEEN, MARGIN + HEAD});
	draw_notes(&s, &pic, foot + NOTE_ROW / 2);
	return svg_close(&s);
}
