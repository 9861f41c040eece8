/* SPDX-License-Identifier: MIT */
/*
 * update.h - what the parts of radix_apply() share, private to src/index/radix: build.c
 * makes and gives up nodes and lays ranges out in a directory, apply.c carries edits down
 * to the leaves they meet, one.c takes the short way for one edit, retarget.c that for
 * edits which change nothing but items.
 */
#ifndef MSLOT_INDEX_RADIX_UPDATE_H
#define MSLOT_INDEX_RADIX_UPDATE_H

#include "index/radix/node.h"

/* Ranges that rise and do not overlap. */
struct ranges {
	const struct index_range *at;
	size_t n;
};

/* Those that end behind `lo`. */
static inline struct ranges ranges_from(struct ranges ranges, uint64_t lo)
{
	while (ranges.n > 0 && ranges.at->end <= lo) {
		ranges.at++;
		ranges.n--;
	}
	return ranges;
}

/*
 * Edits with the old ends looked up: what goes and what comes. A changed range is in
 * both, so that each list is free of overlap and its ends rise as its starts do.
 */
struct edits {
	struct ranges cut, put;
};

struct radix_update {
	struct index_batch *batch;
	uint64_t bytes;     /* cost of the new index, kept modulo 2^64 on the way */
	unsigned int ndead; /* nodes on batch->created that were given up again */
};

/* A directory in the making: `dir` is new and may be replaced by a larger one. */
struct frame {
	struct radix_update *up;
	struct radix_dir *dir;
	uint64_t lo, hi; /* its coverage */
	int edge;        /* a leaf's new range came behind (1) or before (-1) all others */
	bool lowered;    /* a child's height may have been what gave the directory its own */
};

/* Keys that a directory's slots must hold. Free slots come below them, or behind them. */
struct window {
	uint64_t lo, hi;
	bool room_below;
};

struct radix_vec {
	struct index_range *range;
	size_t room;
};

/* Vectors for what does not fit the stack. */
struct radix_scratch {
	struct radix_vec cut, put, merged, gathered;
};

/* Room for n ranges in one of the batch's vectors, or NULL. What it held is lost. */
struct index_range *radix_reserve(struct index_batch *batch, size_t vec_offset, size_t n);
#define RADIX_RESERVE(batch, vec, n) radix_reserve(batch, offsetof(struct radix_scratch, vec), n)

/* ---- build.c ---- */

/* Put a node on batch->retired, or mark it dead when this update made it. */
void radix_discard(struct radix_update *up, uint64_t word);
/* The same for all nodes that a word leads to. */
void radix_discard_all(struct radix_update *up, uint64_t word);
/* A leaf for n ranges, which are not there yet, nor what is behind them; or NULL. */
struct radix_leaf *radix_leaf_alloc(struct radix_update *up, size_t n);
/* A copy of a leaf, or NULL. */
struct radix_leaf *radix_leaf_clone(struct radix_update *up, const struct radix_leaf *leaf);
/* A copy of a directory, or NULL. */
struct radix_dir *radix_dir_clone(struct radix_update *up, const struct radix_dir *dir);
/* A directory whose slots all lead to one word, or NULL. */
struct radix_dir *radix_dir_create(struct radix_update *up, unsigned int bits, unsigned int shift,
				   uint64_t lo, uint64_t word);
/* The smallest shift at which 2^bits slots hold keys from lo to hi - 1. */
unsigned int radix_window_shift(uint64_t lo, uint64_t hi, unsigned int bits);
/* The first slot, of 2^bits, of a window at that shift. */
uint64_t radix_window_lo(const struct window *window, unsigned int bits, unsigned int shift);
/* Have slots first to last lead to a word. */
void radix_fill(struct radix_dir *dir, unsigned int first, unsigned int last, uint64_t word);
/*
 * Lay n > 0 ranges, which all meet the coverage of slots first to last of a directory, out
 * in nodes for those slots. Returns 0 or -ENOMEM.
 */
int radix_place(struct frame *f, unsigned int first, unsigned int last,
		const struct index_range *range, size_t n);
/*
 * A node, with what is below it, for n > 0 ranges that meet [lo, hi). A directory has at
 * least the window `least`, if that is not NULL. 0 or -ENOMEM.
 */
int radix_build(struct radix_update *up, struct ranges ranges, uint64_t lo, uint64_t hi,
		const struct window *least, uint64_t *word);

/* ---- one.c ---- */

/*
 * One edit: `cut` goes, if it is not NULL, and `put` comes, if it is not NULL. Returns 1
 * and the new root's word, 0 when the edit is not simple (nothing has happened), -ENOMEM.
 */
int radix_apply_one(struct radix_update *up, const struct index_root *in,
		    const struct index_range *cut, const struct index_range *put, uint64_t *word);

/* ---- retarget.c ---- */

/* Does every range come back as it goes, but for its item? */
bool radix_keeps_shape(struct ranges cut, struct ranges put);
/* Another item for n > 0 ranges of an index, which keep their places. Returns 0 or -ENOMEM. */
int radix_retarget(struct radix_update *up, const struct index_root *in, struct ranges put,
		   uint64_t *word);

/* First and last key + 1 that lead to slots first to last of a frame's directory. */
static inline uint64_t frame_lo(const struct frame *f, unsigned int first)
{
	return first == 0 ? f->lo : dir_key(f->dir, first);
}

static inline uint64_t frame_hi(const struct frame *f, unsigned int last)
{
	return last + 1 == dir_slots(f->dir) ? f->hi : dir_key(f->dir, last + 1);
}

#endif /* MSLOT_INDEX_RADIX_UPDATE_H */
