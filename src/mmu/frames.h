/* SPDX-License-Identifier: MIT */
/*
 * frames.h - a radix directory of words: the heads of frames, by frame number.
 *
 * A node of level 1, a chunk, has a head for each of 512 frames. One of level 2 or 3 has, beside
 * its children, a head for each of its 512 large units. Nodes are made when a fault first needs
 * them and never change place; chunks can be dropped. (Slot bitmaps use one as a table of numbers.)
 */
#ifndef MSLOT_MMU_FRAMES_H
#define MSLOT_MMU_FRAMES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "map/defer.h"
#include "mmu/count.h"

#define FRAME_BITS 9u
#define FRAME_FANOUT (1u << FRAME_BITS)

struct frame_node {
	_Atomic uint64_t head[FRAME_FANOUT];
	struct map_deferred deferred; /* of chunks */
	struct frames *frames;
	_Atomic(struct frame_node *) child[]; /* not in chunks */
};

struct frames {
	struct mmu_counters *counters;
	enum mmu_count bytes; /* where they are counted */
	unsigned int levels;  /* at least 3 */
	_Atomic(struct frame_node *) root;
};

/* For numbers below 2^bits; nothing is allocated. */
void frames_init(struct frames *frames, unsigned int bits, struct mmu_counters *counters,
		 enum mmu_count bytes);
/* Free all nodes. Nobody uses them. */
void frames_fini(struct frames *frames);

/* The head of the unit of a level (1 to 3) that has a number; NULL if there is none. In a section.
 */
_Atomic uint64_t *frames_find(struct frames *frames, uint64_t number, unsigned int level);
/* The same, made if need be. NULL without memory. */
_Atomic uint64_t *frames_make(struct frames *frames, uint64_t number, unsigned int level);

/*
 * The first node of a level that has units ending after *number and beginning below `end`; NULL if
 * there is none. *number becomes the first of these units' first number, at least what it was.
 */
struct frame_node *frames_next(struct frames *frames, unsigned int level, uint64_t *number,
			       uint64_t end);

/* Which head of its node a unit of a level has. */
static inline unsigned int frames_slot(uint64_t number, unsigned int level)
{
	return (unsigned int)(number >> (FRAME_BITS * (level - 1))) & (FRAME_FANOUT - 1);
}

/* Make the chunk of a number unfindable. frames_drop() frees it after a grace period. */
void frames_unlink(struct frames *frames, uint64_t number);
void frames_drop(struct mslot_map *map, struct frame_node *chunk);

#endif /* MSLOT_MMU_FRAMES_H */
