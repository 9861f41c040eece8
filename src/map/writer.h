/* SPDX-License-Identifier: MIT */
/*
 * writer.h - the write side of a map, for the layers of the library above src/map.
 *
 * Steps of a change that must see the current map before it can decide (the KVM
 * entry points): map_write_begin(); look at map_current(); fill a transaction;
 * txn_commit_locked(); map_write_end(); where the contract says so, map_synchronize().
 */
#ifndef MSLOT_MAP_WRITER_H
#define MSLOT_MAP_WRITER_H

#include <stdbool.h>

#include <mslot/txn.h>

/*
 * Take the writer mutex; at the W5 limit wait for readers first (without the mutex).
 * Returns 0 or -EDEADLK: in a listener callback of this map, or at the limit inside a
 * read section.
 */
int map_write_begin(struct mslot_map *map);
void map_write_end(struct mslot_map *map);

/* The published snapshot; stable between map_write_begin() and the commit. */
const struct mslot_snapshot *map_current(const struct mslot_map *map);

/* The built-in unowned region of the KVM entry points: offset = hva. */
struct mslot_region *map_kvm_region(struct mslot_map *map);

struct txn_commit_args {
	uint32_t flags;             /* MSLOT_COMMIT_... */
	uint64_t generation;        /* for MSLOT_COMMIT_IF_GENERATION */
	uint32_t slot_flags;        /* slot flags that edits may use */
	struct mslot_final **final; /* as in struct mslot_commit_options */
	int late_errno;  /* returned when nonzero once the final map was found free of overlap */
	bool would_wait; /* -EDEADLK before listeners are asked when inside a read section */
};

/*
 * mslot_txn_commit() with the writer mutex held by map_write_begin(), and with the
 * transaction left to the caller in every case (end it with mslot_txn_abort()).
 */
int txn_commit_locked(struct mslot_txn *txn, const struct txn_commit_args *args,
		      struct mslot_commit_result *result);

/*
 * Wait until every read section entered before the call has been left, after asking the
 * vCPUs of the map to come out. No mutex held.
 */
void map_synchronize(struct mslot_map *map);

/*
 * The same for who has taken away what vCPUs may have cached: they are asked to forget it, too.
 * Whoever waits for a grace period and took nothing does not ask for that.
 */
void map_flush(struct mslot_map *map);

#endif /* MSLOT_MAP_WRITER_H */
