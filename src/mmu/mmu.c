/* SPDX-License-Identifier: MIT */
/*
 * mmu.c - MMUs: created, destroyed, counted, forked.
 */
#include "mmu/mmu.h"

#include <errno.h>
#include <stddef.h>

#include "base/alloc.h"
#include "base/page.h"
#include "map/wait.h"
#include "map/vcpus.h"
#include "mmu/rmap.h"

/* By default one table for so many pages of the map. */
#define PAGES_A_TABLE 50u
/* space << 32 | id, of 16 spaces */
#define NAME_BITS 36u

void mmu_flush(struct mslot_mmu *mmu)
{
	count_add(&mmu->counters, COUNT_FLUSHES, 1);
	map_ask_vcpus(mmu->map, VCPU_FLUSH);
}

/* ---- Page budget ------------------------------------------------------------- */

void mmu_limit_default(struct mslot_mmu *mmu, uint64_t npages)
{
	/* Relaxed: a limit that is old by a moment is as good. */
	if (atomic_load_explicit(&mmu->default_limit, memory_order_relaxed))
		atomic_store_explicit(&mmu->max_tables, u64_max(npages / PAGES_A_TABLE, MIN_TABLES),
				      memory_order_relaxed);
}

void mslot_mmu_limit_set(struct mslot_mmu *mmu, uint64_t max_tables)
{
	const struct mslot_snapshot *snap;

	atomic_store_explicit(&mmu->default_limit, max_tables == 0, memory_order_relaxed);
	if (max_tables > 0) {
		atomic_store_explicit(&mmu->max_tables, u64_max(max_tables, MIN_TABLES),
				      memory_order_relaxed);
		return;
	}
	snap = mslot_enter(mmu->map);
	mmu_limit_default(mmu, snap->npages);
	mslot_leave(snap);
}

/* ---- Fork ---------------------------------------------------------------------- */

/* Tables of which nobody but the root knows, there being one thread. */
static void free_tables(struct mmu_table *table)
{
	struct mmu_table *below;
	unsigned int i;

	for (i = 0; table->level > 1 && i < TABLE_ENTRIES; i++) {
		below = entry_table(atomic_load_explicit(&table->entry[i], memory_order_relaxed));
		if (below)
			free_tables(below);
	}
	if (table->parent)
		count_sub(&table->mmu->counters, COUNT_TABLES, 1);
	table_free(table);
}

static void free_frames(struct mslot_mmu *mmu)
{
	uint64_t number, value;
	struct frame_node *node;
	unsigned int level, i;
	uint32_t space;

	for (space = 0; space < mmu->map->opt.nspaces && !mmu->bitmaps; space++) {
		for (level = 1; level <= LEAF_LEVELS; level++) {
			number = 0;
			while ((node = frames_next(&mmu->frames[space], level, &number,
						   UINT64_MAX)) != NULL) {
				for (i = 0; i < FRAME_FANOUT; i++) {
					value = atomic_load_explicit(&node->head[i],
								     memory_order_relaxed);
					/* Of a dead thread's: its lists may be freed already. */
					if (!(value & HEAD_LOCKED))
						rmap_free(mmu, value);
				}
				number |= level_pages(level) * FRAME_FANOUT - 1;
				number++;
			}
		}
		frames_fini(&mmu->frames[space]);
	}
}

/*
 * The locks of frames and tables may be held by threads that do not exist: begin anew. Tables
 * that were retired are taken apart as always, and find no reverse maps.
 */
static void mmu_forked(struct map_fork_hook *hook)
{
	struct mslot_mmu *mmu =
	    (struct mslot_mmu *)(void *)((char *)hook - offsetof(struct mslot_mmu, fork_hook));
	struct mslot_root *root;
	struct mmu_table *top;

	pthread_mutex_init(&mmu->roots_lock, NULL);
	pthread_mutex_init(&mmu->inv.lock, NULL);
	evict_forked(mmu);
	free_frames(mmu);
	for (root = mmu->roots; root; root = root->next) {
		top = atomic_exchange_explicit(&root->top, NULL, memory_order_relaxed);
		if (top)
			free_tables(top);
	}
	/* All reverse maps are gone, also those that dead threads had not counted yet. */
	count_reset(&mmu->counters, COUNT_MAPPED);
	map_ask_vcpus_locked(mmu->map, VCPU_FLUSH);
}

/* ---- Create and destroy ---------------------------------------------------------- */

static int options_check(const struct mslot_mmu_options *opt)
{
	if (opt->form != MSLOT_MMU_REVERSE_MAPS && opt->form != MSLOT_MMU_SLOT_BITMAPS)
		return -EINVAL;
	return opt->max_leaf_level > LEAF_LEVELS ? -EINVAL : 0;
}

static void mmu_init(struct mslot_mmu *mmu, struct mslot_map *map,
		     const struct mslot_mmu_options *opt)
{
	uint64_t last = (map->opt.gpa_limit - 1) >> map->opt.page_shift;
	unsigned int bits = last ? 64u - (unsigned int)__builtin_clzll(last) : 1;
	uint32_t space;

	mmu->map = map;
	mmu->bitmaps = opt->form == MSLOT_MMU_SLOT_BITMAPS;
	mmu->max_level = opt->max_leaf_level ? opt->max_leaf_level : LEAF_LEVELS;
	mmu->page_shift = map->opt.page_shift;
	pthread_mutex_init(&mmu->roots_lock, NULL);
	pthread_mutex_init(&mmu->evict_lock, NULL);
	pthread_mutex_init(&mmu->inv.lock, NULL);
	for (space = 0; space < map->opt.nspaces; space++)
		frames_init(&mmu->frames[space], bits, &mmu->counters, COUNT_FRAME_BYTES);
	frames_init(&mmu->names, NAME_BITS, &mmu->counters, COUNT_LIST_BYTES);
	mmu->fork_hook.child = mmu_forked;
}

static void mmu_fini(struct mslot_mmu *mmu)
{
	uint32_t space;

	split_done(mmu);
	for (space = 0; space < mmu->map->opt.nspaces; space++)
		frames_fini(&mmu->frames[space]);
	slots_fini(mmu);
	pthread_mutex_destroy(&mmu->roots_lock);
	pthread_mutex_destroy(&mmu->evict_lock);
	pthread_mutex_destroy(&mmu->inv.lock);
	mem_free(mmu);
}

int mslot_mmu_create(struct mslot_map *map, const struct mslot_mmu_options *opt,
		     struct mslot_mmu **out)
{
	static const struct mslot_mmu_options none;
	struct mslot_mmu *mmu;
	int err;

	if (!opt)
		opt = &none;
	if (options_check(opt))
		return -EINVAL;
	mmu = mem_alloc_aligned(64, sizeof(*mmu));
	if (!mmu)
		return -ENOMEM;
	*mmu = (struct mslot_mmu){0};
	mmu_init(mmu, map, opt);
	mslot_mmu_limit_set(mmu, opt->max_tables);
	err =
	    mslot_listener_add(map, &mmu_listener_ops, mmu, MSLOT_LISTENER_REPLAY, &mmu->listener);
	if (err) {
		mmu_fini(mmu);
		return err;
	}
	map_lock(map);
	map_fork_hook_add(map, &mmu->fork_hook);
	map_unlock(map);
	*out = mmu;
	return 0;
}

int mslot_mmu_destroy(struct mslot_mmu *mmu)
{
	struct mslot_map *map;
	int err;

	if (!mmu)
		return 0;
	map = mmu->map;
	if (map_wait_refused())
		return -EDEADLK;
	if (mmu->roots || atomic_load_explicit(&mmu->inv.count, memory_order_acquire) > 0)
		return -EBUSY;
	err = mslot_listener_remove(mmu->listener);
	if (err)
		return err;
	/* Its tables and chunks. */
	map_drain_deferred(map);
	map_lock(map);
	map_fork_hook_remove(map, &mmu->fork_hook);
	map_unlock(map);
	mmu_fini(mmu);
	return 0;
}

/* ---- Counters -------------------------------------------------------------------- */

void mslot_mmu_stats_get(struct mslot_mmu *mmu, struct mslot_mmu_stats *out)
{
	const struct mmu_counters *c = &mmu->counters;

	*out = (struct mslot_mmu_stats){
	    .roots = count_get(c, COUNT_ROOTS),
	    .faults = count_get(c, COUNT_FAULTS),
	    .installed = count_get(c, COUNT_INSTALLED),
	    .retries = count_get(c, COUNT_RETRIES),
	    .mmio = count_get(c, COUNT_MMIO),
	    .invalidated = count_get(c, COUNT_INVALIDATED),
	    .zapped = count_get(c, COUNT_ZAPPED),
	    .splits = count_get(c, COUNT_SPLITS),
	    .collapses = count_get(c, COUNT_COLLAPSES),
	    .evicted = count_get(c, COUNT_EVICTED),
	    .flushes = count_get(c, COUNT_FLUSHES),
	    .tables = count_get(c, COUNT_TABLES),
	    .max_tables = atomic_load_explicit(&mmu->max_tables, memory_order_relaxed),
	    .dead_tables = count_get(c, COUNT_DEAD_TABLES),
	    .table_bytes = count_get(c, COUNT_TABLE_BYTES),
	    .frame_bytes = count_get(c, COUNT_FRAME_BYTES),
	    .list_bytes = count_get(c, COUNT_LIST_BYTES),
	    .mapped = count_get(c, COUNT_MAPPED),
	    .longest = atomic_load_explicit(&mmu->longest, memory_order_relaxed),
	};
}
