/* SPDX-License-Identifier: MIT */
/*
 * pool.c - slabs of equal nodes.
 *
 * Data: a slab is POOL_SLAB_BYTES aligned to its size, so a node finds its slab by masking
 * its address. The header takes one cache line; nodes follow.
 *
 * Invariants (pool_check()):
 *   P0 a slab is on pool->slabs, or on pool->spare, of which there are nspare
 *   P1 of those in use, it is on its class's partial list iff it has a free node
 *   P2 nfree equals the length of the free list, 0 <= nfree <= nnodes
 *   P3 slab_bytes and live_bytes are the sums over the slabs
 *   P4 at most one wholly free slab a class stays (no churn at the border)
 */
#include "base/pool.h"

#include <string.h>

#include "base/alloc.h"

_Static_assert(sizeof(struct pool_slab) <= POOL_SLAB_HEADER, "the header fits its cache line");
_Static_assert(POOL_MAX_BYTES <= (POOL_SLAB_BYTES - POOL_SLAB_HEADER) / 4,
	       "a slab holds several nodes");

static void partial_add(struct pool *pool, struct pool_slab *slab)
{
	struct pool_slab **head = &pool->partial[slab->class_bytes / 8];

	slab->part_prev = NULL;
	slab->part_next = *head;
	if (*head)
		(*head)->part_prev = slab;
	*head = slab;
}

static void partial_del(struct pool *pool, struct pool_slab *slab)
{
	if (slab->part_prev)
		slab->part_prev->part_next = slab->part_next;
	else
		pool->partial[slab->class_bytes / 8] = slab->part_next;
	if (slab->part_next)
		slab->part_next->part_prev = slab->part_prev;
}

static struct pool_slab *slab_memory(struct pool *pool)
{
	struct pool_slab *slab = pool->spare;

	if (slab) {
		pool->spare = slab->next;
		pool->nspare--;
		return slab;
	}
	slab = mem_alloc_aligned(POOL_SLAB_BYTES, POOL_SLAB_BYTES);
	if (slab)
		pool->slab_bytes += POOL_SLAB_BYTES;
	return slab;
}

static struct pool_slab *slab_create(struct pool *pool, uint32_t class_bytes)
{
	struct pool_slab *slab = slab_memory(pool);

	if (!slab)
		return NULL;
	*slab = (struct pool_slab){
	    .next = pool->slabs,
	    .class_bytes = class_bytes,
	    .nnodes = (uint32_t)((POOL_SLAB_BYTES - POOL_SLAB_HEADER) / class_bytes),
	};
	slab->nfree = slab->nnodes;
	if (pool->slabs)
		pool->slabs->prev = slab;
	pool->slabs = slab;
	partial_add(pool, slab);
	MEM_FORBID((char *)slab + POOL_SLAB_HEADER, POOL_SLAB_BYTES - POOL_SLAB_HEADER);
	return slab;
}

static void slab_retire(struct pool *pool, struct pool_slab *slab)
{
	partial_del(pool, slab);
	if (slab->prev)
		slab->prev->next = slab->next;
	else
		pool->slabs = slab->next;
	if (slab->next)
		slab->next->prev = slab->prev;
	if (pool->nspare < POOL_SPARE_SLABS) {
		slab->next = pool->spare;
		pool->spare = slab;
		pool->nspare++;
	} else {
		pool->slab_bytes -= POOL_SLAB_BYTES;
		mem_free(slab);
	}
}

static void free_slabs(struct pool_slab *slab)
{
	struct pool_slab *next;

	for (; slab; slab = next) {
		next = slab->next;
		mem_free(slab);
	}
}

void pool_init(struct pool *pool)
{
	memset(pool, 0, sizeof(*pool));
}

void pool_fini(struct pool *pool)
{
	free_slabs(pool->slabs);
	free_slabs(pool->spare);
	pool_init(pool);
}

void *pool_slow_alloc(struct pool *pool, uint32_t class_bytes)
{
	struct pool_slab *slab = pool->partial[class_bytes / 8];
	struct pool_link *node;

	if (!slab) {
		slab = slab_create(pool, class_bytes);
		if (!slab)
			return NULL;
	}
	node = pool_take(slab);
	MEM_ALLOW(node, class_bytes);
	if (--slab->nfree == 0)
		partial_del(pool, slab);
	pool->live_bytes += class_bytes;
	return node;
}

void pool_slow_free(struct pool *pool, struct pool_slab *slab)
{
	if (slab->nfree == 1)
		partial_add(pool, slab);
	/* Keep one wholly free slab a class, so that a commit at the border does not churn. */
	if (slab->nfree == slab->nnodes && (slab->part_prev || slab->part_next))
		slab_retire(pool, slab);
}

static const char *slab_check(const struct pool *pool, const struct pool_slab *slab)
{
	const struct pool_slab *p;
	const struct pool_link *link;
	uint32_t listed = 0;

	for (link = slab->free; link; link = link->next) {
		if (pool_slab_of(link) != slab)
			return "pool: a free node is on another slab's list";
		if (++listed > slab->nnodes)
			return "pool: a free list loops";
	}
	if (listed + (slab->nnodes - slab->fresh) != slab->nfree)
		return "pool: nfree differs from the free list";
	for (p = pool->partial[slab->class_bytes / 8]; p && p != slab; p = p->part_next)
		if (p->nfree == p->nnodes && slab->nfree == slab->nnodes)
			return "pool: a class keeps two free slabs";
	if ((p == slab) != (slab->nfree > 0))
		return "pool: a slab is on the wrong list";
	return NULL;
}

const char *pool_check(const struct pool *pool)
{
	uint64_t slab_bytes = 0, live_bytes = 0;
	uint32_t nspare = 0;
	const struct pool_slab *slab;
	const char *why;

	for (slab = pool->slabs; slab; slab = slab->next) {
		why = slab_check(pool, slab);
		if (why)
			return why;
		slab_bytes += POOL_SLAB_BYTES;
		live_bytes += (uint64_t)(slab->nnodes - slab->nfree) * slab->class_bytes;
	}
	for (slab = pool->spare; slab; slab = slab->next, nspare++)
		slab_bytes += POOL_SLAB_BYTES;
	if (nspare != pool->nspare || nspare > POOL_SPARE_SLABS)
		return "pool: nspare is wrong";
	if (slab_bytes != pool->slab_bytes)
		return "pool: slab_bytes is wrong";
	if (live_bytes != pool->live_bytes)
		return "pool: live_bytes is wrong";
	return NULL;
}
