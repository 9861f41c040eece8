/* SPDX-License-Identifier: MIT */
/*
 * W1: commits that are refused for every kind of reason, while readers look on: the map,
 * its generation, what listeners have seen and the memory in use are as before. A round
 * of refusals is done twice with one seed: what pools keep for later use is there after
 * the first, so the second may not leave a byte.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/alloc.h"
#include "stress/world.h"

#define SLOTS 16u
#define ROUND 64

static struct world world;
static _Atomic uint64_t told; /* commit() calls of the listener */
static int64_t prepared; /* prepare() calls not answered by abort() or commit(); writer mutex */
static bool veto;

static int prepare(void *ctx, const struct mslot_diff *diff)
{
	(void)ctx;
	CHECK(diff->nsegs > 0, "asked about nothing");
	prepared++;
	return 0;
}

static void undo(void *ctx, const struct mslot_diff *diff)
{
	(void)ctx;
	(void)diff;
	prepared--;
}

static void heard(void *ctx, const struct mslot_diff *diff)
{
	(void)ctx;
	(void)diff;
	prepared--;
	atomic_fetch_add(&told, 1);
}

static int prepare_or_veto(void *ctx, const struct mslot_diff *diff)
{
	(void)ctx;
	(void)diff;
	return veto ? -EPERM : 0;
}

enum refusal { OVERLAP, NO_SLOT, UNALIGNED, TWICE, BEYOND, VETO, GENERATION, DRY, REFUSALS };

/* One edit that cannot be; returns what the commit must answer. */
static int add_refused(struct mslot_txn *txn, struct rng *rng, enum refusal kind)
{
	struct mslot_slot_def def = {
	    .key = {.space = (uint32_t)rng_below(rng, 2), .id = SLOTS},
	    .gpa = rng_below(rng, SLOTS) * WORLD_PAGE,
	    .len_bytes = WORLD_PAGE,
	    .region = world.region,
	};

	switch (kind) {
	case OVERLAP:
		CHECK(mslot_txn_create(txn, &def) >= 0, "create");
		return -EEXIST;
	case NO_SLOT:
		CHECK(mslot_txn_delete(txn, def.key) >= 0, "delete");
		return -EINVAL;
	case UNALIGNED:
	case TWICE:
	case BEYOND:
		def.gpa = UINT64_C(1) << (kind == BEYOND ? 52 : 40);
		def.gpa |= kind == UNALIGNED;
		CHECK(mslot_txn_create(txn, &def) >= 0, "create");
		if (kind == TWICE)
			CHECK(mslot_txn_delete(txn, def.key) >= 0, "delete");
		return -EINVAL;
	case VETO:
		veto = true;
		return -EPERM;
	case GENERATION:
		return -EAGAIN;
	default:
		return 0;
	}
}

static void refuse_one(struct rng *rng)
{
	enum refusal kind = (enum refusal)rng_below(rng, REFUSALS);
	/* Far from every version that is really published, so that a glimpse of it shows. */
	uint64_t generation = stress_newest(), v = atomic_load(&world.version) + 2048;
	struct mslot_commit_options opt = {0};
	struct mslot_commit_result result;
	struct mslot_txn *txn;
	int expected, err;

	CHECK_OK(mslot_txn_begin(world.map, &txn));
	/* Good edits around the bad one: they would change every slot. */
	world_edit(&world, txn, v);
	expected = add_refused(txn, rng, kind);
	if (kind == GENERATION)
		opt = (struct mslot_commit_options){.flags = MSLOT_COMMIT_IF_GENERATION,
						    .generation = generation + 1};
	if (kind == DRY)
		opt.flags = MSLOT_COMMIT_DRY_RUN;
	err = mslot_txn_commit(txn, &opt, &result);
	veto = false;
	CHECK(err == expected, "refusal %u gave %d, not %d (%s)", kind, err, expected,
	      result.reason);
	CHECK(result.generation == generation, "generation %" PRIu64, result.generation);
	CHECK((result.reason[0] == 0) == (err == 0), "a reason goes with an error");
	mslot_txn_abort(txn);
}

/* Everything that a refused commit must leave alone, by name. */
enum figure { GEN, REACHABLE, RETIRED, HELD, POOLS, GRACE_WAITS, LIVE, TOLD, VERSION, FIGURES };

static const char *const figure_names[FIGURES] = {
    "generation",  "reachable bytes", "retired bytes",   "held bytes", "pool bytes",
    "grace waits", "allocations",     "commits told of", "version",
};

/* Nothing retired any more, so that every figure is a function of the content. */
static void look(struct stress_thread *self, uint64_t figures[FIGURES])
{
	struct mslot_map_stats stats;
	struct stress_section sec;

	CHECK_OK(mslot_wait(world.map, stress_newest(), -1));
	CHECK_OK(mslot_map_stats_get(world.map, &stats));
	figures[GEN] = stats.generation;
	figures[REACHABLE] = stats.reachable_bytes;
	figures[RETIRED] = stats.retired_bytes;
	figures[HELD] = stats.held_bytes;
	figures[POOLS] = stats.pool_bytes;
	figures[GRACE_WAITS] = stats.grace_waits;
	figures[LIVE] = alloc_live();
	figures[TOLD] = atomic_load(&told);
	stress_enter(&sec, world.map);
	figures[VERSION] = world_check(&world, sec.snap);
	stress_leave(&sec, self);
}

static void compare(const uint64_t before[FIGURES], const uint64_t after[FIGURES])
{
	unsigned int i;

	for (i = 0; i < FIGURES; i++)
		CHECK(before[i] == after[i], "%s went from %" PRIu64 " to %" PRIu64,
		      figure_names[i], before[i], after[i]);
	CHECK(after[RETIRED] == 0, "%" PRIu64 " bytes retired after a wait", after[RETIRED]);
}

static void refuse(struct stress_thread *self)
{
	uint64_t before[FIGURES], after[FIGURES];
	const char *why = "";
	struct rng again;
	unsigned int i;

	while (stress_running() || !self->ops) {
		CHECK_OK(world_advance(&world, NULL));
		CHECK_OK(mslot_wait(world.map, stress_newest(), -1));
		again = self->rng;
		for (i = 0; i < ROUND; i++)
			refuse_one(&self->rng);
		look(self, before);
		for (i = 0; i < ROUND; i++)
			refuse_one(&again);
		look(self, after);
		compare(before, after);
		CHECK(prepared == 0, "a listener was left without an answer");
		CHECK(mslot_check_map(world.map, &why) == 0, "%s", why);
		self->ops += ROUND;
	}
}

static void read_sections(struct stress_thread *self)
{
	struct stress_section sec;

	while (stress_running() || !self->ops) {
		uint64_t before = atomic_load(&world.version), after, v;

		stress_enter(&sec, world.map);
		v = world_check(&world, sec.snap);
		after = atomic_load(&world.version);
		/* Noted after its commit: the content may be one ahead. */
		CHECK((v - before) % 4096 <= after + 1 - before,
		      "version %" PRIu64 " of a refused commit", v);
		stress_leave(&sec, self);
		self->ops++;
	}
}

int main(void)
{
	static const struct mslot_listener_ops good = {prepare, undo, heard};
	static const struct mslot_listener_ops vetoing = {.prepare = prepare_or_veto};
	struct mslot_listener *first, *second;

	stress_begin("W1_refused_leaves_nothing");
	world_init(&world, NULL, 2, SLOTS);
	CHECK_OK(mslot_listener_add(world.map, &good, NULL, 0, &first));
	CHECK_OK(mslot_listener_add(world.map, &vetoing, NULL, 0, &second));
	stress_spawn("refuser", refuse, NULL);
	stress_spawn("reader", read_sections, NULL);
	stress_spawn("reader", read_sections, NULL);
	stress_run();
	CHECK_OK(mslot_listener_remove(first));
	CHECK_OK(mslot_listener_remove(second));
	world_fini(&world);
	return stress_end();
}
