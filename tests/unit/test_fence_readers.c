/* SPDX-License-Identifier: MIT */
/* test_fence_readers.c - sections with fences: waits still wait, and whoever has a map is refused.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include <cmocka.h>

#include <mslot/mslot.h>

#define PAGE 4096u

static uint8_t memory[2 * PAGE] __attribute__((aligned(PAGE)));

static int set_slot(struct mslot_map *map, uint64_t gpa, uint64_t len_bytes)
{
	const struct kvm_userspace_memory_region region = {
	    .slot = 0,
	    .guest_phys_addr = gpa,
	    .memory_size = len_bytes,
	    .userspace_addr = (uintptr_t)memory,
	};

	return mslot_kvm_set_user_memory_region(map, &region);
}

static struct mslot_map *new_map(void)
{
	struct mslot_map *map;

	assert_int_equal(mslot_map_create(NULL, &map), 0);
	return map;
}

static void a_map_is_in_the_way(void **state)
{
	struct mslot_map *map = new_map();

	(void)state;
	assert_int_equal(mslot_fence_readers(), -EBUSY);
	assert_int_equal(mslot_map_destroy(map), 0);
}

static void twice_is_once(void **state)
{
	(void)state;
	assert_int_equal(mslot_fence_readers(), 0);
	assert_int_equal(mslot_fence_readers(), 0);
}

static void a_wait_still_waits_for_a_section(void **state)
{
	struct mslot_map *map = new_map();
	const struct mslot_snapshot *snap;
	struct mslot_map_stats stats;

	(void)state;
	assert_int_equal(set_slot(map, 0, PAGE), 0);
	snap = mslot_enter(map);
	assert_non_null(mslot_find(snap, 0, 0));
	assert_int_equal(mslot_wait(map, 1, 0), -EDEADLK);
	mslot_leave(snap);
	assert_int_equal(set_slot(map, 0, 0), 0);
	assert_int_equal(mslot_map_stats_get(map, &stats), 0);
	assert_int_equal(mslot_wait(map, stats.generation, -1), 0);
	assert_int_equal(mslot_map_destroy(map), 0);
}

struct guest {
	struct mslot_map *map;
	struct mslot_vcpu *vcpu;
	atomic_bool inside, stop;
	atomic_bool gone; /* the DELETE has returned */
	uint64_t holes, late;
};

/* Enters, finds, polls when asked: never for long. */
static void *run_guest(void *arg)
{
	struct guest *guest = arg;
	const struct mslot_snapshot *snap;

	assert_int_equal(mslot_vcpu_enter(guest->vcpu, &snap), 0);
	while (!atomic_load(&guest->stop)) {
		const struct mslot_slot *slot = mslot_vcpu_find(guest->vcpu, 0, 0);

		guest->holes += !slot;
		/* Of this section, which the DELETE should have waited for. */
		guest->late += slot && atomic_load(&guest->gone);
		atomic_store(&guest->inside, true);
		if (mslot_vcpu_pending(guest->vcpu))
			assert_int_equal(mslot_vcpu_poll(guest->vcpu, &snap), 0);
	}
	mslot_vcpu_leave(guest->vcpu);
	return NULL;
}

/* DELETE returns when no vCPU can reach the slot: its memory may go at once. */
static void deletes_wait_for_a_running_vcpu(void **state)
{
	struct guest guest = {.map = new_map()};
	pthread_t thread;
	int i;

	(void)state;
	assert_int_equal(set_slot(guest.map, 0, PAGE), 0);
	assert_int_equal(mslot_vcpu_create(guest.map, NULL, &guest.vcpu), 0);
	assert_int_equal(pthread_create(&thread, NULL, run_guest, &guest), 0);
	while (!atomic_load(&guest.inside))
		sched_yield();
	for (i = 0; i < 2000; i++) {
		assert_int_equal(set_slot(guest.map, 0, 0), 0);
		atomic_store(&guest.gone, true);
		sched_yield();
		atomic_store(&guest.gone, false);
		assert_int_equal(set_slot(guest.map, 0, PAGE), 0);
	}
	/* One that it is bound to see. */
	assert_int_equal(set_slot(guest.map, 0, 0), 0);
	atomic_store(&guest.inside, false);
	while (!atomic_load(&guest.inside))
		sched_yield();
	atomic_store(&guest.stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(guest.holes > 0);
	assert_int_equal(guest.late, 0);
	assert_int_equal(mslot_vcpu_destroy(guest.vcpu), 0);
	assert_int_equal(mslot_map_destroy(guest.map), 0);
}

int main(void)
{
	/* In this order: the second decides for the process. */
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_map_is_in_the_way),
	    cmocka_unit_test(twice_is_once),
	    cmocka_unit_test(a_wait_still_waits_for_a_section),
	    cmocka_unit_test(deletes_wait_for_a_running_vcpu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
