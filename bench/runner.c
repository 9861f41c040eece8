/* SPDX-License-Identifier: MIT */
/* runner.c - repetitions, engine by engine, and what becomes of their values; see runner.h. */
#include "runner.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

#define FLOOR_LOADS 4000000u
#define FLOOR_NODES 64u
#define VERIFIED 4096u /* addresses that are looked up one by one */

/* One engine's turn in a case: its subject and its values. */
struct turn {
	struct bench_subject s;
	double *value[2];
	size_t nvalues;
	size_t wanted;
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

/* ---- Answers ------------------------------------------------------------------ */

enum bench_outcome bench_failed(struct bench_subject *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->why, sizeof(s->why), fmt, ap);
	va_end(ap);
	return BENCH_FAILED;
}

enum bench_outcome bench_skipped(struct bench_subject *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->why, sizeof(s->why), fmt, ap);
	va_end(ap);
	return BENCH_SKIPPED;
}

static enum bench_outcome ask_tokens(struct bench_subject *s, struct engine_map *map,
				     const struct bench_set *set)
{
	for (size_t i = 0; i < set->nslots; i++) {
		s->token[i] = s->engine->token_of(map, set->slot[i].id);
		if (s->token[i] == 0)
			return bench_failed(s, "slot %u is not in the map", set->slot[i].id);
		if (i > 0 && s->token[i] == s->token[i - 1])
			return bench_failed(s, "slots %u and %u have one token",
					    set->slot[i - 1].id, set->slot[i].id);
	}
	return BENCH_OK;
}

static enum bench_outcome wrong(struct bench_subject *s, const char *what, uint64_t addr)
{
	return bench_failed(s, "wrong answer of %s at 0x%llx", what, (unsigned long long)addr);
}

static enum bench_outcome verify_gpa(struct bench_subject *s, struct engine_map *map,
				     const struct bench_set *set, size_t k)
{
	static const enum bench_trail trail[] = {TRAIL_RANDOM, TRAIL_MISS, TRAIL_PAGES};
	const struct engine *const e = s->engine;

	for (size_t t = 0; t < sizeof(trail) / sizeof(trail[0]); t++) {
		const uint64_t *const addr = &set->trail[trail[t]].addr[k];
		const uint32_t slot = set->trail[trail[t]].slot[k];
		const uint64_t token = slot == BENCH_NO_SLOT ? 0 : s->token[slot];

		if (e->find != NULL && e->find(map, addr, 1) != token)
			return wrong(s, "find()", *addr);
		if (e->find_section != NULL && e->find_section(map, addr, 1) != token)
			return wrong(s, "find_section()", *addr);
		if (e->find_local != NULL && e->find_local(map, addr, 1) != token)
			return wrong(s, "find_local()", *addr);
		if (e->count_gpa != NULL && e->count_gpa(map, *addr, 1) != (token != 0))
			return wrong(s, "count_gpa()", *addr);
	}
	return BENCH_OK;
}

enum bench_outcome bench_verify(struct bench_subject *s, struct engine_map *map,
				const struct bench_set *set)
{
	const struct engine *const e = s->engine;
	enum bench_outcome outcome;

	if (e->token_of == NULL)
		return BENCH_OK;
	outcome = ask_tokens(s, map, set);
	for (size_t k = 0; k < VERIFIED && outcome == BENCH_OK; k++) {
		const uint64_t *const hva = &set->trail[TRAIL_HVA].addr[k];
		const uint64_t token = s->token[set->trail[TRAIL_HVA].slot[k]];

		outcome = verify_gpa(s, map, set, k);
		if (outcome != BENCH_OK)
			break;
		if (e->find_hva != NULL && e->find_hva(map, hva, 1) != token)
			return wrong(s, "find_hva()", *hva);
		if (e->find_id != NULL && e->find_id(map, &set->id[k], 1) != token)
			return wrong(s, "find_id()", set->id[k]);
	}
	return outcome;
}

int bench_flip(struct bench_subject *s, size_t slot)
{
	const uint32_t flags = s->flags[slot] ^ 1u;
	const int ret = s->engine->set_flags(s->map, s->set->slot[slot].id, flags);

	if (ret == 0)
		s->flags[slot] = flags;
	return ret;
}

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
}

struct floor_node {
	_Alignas(64) struct floor_node *next;
};

static double floor_once(void)
{
	static struct floor_node node[FLOOR_NODES];
	struct floor_node *at = &node[0];
	uint64_t begin;

	/* 29 is odd: the chain visits every node before it repeats. */
	for (size_t i = 0; i < FLOOR_NODES; i++)
		node[i].next = &node[(i + 29) % FLOOR_NODES];
	begin = clock_cpu_ns();
	for (size_t i = 0; i < FLOOR_LOADS; i++) {
		at = at->next;
		/* The compiler may not know the chain. */
		__asm__ volatile("" : "+r"(at));
	}
	return (double)(clock_cpu_ns() - begin) / FLOOR_LOADS;
}

void bench_floor(struct bench_row *row, unsigned int repetitions)
{
	double *const value = bench_alloc(repetitions, sizeof(*value));

	floor_once();
	for (unsigned int i = 0; i < repetitions; i++)
		value[i] = floor_once();
	*row = (struct bench_row){
	    .name = "floor", .engine = "machine", .layout = "none", .unit = "ns/op"};
	bench_summarize(row, value, repetitions);
	free(value);
}

/* ---- One case, layout and number of slots --------------------------------------- */

static struct bench_row row_of(const struct run *r, const struct engine *engine)
{
	return (struct bench_row){
	    .name = r->c->name,
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

/* Whether an engine can take part; if not it is said why. */
static bool admitted(struct run *r, const struct engine *engine)
{
	char why[96];

	if ((r->c->flags & CASE_BARE) != 0) {
		if (bare_call_of(r, engine) != NULL)
			return true;
		skip(r, engine, "makes no system calls");
		return false;
	}
	if (!r->c->offered(engine)) {
		skip(r, engine, "the engine does not offer it");
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

static enum bench_outcome make_map(struct run *r, struct bench_subject *s)
{
	int ret;

	if ((r->c->flags & (CASE_EMPTY | CASE_BARE)) != 0)
		return BENCH_OK;
	s->map = s->engine->create((uint32_t)r->slots);
	if (s->map == NULL)
		return bench_failed(s, "cannot create a map");
	ret = s->engine->fill(s->map, r->set.slot, r->set.nslots);
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

/* One repetition of one engine; 0 or -1. */
static int take_turn(struct run *r, struct turn *t, unsigned int repetition)
{
	double value[2] = {0};
	uint64_t begin, elapsed;
	enum bench_outcome outcome;

	t->s.repetition = repetition;
	begin = clock_wall_ns();
	outcome = r->c->run(&t->s, value);
	elapsed = clock_wall_ns() - begin;
	if (outcome == BENCH_FAILED)
		return report(r, &t->s);
	if (outcome == BENCH_OK && repetition == 0 && elapsed > BENCH_LIMIT_NS)
		outcome = bench_skipped(&t->s, "a repetition takes %.0f s", (double)elapsed / 1e9);
	if (outcome == BENCH_SKIPPED) {
		skip(r, t->s.engine, t->s.why);
		t->skipped = true;
		return 0;
	}
	if (repetition == 0) {
		if (elapsed > BENCH_SLOW_NS && t->wanted > BENCH_SLOW_REPETITIONS)
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

	snprintf(what, sizeof(what), "%s, %llu slots, %s", r->c->name,
		 (unsigned long long)r->slots, bench_layout_name[r->layout]);
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
	int ret = 0;

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

		r.total += (bare ? 1 : plan->nlayouts * plan->nslots) * (plan->repetitions + 1);
	}
	for (size_t i = 0; i < plan->ncases && ret == 0; i++) {
		r.c = plan->cases[i];
		ret = run_case(&r);
	}
	return ret;
}
