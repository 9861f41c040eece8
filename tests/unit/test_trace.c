/* SPDX-License-Identifier: MIT */
/*
 * test_trace.c - the readers of traces and logs, and the plan made from a trace: what
 * they accept, and line and words of each refusal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../../cli/histogram.h"
#include "../../cli/plan.h"
#include "../../cli/request.h"
#include "../../cli/trace.h"
#include "../cli/run.h"

#define ADD0 "0.1 0 0 0 0x0 0x0 0x4000 0x1000 ADD\n"
#define LOG "seq,slot,flags,gpa,size,hva,ret,errno,class\n"

/* ---- Traces ------------------------------------------------------------------ */

static int read_bytes(struct trace *t, const void *bytes, size_t len, struct lines_fault *fault)
{
	char *const name = run_file(bytes, len, ".txt");
	const int ret = trace_read(t, name, fault);

	run_unlink(name);
	return ret;
}

static void read_good(struct trace *t, const char *text)
{
	struct lines_fault fault = {0};

	if (read_bytes(t, text, strlen(text), &fault) != 0)
		fail_msg("refused: line %lu: %s", fault.line, fault.text);
}

static void assert_trace_refused(const void *bytes, size_t len, unsigned long line,
				 const char *text)
{
	struct lines_fault fault = {0};
	struct trace t;

	assert_int_equal(read_bytes(&t, bytes, len, &fault), -1);
	if (strstr(fault.text, text) == NULL || fault.line != line)
		fail_msg("expected line %lu and '%s', got line %lu: %s", line, text, fault.line,
			 fault.text);
	assert_null(t.op);
	assert_null(t.group);
}

static void refused(const char *bytes, unsigned long line, const char *text)
{
	assert_trace_refused(bytes, strlen(bytes), line, text);
}

static void every_field_is_read(void **state)
{
	struct trace t;

	(void)state;
	read_good(&t, "# a comment\n"
		      "\n" ADD0 "0.2 7 15 65535 0x3 0x5000 0x1000 0x9000 ADD HOLE=0x3ff00000\n"
		      "1 7 0 0 0x1 0x0 0x4000 0x1000 FLAGS\n"
		      "1.5 8 0 0 0x0 0x0 0x0 0x1000 DEL HOLE=0x1\n");
	assert_int_equal(t.nops, 4);
	assert_int_equal(t.ngroups, 3);
	assert_int_equal(t.nholes, 2);
	assert_int_equal(t.nspaces, 16);
	assert_int_equal(t.hva_lo, 0x1000);
	assert_int_equal(t.hva_hi, 0xa000);
	assert_int_equal(t.group[1].first, 1);
	assert_int_equal(t.group[1].nops, 2);
	assert_int_equal(t.op[1].line, 4);
	assert_int_equal(t.op[1].tx, 7);
	assert_int_equal(t.op[1].space, 15);
	assert_int_equal(t.op[1].id, 65535);
	assert_int_equal(t.op[1].flags, 3);
	assert_int_equal(t.op[1].gpa, 0x5000);
	assert_int_equal(t.op[1].size, 0x1000);
	assert_int_equal(t.op[1].hva, 0x9000);
	assert_int_equal(t.op[1].hole, 0x3ff00000);
	assert_int_equal(t.op[1].kind, TRACE_ADD);
	assert_int_equal(t.op[2].kind, TRACE_FLAGS);
	assert_int_equal(t.op[3].kind, TRACE_DEL);
	trace_free(&t);
}

static void carriage_returns_and_tabs_are_accepted(void **state)
{
	struct trace t;

	(void)state;
	read_good(&t, "# comment\r\n\r\n0.1\t0  0 0 0x0 0x0 0x4000 0x1000 ADD \r\n");
	assert_int_equal(t.nops, 1);
	assert_int_equal(t.op[0].size, 0x4000);
	trace_free(&t);
	refused("0.1 0 0 0 0x0 0x0 0x4000 0x1000\rADD\n", 1, "a byte 0x0d");
}

static void bad_fields_are_named_with_their_line(void **state)
{
	(void)state;
	refused(ADD0 "x 0 0 1 0x0 0x4000 0x4000 0x1000 ADD\n", 2, "a time in seconds, got 'x'");
	refused("1. 0 0 1 0x0 0x4000 0x4000 0x1000 ADD\n", 1, "a time in seconds, got '1.'");
	refused("1 -1 0 1 0x0 0x4000 0x4000 0x1000 ADD\n", 1, "group number (tx), got '-1'");
	refused("1 0 16 1 0x0 0x4000 0x4000 0x1000 ADD\n", 1, "an as_id from 0 to 15, got '16'");
	refused("1 0 0 65536 0x0 0x4000 0x4000 0x1000 ADD\n", 1, "a slot from 0 to 65535");
	refused("1 0 0 1 0x4 0x4000 0x4000 0x1000 ADD\n", 1, "flags from 0x0 to 0x3, got '0x4'");
	refused("1 0 0 1 0x0 0x4001 0x4000 0x1000 ADD\n", 1, "page-aligned hexadecimal gpa");
	refused("1 0 0 1 0x0 0x4000 0x4800 0x1000 ADD\n", 1, "page-aligned hexadecimal size");
	refused("1 0 0 1 0x0 0x4000 0x4000 0x10 ADD\n", 1, "page-aligned hexadecimal hva");
	refused("1 0 0 1 0x0 16384 0x4000 0x1000 ADD\n", 1, "hexadecimal gpa, got '16384'");
	refused("1 0 0 1 0x0 0x10000000000000000 0x1000 0x0 ADD\n", 1, "hexadecimal gpa");
	refused("1 0 0 1 0x0 0x4000 0x4000 0x1000 MOVE\n", 1, "ADD, DEL or FLAGS, got 'MOVE'");
	refused("1 0 0 1 0x0 0x4000 0x4000 0x1000 ADD HOLE\n", 1, "HOLE=0xBYTES");
	refused("1 0 0 1 0x0 0x4000 0x4000 0x1000 ADD HOLE=0x0\n", 1, "HOLE=0xBYTES");
	refused("1 0 0 1 0x0 0x4000 0x4000 0x1000 ADD HOLE=0x10000000000000000\n", 1,
		"HOLE=0xBYTES");
	refused("1 0 0 1 0x0 0x4000 0x4000 0x1000 ADD HOLE=0x1 x\n", 1, "9 or 10 fields, got more");
	refused("1 0 0 1 0x0 0x4000\n", 1, "9 or 10 fields, got 6");
}

static void contradictions_between_fields_are_refused(void **state)
{
	(void)state;
	refused("1 0 0 1 0x0 0x4000 0x4000 0x1000 DEL\n", 1, "size 0x0 in a DEL, got '0x4000'");
	refused("1 0 0 1 0x0 0x4000 0x0 0x1000 ADD\n", 1, "a size above 0x0");
	refused("1 0 0 1 0x0 0xfffffffffffff000 0x1000 0x0 ADD\n", 1, "gpa + size below 2^64");
	refused("1 0 0 1 0x0 0x0 0x2000 0xfffffffffffff000 ADD\n", 1,
		"hva + size up to 0x7ffffffff000");
	refused("1 5 0 1 0x0 0x4000 0x4000 0x0 ADD\n1 4 0 1 0x0 0x4000 0x0 0x0 DEL\n", 2,
		"(tx) of at least 5, got '4'");
}

static void cut_and_empty_files_are_refused(void **state)
{
	(void)state;
	refused(ADD0 "0.2 1 0 1 0x0 0x400", 2, "a newline at the end of the line");
	refused("0.2 1 0 1 0x0 0x4000 0x1000 0x0 ADD", 1, "got the end of the file (is it cut?)");
	refused("# only\n# comments\n", 3, "a request, got the end of the file");
	assert_trace_refused("", 0, 1, "a request, got the end of the file");
}

static void binary_garbage_is_refused(void **state)
{
	static const char nul[] = "0.1 0 0 0 0x0 0x0 0x4000\0 0x1000 ADD\n";
	static const char elf[] = "\x7f"
				  "ELF\x02\x01\x01";

	(void)state;
	assert_trace_refused(nul, sizeof(nul) - 1, 1, "text, got a byte 0x00");
	assert_trace_refused(elf, sizeof(elf) - 1, 1, "text, got a byte 0x7f");
	refused("\xff\xfe\xfd\n", 1, "got 1");
}

static void long_lines_are_cut_off_at_the_limit(void **state)
{
	char *const text = calloc(LINES_MAX_BYTES + 100, 1);
	struct trace t;

	(void)state;
	assert_non_null(text);
	memset(text, '#', LINES_MAX_BYTES - 1);
	strcpy(text + LINES_MAX_BYTES - 1, "\n" ADD0);
	read_good(&t, text);
	assert_int_equal(t.nops, 1);
	trace_free(&t);
	memset(text, '#', LINES_MAX_BYTES);
	strcpy(text + LINES_MAX_BYTES, "\n" ADD0);
	refused(text, 1, "a line below 65536 bytes");
	free(text);
}

static void missing_files_and_directories_are_refused(void **state)
{
	struct lines_fault fault;
	struct trace t;

	(void)state;
	assert_int_equal(trace_read(&t, "/nonexistent/trace.txt", &fault), -1);
	assert_non_null(strstr(fault.text, "cannot open: No such file"));
	assert_int_equal(fault.line, 0);
	assert_int_equal(trace_read(&t, "/", &fault), -1);
	assert_non_null(strstr(fault.text, "cannot read: Is a directory"));
	assert_int_equal(fault.line, 0);
}

/* ---- Logs --------------------------------------------------------------------- */

static void log_refused(const char *text, unsigned long line, const char *expected)
{
	char *const name = run_file(text, strlen(text), ".csv");
	struct lines_fault fault = {0};
	struct request_log log;

	assert_int_equal(request_log_read(&log, name, &fault), -1);
	run_unlink(name);
	if (strstr(fault.text, expected) == NULL || fault.line != line)
		fail_msg("expected line %lu and '%s', got line %lu: %s", line, expected, fault.line,
			 fault.text);
	assert_null(log.request);
}

static void log_fields_are_read(void **state)
{
	static const char text[] = LOG "0,131078,3,0x1b7000,0x5000,0x2000002d3000,-1,22,as_id\n"
				       "1,4,0,0xffffffffffffffff,0,0,0,0,delete\n";
	char *const name = run_file(text, strlen(text), ".csv");
	struct lines_fault fault;
	struct request_log log;

	(void)state;
	assert_int_equal(request_log_read(&log, name, &fault), 0);
	run_unlink(name);
	assert_int_equal(log.nrequests, 2);
	assert_int_equal(log.request[0].slot, 131078);
	assert_int_equal(log.request[0].flags, 3);
	assert_int_equal(log.request[0].gpa, 0x1b7000);
	assert_int_equal(log.request[0].size, 0x5000);
	assert_int_equal(log.request[0].hva, 0x2000002d3000);
	assert_int_equal(log.request[0].answer, -22);
	assert_string_equal(log.request[0].class, "as_id");
	assert_true(log.request[1].gpa == UINT64_MAX);
	assert_int_equal(log.request[1].answer, 0);
	request_log_free(&log);
}

static void bad_logs_are_refused(void **state)
{
	(void)state;
	log_refused("", 1, "the header seq,slot");
	log_refused("seq,slot\n", 1, "the header seq,slot");
	log_refused(LOG, 2, "a request, got the end of the file");
	log_refused(LOG "0,1,0,0x0,0x1000,0,0,0\n", 2, "9 fields, got 8");
	log_refused(LOG "0,1,0,0x0,0x1000,0,0,0,a,b\n", 2, "9 fields, got more");
	log_refused(LOG "0,1,0,0x0,0x1000,0,0,0,a\n2,1,0,0x0,0,0,0,0,a\n", 3, "the next seq");
	log_refused(LOG "0,4294967296,0,0x0,0x1000,0,0,0,a\n", 2, "a decimal slot below 2^32");
	log_refused(LOG "0,1,0x1,0x0,0x1000,0,0,0,a\n", 2, "decimal flags below 2^32, got '0x1'");
	log_refused(LOG "0,1,0,12,0x1000,0,0,0,a\n", 2, "a hexadecimal gpa, got '12'");
	log_refused(LOG "0,1,0,0x0,0xg,0,0,0,a\n", 2, "a hexadecimal size");
	log_refused(LOG "0,1,0,0x0,0x1000,,0,0,a\n", 2, "a hexadecimal hva, got ''");
	log_refused(LOG "0,1,0,0x0,0x1000,0,1,0,a\n", 2, "ret 0 or -1, got '1'");
	log_refused(LOG "0,1,0,0x0,0x1000,0,-1,0,a\n", 2, "errno 0 with ret 0");
	log_refused(LOG "0,1,0,0x0,0x1000,0,0,22,a\n", 2, "errno 0 with ret 0");
	log_refused(LOG "0,1,0,0x0,0x1000,0,0,0,Create\n", 2, "a class of small letters");
	log_refused(LOG "0,1,0,0x0,0x1000,0,0,0,create", 2, "a newline at the end of the line");
}

/* ---- Plans -------------------------------------------------------------------- */

static void plan_good(struct trace *t, struct plan *p, const char *text)
{
	struct lines_fault fault = {0};

	read_good(t, text);
	if (plan_build(p, t, &fault) != 0)
		fail_msg("refused: line %lu: %s", fault.line, fault.text);
}

static void plan_refused(const char *text, unsigned long line, const char *expected)
{
	struct lines_fault fault = {0};
	struct trace t;
	struct plan p;

	read_good(&t, text);
	assert_int_equal(plan_build(&p, &t, &fault), -1);
	if (strstr(fault.text, expected) == NULL || fault.line != line)
		fail_msg("expected line %lu and '%s', got line %lu: %s", line, expected, fault.line,
			 fault.text);
	trace_free(&t);
}

static void groups_fold_into_one_net_edit_an_id(void **state)
{
	struct trace t;
	struct plan p;

	(void)state;
	plan_good(&t, &p,
		  "0 0 0 0 0x0 0x0 0x4000 0x0 ADD\n"
		  /* Redefined by delete and create; id 1 comes and goes; id 2 is new. */
		  "0 1 0 0 0x0 0x0 0x0 0x0 DEL\n"
		  "0 1 0 1 0x0 0x0 0x1000 0x0 ADD\n"
		  "0 1 0 1 0x0 0x0 0x0 0x0 DEL\n"
		  "0 1 0 2 0x0 0x2000 0x2000 0x2000 ADD\n"
		  "0 1 0 0 0x0 0x0 0x2000 0x0 ADD\n"
		  /* Deleted and made again as it was: no net edit. */
		  "0 2 0 2 0x0 0x2000 0x0 0x2000 DEL\n"
		  "0 2 0 2 0x0 0x2000 0x2000 0x2000 ADD\n"
		  "0 3 0 2 0x0 0x2000 0x0 0x2000 DEL\n");
	assert_int_equal(p.npublished, 3);
	assert_int_equal(p.nchanges, 9);
	assert_int_equal(p.max_slots, 2);
	assert_int_equal(p.group[1].nedits, 2);
	assert_int_equal(p.edit[1].kind, MSLOT_EDIT_REDEFINE);
	assert_int_equal(p.edit[1].slot.size, 0x2000);
	assert_int_equal(p.edit[1].line, 6);
	assert_int_equal(p.edit[2].kind, MSLOT_EDIT_CREATE);
	assert_int_equal(p.edit[2].slot.id, 2);
	assert_int_equal(p.group[2].nedits, 0);
	assert_int_equal(p.group[3].nedits, 1);
	assert_int_equal(p.edit[3].kind, MSLOT_EDIT_DELETE);
	assert_int_equal(p.final.nslots, 1);
	assert_int_equal(p.always.nranges, 1);
	assert_int_equal(p.always.range[0].start, 0);
	assert_int_equal(p.always.range[0].end, 0x2000);
	plan_free(&p);
	trace_free(&t);
}

static void assert_probes(const struct plan_walk *w, const uint64_t *gpa, size_t n)
{
	assert_int_equal(w->nprobes, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(w->probe[i].gpa, gpa[i]);
}

static void probes_are_the_ends_and_middle_of_each_kept_piece(void **state)
{
	static const uint64_t split[] = {0x0, 0x1000, 0x1fff, 0x2000, 0x3000, 0x3fff};
	static const uint64_t kept[] = {0x0, 0x1000, 0x1fff};
	struct plan_walk w = {0};
	struct trace t;

	(void)state;
	read_good(&t, "0 0 0 0 0x0 0x0 0x4000 0x0 ADD\n"
		      "0 1 0 0 0x0 0x0 0x0 0x0 DEL\n"
		      "0 1 0 0 0x0 0x0 0x2000 0x0 ADD\n"
		      "0 1 0 2 0x2 0x2000 0x4000 0x2000 ADD\n"
		      "0 2 0 2 0x2 0x2000 0x0 0x2000 DEL\n"
		      "0 2 1 2 0x0 0x2000 0x1000 0x2000 ADD\n");
	plan_walk_next(&w, &t, 0);
	assert_probes(&w, NULL, 0);
	plan_walk_next(&w, &t, 1);
	assert_probes(&w, split, 6);
	plan_walk_next(&w, &t, 2);
	assert_probes(&w, kept, 3);
	plan_walk_fini(&w);
	trace_free(&t);
}

static void requests_that_contradict_the_slots_are_refused(void **state)
{
	(void)state;
	plan_refused(ADD0 "0 1 0 1 0x0 0x0 0x0 0x0 DEL\n", 2, "a slot that exists, got slot 1");
	plan_refused(ADD0 "0 1 1 0 0x0 0x0 0x0 0x0 DEL\n", 2, "got slot 0 of space 1");
	plan_refused(ADD0 "0 1 0 1 0x1 0x0 0x4000 0x1000 FLAGS\n", 2, "a slot that exists");
	plan_refused(ADD0 "0 1 0 0 0x1 0x0 0x2000 0x1000 FLAGS\n", 2, "slot as it is");
}

/* ---- Histogram ------------------------------------------------------------------ */

static void quantiles_are_within_a_bucket(void **state)
{
	static struct histogram h;

	(void)state;
	assert_int_equal(histogram_quantile(&h, 50, 100), 0);
	for (uint64_t v = 1; v <= 100000; v++)
		histogram_add(&h, v);
	assert_in_range(histogram_quantile(&h, 50, 100), 50000, 51600);
	assert_in_range(histogram_quantile(&h, 99, 100), 99000, 102100);
	assert_in_range(histogram_quantile(&h, 1, 100000), 1, 1);
	histogram_add(&h, UINT64_MAX);
	assert_true(histogram_quantile(&h, 1, 1) == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_field_is_read),
	    cmocka_unit_test(carriage_returns_and_tabs_are_accepted),
	    cmocka_unit_test(bad_fields_are_named_with_their_line),
	    cmocka_unit_test(contradictions_between_fields_are_refused),
	    cmocka_unit_test(cut_and_empty_files_are_refused),
	    cmocka_unit_test(binary_garbage_is_refused),
	    cmocka_unit_test(long_lines_are_cut_off_at_the_limit),
	    cmocka_unit_test(missing_files_and_directories_are_refused),
	    cmocka_unit_test(log_fields_are_read),
	    cmocka_unit_test(bad_logs_are_refused),
	    cmocka_unit_test(groups_fold_into_one_net_edit_an_id),
	    cmocka_unit_test(probes_are_the_ends_and_middle_of_each_kept_piece),
	    cmocka_unit_test(requests_that_contradict_the_slots_are_refused),
	    cmocka_unit_test(quantiles_are_within_a_bucket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
