/* SPDX-License-Identifier: MIT */
/*
 * test_access_threads.c - what two threads see of each other's accesses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <mslot/access.h>
#include <mslot/txn.h>

#define PAGE 4096u

/* Two pages of guest memory from gpa 0. */
static _Alignas(PAGE) uint8_t memory[2 * PAGE];

static const unsigned int atomic_sizes[] = {1, 2, 4, 8};

static struct mslot_addr at(uint64_t gpa)
{
	return (struct mslot_addr){.space = 0, .gpa = gpa};
}

static int setup(void **state)
{
	const struct mslot_region_options ropt = {
	    .hva = memory, .len_bytes = sizeof(memory), .fd = -1};
	struct mslot_slot_def def = {.len_bytes = sizeof(memory)};
	struct mslot_map *map;
	struct mslot_txn *txn;

	assert_int_equal(mslot_map_create(NULL, &map), 0);
	assert_int_equal(mslot_region_create(&ropt, &def.region), 0);
	assert_int_equal(mslot_txn_begin(map, &txn), 0);
	assert_int_equal(mslot_txn_create(txn, &def), 0);
	assert_int_equal(mslot_txn_commit(txn, NULL, NULL), 0);
	mslot_region_put(def.region);
	*state = map;
	return 0;
}

static int teardown(void **state)
{
	assert_int_equal(mslot_map_destroy(*state), 0);
	return 0;
}

struct adder {
	struct mslot_map *map;
	struct mslot_addr a;
	unsigned int size;
	unsigned int rounds;
};

static void *add_by_cmpxchg(void *arg)
{
	const struct adder *adder = arg;
	const struct mslot_snapshot *snap = mslot_enter(adder->map);

	for (unsigned int i = 0; i < adder->rounds; i++) {
		uint64_t seen = 0;

		while (mslot_cmpxchg(snap, adder->a, adder->size, &seen, seen + 1) == 0)
			;
	}
	mslot_leave(snap);
	return NULL;
}

static void concurrent_cmpxchg_increments_sum_up(void **state)
{
	struct mslot_map *map = *state;
	const struct mslot_snapshot *snap = mslot_enter(map);

	for (size_t i = 0; i < 4; i++) {
		struct adder adder = {map, at(0), atomic_sizes[i], 20000};
		pthread_t thread[2];
		uint64_t sum;

		assert_int_equal(mslot_store(snap, adder.a, 8, 0), 0);
		for (int t = 0; t < 2; t++)
			assert_int_equal(pthread_create(&thread[t], NULL, add_by_cmpxchg, &adder),
					 0);
		for (int t = 0; t < 2; t++)
			assert_int_equal(pthread_join(thread[t], NULL), 0);
		assert_int_equal(mslot_load(snap, adder.a, 8, &sum), 0);
		assert_true(sum == (40000 & (UINT64_MAX >> (64 - 8 * adder.size))));
	}
	mslot_leave(snap);
}

struct toggler {
	struct mslot_map *map;
	uint64_t gpa;
	_Atomic bool stop;
	_Atomic uint64_t toggles;
};

static void *toggle_word(void *arg)
{
	struct toggler *t = arg;
	const struct mslot_snapshot *snap = mslot_enter(t->map);
	const uint64_t ones = UINT64_MAX;

	while (!atomic_load(&t->stop)) {
		(void)mslot_write(snap, at(t->gpa), &ones, 8);
		(void)mslot_clear(snap, at(t->gpa), 8);
		atomic_fetch_add(&t->toggles, 1);
	}
	mslot_leave(snap);
	return NULL;
}

/* An aligned word is never seen half written. */
static void aligned_words_are_single_accesses(void **state)
{
	struct mslot_map *map = *state;
	const struct mslot_snapshot *snap = mslot_enter(map);
	struct toggler t = {.map = map, .gpa = 8};
	uint64_t ones_seen = 0, torn = 0, word = 0;
	pthread_t thread;

	assert_int_equal(mslot_clear(snap, at(t.gpa), 8), 0);
	assert_int_equal(pthread_create(&thread, NULL, toggle_word, &t), 0);
	while (atomic_load(&t.toggles) < 20000 || ones_seen == 0) {
		if (mslot_read(snap, at(t.gpa), &word, 8))
			break;
		ones_seen += word == UINT64_MAX;
		torn += word != UINT64_MAX && word != 0;
		if (mslot_copy(snap, at(PAGE), at(t.gpa), 8) ||
		    mslot_load(snap, at(PAGE), 8, &word))
			break;
		torn += word != UINT64_MAX && word != 0;
	}
	atomic_store(&t.stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(ones_seen > 0);
	assert_int_equal(torn, 0);
	mslot_leave(snap);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(concurrent_cmpxchg_increments_sum_up),
	    TEST(aligned_words_are_single_accesses),
	};

	return cmocka_run_group_tests_name("access_threads", tests, NULL, NULL);
}
