/* SPDX-License-Identifier: MIT */
/*
 * vcpu.h - a vCPU from inside, and which one the calling thread runs.
 */
#ifndef MSLOT_ACCESS_VCPU_H
#define MSLOT_ACCESS_VCPU_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include <mslot/vcpu.h>

#include "access/ring.h"
#include "access/tlb.h"
#include "map/vcpus.h"

struct mslot_root;

struct mslot_vcpu {
	/* The thread's own, like all that is not said to be others'. */
	_Alignas(64) union {
		struct mslot_vcpu_head head; /* first: mslot/guest.h looks at it */
		struct tlb tlb;
	};
	/* What accesses go through, or NULL; and what gives it back when the vCPU goes (src/mmu).
	 */
	struct mslot_root *root;
	void (*root_put)(struct mslot_root *root);

	/* What others post and look at. */
	_Alignas(64) _Atomic uint32_t request; /* VCPU_...; changed by read-modify-writes only */
	_Atomic uint32_t inside;

	_Alignas(64) struct mslot_map *map;
	const struct mslot_snapshot *snap; /* of the section */
	uint32_t stood_back;               /* for which of map->awaits */
	uint32_t depth;                    /* sections, nested ones included */
	struct mslot_hint hint;
	struct mslot_vcpu_options opt; /* constant */
	struct ring ring;

	/* Of the last access that met a page without a slot. */
	struct {
		uint64_t addr, gpa, before_bytes;
		enum mslot_access access;
		bool known;
	} mmio;

	struct mslot_vcpu *next, *prev; /* vcpus_lock */
};

_Static_assert(offsetof(struct mslot_vcpu, head) == 0, "a vCPU begins with its head");

/* Hidden, and of the initial-exec model: one load. */
extern _Thread_local struct mslot_vcpu *vcpu_current;

/* The vCPU whose section the calling thread is inside of, or NULL. */
static inline struct mslot_vcpu *vcpu_running(void)
{
	return vcpu_current;
}

/* That one, if its ring is told of writes through a snapshot; or NULL. */
static inline struct mslot_vcpu *vcpu_ringing(const struct mslot_snapshot *snap)
{
	struct mslot_vcpu *vcpu = vcpu_current;

	return vcpu && vcpu->ring.entries && vcpu->map == snap->map ? vcpu : NULL;
}

#endif /* MSLOT_ACCESS_VCPU_H */
