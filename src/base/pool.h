/* SPDX-License-Identifier: MIT */
/*
 * pool.h - pools of small nodes that a single writer owns.
 *
 * A pool hands out nodes of 8-byte size classes up to POOL_MAX_BYTES, cut from
 * aligned slabs; a free node goes back to its slab, and a slab that becomes wholly free
 * goes back to the system unless it is its class's only one with room. No lock: the
 * caller serialises (the map's writer mutex).
 *
 * Every node starts with a struct pool_link. The pool itself uses only `next`, and
 * only while the node is free; owners use both fields to list nodes that they have
 * created or retired. Readers never look at the link.
 */
#ifndef MSLOT_BASE_POOL_H
#define MSLOT_BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

#define POOL_MAX_BYTES 1024u
#define POOL_CLASSES (POOL_MAX_BYTES / 8 + 1)

struct pool_link {
	struct pool_link *next;
	uint64_t birth; /* generation of the first snapshot that reaches the node */
};

struct pool_slab;

struct pool {
	struct pool_slab *partial[POOL_CLASSES]; /* slabs with room, by class */
	struct pool_slab *slabs;                 /* all slabs, for checking and fini */
	uint64_t slab_bytes;                     /* memory taken from the system */
	uint64_t live_bytes;                     /* memory of nodes handed out */
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
