/* SPDX-License-Identifier: MIT */
/*
 * bench.h - what the parts of `mslot bench` share: what was chosen, the results as they come,
 * and the drawing of all of them. Measuring itself is bench/runner.h.
 */
#ifndef MSLOT_CLI_BENCH_H
#define MSLOT_CLI_BENCH_H

#include "bench/runner.h"
#include "progress.h"

#define BENCH_VERB "bench"
#define BENCH_MAX_LIST 64u /* entries of --slots and the like, cases, engines */

struct bench_options {
	const struct bench_case *cases[BENCH_MAX_LIST];
	size_t ncases;
	uint64_t slots[BENCH_MAX_LIST];
	size_t nslots;
	enum bench_layout layout[LAYOUT_COUNT];
	size_t nlayouts;
	const struct engine *engine[BENCH_MAX_LIST]; /* as chosen, absent ones too */
	size_t nengines;
	unsigned int repetitions;
	bool json;
	bool table2021; /* nothing but that group was asked for */
	bool maps;      /* a case was that is of no group with engines of its own */
	bool quick;
	const char *svg;
};

/* A row that was measured, or was not and why. */
struct bench_result {
	struct bench_row row;
	char *why; /* NULL: measured */
};

struct bench_output {
	const struct bench_options *o;
	struct progress progress;
	struct bench_result *result; /* all of the run, in order */
	size_t nresults;
	size_t cap;
	size_t nprinted; /* whose tables are out */
	double floor;    /* ns of the dependent L1 load; 0: not known yet */
};

/* Why an engine of the list cannot be measured here, or NULL. */
const char *bench_absent(const struct engine *engine);
/* Version of what an engine measures. */
const char *bench_version(const struct engine *engine);

/* First the engines with their versions and the absent ones, then the machine's floor. */
void bench_output_begin(struct bench_output *out, const struct bench_options *o);
struct bench_sink bench_output_sink(struct bench_output *out);
void bench_output_end(struct bench_output *out);
void bench_output_fini(struct bench_output *out);

/*
 * Draw what was measured to o->svg; 0, or -1 with a message printed. After a failure there is
 * no file that was not there before.
 */
int bench_svg(const struct bench_output *out);

/* What the numbers of a row's `slots` are, in small letters. */
const char *bench_axis(const struct bench_row *row);

/* Position of a row's engine in bench_engines[]. */
size_t bench_engine_index(const char *name);

#endif /* MSLOT_CLI_BENCH_H */
