/* SPDX-License-Identifier: MIT */
/*
 * test_txn_oom.c - out of memory: the n-th allocation fails, for n = 1, 2, 3 ... until
 * the operation gets through; once that one alone, once it and all that follow.
 */
#include "map_fixture.h"

#include <stdbool.h>

#include "base/alloc.h"

#define SLOTS 40u
#define MAX_ALLOCATIONS 2000u

struct counter {
	unsigned int prepared, aborted, committed;
};

static int on_prepare(void *ctx, const struct mslot_diff *diff)
{
	struct counter *c = ctx;

	(void)diff;
	c->prepared++;
	return 0;
}

static void on_abort(void *ctx, const struct mslot_diff *diff)
{
	struct counter *c = ctx;

	(void)diff;
	c->aborted++;
}

static void on_commit(void *ctx, const struct mslot_diff *diff)
{
	struct counter *c = ctx;

	(void)diff;
	c->committed++;
}

/* A map with SLOTS slots of two pages at every fourth frame, and two listeners. */
struct world {
	struct mslot_map *map;
	struct mslot_region *region, *other;
	struct mslot_listener *listeners[2];
	struct counter counters[2];
	struct mslot_slot_def defs[128];
	size_t ndefs;
};

static void world_init(struct world *w)
{
	static const struct mslot_listener_ops ops = {on_prepare, on_abort, on_commit};
	struct mslot_txn *txn;

	memset(w, 0, sizeof(*w));
	w->map = make_map(NULL);
	w->region = make_region(HVA, REGION_PAGES);
	w->other = make_region(OTHER_HVA, REGION_PAGES);
	txn = begin(w->map);
	for (uint32_t id = 0; id < SLOTS; id++) {
		/* The map shows both regions, so destroying it releases both before it returns. */
		w->defs[id] = def_of(id, id * 4, 2, id ? w->region : w->other, id * 2);
		assert_int_equal(mslot_txn_create(txn, &w->defs[id]), (int)id);
	}
	w->ndefs = SLOTS;
	assert_int_equal(finish(txn, NULL), 0);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(
		    mslot_listener_add(w->map, &ops, &w->counters[i], 0, &w->listeners[i]), 0);
}

static void world_fini(struct world *w)
{
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(mslot_listener_remove(w->listeners[i]), 0);
	mslot_region_put(w->region);
	mslot_region_put(w->other);
	assert_int_equal(mslot_map_destroy(w->map), 0);
}

/* One edit, or 64: moves, deletes, creates, splits, other memory. */
static struct mslot_txn *fill(struct world *w, unsigned int nedits, struct mslot_slot_def *want,
			      size_t *nwant)
{
	struct mslot_txn *txn = begin(w->map);
	size_t n = 0;

	for (uint32_t id = 0; id < SLOTS; id++) {
		struct mslot_slot_def def = w->defs[id];
		struct mslot_part part = {1000 + id, def.gpa + PAGE};

		if (id < nedits && id % 4 == 0) {
			def.gpa += PAGE;
			assert_true(mslot_txn_move(txn, def.key, def.gpa) >= 0);
		} else if (id < nedits && id % 4 == 1) {
			def.region = w->other;
			assert_true(mslot_txn_replace(txn, def.key, w->other, def.offset_bytes) >=
				    0);
		} else if (id < nedits && id % 4 == 2) {
			assert_true(mslot_txn_delete(txn, def.key) >= 0);
			continue;
		} else if (id < nedits) {
			assert_true(mslot_txn_split(txn, def.key, &part, 1) >= 0);
			def.len_bytes = PAGE;
			want[n++] = def;
			def.key.id = part.id;
			def.gpa += PAGE;
			def.offset_bytes += PAGE;
		}
		want[n++] = def;
	}
	for (uint32_t i = SLOTS; i < nedits; i++) {
		want[n] = def_of(500 + i, 1000 + i, 1, w->other, i);
		assert_int_equal(mslot_txn_create(txn, &want[n++]), (int)i);
	}
	*nwant = n;
	return txn;
}

static void expect_untouched(struct world *w, unsigned int asked)
{
	assert_int_equal(generation_of(w->map), 1);
	expect_slots(w->map, w->defs, w->ndefs);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(w->counters[i].prepared, asked);
		assert_int_equal(w->counters[i].aborted, asked);
		assert_int_equal(w->counters[i].committed, 0);
	}
}

/* Returns whether the n-th allocation was still part of the commit. */
static bool commit_failing_at(uint64_t n, bool persistent, unsigned int nedits)
{
	struct mslot_slot_def want[256];
	struct mslot_commit_result result = {0};
	struct mslot_txn *txn;
	struct world w;
	uint64_t attempts;
	size_t nwant;
	int rc;

	world_init(&w);
	txn = fill(&w, nedits, want, &nwant);
	alloc_fail_at(n, persistent);
	rc = mslot_txn_commit(txn, NULL, &result);
	attempts = alloc_attempts();
	alloc_fail_at(0, 0);
	if (rc) {
		assert_int_equal(rc, -ENOMEM);
		assert_int_equal(result.failed_edit, MSLOT_NO_EDIT);
		assert_int_equal(result.generation, 1);
		assert_true(result.reason[0] != '\0');
		expect_untouched(&w, w.counters[0].prepared);
		assert_int_equal(mslot_txn_commit(txn, NULL, &result), 0);
	}
	assert_int_equal(result.generation, 2);
	expect_slots(w.map, want, nwant);
	assert_int_equal(w.counters[0].committed, 1);
	assert_int_equal(w.counters[1].committed, 1);
	world_fini(&w);
	return attempts >= n;
}

/* mslot_map_destroy() has released every region by now, so a count is a count. */
static void walk(unsigned int nedits)
{
	uint64_t live, failures = 0;

	(void)commit_failing_at(MAX_ALLOCATIONS, false, nedits);
	live = alloc_live();
	for (int persistent = 0; persistent < 2; persistent++) {
		uint64_t n = 1;

		while (commit_failing_at(n, persistent, nedits)) {
			assert_int_equal(alloc_live(), live);
			assert_true(++n < MAX_ALLOCATIONS);
			failures++;
		}
		assert_int_equal(alloc_live(), live);
	}
	/* Without a failure this would have tested nothing. */
	assert_true(failures >= 2);
}

static void commit_of_one_edit_survives_every_failing_allocation(void **state)
{
	(void)state;
	walk(1);
}

static void commit_of_64_edits_survives_every_failing_allocation(void **state)
{
	(void)state;
	walk(64);
}

/* ---- The other functions that allocate ---------------------------------- */

static int try_map(struct world *w)
{
	struct mslot_map *map;
	int rc = mslot_map_create(NULL, &map);

	(void)w;
	alloc_fail_at(0, 0);
	return rc ? rc : mslot_map_destroy(map);
}

static int try_region(struct world *w)
{
	struct mslot_region_options opt = {.hva = (void *)PAGE, .len_bytes = 1, .fd = -1};
	struct mslot_region *region;
	struct mslot_slot_def def;
	int rc = mslot_region_create(&opt, &region);

	alloc_fail_at(0, 0);
	if (rc)
		return rc;
	/* A region is freed by the reclaimer, at the latest when a map goes that shows it. */
	mslot_region_put(region);
	def = def_of(900, 9000, 1, w->other, 0);
	put_slot(w->map, def);
	drop_slot(w->map, 900);
	return mslot_wait(w->map, generation_of(w->map), -1);
}

static int try_begin_and_add(struct world *w)
{
	struct mslot_part parts[3] = {{700, PAGE}, {701, 2 * PAGE}, {702, 3 * PAGE}};
	struct mslot_txn *txn;
	int rc = mslot_txn_begin(w->map, &txn);

	for (int i = 0; i < 100 && !rc; i++) {
		/* A failed add leaves the transaction as it was: the index is not used up. */
		rc = mslot_txn_split(txn, (struct mslot_key){0, 1}, parts, 3);
		if (rc < 0) {
			alloc_fail_at(0, 0);
			assert_int_equal(mslot_txn_split(txn, (struct mslot_key){0, 1}, parts, 3),
					 i);
			mslot_txn_abort(txn);
			return rc;
		}
		assert_int_equal(rc, i);
		rc = 0;
	}
	alloc_fail_at(0, 0);
	if (!rc)
		mslot_txn_abort(txn);
	return rc;
}

static int try_hold(struct world *w)
{
	const struct mslot_snapshot *snap = mslot_enter(w->map);
	struct mslot_hold *hold;
	int rc = mslot_hold(snap, "oom", &hold);

	mslot_leave(snap);
	alloc_fail_at(0, 0);
	if (!rc)
		mslot_hold_put(hold);
	else
		assert_int_equal(mslot_holders(w->map, NULL, 0), 0);
	return rc;
}

static int try_replay(struct world *w)
{
	static const struct mslot_listener_ops ops = {on_prepare, on_abort, on_commit};
	struct counter counter = {0};
	struct mslot_listener *listener;
	int rc = mslot_listener_add(w->map, &ops, &counter, MSLOT_LISTENER_REPLAY, &listener);

	alloc_fail_at(0, 0);
	assert_int_equal(counter.prepared, counter.aborted + counter.committed);
	return rc ? rc : mslot_listener_remove(listener);
}

static int try_diff(struct world *w)
{
	struct mslot_hold *hold = hold_now(w->map, "diff");
	const struct mslot_snapshot *now;
	struct mslot_diff *diff;
	int rc;

	drop_slot(w->map, 3);
	now = mslot_enter(w->map);
	alloc_fail_at(1, 0);
	rc = mslot_diff_create(mslot_hold_snapshot(hold), now, &diff);
	alloc_fail_at(0, 0);
	if (!rc) {
		assert_int_equal(diff->nsegs, 1);
		mslot_diff_destroy(diff);
	}
	mslot_leave(now);
	mslot_hold_put(hold);
	put_slot(w->map, w->defs[3]);
	return rc;
}

static void every_other_allocation_may_fail(void **state)
{
	static int (*const tries[])(struct world *) = {try_map, try_region, try_begin_and_add,
						       try_hold, try_replay};
	struct world w;

	(void)state;
	world_init(&w);
	for (size_t i = 0; i < sizeof(tries) / sizeof(*tries); i++) {
		for (int persistent = 0; persistent < 2; persistent++) {
			uint64_t n = 0;
			int rc;

			do {
				alloc_fail_at(++n, persistent);
				rc = tries[i](&w);
				alloc_fail_at(0, 0);
				if (rc && rc != -ENOMEM)
					fail_msg("function %zu, allocation %d: %d", i, (int)n, rc);
				assert_int_equal(mslot_check_map(w.map, NULL), 0);
			} while (rc);
			/* The first allocation at least is one that it needs. */
			assert_true(n > 1);
		}
	}
	expect_slots(w.map, w.defs, w.ndefs);
	world_fini(&w);
}

static void a_diff_without_memory_is_refused(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	assert_int_equal(try_diff(&w), -ENOMEM);
	expect_slots(w.map, w.defs, w.ndefs);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(commit_of_one_edit_survives_every_failing_allocation),
	    cmocka_unit_test(commit_of_64_edits_survives_every_failing_allocation),
	    cmocka_unit_test(every_other_allocation_may_fail),
	    cmocka_unit_test(a_diff_without_memory_is_refused),
	};

	return cmocka_run_group_tests_name("txn_oom", tests, NULL, NULL);
}
