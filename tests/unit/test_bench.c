/* SPDX-License-Identifier: MIT */
/*
 * test_bench.c - `mslot bench` with engines that are wrong, slow, refuse or are not there: the
 * verb is linked with the engines below in the place of the real ones, and its exit status and
 * both outputs are looked at. All of them are one plain list with a fault of their own.
 */
#include <errno.h>
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
#include <time.h>
#include <unistd.h>

#include "bench/runner.h"
#include "cli/cli.h"

#define TEXT_MAX 65536u
#define ARGS_MAX 16
#define SLOW_NS 70000000

struct engine_map {
	uint32_t limit;
	struct engine_slot slot[]; /* by id; len_bytes 0: there is none */
};

/* ---- An honest list ----------------------------------------------------------- */

static struct engine_map *create(uint32_t limit)
{
	struct engine_map *const m = calloc(1, sizeof(*m) + limit * sizeof(m->slot[0]));

	if (m != NULL)
		m->limit = limit;
	return m;
}

static void destroy(struct engine_map *m)
{
	free(m);
}

static int insert(struct engine_map *m, const struct engine_slot *slot)
{
	m->slot[slot->id] = *slot;
	return 0;
}

static int set_flags(struct engine_map *m, uint32_t id, uint32_t flags)
{
	m->slot[id].flags = flags;
	return 0;
}

static int move(struct engine_map *m, uint32_t id, uint64_t gpa)
{
	/* Beside readers. */
	__atomic_store_n(&m->slot[id].gpa, gpa, __ATOMIC_RELAXED);
	return 0;
}

static int fill(struct engine_map *m, const struct engine_slot *slots, size_t n)
{
	memset(m->slot, 0, m->limit * sizeof(m->slot[0]));
	for (size_t i = 0; i < n; i++)
		m->slot[slots[i].id] = slots[i];
	return 0;
}

static uint64_t token_of(struct engine_map *m, uint32_t id)
{
	return m->slot[id].len_bytes > 0 ? (uint64_t)id + 1 : 0;
}

static uint32_t flags_of(struct engine_map *m, uint32_t id)
{
	return m->slot[id].flags;
}

static uint64_t find(struct engine_map *m, const uint64_t *gpa, size_t n)
{
	uint64_t sum = 0;

	for (size_t k = 0; k < n; k++) {
		for (uint32_t id = 0; id < m->limit; id++) {
			const uint64_t start = __atomic_load_n(&m->slot[id].gpa, __ATOMIC_RELAXED);

			sum += gpa[k] - start < m->slot[id].len_bytes ? id + 1 : 0;
		}
	}
	return sum;
}

static uint64_t memory(struct engine_map *m)
{
	return sizeof(*m) + m->limit * sizeof(m->slot[0]);
}

#define HONEST                                                                                     \
	.create = create, .destroy = destroy, .insert = insert, .token_of = token_of,              \
	.flags_of = flags_of, .memory = memory

/* ---- Faults ------------------------------------------------------------------- */

/* One by one it is right. */
static uint64_t find_lying(struct engine_map *m, const uint64_t *gpa, size_t n)
{
	return find(m, gpa, n) + (n > 1);
}

static uint64_t find_wrong(struct engine_map *m, const uint64_t *gpa, size_t n)
{
	return find(m, gpa, n) + n;
}

static int set_flags_losing(struct engine_map *m, uint32_t id, uint32_t flags)
{
	m->slot[id].flags = flags;
	m->slot[id].len_bytes = 0;
	return 0;
}

static int set_flags_of_nothing(struct engine_map *m, uint32_t id, uint32_t flags)
{
	(void)m;
	(void)id;
	(void)flags;
	return 0;
}

static int move_nothing(struct engine_map *m, uint32_t id, uint64_t gpa)
{
	(void)m;
	(void)id;
	(void)gpa;
	return 0;
}

static int batch_of_nothing(struct engine_map *m, const struct engine_slot *slots, size_t n)
{
	(void)m;
	(void)slots;
	(void)n;
	return 0;
}

static int fill_without_memory(struct engine_map *m, const struct engine_slot *slots, size_t n)
{
	(void)m;
	(void)slots;
	(void)n;
	return -ENOMEM;
}

static int insert_slowly(struct engine_map *m, const struct engine_slot *slot)
{
	nanosleep(&(const struct timespec){.tv_nsec = SLOW_NS}, NULL);
	return insert(m, slot);
}

/* Every thread of the process on one CPU, until the engine's turn is over. */
static cpu_set_t all_cpus;

static void one_cpu_for_all(void)
{
	cpu_set_t one;
	size_t first = 0;

	if (sched_getaffinity(0, sizeof(one), &one) != 0)
		return;
	if (CPU_COUNT(&one) > 1)
		all_cpus = one;
	while (!CPU_ISSET(first, &one))
		first++;
	CPU_ZERO(&one);
	CPU_SET(first, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static void all_cpus_again(void)
{
	sched_setaffinity(0, sizeof(all_cpus), &all_cpus);
}

static const char *is_gone(void)
{
	return "nobody has it";
}

static const char *version(void)
{
	return "7.1";
}

static const struct engine honest = {.name = "mslot",
				     .what = "a list",
				     .version = version,
				     HONEST,
				     .fill = fill,
				     .find = find,
				     .find_section = find,
				     .set_flags = set_flags,
				     .move = move};
static const struct engine lying = {
    .name = "lying", .what = "wrong sums", HONEST, .fill = fill, .find = find_lying};
static const struct engine wrong = {
    .name = "wrong", .what = "wrong answers", HONEST, .fill = fill, .find = find_wrong};
static const struct engine losing = {.name = "losing",
				     .what = "edits lose slots",
				     HONEST,
				     .fill = fill,
				     .set_flags = set_flags_losing};
static const struct engine full = {
    .name = "full", .what = "no memory", HONEST, .fill = fill_without_memory, .find = find};
static const struct engine slow = {.name = "slow",
				   .what = "an insert takes long",
				   .create = create,
				   .destroy = destroy,
				   .insert = insert_slowly};
static const struct engine small = {
    .name = "small", .what = "few slots", .max_slots = 9, HONEST, .fill = fill, .find = find};
static const struct engine real = {
    .name = "real", .what = "mapped memory", .real_memory = true, HONEST, .find = find};
static const struct engine stopping = {.name = "stopping",
				       .what = "no edit beside readers",
				       .stops_readers = true,
				       HONEST,
				       .fill = fill,
				       .find_section = find,
				       .set_flags = set_flags};
static const struct engine crowded = {.name = "crowded",
				      .what = "all threads on one CPU",
				      HONEST,
				      .fill = fill,
				      .find_section = find,
				      .set_flags = set_flags,
				      .thread_begin = one_cpu_for_all,
				      .thread_end = all_cpus_again};
static const struct engine idle = {.name = "idle",
				   .what = "edits do nothing",
				   HONEST,
				   .fill = fill,
				   .find_section = find,
				   .move = move_nothing,
				   .set_flags = set_flags_of_nothing,
				   .batch_flags = batch_of_nothing};
static const struct engine gone = {.name = "gone", .what = "absent", .absent = is_gone};

/* In the place of bench/engines/engines.c. */
const struct engine engine_mslot = {.name = "mslot"};
const struct engine *const bench_engines[] = {&honest, &lying, &wrong,    &losing,  &full, &slow,
					      &small,  &real,  &stopping, &crowded, &idle, &gone};
const size_t bench_nengines = sizeof(bench_engines) / sizeof(bench_engines[0]);

static double bare_call_ns(void)
{
	return 12.5;
}

const struct bench_bare_call bench_bare_calls[] = {{&honest, bare_call_ns}, {0}};

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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(honest_answers_make_rows),
	    cmocka_unit_test(a_wrong_sum_ends_the_run),
	    cmocka_unit_test(a_wrong_answer_is_found_before_timing),
	    cmocka_unit_test(slots_lost_by_edits_are_missed_afterwards),
	    cmocka_unit_test(edits_that_do_nothing_are_noticed),
	    cmocka_unit_test(a_failing_fill_ends_the_run),
	    cmocka_unit_test(absent_engines_are_listed),
	    cmocka_unit_test(who_cannot_take_part_is_named),
	    cmocka_unit_test(what_would_take_too_long_is_left_out),
	    cmocka_unit_test(two_threads_on_one_cpu_make_no_row),
	    cmocka_unit_test(two_values_of_a_case_are_two_tables),
	    cmocka_unit_test(phases_of_2021_are_columns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
