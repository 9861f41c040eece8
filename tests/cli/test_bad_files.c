/* SPDX-License-Identifier: MIT */
/*
 * test_bad_files.c - bad traces and logs through the command: the message names file and
 * line and what was expected, the exit status is 1, and nothing crashes.
 *
 * test_trace.c has every refusal of the readers; here are one of each kind, and what only
 * the map can refuse.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

#define LOG "seq,slot,flags,gpa,size,hva,ret,errno,class\n"
#define ADD0 "0.1 0 0 0 0x0 0x0 0x4000 0x0 ADD\n"
#define BYTES(text) text, sizeof(text) - 1

struct bad {
	const char *bytes;
	size_t len;
	const char *expected; /* behind the file's name */
};

static const struct bad traces[] = {
    {BYTES(""), ":1: expected a request, got the end of the file"},
    {BYTES("\x7f"
	   "ELF\x01"),
     ":1: expected text, got a byte 0x7f"},
    {BYTES("\0\0\0\0"), ":1: expected text, got a byte 0x00"},
    {BYTES(ADD0 "0.2 1 0 0 0x0 0x0 0x0 0x0 D"), ":2: expected a newline at the end of the line"},
    {BYTES(ADD0 "zero 1 0 0 0x0 0x0 0x0 0x0 DEL\n"), ":2: expected a time in seconds, got 'zero'"},
    {BYTES(ADD0 "0.2 1 0 x 0x0 0x0 0x0 0x0 DEL\n"), ":2: expected a slot from 0 to 65535"},
    {BYTES(ADD0 "0.2 1 0 0 0x0 0x0 0x0 0x0 ZAP\n"), ":2: expected the kind ADD, DEL or FLAGS"},
    {BYTES(ADD0 "0.2 1 0 1 0x8 0x8000 0x1000 0x0 ADD\n"), ":2: expected flags from 0x0 to 0x3"},
    {BYTES(ADD0 "0.2 1 0 1 0x0 0x8001 0x1000 0x0 ADD\n"), ":2: expected a page-aligned"},
    {BYTES("0 1 0 1 0x0 0xfffffffffffff000 0x2000 0x0 ADD\n"), ":1: expected gpa + size below"},
    {BYTES("0 1 0 0 0x0 0x0 0x1000 0x0 ADD\n0 0 0 1 0x0 0x9000 0x1000 0x0 ADD\n"),
     ":2: expected a group number (tx) of at least 1, got '0'"},
    {BYTES(ADD0 "0.2 1 0 1 0x0 0x0 0x0 0x0 DEL\n"), ":2: expected a slot that exists"},
    /* What the map refuses, one by one and as transactions. */
    {BYTES(ADD0 "0.2 1 0 1 0x0 0x3000 0x1000 0x0 ADD\n"),
     ":2: expected a request that the map accepts, got File exists"},
    {BYTES("# c\n0 0 0 0 0x0 0x10000000000000 0x1000 0x0 ADD\n"),
     ":2: expected a request that the map accepts, got Invalid argument"},
    {BYTES("0 0 0 40000 0x0 0x0 0x1000 0x0 ADD\n"),
     ":1: expected a request that the map accepts, got Invalid argument"},
    /* What no process could have: host memory beyond user space. */
    {BYTES("0 0 0 0 0x0 0x0 0x1000 0x7ffffffff000 ADD\n"),
     ":1: expected hva + size up to 0x7ffffffff000, got '0x1000'"},
    {BYTES("0 0 0 0 0x0 0x0 0x1000 0xfffffffffffff000 ADD\n"),
     ":1: expected hva + size up to 0x7ffffffff000, got '0x1000'"},
};

static const struct bad logs[] = {
    {BYTES(""), ":1: expected the header seq,slot,flags"},
    {BYTES("\0\1\2\3\n"), ":1: expected text, got a byte 0x00"},
    {BYTES("seq;slot\n"), ":1: expected the header seq,slot,flags"},
    {BYTES(LOG), ":2: expected a request, got the end of the file"},
    {BYTES(LOG "0,0,0,0x0,0x1000,0x0,0,0,create\n1,0,0,0x0"), ":3: expected a newline at the end"},
    {BYTES(LOG "1,0,0,0x0,0x1000,0x0,0,0,create\n"), ":2: expected the next seq"},
    {BYTES(LOG "0,0,0,zero,0x1000,0x0,0,0,create\n"), ":2: expected a hexadecimal gpa, got 'zero'"},
    {BYTES(LOG "0,0,0,0x0,0x1000,0x0,-1,0,create\n"), ":2: expected errno 0 with ret 0"},
    {BYTES(LOG "0,0,0,0x0,0x1000\n"), ":2: expected seq,slot,flags"},
};

/* Run and expect exit 1, a message and no results. */
static void check(const char *const *argv, const char *name, const char *expected)
{
	char message[512];
	struct run r;

	snprintf(message, sizeof(message), "%s%s", name, expected);
	run_cli(&r, argv);
	if (r.status != 1 || strstr(r.err, message) == NULL)
		fail_msg("expected exit 1 and '%s', got exit %d and '%s'", message, r.status,
			 r.err);
	assert_string_equal(r.out, "");
	run_free(&r);
}

static void bad_traces_exit_1_with_file_and_line(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(traces) / sizeof(traces[0]); i++) {
		char *const name = run_file(traces[i].bytes, traces[i].len, ".txt");

		check((const char *const[]){"replay", "--json", "--as", "kvm", name, NULL}, name,
		      traces[i].expected);
		check((const char *const[]){"replay", "--json", "--as", "transactions", name, NULL},
		      name, traces[i].expected);
		run_unlink(name);
	}
}

static void bad_logs_exit_1_with_file_and_line(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(logs) / sizeof(logs[0]); i++) {
		char *const name = run_file(logs[i].bytes, logs[i].len, ".csv");

		check((const char *const[]){"oracle", "--json", "--log", name, NULL}, name,
		      logs[i].expected);
		run_unlink(name);
	}
}

static void files_that_cannot_be_read_exit_1(void **state)
{
	(void)state;
	check((const char *const[]){"replay", "--json", "/nonexistent", NULL}, "/nonexistent",
	      ": cannot open: No such file");
	check((const char *const[]){"oracle", "--json", "--log", "/nonexistent", NULL},
	      "/nonexistent", ": cannot open: No such file");
	check((const char *const[]){"replay", "--json", "/", NULL}, "/", ": cannot read: Is a dir");
	check((const char *const[]){"oracle", "--json", "--log", "/", NULL}, "/",
	      ": cannot read: Is a dir");
}

/* Every prefix of a good trace is refused, or is a shorter good trace. */
static void cutting_a_trace_anywhere_never_crashes(void **state)
{
	static const char text[] = "# comment\n" ADD0 "0.2 1 0 0 0x0 0x0 0x0 0x0 DEL HOLE=0x2000\n"
				   "0.3 1 0 0 0x2 0x0 0x2000 0x0 ADD\n";
	struct run r;

	(void)state;
	for (size_t len = 0; len < sizeof(text); len += 3) {
		char *const name = run_file(text, len, ".txt");

		run_cli(&r, (const char *const[]){"replay", "--seconds", "0", name, NULL});
		if (r.status != 0 && (r.status != 1 || strstr(r.err, name) == NULL))
			fail_msg("cut at %zu: exit %d: %s", len, r.status, r.err);
		run_free(&r);
		run_unlink(name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bad_traces_exit_1_with_file_and_line),
	    cmocka_unit_test(bad_logs_exit_1_with_file_and_line),
	    cmocka_unit_test(files_that_cannot_be_read_exit_1),
	    cmocka_unit_test(cutting_a_trace_anywhere_never_crashes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
