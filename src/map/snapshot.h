/* SPDX-License-Identifier: MIT */
/*
 * snapshot.h - snapshots, holds and the map itself: who owns which field.
 */
#ifndef MSLOT_MAP_SNAPSHOT_H
#define MSLOT_MAP_SNAPSHOT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <mslot/txn.h>

#include "base/pool.h"
#include "index/index.h"
#include "index/ranges.h"
#include "map/defer.h"
#include "map/logging.h"
#include "map/slot.h"

/* Lookups for one kind of index and one vector width. */
struct finders {
	index_find_fn *find; /* in any index without overlaps */
	const struct mslot_slot *(*gpa)(const struct mslot_snapshot *snap, uint32_t space,
					uint64_t gpa); /* mslot_find() */
	size_t (*hva)(const struct mslot_snapshot *snap, uint64_t hva,
		      const struct mslot_slot **slots, size_t nslots); /* mslot_find_hva() */
};
struct finders finders_for(enum index_kind kind, enum index_simd simd);

/* Nodes on their way out: index nodes and snapshots, and slots (which drop their region). */
struct retired_lists {
	struct pool_link *nodes;
	struct pool_link *slots;
};

/* So many nodes of a batch are in an array: those of a commit with one change, and more. */
#define RETIRED_FEW 16u

/*
 * The batch of everything that died with a snapshot, that snapshot included. Nothing is
 * written to what is in the array before its grace period is over; then it is freed, or its
 * link puts it on the list of a hold, whose readers do not look at links.
 */
struct retired {
	struct pool_link link;
	struct retired *next;       /* map's queue, oldest first */
	uint64_t generation;        /* of the snapshot */
	uint64_t bytes;             /* of all that, and of this struct */
	struct retired_lists lists; /* what is not below */
	struct pool_link *slot;     /* one slot, or NULL */
	uint32_t nfew;
	struct pool_link *few[RETIRED_FEW]; /* index nodes and the snapshot */
};

/* One version of the whole map. Nothing in it changes after the publish. */
struct mslot_snapshot {
	struct pool_link link; /* birth = generation */
	uint64_t serial;       /* unique in the process: key of hints; see mslot_snapshot_head */
	struct mslot_map *map;
	uint64_t generation;
	uint64_t npages;
	uint64_t bytes; /* this struct, all slots, all index nodes */
	uint16_t nspaces;
	uint8_t page_shift;
	bool transient; /* never to be held: not published yet, or made for a replay */
	struct finders finders;
	struct index_root id;    /* slot name -> slot */
	struct index_ranges hva; /* (hva, slot name) -> slot; ranges of host pages */

	struct index_root gfn[]; /* per space: gfn -> slot */
};

/*
 * A held snapshot. `pinned` lists nodes that are dead but alive in this snapshot and
 * in no younger held one: each was given to the youngest hold older than its death.
 */
struct mslot_hold {
	struct mslot_hold *next, *prev; /* map->holds by rising generation, or map->dropped */
	const struct mslot_snapshot *snap;
	struct mslot_map *map;
	uint64_t generation;
	uint64_t since_ns;
	struct retired_lists pinned; /* writer mutex */
	char tag[32];
};

struct mslot_listener {
	struct mslot_listener *next, *prev;
	struct mslot_map *map;
	struct mslot_listener_ops ops;
	void *ctx;
};

/* Memory that commits reuse; writer mutex. */
struct scratch {
	void *mem;
	size_t bytes;
};

struct mslot_map {
	/* The line that readers load; the writer stores to it once a commit. */
	_Alignas(64) _Atomic(struct mslot_snapshot *) snapshot;
	/* Generation of the published snapshot; stored once listeners were told of it. */
	_Atomic uint64_t published;
	/* Batches of this generation or an earlier one have had their grace period. */
	_Atomic uint64_t graced;
	/* Batches of this generation or an earlier one have been freed or given to holds. */
	_Atomic uint64_t reclaimed;
	/* Grace periods that somebody waits for: a vCPU that enters meanwhile is asked at once. */
	_Atomic uint32_t awaited;
	/* How many there were; only a hint. */
	_Atomic uint32_t awaits;
	/* An EXCLUSIVE commit is under way; stored under vcpus_lock. */
	_Atomic bool gate_closed;

	_Alignas(64) struct mslot_map_options opt; /* constant after creation */
	struct mslot_region kvm_region;            /* unowned; offset = hva */
	enum index_kind index_kind;                /* of all indexes; constant, like these */
	struct finders finders;

	/* Writer mutex and what it protects. */
	pthread_mutex_t writer;
	_Atomic(const void *) owner; /* thread_token() of the holder, NULL when free */
	struct pool pool;
	struct retired *retired_head;
	struct retired **retired_tail;
	uint64_t retired_bytes; /* batches in the queue */
	uint64_t held_bytes;    /* nodes pinned by holds */
	uint64_t unasked_bytes; /* retired, bitmaps too, since the reclaimer was last asked */
	uint64_t grace_waits;
	uint64_t serial; /* the last one given to a snapshot */
	struct mslot_listener *listeners, *listeners_last;
	uint64_t nlisteners;
	struct scratch scratch;
	struct map_fork_hook *fork_hooks;
	struct map_log log; /* its lock comes before the writer mutex */

	/* Holds. Taken alone or under the writer mutex; nothing is locked inside it. */
	pthread_mutex_t holds_lock;
	struct mslot_hold *holds, *holds_last; /* live, by rising generation */
	struct mslot_hold *dropped;            /* put, nodes not handed on yet */
	uint64_t nholds;                       /* live ones */

	/* vCPUs. Taken alone, under the writer mutex or holds_lock; nothing is locked inside it. */
	pthread_mutex_t vcpus_lock;
	pthread_cond_t vcpus_moved;          /* one that was watched came out; the gate opened */
	const struct map_vcpu_ops *vcpu_ops; /* set with the first vCPU, then constant */
	struct mslot_vcpu *vcpus;
	uint64_t nvcpus;

	struct map_deferrals deferrals;

	/* Reclaimer's queue; protected by the reclaimer's lock. */
	bool queued;
	bool urgent;
	struct mslot_map *queue_next;

	/* All maps, for fork; protected by the list's lock. */
	struct mslot_map *all_next, *all_prev;
};

/* An address that no other living thread has: who owns a writer mutex. */
const void *thread_token(void);

/* Is the calling thread in a commit of this map, that is, in a listener callback? */
bool map_owned(const struct mslot_map *map);
/* The bare mutex with the owner noted; not for callers that may be owners. */
void map_lock(struct mslot_map *map);
bool map_trylock(struct mslot_map *map);
void map_unlock(struct mslot_map *map);

/*
 * Would waiting for readers never end? Inside a section, or with more writer mutexes
 * than the `own` that the caller drops first: a reader may be waiting for one of them.
 */
bool map_wait_deadlocks(unsigned int own);

/* Is the calling thread in a listener callback of any map? */
bool map_any_owned(void);

/* Bytes of a snapshot struct with n spaces. */
static inline size_t snapshot_bytes(uint32_t nspaces)
{
	return sizeof(struct mslot_snapshot) + nspaces * sizeof(struct index_root);
}

/* Empty indexes for a snapshot that has its map and nspaces. */
void snapshot_init_indexes(struct mslot_snapshot *snap);

/* A serial number, unique in the process, for the next snapshot. Writer mutex held. */
uint64_t snapshot_serial(struct mslot_map *map);

static inline struct mslot_snapshot *map_snapshot(const struct mslot_map *map)
{
	/* Relaxed: only the writer, who stored it, reads it this way. */
	return atomic_load_explicit(&map->snapshot, memory_order_relaxed);
}

#endif /* MSLOT_MAP_SNAPSHOT_H */
