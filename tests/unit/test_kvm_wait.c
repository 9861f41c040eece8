/* SPDX-License-Identifier: MIT */
/*
 * test_kvm_wait.c - which KVM requests wait for readers, and where they may be made.
 *
 * A reader is parked in a section entered before the request. A request that waits
 * cannot return before the reader has left; one that does not must return while the
 * reader is parked, or the test hangs and is killed.
 */
#include "kvm_calls.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

static const struct req slot_a = {1, 0, 0x10000, 4 * P, HVA};
static const struct req slot_b = {2, LOG, 0x20000, 4 * P, HVA + 0x100000};
static const struct req slot_c = {3, RO, 0x30000, 4 * P, HVA + 0x200000};

static int setup(void **state)
{
	struct mslot_map *map = make_map(12, 2);

	assert_set(map, slot_a);
	assert_set(map, slot_b);
	assert_set(map, slot_c);
	*state = map;
	return 0;
}

static int teardown(void **state)
{
	assert_int_equal(mslot_check_map(*state, NULL), 0);
	assert_int_equal(mslot_map_destroy(*state), 0);
	return 0;
}

/* One request through one of the entry points. */
enum entry_point { SINGLE, VERSION2, LIST };

static int call(struct mslot_map *map, enum entry_point via, struct req r, bool invalidate)
{
	uint64_t mem[1 + sizeof(struct mslot_kvm_region_entry) / 8] = {0};
	struct mslot_kvm_region_list *list = (void *)mem;

	if (via == SINGLE)
		return set(map, r);
	if (via == VERSION2)
		return set2(map, r, 0, -1);
	list->nent = 1;
	list->entries[0].slot = r.slot;
	list->entries[0].flags = r.flags;
	list->entries[0].guest_phys_addr = r.gpa;
	list->entries[0].memory_size = r.size;
	list->entries[0].userspace_addr = r.hva;
	list->entries[0].invalidate_slot = invalidate;
	return mslot_kvm_set_user_memory_region_list(map, list, sizeof(mem), NULL);
}

struct reader {
	struct mslot_map *map;
	pthread_t thread;
	pthread_barrier_t step; /* parked; may leave */
	_Atomic bool left;
};

static void *reader_main(void *arg)
{
	struct reader *r = arg;
	const struct mslot_snapshot *snap = mslot_enter(r->map);

	pthread_barrier_wait(&r->step);
	pthread_barrier_wait(&r->step);
	atomic_store(&r->left, true);
	mslot_leave(snap);
	return NULL;
}

static void reader_park(struct reader *r, struct mslot_map *map)
{
	*r = (struct reader){.map = map};
	assert_int_equal(pthread_barrier_init(&r->step, NULL, 2), 0);
	assert_int_equal(pthread_create(&r->thread, NULL, reader_main, r), 0);
	pthread_barrier_wait(&r->step);
}

static void reader_leave(struct reader *r)
{
	pthread_barrier_wait(&r->step);
	assert_int_equal(pthread_join(r->thread, NULL), 0);
	pthread_barrier_destroy(&r->step);
}

struct caller {
	struct mslot_map *map;
	struct reader *reader;
	enum entry_point via;
	struct req r;
	bool invalidate;
	int ret;
	bool left_at_return;
	_Atomic bool returned;
};

static void *caller_main(void *arg)
{
	struct caller *c = arg;

	c->ret = call(c->map, c->via, c->r, c->invalidate);
	c->left_at_return = atomic_load(&c->reader->left);
	atomic_store(&c->returned, true);
	return NULL;
}

static void check_waits(struct mslot_map *map, enum entry_point via, struct req r, bool invalidate)
{
	const uint64_t gen = generation(map);
	struct reader reader;
	struct caller c = {.map = map, .reader = &reader, .via = via, .r = r};
	pthread_t thread;

	c.invalidate = invalidate;
	reader_park(&reader, map);
	assert_int_equal(pthread_create(&thread, NULL, caller_main, &c), 0);
	while (generation(map) == gen && !atomic_load(&c.returned))
		sched_yield();
	/* Published, not returned; and it gets ample opportunity to do so. */
	for (int i = 0; i < 5000; i++)
		sched_yield();
	assert_false(atomic_load(&c.returned));
	assert_true(generation(map) == gen + 1);
	reader_leave(&reader);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(c.ret, 0);
	assert_true(c.left_at_return);
}

static void check_does_not_wait(struct mslot_map *map, enum entry_point via, struct req r,
				bool effective)
{
	const uint64_t gen = generation(map);
	struct reader reader;

	reader_park(&reader, map);
	alarm(30);
	assert_int_equal(call(map, via, r, false), 0);
	alarm(0);
	assert_true(generation(map) == gen + effective);
	assert_false(atomic_load(&reader.left));
	reader_leave(&reader);
}

static void delete_move_and_log_on_wait(void **state)
{
	struct mslot_map *map = *state;

	for (enum entry_point via = SINGLE; via <= LIST; via++) {
		struct req r = slot_a;

		r.gpa += P; /* MOVE */
		check_waits(map, via, r, true);
		r.flags = LOG;
		check_waits(map, via, r, false);
		r.flags = 0;
		r.gpa += P; /* MOVE and log off */
		check_waits(map, via, r, true);
		r.flags = LOG;
		r.gpa = slot_a.gpa; /* MOVE and log on */
		check_waits(map, via, r, true);
		r.size = 0;
		check_waits(map, via, r, true);
		assert_absent(map, r.slot);
		assert_set(map, slot_a);
	}
}

static void create_log_off_and_no_change_do_not_wait(void **state)
{
	struct mslot_map *map = *state;

	for (enum entry_point via = SINGLE; via <= LIST; via++) {
		struct req log_off = slot_b;

		check_does_not_wait(map, via,
				    (struct req){10 + via, LOG, 0x100000 + via * P, P, HVA}, true);
		check_does_not_wait(map, via, slot_b, false);
		log_off.flags = 0;
		check_does_not_wait(map, via, log_off, true);
		assert_set(map, slot_b);
	}
}

static void delete_does_not_wait_for_holds(void **state)
{
	struct mslot_map *map = *state;
	const struct mslot_snapshot *snap = mslot_enter(map);
	struct mslot_slot_info info;
	struct mslot_hold *hold;

	assert_int_equal(mslot_hold(snap, "test", &hold), 0);
	mslot_leave(snap);
	alarm(30);
	assert_set(map, (struct req){1, 0, 0, 0, 0});
	alarm(0);
	mslot_slot_info_get(mslot_find(mslot_hold_snapshot(hold), 0, slot_a.gpa), &info);
	assert_true(info.hva == slot_a.hva);
	mslot_hold_put(hold);
}

static void waiting_requests_are_refused_in_a_section(void **state)
{
	struct mslot_map *map = *state;
	struct req moved = slot_a, log_on = slot_a;
	const struct {
		struct req r;
		bool invalidate;
	} rows[] = {
	    {{1, 0, 0, 0, 0}, true},
	    {(moved.gpa += P, moved), true},
	    {(log_on.flags = LOG, log_on), false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (enum entry_point via = SINGLE; via <= LIST; via++) {
			const uint64_t gen = generation(map);
			const struct mslot_snapshot *snap = mslot_enter(map);
			const struct mslot_snapshot *nested = mslot_enter(map);

			assert_int_equal(call(map, via, rows[i].r, rows[i].invalidate), -EDEADLK);
			mslot_leave(nested);
			assert_int_equal(call(map, via, rows[i].r, rows[i].invalidate), -EDEADLK);
			mslot_leave(snap);
			assert_true(generation(map) == gen);
			assert_slot(map, slot_a);
		}
	}
	/* Outside of the section the same request is fine. */
	assert_set(map, log_on);
}

static void other_requests_are_allowed_in_a_section(void **state)
{
	struct mslot_map *map = *state;
	const struct mslot_snapshot *snap = mslot_enter(map);
	struct req log_off = slot_b;

	log_off.flags = 0;
	alarm(30);
	assert_set(map, (struct req){7, LOG, 0x100000, P, HVA});
	assert_set(map, log_off);
	assert_int_equal(set(map, slot_a), 0);
	alarm(0);
	/* The section still sees its own version. */
	assert_null(mslot_find(snap, 0, 0x100000));
	mslot_leave(snap);
}

struct inside {
	struct mslot_map *map;
	int calls;
	int ret[4];
};

static void requests_from_callback(void *ctx, const struct mslot_diff *diff)
{
	struct inside *in = ctx;
	const struct mslot_kvm_region_list none = {0};

	(void)diff;
	in->calls++;
	in->ret[0] = set(in->map, slot_a); /* would change nothing */
	in->ret[1] = set(in->map, (struct req){1, 1u << 31, 1, 1, 1});
	in->ret[2] = set2(in->map, (struct req){9, 0, 0x900000, P, HVA}, 0, -1);
	in->ret[3] = mslot_kvm_set_user_memory_region_list(in->map, &none, sizeof(none), NULL);
}

static void callbacks_may_not_make_requests(void **state)
{
	const struct mslot_listener_ops ops = {.commit = requests_from_callback};
	struct inside in = {.map = *state};
	struct mslot_listener *listener;

	assert_int_equal(mslot_listener_add(in.map, &ops, &in, 0, &listener), 0);
	assert_set(in.map, (struct req){8, 0, 0x800000, P, HVA});
	assert_int_equal(in.calls, 1);
	for (int i = 0; i < 4; i++)
		assert_int_equal(in.ret[i], -EDEADLK);
	assert_absent(in.map, 9);
	assert_int_equal(mslot_listener_remove(listener), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(delete_move_and_log_on_wait),
	    TEST(create_log_off_and_no_change_do_not_wait),
	    TEST(delete_does_not_wait_for_holds),
	    TEST(waiting_requests_are_refused_in_a_section),
	    TEST(other_requests_are_allowed_in_a_section),
	    TEST(callbacks_may_not_make_requests),
	};

	return cmocka_run_group_tests_name("kvm_wait", tests, NULL, NULL);
}
