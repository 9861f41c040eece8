/* SPDX-License-Identifier: MIT */
/*
 * vcpu.h - a vCPU from inside, and which one the calling thread runs.
 */
#ifndef MSLOT_ACCESS_VCPU_H
#define MSLOT_ACCESS_VCPU_H

#include <stdatomic.h>

#include <mslot/vcpu.h>

#include "access/ring.h"
#include "map/vcpus.h"

struct mslot_vcpu {
	/* What others post and look at. */
	_Alignas(64) _Atomic uint32_t request; /* VCPU_...; changed by read-modify-writes only */
	_Atomic uint32_t inside;

	/* The thread's own. */
	_Alignas(64) struct mslot_map *map;
	const struct mslot_snapshot *snap; /* of the section */
	uint32_t depth;                    /* sections, nested ones included */
	struct mslot_hint hint;
	struct mslot_vcpu_options opt; /* constant */
	struct ring ring;

	struct mslot_vcpu *next, *prev; /* vcpus_lock */
};

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
