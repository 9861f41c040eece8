/* SPDX-License-Identifier: MIT */
/*
 * test_lease_wait.c - what waits for leases and what does not: mslot_wait() by kind of edit,
 * release, commits with MSLOT_COMMIT_NOWAIT, mslot_map_destroy().
 */
#include "lease_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>

#include "base/perturb.h"
#include "map/lease.h"

#define KEY(n)                                                                                     \
	(struct mslot_key)                                                                         \
	{                                                                                          \
		0, n                                                                               \
	}

/* A map with slot 1 at frames 16 to 31, from page 100 of its region, and slot 2 behind it. */
struct scene {
	struct mslot_map *map;
	struct mslot_region *region, *other;
	_Atomic unsigned int releases, other_releases;
};

static void scene_init(struct scene *s)
{
	s->map = make_map(NULL);
	s->region = make_counted(HVA, &s->releases);
	s->other = make_counted(OTHER_HVA, &s->other_releases);
	put_slot(s->map, def_of(1, 16, 16, s->region, 100));
	put_slot(s->map, def_of(2, 32, 16, s->region, 116));
}

static void scene_fini(struct scene *s)
{
	mslot_region_put(s->region);
	mslot_region_put(s->other);
	assert_int_equal(mslot_map_destroy(s->map), 0);
	assert_int_equal(s->releases, 1);
	assert_int_equal(s->other_releases, 1);
}

/* ---- Edits --------------------------------------------------------------- */

static void split(struct scene *s, struct mslot_txn *txn)
{
	const struct mslot_part part[] = {{10, PAGES(18)}, {11, PAGES(21)}};

	(void)s;
	assert_int_equal(mslot_txn_split(txn, KEY(1), part, 2), 0);
}

static void merge(struct scene *s, struct mslot_txn *txn)
{
	const struct mslot_part part = {1, 0};

	(void)s;
	assert_int_equal(mslot_txn_merge(txn, KEY(2), &part, 1), 0);
}

static void set_flags(struct scene *s, struct mslot_txn *txn)
{
	(void)s;
	assert_int_equal(mslot_txn_set_flags(txn, KEY(1), MSLOT_READONLY | MSLOT_LOG_DIRTY), 0);
}

static void move(struct scene *s, struct mslot_txn *txn)
{
	(void)s;
	assert_int_equal(mslot_txn_move(txn, KEY(1), PAGES(200)), 0);
}

static void move_by_a_page(struct scene *s, struct mslot_txn *txn)
{
	(void)s;
	assert_int_equal(mslot_txn_move(txn, KEY(1), PAGES(15)), 0);
}

static void resize(struct mslot_txn *txn, uint64_t gfn, uint64_t npages)
{
	const struct mslot_range range = {PAGES(gfn), PAGES(npages)};

	assert_int_equal(mslot_txn_resize(txn, KEY(1), range), 0);
}

static void grow(struct scene *s, struct mslot_txn *txn)
{
	(void)s;
	resize(txn, 10, 22);
}

/* The lease is on frames 20 to 23. */
static void shrink_beside_it(struct scene *s, struct mslot_txn *txn)
{
	(void)s;
	resize(txn, 20, 4);
}

static void shrink_from_its_front(struct scene *s, struct mslot_txn *txn)
{
	(void)s;
	resize(txn, 21, 11);
}

static void shrink_from_its_end(struct scene *s, struct mslot_txn *txn)
{
	(void)s;
	resize(txn, 16, 7);
}

static void replace(struct scene *s, struct mslot_txn *txn)
{
	assert_int_equal(mslot_txn_replace(txn, KEY(1), s->other, PAGES(100)), 0);
}

static void replace_by_other_pages(struct scene *s, struct mslot_txn *txn)
{
	assert_int_equal(mslot_txn_replace(txn, KEY(1), s->region, PAGES(101)), 0);
}

static void delete (struct scene *s, struct mslot_txn *txn)
{
	(void)s;
	assert_int_equal(mslot_txn_delete(txn, KEY(1)), 0);
}

static void delete_another(struct scene *s, struct mslot_txn *txn)
{
	(void)s;
	assert_int_equal(mslot_txn_delete(txn, KEY(2)), 0);
}

static void rename_it(struct scene *s, struct mslot_txn *txn)
{
	const struct mslot_slot_def def = def_of(7, 16, 16, s->region, 100);

	delete (s, txn);
	assert_int_equal(mslot_txn_create(txn, &def), 1);
}

/* The same frames, half of them by a slot of other pages. */
static void rebuild_half(struct scene *s, struct mslot_txn *txn)
{
	const struct mslot_slot_def def[] = {def_of(7, 16, 6, s->region, 100),
					     def_of(8, 22, 10, s->other, 106)};

	delete (s, txn);
	assert_int_equal(mslot_txn_create(txn, &def[0]), 1);
	assert_int_equal(mslot_txn_create(txn, &def[1]), 2);
}

static const struct {
	const char *name;
	void (*edit)(struct scene *s, struct mslot_txn *txn);
	bool waits;
} edits[] = {
    {"split", split, false},
    {"merge", merge, false},
    {"flags", set_flags, false},
    {"move", move, true},
    {"move by a page", move_by_a_page, true},
    {"grow", grow, false},
    {"shrink beside it", shrink_beside_it, false},
    {"shrink from its front", shrink_from_its_front, true},
    {"shrink from its end", shrink_from_its_end, true},
    {"replace", replace, true},
    {"replace by other pages", replace_by_other_pages, true},
    {"delete", delete, true},
    {"delete another", delete_another, false},
    {"rename", rename_it, false},
    {"rebuild half", rebuild_half, true},
};

static int commit_nowait(struct mslot_txn *txn, struct mslot_commit_result *result)
{
	const struct mslot_commit_options opt = {.flags = MSLOT_COMMIT_NOWAIT};

	return mslot_txn_commit(txn, &opt, result);
}

static uint32_t first_removed(struct mslot_map *map)
{
	struct mslot_lease_holder holder;

	assert_int_equal(mslot_lease_holders(map, &holder, 1), 1);
	assert_string_equal(holder.tag, "blocker");
	return holder.removed;
}

static void an_edit_is_waited_for_if_it_takes_memory_away(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(edits) / sizeof(*edits); i++) {
		struct mslot_lease *lease;
		struct mslot_txn *txn;
		struct scene s;

		scene_init(&s);
		lease = lease_now(s.map, 20, 4, "blocker");
		txn = begin(s.map);
		edits[i].edit(&s, txn);
		assert_int_equal(finish(txn, NULL), 0);
		if (mslot_wait(s.map, 3, edits[i].waits ? 2000000 : -1) !=
		    (edits[i].waits ? -ETIMEDOUT : 0))
			fail_msg("%s", edits[i].name);
		assert_int_equal(mslot_wait(s.map, 3, 0), edits[i].waits ? -ETIMEDOUT : 0);
		/* What an earlier commit removed is nothing to this lease. */
		assert_int_equal(mslot_wait(s.map, 2, -1), 0);
		assert_int_equal(first_removed(s.map), edits[i].waits);
		assert_int_equal((uintptr_t)mslot_lease_iov(lease, NULL)->iov_base,
				 HVA + PAGES(104));
		mslot_lease_put(lease);
		assert_int_equal(mslot_wait(s.map, 3, -1), 0);
		scene_fini(&s);
	}
}

static void with_nowait_it_is_refused_instead(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(edits) / sizeof(*edits); i++) {
		struct mslot_commit_result result = {.failed_edit = 77};
		struct mslot_lease *lease;
		struct mslot_txn *txn;
		struct scene s;

		scene_init(&s);
		lease = lease_now(s.map, 20, 4, "blocker");
		txn = begin(s.map);
		edits[i].edit(&s, txn);
		if (commit_nowait(txn, &result) != (edits[i].waits ? -EBUSY : 0))
			fail_msg("%s", edits[i].name);
		assert_int_equal(result.generation, edits[i].waits ? 2 : 3);
		assert_int_equal(generation_of(s.map), result.generation);
		assert_int_equal(result.failed_edit, MSLOT_NO_EDIT);
		mslot_lease_put(lease);
		if (edits[i].waits) {
			assert_true(result.reason[0] != '\0');
			assert_int_equal(commit_nowait(txn, &result), 0);
		}
		assert_int_equal(mslot_wait(s.map, 3, -1), 0);
		assert_int_equal(mslot_check_map(s.map, NULL), 0);
		scene_fini(&s);
	}
}

/* A lease of which a page is gone still holds the others. */
static void with_nowait_every_page_counts_for_itself(void **state)
{
	const struct mslot_commit_options exclusive = {.flags = MSLOT_COMMIT_EXCLUSIVE};
	struct mslot_lease *lease;
	struct mslot_txn *txn;
	struct scene s;

	(void)state;
	scene_init(&s);
	lease = lease_now(s.map, 20, 4, "blocker");
	/* Frames 20 and 21 go; 24 to 31, which nobody leased; then 22 alone. */
	txn = begin(s.map);
	resize(txn, 22, 10);
	assert_int_equal(finish(txn, NULL), 0);
	txn = begin(s.map);
	resize(txn, 22, 2);
	assert_int_equal(commit_nowait(txn, NULL), 0);
	txn = begin(s.map);
	resize(txn, 23, 1);
	assert_int_equal(commit_nowait(txn, NULL), -EBUSY);
	assert_int_equal(mslot_txn_commit(txn, &exclusive, NULL), -EBUSY);
	/* Other memory in all places: what goes then is not the lease's. */
	mslot_txn_abort(txn);
	txn = begin(s.map);
	replace(&s, txn);
	assert_int_equal(finish(txn, NULL), 0);
	txn = begin(s.map);
	delete (&s, txn);
	assert_int_equal(commit_nowait(txn, NULL), 0);
	mslot_lease_put(lease);
	scene_fini(&s);
}

static int vetoes;

static int veto(void *ctx, const struct mslot_diff *diff)
{
	(void)ctx;
	(void)diff;
	vetoes++;
	return -EPERM;
}

/* After gpa_limit, before listeners; a lease already broken, or of another map, is nothing. */
static void nowait_has_its_place_among_the_checks(void **state)
{
	static const struct mslot_listener_ops ops = {.prepare = veto};
	struct mslot_listener *listener;
	struct mslot_commit_options dry = {.flags = MSLOT_COMMIT_NOWAIT | MSLOT_COMMIT_DRY_RUN};
	struct mslot_slot_def beyond;
	struct mslot_lease *lease, *foreign;
	struct mslot_map *other = make_map(NULL);
	struct mslot_txn *txn;
	struct scene s;

	(void)state;
	scene_init(&s);
	put_slot(other, def_of(2, 32, 16, s.region, 116));
	lease = lease_now(s.map, 20, 4, "blocker");
	foreign = lease_now(other, 32, 4, "foreign");
	txn = begin(s.map);
	delete (&s, txn);
	beyond = def_of(9, UINT64_C(1) << 40, 1, s.other, 0);
	assert_int_equal(mslot_txn_create(txn, &beyond), 1);
	assert_int_equal(commit_nowait(txn, NULL), -EINVAL);
	mslot_txn_abort(txn);
	assert_int_equal(mslot_listener_add(s.map, &ops, NULL, 0, &listener), 0);
	txn = begin(s.map);
	delete (&s, txn);
	assert_int_equal(commit_nowait(txn, NULL), -EBUSY);
	assert_int_equal(vetoes, 0);
	assert_int_equal(mslot_txn_commit(txn, &dry, NULL), 0);
	assert_int_equal(mslot_txn_commit(txn, NULL, NULL), -EPERM);
	assert_int_equal(vetoes, 1);
	assert_int_equal(mslot_listener_remove(listener), 0);
	assert_int_equal(finish(txn, NULL), 0);
	txn = begin(s.map);
	delete_another(&s, txn);
	assert_int_equal(commit_nowait(txn, NULL), 0);
	mslot_lease_put(lease);
	mslot_lease_put(foreign);
	assert_int_equal(mslot_map_destroy(other), 0);
	scene_fini(&s);
}

/* ---- Release ------------------------------------------------------------- */

static void release_waits_for_the_put(void **state)
{
	(void)state;
	for (unsigned int round = 0; round < 100; round++) {
		struct mslot_map *map = make_map(NULL);
		_Atomic unsigned int releases;
		struct mslot_region *region = make_counted(HVA, &releases);
		struct mslot_lease *lease[2];

		put_slot(map, def_of(1, 16, 8, region, 0));
		put_slot(map, def_of(2, 24, 8, region, 20));
		mslot_region_put(region);
		lease[0] = lease_now(map, 16, 1, "first");
		lease[1] = lease_now(map, 20, 8, "second");
		drop_slot(map, 1);
		drop_slot(map, 2);
		assert_int_equal(mslot_wait(map, 4, round % 3 ? 0 : 1000000), -ETIMEDOUT);
		assert_int_equal(releases, 0);
		mslot_lease_put(lease[round % 2]);
		assert_int_equal(mslot_wait(map, 4, 0), -ETIMEDOUT);
		assert_int_equal(releases, 0);
		mslot_lease_put(lease[!(round % 2)]);
		assert_int_equal(mslot_wait(map, 4, -1), 0);
		assert_int_equal(releases, 1);
		assert_int_equal(mslot_map_destroy(map), 0);
		assert_int_equal(releases, 1);
	}
}

static void a_lease_that_was_put_delays_nothing(void **state)
{
	struct scene s;

	(void)state;
	scene_init(&s);
	mslot_lease_put(lease_now(s.map, 16, 32, "gone"));
	drop_slot(s.map, 1);
	assert_int_equal(mslot_wait(s.map, 3, -1), 0);
	scene_fini(&s);
}

/* Its struct may not be used again while a record names it. */
static void a_region_without_callback_is_kept_as_well(void **state)
{
	struct mslot_map *map = make_map(NULL);
	struct mslot_region *region = make_region(HVA, 8), *fresh;
	struct mslot_lease_holder holder;
	struct mslot_lease *lease;

	(void)state;
	put_slot(map, def_of(1, 16, 8, region, 0));
	mslot_region_put(region);
	lease = lease_now(map, 16, 1, "no callback");
	drop_slot(map, 1);
	assert_int_equal(mslot_wait(map, 2, 1000000), -ETIMEDOUT);
	for (unsigned int i = 0; i < 64; i++) {
		fresh = make_region(HVA, 8);
		assert_ptr_not_equal(fresh, region);
		put_slot(map, def_of(1, 16, 8, fresh, 0));
		assert_int_equal(mslot_lease_holders(map, &holder, 1), 1);
		assert_int_equal(holder.removed, 1);
		drop_slot(map, 1);
		mslot_region_put(fresh);
	}
	mslot_lease_put(lease);
	assert_int_equal(mslot_wait(map, generation_of(map), -1), 0);
	assert_int_equal(mslot_map_destroy(map), 0);
}

static void one_map_does_not_wait_for_leases_of_another(void **state)
{
	struct mslot_map *map[2];
	_Atomic unsigned int releases;
	struct mslot_region *region = make_counted(HVA, &releases);
	struct mslot_lease *lease;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		map[i] = make_map(NULL);
		put_slot(map[i], def_of(1, 16, 8, region, 0));
	}
	mslot_region_put(region);
	lease = lease_now(map[1], 16, 8, "of the second");
	drop_slot(map[0], 1);
	assert_int_equal(mslot_wait(map[0], 2, -1), 0);
	drop_slot(map[1], 1);
	assert_int_equal(mslot_wait(map[1], 2, 0), -ETIMEDOUT);
	assert_int_equal(mslot_wait(map[0], 2, 0), 0);
	assert_int_equal(releases, 0);
	assert_int_equal(mslot_map_destroy(map[1]), -EBUSY);
	assert_int_equal(mslot_map_destroy(map[0]), 0);
	assert_int_equal(releases, 0);
	mslot_lease_put(lease);
	assert_int_equal(mslot_map_destroy(map[1]), 0);
	assert_int_equal(releases, 1);
}

static void destroy_is_refused_while_a_lease_exists(void **state)
{
	struct mslot_map *map = make_map(NULL);
	_Atomic unsigned int releases;
	struct mslot_region *region = make_counted(HVA, &releases);
	struct mslot_slot_def def = def_of(1, 16, 8, region, 0);
	struct mslot_lease *lease;

	(void)state;
	put_slot(map, def);
	lease = lease_now(map, 16, 8, "still here");
	assert_int_equal(mslot_map_destroy(map), -EBUSY);
	expect_slots(map, &def, 1);
	mslot_region_put(region);
	mslot_lease_put(lease);
	assert_int_equal(releases, 0);
	assert_int_equal(mslot_map_destroy(map), 0);
	assert_int_equal(releases, 1);
}

/* ---- Another thread puts ------------------------------------------------- */

struct putter {
	struct mslot_map *map;
	struct mslot_lease *lease;
	_Atomic unsigned int *releases;
};

static atomic_bool looked;

static void note_look(enum perturb_point point)
{
	if (point == PERTURB_WAIT_LOOKED)
		atomic_store(&looked, true);
}

/* As soon as a wait has looked in vain. */
static void *put_later(void *arg)
{
	struct putter *p = arg;

	while (!atomic_load(&looked))
		(void)sched_yield();
	assert_int_equal(*p->releases, 0);
	mslot_lease_put(p->lease);
	return NULL;
}

static void a_wait_sleeps_until_the_put(void **state)
{
	(void)state;
	for (unsigned int round = 0; round < 20; round++) {
		struct mslot_map *map = make_map(NULL);
		_Atomic unsigned int releases;
		struct mslot_region *region = make_counted(HVA, &releases);
		struct mslot_region *other = make_region(OTHER_HVA, 8);
		struct putter p = {.map = map, .releases = &releases};
		pthread_t thread;

		put_slot(map, def_of(1, 16, 8, region, 0));
		mslot_region_put(region);
		/* Of two segments one is watched: the first or the second. */
		put_slot(map, def_of(2, round % 4 < 2 ? 12 : 24, 4, other, 0));
		p.lease = lease_now(map, round % 4 < 2 ? 14 : 20, 6, "later");
		drop_slot(map, 1);
		atomic_store(&looked, false);
		perturb_hook = note_look;
		assert_int_equal(pthread_create(&thread, NULL, put_later, &p), 0);
		assert_int_equal(mslot_wait(map, 3, round % 2 ? -1 : INT64_C(60000000000)), 0);
		assert_int_equal(releases, 1);
		assert_int_equal(pthread_join(thread, NULL), 0);
		perturb_hook = NULL;
		mslot_region_put(other);
		assert_int_equal(mslot_map_destroy(map), 0);
	}
}

/* ---- Between two steps --------------------------------------------------- */

/* Stops a thread at the n-th time that it comes to a window; the test lets it go on. */
static struct {
	enum perturb_point point;
	atomic_int left;
	atomic_bool stopped, go;
} stop;

static void stop_there(enum perturb_point point)
{
	if (point == PERTURB_WAIT_LOOKED || point == PERTURB_WAIT_SETTLED)
		atomic_store(&looked, true);
	if (point != stop.point || atomic_fetch_sub(&stop.left, 1) != 1)
		return;
	atomic_store(&stop.stopped, true);
	while (!atomic_load(&stop.go))
		(void)sched_yield();
}

static void stop_at(enum perturb_point point, int nth)
{
	stop.point = point;
	atomic_store(&stop.left, nth);
	atomic_store(&stop.stopped, false);
	atomic_store(&stop.go, false);
	atomic_store(&looked, false);
	perturb_hook = stop_there;
}

static void await(const atomic_bool *what)
{
	while (!atomic_load(what))
		(void)sched_yield();
}

static void *put_it(void *arg)
{
	mslot_lease_put(arg);
	return NULL;
}

static void *wait_for_it(void *arg)
{
	assert_int_equal(mslot_wait(arg, 2, -1), 0);
	return NULL;
}

/* The put is in its middle while a wait looks: either that sees it, or it is woken. */
static void a_look_in_the_middle_of_a_put(void **state)
{
	struct mslot_map *map = make_map(NULL);
	/* The creator's reference stays: the only scan is the wait's. */
	struct mslot_region *region = make_region(HVA, 8);
	struct mslot_lease *lease;
	pthread_t putter, waiter;

	(void)state;
	put_slot(map, def_of(1, 16, 8, region, 0));
	lease = lease_now(map, 16, 8, "middle");
	drop_slot(map, 1);
	stop_at(PERTURB_LEASE_ENDED, 1);
	assert_int_equal(pthread_create(&putter, NULL, put_it, lease), 0);
	await(&stop.stopped);
	assert_int_equal(pthread_create(&waiter, NULL, wait_for_it, map), 0);
	await(&looked);
	atomic_store(&stop.go, true);
	assert_int_equal(pthread_join(waiter, NULL), 0);
	assert_int_equal(pthread_join(putter, NULL), 0);
	perturb_hook = NULL;
	mslot_region_put(region);
	assert_int_equal(mslot_map_destroy(map), 0);
}

/* The wait has seen the lease and not watched it yet while it is put. */
static void a_put_in_the_middle_of_a_look(void **state)
{
	(void)state;
	for (int nth = 1; nth < 4; nth++) {
		struct mslot_map *map = make_map(NULL);
		struct mslot_region *region = make_region(HVA, 8);
		struct mslot_lease *lease;
		pthread_t waiter;

		put_slot(map, def_of(1, 16, 8, region, 0));
		lease = lease_now(map, 16, 8, "middle");
		drop_slot(map, 1);
		stop_at(PERTURB_LEASE_SEEN, nth);
		assert_int_equal(pthread_create(&waiter, NULL, wait_for_it, map), 0);
		/* The creator's reference is there: the one look is the wait's. */
		while (!atomic_load(&stop.stopped) && !atomic_load(&looked))
			(void)sched_yield();
		mslot_lease_put(lease);
		atomic_store(&stop.go, true);
		assert_int_equal(pthread_join(waiter, NULL), 0);
		perturb_hook = NULL;
		mslot_region_put(region);
		assert_int_equal(mslot_map_destroy(map), 0);
	}
}

/* A record is nobody's until its life has ended: the owner may not have it again before. */
static void a_take_in_the_middle_of_a_put(void **state)
{
	struct mslot_map *map = make_map(NULL);
	struct mslot_region *region = make_region(HVA, 8);
	struct mslot_lease *lease, *more[64];
	pthread_t putter;

	(void)state;
	put_slot(map, def_of(1, 16, 8, region, 0));
	lease = lease_now(map, 16, 8, "middle");
	stop_at(PERTURB_LEASE_ENDED, 1);
	assert_int_equal(pthread_create(&putter, NULL, put_it, lease), 0);
	await(&stop.stopped);
	for (size_t i = 0; i < 64; i++)
		more[i] = lease_now(map, 16, 8, "more");
	atomic_store(&stop.go, true);
	assert_int_equal(pthread_join(putter, NULL), 0);
	perturb_hook = NULL;
	assert_int_equal(leases_of(map), 64);
	for (size_t i = 0; i < 64; i++)
		mslot_lease_put(more[i]);
	assert_int_equal(leases_of(map), 0);
	mslot_region_put(region);
	assert_int_equal(mslot_map_destroy(map), 0);
}

/* The reclaimer alone: nobody waits, and the one scan before the put is of the region. */
static void the_last_put_has_the_region_released(void **state)
{
	struct mslot_map *map = make_map(NULL);
	_Atomic unsigned int releases;
	struct mslot_region *region = make_counted(HVA, &releases);
	struct mslot_lease *lease;

	(void)state;
	put_slot(map, def_of(1, 16, 8, region, 0));
	mslot_region_put(region);
	lease = lease_now(map, 16, 1, "alone");
	stop_at(PERTURB_LEASE_SEEN, 1);
	drop_slot(map, 1);
	await(&stop.stopped);
	atomic_store(&stop.go, true);
	/* Returns when the scan that was stopped is over. */
	lease_rescan();
	assert_int_equal(releases, 0);
	mslot_lease_put(lease);
	/* The test's timeout ends it otherwise. */
	while (!releases)
		(void)sched_yield();
	perturb_hook = NULL;
	assert_int_equal(releases, 1);
	assert_int_equal(mslot_map_destroy(map), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_edit_is_waited_for_if_it_takes_memory_away),
	    cmocka_unit_test(with_nowait_it_is_refused_instead),
	    cmocka_unit_test(with_nowait_every_page_counts_for_itself),
	    cmocka_unit_test(nowait_has_its_place_among_the_checks),
	    cmocka_unit_test(release_waits_for_the_put),
	    cmocka_unit_test(a_lease_that_was_put_delays_nothing),
	    cmocka_unit_test(a_region_without_callback_is_kept_as_well),
	    cmocka_unit_test(one_map_does_not_wait_for_leases_of_another),
	    cmocka_unit_test(destroy_is_refused_while_a_lease_exists),
	    cmocka_unit_test(a_wait_sleeps_until_the_put),
	    cmocka_unit_test(the_last_put_has_the_region_released),
	    cmocka_unit_test(a_look_in_the_middle_of_a_put),
	    cmocka_unit_test(a_put_in_the_middle_of_a_look),
	    cmocka_unit_test(a_take_in_the_middle_of_a_put),
	};

	return cmocka_run_group_tests_name("lease_wait", tests, NULL, NULL);
}
