/* SPDX-License-Identifier: MIT */
/*
 * test_mmu_fork.c - MMUs and fork(): the child's are empty and work; the parent's are as before.
 */
#include "mmu_fixture.h"

#include <sys/wait.h>
#include <unistd.h>

#include "base/sanitize.h"
#include "mmu/mmu.h"

#define CHILD_CHECK(cond)                                                                          \
	do {                                                                                       \
		if (!(cond))                                                                       \
			_exit(__LINE__ & 0x7f ? __LINE__ & 0x7f : 1);                              \
	} while (0)

static void fill(struct mmu_fixture *f)
{
	uint64_t i;

	put_slot(f->map, def_of(1, 0, 2 * LARGE + 40, f->region, 0));
	put_slot(f->map, def_of(2, HUGE_LEAF, HUGE_LEAF, f->region, HUGE_LEAF));
	fault_range(f, 0, 2 * LARGE + 40, MSLOT_WRITE);
	fault_range(f, HUGE_LEAF + 3, 1, MSLOT_WRITE);
	mmu_enter(f);
	/* Lists of reverse maps. */
	for (i = 0; i < 40; i++)
		assert_int_equal(shadow_at(f, 5000 + i, 2 * LARGE, 1, MSLOT_READ, NULL), 0);
	mmu_leave(f);
}

/* `empty`: no table waits to be taken apart. */
static void use_in_child(struct mmu_fixture *f, bool empty)
{
	struct mslot_fault fault = {.addr = PAGES(3), .access = MSLOT_WRITE};
	struct mslot_translation t;
	struct mslot_mmu_stats stats;

	(void)alarm(40);
	stats = mmu_stats(f);
	CHILD_CHECK((stats.tables == 0) == empty && stats.mapped == 0);
	CHILD_CHECK(stats.roots == 2 && stats.max_tables > 64);
	CHILD_CHECK(!mslot_check_mmu(f->mmu, NULL));
	CHILD_CHECK(look_at(f, f->direct, 3, &t) == -ENOENT);
	CHILD_CHECK(!mslot_vcpu_enter(f->vcpu, &f->snap));
	CHILD_CHECK(!mslot_vcpu_hit(f->vcpu, PAGES(3), 1, MSLOT_READ));
	CHILD_CHECK(!mslot_vcpu_hit(f->vcpu, PAGES(HUGE_LEAF + 3), 1, MSLOT_READ));
	CHILD_CHECK(!mslot_fault(f->vcpu, f->direct, &fault, &t));
	CHILD_CHECK(t.hva == BIG_HVA + PAGES(3) && t.level == 2);
	mslot_vcpu_leave(f->vcpu);
	CHILD_CHECK(!mslot_check_mmu(f->mmu, NULL));
	CHILD_CHECK(mslot_zap_gfn(f->mmu, 0, (struct mslot_range){0, PAGE}) == 1);
	drop_slot(f->map, 1);
	CHILD_CHECK(!mslot_check_mmu(f->mmu, NULL));
	/* Tables that were on their way out already go, too. */
	map_drain_deferred(f->map);
	stats = mmu_stats(f);
	CHILD_CHECK(stats.dead_tables == 0 && stats.mapped == 0);
	CHILD_CHECK(mslot_vcpu_root_set(f->vcpu, NULL) == 0);
	CHILD_CHECK(!mslot_root_destroy(f->direct) && !mslot_root_destroy(f->shadow));
	map_drain_deferred(f->map);
	stats = mmu_stats(f);
	CHILD_CHECK(stats.tables == 0 && stats.table_bytes == 0);
	CHILD_CHECK(mmu_form || stats.list_bytes == 0);
	CHILD_CHECK(!mslot_mmu_destroy(f->mmu));
	CHILD_CHECK(!mslot_vcpu_destroy(f->vcpu));
	mslot_region_put(f->region);
	mslot_region_put(f->other);
	CHILD_CHECK(!mslot_map_destroy(f->map));
	CHILD_CHECK(alloc_live() == f->live);
	_exit(0);
}

static void join(pid_t pid)
{
	int status = 0;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fail_msg("the child ended with status %#x", (unsigned int)status);
}

static void a_child_begins_anew(void **state)
{
	struct mslot_mmu_stats before;
	struct mmu_fixture f;
	pid_t pid;

	(void)state;
	mmu_setup(&f, 0);
	assert_int_equal(mslot_vcpu_root_set(f.vcpu, f.direct), 0);
	fill(&f);
	before = mmu_stats(&f);
	mmu_before_fork(&f);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		use_in_child(&f, true);
	join(pid);
	assert_int_equal(mmu_stats(&f).tables, before.tables);
	assert_int_equal(mmu_stats(&f).mapped, before.mapped);
	assert_int_equal(found_at(&f, f.direct, 2 * LARGE + 7), BIG_HVA + PAGES(2 * LARGE + 7));
	assert_int_equal(found_at(&f, f.shadow, 5039), BIG_HVA + PAGES(2 * LARGE));
	drop_slot(f.map, 1);
	assert_int_equal(found_at(&f, f.shadow, 5039), 0);
	mmu_teardown(&f);
}

/* Tables that wait to be taken apart, one of them locked by a thread that the child has not. */
static void a_child_takes_apart_what_was_retired(void **state)
{
	struct mmu_table *table;
	struct mmu_fixture f;
	pid_t pid;

	(void)state;
	mmu_setup(&f, 0);
	assert_int_equal(mslot_vcpu_root_set(f.vcpu, f.direct), 0);
	fill(&f);
	mmu_before_fork(&f);
	table = atomic_load(&f.direct->top);
	while (table->level > 1)
		table =
		    entry_table(atomic_load(&table->entry[table_index(table->level, 2 * LARGE)]));
	mslot_zap_all(f.mmu);
	fault_range(&f, 3, 1, MSLOT_WRITE);
	assert_int_equal(mmu_stats(&f).dead_tables, 1);
	table_lock(table);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		use_in_child(&f, false);
	table_unlock(table);
	join(pid);
	mmu_teardown(&f);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_child_begins_anew),
	    cmocka_unit_test(a_child_takes_apart_what_was_retired),
	};

#ifdef MSLOT_TSAN
	/* Each child starts a reclaimer of its own. */
	puts("SKIP: ThreadSanitizer does not support new threads in a child of fork()");
	return 77;
#endif
	return MMU_RUN_BOTH_FORMS(tests);
}
