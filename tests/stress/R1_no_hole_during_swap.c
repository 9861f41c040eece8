/* SPDX-License-Identifier: MIT */
/*
 * R1: every commit gives all slots of two spaces new ids and new host memory. Readers
 * look at every place, by address, id and host address: no hole and no mix of versions,
 * in sections and in holds that outlive many commits, while two listeners veto commits.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "stress/world.h"

#define KEPT 6u

/* One that vetoes some commits. All but `vetoes` belong to the writer mutex. */
struct vetoer {
	struct rng rng;
	int err;
	int prepared; /* commits it agreed to and was not told the end of */
	_Atomic uint64_t vetoes;
};

static struct world world;
static struct vetoer vetoers[2] = {{.err = -EPERM}, {.err = -EBUSY}};

static int prepare(void *ctx, const struct mslot_diff *diff)
{
	struct vetoer *vetoer = ctx;

	(void)diff;
	if (rng_chance(&vetoer->rng, 10)) {
		atomic_fetch_add(&vetoer->vetoes, 1);
		return vetoer->err;
	}
	vetoer->prepared++;
	return 0;
}

static void finish(void *ctx, const struct mslot_diff *diff)
{
	struct vetoer *vetoer = ctx;

	(void)diff;
	CHECK(--vetoer->prepared == 0, "a listener was left without an answer (W1)");
}

static bool all_vetoed(void)
{
	return atomic_load(&vetoers[0].vetoes) && atomic_load(&vetoers[1].vetoes);
}

static void write_maps(struct stress_thread *self)
{
	int err;

	while (stress_running() || !all_vetoed() || !self->ops) {
		err = world_advance(&world, NULL);
		CHECK(err == 0 || err == -EPERM || err == -EBUSY, "%d", err);
		self->ops += !err;
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

/* Keep several snapshots, each for a time of its own. */
static void keep_holds(struct stress_thread *self)
{
	struct {
		struct mslot_hold *hold;
		uint64_t v, until;
	} kept[KEPT] = {{0}};
	unsigned int i;

	while (stress_running() || self->ops < 2 * KEPT) {
		i = (unsigned int)rng_below(&self->rng, KEPT);
		if (kept[i].hold)
			check_hold(kept[i].hold, kept[i].v);
		if (!kept[i].hold || stress_newest() >= kept[i].until) {
			mslot_hold_put(kept[i].hold);
			kept[i].v = take(self, &kept[i].hold);
			kept[i].until = held_generation(kept[i].hold) + rng_below(&self->rng, 500);
		}
		stress_linger(self);
		self->ops++;
	}
	for (i = 0; i < KEPT; i++)
		mslot_hold_put(kept[i].hold);
}

static void add_listeners(struct mslot_listener *out[2])
{
	static const struct mslot_listener_ops ops = {prepare, finish, finish};
	unsigned int i;

	for (i = 0; i < 2; i++) {
		rng_init(&vetoers[i].rng, stress_seed() + i);
		CHECK_OK(mslot_listener_add(world.map, &ops, &vetoers[i], 0, &out[i]));
	}
}

int main(void)
{
	struct mslot_listener *listeners[2];
	/* Low enough to use memory again soon, high enough for commits to overtake readers. */
	struct mslot_map_options opt = {.retired_limit_bytes = 1 << 20};

	stress_begin("R1_no_hole_during_swap");
	world_init(&world, &opt, 2, 8);
	add_listeners(listeners);
	stress_spawn("writer", write_maps, NULL);
	stress_spawn("writer", write_maps, NULL);
	stress_spawn("reader", read_sections, NULL);
	stress_spawn("reader", read_sections, NULL);
	stress_spawn("holder", read_holds, NULL);
	stress_spawn("holder", read_holds, NULL);
	stress_spawn("keeper", keep_holds, NULL);
	stress_run();
	printf("  %" PRIu64 " and %" PRIu64 " vetoes\n", atomic_load(&vetoers[0].vetoes),
	       atomic_load(&vetoers[1].vetoes));
	CHECK_OK(mslot_listener_remove(listeners[0]));
	CHECK_OK(mslot_listener_remove(listeners[1]));
	world_fini(&world);
	return stress_end();
}
