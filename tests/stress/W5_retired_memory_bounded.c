/* SPDX-License-Identifier: MIT */
/*
 * W5 at the smallest limit, with a writer that never pauses. Always: retired memory
 * exceeds the limit by no more than one commit's. A reader that stays inside a section
 * makes the writer wait (the limit would be broken otherwise) without its mutex: a commit
 * inside that section is refused at once with -EDEADLK; when the section ends the writer
 * goes on. Holds: whatever is committed after them, they pin no more than they reach.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>

#include "stress/world.h"

#define LIMIT (UINT64_C(64) << 10)
#define HOLDERS 2u
#define COMMITS_PAST_HOLD 500

static struct world world;
static uint64_t one_commit;   /* bytes that die with a commit: the whole old snapshot */
static _Atomic uint32_t busy; /* threads that need the writer */
static _Atomic uint64_t most_held;

static struct mslot_map_stats look(void)
{
	struct mslot_map_stats stats;

	CHECK_OK(mslot_map_stats_get(world.map, &stats));
	CHECK(stats.retired_bytes <= LIMIT + one_commit,
	      "%" PRIu64 " bytes retired at a limit of %" PRIu64 " and one commit of %" PRIu64,
	      stats.retired_bytes, LIMIT, one_commit);
	return stats;
}

static void measure_one_commit(void)
{
	const struct mslot_snapshot *snap = mslot_enter(world.map);
	struct mslot_map_stats stats;

	CHECK_OK(world_advance(&world, NULL));
	CHECK_OK(mslot_map_stats_get(world.map, &stats));
	one_commit = stats.retired_bytes;
	mslot_leave(snap);
	CHECK(one_commit > 0 && one_commit < LIMIT / 4, "%" PRIu64 " bytes", one_commit);
}

static void write_on(struct stress_thread *self)
{
	while (stress_running() || atomic_load(&busy)) {
		CHECK_OK(world_advance(&world, NULL));
		look();
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

/* A commit that never takes effect: below the limit its generation is refused. */
static int try_inside(void)
{
	struct mslot_commit_options opt = {.flags = MSLOT_COMMIT_IF_GENERATION,
					   .generation = UINT64_MAX};
	struct mslot_commit_result result;
	struct mslot_txn *txn;
	int err;

	CHECK_OK(mslot_txn_begin(world.map, &txn));
	world_edit(&world, txn, 1);
	err = mslot_txn_commit(txn, &opt, &result);
	CHECK(err == -EAGAIN || err == -EDEADLK, "%d", err);
	CHECK(result.failed_edit == MSLOT_NO_EDIT && result.reason[0], "no reason given");
	mslot_txn_abort(txn);
	return err;
}

/*
 * Inside a section: until retired memory has reached the limit, that is, until commits are
 * refused here. Gives up when the writer stands still before that: it may have reached the
 * limit earlier and wait for a grace period that includes this section.
 */
static bool limit_reached(void)
{
	uint64_t generation, last = 0;
	unsigned int idle = 0;

	while (try_inside() != -EDEADLK) {
		generation = look().generation;
		idle = generation == last ? idle + 1 : 0;
		if (idle > 1000)
			return false;
		last = generation;
		sched_yield();
	}
	return true;
}

static void stay_inside(struct stress_thread *self)
{
	struct stress_section sec;
	uint64_t generation, i, looks = stress_scaled(200);

	while (stress_running() || !self->ops) {
		stress_enter(&sec, world.map);
		if (!limit_reached()) {
			stress_leave(&sec, self);
			continue;
		}
		/* The writer has time to break the limit, if it can. */
		for (i = 0; i < looks; i++) {
			sched_yield();
			look();
		}
		generation = look().generation;
		world_check(&world, sec.snap);
		stress_leave(&sec, self);
		while (look().generation <= generation)
			sched_yield();
		self->ops++;
	}
	atomic_fetch_sub(&busy, 1);
}

static void note_held(uint64_t bytes)
{
	uint64_t seen = atomic_load(&most_held);

	/* A hold keeps one snapshot; another of the thread may be put but not worked off. */
	CHECK(bytes <= 2 * HOLDERS * one_commit, "%" PRIu64 " bytes pinned by %u holds", bytes,
	      HOLDERS);
	while (seen < bytes && !atomic_compare_exchange_weak(&most_held, &seen, bytes))
		;
}

static void hold_on(struct stress_thread *self)
{
	uint64_t until, version, generation, n = stress_scaled(COMMITS_PAST_HOLD);
	const struct mslot_snapshot *snap;
	struct stress_section sec;
	struct mslot_hold *hold;

	while (stress_running() || !self->ops) {
		stress_enter(&sec, world.map);
		CHECK_OK(mslot_hold(sec.snap, "W5", &hold));
		version = world_check(&world, sec.snap);
		generation = sec.generation;
		stress_leave(&sec, self);
		snap = mslot_hold_snapshot(hold);
		until = atomic_load(&world.version) + n;
		while (atomic_load(&world.version) < until) {
			sched_yield();
			note_held(look().held_bytes);
		}
		CHECK(mslot_wait(world.map, generation + 1, 0) == -ETIMEDOUT,
		      "done waiting for a hold");
		CHECK(world_check(&world, snap) == version, "the held snapshot changed");
		mslot_hold_put(hold);
		CHECK_OK(mslot_wait(world.map, generation + 1, -1));
		self->ops++;
	}
	atomic_fetch_sub(&busy, 1);
}

int main(void)
{
	struct mslot_map_options opt = {.retired_limit_bytes = LIMIT};
	struct mslot_map_stats stats;
	unsigned int i;

	stress_begin("W5_retired_memory_bounded");
	world_init(&world, &opt, 1, 16);
	measure_one_commit();
	atomic_store(&busy, HOLDERS + 1);
	stress_spawn("writer", write_on, NULL);
	stress_spawn("reader", read_sections, NULL);
	stress_spawn("staying", stay_inside, NULL);
	for (i = 0; i < HOLDERS; i++)
		stress_spawn("holder", hold_on, NULL);
	stress_run();
	stats = look();
	CHECK(stats.grace_waits > 0, "no commit waited at the limit");
	CHECK_OK(mslot_wait(world.map, stats.generation, -1));
	stats = look();
	CHECK(stats.held_bytes == 0 && stats.holds == 0, "%" PRIu64 " bytes pinned by nobody",
	      stats.held_bytes);
	CHECK(stats.retired_bytes == 0, "%" PRIu64 " bytes retired after a wait",
	      stats.retired_bytes);
	printf("  one commit %" PRIu64 " bytes, at most %" PRIu64 " held, %" PRIu64
	       " waits at the limit\n",
	       one_commit, atomic_load(&most_held), stats.grace_waits);
	world_fini(&world);
	return stress_end();
}
