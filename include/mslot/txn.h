/* SPDX-License-Identifier: MIT */
/*
 * mslot/txn.h - transactions over many slots, the difference between snapshots,
 * and listeners.
 *
 * A transaction is a set of edits, at most one for each (space, id) it names.
 * Only the final map is validated, so the order of edits is irrelevant: swaps,
 * delete + create over one range, and chains of moves are all legal. Commit is
 * all or nothing (W1) and publishes one snapshot for all spaces with one store (W2).
 */
#ifndef MSLOT_TXN_H
#define MSLOT_TXN_H

#include <mslot/map.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mslot_txn;
struct mslot_final;

/* ---- Edits -------------------------------------------------------------- */

/* Everything that defines a slot. */
struct mslot_slot_def {
	struct mslot_key key;
	uint64_t gpa;                /* page aligned */
	uint64_t len_bytes;          /* > 0, page aligned, at most MSLOT_MAX_SLOT_PAGES pages */
	struct mslot_region *region; /* the host memory; the slot takes its own reference */
	uint64_t offset_bytes;       /* of gpa in the region; page aligned */
	uint32_t flags;              /* MSLOT_LOG_DIRTY, MSLOT_READONLY */
};

/* What an edit does, and the fields of struct mslot_edit that it looks at. */
enum mslot_edit_kind {
	MSLOT_EDIT_CREATE = 1, /* def: a slot that does not exist yet */
	MSLOT_EDIT_DELETE,     /* def.key */
	MSLOT_EDIT_REDEFINE,   /* def: an existing slot gets a complete new definition */
	MSLOT_EDIT_MOVE,       /* def.key, def.gpa */
	MSLOT_EDIT_SET_FLAGS,  /* def.key, def.flags */
	MSLOT_EDIT_RESIZE,     /* def.key, def.gpa, def.len_bytes: grow or shrink at either end; the
				* new range overlaps the old one, kept pages keep their host memory */
	MSLOT_EDIT_REPLACE,    /* def.key, def.region, def.offset_bytes: new host memory */
	MSLOT_EDIT_SPLIT,      /* def.key, parts */
	MSLOT_EDIT_MERGE,      /* def.key, parts */
};

/*
 * A part of a split or a merge.
 * SPLIT: from `gpa` on (rising, page aligned, strictly inside the slot) the source
 *   becomes the new slot `id` of the same space; below the first part it keeps its id.
 * MERGE: the existing slot `id` of the same space becomes part of the slot of def.key;
 *   all of them together, in any order, must be contiguous in gpa and in one region,
 *   with equal flags. `gpa` is ignored.
 */
struct mslot_part {
	uint32_t id;
	uint64_t gpa;
};

#define MSLOT_EDIT_PRIVATE (1u << 0) /* the edit names private ids, and only those */

/* One edit, for mslot_txn_add(). */
struct mslot_edit {
	enum mslot_edit_kind kind;
	uint32_t edit_flags;       /* MSLOT_EDIT_PRIVATE */
	struct mslot_slot_def def; /* fields as the kind says; others ignored */
	const struct mslot_part *parts;
	size_t nparts; /* SPLIT and MERGE: 1 or more */
};

/*
 * mslot_txn_begin() - start collecting edits.
 *   map   the map
 *   out   receives the transaction; ended by a successful mslot_txn_commit()
 *         without MSLOT_COMMIT_DRY_RUN, or by mslot_txn_abort()
 * Returns 0, -ENOMEM.
 * Context: any thread, also inside read sections. Takes no lock; one thread at a time
 *   may use a transaction, and many transactions may be open.
 */
MSLOT_API int mslot_txn_begin(struct mslot_map *map, struct mslot_txn **out);

/*
 * mslot_txn_add() - add one edit.
 *   txn    the transaction
 *   edit   the edit; copied, parts included; its region gets a reference of the transaction
 * mslot_txn_create() and the other verbs are short for it.
 * Returns the index of the edit (>= 0), -ENOMEM, -E2BIG the transaction holds
 *   max_edits edits or the edit has more than max_edits parts. Nothing else is checked
 *   before commit. After an error the transaction is as before.
 * Context: the transaction's thread.
 */
MSLOT_API int mslot_txn_add(struct mslot_txn *txn, const struct mslot_edit *edit);

/*
 * mslot_txn_create() - add an edit: a new slot.
 *   txn   as in mslot_txn_add()
 *   def   the slot, which does not exist yet
 * Returns, Context: as mslot_txn_add().
 */
MSLOT_API int mslot_txn_create(struct mslot_txn *txn, const struct mslot_slot_def *def);

/*
 * mslot_txn_delete() - add an edit: an existing slot goes.
 *   txn   as in mslot_txn_add()
 *   key   the slot
 * Returns, Context: as mslot_txn_add().
 */
MSLOT_API int mslot_txn_delete(struct mslot_txn *txn, struct mslot_key key);

/*
 * mslot_txn_redefine() - add an edit: another definition for a slot.
 *   txn   as in mslot_txn_add()
 *   def   the complete new definition of an existing slot
 * Returns, Context: as mslot_txn_add().
 */
MSLOT_API int mslot_txn_redefine(struct mslot_txn *txn, const struct mslot_slot_def *def);

/*
 * mslot_txn_move() - add an edit: another guest-physical address for a slot.
 *   txn   as in mslot_txn_add()
 *   key   the slot
 *   gpa   its new first guest-physical byte
 * Returns, Context: as mslot_txn_add().
 */
MSLOT_API int mslot_txn_move(struct mslot_txn *txn, struct mslot_key key, uint64_t gpa);

/*
 * mslot_txn_set_flags() - add an edit: other flags for a slot.
 *   txn     as in mslot_txn_add()
 *   key     the slot
 *   flags   all flags it shall have
 * Returns, Context: as mslot_txn_add().
 */
MSLOT_API int mslot_txn_set_flags(struct mslot_txn *txn, struct mslot_key key, uint32_t flags);

/*
 * mslot_txn_resize() - add an edit: a slot grows or shrinks at either end.
 *   txn     as in mslot_txn_add()
 *   key     the slot
 *   range   its new guest-physical range, which overlaps the old one
 * Pages that are kept keep their host memory; new ones extend it in the region.
 * Returns, Context: as mslot_txn_add().
 */
MSLOT_API int mslot_txn_resize(struct mslot_txn *txn, struct mslot_key key,
			       struct mslot_range range);

/*
 * mslot_txn_replace() - add an edit: other host memory for a slot.
 *   txn            as in mslot_txn_add()
 *   key            the slot
 *   region         the new host memory
 *   offset_bytes   of the slot's gpa in it
 * Returns, Context: as mslot_txn_add().
 */
MSLOT_API int mslot_txn_replace(struct mslot_txn *txn, struct mslot_key key,
				struct mslot_region *region, uint64_t offset_bytes);

/*
 * mslot_txn_split() - add an edit: a slot becomes several.
 *   txn             as in mslot_txn_add()
 *   key             the source
 *   parts, nparts   where it is cut and the ids of the new slots
 * Returns, Context: as mslot_txn_add().
 */
MSLOT_API int mslot_txn_split(struct mslot_txn *txn, struct mslot_key key,
			      const struct mslot_part *parts, size_t nparts);

/*
 * mslot_txn_merge() - add an edit: several slots become one.
 *   txn             as in mslot_txn_add()
 *   key             the slot that remains
 *   parts, nparts   the slots that become part of it
 * Returns, Context: as mslot_txn_add().
 */
MSLOT_API int mslot_txn_merge(struct mslot_txn *txn, struct mslot_key key,
			      const struct mslot_part *parts, size_t nparts);

/*
 * mslot_txn_abort() - end a transaction without doing anything.
 *   txn   the transaction; NULL is allowed and does nothing
 * Context: the transaction's thread, also in callbacks.
 */
MSLOT_API void mslot_txn_abort(struct mslot_txn *txn);

/* ---- Commit ------------------------------------------------------------- */

#define MSLOT_COMMIT_DRY_RUN (1u << 0)       /* validate only; listeners are not asked */
#define MSLOT_COMMIT_IF_GENERATION (1u << 1) /* -EAGAIN unless the generation is as given */
#define MSLOT_COMMIT_NOWAIT (1u << 2)        /* -EBUSY where a leased page would go */
#define MSLOT_COMMIT_EXCLUSIVE (1u << 3)     /* with no vCPU inside; see below */

/* Options of mslot_txn_commit(). */
struct mslot_commit_options {
	uint32_t flags;
	uint64_t generation; /* for MSLOT_COMMIT_IF_GENERATION */
	/*
	 * Where to put the last dirty bits of logged memory that the commit takes away
	 * (mslot/dirty.h); NULL: they are dropped. Written when something was published: ended
	 * by mslot_final_destroy().
	 */
	struct mslot_final **final;
	int64_t timeout_ns; /* for MSLOT_COMMIT_EXCLUSIVE: < 0 for ever, 0 only looks */
};

#define MSLOT_NO_EDIT UINT32_MAX /* instead of an index: no edit is to blame */

/* Outcome of mslot_txn_commit(). */
struct mslot_commit_result {
	uint64_t generation;  /* of the map after the call, whether it changed or not */
	uint32_t failed_edit; /* index of the edit to blame, or MSLOT_NO_EDIT */
	const char *reason;   /* static text; "" on success */
};

/*
 * mslot_txn_commit() - validate and publish a transaction.
 *   txn      the transaction; ended on success unless MSLOT_COMMIT_DRY_RUN is given,
 *            and still the caller's after an error, to be tried again or aborted
 *   opt      options, or NULL for none
 *   result   receives the outcome, also after an error; may be NULL
 *
 * Checks, in the order in which they win:
 *   1 unknown flags                                       -EINVAL
 *   2 in a callback of this map's listeners               -EDEADLK
 *   3 EXCLUSIVE in any other callback or a read section    -EDEADLK
 *     EXCLUSIVE, and a vCPU is inside for too long        -ETIMEDOUT
 *     at the W5 limit inside a read section, or in a
 *     callback of another map's listeners                 -EDEADLK
 *   4 another generation than the one asked for           -EAGAIN
 *   5 each edit in rising order: kind, edit flags, space, id class, an id named
 *     twice in the transaction, existence, and every field of its results
 *     (alignment, size, wrap, flags, region bounds, hva)  -EINVAL
 *   6 the final map, blaming the last edit that added slots in the lowest space
 *     with too many, then the last that added pages: max_slots, max_pages   -E2BIG
 *   7 the final map, blaming the first edit of which a result overlaps another
 *     slot of its space                                   -EEXIST
 *   8 allocation (for large transactions also before 5)  -ENOMEM
 *   9 the first edit with a result beyond gpa_limit       -EINVAL
 *  10 on memory that would go, of this map: with
 *     MSLOT_COMMIT_NOWAIT a lease, with
 *     MSLOT_COMMIT_EXCLUSIVE a write lease                -EBUSY
 *  11 a listener's veto                                   its errno
 * Check 10 is advice: a lease may still be taken before the publish, and then delays
 * mslot_wait() and `release` as any other. A dry run does not make it, nor 8 and 11.
 * A result that equals the slot as it is counts as no change and is never blamed by the
 * checks of the final map. When nothing changes nothing is published and the generation
 * stays (W3).
 *
 * With MSLOT_COMMIT_EXCLUSIVE no vCPU of the map is inside from before check 4 until
 * the last listener was told: they are asked out, and mslot_vcpu_enter() waits. Such commits take
 * turns. The timeout bounds the wait for turn and vCPUs together; when it ends nothing has
 * changed. Plain read sections are not excluded, and MSLOT_COMMIT_DRY_RUN excludes nobody.
 * Returns 0 or the error of the first check that fails. The map is as before after an
 *   error (W1).
 * Context: the transaction's thread, also inside read sections and release
 *   callbacks. Serializes with other writers; never waits for readers below the W5
 *   limit (W4), unless it is EXCLUSIVE.
 */
MSLOT_API int mslot_txn_commit(struct mslot_txn *txn, const struct mslot_commit_options *opt,
			       struct mslot_commit_result *result);

/* ---- Difference --------------------------------------------------------- */

/* What changed. */
enum mslot_diff_kind {
	MSLOT_DIFF_ADDED = 1,   /* no slot before */
	MSLOT_DIFF_REMOVED,     /* no slot after */
	MSLOT_DIFF_REMAPPED,    /* another region or another offset */
	MSLOT_DIFF_REPROTECTED, /* same translation; READONLY or LOG_DIRTY differs */
	MSLOT_DIFF_REHOMED,     /* same translation and flags; a slot of another id */
};

/* One range of guest frames of which one thing changed; the first kind that fits wins. */
struct mslot_diff_seg {
	enum mslot_diff_kind kind;
	uint32_t space;
	uint64_t gpa;
	uint64_t len_bytes;
	const struct mslot_slot *before; /* NULL for ADDED */
	const struct mslot_slot *after;  /* NULL for REMOVED */
	/*
	 * ADDED and REMAPPED: 1 when the same (space, id) showed the same bytes of the
	 * same region at origin_gpa before, that is, when the slot was moved.
	 */
	uint32_t moved;
	uint64_t origin_gpa;
};

/* Everything that differs between two snapshots, by rising (space, gpa), not overlapping. */
struct mslot_diff {
	const struct mslot_snapshot *before;
	const struct mslot_snapshot *after;
	size_t nsegs;
	const struct mslot_diff_seg *segs;
};

/*
 * mslot_diff_create() - the difference between two snapshots of one map.
 *   before, after   both entered or held; either may be the older one
 *   out             receives the difference; owned by the caller, ended by mslot_diff_destroy()
 * Returns 0, -EINVAL snapshots of two maps, -ENOMEM.
 * Context: while both snapshots are entered or held. O(slots that may differ), shared
 *   parts are skipped.
 * Lifetime: the slots it names live as long as their snapshots.
 */
MSLOT_API int mslot_diff_create(const struct mslot_snapshot *before,
				const struct mslot_snapshot *after, struct mslot_diff **out);

/*
 * mslot_diff_destroy() - free a difference made by mslot_diff_create().
 *   diff   the difference; NULL is allowed and does nothing
 * Context: any thread.
 */
MSLOT_API void mslot_diff_destroy(struct mslot_diff *diff);

/* ---- Listeners ---------------------------------------------------------- */

/*
 * Callbacks of one who caches translations. All run on the committing thread with
 * the map's writer mutex held: they may read and diff snapshots, but writer calls on the
 * same map and mslot_wait() return -EDEADLK. Slots in the diff are usable during the
 * callback, longer only under a hold; before commit() the new snapshot, and during a
 * replay the empty old one, cannot be held (-EINVAL). A commit to another map may meet
 * that map's W5 limit, where it cannot wait (-EDEADLK): mirror a map from a thread of its
 * own, or do the work that can fail in prepare().
 */
struct mslot_listener_ops {
	/*
	 * Allocate what commit() needs, or veto with a negative errno (any other nonzero
	 * value counts as -ECANCELED). The new snapshot is not published yet. May be NULL.
	 */
	int (*prepare)(void *ctx, const struct mslot_diff *diff);
	/* A listener after this one vetoed: undo prepare(). May be NULL. */
	void (*abort)(void *ctx, const struct mslot_diff *diff);
	/* The new snapshot is published. Cannot fail. May be NULL. */
	void (*commit)(void *ctx, const struct mslot_diff *diff);
};

struct mslot_listener;

#define MSLOT_LISTENER_REPLAY (1u << 0) /* prepare() and commit() run for the current map */

/*
 * mslot_listener_add() - call back at every effective commit from now on.
 *   map     the map
 *   ops     the callbacks; copied
 *   ctx     given to each
 *   flags   MSLOT_LISTENER_REPLAY: before returning, prepare() and commit() get a
 *           diff from an empty snapshot of the current generation to the current one
 *   out     receives the listener; owned by the caller, ended by mslot_listener_remove()
 * Listeners are asked in the order in which they were added, aborted in reverse.
 * Returns 0, -EINVAL unknown flags, -ENOMEM, -EDEADLK in a listener callback of this
 *   map, or the veto of prepare() during replay.
 * Context: any thread.
 */
MSLOT_API int mslot_listener_add(struct mslot_map *map, const struct mslot_listener_ops *ops,
				 void *ctx, uint32_t flags, struct mslot_listener **out);

/*
 * mslot_listener_remove() - no callbacks any more after return.
 *   listener   the listener; NULL is allowed and does nothing
 * Returns 0, -EDEADLK in a listener callback of this map.
 * Context: any thread.
 */
MSLOT_API int mslot_listener_remove(struct mslot_listener *listener);

#ifdef __cplusplus
}
#endif

#endif /* MSLOT_TXN_H */
