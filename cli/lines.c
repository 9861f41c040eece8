/* SPDX-License-Identifier: MIT */
/* lines.c - text files read line by line; see lines.h. */
#include "lines.h"

#include <errno.h>
#include <string.h>
#include <stdlib.h>

#include "cli.h"

/* Copy `got` between quotes, control characters as \xNN, long texts cut. */
static void quote(char *out, size_t size, const char *got)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	out[n++] = '\'';
	for (; *got != '\0' && n + 9 < size; got++) {
		unsigned char c = (unsigned char)*got;

		if (c >= 0x20 && c < 0x7f) {
			out[n++] = (char)c;
		} else {
			out[n++] = '\\';
			out[n++] = 'x';
			out[n++] = hex[c >> 4];
			out[n++] = hex[c & 15];
		}
	}
	if (*got != '\0') {
		memcpy(out + n, "...", 3);
		n += 3;
	}
	out[n++] = '\'';
	out[n] = '\0';
}

int lines_expected_not(struct lines_fault *fault, unsigned long line, const char *expected,
		       const char *what)
{
	fault->line = line;
	snprintf(fault->text, sizeof(fault->text), "expected %s, got %s", expected, what);
	return -1;
}

int lines_expected(struct lines_fault *fault, unsigned long line, const char *expected,
		   const char *got)
{
	char quoted[72];

	quote(quoted, sizeof(quoted), got);
	return lines_expected_not(fault, line, expected, quoted);
}

void lines_report(const char *verb, const char *path, const struct lines_fault *fault)
{
	if (fault->line > 0)
		cli_error(verb, "%s:%lu: %s", path, fault->line, fault->text);
	else
		cli_error(verb, "%s: %s", path, fault->text);
}

int lines_open(struct lines *l, const char *path, struct lines_fault *fault)
{
	*l = (struct lines){.file = fopen(path, "re")};
	if (l->file == NULL) {
		fault->line = 0;
		snprintf(fault->text, sizeof(fault->text), "cannot open: %s", strerror(errno));
		return -1;
	}
	l->buf = cli_alloc(LINES_MAX_BYTES, 1);
	return 0;
}

void lines_close(struct lines *l)
{
	if (l->file != NULL)
		fclose(l->file);
	free(l->buf);
	*l = (struct lines){0};
}

static int bad_byte(struct lines *l, int c, struct lines_fault *fault)
{
	char what[32];

	snprintf(what, sizeof(what), "a byte 0x%02x", (unsigned int)c);
	return lines_expected_not(fault, l->line, "text", what);
}

static int end_of_file(struct lines *l, size_t n, struct lines_fault *fault)
{
	if (ferror(l->file)) {
		fault->line = 0;
		snprintf(fault->text, sizeof(fault->text), "cannot read: %s", strerror(errno));
		return -1;
	}
	if (n > 0)
		return lines_expected_not(fault, l->line, "a newline at the end of the line",
					  "the end of the file (is it cut?)");
	return 0;
}

int lines_next(struct lines *l, char **text, struct lines_fault *fault)
{
	size_t n = 0;
	int c;

	l->line++;
	while ((c = getc_unlocked(l->file)) != '\n') {
		if (c == EOF)
			return end_of_file(l, n, fault);
		if (c == 0x7f || (c < 0x20 && c != '\t' && c != '\r'))
			return bad_byte(l, c, fault);
		if (n > 0 && l->buf[n - 1] == '\r')
			return bad_byte(l, '\r', fault);
		if (n + 2 > LINES_MAX_BYTES)
			return lines_expected_not(fault, l->line, "a line below 65536 bytes",
						  "a longer one");
		l->buf[n++] = (char)c;
	}
	if (n > 0 && l->buf[n - 1] == '\r')
		n--;
	l->buf[n] = '\0';
	*text = l->buf;
	return 1;
}

size_t lines_split(char *text, char separator, char **field, size_t max)
{
	const char *const cut = separator == ' ' ? " \t" : (const char[]){separator, '\0'};
	size_t n = 0;

	if (separator == ' ')
		text += strspn(text, cut);
	while (separator != ' ' || *text != '\0') {
		char *end = text + strcspn(text, cut);
		const bool last = *end == '\0';

		if (n == max)
			return max + 1;
		field[n++] = text;
		*end = '\0';
		if (last)
			break;
		text = end + 1;
		if (separator == ' ')
			text += strspn(text, cut);
	}
	return n;
}

bool lines_decimal(const char *field, uint64_t max, uint64_t *out)
{
	return cli_number(field, max, out);
}

bool lines_hex(const char *field, uint64_t max, uint64_t *out)
{
	size_t digits;

	if (strncmp(field, "0x", 2) != 0)
		return false;
	field += 2;
	digits = strspn(field, "0123456789abcdefABCDEF");
	if (digits == 0 || field[digits] != '\0')
		return false;
	field += strspn(field, "0");
	if (strlen(field) > 16)
		return false;
	*out = strtoull(*field == '\0' ? "0" : field, NULL, 16);
	return *out <= max;
}
