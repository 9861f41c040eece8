/* SPDX-License-Identifier: MIT */
/*
 * test_listener.c - listeners: order, veto, replay, and what a callback may do.
 */
#include "map_fixture.h"

#define LISTENERS 3

/* What happened, one letter and digit a callback: "p0p1c0c1". */
struct fixture {
	struct mslot_map *map;
	struct mslot_region *region;
	struct listener {
		struct fixture *f;
		int index;
		int answer; /* of prepare() */
		size_t nsegs;
		struct mslot_listener *handle;
	} listeners[LISTENERS];
	size_t n;
	char log[64];
	void (*inside)(struct fixture *f, const struct mslot_diff *diff, char which);
	unsigned int calls; /* of inside() */
};

static void note(struct listener *l, char which, const struct mslot_diff *diff)
{
	size_t len = strlen(l->f->log);

	assert_true(len + 2 < sizeof(l->f->log));
	l->f->log[len] = which;
	l->f->log[len + 1] = (char)('0' + l->index);
	l->f->log[len + 2] = '\0';
	l->nsegs = diff->nsegs;
	if (l->f->inside) {
		l->f->calls++;
		l->f->inside(l->f, diff, which);
	}
}

static int on_prepare(void *ctx, const struct mslot_diff *diff)
{
	struct listener *l = ctx;

	note(l, 'p', diff);
	return l->answer;
}

static void on_abort(void *ctx, const struct mslot_diff *diff)
{
	note(ctx, 'a', diff);
}

static void on_commit(void *ctx, const struct mslot_diff *diff)
{
	note(ctx, 'c', diff);
}

static const struct mslot_listener_ops all_ops = {on_prepare, on_abort, on_commit};

static int add(struct fixture *f, const struct mslot_listener_ops *ops, uint32_t flags)
{
	struct listener *l = &f->listeners[f->n];
	int rc;

	l->f = f;
	l->index = (int)f->n;
	rc = mslot_listener_add(f->map, ops, l, flags, &l->handle);
	f->n += rc == 0;
	return rc;
}

static int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	f.map = make_map(NULL);
	f.region = make_region(HVA, REGION_PAGES);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < f->n; i++)
		assert_int_equal(mslot_listener_remove(f->listeners[i].handle), 0);
	assert_int_equal(mslot_map_destroy(f->map), 0);
	mslot_region_put(f->region);
	return 0;
}

static void expect_log(struct fixture *f, const char *want)
{
	assert_string_equal(f->log, want);
	f->log[0] = '\0';
}

static int create(struct fixture *f, uint32_t id, struct mslot_commit_result *result)
{
	struct mslot_edit edit =
	    edit_of(MSLOT_EDIT_CREATE, def_of(id, id * 4, 2, f->region, id * 2));

	return commit_edits(f->map, &edit, 1, result);
}

static void listeners_are_asked_in_order_and_only_when_something_changes(void **state)
{
	struct fixture *f = *state;
	struct mslot_commit_options dry = {.flags = MSLOT_COMMIT_DRY_RUN};
	struct mslot_slot_def def = def_of(9, 100, 1, f->region, 0);
	struct mslot_txn *txn;

	for (int i = 0; i < LISTENERS; i++)
		assert_int_equal(add(f, &all_ops, 0), 0);
	expect_log(f, "");
	assert_int_equal(create(f, 1, NULL), 0);
	expect_log(f, "p0p1p2c0c1c2");
	assert_int_equal(f->listeners[2].nsegs, 1);
	/* Refused, empty and dry transactions bother nobody. */
	assert_int_equal(create(f, 1, NULL), -EINVAL);
	assert_int_equal(commit_edits(f->map, NULL, 0, NULL), 0);
	txn = begin(f->map);
	assert_int_equal(mslot_txn_create(txn, &def), 0);
	assert_int_equal(mslot_txn_commit(txn, &dry, NULL), 0);
	mslot_txn_abort(txn);
	expect_log(f, "");
	/* No callbacks after removal. */
	assert_int_equal(mslot_listener_remove(f->listeners[1].handle), 0);
	f->listeners[1] = f->listeners[2];
	f->n--;
	drop_slot(f->map, 1);
	expect_log(f, "p0p2c0c2");
	assert_int_equal(mslot_listener_remove(NULL), 0);
}

static void a_veto_aborts_in_reverse_and_changes_nothing(void **state)
{
	static const struct {
		int who, answer, want;
		const char *log;
	} rows[] = {
	    {0, -EIO, -EIO, "p0"},
	    {1, -EPERM, -EPERM, "p0p1a0"},
	    {2, -ENOMEM, -ENOMEM, "p0p1p2a1a0"},
	    {2, -4095, -4095, "p0p1p2a1a0"},
	    {1, 1, -ECANCELED, "p0p1a0"},
	    {2, 12345, -ECANCELED, "p0p1p2a1a0"},
	};
	struct fixture *f = *state;
	struct mslot_slot_def def = def_of(1, 4, 2, f->region, 2);
	struct mslot_commit_result result;

	for (int i = 0; i < LISTENERS; i++)
		assert_int_equal(add(f, &all_ops, 0), 0);
	assert_int_equal(create(f, 1, NULL), 0);
	expect_log(f, "p0p1p2c0c1c2");
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		f->listeners[rows[i].who].answer = rows[i].answer;
		assert_int_equal(create(f, 2, &result), rows[i].want);
		assert_int_equal(result.generation, 1);
		assert_int_equal(result.failed_edit, MSLOT_NO_EDIT);
		assert_true(result.reason[0] != '\0');
		expect_log(f, rows[i].log);
		expect_slots(f->map, &def, 1);
		f->listeners[rows[i].who].answer = 0;
	}
	assert_int_equal(create(f, 2, &result), 0);
	assert_int_equal(result.generation, 2);
}

static void callbacks_that_are_null_are_skipped(void **state)
{
	struct mslot_listener_ops only_commit = {.commit = on_commit};
	struct mslot_listener_ops only_prepare = {.prepare = on_prepare};
	struct mslot_listener_ops nothing = {0};
	struct fixture *f = *state;

	assert_int_equal(add(f, &only_commit, MSLOT_LISTENER_REPLAY), 0);
	assert_int_equal(add(f, &nothing, MSLOT_LISTENER_REPLAY), 0);
	assert_int_equal(add(f, &only_prepare, MSLOT_LISTENER_REPLAY), 0);
	expect_log(f, "c0p2");
	assert_int_equal(create(f, 1, NULL), 0);
	expect_log(f, "p2c0");
	f->listeners[2].answer = -EIO;
	assert_int_equal(create(f, 2, NULL), -EIO);
	expect_log(f, "p2");
}

static void inside_replay(struct fixture *f, const struct mslot_diff *diff, char which)
{
	const struct mslot_snapshot *now = mslot_enter(f->map);

	assert_int_equal(diff->nsegs, 2);
	assert_int_equal(mslot_snapshot_generation(diff->before), 2);
	assert_int_equal(mslot_snapshot_generation(diff->after), 2);
	assert_ptr_equal(diff->after, now);
	assert_int_equal(mslot_snapshot_nslots(diff->before, 0), 0);
	assert_int_equal(mslot_snapshot_npages(diff->before), 0);
	assert_null(mslot_find(diff->before, 0, PAGES(4)));
	for (uint64_t i = 0; i < 2; i++) {
		assert_int_equal(diff->segs[i].kind, MSLOT_DIFF_ADDED);
		assert_int_equal(diff->segs[i].gpa, PAGES(4 + 4 * i));
		assert_int_equal(diff->segs[i].len_bytes, PAGES(2));
		assert_int_equal(diff->segs[i].moved, 0);
		assert_null(diff->segs[i].before);
		assert_ptr_equal(diff->segs[i].after, mslot_find(now, 0, diff->segs[i].gpa));
	}
	assert_true(which == 'p' || which == 'c');
	mslot_leave(now);
}

static void a_replay_starts_from_an_empty_map(void **state)
{
	struct mslot_map_stats stats;
	struct fixture *f = *state;

	assert_int_equal(add(f, &all_ops, MSLOT_LISTENER_REPLAY), 0);
	expect_log(f, "p0c0");
	assert_int_equal(f->listeners[0].nsegs, 0);
	assert_int_equal(create(f, 1, NULL), 0);
	assert_int_equal(create(f, 2, NULL), 0);
	f->log[0] = '\0';
	f->inside = inside_replay;
	assert_int_equal(add(f, &all_ops, MSLOT_LISTENER_REPLAY), 0);
	f->inside = NULL;
	assert_int_equal(f->calls, 2);
	expect_log(f, "p1c1");
	/* A veto during the replay refuses the listener. */
	f->listeners[2].answer = -EIO;
	assert_int_equal(add(f, &all_ops, MSLOT_LISTENER_REPLAY), -EIO);
	expect_log(f, "p2");
	f->listeners[2].answer = 77;
	assert_int_equal(add(f, &all_ops, MSLOT_LISTENER_REPLAY), -ECANCELED);
	expect_log(f, "p2");
	assert_int_equal(mslot_map_stats_get(f->map, &stats), 0);
	assert_int_equal(stats.listeners, 2);
	assert_int_equal(create(f, 3, NULL), 0);
	expect_log(f, "p0p1c0c1");
}

static void unknown_flags_are_refused(void **state)
{
	struct mslot_listener *const untouched = (struct mslot_listener *)(uintptr_t)0x1234;
	struct fixture *f = *state;

	for (unsigned int bit = 1; bit < 32; bit++) {
		struct mslot_listener *listener = untouched;

		assert_int_equal(mslot_listener_add(f->map, &all_ops, NULL, 1u << bit, &listener),
				 -EINVAL);
		assert_ptr_equal(listener, untouched);
	}
	assert_int_equal(create(f, 1, NULL), 0);
	expect_log(f, "");
}

/* Every call that writes the map or waits. */
static void inside_forbidden(struct fixture *f, const struct mslot_diff *diff, char which)
{
	struct mslot_listener_ops ops = {0};
	struct mslot_slot_def def = def_of(50, 500, 1, f->region, 0);
	struct mslot_commit_options dry = {.flags = MSLOT_COMMIT_DRY_RUN};
	struct mslot_commit_result result;
	struct mslot_listener *listener;
	struct mslot_map_stats stats;
	struct mslot_txn *txn;

	(void)diff;
	(void)which;
	txn = begin(f->map);
	assert_int_equal(mslot_txn_create(txn, &def), 0);
	assert_int_equal(mslot_txn_commit(txn, NULL, &result), -EDEADLK);
	assert_int_equal(result.failed_edit, MSLOT_NO_EDIT);
	assert_true(result.reason[0] != '\0');
	assert_int_equal(mslot_txn_commit(txn, &dry, NULL), -EDEADLK);
	mslot_txn_abort(txn);
	assert_int_equal(mslot_listener_add(f->map, &ops, NULL, 0, &listener), -EDEADLK);
	assert_int_equal(mslot_listener_remove(f->listeners[0].handle), -EDEADLK);
	assert_int_equal(mslot_map_stats_get(f->map, &stats), -EDEADLK);
	assert_int_equal(mslot_check_map(f->map, NULL), -EDEADLK);
	assert_int_equal(mslot_wait(f->map, 0, 0), -EDEADLK);
	assert_int_equal(mslot_wait(f->map, 0, -1), -EDEADLK);
	assert_int_equal(mslot_map_destroy(f->map), -EDEADLK);
}

static void writer_calls_from_callbacks_are_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(add(f, &all_ops, 0), 0);
	assert_int_equal(add(f, &all_ops, 0), 0);
	f->inside = inside_forbidden;
	f->listeners[1].answer = -EIO;
	assert_int_equal(create(f, 1, NULL), -EIO);
	expect_log(f, "p0p1a0");
	f->listeners[1].answer = 0;
	assert_int_equal(create(f, 1, NULL), 0);
	expect_log(f, "p0p1c0c1");
	assert_int_equal(add(f, &all_ops, MSLOT_LISTENER_REPLAY), 0);
	assert_int_equal(f->calls, 3 + 4 + 2);
	f->inside = NULL;
	assert_int_equal(generation_of(f->map), 1);
}

static struct mslot_map *second_map;

/* Reading, holding, comparing, collecting edits, regions, and other maps are free. */
static void inside_allowed(struct fixture *f, const struct mslot_diff *diff, char which)
{
	const struct mslot_snapshot *now = mslot_enter(f->map);
	uint64_t generation = mslot_snapshot_generation(now);
	struct mslot_region *region;
	struct mslot_diff *again;
	struct mslot_hold *hold;
	struct mslot_txn *txn;

	assert_int_equal(generation,
			 mslot_snapshot_generation(which == 'c' ? diff->after : diff->before));
	assert_int_equal(mslot_hold(now, "inside", &hold), 0);
	assert_int_equal(mslot_holders(f->map, NULL, 0), 1);
	assert_int_equal(mslot_diff_create(diff->before, diff->after, &again), 0);
	assert_int_equal(again->nsegs, diff->nsegs);
	mslot_diff_destroy(again);
	mslot_leave(now);
	mslot_hold_put(hold);
	region = make_region(OTHER_HVA, 4);
	txn = begin(f->map);
	assert_int_equal(mslot_txn_delete(txn, (struct mslot_key){0, 1}), 0);
	mslot_txn_abort(txn);
	put_slot(second_map, def_of(1, 1, 1, region, 0));
	drop_slot(second_map, 1);
	mslot_region_put(region);
}

static void callbacks_may_read_and_use_other_maps(void **state)
{
	struct fixture *f = *state;

	second_map = make_map(NULL);
	assert_int_equal(add(f, &all_ops, 0), 0);
	f->inside = inside_allowed;
	assert_int_equal(create(f, 1, NULL), 0);
	drop_slot(f->map, 1);
	f->inside = NULL;
	assert_int_equal(f->calls, 4);
	assert_int_equal(generation_of(second_map), 8);
	assert_int_equal(mslot_map_destroy(second_map), 0);
}

static void refused_map_stays_open(struct fixture *f, const struct mslot_diff *diff, char which)
{
	(void)diff;
	if (which == 'p')
		assert_int_equal(mslot_map_destroy(f->map), -EDEADLK);
}

static void destroy_in_a_callback_leaves_the_map_usable(void **state)
{
	struct fixture *f = *state;
	struct mslot_slot_def def = def_of(1, 4, 2, f->region, 2);

	assert_int_equal(add(f, &all_ops, 0), 0);
	f->inside = refused_map_stays_open;
	assert_int_equal(create(f, 1, NULL), 0);
	f->inside = NULL;
	expect_slots(f->map, &def, 1);
	assert_int_equal(mslot_map_destroy(f->map), -EBUSY);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    EACH(listeners_are_asked_in_order_and_only_when_something_changes),
	    EACH(a_veto_aborts_in_reverse_and_changes_nothing),
	    EACH(callbacks_that_are_null_are_skipped),
	    EACH(a_replay_starts_from_an_empty_map),
	    EACH(unknown_flags_are_refused),
	    EACH(writer_calls_from_callbacks_are_refused),
	    EACH(callbacks_may_read_and_use_other_maps),
	    EACH(destroy_in_a_callback_leaves_the_map_usable),
	};

	return cmocka_run_group_tests_name("listener", tests, NULL, NULL);
}
