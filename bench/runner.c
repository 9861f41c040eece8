/* SPDX-License-Identifier: MIT */
/* runner.c - repetitions, engine by engine, and what becomes of their values; see runner.h. */
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

/* One engine's turn in a case: its subject and its values. */
struct turn {
	struct bench_subject s;
	double *value[2];
	size_t nvalues;
	size_t wanted;
	uint64_t elapsed_ns; /* of the work done last */
	bool skipped;
};

struct run {
	const struct bench_plan *plan;
	const struct bench_sink *sink;
	char *why;
	uint64_t done, total;
	const struct bench_case *c;
	enum bench_layout layout;
	uint64_t slots;
	struct bench_set set, other;
	struct turn *turn;
	size_t nturns;
};

const char bench_not_offered[] = "the engine does not offer it";

/* ---- Values ------------------------------------------------------------------- */

static int value_compare(const void *pa, const void *pb)
{
	const double a = *(const double *)pa, b = *(const double *)pb;

	return (a > b) - (a < b);
}

void bench_summarize(struct bench_row *row, double *value, size_t n)
{
	qsort(value, n, sizeof(*value), value_compare);
	row->value = n % 2 == 1 ? value[n / 2] : (value[n / 2 - 1] + value[n / 2]) / 2;
	row->min = value[0];
	row->max = value[n - 1];
	row->repetitions = (unsigned int)n;
}

/* ---- One case, layout and number of slots --------------------------------------- */

static struct bench_row row_of(const struct run *r, const struct engine *engine)
{
	return (struct bench_row){
	    .name = r->c->name,
	    .what = r->c->what,
	    .engine = engine->name,
	    .layout = bench_layout_name[r->layout],
	    .slots = r->slots,
	    .unit = r->c->unit,
	};
}

static void skip(struct run *r, const struct engine *engine, const char *why)
{
	const struct bench_row row = row_of(r, engine);

	r->sink->skipped(r->sink->ctx, &row, why);
}

static const struct bench_bare_call *bare_call_of(const struct run *r, const struct engine *engine)
{
	const struct bench_bare_call *b = r->plan->bare_call;

	while (b->engine != NULL && b->engine != engine)
		b++;
	return b->engine != NULL ? b : NULL;
}

/* Where the system does not tell there are more CPUs than fit in its answer. */
static bool has_one_cpu(void)
{
	cpu_set_t cpus;

	return sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && CPU_COUNT(&cpus) < 2;
}

/* Whether an engine can take part; if not it is said why. */
static bool admitted(struct run *r, const struct engine *engine)
{
	char why[96];

	if ((r->c->flags & CASE_BARE) != 0) {
		if (bare_call_of(r, engine) != NULL)
			return true;
		skip(r, engine, bench_not_offered);
		return false;
	}
	if ((r->c->flags & CASE_THREADS) != 0 && has_one_cpu()) {
		skip(r, engine, "the process may run on one CPU, and two threads need two");
		return false;
	}
	if ((r->c->flags & CASE_THREADS) != 0 && (r->c->flags & CASE_EDITS) != 0 &&
	    engine->stops_readers) {
		skip(r, engine, "its readers must stop for an edit");
		return false;
	}
	if (!r->c->offered(engine)) {
		skip(r, engine, bench_not_offered);
		return false;
	}
	if (engine->max_slots > 0 && r->slots > engine->max_slots) {
		snprintf(why, sizeof(why), "the engine holds %llu slots at most",
			 (unsigned long long)engine->max_slots);
		skip(r, engine, why);
		return false;
	}
	if (engine->real_memory && r->layout != LAYOUT_RANDOM) {
		skip(r, engine, "the engine needs real host memory: layout random only");
		return false;
	}
	return true;
}

static int report(struct run *r, const struct bench_subject *s)
{
	snprintf(r->why, BENCH_WHY, "engine %s, case %s, layout %s, %llu slots: %s",
		 s->engine->name, r->c->name, bench_layout_name[r->layout],
		 (unsigned long long)r->slots, s->why);
	return -1;
}

static int fill(struct bench_subject *s, const struct bench_set *set)
{
	int ret = 0;

	if (s->engine->fill != NULL)
		return s->engine->fill(s->map, set->slot, set->nslots);
	for (size_t i = 0; i < set->nslots && ret == 0; i++)
		ret = s->engine->insert(s->map, &set->slot[i]);
	return ret;
}

static enum bench_outcome make_map(struct run *r, struct bench_subject *s)
{
	int ret;

	if ((r->c->flags & (CASE_EMPTY | CASE_BARE)) != 0)
		return BENCH_OK;
	s->map = s->engine->create((uint32_t)r->slots);
	if (s->map == NULL)
		return bench_failed(s, "cannot create a map");
	ret = fill(s, &r->set);
	if (ret < 0)
		return bench_failed(s, "cannot fill the map: %s", strerror(-ret));
	return bench_verify(s, s->map, s->set);
}

static int turn_begin(struct run *r, const struct engine *engine)
{
	struct turn *const t = &r->turn[r->nturns++];
	const bool once = (r->c->flags & CASE_ONCE) != 0;

	*t = (struct turn){
	    .s = {.engine = engine,
		  .set = &r->set,
		  .other = &r->other,
		  .bare_call = bare_call_of(r, engine),
		  .rng = {r->slots},
		  .nlookups = BENCH_ADDRESSES,
		  .npasses = 1},
	    .wanted = once ? 1 : r->plan->repetitions,
	};
	t->s.token = bench_alloc(r->set.nslots, sizeof(*t->s.token));
	t->s.flags = bench_alloc(r->set.nslots, sizeof(*t->s.flags));
	for (size_t i = 0; i < 2; i++)
		t->value[i] = bench_alloc(t->wanted, sizeof(*t->value[i]));
	if (engine->thread_begin != NULL)
		engine->thread_begin();
	return make_map(r, &t->s) == BENCH_OK ? 0 : report(r, &t->s);
}

static void turn_end(struct turn *t)
{
	if (t->s.map != NULL)
		t->s.engine->destroy(t->s.map);
	if (t->s.engine->thread_end != NULL)
		t->s.engine->thread_end();
	free(t->s.token);
	free(t->s.flags);
	free(t->value[0]);
	free(t->value[1]);
}

bool bench_go_to_first_cpu(cpu_set_t *all)
{
	cpu_set_t first;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	return sched_getaffinity(0, sizeof(*all), all) == 0 &&
	       sched_setaffinity(0, sizeof(first), &first) == 0;
}

/* The case's work; twice where the first time only warms the caches. */
static enum bench_outcome work(struct run *r, struct turn *t, double value[2])
{
	enum bench_outcome outcome = BENCH_OK;
	cpu_set_t all;
	const bool pinned = t->s.engine->first_cpu && bench_go_to_first_cpu(&all);
	uint64_t begin;

	if (t->s.repetition > 0 && t->elapsed_ns < BENCH_WARM_NS && t->wanted > 1)
		outcome = r->c->run(&t->s, value);
	begin = clock_wall_ns();
	if (outcome == BENCH_OK)
		outcome = r->c->run(&t->s, value);
	t->elapsed_ns = clock_wall_ns() - begin;
	if (pinned)
		sched_setaffinity(0, sizeof(all), &all);
	return outcome;
}

/* One repetition of one engine; 0 or -1. */
static int take_turn(struct run *r, struct turn *t, unsigned int repetition)
{
	double value[2] = {0};
	enum bench_outcome outcome;

	t->s.repetition = repetition;
	outcome = work(r, t, value);
	if (outcome == BENCH_FAILED)
		return report(r, &t->s);
	if (outcome == BENCH_OK && repetition == 0 && t->elapsed_ns > BENCH_LIMIT_NS)
		outcome =
		    bench_skipped(&t->s, "a repetition takes %.0f s", (double)t->elapsed_ns / 1e9);
	if (outcome == BENCH_SKIPPED) {
		skip(r, t->s.engine, t->s.why);
		t->skipped = true;
		return 0;
	}
	if (repetition == 0) {
		if (t->elapsed_ns > BENCH_SLOW_NS && t->wanted > BENCH_SLOW_REPETITIONS)
			t->wanted = BENCH_SLOW_REPETITIONS;
		return 0;
	}
	t->value[0][t->nvalues] = value[0];
	t->value[1][t->nvalues++] = value[1];
	return 0;
}

static void put_rows(struct run *r, struct turn *t)
{
	struct bench_row row = row_of(r, t->s.engine);

	bench_summarize(&row, t->value[0], t->nvalues);
	r->sink->row(r->sink->ctx, &row);
	if (r->c->second == NULL)
		return;
	row.name = r->c->second;
	row.what = r->c->second_what;
	bench_summarize(&row, t->value[1], t->nvalues);
	r->sink->row(r->sink->ctx, &row);
}

static int finish_turns(struct run *r)
{
	for (size_t i = 0; i < r->nturns; i++) {
		struct turn *const t = &r->turn[i];

		if (t->skipped)
			continue;
		if ((r->c->flags & CASE_EDITS) != 0 &&
		    bench_verify(&t->s, t->s.map, t->s.set) != BENCH_OK)
			return report(r, &t->s);
		put_rows(r, t);
	}
	return 0;
}

static int take_turns(struct run *r)
{
	char what[64];

	snprintf(what, sizeof(what), "%s, %llu slots, %s", r->c->name, (unsigned long long)r->slots,
		 bench_layout_name[r->layout]);
	for (unsigned int i = 0; i <= r->plan->repetitions; i++) {
		for (size_t k = 0; k < r->nturns; k++) {
			struct turn *const t = &r->turn[k];

			r->sink->progress(r->sink->ctx, what, r->done, r->total);
			if (!t->skipped && i <= t->wanted && take_turn(r, t, i) < 0)
				return -1;
		}
		r->done++;
	}
	return finish_turns(r);
}

static int run_group(struct run *r)
{
	int ret = 0;

	r->nturns = 0;
	r->turn = bench_alloc(r->plan->nengines, sizeof(*r->turn));
	for (size_t i = 0; i < r->plan->nengines && ret == 0; i++) {
		if (admitted(r, r->plan->engine[i]))
			ret = turn_begin(r, r->plan->engine[i]);
	}
	if (ret == 0)
		ret = take_turns(r);
	for (size_t i = 0; i < r->nturns; i++)
		turn_end(&r->turn[i]);
	free(r->turn);
	return ret;
}

/* ---- All of them ---------------------------------------------------------------- */

static bool wants_real_memory(const struct bench_plan *plan)
{
	bool real = false;

	for (size_t i = 0; i < plan->nengines; i++)
		real |= plan->engine[i]->real_memory;
	return real;
}

static int run_with_sets(struct run *r)
{
	const struct bench_set_options opt = {
	    .layout = r->layout,
	    .nslots = r->slots,
	    .seed = r->slots + 1,
	    .real_memory = wants_real_memory(r->plan),
	};
	struct bench_set_options other = opt;
	int ret = bench_set_init(&r->set, &opt);

	other.seed = r->slots + 2;
	if (ret == 0 && (r->c->flags & CASE_OTHER) != 0)
		ret = bench_set_init(&r->other, &other);
	if (ret < 0)
		snprintf(r->why, BENCH_WHY, "no host memory for %llu slots: %s",
			 (unsigned long long)r->slots, strerror(-ret));
	else
		ret = run_group(r);
	bench_set_fini(&r->set);
	bench_set_fini(&r->other);
	return ret < 0 ? -1 : 0;
}

static int run_case(struct run *r)
{
	const struct bench_plan *const plan = r->plan;
	const struct bench_group g = {.c = r->c,
				      .sink = r->sink,
				      .repetitions = plan->repetitions,
				      .quick = plan->quick,
				      .why = r->why,
				      .done = &r->done,
				      .total = r->total};
	int ret = 0;

	if (r->c->group != NULL)
		return r->c->group(&g);
	r->layout = LAYOUT_RANDOM;
	r->slots = 0;
	if ((r->c->flags & CASE_BARE) != 0)
		return run_with_sets(r);
	for (size_t l = 0; l < plan->nlayouts; l++) {
		for (size_t n = 0; n < plan->nslots && ret == 0; n++) {
			r->layout = plan->layout[l];
			r->slots = plan->slots[n];
			ret = run_with_sets(r);
		}
	}
	return ret;
}

int bench_run(const struct bench_plan *plan, const struct bench_sink *sink, char why[BENCH_WHY])
{
	struct run r = {.plan = plan, .sink = sink, .why = why};
	int ret = 0;

	for (size_t i = 0; i < plan->ncases; i++) {
		const bool bare = (plan->cases[i]->flags & CASE_BARE) != 0;
		const size_t npoints = plan->cases[i]->npoints;

		r.total += (npoints > 0 ? npoints
			    : bare      ? 1
					: plan->nlayouts * plan->nslots) *
			   (plan->repetitions + 1);
	}
	for (size_t i = 0; i < plan->ncases && ret == 0; i++) {
		r.c = plan->cases[i];
		ret = run_case(&r);
	}
	return ret;
}
