/* SPDX-License-Identifier: MIT */
/*
 * test_migrate_digest.c - the comparison at the end of `mslot migrate-demo` sees every byte of
 * every page, pages that only one side has, and slots that differ.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/migrate.h"

#define NPAGES 12u
#define PAGE 4096u

struct slot {
	uint32_t space, id;
	uint64_t first, npages; /* pages of memory */
	uint64_t gpa;           /* in pages */
};

static const struct slot plain[] = {
    {0, 0, 0, 3, 0}, {0, 7, 3, 1, 9}, {1, 0, 4, 5, 0}, {1, 1, 9, 3, 5}, {0}};

/* Digest a map of these slots, up to one without pages, over the memory. */
static struct map_digest digest(const struct slot *slot, uint8_t *memory)
{
	const struct mslot_map_options map_opt = {.nspaces = MIGRATE_NSPACES};
	const struct mslot_region_options opt = {
	    .hva = memory, .len_bytes = NPAGES * PAGE, .fd = -1};
	struct mslot_region *region;
	struct mslot_map *map;
	struct mslot_txn *txn;
	struct map_digest out;

	assert_int_equal(mslot_map_create(&map_opt, &map), 0);
	assert_int_equal(mslot_region_create(&opt, &region), 0);
	assert_int_equal(mslot_txn_begin(map, &txn), 0);
	for (; slot->npages > 0; slot++) {
		const struct mslot_slot_def def = {.key = {slot->space, slot->id},
						   .gpa = slot->gpa * PAGE,
						   .len_bytes = slot->npages * PAGE,
						   .region = region,
						   .offset_bytes = slot->first * PAGE};

		assert_true(mslot_txn_create(txn, &def) >= 0);
	}
	assert_int_equal(mslot_txn_commit(txn, NULL, NULL), 0);
	digest_map(map, &out);
	mslot_region_put(region);
	assert_int_equal(mslot_map_destroy(map), 0);
	return out;
}

static uint8_t *new_memory(void)
{
	uint8_t *const memory = aligned_alloc(PAGE, NPAGES * PAGE);

	assert_non_null(memory);
	for (size_t i = 0; i < NPAGES * PAGE; i++)
		memory[i] = (uint8_t)(i * i >> 7);
	return memory;
}

/* Pages that differ between a map of `plain` and one of `slot`; also the other way round. */
static uint64_t lost(const struct slot *slot, bool *equal)
{
	uint8_t *const memory = new_memory();
	struct map_digest a = digest(plain, memory), b = digest(slot, memory);
	const uint64_t n = digest_compare(&a, &b);

	assert_int_equal(digest_compare(&b, &a), n);
	*equal = a.whole == b.whole;
	free(a.page);
	free(b.page);
	free(memory);
	return n;
}

static void equal_maps_are_equal(void **state)
{
	bool equal;

	(void)state;
	assert_int_equal(lost(plain, &equal), 0);
	assert_true(equal);
}

static void every_byte_counts(void **state)
{
	uint8_t *const memory = new_memory();
	struct map_digest before = digest(plain, memory);

	(void)state;
	for (size_t i = 0; i < PAGE; i++) {
		const size_t page = i % NPAGES;
		struct map_digest after;

		memory[page * PAGE + i] ^= (uint8_t)(1u << i % 8);
		after = digest(plain, memory);
		memory[page * PAGE + i] ^= (uint8_t)(1u << i % 8);
		if (digest_compare(&before, &after) != 1 || before.whole == after.whole)
			fail_msg("byte %zu of page %zu is not seen", i, page);
		free(after.page);
	}
	free(before.page);
	free(memory);
}

/* Words that trade places, in the same lane and in another, and pages that do. */
static void places_count(void **state)
{
	static const size_t distance[] = {8, 16, 32, 64, 2048, 4088};
	uint8_t *const memory = new_memory();
	struct map_digest before, after;

	(void)state;
	for (size_t i = 0; i < sizeof(distance) / sizeof(distance[0]); i++) {
		memset(memory, 0, PAGE);
		memory[0] = 1;
		before = digest(plain, memory);
		memory[0] = 0;
		memory[distance[i]] = 1;
		after = digest(plain, memory);
		assert_int_equal(digest_compare(&before, &after), 1);
		free(before.page);
		free(after.page);
	}
	free(memory);
}

static void pages_of_one_side_are_lost(void **state)
{
	static const struct {
		struct slot slot[5];
		uint64_t lost;
	} other[] = {
	    {{{0, 0, 0, 3, 0}, {0, 7, 3, 1, 9}, {1, 0, 4, 5, 0}, {0}}, 3},  /* without the last */
	    {{{0, 7, 3, 1, 9}, {1, 0, 4, 5, 0}, {1, 1, 9, 3, 5}, {0}}, 3},  /* the first */
	    {{{0, 0, 0, 3, 0}, {1, 0, 4, 5, 0}, {1, 1, 9, 3, 5}, {0}}, 1},  /* one between */
	    {{{1, 0, 4, 5, 0}, {1, 1, 9, 3, 5}, {0}}, 4},                   /* a space */
	    {{{0, 0, 0, 3, 0}, {0, 7, 3, 1, 10}, {1, 0, 4, 8, 0}, {0}}, 2}, /* moved */
	};
	bool equal;

	(void)state;
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		assert_int_equal(lost(other[i].slot, &equal), other[i].lost);
		assert_false(equal);
	}
}

/* No page is lost, but the map is not the one that was asked for. */
static void slots_count_in_the_whole_digest(void **state)
{
	static const struct slot other[][5] = {
	    {{0, 1, 0, 3, 0}, {0, 7, 3, 1, 9}, {1, 0, 4, 5, 0}, {1, 1, 9, 3, 5}, {0}}, /* id */
	    {{0, 0, 0, 3, 0}, {0, 7, 3, 1, 9}, {1, 0, 4, 8, 0}, {0}},                  /* merged */
	};
	bool equal;

	(void)state;
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		assert_int_equal(lost(other[i], &equal), 0);
		assert_false(equal);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(equal_maps_are_equal),
	    cmocka_unit_test(every_byte_counts),
	    cmocka_unit_test(places_count),
	    cmocka_unit_test(pages_of_one_side_are_lost),
	    cmocka_unit_test(slots_count_in_the_whole_digest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
