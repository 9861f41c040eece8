/* SPDX-License-Identifier: MIT */
/* oracle.c - the verb `mslot oracle`. */
#include "oracle.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "oracle_dirty.h"
#include "table.h"

#define VERB "oracle"

struct options {
	const char **log;
	size_t nlogs;
	uint64_t nlive;
	uint64_t seed;
	const char *ask;
	const char *record;
	bool seeded;
	bool dirty;
	bool json;
};

static void print_help(void)
{
	printf(
	    "Usage: mslot oracle --log FILE.csv... [--json]\n"
	    "       mslot oracle --live N [--dirty] [--seed S] [--record OUT.csv] [--json]\n"
	    "       mslot oracle --ask FILE.csv [--record OUT.csv] [--json]\n"
	    "Send memory-slot requests to the library and compare every answer with a kernel's.\n\n"
	    "Options:\n"
	    "  --log FILE.csv...   requests and answers recorded from a kernel, of slots or of\n"
	    "                      dirty logs; each file goes to a map of its own\n"
	    "  --live N            N random requests, also sent to this machine's /dev/kvm\n"
	    "  --dirty             the random requests concern dirty logs, bitmaps included\n"
	    "  --seed S            of the random requests (default 1)\n"
	    "  --ask FILE.csv      send the requests of a recorded dirty log to /dev/kvm again\n"
	    "  --record OUT.csv    write requests and the kernel's answers, of --dirty or --ask\n"
	    "  --json              one JSON object for the whole run as the last line\n"
	    "  --help              print this text and exit\n\n"
	    "Exit status: 0 all answers are equal, 1 some differ or a log is bad, 2 the command\n"
	    "line is wrong, 77 there is no usable /dev/kvm.\n");
}

static int parse_number(const char *name, const char *text, uint64_t *out)
{
	if (cli_number(text, UINT64_MAX, out))
		return 0;
	return cli_usage(VERB, "--%s: expected a decimal number, got '%s'", name, text);
}

/* Which of --log, --live and --ask, and what does not go with it. */
static int check_source(const struct options *o)
{
	if (o->nlogs > 0 && (o->nlive > 0 || o->seeded))
		return cli_usage(VERB, "--log excludes --live and --seed");
	if (o->nlogs > 0 && (o->dirty || o->ask != NULL))
		return cli_usage(VERB, "--log excludes --dirty and --ask");
	if (o->ask != NULL && (o->nlive > 0 || o->seeded))
		return cli_usage(VERB, "--ask excludes --live and --seed");
	if (o->nlogs == 0 && o->nlive == 0 && o->ask == NULL)
		return cli_usage(VERB, "expected --log FILE.csv... or --live N with N above 0, "
				       "or --ask FILE.csv");
	if (o->record != NULL && !o->dirty && o->ask == NULL)
		return cli_usage(VERB, "--record needs --dirty or --ask");
	return -1;
}

static int check_options(struct options *o, int argc, char **argv, int first)
{
	if (o->nlogs == 0 && first < argc)
		return cli_usage(VERB, "unexpected argument '%s' without --log", argv[first]);
	for (; first < argc; first++)
		o->log[o->nlogs++] = argv[first];
	return check_source(o);
}

/* Returns -1 to go on, or the exit status. */
static int parse_options(struct options *o, int argc, char **argv)
{
	static const struct option option[] = {
	    {"log", required_argument, NULL, 'l'},
	    {"live", required_argument, NULL, 'n'},
	    {"seed", required_argument, NULL, 's'},
	    {"ask", required_argument, NULL, 'a'},
	    {"record", required_argument, NULL, 'r'},
	    {"dirty", no_argument, NULL, 'd'},
	    {"json", no_argument, NULL, 'j'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	int c, ret = 0;

	while (ret == 0 && (c = getopt_long(argc, argv, "h", option, NULL)) != -1) {
		switch (c) {
		case 'l':
			o->log[o->nlogs++] = optarg;
			break;
		case 'n':
			ret = parse_number("live", optarg, &o->nlive);
			break;
		case 's':
			ret = parse_number("seed", optarg, &o->seed);
			o->seeded = true;
			break;
		case 'a':
			o->ask = optarg;
			break;
		case 'r':
			o->record = optarg;
			break;
		case 'd':
			o->dirty = true;
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
	return ret != 0 ? ret : check_options(o, argc, argv, optind);
}

static int class_compare(const void *a, const void *b)
{
	return strcmp(((const struct verdict_class *)a)->name,
		      ((const struct verdict_class *)b)->name);
}

static void print_table(struct verdict *v)
{
	static const struct table_column column[] = {
	    {"class", 0}, {"requests", 1}, {"accepted", 1}, {"refused", 1}, {"mismatches", 1},
	};
	uint64_t accepted = 0;
	struct table t;

	table_init(&t, column, sizeof(column) / sizeof(column[0]));
	qsort(v->class, v->nclasses, sizeof(*v->class), class_compare);
	for (size_t i = 0; i < v->nclasses; i++) {
		const struct verdict_class *const c = &v->class[i];

		table_add(&t, "%s", c->name);
		table_add_count(&t, c->requests);
		table_add_count(&t, c->accepted);
		table_add_count(&t, c->requests - c->accepted);
		table_add_count(&t, c->mismatches);
		accepted += c->accepted;
	}
	table_add(&t, "all");
	table_add_count(&t, v->requests);
	table_add_count(&t, accepted);
	table_add_count(&t, v->requests - accepted);
	table_add_count(&t, v->mismatches);
	table_print(&t, stdout);
	table_fini(&t);
}

static void print_result(const struct options *o, struct verdict *v)
{
	struct json j;

	if (o->json) {
		json_begin(&j, stdout);
		json_count(&j, "requests", v->requests);
		json_count(&j, "mismatches", v->mismatches);
		json_end(&j);
		return;
	}
	printf("%sMemory-slot requests that a kernel answered, by what they tried; accepted and "
	       "refused\n"
	       "by the kernel; mismatches are answers of the library that differ.\n\n",
	       v->mismatches > 0 ? "\n" : "");
	print_table(v);
	printf("\n%s\n", v->mismatches == 0
			     ? "The library answered every request as the kernel did."
			     : "The library does not answer as the kernel does.");
}

static int run_logs(struct verdict *v, const struct options *o, struct progress *progress)
{
	int status = CLI_OK;

	for (size_t i = 0; i < o->nlogs; i++) {
		const char *const path = o->log[i];
		const int one = dirty_log_here(path) ? oracle_dirty_log(v, path, progress)
						     : oracle_log(v, path, progress);

		if (one != CLI_OK)
			status = CLI_FAILED;
	}
	return status;
}

static int run_live(struct verdict *v, const struct options *o, struct progress *progress)
{
	const struct dirty_live live = {o->ask, o->record, o->nlive, o->seed};

	return o->dirty || o->ask != NULL ? oracle_dirty_live(v, &live, progress)
					  : oracle_live(v, o->nlive, o->seed, progress);
}

int oracle_main(int argc, char **argv)
{
	struct options o = {.seed = 1};
	struct progress progress;
	struct verdict v = {0};
	int status;

	o.log = cli_alloc((size_t)argc, sizeof(*o.log));
	status = parse_options(&o, argc, argv);
	if (status >= 0) {
		free(o.log);
		return status;
	}
	v.report = o.json ? stderr : stdout;
	progress_init(&progress);
	status = o.nlogs > 0 ? run_logs(&v, &o, &progress) : run_live(&v, &o, &progress);
	if (v.requests > 0)
		print_result(&o, &v);
	if (status == CLI_OK && v.mismatches > 0)
		status = CLI_FAILED;
	verdict_fini(&v);
	free(o.log);
	return status;
}
