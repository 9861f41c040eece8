/* SPDX-License-Identifier: MIT */
/*
 * fuzz_trace.c - the reader of traces and the plan made from one.
 *
 * A file that is refused gets a fault that names one of its lines. One that is accepted
 * is written again from what was read; that must be accepted too, and say the same.
 * Fields are compared with the words of the file as well, so that a reader which drops
 * what it has read is found out.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli/plan.h"
#include "../cli/trace.h"
#include "fuzz.h"

#define MAX_OPS 512u
#define NS UINT64_C(1000000000)

static const char *const kinds[] = {"ADD", "DEL", "FLAGS"};

static size_t count_lines(const uint8_t *data, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < size; i++)
		n += data[i] == '\n';
	return n;
}

static void check_fault(const struct lines_fault *fault, const uint8_t *data, size_t size)
{
	FUZZ_REQUIRE(memchr(fault->text, '\0', sizeof(fault->text)));
	FUZZ_REQUIRE(strncmp(fault->text, "expected ", 9) == 0);
	FUZZ_REQUIRE(strstr(fault->text, ", got "));
	FUZZ_REQUIRE(fault->line >= 1 && fault->line <= count_lines(data, size) + 1);
}

/* A long double is exact to the nanosecond as far as 64 bits of them reach. */
static void check_time(const struct trace_op *op, const char *word)
{
	const long double off = strtold(word, NULL) * 1e9L - (long double)op->time_ns;

	FUZZ_REQUIRE(off > -2.0L && (off < 2.0L || op->time_ns == UINT64_MAX));
}

/* A number that is the whole word and fits. */
static uint64_t number(const char *word, int base)
{
	uint64_t val;
	char *end;

	errno = 0;
	val = strtoull(word, &end, base);
	FUZZ_REQUIRE(errno == 0 && *end == '\0');
	return val;
}

/* Parse a line the short way, for those that the reader accepted. */
static void check_words(const struct trace_op *op, char *line)
{
	char *save, *word[10] = {NULL};
	size_t n = 0;

	for (char *at = strtok_r(line, " \t\r", &save); at && n < 10;
	     at = strtok_r(NULL, " \t\r", &save))
		word[n++] = at;
	FUZZ_REQUIRE(n >= 9);
	check_time(op, word[0]);
	FUZZ_REQUIRE(op->tx == number(word[1], 10));
	FUZZ_REQUIRE(op->space == number(word[2], 10));
	FUZZ_REQUIRE(op->id == number(word[3], 10));
	FUZZ_REQUIRE(op->flags == number(word[4], 16));
	FUZZ_REQUIRE(op->gpa == number(word[5], 16));
	FUZZ_REQUIRE(op->size == number(word[6], 16));
	FUZZ_REQUIRE(op->hva == number(word[7], 16));
	FUZZ_REQUIRE(op->kind <= TRACE_FLAGS && strcmp(kinds[op->kind], word[8]) == 0);
	FUZZ_REQUIRE(op->hole == (word[9] ? number(word[9] + 5, 16) : 0));
}

/* Every line is a comment, empty, or the next request. */
static void check_lines(const struct trace *t, const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *line = text;
	unsigned long number = 1;
	size_t op = 0;

	FUZZ_REQUIRE(text);
	memcpy(text, data, size);
	text[size] = '\0';
	for (char *end; (end = strchr(line, '\n')); line = end + 1, number++) {
		*end = '\0';
		if (line[0] == '#' || line[strspn(line, " \t\r")] == '\0')
			continue;
		FUZZ_REQUIRE(op < t->nops && t->op[op].line == number);
		check_words(&t->op[op++], line);
	}
	FUZZ_REQUIRE(op == t->nops);
	free(text);
}

static void check_groups(const struct trace *t)
{
	size_t first = 0;

	for (size_t g = 0; g < t->ngroups; g++) {
		FUZZ_REQUIRE(t->group[g].first == first && t->group[g].nops > 0);
		for (size_t i = 0; i < t->group[g].nops; i++)
			FUZZ_REQUIRE(t->op[first + i].tx == t->op[first].tx);
		FUZZ_REQUIRE(first == 0 || t->op[first].tx > t->op[first - 1].tx);
		first += t->group[g].nops;
	}
	FUZZ_REQUIRE(first == t->nops);
}

static char *write_again(const struct trace *t, size_t *len)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, len);

	FUZZ_REQUIRE(f);
	for (size_t i = 0; i < t->nops; i++) {
		const struct trace_op *op = &t->op[i];

		(void)fprintf(f,
			      "%" PRIu64 ".%09" PRIu64 " %" PRIu64 " %" PRIu32 " %" PRIu32
			      " 0x%" PRIx32 " 0x%" PRIx64 " 0x%" PRIx64 " 0x%" PRIx64 " %s",
			      op->time_ns / NS, op->time_ns % NS, op->tx, op->space, op->id,
			      op->flags, op->gpa, op->size, op->hva, kinds[op->kind]);
		if (op->hole)
			(void)fprintf(f, " HOLE=0x%" PRIx64, op->hole);
		(void)fputc('\n', f);
	}
	FUZZ_REQUIRE(fclose(f) == 0);
	return text;
}

static void check_round_trip(const struct trace *t)
{
	struct lines_fault fault;
	struct trace again;
	size_t len;
	char *text = write_again(t, &len);

	if (trace_read(&again, fuzz_file_open(text, len), &fault) < 0)
		fuzz_fail("what was read is refused: line %lu: %s", fault.line, fault.text);
	fuzz_file_close();
	FUZZ_REQUIRE(again.nops == t->nops && again.ngroups == t->ngroups);
	FUZZ_REQUIRE(again.nholes == t->nholes && again.nspaces == t->nspaces);
	FUZZ_REQUIRE(again.hva_lo == t->hva_lo && again.hva_hi == t->hva_hi);
	for (size_t i = 0; i < t->nops; i++) {
		FUZZ_REQUIRE(again.op[i].kind == t->op[i].kind);
		FUZZ_REQUIRE(again.op[i].time_ns == t->op[i].time_ns);
		FUZZ_REQUIRE(again.op[i].space == t->op[i].space && again.op[i].id == t->op[i].id);
		FUZZ_REQUIRE(again.op[i].flags == t->op[i].flags);
		FUZZ_REQUIRE(again.op[i].tx == t->op[i].tx && again.op[i].gpa == t->op[i].gpa);
		FUZZ_REQUIRE(again.op[i].size == t->op[i].size && again.op[i].hva == t->op[i].hva);
		FUZZ_REQUIRE(again.op[i].hole == t->op[i].hole);
	}
	trace_free(&again);
	free(text);
}

/* ---- The plan ------------------------------------------------------------------ */

/* The last request of each name decides what is there in the end. */
static const struct trace_op *last_of(const struct trace *t, size_t upto, uint32_t space,
				      uint32_t id)
{
	while (upto-- > 0)
		if (t->op[upto].space == space && t->op[upto].id == id)
			return t->op[upto].kind == TRACE_DEL ? NULL : &t->op[upto];
	return NULL;
}

static bool plan_possible(const struct trace *t)
{
	for (size_t i = 0; i < t->nops; i++) {
		const struct trace_op *op = &t->op[i];
		const struct trace_op *old = last_of(t, i, op->space, op->id);

		if (op->kind != TRACE_ADD && !old)
			return false;
		if (op->kind == TRACE_FLAGS &&
		    (old->gpa != op->gpa || old->size != op->size || old->hva != op->hva))
			return false;
	}
	return true;
}

static void check_final(const struct plan *p, const struct trace *t)
{
	size_t live = 0;

	for (size_t i = 0; i < p->final.nslots; i++) {
		const struct plan_slot *s = &p->final.slot[i];
		const struct trace_op *op = last_of(t, t->nops, s->space, s->id);

		FUZZ_REQUIRE(op && op->gpa == s->gpa && op->size == s->size);
		FUZZ_REQUIRE(op->hva == s->hva && op->flags == s->flags);
		FUZZ_REQUIRE(i == 0 || s[-1].space < s->space ||
			     (s[-1].space == s->space && s[-1].id < s->id));
	}
	for (size_t i = 0; i < t->nops; i++)
		live += last_of(t, t->nops, t->op[i].space, t->op[i].id) == &t->op[i];
	FUZZ_REQUIRE(live == p->final.nslots);
}

/* The net edits, one after the other, lead to the slots at the end. */
static void check_edits(const struct plan *p, const struct trace *t)
{
	size_t edits = 0, created = 0, deleted = 0;

	for (size_t g = 0; g < t->ngroups; g++) {
		FUZZ_REQUIRE(p->group[g].first_edit == edits);
		FUZZ_REQUIRE(p->group[g].nedits <= p->group[g].nchanges);
		FUZZ_REQUIRE(p->group[g].nchanges <= t->group[g].nops);
		edits += p->group[g].nedits;
	}
	FUZZ_REQUIRE(edits == p->nedits);
	for (size_t i = 0; i < p->nedits; i++) {
		created += p->edit[i].kind == MSLOT_EDIT_CREATE;
		deleted += p->edit[i].kind == MSLOT_EDIT_DELETE;
	}
	FUZZ_REQUIRE(created - deleted == p->final.nslots);
}

static void check_plan(const struct trace *t, const uint8_t *data, size_t size)
{
	struct plan_walk walk = {0};
	struct lines_fault fault;
	struct plan p;

	if (t->nops > MAX_OPS) /* the twin is quadratic */
		return;
	if (plan_build(&p, t, &fault) < 0) {
		check_fault(&fault, data, size);
		FUZZ_REQUIRE(!plan_possible(t));
		return;
	}
	FUZZ_REQUIRE(plan_possible(t));
	check_final(&p, t);
	check_edits(&p, t);
	for (size_t g = 0; g < t->ngroups; g++)
		plan_walk_next(&walk, t, g);
	plan_walk_fini(&walk);
	plan_free(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lines_fault fault = {.line = 12345678};
	struct trace t;

	if (trace_read(&t, fuzz_file_open(data, size), &fault) < 0) {
		fuzz_file_close();
		check_fault(&fault, data, size);
		FUZZ_REQUIRE(!t.op && !t.group && !t.name);
		return 0;
	}
	fuzz_file_close();
	FUZZ_REQUIRE(t.nops > 0 && data[size - 1] == '\n');
	check_lines(&t, data, size);
	check_groups(&t);
	check_round_trip(&t);
	check_plan(&t, data, size);
	trace_free(&t);
	return 0;
}
