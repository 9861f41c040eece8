/* SPDX-License-Identifier: MIT */
/*
 * test_regions.c - host memory whose owner must be asked, reached by unusual ways; and
 * snapshots that must not be held. Each case once used memory after its end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mslot/mslot.h>

#include "base/sanitize.h"

#define PAGE 4096u

static _Atomic int released;

static void count_release(void *ctx, const struct mslot_region_options *opt)
{
	(void)ctx;
	(void)opt;
	atomic_fetch_add(&released, 1);
}

static struct mslot_map *new_map(void)
{
	struct mslot_map *map;

	assert_int_equal(mslot_map_create(NULL, &map), 0);
	return map;
}

static int commit_create(struct mslot_map *map, const struct mslot_slot_def *def)
{
	struct mslot_txn *txn;
	int err;

	assert_int_equal(mslot_txn_begin(map, &txn), 0);
	assert_int_equal(mslot_txn_create(txn, def), 0);
	err = mslot_txn_commit(txn, NULL, NULL);
	if (err)
		mslot_txn_abort(txn);
	return err;
}

static uint64_t generation(struct mslot_map *map)
{
	struct mslot_map_stats stats;

	assert_int_equal(mslot_map_stats_get(map, &stats), 0);
	return stats.generation;
}

static void note_kind(void *ctx, const struct mslot_diff *diff)
{
	enum mslot_diff_kind *kind = ctx;

	*kind = diff->nsegs == 1 ? diff->segs[0].kind : 0;
}

/* A KVM request on a slot that a transaction made keeps the slot's own region. */
static void a_kvm_request_keeps_a_native_slots_region(void **state)
{
	static _Alignas(PAGE) char ram[PAGE];
	struct mslot_region_options opt = {
	    .hva = ram, .len_bytes = PAGE, .fd = -1, .release = count_release};
	struct mslot_slot_def def = {.key = {0, 1}, .len_bytes = PAGE};
	struct kvm_userspace_memory_region req = {.slot = 1,
						  .flags = MSLOT_LOG_DIRTY,
						  .memory_size = PAGE,
						  .userspace_addr = (uintptr_t)ram};
	enum mslot_diff_kind kind = 0;
	struct mslot_listener_ops ops = {.commit = note_kind};
	struct mslot_listener *listener;
	struct mslot_map *map = new_map();

	(void)state;
	atomic_store(&released, 0);
	assert_int_equal(mslot_region_create(&opt, &def.region), 0);
	assert_int_equal(commit_create(map, &def), 0);
	mslot_region_put(def.region);
	assert_int_equal(mslot_listener_add(map, &ops, &kind, 0, &listener), 0);
	assert_int_equal(mslot_kvm_set_user_memory_region(map, &req), 0);
	assert_int_equal(kind, MSLOT_DIFF_REPROTECTED);
	req.guest_phys_addr = 16 * PAGE;
	assert_int_equal(mslot_kvm_set_user_memory_region(map, &req), 0);
	assert_int_equal(mslot_wait(map, generation(map), -1), 0);
	assert_int_equal(atomic_load(&released), 0);
	req.memory_size = 0;
	assert_int_equal(mslot_kvm_set_user_memory_region(map, &req), 0);
	assert_int_equal(mslot_wait(map, generation(map), -1), 0);
	assert_int_equal(atomic_load(&released), 1);
	assert_int_equal(mslot_listener_remove(listener), 0);
	assert_int_equal(mslot_map_destroy(map), 0);
}

/* The region of another map's KVM slots ends with that map: it is refused, never kept. */
static void another_maps_built_in_region_is_refused(void **state)
{
	struct kvm_userspace_memory_region req = {.slot = 1, .memory_size = PAGE};
	struct mslot_map *one = new_map(), *two = new_map();
	struct mslot_slot_def def = {.key = {0, 2}, .gpa = PAGE, .len_bytes = PAGE};
	const struct mslot_snapshot *snap;
	struct mslot_slot_info info;
	struct mslot_txn *open_txn;

	(void)state;
	assert_int_equal(mslot_kvm_set_user_memory_region(one, &req), 0);
	snap = mslot_enter(one);
	mslot_slot_info_get(mslot_find(snap, 0, 0), &info);
	mslot_leave(snap);
	def.region = info.region;
	assert_int_equal(commit_create(one, &def), 0); /* its own map may use it */
	assert_int_equal(commit_create(two, &def), -EINVAL);
	assert_int_equal(mslot_txn_begin(two, &open_txn), 0);
	assert_int_equal(mslot_txn_create(open_txn, &def), 0);
	assert_int_equal(mslot_map_destroy(one), 0);
	mslot_txn_abort(open_txn);
	assert_int_equal(mslot_map_destroy(two), 0);
}

struct holder {
	int prepare_after, prepare_before;
	int veto;
};

static int try_holds(void *ctx, const struct mslot_diff *diff)
{
	struct holder *h = ctx;
	struct mslot_hold *hold = NULL;

	h->prepare_after = mslot_hold(diff->after, "after", &hold);
	if (h->prepare_after == 0)
		mslot_hold_put(hold);
	h->prepare_before = mslot_hold(diff->before, "before", &hold);
	if (h->prepare_before == 0)
		mslot_hold_put(hold);
	return h->veto;
}

static void an_unpublished_snapshot_cannot_be_held(void **state)
{
	struct holder h = {.veto = 0};
	struct mslot_listener_ops ops = {.prepare = try_holds};
	struct kvm_userspace_memory_region req = {.slot = 1, .memory_size = PAGE};
	struct mslot_map *map = new_map();
	struct mslot_listener *listener;

	(void)state;
	assert_int_equal(mslot_listener_add(map, &ops, &h, MSLOT_LISTENER_REPLAY, &listener), 0);
	assert_int_equal(h.prepare_before, -EINVAL); /* the empty one of the replay */
	assert_int_equal(h.prepare_after, 0);        /* published long ago */
	h.veto = -EPERM;
	assert_int_equal(mslot_kvm_set_user_memory_region(map, &req), -EPERM);
	assert_int_equal(h.prepare_after, -EINVAL);
	assert_int_equal(h.prepare_before, 0);
	assert_int_equal(mslot_listener_remove(listener), 0);
	assert_int_equal(mslot_map_destroy(map), 0);
}

static sigjmp_buf fault_return;

static void on_fault(int sig)
{
	(void)sig;
	siglongjmp(fault_return, 1);
}

static void touch_unmapped(void *ctx, const struct mslot_region_options *opt)
{
	(void)ctx;
	if (sigsetjmp(fault_return, 1) == 0)
		*(volatile char *)opt->hva = 1;
	else
		atomic_fetch_add(&released, 1);
}

/* A program that handles SIGSEGV handles it in its release callbacks too. */
static void a_release_callback_may_fault_and_handle_it(void **state)
{
	struct sigaction act = {.sa_handler = on_fault}, old;
	struct mslot_region_options opt = {.len_bytes = PAGE, .fd = -1, .release = touch_unmapped};
	struct mslot_map *map = new_map();
	struct mslot_region *region;

	(void)state;
	atomic_store(&released, 0);
	opt.hva = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(opt.hva, MAP_FAILED);
	assert_int_equal(sigaction(SIGSEGV, &act, &old), 0);
	assert_int_equal(mslot_region_create(&opt, &region), 0);
	mslot_region_put(region);
	assert_int_equal(mslot_wait(map, 0, -1), 0);
	assert_int_equal(sigaction(SIGSEGV, &old, NULL), 0);
	assert_int_equal(atomic_load(&released), 1);
	assert_int_equal(munmap(opt.hva, PAGE), 0);
	assert_int_equal(mslot_map_destroy(map), 0);
}

static _Atomic int stage;

static void block_until_told(void *ctx, const struct mslot_region_options *opt)
{
	(void)ctx;
	(void)opt;
	atomic_store(&stage, 1);
	while (atomic_load(&stage) == 1)
		usleep(100);
}

/* Releases queued behind one in progress at the fork happen in the child as well. */
static void a_child_releases_what_was_queued(void **state)
{
	struct mslot_region_options opt = {.len_bytes = PAGE, .fd = -1};
	struct mslot_map *map = new_map();
	struct mslot_region *slow, *queued;
	int status;
	pid_t pid;

	(void)state;
#ifdef MSLOT_TSAN
	skip();
#endif
	atomic_store(&released, 0);
	atomic_store(&stage, 0);
	opt.release = block_until_told;
	assert_int_equal(mslot_region_create(&opt, &slow), 0);
	opt.release = count_release;
	assert_int_equal(mslot_region_create(&opt, &queued), 0);
	mslot_region_put(slow);
	while (atomic_load(&stage) == 0)
		usleep(100);
	mslot_region_put(queued);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(20);
		_exit(mslot_wait(map, 0, -1) != 0 || atomic_load(&released) != 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	atomic_store(&stage, 2);
	assert_int_equal(mslot_wait(map, 0, -1), 0);
	assert_int_equal(atomic_load(&released), 1);
	assert_int_equal(mslot_map_destroy(map), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_kvm_request_keeps_a_native_slots_region),
	    cmocka_unit_test(another_maps_built_in_region_is_refused),
	    cmocka_unit_test(an_unpublished_snapshot_cannot_be_held),
	    cmocka_unit_test(a_release_callback_may_fault_and_handle_it),
	    cmocka_unit_test(a_child_releases_what_was_queued),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
