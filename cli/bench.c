/* SPDX-License-Identifier: MIT */
/* bench.c - the verb `mslot bench`: its options and what is run with them. */
#include "bench.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "lines.h"
#include "svg.h"

#define VERB BENCH_VERB
#define REPETITIONS 9u
#define MAX_SLOTS (UINT64_C(1) << 22)
#define NAMES_MAX 1500u /* bytes of all names of a kind in one message */

static const uint64_t quick_slots[] = {10, 509, 32764};
static const uint64_t usual_slots[] = {10, 30, 50, 100, 509, 4096, 32764};

/* ---- Names ------------------------------------------------------------------ */

/* What an option's list is made of: the name of entry i, or NULL behind the last. */
typedef const char *(*name_fn)(size_t i);

static const char *case_name(size_t i)
{
	return i < bench_ncases ? bench_cases[i].name : NULL;
}

static const char *layout_name(size_t i)
{
	return i < LAYOUT_COUNT ? bench_layout_name[i] : NULL;
}

static const char *engine_name(size_t i)
{
	return i < bench_nengines ? bench_engines[i]->name : NULL;
}

static const char *names(char text[NAMES_MAX], name_fn name)
{
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; name(i) != NULL && len < NAMES_MAX; i++)
		len += (size_t)snprintf(text + len, NAMES_MAX - len, "%s%s", i > 0 ? ", " : "",
					name(i));
	return text;
}

static bool find_name(const char *wanted, name_fn name, size_t *i)
{
	for (*i = 0; name(*i) != NULL; ++*i) {
		if (strcmp(wanted, name(*i)) == 0)
			return true;
	}
	return false;
}

/* The entries that a list names, each once, in the order of the names. 0 or CLI_USAGE. */
static int parse_names(const char *what, char *text, name_fn name, bool chosen[BENCH_MAX_LIST])
{
	char *field[BENCH_MAX_LIST], all[NAMES_MAX];
	const size_t n = lines_split(text, ',', field, BENCH_MAX_LIST);
	size_t k;

	memset(chosen, 0, BENCH_MAX_LIST * sizeof(*chosen));
	for (size_t i = 0; i < n && i < BENCH_MAX_LIST; i++) {
		if (!find_name(field[i], name, &k))
			return cli_usage(VERB, "--%s: unknown %s '%s'; known are %s", what, what,
					 field[i], names(all, name));
		chosen[k] = true;
	}
	return 0;
}

static int parse_layouts(struct bench_options *o, char *text)
{
	bool chosen[BENCH_MAX_LIST];
	const int ret = parse_names("layout", text, layout_name, chosen);

	o->nlayouts = 0;
	for (size_t i = 0; i < LAYOUT_COUNT && ret == 0; i++) {
		if (chosen[i])
			o->layout[o->nlayouts++] = (enum bench_layout)i;
	}
	return ret;
}

static int parse_engines(struct bench_options *o, char *text)
{
	bool chosen[BENCH_MAX_LIST];
	const int ret = parse_names("engine", text, engine_name, chosen);

	o->nengines = 0;
	for (size_t i = 0; i < bench_nengines && ret == 0; i++) {
		if (chosen[i])
			o->engine[o->nengines++] = bench_engines[i];
	}
	return ret;
}

/* ---- Options ---------------------------------------------------------------- */

static void print_help(void)
{
	printf("Usage: mslot bench [OPTION]... [CASE]...\n"
	       "Measure the library on this machine beside other designs and what Debian has of\n"
	       "others; without CASE the cases marked *. Cases:\n\n");
	for (size_t i = 0; i < bench_ncases; i++)
		printf("  %-18s %c %s\n", bench_cases[i].name,
		       (bench_cases[i].flags & CASE_QUICK) != 0 ? '*' : ' ', bench_cases[i].what);
	printf("  %-18s   %s\n  %-18s   %s\n", "table2021",
	       "the phases of the kernel's memslot_perf_test: those from", "",
	       "move-active to unmap-2m, and setup");
	printf("  %-18s   %s\n  %-18s   %s\n", "dirty",
	       "leases, marks and harvests of dirty pages: those from lease to", "",
	       "log-resident, with engines, sizes and layouts of their own");
	printf("  %-18s   %s\n  %-18s   %s\n", "mmu",
	       "translation tables: those from mmu-hit to mmu-zap, with engines,", "",
	       "sizes and layouts of their own; ten minutes, a few GiB of memory");
	printf("  %-18s   %s\n\nEngines:\n\n", "all", "every case but those of dirty and mmu");
	for (size_t i = 0; i < bench_nengines; i++)
		printf("  %-18s   %s\n", bench_engines[i]->name, bench_engines[i]->what);
	printf(
	    "\nThe median, lowest and highest of the repetitions, and multiples of the machine's\n"
	    "floor, a load from the L1 cache whose address is the load before. Cases of one "
	    "thread\n"
	    "are measured in CPU time (of all threads where they edit), cases of two by the wall\n"
	    "clock.\n\n"
	    "Options (of which the first three are not for the groups dirty and mmu):\n"
	    "  --slots N,N...     slots in the map (default 10,509,32764; for cases that are "
	    "named\n"
	    "                     10,30,50,100,509,4096,32764)\n"
	    "  --layout L,L...    random (default), contiguous, skewed\n"
	    "  --engine E,E...    engines to measure (default all)\n"
	    "  --repetitions N    of which the median counts, 1 to %u (default %u)\n"
	    "  --quick            small sizes in the group mmu: whether it works, not how well\n"
	    "  --json             one JSON object a line instead of tables\n"
	    "  --svg FILE         draw the results, too\n"
	    "  --help             print this text and exit\n",
	    BENCH_MAX_REPETITIONS, REPETITIONS);
}

/* In the order given, each once. */
static int parse_counts(struct bench_options *o, char *text)
{
	char *field[BENCH_MAX_LIST];
	const size_t n = lines_split(text, ',', field, BENCH_MAX_LIST);

	if (n > BENCH_MAX_LIST)
		return cli_usage(VERB, "--slots: expected at most %u numbers", BENCH_MAX_LIST);
	o->nslots = 0;
	for (size_t i = 0; i < n; i++) {
		uint64_t slots;
		size_t same = 0;

		if (!cli_number(field[i], MAX_SLOTS, &slots) || slots == 0)
			return cli_usage(VERB, "--slots: expected numbers from 1 to %u, got '%s'",
					 (unsigned int)MAX_SLOTS, field[i]);
		while (same < o->nslots && o->slots[same] != slots)
			same++;
		if (same == o->nslots)
			o->slots[o->nslots++] = slots;
	}
	return 0;
}

static int parse_repetitions(struct bench_options *o, const char *text)
{
	uint64_t n;

	if (!cli_number(text, BENCH_MAX_REPETITIONS, &n) || n == 0)
		return cli_usage(VERB, "--repetitions: expected a number from 1 to %u, got '%s'",
				 BENCH_MAX_REPETITIONS, text);
	o->repetitions = (unsigned int)n;
	return 0;
}

static bool in_alias(const char *alias, const struct bench_case *c)
{
	const bool dirty = (c->flags & CASE_DIRTY) != 0, mmu = (c->flags & CASE_MMU) != 0;

	return (strcmp(alias, "all") == 0 && !dirty && !mmu) ||
	       (strcmp(alias, "dirty") == 0 && dirty) || (strcmp(alias, "mmu") == 0 && mmu) ||
	       (strcmp(alias, "table2021") == 0 && (c->flags & CASE_2021) != 0);
}

/* Named cases in the order of the list; returns -1 to go on, or CLI_USAGE. */
static int choose_cases(struct bench_options *o, int argc, char **argv)
{
	bool chosen[BENCH_MAX_LIST] = {false};
	char all[NAMES_MAX];

	o->table2021 = optind < argc;
	for (int a = optind; a < argc; a++) {
		bool known = false;

		o->table2021 &= strcmp(argv[a], "table2021") == 0;
		for (size_t i = 0; i < bench_ncases; i++) {
			if (in_alias(argv[a], &bench_cases[i]) ||
			    strcmp(argv[a], bench_cases[i].name) == 0)
				known = chosen[i] = true;
		}
		if (!known)
			return cli_usage(VERB,
					 "unknown case '%s'; known are %s, table2021, dirty, mmu, "
					 "all",
					 argv[a], names(all, case_name));
	}
	for (size_t i = 0; i < bench_ncases; i++) {
		const struct bench_case *const c = &bench_cases[i];

		if (optind == argc)
			chosen[i] = (c->flags & CASE_QUICK) != 0;
		if (chosen[i])
			o->cases[o->ncases++] = c;
		o->maps |= chosen[i] && c->group == NULL;
	}
	return -1;
}

static void set_defaults(struct bench_options *o)
{
	*o = (struct bench_options){.layout = {LAYOUT_RANDOM},
				    .nlayouts = 1,
				    .nengines = bench_nengines,
				    .repetitions = REPETITIONS};
	for (size_t i = 0; i < bench_nengines; i++)
		o->engine[i] = bench_engines[i];
}

static void default_slots(struct bench_options *o, bool quick)
{
	const size_t n = quick ? sizeof(quick_slots) / sizeof(quick_slots[0])
			       : sizeof(usual_slots) / sizeof(usual_slots[0]);

	memcpy(o->slots, quick ? quick_slots : usual_slots, n * sizeof(o->slots[0]));
	o->nslots = n;
}

static int take_option(struct bench_options *o, int c)
{
	switch (c) {
	case 's':
		return parse_counts(o, optarg);
	case 'l':
		return parse_layouts(o, optarg);
	case 'e':
		return parse_engines(o, optarg);
	case 'r':
		return parse_repetitions(o, optarg);
	case 'q':
		o->quick = true;
		return 0;
	case 'j':
		o->json = true;
		return 0;
	case 'v':
		if (optarg[0] == '\0')
			return cli_usage(VERB, "--svg: expected a file name, got ''");
		o->svg = optarg;
		return 0;
	default:
		return cli_usage_hint(VERB);
	}
}

/* Returns -1 to go on, or the exit status. */
static int parse_options(struct bench_options *o, int argc, char **argv)
{
	static const struct option option[] = {
	    {"slots", required_argument, NULL, 's'},
	    {"layout", required_argument, NULL, 'l'},
	    {"engine", required_argument, NULL, 'e'},
	    {"repetitions", required_argument, NULL, 'r'},
	    {"quick", no_argument, NULL, 'q'},
	    {"json", no_argument, NULL, 'j'},
	    {"svg", required_argument, NULL, 'v'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	int c, ret = 0;

	set_defaults(o);
	while (ret == 0 && (c = getopt_long(argc, argv, "h", option, NULL)) != -1) {
		if (c == 'h') {
			print_help();
			return CLI_OK;
		}
		ret = take_option(o, c);
	}
	if (ret == 0)
		ret = choose_cases(o, argc, argv);
	if (ret < 0 && o->nslots == 0)
		default_slots(o, optind == argc);
	return ret;
}

/* ---- The run ---------------------------------------------------------------- */

static int run(struct bench_output *out, const struct bench_options *o)
{
	const struct engine *present[BENCH_MAX_LIST];
	struct bench_plan plan = {
	    .cases = o->cases,
	    .ncases = o->ncases,
	    .layout = o->layout,
	    .nlayouts = o->nlayouts,
	    .slots = o->slots,
	    .nslots = o->nslots,
	    .engine = present,
	    .bare_call = bench_bare_calls,
	    .repetitions = o->repetitions,
	    .quick = o->quick,
	};
	const struct bench_sink sink = bench_output_sink(out);
	char why[BENCH_WHY];
	int ret;

	for (size_t i = 0; i < o->nengines; i++) {
		if (bench_absent(o->engine[i]) == NULL)
			present[plan.nengines++] = o->engine[i];
	}
	bench_output_begin(out, o);
	if (plan.nengines == 0 && o->maps) {
		cli_error(VERB, "none of the chosen engines is here");
		return CLI_SKIPPED;
	}
	ret = bench_run(&plan, &sink, why);
	bench_output_end(out);
	if (ret < 0) {
		cli_error(VERB, "%s", why);
		return CLI_FAILED;
	}
	return o->svg != NULL && bench_svg(out) < 0 ? CLI_FAILED : CLI_OK;
}

int bench_main(int argc, char **argv)
{
	struct bench_options o;
	struct bench_output out;
	int ret = parse_options(&o, argc, argv);

	if (ret >= 0)
		return ret;
	/* Before all the work: afterwards it would be lost. */
	if (o.svg != NULL && svg_try(VERB, o.svg) < 0)
		return CLI_FAILED;
	ret = run(&out, &o);
	bench_output_fini(&out);
	return ret;
}
