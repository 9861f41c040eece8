/* SPDX-License-Identifier: MIT */
/*
 * dirty_mark.c - what writing costs where dirty pages are logged: nobody looks, the page is dirty
 * already, or it is not. By the wall clock, a pass over all pages at a time, median of ROUNDS.
 */
#include "cases.h"
#include "engines/dirty_engines.h"
#include "group.h"

#include <string.h>

#include "clock.h"

#define ROUNDS 64u

enum before { UNLOGGED, DIRTY, CLEAN, BEFORES };

static const char *const before_name[BEFORES] = {"unlogged", "dirty", "clean"};

/* What is written, and what must be dirty then. */
struct marking {
	enum mark_op op;
	enum before before;
	unsigned char val;
};

static enum bench_outcome check(struct group_turn *t, int64_t dirty)
{
	const struct mark_engine *const e = t->engine;
	const struct marking *const m = t->ctx;
	const int64_t expected = m->before == UNLOGGED ? 0 : MARK_PAGES;

	if (dirty < 0)
		return group_failed(t, "a harvest: %s", strerror((int)-dirty));
	if (dirty != expected)
		return group_failed(t, "%lld pages are dirty, expected %lld", (long long)dirty,
				    (long long)expected);
	for (size_t i = 0; i < MARK_PAGES && m->op != MARK_PAGE; i++) {
		if (e->byte(t->world, i) != m->val)
			return group_failed(t, "page %zu was not written", i);
	}
	return BENCH_OK;
}

static enum bench_outcome measure(struct group_turn *t, double *value)
{
	const struct mark_engine *const e = t->engine;
	struct marking *const m = t->ctx;
	enum bench_outcome outcome = BENCH_OK;
	double ns[ROUNDS];
	int ret = e->pass(t->world, ++m->val);

	for (size_t i = 0; i < ROUNDS && outcome == BENCH_OK && ret == 0; i++) {
		uint64_t begin;

		if (m->before == CLEAN)
			outcome = check(t, e->harvest(t->world));
		m->val++;
		begin = clock_wall_ns();
		ret = e->pass(t->world, m->val);
		ns[i] = (double)(clock_wall_ns() - begin) / MARK_PAGES;
	}
	if (ret < 0)
		return group_failed(t, "a write: %s", strerror(-ret));
	if (outcome == BENCH_OK)
		outcome = check(t, e->harvest(t->world));
	if (outcome == BENCH_OK)
		*value = group_median(ns, ROUNDS);
	return outcome;
}

static int run(const struct bench_group *g, enum mark_op op)
{
	struct group_turn turn[GROUP_TURNS];
	struct marking m[GROUP_TURNS];
	int ret = 0;

	for (size_t i = 0; i < BEFORES && ret == 0; i++) {
		const struct bench_row point = {
		    .layout = before_name[i], .axis = "slots", .slots = 1};
		size_t n = 0;

		for (size_t k = 0; k < nmark_engines; k++) {
			const struct mark_engine *const e = mark_engines[k];

			if ((e->ops >> op & 1) == 0)
				continue;
			m[n] = (struct marking){.op = op, .before = (enum before)i};
			turn[n] = group_turn_of(g, e->name, &point);
			turn[n].engine = e;
			turn[n].ctx = &m[n];
			turn[n].world = e->create(op, i != UNLOGGED, turn[n].why);
			turn[n].measure = measure;
			turn[n].destroy = e->destroy;
			n++;
		}
		ret = group_take_turns(g, turn, n);
	}
	return ret;
}

int dirty_mark_store(const struct bench_group *g)
{
	return run(g, MARK_STORE);
}

int dirty_mark_page(const struct bench_group *g)
{
	return run(g, MARK_PAGE);
}

int dirty_mark_write(const struct bench_group *g)
{
	return run(g, MARK_WRITE);
}
