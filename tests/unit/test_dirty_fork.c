/* SPDX-License-Identifier: MIT */
/*
 * test_dirty_fork.c - fork() where a harvest or the making of a consumer is under way: it
 * does not wait for what waits for the forking thread.
 */
#include "dirty_fixture.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/perturb.h"

#define TIMEOUT_S 40

/* The child may do no more here than this. */
static void fork_and_exit(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static sem_t swapped;

static void hook(enum perturb_point point)
{
	if (point == PERTURB_HARVEST_SWAPPED)
		sem_post(&swapped);
}

static void *harvest_main(void *arg)
{
	expect_dirty(arg, RUNS({0x12, 1}));
	return NULL;
}

/* The harvest holds its lock until the section has ended. */
static void in_a_section_that_a_harvest_waits_for(void **state)
{
	struct mslot_map *map = make_map(NULL);
	struct mslot_region *region = make_region(HVA, BIG_PAGES);
	struct mslot_dirty *dirty = consumer(map);
	const struct mslot_snapshot *snap;
	pthread_t thread;

	(void)state;
	put_slot(map, def_of(1, 0x10, 64, region, 0));
	mark(map, 0x12, 1);
	sem_init(&swapped, 0, 0);
	atomic_store(&perturb_hook, hook);
	snap = mslot_enter(map);
	assert_int_equal(pthread_create(&thread, NULL, harvest_main, dirty), 0);
	sem_wait(&swapped);
	fork_and_exit();
	mslot_leave(snap);
	assert_int_equal(pthread_join(thread, NULL), 0);
	atomic_store(&perturb_hook, NULL);
	sem_destroy(&swapped);
	/* The locks are as they were. */
	mark(map, 0x12, 1);
	expect_dirty(dirty, RUNS({0x12, 1}));
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
	end_map(map);
	mslot_region_put(region);
}

static int fork_in_prepare(void *ctx, const struct mslot_diff *diff)
{
	(void)diff;
	fork_and_exit();
	++*(unsigned int *)ctx;
	return 0;
}

/* Both locks of the map are the thread's own. */
static void in_a_listener_of_a_new_consumer(void **state)
{
	const struct mslot_listener_ops ops = {.prepare = fork_in_prepare};
	struct mslot_map *map = make_map(NULL);
	struct mslot_region *region = make_region(HVA, BIG_PAGES);
	struct mslot_listener *listener;
	struct mslot_dirty *dirty;
	unsigned int forks = 0;

	(void)state;
	put_slot(map, def_of(1, 0x10, 64, region, 0));
	assert_int_equal(mslot_listener_add(map, &ops, &forks, 0, &listener), 0);
	dirty = consumer(map);
	assert_int_equal(mslot_dirty_destroy(dirty), 0);
	assert_int_equal(forks, 2);
	assert_int_equal(mslot_listener_remove(listener), 0);
	end_map(map);
	mslot_region_put(region);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(in_a_section_that_a_harvest_waits_for),
	    cmocka_unit_test(in_a_listener_of_a_new_consumer),
	};

	/* A fork that waits for itself waits for ever. */
	(void)alarm(TIMEOUT_S);
	return cmocka_run_group_tests_name("dirty_fork", tests, NULL, NULL);
}
