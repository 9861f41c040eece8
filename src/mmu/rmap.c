/* SPDX-License-Identifier: MIT */
/*
 * rmap.c - the words of reverse maps, and the lists behind them.
 *
 * Only the first list has room, unless leaves were filtered out. Lists are touched under the
 * head's lock alone, so that they are freed at once.
 */
#include "mmu/rmap.h"

#include <sched.h>

#include "base/alloc.h"

#define SPINS 128u

uint64_t head_lock(_Atomic uint64_t *head)
{
	unsigned int spins = 0;
	uint64_t value;

	for (;;) {
		/*
		 * seq_cst: the lock before the recheck of a fault, and before what a zapper finds
		 * in the next head. Pairs with the loads of heads in range.c.
		 */
		value = atomic_fetch_or_explicit(head, HEAD_LOCKED, memory_order_seq_cst);
		if (!(value & HEAD_LOCKED)) {
			PERTURB_GUARD_LOCKED();
			return value;
		}
		while (atomic_load_explicit(head, memory_order_relaxed) & HEAD_LOCKED)
			if (++spins % SPINS == 0)
				sched_yield();
	}
}

/* A value for lists, from the first on. */
static uint64_t value_of(struct rmap_list *list)
{
	uint64_t leaf;

	if (!list)
		return 0;
	if (list->next || list->n > 1)
		return (uint64_t)(uintptr_t)list | HEAD_LIST;
	leaf = list->leaf[0];
	return leaf;
}

static size_t list_bytes(uint32_t room)
{
	return sizeof(struct rmap_list) + room * sizeof(uint64_t);
}

struct rmap_list *rmap_list_create(struct mslot_mmu *mmu, uint64_t value)
{
	uint16_t room = value & HEAD_LIST ? RMAP_LIST_MANY : RMAP_LIST_FEW;
	struct rmap_list *list = mem_alloc(list_bytes(room));

	if (!list)
		return NULL;
	*list = (struct rmap_list){.room = room};
	count_add(&mmu->counters, COUNT_LIST_BYTES, list_bytes(room));
	return list;
}

void rmap_list_free(struct mslot_mmu *mmu, struct rmap_list *list)
{
	if (!list)
		return;
	count_sub(&mmu->counters, COUNT_LIST_BYTES, list_bytes(list->room));
	mem_free(list);
}

bool rmap_needs_list(uint64_t value)
{
	if (value & HEAD_LIST)
		return rmap_lists(value)->n == rmap_lists(value)->room;
	return value != 0;
}

uint64_t rmap_count(uint64_t value)
{
	if (value & HEAD_LIST)
		return rmap_lists(value)->total;
	return value & ~HEAD_FLAGS ? 1 : 0;
}

static void note_longest(struct mslot_mmu *mmu, uint64_t value)
{
	uint64_t n = rmap_count(value);
	uint64_t seen = atomic_load_explicit(&mmu->longest, memory_order_relaxed);

	while (seen < n && !atomic_compare_exchange_weak_explicit(
			       &mmu->longest, &seen, n, memory_order_relaxed, memory_order_relaxed))
		;
}

uint64_t rmap_add(struct mslot_mmu *mmu, uint64_t value, uint64_t leaf, struct rmap_list **spare)
{
	struct rmap_list *list;

	count_add(&mmu->counters, COUNT_MAPPED, 1);
	if (value == 0) {
		value = leaf;
	} else {
		if (rmap_needs_list(value)) {
			list = *spare;
			*spare = NULL;
			list->next = value & HEAD_LIST ? rmap_lists(value) : NULL;
			list->total = (uint32_t)rmap_count(value);
			list->n = 0;
			if (!list->next)
				list->leaf[list->n++] = value;
			value = (uint64_t)(uintptr_t)list | HEAD_LIST;
		}
		list = rmap_lists(value);
		list->leaf[list->n++] = leaf;
		list->total++;
	}
	if (value & HEAD_LIST || atomic_load_explicit(&mmu->longest, memory_order_relaxed) == 0)
		note_longest(mmu, value);
	return value;
}

uint64_t rmap_filter(struct mslot_mmu *mmu, uint64_t value,
		     bool (*remove)(void *ctx, uint64_t leaf), void *ctx)
{
	struct rmap_list *first, *list, **link;
	uint32_t total = 0, gone = 0;
	uint16_t i, kept;

	if (!(value & HEAD_LIST)) {
		if (!value || !remove(ctx, value))
			return value;
		count_sub(&mmu->counters, COUNT_MAPPED, 1);
		return 0;
	}
	first = rmap_lists(value);
	for (link = &first; (list = *link) != NULL;) {
		for (i = kept = 0; i < list->n; i++)
			if (!remove(ctx, list->leaf[i]))
				list->leaf[kept++] = list->leaf[i];
		gone += (uint32_t)(list->n - kept);
		total += kept;
		list->n = kept;
		if (kept > 0) {
			link = &list->next;
			continue;
		}
		*link = list->next;
		rmap_list_free(mmu, list);
	}
	count_sub(&mmu->counters, COUNT_MAPPED, gone);
	if (first)
		first->total = total;
	value = value_of(first);
	if (first && !(value & HEAD_LIST))
		rmap_list_free(mmu, first);
	return value;
}

struct wanted {
	uint64_t leaf;
	bool found;
};

static bool is_wanted(void *ctx, uint64_t leaf)
{
	struct wanted *wanted = ctx;

	if (leaf != wanted->leaf)
		return false;
	wanted->found = true;
	return true;
}

uint64_t rmap_remove(struct mslot_mmu *mmu, uint64_t value, uint64_t leaf, bool *found)
{
	struct wanted wanted = {.leaf = leaf};

	value = rmap_filter(mmu, value, is_wanted, &wanted);
	*found = wanted.found;
	return value;
}

void rmap_free(struct mslot_mmu *mmu, uint64_t value)
{
	struct rmap_list *list, *next;

	for (list = value & HEAD_LIST ? rmap_lists(value) : NULL; list; list = next) {
		next = list->next;
		rmap_list_free(mmu, list);
	}
}
