/* SPDX-License-Identifier: MIT */
/*
 * mslot/mmu.h - software translation tables: roots, faults, zaps, reverse maps.
 *
 * An MMU is a listener of a map that turns slots into translations. A root is a page table: a
 * direct one is keyed by guest-physical address, a shadow one by an address that only the
 * caller can translate (guest-virtual, I/O-virtual). mslot_fault() fills a root with what the
 * slots say; commits, zaps and host invalidations take it out again. What every translation is
 * guaranteed:
 * T1: after a commit and mslot_wait(), no vCPU and no root reaches a page that was removed or
 *   remapped.
 * T2: a page whose translation and permission did not change keeps its entries: no fault, and no
 *   vCPU is asked to forget anything. Split, merge, renumber, grow and flags that loosen cost
 *   nothing. (Only when memory runs out in the middle of a commit may a large leaf, of which a
 *   part was removed, be lost as a whole; with slot bitmaps everything, where a slot of another
 *   number took pages over.)
 * T3: no lock is MMU-wide: a fault takes the lock of one frame, a zap of one frame at a time. (The
 *   queue of the page budget is common: faults beyond the budget, and who retires tables, lock it
 *   for a moment.)
 *
 * Leaves map 1 page, 512 pages (2 MiB) or 512 * 512 pages (1 GiB): the large ones where guest and
 * host address are congruent, one slot covers the unit and it is not logged.
 *
 * Writes. A leaf says "writable" only where a write needs no one's knowledge. Elsewhere (a logged
 * slot, a page protected by mslot_write_protect()) each fault for writing asks the slot, marks the
 * page dirty, and lets the vCPU's own cache write to this page until the next request to flush;
 * so logging that begins or ends changes permissions, never the shape of a table, and a harvest has
 * no entries to protect again. See docs/decisions/0009.
 *
 * Forms. With reverse maps, each frame lists the leaves that map it. Without
 * (MSLOT_MMU_SLOT_BITMAPS), each table has a bitmap of the slots that it maps: less memory, dearer
 * zaps. Both give the same answers.
 *
 * "Section" means a vCPU's section (mslot/vcpu.h).
 */
#ifndef MSLOT_MMU_H
#define MSLOT_MMU_H

#include <mslot/access.h>
#include <mslot/vcpu.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mslot_mmu;
struct mslot_root;

/* ---- MMUs --------------------------------------------------------------- */

enum mslot_mmu_form {
	MSLOT_MMU_REVERSE_MAPS = 0,
	MSLOT_MMU_SLOT_BITMAPS = 1,
};

/* Options of mslot_mmu_create(). A zero in any field means its default. */
struct mslot_mmu_options {
	enum mslot_mmu_form form;
	uint32_t max_leaf_level; /* 1: single pages; 2: 512 pages too; 3 (default): 512 * 512 too */
	uint64_t max_tables;     /* as mslot_mmu_limit_set() */
};

/*
 * mslot_mmu_create() - software translation tables for a map.
 *   map   the map
 *   opt   options, or NULL for all defaults; copied
 *   out   receives the MMU; ended by mslot_mmu_destroy()
 * Returns 0, -EINVAL an option out of range, -ENOMEM, -EDEADLK in a listener callback of this map.
 * Context: any thread.
 * Lifetime: until mslot_mmu_destroy() returns 0; the map cannot be destroyed before.
 */
MSLOT_API int mslot_mmu_create(struct mslot_map *map, const struct mslot_mmu_options *opt,
			       struct mslot_mmu **out);

/*
 * mslot_mmu_destroy() - end an MMU.
 *   mmu   the MMU; NULL is allowed and does nothing
 * Returns 0, -EBUSY it has a root, or an invalidation has begun and not ended, -EDEADLK inside a
 *   read section, in a listener callback or in a release callback.
 * Context: any thread; waits for read sections. No other thread may use the MMU during or after
 *   the call.
 */
MSLOT_API int mslot_mmu_destroy(struct mslot_mmu *mmu);

/*
 * mslot_mmu_limit_set() - the page budget: how many tables all roots may have together.
 *   mmu          the MMU
 *   max_tables   tables, those on top of roots not counted; at least 64 are allowed whatever it
 *                says; 0: a fiftieth of the map's pages, computed anew when their number changes
 * A fault that has made tables, and finds more than that, takes old ones out of their roots before
 * it returns, with all that they map: pages fault again, nothing else happens. The oldest go first,
 * but for those with tables below them, and at most 8 a fault. (KVM_SET_NR_MMU_PAGES.)
 * Context: any thread, any time. What is left (of a lower limit, or made when a commit split
 *   leaves) goes with later faults that make tables.
 */
MSLOT_API void mslot_mmu_limit_set(struct mslot_mmu *mmu, uint64_t max_tables);

/* Counters of mslot_mmu_stats_get(). */
struct mslot_mmu_stats {
	uint64_t roots;
	uint64_t faults;      /* calls of mslot_fault() that found a translation */
	uint64_t installed;   /* of these, that made a leaf */
	uint64_t retries;     /* times a fault began anew: something had changed */
	uint64_t mmio;        /* faults without a slot */
	uint64_t invalidated; /* faults refused because of a host invalidation */
	uint64_t zapped;      /* leaves taken out by zaps and commits */
	uint64_t splits;      /* large leaves replaced by a table, because a part was removed */
	uint64_t collapses;   /* tables replaced by a large leaf */
	uint64_t evicted;     /* tables taken out by the page budget */
	uint64_t flushes;     /* times that all vCPUs were asked to flush */
	uint64_t tables;      /* linked into roots, their tops not counted: what the limit limits */
	uint64_t max_tables;  /* the limit in force */
	uint64_t dead_tables; /* unlinked, memory not given back yet */
	uint64_t table_bytes; /* of all tables */
	uint64_t frame_bytes; /* heads of reverse maps; 0 with slot bitmaps */
	uint64_t list_bytes;  /* lists of reverse maps; with slot bitmaps, numbers of slots
			       * and bits of those beyond 64 */
	uint64_t mapped;      /* leaves in reverse maps; 0 with slot bitmaps */
	uint64_t longest;     /* the most leaves that one frame ever had */
};

/*
 * mslot_mmu_stats_get() - read the counters.
 *   mmu   the MMU
 *   out   receives the counters; each is right by itself, also while vCPUs run
 * Context: any thread, any time. Takes no lock.
 */
MSLOT_API void mslot_mmu_stats_get(struct mslot_mmu *mmu, struct mslot_mmu_stats *out);

/*
 * mslot_check_mmu() - verify every invariant of an MMU.
 *   mmu   the MMU
 *   why   receives a static text naming the first broken invariant; may be NULL
 * Each leaf agrees with the published map and is in its reverse map or bitmap, and the other way
 * round. For tests and for the suspicious.
 * Returns 0, -EUCLEAN an invariant is broken, -EDEADLK in a listener callback.
 * Context: any thread; takes the writer mutex. No fault may be under way.
 */
MSLOT_API int mslot_check_mmu(struct mslot_mmu *mmu, const char **why);

/* ---- Roots -------------------------------------------------------------- */

enum mslot_root_kind {
	MSLOT_ROOT_DIRECT = 0, /* address = guest-physical address */
	MSLOT_ROOT_SHADOW = 1, /* address = the caller's; it knows which gpa is behind */
};

/* What a guest's own tables say of an address. */
struct mslot_walk {
	uint64_t gpa;            /* what the address means */
	uint32_t level;          /* 1, 2 or 3: of the guest's leaf; ours is not larger */
	uint32_t guest_readonly; /* nonzero: writes must be asked for again */
};

struct mslot_root_options {
	enum mslot_root_kind kind;
	uint32_t space;
	uint32_t levels; /* 4 (default) or 5 levels of 512 entries: 36 or 45 bits of page number */
	/*
	 * Shadow roots: translate an address for the accesses of mslot/guest.h, on the vCPU's
	 * thread inside its section. Returns 0, or a negative errno, which the access returns.
	 * Called for each address that the vCPU's cache does not have. mslot_vcpu_poll() returns
	 * -EDEADLK in it: the access may have translated other pages. Not needed by mslot_fault().
	 */
	int (*walk)(void *ctx, struct mslot_vcpu *vcpu, uint64_t addr, enum mslot_access access,
		    struct mslot_walk *out);
	void *ctx;
};

/*
 * mslot_root_create() - an empty translation table.
 *   mmu   the MMU
 *   opt   options; copied
 *   out   receives the root; ended by mslot_root_destroy()
 * Returns 0, -EINVAL unknown kind, levels or space, -ENOMEM.
 * Context: any thread, also inside sections.
 */
MSLOT_API int mslot_root_create(struct mslot_mmu *mmu, const struct mslot_root_options *opt,
				struct mslot_root **out);

/*
 * mslot_root_destroy() - end a root.
 *   root   the root; NULL is allowed and does nothing
 * Its tables are freed later, in batches, by the reclaimer.
 * Returns 0, -EBUSY it is the root of a vCPU.
 * Context: any thread, also inside sections. No other thread may use the root during or after.
 */
MSLOT_API int mslot_root_destroy(struct mslot_root *root);

/*
 * mslot_vcpu_root_set() - the root that a vCPU's accesses go through.
 *   vcpu   the vCPU
 *   root   a root of the same map, or NULL for none
 * Setting another root than before empties the vCPU's cache; setting the same one does not.
 * Returns 0, -EINVAL a root of another map.
 * Context: the vCPU's thread, in or outside its section, or any while no thread runs the vCPU.
 * Lifetime: the root cannot be destroyed before the vCPU has another one, or is destroyed.
 */
MSLOT_API int mslot_vcpu_root_set(struct mslot_vcpu *vcpu, struct mslot_root *root);

/* A translation, as found or made. */
struct mslot_translation {
	uint64_t hva;       /* of the address asked for */
	uint64_t len_bytes; /* from there to the end of the leaf; of the page where a write is
			     * allowed for this page only */
	uint32_t level;     /* of the leaf: 1, 2, 3 */
	uint32_t writable;  /* nonzero: may be written to, until the vCPU is asked to flush */
};

/*
 * mslot_root_lookup() - what a root has for an address.
 *   root   the root
 *   addr   the address; need not be aligned
 *   out    receives the translation; writable says what the leaf says
 * Returns 0, -ENOENT nothing is there, -EINVAL beyond the root's levels.
 * Context: inside a read section of the root's map. Wait-free.
 * Lifetime: out->hva is usable until the section ends.
 */
MSLOT_API int mslot_root_lookup(struct mslot_root *root, uint64_t addr,
				struct mslot_translation *out);

/*
 * mslot_root_stamp() - how often mslot_zap_page() was called for a root.
 *   root   the root
 * Who walks the guest's own tables takes a stamp before, and gives it to mslot_fault(): what
 * the guest has changed and told of since is not installed. Needed where several vCPUs share a
 * shadow root.
 * Returns the stamp; never 0.
 * Context: any thread. Wait-free.
 */
MSLOT_API uint64_t mslot_root_stamp(const struct mslot_root *root);

/* ---- Faults ------------------------------------------------------------- */

struct mslot_fault {
	uint64_t addr; /* in the root; need not be aligned */
	/* The rest of what a shadow root needs to know; a direct root ignores it. */
	struct mslot_walk walk;
	uint64_t stamp; /* of mslot_root_stamp(), taken before the walk; 0: walk stays right */
	enum mslot_access access;
};

/*
 * mslot_fault() - make a root translate an address, as the newest snapshot says.
 *   vcpu    the vCPU, inside its section
 *   root    the root
 *   fault   the address and what for
 *   out     receives the translation; may be NULL
 * A write to a logged page marks it dirty (into the vCPU's ring, if it has one); the permission
 * to write ends with the next request to flush, as the translation does. If `root` is the
 * vCPU's, the vCPU's cache gets it too.
 * Returns 0, -ENOENT there is no slot (MMIO: true for the section's generation only), -EACCES
 *   the slot, or the guest's own table, is read-only; -EAGAIN a host invalidation of the page is
 *   under way: poll, or leave, and fault again; or the stamp is old: walk and fault again;
 *   -ENOSPC the dirty ring is full, -ENOMEM, -EINVAL the vCPU is not inside its section, another
 *   map's root, an address beyond the root's levels, or a walk whose level is not 1 to 3.
 * Context: the vCPU's thread inside its section. Allocates before any lock is taken; takes the
 *   lock of one frame at a time.
 * Lifetime: out->hva is usable until the section ends.
 */
MSLOT_API int mslot_fault(struct mslot_vcpu *vcpu, struct mslot_root *root,
			  const struct mslot_fault *fault, struct mslot_translation *out);

/*
 * mslot_prefault() - fault all pages of a range in.
 *   vcpu     the vCPU, inside its section
 *   root     the root; a shadow one needs its walk()
 *   range    addresses of the root
 *   access   what for; writes mark nothing, and make writable what needs no mark
 * Pages without a slot, and read-only ones for writing, are passed over.
 * Returns the number of pages that are mapped now, -EINVAL the vCPU is not inside its section,
 *   another map's root, a shadow one without walk(), or a range that wraps; or what else
 *   mslot_fault() or walk() returned if not even the first page could be looked at.
 * Context: as mslot_fault(). Stops early when the vCPU is asked to poll.
 */
MSLOT_API int64_t mslot_prefault(struct mslot_vcpu *vcpu, struct mslot_root *root,
				 struct mslot_range range, enum mslot_access access);

/* ---- Zaps --------------------------------------------------------------- */

/*
 * mslot_zap_page() - a root forgets an address: its guest's table changed there.
 *   vcpu   the caller's vCPU, whose cache forgets it too; or NULL
 *   root   the root
 *   addr   the address
 * Other vCPUs are not asked to flush: as with a processor's instruction, each may use what it has
 * cached until it calls this itself, or until mslot_zap_gfn() or another call asks all.
 * Returns the number of leaves that went (a large one goes as a whole): 0 or 1.
 * Context: any thread, in or outside sections. Takes the lock of one frame.
 */
MSLOT_API int mslot_zap_page(struct mslot_vcpu *vcpu, struct mslot_root *root, uint64_t addr);

/*
 * mslot_zap_gfn() - all roots forget a guest-physical range.
 *   mmu     the MMU
 *   space   the space
 *   range   guest-physical bytes
 * Leaves that reach out of the range go as a whole. The vCPUs are asked to flush; it is certain
 * that nobody uses what was zapped after mslot_mmu_sync().
 * Returns the number of leaves that went, -EINVAL no such space, -EDEADLK in a listener callback.
 * Context: any thread, in or outside sections. Takes the writer mutex.
 */
MSLOT_API int64_t mslot_zap_gfn(struct mslot_mmu *mmu, uint32_t space, struct mslot_range range);

/*
 * mslot_zap_hva() - all roots forget a range of host memory, through whatever slots show it.
 *   mmu     the MMU
 *   range   host bytes
 * Returns the number of leaves that went, -EDEADLK in a listener callback.
 * Context: any thread, in or outside sections. Takes the writer mutex.
 */
MSLOT_API int64_t mslot_zap_hva(struct mslot_mmu *mmu, struct mslot_range range);

/*
 * mslot_zap_all() - all roots forget everything, in constant time.
 *   mmu   the MMU
 * The tables of a root are freed after its next fault, or its end, in batches, by the reclaimer.
 * Context: any thread, any time, also in callbacks.
 */
MSLOT_API void mslot_zap_all(struct mslot_mmu *mmu);

/*
 * mslot_mmu_sync() - wait until nobody uses what was zapped or protected before.
 *   mmu   the MMU
 * Asks the vCPUs to come out, and waits for a grace period.
 * Returns 0, -EDEADLK inside a read section, in a listener callback or in a release callback.
 * Context: any thread; may sleep.
 */
MSLOT_API int mslot_mmu_sync(struct mslot_mmu *mmu);

/* ---- Host memory -------------------------------------------------------- */

/*
 * mslot_invalidate_begin() - host memory is about to change or go away for a while.
 *   mmu     the MMU
 *   range   host bytes
 * When it returns, no vCPU and no root has a translation to this memory, and until
 * mslot_invalidate_end() faults on it return -EAGAIN. Several may be under way at once; then
 * faults may be refused anywhere between the lowest and the highest of their addresses. Accesses
 * that do not go through a root (mslot/access.h) are not kept off. The child of a fork has those
 * that are under way, too, and has to end them.
 * Returns 0, -EINVAL length 0 or a wrapping range, -EDEADLK inside a read section, in a listener
 *   callback or in a release callback.
 * Context: any thread; may sleep.
 */
MSLOT_API int mslot_invalidate_begin(struct mslot_mmu *mmu, struct mslot_range range);

/*
 * mslot_invalidate_end() - the memory of mslot_invalidate_begin() can be used again.
 *   mmu     the MMU
 *   range   as given to the begin
 * Context: any thread, in or outside sections.
 */
MSLOT_API void mslot_invalidate_end(struct mslot_mmu *mmu, struct mslot_range range);

/* What leaves note about their use. */
#define MSLOT_AGE_ACCESSED (1u << 0)
#define MSLOT_AGE_DIRTY (1u << 1)

struct mslot_age {
	struct mslot_range hva; /* host bytes, whole pages */
	uint32_t what;          /* MSLOT_AGE_...: any of these */
	/*
	 * A bit for each page of the range, set where a leaf says so and left alone elsewhere; may
	 * be NULL. Of large leaves all pages count.
	 */
	uint64_t *bitmap;
};

/*
 * mslot_age() - which host pages were used since the last call; forget it.
 *   mmu   the MMU
 *   age   the range, what to look at
 * Vague as in processors: a vCPU that has not flushed yet may use a page without it being noted
 * again; after mslot_mmu_sync() each use from then on will be.
 * Returns the number of leaves that were used, -EINVAL the range or `what`, -EDEADLK in a
 *   listener callback.
 * Context: any thread, in or outside sections. Takes the writer mutex. Asks vCPUs to flush: a page
 *   may be cached whose leaf is gone.
 */
MSLOT_API int64_t mslot_age(struct mslot_mmu *mmu, const struct mslot_age *age);

/*
 * mslot_test_age() - mslot_age() that forgets nothing and asks nobody.
 *   mmu, age   as there
 * Returns, Context: as mslot_age().
 */
MSLOT_API int64_t mslot_test_age(struct mslot_mmu *mmu, const struct mslot_age *age);

/* ---- Write protection --------------------------------------------------- */

/*
 * mslot_write_protect() - the next write to each page must fault.
 *   mmu    the MMU
 *   key    the slot
 *   mask   a bit for each page of the slot, those to protect; NULL: all
 * Pages that share a large leaf with one are protected with it. What dirty logging needs happens by
 * itself; this is for those who want to see first writes. In force after mslot_mmu_sync().
 * Returns the number of leaves that were writable, -ENOENT no such slot, -EDEADLK in a listener
 *   callback.
 * Context: any thread, in or outside sections. Takes the writer mutex.
 */
MSLOT_API int64_t mslot_write_protect(struct mslot_mmu *mmu, struct mslot_key key,
				      const uint64_t *mask);

#ifdef __cplusplus
}
#endif

#endif /* MSLOT_MMU_H */
