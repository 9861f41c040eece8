/* SPDX-License-Identifier: MIT */
/*
 * logging.c - dirty bits on their way through commits.
 *
 * Which old slots a new descriptor inherits from: those that its edit names. So a split
 * hands its bits to the parts, a merge takes those of all its parts, and a delete with a
 * create of the same memory, two edits, begins anew; so does a replace.
 *
 * What a commit takes away: the pages of a logged slot of which no descriptor of the same
 * edit inherits the bits.
 */
#include "map/logging.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/page.h"
#include "map/hold.h"
#include "map/lease.h"
#include "map/txn.h"

int logging_init(struct map_log *log)
{
	return pthread_mutex_init(&log->harvest_lock, NULL) ? -ENOMEM : 0;
}

void logging_fini(struct map_log *log)
{
	mem_free(log->ranges);
	pthread_mutex_destroy(&log->harvest_lock);
}

struct log_wants logging_wants(const struct mslot_map *map, uint32_t space, uint64_t base_gfn,
			       uint64_t npages, uint32_t flags)
{
	const struct map_log *log = &map->log;
	/* Bytes may be counted through a map that is const to the caller. */
	struct log_wants wants = {
	    .ring = log->rings,
	    .tally = (_Atomic uint64_t *)(uintptr_t)&log->bytes,
	};
	const struct log_range *range;
	size_t i;

	/* Private memory is not the host's to look at. */
	if (flags & MSLOT_GUEST_MEMFD)
		return wants;
	if (flags & MSLOT_LOG_DIRTY) {
		wants.sets = 1u << LOG_SET_KVM;
		wants.fill = log->kvm_fill ? 1u << LOG_SET_KVM : 0;
	}
	for (i = 0; i < log->nranges; i++) {
		range = &log->ranges[i];
		if (range->space != space ||
		    !range_overlaps(base_gfn, base_gfn + npages, range->first_gfn, range->end_gfn))
			continue;
		wants.sets |= 1u << range->consumer;
		wants.fill |= range->fill ? 1u << range->consumer : 0;
	}
	return wants;
}

/* ---- Views for new descriptors ---- */

/* The old views that changes of one edit inherit from. */
struct heirs {
	const struct log_view **views;
	uint32_t n;
};

static bool inherits(const struct mslot_edit *edit)
{
	return edit->kind != MSLOT_EDIT_CREATE && edit->kind != MSLOT_EDIT_DELETE &&
	       edit->kind != MSLOT_EDIT_REPLACE;
}

/* The names that an edit claims: [*first, return value) of c->claims. */
static uint32_t claims_of(const struct commit *c, uint32_t edit, uint32_t *first)
{
	uint32_t end;

	while (c->claims[*first].edit < edit)
		(*first)++;
	for (end = *first; end < c->nclaims && c->claims[end].edit == edit; end++)
		;
	return end;
}

/* Logged slots, of the region of `content`, that claims [i, end) name. */
static void list_views(const struct commit *c, const struct slot_content *content, uint32_t i,
		       uint32_t end, struct heirs *heirs)
{
	const struct mslot_slot *slot;

	for (heirs->n = 0; i < end; i++) {
		slot = c->claims[i].slot;
		if (slot && slot->log && slot->region == content->region)
			heirs->views[heirs->n++] = slot->log;
	}
}

static int give_one(struct commit *c, const struct change *change, const struct heirs *heirs,
		    bool *added)
{
	struct mslot_slot *slot = change->after;
	struct log_wants wants =
	    logging_wants(c->map, slot->space, slot->base_gfn, slot->npages, slot->flags);

	if (!wants.sets)
		return 0;
	return log_view_create(slot->hva >> slot->page_shift, slot->npages, heirs->views, heirs->n,
			       &wants, &slot->log, added);
}

/*
 * Who wants to begin with every bit set, and did not look at an old slot: the pages of that
 * keep their extents, in which such a consumer's set may be already, for a neighbour split
 * off or from before it stopped looking. So these pages are marked, for everybody: too many
 * bits are safe. A commit that fails has marked them as well.
 */
static void fill_inherited(const struct commit *c, const struct mslot_slot *slot, uint32_t i,
			   uint32_t end)
{
	uint32_t fill =
	    logging_wants(c->map, slot->space, slot->base_gfn, slot->npages, slot->flags).fill;
	const struct mslot_slot *old;
	uint64_t low, high;

	for (; fill && slot->log && i < end; i++) {
		old = c->claims[i].slot;
		if (!old || !old->log || old->region != slot->region)
			continue;
		low = u64_max(slot->log->first, old->log->first);
		high = u64_min(slot->log->first + slot->npages, old->log->first + old->npages);
		if (low < high && fill & ~logging_wants(c->map, old->space, old->base_gfn,
							old->npages, old->flags)
					      .sets)
			logging_mark(slot, low, high - low);
	}
}

/* What most commits can be spared. */
static bool nothing_logged(const struct commit *c)
{
	uint32_t i;

	if (c->map->log.nranges > 0)
		return false;
	for (i = 0; i < c->nchanges; i++)
		if (c->changes[i].after && c->changes[i].content.flags & MSLOT_LOG_DIRTY)
			return false;
	return true;
}

int logging_give(struct commit *c)
{
	const struct log_view *few[2];
	struct heirs heirs = {.views = few};
	uint32_t i, first = 0, end = 0;
	bool added = false;
	int err = 0;

	if (nothing_logged(c))
		return 0;
	if (c->nclaims > sizeof(few) / sizeof(*few)) {
		heirs.views = mem_alloc(c->nclaims * sizeof(*heirs.views));
		if (!heirs.views)
			return -ENOMEM;
	}
	for (i = 0; i < c->nchanges && !err; i++) {
		const struct change *change = &c->changes[i];

		if (!change->after)
			continue;
		heirs.n = 0;
		if (inherits(&c->txn->edits[change->edit])) {
			end = claims_of(c, change->edit, &first);
			list_views(c, &change->content, first, end, &heirs);
		}
		err = give_one(c, change, &heirs, &added);
		if (!err && heirs.n > 0)
			fill_inherited(c, change->after, first, end);
	}
	if (heirs.views != few)
		mem_free(heirs.views);
	c->log_begins = added;
	return err;
}

/* ---- What is taken away ---- */

struct taken {
	const struct mslot_slot *slot;
	uint64_t first, npages; /* log pages */
};

/* Call `visit` for each range of pages that the commit takes from a change's old slot. */
static int for_each_taken(const struct commit *c, const struct change *change,
			  int (*visit)(void *ctx, const struct taken *taken), void *ctx)
{
	const struct mslot_edit *edit = &c->txn->edits[change->edit];
	const struct mslot_slot *old = change->before, *after = change->after;
	uint64_t first, end, low, high;
	int err = 0;

	/* Parts of a split or a merge keep everything. */
	if (!old || !old->log || edit->kind == MSLOT_EDIT_SPLIT || edit->kind == MSLOT_EDIT_MERGE)
		return 0;
	first = old->log->first;
	end = first + old->log->npages;
	low = high = end;
	if (after && after->log && inherits(edit) && after->region == old->region) {
		low = u64_min(end, u64_max(first, after->log->first));
		high = u64_max(low, u64_min(end, after->log->first + after->log->npages));
		if (low == high)
			low = high = end;
	}
	if (first < low)
		err = visit(ctx, &(struct taken){old, first, low - first});
	if (!err && high < end)
		err = visit(ctx, &(struct taken){old, high, end - high});
	return err;
}

static int count_taken(void *ctx, const struct taken *taken)
{
	(void)taken;
	++*(size_t *)ctx;
	return 0;
}

static int note_taken(void *ctx, const struct taken *taken)
{
	struct mslot_final *final = ctx;
	struct final_range *range = &final->ranges[final->nranges];
	const struct mslot_slot *slot = taken->slot;
	const struct log_view *log = slot->log;
	const struct log_wants none = {.sets = 0};
	uint64_t skip = (taken->first - log->first) << slot->page_shift;
	bool added = false;
	int err;

	err = log_view_create(taken->first, taken->npages, &log, 1, &none, &range->view, &added);
	if (err)
		return err;
	region_get(slot->region, 1);
	mslot_slot_info_get(slot, &range->info);
	range->info.gpa += skip;
	range->info.hva += skip;
	range->info.offset_bytes += skip;
	range->info.len_bytes = taken->npages << slot->page_shift;
	final->nranges++;
	return 0;
}

int logging_collect(struct commit *c, struct mslot_final **out)
{
	struct mslot_final *final;
	size_t n = 0;
	uint32_t i;
	int err = 0;

	for (i = 0; i < c->nchanges; i++)
		(void)for_each_taken(c, &c->changes[i], count_taken, &n);
	final = mem_zalloc(sizeof(*final) + n * sizeof(final->ranges[0]));
	if (!final)
		return -ENOMEM;
	final->map = c->map;
	final->generation = c->old->generation + 1;
	for (i = 0; i < c->nchanges && !err; i++)
		err = for_each_taken(c, &c->changes[i], note_taken, final);
	if (err)
		logging_final_free(final);
	else
		*out = final;
	return err;
}

/* Each extent's by the part of its pages, so that all parts together are the whole. */
static int sum_taken(void *ctx, const struct taken *taken)
{
	const struct log_view *log = taken->slot->log;
	const struct log_piece *piece = log_view_piece(log, taken->first);
	uint64_t page = taken->first, end = page + taken->npages, n, lines;

	for (; page < end; page += n, piece++) {
		n = u64_min(end, piece->first + piece->npages) - page;
		/* In cache lines, so that the product with pages, below 2^31, fits. */
		lines = log_extent_bytes(piece->extent) / 64;
		*(uint64_t *)ctx += lines * n / piece->extent->npages * 64;
	}
	return 0;
}

uint64_t logging_taken_bytes(const struct commit *c)
{
	uint64_t bytes = 0;
	uint32_t i;

	for (i = 0; i < c->nchanges; i++)
		(void)for_each_taken(c, &c->changes[i], sum_taken, &bytes);
	return bytes;
}

void logging_final_free(struct mslot_final *final)
{
	size_t i;

	if (!final)
		return;
	for (i = 0; i < final->nranges; i++) {
		log_view_destroy(final->ranges[i].view);
		region_unref(final->ranges[i].info.region, 1);
	}
	mem_free(final);
}

/*
 * ---- Write leases ----
 * One counts as a write through every logged slot that shows its memory, for as long as it is
 * there: to which of them the device was sent, no record tells.
 */

void logging_mark_span(const struct mslot_snapshot *snap, const struct mslot_span *span)
{
	uint64_t first = span->gpa >> snap->page_shift, end, last;
	const struct mslot_slot *slot;

	end = ((span->gpa + (span->len_bytes - 1)) >> snap->page_shift) + 1;
	for (; first < end; first = last) {
		slot = mslot_find(snap, span->space, first << snap->page_shift);
		last = u64_min(end, slot_end_gfn(slot));
		if (slot->log)
			logging_mark(slot, slot_log_page(slot, first), last - first);
	}
}

/* What a lease may write to, and through which slots a snapshot shows it. */
static void mark_lease(void *ctx, const struct lease_span *span)
{
	const struct mslot_snapshot *snap = ctx;
	const struct mslot_slot *slot;
	struct mslot_iter iter;
	uint64_t first, end;

	mslot_iter_hva(&iter, snap,
		       (struct mslot_range){.start = span->hva, .len_bytes = span->len_bytes});
	while ((slot = mslot_iter_next(&iter))) {
		if (!slot->log || slot->region != span->region)
			continue;
		first = u64_max(span->hva, slot->hva);
		end = u64_min(span->hva + span->len_bytes, slot->hva + slot_len_bytes(slot));
		first >>= slot->page_shift;
		end = ((end - 1) >> slot->page_shift) + 1;
		logging_mark(slot, first, end - first);
	}
}

void logging_mark_write_leases(struct mslot_map *map, const struct mslot_snapshot *snap)
{
	/* A thread's first section may not begin under the registry's lock. */
	rcu_enter();
	/* ctx is not written through. */
	lease_for_each_write(map, mark_lease, (void *)(uintptr_t)snap);
	rcu_leave();
}

void logging_begun(struct mslot_map *map, uint64_t generation)
{
	uint64_t begun = atomic_load_explicit(&map->log.begun, memory_order_acquire);
	const struct mslot_snapshot *snap;
	bool held;

	if (begun == 0)
		return;
	/* Before the leases are looked for: one may yet be taken on a hold that is older. */
	held = hold_older_than(map, begun);
	snap = mslot_enter(map);
	logging_mark_write_leases(map, snap);
	mslot_leave(snap);
	/* What a later commit began, here or meanwhile, is for the wait for that one. */
	if (begun > generation || held)
		return;
	atomic_compare_exchange_strong_explicit(&map->log.begun, &begun, 0, memory_order_release,
						memory_order_relaxed);
}
