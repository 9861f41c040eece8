/* SPDX-License-Identifier: MIT */
/*
 * test_dirty_threads.c - writers that are not done when a harvest begins: parked between
 * store and mark, in an older snapshot, or with a write lease.
 */
#include "dirty_fixture.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

#include <mslot/kvm.h>
#include <mslot/lease.h>

#include "base/perturb.h"

struct fixture {
	struct mslot_map *map;
	struct mslot_region *region;
	struct mslot_dirty *dirty;
};

static int setup(void **state)
{
	static struct fixture f;
	struct mslot_slot_def def;

	f.map = make_map(NULL);
	f.region = make_region(HVA, BIG_PAGES);
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

	atomic_store(&perturb_hook, NULL);
	assert_int_equal(mslot_dirty_destroy(f->dirty), 0);
	end_map(f->map);
	mslot_region_put(f->region);
	return 0;
}

/* ---- A writer between store and mark ------------------------------------ */

static struct writer {
	struct mslot_map *map;
	pthread_t thread;
	sem_t parked, go_on;
} writer;
static _Thread_local bool is_writer;

/* The writer has the bits that it is going to mark in hand; the harvest swaps them. */
static void hook(enum perturb_point point)
{
	if (point == PERTURB_MARK_LIVE_LOADED && is_writer) {
		sem_post(&writer.parked);
		sem_wait(&writer.go_on);
		/* Not needed by what is right; what is wrong gets the time to be noticed. */
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	}
	if (point == PERTURB_HARVEST_SWAPPED)
		sem_post(&writer.go_on);
}

static void *writer_main(void *arg)
{
	is_writer = true;
	mark(arg, 0x12, 1);
	return NULL;
}

static void park_writer(struct mslot_map *map)
{
	sem_init(&writer.parked, 0, 0);
	sem_init(&writer.go_on, 0, 0);
	atomic_store(&perturb_hook, hook);
	assert_int_equal(pthread_create(&writer.thread, NULL, writer_main, map), 0);
	sem_wait(&writer.parked);
}

static void end_writer(void)
{
	pthread_join(writer.thread, NULL);
	atomic_store(&perturb_hook, NULL);
	sem_destroy(&writer.parked);
	sem_destroy(&writer.go_on);
}

static void a_harvest_waits_for_marks_in_old_bits(void **state)
{
	struct fixture *f = *state;

	mark(f->map, 0x20, 1);
	park_writer(f->map);
	expect_dirty(f->dirty, RUNS({0x12, 1}, {0x20, 1}));
	end_writer();
	expect_clean(f->dirty);
}

static void kvm_calls_wait_for_marks_in_old_bits(void **state)
{
	struct fixture *f = *state;
	uint64_t word = 0, mask = 4;
	struct kvm_dirty_log log = {.slot = 1, .dirty_bitmap = &word};
	const struct kvm_clear_dirty_log clear = {
	    .slot = 1, .num_pages = 64, .dirty_bitmap = &mask};

	mark(f->map, 0x20, 1);
	park_writer(f->map);
	assert_int_equal(mslot_kvm_get_dirty_log(f->map, &log), 0);
	end_writer();
	assert_int_equal(word, 0x10004);
	mark(f->map, 0x20, 1);
	park_writer(f->map);
	assert_int_equal(mslot_kvm_clear_dirty_log(f->map, &clear), 0);
	end_writer();
	assert_int_equal(mslot_kvm_get_dirty_log(f->map, &log), 0);
	assert_int_equal(word, 0x10000);
}

/* ---- A reader from before ----------------------------------------------- */

struct reader {
	struct mslot_map *map;
	pthread_t thread;
	pthread_barrier_t step; /* entered; may leave */
	bool parks;
	_Atomic bool left;
};

static void *reader_main(void *arg)
{
	struct reader *r = arg;
	const struct mslot_snapshot *snap = mslot_enter(r->map);

	pthread_barrier_wait(&r->step);
	if (r->parks)
		pthread_barrier_wait(&r->step);
	nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	atomic_store(&r->left, true);
	mslot_leave(snap);
	return NULL;
}

/* It may be storing to a slot that it found without a log. */
static void create_waits_for_readers(void **state)
{
	struct fixture *f = *state;
	struct mslot_dirty *late;

	put_slot(f->map, def_of(2, 0x100, 4, f->region, 0x100));
	assert_int_equal(mslot_dirty_destroy(f->dirty), 0);
	for (int i = 0; i < 2; i++) {
		struct reader r = {.map = f->map};

		pthread_barrier_init(&r.step, NULL, 2);
		assert_int_equal(pthread_create(&r.thread, NULL, reader_main, &r), 0);
		pthread_barrier_wait(&r.step);
		/* Also the second, which switches nothing. */
		late = consumer(f->map);
		assert_true(atomic_load(&r.left));
		pthread_join(r.thread, NULL);
		pthread_barrier_destroy(&r.step);
		if (i == 0)
			f->dirty = late;
	}
	assert_int_equal(mslot_dirty_destroy(late), 0);
}

static void a_clean_harvest_waits_for_nobody(void **state)
{
	struct fixture *f = *state;
	struct reader r = {.map = f->map, .parks = true};

	pthread_barrier_init(&r.step, NULL, 2);
	assert_int_equal(pthread_create(&r.thread, NULL, reader_main, &r), 0);
	pthread_barrier_wait(&r.step);
	expect_clean(f->dirty);
	pthread_barrier_wait(&r.step);
	pthread_join(r.thread, NULL);
	pthread_barrier_destroy(&r.step);
}

/* A commit whose snapshot is there, and of which nothing else is known yet. */
static struct {
	sem_t published, go_on;
} publisher;

static void publisher_hook(enum perturb_point point)
{
	if (point != PERTURB_POINTER_PUBLISHED)
		return;
	sem_post(&publisher.published);
	sem_wait(&publisher.go_on);
}

static void *publisher_main(void *arg)
{
	struct fixture *f = arg;

	put_slot(f->map, def_of(2, 0x100, 4, f->region, 0x100));
	return NULL;
}

/* It may be storing to what is a logged slot now, and will not mark it. */
static void a_harvest_of_a_new_log_waits_for_readers(void **state)
{
	struct fixture *f = *state;
	struct reader r = {.map = f->map, .parks = true};
	pthread_t thread;
	bool left;

	sem_init(&publisher.published, 0, 0);
	sem_init(&publisher.go_on, 0, 0);
	pthread_barrier_init(&r.step, NULL, 2);
	assert_int_equal(pthread_create(&r.thread, NULL, reader_main, &r), 0);
	pthread_barrier_wait(&r.step);
	atomic_store(&perturb_hook, publisher_hook);
	assert_int_equal(pthread_create(&thread, NULL, publisher_main, f), 0);
	sem_wait(&publisher.published);
	pthread_barrier_wait(&r.step);
	expect_clean(f->dirty);
	left = atomic_load(&r.left);
	atomic_store(&perturb_hook, NULL);
	sem_post(&publisher.go_on);
	assert_true(left);
	pthread_join(thread, NULL);
	pthread_join(r.thread, NULL);
	pthread_barrier_destroy(&r.step);
	sem_destroy(&publisher.published);
	sem_destroy(&publisher.go_on);
}

/* ---- Writes through older snapshots ------------------------------------- */

enum { SPLIT, MOVE, GROW, FLAGS, MERGE, EDITS };

static void edit(struct fixture *f, int what)
{
	struct mslot_part part = {.id = 2, .gpa = PAGES(0x12)};
	struct mslot_edit edits[EDITS] = {
	    [SPLIT] = {.kind = MSLOT_EDIT_SPLIT, .def.key = {0, 1}, .parts = &part, .nparts = 1},
	    [MERGE] = {.kind = MSLOT_EDIT_MERGE, .def.key = {0, 1}, .parts = &part, .nparts = 1},
	    [MOVE] = edit_of(MSLOT_EDIT_MOVE, def_of(1, 0x110, 0, NULL, 0)),
	    [GROW] = edit_of(MSLOT_EDIT_RESIZE, def_of(1, 0xe, 70, NULL, 0)),
	    [FLAGS] = edit_of(MSLOT_EDIT_SET_FLAGS, def_of(1, 0, 0, NULL, 0)),
	};

	edits[FLAGS].def.flags = MSLOT_READONLY;
	assert_int_equal(commit_edits(f->map, &edits[what], 1, NULL), 0);
}

/* Marks 0x11 to 0x13 as of before the edit, by a section or by a hold. */
static void writes_through_an_older_snapshot(void **state)
{
	static const struct pages after[EDITS][2] = {
	    [SPLIT] = {{0x11, 1}, {0x12, 2}},
	    [MOVE] = {{0x111, 3}},
	    [GROW] = {{0x11, 3}},
	    [FLAGS] = {{0x11, 3}},
	    [MERGE] = {{0x11, 3}},
	};
	struct fixture *f = *state;

	for (int what = 0; what < EDITS; what++)
		for (int held = 0; held < 2; held++) {
			const struct mslot_snapshot *snap;
			struct mslot_hold *hold;

			drop_slot(f->map, 1);
			put_slot(f->map, def_of(1, 0x10, 64, f->region, 3));
			if (what == MERGE)
				edit(f, SPLIT);
			snap = mslot_enter(f->map);
			assert_int_equal(mslot_hold(snap, "writer", &hold), 0);
			if (held)
				mslot_leave(snap);
			edit(f, what);
			if (held)
				expect_clean(f->dirty);
			mslot_mark_dirty(snap, (struct mslot_addr){0, PAGES(0x11)}, PAGES(3));
			if (!held)
				mslot_leave(snap);
			expect_dirty(f->dirty, after[what], what == SPLIT ? 2 : 1);
			mslot_hold_put(hold);
			if (what == SPLIT)
				drop_slot(f->map, 2);
		}
}

/* ---- Write leases ------------------------------------------------------- */

static struct mslot_lease *lease(struct mslot_map *map, uint64_t gfn, uint64_t n)
{
	const struct mslot_span span = {
	    .gpa = PAGES(gfn), .len_bytes = PAGES(n), .access = MSLOT_WRITE};
	const struct mslot_snapshot *snap = mslot_enter(map);
	struct mslot_lease *out = NULL;

	assert_int_equal(mslot_lease_take(snap, &span, "device", &out), 0);
	mslot_leave(snap);
	return out;
}

static void a_write_lease_is_in_every_harvest_and_one_more(void **state)
{
	struct fixture *f = *state;
	struct mslot_lease *write = lease(f->map, 0x12, 2);
	uint64_t word;
	struct kvm_dirty_log log = {.slot = 1, .dirty_bitmap = &word};

	for (int i = 0; i < 3; i++)
		expect_dirty(f->dirty, RUNS({0x12, 2}));
	assert_int_equal(mslot_kvm_get_dirty_log(f->map, &log), 0);
	assert_int_equal(word, 0xc);
	mslot_lease_put(write);
	expect_dirty(f->dirty, RUNS({0x12, 2}));
	expect_clean(f->dirty);
	assert_int_equal(mslot_kvm_get_dirty_log(f->map, &log), 0);
	assert_int_equal(word, 0xc);
	assert_int_equal(mslot_kvm_get_dirty_log(f->map, &log), 0);
	assert_int_equal(word, 0);
}

/* Older than its pages' log: noted when the consumer is created. */
static void a_lease_older_than_the_log(void **state)
{
	struct fixture *f = *state;
	struct mslot_lease *write;
	struct mslot_dirty *late;

	assert_int_equal(mslot_dirty_destroy(f->dirty), 0);
	put_slot(f->map, def_of(2, 0x100, 8, f->region, 0x100));
	write = lease(f->map, 0x103, 1);
	late = consumer(f->map);
	expect_dirty(late, RUNS({0x103, 1}));
	expect_dirty(late, RUNS({0x103, 1}));
	mslot_lease_put(write);
	expect_dirty(late, RUNS({0x103, 1}));
	expect_clean(late);
	f->dirty = late;
}

/*
 * Taken on a hold from before the log, when others have waited for their readers already: it is
 * noted when the hold is gone.
 */
static void a_lease_by_a_hold_older_than_the_log(void **state)
{
	const struct mslot_span span = {
	    .gpa = PAGES(0x103), .len_bytes = PAGES(1), .access = MSLOT_WRITE};
	struct fixture *f = *state;
	struct mslot_lease *write = NULL;
	struct mslot_hold *hold;

	assert_int_equal(mslot_dirty_destroy(f->dirty), 0);
	put_slot(f->map, def_of(2, 0x100, 8, f->region, 0x100));
	hold = hold_now(f->map, "writer");
	f->dirty = consumer(f->map);
	expect_clean(f->dirty);
	assert_int_equal(mslot_lease_take(mslot_hold_snapshot(hold), &span, "device", &write), 0);
	mslot_hold_put(hold);
	assert_int_equal(mslot_wait(f->map, generation_of(f->map), -1), 0);
	/* Here the consumer copies everything, and the device goes on. */
	for (int i = 0; i < 2; i++)
		expect_dirty(f->dirty, RUNS({0x103, 1}));
	mslot_lease_put(write);
	expect_dirty(f->dirty, RUNS({0x103, 1}));
	expect_clean(f->dirty);
}

static void a_final_harvest_waits_for_leases(void **state)
{
	struct fixture *f = *state;
	struct mslot_lease *write = lease(f->map, 0x11, 1);
	struct mslot_final *final = NULL;
	const struct mslot_commit_options opt = {.final = &final};
	struct mslot_txn *txn = begin(f->map);
	uint64_t word = 0;

	expect_dirty(f->dirty, RUNS({0x11, 1}));
	assert_int_equal(mslot_txn_delete(txn, (struct mslot_key){0, 1}), 0);
	assert_int_equal(mslot_txn_commit(txn, &opt, NULL), 0);
	assert_int_equal(mslot_final_wait(final, 1000000), -ETIMEDOUT);
	expect_clean(f->dirty);
	mslot_lease_put(write);
	assert_int_equal(mslot_final_wait(final, -1), 0);
	assert_int_equal(mslot_final_get(final, 0, f->dirty, NULL, &word, 8), 1);
	assert_int_equal(word, 2);
	mslot_final_destroy(final);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    CASE(a_harvest_waits_for_marks_in_old_bits),
	    CASE(kvm_calls_wait_for_marks_in_old_bits),
	    CASE(create_waits_for_readers),
	    CASE(a_clean_harvest_waits_for_nobody),
	    CASE(a_harvest_of_a_new_log_waits_for_readers),
	    CASE(writes_through_an_older_snapshot),
	    CASE(a_write_lease_is_in_every_harvest_and_one_more),
	    CASE(a_lease_older_than_the_log),
	    CASE(a_lease_by_a_hold_older_than_the_log),
	    CASE(a_final_harvest_waits_for_leases),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
