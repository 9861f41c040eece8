/* SPDX-License-Identifier: MIT */
/*
 * test_mmu_twin.c - random edits, faults and zaps against translation tables kept as lists.
 *
 *   test-model-mmu_twin [SEED [STEPS [MODE]]]
 *
 * After each step every root must have what the twin says (mmu_observe.c). Each mode runs
 * with reverse maps and with slot bitmaps, from the same seeds. A mismatch prints the seed, the
 * last steps and the map. Without STEPS it makes 120,000, scaled by MSLOT_TEST_SCALE (percent).
 */
#include "mmu_twin.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SEED UINT64_C(20241101)
#define DEFAULT_STEPS UINT64_C(120000)
#define STEPS_PER_MAP UINT64_C(400)

struct twin_tally tally; /* of txn_compare.c, which prints transactions here */

static uint64_t draw(void *ctx, uint64_t n)
{
	return rng_below(ctx, n);
}

static const struct mmu_mode *choose_mode(struct rng *rng, const char *name)
{
	uint64_t sum = 0, dice;
	size_t i = 0;

	for (i = 0; name && i < mmu_nmodes; i++)
		if (!strcmp(name, mmu_modes[i].name))
			return &mmu_modes[i];
	for (i = 0; i < mmu_nmodes; i++)
		sum += mmu_modes[i].weight;
	dice = rng_below(rng, sum);
	for (i = 0; dice >= mmu_modes[i].weight; i++)
		dice -= mmu_modes[i].weight;
	return &mmu_modes[i];
}

/* One map, from a seed of its own. */
static bool run_world(uint64_t seed, uint64_t steps, enum mslot_mmu_form form, const char *name)
{
	static struct mmu_world w;
	struct mmu_mode mode;
	struct rng rng;
	bool good;

	memset(&w, 0, sizeof(w));
	rng_init(&rng, seed);
	rng_init(&w.rng, seed + 1);
	mode = *choose_mode(&rng, name);
	mode.form = form;
	if (!mode.max_leaf_level)
		mode.max_leaf_level = NMMU_LEVELS;
	w.mode = &mode;
	w.draw = draw;
	w.ctx = &rng;
	if (mode.most_steps && steps > mode.most_steps)
		steps = mode.most_steps;
	good = mmu_world_begin(&w);
	for (uint64_t i = 0; good && i < steps; i++)
		good = mmu_step(&w);
	good = good && mmu_world_end(&w);
	if (!good) {
		mmu_print_log(&w);
		printf("again: test-model-mmu_twin %" PRIu64 " %u\n", seed,
		       (unsigned int)STEPS_PER_MAP * (form == MSLOT_MMU_SLOT_BITMAPS ? 2 : 1));
	}
	return good;
}

static bool run(uint64_t seed, uint64_t steps, const char *name)
{
	for (uint64_t i = 0; i < steps; i += STEPS_PER_MAP) {
		const uint64_t n = steps - i < STEPS_PER_MAP ? steps - i : STEPS_PER_MAP;

		/* Each world once with reverse maps and once with slot bitmaps. */
		if (!run_world(seed + i / STEPS_PER_MAP / 2, n,
			       i / STEPS_PER_MAP % 2 ? MSLOT_MMU_SLOT_BITMAPS
						     : MSLOT_MMU_REVERSE_MAPS,
			       name))
			return false;
	}
	return true;
}

/* A run of some length must have seen everything: else the test is broken. */
static bool covered(uint64_t steps)
{
	const struct mmu_tally *t = &mmu_tally;
	bool all = t->faults && t->prefaults && t->commits && t->quiet && t->zapped &&
		   t->protects && t->ages && t->invalidations && t->harvests && t->splits &&
		   t->collapses && t->evicted;

	for (size_t i = 0; i < 4; i++)
		all = all && t->refused[i];
	for (size_t i = 1; i <= NMMU_LEVELS; i++)
		all = all && t->levels[i];
	return all || steps < 60000 || twin_fail("some case never occurred\n");
}

static void print_tally(uint64_t steps)
{
	const struct mmu_tally *t = &mmu_tally;

	printf("%" PRIu64 " steps on %" PRIu64 " maps: %" PRIu64 " commits (%" PRIu64
	       " took nothing away), %" PRIu64 " faults and %" PRIu64 " prefaults\n",
	       steps, t->worlds, t->commits, t->quiet, t->faults, t->prefaults);
	printf("refused: EINVAL %" PRIu64 ", ENOENT %" PRIu64 ", EACCES %" PRIu64
	       ", EAGAIN %" PRIu64 "; levels %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
	       t->refused[0], t->refused[1], t->refused[2], t->refused[3], t->levels[1],
	       t->levels[2], t->levels[3]);
	printf("%" PRIu64 " zaps of %" PRIu64 " leaves, %" PRIu64 " protected, %" PRIu64
	       " aged; %" PRIu64 " invalidations, %" PRIu64 " harvests; %" PRIu64
	       " splits, %" PRIu64 " collapses, %" PRIu64 " evicted; %" PRIu64 " lookups\n",
	       t->zaps, t->zapped, t->protects, t->ages, t->invalidations, t->harvests, t->splits,
	       t->collapses, t->evicted, t->lookups);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : DEFAULT_SEED;
	const char *scale = getenv("MSLOT_TEST_SCALE");
	uint64_t steps = DEFAULT_STEPS * (scale ? strtoull(scale, NULL, 0) : 100) / 100;

	if (argc > 2)
		steps = strtoull(argv[2], NULL, 0);
	if (steps == 0)
		steps = 1;
	if ((argc <= 1 && !mmu_cases()) || !run(seed, steps, argc > 3 ? argv[3] : NULL))
		return EXIT_FAILURE;
	print_tally(steps);
	return argc > 3 || covered(steps) ? EXIT_SUCCESS : EXIT_FAILURE;
}
