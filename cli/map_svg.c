/* SPDX-License-Identifier: MIT */
/*
 * map_svg.c - a map as a drawing: one bar a space, addresses to the left, and to the right
 * a label for each slot and gap, tied to it by a line; the labels of the smallest are
 * left out, and counted, where there is no room.
 */
#include "map.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "svg_axis.h"

#define MARGIN 24.0
#define HEAD 74.0 /* title and subtitle */
#define PANEL_HEAD 26.0
#define BAR 130.0
#define LEADER 34.0
#define LABEL_SIZE 12.0
#define LABEL_PITCH 15.0
#define TITLE_SIZE 18.0
#define TITLE_CHARS 60
#define ZIGZAG_LEAST 10.0 /* pixels of a gap that gets a break mark */

static const struct axis_scale scale = {.least = 16, .doubling = 2, .most = 2600};

/* One space. */
struct panel {
	uint32_t space;
	size_t first, end; /* rows */
	struct axis axis;
	struct svg_label *label;
	size_t nlabels;
	size_t cap;
	size_t ndropped;
	int digits; /* hexadecimal digits of an address */
	char head[SVG_TEXT_MAX];
	double width;
};

/* ---- What to say --------------------------------------------------------------- */

static enum svg_fill fill_of(const struct mslot_slot_info *slot)
{
	const bool logged = (slot->flags & MSLOT_LOG_DIRTY) != 0;

	if ((slot->flags & MSLOT_READONLY) != 0)
		return logged ? SVG_LOGGED_ROM : SVG_ROM;
	return logged ? SVG_LOGGED : SVG_RAM;
}

static const char *name_of(enum svg_fill fill)
{
	static const char *const name[SVG_NFILLS] = {[SVG_RAM] = "RAM",
						     [SVG_ROM] = "read-only",
						     [SVG_LOGGED] = "RAM, logged",
						     [SVG_LOGGED_ROM] = "read-only, logged"};

	return name[fill];
}

static struct svg_label *add_label(struct panel *p, uint64_t start, uint64_t end)
{
	const double from = axis_y(&p->axis, start), to = axis_y(&p->axis, end);
	struct svg_label *l;

	p->label = cli_grow(p->label, p->nlabels, &p->cap, sizeof(*p->label));
	l = &p->label[p->nlabels++];
	*l = (struct svg_label){.want = (from + to) / 2, .weight = to - from};
	snprintf(l->text, sizeof(l->text), "0x%0*" PRIx64 " - 0x%0*" PRIx64 "  ", p->digits, start,
		 p->digits, end - 1);
	return l;
}

static void say(struct svg_label *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(struct svg_label *l, const char *fmt, ...)
{
	const size_t n = strlen(l->text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(l->text + n, sizeof(l->text) - n, fmt, ap);
	va_end(ap);
}

static void label_gap(struct panel *p, uint64_t start, uint64_t end)
{
	struct svg_label *const l = add_label(p, start, end);
	char size[SVG_BYTES_MAX];

	l->minor = true;
	/* Where there is no room the slots matter more. */
	l->weight = 0;
	say(l, "%9s  no slot", svg_bytes(size, end - start));
}

static void label_slot(struct panel *p, const struct map_row *row)
{
	const struct mslot_slot_info *const slot = &row->slot;
	struct svg_label *const l = add_label(p, slot->gpa, slot->gpa + slot->len_bytes);
	char size[SVG_BYTES_MAX];

	say(l, "%9s  %s, slot %" PRIu32, svg_bytes(size, slot->len_bytes), name_of(fill_of(slot)),
	    slot->key.id);
	if (row->ntwins > 0)
		say(l, ", alias of %" PRIu32 "%s", row->twin.id,
		    row->ntwins > 1 ? " and others" : "");
}

static void label_run(struct panel *p, const struct map_row *row, size_t n)
{
	const struct mslot_slot_info *const first = &row->slot, *const last = &row[n - 1].slot;
	struct svg_label *const l = add_label(p, first->gpa, last->gpa + last->len_bytes);
	char size[SVG_BYTES_MAX], text[SVG_BYTES_MAX];
	bool counts = true;

	l->extent = l->weight;
	for (size_t i = 1; i < n; i++)
		counts &= row[i].slot.key.id == first->key.id + i;
	say(l, "%9s  %s, %zu slots of %s",
	    svg_bytes(text, last->gpa + last->len_bytes - first->gpa), name_of(fill_of(first)), n,
	    svg_bytes(size, first->len_bytes));
	if (row[1].slot.gpa - first->gpa > first->len_bytes)
		say(l, " every %s", svg_bytes(text, row[1].slot.gpa - first->gpa));
	if (counts)
		say(l, ", %" PRIu32 " to %" PRIu32, first->key.id, last->key.id);
}

/* Rows from i on that are alike and equally far apart. */
static size_t run_of(const struct map_view *v, const struct panel *p, size_t i)
{
	const struct map_row *const r = &v->row[i];
	size_t n = 1;

	while (i + n < p->end && r->ntwins == 0 && r[n].ntwins == 0 &&
	       r[n].slot.flags == r->slot.flags && r[n].slot.len_bytes == r->slot.len_bytes &&
	       r[n].slot.gpa - r[n - 1].slot.gpa == r[1].slot.gpa - r->slot.gpa)
		n++;
	return n >= AXIS_RUN_LEAST ? n : 1;
}

/* ---- Layout -------------------------------------------------------------------- */

static void panel_labels(struct panel *p, const struct map_view *v)
{
	uint64_t at = 0;

	for (size_t i = p->first; i < p->end;) {
		const struct map_row *const row = &v->row[i];
		const size_t n = run_of(v, p, i);

		if (row->slot.gpa > at)
			label_gap(p, at, row->slot.gpa);
		if (n > 1)
			label_run(p, row, n);
		else
			label_slot(p, row);
		i += n;
		at = row[n - 1].slot.gpa + row[n - 1].slot.len_bytes;
	}
}

static double least_width(const struct panel *p)
{
	double width = svg_text_width(LABEL_SIZE, strlen(p->head));

	for (size_t i = 0; i < p->nlabels; i++) {
		const double label =
		    BAR + LEADER + svg_text_width(LABEL_SIZE, strlen(p->label[i].text));

		if (label > width)
			width = label;
	}
	return AXIS_TICKS_WIDTH + width;
}

static void panel_init(struct panel *p, const struct map_view *v, uint32_t space)
{
	struct plan_ranges ranges = {0};
	char count[32], size[SVG_BYTES_MAX];

	*p = (struct panel){.space = space};
	p->end = map_view_space(v, space, &p->first);
	for (size_t i = p->first; i < p->end; i++) {
		const struct mslot_slot_info *const slot = &v->row[i].slot;

		ranges.range =
		    cli_grow(ranges.range, ranges.nranges, &ranges.cap, sizeof(*ranges.range));
		ranges.range[ranges.nranges++] =
		    (struct plan_range){space, slot->gpa, slot->gpa + slot->len_bytes};
	}
	axis_init(&p->axis, &ranges, space, &scale);
	free(ranges.range);
	if (p->end > p->first)
		p->digits =
		    snprintf(NULL, 0, "%" PRIx64, p->axis.piece[p->axis.npieces - 1].end - 1);
	snprintf(p->head, sizeof(p->head), "space %" PRIu32 ": %s slot%s, %s", space,
		 svg_count(count, p->end - p->first), p->end - p->first == 1 ? "" : "s",
		 svg_bytes(size, map_view_bytes(v, p->first, p->end)));
	panel_labels(p, v);
	p->width = least_width(p);
	p->ndropped = svg_labels_place(p->label, p->nlabels, (const double[]){0, p->axis.height},
				       LABEL_PITCH);
}

static void panel_fini(struct panel *p)
{
	axis_fini(&p->axis);
	free(p->label);
}

/* ---- Drawing ------------------------------------------------------------------- */

/* Two slanted strokes over each rim: the axis is cut here. */
static void draw_break(struct svg *s, double x, double y)
{
	for (int side = 0; side < 2; side++) {
		const double mid = x + BAR * side;

		svg_rect(s, (const double[]){mid - 4, y - 2.5, 8, 5}, "page");
		svg_line(s, (const double[]){mid - 6, y}, (const double[]){mid + 6, y - 5}, "rim");
		svg_line(s, (const double[]){mid - 6, y + 5}, (const double[]){mid + 6, y}, "rim");
	}
}

static void draw_gap(struct svg *s, const double box[4])
{
	svg_rect(s, box, "gap");
	for (int side = 0; side < 2; side++) {
		const double x = box[0] + box[2] * side;

		svg_line(s, (const double[]){x, box[1]}, (const double[]){x, box[1] + box[3]},
			 "dash");
	}
	if (box[3] >= ZIGZAG_LEAST)
		draw_break(s, box[0], box[1] + box[3] / 2);
}

static void draw_pieces(struct svg *s, const struct panel *p, const struct map_view *v,
			const double at[2])
{
	for (size_t i = 0; i < p->axis.npieces; i++) {
		const struct axis_piece *const piece = &p->axis.piece[i];

		if (!piece->covered)
			draw_gap(s, (const double[]){at[0], at[1] + piece->y, BAR, piece->height});
	}
	for (size_t i = p->first; i < p->end; i++) {
		const struct mslot_slot_info *const slot = &v->row[i].slot;
		const double y = axis_y(&p->axis, slot->gpa);
		const double height = axis_y(&p->axis, slot->gpa + slot->len_bytes) - y;
		const double box[] = {at[0], at[1] + y, BAR, height};
		char class[32];

		snprintf(class, sizeof(class), "%s%s", svg_fill_class(fill_of(slot)),
			 height >= 2 ? " edge" : "");
		svg_rect(s, box, class);
	}
	for (size_t i = 0; i < v->shared.nranges; i++) {
		const struct plan_range *const r = &v->shared.range[i];
		const double y = axis_y(&p->axis, r->start);

		if (r->space == p->space)
			svg_rect(
			    s,
			    (const double[]){at[0], at[1] + y, BAR, axis_y(&p->axis, r->end) - y},
			    svg_fill_class(SVG_SHARED));
	}
}

static void draw_labels(struct svg *s, const struct panel *p, const double at[2])
{
	const double bar = at[0] + BAR, text = bar + LEADER;

	for (size_t i = 0; i < p->nlabels; i++) {
		const struct svg_label *const l = &p->label[i];
		const struct svg_font font = {LABEL_SIZE, SVG_START, l->minor ? "dim" : "ink"};
		const double from = at[1] + l->want, to = at[1] + l->y;

		if (l->dropped)
			continue;
		if (l->extent > 0)
			svg_line(s, (const double[]){bar + 5, from - l->extent / 2 + 1},
				 (const double[]){bar + 5, from + l->extent / 2 - 1}, "rim");
		svg_line(s, (const double[]){bar + 2, from}, (const double[]){bar + 8, from},
			 "line");
		svg_line(s, (const double[]){bar + 8, from}, (const double[]){text - 10, to},
			 "line");
		svg_line(s, (const double[]){text - 10, to}, (const double[]){text - 4, to},
			 "line");
		svg_text(s, text, to + 4, &font, "%s", l->text);
	}
}

static void draw_panel(struct svg *s, const struct panel *p, const struct map_view *v,
		       const double at[2])
{
	const struct svg_font head = {LABEL_SIZE, SVG_START, "bold"};
	const double bar[] = {at[0] + AXIS_TICKS_WIDTH, at[1] + PANEL_HEAD};

	svg_text(s, bar[0], at[1] + 8, &head, "%s", p->head);
	draw_pieces(s, p, v, bar);
	axis_ticks(s, &p->axis, bar);
	draw_labels(s, p, bar);
}

/* Fills that occur. */
static unsigned int fills_used(const struct map_view *v, const struct panel *p, size_t n)
{
	unsigned int used = v->shared.nranges > 0 ? 1u << SVG_SHARED : 0;

	for (size_t i = 0; i < v->nrows; i++)
		used |= 1u << fill_of(&v->row[i].slot);
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < p[i].axis.npieces; k++)
			used |= p[i].axis.piece[k].covered ? 0 : 1u << SVG_GAP;
	}
	return used;
}

struct page {
	char title[SVG_TEXT_MAX];
	char subtitle[SVG_TEXT_MAX];
	char note[SVG_TEXT_MAX]; /* of labels left out; may be empty */
	unsigned int used;
	double width;  /* inside the margins */
	double height; /* of the panels */
};

static void page_init(struct page *g, const struct map_view *v, const struct panel *p, size_t n)
{
	size_t ndropped = 0;
	double texts;

	*g = (struct page){.used = fills_used(v, p, n)};
	for (size_t i = 0; i < n; i++) {
		g->width += p[i].width + (i > 0 ? MARGIN : 0);
		ndropped += p[i].ndropped;
		if (PANEL_HEAD + p[i].axis.height > g->height)
			g->height = PANEL_HEAD + p[i].axis.height;
	}
	snprintf(g->title, sizeof(g->title), "%.*s%s: guest-physical memory", TITLE_CHARS, v->title,
		 strlen(v->title) > TITLE_CHARS ? "..." : "");
	snprintf(g->subtitle, sizeof(g->subtitle), "%s; heights grow with the logarithm of sizes%s",
		 v->when, v->nrows == 0 ? "; no slots" : "");
	if (ndropped > 0)
		snprintf(g->note, sizeof(g->note),
			 "%zu small pieces have no label for want of room; the table has them all.",
			 ndropped);
	texts = svg_text_width(LABEL_SIZE, strlen(g->subtitle));
	if (svg_text_width(TITLE_SIZE, strlen(g->title)) > texts)
		texts = svg_text_width(TITLE_SIZE, strlen(g->title));
	if (svg_text_width(LABEL_SIZE, strlen(g->note)) > texts)
		texts = svg_text_width(LABEL_SIZE, strlen(g->note));
	if (texts > g->width)
		g->width = texts;
}

static void draw_page(struct svg *s, const struct map_view *v, const struct page *g,
		      const struct panel *p, size_t n)
{
	const struct svg_font title = {TITLE_SIZE, SVG_START, "bold"};
	const struct svg_font small = {LABEL_SIZE, SVG_START, "dim"};
	const double foot = HEAD + g->height + MARGIN, note = g->note[0] != '\0' ? 24 : 0;
	double x = MARGIN;

	svg_begin(s, g->width + 2 * MARGIN,
		  foot + note + svg_legend(NULL, NULL, g->width, g->used) + MARGIN, g->title);
	svg_text(s, MARGIN, 36, &title, "%s", g->title);
	svg_text(s, MARGIN, 56, &small, "%s", g->subtitle);
	for (size_t i = 0; i < n; i++) {
		draw_panel(s, &p[i], v, (const double[]){x, HEAD});
		x += p[i].width + MARGIN;
	}
	if (note > 0)
		svg_text(s, MARGIN, foot + 10, &small, "%s", g->note);
	svg_legend(s, (const double[]){MARGIN, foot + note}, g->width, g->used);
}

int map_draw(const struct map_view *v, const char *path)
{
	struct panel *const panel = cli_alloc(v->nspaces, sizeof(*panel));
	struct page page;
	struct svg svg;
	size_t n = 0, first;
	int ret = svg_open(&svg, MAP_VERB, path);

	if (ret < 0) {
		free(panel);
		return ret;
	}
	for (uint32_t space = 0; space < v->nspaces; space++) {
		if (map_view_space(v, space, &first) > first)
			panel_init(&panel[n++], v, space);
	}
	page_init(&page, v, panel, n);
	draw_page(&svg, v, &page, panel, n);
	for (size_t i = 0; i < n; i++)
		panel_fini(&panel[i]);
	free(panel);
	return svg_close(&svg);
}
