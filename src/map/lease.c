/* SPDX-License-Identifier: MIT */
/*
 * lease.c - taking and putting leases; lease_scan.c has those who look for them.
 *
 * Protocol
 *   take  in a section or hold: look the slots up; pop records of the thread's own; fill
 *         them; store ACTIVE. The section ends later, so whoever waited for it (or for the
 *         hold) before it scans sees the record.
 *   put   exchange the state for the next sequence number, without ACTIVE: the I/O comes
 *         before, and it tells whether somebody watches. Then give the record back, and
 *         stir the reclaimer if somebody does.
 * No read section is needed in put: a watcher sets WATCHED by a compare-and-swap from the
 * state that it read, so either that comes first and the exchange sees it, or it fails.
 */
#include "map/lease.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/alloc.h"
#include "base/perturb.h"
#include "map/lease_record.h"
#include "map/reclaim.h"
#include "map/span.h"

#define SET(field, value) atomic_store_explicit(&(field), (value), memory_order_relaxed)

static struct mslot_lease *pop(void)
{
	struct mslot_lease *rec;

	if (__builtin_expect(!lease_cache || !lease_cache->free, 0) && lease_refill())
		return NULL;
	rec = lease_cache->free;
	lease_cache->free = atomic_load_explicit(&rec->next, memory_order_relaxed);
	return rec;
}

static void give_back(struct mslot_lease *rec)
{
	struct lease_thread *owner = lease_owner(rec);
	struct mslot_lease *seen;

	if (owner == lease_cache) {
		SET(rec->next, owner->free);
		owner->free = rec;
		return;
	}
	seen = atomic_load_explicit(&owner->remote, memory_order_relaxed);
	do {
		SET(rec->next, seen);
		/* Release: our last look at the record. Pairs with take_remote(). */
	} while (!atomic_compare_exchange_weak_explicit(
	    &owner->remote, &seen, rec, memory_order_release, memory_order_relaxed));
}

/* What all records of a lease say alike. */
struct origin {
	const struct mslot_snapshot *snap;
	const struct mslot_span *span;
	uint64_t since_ns;
};

static void fill(struct mslot_lease *rec, const struct origin *from, const struct mslot_slot *slot,
		 uint64_t gpa, const struct iovec *seg)
{
	struct mslot_region *region = slot->region;

	/* Release fence: the end of the record's last life before this one's fields, for
	 * scans that read both. Pairs with the acquire fence in record_read(). */
	atomic_thread_fence(memory_order_release);
	SET(rec->map, from->snap->map);
	SET(rec->region, region);
	SET(rec->gpa, gpa);
	SET(rec->len_bytes, seg->iov_len);
	SET(rec->hva, (uintptr_t)seg->iov_base);
	SET(rec->generation, from->snap->generation);
	SET(rec->since_ns, from->since_ns);
	SET(rec->span_bytes, 0);
	SET(rec->space, (uint16_t)from->span->space);
	SET(rec->access, (uint16_t)from->span->access);
	/* Looked at when the last reference is gone, which this section's end precedes. */
	if (!atomic_load_explicit(&region->leased, memory_order_relaxed))
		SET(region->leased, true);
}

static void fill_head(struct mslot_lease *rec, const struct mslot_span *span, uint32_t nsegs,
		      const char *tag)
{
	uint64_t words[LEASE_TAG_WORDS] = {0};
	unsigned int i;

	if (tag)
		memcpy(words, tag, strnlen(tag, sizeof(words) - 1));
	SET(rec->span_bytes, span->len_bytes);
	SET(rec->nsegs, nsegs);
	for (i = 0; i < LEASE_TAG_WORDS; i++)
		SET(rec->tag[i], words[i]);
}

static void activate(struct mslot_lease *rec)
{
	uint64_t state = atomic_load_explicit(&rec->state, memory_order_relaxed);

	PERTURB(LEASE_FILLED);
	/* Release: the fields before the state. Pairs with record_read(). */
	atomic_store_explicit(&rec->state, state | LEASE_ACTIVE, memory_order_release);
}

/* How many segments a span has, or what is wrong with it. */
static int count_segments(const struct mslot_snapshot *snap, const struct mslot_span *span)
{
	uint64_t gpa = span->gpa, left = span->len_bytes;
	const struct mslot_slot *slot;
	struct iovec seg;
	int err, n = 0;

	for (; left; left -= seg.iov_len, gpa += seg.iov_len, n++) {
		err = span_segment(snap, span, gpa, left, &slot, &seg);
		if (err)
			return err;
		if (n == INT_MAX)
			return -ENOMEM;
	}
	return n;
}

/* n records, chained; NULL without memory. */
static struct mslot_lease *pop_many(uint32_t n)
{
	struct mslot_lease *chain = NULL, *rec;

	for (; n; n--) {
		rec = pop();
		if (rec) {
			SET(rec->next, chain);
			chain = rec;
			continue;
		}
		while ((rec = chain) != NULL) {
			chain = atomic_load_explicit(&rec->next, memory_order_relaxed);
			give_back(rec);
		}
		return NULL;
	}
	return chain;
}

/*
 * Over slots, of which `slot` is the first. The head becomes active last and ends first: while
 * it is active its chain can be read.
 */
static struct mslot_lease *take_many(const struct origin *from, const struct mslot_slot *slot,
				     uint32_t n, const char *tag)
{
	uint64_t gpa = from->span->gpa, left = from->span->len_bytes;
	struct iovec *iov = mem_alloc(n * sizeof(*iov));
	struct mslot_lease *head = iov ? pop_many(n) : NULL, *rec = head;
	uint32_t i;

	if (!head) {
		mem_free(iov);
		return NULL;
	}
	for (i = 0; i < n; i++) {
		(void)span_segment(from->snap, from->span, gpa, left, &slot, &iov[i]);
		fill(rec, from, slot, gpa, &iov[i]);
		if (rec != head)
			activate(rec);
		gpa += iov[i].iov_len;
		left -= iov[i].iov_len;
		rec = atomic_load_explicit(&rec->next, memory_order_relaxed);
	}
	fill_head(head, from->span, n, tag);
	head->iov.many = iov;
	activate(head);
	return head;
}

static struct mslot_lease *take_one(const struct origin *from, const struct mslot_slot *slot,
				    const struct iovec *seg, const char *tag)
{
	struct mslot_lease *rec = pop();

	if (!rec)
		return NULL;
	fill(rec, from, slot, from->span->gpa, seg);
	fill_head(rec, from->span, 1, tag);
	rec->iov.one = *seg;
	activate(rec);
	return rec;
}

int mslot_lease_take(const struct mslot_snapshot *snap, const struct mslot_span *span,
		     const char *tag, struct mslot_lease **out)
{
	struct origin from = {.snap = snap, .span = span};
	const struct mslot_slot *slot;
	struct mslot_lease *lease;
	struct iovec first;
	int err = snap->transient ? -EINVAL : span_check(span), n = 1;

	if (!err)
		err = span_segment(snap, span, span->gpa, span->len_bytes, &slot, &first);
	if (err)
		return err;
	if (first.iov_len != span->len_bytes) {
		n = count_segments(snap, span);
		if (n < 0)
			return n;
	}
	from.since_ns = lease_now_ns();
	lease =
	    n == 1 ? take_one(&from, slot, &first, tag) : take_many(&from, slot, (uint32_t)n, tag);
	if (!lease)
		return -ENOMEM;
	/*
	 * After the records are active, in the section that found the slots: the harvest that
	 * takes these marks waits for the section and then sees the lease, which it marks again.
	 */
	if (span->access == MSLOT_WRITE)
		logging_mark_span(snap, span);
	*out = lease;
	return 0;
}

const struct iovec *mslot_lease_iov(const struct mslot_lease *lease, size_t *n)
{
	uint32_t nsegs = atomic_load_explicit(&lease->nsegs, memory_order_relaxed);

	if (n)
		*n = nsegs;
	return nsegs == 1 ? &lease->iov.one : lease->iov.many;
}

/* End a record's life. Returns whether somebody watches. */
static bool end(struct mslot_lease *rec)
{
	uint64_t state = atomic_load_explicit(&rec->state, memory_order_relaxed);

	/*
	 * Release: the I/O before the end, which a scan sees with acquire. One exchange: a
	 * WATCHED that comes before it is seen, later none can come. Pairs with watch().
	 */
	state =
	    atomic_exchange_explicit(&rec->state, (state | LEASE_FLAGS) + 1, memory_order_acq_rel);
	return state & LEASE_WATCHED;
}

static bool end_many(struct mslot_lease *head, uint32_t n)
{
	struct mslot_lease *rec = head, *next;
	struct iovec *iov = head->iov.many;
	bool watched = false;

	for (; n; n--, rec = next) {
		next = atomic_load_explicit(&rec->next, memory_order_relaxed);
		watched |= end(rec);
		PERTURB(LEASE_ENDED);
		give_back(rec);
	}
	mem_free(iov);
	return watched;
}

void mslot_lease_put(struct mslot_lease *lease)
{
	bool watched;
	uint32_t n;

	if (!lease)
		return;
	n = atomic_load_explicit(&lease->nsegs, memory_order_relaxed);
	if (n > 1) {
		watched = end_many(lease, n);
	} else {
		watched = end(lease);
		PERTURB(LEASE_ENDED);
		give_back(lease);
	}
	/* Neither the lease nor its map may be there any more. */
	if (watched)
		reclaimer_stir();
}
