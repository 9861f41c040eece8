/* SPDX-License-Identifier: MIT */
/* trace.c - read a recorded stream of memory-slot requests; see trace.h. */
#include "trace.h"

#include <stdlib.h>
#include <string.h>

#include <mslot/map.h>

#include "cli.h"

#define TRACE_PAGE_BYTES 4096u
#define TRACE_FIELDS 9u
#define TRACE_HVA_LIMIT UINT64_C(0x7ffffffff000)

enum {
	FIELD_TIME,
	FIELD_TX,
	FIELD_SPACE,
	FIELD_ID,
	FIELD_FLAGS,
	FIELD_GPA,
	FIELD_SIZE,
	FIELD_HVA,
	FIELD_KIND,
	FIELD_HOLE
};

bool trace_seconds(const char *text, uint64_t *ns)
{
	const size_t whole = strspn(text, "0123456789");
	size_t part = 0;
	uint64_t val = 0;

	if (whole == 0)
		return false;
	if (text[whole] != '\0') {
		part = strspn(text + whole + 1, "0123456789");
		if (text[whole] != '.' || part == 0 || text[whole + 1 + part] != '\0')
			return false;
	}
	/* Nine digits behind the point, those that are missing zeros. */
	for (size_t i = 0; i < whole + 9; i++) {
		const char digit = i < whole ? text[i] : i - whole < part ? text[i + 1] : '0';

		if (__builtin_mul_overflow(val, 10u, &val) ||
		    __builtin_add_overflow(val, (uint64_t)(digit - '0'), &val)) {
			*ns = UINT64_MAX;
			return true;
		}
	}
	*ns = val;
	return true;
}

static bool parse_kind(const char *text, enum trace_kind *kind)
{
	static const char *const name[] = {"ADD", "DEL", "FLAGS"};

	for (size_t i = 0; i < 3; i++) {
		if (strcmp(text, name[i]) == 0) {
			*kind = (enum trace_kind)i;
			return true;
		}
	}
	return false;
}

static bool parse_address(const char *text, uint64_t *out)
{
	return lines_hex(text, UINT64_MAX, out) && *out % TRACE_PAGE_BYTES == 0;
}

/* The nine fields that every request has; NULL, or what was expected of field *bad. */
static const char *parse_fields(struct trace_op *op, char **f, size_t *bad)
{
	uint64_t space, id, flags;

	if (*bad = FIELD_TIME, !trace_seconds(f[*bad], &op->time_ns))
		return "a time in seconds";
	if (*bad = FIELD_TX, !lines_decimal(f[*bad], UINT64_MAX, &op->tx))
		return "a decimal group number (tx)";
	if (*bad = FIELD_SPACE, !lines_decimal(f[*bad], MSLOT_MAX_SPACES - 1, &space))
		return "an as_id from 0 to 15";
	if (*bad = FIELD_ID, !lines_decimal(f[*bad], UINT16_MAX, &id))
		return "a slot from 0 to 65535";
	if (*bad = FIELD_FLAGS, !lines_hex(f[*bad], MSLOT_LOG_DIRTY | MSLOT_READONLY, &flags))
		return "flags from 0x0 to 0x3";
	if (*bad = FIELD_GPA, !parse_address(f[*bad], &op->gpa))
		return "a page-aligned hexadecimal gpa";
	if (*bad = FIELD_SIZE, !parse_address(f[*bad], &op->size))
		return "a page-aligned hexadecimal size";
	if (*bad = FIELD_HVA, !parse_address(f[*bad], &op->hva))
		return "a page-aligned hexadecimal hva";
	if (*bad = FIELD_KIND, !parse_kind(f[*bad], &op->kind))
		return "the kind ADD, DEL or FLAGS";
	op->space = (uint32_t)space;
	op->id = (uint32_t)id;
	op->flags = (uint32_t)flags;
	return NULL;
}

/* What must hold between fields; NULL, or what was expected of field *bad. */
static const char *check_fields(const struct trace_op *op, size_t *bad)
{
	*bad = FIELD_SIZE;
	if (op->kind == TRACE_DEL && op->size != 0)
		return "size 0x0 in a DEL";
	if (op->kind != TRACE_DEL && op->size == 0)
		return "a size above 0x0 in an ADD or FLAGS";
	if (op->gpa + op->size < op->gpa)
		return "gpa + size below 2^64";
	/* As far as user space reaches. */
	if (op->hva >= TRACE_HVA_LIMIT || op->size > TRACE_HVA_LIMIT - op->hva)
		return "hva + size up to 0x7ffffffff000";
	return NULL;
}

static int parse_line(struct trace_op *op, char *text, struct lines_fault *fault)
{
	char *field[TRACE_FIELDS + 1];
	char got[32];
	const char *expected;
	size_t n, bad;

	n = lines_split(text, ' ', field, TRACE_FIELDS + 1);
	if (n != TRACE_FIELDS && n != TRACE_FIELDS + 1) {
		snprintf(got, sizeof(got), n > TRACE_FIELDS ? "more" : "%zu", n);
		return lines_expected_not(
		    fault, op->line,
		    "time_s tx as_id slot flags gpa size hva kind [HOLE=bytes], 9 or 10 fields",
		    got);
	}
	expected = parse_fields(op, field, &bad);
	if (expected == NULL)
		expected = check_fields(op, &bad);
	if (expected != NULL)
		return lines_expected(fault, op->line, expected, field[bad]);
	if (n == TRACE_FIELDS)
		return 0;
	if (strncmp(field[FIELD_HOLE], "HOLE=", 5) != 0 ||
	    !lines_hex(field[FIELD_HOLE] + 5, UINT64_MAX, &op->hole) || op->hole == 0)
		return lines_expected(fault, op->line, "HOLE=0xBYTES or the end of the line",
				      field[FIELD_HOLE]);
	return 0;
}

/* Append the request, and open a group where its number differs. */
static int add_op(struct trace *t, const struct trace_op *op, size_t cap[2],
		  struct lines_fault *fault)
{
	const struct trace_op *const last = t->nops > 0 ? &t->op[t->nops - 1] : NULL;
	char expected[64], got[24];

	if (last != NULL && op->tx < last->tx) {
		snprintf(expected, sizeof(expected), "a group number (tx) of at least %llu",
			 (unsigned long long)last->tx);
		snprintf(got, sizeof(got), "%llu", (unsigned long long)op->tx);
		return lines_expected(fault, op->line, expected, got);
	}
	if (last == NULL || op->tx != last->tx) {
		t->group = cli_grow(t->group, t->ngroups, &cap[1], sizeof(*t->group));
		t->group[t->ngroups++] = (struct trace_group){.first = t->nops};
	}
	t->group[t->ngroups - 1].nops++;
	t->op = cli_grow(t->op, t->nops, &cap[0], sizeof(*t->op));
	t->op[t->nops++] = *op;
	t->nholes += op->hole > 0;
	if (op->space >= t->nspaces)
		t->nspaces = op->space + 1;
	if (op->size > 0 && op->hva < t->hva_lo)
		t->hva_lo = op->hva;
	if (op->size > 0 && op->hva + op->size > t->hva_hi)
		t->hva_hi = op->hva + op->size;
	return 0;
}

static int read_ops(struct trace *t, struct lines *l, struct lines_fault *fault)
{
	size_t cap[2] = {0, 0};
	char *text;
	int ret;

	while ((ret = lines_next(l, &text, fault)) > 0) {
		struct trace_op op = {.line = l->line};

		if (text[0] == '#' || text[strspn(text, " \t")] == '\0')
			continue;
		if (parse_line(&op, text, fault) < 0 || add_op(t, &op, cap, fault) < 0)
			return -1;
	}
	if (ret == 0 && t->nops == 0)
		return lines_expected_not(fault, l->line, "a request", "the end of the file");
	return ret;
}

/* The last component of a path without its ending. */
static char *short_name(const char *path)
{
	const char *const slash = strrchr(path, '/');
	const char *const base = slash != NULL ? slash + 1 : path;
	const char *const dot = strrchr(base, '.');
	const size_t len = dot != NULL && dot != base ? (size_t)(dot - base) : strlen(base);
	char *name = cli_alloc(len + 1, 1);

	memcpy(name, base, len);
	return name;
}

int trace_read(struct trace *t, const char *path, struct lines_fault *fault)
{
	struct lines l;
	int ret;

	*t = (struct trace){.path = path, .hva_lo = UINT64_MAX};
	if (lines_open(&l, path, fault) < 0)
		return -1;
	t->name = short_name(path);
	ret = read_ops(t, &l, fault);
	lines_close(&l);
	if (ret < 0)
		trace_free(t);
	return ret;
}

void trace_free(struct trace *t)
{
	free(t->name);
	free(t->op);
	free(t->group);
	*t = (struct trace){0};
}
