/* SPDX-License-Identifier: MIT */
/*
 * mslot/map.h - the guest memory map: regions, slots, snapshots and the read side.
 *
 * A map holds 1 to 16 address spaces. Its content is an immutable snapshot;
 * transactions (mslot/txn.h) publish the next one with a single store. Readers
 * bracket their work with mslot_enter() and mslot_leave(), or keep a snapshot
 * for as long as they like with mslot_hold().
 *
 * Conventions of every function here: errors are negative errno values, outputs
 * are untouched on failure, and the library never prints, exits or sets errno.
 * "Read section" means between mslot_enter() and mslot_leave() on one thread.
 */
#ifndef MSLOT_MAP_H
#define MSLOT_MAP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MSLOT_API __attribute__((visibility("default")))
/* In front of the declaration of what is defined in a header. */
#define MSLOT_INLINE static inline

struct mslot_map;
struct mslot_snapshot;
struct mslot_slot;
struct mslot_region;
struct mslot_hold;

/* Limits that are part of the design, not options. */
#define MSLOT_MAX_SPACES 16u                           /* spaces of a map */
#define MSLOT_MAX_SLOT_PAGES ((UINT64_C(1) << 31) - 1) /* pages of a slot */
#define MSLOT_DEFAULT_USER_SLOTS 32764u                /* max_user_slots if it is given as 0 */
#define MSLOT_MAX_USER_SLOTS (UINT32_C(1) << 31)       /* max_user_slots at most */

/* Slot flags; the values are those of <linux/kvm.h>. */
#define MSLOT_LOG_DIRTY (1u << 0)   /* KVM_MEM_LOG_DIRTY_PAGES */
#define MSLOT_READONLY (1u << 1)    /* KVM_MEM_READONLY: guest writes are refused */
#define MSLOT_GUEST_MEMFD (1u << 2) /* set only by the KVM entry points */

/* ---- Map ---------------------------------------------------------------- */

/* Vector instructions of lookups; every choice gives the same answers. */
enum mslot_simd {
	MSLOT_SIMD_BEST = 0, /* the widest that the processor has */
	MSLOT_SIMD_SCALAR = 1,
	MSLOT_SIMD_AVX2 = 2,
	MSLOT_SIMD_AVX512 = 3,
};

/*
 * Options of mslot_map_create(). A zero in any field means its default, so
 * `(struct mslot_map_options){0}` is a KVM-like map of one space.
 */
struct mslot_map_options {
	uint32_t page_shift;          /* 12, 14 or 16; default 12 */
	uint32_t nspaces;             /* 1 to 16; default 1 */
	uint32_t max_user_slots;      /* ids 0..n-1 of a space are user slots, 1 to 2^31;
				       * default 32764; ids at or above n are private */
	uint32_t max_edits;           /* edits a transaction may hold, at most 2^31 - 1;
				       * default 2^20 */
	uint64_t max_slots;           /* slots a space may hold, private ones included;
				       * default 2^32 (no further limit) */
	uint64_t max_pages;           /* pages all slots together may have;
				       * default 2^64 - 1 (no further limit) */
	uint64_t gpa_limit;           /* first guest-physical byte no slot may reach, page
				       * aligned; default 2^52 */
	uint64_t hva_limit;           /* first host byte no slot may reach, page aligned;
				       * default 0x7ffffffff000, less with larger pages */
	uint64_t retired_limit_bytes; /* W5: retired memory at which a commit waits for
				       * readers; default 4 MiB; at least 64 KiB */
	uint32_t simd;                /* widest vector instructions that lookups may use, one
				       * of enum mslot_simd; less where the processor has less */
};

/*
 * mslot_map_create() - an empty map of generation 0.
 *   opt   options, or NULL for all defaults; copied
 *   out   receives the map; owned by the caller, ended by mslot_map_destroy()
 * Returns 0, -EINVAL an option out of range, -ENOMEM, -EAGAIN the reclaimer
 *   thread cannot be started.
 * Context: any thread.
 * Lifetime: until mslot_map_destroy() returns 0.
 */
MSLOT_API int mslot_map_create(const struct mslot_map_options *opt, struct mslot_map **out);

/*
 * mslot_map_destroy() - end a map and drop its references to regions.
 *   map   the map; NULL is allowed and does nothing
 * Returns 0, -EBUSY while a hold, a lease, a listener, a vCPU, a consumer of dirty pages or a
 *   final harvest exists, -EDEADLK inside a read section, in a listener callback of any map or
 *   in a release callback. After an error the map is as before.
 * Context: any thread; waits for read sections. No other thread may use the map
 *   during or after the call.
 * Lifetime: regions that only this map reached have been released on return.
 */
MSLOT_API int mslot_map_destroy(struct mslot_map *map);

/*
 * mslot_map_options_get() - the options in force, defaults filled in.
 *   map   the map
 *   out   receives a copy
 * Context: any thread, any time. Wait-free.
 */
MSLOT_API void mslot_map_options_get(const struct mslot_map *map, struct mslot_map_options *out);

/* Counters of mslot_map_stats_get(). Bytes are bytes, counts are counts. */
struct mslot_map_stats {
	uint64_t generation;      /* generation of the published snapshot */
	uint64_t commits;         /* effective commits since creation (= generation) */
	uint64_t reachable_bytes; /* snapshot, slots and index nodes of the published one */
	uint64_t retired_bytes;   /* retired, waiting for a grace period: bounded by W5 */
	uint64_t held_bytes;      /* retired, pinned by holds */
	uint64_t pool_bytes;      /* all memory of the map's node pools, slack included */
	uint64_t grace_waits;     /* commits that had to wait for readers at the W5 limit */
	uint64_t holds;           /* holds that exist */
	uint64_t listeners;       /* listeners that exist */
	uint64_t leases;          /* leases that are not put */
	uint64_t vcpus;           /* vCPUs that exist */
	uint64_t log_bytes;       /* dirty bitmaps, each once, of all that is reachable or held:
				   * address space, of which clean parts take no memory */
};

/*
 * mslot_map_stats_get() - read the counters.
 *   map   the map
 *   out   receives the counters, consistent with one moment between commits
 * Returns 0, -EDEADLK in a listener callback.
 * Context: any thread; takes the writer mutex for a moment; never waits for readers.
 */
MSLOT_API int mslot_map_stats_get(struct mslot_map *map, struct mslot_map_stats *out);

/*
 * mslot_check_map() - verify every invariant of a map.
 *   map   the map
 *   why   receives a static text naming the first broken invariant; may be NULL
 * Walks the published snapshot, the node pools and the retirement queues; for tests and
 * for the suspicious.
 * Returns 0, -EUCLEAN an invariant is broken, -EDEADLK in a listener callback.
 * Context: any thread; takes the writer mutex; O(slots).
 */
MSLOT_API int mslot_check_map(struct mslot_map *map, const char **why);

/* ---- Regions ------------------------------------------------------------ */

/*
 * Host memory lent to maps. `release` is called exactly once (L2), on the
 * reclaimer thread with no lock held, when no snapshot reaches the region any
 * more, no lease holds its memory and its creator has put it; it may commit transactions and create
 * or put regions, but mslot_wait() and mslot_map_destroy() return -EDEADLK there. One thread makes
 * these calls for the whole process, in turn: a slow callback delays the others, and with them
 * mslot_wait() and mslot_map_destroy() of every map. Its signals are blocked, but for those that an
 * access raises (SIGSEGV, SIGBUS ...).
 */
struct mslot_region_options {
	void *hva;          /* first byte; aligned to the page size of the maps that use it */
	uint64_t len_bytes; /* > 0; hva + len_bytes must not wrap */
	int fd;             /* file behind the memory, or -1; lent, never closed here */
	uint64_t fd_offset; /* offset of hva in fd */
	void (*release)(void *ctx, const struct mslot_region_options *opt); /* may be NULL */
	void *ctx;                                                          /* given to release */
};

/*
 * mslot_region_create() - describe host memory for slots to show.
 *   opt   the memory; copied
 *   out   receives the region, with one reference owned by the caller
 * Returns 0, -EINVAL zero or wrapping length, -ENOMEM, -EAGAIN the reclaimer
 *   thread cannot be started.
 * Context: any thread. A region may serve several maps.
 * Lifetime: until released; the caller's reference ends with mslot_region_put().
 */
MSLOT_API int mslot_region_create(const struct mslot_region_options *opt,
				  struct mslot_region **out);

/*
 * mslot_region_put() - drop the creator's reference.
 *   region   the region; NULL is allowed and does nothing
 * Slots that show the region keep it alive; `release` runs after the last of
 * them can no longer be reached.
 * Context: any thread, any time, also inside read sections and callbacks. Does not wait.
 */
MSLOT_API void mslot_region_put(struct mslot_region *region);

/*
 * mslot_region_options_get() - what the region was created with.
 *   region   a region that is alive: the caller's own, or one seen in a read section
 *   out      receives a copy
 * Context: any thread. Wait-free.
 */
MSLOT_API void mslot_region_options_get(const struct mslot_region *region,
					struct mslot_region_options *out);

/* ---- Read side ---------------------------------------------------------- */

/*
 * mslot_fence_readers() - waits without system calls, for sections with fences.
 * As a rule a section costs no fence, and whoever waits for readers calls the system twice, which
 * interrupts all CPUs that run threads of the process: some 10 us each time where CPUs are
 * virtual. After this call each section costs two fences (some 10 ns), and a wait takes as long
 * as the sections do. For processes whose readers are vCPUs above all, which enter rarely and
 * are asked out by each DELETE and MOVE. Holds for the whole process, other users of liburcu's
 * bulletproof flavour in it included, and for good.
 * Returns 0 (also the second time), -EBUSY there is a map.
 * Context: any thread, before the first map; no other thread may wait for readers of that flavour.
 */
MSLOT_API int mslot_fence_readers(void);

/*
 * mslot_thread_init() - do a thread's one-time registration now.
 * The first mslot_enter() of a thread does it otherwise; real-time threads call
 * this first so that every later mslot_enter() is wait-free (R4). Undone by the
 * thread's exit.
 * Returns 0.
 * Context: any thread, any number of times.
 */
MSLOT_API int mslot_thread_init(void);

/*
 * mslot_enter() - begin a read section on the newest snapshot.
 *   map   the map
 * Returns the snapshot; never NULL.
 * Context: any thread; sections nest, and a nested one may see a newer snapshot.
 *   Wait-free after the thread's first entry (R4).
 * Lifetime: the snapshot, its slots and their host memory stay usable until the
 *   matching mslot_leave() (R3).
 */
MSLOT_API const struct mslot_snapshot *mslot_enter(struct mslot_map *map);

/*
 * mslot_leave() - end a read section.
 *   snap   what mslot_enter() returned
 * Context: the thread that entered. Wait-free.
 */
MSLOT_API void mslot_leave(const struct mslot_snapshot *snap);

/*
 * mslot_hold() - keep a snapshot beyond the read section.
 *   snap   a snapshot entered by the caller or held already
 *   tag    text naming the holder in mslot_holders(); copied, cut at 31 bytes; may be NULL
 *   out    receives the hold; owned by the caller, ended by mslot_hold_put()
 * Returns 0, -ENOMEM, -EINVAL a snapshot that was never published (in a listener's
 *   prepare(), or the empty one of a replay).
 * Context: inside a read section on snap, or while another hold on it exists.
 * Lifetime: the snapshot, its slots and their host memory stay usable until
 *   mslot_hold_put(). A hold pins only the nodes alive in it (W5), and
 *   mslot_wait() for a later generation waits for it.
 */
MSLOT_API int mslot_hold(const struct mslot_snapshot *snap, const char *tag,
			 struct mslot_hold **out);

/*
 * mslot_hold_snapshot() - the snapshot that a hold keeps.
 *   hold   the hold
 * Returns the snapshot.
 * Context: any thread. Wait-free.
 * Lifetime: usable until mslot_hold_put().
 */
MSLOT_API const struct mslot_snapshot *mslot_hold_snapshot(const struct mslot_hold *hold);

/*
 * mslot_hold_put() - end a hold.
 *   hold   the hold; NULL is allowed and does nothing
 * Context: any thread, any time, also inside read sections and callbacks. Does not
 *   wait for readers.
 */
MSLOT_API void mslot_hold_put(struct mslot_hold *hold);

/* One hold, as reported by mslot_holders(). */
struct mslot_holder {
	char tag[32];        /* NUL-terminated */
	uint64_t generation; /* of the held snapshot */
	uint64_t age_ns;     /* since mslot_hold() */
};

/*
 * mslot_holders() - who holds snapshots, oldest generation first.
 *   map        the map
 *   out, nout  out array, entries; owned by the caller; NULL with 0 only counts
 * Returns how many holds exist; at most nout of them are written.
 * Context: any thread, any time.
 */
MSLOT_API size_t mslot_holders(struct mslot_map *map, struct mslot_holder *out, size_t nout);

/*
 * mslot_wait() - wait until what a commit removed can no longer be reached.
 *   map         the map
 *   generation  a generation that has been published
 *   timeout_ns  < 0 waits for ever, 0 only looks
 * On success no read section, no hold and no lease can reach anything that a commit of
 * this generation or an earlier one removed, and the `release` callbacks that
 * this caused have returned. The vCPUs of the map are asked to leave or poll. Of leases only
 * those are waited for that were taken from an older snapshot and whose memory the current one
 * does not show at the same guest addresses any more: splits, merges, other flags and other ids
 * take nothing away.
 * Returns 0, -ETIMEDOUT something can still be reached (mslot_holders() says who holds, and
 *   mslot_lease_holders() who leases),
 *   -EINVAL generation not published yet, -EDEADLK inside a read section, in a listener
 *   callback of any map or in a release callback.
 * Context: any thread; may sleep. Grace periods queue, so the call may also outlast
 *   sections that began after it: no section may wait for a thread that waits here.
 */
MSLOT_API int mslot_wait(struct mslot_map *map, uint64_t generation, int64_t timeout_ns);

/* ---- Looking at a snapshot ---------------------------------------------- */

/* A slot's name: unique in a snapshot. */
struct mslot_key {
	uint32_t space; /* 0 .. nspaces-1 */
	uint32_t id;
};

/* A slot's content. */
struct mslot_slot_info {
	struct mslot_key key;
	uint64_t gpa;                /* first guest-physical byte */
	uint64_t len_bytes;          /* multiple of the page size */
	uint64_t hva;                /* host address of gpa: region's hva + offset_bytes */
	uint64_t offset_bytes;       /* of gpa in the region */
	struct mslot_region *region; /* borrowed */
	uint32_t flags;              /* MSLOT_LOG_DIRTY, MSLOT_READONLY, MSLOT_GUEST_MEMFD */
	uint32_t is_private;         /* 1 for an id at or above max_user_slots */
};

/*
 * mslot_slot_info_get() - read a slot.
 *   slot   a slot found in a snapshot that is still entered or held
 *   out    receives a copy; out->region is borrowed from the snapshot
 * Context: inside the read section or hold. Wait-free.
 */
MSLOT_API void mslot_slot_info_get(const struct mslot_slot *slot, struct mslot_slot_info *out);

/*
 * mslot_snapshot_generation() - how many effective commits preceded the snapshot.
 *   snap   snapshot entered or held
 * Returns the number; 0 for a map that never changed.
 * Context: inside the read section or hold. Wait-free.
 */
MSLOT_API uint64_t mslot_snapshot_generation(const struct mslot_snapshot *snap);

/*
 * mslot_snapshot_nslots() - slots in one space of the snapshot.
 *   snap    snapshot entered or held
 *   space   the space
 * Returns the number; 0 for a space that does not exist.
 * Context: inside the read section or hold. Wait-free.
 */
MSLOT_API uint64_t mslot_snapshot_nslots(const struct mslot_snapshot *snap, uint32_t space);

/*
 * mslot_snapshot_npages() - pages of all slots of all spaces.
 *   snap   snapshot entered or held
 * Returns the number.
 * Context: inside the read section or hold. Wait-free.
 */
MSLOT_API uint64_t mslot_snapshot_npages(const struct mslot_snapshot *snap);

/*
 * A caller-owned memory of the last slot found. Zero-initialise; one thread at a
 * time; usable with any map and any snapshot, because it is keyed by a serial
 * number that no two snapshots of a process share.
 */
struct mslot_hint {
	uint64_t serial; /* of the snapshot; what follows is valid in that one only */
	const struct mslot_slot *slot;
	uint64_t gpa; /* of the slot, like the next two */
	uint64_t len_bytes;
	uint32_t space;
};

/* How a snapshot begins: for mslot_hint_slot() alone. */
struct mslot_snapshot_head {
	uint64_t reserved[2];
	uint64_t serial;
};

/*
 * mslot_hint_slot() - the slot that a hint remembers, if it has an address. Inline.
 *   snap, space, gpa   as in mslot_find()
 *   hint               the caller's
 * Returns the slot, or NULL: the hint does not tell, which does not mean that there is none.
 * Context, Lifetime: as mslot_find().
 */
MSLOT_INLINE const struct mslot_slot *mslot_hint_slot(const struct mslot_snapshot *snap,
						      uint32_t space, uint64_t gpa,
						      const struct mslot_hint *hint);

static inline const struct mslot_slot *mslot_hint_slot(const struct mslot_snapshot *snap,
						       uint32_t space, uint64_t gpa,
						       const struct mslot_hint *hint)
{
	const struct mslot_snapshot_head *head =
	    (const struct mslot_snapshot_head *)(const void *)snap;

	/* The serial too: the slot of another snapshot may be gone. */
	return hint->serial == head->serial && gpa - hint->gpa < hint->len_bytes &&
		       hint->space == space
		   ? hint->slot
		   : NULL;
}

/*
 * mslot_find() - the slot at a guest-physical address.
 *   snap    snapshot entered or held
 *   space   the space
 *   gpa     guest-physical byte address; need not be aligned
 * Returns the slot, or NULL where there is none (MMIO) or no such space.
 * Context: inside the read section or hold. Wait-free.
 * Lifetime: the slot is usable until the section or hold ends (R3).
 */
MSLOT_API const struct mslot_slot *mslot_find(const struct mslot_snapshot *snap, uint32_t space,
					      uint64_t gpa);

/*
 * mslot_find_hint() - the slot at a guest-physical address, by way of the last one found.
 *   snap, space, gpa   as in mslot_find()
 *   hint               the caller's; updated when a slot is found
 * Returns, Context, Lifetime: as mslot_find(). mslot_hint_slot() first saves the call.
 */
MSLOT_API const struct mslot_slot *mslot_find_hint(const struct mslot_snapshot *snap,
						   uint32_t space, uint64_t gpa,
						   struct mslot_hint *hint);

/*
 * mslot_find_id() - the slot with a given name.
 *   snap   snapshot entered or held
 *   key    space and id
 * Returns the slot, or NULL where there is none.
 * Context: inside the read section or hold. Wait-free.
 * Lifetime: as mslot_find().
 */
MSLOT_API const struct mslot_slot *mslot_find_id(const struct mslot_snapshot *snap,
						 struct mslot_key key);

/*
 * mslot_find_hva() - the slots that show a host byte.
 *   snap            snapshot entered or held
 *   hva             host address; need not be aligned
 *   slots, nslots   out array, entries; owned by the caller; NULL with 0 only counts
 * The slots of all spaces, by rising (first host byte, space, id). For a range of bytes
 * see mslot_iter_hva().
 * Returns how many slots there are; at most nslots of them are written.
 * Context: inside the read section or hold. Wait-free.
 * Lifetime: as mslot_find().
 */
MSLOT_API size_t mslot_find_hva(const struct mslot_snapshot *snap, uint64_t hva,
				const struct mslot_slot **slots, size_t nslots);

/* Where to look when no slot covers the address. */
enum mslot_nearest {
	MSLOT_AT_OR_BELOW, /* the slot at gpa, else the last one that ends at or below it */
	MSLOT_AT_OR_ABOVE, /* the slot at gpa, else the first one that starts above it */
};

/*
 * mslot_find_nearest() - the slot at an address or its neighbour.
 *   snap, space, gpa   as in mslot_find()
 *   which              the side to look at when no slot covers gpa
 * Returns the slot, or NULL where there is none on that side.
 * Context: inside the read section or hold. Wait-free.
 * Lifetime: as mslot_find().
 */
MSLOT_API const struct mslot_slot *mslot_find_nearest(const struct mslot_snapshot *snap,
						      uint32_t space, uint64_t gpa,
						      enum mslot_nearest which);

/* An iteration in progress. Opaque; the caller's memory; needs no end call. */
struct mslot_iter {
	uint64_t opaque[80];
};

/* A range of bytes; len_bytes 0 is empty; a range that wraps is cut at 2^64. */
struct mslot_range {
	uint64_t start;
	uint64_t len_bytes;
};

/*
 * mslot_iter_gpa() - start iterating over slots that touch a guest-physical range.
 *   iter    the caller's; overwritten
 *   snap    snapshot entered or held
 *   space   the space
 *   range   guest-physical bytes; {0, UINT64_MAX} covers all
 * mslot_iter_next() then returns the slots by rising gpa.
 * Context: inside the read section or hold. Wait-free.
 */
MSLOT_API void mslot_iter_gpa(struct mslot_iter *iter, const struct mslot_snapshot *snap,
			      uint32_t space, struct mslot_range range);

/*
 * mslot_iter_hva() - start iterating over slots that show a host range.
 *   iter    the caller's; overwritten
 *   snap    snapshot entered or held
 *   range   host bytes
 * mslot_iter_next() then returns every slot of every space that overlaps the
 * range, by rising (hva, space, id). To find the slots at one address use a
 * range of one byte.
 * Context: inside the read section or hold. Wait-free.
 */
MSLOT_API void mslot_iter_hva(struct mslot_iter *iter, const struct mslot_snapshot *snap,
			      struct mslot_range range);

/*
 * mslot_iter_next() - the next slot of an iteration.
 *   iter   started by mslot_iter_gpa() or mslot_iter_hva()
 * Returns the slot, or NULL at the end (and ever after).
 * Context: inside the read section or hold. Wait-free.
 * Lifetime: as mslot_find().
 */
MSLOT_API const struct mslot_slot *mslot_iter_next(struct mslot_iter *iter);

/* ---- Translation -------------------------------------------------------- */

/* What is going to be done with guest memory. */
enum mslot_access {
	MSLOT_READ = 0,
	MSLOT_WRITE = 1,
};

/* A guest-physical span to access. */
struct mslot_span {
	uint32_t space;
	enum mslot_access access;
	uint64_t gpa;       /* need not be aligned */
	uint64_t len_bytes; /* > 0; gpa + len_bytes <= 2^64 */
};

/*
 * mslot_translate() - host segments for a guest-physical span.
 *   snap       snapshot entered or held
 *   span       what to translate
 *   seg, nseg  out array, entries; owned by the caller
 * Segments are in order and are cut at slot edges, nowhere else.
 * Returns the number of segments (> 0), -ENOENT a part has no slot (MMIO), -EACCES a write
 *   meets a read-only slot, -ENOSPC nseg too small, -EOVERFLOW the span wraps,
 *   -EINVAL len_bytes is 0 or access unknown. The first byte that fails decides
 *   between -ENOENT, -EACCES and -ENOSPC. A space that does not exist has no slots.
 * Context: inside the read section or hold. Wait-free; no allocation; no system call.
 * Lifetime: seg[].iov_base is valid until the section or hold ends (R3).
 */
MSLOT_API int mslot_translate(const struct mslot_snapshot *snap, const struct mslot_span *span,
			      struct iovec *seg, size_t nseg);

/* ---- Showing a snapshot ------------------------------------------------- */

/*
 * mslot_dump() - a snapshot as text, one line a slot.
 *   snap    snapshot entered or held
 *   write   receives one whole line a call, newline included; nonzero stops the dump
 *   ctx     given to write
 * The text is a trace, which `mslot replay` and `mslot map` read (mslot(1)): two comment
 * lines, then an ADD request for each slot by rising (space, gpa), all of one group; the
 * host address is a number. Private slots and those with MSLOT_GUEST_MEMFD, which a trace
 * cannot ask for, are lines of the same fields behind the comment marks "#private " and
 * "#guest_memfd ". Equal slots make equal text. (A trace holds ids up to 65535, and the
 * command's map has the default limits.)
 * Returns 0, or what write returned if that was not 0.
 * Context: inside the read section or hold; write runs in it. No allocation; no system
 *   call but those of write.
 */
MSLOT_API int mslot_dump(const struct mslot_snapshot *snap,
			 int (*write)(void *ctx, const char *text, size_t len_bytes), void *ctx);

#ifdef __cplusplus
}
#endif

#endif /* MSLOT_MAP_H */
