/* SPDX-License-Identifier: MIT */
/*
 * node.h - the nodes of the radix index, private to src/index.
 *
 * Data. A leaf holds up to 16 ranges, sorted. A directory is a window of 2^bits slots of
 * 2^shift keys each; slot k of it is word[k mod 2^bits] for k in [lo, lo + 2^bits), so that
 * a lookup subtracts nothing. A word is the address of a node with the directory's shift
 * and bits packed around it (word_of_dir()); that of a leaf is the bare address.
 *
 * Neighbouring slots whose words are equal are a run, which shares one node. A node's
 * coverage is the range of keys that lead to it: the whole key space for the root, the
 * keys of its run for others, where the first and last run of a directory reach to
 * the borders of the directory's own coverage.
 *
 * Invariants (radix_check()):
 *   R1 a leaf has all ranges that meet its coverage, and no other: a range that crosses a
 *      border is listed on both sides of it
 *   R2 ranges in a leaf rise and do not overlap; a leaf has 1 to 16, padded with
 *      RADIX_PAD, which no key reaches
 *   R3 the ranges below a directory, cut to its coverage, lie in its window
 *   R4 every slot leads to a node: an empty stretch belongs to the run beside it; a node
 *      is reached by one run only, some key leads to each, and a directory has at least two
 *   R5 a directory's height is at least one more than that of each child; leaves have 0
 *   R6 root.count is the number of ranges, root.bytes what the nodes cost
 *
 * A key outside a directory's window takes the way of another key and ends at a leaf that
 * does not hold it: the leaf's comparison of starts and end decides, not the way.
 *
 * Lookups go down as many levels as the root's height says. A leaf met earlier leads to
 * itself: where a directory has its first word, a leaf has its own address. So the number
 * of steps is the same for every key, and no branch depends on the key.
 */
#ifndef MSLOT_INDEX_RADIX_NODE_H
#define MSLOT_INDEX_RADIX_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "index/index.h"

#define RADIX_LEAF_MAX 16u
#define RADIX_LEAF_MERGE 12u /* neighbouring leaves with so few ranges together become one */
#define RADIX_BITS_MAX 7u
#define RADIX_BITS_MIN 3u
#define RADIX_PAD ((uint64_t)INT64_MAX)
/* Directories on a path at most; each halves the keys of the one above, and more. */
#define RADIX_DEPTH 64u

struct radix_pair {
	uint64_t end;
	void *item;
};

struct radix_leaf {
	struct pool_link link;
	uint8_t height; /* 0 */
	uint8_t count;
	uint8_t room; /* count, rounded up to a multiple of four */
	uint8_t dead; /* made and given up by the update that is running */
	uint64_t unused;
	uint64_t self; /* the word of this leaf */
	_Alignas(64) uint64_t start[RADIX_LEAF_MAX];
	struct radix_pair pair[];
};

struct radix_dir {
	struct pool_link link;
	uint8_t height;
	uint8_t bits;
	uint8_t shift;
	uint8_t dead;
	uint64_t lo;
	uint64_t word[];
};

_Static_assert(offsetof(struct radix_leaf, self) == offsetof(struct radix_dir, word),
	       "a leaf leads to itself");
_Static_assert(offsetof(struct radix_leaf, height) == offsetof(struct radix_dir, height) &&
		   offsetof(struct radix_leaf, dead) == offsetof(struct radix_dir, dead),
	       "height and mark are where they are in either kind");

static inline size_t radix_leaf_bytes(unsigned int room)
{
	return sizeof(struct radix_leaf) + room * sizeof(struct radix_pair);
}

/* Nodes are whole cache lines: a word has its shift in the low six bits. */
static inline size_t radix_dir_bytes(unsigned int bits)
{
	return (sizeof(struct radix_dir) + (sizeof(uint64_t) << bits) + 63) & ~(size_t)63;
}

_Static_assert(sizeof(struct radix_dir) + (sizeof(uint64_t) << RADIX_BITS_MAX) + 63 <=
		   POOL_MAX_BYTES,
	       "the largest directory fits a pool");

#define WORD_ADDRESS UINT64_C(0x00ffffffffffffc0)

static inline bool word_is_dir(uint64_t word)
{
	return word >> 56 != 0;
}

static inline struct radix_leaf *word_leaf(uint64_t word)
{
	return (struct radix_leaf *)(uintptr_t)word;
}

static inline struct radix_dir *word_dir(uint64_t word)
{
	return (struct radix_dir *)(uintptr_t)(word & WORD_ADDRESS);
}

static inline struct pool_link *word_link(uint64_t word)
{
	return (struct pool_link *)(uintptr_t)(word & WORD_ADDRESS);
}

static inline uint64_t word_of_leaf(const struct radix_leaf *leaf)
{
	return (uintptr_t)leaf;
}

static inline uint64_t word_of_dir(const struct radix_dir *dir)
{
	return (uintptr_t)dir | (uint64_t)dir->bits << 56 | dir->shift;
}

static inline unsigned int word_height(uint64_t word)
{
	return word_is_dir(word) ? word_dir(word)->height : 0;
}

/* One step down; a leaf's word leads to itself. */
static inline uint64_t word_step(uint64_t word, uint64_t at)
{
	uint64_t slot = (at >> (word & 63)) & ((UINT64_C(1) << (word >> 56)) - 1);

	return word_dir(word)->word[slot];
}

/* ---- A directory's slots, counted from the start of its window ---- */

static inline unsigned int dir_slots(const struct radix_dir *dir)
{
	return 1u << dir->bits;
}

static inline uint64_t *dir_word(struct radix_dir *dir, unsigned int i)
{
	return &dir->word[(dir->lo + i) & (dir_slots(dir) - 1)];
}

static inline uint64_t dir_get(const struct radix_dir *dir, unsigned int i)
{
	return dir->word[(dir->lo + i) & (dir_slots(dir) - 1)];
}

/* The slot of a key, or the nearest one to it. */
static inline unsigned int dir_slot(const struct radix_dir *dir, uint64_t at)
{
	uint64_t slot = at >> dir->shift;

	if (slot < dir->lo)
		return 0;
	slot -= dir->lo;
	return slot < dir_slots(dir) ? (unsigned int)slot : dir_slots(dir) - 1;
}

/* The first key of a slot; that of the slot behind the last one is the window's end. */
static inline uint64_t dir_key(const struct radix_dir *dir, unsigned int i)
{
	return (dir->lo + i) << dir->shift;
}

/* The first and the last slot of the run around slot i. */
static inline unsigned int dir_run_first(const struct radix_dir *dir, unsigned int i)
{
	while (i > 0 && dir_get(dir, i - 1) == dir_get(dir, i))
		i--;
	return i;
}

static inline unsigned int dir_run_last(const struct radix_dir *dir, unsigned int i)
{
	while (i + 1 < dir_slots(dir) && dir_get(dir, i + 1) == dir_get(dir, i))
		i++;
	return i;
}

/* ---- Leaves ---- */

/* How many ranges start at or below `at`. */
static inline unsigned int leaf_starts_up_to(const struct radix_leaf *leaf, uint64_t at)
{
	unsigned int n = 0;

	while (n < leaf->count && leaf->start[n] <= at)
		n++;
	return n;
}

static inline struct index_entry leaf_entry(const struct radix_leaf *leaf, unsigned int i)
{
	return (struct index_entry){
	    .start = leaf->start[i],
	    .end = leaf->pair[i].end,
	    .item = leaf->pair[i].item,
	};
}

#endif /* MSLOT_INDEX_RADIX_NODE_H */
