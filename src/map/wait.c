/* SPDX-License-Identifier: MIT */
/*
 * wait.c - mslot_wait(): nothing that a commit removed can be reached any more.
 *
 * Done when, for generation g: graced >= g (sections), reclaimed >= g (queue worked off),
 * no hold on a generation < g, live or put and not processed (holds); then, when no lease
 * of a generation < g is left on memory that the current snapshot does not show any more
 * (lease_settled()); then, when the releases queued up to that moment have returned.
 */
#include <errno.h>
#include <sched.h>

#include "base/page.h"
#include "base/perturb.h"
#include "base/rcu.h"
#include "map/hold.h"
#include "map/lease.h"
#include "map/reclaim.h"
#include "map/vcpus.h"
#include "map/wait.h"
#include "map/writer.h"

static bool unreachable(struct mslot_map *map, uint64_t generation)
{
	/* Acquire: reclaim_run()'s queueing of releases before our look at that queue. */
	return atomic_load_explicit(&map->reclaimed, memory_order_acquire) >= generation &&
	       !hold_older_than(map, generation);
}

static bool is_noted(const struct mslot_map *map, uint64_t generation)
{
	/* Acquire: pairs with the store in commit_publish(). */
	return generation <= atomic_load_explicit(&map->published, memory_order_acquire);
}

/*
 * Readers may see a snapshot a moment before its generation is noted. Its writer is between
 * two stores, so that moment is short.
 */
static bool is_published(struct mslot_map *map, uint64_t generation)
{
	bool shown;

	if (is_noted(map, generation))
		return true;
	rcu_enter();
	shown = generation <= rcu_load(&map->snapshot)->generation;
	rcu_leave();
	while (shown && !is_noted(map, generation))
		sched_yield();
	return shown;
}

/* Until no section, no hold and no lease of before is left. */
static int wait_settled(struct mslot_map *map, uint64_t generation, int64_t timeout_ns,
			uint64_t deadline)
{
	int err;

	if (map_wait_deadlocks(0) || reclaimer_self())
		return -EDEADLK;
	if (!is_published(map, generation))
		return -EINVAL;
	if (!unreachable(map, generation)) {
		if (timeout_ns < 0) {
			/* Nobody needs to time out: spare the hand-over to the reclaimer. */
			map_synchronize(map);
			map_lock(map);
			reclaim_run(map, RECLAIM_ALL);
			map_unlock(map);
		} else {
			/* The reclaimer asks too, but may be in a grace period that asked nobody.
			 */
			map_ask_vcpus(map);
			reclaimer_kick(map, true);
		}
		err = reclaimer_wait(unreachable, map, generation, deadline);
		if (err)
			return err;
	}
	PERTURB(WAIT_UNREACHABLE);
	logging_begun(map, generation);
	return reclaimer_wait(lease_settled, map, generation, deadline);
}

int map_wait_settled(struct mslot_map *map, uint64_t generation, int64_t timeout_ns)
{
	return wait_settled(map, generation, timeout_ns, deadline_of(timeout_ns));
}

int mslot_wait(struct mslot_map *map, uint64_t generation, int64_t timeout_ns)
{
	uint64_t deadline = deadline_of(timeout_ns);
	int err;

	err = wait_settled(map, generation, timeout_ns, deadline);
	if (err)
		return err;
	PERTURB(WAIT_SETTLED);
	return reclaimer_flush(deadline);
}
