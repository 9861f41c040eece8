/* SPDX-License-Identifier: MIT */
/*
 * commit.c - from a transaction to the next snapshot.
 *
 * Steps, under the writer mutex:
 *   1 resolve the edits and validate the final map (resolve.c, validate.c)
 *   2 allocate: descriptors, the next snapshot, copy-on-write indexes, the diff
 *   3 listeners prepare; a veto undoes 2 and leaves the map as it was (W1)
 *   4 publish with one store (W2); the generation is one more (W3)
 *   5 listeners commit; only then can the generation be waited for
 *   6 retire what only the old snapshot reached; wake the reclaimer when it is worth it
 * Everything that can fail is in 1 to 3. No step waits for readers (W4).
 */
#include <errno.h>

#include "base/alloc.h"
#include "base/perturb.h"
#include "base/rcu.h"
#include "map/build.h"
#include "map/diff.h"
#include "map/lease.h"
#include "map/reclaim.h"
#include "map/txn.h"
#include "map/vcpus.h"
#include "map/wait.h"

/* The most scratch memory that a map keeps from commit to commit. */
#define SCRATCH_KEEP ((size_t)64 << 10)
/* Names that a map has scratch memory for from the beginning. */
#define SCRATCH_NAMES 4u

#define KNOWN_COMMIT_FLAGS                                                                         \
	(MSLOT_COMMIT_DRY_RUN | MSLOT_COMMIT_IF_GENERATION | MSLOT_COMMIT_NOWAIT |                 \
	 MSLOT_COMMIT_EXCLUSIVE)
#define NATIVE_SLOT_FLAGS (MSLOT_LOG_DIRTY | MSLOT_READONLY)

static size_t scratch_bytes(uint64_t names)
{
	return names * (sizeof(struct change) + 2 * sizeof(struct index_range) +
			6 * sizeof(struct sort_item) + sizeof(struct claim));
}

int commit_scratch_init(struct mslot_map *map)
{
	map->scratch.bytes = scratch_bytes(SCRATCH_NAMES);
	map->scratch.mem = mem_alloc(map->scratch.bytes);
	return map->scratch.mem ? 0 : -ENOMEM;
}

/*
 * Memory for the arrays of a commit. What the map keeps serves small transactions, so
 * that nothing can fail for lack of memory before they are validated; one above
 * SCRATCH_KEEP gets memory of its own.
 */
static char *scratch_get(struct commit *c, size_t bytes)
{
	struct scratch *scratch = &c->map->scratch;
	char *mem;

	if (bytes <= scratch->bytes)
		return scratch->mem;
	mem = mem_alloc(bytes);
	if (!mem)
		return NULL;
	if (bytes > SCRATCH_KEEP) {
		c->own_scratch = mem;
	} else {
		/* Nothing in the old one is worth copying. */
		mem_free(scratch->mem);
		*scratch = (struct scratch){.mem = mem, .bytes = bytes};
	}
	return mem;
}

static int scratch_reserve(struct commit *c)
{
	uint64_t names = c->txn->nedits + c->txn->nparts;
	char *mem = scratch_get(c, scratch_bytes(names));

	if (!mem)
		return commit_refuse(c, -ENOMEM, MSLOT_NO_EDIT, "out of memory");
	c->changes = (struct change *)(void *)mem;
	mem += names * sizeof(struct change);
	c->cut = (struct index_range *)(void *)mem;
	mem += names * sizeof(struct index_range);
	c->put = (struct index_range *)(void *)mem;
	mem += names * sizeof(struct index_range);
	c->by_name = (struct sort_item *)(void *)mem;
	mem += 2 * names * sizeof(struct sort_item);
	c->by_gfn = (struct sort_item *)(void *)mem;
	mem += 2 * names * sizeof(struct sort_item);
	c->items = (struct sort_item *)(void *)mem;
	mem += 2 * names * sizeof(struct sort_item);
	c->claims = (struct claim *)(void *)mem;
	return 0;
}

/* A reference of its region for each new descriptor, counted once for a run of one region. */
static void reference_regions(const struct commit *c)
{
	struct mslot_region *region = NULL;
	const struct mslot_slot *slot;
	uint64_t n = 0;
	uint32_t i;

	for (i = 0; i < c->nchanges; i++) {
		slot = c->changes[i].after;
		if (!slot)
			continue;
		if (slot->region != region) {
			if (n > 0)
				region_get(region, n);
			region = slot->region;
			n = 0;
		}
		n++;
	}
	if (n > 0)
		region_get(region, n);
}

static bool alloc_slots(struct commit *c)
{
	unsigned int shift = c->map->opt.page_shift;
	bool complete = true;
	uint32_t i;

	for (i = 0; i < c->nchanges; i++) {
		struct change *change = &c->changes[i];
		const struct slot_content *content = &change->content;
		struct mslot_slot *slot;

		if (!change->exists_after)
			continue;
		slot = pool_alloc(&c->map->pool, sizeof(*slot));
		if (!slot) {
			complete = false;
			break;
		}
		*slot = (struct mslot_slot){
		    .link.birth = c->old->generation + 1,
		    .base_gfn = content->base_gfn,
		    .npages = content->npages,
		    .hva = (uintptr_t)content->region->opt.hva + content->offset_bytes,
		    .region = content->region,
		    .log = NULL,
		    .id = change->id,
		    .space = (uint8_t)change->space,
		    .flags = (uint8_t)content->flags,
		    .page_shift = (uint8_t)shift,
		    .is_private = change->id >= c->map->opt.max_user_slots,
		};
		change->after = slot;
	}
	reference_regions(c);
	return complete;
}

/* Dirty bits: what new slots inherit and begin, and what is taken away for good. */
static int build_logs(struct commit *c)
{
	int err = logging_give(c);

	if (!err && c->args->final)
		err = logging_collect(c, &c->final);
	return err;
}

static int build(struct commit *c)
{
	struct mslot_map *map = c->map;
	struct mslot_snapshot *old = c->old, *next;
	int err;

	index_batch_init(&c->batch, &map->pool, old->generation + 1);
	c->retired = pool_alloc(&map->pool, sizeof(*c->retired));
	if (!c->retired)
		return -ENOMEM;
	c->batch.few = c->retired->few;
	/* One place is the snapshot's. */
	c->batch.few_room = RETIRED_FEW - 1;
	if (!alloc_slots(c))
		return -ENOMEM;
	next = pool_alloc(&map->pool, snapshot_bytes(old->nspaces));
	if (!next)
		return -ENOMEM;
	c->next = next;
	next->link.birth = old->generation + 1;
	next->map = map;
	next->generation = old->generation + 1;
	next->serial = snapshot_serial(map);
	next->npages = c->npages;
	next->nspaces = old->nspaces;
	next->page_shift = old->page_shift;
	next->finders = old->finders;
	next->transient = true;
	err = build_logs(c);
	return err ? err : build_indexes(c);
}

static void unbuild(struct commit *c)
{
	uint32_t i;

	PERTURB(BEFORE_UNDO);
	logging_final_free(c->final);
	index_batch_rollback(&c->batch);
	index_batch_fini(&c->batch);
	if (c->next)
		pool_free(&c->map->pool, c->next);
	if (c->retired)
		pool_free(&c->map->pool, c->retired);
	for (i = 0; i < c->nchanges; i++) {
		struct mslot_slot *slot = c->changes[i].after;

		if (!slot)
			continue;
		log_view_destroy(slot->log);
		region_unref(slot->region, 1);
		pool_free(&c->map->pool, slot);
	}
}

/* List what dies with this commit. Returns: may a region be released? */
static bool list_dead(struct commit *c)
{
	struct retired *batch = c->retired;
	bool release = false;
	uint32_t i;

	batch->generation = c->old->generation;
	batch->bytes = c->batch.retired_bytes + snapshot_bytes(c->old->nspaces) + sizeof(*batch);
	batch->lists = (struct retired_lists){.nodes = c->batch.retired};
	batch->slot = NULL;
	batch->nfew = c->batch.nfew;
	batch->few[batch->nfew++] = &c->old->link;
	for (i = 0; i < c->nchanges; i++) {
		struct mslot_slot *slot = (struct mslot_slot *)(uintptr_t)c->changes[i].before;

		if (!slot)
			continue;
		if (c->nchanges == 1) {
			batch->slot = &slot->link;
		} else {
			slot->link.next = batch->lists.slots;
			batch->lists.slots = &slot->link;
		}
		batch->bytes += sizeof(*slot);
		release |= slot->region->opt.release &&
			   (!c->changes[i].after || c->changes[i].after->region != slot->region);
	}
	return release;
}

static void commit_publish(struct commit *c, const struct mslot_diff *diff)
{
	struct mslot_map *map = c->map;
	bool release;

	PERTURB(BEFORE_PUBLISH);
	c->next->transient = false;
	/*
	 * Before the publish, and carried by it: a harvest that finds the new slots must know
	 * that sections from before may be writing there. Pairs with harvest_run().
	 */
	if (c->log_begins)
		atomic_store_explicit(&map->log.begun, c->next->generation, memory_order_release);
	/* Everything of the new snapshot before the pointer. Pairs with mslot_enter(). */
	rcu_publish(&map->snapshot, c->next);
	PERTURB(POINTER_PUBLISHED);
	if (c->final) {
		map->log.nfinals++;
		*c->args->final = c->final;
	}
	if (diff)
		listeners_commit(map, diff);
	PERTURB(AFTER_PUBLISH);
	/*
	 * Release, after the publish: whoever reads this generation and then starts a grace
	 * period covers every section that can still be in an older snapshot; and after the
	 * listeners, so that it covers those in which vCPUs use what listeners asked them to
	 * forget. Pairs with reclaim_synchronize() and mslot_wait().
	 */
	atomic_store_explicit(&map->published, c->next->generation, memory_order_release);
	PERTURB(BEFORE_RETIRE);
	release = list_dead(c);
	reclaim_retire(map, c->retired);
	index_batch_fini(&c->batch);
	/*
	 * Cheap memory may wait for more of it, since a grace period interrupts every reader;
	 * a region's owner may not. Bitmaps count here alone: they are mostly untouched, and
	 * no commit shall be refused for them at the limit (W5).
	 */
	map->unasked_bytes += logging_taken_bytes(c);
	if (release || map->unasked_bytes > map->opt.retired_limit_bytes / 4) {
		map->unasked_bytes = 0;
		reclaimer_kick(map, release);
	}
}

/* The last refusals: once allocation has succeeded. */
static int refuse_late(struct commit *c, const struct mslot_diff *diff)
{
	int err = validate_gpa_limit(c);

	if (err)
		return err;
	if ((c->args->flags & MSLOT_COMMIT_NOWAIT) && lease_breaks(c->map, c->old, c->next, false))
		return commit_refuse(c, -EBUSY, MSLOT_NO_EDIT, "memory that goes is leased");
	if ((c->args->flags & MSLOT_COMMIT_EXCLUSIVE) &&
	    lease_breaks(c->map, c->old, c->next, true))
		return commit_refuse(c, -EBUSY, MSLOT_NO_EDIT,
				     "memory that goes is leased for writing");
	if (c->args->would_wait && map_wait_deadlocks(1))
		return commit_refuse(c, -EDEADLK, MSLOT_NO_EDIT, "would wait inside a section");
	PERTURB(BEFORE_PREPARE);
	if (diff)
		err = listeners_prepare(c->map, diff);
	return err ? commit_refuse(c, err, MSLOT_NO_EDIT, "vetoed by a listener") : 0;
}

/* Steps 2 to 6. */
static int build_and_publish(struct commit *c)
{
	struct mslot_diff *diff = NULL;
	int err = build(c);

	if (!err && c->map->listeners)
		err = diff_build(c->old, c->next, &diff);
	if (err)
		commit_refuse(c, err, MSLOT_NO_EDIT, "out of memory");
	else
		err = refuse_late(c, diff);
	if (err)
		unbuild(c);
	else
		commit_publish(c, diff);
	mslot_diff_destroy(diff);
	return err;
}

static int commit_steps(struct commit *c)
{
	/* cppcheck-suppress ctuuninitvar ; txn_commit_locked() sets all that is not set here */
	const struct txn_commit_args *args = c->args;
	int err;

	if ((args->flags & MSLOT_COMMIT_IF_GENERATION) && args->generation != c->old->generation)
		return commit_refuse(c, -EAGAIN, MSLOT_NO_EDIT, "another generation");
	if (c->txn->nedits == 0)
		return 0;
	err = scratch_reserve(c);
	if (!err)
		err = resolve_edits(c);
	if (!err)
		err = validate_final(c);
	if (err || c->nchanges == 0)
		return err;
	if (args->flags & MSLOT_COMMIT_DRY_RUN)
		return validate_gpa_limit(c);
	return build_and_publish(c);
}

int txn_commit_locked(struct mslot_txn *txn, const struct txn_commit_args *args,
		      struct mslot_commit_result *result)
{
	struct commit c;
	int err;

	/* The arrays come with their memory, the batch with the build. */
	c.map = txn->map;
	c.txn = txn;
	c.args = args;
	c.old = map_snapshot(txn->map);
	c.next = NULL;
	c.retired = NULL;
	c.nchanges = c.nresults = c.nbefore = c.nclaims = 0;
	c.own_scratch = NULL;
	c.final = NULL;
	c.log_begins = false;
	c.npages = c.old->npages;
	c.failed_edit = MSLOT_NO_EDIT;
	c.reason = "";
	err = commit_steps(&c);
	mem_free(c.own_scratch);
	if (result)
		*result = (struct mslot_commit_result){
		    .generation = map_snapshot(txn->map)->generation,
		    .failed_edit = c.failed_edit,
		    .reason = c.reason,
		};
	return err;
}

/* A refusal before the writer mutex is held. */
static int refuse_early(const struct mslot_txn *txn, int err, const char *reason,
			struct mslot_commit_result *result)
{
	uint64_t generation;

	if (!result)
		return err;
	/* What entering shows: in a listener callback it is not noted yet. */
	rcu_enter();
	generation = rcu_load(&txn->map->snapshot)->generation;
	rcu_leave();
	*result = (struct mslot_commit_result){
	    .generation = generation,
	    .failed_edit = MSLOT_NO_EDIT,
	    .reason = reason,
	};
	return err;
}

/* With or without vCPUs inside. */
static int commit_begun(struct mslot_txn *txn, const struct txn_commit_args *args,
			struct mslot_commit_result *result)
{
	struct mslot_map *map = txn->map;
	int err = map_write_begin(map);

	if (err)
		return refuse_early(txn, err,
				    map_owned(map) ? "in a listener callback of this map"
						   : "retired memory at its limit in a section",
				    result);
	err = txn_commit_locked(txn, args, result);
	map_write_end(map);
	return err;
}

/* A dry run has nothing that vCPUs could get in the way of. */
static bool commit_excludes(uint32_t flags)
{
	return flags & MSLOT_COMMIT_EXCLUSIVE && !(flags & MSLOT_COMMIT_DRY_RUN);
}

/* Wait for the vCPUs before the writer mutex is taken: one may want it in its section. */
static int commit_exclusive(struct mslot_txn *txn, const struct txn_commit_args *args,
			    int64_t timeout_ns, struct mslot_commit_result *result)
{
	struct mslot_map *map = txn->map;
	int err;

	if (map_wait_refused())
		return refuse_early(txn, -EDEADLK,
				    map_owned(map) ? "in a listener callback of this map"
						   : "would wait inside a section or a callback",
				    result);
	err = map_exclude(map, deadline_of(timeout_ns));
	if (err)
		return refuse_early(txn, err, "a vCPU did not leave in time", result);
	err = commit_begun(txn, args, result);
	map_readmit(map);
	return err;
}

int mslot_txn_commit(struct mslot_txn *txn, const struct mslot_commit_options *opt,
		     struct mslot_commit_result *result)
{
	struct txn_commit_args args = {
	    .flags = opt ? opt->flags : 0,
	    .generation = opt ? opt->generation : 0,
	    .slot_flags = NATIVE_SLOT_FLAGS,
	    .final = opt ? opt->final : NULL,
	};
	int err;

	if (args.flags & ~KNOWN_COMMIT_FLAGS)
		return refuse_early(txn, -EINVAL, "unknown commit flags", result);
	if (commit_excludes(args.flags))
		err = commit_exclusive(txn, &args, opt->timeout_ns, result);
	else
		err = commit_begun(txn, &args, result);
	if (!err && !(args.flags & MSLOT_COMMIT_DRY_RUN))
		mslot_txn_abort(txn);
	return err;
}
