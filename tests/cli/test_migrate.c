/* SPDX-License-Identifier: MIT */
/*
 * test_migrate.c - a small migration loses nothing and says so in its JSON; broken on purpose
 * it loses pages, and the comparison, which knows nothing of dirty pages, finds them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "run.h"

#define SMALL "migrate-demo", "--size", "64M", "--transactions", "100"
#define TINY "migrate-demo", "--size", "12M", "--transactions", "100"
#define ROUND_FIELDS "round stop dirty_pages pages_sent ms mib_per_s dirty_per_s transactions"
#define OUTCOME_FIELDS "rounds pages_sent lost_pages downtime_ms digest_equal transactions"

/* Cut the last line off and return it. */
static char *cut_outcome(char *out)
{
	char *last;

	assert_true(strlen(out) > 0 && out[strlen(out) - 1] == '\n');
	out[strlen(out) - 1] = '\0';
	last = strrchr(out, '\n');
	assert_non_null(last);
	memmove(last + 2, last + 1, strlen(last + 1) + 1);
	last[1] = '\0';
	return last + 2;
}

static void nothing_is_lost_and_the_json_has_exactly_its_fields(void **state)
{
	char *outcome;
	struct run r;

	(void)state;
	run_cli(&r, (const char *const[]){SMALL, "--json", NULL});
	if (r.status != 0)
		fail_msg("exit %d: %s", r.status, r.err);
	assert_string_equal(r.err, "");
	outcome = cut_outcome(r.out);
	assert_json(outcome, OUTCOME_FIELDS,
		    "o['rounds'] == 3 and o['pages_sent'] > 16384 and o['lost_pages'] == 0 and "
		    "o['downtime_ms'] >= 1 and o['digest_equal'] is True and "
		    "o['transactions'] == 100");
	assert_json(
	    r.out, ROUND_FIELDS,
	    "o['stop'] == (o['round'] == 4) and o['pages_sent'] == o['dirty_pages'] > 0 and "
	    "o['ms'] > 0 and o['mib_per_s'] > 0 and "
	    "(o['dirty_per_s'] > 0) == (o['round'] > 1) and "
	    "(o['round'], o['transactions']) in ((1, 33), (2, 66), (3, 100), (4, 100)) and "
	    "(o['round'] > 1 or o['dirty_pages'] >= 16384)");
	run_free(&r);
}

static void a_quiet_run_says_the_outcome_only(void **state)
{
	struct run r;

	(void)state;
	run_cli(&r, (const char *const[]){"migrate-demo", "--size", "1M", "--transactions", "400",
					  "--rounds", "2", "--writers", "5", "--seed", "9",
					  "--json", "-q", NULL});
	if (r.status != 0)
		fail_msg("exit %d: %s", r.status, r.err);
	assert_string_equal(r.err, "");
	assert_json(r.out, OUTCOME_FIELDS,
		    "o['rounds'] == 2 and o['lost_pages'] == 0 and o['transactions'] == 400");
	assert_null(strstr(strchr(r.out, '\n') + 1, "{"));
	run_free(&r);
}

static void the_table_has_a_row_a_round_and_the_stop(void **state)
{
	struct run r;

	(void)state;
	run_cli(&r, (const char *const[]){"migrate-demo", "--size", "2048K", "--transactions", "0",
					  "--rounds", "2", "--writers", "1", NULL});
	if (r.status != 0)
		fail_msg("exit %d: %s", r.status, r.err);
	assert_contains(r.out, "2 MiB of memory");
	assert_contains(r.out, "1 vCPU and a device");
	assert_contains(r.out, "\nround  dirty pages ");
	assert_contains(r.out, "\n1              512 ");
	assert_contains(r.out, "\n2  ");
	assert_null(strstr(r.out, "\n3  "));
	assert_contains(r.out, "\nstop ");
	assert_contains(r.out, "Transactions: 0 splits, 0 merges, 0 moves, 0 plugs, 0 unplugs.");
	assert_contains(r.out, "All 512 pages are the same on both sides: none was lost.");
	run_free(&r);
}

/* How a break is told, and the rule for the outcome. */
static const struct {
	const char *how;
	const char *rounds;
	const char *says;
} broken[] = {
    {"mark:1", "1", " writes were not marked, "},   {"mark:1", "3", " writes were not marked, "},
    {"mark:4", "3", " writes were not marked, "},   {"flush", "1", " dirty pages were not sent, "},
    {"flush", "3", " dirty pages were not sent, "},
};

static void what_is_broken_on_purpose_is_found(void **state)
{
	char message[64];
	struct run r;

	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		run_cli(&r, (const char *const[]){TINY, "--rounds", broken[i].rounds, "--break",
						  broken[i].how, "--json", "-q", NULL});
		assert_json(r.out, OUTCOME_FIELDS,
			    "o['lost_pages'] > 0 and o['digest_equal'] is False and "
			    "o['transactions'] == 100");
		if (r.status != 1)
			fail_msg("%s: exit %d", broken[i].how, r.status);
		snprintf(message, sizeof(message),
			 "mslot migrate-demo: --break %s: ", broken[i].how);
		assert_contains(r.err, message);
		assert_contains(r.err, broken[i].says);
		assert_contains(r.err, " pages lost");
		run_free(&r);
	}
}

/* The exit status tells what was lost, not what was asked for. */
static void a_break_that_never_happens_loses_nothing(void **state)
{
	struct run r;

	(void)state;
	run_cli(&r,
		(const char *const[]){TINY, "--break", "mark:1000000000", "--json", "-q", NULL});
	assert_int_equal(r.status, 0);
	assert_contains(r.err, "0 writes were not marked, 0 pages lost");
	assert_json(r.out, OUTCOME_FIELDS, "o['lost_pages'] == 0 and o['digest_equal'] is True");
	run_free(&r);
}

static void it_draws_the_rounds(void **state)
{
	static const char *const rounds[] = {"1", "60"};
	char *const name = run_file("", 0, ".svg");
	struct run r;

	(void)state;
	for (size_t i = 0; i < sizeof(rounds) / sizeof(rounds[0]); i++) {
		run_cli(&r, (const char *const[]){"migrate-demo", "--size", "1M", "--rounds",
						  rounds[i], "--svg", name, "-q", NULL});
		if (r.status != 0)
			fail_msg("exit %d: %s", r.status, r.err);
		assert_svg(name);
		run_free(&r);
	}
	/* Where not all is sent there is a line more. */
	run_cli(&r, (const char *const[]){TINY, "--break", "flush", "--svg", name, "-q", NULL});
	assert_int_equal(r.status, 1);
	assert_svg(name);
	run_free(&r);
	run_unlink(name);
}

static void a_drawing_that_cannot_be_is_a_failure_at_once(void **state)
{
	struct run r;

	(void)state;
	run_cli(&r, (const char *const[]){TINY, "--svg", "/nonexistent/a.svg", NULL});
	assert_int_equal(r.status, 1);
	assert_string_equal(r.out, "");
	assert_contains(r.err, "mslot migrate-demo: /nonexistent/a.svg: cannot write: ");
	run_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_is_lost_and_the_json_has_exactly_its_fields),
	    cmocka_unit_test(a_quiet_run_says_the_outcome_only),
	    cmocka_unit_test(the_table_has_a_row_a_round_and_the_stop),
	    cmocka_unit_test(what_is_broken_on_purpose_is_found),
	    cmocka_unit_test(a_break_that_never_happens_loses_nothing),
	    cmocka_unit_test(it_draws_the_rounds),
	    cmocka_unit_test(a_drawing_that_cannot_be_is_a_failure_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
