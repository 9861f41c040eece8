/* SPDX-License-Identifier: MIT */
/*
 * frames.c - making, finding and dropping nodes of the directory.
 *
 * Links are loaded and stored sequentially consistently: a zapper that finds no node must be able
 * to conclude that a fault which makes one will see what was published before (mmu.h, M3).
 */
#include "mmu/frames.h"

#include <stddef.h>

#include "base/alloc.h"

#define MIN_LEVELS 3u

void frames_init(struct frames *frames, unsigned int bits, struct mmu_counters *counters,
		 enum mmu_count bytes)
{
	unsigned int levels = (bits + FRAME_BITS - 1) / FRAME_BITS;

	frames->counters = counters;
	frames->bytes = bytes;
	frames->levels = levels < MIN_LEVELS ? MIN_LEVELS : levels;
	atomic_init(&frames->root, NULL);
}

static size_t node_bytes(unsigned int level)
{
	return offsetof(struct frame_node, child) +
	       (level > 1 ? FRAME_FANOUT * sizeof(_Atomic(struct frame_node *)) : 0);
}

static void node_free(struct frame_node *node, unsigned int level)
{
	count_sub(node->frames->counters, node->frames->bytes, node_bytes(level));
	mem_free(node);
}

static void free_below(struct frame_node *node, unsigned int level)
{
	struct frame_node *child;
	unsigned int i;

	for (i = 0; level > 1 && i < FRAME_FANOUT; i++) {
		child = atomic_load_explicit(&node->child[i], memory_order_relaxed);
		if (child)
			free_below(child, level - 1);
	}
	node_free(node, level);
}

void frames_fini(struct frames *frames)
{
	struct frame_node *root = atomic_load_explicit(&frames->root, memory_order_relaxed);

	if (root)
		free_below(root, frames->levels);
	atomic_store_explicit(&frames->root, NULL, memory_order_relaxed);
}

/* The link to the node of a level that has a number, or to what is missing above it: *at. */
static _Atomic(struct frame_node *) *link_of(struct frames *frames, uint64_t number,
					     unsigned int level, unsigned int *at)
{
	_Atomic(struct frame_node *) *link = &frames->root;
	unsigned int l = frames->levels;
	struct frame_node *node;

	for (; l > level; l--) {
		/* seq_cst: see the head of the file. Pairs with the exchange in make_node(). */
		node = atomic_load_explicit(link, memory_order_seq_cst);
		if (!node)
			break;
		link = &node->child[frames_slot(number, l)];
	}
	*at = l;
	return link;
}

/* Beyond the directory a number would be taken for another. */
static bool is_beyond(const struct frames *frames, uint64_t number)
{
	unsigned int bits = FRAME_BITS * frames->levels;

	return bits < 64 && number >> bits != 0;
}

static struct frame_node *find_node(struct frames *frames, uint64_t number, unsigned int level)
{
	unsigned int at;
	_Atomic(struct frame_node *) *link;

	if (is_beyond(frames, number))
		return NULL;
	link = link_of(frames, number, level, &at);
	return at == level ? atomic_load_explicit(link, memory_order_seq_cst) : NULL;
}

_Atomic uint64_t *frames_find(struct frames *frames, uint64_t number, unsigned int level)
{
	struct frame_node *node = find_node(frames, number, level);

	return node ? &node->head[frames_slot(number, level)] : NULL;
}

/* Fill in a missing link. Returns false without memory. */
static bool make_node(struct frames *frames, _Atomic(struct frame_node *) *link, unsigned int level)
{
	struct frame_node *node = mem_zalloc(node_bytes(level)), *none = NULL;

	if (!node)
		return false;
	node->frames = frames;
	count_add(frames->counters, frames->bytes, node_bytes(level));
	/* seq_cst: pairs with a zapper's loads of links. */
	if (!atomic_compare_exchange_strong_explicit(link, &none, node, memory_order_seq_cst,
						     memory_order_seq_cst))
		node_free(node, level);
	return true;
}

_Atomic uint64_t *frames_make(struct frames *frames, uint64_t number, unsigned int level)
{
	_Atomic(struct frame_node *) *link;
	struct frame_node *node;
	unsigned int at;

	for (;;) {
		link = link_of(frames, number, level, &at);
		node = atomic_load_explicit(link, memory_order_seq_cst);
		if (node && at == level)
			return &node->head[frames_slot(number, level)];
		if (!node && !make_node(frames, link, at))
			return NULL;
	}
}

struct frame_node *frames_next(struct frames *frames, unsigned int level, uint64_t *number,
			       uint64_t end)
{
	_Atomic(struct frame_node *) *link;
	struct frame_node *node;
	unsigned int at, bits;

	while (*number < end && !is_beyond(frames, *number)) {
		link = link_of(frames, *number, level, &at);
		node = at == level ? atomic_load_explicit(link, memory_order_seq_cst) : NULL;
		if (node)
			return node;
		/* Nothing below the link: on with the first number behind it. */
		bits = FRAME_BITS * at;
		if (bits >= 64)
			break;
		*number = ((*number >> bits) + 1) << bits;
		if (*number == 0)
			break;
	}
	return NULL;
}

void frames_unlink(struct frames *frames, uint64_t number)
{
	unsigned int at;
	_Atomic(struct frame_node *) *link = link_of(frames, number, 1, &at);

	if (at == 1)
		atomic_store_explicit(link, NULL, memory_order_seq_cst);
}

static void free_chunk(struct mslot_map *map, struct map_deferred *deferred)
{
	(void)map;
	node_free(
	    (struct frame_node *)(void *)((char *)deferred - offsetof(struct frame_node, deferred)),
	    1);
}

void frames_drop(struct mslot_map *map, struct frame_node *chunk)
{
	chunk->deferred.run = free_chunk;
	chunk->deferred.bytes = node_bytes(1);
	map_defer(map, &chunk->deferred);
}
