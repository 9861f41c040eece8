/* SPDX-License-Identifier: MIT */
/* test_usage.c - help, version and every way to misspell a command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "check.h"
#include "run.h"

#define MAX_ARGS 8

static void help_goes_to_stdout_and_names_every_verb(void **state)
{
	static const char *const verb[] = {"oracle", "replay",       "map",
					   "bench",  "migrate-demo", "kvm"};
	struct run r;

	(void)state;
	run_cli(&r, (const char *const[]){"--help", NULL});
	assert_int_equal(r.status, 0);
	assert_string_equal(r.err, "");
	for (size_t i = 0; i < sizeof(verb) / sizeof(verb[0]); i++)
		assert_contains(r.out, verb[i]);
	run_free(&r);
	for (size_t i = 0; i < sizeof(verb) / sizeof(verb[0]); i++) {
		run_cli(&r, (const char *const[]){verb[i], "--help", NULL});
		assert_int_equal(r.status, 0);
		assert_string_equal(r.err, "");
		assert_contains(r.out, "Usage: mslot ");
		assert_contains(r.out, verb[i]);
		assert_contains(r.out, "--json");
		run_free(&r);
	}
}

static void version_is_a_name_and_a_number(void **state)
{
	struct run r;

	(void)state;
	run_cli(&r, (const char *const[]){"--version", NULL});
	assert_int_equal(r.status, 0);
	assert_int_equal(strncmp(r.out, "mslot ", 6), 0);
	assert_true(strspn(r.out + 6, "0123456789.") > 2);
	run_free(&r);
}

static const struct {
	const char *argv[MAX_ARGS];
	const char *message; /* part of stderr */
	const char *more;    /* what to read, part of stderr */
} wrong[] = {
    {{NULL}, "mslot: expected a verb", "Try 'mslot --help'"},
    {{"frobnicate"}, "mslot: unknown verb 'frobnicate'", "Try 'mslot --help'"},
    {{"--frobnicate"}, "mslot: unknown option '--frobnicate'", "Try 'mslot --help'"},
    {{"replay"}, "mslot replay: expected a TRACE", "Try 'mslot replay --help'"},
    {{"replay", "--frob"}, "mslot replay: unrecognized option '--frob'", "Try 'mslot replay"},
    {{"replay", "--as"}, "mslot replay: option '--as' requires an argument", "Try 'mslot replay"},
    {{"replay", "--as", "x", "t"}, "--as: expected kvm, transactions or both, got 'x'", "Try"},
    {{"replay", "--readers", "0", "t"}, "--readers: expected a number from 1 to 64", "Try"},
    {{"replay", "--readers", "65", "t"}, "--readers: expected a number from 1", "Try"},
    {{"replay", "--readers", "two", "t"}, "--readers: expected a number from 1", "Try"},
    {{"replay", "--seconds", "-1", "t"}, "--seconds: expected seconds from 0", "Try"},
    {{"replay", "--seconds", "nan", "t"}, "--seconds: expected seconds from 0", "Try"},
    {{"replay", "--seconds", "", "t"}, "--seconds: expected seconds from 0", "Try"},
    {{"oracle"}, "mslot oracle: expected --log FILE.csv... or --live N", "Try 'mslot oracle"},
    {{"oracle", "x.csv"}, "unexpected argument 'x.csv' without --log", "Try 'mslot oracle"},
    {{"oracle", "--log"}, "mslot oracle: option '--log' requires an argument", "Try"},
    {{"oracle", "--live"}, "mslot oracle: option '--live' requires an argument", "Try"},
    {{"oracle", "--live", "0"}, "--live N with N above 0", "Try"},
    {{"oracle", "--live", "1e3"}, "--live: expected a decimal number, got '1e3'", "Try"},
    {{"oracle", "--live", "5", "--seed", "-1"}, "--seed: expected a decimal number", "Try"},
    {{"oracle", "--live", "5", "--log", "x"}, "--log excludes --live and --seed", "Try"},
    {{"oracle", "--log", "x", "--seed", "1"}, "--log excludes --live and --seed", "Try"},
    {{"oracle", "--log", "x", "--dirty"}, "--log excludes --dirty and --ask", "Try"},
    {{"oracle", "--log", "x", "--ask", "y"}, "--log excludes --dirty and --ask", "Try"},
    {{"oracle", "--ask", "x", "--live", "5"}, "--ask excludes --live and --seed", "Try"},
    {{"oracle", "--ask", "x", "--seed", "5"}, "--ask excludes --live and --seed", "Try"},
    {{"oracle", "--dirty"}, "or --live N with N above 0, or --ask FILE.csv", "Try"},
    {{"oracle", "--live", "5", "--record", "x"}, "--record needs --dirty or --ask", "Try"},
    {{"oracle", "--log", "x", "--record", "y"}, "--record needs --dirty or --ask", "Try"},
    {{"bench", "--frob"}, "mslot bench: unrecognized option '--frob'", "Try 'mslot bench"},
    {{"bench", "nothing"}, "mslot bench: unknown case 'nothing'", "Try 'mslot bench"},
    {{"bench", "nothing"}, "mmu-zap, table2021, dirty, mmu, all", "Try 'mslot bench"},
    {{"bench", "hva", "--engine", "mslot,"},
     "--engine: unknown engine ''; known are mslot,",
     "Try"},
    {{"bench", "--engine", "qemu"}, "unknown engine 'qemu'; known are mslot, mslot-avx2,", "Try"},
    {{"bench", "--layout", "x"}, "known are random, contiguous, skewed", "Try 'mslot bench"},
    {{"bench", "--repetitions", "0"}, "--repetitions: expected a number from 1 to 1000,", "Try"},
    {{"bench", "--slots", "0"}, "--slots: expected numbers from 1 to", "Try 'mslot bench"},
    {{"bench", "--svg", ""}, "--svg: expected a file name, got ''", "Try 'mslot bench"},
    {{"bench", "--slots", "10,,20"}, "--slots: expected numbers from 1 to", "Try"},
    {{"bench", "--slots", "99999999"}, "--slots: expected numbers from 1 to", "Try"},
    {{"migrate-demo", "x"}, "mslot migrate-demo: unexpected argument 'x'", "Try 'mslot migrate-"},
    {{"migrate-demo", "--size"}, "option '--size' requires an argument", "Try 'mslot migrate-"},
    {{"migrate-demo", "--size", ""}, "--size: expected a size from 1M to 64G, a mul", "Try"},
    {{"migrate-demo", "--size", "G"}, "--size: expected a size from 1M to 64G", "Try"},
    {{"migrate-demo", "--size", "1023K"}, "--size: expected a size from 1M to 64G", "Try"},
    {{"migrate-demo", "--size", "65G"}, "--size: expected a size from 1M to 64G", "Try"},
    {{"migrate-demo", "--size", "1048577"}, "a multiple of 4096, got '1048577'", "Try"},
    {{"migrate-demo", "--size", "64M "}, "--size: expected a size from 1M to 64G", "Try"},
    {{"migrate-demo", "--size", "18446744073709551616"}, "--size: expected a size", "Try"},
    {{"migrate-demo", "--writers", "0"}, "--writers: expected a number from 1 to 64", "Try"},
    {{"migrate-demo", "--writers", "65"}, "--writers: expected a number from 1 to 64", "Try"},
    {{"migrate-demo", "--rounds", "0"}, "--rounds: expected a number from 1 to 60", "Try"},
    {{"migrate-demo", "--rounds", "61"}, "--rounds: expected a number from 1 to 60", "Try"},
    {{"migrate-demo", "--transactions", "-1"}, "expected a number from 0 to 100000,", "Try"},
    {{"migrate-demo", "--seed", "0x1"}, "--seed: expected a number from 0 to", "Try"},
    {{"migrate-demo", "--break", "mark"}, "--break: expected mark:N with N above 0", "Try"},
    {{"migrate-demo", "--break", "mark:0"}, "or flush, got 'mark:0'", "Try 'mslot migrate-"},
    {{"migrate-demo", "--break", "flushes"}, "or flush, got 'flushes'", "Try 'mslot migrate-"},
    {{"migrate-demo", "--svg", ""}, "--svg: expected a file name, got ''", "Try"},
};

static void wrong_command_lines_exit_2_and_say_why(void **state)
{
	struct run r;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		run_cli(&r, wrong[i].argv);
		if (r.status != 2)
			fail_msg("case %zu: exit status %d: %s", i, r.status, r.err);
		assert_contains(r.err, wrong[i].message);
		assert_contains(r.err, wrong[i].more);
		assert_string_equal(r.out, "");
		run_free(&r);
	}
}

static void output_that_cannot_be_written_exits_1(void **state)
{
	static const char *const argv[] = {"-c", "\"$MSLOT_CLI\" --help >/dev/full", NULL};
	struct run r;

	(void)state;
	run_program(&r, "/bin/sh", argv, "");
	assert_int_equal(r.status, 1);
	assert_contains(r.err, "mslot: cannot write the output");
	run_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(help_goes_to_stdout_and_names_every_verb),
	    cmocka_unit_test(version_is_a_name_and_a_number),
	    cmocka_unit_test(wrong_command_lines_exit_2_and_say_why),
	    cmocka_unit_test(output_that_cannot_be_written_exits_1),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
