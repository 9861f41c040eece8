/* SPDX-License-Identifier: MIT */
/*
 * bench_dirty_liars.c - the engines of test_bench.c for the group "dirty", in the place of
 * bench/engines/dirty_engines.c: each list begins with a real rival under the name of mslot; the
 * others are that with a fault, and take part only while theirs is chosen.
 */
#include "bench_liars.h"
#include "engines/dirty_engines.h"

#include <errno.h>

enum dirty_fault dirty_fault;

/* ---- Leases ------------------------------------------------------------------- */

static uint64_t lease_cycle(void *world, size_t n)
{
	return lease_refcount.cycle(world, n) - (dirty_fault == LEASES_SHOW_NOTHING);
}

static uint64_t lease_left(void *world)
{
	return lease_refcount.left(world) + (dirty_fault == LEASES_STAY);
}

static void *lease_create(enum lease_kind kind, char why[BENCH_REASON])
{
	return lease_refcount.create(kind, why);
}

static void lease_destroy(void *world)
{
	lease_refcount.destroy(world);
}

static const struct lease_engine lease_liar = {.name = "mslot",
					       .create = lease_create,
					       .cycle = lease_cycle,
					       .left = lease_left,
					       .destroy = lease_destroy};

/* ---- Marks -------------------------------------------------------------------- */

static void *mark_create(enum mark_op op, bool logged, char why[BENCH_REASON])
{
	return mark_bitmap.create(op, logged || dirty_fault == MARKS_UNLOGGED, why);
}

static int mark_pass(void *world, unsigned char val)
{
	return dirty_fault == MARKS_FAIL ? -EFAULT : mark_bitmap.pass(world, val);
}

static unsigned char mark_byte(void *world, size_t page)
{
	const unsigned char byte = mark_bitmap.byte(world, page);

	return dirty_fault == MARKS_WITHOUT_WRITES && page == MARK_PAGES - 1 ? 0xee : byte;
}

static int64_t mark_harvest(void *world)
{
	const int64_t n = mark_bitmap.harvest(world);

	return dirty_fault == MARKS_LOSE_ONE && n > 0 ? n - 1 : n;
}

static void mark_destroy(void *world)
{
	mark_bitmap.destroy(world);
}

static const struct mark_engine mark_liar = {.name = "mslot",
					     .ops = 1u << MARK_STORE | 1u << MARK_WRITE,
					     .create = mark_create,
					     .pass = mark_pass,
					     .byte = mark_byte,
					     .harvest = mark_harvest,
					     .destroy = mark_destroy};

/* ---- Harvests ----------------------------------------------------------------- */

static uint64_t last_word; /* of the harvest that is under way */

static void *harvest_create(const struct harvest_shape *shape, char why[BENCH_REASON])
{
	last_word = shape->npages / 64 - 1;
	return harvest_bitmap.create(shape, why);
}

static int harvest_soil(void *world)
{
	return dirty_fault == HARVESTS_FAIL ? -EIO : harvest_bitmap.soil(world);
}

static int64_t harvest(void *world, uint64_t *out)
{
	const int64_t ns = harvest_bitmap.harvest(world, out);

	if (dirty_fault == HARVESTS_MISS_A_PAGE)
		out[last_word] &= ~(UINT64_C(1) << 63);
	if (dirty_fault == HARVESTS_ADD_A_PAGE)
		out[0] |= 1;
	return ns;
}

static int harvest_rest(void *world, uint64_t *out)
{
	const int ret = harvest_bitmap.rest(world, out);

	if (dirty_fault == HARVESTS_LEAVE_A_PAGE)
		out[last_word] |= UINT64_C(1) << 63;
	return ret;
}

static void harvest_destroy(void *world)
{
	harvest_bitmap.destroy(world);
}

static void *harvest_absent(const struct harvest_shape *shape, char why[BENCH_REASON])
{
	(void)shape;
	return bench_cannot(why, "nobody", ENOENT);
}

static const struct harvester harvest_liar = {.name = "mslot",
					      .kinds = 1u << HARVEST_GET | 1u << HARVEST_CLEAR,
					      .create = harvest_create,
					      .soil = harvest_soil,
					      .harvest = harvest,
					      .rest = harvest_rest,
					      .destroy = harvest_destroy};
static const struct harvester harvest_gone = {
    .name = "gone", .kinds = 1u << HARVEST_GET, .create = harvest_absent};

const struct lease_engine *const lease_engines[] = {&lease_liar};
const struct mark_engine *const mark_engines[] = {&mark_liar};
const struct harvester *const harvesters[] = {&harvest_liar, &harvest_gone};
const size_t nlease_engines = 1, nmark_engines = 1, nharvesters = 2;
