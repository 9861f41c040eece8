/* SPDX-License-Identifier: MIT */
/*
 * bench_mmu_liars.c - the engines of test_bench.c for the group "mmu", in the place of
 * bench/engines/mmu_engines.c: the library's tables under their own name, with the fault that is
 * chosen, and a control whose edits are mergers and splits while EDITS_CONTROL is.
 */
#include "bench_liars.h"
#include "engines/mmu_world.h"

#include <errno.h>

enum mmu_liar mmu_liar;

static void *create(const struct mmu_shape *shape, char why[BENCH_REASON])
{
	return mmu_reverse.create(shape, why);
}

static void destroy(void *world)
{
	mmu_reverse.destroy(world);
}

static uint64_t load(void *world, const uint64_t *addr, size_t n)
{
	return mmu_reverse.load(world, addr, n) + (mmu_liar == LOADS_OF_OTHERS);
}

static int fault(void *world, unsigned int thread, const struct mmu_addrs *a, uint64_t *sum)
{
	const char *const host = ((struct mmu_world *)world)->shape.host;

	for (size_t i = 0; i < a->n && mmu_liar == FAULTS_OF_NOTHING; i++)
		*sum += (uintptr_t)host + mmu_gpa(a->addr[i]);
	if (mmu_liar == FAULTS_OF_NOTHING)
		return 0;
	*sum += mmu_liar == FAULTS_ELSEWHERE ? MMU_PAGE : 0;
	return mmu_liar == FAULTS_FAIL ? -EFAULT : mmu_reverse.fault(world, thread, a, sum);
}

static int zap(void *world, unsigned int thread, const struct mmu_addrs *a)
{
	struct mmu_addrs most = *a;

	most.n -= mmu_liar == ZAPS_LEAVE_ONE;
	return mmu_reverse.zap(world, thread, &most);
}

static int64_t fill(void *world, unsigned int thread, struct mslot_range range)
{
	return mmu_reverse.fill(world, thread, range) - (mmu_liar == FILLS_LESS);
}

static int zap_all(void *world)
{
	return mmu_liar == ZAPS_NOTHING ? 0 : mmu_reverse.zap_all(world);
}

/* Without tables: the world of mmu_memory is a shape, which ours begins with. */
_Static_assert(offsetof(struct mmu_world, shape) == 0, "a world begins with its shape");

static int store(void *world, struct mslot_range gpa, uint64_t val)
{
	gpa.len_bytes -= mmu_liar == STORES_LESS ? MMU_PAGE : 0;
	return mmu_liar == STORES_UNMAPPED ? mmu_memory.store(world, gpa, val)
					   : mmu_reverse.store(world, gpa, val);
}

static int drop(void *world, struct mslot_range gpa, uint64_t chunk_bytes)
{
	gpa.len_bytes += mmu_liar == DROPS_MORE ? chunk_bytes : 0;
	gpa.len_bytes -= mmu_liar == DROPS_LESS ? chunk_bytes : 0;
	return mmu_liar == DROPS_STAY_MAPPED ? mmu_memory.drop(world, gpa, chunk_bytes)
					     : mmu_reverse.drop(world, gpa, chunk_bytes);
}

static int edit(void *world, enum mmu_edit edit)
{
	return mmu_liar == DELETES_NOTHING && edit == MMU_DELETE ? 0
								 : mmu_reverse.edit(world, edit);
}

static int stats(void *world, struct mslot_mmu_stats *out)
{
	static uint64_t calls;
	const int ret = mmu_reverse.stats(world, out);

	calls++;
	out->faults += mmu_liar == FAULTS_MISCOUNTED ? calls : 0;
	out->tables += mmu_liar == LOGGING_SPLITS ? calls : 0;
	out->table_bytes = mmu_liar == TABLES_FOR_NOTHING ? 8 : out->table_bytes;
	return ret;
}

static int64_t dirty(void *world)
{
	const int64_t n = mmu_reverse.dirty(world);

	return mmu_liar == LOGGING_LOSES_ONE && n > 0 ? n - 1 : n;
}

static int64_t harvest(void *world, uint64_t *pages)
{
	const int64_t ns = mmu_reverse.harvest(world, pages);

	*pages -= mmu_liar == MAPPED_HARVESTS_LOSE;
	return ns;
}

static int control(void *world, enum mmu_edit edit)
{
	return mmu_liar == EDITS_CONTROL ? mmu_reverse.edit(world, edit)
					 : mmu_recreated.edit(world, edit);
}

static int renew(void *world)
{
	return mmu_reverse.renew(world);
}

static int lookup(void *world, unsigned int thread, uint64_t addr, uint64_t *hva)
{
	return mmu_reverse.lookup(world, thread, addr, hva);
}

static int mark(void *world, const struct mmu_addrs *a)
{
	return mmu_reverse.mark(world, a);
}

#define COMMON                                                                                     \
	.create = create, .destroy = destroy, .load = load, .fault = fault, .zap = zap,            \
	.renew = renew, .fill = fill, .zap_all = zap_all, .lookup = lookup, .store = store,        \
	.drop = drop, .stats = stats, .dirty = dirty, .mark = mark, .harvest = harvest

static const struct mmu_engine liar = {.name = "mslot", .parts = UINT32_MAX, .edit = edit, COMMON};
static const struct mmu_engine liar_recreated = {
    .name = "recreated", .parts = 1u << MMU_EDITS, .recreates = true, .edit = control, COMMON};

const struct mmu_engine *const mmu_engines[] = {&liar, &liar_recreated};
const size_t nmmu_engines = 2;
