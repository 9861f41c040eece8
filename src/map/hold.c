/* SPDX-License-Identifier: MIT */
/*
 * hold.c - snapshots kept beyond the read section.
 *
 * Invariants
 *   H1 map->holds is sorted by generation; nholds is its length
 *   H2 a dead node that a live hold's snapshot reaches is on the `pinned` list of the
 *      youngest hold with generation in [birth, death)
 *   H3 a hold is registered while its snapshot cannot be reclaimed: inside a section that
 *      entered it, or while another hold on it is live
 *
 * Protocol. mslot_hold() links the hold under holds_lock. The reclaimer looks at the list
 * under holds_lock only after a grace period that began after the publish, so every
 * section that could have linked a hold on an older snapshot has ended and its hold is
 * on the list. mslot_hold_put() moves the hold to map->dropped; reclaim_run() hands its
 * nodes to the next older hold or frees them, then frees the hold.
 */
#include "map/hold.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/page.h"
#include "base/perturb.h"
#include "map/reclaim.h"

int mslot_hold(const struct mslot_snapshot *snap, const char *tag, struct mslot_hold **out)
{
	struct mslot_hold *hold, *after;
	struct mslot_map *map = snap->map;

	if (snap->transient)
		return -EINVAL;
	hold = mem_zalloc(sizeof(*hold));
	if (!hold)
		return -ENOMEM;
	hold->snap = snap;
	hold->map = map;
	hold->generation = snap->generation;
	hold->since_ns = now_ns();
	if (tag)
		memcpy(hold->tag, tag, strnlen(tag, sizeof(hold->tag) - 1));
	PERTURB(HOLD_REGISTER);
	pthread_mutex_lock(&map->holds_lock);
	after = hold_youngest(map, hold->generation);
	hold->prev = after;
	hold->next = after ? after->next : map->holds;
	if (hold->next)
		hold->next->prev = hold;
	else
		map->holds_last = hold;
	if (after)
		after->next = hold;
	else
		map->holds = hold;
	map->nholds++;
	pthread_mutex_unlock(&map->holds_lock);
	*out = hold;
	return 0;
}

const struct mslot_snapshot *mslot_hold_snapshot(const struct mslot_hold *hold)
{
	return hold->snap;
}

void mslot_hold_put(struct mslot_hold *hold)
{
	struct mslot_map *map;

	if (!hold)
		return;
	map = hold->map;
	pthread_mutex_lock(&map->holds_lock);
	if (hold->prev)
		hold->prev->next = hold->next;
	else
		map->holds = hold->next;
	if (hold->next)
		hold->next->prev = hold->prev;
	else
		map->holds_last = hold->prev;
	map->nholds--;
	hold->next = map->dropped;
	map->dropped = hold;
	/*
	 * Under the lock: once it is free, mslot_map_destroy() may find no hold and take the
	 * map away. Lock order: holds_lock, then the reclaimer's.
	 */
	reclaimer_kick(map, true);
	PERTURB(HOLD_PUT);
	pthread_mutex_unlock(&map->holds_lock);
}

size_t mslot_holders(struct mslot_map *map, struct mslot_holder *out, size_t nout)
{
	uint64_t now = now_ns();
	struct mslot_hold *hold;
	size_t n = 0;

	pthread_mutex_lock(&map->holds_lock);
	for (hold = map->holds; hold; hold = hold->next, n++) {
		if (n >= nout)
			continue;
		memcpy(out[n].tag, hold->tag, sizeof(out[n].tag));
		out[n].generation = hold->generation;
		out[n].age_ns = now > hold->since_ns ? now - hold->since_ns : 0;
	}
	pthread_mutex_unlock(&map->holds_lock);
	return n;
}

struct mslot_hold *hold_youngest(struct mslot_map *map, uint64_t limit)
{
	struct mslot_hold *hold = map->holds_last;

	while (hold && hold->generation > limit)
		hold = hold->prev;
	return hold;
}

bool hold_older_than(struct mslot_map *map, uint64_t limit)
{
	struct mslot_hold *hold;
	bool found;

	pthread_mutex_lock(&map->holds_lock);
	found = map->holds && map->holds->generation < limit;
	for (hold = map->dropped; hold && !found; hold = hold->next)
		found = hold->generation < limit;
	pthread_mutex_unlock(&map->holds_lock);
	return found;
}
