/* SPDX-License-Identifier: MIT */
/*
 * mmu_map.c - the map and unmap phases of the kernel's memslot_perf_test, on 512 MiB of guest
 * memory: the guest writes a word to each page; the host takes the first half of the memory away, a
 * page at a time or 2 MiB at a time.
 *
 * That program has half of these sizes, more or less, and a guest; here the tables are filled by
 * faults, as its guest does it, and real host memory comes and goes in both, by the wall clock:
 * what of it is the host's own is the row of the engine "memory". All tables have leaves of single
 * pages.
 */
#include "cases.h"
#include "mmu.h"

#include <sys/mman.h>

#include "clock.h"

#define PAGES (512u << 8) /* of 512 MiB */
#define WORD UINT64_C(0x6d736c6f74)

static const uint64_t slot_counts[MMU_MAP_POINTS] = {10, 30, 50, 100, 509, 4096, 32764};

struct phase {
	struct mmu_point p;
	uint64_t chunk_bytes; /* 0: the map phase */
};

static struct mslot_range half(const struct mmu_shape *s, unsigned int which)
{
	const uint64_t bytes = s->npages / 2 * MMU_PAGE;

	return (struct mslot_range){which * bytes, bytes};
}

/* What the guest wrote is in all pages of a range, or in none: they are the host's empty ones. */
static enum bench_outcome check_host(struct group_turn *t, struct mslot_range range, bool there)
{
	const struct mmu_shape *const s = mmu_shape_of(t);

	for (uint64_t at = range.start; at < range.start + range.len_bytes; at += MMU_PAGE) {
		const uint64_t word = *(const uint64_t *)(const void *)(s->host + at);

		if (word != (there ? WORD : 0))
			return group_failed(t, "page %llu was not %s",
					    (unsigned long long)(at / MMU_PAGE),
					    there ? "written" : "taken away");
	}
	return BENCH_OK;
}

static enum bench_outcome check_half(struct group_turn *t, unsigned int which, bool there)
{
	const struct mslot_range range = half(mmu_shape_of(t), which);
	const enum bench_outcome outcome = check_host(t, range, there);

	if (outcome != BENCH_OK || mmu_engine_of(t)->tableless)
		return outcome;
	return mmu_check_mapped(t, 0, range, there);
}

/* Nothing is mapped, and no memory is there. */
static enum bench_outcome prepare(struct group_turn *t)
{
	const struct mmu_engine *const e = t->engine;
	const struct mmu_shape *const s = mmu_shape_of(t);
	const int ret = e->zap_all(t->world);

	if (ret < 0)
		return mmu_broken(t, "forgetting pages", ret);
	if (madvise(s->host, s->npages * MMU_PAGE, MADV_DONTNEED) < 0)
		return group_failed(t, "the host keeps its memory");
	return BENCH_OK;
}

static enum bench_outcome measure(struct group_turn *t, double *value)
{
	const struct mmu_engine *const e = t->engine;
	const struct phase *const phase = t->ctx;
	const struct mmu_shape *const s = &phase->p.shape;
	enum bench_outcome outcome = prepare(t);
	uint64_t begin;
	int ret;

	if (outcome != BENCH_OK)
		return outcome;
	begin = clock_process_ns();
	ret = e->store(t->world, mmu_all(s), WORD);
	*value = (double)(clock_process_ns() - begin) / 1e6;
	if (ret < 0)
		return mmu_broken(t, "a write", ret);
	outcome = check_half(t, 0, true);
	if (outcome == BENCH_OK && phase->chunk_bytes > 0) {
		begin = clock_process_ns();
		ret = e->drop(t->world, half(s, 0), phase->chunk_bytes);
		*value = (double)(clock_process_ns() - begin) / 1e6;
		outcome = ret < 0 ? mmu_broken(t, "unmapping", ret) : check_half(t, 0, false);
	}
	return outcome == BENCH_OK ? check_half(t, 1, true) : outcome;
}

static int run(const struct bench_group *g, uint64_t chunk_bytes)
{
	int ret = 0;

	for (size_t i = 0; i < MMU_MAP_POINTS && ret == 0; i++) {
		struct phase phase = {
		    .p = {.row = {.layout = "4-kib", .slots = mmu_size(g, slot_counts[i], 509)},
			  .part = MMU_UNMAPS,
			  .shape = {.npages = mmu_size(g, PAGES, 2048),
				    .leaf_level = 1,
				    .nroots = 1},
			  .ctx = &phase,
			  .measure = measure},
		    .chunk_bytes = chunk_bytes,
		};

		phase.p.shape.nslots = phase.p.row.slots;
		if (g->quick && slot_counts[i] > 509)
			*g->done += g->repetitions + 1;
		else
			ret = mmu_take_turns(g, &phase.p);
	}
	return ret;
}

int mmu_map(const struct bench_group *g)
{
	return run(g, 0);
}

int mmu_unmap(const struct bench_group *g)
{
	return run(g, MMU_PAGE);
}

int mmu_unmap_2m(const struct bench_group *g)
{
	return run(g, 512 * MMU_PAGE);
}
