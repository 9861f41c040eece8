/* SPDX-License-Identifier: MIT */
/*
 * test_oracle_dirty.c - `mslot oracle` notices each way in which an engine may differ from
 * a kernel's dirty log; its logs are read as they were written; its random requests are
 * what their class says. The engine here says what a test tells it to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/oracle_dirty.h"
#include "naive_dirty.h"
#include "tests/cli/run.h"

/* ---- The engine -------------------------------------------------------------------- */

struct dirty_engine {
	int answer;
	uint32_t nwords;  /* written by a get: 1, 2, 3 ... */
	uint32_t spoiled; /* and this one is 0 instead; none from nwords on */
	enum dirty_op op; /* what arrived */
	struct dirty_call got;
};

struct dirty_engine *dirty_engine_create(const struct mslot_map_options *opt)
{
	(void)opt;
	return cli_alloc(1, sizeof(struct dirty_engine));
}

int dirty_engine_answer(struct dirty_engine *e, enum dirty_op op, struct dirty_call *call)
{
	e->op = op;
	e->got = *call;
	for (uint32_t i = 0; op == DIRTY_GET && i < e->nwords; i++)
		((uint64_t *)call->get.dirty_bitmap)[i] = i == e->spoiled ? 0 : i + 1;
	return e->answer;
}

int dirty_engine_destroy(struct dirty_engine *e)
{
	free(e);
	return CLI_OK;
}

/* ---- Verdict ------------------------------------------------------------------------- */

/* The mismatches of one request; what is reported goes to *text where that is not NULL. */
static uint64_t mismatches(struct dirty_engine *e, const struct dirty_request *request, size_t i,
			   char **text)
{
	char *report = NULL;
	size_t len = 0;
	struct verdict v = {.report = open_memstream(&report, &len)};
	uint64_t n;

	dirty_check(&v, e, "test", request, i);
	n = v.mismatches;
	assert_int_equal(v.requests, 1);
	assert_int_equal(v.class[0].mismatches, n);
	fclose(v.report);
	verdict_fini(&v);
	if (text != NULL)
		*text = report;
	else
		free(report);
	return n;
}

static void every_difference_is_a_mismatch(void **state)
{
	static const struct {
		struct dirty_engine engine;
		uint64_t mismatches;
	} get[] = {
	    {{.answer = 0, .nwords = 3, .spoiled = 9}, 0},
	    {{.answer = 0, .nwords = 3, .spoiled = 0}, 1},
	    {{.answer = 0, .nwords = 3, .spoiled = 2}, 1},
	    {{.answer = 0, .nwords = 2, .spoiled = 9}, 1},
	    {{.answer = 0, .nwords = 4, .spoiled = 9}, 1},
	    {{.answer = 0, .nwords = DIRTY_BUFFER_WORDS, .spoiled = 999}, 1},
	    {{.answer = -ENOENT, .nwords = 3, .spoiled = 9}, 1},
	};
	static const struct {
		struct dirty_engine engine;
		uint64_t mismatches;
	} refused[] = {
	    {{.answer = -ENOENT}, 0},
	    {{.answer = -EINVAL}, 1},
	    {{.answer = 0}, 1},
	    {{.answer = -ENOENT, .nwords = 1, .spoiled = 9}, 1},
	};
	struct dirty_request r = {.op = DIRTY_GET, .nwords = 3, .word = {1, 2, 3}, .class = "get"};

	(void)state;
	for (size_t i = 0; i < sizeof(get) / sizeof(get[0]); i++) {
		struct dirty_engine e = get[i].engine;

		assert_int_equal(mismatches(&e, &r, 0, NULL), get[i].mismatches);
	}
	r.nwords = 0;
	r.answer = -ENOENT;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct dirty_engine e = refused[i].engine;

		assert_int_equal(mismatches(&e, &r, 0, NULL), refused[i].mismatches);
	}
}

static void requests_arrive_as_the_kernels_structures(void **state)
{
	const struct dirty_request r = {
	    .slot = 7,
	    .flags = 3,
	    .x = 0x40,
	    .y = 0x3000,
	    .z = 0x5000,
	    .nwords = 2,
	    .word = {8, 9},
	};
	struct dirty_engine e = {.answer = 0};

	(void)state;
	for (unsigned int op = DIRTY_REGION; op < DIRTY_OPS; op++) {
		struct dirty_request one = r;

		one.op = (enum dirty_op)op;
		if (op == DIRTY_GET)
			one.nwords = 0;
		assert_int_equal(mismatches(&e, &one, 0, NULL), 0);
		assert_int_equal(e.op, op);
		assert_int_equal(e.got.buffer[0], op == DIRTY_CLEAR ? 8 : DIRTY_UNTOUCHED);
		assert_int_equal(e.got.buffer[1], op == DIRTY_CLEAR ? 9 : DIRTY_UNTOUCHED);
		assert_int_equal(e.got.buffer[2], op == DIRTY_CLEAR ? UINT64_MAX : DIRTY_UNTOUCHED);
	}
	assert_int_equal(e.got.region.slot, 7);
	assert_int_equal(e.got.region.flags, 3);
	assert_int_equal(e.got.region.guest_phys_addr, 0x40);
	assert_int_equal(e.got.region.memory_size, 0x3000);
	assert_int_equal(e.got.region.userspace_addr, 0x5000);
	assert_int_equal(e.got.cap.cap, 7);
	assert_int_equal(e.got.cap.flags, 3);
	assert_int_equal(e.got.cap.args[0], 0x40);
	assert_int_equal(e.got.cap.args[1], 0x3000);
	assert_int_equal(e.got.get.slot, 7);
	assert_int_equal(e.got.clear.slot, 7);
	assert_int_equal(e.got.clear.first_page, 0x40);
	assert_int_equal(e.got.clear.num_pages, 0x3000);
}

static void the_first_mismatch_has_its_history(void **state)
{
	const struct dirty_request request[] = {
	    {.op = DIRTY_CLEAR, .slot = 2, .class = "of-another-vm"},
	    {.op = DIRTY_VM, .class = "vm"},
	    {.op = DIRTY_CAP, .slot = 168, .x = 3, .class = "mode"},
	    {.op = DIRTY_REGION, .slot = 2, .class = "same-slot"},
	    {.op = DIRTY_REGION, .slot = 3, .class = "other-slot"},
	    {.op = DIRTY_GET, .slot = 2, .nwords = 2, .word = {1, 0}, .class = "get"},
	};
	struct dirty_engine e = {.answer = 0, .nwords = 2, .spoiled = 9};
	char *text;

	(void)state;
	assert_int_equal(mismatches(&e, request, 5, &text), 1);
	assert_non_null(strstr(text, "test: mismatch 1 at request 5:\n"
				     "  kernel ok: 5,get,2,0,0x0,0x0,0x0,1.0,0,0,get\n"
				     "  mslot ok: 5,get,2,0,0x0,0x0,0x0,1.2,0,0,get\n"));
	assert_non_null(strstr(text, "mode\n"));
	assert_non_null(strstr(text, "same-slot\n"));
	assert_null(strstr(text, "other-slot"));
	assert_null(strstr(text, "of-another-vm"));
	free(text);
}

/* ---- Logs ------------------------------------------------------------------------------- */

static const struct kernel_limits limits = {32764, 2, UINT64_C(1) << 52, UINT64_C(1) << 47};

static void what_was_written_is_read(void **state)
{
	enum { N = 3000 };
	struct dirty_request *const made = cli_alloc(N, sizeof(*made));
	struct dirty_generator g;
	struct lines_fault fault;
	struct dirty_log log;
	char *text, *name;
	size_t len;
	FILE *to = open_memstream(&text, &len);

	(void)state;
	dirty_generator_init(&g, 5, &limits);
	dirty_generator_reset(&g);
	dirty_log_header(to);
	for (size_t i = 0; i < N; i++) {
		if (i == 0)
			made[i] = (struct dirty_request){.op = DIRTY_VM, .class = "vm"};
		else
			dirty_generator_next(&g, &made[i]);
		dirty_generator_note(&g, &made[i]);
		if (i % 7 == 0)
			made[i].answer = -E2BIG;
		dirty_log_line(to, &made[i], i);
		fputc('\n', to);
	}
	fclose(to);
	name = run_file(text, len, ".csv");
	assert_true(dirty_log_here(name));
	assert_int_equal(dirty_log_read(&log, name, &fault), 0);
	assert_int_equal(log.nrequests, N);
	for (size_t i = 0; i < N; i++)
		assert_memory_equal(&log.request[i], &made[i], sizeof(made[i]));
	dirty_log_free(&log);
	run_unlink(name);
	free(text);
	free(made);
}

#define LOG "seq,op,slot,flags,x,y,z,bitmap,ret,errno,class\n"
#define VM LOG "0,vm,0,0,0x0,0x0,0x0,-,0,0,vm\n"

static const struct {
	const char *text;
	unsigned long line;
	const char *expected;
} bad[] = {
    {LOG, 2, "expected a request, got the end of the file"},
    {LOG "0,get,0,0,0x0,0x0,0x0,-,0,0,c\n", 2, "expected the op vm, got 'get'"},
    {VM "0,get,0,0,0x0,0x0,0x0,-,0,0,c\n", 3, "expected the next seq"},
    {VM "1,put,0,0,0x0,0x0,0x0,-,0,0,c\n", 3, "expected the op vm, region, cap, get or clear"},
    {VM "1,get,-1,0,0x0,0x0,0x0,-,0,0,c\n", 3, "expected a decimal slot"},
    {VM "1,get,0,0x1,0x0,0x0,0x0,-,0,0,c\n", 3, "expected decimal flags"},
    {VM "1,get,0,0,5,0x0,0x0,-,0,0,c\n", 3, "expected a hexadecimal x"},
    {VM "1,region,0,0,0x0,0x1080001,0x0,-,0,0,c\n", 3, "as a region's size up to 0x1080000"},
    {VM "1,clear,0,0,0x0,0x100000000,0x0,-,0,0,c\n", 3, "as a clear's num_pages below 2^32"},
    {VM "1,get,0,0,0x0,0x0,z,-,0,0,c\n", 3, "expected a hexadecimal z"},
    {VM "1,get,0,0,0x0,0x0,0x0,,0,0,c\n", 3, "expected a bitmap of at most 66 words"},
    {VM "1,get,0,0,0x0,0x0,0x0,0*67,0,0,c\n", 3, "expected a bitmap"},
    {VM "1,get,0,0,0x0,0x0,0x0,0*66.1,0,0,c\n", 3, "expected a bitmap"},
    {VM "1,get,0,0,0x0,0x0,0x0,0*0,0,0,c\n", 3, "expected a bitmap"},
    {VM "1,get,0,0,0x0,0x0,0x0,1..2,0,0,c\n", 3, "expected a bitmap"},
    {VM "1,get,0,0,0x0,0x0,0x0,11111111111111111,0,0,c\n", 3, "expected a bitmap"},
    {VM "1,get,0,0,0x0,0x0,0x0,-,1,0,c\n", 3, "expected ret 0 or -1"},
    {VM "1,get,0,0,0x0,0x0,0x0,-,-1,0,c\n", 3, "expected errno 0 with ret 0"},
    {VM "1,get,0,0,0x0,0x0,0x0,-,0,0,C\n", 3, "expected a class"},
    {VM "1,get,0,0,0x0,0x0,0x0,-,0,0\n", 3, "11 fields, got 10"},
    {VM "1,get,0,0,0x0,0x0,0x0,-,0,0,c", 3, "expected a newline"},
};

static void bad_logs_are_refused_with_line_and_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *const name = run_file(bad[i].text, strlen(bad[i].text), ".csv");
		struct lines_fault fault = {0};
		struct dirty_log log;

		assert_int_equal(dirty_log_read(&log, name, &fault), -1);
		assert_null(log.request);
		if (fault.line != bad[i].line || strstr(fault.text, bad[i].expected) == NULL)
			fail_msg("expected line %lu and '%s', got line %lu: %s", bad[i].line,
				 bad[i].expected, fault.line, fault.text);
		run_unlink(name);
	}
}

/* ---- Generator ----------------------------------------------------------------------------- */

/* Is it the slot's size, where it exists? The rest of such requests is always legal here. */
static bool fits(const struct naive_dirty *twin, const struct kvm_userspace_memory_region *r)
{
	for (size_t i = 0; i < twin->nslots; i++) {
		if (twin->slot[i].slot == r->slot && r->memory_size > 0)
			return twin->slot[i].npages == r->memory_size / 4096;
	}
	return true;
}

/* The twin in the place of a kernel. */
static int twin_answer(struct naive_dirty *twin, const struct dirty_request *r)
{
	struct dirty_call call;

	dirty_call_init(&call, r);
	switch (r->op) {
	case DIRTY_REGION:
		if (!fits(twin, &call.region))
			return -EINVAL;
		ndirty_region(twin, &call.region);
		return 0;
	case DIRTY_CAP:
		return ndirty_enable_cap(twin, &call.cap);
	case DIRTY_GET:
		return ndirty_get(twin, &call.get);
	default:
		return ndirty_clear(twin, &call.clear);
	}
}

static void one_vm(struct dirty_generator *g, struct verdict *v)
{
	struct naive_dirty twin;

	ndirty_init(&twin, limits.nspaces, limits.user_slots);
	dirty_generator_reset(g);
	for (size_t i = 0; i < 400; i++) {
		struct dirty_request r;

		dirty_generator_next(g, &r);
		assert_true(r.op != DIRTY_REGION || r.y <= DIRTY_MAX_BYTES);
		assert_true(r.op != DIRTY_REGION || (r.slot & 0xffff) < limits.user_slots);
		r.answer = twin_answer(&twin, &r);
		verdict_count(v, r.class, r.answer == 0, true);
		/* The whole mask of what is legal is in the log. */
		assert_true(r.op != DIRTY_CLEAR || r.answer != 0 || r.nwords * 64 >= r.y);
		dirty_generator_note(g, &r);
	}
	ndirty_fini(&twin);
}

static void classes_are_refused_or_accepted_as_meant(void **state)
{
	static const char *const refused[] = {
	    "cap-other",  "clear-first", "clear-huge", "clear-id", "clear-space",
	    "clear-wrap", "get-id",      "get-space",  "ring-bad",
	};
	struct verdict v = {0};
	struct dirty_generator g;

	(void)state;
	dirty_generator_init(&g, 1, &limits);
	for (size_t i = 0; i < 100; i++)
		one_vm(&g, &v);
	assert_int_equal(v.nclasses, 25);
	for (size_t i = 0; i < v.nclasses; i++) {
		bool never = false;

		for (size_t k = 0; k < sizeof(refused) / sizeof(refused[0]); k++)
			never |= strcmp(v.class[i].name, refused[k]) == 0;
		if ((v.class[i].accepted == 0) != never)
			fail_msg("%s: %llu accepted", v.class[i].name,
				 (unsigned long long)v.class[i].accepted);
	}
	verdict_fini(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_difference_is_a_mismatch),
	    cmocka_unit_test(requests_arrive_as_the_kernels_structures),
	    cmocka_unit_test(the_first_mismatch_has_its_history),
	    cmocka_unit_test(what_was_written_is_read),
	    cmocka_unit_test(bad_logs_are_refused_with_line_and_reason),
	    cmocka_unit_test(classes_are_refused_or_accepted_as_meant),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
