/* SPDX-License-Identifier: MIT */
/*
 * mslot/vcpu.h - vCPU handles: a thread's place in the map.
 *
 * A vCPU's section is a read section that others can ask to end. What it has beyond one:
 * its last-used slot, its dirty ring, requests (flush what you cached, come out), and a kick
 * that wakes a thread which is in guest code. Writes by mslot_write() and the like inside
 * the section count as this vCPU's.
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
};

/*
 * mslot_vcpu_create() - a handle for one thread at a time.
 *   map   the map
 *   opt   options, or NULL for none; copied
 *   out   receives the vCPU; ended by mslot_vcpu_destroy()
 * Returns 0, -ENOMEM.
 * Context: any thread.
 * Lifetime: until mslot_vcpu_destroy() returns 0; the map cannot be destroyed before.
 */
MSLOT_API int mslot_vcpu_create(struct mslot_map *map, const struct mslot_vcpu_options *opt,
				struct mslot_vcpu **out);

/*
 * mslot_vcpu_destroy() - end a vCPU.
 *   vcpu   the vCPU; NULL is allowed and does nothing
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
 *   section or in a listener callback, -EBUSY the thread is inside a section of another vCPU.
 * Context: the vCPU's thread. Wait-free but for EXCLUSIVE commits, after the thread's first
 *   entry.
 * Lifetime: the snapshot, its slots and their host memory stay usable until
 *   mslot_vcpu_leave() or mslot_vcpu_poll().
 */
MSLOT_API int mslot_vcpu_enter(struct mslot_vcpu *vcpu, const struct mslot_snapshot **out);

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
 *   callback, where nothing has happened.
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

#ifdef __cplusplus
}
#endif

#endif /* MSLOT_VCPU_H */
