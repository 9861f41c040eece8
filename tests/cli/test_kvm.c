/* SPDX-License-Identifier: MIT */
/*
 * test_kvm.c - the verb `mslot kvm`: which programs it takes, how it ends, what it counts and
 * records; and, through kvm_program.c, descriptors that are duplicated, inherited and closed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "run.h"

static const char *program(void)
{
	return getenv("MSLOT_KVM_PROGRAM");
}

/* `mslot kvm ARGUMENTS`, up to NULL. */
static void run_kvm(struct run *r, const char *const *args)
{
	const char *argv[RUN_MAX_ARGS] = {"kvm"};

	for (size_t i = 0; args[i] != NULL; i++)
		argv[i + 1] = args[i];
	run_cli(r, argv);
}

#define KVM(r, ...) run_kvm(r, (const char *const[]){__VA_ARGS__, NULL})

static void expect(const struct run *r, int status, const char *message)
{
	if (r->status != status || strstr(r->err, message) == NULL)
		fail_msg("status %d, '%s'; expected %d, '%s'", r->status, r->err, status, message);
}

/* ---- What it takes ------------------------------------------------------ */

static void wrong_command_lines_are_refused(void **state)
{
	static const char *const wrong[][3] = {
	    {"expected a PROGRAM"},
	    {"expected a PROGRAM", "--stats"},
	    {"unrecognized option '--frob'", "--frob"},
	    {"requires an argument", "--trace"},
	    {"--json: only with --stats", "--json", "true"},
	};
	struct run r;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		run_kvm(&r, (const char *const[]){wrong[i][1], wrong[i][2], NULL});
		expect(&r, 2, wrong[i][0]);
		assert_contains(r.err, "Try 'mslot kvm --help'");
		run_free(&r);
	}
}

static void programs_that_cannot_be_served_are_named(void **state)
{
	char *text = run_file("just text\n", 10, ".txt");
	char *alien = run_file("\x7f"
			       "ELF\1\1\1",
			       7, "");
	struct run r;

	(void)state;
	KVM(&r, "no-such-program");
	expect(&r, 127, "mslot kvm: no-such-program: not found");
	run_free(&r);
	KVM(&r, "/no/such/program");
	expect(&r, 127, "mslot kvm: /no/such/program: No such file");
	run_free(&r);
	KVM(&r, text);
	expect(&r, 126, "cannot be executed");
	run_free(&r);
	KVM(&r, "/");
	expect(&r, 126, "mslot kvm: /: cannot be executed");
	run_free(&r);
	assert_int_equal(chmod(alien, 0700), 0);
	KVM(&r, alien);
	expect(&r, 126, "not a 64-bit program");
	run_free(&r);
	KVM(&r, getenv("MSLOT_KVM_STATIC"));
	expect(&r, 126, "statically linked");
	run_free(&r);
	KVM(&r, "--trace", "/no/such/file", program(), "hlt");
	expect(&r, 1, "--trace: /no/such/file: No such file");
	run_free(&r);
	run_unlink(text);
	run_unlink(alien);
}

static void scripts_are_what_their_interpreter_is(void **state)
{
	static const char sh[] = "#! /bin/sh -e\nexit 9\n";
	char fixed[4096];
	struct run r;
	char *script;

	(void)state;
	script = run_file(sh, sizeof(sh) - 1, "");
	assert_int_equal(chmod(script, 0700), 0);
	KVM(&r, script);
	expect(&r, 9, "");
	run_free(&r);
	run_unlink(script);
	snprintf(fixed, sizeof(fixed), "#!%s\n", getenv("MSLOT_KVM_STATIC"));
	script = run_file(fixed, strlen(fixed), "");
	assert_int_equal(chmod(script, 0700), 0);
	KVM(&r, script);
	expect(&r, 126, "statically linked");
	run_free(&r);
	run_unlink(script);
}

/* ---- How it ends -------------------------------------------------------- */

static void it_ends_as_the_program_does(void **state)
{
	struct run r;

	(void)state;
	for (int stats = 0; stats < 2; stats++) {
		run_kvm(&r, (const char *const[]){stats ? "--stats" : "--", program(), "status",
						  "42", NULL});
		expect(&r, 42, "");
		run_free(&r);
		run_kvm(&r,
			(const char *const[]){stats ? "--stats" : "--", program(), "killed", NULL});
		expect(&r, 128 + SIGKILL, stats ? "hlt 1" : "");
		run_free(&r);
	}
	/* What is behind the program's name is its own. */
	KVM(&r, "echo", "--stats", "--help");
	expect(&r, 0, "");
	assert_string_equal(r.out, "--stats --help\n");
	run_free(&r);
	KVM(&r, "--stats", "true");
	expect(&r, 0, "The program made no VM.");
	run_free(&r);
}

static void a_signal_for_the_command_is_for_the_program(void **state)
{
	static const char *const names[] = {"TERM", "HUP", "INT", "QUIT", "USR1", "USR2"};
	static const int signals[] = {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2};
	char line[512];
	struct run r;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		/* A shell cannot trap what was ignored when it began, as in the background. */
		signal(signals[i], SIG_DFL);
		snprintf(line, sizeof(line),
			 "'%s' kvm --stats sh -c 'trap \"exit 23\" %s; kill -%s $PPID; "
			 "for i in 1 2 3 4 5 6 7 8 9; do sleep 0.3; done'",
			 getenv("MSLOT_CLI"), names[i], names[i]);
		run_program(&r, "/bin/sh", (const char *const[]){"-c", line, NULL}, "");
		expect(&r, 23, "");
		run_free(&r);
	}
}

/* ---- What it counts and records ----------------------------------------- */

static void statistics_are_right_however_a_program_ends(void **state)
{
	struct run r;

	(void)state;
	KVM(&r, "--stats", "--json", program(), "quick-exit");
	assert_int_equal(r.status, 3);
	assert_contains(r.err, "\"vm\":1,");
	assert_contains(r.err, "\"vcpus\":1,\"slots\":1,\"commits\":1,\"instructions\":1,");
	assert_contains(r.err, "\"exit_hlt\":1,");
	run_free(&r);
	/* The child's VM has a record of its own; the parent ran four times, the child once. */
	KVM(&r, "--stats", "--json", program(), "fork");
	assert_int_equal(r.status, 0);
	assert_contains(r.err, "\"vm\":2,");
	assert_contains(r.err, "\"exit_hlt\":3,");
	assert_contains(r.err, "\"exit_hlt\":1,");
	run_free(&r);
}

static void a_trace_can_be_replayed(void **state)
{
	char *trace = run_file("", 0, ".txt");
	struct run r;

	(void)state;
	KVM(&r, "--trace", trace, program(), "hlt");
	expect(&r, 0, "");
	run_free(&r);
	run_cli(&r, (const char *const[]){"map", trace, NULL});
	assert_int_equal(r.status, 0);
	assert_contains(r.out, "2 MiB");
	run_free(&r);
	run_cli(&r, (const char *const[]){"replay", "--seconds", "0.1", trace, NULL});
	assert_int_equal(r.status, 0);
	run_free(&r);
	run_unlink(trace);
}

/* ---- Descriptors and signals of a program ------------------------------- */

static void programs_do_with_descriptors_what_they_like(void **state)
{
	static const char *const what[] = {"hlt",  "open", "dup",  "fork",
					   "exec", "ring", "look", "addresses"};
	struct run r;

	(void)state;
	for (size_t i = 0; i < sizeof(what) / sizeof(what[0]); i++) {
		KVM(&r, program(), what[i]);
		if (r.status != 0)
			fail_msg("%s: status %d, %s", what[i], r.status, r.err);
		run_free(&r);
	}
}

/* Each would hang for good, or fail, if a call could be interrupted in the middle. */
static void calls_are_not_interrupted(void **state)
{
	static const char *const what[] = {"generic", "sysv", "handler", "cancel"};
	struct run r;

	(void)state;
	for (size_t i = 0; i < sizeof(what) / sizeof(what[0]); i++) {
		KVM(&r, program(), what[i]);
		if (r.status != 0)
			fail_msg("%s: status %d, %s", what[i], r.status, r.err);
		run_free(&r);
	}
	KVM(&r, program(), "first-thread-ends");
	expect(&r, 7, "");
	run_free(&r);
}

static void its_own_faults_stay_its_own(void **state)
{
	struct run r;

	(void)state;
	KVM(&r, program(), "segv");
	expect(&r, 128 + SIGSEGV, "");
	assert_null(strstr(r.err, "kvm_program.c"));
	run_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(wrong_command_lines_are_refused),
	    cmocka_unit_test(programs_that_cannot_be_served_are_named),
	    cmocka_unit_test(scripts_are_what_their_interpreter_is),
	    cmocka_unit_test(it_ends_as_the_program_does),
	    cmocka_unit_test(a_signal_for_the_command_is_for_the_program),
	    cmocka_unit_test(statistics_are_right_however_a_program_ends),
	    cmocka_unit_test(a_trace_can_be_replayed),
	    cmocka_unit_test(programs_do_with_descriptors_what_they_like),
	    cmocka_unit_test(calls_are_not_interrupted),
	    cmocka_unit_test(its_own_faults_stay_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
