/* SPDX-License-Identifier: MIT */
/*
 * txn.h - a transaction's way through a commit: edits are resolved to changes
 * (resolve.c), the final map is validated (validate.c), the next snapshot is built and
 * published (commit.c).
 */
#ifndef MSLOT_MAP_TXN_H
#define MSLOT_MAP_TXN_H

#include "base/sort.h"
#include "index/index.h"
#include "map/snapshot.h"
#include "map/writer.h"

#define TXN_INLINE_EDITS 2u

struct mslot_txn {
	struct mslot_map *map;
	struct mslot_edit *edits; /* parts and region references are the transaction's own */
	uint32_t nedits, capacity;
	uint64_t nparts; /* of all edits */
	struct mslot_edit inline_edits[TXN_INLINE_EDITS];
};

/* The frames and the host memory of a slot to be, checked. */
struct slot_content {
	uint64_t base_gfn;
	uint64_t npages;
	uint64_t offset_bytes;
	struct mslot_region *region;
	uint32_t flags;
};

/* One (space, id) that differs after the commit. */
struct change {
	uint32_t space, id;
	uint32_t edit;                   /* index of the edit that wants it */
	bool exists_after;               /* `content` is valid */
	const struct mslot_slot *before; /* NULL when it does not exist before */
	struct mslot_slot *after;        /* commit.c: the new descriptor */
	struct slot_content content;
};

#define NO_CHANGE UINT32_MAX

/* A name that an edit claims: its own, then those of its parts. */
struct claim {
	uint32_t edit;
	uint32_t change; /* index of the change, NO_CHANGE when the edit leaves the slot as it is */
	const struct mslot_slot *slot; /* as it is before the commit, or NULL */
};

/* A commit in progress; lives on the stack, its arrays in map->scratch. */
struct commit {
	struct mslot_map *map;
	const struct mslot_txn *txn;
	const struct txn_commit_args *args;
	struct mslot_snapshot *old;
	struct mslot_snapshot *next;
	struct retired *retired; /* what dies with `old` */
	struct change *changes;
	uint32_t nchanges;
	uint32_t nresults;    /* changes that exist after */
	uint32_t nbefore;     /* and before */
	struct claim *claims; /* in the order of edits */
	uint32_t nclaims;
	struct sort_item *by_name; /* claims by slot_name(); once resolved, their changes */
	struct sort_item *by_gfn;  /* changes that exist after, by space and base; two a claim */
	struct sort_item *items;   /* to sort in; two a claim */
	struct index_range *cut;   /* what an index loses and gets: one each a claim */
	struct index_range *put;
	void *own_scratch; /* memory of the arrays when the map's was too small to keep */
	struct index_batch batch;
	struct mslot_final *final; /* what it takes away of logged memory, if asked for */
	bool log_begins;           /* pages are logged from this commit on */
	uint64_t npages;           /* of the final map */
	uint32_t failed_edit;      /* the outcome of a refusal */
	const char *reason;
};

/*
 * A transaction in the caller's memory, and its end; for the entry points of the library
 * itself, which must not fail for lack of memory before their request was looked at.
 */
void txn_init(struct mslot_txn *txn, struct mslot_map *map);
void txn_fini(struct mslot_txn *txn);
/* mslot_txn_add() without the limits that are for callers of the library. */
int txn_add(struct mslot_txn *txn, const struct mslot_edit *edit);

/* The scratch memory of a new map. Returns 0 or -ENOMEM. */
int commit_scratch_init(struct mslot_map *map);

/* Note why a commit is refused. Returns err. */
int commit_refuse(struct commit *c, int err, uint32_t edit, const char *reason);

/*
 * Turn edits into changes: check 5 of mslot_txn_commit(). Returns 0 or a noted refusal.
 * Afterwards by_name tells the changes of names, and changes hold only what differs.
 */
int resolve_edits(struct commit *c);

/* Validate the final map: checks 6 and 7. Returns 0 or a noted refusal. */
int validate_final(struct commit *c);

/* Check 9, after allocation. Returns 0 or a noted refusal. */
int validate_gpa_limit(struct commit *c);

/* Listeners, in the order in which they were added. */
int listeners_prepare(struct mslot_map *map, const struct mslot_diff *diff);
void listeners_commit(struct mslot_map *map, const struct mslot_diff *diff);

#endif /* MSLOT_MAP_TXN_H */
