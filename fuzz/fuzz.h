/* SPDX-License-Identifier: MIT */
/*
 * fuzz.h - what the fuzz targets share.
 *
 * A target is a file fuzz_NAME.c with one LLVMFuzzerTestOneInput(). libFuzzer calls it
 * with inputs that it makes up; standalone.c calls it with files, so that the inputs of
 * the past are tests with any compiler. A target ends the process when something is
 * wrong; a return means that the library did what its twin said.
 */
#ifndef MSLOT_FUZZ_FUZZ_H
#define MSLOT_FUZZ_FUZZ_H

#include <mslot/txn.h>

#include "input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Print what is wrong and abort. */
_Noreturn void fuzz_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define FUZZ_REQUIRE(cond)                                                                         \
	do {                                                                                       \
		if (!(cond))                                                                       \
			fuzz_fail("%s:%d: %s", __FILE__, __LINE__, #cond);                         \
	} while (0)

/* mslot_check_map(), or the end. */
void fuzz_check_map(struct mslot_map *map);

/*
 * Let the n-th allocation from now on fail, once or from then on, as the input says;
 * mostly none. Returns whether one may. fuzz_alloc_heal() ends it and tells whether one did.
 */
bool fuzz_alloc_fail(struct input *in);
bool fuzz_alloc_heal(void);

/* A file in memory with these bytes; its path is valid until fuzz_file_close(). */
const char *fuzz_file_open(const void *bytes, size_t len);
void fuzz_file_close(void);

#endif /* MSLOT_FUZZ_FUZZ_H */
