/* SPDX-License-Identifier: MIT */
/*
 * replay_svg.c - a trace as a drawing: to the right the requests in order, downwards the
 * guest addresses; once as a kernel gets the requests, and once as transactions.
 *
 * The trace is applied to a map again, without readers. After each published step every
 * piece of the axis gets what the snapshot has there; a piece that is RAM before and after
 * the step's group and has no slot now is a hole, painted red until it ends. Pieces that
 * begin and end a colour together become one rectangle.
 */
#include "replay.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "svg_axis.h"

#define VERB "replay"
#define MARGIN 24.0
#define HEAD 112.0 /* title, subtitle and the heads of the sides */
#define SIDE 600.0
#define BETWEEN 28.0
#define LEADER 26.0
#define SPACE_HEAD 24.0
#define SPACE_GAP 18.0
#define FOOT 56.0 /* numbers of the requests */
#define TITLE_SIZE 18.0
#define TITLE_CHARS 60
#define TEXT_SIZE 12.0
#define SMALL_SIZE 11.0
#define SMALL_PITCH 13.0
#define NTICKS 4u /* most, but for the first */
#define GRID 20.0 /* rectangles begin and end at multiples of a 20th pixel */

static const struct axis_scale scale = {.least = 14, .doubling = 1.6, .most = 1500};

/* Pieces [first, end) of all pieces have this fill from request `from` to `to`. */
struct rectangle {
	size_t first, end;
	size_t from, to;
	enum svg_fill fill;
};

struct side {
	struct rectangle *rectangle;
	size_t nrectangles;
	size_t cap;
	uint64_t npublished;
	uint64_t nholes;
};

/* What one piece of any space shows. */
struct cell {
	enum svg_fill now;
	enum svg_fill next;
	size_t since;
	bool before; /* RAM before the group */
	bool after;
};

struct picture {
	const struct trace *trace;
	const struct plan *plan;
	struct axis axis[MSLOT_MAX_SPACES];
	size_t base[MSLOT_MAX_SPACES + 1];         /* index of the first cell of a space */
	double top[MSLOT_MAX_SPACES];              /* y of its axis */
	double height;                             /* of all */
	struct svg_label *label[MSLOT_MAX_SPACES]; /* sizes of pieces, to the right of all */
	size_t nlabels[MSLOT_MAX_SPACES];
	double label_width;
	struct cell *cell;
	struct side side[2]; /* by enum replay_as */
};

/* ---- What there is at every step -------------------------------------------------- */

static struct cell *cells_at(struct picture *pic, uint32_t space, uint64_t gpa)
{
	return &pic->cell[pic->base[space] + axis_piece_at(&pic->axis[space], gpa)];
}

/* Mark what the slots of a state cover, as before or as after the group. */
static void mark_state(struct picture *pic, const struct plan_state *state, bool after)
{
	for (size_t i = 0; i < state->nslots; i++) {
		const struct plan_slot *const slot = &state->slot[i];
		const struct cell *const end = cells_at(pic, slot->space, slot->gpa + slot->size);
		struct cell *c = cells_at(pic, slot->space, slot->gpa);

		for (; c < end; c++) {
			c->before |= !after;
			c->after |= after;
		}
	}
}

static void mark_group(struct picture *pic, const struct plan_walk *walk)
{
	for (size_t i = 0; i < pic->base[pic->trace->nspaces]; i++)
		pic->cell[i].before = pic->cell[i].after = false;
	mark_state(pic, &walk->before, false);
	mark_state(pic, &walk->after, true);
}

static enum svg_fill fill_of(uint32_t flags)
{
	if ((flags & MSLOT_READONLY) != 0)
		return (flags & MSLOT_LOG_DIRTY) != 0 ? SVG_LOGGED_ROM : SVG_ROM;
	return (flags & MSLOT_LOG_DIRTY) != 0 ? SVG_LOGGED : SVG_RAM;
}

static void look_space(struct picture *pic, const struct mslot_snapshot *snap, uint32_t space)
{
	const struct axis *const axis = &pic->axis[space];
	struct cell *const cell = &pic->cell[pic->base[space]];
	const struct mslot_slot *slot;
	struct mslot_slot_info info;
	struct mslot_iter iter;
	size_t i = 0;

	mslot_iter_gpa(&iter, snap, space, (struct mslot_range){0, UINT64_MAX});
	while ((slot = mslot_iter_next(&iter)) != NULL) {
		mslot_slot_info_get(slot, &info);
		while (i < axis->npieces && axis->piece[i].start < info.gpa)
			cell[i++].next = SVG_NONE;
		while (i < axis->npieces && axis->piece[i].start < info.gpa + info.len_bytes)
			cell[i++].next = fill_of(info.flags);
	}
	while (i < axis->npieces)
		cell[i++].next = SVG_NONE;
}

/* Returns whether a piece that the group keeps is missing. */
static bool look(struct picture *pic, struct mslot_map *map)
{
	const struct mslot_snapshot *const snap = mslot_enter(map);
	bool hole = false;

	for (uint32_t space = 0; space < pic->trace->nspaces; space++)
		look_space(pic, snap, space);
	mslot_leave(snap);
	for (size_t i = 0; i < pic->base[pic->trace->nspaces]; i++) {
		struct cell *const c = &pic->cell[i];

		if (c->next == SVG_NONE && c->before && c->after) {
			c->next = SVG_HOLE;
			hole = true;
		}
	}
	return hole;
}

/* End the colours that change at request x. */
static void turn(struct picture *pic, struct side *side, size_t x)
{
	for (uint32_t space = 0; space < pic->trace->nspaces; space++) {
		const size_t end = pic->base[space + 1];

		for (size_t i = pic->base[space], n; i < end; i += n) {
			struct cell *const c = &pic->cell[i];

			n = 1;
			if (c->now == c->next)
				continue;
			while (i + n < end && c[n].now != c[n].next && c[n].now == c->now &&
			       c[n].since == c->since)
				n++;
			if (c->now == SVG_NONE || c->since == x)
				continue;
			side->rectangle = cli_grow(side->rectangle, side->nrectangles, &side->cap,
						   sizeof(*side->rectangle));
			side->rectangle[side->nrectangles++] =
			    (struct rectangle){i, i + n, c->since, x, c->now};
		}
	}
	for (size_t i = 0; i < pic->base[pic->trace->nspaces]; i++) {
		struct cell *const c = &pic->cell[i];

		if (c->now != c->next)
			c->since = x;
		c->now = c->next;
	}
}

static int follow_groups(struct picture *pic, struct engine *e, struct side *side,
			 struct lines_fault *fault)
{
	const struct trace *const t = pic->trace;
	const bool one_by_one = e->replay->as == REPLAY_KVM;
	struct plan_walk walk = {0};
	uint64_t generation = 0;
	int ret = 0;

	for (size_t g = 0; g < t->ngroups && ret == 0; g++) {
		const size_t nsteps = engine_nsteps(e, g), nops = t->group[g].nops;

		plan_walk_next(&walk, t, g);
		mark_group(pic, &walk);
		for (size_t step = 0; step < nsteps; step++) {
			ret = engine_step(e, g, step, fault);
			if (ret < 0)
				break;
			if (engine_generation(e) == generation)
				continue;
			generation = engine_generation(e);
			side->npublished++;
			side->nholes += look(pic, e->map);
			/* A transaction takes effect where its group ends. */
			turn(pic, side, t->group[g].first + (one_by_one ? step : nops - 1));
		}
	}
	plan_walk_fini(&walk);
	return ret;
}

static int follow(struct picture *pic, enum replay_as as, struct lines_fault *fault)
{
	const struct replay r = {.trace = pic->trace, .plan = pic->plan, .as = as};
	const size_t ncells = pic->base[pic->trace->nspaces];
	struct lines_fault ignored;
	struct engine e;
	int ret = engine_init(&e, &r, fault);

	if (ret < 0)
		return ret;
	memset(pic->cell, 0, ncells * sizeof(*pic->cell));
	ret = follow_groups(pic, &e, &pic->side[as], fault);
	for (size_t i = 0; i < ncells; i++)
		pic->cell[i].next = SVG_NONE;
	turn(pic, &pic->side[as], pic->trace->nops);
	if (engine_fini(&e, ret < 0 ? &ignored : fault) < 0)
		ret = -1;
	return ret;
}

/* ---- Drawing ----------------------------------------------------------------------- */

static double x_of(const struct picture *pic, size_t request)
{
	const double x = SIDE * (double)request / (double)pic->trace->nops;

	return (double)(uint64_t)(x * GRID + 0.5) / GRID;
}

static void draw_rectangle(struct svg *s, const struct picture *pic, const struct rectangle *r,
			   double left)
{
	const double from = x_of(pic, r->from);
	double width = x_of(pic, r->to) - from;
	const struct axis_piece *first, *last;
	uint32_t space = 0;

	while (r->first >= pic->base[space + 1])
		space++;
	first = &pic->axis[space].piece[r->first - pic->base[space]];
	last = &pic->axis[space].piece[r->end - 1 - pic->base[space]];
	if (width <= 0) {
		/* Too short to see; but a hole is never left out. */
		if (r->fill != SVG_HOLE)
			return;
		width = 1 / GRID;
	}
	fputc('M', s->to);
	svg_number(s, left + from);
	fputc(' ', s->to);
	svg_number(s, pic->top[space] + first->y);
	fputc('h', s->to);
	svg_number(s, width);
	fputc('v', s->to);
	svg_number(s, last->y + last->height - first->y);
	fputs("h-", s->to);
	svg_number(s, width);
	fputc('z', s->to);
}

static void draw_fill(struct svg *s, const struct picture *pic, const struct side *side,
		      double left, enum svg_fill fill)
{
	size_t n = 0;

	for (size_t i = 0; i < side->nrectangles; i++) {
		if (side->rectangle[i].fill != fill)
			continue;
		if (n % 32 == 0)
			fprintf(s->to, n == 0 ? "<path class=\"%s\" d=\"" : "\n",
				svg_fill_class(fill));
		draw_rectangle(s, pic, &side->rectangle[i], left);
		n++;
	}
	if (n > 0)
		fputs("\"/>\n", s->to);
}

static void draw_ground(struct svg *s, const struct picture *pic, double left)
{
	for (uint32_t space = 0; space < pic->trace->nspaces; space++) {
		const struct axis *const a = &pic->axis[space];
		const double box[] = {left, pic->top[space], SIDE, a->height};

		svg_rect(s, box, svg_fill_class(SVG_NONE));
		for (size_t i = 0; i < a->npieces; i++) {
			if (!a->piece[i].covered)
				svg_rect(s,
					 (const double[]){left, box[1] + a->piece[i].y, SIDE,
							  a->piece[i].height},
					 svg_fill_class(SVG_GAP));
		}
	}
}

static void draw_rims(struct svg *s, const struct picture *pic, double left)
{
	for (uint32_t space = 0; space < pic->trace->nspaces; space++)
		svg_rect(s, (const double[]){left, pic->top[space], SIDE, pic->axis[space].height},
			 "rim");
}

/* The number of a request and its time, at the foot of a side. */
static void draw_request(struct svg *s, const struct picture *pic, double left, size_t at)
{
	const size_t nops = pic->trace->nops;
	const struct svg_font font = {SMALL_SIZE,
				      at == 0      ? SVG_START
				      : at == nops ? SVG_END
						   : SVG_MIDDLE,
				      "dim"};
	const double x = left + x_of(pic, at), y = HEAD + pic->height;
	const uint64_t ns = pic->trace->op[at < nops ? at : nops - 1].time_ns;
	char count[32];

	svg_line(s, (const double[]){x, y}, (const double[]){x, y + 5}, "rim");
	svg_text(s, x, y + 18, &font, at == 0 ? "request %s" : "%s", svg_count(count, at));
	svg_text(s, x, y + 32, &font, "%llu.%03llu s", (unsigned long long)(ns / 1000000000),
		 (unsigned long long)(ns / 1000000 % 1000));
}

/* The first request, the last one, and those between that leave room for the widest text. */
static void draw_requests(struct svg *s, const struct picture *pic, double left)
{
	const size_t nops = pic->trace->nops;
	const double room = svg_text_width(SMALL_SIZE, sizeof("18446744073.709 s"));
	double taken = room;

	draw_request(s, pic, left, 0);
	for (size_t i = 1; i < NTICKS; i++) {
		const size_t at = nops * i / NTICKS;
		const double x = x_of(pic, at);

		if (x - room / 2 < taken || x + room / 2 > SIDE - room)
			continue;
		draw_request(s, pic, left, at);
		taken = x + room / 2;
	}
	draw_request(s, pic, left, nops);
}

static void draw_side(struct svg *s, const struct picture *pic, enum replay_as as)
{
	const struct side *const side = &pic->side[as];
	const double left = MARGIN + AXIS_TICKS_WIDTH + (SIDE + BETWEEN) * (double)as;
	const struct svg_font head = {13, SVG_START, "bold"};
	const struct svg_font found = {TEXT_SIZE, SVG_START, side->nholes > 0 ? "red" : "green"};
	char steps[32], holes[32];

	svg_text(s, left, HEAD - 32, &head, "%s",
		 as == REPLAY_KVM ? "One by one, as a kernel gets them"
				  : "As transactions, one for each group");
	svg_text(s, left, HEAD - 14, &found, "%s step%s published, %s with missing RAM",
		 svg_count(steps, side->npublished), side->npublished == 1 ? "" : "s",
		 svg_count(holes, side->nholes));
	draw_ground(s, pic, left);
	for (int f = SVG_RAM; f < SVG_NFILLS; f++)
		draw_fill(s, pic, side, left, (enum svg_fill)f);
	draw_rims(s, pic, left);
	draw_requests(s, pic, left);
}

static void draw_sizes(struct svg *s, const struct picture *pic, uint32_t space, double left)
{
	for (size_t i = 0; i < pic->nlabels[space]; i++) {
		const struct svg_label *const l = &pic->label[space][i];
		const struct svg_font font = {SMALL_SIZE, SVG_START, l->minor ? "dim" : "ink"};
		const double from = pic->top[space] + l->want, to = pic->top[space] + l->y;

		if (l->dropped)
			continue;
		svg_line(s, (const double[]){left + 2, from},
			 (const double[]){left + LEADER - 4, to}, "line");
		svg_text(s, left + LEADER, to + 4, &font, "%s", l->text);
	}
}

static unsigned int fills_used(const struct picture *pic)
{
	unsigned int used = 1u << SVG_NONE;

	for (int as = REPLAY_KVM; as <= REPLAY_TRANSACTIONS; as++) {
		for (size_t i = 0; i < pic->side[as].nrectangles; i++)
			used |= 1u << pic->side[as].rectangle[i].fill;
	}
	for (uint32_t space = 0; space < pic->trace->nspaces; space++) {
		for (size_t i = 0; i < pic->axis[space].npieces; i++)
			used |= pic->axis[space].piece[i].covered ? 0 : 1u << SVG_GAP;
	}
	return used;
}

static void draw_page(struct svg *s, const struct picture *pic)
{
	const struct svg_font bold = {TITLE_SIZE, SVG_START, "bold"};
	const struct svg_font small = {TEXT_SIZE, SVG_START, "dim"};
	const double width = AXIS_TICKS_WIDTH + 2 * SIDE + BETWEEN + LEADER + pic->label_width;
	const double ticks = MARGIN + AXIS_TICKS_WIDTH, foot = HEAD + pic->height + FOOT;
	const unsigned int used = fills_used(pic);
	char title[SVG_TEXT_MAX], ops[32], groups[32];

	snprintf(title, sizeof(title), "%.*s%s: guest-physical memory over time", TITLE_CHARS,
		 pic->trace->name, strlen(pic->trace->name) > TITLE_CHARS ? "..." : "");
	svg_begin(s, width + 2 * MARGIN, foot + svg_legend(NULL, NULL, width, used) + MARGIN,
		  title);
	svg_text(s, MARGIN, 36, &bold, "%s", title);
	svg_text(s, MARGIN, 56, &small,
		 "%s request%s in %s group%s, from left to right; heights grow with the "
		 "logarithm of sizes",
		 svg_count(ops, pic->trace->nops), pic->trace->nops == 1 ? "" : "s",
		 svg_count(groups, pic->trace->ngroups), pic->trace->ngroups == 1 ? "" : "s");
	draw_side(s, pic, REPLAY_KVM);
	draw_side(s, pic, REPLAY_TRANSACTIONS);
	for (uint32_t space = 0; space < pic->trace->nspaces; space++) {
		if (pic->trace->nspaces > 1)
			svg_text(s, ticks, pic->top[space] - 8, &small, "space %u", space);
		axis_ticks(s, &pic->axis[space], (const double[]){ticks, pic->top[space]});
		draw_sizes(s, pic, space, ticks + 2 * SIDE + BETWEEN);
	}
	svg_legend(s, (const double[]){MARGIN, foot}, width, used);
}

/* ---- All of it ---------------------------------------------------------------------- */

/* The label of the piece, or of the run that begins with it; returns how many pieces. */
static size_t label_piece(struct svg_label *l, const struct axis_piece *p)
{
	const size_t n = p->run > 0 ? p->run : 1;
	const double height = p[n - 1].y + p[n - 1].height - p->y;
	char size[SVG_BYTES_MAX], step[SVG_BYTES_MAX];

	*l = (struct svg_label){
	    .want = p->y + height / 2, .weight = p->covered ? height : 0, .minor = !p->covered};
	svg_bytes(size, p->end - p->start);
	if (n == 1)
		snprintf(l->text, sizeof(l->text), "%s%s", size, p->covered ? "" : " unused");
	else if (p->period == 1)
		snprintf(l->text, sizeof(l->text), "%zu x %s", n, size);
	else
		snprintf(l->text, sizeof(l->text), "%zu x %s every %s", (n + 1) / 2, size,
			 svg_bytes(step, p[2].start - p->start));
	return n;
}

static void label_space(struct picture *pic, uint32_t space)
{
	const struct axis *const a = &pic->axis[space];
	struct svg_label *const label = cli_alloc(a->npieces, sizeof(*label));
	size_t n = 0;

	for (size_t i = 0; i < a->npieces; n++) {
		double width;

		i += label_piece(&label[n], &a->piece[i]);
		width = svg_text_width(SMALL_SIZE, strlen(label[n].text));
		if (width > pic->label_width)
			pic->label_width = width;
	}
	svg_labels_place(label, n, (const double[]){0, a->height}, SMALL_PITCH);
	pic->label[space] = label;
	pic->nlabels[space] = n;
}

static void picture_init(struct picture *pic, const struct trace *t, const struct plan *p)
{
	struct plan_ranges all = {0};
	double y = 0;

	*pic = (struct picture){.trace = t, .plan = p};
	for (size_t i = 0; i < t->nops; i++) {
		const struct trace_op *const op = &t->op[i];

		if (op->size == 0)
			continue;
		all.range = cli_grow(all.range, all.nranges, &all.cap, sizeof(*all.range));
		all.range[all.nranges++] =
		    (struct plan_range){op->space, op->gpa, op->gpa + op->size};
	}
	for (uint32_t space = 0; space < t->nspaces; space++) {
		axis_init(&pic->axis[space], &all, space, &scale);
		label_space(pic, space);
		pic->base[space + 1] = pic->base[space] + pic->axis[space].npieces;
		y += t->nspaces > 1 ? SPACE_HEAD : 0;
		pic->top[space] = HEAD + y;
		y += pic->axis[space].height + (space + 1 < t->nspaces ? SPACE_GAP : 0);
	}
	free(all.range);
	pic->height = y;
	pic->cell = cli_alloc(pic->base[t->nspaces], sizeof(*pic->cell));
}

static void picture_fini(struct picture *pic)
{
	for (uint32_t space = 0; space < pic->trace->nspaces; space++) {
		axis_fini(&pic->axis[space]);
		free(pic->label[space]);
	}
	free(pic->side[REPLAY_KVM].rectangle);
	free(pic->side[REPLAY_TRANSACTIONS].rectangle);
	free(pic->cell);
}

int replay_draw(const struct trace *t, const struct plan *p, const char *path)
{
	struct lines_fault fault;
	struct picture pic;
	struct svg svg;
	int ret;

	picture_init(&pic, t, p);
	ret = follow(&pic, REPLAY_KVM, &fault);
	if (ret == 0)
		ret = follow(&pic, REPLAY_TRANSACTIONS, &fault);
	if (ret < 0)
		lines_report(VERB, t->path, &fault);
	if (ret == 0)
		ret = svg_open(&svg, VERB, path);
	if (ret == 0) {
		draw_page(&svg, &pic);
		ret = svg_close(&svg);
	}
	picture_fini(&pic);
	return ret;
}
