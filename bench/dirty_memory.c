/* SPDX-License-Identifier: MIT */
/*
 * dirty_memory.c - what dirty bitmaps take: bytes of address space as the map counts them, and
 * how much more of the process is resident after 1 % of the pages, at random, were dirty once and
 * every consumer has harvested them. Of a slot of 64 GiB; the values are for one GiB of it.
 */
#include "cases.h"
#include "engines/dirty_engines.h"
#include "group.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <mslot/mslot.h>

#define GIB UINT64_C(64)
#define LEN_BYTES (GIB << 30)
#define CONSUMERS 3u

/* A map with one slot, and who looks at it. */
struct logged {
	struct mslot_map *map;
	struct mslot_region *region;
	void *host;
	struct mslot_dirty *dirty[CONSUMERS];
	size_t ndirty;
	uint64_t bytes;   /* as the map says */
	int64_t resident; /* below 0: the system does not tell */
	char why[BENCH_REASON];
};

static const struct {
	const char *name;
	size_t consumers;
} sizes[] = {{"unlogged", 0}, {"1-consumer", 1}, {"3-consumers", 3}};

#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static int64_t resident_bytes(void)
{
	FILE *const f = fopen("/proc/self/smaps_rollup", "re");
	char line[256];
	long long kib = -1;

	while (f != NULL && kib < 0 && fgets(line, sizeof(line), f) != NULL)
		sscanf(line, "Rss: %lld kB", &kib);
	if (f != NULL)
		fclose(f);
	return kib < 0 ? -1 : (int64_t)kib * 1024;
}

static int open_slot(struct logged *l)
{
	struct mslot_region_options opt = {.len_bytes = LEN_BYTES, .fd = -1};
	struct mslot_slot_def def = {.len_bytes = LEN_BYTES};
	struct mslot_txn *txn = NULL;
	int ret;

	l->host = bench_host(LEN_BYTES, l->why);
	if (l->host == NULL)
		return -ENOMEM;
	opt.hva = l->host;
	ret = mslot_map_create(NULL, &l->map);
	if (ret == 0)
		ret = mslot_region_create(&opt, &l->region);
	if (ret == 0)
		ret = mslot_txn_begin(l->map, &txn);
	if (ret < 0)
		return ret;
	def.region = l->region;
	ret = mslot_txn_create(txn, &def);
	if (ret >= 0)
		ret = mslot_txn_commit(txn, NULL, NULL);
	if (ret < 0)
		mslot_txn_abort(txn);
	return ret < 0 ? ret : 0;
}

static void close_slot(struct logged *l)
{
	for (size_t i = 0; i < l->ndirty; i++)
		mslot_dirty_destroy(l->dirty[i]);
	mslot_map_destroy(l->map);
	mslot_region_put(l->region);
	if (l->host != NULL)
		munmap(l->host, LEN_BYTES);
}

static void mark_some(struct logged *l)
{
	const struct mslot_snapshot *const snap = mslot_enter(l->map);
	struct rng rng = {GIB};

	for (uint64_t i = 0; i < LEN_BYTES / DIRTY_PAGE / 100; i++)
		mslot_mark_dirty(
		    snap,
		    (struct mslot_addr){0, rng_below(&rng, LEN_BYTES / DIRTY_PAGE) * DIRTY_PAGE},
		    DIRTY_PAGE);
	mslot_leave(snap);
}

/* The same pages to all; 0 or -errno, -EUCLEAN where they differ. */
static int harvest_all(struct logged *l)
{
	struct mslot_dirty_batch *batch;
	uint64_t n, first = 0;
	int ret;

	for (size_t i = 0; i < l->ndirty; i++) {
		ret = mslot_dirty_get(l->dirty[i], &batch);
		if (ret < 0)
			return ret;
		n = mslot_dirty_pages(batch);
		mslot_dirty_ack(batch);
		first = i == 0 ? n : first;
		if (n == 0 || n != first)
			return -EUCLEAN;
	}
	return 0;
}

static int measure(struct logged *l, size_t consumers)
{
	const int64_t before = resident_bytes();
	struct mslot_map_stats stats = {0};
	int ret = 0;

	for (; l->ndirty < consumers && ret == 0; l->ndirty += ret == 0)
		ret = mslot_dirty_create(l->map, NULL, &l->dirty[l->ndirty]);
	if (ret == 0)
		ret = mslot_map_stats_get(l->map, &stats);
	if (ret < 0)
		return ret;
	l->bytes = stats.log_bytes;
	mark_some(l);
	ret = harvest_all(l);
	l->resident = before < 0 ? -1 : resident_bytes() - before;
	return ret;
}

static void put(const struct bench_group *g, struct bench_row *row, const char *engine,
		double value)
{
	row->engine = engine;
	bench_summarize(row, &value, 1);
	g->sink->row(g->sink->ctx, row);
}

static void put_rows(const struct bench_group *g, const struct logged *l, struct bench_row *row,
		     bool resident)
{
	/* One bit a page, to whom the others are compared. */
	const double bitmap = (double)LEN_BYTES / (double)DIRTY_PAGE / 8 / (double)GIB;

	if (!resident)
		put(g, row, "mslot", (double)l->bytes / (double)GIB);
	else if (l->resident >= 0)
		put(g, row, "mslot", (double)l->resident / (double)GIB);
	else
		g->sink->skipped(g->sink->ctx, row, "/proc/self/smaps_rollup tells nothing");
	put(g, row, "bitmap", l->ndirty > 0 ? bitmap : 0);
}

static int run(const struct bench_group *g, bool resident)
{
	int ret = 0;

	for (size_t i = 0; i < SIZES && ret == 0; i++) {
		struct logged l = {0};
		struct bench_row row = {.name = g->c->name,
					.what = g->c->what,
					.unit = g->c->unit,
					.layout = sizes[i].name,
					.axis = "gib",
					.slots = GIB,
					.engine = "mslot"};

		g->sink->progress(g->sink->ctx, row.name, *g->done, g->total);
		ret = open_slot(&l);
		if (ret < 0) {
			g->sink->skipped(g->sink->ctx, &row,
					 l.why[0] != '\0' ? l.why : strerror(-ret));
			ret = 0;
		} else {
			ret = measure(&l, sizes[i].consumers);
		}
		if (ret == 0 && l.region != NULL)
			put_rows(g, &l, &row, resident);
		close_slot(&l);
		*g->done += g->repetitions + 1;
	}
	if (ret < 0)
		snprintf(g->why, BENCH_WHY, "engine mslot, case %s: %s", g->c->name,
			 ret == -EUCLEAN ? "consumers do not see the same pages" : strerror(-ret));
	return ret < 0 ? -1 : 0;
}

int dirty_log_bytes(const struct bench_group *g)
{
	return run(g, false);
}

int dirty_log_resident(const struct bench_group *g)
{
	return run(g, true);
}
