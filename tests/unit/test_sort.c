/* SPDX-License-Identifier: MIT */
/*
 * src/base/sort.c: against order itself, at the lengths where the way of sorting changes
 * and for keys that differ in few, many, or only the highest bits.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/sort.h"
#include "rng.h"

static const size_t lengths[] = {0,   1,   2,   3,    23,   24,   25,   26,   63,
				 255, 256, 257, 2047, 2048, 2049, 5000, 40000};
static const uint64_t masks[] = {
    0,
    1,
    0xff,
    UINT64_C(0xfff000),
    UINT64_C(0x8000000000000000),
    UINT64_C(0x8000000000000001),
    UINT64_C(0x0010000000001000),
    UINT64_C(0xffe0000000000000),
    UINT64_MAX,
};

/*
 * Sort n random keys, each carrying its place; equal ones must stay in order, and every
 * item must be there once.
 */
static void sort_and_check(struct rng *rng, size_t n, uint64_t mask, uint64_t base)
{
	struct sort_item *items = calloc(n + 1, sizeof(*items)), *sorted;
	struct sort_item *room = calloc(n + 1, sizeof(*room));
	uint64_t *key = calloc(n + 1, sizeof(*key));
	unsigned char *seen = calloc(n + 1, 1);
	size_t i;

	assert_true(items && room && key && seen);
	for (i = 0; i < n; i++) {
		key[i] = base ^ (rng_next(rng) & mask);
		items[i] = (struct sort_item){.key = key[i], .value = i};
	}
	sorted = sort_items(items, room, n);
	assert_true(sorted == items || sorted == room);
	for (i = 0; i < n; i++) {
		assert_in_range(sorted[i].value, 0, n - 1);
		assert_int_equal(seen[sorted[i].value]++, 0);
		assert_int_equal(sorted[i].key, key[sorted[i].value]);
		if (i > 0) {
			assert_true(sorted[i - 1].key <= sorted[i].key);
			if (sorted[i - 1].key == sorted[i].key)
				assert_true(sorted[i - 1].value < sorted[i].value);
		}
	}
	/* Behind the end nothing was written. */
	assert_int_equal(items[n].key | items[n].value | room[n].key | room[n].value, 0);
	free(items);
	free(room);
	free(key);
	free(seen);
}

static void random_keys_are_sorted_stably(void **state)
{
	struct rng rng;
	size_t i, k;

	(void)state;
	rng_init(&rng, 1);
	for (i = 0; i < sizeof(lengths) / sizeof(*lengths); i++)
		for (k = 0; k < sizeof(masks) / sizeof(*masks); k++)
			sort_and_check(&rng, lengths[i], masks[k], rng_next(&rng));
}

static void sorted_keys_are_left_where_they_are(void **state)
{
	static struct sort_item items[3000], room[3000];
	size_t i;

	(void)state;
	for (i = 0; i < 3000; i++)
		items[i] = (struct sort_item){.key = i / 2, .value = i};
	assert_ptr_equal(sort_items(items, room, 3000), items);
	for (i = 0; i < 3000; i++) {
		assert_int_equal(items[i].value, i);
		assert_int_equal(room[i].key | room[i].value, 0);
	}
}

static void one_key_out_of_order_is_noticed_anywhere(void **state)
{
	static struct sort_item items[40], room[40];
	struct sort_item *sorted;
	size_t n, at, i;

	(void)state;
	for (n = 2; n <= 40; n++)
		for (at = 1; at < n; at++) {
			for (i = 0; i < n; i++)
				items[i] =
				    (struct sort_item){.key = i == at ? 0 : i + 1, .value = i};
			sorted = sort_items(items, room, n);
			assert_int_equal(sorted[0].value, at);
			for (i = 1; i < n; i++)
				assert_int_equal(sorted[i].value, i <= at ? i - 1 : i);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_keys_are_sorted_stably),
	    cmocka_unit_test(sorted_keys_are_left_where_they_are),
	    cmocka_unit_test(one_key_out_of_order_is_noticed_anywhere),
	};

	return cmocka_run_group_tests_name("sort", tests, NULL, NULL);
}
