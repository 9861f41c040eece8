/* SPDX-License-Identifier: MIT */
/*
 * defer.h - work on a map that has to wait for readers, for the layers above src/map.
 */
#ifndef MSLOT_MAP_DEFER_H
#define MSLOT_MAP_DEFER_H

#include <stdatomic.h>
#include <stdint.h>

struct mslot_map;

/* Embedded in what the work is about; the map's until run() is called. */
struct map_deferred {
	struct map_deferred *next;
	/* Once, with the writer mutex held; may free `self`, and defer more. */
	void (*run)(struct mslot_map *map, struct map_deferred *self);
	uint64_t bytes; /* about what it gives back: how soon, and how much at a time */
};

/* A map's part; see defer.c. */
struct map_deferrals {
	_Atomic(struct map_deferred *) fresh; /* the newest first; pushed by any thread */
	_Atomic uint64_t fresh_bytes;         /* about those of `fresh` */

	/* Writer mutex. */
	struct map_deferred *first, **last; /* taken and not run, the oldest first */
	uint64_t taken, graced;             /* counts; those up to `graced` may be run */
	_Atomic uint64_t left;              /* in that list; looked at without the mutex, too */
};

void deferrals_init(struct map_deferrals *deferrals);

/*
 * Have d->run() called after a grace period that begins now or later: on the reclaimer's thread,
 * or on one in map_drain_deferred(). Any context; takes no lock, but for the reclaimer's where a
 * lot has gathered.
 */
void map_defer(struct mslot_map *map, struct map_deferred *d);

/*
 * Run all that is deferred, and what that defers in turn. vCPUs are asked to come out. No mutex
 * held, not in a section.
 */
void map_drain_deferred(struct mslot_map *map);

/*
 * For the reclaimer, around a grace period of its own: take what is deferred; returns a ticket, or
 * 0 when there is nothing. Then run what was taken up to this ticket, a few at a time. No mutex
 * held.
 */
uint64_t deferrals_take(struct mslot_map *map);
void deferrals_run(struct mslot_map *map, uint64_t ticket);

#endif /* MSLOT_MAP_DEFER_H */
