/* SPDX-License-Identifier: MIT */
/* dirty_host.c - what all engines of dirty_engines.h share. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "dirty_engines.h"

void *dirty_cannot(char why[DIRTY_WHY], const char *what, int err)
{
	snprintf(why, DIRTY_WHY, "not available: %s: %s", what, strerror(err));
	return NULL;
}

void *dirty_host(uint64_t len_bytes, char why[DIRTY_WHY])
{
	void *const host = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return host == MAP_FAILED ? dirty_cannot(why, "address space", errno) : host;
}
