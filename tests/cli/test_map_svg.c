/* SPDX-License-Identifier: MIT */
/*
 * test_map_svg.c - drawings of recorded and of extreme streams: well-formed, no text covers
 * another or leaves the page, holes are red, and the committed ones are what is drawn.
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

#include "run.h"
#include "rng.h"

static char *read_file(const char *path)
{
	struct run r;

	run_program(&r, "/bin/cat", (const char *const[]){path, NULL}, "");
	assert_int_equal(r.status, 0);
	free(r.err);
	return r.out;
}

static char *path_of(const char *dir, const char *name)
{
	char *path = NULL;

	assert_non_null(getenv("MSLOT_DATA"));
	assert_true(asprintf(&path, "%s/%s%s", getenv("MSLOT_DATA"), dir, name) > 0);
	return path;
}

static void run_ok(const char *const *argv)
{
	struct run r;

	run_cli(&r, argv);
	if (r.status != 0 || r.err[0] != '\0')
		fail_msg("%s: exit %d: %s", argv[0], r.status, r.err);
	run_free(&r);
}

/* The checker's exit status; what it says goes to *err. */
static int check_boxes(const char *svg, char **err)
{
	struct run r;

	assert_non_null(getenv("MSLOT_PYTHON"));
	assert_non_null(getenv("MSLOT_SVG_BOXES"));
	run_program(&r, getenv("MSLOT_PYTHON"),
		    (const char *const[]){"-B", getenv("MSLOT_SVG_BOXES"), svg, NULL}, "");
	free(r.out);
	*err = r.err;
	return r.status;
}

static void assert_boxes(const char *svg, const char *what)
{
	char *err;

	if (check_boxes(svg, &err) != 0)
		fail_msg("%s: %s", what, err);
	free(err);
}

/* Draw the trace's map at its end, or at a time, and the replay of all of it. */
static void draw_and_check(const char *trace, const char *at)
{
	char *const svg = run_file("", 0, ".svg");

	if (at != NULL)
		run_ok((const char *const[]){"map", "--at", at, "--svg", svg, trace, NULL});
	else
		run_ok((const char *const[]){"map", "--svg", svg, trace, NULL});
	assert_boxes(svg, trace);
	run_ok((const char *const[]){"replay", "--seconds", "0", "--readers", "1", "--svg", svg,
				     trace, NULL});
	assert_boxes(svg, trace);
	run_unlink(svg);
}

static void every_trace_is_drawn_without_overlap(void **state)
{
	char *const pattern = path_of("traces/", "*.txt");
	glob_t g;

	(void)state;
	assert_int_equal(glob(pattern, 0, NULL, &g), 0);
	assert_true(g.gl_pathc >= 10);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		draw_and_check(g.gl_pathv[i], NULL);
		draw_and_check(g.gl_pathv[i], "0.03");
	}
	globfree(&g);
	free(pattern);
}

/* ---- Extreme streams -------------------------------------------------------------------- */

static FILE *begin_trace(char **text)
{
	static size_t len;
	FILE *const to = open_memstream(text, &len);

	assert_non_null(to);
	return to;
}

/* Close the stream, draw what it has, and forget it. */
static void end_trace(FILE *to, char **text, const char *suffix)
{
	char *name;

	assert_int_equal(fclose(to), 0);
	name = run_file(*text, strlen(*text), suffix);
	draw_and_check(name, NULL);
	run_unlink(name);
	free(*text);
}

static void put_add(FILE *to, unsigned int i, unsigned int space, uint64_t gpa, uint64_t size,
		    uint64_t hva)
{
	fprintf(to, "%u.5 %u %u %u 0x%x 0x%llx 0x%llx 0x%llx ADD\n", i, i, space, i, i % 4,
		(unsigned long long)gpa, (unsigned long long)size, (unsigned long long)hva);
}

static void many_dimms_are_drawn(void **state)
{
	char *text;
	FILE *to = begin_trace(&text);

	(void)state;
	for (unsigned int i = 0; i < 256; i++)
		fprintf(to, "0.%03u %u 0 %u 0x0 0x%llx 0x8000000 0x%llx ADD\n", i, i, i,
			0x100000000ull + i * 0x8000000ull, 0x100000ull + i * 0x10000000ull);
	end_trace(to, &text, ".txt");
}

static void slots_of_all_sizes_are_drawn(void **state)
{
	struct rng rng;
	uint64_t gpa = 0;
	char *text;
	FILE *to = begin_trace(&text);

	(void)state;
	rng_init(&rng, 3);
	for (unsigned int i = 0; i < 600; i++) {
		const uint64_t size = UINT64_C(4096) << rng_below(&rng, 24);

		gpa += rng_below(&rng, 3) == 0 ? UINT64_C(4096) << rng_below(&rng, 20) : 0;
		put_add(to, i, 0, gpa, size, rng_below(&rng, 1u << 20) << 12);
		gpa += size;
	}
	end_trace(to, &text, ".txt");
}

static void sixteen_spaces_are_drawn(void **state)
{
	char *text;
	FILE *to = begin_trace(&text);

	(void)state;
	for (unsigned int i = 0; i < 16 * 12; i++)
		put_add(to, i, i / 12, (uint64_t)i << (16 + i % 12), 0x1000 * (1 + i % 12), 0);
	end_trace(to, &text, ".txt");
}

static void the_top_of_all_addresses_and_times_is_drawn(void **state)
{
	char *text;
	FILE *to = begin_trace(&text);

	(void)state;
	for (unsigned int i = 0; i < 7; i++)
		fprintf(to, "18446744073709551615.9 %u 0 %u 0x0 0x%llx 0x1000 0x7fffffffe000 ADD\n",
			i, i, 0xffffffffff000ull - i * 0x100000003000ull);
	end_trace(to, &text, ".txt");
}

static void a_name_that_means_something_in_xml_is_drawn(void **state)
{
	char name[181] = "<&>\"';--]]>\303\251\377 ";
	char *text;
	FILE *to = begin_trace(&text);

	(void)state;
	memset(name + strlen(name), 'W', sizeof(name) - 1 - strlen(name));
	put_add(to, 0, 0, 0, 0x1000, 0);
	end_trace(to, &text, name);
}

static void a_map_without_slots_is_drawn(void **state)
{
	char *text;
	FILE *to = begin_trace(&text);

	(void)state;
	put_add(to, 0, 0, 0, 0x1000, 0);
	fprintf(to, "2 2 0 0 0x0 0x0 0x0 0x0 DEL\n");
	end_trace(to, &text, ".txt");
}

/* ---- What the drawings say --------------------------------------------------------------- */

static size_t count(const char *text, const char *part)
{
	size_t n = 0;

	for (; (text = strstr(text, part)) != NULL; text++)
		n++;
	return n;
}

static void holes_are_red_one_by_one_and_absent_in_transactions(void **state)
{
	char *const trace = path_of("traces/", "q35-pam-smram.txt");
	char *const svg = run_file("", 0, ".svg");
	char *text;

	(void)state;
	run_ok((const char *const[]){"replay", "--seconds", "0", "--svg", svg, trace, NULL});
	text = read_file(svg);
	assert_int_equal(count(text, "2,785 steps published, 2,040 with missing RAM"), 1);
	assert_int_equal(count(text, "745 steps published, 0 with missing RAM"), 1);
	/* One list of red areas, before the side of the transactions begins. */
	assert_int_equal(count(text, "<path class=\"hole\""), 1);
	assert_true(strstr(text, "<path class=\"hole\"") < strstr(text, "As transactions"));
	assert_true(strlen(text) < 1000000);
	free(text);
	run_unlink(svg);
	free(trace);
}

static void aliases_and_fills_are_marked(void **state)
{
	static const char trace[] = "0 0 0 0 0x0 0x0 0x4000 0x0 ADD\n"
				    "0 0 0 1 0x1 0x4000 0x4000 0x8000 ADD\n"
				    "0 0 0 2 0x2 0x10000 0x4000 0x10000 ADD\n"
				    "0 0 0 3 0x3 0x20000 0x4000 0x2000 ADD\n";
	static const char *const expected[] = {
	    "class=\"ram edge\"",    "class=\"log edge\"",     "class=\"rom edge\"",
	    "class=\"logrom edge\"", "class=\"shared\"",       "class=\"gap\"",
	    "RAM, slot 0, alias of", "slot 3, alias of 0",     "RAM, logged, slot 1",
	    "read-only and logged<", "host memory shown twice"};
	char *const name = run_file(trace, sizeof(trace) - 1, ".txt");
	char *const svg = run_file("", 0, ".svg");
	char *text;

	(void)state;
	run_ok((const char *const[]){"map", "--svg", svg, name, NULL});
	text = read_file(svg);
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		if (strstr(text, expected[i]) == NULL)
			fail_msg("expected '%s' in '%s'", expected[i], text);
	}
	/* Slots 0 and 3 share two pages; the third mark is the legend's. */
	assert_int_equal(count(text, "class=\"shared\""), 3);
	free(text);
	run_unlink(svg);
	run_unlink(name);
}

static void the_committed_drawings_are_what_is_drawn(void **state)
{
	static const char *const name[][2] = {{"q35-pam-smram", "0.1"},
					      {"q35-dimm250-plug-unplug", "1.03"}};
	char *const svg = run_file("", 0, ".svg");

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		const char *const *const n = name[i / 2];
		char file[64], docs[96];
		char *trace, *committed, *drawn, *expected;

		snprintf(file, sizeof(file), "%s.txt", n[0]);
		snprintf(docs, sizeof(docs), "%s-%s.svg", i % 2 == 0 ? "map" : "replay", n[0]);
		trace = path_of("traces/", file);
		committed = path_of("../docs/", docs);
		if (i % 2 == 0)
			run_ok(
			    (const char *const[]){"map", "--at", n[1], "--svg", svg, trace, NULL});
		else
			run_ok((const char *const[]){"replay", "--seconds", "0", "--svg", svg,
						     trace, NULL});
		drawn = read_file(svg);
		expected = read_file(committed);
		if (strcmp(drawn, expected) != 0)
			fail_msg("%s is not what is drawn: draw it again, see docs/pictures.md",
				 docs);
		free(drawn);
		free(expected);
		free(trace);
		free(committed);
	}
	run_unlink(svg);
}

/* ---- The checker itself ------------------------------------------------------------------ */

#define SVG                                                                                        \
	"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"100\" height=\"50\" viewBox=\"0 0 100 " \
	"50\">"
#define TEXT(x, y, anchor, what)                                                                   \
	"<text x=\"" x "\" y=\"" y "\" font-size=\"10\" text-anchor=\"" anchor "\">" what "</"     \
	"text>"

static void the_checker_finds_planted_faults(void **state)
{
	static const struct {
		const char *svg;
		const char *fault; /* NULL: none */
	} planted[] = {
	    {SVG TEXT("5", "20", "start", "abc") TEXT("5", "32", "start", "def") "</svg>", NULL},
	    {SVG TEXT("5", "20", "start", "abc") TEXT("5", "29", "start", "def") "</svg>",
	     "covers"},
	    {SVG TEXT("5", "20", "start", "abc") TEXT("30", "20", "end", "de") "</svg>", "covers"},
	    {SVG TEXT("95", "20", "start", "abc") "</svg>", "leaves the page"},
	    {SVG TEXT("3", "20", "middle", "abc") "</svg>", "leaves the page"},
	    {SVG TEXT("5", "5", "start", "abc") "</svg>", "leaves the page"},
	    {SVG TEXT("5", "49", "start", "abc") "</svg>", "leaves the page"},
	    {SVG TEXT("5", "20", "start", " ") "</svg>", "a text is empty"},
	    {SVG "</svg>", "no text at all"},
	    {SVG TEXT("5", "20", "start", "a&b") "</svg>", "not well-formed"},
	    {SVG TEXT("5", "20", "start", "abc"), "not well-formed"},
	    {SVG TEXT("5", "20", "start", "abc") "<path d=\"M1 1nan\"/></svg>", "no list of rect"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(planted) / sizeof(planted[0]); i++) {
		char *const name = run_file(planted[i].svg, strlen(planted[i].svg), ".svg");
		char *err;
		const int status = check_boxes(name, &err);

		if (status != (planted[i].fault != NULL))
			fail_msg("case %zu: exit %d: %s", i, status, err);
		if (planted[i].fault != NULL && strstr(err, planted[i].fault) == NULL)
			fail_msg("case %zu: expected '%s', got '%s'", i, planted[i].fault, err);
		free(err);
		run_unlink(name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_checker_finds_planted_faults),
	    cmocka_unit_test(every_trace_is_drawn_without_overlap),
	    cmocka_unit_test(many_dimms_are_drawn),
	    cmocka_unit_test(slots_of_all_sizes_are_drawn),
	    cmocka_unit_test(sixteen_spaces_are_drawn),
	    cmocka_unit_test(the_top_of_all_addresses_and_times_is_drawn),
	    cmocka_unit_test(a_name_that_means_something_in_xml_is_drawn),
	    cmocka_unit_test(a_map_without_slots_is_drawn),
	    cmocka_unit_test(holes_are_red_one_by_one_and_absent_in_transactions),
	    cmocka_unit_test(aliases_and_fills_are_marked),
	    cmocka_unit_test(the_committed_drawings_are_what_is_drawn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
