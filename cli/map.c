/* SPDX-License-Identifier: MIT */
/* map.c - the verb `mslot map`. */
#include "map.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "table.h"

enum output {
	OUTPUT_TABLE,
	OUTPUT_JSON,
	OUTPUT_DUMP,
};

struct options {
	struct map_trace from;
	bool live;
	uint32_t space; /* MSLOT_MAX_SPACES: all */
	const char *svg;
	bool json;
	bool dump;
};

static void print_help(void)
{
	printf(
	    "Usage: mslot map [OPTION]... TRACE\n"
	    "       mslot map [OPTION]... --live\n"
	    "Show the guest-physical map that a recorded stream of memory-slot requests has made\n"
	    "at a moment: slots and what is between by rising address, what is read-only or "
	    "logged, and\n"
	    "which slots show the same host memory (aliases).\n\n"
	    "With --live, show a map of this very process: that of a small PC over 272 MiB of\n"
	    "fresh memory with two address spaces, made through the library in one transaction\n"
	    "and written out by its function mslot_dump(). The text is a trace that 'mslot "
	    "replay'\n"
	    "and 'mslot map' read.\n\n"
	    "Options:\n"
	    "  --at T       after the requests up to T seconds, also inside a group (default:\n"
	    "               the end)\n"
	    "  --space N    only address space N, 0 to %u (default: all)\n"
	    "  --svg FILE   also draw the map to FILE\n"
	    "  --json       one JSON object a slot instead of the table\n"
	    "  --dump       the text of mslot_dump() instead of the table\n"
	    "  --live       a map of this process, as with --dump unless --json is given\n"
	    "  --help       print this text and exit\n\n"
	    "Exit status: 0, 1 a file is bad or the trace does not reach T, 2 the command line is\n"
	    "wrong.\n",
	    MSLOT_MAX_SPACES - 1);
}

static int parse_at(struct options *o, const char *text)
{
	o->from.has_at = true;
	o->from.at_text = text;
	if (trace_seconds(text, &o->from.at_ns))
		return 0;
	return cli_usage(MAP_VERB, "--at: expected seconds from 0, got '%s'", text);
}

static int parse_space(struct options *o, const char *text)
{
	uint64_t n;

	if (!cli_number(text, MSLOT_MAX_SPACES - 1, &n))
		return cli_usage(MAP_VERB, "--space: expected a number from 0 to %u, got '%s'",
				 MSLOT_MAX_SPACES - 1, text);
	o->space = (uint32_t)n;
	return 0;
}

/* What options cannot be together, and the one TRACE. Returns -1 to go on. */
static int check_options(struct options *o, int argc, char **argv)
{
	if (o->json && o->dump)
		return cli_usage(MAP_VERB, "--json excludes --dump");
	if ((o->dump || (o->live && !o->json)) && o->space != MSLOT_MAX_SPACES)
		return cli_usage(MAP_VERB,
				 "a dump has all spaces: --space needs the table or --json");
	if (o->live && o->from.has_at)
		return cli_usage(MAP_VERB, "--live excludes --at");
	if (o->live && optind < argc)
		return cli_usage(MAP_VERB, "unexpected argument '%s' with --live", argv[optind]);
	if (o->live)
		return -1;
	if (optind >= argc)
		return cli_usage(MAP_VERB, "expected a TRACE or --live");
	if (optind + 1 < argc)
		return cli_usage(MAP_VERB, "expected one TRACE, got '%s' too", argv[optind + 1]);
	o->from.path = argv[optind];
	return -1;
}

/* Returns -1 to go on, or the exit status. */
static int parse_options(struct options *o, int argc, char **argv)
{
	static const struct option option[] = {
	    {"at", required_argument, NULL, 'a'},  {"space", required_argument, NULL, 's'},
	    {"svg", required_argument, NULL, 'v'}, {"json", no_argument, NULL, 'j'},
	    {"dump", no_argument, NULL, 'd'},      {"live", no_argument, NULL, 'l'},
	    {"help", no_argument, NULL, 'h'},      {NULL, 0, NULL, 0},
	};
	int c, ret = 0;

	while ((c = getopt_long(argc, argv, "h", option, NULL)) != -1) {
		if (c == 'h') {
			print_help();
			return CLI_OK;
		}
		if (c == '?')
			return cli_usage_hint(MAP_VERB);
		o->live |= c == 'l';
		o->json |= c == 'j';
		o->dump |= c == 'd';
		if (c == 'v')
			o->svg = optarg;
		if (c == 'a')
			ret = parse_at(o, optarg);
		if (c == 's')
			ret = parse_space(o, optarg);
		if (ret != 0)
			return ret;
	}
	return check_options(o, argc, argv);
}

/* ---- Output ------------------------------------------------------------------ */

static const struct table_column column[] = {
    {"range", 0}, {"size", 1}, {"kind", 0}, {"flags", 0}, {"slot", 1}, {"host", 1}, {"alias of", 0},
};

static const char *kind_of(const struct mslot_slot_info *slot)
{
	return (slot->flags & MSLOT_READONLY) != 0 ? "rom" : "ram";
}

static const char *twin_text(char text[32], const struct map_row *row)
{
	if (row->ntwins == 0)
		return "";
	snprintf(text, 32, "slot %" PRIu32 "%s", row->twin.id, row->ntwins > 1 ? ", ..." : "");
	return text;
}

static void add_hole(struct table *t, uint64_t start, uint64_t end)
{
	char size[SVG_BYTES_MAX];

	table_add(t, "0x%016" PRIx64 "-0x%016" PRIx64, start, end - 1);
	table_add(t, "%s", svg_bytes(size, end - start));
	table_add(t, "-");
	for (int i = 0; i < 4; i++)
		table_add(t, "%s", "");
}

static void add_row(struct table *t, const struct map_row *row)
{
	const struct mslot_slot_info *const slot = &row->slot;
	char size[SVG_BYTES_MAX], twin[32];

	table_add(t, "0x%016" PRIx64 "-0x%016" PRIx64, slot->gpa, slot->gpa + slot->len_bytes - 1);
	table_add(t, "%s", svg_bytes(size, slot->len_bytes));
	table_add(t, "%s", kind_of(slot));
	table_add(t, "%s", (slot->flags & MSLOT_LOG_DIRTY) != 0 ? "log" : "");
	table_add(t, "%" PRIu32, slot->key.id);
	table_add(t, "0x%" PRIx64, slot->hva);
	table_add(t, "%s", twin_text(twin, row));
}

static void print_space(const struct map_view *v, uint32_t space)
{
	char size[SVG_BYTES_MAX], count[32];
	size_t first, end;
	uint64_t at = 0;
	struct table t;

	end = map_view_space(v, space, &first);
	if (first == end)
		return;
	printf("\nspace %" PRIu32 ": %s slot%s, %s\n", space, svg_count(count, end - first),
	       end - first == 1 ? "" : "s", svg_bytes(size, map_view_bytes(v, first, end)));
	table_init(&t, column, sizeof(column) / sizeof(column[0]));
	for (size_t i = first; i < end; i++) {
		const struct mslot_slot_info *const slot = &v->row[i].slot;

		if (slot->gpa > at)
			add_hole(&t, at, slot->gpa);
		add_row(&t, &v->row[i]);
		at = slot->gpa + slot->len_bytes;
	}
	table_print(&t, stdout);
	table_fini(&t);
}

static void print_table(const struct map_view *v)
{
	printf("%s: guest-physical map, %s\n", v->title, v->when);
	if (v->nrows == 0)
		printf("\nno slots\n");
	for (uint32_t space = 0; space < v->nspaces; space++)
		print_space(v, space);
}

static void print_json(const struct map_view *v)
{
	char twin[32];
	struct json j;

	for (size_t i = 0; i < v->nrows; i++) {
		const struct mslot_slot_info *const slot = &v->row[i].slot;

		json_begin(&j, stdout);
		json_count(&j, "space", slot->key.space);
		json_count(&j, "slot", slot->key.id);
		json_count(&j, "gpa", slot->gpa);
		json_count(&j, "bytes", slot->len_bytes);
		json_text(&j, "kind", kind_of(slot));
		json_count(&j, "flags", slot->flags);
		json_count(&j, "host", slot->hva);
		json_text(&j, "alias_of", twin_text(twin, &v->row[i]));
		json_end(&j);
	}
}

static int write_stdout(void *ctx, const char *text, size_t len_bytes)
{
	(void)ctx;
	/* What could not be written is reported when the command ends. */
	return fwrite(text, 1, len_bytes, stdout) == len_bytes ? 0 : -1;
}

static int show(const struct options *o, const struct map_source *src, enum output output)
{
	const struct mslot_snapshot *const snap = mslot_enter(src->map);
	struct map_view v;
	int ret = 0;

	map_view_init(&v, snap, o->space);
	if (output == OUTPUT_DUMP)
		mslot_dump(snap, write_stdout, NULL);
	mslot_leave(snap);
	v.title = src->title;
	v.when = src->when;
	if (output == OUTPUT_JSON)
		print_json(&v);
	if (output == OUTPUT_TABLE)
		print_table(&v);
	if (o->svg != NULL)
		ret = map_draw(&v, o->svg);
	map_view_fini(&v);
	return ret;
}

int map_main(int argc, char **argv)
{
	struct options o = {.space = MSLOT_MAX_SPACES};
	struct map_source src;
	enum output output;
	int ret = parse_options(&o, argc, argv);

	if (ret >= 0)
		return ret;
	output = o.json ? OUTPUT_JSON : o.dump || o.live ? OUTPUT_DUMP : OUTPUT_TABLE;
	ret = o.live ? map_from_live(&src) : map_from_trace(&src, &o.from);
	if (ret < 0)
		return CLI_FAILED;
	ret = show(&o, &src, output);
	map_source_fini(&src);
	return ret < 0 ? CLI_FAILED : CLI_OK;
}
