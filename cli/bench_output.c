/* SPDX-License-Identifier: MIT */
/*
 * bench_output.c - results of `mslot bench` as JSON lines when they come, or as tables.
 *
 * A table holds all rows of one name and layout; it is printed when the first row of another
 * case or layout comes. A case with a second value has two tables, since its rows alternate.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "cli/version.h"
#include "table.h"

const char *bench_absent(const struct engine *engine)
{
	return engine->absent != NULL ? engine->absent() : NULL;
}

const char *bench_version(const struct engine *engine)
{
	return engine->version != NULL ? engine->version() : "mslot " MSLOT_CLI_VERSION;
}

const char *bench_axis(const struct bench_row *row)
{
	return row->axis != NULL ? row->axis : "slots";
}

size_t bench_engine_index(const char *name)
{
	size_t i = 0;

	while (i < bench_nengines && strcmp(bench_engines[i]->name, name) != 0)
		i++;
	return i;
}

/* ---- JSON ------------------------------------------------------------------- */

/* What every row says first: of what it is. */
static void json_begin_row(struct json *j, const struct bench_row *row)
{
	json_begin(j, stdout);
	json_text(j, "case", row->name);
	json_text(j, "engine", row->engine);
	json_text(j, "layout", row->layout);
	json_count(j, bench_axis(row), row->slots);
}

static void json_row(const struct bench_row *row)
{
	struct json j;

	json_begin_row(&j, row);
	json_real(&j, "value", row->value);
	json_real(&j, "min", row->min);
	json_real(&j, "max", row->max);
	json_text(&j, "unit", row->unit);
	json_count(&j, "repetitions", row->repetitions);
	json_end(&j);
}

static void json_skipped(const struct bench_row *row, const char *why)
{
	struct json j;

	json_begin_row(&j, row);
	json_text(&j, "skipped", why);
	json_end(&j);
}

static void json_engine(const struct engine *engine)
{
	const char *const absent = bench_absent(engine);
	struct json j;

	json_begin(&j, stdout);
	json_text(&j, "engine", engine->name);
	if (absent != NULL)
		json_text(&j, "absent", absent);
	else
		json_text(&j, "version", bench_version(engine));
	json_end(&j);
}

/* ---- Tables ----------------------------------------------------------------- */

static void add_value(struct table *t, double value, const char *unit)
{
	const bool count = strcmp(unit, "bytes") == 0 || strcmp(unit, "faults") == 0 ||
			   strcmp(unit, "tables") == 0;

	if (value >= 1000 || count)
		table_add_count(t, (uint64_t)(value + 0.5));
	else
		table_add(t,
			  value < 0.1   ? "%.4f"
			  : value < 1   ? "%.3f"
			  : value < 100 ? "%.2f"
					: "%.0f",
			  value);
}

static void add_ratio(struct table *t, double ratio, int decimals)
{
	if (ratio >= 1000)
		table_add_count(t, (uint64_t)(ratio + 0.5));
	else
		table_add(t, "%.*f", ratio >= 100 ? 0 : decimals, ratio);
}

static bool in_table(const struct bench_result *a, const struct bench_result *b)
{
	return strcmp(a->row.name, b->row.name) == 0 && strcmp(a->row.layout, b->row.layout) == 0;
}

/* mslot's row with the same number of slots in the same table, or NULL. */
static const struct bench_row *own_row(const struct bench_output *out, const struct bench_result *r)
{
	for (size_t i = 0; i < out->nresults; i++) {
		const struct bench_result *const b = &out->result[i];

		if (b->why == NULL && in_table(r, b) && b->row.slots == r->row.slots &&
		    strcmp(b->row.engine, engine_mslot.name) == 0)
			return &b->row;
	}
	return NULL;
}

static void add_row(const struct bench_output *out, struct table *t, const struct bench_result *r,
		    bool first)
{
	const struct bench_row *const row = &r->row, *const own = own_row(out, r);

	if (first)
		table_add_count(t, row->slots);
	else
		table_add(t, "%s", "");
	table_add(t, "%s", row->engine);
	add_value(t, row->value, row->unit);
	add_value(t, row->min, row->unit);
	add_value(t, row->max, row->unit);
	if (strcmp(row->unit, "ns/op") == 0 && out->floor > 0)
		add_ratio(t, row->value / out->floor, 1);
	else
		table_add(t, "-");
	if (own != NULL && own->value > 0)
		add_ratio(t, row->value / own->value, 2);
	else
		table_add(t, "-");
}

/* Engines without a row, and rows with fewer repetitions: `from` is the table's first result. */
static void print_notes(const struct bench_output *out, size_t from)
{
	const struct bench_result *const first = &out->result[from];
	const char *last = "";
	bool any = false;

	for (size_t i = from; i < out->nresults; i++) {
		const struct bench_result *const r = &out->result[i];
		const bool offered = r->why == NULL || strcmp(r->why, bench_not_offered) != 0;

		if (!in_table(first, r))
			continue;
		/* It is the same for all numbers of slots: once. */
		if (!offered && r->row.slots == first->row.slots) {
			printf("%s%s", any ? ", " : "not offered by: ", r->row.engine);
			any = true;
		}
	}
	printf("%s", any ? "\n" : "");
	for (size_t i = from; i < out->nresults; i++) {
		const struct bench_result *const r = &out->result[i];

		if (!in_table(first, r))
			continue;
		if (r->why != NULL && strcmp(r->why, bench_not_offered) != 0)
			printf("no row of %s at %llu %s: %s\n", r->row.engine,
			       (unsigned long long)r->row.slots, bench_axis(&r->row), r->why);
		else if (r->why == NULL && r->row.repetitions < out->o->repetitions &&
			 strcmp(r->row.unit, "bytes") != 0 && last != r->row.engine)
			printf("%s at %llu %s: only %u repetitions\n", last = r->row.engine,
			       (unsigned long long)r->row.slots, bench_axis(&r->row),
			       r->row.repetitions);
	}
}

static void print_table(const struct bench_output *out, size_t from)
{
	const struct bench_row *const head = &out->result[from].row;
	const struct table_column column[] = {
	    {bench_axis(head), 1}, {"engine", 0},   {"median", 1}, {"min", 1}, {"max", 1},
	    {"x floor", 1},        {"vs mslot", 1},
	};
	uint64_t slots = UINT64_MAX;
	struct table t;

	printf("\n%s: %s (%s; layout %s)\n", head->name, head->what, head->unit, head->layout);
	table_init(&t, column, sizeof(column) / sizeof(column[0]));
	for (size_t i = from; i < out->nresults; i++) {
		const struct bench_result *const r = &out->result[i];

		if (r->why != NULL || !in_table(&out->result[from], r))
			continue;
		add_row(out, &t, r, r->row.slots != slots);
		slots = r->row.slots;
	}
	if (t.ncells > 0)
		table_print(&t, stdout);
	table_fini(&t);
	print_notes(out, from);
	fflush(stdout);
}

/* All tables of what came since the last ones were printed. */
static void print_tables(struct bench_output *out)
{
	const size_t from = out->nprinted;

	for (size_t i = from; i < out->nresults; i++) {
		bool begun = false;

		for (size_t k = from; k < i && !begun; k++)
			begun = in_table(&out->result[k], &out->result[i]);
		if (!begun)
			print_table(out, i);
	}
	out->nprinted = out->nresults;
}

/* ---- The table of 2021 ------------------------------------------------------- */

static const struct bench_result *find_result(const struct bench_output *out,
					      const struct bench_case *c, const char *engine,
					      const char *layout, uint64_t slots)
{
	for (size_t i = 0; i < out->nresults; i++) {
		const struct bench_result *const r = &out->result[i];

		if (strcmp(r->row.name, c->name) == 0 && strcmp(r->row.engine, engine) == 0 &&
		    strcmp(r->row.layout, layout) == 0 && r->row.slots == slots)
			return r;
	}
	return NULL;
}

/* One engine: a row for each number of slots, a column for each phase. */
static void print_phases(const struct bench_output *out, const struct engine *engine,
			 const char *layout)
{
	struct table_column column[BENCH_MAX_LIST + 1] = {{"slots", 1}};
	char head[BENCH_MAX_LIST][40];
	const struct bench_options *const o = out->o;
	struct table t;

	for (size_t c = 0; c < o->ncases; c++) {
		snprintf(head[c], sizeof(head[c]), "%s %.2s", o->cases[c]->name, o->cases[c]->unit);
		column[c + 1] = (struct table_column){head[c], 1};
	}
	printf("\n%s, %s (layout %s)\n", engine->name, bench_version(engine), layout);
	table_init(&t, column, o->ncases + 1);
	for (size_t n = 0; n < o->nslots; n++) {
		table_add_count(&t, o->slots[n]);
		for (size_t c = 0; c < o->ncases; c++) {
			const struct bench_result *const r =
			    find_result(out, o->cases[c], engine->name, layout, o->slots[n]);

			if (r != NULL && r->why == NULL)
				add_value(&t, r->row.value, r->row.unit);
			else
				table_add(&t, "-");
		}
	}
	table_print(&t, stdout);
	table_fini(&t);
}

static void print_2021(const struct bench_output *out)
{
	const struct bench_options *const o = out->o;

	for (size_t l = 0; l < o->nlayouts; l++) {
		for (size_t e = 0; e < o->nengines; e++) {
			if (bench_absent(o->engine[e]) == NULL)
				print_phases(out, o->engine[e], bench_layout_name[o->layout[l]]);
		}
	}
	printf("\n");
	for (size_t i = 0; i < out->nresults; i++) {
		const struct bench_result *const r = &out->result[i];

		if (r->why != NULL && strcmp(r->why, bench_not_offered) != 0)
			printf("no %s of %s at %llu slots: %s\n", r->row.name, r->row.engine,
			       (unsigned long long)r->row.slots, r->why);
		else if (r->why == NULL && r->row.repetitions < o->repetitions)
			printf("%s of %s at %llu slots: only %u repetitions\n", r->row.name,
			       r->row.engine, (unsigned long long)r->row.slots, r->row.repetitions);
	}
}

/* ---- The run ---------------------------------------------------------------- */

static void keep(struct bench_output *out, const struct bench_row *row, const char *why)
{
	out->result = cli_grow(out->result, out->nresults, &out->cap, sizeof(*out->result));
	out->result[out->nresults++] =
	    (struct bench_result){.row = *row, .why = why != NULL ? cli_strdup(why) : NULL};
}

/* Before the first result of another case or layout. A second value's row follows its first. */
static void before(struct bench_output *out, const struct bench_row *row)
{
	const struct bench_result *const last =
	    out->nresults > out->nprinted ? &out->result[out->nprinted] : NULL;
	bool same = last == NULL;

	progress_clear(&out->progress);
	if (out->o->json || out->o->table2021)
		return;
	for (size_t i = out->nprinted; i < out->nresults && !same; i++)
		same = in_table(&out->result[i], &(struct bench_result){.row = *row});
	for (size_t i = 0; i < bench_ncases && !same; i++)
		same =
		    bench_cases[i].second != NULL && strcmp(bench_cases[i].second, row->name) == 0;
	if (!same)
		print_tables(out);
}

static void put_row(void *ctx, const struct bench_row *row)
{
	struct bench_output *const out = ctx;

	before(out, row);
	keep(out, row, NULL);
	if (out->o->json)
		json_row(row);
}

static void put_skipped(void *ctx, const struct bench_row *row, const char *why)
{
	struct bench_output *const out = ctx;

	before(out, row);
	keep(out, row, why);
	if (out->o->json)
		json_skipped(row, why);
}

static void put_progress(void *ctx, const char *what, uint64_t done, uint64_t total)
{
	struct bench_output *const out = ctx;

	progress_update(&out->progress, what, done, total);
}

struct bench_sink bench_output_sink(struct bench_output *out)
{
	return (struct bench_sink){
	    .ctx = out, .row = put_row, .skipped = put_skipped, .progress = put_progress};
}

static void print_engines(const struct bench_options *o)
{
	static const struct table_column column[] = {{"engine", 0}, {"version", 0}, {"what", 0}};
	struct table t;

	table_init(&t, column, sizeof(column) / sizeof(column[0]));
	for (size_t i = 0; i < o->nengines; i++) {
		if (bench_absent(o->engine[i]) != NULL)
			continue;
		table_add(&t, "%s", o->engine[i]->name);
		table_add(&t, "%s", bench_version(o->engine[i]));
		table_add(&t, "%s", o->engine[i]->what);
	}
	table_print(&t, stdout);
	table_fini(&t);
	for (size_t i = 0; i < o->nengines; i++) {
		if (bench_absent(o->engine[i]) != NULL)
			printf("absent: %s: %s\n", o->engine[i]->name, bench_absent(o->engine[i]));
	}
	printf("\n");
}

void bench_output_begin(struct bench_output *out, const struct bench_options *o)
{
	*out = (struct bench_output){.o = o};
	progress_init(&out->progress);
	if (!o->json && o->maps)
		print_engines(o);
	for (size_t i = 0; i < o->nengines && o->json && o->maps; i++)
		json_engine(o->engine[i]);
	for (size_t i = 0; i < bench_nfloors; i++) {
		struct bench_row row;

		bench_floor(i, &row, o->repetitions);
		out->floor = i == 0 ? row.value : out->floor;
		if (o->json)
			json_row(&row);
		else
			printf("%s: %.2f ns/op (%.2f to %.2f), %s\n", row.name, row.value, row.min,
			       row.max, row.what);
	}
	fflush(stdout);
}

void bench_output_end(struct bench_output *out)
{
	progress_clear(&out->progress);
	if (out->o->json)
		return;
	if (out->o->table2021)
		print_2021(out);
	else
		print_tables(out);
}

void bench_output_fini(struct bench_output *out)
{
	for (size_t i = 0; i < out->nresults; i++)
		free(out->result[i].why);
	free(out->result);
}
