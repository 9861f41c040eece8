/* SPDX-License-Identifier: MIT */
/*
 * mmu_log.c - what dirty logging costs whoever has mapped memory.
 *
 * On 512 MiB: what a commit takes that turns logging on or off, how many tables there are, and
 * what the first write to each page takes afterwards. The engine that splits shows what the same
 * takes where each large leaf has to become a table. Every page that was written must be dirty, and
 * no table may come or go with logging (but of the engine that splits).
 *
 * Harvests: 64 GiB of which 1 % is dirty, all of it mapped; and in the same turns nothing.
 */
#include "cases.h"
#include "mmu.h"

#include <stdlib.h>

#include "clock.h"

#define PAGES (512u << 8) /* of 512 MiB */
#define HARVEST_PAGES (UINT64_C(64) << 18)
#define HARVESTS 16u /* of a measurement, which is their median */

static const char *const leaf_name[] = {"4-kib", "2-mib"}; /* by level - 1 */

/* What of a round is the value. */
enum log_figure { LOG_ON_US, LOG_OFF_US, LOG_WRITE_NS, LOG_TABLES };
/* Of LOG_TABLES: when they are counted. */
enum log_time { LOG_BEFORE, LOG_ON, LOG_WRITTEN, LOG_TIMES };

static const char *const tables_layout[][LOG_TIMES] = {
    {"4-kib-before", "4-kib-logging", "4-kib-written"},
    {"2-mib-before", "2-mib-logging", "2-mib-written"},
};

struct logging {
	struct mmu_point p;
	enum log_figure figure;
	enum log_time time;
	struct mmu_addrs writes; /* one to each page */
	uint64_t tables[LOG_TIMES];
};

static enum bench_outcome count_tables(struct group_turn *t, enum log_time time)
{
	struct logging *const l = t->ctx;
	struct mslot_mmu_stats stats;
	const int ret = mmu_engine_of(t)->stats(t->world, &stats);

	if (ret < 0)
		return mmu_broken(t, "counters", ret);
	l->tables[time] = stats.tables;
	return BENCH_OK;
}

static enum bench_outcome change(struct group_turn *t, enum mmu_edit edit, double *us)
{
	const uint64_t begin = clock_wall_ns();
	const int ret = mmu_engine_of(t)->edit(t->world, edit);

	*us = (double)(clock_wall_ns() - begin) / 1e3;
	return ret < 0 ? mmu_broken(t, edit == MMU_LOG_ON ? "logging on" : "logging off", ret)
		       : BENCH_OK;
}

static enum bench_outcome write_pages(struct group_turn *t, double *ns)
{
	const struct mmu_engine *const e = t->engine;
	const struct logging *const l = t->ctx;
	const int64_t before = e->dirty(t->world);
	uint64_t begin, sum = 0;
	int64_t dirty;
	int ret;

	if (before < 0)
		return mmu_broken(t, "a harvest", before);
	begin = clock_cpu_ns();
	ret = e->fault(t->world, 0, &l->writes, &sum);
	*ns = (double)(clock_cpu_ns() - begin) / (double)l->writes.n;
	if (ret < 0)
		return mmu_broken(t, "a write", ret);
	if (sum != mmu_sum(&l->p.shape, &l->writes))
		return group_failed(t, "faults gave other host addresses");
	dirty = e->dirty(t->world);
	if (dirty < 0)
		return mmu_broken(t, "a harvest", dirty);
	if ((uint64_t)dirty != l->writes.n)
		return group_failed(t, "%lld pages are dirty, expected %zu", (long long)dirty,
				    l->writes.n);
	return BENCH_OK;
}

static double value_of(const struct logging *l, const double took[LOG_TABLES])
{
	return l->figure == LOG_TABLES ? (double)l->tables[l->time] : took[l->figure];
}

/* Mapped, logged, written, and not logged any more. */
static enum bench_outcome measure_logging(struct group_turn *t, double *value)
{
	struct logging *const l = t->ctx;
	enum bench_outcome outcome = mmu_fill(t, 0, mmu_all(&l->p.shape));
	double took[LOG_TABLES];

	if (outcome == BENCH_OK)
		outcome = count_tables(t, LOG_BEFORE);
	if (outcome == BENCH_OK)
		outcome = change(t, MMU_LOG_ON, &took[LOG_ON_US]);
	if (outcome == BENCH_OK)
		outcome = count_tables(t, LOG_ON);
	if (outcome == BENCH_OK)
		outcome = write_pages(t, &took[LOG_WRITE_NS]);
	if (outcome == BENCH_OK)
		outcome = count_tables(t, LOG_WRITTEN);
	if (outcome == BENCH_OK)
		outcome = change(t, MMU_LOG_OFF, &took[LOG_OFF_US]);
	if (outcome != BENCH_OK)
		return outcome;
	if (!mmu_engine_of(t)->splits && (l->tables[LOG_ON] != l->tables[LOG_BEFORE] ||
					  l->tables[LOG_WRITTEN] != l->tables[LOG_BEFORE]))
		return group_failed(t, "%llu tables, %llu when logged, %llu when written",
				    (unsigned long long)l->tables[LOG_BEFORE],
				    (unsigned long long)l->tables[LOG_ON],
				    (unsigned long long)l->tables[LOG_WRITTEN]);
	*value = value_of(l, took);
	return BENCH_OK;
}

static int run_logging(const struct bench_group *g, enum log_figure figure, enum log_time time)
{
	const uint64_t n = mmu_size(g, PAGES, 8192);
	uint64_t *const addr = mmu_pages(0, n, false);
	int ret = 0;

	for (uint32_t level = MMU_LEAF_POINTS; level > 0 && ret == 0; level--) {
		struct logging l = {
		    .p = {.row = {.layout = leaf_name[level - 1],
				  .axis = "mib",
				  .slots = n * MMU_PAGE >> 20},
			  .part = MMU_LOGGING,
			  .shape = {.npages = n, .nslots = 1, .leaf_level = level, .nroots = 1},
			  .ctx = &l,
			  .measure = measure_logging},
		    .figure = figure,
		    .time = time,
		    .writes = {.addr = addr, .n = n, .write = true},
		};

		if (figure == LOG_TABLES)
			l.p.row.layout = tables_layout[level - 1][time];
		ret = mmu_take_turns(g, &l.p);
	}
	free(addr);
	return ret;
}

int mmu_log_on(const struct bench_group *g)
{
	return run_logging(g, LOG_ON_US, LOG_BEFORE);
}

int mmu_log_off(const struct bench_group *g)
{
	return run_logging(g, LOG_OFF_US, LOG_BEFORE);
}

int mmu_log_write(const struct bench_group *g)
{
	return run_logging(g, LOG_WRITE_NS, LOG_BEFORE);
}

int mmu_log_tables(const struct bench_group *g)
{
	int ret = 0;

	for (enum log_time time = LOG_BEFORE; time < LOG_TIMES && ret == 0; time++)
		ret = run_logging(g, LOG_TABLES, time);
	return ret;
}

/* ---- Harvests ----------------------------------------------------------------- */

struct harvest {
	struct mmu_point p;
	struct mmu_addrs marks; /* different pages */
};

/* The first time: full tables, and somebody who harvests. */
static enum bench_outcome begin_harvests(struct group_turn *t)
{
	const struct mmu_engine *const e = t->engine;
	const struct harvest *const h = t->ctx;
	enum bench_outcome outcome = BENCH_OK;
	struct mslot_mmu_stats stats;
	int ret = e->stats(t->world, &stats);

	if (ret == 0 && stats.tables == 0)
		outcome = mmu_fill(t, 0, mmu_all(&h->p.shape));
	if (ret == 0 && outcome == BENCH_OK)
		ret = e->edit(t->world, MMU_CONSUME);
	return ret < 0 ? mmu_broken(t, "logging on", ret) : outcome;
}

static enum bench_outcome harvest_once(struct group_turn *t, double *us)
{
	const struct mmu_engine *const e = t->engine;
	const struct harvest *const h = t->ctx;
	uint64_t pages = 0;
	const int ret = e->mark(t->world, &h->marks);
	int64_t ns;

	if (ret < 0)
		return mmu_broken(t, "cannot make pages dirty", ret);
	ns = e->harvest(t->world, &pages);
	if (ns < 0)
		return mmu_broken(t, "a harvest", ns);
	if (pages != h->marks.n)
		return group_failed(t, "a harvest has %llu pages, expected %zu",
				    (unsigned long long)pages, h->marks.n);
	*us = (double)ns / 1e3;
	return BENCH_OK;
}

static enum bench_outcome measure_harvest(struct group_turn *t, double *value)
{
	enum bench_outcome outcome = begin_harvests(t);
	double us[HARVESTS];

	for (size_t i = 0; i < HARVESTS && outcome == BENCH_OK; i++)
		outcome = harvest_once(t, &us[i]);
	if (outcome == BENCH_OK)
		*value = group_median(us, HARVESTS);
	return outcome;
}

/* A page of each hundred, anywhere in it. */
static uint64_t *choose_pages(uint64_t n)
{
	uint64_t *const addr = bench_alloc(n, sizeof(*addr));
	struct rng rng = {n};

	for (uint64_t i = 0; i < n; i++)
		addr[i] = (i * 100 + rng_below(&rng, 100)) * MMU_PAGE;
	return addr;
}

int mmu_harvest(const struct bench_group *g)
{
	static const struct {
		const char *name;
		uint32_t level;
	} kind[MMU_HARVEST_POINTS] = {{"1-gib", 3}, {"2-mib", 2}, {"4-kib", 1}};
	const uint64_t n = mmu_size(g, HARVEST_PAGES, 65536);
	uint64_t *const addr = choose_pages(n / 100);
	int ret = 0;

	for (size_t i = 0; i < MMU_HARVEST_POINTS && ret == 0; i++) {
		struct harvest h = {
		    .p = {.row = {.layout = kind[i].name,
				  .axis = "mib",
				  .slots = n * MMU_PAGE >> 20},
			  .part = MMU_HARVESTS,
			  .shape =
			      {.npages = n, .nslots = 1, .leaf_level = kind[i].level, .nroots = 1},
			  .ctx = &h,
			  .measure = measure_harvest},
		    .marks = {.addr = addr, .n = n / 100},
		};

		ret = mmu_take_turns(g, &h.p);
	}
	free(addr);
	return ret;
}
