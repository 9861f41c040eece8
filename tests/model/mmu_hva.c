/* SPDX-License-Identifier: MIT */
/* mmu_hva.c - zaps, host invalidations and age by host addresses. */
#include "mmu_twin.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Longest range of which every page's bit is compared. */
#define AGE_PAGES 4096u

static bool inside(const struct mmu_world *w, const struct nmmu_run *run,
		   const struct mslot_range *range)
{
	const uint64_t hva = nmmu_hva(&w->naive, run);

	return hva < range->start + range->len_bytes &&
	       range->start < hva + (run->npages << w->shift);
}

/* Around the memory of a run, or of a slot. */
static struct mslot_range some_range(struct mmu_world *w, uint64_t most)
{
	const struct mmu_root *root = mmu_some_root(w);
	const struct naive_region *region = &w->regions[mmu_below(w, MMU_REGIONS)];
	uint64_t hva = region->hva + (mmu_below(w, region->len >> w->shift) << w->shift);
	struct mslot_range range;

	if (root && root->runs.n && mmu_chance(w, 70)) {
		const struct nmmu_run *run = &root->runs.run[mmu_below(w, root->runs.n)];

		hva = nmmu_hva(&w->naive, run) + (mmu_below(w, run->npages) << w->shift);
	} else if (w->naive.n && mmu_chance(w, 70)) {
		const struct naive_slot *slot = &w->naive.slots[mmu_below(w, w->naive.n)];

		hva =
		    naive_hva(&w->naive, slot) + (mmu_below(w, slot->len >> w->shift) << w->shift);
	}
	range.start = hva;
	range.len_bytes = (1 + mmu_below(w, mmu_chance(w, 30) ? most : 8)) << w->shift;
	return range;
}

/* Runs in the range go. Returns how many. */
static uint64_t drop(struct mmu_world *w, const struct mslot_range *range)
{
	uint64_t n = 0;

	for (size_t i = 0; i < MMU_ROOTS; i++) {
		struct nmmu_runs *runs = &w->roots[i].runs;
		size_t kept = 0;

		for (size_t k = 0; k < runs->n; k++)
			if (!inside(w, &runs->run[k], range))
				runs->run[kept++] = runs->run[k];
		n += runs->n - kept;
		runs->n = kept;
	}
	return n;
}

bool mmu_zap_hva_step(struct mmu_world *w)
{
	struct mslot_range range = some_range(w, w->mode->window_pages);
	const bool exact = mmu_exact(w);
	int64_t got;
	uint64_t want;

	/* A part of a page is the page. */
	if (mmu_chance(w, 20) && range.len_bytes == UINT64_C(1) << w->shift) {
		range.start += mmu_below(w, range.len_bytes);
		range.len_bytes = 1;
	}
	got = mslot_zap_hva(w->mmu, range);
	want = drop(w, &range);
	mmu_log(w, "zap_hva %#" PRIx64 " len %#" PRIx64 ": %" PRId64, range.start, range.len_bytes,
		got);
	mmu_tally.zaps++;
	mmu_tally.zapped += want;
	return (!exact && got >= (int64_t)want) || mmu_counted(w, "mslot_zap_hva", got, want);
}

/* ---- Host invalidations --------------------------------------------------------- */

static bool begin_range(struct mmu_world *w, struct mslot_range *slot)
{
	const struct mslot_range range = some_range(w, 1200), none = {range.start, 0};
	bool any = false;
	int err;

	for (size_t i = 0; i < MMU_RANGES; i++)
		any = any || w->ranges[i].len_bytes;
	if (mslot_invalidate_begin(w->mmu, none) != -EINVAL)
		return twin_fail("mslot_invalidate_begin: a length of 0\n");
	if (w->inside >= 0 && mslot_invalidate_begin(w->mmu, range) != -EDEADLK)
		return twin_fail("mslot_invalidate_begin in a section\n");
	mmu_leave(w);
	err = mslot_invalidate_begin(w->mmu, range);
	mmu_log(w, "invalidate_begin %#" PRIx64 " len %#" PRIx64 ": %d", range.start,
		range.len_bytes, err);
	if (err)
		return twin_fail("mslot_invalidate_begin: %d\n", err);
	if (!any) {
		w->hull_start = range.start;
		w->hull_end = range.start + range.len_bytes;
	}
	if (range.start < w->hull_start)
		w->hull_start = range.start;
	if (range.start + range.len_bytes > w->hull_end)
		w->hull_end = range.start + range.len_bytes;
	*slot = range;
	(void)drop(w, &range);
	mmu_tally.invalidations++;
	return true;
}

bool mmu_invalidate_step(struct mmu_world *w)
{
	struct mslot_range *slot = &w->ranges[mmu_below(w, MMU_RANGES)];
	bool any = false;

	if (!slot->len_bytes && mmu_chance(w, 60))
		return begin_range(w, slot);
	for (size_t i = 0; i < MMU_RANGES; i++) {
		if (w->ranges[i].len_bytes && (slot == &w->ranges[i] || mmu_chance(w, 60))) {
			mslot_invalidate_end(w->mmu, w->ranges[i]);
			mmu_log(w, "invalidate_end %#" PRIx64, w->ranges[i].start);
			w->ranges[i].len_bytes = 0;
		}
		any = any || w->ranges[i].len_bytes;
	}
	if (!any)
		w->hull_start = w->hull_end = 0;
	return true;
}

/* ---- Age ----------------------------------------------------------------------- */

struct aged {
	uint64_t least, most; /* leaves */
	uint64_t must[AGE_PAGES / 64 + 1], may[AGE_PAGES / 64 + 1];
};

static void note(const struct mmu_world *w, const struct nmmu_run *run, const struct mslot_age *age,
		 uint64_t *bits)
{
	const uint64_t hva = nmmu_hva(&w->naive, run);

	for (uint64_t i = 0; i < age->hva.len_bytes >> w->shift; i++)
		if (age->hva.start + (i << w->shift) - hva < run->npages << w->shift)
			bits[i / 64] |= UINT64_C(1) << i % 64;
}

static void expect_aged(struct mmu_world *w, const struct mslot_age *age, bool forget,
			struct aged *out)
{
	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < MMU_ROOTS; i++)
		for (size_t k = 0; k < w->roots[i].runs.n; k++) {
			struct nmmu_run *run = &w->roots[i].runs.run[k];

			if (!inside(w, run, &age->hva))
				continue;
			if (run->used & age->what) {
				out->least++;
				note(w, run, age, out->must);
			}
			if ((run->used | run->maybe_used) & age->what) {
				out->most++;
				note(w, run, age, out->may);
			}
			if (forget) {
				run->used &= ~age->what;
				run->maybe_used &= ~age->what;
			}
		}
}

static bool compare_aged(const struct aged *want, int64_t got, bool exact, const uint64_t *bits,
			 const struct mslot_age *age)
{
	if (got < (int64_t)want->least || (exact && got > (int64_t)want->most))
		return twin_fail("age: %" PRId64 " leaves, not %" PRIu64 " to %" PRIu64 "\n", got,
				 want->least, want->most);
	for (size_t i = 0; age->bitmap && i < AGE_PAGES / 64 + 1; i++)
		if (want->must[i] & ~bits[i] || (exact && bits[i] & ~want->may[i]))
			return twin_fail("age: word %zu is %#" PRIx64 ", not %#" PRIx64
					 " to %#" PRIx64 "\n",
					 i, bits[i], want->must[i], want->may[i]);
	return true;
}

bool mmu_age_step(struct mmu_world *w)
{
	struct mslot_range range = some_range(w, AGE_PAGES);
	uint64_t bits[AGE_PAGES / 64 + 1] = {0};
	struct mslot_age age = {.hva = range, .what = 1 + (uint32_t)mmu_below(w, 3)};
	const bool exact = mmu_exact(w), forget = mmu_chance(w, 60);
	const struct mslot_age wrong = {.hva = range, .what = 4};
	struct aged want;
	int64_t got;

	if (mslot_age(w->mmu, &wrong) != -EINVAL || mslot_test_age(w->mmu, &wrong) != -EINVAL)
		return twin_fail("mslot_age: unknown bits\n");
	age.bitmap = mmu_chance(w, 70) ? bits : NULL;
	got = forget ? mslot_age(w->mmu, &age) : mslot_test_age(w->mmu, &age);
	mmu_log(w, "%s %#" PRIx64 " len %#" PRIx64 " what %u: %" PRId64,
		forget ? "age" : "test_age", range.start, range.len_bytes, age.what, got);
	expect_aged(w, &age, forget, &want);
	mmu_tally.ages += want.least;
	if (!compare_aged(&want, got, exact, bits, &age))
		return false;
	age.bitmap = NULL;
	got = forget ? mslot_test_age(w->mmu, &age) : 0;
	return got == 0 || twin_fail("age: %" PRId64 " leaves are used still\n", got);
}
