/* SPDX-License-Identifier: MIT */
/*
 * test_output.c - what the verbs say about good input and about wrong answers: the shape
 * of the JSON, the counts in it, and the exit status.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "run.h"

#define LOG "seq,slot,flags,gpa,size,hva,ret,errno,class\n"

static char *data_path(const char *name)
{
	char *path = NULL;

	assert_non_null(getenv("MSLOT_DATA"));
	assert_true(asprintf(&path, "%s/%s", getenv("MSLOT_DATA"), name) > 0);
	return path;
}

/* ---- replay --------------------------------------------------------------------- */

#define REPLAY_FIELDS                                                                              \
	"trace as operations groups commits holes lookups lookups_per_s commit_ns_median "         \
	"commit_ns_p99 slots"

static void replay_json_has_exactly_the_fields_of_its_contract(void **state)
{
	char *const path = data_path("traces/q35-ovmf.txt");
	struct run r;

	(void)state;
	run_cli(&r, (const char *const[]){"replay", "--json", "--seconds", "0.05", path, NULL});
	assert_int_equal(r.status, 0);
	assert_string_equal(r.err, "");
	assert_json(
	    r.out, REPLAY_FIELDS,
	    "o['trace'] == 'q35-ovmf' and o['operations'] == 12 and o['groups'] == 7 and "
	    "o['slots'] == 6 and o['commit_ns_p99'] >= o['commit_ns_median'] > 0 and "
	    "o['lookups'] > 0 and o['lookups_per_s'] > 0 and "
	    "(o['as'], o['commits'], o['holes']) in (('kvm', 12, 5), ('transactions', 7, 0))");
	run_free(&r);
	free(path);
}

static void replay_as_chooses_the_way(void **state)
{
	char *const path = data_path("traces/microvm.txt");
	struct run r;

	(void)state;
	run_cli(&r, (const char *const[]){"replay", "--json", "--seconds", "0", "--as", "kvm",
					  "--readers", "3", path, NULL});
	assert_int_equal(r.status, 0);
	assert_json(r.out, REPLAY_FIELDS, "o['as'] == 'kvm' and o['holes'] == 3");
	run_free(&r);
	run_cli(&r, (const char *const[]){"replay", "--json", "--seconds", "0", "--as",
					  "transactions", "--readers", "1", path, NULL});
	assert_int_equal(r.status, 0);
	assert_json(r.out, REPLAY_FIELDS, "o['as'] == 'transactions' and o['holes'] == 0");
	run_free(&r);
	free(path);
}

static void every_recorded_trace_has_its_recorded_holes(void **state)
{
	static const char *const name[] = {
	    "microvm",
	    "q35-dimm250-plug-unplug",
	    "q35-dimm64-plug-unplug",
	    "q35-migrate-dirtylog",
	    "q35-ovmf",
	    "q35-pam-smram",
	    "q35-pci-bar-remap",
	    "q35-seabios-novga-vblk",
	    "q35-seabios-vga",
	    "q35-virtio-mem",
	};
	char file[64];
	struct run r;

	(void)state;
	for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++) {
		char *path;

		snprintf(file, sizeof(file), "traces/%s.txt", name[i]);
		path = data_path(file);
		run_cli(&r, (const char *const[]){"replay", "--seconds", "0", path, NULL});
		if (r.status != 0)
			fail_msg("%s: exit %d: %s", name[i], r.status, r.err);
		assert_contains(r.out, name[i]);
		run_free(&r);
		free(path);
	}
}

static void holes_that_differ_from_the_recorded_ones_exit_1(void **state)
{
	/* Slot 0 is away for a moment, which this trace does not note. */
	static const char unnoted[] = "0 0 0 0 0x0 0x0 0x4000 0x0 ADD\n"
				      "0 1 0 0 0x0 0x0 0x0 0x0 DEL\n"
				      "0 1 0 0 0x0 0x0 0x2000 0x0 ADD\n";
	/* Nothing is ever missing here. */
	static const char invented[] = "0 0 0 0 0x0 0x0 0x4000 0x0 ADD\n"
				       "0 1 0 1 0x0 0x8000 0x1000 0x0 ADD HOLE=0x1000\n";
	char *const a = run_file(unnoted, strlen(unnoted), ".txt");
	char *const b = run_file(invented, strlen(invented), ".txt");
	struct run r;

	(void)state;
	run_cli(&r, (const char *const[]){"replay", "--seconds", "0", a, NULL});
	assert_int_equal(r.status, 1);
	assert_contains(r.err, "as kvm: expected 0 holes, got 1");
	assert_null(strstr(r.err, "as transactions"));
	run_free(&r);
	run_cli(&r, (const char *const[]){"replay", "--seconds", "0", b, NULL});
	assert_int_equal(r.status, 1);
	assert_contains(r.err, "as kvm: expected 1 holes, got 0");
	run_free(&r);
	run_unlink(a);
	run_unlink(b);
}

static void a_bad_trace_does_not_stop_the_good_ones(void **state)
{
	char *const path = data_path("traces/microvm.txt");
	struct run r;

	(void)state;
	run_cli(&r, (const char *const[]){"replay", "--json", "--seconds", "0", "/nonexistent",
					  path, NULL});
	assert_int_equal(r.status, 1);
	assert_contains(r.err, "/nonexistent: cannot open");
	assert_json(r.out, REPLAY_FIELDS, "o['trace'] == 'microvm'");
	run_free(&r);
	free(path);
}

/* ---- oracle --------------------------------------------------------------------- */

static void oracle_json_is_one_object_for_the_whole_run(void **state)
{
	static const char text[] = LOG "0,1,0,0x0,0x1000,0x0,0,0,create\n"
				       "1,2,0,0x0,0x1000,0x0,-1,17,create\n";
	char *const name = run_file(text, strlen(text), ".csv");
	struct run r;

	(void)state;
	/* Twice the same file: each has a map of its own. */
	run_cli(&r, (const char *const[]){"oracle", "--log", name, name, "--json", NULL});
	assert_int_equal(r.status, 0);
	assert_string_equal(r.out, "{\"requests\":4,\"mismatches\":0}\n");
	assert_json(r.out, "requests mismatches", "o['requests'] == 4");
	run_free(&r);
	run_unlink(name);
}

static void wrong_answers_are_counted_and_the_first_has_its_history(void **state)
{
	static const char text[] = LOG "0,1,0,0x0,0x1000,0x0,0,0,create\n"
				       "1,5,0,0x9000,0x1000,0x0,0,0,create\n"
				       "2,2,0,0x0,0x1000,0x0,0,0,create\n"
				       "3,3,0,0x0,0x1000,0x0,-1,12,move\n";
	char *const name = run_file(text, strlen(text), ".csv");
	const char *history;
	struct run r;

	(void)state;
	run_cli(&r, (const char *const[]){"oracle", "--log", name, NULL});
	assert_int_equal(r.status, 1);
	assert_contains(r.out, "mismatch 1 at request 2:");
	assert_contains(r.out, "(create): kernel ok, mslot EEXIST");
	assert_contains(r.out, "mismatch 2 at request 3:");
	assert_contains(r.out, "(move): kernel ENOMEM, mslot EEXIST");
	history = strstr(r.out, "Requests before it");
	assert_non_null(history);
	assert_contains(history, "0 slot 0x1 flags 0x0 gpa 0x0 size 0x1000");
	/* Neither of the same slot nor overlapping. */
	assert_null(strstr(r.out, "slot 0x5"));
	run_free(&r);
	run_cli(&r, (const char *const[]){"oracle", "--log", name, "--json", NULL});
	assert_int_equal(r.status, 1);
	assert_string_equal(r.out, "{\"requests\":4,\"mismatches\":2}\n");
	assert_contains(r.err, "mslot EEXIST");
	run_free(&r);
	run_unlink(name);
}

#define DIRTY "seq,op,slot,flags,x,y,z,bitmap,ret,errno,class\n0,vm,0,0,0x0,0x0,0x0,-,0,0,vm\n"

/* A log of the one kind, then one of the other: the header tells them apart. */
static void dirty_logs_are_told_from_the_others(void **state)
{
	static const char slots[] = LOG "0,1,0,0x0,0x1000,0x0,0,0,create\n";
	static const char dirty[] = DIRTY "1,region,1,1,0x0,0x1000,0x0,-,0,0,create\n"
					  "2,get,1,0,0x0,0x0,0x0,0,0,0,get\n"
					  "3,get,1,0,0x0,0x0,0x0,1,0,0,wrong\n"
					  "4,get,2,0,0x0,0x0,0x0,-,-1,2,absent\n"
					  "5,vm,0,0,0x0,0x0,0x0,-,0,0,vm\n"
					  "6,get,1,0,0x0,0x0,0x0,-,-1,2,another-vm\n";
	char *const one = run_file(slots, strlen(slots), ".csv");
	char *const two = run_file(dirty, strlen(dirty), ".csv");
	struct run r;

	(void)state;
	run_cli(&r, (const char *const[]){"oracle", "--json", "--log", one, two, NULL});
	assert_int_equal(r.status, 1);
	assert_string_equal(r.out, "{\"requests\":6,\"mismatches\":1}\n");
	assert_contains(r.err, "mismatch 1 at request 3:");
	assert_contains(r.err, "mslot ok: 3,get,1,0,0x0,0x0,0x0,0,0,0,wrong");
	run_free(&r);
	run_unlink(one);
	run_unlink(two);
}

static void what_is_recorded_can_be_replayed(void **state)
{
	char *const path = run_file("", 0, ".csv");
	struct run r, again;

	(void)state;
	run_cli(&r, (const char *const[]){"oracle", "--dirty", "--live", "700", "--seed", "3",
					  "--record", path, "--json", NULL});
	if (r.status == 77) {
		print_message("not tried: %s", r.err);
	} else {
		assert_int_equal(r.status, 0);
		run_cli(&again, (const char *const[]){"oracle", "--json", "--log", path, NULL});
		assert_int_equal(again.status, 0);
		assert_string_equal(again.out, "{\"requests\":700,\"mismatches\":0}\n");
		assert_string_equal(again.out, r.out);
		run_free(&again);
	}
	run_free(&r);
	run_unlink(path);
}

static void records_that_cannot_be_written_exit_1(void **state)
{
	struct run r;

	(void)state;
	run_cli(&r, (const char *const[]){"oracle", "--dirty", "--live", "700", "--record",
					  "/nonexistent/x", NULL});
	assert_true(r.status == 1 || r.status == 77);
	if (r.status == 1)
		assert_contains(r.err, "/nonexistent/x: cannot open: No such file");
	run_free(&r);
	run_cli(&r, (const char *const[]){"oracle", "--dirty", "--live", "700", "--record",
					  "/dev/full", "--json", NULL});
	assert_true(r.status == 1 || r.status == 77);
	if (r.status == 1)
		assert_contains(r.err, "/dev/full: cannot write: No space left");
	run_free(&r);
	run_cli(&r, (const char *const[]){"oracle", "--ask", "/nonexistent/x", NULL});
	assert_true(r.status == 1 || r.status == 77);
	if (r.status == 1)
		assert_contains(r.err, "/nonexistent/x: cannot open: No such file");
	run_free(&r);
}

/* ---- bench ---------------------------------------------------------------------- */

#define BENCH_FIELDS "case engine layout slots value min max unit repetitions"

/* The lines of JSON that have a field; freed by the caller. */
static char *lines_with(const char *text, const char *field)
{
	char *const out = calloc(1, strlen(text) + 1);

	if (out == NULL)
		abort();
	for (const char *end; *text != '\0'; text = end + 1) {
		const char *const at = strstr(text, field);

		end = strchr(text, '\n');
		assert_non_null(end);
		if (at != NULL && at < end)
			strncat(out, text, (size_t)(end + 1 - text));
	}
	return out;
}

static void bench_json_has_exactly_the_fields_of_its_contract(void **state)
{
	struct run r;
	char *lines;

	(void)state;
	run_cli(&r, (const char *const[]){"bench", "--json", "--slots", "10,70", "--repetitions",
					  "2", NULL});
	if (r.status != 0)
		fail_msg("exit %d: %s", r.status, r.err);
	lines = lines_with(r.out, "\"unit\":");
	assert_json(lines, BENCH_FIELDS,
		    "(o['layout'], o['slots'] in (10, 70)) == ('random', True) or "
		    "(o['engine'], o['layout'], o['slots']) == ('machine', 'none', 0)");
	assert_json(lines, BENCH_FIELDS,
		    "num(o['value']) and 0 <= o['min'] <= o['value'] <= o['max'] and "
		    "o['repetitions'] in (1, 2) and o['unit'] in ('ns/op', 'bytes')");
	assert_contains(lines, "{\"case\":\"floor\",\"engine\":\"machine\",");
	assert_contains(lines, "{\"case\":\"hva\",\"engine\":\"mslot-scalar\",");
	assert_contains(lines, "{\"case\":\"edit\",\"engine\":\"two-sets\",");
	free(lines);
	/* Each peer has a version or is said to be absent. */
	lines = lines_with(r.out, "\"version\":");
	assert_json(lines, "engine version", "o['version'] != ''");
	free(lines);
	lines = lines_with(r.out, "\"engine\":\"vm-memory\"");
	assert_true(strstr(lines, "\"version\":") != NULL || strstr(lines, "\"absent\":") != NULL);
	free(lines);
	run_free(&r);
}

static void bench_cases_engines_and_layouts_can_be_chosen(void **state)
{
	struct run r;
	char *lines;

	(void)state;
	run_cli(&r,
		(const char *const[]){"bench", "memory", "--json", "--engine=mslot,array",
				      "--layout", "skewed,contiguous", "--repetitions=1", NULL});
	assert_int_equal(r.status, 0);
	lines = lines_with(r.out, "\"case\":\"memory\"");
	assert_json(lines, BENCH_FIELDS,
		    "o['unit'] == 'bytes' and o['engine'] in ('mslot', 'array') and "
		    "o['layout'] in ('skewed', 'contiguous') and "
		    "o['slots'] in (10, 30, 50, 100, 509, 4096, 32764) and "
		    "o['value'] >= 30 * o['slots']");
	free(lines);
	run_free(&r);
	run_cli(&r, (const char *const[]){"bench", "--slots", "7", "id", "--repetitions", "1",
					  "--engine", "mslot-scalar", NULL});
	assert_int_equal(r.status, 0);
	assert_contains(r.out, "\nid: slot of a random id (ns/op; layout random)\n");
	assert_null(strstr(r.out, "lookup-random"));
	assert_null(strstr(r.out, "two-sets"));
	run_free(&r);
}

/* Every case with every engine that is here, on 12 slots: all answers are checked inside. */
static void bench_all_runs_every_case(void **state)
{
	struct run r;
	char *lines;

	(void)state;
	run_cli(&r, (const char *const[]){"bench", "all", "--slots", "12", "--repetitions", "1",
					  "--json", NULL});
	if (r.status != 0)
		fail_msg("exit %d: %s", r.status, r.err);
	assert_contains(r.out, "{\"case\":\"unmap-2m\",\"engine\":\"two-sets\",");
	/* On a machine that has no two processors for it, it says so. */
	if (strstr(r.out, "{\"case\":\"concurrent-rw-writer\",\"engine\":\"mslot\",") == NULL) {
		lines = lines_with(r.out, "{\"case\":\"concurrent-rw\",\"engine\":\"mslot\",");
		assert_contains(lines, "\"skipped\":\"the ");
		assert_contains(lines, "two threads");
		free(lines);
	}
	lines = lines_with(r.out, "\"skipped\":");
	assert_json(lines, "case engine layout slots skipped",
		    "o['slots'] == (0 if o['case'] == 'bare-call' else 12)");
	free(lines);
	run_free(&r);
}

/* Every case of tables, small: all that engines did is checked inside. */
static void bench_mmu_runs_every_case(void **state)
{
	static const char *const row[] = {
	    "mmu-hit\",\"engine\":\"plain\"",
	    "mmu-fault-direct\",\"engine\":\"mslot-bitmaps\"",
	    "mmu-fault-shadow\",\"engine\":\"mslot\"",
	    "mmu-map\",\"engine\":\"array\"",
	    "mmu-unmap\",\"engine\":\"invalidate\"",
	    "mmu-unmap-2m\",\"engine\":\"two-sets\"",
	    "mmu-log-on\",\"engine\":\"splitting\"",
	    "mmu-log-off\",\"engine\":\"mslot\"",
	    "mmu-log-write\",\"engine\":\"mslot\"",
	    "mmu-delete\",\"engine\":\"mslot-bitmaps\"",
	    "mmu-harvest\",\"engine\":\"mslot\",\"layout\":\"4-kib\",\"mib\":256",
	    "mmu-metadata\",\"engine\":\"mslot\",\"layout\":\"2-mib-direct\",\"slots\":4096",
	    "mmu-zap\",\"engine\":\"mslot-bitmaps\"",
	};
	char *const name = run_file("", 0, ".svg"), *lines;
	struct run r;

	(void)state;
	run_cli(&r, (const char *const[]){"bench", "mmu", "--quick", "--repetitions", "1", "--json",
					  "--svg", name, NULL});
	if (r.status != 0)
		fail_msg("exit %d: %s", r.status, r.err);
	assert_svg(name);
	run_unlink(name);
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++)
		assert_contains(r.out, row[i]);
	lines = lines_with(r.out, "-refaults\"");
	assert_json(lines, BENCH_FIELDS,
		    "o['unit'] == 'faults' and (o['value'] > 0) == "
		    "(o['engine'] == 'recreated')");
	free(lines);
	/* Nothing is split. */
	lines = lines_with(r.out, "\"mmu-log-tables\",\"engine\":\"mslot\",\"layout\":\"2-mib");
	assert_json(lines, "case engine layout mib value min max unit repetitions",
		    "o['unit'] == 'tables' and o['value'] <= 3");
	free(lines);
	run_free(&r);
}

static void bench_draws_what_it_measured(void **state)
{
	char *const name = run_file("", 0, ".svg");
	struct run r;

	(void)state;
	run_cli(&r, (const char *const[]){"bench", "table2021", "hva", "--slots", "5,40,41,9",
					  "--engine", "mslot,mslot-scalar,array,two-sets",
					  "--repetitions", "1", "--svg", name, NULL});
	if (r.status != 0)
		fail_msg("exit %d: %s", r.status, r.err);
	run_free(&r);
	assert_svg(name);
	run_unlink(name);
}

static void bench_measures_a_number_of_slots_once(void **state)
{
	const char *first;
	struct run r;

	(void)state;
	run_cli(&r, (const char *const[]){"bench", "memory", "--slots", "9,7,9,7", "--engine",
					  "mslot", "--json", NULL});
	assert_int_equal(r.status, 0);
	first = strstr(r.out, "\"slots\":9,");
	assert_non_null(first);
	assert_null(strstr(first + 1, "\"slots\":9,"));
	assert_contains(first, "\"slots\":7,");
	run_free(&r);
}

static void bench_drawings_that_cannot_be_are_failures(void **state)
{
	char *const name = run_file("x", 1, ".svg");
	FILE *f;
	struct run r;

	(void)state;
	/* Before anything is measured. */
	run_cli(&r, (const char *const[]){"bench", "memory", "--slots", "3", "--engine", "mslot",
					  "--svg", "/nonexistent/a.svg", NULL});
	assert_int_equal(r.status, 1);
	assert_string_equal(r.out, "");
	assert_contains(r.err, "mslot bench: /nonexistent/a.svg: cannot write: ");
	run_free(&r);
	run_cli(&r, (const char *const[]){"bench", "memory", "--svg", "/", NULL});
	assert_int_equal(r.status, 1);
	assert_string_equal(r.out, "");
	assert_contains(r.err, "mslot bench: /: cannot write: Is a directory");
	run_free(&r);
	/* What is there stays until there is something to draw, and nothing is left behind. */
	run_cli(&r, (const char *const[]){"bench", "bare-call", "--engine", "mslot", "--svg", name,
					  "--repetitions", "1", NULL});
	assert_int_equal(r.status, 1);
	assert_contains(r.err, "nothing was measured that has slots");
	run_free(&r);
	f = fopen(name, "re");
	assert_non_null(f);
	assert_int_equal(fgetc(f), 'x');
	fclose(f);
	assert_int_equal(unlink(name), 0);
	run_cli(&r, (const char *const[]){"bench", "bare-call", "--engine", "mslot", "--svg", name,
					  "--repetitions", "1", NULL});
	assert_int_equal(r.status, 1);
	assert_int_equal(access(name, F_OK), -1);
	run_free(&r);
	free(name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(replay_json_has_exactly_the_fields_of_its_contract),
	    cmocka_unit_test(replay_as_chooses_the_way),
	    cmocka_unit_test(every_recorded_trace_has_its_recorded_holes),
	    cmocka_unit_test(holes_that_differ_from_the_recorded_ones_exit_1),
	    cmocka_unit_test(a_bad_trace_does_not_stop_the_good_ones),
	    cmocka_unit_test(oracle_json_is_one_object_for_the_whole_run),
	    cmocka_unit_test(dirty_logs_are_told_from_the_others),
	    cmocka_unit_test(what_is_recorded_can_be_replayed),
	    cmocka_unit_test(records_that_cannot_be_written_exit_1),
	    cmocka_unit_test(wrong_answers_are_counted_and_the_first_has_its_history),
	    cmocka_unit_test(bench_json_has_exactly_the_fields_of_its_contract),
	    cmocka_unit_test(bench_cases_engines_and_layouts_can_be_chosen),
	    cmocka_unit_test(bench_all_runs_every_case),
	    cmocka_unit_test(bench_mmu_runs_every_case),
	    cmocka_unit_test(bench_draws_what_it_measured),
	    cmocka_unit_test(bench_measures_a_number_of_slots_once),
	    cmocka_unit_test(bench_drawings_that_cannot_be_are_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
