/* SPDX-License-Identifier: MIT */
/*
 * fuzz_log.c - the reader of recorded kernel answers: a refused file gets a fault that
 * names a line; an accepted one is written again field by field, which must give the same
 * bytes apart from what can be written in two ways.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli/request.h"
#include "fuzz.h"

#define HEADER "seq,slot,flags,gpa,size,hva,ret,errno,class"

static void check_fault(const struct lines_fault *fault, const uint8_t *data, size_t size)
{
	size_t lines = 1;

	for (size_t i = 0; i < size; i++)
		lines += data[i] == '\n';
	FUZZ_REQUIRE(memchr(fault->text, '\0', sizeof(fault->text)));
	FUZZ_REQUIRE(strncmp(fault->text, "expected ", 9) == 0);
	FUZZ_REQUIRE(strstr(fault->text, ", got "));
	FUZZ_REQUIRE(fault->line >= 1 && fault->line <= lines);
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

/* The request of one line by the short way; the reader has accepted it. */
static void check_line(const struct request *r, uint64_t seq, char *line)
{
	char *field[9], *save;
	size_t n = 0;

	line[strcspn(line, "\r")] = '\0';
	for (char *at = strtok_r(line, ",", &save); at && n < 9; at = strtok_r(NULL, ",", &save))
		field[n++] = at;
	FUZZ_REQUIRE(n == 9);
	FUZZ_REQUIRE(number(field[0], 10) == seq);
	FUZZ_REQUIRE(number(field[1], 10) == r->slot);
	FUZZ_REQUIRE(number(field[2], 10) == r->flags);
	FUZZ_REQUIRE(number(field[3], 16) == r->gpa);
	FUZZ_REQUIRE(number(field[4], 16) == r->size);
	FUZZ_REQUIRE(number(field[5], 16) == r->hva);
	FUZZ_REQUIRE(strtol(field[6], NULL, 10) == (r->answer ? -1 : 0));
	FUZZ_REQUIRE(strtol(field[7], NULL, 10) == -r->answer);
	FUZZ_REQUIRE(strcmp(field[8], r->class) == 0);
}

static void check_lines(const struct request_log *log, const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *line, *end;
	size_t n = 0;

	FUZZ_REQUIRE(text);
	memcpy(text, data, size);
	text[size] = '\0';
	line = strchr(text, '\n');
	FUZZ_REQUIRE(line && strncmp(text, HEADER, sizeof(HEADER) - 1) == 0);
	for (line++; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		FUZZ_REQUIRE(n < log->nrequests);
		check_line(&log->request[n], n, line);
		n++;
	}
	FUZZ_REQUIRE(n == log->nrequests && *line == '\0');
	free(text);
}

static void check_round_trip(const struct request_log *log)
{
	struct request_log again;
	struct lines_fault fault;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	FUZZ_REQUIRE(f);
	(void)fputs(HEADER "\n", f);
	for (size_t i = 0; i < log->nrequests; i++) {
		const struct request *r = &log->request[i];

		(void)fprintf(f,
			      "%zu,%" PRIu32 ",%" PRIu32 ",0x%" PRIx64 ",0x%" PRIx64 ",0x%" PRIx64
			      ",%d,%d,%s\n",
			      i, r->slot, r->flags, r->gpa, r->size, r->hva, r->answer ? -1 : 0,
			      -r->answer, r->class);
	}
	FUZZ_REQUIRE(fclose(f) == 0);
	if (request_log_read(&again, fuzz_file_open(text, len), &fault) < 0)
		fuzz_fail("what was read is refused: line %lu: %s", fault.line, fault.text);
	fuzz_file_close();
	FUZZ_REQUIRE(again.nrequests == log->nrequests);
	for (size_t i = 0; i < log->nrequests; i++) {
		const struct request *a = &again.request[i], *b = &log->request[i];

		FUZZ_REQUIRE(a->slot == b->slot && a->flags == b->flags && a->gpa == b->gpa);
		FUZZ_REQUIRE(a->size == b->size && a->hva == b->hva && a->answer == b->answer);
		FUZZ_REQUIRE(strcmp(a->class, b->class) == 0);
	}
	request_log_free(&again);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lines_fault fault = {.line = 12345678};
	struct request_log log;

	if (request_log_read(&log, fuzz_file_open(data, size), &fault) < 0) {
		fuzz_file_close();
		check_fault(&fault, data, size);
		FUZZ_REQUIRE(!log.request);
		return 0;
	}
	fuzz_file_close();
	FUZZ_REQUIRE(log.nrequests > 0 && data[size - 1] == '\n');
	check_lines(&log, data, size);
	check_round_trip(&log);
	request_log_free(&log);
	return 0;
}
