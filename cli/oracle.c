/* SPDX-License-Identifier: MIT */
/* oracle.c - the verb `mslot oracle`. */
#include "oracle.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "table.h"

#define VERB "oracle"

struct options {
	const char **log;
	size_t nlogs;
	uint64_t nlive;
	uint64_t seed;
	bool seeded;
	bool json;
};

static void print_help(void)
{
	printf(
	    "Usage: mslot oracle --log FILE.csv... [--json]\n"
	    "       mslot oracle --live N [--seed S] [--json]\n"
	    "Send memory-slot requests to the library and compare every answer with a kernel's.\n\n"
	    "Options:\n"
	    "  --log FILE.csv...   requests and answers recorded from a kernel; each file goes\n"
	    "                      to a map of its own\n"
	    "  --live N            N random requests, also sent to this machine's /dev/kvm\n"
	    "  --seed S            of the random requests (default 1)\n"
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

static int check_options(struct options *o, int argc, char **argv, int first)
{
	if (o->nlogs == 0 && first < argc)
		return cli_usage(VERB, "unexpected argument '%s' without --log", argv[first]);
	for (; first < argc; first++)
		o->log[o->nlogs++] = argv[first];
	if (o->nlogs > 0 && (o->nlive > 0 || o->seeded))
		return cli_usage(VERB, "--log excludes --live and --seed");
	if (o->nlogs == 0 && o->nlive == 0)
		return cli_usage(VERB, "expected --log FILE.csv... or --live N with N above 0");
	return -1;
}

/* Returns -1 to go on, or the exit status. */
static int parse_options(struct options *o, int argc, char **argv)
{
	static const struct option option[] = {
	    {"log", required_argument, NULL, 'l'},  {"live", required_argument, NULL, 'n'},
	    {"seed", required_argument, NULL, 's'}, {"json", no_argument, NULL, 'j'},
	    {"help", no_argument, NULL, 'h'},       {NULL, 0, NULL, 0},
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
	status = CLI_OK;
	for (size_t i = 0; i < o.nlogs; i++) {
		if (oracle_log(&v, o.log[i], &progress) != CLI_OK)
			status = CLI_FAILED;
	}
	if (o.nlogs == 0)
		status = oracle_live(&v, o.nlive, o.seed, &progress);
	if (v.requests > 0)
		print_result(&o, &v);
	if (status == CLI_OK && v.mismatches > 0)
		status = CLI_FAILED;
	verdict_fini(&v);
	free(o.log);
	return status;
}
