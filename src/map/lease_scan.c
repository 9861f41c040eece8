/* SPDX-License-Identifier: MIT */
/*
 * lease_scan.c - who looks for leases: waiting, the release of regions, commits that must
 * not wait, and who asks who holds.
 *
 * All walk every record of the process under the registry's lock. A record is read like
 * this: state; fields; state again. Unchanged and active, the fields belong together, and
 * the region that they name is alive as long as the lock is held: it cannot be released
 * before another scan. Who waits for the record to end then watches it.
 *
 * Why a scan sees every lease that matters. Of a region whose last reference is gone: each
 * lease was taken in a section or hold that reached it, and that ended before the reference
 * did. Of mslot_wait(g): it looks when no section and no hold is left on a snapshot older
 * than g. Invariants:
 *   S1 `parked` lists the regions that were ever leased, have no reference, and that the
 *      last scan found a lease of, or no scan has looked for yet; region->parked says so
 *   S2 each active record that names a region which a scan left parked is watched; so is
 *      each that lease_settled() said no for
 */
#include "map/lease.h"

#include <string.h>

#include "base/alloc.h"
#include "base/perturb.h"
#include "base/rcu.h"
#include "map/lease_record.h"
#include "map/reclaim.h"

#define GET(field) atomic_load_explicit(&(field), memory_order_relaxed)

static struct mslot_region *parked; /* registry's lock */

/* A segment as it was at one moment. */
struct copy {
	uint64_t state;
	struct mslot_map *map;
	struct mslot_region *region;
	uint64_t gpa, len_bytes, hva;
	uint64_t generation;
	uint64_t since_ns;
	uint64_t span_bytes;
	uint32_t nsegs;
	uint32_t space, access;
	uint64_t tag[LEASE_TAG_WORDS];
};

static bool still(const struct mslot_lease *rec, uint64_t state)
{
	/* Acquire fence: the fields before this look. Pairs with the release fence in fill().
	 * Acquire also for a holder's I/O, if the lease is over. */
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&rec->state, memory_order_acquire) == state;
}

/* Returns false unless the record is active. */
static bool record_read(const struct mslot_lease *rec, struct copy *out)
{
	unsigned int i;

	/* Acquire: the fields of an active record, the I/O of one that is over. Pairs with
	 * activate() and end(). */
	out->state = atomic_load_explicit(&rec->state, memory_order_acquire);
	if (!(out->state & LEASE_ACTIVE))
		return false;
	PERTURB(LEASE_SEEN);
	out->map = GET(rec->map);
	out->region = GET(rec->region);
	out->gpa = GET(rec->gpa);
	out->len_bytes = GET(rec->len_bytes);
	out->hva = GET(rec->hva);
	out->generation = GET(rec->generation);
	out->since_ns = GET(rec->since_ns);
	out->span_bytes = GET(rec->span_bytes);
	out->nsegs = GET(rec->nsegs);
	out->space = GET(rec->space);
	out->access = GET(rec->access);
	for (i = 0; i < LEASE_TAG_WORDS; i++)
		out->tag[i] = GET(rec->tag[i]);
	return still(rec, out->state);
}

/* Have the put of an active record stir the reclaimer. Returns false if it was put. */
static bool watch(struct mslot_lease *rec, uint64_t state)
{
	/*
	 * From the very state that was read: the record is then still the one that was copied.
	 * Release: what we read of it before its end; acquire on failure: the holder's I/O.
	 * Pairs with end().
	 */
	return atomic_compare_exchange_strong_explicit(&rec->state, &state, state | LEASE_WATCHED,
						       memory_order_acq_rel, memory_order_acquire);
}

/* The next record of a map that is active; of any map for NULL. */
static struct mslot_lease *next_of(struct lease_iter *it, const struct mslot_map *map,
				   struct copy *out)
{
	struct mslot_lease *rec;

	while ((rec = lease_iter_next(it)) != NULL)
		if (record_read(rec, out) && (!map || out->map == map))
			return rec;
	return NULL;
}

/* Does every page of the segment show the same host memory in this snapshot? */
static bool intact(const struct copy *c, const struct mslot_snapshot *snap)
{
	const struct mslot_slot *slot;
	uint64_t done, skip;

	for (done = 0; done < c->len_bytes; done += slot_len_bytes(slot) - skip) {
		slot = mslot_find(snap, c->space, c->gpa + done);
		if (!slot || slot->region != c->region)
			return false;
		skip = c->gpa + done - (slot->base_gfn << slot->page_shift);
		if (slot->hva + skip != c->hva + done)
			return false;
	}
	return true;
}

/* Does any page of the segment show it in `old` and not in `next`? */
static bool loses(const struct copy *c, const struct mslot_snapshot *old,
		  const struct mslot_snapshot *next)
{
	const uint64_t end = c->gpa + c->len_bytes;
	const struct mslot_slot *slot;
	struct copy part = *c;
	struct mslot_iter iter;
	uint64_t first, last;

	mslot_iter_gpa(&iter, old, c->space, (struct mslot_range){c->gpa, c->len_bytes});
	while ((slot = mslot_iter_next(&iter)) != NULL) {
		first = slot->base_gfn << slot->page_shift;
		last = first + slot_len_bytes(slot);
		part.gpa = first > c->gpa ? first : c->gpa;
		part.len_bytes = (last < end ? last : end) - part.gpa;
		part.hva = c->hva + (part.gpa - c->gpa);
		if (intact(&part, old) && !intact(&part, next))
			return true;
	}
	return false;
}

/* Registry locked. */
static void release_parked(void)
{
	struct mslot_region **link = &parked, *region;
	struct lease_iter it = {0};
	struct mslot_lease *rec;
	struct copy c;

	if (!parked)
		return;
	for (region = parked; region; region = region->release_next)
		region->needed = false;
	while ((rec = next_of(&it, NULL, &c)) != NULL)
		if (c.region->parked && watch(rec, c.state))
			c.region->needed = true;
	while ((region = *link) != NULL) {
		if (region->needed) {
			link = &region->release_next;
			continue;
		}
		*link = region->release_next;
		if (region->opt.release)
			reclaimer_release(region);
		else
			mem_free(region);
	}
}

void lease_park(struct mslot_region *region)
{
	lease_registry_lock();
	region->parked = true;
	region->release_next = parked;
	parked = region;
	lease_registry_unlock();
	PERTURB(REGION_PARKED);
	/* Not here: the caller may hold a writer mutex. */
	reclaimer_stir();
}

void lease_rescan(void)
{
	lease_registry_lock();
	release_parked();
	lease_registry_unlock();
}

bool lease_settled(struct mslot_map *map, uint64_t generation)
{
	const struct mslot_snapshot *snap;
	struct lease_iter it = {0};
	struct mslot_lease *rec;
	bool settled = true;
	struct copy c;

	rcu_enter();
	snap = rcu_load(&map->snapshot);
	lease_registry_lock();
	while ((rec = next_of(&it, map, &c)) != NULL)
		if (c.generation < generation && !intact(&c, snap) && watch(rec, c.state))
			settled = false;
	/* Regions that were parked for a lease that is gone now are for this wait, too. */
	release_parked();
	lease_registry_unlock();
	rcu_leave();
	return settled;
}

bool lease_breaks(struct mslot_map *map, const struct mslot_snapshot *old,
		  const struct mslot_snapshot *next, bool writes_only)
{
	struct lease_iter it = {0};
	bool breaks = false;
	struct copy c;

	lease_registry_lock();
	while (!breaks && next_of(&it, map, &c))
		breaks = (!writes_only || c.access == MSLOT_WRITE) && !intact(&c, next) &&
			 loses(&c, old, next);
	lease_registry_unlock();
	return breaks;
}

uint64_t lease_count(struct mslot_map *map)
{
	struct lease_iter it = {0};
	uint64_t n = 0;
	struct copy c;

	lease_registry_lock();
	while (next_of(&it, map, &c))
		n += c.span_bytes != 0;
	lease_registry_unlock();
	return n;
}

void lease_for_each_write(struct mslot_map *map,
			  void (*visit)(void *ctx, const struct lease_span *span), void *ctx)
{
	struct lease_iter it = {0};
	struct lease_span span;
	struct copy c;

	lease_registry_lock();
	while (next_of(&it, map, &c)) {
		if (c.access != MSLOT_WRITE)
			continue;
		span = (struct lease_span){
		    .region = c.region,
		    .hva = c.hva,
		    .len_bytes = c.len_bytes,
		    .generation = c.generation,
		};
		visit(ctx, &span);
	}
	lease_registry_unlock();
}

/*
 * Is a part of the lease's memory gone in this snapshot? *lost: the lease itself is. While
 * the head is active nobody writes to the records chained to it.
 */
static bool removed(const struct mslot_lease *head, const struct copy *first,
		    const struct mslot_snapshot *snap, bool *lost)
{
	bool gone = first->generation < snap->generation && !intact(first, snap);
	const struct mslot_lease *rec = head;
	struct copy c;
	uint32_t i;

	*lost = false;
	if (first->nsegs == 1 || first->generation >= snap->generation)
		return gone;
	for (i = 1; i < first->nsegs && !*lost; i++) {
		rec = GET(rec->next);
		*lost = !rec || !record_read(rec, &c);
		gone |= !*lost && !intact(&c, snap);
	}
	*lost |= !still(head, first->state);
	return gone;
}

/* Keep the oldest `room` of those that come, n of them there already, in order. */
static void insert(struct mslot_lease_holder *out, size_t n, size_t room,
		   const struct mslot_lease_holder *holder)
{
	size_t i = n < room ? n : room;

	/* Equal ones in the order of age. */
	while (i > 0 && (out[i - 1].generation > holder->generation ||
			 (out[i - 1].generation == holder->generation &&
			  out[i - 1].age_ns < holder->age_ns))) {
		if (i < room)
			out[i] = out[i - 1];
		i--;
	}
	if (i < room)
		out[i] = *holder;
}

size_t mslot_lease_holders(struct mslot_map *map, struct mslot_lease_holder *out, size_t nout)
{
	const struct mslot_snapshot *snap;
	struct mslot_lease_holder holder;
	struct lease_iter it = {0};
	struct mslot_lease *rec;
	uint64_t now;
	struct copy c;
	bool lost;
	size_t n = 0;

	rcu_enter();
	snap = rcu_load(&map->snapshot);
	lease_registry_lock();
	now = lease_now_ns();
	while ((rec = next_of(&it, map, &c)) != NULL) {
		if (c.span_bytes == 0)
			continue;
		holder = (struct mslot_lease_holder){
		    .span = {.space = c.space, .gpa = c.gpa, .len_bytes = c.span_bytes},
		    .generation = c.generation,
		    .age_ns = now > c.since_ns ? now - c.since_ns : 0,
		    .removed = removed(rec, &c, snap, &lost),
		};
		if (lost)
			continue;
		holder.span.access = c.access;
		memcpy(holder.tag, c.tag, sizeof(holder.tag));
		insert(out, n, nout, &holder);
		n++;
	}
	lease_registry_unlock();
	rcu_leave();
	return n;
}
