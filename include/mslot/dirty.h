/* SPDX-License-Identifier: MIT */
/*
 * mslot/dirty.h - which pages were written: marking, consumers, harvests, rings.
 *
 * Logging is on for slots with MSLOT_LOG_DIRTY and for slots in the ranges of a consumer:
 * from mslot_wait() for the commit on that made them so, since sections and leases of before
 * may still write unmarked (mslot_dirty_create() and KVM's call that switches it
 * on wait themselves).
 * Every write path of the library marks the pages it stored to; whoever writes through host
 * addresses marks them too (mslot_mark_dirty(), mslot_write_begin()) or holds a write lease.
 *
 * A consumer is somebody who copies dirty pages: a migration, a snapshot, a display. Each
 * has its own view of "dirty since my last acknowledgement". What it is guaranteed:
 * D1: a write to a page whose logging is on is reported at least once by a harvest that
 *   completes later: never lost by a split, merge, move, resize or flag change, by another
 *   consumer, by a copy that failed (mslot_dirty_nack()), or by a removal (final harvest).
 * D2: a page reported clean holds no unreported write that completed before the harvest
 *   began.
 * Bits follow the memory: edits that keep region and offset keep them, delete and replace
 * begin anew. A write marks the slot it was addressed through, not its aliases. Pages that a move
 * takes out of a consumer's scope and that stay logged for somebody else keep their bits: they
 * are reported when they come back into the scope, and are in no final harvest.
 */
#ifndef MSLOT_DIRTY_H
#define MSLOT_DIRTY_H

#include <mslot/txn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Consumers ---------------------------------------------------------- */

#define MSLOT_MAX_DIRTY_CONSUMERS 15u /* of a map, KVM's calls not counted */

struct mslot_dirty;       /* a consumer */
struct mslot_dirty_batch; /* what one harvest reported */

/* Everything of the scope, also memory that joins it later, begins as dirty. */
#define MSLOT_DIRTY_INITIALLY_SET (1u << 0)

/* A range of one space. */
struct mslot_dirty_range {
	uint32_t space;
	struct mslot_range range; /* guest-physical bytes, page aligned */
};

/* Options of mslot_dirty_create(). */
struct mslot_dirty_options {
	const char
	    *tag;       /* names the holds of its batches in mslot_holders(); copied; may be NULL */
	uint32_t flags; /* MSLOT_DIRTY_INITIALLY_SET */
	const struct mslot_dirty_range *ranges; /* its scope; copied */
	size_t nranges;                         /* 0: all spaces, whole */
};

/*
 * mslot_dirty_create() - a consumer; logging is on in its scope when it returns.
 *   map   the map
 *   opt   options, or NULL for none
 *   out   receives the consumer; ended by mslot_dirty_destroy()
 * Slots that overlap the scope, now or later, are logged whole, but only pages of the
 * scope are reported. Publishes a snapshot when a slot's logging goes on (listeners see
 * MSLOT_DIFF_REPROTECTED). What is written through a snapshot held since before is not logged
 * where nothing was logged then. Without INITIALLY_SET a page that is logged already may begin
 * as dirty, if it was written before.
 * Returns 0, -EINVAL unknown flags, a range that is empty, not page aligned, wraps or of no
 *   space, -EBUSY MSLOT_MAX_DIRTY_CONSUMERS exist, -ENOMEM, -EDEADLK inside a read section,
 *   in a listener callback or in a release callback, or a listener's veto.
 * Context: any thread; waits for read sections.
 */
MSLOT_API int mslot_dirty_create(struct mslot_map *map, const struct mslot_dirty_options *opt,
				 struct mslot_dirty **out);

/*
 * mslot_dirty_destroy() - end a consumer and its batch; logging nobody else wants goes off.
 *   dirty   the consumer; NULL is allowed and does nothing
 * Returns 0, -EDEADLK as mslot_dirty_create(), -EBUSY a final harvest of this map is not
 *   ended (mslot_final_destroy()), -ENOMEM or a listener's veto: then it is as before.
 * Context: any thread; no other may use the consumer during or after the call.
 */
MSLOT_API int mslot_dirty_destroy(struct mslot_dirty *dirty);

/*
 * mslot_dirty_get() - harvest: everything dirty since what was acknowledged last.
 *   dirty   the consumer
 *   out     receives the batch; ended by mslot_dirty_ack() or mslot_dirty_nack()
 * Pages of a batch that was not ended are reported again in the new one; the old one ends
 * (nack). The batch holds its snapshot: slots and host memory it names stay usable. Copy
 * pages only after the call has returned.
 * Returns 0, -ENOMEM (nothing is lost), -EDEADLK inside a read section, in a listener
 *   callback or in a release callback.
 * Context: one thread at a time a consumer; waits for read sections if anything is dirty,
 *   having asked vCPUs to poll or leave. Harvests of one map take turns.
 */
MSLOT_API int mslot_dirty_get(struct mslot_dirty *dirty, struct mslot_dirty_batch **out);

/* A run of dirty pages in one slot. */
struct mslot_dirty_run {
	struct mslot_key key;
	uint64_t gpa;
	uint64_t len_bytes;
	uint64_t hva;                /* of gpa */
	uint64_t offset_bytes;       /* of gpa in the region */
	struct mslot_region *region; /* borrowed from the batch */
};

/*
 * mslot_dirty_next() - the next run of a batch.
 *   batch   the batch
 *   run     receives it: maximal in its slot, by rising (space, gpa)
 * Returns 1, or 0 at the end (and ever after, until mslot_dirty_rewind()).
 * Context: the consumer's thread.
 */
MSLOT_API int mslot_dirty_next(struct mslot_dirty_batch *batch, struct mslot_dirty_run *run);

/*
 * mslot_dirty_rewind() - mslot_dirty_next() begins again.
 *   batch   the batch
 * Context: the consumer's thread.
 */
MSLOT_API void mslot_dirty_rewind(struct mslot_dirty_batch *batch);

/*
 * mslot_dirty_pages() - how many pages a batch reports.
 *   batch   the batch
 * Returns the number.
 * Context: the consumer's thread; O(words of bitmaps that hold any).
 */
MSLOT_API uint64_t mslot_dirty_pages(const struct mslot_dirty_batch *batch);

/*
 * mslot_dirty_bitmap() - a batch's pages of one slot as a bitmap.
 *   batch          the batch
 *   key            the slot, in the batch's snapshot
 *   bitmap         receives one bit a page, bit 0 of word 0 the slot's first; whole words
 *   bitmap_bytes   room at bitmap: at least npages / 8 rounded up to 8
 * Returns the number of bits set, -ENOENT no such slot or it is not logged, -ENOSPC
 *   bitmap_bytes too small.
 * Context: the consumer's thread.
 */
MSLOT_API int64_t mslot_dirty_bitmap(const struct mslot_dirty_batch *batch, struct mslot_key key,
				     uint64_t *bitmap, size_t bitmap_bytes);

/*
 * mslot_dirty_snapshot() - the snapshot that a batch speaks of.
 *   batch   the batch
 * Returns the snapshot; held until the batch ends.
 * Context: the consumer's thread. Wait-free.
 */
MSLOT_API const struct mslot_snapshot *mslot_dirty_snapshot(const struct mslot_dirty_batch *batch);

/*
 * mslot_dirty_ack() - the pages of a batch have been copied: end it.
 *   batch   the batch; NULL is allowed and does nothing
 * Nobody else is waited for.
 * Context: the consumer's thread, also inside read sections.
 */
MSLOT_API void mslot_dirty_ack(struct mslot_dirty_batch *batch);

/*
 * mslot_dirty_nack() - the pages of a batch have not been copied: end it.
 *   batch   the batch; NULL is allowed and does nothing
 * The next harvest reports them again.
 * Context: as mslot_dirty_ack().
 */
MSLOT_API void mslot_dirty_nack(struct mslot_dirty_batch *batch);

/* ---- Final harvest ------------------------------------------------------ */

/*
 * What a commit took away of logged memory (struct mslot_commit_options, final): its
 * last dirty bits, of which no consumer has been told.
 */
struct mslot_final;

/* A range of pages that was removed or remapped. */
struct mslot_final_range {
	struct mslot_key key; /* of the slot as it was */
	uint64_t gpa;         /* there */
	uint64_t len_bytes;
	uint64_t hva;                /* of the old host memory */
	uint64_t offset_bytes;       /* in the region */
	struct mslot_region *region; /* kept until mslot_final_destroy() */
};

/*
 * mslot_final_wait() - wait until nobody can write there any more.
 *   final        from mslot_txn_commit()
 *   timeout_ns   as in mslot_wait()
 * That is, as mslot_wait() for that commit: sections, holds and leases, but not the release
 * of the regions, which the final harvest keeps. A consumer's batch holds its snapshot: end it
 * first.
 * Returns 0, -ETIMEDOUT a section, a hold or a lease is still there, -EDEADLK as mslot_wait().
 * Context: as mslot_wait().
 */
MSLOT_API int mslot_final_wait(struct mslot_final *final, int64_t timeout_ns);

/*
 * mslot_final_count() - how many ranges there are.
 *   final   the final harvest
 * Returns the number; 0 when the commit took nothing that was logged.
 * Context: any thread.
 */
MSLOT_API size_t mslot_final_count(const struct mslot_final *final);

/*
 * mslot_final_get() - one range and its dirty bits.
 *   final          after mslot_final_wait() returned 0
 *   index          0 .. mslot_final_count() - 1
 *   dirty          whose bits: everything this consumer has not acknowledged; NULL: what
 *                  KVM's calls have not returned
 *   range          receives the range; may be NULL
 *   bitmap         receives one bit a page of the range; may be NULL with 0
 *   bitmap_bytes   room at bitmap
 * Returns the number of dirty pages, or in this order -EDEADLK inside a read section or in a
 *   listener callback, -EINVAL index, -EAGAIN before mslot_final_wait() returned 0, -ENOSPC
 *   bitmap_bytes too small.
 * Context: any thread; not while another thread ends a batch of the consumer. Harvests of one
 *   map take turns with it.
 */
MSLOT_API int64_t mslot_final_get(struct mslot_final *final, size_t index,
				  const struct mslot_dirty *dirty, struct mslot_final_range *range,
				  uint64_t *bitmap, size_t bitmap_bytes);

/*
 * mslot_final_destroy() - drop a final harvest and its references to regions.
 *   final   the final harvest; NULL is allowed and does nothing
 * Context: any thread.
 */
MSLOT_API void mslot_final_destroy(struct mslot_final *final);

#ifdef __cplusplus
}
#endif

#endif /* MSLOT_DIRTY_H */
