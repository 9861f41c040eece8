/* SPDX-License-Identifier: MIT */
/*
 * mmu_fault.c - hits of a vCPU's cache, and faults on memory that is there, by one thread and by
 * two.
 *
 * Faults are in rounds of FAULT_PAGES pages, all of which the root has forgotten before the clock
 * runs. The host memory is not touched: it is only address space. After each round all pages are
 * looked up.
 */
#include "cases.h"
#include "mmu.h"
#include "pair.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"

static const uint64_t slot_counts[] = {1, 509};

#define SLOT_COUNTS (sizeof(slot_counts) / sizeof(slot_counts[0]))

/* ---- Hits --------------------------------------------------------------------- */

#define HIT_PAGES 128u
#define HITS 65536u

struct hits {
	struct mmu_point p;
	uint64_t *addr;
	uint64_t expected;
};

/* The words are all different, and so are the sums of most sets of addresses. */
static void write_words(struct hits *h)
{
	uint64_t *const word = (uint64_t *)(void *)h->p.shape.host;
	struct rng rng = {HITS};

	for (size_t i = 0; i < HIT_PAGES * MMU_PAGE / 8; i++)
		word[i] = rng_next(&rng);
	h->expected = 0;
	for (size_t i = 0; i < HITS; i++)
		h->expected += word[h->addr[i] / 8];
}

static enum bench_outcome measure_hits(struct group_turn *t, double *value)
{
	struct hits *const h = t->ctx;
	const struct mmu_engine *const e = t->engine;
	uint64_t begin, sum;

	if (h->expected == 0)
		write_words(h);
	begin = clock_cpu_ns();
	sum = e->load(t->world, h->addr, HITS);
	*value = (double)(clock_cpu_ns() - begin) / HITS;
	if (sum != h->expected)
		return group_failed(t, "wrong answers while timed: the sum is 0x%llx, not 0x%llx",
				    (unsigned long long)sum, (unsigned long long)h->expected);
	return BENCH_OK;
}

int mmu_hit(const struct bench_group *g)
{
	struct rng rng = {HIT_PAGES};
	uint64_t *const addr = bench_alloc(HITS, sizeof(*addr));
	int ret = 0;

	for (size_t i = 0; i < HITS; i++)
		addr[i] = rng_below(&rng, HIT_PAGES * MMU_PAGE / 8) * 8;
	for (size_t i = 0; i < SLOT_COUNTS && ret == 0; i++) {
		struct hits h = {
		    .p = {.row = {.layout = "cached", .slots = slot_counts[i]},
			  .part = MMU_HITS,
			  .shape = {.npages = 1024,
				    .nslots = slot_counts[i],
				    .leaf_level = 1,
				    .nroots = 1},
			  .ctx = &h,
			  .measure = measure_hits},
		    .addr = addr,
		};

		ret = mmu_take_turns(g, &h.p);
	}
	free(addr);
	return ret;
}

/* ---- Faults ------------------------------------------------------------------- */

#define FAULT_PAGES 16384u

enum fault_kind {
	ZAPPED,          /* direct: the leaf alone is missing, random pages */
	ZAPPED_IN_ORDER, /* and rising ones */
	FRESH_ROOT,      /* the tables, too */
	ONE_ALIAS,       /* shadow: no leaf maps the frame yet, */
	SECOND_ALIAS,    /* or one does */
};

static const char *const kind_name[] = {"zapped", "zapped-in-order", "fresh-root", "one-alias",
					"second-alias"};

struct faults {
	struct mmu_point p;
	enum fault_kind kind;
	struct mmu_addrs addrs;
	struct mslot_range range; /* the same pages */
};

static enum bench_outcome forget(struct group_turn *t)
{
	const struct mmu_engine *const e = t->engine;
	const struct faults *const f = t->ctx;
	const int ret = f->kind == FRESH_ROOT ? e->renew(t->world) : e->zap(t->world, 0, &f->addrs);

	if (ret < 0)
		return mmu_broken(t, "forgetting pages", ret);
	return mmu_check_mapped(t, 0, f->range, false);
}

static enum bench_outcome measure_faults(struct group_turn *t, double *value)
{
	const struct mmu_engine *const e = t->engine;
	const struct faults *const f = t->ctx;
	enum bench_outcome outcome = forget(t);
	uint64_t begin, sum = 0;
	int ret;

	if (outcome == BENCH_OK && f->kind == SECOND_ALIAS)
		outcome = mmu_fill(t, 0, mmu_all(&f->p.shape));
	if (outcome != BENCH_OK)
		return outcome;
	begin = clock_cpu_ns();
	ret = e->fault(t->world, 0, &f->addrs, &sum);
	*value = (double)(clock_cpu_ns() - begin) / (double)f->addrs.n;
	if (ret < 0)
		return mmu_broken(t, "a fault", ret);
	if (sum != mmu_sum(&f->p.shape, &f->addrs))
		return group_failed(t, "faults gave other host addresses");
	return mmu_check_mapped(t, 0, f->range, true);
}

static int run_faults(const struct bench_group *g, enum fault_kind kind, uint64_t nslots)
{
	const size_t n = mmu_size(g, FAULT_PAGES, 1024);
	uint64_t *const addr = mmu_pages(0, n, kind == ZAPPED || kind >= ONE_ALIAS);
	struct faults f = {
	    .p = {.row = {.layout = kind_name[kind], .slots = nslots},
		  .part = MMU_FAULTS,
		  .shape = {.npages = n,
			    .nslots = nslots,
			    .leaf_level = 1,
			    .nroots = 1,
			    .shadow = kind >= ONE_ALIAS},
		  .ctx = &f,
		  .measure = measure_faults},
	    .kind = kind,
	    .addrs = {.addr = addr, .n = n},
	    .range = {0, n * MMU_PAGE},
	};
	int ret;

	for (size_t i = 0; i < n && kind == SECOND_ALIAS; i++)
		addr[i] += MMU_ALIAS;
	f.range.start = kind == SECOND_ALIAS ? MMU_ALIAS : 0;
	ret = mmu_take_turns(g, &f.p);
	free(addr);
	return ret;
}

static int run_kinds(const struct bench_group *g, enum fault_kind first, enum fault_kind last)
{
	int ret = 0;

	for (enum fault_kind kind = first; kind <= last; kind++) {
		for (size_t i = 0; i < SLOT_COUNTS && ret == 0; i++)
			ret = run_faults(g, kind, slot_counts[i]);
	}
	return ret;
}

int mmu_fault_direct(const struct bench_group *g)
{
	return run_kinds(g, ZAPPED, FRESH_ROOT);
}

int mmu_fault_shadow(const struct bench_group *g)
{
	return run_kinds(g, ONE_ALIAS, SECOND_ALIAS);
}

/* ---- Two threads -------------------------------------------------------------- */

struct both {
	struct mmu_point p;
	bool same; /* frames, by two roots; else one root and two halves */
	struct mmu_addrs addrs[MMU_THREADS]; /* as many of each thread */
	struct group_turn *t;
	uint64_t sum[MMU_THREADS];
};

static enum bench_outcome forget_both(void *ctx)
{
	struct both *const b = ctx;
	const struct mmu_engine *const e = b->t->engine;

	for (unsigned int i = 0; i < MMU_THREADS; i++) {
		const int ret = e->zap(b->t->world, i, &b->addrs[i]);

		b->sum[i] = 0;
		if (ret < 0)
			return mmu_broken(b->t, "forgetting pages", ret);
	}
	return BENCH_OK;
}

static int fault_half(void *ctx, unsigned int thread)
{
	struct both *const b = ctx;
	const struct mmu_engine *const e = b->t->engine;

	return e->fault(b->t->world, thread, &b->addrs[thread], &b->sum[thread]);
}

static enum bench_outcome check_half(struct both *b, unsigned int thread)
{
	const struct mslot_range range = {
	    b->same ? 0 : thread * b->addrs[0].n * MMU_PAGE,
	    b->addrs[thread].n * MMU_PAGE,
	};

	if (b->sum[thread] != mmu_sum(&b->p.shape, &b->addrs[thread]))
		return group_failed(b->t, "faults of thread %u gave other host addresses", thread);
	return mmu_check_mapped(b->t, thread, range, true);
}

static enum bench_outcome check_both(void *ctx)
{
	struct both *const b = ctx;
	const enum bench_outcome outcome = check_half(b, 0);

	return outcome == BENCH_OK ? check_half(b, 1) : outcome;
}

static enum bench_outcome measure_both(struct group_turn *t, double *value)
{
	struct both *const b = t->ctx;
	/* Whoever finds a frame locked gives its processor to others. */
	const struct pair_work work = {.ctx = b,
				       .before = forget_both,
				       .run = fault_half,
				       .at_once = b->same ? 10 : 80,
				       .after = check_both};
	enum bench_outcome outcome;

	b->t = t;
	outcome = pair_measure(t, &work, value);
	*value /= (double)b->addrs[0].n;
	return outcome;
}

/* The same of one thread alone, in its CPU time: nobody makes it sleep but other programs. */
static enum bench_outcome measure_first(struct group_turn *t, double *value)
{
	struct both *const b = t->ctx;
	enum bench_outcome outcome;
	uint64_t begin;
	int ret;

	b->t = t;
	outcome = forget_both(b);
	if (outcome != BENCH_OK)
		return outcome;
	begin = clock_cpu_ns();
	ret = fault_half(b, 0);
	*value = (double)(clock_cpu_ns() - begin) / (double)b->addrs[0].n;
	return ret < 0 ? mmu_broken(t, "a fault", ret) : check_half(b, 0);
}

static int run_both(const struct bench_group *g, bool same, uint64_t nthreads)
{
	const size_t n = mmu_size(g, FAULT_PAGES, 1024);
	uint64_t *const addr[MMU_THREADS] = {mmu_pages(0, n, true),
					     mmu_pages(same ? 0 : n, n, true)};
	struct both b = {
	    .p = {.row = {.layout = same ? "same-frames" : "disjoint",
			  .axis = "threads",
			  .slots = nthreads},
		  .part = MMU_PAIRS,
		  .shape = {.npages = MMU_THREADS * n,
			    .nslots = 1,
			    .leaf_level = 1,
			    .nroots = same ? MMU_THREADS : 1},
		  .ctx = &b,
		  .measure = nthreads == 1 ? measure_first : measure_both},
	    .same = same,
	    .addrs = {{.addr = addr[0], .n = n}, {.addr = addr[1], .n = n}},
	};
	const int ret = mmu_take_turns(g, &b.p);

	free(addr[0]);
	free(addr[1]);
	return ret;
}

int mmu_faults_2t(const struct bench_group *g)
{
	int ret = 0;

	for (size_t i = 0; i < MMU_THREADS_POINTS && ret == 0; i++)
		ret = run_both(g, i / 2 == 1, i % 2 + 1);
	return ret;
}
