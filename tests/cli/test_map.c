/* SPDX-License-Identifier: MIT */
/*
 * test_map.c - `mslot map` and the drawings: the table at any moment, dumps that read back,
 * bad command lines and files, and drawings in which no text covers another.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "run.h"

/* A group that moves slot 0 and makes an alias; then logging, and all goes. */
static const char small[] = "# a comment\n"
			    "0.000000 0 0 0 0x0 0x0 0x10000 0x0 ADD\n"
			    "0.100000 1 0 1 0x2 0xffff0000 0x10000 0x100000 ADD\n"
			    "0.200000 2 0 0 0x0 0x0 0x0 0x0 DEL HOLE=0x8000\n"
			    "0.300000 2 0 0 0x0 0x0 0x8000 0x0 ADD\n"
			    "0.400000 2 0 7 0x2 0xa000 0x2000 0x10e000 ADD\n"
			    "0.500000 3 0 0 0x1 0x0 0x8000 0x0 FLAGS\n"
			    "0.600000 4 2 9 0x3 0x100000000 0x180003000 0x200000 ADD\n";

static void run_ok(struct run *r, const char *const *argv)
{
	run_cli(r, argv);
	if (r->status != 0 || r->err[0] != '\0')
		fail_msg("%s: exit %d: %s", argv[0], r->status, r->err);
}

static char *data_path(const char *name)
{
	char *path = NULL;

	assert_non_null(getenv("MSLOT_DATA"));
	assert_true(asprintf(&path, "%s/%s", getenv("MSLOT_DATA"), name) > 0);
	return path;
}

static void all_traces(glob_t *g)
{
	char *const pattern = data_path("traces/*.txt");

	assert_int_equal(glob(pattern, 0, NULL, g), 0);
	assert_true(g->gl_pathc >= 10);
	free(pattern);
}

/* ---- The table ------------------------------------------------------------------- */

static const struct {
	const char *at;
	const char *lines[6]; /* in this order, all of them */
} moments[] = {
    {"0",
     {"at 0.000000 s, 1 of 7 requests", "space 0: 1 slot, 64 KiB",
      "0x0000000000000000-0x000000000000ffff  64 KiB  ram "}},
    {"0.2",
     {"at 0.200000 s, 3 of 7", "space 0: 1 slot, 64 KiB",
      "0x0000000000000000-0x00000000fffeffff  3.99 GiB  -",
      "0x00000000ffff0000-0x00000000ffffffff    64 KiB  rom             1  0x100000"}},
    /* Inside the group, between two requests. */
    {"0.35",
     {"at 0.350000 s, 4 of 7", "2 slots, 96 KiB",
      "0x0000000000000000-0x0000000000007fff    32 KiB  ram             0       0x0",
      "0x0000000000008000-0x00000000fffeffff  3.99 GiB  -"}},
    {"0.4",
     {"5 of 7", "3 slots, 104 KiB", "0x0000000000008000-0x0000000000009fff     8 KiB  -",
      "0x000000000000a000-0x000000000000bfff     8 KiB  rom             7  0x10e000  slot 1",
      "0x00000000ffff0000-0x00000000ffffffff    64 KiB  rom             1  0x100000  slot 7"}},
    {NULL,
     {"the end, 0.600000 s, 7 of 7", "space 0: 3 slots, 104 KiB", "ram   log       0",
      "space 2: 1 slot, 6.00 GiB", "0x0000000100000000-0x0000000280002fff  6.00 GiB  rom   log"}},
};

static void the_table_shows_the_moment(void **state)
{
	char *const name = run_file(small, sizeof(small) - 1, ".txt");
	struct run r;

	(void)state;
	for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
		const char *const argv[] = {"map", name, "--at", moments[i].at, NULL};
		const char *const at_end[] = {"map", name, NULL};
		const char *text;

		run_ok(&r, moments[i].at != NULL ? argv : at_end);
		text = r.out;
		for (size_t k = 0; k < 6 && moments[i].lines[k] != NULL; k++) {
			assert_contains(text, moments[i].lines[k]);
			text = strstr(text, moments[i].lines[k]) + 1;
		}
		run_free(&r);
	}
	run_unlink(name);
}

static void before_the_first_request_there_is_nothing(void **state)
{
	static const char late[] = "5 0 0 0 0x0 0x0 0x1000 0x0 ADD\n";
	char *const name = run_file(late, sizeof(late) - 1, ".txt");
	struct run r;

	(void)state;
	run_ok(&r, (const char *const[]){"map", "--at", "4.999999999", name, NULL});
	assert_contains(r.out, "0 of 1 requests\n\nno slots\n");
	run_free(&r);
	run_ok(&r, (const char *const[]){"map", "--at", "5.0", name, NULL});
	assert_contains(r.out, "1 slot, 4 KiB");
	run_free(&r);
	run_unlink(name);
}

static void a_space_can_be_shown_alone(void **state)
{
	char *const name = run_file(small, sizeof(small) - 1, ".txt");
	struct run r;

	(void)state;
	run_ok(&r, (const char *const[]){"map", "--space", "2", name, NULL});
	assert_contains(r.out, "space 2: 1 slot");
	assert_null(strstr(r.out, "space 0"));
	run_free(&r);
	run_ok(&r, (const char *const[]){"map", "--space", "15", name, NULL});
	assert_contains(r.out, "no slots");
	run_free(&r);
	run_unlink(name);
}

static void json_is_an_object_a_slot(void **state)
{
	char *const name = run_file(small, sizeof(small) - 1, ".txt");
	struct run r;

	(void)state;
	run_ok(&r, (const char *const[]){"map", "--json", name, NULL});
	assert_string_equal(
	    r.out, "{\"space\":0,\"slot\":0,\"gpa\":0,\"bytes\":32768,\"kind\":\"ram\","
		   "\"flags\":1,\"host\":0,\"alias_of\":\"\"}\n"
		   "{\"space\":0,\"slot\":7,\"gpa\":40960,\"bytes\":8192,\"kind\":\"rom\","
		   "\"flags\":2,\"host\":1105920,\"alias_of\":\"slot 1\"}\n"
		   "{\"space\":0,\"slot\":1,\"gpa\":4294901760,\"bytes\":65536,\"kind\":\"rom\","
		   "\"flags\":2,\"host\":1048576,\"alias_of\":\"slot 7\"}\n"
		   "{\"space\":2,\"slot\":9,\"gpa\":4294967296,\"bytes\":6442463232,"
		   "\"kind\":\"rom\",\"flags\":3,\"host\":2097152,\"alias_of\":\"\"}\n");
	run_free(&r);
	run_unlink(name);
}

/* ---- Dumps ------------------------------------------------------------------------ */

/* What a dump says is replayed without a hole, and its dump is the same text. */
static void assert_reads_back(const char *dump)
{
	char *const name = run_file(dump, strlen(dump), ".txt");
	struct run r;

	run_ok(&r, (const char *const[]){"map", "--dump", name, NULL});
	assert_string_equal(r.out, dump);
	run_free(&r);
	run_ok(&r, (const char *const[]){"replay", "--seconds", "0", "--readers", "1", name, NULL});
	run_free(&r);
	run_unlink(name);
}

static void every_trace_dumps_what_reads_back(void **state)
{
	struct run r, table, again;
	glob_t g;

	(void)state;
	all_traces(&g);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		char *name;

		run_ok(&r, (const char *const[]){"map", "--dump", g.gl_pathv[i], NULL});
		assert_contains(r.out, " ADD\n");
		assert_reads_back(r.out);
		/* And the slots are those of the table, which does not come from the dump. */
		name = run_file(r.out, strlen(r.out), ".txt");
		run_ok(&table, (const char *const[]){"map", "--json", g.gl_pathv[i], NULL});
		run_ok(&again, (const char *const[]){"map", "--json", name, NULL});
		assert_string_equal(table.out, again.out);
		run_free(&table);
		run_free(&again);
		run_free(&r);
		run_unlink(name);
	}
	globfree(&g);
}

static void a_live_map_reads_back(void **state)
{
	struct run r;

	(void)state;
	run_ok(&r, (const char *const[]){"map", "--live", NULL});
	assert_contains(r.out, "# mslot dump 1: 7 slots, 0x11100000 bytes\n");
	assert_contains(r.out, "0.000000 0 1 1 0x2 0xe0000 0x20000 0x");
	assert_reads_back(r.out);
	run_free(&r);
	run_ok(&r, (const char *const[]){"map", "--live", "--json", "--space", "0", NULL});
	assert_contains(r.out, "\"slot\":1,\"gpa\":917504,\"bytes\":131072,\"kind\":\"rom\"");
	assert_contains(r.out, "\"alias_of\":\"slot 4\"");
	run_free(&r);
	/* What the other space shows too is no alias. */
	run_ok(&r, (const char *const[]){"map", "--live", "--json", "--space", "1", NULL});
	assert_contains(r.out, "\"space\":1,\"slot\":1,");
	assert_null(strstr(r.out, "\"alias_of\":\"slot"));
	run_free(&r);
}

/* ---- What is refused ---------------------------------------------------------------- */

static void wrong_command_lines_exit_2(void **state)
{
	static const struct {
		const char *argv[8];
		const char *message;
	} wrong[] = {
	    {{"map"}, "mslot map: expected a TRACE or --live"},
	    {{"map", "a", "b"}, "expected one TRACE, got 'b' too"},
	    {{"map", "--frob"}, "mslot map: unrecognized option '--frob'"},
	    {{"map", "--svg"}, "option '--svg' requires an argument"},
	    {{"map", "--at", "-1", "t"}, "--at: expected seconds from 0, got '-1'"},
	    {{"map", "--at", "x", "t"}, "--at: expected seconds from 0, got 'x'"},
	    {{"map", "--at", "", "t"}, "--at: expected seconds from 0, got ''"},
	    {{"map", "--at", "nan", "t"}, "--at: expected seconds from 0"},
	    {{"map", "--at", "1e3", "t"}, "--at: expected seconds from 0"},
	    {{"map", "--at", "1.", "t"}, "--at: expected seconds from 0"},
	    {{"map", "--space", "16", "t"}, "--space: expected a number from 0 to 15"},
	    {{"map", "--live", "t"}, "unexpected argument 't' with --live"},
	    {{"map", "--live", "--at", "1"}, "--live excludes --at"},
	    {{"map", "--json", "--dump", "t"}, "--json excludes --dump"},
	    {{"map", "--space", "0", "--dump", "t"}, "--space needs the table or --json"},
	    {{"map", "--space", "0", "--live"}, "--space needs the table or --json"},
	    {{"replay", "--svg", "f", "a", "b"}, "--svg: expected one TRACE, got 2"},
	    {{"replay", "--svg"}, "option '--svg' requires an argument"},
	};
	struct run r;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		run_cli(&r, wrong[i].argv);
		if (r.status != 2)
			fail_msg("case %zu: exit status %d: %s", i, r.status, r.err);
		assert_contains(r.err, wrong[i].message);
		assert_contains(r.err, "--help' for more");
		assert_string_equal(r.out, "");
		run_free(&r);
	}
}

/* Exit 1, the message, and no result. */
static void assert_fails(const char *const *argv, const char *message)
{
	struct run r;

	run_cli(&r, argv);
	if (r.status != 1)
		fail_msg("expected exit 1 and '%s', got exit %d and '%s'", message, r.status,
			 r.err);
	assert_contains(r.err, message);
	run_free(&r);
}

static void bad_files_and_times_exit_1(void **state)
{
	static const char overlap[] = "0.1 0 0 0 0x0 0x0 0x4000 0x0 ADD\n"
				      "0.2 1 0 1 0x0 0x3000 0x1000 0x0 ADD\n";
	static const char cut[] = "0.1 0 0 0 0x0 0x0 0x4000 0x0 AD";
	char *const good = run_file(small, sizeof(small) - 1, ".txt");
	char *const bad = run_file(overlap, sizeof(overlap) - 1, ".txt");
	char *const half = run_file(cut, sizeof(cut) - 1, ".txt");

	(void)state;
	assert_fails((const char *const[]){"map", "/nonexistent", NULL},
		     "mslot map: /nonexistent: cannot open");
	assert_fails((const char *const[]){"map", half, NULL}, ":1: expected a newline");
	assert_fails((const char *const[]){"map", bad, NULL},
		     ":2: expected a request that the map accepts, got File exists");
	assert_fails((const char *const[]){"map", "--at", "0.600001", good, NULL},
		     "--at: expected seconds from 0 to 0.600000, the last request, got '0.600001'");
	assert_fails((const char *const[]){"map", "--at", "99999999999999999999", good, NULL},
		     "--at: expected seconds from 0 to 0.600000");
	run_unlink(good);
	run_unlink(bad);
	run_unlink(half);
}

static void drawings_that_cannot_be_written_exit_1(void **state)
{
	char *const name = run_file(small, sizeof(small) - 1, ".txt");

	(void)state;
	assert_fails((const char *const[]){"map", "--svg", "/nonexistent/x.svg", name, NULL},
		     "mslot map: /nonexistent/x.svg: cannot write: No such file");
	assert_fails((const char *const[]){"map", "--svg", "/dev/full", name, NULL},
		     "mslot map: /dev/full: cannot write: No space left");
	assert_fails((const char *const[]){"replay", "--seconds", "0", "--svg",
					   "/nonexistent/x.svg", name, NULL},
		     "mslot replay: /nonexistent/x.svg: cannot write: No such file");
	assert_fails(
	    (const char *const[]){"replay", "--seconds", "0", "--svg", "/dev/full", name, NULL},
	    "mslot replay: /dev/full: cannot write: No space left");
	run_unlink(name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_table_shows_the_moment),
	    cmocka_unit_test(before_the_first_request_there_is_nothing),
	    cmocka_unit_test(a_space_can_be_shown_alone),
	    cmocka_unit_test(json_is_an_object_a_slot),
	    cmocka_unit_test(every_trace_dumps_what_reads_back),
	    cmocka_unit_test(a_live_map_reads_back),
	    cmocka_unit_test(wrong_command_lines_exit_2),
	    cmocka_unit_test(bad_files_and_times_exit_1),
	    cmocka_unit_test(drawings_that_cannot_be_written_exit_1),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
