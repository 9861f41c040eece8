/* SPDX-License-Identifier: MIT */
/* run.h - run the command and look at what it says; files for it to read. */
#ifndef MSLOT_TESTS_CLI_RUN_H
#define MSLOT_TESTS_CLI_RUN_H

#include <stddef.h>

#define RUN_MAX_ARGS 32

struct run {
	int status; /* exit status, or 128 + signal */
	char *out;  /* all of stdout, NUL-terminated */
	char *err;
};

/* Run the program that the environment variable MSLOT_CLI names; argv ends with NULL. */
void run_cli(struct run *r, const char *const *argv);
/* Run any program, with `input` on its stdin. */
void run_program(struct run *r, const char *path, const char *const *argv, const char *input);
void run_free(struct run *r);

/* A new temporary file with these bytes; the name is freed by run_unlink(). */
char *run_file(const void *bytes, size_t len, const char *suffix);
void run_unlink(char *name);

#endif /* MSLOT_TESTS_CLI_RUN_H */
