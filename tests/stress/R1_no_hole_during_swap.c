/* SPDX-License-Identifier: MIT */
/*
 * R1: every commit gives all slots of two spaces new ids and new host memory. Readers
 * look at every place, by address, id and host address: no hole and no mix of versions,
 * in sections and in holds that outlive many commits.
 */
#include <inttypes.h>

#include "stress/world.h"

static struct world world;

static void write_maps(struct stress_thread *self)
{
	while (stress_running()) {
		CHECK_OK(world_advance(&world, NULL));
		self->ops++;
	}
}

static void read_sections(struct stress_thread *self)
{
	struct stress_section sec;
	uint64_t v;

	while (stress_running() || !self->ops) {
		stress_enter(&sec, world.map);
		v = world_check(&world, sec.snap);
		stress_linger(self);
		CHECK(world_check(&world, sec.snap) == v, "the entered snapshot changed");
		stress_leave(&sec, self);
		self->ops++;
	}
}

/* Enter, hold, leave. Returns the version. */
static uint64_t take(struct stress_thread *self, struct mslot_hold **hold)
{
	struct stress_section sec;
	uint64_t v;

	stress_enter(&sec, world.map);
	CHECK_OK(mslot_hold(sec.snap, "R1", hold));
	v = world_check(&world, sec.snap);
	stress_leave(&sec, self);
	return v;
}

static void check_hold(const struct mslot_hold *hold, uint64_t v)
{
	CHECK(world_check(&world, mslot_hold_snapshot(hold)) == v, "the held snapshot changed");
}

static uint64_t held_generation(const struct mslot_hold *hold)
{
	return mslot_snapshot_generation(mslot_hold_snapshot(hold));
}

/*
 * Every way in which a hold's nodes travel: from their death to the hold; to a second hold
 * on the snapshot; past a younger hold that is put while the older one lasts.
 */
static void read_holds(struct stress_thread *self)
{
	struct mslot_hold *first, *same, *younger;
	uint64_t v, w;

	while (stress_running() || !self->ops) {
		v = take(self, &first);
		stress_outlive(world.map, held_generation(first));
		check_hold(first, v);
		CHECK_OK(mslot_hold(mslot_hold_snapshot(first), NULL, &same));
		mslot_hold_put(first);
		w = take(self, &younger);
		stress_outlive(world.map, held_generation(younger));
		check_hold(younger, w);
		mslot_hold_put(younger);
		stress_outlive(world.map, stress_newest());
		check_hold(same, v);
		mslot_hold_put(same);
		self->ops++;
	}
}

int main(void)
{
	/* Low enough to use memory again soon, high enough for commits to overtake readers. */
	struct mslot_map_options opt = {.retired_limit_bytes = 1 << 20};

	stress_begin("R1_no_hole_during_swap");
	world_init(&world, &opt, 2, 8);
	stress_spawn("writer", write_maps, NULL);
	stress_spawn("writer", write_maps, NULL);
	stress_spawn("reader", read_sections, NULL);
	stress_spawn("reader", read_sections, NULL);
	stress_spawn("holder", read_holds, NULL);
	stress_spawn("holder", read_holds, NULL);
	stress_run();
	world_fini(&world);
	return stress_end();
}
