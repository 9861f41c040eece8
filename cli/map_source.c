/* SPDX-License-Identifier: MIT */
/* map_source.c - the map that `mslot map` shows: a trace up to a time, or one made here. */
#include "map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cli.h"
#include "replay.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)

/* ---- A trace ----------------------------------------------------------------- */

static int out_of_reach(const struct map_trace *from, uint64_t last_ns)
{
	cli_error(MAP_VERB,
		  "%s: --at: expected seconds from 0 to %llu.%06llu, the last request, got '%s'",
		  from->path, (unsigned long long)(last_ns / 1000000000),
		  (unsigned long long)(last_ns % 1000000000 / 1000), from->at_text);
	return -1;
}

/* Apply requests until the first one that is later; returns how many, or -1 with *fault. */
static long long apply(struct engine *e, const struct map_trace *from, struct lines_fault *fault)
{
	const struct trace *const t = e->replay->trace;
	long long n = 0;

	for (size_t g = 0; g < t->ngroups; g++) {
		for (size_t k = 0; k < t->group[g].nops; k++, n++) {
			if (from->has_at && t->op[t->group[g].first + k].time_ns > from->at_ns)
				return n;
			if (engine_step(e, g, k, fault) < 0)
				return -1;
		}
	}
	return n;
}

static void describe(struct map_source *src, const struct trace *t, const struct map_trace *from,
		     size_t n)
{
	const uint64_t ns = from->has_at ? from->at_ns : t->op[t->nops - 1].time_ns;
	char done[32], all[32];

	src->title = cli_strdup(t->name);
	snprintf(src->when, sizeof(src->when), "%s %llu.%06llu s, %s of %s requests",
		 from->has_at ? "at" : "the end,", (unsigned long long)(ns / 1000000000),
		 (unsigned long long)(ns % 1000000000 / 1000), svg_count(done, n),
		 svg_count(all, t->nops));
}

static int apply_trace(struct map_source *src, const struct trace *t, const struct plan *p,
		       const struct map_trace *from)
{
	const struct replay r = {.trace = t, .plan = p, .as = REPLAY_KVM};
	struct lines_fault fault;
	struct engine e;
	long long n;

	if (from->has_at && from->at_ns > t->op[t->nops - 1].time_ns)
		return out_of_reach(from, t->op[t->nops - 1].time_ns);
	if (engine_init(&e, &r, &fault) < 0) {
		lines_report(MAP_VERB, from->path, &fault);
		return -1;
	}
	n = apply(&e, from, &fault);
	if (n < 0) {
		lines_report(MAP_VERB, from->path, &fault);
		engine_fini(&e, &fault);
		return -1;
	}
	mslot_region_put(e.region);
	*src = (struct map_source){.map = e.map};
	describe(src, t, from, (size_t)n);
	return 0;
}

int map_from_trace(struct map_source *src, const struct map_trace *from)
{
	struct lines_fault fault;
	struct trace t;
	struct plan p;
	int ret = trace_read(&t, from->path, &fault);

	if (ret < 0) {
		lines_report(MAP_VERB, from->path, &fault);
		return ret;
	}
	ret = plan_build(&p, &t, &fault);
	if (ret < 0)
		lines_report(MAP_VERB, from->path, &fault);
	else
		ret = apply_trace(src, &t, &p, from);
	plan_free(&p);
	trace_free(&t);
	return ret;
}

/* ---- A map of this process ----------------------------------------------------- */

/* The host memory of the live map, one after the other in one mapping. */
enum { LIVE_RAM, LIVE_FIRMWARE, LIVE_VIDEO, LIVE_NREGIONS };

static const uint64_t live_bytes[LIVE_NREGIONS] = {
    [LIVE_RAM] = 256 * MIB, [LIVE_FIRMWARE] = 256 * KIB, [LIVE_VIDEO] = 16 * MIB};

#define LIVE_BYTES (256 * MIB + 256 * KIB + 16 * MIB)

/* A small PC; the upper half of the firmware shows twice, and space 1 is for its firmware. */
static const struct {
	struct mslot_key key;
	uint64_t gpa;
	uint64_t len_bytes;
	unsigned int region;
	uint64_t offset_bytes;
	uint32_t flags;
} live_slot[] = {
    {{0, 0}, 0, 640 * KIB, LIVE_RAM, 0, 0},
    {{0, 1}, 896 * KIB, 128 * KIB, LIVE_FIRMWARE, 128 * KIB, MSLOT_READONLY},
    {{0, 2}, MIB, 255 * MIB, LIVE_RAM, MIB, 0},
    {{0, 3}, 4048 * MIB, 16 * MIB, LIVE_VIDEO, 0, MSLOT_LOG_DIRTY},
    {{0, 4}, 4096 * MIB - 256 * KIB, 256 * KIB, LIVE_FIRMWARE, 0, MSLOT_READONLY},
    {{1, 0}, 0, 896 * KIB, LIVE_RAM, 0, 0},
    {{1, 1}, 896 * KIB, 128 * KIB, LIVE_FIRMWARE, 128 * KIB, MSLOT_READONLY},
};

static int commit_live(struct mslot_map *map, struct mslot_region *const *region)
{
	struct mslot_txn *txn;
	int ret = mslot_txn_begin(map, &txn);

	if (ret < 0)
		return ret;
	for (size_t i = 0; i < sizeof(live_slot) / sizeof(live_slot[0]) && ret >= 0; i++) {
		const struct mslot_slot_def def = {
		    .key = live_slot[i].key,
		    .gpa = live_slot[i].gpa,
		    .len_bytes = live_slot[i].len_bytes,
		    .region = region[live_slot[i].region],
		    .offset_bytes = live_slot[i].offset_bytes,
		    .flags = live_slot[i].flags,
		};

		ret = mslot_txn_create(txn, &def);
	}
	if (ret >= 0)
		ret = mslot_txn_commit(txn, NULL, NULL);
	if (ret < 0)
		mslot_txn_abort(txn);
	return ret;
}

static int fill_live(struct mslot_map *map, unsigned char *memory)
{
	struct mslot_region *region[LIVE_NREGIONS] = {NULL};
	int ret = 0;

	for (size_t i = 0; i < LIVE_NREGIONS && ret == 0; memory += live_bytes[i], i++) {
		const struct mslot_region_options opt = {
		    .hva = memory, .len_bytes = live_bytes[i], .fd = -1};

		ret = mslot_region_create(&opt, &region[i]);
	}
	if (ret == 0)
		ret = commit_live(map, region);
	for (size_t i = 0; i < LIVE_NREGIONS; i++)
		mslot_region_put(region[i]);
	return ret;
}

int map_from_live(struct map_source *src)
{
	const struct mslot_map_options opt = {.nspaces = 2};
	int ret;

	*src = (struct map_source){.title = cli_strdup("live"), .when = "a map of this process"};
	src->memory = mmap(NULL, LIVE_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ret = src->memory == MAP_FAILED ? -errno : mslot_map_create(&opt, &src->map);
	if (ret == 0)
		ret = fill_live(src->map, src->memory);
	if (ret == 0)
		return 0;
	cli_error(MAP_VERB, "cannot make a map: %s", strerror(-ret));
	map_source_fini(src);
	return -1;
}

void map_source_fini(struct map_source *src)
{
	mslot_map_destroy(src->map);
	if (src->memory != NULL && src->memory != MAP_FAILED)
		munmap(src->memory, LIVE_BYTES);
	free(src->title);
	*src = (struct map_source){0};
}
