/* SPDX-License-Identifier: MIT */
/*
 * names.c - every function of the public headers is in exactly one of the two tables:
 * operations that allocate, functions that never do.
 */
#include "fault.h"

#include <stdio.h>
#include <string.h>

#define MAX_NAMES 256u
#define NAME_BYTES 64u

struct names {
	char name[MAX_NAMES][NAME_BYTES];
	size_t n;
};

static bool has(const struct names *names, const char *name)
{
	for (size_t i = 0; i < names->n; i++)
		if (!strcmp(names->name[i], name))
			return true;
	return false;
}

static void add(struct names *names, const char *name, size_t len)
{
	char copy[NAME_BYTES] = {0};

	CHECK(len < NAME_BYTES && names->n < MAX_NAMES, "too long or too many: %s", name);
	memcpy(copy, name, len);
	if (!has(names, copy))
		memcpy(names->name[names->n++], copy, NAME_BYTES);
}

static void add_words(struct names *names, const char *words)
{
	size_t len;

	for (; *words; words += len + (words[len] == ' ')) {
		len = strcspn(words, " ");
		add(names, words, len);
	}
}

/* The name before the first parenthesis behind each MSLOT_API. */
static void add_declared(struct names *names, const char *text)
{
	static const char mark[] = "\nMSLOT_API ",
			  letters[] = "abcdefghijklmnopqrstuvwxyz_0123456789";
	const char *end, *start;

	for (text = strstr(text, mark); text; text = strstr(end, mark)) {
		end = text + strcspn(text, "(");
		CHECK(*end, "a declaration without parameters");
		for (start = end; strchr(letters, start[-1]); start--)
			;
		add(names, start, (size_t)(end - start));
	}
}

static void add_header(struct names *names, const char *dir, const char *header)
{
	static char text[1 << 16];
	char path[4096];
	size_t n;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, header);
	file = fopen(path, "r");
	n = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
	if (file)
		fclose(file);
	CHECK(n > 0 && n < sizeof(text) - 1, "%s cannot be read, is empty or too long", path);
	text[n] = '\0';
	add_declared(names, text);
}

static unsigned int report(const struct names *of, const struct names *in, bool wanted,
			   const char *what)
{
	unsigned int wrong = 0;

	for (size_t i = 0; i < of->n; i++)
		if (has(in, of->name[i]) != wanted) {
			printf("%s: %s\n", of->name[i], what);
			wrong++;
		}
	return wrong;
}

bool names_complete(const char *dir)
{
	static const char *const headers[] = {"map.h",  "txn.h",       "lease.h", "access.h",
					      "vcpu.h", "mmu.h",       "guest.h", "dirty.h",
					      "kvm.h",  "kvm_ioctl.h", "mslot.h"};
	static struct names declared, loud, silent, both;
	unsigned int wrong = 0;
	size_t i;

	for (i = 0; i < sizeof(headers) / sizeof(*headers); i++)
		add_header(&declared, dir, headers[i]);
	for (i = 0; i < nops; i++)
		add_words(&loud, ops[i].functions);
	for (i = 0; i < nquiets; i++)
		add_words(&silent, quiets[i].functions);
	both = loud;
	for (i = 0; i < silent.n; i++)
		add(&both, silent.name[i], strlen(silent.name[i]));
	wrong += report(&loud, &silent, false, "allocates and does not");
	wrong += report(&declared, &both, true,
			"neither in the table of operations nor in that of "
			"functions that never allocate");
	wrong += report(&both, &declared, true, "in a table, but in no header");
	printf("%zu functions: %zu allocate, %zu never do\n", declared.n, loud.n, silent.n);
	return declared.n > 0 && wrong == 0;
}
