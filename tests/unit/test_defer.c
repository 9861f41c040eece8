/* SPDX-License-Identifier: MIT */
/*
 * test_defer.c - work that waits for readers: its order, the grace period before it, the
 * threads that run it, and what a fork leaves of it.
 */
#include "map_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/perturb.h"
#include "map/fork.h"
#include "map/reclaim.h"
#include "map/snapshot.h"
#include "map/writer.h"

#define KICK_BYTES (UINT64_C(256) << 10)
#define BREAK_BYTES (UINT64_C(64) << 10)
#define ITEMS 100u
#define CHILD_TIMEOUT_S 40

struct item {
	struct map_deferred deferred;
	struct item *more; /* deferred by run() */
	uint64_t order;    /* from 1; 0: not run */
	bool owned;        /* with the writer mutex held */
};

struct fixture {
	struct mslot_map *map;
	struct item item[ITEMS];
};

static atomic_uint nrun;

static struct item *item_of(struct map_deferred *d)
{
	return (struct item *)(void *)((char *)d - offsetof(struct item, deferred));
}

static void run_item(struct mslot_map *map, struct map_deferred *self)
{
	struct item *item = item_of(self);

	/* Twice would be seen by the count. */
	item->owned = map_owned(map);
	item->order = atomic_fetch_add(&nrun, 1) + 1;
	if (item->more)
		map_defer(map, &item->more->deferred);
}

static void defer(struct fixture *f, unsigned int i, uint64_t bytes)
{
	f->item[i].deferred = (struct map_deferred){.run = run_item, .bytes = bytes};
	map_defer(f->map, &f->item[i].deferred);
}

static int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	f.map = make_map(NULL);
	atomic_store(&nrun, 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	atomic_store(&perturb_hook, NULL);
	return mslot_map_destroy(f->map);
}

static void drain_runs_all_in_order(void **state)
{
	struct fixture *f = *state;

	map_drain_deferred(f->map);
	for (unsigned int round = 0; round < 3; round++) {
		atomic_store(&nrun, 0);
		for (unsigned int i = 0; i < ITEMS; i++)
			defer(f, i, i);
		assert_int_equal(atomic_load(&nrun), 0);
		map_drain_deferred(f->map);
		assert_int_equal(atomic_load(&nrun), ITEMS);
		for (unsigned int i = 0; i < ITEMS; i++) {
			assert_int_equal(f->item[i].order, i + 1);
			assert_true(f->item[i].owned);
		}
	}
}

static void what_run_defers_is_drained_too(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	for (unsigned int i = 1; i < ITEMS; i++) {
		f->item[i].deferred = (struct map_deferred){.run = run_item, .bytes = 1};
		f->item[i - 1].more = &f->item[i];
	}
	defer(f, 0, 1);
	before = f->map->deferrals.taken;
	map_drain_deferred(f->map);
	assert_int_equal(f->map->deferrals.taken - before, ITEMS);
	for (unsigned int i = 0; i < ITEMS; i++)
		assert_int_equal(f->item[i].order, i + 1);
}

/* ---- Grace periods --------------------------------------------------------- */

/* A reader that was inside when the work was deferred, and a thread that drains. */
static struct {
	struct fixture *f;
	enum perturb_point at; /* where the drain stands when the work is deferred */
	bool deferred;
	sem_t here, go_on;
	atomic_bool left, begun, over_early;
} grace;

/* The order in which the one item was run and the reader left. */
static void run_noting(struct mslot_map *map, struct map_deferred *self)
{
	(void)map;
	(void)self;
	if (!atomic_load(&grace.left))
		atomic_store(&grace.over_early, true);
	atomic_fetch_add(&nrun, 1);
}

static void defer_noting(void)
{
	struct item *item = &grace.f->item[0];

	item->deferred = (struct map_deferred){.run = run_noting, .bytes = 1};
	map_defer(grace.f->map, &item->deferred);
}

/* Stop the first time that the drain is there. */
static void stop_there(enum perturb_point point)
{
	if (point == PERTURB_GRACE_BEGINS)
		atomic_store(&grace.begun, true);
	if (point != grace.at || grace.deferred)
		return;
	grace.deferred = true;
	sem_post(&grace.here);
	sem_wait(&grace.go_on);
	/* The next one, if there is one, has a reader to wait for. */
	atomic_store(&grace.begun, false);
}

static void *drain_main(void *arg)
{
	map_drain_deferred(arg);
	return NULL;
}

/* The reader stays until the drain waits for it, or has not waited. */
static void await_grace_or_run(void)
{
	while (!atomic_load(&grace.begun) && atomic_load(&nrun) == 0)
		sched_yield();
	/* It may have been about to. */
	for (unsigned int i = 0; i < 1000 && atomic_load(&nrun) == 0; i++)
		sched_yield();
}

static void grace_begin(struct fixture *f, enum perturb_point at)
{
	memset(&grace, 0, sizeof(grace));
	grace.f = f;
	grace.at = at;
	assert_int_equal(sem_init(&grace.here, 0, 0), 0);
	assert_int_equal(sem_init(&grace.go_on, 0, 0), 0);
	atomic_store(&perturb_hook, stop_there);
}

static void run_waits_for_sections_from_before(void **state)
{
	struct fixture *f = *state;
	const struct mslot_snapshot *snap;
	pthread_t thread;

	grace_begin(f, PERTURB_POINTS);
	snap = mslot_enter(f->map);
	defer_noting();
	assert_int_equal(pthread_create(&thread, NULL, drain_main, f->map), 0);
	await_grace_or_run();
	atomic_store(&grace.left, true);
	mslot_leave(snap);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(atomic_load(&nrun), 1);
	assert_false(atomic_load(&grace.over_early));
}

/* A grace period that is over says nothing of what is deferred only then. */
static void a_grace_period_from_before_does_not_count(void **state)
{
	struct fixture *f = *state;
	const struct mslot_snapshot *snap;
	pthread_t thread;

	grace_begin(f, PERTURB_GRACE_OVER);
	defer(f, 1, 1);
	assert_int_equal(pthread_create(&thread, NULL, drain_main, f->map), 0);
	sem_wait(&grace.here);
	snap = mslot_enter(f->map);
	defer_noting();
	sem_post(&grace.go_on);
	while (atomic_load(&nrun) == 0)
		sched_yield();
	while (!atomic_load(&grace.begun) && atomic_load(&nrun) == 1)
		sched_yield();
	atomic_store(&grace.left, true);
	mslot_leave(snap);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(atomic_load(&nrun), 2);
	assert_false(atomic_load(&grace.over_early));
}

/* ---- The reclaimer --------------------------------------------------------- */

static atomic_uint graces;

static void count_graces(enum perturb_point point)
{
	if (point == PERTURB_GRACE_OVER)
		atomic_fetch_add(&graces, 1);
}

/* Without a commit: for this alone there is a grace period. */
static void a_lot_of_bytes_wakes_the_reclaimer(void **state)
{
	struct fixture *f = *state;

	atomic_store(&graces, 0);
	atomic_store(&perturb_hook, count_graces);
	for (unsigned int round = 0; round < 3; round++) {
		atomic_store(&nrun, 0);
		defer(f, 0, KICK_BYTES);
		/* Nobody is asked yet: reclaimer_forget() sees it idle. */
		reclaimer_forget(f->map);
		assert_int_equal(atomic_load(&nrun), 0);
		assert_int_equal(atomic_load(&graces), round);
		defer(f, 1, 1);
		while (atomic_load(&nrun) < 2)
			sched_yield();
		reclaimer_forget(f->map);
		assert_true(f->item[0].owned && f->item[1].owned);
		assert_int_equal(f->item[0].order, 1);
		assert_int_equal(f->item[1].order, 2);
		assert_int_equal(atomic_load(&graces), round + 1);
	}
}

/* It takes what there is, also when it comes for something else. */
static void a_wait_takes_what_is_deferred_along(void **state)
{
	struct fixture *f = *state;
	struct mslot_region *region = make_region(HVA, REGION_PAGES);

	defer(f, 0, 1);
	put_slot(f->map, def_of(0, 0, 1, region, 0));
	assert_int_equal(mslot_wait(f->map, 1, INT64_C(60000000000)), 0);
	assert_int_equal(atomic_load(&nrun), 1);
	mslot_region_put(region);
}

static struct {
	struct mslot_map *map;
	unsigned int breaks, held;
} breaks;

static void look_at_break(enum perturb_point point)
{
	if (point != PERTURB_DEFERRED_BREAK)
		return;
	breaks.breaks++;
	breaks.held += map_owned(breaks.map);
	/* Not more than what begins below the limit. */
	assert_true(atomic_load(&nrun) <= 3 * breaks.breaks);
}

static void the_mutex_is_given_up_in_between(void **state)
{
	struct fixture *f = *state;

	breaks.map = f->map;
	breaks.breaks = breaks.held = 0;
	atomic_store(&perturb_hook, look_at_break);
	/* Not so much that the reclaimer would be asked. */
	for (unsigned int i = 0; i < 9; i++)
		defer(f, i, BREAK_BYTES / 3 + 1);
	map_drain_deferred(f->map);
	assert_int_equal(breaks.breaks, 3);
	assert_int_equal(atomic_load(&nrun), 9);
	/* One is run, however large it is. */
	atomic_store(&nrun, 0);
	breaks.breaks = 0;
	defer(f, 0, 2 * BREAK_BYTES);
	defer(f, 1, BREAK_BYTES);
	map_drain_deferred(f->map);
	assert_int_equal(breaks.breaks, 2);
	assert_int_equal(breaks.held, 0);
	assert_int_equal(atomic_load(&nrun), 2);
}

/* ---- Many threads ---------------------------------------------------------- */

#define THREADS 4u
#define EACH 20000u

static void *defer_many(void *arg)
{
	struct item *item = calloc(EACH, sizeof(*item));
	struct mslot_map *map = arg;

	for (unsigned int i = 0; i < EACH; i++) {
		item[i].deferred = (struct map_deferred){.run = run_item, .bytes = 1000};
		map_defer(map, &item[i].deferred);
		if (i % 4000 == 0)
			map_drain_deferred(map);
	}
	return item;
}

static void nothing_is_lost_or_run_twice(void **state)
{
	struct fixture *f = *state;
	pthread_t thread[THREADS];
	struct item *item[THREADS];
	void *out;

	for (unsigned int t = 0; t < THREADS; t++)
		assert_int_equal(pthread_create(&thread[t], NULL, defer_many, f->map), 0);
	for (unsigned int t = 0; t < THREADS; t++) {
		assert_int_equal(pthread_join(thread[t], &out), 0);
		item[t] = out;
	}
	map_drain_deferred(f->map);
	assert_int_equal(atomic_load(&nrun), THREADS * EACH);
	for (unsigned int t = 0; t < THREADS; t++) {
		for (unsigned int i = 0; i < EACH; i++) {
			assert_true(item[t][i].owned);
			/* Each thread's in its order. */
			if (i > 0)
				assert_true(item[t][i].order > item[t][i - 1].order);
		}
		free(item[t]);
	}
}

/* ---- A drain beside another ------------------------------------------------ */

static struct {
	struct fixture *f;
	sem_t here, go_on, drained;
	atomic_bool more_was_run;
} beside;

static _Thread_local bool stops_at_break;

static void stop_at_break(enum perturb_point point)
{
	if (point != PERTURB_DEFERRED_BREAK || !stops_at_break)
		return;
	stops_at_break = false;
	sem_post(&beside.here);
	sem_wait(&beside.go_on);
}

static void *drain_with_break(void *arg)
{
	stops_at_break = true;
	map_drain_deferred(arg);
	atomic_store(&beside.more_was_run, beside.f->item[2].order > 0);
	sem_post(&beside.drained);
	return NULL;
}

/* Defers more, once the drain that goes on beside it had the time to return. */
static void run_slowly(struct mslot_map *map, struct map_deferred *d)
{
	struct timespec until;

	(void)d;
	sem_post(&beside.go_on);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec++;
	(void)sem_timedwait(&beside.drained, &until);
	map_defer(map, &beside.f->item[2].deferred);
}

/* What somebody else is running is in no list; what it defers is drained all the same. */
static void what_another_thread_runs_is_drained_too(void **state)
{
	struct fixture *f = *state;
	pthread_t thread;

	memset(&beside, 0, sizeof(beside));
	beside.f = f;
	assert_int_equal(sem_init(&beside.here, 0, 0), 0);
	assert_int_equal(sem_init(&beside.go_on, 0, 0), 0);
	assert_int_equal(sem_init(&beside.drained, 0, 0), 0);
	atomic_store(&perturb_hook, stop_at_break);
	defer(f, 0, 1);
	assert_int_equal(pthread_create(&thread, NULL, drain_with_break, f->map), 0);
	sem_wait(&beside.here);
	f->item[1].deferred = (struct map_deferred){.run = run_slowly, .bytes = 1};
	f->item[2].deferred = (struct map_deferred){.run = run_item, .bytes = 1};
	map_defer(f->map, &f->item[1].deferred);
	map_drain_deferred(f->map);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(atomic_load(&beside.more_was_run));
}

/* ---- The end, and fork ----------------------------------------------------- */

static void destroying_the_map_drains(void **state)
{
	struct fixture *f = *state;
	struct mslot_map *map = make_map(NULL);

	f->item[0].more = &f->item[1];
	f->item[0].deferred = f->item[1].deferred =
	    (struct map_deferred){.run = run_item, .bytes = 1};
	map_defer(map, &f->item[0].deferred);
	assert_int_equal(mslot_map_destroy(map), 0);
	assert_int_equal(atomic_load(&nrun), 2);
}

#define CHILD_CHECK(cond)                                                                          \
	do {                                                                                       \
		if (!(cond))                                                                       \
			_exit(__LINE__ & 0x7f ? __LINE__ & 0x7f : 1);                              \
	} while (0)

static void expect_success(pid_t pid)
{
	int status = 0;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fail_msg("the child ended with status %#x (line modulo 128: %d)",
			 (unsigned int)status, WEXITSTATUS(status));
}

/* What was taken for a grace period that only the parent ends is not lost in the child. */
static void a_child_runs_what_is_pending(void **state)
{
	struct fixture *f = *state;
	const struct mslot_snapshot *snap;
	pthread_t thread;
	pid_t pid;

	grace_begin(f, PERTURB_GRACE_BEGINS);
	defer(f, 0, 1);
	assert_int_equal(pthread_create(&thread, NULL, drain_main, f->map), 0);
	sem_wait(&grace.here);
	defer(f, 1, 1);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)alarm(CHILD_TIMEOUT_S);
		atomic_store(&perturb_hook, NULL);
		/* By the child's reclaimer, or here. */
		snap = mslot_enter(f->map);
		mslot_leave(snap);
		map_drain_deferred(f->map);
		CHILD_CHECK(atomic_load(&nrun) == 2);
		CHILD_CHECK(f->item[0].order == 1 && f->item[1].order == 2);
		defer(f, 2, 1);
		CHILD_CHECK(mslot_map_destroy(f->map) == 0);
		CHILD_CHECK(atomic_load(&nrun) == 3);
		_exit(0);
	}
	sem_post(&grace.go_on);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(atomic_load(&nrun), 2);
	expect_success(pid);
}

struct forked {
	struct map_fork_hook hook;
	struct mslot_map *map;
	unsigned int calls;
	bool locked;
};

static void note_fork(struct map_fork_hook *hook)
{
	struct forked *forked = (struct forked *)(void *)hook;

	forked->calls++;
	forked->locked = !map_trylock(forked->map);
}

static void hooks_are_called_in_the_child(void **state)
{
	struct fixture *f = *state;
	struct forked forked[3];
	pid_t pid;

	map_lock(f->map);
	for (unsigned int i = 0; i < 3; i++) {
		forked[i] = (struct forked){.hook.child = note_fork, .map = f->map};
		map_fork_hook_add(f->map, &forked[i].hook);
	}
	map_fork_hook_remove(f->map, &forked[1].hook);
	map_unlock(f->map);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		CHILD_CHECK(forked[0].calls == 1 && forked[0].locked);
		CHILD_CHECK(forked[1].calls == 0);
		CHILD_CHECK(forked[2].calls == 1 && forked[2].locked);
		_exit(0);
	}
	expect_success(pid);
	assert_int_equal(forked[0].calls, 0);
	map_lock(f->map);
	map_fork_hook_remove(f->map, &forked[0].hook);
	map_fork_hook_remove(f->map, &forked[2].hook);
	map_unlock(f->map);
	assert_null(f->map->fork_hooks);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(drain_runs_all_in_order),
	    CASE(what_run_defers_is_drained_too),
	    CASE(run_waits_for_sections_from_before),
	    CASE(a_grace_period_from_before_does_not_count),
	    CASE(a_lot_of_bytes_wakes_the_reclaimer),
	    CASE(a_wait_takes_what_is_deferred_along),
	    CASE(the_mutex_is_given_up_in_between),
	    CASE(nothing_is_lost_or_run_twice),
	    CASE(what_another_thread_runs_is_drained_too),
	    CASE(destroying_the_map_drains),
	    CASE(a_child_runs_what_is_pending),
	    CASE(hooks_are_called_in_the_child),
	};

	return cmocka_run_group_tests_name("defer", tests, NULL, NULL);
}
