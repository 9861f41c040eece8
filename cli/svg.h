/* SPDX-License-Identifier: MIT */
/*
 * svg.h - drawings: a file, shapes, text whose width is known, labels that never overlap.
 *
 * All text is set in a font of constant width, so that the box of a text is known without
 * asking one; svg_text_width() is a little more than the widest such font needs.
 */
#ifndef MSLOT_CLI_SVG_H
#define MSLOT_CLI_SVG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define SVG_TEXT_MAX 200u /* bytes of one text */

/* What an area is; one fill and one entry of the legend each. */
enum svg_fill {
	SVG_NONE, /* nothing there */
	SVG_RAM,
	SVG_ROM,
	SVG_LOGGED,
	SVG_LOGGED_ROM,
	SVG_SHARED, /* laid over the others */
	SVG_GAP,
	SVG_HOLE,
	SVG_NFILLS
};

struct svg {
	FILE *to;
	const char *verb;
	const char *path;
};

/* Each returns 0, or -1 with a message printed. svg_try(): can it be written? Changes nothing. */
int svg_try(const char *verb, const char *path);
int svg_open(struct svg *s, const char *verb, const char *path);
int svg_close(struct svg *s);

/* The drawing's size in pixels and its name; first of all. */
void svg_begin(struct svg *s, double width, double height, const char *title);

void svg_rect(struct svg *s, const double box[4], const char *class);
void svg_line(struct svg *s, const double from[2], const double to[2], const char *class);
/* A number with at most two decimals, for the data of a path. */
void svg_number(struct svg *s, double val);

enum svg_anchor { SVG_START, SVG_MIDDLE, SVG_END };

struct svg_font {
	double size;
	enum svg_anchor anchor;
	const char *class; /* colour and weight */
};

/* Text with its baseline at (x, y); bytes that are not printable ASCII become '?'. */
void svg_text(struct svg *s, double x, double y, const struct svg_font *font, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
double svg_text_width(double size, size_t nchars);

const char *svg_fill_class(enum svg_fill fill);

/* Entries of the fills that are set in `used`, in rows; with s NULL only their height. */
double svg_legend(struct svg *s, const double at[2], double width, unsigned int used);

/* A size in the largest unit that shows it exactly, or with two decimals, cut. */
#define SVG_BYTES_MAX 32u
const char *svg_bytes(char text[SVG_BYTES_MAX], uint64_t len_bytes);
/* An address as svg_bytes() where that is exact and short, else in hexadecimal. */
const char *svg_address(char text[SVG_BYTES_MAX], uint64_t addr);
/* A number with a separator every three digits. */
const char *svg_count(char text[32], uint64_t n);

/* ---- Labels beside a bar -------------------------------------------------- */

struct svg_label {
	double want;   /* y of the middle that would be best */
	double weight; /* the lightest are dropped first */
	double y;      /* where it goes */
	bool dropped;
	double extent; /* of what it names, where a bracket shall show that; 0: none */
	bool minor;    /* set in grey */
	char text[SVG_TEXT_MAX];
};

/*
 * Give each label a y between top and bottom, `pitch` apart and as near to where it wants
 * to be as that allows; drop the lightest where there is no room. Sorts; returns how many
 * were dropped.
 */
size_t svg_labels_place(struct svg_label *label, size_t n, const double span[2], double pitch);

#endif /* MSLOT_CLI_SVG_H */
