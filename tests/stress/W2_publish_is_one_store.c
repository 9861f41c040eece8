/* SPDX-License-Identifier: MIT */
/*
 * W2: a commit of 64 edits over 4 spaces is seen entirely or not at all. Readers compare
 * two random places of different spaces, by address and name, as often as they can;
 * others diff two snapshots and must find every place in it or none.
 */
#include <inttypes.h>

#include "stress/world.h"

#define SPACES 4u
#define SLOTS 16u

static struct world world;

static void write_64(struct stress_thread *self)
{
	while (stress_running() || !self->ops) {
		CHECK_OK(world_advance(&world, NULL));
		self->ops++;
	}
}

static void compare_two(struct stress_thread *self)
{
	struct stress_section sec;
	uint64_t one, two;
	uint32_t space;

	while (stress_running() || !self->ops) {
		space = (uint32_t)rng_below(&self->rng, SPACES);
		stress_enter(&sec, world.map);
		one = world_version_at(&world, sec.snap, space,
				       (uint32_t)rng_below(&self->rng, SLOTS));
		two = world_version_at(&world, sec.snap, (space + 1) % SPACES,
				       (uint32_t)rng_below(&self->rng, SLOTS));
		CHECK(one == two, "versions %" PRIu64 " and %" PRIu64 " in one snapshot", one, two);
		stress_leave(&sec, self);
		self->ops++;
	}
}

static void check_diff(const struct mslot_diff *diff)
{
	uint64_t bytes = 0, differ;
	size_t i;

	for (i = 0; i < diff->nsegs; i++) {
		CHECK(diff->segs[i].kind == MSLOT_DIFF_REMAPPED, "kind %d", diff->segs[i].kind);
		bytes += diff->segs[i].len_bytes;
	}
	differ = mslot_snapshot_generation(diff->before) != mslot_snapshot_generation(diff->after);
	CHECK(bytes == differ * SPACES * SLOTS * WORLD_PAGE, "%" PRIu64 " bytes differ", bytes);
}

/* Both snapshots are entered: the inner section may see a newer one. */
static void diff_two(struct stress_thread *self)
{
	struct stress_section outer, inner;
	struct mslot_diff *diff;

	while (stress_running() || !self->ops) {
		stress_enter(&outer, world.map);
		stress_enter(&inner, world.map);
		CHECK_OK(mslot_diff_create(outer.snap, inner.snap, &diff));
		check_diff(diff);
		mslot_diff_destroy(diff);
		stress_leave(&inner, self);
		stress_leave(&outer, self);
		self->ops++;
	}
}

int main(void)
{
	stress_begin("W2_publish_is_one_store");
	world_init(&world, NULL, SPACES, SLOTS);
	stress_spawn("writer", write_64, NULL);
	stress_spawn("reader", compare_two, NULL);
	stress_spawn("reader", compare_two, NULL);
	stress_spawn("differ", diff_two, NULL);
	stress_run();
	world_fini(&world);
	return stress_end();
}
