/* SPDX-License-Identifier: MIT */
/*
 * mslot/kvm.h - KVM's memory-slot calls on a map: same structs, same checks, same
 * errno in the same order.
 *
 * The slots they make belong to one built-in region that nobody owns and whose
 * offsets are host addresses. Bits 0-15 of a slot number are the id, bits 16-31 the
 * space (KVM's as_id). Where the semantics come from: the behaviour of Linux
 * KVM_SET_USER_MEMORY_REGION, recorded from a real kernel (data/oracle).
 */
#ifndef MSLOT_KVM_H
#define MSLOT_KVM_H

#include <linux/kvm.h>
#include <mslot/map.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * mslot_kvm_set_user_memory_region() - make, change or delete a slot as KVM does.
 *   map      the map
 *   region   the request; copied
 * The counterpart of KVM_SET_USER_MEMORY_REGION.
 * Returns 0 or, in this order: -EINVAL a bad id, flag, size, gpa, hva, space, end or
 *   page count, or a delete of no slot; for an existing slot another hva, size or
 *   READONLY; -E2BIG the map's own max_slots or max_pages; -EEXIST overlap in the space;
 *   -ENOMEM; -EINVAL the end above gpa_limit; then -EDEADLK for a request that would
 *   wait (DELETE, MOVE, switching LOG_DIRTY on) inside a read section; then a
 *   listener's veto. Before all of these -EDEADLK in a listener callback of this map,
 *   and at the W5 limit inside a read section.
 * Context: any thread. DELETE, MOVE and switching LOG_DIRTY on return after every
 *   read section entered before the publish has been left (holds excepted), so that
 *   the caller may unmap right after. Other requests wait at the W5 limit only.
 */
MSLOT_API int mslot_kvm_set_user_memory_region(struct mslot_map *map,
					       const struct kvm_userspace_memory_region *region);

/*
 * Version 2 of the request, with the layout of the kernel's structure of that name,
 * declared here because the headers of older systems lack it.
 */
struct mslot_kvm_userspace_memory_region2 {
	__u32 slot;
	__u32 flags;
	__u64 guest_phys_addr;
	__u64 memory_size;
	__u64 userspace_addr;
	__u64 guest_memfd_offset;
	__u32 guest_memfd;
	__u32 pad1;
	__u64 pad2[14];
};

/*
 * mslot_kvm_set_user_memory_region2() - make, change or delete a slot, version 2.
 *   map      the map
 *   region   the request; copied; pads are ignored
 * The counterpart of KVM_SET_USER_MEMORY_REGION2. With MSLOT_GUEST_MEMFD the slot can
 * only be deleted afterwards (private access is out of scope); the file descriptor must
 * be open but is not used.
 * Returns as mslot_kvm_set_user_memory_region(), and -EBADF guest_memfd is not open
 *   (after the overlap check).
 * Context: as mslot_kvm_set_user_memory_region().
 */
MSLOT_API int
mslot_kvm_set_user_memory_region2(struct mslot_map *map,
				  const struct mslot_kvm_userspace_memory_region2 *region);

/* One request of a batch: 64 bytes. */
struct mslot_kvm_region_entry {
	__u32 slot;
	__u32 flags;
	__u64 guest_phys_addr;
	__u64 memory_size;
	__u64 userspace_addr;
	__u8 invalidate_slot; /* 1 exactly for DELETE and MOVE */
	__u8 pad[31];         /* zero */
};

/* The batched request proposed for KVM in 2022: a header, then nent entries. */
struct mslot_kvm_region_list {
	__u32 nent;
	__u32 flags; /* zero or MSLOT_KVM_LIST_EXCLUSIVE */
	struct mslot_kvm_region_entry entries[];
};

/*
 * Keep the map's vCPUs out during the change, as MSLOT_COMMIT_EXCLUSIVE does: an access of one that
 * spans several slots sees all of the change or nothing of it. Without it a vCPU that has one page
 * in its cache and not the next may see an old slot beside a new one until it polls.
 */
#define MSLOT_KVM_LIST_EXCLUSIVE (1u << 0)

/*
 * mslot_kvm_set_user_memory_region_list() - several requests as one change.
 *   map            the map
 *   list           the requests; read once
 *   list_bytes     bytes readable at list
 *   failed_entry   receives the index of the entry to blame, or MSLOT_NO_EDIT where no
 *                  entry is to blame; only after an error; may be NULL
 * All entries take effect in one publish, for all spaces at once, or none does. Each
 * slot may be named once; only the final map must be free of overlap.
 * Returns 0 (also for nent 0), -EFAULT list_bytes too small for nent, -E2BIG more
 *   entries than the map's max_edits, -EINVAL an unknown flag, pad not zero, a slot named
 *   twice, or a wrong invalidate_slot; otherwise as mslot_kvm_set_user_memory_region(). Before
 *   all of these -EDEADLK for EXCLUSIVE inside a section, in a listener callback or in a
 *   release callback.
 * Context: as mslot_kvm_set_user_memory_region(); waits once if any entry would. EXCLUSIVE waits
 *   for the vCPUs in any case.
 */
MSLOT_API int mslot_kvm_set_user_memory_region_list(struct mslot_map *map,
						    const struct mslot_kvm_region_list *list,
						    size_t list_bytes, __u32 *failed_entry);

/* ---- Dirty log ------------------------------------------------------------ */

/* The headers of older systems lack it. */
#ifndef KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP
#define KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP 225
#endif

/*
 * mslot_kvm_enable_cap() - switch a way of logging dirty pages on, or off.
 *   map   the map
 *   cap   the request: KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 with args[0] 0,
 *         KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE, or that and KVM_DIRTY_LOG_INITIALLY_SET;
 *         KVM_CAP_DIRTY_LOG_RING or its ACQ_REL with the bytes of a ring in the low 32 bits
 *         of args[0]; KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP after that and before the first slot
 * The counterpart of KVM_ENABLE_CAP. Manual protect: a get does not clear, a clear does.
 * Initially set: slots whose logging goes on from now on begin with every bit set.
 * Rings: as mslot_ring_enable(); vCPUs are those of mslot/vcpu.h.
 * Returns 0, -EINVAL another capability, flags (which rings ignore), arguments that are none of
 *   these, rings when there are rings or vCPUs, a bitmap beside no rings or when there are
 *   slots, -E2BIG a ring of more than 65536 entries, -ENOMEM, -EDEADLK in a listener callback of
 *   this map, and at the W5 limit inside a read section; rings as mslot_ring_enable().
 * Context: any thread.
 */
MSLOT_API int mslot_kvm_enable_cap(struct mslot_map *map, const struct kvm_enable_cap *cap);

/*
 * mslot_kvm_get_dirty_log() - the dirty pages of a slot.
 *   map   the map
 *   log   the slot; dirty_bitmap receives one bit a page, the slot's first in bit 0, in whole
 *         words of 64 bits; it need not be aligned
 * The counterpart of KVM_GET_DIRTY_LOG. The bits returned are cleared, except with manual
 * protect.
 * Returns 0, -ENXIO the map has rings and no bitmap, -EINVAL space or id out of range, -ENOENT
 *   no such slot or it has no MSLOT_LOG_DIRTY, -EFAULT no dirty_bitmap, -ENOMEM. Nothing
 *   is lost then. Before all of these -EDEADLK inside a read section, in a listener callback or in
 *   a release callback.
 * Context: any thread; waits for read sections if anything is to be cleared, so that the
 *   caller may copy the pages right after. Harvests of one map take turns.
 */
MSLOT_API int mslot_kvm_get_dirty_log(struct mslot_map *map, const struct kvm_dirty_log *log);

/*
 * mslot_kvm_clear_dirty_log() - clear dirty pages of a slot.
 *   map   the map
 *   log   the slot, num_pages pages from first_page on, and in dirty_bitmap those of them
 *         that are to be cleared, first_page in bit 0; it need not be aligned
 * The counterpart of KVM_CLEAR_DIRTY_LOG; works without manual protect too.
 * Returns 0 or, in this order: -ENXIO rings and no bitmap; -EINVAL space or id out of range;
 *   -EINVAL first_page is no multiple of 64; -ENOENT no such slot or it has no
 *   MSLOT_LOG_DIRTY; -EINVAL pages beyond the slot, or num_pages is no multiple of 64 and does
 *   not reach its end; -EFAULT no dirty_bitmap though num_pages is not 0; -ENOMEM. Before all
 *   of these -EDEADLK as in mslot_kvm_get_dirty_log().
 * Context: as mslot_kvm_get_dirty_log().
 */
MSLOT_API int mslot_kvm_clear_dirty_log(struct mslot_map *map,
					const struct kvm_clear_dirty_log *log);

/*
 * mslot_kvm_reset_dirty_rings() - make room of collected entries in the rings of all vCPUs.
 *   map   the map
 * The counterpart of KVM_RESET_DIRTY_RINGS.
 * Returns the number of entries, -EINVAL the map has no rings, -EDEADLK as mslot_ring_reset().
 * Context: as mslot_ring_reset().
 */
MSLOT_API int64_t mslot_kvm_reset_dirty_rings(struct mslot_map *map);

#ifdef __cplusplus
}
#endif

#endif /* MSLOT_KVM_H */
