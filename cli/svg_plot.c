/* SPDX-License-Identifier: MIT */
/* svg_plot.c - panels with logarithmic axes; see svg_plot.h. */
#include "svg_plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define HEAD 56.0   /* title, what is measured, the unit */
#define FOOT 40.0   /* ticks and name of the x axis */
#define LEFT 52.0   /* ticks of the y axis */
#define RIGHT 112.0 /* names of the lines */
#define LEADER 20.0 /* from the plot to the names */
#define TEXT_SIZE 11.0
#define PITCH 13.0
#define MARK 3.4
#define SPREAD 4.0 /* the y axis spans at least this factor */

/* Of the panel's area: logarithms at its edges, and where they are on the page. */
struct area {
	double x0, x1, y0, y1; /* decimal logarithms; y0 is at the bottom */
	double left, top, width, height;
};

void plot_styles(struct svg *s)
{
	/* Colours that people with any kind of colour blindness can tell apart. */
	static const char *const look[PLOT_NSTYLES] = {
	    "stroke:#0072b2;stroke-width:2.8",
	    "stroke:#56b4e9;stroke-dasharray:7 3",
	    "stroke:#009e73;stroke-dasharray:2 3",
	    "stroke:#e69f00",
	    "stroke:#d55e00",
	    "stroke:#222;stroke-dasharray:9 3 2 3",
	    "stroke:#cc79a7;stroke-dasharray:5 3",
	    "stroke:#6a3d9a",
	};
	static const char *const fill[PLOT_NSTYLES] = {"#0072b2", "#56b4e9", "#009e73", "#e69f00",
						       "#d55e00", "#222",    "#cc79a7", "#6a3d9a"};

	fputs("<style>\n.grid{stroke:#e4e4e4;stroke-width:1;fill:none}"
	      ".floor{stroke:#777;stroke-width:1.4;stroke-dasharray:1.5 3;fill:none}\n",
	      s->to);
	for (unsigned int i = 0; i < PLOT_NSTYLES; i++)
		fprintf(s->to,
			".l%u{fill:none;stroke-width:1.8;%s}.m%u{fill:%s}.p%u{stroke:%s;"
			"stroke-width:.8;fill:none;opacity:.6}\n",
			i, look[i], i, fill[i], i, fill[i]);
	fputs("</style>\n", s->to);
}

static double x_of(const struct area *a, double x)
{
	return a->left + (log10(x) - a->x0) / (a->x1 - a->x0) * a->width;
}

static double y_of(const struct area *a, double y)
{
	return a->top + a->height - (log10(y) - a->y0) / (a->y1 - a->y0) * a->height;
}

/* ---- Shapes ----------------------------------------------------------------- */

static void put_points(struct svg *s, const char *element, const double (*at)[2], size_t n,
		       const char *class)
{
	fprintf(s->to, "<%s points=\"", element);
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			fputc(' ', s->to);
		svg_number(s, at[i][0]);
		fputc(',', s->to);
		svg_number(s, at[i][1]);
	}
	fprintf(s->to, "\" class=\"%s\"/>\n", class);
}

/* Four shapes, with the colour eight looks: square, up, diamond, down. */
static void put_mark(struct svg *s, unsigned int style, double x, double y)
{
	const double m = MARK, w = MARK * 1.25;
	const double shape[4][4][2] = {
	    {{x - m, y - m}, {x + m, y - m}, {x + m, y + m}, {x - m, y + m}},
	    {{x, y - w}, {x + w, y + m}, {x - w, y + m}, {x, y - w}},
	    {{x, y - w}, {x + w, y}, {x, y + w}, {x - w, y}},
	    {{x, y + w}, {x + w, y - m}, {x - w, y - m}, {x, y + w}},
	};
	char class[16];

	snprintf(class, sizeof(class), "m%u", style);
	put_points(s, "polygon", shape[style % 4], 4, class);
}

/* ---- Axes ------------------------------------------------------------------- */

static void put_limits(const struct plot_panel *p, struct area *a)
{
	double lo = p->floor > 0 ? p->floor : INFINITY, hi = p->floor;

	for (size_t i = 0; i < p->nlines; i++) {
		for (size_t k = 0; k < p->line[i].npoints; k++) {
			lo = fmin(lo, p->line[i].point[k].y);
			hi = fmax(hi, p->line[i].point[k].y);
		}
	}
	lo /= 1.2;
	hi *= 1.2;
	if (hi / lo < SPREAD) {
		const double grow = sqrt(SPREAD / (hi / lo));

		lo /= grow;
		hi *= grow;
	}
	a->y0 = log10(lo);
	a->y1 = log10(hi);
	a->x0 = log10(p->tick[0]);
	a->x1 = log10(p->tick[p->nticks - 1]);
	a->x0 -= 0.04 * (a->x1 - a->x0) + 0.02;
	a->x1 += 0.03 * (a->x1 - a->x0) + 0.02;
}

/* 0.5, 20, 5k, 1M: the ticks are round. */
static const char *short_number(char text[32], double val)
{
	static const char *const suffix[] = {"", "k", "M", "G", "T"};
	size_t i = 0;

	for (; val >= 999.5 && i < 4; i++)
		val /= 1000;
	snprintf(text, 32, "%.3g%s", val, suffix[i]);
	return text;
}

static void draw_y_axis(struct svg *s, const struct area *a)
{
	const struct svg_font font = {TEXT_SIZE, SVG_END, "dim"};
	static const double digit[] = {1, 2, 5};
	const bool few = a->y1 - a->y0 < 2.6;
	char text[32];

	for (int decade = (int)floor(a->y0); decade <= (int)ceil(a->y1); decade++) {
		for (size_t i = 0; i < (few ? 3 : 1); i++) {
			const double val = digit[i] * pow(10, decade), at = y_of(a, val);

			if (log10(val) < a->y0 || log10(val) > a->y1)
				continue;
			svg_line(s, (const double[]){a->left, at},
				 (const double[]){a->left + a->width, at}, "grid");
			svg_text(s, a->left - 6, at + 4, &font, "%s", short_number(text, val));
		}
	}
}

static void draw_x_axis(struct svg *s, const struct plot_panel *p, const struct area *a)
{
	const struct svg_font font = {TEXT_SIZE, SVG_MIDDLE, "dim"};
	const double foot = a->top + a->height;
	double taken = -INFINITY, last_left;
	char text[32];

	/* The last one is always named; the others from the left where they leave it room. */
	svg_count(text, (uint64_t)p->tick[p->nticks - 1]);
	last_left = x_of(a, p->tick[p->nticks - 1]) - svg_text_width(TEXT_SIZE, strlen(text)) / 2;
	for (size_t i = 0; i < p->nticks; i++) {
		const double x = x_of(a, p->tick[i]);
		double half;

		svg_line(s, (const double[]){x, a->top}, (const double[]){x, foot + 4}, "grid");
		svg_count(text, (uint64_t)p->tick[i]);
		half = svg_text_width(TEXT_SIZE, strlen(text)) / 2;
		if (x - half < taken + 4 || (i + 1 < p->nticks && x + half + 4 > last_left))
			continue;
		svg_text(s, x, foot + 17, &font, "%s", text);
		taken = x + half;
	}
	svg_text(s, a->left + a->width / 2, foot + 33, &font, "%s", p->xname);
}

/* ---- Lines and their names ---------------------------------------------------- */

static void draw_line(struct svg *s, const struct plot_line *l, const struct area *a)
{
	double at[PLOT_MAX_POINTS][2];
	const size_t n = l->npoints < PLOT_MAX_POINTS ? l->npoints : PLOT_MAX_POINTS;
	char class[16];

	for (size_t i = 0; i < n; i++) {
		at[i][0] = x_of(a, l->point[i].x);
		at[i][1] = y_of(a, l->point[i].y);
	}
	snprintf(class, sizeof(class), "l%u", l->style);
	if (n > 1)
		put_points(s, "polyline", (const double(*)[2])at, n, class);
	for (size_t i = 0; i < n; i++)
		put_mark(s, l->style, at[i][0], at[i][1]);
}

static const struct plot_line *line_named(const struct plot_panel *p, const char *name)
{
	for (size_t i = 0; i < p->nlines; i++) {
		if (strcmp(p->line[i].name, name) == 0)
			return &p->line[i];
	}
	return NULL;
}

static void draw_name(struct svg *s, const struct plot_panel *p, const struct area *a,
		      const struct svg_label *label)
{
	const struct plot_line *const l = line_named(p, label->text);
	const double right = a->left + a->width, x = right + LEADER;
	const struct svg_font font = {TEXT_SIZE, SVG_START, l != NULL ? "ink" : "dim"};
	char class[16] = "floor";
	double from = right;

	if (l != NULL) {
		from = x_of(a, l->point[l->npoints - 1].x) + MARK;
		snprintf(class, sizeof(class), "p%u", l->style);
	}
	svg_line(s, (const double[]){from, a->top + label->want},
		 (const double[]){x - 2, a->top + label->y}, class);
	if (l != NULL)
		put_mark(s, l->style, x + 3, a->top + label->y);
	svg_text(s, x + 10, a->top + label->y + 4, &font, "%s", label->text);
}

static void draw_names(struct svg *s, const struct plot_panel *p, const struct area *a)
{
	struct svg_label *const label = cli_alloc(p->nlines + 1, sizeof(*label));
	const double span[2] = {-PITCH, a->height + PITCH};
	size_t n = 0;

	for (size_t i = 0; i < p->nlines; i++) {
		const struct plot_line *const l = &p->line[i];

		label[n].want = y_of(a, l->point[l->npoints - 1].y) - a->top;
		snprintf(label[n++].text, SVG_TEXT_MAX, "%s", l->name);
	}
	if (p->floor > 0) {
		label[n].want = y_of(a, p->floor) - a->top;
		snprintf(label[n++].text, SVG_TEXT_MAX, "floor");
	}
	svg_labels_place(label, n, span, PITCH);
	for (size_t i = 0; i < n; i++) {
		if (!label[i].dropped)
			draw_name(s, p, a, &label[i]);
	}
	free(label);
}

void plot_draw(struct svg *s, const struct plot_panel *p, const double box[4])
{
	const struct svg_font title = {13, SVG_START, "bold"}, what = {TEXT_SIZE, SVG_START, "dim"};
	struct area a = {.left = box[0] + LEFT,
			 .top = box[1] + HEAD,
			 .width = box[2] - LEFT - RIGHT,
			 .height = box[3] - HEAD - FOOT};

	put_limits(p, &a);
	svg_text(s, box[0], box[1] + 13, &title, "%s", p->title);
	svg_text(s, box[0], box[1] + 30, &what, "%s", p->what);
	svg_text(s, box[0], box[1] + 47, &what, "%s", p->yname);
	draw_y_axis(s, &a);
	draw_x_axis(s, p, &a);
	svg_rect(s, (const double[]){a.left, a.top, a.width, a.height}, "rim");
	if (p->floor > 0)
		svg_line(s, (const double[]){a.left, y_of(&a, p->floor)},
			 (const double[]){a.left + a.width, y_of(&a, p->floor)}, "floor");
	for (size_t i = 0; i < p->nlines; i++)
		draw_line(s, &p->line[i], &a);
	draw_names(s, p, &a);
}
