/* SPDX-License-Identifier: MIT */
/*
 * src/base: page arithmetic, bitmaps, node pools and the allocator seam.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/bitmap.h"
#include "base/page.h"
#include "base/pool.h"
#include "base/sanitize.h"

/* ---- page.h ------------------------------------------------------------- */

static void test_page_shift_valid(void **state)
{
	unsigned int shift;

	(void)state;
	for (shift = 0; shift < 64; shift++)
		assert_int_equal(page_shift_valid(shift),
				 shift == 12 || shift == 14 || shift == 16);
}

static void test_page_aligned_at_the_border(void **state)
{
	static const unsigned int shifts[] = {12, 14, 16};
	static const uint64_t sizes[] = {4096, 16384, 65536};
	size_t k;

	(void)state;
	for (k = 0; k < 3; k++) {
		uint64_t bytes = page_bytes(shifts[k]);

		assert_int_equal(bytes, sizes[k]);
		assert_true(page_aligned(0, shifts[k]));
		assert_true(page_aligned(bytes, shifts[k]));
		assert_true(page_aligned(-bytes, shifts[k]));
		assert_false(page_aligned(bytes - 1, shifts[k]));
		assert_false(page_aligned(bytes + 1, shifts[k]));
		assert_false(page_aligned(bytes / 2, shifts[k]));
		assert_false(page_aligned(UINT64_MAX, shifts[k]));
	}
}

static void test_range_end_wraps(void **state)
{
	uint64_t end = 5;

	(void)state;
	assert_true(range_end(0, 0, &end));
	assert_int_equal(end, 0);
	assert_true(range_end(1, UINT64_MAX - 1, &end));
	assert_int_equal(end, UINT64_MAX);
	assert_false(range_end(1, UINT64_MAX, &end));
	assert_false(range_end(UINT64_MAX, 1, &end));
	assert_false(range_end(UINT64_C(1) << 63, UINT64_C(1) << 63, &end));
}

static void test_touching_ranges_do_not_overlap(void **state)
{
	(void)state;
	assert_false(range_overlaps(0, 10, 10, 20));
	assert_false(range_overlaps(10, 20, 0, 10));
	assert_true(range_overlaps(0, 11, 10, 20));
	assert_true(range_overlaps(10, 20, 0, 11));
	assert_true(range_overlaps(0, 100, 10, 20));
	assert_true(range_overlaps(10, 20, 0, 100));
	assert_true(range_overlaps(0, UINT64_MAX, UINT64_MAX - 1, UINT64_MAX));
}

static void test_u64_min_and_max(void **state)
{
	(void)state;
	assert_int_equal(u64_min(1, UINT64_MAX), 1);
	assert_int_equal(u64_min(UINT64_MAX, 1), 1);
	assert_int_equal(u64_max(1, UINT64_MAX), UINT64_MAX);
	assert_int_equal(u64_max(UINT64_MAX, 1), UINT64_MAX);
	assert_int_equal(u64_max(3, 3), 3);
}

/* ---- bitmap.h ----------------------------------------------------------- */

#define BITS 65537u

static const uint64_t borders[] = {0,   1,   63,  64,  65,  127,   128,
				   129, 255, 256, 257, 512, 65535, 65536};
#define NBORDERS (sizeof(borders) / sizeof(borders[0]))

/* One word too many, to see stray writes. */
static uint64_t *make_bitmap(uint64_t fill)
{
	uint64_t i, words = bitmap_words(BITS) + 1, *map = malloc(words * sizeof(*map));

	assert_non_null(map);
	for (i = 0; i < words; i++)
		map[i] = fill;
	return map;
}

static void test_bitmap_words_round_up(void **state)
{
	(void)state;
	assert_int_equal(bitmap_words(0), 0);
	assert_int_equal(bitmap_words(1), 1);
	assert_int_equal(bitmap_words(64), 1);
	assert_int_equal(bitmap_words(65), 2);
	assert_int_equal(bitmap_words(UINT64_MAX), UINT64_C(1) << 58);
}

static void test_bitmap_one_bit_does_not_touch_its_neighbours(void **state)
{
	uint64_t *map = make_bitmap(0), *full = make_bitmap(UINT64_MAX), at;
	size_t k;

	(void)state;
	for (k = 0; k < NBORDERS; k++) {
		at = borders[k];
		bitmap_set(map, at);
		assert_true(bitmap_test(map, at));
		assert_int_equal(bitmap_count(map, 0, BITS), 1);
		assert_int_equal(bitmap_next_set(map, BITS, 0), at);
		bitmap_clear(map, at);
		assert_false(bitmap_test(map, at));
		assert_int_equal(bitmap_count(map, 0, BITS), 0);
		bitmap_clear(full, at);
		assert_false(bitmap_test(full, at));
		assert_int_equal(bitmap_count(full, 0, BITS), BITS - 1);
		assert_int_equal(bitmap_next_clear(full, BITS, 0), at);
		bitmap_set(full, at);
	}
	free(map);
	free(full);
}

/* Every pair of borders as a range, against bits looked at one by one. */
static void test_bitmap_ranges_at_word_borders(void **state)
{
	size_t a, b;
	uint64_t i, n;

	(void)state;
	for (a = 0; a < NBORDERS; a++) {
		for (b = a; b < NBORDERS; b++) {
			uint64_t *map = make_bitmap(0), first = borders[a], end = borders[b];

			n = end - first;
			bitmap_set_range(map, first, n);
			for (i = 0; i < BITS; i++)
				if (bitmap_test(map, i) != (i >= first && i < end))
					fail_msg("set %lu..%lu: bit %lu", first, end, i);
			assert_int_equal(map[bitmap_words(BITS)], 0);
			assert_int_equal(bitmap_count(map, 0, BITS), n);
			assert_int_equal(bitmap_count(map, first, n), n);
			assert_int_equal(bitmap_count(map, 0, first), 0);
			assert_int_equal(bitmap_count(map, end, BITS - end), 0);
			assert_int_equal(bitmap_next_set(map, BITS, 0), n ? first : BITS);
			assert_int_equal(bitmap_next_set(map, BITS, end), BITS);
			assert_int_equal(bitmap_next_clear(map, BITS, first), end);
			bitmap_set_range(map, 0, BITS);
			bitmap_clear_range(map, first, n);
			assert_int_equal(bitmap_count(map, 0, BITS), BITS - n);
			assert_int_equal(bitmap_count(map, first, n), 0);
			assert_int_equal(bitmap_next_clear(map, BITS, 0), n ? first : BITS);
			assert_int_equal(bitmap_next_set(map, BITS, first), end);
			free(map);
		}
	}
}

static void test_bitmap_search_ignores_bits_behind_the_end(void **state)
{
	uint64_t map[2] = {0, UINT64_MAX};

	(void)state;
	assert_int_equal(bitmap_next_set(map, 64, 0), 64);
	assert_int_equal(bitmap_next_set(map, 65, 0), 64);
	assert_int_equal(bitmap_next_set(map, 3, 0), 3);
	assert_int_equal(bitmap_next_set(map, 0, 0), 0);
	assert_int_equal(bitmap_next_set(map, 70, 70), 70);
	assert_int_equal(bitmap_next_set(map, 70, 100), 70);
	assert_int_equal(bitmap_next_clear(map, 100, 64), 100);
	assert_int_equal(bitmap_count(map, 0, 0), 0);
	assert_int_equal(bitmap_count(map, 63, 2), 1);
}

/* ---- pool.h ------------------------------------------------------------- */

static void test_pool_sizes(void **state)
{
	struct pool pool;
	size_t bytes;

	(void)state;
	pool_init(&pool);
	assert_null(pool_alloc(&pool, 0));
	assert_null(pool_alloc(&pool, sizeof(struct pool_link) - 1));
	assert_null(pool_alloc(&pool, POOL_MAX_BYTES + 1));
	assert_int_equal(pool.slab_bytes, 0);
	for (bytes = sizeof(struct pool_link); bytes <= POOL_MAX_BYTES; bytes++) {
		void *node = pool_alloc(&pool, bytes);

		assert_non_null(node);
		assert_int_equal((uintptr_t)node % 8, 0);
		assert_in_range(pool_node_bytes(node), bytes, bytes + 7);
		assert_int_equal(pool.live_bytes, pool_node_bytes(node));
		memset(node, 0xff, pool_node_bytes(node));
		pool_free(&pool, node);
		assert_int_equal(pool.live_bytes, 0);
		assert_null(pool_check(&pool));
	}
	pool_fini(&pool);
	assert_int_equal(pool.slab_bytes, 0);
}

/* With AddressSanitizer only: what is behind a node, and what was given back, may not be read. */
static void test_pool_forbids_what_is_not_handed_out(void **state)
{
#ifdef MSLOT_ASAN
	struct pool pool;
	char *a, *b;

	(void)state;
	pool_init(&pool);
	a = pool_alloc(&pool, 192);
	assert_non_null(a);
	assert_null(__asan_region_is_poisoned(a, 192));
	assert_int_equal(__asan_address_is_poisoned(a + 192), 1);
	b = pool_alloc(&pool, 192);
	assert_ptr_equal(b, a + 192);
	pool_free(&pool, a);
	assert_int_equal(__asan_address_is_poisoned(a + 191), 1);
	assert_null(__asan_region_is_poisoned(b, 192));
	pool_free(&pool, b);
	pool_fini(&pool);
#else
	(void)state;
	skip();
#endif
}

/* Fill and empty in different orders; nodes must not overlap, and memory must go back. */
static void test_pool_nodes_keep_their_content(void **state)
{
	enum { N = 2000 };
	static unsigned char *node[N];
	uint64_t live = alloc_live();
	size_t i, k, bytes, round;
	struct pool pool;

	(void)state;
	pool_init(&pool);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < N; i++) {
			bytes = 16 + i % 5 * 200;
			node[i] = pool_alloc(&pool, bytes);
			assert_non_null(node[i]);
			memset(node[i], (int)(i & 0xff), bytes);
		}
		assert_null(pool_check(&pool));
		for (k = 0; k < N; k++) {
			/* Forwards, backwards, and with a stride that visits all. */
			i = round == 0 ? k : round == 1 ? N - 1 - k : k * 7 % N;
			bytes = 16 + i % 5 * 200;
			assert_int_equal(node[i][0], i & 0xff);
			assert_int_equal(memcmp(node[i], node[i] + 1, bytes - 1), 0);
			pool_free(&pool, node[i]);
			if (k % 100 == 0)
				assert_null(pool_check(&pool));
		}
		assert_int_equal(pool.live_bytes, 0);
		/* One slab a class stays, and a limited number is spared for any class. */
		assert_int_equal(pool.slab_bytes, (5 + pool.nspare) * (uint64_t)8192);
		assert_in_range(pool.nspare, 1, POOL_SPARE_SLABS);
	}
	pool_fini(&pool);
	assert_int_equal(alloc_live(), live);
}

static void test_pool_does_not_churn_at_a_slab_border(void **state)
{
	struct pool_link *list = NULL, *node;
	struct pool pool;
	int i;

	(void)state;
	pool_init(&pool);
	do {
		node = pool_alloc(&pool, 400);
		assert_non_null(node);
		node->next = list;
		list = node;
	} while (pool.partial[50]);
	alloc_fail_at(0, 0);
	for (i = 0; i < 100; i++)
		pool_free(&pool, pool_alloc(&pool, 400));
	assert_int_equal(alloc_attempts(), 1);
	assert_null(pool_check(&pool));
	pool_fini(&pool);
}

static void test_pool_out_of_memory(void **state)
{
	struct pool pool;
	void *node;

	(void)state;
	pool_init(&pool);
	alloc_fail_at(1, 0);
	assert_null(pool_alloc(&pool, 100));
	assert_null(pool_check(&pool));
	assert_int_equal(pool.slab_bytes, 0);
	node = pool_alloc(&pool, 100);
	assert_non_null(node);
	/* Only a new slab needs the system. */
	alloc_fail_at(1, 1);
	pool_free(&pool, pool_alloc(&pool, 100));
	assert_null(pool_alloc(&pool, 200));
	alloc_fail_at(0, 0);
	assert_null(pool_check(&pool));
	pool_fini(&pool);
}

static void test_pool_check_sees_wrong_books(void **state)
{
	struct pool_link *a, *b;
	struct pool pool;

	(void)state;
	pool_init(&pool);
	a = pool_alloc(&pool, 64);
	b = pool_alloc(&pool, 64);
	pool.live_bytes += 8;
	assert_non_null(pool_check(&pool));
	pool.live_bytes -= 8;
	pool.slab_bytes += 8192;
	assert_non_null(pool_check(&pool));
	pool.slab_bytes -= 8192;
	assert_null(pool_check(&pool));
	pool_free(&pool, a);
	a->next = a; /* as a write after free would */
	assert_non_null(pool_check(&pool));
	a->next = b; /* a live node on the free list */
	b->next = NULL;
	assert_non_null(pool_check(&pool));
	a->next = NULL;
	assert_null(pool_check(&pool));
	pool_fini(&pool);
}

/* ---- alloc.h ------------------------------------------------------------ */

static void test_alloc_fails_when_told(void **state)
{
	uint64_t live = alloc_live();
	char *p, *q;

	(void)state;
	alloc_fail_at(2, 0);
	p = mem_alloc(10);
	assert_non_null(p);
	p[0] = 'x';
	assert_null(mem_realloc(p, 1000));
	assert_int_equal(p[0], 'x');
	q = mem_zalloc(16);
	assert_non_null(q);
	assert_int_equal(q[15], 0);
	assert_int_equal(alloc_attempts(), 3);
	assert_int_equal(alloc_live(), live + 2);
	alloc_fail_at(2, 1);
	p = mem_realloc(p, 1000);
	assert_non_null(p);
	assert_int_equal(p[0], 'x');
	assert_null(mem_zalloc(1));
	assert_null(mem_alloc(1));
	assert_null(mem_realloc(NULL, 1));
	assert_null(mem_alloc_aligned(4096, 4096));
	alloc_fail_at(0, 0);
	mem_free(p);
	mem_free(q);
	mem_free(NULL);
	assert_int_equal(alloc_live(), live);
	p = mem_alloc_aligned(4096, 8192);
	assert_non_null(p);
	assert_int_equal((uintptr_t)p % 4096, 0);
	mem_free(p);
	p = mem_realloc(NULL, 8);
	assert_int_equal(alloc_live(), live + 1);
	mem_free(p);
	assert_int_equal(alloc_live(), live);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_page_shift_valid),
	    cmocka_unit_test(test_page_aligned_at_the_border),
	    cmocka_unit_test(test_range_end_wraps),
	    cmocka_unit_test(test_touching_ranges_do_not_overlap),
	    cmocka_unit_test(test_u64_min_and_max),
	    cmocka_unit_test(test_bitmap_words_round_up),
	    cmocka_unit_test(test_bitmap_one_bit_does_not_touch_its_neighbours),
	    cmocka_unit_test(test_bitmap_ranges_at_word_borders),
	    cmocka_unit_test(test_bitmap_search_ignores_bits_behind_the_end),
	    cmocka_unit_test(test_pool_sizes),
	    cmocka_unit_test(test_pool_forbids_what_is_not_handed_out),
	    cmocka_unit_test(test_pool_nodes_keep_their_content),
	    cmocka_unit_test(test_pool_does_not_churn_at_a_slab_border),
	    cmocka_unit_test(test_pool_out_of_memory),
	    cmocka_unit_test(test_pool_check_sees_wrong_books),
	    cmocka_unit_test(test_alloc_fails_when_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
