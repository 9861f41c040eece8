/* SPDX-License-Identifier: MIT */
/*
 * test_log.c - bitmaps with summaries, views and extents, against arrays of bytes.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "log/log.h"
#include "rng.h"

static const uint64_t sizes[] = {1, 63, 64, 65, 255, 511, 512, 513, 4096, 32768, 65535, 65537};

#define NSIZES (sizeof(sizes) / sizeof(*sizes))
#define ROUNDS 60
#define SHIFTS 70 /* bits by which bitmaps of the caller's are out of step */

struct twin {
	struct log_bits *bits;
	uint8_t *pages;
	uint64_t n;
};

static void expect_same(const struct twin *t)
{
	uint64_t i, next = 0, clear = 0, count = 0;

	for (i = 0; i < t->n; i++) {
		if (next < i)
			next = i;
		if (clear < i)
			clear = i;
		while (next < t->n && !t->pages[next])
			next++;
		while (clear < t->n && t->pages[clear])
			clear++;
		assert_int_equal(log_bits_next_set(t->bits, i, t->n), next);
		assert_int_equal(log_bits_next_clear(t->bits, i, t->n), clear);
		count += t->pages[i];
	}
	assert_int_equal(log_bits_any(t->bits), count > 0);
	assert_int_equal(log_bits_or_out(t->bits, 0, t->n, NULL, 0), count);
}

static void random_range(struct rng *rng, uint64_t n, uint64_t *first, uint64_t *len)
{
	*first = rng_below(rng, n);
	*len = rng_below(rng, n - *first + 1);
	if (rng_chance(rng, 50) && *len > 3)
		*len = 3;
}

/* A bitmap of the caller's, and what becomes of it, at a shift. */
static void step_out_of_step(struct rng *rng, struct twin *t, uint64_t first, uint64_t len)
{
	uint64_t at = rng_below(rng, SHIFTS), i, words = bitmap_words(at + len) + 1, hits = 0;
	uint64_t *map = calloc(words, sizeof(*map)), *was = calloc(words, sizeof(*was));
	bool clear = rng_chance(rng, 50);

	assert_true(map && was);
	for (i = 0; i < words; i++)
		map[i] = was[i] = rng_chance(rng, 30) ? rng_next(rng) : 0;
	for (i = 0; i < len; i++)
		hits += t->pages[first + i] && (!clear || bitmap_test(map, at + i));
	if (clear) {
		assert_int_equal(log_bits_clear_mask(t->bits, first, len, map, at), hits);
		assert_memory_equal(map, was, words * sizeof(*map));
	} else {
		assert_int_equal(log_bits_or_out(t->bits, first, len, map, at), hits);
	}
	for (i = 0; i < words * BITMAP_WORD_BITS; i++) {
		bool inside = i >= at && i < at + len;

		if (clear && inside && bitmap_test(was, i))
			t->pages[first + i - at] = 0;
		if (!clear)
			assert_int_equal(bitmap_test(map, i),
					 bitmap_test(was, i) ||
					     (inside && t->pages[first + i - at]));
	}
	free(map);
	free(was);
}

/* Words that are in step, to memory that is not aligned. */
static void step_in_step(struct rng *rng, struct twin *t)
{
	uint64_t first = rng_below(rng, bitmap_words(t->n)) * BITMAP_WORD_BITS;
	uint64_t len = rng_chance(rng, 50) ? t->n - first
					   : (t->n - first) / BITMAP_WORD_BITS * BITMAP_WORD_BITS;
	uint64_t bytes = bitmap_words(len) * 8, way = rng_below(rng, 4), i;
	char *room = calloc(1, bytes + 9);
	log_any_word *map;
	uint8_t *was;

	assert_non_null(room);
	map = (void *)(room + 1);
	was = (uint8_t *)room + 1;
	assert_true(log_bits_in_step(t->n, first, len));
	assert_false(log_bits_in_step(t->n, 1, t->n));
	for (i = 0; i < bytes; i++)
		was[i] = rng_chance(rng, 30) ? (uint8_t)rng_next(rng) : 0;
	if (way == 0)
		log_bits_copy_words(t->bits, first, len, map);
	else if (way == 1)
		log_bits_take_words(t->bits, first, len, map);
	else if (way == 2)
		memset(was, 0, bytes);
	if (way == 2)
		log_bits_or_words(t->bits, first, len, map);
	for (i = 0; i < len; i++) {
		bool bit = was[i / 8] >> i % 8 & 1;

		if (way < 3)
			assert_int_equal(bit, t->pages[first + i]);
		if (way == 1 || (way == 3 && bit))
			t->pages[first + i] = 0;
	}
	if (way == 3)
		log_bits_clear_words(t->bits, first, len, map);
	assert_int_equal(room[bytes + 1], 0);
	free(room);
}

static void bits_do_what_bytes_do(void **state)
{
	struct rng rng;
	struct log_bits *other;
	uint64_t first, len;
	struct twin t;

	(void)state;
	rng_init(&rng, 51);
	for (size_t s = 0; s < NSIZES; s++) {
		t.n = sizes[s];
		t.bits = log_bits_create(t.n);
		t.pages = calloc(1, t.n);
		other = log_bits_create(t.n);
		assert_true(t.bits && t.pages && other);
		expect_same(&t);
		for (int round = 0; round < ROUNDS; round++) {
			random_range(&rng, t.n, &first, &len);
			switch (rng_below(&rng, 6)) {
			case 0:
				log_bits_set_range(t.bits, first, len);
				memset(t.pages + first, 1, len);
				break;
			case 1:
				log_bits_clear_range(t.bits, first, len);
				memset(t.pages + first, 0, len);
				break;
			case 2:
				log_bits_set_range(other, first, len);
				log_bits_move(t.bits, other);
				memset(t.pages + first, 1, len);
				assert_false(log_bits_any(other));
				assert_int_equal(log_bits_next_set(other, 0, t.n), t.n);
				break;
			case 3:
				step_out_of_step(&rng, &t, first, len);
				break;
			case 4:
				step_in_step(&rng, &t);
				break;
			default:
				if (rng_chance(&rng, 10)) {
					log_bits_clear_all(t.bits);
					memset(t.pages, 0, t.n);
				}
				break;
			}
			if (t.n < 5000 || round % 16 == 0)
				expect_same(&t);
		}
		mem_free(t.bits);
		mem_free(other);
		free(t.pages);
	}
}

/* ---- Views ---- */

static const struct log_wants two = {.sets = 1u << 0 | 1u << 3, .fill = 1u << 3};

static struct log_view *view_of(uint64_t first, uint64_t n, const struct log_view *const *old,
				uint32_t nold, bool *added)
{
	struct log_view *view = NULL;

	*added = false;
	assert_int_equal(log_view_create(first, n, old, nold, &two, &view, added), 0);
	assert_int_equal(view->first, first);
	assert_int_equal(view->npages, n);
	return view;
}

static void expect_piece(const struct log_view *view, uint32_t i, uint64_t first, uint64_t n,
			 const struct log_extent *extent)
{
	assert_true(i < view->npieces);
	assert_int_equal(view->pieces[i].first, first);
	assert_int_equal(view->pieces[i].npages, n);
	assert_ptr_equal(view->pieces[i].extent, extent);
}

/* A split shares one extent, a merge of the parts has one piece again, growing adds extents. */
static void views_keep_pieces(void **state)
{
	const struct log_view *old[3];
	struct log_view *whole, *low, *high, *merged, *grown;
	struct log_extent *extent;
	bool added;

	(void)state;
	whole = view_of(100, 1000, NULL, 0, &added);
	assert_true(added);
	assert_int_equal(whole->npieces, 1);
	extent = whole->pieces[0].extent;
	old[0] = whole;
	low = view_of(100, 301, old, 1, &added);
	assert_false(added);
	high = view_of(401, 699, old, 1, &added);
	assert_false(added);
	expect_piece(low, 0, 100, 301, extent);
	expect_piece(high, 0, 401, 699, extent);
	assert_int_equal(atomic_load(&extent->refs), 3);
	old[0] = high;
	old[1] = low;
	merged = view_of(100, 1000, old, 2, &added);
	assert_false(added);
	assert_int_equal(merged->npieces, 1);
	expect_piece(merged, 0, 100, 1000, extent);
	old[0] = merged;
	grown = view_of(50, 1100, old, 1, &added);
	assert_true(added);
	assert_int_equal(grown->npieces, 3);
	assert_int_equal(grown->pieces[0].npages, 50);
	expect_piece(grown, 1, 100, 1000, extent);
	assert_int_equal(grown->pieces[2].npages, 50);
	assert_ptr_equal(log_view_piece(grown, 50), &grown->pieces[0]);
	assert_ptr_equal(log_view_piece(grown, 99), &grown->pieces[0]);
	assert_ptr_equal(log_view_piece(grown, 100), &grown->pieces[1]);
	assert_ptr_equal(log_view_piece(grown, 1099), &grown->pieces[1]);
	assert_ptr_equal(log_view_piece(grown, 1149), &grown->pieces[2]);
	/* Old views that do not reach into the range give nothing. */
	old[0] = low;
	log_view_destroy(whole);
	whole = view_of(401, 10, old, 1, &added);
	assert_true(added);
	assert_ptr_not_equal(whole->pieces[0].extent, extent);
	log_view_destroy(whole);
	log_view_destroy(low);
	log_view_destroy(high);
	log_view_destroy(merged);
	assert_int_equal(atomic_load(&extent->refs), 1);
	log_view_destroy(grown);
}

/* Marks over borders of pieces, the way to the sets, and what a set begins with. */
static void marks_reach_every_set(void **state)
{
	const struct log_view *old[2];
	struct log_view *a, *b, *both;
	struct log_set *set;
	bool added;

	(void)state;
	a = view_of(0, 70, NULL, 0, &added);
	b = view_of(70, 700, NULL, 0, &added);
	old[0] = b;
	old[1] = a;
	both = view_of(0, 770, old, 2, &added);
	assert_int_equal(both->npieces, 2);
	for (uint32_t i = 0; i < 2; i++) {
		assert_true(log_extent_clean(both->pieces[i].extent));
		set = log_extent_set(both->pieces[i].extent, 3);
		assert_int_equal(log_bits_or_out(set->fresh, 0, both->pieces[i].npages, NULL, 0),
				 both->pieces[i].npages);
		set = log_extent_set(both->pieces[i].extent, 0);
		assert_false(log_bits_any(set->fresh));
		assert_null(log_extent_set(both->pieces[i].extent, 1));
	}
	log_mark(both, 69, 600);
	for (uint32_t i = 0; i < 2; i++) {
		struct log_extent *extent = both->pieces[i].extent;

		assert_false(log_extent_clean(extent));
		log_extent_swap(extent);
		assert_true(log_extent_clean(extent));
		log_extent_fan_out(extent);
		assert_false(log_bits_any(extent->spare));
		set = log_extent_set(extent, 0);
		assert_int_equal(log_bits_or_out(set->fresh, 0, both->pieces[i].npages, NULL, 0),
				 i ? 599 : 1);
		assert_int_equal(log_bits_next_set(set->fresh, 0, 70), i ? 0 : 69);
	}
	/* Once more: the bits that took turns are as clean as new. */
	log_mark(a, 3, 1);
	log_extent_swap(a->pieces[0].extent);
	log_extent_fan_out(a->pieces[0].extent);
	set = log_extent_set(a->pieces[0].extent, 0);
	assert_int_equal(log_bits_or_out(set->fresh, 0, 70, NULL, 0), 2);
	log_view_destroy(a);
	log_view_destroy(b);
	log_view_destroy(both);
}

/* An extent that is kept gets the sets that it lacks, filled where the view has pages. */
static void kept_extents_are_equipped(void **state)
{
	_Atomic uint64_t tally = 5;
	const struct log_wants none = {.sets = 0, .tally = &tally},
			       more = {.sets = 1u << 5, .fill = 1u << 5, .ring = true};
	struct log_view *first = NULL, *second = NULL;
	const struct log_view *old;
	struct log_extent *extent;
	uint64_t before;
	bool added = false;

	(void)state;
	assert_int_equal(log_view_create(0, 1000, NULL, 0, &none, &first, &added), 0);
	extent = first->pieces[0].extent;
	before = log_extent_bytes(extent);
	assert_int_equal(tally, 5 + before);
	old = first;
	added = false;
	assert_int_equal(log_view_create(10, 90, &old, 1, &more, &second, &added), 0);
	assert_true(added);
	assert_ptr_equal(second->pieces[0].extent, extent);
	assert_non_null(atomic_load(&extent->ringed));
	assert_int_equal(log_bits_next_set(log_extent_set(extent, 5)->fresh, 0, 1000), 10);
	assert_int_equal(log_bits_next_clear(log_extent_set(extent, 5)->fresh, 10, 1000), 100);
	assert_true(log_extent_bytes(extent) >= before + 3 * log_bits_bytes(1000));
	assert_int_equal(tally, 5 + log_extent_bytes(extent));
	log_extent_drop_set(extent, 4);
	assert_int_equal(tally, 5 + log_extent_bytes(extent));
	log_extent_drop_set(extent, 5);
	assert_int_equal(tally, 5 + before + log_bits_bytes(1000));
	log_view_destroy(first);
	log_view_destroy(second);
	assert_int_equal(tally, 5);
}

/* No memory: nothing is left, nothing is changed. */
static void every_allocation_fails(void **state)
{
	const struct log_wants wants = {.sets = 3, .ring = true};
	_Atomic uint64_t tally = 0;
	struct log_wants counted = two;
	struct log_view *whole, *out;
	const struct log_view *old;
	bool added;
	int err;

	(void)state;
	counted.tally = &tally;
	whole = view_of(10, 100, NULL, 0, &added);
	old = whole;
	for (uint64_t n = 1;; n++) {
		uint64_t live = alloc_live();

		out = NULL;
		alloc_fail_at(n, 0);
		err = log_view_create(0, 200, &old, 1, &counted, &out, &added);
		alloc_fail_at(0, 0);
		if (!err)
			break;
		assert_int_equal(tally, 0);
		assert_int_equal(err, -ENOMEM);
		assert_null(out);
		assert_int_equal(alloc_live(), live);
		assert_int_equal(atomic_load(&whole->pieces[0].extent->refs), 1);
	}
	log_view_destroy(out);
	alloc_fail_at(1, 0);
	assert_int_equal(log_extent_equip(whole->pieces[0].extent, &wants, 10, 100, &added),
			 -ENOMEM);
	alloc_fail_at(0, 0);
	log_view_destroy(whole);
	log_view_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bits_do_what_bytes_do),  cmocka_unit_test(views_keep_pieces),
	    cmocka_unit_test(marks_reach_every_set),  cmocka_unit_test(kept_extents_are_equipped),
	    cmocka_unit_test(every_allocation_fails),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
