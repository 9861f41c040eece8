/* SPDX-License-Identifier: MIT */
/* table.c - tables and JSON lines; see table.h. */
#include "table.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

void table_init(struct table *t, const struct table_column *column, size_t ncolumns)
{
	*t = (struct table){.column = column, .ncolumns = ncolumns};
}

void table_add(struct table *t, const char *fmt, ...)
{
	char text[160];
	char *copy;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	copy = cli_alloc(strlen(text) + 1, 1);
	strcpy(copy, text);
	t->cell = cli_grow(t->cell, t->ncells, &t->cap, sizeof(*t->cell));
	t->cell[t->ncells++] = copy;
}

void table_add_count(struct table *t, uint64_t n)
{
	char digits[24], text[40];
	size_t len, out = 0;

	snprintf(digits, sizeof(digits), "%" PRIu64, n);
	len = strlen(digits);
	for (size_t i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			text[out++] = ',';
		text[out++] = digits[i];
	}
	text[out] = '\0';
	table_add(t, "%s", text);
}

void table_add_ns(struct table *t, uint64_t ns)
{
	if (ns < 1000)
		table_add(t, "%" PRIu64 " ns", ns);
	else if (ns < 1000000)
		table_add(t, "%.1f us", (double)ns / 1e3);
	else
		table_add(t, "%.1f ms", (double)ns / 1e6);
}

static int width_of(const struct table *t, size_t column)
{
	size_t width = strlen(t->column[column].head);

	for (size_t i = column; i < t->ncells; i += t->ncolumns) {
		size_t len = strlen(t->cell[i]);

		width = len > width ? len : width;
	}
	return (int)width;
}

static void print_cell(const struct table *t, size_t column, int width, const char *text, FILE *to)
{
	const bool last = column + 1 == t->ncolumns;

	if (t->column[column].right)
		fprintf(to, "%*s%s", width, text, last ? "\n" : "  ");
	else if (last)
		fprintf(to, "%s\n", text);
	else
		fprintf(to, "%-*s  ", width, text);
}

void table_print(const struct table *t, FILE *to)
{
	int *width = cli_alloc(t->ncolumns, sizeof(*width));

	for (size_t c = 0; c < t->ncolumns; c++)
		width[c] = width_of(t, c);
	for (size_t c = 0; c < t->ncolumns; c++)
		print_cell(t, c, width[c], t->column[c].head, to);
	for (size_t i = 0, c = 0; i < t->ncells; i++) {
		print_cell(t, c, width[c], t->cell[i], to);
		c = c + 1 < t->ncolumns ? c + 1 : 0;
	}
	free(width);
}

void table_fini(struct table *t)
{
	for (size_t i = 0; i < t->ncells; i++)
		free(t->cell[i]);
	free(t->cell);
	*t = (struct table){0};
}

void json_begin(struct json *j, FILE *to)
{
	*j = (struct json){.to = to};
	fputc('{', to);
}

static void put_string(FILE *to, const char *text)
{
	fputc('"', to);
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			fprintf(to, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			fprintf(to, "\\u%04x", c);
		else
			fputc(c, to);
	}
	fputc('"', to);
}

static void put_name(struct json *j, const char *name)
{
	if (j->nfields++ > 0)
		fputc(',', j->to);
	put_string(j->to, name);
	fputc(':', j->to);
}

void json_text(struct json *j, const char *name, const char *value)
{
	put_name(j, name);
	put_string(j->to, value);
}

void json_count(struct json *j, const char *name, uint64_t value)
{
	put_name(j, name);
	fprintf(j->to, "%" PRIu64, value);
}

void json_real(struct json *j, const char *name, double value)
{
	put_name(j, name);
	fprintf(j->to, "%.6f", value);
}

void json_bool(struct json *j, const char *name, bool value)
{
	put_name(j, name);
	fputs(value ? "true" : "false", j->to);
}

void json_end(struct json *j)
{
	fputs("}\n", j->to);
	fflush(j->to);
}
