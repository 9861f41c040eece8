/* SPDX-License-Identifier: MIT */
/*
 * test_txn_refused.c - transactions that are refused: each check of
 * mslot_txn_commit(), which edit it blames, and which of two checks wins.
 */
#include "map_fixture.h"

/*
 * Frames:  1 at 0-7 | 2 at 8-15 | 3 at 16-23 | hole | 4 at 32-39 | private at 48-55 | 5 at 64-71
 * Memory:  1 and 2 are one host range, 3 is another region, 4 goes on where 2 ends.
 */
#define PRIVATE_ID 1000u
#define GPA_LIMIT PAGES(4096)

struct fixture {
	struct mslot_map *map;
	struct mslot_region *region, *other, *askew, *high;
	struct mslot_slot_def defs[6];
};

static int setup(void **state)
{
	static struct fixture f;
	struct mslot_map_options opt = {.nspaces = 2,
					.max_user_slots = PRIVATE_ID,
					.gpa_limit = GPA_LIMIT,
					.hva_limit = UINT64_C(1) << 46};
	struct mslot_edit edits[6];

	f.map = make_map(&opt);
	f.region = make_region(HVA, REGION_PAGES);
	f.other = make_region(OTHER_HVA, REGION_PAGES);
	f.askew = make_region(HVA + 256, REGION_PAGES);
	f.high = make_region((UINT64_C(1) << 46) - PAGES(4), 8);
	f.defs[0] = def_of(1, 0, 8, f.region, 16);
	f.defs[1] = def_of(2, 8, 8, f.region, 24);
	f.defs[2] = def_of(3, 16, 8, f.other, 0);
	f.defs[3] = def_of(4, 32, 8, f.region, 32);
	f.defs[4] = def_of(PRIVATE_ID, 48, 8, f.other, 8);
	f.defs[5] = def_of(5, 64, 8, f.other, 16);
	for (size_t i = 0; i < 6; i++)
		edits[i] = edit_of(MSLOT_EDIT_CREATE, f.defs[i]);
	edits[4].edit_flags = MSLOT_EDIT_PRIVATE;
	assert_int_equal(commit_edits(f.map, edits, 6, NULL), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(mslot_map_destroy(f->map), 0);
	mslot_region_put(f->region);
	mslot_region_put(f->other);
	mslot_region_put(f->askew);
	mslot_region_put(f->high);
	return 0;
}

/* Commit and expect a refusal that leaves the map alone. */
static void refuse(struct fixture *f, const struct mslot_edit *edits, size_t n, int error,
		   uint32_t blamed, const char *what)
{
	struct mslot_commit_result result = {0};
	uint64_t generation = generation_of(f->map);
	int rc = commit_edits(f->map, edits, n, &result);

	if (rc != error || result.failed_edit != blamed)
		fail_msg("%s: %d blaming %d (%s), not %d blaming %d", what, rc,
			 (int)result.failed_edit, result.reason, error, (int)blamed);
	assert_int_equal(result.generation, generation);
	assert_non_null(result.reason);
	assert_true(result.reason[0] != '\0');
	expect_slots(f->map, f->defs, 6);
}

/* The same between two harmless edits on slot 5 and a new slot: only it is to blame. */
static void refuse_one(struct fixture *f, struct mslot_edit bad, const char *what)
{
	struct mslot_edit edits[4];

	edits[0] = edit_of(MSLOT_EDIT_MOVE, f->defs[5]);
	edits[0].def.gpa = PAGES(80);
	edits[1] = bad;
	edits[2] = edit_of(MSLOT_EDIT_CREATE, def_of(77, 100, 1, f->other, 0));
	edits[3] = bad; /* a second fault, which must not be blamed */
	refuse(f, edits, 3, -EINVAL, 1, what);
	refuse(f, edits, 4, -EINVAL, 1, what);
}

static void bad_kinds_flags_and_names(void **state)
{
	static const unsigned int kinds[] = {0, MSLOT_EDIT_MERGE + 1, 1u << 31};
	struct fixture *f = *state;
	struct mslot_edit good = edit_of(MSLOT_EDIT_CREATE, def_of(9, 24, 8, f->other, 0)), bad;

	for (size_t i = 0; i < 3; i++) {
		bad = good;
		bad.kind = (enum mslot_edit_kind)kinds[i];
		refuse_one(f, bad, "unknown kind");
	}
	for (unsigned int bit = 1; bit < 32; bit++) {
		bad = good;
		bad.edit_flags = 1u << bit;
		refuse_one(f, bad, "unknown edit flag");
	}
	bad = good;
	bad.def.key.space = 2;
	refuse_one(f, bad, "first space out of range");
	bad.def.key.space = UINT32_MAX;
	refuse_one(f, bad, "last space out of range");
	bad = good;
	bad.edit_flags = MSLOT_EDIT_PRIVATE;
	refuse_one(f, bad, "user id with the private flag");
	bad.def.key.id = PRIVATE_ID - 1;
	refuse_one(f, bad, "last user id with the private flag");
	bad.edit_flags = 0;
	bad.def.key.id = PRIVATE_ID + 1;
	refuse_one(f, bad, "private id without the flag");
	for (unsigned int kind = MSLOT_EDIT_DELETE; kind <= MSLOT_EDIT_MERGE; kind++) {
		struct mslot_part part = {2, PAGES(52)};

		bad = edit_of((enum mslot_edit_kind)kind, f->defs[4]);
		bad.parts = &part;
		bad.nparts = 1;
		refuse_one(f, bad, "private id without the flag, other kinds");
	}
}

static void bad_fields_of_a_definition(void **state)
{
	struct fixture *f = *state;
	const struct mslot_slot_def base = def_of(9, 24, 4, f->other, 0);
	struct {
		const char *what;
		struct mslot_slot_def def;
	} rows[24];
	size_t n = 0;

#define BAD(text, change)                                                                          \
	do {                                                                                       \
		rows[n].what = (text);                                                             \
		rows[n].def = base;                                                                \
		rows[n].def.change;                                                                \
		n++;                                                                               \
	} while (0)
	BAD("gpa off by one", gpa += 1);
	BAD("gpa off by half a page", gpa += 2048);
	BAD("no length", len_bytes = 0);
	BAD("length off by one", len_bytes += 1);
	BAD("one page too many", len_bytes = PAGES(MSLOT_MAX_SLOT_PAGES + 1));
	BAD("all pages", len_bytes = 0 - PAGE);
	BAD("gpa at the very end", gpa = 0 - PAGES(4)); /* ends at 2^64 */
	BAD("gpa wraps", gpa = 0 - PAGES(2));
	BAD("GUEST_MEMFD", flags = MSLOT_GUEST_MEMFD);
	BAD("flag bit 3", flags = 1u << 3);
	BAD("flag bit 31", flags = MSLOT_READONLY | 1u << 31);
	BAD("no region", region = NULL);
	BAD("offset off by one", offset_bytes = 1);
	BAD("offset one page too far", offset_bytes = PAGES(REGION_PAGES - 3));
	BAD("offset at the end", offset_bytes = PAGES(REGION_PAGES));
	BAD("offset beyond the end", offset_bytes = PAGES(REGION_PAGES + 1));
	BAD("offset that wraps", offset_bytes = 0 - PAGES(4));
	BAD("region that is not aligned", region = f->askew);
	BAD("longer than its region", len_bytes = PAGES(REGION_PAGES + 1));
#undef BAD
	assert_true(n <= sizeof(rows) / sizeof(*rows));
	for (size_t i = 0; i < n; i++) {
		refuse_one(f, edit_of(MSLOT_EDIT_CREATE, rows[i].def), rows[i].what);
		rows[i].def.key.id = 4;
		refuse_one(f, edit_of(MSLOT_EDIT_REDEFINE, rows[i].def), rows[i].what);
	}
	/* As far as hva_limit allows. */
	put_slot(f->map, def_of(9, 24, 4, f->high, 0));
	drop_slot(f->map, 9);
	refuse_one(f, edit_of(MSLOT_EDIT_CREATE, def_of(9, 24, 4, f->high, 1)), "hva_limit");
	refuse_one(f, edit_of(MSLOT_EDIT_CREATE, def_of(9, 24, 1, f->high, 4)), "hva_limit");
}

static void contradictions_of_existence(void **state)
{
	struct fixture *f = *state;
	struct mslot_edit bad = edit_of(MSLOT_EDIT_CREATE, def_of(3, 100, 1, f->other, 0));

	refuse_one(f, bad, "create of a slot that exists");
	bad.def.key.id = 9;
	for (unsigned int kind = MSLOT_EDIT_DELETE; kind <= MSLOT_EDIT_MERGE; kind++) {
		struct mslot_part part = {2, PAGES(100)};

		bad.kind = (enum mslot_edit_kind)kind;
		bad.parts = &part;
		bad.nparts = 1;
		refuse_one(f, bad, "a slot that does not exist");
	}
	/* The same id exists, but in the other space. */
	bad = edit_of(MSLOT_EDIT_DELETE, f->defs[0]);
	bad.def.key.space = 1;
	refuse_one(f, bad, "delete in the wrong space");
}

static void an_id_named_twice_blames_the_second(void **state)
{
	struct fixture *f = *state;
	struct mslot_part part = {2, 0}, twice[2] = {{30, PAGES(1)}, {30, PAGES(2)}};
	struct mslot_edit edits[3];

	edits[0] = edit_of(MSLOT_EDIT_DELETE, f->defs[1]);
	edits[1] = edit_of(MSLOT_EDIT_MOVE, f->defs[5]);
	edits[2] = edit_of(MSLOT_EDIT_CREATE, f->defs[1]);
	refuse(f, edits, 3, -EINVAL, 2, "delete and create of one id");
	edits[2] = edits[0];
	refuse(f, edits, 3, -EINVAL, 2, "two deletes");
	edits[2] = edit_of(MSLOT_EDIT_MERGE, f->defs[0]);
	edits[2].parts = &part;
	edits[2].nparts = 1;
	refuse(f, edits, 3, -EINVAL, 2, "delete and merge of one id");
	edits[0] = edits[2];
	edits[2] = edit_of(MSLOT_EDIT_DELETE, f->defs[1]);
	refuse(f, edits, 3, -EINVAL, 2, "merge and delete of one id");
	/* An edit without effect names its id all the same. */
	edits[0] = edit_of(MSLOT_EDIT_MOVE, f->defs[1]);
	refuse(f, edits, 3, -EINVAL, 2, "a move to nowhere new, and a delete");
	edits[0] = edit_of(MSLOT_EDIT_SPLIT, f->defs[0]);
	edits[0].parts = twice;
	edits[0].nparts = 2;
	refuse(f, edits, 1, -EINVAL, 0, "a split into one id twice");
	twice[1].id = 1;
	refuse(f, edits, 1, -EINVAL, 0, "a split into its own id");
	part.id = 1;
	edits[0] = edit_of(MSLOT_EDIT_MERGE, f->defs[0]);
	edits[0].parts = &part;
	edits[0].nparts = 1;
	refuse(f, edits, 1, -EINVAL, 0, "a merge with itself");
	part.id = 31;
	edits[0].kind = MSLOT_EDIT_SPLIT;
	part.gpa = PAGES(4);
	edits[1] = edit_of(MSLOT_EDIT_CREATE, def_of(31, 100, 1, f->other, 0));
	refuse(f, edits, 2, -EINVAL, 1, "a split and a create of one new id");
}

static void contradictions_of_move_resize_replace(void **state)
{
	static const struct {
		uint64_t gfn, npages;
	} resizes[] = {
	    {32, 0},    {40, 8}, {24, 8}, /* touch, but keep no page */
	    {100, 8},   {0, 1},  {32, MSLOT_MAX_SLOT_PAGES + 1},
	    {32, 1000}, /* beyond the region's end */
	};
	struct fixture *f = *state;
	struct mslot_edit bad = edit_of(MSLOT_EDIT_MOVE, f->defs[3]);

	bad.def.gpa += 1;
	refuse_one(f, bad, "move to an odd gpa");
	bad.def.gpa = 0 - PAGES(8);
	refuse_one(f, bad, "move to the end of all addresses");
	bad = edit_of(MSLOT_EDIT_SET_FLAGS, f->defs[3]);
	for (unsigned int bit = 2; bit < 32; bit++) {
		bad.def.flags = 1u << bit;
		refuse_one(f, bad, "unknown slot flag");
	}
	for (size_t i = 0; i < sizeof(resizes) / sizeof(*resizes); i++) {
		bad = edit_of(MSLOT_EDIT_RESIZE, f->defs[3]);
		bad.def.gpa = PAGES(resizes[i].gfn);
		bad.def.len_bytes = PAGES(resizes[i].npages);
		refuse_one(f, bad, "resize");
	}
	bad.def.gpa = PAGES(32) + 1;
	bad.def.len_bytes = PAGES(8);
	refuse_one(f, bad, "resize to an odd gpa");
	bad.def.gpa = PAGES(32);
	bad.def.len_bytes = PAGES(8) - 1;
	refuse_one(f, bad, "resize to an odd length");
	/* Slot 3 shows its region from the first byte on: nothing lies before it. */
	bad.def = f->defs[2];
	bad.def.gpa = PAGES(15);
	bad.def.len_bytes = PAGES(9);
	refuse_one(f, bad, "resize below the start of the region");
	bad = edit_of(MSLOT_EDIT_REPLACE, f->defs[3]);
	bad.def.region = NULL;
	refuse_one(f, bad, "replace by nothing");
	bad.def.region = f->other;
	bad.def.offset_bytes = PAGES(REGION_PAGES - 7);
	refuse_one(f, bad, "replace by too little");
	bad.def.offset_bytes = 12;
	refuse_one(f, bad, "replace at an odd offset");
	bad.def.offset_bytes = 0;
	bad.def.region = f->askew;
	refuse_one(f, bad, "replace by unaligned memory");
}

static void contradictions_of_split(void **state)
{
	static const struct {
		const char *what;
		struct mslot_part parts[3];
		size_t n;
	} rows[] = {
	    {"no parts", {{0}}, 0},
	    {"a part at the start", {{30, PAGES(32)}}, 1},
	    {"a part below the slot", {{30, PAGES(31)}}, 1},
	    {"a part at the end", {{30, PAGES(40)}}, 1},
	    {"a part beyond the end", {{30, PAGES(41)}}, 1},
	    {"an odd gpa", {{30, PAGES(34) + 1}}, 1},
	    {"falling parts", {{30, PAGES(36)}, {31, PAGES(34)}}, 2},
	    {"equal parts", {{30, PAGES(36)}, {31, PAGES(36)}}, 2},
	    {"an existing id", {{30, PAGES(36)}, {2, PAGES(37)}}, 2},
	    {"a private id", {{30, PAGES(36)}, {PRIVATE_ID + 1, PAGES(37)}}, 2},
	    {"a wrong last part", {{30, PAGES(33)}, {31, PAGES(34)}, {32, PAGES(40)}}, 3},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct mslot_edit bad = edit_of(MSLOT_EDIT_SPLIT, f->defs[3]);

		bad.parts = rows[i].parts;
		bad.nparts = rows[i].n;
		refuse_one(f, bad, rows[i].what);
	}
}

static void contradictions_of_merge(void **state)
{
	static const struct {
		const char *what;
		uint32_t into;
		struct mslot_part parts[2];
		size_t n;
	} rows[] = {
	    {"no parts", 1, {{0}}, 0},
	    {"a part that does not exist", 1, {{9, 0}}, 1},
	    {"another region", 2, {{3, 0}}, 1},
	    {"one host range, but a hole in gpa", 2, {{4, 0}}, 1},
	    {"a hole in the middle", 1, {{2, 0}, {4, 0}}, 2},
	    {"a private part", 3, {{PRIVATE_ID, 0}}, 1},
	    {"a part named twice", 1, {{2, 0}, {2, 0}}, 2},
	};
	struct fixture *f = *state;
	struct mslot_edit edits[2];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct mslot_edit bad = edit_of(MSLOT_EDIT_MERGE, f->defs[rows[i].into - 1]);

		bad.parts = rows[i].parts;
		bad.nparts = rows[i].n;
		refuse_one(f, bad, rows[i].what);
	}
	/* Contiguous in gpa and in one region, but not in its order; then other flags. */
	for (unsigned int round = 0; round < 2; round++) {
		struct mslot_part part = {2, 0};
		struct mslot_slot_def was = f->defs[1];

		if (round)
			f->defs[1].flags = MSLOT_LOG_DIRTY;
		else
			f->defs[1].offset_bytes = PAGES(8);
		edits[0] = edit_of(MSLOT_EDIT_REDEFINE, f->defs[1]);
		assert_int_equal(commit_edits(f->map, edits, 1, NULL), 0);
		edits[0] = edit_of(MSLOT_EDIT_MERGE, f->defs[0]);
		edits[0].parts = &part;
		edits[0].nparts = 1;
		refuse_one(f, edits[0], "merge of what does not fit");
		f->defs[1] = was;
		edits[1] = edit_of(MSLOT_EDIT_REDEFINE, was);
		assert_int_equal(commit_edits(f->map, &edits[1], 1, NULL), 0);
		/* The fault is in the old map: an edit beside it cannot mend it. */
		refuse(f, edits, 2, -EINVAL, 1, "merge and redefine of one id");
	}
}

/* The same distance from the region on both sides of a hole: only gpa tells. */
static void a_merge_over_a_hole_is_refused(void **state)
{
	struct mslot_region *region = make_region(HVA, REGION_PAGES);
	struct mslot_map *map = make_map(NULL);
	const struct mslot_slot_def defs[] = {def_of(1, 0, 1, region, 0),
					      def_of(2, 2, 1, region, 2)};
	const struct mslot_part part = {2, 0};
	struct mslot_edit merge = edit_of(MSLOT_EDIT_MERGE, defs[0]);

	(void)state;
	put_slot(map, defs[0]);
	put_slot(map, defs[1]);
	merge.parts = &part;
	merge.nparts = 1;
	assert_int_equal(commit_edits(map, &merge, 1, NULL), -EINVAL);
	expect_slots(map, defs, 2);
	mslot_region_put(region);
	assert_int_equal(mslot_map_destroy(map), 0);
}

static void overlap_blames_the_first_edit_that_takes_part(void **state)
{
	struct fixture *f = *state;
	struct mslot_edit edits[4];

	edits[0] = edit_of(MSLOT_EDIT_CREATE, def_of(20, 24, 4, f->other, 0));
	edits[1] = edit_of(MSLOT_EDIT_CREATE, def_of(21, 30, 4, f->other, 0)); /* into 4 */
	edits[2] = edit_of(MSLOT_EDIT_CREATE, def_of(22, 100, 4, f->other, 0));
	edits[3] = edit_of(MSLOT_EDIT_CREATE, def_of(23, 103, 4, f->other, 0)); /* into 22 */
	refuse(f, edits, 4, -EEXIST, 1, "two overlaps");
	refuse(f, edits + 2, 2, -EEXIST, 0, "overlap of two new slots");
	/* The upper of two that share one page is as guilty as the lower one. */
	edits[0] = edits[3];
	edits[3] = edits[2];
	edits[2] = edits[0];
	refuse(f, edits + 2, 2, -EEXIST, 0, "overlap of two new slots, the upper one first");
	edits[0] = edit_of(MSLOT_EDIT_CREATE, def_of(20, 24, 4, f->other, 0));
	edits[1].def.key.space = 1;
	refuse(f, edits, 4, -EEXIST, 2, "overlap in one space only");
	/* A private slot collides with user slots by address. */
	edits[0].def.gpa = PAGES(55);
	refuse(f, edits, 1, -EEXIST, 0, "overlap with a private slot");
	/* A move away of the one in the way mends it; a move of another one does not. */
	edits[0] = edit_of(MSLOT_EDIT_MOVE, f->defs[0]);
	edits[0].def.gpa = PAGES(8);
	edits[1] = edit_of(MSLOT_EDIT_MOVE, f->defs[2]);
	edits[1].def.gpa = PAGES(200);
	refuse(f, edits, 2, -EEXIST, 0, "move into a slot that stays");
}

static void gpa_limit_is_checked_last(void **state)
{
	struct fixture *f = *state;
	struct mslot_edit edits[3];
	uint64_t last = GPA_LIMIT / PAGE;

	edits[0] = edit_of(MSLOT_EDIT_CREATE, def_of(20, last - 2, 2, f->other, 0));
	edits[1] = edit_of(MSLOT_EDIT_MOVE, f->defs[5]);
	edits[1].def.gpa = GPA_LIMIT - PAGES(7);
	refuse(f, edits, 2, -EEXIST, 0, "overlap before the limit");
	edits[0].def.gpa = PAGES(100);
	refuse(f, edits, 2, -EINVAL, 1, "one page beyond the limit");
	edits[2] = edit_of(MSLOT_EDIT_CREATE, def_of(21, 32, 1, f->other, 0));
	refuse(f, edits, 3, -EEXIST, 2, "a later overlap before the limit");
	edits[2].def.gpa = 1;
	refuse(f, edits, 3, -EINVAL, 2, "a later bad field before the limit");
	edits[1].def.gpa = GPA_LIMIT - PAGES(8);
	assert_int_equal(commit_edits(f->map, edits, 2, NULL), 0);
}

static void limits_blame_the_last_edit_that_grew(void **state)
{
	struct mslot_map_options opt = {.nspaces = 2, .max_slots = 3, .max_pages = 40};
	struct fixture *f = *state;
	struct mslot_map *map = make_map(&opt);
	struct mslot_slot_def kept[2] = {f->defs[0], f->defs[1]}; /* 16 pages */
	struct mslot_commit_result result;
	struct mslot_part parts[2] = {{30, PAGES(2)}, {31, PAGES(4)}};
	struct mslot_edit edits[4];

	put_slot(map, kept[0]);
	put_slot(map, kept[1]);
	edits[0] = edit_of(MSLOT_EDIT_CREATE, def_of(20, 100, 1, f->other, 0));
	edits[1] = edit_of(MSLOT_EDIT_SPLIT, kept[0]);
	edits[1].parts = parts;
	edits[1].nparts = 2;
	edits[2] = edit_of(MSLOT_EDIT_MOVE, kept[1]);
	edits[2].def.gpa = PAGES(100); /* overlaps, but the limit is checked first */
	edits[3] = edit_of(MSLOT_EDIT_CREATE, def_of(21, 100, 1, f->other, 0));
	edits[3].def.key.space = 1; /* another space has a limit of its own */
	assert_int_equal(commit_edits(map, edits, 4, &result), -E2BIG);
	assert_int_equal(result.failed_edit, 1);
	assert_int_equal(commit_edits(map, edits + 1, 3, &result), -E2BIG);
	assert_int_equal(result.failed_edit, 0);
	expect_slots(map, kept, 2);
	/* 16 + 24 pages fit, one more does not; shrinking is never to blame. */
	edits[0].def.len_bytes = PAGES(24);
	edits[1] = edit_of(MSLOT_EDIT_RESIZE, kept[0]);
	edits[1].def.len_bytes = PAGES(7);
	edits[2] = edit_of(MSLOT_EDIT_RESIZE, kept[1]);
	edits[2].def.len_bytes = PAGES(10);
	assert_int_equal(commit_edits(map, edits, 3, &result), -E2BIG);
	assert_int_equal(result.failed_edit, 2);
	edits[2].def.len_bytes = PAGES(9);
	assert_int_equal(commit_edits(map, edits, 3, &result), 0);
	assert_int_equal(mslot_map_destroy(map), 0);
}

static void unknown_commit_flags_win_over_everything(void **state)
{
	struct fixture *f = *state;
	struct mslot_edit bad = edit_of(MSLOT_EDIT_CREATE, def_of(1, 0, 0, NULL, 0));

	for (unsigned int bit = 4; bit < 32; bit++) {
		struct mslot_commit_options opt = {.flags = 1u << bit | MSLOT_COMMIT_IF_GENERATION,
						   .generation = 99};
		struct mslot_commit_result result;
		struct mslot_txn *txn = begin(f->map);

		assert_int_equal(mslot_txn_add(txn, &bad), 0);
		assert_int_equal(mslot_txn_commit(txn, &opt, &result), -EINVAL);
		assert_int_equal(result.failed_edit, MSLOT_NO_EDIT);
		assert_int_equal(result.generation, 1);
		/* Without the flag the wrong generation wins over the bad edit. */
		opt.flags = MSLOT_COMMIT_IF_GENERATION;
		assert_int_equal(mslot_txn_commit(txn, &opt, &result), -EAGAIN);
		assert_int_equal(result.failed_edit, MSLOT_NO_EDIT);
		mslot_txn_abort(txn);
	}
	expect_slots(f->map, f->defs, 6);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    EACH(bad_kinds_flags_and_names),
	    EACH(bad_fields_of_a_definition),
	    EACH(contradictions_of_existence),
	    EACH(an_id_named_twice_blames_the_second),
	    EACH(contradictions_of_move_resize_replace),
	    EACH(contradictions_of_split),
	    EACH(contradictions_of_merge),
	    cmocka_unit_test(a_merge_over_a_hole_is_refused),
	    EACH(overlap_blames_the_first_edit_that_takes_part),
	    EACH(gpa_limit_is_checked_last),
	    EACH(limits_blame_the_last_edit_that_grew),
	    EACH(unknown_commit_flags_win_over_everything),
	};

	return cmocka_run_group_tests_name("txn_refused", tests, NULL, NULL);
}
