/* SPDX-License-Identifier: MIT */
#include "base/alloc.h"

#include <stdlib.h>

#ifdef MSLOT_TESTING
#include <stdatomic.h>

static _Atomic uint64_t attempts, live, fail_from;
static _Atomic int fail_persistent;
static _Atomic bool count_nodes;

void alloc_fail_at(uint64_t n, int persistent)
{
	atomic_store(&fail_from, 0);
	atomic_store(&attempts, 0);
	atomic_store(&fail_persistent, persistent);
	atomic_store(&fail_from, n);
}

uint64_t alloc_attempts(void)
{
	return atomic_load(&attempts);
}

uint64_t alloc_live(void)
{
	return atomic_load(&live);
}

static bool refused(void)
{
	uint64_t nth = atomic_fetch_add(&attempts, 1) + 1;
	uint64_t from = atomic_load(&fail_from);

	return from != 0 && (atomic_load(&fail_persistent) ? nth >= from : nth == from);
}

void alloc_count_nodes(bool on)
{
	atomic_store(&count_nodes, on);
}

bool alloc_node_refused(void)
{
	return atomic_load(&count_nodes) && refused();
}

static void *counted(void *p)
{
	if (p)
		atomic_fetch_add(&live, 1);
	return p;
}

static void uncount(void)
{
	atomic_fetch_sub(&live, 1);
}
#else
static bool refused(void)
{
	return false;
}

static void *counted(void *p)
{
	return p;
}

static void uncount(void)
{
}
#endif

void *mem_alloc(size_t bytes)
{
	return refused() ? NULL : counted(malloc(bytes));
}

void *mem_zalloc(size_t bytes)
{
	return refused() ? NULL : counted(calloc(1, bytes));
}

void *mem_alloc_aligned(size_t align, size_t bytes)
{
	return refused() ? NULL : counted(aligned_alloc(align, bytes));
}

void *mem_realloc(void *old, size_t bytes)
{
	void *p;

	if (refused())
		return NULL;
	p = realloc(old, bytes);
	if (p && !old)
		(void)counted(p);
	return p;
}

void mem_free(void *p)
{
	if (p)
		uncount();
	free(p);
}
