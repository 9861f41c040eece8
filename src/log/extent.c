/* SPDX-License-Identifier: MIT */
/*
 * extent.c - life of extents and of the sets in them.
 */
#include <errno.h>

#include "base/alloc.h"
#include "log/extent.h"

/* Two's complement: `bytes` may be minus so many. */
static void account(const struct log_extent *extent, uint64_t bytes)
{
	/* Relaxed: a number to be looked at; the writer mutex orders what a reader of it knows. */
	if (extent->tally)
		atomic_fetch_add_explicit(extent->tally, bytes, memory_order_relaxed);
}

static uint64_t set_bytes(const struct log_extent *extent)
{
	return sizeof(struct log_set) + 2 * log_bits_bytes(extent->npages);
}

static void set_free(struct log_set *set)
{
	if (!set)
		return;
	mem_free(set->fresh);
	mem_free(set->batch);
	mem_free(set);
}

static struct log_set *set_create(uint64_t npages)
{
	struct log_set *set = mem_zalloc(sizeof(*set));

	if (!set)
		return NULL;
	set->fresh = log_bits_create(npages);
	set->batch = log_bits_create(npages);
	if (set->fresh && set->batch)
		return set;
	set_free(set);
	return NULL;
}

static void extent_free(struct log_extent *extent)
{
	uint32_t i;

	account(extent, 0 - log_extent_bytes(extent));
	for (i = 0; i < LOG_SETS; i++)
		set_free(log_extent_set(extent, i));
	mem_free(atomic_load_explicit(&extent->ringed, memory_order_relaxed));
	mem_free(atomic_load_explicit(&extent->live, memory_order_relaxed));
	mem_free(extent->spare);
	mem_free(extent);
}

static int add_set(struct log_extent *extent, uint32_t i, const struct log_wants *wants,
		   uint64_t first, uint64_t npages)
{
	struct log_set *set = set_create(extent->npages);

	if (!set)
		return -ENOMEM;
	if (wants->fill >> i & 1)
		log_bits_set_range(set->fresh, first - extent->first, npages);
	account(extent, set_bytes(extent));
	/* Release: the set's bitmaps. Pairs with log_extent_set(). */
	atomic_store_explicit(&extent->sets[i], set, memory_order_release);
	/* Relaxed: writers that do not know yet are waited for before the consumer begins. */
	if (i != LOG_SET_KVM)
		atomic_fetch_or_explicit(&extent->others, 1u << i, memory_order_relaxed);
	return 0;
}

int log_extent_equip(struct log_extent *extent, const struct log_wants *wants, uint64_t first,
		     uint64_t npages, bool *added)
{
	struct log_bits *ringed;
	uint32_t i;
	int err;

	for (i = 0; i < LOG_SETS; i++) {
		if (!(wants->sets >> i & 1) || log_extent_set(extent, i))
			continue;
		err = add_set(extent, i, wants, first, npages);
		if (err)
			return err;
		*added = true;
	}
	if (wants->ring && !atomic_load_explicit(&extent->ringed, memory_order_relaxed)) {
		ringed = log_bits_create(extent->npages);
		if (!ringed)
			return -ENOMEM;
		account(extent, log_bits_bytes(extent->npages));
		/* Release: that it is clear. Pairs with the load of whoever pushes. */
		atomic_store_explicit(&extent->ringed, ringed, memory_order_release);
	}
	return 0;
}

void log_extent_drop_set(struct log_extent *extent, uint32_t consumer)
{
	struct log_set *set = log_extent_set(extent, consumer);

	if (set)
		account(extent, 0 - set_bytes(extent));
	atomic_fetch_and_explicit(&extent->others, ~(1u << consumer), memory_order_relaxed);
	/* Relaxed: whoever looks at other consumers' sets has one of the locks. */
	atomic_store_explicit(&extent->sets[consumer], NULL, memory_order_relaxed);
	set_free(set);
}

int log_extent_create(uint64_t first, uint64_t npages, const struct log_wants *wants,
		      struct log_extent **out)
{
	struct log_extent *extent = mem_zalloc(sizeof(*extent));
	struct log_bits *live;
	bool added;
	int err;

	if (!extent)
		return -ENOMEM;
	extent->first = first;
	extent->npages = npages;
	extent->tally = wants->tally;
	/* Also where one of its bitmaps cannot be had: extent_free() takes all of it back. */
	account(extent, log_extent_bytes(extent));
	atomic_init(&extent->refs, 1);
	live = log_bits_create(npages);
	atomic_init(&extent->live, live);
	extent->spare = log_bits_create(npages);
	err = live && extent->spare ? log_extent_equip(extent, wants, first, npages, &added)
				    : -ENOMEM;
	if (err)
		extent_free(extent);
	else
		*out = extent;
	return err;
}

void log_extent_get(struct log_extent *extent)
{
	/* Relaxed: the caller reaches it, so somebody's reference keeps it. */
	atomic_fetch_add_explicit(&extent->refs, 1, memory_order_relaxed);
}

void log_extent_put(struct log_extent *extent)
{
	/* Release: our use before the count; acquire at zero: everybody's. Pairs with itself. */
	if (atomic_fetch_sub_explicit(&extent->refs, 1, memory_order_acq_rel) == 1)
		extent_free(extent);
}

uint64_t log_extent_bytes(const struct log_extent *extent)
{
	uint64_t bytes = sizeof(*extent) + 2 * log_bits_bytes(extent->npages);
	uint32_t i;

	for (i = 0; i < LOG_SETS; i++)
		if (log_extent_set(extent, i))
			bytes += set_bytes(extent);
	if (atomic_load_explicit(&extent->ringed, memory_order_relaxed))
		bytes += log_bits_bytes(extent->npages);
	return bytes;
}
