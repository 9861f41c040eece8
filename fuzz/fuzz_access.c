/* SPDX-License-Identifier: MIT */
/*
 * fuzz_access.c - reading and writing guest memory against a flat array of host bytes.
 *
 * The twin is a table from guest pages to host pages, and a copy of the host memory that
 * it moves one byte at a time. Slots leave holes, show the same host pages twice, and
 * some are read-only.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <mslot/access.h>

#include "fuzz.h"

#define PAGE 4096u
#define HOST_PAGES 8u
#define HOST_BYTES (HOST_PAGES * PAGE)
#define GUEST_PAGES 16u
#define SPACES 2u
#define MAX_SLOTS 8u
#define MAX_OPS 64u
#define MAX_LEN (5u * PAGE)
/* Where the guest pages are: from 0, or up to the end of all addresses. */
#define HIGH_BASE (UINT64_MAX - GUEST_PAGES * PAGE + 1 - PAGE)

#define HOLE (-1)
#define NOWHERE UINT32_MAX

struct guest_page {
	int host; /* page, or HOLE */
	bool readonly;
};

struct world {
	struct input in;
	uint64_t base;
	struct mslot_map *map;
	const struct mslot_snapshot *snap;
	struct guest_page table[SPACES][GUEST_PAGES];
	uint8_t twin[HOST_BYTES];
};

/* The library's side of the host memory, between guards that nothing may change. */
static struct {
	uint8_t before[PAGE];
	uint8_t bytes[HOST_BYTES];
	uint8_t after[PAGE];
} host __attribute__((aligned(4096)));

static uint8_t pattern[HOST_BYTES];
static struct mslot_region *region;

/* ---- The map ------------------------------------------------------------- */

static bool slot_fits(const struct world *w, uint32_t space, uint32_t first, uint32_t npages)
{
	if (first + npages > GUEST_PAGES)
		return false;
	for (uint32_t i = first; i < first + npages; i++)
		if (w->table[space][i].host != HOLE)
			return false;
	return true;
}

static void add_slot(struct world *w, struct mslot_txn *txn, uint32_t id)
{
	const uint8_t where = in_u8(&w->in), what = in_u8(&w->in);
	const uint32_t space = where >> 7, first = where % GUEST_PAGES;
	const uint32_t npages = 1 + (where >> 4 & 3), from = what % HOST_PAGES;
	struct mslot_slot_def def = {
	    .key = {space, id},
	    .gpa = w->base + first * PAGE,
	    .len_bytes = npages * PAGE,
	    .region = region,
	    .offset_bytes = from * PAGE,
	    .flags = what & 0x40 ? MSLOT_READONLY : 0,
	};

	if (!slot_fits(w, space, first, npages) || from + npages > HOST_PAGES)
		return;
	FUZZ_REQUIRE(mslot_txn_create(txn, &def) >= 0);
	for (uint32_t i = 0; i < npages; i++)
		w->table[space][first + i] = (struct guest_page){(int)(from + i), what & 0x40};
}

static void world_init(struct world *w)
{
	const struct mslot_map_options opt = {.nspaces = SPACES, .gpa_limit = ~UINT64_C(4095)};
	const struct mslot_region_options mem = {
	    .hva = host.bytes,
	    .len_bytes = HOST_BYTES,
	    .fd = -1,
	};
	struct mslot_txn *txn;
	uint32_t nslots;

	if (!region)
		FUZZ_REQUIRE(mslot_region_create(&mem, &region) == 0);
	w->base = in_u8(&w->in) & 1 ? HIGH_BASE : 0;
	for (uint32_t i = 0; i < SPACES * GUEST_PAGES; i++)
		w->table[i / GUEST_PAGES][i % GUEST_PAGES] = (struct guest_page){HOLE, false};
	/* Built once; a copy of it is quicker than making it again. */
	for (size_t i = 0; pattern[HOST_BYTES - 1] == 0 && i < HOST_BYTES; i++)
		pattern[i] = (uint8_t)(i * 7 + i / 251);
	memcpy(w->twin, pattern, HOST_BYTES);
	memcpy(host.bytes, pattern, HOST_BYTES);
	memset(host.before, 0x5a, PAGE);
	memset(host.after, 0x5a, PAGE);
	FUZZ_REQUIRE(mslot_map_create(&opt, &w->map) == 0);
	FUZZ_REQUIRE(mslot_txn_begin(w->map, &txn) == 0);
	nslots = 1 + in_below(&w->in, MAX_SLOTS);
	for (uint32_t id = 0; id < nslots; id++)
		add_slot(w, txn, id);
	FUZZ_REQUIRE(mslot_txn_commit(txn, NULL, NULL) == 0);
	fuzz_check_map(w->map);
	w->snap = mslot_enter(w->map);
}

/* ---- The twin ------------------------------------------------------------ */

/* The host byte behind a guest byte, or NOWHERE. */
static uint32_t twin_at(const struct world *w, struct mslot_addr at, bool *readonly)
{
	const uint64_t page = (at.gpa - w->base) / PAGE;
	const struct guest_page *p;

	*readonly = false;
	if (at.space >= SPACES || at.gpa < w->base || page >= GUEST_PAGES)
		return NOWHERE;
	p = &w->table[at.space][page];
	*readonly = p->readonly;
	return p->host == HOLE ? NOWHERE : (uint32_t)p->host * PAGE + (uint32_t)(at.gpa % PAGE);
}

static uint32_t twin_byte(const struct world *w, struct mslot_addr at, uint64_t i)
{
	bool readonly;

	at.gpa += i;
	return twin_at(w, at, &readonly);
}

static int twin_check(const struct world *w, struct mslot_addr at, uint64_t len, bool write)
{
	bool readonly;

	if (len && at.gpa + (len - 1) < at.gpa)
		return -EOVERFLOW;
	/* A span longer than all pages meets a hole within them. */
	for (uint64_t i = 0; i < len; i++, at.gpa++) {
		if (twin_at(w, at, &readonly) == NOWHERE)
			return -ENOENT;
		if (write && readonly)
			return -EACCES;
	}
	return 0;
}

/*
 * Does a copy meet a host byte at two guest addresses, one of them written? Then the
 * contract promises a mix only.
 */
static bool copy_is_mix(const struct world *w, struct mslot_addr to, struct mslot_addr from,
			uint64_t len)
{
	static uint32_t read_at[HOST_BYTES], written_at[HOST_BYTES]; /* offset of the gpa + 1 */
	const uint64_t source = from.gpa - w->base + 1, target = to.gpa - w->base + 1;
	bool mix = false;

	memset(read_at, 0, sizeof(read_at));
	memset(written_at, 0, sizeof(written_at));
	for (uint64_t i = 0; i < len; i++)
		read_at[twin_byte(w, from, i)] = (uint32_t)(source + i);
	for (uint64_t i = 0; i < len; i++) {
		const uint32_t h = twin_byte(w, to, i);

		mix |= written_at[h] != 0;
		mix |= read_at[h] && read_at[h] != (uint32_t)(target + i);
		written_at[h] = (uint32_t)(target + i);
	}
	/* A source byte read at two addresses keeps one of them only: ask again. */
	for (uint64_t i = 0; i < len; i++)
		mix |= written_at[twin_byte(w, from, i)] &&
		       written_at[twin_byte(w, from, i)] != (uint32_t)(source + i);
	return mix;
}

/* ---- Choices ------------------------------------------------------------- */

/* Mostly near the border of a page. */
static struct mslot_addr some_addr(struct world *w)
{
	static const uint16_t near[] = {0, 1, 2, 4, 8, 16, 2048, 4088, 4080, 4092, 4094, 4095};
	const uint8_t where = in_u8(&w->in), at = in_u8(&w->in);
	struct mslot_addr addr = {.space = where >> 7};

	addr.gpa = w->base + (where % (GUEST_PAGES + 1)) * PAGE;
	if (at < 0xc0)
		addr.gpa += near[at % 12];
	else
		addr.gpa += in_uint(&w->in, 2) % PAGE;
	if (where == 0x7f)
		addr = (struct mslot_addr){SPACES, addr.gpa};
	if (where == 0x7e)
		addr.gpa = UINT64_MAX - at;
	return addr;
}

static uint64_t some_len(struct world *w)
{
	static const uint16_t often[] = {0, 1, 2, 4, 8, 3, 7, 9, 16, 64, 4095, 4096, 4097, 8192};
	const uint8_t how = in_u8(&w->in);

	if (how < 0xc0)
		return often[how % 14];
	if (how < 0xfe)
		return in_uint(&w->in, 2) % MAX_LEN;
	return how == 0xff ? UINT64_MAX - in_u8(&w->in) : 0;
}

/* ---- Operations ---------------------------------------------------------- */

static void do_read(struct world *w)
{
	static uint8_t buf[MAX_LEN + 16];
	const struct mslot_addr from = some_addr(w);
	const uint32_t shift = in_below(&w->in, 8);
	const uint64_t len = some_len(w) % MAX_LEN;
	const int want = twin_check(w, from, len, false);

	memset(buf, 0x77, sizeof(buf));
	FUZZ_REQUIRE(mslot_read(w->snap, from, buf + shift, len) == want);
	for (uint64_t i = 0; i < sizeof(buf); i++) {
		uint8_t byte = 0x77;

		if (want == 0 && i >= shift && i - shift < len)
			byte = w->twin[twin_byte(w, from, i - shift)];
		if (buf[i] != byte)
			fuzz_fail("mslot_read: byte %zd is %#x, not %#x", (ssize_t)i - shift,
				  buf[i], byte);
	}
}

static void do_write(struct world *w)
{
	static uint8_t buf[MAX_LEN + 16];
	const struct mslot_addr to = some_addr(w);
	const uint32_t shift = in_below(&w->in, 8);
	const uint64_t len = some_len(w) % MAX_LEN;
	const int want = twin_check(w, to, len, true);
	const uint8_t seed = in_u8(&w->in);

	for (uint64_t i = 0; i < len; i++)
		buf[shift + i] = (uint8_t)(seed + i * 3);
	FUZZ_REQUIRE(mslot_write(w->snap, to, buf + shift, len) == want);
	for (uint64_t i = 0; want == 0 && i < len; i++)
		w->twin[twin_byte(w, to, i)] = buf[shift + i];
}

static void do_clear(struct world *w)
{
	const struct mslot_addr to = some_addr(w);
	const uint64_t len = some_len(w);
	const int want = twin_check(w, to, len, true);

	FUZZ_REQUIRE(mslot_clear(w->snap, to, len) == want);
	for (uint64_t i = 0; want == 0 && i < len; i++)
		w->twin[twin_byte(w, to, i)] = 0;
}

static void do_copy(struct world *w)
{
	static uint8_t moved[MAX_LEN];
	const struct mslot_addr from = some_addr(w);
	struct mslot_addr to = some_addr(w);
	const uint64_t len = some_len(w);
	int want;
	bool mix;

	if (in_chance(&w->in, 64)) /* by a little */
		to = (struct mslot_addr){from.space, from.gpa + in_u8(&w->in) - 128};
	want = twin_check(w, from, len, false);
	if (want == 0)
		want = twin_check(w, to, len, true);
	mix = want == 0 && copy_is_mix(w, to, from, len);
	FUZZ_REQUIRE(mslot_copy(w->snap, to, from, len) == want);
	if (want)
		return;
	for (uint64_t i = 0; i < len; i++)
		moved[i] = w->twin[twin_byte(w, from, i)];
	for (uint64_t i = 0; i < len; i++) {
		const uint32_t h = twin_byte(w, to, i);

		w->twin[h] = mix ? host.bytes[h] : moved[i];
	}
}

static uint64_t get_word(const struct world *w, uint32_t at, unsigned int size)
{
	uint64_t val = 0;

	memcpy(&val, &w->twin[at], size); /* little-endian, as the fuzzer's machines are */
	return val;
}

static uint64_t narrow(uint64_t val, unsigned int size)
{
	return size >= 8 ? val : val & ((UINT64_C(1) << 8 * size) - 1);
}

static void do_atomic(struct world *w)
{
	const unsigned int size =
	    in_below(&w->in, 4) == 3 ? in_below(&w->in, 18) : 1u << in_below(&w->in, 4);
	const struct mslot_addr at = some_addr(w);
	const uint8_t op = in_u8(&w->in);
	const uint64_t desired = in_uint(&w->in, 2) * UINT64_C(0x100010001000101);
	uint64_t val = UINT64_C(0x1122334455667788), expected;
	const bool good = (size == 1 || size == 2 || size == 4 || size == 8) && at.gpa % size == 0;
	int want = good ? twin_check(w, at, 1, op % 3 != 0) : -EINVAL;
	const uint32_t h = want ? 0 : twin_byte(w, at, 0);
	const uint64_t old = want ? 0 : get_word(w, h, size);

	switch (op % 3) {
	case 0:
		FUZZ_REQUIRE(mslot_load(w->snap, at, size, &val) == want);
		FUZZ_REQUIRE(val == (want ? UINT64_C(0x1122334455667788) : old));
		return;
	case 1:
		FUZZ_REQUIRE(mslot_store(w->snap, at, size, desired) == want);
		break;
	default:
		expected = val = op & 0x80 ? old | ~narrow(UINT64_MAX, size) : in_u8(&w->in);
		if (want == 0)
			want = narrow(expected, size) == old;
		FUZZ_REQUIRE(mslot_cmpxchg(w->snap, at, size, &val, desired) == want);
		FUZZ_REQUIRE(val == (want < 0 ? expected : old));
		if (want != 1)
			return;
		want = 0;
	}
	if (want == 0)
		memcpy(&w->twin[h], &desired, size);
}

static void check_host(const struct world *w)
{
	/* All bytes equal: the first is right, and each is like the next one. */
	FUZZ_REQUIRE(host.before[0] == 0x5a && memcmp(host.before, host.before + 1, PAGE - 1) == 0);
	FUZZ_REQUIRE(memcmp(host.after, host.before, PAGE) == 0);
	if (memcmp(w->twin, host.bytes, HOST_BYTES) == 0)
		return;
	for (size_t i = 0; i < HOST_BYTES; i++)
		if (w->twin[i] != host.bytes[i])
			fuzz_fail("host byte %#zx is %#x, not %#x", i, host.bytes[i], w->twin[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const op[])(struct world * w) = {do_read, do_write, do_copy, do_clear,
						       do_atomic};
	static struct world w;

	w.in = (struct input){data, size};
	world_init(&w);
	for (unsigned int i = 0; i < MAX_OPS && w.in.left; i++) {
		op[in_below(&w.in, 5)](&w);
		check_host(&w);
	}
	mslot_leave(w.snap);
	FUZZ_REQUIRE(mslot_map_destroy(w.map) == 0);
	return 0;
}
