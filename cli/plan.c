/* SPDX-License-Identifier: MIT */
/* plan.c - net edits and kept RAM of a trace's groups; see plan.h. */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* ---- Slots --------------------------------------------------------------- */

/* Index of the first slot not below (space, id). */
static size_t state_bound(const struct plan_state *s, uint32_t space, uint32_t id)
{
	size_t lo = 0, hi = s->nslots;

	while (lo < hi) {
		const size_t mid = (lo + hi) / 2;
		const struct plan_slot *const slot = &s->slot[mid];

		if (slot->space < space || (slot->space == space && slot->id < id))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct plan_slot *state_find(const struct plan_state *s, uint32_t space, uint32_t id)
{
	const size_t i = state_bound(s, space, id);

	if (i < s->nslots && s->slot[i].space == space && s->slot[i].id == id)
		return &s->slot[i];
	return NULL;
}

static void state_copy(struct plan_state *to, const struct plan_state *from)
{
	if (from->nslots > to->cap || to->slot == NULL) {
		free(to->slot);
		to->cap = from->cap;
		to->slot = cli_alloc(to->cap, sizeof(*to->slot));
	}
	if (from->nslots > 0)
		memcpy(to->slot, from->slot, from->nslots * sizeof(*to->slot));
	to->nslots = from->nslots;
}

static bool slot_equal(const struct plan_slot *a, const struct plan_slot *b)
{
	return a->gpa == b->gpa && a->size == b->size && a->hva == b->hva && a->flags == b->flags;
}

/* Returns 1 the request changes something, 0 nothing, -1 it cannot be (see *expected). */
static int state_apply(struct plan_state *s, const struct trace_op *op, const char **expected)
{
	const struct plan_slot slot = {.space = op->space,
				       .id = op->id,
				       .flags = op->flags,
				       .gpa = op->gpa,
				       .size = op->size,
				       .hva = op->hva};
	const size_t i = state_bound(s, op->space, op->id);
	struct plan_slot *const old = state_find(s, op->space, op->id);

	*expected = "a slot that exists";
	if (op->kind != TRACE_ADD && old == NULL)
		return -1;
	if (op->kind == TRACE_DEL) {
		memmove(old, old + 1, (s->nslots - i - 1) * sizeof(*old));
		s->nslots--;
		return 1;
	}
	*expected = "gpa, size and hva of the slot as it is";
	if (op->kind == TRACE_FLAGS &&
	    (old->gpa != op->gpa || old->size != op->size || old->hva != op->hva))
		return -1;
	if (old == NULL) {
		s->slot = cli_grow(s->slot, s->nslots, &s->cap, sizeof(*s->slot));
		memmove(&s->slot[i + 1], &s->slot[i], (s->nslots - i) * sizeof(slot));
		s->nslots++;
	} else if (slot_equal(old, &slot)) {
		return 0;
	}
	s->slot[i] = slot;
	return 1;
}

/* ---- Ranges -------------------------------------------------------------- */

static int range_compare(const void *pa, const void *pb)
{
	const struct plan_range *const a = pa, *const b = pb;

	if (a->space != b->space)
		return a->space < b->space ? -1 : 1;
	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	return 0;
}

static void ranges_add(struct plan_ranges *r, uint32_t space, uint64_t start, uint64_t end)
{
	r->range = cli_grow(r->range, r->nranges, &r->cap, sizeof(*r->range));
	r->range[r->nranges++] = (struct plan_range){space, start, end};
}

/* The slots' ranges by rising address. */
static struct plan_ranges ranges_of(const struct plan_state *s)
{
	struct plan_ranges r = {0};

	for (size_t i = 0; i < s->nslots; i++)
		ranges_add(&r, s->slot[i].space, s->slot[i].gpa, s->slot[i].gpa + s->slot[i].size);
	if (r.nranges > 0)
		qsort(r.range, r.nranges, sizeof(*r.range), range_compare);
	return r;
}

/*
 * What lies in both, cut at the borders of either: exactly the pieces that a group keeps
 * when a and b are the slots before and after it.
 */
static struct plan_ranges ranges_common(const struct plan_ranges *a, const struct plan_ranges *b)
{
	struct plan_ranges out = {0};
	size_t i = 0, k = 0;

	while (i < a->nranges && k < b->nranges) {
		const struct plan_range *const x = &a->range[i], *const y = &b->range[k];
		const uint64_t lo = x->start > y->start ? x->start : y->start;
		const uint64_t hi = x->end < y->end ? x->end : y->end;

		if (x->space == y->space && lo < hi)
			ranges_add(&out, x->space, lo, hi);
		if (x->space < y->space || (x->space == y->space && x->end <= y->end))
			i++;
		else
			k++;
	}
	return out;
}

/* ---- Building ------------------------------------------------------------ */

/* One net edit: how (space, id) differs between the group's two ends. */
static void add_edit(struct plan *p, size_t *cap, const struct plan_slot *old,
		     const struct plan_slot *new, unsigned long line)
{
	struct plan_edit edit = {.line = line};

	if (old == NULL && new == NULL)
		return;
	if (old != NULL && new != NULL && slot_equal(old, new))
		return;
	edit.kind = old == NULL   ? MSLOT_EDIT_CREATE
		    : new == NULL ? MSLOT_EDIT_DELETE
				  : MSLOT_EDIT_REDEFINE;
	edit.slot = new != NULL ? *new : *old;
	p->edit = cli_grow(p->edit, p->nedits, cap, sizeof(*p->edit));
	p->edit[p->nedits++] = edit;
}

static int op_compare(const void *pa, const void *pb)
{
	const struct trace_op *const a = *(const struct trace_op *const *)pa;
	const struct trace_op *const b = *(const struct trace_op *const *)pb;

	if (a->space != b->space)
		return a->space < b->space ? -1 : 1;
	if (a->id != b->id)
		return a->id < b->id ? -1 : 1;
	return a->line < b->line ? -1 : a->line > b->line;
}

static void fold_group(struct plan *p, size_t *cap, const struct trace_group *g,
		       const struct plan_walk *w)
{
	const struct trace_op **op = cli_alloc(g->nops, sizeof(struct trace_op *));

	for (size_t i = 0; i < g->nops; i++)
		op[i] = &p->trace->op[g->first + i];
	qsort(op, g->nops, sizeof(*op), op_compare);
	for (size_t i = 0; i < g->nops; i++) {
		const uint32_t space = op[i]->space, id = op[i]->id;

		if (i + 1 < g->nops && op[i + 1]->space == space && op[i + 1]->id == id)
			continue;
		add_edit(p, cap, state_find(&w->before, space, id),
			 state_find(&w->after, space, id), op[i]->line);
	}
	free(op);
}

/* Narrow `always` to what is RAM after this group too, and widen `some`. */
static void note_ram(struct plan *p, size_t g, const struct plan_state *after)
{
	struct plan_ranges now = ranges_of(after), common;
	const struct trace_group *const group = &p->trace->group[g];

	for (size_t i = 0; i < group->nops; i++) {
		const struct trace_op *const op = &p->trace->op[group->first + i];

		if (op->size > 0 && state_find(after, op->space, op->id) != NULL)
			ranges_add(&p->some, op->space, op->gpa, op->gpa + op->size);
	}
	if (g == 0) {
		p->always = now;
		return;
	}
	common = ranges_common(&p->always, &now);
	free(now.range);
	free(p->always.range);
	p->always = common;
}

static int check_group(struct plan *p, size_t g, struct plan_state *s, struct lines_fault *fault)
{
	const struct trace_group *const group = &p->trace->group[g];

	for (size_t i = 0; i < group->nops; i++) {
		const struct trace_op *const op = &p->trace->op[group->first + i];
		const char *expected;
		char what[64];
		const int changes = state_apply(s, op, &expected);

		if (changes < 0) {
			snprintf(what, sizeof(what), "slot %u of space %u", op->id, op->space);
			return lines_expected_not(fault, op->line, expected, what);
		}
		p->group[g].nchanges += (size_t)changes;
	}
	return 0;
}

int plan_build(struct plan *p, const struct trace *t, struct lines_fault *fault)
{
	struct plan_walk w = {0};
	size_t cap = 0;
	int ret = 0;

	*p = (struct plan){.trace = t};
	p->group = cli_alloc(t->ngroups, sizeof(*p->group));
	for (size_t g = 0; g < t->ngroups && ret == 0; g++) {
		state_copy(&w.before, &w.after);
		ret = check_group(p, g, &w.after, fault);
		if (ret < 0)
			break;
		p->group[g].first_edit = p->nedits;
		fold_group(p, &cap, &t->group[g], &w);
		p->group[g].nedits = p->nedits - p->group[g].first_edit;
		p->npublished += p->group[g].nedits > 0;
		p->nchanges += p->group[g].nchanges;
		if (w.after.nslots > p->max_slots)
			p->max_slots = w.after.nslots;
		note_ram(p, g, &w.after);
	}
	state_copy(&p->final, &w.after);
	plan_walk_fini(&w);
	if (ret < 0)
		plan_free(p);
	return ret;
}

void plan_free(struct plan *p)
{
	free(p->group);
	free(p->edit);
	free(p->final.slot);
	free(p->always.range);
	free(p->some.range);
	*p = (struct plan){0};
}

/* ---- Where readers look --------------------------------------------------- */

static void add_probe(struct plan_walk *w, uint32_t space, uint64_t gpa)
{
	w->probe = cli_grow(w->probe, w->nprobes, &w->cap, sizeof(*w->probe));
	w->probe[w->nprobes++] = (struct plan_probe){space, gpa};
}

void plan_walk_next(struct plan_walk *w, const struct trace *t, size_t g)
{
	const struct trace_group *const group = &t->group[g];
	struct plan_ranges before, after, kept;
	const char *expected;

	state_copy(&w->before, &w->after);
	for (size_t i = 0; i < group->nops; i++)
		state_apply(&w->after, &t->op[group->first + i], &expected);
	before = ranges_of(&w->before);
	after = ranges_of(&w->after);
	kept = ranges_common(&before, &after);
	w->nprobes = 0;
	for (size_t i = 0; i < kept.nranges; i++) {
		const struct plan_range *const r = &kept.range[i];

		add_probe(w, r->space, r->start);
		add_probe(w, r->space, r->start + (r->end - r->start) / 2);
		add_probe(w, r->space, r->end - 1);
	}
	free(before.range);
	free(after.range);
	free(kept.range);
}

void plan_walk_fini(struct plan_walk *w)
{
	free(w->before.slot);
	free(w->after.slot);
	free(w->probe);
	*w = (struct plan_walk){0};
}
