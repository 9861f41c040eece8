/* SPDX-License-Identifier: MIT */
/*
 * fork.c - a child of fork() may go on using its copy of every map.
 *
 * prepare takes every lock in order (list, each map's writer mutex and holds_lock, the
 * reclaimer's lock, liburcu's), so that the child's copy is consistent; parent and child
 * give them back in reverse. In the child the reclaimer is gone and starts again with the
 * next request; sections of other threads are forgotten by liburcu.
 *
 * A fork in a listener callback finds this thread as the owner of that map's writer mutex
 * and leaves it alone. A fork inside a read section cannot take liburcu's locks without a
 * risk of deadlock (a grace period in progress waits for this very section): it leaves
 * them alone, and the child may only exec or exit.
 */
#include "map/fork.h"

#include "base/rcu.h"
#include "map/reclaim.h"

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct mslot_map *maps;
static bool rcu_locked; /* under list_lock, between prepare and parent or child */

static void prepare(void)
{
	struct mslot_map *map;

	pthread_mutex_lock(&list_lock);
	for (map = maps; map; map = map->all_next) {
		if (!map_owned(map))
			pthread_mutex_lock(&map->writer);
		pthread_mutex_lock(&map->holds_lock);
	}
	reclaimer_before_fork();
	rcu_locked = !rcu_in_section();
	if (rcu_locked)
		rcu_before_fork();
}

static void unlock_maps(void)
{
	struct mslot_map *map;

	for (map = maps; map; map = map->all_next) {
		pthread_mutex_unlock(&map->holds_lock);
		if (!map_owned(map))
			pthread_mutex_unlock(&map->writer);
	}
}

static void parent(void)
{
	if (rcu_locked)
		rcu_after_fork_parent();
	reclaimer_after_fork(false);
	unlock_maps();
	pthread_mutex_unlock(&list_lock);
}

static void child(void)
{
	struct mslot_map *map;

	if (rcu_locked)
		rcu_after_fork_child();
	reclaimer_after_fork(true);
	for (map = maps; map; map = map->all_next)
		reclaimer_requeue(map);
	unlock_maps();
	pthread_mutex_unlock(&list_lock);
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
