/* SPDX-License-Identifier: MIT */
/*
 * T2: a page whose translation and permission did not change keeps its entries. Committers
 * split, merge, renumber, grow and loosen; others wait for what was committed. vCPUs load and store
 * pages that were there from the beginning, through direct and shadow roots of both forms. Nothing
 * may be zapped or evicted, no leaf be made but in the place of smaller ones, and no vCPU be asked
 * to forget anything: its cache is in the epoch that it was in.
 */
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

#include <mslot/mslot.h>

#include "stress/stress.h"

#define PAGE UINT64_C(4096)
#define AREA UINT64_C(4096)          /* pages that are split and merged, from frame 0 on */
#define AREA_SLOTS 48u               /* into so many at most */
#define TIGHT_AT (UINT64_C(1) << 20) /* slots of TIGHT_PAGES that are loosened, one by one */
#define TIGHT 256u
#define TIGHT_PAGES UINT64_C(4)
#define GROWING_AT (UINT64_C(1) << 24)
#define GROWING_MOST (UINT64_C(1) << 20)
#define TIGHT_PAGE AREA                               /* of the region */
#define GROWING_PAGE (AREA + TIGHT * TIGHT_PAGES + 1) /* never congruent: pages stay single */
#define REGION_PAGES (GROWING_PAGE + GROWING_MOST)
#define FORMS 2u
#define TIGHT_ID 1000u
#define GROWING_ID 999u

static struct mslot_map *map;
static struct mslot_region *region;
static struct mslot_mmu *mmu[FORMS];
static struct mslot_root *roots[FORMS][2]; /* direct, shadow */
static struct mslot_mmu_stats before[FORMS];

/* What is committed. */
static pthread_mutex_t edit = PTHREAD_MUTEX_INITIALIZER;
static struct piece {
	uint32_t id;
	uint64_t first, n;
} pieces[AREA_SLOTS]; /* of the area, in its order */
static uint32_t npieces, next_id;
static uint64_t grown = 1;
static uint32_t tight_flags[TIGHT];
static _Atomic uint64_t committed;
static uint64_t done[5];

/* ---- Edits; edit held ---- */

static struct mslot_key key(uint32_t id)
{
	return (struct mslot_key){.id = id};
}

static struct mslot_slot_def def_of(uint32_t id, uint64_t gfn, uint64_t n, uint64_t page,
				    uint32_t flags)
{
	return (struct mslot_slot_def){
	    .key = key(id),
	    .gpa = gfn * PAGE,
	    .len_bytes = n * PAGE,
	    .region = region,
	    .offset_bytes = page * PAGE,
	    .flags = flags,
	};
}

/* Names come back after a while. */
static uint32_t fresh_id(void)
{
	uint32_t i;

	do {
		next_id = (next_id + 1) % 500;
		for (i = 0; i < npieces && pieces[i].id != next_id; i++)
			;
	} while (i < npieces);
	return next_id;
}

static bool split(struct stress_thread *self, struct mslot_txn *txn)
{
	uint32_t i = (uint32_t)rng_below(&self->rng, npieces), k;
	struct mslot_part part;
	uint64_t cut;

	if (npieces == AREA_SLOTS || pieces[i].n < 2)
		return false;
	cut = rng_range(&self->rng, 1, pieces[i].n - 1);
	part = (struct mslot_part){.id = fresh_id(), .gpa = (pieces[i].first + cut) * PAGE};
	CHECK(mslot_txn_split(txn, key(pieces[i].id), &part, 1) >= 0, "split");
	for (k = npieces++; k > i + 1; k--)
		pieces[k] = pieces[k - 1];
	pieces[i + 1] = (struct piece){part.id, pieces[i].first + cut, pieces[i].n - cut};
	pieces[i].n = cut;
	return true;
}

static bool merge(struct stress_thread *self, struct mslot_txn *txn)
{
	uint32_t i, k;
	struct mslot_part part;

	if (npieces < 2)
		return false;
	i = (uint32_t)rng_below(&self->rng, npieces - 1);
	part = (struct mslot_part){.id = pieces[i + 1].id};
	CHECK(mslot_txn_merge(txn, key(pieces[i].id), &part, 1) >= 0, "merge");
	pieces[i].n += pieces[i + 1].n;
	npieces--;
	for (k = i + 1; k < npieces; k++)
		pieces[k] = pieces[k + 1];
	return true;
}

static bool renumber(struct stress_thread *self, struct mslot_txn *txn)
{
	struct piece *piece = &pieces[rng_below(&self->rng, npieces)];
	struct mslot_slot_def def;

	CHECK(mslot_txn_delete(txn, key(piece->id)) >= 0, "delete");
	piece->id = fresh_id();
	def = def_of(piece->id, piece->first, piece->n, piece->first, 0);
	CHECK(mslot_txn_create(txn, &def) >= 0, "create");
	return true;
}

static bool grow(struct stress_thread *self, struct mslot_txn *txn)
{
	(void)self;
	if (grown == GROWING_MOST)
		return false;
	grown++;
	CHECK(mslot_txn_resize(txn, key(GROWING_ID),
			       (struct mslot_range){GROWING_AT * PAGE, grown * PAGE}) >= 0,
	      "resize");
	return true;
}

static bool loosen(struct stress_thread *self, struct mslot_txn *txn)
{
	uint32_t i = (uint32_t)rng_below(&self->rng, TIGHT);

	if (!tight_flags[i])
		return false;
	/* One flag at a time, where there are two. */
	tight_flags[i] &= tight_flags[i] - 1;
	CHECK(mslot_txn_set_flags(txn, key(TIGHT_ID + i), tight_flags[i]) >= 0, "set flags");
	return true;
}

static void commit_edits(struct stress_thread *self)
{
	static bool (*const edits[])(struct stress_thread * self, struct mslot_txn * txn) = {
	    split, merge, renumber, grow, loosen};
	struct mslot_commit_result result;
	struct mslot_txn *txn;
	uint64_t kind;

	while (stress_running() || !self->ops) {
		kind = rng_below(&self->rng, 5);
		CHECK_OK(mslot_txn_begin(map, &txn));
		CHECK_OK(pthread_mutex_lock(&edit));
		if (edits[kind](self, txn)) {
			CHECK_OK(mslot_txn_commit(txn, NULL, &result));
			atomic_store(&committed, result.generation);
			done[kind]++;
			self->ops++;
		} else {
			mslot_txn_abort(txn);
		}
		CHECK_OK(pthread_mutex_unlock(&edit));
		stress_linger(self);
	}
}

/* To wait takes nothing from those who keep what they have. */
static void wait_and_sync(struct stress_thread *self)
{
	while (stress_running() || !self->ops) {
		CHECK_OK(mslot_wait(map, atomic_load(&committed), -1));
		CHECK_OK(mslot_mmu_sync(mmu[rng_below(&self->rng, FORMS)]));
		stress_linger(self);
		self->ops++;
	}
}

/* ---- vCPUs ---- */

static uint64_t epoch_of(const struct mslot_vcpu *vcpu)
{
	return ((const struct mslot_vcpu_head *)(const void *)vcpu)->epoch;
}

static void load(struct mslot_vcpu *vcpu, uint64_t gfn)
{
	uint64_t word;

	CHECK_OK(mslot_vcpu_load64(vcpu, gfn * PAGE, &word));
}

/* All that was there from the beginning, once. */
static void warm_up(struct mslot_vcpu *vcpu)
{
	uint64_t gfn;
	uint32_t i;

	for (gfn = 0; gfn < AREA; gfn++)
		CHECK_OK(mslot_vcpu_store64(vcpu, gfn * PAGE, gfn));
	for (gfn = TIGHT_AT; gfn < TIGHT_AT + TIGHT * TIGHT_PAGES; gfn++)
		load(vcpu, gfn);
	for (i = 0; i < TIGHT; i++)
		if (!(tight_flags[i] & MSLOT_READONLY))
			CHECK_OK(mslot_vcpu_store64(vcpu, (TIGHT_AT + i * TIGHT_PAGES) * PAGE, i));
	load(vcpu, GROWING_AT);
}

static void access_one(struct stress_thread *self, struct mslot_vcpu *vcpu)
{
	uint64_t gfn = rng_below(&self->rng, AREA), word;

	switch (rng_below(&self->rng, 8)) {
	case 0:
		load(vcpu, TIGHT_AT + rng_below(&self->rng, TIGHT * TIGHT_PAGES));
		break;
	case 1:
		load(vcpu, GROWING_AT);
		break;
	case 2:
	case 3:
		CHECK_OK(mslot_vcpu_store64(vcpu, gfn * PAGE, gfn));
		break;
	default:
		CHECK_OK(mslot_vcpu_load64(vcpu, gfn * PAGE, &word));
		CHECK(word == gfn, "frame %" PRIu64 " has the word of %" PRIu64, gfn, word);
	}
	self->ops++;
}

static void run_vcpu(struct stress_thread *self)
{
	struct mslot_root *root = self->arg;
	const struct mslot_snapshot *snap;
	struct mslot_vcpu *vcpu;
	uint64_t epoch, n;

	CHECK_OK(mslot_vcpu_create(map, NULL, &vcpu));
	CHECK_OK(mslot_vcpu_root_set(vcpu, root));
	/* What was asked for while it was made counts for the first section. */
	CHECK_OK(mslot_vcpu_enter(vcpu, &snap));
	epoch = epoch_of(vcpu);
	mslot_vcpu_leave(vcpu);
	while (stress_running() || !self->ops) {
		CHECK_OK(mslot_vcpu_enter(vcpu, &snap));
		CHECK(epoch_of(vcpu) == epoch, "a vCPU was asked to forget (T2)");
		for (n = rng_below(&self->rng, 64); n > 0; n--)
			access_one(self, vcpu);
		stress_linger(self);
		mslot_vcpu_leave(vcpu);
	}
	CHECK_OK(mslot_vcpu_root_set(vcpu, NULL));
	CHECK_OK(mslot_vcpu_destroy(vcpu));
}

/* ---- Begin and end ---- */

static int walk(void *ctx, struct mslot_vcpu *vcpu, uint64_t addr, enum mslot_access access,
		struct mslot_walk *out)
{
	(void)ctx;
	(void)vcpu;
	(void)access;
	*out = (struct mslot_walk){.gpa = addr, .level = 3};
	return 0;
}

static void make_memory(void)
{
	const uint64_t large = 512 * PAGE;
	struct mslot_region_options opt = {.len_bytes = REGION_PAGES * PAGE, .fd = -1};
	void *at = mmap(NULL, opt.len_bytes + large, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	CHECK(at != MAP_FAILED, "out of address space");
	opt.hva = (void *)(((uintptr_t)at + large - 1) & ~(uintptr_t)(large - 1));
	CHECK_OK(mslot_region_create(&opt, &region));
}

static void make_slots(void)
{
	static const uint32_t flags[] = {MSLOT_READONLY, MSLOT_LOG_DIRTY,
					 MSLOT_READONLY | MSLOT_LOG_DIRTY};
	struct mslot_slot_def def = def_of(0, 0, AREA, 0, 0);
	struct mslot_txn *txn;
	uint32_t i;

	CHECK_OK(mslot_txn_begin(map, &txn));
	CHECK(mslot_txn_create(txn, &def) >= 0, "create");
	pieces[npieces++] = (struct piece){0, 0, AREA};
	def = def_of(GROWING_ID, GROWING_AT, grown, GROWING_PAGE, 0);
	CHECK(mslot_txn_create(txn, &def) >= 0, "create");
	for (i = 0; i < TIGHT; i++) {
		tight_flags[i] = flags[i % 3];
		def = def_of(TIGHT_ID + i, TIGHT_AT + i * TIGHT_PAGES, TIGHT_PAGES,
			     TIGHT_PAGE + i * TIGHT_PAGES, tight_flags[i]);
		CHECK(mslot_txn_create(txn, &def) >= 0, "create");
	}
	CHECK_OK(mslot_txn_commit(txn, NULL, NULL));
}

static void make_roots(uint32_t form)
{
	const struct mslot_mmu_options opt = {.form = (enum mslot_mmu_form)form,
					      .max_tables = 1000};
	struct mslot_root_options root = {.kind = MSLOT_ROOT_DIRECT, .walk = walk};
	const struct mslot_snapshot *snap;
	struct mslot_vcpu *vcpu;
	uint32_t i;

	CHECK_OK(mslot_mmu_create(map, &opt, &mmu[form]));
	CHECK_OK(mslot_vcpu_create(map, NULL, &vcpu));
	for (i = 0; i < 2; i++) {
		root.kind = (enum mslot_root_kind)i;
		CHECK_OK(mslot_root_create(mmu[form], &root, &roots[form][i]));
		CHECK_OK(mslot_vcpu_root_set(vcpu, roots[form][i]));
		CHECK_OK(mslot_vcpu_enter(vcpu, &snap));
		warm_up(vcpu);
		mslot_vcpu_leave(vcpu);
	}
	CHECK_OK(mslot_vcpu_destroy(vcpu));
	mslot_mmu_stats_get(mmu[form], &before[form]);
}

static void judge(uint32_t form)
{
	const struct mslot_mmu_stats *was = &before[form];
	struct mslot_mmu_stats now;
	const char *why = "";

	mslot_mmu_stats_get(mmu[form], &now);
	CHECK(mslot_check_mmu(mmu[form], &why) == 0, "form %u: %s", form, why);
	CHECK(now.zapped == was->zapped, "form %u: %" PRIu64 " leaves were zapped (T2)", form,
	      now.zapped - was->zapped);
	CHECK(now.evicted == was->evicted && now.splits == was->splits,
	      "form %u: tables were evicted or made", form);
	CHECK(now.flushes == was->flushes, "form %u: vCPUs were asked to flush (T2)", form);
	CHECK(now.installed - was->installed == now.collapses - was->collapses,
	      "form %u: %" PRIu64 " leaves were made, %" PRIu64 " of them larger (T2)", form,
	      now.installed - was->installed, now.collapses - was->collapses);
	printf("  form %u: %" PRIu64 " faults found their leaf\n", form, now.faults - was->faults);
	CHECK_OK(mslot_root_destroy(roots[form][0]));
	CHECK_OK(mslot_root_destroy(roots[form][1]));
	CHECK_OK(mslot_mmu_destroy(mmu[form]));
}

int main(void)
{
	uint32_t i, k;

	stress_begin("T2_survivors_do_not_fault");
	CHECK_OK(mslot_map_create(NULL, &map));
	make_memory();
	make_slots();
	for (i = 0; i < FORMS; i++)
		make_roots(i);
	for (i = 0; i < FORMS; i++)
		for (k = 0; k < 2; k++)
			stress_spawn("vcpu", run_vcpu, roots[i][k]);
	stress_spawn("edits", commit_edits, NULL);
	stress_spawn("edits", commit_edits, NULL);
	stress_spawn("waits", wait_and_sync, NULL);
	stress_run();
	for (i = 0; i < FORMS; i++)
		judge(i);
	CHECK_OK(mslot_map_destroy(map));
	mslot_region_put(region);
	printf("  split %" PRIu64 ", merged %" PRIu64 ", renumbered %" PRIu64 ", grown %" PRIu64
	       ", loosened %" PRIu64 "\n",
	       done[0], done[1], done[2], done[3], done[4]);
	return stress_end();
}
