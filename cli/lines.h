/* SPDX-License-Identifier: MIT */
/*
 * lines.h - text files read line by line, and what is wrong with them.
 *
 * Every line must end in a newline (a carriage return before it is dropped), so that a
 * file that was cut is noticed; control characters other than tabs are refused, so that
 * a binary file is refused at once. A fault always says what was expected and found.
 */
#ifndef MSLOT_CLI_LINES_H
#define MSLOT_CLI_LINES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define LINES_MAX_BYTES 65536u /* of one line, newline included */

struct lines_fault {
	unsigned long line; /* 0: the file as a whole */
	char text[320];
};

struct lines {
	FILE *file;
	unsigned long line; /* number of the line returned last */
	char *buf;
};

/* Each returns -1 with *fault filled in where something is wrong. */
int lines_open(struct lines *l, const char *path, struct lines_fault *fault);
/* 1 and *text (valid until the next call; may be modified), or 0 at the end. */
int lines_next(struct lines *l, char **text, struct lines_fault *fault);
void lines_close(struct lines *l);

/* Fill *fault with "expected EXPECTED, got 'GOT'"; got is quoted and cut. Returns -1. */
int lines_expected(struct lines_fault *fault, unsigned long line, const char *expected,
		   const char *got);
/* The same for a `got` that is a description and not a quotation. Returns -1. */
int lines_expected_not(struct lines_fault *fault, unsigned long line, const char *expected,
		       const char *what);
/* Print `mslot VERB: PATH:LINE: text`. */
void lines_report(const char *verb, const char *path, const struct lines_fault *fault);

/*
 * Cut `text` in place into at most `max` fields. With a separator of ' ' fields are
 * separated by any number of spaces and tabs, otherwise by exactly one separator.
 * Returns the number of fields, max + 1 where there are more.
 */
size_t lines_split(char *text, char separator, char **field, size_t max);

/* A whole field as a number of at most `max`: decimal digits, or 0x and hexadecimal digits. */
bool lines_decimal(const char *field, uint64_t max, uint64_t *out);
bool lines_hex(const char *field, uint64_t max, uint64_t *out);

#endif /* MSLOT_CLI_LINES_H */
