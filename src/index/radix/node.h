/* SPDX-License-Identifier: MIT */
/*
 * node.h - the nodes of the radix index, private to src/index.
 *
 * Data. A leaf holds up to 15 ranges, sorted by falling start, and behind them an empty
 * range that starts at 0: of the ranges that start up to a key the first one is the only
 * one that can hold it, and there always is one. A directory is a window of 2^bits slots of
 * 2^shift keys each; slot k of it is word[k mod 2^bits] for k in [lo, lo + 2^bits), so that
 * a lookup subtracts nothing. A word is the address of a node in its upper 48 bits, and
 * below that the bits and the shift of a directory, both 0 for a leaf: the
 * lower half is the operand that the instruction BEXTR takes to cut the slot out of a key.
 *
 * Neighbouring slots whose words are equal are a run, which shares one node. A node's
 * coverage is the range of keys that lead to it: the whole key space for the root, the
 * keys of its run for others, where the first and last run of a directory reach to
 * the borders of the directory's own coverage.
 *
 * Invariants (radix_check()):
 *   R1 a leaf has all ranges that meet its coverage, and no other: a range that crosses a
 *      border is listed on both sides of it
 *   R2 ranges in a leaf do not overlap; a leaf has 1 to 15, and what is behind them is 0
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

#define RADIX_LEAF_MAX 15u
#define RADIX_LEAF_STARTS 16u /* with the empty range behind them */
#define RADIX_LEAF_MERGE 11u  /* neighbouring leaves with so few ranges together become one */
#define RADIX_LEAF_SHARE 31u  /* with so few, neighbours share what is too many for one leaf */
#define RADIX_BITS_MAX 7u
#define RADIX_BITS_MIN 3u
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
	uint8_t room; /* more than count; a multiple of four */
	uint8_t dead; /* made and given up by the update that is running */
	uint64_t unused;
	uint64_t self; /* the word of this leaf */
	_Alignas(64) uint64_t start[RADIX_LEAF_STARTS];
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

/* What either kind begins with: a directory, as far as its height and mark. */
static inline struct radix_dir *node_head(struct pool_link *link)
{
	return (struct radix_dir *)(void *)link;
}

/* Room for count ranges and the empty one. */
static inline unsigned int radix_leaf_room(size_t count)
{
	return ((unsigned int)count + 4) & ~3u;
}

/* A multiple of 64, so that the pool aligns a leaf to that: its starts are two cache lines. */
static inline size_t radix_leaf_bytes(unsigned int room)
{
	return sizeof(struct radix_leaf) + room * sizeof(struct radix_pair);
}

static inline size_t radix_dir_bytes(unsigned int bits)
{
	return sizeof(struct radix_dir) + (sizeof(uint64_t) << bits);
}

_Static_assert(sizeof(struct radix_dir) + (sizeof(uint64_t) << RADIX_BITS_MAX) <= POOL_MAX_BYTES,
	       "the largest directory fits a pool");

#define WORD_TAGS 16u /* bits of a word below the address */

static inline bool word_is_dir(uint64_t word)
{
	return (word & 0xff00) != 0;
}

static inline struct radix_leaf *word_leaf(uint64_t word)
{
	return (struct radix_leaf *)(uintptr_t)(word >> WORD_TAGS);
}

static inline struct radix_dir *word_dir(uint64_t word)
{
	return (struct radix_dir *)(uintptr_t)(word >> WORD_TAGS);
}

static inline struct pool_link *word_link(uint64_t word)
{
	return (struct pool_link *)(uintptr_t)(word >> WORD_TAGS);
}

static inline uint64_t word_of_leaf(const struct radix_leaf *leaf)
{
	return (uint64_t)(uintptr_t)leaf << WORD_TAGS;
}

static inline uint64_t word_of_dir(const struct radix_dir *dir)
{
	return (uint64_t)(uintptr_t)dir << WORD_TAGS | (uint64_t)dir->bits << 8 | dir->shift;
}

static inline unsigned int word_height(uint64_t word)
{
	return word_is_dir(word) ? word_dir(word)->height : 0;
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

/* ---- Leaves: ranges counted by rising start ---- */

static inline uint64_t leaf_start(const struct radix_leaf *leaf, unsigned int i)
{
	return leaf->start[leaf->count - 1u - i];
}

static inline uint64_t leaf_end(const struct radix_leaf *leaf, unsigned int i)
{
	return leaf->pair[leaf->count - 1u - i].end;
}

static inline struct index_entry leaf_entry(const struct radix_leaf *leaf, unsigned int i)
{
	unsigned int at = leaf->count - 1u - i;

	return (struct index_entry){
	    .start = leaf->start[at],
	    .end = leaf->pair[at].end,
	    .item = leaf->pair[at].item,
	};
}

/* How many ranges start above a key. Without branches: where a key lies cannot be foretold. */
static inline unsigned int leaf_starts_above(const struct radix_leaf *leaf, uint64_t at)
{
	unsigned int i, n = 0;

	/* What is behind the ranges starts at 0. */
	for (i = 0; i < RADIX_LEAF_STARTS; i++)
		n += leaf->start[i] > at;
	return n;
}

/* How many ranges start at or below `at`. */
static inline unsigned int leaf_starts_up_to(const struct radix_leaf *leaf, uint64_t at)
{
	return leaf->count - leaf_starts_above(leaf, at);
}

#endif /* MSLOT_INDEX_RADIX_NODE_H */
