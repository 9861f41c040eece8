/* SPDX-License-Identifier: MIT */
/*
 * txn_twin.h - the parts of the model test that compares mslot_txn_commit() and the
 * read side with the naive map.
 *
 *   txn_gen.c       random transactions, mostly sensible, some spoilt on purpose
 *   txn_diff.c      the difference of two naive maps, frame by frame
 *   txn_compare.c   one snapshot or one diff of the library against the naive map
 *   txn_world.c     a map with its regions, listeners, holds and its naive twin
 *   test_txn_twin.c the loop and what is printed on a mismatch
 */
#ifndef MSLOT_TESTS_TXN_TWIN_H
#define MSLOT_TESTS_TXN_TWIN_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include <mslot/txn.h>

#include "naive_map.h"
#include "rng.h"

/* ---- Transactions ------------------------------------------------------- */

#define TWIN_EDITS 64u
#define TWIN_PARTS 6u

struct twin_txn {
	size_t n;
	struct mslot_edit edits[TWIN_EDITS];
	struct mslot_part parts[TWIN_EDITS][TWIN_PARTS];
};

/* Where a map's slots live and how big they are; chosen once a map. */
struct twin_shape {
	uint64_t base_gpa; /* the window in which slots are placed, in every space */
	uint64_t window_bytes;
	uint64_t unit_bytes; /* slots are a few units long, give or take a few pages */
	size_t target;       /* slots the map tends to have */
};

/* Fill `txn` with 1 to TWIN_EDITS edits for the map `cur`. */
void gen_txn(struct rng *rng, const struct naive_map *cur, const struct twin_shape *shape,
	     struct twin_txn *txn);
/* Break something in a transaction, or turn an edit into another legal one. */
void gen_spoil(struct rng *rng, const struct naive_map *cur, struct twin_txn *txn);

/* ---- Differences -------------------------------------------------------- */

struct naive_seg {
	enum mslot_diff_kind kind;
	uint32_t space;
	uint64_t gpa, len;
	const struct naive_slot *before, *after;
	uint32_t moved;
	uint64_t origin_gpa;
};

struct naive_diff {
	struct naive_seg *segs;
	size_t n, cap;
};

/* Rewrites *diff, which starts zeroed. Segments are as long as they can be. */
void naive_diff_make(const struct naive_map *before, const struct naive_map *after,
		     struct naive_diff *diff);
void naive_diff_fini(struct naive_diff *diff);

/* ---- Comparing ---------------------------------------------------------- */

/* Print the text and return false: the way every comparison ends that fails. */
bool twin_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Everything cheap: counts, the list of slots, ids, and some random questions. */
bool cmp_snapshot(struct rng *rng, const struct mslot_snapshot *snap, const struct naive_map *map);
/* Every question at the borders of one range. */
bool cmp_borders(const struct mslot_snapshot *snap, const struct naive_map *map, uint32_t space,
		 uint64_t gpa, uint64_t len);
bool cmp_diff(const struct mslot_diff *diff, const struct naive_map *before,
	      const struct naive_map *after);
void twin_print_txn(FILE *f, const struct naive_map *map, const struct twin_txn *txn);
void twin_print_map(FILE *f, const struct naive_map *map);

/* ---- A map and its twin ------------------------------------------------- */

struct world;

/* A new map with random options, or NULL after printing why not. */
struct world *world_create(uint64_t seed, const uint64_t *txn_number);
/* One transaction and all that follows; false after a mismatch was printed. */
bool world_step(struct world *world);
/* End the map; false if anything leaked or was released twice. */
bool world_destroy(struct world *world);
void world_report(FILE *f, const struct world *world);

/* What the run covered, printed at the end so that an empty run is visible. */
struct twin_tally {
	uint64_t edits, changed, unchanged, segs, vetoes, dry_runs, holds, maps, releases;
	uint64_t refused_einval, refused_e2big, refused_eexist, refused_eagain, txn_full;
	uint64_t by_edit_kind[MSLOT_EDIT_MERGE + 1];
	uint64_t by_diff_kind[MSLOT_DIFF_REHOMED + 1];
};
extern struct twin_tally tally;

#endif /* MSLOT_TESTS_TXN_TWIN_H */
