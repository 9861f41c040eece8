/* SPDX-License-Identifier: MIT */
/*
 * test_publish.c - what a thread may conclude from a generation that it has seen.
 */
#include "map_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/perturb.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_generation_that_can_be_waited_for_is_seen_by_entering),
	};

	return cmocka_run_group_tests_name("publish", tests, NULL, NULL);
}
