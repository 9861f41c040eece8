/* SPDX-License-Identifier: MIT */
/*
 * test_txn_twin.c - random transactions against a naive map.
 *
 *   test-model-txn_twin [SEED [COUNT]]
 *
 * After every transaction the library and the naive map must agree: the errno and
 * the edit to blame, the generation, the diff, and what lies at every address. A
 * mismatch prints the seed, the number of the transaction, the edits and both
 * answers. Without COUNT it runs 50,000 transactions, scaled by MSLOT_TEST_SCALE
 * (percent).
 */
#include "txn_twin.h"

#include <inttypes.h>
#include <stdlib.h>

#define DEFAULT_SEED UINT64_C(20240601)
#define DEFAULT_COUNT UINT64_C(50000)

static bool parse(const char *text, uint64_t *out)
{
	char *end;

	*out = strtoull(text, &end, 0);
	return *text != '\0' && *end == '\0';
}

static void print_tally(uint64_t count)
{
	printf("%" PRIu64 " transactions on %" PRIu64 " maps: %" PRIu64 " edits, %" PRIu64
	       " changed the map, %" PRIu64 " changed nothing\n",
	       count, tally.maps, tally.edits, tally.changed, tally.unchanged);
	printf("refused: EINVAL %" PRIu64 ", E2BIG %" PRIu64 ", EEXIST %" PRIu64 ", EAGAIN %" PRIu64
	       ", vetoes %" PRIu64 ", edits beyond max_edits %" PRIu64 "; dry runs %" PRIu64 "\n",
	       tally.refused_einval, tally.refused_e2big, tally.refused_eexist,
	       tally.refused_eagain, tally.vetoes, tally.txn_full, tally.dry_runs);
	printf("edits by kind:");
	for (size_t i = 1; i <= MSLOT_EDIT_MERGE; i++)
		printf(" %" PRIu64, tally.by_edit_kind[i]);
	printf("\ndiff segments by kind:");
	for (size_t i = 1; i <= MSLOT_DIFF_REHOMED; i++)
		printf(" %" PRIu64, tally.by_diff_kind[i]);
	printf("\nholds %" PRIu64 ", regions released once %" PRIu64 "\n", tally.holds,
	       tally.releases);
}

/* A run of some length must have seen everything: else the generator is broken. */
static bool covered(uint64_t count)
{
	bool all = tally.changed && tally.unchanged && tally.refused_einval &&
		   tally.refused_e2big && tally.refused_eexist && tally.refused_eagain &&
		   tally.vetoes && tally.dry_runs && tally.txn_full && tally.holds;

	for (size_t i = 1; i <= MSLOT_EDIT_MERGE; i++)
		all = all && tally.by_edit_kind[i];
	for (size_t i = 1; i <= MSLOT_DIFF_REHOMED; i++)
		all = all && tally.by_diff_kind[i];
	return all || count < 20000 || twin_fail("some case never occurred");
}

static bool run(uint64_t seed, uint64_t count)
{
	uint64_t done = 0, map_number = 0;

	while (done < count) {
		uint64_t map_seed = seed * 1000003 + map_number++;
		struct world *world = world_create(map_seed, &done);
		struct rng rng;
		uint64_t stop;

		if (!world)
			return false;
		rng_init(&rng, map_seed ^ 1);
		stop = done + rng_range(&rng, 200, 4000);
		for (; done < stop && done < count; done++) {
			if (world_step(world))
				continue;
			printf("seed %" PRIu64 ", transaction %" PRIu64 "\n", seed, done);
			world_report(stdout, world);
			return false;
		}
		if (!world_destroy(world)) {
			printf("seed %" PRIu64 ", end of map %" PRIu64 " after %" PRIu64
			       " transactions\n",
			       seed, map_number - 1, done);
			return false;
		}
	}
	return true;
}

int main(int argc, char **argv)
{
	uint64_t seed = DEFAULT_SEED, count = DEFAULT_COUNT, percent = 100;
	const char *scale = getenv("MSLOT_TEST_SCALE");

	if (argc > 3 || (argc > 1 && !parse(argv[1], &seed)) ||
	    (argc > 2 && !parse(argv[2], &count)) ||
	    (argc <= 2 && scale && !parse(scale, &percent))) {
		fprintf(stderr, "usage: %s [SEED [COUNT]]\n", argv[0]);
		return 2;
	}
	count = count * percent / 100;
	if (count == 0)
		count = 1;
	if (!run(seed, count) || !covered(count))
		return EXIT_FAILURE;
	print_tally(count);
	return EXIT_SUCCESS;
}
