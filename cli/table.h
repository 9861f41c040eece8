/* SPDX-License-Identifier: MIT */
/* table.h - results in columns for people, and as JSON objects for programs. */
#ifndef MSLOT_CLI_TABLE_H
#define MSLOT_CLI_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct table_column {
	const char *head;
	int right; /* 1: flush right, for numbers */
};

/* Cells row by row; printed when all widths are known. */
struct table {
	const struct table_column *column;
	size_t ncolumns;
	char **cell;
	size_t ncells;
	size_t cap;
};

void table_init(struct table *t, const struct table_column *column, size_t ncolumns);
void table_add(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A number with a separator every three digits. */
void table_add_count(struct table *t, uint64_t n);
/* A duration in the unit that suits it. */
void table_add_ns(struct table *t, uint64_t ns);
void table_print(const struct table *t, FILE *to);
void table_fini(struct table *t);

/* One JSON object on a line: json_begin(), fields, json_end(). */
struct json {
	FILE *to;
	int nfields;
};

void json_begin(struct json *j, FILE *to);
void json_text(struct json *j, const char *name, const char *value);
void json_count(struct json *j, const char *name, uint64_t value);
void json_real(struct json *j, const char *name, double value);
void json_bool(struct json *j, const char *name, bool value);
void json_end(struct json *j);

#endif /* MSLOT_CLI_TABLE_H */
