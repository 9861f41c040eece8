/* SPDX-License-Identifier: MIT */
/*
 * test_logging.c - dirty bits through commits: a writer parked between lookup and mark
 * across every kind of edit, what a fresh slot begins with, what is taken away.
 *
 * A commit may be made inside a section, so one thread is enough to park: it enters,
 * commits, and stores through the snapshot it entered.
 */
#include "map_fixture.h"

#include <time.h>

#include <mslot/access.h>

#include "base/alloc.h"
#include "log/log.h"
#include "map/snapshot.h"

#define N 64u /* pages of the region */

static _Alignas(4096) unsigned char host[N * 4096];

static bool live_bit(const struct mslot_slot *slot, uint64_t gfn)
{
	uint64_t page = slot_log_page(slot, gfn);
	const struct log_extent *extent = log_view_piece(slot->log, page)->extent;
	const struct log_bits *bits = atomic_load(&extent->live);

	return log_bits_or_out(bits, page - extent->first, 1, NULL, 0) == 1;
}

/* Slots 1 (frames 0-15), 2 (16-31) of region pages 0-31, both logged; 3 (100-107), not. */
static struct mslot_map *make_logged(struct mslot_region **region)
{
	struct mslot_map *map = make_map(NULL);
	struct mslot_slot_def defs[3];

	*region = make_region((uintptr_t)host, N);
	defs[0] = def_of(1, 0, 16, *region, 0);
	defs[1] = def_of(2, 16, 16, *region, 16);
	defs[2] = def_of(3, 100, 8, *region, 40);
	defs[0].flags = defs[1].flags = MSLOT_LOG_DIRTY;
	for (int i = 0; i < 3; i++)
		put_slot(map, defs[i]);
	return map;
}

static void end(struct mslot_map *map, struct mslot_region *region)
{
	assert_int_equal(mslot_check_map(map, NULL), 0);
	assert_int_equal(mslot_map_destroy(map), 0);
	mslot_region_put(region);
}

struct edit_case {
	const char *name;
	void (*add)(struct mslot_txn *txn, struct mslot_region *region);
	uint64_t to_gfn; /* where frame 9 is afterwards, UINT64_MAX: nowhere */
	bool fresh;      /* and its bit is a new one */
};

static struct mslot_key key(uint32_t id)
{
	return (struct mslot_key){0, id};
}

static void add_move(struct mslot_txn *txn, struct mslot_region *region)
{
	(void)region;
	assert_true(mslot_txn_move(txn, key(1), PAGES(200)) >= 0);
}

static void add_split(struct mslot_txn *txn, struct mslot_region *region)
{
	const struct mslot_part parts[] = {{10, PAGES(9)}, {11, PAGES(12)}};

	(void)region;
	assert_true(mslot_txn_split(txn, key(1), parts, 2) >= 0);
}

static void add_merge(struct mslot_txn *txn, struct mslot_region *region)
{
	const struct mslot_part part = {.id = 1};

	(void)region;
	assert_true(mslot_txn_merge(txn, key(2), &part, 1) >= 0);
}

static void add_shrink(struct mslot_txn *txn, struct mslot_region *region)
{
	(void)region;
	assert_true(mslot_txn_resize(txn, key(1), (struct mslot_range){PAGES(5), PAGES(7)}) >= 0);
}

static void add_grow(struct mslot_txn *txn, struct mslot_region *region)
{
	(void)region;
	assert_true(mslot_txn_delete(txn, key(2)) >= 0);
	assert_true(mslot_txn_resize(txn, key(1), (struct mslot_range){PAGES(0), PAGES(30)}) >= 0);
}

static void add_flags(struct mslot_txn *txn, struct mslot_region *region)
{
	(void)region;
	assert_true(mslot_txn_set_flags(txn, key(1), MSLOT_LOG_DIRTY | MSLOT_READONLY) >= 0);
}

static void add_redefine(struct mslot_txn *txn, struct mslot_region *region)
{
	struct mslot_slot_def def = def_of(1, 305, 20, region, 5);

	def.flags = MSLOT_LOG_DIRTY;
	assert_true(mslot_txn_redefine(txn, &def) >= 0);
}

static void add_neighbour(struct mslot_txn *txn, struct mslot_region *region)
{
	(void)region;
	assert_true(mslot_txn_delete(txn, key(3)) >= 0);
}

static void add_replace(struct mslot_txn *txn, struct mslot_region *region)
{
	assert_true(mslot_txn_replace(txn, key(1), region, PAGES(3)) >= 0);
}

static void add_recreate(struct mslot_txn *txn, struct mslot_region *region)
{
	struct mslot_slot_def def = def_of(7, 0, 16, region, 0);

	def.flags = MSLOT_LOG_DIRTY;
	assert_true(mslot_txn_delete(txn, key(1)) >= 0);
	assert_true(mslot_txn_create(txn, &def) >= 0);
}

static void add_delete(struct mslot_txn *txn, struct mslot_region *region)
{
	(void)region;
	assert_true(mslot_txn_delete(txn, key(1)) >= 0);
}

static const struct edit_case edit_cases[] = {
    {"move", add_move, 209, false},
    {"split", add_split, 9, false},
    {"merge", add_merge, 9, false},
    {"shrink", add_shrink, 9, false},
    {"grow", add_grow, 9, false},
    {"flags", add_flags, 9, false},
    {"redefine", add_redefine, 309, false},
    {"another slot's", add_neighbour, 9, false},
    {"replace", add_replace, 9, true},
    {"delete and create", add_recreate, 9, true},
    {"delete", add_delete, UINT64_MAX, true},
};

/* The mark of a writer that looked up before an edit is where the edit's slot looks. */
static void parked_writer_is_seen_after_every_edit(void **state)
{
	const struct mslot_snapshot *snap, *after;
	struct mslot_region *region;
	const struct mslot_slot *slot;
	struct mslot_map *map;
	struct mslot_txn *txn;

	(void)state;
	for (size_t i = 0; i < sizeof(edit_cases) / sizeof(*edit_cases); i++) {
		const struct edit_case *c = &edit_cases[i];

		map = make_logged(&region);
		snap = mslot_enter(map);
		txn = begin(map);
		c->add(txn, region);
		assert_int_equal(finish(txn, NULL), 0);
		assert_int_equal(mslot_store(snap, (struct mslot_addr){0, PAGES(9) + 8}, 8, i), 0);
		after = mslot_enter(map);
		slot = c->to_gfn == UINT64_MAX ? NULL : mslot_find(after, 0, PAGES(c->to_gfn));
		if (slot) {
			if (live_bit(slot, c->to_gfn) != !c->fresh)
				fail_msg("%s: the mark is %s", c->name,
					 c->fresh ? "in the new slot" : "lost");
			assert_false(live_bit(slot, c->to_gfn + 1));
			for (uint64_t gfn = 0; c->fresh && gfn < slot->npages; gfn++)
				assert_false(live_bit(slot, slot->base_gfn + gfn));
		} else {
			assert_int_equal(c->to_gfn, UINT64_MAX);
		}
		mslot_leave(after);
		mslot_leave(snap);
		end(map, region);
	}
}

/* Every write path marks exactly the pages that it stored to. */
static void write_paths_mark_what_they_wrote(void **state)
{
	struct mslot_region *region;
	struct mslot_map *map;

	(void)state;
	for (int way = 0; way < 9; way++) {
		uint64_t first = PAGES(14) + 4090, len = 2 * PAGE + 12; /* pages 14 to 17 */
		struct mslot_span span = {.gpa = first, .len_bytes = len};
		const struct mslot_addr at = {0, first}, aligned = {0, PAGES(15)},
					plain = {0, PAGES(100)};
		const struct mslot_snapshot *snap;
		static unsigned char buf[3 * 4096];
		uint64_t val = 1, low = 14, high = 18;
		struct iovec seg[2];

		map = make_logged(&region);
		memset(host, 0, sizeof(host));
		snap = mslot_enter(map);
		if (way >= 4) {
			low = 15;
			high = 16;
		}
		switch (way) {
		case 0:
			assert_int_equal(mslot_write(snap, at, buf, len), 0);
			break;
		case 1:
			assert_int_equal(mslot_clear(snap, at, len), 0);
			break;
		case 2:
			assert_int_equal(mslot_copy(snap, at, plain, len), 0);
			break;
		case 3:
			assert_int_equal(mslot_write_begin(snap, &span, seg, 2), 2);
			mslot_write_end(snap, &span);
			break;
		case 4:
			assert_int_equal(mslot_store(snap, aligned, 8, 1), 0);
			break;
		case 5:
			val = 0;
			assert_int_equal(mslot_cmpxchg(snap, aligned, 4, &val, 1), 1);
			break;
		case 6:
			/* Not exchanged, not written. */
			assert_int_equal(mslot_cmpxchg(snap, aligned, 4, &val, 2), 0);
			high = low;
			break;
		case 7:
			mslot_mark_dirty(snap, aligned, 1);
			break;
		default:
			assert_int_equal(mslot_write(snap, aligned, buf, 0), 0);
			mslot_mark_dirty(snap, aligned, 0);
			assert_int_equal(mslot_read(snap, at, buf, len), 0);
			assert_int_equal(mslot_load(snap, aligned, 8, &val), 0);
			assert_int_equal(mslot_copy(snap, plain, at, PAGE), 0);
			high = low;
			break;
		}
		for (uint64_t gfn = 0; gfn < 32; gfn++)
			assert_int_equal(live_bit(mslot_find(snap, 0, PAGES(gfn)), gfn),
					 gfn >= low && gfn < high);
		mslot_leave(snap);
		end(map, region);
	}
}

/* Parts without a slot or without a log are passed over; a span that wraps is cut. */
static void mark_dirty_passes_over_holes(void **state)
{
	const struct mslot_snapshot *snap;
	struct mslot_region *region;
	struct mslot_map *map;

	(void)state;
	map = make_logged(&region);
	snap = mslot_enter(map);
	mslot_mark_dirty(snap, (struct mslot_addr){0, PAGES(31) + 7}, UINT64_MAX);
	mslot_mark_dirty(snap, (struct mslot_addr){9, 0}, PAGE);
	for (uint64_t gfn = 0; gfn < 32; gfn++)
		assert_int_equal(live_bit(mslot_find(snap, 0, PAGES(gfn)), gfn), gfn == 31);
	assert_null(mslot_find(snap, 0, PAGES(100))->log);
	mslot_leave(snap);
	end(map, region);
}

static struct mslot_final *commit_final(struct mslot_map *map, struct mslot_txn *txn)
{
	struct mslot_final *final = NULL;
	const struct mslot_commit_options opt = {.final = &final};

	assert_int_equal(mslot_txn_commit(txn, &opt, NULL), 0);
	assert_non_null(final);
	assert_int_equal(atomic_load(&map->log.nfinals), 1);
	return final;
}

static void drop_final(struct mslot_map *map, struct mslot_final *final)
{
	logging_final_free(final);
	atomic_store(&map->log.nfinals, 0);
}

/* A final harvest names the pages that are taken away, and no others. */
static void final_names_what_is_taken(void **state)
{
	struct {
		void (*add)(struct mslot_txn *txn, struct mslot_region *region);
		size_t n;
		uint64_t gfn[2], npages[2];
	} cases[] = {
	    {add_delete, 1, {0}, {16}},  {add_recreate, 1, {0}, {16}},
	    {add_replace, 1, {0}, {16}}, {add_shrink, 2, {0, 12}, {5, 4}},
	    {add_grow, 1, {16}, {16}},   {add_redefine, 1, {0}, {5}},
	    {add_move, 0, {0}, {0}},     {add_split, 0, {0}, {0}},
	    {add_merge, 0, {0}, {0}},    {add_neighbour, 0, {0}, {0}},
	};
	struct mslot_region *region;
	struct mslot_final *final;
	struct mslot_map *map;
	struct mslot_txn *txn;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		map = make_logged(&region);
		txn = begin(map);
		cases[i].add(txn, region);
		final = commit_final(map, txn);
		assert_int_equal(mslot_map_destroy(map), -EBUSY);
		assert_int_equal(final->nranges, cases[i].n);
		for (size_t r = 0; r < final->nranges; r++) {
			const struct mslot_slot_info *info = &final->ranges[r].info;
			uint64_t gfn = cases[i].gfn[r];

			assert_int_equal(info->gpa, PAGES(gfn));
			assert_int_equal(info->len_bytes, PAGES(cases[i].npages[r]));
			assert_int_equal(info->offset_bytes, PAGES(gfn));
			assert_int_equal(info->hva, (uintptr_t)host + PAGES(gfn));
			assert_ptr_equal(info->region, region);
			assert_int_equal(final->ranges[r].view->npages, cases[i].npages[r]);
		}
		drop_final(map, final);
		end(map, region);
	}
}

/* Logging that goes off takes the bits away too; on again begins anew. */
static void log_off_and_on_begins_anew(void **state)
{
	struct mslot_region *region;
	struct mslot_final *final;
	const struct mslot_snapshot *snap;
	struct mslot_map *map;
	struct mslot_txn *txn;

	(void)state;
	map = make_logged(&region);
	assert_int_not_equal(atomic_load(&map->log.begun), 0);
	assert_int_equal(mslot_wait(map, generation_of(map), -1), 0);
	snap = mslot_enter(map);
	assert_int_equal(mslot_store(snap, (struct mslot_addr){0, 0}, 8, 1), 0);
	mslot_leave(snap);
	txn = begin(map);
	assert_true(mslot_txn_set_flags(txn, key(1), 0) >= 0);
	final = commit_final(map, txn);
	assert_int_equal(final->nranges, 1);
	drop_final(map, final);
	snap = mslot_enter(map);
	assert_null(mslot_find(snap, 0, 0)->log);
	mslot_leave(snap);
	txn = begin(map);
	assert_true(mslot_txn_set_flags(txn, key(1), MSLOT_LOG_DIRTY) >= 0);
	assert_int_equal(finish(txn, NULL), 0);
	snap = mslot_enter(map);
	assert_false(live_bit(mslot_find(snap, 0, 0), 0));
	mslot_leave(snap);
	end(map, region);
}

/* A listener is told when logging begins, also when no flag says so. */
/* Bitmaps of deleted slots do not pile up until so many descriptors have as many bytes. */
static void bitmaps_are_given_back_soon(void **state)
{
	enum { ROUNDS = 300, PAGES_EACH = 0x20000, ENOUGH = 500 };
	struct mslot_map *map = make_map(NULL);
	struct mslot_region *region = make_region(HVA, PAGES_EACH);
	struct mslot_slot_def def = def_of(1, 0, PAGES_EACH, region, 0);
	uint64_t before = alloc_live();

	(void)state;
	def.flags = MSLOT_LOG_DIRTY;
	for (unsigned int i = 0; i < ROUNDS; i++) {
		put_slot(map, def);
		drop_slot(map, 1);
	}
	/* By the reclaimer; nobody waits, commits or harvests. */
	for (unsigned int ms = 0; ms < 5000 && alloc_live() > before + ENOUGH; ms++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	assert_true(alloc_live() <= before + ENOUGH);
	end(map, region);
}

static void wanted_ranges_log_slots(void **state)
{
	struct mslot_region *region;
	const struct mslot_snapshot *snap;
	struct mslot_diff *diff;
	struct mslot_hold *hold;
	struct log_range *ranges;
	struct mslot_map *map;
	struct mslot_txn *txn;

	(void)state;
	map = make_logged(&region);
	hold = hold_now(map, NULL);
	ranges = mem_alloc(sizeof(*ranges));
	*ranges = (struct log_range){.consumer = 2, .first_gfn = 107, .end_gfn = 200, .fill = true};
	map->log.ranges = ranges;
	map->log.nranges = 1;
	/* The same flags, yet a change: it is wanted now. */
	txn = begin(map);
	assert_true(mslot_txn_set_flags(txn, key(3), 0) >= 0);
	assert_int_equal(finish(txn, NULL), 0);
	snap = mslot_enter(map);
	assert_non_null(mslot_find(snap, 0, PAGES(100))->log);
	assert_int_equal(mslot_diff_create(mslot_hold_snapshot(hold), snap, &diff), 0);
	assert_int_equal(diff->nsegs, 1);
	assert_int_equal(diff->segs[0].kind, MSLOT_DIFF_REPROTECTED);
	assert_int_equal(diff->segs[0].gpa, PAGES(100));
	assert_int_equal(diff->segs[0].len_bytes, PAGES(8));
	mslot_diff_destroy(diff);
	mslot_leave(snap);
	mslot_hold_put(hold);
	end(map, region);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(parked_writer_is_seen_after_every_edit),
	    cmocka_unit_test(write_paths_mark_what_they_wrote),
	    cmocka_unit_test(mark_dirty_passes_over_holes),
	    cmocka_unit_test(final_names_what_is_taken),
	    cmocka_unit_test(log_off_and_on_begins_anew),
	    cmocka_unit_test(wanted_ranges_log_slots),
	    cmocka_unit_test(bitmaps_are_given_back_soon),
	};

	return cmocka_run_group_tests_name("logging", tests, NULL, NULL);
}
