/* SPDX-License-Identifier: MIT */
/*
 * fuzz_dirty.h - the parts of fuzz_dirty.c: a map with its twin, and the steps.
 */
#ifndef MSLOT_FUZZ_FUZZ_DIRTY_H
#define MSLOT_FUZZ_FUZZ_DIRTY_H

#include "dirty_bits.h"
#include "fuzz.h"
#include "naive_dirty.h"

#define NREGIONS 3u
#define LARGEST_PAGE UINT64_C(16384)
#define HOLDS 2u
#define LEASES 2u
#define LEASE_PAGES 16u

struct held {
	struct mslot_hold *hold;
	struct twin_past past;
};

/* A page of a lease. */
struct leased_page {
	int region;
	uint64_t offset, number;
};

struct leased {
	struct mslot_lease *lease;
	bool put;           /* but the twin is not told yet */
	bool write, newest; /* taken from the newest snapshot */
	uint32_t space;
	uint64_t gpa;         /* of the first page */
	uint64_t last_number; /* when it was taken */
	size_t npages;
	struct leased_page pages[LEASE_PAGES + 1];
};

struct world {
	struct input in;
	struct rng rng;
	struct mslot_map *map;
	struct naive_map naive, next;
	struct naive_region regions[NREGIONS];
	struct twin_shape shape;
	struct twin_txn txn;
	struct twin_bits bits;
	struct naive_dirty modes;                  /* for what KVM's capabilities say */
	struct mslot_dirty *dirty[TWIN_CONSUMERS]; /* [0] stays NULL */
	struct mslot_dirty_batch *batch[TWIN_CONSUMERS];
	struct held holds[HOLDS];
	struct leased leases[LEASES];
	uint64_t page;
	uint64_t settled; /* the last number of pages whose logging has been waited for */
};

/* A snapshot and its twin: the newest one's, or one of the past. */
struct view {
	const struct mslot_snapshot *snap;
	const struct naive_map *map;
	const struct twin_past *past; /* NULL: the newest */
};

/* ---- Writes, holds and leases (fuzz_dirty_write.c) --------------------------- */

const struct naive_slot *some_slot(struct world *w, const struct naive_map *map);
/* One write, by any path. */
void write_some(struct world *w, const struct view *v);
void write_step(struct world *w);
void put_hold(struct held *h);
void hold_step(struct world *w);
void put_lease(struct leased *l);
void lease_step(struct world *w);
/* What write leases that are there make of the pages that show their memory now. */
void mark_leases(struct world *w);

/* ---- Edits and final harvests (fuzz_dirty_edit.c) ----------------------------- */

void edit_step(struct world *w);
void shuttle_step(struct world *w);

/* ---- Consumers (fuzz_dirty.c) --------------------------------------------------- */

/* If there is this consumer. */
void harvest(struct world *w, unsigned int c);
void end_batch(struct world *w, unsigned int c, bool ack);

#endif /* MSLOT_FUZZ_FUZZ_DIRTY_H */
