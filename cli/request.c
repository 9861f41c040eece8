/* SPDX-License-Identifier: MIT */
/* request.c - read a log of requests and a kernel's answers; see request.h. */
#include "request.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define LOG_HEADER "seq,slot,flags,gpa,size,hva,ret,errno,class"
#define LOG_FIELDS 9u
#define ERRNO_MAX 4095u

enum {
	FIELD_SEQ,
	FIELD_SLOT,
	FIELD_FLAGS,
	FIELD_GPA,
	FIELD_SIZE,
	FIELD_HVA,
	FIELD_RET,
	FIELD_ERRNO,
	FIELD_CLASS
};

bool request_u32(const char *text, uint32_t *out)
{
	uint64_t val;

	if (!lines_decimal(text, UINT32_MAX, &val))
		return false;
	*out = (uint32_t)val;
	return true;
}

bool request_address(const char *text, uint64_t *out)
{
	return lines_hex(text, UINT64_MAX, out) || lines_decimal(text, 0, out);
}

bool request_answer(const char *ret, const char *err, int *answer)
{
	uint64_t val;

	if (!lines_decimal(err, ERRNO_MAX, &val))
		return false;
	*answer = -(int)val;
	return strcmp(ret, val == 0 ? "0" : "-1") == 0;
}

bool request_class(const char *text, char *out)
{
	const size_t len = strlen(text);

	if (len == 0 || len >= REQUEST_CLASS_BYTES ||
	    strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-_") != len)
		return false;
	memcpy(out, text, len + 1);
	return true;
}

/* NULL, or what was expected of field *bad. */
static const char *parse_fields(struct request *r, uint64_t seq, char **f, size_t *bad)
{
	uint64_t got;

	if (*bad = FIELD_SEQ, !lines_decimal(f[*bad], UINT64_MAX, &got) || got != seq)
		return "the next seq, counting from 0";
	if (*bad = FIELD_SLOT, !request_u32(f[*bad], &r->slot))
		return "a decimal slot below 2^32";
	if (*bad = FIELD_FLAGS, !request_u32(f[*bad], &r->flags))
		return "decimal flags below 2^32";
	if (*bad = FIELD_GPA, !request_address(f[*bad], &r->gpa))
		return "a hexadecimal gpa";
	if (*bad = FIELD_SIZE, !request_address(f[*bad], &r->size))
		return "a hexadecimal size";
	if (*bad = FIELD_HVA, !request_address(f[*bad], &r->hva))
		return "a hexadecimal hva";
	if (*bad = FIELD_RET, strcmp(f[*bad], "0") != 0 && strcmp(f[*bad], "-1") != 0)
		return "ret 0 or -1";
	if (*bad = FIELD_ERRNO, !request_answer(f[FIELD_RET], f[*bad], &r->answer))
		return "errno 0 with ret 0, or an errno with ret -1";
	if (*bad = FIELD_CLASS, !request_class(f[*bad], r->class))
		return "a class of small letters, digits, '-' and '_'";
	return NULL;
}

static int parse_line(struct request *r, uint64_t seq, char *text, unsigned long line,
		      struct lines_fault *fault)
{
	char *field[LOG_FIELDS];
	char got[32];
	const char *expected;
	const size_t n = lines_split(text, ',', field, LOG_FIELDS);
	size_t bad;

	if (n != LOG_FIELDS) {
		snprintf(got, sizeof(got), n > LOG_FIELDS ? "more" : "%zu", n);
		return lines_expected_not(fault, line, LOG_HEADER ", 9 fields", got);
	}
	expected = parse_fields(r, seq, field, &bad);
	return expected == NULL ? 0 : lines_expected(fault, line, expected, field[bad]);
}

static int read_header(struct lines *l, struct lines_fault *fault)
{
	char *text;
	const int ret = lines_next(l, &text, fault);

	if (ret < 0)
		return ret;
	if (ret == 0)
		return lines_expected_not(fault, 1, "the header " LOG_HEADER,
					  "the end of the file");
	if (strcmp(text, LOG_HEADER) != 0)
		return lines_expected(fault, 1, "the header " LOG_HEADER, text);
	return 0;
}

int request_log_read(struct request_log *log, const char *path, struct lines_fault *fault)
{
	struct lines l;
	size_t cap = 0;
	char *text;
	int ret;

	*log = (struct request_log){0};
	if (lines_open(&l, path, fault) < 0)
		return -1;
	ret = read_header(&l, fault);
	while (ret == 0 && (ret = lines_next(&l, &text, fault)) > 0) {
		struct request r = {0};

		ret = parse_line(&r, log->nrequests, text, l.line, fault);
		log->request = cli_grow(log->request, log->nrequests, &cap, sizeof(r));
		log->request[log->nrequests++] = r;
	}
	if (ret == 0 && log->nrequests == 0)
		ret = lines_expected_not(fault, l.line, "a request", "the end of the file");
	lines_close(&l);
	if (ret < 0)
		request_log_free(log);
	return ret;
}

void request_log_free(struct request_log *log)
{
	free(log->request);
	*log = (struct request_log){0};
}
