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

#include "base/page.h"
#include "base/perturb.h"
#include "base/rcu.h"
#include "map/hold.h"
#include "map/lease.h"
#include "map/reclaim.h"
#include "map/vcpus.h"
#include "map/wait.h"
#include "map/writer.h"

bool map_wait_refused(void)
{
	return map_wait_deadlocks(0) || reclaimer_self();
}

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

static bool noted(struct mslot_map *map, uint64_t generation)
{
	return is_noted(map, generation);
}

/*
 * Readers may see a snapshot before its generation is noted: its writer tells the listeners
 * first, with the mutex held. Returns 0, -EINVAL or -ETIMEDOUT.
 */
static int wait_published(struct mslot_map *map, uint64_t generation, uint64_t deadline)
{
	bool shown;

	if (is_noted(map, generation))
		return 0;
	rcu_enter();
	shown = generation <= rcu_load(&map->snapshot)->generation;
	rcu_leave();
	if (!shown)
		return -EINVAL;
	if (deadline == UINT64_MAX) {
		map_lock(map);
		map_unlock(map);
		return 0;
	}
	/* Its step takes the mutex after this commit, and then there is an event. */
	reclaimer_kick(map, true);
	return reclaimer_wait(noted, map, generation, deadline);
}

/* Until no section, no hold and no lease of before is left. */
static int wait_settled(struct mslot_map *map, uint64_t generation, int64_t timeout_ns,
			uint64_t deadline)
{
	int err;

	if (map_wait_refused())
		return -EDEADLK;
	err = wait_published(map, generation, deadline);
	if (err)
		return err;
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
			map_ask_vcpus(map, VCPU_LEAVE);
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
