/* SPDX-License-Identifier: MIT */
/*
 * dirty_bits.h - dirty logging done the slow and obvious way: a struct for each page of each
 * slot of a naive map.
 *
 * For each page and consumer there is a lower and an upper bound of what a harvest reports:
 * a write `must` be; what is marked for another's sake, or was before the consumer looked, `may`
 * be. Consumer 0 is KVM's calls. A page has a number for as long as its logging lasts, wherever
 * edits move it: so a write through an older map finds it (struct twin_past).
 */
#ifndef MSLOT_TESTS_DIRTY_BITS_H
#define MSLOT_TESTS_DIRTY_BITS_H

#include <mslot/dirty.h>

#include "../model/txn_twin.h"

#define TWIN_CONSUMERS 4u
#define TWIN_RANGES 3u

/* A bit a consumer in each byte. */
struct twin_page {
	uint64_t number; /* 0: nothing is logged */
	uint8_t must, may;
	uint8_t batch;    /* reported and not acknowledged */
	uint8_t in_batch; /* was in the scope when the batch was made */
	bool pending;     /* marked, and no harvest since */
	bool kept;        /* a slot of the next map has it; while a commit is followed */
	bool seen;        /* a final harvest has it */
};

struct twin_scope {
	bool exists, fill;
	size_t nranges; /* 0: everything */
	struct mslot_dirty_range ranges[TWIN_RANGES];
};

struct twin_bits {
	const struct naive_map *map;
	struct twin_page **pages; /* of each slot of the map */
	struct twin_scope scope[TWIN_CONSUMERS];
	uint64_t last_number;
	uint64_t reported; /* bits that were compared and set */
};

/* The map as it was once, and the numbers of its pages. */
struct twin_past {
	struct naive_map map;
	uint64_t **numbers;
};

uint64_t twin_npages(const struct naive_map *map, const struct naive_slot *slot);
/* Does the consumer get to know of this page of the slot? Of any? Is the slot logged? */
bool twin_in_scope(const struct twin_bits *b, unsigned int c, const struct naive_slot *slot,
		   uint64_t page);
bool twin_wants(const struct twin_bits *b, unsigned int c, const struct naive_slot *slot);
bool twin_logged(const struct twin_bits *b, const struct naive_slot *slot);

void twin_bits_init(struct twin_bits *b, const struct naive_map *map);
void twin_bits_fini(struct twin_bits *b);
void twin_mark(struct twin_bits *b, size_t slot, uint64_t first, uint64_t n);
/* The same of the pages with a number; without one there are none. */
void twin_mark_number(struct twin_bits *b, uint64_t number);
/* A page may be reported, by everybody. */
void twin_may(struct twin_bits *b, size_t slot, uint64_t page);
void twin_past_init(struct twin_past *past, const struct twin_bits *b);
void twin_past_fini(struct twin_past *past);
void twin_consumer_begins(struct twin_bits *b, unsigned int c);
void twin_consumer_ends(struct twin_bits *b, unsigned int c);

/*
 * b->map is going to be `next` by these edits; before that, `final` (or NULL) is compared with
 * what goes. False after a mismatch was printed.
 */
bool twin_follow(struct twin_bits *b, const struct naive_map *next, const struct twin_txn *txn,
		 struct mslot_final *final, struct mslot_dirty *const *dirty);

/* ---- What harvests report (dirty_reports.c) ----------------------------- */

/* Is the bitmap of a slot what it must and may be? `what` names the call. */
bool twin_compare_bits(struct twin_bits *b, unsigned int c, size_t slot, const uint64_t *bitmap,
		       const char *what);
/* A new batch, by its runs and as bitmaps; what it reports is the consumer's batch from now on. */
bool twin_compare_batch(struct twin_bits *b, unsigned int c, struct mslot_dirty_batch *batch);
/* The batch ends, if there is one. */
void twin_batch_ends(struct twin_bits *b, unsigned int c, bool ack);
/* KVM's calls: a get that clears; a clear of those of n pages that a mask has. */
void twin_kvm_got(struct twin_bits *b, size_t slot);
void twin_kvm_cleared(struct twin_bits *b, size_t slot, uint64_t first, uint64_t n,
		      const uint64_t *mask);

#endif /* MSLOT_TESTS_DIRTY_BITS_H */
