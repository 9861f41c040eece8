/* SPDX-License-Identifier: MIT */
/*
 * test_bench.c - `mslot bench` with engines that are wrong, slow, refuse or are not there: the
 * verb is linked with the engines of bench_liars.c in the place of the real ones, and its exit
 * status and both outputs are looked at.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench_liars.h"
#include "cli/cli.h"

#define TEXT_MAX 65536u
#define ARGS_MAX 16

/* ---- Running it ----------------------------------------------------------------- */

struct answer {
	int status;
	char out[TEXT_MAX];
	char err[TEXT_MAX];
};

static void read_back(FILE *from, char text[TEXT_MAX])
{
	size_t n;

	rewind(from);
	n = fread(text, 1, TEXT_MAX - 1, from);
	text[n] = '\0';
	fclose(from);
}

/* `mslot bench ARGS` in this process; the words are split at spaces. */
static void bench(struct answer *a, const char *args)
{
	char words[512], name[] = "mslot bench", *argv[ARGS_MAX] = {name}, *rest = words;
	const int keep_out = dup(1), keep_err = dup(2);
	FILE *const out = tmpfile(), *const err = tmpfile();
	int argc = 1;

	assert_true(keep_out >= 0 && keep_err >= 0 && out != NULL && err != NULL);
	snprintf(words, sizeof(words), "%s", args);
	while (argc < ARGS_MAX - 1 && (argv[argc] = strsep(&rest, " ")) != NULL)
		argc++;
	argv[argc] = NULL;
	fflush(NULL);
	dup2(fileno(out), 1);
	dup2(fileno(err), 2);
	optind = 0;
	bare_calls = 0; /* a run that is repeated counts anew */
	a->status = bench_main(argc, argv);
	fflush(NULL);
	dup2(keep_out, 1);
	dup2(keep_err, 2);
	close(keep_out);
	close(keep_err);
	read_back(out, a->out);
	read_back(err, a->err);
}

static void assert_says(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		fail_msg("expected '%s' in '%s'", part, text);
}

static size_t count_cpus(void)
{
	cpu_set_t cpus;

	return sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? (size_t)CPU_COUNT(&cpus) : 0;
}

#define APART "the two threads did not run at the same time: busy machine"

/* The same until two threads had a processor each; false if this machine has none for them. */
static bool beside(struct answer *a, const char *args)
{
	for (int i = 0; i < 5 && count_cpus() > 1; i++) {
		bench(a, args);
		if (a->status != 0 || strstr(a->out, APART) == NULL)
			return true;
	}
	return false;
}

#define TINY " --slots 10 --repetitions 1"

/* ---- Tests ---------------------------------------------------------------------- */

static void honest_answers_make_rows(void **state)
{
	static struct answer a;

	(void)state;
	bench(&a, "lookup-random edit memory --engine mslot --json --slots 10,3 --repetitions 3");
	assert_int_equal(a.status, 0);
	assert_string_equal(a.err, "");
	assert_says(a.out, "{\"engine\":\"mslot\",\"version\":\"7.1\"}\n");
	assert_says(a.out, "{\"case\":\"lookup-random\",\"engine\":\"mslot\",\"layout\":\"random\","
			   "\"slots\":3,\"value\":");
	assert_says(a.out,
		    "{\"case\":\"memory\",\"engine\":\"mslot\",\"layout\":\"random\",\"slots\":"
		    "10,\"value\":328.000000,\"min\":328.000000,\"max\":328.000000,"
		    "\"unit\":\"bytes\",\"repetitions\":1}\n");
	assert_says(a.out, "\"unit\":\"ns/op\",\"repetitions\":3}\n");
}

static void a_wrong_sum_ends_the_run(void **state)
{
	static struct answer a;

	(void)state;
	bench(&a, "lookup-random --engine mslot,lying" TINY);
	assert_int_equal(a.status, 1);
	assert_says(a.err,
		    "mslot bench: engine lying, case lookup-random, layout random, 10 slots: "
		    "wrong answers while timed: the sum is 0x");
}

static void a_wrong_answer_is_found_before_timing(void **state)
{
	static struct answer a;

	(void)state;
	bench(&a, "lookup-random --engine wrong" TINY);
	assert_int_equal(a.status, 1);
	assert_says(a.err, "engine wrong, case lookup-random, layout random, 10 slots: "
			   "wrong answer of find() at 0x");
}

static void slots_lost_by_edits_are_missed_afterwards(void **state)
{
	static struct answer a;

	(void)state;
	bench(&a, "edit --engine losing" TINY);
	assert_int_equal(a.status, 1);
	assert_says(a.err, "engine losing, case edit, layout random, 10 slots: slot ");
	assert_says(a.err, " is not in the map");
}

static void edits_that_do_nothing_are_noticed(void **state)
{
	static const char *const name[] = {"edit", "batch", "edit-busy-reader", "concurrent-rw"};
	static const char *const move_name[] = {"move-inactive", "move-active"};
	static struct answer a;
	char args[80];

	(void)state;
	for (size_t i = 0; i < (count_cpus() > 1 ? 4 : 2); i++) {
		snprintf(args, sizeof(args), "%s --engine idle" TINY, name[i]);
		bench(&a, args);
		assert_int_equal(a.status, 1);
		assert_says(a.err, name[i]);
		assert_says(a.err, " has the flags 0x0 instead of 0x1");
	}
	for (size_t i = 0; i < (count_cpus() > 1 ? 2 : 1); i++) {
		snprintf(args, sizeof(args), "%s --engine idle" TINY, move_name[i]);
		bench(&a, args);
		assert_int_equal(a.status, 1);
		assert_says(a.err, move_name[i]);
		assert_says(a.err, "move() left slot ");
	}
}

static void wrong_answers_end_the_run(void **state)
{
	static const struct {
		const char *args, *err;
		bool threads;
	} run[] = {
	    {"lookup-random --engine gaps", "wrong answer of find() at 0x", false},
	    {"lookup-random --engine hva-wrong", "wrong answer of find_hva() at 0x", false},
	    {"lookup-random --engine id-wrong", "wrong answer of find_id() at 0x", false},
	    {"id --engine id-lying", "wrong answers while timed", false},
	    {"unmap --engine count-wrong", "wrong answers while timed", false},
	    {"unmap-2m --engine count-wrong", "wrong answers while timed", false},
	    {"replace --engine fills-once", "case replace, layout random, 10 slots: ", false},
	    {"setup --engine inserts-most", "slot 3 is not in the map", false},
	    {"setup-one --engine inserts-most", "slot 3 is not in the map", false},
	    {"edit-busy-reader --engine at-times", " lookups missed a slot that is always", true},
	    {"concurrent-rw --engine at-times", " lookups missed a slot that is always", true},
	    {"concurrent-2r --engine lying-beside", "wrong answers while timed", true},
	};
	static struct answer a;
	char args[80];

	(void)state;
	for (size_t i = 0; i < sizeof(run) / sizeof(run[0]); i++) {
		if (run[i].threads && count_cpus() < 2)
			continue;
		snprintf(args, sizeof(args), "%s" TINY, run[i].args);
		bench(&a, args);
		if (a.status != 1)
			fail_msg("%s: exit %d", args, a.status);
		assert_says(a.err, run[i].err);
	}
}

static void the_second_time_of_a_repetition_counts(void **state)
{
	static struct answer a;

	(void)state;
	bench(&a, "bare-call --engine mslot --repetitions 3 --json");
	assert_int_equal(a.status, 0);
	assert_says(a.out, "\"value\":15.500000,\"min\":13.500000,\"max\":17.500000,");
}

static void work_of_other_threads_is_a_part_of_edits(void **state)
{
	static const struct {
		const char *name;
		double least;
	} edit[] = {{"edit", LAZY_NS},
		    {"batch", LAZY_NS},
		    {"move-inactive", LAZY_NS},
		    {"replace", LAZY_NS / 1e6}};
	static struct answer a;
	char args[80];

	(void)state;
	for (size_t i = 0; i < sizeof(edit) / sizeof(edit[0]); i++) {
		const char *row, *value;

		snprintf(args, sizeof(args), "%s --json --engine lazy" TINY, edit[i].name);
		bench(&a, args);
		assert_int_equal(a.status, 0);
		row = strstr(a.out, "\"engine\":\"lazy\",\"layout\"");
		assert_non_null(row);
		value = strstr(row, "\"value\":");
		assert_non_null(value);
		if (strtod(value + strlen("\"value\":"), NULL) < edit[i].least)
			fail_msg("%s: %s", edit[i].name, value);
	}
}

static void a_failing_fill_ends_the_run(void **state)
{
	static struct answer a;

	(void)state;
	bench(&a, "lookup-random --engine full" TINY);
	assert_int_equal(a.status, 1);
	assert_says(a.err, "engine full, case lookup-random, layout random, 10 slots: "
			   "cannot fill the map: Cannot allocate memory");
	bench(&a, "setup-one --engine full" TINY);
	assert_int_equal(a.status, 1);
	assert_says(a.err, "engine full, case setup-one, layout random, 10 slots: "
			   "fill(): Cannot allocate memory");
}

static void absent_engines_are_listed(void **state)
{
	static struct answer a;

	(void)state;
	bench(&a, "lookup-random --engine mslot,gone" TINY);
	assert_int_equal(a.status, 0);
	assert_says(a.out, "\nabsent: gone: nobody has it\n");
	bench(&a, "lookup-random --engine mslot,gone --json" TINY);
	assert_int_equal(a.status, 0);
	assert_says(a.out, "{\"engine\":\"gone\",\"absent\":\"nobody has it\"}\n");
	bench(&a, "lookup-random --engine gone" TINY);
	assert_int_equal(a.status, 77);
	assert_says(a.out, "absent: gone: nobody has it\n");
	assert_says(a.err, "mslot bench: none of the chosen engines is here");
}

static void who_cannot_take_part_is_named(void **state)
{
	static struct answer a;

	(void)state;
	bench(&a, "lookup-random --engine mslot,small,real --layout contiguous" TINY);
	assert_int_equal(a.status, 0);
	assert_says(a.out, "no row of small at 10 slots: the engine holds 9 slots at most");
	assert_says(a.out, "no row of real at 10 slots: the engine needs real host memory: layout "
			   "random only");
	bench(&a, "lookup-random --engine real" TINY);
	assert_int_equal(a.status, 0);
	assert_null(strstr(a.out, "no row of"));
	bench(&a, "concurrent-paced --engine mslot,stopping,real" TINY);
	assert_int_equal(a.status, 0);
	assert_says(a.out, "no row of stopping at 10 slots: its readers must stop for an edit");
	assert_says(a.out, "not offered by: real");
	bench(&a, "lookup-random --json --engine mslot,small" TINY);
	assert_says(a.out, "{\"case\":\"lookup-random\",\"engine\":\"small\",\"layout\":\"random\","
			   "\"slots\":10,\"skipped\":\"the engine holds 9 slots at most\"}\n");
}

static void what_would_take_too_long_is_left_out(void **state)
{
	static struct answer a;

	(void)state;
	bench(&a, "setup --engine mslot,slow --slots 1000 --repetitions 1");
	assert_int_equal(a.status, 0);
	assert_says(a.out,
		    "no row of slow at 1000 slots: one repetition would take more than 20 s");
}

static void two_threads_on_one_cpu_make_no_row(void **state)
{
	static const char *const name[] = {"edit-busy-reader", "concurrent-2r", "concurrent-rw"};
	static struct answer a;
	cpu_set_t cpus;
	char args[80];

	(void)state;
	for (size_t i = 0; i < 3 && count_cpus() > 1; i++) {
		snprintf(args, sizeof(args), "%s --engine crowded" TINY, name[i]);
		bench(&a, args);
		assert_int_equal(a.status, 0);
		assert_says(a.out, "no row of crowded at 10 slots: " APART);
	}
	assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	one_cpu_for_all();
	bench(&a, "concurrent-paced concurrent-2r --engine mslot" TINY);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	assert_int_equal(a.status, 0);
	assert_null(strstr(a.out, "x floor  vs mslot\n   10  mslot"));
	assert_says(a.out, "no row of mslot at 10 slots: the process may run on one CPU, and two "
			   "threads need two");
}

static void two_values_of_a_case_are_two_tables(void **state)
{
	static struct answer a;

	(void)state;
	if (!beside(&a, "concurrent-rw bare-call --engine mslot" TINY))
		skip();
	assert_says(a.out, "\nconcurrent-rw: ");
	assert_says(a.out, "\nconcurrent-rw-writer: ");
	assert_says(a.out, "\nbare-call: ");
	/* The first repetition does not count. */
	assert_says(a.out, "12.50");
}

static void phases_of_2021_are_columns(void **state)
{
	static struct answer a;

	(void)state;
	bench(&a, "table2021 --engine mslot" TINY);
	assert_int_equal(a.status, 0);
	assert_says(a.out, "\nmslot, 7.1 (layout random)\nslots  setup ms  move-active ns");
}

static void wrong_answers_of_dirty_pages_end_the_run(void **state)
{
	static const struct {
		enum dirty_fault fault;
		const char *args, *err;
	} run[] = {
	    {LEASES_SHOW_NOTHING, "lease",
	     "1 threads: 19999 of 20000 leases showed the right memory"},
	    {LEASES_STAY, "lease", "case lease, read, 1 threads: 1 leases are left"},
	    {MARKS_UNLOGGED, "mark-store", "unlogged, 1 slots: 512 pages are dirty, expected 0"},
	    {MARKS_FAIL, "mark-store", "a write: Bad address"},
	    {MARKS_WITHOUT_WRITES, "mark-write", "page 511 was not written"},
	    {MARKS_LOSE_ONE, "mark-store", "dirty, 1 slots: 511 pages are dirty, expected 512"},
	    {HARVESTS_FAIL, "harvest-get", "cannot make pages dirty: Input/output error"},
	    {HARVESTS_MISS_A_PAGE, "harvest-get",
	     "case harvest-get, all-dirty, 2 mib: a harvest misses pages or has too many: pages "
	     "0x1c0 and on are 0x7fffffffffffffff, expected 0xffffffffffffffff"},
	    {HARVESTS_ADD_A_PAGE, "harvest-get", "clean, 2 mib: a harvest misses pages or"},
	    {HARVESTS_LEAVE_A_PAGE, "harvest-get", "what is dirty afterwards is wrong"},
	    {HARVESTS_LEAVE_A_PAGE, "harvest-clear", "what is dirty afterwards is wrong"},
	};
	static struct answer a;
	char args[80];

	(void)state;
	for (size_t i = 0; i < sizeof(run) / sizeof(run[0]); i++) {
		snprintf(args, sizeof(args), "%s --repetitions 1", run[i].args);
		dirty_fault = run[i].fault;
		bench(&a, args);
		dirty_fault = DIRTY_HONEST;
		if (a.status != 1)
			fail_msg("fault %d, %s: exit %d", (int)run[i].fault, args, a.status);
		assert_says(a.err, run[i].err);
	}
}

static void wrong_answers_of_tables_end_the_run(void **state)
{
	static const struct {
		enum mmu_liar liar;
		const char *args, *err;
	} run[] = {
	    {LOADS_OF_OTHERS, "mmu-hit", "cached, 1 slots: wrong answers while timed"},
	    {FAULTS_ELSEWHERE, "mmu-fault-direct", "zapped, 1 slots: faults gave other host"},
	    {FAULTS_OF_NOTHING, "mmu-fault-direct", "zapped, 1 slots: 0x0 is not mapped"},
	    {FAULTS_OF_NOTHING, "mmu-fault-shadow", "one-alias, 1 slots: 0x0 is not mapped"},
	    {FAULTS_OF_NOTHING, "mmu-faults-2t", "disjoint, 1 threads: 0x0 is not mapped"},
	    {FAULTS_FAIL, "mmu-fault-direct", "a fault: Bad address"},
	    {FAULTS_FAIL, "mmu-delete-stall", "a fault beside the deletion went wrong"},
	    {ZAPS_LEAVE_ONE, "mmu-fault-direct", " is mapped still"},
	    {STORES_LESS, "mmu-map", "page 2047 was not written"},
	    {STORES_UNMAPPED, "mmu-map", "4-kib, 10 slots: 0x0 is not mapped"},
	    {DROPS_MORE, "mmu-unmap", "page 1024 was not written"},
	    {DROPS_LESS, "mmu-unmap", "page 1023 was not taken away"},
	    {DROPS_LESS, "mmu-unmap-2m", "page 512 was not taken away"},
	    {DROPS_STAY_MAPPED, "mmu-unmap", "0x0 is mapped still"},
	    {EDITS_CONTROL, "mmu-merge-refaults", "created again: 0 faults, expected 8192"},
	    {EDITS_CONTROL, "mmu-split-refaults", "created again: 0 faults"},
	    {FAULTS_MISCOUNTED, "mmu-merge-refaults",
	     "0 pages were gone, but 1 faults were counted"},
	    {FILLS_LESS, "mmu-merge-refaults", "8191 pages are mapped, expected 8192"},
	    {LOGGING_SPLITS, "mmu-log-on", " tables, "},
	    {LOGGING_LOSES_ONE, "mmu-log-write", "8191 pages are dirty, expected 8192"},
	    {MAPPED_HARVESTS_LOSE, "mmu-harvest", "a harvest has 654 pages, expected 655"},
	    {DELETES_NOTHING, "mmu-delete-stall", "0x0 is mapped still"},
	    {TABLES_FOR_NOTHING, "mmu-metadata", "8 bytes of tables for 8192 leaves"},
	    {ZAPS_NOTHING, "mmu-zap", "0x0 is mapped still"},
	};
	static struct answer a;
	char args[80];

	(void)state;
	for (size_t i = 0; i < sizeof(run) / sizeof(run[0]); i++) {
		snprintf(args, sizeof(args), "%s --quick --repetitions 1", run[i].args);
		mmu_liar = run[i].liar;
		bench(&a, args);
		mmu_liar = MMU_HONEST;
		if (a.status != 1)
			fail_msg("liar %d, %s: exit %d", (int)run[i].liar, args, a.status);
		assert_says(a.err, run[i].err);
	}
}

static void rows_of_dirty_pages_have_an_axis_of_their_own(void **state)
{
	static struct answer a;

	(void)state;
	bench(&a, "mark-store harvest-get --repetitions 1 --json");
	assert_int_equal(a.status, 0);
	assert_says(a.out, "{\"case\":\"mark-store\",\"engine\":\"mslot\",\"layout\":\"clean\","
			   "\"slots\":1,\"value\":");
	assert_says(a.out, "{\"case\":\"harvest-get\",\"engine\":\"mslot\",\"layout\":"
			   "\"1-percent\",\"mib\":65536,\"value\":");
	assert_says(a.out, "\"unit\":\"us\",\"repetitions\":1}\n");
	assert_says(a.out, "{\"case\":\"harvest-get\",\"engine\":\"gone\",\"layout\":\"clean\","
			   "\"mib\":2,\"skipped\":\"not available: nobody: No such file or "
			   "directory\"}\n");
	bench(&a, "harvest-get --repetitions 1");
	assert_int_equal(a.status, 0);
	assert_says(a.out, "\n   mib  engine  median");
	assert_says(a.out, "no row of gone at 512 mib: not available: nobody");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(honest_answers_make_rows),
	    cmocka_unit_test(a_wrong_sum_ends_the_run),
	    cmocka_unit_test(a_wrong_answer_is_found_before_timing),
	    cmocka_unit_test(slots_lost_by_edits_are_missed_afterwards),
	    cmocka_unit_test(edits_that_do_nothing_are_noticed),
	    cmocka_unit_test(wrong_answers_end_the_run),
	    cmocka_unit_test(the_second_time_of_a_repetition_counts),
	    cmocka_unit_test(work_of_other_threads_is_a_part_of_edits),
	    cmocka_unit_test(a_failing_fill_ends_the_run),
	    cmocka_unit_test(absent_engines_are_listed),
	    cmocka_unit_test(who_cannot_take_part_is_named),
	    cmocka_unit_test(what_would_take_too_long_is_left_out),
	    cmocka_unit_test(two_threads_on_one_cpu_make_no_row),
	    cmocka_unit_test(two_values_of_a_case_are_two_tables),
	    cmocka_unit_test(phases_of_2021_are_columns),
	    cmocka_unit_test(wrong_answers_of_dirty_pages_end_the_run),
	    cmocka_unit_test(wrong_answers_of_tables_end_the_run),
	    cmocka_unit_test(rows_of_dirty_pages_have_an_axis_of_their_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
