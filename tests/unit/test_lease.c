/* SPDX-License-Identifier: MIT */
/*
 * test_lease.c - taking leases and putting them, on any thread, and who holds. What waits
 * for them is in test_lease_wait.c.
 */
#include "lease_fixture.h"

#include <pthread.h>
#include <stdio.h>

#include "base/alloc.h"
#include "map/lease.h"

#define READONLY_GFN 24u

/* Frames 8 to 15 and 16 to 23 of two regions, 24 and 25 read-only; nothing before or after. */
static struct mslot_map *make_three(struct mslot_region **a, struct mslot_region **b)
{
	struct mslot_map *map = make_map(NULL);
	struct mslot_slot_def last;

	*a = make_region(HVA, REGION_PAGES);
	*b = make_region(OTHER_HVA, REGION_PAGES);
	put_slot(map, def_of(1, 8, 8, *a, 100));
	put_slot(map, def_of(2, 16, 8, *b, 4));
	last = def_of(3, READONLY_GFN, 2, *a, 0);
	last.flags = MSLOT_READONLY;
	put_slot(map, last);
	return map;
}

static void end_three(struct mslot_map *map, struct mslot_region *a, struct mslot_region *b)
{
	mslot_region_put(a);
	mslot_region_put(b);
	assert_int_equal(mslot_map_destroy(map), 0);
}

/* ---- Taking ------------------------------------------------------------- */

static const struct {
	uint64_t gpa, len;
	enum mslot_access access;
	uint32_t space;
	int want; /* segments, or the error */
} spans[] = {
    {PAGES(8), 0, MSLOT_READ, 0, -EINVAL},
    {PAGES(8), 1, (enum mslot_access)2, 0, -EINVAL},
    {UINT64_MAX, 2, MSLOT_READ, 0, -EOVERFLOW},
    {UINT64_MAX, 0, MSLOT_READ, 0, -EINVAL},
    {UINT64_MAX, 1, MSLOT_READ, 0, -ENOENT},
    {PAGES(8) - 1, 1, MSLOT_READ, 0, -ENOENT},
    {PAGES(8) - 1, 2, MSLOT_READ, 0, -ENOENT},
    {PAGES(26), 1, MSLOT_READ, 0, -ENOENT},
    {PAGES(26) - 1, 2, MSLOT_READ, 0, -ENOENT},
    {PAGES(8), PAGES(18) + 1, MSLOT_READ, 0, -ENOENT},
    {PAGES(8), 1, MSLOT_READ, 1, -ENOENT},
    {PAGES(READONLY_GFN), 1, MSLOT_WRITE, 0, -EACCES},
    {PAGES(8), PAGES(18), MSLOT_WRITE, 0, -EACCES},
    {PAGES(8), PAGES(19), MSLOT_WRITE, 0, -EACCES}, /* before the hole */
    {PAGES(READONLY_GFN), PAGES(2), MSLOT_READ, 0, 1},
    {PAGES(8), 1, MSLOT_READ, 0, 1},
    {PAGES(8), PAGES(8), MSLOT_WRITE, 0, 1},
    {PAGES(16) - 1, 1, MSLOT_WRITE, 0, 1},
    {PAGES(16) - 1, 2, MSLOT_WRITE, 0, 2},
    {PAGES(8) + 17, PAGES(16) - 17, MSLOT_WRITE, 0, 2},
    {PAGES(8), PAGES(16) + 1, MSLOT_READ, 0, 3},
    {PAGES(8), PAGES(18), MSLOT_READ, 0, 3},
};

/* The same errors, in the same order, as mslot_translate(), and the same segments. */
static void a_lease_is_a_translation_that_stays(void **state)
{
	struct mslot_lease *const untouched = (struct mslot_lease *)(uintptr_t)0x1230;
	struct mslot_region *a, *b;
	struct mslot_map *map = make_three(&a, &b);

	(void)state;
	for (size_t i = 0; i < sizeof(spans) / sizeof(*spans); i++) {
		const struct mslot_span span = {spans[i].space, spans[i].access, spans[i].gpa,
						spans[i].len};
		const struct mslot_snapshot *snap = mslot_enter(map);
		struct mslot_lease *lease = untouched;
		const struct iovec *iov;
		struct iovec seg[4];
		size_t n = 77;

		assert_int_equal(mslot_translate(snap, &span, seg, 4), spans[i].want);
		if (mslot_lease_take(snap, &span, NULL, &lease) !=
		    (spans[i].want < 0 ? spans[i].want : 0))
			fail_msg("row %zu", i);
		mslot_leave(snap);
		assert_int_equal(leases_of(map), spans[i].want > 0);
		if (spans[i].want < 0) {
			assert_ptr_equal(lease, untouched);
			continue;
		}
		iov = mslot_lease_iov(lease, &n);
		assert_int_equal(n, spans[i].want);
		assert_ptr_equal(mslot_lease_iov(lease, NULL), iov);
		for (size_t j = 0; j < n; j++) {
			assert_ptr_equal(iov[j].iov_base, seg[j].iov_base);
			assert_int_equal(iov[j].iov_len, seg[j].iov_len);
		}
		mslot_lease_put(lease);
		assert_int_equal(leases_of(map), 0);
	}
	mslot_lease_put(NULL);
	end_three(map, a, b);
}

static int refused_in_prepare = 77;

static int take_in_prepare(void *ctx, const struct mslot_diff *diff)
{
	const struct mslot_span span = span_of(PAGES(8), 1, MSLOT_READ);
	struct mslot_lease *lease;

	(void)ctx;
	refused_in_prepare = mslot_lease_take(diff->after, &span, NULL, &lease);
	return 0;
}

static void a_snapshot_that_may_never_be_is_refused(void **state)
{
	static const struct mslot_listener_ops ops = {.prepare = take_in_prepare};
	struct mslot_listener *listener;
	struct mslot_region *a, *b;
	struct mslot_map *map = make_three(&a, &b);

	(void)state;
	assert_int_equal(mslot_listener_add(map, &ops, NULL, 0, &listener), 0);
	drop_slot(map, 3);
	assert_int_equal(refused_in_prepare, -EINVAL);
	assert_int_equal(mslot_listener_remove(listener), 0);
	end_three(map, a, b);
}

static void a_held_snapshot_serves_as_well(void **state)
{
	struct mslot_region *a, *b;
	struct mslot_map *map = make_three(&a, &b);
	struct mslot_hold *hold = hold_now(map, "old");
	const struct mslot_span span = span_of(PAGES(8), PAGES(16), MSLOT_WRITE);
	struct mslot_lease_holder holder;
	struct mslot_lease *lease;
	size_t n;

	(void)state;
	drop_slot(map, 1);
	assert_int_equal(mslot_lease_take(mslot_hold_snapshot(hold), &span, "late", &lease), 0);
	mslot_hold_put(hold);
	assert_int_equal(mslot_wait(map, 4, 0), -ETIMEDOUT);
	assert_int_equal((uintptr_t)mslot_lease_iov(lease, &n)[0].iov_base, HVA + PAGES(100));
	assert_int_equal(n, 2);
	assert_int_equal(mslot_lease_holders(map, &holder, 1), 1);
	assert_int_equal(holder.generation, 3);
	assert_int_equal(holder.removed, 1);
	mslot_lease_put(lease);
	assert_int_equal(mslot_wait(map, 4, -1), 0);
	end_three(map, a, b);
}

/* More than a block, of one thread, in any order, and again. */
static void many_leases_at_once(void **state)
{
	struct mslot_region *a, *b;
	struct mslot_map *map = make_three(&a, &b);
	struct mslot_lease *lease[200];
	uint64_t live = 0;

	(void)state;
	for (unsigned int round = 0; round < 3; round++) {
		for (size_t i = 0; i < 200; i++)
			lease[i] = lease_now(map, 8, i % 3 ? 1 : 16, "many");
		assert_int_equal(leases_of(map), 200);
		for (size_t i = 0; i < 200; i++)
			mslot_lease_put(lease[i * 77 % 200]);
		assert_int_equal(leases_of(map), 0);
		/* The first round made all the blocks. */
		assert_true(round == 0 || live == alloc_live());
		live = alloc_live();
	}
	end_three(map, a, b);
}

/* ---- Who holds ---------------------------------------------------------- */

static void holders_are_told_oldest_first(void **state)
{
	struct mslot_region *a, *b;
	struct mslot_map *map = make_three(&a, &b), *other = make_map(NULL);
	struct mslot_lease *lease[4], *foreign;
	struct mslot_lease_holder h[6];

	(void)state;
	put_slot(other, def_of(1, 8, 8, a, 0));
	foreign = lease_now(other, 8, 1, "of another map");
	lease[0] = lease_now(map, 8, 8, "0123456789abcdefghijklmnop");
	drop_slot(map, 3);
	lease[1] = lease_now(map, 12, 8, NULL);
	put_slot(map, def_of(5, 30, 1, a, 7));
	lease[2] = lease_now(map, 16, 1, "");
	lease[3] = lease_now(map, 30, 1, "x");
	for (size_t room = 0; room < 6; room++) {
		memset(h, 0x5a, sizeof(h));
		assert_int_equal(mslot_lease_holders(map, room ? h : NULL, room), 4);
		for (size_t i = 0; i < room && i < 4; i++)
			assert_int_equal(h[i].generation, i < 2 ? 3 + i : 5);
		for (size_t i = room < 4 ? room : 4; i < 6; i++)
			assert_int_equal(h[i].generation, UINT64_C(0x5a5a5a5a5a5a5a5a));
	}
	assert_string_equal(h[0].tag, "0123456789abcdefghijklm");
	assert_string_equal(h[1].tag, "");
	assert_int_equal(h[0].span.gpa, PAGES(8));
	assert_int_equal(h[0].span.len_bytes, PAGES(8));
	assert_int_equal(h[0].span.access, MSLOT_WRITE);
	assert_int_equal(h[0].span.space, 0);
	assert_int_equal(h[1].span.gpa, PAGES(12));
	assert_int_equal(h[1].span.len_bytes, PAGES(8));
	assert_true(h[0].age_ns < UINT64_C(60000000000));
	/* The second segment of the second lease goes, later the first one of it. */
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(h[i].removed, 0);
	drop_slot(map, 2);
	assert_int_equal(mslot_lease_holders(map, h, 6), 4);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(h[i].removed,
				 h[i].span.gpa == PAGES(12) || h[i].span.gpa == PAGES(16));
	for (size_t i = 0; i < 4; i++)
		mslot_lease_put(lease[i]);
	assert_int_equal(mslot_lease_holders(map, h, 6), 0);
	mslot_lease_put(foreign);
	assert_int_equal(mslot_map_destroy(other), 0);
	end_three(map, a, b);
}

/* ---- Threads ------------------------------------------------------------ */

struct job {
	struct mslot_map *map;
	struct mslot_lease *lease[100];
	bool put; /* put them, else take them */
};

static void *do_job(void *arg)
{
	struct job *job = arg;

	for (size_t i = 0; i < 100; i++)
		if (job->put)
			mslot_lease_put(job->lease[i]);
		else
			job->lease[i] = lease_now(job->map, 8, i % 2 ? 16 : 1, "job");
	return NULL;
}

static void run(struct job *job, bool put)
{
	pthread_t thread;

	job->put = put;
	assert_int_equal(pthread_create(&thread, NULL, do_job, job), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void leases_outlive_their_thread_and_its_memory_is_adopted(void **state)
{
	struct mslot_region *a, *b;
	struct mslot_map *map;
	struct job job[2];
	uint64_t live, one;

	(void)state;
	lease_thread_drop();
	lease_sweep();
	map = make_three(&a, &b);
	job[0].map = job[1].map = map;
	live = alloc_live();
	/* The thread is gone, its leases are not. */
	run(&job[0], false);
	one = alloc_live();
	assert_true(one > live);
	assert_int_equal(leases_of(map), 100);
	/* Put by a third thread, which does not own them. */
	run(&job[0], true);
	assert_int_equal(leases_of(map), 0);
	lease_sweep();
	assert_int_equal(alloc_live(), live);
	/* A later thread takes its leases from the cache of an earlier one. */
	run(&job[0], false);
	assert_int_equal(alloc_live(), one);
	for (size_t i = 0; i < 99; i++)
		mslot_lease_put(job[0].lease[i]);
	run(&job[1], false);
	/* One iovec less: the last lease of the first job has two segments, like 50 here. */
	assert_int_equal(alloc_live(), one + 1);
	assert_int_equal(leases_of(map), 101);
	mslot_lease_put(job[0].lease[99]);
	run(&job[1], true);
	lease_sweep();
	assert_int_equal(alloc_live(), live);
	end_three(map, a, b);
}

/* What others give back serves the owner again. */
static void records_come_back_from_other_threads(void **state)
{
	struct mslot_region *a, *b;
	struct mslot_map *map = make_three(&a, &b);
	struct job job = {.map = map};
	uint64_t live;

	(void)state;
	do_job(&job);
	run(&job, true);
	live = alloc_live();
	for (unsigned int i = 0; i < 20; i++) {
		job.put = false;
		do_job(&job);
		run(&job, true);
		assert_int_equal(alloc_live(), live);
	}
	end_three(map, a, b);
}

static void a_thread_that_ends_without_leases_leaves_nothing(void **state)
{
	struct mslot_region *a, *b;
	struct mslot_map *map = make_three(&a, &b);
	uint64_t live = alloc_live();
	struct job job = {.map = map};

	(void)state;
	run(&job, false);
	run(&job, true);
	lease_thread_drop();
	lease_sweep();
	assert_true(alloc_live() <= live);
	lease_thread_drop(); /* without a cache */
	end_three(map, a, b);
}

/* ---- The dirty log's view ------------------------------------------------ */

struct seen {
	struct lease_span span[8];
	size_t n;
};

static void see(void *ctx, const struct lease_span *span)
{
	struct seen *seen = ctx;

	assert_true(seen->n < 8);
	seen->span[seen->n++] = *span;
}

static void each_part_of_a_write_lease_is_visited(void **state)
{
	const struct mslot_span read = span_of(PAGES(8), PAGES(8), MSLOT_READ);
	struct mslot_region *a, *b;
	struct mslot_map *map = make_three(&a, &b), *other = make_map(NULL);
	const struct mslot_snapshot *snap = mslot_enter(map);
	struct mslot_lease *lease[3];
	struct seen seen = {.n = 0};
	uint64_t sum = 0;

	(void)state;
	assert_int_equal(mslot_lease_take(snap, &read, NULL, &lease[0]), 0);
	mslot_leave(snap);
	lease_for_each_write(map, see, &seen);
	assert_int_equal(seen.n, 0);
	lease[1] = lease_now(map, 10, 10, "two parts");
	lease_for_each_write(other, see, &seen);
	assert_int_equal(seen.n, 0);
	lease_for_each_write(map, see, &seen);
	assert_int_equal(seen.n, 2);
	for (size_t i = 0; i < 2; i++) {
		const struct lease_span *span = &seen.span[i];

		assert_int_equal(span->generation, 3);
		assert_int_equal(span->hva,
				 span->region == a ? HVA + PAGES(102) : OTHER_HVA + PAGES(4));
		assert_int_equal(span->len_bytes, span->region == a ? PAGES(6) : PAGES(4));
		sum += span->len_bytes;
	}
	assert_int_equal(sum, PAGES(10));
	mslot_lease_put(lease[1]);
	mslot_lease_put(lease[0]);
	assert_int_equal(mslot_map_destroy(other), 0);
	end_three(map, a, b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_lease_is_a_translation_that_stays),
	    cmocka_unit_test(a_snapshot_that_may_never_be_is_refused),
	    cmocka_unit_test(a_held_snapshot_serves_as_well),
	    cmocka_unit_test(many_leases_at_once),
	    cmocka_unit_test(holders_are_told_oldest_first),
	    cmocka_unit_test(leases_outlive_their_thread_and_its_memory_is_adopted),
	    cmocka_unit_test(records_come_back_from_other_threads),
	    cmocka_unit_test(a_thread_that_ends_without_leases_leaves_nothing),
	    cmocka_unit_test(each_part_of_a_write_lease_is_visited),
	};

	return cmocka_run_group_tests_name("lease", tests, NULL, NULL);
}
