/* SPDX-License-Identifier: MIT */
/*
 * txn_watch.c - those who watch the map of the model test: listeners and holders.
 */
#include "txn_world.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* ---- Listeners ---------------------------------------------------------- */

static void record(struct watcher *by, enum event_kind kind, const struct mslot_diff *diff)
{
	struct world *w = by->world;
	const struct naive_map *now = kind == EVENT_COMMIT ? w->diff_after : w->diff_before;
	const struct mslot_snapshot *snap;

	if (w->nevents < WORLD_EVENTS)
		w->events[w->nevents++] = (struct event){kind, by};
	if (!w->diff_before) {
		w->bad = !twin_fail("a listener was called where nothing changes");
		return;
	}
	/* Every callback gets the same diff; to look closely at some is enough. */
	if (w->nevents == 1 || rng_chance(&w->rng, 10))
		w->bad |= !cmp_diff(diff, w->diff_before, w->diff_after);
	snap = mslot_enter(w->map);
	if (mslot_snapshot_generation(snap) != now->generation)
		w->bad = !twin_fail("in callback %d the map has generation %" PRIu64, (int)kind,
				    mslot_snapshot_generation(snap));
	mslot_leave(snap);
}

static int on_prepare(void *ctx, const struct mslot_diff *diff)
{
	struct watcher *by = ctx;

	record(by, EVENT_PREPARE, diff);
	return by->world->veto_by == by ? by->world->veto_errno : 0;
}

static void on_abort(void *ctx, const struct mslot_diff *diff)
{
	record(ctx, EVENT_ABORT, diff);
}

static void on_commit(void *ctx, const struct mslot_diff *diff)
{
	record(ctx, EVENT_COMMIT, diff);
}

static bool expect(struct world *w, size_t *at, enum event_kind kind, const struct watcher *by)
{
	if (*at < w->nevents && w->events[*at].kind == kind && w->events[*at].by == by) {
		(*at)++;
		return true;
	}
	return twin_fail("callback %zu of %zu is not kind %d of the listener that was due", *at,
			 w->nevents, (int)kind);
}

static bool expect_all(struct world *w, size_t *at)
{
	size_t asked = 0;

	for (; asked < w->nwatchers; asked++) {
		const struct watcher *by = w->watchers[asked];

		if (by->ops.prepare && !expect(w, at, EVENT_PREPARE, by))
			return false;
		if (by == w->veto_by)
			break;
	}
	if (asked == w->nwatchers) {
		for (size_t i = 0; i < asked; i++)
			if (w->watchers[i]->ops.commit &&
			    !expect(w, at, EVENT_COMMIT, w->watchers[i]))
				return false;
		return true;
	}
	while (asked-- > 0)
		if (w->watchers[asked]->ops.abort &&
		    !expect(w, at, EVENT_ABORT, w->watchers[asked]))
			return false;
	return true;
}

bool watch_check_events(struct world *w, bool asked)
{
	size_t at = 0;
	bool ok = !w->bad && (!asked || expect_all(w, &at));

	if (ok && at != w->nevents)
		ok = twin_fail("%zu callbacks, %zu expected", w->nevents, at);
	w->nevents = 0;
	return ok;
}

static bool watch_add(struct world *w)
{
	uint32_t flags = rng_chance(&w->rng, 50) ? MSLOT_LISTENER_REPLAY : 0;
	struct watcher *by = calloc(1, sizeof(*by));
	size_t at = 0;
	int rc;

	if (!by)
		abort();
	by->world = w;
	by->ops.prepare = rng_chance(&w->rng, 80) ? on_prepare : NULL;
	by->ops.abort = rng_chance(&w->rng, 80) ? on_abort : NULL;
	by->ops.commit = rng_chance(&w->rng, 80) ? on_commit : NULL;
	w->empty.generation = w->naive.generation;
	w->diff_before = &w->empty;
	w->diff_after = &w->naive;
	rc = mslot_listener_add(w->map, &by->ops, by, flags, &by->handle);
	w->diff_before = NULL;
	w->watchers[w->nwatchers++] = by;
	if (rc)
		return twin_fail("mslot_listener_add: %d", rc);
	if (flags && by->ops.prepare && !expect(w, &at, EVENT_PREPARE, by))
		return false;
	if (flags && by->ops.commit && !expect(w, &at, EVENT_COMMIT, by))
		return false;
	if (at != w->nevents)
		return twin_fail("a replay made %zu callbacks, not %zu", w->nevents, at);
	w->nevents = 0;
	return !w->bad;
}

static void watch_remove(struct world *w, size_t i)
{
	if (mslot_listener_remove(w->watchers[i]->handle))
		w->bad = true;
	free(w->watchers[i]);
	w->nwatchers--;
	for (; i < w->nwatchers; i++)
		w->watchers[i] = w->watchers[i + 1];
}

bool watch_maybe(struct world *w)
{
	if (!rng_chance(&w->rng, 2))
		return true;
	if (w->nwatchers && rng_chance(&w->rng, 40))
		watch_remove(w, rng_below(&w->rng, w->nwatchers));
	else if (w->nwatchers < WORLD_LISTENERS)
		return watch_add(w);
	return true;
}

void watch_remove_all(struct world *w)
{
	while (w->nwatchers)
		watch_remove(w, 0);
}

/* ---- Holders ------------------------------------------------------------ */

void hold_drop(struct world *w, size_t i)
{
	mslot_hold_put(w->holds[i].hold);
	naive_fini(&w->holds[i].copy);
	w->holds[i] = w->holds[--w->nholds];
}

static bool hold_take(struct world *w)
{
	struct held *held = &w->holds[w->nholds];
	const struct mslot_snapshot *snap = mslot_enter(w->map);
	int rc = mslot_hold(snap, "twin", &held->hold);

	mslot_leave(snap);
	if (rc)
		return twin_fail("mslot_hold: %d", rc);
	naive_init(&held->copy, &w->naive.opt, w->regions, w->nregions);
	naive_copy(&held->copy, &w->naive);
	w->nholds++;
	tally.holds++;
	return true;
}

static bool diff_held(const struct held *from, const struct held *to)
{
	struct mslot_diff *diff;
	bool ok;
	int rc;

	rc = mslot_diff_create(mslot_hold_snapshot(from->hold), mslot_hold_snapshot(to->hold),
			       &diff);
	if (rc)
		return twin_fail("mslot_diff_create: %d", rc);
	ok = cmp_diff(diff, &from->copy, &to->copy);
	mslot_diff_destroy(diff);
	return ok;
}

bool hold_maybe(struct world *w)
{
	size_t i;

	if (w->nholds < WORLD_HOLDS && rng_chance(&w->rng, 3))
		return hold_take(w);
	if (w->nholds == 0 || !rng_chance(&w->rng, 6))
		return true;
	i = rng_below(&w->rng, w->nholds);
	if (!cmp_snapshot(&w->rng, mslot_hold_snapshot(w->holds[i].hold), &w->holds[i].copy))
		return twin_fail("in a held snapshot, generation %" PRIu64,
				 w->holds[i].copy.generation);
	if (!diff_held(&w->holds[i], &w->holds[rng_below(&w->rng, w->nholds)]))
		return twin_fail("between held snapshots");
	if (rng_chance(&w->rng, 40))
		hold_drop(w, i);
	return true;
}
