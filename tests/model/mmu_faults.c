/* SPDX-License-Identifier: MIT */
/*
 * mmu_faults.c - faults and prefaults: what they must answer, and what roots have afterwards.
 */
#include "mmu_twin.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define PREFAULT_PAGES 1100u

bool mmu_invalid(const struct mmu_world *w, uint64_t hva, uint64_t len, bool certainly)
{
	bool any = false;

	for (size_t i = 0; i < MMU_RANGES; i++) {
		const struct mslot_range *r = &w->ranges[i];

		any = any || r->len_bytes;
		if (r->len_bytes && hva < r->start + r->len_bytes && r->start < hva + len)
			return true;
	}
	return any && !certainly && hva < w->hull_end && w->hull_start < hva + len;
}

/* ---- What a fault asks for ---------------------------------------------------- */

bool mmu_walk(const struct mmu_root *root, uint64_t page, struct mslot_walk *out)
{
	const struct mmu_world *w = root->world;

	if (root->kind == MSLOT_ROOT_DIRECT) {
		*out = (struct mslot_walk){page << w->shift, NMMU_LEVELS, 0};
		return true;
	}
	for (size_t i = 0; i < MMU_SEGMENTS; i++) {
		const struct mmu_segment *seg = &root->seg[i];

		if (page - seg->page < seg->npages) {
			*out = (struct mslot_walk){(seg->gfn + (page - seg->page)) << w->shift,
						   seg->level, seg->readonly};
			return true;
		}
	}
	return false;
}

static uint64_t some_page(struct mmu_world *w, const struct mmu_root *root)
{
	const struct mmu_segment *seg = &root->seg[mmu_below(w, MMU_SEGMENTS)];
	static const uint64_t steps[] = {0, 1, 511, 512, 513, 262143, 262144};
	uint64_t page;

	if (root->runs.n && mmu_chance(w, 30)) {
		const struct nmmu_run *run = &root->runs.run[mmu_below(w, root->runs.n)];

		page = run->page + mmu_below(w, run->npages);
		return mmu_chance(w, 40) ? page ^ steps[mmu_below(w, 7)] : page;
	}
	if (root->kind == MSLOT_ROOT_DIRECT)
		return mmu_some_gfn(w, root->space);
	page = mmu_chance(w, 70) ? mmu_below(w, seg->npages) : steps[mmu_below(w, 7)];
	return seg->page + page % seg->npages;
}

/* ---- What it must answer ------------------------------------------------------- */

struct asked {
	struct nmmu_at at;
	const struct naive_slot *slot; /* or NULL */
	bool write, guest_readonly, shadow;
};

static void ask(const struct mmu_world *w, const struct mmu_root *root,
		const struct mslot_fault *fault, struct asked *out)
{
	const uint64_t pages = UINT64_C(1) << (9 * root->levels);
	const uint32_t max = w->mode->max_leaf_level;

	*out = (struct asked){.shadow = root->kind == MSLOT_ROOT_SHADOW};
	out->write = fault->access == MSLOT_WRITE;
	out->at.space = root->space;
	out->at.page = (fault->addr >> w->shift) & (pages - 1);
	out->at.gfn = out->shadow ? fault->walk.gpa >> w->shift : out->at.page;
	out->at.max_level = out->shadow && fault->walk.level < max ? fault->walk.level : max;
	out->guest_readonly = out->shadow && fault->walk.guest_readonly;
	out->slot = nmmu_slot(&w->naive, root->space, out->at.gfn);
}

/* Where several errors fit, the header does not say which one wins. */
static bool err_fits(const struct mmu_world *w, const struct mmu_root *root,
		     const struct mslot_fault *fault, const struct asked *a, int err)
{
	const unsigned int bits = 9 * root->levels + w->shift;
	const uint64_t page = UINT64_C(1) << w->shift;
	const bool readonly =
	    a->write && (a->guest_readonly || (a->slot && a->slot->flags & MSLOT_READONLY));
	/* Those of guests are sign-extended. */
	const uint64_t above = fault->addr >> (a->shadow ? bits - 1 : bits);
	struct nmmu_run leaf;
	bool kept_off, maybe;

	if ((above && !(a->shadow && above == UINT64_MAX >> (bits - 1))) ||
	    (a->shadow && (fault->walk.level < 1 || fault->walk.level > NMMU_LEVELS)))
		return err == -EINVAL;
	if (!a->slot)
		return err == -ENOENT || (readonly && err == -EACCES);
	leaf = nmmu_leaf(&w->naive, &a->at, 1);
	kept_off = mmu_invalid(w, nmmu_hva(&w->naive, &leaf), page, true);
	maybe = mmu_invalid(w, nmmu_hva(&w->naive, &leaf), page, false);
	if (readonly)
		return err == -EACCES || (maybe && err == -EAGAIN);
	return kept_off ? err == -EAGAIN : err == 0 || (maybe && err == -EAGAIN);
}

/*
 * A fault replaces a table, unless there are tables below; so 2 MiB are always had, and 1 GiB where
 * there was no single page since everything was zapped.
 */
static uint32_t least_level(const struct mmu_world *w, const struct mmu_root *root,
			    const struct asked *a, uint32_t allowed)
{
	const struct nmmu_run unit = nmmu_leaf(&w->naive, &a->at, allowed);

	if (mmu_invalid(w, nmmu_hva(&w->naive, &unit), unit.npages << w->shift, false))
		return 1;
	if (allowed < NMMU_LEVELS)
		return allowed;
	for (size_t i = 0; i < root->nfine; i++)
		if (i == MMU_FINE || root->fine[i] == unit.page)
			return 2;
	return allowed;
}

/* The leaf at the page now: one that was there, or a new one. */
static bool leaf_made(struct mmu_world *w, struct mmu_root *root, const struct asked *a,
		      uint32_t level)
{
	const uint32_t allowed = nmmu_allowed_level(&w->view, &a->at);
	const struct nmmu_run *was = nmmu_find(&root->runs, a->at.page);
	struct nmmu_run leaf;
	bool same, fresh;

	if (level < 1 || level > NMMU_LEVELS)
		return twin_fail("a leaf of level %u\n", level);
	leaf = nmmu_leaf(&w->naive, &a->at, level);
	same = was && was->level == level && was->gfn == leaf.gfn && was->region == leaf.region &&
	       was->offset_pages == leaf.offset_pages;
	fresh = nmmu_empty(&root->runs, leaf.page, leaf.npages);
	if (level > allowed && !same)
		return twin_fail("level %u, where %u is allowed\n", level, allowed);
	if (level < least_level(w, root, a, allowed))
		return twin_fail("level %u, where nothing is in the way of %u\n", level, allowed);
	leaf.guest_readonly = a->guest_readonly;
	leaf.must = true;
	leaf.loose = same && was->loose;
	leaf.write = same ? was->write : NMMU_EITHER;
	leaf.used = same ? was->used : 0;
	leaf.maybe_used = same ? was->maybe_used : fresh ? 0 : MSLOT_AGE_ACCESSED | MSLOT_AGE_DIRTY;
	leaf.protected = level > 1 && (same ? was->protected : !fresh);
	if (!nmmu_writable(&w->view, root->space, &leaf))
		leaf.write = NMMU_NO;
	else if (a->write && leaf.write != NMMU_YES)
		leaf.write = !leaf.protected && nmmu_one_slot(&w->naive, root->space, &leaf)
				 ? NMMU_YES
				 : NMMU_EITHER;
	nmmu_put(&root->runs, &leaf, false);
	mmu_tally.levels[level]++;
	return true;
}

static bool check_answer(struct mmu_world *w, const struct asked *a, uint64_t addr,
			 const struct mslot_translation *out)
{
	const uint64_t in = addr & ((UINT64_C(1) << w->shift) - 1);
	const struct nmmu_run page = nmmu_leaf(&w->naive, &a->at, 1);
	const uint64_t leaf = nmmu_level_pages(out->level) << w->shift;
	const uint64_t to_leaf = leaf - (addr & (leaf - 1));
	const uint64_t to_page = (UINT64_C(1) << w->shift) - in;
	const bool readonly = a->guest_readonly || a->slot->flags & MSLOT_READONLY;

	if (out->hva != nmmu_hva(&w->naive, &page) + in)
		return twin_fail("fault: host address %#" PRIx64 ", not %#" PRIx64 "\n", out->hva,
				 nmmu_hva(&w->naive, &page) + in);
	if (a->write ? !out->writable : out->writable && readonly)
		return twin_fail("fault: writable is %u\n", out->writable);
	if (out->len_bytes != to_leaf && (!out->writable || out->len_bytes != to_page))
		return twin_fail("fault: %" PRIu64 " bytes\n", out->len_bytes);
	return true;
}

static bool check_counts(struct mmu_world *w, int err)
{
	struct mslot_mmu_stats now;

	mslot_mmu_stats_get(w->mmu, &now);
	if (now.faults - w->stats.faults != (err == 0) ||
	    now.mmio - w->stats.mmio != (err == -ENOENT) ||
	    now.invalidated - w->stats.invalidated != (err == -EAGAIN))
		return twin_fail("fault: %d, and other counters went up\n", err);
	if (now.tables > now.max_tables && now.tables > w->stats.tables)
		return twin_fail("fault: %" PRIu64 " tables, where %" PRIu64 " are allowed\n",
				 now.tables, now.max_tables);
	return true;
}

/* The tables on the way are made all the same, and a leaf of another frame is gone perhaps. */
static void note_refusal(struct mmu_root *root, const struct asked *a)
{
	struct nmmu_run *run = nmmu_find(&root->runs, a->at.page);

	mmu_note_fine(root, a->at.page);
	if (run && run->gfn + (a->at.page - run->page) != a->at.gfn)
		run->must = false;
}

bool mmu_faulted(struct mmu_world *w, struct mmu_root *root, const struct mslot_fault *fault,
		 int err, const struct mslot_translation *out)
{
	struct nmmu_run *leaf;
	struct asked a;

	ask(w, root, fault, &a);
	if (!err_fits(w, root, fault, &a, err))
		return twin_fail("fault: unexpected answer %d\n", err);
	if (!check_counts(w, err))
		return false;
	mmu_tally.faults += err == 0;
	mmu_tally.refused[0] += err == -EINVAL;
	mmu_tally.refused[1] += err == -ENOENT;
	mmu_tally.refused[2] += err == -EACCES;
	mmu_tally.refused[3] += err == -EAGAIN;
	if (err == -EAGAIN)
		note_refusal(root, &a);
	if (err)
		return true;
	root->stale = false;
	if (!check_answer(w, &a, fault->addr, out) || !leaf_made(w, root, &a, out->level))
		return false;
	leaf = nmmu_find(&root->runs, a.at.page);
	leaf->used |= MSLOT_AGE_ACCESSED | (a.write ? MSLOT_AGE_DIRTY : 0);
	if (a.write && w->mode->dirty)
		twin_mark(&w->bits, (size_t)(a.slot - w->naive.slots),
			  a.at.gfn - (a.slot->gpa >> w->shift), 1);
	return true;
}

/* ---- Steps -------------------------------------------------------------------- */

static bool shake(struct mmu_world *w, const struct mmu_root *root, struct mslot_fault *fault)
{
	if (mmu_below(w, 60))
		return true;
	switch (mmu_below(w, 4)) {
	case 0:
		fault->walk.level = mmu_chance(w, 50) ? 0 : 4;
		break;
	case 1:
		fault->addr = UINT64_C(1) << (9 * root->levels + w->shift);
		break;
	case 2:
		fault->addr = UINT64_MAX / 2 + 1;
		break;
	default:
		fault->walk.gpa = UINT64_MAX << w->shift;
		break;
	}
	return true;
}

bool mmu_fault_step(struct mmu_world *w)
{
	struct mslot_fault fault = {.access = mmu_chance(w, 40) ? MSLOT_WRITE : MSLOT_READ};
	struct mslot_translation out = {0};
	struct mmu_root *root = mmu_some_root(w);
	struct asked a;
	uint64_t page;
	int err;

	if (!root || !mmu_enter(w))
		return root == NULL;
	page = some_page(w, root) & ((UINT64_C(1) << (9 * root->levels)) - 1);
	if (!mmu_walk(root, page, &fault.walk))
		return true;
	fault.addr = mmu_addr(w, root, page) + mmu_below(w, UINT64_C(1) << w->shift);
	fault.walk.gpa += fault.addr & ((UINT64_C(1) << w->shift) - 1);
	(void)shake(w, root, &fault);
	mmu_scarce_begin(w);
	err = mslot_fault(w->vcpus[w->inside], root->handle, &fault, &out);
	if (mmu_scarce_end(w) && err == -ENOMEM) {
		mmu_log(w, "fault without memory");
		ask(w, root, &fault, &a);
		note_refusal(root, &a);
		if (!mmu_observe(w))
			return false;
		err = mslot_fault(w->vcpus[w->inside], root->handle, &fault, &out);
	}
	mmu_log(w, "fault root %d addr %#" PRIx64 " gpa %#" PRIx64 " level %u%s %s: %d, level %u%s",
		(int)(root - w->roots), fault.addr, fault.walk.gpa, fault.walk.level,
		fault.walk.guest_readonly ? " ro" : "",
		fault.access == MSLOT_WRITE ? "write" : "read", err, out.level,
		out.writable ? " writable" : "");
	return mmu_faulted(w, root, &fault, err, &out);
}

/* A page of a prefault that was mapped, if any can be there. */
static bool prefaulted(struct mmu_world *w, struct mmu_root *root, const struct mslot_fault *fault,
		       const struct asked *a)
{
	const uint64_t page = a->at.page;
	struct mslot_mmu_stats now;
	struct mslot_translation out;

	if (mslot_root_lookup(root->handle, fault->addr, &out)) {
		mslot_mmu_stats_get(w->mmu, &now);
		return now.evicted != w->stats.evicted ||
		       twin_fail("prefault: page %#" PRIx64 " is not there\n", page);
	}
	if (!leaf_made(w, root, a, out.level))
		return false;
	nmmu_find(&root->runs, page)->maybe_used |= MSLOT_AGE_ACCESSED | MSLOT_AGE_DIRTY;
	return true;
}

/* The first `got` of the pages that can be mapped were; `early`: it may have stopped there. */
static bool prefault_counted(struct mmu_world *w, struct mmu_root *root,
			     const struct mmu_segment *range, bool write, int64_t got)
{
	/* It stops where the vCPU is asked, which the reclaimer may do at any moment. */
	const bool early = mslot_vcpu_pending(w->vcpus[w->inside]) || w->hull_end;
	int64_t want = 0;

	for (uint64_t i = 0; i < range->npages; i++) {
		struct mslot_fault fault = {.addr = mmu_addr(w, root, range->page + i),
					    .access = write ? MSLOT_WRITE : MSLOT_READ};
		struct asked a;

		(void)mmu_walk(root, range->page + i, &fault.walk);
		ask(w, root, &fault, &a);
		if (w->hull_end)
			mmu_note_fine(root, a.at.page);
		if (!err_fits(w, root, &fault, &a, 0))
			continue;
		if (want++ < got && !prefaulted(w, root, &fault, &a))
			return false;
	}
	return got == want || (got < want && early) ||
	       twin_fail("prefault: %" PRId64 " pages, not %" PRId64 "\n", got, want);
}

bool mmu_prefault_step(struct mmu_world *w)
{
	struct mmu_root *root = mmu_some_root(w);
	const bool write = mmu_chance(w, 50);
	struct mmu_segment range;
	struct mslot_walk at;
	int64_t got;

	if (!root || !mmu_enter(w))
		return root == NULL;
	range.page = some_page(w, root) & ((UINT64_C(1) << (9 * root->levels)) - 1);
	range.npages = 1 + mmu_below(w, mmu_chance(w, 10) ? PREFAULT_PAGES : 24);
	for (uint64_t i = 0; i < range.npages; i++)
		if (!mmu_walk(root, range.page + i, &at) ||
		    (range.page + i + 1) >> (9 * root->levels - 1))
			range.npages = i;
	if (range.npages == 0)
		return true;
	got = mslot_prefault(
	    w->vcpus[w->inside], root->handle,
	    (struct mslot_range){mmu_addr(w, root, range.page), range.npages << w->shift},
	    write ? MSLOT_WRITE : MSLOT_READ);
	mmu_log(w, "prefault root %d page %#" PRIx64 " n %" PRIu64 " %s: %" PRId64,
		(int)(root - w->roots), range.page, range.npages, write ? "write" : "read", got);
	mmu_tally.prefaults++;
	root->stale = root->stale && got <= 0;
	if (got < 0)
		return (got == -EAGAIN && w->hull_end) || twin_fail("prefault: %d\n", (int)got);
	return prefault_counted(w, root, &range, write, got);
}
