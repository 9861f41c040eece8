/* SPDX-License-Identifier: MIT */
/*
 * mmu_mslot_edit.c - what happens to the slots of a world of mmu_world.h while its tables are full:
 * edits, logging and harvests.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "mmu_world.h"

/* ---- Edits -------------------------------------------------------------------- */

static struct mslot_slot_def whole(const struct mmu_world *w)
{
	return (struct mslot_slot_def){.region = w->region,
				       .len_bytes = w->shape.npages * MMU_PAGE};
}

static struct mslot_slot_def slot_of(const struct mmu_world *w, uint64_t i)
{
	const uint64_t first = mmu_first_page(&w->shape, i);

	return (struct mslot_slot_def){
	    .key.id = (uint32_t)i,
	    .gpa = first * MMU_PAGE,
	    .offset_bytes = first * MMU_PAGE,
	    .len_bytes = (mmu_first_page(&w->shape, i + 1) - first) * MMU_PAGE,
	    .region = w->region,
	};
}

/* To the slots after the first one, or from them. */
static int add_parts(struct mslot_txn *txn, const struct mmu_world *w, enum mmu_edit edit)
{
	const size_t n = w->shape.nslots - 1;
	struct mslot_part *const part = calloc(n + 1, sizeof(*part));
	const struct mslot_key first = {0, 0};
	int ret = part != NULL ? 0 : -ENOMEM;

	for (size_t i = 0; i < n && ret == 0; i++)
		part[i] = (struct mslot_part){.id = (uint32_t)i + 1,
					      .gpa = mmu_first_page(&w->shape, i + 1) * MMU_PAGE};
	if (ret == 0 && n > 0)
		ret = edit == MMU_MERGE ? mslot_txn_merge(txn, first, part, n)
					: mslot_txn_split(txn, first, part, n);
	free(part);
	return ret;
}

static int add_edit(struct mslot_txn *txn, const struct mmu_world *w, enum mmu_edit edit)
{
	const struct mslot_slot_def first = slot_of(w, 0);

	switch (edit) {
	case MMU_MERGE:
	case MMU_SPLIT:
		return add_parts(txn, w, edit);
	case MMU_LOG_ON:
		return mslot_txn_set_flags(txn, first.key, MSLOT_LOG_DIRTY);
	case MMU_LOG_OFF:
		return mslot_txn_set_flags(txn, first.key, 0);
	case MMU_DELETE:
		return mslot_txn_delete(txn, first.key);
	case MMU_CREATE:
		return mslot_txn_create(txn, &first);
	default:
		return -EINVAL;
	}
}

static int finish(struct mslot_txn *txn, int ret)
{
	if (ret >= 0)
		ret = mslot_txn_commit(txn, NULL, NULL);
	if (ret < 0)
		mslot_txn_abort(txn);
	return ret < 0 ? ret : 0;
}

int mmu_world_edit(void *world, enum mmu_edit edit)
{
	struct mmu_world *const w = world;
	struct mslot_txn *txn;
	int ret;

	if (edit == MMU_CONSUME)
		return w->dirty != NULL ? 0 : mslot_dirty_create(w->map, NULL, &w->dirty);
	ret = mslot_txn_begin(w->map, &txn);
	return ret < 0 ? ret : finish(txn, add_edit(txn, w, edit));
}

static int replace_slots(struct mmu_world *w, uint64_t from, uint64_t to)
{
	struct mslot_txn *txn;
	int ret = mslot_txn_begin(w->map, &txn);

	if (ret < 0)
		return ret;
	for (uint64_t i = 0; i < from && ret >= 0; i++)
		ret = mslot_txn_delete(txn, (struct mslot_key){0, (uint32_t)i});
	for (uint64_t i = 0; i < to && ret >= 0; i++) {
		const struct mslot_slot_def def = to == 1 ? whole(w) : slot_of(w, i);

		ret = mslot_txn_create(txn, &def);
	}
	return finish(txn, ret);
}

/* In two transactions: in one it would be seen that nothing moves. */
int mmu_world_recreate(void *world, enum mmu_edit edit)
{
	struct mmu_world *const w = world;
	const uint64_t from = edit == MMU_MERGE ? w->shape.nslots : 1;
	const int ret = replace_slots(w, from, 0);

	return ret < 0 ? ret : replace_slots(w, 0, edit == MMU_MERGE ? 1 : w->shape.nslots);
}

int mmu_world_split_leaves(void *world, enum mmu_edit edit)
{
	struct mmu_world *const w = world;
	const struct mslot_range all = {0, w->shape.npages * MMU_PAGE};
	int64_t ret = mmu_world_edit(world, edit);

	if (ret == 0 && edit == MMU_LOG_ON)
		ret = mmu_world_fill(world, 0, all);
	if (ret == 0 && edit == MMU_LOG_OFF)
		ret = mslot_zap_gfn(w->mmu, 0, all);
	return ret < 0 ? (int)ret : 0;
}

/* ---- Tables that are full ------------------------------------------------------- */

#define IDLE_POLLS 1000u /* in a row without a page */

/* Prefaulting stops early where somebody asks for a poll. */
int64_t mmu_world_fill(void *world, unsigned int thread, struct mslot_range range)
{
	struct mmu_world *const w = world;
	struct mslot_vcpu *const vcpu = w->vcpu[thread];
	const struct mslot_snapshot *snap;
	unsigned int idle = 0;
	int64_t n = 0, total = 0;
	int ret = mslot_vcpu_enter(vcpu, &snap);

	if (ret < 0)
		return ret;
	while (range.len_bytes > 0 && ret == 0 && n >= 0 && idle < IDLE_POLLS) {
		n = mslot_prefault(vcpu, mmu_world_root(w, thread), range, MSLOT_READ);
		idle = n == 0 ? idle + 1 : 0;
		if (n < 0)
			break;
		total += n;
		range.start += (uint64_t)n * MMU_PAGE;
		range.len_bytes -= (uint64_t)n * MMU_PAGE;
		ret = mslot_vcpu_poll(vcpu, &snap);
	}
	mslot_vcpu_leave(vcpu);
	return n < 0 ? n : ret < 0 ? ret : total;
}

/* ---- Dirty pages ---------------------------------------------------------------- */

int64_t mmu_world_dirty(void *world)
{
	struct mmu_world *const w = world;
	const uint64_t npages = mmu_first_page(&w->shape, 1), words = (npages + 63) / 64;
	const struct kvm_dirty_log log = {.dirty_bitmap = w->bitmap};
	int64_t n = 0;
	int ret;

	memset(w->bitmap, 0, words * sizeof(*w->bitmap));
	ret = mslot_kvm_get_dirty_log(w->map, &log);
	if (ret < 0)
		return ret;
	for (uint64_t i = 0; i < words; i++)
		n += __builtin_popcountll(w->bitmap[i]);
	return n;
}

int mmu_world_mark(void *world, const struct mmu_addrs *a)
{
	struct mmu_world *const w = world;
	const struct mslot_snapshot *const snap = mslot_enter(w->map);

	for (size_t i = 0; i < a->n; i++)
		mslot_mark_dirty(snap, (struct mslot_addr){0, a->addr[i]}, MMU_PAGE);
	mslot_leave(snap);
	return 0;
}

int64_t mmu_world_harvest(void *world, uint64_t *pages)
{
	struct mmu_world *const w = world;
	const uint64_t begin = clock_wall_ns();
	struct mslot_dirty_batch *batch;
	uint64_t elapsed, put;
	const int ret = mslot_dirty_get(w->dirty, &batch);

	elapsed = clock_wall_ns() - begin;
	if (ret < 0)
		return ret;
	*pages = mslot_dirty_pages(batch);
	put = clock_wall_ns();
	mslot_dirty_ack(batch);
	return (int64_t)(elapsed + clock_wall_ns() - put);
}
