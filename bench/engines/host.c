/* SPDX-License-Identifier: MIT */
/* host.c - see host.h. */
#include "host.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

void *bench_cannot(char why[BENCH_REASON], const char *what, int err)
{
	snprintf(why, BENCH_REASON, "not available: %s: %s", what, strerror(err));
	return NULL;
}

void *bench_host(uint64_t len_bytes, char why[BENCH_REASON])
{
	void *const host = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return host == MAP_FAILED ? bench_cannot(why, "address space", errno) : host;
}
