/* SPDX-License-Identifier: MIT */
/*
 * commit.c - from a transaction to the next snapshot.
 *
 * Steps, under the writer mutex:
 *   1 resolve the edits and validate the final map (resolve.c, validate.c)
 *   2 allocate: descriptors, the next snapshot, copy-on-write indexes, the diff
 *   3 listeners prepare; a veto undoes 2 and leaves the map as it was (W1)
 *   4 publish with one store (W2); the generation is one more (W3)
 *   5 listeners commit
 *   6 retire what only the old snapshot reached; wake the reclaimer when it is worth it
 * Everything that can fail is in 1 to 3. No step waits for readers (W4).
 */
#include <errno.h>

#include "base/alloc.h"
#include "base/perturb.h"
#include "base/rcu.h"
#include "map/diff.h"
#include "map/reclaim.h"
#include "map/txn.h"

/* The most scratch memory that a map keeps from commit to commit. */
#define SCRATCH_KEEP ((size_t)64 << 10)
/* Names that a map has scratch memory for from the beginning. */
#define SCRATCH_NAMES 4u

#define NATIVE_SLOT_FLAGS (MSLOT_LOG_DIRTY | MSLOT_READONLY)

static size_t scratch_bytes(uint64_t names)
{
	return names * (sizeof(struct change) + 2 * sizeof(struct index_edit) +
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
	c->iedits = (struct index_edit *)(void *)mem;
	mem += 2 * names * sizeof(struct index_edit);
	c->by_name = (struct sort_item *)(void *)mem;
	mem += 2 * names * sizeof(struct sort_item);
	c->items = (struct sort_item *)(void *)mem;
	mem += 4 * names * sizeof(struct sort_item);
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
		    .offset_bytes = content->offset_bytes,
		    .hva = (uintptr_t)content->region->opt.hva + content->offset_bytes,
		    .region = content->region,
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

/*
 * What one of the three kinds of index stores of a slot. Written field by field where it
 * shall be: a struct that is put together on the stack and copied in larger words makes the
 * processor wait for its own stores.
 */
typedef void entry_fn(struct index_entry *entry, const struct mslot_slot *slot);

static void entry_gfn(struct index_entry *entry, const struct mslot_slot *slot)
{
	entry->start = slot->base_gfn;
	entry->end = slot_end_gfn(slot);
	entry->tie = 0;
	entry->item = (void *)(uintptr_t)slot;
}

static void entry_hva(struct index_entry *entry, const struct mslot_slot *slot)
{
	entry->start = slot->hva >> slot->page_shift;
	entry->end = entry->start + slot->npages;
	entry->tie = slot_name_of(slot);
	entry->item = (void *)(uintptr_t)slot;
}

static void entry_id(struct index_entry *entry, const struct mslot_slot *slot)
{
	entry->start = slot_name_of(slot);
	entry->end = slot_name_of(slot) + 1;
	entry->tie = 0;
	entry->item = (void *)(uintptr_t)slot;
}

#define EVERY_SPACE UINT32_MAX

/* In the value of an item, beside the address of a descriptor: it is put, else removed. */
#define ITEM_IS_PUT UINT64_C(1)
/* So that each index has code of its own, in which entry_of() is no call. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

static const struct mslot_slot *item_slot(const struct sort_item *item)
{
	return (const struct mslot_slot *)(uintptr_t)(item->value & ~ITEM_IS_PUT);
}

static ALWAYS_INLINE uint64_t start_of(const struct mslot_slot *slot, entry_fn *entry_of)
{
	struct index_entry entry;

	entry_of(&entry, slot);
	return entry.start;
}

static ALWAYS_INLINE void fill_edit(struct index_edit *edit, enum index_op op,
				    const struct mslot_slot *slot, entry_fn *entry_of)
{
	edit->op = op;
	entry_of(&edit->entry, slot);
}

/*
 * The edits of a change: one where what it puts has the key of what it removes. Returns
 * where the next item goes.
 */
static ALWAYS_INLINE struct sort_item *list_edits(struct sort_item *item,
						  const struct change *change, entry_fn *entry_of)
{
	const struct mslot_slot *before = change->before, *after = change->after;

	/* The tie is the name, which both have. */
	if (before && (!after || start_of(before, entry_of) != start_of(after, entry_of)))
		*item++ = (struct sort_item){start_of(before, entry_of), (uintptr_t)before};
	if (after)
		*item++ =
		    (struct sort_item){start_of(after, entry_of), (uintptr_t)after | ITEM_IS_PUT};
	return item;
}

static bool starts_repeat(const struct sort_item *items, size_t n)
{
	size_t i;

	for (i = 1; i < n; i++)
		if (items[i].key == items[i - 1].key)
			return true;
	return false;
}

/*
 * The edits of one index, sorted by start, in *items; returns how many. Changes are taken as
 * they come, which is kind to caches, and again by name where starts repeat: sorting is
 * stable, so that what differs in ties only, the names, is then in order.
 */
static ALWAYS_INLINE size_t sort_edits(const struct commit *c, uint32_t space, entry_fn *entry_of,
				       struct sort_item **items)
{
	struct sort_item *end = c->items;
	const struct change *change;
	uint32_t i;
	size_t n;

	for (i = 0; i < c->nchanges; i++) {
		change = &c->changes[i];
		if (space == EVERY_SPACE || change->space == space)
			end = list_edits(end, change, entry_of);
	}
	n = (size_t)(end - c->items);
	*items = sort_items(c->items, c->items + n, n);
	if (!starts_repeat(*items, n))
		return n;
	end = c->items;
	for (i = 0; i < c->nclaims; i++) {
		if (c->by_name[i].value == NO_CHANGE)
			continue;
		change = &c->changes[c->by_name[i].value];
		if (space == EVERY_SPACE || change->space == space)
			end = list_edits(end, change, entry_of);
	}
	*items = sort_items(c->items, c->items + n, n);
	return n;
}

/*
 * Index edits from sorted items; a PUT absorbs the REMOVE of its key, which is then that of
 * another name, next to it. Returns how many there are.
 */
static ALWAYS_INLINE size_t fill_edits(struct commit *c, const struct sort_item *items, size_t n,
				       entry_fn *entry_of)
{
	struct index_edit *edit;
	size_t i, kept = 0;

	for (i = 0; i < n; i++) {
		edit = &c->iedits[kept];
		fill_edit(edit, items[i].value & ITEM_IS_PUT ? INDEX_PUT : INDEX_REMOVE,
			  item_slot(&items[i]), entry_of);
		if (kept && edit[-1].entry.start == edit->entry.start &&
		    edit[-1].entry.tie == edit->entry.tie) {
			if (edit->op == INDEX_PUT)
				edit[-1] = *edit;
		} else {
			kept++;
		}
	}
	return kept;
}

/* The changes (of one space, or all) as edits of one index. Returns how many. */
static ALWAYS_INLINE size_t index_edits(struct commit *c, uint32_t space, entry_fn *entry_of)
{
	struct sort_item *items;
	size_t n;

	n = sort_edits(c, space, entry_of, &items);
	return fill_edits(c, items, n, entry_of);
}

/* The indexes after many changes. */
static int build_for_all(struct commit *c)
{
	struct mslot_snapshot *old = c->old, *next = c->next;
	uint32_t space;
	size_t n;
	int err;

	for (space = 0; space < old->nspaces; space++) {
		n = index_edits(c, space, entry_gfn);
		err = index_apply(&c->batch, &old->gfn[space], c->iedits, n, &next->gfn[space]);
		if (err)
			return err;
	}
	n = index_edits(c, EVERY_SPACE, entry_hva);
	err = index_ranges_apply(&c->batch, &old->hva, c->iedits, n, &next->hva);
	if (err)
		return err;
	n = index_edits(c, EVERY_SPACE, entry_id);
	return index_apply(&c->batch, &old->id, c->iedits, n, &next->id);
}

/* An entry of each kind of index; NULL for no slot. */
static ALWAYS_INLINE const struct index_entry *
entry_for(struct index_entry *entry, const struct mslot_slot *slot, entry_fn *entry_of)
{
	if (!slot)
		return NULL;
	entry_of(entry, slot);
	return entry;
}

/* The same after one change, which need neither be sorted nor looked up. */
static int build_for_one(struct commit *c)
{
	const struct mslot_slot *before = c->changes->before, *after = c->changes->after;
	struct mslot_snapshot *old = c->old, *next = c->next;
	const struct index_entry *cut, *put;
	struct index_entry entry[2];
	uint32_t space;
	int err;

	for (space = 0; space < old->nspaces; space++)
		next->gfn[space] = old->gfn[space];
	space = c->changes->space;
	cut = entry_for(&entry[0], before, entry_gfn);
	put = entry_for(&entry[1], after, entry_gfn);
	err = index_replace(&c->batch, &old->gfn[space], cut, put, &next->gfn[space]);
	if (err)
		return err;
	cut = entry_for(&entry[0], before, entry_hva);
	put = entry_for(&entry[1], after, entry_hva);
	err = index_ranges_replace(&c->batch, &old->hva, cut, put, &next->hva);
	if (err)
		return err;
	cut = entry_for(&entry[0], before, entry_id);
	put = entry_for(&entry[1], after, entry_id);
	return index_replace(&c->batch, &old->id, cut, put, &next->id);
}

static int build_indexes(struct commit *c)
{
	struct mslot_snapshot *next = c->next;
	int err = c->nchanges == 1 ? build_for_one(c) : build_for_all(c);
	uint32_t space;

	if (err)
		return err;
	next->bytes = pool_node_bytes(next) + index_ranges_bytes(&next->hva) + next->id.bytes;
	for (space = 0; space < next->nspaces; space++)
		next->bytes +=
		    next->gfn[space].bytes + next->gfn[space].count * sizeof(struct mslot_slot);
	return 0;
}

static int build(struct commit *c)
{
	struct mslot_map *map = c->map;
	struct mslot_snapshot *old = c->old, *next;

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
	next->find = old->find;
	next->find_gpa = old->find_gpa;
	next->transient = true;
	return build_indexes(c);
}

static void unbuild(struct commit *c)
{
	uint32_t i;

	PERTURB(BEFORE_UNDO);
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
	/* Everything of the new snapshot before the pointer. Pairs with mslot_enter(). */
	rcu_publish(&map->snapshot, c->next);
	PERTURB(POINTER_PUBLISHED);
	/*
	 * Release, after the publish: whoever reads this generation and then starts a grace
	 * period covers every section that can still be in an older snapshot. Pairs with
	 * reclaim_synchronize() and mslot_wait().
	 */
	atomic_store_explicit(&map->published, c->next->generation, memory_order_release);
	PERTURB(AFTER_PUBLISH);
	if (diff)
		listeners_commit(map, diff);
	PERTURB(BEFORE_RETIRE);
	release = list_dead(c);
	reclaim_retire(map, c->retired);
	index_batch_fini(&c->batch);
	/*
	 * Cheap memory may wait for more of it, since a grace period interrupts every reader;
	 * a region's owner may not.
	 */
	if (release || map->unasked_bytes > map->opt.retired_limit_bytes / 8) {
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
	c.nchanges = c.nresults = c.nclaims = 0;
	c.own_scratch = NULL;
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
	if (result)
		*result = (struct mslot_commit_result){
		    .generation = atomic_load_explicit(&txn->map->published, memory_order_acquire),
		    .failed_edit = MSLOT_NO_EDIT,
		    .reason = reason,
		};
	return err;
}

int mslot_txn_commit(struct mslot_txn *txn, const struct mslot_commit_options *opt,
		     struct mslot_commit_result *result)
{
	struct txn_commit_args args = {
	    .flags = opt ? opt->flags : 0,
	    .generation = opt ? opt->generation : 0,
	    .slot_flags = NATIVE_SLOT_FLAGS,
	};
	struct mslot_map *map = txn->map;
	int err;

	if (args.flags & ~(MSLOT_COMMIT_DRY_RUN | MSLOT_COMMIT_IF_GENERATION))
		return refuse_early(txn, -EINVAL, "unknown commit flags", result);
	err = map_write_begin(map);
	if (err)
		return refuse_early(txn, err,
				    map_owned(map) ? "in a listener callback of this map"
						   : "retired memory at its limit in a section",
				    result);
	err = txn_commit_locked(txn, &args, result);
	map_write_end(map);
	if (!err && !(args.flags & MSLOT_COMMIT_DRY_RUN))
		mslot_txn_abort(txn);
	return err;
}
