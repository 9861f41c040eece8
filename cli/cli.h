/* SPDX-License-Identifier: MIT */
/*
 * cli.h - what every verb of the command shares: exit codes, messages, numbers, memory.
 *
 * Messages go to stderr as `mslot VERB: message`; results go to stdout, as a table for
 * people or as one JSON object a line.
 */
#ifndef MSLOT_CLI_CLI_H
#define MSLOT_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CLI_OK = 0,
	CLI_FAILED = 1,   /* the data is bad, an answer differs, a file cannot be read */
	CLI_USAGE = 2,    /* the command line is wrong */
	CLI_SKIPPED = 77, /* the machine lacks what the verb needs */
};

struct cli_verb {
	const char *name;
	const char *summary;
	int (*run)(int argc, char **argv);
};

int oracle_main(int argc, char **argv);
int replay_main(int argc, char **argv);
int map_main(int argc, char **argv);
int bench_main(int argc, char **argv);
int migrate_main(int argc, char **argv);
int kvm_main(int argc, char **argv);

/* Print `mslot VERB: message` to stderr; an empty verb leaves only `mslot: message`. */
void cli_error(const char *verb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same, then where to read more. Returns CLI_USAGE. */
int cli_usage(const char *verb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* As cli_usage() where getopt_long() has printed the message already. */
int cli_usage_hint(const char *verb);

/* Flush stdout; returns status, or CLI_FAILED where the output could not be written. */
int cli_finish(const char *verb, int status);

/* A decimal number of at most `max` and nothing else. */
bool cli_number(const char *text, uint64_t max, uint64_t *out);

/* Memory, or a message and exit: a command-line tool has nothing better to do. */
void *cli_alloc(size_t n, size_t size);
/* A copy of a text, from cli_alloc(). */
char *cli_strdup(const char *text);
/* Make room for one more element behind `n`; doubles. Returns the array. */
void *cli_grow(void *array, size_t n, size_t *cap, size_t size);

/* A monotonic clock in nanoseconds, and the CPU time of the calling thread. */
uint64_t cli_now_ns(void);
uint64_t cli_thread_cpu_ns(void);

#endif /* MSLOT_CLI_CLI_H */
