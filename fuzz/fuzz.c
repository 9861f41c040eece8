/* SPDX-License-Identifier: MIT */
/* fuzz.c - see fuzz.h. */
#include "fuzz.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"

void fuzz_fail(const char *fmt, ...)
{
	va_list ap;

	(void)fflush(stdout);
	va_start(ap, fmt);
	(void)fputs("fuzz: ", stderr);
	(void)vfprintf(stderr, fmt, ap);
	(void)fputc('\n', stderr);
	va_end(ap);
	abort();
}

void fuzz_check_map(struct mslot_map *map)
{
	const char *why = "";
	const int err = mslot_check_map(map, &why);

	if (err)
		fuzz_fail("mslot_check_map: %d (%s)", err, why);
}

static uint64_t fail_at;

bool fuzz_alloc_fail(struct input *in)
{
	const uint8_t choice = in_u8(in);

	fail_at = choice < 0xa0 ? 0 : 1 + choice % 32u;
	alloc_fail_at(fail_at, choice >= 0xe0);
	return fail_at != 0;
}

bool fuzz_alloc_heal(void)
{
	const bool did = fail_at != 0 && alloc_attempts() >= fail_at;

	fail_at = 0;
	alloc_fail_at(0, 0);
	return did;
}

static int file = -1;

const char *fuzz_file_open(const void *bytes, size_t len)
{
	static char path[40];

	file = memfd_create("input", MFD_CLOEXEC);
	FUZZ_REQUIRE(file >= 0);
	FUZZ_REQUIRE(write(file, bytes, len) == (ssize_t)len);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	return path;
}

void fuzz_file_close(void)
{
	(void)close(file);
	file = -1;
}
