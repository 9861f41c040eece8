/* SPDX-License-Identifier: MIT */
/*
 * fuzz_dirty.c - dirty pages: edits, writes by every path, consumers, KVM's calls and final
 * harvests, against a struct a page (tests/support/dirty_bits.h).
 *
 * The first bytes choose the map; each step is an operation. What the twin says of leases: a
 * page that a write lease addresses is to be in every harvest until the lease is put, and in one
 * more; other pages that show its memory may be, and so may those whose logging begins later,
 * until somebody has waited for that.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <mslot/access.h>
#include <mslot/lease.h>

#include "base/alloc.h"
#include "dirty_bits.h"
#include "fuzz.h"
#include "kvm_log.h"
#include "map/lease.h"
#include "naive_dirty.h"

#define MAX_STEPS 96u
#define MAX_EDITS 8u
#define NREGIONS 3u
#define REGION_PAGES UINT64_C(640)
#define REGION_SKIP_PAGES UINT64_C(20)
#define WINDOW_PAGES UINT64_C(600)
#define LARGEST_PAGE UINT64_C(16384)
#define WRITE_PAGES 3u /* at most, by the paths that copy */
#define HOLDS 2u
#define LEASES 2u
#define LEASE_PAGES 16u

struct twin_tally tally; /* what txn_compare.c counts */

struct held {
	struct mslot_hold *hold;
	struct twin_past past;
};

/* A page of a lease. */
struct leased_page {
	int region;
	uint64_t offset, number;
};

struct leased {
	struct mslot_lease *lease;
	bool put;           /* but the twin is not told yet */
	bool write, newest; /* taken from the newest snapshot */
	uint32_t space;
	uint64_t gpa; /* of the first page */
	size_t npages;
	struct leased_page pages[LEASE_PAGES + 1];
};

struct world {
	struct input in;
	struct rng rng;
	struct mslot_map *map;
	struct naive_map naive, next;
	struct naive_region regions[NREGIONS];
	struct twin_shape shape;
	struct twin_txn txn;
	struct twin_bits bits;
	struct naive_dirty modes;                  /* for what KVM's capabilities say */
	struct mslot_dirty *dirty[TWIN_CONSUMERS]; /* [0] stays NULL */
	struct mslot_dirty_batch *batch[TWIN_CONSUMERS];
	struct held holds[HOLDS];
	struct leased leases[LEASES];
	uint64_t page;
	uint64_t settled; /* the last number of pages whose logging has been waited for */
};

/* A snapshot and its twin: the newest one's, or one of the past. */
struct view {
	const struct mslot_snapshot *snap;
	const struct naive_map *map;
	const struct twin_past *past; /* NULL: the newest */
};

/* ---- Pages ------------------------------------------------------------------ */

/* The slot of a page and the page in it; false where there is none. */
static bool locate(const struct view *v, uint32_t space, uint64_t gpa, size_t *slot, uint64_t *page)
{
	const struct naive_slot *found = naive_find(v->map, space, gpa);

	if (!found)
		return false;
	*slot = (size_t)(found - v->map->slots);
	*page = (gpa - found->gpa) >> v->map->opt.page_shift;
	return true;
}

/* A span was written to: all of it, whoever else may see the memory. */
static void mark_span(struct world *w, const struct view *v, const struct mslot_span *span)
{
	uint64_t gpa = span->gpa & ~(w->page - 1), page;
	size_t slot;

	for (; gpa <= span->gpa + (span->len_bytes - 1); gpa += w->page) {
		if (!locate(v, span->space, gpa, &slot, &page))
			continue;
		if (v->past)
			twin_mark_number(&w->bits, v->past->numbers[slot][page]);
		else
			twin_mark(&w->bits, slot, page, 1);
	}
}

static const struct naive_slot *some_slot(struct world *w, const struct naive_map *map)
{
	const uint8_t i = in_u8(&w->in);

	return map->n ? &map->slots[i % map->n] : NULL;
}

/* Mostly in a slot, or where one ends. */
static void choose_span(struct world *w, const struct naive_map *map, uint64_t max_pages,
			struct mslot_span *span)
{
	const struct naive_slot *slot = some_slot(w, map);
	const uint8_t how = in_u8(&w->in), len = in_u8(&w->in);
	const uint64_t npages = slot ? twin_npages(map, slot) : 1;

	span->space = slot ? slot->key.space : 0;
	span->gpa = slot ? slot->gpa : w->shape.base_gpa;
	span->gpa += (how < 0xc0 ? how * UINT64_C(3) % npages : npages - 1) * w->page;
	span->len_bytes = (1 + len % max_pages) * w->page;
	if (how & 1) {
		span->gpa += len % w->page;
		span->len_bytes -= w->page / 2;
	}
}

static struct view newest(struct world *w)
{
	return (struct view){mslot_enter(w->map), &w->naive, NULL};
}

/* The newest snapshot, or one that is held. */
static struct view some_view(struct world *w, bool *entered)
{
	const struct held *h = &w->holds[in_u8(&w->in) % (HOLDS + 1) % HOLDS];

	*entered = !h->hold || in_chance(&w->in, 128);
	if (*entered)
		return newest(w);
	return (struct view){mslot_hold_snapshot(h->hold), &h->past.map, &h->past};
}

/* ---- Writes ----------------------------------------------------------------- */

static int copy(struct world *w, const struct view *v, const struct mslot_span *span, int want)
{
	struct mslot_span from = {.access = MSLOT_READ};
	struct iovec seg[2 * WRITE_PAGES + 2];
	int from_want, err;

	choose_span(w, v->map, 1, &from);
	from.len_bytes = span->len_bytes;
	from_want = naive_translate(v->map, &from, seg, 2 * WRITE_PAGES + 2);
	err = mslot_copy(v->snap, (struct mslot_addr){span->space, span->gpa},
			 (struct mslot_addr){from.space, from.gpa}, span->len_bytes);
	FUZZ_REQUIRE(err == (from_want < 0 ? from_want : want < 0 ? want : 0));
	return err;
}

static int exchange(const struct view *v, struct mslot_addr at, bool right)
{
	uint64_t val = 0;
	int err = mslot_load(v->snap, at, 8, &val);

	if (err)
		return err;
	val += !right;
	err = mslot_cmpxchg(v->snap, at, 8, &val, val + 7);
	FUZZ_REQUIRE(err < 0 || err == right);
	return err < 0 ? err : 0;
}

/* Returns 0, or why nothing was written. */
static int write_by(struct world *w, const struct view *v, struct mslot_span *span,
		    unsigned int how)
{
	static const uint8_t bytes[WRITE_PAGES * LARGEST_PAGE];
	const struct mslot_addr at = {span->space, span->gpa & ~UINT64_C(7)};
	struct iovec seg[2 * WRITE_PAGES + 2];
	int want, err = 0;

	if (how == 3 || how == 4) {
		span->gpa = at.gpa;
		span->len_bytes = 8;
	}
	want = naive_translate(v->map, span, seg, 2 * WRITE_PAGES + 2);
	switch (how) {
	case 0:
		err = mslot_write(v->snap, (struct mslot_addr){span->space, span->gpa}, bytes,
				  (size_t)span->len_bytes);
		break;
	case 1:
		err = mslot_clear(v->snap, (struct mslot_addr){span->space, span->gpa},
				  span->len_bytes);
		break;
	case 2:
		return copy(w, v, span, want);
	case 3:
		err = mslot_store(v->snap, at, 8, 5);
		break;
	case 4:
		err = exchange(v, at, true);
		break;
	default:
		err = mslot_write_begin(v->snap, span, seg, 2 * WRITE_PAGES + 2);
		FUZZ_REQUIRE(err == want);
		if (err > 0)
			mslot_write_end(v->snap, span);
		return err < 0 ? err : 0;
	}
	FUZZ_REQUIRE(err == (want < 0 ? want : 0));
	return err;
}

static void write_some(struct world *w, const struct view *v)
{
	const uint8_t how = in_u8(&w->in);
	struct mslot_span span = {.access = MSLOT_WRITE};

	choose_span(w, v->map, how < 0xc0 ? WRITE_PAGES : 90, &span);
	if (how < 0xc0) {
		if (write_by(w, v, &span, how % 6u) == 0)
			mark_span(w, v, &span);
		return;
	}
	mslot_mark_dirty(v->snap, (struct mslot_addr){span.space, span.gpa}, span.len_bytes);
	mark_span(w, v, &span);
}

static void write_step(struct world *w)
{
	bool entered;
	const struct view v = some_view(w, &entered);

	write_some(w, &v);
	if (entered)
		mslot_leave(v.snap);
}

/* ---- Holds and leases -------------------------------------------------------- */

static void put_hold(struct held *h)
{
	if (!h->hold)
		return;
	mslot_hold_put(h->hold);
	twin_past_fini(&h->past);
	h->hold = NULL;
}

static void hold_step(struct world *w)
{
	struct held *h = &w->holds[in_u8(&w->in) % HOLDS];
	const struct mslot_snapshot *snap;

	if (h->hold) {
		put_hold(h);
		return;
	}
	snap = mslot_enter(w->map);
	FUZZ_REQUIRE(mslot_hold(snap, "fuzz", &h->hold) == 0);
	mslot_leave(snap);
	twin_past_init(&h->past, &w->bits);
}

static void put_lease(struct leased *l)
{
	mslot_lease_put(l->lease);
	l->lease = NULL;
}

static void note_pages(struct leased *l, const struct view *v, const struct twin_bits *bits,
		       uint64_t page_bytes)
{
	uint64_t page;
	size_t slot;

	for (size_t i = 0; i < l->npages; i++) {
		FUZZ_REQUIRE(locate(v, l->space, l->gpa + i * page_bytes, &slot, &page));
		l->pages[i] = (struct leased_page){
		    .region = v->map->slots[slot].region,
		    .offset = v->map->slots[slot].offset + page * page_bytes,
		    .number =
			v->past ? v->past->numbers[slot][page] : bits->pages[slot][page].number,
		};
	}
}

static void take_lease(struct world *w, struct leased *l, const struct view *v)
{
	struct mslot_span span = {0};
	struct iovec seg[LEASE_PAGES + 2];
	int err, want;

	choose_span(w, v->map, LEASE_PAGES, &span);
	span.access = in_chance(&w->in, 192) ? MSLOT_WRITE : MSLOT_READ;
	want = naive_translate(v->map, &span, seg, LEASE_PAGES + 2);
	(void)fuzz_alloc_fail(&w->in);
	err = mslot_lease_take(v->snap, &span, "fuzz", &l->lease);
	if (fuzz_alloc_heal() && err == -ENOMEM)
		err = mslot_lease_take(v->snap, &span, "fuzz", &l->lease);
	FUZZ_REQUIRE(err == (want < 0 ? want : 0));
	if (err) {
		l->lease = NULL;
		return;
	}
	l->write = span.access & MSLOT_WRITE;
	l->newest = !v->past;
	l->space = span.space;
	l->gpa = span.gpa & ~(w->page - 1);
	l->npages = (size_t)((span.gpa + span.len_bytes - 1) / w->page - l->gpa / w->page + 1);
	note_pages(l, v, &w->bits, w->page);
	if (l->write)
		mark_span(w, v, &span);
}

static void lease_step(struct world *w)
{
	struct leased *l = &w->leases[in_u8(&w->in) % LEASES];
	bool entered;
	struct view v;

	if (l->lease) {
		put_lease(l);
		return;
	}
	v = some_view(w, &entered);
	take_lease(w, l, &v);
	if (entered)
		mslot_leave(v.snap);
}

/* One page of a write lease, in one slot of the map. */
static void mark_leased(struct world *w, const struct leased *l, size_t i, size_t s)
{
	const struct naive_slot *slot = &w->naive.slots[s];
	const struct leased_page *page = &l->pages[i];
	uint64_t at, gpa;
	bool same, there;

	if (slot->region != page->region || page->offset < slot->offset ||
	    page->offset >= slot->offset + slot->len || !twin_logged(&w->bits, slot))
		return;
	at = (page->offset - slot->offset) / w->page;
	gpa = slot->gpa + at * w->page;
	same = page->number && w->bits.pages[s][at].number == page->number;
	there = l->newest && slot->key.space == l->space && gpa == l->gpa + i * w->page;
	if (same || (there && w->bits.pages[s][at].number <= w->settled))
		twin_mark(&w->bits, s, at, 1);
	else
		twin_may(&w->bits, s, at);
}

static void mark_leases(struct world *w)
{
	for (size_t l = 0; l < LEASES; l++)
		for (size_t i = 0;
		     w->leases[l].lease && w->leases[l].write && i < w->leases[l].npages; i++)
			for (size_t s = 0; s < w->naive.n; s++)
				mark_leased(w, &w->leases[l], i, s);
}

/* ---- Consumers --------------------------------------------------------------- */

static void choose_range(struct world *w, struct mslot_dirty_range *r)
{
	const uint8_t how = in_u8(&w->in);

	r->space = how % w->naive.opt.nspaces;
	r->range.start = w->shape.base_gpa + in_u8(&w->in) * 3 * w->page;
	r->range.len_bytes = (1 + in_u8(&w->in) * UINT64_C(2)) * w->page;
	if (how < 0xf0)
		return;
	if (how & 2)
		r->space += w->naive.opt.nspaces;
	if (how & 4)
		r->range.start += in_u8(&w->in);
	if (how & 8)
		r->range.len_bytes = in_uint(&w->in, 8);
}

static bool scope_valid(const struct world *w, const struct twin_scope *scope)
{
	for (size_t i = 0; i < scope->nranges; i++) {
		const struct mslot_dirty_range *r = &scope->ranges[i];

		if (r->space >= w->naive.opt.nspaces || !r->range.len_bytes ||
		    (r->range.start | r->range.len_bytes) % w->page ||
		    r->range.start + r->range.len_bytes < r->range.start)
			return false;
	}
	return true;
}

static void create(struct world *w, unsigned int c)
{
	const uint8_t how = in_u8(&w->in);
	struct twin_scope scope = {.exists = true, .fill = how & 1, .nranges = how >> 1 & 3u};
	struct mslot_dirty_options opt = {.ranges = scope.ranges, .nranges = scope.nranges};
	int err, want;

	opt.flags = how >= 0xf8 ? in_u8(&w->in) : scope.fill ? MSLOT_DIRTY_INITIALLY_SET : 0;
	scope.fill = opt.flags & MSLOT_DIRTY_INITIALLY_SET;
	opt.tag = how & 0x10 ? "fuzz" : NULL;
	for (size_t i = 0; i < scope.nranges; i++)
		choose_range(w, &scope.ranges[i]);
	want = opt.flags & ~MSLOT_DIRTY_INITIALLY_SET || !scope_valid(w, &scope) ? -EINVAL : 0;
	(void)fuzz_alloc_fail(&w->in);
	err = mslot_dirty_create(w->map, &opt, &w->dirty[c]);
	if (fuzz_alloc_heal() && err == -ENOMEM) {
		FUZZ_REQUIRE(!w->dirty[c]);
		fuzz_check_map(w->map);
		err = mslot_dirty_create(w->map, &opt, &w->dirty[c]);
	}
	FUZZ_REQUIRE(err == want);
	if (err)
		return;
	w->bits.scope[c] = scope;
	twin_consumer_begins(&w->bits, c);
	w->settled = w->bits.last_number;
}

static void destroy(struct world *w, unsigned int c)
{
	int err;

	(void)fuzz_alloc_fail(&w->in);
	err = mslot_dirty_destroy(w->dirty[c]);
	if (fuzz_alloc_heal() && err == -ENOMEM) {
		fuzz_check_map(w->map);
		err = mslot_dirty_destroy(w->dirty[c]);
	}
	FUZZ_REQUIRE(err == 0);
	w->dirty[c] = NULL;
	w->batch[c] = NULL;
	twin_consumer_ends(&w->bits, c);
}

static void consumer_step(struct world *w)
{
	const unsigned int c = 1 + in_below(&w->in, TWIN_CONSUMERS - 1);

	if (w->dirty[c])
		destroy(w, c);
	else
		create(w, c);
}

static void get_step(struct world *w)
{
	const uint8_t how = in_u8(&w->in);
	const unsigned int c = 1 + how % (TWIN_CONSUMERS - 1);
	struct mslot_dirty_batch *batch = NULL;
	int err;

	if (!w->dirty[c])
		return;
	(void)fuzz_alloc_fail(&w->in);
	err = mslot_dirty_get(w->dirty[c], &batch);
	if (fuzz_alloc_heal() && err == -ENOMEM) {
		FUZZ_REQUIRE(!batch);
		err = mslot_dirty_get(w->dirty[c], &batch);
	}
	FUZZ_REQUIRE(err == 0);
	w->batch[c] = batch;
	if (!twin_compare_batch(&w->bits, c, batch))
		fuzz_fail("a harvest");
	if (how & 0x80) {
		mslot_dirty_rewind(batch);
		FUZZ_REQUIRE(mslot_dirty_next(batch, &(struct mslot_dirty_run){0}) ==
			     (mslot_dirty_pages(batch) > 0));
	}
}

static void end_batch(struct world *w, unsigned int c, bool ack)
{
	if (!w->batch[c])
		return;
	if (ack)
		mslot_dirty_ack(w->batch[c]);
	else
		mslot_dirty_nack(w->batch[c]);
	w->batch[c] = NULL;
	twin_batch_ends(&w->bits, c, ack);
}

/* Harvests inside a section would wait for themselves. */
static void inside_step(struct world *w)
{
	const struct mslot_snapshot *snap = mslot_enter(w->map);
	struct mslot_dirty *dirty;
	struct mslot_dirty_batch *batch;
	unsigned int c;

	FUZZ_REQUIRE(mslot_dirty_create(w->map, NULL, &dirty) == -EDEADLK);
	for (c = 1; c < TWIN_CONSUMERS; c++)
		if (w->dirty[c])
			FUZZ_REQUIRE(mslot_dirty_get(w->dirty[c], &batch) == -EDEADLK &&
				     mslot_dirty_destroy(w->dirty[c]) == -EDEADLK);
	/* An acknowledgement waits for nobody. */
	end_batch(w, 1 + in_below(&w->in, TWIN_CONSUMERS - 1), true);
	mslot_leave(snap);
}

/* ---- KVM's calls -------------------------------------------------------------- */

static void kvm_cap(struct world *w)
{
	struct kvm_enable_cap cap;
	int want;

	log_choose_cap(&w->in, &cap);
	want = ndirty_enable_cap(&w->modes, &cap);
	FUZZ_REQUIRE(mslot_kvm_enable_cap(w->map, &cap) == want);
	w->bits.scope[0].fill = w->modes.initially;
}

static void kvm_result(struct world *w, const struct log_call *call, const struct log_slot *slot,
		       size_t s)
{
	uint64_t *words;

	if (call->clear) {
		twin_kvm_cleared(&w->bits, s, call->of.first_page, call->of.num_pages, call->words);
		return;
	}
	words = calloc((size_t)(slot->npages + 63) / 64, sizeof(*words));
	if (!words)
		abort();
	log_copy(call, slot, words);
	if (!twin_compare_bits(&w->bits, 0, s, words, "kvm get"))
		fuzz_fail("KVM_GET_DIRTY_LOG");
	free(words);
	if (!w->modes.manual)
		twin_kvm_got(&w->bits, s);
}

static void kvm_step(struct world *w)
{
	const struct naive_slot *slot;
	struct log_slot of = {0};
	struct log_call call;
	uint32_t known[64];
	size_t n = 0;
	int err;

	if (in_chance(&w->in, 24)) {
		kvm_cap(w);
		return;
	}
	for (size_t i = 0; i < w->naive.n && n < 64; i++)
		if (w->naive.slots[i].key.id <= 0xffff)
			known[n++] = w->naive.slots[i].key.space << 16 | w->naive.slots[i].key.id;
	of.number = log_choose_number(&w->in, known, n);
	slot = naive_find_id(&w->naive, (struct mslot_key){of.number >> 16, of.number & 0xffff});
	of.npages = slot ? twin_npages(&w->naive, slot) : 0;
	of.logged = slot && slot->flags & MSLOT_LOG_DIRTY;
	log_choose(&call, &w->in, &w->naive.opt, &of);
	(void)fuzz_alloc_fail(&w->in);
	err = log_ask(&call, w->map);
	if (fuzz_alloc_heal() && err == -ENOMEM)
		err = log_ask(&call, w->map);
	if (err != call.want)
		fuzz_fail("%s: %d, not %d", call.clear ? "clear" : "get", err, call.want);
	if (err == 0)
		kvm_result(w, &call, &of, (size_t)(slot - w->naive.slots));
	log_end(&call);
}

/* ---- Edits -------------------------------------------------------------------- */

static void simple_create(struct world *w, struct mslot_edit *e)
{
	const uint8_t how = in_u8(&w->in);

	e->kind = MSLOT_EDIT_CREATE;
	e->edit_flags = 0;
	e->def = (struct mslot_slot_def){
	    .key = {how % w->naive.opt.nspaces, in_u8(&w->in) % 16u},
	    .gpa = w->shape.base_gpa + in_u8(&w->in) * 2 * w->page,
	    .len_bytes = (1 + in_u8(&w->in)) * w->page,
	    .region = w->regions[how % NREGIONS].handle,
	    .offset_bytes = in_u8(&w->in) % 128u * w->page,
	    .flags = how >> 6 & 3u,
	};
	if (how & 0x20)
		e->def.len_bytes += 260 * w->page;
}

static void simple_parts(struct world *w, struct mslot_edit *e, struct mslot_part *part,
			 const struct naive_slot *slot)
{
	const uint8_t how = in_u8(&w->in);

	e->parts = part;
	e->nparts = 1;
	if (e->kind == MSLOT_EDIT_SPLIT) {
		part->id = 16 + how % 16u;
		part->gpa = slot->gpa + how % twin_npages(&w->naive, slot) * w->page;
	} else if (slot + 1 < w->naive.slots + w->naive.n) {
		part->id = slot[1].key.id;
	}
}

static void simple_edit(struct world *w, struct mslot_edit *e, struct mslot_part *part)
{
	const struct naive_slot *slot = some_slot(w, &w->naive);
	const uint8_t how = in_u8(&w->in), by = in_u8(&w->in);

	memset(e, 0, sizeof(*e));
	e->kind = (enum mslot_edit_kind)(MSLOT_EDIT_CREATE + how % 9);
	if (!slot || e->kind == MSLOT_EDIT_CREATE) {
		simple_create(w, e);
		return;
	}
	e->def = (struct mslot_slot_def){
	    .key = slot->key,
	    .gpa = slot->gpa,
	    .len_bytes = slot->len,
	    .region = w->regions[slot->region].handle,
	    .offset_bytes = slot->offset,
	    .flags = slot->flags ^ (by & 3u),
	};
	if (slot->key.id >= w->naive.opt.max_user_slots)
		e->edit_flags = MSLOT_EDIT_PRIVATE;
	if (e->kind == MSLOT_EDIT_MOVE || by & 4)
		e->def.gpa = slot->gpa + (by >> 3) * w->page;
	if (e->kind == MSLOT_EDIT_RESIZE)
		e->def.len_bytes = (1 + by % (2 * twin_npages(&w->naive, slot))) * w->page;
	if (e->kind == MSLOT_EDIT_REPLACE && by & 0x80)
		e->def.region = w->regions[by % NREGIONS].handle;
	if (e->kind == MSLOT_EDIT_SPLIT || e->kind == MSLOT_EDIT_MERGE)
		simple_parts(w, e, part, slot);
}

static void choose_txn(struct world *w)
{
	const uint8_t how = in_u8(&w->in);

	if (how & 1) {
		rng_init(&w->rng, in_uint(&w->in, 2));
		gen_txn(&w->rng, &w->naive, &w->shape, &w->txn);
		if (w->txn.n > 1 + (how >> 1) % MAX_EDITS)
			w->txn.n = 1 + (how >> 1) % MAX_EDITS;
		return;
	}
	w->txn.n = 1 + (how >= 0xe0 ? 2u : how >= 0xc0);
	for (size_t i = 0; i < w->txn.n; i++)
		simple_edit(w, &w->txn.edits[i], &w->txn.parts[i][0]);
}

/* A failed commit may have filled what it would have kept. */
static void may_be_filled(struct world *w)
{
	bool fill = false;

	for (unsigned int c = 0; c < TWIN_CONSUMERS; c++)
		fill |= w->bits.scope[c].fill;
	for (size_t s = 0; fill && s < w->naive.n; s++)
		for (uint64_t i = 0; i < twin_npages(&w->naive, &w->naive.slots[s]); i++)
			if (w->bits.pages[s][i].number)
				twin_may(&w->bits, s, i);
}

static int commit(struct world *w, const struct mslot_commit_options *opt)
{
	struct mslot_txn *txn;
	int err;

	FUZZ_REQUIRE(mslot_txn_begin(w->map, &txn) == 0);
	for (size_t i = 0; i < w->txn.n; i++)
		FUZZ_REQUIRE(mslot_txn_add(txn, &w->txn.edits[i]) >= 0);
	(void)fuzz_alloc_fail(&w->in);
	err = mslot_txn_commit(txn, opt, NULL);
	if (fuzz_alloc_heal() && err == -ENOMEM) {
		FUZZ_REQUIRE(!opt->final || !*opt->final);
		fuzz_check_map(w->map);
		may_be_filled(w);
		err = mslot_txn_commit(txn, opt, NULL);
	}
	if (err)
		mslot_txn_abort(txn);
	return err;
}

/* Does a lease show other memory than the next map? */
static bool breaks(const struct world *w, const struct leased *l)
{
	for (size_t i = 0; i < l->npages; i++) {
		const struct leased_page *page = &l->pages[i];
		const uint64_t gpa = l->gpa + i * w->page;
		const struct naive_slot *slot = naive_find(&w->next, l->space, gpa);

		if (!slot || slot->region != page->region ||
		    slot->offset + (gpa - slot->gpa) != page->offset)
			return true;
	}
	return false;
}

static void forget_put_leases(struct world *w)
{
	for (unsigned int i = 0; i < LEASES; i++)
		if (w->leases[i].put)
			w->leases[i].lease = NULL;
	for (unsigned int i = 0; i < LEASES; i++)
		w->leases[i].put = false;
}

/* Waits for the newest commit, if nobody is in the way. */
static void settle(struct world *w)
{
	const struct mslot_snapshot *snap = mslot_enter(w->map);
	const uint64_t generation = mslot_snapshot_generation(snap);
	bool free = true;

	mslot_leave(snap);
	for (unsigned int i = 0; i < HOLDS; i++)
		free = free && !w->holds[i].hold;
	for (unsigned int c = 1; c < TWIN_CONSUMERS; c++)
		free = free && !w->batch[c];
	for (unsigned int i = 0; i < LEASES; i++)
		free = free && (!w->leases[i].lease || !breaks(w, &w->leases[i]));
	if (!free)
		return;
	FUZZ_REQUIRE(mslot_wait(w->map, generation, -1) == 0);
	w->settled = w->bits.last_number;
}

static void wait_final(struct world *w, struct mslot_final *final, bool held)
{
	if (held) {
		FUZZ_REQUIRE(mslot_final_wait(final, 0) == -ETIMEDOUT);
		FUZZ_REQUIRE(mslot_final_count(final) == 0 ||
			     mslot_final_get(final, 0, NULL, NULL, NULL, 0) == -EAGAIN);
		return;
	}
	for (unsigned int i = 0; i < LEASES; i++)
		if (w->leases[i].lease && breaks(w, &w->leases[i])) {
			FUZZ_REQUIRE(mslot_final_wait(final, 0) == -ETIMEDOUT);
			mslot_lease_put(w->leases[i].lease);
			w->leases[i].put = true;
		}
	FUZZ_REQUIRE(mslot_final_wait(final, -1) == 0);
	for (unsigned int c = 1; c < TWIN_CONSUMERS; c++)
		FUZZ_REQUIRE(mslot_dirty_destroy(w->dirty[c]) == (w->dirty[c] ? -EBUSY : 0));
}

/* Writes through the snapshot before the commit, which has been replaced by now. */
static void write_late(struct world *w, struct mslot_hold *hold, struct mslot_final *final)
{
	const struct view v = {mslot_hold_snapshot(hold), &w->naive, NULL};

	write_some(w, &v);
	if (final)
		wait_final(w, final, true);
	write_some(w, &v);
}

static struct mslot_hold *hold_newest(struct world *w)
{
	const struct mslot_snapshot *snap = mslot_enter(w->map);
	struct mslot_hold *hold;

	FUZZ_REQUIRE(mslot_hold(snap, "late", &hold) == 0);
	mslot_leave(snap);
	return hold;
}

/* A final harvest waits for holds: only those of late writes are there then. */
static void edit_step(struct world *w)
{
	const uint8_t how = in_u8(&w->in);
	struct mslot_final *final = NULL;
	const struct mslot_commit_options opt = {.final = how & 1 ? &final : NULL};
	struct mslot_hold *late = NULL;
	struct naive_outcome want;
	int err;

	choose_txn(w);
	for (unsigned int c = 1; how & 1 && c < TWIN_CONSUMERS; c++)
		end_batch(w, c, how & 8);
	for (unsigned int i = 0; how & 1 && i < HOLDS; i++)
		put_hold(&w->holds[i]);
	if (how & 2)
		late = hold_newest(w);
	want = naive_commit(&w->naive, w->txn.edits, w->txn.n, &opt, &w->next);
	err = commit(w, &opt);
	if (err != want.error)
		fuzz_fail("commit: %d, not %d", err, want.error);
	FUZZ_REQUIRE((final != NULL) == (want.changed && how & 1));
	if (want.changed && late)
		write_late(w, late, final);
	mslot_hold_put(late);
	if (final)
		wait_final(w, final, false);
	if (want.changed && !twin_follow(&w->bits, &w->next, &w->txn, final, w->dirty))
		fuzz_fail("a final harvest");
	mslot_final_destroy(final);
	if (want.changed)
		naive_copy(&w->naive, &w->next);
	mark_leases(w);
	forget_put_leases(w);
	if (want.changed && how & 16)
		settle(w);
}

/* ---- Worlds -------------------------------------------------------------------- */

static void create_regions(struct world *w)
{
	static uint8_t *host;
	const size_t bytes = (size_t)((REGION_PAGES + NREGIONS * REGION_SKIP_PAGES) * LARGEST_PAGE);

	if (!host)
		host = mmap(NULL, bytes + LARGEST_PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	FUZZ_REQUIRE(host != MAP_FAILED);
	for (size_t i = 0; i < NREGIONS; i++) {
		const uint64_t hva =
		    ((uintptr_t)host + LARGEST_PAGE - 1) / LARGEST_PAGE * LARGEST_PAGE +
		    i * REGION_SKIP_PAGES * w->page;
		const struct mslot_region_options opt = {
		    .hva = (void *)(uintptr_t)hva, .len_bytes = REGION_PAGES * w->page, .fd = -1};

		w->regions[i] =
		    (struct naive_region){.hva = hva, .len = opt.len_bytes, .usable = true};
		FUZZ_REQUIRE(mslot_region_create(&opt, &w->regions[i].handle) == 0);
	}
}

static void world_init(struct world *w, uint8_t how)
{
	struct mslot_map_options opt = {
	    .nspaces = how & 1 ? 2 : 1,
	    .page_shift = how & 2 ? 14 : 12,
	    .max_user_slots = how & 4 ? 40 : 0,
	};

	FUZZ_REQUIRE(mslot_map_create(&opt, &w->map) == 0);
	mslot_map_options_get(w->map, &opt);
	w->page = UINT64_C(1) << opt.page_shift;
	create_regions(w);
	w->shape = (struct twin_shape){
	    .base_gpa = 16 * w->page,
	    .window_bytes = WINDOW_PAGES * w->page,
	    .unit_bytes = (how & 8 ? 7 : 60) * w->page,
	    .target = 6,
	};
	rng_init(&w->rng, how);
	naive_init(&w->naive, &opt, w->regions, NREGIONS);
	naive_init(&w->next, &opt, w->regions, NREGIONS);
	twin_bits_init(&w->bits, &w->naive);
	ndirty_init(&w->modes, opt.nspaces, opt.max_user_slots);
}

static void world_fini(struct world *w)
{
	for (unsigned int i = 0; i < HOLDS; i++)
		put_hold(&w->holds[i]);
	for (unsigned int i = 0; i < LEASES; i++)
		put_lease(&w->leases[i]);
	lease_thread_drop();
	for (unsigned int c = 1; c < TWIN_CONSUMERS; c++)
		FUZZ_REQUIRE(mslot_dirty_destroy(w->dirty[c]) == 0);
	for (size_t i = 0; i < NREGIONS; i++)
		mslot_region_put(w->regions[i].handle);
	FUZZ_REQUIRE(mslot_map_destroy(w->map) == 0);
	twin_bits_fini(&w->bits);
	naive_fini(&w->naive);
	naive_fini(&w->next);
	ndirty_fini(&w->modes);
}

static void step(struct world *w)
{
	const uint8_t how = in_u8(&w->in);

	mark_leases(w);
	switch (how & 15) {
	case 0:
	case 1:
	case 2:
		edit_step(w);
		break;
	case 3:
	case 4:
		get_step(w);
		break;
	case 5:
	case 6:
		end_batch(w, 1 + how / 16 % (TWIN_CONSUMERS - 1), how & 1);
		break;
	case 7:
		kvm_step(w);
		break;
	case 8:
		consumer_step(w);
		break;
	case 9:
		hold_step(w);
		break;
	case 10:
		lease_step(w);
		break;
	case 11:
		if (how >= 0x80)
			inside_step(w);
		else
			kvm_step(w);
		break;
	default:
		write_step(w);
		break;
	}
	fuzz_check_map(w->map);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint64_t live = alloc_live();
	static struct world w;

	memset(&w, 0, sizeof(w));
	w.in = (struct input){data, size};
	world_init(&w, in_u8(&w.in));
	for (unsigned int i = 0; i < MAX_STEPS && w.in.left; i++)
		step(&w);
	world_fini(&w);
	FUZZ_REQUIRE(alloc_live() == live);
	return 0;
}
