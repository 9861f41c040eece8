/* SPDX-License-Identifier: MIT */
/*
 * log.h - where dirty bits live: extents, and the views that slots have of them.
 *
 * Pure: no slots, no read-copy-update, no locks. Pages are pages of a region, so that a page
 * keeps its bit wherever the guest sees it.
 *
 * Data
 *   bits     a bitmap and its summary: bit c of the summary is set before any bit of the
 *            pages [512 c, 512 c + 512), which share a cache line
 *   extent   bits of a run of region pages. `live` is what writers mark. A harvest puts
 *            `spare`, all clear, in its place, lets every section end that may still mark
 *            what was live, and gives that to the consumers' sets
 *   set      what one consumer has of an extent: `fresh`, not reported yet, and `batch`,
 *            reported and not acknowledged
 *   view     of one slot descriptor: the pieces of extents that hold the bits of its pages,
 *            by rising page, without gaps. An edit that keeps pages keeps their pieces
 *
 * Invariants
 *   G1 a page has one bit from the time its logging begins until it ends: no edit copies bits
 *   G2 a summary bit is set before a bit of its chunk (log_mark()), and cleared after
 *   G3 `spare` is clear whenever no harvest is under way
 *   G4 an extent is freed with its last reference: one of each piece of each view, one of each
 *      entry of a ring. Harvests and batches hold the snapshot whose views they use, final
 *      harvests have views of their own
 */
#ifndef MSLOT_LOG_LOG_H
#define MSLOT_LOG_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bitmap.h"

#define LOG_CHUNK_PAGES 512u
#define LOG_CHUNK_WORDS (LOG_CHUNK_PAGES / BITMAP_WORD_BITS)
#define LOG_SETS 16u  /* consumers of a map */
#define LOG_SET_KVM 0 /* the one of KVM's calls, over slots with MSLOT_LOG_DIRTY */

/*
 * nsummary words of summary, then the words of the bitmap. Only those of `live` and
 * `ringed` are shared between threads: atomic accesses there, plain ones elsewhere.
 */
struct log_bits {
	uint64_t npages;
	uint64_t nsummary; /* words */
	uint64_t words[];
};

struct log_set {
	struct log_bits *fresh; /* harvest lock, like the next */
	struct log_bits *batch;
};

struct log_extent {
	uint64_t first, npages;  /* region pages */
	_Atomic uint64_t *tally; /* has log_extent_bytes() of it in its sum; NULL: nobody counts */
	_Atomic(struct log_bits *) live;
	struct log_bits *spare; /* harvest lock */
	_Atomic uint64_t refs;
	uint64_t harvest;              /* number of the last one that took it; harvest lock */
	struct log_extent *next_taken; /* in the same harvest; harvest lock */
	/* Pages that are in a vCPU's ring already (ringed.c); NULL without rings. */
	_Atomic(struct log_bits *) ringed;
	_Atomic uint32_t pushing; /* pages of `ringed` whose entries are being made */
	_Atomic uint32_t others;  /* bit i: set i exists; never bit LOG_SET_KVM */
	/*
	 * Added under the writer mutex, removed under that and the harvest lock, when the
	 * consumer is no more; NULL: that consumer does not look.
	 */
	_Atomic(struct log_set *) sets[LOG_SETS];
};

struct log_piece {
	uint64_t first, npages; /* region pages, within the extent's */
	struct log_extent *extent;
};

struct log_view {
	uint64_t first; /* region page of the slot's first page */
	uint64_t npages;
	uint32_t npieces;
	struct log_piece pieces[];
};

/* What a slot's log is for: sets that must exist, and those that begin with every bit set. */
struct log_wants {
	uint32_t sets; /* bit i: consumer i */
	uint32_t fill;
	bool ring;               /* `ringed` must exist */
	_Atomic uint64_t *tally; /* sum of the bytes of all extents; outlives them; or NULL */
};

/* ---- Views (view.c). The caller serialises. ---- */

/*
 * A view of pages [first, first + npages). Pages that one of the old views has keep their
 * pieces; the others get a new extent a run. Old views are of the same region and do not
 * overlap. An extent that is kept gets the sets it lacks.
 * Returns 0 or -ENOMEM. *added tells whether there are new extents or sets.
 */
int log_view_create(uint64_t first, uint64_t npages, const struct log_view *const *old,
		    uint32_t nold, const struct log_wants *wants, struct log_view **out,
		    bool *added);
void log_view_destroy(struct log_view *view); /* accepts NULL */

/* The piece of a region page of the view. */
static inline const struct log_piece *log_view_piece(const struct log_view *view, uint64_t page)
{
	uint32_t low = 0, high = view->npieces, mid;

	while (high - low > 1) {
		mid = low + (high - low) / 2;
		if (view->pieces[mid].first <= page)
			low = mid;
		else
			high = mid;
	}
	return &view->pieces[low];
}

/* ---- Extents (extent.c) ---- */

/* Give an extent the sets and the ring bits it lacks; pages to fill are [first, + npages). */
int log_extent_equip(struct log_extent *extent, const struct log_wants *wants, uint64_t first,
		     uint64_t npages, bool *added);
/* Free a consumer's set, if there is one. Harvest lock and writer mutex held. */
void log_extent_drop_set(struct log_extent *extent, uint32_t consumer);
void log_extent_get(struct log_extent *extent);
void log_extent_put(struct log_extent *extent);
/* Bytes of memory of an extent, with its sets (most of it untouched until pages are dirty). */
uint64_t log_extent_bytes(const struct log_extent *extent);

/* The set of a consumer, or NULL. */
static inline struct log_set *log_extent_set(const struct log_extent *extent, uint32_t consumer)
{
	/* Acquire: the set's bitmaps. Pairs with the store in log_extent_equip(). */
	return atomic_load_explicit(&extent->sets[consumer], memory_order_acquire);
}

/* ---- Marking (mark.c) ---- */

/*
 * Mark pages [first, first + npages) of a view dirty, after the data was stored, in the
 * same read section. Any thread.
 */
void log_mark(const struct log_view *view, uint64_t first, uint64_t npages);
/* The same of one page of an extent. */
void log_mark_one(struct log_extent *extent, uint64_t bit);
/*
 * The same of pages that are in a ring: mark only those in extents that consumers other than
 * KVM's calls look at, or that have no ring bits.
 */
void log_mark_beside_ring(const struct log_view *view, uint64_t first, uint64_t npages);

/* ---- Pages in rings (ringed.c); of extents that have `ringed` ---- */

static inline bool log_has_ring(const struct log_extent *extent)
{
	return atomic_load_explicit(&extent->ringed, memory_order_relaxed) != NULL;
}

/* Is the page in a ring, or about to be? */
bool log_ringed(const struct log_extent *extent, uint64_t bit);
/*
 * Before making an entry of the page: false if another is there; true, and log_ring_pushed()
 * follows when the entry can be seen, which has a reference of the extent.
 */
bool log_ring_claim(struct log_extent *extent, uint64_t bit);
void log_ring_pushed(struct log_extent *extent);
/* A write relies on the entry that another made, or is making. In the section of the write. */
void log_ring_found(struct log_extent *extent, uint64_t bit);
/* Pages of a mask of the bitmap's word are no longer in a ring. A grace period must follow. */
void log_ring_clear(struct log_extent *extent, uint64_t word, uint64_t mask);

/* ---- Harvest (harvest.c). Harvest lock held; steps in this order. ---- */

/* Is nothing marked? Needs no grace period: it answers for writes that are complete. */
bool log_extent_clean(const struct log_extent *extent);
/* What is live from now on is clear; what was is in `spare` until the next step. */
void log_extent_swap(struct log_extent *extent);
/* After a grace period: what was live goes to the sets; `spare` is clear again. */
void log_extent_fan_out(struct log_extent *extent);

/* ---- Bitmaps with summaries (bits.c). Exclusive access by the caller, but for log_mark(). ---- */

struct log_bits *log_bits_create(uint64_t npages);
uint64_t log_bits_bytes(uint64_t npages);
bool log_bits_any(const struct log_bits *bits);
void log_bits_set_range(struct log_bits *bits, uint64_t first, uint64_t n);
void log_bits_clear_range(struct log_bits *bits, uint64_t first, uint64_t n);
void log_bits_clear_all(struct log_bits *bits);
/* to |= from, of as many pages. */
void log_bits_or(struct log_bits *to, const struct log_bits *from);
/* The same, and from = 0. */
void log_bits_move(struct log_bits *to, struct log_bits *from);
/*
 * OR bits [first, first + n) into a bitmap of the caller's from its bit `at` on; only count
 * them if it is NULL. Returns how many of them are set.
 */
uint64_t log_bits_or_out(const struct log_bits *bits, uint64_t first, uint64_t n, uint64_t *bitmap,
			 uint64_t at);
/*
 * Clear those of the bits [first, first + n) that are set in a bitmap of the caller's from
 * its bit `at` on; all of them if that is NULL. Returns how many were cleared.
 */
uint64_t log_bits_clear_mask(struct log_bits *bits, uint64_t first, uint64_t n,
			     const uint64_t *bitmap, uint64_t at);
/*
 * Bitmaps of the caller's whose bit 0 is bit `first`, in words that need not be aligned
 * (words.c): only where the range is in step with the words, log_bits_in_step().
 */
typedef uint64_t log_any_word __attribute__((aligned(1), may_alias));
/* Of bits of npages pages. */
bool log_bits_in_step(uint64_t npages, uint64_t first, uint64_t n);
/* out = bits. */
void log_bits_copy_words(const struct log_bits *bits, uint64_t first, uint64_t n,
			 log_any_word *out);
/* out |= bits, also beside log_mark(). */
void log_bits_or_words(const struct log_bits *bits, uint64_t first, uint64_t n, log_any_word *out);
/* out = bits, and they are clear. */
void log_bits_take_words(struct log_bits *bits, uint64_t first, uint64_t n, log_any_word *out);
/* bits &= ~mask. */
void log_bits_clear_words(struct log_bits *bits, uint64_t first, uint64_t n,
			  const log_any_word *mask);
/* The first set bit in [from, to), or `to`; the first clear one likewise. */
uint64_t log_bits_next_set(const struct log_bits *bits, uint64_t from, uint64_t to);
uint64_t log_bits_next_clear(const struct log_bits *bits, uint64_t from, uint64_t to);

#endif /* MSLOT_LOG_LOG_H */
