/* SPDX-License-Identifier: MIT */
/*
 * pool.h - pools of small nodes that a single writer owns.
 *
 * A pool hands out nodes of 8-byte size classes up to POOL_MAX_BYTES, cut from aligned
 * slabs; a free node goes back to its slab. A slab that becomes wholly free, and is not
 * its class's only one with room, is spared for any class, up to POOL_SPARE_SLABS of them,
 * else it goes back to the system: a queue of dead nodes fills and empties all the time,
 * and its memory must not go to the system and back each time. No lock: the caller
 * serialises (the map's writer mutex).
 *
 * Every node starts with a struct pool_link. The pool itself uses only `next`, and
 * only while the node is free; owners use both fields to list nodes that they have
 * created or retired. Readers never look at the link.
 */
#ifndef MSLOT_BASE_POOL_H
#define MSLOT_BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/sanitize.h"

#define POOL_MAX_BYTES 1152u
#define POOL_SPARE_SLABS 64u
#define POOL_CLASSES (POOL_MAX_BYTES / 8 + 1)
#define POOL_SLAB_BYTES ((size_t)8192)
#define POOL_SLAB_HEADER ((size_t)64)

struct pool_link {
	struct pool_link *next;
	uint64_t birth; /* generation of the first snapshot that reaches the node */
};

/* The head of a slab, private to the pool; nodes follow. */
struct pool_slab {
	struct pool_slab *next, *prev;           /* pool->slabs */
	struct pool_slab *part_next, *part_prev; /* pool->partial[class] */
	struct pool_link *free;
	uint32_t class_bytes;
	uint32_t nfree, nnodes;
	uint32_t fresh; /* nodes from this one on were never handed out and are not listed */
};

struct pool {
	struct pool_slab *partial[POOL_CLASSES]; /* slabs with room, by class */
	struct pool_slab *slabs;                 /* all slabs of a class, for checking and fini */
	struct pool_slab *spare;                 /* wholly free, of no class */
	uint32_t nspare;
	uint64_t slab_bytes; /* memory taken from the system, spare slabs included */
	uint64_t live_bytes; /* memory of nodes handed out */
};

void pool_init(struct pool *pool);
/* Return all slabs, whatever is still handed out. */
void pool_fini(struct pool *pool);
/* pool_alloc() where a slab begins or ends, and pool_free() likewise, with the node on it. */
void *pool_slow_alloc(struct pool *pool, uint32_t class_bytes);
void pool_slow_free(struct pool *pool, struct pool_slab *slab);

static inline struct pool_slab *pool_slab_of(const void *node)
{
	return (struct pool_slab *)((uintptr_t)node & ~(uintptr_t)(POOL_SLAB_BYTES - 1));
}

/* A node of a slab with room: one that is listed free, or the first never handed out. */
static inline struct pool_link *pool_take(struct pool_slab *slab)
{
	struct pool_link *node = slab->free;
	char *nodes = (char *)slab + POOL_SLAB_HEADER;

	if (!node)
		return (struct pool_link *)(void *)(nodes +
						    (size_t)slab->fresh++ * slab->class_bytes);
	slab->free = node->next;
	/* The next node was freed long ago: have it at hand by the time it is wanted. */
	__builtin_prefetch(node->next, 1);
	return node;
}

/*
 * A node of at least `bytes` (>= sizeof(struct pool_link), <= POOL_MAX_BYTES),
 * uninitialised; NULL without memory.
 */
static inline void *pool_alloc(struct pool *pool, size_t bytes)
{
	uint32_t class_bytes = (uint32_t)((bytes + 7) & ~(size_t)7);
	struct pool_slab *slab;
	struct pool_link *node;

	if (bytes < sizeof(struct pool_link) || bytes > POOL_MAX_BYTES || alloc_node_refused())
		return NULL;
	slab = pool->partial[class_bytes / 8];
	if (!slab || slab->nfree == 1)
		return pool_slow_alloc(pool, class_bytes);
	node = pool_take(slab);
	slab->nfree--;
	MEM_ALLOW(node, class_bytes);
	pool->live_bytes += class_bytes;
	return node;
}

static inline void pool_free(struct pool *pool, void *node)
{
	struct pool_slab *slab = pool_slab_of(node);
	struct pool_link *link = node;

	link->next = slab->free;
	slab->free = link;
	/* All but the list's link. */
	MEM_FORBID(link + 1, slab->class_bytes - sizeof(*link));
	pool->live_bytes -= slab->class_bytes;
	if (++slab->nfree == 1 || slab->nfree == slab->nnodes)
		pool_slow_free(pool, slab);
}

/* Size of the node's class: what the node costs. */
static inline size_t pool_node_bytes(const void *node)
{
	return pool_slab_of(node)->class_bytes;
}

/* Are lists, counts and bytes consistent? Returns NULL or a static text. */
const char *pool_check(const struct pool *pool);

#endif /* MSLOT_BASE_POOL_H */
