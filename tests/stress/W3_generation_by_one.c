/* SPDX-License-Identifier: MIT */
/*
 * W3: several writers; each effective commit takes the next generation, no two the same,
 * none is skipped; commits that change nothing take none. A listener sees each step.
 */
#include <errno.h>
#include <inttypes.h>

#include "stress/world.h"

#define WRITERS 3

static struct world world;
static _Atomic uint64_t effective = 1; /* the commit of world_init() */
static _Atomic uint64_t sum = 1;       /* of the generations that commits returned */
static uint64_t heard = 1;             /* writer mutex */

static int step_by_one(void *ctx, const struct mslot_diff *diff)
{
	uint64_t before = mslot_snapshot_generation(diff->before);
	uint64_t after = mslot_snapshot_generation(diff->after);

	(void)ctx;
	CHECK(after == before + 1, "%" PRIu64 " follows %" PRIu64, after, before);
	CHECK(before == heard, "the listener was not told of %" PRIu64, before);
	return 0;
}

static void hear(void *ctx, const struct mslot_diff *diff)
{
	(void)ctx;
	heard = mslot_snapshot_generation(diff->after);
}

/* Nothing, or what is there already: by definition, or because flags stay 0. */
static void commit_no_change(struct rng *rng)
{
	struct mslot_commit_result result;
	struct mslot_txn *txn;
	uint64_t before = stress_newest();

	CHECK_OK(mslot_txn_begin(world.map, &txn));
	if (rng_chance(rng, 80)) {
		struct mslot_key key = {.id = (uint32_t)rng_below(rng, world.nslots)};

		CHECK(mslot_txn_set_flags(txn, key, 0) >= 0, "set_flags");
	}
	CHECK_OK(mslot_txn_commit(txn, NULL, &result));
	CHECK(result.generation >= before, "generation %" PRIu64 " after %" PRIu64,
	      result.generation, before);
}

static void write_some(struct stress_thread *self)
{
	struct mslot_commit_result result;
	uint64_t last = 0;

	while (stress_running() || !self->ops) {
		if (rng_chance(&self->rng, 50)) {
			commit_no_change(&self->rng);
			continue;
		}
		CHECK_OK(world_advance(&world, &result));
		CHECK(result.generation > last, "%" PRIu64 " after %" PRIu64, result.generation,
		      last);
		last = result.generation;
		atomic_fetch_add(&effective, 1);
		atomic_fetch_add(&sum, result.generation);
		self->ops++;
	}
}

/* IF_GENERATION takes part in the race: it wins exactly when nobody came in between. */
static void write_if(struct stress_thread *self)
{
	struct mslot_commit_options opt = {.flags = MSLOT_COMMIT_IF_GENERATION};
	struct mslot_commit_result result;
	struct mslot_txn *txn;
	uint32_t flags;
	int err;

	while (stress_running() || !self->ops) {
		CHECK_OK(mslot_txn_begin(world.map, &txn));
		/* The next version takes the flag away again: mostly this changes something. */
		flags = self->ops % 2 ? MSLOT_LOG_DIRTY : 0;
		CHECK(mslot_txn_set_flags(txn, (struct mslot_key){.space = 1, .id = 0}, flags) >= 0,
		      "set_flags");
		opt.generation = stress_newest();
		err = mslot_txn_commit(txn, &opt, &result);
		if (err) {
			CHECK(err == -EAGAIN && result.generation > opt.generation, "%d", err);
			mslot_txn_abort(txn);
			continue;
		}
		if (result.generation != opt.generation) {
			CHECK(result.generation == opt.generation + 1, "skipped to %" PRIu64,
			      result.generation);
			atomic_fetch_add(&effective, 1);
			atomic_fetch_add(&sum, result.generation);
			stress_committed(result.generation);
		}
		self->ops++;
	}
}

int main(void)
{
	static const struct mslot_listener_ops ops = {.prepare = step_by_one, .commit = hear};
	struct mslot_listener *listener;
	struct mslot_map_stats stats;
	uint64_t n;
	int i;

	stress_begin("W3_generation_by_one");
	world_init(&world, NULL, 2, 4);
	CHECK_OK(mslot_listener_add(world.map, &ops, NULL, 0, &listener));
	for (i = 0; i < WRITERS; i++)
		stress_spawn("writer", write_some, NULL);
	stress_spawn("if", write_if, NULL);
	stress_run();
	n = atomic_load(&effective);
	CHECK_OK(mslot_map_stats_get(world.map, &stats));
	CHECK(stats.generation == n && stats.commits == n,
	      "generation %" PRIu64 " after %" PRIu64 " effective commits", stats.generation, n);
	CHECK(atomic_load(&sum) == n * (n + 1) / 2, "some generation was returned twice");
	CHECK(heard == n, "the listener heard %" PRIu64 " of %" PRIu64, heard, n);
	CHECK_OK(mslot_listener_remove(listener));
	world_fini(&world);
	return stress_end();
}
