/* SPDX-License-Identifier: MIT */
/*
 * map.c - creating and destroying maps, the writer mutex, statistics.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/page.h"
#include "base/perturb.h"
#include "base/rcu.h"
#include "map/fork.h"
#include "map/hold.h"
#include "map/lease.h"
#include "map/reclaim.h"
#include "map/txn.h"
#include "map/vcpus.h"
#include "map/writer.h"
#include "map/wait.h"

/* Serial numbers that a map takes at a time. */
#define SERIAL_BLOCK (UINT64_C(1) << 16)
#define MIN_RETIRED_LIMIT (UINT64_C(64) << 10)
#define DEFAULT_RETIRED_LIMIT (UINT64_C(4) << 20)
#define DEFAULT_MAX_EDITS (UINT32_C(1) << 20)
#define DEFAULT_GPA_LIMIT (UINT64_C(1) << 52)
#define DEFAULT_HVA_LIMIT UINT64_C(0x7ffffffff000)

/* How many writer mutexes the thread holds; its address names the thread. */
static _Thread_local unsigned int owned;

const void *thread_token(void)
{
	return &owned;
}

bool map_owned(const struct mslot_map *map)
{
	/* Relaxed: the answer is stable when it is the caller itself that owns the mutex. */
	return atomic_load_explicit(&map->owner, memory_order_relaxed) == thread_token();
}

static void note_owner(struct mslot_map *map)
{
	atomic_store_explicit(&map->owner, thread_token(), memory_order_relaxed);
	owned++;
}

void map_lock(struct mslot_map *map)
{
	/*
	 * Before the mutex: a fork holds liburcu's registry while it tries our mutexes, and a
	 * first section in a listener callback would wait for it with the mutex held.
	 */
	rcu_thread_register();
	pthread_mutex_lock(&map->writer);
	note_owner(map);
}

bool map_trylock(struct mslot_map *map)
{
	if (pthread_mutex_trylock(&map->writer))
		return false;
	note_owner(map);
	return true;
}

void map_unlock(struct mslot_map *map)
{
	owned--;
	atomic_store_explicit(&map->owner, NULL, memory_order_relaxed);
	pthread_mutex_unlock(&map->writer);
}

bool map_wait_deadlocks(unsigned int own)
{
	return rcu_in_section() || owned > own;
}

bool map_any_owned(void)
{
	return owned > 0;
}

uint64_t snapshot_serial(struct mslot_map *map)
{
	static _Atomic uint64_t last;

	/* Relaxed: only uniqueness matters. */
	if (map->serial % SERIAL_BLOCK == 0)
		map->serial = atomic_fetch_add_explicit(&last, SERIAL_BLOCK, memory_order_relaxed);
	return ++map->serial;
}

static int options_fill(const struct mslot_map_options *opt, struct mslot_map_options *out)
{
	struct mslot_map_options o = opt ? *opt : (struct mslot_map_options){0};
	uint64_t page;

	o.page_shift = o.page_shift ? o.page_shift : 12;
	o.nspaces = o.nspaces ? o.nspaces : 1;
	o.max_user_slots = o.max_user_slots ? o.max_user_slots : MSLOT_DEFAULT_USER_SLOTS;
	o.max_edits = o.max_edits ? o.max_edits : DEFAULT_MAX_EDITS;
	o.max_slots = o.max_slots ? o.max_slots : UINT64_C(1) << 32;
	o.max_pages = o.max_pages ? o.max_pages : UINT64_MAX;
	o.gpa_limit = o.gpa_limit ? o.gpa_limit : DEFAULT_GPA_LIMIT;
	o.retired_limit_bytes =
	    o.retired_limit_bytes ? o.retired_limit_bytes : DEFAULT_RETIRED_LIMIT;
	if (!page_shift_valid(o.page_shift))
		return -EINVAL;
	page = page_bytes(o.page_shift);
	o.hva_limit = o.hva_limit ? o.hva_limit : DEFAULT_HVA_LIMIT & ~(page - 1);
	if (o.nspaces > MSLOT_MAX_SPACES || o.max_user_slots > MSLOT_MAX_USER_SLOTS ||
	    o.max_edits > INT32_MAX || o.simd > MSLOT_SIMD_AVX512 ||
	    o.retired_limit_bytes < MIN_RETIRED_LIMIT || !page_aligned(o.gpa_limit, o.page_shift) ||
	    !page_aligned(o.hva_limit, o.page_shift))
		return -EINVAL;
	*out = o;
	return 0;
}

void snapshot_init_indexes(struct mslot_snapshot *snap)
{
	uint32_t space;

	for (space = 0; space < snap->nspaces; space++)
		index_root_init(&snap->gfn[space], snap->map->index_kind, false);
	index_root_init(&snap->id, snap->map->index_kind, false);
	index_ranges_init(&snap->hva, snap->map->index_kind, slot_tie);
	snap->finders = snap->map->finders;
}

/*
 * The radix index serves every map. Tests also run on the tree, its twin, if the
 * environment says so.
 */
static void choose_index(struct mslot_map *map)
{
	/* Entries of enum mslot_simd from 1 on are those of enum index_simd. */
	enum index_simd best = index_simd_best(), wanted = best;

	if (map->opt.simd != MSLOT_SIMD_BEST)
		wanted = (enum index_simd)(map->opt.simd - 1);
	map->index_kind = INDEX_RADIX;
#ifdef MSLOT_TESTING
	const char *kind = getenv("MSLOT_TEST_INDEX");

	if (kind && strcmp(kind, "tree") == 0)
		map->index_kind = INDEX_TREE;
#endif
	wanted = wanted < best ? wanted : best;
	map->finders = finders_for(map->index_kind, wanted);
}

static void snapshot_init(struct mslot_map *map, struct mslot_snapshot *snap)
{
	memset(snap, 0, snapshot_bytes(map->opt.nspaces));
	snap->map = map;
	snap->serial = snapshot_serial(map);
	snap->bytes = pool_node_bytes(snap);
	snap->nspaces = (uint16_t)map->opt.nspaces;
	snap->page_shift = (uint8_t)map->opt.page_shift;
	snapshot_init_indexes(snap);
}

static int locks_init(struct mslot_map *map)
{
	if (pthread_mutex_init(&map->writer, NULL))
		return -ENOMEM;
	if (pthread_mutex_init(&map->holds_lock, NULL))
		goto fail_writer;
	if (map_vcpus_init(map))
		goto fail_holds;
	if (logging_init(&map->log))
		goto fail_vcpus;
	return 0;

fail_vcpus:
	map_vcpus_fini(map);
fail_holds:
	pthread_mutex_destroy(&map->holds_lock);
fail_writer:
	pthread_mutex_destroy(&map->writer);
	return -ENOMEM;
}

static void locks_fini(struct mslot_map *map)
{
	logging_fini(&map->log);
	map_vcpus_fini(map);
	pthread_mutex_destroy(&map->holds_lock);
	pthread_mutex_destroy(&map->writer);
}

int mslot_map_create(const struct mslot_map_options *opt, struct mslot_map **out)
{
	struct mslot_map_options filled;
	struct mslot_snapshot *snap;
	struct mslot_map *map;
	int err;

	err = options_fill(opt, &filled);
	if (err)
		return err;
	map = mem_alloc_aligned(64, sizeof(*map));
	if (!map)
		return -ENOMEM;
	memset(map, 0, sizeof(*map));
	map->opt = filled;
	choose_index(map);
	map->retired_tail = &map->retired_head;
	deferrals_init(&map->deferrals);
	map->kvm_region = (struct mslot_region){
	    .opt = {.len_bytes = UINT64_MAX, .fd = -1},
	    .refs = 1,
	    .built_in = true,
	};
	pool_init(&map->pool);
	err = -ENOMEM;
	snap = pool_alloc(&map->pool, snapshot_bytes(filled.nspaces));
	if (!snap)
		goto fail_map;
	snapshot_init(map, snap);
	atomic_init(&map->snapshot, snap);
	err = commit_scratch_init(map);
	if (!err)
		err = locks_init(map);
	if (err)
		goto fail_map;
	err = reclaimer_get();
	if (err)
		goto fail_locks;
	fork_track(map);
	*out = map;
	return 0;

fail_locks:
	locks_fini(map);
fail_map:
	mem_free(map->scratch.mem);
	pool_fini(&map->pool);
	mem_free(map);
	return err;
}

/* Drop what every slot of the last snapshot has; its nodes go with the pool. */
static void drop_slots(const struct mslot_snapshot *snap)
{
	struct index_cursor cur;
	struct index_entry entry;

	index_cursor_init(&cur, &snap->id, 0, UINT64_MAX);
	while (index_cursor_next(&cur, &entry)) {
		log_view_destroy(((struct mslot_slot *)entry.item)->log);
		region_unref(((struct mslot_slot *)entry.item)->region, 1);
	}
}

static bool map_busy(struct mslot_map *map)
{
	bool busy;

	pthread_mutex_lock(&map->holds_lock);
	busy = map->nholds > 0;
	pthread_mutex_unlock(&map->holds_lock);
	busy |= map->nlisteners > 0;
	busy |= map->log.consumers != 0 || map->log.nfinals > 0;
	busy |= lease_count(map) > 0;
	busy |= map_nvcpus(map) > 0;
	return busy;
}

int mslot_map_destroy(struct mslot_map *map)
{
	if (!map)
		return 0;
	if (map_wait_refused())
		return -EDEADLK;
	map_lock(map);
	if (map_busy(map)) {
		map_unlock(map);
		return -EBUSY;
	}
	map_unlock(map);
	/* Nobody is left to defer more. */
	map_drain_deferred(map);
	fork_untrack(map);
	reclaim_synchronize(map);
	reclaimer_forget(map);
	reclaim_run(map, RECLAIM_ALL);
	drop_slots(map_snapshot(map));
	pool_fini(&map->pool);
	mem_free(map->scratch.mem);
	locks_fini(map);
	mem_free(map);
	/* Regions that leases of this map were the last to hold. */
	lease_rescan();
	lease_sweep();
	(void)reclaimer_flush(UINT64_MAX);
	reclaimer_put();
	return 0;
}

void mslot_map_options_get(const struct mslot_map *map, struct mslot_map_options *out)
{
	*out = map->opt;
}

int mslot_map_stats_get(struct mslot_map *map, struct mslot_map_stats *out)
{
	const struct mslot_snapshot *snap;

	if (map_owned(map))
		return -EDEADLK;
	map_lock(map);
	snap = map_snapshot(map);
	*out = (struct mslot_map_stats){
	    .generation = snap->generation,
	    .commits = snap->generation,
	    .reachable_bytes = snap->bytes,
	    .retired_bytes = map->retired_bytes,
	    .held_bytes = map->held_bytes,
	    .pool_bytes = map->pool.slab_bytes,
	    .grace_waits = map->grace_waits,
	    .listeners = map->nlisteners,
	    .holds = mslot_holders(map, NULL, 0),
	    .leases = lease_count(map),
	    .vcpus = map_nvcpus(map),
	    .log_bytes = atomic_load_explicit(&map->log.bytes, memory_order_relaxed),
	};
	map_unlock(map);
	return 0;
}

int map_write_begin(struct mslot_map *map)
{
	if (map_owned(map))
		return -EDEADLK;
	map_lock(map);
	reclaim_some(map);
	while (map->retired_bytes > map->opt.retired_limit_bytes) {
		/*
		 * W5. The mutex is dropped for the wait: a reader may be waiting for it inside
		 * its section, and that section would never end.
		 */
		if (map_wait_deadlocks(1)) {
			map_unlock(map);
			return -EDEADLK;
		}
		map->grace_waits++;
		PERTURB(AT_LIMIT);
		map_unlock(map);
		map_synchronize(map);
		map_lock(map);
		reclaim_run(map, RECLAIM_ALL);
	}
	return 0;
}

void map_write_end(struct mslot_map *map)
{
	map_unlock(map);
}

const struct mslot_snapshot *map_current(const struct mslot_map *map)
{
	return map_snapshot(map);
}

struct mslot_region *map_kvm_region(struct mslot_map *map)
{
	return &map->kvm_region;
}

/* With what is asked of vCPUs beside coming out. */
static void synchronize(struct mslot_map *map, uint32_t requests)
{
	/* Whatever was published before: sections older than that are over below. */
	uint64_t generation = atomic_load_explicit(&map->published, memory_order_acquire);

	/*
	 * Before the requests: a vCPU that answered them and enters again before the grace
	 * period begins has acquired the count with its request word, and asks itself. Relaxed:
	 * that word carries it. Pairs with mslot_vcpu_enter().
	 */
	atomic_fetch_add_explicit(&map->awaited, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&map->awaits, 1, memory_order_relaxed);
	map_ask_vcpus(map, VCPU_LEAVE | requests);
	PERTURB(VCPUS_ASKED);
	map_await_vcpus(map);
	reclaim_synchronize(map);
	atomic_fetch_sub_explicit(&map->awaited, 1, memory_order_relaxed);
	logging_begun(map, generation);
}

void map_synchronize(struct mslot_map *map)
{
	synchronize(map, 0);
}

void map_flush(struct mslot_map *map)
{
	synchronize(map, VCPU_FLUSH);
}
