/* SPDX-License-Identifier: MIT */
/*
 * fuzz_txn.c - transactions against the naive map of tests/support.
 *
 * The first bytes of the input choose the map's options; the rest is transactions, each
 * followed by what it is committed with: options, a veto, an allocation that fails. After
 * each the snapshot, the held ones, the leases and what the listeners were told are compared.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "../tests/model/txn_twin.h"
#include "base/alloc.h"
#include "fuzz.h"
#include "map/lease.h"

#define MAX_TXNS 32u
#define REGIONS 7u
#define LENT 6u /* the region that the map outlives its creator's reference to */
#define HOLDS 3u
#define LEASES 3u
#define LEASE_PAGES 16u /* at most */

struct twin_tally tally; /* what txn_compare.c counts */

struct held {
	struct mslot_hold *hold;
	struct naive_map copy;
};

/* A lease, and the map that it was taken from. */
struct leased {
	struct mslot_lease *lease;
	struct mslot_span span;
	struct naive_map copy;
};

struct calls {
	unsigned int prepare, abort, commit;
};

struct world {
	struct input in;
	struct rng rng; /* for the questions that txn_compare.c asks */
	struct mslot_map *map;
	struct naive_map naive, next, prev;
	uint64_t page, base_gpa;
	struct twin_txn txn;
	struct held holds[HOLDS];
	struct leased leases[LEASES];
	struct mslot_listener *first, *second;
	struct calls calls;
	int veto; /* what the second listener answers */
};

/* ---- Host memory ---------------------------------------------------------- */

static struct naive_region regions[REGIONS];
static atomic_uint lent_releases;

static void on_release(void *ctx, const struct mslot_region_options *opt)
{
	(void)opt;
	atomic_fetch_add((atomic_uint *)ctx, 1);
}

static void create_region(size_t i, uint64_t hva, uint64_t len)
{
	const struct mslot_region_options opt = {
	    .hva = (void *)(uintptr_t)hva,
	    .len_bytes = len,
	    .fd = -1,
	    .release = i == LENT ? on_release : NULL,
	    .ctx = &lent_releases,
	};

	FUZZ_REQUIRE(mslot_region_create(&opt, &regions[i].handle) == 0);
	regions[i].hva = hva;
	regions[i].len = len;
	regions[i].usable = true;
}

/* Made-up addresses: the map never looks at the memory itself. */
static void create_regions(void)
{
	if (!regions[0].handle) {
		create_region(0, UINT64_C(1) << 32, UINT64_C(1) << 44);
		create_region(1, (UINT64_C(1) << 32) + 0x80000, UINT64_C(1) << 44);
		create_region(2, 0x10000, 0x30000);                            /* small */
		create_region(3, 0x200000, 0x50064);                           /* not whole pages */
		create_region(4, 0x400200, 0x90000);                           /* not aligned */
		create_region(5, UINT64_C(0x7fffffff0000) - 0x10000, 0x80000); /* beyond */
	}
}

/* ---- Options ---------------------------------------------------------------- */

static void choose_options(struct world *w, struct mslot_map_options *opt)
{
	static const uint32_t shifts[] = {0, 12, 14, 16}, spaces[] = {0, 2, 3, 16};
	const uint8_t a = in_u8(&w->in), b = in_u8(&w->in);

	*opt = (struct mslot_map_options){
	    .page_shift = shifts[a & 3],
	    .nspaces = spaces[a >> 2 & 3],
	    .max_user_slots = a & 0x10 ? 8 : 0,
	    .max_edits = a & 0x20 ? 6 : 0,
	    .retired_limit_bytes = a & 0x40 ? 65536 : 0,
	    .max_slots = b & 1 ? 5 : 0,
	    .max_pages = b & 2 ? 40 : 0,
	    .gpa_limit = b & 4 ? ~UINT64_C(0xffff) : 0,
	    .hva_limit = b & 8 ? UINT64_C(1) << 47 : 0,
	};
	w->page = UINT64_C(1) << (opt->page_shift ? opt->page_shift : 12);
	if (b & 0x10)
		opt->gpa_limit = 96 * w->page;
	if (b & 0x20)
		w->base_gpa = UINT64_C(1) << 32;
	if (b & 0x40) /* right below the limit */
		w->base_gpa = (opt->gpa_limit ? opt->gpa_limit : UINT64_C(1) << 52) - 96 * w->page;
}

/* ---- Edits ------------------------------------------------------------------ */

static const struct naive_slot *some_slot(struct world *w)
{
	const uint8_t i = in_u8(&w->in);

	return w->naive.n ? &w->naive.slots[i % w->naive.n] : NULL;
}

static uint64_t odd_number(struct world *w)
{
	const uint8_t how = in_u8(&w->in);
	const uint64_t val = in_uint(&w->in, 8);

	return how & 1 ? val : how & 2 ? 0 - val % 16 * w->page : (val & ~(w->page - 1));
}

static uint64_t some_gpa(struct world *w)
{
	const uint8_t how = in_u8(&w->in);
	const struct naive_slot *slot;

	if (how < 0xa0)
		return w->base_gpa + how * w->page;
	if (how >= 0xfa)
		return odd_number(w);
	slot = some_slot(w);
	if (!slot)
		return w->base_gpa;
	return (how & 1 ? slot->gpa : slot->gpa + slot->len) +
	       ((how >> 1 & 7) - UINT64_C(3)) * w->page;
}

static uint64_t some_len(struct world *w)
{
	static const uint64_t large[] = {
	    0, 1, 63, 64, 65, 65535, 65537, MSLOT_MAX_SLOT_PAGES, MSLOT_MAX_SLOT_PAGES + 1};
	const uint8_t how = in_u8(&w->in);

	if (how < 0xd0)
		return (1 + how % 12u) * w->page;
	return how < 0xfa ? large[how % 9u] * w->page : odd_number(w);
}

static uint64_t some_offset(struct world *w)
{
	const uint8_t how = in_u8(&w->in);

	return how < 0xf8 ? how % 24u * w->page : odd_number(w);
}

static struct mslot_region *some_region(struct world *w)
{
	const uint8_t how = in_u8(&w->in);
	const uint32_t i = how < 0xc0 ? how % 2 : how % (REGIONS + 1);

	return i < REGIONS && regions[i].usable ? regions[i].handle : NULL;
}

static struct mslot_key some_key(struct world *w, bool exists)
{
	const uint8_t how = in_u8(&w->in);
	const struct naive_slot *slot;
	struct mslot_key key = {how % w->naive.opt.nspaces, in_u8(&w->in) % 12u};

	if (how >= 0xe0)
		key.id += w->naive.opt.max_user_slots - 4;
	if (how == 0xff)
		key.space = w->naive.opt.nspaces;
	if (exists == (how < 0xd0)) {
		slot = some_slot(w);
		key = slot ? slot->key : key;
	}
	return key;
}

static uint32_t some_flags(struct world *w)
{
	const uint8_t how = in_u8(&w->in);

	return how < 0xf8 ? how & 3u : how & 0xffu;
}

/* Goes on where an existing slot ends, in gpa and in host memory: the two can be merged. */
static bool continues(struct world *w, struct mslot_slot_def *def)
{
	const struct naive_slot *slot;

	if (!in_chance(&w->in, 96))
		return false;
	slot = some_slot(w);
	if (!slot || !regions[slot->region].usable)
		return false;
	def->key.space = slot->key.space;
	def->gpa = slot->gpa + slot->len;
	def->region = regions[slot->region].handle;
	def->offset_bytes = slot->offset + slot->len;
	def->flags = slot->flags;
	return true;
}

static void choose_parts(struct world *w, struct mslot_edit *e, struct mslot_part *parts)
{
	const uint8_t how = in_u8(&w->in);
	const struct naive_slot *slot = naive_find_id(&w->naive, e->def.key);

	e->parts = parts;
	e->nparts = how % 16u == 15 ? 0 : 1 + how % (TWIN_PARTS / 2);
	for (size_t i = 0; i < e->nparts; i++) {
		const struct naive_slot *next = slot ? slot + 1 + i : NULL;

		if (e->kind == MSLOT_EDIT_SPLIT) {
			parts[i].gpa =
			    (slot ? slot->gpa : 0) + (1 + i + in_below(&w->in, 4)) * w->page;
			parts[i].id = some_key(w, false).id;
		} else if (next && next < w->naive.slots + w->naive.n && how < 0xe0) {
			parts[i].id = next->key.id; /* the neighbour, if any can be merged */
		} else {
			parts[i].id = some_key(w, true).id;
		}
	}
}

static void choose_edit(struct world *w, struct mslot_edit *e, struct mslot_part *parts)
{
	const uint8_t how = in_u8(&w->in);

	memset(e, 0, sizeof(*e));
	e->kind = how == 0xff ? (enum mslot_edit_kind)(in_u8(&w->in))
			      : (enum mslot_edit_kind)(MSLOT_EDIT_CREATE + how % 9);
	e->def.key = some_key(w, e->kind != MSLOT_EDIT_CREATE);
	if (e->def.key.id >= w->naive.opt.max_user_slots)
		e->edit_flags = MSLOT_EDIT_PRIVATE;
	if (how >= 0xf0)
		e->edit_flags ^= in_u8(&w->in);
	if (e->kind == MSLOT_EDIT_CREATE && continues(w, &e->def)) {
		e->def.len_bytes = some_len(w);
		return;
	}
	/* Each kind reads some of the fields and must ignore the others. */
	if (e->kind != MSLOT_EDIT_DELETE) {
		e->def.gpa = some_gpa(w);
		e->def.flags = some_flags(w);
	}
	if (e->kind == MSLOT_EDIT_CREATE || e->kind == MSLOT_EDIT_REDEFINE ||
	    e->kind == MSLOT_EDIT_RESIZE)
		e->def.len_bytes = some_len(w);
	if (e->kind == MSLOT_EDIT_CREATE || e->kind == MSLOT_EDIT_REDEFINE ||
	    e->kind == MSLOT_EDIT_REPLACE) {
		e->def.region = some_region(w);
		e->def.offset_bytes = some_offset(w);
	}
	if (e->kind == MSLOT_EDIT_SPLIT || e->kind == MSLOT_EDIT_MERGE)
		choose_parts(w, e, parts);
}

static void choose_txn(struct world *w)
{
	const uint8_t n = in_u8(&w->in);

	w->txn.n = n < 0xf0 ? 1 + n % 8u : n % 48u;
	for (size_t i = 0; i < w->txn.n; i++)
		choose_edit(w, &w->txn.edits[i], w->txn.parts[i]);
}

/* ---- Listeners ---------------------------------------------------------------- */

static int first_prepare(void *ctx, const struct mslot_diff *diff)
{
	struct world *w = ctx;

	w->calls.prepare++;
	if (!cmp_diff(diff, &w->naive, &w->next))
		fuzz_fail("the difference is another one");
	return 0;
}

static void first_abort(void *ctx, const struct mslot_diff *diff)
{
	(void)diff;
	((struct world *)ctx)->calls.abort++;
}

static void first_commit(void *ctx, const struct mslot_diff *diff)
{
	(void)diff;
	((struct world *)ctx)->calls.commit++;
}

static int second_prepare(void *ctx, const struct mslot_diff *diff)
{
	(void)diff;
	return ((struct world *)ctx)->veto;
}

static void add_listeners(struct world *w)
{
	const struct mslot_listener_ops first = {first_prepare, first_abort, first_commit};
	const struct mslot_listener_ops second = {.prepare = second_prepare};

	FUZZ_REQUIRE(mslot_listener_add(w->map, &first, w, 0, &w->first) == 0);
	FUZZ_REQUIRE(mslot_listener_add(w->map, &second, w, 0, &w->second) == 0);
}

/* ---- Leases ------------------------------------------------------------------- */

static bool same_page(const struct naive_map *a, const struct naive_map *b, uint32_t space,
		      uint64_t gpa)
{
	const struct naive_slot *x = naive_find(a, space, gpa), *y = naive_find(b, space, gpa);

	return x && y && x->region == y->region &&
	       naive_hva(a, x) + (gpa - x->gpa) == naive_hva(b, y) + (gpa - y->gpa);
}

/*
 * Does a map show another thing where a page of the lease was taken? With `old` only pages count
 * that this one shows as they were.
 */
static bool lost(const struct leased *l, const struct naive_map *old, const struct naive_map *naive)
{
	const uint64_t page = UINT64_C(1) << naive->opt.page_shift,
		       first = l->span.gpa & ~(page - 1),
		       last = (l->span.gpa + l->span.len_bytes - 1) & ~(page - 1);
	const uint32_t space = l->span.space;
	uint64_t gpa;

	for (gpa = first; gpa <= last; gpa += page)
		if (!same_page(&l->copy, naive, space, gpa) &&
		    (!old || same_page(&l->copy, old, space, gpa)))
			return true;
	return false;
}

static bool any_breaks(const struct world *w)
{
	for (unsigned int i = 0; i < LEASES; i++)
		if (w->leases[i].lease && lost(&w->leases[i], &w->naive, &w->next))
			return true;
	return false;
}

static void put_lease(struct leased *l)
{
	if (!l->lease)
		return;
	mslot_lease_put(l->lease);
	naive_fini(&l->copy);
	l->lease = NULL;
}

static void take_lease(struct world *w, struct leased *l, const char *tag)
{
	const struct mslot_snapshot *snap = mslot_enter(w->map);
	struct iovec seg[LEASE_PAGES + 1];
	const struct iovec *iov;
	size_t n;
	int err, want;

	l->span = (struct mslot_span){
	    .space = in_u8(&w->in) % w->naive.opt.nspaces,
	    .access = in_chance(&w->in, 128) ? MSLOT_WRITE : MSLOT_READ,
	    .gpa = some_gpa(w),
	    .len_bytes = in_u8(&w->in) % (LEASE_PAGES * 4) * (w->page / 4),
	};
	want = naive_translate(&w->naive, &l->span, seg, LEASE_PAGES + 1);
	(void)fuzz_alloc_fail(&w->in);
	err = mslot_lease_take(snap, &l->span, tag, &l->lease);
	if (fuzz_alloc_heal() && err == -ENOMEM)
		err = mslot_lease_take(snap, &l->span, tag, &l->lease);
	mslot_leave(snap);
	FUZZ_REQUIRE(err == (want < 0 ? want : 0));
	if (err)
		return;
	iov = mslot_lease_iov(l->lease, &n);
	FUZZ_REQUIRE((int)n == want);
	for (size_t i = 0; i < n; i++)
		FUZZ_REQUIRE(iov[i].iov_base == seg[i].iov_base &&
			     iov[i].iov_len == seg[i].iov_len);
	naive_init(&l->copy, &w->naive.opt, regions, REGIONS);
	naive_copy(&l->copy, &w->naive);
}

/* Who holds, which of them is removed, and that these are waited for. */
static void check_leases(struct world *w)
{
	struct mslot_lease_holder holders[LEASES + 1];
	size_t n = mslot_lease_holders(w->map, holders, LEASES + 1), taken = 0;
	bool removed = false;

	for (unsigned int i = 0; i < LEASES; i++)
		taken += w->leases[i].lease != NULL;
	FUZZ_REQUIRE(n == taken);
	for (size_t i = 0; i < n; i++) {
		const struct leased *l = &w->leases[(unsigned char)holders[i].tag[0] - '0'];

		FUZZ_REQUIRE(l->lease && holders[i].span.gpa == l->span.gpa);
		FUZZ_REQUIRE(holders[i].span.len_bytes == l->span.len_bytes);
		FUZZ_REQUIRE(holders[i].generation == l->copy.generation);
		FUZZ_REQUIRE(holders[i].removed == lost(l, NULL, &w->naive));
		FUZZ_REQUIRE(i == 0 || holders[i - 1].generation <= holders[i].generation);
		removed |= holders[i].removed;
	}
	/* Not always: it costs a grace period. */
	if (removed && rng_chance(&w->rng, 10))
		FUZZ_REQUIRE(mslot_wait(w->map, w->naive.generation, 0) == -ETIMEDOUT);
}

static void visit_lease(struct world *w)
{
	static const char *const tags[LEASES] = {"0", "1", "2"};
	const uint8_t how = in_u8(&w->in);
	struct leased *l = &w->leases[how % LEASES];

	if (l->lease)
		put_lease(l);
	else
		take_lease(w, l, tags[how % LEASES]);
}

/* ---- Commit -------------------------------------------------------------------- */

/* Hand the edits to the library; what an allocation refused is added again. */
static struct mslot_txn *collect(struct world *w)
{
	struct mslot_txn *txn;
	int err = mslot_txn_begin(w->map, &txn);

	if (err == -ENOMEM && fuzz_alloc_heal())
		err = mslot_txn_begin(w->map, &txn);
	FUZZ_REQUIRE(err == 0);
	for (size_t i = 0; i < w->txn.n; i++) {
		const int want = i < w->naive.opt.max_edits ? (int)i : -E2BIG;

		err = mslot_txn_add(txn, &w->txn.edits[i]);
		if (err == -ENOMEM && fuzz_alloc_heal())
			err = mslot_txn_add(txn, &w->txn.edits[i]);
		FUZZ_REQUIRE(err == want);
	}
	if (w->txn.n > w->naive.opt.max_edits)
		w->txn.n = w->naive.opt.max_edits;
	return txn;
}

static void check_result(const struct world *w, int err, const struct naive_outcome *want,
			 const struct mslot_commit_result *got, bool published)
{
	if (err != want->error || got->failed_edit != want->failed_edit)
		fuzz_fail("commit: %d (%s) blames edit %d, naive %d and edit %d", err, got->reason,
			  (int)got->failed_edit, want->error, (int)want->failed_edit);
	FUZZ_REQUIRE(got->generation == w->naive.generation + published);
	FUZZ_REQUIRE((err == 0) == (got->reason[0] == '\0'));
}

/* The first listener hears of a commit that was published, and of one the second vetoed. */
static void check_calls(const struct world *w, bool published, bool vetoed)
{
	FUZZ_REQUIRE(w->calls.prepare == (w->first && (published || vetoed)));
	FUZZ_REQUIRE(w->calls.commit == (w->first && published));
	FUZZ_REQUIRE(w->calls.abort == vetoed);
}

static void commit(struct world *w, struct mslot_txn *txn, const struct mslot_commit_options *opt)
{
	const bool dry = opt->flags & MSLOT_COMMIT_DRY_RUN;
	struct naive_outcome want = naive_commit(&w->naive, w->txn.edits, w->txn.n, opt, &w->next);
	const bool asked_for = want.changed && !dry;
	const bool broken = asked_for && (opt->flags & MSLOT_COMMIT_NOWAIT) && any_breaks(w);
	const bool asked = asked_for && !broken, vetoed = asked && w->first && w->veto;
	struct mslot_commit_result result;
	int err;

	w->calls = (struct calls){0, 0, 0};
	err = mslot_txn_commit(txn, opt, &result);
	if (fuzz_alloc_heal() && err == -ENOMEM) {
		FUZZ_REQUIRE(result.failed_edit == MSLOT_NO_EDIT);
		FUZZ_REQUIRE(w->calls.commit == 0 && w->calls.abort == w->calls.prepare);
		FUZZ_REQUIRE(result.generation == w->naive.generation);
		fuzz_check_map(w->map);
		w->calls = (struct calls){0, 0, 0};
		err = mslot_txn_commit(txn, opt, &result);
	}
	if (broken)
		want = (struct naive_outcome){.error = -EBUSY, .failed_edit = MSLOT_NO_EDIT};
	if (vetoed)
		want = (struct naive_outcome){
		    .error = w->veto < 0 ? w->veto : -ECANCELED,
		    .failed_edit = MSLOT_NO_EDIT,
		};
	check_result(w, err, &want, &result, asked && !vetoed);
	check_calls(w, asked && !vetoed, vetoed);
	if (asked && !vetoed)
		naive_copy(&w->naive, &w->next);
	if (err || dry)
		mslot_txn_abort(txn);
}

static void choose_commit(struct world *w, struct mslot_commit_options *opt)
{
	static const int vetoes[] = {-EIO, -ENOMEM, -EINVAL, 7};
	const uint8_t how = in_u8(&w->in);

	*opt = (struct mslot_commit_options){0};
	w->veto = 0;
	if (how < 0xc0)
		return;
	if (how & 1)
		opt->flags |= MSLOT_COMMIT_DRY_RUN;
	if (how & 2) {
		opt->flags |= MSLOT_COMMIT_IF_GENERATION;
		opt->generation = w->naive.generation - (how >> 5 & 1u);
	}
	if ((how & 0x22) == 0x20)
		opt->flags |= MSLOT_COMMIT_NOWAIT;
	if (how & 4)
		w->veto = vetoes[how >> 3 & 3u];
	if (how >= 0xfe)
		opt->flags |= (MSLOT_COMMIT_EXCLUSIVE << 1) << in_below(&w->in, 28);
}

/* ---- After a transaction --------------------------------------------------------- */

static void compare_changed(const struct world *w, const struct mslot_snapshot *snap,
			    const struct naive_map *a, const struct naive_map *b)
{
	for (size_t i = 0; i < a->n; i++) {
		const struct naive_slot *slot = &a->slots[i];
		const struct naive_slot *twin = naive_find_id(b, slot->key);

		if (twin && naive_slot_equal(slot, twin))
			continue;
		FUZZ_REQUIRE(cmp_borders(snap, &w->naive, slot->key.space, slot->gpa, slot->len));
	}
}

static void compare(struct world *w)
{
	const struct mslot_snapshot *snap = mslot_enter(w->map);

	FUZZ_REQUIRE(cmp_snapshot(&w->rng, snap, &w->naive));
	compare_changed(w, snap, &w->prev, &w->naive);
	compare_changed(w, snap, &w->naive, &w->prev);
	mslot_leave(snap);
	fuzz_check_map(w->map);
}

static void put_hold(struct held *h)
{
	if (!h->hold)
		return;
	mslot_hold_put(h->hold);
	naive_fini(&h->copy);
	h->hold = NULL;
}

/* Compare a held snapshot with its copy and with the map, then replace or put it. */
static void visit_hold(struct world *w)
{
	const uint8_t how = in_u8(&w->in);
	struct held *h = &w->holds[how % HOLDS];
	const struct mslot_snapshot *snap = mslot_enter(w->map);
	struct mslot_diff *diff;

	if (h->hold) {
		FUZZ_REQUIRE(cmp_snapshot(&w->rng, mslot_hold_snapshot(h->hold), &h->copy));
		FUZZ_REQUIRE(mslot_diff_create(mslot_hold_snapshot(h->hold), snap, &diff) == 0);
		FUZZ_REQUIRE(cmp_diff(diff, &h->copy, &w->naive));
		mslot_diff_destroy(diff);
		put_hold(h);
	}
	if (how & 0x40) {
		FUZZ_REQUIRE(mslot_hold(snap, "fuzz", &h->hold) == 0);
		naive_init(&h->copy, &w->naive.opt, regions, REGIONS);
		naive_copy(&h->copy, &w->naive);
	}
	mslot_leave(snap);
}

static void put_lent(void)
{
	if (!regions[LENT].usable)
		return;
	regions[LENT].usable = false;
	mslot_region_put(regions[LENT].handle);
}

static void step(struct world *w)
{
	struct mslot_commit_options opt;
	struct mslot_txn *txn;
	uint8_t how;

	naive_copy(&w->prev, &w->naive);
	choose_txn(w);
	choose_commit(w, &opt);
	(void)fuzz_alloc_fail(&w->in);
	txn = collect(w);
	commit(w, txn, &opt);
	compare(w);
	how = in_u8(&w->in);
	if (how >= 0x40 && how < 0x80)
		visit_lease(w);
	check_leases(w);
	if (how >= 0xc0)
		visit_hold(w);
	if (how == 0x80)
		put_lent();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	struct mslot_map_options opt;
	uint64_t live;
	uint8_t how;

	memset(&w, 0, sizeof(w));
	w.in = (struct input){data, size};
	create_regions();
	live = alloc_live();
	choose_options(&w, &opt);
	rng_init(&w.rng, in_u8(&w.in));
	FUZZ_REQUIRE(mslot_map_create(&opt, &w.map) == 0);
	mslot_map_options_get(w.map, &opt);
	naive_init(&w.naive, &opt, regions, REGIONS);
	naive_init(&w.next, &opt, regions, REGIONS);
	naive_init(&w.prev, &opt, regions, REGIONS);
	how = in_u8(&w.in);
	if (how & 1)
		add_listeners(&w);
	atomic_store(&lent_releases, 0);
	if (how & 2) /* not always: its release costs a switch of threads */
		create_region(LENT, 0x600000, 0x100000);
	for (unsigned int i = 0; i < MAX_TXNS && w.in.left; i++)
		step(&w);
	for (unsigned int i = 0; i < HOLDS; i++)
		put_hold(&w.holds[i]);
	for (unsigned int i = 0; i < LEASES; i++)
		put_lease(&w.leases[i]);
	lease_thread_drop();
	FUZZ_REQUIRE(mslot_listener_remove(w.first) == 0);
	FUZZ_REQUIRE(mslot_listener_remove(w.second) == 0);
	put_lent();
	FUZZ_REQUIRE(mslot_map_destroy(w.map) == 0);
	/* It was put by now, and only this map could reach it. */
	FUZZ_REQUIRE(atomic_load(&lent_releases) == (how & 2) / 2);
	FUZZ_REQUIRE(alloc_live() == live);
	naive_fini(&w.naive);
	naive_fini(&w.next);
	naive_fini(&w.prev);
	return 0;
}
