/* SPDX-License-Identifier: MIT */
/* group_run.c - repetitions, engine by engine, and their rows; see group.h. */
#include "group.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"

static enum bench_outcome say(struct group_turn *t, enum bench_outcome outcome, const char *fmt,
			      va_list args)
{
	vsnprintf(t->why, sizeof(t->why), fmt, args);
	return outcome;
}

enum bench_outcome group_failed(struct group_turn *t, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(t, BENCH_FAILED, fmt, args);
	va_end(args);
	return BENCH_FAILED;
}

enum bench_outcome group_skipped(struct group_turn *t, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(t, BENCH_SKIPPED, fmt, args);
	va_end(args);
	return BENCH_SKIPPED;
}

double group_median(double *value, size_t n)
{
	struct bench_row row;

	bench_summarize(&row, value, n);
	return row.value;
}

struct group_turn group_turn_of(const struct bench_group *g, const char *engine,
				const struct bench_row *point)
{
	struct group_turn t = {.row = *point, .few = BENCH_SLOW_REPETITIONS};

	t.row.name = g->c->name;
	t.row.what = g->c->what;
	t.row.unit = g->c->unit;
	t.row.engine = engine;
	return t;
}

static void end_turn(struct group_turn *t)
{
	if (t->world != NULL)
		t->destroy(t->world);
	t->world = NULL;
}

static void skip(const struct bench_group *g, struct group_turn *t)
{
	g->sink->skipped(g->sink->ctx, &t->row, t->why);
	end_turn(t);
}

static enum bench_outcome measure(struct group_turn *t, unsigned int repetition, double *value)
{
	cpu_set_t all;
	const bool pinned = t->first_cpu && bench_go_to_first_cpu(&all);
	const uint64_t begin = clock_wall_ns();
	enum bench_outcome outcome = t->measure(t, value);

	if (repetition == 0)
		t->slow = clock_wall_ns() - begin >= GROUP_SLOW_NS;
	if (outcome == BENCH_OK && repetition > 0 && !t->slow)
		outcome = t->measure(t, value);
	if (pinned)
		sched_setaffinity(0, sizeof(all), &all);
	return outcome;
}

/* 0, or -1 where the engine failed. */
static int take_turn(const struct bench_group *g, struct group_turn *t, unsigned int repetition)
{
	double value = 0;

	if (t->slow && repetition > t->few)
		return 0;
	switch (measure(t, repetition, &value)) {
	case BENCH_OK:
		if (repetition > 0)
			t->value[t->nvalues++] = value;
		return 0;
	case BENCH_SKIPPED:
		skip(g, t);
		return 0;
	default:
		snprintf(g->why, BENCH_WHY, "engine %s, case %s, %s, %llu %s: %s", t->row.engine,
			 t->row.name, t->row.layout, (unsigned long long)t->row.slots, t->row.axis,
			 t->why);
		return -1;
	}
}

static int take_repetitions(const struct bench_group *g, struct group_turn *turn, size_t n)
{
	char what[64];

	snprintf(what, sizeof(what), "%s, %llu %s, %s", turn->row.name,
		 (unsigned long long)turn->row.slots, turn->row.axis, turn->row.layout);
	for (unsigned int i = 0; i <= g->repetitions; i++) {
		for (size_t k = 0; k < n; k++) {
			g->sink->progress(g->sink->ctx, what, *g->done, g->total);
			if (turn[k].world != NULL && take_turn(g, &turn[k], i) < 0)
				return -1;
		}
		++*g->done;
	}
	return 0;
}

int group_take_turns(const struct bench_group *g, struct group_turn *turn, size_t n)
{
	int ret;

	for (size_t k = 0; k < n; k++) {
		turn[k].value = bench_alloc(g->repetitions, sizeof(*turn[k].value));
		if (turn[k].world == NULL)
			skip(g, &turn[k]);
	}
	ret = take_repetitions(g, turn, n);
	for (size_t k = 0; k < n; k++) {
		if (ret == 0 && turn[k].world != NULL) {
			bench_summarize(&turn[k].row, turn[k].value, turn[k].nvalues);
			g->sink->row(g->sink->ctx, &turn[k].row);
		}
		end_turn(&turn[k]);
		free(turn[k].value);
	}
	return ret;
}
