/* SPDX-License-Identifier: MIT */
/* mmu_zaps.c - zaps and write protection by guest addresses, and the budget. */
#include "mmu_twin.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* Zaps count leaves of tables that are on their way out as well. */
static bool counted(struct mmu_world *w, const char *what, bool exact, int64_t got, uint64_t want)
{
	mmu_tally.zaps++;
	mmu_tally.zapped += want;
	if (!exact && got >= (int64_t)want)
		return true;
	return mmu_counted(w, what, got, want);
}

/* Something was taken away: vCPUs were asked, the one that is inside as well. */
static bool asked(struct mmu_world *w, const char *what, uint64_t n)
{
	struct mslot_mmu_stats now;

	mslot_mmu_stats_get(w->mmu, &now);
	if (n == 0)
		return true;
	if (now.flushes == w->stats.flushes)
		return twin_fail("%s: nobody is asked to flush\n", what);
	return w->inside < 0 || mmu_asked(w->vcpus[w->inside]) ||
	       twin_fail("%s: the vCPU inside is not asked\n", what);
}

bool mmu_zap_page_step(struct mmu_world *w)
{
	struct mmu_root *root = mmu_some_root(w);
	const struct nmmu_run *run;
	uint64_t page;
	int got;

	if (!root)
		return true;
	page = mmu_some_gfn(w, root->space) & ((UINT64_C(1) << (9 * root->levels)) - 1);
	if (root->runs.n && mmu_chance(w, 70)) {
		run = &root->runs.run[mmu_below(w, root->runs.n)];
		page = run->page + mmu_below(w, run->npages);
	}
	run = nmmu_find(&root->runs, page);
	got = mslot_zap_page(w->inside >= 0 ? w->vcpus[w->inside] : NULL, root->handle,
			     mmu_addr(w, root, page));
	mmu_log(w, "zap_page root %d page %#" PRIx64 ": %d", (int)(root - w->roots), page, got);
	if (!counted(w, "mslot_zap_page", true, got, run != NULL))
		return false;
	if (run)
		nmmu_cut(&root->runs, run->page, run->npages, true);
	return true;
}

/* Runs that have frames of [first, end) go. Returns how many. */
static uint64_t drop_gfns(struct mmu_world *w, uint32_t space, uint64_t first, uint64_t end)
{
	uint64_t n = 0;

	for (size_t i = 0; i < MMU_ROOTS; i++) {
		struct nmmu_runs *runs = &w->roots[i].runs;
		size_t kept = 0;

		for (size_t k = 0; k < runs->n; k++) {
			const struct nmmu_run *run = &runs->run[k];

			if (w->roots[i].space != space || run->gfn >= end ||
			    run->gfn + run->npages <= first)
				runs->run[kept++] = *run;
		}
		n += runs->n - kept;
		runs->n = kept;
	}
	return n;
}

bool mmu_zap_gfn_step(struct mmu_world *w)
{
	const uint32_t space = (uint32_t)mmu_below(w, w->naive.opt.nspaces);
	const uint64_t first = mmu_some_gfn(w, space);
	const uint64_t n = 1 + mmu_below(w, mmu_chance(w, 20) ? w->mode->window_pages : 20);
	const struct mslot_range range = {first << w->shift, n << w->shift};
	const bool exact = mmu_exact(w);
	const int64_t got = mslot_zap_gfn(w->mmu, space, range);
	uint64_t want;

	mmu_log(w, "zap_gfn space %u gfn %#" PRIx64 " n %#" PRIx64 ": %" PRId64, space, first, n,
		got);
	if (mslot_zap_gfn(w->mmu, w->naive.opt.nspaces, range) != -EINVAL)
		return twin_fail("mslot_zap_gfn: a space that does not exist\n");
	want = drop_gfns(w, space, first, first + n);
	return counted(w, "mslot_zap_gfn", exact, got, want) && asked(w, "mslot_zap_gfn", want);
}

bool mmu_zap_all_step(struct mmu_world *w)
{
	mslot_zap_all(w->mmu);
	mmu_log(w, "zap_all");
	for (size_t i = 0; i < MMU_ROOTS; i++) {
		w->roots[i].stale = true;
		w->roots[i].nfine = 0;
		nmmu_clear(&w->roots[i].runs);
	}
	return asked(w, "mslot_zap_all", 1);
}

/* ---- Write protection --------------------------------------------------------- */

static bool masked(const uint64_t *mask, const struct naive_slot *slot, unsigned int shift,
		   const struct nmmu_run *run)
{
	const uint64_t first = slot->gpa >> shift, end = first + (slot->len >> shift);
	uint64_t gfn = run->gfn > first ? run->gfn : first;

	for (; gfn < run->gfn + run->npages && gfn < end; gfn++)
		if (!mask || mask[(gfn - first) / 64] >> (gfn - first) % 64 & 1)
			return true;
	return false;
}

/* Runs that a mask touches are writable no longer. Returns how many were. */
static uint64_t protect(struct mmu_world *w, const struct naive_slot *slot, const uint64_t *mask)
{
	uint64_t n = 0;

	for (size_t i = 0; i < MMU_ROOTS; i++)
		for (size_t k = 0; k < w->roots[i].runs.n; k++) {
			struct nmmu_run *run = &w->roots[i].runs.run[k];

			if (w->roots[i].space != slot->key.space ||
			    !masked(mask, slot, w->shift, run))
				continue;
			n += run->write == NMMU_YES;
			run->write = NMMU_NO;
			run->protected = run->level > 1;
		}
	return n;
}

static void choose_mask(struct mmu_world *w, uint64_t *mask, uint64_t npages)
{
	for (unsigned int i = 0; i < 12; i++) {
		const uint64_t page = mmu_below(w, npages);

		mask[page / 64] |= mmu_chance(w, 10) ? UINT64_MAX : UINT64_C(1) << page % 64;
	}
	/* Pages behind the slot's end are nobody's. */
	if (npages % 64)
		mask[npages / 64] |= UINT64_MAX << npages % 64;
}

/* Mostly one of which a root has something. */
static const struct naive_slot *mapped_slot(struct mmu_world *w)
{
	const struct mmu_root *root = mmu_chance(w, 80) ? mmu_some_root(w) : NULL;
	const struct naive_slot *slot = NULL;

	if (root && root->runs.n)
		slot = nmmu_slot(&w->naive, root->space,
				 root->runs.run[mmu_below(w, root->runs.n)].gfn);
	return slot ? slot : &w->naive.slots[mmu_below(w, w->naive.n)];
}

bool mmu_protect_step(struct mmu_world *w)
{
	const struct naive_slot *slot;
	const bool exact = mmu_exact(w);
	uint64_t *mask = NULL, want;
	int64_t got;

	if (mslot_write_protect(w->mmu, (struct mslot_key){0, 0x7ffffff0}, NULL) != -ENOENT)
		return twin_fail("mslot_write_protect: a slot that does not exist\n");
	if (!w->naive.n)
		return true;
	slot = mapped_slot(w);
	if (mmu_chance(w, 70)) {
		mask = calloc((size_t)(slot->len >> w->shift) / 64 + 1, sizeof(*mask));
		if (!mask)
			abort();
		choose_mask(w, mask, slot->len >> w->shift);
	}
	got = mslot_write_protect(w->mmu, slot->key, mask);
	want = protect(w, slot, mask);
	mmu_log(w, "write_protect %u:%u%s: %" PRId64, slot->key.space, slot->key.id,
		mask ? " masked" : "", got);
	free(mask);
	mmu_tally.protects += want;
	return counted(w, "mslot_write_protect", exact, got, want) &&
	       asked(w, "mslot_write_protect", want);
}

/* ---- The budget ---------------------------------------------------------------- */

bool mmu_limit_step(struct mmu_world *w)
{
	w->limit = MMU_MANY_TABLES;
	if (mmu_chance(w, 20))
		w->limit = mmu_chance(w, 40) ? 0 : 1 + mmu_below(w, mmu_chance(w, 50) ? 20 : 200);
	mslot_mmu_limit_set(w->mmu, w->limit);
	return mmu_log(w, "limit %" PRIu64, w->limit);
}
