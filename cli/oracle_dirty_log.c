/* SPDX-License-Identifier: MIT */
/* oracle_dirty_log.c - read and write logs of dirty-log requests; see oracle_dirty.h. */
#include "oracle_dirty.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define LOG_HEADER "seq,op,slot,flags,x,y,z,bitmap,ret,errno,class"
#define LOG_FIELDS 11u

enum {
	FIELD_SEQ,
	FIELD_OP,
	FIELD_SLOT,
	FIELD_FLAGS,
	FIELD_X,
	FIELD_Y,
	FIELD_Z,
	FIELD_BITMAP,
	FIELD_RET,
	FIELD_ERRNO,
	FIELD_CLASS
};

static const char *const op_name[DIRTY_OPS] = {
    [DIRTY_VM] = "vm",   [DIRTY_REGION] = "region", [DIRTY_CAP] = "cap",
    [DIRTY_GET] = "get", [DIRTY_CLEAR] = "clear",
};

/* ---- Reading ------------------------------------------------------------------- */

static bool parse_op(const char *text, enum dirty_op *out)
{
	for (unsigned int op = 0; op < DIRTY_OPS; op++) {
		if (strcmp(text, op_name[op]) == 0) {
			*out = (enum dirty_op)op;
			return true;
		}
	}
	return false;
}

/* One `WORD` or `WORD*N` of at most 16 hexadecimal digits. */
static bool parse_word(struct dirty_request *r, char *text)
{
	char *const star = strchr(text, '*');
	uint64_t times = 1, word;
	char hex[2 + 16 + 1];

	if (star != NULL) {
		*star = '\0';
		if (!lines_decimal(star + 1, DIRTY_WORDS, &times) || times == 0)
			return false;
	}
	if (strlen(text) > 16)
		return false;
	snprintf(hex, sizeof(hex), "0x%.16s", text);
	if (!lines_hex(hex, UINT64_MAX, &word) || times > DIRTY_WORDS - r->nwords)
		return false;
	for (; times > 0; times--)
		r->word[r->nwords++] = word;
	return true;
}

static bool parse_bitmap(struct dirty_request *r, char *text)
{
	char *word[DIRTY_WORDS];
	size_t n;

	if (strcmp(text, "-") == 0)
		return true;
	n = lines_split(text, '.', word, DIRTY_WORDS);
	if (n > DIRTY_WORDS)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!parse_word(r, word[i]))
			return false;
	}
	return true;
}

/* NULL, or what was expected of field *bad. */
static const char *parse_fields(struct dirty_request *r, uint64_t seq, char **f, size_t *bad)
{
	uint64_t got;

	if (*bad = FIELD_SEQ, !lines_decimal(f[*bad], UINT64_MAX, &got) || got != seq)
		return "the next seq, counting from 0";
	if (*bad = FIELD_OP, !parse_op(f[*bad], &r->op) || (seq == 0 && r->op != DIRTY_VM))
		return seq == 0 ? "the op vm" : "the op vm, region, cap, get or clear";
	if (*bad = FIELD_SLOT, !request_u32(f[*bad], &r->slot))
		return "a decimal slot below 2^32";
	if (*bad = FIELD_FLAGS, !request_u32(f[*bad], &r->flags))
		return "decimal flags below 2^32";
	if (*bad = FIELD_X, !request_address(f[*bad], &r->x))
		return "a hexadecimal x";
	if (*bad = FIELD_Y, !request_address(f[*bad], &r->y))
		return "a hexadecimal y";
	/* The bitmaps of a slot must fit in the buffers. */
	if (r->op == DIRTY_REGION && r->y > DIRTY_MAX_BYTES)
		return "a hexadecimal y, as a region's size up to 0x1080000";
	if (r->op == DIRTY_CLEAR && r->y > UINT32_MAX)
		return "a hexadecimal y, as a clear's num_pages below 2^32";
	if (*bad = FIELD_Z, !request_address(f[*bad], &r->z))
		return "a hexadecimal z";
	if (*bad = FIELD_BITMAP, !parse_bitmap(r, f[*bad]))
		return "a bitmap of at most 66 words";
	if (*bad = FIELD_RET, strcmp(f[*bad], "0") != 0 && strcmp(f[*bad], "-1") != 0)
		return "ret 0 or -1";
	if (*bad = FIELD_ERRNO, !request_answer(f[FIELD_RET], f[*bad], &r->answer))
		return "errno 0 with ret 0, or an errno with ret -1";
	if (*bad = FIELD_CLASS, !request_class(f[*bad], r->class))
		return "a class of small letters, digits, '-' and '_'";
	return NULL;
}

static int parse_line(struct dirty_request *r, uint64_t seq, char *text, unsigned long line,
		      struct lines_fault *fault)
{
	char *field[LOG_FIELDS];
	char got[32];
	const char *expected;
	const size_t n = lines_split(text, ',', field, LOG_FIELDS);
	size_t bad;

	if (n != LOG_FIELDS) {
		snprintf(got, sizeof(got), n > LOG_FIELDS ? "more" : "%zu", n);
		return lines_expected_not(fault, line, LOG_HEADER ", 11 fields", got);
	}
	expected = parse_fields(r, seq, field, &bad);
	return expected == NULL ? 0 : lines_expected(fault, line, expected, field[bad]);
}

bool dirty_log_here(const char *path)
{
	struct lines_fault fault;
	struct lines l;
	char *text;
	bool here;

	if (lines_open(&l, path, &fault) < 0)
		return false;
	here = lines_next(&l, &text, &fault) > 0 && strcmp(text, LOG_HEADER) == 0;
	lines_close(&l);
	return here;
}

static int read_requests(struct dirty_log *log, struct lines *l, struct lines_fault *fault)
{
	char *text;
	int ret;

	while ((ret = lines_next(l, &text, fault)) > 0) {
		struct dirty_request *r;

		log->request =
		    cli_grow(log->request, log->nrequests, &log->cap, sizeof(*log->request));
		r = &log->request[log->nrequests];
		*r = (struct dirty_request){0};
		if (parse_line(r, log->nrequests, text, l->line, fault) < 0)
			return -1;
		log->nrequests++;
	}
	if (ret == 0 && log->nrequests == 0)
		return lines_expected_not(fault, l->line, "a request", "the end of the file");
	return ret;
}

int dirty_log_read(struct dirty_log *log, const char *path, struct lines_fault *fault)
{
	struct lines l;
	char *text;
	int ret;

	*log = (struct dirty_log){0};
	if (lines_open(&l, path, fault) < 0)
		return -1;
	ret = lines_next(&l, &text, fault);
	if (ret >= 0 && (ret == 0 || strcmp(text, LOG_HEADER) != 0))
		ret = lines_expected(fault, 1, "the header " LOG_HEADER, ret > 0 ? text : "");
	if (ret >= 0)
		ret = read_requests(log, &l, fault);
	lines_close(&l);
	if (ret < 0)
		dirty_log_free(log);
	return ret;
}

void dirty_log_free(struct dirty_log *log)
{
	free(log->request);
	*log = (struct dirty_log){0};
}

/* ---- Writing ------------------------------------------------------------------- */

void dirty_log_header(FILE *to)
{
	fputs(LOG_HEADER "\n", to);
}

static void write_bitmap(FILE *to, const struct dirty_request *r)
{
	if (r->nwords == 0)
		fputc('-', to);
	for (uint32_t i = 0, end; i < r->nwords; i = end) {
		for (end = i + 1; end < r->nwords && r->word[end] == r->word[i];)
			end++;
		fprintf(to, "%s%" PRIx64, i > 0 ? "." : "", r->word[i]);
		if (end - i > 1)
			fprintf(to, "*%" PRIu32, end - i);
	}
}

void dirty_log_line(FILE *to, const struct dirty_request *r, uint64_t seq)
{
	fprintf(to,
		"%" PRIu64 ",%s,%" PRIu32 ",%" PRIu32 ",0x%" PRIx64 ",0x%" PRIx64 ",0x%" PRIx64 ",",
		seq, op_name[r->op], r->slot, r->flags, r->x, r->y, r->z);
	write_bitmap(to, r);
	fprintf(to, ",%d,%d,%s", r->answer == 0 ? 0 : -1, -r->answer, r->class);
}
