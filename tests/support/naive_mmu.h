/* SPDX-License-Identifier: MIT */
/*
 * naive_mmu.h - translation tables the slow and obvious way: for each root a list of the runs of
 * pages that it must have, written from mslot/mmu.h alone.
 *
 * A run is what one fault made, or a part of it that a commit left. It is told what happens to
 * the map and to the tables, and what was found by mslot_root_lookup(); what it expects of a bit
 * is yes, no or either, where the header leaves the choice.
 *
 * Invariants: runs[] is sorted by page and free of overlap; a run shows contiguous frames and
 * contiguous bytes of one region.
 */
#ifndef MSLOT_TESTS_NAIVE_MMU_H
#define MSLOT_TESTS_NAIVE_MMU_H

#include <mslot/mmu.h>

#include "dirty_bits.h"

#define NMMU_LEVELS 3u

enum nmmu_bit { NMMU_NO, NMMU_YES, NMMU_EITHER };

struct nmmu_run {
	uint64_t page, npages; /* of the root's addresses */
	uint64_t gfn;          /* behind the first one */
	int region;
	uint64_t offset_pages; /* of the first one in the region */
	uint32_t level;        /* one leaf of this level; 0: a part of one, or not looked at yet */
	bool must;             /* it has to be found (T2) */
	bool loose;            /* the guest's table changed, and nobody said so */
	bool guest_readonly;
	bool protected; /* a large one: writes may be asked for page by page from now on */
	enum nmmu_bit write;
	uint32_t used, maybe_used; /* MSLOT_AGE_...: certainly, and perhaps besides */
};

struct nmmu_runs {
	struct nmmu_run *run;
	size_t n, cap;
};

/* A map, and what is logged in it beside the slots with MSLOT_LOG_DIRTY. */
struct nmmu_view {
	const struct naive_map *map;
	const struct twin_bits *bits; /* or NULL: nothing */
};

static inline uint64_t nmmu_level_pages(uint32_t level)
{
	return UINT64_C(1) << (9 * (level - 1));
}

/* ---- Runs ----------------------------------------------------------------- */

void nmmu_fini(struct nmmu_runs *runs);
void nmmu_clear(struct nmmu_runs *runs);
/* Behind all others. */
void nmmu_append(struct nmmu_runs *runs, const struct nmmu_run *run);
/* The run of a page, or NULL. */
struct nmmu_run *nmmu_find(const struct nmmu_runs *runs, uint64_t page);
/* The first run that ends behind `page`; runs->n if there is none. */
size_t nmmu_above(const struct nmmu_runs *runs, uint64_t page);
bool nmmu_empty(const struct nmmu_runs *runs, uint64_t page, uint64_t npages);
/* Pages go; what is left of a run that is cut is certain only if `rest_must`. */
void nmmu_cut(struct nmmu_runs *runs, uint64_t page, uint64_t npages, bool rest_must);
/* In the place of whatever is there. */
void nmmu_put(struct nmmu_runs *runs, const struct nmmu_run *run, bool rest_must);
/* The part of a run from page `from` of it on, n pages long. */
struct nmmu_run nmmu_part(const struct nmmu_run *run, uint64_t from, uint64_t n);

/* ---- The map -------------------------------------------------------------- */

/* By bisection, where naive_find() goes over all slots. */
const struct naive_slot *nmmu_slot(const struct naive_map *map, uint32_t space, uint64_t gfn);
/* The first slot that ends behind the frame; the last one's follower if there is none. */
const struct naive_slot *nmmu_slot_above(const struct naive_map *map, uint32_t space, uint64_t gfn);
bool nmmu_logged(const struct nmmu_view *view, const struct naive_slot *slot);
uint64_t nmmu_hva(const struct naive_map *map, const struct nmmu_run *run);
/* Does the map show these bytes at these frames? */
bool nmmu_agrees(const struct naive_map *map, uint32_t space, const struct nmmu_run *run);

/* What a map and a guest allow at a page. */
struct nmmu_at {
	uint32_t space;
	uint64_t page, gfn;
	uint32_t max_level;
};
uint32_t nmmu_allowed_level(const struct nmmu_view *view, const struct nmmu_at *at);
/* The leaf of this level around the page. */
struct nmmu_run nmmu_leaf(const struct naive_map *map, const struct nmmu_at *at, uint32_t level);
/* May a leaf of all these pages be writable? Is it one slot that says so? */
bool nmmu_writable(const struct nmmu_view *view, uint32_t space, const struct nmmu_run *run);
bool nmmu_one_slot(const struct naive_map *map, uint32_t space, const struct nmmu_run *run);

/* ---- Commits --------------------------------------------------------------- */

/* Does anything of `before` go, show other bytes, or lose a permission? */
bool nmmu_tightens(const struct nmmu_view *before, const struct nmmu_view *after);
/* Is a logged slot made anew over logged pages? Marks of before are none in its bits. */
bool nmmu_logs_anew(const struct nmmu_view *before, const struct nmmu_view *after,
		    const struct twin_txn *txn);
/* The map is `after` now. Returns whether runs lost pages or permissions. */
bool nmmu_follow(struct nmmu_runs *runs, uint32_t space, const struct nmmu_view *after);

#endif /* MSLOT_TESTS_NAIVE_MMU_H */
