/* SPDX-License-Identifier: MIT */
/* replay.c - the verb `mslot replay`. */
#include "replay.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "table.h"

#define VERB "replay"
#define MAX_READERS 64u
#define MAX_SECONDS 3600u

struct options {
	bool as[2]; /* by enum replay_as */
	unsigned int nreaders;
	uint64_t free_ns;
	bool json;
	const char *svg;
	char **path;
	size_t npaths;
};

static const char *const as_name[] = {"kvm", "transactions"};

static void print_help(void)
{
	printf(
	    "Usage: mslot replay [OPTION]... TRACE...\n"
	    "Replay recorded streams of memory-slot requests into a map while readers look on.\n\n"
	    "After each published step every reader looks up the first byte, the middle and the\n"
	    "last byte of each piece of guest RAM that the step's group of requests keeps. A step\n"
	    "in which a reader missed one is a hole. Applied one by one the holes must be those\n"
	    "recorded in the trace; folded into transactions there must be none. Then readers\n"
	    "look up random RAM flat out while the writer replays the stream again and again.\n\n"
	    "Options:\n"
	    "  --as kvm|transactions|both   one request a step, one group a step, or both in\n"
	    "                               turn (default both)\n"
	    "  --readers N                  reading threads, 1 to %u (default 2)\n"
	    "  --seconds S                  length of the free-running phase of each trace and\n"
	    "                               way, up to %u; 0.1 is enough for a test (default 1)\n"
	    "  --svg FILE                   also draw the map over time to FILE, holes in red;\n"
	    "                               with one TRACE\n"
	    "  --json                       one JSON object a line instead of the table\n"
	    "  --help                       print this text and exit\n\n"
	    "Exit status: 0 the holes are as they must be, 1 they are not or a trace is bad,\n"
	    "2 the command line is wrong.\n",
	    MAX_READERS, MAX_SECONDS);
}

static int parse_as(struct options *o, const char *text)
{
	const bool both = strcmp(text, "both") == 0;

	o->as[REPLAY_KVM] = both || strcmp(text, as_name[REPLAY_KVM]) == 0;
	o->as[REPLAY_TRANSACTIONS] = both || strcmp(text, as_name[REPLAY_TRANSACTIONS]) == 0;
	if (o->as[REPLAY_KVM] || o->as[REPLAY_TRANSACTIONS])
		return 0;
	return cli_usage(VERB, "--as: expected kvm, transactions or both, got '%s'", text);
}

static int parse_readers(struct options *o, const char *text)
{
	uint64_t n;

	if (!cli_number(text, MAX_READERS, &n) || n == 0)
		return cli_usage(VERB, "--readers: expected a number from 1 to %u, got '%s'",
				 MAX_READERS, text);
	o->nreaders = (unsigned int)n;
	return 0;
}

static int parse_seconds(struct options *o, const char *text)
{
	char *end;
	const double s = strtod(text, &end);

	if (text[strspn(text, "0123456789.")] != '\0' || end == text || *end != '\0' ||
	    s > MAX_SECONDS)
		return cli_usage(VERB, "--seconds: expected seconds from 0 to %u, got '%s'",
				 MAX_SECONDS, text);
	o->free_ns = (uint64_t)(s * 1e9);
	return 0;
}

/* Returns -1 to go on, or the exit status. */
static int parse_options(struct options *o, int argc, char **argv)
{
	static const struct option option[] = {
	    {"as", required_argument, NULL, 'a'},
	    {"readers", required_argument, NULL, 'r'},
	    {"seconds", required_argument, NULL, 's'},
	    {"json", no_argument, NULL, 'j'},
	    {"svg", required_argument, NULL, 'v'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	int c, ret = 0;

	while ((c = getopt_long(argc, argv, "h", option, NULL)) != -1) {
		switch (c) {
		case 'a':
			ret = parse_as(o, optarg);
			break;
		case 'r':
			ret = parse_readers(o, optarg);
			break;
		case 's':
			ret = parse_seconds(o, optarg);
			break;
		case 'j':
			o->json = true;
			break;
		case 'v':
			o->svg = optarg;
			break;
		case 'h':
			print_help();
			return CLI_OK;
		default:
			return cli_usage_hint(VERB);
		}
		if (ret != 0)
			return ret;
	}
	o->path = argv + optind;
	o->npaths = (size_t)(argc - optind);
	if (o->svg != NULL && o->npaths > 1)
		return cli_usage(VERB, "--svg: expected one TRACE, got %zu", o->npaths);
	return o->npaths > 0 ? -1 : cli_usage(VERB, "expected a TRACE");
}

/* ---- Output ---------------------------------------------------------------- */

static const struct table_column column[] = {
    {"trace", 0},     {"applied", 0},   {"operations", 1}, {"groups", 1},
    {"published", 1}, {"holes", 1},     {"recorded", 1},   {"commit", 1},
    {"p99", 1},       {"lookups/s", 1}, {"missed", 1},
};

static void print_intro(const struct options *o)
{
	printf("A virtual machine monitor changed its guest's memory map, and the requests that it "
	       "made\n"
	       "of its hypervisor were recorded, one group for each change. Here they are replayed "
	       "while\n"
	       "%u reader%s look%s up guest RAM. A hole is a published step after which RAM was "
	       "missing that\n"
	       "exists before and after the step's group; 'recorded' is what the trace itself "
	       "notes.\n\n",
	       o->nreaders, o->nreaders == 1 ? "" : "s", o->nreaders == 1 ? "s" : "");
	fflush(stdout);
}

static uint64_t expected_holes(const struct replay *r)
{
	return r->as == REPLAY_KVM ? r->trace->nholes : 0;
}

static void add_row(struct table *t, const struct replay *r, const struct replay_result *x)
{
	table_add(t, "%s", r->trace->name);
	table_add(t, "%s", r->as == REPLAY_KVM ? "one by one" : "transactions");
	table_add_count(t, r->trace->nops);
	table_add_count(t, r->trace->ngroups);
	table_add_count(t, x->published);
	table_add_count(t, x->holes);
	if (r->as == REPLAY_KVM)
		table_add_count(t, r->trace->nholes);
	else
		table_add(t, "-");
	table_add_ns(t, x->commit_ns_median);
	table_add_ns(t, x->commit_ns_p99);
	table_add(t, "%.1f M", (double)x->lookups_per_s / 1e6);
	if (x->missed > 0)
		table_add(t, "%.4f %%", 100 * (double)x->missed / (double)x->lookups);
	else
		table_add(t, "0");
}

static void print_json(const struct replay *r, const struct replay_result *x)
{
	struct json j;

	json_begin(&j, stdout);
	json_text(&j, "trace", r->trace->name);
	json_text(&j, "as", as_name[r->as]);
	json_count(&j, "operations", r->trace->nops);
	json_count(&j, "groups", r->trace->ngroups);
	json_count(&j, "commits", x->published);
	json_count(&j, "holes", x->holes);
	json_count(&j, "lookups", x->lookups);
	json_count(&j, "lookups_per_s", x->lookups_per_s);
	json_count(&j, "commit_ns_median", x->commit_ns_median);
	json_count(&j, "commit_ns_p99", x->commit_ns_p99);
	json_count(&j, "slots", r->plan->max_slots);
	json_end(&j);
}

/* Say on stderr what differs from what must be. Returns whether something does. */
static bool report_difference(const struct replay *r, const struct replay_result *x)
{
	const uint64_t expected = expected_holes(r);

	if (x->holes != expected)
		cli_error(VERB, "%s as %s: expected %llu holes, got %llu", r->trace->path,
			  as_name[r->as], (unsigned long long)expected,
			  (unsigned long long)x->holes);
	if (r->as == REPLAY_TRANSACTIONS && x->missed > 0)
		cli_error(VERB, "%s as transactions: %llu free-running lookups missed RAM",
			  r->trace->path, (unsigned long long)x->missed);
	return x->holes != expected || (r->as == REPLAY_TRANSACTIONS && x->missed > 0);
}

/* ---- Running --------------------------------------------------------------- */

/* Totals over all traces, for the closing sentence. */
struct totals {
	uint64_t holes[2];
	bool failed;
};

static int replay_one(const struct options *o, const struct replay *r, struct table *t,
		      struct totals *sum)
{
	struct replay_result x = {0};
	struct lines_fault fault;
	int ret = lockstep_run(r, &x, &fault);

	if (ret == 0)
		ret = freerun_run(r, &x, &fault);
	progress_clear(r->progress);
	if (ret < 0) {
		lines_report(VERB, r->trace->path, &fault);
		return -1;
	}
	sum->failed |= report_difference(r, &x);
	sum->holes[r->as] += x.holes;
	if (o->json)
		print_json(r, &x);
	else
		add_row(t, r, &x);
	return 0;
}

static int replay_trace(const struct options *o, const char *path, struct progress *progress,
			struct table *t, struct totals *sum)
{
	struct lines_fault fault;
	struct trace trace;
	struct plan plan;
	int ret;

	ret = trace_read(&trace, path, &fault);
	if (ret < 0) {
		lines_report(VERB, path, &fault);
		return ret;
	}
	ret = plan_build(&plan, &trace, &fault);
	if (ret < 0)
		lines_report(VERB, path, &fault);
	for (int as = REPLAY_KVM; as <= REPLAY_TRANSACTIONS && ret == 0; as++) {
		const struct replay r = {
		    .trace = &trace,
		    .plan = &plan,
		    .as = (enum replay_as)as,
		    .nreaders = o->nreaders,
		    .free_ns = o->free_ns,
		    .progress = progress,
		};

		if (o->as[as])
			ret = replay_one(o, &r, t, sum);
	}
	if (ret == 0 && o->svg != NULL)
		ret = replay_draw(&trace, &plan, o->svg);
	plan_free(&plan);
	trace_free(&trace);
	return ret;
}

static void print_outro(const struct options *o, const struct totals *sum)
{
	printf("\n");
	if (o->as[REPLAY_KVM])
		printf("Applied one by one, as a kernel gets them, guest RAM was missing after "
		       "%llu steps.\n",
		       (unsigned long long)sum->holes[REPLAY_KVM]);
	if (o->as[REPLAY_TRANSACTIONS])
		printf("Applied as transactions, one for each group, it was missing after %llu.\n",
		       (unsigned long long)sum->holes[REPLAY_TRANSACTIONS]);
	printf(
	    "The last four columns were measured with readers and writer running freely, %.1f s a\n"
	    "row: commit is the median time of one change, of which 99 of 100 take no longer than "
	    "p99;\n"
	    "missed is how many lookups found nothing where RAM is in every state between "
	    "groups.\n",
	    (double)o->free_ns / 1e9);
}

int replay_main(int argc, char **argv)
{
	struct options o = {.as = {true, true}, .nreaders = 2, .free_ns = 1000000000};
	struct totals sum = {0};
	struct progress progress;
	struct table t;
	int ret = parse_options(&o, argc, argv);

	if (ret >= 0)
		return ret;
	progress_init(&progress);
	table_init(&t, column, sizeof(column) / sizeof(column[0]));
	for (size_t i = 0; i < o.npaths; i++) {
		if (replay_trace(&o, o.path[i], &progress, &t, &sum) < 0)
			sum.failed = true;
	}
	if (t.ncells > 0) {
		print_intro(&o);
		table_print(&t, stdout);
		print_outro(&o, &sum);
	}
	table_fini(&t);
	return sum.failed ? CLI_FAILED : CLI_OK;
}
