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

#define POOL_MAX_BYTES 1152u
#define POOL_SPARE_SLABS 64u
#define POOL_CLASSES (POOL_MAX_BYTES / 8 + 1)

struct pool_link {
	struct pool_link *next;
	uint64_t birth; /* generation of the first snapshot that reaches the node */
};

struct pool_slab;

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
/* A node of at least `bytes` (> 0, <= POOL_MAX_BYTES), uninitialised; NULL without memory. */
void *pool_alloc(struct pool *pool, size_t bytes);
void pool_free(struct pool *pool, void *node);
/* Size of the node's class: what the node costs. */
size_t pool_node_bytes(const void *node);
/* Are lists, counts and bytes consistent? Returns NULL or a static text. */
const char *pool_check(const struct pool *pool);

#endif /* MSLOT_BASE_POOL_H */
