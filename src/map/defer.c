/* SPDX-License-Identifier: MIT */
/*
 * defer.c - deferred work: what waits for readers beside the batches of commits.
 *
 * Data. `fresh` is a stack that any thread pushes to. Whoever has a grace period before it
 * takes the whole stack to the end of the list of a map, first to last, which keeps the order of
 * the pushes. `taken` counts what ever came into that list, `left` what is in it, so that
 * taken - left have been run; `graced` says up to which count a grace period has passed.
 *
 * Invariants
 *   F1 each is in the stack, then in the list, then run, once; it changes place with the writer
 *      mutex held, so that a fork finds it in one of the two
 *   F2 taken - left <= graced <= taken while nothing is run
 *   F3 run() is called for the first of the list, in the order of the list, unlinked, with
 *      the writer mutex held, and only while taken - left < graced
 *
 * Protocol
 *   map_defer()          the caller has unlinked what readers find; push (release)
 *   deferrals_take()     lock; exchange the stack for NULL (acquire); ticket = taken; unlock
 *   a grace period       begins after the exchange, and so after what was unlinked before the
 *                        push; whoever found it there is in a section that this waits for
 *   deferrals_run()      lock; graced = max(graced, ticket); run a few; unlock, lock, and so on
 * Several may do this at once: what an earlier ticket covers, a later one covers too.
 *
 * How soon. What is deferred is memory, and may wait for more of it: the reclaimer is asked,
 * not urgently, each time that KICK_BYTES have gathered, and takes what is there whenever it
 * looks after the map for another reason. These bytes do not count for the limit of retired memory
 * (W5): a commit that waited at that limit would not get them back sooner.
 */
#include "map/defer.h"

#include "base/page.h"
#include "base/perturb.h"
#include "map/reclaim.h"
#include "map/writer.h"

#define KICK_BYTES (UINT64_C(256) << 10)
/* Run with the writer mutex held at a time; one is run in any case. */
#define BREAK_BYTES (UINT64_C(64) << 10)

void deferrals_init(struct map_deferrals *deferrals)
{
	deferrals->last = &deferrals->first;
}

void map_defer(struct mslot_map *map, struct map_deferred *d)
{
	struct map_deferrals *deferrals = &map->deferrals;
	uint64_t bytes = d->bytes, before;

	/* Relaxed, and before the push: it says when to ask, no more; see deferrals_take(). */
	before = atomic_fetch_add_explicit(&deferrals->fresh_bytes, bytes, memory_order_relaxed);
	d->next = atomic_load_explicit(&deferrals->fresh, memory_order_relaxed);
	/* Release: the work, and what was unlinked for it. Pairs with deferrals_take(). */
	while (!atomic_compare_exchange_weak_explicit(&deferrals->fresh, &d->next, d,
						      memory_order_release, memory_order_relaxed))
		;
	/* Whoever crosses the line asks; d may be gone. */
	if (before <= KICK_BYTES && before + bytes > KICK_BYTES)
		reclaimer_kick(map, false);
}

/* Put a stack to the end of the list, the oldest first. Writer mutex held. */
static void append(struct map_deferrals *deferrals, struct map_deferred *stack)
{
	struct map_deferred *oldest = NULL, *newest = stack, *next;
	uint64_t n = 0;

	for (; stack; stack = next) {
		next = stack->next;
		stack->next = oldest;
		oldest = stack;
		n++;
	}
	if (n == 0)
		return;
	*deferrals->last = oldest;
	deferrals->last = &newest->next;
	deferrals->taken += n;
	/* Relaxed: stored under the mutex; elsewhere only looked at. */
	atomic_fetch_add_explicit(&deferrals->left, n, memory_order_relaxed);
}

static uint64_t take(struct mslot_map *map)
{
	struct map_deferrals *deferrals = &map->deferrals;
	uint64_t ticket = 0;

	map_lock(map);
	/*
	 * Before the stack: of what is pushed in between, the bytes stay counted, and it is asked
	 * for once too often; the other order would forget bytes of what is still there.
	 */
	atomic_store_explicit(&deferrals->fresh_bytes, 0, memory_order_relaxed);
	/* Acquire: the work. Pairs with map_defer(). */
	append(deferrals, atomic_exchange_explicit(&deferrals->fresh, NULL, memory_order_acquire));
	if (atomic_load_explicit(&deferrals->left, memory_order_relaxed) > 0)
		ticket = deferrals->taken;
	map_unlock(map);
	return ticket;
}

uint64_t deferrals_take(struct mslot_map *map)
{
	const struct map_deferrals *deferrals = &map->deferrals;

	/* Relaxed: what is missed here is for the next time; whoever pushed a lot asks then. */
	if (!atomic_load_explicit(&deferrals->fresh, memory_order_relaxed) &&
	    !atomic_load_explicit(&deferrals->left, memory_order_relaxed))
		return 0;
	return take(map);
}

/* Returns the bytes of the first of the list, which was run; writer mutex held. */
static uint64_t run_first(struct mslot_map *map)
{
	struct map_deferrals *deferrals = &map->deferrals;
	struct map_deferred *d = deferrals->first;
	uint64_t bytes = d->bytes + sizeof(*d);

	deferrals->first = d->next;
	if (!deferrals->first)
		deferrals->last = &deferrals->first;
	atomic_fetch_sub_explicit(&deferrals->left, 1, memory_order_relaxed);
	d->run(map, d);
	return bytes;
}

/* Writer mutex held. */
static bool may_run(const struct map_deferrals *deferrals)
{
	uint64_t left = atomic_load_explicit(&deferrals->left, memory_order_relaxed);

	return left > 0 && deferrals->taken - left < deferrals->graced;
}

void deferrals_run(struct mslot_map *map, uint64_t ticket)
{
	struct map_deferrals *deferrals = &map->deferrals;
	uint64_t bytes;
	bool more;

	do {
		map_lock(map);
		deferrals->graced = u64_max(deferrals->graced, ticket);
		for (bytes = 0; bytes < BREAK_BYTES && may_run(deferrals);)
			bytes += run_first(map);
		more = may_run(deferrals);
		map_unlock(map);
		PERTURB(DEFERRED_BREAK);
	} while (more);
}

void map_drain_deferred(struct mslot_map *map)
{
	uint64_t ticket;

	/* With the mutex: what is being run just now is in no list, and may defer more. */
	while ((ticket = take(map)) != 0) {
		map_synchronize(map);
		deferrals_run(map, ticket);
	}
}
