/* SPDX-License-Identifier: MIT */
/*
 * replay_freerun.c - readers look up random RAM flat out while the writer replays the
 * trace again and again.
 *
 * Every pass begins with an empty map and makes the same commits, so a snapshot's
 * generation tells how far its pass is. From the first group to the last one an address
 * that is RAM in every state between groups must be found: applied as transactions a
 * miss is a defect, applied one by one it is a hole that a reader happened to see.
 */
#include "replay.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "histogram.h"
#include "bench/rng.h"

#define NPOINTS 4096u /* more than fit an L1 cache beside the map */

struct point {
	uint64_t gpa;
	uint32_t space;
	uint32_t always; /* 1: RAM in every state from the first group on */
};

struct freerun {
	struct mslot_map *map;
	struct point *point;
	uint64_t npass;  /* commits of a pass without the clearing */
	uint64_t nfirst; /* of these, commits of the first group */
	uint64_t nclear; /* commits that empty the map behind a pass */
	atomic_bool stop;
};

struct reader {
	pthread_t thread;
	const struct freerun *run;
	uint64_t seed;
	uint64_t lookups;
	uint64_t missed;
};

static void *reader_main(void *arg)
{
	struct reader *const r = arg;
	const struct freerun *const f = r->run;
	struct rng rng = {r->seed};
	uint64_t lookups = 0, missed = 0;

	while (!atomic_load_explicit(&f->stop, memory_order_relaxed)) {
		const struct point *const p = &f->point[rng_next(&rng) % NPOINTS];
		const struct mslot_snapshot *const snap = mslot_enter(f->map);
		const struct mslot_slot *const slot = mslot_find(snap, p->space, p->gpa);

		if (slot == NULL && p->always) {
			const uint64_t done =
			    mslot_snapshot_generation(snap) % (f->npass + f->nclear);

			missed += done >= f->nfirst && done <= f->npass;
		}
		mslot_leave(snap);
		lookups++;
	}
	r->lookups = lookups;
	r->missed = missed;
	return NULL;
}

/* Half of the points in RAM that is always there, half in RAM that comes and goes. */
static struct point *choose_points(const struct plan *p)
{
	struct point *const point = cli_alloc(NPOINTS, sizeof(*point));
	struct rng rng = {1};

	for (size_t i = 0; i < NPOINTS; i++) {
		const bool always = i % 2 == 0 && p->always.nranges > 0;
		const struct plan_ranges *const from = always ? &p->always : &p->some;
		const struct plan_range *range;

		if (from->nranges == 0)
			continue;
		range = &from->range[rng_below(&rng, from->nranges)];
		point[i] = (struct point){
		    .gpa = range->start + rng_below(&rng, range->end - range->start),
		    .space = range->space,
		    .always = always,
		};
	}
	return point;
}

/* One pass over the trace; stops early at the deadline. Returns 1 there, 0, or -1. */
static int run_pass(const struct replay *r, struct engine *e, uint64_t deadline,
		    struct histogram *h, struct lines_fault *fault)
{
	for (size_t g = 0; g < r->trace->ngroups; g++) {
		for (size_t step = 0; step < engine_nsteps(e, g); step++) {
			const uint64_t start = cli_now_ns();
			uint64_t end;

			if (engine_step(e, g, step, fault) < 0)
				return -1;
			end = cli_now_ns();
			histogram_add(h, end - start);
			if (end >= deadline)
				return 1;
		}
	}
	return engine_clear(e, fault);
}

static int run_passes(const struct replay *r, struct engine *e, struct replay_result *out,
		      struct lines_fault *fault)
{
	struct histogram *const h = cli_alloc(1, sizeof(*h));
	const uint64_t begin = cli_now_ns(), deadline = begin + r->free_ns;
	int ret = 0;

	while (ret == 0) {
		ret = run_pass(r, e, deadline, h, fault);
		progress_update(r->progress, r->trace->name, cli_now_ns() - begin, r->free_ns);
		if (ret == 0 && cli_now_ns() >= deadline)
			ret = 1;
	}
	out->commits = h->n;
	out->commit_ns_median = histogram_quantile(h, 50, 100);
	out->commit_ns_p99 = histogram_quantile(h, 99, 100);
	free(h);
	return ret < 0 ? -1 : 0;
}

static void sum_up(struct replay_result *out, const struct reader *reader, unsigned int n,
		   uint64_t ns)
{
	for (unsigned int i = 0; i < n; i++) {
		out->lookups += reader[i].lookups;
		out->missed += reader[i].missed;
	}
	out->lookups_per_s = (uint64_t)((double)out->lookups * 1e9 / (double)(ns > 0 ? ns : 1));
}

static int run_threads(const struct replay *r, struct engine *e, struct freerun *f,
		       struct replay_result *out, struct lines_fault *fault)
{
	struct reader *const reader = cli_alloc(r->nreaders, sizeof(*reader));
	const uint64_t begin = cli_now_ns();
	unsigned int n = 0;
	int ret = 0;

	for (; n < r->nreaders && ret == 0; n += ret == 0) {
		reader[n].run = f;
		reader[n].seed = n + 1;
		ret = pthread_create(&reader[n].thread, NULL, reader_main, &reader[n]);
	}
	if (ret != 0)
		ret = lines_expected_not(fault, 0, "a reader thread", strerror(ret));
	else
		ret = run_passes(r, e, out, fault);
	atomic_store_explicit(&f->stop, true, memory_order_relaxed);
	for (unsigned int i = 0; i < n; i++)
		pthread_join(reader[i].thread, NULL);
	sum_up(out, reader, n, cli_now_ns() - begin);
	free(reader);
	return ret;
}

int freerun_run(const struct replay *r, struct replay_result *out, struct lines_fault *fault)
{
	struct lines_fault ignored;
	struct freerun f = {0};
	struct engine e;
	int ret;

	ret = engine_init(&e, r, fault);
	if (ret < 0)
		return ret;
	f.map = e.map;
	f.point = choose_points(r->plan);
	f.npass = engine_npass(&e);
	f.nclear = engine_nclear(&e);
	f.nfirst = r->as == REPLAY_KVM ? r->plan->group[0].nchanges : engine_nsteps(&e, 0);
	ret = run_threads(r, &e, &f, out, fault);
	free(f.point);
	if (engine_fini(&e, ret < 0 ? &ignored : fault) < 0)
		ret = -1;
	return ret;
}
