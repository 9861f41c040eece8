/* SPDX-License-Identifier: MIT */
/*
 * mslot/access.h - reading and writing guest memory through a snapshot.
 *
 * Buffers that cross adjacent slots are ordinary. A transfer that meets a hole or
 * a read-only slot transfers nothing. What is written to slots whose dirty pages are logged
 * (mslot/dirty.h) is marked. Inside a vCPU's section of a map with dirty rings (mslot/vcpu.h)
 * what writes returns -ENOSPC, having written nothing, when the ring has no room for the pages
 * that are in no ring yet. The library does not catch host faults: the
 * host memory of a region must be mapped (readable, and writable for writes).
 */
#ifndef MSLOT_ACCESS_H
#define MSLOT_ACCESS_H

#include <mslot/map.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A guest-physical address in a space. */
struct mslot_addr {
	uint32_t space;
	uint64_t gpa;
};

/*
 * mslot_read() - copy guest memory into a buffer.
 *   snap        snapshot entered or held
 *   from        guest address; need not be aligned
 *   buf         receives len_bytes bytes
 *   len_bytes   0 is allowed and does nothing
 * Naturally aligned transfers of 1, 2, 4 or 8 bytes are single-copy atomic.
 * Returns 0, -ENOENT a part has no slot, -EOVERFLOW the span wraps. Nothing is
 *   copied after an error.
 * Context: inside the read section or hold. No allocation; no system call.
 */
MSLOT_API int mslot_read(const struct mslot_snapshot *snap, struct mslot_addr from, void *buf,
			 size_t len_bytes);

/*
 * mslot_write() - copy a buffer into guest memory.
 *   snap        as in mslot_read()
 *   to          guest address; need not be aligned
 *   buf         the bytes
 *   len_bytes   0 is allowed and does nothing
 * Naturally aligned transfers of 1, 2, 4 or 8 bytes are single-copy atomic.
 * Returns 0, -ENOENT a part has no slot, -EACCES a part is read-only, -EOVERFLOW
 *   the span wraps, -ENOSPC the vCPU's dirty ring is full. Nothing is written after an error.
 * Context: inside the read section or hold. No allocation; no system call.
 */
MSLOT_API int mslot_write(const struct mslot_snapshot *snap, struct mslot_addr to, const void *buf,
			  size_t len_bytes);

/*
 * mslot_copy() - copy guest memory to guest memory.
 *   snap        snapshot entered or held
 *   to, from    guest addresses, also of two spaces
 *   len_bytes   0 is allowed and does nothing
 * Ranges of one space may overlap, as in memmove(); where two slots show the same
 * host memory, the result of a copy between them that overlaps in host memory but
 * not in gpa is a mix of old and new bytes.
 * Returns 0, -ENOENT a part of either has no slot, -EACCES a part of `to` is read-only,
 *   -EOVERFLOW a span wraps, -ENOSPC as mslot_write(). What is wrong with `from` wins. Nothing
 *   is copied after an error.
 * Context: inside the read section or hold. No allocation; no system call.
 */
MSLOT_API int mslot_copy(const struct mslot_snapshot *snap, struct mslot_addr to,
			 struct mslot_addr from, uint64_t len_bytes);

/*
 * mslot_clear() - zero guest memory.
 *   snap, to    as in mslot_write()
 *   len_bytes   0 is allowed and does nothing
 * Returns, Context: as mslot_write().
 */
MSLOT_API int mslot_clear(const struct mslot_snapshot *snap, struct mslot_addr to,
			  uint64_t len_bytes);

/*
 * mslot_load() - atomic load (sequentially consistent).
 *   snap         as in mslot_read()
 *   from         guest address; naturally aligned
 *   size_bytes   1, 2, 4 or 8
 *   val          receives the value, zero-extended
 * Returns 0, -EINVAL a wrong size or alignment, -ENOENT no slot.
 * Context: inside the read section or hold.
 */
MSLOT_API int mslot_load(const struct mslot_snapshot *snap, struct mslot_addr from,
			 unsigned int size_bytes, uint64_t *val);

/*
 * mslot_store() - atomic store (sequentially consistent).
 *   snap         as in mslot_read()
 *   to           guest address; naturally aligned
 *   size_bytes   1, 2, 4 or 8
 *   val          the value; higher bytes are ignored
 * Returns 0, -EINVAL a wrong size or alignment, -ENOENT no slot, -EACCES a read-only slot,
 *   -ENOSPC as mslot_write().
 * Context: inside the read section or hold.
 */
MSLOT_API int mslot_store(const struct mslot_snapshot *snap, struct mslot_addr to,
			  unsigned int size_bytes, uint64_t val);

/*
 * mslot_cmpxchg() - atomic compare and exchange (sequentially consistent).
 *   snap         as in mslot_read()
 *   at           guest address; naturally aligned
 *   size_bytes   1, 2, 4 or 8
 *   expected     in: the value to find, higher bytes ignored; out: the value found,
 *                zero-extended, whether it was exchanged or not
 *   desired      the value to store if it was found
 * Returns 1 if exchanged, 0 if not, -EINVAL a wrong size or alignment, -ENOENT no slot,
 *   -EACCES a read-only slot, -ENOSPC as mslot_write().
 * Context: inside the read section or hold.
 */
MSLOT_API int mslot_cmpxchg(const struct mslot_snapshot *snap, struct mslot_addr at,
			    unsigned int size_bytes, uint64_t *expected, uint64_t desired);

/* ---- Dirty marks --------------------------------------------------------- */

/*
 * mslot_mark_dirty() - tell that guest memory was written through host addresses.
 *   snap        snapshot entered or held, from which the addresses came
 *   at          first guest-physical byte written
 *   len_bytes   0 is allowed and does nothing
 * Call it after the stores and in the same read section; parts without a slot or without
 * logging are passed over.
 * Context: inside the read section or hold. No lock; no allocation; no system call.
 */
MSLOT_API void mslot_mark_dirty(const struct mslot_snapshot *snap, struct mslot_addr at,
				uint64_t len_bytes);

/*
 * mslot_write_begin() - host segments that the caller is going to write.
 *   snap, seg, nseg   as in mslot_translate()
 *   span              what will be written; its access is taken as MSLOT_WRITE
 * Returns as mslot_translate(). Nothing needs to be undone if mslot_write_end() is not called.
 * Context, Lifetime: as mslot_translate().
 */
MSLOT_API int mslot_write_begin(const struct mslot_snapshot *snap, const struct mslot_span *span,
				struct iovec *seg, size_t nseg);

/*
 * mslot_write_end() - the segments of mslot_write_begin() have been written.
 *   snap, span   as given there; the span may be cut to what was written
 * Context: as mslot_mark_dirty(): after the stores, in the same read section.
 */
MSLOT_API void mslot_write_end(const struct mslot_snapshot *snap, const struct mslot_span *span);

#ifdef __cplusplus
}
#endif

#endif /* MSLOT_ACCESS_H */
