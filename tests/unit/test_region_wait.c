/* SPDX-License-Identifier: MIT */
/*
 * test_region_wait.c - when regions are released, who is waited for, and what is
 * refused where it could never end: R3, W5, L2. What happens across fork() is in
 * test_map_fork.c.
 *
 * Nothing here sleeps to let something happen: releases are waited for on a condition
 * variable, and threads go step by step through barriers.
 */
#include "map_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#define TIMEOUT_S 30

/* ---- A region that counts ----------------------------------------------- */

struct counted {
	struct mslot_region *region;
	struct mslot_region_options opt;
	unsigned int releases;
	pthread_t released_by;
	void (*inside)(struct counted *c);
	struct mslot_map *map; /* for inside() */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;

static void on_release(void *ctx, const struct mslot_region_options *opt)
{
	struct counted *c = ctx;

	if (c->inside)
		c->inside(c);
	(void)pthread_mutex_lock(&lock);
	/* Other options than those of the creation count as a wrong release. */
	c->releases += opt->hva == c->opt.hva && opt->len_bytes == c->opt.len_bytes &&
			       opt->fd == c->opt.fd && opt->fd_offset == c->opt.fd_offset
			   ? 1
			   : 100;
	c->released_by = pthread_self();
	(void)pthread_cond_broadcast(&cond);
	(void)pthread_mutex_unlock(&lock);
}

static void counted_init(struct counted *c, uint64_t hva)
{
	memset(c, 0, sizeof(*c));
	c->opt = (struct mslot_region_options){
	    .hva = (void *)(uintptr_t)hva,
	    .len_bytes = PAGES(64),
	    .fd = 77,
	    .fd_offset = PAGES(3),
	    .release = on_release,
	    .ctx = c,
	};
	assert_int_equal(mslot_region_create(&c->opt, &c->region), 0);
}

static unsigned int releases(struct counted *c)
{
	unsigned int n;

	(void)pthread_mutex_lock(&lock);
	n = c->releases;
	(void)pthread_mutex_unlock(&lock);
	return n;
}

static void await_release(struct counted *c)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += TIMEOUT_S;
	(void)pthread_mutex_lock(&lock);
	while (c->releases == 0)
		if (pthread_cond_timedwait(&cond, &lock, &until))
			break;
	(void)pthread_mutex_unlock(&lock);
	assert_int_equal(releases(c), 1);
}

/* ---- Regions ------------------------------------------------------------ */

static void region_lengths_are_checked(void **state)
{
	static const struct {
		uint64_t hva, len;
		int want;
	} rows[] = {
	    {0x1000, 0, -EINVAL},
	    {0, 0, -EINVAL},
	    {UINT64_MAX, 2, -EINVAL},
	    {0x1000, UINT64_MAX - 0xffe, -EINVAL},
	    {0x1000, UINT64_MAX, -EINVAL},
	    {0x1000, UINT64_MAX - 0x1000, 0},
	    {0, UINT64_MAX, 0},
	    {1, 1, 0}, /* no map can use it, but it is a region */
	};
	struct mslot_region *const untouched = (struct mslot_region *)(uintptr_t)0x1234;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct mslot_region_options opt = {
		    .hva = (void *)(uintptr_t)rows[i].hva, .len_bytes = rows[i].len, .fd = -1};
		struct mslot_region *region = untouched;

		if (mslot_region_create(&opt, &region) != rows[i].want)
			fail_msg("row %zu", i);
		if (rows[i].want)
			assert_ptr_equal(region, untouched);
		else
			mslot_region_put(region);
	}
	mslot_region_put(NULL);
}

static void region_options_are_given_back(void **state)
{
	struct mslot_region_options opt;
	struct counted c;

	(void)state;
	counted_init(&c, HVA);
	mslot_region_options_get(c.region, &opt);
	assert_ptr_equal(opt.hva, c.opt.hva);
	assert_int_equal(opt.len_bytes, c.opt.len_bytes);
	assert_int_equal(opt.fd, 77);
	assert_int_equal(opt.fd_offset, PAGES(3));
	assert_ptr_equal(opt.release, on_release);
	assert_ptr_equal(opt.ctx, &c);
	/* No map ever showed it: the put alone releases it. */
	mslot_region_put(c.region);
	await_release(&c);
	assert_false(pthread_equal(c.released_by, pthread_self()));
}

static void release_runs_once_whether_put_before_or_after_delete(void **state)
{
	(void)state;
	/* Many times: a wait that is too short often has luck. */
	for (unsigned int round = 0; round < 100; round++) {
		struct mslot_map *map = make_map(NULL);
		const bool put_first = round % 2;
		struct mslot_slot_def def;
		struct counted c;

		counted_init(&c, HVA);
		/* Two slots show it, one of them twice in its life. */
		put_slot(map, def_of(1, 0, 8, c.region, 0));
		def = def_of(2, 100, 8, c.region, 0);
		put_slot(map, def);
		drop_slot(map, 1);
		put_slot(map, def_of(1, 8, 8, c.region, 8));
		if (put_first)
			mslot_region_put(c.region);
		drop_slot(map, 1);
		assert_int_equal(mslot_wait(map, 5, -1), 0);
		assert_int_equal(releases(&c), 0);
		expect_slots(map, &def, 1);
		drop_slot(map, 2);
		assert_int_equal(mslot_wait(map, 6, -1), 0);
		if (put_first) {
			/* The wait covers the callback. */
			assert_int_equal(releases(&c), 1);
		} else {
			assert_int_equal(releases(&c), 0);
			mslot_region_put(c.region);
			await_release(&c);
		}
		assert_int_equal(mslot_map_destroy(map), 0);
		assert_int_equal(releases(&c), 1);
	}
}

static void a_transaction_keeps_its_region(void **state)
{
	struct mslot_map *map = make_map(NULL);
	struct mslot_slot_def def;
	struct mslot_txn *txn;
	struct counted c;

	(void)state;
	counted_init(&c, HVA);
	def = def_of(1, 0, 8, c.region, 0);
	txn = begin(map);
	assert_int_equal(mslot_txn_create(txn, &def), 0);
	mslot_region_put(c.region);
	put_slot(map, def_of(2, 100, 1, c.region, 0)); /* alive, so it may still be named */
	drop_slot(map, 2);
	assert_int_equal(mslot_wait(map, 2, -1), 0);
	assert_int_equal(releases(&c), 0);
	mslot_txn_abort(txn);
	await_release(&c);
	assert_int_equal(mslot_map_destroy(map), 0);
	assert_int_equal(releases(&c), 1);
}

/* Runs of one region, and edits without one in between, are counted as one reference each. */
static void a_transaction_keeps_each_of_its_regions(void **state)
{
	struct mslot_map *map = make_map(NULL);
	struct counted c[2];
	struct mslot_txn *txn;

	(void)state;
	counted_init(&c[0], HVA);
	counted_init(&c[1], HVA);
	txn = begin(map);
	for (uint32_t i = 0; i < 12; i++) {
		struct mslot_slot_def def = def_of(i, i * 8, 8, c[i / 3 % 2].region, 0);

		assert_true(mslot_txn_create(txn, &def) >= 0);
		if (i == 4)
			assert_true(mslot_txn_delete(txn, (struct mslot_key){0, 90}) >= 0);
	}
	mslot_region_put(c[0].region);
	mslot_region_put(c[1].region);
	assert_int_equal(mslot_wait(map, 0, -1), 0);
	assert_int_equal(releases(&c[0]), 0);
	assert_int_equal(releases(&c[1]), 0);
	mslot_txn_abort(txn);
	await_release(&c[0]);
	await_release(&c[1]);
	assert_int_equal(mslot_map_destroy(map), 0);
	assert_int_equal(releases(&c[0]), 1);
	assert_int_equal(releases(&c[1]), 1);
}

static void a_region_of_two_maps_lives_as_long_as_both(void **state)
{
	struct mslot_map *maps[2];
	struct counted c;

	(void)state;
	counted_init(&c, HVA);
	for (size_t i = 0; i < 2; i++) {
		maps[i] = make_map(NULL);
		put_slot(maps[i], def_of(1, 0, 8, c.region, 0));
	}
	mslot_region_put(c.region);
	drop_slot(maps[0], 1);
	assert_int_equal(mslot_wait(maps[0], 2, -1), 0);
	assert_int_equal(mslot_map_destroy(maps[0]), 0);
	assert_int_equal(releases(&c), 0);
	assert_int_equal(mslot_map_destroy(maps[1]), 0);
	assert_int_equal(releases(&c), 1);
}

static void destroy_releases_what_only_the_map_reached(void **state)
{
	struct mslot_map *map = make_map(NULL);
	struct counted c[8];

	(void)state;
	for (uint32_t i = 0; i < 8; i++) {
		counted_init(&c[i], HVA + PAGES(64 * i));
		put_slot(map, def_of(i, i * 64, 64, c[i].region, 0));
		if (i != 5)
			mslot_region_put(c[i].region);
	}
	drop_slot(map, 2); /* retired, not waited for */
	assert_int_equal(mslot_map_destroy(map), 0);
	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(releases(&c[i]), i != 5);
	mslot_region_put(c[5].region);
	await_release(&c[5]);
}

/* ---- Waiting ------------------------------------------------------------ */

static void wait_looks_times_out_and_waits_for_holds(void **state)
{
	struct mslot_map *map = make_map(NULL);
	struct mslot_holder holder;
	struct mslot_hold *hold;
	struct counted c;

	(void)state;
	counted_init(&c, HVA);
	put_slot(map, def_of(1, 0, 8, c.region, 0));
	mslot_region_put(c.region);
	hold = hold_now(map, "the one who holds");
	assert_int_equal(mslot_wait(map, 2, 0), -EINVAL);
	assert_int_equal(mslot_wait(map, UINT64_MAX, -1), -EINVAL);
	drop_slot(map, 1);
	assert_int_equal(mslot_wait(map, 2, 0), -ETIMEDOUT);
	assert_int_equal(mslot_wait(map, 2, 1), -ETIMEDOUT);
	assert_int_equal(mslot_wait(map, 2, 3000000), -ETIMEDOUT);
	/* Nothing that the first commit removed is held. */
	assert_int_equal(mslot_wait(map, 1, -1), 0);
	assert_int_equal(mslot_holders(map, &holder, 1), 1);
	assert_string_equal(holder.tag, "the one who holds");
	assert_int_equal(holder.generation, 1);
	assert_int_equal(releases(&c), 0);
	assert_non_null(mslot_find(mslot_hold_snapshot(hold), 0, 0));
	mslot_hold_put(hold);
	assert_int_equal(mslot_wait(map, 2, (int64_t)TIMEOUT_S * 1000000000), 0);
	assert_int_equal(releases(&c), 1);
	assert_int_equal(mslot_wait(map, 2, 0), 0);
	assert_int_equal(mslot_wait(map, 0, 0), 0);
	assert_int_equal(mslot_map_destroy(map), 0);
}

static void a_young_hold_does_not_pin_what_died_before(void **state)
{
	struct mslot_map *map = make_map(NULL);
	struct mslot_hold *old, *young;
	struct counted c[2];

	(void)state;
	counted_init(&c[0], HVA);
	counted_init(&c[1], OTHER_HVA);
	put_slot(map, def_of(1, 0, 8, c[0].region, 0));
	put_slot(map, def_of(2, 8, 8, c[1].region, 0));
	mslot_region_put(c[0].region);
	mslot_region_put(c[1].region);
	old = hold_now(map, "old"); /* sees both */
	drop_slot(map, 1);
	young = hold_now(map, "young"); /* sees the second */
	drop_slot(map, 2);
	mslot_hold_put(old);
	assert_int_equal(mslot_wait(map, 3, -1), 0);
	assert_int_equal(releases(&c[0]), 1);
	assert_int_equal(releases(&c[1]), 0);
	assert_int_equal(mslot_wait(map, 4, 0), -ETIMEDOUT);
	mslot_hold_put(young);
	assert_int_equal(mslot_wait(map, 4, -1), 0);
	assert_int_equal(releases(&c[1]), 1);
	assert_int_equal(mslot_map_destroy(map), 0);
}

static void waiting_inside_a_section_is_refused(void **state)
{
	struct mslot_map *map = make_map(NULL), *other = make_map(NULL);
	const struct mslot_snapshot *snap = mslot_enter(map);

	(void)state;
	assert_int_equal(mslot_wait(map, 0, -1), -EDEADLK);
	assert_int_equal(mslot_wait(map, 0, 0), -EDEADLK);
	assert_int_equal(mslot_wait(other, 0, -1), -EDEADLK);
	assert_int_equal(mslot_map_destroy(map), -EDEADLK);
	mslot_leave(snap);
	assert_int_equal(mslot_wait(map, 0, -1), 0);
	assert_int_equal(mslot_map_destroy(map), 0);
	assert_int_equal(mslot_map_destroy(other), 0);
}

/* ---- Inside release ----------------------------------------------------- */

static void commit_inside_release(struct counted *c)
{
	struct mslot_region *region = make_region(OTHER_HVA, 4);

	put_slot(c->map, def_of(50, 500, 4, region, 0));
	mslot_region_put(region);
}

static void release_may_commit_and_make_regions(void **state)
{
	struct mslot_map *map = make_map(NULL);
	const struct mslot_snapshot *snap;
	struct counted c;

	(void)state;
	counted_init(&c, HVA);
	c.map = map;
	c.inside = commit_inside_release;
	put_slot(map, def_of(1, 0, 8, c.region, 0));
	mslot_region_put(c.region);
	drop_slot(map, 1);
	assert_int_equal(mslot_wait(map, 2, -1), 0);
	assert_int_equal(releases(&c), 1);
	assert_int_equal(generation_of(map), 3);
	snap = mslot_enter(map);
	assert_non_null(mslot_find_id(snap, (struct mslot_key){0, 50}));
	mslot_leave(snap);
	assert_int_equal(mslot_map_destroy(map), 0);
}

static int answers[3];

static void wait_inside_release(struct counted *c)
{
	answers[0] = mslot_wait(c->map, 0, -1);
	answers[1] = mslot_wait(c->map, 0, 0);
	answers[2] = mslot_map_destroy(c->map);
}

static void release_may_not_wait_or_destroy(void **state)
{
	struct mslot_map *map = make_map(NULL);
	struct counted c;

	(void)state;
	counted_init(&c, HVA);
	c.map = map;
	c.inside = wait_inside_release;
	put_slot(map, def_of(1, 0, 8, c.region, 0));
	mslot_region_put(c.region);
	drop_slot(map, 1);
	assert_int_equal(mslot_wait(map, 2, -1), 0);
	assert_int_equal(releases(&c), 1);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(answers[i], -EDEADLK);
	expect_slots(map, NULL, 0);
	assert_int_equal(mslot_map_destroy(map), 0);
}

/* ---- The limit of retired memory ---------------------------------------- */

#define LIMIT 65536u
#define MANY_COMMITS 200000u

static int toggle(struct mslot_map *map, struct mslot_commit_result *result)
{
	struct mslot_txn *txn = begin(map);
	uint32_t flags = generation_of(map) % 2 ? MSLOT_READONLY : 0;

	assert_int_equal(mslot_txn_set_flags(txn, (struct mslot_key){0, 1}, flags), 0);
	return finish(txn, result);
}

static struct mslot_map *limited_map(void)
{
	struct mslot_map_options opt = {.retired_limit_bytes = LIMIT};
	struct mslot_map *map = make_map(&opt);
	struct mslot_region *region = make_region(HVA, REGION_PAGES);

	put_slot(map, def_of(1, 0, 8, region, 0));
	mslot_region_put(region);
	return map;
}

static void at_the_limit_a_section_gets_an_error_and_outside_it_goes_on(void **state)
{
	struct mslot_map *map = limited_map();
	const struct mslot_snapshot *snap = mslot_enter(map);
	struct mslot_commit_result result;
	struct mslot_map_stats stats;
	unsigned int n = 0;
	int rc;

	(void)state;
	do {
		rc = toggle(map, &result);
		n++;
	} while (rc == 0 && n < MANY_COMMITS);
	assert_int_equal(rc, -EDEADLK);
	assert_int_equal(result.failed_edit, MSLOT_NO_EDIT);
	assert_int_equal(result.generation, n);
	assert_int_equal(generation_of(map), n);
	assert_int_equal(mslot_snapshot_generation(snap), 1);
	assert_int_equal(mslot_map_stats_get(map, &stats), 0);
	assert_true(stats.retired_bytes >= LIMIT);
	assert_true(stats.retired_bytes < 2 * LIMIT);
	/* An -EDEADLK is no state: it stays so until the section ends. */
	assert_int_equal(toggle(map, &result), -EDEADLK);
	mslot_leave(snap);
	assert_int_equal(toggle(map, &result), 0);
	assert_int_equal(result.generation, n + 1);
	assert_int_equal(mslot_map_destroy(map), 0);
}

static void retired_memory_stays_bounded(void **state)
{
	struct mslot_map *map = limited_map();
	struct mslot_map_stats stats;

	(void)state;
	for (unsigned int i = 0; i < 20000; i++) {
		assert_int_equal(toggle(map, NULL), 0);
		if (i % 64)
			continue;
		assert_int_equal(mslot_map_stats_get(map, &stats), 0);
		assert_true(stats.retired_bytes < 2 * LIMIT);
	}
	assert_int_equal(mslot_wait(map, generation_of(map), -1), 0);
	assert_int_equal(mslot_map_stats_get(map, &stats), 0);
	assert_int_equal(stats.retired_bytes, 0);
	assert_int_equal(mslot_map_destroy(map), 0);
}

struct reader {
	struct mslot_map *map;
	pthread_barrier_t entered;
	atomic_bool saw_old; /* the section's map was still there when it was left */
};

/* Stay in a section until the writer waits for it to end. */
static void *read_until_waited_for(void *arg)
{
	struct reader *r = arg;
	const struct mslot_snapshot *snap = mslot_enter(r->map);
	struct mslot_map_stats stats = {0};

	(void)pthread_barrier_wait(&r->entered);
	while (stats.grace_waits == 0) {
		if (mslot_map_stats_get(r->map, &stats))
			break;
		(void)sched_yield();
	}
	atomic_store(&r->saw_old,
		     mslot_snapshot_generation(snap) == 1 && mslot_find(snap, 0, PAGES(7)) != NULL);
	mslot_leave(snap);
	return NULL;
}

static void at_the_limit_a_commit_waits_for_the_reader(void **state)
{
	struct reader r = {.map = limited_map()};
	struct mslot_map_stats stats = {0};
	unsigned int n = 0;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_barrier_init(&r.entered, NULL, 2), 0);
	assert_int_equal(pthread_create(&thread, NULL, read_until_waited_for, &r), 0);
	(void)pthread_barrier_wait(&r.entered);
	while (stats.grace_waits == 0 && n++ < MANY_COMMITS) {
		assert_int_equal(toggle(r.map, NULL), 0);
		assert_int_equal(mslot_map_stats_get(r.map, &stats), 0);
		assert_true(stats.retired_bytes < 2 * LIMIT);
	}
	assert_true(stats.grace_waits > 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(atomic_load(&r.saw_old));
	assert_int_equal(pthread_barrier_destroy(&r.entered), 0);
	assert_int_equal(mslot_map_destroy(r.map), 0);
}

/* ---- A reader in another thread ------------------------------------------ */

struct stay {
	struct mslot_map *map;
	pthread_barrier_t step;
	bool found_before, found_after;
};

static void *stay_in_section(void *arg)
{
	struct stay *s = arg;
	const struct mslot_snapshot *snap = mslot_enter(s->map);

	s->found_before = mslot_find(snap, 0, 0) != NULL;
	(void)pthread_barrier_wait(&s->step); /* 1: entered */
	(void)pthread_barrier_wait(&s->step); /* 2: deleted, and the wait timed out */
	s->found_after = mslot_find(snap, 0, 0) != NULL;
	mslot_leave(snap);
	return NULL;
}

static void wait_waits_for_a_section_of_another_thread(void **state)
{
	struct stay s = {.map = make_map(NULL)};
	pthread_t thread;
	struct counted c;

	(void)state;
	counted_init(&c, HVA);
	put_slot(s.map, def_of(1, 0, 8, c.region, 0));
	mslot_region_put(c.region);
	assert_int_equal(pthread_barrier_init(&s.step, NULL, 2), 0);
	assert_int_equal(pthread_create(&thread, NULL, stay_in_section, &s), 0);
	(void)pthread_barrier_wait(&s.step);
	drop_slot(s.map, 1);
	assert_int_equal(mslot_wait(s.map, 2, 0), -ETIMEDOUT);
	assert_int_equal(mslot_wait(s.map, 2, 2000000), -ETIMEDOUT);
	assert_int_equal(releases(&c), 0);
	(void)pthread_barrier_wait(&s.step);
	assert_int_equal(mslot_wait(s.map, 2, -1), 0);
	assert_int_equal(releases(&c), 1);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(s.found_before && s.found_after);
	assert_int_equal(pthread_barrier_destroy(&s.step), 0);
	assert_int_equal(mslot_map_destroy(s.map), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(region_lengths_are_checked),
	    cmocka_unit_test(region_options_are_given_back),
	    cmocka_unit_test(release_runs_once_whether_put_before_or_after_delete),
	    cmocka_unit_test(a_transaction_keeps_its_region),
	    cmocka_unit_test(a_transaction_keeps_each_of_its_regions),
	    cmocka_unit_test(a_region_of_two_maps_lives_as_long_as_both),
	    cmocka_unit_test(destroy_releases_what_only_the_map_reached),
	    cmocka_unit_test(wait_looks_times_out_and_waits_for_holds),
	    cmocka_unit_test(a_young_hold_does_not_pin_what_died_before),
	    cmocka_unit_test(waiting_inside_a_section_is_refused),
	    cmocka_unit_test(release_may_commit_and_make_regions),
	    cmocka_unit_test(release_may_not_wait_or_destroy),
	    cmocka_unit_test(at_the_limit_a_section_gets_an_error_and_outside_it_goes_on),
	    cmocka_unit_test(retired_memory_stays_bounded),
	    cmocka_unit_test(at_the_limit_a_commit_waits_for_the_reader),
	    cmocka_unit_test(wait_waits_for_a_section_of_another_thread),
	};

	return cmocka_run_group_tests_name("region_wait", tests, NULL, NULL);
}
