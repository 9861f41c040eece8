/* SPDX-License-Identifier: MIT */
/*
 * W4: with a reader parked inside a section, commits go on for as long as retired memory
 * is below the limit, from outside and inside other sections; none of them waits for a
 * grace period. Afterwards the reader leaves, everything is reclaimed, and it starts again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "stress/world.h"

/* Room for what one commit and its kick may add between two looks at the counters. */
#define MARGIN (UINT64_C(64) << 10)

static struct world world;
static struct stress_step parked = STRESS_STEP_INIT, unpark = STRESS_STEP_INIT;
static struct stress_step waited = STRESS_STEP_INIT;
static _Atomic bool over;
static uint64_t slowest_ns;

static void park(struct stress_thread *self)
{
	struct stress_section sec;

	do {
		stress_enter(&sec, world.map);
		world_check(&world, sec.snap);
		self->ops++;
		stress_step_reach(&parked, self->ops);
		stress_step_wait(&unpark, self->ops);
		world_check(&world, sec.snap);
		stress_leave(&sec, self);
		/* Grace periods queue: the writer's could wait for one that waits for us. */
		stress_step_wait(&waited, self->ops);
	} while (!atomic_load(&over));
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static void commit_one(struct stress_thread *self)
{
	struct stress_section sec;
	bool inside = rng_chance(&self->rng, 25);
	uint64_t ns = now();

	if (inside)
		stress_enter(&sec, world.map);
	CHECK_OK(world_advance(&world, NULL));
	if (inside)
		stress_leave(&sec, self);
	ns = now() - ns;
	slowest_ns = ns > slowest_ns ? ns : slowest_ns;
	self->ops++;
}

/* One stay of the parked reader. Returns how many commits it saw. */
static uint64_t fill(struct stress_thread *self)
{
	struct mslot_map_options opt;
	struct mslot_map_stats stats;
	uint64_t n = 0;

	mslot_map_options_get(world.map, &opt);
	do {
		commit_one(self);
		n++;
		CHECK_OK(mslot_map_stats_get(world.map, &stats));
	} while (stats.retired_bytes < opt.retired_limit_bytes - MARGIN && stress_running());
	CHECK(stats.grace_waits == 0, "%" PRIu64 " commits waited", stats.grace_waits);
	CHECK(stats.retired_bytes > 0, "the parked section holds nothing back");
	return n;
}

static void write_below_limit(struct stress_thread *self)
{
	uint64_t stays = 0, most = 0, n;

	do {
		stays++;
		stress_step_wait(&parked, stays);
		n = fill(self);
		most = n > most ? n : most;
		CHECK(mslot_wait(world.map, stress_newest(), 0) == -ETIMEDOUT,
		      "done waiting for a parked section");
		atomic_store(&over, !stress_running());
		stress_step_reach(&unpark, stays);
		CHECK_OK(mslot_wait(world.map, stress_newest(), -1));
		stress_step_reach(&waited, stays);
	} while (!atomic_load(&over));
	printf("  up to %" PRIu64 " commits past one parked section, %" PRIu64
	       " stays, slowest commit %" PRIu64 " us\n",
	       most, stays, slowest_ns / 1000);
}

int main(void)
{
	stress_begin("W4_commit_never_waits_for_readers");
	world_init(&world, NULL, 1, 4);
	stress_spawn("parked", park, NULL);
	stress_spawn("writer", write_below_limit, NULL);
	stress_run();
	world_fini(&world);
	return stress_end();
}
