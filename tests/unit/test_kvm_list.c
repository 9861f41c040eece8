/* SPDX-License-Identifier: MIT */
/*
 * test_kvm_list.c - several KVM requests as one change: all of them or none, what the
 * list may contain, and which entry is to blame.
 */
#include "kvm_calls.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <mslot/vcpu.h>

#include "base/alloc.h"

#define MAX_ENTRIES 64u
#define ANY_MAX_EDITS 256u

struct list {
	struct mslot_map *map;
	uint32_t failed;
	union {
		struct mslot_kvm_region_list head;
		uint64_t mem[1 + (MAX_ENTRIES + 1) * sizeof(struct mslot_kvm_region_entry) / 8];
	} u;
};

static void list_reset(struct list *l)
{
	memset(&l->u, 0, sizeof(l->u));
	l->failed = 0xabcd;
}

static struct mslot_kvm_region_entry *list_add(struct list *l, struct req r, bool invalidate)
{
	struct mslot_kvm_region_entry *entry = &l->u.head.entries[l->u.head.nent++];

	assert_true(l->u.head.nent <= MAX_ENTRIES);
	entry->slot = r.slot;
	entry->flags = r.flags;
	entry->guest_phys_addr = r.gpa;
	entry->memory_size = r.size;
	entry->userspace_addr = r.hva;
	entry->invalidate_slot = invalidate;
	return entry;
}

static int list_call(struct list *l)
{
	const size_t bytes = 8 + (size_t)l->u.head.nent * sizeof(struct mslot_kvm_region_entry);

	return mslot_kvm_set_user_memory_region_list(l->map, &l->u.head, bytes, &l->failed);
}

static void assert_list_ok(struct list *l, bool effective)
{
	const uint64_t gen = generation(l->map);

	assert_int_equal(list_call(l), 0);
	assert_true(generation(l->map) == gen + effective);
	assert_int_equal(l->failed, 0xabcd); /* written only after an error */
	assert_int_equal(mslot_check_map(l->map, NULL), 0);
}

static uint64_t count_slots(struct mslot_map *map)
{
	const struct mslot_snapshot *snap = mslot_enter(map);
	const uint64_t n = mslot_snapshot_nslots(snap, 0) + mslot_snapshot_nslots(snap, 1);

	mslot_leave(snap);
	return n;
}

static void assert_list_refused(struct list *l, int err, uint32_t failed)
{
	const uint64_t gen = generation(l->map), slots = count_slots(l->map);

	assert_int_equal(list_call(l), err);
	assert_true(generation(l->map) == gen);
	assert_true(count_slots(l->map) == slots);
	assert_int_equal(l->failed, failed);
}

static const struct req slot_a = {1, 0, 0x10000, 4 * P, HVA};
static const struct req slot_b = {2, LOG, 0x20000, 4 * P, HVA + 0x100000};
static const struct req slot_c = {1 << 16 | 1, RO, 0x10000, 4 * P, HVA + 0x200000};

static struct req moved(struct req r, uint64_t gpa)
{
	r.gpa = gpa;
	return r;
}

static struct req with_flags(struct req r, uint32_t flags)
{
	r.flags = flags;
	return r;
}

static struct req deleted(struct req r)
{
	r.size = 0;
	return r;
}

static int setup(void **state)
{
	const struct mslot_map_options opt = {.nspaces = 2, .max_edits = ANY_MAX_EDITS};
	struct list *l = calloc(1, sizeof(*l));

	assert_non_null(l);
	assert_int_equal(mslot_map_create(&opt, &l->map), 0);
	assert_set(l->map, slot_a);
	assert_set(l->map, slot_b);
	assert_set(l->map, slot_c);
	list_reset(l);
	*state = l;
	return 0;
}

static int teardown(void **state)
{
	struct list *l = *state;

	alloc_fail_at(0, 0);
	assert_int_equal(mslot_check_map(l->map, NULL), 0);
	assert_int_equal(mslot_map_destroy(l->map), 0);
	free(l);
	return 0;
}

static void empty_list(void **state)
{
	struct list *l = *state;
	const struct mslot_snapshot *snap = mslot_enter(l->map);

	assert_list_ok(l, false);
	assert_int_equal(mslot_kvm_set_user_memory_region_list(l->map, &l->u.head, 8, NULL), 0);
	mslot_leave(snap);
}

static int call_with(struct list *l, uint32_t nent, size_t bytes)
{
	l->u.head.nent = nent;
	l->failed = 0;
	return mslot_kvm_set_user_memory_region_list(l->map, &l->u.head, bytes, &l->failed);
}

static void list_shorter_than_it_says(void **state)
{
	struct list *l = *state;

	list_add(l, (struct req){10, 0, 0, P, HVA}, false);
	list_add(l, (struct req){11, 0, P, P, HVA}, false);
	for (size_t bytes = 0; bytes < 8; bytes++)
		assert_int_equal(call_with(l, 0, bytes), -EFAULT);
	assert_int_equal(mslot_kvm_set_user_memory_region_list(l->map, NULL, 0, NULL), -EFAULT);
	assert_int_equal(call_with(l, 2, 8 + 2 * 64 - 1), -EFAULT);
	assert_int_equal(l->failed, MSLOT_NO_EDIT);
	assert_int_equal(call_with(l, 1, 8 + 63), -EFAULT);
	assert_int_equal(call_with(l, 1u << 26, 8 + 2 * 64), -EFAULT); /* 2^32 bytes of entries */
	assert_int_equal(call_with(l, UINT32_MAX, 8 + 2 * 64), -EFAULT);
	assert_absent(l->map, 10);
	/* More than it says is fine, and what lies behind is not read. */
	assert_int_equal(call_with(l, 1, sizeof(l->u)), 0);
	assert_slot(l->map, (struct req){10, 0, 0, P, HVA});
	assert_absent(l->map, 11);
}

static void list_longer_than_allowed(void **state)
{
	struct list *l = *state;
	const size_t bytes = 8 + (ANY_MAX_EDITS + 1) * sizeof(struct mslot_kvm_region_entry);
	struct mslot_kvm_region_list *list = calloc(1, bytes);

	assert_non_null(list);
	for (uint32_t i = 0; i <= ANY_MAX_EDITS; i++) {
		list->entries[i].slot = 100 + i;
		list->entries[i].guest_phys_addr = 0x1000000 + i * P;
		list->entries[i].memory_size = P;
	}
	list->nent = ANY_MAX_EDITS + 1;
	assert_int_equal(mslot_kvm_set_user_memory_region_list(l->map, list, bytes, &l->failed),
			 -E2BIG);
	assert_int_equal(l->failed, MSLOT_NO_EDIT);
	assert_true(count_slots(l->map) == 3);
	list->nent = ANY_MAX_EDITS;
	assert_int_equal(mslot_kvm_set_user_memory_region_list(l->map, list, bytes, NULL), 0);
	assert_true(count_slots(l->map) == 3 + ANY_MAX_EDITS);
	free(list);
}

static void header_flags(void **state)
{
	struct list *l = *state;

	/* Beside the one that is known. */
	for (unsigned int bit = 1; bit < 32; bit++) {
		list_reset(l);
		list_add(l, (struct req){10, 0, 0, P, HVA}, false);
		l->u.head.flags = 1u << bit | MSLOT_KVM_LIST_EXCLUSIVE;
		assert_list_refused(l, -EINVAL, MSLOT_NO_EDIT);
	}
	l->u.head.flags = 0;
	l->failed = 0xabcd;
	assert_list_ok(l, true);
}

static void every_pad_byte_counts(void **state)
{
	struct list *l = *state;

	list_add(l, (struct req){10, 0, 0, P, HVA}, false);
	list_add(l, (struct req){11, 0, P, P, HVA}, false);
	for (size_t i = 0; i < sizeof(l->u.head.entries[1].pad); i++) {
		l->u.head.entries[1].pad[i] = 1;
		assert_list_refused(l, -EINVAL, 1);
		l->u.head.entries[1].pad[i] = 0;
	}
	l->failed = 0xabcd;
	assert_list_ok(l, true);
}

static void labels_must_match_the_change(void **state)
{
	struct list *l = *state;
	const struct {
		struct req r;
		bool invalidate;
	} rows[] = {
	    {{10, 0, 0, P, HVA}, false},             /* CREATE */
	    {with_flags(slot_a, LOG), false},        /* FLAGS */
	    {with_flags(slot_b, 0), false},          /* FLAGS */
	    {slot_a, false},                         /* nothing */
	    {moved(slot_b, 0x30000), true},          /* MOVE */
	    {with_flags(moved(slot_b, 0), 0), true}, /* MOVE and FLAGS */
	    {deleted(slot_c), true},                 /* DELETE */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (unsigned int label = 0; label < 4; label++) {
			list_reset(l);
			list_add(l, (struct req){50, 0, 0x800000, P, HVA}, false);
			list_add(l, rows[i].r, false)->invalidate_slot = (uint8_t)label;
			if (label != rows[i].invalidate)
				assert_list_refused(l, -EINVAL, 1);
		}
		list_reset(l);
		list_add(l, rows[i].r, rows[i].invalidate);
		assert_list_ok(l, i != 3);
		teardown(state);
		setup(state);
		l = *state;
	}
}

static void slot_named_twice(void **state)
{
	struct list *l = *state;

	/* Blamed is the later one, also where one of the two changes nothing. */
	list_add(l, (struct req){50, 0, 0x800000, P, HVA}, false);
	list_add(l, slot_a, false);
	list_add(l, slot_b, false);
	list_add(l, with_flags(slot_a, LOG), false);
	list_add(l, (struct req){51, 0, 0x900000, P, HVA}, false);
	assert_list_refused(l, -EINVAL, 3);
	/* The first of several. */
	list_add(l, slot_b, false);
	list_add(l, slot_a, false);
	assert_list_refused(l, -EINVAL, 3);
	/* An entry that fails by itself before that, or after. */
	l->u.head.entries[2].flags = 1u << 9;
	assert_list_refused(l, -EINVAL, 2);
	l->u.head.entries[2] = l->u.head.entries[5];
	l->u.head.entries[4].flags = 1u << 9;
	assert_list_refused(l, -EINVAL, 3);
	/* Delete and create of one number is a contradiction too. */
	list_reset(l);
	list_add(l, deleted(slot_a), true);
	list_add(l, slot_a, false);
	assert_list_refused(l, -EINVAL, 1);
	/* The same id in two spaces is not twice. */
	list_reset(l);
	list_add(l, deleted(slot_a), true);
	list_add(l, deleted(slot_c), true);
	assert_list_ok(l, true);
	assert_absent(l->map, slot_a.slot);
	assert_absent(l->map, slot_c.slot);
}

static void space_is_checked_before_use(void **state)
{
	struct list *l = *state;
	const uint32_t spaces[] = {2, 15, 16, 255, 0x7fff, 0xffff};

	for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
		list_reset(l);
		list_add(l, (struct req){10, 0, 0, P, HVA}, false);
		list_add(l, (struct req){spaces[i] << 16 | 1, 0, 0, 0, 0}, true);
		assert_list_refused(l, -EINVAL, 1);
		list_reset(l);
		list_add(l, (struct req){spaces[i] << 16 | 1, 0, 0, P, HVA}, false);
		assert_list_refused(l, -EINVAL, 0);
		/* Also with another fault behind it: the first is to blame. */
		list_add(l, (struct req){11, 0, 1, P, HVA}, false);
		assert_list_refused(l, -EINVAL, 0);
	}
}

/* What can be wrong with an entry, and the errno; the overlap is with a slot that stays. */
static const struct {
	struct req r;
	int err;
} wrong[] = {
    {{32764, 0, 0x400000, P, HVA}, -EINVAL},    {{20, 1u << 31, 0x400000, P, HVA}, -EINVAL},
    {{20, MEMFD, 0x400000, P, HVA}, -EINVAL},   {{20, 0, 0x400000, P + 1, HVA}, -EINVAL},
    {{20, 0, 0x400001, P, HVA}, -EINVAL},       {{20, 0, 0x400000, P, HVA + 1}, -EINVAL},
    {{20, 0, 0x400000, P, HVA_LIMIT}, -EINVAL}, {{20, 0, -P, P, HVA}, -EINVAL},
    {{20, 0, 0x400000, P << 31, 0}, -EINVAL},   {{20, 0, 0, 0, 0}, -EINVAL},
    {{1, 0, 0x10000, 5 * P, HVA}, -EINVAL},     {{20, 0, 0x12000, P, HVA}, -EEXIST},
    {{20, 0, GPA_LIMIT, P, HVA}, -EINVAL},
};

/* The wrong entry among creations, a move and a change of flags, before and after it. */
static void fill_list(struct list *l, uint32_t k, struct req r)
{
	uint32_t next = 100;

	list_reset(l);
	for (uint32_t i = 0; i < MAX_ENTRIES; i++) {
		if (i == k) {
			list_add(l, r, false);
		} else if (i == (k ^ 1)) {
			list_add(l, with_flags(slot_c, RO | LOG), false);
		} else if (i == (k ^ 2)) {
			list_add(l, moved(slot_b, slot_b.gpa + 0x2000), true);
		} else {
			list_add(l, (struct req){next, 0, 0x1000000 + next * P, P, HVA}, false);
			next++;
		}
	}
}

static void failing_entry_leaves_nothing_behind(void **state)
{
	struct list *l = *state;

	for (uint32_t k = 0; k < MAX_ENTRIES; k++) {
		for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
			fill_list(l, k, wrong[i].r);
			assert_list_refused(l, wrong[i].err, k);
			assert_slot(l->map, slot_a);
			assert_slot(l->map, slot_b);
			assert_slot(l->map, slot_c);
			assert_absent(l->map, 100);
		}
	}
	fill_list(l, 33, (struct req){20, 0, 0x400000, P, HVA});
	assert_list_ok(l, true);
	assert_true(count_slots(l->map) == 3 + MAX_ENTRIES - 2);
}

static void failing_entry_after_entries_without_edit(void **state)
{
	struct list *l = *state;

	/* Edits and entries are numbered differently here. */
	list_add(l, slot_a, false);
	list_add(l, slot_c, false);
	list_add(l, (struct req){10, 0, 0, P, HVA}, false);
	list_add(l, slot_b, false);
	list_add(l, (struct req){11, 0, slot_a.gpa, P, HVA}, false);
	assert_list_refused(l, -EEXIST, 4);
	/* Entry 0 names the slot that is overlapped and is not to blame. */
	list_reset(l);
	list_add(l, slot_b, false);
	list_add(l, (struct req){11, 0, GPA_LIMIT, P, HVA}, false);
	assert_list_refused(l, -EINVAL, 1);
	list_reset(l);
	list_add(l, slot_a, false);
	list_add(l, slot_b, false);
	list_add(l, slot_c, false);
	assert_list_ok(l, false);
}

static void two_slots_change_places(void **state)
{
	struct list *l = *state;

	list_add(l, moved(slot_a, slot_b.gpa), true);
	list_add(l, moved(slot_b, slot_a.gpa), true);
	assert_list_ok(l, true);
	assert_slot(l->map, moved(slot_a, slot_b.gpa));
	assert_slot(l->map, moved(slot_b, slot_a.gpa));
	/* One slot into the place that another leaves, named before it is left. */
	list_reset(l);
	list_add(l, moved(slot_a, slot_a.gpa), true);
	list_add(l, deleted(slot_b), true);
	assert_list_ok(l, true);
	assert_slot(l->map, slot_a);
	assert_absent(l->map, slot_b.slot);
}

/* One publish for both spaces: a listener sees them change in the same commit. */
struct seen {
	int commits;
	uint32_t spaces;
};

static void see(void *ctx, const struct mslot_diff *diff)
{
	struct seen *seen = ctx;

	seen->commits++;
	for (size_t i = 0; i < diff->nsegs; i++)
		seen->spaces |= 1u << diff->segs[i].space;
}

static void spaces_switch_at_once(void **state)
{
	struct list *l = *state;
	const struct mslot_listener_ops ops = {.commit = see};
	struct mslot_listener *listener;
	struct seen seen = {0};

	assert_int_equal(mslot_listener_add(l->map, &ops, &seen, 0, &listener), 0);
	list_add(l, moved(slot_c, 0), true);
	list_add(l, (struct req){5, 0, 0, P, HVA}, false);
	list_add(l, deleted(slot_a), true);
	assert_list_ok(l, true);
	assert_int_equal(seen.commits, 1);
	assert_int_equal(seen.spaces, 3);
	assert_int_equal(mslot_listener_remove(listener), 0);
}

static int veto(void *ctx, const struct mslot_diff *diff)
{
	(void)ctx;
	(void)diff;
	return -EXDEV;
}

static void veto_and_section_blame_no_entry(void **state)
{
	struct list *l = *state;
	const struct mslot_listener_ops ops = {.prepare = veto};
	const struct mslot_snapshot *snap;
	struct mslot_listener *listener;

	list_add(l, (struct req){5, 0, 0, P, HVA}, false);
	list_add(l, deleted(slot_a), true);
	snap = mslot_enter(l->map);
	assert_list_refused(l, -EDEADLK, MSLOT_NO_EDIT);
	/* Wherever in the list the entry is that waits. */
	list_add(l, (struct req){6, 0, P, P, HVA}, false);
	list_add(l, slot_b, false);
	assert_list_refused(l, -EDEADLK, MSLOT_NO_EDIT);
	/* Only after the other checks. */
	l->u.head.entries[0].guest_phys_addr = slot_b.gpa;
	assert_list_refused(l, -EEXIST, 0);
	l->u.head.entries[0].guest_phys_addr = 0;
	mslot_leave(snap);
	assert_int_equal(mslot_listener_add(l->map, &ops, NULL, 0, &listener), 0);
	assert_list_refused(l, -EXDEV, MSLOT_NO_EDIT);
	assert_int_equal(mslot_listener_remove(listener), 0);
	l->failed = 0xabcd;
	assert_list_ok(l, true);
}

static void no_memory_at_any_allocation(void **state)
{
	struct list *l = *state;

	for (int persistent = 0; persistent < 2; persistent++) {
		uint64_t n = 0, gen = generation(l->map);
		int err;

		list_reset(l);
		for (uint32_t i = 0; i < MAX_ENTRIES; i++)
			list_add(
			    l, (struct req){100 + i, 0, 0x1000000 + i * P, persistent ? 0 : P, HVA},
			    persistent);
		do {
			alloc_fail_at(++n, persistent);
			err = list_call(l);
			alloc_fail_at(0, 0);
			assert_true(err == 0 || err == -ENOMEM);
			assert_true(generation(l->map) == gen + (err == 0));
			if (err)
				assert_int_equal(l->failed, MSLOT_NO_EDIT);
		} while (err);
		assert_true(n > 2);
	}
	assert_true(count_slots(l->map) == 3);
}

/* ---- Lists that keep vCPUs out ------------------------------------------ */

static void exclusive_inside_a_section_is_refused(void **state)
{
	struct list *l = *state;
	const struct mslot_snapshot *snap = mslot_enter(l->map);

	list_reset(l);
	list_add(l, (struct req){10, 0, 0, P, HVA}, false);
	assert_int_equal(list_call(l), 0);
	list_reset(l);
	list_add(l, (struct req){11, 0, P, P, HVA}, false);
	l->u.head.flags = MSLOT_KVM_LIST_EXCLUSIVE;
	assert_int_equal(list_call(l), -EDEADLK);
	mslot_leave(snap);
	assert_int_equal(list_call(l), 0);
}

struct runner {
	struct mslot_vcpu *vcpu;
	atomic_bool inside, stop;
	atomic_uint rounds;
	unsigned int met; /* commits that found it inside */
};

static void *run_vcpu(void *arg)
{
	struct runner *r = arg;
	const struct mslot_snapshot *snap;

	while (!atomic_load(&r->stop)) {
		assert_int_equal(mslot_vcpu_enter(r->vcpu, &snap), 0);
		atomic_store(&r->inside, true);
		atomic_fetch_add(&r->rounds, 1);
		while (!mslot_vcpu_pending(r->vcpu) && !atomic_load(&r->stop))
			sched_yield();
		atomic_store(&r->inside, false);
		mslot_vcpu_leave(r->vcpu);
	}
	return NULL;
}

static void look_for_vcpu(void *ctx, const struct mslot_diff *diff)
{
	struct runner *r = ctx;

	(void)diff;
	r->met += atomic_load(&r->inside) ? 1 : 0;
}

static unsigned int switch_slots(struct list *l, struct runner *r, __u32 flags)
{
	unsigned int i, rounds, met;

	r->met = 0;
	for (i = 0; i < 100; i++) {
		rounds = atomic_load(&r->rounds);
		while (!atomic_load(&r->inside))
			sched_yield();
		list_reset(l);
		list_add(l, (struct req){10, 0, i % 2 ? P : 0, P, HVA}, i > 0);
		l->u.head.flags = flags;
		assert_int_equal(list_call(l), 0);
		while (i > 0 && atomic_load(&r->rounds) == rounds)
			sched_yield();
	}
	met = r->met;
	list_reset(l);
	list_add(l, (struct req){10, 0, 0, 0, HVA}, true);
	assert_int_equal(list_call(l), 0);
	return met;
}

static void exclusive_keeps_vcpus_out(void **state)
{
	const struct mslot_listener_ops ops = {.commit = look_for_vcpu};
	struct list *l = *state;
	struct mslot_listener *listener;
	struct runner r = {.vcpu = NULL};
	pthread_t thread;

	assert_int_equal(mslot_vcpu_create(l->map, NULL, &r.vcpu), 0);
	assert_int_equal(mslot_listener_add(l->map, &ops, &r, 0, &listener), 0);
	assert_int_equal(pthread_create(&thread, NULL, run_vcpu, &r), 0);
	assert_int_equal(switch_slots(l, &r, MSLOT_KVM_LIST_EXCLUSIVE), 0);
	/* It can be seen where it is allowed. */
	assert_true(switch_slots(l, &r, 0) > 0);
	atomic_store(&r.stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(mslot_listener_remove(listener), 0);
	assert_int_equal(mslot_vcpu_destroy(r.vcpu), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(empty_list),
	    TEST(list_shorter_than_it_says),
	    TEST(list_longer_than_allowed),
	    TEST(header_flags),
	    TEST(every_pad_byte_counts),
	    TEST(labels_must_match_the_change),
	    TEST(slot_named_twice),
	    TEST(space_is_checked_before_use),
	    TEST(failing_entry_leaves_nothing_behind),
	    TEST(failing_entry_after_entries_without_edit),
	    TEST(two_slots_change_places),
	    TEST(spaces_switch_at_once),
	    TEST(veto_and_section_blame_no_entry),
	    TEST(no_memory_at_any_allocation),
	    TEST(exclusive_inside_a_section_is_refused),
	    TEST(exclusive_keeps_vcpus_out),
	};

	return cmocka_run_group_tests_name("kvm_list", tests, NULL, NULL);
}
