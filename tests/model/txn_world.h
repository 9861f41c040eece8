/* SPDX-License-Identifier: MIT */
/*
 * txn_world.h - a map, its naive twin, and everybody who watches them.
 *
 *   txn_world.c   options, the transaction loop, the end
 *   txn_watch.c   listeners that record and veto, holds with saved copies
 *   txn_memory.c  regions and when they are released
 */
#ifndef MSLOT_TESTS_TXN_WORLD_H
#define MSLOT_TESTS_TXN_WORLD_H

#include <stdatomic.h>

#include "txn_twin.h"

#define WORLD_REGIONS 40u
#define WORLD_LISTENERS 4u
#define WORLD_HOLDS 6u
#define WORLD_EVENTS (4u * WORLD_LISTENERS)

struct world_region {
	struct world *world;
	atomic_uint releases;
	bool put;
	bool shown_at_put; /* then the commit that hides it causes the release */
};

enum event_kind { EVENT_PREPARE = 1, EVENT_ABORT, EVENT_COMMIT };

struct event {
	enum event_kind kind;
	const struct watcher *by;
};

struct watcher {
	struct world *world;
	struct mslot_listener *handle;
	struct mslot_listener_ops ops;
};

struct held {
	struct mslot_hold *hold;
	struct naive_map copy;
};

struct world {
	uint64_t seed;
	const uint64_t *txn_number;
	struct rng rng;
	struct mslot_map *map;
	struct twin_shape shape;
	struct naive_map naive; /* what the map must be now */
	struct naive_map next;  /* what the commit in progress must make of it */
	struct naive_map prev;  /* before the transaction in progress, for reports */
	struct naive_map empty;

	struct naive_region regions[WORLD_REGIONS];
	struct world_region region_state[WORLD_REGIONS];
	size_t nregions;

	struct watcher *watchers[WORLD_LISTENERS]; /* in the order of adding */
	size_t nwatchers;
	const struct watcher *veto_by;
	int veto_errno;
	struct event events[WORLD_EVENTS];
	size_t nevents;
	const struct naive_map *diff_before, *diff_after; /* expected by the callbacks */
	bool bad;                                         /* a callback found a mismatch */

	struct held holds[WORLD_HOLDS];
	size_t nholds;

	struct twin_txn *txn;   /* the one in progress */
	struct twin_txn *later; /* the one set aside */
	struct mslot_txn *pending;
};

/* txn_watch.c */
bool watch_maybe(struct world *w); /* now and then add or remove a listener */
void watch_remove_all(struct world *w);
/* Do the events since the last call say what they must? `asked`: the listeners were asked. */
bool watch_check_events(struct world *w, bool asked);
bool hold_maybe(struct world *w);
void hold_drop(struct world *w, size_t i);

/* txn_memory.c */
bool memory_create_all(struct world *w);
bool memory_maybe(struct world *w);
/* Wait for the map's generation, and then look at what was released. */
bool memory_settle(struct world *w);
void memory_put(struct world *w, size_t i);
/* At the end of the map: before mslot_map_destroy(), and after it. */
void memory_put_half(struct world *w);
bool memory_check_end(struct world *w);

#endif /* MSLOT_TESTS_TXN_WORLD_H */
