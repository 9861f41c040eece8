/* SPDX-License-Identifier: MIT */
/*
 * test_kvm.c - KVM_SET_USER_MEMORY_REGION, versions 1 and 2: every check, the order
 * of checks, and every kind of change.
 *
 * Host addresses are made up: the calls never touch the memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "kvm/request.h"
#include "kvm_calls.h"

static const struct req slot_a = {1, 0, 0x10000, 4 * P, HVA};
static const struct req slot_b = {2, LOG, 0x20000, 4 * P, HVA + 0x100000};

static int setup(void **state)
{
	struct mslot_map *map = make_map(12, 2);

	assert_set(map, slot_a);
	assert_set(map, slot_b);
	*state = map;
	return 0;
}

static int teardown(void **state)
{
	const char *why = NULL;

	alloc_fail_at(0, 0);
	assert_int_equal(mslot_check_map(*state, &why), 0);
	assert_int_equal(mslot_map_destroy(*state), 0);
	return 0;
}

/* ---- Each check alone, at its limits -------------------------------------- */

static void check1_id_limit(void **state)
{
	struct mslot_map *map = *state;

	assert_refused(map, (struct req){32764, 0, 0, P, HVA}, -EINVAL);
	assert_refused(map, (struct req){65535, 0, 0, P, HVA}, -EINVAL);
	assert_refused(map, (struct req){32764, 0, 0, 0, 0}, -EINVAL);
	assert_set(map, (struct req){32763, 0, 0, P, HVA});
}

static void check2_flags(void **state)
{
	struct mslot_map *map = *state;

	for (unsigned int bit = 2; bit < 32; bit++)
		assert_refused(map, (struct req){3, 1u << bit, 0, P, HVA}, -EINVAL);
	assert_refused(map, (struct req){1, 1u << 31, 0, 0, 0}, -EINVAL);
	assert_set(map, (struct req){3, 0, 0, P, HVA});
	assert_set(map, (struct req){4, LOG, P, P, HVA});
	assert_set(map, (struct req){5, RO, 2 * P, P, HVA});
	assert_set(map, (struct req){6, LOG | RO, 3 * P, P, HVA});
}

static void check3_to_5_alignment(void **state)
{
	struct mslot_map *map = *state;

	for (uint64_t off = 1; off < P; off *= 2) {
		assert_refused(map, (struct req){3, 0, 0, P + off, HVA}, -EINVAL);
		assert_refused(map, (struct req){3, 0, 0, off, HVA}, -EINVAL);
		assert_refused(map, (struct req){3, 0, off, P, HVA}, -EINVAL);
		assert_refused(map, (struct req){3, 0, 0, P, HVA + off}, -EINVAL);
		/* A delete uses neither address and is refused all the same. */
		assert_refused(map, (struct req){1, 0, off, 0, 0}, -EINVAL);
		assert_refused(map, (struct req){1, 0, 0, 0, off}, -EINVAL);
	}
}

static void check5_hva_range(void **state)
{
	struct mslot_map *map = *state;
	const uint64_t bad[] = {HVA_LIMIT,
				HVA_LIMIT + P,
				UINT64_C(1) << 47,
				UINT64_C(1) << 62,
				UINT64_C(0xffff800000000000),
				-P};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_refused(map, (struct req){3, 0, 0, P, bad[i]}, -EINVAL);
		if (bad[i] > HVA_LIMIT)
			assert_refused(map, (struct req){1, 0, 0, 0, bad[i]}, -EINVAL);
	}
	assert_refused(map, (struct req){3, 0, 0, 2 * P, HVA_LIMIT - P}, -EINVAL);
	assert_set(map, (struct req){3, 0, 0, P, HVA_LIMIT - P});
	assert_set(map, (struct req){4, 0, P, 2 * P, 0});
	/* An empty range may start at the limit. */
	assert_set(map, (struct req){1, 0, 0, 0, HVA_LIMIT});
}

static void check7_space(void **state)
{
	struct mslot_map *map = *state;

	assert_refused(map, (struct req){2 << 16 | 1, 0, 0, P, HVA}, -EINVAL);
	assert_refused(map, (struct req){0xffffu << 16 | 1, 0, 0, P, HVA}, -EINVAL);
	assert_refused(map, (struct req){2 << 16 | 1, 0, 0, 0, 0}, -EINVAL);
	assert_set(map, (struct req){1 << 16 | 1, 0, 0, P, HVA});
}

static void check8_end_wraps(void **state)
{
	struct mslot_map *map = *state;

	assert_refused(map, (struct req){3, 0, -P, P, HVA}, -EINVAL);
	assert_refused(map, (struct req){3, 0, -P, 2 * P, HVA}, -EINVAL);
	assert_refused(map, (struct req){1, 0, -P, 4 * P, HVA}, -EINVAL);
	/* Any aligned gpa does for a delete. */
	assert_set(map, (struct req){1, 0, -P, 0, 0});
}

static void check9_page_count(void **state)
{
	struct mslot_map *map = *state;
	const uint64_t most = MSLOT_MAX_SLOT_PAGES * P;

	assert_refused(map, (struct req){3, 0, 1 << 30, most + P, 0}, -EINVAL);
	assert_refused(map, (struct req){3, 0, 0, UINT64_C(1) << 63, 0}, -EINVAL);
	assert_refused(map, (struct req){3, 0, 0, -P, 0}, -EINVAL);
	assert_set(map, (struct req){3, 0, 1 << 30, most, 0});
}

static void check10_delete_of_nothing(void **state)
{
	struct mslot_map *map = *state;

	assert_refused(map, (struct req){3, 0, 0, 0, 0}, -EINVAL);
	assert_refused(map, (struct req){1 << 16 | 1, 0, 0, 0, 0}, -EINVAL);
	assert_set(map, (struct req){1, 0, 0, 0, 0});
	assert_refused(map, (struct req){1, 0, 0, 0, 0}, -EINVAL);
}

/* No map can hold that many pages, so the check is asked directly. */
static void check11_sum_of_pages_wraps(void **state)
{
	const struct kvm_request req = {.key = {0, 1}, .len_bytes = 2 * P};
	const struct mslot_slot_info old = {.len_bytes = 2 * P};
	struct kvm_plan plan;

	(void)state;
	assert_int_equal(kvm_request_infer(&req, NULL, UINT64_MAX - 2, 2, &plan), 0);
	assert_int_equal(plan.change, KVM_CHANGE_CREATE);
	assert_int_equal(kvm_request_infer(&req, NULL, UINT64_MAX - 1, 2, &plan), -EINVAL);
	assert_int_equal(kvm_request_infer(&req, NULL, UINT64_MAX, 2, &plan), -EINVAL);
	/* A change of a slot adds none. */
	assert_int_equal(kvm_request_infer(&req, &old, UINT64_MAX, 2, &plan), 0);
	assert_int_equal(plan.change, KVM_CHANGE_NONE);
}

static void check12_existing_slot_differs(void **state)
{
	struct mslot_map *map = *state;
	const struct req a = slot_a;

	assert_refused(map, (struct req){1, 0, a.gpa, a.size, a.hva + P}, -EINVAL);
	assert_refused(map, (struct req){1, 0, a.gpa, a.size + P, a.hva}, -EINVAL);
	assert_refused(map, (struct req){1, 0, a.gpa, a.size - P, a.hva}, -EINVAL);
	assert_refused(map, (struct req){1, RO, a.gpa, a.size, a.hva}, -EINVAL);
	assert_refused(map, (struct req){1, RO | LOG, a.gpa, a.size, a.hva}, -EINVAL);
	assert_refused(map, (struct req){1, RO, a.gpa + P, a.size, a.hva}, -EINVAL);
	assert_set(map, (struct req){3, RO, 0, P, HVA});
	assert_refused(map, (struct req){3, 0, 0, P, HVA}, -EINVAL);
}

static void check13_overlap(void **state)
{
	struct mslot_map *map = *state;
	const uint64_t a = slot_a.gpa, end = slot_a.gpa + slot_a.size;

	assert_refused(map, (struct req){3, 0, a, P, HVA}, -EEXIST);
	assert_refused(map, (struct req){3, 0, end - P, P, HVA}, -EEXIST);
	assert_refused(map, (struct req){3, 0, a - P, 2 * P, HVA}, -EEXIST);
	assert_refused(map, (struct req){3, 0, a - P, slot_a.size + 2 * P, HVA}, -EEXIST);
	assert_refused(map, (struct req){2, LOG, a + P, slot_b.size, slot_b.hva}, -EEXIST);
	assert_refused(map, (struct req){2, 0, a - P, slot_b.size, slot_b.hva}, -EEXIST);
	/* Neighbours touch, and another space does not matter. */
	assert_set(map, (struct req){3, 0, a - P, P, HVA});
	assert_set(map, (struct req){4, 0, end, P, HVA});
	assert_set(map, (struct req){1 << 16 | 3, 0, a, P, HVA});
}

static void check14_memory(void **state)
{
	struct mslot_map *map = *state;
	const struct req changes[] = {{3, 0, 0, P, HVA},
				      {1, 0, slot_a.gpa + P, slot_a.size, slot_a.hva},
				      {1, LOG, slot_a.gpa + P, slot_a.size, slot_a.hva},
				      {1, 0, 0, 0, 0}};

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		uint64_t n = 0, gen = generation(map);
		int err;

		alloc_count_nodes(true);
		do {
			alloc_fail_at(++n, 0);
			err = set(map, changes[i]);
			alloc_fail_at(0, 0);
			assert_true(err == 0 || err == -ENOMEM);
			assert_true(generation(map) == gen + (err == 0));
		} while (err);
		alloc_count_nodes(false);
		assert_true(n > 1);
	}
}

static void check15_gpa_limit(void **state)
{
	struct mslot_map *map = *state;
	const struct req a = slot_a;

	assert_refused(map, (struct req){3, 0, GPA_LIMIT, P, HVA}, -EINVAL);
	assert_refused(map, (struct req){3, 0, GPA_LIMIT - P, 2 * P, HVA}, -EINVAL);
	assert_refused(map, (struct req){1, 0, GPA_LIMIT - P, a.size, a.hva}, -EINVAL);
	assert_set(map, (struct req){3, 0, GPA_LIMIT - P, P, HVA});
	assert_refused(map, (struct req){1, 0, GPA_LIMIT - a.size, a.size, a.hva}, -EEXIST);
	/* Overlap wins over the limit. */
	assert_refused(map, (struct req){1, 0, GPA_LIMIT - P, a.size, a.hva}, -EEXIST);
	assert_set(map, (struct req){1, 0, GPA_LIMIT, 0, 0});
}

/* ---- The order of checks --------------------------------------------------- */

static int veto(void *ctx, const struct mslot_diff *diff)
{
	(void)ctx;
	(void)diff;
	return -EXDEV;
}

/* What stands in the way of a request besides the request. */
struct hostile {
	bool no_memory, in_section, veto;
};

static int set2_hostile(struct mslot_map *map, struct req r, uint64_t offset, int fd,
			struct hostile h)
{
	const struct mslot_listener_ops ops = {.prepare = veto};
	const struct mslot_snapshot *snap = NULL;
	struct mslot_listener *listener = NULL;
	const uint64_t gen = generation(map);
	int err;

	if (h.veto)
		assert_int_equal(mslot_listener_add(map, &ops, NULL, 0, &listener), 0);
	if (h.in_section)
		snap = mslot_enter(map);
	alloc_count_nodes(true);
	alloc_fail_at(h.no_memory, 1);
	err = set2(map, r, offset, fd);
	alloc_fail_at(0, 0);
	alloc_count_nodes(false);
	if (snap)
		mslot_leave(snap);
	assert_int_equal(mslot_listener_remove(listener), 0);
	assert_true(generation(map) == gen);
	return err;
}

static const struct hostile everything = {true, true, true};

/* Requests that break one rule of 1 to 10 and 12; offset only counts for the memfd row. */
static const struct {
	struct req r;
	uint64_t offset;
} early[] = {
    {{32764, 0, 0x20000, P, HVA}, 0},       {{3, 1u << 31, 0x20000, P, HVA}, 0},
    {{3, MEMFD | LOG, 0x20000, P, HVA}, 0}, {{3, MEMFD | RO, 0x20000, P, HVA}, 0},
    {{3, 0, 0x20000, P + 1, HVA}, 0},       {{3, 0, 0x20001, P, HVA}, 0},
    {{3, 0, 0x20000, P, HVA + 1}, 0},       {{3, 0, 0x20000, P, HVA_LIMIT}, 0},
    {{3, MEMFD, 0x20000, P, HVA}, 1},       {{3, MEMFD, 0x20000, P, HVA}, -P},
    {{5 << 16 | 3, 0, 0x20000, P, HVA}, 0}, {{3, 0, -P, 4 * P, HVA}, 0},
    {{3, 0, 0x20000, P << 31, 0}, 0},       {{3, 0, 0x20000, 0, HVA}, 0},
    {{1, 0, 0x20000, 4 * P, HVA + P}, 0},   {{1, MEMFD, 0x20000, 4 * P, HVA}, 0},
};
#define EARLY (sizeof(early) / sizeof(early[0]))

static void order_early_checks_win_over_everything(void **state)
{
	struct mslot_map *map = *state;

	for (size_t i = 0; i < EARLY; i++) {
		const int fd = early[i].r.flags & MEMFD ? -1 : 0;

		assert_int_equal(set2_hostile(map, early[i].r, early[i].offset, fd, everything),
				 -EINVAL);
		assert_int_equal(set2(map, early[i].r, early[i].offset, 0), -EINVAL);
	}
	/* With the rule kept, the hostile world answers otherwise. */
	assert_int_equal(set2_hostile(map, (struct req){3, 0, 0x20000, P, HVA}, 0, 0, everything),
			 -EEXIST);
}

/* Two rules broken at once by fields that do not touch, and each of them alone. */
static void order_pairs_of_fields(void **state)
{
	struct mslot_map *map = *state;
	const struct req ok = {3, 0, 0x40000, P, HVA};

	for (unsigned int i = 0; i < 7; i++) {
		for (unsigned int j = 0; j <= i; j++) {
			const unsigned int broken = 1u << i | 1u << j;
			struct req r = ok;

			r.slot |= broken & 1 ? 0xf000 : 0;
			r.flags |= broken & 2 ? 1u << 9 : 0;
			r.size += broken & 4 ? 8 : 0;
			r.gpa += broken & 8 ? 8 : 0;
			r.hva += broken & 16 ? 8 : 0;
			r.slot |= broken & 32 ? 7u << 16 : 0;
			if (broken & 64)
				r.gpa -= 0x40000 + P;
			assert_refused(map, r, -EINVAL);
		}
	}
	assert_set(map, ok);
}

static void order_of_late_checks(void **state)
{
	struct mslot_map *map = *state;
	const struct req top = {4, 0, GPA_LIMIT - P, P, HVA};
	const struct req move = {1, 0, 0x50000, slot_a.size, slot_a.hva};
	struct req over_b = move, over_top = move, beyond = move;
	const struct {
		struct req r;
		int fd;
		struct hostile h;
		int want;
	} rows[] = {
	    /* Overlap before memory, the file, the limit, waiting, listeners. */
	    {(over_b.gpa = slot_b.gpa, over_b), 0, everything, -EEXIST},
	    {(over_top.gpa = GPA_LIMIT - P, over_top), 0, everything, -EEXIST},
	    {{3, MEMFD, slot_b.gpa, P, HVA}, -1, everything, -EEXIST},
	    /* Memory before the limit, waiting, listeners. */
	    {(beyond.gpa = GPA_LIMIT, beyond), 0, everything, -ENOMEM},
	    {move, 0, everything, -ENOMEM},
	    /* The file before the limit and listeners. */
	    {{3, MEMFD, GPA_LIMIT, P, HVA}, -1, {false, true, true}, -EBADF},
	    {{3, MEMFD, 0x50000, P, HVA}, -1, {false, true, true}, -EBADF},
	    /* The limit before waiting and listeners. */
	    {beyond, 0, {false, true, true}, -EINVAL},
	    {{3, 0, GPA_LIMIT, P, HVA}, 0, {false, true, true}, -EINVAL},
	    /* Waiting before listeners. */
	    {move, 0, {false, true, true}, -EDEADLK},
	    {{1, 0, 0, 0, 0}, 0, {false, true, true}, -EDEADLK},
	    {move, 0, {false, false, true}, -EXDEV},
	    {{3, 0, 0x50000, P, HVA}, 0, {false, true, true}, -EXDEV},
	};

	assert_set(map, top);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(set2_hostile(map, rows[i].r, 0, rows[i].fd, rows[i].h),
				 rows[i].want);
	assert_set(map, move);
}

/* ---- Kinds of change ------------------------------------------------------- */

static void request_that_changes_nothing(void **state)
{
	struct mslot_map *map = *state;
	const struct mslot_snapshot *snap = mslot_enter(map);
	const uint64_t gen = generation(map);

	/* Publishes nothing, so it neither waits nor minds the section. */
	assert_int_equal(set(map, slot_a), 0);
	assert_int_equal(set(map, slot_b), 0);
	assert_int_equal(set2(map, slot_a, 5, -1), 0);
	assert_true(generation(map) == gen);
	mslot_leave(snap);
}

static void flags_and_moves(void **state)
{
	struct mslot_map *map = *state;
	struct req a = slot_a;

	a.flags = LOG;
	assert_set(map, a);
	a.flags = 0;
	assert_set(map, a);
	/* Up and down by less than its length: its own old place is no obstacle. */
	a.gpa += P;
	assert_set(map, a);
	a.gpa -= 2 * P;
	assert_set(map, a);
	a.gpa += 0x100000;
	a.flags = LOG;
	assert_set(map, a);
	a.gpa -= P;
	a.flags = 0;
	assert_set(map, a);
	a.gpa = 0;
	assert_set(map, a);
	assert_slot(map, slot_b);
}

static void delete_ignores_the_other_fields(void **state)
{
	struct mslot_map *map = *state;

	assert_set(map, (struct req){1, RO, 0x7000, 0, 0});
	assert_set(map, (struct req){2, RO | LOG, 0, 0, HVA});
	assert_set(map, (struct req){3, RO, 0, P, HVA});
	assert_set(map, (struct req){3, 0, 0, 0, 0});
	/* The number is free again, for anything. */
	assert_set(map, (struct req){3, LOG, slot_a.gpa, 9 * P, HVA});
}

static void two_slots_may_show_the_same_host_memory(void **state)
{
	struct mslot_map *map = *state;
	const struct mslot_snapshot *snap;
	struct mslot_iter iter;
	int seen = 0;

	assert_set(map, (struct req){3, 0, 0x40000, 4 * P, slot_a.hva});
	assert_set(map, (struct req){1 << 16 | 3, RO, 0x40000, 4 * P, slot_a.hva + P});
	snap = mslot_enter(map);
	mslot_iter_hva(&iter, snap, (struct mslot_range){slot_a.hva + P, 1});
	while (mslot_iter_next(&iter))
		seen++;
	mslot_leave(snap);
	assert_int_equal(seen, 3);
}

static void guest_memfd_slots(void **state)
{
	struct mslot_map *map = *state;
	struct req m = {3, MEMFD, 0x40000, 4 * P, HVA}, n;
	int fd[2];

	assert_int_equal(pipe(fd), 0);
	assert_refused(map, m, -EINVAL); /* version 1 does not know the flag */
	errno = EXDEV;
	assert_int_equal(set2(map, m, 0, -1), -EBADF);
	assert_int_equal(errno, EXDEV);
	assert_int_equal(set2(map, m, 1, fd[0]), -EINVAL);
	assert_int_equal(set2(map, m, -(4 * P), fd[0]), -EINVAL);
	assert_int_equal(set2(map, m, P, fd[0]), 0);
	assert_slot(map, m);
	/* From now on it can only be deleted. */
	assert_int_equal(set2(map, m, P, fd[0]), -EINVAL);
	n = m;
	n.gpa += P;
	assert_int_equal(set2(map, n, P, fd[0]), -EINVAL);
	n = m;
	n.flags = 0;
	assert_refused(map, n, -EINVAL);
	n.flags = LOG;
	assert_refused(map, n, -EINVAL);
	assert_slot(map, m);
	m.size = 0;
	assert_int_equal(set2(map, m, 0, -1), 0); /* a delete does not look at the file */
	assert_absent(map, 3);
	close(fd[0]);
	close(fd[1]);
}

static void version2_without_memfd_is_version1(void **state)
{
	struct mslot_map *map = *state;
	const struct req r = {3, LOG | RO, 0x40000, P, HVA};

	assert_int_equal(set2(map, r, 1, -1), 0);
	assert_slot(map, r);
	assert_int_equal(set2(map, (struct req){3, 0, 0, 0, 0}, 1, -1), 0);
	assert_absent(map, 3);
}

static void spaces_are_bits_16_to_31(void **state)
{
	(void)state;
	for (uint32_t nspaces = 1; nspaces <= 16; nspaces += nspaces == 2 ? 14 : 1) {
		struct mslot_map *map = make_map(12, nspaces);

		for (uint32_t s = 0; s < nspaces; s++)
			assert_set(map, (struct req){s << 16 | 7, 0, 0x10000, P, HVA + s * P});
		assert_refused(map, (struct req){nspaces << 16 | 7, 0, 0x10000, P, HVA}, -EINVAL);
		for (uint32_t s = 0; s < nspaces; s++)
			assert_slot(map, (struct req){s << 16 | 7, 0, 0x10000, P, HVA + s * P});
		assert_set(map, (struct req){(nspaces - 1) << 16 | 7, 0, 0, 0, 0});
		if (nspaces > 1)
			assert_slot(map, (struct req){7, 0, 0x10000, P, HVA});
		assert_int_equal(mslot_map_destroy(map), 0);
	}
}

static void page_sizes_16k_and_64k(void **state)
{
	(void)state;
	for (uint32_t shift = 14; shift <= 16; shift += 2) {
		struct mslot_map *map = make_map(shift, 1);
		const uint64_t p = UINT64_C(1) << shift;

		assert_refused(map, (struct req){1, 0, P, p, HVA}, -EINVAL);
		assert_refused(map, (struct req){1, 0, p / 2, p, HVA}, -EINVAL);
		assert_refused(map, (struct req){1, 0, 0, p / 2, HVA}, -EINVAL);
		assert_refused(map, (struct req){1, 0, 0, p, HVA + p / 2}, -EINVAL);
		assert_refused(map, (struct req){1, 0, 0, p << 31, 0}, -EINVAL);
		assert_set(map, (struct req){1, 0, p, p, HVA});
		assert_refused(map, (struct req){2, 0, p, p, HVA}, -EEXIST);
		assert_set(map, (struct req){2, 0, 2 * p, p, HVA});
		assert_set(map, (struct req){1, LOG, 0, p, HVA});
		assert_int_equal(mslot_map_destroy(map), 0);
	}
}

static void private_slots_cannot_be_reached(void **state)
{
	const struct mslot_map_options opt = {.max_user_slots = 100};
	const struct mslot_region_options ropt = {.hva = (void *)HVA, .len_bytes = P, .fd = -1};
	struct mslot_edit edit = {.kind = MSLOT_EDIT_CREATE,
				  .edit_flags = MSLOT_EDIT_PRIVATE,
				  .def = {.key = {0, 200}, .gpa = 0x10000, .len_bytes = P}};
	struct mslot_slot_info info;
	struct mslot_map *map;
	struct mslot_txn *txn;

	(void)state;
	assert_int_equal(mslot_map_create(&opt, &map), 0);
	assert_int_equal(mslot_region_create(&ropt, &edit.def.region), 0);
	assert_int_equal(mslot_txn_begin(map, &txn), 0);
	assert_int_equal(mslot_txn_add(txn, &edit), 0);
	assert_int_equal(mslot_txn_commit(txn, NULL, NULL), 0);
	mslot_region_put(edit.def.region);

	assert_refused(map, (struct req){200, 0, 0, 0, 0}, -EINVAL);
	assert_refused(map, (struct req){200, 0, 0x10000, P, HVA}, -EINVAL);
	assert_refused(map, (struct req){200, LOG, 0x10000, P, 0}, -EINVAL);
	assert_refused(map, (struct req){99, 0, 0x10000, P, HVA}, -EEXIST);
	assert_refused(map, (struct req){100, 0, 0x40000, P, HVA}, -EINVAL);
	assert_set(map, (struct req){99, 0, 0x10000 + P, P, HVA});
	assert_true(find(map, 200, &info) && info.is_private == 1 && info.gpa == 0x10000);
	assert_int_equal(mslot_map_destroy(map), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(check1_id_limit),
	    TEST(check2_flags),
	    TEST(check3_to_5_alignment),
	    TEST(check5_hva_range),
	    TEST(check7_space),
	    TEST(check8_end_wraps),
	    TEST(check9_page_count),
	    TEST(check10_delete_of_nothing),
	    cmocka_unit_test(check11_sum_of_pages_wraps),
	    TEST(check12_existing_slot_differs),
	    TEST(check13_overlap),
	    TEST(check14_memory),
	    TEST(check15_gpa_limit),
	    TEST(order_early_checks_win_over_everything),
	    TEST(order_pairs_of_fields),
	    TEST(order_of_late_checks),
	    TEST(request_that_changes_nothing),
	    TEST(flags_and_moves),
	    TEST(delete_ignores_the_other_fields),
	    TEST(two_slots_may_show_the_same_host_memory),
	    TEST(guest_memfd_slots),
	    TEST(version2_without_memfd_is_version1),
	    cmocka_unit_test(spaces_are_bits_16_to_31),
	    cmocka_unit_test(page_sizes_16k_and_64k),
	    cmocka_unit_test(private_slots_cannot_be_reached),
	};

	return cmocka_run_group_tests_name("kvm", tests, NULL, NULL);
}
