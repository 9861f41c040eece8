/* SPDX-License-Identifier: MIT */
/* fuzz_dirty_write.c - writes by every path, holds and leases; see fuzz_dirty.h. */
#include <errno.h>
#include <string.h>

#include <mslot/access.h>
#include <mslot/lease.h>

#include "fuzz_dirty.h"

#define WRITE_PAGES 3u /* at most, by the paths that copy */

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

const struct naive_slot *some_slot(struct world *w, const struct naive_map *map)
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

void write_some(struct world *w, const struct view *v)
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

void write_step(struct world *w)
{
	bool entered;
	const struct view v = some_view(w, &entered);

	write_some(w, &v);
	if (entered)
		mslot_leave(v.snap);
}

/* ---- Holds and leases -------------------------------------------------------- */

void put_hold(struct held *h)
{
	if (!h->hold)
		return;
	mslot_hold_put(h->hold);
	twin_past_fini(&h->past);
	h->hold = NULL;
}

void hold_step(struct world *w)
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

void put_lease(struct leased *l)
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
	l->last_number = w->bits.last_number;
	l->space = span.space;
	l->gpa = span.gpa & ~(w->page - 1);
	l->npages = (size_t)((span.gpa + span.len_bytes - 1) / w->page - l->gpa / w->page + 1);
	note_pages(l, v, &w->bits, w->page);
	if (l->write)
		mark_span(w, v, &span);
}

void lease_step(struct world *w)
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
	uint64_t at, gpa, number;
	bool same, there;

	if (slot->region != page->region || page->offset < slot->offset ||
	    page->offset >= slot->offset + slot->len || !twin_logged(&w->bits, slot))
		return;
	at = (page->offset - slot->offset) / w->page;
	gpa = slot->gpa + at * w->page;
	same = page->number && w->bits.pages[s][at].number == page->number;
	there = l->newest && slot->key.space == l->space && gpa == l->gpa + i * w->page;
	/* What another slot logged there before is an alias of what was addressed. */
	number = w->bits.pages[s][at].number;
	if (same || (there && number > l->last_number && number <= w->settled))
		twin_mark(&w->bits, s, at, 1);
	else
		twin_may(&w->bits, s, at);
}

void mark_leases(struct world *w)
{
	for (size_t l = 0; l < LEASES; l++)
		for (size_t i = 0;
		     w->leases[l].lease && w->leases[l].write && i < w->leases[l].npages; i++)
			for (size_t s = 0; s < w->naive.n; s++)
				mark_leased(w, &w->leases[l], i, s);
}
