/* SPDX-License-Identifier: MIT */
/*
 * world.c - the maps that operations meet, and pictures of them.
 *
 * Data. Space 0 holds blocks of four slots in 16 frames, two pages each: three with a gap
 * of two frames behind them but for the third, whose neighbour follows at once. Offsets in
 * the region equal guest addresses, so the third and the fourth can be merged.
 */
#include "fault.h"

#include <stdlib.h>
#include <string.h>

#define OWNED_HVA UINT64_C(0x10000000000)
#define PLAIN_HVA UINT64_C(0x20000000000)
#define REGION_PAGES UINT64_C(0x200000)

static void on_release(void *ctx, const struct mslot_region_options *opt)
{
	unsigned int *released = ctx;

	(void)opt;
	(*released)++;
}

/* ---- Listeners ---------------------------------------------------------- */

static void note(struct watcher *watcher, char what)
{
	struct world *w = watcher->world;

	CHECK(w->nevents < sizeof(w->event) / sizeof(*w->event), "too many callbacks");
	w->event[w->nevents++] = (struct event){what, watcher->index};
}

static int on_prepare(void *ctx, const struct mslot_diff *diff)
{
	struct watcher *watcher = ctx;
	int err;

	CHECK(diff->nsegs > 0, "a commit without a difference");
	if (watcher->index % 2)
		err = mslot_hold(diff->before, "prepare", &watcher->hold);
	else
		err = mslot_diff_create(diff->before, diff->after, &watcher->diff);
	note(watcher, err ? 'v' : 'p');
	return err;
}

static void forget(struct watcher *watcher)
{
	mslot_diff_destroy(watcher->diff);
	mslot_hold_put(watcher->hold);
	watcher->diff = NULL;
	watcher->hold = NULL;
}

static void on_abort(void *ctx, const struct mslot_diff *diff)
{
	(void)diff;
	note(ctx, 'a');
	forget(ctx);
}

static void on_commit(void *ctx, const struct mslot_diff *diff)
{
	(void)diff;
	note(ctx, 'c');
	forget(ctx);
}

/* ---- Slots -------------------------------------------------------------- */

static uint64_t gfn_of(uint32_t id)
{
	return id % 4 == 3 ? UINT64_C(4) * id - 2 : UINT64_C(4) * id;
}

static struct mslot_slot_def def_of(const struct world *w, uint32_t space, uint32_t id,
				    uint64_t gfn, uint64_t npages)
{
	return (struct mslot_slot_def){
	    .key = {.space = space, .id = id},
	    .gpa = gfn * PAGE,
	    .len_bytes = npages * PAGE,
	    .region = id % 4 == 1 ? w->owned : w->plain,
	    .offset_bytes = gfn * PAGE,
	};
}

static void add_slot(struct mslot_txn *txn, struct mslot_slot_def def)
{
	CHECK_OK(mslot_txn_create(txn, &def));
}

void world_add_big(struct world *w)
{
	struct mslot_txn *txn;

	CHECK_OK(mslot_txn_begin(w->map, &txn));
	add_slot(txn, def_of(w, 0, BIG_ID, BIG_GFN, BIG_PAGES));
	CHECK_OK(mslot_txn_commit(txn, NULL, NULL));
}

void world_add_row(struct world *w)
{
	struct mslot_txn *txn;

	CHECK_OK(mslot_txn_begin(w->map, &txn));
	for (uint32_t i = 0; i < ROW_SLOTS; i++) {
		struct mslot_slot_def def = def_of(w, 0, ROW_ID + i, ROW_GFN + i, 1);

		def.region = w->owned;
		add_slot(txn, def);
	}
	CHECK_OK(mslot_txn_commit(txn, NULL, NULL));
}

uint32_t world_blocks(const struct world *w)
{
	return w->shape->nslots / 4;
}

struct mslot_edit world_edit(const struct world *w, enum mslot_edit_kind kind, uint32_t block,
			     struct mslot_part *part)
{
	const uint32_t first = block * 4,
		       slot = kind == MSLOT_EDIT_MOVE || kind == MSLOT_EDIT_DELETE ||
				      kind == MSLOT_EDIT_REPLACE
				  ? first + 1
			      : kind == MSLOT_EDIT_SPLIT || kind == MSLOT_EDIT_MERGE ? first + 2
										     : first;
	struct mslot_edit edit = {
	    .kind = kind,
	    .def = def_of(w, 0, slot, gfn_of(slot), 2),
	};

	switch (kind) {
	case MSLOT_EDIT_CREATE:
		edit.def = def_of(w, 0, NEW_ID + block, NEW_GFN + 2 * block, 1);
		break;
	case MSLOT_EDIT_REDEFINE:
		edit.def.len_bytes = PAGE;
		edit.def.flags = MSLOT_READONLY;
		break;
	case MSLOT_EDIT_MOVE:
		edit.def.gpa += 2 * PAGE;
		break;
	case MSLOT_EDIT_SET_FLAGS:
		edit.def.flags = MSLOT_LOG_DIRTY;
		break;
	case MSLOT_EDIT_RESIZE:
		edit.def.len_bytes = 3 * PAGE;
		break;
	case MSLOT_EDIT_REPLACE:
		edit.def.region = w->plain;
		break;
	case MSLOT_EDIT_SPLIT:
		*part = (struct mslot_part){PART_ID + block, edit.def.gpa + PAGE};
		break;
	case MSLOT_EDIT_MERGE:
		*part = (struct mslot_part){slot + 1, 0};
		break;
	case MSLOT_EDIT_DELETE:
		break;
	}
	if (kind == MSLOT_EDIT_SPLIT || kind == MSLOT_EDIT_MERGE) {
		edit.parts = part;
		edit.nparts = 1;
	}
	return edit;
}

/* ---- World -------------------------------------------------------------- */

static struct mslot_region *region_at(uint64_t hva, unsigned int *released)
{
	const struct mslot_region_options opt = {
	    .hva = (void *)(uintptr_t)hva,
	    .len_bytes = REGION_PAGES * PAGE,
	    .fd = -1,
	    .release = released ? on_release : NULL,
	    .ctx = released,
	};
	struct mslot_region *region;

	CHECK_OK(mslot_region_create(&opt, &region));
	return region;
}

static void set_flags(struct world *w, uint32_t id, uint32_t flags)
{
	struct mslot_txn *txn;

	CHECK_OK(mslot_txn_begin(w->map, &txn));
	CHECK_OK(mslot_txn_set_flags(txn, (struct mslot_key){0, id}, flags));
	CHECK_OK(mslot_txn_commit(txn, NULL, NULL));
}

static struct mslot_hold *hold_now(struct world *w)
{
	const struct mslot_snapshot *snap = mslot_enter(w->map);
	struct mslot_hold *hold;

	CHECK_OK(mslot_hold(snap, "world", &hold));
	mslot_leave(snap);
	return hold;
}

static void fill(struct world *w)
{
	struct mslot_txn *txn;

	CHECK_OK(mslot_txn_begin(w->map, &txn));
	for (uint32_t id = 0; id < w->shape->nslots; id++)
		add_slot(txn, def_of(w, 0, id, gfn_of(id), 2));
	for (uint32_t space = 1; space < w->shape->nspaces; space++)
		for (uint32_t id = 0; id < 2; id++)
			add_slot(txn, def_of(w, space, id, gfn_of(id), 2));
	CHECK_OK(mslot_txn_commit(txn, NULL, NULL));
}

static void listen(struct world *w, unsigned int index)
{
	static const struct mslot_listener_ops callbacks = {on_prepare, on_abort, on_commit};
	struct watcher *watcher = &w->watcher[index];

	*watcher = (struct watcher){.world = w, .index = index};
	CHECK_OK(mslot_listener_add(w->map, &callbacks, watcher, 0, &watcher->listener));
}

void world_init(struct world *w, const struct shape *shape)
{
	const struct mslot_map_options opt = {.nspaces = shape->nspaces};
	unsigned int i;

	*w = (struct world){.shape = shape};
	CHECK_OK(mslot_map_create(&opt, &w->map));
	w->owned = region_at(OWNED_HVA, &w->released);
	w->plain = region_at(PLAIN_HVA, NULL);
	fill(w);
	for (i = 0; shape->held && i < 2; i++) {
		w->hold[i] = hold_now(w);
		set_flags(w, 2 * i, MSLOT_READONLY);
		set_flags(w, 2 * i, 0);
	}
	/* No wait: a few nodes are too little to bother readers for. */
	for (i = 0; shape->retired && i < 4; i++)
		set_flags(w, 8, i % 2 ? 0 : MSLOT_READONLY);
	for (i = 0; i < shape->nlisteners; i++)
		listen(w, i);
}

void world_fini(struct world *w)
{
	for (unsigned int i = 0; i < w->shape->nlisteners; i++)
		CHECK_OK(mslot_listener_remove(w->watcher[i].listener));
	for (unsigned int i = 0; i < 3; i++)
		mslot_hold_put(w->hold[i]);
	mslot_region_put(w->owned);
	mslot_region_put(w->plain);
	CHECK_OK(mslot_map_destroy(w->map));
	CHECK(w->released == 1, "a region was released %u times", w->released);
}

/* ---- Pictures ----------------------------------------------------------- */

static size_t walk(struct mslot_iter *iter, struct mslot_slot_info *out, size_t n, size_t room)
{
	const struct mslot_slot *slot;

	while ((slot = mslot_iter_next(iter)) != NULL) {
		CHECK(n < room, "more slots than the snapshot counts");
		/* Also what lies between the fields, for comparing. */
		memset(&out[n], 0, sizeof(out[n]));
		mslot_slot_info_get(slot, &out[n++]);
	}
	return n;
}

static void find_each(const struct mslot_snapshot *snap, const struct mslot_slot_info *info)
{
	const struct mslot_slot *slot = mslot_find_id(snap, info->key);

	CHECK(slot != NULL, "slot %u of space %u is not found", info->key.id, info->key.space);
	CHECK(mslot_find(snap, info->key.space, info->gpa) == slot &&
		  mslot_find(snap, info->key.space, info->gpa + info->len_bytes - 1) == slot,
	      "slot %u of space %u is not at its address", info->key.id, info->key.space);
}

void picture_take(struct picture *p, struct world *w)
{
	const struct mslot_range all = {0, UINT64_MAX};
	const struct mslot_snapshot *snap = mslot_enter(w->map);
	struct mslot_iter iter;
	size_t n = 0, i;

	*p = (struct picture){.npages = mslot_snapshot_npages(snap)};
	for (uint32_t space = 0; space < w->shape->nspaces; space++)
		p->n += mslot_snapshot_nslots(snap, space);
	CHECK(p->n > 0, "an empty map");
	p->slot = calloc(p->n, sizeof(*p->slot));
	p->shown = calloc(p->n, sizeof(*p->shown));
	CHECK(p->slot && p->shown, "no memory for %zu slots", p->n);
	for (uint32_t space = 0; space < w->shape->nspaces; space++) {
		mslot_iter_gpa(&iter, snap, space, all);
		n = walk(&iter, p->slot, n, p->n);
	}
	CHECK(n == p->n, "%zu of %zu slots by gpa", n, p->n);
	mslot_iter_hva(&iter, snap, all);
	n = walk(&iter, p->shown, 0, p->n);
	CHECK(n == p->n, "%zu of %zu slots by hva", n, p->n);
	for (i = 0; i < n; i++)
		find_each(snap, &p->slot[i]);
	mslot_leave(snap);
	CHECK_OK(mslot_map_stats_get(w->map, &p->stats));
}

void picture_compare(const struct picture *p, struct world *w)
{
	const size_t bytes = p->n * sizeof(*p->slot);
	const char *why = "";
	struct picture now;

	picture_take(&now, w);
	CHECK(now.n == p->n && now.npages == p->npages, "slots or pages differ in number");
	CHECK(!memcmp(now.slot, p->slot, bytes), "slots differ by gpa");
	CHECK(!memcmp(now.shown, p->shown, bytes), "slots differ by hva");
	CHECK(now.stats.generation == p->stats.generation, "another generation");
	CHECK(now.stats.commits == p->stats.commits, "another number of commits");
	CHECK(now.stats.reachable_bytes == p->stats.reachable_bytes, "other reachable bytes");
	CHECK(now.stats.holds == p->stats.holds, "another number of holds");
	CHECK(now.stats.listeners == p->stats.listeners, "another number of listeners");
	CHECK(mslot_check_map(w->map, &why) == 0, "%s", why);
	picture_drop(&now);
}

void picture_drop(struct picture *p)
{
	free(p->slot);
	free(p->shown);
}
