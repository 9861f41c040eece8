/* SPDX-License-Identifier: MIT */
/*
 * test_mmu_race.c - a fault parked in each of its windows, and what is done meanwhile.
 *
 * A commit, a zap and a fault may all happen inside a section, so that one thread is enough where
 * no guard is held: the hook of the window does what others would do. With a guard held, and for
 * waits, there is a second thread.
 */
#include "mmu_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include <mslot/guest.h>
#include <mslot/kvm.h>

#include "base/perturb.h"
#include "mmu/mmu.h"

#define GFN 9u /* the frame that is faulted */
#define N 64u  /* frames of slot 1, from 0 on: alone in its chunk */

/* ---- Windows ----------------------------------------------------------------- */

static struct {
	enum perturb_point at;
	void (*act)(struct mmu_fixture *f);
	struct mmu_fixture *f;
	_Atomic bool armed;
	unsigned int times;
} window;

static void hook(enum perturb_point point)
{
	if (point != window.at || !atomic_exchange(&window.armed, false))
		return;
	window.times++;
	window.act(window.f);
}

/* The next time that a thread comes to a window, it does something else first. */
static void arm(struct mmu_fixture *f, enum perturb_point at, void (*act)(struct mmu_fixture *f))
{
	window.at = at;
	window.act = act;
	window.f = f;
	window.times = 0;
	atomic_store(&window.armed, true);
	perturb_hook = hook;
}

static void disarm(void)
{
	perturb_hook = NULL;
	assert_int_equal(window.times, 1);
}

/* ---- The world ---------------------------------------------------------------- */

static struct mslot_key key(uint32_t id)
{
	return (struct mslot_key){0, id};
}

static void setup(struct mmu_fixture *f)
{
	mmu_setup(f, 1);
	put_slot(f->map, def_of(1, 0, N, f->region, 0));
	assert_int_equal(mslot_vcpu_root_set(f->vcpu, f->direct), 0);
}

/* What the map has for the frame: its slot, or one of no size. */
static struct mslot_slot_info slot_now(struct mmu_fixture *f)
{
	const struct mslot_snapshot *snap = mslot_enter(f->map);
	const struct mslot_slot *slot = mslot_find(snap, 0, PAGES(GFN));
	struct mslot_slot_info info = {.len_bytes = 0};

	if (slot)
		mslot_slot_info_get(slot, &info);
	mslot_leave(snap);
	return info;
}

/* In its next section nobody uses what is not so any more. */
static void assert_nothing_stale(struct mmu_fixture *f)
{
	struct mslot_slot_info info;
	uint64_t hva, found;
	const void *host;

	mmu_assert_right(f);
	info = slot_now(f);
	hva = info.len_bytes ? info.hva + (PAGES(GFN) - info.gpa) : 0;
	found = found_at(f, f->direct, GFN);
	assert_true(found == 0 || found == hva);
	mmu_enter(f);
	host = mslot_vcpu_hit(f->vcpu, PAGES(GFN), 8, MSLOT_READ);
	assert_true(!host || (uintptr_t)host == hva);
	host = mslot_vcpu_hit(f->vcpu, PAGES(GFN), 8, MSLOT_WRITE);
	assert_true(!host || ((uintptr_t)host == hva && !info.flags));
	/* Without a hook the fault finds what is true now. */
	if (!hva)
		assert_int_equal(fault_at(f, GFN, MSLOT_READ, NULL), -ENOENT);
	else
		assert_int_equal(fault_at(f, GFN, MSLOT_READ, NULL), 0);
	mmu_leave(f);
	mmu_assert_right(f);
	found = found_at(f, f->direct, GFN);
	assert_int_equal(found, hva);
}

/* ---- Edits ------------------------------------------------------------------- */

static void edit_delete(struct mmu_fixture *f)
{
	drop_slot(f->map, 1);
}

static void edit_replace(struct mmu_fixture *f)
{
	struct mslot_txn *txn = begin(f->map);

	assert_true(mslot_txn_replace(txn, key(1), f->other, 0) >= 0);
	assert_int_equal(finish(txn, NULL), 0);
}

static void edit_shift(struct mmu_fixture *f)
{
	struct mslot_txn *txn = begin(f->map);

	/* The frame stays in the slot, at another host page of the same region. */
	assert_true(mslot_txn_move(txn, key(1), PAGES(3)) >= 0);
	assert_int_equal(finish(txn, NULL), 0);
}

static void edit_move(struct mmu_fixture *f)
{
	struct mslot_txn *txn = begin(f->map);

	assert_true(mslot_txn_move(txn, key(1), PAGES(5000)) >= 0);
	assert_int_equal(finish(txn, NULL), 0);
}

static void flag(struct mmu_fixture *f, uint32_t flags)
{
	struct mslot_txn *txn = begin(f->map);

	assert_true(mslot_txn_set_flags(txn, key(1), flags) >= 0);
	assert_int_equal(finish(txn, NULL), 0);
}

static void edit_readonly(struct mmu_fixture *f)
{
	flag(f, MSLOT_READONLY);
}

static void edit_log(struct mmu_fixture *f)
{
	flag(f, MSLOT_LOG_DIRTY);
}

/* The chunk of heads goes; the same page is back before the fault goes on. */
static void edit_recreate(struct mmu_fixture *f)
{
	drop_slot(f->map, 1);
	put_slot(f->map, def_of(1, 0, N, f->region, 0));
}

static void edit_recreate_other(struct mmu_fixture *f)
{
	drop_slot(f->map, 1);
	put_slot(f->map, def_of(1, 0, N, f->other, 0));
}

static void renumber(struct mmu_fixture *f, uint32_t flags)
{
	struct mslot_slot_def def = def_of(2, 0, N, f->region, 0);
	struct mslot_txn *txn = begin(f->map);

	def.flags = flags;
	assert_true(mslot_txn_delete(txn, key(1)) >= 0);
	assert_true(mslot_txn_create(txn, &def) >= 0);
	assert_int_equal(finish(txn, NULL), 0);
}

static void edit_renumber(struct mmu_fixture *f)
{
	renumber(f, 0);
}

/* The old name is back elsewhere, with the index that it had. */
static void edit_renumber_reuse(struct mmu_fixture *f)
{
	renumber(f, 0);
	put_slot(f->map, def_of(1, 5000, N, f->other, 0));
}

static void edit_zap_all(struct mmu_fixture *f)
{
	mslot_zap_all(f->mmu);
}

static void edit_zap_page(struct mmu_fixture *f)
{
	(void)mslot_zap_page(f->vcpu, f->direct, PAGES(GFN));
}

/* So many other tables that the fault's goes. */
static void edit_evict(struct mmu_fixture *f)
{
	struct mslot_txn *txn = begin(f->map);
	struct mslot_slot_def def;
	uint32_t i;

	for (i = 0; i < 3 * MIN_TABLES; i++) {
		def = def_of(100 + i, LARGE * (i + 1), 1, f->region, i + 100);
		assert_true(mslot_txn_create(txn, &def) >= 0);
	}
	assert_int_equal(finish(txn, NULL), 0);
	mslot_mmu_limit_set(f->mmu, 1);
	for (i = 0; i < 3 * MIN_TABLES; i++)
		assert_int_equal(fault_at(f, LARGE * (i + 1), MSLOT_READ, NULL), 0);
	assert_true(mmu_stats(f).evicted > MIN_TABLES);
}

static void (*const edits[])(struct mmu_fixture *f) = {
    edit_delete,  edit_replace,  edit_shift,          edit_move,     edit_readonly,
    edit_log,     edit_recreate, edit_recreate_other, edit_renumber, edit_renumber_reuse,
    edit_zap_all, edit_zap_page, edit_evict,
};

static void run_parked(enum perturb_point at, unsigned int edit, enum mslot_access access)
{
	struct mmu_fixture f;
	int err;

	setup(&f);
	mmu_enter(&f);
	arm(&f, at, edits[edit]);
	err = fault_at(&f, GFN, access, NULL);
	assert_true(err == 0 || err == -ENOENT || err == -EACCES);
	mmu_leave(&f);
	disarm();
	assert_nothing_stale(&f);
	/* What the fault left behind is found by those who take it away later. */
	if (slot_now(&f).len_bytes) {
		drop_slot(f.map, slot_now(&f).key.id);
		assert_nothing_stale(&f);
	}
	mmu_teardown(&f);
}

static void a_parked_fault_is_late_for_every_edit(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(edits) / sizeof(*edits); i++) {
		run_parked(PERTURB_FAULT_RESOLVED, i, MSLOT_READ);
		run_parked(PERTURB_FAULT_RESOLVED, i, MSLOT_WRITE);
		run_parked(PERTURB_FAULT_WALKED, i, MSLOT_READ);
		run_parked(PERTURB_FAULT_WALKED, i, MSLOT_WRITE);
	}
}

/* A page that was logged when the fault went down is part of a large leaf when it comes back. */
static void edit_unlog_and_collapse(struct mmu_fixture *f)
{
	flag(f, 0);
	assert_int_equal(fault_at(f, GFN + 1, MSLOT_READ, NULL), 0);
	assert_true(mmu_stats(f).collapses == 1);
}

static void a_parked_fault_loses_its_table_to_a_collapse(void **state)
{
	struct mmu_fixture f;
	struct mslot_slot_def def;

	(void)state;
	mmu_setup(&f, 0);
	def = def_of(1, 0, LARGE, f.region, 0);
	def.flags = MSLOT_LOG_DIRTY;
	put_slot(f.map, def);
	assert_int_equal(mslot_vcpu_root_set(f.vcpu, f.direct), 0);
	mmu_enter(&f);
	assert_int_equal(fault_at(&f, 100, MSLOT_READ, NULL), 0);
	arm(&f, PERTURB_FAULT_WALKED, edit_unlog_and_collapse);
	assert_int_equal(fault_at(&f, GFN, MSLOT_WRITE, NULL), 0);
	mmu_leave(&f);
	disarm();
	assert_nothing_stale(&f);
	drop_slot(f.map, 1);
	assert_nothing_stale(&f);
	mmu_teardown(&f);
}

/* ---- With a second thread ------------------------------------------------------ */

static pthread_t other;
static void (*other_act)(struct mmu_fixture *f);
static _Atomic bool other_done;

static void *run_other(void *arg)
{
	other_act(arg);
	atomic_store(&other_done, true);
	return NULL;
}

static void start_other(struct mmu_fixture *f, void (*act)(struct mmu_fixture *f))
{
	other_act = act;
	atomic_store(&other_done, false);
	assert_int_equal(pthread_create(&other, NULL, run_other, f), 0);
}

static void join_other(void)
{
	assert_int_equal(pthread_join(other, NULL), 0);
}

static void (*edit_elsewhere)(struct mmu_fixture *f);

/* A committer has published, and comes to the guard that this thread holds. */
static void publish_elsewhere(struct mmu_fixture *f)
{
	uint64_t before = atomic_load(&f->map->snapshot)->generation;

	start_other(f, edit_elsewhere);
	while (atomic_load(&f->map->snapshot)->generation == before)
		sched_yield();
}

static void run_locked(void (*edit)(struct mmu_fixture *f), enum mslot_access access, bool retries)
{
	struct mmu_fixture f;
	int err;

	setup(&f);
	mmu_enter(&f);
	edit_elsewhere = edit;
	arm(&f, PERTURB_FAULT_LOCKED, publish_elsewhere);
	err = fault_at(&f, GFN, access, NULL);
	assert_true(err == 0 || err == -ENOENT || err == -EACCES);
	assert_true(!retries || mmu_stats(&f).retries >= 1);
	mmu_leave(&f);
	join_other();
	disarm();
	assert_nothing_stale(&f);
	mmu_teardown(&f);
}

/* The look at the snapshot is behind the lock: with the guard held the fault sees the publish. */
static void a_fault_with_its_guard_sees_the_publish(void **state)
{
	static const struct {
		void (*edit)(struct mmu_fixture *f);
		bool retries; /* in any case: what it does is not undone, or is no mere name */
	} cases[] = {
	    {edit_delete, true},    {edit_replace, true},   {edit_shift, true},
	    {edit_move, true},      {edit_readonly, true},  {edit_log, true},
	    {edit_recreate, false}, {edit_renumber, false}, {edit_renumber_reuse, false},
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		run_locked(cases[i].edit, MSLOT_READ, cases[i].retries);
		run_locked(cases[i].edit, MSLOT_WRITE, cases[i].retries);
	}
}

static const struct mslot_range invalid = {BIG_HVA + PAGES(GFN), PAGES(1)};

static void begin_invalidation(struct mmu_fixture *f)
{
	assert_int_equal(mslot_invalidate_begin(f->mmu, invalid), 0);
}

/* It is counted and has zapped, and waits for the section of the fault. */
static void begin_elsewhere(struct mmu_fixture *f)
{
	uint64_t before = mmu_stats(f).flushes;

	start_other(f, begin_invalidation);
	while (mmu_stats(f).flushes == before)
		sched_yield();
}

static void a_fault_is_refused_once_an_invalidation_has_begun(void **state)
{
	static const enum perturb_point points[] = {PERTURB_FAULT_RESOLVED, PERTURB_FAULT_WALKED};
	struct mmu_fixture f;
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		setup(&f);
		mmu_enter(&f);
		arm(&f, points[i], begin_elsewhere);
		assert_int_equal(fault_at(&f, GFN, MSLOT_WRITE, NULL), -EAGAIN);
		assert_int_equal(fault_at(&f, GFN + 1, MSLOT_WRITE, NULL), 0);
		mmu_leave(&f);
		join_other();
		disarm();
		assert_int_equal(found_at(&f, f.direct, GFN), 0);
		assert_int_equal(mmu_stats(&f).invalidated, 1);
		mslot_invalidate_end(f.mmu, invalid);
		assert_nothing_stale(&f);
		mmu_teardown(&f);
	}
}

static void end_invalidation(struct mmu_fixture *f)
{
	mslot_invalidate_end(f->mmu, invalid);
}

/* What was resolved during an invalidation is resolved again after it. */
static void a_fault_begins_anew_when_an_invalidation_ends(void **state)
{
	struct mmu_fixture f;

	(void)state;
	setup(&f);
	begin_invalidation(&f);
	mmu_enter(&f);
	arm(&f, PERTURB_FAULT_WALKED, end_invalidation);
	assert_int_equal(fault_at(&f, GFN, MSLOT_WRITE, NULL), 0);
	assert_int_equal(mmu_stats(&f).retries, 1);
	mmu_leave(&f);
	disarm();
	assert_nothing_stale(&f);
	mmu_teardown(&f);
}

/* ---- What vCPUs have cached ---------------------------------------------------- */

/* Between the publish and the zap a vCPU comes in, and reads through a leaf that may be written. */
static void read_in_a_new_section(struct mmu_fixture *f)
{
	mmu_enter(f);
	assert_int_equal(fault_at(f, GFN, MSLOT_READ, NULL), 0);
	mmu_leave(f);
}

static void permission_cached_before_the_zap_goes(void **state)
{
	struct mmu_fixture f;

	(void)state;
	setup(&f);
	mmu_enter(&f);
	assert_int_equal(fault_at(&f, GFN, MSLOT_WRITE, NULL), 0);
	mmu_leave(&f);
	arm(&f, PERTURB_HEAD_LOCKED, read_in_a_new_section);
	edit_log(&f);
	disarm();
	assert_nothing_stale(&f);
	mmu_teardown(&f);
}

static void what_is_cached_goes_with_what_was_taken(void **state)
{
	static void (*const taken[])(struct mmu_fixture * f) = {
	    edit_delete, edit_replace, edit_shift, edit_move, edit_readonly, edit_log};
	struct mmu_fixture f;
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(taken) / sizeof(*taken); i++) {
		setup(&f);
		mmu_enter(&f);
		assert_int_equal(fault_at(&f, GFN, MSLOT_WRITE, NULL), 0);
		assert_non_null(mslot_vcpu_hit(f.vcpu, PAGES(GFN), 8, MSLOT_WRITE));
		mmu_leave(&f);
		/* Nobody has a leaf any more, and the vCPU was not asked for that. */
		if (i % 2)
			(void)mslot_zap_page(NULL, f.direct, PAGES(GFN));
		taken[i](&f);
		assert_nothing_stale(&f);
		mmu_teardown(&f);
	}
}

/* ---- Logs ---------------------------------------------------------------------- */

static bool is_dirty(struct mmu_fixture *f, uint32_t id)
{
	uint64_t bits[N / 64] = {0};
	struct kvm_dirty_log log = {.slot = id, .dirty_bitmap = bits};

	assert_int_equal(mslot_kvm_get_dirty_log(f->map, &log), 0);
	return bits[0] >> GFN & 1;
}

/* Under another name the log begins anew, and what was marked in the old one was not in it. */
static void a_write_after_a_rename_is_in_the_new_log(void **state)
{
	struct mmu_fixture f;

	(void)state;
	setup(&f);
	edit_log(&f);
	mmu_enter(&f);
	assert_int_equal(fault_at(&f, GFN, MSLOT_WRITE, NULL), 0);
	mmu_leave(&f);
	renumber(&f, MSLOT_LOG_DIRTY);
	mmu_enter(&f);
	/* The store, if it hits, is one that nobody marks. */
	if (!mslot_vcpu_hit(f.vcpu, PAGES(GFN), 8, MSLOT_WRITE))
		assert_int_equal(fault_at(&f, GFN, MSLOT_WRITE, NULL), 0);
	mmu_leave(&f);
	assert_true(is_dirty(&f, 2));
	mmu_teardown(&f);
}

/* ---- Large leaves, dying chunks -------------------------------------------------- */

static _Atomic bool half_faulted;

static void fault_the_half(struct mmu_fixture *f)
{
	mmu_enter(f);
	assert_int_equal(fault_at(f, 300, MSLOT_READ, NULL), 0);
	mmu_leave(f);
	atomic_store(&half_faulted, true);
}

/* On the committing thread, the other half remapped for readers and not zapped. */
static void let_somebody_fault_the_half(struct mmu_fixture *f)
{
	start_other(f, fault_the_half);
	while (mmu_stats(f).retries == 0 && !atomic_load(&half_faulted))
		sched_yield();
}

/* T2, for a page of a large leaf of which a commit takes the other half. */
static void a_fault_before_the_split_takes_no_survivor(void **state)
{
	struct mslot_txn *txn;
	struct mmu_fixture f;

	(void)state;
	mmu_setup(&f, 2);
	put_slot(f.map, def_of(1, 0, 2 * LARGE, f.region, 0));
	split_slot(f.map, 1, 256, 2);
	split_slot(f.map, 2, LARGE, 3);
	merge_slots(f.map, 1, 2);
	mmu_enter(&f);
	assert_int_equal(fault_at(&f, 0, MSLOT_WRITE, NULL), 0);
	mmu_leave(&f);
	split_slot(f.map, 1, 256, 2);
	assert_true(found_at(&f, f.direct, 300) != 0);
	atomic_store(&half_faulted, false);
	arm(&f, PERTURB_POINTER_PUBLISHED, let_somebody_fault_the_half);
	txn = begin(f.map);
	assert_true(mslot_txn_replace(txn, key(2), f.other, 0) >= 0);
	assert_int_equal(finish(txn, NULL), 0);
	join_other();
	disarm();
	mmu_assert_right(&f);
	assert_int_equal(found_at(&f, f.direct, 0), BIG_HVA);
	assert_int_equal(found_at(&f, f.direct, 255), BIG_HVA + PAGES(255));
	assert_true(found_at(&f, f.direct, 300) != BIG_HVA + PAGES(300));
	mmu_teardown(&f);
}

static void fault_to_another_frame(struct mmu_fixture *f)
{
	mmu_enter(f);
	assert_int_equal(shadow_at(f, 7, 5000, 1, MSLOT_READ, NULL), 0);
	mmu_leave(f);
	atomic_store(&half_faulted, true);
}

/* The guest maps the page elsewhere while the chunk of the frame that it was at dies. */
static void let_somebody_remap(struct mmu_fixture *f)
{
	const struct timespec nap = {.tv_nsec = 10000000};
	unsigned int naps;

	start_other(f, fault_to_another_frame);
	/* It may well have to wait for this thread. */
	for (naps = 0; naps < 30 && !atomic_load(&half_faulted); naps++)
		nanosleep(&nap, NULL);
}

static void a_shadow_page_leaves_a_chunk_that_dies(void **state)
{
	struct mmu_fixture f;

	(void)state;
	setup(&f);
	put_slot(f.map, def_of(2, 5000, 1, f.other, 0));
	mmu_enter(&f);
	assert_int_equal(shadow_at(&f, 7, GFN, 1, MSLOT_READ, NULL), 0);
	mmu_leave(&f);
	atomic_store(&half_faulted, false);
	arm(&f, mmu_form ? PERTURB_HEAD_LOCKED : PERTURB_CHUNK_DIES, let_somebody_remap);
	drop_slot(f.map, 1);
	join_other();
	disarm();
	mmu_assert_right(&f);
	assert_int_equal(found_at(&f, f.shadow, 7), BIG_HVA + PAGES(BIG_PAGES));
	drop_slot(f.map, 2);
	mmu_assert_right(&f);
	assert_int_equal(found_at(&f, f.shadow, 7), 0);
	mmu_teardown(&f);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_parked_fault_is_late_for_every_edit),
	    cmocka_unit_test(a_parked_fault_loses_its_table_to_a_collapse),
	    cmocka_unit_test(a_fault_with_its_guard_sees_the_publish),
	    cmocka_unit_test(a_fault_is_refused_once_an_invalidation_has_begun),
	    cmocka_unit_test(a_fault_begins_anew_when_an_invalidation_ends),
	    cmocka_unit_test(permission_cached_before_the_zap_goes),
	    cmocka_unit_test(what_is_cached_goes_with_what_was_taken),
	    cmocka_unit_test(a_write_after_a_rename_is_in_the_new_log),
	    cmocka_unit_test(a_fault_before_the_split_takes_no_survivor),
	    cmocka_unit_test(a_shadow_page_leaves_a_chunk_that_dies),
	};

	return MMU_RUN_BOTH_FORMS(tests);
}
