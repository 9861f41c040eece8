/* SPDX-License-Identifier: MIT */
/*
 * hot_paths.h - what the files of the program have of each other: hot_paths.c counts, and has the
 * paths of maps; logged.c has those of one large slot whose memory is there.
 */
#ifndef MSLOT_TESTS_HOT_PATHS_H
#define MSLOT_TESTS_HOT_PATHS_H

#include <stddef.h>
#include <stdint.h>

#include <mslot/mslot.h>

#define PAGE UINT64_C(4096)
#define LOOKUPS 2000u

/* A map, what was put into it, and addresses to look up. */
struct world {
	struct mslot_map *map;
	struct mslot_region *region;
	const struct mslot_snapshot *snap; /* where the body wants a section around it */
	size_t nslots;
	struct mslot_slot_def *def; /* as the slots are now, by rising home */
	uint64_t *home;             /* where they were created */
	uint32_t *order;            /* a permutation: the order in which slots are edited */
	size_t next;                /* the place in it */
	struct mslot_hint hint;
	void *host; /* of run_dirty() */
	struct mslot_dirty *dirty;
	struct mslot_vcpu *vcpu; /* of run_guest() and run_mmu() */
	struct mslot_root *root; /* of run_mmu() */
	uint64_t gpa[LOOKUPS], hva[LOOKUPS], miss[LOOKUPS], inside[LOOKUPS];
	struct mslot_key key[LOOKUPS];
};

/* Does n operations and returns how many did what they should. */
typedef uint64_t body_fn(struct world *w, size_t n);

_Noreturn void die(const char *what, int err);

struct mslot_txn *begin(struct world *w);
/* The end of a transaction, or of the program. */
void commit(struct mslot_txn *txn, int err);

/* Count n operations, and print the line of their dump. */
void run(const char *path, const char *variant, const char *kind, body_fn *body, struct world *w,
	 size_t n);

void run_dirty(struct world *w);
void run_guest(struct world *w);
void run_mmu(struct world *w);

#endif /* MSLOT_TESTS_HOT_PATHS_H */
