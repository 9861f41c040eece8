/* SPDX-License-Identifier: MIT */
/*
 * test_fault.c - every operation, in every world, with every allocation failing.
 *
 *   test-fault DIR             DIR holds the public headers
 *   test-fault DIR OPERATION   only that operation
 *
 * With MSLOT_TEST_SCALE below 100 that percentage of the worlds is used.
 */
#include "fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define MAX_ALLOCATIONS 5000u
#define LARGE 5000u /* slots of the large worlds */

/* Where the program is, for messages. */
static struct {
	const char *what;
	const struct shape *shape;
	uint64_t n;
	int persistent;
	int nodes; /* nodes of pools count as allocations */
} at = {.what = "start"};

_Noreturn void fault_fail(const char *where, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s\n  ", where);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n  operation: %s\n", at.what);
	if (at.shape)
		fprintf(stderr, "  world: %u spaces, %u slots, %u listeners%s%s\n",
			at.shape->nspaces, at.shape->nslots, at.shape->nlisteners,
			at.shape->held ? ", held" : "", at.shape->retired ? ", retired" : "");
	fprintf(stderr, "  %s %u fails%s\n", at.nodes ? "allocation or node" : "allocation",
		(unsigned int)at.n, at.persistent ? ", and all that follow" : "");
	exit(1);
}

/* ---- Callbacks ---------------------------------------------------------- */

/* In order those that prepared, the one that vetoed, and back those that prepared. */
static void expect_undone(const struct world *w)
{
	const struct event *event = w->event;
	size_t n = w->nevents, prepared = 0, i = 0;

	while (i < n && event[i].what == 'p' && event[i].index == i)
		i++;
	prepared = i;
	CHECK(n == 0 || w->late || prepared < w->shape->nlisteners, "all have prepared");
	if (i < n && event[i].what == 'v') {
		CHECK(event[i].index == prepared, "listener %u vetoed", event[i].index);
		i++;
	}
	for (; prepared > 0 && i < n; i++, prepared--)
		CHECK(event[i].what == 'a' && event[i].index == prepared - 1,
		      "%c%u is not next in the reverse order", event[i].what, event[i].index);
	CHECK(prepared == 0 && i == n, "%zu not aborted, %zu more callbacks", prepared, n - i);
}

static void expect_told(const struct world *w, bool committed)
{
	const unsigned int n = committed ? w->shape->nlisteners : 0;

	CHECK(w->nevents == 2 * n, "%zu callbacks", w->nevents);
	for (unsigned int i = 0; i < n; i++)
		CHECK(w->event[i].what == 'p' && w->event[i].index == i &&
			  w->event[n + i].what == 'c' && w->event[n + i].index == i,
		      "listener %u is not told in order", i);
}

/* ---- One try ------------------------------------------------------------ */

static uint64_t generation_of(struct world *w)
{
	const struct mslot_snapshot *snap = mslot_enter(w->map);
	const uint64_t generation = mslot_snapshot_generation(snap);

	mslot_leave(snap);
	return generation;
}

static void try_again(struct world *w, const struct op *op)
{
	int err;

	w->nevents = 0;
	err = op->run(w, op);
	CHECK(err == op->refused, "%d when there is memory again", err);
}

static void check_done(struct world *w, const struct op *op, const struct picture *before)
{
	const char *why = "";

	expect_told(w, op->commits);
	if (op->commits)
		CHECK(generation_of(w) == before->stats.generation + 1, "not one generation more");
	CHECK(mslot_check_map(w->map, &why) == 0, "%s", why);
}

/* Returns whether an allocation failed. */
static bool try_op(const struct op *op, const struct shape *shape)
{
	const uint64_t live = alloc_live();
	struct picture before;
	struct world w;
	bool hit;
	int err;

	world_init(&w, shape);
	if (op->prepare)
		op->prepare(&w, op);
	w.nevents = 0;
	picture_take(&before, &w);
	alloc_count_nodes(at.nodes != 0);
	alloc_fail_at(at.n, at.persistent);
	err = op->run(&w, op);
	hit = alloc_attempts() >= at.n;
	alloc_fail_at(0, 0);
	alloc_count_nodes(false);
	/* What is refused at the end is refused after its nodes were allocated. */
	CHECK(err == (hit && !op->refused ? -ENOMEM : op->refused) ||
		  (err == -ENOMEM && hit && at.nodes != 0),
	      "returned %d", err);
	if (err) {
		expect_undone(&w);
		/* A section that the operation is in goes on, and a failed one left no trace. */
		picture_compare(&before, &w);
		try_again(&w, op);
	}
	if (!op->refused)
		check_done(&w, op, &before);
	picture_drop(&before);
	if (op->finish)
		op->finish(&w, op);
	world_fini(&w);
	CHECK(alloc_live() == live, "%d allocations leaked", (int)(alloc_live() - live));
	return hit;
}

static uint64_t walk_op(const struct op *op, const struct shape *shape)
{
	uint64_t faults = 0;

	/* Each node of a tree in its turn only where that covers what the other worlds would. */
	const int kinds = shape->nspaces == 1 && shape->nlisteners == 3 &&
			  (shape->nslots == 17 || shape->nslots == 256);

	at.what = op->name;
	for (at.nodes = 0; at.nodes <= kinds; at.nodes++)
		for (at.persistent = 0; at.persistent < 2; at.persistent++)
			for (at.n = 1; try_op(op, shape); at.n++, faults++)
				CHECK(at.n < MAX_ALLOCATIONS, "it does not end");
	return faults;
}

/* ---- Worlds ------------------------------------------------------------- */

#define MAX_SHAPES 256u

/* Sizes around those at which nodes fill up, trees grow and slots take another level. */
static size_t make_shapes(struct shape *shapes)
{
	static const uint32_t sizes[] = {15, 16, 17, 255, 256, 257}, spaces[] = {1, 16},
			      listeners[] = {0, 1, 3};
	size_t n = 0;

	/* A few of all first, for a short run. */
	shapes[n++] = (struct shape){1, 17, 3, true, true};
	shapes[n++] = (struct shape){16, LARGE, 3, true, true};
	for (size_t s = 0; s < 6; s++)
		for (size_t p = 0; p < 2; p++)
			for (size_t l = 0; l < 3; l++) {
				/* Each size and number of listeners with and without either. */
				const size_t turn = s + p + l;

				shapes[n++] = (struct shape){spaces[p], sizes[s], listeners[l],
							     turn % 2 == 0, turn / 2 % 2 == 0};
			}
	shapes[n++] = (struct shape){1, LARGE, 0, false, true};
	return n;
}

static size_t scaled(size_t n)
{
	const char *scale = getenv("MSLOT_TEST_SCALE");
	const unsigned long percent = scale ? strtoul(scale, NULL, 10) : 100;

	if (percent >= 100)
		return n;
	return n * percent / 100 > 2 ? n * percent / 100 : 2;
}

static void never(void *ctx, const struct mslot_region_options *opt)
{
	(void)ctx;
	(void)opt;
	CHECK(false, "a region that was not created is released");
}

/* First of all, while the process has no thread but this one. */
static unsigned int without_threads(void)
{
	const struct mslot_region_options opt = {.len_bytes = PAGE, .fd = -1, .release = never};
	struct mslot_region *region = NULL;
	struct mslot_map *map = NULL;
	const uint64_t live = alloc_live();

	at.what = "no thread can be created";
	fault_no_threads = true;
	CHECK(mslot_map_create(NULL, &map) == -EAGAIN && !map, "a map without a reclaimer");
	CHECK(mslot_region_create(&opt, &region) == -EAGAIN && !region, "a region without one");
	fault_no_threads = false;
	CHECK(alloc_live() == live, "%d allocations leaked", (int)(alloc_live() - live));
	CHECK_OK(mslot_map_create(NULL, &map));
	CHECK_OK(mslot_map_destroy(map));
	return 2;
}

static void run_quiet(const struct shape *shapes, size_t nshapes)
{
	const uint64_t live = alloc_live();
	struct world w;

	for (size_t s = 0; s < nshapes; s++)
		for (size_t q = 0; q < nquiets; q++) {
			at.what = quiets[q].functions;
			at.shape = &shapes[s];
			world_init(&w, at.shape);
			quiets[q].run(&w);
			world_fini(&w);
			CHECK(alloc_live() == live, "allocations leaked");
		}
}

int main(int argc, char **argv)
{
	struct shape shapes[MAX_SHAPES];
	size_t nshapes = scaled(make_shapes(shapes)), tested = 0;
	uint64_t total = 0, faults;

	CHECK(argc >= 2, "usage: test-fault DIR [OPERATION]");
	CHECK(names_complete(argv[1]), "the tables and the headers differ");
	total += without_threads();
	for (size_t i = 0; i < nops; i++) {
		if (argc > 2 && strcmp(argv[2], ops[i].name) != 0)
			continue;
		for (size_t s = faults = 0; s < nshapes; s++) {
			at.shape = &shapes[s];
			if (!ops[i].small || at.shape->nslots < LARGE)
				faults += walk_op(&ops[i], at.shape);
		}
		printf("%-28s %8u faults\n", ops[i].name, (unsigned int)faults);
		/* Without a failure this would have tested nothing. */
		CHECK(faults > 0 || ops[i].refused, "it never allocates");
		total += faults;
		tested++;
	}
	CHECK(tested > 0, "no such operation");
	run_quiet(shapes, nshapes);
	printf("%llu faults injected: %zu operations in %zu worlds\n", (unsigned long long)total,
	       tested, nshapes);
	return 0;
}
