/* SPDX-License-Identifier: MIT */
/*
 * mmu.h - what the cases of `mslot bench mmu` share: points with their guest memory, and whether
 * an engine's tables say what they must.
 */
#ifndef MSLOT_BENCH_MMU_H
#define MSLOT_BENCH_MMU_H

#include "engines/mmu_engines.h"
#include "group.h"

struct mmu_point {
	struct bench_row row; /* layout, slots, axis unless that is "slots" */
	enum mmu_part part;   /* engines that have it take part */
	struct mmu_shape shape;
	void *ctx;
	/* Of a turn, whose ctx is this point. */
	enum bench_outcome (*measure)(struct group_turn *t, double *value);
};

/* A number of pages or slots, less of it in a quick run. */
static inline uint64_t mmu_size(const struct bench_group *g, uint64_t n, uint64_t quick)
{
	return g->quick && n > quick ? quick : n;
}

/* shape.host for shape.npages and other_pages, aligned; 0, or -1 with a message in g->why. */
int mmu_host_init(const struct bench_group *g, struct mmu_shape *shape);
void mmu_host_fini(struct mmu_shape *shape);

/* All turns of a point, with guest memory of their own; 0, or -1 with a message in g->why. */
int mmu_take_turns(const struct bench_group *g, struct mmu_point *point);

/* Each page of a range is mapped to its host address, by one thread's root, or none is. */
enum bench_outcome mmu_check_mapped(struct group_turn *t, unsigned int thread,
				    struct mslot_range range, bool mapped);
/* The sum that faults at these addresses must have. */
uint64_t mmu_sum(const struct mmu_shape *shape, const struct mmu_addrs *a);
/* Faults at these addresses, checked; none is timed. */
enum bench_outcome mmu_fault_in(struct group_turn *t, unsigned int thread,
				const struct mmu_addrs *a);
/* Faults a range in, and looks whether all of it is there. */
enum bench_outcome mmu_fill(struct group_turn *t, unsigned int thread, struct mslot_range range);

/* Addresses of n pages from `first` on, in order or shuffled; freed by the caller. */
uint64_t *mmu_pages(uint64_t first, size_t n, bool shuffled);

/* t->engine, t->ctx and the range of all slots. */
static inline const struct mmu_engine *mmu_engine_of(const struct group_turn *t)
{
	return t->engine;
}

static inline const struct mmu_shape *mmu_shape_of(const struct group_turn *t)
{
	return &((const struct mmu_point *)t->ctx)->shape;
}

static inline struct mslot_range mmu_all(const struct mmu_shape *shape)
{
	return (struct mslot_range){0, shape->npages * MMU_PAGE};
}

/* -errno of an engine's function, with what it was, as a failure of the turn. */
enum bench_outcome mmu_broken(struct group_turn *t, const char *what, int64_t err);

#endif /* MSLOT_BENCH_MMU_H */
