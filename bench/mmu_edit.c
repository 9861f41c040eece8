/* SPDX-License-Identifier: MIT */
/*
 * mmu_edit.c - what merging and splitting slots costs whoever has mapped 512 MiB of them.
 *
 * 512 slots become one, or one becomes 512 (256 of 2 MiB each where leaves are as large), while all
 * of it is mapped; then each page is looked up and, where it is gone, faulted in, and the faults
 * are counted. The control deletes and creates: if it did not count all leaves, zeros would mean
 * nothing.
 */
#include "cases.h"
#include "mmu.h"

#include <stdlib.h>

#define PAGES (512u << 8) /* of 512 MiB */
#define SLOTS 512u
#define LEAF_2M 512u /* pages */

static const char *const leaf_name[] = {"4-kib", "2-mib"}; /* by level - 1 */

/* ---- Refaults ----------------------------------------------------------------- */

struct refaults {
	struct mmu_point p;
	enum mmu_edit before, edit;
	const uint64_t *addr; /* of each page */
};

/* Fault in what lookups miss, page by page as a vCPU would; *misses of them. */
static enum bench_outcome read_again(struct group_turn *t, uint64_t *misses)
{
	const struct mmu_engine *const e = t->engine;
	const struct refaults *const r = t->ctx;
	enum bench_outcome outcome = BENCH_OK;

	for (uint64_t i = 0; i < r->p.shape.npages && outcome == BENCH_OK; i++) {
		const struct mmu_addrs one = {.addr = &r->addr[i], .n = 1};
		uint64_t hva = 0;
		const int ret = e->lookup(t->world, 0, r->addr[i], &hva);

		if (ret < 0)
			return mmu_broken(t, "a lookup", ret);
		if (ret > 0 && hva != (uintptr_t)r->p.shape.host + r->addr[i])
			return group_failed(t, "a page is mapped to other memory");
		*misses += ret == 0;
		if (ret == 0)
			outcome = mmu_fault_in(t, 0, &one);
	}
	return outcome;
}

static enum bench_outcome check_count(struct group_turn *t, uint64_t misses, uint64_t faults)
{
	const struct refaults *const r = t->ctx;
	const uint64_t leaves = r->p.shape.npages / (r->p.shape.leaf_level == 2 ? LEAF_2M : 1);

	if (misses != faults)
		return group_failed(t, "%llu pages were gone, but %llu faults were counted",
				    (unsigned long long)misses, (unsigned long long)faults);
	if (mmu_engine_of(t)->recreates && misses != leaves)
		return group_failed(t,
				    "slots that were deleted and created again: %llu faults, "
				    "expected %llu",
				    (unsigned long long)misses, (unsigned long long)leaves);
	return BENCH_OK;
}

static enum bench_outcome edit_and_read(struct group_turn *t, double *value)
{
	const struct mmu_engine *const e = t->engine;
	const struct refaults *const r = t->ctx;
	struct mslot_mmu_stats before = {0}, after = {0};
	enum bench_outcome outcome;
	uint64_t misses = 0;
	int ret = e->edit(t->world, r->edit);

	if (ret == 0)
		ret = e->stats(t->world, &before);
	if (ret < 0)
		return mmu_broken(t, "an edit", ret);
	outcome = read_again(t, &misses);
	ret = e->stats(t->world, &after);
	if (outcome != BENCH_OK || ret < 0)
		return ret < 0 ? mmu_broken(t, "counters", ret) : outcome;
	*value = (double)misses;
	return check_count(t, misses, after.faults - before.faults);
}

static enum bench_outcome measure_refaults(struct group_turn *t, double *value)
{
	const struct mmu_engine *const e = t->engine;
	const struct refaults *const r = t->ctx;
	const struct mslot_range all = mmu_all(&r->p.shape);
	enum bench_outcome outcome;
	int ret = 0;

	if (r->before != r->edit)
		ret = e->edit(t->world, r->before);
	if (ret < 0)
		return mmu_broken(t, "an edit before", ret);
	outcome = mmu_fill(t, 0, all);
	if (outcome == BENCH_OK)
		outcome = mmu_check_mapped(t, 0, all, true);
	if (outcome == BENCH_OK)
		outcome = edit_and_read(t, value);
	/* As it was: 512 slots. */
	ret = outcome == BENCH_OK && r->edit == MMU_MERGE ? e->edit(t->world, MMU_SPLIT) : 0;
	return ret < 0 ? mmu_broken(t, "an edit afterwards", ret) : outcome;
}

static int run_refaults(const struct bench_group *g, enum mmu_edit edit)
{
	const uint64_t n = mmu_size(g, PAGES, 8192);
	uint64_t *const addr = mmu_pages(0, n, false);
	int ret = 0;

	for (uint32_t level = 1; level <= MMU_LEAF_POINTS && ret == 0; level++) {
		/* A large leaf must be in one slot before and after. */
		const uint64_t slots = level == 2 ? n / LEAF_2M : mmu_size(g, SLOTS, 16);
		struct refaults r = {
		    .p = {.row = {.layout = leaf_name[level - 1], .slots = slots},
			  .part = MMU_EDITS,
			  .shape = {.npages = n, .nslots = slots, .leaf_level = level, .nroots = 1},
			  .ctx = &r,
			  .measure = measure_refaults},
		    .before = edit == MMU_SPLIT ? MMU_MERGE : edit,
		    .edit = edit,
		    .addr = addr,
		};

		ret = mmu_take_turns(g, &r.p);
	}
	free(addr);
	return ret;
}

int mmu_merge_refaults(const struct bench_group *g)
{
	return run_refaults(g, MMU_MERGE);
}

int mmu_split_refaults(const struct bench_group *g)
{
	return run_refaults(g, MMU_SPLIT);
}
