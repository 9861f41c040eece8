/* SPDX-License-Identifier: MIT */
/* bench.c - the verb `mslot bench`. */
#include "bench.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "lines.h"
#include "progress.h"
#include "table.h"

#define VERB "bench"
#define REPETITIONS 9u
#define MAX_COUNTS 32u
#define MAX_SLOTS (UINT64_C(1) << 22)

struct options {
	bool chosen[16]; /* by index into bench_cases */
	uint64_t count[MAX_COUNTS];
	size_t ncounts;
	bool json;
};

struct bench_row {
	const char *name;
	const char *what;
	uint64_t slots;
	double value; /* median */
	double min;
	double max;
	enum bench_unit unit;
};

struct output {
	const struct options *o;
	struct progress progress;
	struct table table;
	double floor;
	uint64_t done;
	uint64_t total;
};

static const char *const unit_name[] = {"ns/op", "ms", "bytes"};
static const uint64_t memory_counts[] = {0, 1, 30, 32764};

static void print_help(void)
{
	printf("Usage: mslot bench [OPTION]... [CASE]...\n"
	       "Measure the library on this machine; without CASE all cases:\n\n");
	for (size_t i = 0; i < bench_ncases; i++)
		printf("  %-17s %s\n", bench_cases[i].name, bench_cases[i].what);
	printf("\nThe median, lowest and highest of %u repetitions, and as multiples of the case\n"
	       "'floor': the time of one load from the L1 cache whose address is the load before.\n"
	       "All of one thread are CPU times; edit-busy-* are wall-clock times.\n\n"
	       "Options:\n"
	       "  --slots N,N...   slots in the map (default 10,509,32764; memory 0,1,30,32764)\n"
	       "  --json           one JSON object a line instead of the table\n"
	       "  --help           print this text and exit\n",
	       REPETITIONS);
}

static int parse_counts(struct options *o, char *text)
{
	char *field[MAX_COUNTS];
	const size_t n = lines_split(text, ',', field, MAX_COUNTS);

	if (n > MAX_COUNTS)
		return cli_usage(VERB, "--slots: expected at most %u numbers", MAX_COUNTS);
	for (size_t i = 0; i < n; i++) {
		if (!cli_number(field[i], MAX_SLOTS, &o->count[i]) || o->count[i] == 0)
			return cli_usage(VERB, "--slots: expected numbers from 1 to %u, got '%s'",
					 (unsigned int)MAX_SLOTS, field[i]);
	}
	o->ncounts = n;
	return 0;
}

static int choose_cases(struct options *o, int argc, char **argv)
{
	for (int a = optind; a < argc; a++) {
		size_t i = 0;

		while (i < bench_ncases && strcmp(argv[a], bench_cases[i].name) != 0)
			i++;
		if (i == bench_ncases && strcmp(argv[a], "floor") != 0)
			return cli_usage(VERB, "unknown case '%s'", argv[a]);
		if (i < bench_ncases)
			o->chosen[i] = true;
	}
	for (size_t i = 0; i < bench_ncases && optind == argc; i++)
		o->chosen[i] = true;
	return -1;
}

/* Returns -1 to go on, or the exit status. */
static int parse_options(struct options *o, int argc, char **argv)
{
	static const struct option option[] = {
	    {"slots", required_argument, NULL, 's'},
	    {"json", no_argument, NULL, 'j'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	int c, ret = 0;

	while (ret == 0 && (c = getopt_long(argc, argv, "h", option, NULL)) != -1) {
		switch (c) {
		case 's':
			ret = parse_counts(o, optarg);
			break;
		case 'j':
			o->json = true;
			break;
		case 'h':
			print_help();
			return CLI_OK;
		default:
			return cli_usage_hint(VERB);
		}
	}
	return ret != 0 ? ret : choose_cases(o, argc, argv);
}

static void add_value(struct table *t, double value, enum bench_unit unit)
{
	if (unit == BENCH_BYTES)
		table_add_count(t, (uint64_t)value);
	else
		table_add(t, value < 100 ? "%.2f" : "%.0f", value);
}

static void put_row(struct output *out, const struct bench_row *row)
{
	struct table *const t = &out->table;
	struct json j;

	if (out->o->json) {
		json_begin(&j, stdout);
		json_text(&j, "case", row->name);
		json_text(&j, "engine", "mslot");
		json_text(&j, "layout", "random");
		json_count(&j, "slots", row->slots);
		json_real(&j, "value", row->value);
		json_real(&j, "min", row->min);
		json_real(&j, "max", row->max);
		json_text(&j, "unit", unit_name[row->unit]);
		json_end(&j);
		return;
	}
	table_add(t, "%s", row->name);
	table_add_count(t, row->slots);
	add_value(t, row->value, row->unit);
	add_value(t, row->min, row->unit);
	add_value(t, row->max, row->unit);
	table_add(t, "%s", unit_name[row->unit]);
	if (row->unit == BENCH_NS_PER_OP)
		table_add(t, "%.1f", row->value / out->floor);
	else
		table_add(t, "-");
	table_add(t, "%s", row->what);
}

static int value_compare(const void *pa, const void *pb)
{
	const double a = *(const double *)pa, b = *(const double *)pb;

	return (a > b) - (a < b);
}

static void summarize(struct bench_row *row, double *value)
{
	qsort(value, REPETITIONS, sizeof(*value), value_compare);
	row->value = value[REPETITIONS / 2];
	row->min = value[0];
	row->max = value[REPETITIONS - 1];
}

static int run_case(struct output *out, const struct bench_case *c, uint64_t slots)
{
	struct bench_row row = {.name = c->name, .what = c->what, .slots = slots, .unit = c->unit};
	struct bench_fixture f;
	double value[REPETITIONS] = {0};
	int ret = 0;

	if (!c->empty && bench_fixture_init(&f, slots) < 0)
		return -1;
	/* One repetition more than counted: the first warms caches and pools. */
	for (size_t i = 0; i <= REPETITIONS && ret == 0; i++) {
		progress_update(&out->progress, c->name, out->done++, out->total);
		if (c->empty && bench_fixture_init_empty(&f, slots) < 0)
			return -1;
		value[i % REPETITIONS] = c->run(&f);
		ret = value[i % REPETITIONS] < 0 ? -1 : 0;
		if (c->empty)
			bench_fixture_fini(&f);
	}
	if (!c->empty)
		bench_fixture_fini(&f);
	progress_clear(&out->progress);
	if (ret < 0)
		return ret;
	summarize(&row, value);
	put_row(out, &row);
	return 0;
}

static void run_floor(struct output *out)
{
	struct bench_row row = {.name = "floor", .what = "one dependent load from the L1 cache"};
	double value[REPETITIONS];

	for (size_t i = 0; i < REPETITIONS; i++)
		value[i] = bench_floor();
	summarize(&row, value);
	out->floor = row.value > 0 ? row.value : 1;
	put_row(out, &row);
}

/* The slot counts that a case is run with. */
static const uint64_t *counts_of(const struct options *o, const struct bench_case *c, size_t *n)
{
	static const uint64_t usual[] = {10, 509, 32764};

	*n = o->ncounts;
	if (*n > 0)
		return o->count;
	if (c->unit == BENCH_BYTES) {
		*n = sizeof(memory_counts) / sizeof(memory_counts[0]);
		return memory_counts;
	}
	*n = sizeof(usual) / sizeof(usual[0]);
	return usual;
}

static int run_cases(struct output *out)
{
	int ret = 0;
	size_t n;

	for (size_t i = 0; i < bench_ncases; i++) {
		counts_of(out->o, &bench_cases[i], &n);
		out->total += out->o->chosen[i] ? n * (REPETITIONS + 1) : 0;
	}
	run_floor(out);
	for (size_t i = 0; i < bench_ncases && ret == 0; i++) {
		const uint64_t *const count = counts_of(out->o, &bench_cases[i], &n);

		for (size_t k = 0; k < n && ret == 0 && out->o->chosen[i]; k++)
			ret = run_case(out, &bench_cases[i], count[k]);
	}
	return ret;
}

int bench_main(int argc, char **argv)
{
	static const struct table_column column[] = {
	    {"case", 0}, {"slots", 1}, {"median", 1},  {"min", 1},
	    {"max", 1},  {"unit", 0},  {"x floor", 1}, {"what is measured", 0},
	};
	struct options o = {0};
	struct output out = {.o = &o};
	int ret = parse_options(&o, argc, argv);

	if (ret >= 0)
		return ret;
	progress_init(&out.progress);
	table_init(&out.table, column, sizeof(column) / sizeof(column[0]));
	ret = run_cases(&out);
	if (!o.json)
		table_print(&out.table, stdout);
	table_fini(&out.table);
	return ret < 0 ? CLI_FAILED : CLI_OK;
}
