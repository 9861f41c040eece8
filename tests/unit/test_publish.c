/* SPDX-License-Identifier: MIT */
/*
 * test_publish.c - the order of the steps around the publish, where one thread can see it:
 * entering a section, and what may be reused when.
 */
#include "map_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "base/perturb.h"
#include "base/rcu.h"
#include "map/reclaim.h"
#include "map/writer.h"

#define COMMITS 300u

static _Atomic bool done;

/* Give the other thread time in the window around the publish. */
static void linger(enum perturb_point point)
{
	const bool here = point == PERTURB_BEFORE_PUBLISH || point == PERTURB_AFTER_PUBLISH;

	for (unsigned int i = 0; here && i < 2000; i++)
		atomic_thread_fence(memory_order_seq_cst);
}

/* Each generation in turn: as soon as it can be waited for, entering must show it. */
static void *watch(void *arg)
{
	struct mslot_map *map = arg;
	uint64_t generation = 1;
	uintptr_t late = 0;

	while (!atomic_load(&done)) {
		if (mslot_wait(map, generation, 0) == -EINVAL)
			continue;
		late += generation_of(map) < generation;
		generation++;
	}
	return (void *)late;
}

static void a_generation_that_can_be_waited_for_is_seen_by_entering(void **state)
{
	struct mslot_region *region = make_region(HVA, REGION_PAGES);
	struct mslot_map *map = make_map(NULL);
	pthread_t watcher;
	void *late;

	(void)state;
	perturb_hook = linger;
	atomic_store(&done, false);
	assert_int_equal(pthread_create(&watcher, NULL, watch, map), 0);
	for (unsigned int i = 0; i < COMMITS; i++) {
		put_slot(map, def_of(0, 0, 1, region, 0));
		drop_slot(map, 0);
	}
	atomic_store(&done, true);
	assert_int_equal(pthread_join(watcher, &late), 0);
	perturb_hook = NULL;
	assert_int_equal(generation_of(map), 2 * COMMITS);
	assert_null(late);
	mslot_region_put(region);
	assert_int_equal(mslot_map_destroy(map), 0);
}

static void linger_unnoted(enum perturb_point point)
{
	for (unsigned int i = 0; point == PERTURB_POINTER_PUBLISHED && i < 20000; i++)
		atomic_thread_fence(memory_order_seq_cst);
}

/* The newest generation that entering shows, again and again: it must be known to a wait. */
static void *wait_for_seen(void *arg)
{
	struct mslot_map *map = arg;
	uintptr_t unknown = 0;

	while (!atomic_load(&done))
		unknown += mslot_wait(map, generation_of(map), 0) == -EINVAL;
	return (void *)unknown;
}

static void a_generation_that_is_seen_can_be_waited_for(void **state)
{
	struct mslot_region *region = make_region(HVA, REGION_PAGES);
	struct mslot_map *map = make_map(NULL);
	pthread_t waiter;
	void *unknown;

	(void)state;
	perturb_hook = linger_unnoted;
	atomic_store(&done, false);
	assert_int_equal(pthread_create(&waiter, NULL, wait_for_seen, map), 0);
	for (unsigned int i = 0; i < COMMITS; i++) {
		put_slot(map, def_of(0, 0, 1, region, 0));
		drop_slot(map, 0);
	}
	atomic_store(&done, true);
	assert_int_equal(pthread_join(waiter, &unknown), 0);
	perturb_hook = NULL;
	assert_null(unknown);
	mslot_region_put(region);
	assert_int_equal(mslot_map_destroy(map), 0);
}

/* What the thread that waits finds while a listener is being told. */
static struct {
	struct mslot_map *map;
	uint64_t generation, graced;
	int waited;
} telling;

static void *wait_meanwhile(void *arg)
{
	(void)arg;
	map_synchronize(telling.map);
	telling.graced = atomic_load(&telling.map->graced);
	telling.waited = mslot_wait(telling.map, telling.generation, 1000000);
	return NULL;
}

static void be_told(void *ctx, const struct mslot_diff *diff)
{
	struct mslot_txn *txn = begin(telling.map);
	struct mslot_commit_result result;
	pthread_t thread;

	(void)ctx;
	(void)diff;
	telling.generation = generation_of(telling.map);
	/* It knows the generation that entering shows. */
	assert_int_equal(mslot_txn_commit(txn, NULL, &result), -EDEADLK);
	assert_int_equal(result.generation, telling.generation);
	mslot_txn_abort(txn);
	assert_int_equal(pthread_create(&thread, NULL, wait_meanwhile, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

/* It may be asking vCPUs to forget what the grace period shall cover. */
static void nothing_is_over_before_listeners_were_told(void **state)
{
	static const struct mslot_listener_ops ops = {.commit = be_told};
	struct mslot_region *region = make_region(HVA, REGION_PAGES);
	struct mslot_map *map = make_map(NULL);
	struct mslot_listener *listener;

	(void)state;
	telling.map = map;
	assert_int_equal(mslot_listener_add(map, &ops, NULL, 0, &listener), 0);
	put_slot(map, def_of(0, 0, 1, region, 0));
	assert_int_equal(telling.generation, 1);
	assert_int_equal(telling.graced, 0);
	assert_int_equal(telling.waited, -ETIMEDOUT);
	assert_int_equal(mslot_wait(map, 1, -1), 0);
	assert_int_equal(atomic_load(&map->graced), 1);
	assert_int_equal(mslot_listener_remove(listener), 0);
	mslot_region_put(region);
	assert_int_equal(mslot_map_destroy(map), 0);
}

static void linger_for_a_sleep(enum perturb_point point)
{
	if (point == PERTURB_AFTER_PUBLISH)
		usleep(1000);
}

static void *wait_for_long(void *arg)
{
	struct mslot_map *map = arg;
	uintptr_t failed = 0;

	for (unsigned int i = 0; !atomic_load(&done); i++)
		failed += mslot_wait(map, generation_of(map), i % 2 ? -1 : INT64_MAX) != 0;
	return (void *)failed;
}

/* The generation is noted only now: whoever waits sleeps until then, with a timeout or not. */
static void a_wait_outlasts_the_commit_that_it_sees(void **state)
{
	struct mslot_region *region = make_region(HVA, REGION_PAGES);
	struct mslot_map *map = make_map(NULL);
	pthread_t waiter;
	void *failed;

	(void)state;
	perturb_hook = linger_for_a_sleep;
	atomic_store(&done, false);
	assert_int_equal(pthread_create(&waiter, NULL, wait_for_long, map), 0);
	for (unsigned int i = 0; i < COMMITS / 3; i++) {
		put_slot(map, def_of(0, 0, 1, region, 0));
		drop_slot(map, 0);
	}
	atomic_store(&done, true);
	assert_int_equal(pthread_join(waiter, &failed), 0);
	perturb_hook = NULL;
	assert_null(failed);
	mslot_region_put(region);
	assert_int_equal(mslot_map_destroy(map), 0);
}

static unsigned int windows, outside;

static void note_section(enum perturb_point point)
{
	const bool reading = point == PERTURB_READER_ENTERED || point == PERTURB_SNAPSHOT_LOADED ||
			     point == PERTURB_READER_LEAVING;

	windows += reading;
	outside += reading && !rcu_in_section();
}

static void the_snapshot_is_loaded_inside_the_section(void **state)
{
	struct mslot_map *map = make_map(NULL);

	(void)state;
	windows = outside = 0;
	perturb_hook = note_section;
	mslot_leave(mslot_enter(map));
	perturb_hook = NULL;
	assert_int_equal(windows, 3);
	assert_int_equal(outside, 0);
	assert_false(rcu_in_section());
	assert_int_equal(mslot_map_destroy(map), 0);
}

static uint64_t retired_bytes(struct mslot_map *map)
{
	struct mslot_map_stats stats;

	assert_int_equal(mslot_map_stats_get(map, &stats), 0);
	return stats.retired_bytes;
}

static void reclaim_now(struct mslot_map *map)
{
	map_lock(map);
	reclaim_run(map, RECLAIM_ALL);
	map_unlock(map);
}

/* A grace period that ended before the commit says nothing of sections entered since. */
static void a_batch_waits_for_a_grace_period_after_its_commit(void **state)
{
	struct mslot_region *region = make_region(HVA, REGION_PAGES);
	struct mslot_map *map = make_map(NULL);
	const struct mslot_snapshot *snap;
	uint64_t retired;

	(void)state;
	put_slot(map, def_of(0, 0, 1, region, 0));
	reclaim_synchronize(map);
	reclaim_now(map);
	assert_int_equal(retired_bytes(map), 0);
	snap = mslot_enter(map);
	drop_slot(map, 0);
	retired = retired_bytes(map);
	assert_true(retired > 0);
	reclaim_now(map);
	assert_int_equal(retired_bytes(map), retired);
	mslot_leave(snap);
	reclaim_synchronize(map);
	reclaim_now(map);
	assert_int_equal(retired_bytes(map), 0);
	mslot_region_put(region);
	assert_int_equal(mslot_map_destroy(map), 0);
}

/*
 * Plain commits ask the reclaimer in time: with nobody reading none waits at the limit, if
 * the reclaimer may run now and then. What it has waited for the next commits recycle.
 */
static void commits_ask_the_reclaimer_before_the_limit(void **state)
{
	struct mslot_map_options opt = {.retired_limit_bytes = 1 << 20};
	struct mslot_region *region = make_region(HVA, REGION_PAGES);
	struct mslot_map *map = make_map(&opt);
	struct mslot_map_stats stats;
	unsigned int round, polls;

	(void)state;
	for (round = 0; round < 60; round++) {
		/* Half of the limit. */
		for (polls = 0; retired_bytes(map) < opt.retired_limit_bytes / 2; polls++) {
			put_slot(map, def_of(0, 0, 1, region, 0));
			drop_slot(map, 0);
			if (polls > 100000)
				break;
		}
		for (polls = 0; polls < 5000 && retired_bytes(map) > opt.retired_limit_bytes / 3;
		     polls++) {
			usleep(1000);
			put_slot(map, def_of(0, 0, 1, region, 0));
			drop_slot(map, 0);
		}
		assert_true(polls < 5000);
		assert_int_equal(mslot_map_stats_get(map, &stats), 0);
		assert_int_equal(stats.grace_waits, 0);
	}
	mslot_region_put(region);
	assert_int_equal(mslot_map_destroy(map), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_snapshot_is_loaded_inside_the_section),
	    cmocka_unit_test(a_batch_waits_for_a_grace_period_after_its_commit),
	    cmocka_unit_test(commits_ask_the_reclaimer_before_the_limit),
	    cmocka_unit_test(a_generation_that_can_be_waited_for_is_seen_by_entering),
	    cmocka_unit_test(a_generation_that_is_seen_can_be_waited_for),
	    cmocka_unit_test(nothing_is_over_before_listeners_were_told),
	    cmocka_unit_test(a_wait_outlasts_the_commit_that_it_sees),
	};

	return cmocka_run_group_tests_name("publish", tests, NULL, NULL);
}
