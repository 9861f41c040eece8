/* SPDX-License-Identifier: MIT */
/*
 * dirty_lease.c - leases of one thread, in its CPU time, and of two at once, by the wall clock.
 *
 * Two threads do the same number of leases each: see pair.h.
 */
#include "cases.h"
#include "engines/dirty_engines.h"
#include "group.h"
#include "pair.h"

#include "clock.h"

#define CYCLES 20000u

static const char *const kind_name[LEASE_KINDS] = {"read", "write", "write-logged"};

static enum bench_outcome check(struct group_turn *t, uint64_t right, uint64_t expected)
{
	const struct lease_engine *const e = t->engine;
	const uint64_t left = e->left(t->world);

	if (right != expected)
		return group_failed(t, "%llu of %llu leases showed the right memory",
				    (unsigned long long)right, (unsigned long long)expected);
	if (left != 0)
		return group_failed(t, "%llu leases are left", (unsigned long long)left);
	return BENCH_OK;
}

static enum bench_outcome measure_one(struct group_turn *t, double *value)
{
	const struct lease_engine *const e = t->engine;
	const uint64_t begin = clock_cpu_ns();
	const uint64_t right = e->cycle(t->world, CYCLES);

	*value = (double)(clock_cpu_ns() - begin) / CYCLES;
	return check(t, right, CYCLES);
}

/* ---- Two threads -------------------------------------------------------------- */

struct both {
	struct group_turn *t;
	uint64_t right[2];
};

static int cycle(void *ctx, unsigned int thread)
{
	struct both *const b = ctx;
	const struct lease_engine *const e = b->t->engine;

	b->right[thread] = e->cycle(b->t->world, CYCLES);
	return 0;
}

static enum bench_outcome check_both(void *ctx)
{
	const struct both *const b = ctx;

	return check(b->t, b->right[0] + b->right[1], 2 * CYCLES);
}

static enum bench_outcome measure_two(struct group_turn *t, double *value)
{
	struct both both = {.t = t};
	const struct pair_work work = {
	    .ctx = &both, .run = cycle, .at_once = 10, .after = check_both};
	const enum bench_outcome outcome = pair_measure(t, &work, value);

	*value /= CYCLES;
	return outcome;
}

int dirty_lease(const struct bench_group *g)
{
	struct group_turn turn[GROUP_TURNS];
	int ret = 0;

	for (size_t i = 0; i < DIRTY_LEASE_POINTS && ret == 0; i++) {
		const enum lease_kind kind = (enum lease_kind)(i / 2);
		const struct bench_row point = {
		    .layout = kind_name[kind], .axis = "threads", .slots = i % 2 + 1};

		for (size_t k = 0; k < nlease_engines; k++) {
			const struct lease_engine *const e = lease_engines[k];

			turn[k] = group_turn_of(g, e->name, &point);
			turn[k].engine = e;
			turn[k].world = e->create(kind, turn[k].why);
			turn[k].measure = point.slots == 1 ? measure_one : measure_two;
			turn[k].destroy = e->destroy;
		}
		ret = group_take_turns(g, turn, nlease_engines);
	}
	return ret;
}
