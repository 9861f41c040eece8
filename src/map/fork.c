/* SPDX-License-Identifier: MIT */
/*
 * fork.c - a child of fork() may go on using its copy of every map.
 *
 * prepare() takes every lock, so that the child's copy is consistent; parent() and child()
 * give them back. In the child the reclaimer is gone and starts again with the next
 * request; sections of other threads are forgotten by liburcu, and their vCPUs are out.
 *
 * Order: liburcu's locks first, with none of ours held, because a grace period in progress
 * may wait for a reader that wants one of ours. Then the list and, by trying, the harvest locks,
 * whose owners wait for grace periods, and the writer mutexes: their owners may want each
 * other's, or the list, in any order (a listener may commit to another map, or create one),
 * so whoever cannot have all gives all back. Last each holds_lock and vcpus_lock, the registry of
 * leases and the reclaimer's lock, whose owners wait for nothing else.
 *
 * A fork inside a read section or in a listener callback would wait for itself in liburcu, and
 * for a harvest that waits for the section, or whose lock is the thread's own while it makes a
 * consumer: it leaves liburcu's locks and the harvest locks alone, and the child may only exec
 * or exit.
 */
#include "map/fork.h"

#include <sched.h>

#include "base/rcu.h"
#include "map/lease.h"
#include "map/reclaim.h"
#include "map/vcpus.h"

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct mslot_map *maps;
/* Under list_lock, between prepare() and parent() or child(): liburcu's and the harvest locks. */
static bool rcu_locked;

/* Give back the maps before `end`; NULL for all. */
static void unlock_maps(const struct mslot_map *end, bool with_harvests)
{
	struct mslot_map *map;

	for (map = maps; map != end; map = map->all_next) {
		pthread_mutex_unlock(&map->vcpus_lock);
		pthread_mutex_unlock(&map->holds_lock);
		if (!map_owned(map))
			pthread_mutex_unlock(&map->writer);
		if (with_harvests)
			pthread_mutex_unlock(&map->log.harvest_lock);
	}
}

static bool trylock_maps(bool with_harvests)
{
	struct mslot_map *map;

	for (map = maps; map; map = map->all_next) {
		if (with_harvests && pthread_mutex_trylock(&map->log.harvest_lock)) {
			unlock_maps(map, with_harvests);
			return false;
		}
		if (!map_owned(map) && pthread_mutex_trylock(&map->writer)) {
			if (with_harvests)
				pthread_mutex_unlock(&map->log.harvest_lock);
			unlock_maps(map, with_harvests);
			return false;
		}
		pthread_mutex_lock(&map->holds_lock);
		pthread_mutex_lock(&map->vcpus_lock);
	}
	return true;
}

static void prepare(void)
{
	bool with_rcu = !map_wait_deadlocks(0);

	for (;;) {
		if (with_rcu)
			rcu_before_fork();
		pthread_mutex_lock(&list_lock);
		if (trylock_maps(with_rcu))
			break;
		pthread_mutex_unlock(&list_lock);
		/* A listener may wait for a thread that enters its first section, or waits. */
		if (with_rcu)
			rcu_after_fork_parent();
		sched_yield();
	}
	rcu_locked = with_rcu;
	lease_before_fork();
	reclaimer_before_fork();
}

static void parent(void)
{
	bool with_rcu = rcu_locked;

	reclaimer_after_fork(false);
	lease_after_fork(false);
	unlock_maps(NULL, with_rcu);
	pthread_mutex_unlock(&list_lock);
	if (with_rcu)
		rcu_after_fork_parent();
}

static void call_hooks(const struct mslot_map *map)
{
	struct map_fork_hook *hook;

	for (hook = map->fork_hooks; hook; hook = hook->next)
		hook->child(hook);
}

static void child(void)
{
	bool with_rcu = rcu_locked;
	struct mslot_map *map;

	reclaimer_after_fork(true);
	lease_after_fork(true);
	for (map = maps; map; map = map->all_next) {
		map_vcpus_forked(map);
		call_hooks(map);
		reclaimer_requeue(map);
	}
	unlock_maps(NULL, with_rcu);
	pthread_mutex_unlock(&list_lock);
	if (with_rcu)
		rcu_after_fork_child();
}

static void register_handlers(void)
{
	/* Without memory for handlers a fork is as unsafe as in any threaded program. */
	(void)pthread_atfork(prepare, parent, child);
}

void fork_track(struct mslot_map *map)
{
	pthread_once(&once, register_handlers);
	pthread_mutex_lock(&list_lock);
	map->all_prev = NULL;
	map->all_next = maps;
	if (maps)
		maps->all_prev = map;
	maps = map;
	pthread_mutex_unlock(&list_lock);
}

void fork_untrack(struct mslot_map *map)
{
	pthread_mutex_lock(&list_lock);
	if (map->all_prev)
		map->all_prev->all_next = map->all_next;
	else
		maps = map->all_next;
	if (map->all_next)
		map->all_next->all_prev = map->all_prev;
	pthread_mutex_unlock(&list_lock);
}

bool fork_without_maps(void (*run)(void))
{
	bool none;

	pthread_mutex_lock(&list_lock);
	none = !maps;
	if (none)
		run();
	pthread_mutex_unlock(&list_lock);
	return none;
}

void map_fork_hook_add(struct mslot_map *map, struct map_fork_hook *hook)
{
	hook->next = map->fork_hooks;
	map->fork_hooks = hook;
}

void map_fork_hook_remove(struct mslot_map *map, struct map_fork_hook *hook)
{
	struct map_fork_hook **link;

	for (link = &map->fork_hooks; *link != hook; link = &(*link)->next)
		;
	*link = hook->next;
}
