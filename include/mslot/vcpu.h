/* SPDX-License-Identifier: MIT */
/*
 * mslot/vcpu.h - vCPU handles: a thread's place in the map.
 *
 * A vCPU's section is a read section that others can ask to end. What it has beyond one:
 * its last-used slot, its dirty ring, a cache of translations (mslot/guest.h), requests (flush what
 * you cached, come out), and a kick that wakes a thread which is in guest code. Writes by
 * mslot_write() and the like inside the section count as this vCPU's.
 *
 * Who asks: mslot_wait(), the KVM calls that wait, a commit at the W5 limit, the reclaimer
 * when a region is to be released, and a commit with MSLOT_COMMIT_EXCLUSIVE, which also keeps
 * vCPUs from entering until it is done. Only the vCPUs of the map concerned are asked; a
 * wait may also have to outlast sections of others, as mslot_wait() says.
 *
 * After a fork the child has the handles of all vCPUs; those of other threads are not inside.
 */
#ifndef MSLOT_VCPU_H
#define MSLOT_VCPU_H

#include <mslot/map.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mslot_vcpu;

/* Options of mslot_vcpu_create(). */
struct mslot_vcpu_options {
	/*
	 * Make the vCPU's thread leave or poll soon (a signal, an eventfd, a flag that the
	 * interpreter looks at). Called for a vCPU that is inside, which may just have left, on
	 * the thread that asks, or on the vCPU's own when it enters while somebody waits; once
	 * until the vCPU polls or enters again. Must not call the library, nor wait for the
	 * vCPU. May be NULL: then only mslot_vcpu_pending() tells.
	 */
	void (*kick)(void *ctx);
	void *ctx;
	/*
	 * Where the entries of the vCPU's dirty ring are to be: as many bytes as
	 * mslot_ring_enable() was told, zeroed, aligned to a page of the map; for a ring that
	 * another process collects, or that is shown through a file. The caller's, who keeps it
	 * until mslot_vcpu_destroy() returned 0. NULL: the library's own memory. Not used where the
	 * map has no rings.
	 */
	void *ring_memory;
};

/*
 * mslot_vcpu_create() - a handle for one thread at a time.
 *   map   the map
 *   opt   options, or NULL for none; copied
 *   out   receives the vCPU; ended by mslot_vcpu_destroy()
 * Returns 0, -EINVAL ring_memory is not aligned, -ENOMEM.
 * Context: any thread.
 * Lifetime: until mslot_vcpu_destroy() returns 0; the map cannot be destroyed before.
 */
MSLOT_API int mslot_vcpu_create(struct mslot_map *map, const struct mslot_vcpu_options *opt,
				struct mslot_vcpu **out);

/*
 * mslot_vcpu_destroy() - end a vCPU.
 *   vcpu   the vCPU; NULL is allowed and does nothing
 * What is in its dirty ring and was not collected goes to the bitmap.
 * Returns 0, -EBUSY it is inside a section.
 * Context: any thread, also in callbacks; no other may use the vCPU during or after the call.
 */
MSLOT_API int mslot_vcpu_destroy(struct mslot_vcpu *vcpu);

/*
 * mslot_vcpu_enter() - begin the vCPU's section on the newest snapshot.
 *   vcpu   the vCPU
 *   out    receives the snapshot
 * Requests made before are answered. While an EXCLUSIVE commit is under way the call waits.
 * Sections of one vCPU nest; an inner one sees the outer one's snapshot and answers nothing.
 * Returns 0, -EDEADLK an EXCLUSIVE commit is under way and the thread is inside another
 *   section or in a listener callback, -EBUSY the thread is inside a section of another vCPU,
 *   -ENOSPC its dirty ring has no more than MSLOT_RING_RESERVED entries left; a nested section
 *   may begin even so.
 * Context: the vCPU's thread. Wait-free but for EXCLUSIVE commits, after the thread's first
 *   entry.
 * Lifetime: the snapshot, its slots and their host memory stay usable until
 *   mslot_vcpu_leave() or mslot_vcpu_poll().
 */
MSLOT_API int mslot_vcpu_enter(struct mslot_vcpu *vcpu, const struct mslot_snapshot **out);

/*
 * mslot_vcpu_enter_reserved() - begin a section although the dirty ring is as good as full.
 *   vcpu   the vCPU
 *   out    receives the snapshot
 * As mslot_vcpu_enter(), into the MSLOT_RING_RESERVED entries: to complete an instruction that an
 * exit left half done, as KVM completes I/O before it looks at the ring. Writes that find no entry
 * at all are refused as ever.
 * Returns as mslot_vcpu_enter(), but never for want of entries.
 * Context: as mslot_vcpu_enter().
 * Lifetime: as mslot_vcpu_enter().
 */
MSLOT_API int mslot_vcpu_enter_reserved(struct mslot_vcpu *vcpu, const struct mslot_snapshot **out);

/*
 * mslot_vcpu_leave() - end the vCPU's section.
 *   vcpu   the vCPU
 * Context: the thread that entered.
 */
MSLOT_API void mslot_vcpu_leave(struct mslot_vcpu *vcpu);

/*
 * mslot_vcpu_poll() - a safe point: leave and enter again.
 *   vcpu   the vCPU, entered
 *   out    receives the new snapshot
 * Every snapshot, slot and host address obtained before is dead.
 * Returns 0, -EDEADLK inside a nested section (the vCPU's own or any other) or in a listener
 *   callback, -ENOSPC as mslot_vcpu_enter(). Nothing has happened then, and the vCPU is inside
 *   still: after -ENOSPC leave it, since the reset waits for that.
 * Context: the thread that entered. Waits as mslot_vcpu_enter() does.
 */
MSLOT_API int mslot_vcpu_poll(struct mslot_vcpu *vcpu, const struct mslot_snapshot **out);

/*
 * mslot_vcpu_pending() - whether somebody has asked this vCPU to poll or leave.
 *   vcpu   the vCPU
 * Requests stay until the vCPU polls, or leaves and enters again.
 * Returns 1 or 0.
 * Context: any thread. Wait-free; one load.
 */
MSLOT_API int mslot_vcpu_pending(const struct mslot_vcpu *vcpu);

/*
 * mslot_vcpu_find() - mslot_find_hint() with the vCPU's own hint.
 *   vcpu         the vCPU, entered
 *   space, gpa   as in mslot_find()
 * Returns the slot in the section's snapshot, or NULL where there is none.
 * Context: the thread that entered. Wait-free.
 * Lifetime: until the section ends.
 */
MSLOT_API const struct mslot_slot *mslot_vcpu_find(struct mslot_vcpu *vcpu, uint32_t space,
						   uint64_t gpa);

/* ---- Dirty rings ---------------------------------------------------------- */

/*
 * With rings, a vCPU's writes to slots with MSLOT_LOG_DIRTY do not go to the bitmap of KVM's
 * calls but into the vCPU's ring, a page once until it is reset. In a round, a consumer
 *   1 collects what all rings have (mslot_vcpu_collect(), or by the entries themselves)
 *   2 resets (mslot_ring_reset())
 *   3 copies the pages collected: only now, since vCPUs may write to them until the reset
 *   4 gets the bitmap as well, with MSLOT_RING_WITH_BITMAP: writes of others than vCPUs, those
 *     told of by mslot_mark_dirty() or mslot_write_end() of a vCPU whose ring was full, and what
 *     was in the ring of a vCPU that was destroyed are there
 * That gives D1; D2 holds for all four steps together, but for pages in the ring of a vCPU that
 * is being destroyed meanwhile. Consumers of mslot_dirty_create() see all writes, with
 * rings or without. A page may be in a ring without having been written.
 */

/* Flags of mslot_ring_enable(). */
#define MSLOT_RING_WITH_BITMAP (1u << 0) /* KVM's dirty-log calls work beside the rings */

/* Entries of a ring that are kept for a section which has begun. */
#define MSLOT_RING_RESERVED 64u

/* Flags of an entry. The vCPU stores DIRTY, whoever collects it RESET, the reset 0. */
#define MSLOT_RING_DIRTY (1u << 0)
#define MSLOT_RING_RESET (1u << 1)

/* An entry of a ring, as struct kvm_dirty_gfn. */
struct mslot_ring_entry {
	uint32_t flags;  /* load it with acquire before the rest, store it with release */
	uint32_t slot;   /* space << 16 | id, when it was written; the low 16 bits of the id */
	uint64_t offset; /* in pages, in that slot */
};

/* A page that was written, whatever was committed since. */
struct mslot_ring_page {
	struct mslot_key key; /* through which slot it was written */
	uint64_t gpa;         /* and where, then */
	/*
	 * Of the host page. It names the page and keeps nothing: where memory may leave the map,
	 * look it up (mslot_find_hva()) in the section that copies it.
	 */
	uint64_t hva;
};

/*
 * mslot_ring_enable() - give the vCPUs of a map dirty rings.
 *   map          the map
 *   ring_bytes   of each: a power of two, at least a page of the map and the reserved entries
 *   flags        MSLOT_RING_WITH_BITMAP or 0
 * Once, and before the first vCPU.
 * Returns 0, -EINVAL ring_bytes or unknown flags, -E2BIG more than 65536 entries, -EBUSY the map
 *   has rings or vCPUs, -ENOMEM, -EDEADLK inside a read section, in a listener callback or in
 *   a release callback.
 * Context: any thread. Waits for harvests in progress.
 */
MSLOT_API int mslot_ring_enable(struct mslot_map *map, uint64_t ring_bytes, uint32_t flags);

/*
 * mslot_vcpu_ring() - the entries of a vCPU's ring, for whoever reads them as KVM's.
 *   vcpu      the vCPU
 *   entries   receives the first one; page aligned
 * A ring is read either here, from the first entry on and around, or by mslot_vcpu_collect().
 * Returns the number of entries, -ENXIO the map has no rings.
 * Context: any thread.
 * Lifetime: until mslot_vcpu_destroy() returns 0.
 */
MSLOT_API int mslot_vcpu_ring(struct mslot_vcpu *vcpu, struct mslot_ring_entry **entries);

/*
 * mslot_vcpu_collect() - take what a vCPU's ring has.
 *   vcpu   the vCPU
 *   out    receives pages, the oldest first
 *   n      room at out
 * Copy the pages after mslot_ring_reset().
 * Returns the number of pages (0 when the ring is empty), -ENXIO the map has no rings.
 * Context: one thread at a time a ring, also while the vCPU runs. Wait-free.
 */
MSLOT_API int mslot_vcpu_collect(struct mslot_vcpu *vcpu, struct mslot_ring_page *out, size_t n);

/*
 * mslot_ring_reset() - make room of the entries that were collected, in all rings of a map.
 *   map   the map
 * Entries of slots that are gone or changed are reset as all others. When it returns, sections
 * in which a vCPU may have written to one of these pages without pushing it have ended.
 * Returns the number of entries, -ENXIO the map has no rings, -EDEADLK inside a read section,
 *   in a listener callback or in a release callback.
 * Context: any thread. Asks vCPUs and waits for read sections if there were any entries.
 */
MSLOT_API int64_t mslot_ring_reset(struct mslot_map *map);

/* ---- The translation cache ------------------------------------------------ */

/* What the inline functions of mslot/guest.h look at; for nobody else. */

#define MSLOT_TLB_ENTRIES 256u

/* One page. A tag is the page's address with the cache's epoch in the bits below a page. */
struct mslot_tlb_entry {
	uint64_t read_tag;  /* as is, for reads */
	uint64_t write_tag; /* and for writes: they were marked when it was filled in */
	uint64_t addend;    /* address + addend = host address */
	uint64_t reserved;
};

/* How a vCPU begins. */
struct mslot_vcpu_head {
	uint64_t epoch;     /* below a page; never 0 */
	uint64_t page_mask; /* of an address's bits above a page */
	uint32_t page_shift;
	uint32_t entry_shift; /* what is left of a page number then is an offset in tlb[] */
	uint64_t reserved[5];
	struct mslot_tlb_entry tlb[MSLOT_TLB_ENTRIES];
};

#ifdef __cplusplus
}
#endif

#endif /* MSLOT_VCPU_H */
