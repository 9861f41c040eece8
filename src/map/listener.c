/* SPDX-License-Identifier: MIT */
/*
 * listener.c - those who are told of every commit.
 *
 * The list is in order of addition and changes only under the writer mutex, which is
 * held while callbacks run; a callback that would change it gets -EDEADLK.
 */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/perturb.h"
#include "map/diff.h"
#include "map/txn.h"

static int ask(const struct mslot_listener *listener, const struct mslot_diff *diff)
{
	int err = listener->ops.prepare ? listener->ops.prepare(listener->ctx, diff) : 0;

	return err > 0 || err < -4095 ? -ECANCELED : err;
}

static void tell(const struct mslot_listener *listener, const struct mslot_diff *diff)
{
	if (listener->ops.commit)
		listener->ops.commit(listener->ctx, diff);
}

int listeners_prepare(struct mslot_map *map, const struct mslot_diff *diff)
{
	struct mslot_listener *listener;
	int err = 0;

	for (listener = map->listeners; listener; listener = listener->next) {
		err = ask(listener, diff);
		if (err)
			break;
	}
	if (!err)
		return 0;
	PERTURB(BEFORE_ABORT);
	/* The one that vetoed has prepared nothing. */
	for (listener = listener->prev; listener; listener = listener->prev)
		if (listener->ops.abort)
			listener->ops.abort(listener->ctx, diff);
	return err;
}

void listeners_commit(struct mslot_map *map, const struct mslot_diff *diff)
{
	struct mslot_listener *listener;

	for (listener = map->listeners; listener; listener = listener->next)
		tell(listener, diff);
}

/* An empty snapshot of the current generation: what a new listener has seen so far. */
static struct mslot_snapshot *empty_snapshot(const struct mslot_snapshot *like)
{
	struct mslot_snapshot *snap = mem_zalloc(snapshot_bytes(like->nspaces));

	if (!snap)
		return NULL;
	snap->map = like->map;
	snap->generation = like->generation;
	snap->serial = snapshot_serial(like->map);
	snap->nspaces = like->nspaces;
	snap->page_shift = like->page_shift;
	snap->bytes = snapshot_bytes(like->nspaces);
	snap->transient = true;
	snapshot_init_indexes(snap);
	return snap;
}

static int replay(struct mslot_map *map, const struct mslot_listener *listener)
{
	struct mslot_snapshot *empty = empty_snapshot(map_snapshot(map));
	struct mslot_diff *diff;
	int err;

	if (!empty)
		return -ENOMEM;
	err = diff_build(empty, map_snapshot(map), &diff);
	if (!err) {
		err = ask(listener, diff);
		if (!err)
			tell(listener, diff);
		mslot_diff_destroy(diff);
	}
	mem_free(empty);
	return err;
}

static void append(struct mslot_map *map, struct mslot_listener *listener)
{
	listener->prev = map->listeners_last;
	if (map->listeners_last)
		map->listeners_last->next = listener;
	else
		map->listeners = listener;
	map->listeners_last = listener;
	map->nlisteners++;
}

int mslot_listener_add(struct mslot_map *map, const struct mslot_listener_ops *ops, void *ctx,
		       uint32_t flags, struct mslot_listener **out)
{
	struct mslot_listener *listener;
	int err = 0;

	if (flags & ~MSLOT_LISTENER_REPLAY)
		return -EINVAL;
	if (map_owned(map))
		return -EDEADLK;
	listener = mem_zalloc(sizeof(*listener));
	if (!listener)
		return -ENOMEM;
	listener->map = map;
	listener->ops = *ops;
	listener->ctx = ctx;
	map_lock(map);
	if (flags & MSLOT_LISTENER_REPLAY)
		err = replay(map, listener);
	if (!err)
		append(map, listener);
	map_unlock(map);
	if (err)
		mem_free(listener);
	else
		*out = listener;
	return err;
}

int mslot_listener_remove(struct mslot_listener *listener)
{
	struct mslot_map *map;

	if (!listener)
		return 0;
	map = listener->map;
	if (map_owned(map))
		return -EDEADLK;
	map_lock(map);
	if (listener->prev)
		listener->prev->next = listener->next;
	else
		map->listeners = listener->next;
	if (listener->next)
		listener->next->prev = listener->prev;
	else
		map->listeners_last = listener->prev;
	map->nlisteners--;
	map_unlock(map);
	mem_free(listener);
	return 0;
}
