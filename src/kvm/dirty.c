/* SPDX-License-Identifier: MIT */
/*
 * dirty.c - KVM's dirty log: one consumer, of slots with MSLOT_LOG_DIRTY.
 *
 * Its pages are in set LOG_SET_KVM, in `fresh` alone: a call that clears bits has returned
 * them before (get), or was told which (clear), and nothing is left to be acknowledged.
 *   get      harvest the slot's extents, copy `fresh` out, clear what was copied
 *   get with manual protect
 *            copy `fresh` and `live`, change nothing, wait for nobody
 *   clear    harvest, then clear in `fresh` what the mask has
 * Get and clear clear bits after a grace period, so that the caller who copies pages then
 * finds every store whose mark is gone.
 *
 * All run under the harvest lock; the checks come in the kernel's order. Only pages of the
 * slot are copied or cleared: after a split an extent has those of its neighbours too.
 */
#include <mslot/kvm.h>

#include <mslot/vcpu.h>

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/page.h"
#include "dirty/dirty.h"
#include "kvm/request.h"
#include "map/writer.h"
#include "map/wait.h"

/* ---- Capabilities ---- */

static int enable_manual_protect(struct mslot_map *map, const struct kvm_enable_cap *cap)
{
	uint64_t bits = cap->args[0], allowed = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;
	int err;

	if (bits & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE)
		allowed |= KVM_DIRTY_LOG_INITIALLY_SET;
	if (cap->flags || (bits & ~allowed))
		return -EINVAL;
	err = map_write_begin(map);
	if (err)
		return err;
	map->log.kvm_manual = (bits & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE) != 0;
	map->log.kvm_fill = (bits & KVM_DIRTY_LOG_INITIALLY_SET) != 0;
	map_write_end(map);
	return 0;
}

_Static_assert(
    sizeof(struct mslot_ring_entry) == sizeof(struct kvm_dirty_gfn) &&
	offsetof(struct mslot_ring_entry, flags) == offsetof(struct kvm_dirty_gfn, flags) &&
	offsetof(struct mslot_ring_entry, slot) == offsetof(struct kvm_dirty_gfn, slot) &&
	offsetof(struct mslot_ring_entry, offset) == offsetof(struct kvm_dirty_gfn, offset) &&
	MSLOT_RING_DIRTY == KVM_DIRTY_GFN_F_DIRTY && MSLOT_RING_RESET == KVM_DIRTY_GFN_F_RESET,
    "entries of a ring are those of KVM");

/* As the kernel, which keeps the low 32 bits of the size and does not look at flags. */
static int enable_ring(struct mslot_map *map, const struct kvm_enable_cap *cap)
{
	int err = mslot_ring_enable(map, (uint32_t)cap->args[0], 0);

	return err == -EBUSY ? -EINVAL : err;
}

/* After the rings, before the first slot. */
static int enable_ring_bitmap(struct mslot_map *map, const struct kvm_enable_cap *cap)
{
	uint64_t nslots = 0;
	uint32_t space;
	int err;

	if (cap->flags)
		return -EINVAL;
	err = map_write_begin(map);
	if (err)
		return err;
	for (space = 0; space < map->opt.nspaces; space++)
		nslots += mslot_snapshot_nslots(map_current(map), space);
	if (!map->log.rings || nslots > 0)
		err = -EINVAL;
	else
		atomic_store_explicit(&map->log.ring_only, false, memory_order_relaxed);
	map_write_end(map);
	return err;
}

int64_t mslot_kvm_reset_dirty_rings(struct mslot_map *map)
{
	int64_t n = mslot_ring_reset(map);

	return n == -ENXIO ? -EINVAL : n;
}

int mslot_kvm_enable_cap(struct mslot_map *map, const struct kvm_enable_cap *cap)
{
	switch (cap->cap) {
	case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2:
		return enable_manual_protect(map, cap);
	case KVM_CAP_DIRTY_LOG_RING:
	case KVM_CAP_DIRTY_LOG_RING_ACQ_REL:
		return enable_ring(map, cap);
	case KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP:
		return enable_ring_bitmap(map, cap);
	default:
		return -EINVAL;
	}
}

/* ---- The slot of a request ---- */

/* May there be a bitmap, and of such a slot? */
static int check_ids(const struct mslot_map *map, struct mslot_key key)
{
	/* Relaxed: whoever enabled rings and asks now knows it. */
	if (atomic_load_explicit(&map->log.ring_only, memory_order_relaxed))
		return -ENXIO;
	return key.space >= map->opt.nspaces || key.id >= map->opt.max_user_slots ? -EINVAL : 0;
}

/* A consumer of the library's own may log a slot that KVM's calls do not. */
static const struct mslot_slot *find_logged(const struct mslot_snapshot *snap, struct mslot_key key)
{
	const struct mslot_slot *slot = mslot_find_id(snap, key);

	return slot && (slot->flags & MSLOT_LOG_DIRTY) && slot->log ? slot : NULL;
}

/* Are the pages to be cleared the slot's? */
static int check_bounds(const struct mslot_slot *slot, const struct kvm_clear_dirty_log *log)
{
	uint64_t rest;

	if (log->first_page > slot->npages)
		return -EINVAL;
	rest = slot->npages - log->first_page;
	if (log->num_pages > rest)
		return -EINVAL;
	return log->num_pages < rest && log->num_pages % BITMAP_WORD_BITS ? -EINVAL : 0;
}

/*
 * The slot in the newest snapshot, which stays until *hold is put. `clear` is NULL for a get.
 * Returns 0 or -ENOENT, -EINVAL, -EFAULT, -ENOMEM in this order.
 */
static int hold_logged(struct mslot_map *map, struct mslot_key key, const void *bitmap,
		       const struct kvm_clear_dirty_log *clear, const struct mslot_slot **slot,
		       struct mslot_hold **hold)
{
	const struct mslot_snapshot *snap = mslot_enter(map);
	int err = 0;

	*slot = find_logged(snap, key);
	if (!*slot)
		err = -ENOENT;
	else if (clear)
		err = check_bounds(*slot, clear);
	/* Where the kernel has lost the bits by now: nothing says one must. */
	if (!err && !bitmap && (!clear || clear->num_pages > 0))
		err = -EFAULT;
	if (!err)
		err = mslot_hold(snap, "dirty log", hold);
	mslot_leave(snap);
	return err;
}

static void harvest_slot(struct harvest *h, const struct mslot_slot *slot,
			 const struct mslot_hold *hold)
{
	harvest_add(h, slot->log, slot->log->first, slot->log->first + slot->log->npages);
	harvest_run(h, mslot_hold_snapshot(hold));
}

/* ---- Get ---- */

static int get_and_clear(struct harvest *h, struct mslot_key key, void *bitmap)
{
	const struct mslot_slot *slot;
	struct mslot_hold *hold;
	int err;

	err = hold_logged(h->map, key, bitmap, NULL, &slot, &hold);
	if (err)
		return err;
	harvest_slot(h, slot, hold);
	bits_take_out(slot->log, LOG_SET_KVM, bitmap);
	mslot_hold_put(hold);
	return 0;
}

static int get_and_keep(struct mslot_map *map, struct mslot_key key, void *bitmap)
{
	const struct mslot_snapshot *snap = mslot_enter(map);
	const struct mslot_slot *slot = find_logged(snap, key);
	struct bits_query query = {.set = LOG_SET_KVM, .what = BITS_FRESH | BITS_LIVE};
	int err = 0;

	if (!slot)
		err = -ENOENT;
	else if (!bitmap)
		err = -EFAULT;
	if (!err) {
		query.view = slot->log;
		bits_copy_out(&query, bitmap);
	}
	mslot_leave(snap);
	return err;
}

int mslot_kvm_get_dirty_log(struct mslot_map *map, const struct kvm_dirty_log *log)
{
	struct mslot_key key = kvm_key(log->slot);
	struct harvest h;
	int err;

	if (map_wait_refused())
		return -EDEADLK;
	err = check_ids(map, key);
	if (err)
		return err;
	harvest_begin(&h, map);
	if (map->log.kvm_manual)
		err = get_and_keep(map, key, log->dirty_bitmap);
	else
		err = get_and_clear(&h, key, log->dirty_bitmap);
	harvest_end(&h);
	return err;
}

/* ---- Clear ---- */

/* Clear n bits that a mask has from its bit `at` on: it is not in step, or not aligned. */
static void clear_buffered(struct log_bits *bits, uint64_t first, uint64_t n, const char *mask,
			   uint64_t at)
{
	uint64_t buf[LOG_CHUNK_WORDS + 1], done, part, skip;

	for (done = 0; done < n; done += part) {
		part = u64_min(LOG_CHUNK_PAGES, n - done);
		skip = (at + done) % BITMAP_WORD_BITS;
		memcpy(buf, mask + (at + done - skip) / 8,
		       bitmap_words(skip + part) * sizeof(*buf));
		log_bits_clear_mask(bits, first + done, part, buf, skip);
	}
}

static void clear_masked(const struct mslot_slot *slot, const struct kvm_clear_dirty_log *log)
{
	uint64_t page = slot->log->first + log->first_page, at, n, bit;
	const char *mask = log->dirty_bitmap;
	struct log_extent *extent;
	struct log_set *set;

	for (at = 0; at < log->num_pages; at += n) {
		n = view_part(slot->log, page + at, page + log->num_pages, &extent, &bit);
		set = log_extent_set(extent, LOG_SET_KVM);
		if (!set)
			continue;
		if (at % BITMAP_WORD_BITS == 0 && log_bits_in_step(extent->npages, bit, n))
			log_bits_clear_words(set->fresh, bit, n, (const void *)(mask + at / 8));
		else
			clear_buffered(set->fresh, bit, n, mask, at);
	}
}

static int harvest_and_clear(struct harvest *h, struct mslot_key key,
			     const struct kvm_clear_dirty_log *log)
{
	const struct mslot_slot *slot;
	struct mslot_hold *hold;
	int err;

	err = hold_logged(h->map, key, log->dirty_bitmap, log, &slot, &hold);
	if (err)
		return err;
	harvest_slot(h, slot, hold);
	clear_masked(slot, log);
	mslot_hold_put(hold);
	return 0;
}

int mslot_kvm_clear_dirty_log(struct mslot_map *map, const struct kvm_clear_dirty_log *log)
{
	struct mslot_key key = kvm_key(log->slot);
	struct harvest h;
	int err;

	if (map_wait_refused())
		return -EDEADLK;
	err = check_ids(map, key);
	if (!err && log->first_page % BITMAP_WORD_BITS)
		err = -EINVAL;
	if (err)
		return err;
	harvest_begin(&h, map);
	err = harvest_and_clear(&h, key, log);
	harvest_end(&h);
	return err;
}
