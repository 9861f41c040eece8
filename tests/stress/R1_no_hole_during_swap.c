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

	while (stress_running() || !self->ops) {
		stress_enter(&sec, world.map);
		world_check(&world, sec.snap);
		stress_leave(&sec, self);
		self->ops++;
	}
}

static void read_holds(struct stress_thread *self)
{
	const struct mslot_snapshot *snap;
	struct stress_section sec;
	struct mslot_hold *hold, *second;
	uint64_t v;

	while (stress_running() || !self->ops) {
		stress_enter(&sec, world.map);
		CHECK_OK(mslot_hold(sec.snap, "R1", &hold));
		v = world_check(&world, sec.snap);
		stress_leave(&sec, self);
		snap = mslot_hold_snapshot(hold);
		CHECK(world_check(&world, snap) == v, "the held snapshot changed");
		CHECK_OK(mslot_hold(snap, NULL, &second));
		mslot_hold_put(hold);
		CHECK(world_check(&world, snap) == v, "the snapshot of the second hold changed");
		CHECK(mslot_snapshot_generation(snap) == sec.generation, "generation changed");
		mslot_hold_put(second);
		self->ops++;
	}
}

int main(void)
{
	stress_begin("R1_no_hole_during_swap");
	world_init(&world, NULL, 2, 8);
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
