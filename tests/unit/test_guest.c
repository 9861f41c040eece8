/* SPDX-License-Identifier: MIT */
/*
 * test_guest.c - accesses through a root: every size at every offset around the borders of pages
 * and slots, copies of many pages, read-modify-writes, and what fails without a trace.
 */
#include "guest_fixture.h"

static const unsigned int sizes[] = {1, 2, 4, 8, 16};
#define SIZES (sizeof(sizes) / sizeof(*sizes))

/* What an access to [addr, addr + len) returns. */
static int expected(uint64_t addr, uint64_t len, enum mslot_access access)
{
	int64_t place = 0;

	for (uint64_t i = 0; i < len && place >= 0; i++)
		place = place_of(addr + i, access);
	return place < 0 ? (int)place : 0;
}

/* The bytes that should be there; of the twin. */
static void twin_read(const struct fixture *f, uint64_t addr, uint64_t len, unsigned char *out)
{
	for (uint64_t i = 0; i < len; i++)
		out[i] = f->twin[place_of(addr + i, MSLOT_READ)];
}

static void twin_write(const struct fixture *f, uint64_t addr, uint64_t len,
		       const unsigned char *from)
{
	for (uint64_t i = 0; i < len; i++)
		f->twin[place_of(addr + i, MSLOT_WRITE)] = from[i];
}

static void expect_twin(const struct fixture *f)
{
	assert_memory_equal(f->host, f->twin, PAGES(SHOWN_PAGES));
}

static void draw(unsigned char *out, size_t len)
{
	static uint64_t state = 88172645463325252u;

	for (size_t i = 0; i < len; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		out[i] = (unsigned char)(state >> 32);
	}
}

/* ---- Loads and stores ------------------------------------------------------ */

/* The inline form of a size. */
static int load_inline(struct mslot_vcpu *vcpu, uint64_t addr, unsigned int size, void *val)
{
	switch (size) {
	case 1:
		return mslot_vcpu_load8(vcpu, addr, val);
	case 2:
		return mslot_vcpu_load16(vcpu, addr, val);
	case 4:
		return mslot_vcpu_load32(vcpu, addr, val);
	case 8:
		return mslot_vcpu_load64(vcpu, addr, val);
	default:
		return mslot_vcpu_load128(vcpu, addr, val);
	}
}

static int store_inline(struct mslot_vcpu *vcpu, uint64_t addr, unsigned int size, const void *val)
{
	struct mslot_u128 wide = {0, 0};
	uint64_t word = 0;

	memcpy(size == sizeof(wide) ? (void *)&wide : &word, val, size);
	switch (size) {
	case 1:
		return mslot_vcpu_store8(vcpu, addr, (uint8_t)word);
	case 2:
		return mslot_vcpu_store16(vcpu, addr, (uint16_t)word);
	case 4:
		return mslot_vcpu_store32(vcpu, addr, (uint32_t)word);
	case 8:
		return mslot_vcpu_store64(vcpu, addr, word);
	default:
		return mslot_vcpu_store128(vcpu, addr, wide);
	}
}

static void load_both(struct fixture *f, uint64_t addr, unsigned int size)
{
	_Alignas(16) unsigned char got[16], want[16];
	int err = expected(addr, size, MSLOT_READ);

	for (int inlined = 0; inlined < 2; inlined++) {
		memset(got, 0xa5, sizeof(got));
		memset(want, 0xa5, sizeof(want));
		if (!err)
			twin_read(f, addr, size, want);
		if (inlined)
			assert_int_equal(load_inline(f->vcpu, addr, size, got), err);
		else
			assert_int_equal(mslot_vcpu_load(f->vcpu, addr, size, got), err);
		assert_memory_equal(got, want, sizeof(got));
	}
}

static void store_both(struct fixture *f, uint64_t addr, unsigned int size)
{
	_Alignas(16) unsigned char val[16];
	int err = expected(addr, size, MSLOT_WRITE);

	for (int inlined = 0; inlined < 2; inlined++) {
		draw(val, sizeof(val));
		if (!err)
			twin_write(f, addr, size, val);
		if (inlined)
			assert_int_equal(store_inline(f->vcpu, addr, size, val), err);
		else
			assert_int_equal(mslot_vcpu_store(f->vcpu, addr, size, val), err);
		expect_twin(f);
	}
}

/* Page after page, cold and warm, reads before writes and the other way round. */
static void every_size_at_every_offset(struct fixture *f, uint64_t border)
{
	for (unsigned int turn = 0; turn < 3; turn++)
		for (unsigned int s = 0; s < SIZES; s++)
			for (uint64_t addr = border - 17; addr <= border + 17; addr++) {
				if (turn == 0)
					tlb_flush(&f->vcpu->head);
				if (turn == 1)
					store_both(f, addr, sizes[s]);
				load_both(f, addr, sizes[s]);
				if (turn != 1)
					store_both(f, addr, sizes[s]);
			}
}

static void accesses_around_borders(void **state)
{
	/* In a slot; between slots; to one that is read-only; out of it; a page of the guest's. */
	static const unsigned int borders[] = {
	    3, 64, 72, 74, HOLE, UNMAPPED_PAGE, GUEST_READONLY_PAGE, GUEST_READONLY_PAGE + 1};
	struct fixture *f = *state;
	struct mslot_root *const roots[] = {f->direct, f->shadow};

	for (unsigned int r = 0; r < 2; r++) {
		use_root(f, roots[r]);
		for (unsigned int b = 0; b < sizeof(borders) / sizeof(*borders); b++) {
			enter(f);
			every_size_at_every_offset(f, f->base + PAGES(borders[b]));
			leave(f);
		}
	}
}

static void what_is_no_access_is_refused(void **state)
{
	struct fixture *f = *state;
	unsigned char val[32] = {0};
	uint64_t word = 7;

	assert_int_equal(mslot_vcpu_load(f->vcpu, 0, 8, val), -EINVAL);
	enter(f);
	assert_int_equal(mslot_vcpu_load(f->vcpu, 0, 8, val), 0);
	leave(f);
	/* Though the cache has it. */
	assert_int_equal(mslot_vcpu_load(f->vcpu, 0, 8, val), -EINVAL);
	enter(f);
	for (unsigned int size = 0; size < 32; size++) {
		const bool valid = size == 1 || size == 2 || size == 4 || size == 8 || size == 16;

		assert_int_equal(mslot_vcpu_load(f->vcpu, 0, size, val), valid ? 0 : -EINVAL);
		assert_int_equal(mslot_vcpu_store(f->vcpu, 0, size, val), valid ? 0 : -EINVAL);
	}
	assert_int_equal(mslot_vcpu_load64(f->vcpu, UINT64_MAX - 6, &word), -EOVERFLOW);
	assert_int_equal(mslot_vcpu_store64(f->vcpu, UINT64_MAX - 3, word), -EOVERFLOW);
	assert_int_equal(mslot_vcpu_read(f->vcpu, UINT64_MAX - 6, val, 8), -EOVERFLOW);
	/* Beyond the levels of the root. */
	assert_int_equal(mslot_vcpu_load64(f->vcpu, UINT64_C(1) << 48, &word), -EINVAL);
	assert_int_equal(mslot_vcpu_root_set(f->vcpu, NULL), 0);
	assert_int_equal(mslot_vcpu_load64(f->vcpu, 0, &word), -EINVAL);
	assert_int_equal(mslot_vcpu_read(f->vcpu, 0, val, 0), -EINVAL);
	assert_int_equal(word, 7);
	leave(f);
}

static int no_walk(void **state)
{
	struct fixture *f = *state;
	struct mslot_root_options opt = {.kind = MSLOT_ROOT_SHADOW};
	struct mslot_root *root;
	uint64_t word;

	assert_int_equal(mslot_root_create(f->mmu, &opt, &root), 0);
	use_root(f, root);
	enter(f);
	assert_int_equal(mslot_vcpu_load64(f->vcpu, 0, &word), -EINVAL);
	leave(f);
	use_root(f, f->direct);
	return mslot_root_destroy(root);
}

static int walk_polling(void *ctx, struct mslot_vcpu *vcpu, uint64_t addr, enum mslot_access access,
			struct mslot_walk *out)
{
	const struct mslot_snapshot *snap;

	(void)access;
	assert_int_equal(mslot_vcpu_poll(vcpu, &snap), -EDEADLK);
	++*(unsigned int *)ctx;
	*out = (struct mslot_walk){.gpa = addr, .level = 1};
	return 0;
}

/* An access of two pages has the first one's host address when it asks for the second. */
static void a_walk_cannot_end_the_section(void **state)
{
	unsigned int walks = 0;
	struct mslot_root_options opt = {
	    .kind = MSLOT_ROOT_SHADOW, .walk = walk_polling, .ctx = &walks};
	struct fixture *f = *state;
	struct mslot_root *root;
	uint64_t val;

	assert_int_equal(mslot_root_create(f->mmu, &opt, &root), 0);
	use_root(f, root);
	enter(f);
	assert_int_equal(mslot_vcpu_load(f->vcpu, PAGES(6) - 4, 8, &val), 0);
	assert_int_equal(
	    mslot_prefault(f->vcpu, root, (struct mslot_range){0, PAGES(2)}, MSLOT_READ), 2);
	assert_int_equal(walks, 4);
	enter_again(f);
	leave(f);
	use_root(f, f->direct);
	assert_int_equal(mslot_root_destroy(root), 0);
}

static void a_shadow_root_needs_a_walk(void **state)
{
	assert_int_equal(no_walk(state), 0);
}

/* ---- Copies ---------------------------------------------------------------- */

static void copy_one(struct fixture *f, uint64_t addr, size_t len)
{
	static unsigned char got[601 * 4096], want[601 * 4096];
	int err = expected(addr, len, MSLOT_READ);

	memset(got, 0x5a, len + 1);
	memset(want, 0x5a, len + 1);
	if (!err)
		twin_read(f, addr, len, want);
	assert_int_equal(mslot_vcpu_read(f->vcpu, addr, got, len), err);
	assert_memory_equal(got, want, len + 1);
	err = expected(addr, len, MSLOT_WRITE);
	draw(want, len);
	if (!err)
		twin_write(f, addr, len, want);
	assert_int_equal(mslot_vcpu_write(f->vcpu, addr, want, len), err);
	assert_memory_equal(f->host, f->twin, PAGES(HOST_PAGES));
}

static void copies_are_whole_or_nothing(void **state)
{
	static const struct {
		uint64_t at; /* byte of the root */
		size_t len;
	} copies[] = {
	    {0, 0},
	    {5, 0},
	    {0, 1},
	    {4095, 1},
	    {4095, 2},
	    {0, 4096},
	    {1, 4096},
	    {4096, 4095},
	    {PAGES(2) + 1, 3 * 4096 - 2},
	    /* As many pages as need no memory, and one more. */
	    {PAGES(4), 32 * 4096},
	    {PAGES(4) + 1, 32 * 4096},
	    {PAGES(4), 33 * 4096},
	    /* Across slots, into one that is read-only, and into a hole. */
	    {PAGES(62) + 9, 4 * 4096},
	    {PAGES(70) + 9, 2 * 4096},
	    {PAGES(74) + 9, 2 * 4096},
	    {PAGES(74) + 9, 2 * 4096 - 9},
	    {PAGES(40), 5 * 4096},
	    /* More pages than the cache has entries. */
	    {PAGES(1024), 600 * 4096},
	    {PAGES(1024) + 1, 600 * 4096 - 1},
	    {PAGES(1024) + 2, 600 * 4096 - 1},
	};
	struct fixture *f = *state;
	struct mslot_root *const roots[] = {f->direct, f->shadow};

	for (unsigned int r = 0; r < 2; r++) {
		use_root(f, roots[r]);
		enter(f);
		for (unsigned int i = 0; i < sizeof(copies) / sizeof(*copies); i++)
			copy_one(f, f->base + copies[i].at, copies[i].len);
		leave(f);
	}
}

/* ---- Read-modify-writes ---------------------------------------------------- */

static void cmpxchg_of_all_sizes(void **state)
{
	struct fixture *f = *state;
	unsigned char found[16], with[16], old[16], other[16];

	enter(f);
	for (unsigned int s = 0; s < SIZES; s++)
		for (uint64_t at = 4096 - 32; at < 4096 + 32; at++) {
			unsigned int size = sizes[s];

			twin_read(f, at, 16, old);
			draw(with, 16);
			memcpy(found, old, 16);
			if (at % size) {
				assert_int_equal(mslot_vcpu_cmpxchg(f->vcpu, at, size, found, with),
						 -EINVAL);
				continue;
			}
			assert_int_equal(mslot_vcpu_cmpxchg(f->vcpu, at, size, found, with), 1);
			assert_memory_equal(found, old, 16);
			twin_write(f, at, size, with);
			expect_twin(f);
			/* Another in each byte in turn: what is there comes out, no more. */
			for (unsigned int i = 0; i < size; i++) {
				memcpy(other, with, 16);
				other[i] ^= 0x40;
				memcpy(found, other, 16);
				assert_int_equal(mslot_vcpu_cmpxchg(f->vcpu, at, size, found, old),
						 0);
				assert_memory_equal(found, with, size);
				assert_memory_equal(found + size, other + size, 16 - size);
				expect_twin(f);
			}
		}
	assert_int_equal(mslot_vcpu_cmpxchg(f->vcpu, 0, 3, found, with), -EINVAL);
	assert_int_equal(mslot_vcpu_cmpxchg(f->vcpu, 0, 32, found, with), -EINVAL);
	assert_int_equal(mslot_vcpu_cmpxchg(f->vcpu, PAGES(72), 8, found, with), -EACCES);
	assert_int_equal(mslot_vcpu_cmpxchg(f->vcpu, PAGES(HOLE), 8, found, with), -ENOENT);
	leave(f);
}

static uint64_t apply(enum mslot_rmw op, uint64_t a, uint64_t b)
{
	switch (op) {
	case MSLOT_RMW_XCHG:
		return b;
	case MSLOT_RMW_ADD:
		return a + b;
	case MSLOT_RMW_AND:
		return a & b;
	case MSLOT_RMW_OR:
		return a | b;
	default:
		return a ^ b;
	}
}

static void rmw_of_all_sizes(void **state)
{
	struct fixture *f = *state;
	uint64_t operand, was, now, old;

	enter(f);
	for (int op = MSLOT_RMW_XCHG; op <= MSLOT_RMW_XOR; op++)
		for (unsigned int s = 0; s < 4; s++)
			for (uint64_t at = 4096 - 16; at < 4096 + 16; at++) {
				unsigned int size = sizes[s];

				draw((unsigned char *)&operand, sizeof(operand));
				if (at % size) {
					assert_int_equal(mslot_vcpu_rmw(f->vcpu, at, size,
									(enum mslot_rmw)op, operand,
									&old),
							 -EINVAL);
					continue;
				}
				was = 0;
				twin_read(f, at, size, (unsigned char *)&was);
				now = apply((enum mslot_rmw)op, was, operand);
				twin_write(f, at, size, (unsigned char *)&now);
				old = ~was;
				assert_int_equal(mslot_vcpu_rmw(f->vcpu, at, size,
								(enum mslot_rmw)op, operand,
								at % 3 ? &old : NULL),
						 0);
				assert_int_equal(old, at % 3 ? was : ~was);
				expect_twin(f);
			}
	old = 7;
	assert_int_equal(mslot_vcpu_rmw(f->vcpu, 0, 16, MSLOT_RMW_ADD, 1, &old), -EINVAL);
	assert_int_equal(mslot_vcpu_rmw(f->vcpu, 0, 8, (enum mslot_rmw)5, 1, &old), -EINVAL);
	assert_int_equal(mslot_vcpu_rmw(f->vcpu, PAGES(72), 8, MSLOT_RMW_ADD, 1, &old), -EACCES);
	assert_int_equal(mslot_vcpu_rmw(f->vcpu, PAGES(HOLE), 8, MSLOT_RMW_ADD, 1, &old), -ENOENT);
	assert_int_equal(old, 7);
	expect_twin(f);
	leave(f);
}

/* ---- Other page sizes ------------------------------------------------------ */

static void pages_of_other_sizes(void **state)
{
	(void)state;
	for (unsigned int shift = 14; shift <= 16; shift += 2) {
		const struct mslot_map_options opt = {.page_shift = shift};
		const struct mslot_root_options direct = {.kind = MSLOT_ROOT_DIRECT};
		const uint64_t page = UINT64_C(1) << shift;
		unsigned char *host = aligned_alloc(page, 3 * page);
		struct mslot_region_options region_opt = {
		    .hva = host, .len_bytes = 3 * page, .fd = -1};
		struct fixture f = {.map = make_map(&opt)};
		struct mslot_slot_def def = {.len_bytes = 2 * page};
		uint64_t word = UINT64_C(0x0102030405060708), got = 0;

		memset(host, 0, 3 * page);
		assert_int_equal(mslot_region_create(&region_opt, &f.region), 0);
		def.region = f.region;
		put_slot(f.map, def);
		assert_int_equal(mslot_mmu_create(f.map, NULL, &f.mmu), 0);
		assert_int_equal(mslot_root_create(f.mmu, &direct, &f.direct), 0);
		assert_int_equal(mslot_vcpu_create(f.map, NULL, &f.vcpu), 0);
		use_root(&f, f.direct);
		enter(&f);
		for (uint64_t at = page - 9; at < page + 9; at++) {
			assert_int_equal(mslot_vcpu_store64(f.vcpu, at, ++word), 0);
			assert_memory_equal(host + at, &word, 8);
			assert_int_equal(mslot_vcpu_load64(f.vcpu, at, &got), 0);
			assert_int_equal(got, word);
			/* A small page's border is none. */
			assert_int_equal(mslot_vcpu_store64(f.vcpu, at % 16 + 4096 - 8, word), 0);
			assert_non_null(mslot_vcpu_hit(f.vcpu, 4092, 8, MSLOT_WRITE));
		}
		assert_int_equal(mslot_vcpu_load64(f.vcpu, 2 * page - 7, &got), -ENOENT);
		leave(&f);
		assert_int_equal(mslot_vcpu_destroy(f.vcpu), 0);
		assert_int_equal(mslot_root_destroy(f.direct), 0);
		assert_int_equal(mslot_mmu_destroy(f.mmu), 0);
		assert_int_equal(mslot_map_destroy(f.map), 0);
		mslot_region_put(f.region);
		free(host);
	}
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(accesses_around_borders),
	    CASE(what_is_no_access_is_refused),
	    CASE(a_shadow_root_needs_a_walk),
	    CASE(a_walk_cannot_end_the_section),
	    CASE(copies_are_whole_or_nothing),
	    CASE(cmpxchg_of_all_sizes),
	    CASE(rmw_of_all_sizes),
	    cmocka_unit_test(pages_of_other_sizes),
	};

	return cmocka_run_group_tests_name("guest", tests, NULL, NULL);
}
