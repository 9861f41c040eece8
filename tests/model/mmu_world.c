/* SPDX-License-Identifier: MIT */
/* mmu_world.c - modes, a map with its regions and first slots, roots, and the end. */
#include "mmu_twin.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TWO_MIB UINT64_C(512)
#define ONE_GIB (TWO_MIB * 512)

/* Below the addresses of regions, so that aliases of other regions have the same bytes. */
#define HOST_BASE_PAGES (ONE_GIB * 8)

struct mmu_tally mmu_tally;

const struct mmu_mode mmu_modes[] = {
    {.name = "small",
     .nspaces = 2,
     .nslots = 6,
     .target = 10,
     .unit_pages = 9,
     .window_pages = 4000,
     .region_pages = 6000,
     .base_gfn = 16,
     .dirty = true,
     .weight = 4},
    {.name = "two mib",
     .nspaces = 2,
     .nslots = 4,
     .target = 8,
     .unit_pages = 512,
     .window_pages = 12288,
     .region_pages = 12288,
     .base_gfn = TWO_MIB,
     .dirty = true,
     .weight = 7},
    {.name = "one gib",
     .nspaces = 1,
     .nslots = 3,
     .target = 5,
     .unit_pages = ONE_GIB,
     .window_pages = ONE_GIB * 12,
     .region_pages = ONE_GIB * 8,
     .base_gfn = ONE_GIB,
     .weight = 5},
    {.name = "one gib, near the end of four levels",
     .nspaces = 2,
     .nslots = 3,
     .target = 6,
     .unit_pages = ONE_GIB / 2,
     .window_pages = ONE_GIB * 8,
     .region_pages = ONE_GIB * 4,
     .base_gfn = (UINT64_C(1) << 36) - ONE_GIB * 4,
     .weight = 2},
    {.name = "pages of 16 KiB, leaves of two levels",
     .page_shift = 14,
     .nspaces = 1,
     .nslots = 4,
     .target = 8,
     .unit_pages = 512,
     .window_pages = 8192,
     .region_pages = 12288,
     .max_leaf_level = 2,
     .dirty = true,
     .weight = 1},
    {.name = "single pages, one slot",
     .nspaces = 1,
     .nslots = 1,
     .target = 1,
     .unit_pages = 600,
     .window_pages = 4000,
     .region_pages = 6000,
     .max_leaf_level = 1,
     .dirty = true,
     .weight = 1},
    {.name = "63 slots",
     .nspaces = 1,
     .nslots = 60,
     .target = 63,
     .unit_pages = 8,
     .window_pages = 2400,
     .region_pages = 6000,
     .dirty = true,
     .weight = 2},
    {.name = "64 slots",
     .nspaces = 2,
     .nslots = 64,
     .target = 64,
     .unit_pages = 40,
     .window_pages = 12000,
     .region_pages = 6000,
     .weight = 2},
    {.name = "65 slots and more",
     .nspaces = 1,
     .nslots = 62,
     .target = 72,
     .unit_pages = 200,
     .window_pages = 60000,
     .region_pages = 60000,
     .weight = 2},
    {.name = "509 slots",
     .nspaces = 1,
     .nslots = 509,
     .target = 509,
     .unit_pages = 6,
     .window_pages = 20000,
     .region_pages = 20000,
     .weight = 1},
    {.name = "4096 slots",
     .nspaces = 1,
     .nslots = 4096,
     .target = 4096,
     .unit_pages = 2,
     .window_pages = 60000,
     .region_pages = 20000,
     .weight = 1,
     .most_steps = 60},
};
const size_t mmu_nmodes = sizeof(mmu_modes) / sizeof(*mmu_modes);

/* ---- The log ----------------------------------------------------------------- */

bool mmu_log(struct mmu_world *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(w->log[w->nlog++ % MMU_LOG_LINES], sizeof(w->log[0]), fmt, ap);
	va_end(ap);
	return true;
}

void mmu_print_log(const struct mmu_world *w)
{
	const uint64_t first = w->nlog > MMU_LOG_LINES ? w->nlog - MMU_LOG_LINES : 0;

	printf("mode %s, %s\n", w->mode->name,
	       w->mode->form == MSLOT_MMU_SLOT_BITMAPS ? "slot bitmaps" : "reverse maps");
	twin_print_map(stdout, &w->naive);
	for (uint64_t i = first; i < w->nlog; i++)
		printf("  %s\n", w->log[i % MMU_LOG_LINES]);
}

/* ---- Choices ------------------------------------------------------------------ */

uint64_t mmu_addr(const struct mmu_world *w, const struct mmu_root *root, uint64_t page)
{
	const unsigned int bits = 9 * root->levels + w->shift;
	const uint64_t addr = page << w->shift;

	if (root->kind == MSLOT_ROOT_SHADOW && addr >> (bits - 1) & 1)
		return addr | UINT64_MAX << bits;
	return addr;
}

uint64_t mmu_some_gfn(struct mmu_world *w, uint32_t space)
{
	static const uint64_t steps[] = {0, 0, 1, 511, 512, 513, 262143, 262144};
	const struct naive_slot *slot;
	uint64_t gfn, npages;

	if (!w->naive.n || mmu_chance(w, 5))
		return w->mode->base_gfn + mmu_below(w, w->mode->window_pages);
	slot = &w->naive.slots[mmu_below(w, w->naive.n)];
	for (unsigned int i = 0; slot->key.space != space && i < 12; i++)
		slot = &w->naive.slots[mmu_below(w, w->naive.n)];
	gfn = slot->gpa >> w->shift;
	npages = slot->len >> w->shift;
	switch (mmu_below(w, 4)) {
	case 0:
		return gfn + steps[mmu_below(w, 8)] % npages;
	case 1:
		return gfn + npages - 1 - steps[mmu_below(w, 8)] % npages;
	case 2: /* the borders of the slot and of large units in it */
		gfn += mmu_below(w, npages);
		gfn = (gfn & ~(mmu_chance(w, 50) ? TWO_MIB - 1 : ONE_GIB - 1)) + mmu_below(w, 3);
		return gfn ? gfn - 1 : 0;
	default:
		return gfn + mmu_below(w, npages);
	}
}

struct mmu_root *mmu_some_root(struct mmu_world *w)
{
	const size_t first = mmu_below(w, MMU_ROOTS);

	for (size_t i = 0; i < MMU_ROOTS; i++)
		if (w->roots[(first + i) % MMU_ROOTS].handle)
			return &w->roots[(first + i) % MMU_ROOTS];
	return NULL;
}

/* ---- Roots -------------------------------------------------------------------- */

static int walk(void *ctx, struct mslot_vcpu *vcpu, uint64_t addr, enum mslot_access access,
		struct mslot_walk *out)
{
	const struct mmu_root *root = ctx;
	const uint64_t pages = UINT64_C(1) << (9 * root->levels);

	(void)vcpu;
	(void)access;
	if (!mmu_walk(root, (addr >> root->world->shift) & (pages - 1), out))
		return -ENXIO;
	out->gpa += addr & ((UINT64_C(1) << root->world->shift) - 1);
	return 0;
}

static bool create_root(struct mmu_world *w, struct mmu_root *root)
{
	struct mslot_root_options opt = {
	    .kind = mmu_chance(w, 50) ? MSLOT_ROOT_DIRECT : MSLOT_ROOT_SHADOW,
	    .space = (uint32_t)mmu_below(w, w->naive.opt.nspaces),
	    .levels = 4 + (uint32_t)mmu_below(w, 2),
	    .walk = walk,
	    .ctx = root,
	};
	int err;

	root->world = w;
	root->kind = opt.kind;
	root->space = opt.space;
	root->levels = opt.levels;
	root->stale = false;
	root->nfine = 0;
	mmu_choose_segments(w, root);
	if (opt.levels == 4 && mmu_chance(w, 50))
		opt.levels = 0;
	err = mslot_root_create(w->mmu, &opt, &root->handle);
	mmu_log(w, "create root %d: %s, space %u, %u levels", (int)(root - w->roots),
		root->kind == MSLOT_ROOT_DIRECT ? "direct" : "shadow", root->space, root->levels);
	return !err || twin_fail("mslot_root_create: %d\n", err);
}

static bool destroy_root(struct mmu_world *w, struct mmu_root *root)
{
	int err = 0, want = 0;

	for (size_t i = 0; i < MMU_VCPUS; i++)
		if (w->vcpu_root[i] == (int)(root - w->roots))
			want = -EBUSY;
	err = mslot_root_destroy(root->handle);
	mmu_log(w, "destroy root %d: %d", (int)(root - w->roots), err);
	if (err != want)
		return twin_fail("mslot_root_destroy: %d, not %d\n", err, want);
	if (err)
		return true;
	root->handle = NULL;
	nmmu_fini(&root->runs);
	nmmu_fini(&root->was);
	return true;
}

bool mmu_root_step(struct mmu_world *w)
{
	struct mmu_root *root = &w->roots[mmu_below(w, MMU_ROOTS)];

	return root->handle ? destroy_root(w, root) : create_root(w, root);
}

/* ---- Begin --------------------------------------------------------------------- */

/* The last two regions show the same host memory, a page apart and 2 MiB and a page apart. */
static void create_regions(struct mmu_world *w)
{
	const uint64_t page = UINT64_C(1) << w->shift;
	const uint64_t apart = (w->mode->region_pages + 2 * ONE_GIB) & ~(ONE_GIB - 1);
	const uint64_t at[MMU_REGIONS] = {0, apart, apart + 1, 2 * TWO_MIB};

	for (size_t i = 0; i < MMU_REGIONS; i++) {
		const struct mslot_region_options opt = {
		    .hva = (void *)(uintptr_t)((HOST_BASE_PAGES + at[i]) * page),
		    .len_bytes = w->mode->region_pages * page,
		    .fd = -1,
		};

		w->regions[i] = (struct naive_region){
		    .hva = (uintptr_t)opt.hva, .len = opt.len_bytes, .usable = true};
		if (mslot_region_create(&opt, &w->regions[i].handle))
			abort();
	}
}

/* Congruent with the guest's addresses, if the region goes that far. */
static uint64_t first_offset(struct mmu_world *w, const struct naive_slot *slot)
{
	const uint64_t unit = w->mode->unit_pages >= ONE_GIB / 2 ? ONE_GIB : TWO_MIB;
	const struct naive_region *region = &w->regions[slot->region];
	const uint64_t in = (slot->gpa - region->hva) & ((unit << w->shift) - 1);
	const uint64_t units = (region->len - slot->len) / (unit << w->shift);

	return in + slot->len > region->len
		   ? 0
		   : in + mmu_below(w, units ? units : 1) * (unit << w->shift);
}

/* One behind the other, of two lengths, most of them congruent with large units. */
static bool create_slots(struct mmu_world *w)
{
	const uint64_t page = UINT64_C(1) << w->shift;
	const struct mmu_mode *m = w->mode;
	const uint64_t stride = m->window_pages / m->nslots;
	struct mslot_txn *txn;
	int err;

	if (mslot_txn_begin(w->map, &txn))
		abort();
	for (uint32_t i = 0; i < m->nslots; i++) {
		uint64_t npages = m->unit_pages * (1 + i % 2) + i % 3;
		struct naive_slot slot = {.key = {i % m->nspaces, i}};

		npages = npages < stride ? npages : stride;
		slot.gpa = (m->base_gfn + i * stride) * page;
		slot.len = npages * page;
		slot.region = (int)mmu_below(w, MMU_REGIONS);
		slot.offset = first_offset(w, &slot);
		naive_add(&w->naive, &slot);
		if (mslot_txn_create(txn, &(struct mslot_slot_def){
					      .key = slot.key,
					      .gpa = slot.gpa,
					      .len_bytes = slot.len,
					      .region = w->regions[slot.region].handle,
					      .offset_bytes = slot.offset,
					  }) < 0)
			abort();
	}
	naive_sort(&w->naive);
	w->naive.generation = 1;
	err = mslot_txn_commit(txn, NULL, NULL);
	return !err || twin_fail("first commit: %d\n", err);
}

static bool create_mmu(struct mmu_world *w)
{
	const struct mslot_mmu_options opt = {.form = w->mode->form,
					      .max_leaf_level = w->mode->max_leaf_level};
	int err = mslot_mmu_create(w->map, &opt, &w->mmu);

	if (err)
		return twin_fail("mslot_mmu_create: %d\n", err);
	for (size_t i = 0; i < MMU_VCPUS; i++) {
		w->vcpu_root[i] = -1;
		if (mslot_vcpu_create(w->map, NULL, &w->vcpus[i]))
			abort();
	}
	for (size_t i = 0; i < MMU_ROOTS - 1; i++)
		if (!create_root(w, &w->roots[i]))
			return false;
	/* So small a map would have a small budget, and little were certain. */
	w->limit = mmu_chance(w, 80) ? MMU_MANY_TABLES : 0;
	mslot_mmu_limit_set(w->mmu, w->limit);
	mslot_mmu_stats_get(w->mmu, &w->stats);
	return true;
}

/* Nothing is logged yet. */
static void init_bits(struct mmu_world *w)
{
	twin_bits_init(&w->bits, &w->naive);
	if (!w->mode->dirty)
		return;
	w->bits.pages = calloc(w->naive.n + 1, sizeof(*w->bits.pages));
	for (size_t i = 0; w->bits.pages && i < w->naive.n; i++) {
		w->bits.pages[i] = calloc((size_t)twin_npages(&w->naive, &w->naive.slots[i]),
					  sizeof(**w->bits.pages));
		if (!w->bits.pages[i])
			abort();
	}
}

bool mmu_world_begin(struct mmu_world *w)
{
	struct mslot_map_options opt = {.page_shift = w->mode->page_shift,
					.nspaces = w->mode->nspaces};
	const bool late = mmu_chance(w, 50);

	if (mslot_map_create(&opt, &w->map))
		abort();
	mslot_map_options_get(w->map, &opt);
	w->shift = opt.page_shift;
	w->inside = -1;
	w->shape = (struct twin_shape){
	    .base_gpa = w->mode->base_gfn << w->shift,
	    .window_bytes = w->mode->window_pages << w->shift,
	    .unit_bytes = w->mode->unit_pages << w->shift,
	    .target = w->mode->target,
	};
	create_regions(w);
	naive_init(&w->naive, &opt, w->regions, MMU_REGIONS);
	naive_init(&w->next, &opt, w->regions, MMU_REGIONS);
	w->view = (struct nmmu_view){&w->naive, w->mode->dirty ? &w->bits : NULL};
	mmu_tally.worlds++;
	/* The MMU is there before the slots, or finds them. */
	if ((late && !create_slots(w)) || !create_mmu(w) || (!late && !create_slots(w)))
		return false;
	init_bits(w);
	return mmu_observe(w);
}

/* ---- End ----------------------------------------------------------------------- */

bool mmu_world_end(struct mmu_world *w)
{
	bool good;

	mmu_leave(w);
	good = mmu_dirty_end(w);
	for (size_t i = 0; i < MMU_RANGES; i++)
		if (w->ranges[i].len_bytes)
			mslot_invalidate_end(w->mmu, w->ranges[i]);
	for (size_t i = 0; i < MMU_VCPUS; i++) {
		w->vcpu_root[i] = -1;
		good = good && !mslot_vcpu_destroy(w->vcpus[i]);
	}
	for (size_t i = 0; i < MMU_ROOTS && good; i++) {
		if (!w->roots[i].handle)
			continue;
		good = mslot_mmu_destroy(w->mmu) == -EBUSY && destroy_root(w, &w->roots[i]);
	}
	good = good && !mslot_mmu_destroy(w->mmu);
	for (size_t i = 0; i < MMU_REGIONS; i++)
		mslot_region_put(w->regions[i].handle);
	good = good && !mslot_map_destroy(w->map);
	if (w->mode->dirty)
		twin_bits_fini(&w->bits);
	naive_fini(&w->naive);
	naive_fini(&w->next);
	return good || twin_fail("the MMU or the map does not end\n");
}

/* ---- One step ------------------------------------------------------------------ */

static const struct {
	bool (*step)(struct mmu_world *w);
	unsigned int share; /* of 100 */
} steps[] = {
    {mmu_fault_step, 46},  {mmu_edit_step, 18},    {mmu_prefault_step, 5}, {mmu_vcpu_step, 6},
    {mmu_guest_step, 4},   {mmu_zap_page_step, 4}, {mmu_zap_gfn_step, 3},  {mmu_zap_hva_step, 2},
    {mmu_protect_step, 3}, {mmu_age_step, 3},      {mmu_dirty_step, 2},    {mmu_invalidate_step, 2},
    {mmu_root_step, 1},    {mmu_zap_all_step, 1}, /* the rest: mmu_limit_step() */
};

static bool many_runs(const struct mmu_world *w)
{
	size_t n = 0;

	for (size_t i = 0; i < MMU_ROOTS; i++)
		n += w->roots[i].runs.n;
	return n > MMU_MANY_RUNS;
}

bool mmu_step(struct mmu_world *w)
{
	uint64_t dice = mmu_below(w, 101);
	size_t i = 0;

	if (many_runs(w))
		return mmu_zap_all_step(w) && mmu_observe(w);
	while (i < sizeof(steps) / sizeof(*steps) && dice >= steps[i].share)
		dice -= steps[i++].share;
	if (i == sizeof(steps) / sizeof(*steps))
		return mmu_limit_step(w) && mmu_observe(w);
	return steps[i].step(w) && mmu_observe(w);
}
