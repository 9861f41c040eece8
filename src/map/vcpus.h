/* SPDX-License-Identifier: MIT */
/*
 * vcpus.h - what a map does with its vCPUs, whose inside only src/access knows.
 *
 * Requests. Whoever took away what vCPUs may have cached (a translation, a permission to write)
 * asks for VCPU_FLUSH, after that and before the grace period; whoever waits for a grace period
 * asks for VCPU_LEAVE, and for no more: to wait takes nothing from those who keep what they have.
 *
 * Exclusion. map_exclude() closes the gate, asks all vCPUs out and waits until none is
 * inside; until map_readmit() those that want to enter wait in map_gate_wait().
 */
#ifndef MSLOT_MAP_VCPUS_H
#define MSLOT_MAP_VCPUS_H

#include "map/snapshot.h"

/* What is asked of a vCPU, bits. It is done with each at the next entry. */
#define VCPU_FLUSH (1u << 0) /* forget all that was cached */
#define VCPU_LEAVE (1u << 1) /* end the section */

/* Filled in by src/access. All run with vcpus_lock held. */
struct map_vcpu_ops {
	/* Post requests to every vCPU, and kick those inside that were not kicked yet. */
	void (*ask)(struct mslot_map *map, uint32_t requests);
	/*
	 * Is a vCPU inside? If so, one of them is watched: it calls map_vcpu_moved() when it is
	 * out. If not, all that they did inside happened before.
	 */
	bool (*watch)(struct mslot_map *map);
	/* Is a vCPU inside? Only a hint. */
	bool (*busy)(struct mslot_map *map);
	/* In the child of a fork: the other threads, and their sections, do not exist. */
	void (*forked)(struct mslot_map *map);
};

/* For a new map; returns 0 or an errno, positive. */
int map_vcpus_init(struct mslot_map *map);
void map_vcpus_fini(struct mslot_map *map);

uint64_t map_nvcpus(struct mslot_map *map);

/* Post requests to every vCPU of the map. Any context but a kick. */
void map_ask_vcpus(struct mslot_map *map, uint32_t requests);
/* The same with vcpus_lock held, as it is in the hooks of a fork's child. */
void map_ask_vcpus_locked(struct mslot_map *map, uint32_t requests);

/*
 * Give vCPUs that were asked a moment to come out: a grace period that meets none inside is short,
 * and liburcu sleeps for 10 ms when a section goes on for some microseconds. Only saves time.
 */
void map_await_vcpus(struct mslot_map *map);

/*
 * Keep the map's vCPUs out, one caller at a time. No mutex held, not in a section. Returns 0
 * or -ETIMEDOUT, after which the gate is as before; after 0 map_readmit() must follow.
 */
int map_exclude(struct mslot_map *map, uint64_t deadline_ns);
void map_readmit(struct mslot_map *map);

/* For vCPUs: sleep while the gate is closed; wake whoever watches. Outside sections. */
void map_gate_wait(struct mslot_map *map);
void map_vcpu_moved(struct mslot_map *map);

/* In the child of a fork, vcpus_lock held. */
void map_vcpus_forked(struct mslot_map *map);

#endif /* MSLOT_MAP_VCPUS_H */
