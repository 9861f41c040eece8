/* SPDX-License-Identifier: MIT */
/*
 * test_map_fork.c - a child of fork() goes on using its copy of a map: it reads, commits,
 * waits, gets its own release callbacks and destroys; so does the parent.
 */
#include "map_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sanitize.h"

#define CHILD_TIMEOUT_S 40

static atomic_uint releases;

static void on_release(void *ctx, const struct mslot_region_options *opt)
{
	(void)ctx;
	(void)opt;
	atomic_fetch_add(&releases, 1);
}

static struct mslot_region *make_counted(void)
{
	struct mslot_region_options opt = {.hva = (void *)(uintptr_t)HVA,
					   .len_bytes = PAGES(REGION_PAGES),
					   .fd = -1,
					   .release = on_release};
	struct mslot_region *region;

	assert_int_equal(mslot_region_create(&opt, &region), 0);
	return region;
}

/*
 * In the child an assertion must not return into the test runner, which would go on
 * with the parent's remaining tests: the number of the failed line is the exit status.
 */
#define CHILD_CHECK(cond)                                                                          \
	do {                                                                                       \
		if (!(cond))                                                                       \
			_exit(__LINE__ & 0x7f ? __LINE__ & 0x7f : 1);                              \
	} while (0)

static int child_commit(struct mslot_map *map, const struct mslot_edit *edit)
{
	struct mslot_txn *txn;

	CHILD_CHECK(mslot_txn_begin(map, &txn) == 0);
	CHILD_CHECK(mslot_txn_add(txn, edit) == 0);
	return mslot_txn_commit(txn, NULL, NULL);
}

static pid_t fork_child(void)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		(void)alarm(CHILD_TIMEOUT_S);
	return pid;
}

static void expect_success(pid_t pid)
{
	int status = 0;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fail_msg("the child ended with status %#x (line modulo 128: %d)",
			 (unsigned int)status, WEXITSTATUS(status));
}

/* Everything a process does with a map that shows one region in slot 1. */
static void use_map(struct mslot_map *map, struct mslot_hold *hold)
{
	const struct mslot_snapshot *snap = mslot_enter(map);
	struct mslot_edit gone = {.kind = MSLOT_EDIT_DELETE, .def.key = {0, 1}};
	uint64_t generation = mslot_snapshot_generation(snap);
	const struct mslot_slot *slot = mslot_find(snap, 0, PAGES(4));

	CHILD_CHECK(slot != NULL && mslot_find_id(snap, gone.def.key) == slot);
	mslot_leave(snap);
	CHILD_CHECK(child_commit(map, &gone) == 0);
	CHILD_CHECK(mslot_wait(map, generation + 1, 0) == -ETIMEDOUT);
	CHILD_CHECK(mslot_find(mslot_hold_snapshot(hold), 0, PAGES(4)) == slot);
	CHILD_CHECK(atomic_load(&releases) == 0);
	mslot_hold_put(hold);
	CHILD_CHECK(mslot_wait(map, generation + 1, -1) == 0);
	CHILD_CHECK(atomic_load(&releases) == 1);
	CHILD_CHECK(mslot_check_map(map, NULL) == 0);
	CHILD_CHECK(mslot_map_destroy(map) == 0);
	CHILD_CHECK(atomic_load(&releases) == 1);
}

static void child_and_parent_each_use_their_copy(void **state)
{
	(void)state;
	for (unsigned int round = 0; round < 3; round++) {
		struct mslot_map *map = make_map(NULL);
		struct mslot_region *region = make_counted();
		struct mslot_hold *hold;
		pid_t pid;

		atomic_store(&releases, 0);
		put_slot(map, def_of(1, 4, 4, region, 0));
		mslot_region_put(region);
		hold = hold_now(map, "forked");
		pid = fork_child();
		if (pid == 0) {
			use_map(map, hold);
			_exit(0);
		}
		if (round % 2) /* the child first, or both at once */
			expect_success(pid);
		drop_slot(map, 1);
		assert_int_equal(mslot_wait(map, 2, 0), -ETIMEDOUT);
		mslot_hold_put(hold);
		assert_int_equal(mslot_wait(map, 2, -1), 0);
		assert_int_equal(atomic_load(&releases), 1);
		assert_int_equal(mslot_map_destroy(map), 0);
		if (round % 2 == 0)
			expect_success(pid);
	}
}

static void a_child_of_a_child_works_as_well(void **state)
{
	struct mslot_map *map = make_map(NULL);
	struct mslot_region *region = make_counted();
	struct mslot_hold *hold;
	pid_t pid;

	(void)state;
	atomic_store(&releases, 0);
	put_slot(map, def_of(1, 4, 4, region, 0));
	mslot_region_put(region);
	hold = hold_now(map, "forked");
	pid = fork_child();
	if (pid == 0) {
		int status = 0;

		pid = fork();
		CHILD_CHECK(pid >= 0);
		if (pid == 0)
			(void)alarm(CHILD_TIMEOUT_S);
		use_map(map, hold);
		if (pid)
			CHILD_CHECK(waitpid(pid, &status, 0) == pid && status == 0);
		_exit(0);
	}
	expect_success(pid);
	assert_int_equal(atomic_load(&releases), 0);
	mslot_hold_put(hold);
	assert_int_equal(mslot_map_destroy(map), 0);
	assert_int_equal(atomic_load(&releases), 1);
}

struct other {
	struct mslot_map *map;
	pthread_barrier_t step;
	atomic_bool stop;
	unsigned int failures;
};

static void *stay_in_section(void *arg)
{
	struct other *o = arg;
	const struct mslot_snapshot *snap = mslot_enter(o->map);

	(void)pthread_barrier_wait(&o->step); /* 1: entered */
	(void)pthread_barrier_wait(&o->step); /* 2: the child has ended */
	mslot_leave(snap);
	return NULL;
}

static void sections_of_other_threads_do_not_exist_in_the_child(void **state)
{
	struct other o = {.map = make_map(NULL)};
	struct mslot_region *region = make_counted();
	struct mslot_edit gone = {.kind = MSLOT_EDIT_DELETE, .def.key = {0, 1}};
	pthread_t thread;
	pid_t pid;

	(void)state;
	put_slot(o.map, def_of(1, 4, 4, region, 0));
	mslot_region_put(region);
	assert_int_equal(pthread_barrier_init(&o.step, NULL, 2), 0);
	assert_int_equal(pthread_create(&thread, NULL, stay_in_section, &o), 0);
	(void)pthread_barrier_wait(&o.step);
	pid = fork_child();
	if (pid == 0) {
		CHILD_CHECK(child_commit(o.map, &gone) == 0);
		CHILD_CHECK(mslot_wait(o.map, 2, -1) == 0);
		_exit(0);
	}
	expect_success(pid);
	drop_slot(o.map, 1);
	assert_int_equal(mslot_wait(o.map, 2, 0), -ETIMEDOUT);
	(void)pthread_barrier_wait(&o.step);
	assert_int_equal(mslot_wait(o.map, 2, -1), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(pthread_barrier_destroy(&o.step), 0);
	assert_int_equal(mslot_map_destroy(o.map), 0);
}

/* Commit all the time, so that forks find locks taken and reclamation under way. */
static void *commit_forever(void *arg)
{
	struct other *o = arg;
	uint32_t flags = 0;

	while (!atomic_load(&o->stop)) {
		struct mslot_txn *txn;

		flags ^= MSLOT_READONLY;
		if (mslot_txn_begin(o->map, &txn) ||
		    mslot_txn_set_flags(txn, (struct mslot_key){0, 1}, flags) ||
		    mslot_txn_commit(txn, NULL, NULL))
			o->failures++;
	}
	return NULL;
}

static void forks_in_the_middle_of_commits_leave_the_child_whole(void **state)
{
	struct mslot_map_options opt = {.retired_limit_bytes = 65536};
	struct other o = {.map = make_map(&opt)};
	struct mslot_region *region = make_counted();
	struct mslot_edit gone = {.kind = MSLOT_EDIT_DELETE, .def.key = {0, 1}};
	pthread_t thread;

	(void)state;
	put_slot(o.map, def_of(1, 4, 4, region, 0));
	mslot_region_put(region);
	assert_int_equal(pthread_create(&thread, NULL, commit_forever, &o), 0);
	for (unsigned int i = 0; i < 50; i++) {
		pid_t pid = fork_child();

		if (pid == 0) {
			CHILD_CHECK(mslot_check_map(o.map, NULL) == 0);
			CHILD_CHECK(child_commit(o.map, &gone) == 0);
			CHILD_CHECK(mslot_check_map(o.map, NULL) == 0);
			if (i % 2)
				CHILD_CHECK(mslot_wait(o.map, generation_of(o.map), -1) == 0);
			CHILD_CHECK(mslot_map_destroy(o.map) == 0);
			_exit(0);
		}
		expect_success(pid);
	}
	atomic_store(&o.stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(o.failures, 0);
	assert_int_equal(mslot_map_destroy(o.map), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(child_and_parent_each_use_their_copy),
	    cmocka_unit_test(a_child_of_a_child_works_as_well),
	    cmocka_unit_test(sections_of_other_threads_do_not_exist_in_the_child),
	    cmocka_unit_test(forks_in_the_middle_of_commits_leave_the_child_whole),
	};

#ifdef MSLOT_TSAN
	/* Each child starts a reclaimer of its own. */
	puts("SKIP: ThreadSanitizer does not support new threads in a child of fork()");
	return 77;
#endif
	return cmocka_run_group_tests_name("map_fork", tests, NULL, NULL);
}
