/* SPDX-License-Identifier: MIT */
/*
 * alloc.h - the allocator seam: the only caller of malloc() and friends.
 *
 * With MSLOT_TESTING the n-th allocation of the process can be made to fail
 * (alloc_fail_at()), which is how tests walk through every out-of-memory path.
 */
#ifndef MSLOT_BASE_ALLOC_H
#define MSLOT_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Uninitialised memory of `bytes` > 0, or NULL. */
void *mem_alloc(size_t bytes);
/* Zeroed memory of `bytes` > 0, or NULL. */
void *mem_zalloc(size_t bytes);
/* `bytes` aligned to `align` (a power of two that divides bytes), or NULL. */
void *mem_alloc_aligned(size_t align, size_t bytes);
/* As realloc(); `old` may be NULL; on NULL the old memory is untouched. */
void *mem_realloc(void *old, size_t bytes);
/* Accepts NULL. */
void mem_free(void *p);

#ifdef MSLOT_TESTING
/*
 * Make the n-th allocation from now on fail (1 is the next one), or with
 * `persistent` that one and every later one. n = 0 switches failing off. Counts
 * allocations of all threads.
 */
void alloc_fail_at(uint64_t n, int persistent);
/*
 * Count nodes taken from a pool's slabs as allocations too (off at first), so that the
 * failure of every single node can be reached, not only that of the slab behind it.
 */
void alloc_count_nodes(bool on);
/* For the pool: must this node's allocation fail? */
bool alloc_node_refused(void);
/* Allocations attempted since alloc_fail_at() was last called. */
uint64_t alloc_attempts(void);
/* Allocations that have not been freed. */
uint64_t alloc_live(void);
#else
static inline bool alloc_node_refused(void)
{
	return false;
}
#endif

#endif /* MSLOT_BASE_ALLOC_H */
