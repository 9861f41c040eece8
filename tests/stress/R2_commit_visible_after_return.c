/* SPDX-License-Identifier: MIT */
/*
 * R2: a section entered after a commit returned shows that commit or a later one: to the
 * committing thread, to a thread that was told (stress_enter() checks that), and to a
 * thread that looks at mslot_map_stats_get() of the map.
 */
#include <inttypes.h>

#include "stress/world.h"

static struct world world;

static void write_and_look(struct stress_thread *self)
{
	struct mslot_commit_result result;
	struct stress_section sec;

	while (stress_running() || !self->ops) {
		CHECK_OK(world_advance(&world, &result));
		stress_enter(&sec, world.map);
		world_check(&world, sec.snap);
		CHECK(sec.generation >= result.generation,
		      "entered %" PRIu64 " after committing %" PRIu64, sec.generation,
		      result.generation);
		stress_leave(&sec, self);
		self->ops++;
	}
}

static void told(struct stress_thread *self)
{
	struct stress_section sec;
	uint64_t last = 0, v;

	while (stress_running() || !self->ops) {
		uint64_t version = atomic_load(&world.version);

		stress_enter(&sec, world.map);
		v = world_version_at(&world, sec.snap, 0, 0);
		/* Versions are numbered from 0 with generation 1. */
		CHECK(sec.generation >= version + 1, "version %" PRIu64 " not seen", version);
		CHECK(sec.generation >= last, "a reader went back from %" PRIu64, last);
		CHECK((sec.generation - 1 - v) % 4096 == 0, "generation and content differ");
		last = sec.generation;
		stress_leave(&sec, self);
		self->ops++;
	}
}

static void asks_stats(struct stress_thread *self)
{
	struct mslot_map_stats stats;
	struct stress_section sec;

	while (stress_running() || !self->ops) {
		CHECK_OK(mslot_map_stats_get(world.map, &stats));
		stress_enter(&sec, world.map);
		CHECK(sec.generation >= stats.generation,
		      "entered %" PRIu64 " when %" PRIu64 " was published", sec.generation,
		      stats.generation);
		stress_leave(&sec, self);
		self->ops++;
	}
}

int main(void)
{
	stress_begin("R2_commit_visible_after_return");
	world_init(&world, NULL, 1, 4);
	stress_spawn("writer", write_and_look, NULL);
	stress_spawn("writer", write_and_look, NULL);
	stress_spawn("told", told, NULL);
	stress_spawn("told", told, NULL);
	stress_spawn("stats", asks_stats, NULL);
	stress_run();
	world_fini(&world);
	return stress_end();
}
