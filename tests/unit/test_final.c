/* SPDX-License-Identifier: MIT */
/*
 * test_final.c - the last dirty bits of what commits take away.
 */
#include "dirty_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

#include <mslot/kvm.h>

struct fixture {
	struct mslot_map *map;
	struct mslot_region *region;
	struct mslot_dirty *dirty;
	atomic_uint released;
};

static void on_release(void *ctx, const struct mslot_region_options *opt)
{
	(void)opt;
	atomic_fetch_add((atomic_uint *)ctx, 1);
}

static int setup(void **state)
{
	static struct fixture f;
	struct mslot_region_options opt = {
	    .hva = (void *)(uintptr_t)HVA,
	    .len_bytes = PAGES(BIG_PAGES),
	    .fd = -1,
	    .release = on_release,
	    .ctx = &f.released,
	};
	struct mslot_slot_def def;

	f.map = make_map(NULL);
	atomic_store(&f.released, 0);
	assert_int_equal(mslot_region_create(&opt, &f.region), 0);
	def = def_of(1, 0x10, 64, f.region, 3);
	def.flags = LOG;
	put_slot(f.map, def);
	f.dirty = consumer(f.map);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(mslot_dirty_destroy(f->dirty), 0);
	/* First, because the end of the map waits for its release. */
	mslot_region_put(f->region);
	end_map(f->map);
	assert_int_equal(atomic_load(&f->released), 1);
	return 0;
}

static struct mslot_final *take(struct fixture *f, struct mslot_edit edit)
{
	struct mslot_final *final = NULL;
	const struct mslot_commit_options opt = {.final = &final};
	struct mslot_txn *txn = begin(f->map);

	assert_int_equal(mslot_txn_add(txn, &edit), 0);
	assert_int_equal(mslot_txn_commit(txn, &opt, NULL), 0);
	assert_non_null(final);
	return final;
}

static struct mslot_final *take_slot(struct fixture *f)
{
	return take(f, edit_of(MSLOT_EDIT_DELETE, def_of(1, 0, 0, NULL, 0)));
}

/* One word of bits of a range for a consumer, which must begin at that frame. */
static void expect_range(struct mslot_final *final, size_t index, const struct mslot_dirty *dirty,
			 uint64_t gfn, uint64_t npages, uint64_t want)
{
	struct mslot_final_range range;
	uint64_t word[2] = {~want, 77};

	assert_int_equal(mslot_final_get(final, index, dirty, &range, word, 8),
			 __builtin_popcountll(want));
	assert_int_equal(word[0], want);
	assert_int_equal(word[1], 77);
	assert_int_equal(range.gpa, PAGES(gfn));
	assert_int_equal(range.len_bytes, PAGES(npages));
	assert_int_equal(range.hva - HVA, range.offset_bytes);
	assert_int_equal(range.key.id, 1);
	assert_int_equal(mslot_final_get(final, index, dirty, NULL, NULL, 0),
			 __builtin_popcountll(want));
}

static void delete_gives_all_that_was_not_acknowledged(void **state)
{
	struct fixture *f = *state;
	struct mslot_dirty *other = consumer(f->map);
	struct mslot_dirty_batch *batch;
	struct mslot_final *final;
	uint64_t word = 0;

	mark(f->map, 0x10, 1);
	expect_dirty(other, RUNS({0x10, 1}));
	batch = harvest(f->dirty);
	mslot_dirty_nack(batch);
	mark(f->map, 0x11, 1);
	expect_dirty(other, RUNS({0x11, 1}));
	mark(f->map, 0x12, 1);
	assert_int_equal(mslot_kvm_get_dirty_log(f->map,
						 &(struct kvm_dirty_log){
						     .slot = 1,
						     .dirty_bitmap = &word,
						 }),
			 0);
	assert_int_equal(word, 7);
	mark(f->map, 0x13, 1);
	final = take_slot(f);
	assert_int_equal(mslot_final_count(final), 1);
	assert_int_equal(mslot_final_wait(final, -1), 0);
	expect_range(final, 0, f->dirty, 0x10, 64, 0xf);
	expect_range(final, 0, other, 0x10, 64, 0xc);
	expect_range(final, 0, NULL, 0x10, 64, 8);
	mslot_final_destroy(final);
	mslot_final_destroy(NULL);
	assert_int_equal(mslot_dirty_destroy(other), 0);
}

static void errors_and_limits(void **state)
{
	struct fixture *f = *state;
	struct mslot_final_range range;
	struct mslot_final *final, *none = NULL;
	const struct mslot_commit_options opt = {.final = &none};
	struct mslot_txn *txn = begin(f->map);
	const struct mslot_snapshot *snap;
	uint64_t word = 5;

	/* A commit that fails, and one that publishes nothing, give none. */
	assert_int_equal(mslot_txn_delete(txn, (struct mslot_key){0, 9}), 0);
	assert_int_equal(mslot_txn_commit(txn, &opt, NULL), -EINVAL);
	mslot_txn_abort(txn);
	assert_null(none);
	final = take_slot(f);
	memset(&range, 0xa5, sizeof(range));
	assert_int_equal(mslot_final_get(final, 0, NULL, &range, &word, 8), -EAGAIN);
	snap = mslot_enter(f->map);
	assert_int_equal(mslot_final_wait(final, -1), -EDEADLK);
	mslot_leave(snap);
	assert_int_equal(mslot_final_wait(final, -1), 0);
	/* A harvest that holds the lock may be waiting for this section. */
	snap = mslot_enter(f->map);
	assert_int_equal(mslot_final_get(final, 0, NULL, &range, &word, 8), -EDEADLK);
	mslot_leave(snap);
	assert_int_equal(mslot_final_get(final, 1, NULL, &range, &word, 8), -EINVAL);
	assert_int_equal(mslot_final_get(final, 0, NULL, &range, &word, 7), -ENOSPC);
	assert_int_equal(word, 5);
	assert_int_equal(range.gpa, UINT64_C(0xa5a5a5a5a5a5a5a5));
	assert_int_equal(mslot_dirty_destroy(f->dirty), -EBUSY);
	mslot_final_destroy(final);
	assert_int_equal(mslot_dirty_destroy(f->dirty), 0);
	f->dirty = NULL;

	put_slot(f->map, def_of(1, 0, 4, f->region, 0));
	final = take_slot(f);
	assert_int_equal(mslot_final_count(final), 0);
	assert_int_equal(mslot_map_destroy(f->map), -EBUSY);
	mslot_final_destroy(final);
}

static void every_way_to_take_memory_away(void **state)
{
	struct fixture *f = *state;
	struct mslot_edit shrink = edit_of(MSLOT_EDIT_RESIZE, def_of(1, 0x14, 8, NULL, 0));
	struct mslot_edit replace = edit_of(MSLOT_EDIT_REPLACE, def_of(1, 0, 0, f->region, 0x300));
	struct mslot_edit off = edit_of(MSLOT_EDIT_SET_FLAGS, def_of(1, 0, 0, NULL, 0));
	struct mslot_final *final;

	mark(f->map, 0x10, 64);
	final = take(f, shrink);
	assert_int_equal(mslot_final_count(final), 2);
	assert_int_equal(mslot_final_wait(final, -1), 0);
	expect_range(final, 0, f->dirty, 0x10, 4, 0xf);
	expect_range(final, 1, f->dirty, 0x1c, 52, (UINT64_C(1) << 52) - 1);
	/* What stays is not in it, and what is in it is reported no more. */
	expect_dirty(f->dirty, RUNS({0x14, 8}));
	expect_range(final, 0, f->dirty, 0x10, 4, 0xf);
	mslot_final_destroy(final);

	mark(f->map, 0x15, 1);
	final = take(f, replace);
	assert_int_equal(mslot_final_wait(final, -1), 0);
	mark(f->map, 0x16, 1);
	expect_range(final, 0, f->dirty, 0x14, 8, 2);
	mslot_final_destroy(final);
	expect_dirty(f->dirty, RUNS({0x16, 1}));

	assert_int_equal(mslot_dirty_destroy(f->dirty), 0);
	mark(f->map, 0x17, 1);
	final = take(f, off);
	assert_int_equal(mslot_final_count(final), 1);
	assert_int_equal(mslot_final_wait(final, -1), 0);
	expect_range(final, 0, NULL, 0x14, 8, 0xc);
	mslot_final_destroy(final);
	f->dirty = NULL;
}

static void a_scope_cuts_a_final_harvest(void **state)
{
	struct fixture *f = *state;
	static const struct mslot_dirty_range ranges[] = {{0, {PAGES(0x12), PAGES(2)}},
							  {0, {PAGES(0x20), PAGES(0x100)}}};
	struct mslot_dirty *dirty =
	    consumer_of(f->map, &(struct mslot_dirty_options){.ranges = ranges, .nranges = 2});
	struct mslot_final *final;

	mark(f->map, 0x10, 0x11);
	final = take_slot(f);
	assert_int_equal(mslot_final_wait(final, -1), 0);
	expect_range(final, 0, dirty, 0x10, 64, 0x1000c);
	expect_range(final, 0, f->dirty, 0x10, 64, 0x1ffff);
	mslot_final_destroy(final);
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
}

/* Nobody looks: bits that wait for another are not this consumer's. */
static void a_consumer_elsewhere_has_none(void **state)
{
	struct fixture *f = *state;
	static const struct mslot_dirty_range range = {0, {PAGES(0x1000), PAGE}};
	struct mslot_dirty *dirty =
	    consumer_of(f->map, &(struct mslot_dirty_options){.ranges = &range, .nranges = 1});
	struct mslot_final *final;

	mark(f->map, 0x10, 3);
	final = take_slot(f);
	assert_int_equal(mslot_final_wait(final, -1), 0);
	expect_range(final, 0, dirty, 0x10, 64, 0);
	mslot_final_destroy(final);
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
	/* Nor have KVM's calls of a slot that is logged for consumers alone. */
	put_slot(f->map, def_of(1, 0x10, 64, f->region, 3));
	mark(f->map, 0x10, 3);
	final = take_slot(f);
	assert_int_equal(mslot_final_wait(final, -1), 0);
	expect_range(final, 0, NULL, 0x10, 64, 0);
	expect_range(final, 0, f->dirty, 0x10, 64, 7);
	mslot_final_destroy(final);
}

/* ---- Who is waited for -------------------------------------------------- */

struct writer {
	struct mslot_map *map;
	pthread_barrier_t step;
};

static void *writer_main(void *arg)
{
	struct writer *w = arg;
	const struct mslot_snapshot *snap = mslot_enter(w->map);

	pthread_barrier_wait(&w->step);
	pthread_barrier_wait(&w->step);
	mslot_mark_dirty(snap, (struct mslot_addr){0, PAGES(0x20)}, 1);
	mslot_leave(snap);
	return NULL;
}

static void a_writer_between_lookup_and_mark(void **state)
{
	struct fixture *f = *state;
	const struct mslot_edit edits[] = {
	    edit_of(MSLOT_EDIT_REPLACE, def_of(1, 0, 0, f->region, 0x300)),
	    edit_of(MSLOT_EDIT_RESIZE, def_of(1, 0x21, 8, NULL, 0)),
	    edit_of(MSLOT_EDIT_DELETE, def_of(1, 0, 0, NULL, 0)),
	};

	for (size_t i = 0; i < sizeof(edits) / sizeof(*edits); i++) {
		struct writer w = {.map = f->map};
		struct mslot_final *final;
		uint64_t word = 0, again = 0;
		pthread_t thread;

		if (i == 2) {
			drop_slot(f->map, 1);
			put_slot(f->map, def_of(1, 0x10, 64, f->region, 3));
		}
		pthread_barrier_init(&w.step, NULL, 2);
		assert_int_equal(pthread_create(&thread, NULL, writer_main, &w), 0);
		pthread_barrier_wait(&w.step);
		final = take(f, edits[i]);
		assert_int_equal(mslot_final_wait(final, 0), -ETIMEDOUT);
		assert_int_equal(mslot_final_wait(final, 1000000), -ETIMEDOUT);
		assert_int_equal(mslot_final_get(final, 0, NULL, NULL, &word, 8), -EAGAIN);
		pthread_barrier_wait(&w.step);
		assert_int_equal(mslot_final_wait(final, -1), 0);
		assert_int_equal(mslot_final_get(final, 0, f->dirty, NULL, &word, 8), 1);
		assert_int_equal(word, 0x10000);
		assert_int_equal(mslot_final_get(final, 0, f->dirty, NULL, &again, 8), 1);
		assert_int_equal(again, word);
		pthread_join(thread, NULL);
		pthread_barrier_destroy(&w.step);
		mslot_final_destroy(final);
	}
	expect_clean(f->dirty);
}

static void a_hold_and_a_batch_are_waited_for(void **state)
{
	struct fixture *f = *state;
	struct mslot_dirty_batch *batch = harvest(f->dirty);
	struct mslot_hold *hold = hold_now(f->map, "writer");
	struct mslot_final *final = take_slot(f);

	assert_int_equal(mslot_final_wait(final, 1000000), -ETIMEDOUT);
	mslot_dirty_ack(batch);
	assert_int_equal(mslot_final_wait(final, 1000000), -ETIMEDOUT);
	mslot_mark_dirty(mslot_hold_snapshot(hold), (struct mslot_addr){0, PAGES(0x10)}, 1);
	mslot_hold_put(hold);
	assert_int_equal(mslot_final_wait(final, -1), 0);
	expect_range(final, 0, f->dirty, 0x10, 64, 1);
	mslot_final_destroy(final);
}

static void the_region_stays_until_the_end(void **state)
{
	struct fixture *f = *state;
	struct mslot_final *final = take_slot(f);

	mslot_region_put(f->region);
	f->region = NULL;
	/* It would wait for ever for its own reference. */
	assert_int_equal(mslot_final_wait(final, -1), 0);
	assert_int_equal(mslot_wait(f->map, generation_of(f->map), -1), 0);
	assert_int_equal(atomic_load(&f->released), 0);
	mslot_final_destroy(final);
	assert_int_equal(mslot_wait(f->map, generation_of(f->map), -1), 0);
	assert_int_equal(atomic_load(&f->released), 1);
}

static const uint64_t sizes[] = {1, 63, 65, 511, 512, 513, 65537};

static void every_size(void **state)
{
	static uint64_t bitmap[1026];
	struct fixture *f = *state;

	drop_slot(f->map, 1);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		uint64_t npages = sizes[i], gfn = 0x1000 + i;
		size_t bytes = (size_t)bitmap_words(npages) * 8;
		struct mslot_final *final;

		put_slot(f->map, def_of(1, gfn, npages, f->region, 7));
		mark(f->map, gfn + npages - 1, 1);
		expect_dirty(f->dirty, RUNS({gfn + npages - 1, 1}));
		mark(f->map, gfn, npages);
		final = take_slot(f);
		assert_int_equal(mslot_final_wait(final, -1), 0);
		memset(bitmap, 0xa5, sizeof(bitmap));
		assert_int_equal(mslot_final_get(final, 0, f->dirty, NULL, bitmap, bytes), npages);
		for (uint64_t p = 0; p < bytes * 8; p++)
			assert_int_equal(bitmap_test(bitmap, p), p < npages);
		assert_int_equal(bitmap[bytes / 8], UINT64_C(0xa5a5a5a5a5a5a5a5));
		mslot_final_destroy(final);
	}
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    CASE(delete_gives_all_that_was_not_acknowledged),
	    CASE(errors_and_limits),
	    CASE(every_way_to_take_memory_away),
	    CASE(a_scope_cuts_a_final_harvest),
	    CASE(a_consumer_elsewhere_has_none),
	    CASE(a_writer_between_lookup_and_mark),
	    CASE(a_hold_and_a_batch_are_waited_for),
	    CASE(the_region_stays_until_the_end),
	    CASE(every_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
