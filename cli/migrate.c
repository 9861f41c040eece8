/* SPDX-License-Identifier: MIT */
/* migrate.c - the verb `mslot migrate-demo`: options, two processes, and what it says. */
#include "migrate.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "svg.h"
#include "table.h"

#define VERB MIGRATE_VERB
#define MIN_SIZE (UINT64_C(1) << 20)
#define MAX_SIZE                                                                                   \
	(UINT64_C(64) << 30) /* also what guest addresses have room for: invariant 2 of            \
			      * migrate_change.c */
#define MAX_TRANSACTIONS 100000u
#define MAX_MARK 1000000000u

static void print_help(void)
{
	printf(
	    "Usage: mslot migrate-demo [OPTION]...\n"
	    "Move a guest's memory to another process while it is written and its map changes.\n\n"
	    "vCPUs write random pages in every way that the library has, a device completes\n"
	    "writes through leases later, and transactions split, merge and move slots, plug\n"
	    "memory in and unplug it. Rounds of harvesting and sending dirty pages bring the\n"
	    "memory to the other process over a socket; then the guest stops and the rest is\n"
	    "sent. At last all pages of both processes are compared.\n\n"
	    "Options:\n"
	    "  --size BYTES         guest memory at the beginning, with K, M or G behind the\n"
	    "                       number if wanted, 1M to 64G (default 1G)\n"
	    "  --writers N          writing vCPUs, 1 to %u (default 2)\n"
	    "  --transactions N     transactions during the rounds, up to %u (default 1000)\n"
	    "  --rounds N           rounds before the stop, 1 to %u (default 3)\n"
	    "  --seed N             what the threads choose (default 1)\n"
	    "  --break mark:N       fail on purpose: every N-th write through host addresses\n"
	    "                       is not marked as dirty\n"
	    "  --break flush        fail on purpose: the batch of the last round before the stop\n"
	    "                       is acknowledged without having been sent\n"
	    "  --json               JSON objects instead of the table: one a round, then the\n"
	    "                       outcome on the last line\n"
	    "  --svg FILE           also draw dirty pages and dirty rate over the rounds to FILE\n"
	    "  -q, --quiet          only the outcome\n"
	    "  --help               print this text and exit\n\n"
	    "Exit status: 0 no page was lost, 1 pages were lost or the migration failed, 2 the\n"
	    "command line is wrong.\n",
	    MIGRATE_MAX_WRITERS, MAX_TRANSACTIONS, MIGRATE_MAX_ROUNDS);
}

/* ---- Options ------------------------------------------------------------------------- */

static int parse_size(struct migrate_options *o, const char *text)
{
	static const char unit[] = "KMG";
	const size_t len = strlen(text);
	const char *const found = len > 1 ? strchr(unit, text[len - 1]) : NULL;
	char digits[24];
	uint64_t n;

	snprintf(digits, sizeof(digits), "%.*s", (int)(len - (found != NULL)), text);
	if (len < sizeof(digits) && cli_number(digits, MAX_SIZE, &n)) {
		const unsigned int shift =
		    found != NULL ? 10 * (unsigned int)(found - unit + 1) : 0;

		if (n <= MAX_SIZE >> shift && n << shift >= MIN_SIZE &&
		    (n << shift) % MIGRATE_PAGE == 0) {
			o->size_bytes = n << shift;
			return 0;
		}
	}
	return cli_usage(
	    VERB, "--size: expected a size from 1M to 64G, a multiple of 4096, got '%s'", text);
}

static int parse_break(struct migrate_options *o, const char *text)
{
	static const char mark[] = "mark:";

	o->break_text = text;
	if (strcmp(text, "flush") == 0) {
		o->broken = MIGRATE_BREAK_FLUSH;
		return 0;
	}
	if (strncmp(text, mark, strlen(mark)) == 0 &&
	    cli_number(text + strlen(mark), MAX_MARK, &o->mark_every) && o->mark_every > 0) {
		o->broken = MIGRATE_BREAK_MARK;
		return 0;
	}
	return cli_usage(VERB, "--break: expected mark:N with N above 0, or flush, got '%s'", text);
}

static int parse_count(const char *option, const char *text, const uint64_t range[2], uint64_t *out)
{
	uint64_t n;

	if (!cli_number(text, range[1], &n) || n < range[0])
		return cli_usage(VERB, "%s: expected a number from %llu to %llu, got '%s'", option,
				 (unsigned long long)range[0], (unsigned long long)range[1], text);
	*out = n;
	return 0;
}

static int parse_unsigned(const char *option, const char *text, unsigned int max, unsigned int *out)
{
	uint64_t n = 0;
	const int ret = parse_count(option, text, (const uint64_t[]){1, max}, &n);

	*out = ret == 0 ? (unsigned int)n : *out;
	return ret;
}

static int take_option(struct migrate_options *o, int c)
{
	switch (c) {
	case 'z':
		return parse_size(o, optarg);
	case 'w':
		return parse_unsigned("--writers", optarg, MIGRATE_MAX_WRITERS, &o->nwriters);
	case 't':
		return parse_count("--transactions", optarg,
				   (const uint64_t[]){0, MAX_TRANSACTIONS}, &o->ntransactions);
	case 'r':
		return parse_unsigned("--rounds", optarg, MIGRATE_MAX_ROUNDS, &o->nrounds);
	case 's':
		return parse_count("--seed", optarg, (const uint64_t[]){0, UINT64_MAX}, &o->seed);
	case 'b':
		return parse_break(o, optarg);
	case 'j':
		o->json = true;
		return 0;
	case 'q':
		o->quiet = true;
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
static int parse_options(struct migrate_options *o, int argc, char **argv)
{
	static const struct option option[] = {
	    {"size", required_argument, NULL, 'z'},
	    {"writers", required_argument, NULL, 'w'},
	    {"transactions", required_argument, NULL, 't'},
	    {"rounds", required_argument, NULL, 'r'},
	    {"seed", required_argument, NULL, 's'},
	    {"break", required_argument, NULL, 'b'},
	    {"json", no_argument, NULL, 'j'},
	    {"svg", required_argument, NULL, 'v'},
	    {"quiet", no_argument, NULL, 'q'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	int c, ret = 0;

	while (ret == 0 && (c = getopt_long(argc, argv, "hq", option, NULL)) != -1) {
		if (c == 'h') {
			print_help();
			return CLI_OK;
		}
		ret = take_option(o, c);
	}
	if (ret == 0 && optind < argc)
		ret = cli_usage(VERB, "unexpected argument '%s'", argv[optind]);
	return ret == 0 ? -1 : ret;
}

/* ---- Output ---------------------------------------------------------------------------- */

static double mib(uint64_t npages)
{
	return (double)(npages * MIGRATE_PAGE) / (1 << 20);
}

static double mib_per_s(const struct migrate_round *r)
{
	return r->send_ns > 0 ? mib(r->sent_pages) * 1e9 / (double)r->send_ns : 0;
}

static void print_table(const struct migrate_result *x)
{
	static const struct table_column column[] = {
	    {"round", 0}, {"dirty pages", 1}, {"sent", 1},         {"took", 1},
	    {"MiB/s", 1}, {"dirty rate", 1},  {"transactions", 1},
	};
	struct table t;

	table_init(&t, column, sizeof(column) / sizeof(column[0]));
	for (size_t i = 0; i < x->nrounds; i++) {
		const struct migrate_round *const r = &x->round[i];

		if (i + 1 < x->nrounds)
			table_add(&t, "%zu", i + 1);
		else
			table_add(&t, "stop");
		table_add_count(&t, r->dirty_pages);
		table_add(&t, "%.1f MiB", mib(r->sent_pages));
		table_add_ns(&t, r->ns);
		table_add(&t, "%.0f", mib_per_s(r));
		if (i > 0)
			table_add(&t, "%.0f pages/s", r->dirty_per_s);
		else
			table_add(&t, "-");
		table_add_count(&t, r->transactions);
	}
	table_print(&t, stdout);
	table_fini(&t);
}

static void print_intro(const struct migrate_options *o)
{
	char size[SVG_BYTES_MAX];

	printf(
	    "A guest with %s of memory moves to another process. Meanwhile %u vCPU%s and a "
	    "device write\n"
	    "its memory, and transactions change its memory map. A round sends the pages that "
	    "were written\n"
	    "since they were sent last, the first one all; for the last one the guest stops.\n\n",
	    svg_bytes(size, o->size_bytes), o->nwriters, o->nwriters == 1 ? "" : "s");
}

static void print_counts(const struct migrate_result *x)
{
	printf("\nTransactions: %llu splits, %llu merges, %llu moves, %llu plugs, %llu unplugs.\n"
	       "Writes: %llu by mslot_write(), %llu through host addresses, %llu atomic, "
	       "%llu through leases.\n",
	       (unsigned long long)x->nchanges[CHANGE_SPLIT],
	       (unsigned long long)x->nchanges[CHANGE_MERGE],
	       (unsigned long long)x->nchanges[CHANGE_MOVE],
	       (unsigned long long)x->nchanges[CHANGE_PLUG],
	       (unsigned long long)x->nchanges[CHANGE_UNPLUG],
	       (unsigned long long)x->nwrites[WRITE_COPY],
	       (unsigned long long)x->nwrites[WRITE_HOST],
	       (unsigned long long)x->nwrites[WRITE_ATOMIC],
	       (unsigned long long)x->nwrites[WRITE_LEASE]);
}

static void print_outcome(const struct migrate_result *x)
{
	printf("The guest stood for %.1f ms. ", (double)x->downtime_ns / 1e6);
	if (x->lost_pages == 0)
		printf("All %llu pages are the same on both sides: none was lost.\n",
		       (unsigned long long)x->pages_compared);
	else
		printf("Of %llu pages %llu differ: lost.\n", (unsigned long long)x->pages_compared,
		       (unsigned long long)x->lost_pages);
}

static void print_json_rounds(const struct migrate_result *x)
{
	for (size_t i = 0; i < x->nrounds; i++) {
		const struct migrate_round *const r = &x->round[i];
		struct json j;

		json_begin(&j, stdout);
		json_count(&j, "round", i + 1);
		json_bool(&j, "stop", i + 1 == x->nrounds);
		json_count(&j, "dirty_pages", r->dirty_pages);
		json_count(&j, "pages_sent", r->sent_pages);
		json_real(&j, "ms", (double)r->ns / 1e6);
		json_real(&j, "mib_per_s", mib_per_s(r));
		json_real(&j, "dirty_per_s", r->dirty_per_s);
		json_count(&j, "transactions", r->transactions);
		json_end(&j);
	}
}

static void print_json_outcome(const struct migrate_result *x)
{
	struct json j;

	json_begin(&j, stdout);
	json_count(&j, "rounds", x->nrounds - 1);
	json_count(&j, "pages_sent", x->pages_sent);
	json_count(&j, "lost_pages", x->lost_pages);
	json_count(&j, "downtime_ms", (x->downtime_ns + 999999) / 1000000);
	json_bool(&j, "digest_equal", x->digest_equal);
	json_count(&j, "transactions", x->round[x->nrounds - 1].transactions);
	json_end(&j);
}

static void print_result(const struct migrate_options *o, const struct migrate_result *x)
{
	if (o->json) {
		if (!o->quiet)
			print_json_rounds(x);
		print_json_outcome(x);
		return;
	}
	if (!o->quiet) {
		print_intro(o);
		print_table(x);
		print_counts(x);
	}
	print_outcome(x);
}

/* Say on stderr what was broken on purpose and what that did. Returns the exit status. */
static int judge(const struct migrate_options *o, const struct migrate_result *x)
{
	const bool lost = x->lost_pages > 0 || !x->digest_equal;

	if (o->broken == MIGRATE_BREAK_MARK)
		cli_error(VERB, "--break %s: %llu writes were not marked, %llu pages lost",
			  o->break_text, (unsigned long long)x->marks_dropped,
			  (unsigned long long)x->lost_pages);
	else if (o->broken == MIGRATE_BREAK_FLUSH)
		cli_error(VERB, "--break %s: %llu dirty pages were not sent, %llu pages lost",
			  o->break_text, (unsigned long long)x->pages_kept,
			  (unsigned long long)x->lost_pages);
	else if (lost)
		cli_error(VERB, "%llu pages lost, digests %s", (unsigned long long)x->lost_pages,
			  x->digest_equal ? "equal" : "differ");
	return lost ? CLI_FAILED : CLI_OK;
}

/* ---- Two processes ----------------------------------------------------------------------- */

/* Begin the destination; its end of the socket is closed here. Returns its id or -1. */
static pid_t start_destination(const int fd[2])
{
	pid_t pid;

	/* What is buffered is the source's to write. */
	fflush(stdout);
	fflush(stderr);
	pid = fork();
	if (pid == 0) {
		close(fd[0]);
		_exit(migrate_destination(fd[1]));
	}
	close(fd[1]);
	return pid;
}

static int migrate(const struct migrate_options *o, struct migrate_result *x)
{
	struct progress progress;
	int fd[2], status = 0, ret = -1;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0) {
		cli_error(VERB, "cannot make a socket: %s", strerror(errno));
		return -1;
	}
	/* Before there is any thread. */
	pid = start_destination(fd);
	if (pid < 0) {
		cli_error(VERB, "cannot start the destination: %s", strerror(errno));
	} else {
		progress_init(&progress);
		progress.shown &= !o->quiet;
		ret = migrate_source(o, fd[0], &progress, x);
	}
	close(fd[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (ret == 0 && status != 0) {
		cli_error(VERB, "the destination failed");
		ret = -1;
	}
	return ret;
}

int migrate_main(int argc, char **argv)
{
	static struct migrate_result result;
	struct migrate_options o = {.size_bytes = UINT64_C(1) << 30,
				    .nwriters = 2,
				    .ntransactions = 1000,
				    .nrounds = 3,
				    .seed = 1};
	int ret = parse_options(&o, argc, argv);

	if (ret >= 0)
		return ret;
	/* Before all the work: afterwards it would be lost. */
	if (o.svg != NULL && svg_try(VERB, o.svg) < 0)
		return CLI_FAILED;
	if (migrate(&o, &result) < 0)
		return CLI_FAILED;
	print_result(&o, &result);
	ret = judge(&o, &result);
	return o.svg != NULL && migrate_draw(&o, &result) < 0 ? CLI_FAILED : ret;
}
