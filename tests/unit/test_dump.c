/* SPDX-License-Identifier: MIT */
/* test_dump.c - mslot_dump(): the exact text, its order, and who may stop it. */
#include "map_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <mslot/kvm.h>

struct sink {
	char text[4096];
	size_t len;
	unsigned int calls;
	unsigned int stop_at; /* this call returns `stop`; 0: none */
	int stop;
};

static int sink_write(void *ctx, const char *text, size_t len_bytes)
{
	struct sink *const s = ctx;

	/* One whole line a call. */
	assert_true(len_bytes > 0);
	assert_ptr_equal(memchr(text, '\n', len_bytes), text + len_bytes - 1);
	assert_true(s->len + len_bytes < sizeof(s->text));
	memcpy(s->text + s->len, text, len_bytes);
	s->len += len_bytes;
	s->text[s->len] = '\0';
	return ++s->calls == s->stop_at ? s->stop : 0;
}

static void expect_dump(struct mslot_map *map, const char *expected)
{
	struct sink s = {.len = 0};
	const struct mslot_snapshot *const snap = mslot_enter(map);

	assert_int_equal(mslot_dump(snap, sink_write, &s), 0);
	mslot_leave(snap);
	assert_string_equal(s.text, expected);
}

#define FIELDS "# time_s tx as_id slot flags gpa size hva kind\n"

static void an_empty_map_has_a_header_only(void **state)
{
	struct mslot_map *map = make_map(NULL);

	(void)state;
	expect_dump(map, "# mslot dump 1: 0 slots, 0x0 bytes\n" FIELDS);
	assert_int_equal(mslot_map_destroy(map), 0);
}

/* Two spaces, ids against the order of addresses, flags, and a private slot. */
static struct mslot_map *make_mixed(struct mslot_region *region)
{
	const struct mslot_map_options opt = {.nspaces = 2, .max_user_slots = 100};
	struct mslot_map *map = make_map(&opt);
	struct mslot_edit edit[4];

	for (uint32_t i = 0; i < 4; i++)
		edit[i] = edit_of(MSLOT_EDIT_CREATE, def_of(9 - i, i * 16, 4, region, i));
	edit[1].def.flags = MSLOT_LOG_DIRTY | MSLOT_READONLY;
	edit[2].def.key.id = 100;
	edit[2].edit_flags = MSLOT_EDIT_PRIVATE;
	edit[3].def.key.space = 1;
	edit[3].def.gpa = 0;
	assert_int_equal(commit_edits(map, edit, 4, NULL), 0);
	return map;
}

static const char mixed[] = "# mslot dump 1: 4 slots, 0x10000 bytes\n" FIELDS
			    "0.000000 0 0 9 0x0 0x0 0x4000 0x100000000 ADD\n"
			    "0.000000 0 0 8 0x3 0x10000 0x4000 0x100001000 ADD\n"
			    "#private 0.000000 0 0 100 0x0 0x20000 0x4000 0x100002000 ADD\n"
			    "0.000000 0 1 6 0x0 0x0 0x4000 0x100003000 ADD\n";

static void slots_come_by_space_and_address(void **state)
{
	struct mslot_region *region = make_region(HVA, REGION_PAGES);
	struct mslot_map *map = make_mixed(region);

	(void)state;
	expect_dump(map, mixed);
	mslot_region_put(region);
	assert_int_equal(mslot_map_destroy(map), 0);
}

static void a_hold_dumps_what_it_holds(void **state)
{
	struct mslot_region *region = make_region(HVA, REGION_PAGES);
	struct mslot_map *map = make_mixed(region);
	struct mslot_hold *hold = hold_now(map, "dump");
	struct sink s = {.len = 0};

	(void)state;
	drop_slot(map, 9);
	assert_int_equal(mslot_dump(mslot_hold_snapshot(hold), sink_write, &s), 0);
	assert_string_equal(s.text, mixed);
	mslot_hold_put(hold);
	mslot_region_put(region);
	assert_int_equal(mslot_map_destroy(map), 0);
}

static void equal_slots_make_equal_text_however_they_came(void **state)
{
	struct mslot_region *region = make_region(HVA, REGION_PAGES);
	struct mslot_map *map = make_mixed(region);

	(void)state;
	put_slot(map, def_of(1, 64, 1, region, 0));
	drop_slot(map, 1);
	assert_true(generation_of(map) > 1);
	expect_dump(map, mixed);
	mslot_region_put(region);
	assert_int_equal(mslot_map_destroy(map), 0);
}

static void the_first_nonzero_stops_and_is_returned(void **state)
{
	static const int stop[] = {-EPIPE, -1, 1, 77};
	struct mslot_region *region = make_region(HVA, REGION_PAGES);
	struct mslot_map *map = make_mixed(region);
	const struct mslot_snapshot *snap = mslot_enter(map);

	(void)state;
	for (unsigned int at = 1; at <= 6; at++) {
		struct sink s = {.stop_at = at, .stop = stop[at % 4]};

		assert_int_equal(mslot_dump(snap, sink_write, &s), s.stop);
		assert_int_equal(s.calls, at);
		assert_int_equal(strncmp(s.text, mixed, s.len), 0);
	}
	mslot_leave(snap);
	mslot_region_put(region);
	assert_int_equal(mslot_map_destroy(map), 0);
}

/* The longest line there can be is written whole: the widest value in every field. */
static void the_widest_fields_fit(void **state)
{
	const uint64_t top = UINT64_C(1) << 63;
	const struct mslot_map_options opt = {.nspaces = 16,
					      .max_user_slots = 1,
					      .gpa_limit = top,
					      .hva_limit = UINT64_C(0xfffffffffffff000)};
	struct mslot_map *map = make_map(&opt);
	const uint64_t len = UINT64_C(0x7ffffff) << 12;
	struct mslot_region *region = make_region(UINT64_C(0xf000000000000000), len / PAGE);
	struct mslot_edit edit = edit_of(MSLOT_EDIT_CREATE, (struct mslot_slot_def){
								.key = {15, UINT32_MAX},
								.gpa = top - len,
								.len_bytes = len,
								.region = region,
								.flags = 3,
							    });

	(void)state;
	edit.edit_flags = MSLOT_EDIT_PRIVATE;
	assert_int_equal(commit_edits(map, &edit, 1, NULL), 0);
	expect_dump(map, "# mslot dump 1: 1 slots, 0x7ffffff000 bytes\n" FIELDS
			 "#private 0.000000 0 15 4294967295 0x3 0x7fffff8000001000 0x7ffffff000 "
			 "0xf000000000000000 ADD\n");
	mslot_region_put(region);
	assert_int_equal(mslot_map_destroy(map), 0);
}

static void guest_memfd_slots_are_comments(void **state)
{
	struct mslot_map *map = make_map(NULL);
	const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	const struct mslot_kvm_userspace_memory_region2 request = {
	    .slot = 3,
	    .flags = MSLOT_GUEST_MEMFD,
	    .guest_phys_addr = 0x2000,
	    .memory_size = 0x1000,
	    .userspace_addr = 0x7000,
	    .guest_memfd = (__u32)fd,
	};

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(mslot_kvm_set_user_memory_region2(map, &request), 0);
	expect_dump(map, "# mslot dump 1: 1 slots, 0x1000 bytes\n" FIELDS
			 "#guest_memfd 0.000000 0 0 3 0x4 0x2000 0x1000 0x7000 ADD\n");
	close(fd);
	assert_int_equal(mslot_map_destroy(map), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_empty_map_has_a_header_only),
	    cmocka_unit_test(slots_come_by_space_and_address),
	    cmocka_unit_test(a_hold_dumps_what_it_holds),
	    cmocka_unit_test(equal_slots_make_equal_text_however_they_came),
	    cmocka_unit_test(the_first_nonzero_stops_and_is_returned),
	    cmocka_unit_test(the_widest_fields_fit),
	    cmocka_unit_test(guest_memfd_slots_are_comments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
