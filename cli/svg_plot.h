/* SPDX-License-Identifier: MIT */
/*
 * svg_plot.h - a panel with lines on two logarithmic axes, each line named at its right end.
 *
 * A style is a colour, a dash pattern and a marker at once, so that lines can be told apart
 * without seeing colours; the same style always looks the same.
 */
#ifndef MSLOT_CLI_SVG_PLOT_H
#define MSLOT_CLI_SVG_PLOT_H

#include "svg.h"

#define PLOT_NSTYLES 8u
#define PLOT_MAX_POINTS 64u /* of a line; further ones are left out */

struct plot_point {
	double x; /* both above 0 */
	double y;
};

struct plot_line {
	const char *name;
	unsigned int style;             /* below PLOT_NSTYLES */
	const struct plot_point *point; /* by rising x */
	size_t npoints;
};

struct plot_panel {
	const char *title;
	const char *what; /* a line below the title */
	const char *xname;
	const char *yname;
	const struct plot_line *line; /* later ones are drawn over earlier ones */
	size_t nlines;
	const double *tick; /* on the x axis, rising; named where there is room */
	size_t nticks;
	double floor; /* a dotted line at this y; 0: none */
};

/* Colours and dashes of the styles; once, behind svg_begin(). */
void plot_styles(struct svg *s);

/* Draw a panel in {x, y, width, height}. */
void plot_draw(struct svg *s, const struct plot_panel *p, const double box[4]);

#endif /* MSLOT_CLI_SVG_PLOT_H */
