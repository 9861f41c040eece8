/* SPDX-License-Identifier: MIT */
/*
 * test_ring_edits.c - what becomes of dirty rings when the map changes, beside consumers, when a
 * vCPU ends; and whom a reset waits for.
 */
#include "ring_fixture.h"

#include <pthread.h>
#include <time.h>

/* ---- Edits ---------------------------------------------------------------- */

static void entries_outlive_edits_that_keep_pages(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(write_frames(f->vcpu[0], 250, 10), 0);
	split_at(f, 255);
	move_to(f, 2, 600);
	move_to(f, 1, 1200);
	/* Still in a ring, under other names. */
	assert_int_equal(write_frames(f->vcpu[1], 1450, 5), 0);
	assert_int_equal(write_frames(f->vcpu[1], 600, 5), 0);
	expect_empty(f, f->vcpu[1]);
	expect_ring(f, f->vcpu[0], 1, 250, 10, 250);
	assert_int_equal(mslot_ring_reset(f->map), 10);
	/* And so is the reset: later writes are not lost. */
	assert_int_equal(write_frames(f->vcpu[1], 600, 5), 0);
	expect_ring(f, f->vcpu[1], 2, 600, 5, 255);
	assert_int_equal(write_frames(f->vcpu[0], 1450, 5), 0);
	expect_ring(f, f->vcpu[0], 1, 1450, 5, 250);
	assert_int_equal(mslot_ring_reset(f->map), 10);
}

static void a_stale_entry_touches_no_slot_that_took_its_name(void **state)
{
	struct fixture *f = *state;
	struct mslot_slot_def def = def_of(1, 0, 512, f->region, 0);

	assert_int_equal(write_frames(f->vcpu[0], 5, 3), 0);
	drop_slot(f->map, 1);
	def.flags = LOG;
	put_slot(f->map, def);
	/* The same name, frame and memory, another log. */
	assert_int_equal(write_frames(f->vcpu[1], 5, 3), 0);
	expect_ring(f, f->vcpu[0], 1, 5, 3, 5);
	assert_int_equal(mslot_ring_reset(f->map), 3);
	assert_int_equal(write_frames(f->vcpu[1], 5, 3), 0);
	expect_ring(f, f->vcpu[1], 1, 5, 3, 5);
	assert_int_equal(mslot_ring_reset(f->map), 3);
	expect_bitmap(f, 0, 0);
}

static void entries_of_what_is_gone_are_collected_and_reset(void **state)
{
	struct fixture *f = *state;
	struct mslot_txn *txn;

	assert_int_equal(write_frames(f->vcpu[0], 5, 3), 0);
	txn = begin(f->map);
	commit(txn, mslot_txn_set_flags(txn, (struct mslot_key){0, 1}, 0));
	assert_int_equal(mslot_wait(f->map, generation_of(f->map), -1), 0);
	assert_int_equal(write_frames(f->vcpu[0], 5, 3), 0);
	expect_ring(f, f->vcpu[0], 1, 5, 3, 5);
	drop_slot(f->map, 1);
	assert_int_equal(mslot_wait(f->map, generation_of(f->map), -1), 0);
	assert_int_equal(mslot_ring_reset(f->map), 3);
}

static void final_bits_have_what_is_in_rings(void **state)
{
	struct fixture *f = *state;
	struct mslot_commit_options opt = {0};
	struct mslot_final *final = NULL;
	struct mslot_txn *txn = begin(f->map);
	uint64_t bitmap[8] = {0};

	assert_int_equal(write_frames(f->vcpu[0], 70, 3), 0);
	mark(f->map, 9, 1);
	opt.final = &final;
	assert_int_equal(mslot_txn_delete(txn, (struct mslot_key){0, 1}), 0);
	assert_int_equal(mslot_txn_commit(txn, &opt, NULL), 0);
	assert_int_equal(mslot_final_wait(final, -1), 0);
	assert_int_equal(mslot_final_get(final, 0, NULL, NULL, bitmap, sizeof(bitmap)), 4);
	assert_int_equal(bitmap[0], 1u << 9);
	assert_int_equal(bitmap[1], 7u << 6);
	mslot_final_destroy(final);
}

/* ---- Consumers ------------------------------------------------------------ */

static void rings_and_consumers_hide_nothing_from_each_other(void **state)
{
	struct fixture *f = *state;
	struct mslot_dirty *dirty = consumer(f->map);

	assert_int_equal(write_frames(f->vcpu[0], 5, 2), 0);
	expect_dirty(dirty, RUNS({5, 2}));
	/* In the ring still, and written again. */
	assert_int_equal(write_frames(f->vcpu[0], 5, 1), 0);
	expect_dirty(dirty, RUNS({5, 1}));
	expect_ring(f, f->vcpu[0], 1, 5, 2, 5);
	assert_int_equal(mslot_ring_reset(f->map), 2);
	assert_int_equal(write_frames(f->vcpu[0], 6, 1), 0);
	expect_ring(f, f->vcpu[0], 1, 6, 1, 6);
	expect_dirty(dirty, RUNS({6, 1}));
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
	expect_bitmap(f, 5, 2);
	assert_int_equal(mslot_ring_reset(f->map), 1);
	assert_int_equal(write_frames(f->vcpu[0], 6, 1), 0);
	expect_bitmap(f, 0, 0);
}

static void what_only_consumers_log_is_not_pushed(void **state)
{
	struct fixture *f = *state;
	struct mslot_dirty *dirty;

	put_slot(f->map, def_of(9, 600, 8, f->region, 600));
	dirty = consumer(f->map);
	assert_int_equal(write_frames(f->vcpu[0], 601, 2), 0);
	expect_dirty(dirty, RUNS({601, 2}));
	expect_empty(f, f->vcpu[0]);
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
}

/* ---- vCPUs that go -------------------------------------------------------- */

static void a_vcpu_leaves_its_pages_to_the_bitmap(void **state)
{
	struct fixture *f = *state;
	struct mslot_vcpu *vcpu = make_vcpu(f->map);
	struct mslot_ring_page out[2];

	assert_int_equal(write_frames(vcpu, 5, 5), 0);
	assert_int_equal(mslot_vcpu_collect(vcpu, out, 2), 2);
	assert_int_equal(mslot_vcpu_destroy(vcpu), 0);
	assert_int_equal(mslot_ring_reset(f->map), 0);
	assert_int_equal(write_frames(f->vcpu[0], 5, 5), 0);
	expect_ring(f, f->vcpu[0], 1, 5, 5, 5);
	expect_bitmap(f, 7, 3);
}

static void *reset_in_thread(void *arg)
{
	struct fixture *f = arg;

	return (void *)(intptr_t)mslot_ring_reset(f->map);
}

/* A reset must not return while a section may rely on a bit that it cleared. */
static void expect_reset_waits(struct fixture *f, int64_t n)
{
	const struct mslot_snapshot *snap;
	pthread_t thread;
	void *result;

	assert_int_equal(mslot_vcpu_enter(f->vcpu[1], &snap), 0);
	assert_int_equal(pthread_create(&thread, NULL, reset_in_thread, f), 0);
	/* It asks us out before it waits. */
	while (!mslot_vcpu_pending(f->vcpu[1]))
		;
	assert_int_equal(pthread_tryjoin_np(thread, &result), EBUSY);
	mslot_vcpu_leave(f->vcpu[1]);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_int_equal((intptr_t)result, n);
}

static void reset_asks_vcpus_and_waits(void **state)
{
	struct fixture *f = *state;
	struct mslot_vcpu *vcpu = make_vcpu(f->map);
	const struct mslot_snapshot *snap;
	struct mslot_ring_page out[4];
	pthread_t thread;

	assert_int_equal(write_frames(vcpu, 5, 2), 0);
	assert_int_equal(mslot_vcpu_collect(vcpu, out, 4), 2);
	expect_reset_waits(f, 2);
	/* Also for what went with a vCPU, once. */
	assert_int_equal(write_frames(vcpu, 5, 2), 0);
	assert_int_equal(mslot_vcpu_collect(vcpu, out, 4), 2);
	assert_int_equal(mslot_vcpu_destroy(vcpu), 0);
	expect_reset_waits(f, 0);
	/* Nothing to reset, nobody to wait for. */
	assert_int_equal(mslot_vcpu_enter(f->vcpu[1], &snap), 0);
	assert_int_equal(pthread_create(&thread, NULL, reset_in_thread, f), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	mslot_vcpu_leave(f->vcpu[1]);
}

static void who_finds_nothing_waits_for_the_reset_that_did(void **state)
{
	struct fixture *f = *state;
	const struct mslot_snapshot *snap;
	struct mslot_ring_page out[4];
	pthread_t first, second;
	struct timespec soon;
	void *result;

	assert_int_equal(write_frames(f->vcpu[0], 5, 2), 0);
	assert_int_equal(mslot_vcpu_collect(f->vcpu[0], out, 4), 2);
	assert_int_equal(mslot_vcpu_enter(f->vcpu[1], &snap), 0);
	assert_int_equal(pthread_create(&first, NULL, reset_in_thread, f), 0);
	while (!mslot_vcpu_pending(f->vcpu[1]))
		;
	assert_int_equal(pthread_create(&second, NULL, reset_in_thread, f), 0);
	/* One that does not wait has time to show it. */
	clock_gettime(CLOCK_REALTIME, &soon);
	soon.tv_sec += soon.tv_nsec / 800000000;
	soon.tv_nsec = (soon.tv_nsec + 200000000) % 1000000000;
	assert_int_equal(pthread_timedjoin_np(second, &result, &soon), ETIMEDOUT);
	mslot_vcpu_leave(f->vcpu[1]);
	assert_int_equal(pthread_join(first, &result), 0);
	assert_int_equal((intptr_t)result, 2);
	assert_int_equal(pthread_join(second, &result), 0);
	assert_int_equal((intptr_t)result, 0);
}

static void *collect_and_reset(void *arg)
{
	struct fixture *f = arg;
	struct mslot_ring_page out[SIZE];

	if (mslot_vcpu_collect(f->vcpu[0], out, SIZE) != SIZE)
		return NULL;
	return (void *)(intptr_t)mslot_ring_reset(f->map);
}

/* In one section, into entries that another thread is giving back. */
static void entries_are_used_again_while_others_are_reset(void **state)
{
	struct fixture *f = *state;
	const struct mslot_snapshot *snap;
	pthread_t thread;
	void *result;

	assert_int_equal(mslot_vcpu_enter(f->vcpu[0], &snap), 0);
	mslot_mark_dirty(snap, (struct mslot_addr){0, 0}, PAGES(SIZE));
	assert_int_equal(ring_room(&f->vcpu[0]->ring), 0);
	assert_int_equal(pthread_create(&thread, NULL, collect_and_reset, f), 0);
	for (uint64_t gfn = SIZE; gfn < 2 * SIZE; gfn++) {
		while (ring_room(&f->vcpu[0]->ring) == 0)
			;
		mslot_mark_dirty(snap, (struct mslot_addr){0, PAGES(gfn)}, 1);
	}
	mslot_vcpu_leave(f->vcpu[0]);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_int_equal((intptr_t)result, SIZE);
	expect_ring(f, f->vcpu[0], 1, SIZE, SIZE, SIZE);
	expect_bitmap(f, 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(entries_outlive_edits_that_keep_pages),
	    TEST(a_stale_entry_touches_no_slot_that_took_its_name),
	    TEST(entries_of_what_is_gone_are_collected_and_reset),
	    TEST(final_bits_have_what_is_in_rings),
	    TEST(rings_and_consumers_hide_nothing_from_each_other),
	    TEST(what_only_consumers_log_is_not_pushed),
	    TEST(a_vcpu_leaves_its_pages_to_the_bitmap),
	    TEST(reset_asks_vcpus_and_waits),
	    TEST(entries_are_used_again_while_others_are_reset),
	    TEST(who_finds_nothing_waits_for_the_reset_that_did),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
