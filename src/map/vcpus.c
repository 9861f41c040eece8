/* SPDX-License-Identifier: MIT */
/*
 * vcpus.c - requests to vCPUs, and keeping them out for an EXCLUSIVE commit.
 *
 * Data. map->vcpus is the list; gate_closed says that an EXCLUSIVE commit keeps vCPUs out.
 *
 * Invariants
 *   V1 the list and the posting of requests have one lock: a vCPU that registers is either
 *      asked, or knows all that led to the asking
 *   V2 gate_closed is set by one commit at a time, which opens it again
 *   V3 between map_exclude() and map_readmit() no vCPU is inside
 *
 * Protocol of V3, whose other side is mslot_vcpu_enter(): close the gate; post to each
 * vCPU's request word; look whether it is inside. A vCPU says that it is inside, exchanges its
 * request word, looks at the gate. Of the two read-modify-writes of that word one comes
 * first: either the vCPU sees the gate closed, or the committer sees it inside.
 */
#include "map/vcpus.h"

#include <errno.h>
#include <sched.h>

#include "base/perturb.h"
#include "base/rcu.h"
#include "map/reclaim.h"

/* How often map_await_vcpus() looks: for some 10 us, then for a millisecond or so. */
#define SPINS 200u
#define YIELDS 2000u

int map_vcpus_init(struct mslot_map *map)
{
	int err = pthread_mutex_init(&map->vcpus_lock, NULL);

	if (err)
		return err;
	err = cond_init(&map->vcpus_moved);
	if (err)
		pthread_mutex_destroy(&map->vcpus_lock);
	return err;
}

void map_vcpus_fini(struct mslot_map *map)
{
	pthread_cond_destroy(&map->vcpus_moved);
	pthread_mutex_destroy(&map->vcpus_lock);
}

uint64_t map_nvcpus(struct mslot_map *map)
{
	uint64_t n;

	pthread_mutex_lock(&map->vcpus_lock);
	n = map->nvcpus;
	pthread_mutex_unlock(&map->vcpus_lock);
	return n;
}

void map_ask_vcpus_locked(struct mslot_map *map, uint32_t requests)
{
	if (map->nvcpus > 0)
		map->vcpu_ops->ask(map, requests);
}

void map_ask_vcpus(struct mslot_map *map, uint32_t requests)
{
	pthread_mutex_lock(&map->vcpus_lock);
	map_ask_vcpus_locked(map, requests);
	pthread_mutex_unlock(&map->vcpus_lock);
}

static bool any_busy(struct mslot_map *map)
{
	bool busy;

	pthread_mutex_lock(&map->vcpus_lock);
	busy = map->nvcpus > 0 && map->vcpu_ops->busy(map);
	pthread_mutex_unlock(&map->vcpus_lock);
	return busy;
}

void map_await_vcpus(struct mslot_map *map)
{
	unsigned int i;

	for (i = 0; i < SPINS && any_busy(map); i++)
		rcu_relax();
	/* Perhaps its thread waits for this CPU. */
	for (i = 0; i < YIELDS && any_busy(map); i++)
		sched_yield();
}

static bool gate_closed(struct mslot_map *map)
{
	/* Relaxed: stored under vcpus_lock, which is held. */
	return atomic_load_explicit(&map->gate_closed, memory_order_relaxed);
}

/* vcpus_lock held. */
static void open_gate(struct mslot_map *map)
{
	/* Release: the commit and its listeners before the sections it kept out. Pairs with
	 * mslot_vcpu_enter(). */
	atomic_store_explicit(&map->gate_closed, false, memory_order_release);
	pthread_cond_broadcast(&map->vcpus_moved);
}

/* Wait until no vCPU is inside. vcpus_lock held, the gate closed. */
static int wait_for_vcpus(struct mslot_map *map, uint64_t deadline_ns)
{
	int err = 0;

	while (map->nvcpus > 0 && map->vcpu_ops->watch(map)) {
		if (err == ETIMEDOUT)
			return -ETIMEDOUT;
		PERTURB(GATE_WATCHED);
		/* The vCPU was watched under the lock that it takes to wake us. */
		cond_wait_until(&map->vcpus_moved, &map->vcpus_lock, deadline_ns, &err);
	}
	return 0;
}

int map_exclude(struct mslot_map *map, uint64_t deadline_ns)
{
	int err = 0;

	pthread_mutex_lock(&map->vcpus_lock);
	while (gate_closed(map) && err != ETIMEDOUT)
		cond_wait_until(&map->vcpus_moved, &map->vcpus_lock, deadline_ns, &err);
	if (gate_closed(map)) {
		pthread_mutex_unlock(&map->vcpus_lock);
		return -ETIMEDOUT;
	}
	/* Relaxed: the request words carry it. Pairs with mslot_vcpu_enter(). */
	atomic_store_explicit(&map->gate_closed, true, memory_order_relaxed);
	PERTURB(GATE_CLOSED);
	map_ask_vcpus_locked(map, VCPU_LEAVE);
	err = wait_for_vcpus(map, deadline_ns);
	if (err)
		open_gate(map);
	pthread_mutex_unlock(&map->vcpus_lock);
	if (!err)
		PERTURB(EXCLUDED);
	return err;
}

void map_readmit(struct mslot_map *map)
{
	pthread_mutex_lock(&map->vcpus_lock);
	open_gate(map);
	pthread_mutex_unlock(&map->vcpus_lock);
}

void map_gate_wait(struct mslot_map *map)
{
	int err;

	pthread_mutex_lock(&map->vcpus_lock);
	while (gate_closed(map))
		cond_wait_until(&map->vcpus_moved, &map->vcpus_lock, UINT64_MAX, &err);
	pthread_mutex_unlock(&map->vcpus_lock);
}

void map_vcpu_moved(struct mslot_map *map)
{
	pthread_mutex_lock(&map->vcpus_lock);
	pthread_cond_broadcast(&map->vcpus_moved);
	pthread_mutex_unlock(&map->vcpus_lock);
}

void map_vcpus_forked(struct mslot_map *map)
{
	/* Whoever slept there, waited or kept vCPUs out is not in the child. */
	(void)cond_init(&map->vcpus_moved);
	atomic_store_explicit(&map->gate_closed, false, memory_order_relaxed);
	atomic_store_explicit(&map->awaited, 0, memory_order_relaxed);
	if (map->nvcpus > 0)
		map->vcpu_ops->forked(map);
}
