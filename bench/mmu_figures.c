/* SPDX-License-Identifier: MIT */
/*
 * mmu_figures.c - what the tables of mapped memory take, by what they are made of, and how long it
 * takes to forget a GiB of it.
 *
 * A shadow root maps each frame at two addresses. Slots are of whole leaves, so that thousands of
 * 2 MiB are more than a GiB, and 65 slots a bit less; all figures are for one. No host memory
 * is touched. Bytes are counted once, zaps as often as other measurements.
 */
#include "cases.h"
#include "mmu.h"

#include "clock.h"

#define GIB_PAGES (UINT64_C(1) << 18)
#define LEAF_2M 512u /* pages */

static const struct {
	const char *name;
	uint32_t level;
	bool shadow;
} kind[MMU_FIGURE_KINDS] = {
    {"4-kib-direct", 1, false}, {"2-mib-direct", 2, false}, {"4-kib-shadow-twice", 1, true}};
static const uint64_t slot_counts[] = {1, 64, 65, 4096};

#define SLOT_COUNTS (sizeof(slot_counts) / sizeof(slot_counts[0]))
_Static_assert(MMU_FIGURE_POINTS == MMU_FIGURE_KINDS * SLOT_COUNTS, "a point for each");

struct figures {
	struct mmu_point p;
	double gib;
	uint64_t (*bytes)(const struct mslot_mmu_stats *s); /* NULL: time a zap */
};

static uint64_t all_bytes(const struct mslot_mmu_stats *s)
{
	return s->table_bytes + s->frame_bytes + s->list_bytes;
}

static uint64_t table_bytes(const struct mslot_mmu_stats *s)
{
	return s->table_bytes;
}

static uint64_t frame_bytes(const struct mslot_mmu_stats *s)
{
	return s->frame_bytes;
}

static uint64_t list_bytes(const struct mslot_mmu_stats *s)
{
	return s->list_bytes;
}

/* Guest memory, once or at both addresses. */
static struct mslot_range alias(const struct mmu_shape *s, unsigned int which)
{
	return (struct mslot_range){which * MMU_ALIAS, s->npages * MMU_PAGE};
}

static unsigned int naliases(const struct mmu_shape *s)
{
	return s->shadow ? 2 : 1;
}

static enum bench_outcome map_all(struct group_turn *t)
{
	const struct mmu_shape *const s = mmu_shape_of(t);
	enum bench_outcome outcome = BENCH_OK;

	for (unsigned int i = 0; i < naliases(s) && outcome == BENCH_OK; i++) {
		outcome = mmu_fill(t, 0, alias(s, i));
		if (outcome == BENCH_OK)
			outcome = mmu_check_mapped(t, 0, alias(s, i), true);
	}
	return outcome;
}

/* A leaf is a word at least. */
static enum bench_outcome count_bytes(struct group_turn *t, double *value)
{
	const struct figures *const f = t->ctx;
	const struct mmu_shape *const s = &f->p.shape;
	const uint64_t leaves = s->npages * naliases(s) / (s->leaf_level == 2 ? LEAF_2M : 1);
	struct mslot_mmu_stats stats;
	const int ret = mmu_engine_of(t)->stats(t->world, &stats);

	if (ret < 0)
		return mmu_broken(t, "counters", ret);
	if (stats.table_bytes < leaves * sizeof(uint64_t))
		return group_failed(t, "%llu bytes of tables for %llu leaves",
				    (unsigned long long)stats.table_bytes,
				    (unsigned long long)leaves);
	*value = (double)f->bytes(&stats) / f->gib;
	return BENCH_OK;
}

static enum bench_outcome time_zap(struct group_turn *t, double *value)
{
	const struct figures *const f = t->ctx;
	const struct mmu_shape *const s = &f->p.shape;
	enum bench_outcome outcome = BENCH_OK;
	const uint64_t begin = clock_process_ns();
	const int ret = mmu_engine_of(t)->zap_all(t->world);

	*value = (double)(clock_process_ns() - begin) / 1e6 / f->gib;
	if (ret < 0)
		return mmu_broken(t, "a zap", ret);
	for (unsigned int i = 0; i < naliases(s) && outcome == BENCH_OK; i++)
		outcome = mmu_check_mapped(t, 0, alias(s, i), false);
	return outcome;
}

static enum bench_outcome measure(struct group_turn *t, double *value)
{
	const struct figures *const f = t->ctx;
	const enum bench_outcome outcome = map_all(t);

	if (outcome != BENCH_OK)
		return outcome;
	return f->bytes != NULL ? count_bytes(t, value) : time_zap(t, value);
}

/* Of each slot: whole leaves, of a GiB together where that is enough. */
static uint64_t slot_pages(const struct bench_group *g, size_t k, uint64_t nslots)
{
	const uint64_t leaf = kind[k].level == 2 ? LEAF_2M : 1;
	const uint64_t leaves = mmu_size(g, GIB_PAGES, 8192) / nslots / leaf;

	return (leaves > 0 ? leaves : 1) * leaf;
}

static int run_point(const struct bench_group *g, size_t k, uint64_t nslots,
		     uint64_t (*bytes)(const struct mslot_mmu_stats *s))
{
	const uint64_t npages = nslots * slot_pages(g, k, nslots);
	struct figures f = {
	    .p = {.row = {.layout = kind[k].name, .slots = nslots},
		  .part = MMU_FIGURES,
		  .shape = {.npages = npages,
			    .nslots = nslots,
			    .leaf_level = kind[k].level,
			    .nroots = 1,
			    .shadow = kind[k].shadow},
		  .ctx = &f,
		  .measure = measure},
	    .gib = (double)npages / (double)GIB_PAGES,
	    .bytes = bytes,
	};
	struct bench_group once = *g;

	if (bytes != NULL)
		once.repetitions = 1;
	*g->done += g->repetitions - once.repetitions;
	return mmu_take_turns(&once, &f.p);
}

static int run(const struct bench_group *g, uint64_t (*bytes)(const struct mslot_mmu_stats *s))
{
	int ret = 0;

	for (size_t i = 0; i < MMU_FIGURE_POINTS && ret == 0; i++)
		ret = run_point(g, i / SLOT_COUNTS, slot_counts[i % SLOT_COUNTS], bytes);
	return ret;
}

int mmu_metadata(const struct bench_group *g)
{
	return run(g, all_bytes);
}

int mmu_metadata_tables(const struct bench_group *g)
{
	return run(g, table_bytes);
}

int mmu_metadata_frames(const struct bench_group *g)
{
	return run(g, frame_bytes);
}

int mmu_metadata_lists(const struct bench_group *g)
{
	return run(g, list_bytes);
}

int mmu_zap(const struct bench_group *g)
{
	return run(g, NULL);
}
