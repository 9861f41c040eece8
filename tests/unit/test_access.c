/* SPDX-License-Identifier: MIT */
/*
 * test_access.c - reading, writing, copying and clearing guest memory, and atomics.
 *
 * One arena of host memory backs all slots: neighbours in gpa lie far apart in it and
 * in reverse order, with unused pages between them. A shadow of the arena gets every
 * operation byte by byte; comparing the two whole checks the pages that must not
 * change along with those that must.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <mslot/access.h>
#include <mslot/txn.h>

#include "base/alloc.h"
#include "base/page.h"

#define ARENA_PAGES 24u
#define SPACES 2u
#define GPA_PAGES 10u /* of each space that tests address; slots start at BASE_PAGE */
#define BASE_PAGE 16u
#define NOWHERE UINT32_MAX

struct layout {
	uint32_t space, id, gpa_page, npages, arena_page, flags;
};

/* Space 0: pages 0-5 RAM in three slots, 6 hole, 7 RAM, 8 read-only, 9 RAM, then nothing. */
static const struct layout layout[] = {
    {0, 0, 0, 2, 9, 0},
    {0, 1, 2, 1, 6, 0},
    {0, 2, 3, 3, 1, 0},
    {0, 3, 7, 1, 18, 0},
    {0, 4, 8, 1, 16, MSLOT_READONLY},
    {0, 5, 9, 1, 14, 0},
    {1, 0, 0, 2, 20, 0},
    {1, 1, 2, 1, 6, 0}, /* an alias of (0, 1) */
};
#define LAYOUT_ROWS (sizeof(layout) / sizeof(layout[0]))
#define RAM_PAGES 6u

struct fixture {
	struct mslot_map *map;
	struct mslot_region *region;
	const struct mslot_snapshot *snap;
	uint64_t page;
	size_t arena_bytes;
	uint8_t *arena, *shadow;
	uint8_t *buf, *want;
	uint32_t arena_page_of[SPACES][GPA_PAGES];
};

static uint64_t ram_gpa(const struct fixture *f, uint64_t page)
{
	return (BASE_PAGE + page) * f->page;
}

static struct mslot_addr at(uint32_t space, uint64_t gpa)
{
	return (struct mslot_addr){.space = space, .gpa = gpa};
}

static void fill(uint8_t *mem, size_t bytes, uint32_t seed)
{
	for (size_t i = 0; i < bytes; i++) {
		seed = seed * 1664525u + 1013904223u;
		mem[i] = (uint8_t)(seed >> 24 | 1); /* never zero: a clear shows */
	}
}

static void fixture_slots(struct fixture *f)
{
	struct mslot_txn *txn;

	memset(f->arena_page_of, 0xff, sizeof(f->arena_page_of));
	assert_int_equal(mslot_txn_begin(f->map, &txn), 0);
	for (size_t i = 0; i < LAYOUT_ROWS; i++) {
		const struct layout *row = &layout[i];
		const struct mslot_slot_def def = {
		    .key = {row->space, row->id},
		    .gpa = ram_gpa(f, row->gpa_page),
		    .len_bytes = row->npages * f->page,
		    .region = f->region,
		    .offset_bytes = row->arena_page * f->page,
		    .flags = row->flags,
		};

		assert_int_equal(mslot_txn_create(txn, &def), (int)i);
		for (uint32_t p = 0; p < row->npages; p++)
			f->arena_page_of[row->space][row->gpa_page + p] = row->arena_page + p;
	}
	assert_int_equal(mslot_txn_commit(txn, NULL, NULL), 0);
}

static void fixture_init(struct fixture *f, uint32_t page_shift)
{
	const struct mslot_map_options opt = {.page_shift = page_shift, .nspaces = SPACES};
	struct mslot_region_options ropt = {.fd = -1};

	f->page = UINT64_C(1) << page_shift;
	f->arena_bytes = ARENA_PAGES * f->page;
	f->arena = aligned_alloc(f->page, f->arena_bytes);
	f->shadow = malloc(f->arena_bytes);
	f->buf = malloc(f->arena_bytes);
	f->want = malloc(f->arena_bytes);
	assert_true(f->arena && f->shadow && f->buf && f->want);
	fill(f->arena, f->arena_bytes, 1);
	memcpy(f->shadow, f->arena, f->arena_bytes);
	ropt.hva = f->arena;
	ropt.len_bytes = f->arena_bytes;
	assert_int_equal(mslot_map_create(&opt, &f->map), 0);
	assert_int_equal(mslot_region_create(&ropt, &f->region), 0);
	fixture_slots(f);
	f->snap = mslot_enter(f->map);
}

static void fixture_fini(struct fixture *f)
{
	mslot_leave(f->snap);
	assert_int_equal(mslot_map_destroy(f->map), 0);
	mslot_region_put(f->region);
	free(f->arena);
	free(f->shadow);
	free(f->buf);
	free(f->want);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	fixture_init(f, 12);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	fixture_fini(*state);
	free(*state);
	return 0;
}

/* The shadow's byte of a guest address that has a slot. */
static uint8_t *shadow_byte(const struct fixture *f, struct mslot_addr a)
{
	const uint32_t page = f->arena_page_of[a.space][a.gpa / f->page - BASE_PAGE];

	assert_int_not_equal(page, NOWHERE);
	return f->shadow + page * f->page + a.gpa % f->page;
}

static void assert_arena_as_shadow(const struct fixture *f)
{
	assert_memory_equal(f->arena, f->shadow, f->arena_bytes);
}

static void check_read(struct fixture *f, uint64_t gpa, uint64_t len)
{
	memset(f->buf, 0xa5, len + 16);
	memset(f->want, 0xa5, len + 16);
	for (uint64_t i = 0; i < len; i++)
		f->want[8 + i] = *shadow_byte(f, at(0, gpa + i));
	assert_int_equal(mslot_read(f->snap, at(0, gpa), f->buf + 8, len), 0);
	assert_memory_equal(f->buf, f->want, len + 16);
}

static void check_write(struct fixture *f, uint64_t gpa, uint64_t len)
{
	fill(f->buf, len, (uint32_t)(gpa * 31 + len));
	for (uint64_t i = 0; i < len; i++)
		*shadow_byte(f, at(0, gpa + i)) = f->buf[i];
	assert_int_equal(mslot_write(f->snap, at(0, gpa), f->buf, len), 0);
	assert_arena_as_shadow(f);
}

static void check_clear(struct fixture *f, uint64_t gpa, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++)
		*shadow_byte(f, at(0, gpa + i)) = 0;
	assert_int_equal(mslot_clear(f->snap, at(0, gpa), len), 0);
	assert_arena_as_shadow(f);
	check_write(f, gpa, len);
}

static void check_copy(struct fixture *f, struct mslot_addr to, struct mslot_addr from,
		       uint64_t len)
{
	for (uint64_t i = 0; i < len; i++)
		f->want[i] = *shadow_byte(f, at(from.space, from.gpa + i));
	for (uint64_t i = 0; i < len; i++)
		*shadow_byte(f, at(to.space, to.gpa + i)) = f->want[i];
	assert_int_equal(mslot_copy(f->snap, to, from, len), 0);
	assert_arena_as_shadow(f);
}

/* Every size of interest, at every offset of interest around each page border of the RAM. */
static void each_span(struct fixture *f, int reach,
		      void (*check)(struct fixture *f, uint64_t gpa, uint64_t len))
{
	const uint64_t p = f->page, whole = RAM_PAGES * p;
	const uint64_t sizes[] = {
	    1,  2,     3, 4,     5,         6,     7,         8,     9,         15,    16,
	    17, p - 1, p, p + 1, 2 * p - 1, 2 * p, 2 * p + 1, 3 * p, whole - 1, whole, 3 * p - 8};
	unsigned int spans = 0;

	for (uint64_t border = 0; border <= RAM_PAGES; border++) {
		for (int off = -reach; off <= reach; off++) {
			const uint64_t rel = border * p + (uint64_t)(int64_t)off;

			for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
				if (rel > whole || sizes[i] > whole - rel)
					continue;
				check(f, ram_gpa(f, 0) + rel, sizes[i]);
				spans++;
			}
		}
	}
	assert_true(spans > 100);
}

static void read_every_size_around_borders(void **state)
{
	each_span(*state, 9, check_read);
}

static void write_every_size_around_borders(void **state)
{
	each_span(*state, 9, check_write);
}

static void clear_every_size_around_borders(void **state)
{
	each_span(*state, 9, check_clear);
}

static void borders_of_16k_and_64k_pages(void **state)
{
	(void)state;
	for (uint32_t shift = 14; shift <= 16; shift += 2) {
		struct fixture f;

		fixture_init(&f, shift);
		each_span(&f, 1, check_read);
		each_span(&f, 1, check_write);
		each_span(&f, 1, check_clear);
		fixture_fini(&f);
	}
}

static void copy_overlapping_both_directions(void **state)
{
	struct fixture *f = *state;
	const uint64_t p = f->page, base = ram_gpa(f, 0), whole = RAM_PAGES * p;
	const uint64_t distances[] = {0, 1, 7, 8, 9, p - 1, p, p + 1, 2 * p, 3 * p + 5};

	for (size_t d = 0; d < sizeof(distances) / sizeof(distances[0]); d++) {
		const uint64_t dist = distances[d];
		const uint64_t sizes[] = {
		    1, 2, 4, 8, 9, p - 1, p, p + 1, 2 * p, 3 * p, whole - dist, whole - dist - 1};

		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			const uint64_t len = u64_min(sizes[i], whole - dist);

			check_copy(f, at(0, base + dist), at(0, base), len);
			check_write(f, base, whole);
			check_copy(f, at(0, base), at(0, base + dist), len);
			check_copy(f, at(0, base + whole - len - dist), at(0, base + whole - len),
				   len);
			check_copy(f, at(0, base + whole - len), at(0, base + whole - len - dist),
				   len);
			check_write(f, base, whole);
		}
	}
}

/* Both sides are cut, at different places. */
static void copy_between_spaces_and_slots(void **state)
{
	struct fixture *f = *state;
	const uint64_t p = f->page, base = ram_gpa(f, 0);
	const uint64_t offsets[] = {0, 1, 8, p - 8, p - 1, p};

	for (size_t a = 0; a < 6; a++) {
		for (size_t b = 0; b < 6; b++) {
			const uint64_t len =
			    2 * p - (offsets[a] > offsets[b] ? offsets[a] : offsets[b]);

			/* Same gpa, other memory: the spaces must not be taken for one. */
			check_copy(f, at(1, base + offsets[a]), at(0, base + p + offsets[b]), len);
			check_copy(f, at(0, base + 2 * p + offsets[a]), at(1, base + offsets[b]),
				   len);
			check_write(f, base, RAM_PAGES * p);
		}
	}
}

static void alias_shows_the_same_bytes(void **state)
{
	struct fixture *f = *state;
	const struct mslot_addr direct = at(0, ram_gpa(f, 2)), alias = at(1, ram_gpa(f, 2));
	uint8_t want[5] = {1, 2, 3, 4, 5}, got[5];
	uint64_t val;

	assert_int_equal(mslot_write(f->snap, alias, want, sizeof(want)), 0);
	assert_int_equal(mslot_read(f->snap, direct, got, sizeof(got)), 0);
	assert_memory_equal(got, want, sizeof(want));
	assert_int_equal(mslot_store(f->snap, direct, 8, UINT64_C(0x1122334455667788)), 0);
	assert_int_equal(mslot_load(f->snap, alias, 8, &val), 0);
	assert_true(val == UINT64_C(0x1122334455667788));
	assert_int_equal(mslot_copy(f->snap, at(0, direct.gpa + 64), alias, 8), 0);
	assert_int_equal(mslot_load(f->snap, at(1, alias.gpa + 64), 8, &val), 0);
	assert_true(val == UINT64_C(0x1122334455667788));
	/* Overlap across spaces that show the same memory at the same gpa. */
	memcpy(f->shadow, f->arena, f->arena_bytes);
	check_copy(f, at(1, alias.gpa + 9), direct, f->page - 9);
	check_copy(f, alias, at(0, direct.gpa + 9), f->page - 9);
}

/* All four operations on a span that cannot be transferred; nothing may change. */
static void assert_refused(struct fixture *f, struct mslot_addr a, uint64_t len, int read_err,
			   int write_err)
{
	memset(f->buf, 0x3c, f->arena_bytes);
	memset(f->want, 0x3c, f->arena_bytes);
	assert_int_equal(mslot_read(f->snap, a, f->buf, len), read_err);
	if (read_err)
		assert_memory_equal(f->buf, f->want, f->arena_bytes);
	assert_int_equal(mslot_write(f->snap, a, f->want, len), write_err);
	assert_int_equal(mslot_clear(f->snap, a, len), write_err);
	assert_int_equal(mslot_copy(f->snap, a, at(0, ram_gpa(f, 0)), len), write_err);
	if (read_err)
		assert_int_equal(mslot_copy(f->snap, at(0, ram_gpa(f, 0)), a, len), read_err);
	assert_arena_as_shadow(f);
}

static void hole_anywhere_transfers_nothing(void **state)
{
	struct fixture *f = *state;
	const uint64_t p = f->page;

	assert_refused(f, at(0, ram_gpa(f, 0) - 1), 1, -ENOENT, -ENOENT);
	assert_refused(f, at(0, ram_gpa(f, 0) - 1), 2, -ENOENT, -ENOENT);
	assert_refused(f, at(0, ram_gpa(f, 0) - 8), 2 * p, -ENOENT, -ENOENT);
	assert_refused(f, at(0, ram_gpa(f, 5)), p + 1, -ENOENT, -ENOENT);
	assert_refused(f, at(0, ram_gpa(f, 2) + 3), 4 * p, -ENOENT, -ENOENT);
	assert_refused(f, at(0, ram_gpa(f, 5)), 3 * p, -ENOENT, -ENOENT);
	assert_refused(f, at(0, ram_gpa(f, 6)), 1, -ENOENT, -ENOENT);
	assert_refused(f, at(0, ram_gpa(f, 6) + 5), p, -ENOENT, -ENOENT);
	assert_refused(f, at(0, ram_gpa(f, 9) + p - 4), 5, -ENOENT, -ENOENT);
	assert_refused(f, at(1, ram_gpa(f, 2)), p + 1, -ENOENT, -ENOENT);
}

static void read_only_slot_refuses_writes(void **state)
{
	struct fixture *f = *state;
	const uint64_t p = f->page;

	assert_refused(f, at(0, ram_gpa(f, 8)), 1, 0, -EACCES);
	assert_refused(f, at(0, ram_gpa(f, 8)), p, 0, -EACCES);
	assert_refused(f, at(0, ram_gpa(f, 8) - 1), 2, 0, -EACCES);
	assert_refused(f, at(0, ram_gpa(f, 9) - 1), 2, 0, -EACCES);
	assert_refused(f, at(0, ram_gpa(f, 7)), 3 * p, 0, -EACCES);
	/* The first byte that fails decides. */
	assert_refused(f, at(0, ram_gpa(f, 8)), 2 * p + 1, -ENOENT, -EACCES);
	assert_refused(f, at(0, ram_gpa(f, 6)), 3 * p, -ENOENT, -ENOENT);
}

static void copy_checks_the_source_first(void **state)
{
	struct fixture *f = *state;
	const struct mslot_addr ok = at(0, ram_gpa(f, 0)), ro = at(0, ram_gpa(f, 8));
	const struct mslot_addr hole = at(0, ram_gpa(f, 6)), wrap = at(0, UINT64_MAX);

	assert_int_equal(mslot_copy(f->snap, ro, hole, 2), -ENOENT);
	assert_int_equal(mslot_copy(f->snap, ro, wrap, 2), -EOVERFLOW);
	assert_int_equal(mslot_copy(f->snap, wrap, hole, 2), -ENOENT);
	assert_int_equal(mslot_copy(f->snap, wrap, ok, 2), -EOVERFLOW);
	assert_int_equal(mslot_copy(f->snap, ro, ok, 2), -EACCES);
	assert_arena_as_shadow(f);
	check_copy(f, ok, ro, f->page);
}

static void span_that_wraps(void **state)
{
	struct fixture *f = *state;

	assert_refused(f, at(0, UINT64_MAX), 1, -ENOENT, -ENOENT);
	assert_refused(f, at(0, UINT64_MAX), 2, -EOVERFLOW, -EOVERFLOW);
	assert_refused(f, at(0, UINT64_MAX - 7), 8, -ENOENT, -ENOENT);
	assert_refused(f, at(0, UINT64_MAX - 7), 9, -EOVERFLOW, -EOVERFLOW);
	assert_int_equal(mslot_clear(f->snap, at(0, ram_gpa(f, 0)), UINT64_MAX), -EOVERFLOW);
	assert_int_equal(mslot_clear(f->snap, at(0, ram_gpa(f, 0)), -ram_gpa(f, 0)), -ENOENT);
	assert_int_equal(mslot_clear(f->snap, at(0, ram_gpa(f, 0)), 1 - ram_gpa(f, 0)), -EOVERFLOW);
	assert_arena_as_shadow(f);
}

static void space_that_does_not_exist(void **state)
{
	struct fixture *f = *state;
	uint64_t val = 5;

	for (uint32_t space = SPACES; space != 0; space = space == SPACES ? UINT32_MAX : 0) {
		const struct mslot_addr a = at(space, ram_gpa(f, 0));

		assert_refused(f, a, 8, -ENOENT, -ENOENT);
		assert_int_equal(mslot_load(f->snap, a, 8, &val), -ENOENT);
		assert_int_equal(mslot_store(f->snap, a, 8, 0), -ENOENT);
		assert_int_equal(mslot_cmpxchg(f->snap, a, 8, &val, 0), -ENOENT);
	}
	assert_true(val == 5);
	assert_arena_as_shadow(f);
}

static void length_zero_does_nothing(void **state)
{
	struct fixture *f = *state;
	const struct mslot_addr places[] = {at(0, ram_gpa(f, 0)), at(0, ram_gpa(f, 6)),
					    at(0, ram_gpa(f, 8)), at(0, UINT64_MAX), at(SPACES, 0)};

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		assert_int_equal(mslot_read(f->snap, places[i], NULL, 0), 0);
		assert_int_equal(mslot_write(f->snap, places[i], NULL, 0), 0);
		assert_int_equal(mslot_clear(f->snap, places[i], 0), 0);
		assert_int_equal(mslot_copy(f->snap, places[i], places[0], 0), 0);
		assert_int_equal(mslot_copy(f->snap, places[0], places[i], 0), 0);
	}
	assert_arena_as_shadow(f);
}

/* Slots of one page each, last page first, all in one span: the walk may not allocate. */
static void many_slots_without_allocation(void **state)
{
	struct fixture *f = *state;
	const uint32_t nslots = ARENA_PAGES;
	const uint64_t gpa = ram_gpa(f, 1000), len = nslots * f->page;
	struct mslot_txn *txn;

	assert_int_equal(mslot_txn_begin(f->map, &txn), 0);
	for (uint32_t i = 0; i < nslots; i++) {
		const struct mslot_slot_def def = {
		    .key = {0, 100 + i},
		    .gpa = gpa + i * f->page,
		    .len_bytes = f->page,
		    .region = f->region,
		    .offset_bytes = (nslots - 1 - i) * f->page,
		};

		assert_true(mslot_txn_create(txn, &def) >= 0);
	}
	assert_int_equal(mslot_txn_commit(txn, NULL, NULL), 0);
	mslot_leave(f->snap);
	f->snap = mslot_enter(f->map);

	alloc_fail_at(1, 1);
	assert_int_equal(mslot_read(f->snap, at(0, gpa), f->buf, len), 0);
	for (uint32_t i = 0; i < nslots; i++)
		assert_memory_equal(f->buf + i * f->page, f->arena + (nslots - 1 - i) * f->page,
				    f->page);
	assert_int_equal(mslot_write(f->snap, at(0, gpa), f->buf, len), 0);
	assert_arena_as_shadow(f);
	assert_int_equal(mslot_clear(f->snap, at(0, gpa + 1), len - 2), 0);
	memset(f->shadow, 0, f->arena_bytes);
	f->shadow[(nslots - 1) * f->page] = f->buf[0];
	f->shadow[f->page - 1] = f->buf[len - 1];
	assert_arena_as_shadow(f);
	assert_int_equal(alloc_attempts(), 0);
	alloc_fail_at(0, 0);
}

static const unsigned int atomic_sizes[] = {1, 2, 4, 8};

static uint64_t size_mask(unsigned int size)
{
	return UINT64_MAX >> (64 - 8 * size);
}

static void atomics_at_page_and_slot_borders(void **state)
{
	struct fixture *f = *state;
	const uint64_t v = UINT64_C(0xf1e2d3c4b5a69788);

	for (size_t i = 0; i < 4; i++) {
		const unsigned int size = atomic_sizes[i];
		const uint64_t places[] = {ram_gpa(f, 0), ram_gpa(f, 1) - size, ram_gpa(f, 1),
					   ram_gpa(f, 2) - size, ram_gpa(f, 6) - size};

		for (size_t k = 0; k < sizeof(places) / sizeof(places[0]); k++) {
			uint64_t val = 0, want = v & size_mask(size);

			memcpy(shadow_byte(f, at(0, places[k])), &v, size); /* little-endian */
			assert_int_equal(mslot_store(f->snap, at(0, places[k]), size, v), 0);
			assert_arena_as_shadow(f);
			assert_int_equal(mslot_load(f->snap, at(0, places[k]), size, &val), 0);
			assert_true(val == want);
		}
	}
}

static void atomics_refuse_sizes_and_misalignment(void **state)
{
	struct fixture *f = *state;
	const uint64_t base = ram_gpa(f, 1) - 16;
	uint64_t val = 7;

	for (unsigned int size = 0; size <= 17; size++) {
		for (uint64_t off = 0; off < 24; off++) {
			const struct mslot_addr a = at(0, base + off);
			const bool good =
			    (size == 1 || size == 2 || size == 4 || size == 8) && off % size == 0;

			if (good)
				continue;
			assert_int_equal(mslot_load(f->snap, a, size, &val), -EINVAL);
			assert_int_equal(mslot_store(f->snap, a, size, 0), -EINVAL);
			assert_int_equal(mslot_cmpxchg(f->snap, a, size, &val, 0), -EINVAL);
		}
	}
	/* Wins over the lack of a slot. */
	assert_int_equal(mslot_load(f->snap, at(0, ram_gpa(f, 6) + 1), 2, &val), -EINVAL);
	assert_int_equal(mslot_load(f->snap, at(9, 0), 3, &val), -EINVAL);
	assert_true(val == 7);
	assert_arena_as_shadow(f);
}

static void atomics_on_holes_and_read_only_slots(void **state)
{
	struct fixture *f = *state;
	uint64_t val, expected = 9;

	for (size_t i = 0; i < 4; i++) {
		const unsigned int size = atomic_sizes[i];
		const struct mslot_addr hole = at(0, ram_gpa(f, 6)), ro = at(0, ram_gpa(f, 8));

		val = 9;
		assert_int_equal(mslot_load(f->snap, hole, size, &val), -ENOENT);
		assert_int_equal(mslot_store(f->snap, hole, size, 1), -ENOENT);
		assert_int_equal(mslot_cmpxchg(f->snap, hole, size, &expected, 1), -ENOENT);
		assert_true(val == 9 && expected == 9);
		assert_int_equal(mslot_store(f->snap, ro, size, 1), -EACCES);
		assert_int_equal(mslot_cmpxchg(f->snap, ro, size, &expected, 1), -EACCES);
		assert_true(expected == 9);
		assert_int_equal(mslot_load(f->snap, ro, size, &val), 0);
		assert_memory_equal(&val, shadow_byte(f, ro), size);
	}
	assert_arena_as_shadow(f);
}

static void cmpxchg_success_and_failure(void **state)
{
	struct fixture *f = *state;
	const uint64_t old = UINT64_C(0x8877665544332211), junk = UINT64_C(0xdeadbeefcafef00d);

	for (size_t i = 0; i < 4; i++) {
		const unsigned int size = atomic_sizes[i];
		const uint64_t mask = size_mask(size);
		const struct mslot_addr a = at(0, ram_gpa(f, 3) - size);
		uint64_t expected, val;

		assert_int_equal(mslot_store(f->snap, a, size, old), 0);
		expected = old ^ 1;
		assert_int_equal(mslot_cmpxchg(f->snap, a, size, &expected, junk), 0);
		assert_true(expected == (old & mask));
		assert_int_equal(mslot_load(f->snap, a, size, &val), 0);
		assert_true(val == (old & mask));
		/* Higher bytes of the expected value do not count. */
		expected = (old & mask) | (size < 8 ? ~mask : 0);
		assert_int_equal(mslot_cmpxchg(f->snap, a, size, &expected, junk), 1);
		assert_true(expected == (old & mask));
		assert_int_equal(mslot_load(f->snap, a, size, &val), 0);
		assert_true(val == (junk & mask));
		memcpy(shadow_byte(f, a), &junk, size);
		assert_arena_as_shadow(f);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(read_every_size_around_borders),
	    TEST(write_every_size_around_borders),
	    TEST(clear_every_size_around_borders),
	    cmocka_unit_test(borders_of_16k_and_64k_pages),
	    TEST(copy_overlapping_both_directions),
	    TEST(copy_between_spaces_and_slots),
	    TEST(alias_shows_the_same_bytes),
	    TEST(hole_anywhere_transfers_nothing),
	    TEST(read_only_slot_refuses_writes),
	    TEST(copy_checks_the_source_first),
	    TEST(span_that_wraps),
	    TEST(space_that_does_not_exist),
	    TEST(length_zero_does_nothing),
	    TEST(many_slots_without_allocation),
	    TEST(atomics_at_page_and_slot_borders),
	    TEST(atomics_refuse_sizes_and_misalignment),
	    TEST(atomics_on_holes_and_read_only_slots),
	    TEST(cmpxchg_success_and_failure),
	};

	return cmocka_run_group_tests_name("access", tests, NULL, NULL);
}
