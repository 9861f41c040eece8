/* SPDX-License-Identifier: MIT */
/*
 * dirty_harvest.c - harvests of slots of 2 MiB to 64 GiB of which nothing, 1 % or all is dirty.
 *
 * By the wall clock, a harvest at a time, median of as many as fit in ROUND_NS. Bit by bit it is
 * looked at what a harvest said and what it left.
 */
#include "cases.h"
#include "engines/dirty_engines.h"
#include "group.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"

#define ROUNDS 32u
#define ROUND_NS UINT64_C(40000000) /* with what is done between harvests */

static const uint64_t mib[] = {2, 64, 512, 65536};
static const struct {
	const char *name;
	uint64_t percent;
} soiled[] = {{"clean", 0}, {"1-percent", 1}, {"all-dirty", 100}};

#define SIZES (sizeof(mib) / sizeof(mib[0]))

/* A shape, and room for what a harvest says. */
struct harvest {
	struct harvest_shape shape;
	uint64_t *bitmap, *clean, *none, *out;
	size_t bytes;
};

/* Random pages, the same ones for all engines. */
static void choose_pages(struct harvest *h, uint64_t percent)
{
	const uint64_t wanted = h->shape.npages * percent / 100;
	struct rng rng = {h->shape.npages};

	if (percent == 100)
		memset(h->bitmap, 0xff, h->bytes);
	while (percent < 100 && h->shape.ndirty < wanted) {
		const uint64_t page = rng_below(&rng, h->shape.npages);
		const uint64_t bit = UINT64_C(1) << page % 64;

		h->shape.ndirty += (h->bitmap[page / 64] & bit) == 0;
		h->bitmap[page / 64] |= bit;
	}
	h->shape.ndirty = wanted;
	for (size_t i = 0; i < h->bytes / 8; i++)
		h->clean[i] = ~h->bitmap[i];
}

static void harvest_init(struct harvest *h, enum harvest_kind kind, uint64_t size_mib,
			 uint64_t percent)
{
	*h = (struct harvest){.shape = {.kind = kind, .npages = (size_mib << 20) / DIRTY_PAGE}};
	h->bytes = h->shape.npages / 8;
	h->bitmap = bench_alloc(h->bytes, 1);
	h->clean = bench_alloc(h->bytes, 1);
	h->none = bench_alloc(h->bytes, 1);
	h->out = bench_alloc(h->bytes, 1);
	h->shape.bitmap = h->bitmap;
	h->shape.clean = h->clean;
	choose_pages(h, percent);
}

static void harvest_fini(struct harvest *h)
{
	free(h->bitmap);
	free(h->clean);
	free(h->none);
	free(h->out);
}

static enum bench_outcome compare(struct group_turn *t, const uint64_t *expected, const char *what)
{
	const struct harvest *const h = t->ctx;
	size_t i = 0;

	if (memcmp(h->out, expected, h->bytes) == 0)
		return BENCH_OK;
	while (h->out[i] == expected[i])
		i++;
	return group_failed(t, "%s: pages 0x%zx and on are 0x%llx, expected 0x%llx", what, i * 64,
			    (unsigned long long)h->out[i], (unsigned long long)expected[i]);
}

/* What a harvest said, and what it left. */
static enum bench_outcome check(struct group_turn *t)
{
	const struct harvester *const e = t->engine;
	const struct harvest *const h = t->ctx;
	const bool keeps = h->shape.kind == HARVEST_KEEP;
	enum bench_outcome outcome = BENCH_OK;
	int ret;

	if (e->floor)
		return BENCH_OK;
	if (h->shape.kind != HARVEST_CLEAR)
		outcome = compare(t, h->bitmap, "a harvest misses pages or has too many");
	if (outcome != BENCH_OK)
		return outcome;
	memset(h->out, 0x55, h->bytes);
	ret = e->rest(t->world, h->out);
	if (ret < 0)
		return group_failed(t, "a second harvest: %s", strerror(-ret));
	return compare(t, keeps ? h->bitmap : h->none, "what is dirty afterwards is wrong");
}

static enum bench_outcome measure(struct group_turn *t, double *value)
{
	const struct harvester *const e = t->engine;
	const struct harvest *const h = t->ctx;
	enum bench_outcome outcome;
	double us[ROUNDS];
	const uint64_t begin = clock_wall_ns();
	size_t n = 0;

	while (n == 0 || (n < ROUNDS && clock_wall_ns() - begin < ROUND_NS)) {
		const int soil = e->soil(t->world);
		int64_t ns;

		if (soil < 0)
			return group_failed(t, "cannot make pages dirty: %s", strerror(-soil));
		memset(h->out, 0x55, h->bytes);
		ns = e->harvest(t->world, h->out);
		if (ns < 0)
			return group_failed(t, "a harvest: %s", strerror((int)-ns));
		outcome = check(t);
		if (outcome != BENCH_OK)
			return outcome;
		us[n++] = (double)ns / 1e3;
	}
	*value = group_median(us, n);
	return BENCH_OK;
}

static int run_point(const struct bench_group *g, struct harvest *h, const struct bench_row *point)
{
	struct group_turn turn[GROUP_TURNS];
	size_t n = 0;

	for (size_t k = 0; k < nharvesters; k++) {
		const struct harvester *const e = harvesters[k];

		if ((e->kinds >> h->shape.kind & 1) == 0)
			continue;
		turn[n] = group_turn_of(g, e->name, point);
		turn[n].engine = e;
		turn[n].ctx = h;
		turn[n].first_cpu = e->first_cpu;
		turn[n].world = e->create(&h->shape, turn[n].why);
		turn[n].measure = measure;
		turn[n].destroy = e->destroy;
		n++;
	}
	return group_take_turns(g, turn, n);
}

static int run(const struct bench_group *g, enum harvest_kind kind)
{
	struct harvest h;
	int ret = 0;

	for (size_t i = 0; i < DIRTY_HARVEST_POINTS && ret == 0; i++) {
		const struct bench_row point = {
		    .layout = soiled[i / SIZES].name, .axis = "mib", .slots = mib[i % SIZES]};

		harvest_init(&h, kind, mib[i % SIZES], soiled[i / SIZES].percent);
		ret = run_point(g, &h, &point);
		harvest_fini(&h);
	}
	return ret;
}

int dirty_harvest_get(const struct bench_group *g)
{
	return run(g, HARVEST_GET);
}

int dirty_harvest_keep(const struct bench_group *g)
{
	return run(g, HARVEST_KEEP);
}

int dirty_harvest_clear(const struct bench_group *g)
{
	return run(g, HARVEST_CLEAR);
}

int dirty_harvest_batch(const struct bench_group *g)
{
	return run(g, HARVEST_BATCH);
}
