/* SPDX-License-Identifier: MIT */
/*
 * mslot/lease.h - holding the host memory behind a guest range for I/O that outlives the
 * read section (io_uring, libaio, RDMA, a device of its own).
 *
 * A lease is taken inside a section, put by any thread when the I/O is complete, and
 * survives every commit in between (L1): the regions that it shows are not released before.
 * A hold keeps a whole snapshot and makes every later mslot_wait() wait; a lease keeps
 * memory only, costs a few nanoseconds, and is waited for only if its memory is gone from
 * the map. A commit with MSLOT_COMMIT_NOWAIT is refused where it would take a page of a lease
 * away; one that an earlier commit took is waited for all the same.
 *
 * The leases of a process are also those of a child of fork(): whoever knows them there may
 * put them. One that another thread was just taking or putting may stay.
 */
#ifndef MSLOT_LEASE_H
#define MSLOT_LEASE_H

#include <mslot/map.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mslot_lease;

/*
 * mslot_lease_take() - hold the host memory behind a guest-physical span.
 *   snap   snapshot entered or held
 *   span   what the I/O will touch; MSLOT_WRITE when it stores to guest memory
 *   tag    text naming the holder in mslot_lease_holders(); copied, cut at 23 bytes; may be
 *          NULL
 *   out    receives the lease; ended by mslot_lease_put()
 * A write lease counts as a write from now until it is put: every harvest of dirty pages in
 * between reports its pages, and the first one after the put does once more.
 * Returns 0, -ENOENT a part has no slot (MMIO), -EACCES a write meets a read-only slot,
 *   -EOVERFLOW the span wraps, -EINVAL len_bytes is 0, access unknown, or a snapshot that was
 *   never published (in a listener's prepare(), or the empty one of a replay), -ENOMEM. The
 *   first byte that fails decides between -ENOENT and -EACCES.
 * Context: inside the read section or hold. No lock and no allocation in the common case (a
 *   thread's next block of leases, and a span of several slots, need memory).
 * Lifetime: the host memory stays mapped until mslot_lease_put().
 */
MSLOT_API int mslot_lease_take(const struct mslot_snapshot *snap, const struct mslot_span *span,
			       const char *tag, struct mslot_lease **out);

/*
 * mslot_lease_iov() - the memory of a lease, ready for io_uring or a vectored read.
 *   lease   the lease
 *   n       receives the number of segments (> 0); may be NULL
 * Returns the segments in order, cut at slot edges.
 * Context: any thread. Wait-free.
 * Lifetime: the array and the memory are valid until mslot_lease_put().
 */
MSLOT_API const struct iovec *mslot_lease_iov(const struct mslot_lease *lease, size_t *n);

/*
 * mslot_lease_put() - the I/O is over.
 *   lease   the lease; NULL is allowed and does nothing
 * Context: any thread, any time, also inside read sections and callbacks. Does not wait.
 */
MSLOT_API void mslot_lease_put(struct mslot_lease *lease);

/* One lease, as reported by mslot_lease_holders(). */
struct mslot_lease_holder {
	char tag[24]; /* NUL-terminated */
	struct mslot_span span;
	uint64_t generation; /* of the snapshot that it was taken from */
	uint64_t age_ns;     /* since mslot_lease_take(), a few milliseconds coarse */
	uint32_t removed;    /* 1: a part of the span shows other memory now, or none; this is
			      * what mslot_wait() waits for */
};

/*
 * mslot_lease_holders() - who holds memory of a map, oldest generation first.
 *   map        the map
 *   out, nout  out array, entries; owned by the caller; NULL with 0 only counts
 * Returns how many leases there are; at most nout of them are written. Leases that are
 *   taken or put meanwhile may be missing or still there.
 * Context: any thread, any time. O(leases of the process).
 */
MSLOT_API size_t mslot_lease_holders(struct mslot_map *map, struct mslot_lease_holder *out,
				     size_t nout);

#ifdef __cplusplus
}
#endif

#endif /* MSLOT_LEASE_H */
