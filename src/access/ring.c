/* SPDX-License-Identifier: MIT */
/*
 * ring.c - dirty rings: vCPUs push the pages that they write, a consumer collects them.
 *
 * Data. A ring has `size` entries, which the consumer may look at, and as many cells, which
 * are ours: an entry's names are those of its slot when it was pushed, and may mean another
 * page by now. The cell has the extent and the page in it. Each entry's flags go from 0 to
 * DIRTY (the vCPU), RESET (the consumer), 0 (a reset). `pushed`, `collected` and `reset` count
 * entries.
 *
 * Invariants
 *   Q1 pushed - reset <= size, and entries are reset in order, after they were collected: one
 *      is written when nobody reads it any more
 *   Q2 entries [reset, pushed) own a reference of their extent, and only these
 *   Q3 a page is collected before its bit in `ringed` is cleared, and copied after the grace
 *      period that follows (ringed.c)
 *
 * Push (in the section of the write, before it or behind it, which is as good: who copies
 * waits for the section):
 *   1 the page is in a ring, or another vCPU claims it: done. No room: nothing may be written
 *   2 claim the page; fill cell and entry; count; flags = DIRTY (release)
 * Collect: flags (acquire); read the cell; flags = RESET (release).
 * Reset, under the harvest lock, which it keeps through the grace period, because whoever finds
 * nothing to reset relies on the reset that did:
 *   1 flags (acquire) are RESET: read the cell; flags = 0, then the count (release)
 *   2 clear the page's bit
 *   3 ask vCPUs to forget what lets them write to it without a push; grace period; return
 */
#include "access/ring.h"

#include <errno.h>
#include <string.h>

#include "access/vcpu.h"
#include "base/alloc.h"
#include "base/page.h"
#include "base/perturb.h"
#include "base/rcu.h"
#include "dirty/dirty.h"
#include "map/writer.h"
#include "map/wait.h"

#define MAX_ENTRIES UINT32_C(65536)

_Static_assert(sizeof(struct mslot_ring_entry) == 16, "the size of struct kvm_dirty_gfn");
_Static_assert(sizeof(struct ring_cell) % sizeof(struct mslot_ring_entry) == 0,
	       "cells behind the entries are whole pages too");

/* ---- Memory --------------------------------------------------------------- */

int ring_init(struct ring *ring, uint32_t entries, unsigned int page_shift, void *lent)
{
	size_t own = lent ? 0 : entries * sizeof(ring->entries[0]);
	size_t bytes = own + entries * sizeof(ring->cells[0]);

	if (entries == 0)
		return 0;
	ring->memory = mem_alloc_aligned(page_bytes(page_shift), bytes);
	if (!ring->memory)
		return -ENOMEM;
	memset(ring->memory, 0, bytes);
	ring->entries = lent ? lent : ring->memory;
	ring->cells = (struct ring_cell *)(void *)((char *)ring->memory + own);
	ring->size = entries;
	return 0;
}

void ring_fini(struct ring *ring)
{
	mem_free(ring->memory);
}

static struct mslot_ring_entry *entry_at(const struct ring *ring, uint32_t i)
{
	return &ring->entries[i & (ring->size - 1)];
}

static struct ring_cell *cell_at(const struct ring *ring, uint32_t i)
{
	return &ring->cells[i & (ring->size - 1)];
}

static uint32_t flags_of(const struct mslot_ring_entry *entry)
{
	/* Acquire: the entry when DIRTY, that it was read when RESET. Pairs with push() and
	 * mslot_vcpu_collect(). */
	return __atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE);
}

/* ---- Push ----------------------------------------------------------------- */

/* Pages of a span that belong into a ring: of one slot and one extent. */
struct part {
	const struct mslot_slot *slot;
	struct log_extent *extent;
	uint64_t gfn, bit, n;
};

struct part_cursor {
	const struct mslot_snapshot *snap;
	uint32_t space;
	uint64_t gfn, end;
};

static bool part_next(struct part_cursor *c, struct part *part)
{
	const struct mslot_slot *slot;
	uint64_t page;

	for (; c->gfn < c->end; c->gfn += part->n) {
		slot = mslot_find(c->snap, c->space, c->gfn << c->snap->page_shift);
		part->n = u64_min(c->end, slot_end_gfn(slot)) - c->gfn;
		if (!slot->log || !(slot->flags & MSLOT_LOG_DIRTY))
			continue;
		page = slot_log_page(slot, c->gfn);
		part->n = view_part(slot->log, page, page + part->n, &part->extent, &part->bit);
		if (!log_has_ring(part->extent))
			continue;
		part->slot = slot;
		part->gfn = c->gfn;
		c->gfn += part->n;
		return true;
	}
	return false;
}

/* Push page i of a part. Returns false when there is no room. */
static bool push(struct ring *ring, const struct part *part, uint64_t i)
{
	uint32_t at = atomic_load_explicit(&ring->pushed, memory_order_relaxed);
	struct mslot_ring_entry *entry = entry_at(ring, at);
	const struct mslot_slot *slot = part->slot;
	uint64_t bit = part->bit + i;
	bool mine = false;

	if (!log_ringed(part->extent, bit)) {
		if (ring_room(ring) == 0)
			return false;
		mine = log_ring_claim(part->extent, bit);
	}
	if (!mine) {
		log_ring_found(part->extent, bit);
		return true;
	}
	PERTURB(RING_CLAIMED);
	*cell_at(ring, at) = (struct ring_cell){
	    .extent = part->extent,
	    .bit = bit,
	    .gfn = part->gfn + i,
	    .key = {.space = slot->space, .id = slot->id},
	};
	entry->slot = (uint32_t)slot->space << 16 | (slot->id & 0xffff);
	entry->offset = part->gfn + i - slot->base_gfn;
	/* Relaxed: the flags carry it. Pairs with reset_ring(). */
	atomic_store_explicit(&ring->pushed, at + 1, memory_order_relaxed);
	PERTURB(RING_FILLED);
	/* Release: cell and entry. Pairs with flags_of(). */
	__atomic_store_n(&entry->flags, MSLOT_RING_DIRTY, __ATOMIC_RELEASE);
	log_ring_pushed(part->extent);
	return true;
}

/* Entries that the pages of a span would take. */
static uint64_t count_due(struct part_cursor c)
{
	uint64_t due = 0, i;
	struct part part;

	while (part_next(&c, &part))
		for (i = 0; i < part.n; i++)
			due += !log_ringed(part.extent, part.bit + i);
	return due;
}

int ring_admit(struct mslot_vcpu *vcpu, const struct mslot_snapshot *snap, struct mslot_addr to,
	       uint64_t len_bytes)
{
	struct part_cursor c = {
	    .snap = snap,
	    .space = to.space,
	    .gfn = to.gpa >> snap->page_shift,
	    .end = ((to.gpa + (len_bytes - 1)) >> snap->page_shift) + 1,
	};
	struct part part;
	uint64_t i;

	if (count_due(c) > ring_room(&vcpu->ring))
		return -ENOSPC;
	while (part_next(&c, &part))
		for (i = 0; i < part.n; i++)
			/* A reset meanwhile may have made more pages due. */
			if (!push(&vcpu->ring, &part, i))
				return -ENOSPC;
	PERTURB(RING_ADMITTED);
	return 0;
}

void ring_wrote(struct mslot_vcpu *vcpu, const struct mslot_snapshot *snap,
		const struct mslot_slot *slot, uint64_t gfn, uint64_t n)
{
	struct part_cursor c = {.snap = snap, .space = slot->space, .gfn = gfn, .end = gfn + n};
	struct part part;
	uint64_t i;

	while (part_next(&c, &part))
		for (i = 0; i < part.n; i++)
			if (!push(&vcpu->ring, &part, i))
				log_mark_one(part.extent, part.bit + i);
}

/* ---- Collect -------------------------------------------------------------- */

int mslot_vcpu_ring(struct mslot_vcpu *vcpu, struct mslot_ring_entry **entries)
{
	if (!vcpu->ring.entries)
		return -ENXIO;
	*entries = vcpu->ring.entries;
	return (int)vcpu->ring.size;
}

int mslot_vcpu_collect(struct mslot_vcpu *vcpu, struct mslot_ring_page *out, size_t n)
{
	unsigned int shift = vcpu->map->opt.page_shift;
	struct ring *ring = &vcpu->ring;
	struct mslot_ring_entry *entry;
	const struct ring_cell *cell;
	size_t count = 0;

	if (!ring->entries)
		return -ENXIO;
	for (; count < n; count++, ring->collected++) {
		entry = entry_at(ring, ring->collected);
		if (flags_of(entry) != MSLOT_RING_DIRTY)
			break;
		cell = cell_at(ring, ring->collected);
		out[count] = (struct mslot_ring_page){
		    .key = cell->key,
		    .gpa = cell->gfn << shift,
		    .hva = (cell->extent->first + cell->bit) << shift,
		};
		PERTURB(RING_COLLECTED);
		/* Release: that we have read it. Pairs with flags_of(). */
		__atomic_store_n(&entry->flags, MSLOT_RING_RESET, __ATOMIC_RELEASE);
	}
	return (int)count;
}

/* ---- Reset ---------------------------------------------------------------- */

/* Pages to be cleared in one word of an extent's bits. */
struct pending {
	struct log_extent *extent; /* own reference */
	uint64_t word, mask;
};

static void pending_flush(struct pending *p)
{
	if (!p->extent)
		return;
	log_ring_clear(p->extent, p->word, p->mask);
	log_extent_put(p->extent);
	p->extent = NULL;
}

/* Takes the entry's reference. */
static void pending_add(struct pending *p, struct log_extent *extent, uint64_t bit)
{
	if (p->extent == extent && p->word == bit / BITMAP_WORD_BITS) {
		p->mask |= bitmap_mask(bit);
		log_extent_put(extent);
		return;
	}
	pending_flush(p);
	*p = (struct pending){extent, bit / BITMAP_WORD_BITS, bitmap_mask(bit)};
}

/* Give the oldest entry back. vcpus_lock held. */
static struct ring_cell take_entry(struct ring *ring, uint32_t at)
{
	struct ring_cell cell = *cell_at(ring, at);

	/* Release: our read, and the flags of whoever collected. Pairs with the count. */
	__atomic_store_n(&entry_at(ring, at)->flags, 0, __ATOMIC_RELEASE);
	/* Release: the flags are 0 before the entry is filled again. Pairs with ring_room(). */
	atomic_store_explicit(&ring->reset, at + 1, memory_order_release);
	PERTURB(RING_GIVEN);
	return cell;
}

/* vcpus_lock held. Returns the number of entries. */
static uint32_t reset_ring(struct ring *ring)
{
	uint32_t at = atomic_load_explicit(&ring->reset, memory_order_relaxed), n;
	struct pending pending = {.extent = NULL};
	struct ring_cell cell;

	/*
	 * What an entry was pushed with is known with its flags: more than `pushed` are not
	 * there, whatever the consumer stored in flags.
	 */
	for (n = 0; n < ring->size && flags_of(entry_at(ring, at)) == MSLOT_RING_RESET &&
		    at != atomic_load_explicit(&ring->pushed, memory_order_relaxed);
	     n++, at++) {
		cell = take_entry(ring, at);
		pending_add(&pending, cell.extent, cell.bit);
	}
	pending_flush(&pending);
	return n;
}

bool ring_drain(struct ring *ring)
{
	uint32_t at = atomic_load_explicit(&ring->reset, memory_order_relaxed), from = at;
	struct ring_cell cell;
	bool collected;

	if (!ring->entries)
		return false;
	for (; at != atomic_load_explicit(&ring->pushed, memory_order_relaxed); at++) {
		collected = flags_of(entry_at(ring, at)) == MSLOT_RING_RESET;
		cell = take_entry(ring, at);
		log_ring_clear(cell.extent, cell.bit / BITMAP_WORD_BITS, bitmap_mask(cell.bit));
		/*
		 * The clear before the load of `live`: a harvest whose swap comes after that load
		 * waits for every section that saw the bit set. Pairs with the fence in
		 * rcu_synchronize().
		 */
		atomic_thread_fence(memory_order_seq_cst);
		if (!collected)
			log_mark_one(cell.extent, cell.bit);
		log_extent_put(cell.extent);
	}
	return at != from;
}

int64_t mslot_ring_reset(struct mslot_map *map)
{
	struct mslot_vcpu *vcpu;
	int64_t n = 0;
	bool owed;

	if (map_wait_refused())
		return -EDEADLK;
	if (!atomic_load_explicit(&map->log.ring_entries, memory_order_relaxed))
		return -ENXIO;
	pthread_mutex_lock(&map->log.harvest_lock);
	pthread_mutex_lock(&map->vcpus_lock);
	for (vcpu = map->vcpus; vcpu; vcpu = vcpu->next)
		n += reset_ring(&vcpu->ring);
	/* Entries that went with their vCPU count as reset by us. */
	owed = map->log.ring_owed;
	map->log.ring_owed = false;
	pthread_mutex_unlock(&map->vcpus_lock);
	PERTURB(RING_RESET);
	if (n > 0 || owed)
		map_flush(map);
	pthread_mutex_unlock(&map->log.harvest_lock);
	return n;
}

/* ---- Enable --------------------------------------------------------------- */

/* Ring bits for what is logged already; writer mutex held. */
static int equip_extents(struct mslot_map *map)
{
	static const struct log_wants wants = {.ring = true};
	const struct log_view *log;
	struct index_cursor cur;
	struct index_entry entry;
	bool added;
	uint32_t i;
	int err = 0;

	index_cursor_init(&cur, &map_current(map)->id, 0, UINT64_MAX);
	while (!err && index_cursor_next(&cur, &entry)) {
		log = ((const struct mslot_slot *)entry.item)->log;
		for (i = 0; log && !err && i < log->npieces; i++)
			err = log_extent_equip(log->pieces[i].extent, &wants, 0, 0, &added);
	}
	return err;
}

/* Both locks held. */
static int enable(struct mslot_map *map, uint32_t entries, bool ring_only)
{
	int err = map->log.rings ? -EBUSY : equip_extents(map);

	if (err)
		return err;
	pthread_mutex_lock(&map->vcpus_lock);
	if (map->nvcpus > 0) {
		err = -EBUSY;
	} else {
		map->log.rings = true;
		atomic_store_explicit(&map->log.ring_only, ring_only, memory_order_relaxed);
		/* Relaxed: vCPUs are made under the lock. */
		atomic_store_explicit(&map->log.ring_entries, entries, memory_order_relaxed);
	}
	pthread_mutex_unlock(&map->vcpus_lock);
	return err;
}

static int check_size(const struct mslot_map *map, uint64_t ring_bytes, uint32_t flags)
{
	if (flags & ~MSLOT_RING_WITH_BITMAP || ring_bytes == 0 || ring_bytes & (ring_bytes - 1) ||
	    ring_bytes < page_bytes(map->opt.page_shift) ||
	    ring_bytes < MSLOT_RING_RESERVED * sizeof(struct mslot_ring_entry))
		return -EINVAL;
	return ring_bytes > MAX_ENTRIES * sizeof(struct mslot_ring_entry) ? -E2BIG : 0;
}

int mslot_ring_enable(struct mslot_map *map, uint64_t ring_bytes, uint32_t flags)
{
	int err;

	if (map_wait_refused())
		return -EDEADLK;
	err = check_size(map, ring_bytes, flags);
	if (err)
		return err;
	pthread_mutex_lock(&map->log.harvest_lock);
	err = map_write_begin(map);
	if (!err) {
		err = enable(map, (uint32_t)(ring_bytes / sizeof(struct mslot_ring_entry)),
			     !(flags & MSLOT_RING_WITH_BITMAP));
		map_write_end(map);
	}
	pthread_mutex_unlock(&map->log.harvest_lock);
	return err;
}
