/* SPDX-License-Identifier: MIT */
/* cli.c - messages, numbers, memory and clocks of the command; see cli.h. */
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void print_message(const char *verb, const char *fmt, va_list ap)
{
	fflush(stdout);
	fprintf(stderr, verb[0] != '\0' ? "mslot %s: " : "mslot%s: ", verb);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

void cli_error(const char *verb, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print_message(verb, fmt, ap);
	va_end(ap);
}

int cli_usage_hint(const char *verb)
{
	fprintf(stderr, "Try 'mslot%s%s --help' for more information.\n",
		verb[0] != '\0' ? " " : "", verb);
	return CLI_USAGE;
}

int cli_usage(const char *verb, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print_message(verb, fmt, ap);
	va_end(ap);
	return cli_usage_hint(verb);
}

int cli_finish(const char *verb, int status)
{
	if (fflush(stdout) != 0 || ferror(stdout)) {
		cli_error(verb, "cannot write the output: %s", strerror(errno));
		return CLI_FAILED;
	}
	return status;
}

bool cli_number(const char *text, uint64_t max, uint64_t *out)
{
	uint64_t val = 0;

	if (*text == '\0')
		return false;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9' || __builtin_mul_overflow(val, 10u, &val) ||
		    __builtin_add_overflow(val, (uint64_t)(*text - '0'), &val))
			return false;
	}
	if (val > max)
		return false;
	*out = val;
	return true;
}

void *cli_alloc(size_t n, size_t size)
{
	void *p = calloc(n > 0 ? n : 1, size);

	if (p == NULL) {
		cli_error("", "out of memory");
		exit(CLI_FAILED);
	}
	return p;
}

void *cli_grow(void *array, size_t n, size_t *cap, size_t size)
{
	void *p;

	if (n < *cap)
		return array;
	*cap = *cap == 0 ? 64 : *cap * 2;
	p = reallocarray(array, *cap, size);
	if (p == NULL) {
		cli_error("", "out of memory");
		exit(CLI_FAILED);
	}
	return p;
}

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t cli_now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t cli_thread_cpu_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

char *cli_strdup(const char *text)
{
	const size_t bytes = strlen(text) + 1;

	return memcpy(cli_alloc(1, bytes), text, bytes);
}
