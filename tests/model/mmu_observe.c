/* SPDX-License-Identifier: MIT */
/*
 * mmu_observe.c - what each root has, compared with what the twin says it must and may have.
 *
 * Every run of the twin is looked up leaf by leaf; where runs were at the last time and are no
 * longer, nothing may be found; and the MMU counts as many leaves as were found (with reverse
 * maps), so that there is no other.
 */
#include "mmu_twin.h"

#include <errno.h>
#include <inttypes.h>

/* Pages of a run that is gone which are looked at one by one. */
#define GONE_PAGES 512u

struct seen {
	struct mmu_world *w;
	struct mmu_root *root;
};

static const char *kind_of(const struct mmu_root *root)
{
	return root->kind == MSLOT_ROOT_DIRECT ? "direct" : "shadow";
}

static bool fail_at(const struct seen *s, uint64_t page, const char *what)
{
	return twin_fail("%s root %d, page %#" PRIx64 ": %s\n", kind_of(s->root),
			 (int)(s->root - s->w->roots), page, what);
}

/* Any byte of the page; the answer is that of its first one. */
static int lookup(const struct seen *s, uint64_t page, struct mslot_translation *out)
{
	const uint64_t in = mmu_below(s->w, 4) ? 0 : mmu_below(s->w, UINT64_C(1) << s->w->shift);
	const int err = mslot_root_lookup(s->root->handle, mmu_addr(s->w, s->root, page) + in, out);

	mmu_tally.lookups++;
	if (!err) {
		out->hva -= in;
		out->len_bytes += in;
	}
	return err;
}

/* A leaf was found at a page of a run: it is part of it, and what the map says. */
static bool check_leaf(const struct seen *s, const struct nmmu_run *run, uint64_t page,
		       const struct mslot_translation *out, struct nmmu_run *leaf)
{
	const struct mmu_world *w = s->w;
	const uint64_t npages = out->level >= 1 && out->level <= w->mode->max_leaf_level
				    ? nmmu_level_pages(out->level)
				    : 0;
	const uint64_t first = page & ~(npages - 1);

	if (!npages)
		return fail_at(s, page, "a leaf of an unknown level");
	if (first < run->page || first + npages > run->page + run->npages)
		return fail_at(s, page, "a leaf reaches beyond what is known");
	*leaf = nmmu_part(run, first - run->page, npages);
	leaf->level = out->level;
	if (out->hva != nmmu_hva(&w->naive, leaf) + ((page - first) << w->shift))
		return fail_at(s, page, "another host address");
	if (!nmmu_agrees(&w->naive, s->root->space, leaf))
		return fail_at(s, page, "the map has something else there");
	if (out->len_bytes != (first + npages - page) << w->shift)
		return fail_at(s, page, "the wrong length");
	if (mmu_invalid(w, nmmu_hva(&w->naive, leaf), npages << w->shift, true))
		return fail_at(s, page, "a translation to memory that is being invalidated");
	if (out->writable && !leaf->loose && !nmmu_writable(&w->view, s->root->space, leaf))
		return fail_at(s, page, "writable, though somebody wants to know");
	if (out->writable ? leaf->write == NMMU_NO : leaf->write == NMMU_YES)
		return fail_at(s, page, out->writable ? "writable" : "not writable");
	leaf->write = out->writable ? NMMU_YES : NMMU_NO;
	leaf->must = true;
	return true;
}

void mmu_note_fine(struct mmu_root *root, uint64_t page)
{
	const uint64_t first = page & ~(nmmu_level_pages(NMMU_LEVELS) - 1);

	for (size_t i = 0; i < root->nfine; i++)
		if (i == MMU_FINE || root->fine[i] == first)
			return;
	if (root->nfine < MMU_FINE)
		root->fine[root->nfine] = first;
	root->nfine++;
}

static bool observe_run(const struct seen *s, const struct nmmu_run *run, struct nmmu_runs *to)
{
	const uint64_t end = run->page + run->npages;
	struct mslot_translation out;
	struct nmmu_run leaf;
	int err;

	for (uint64_t page = run->page; page < end;) {
		err = lookup(s, page, &out);
		if (err && err != -ENOENT)
			return fail_at(s, page, "an error other than ENOENT");
		if (!err) {
			if (!check_leaf(s, run, page, &out, &leaf))
				return false;
			nmmu_append(to, &leaf);
			if (leaf.level == 1)
				mmu_note_fine(s->root, leaf.page);
			page = leaf.page + leaf.npages;
			continue;
		}
		if (run->must)
			return fail_at(s, page, "an entry that had to survive is gone");
		/* A whole leaf may be there or not: no need to look at each page of a large one. */
		page = run->level ? end : page + 1;
	}
	return true;
}

/* Nothing is found where the twin has nothing. */
static bool check_gone(const struct seen *s, uint64_t page)
{
	struct mslot_translation out;

	if (nmmu_find(&s->root->runs, page) || lookup(s, page, &out) == -ENOENT)
		return true;
	return fail_at(s, page, "found, though it is gone");
}

static bool gone_run(const struct seen *s, const struct nmmu_run *run)
{
	const uint64_t last = run->page + run->npages - 1;

	if (nmmu_find(&s->root->runs, run->page) &&
	    nmmu_find(&s->root->runs, run->page)->npages >= run->npages)
		return true;
	for (uint64_t i = 0; i < GONE_PAGES && i < run->npages; i++)
		if (!check_gone(s, run->page + i))
			return false;
	for (uint64_t page = run->page; page + GONE_PAGES < last; page += GONE_PAGES)
		if (!check_gone(s, page + GONE_PAGES - 1) || !check_gone(s, page + GONE_PAGES))
			return false;
	return check_gone(s, last);
}

/* Where slots begin and end, a direct root has something or not as the twin says. */
static bool check_borders(const struct seen *s)
{
	const struct naive_map *map = &s->w->naive;

	if (s->root->kind != MSLOT_ROOT_DIRECT || !map->n)
		return true;
	for (unsigned int i = 0; i < 4; i++) {
		const struct naive_slot *slot = &map->slots[mmu_below(s->w, map->n)];
		const uint64_t first = slot->gpa >> s->w->shift;
		const uint64_t end = first + (slot->len >> s->w->shift);

		if (first == 0 || end >= UINT64_C(1) << (9 * s->root->levels))
			continue;
		if (!check_gone(s, first - 1) || !check_gone(s, first) || !check_gone(s, end - 1) ||
		    !check_gone(s, end))
			return false;
	}
	return true;
}

static bool observe_root(struct mmu_world *w, struct mmu_root *root)
{
	const struct seen s = {w, root};
	struct nmmu_runs found = {0};

	for (size_t i = 0; i < root->runs.n; i++)
		if (!observe_run(&s, &root->runs.run[i], &found))
			return false;
	nmmu_fini(&root->runs);
	root->runs = found;
	for (size_t i = 0; i < root->was.n; i++)
		if (!gone_run(&s, &root->was.run[i]))
			return false;
	nmmu_clear(&root->was);
	for (size_t i = 0; i < root->runs.n; i++)
		nmmu_append(&root->was, &root->runs.run[i]);
	return check_borders(&s);
}

/* ---- Counters -------------------------------------------------------------- */

bool mmu_exact(struct mmu_world *w)
{
	struct mslot_mmu_stats stats;

	for (size_t i = 0; i < MMU_ROOTS; i++)
		if (w->roots[i].handle && w->roots[i].stale)
			return false;
	mslot_mmu_stats_get(w->mmu, &stats);
	return stats.dead_tables == 0;
}

bool mmu_counted(struct mmu_world *w, const char *what, int64_t got, uint64_t want)
{
	(void)w;
	return got == (int64_t)want ||
	       twin_fail("%s: %" PRId64 " leaves, not %" PRIu64 "\n", what, got, want);
}

static uint64_t expected_limit(const struct mmu_world *w)
{
	const uint64_t limit = w->limit ? w->limit : naive_npages(&w->naive) / 50;

	return limit > 64 ? limit : 64;
}

static bool check_stats(struct mmu_world *w, bool exact)
{
	struct mslot_mmu_stats now;
	uint64_t roots = 0, runs = 0;

	mslot_mmu_stats_get(w->mmu, &now);
	for (size_t i = 0; i < MMU_ROOTS; i++) {
		roots += w->roots[i].handle != NULL;
		runs += w->roots[i].runs.n;
	}
	if (now.roots != roots)
		return twin_fail("%" PRIu64 " roots, not %" PRIu64 "\n", now.roots, roots);
	if (now.max_tables != expected_limit(w))
		return twin_fail("a limit of %" PRIu64 " tables, not %" PRIu64 "\n", now.max_tables,
				 expected_limit(w));
	if (w->mode->form == MSLOT_MMU_SLOT_BITMAPS) {
		if (now.mapped || now.frame_bytes)
			return twin_fail("reverse maps with slot bitmaps\n");
	} else if (exact ? now.mapped != runs : now.mapped < runs) {
		return twin_fail("%" PRIu64 " leaves mapped, where %" PRIu64 " are found\n",
				 now.mapped, runs);
	}
	/* What was split may be empty by now, and the tables are there. */
	for (size_t i = 0; i < MMU_ROOTS && now.splits != w->stats.splits; i++)
		w->roots[i].nfine = MMU_FINE + 1;
	mmu_tally.splits += now.splits - w->stats.splits;
	mmu_tally.collapses += now.collapses - w->stats.collapses;
	mmu_tally.evicted += now.evicted - w->stats.evicted;
	w->stats = now;
	return true;
}

/* The budget took tables out: what they mapped is certain no longer. */
static void note_evictions(struct mmu_world *w)
{
	struct mslot_mmu_stats now;

	mslot_mmu_stats_get(w->mmu, &now);
	if (now.evicted == w->stats.evicted)
		return;
	for (size_t i = 0; i < MMU_ROOTS; i++)
		for (size_t k = 0; k < w->roots[i].runs.n; k++)
			w->roots[i].runs.run[k].must = false;
}

bool mmu_observe(struct mmu_world *w)
{
	const struct mslot_snapshot *snap = w->inside < 0 ? mslot_enter(w->map) : NULL;
	const bool exact = mmu_exact(w);
	const char *why = "";
	bool good = true;

	note_evictions(w);
	for (size_t i = 0; i < MMU_ROOTS && good; i++)
		good = !w->roots[i].handle || observe_root(w, &w->roots[i]);
	/* Outside a section tables are taken apart meanwhile: it may be exact only before. */
	good = good && check_stats(w, exact && mmu_exact(w)) && mmu_check_cache(w);
	if (snap)
		mslot_leave(snap);
	if (good && mslot_check_mmu(w->mmu, &why))
		good = twin_fail("mslot_check_mmu: %s\n", why);
	mmu_tally.checked++;
	return good;
}
