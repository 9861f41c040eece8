/* SPDX-License-Identifier: MIT */
/*
 * T3: no lock is MMU-wide. A slot of 1024 mapped pages is deleted and made again, over and over. In
 * each delete the committer is parked once where it holds a guard, and with it the writer mutex,
 * until others have faulted pages in at other frames, which they cannot if they need either. And no
 * thread ever holds two guards, but for a split.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>

#include <mslot/mslot.h>

#include "base/perturb.h"
#include "stress/stress.h"

#define PAGE UINT64_C(4096)
#define BIG_PAGES UINT64_C(1024)
#define OTHERS_AT (UINT64_C(1) << 20)
#define OTHERS_PAGES (UINT64_C(64) * 512)
#define LARGE_AT (UINT64_C(1) << 24)
#define LARGE_PAGES UINT64_C(1024)
#define HVA UINT64_C(0x4000000000)
#define FORMS 2u
#define PARKED_FAULTS 64u  /* that a parked committer waits for */
#define PARKED_SECONDS 15u /* and how long: the faults take microseconds */
#define SPLIT_GUARDS 2u    /* a large unit's and a small one's */
#define FAULTERS_OF_A_FORM 2u

/* A map for each form: the host memory is never touched. */
struct part {
	struct mslot_map *map;
	struct mslot_region *region;
	struct mslot_mmu *mmu;
	struct mslot_root *root;
	_Atomic uint64_t faults; /* that made a leaf */
	_Atomic bool over;       /* nobody deletes any more */
};

static struct part parts[FORMS];
static _Atomic uint64_t parked, splits;
static void (*windows_hook)(enum perturb_point point);
/* Of the thread that deletes: it is parked at the n-th guard from now on; 0: it is not. */
static _Thread_local uint64_t park_at;
static _Thread_local struct part *park_in;

/* ---- Parking ---- */

static void park(struct part *part)
{
	uint64_t begin = atomic_load(&part->faults);
	time_t end = time(NULL) + PARKED_SECONDS;

	while (atomic_load(&part->faults) < begin + PARKED_FAULTS) {
		CHECK(time(NULL) < end,
		      "faults at other frames wait for a guard or the writer mutex (T3)");
		sched_yield();
	}
	atomic_fetch_add(&parked, 1);
}

static void hook(enum perturb_point point)
{
	windows_hook(point);
	if (point == PERTURB_HEAD_LOCKED && park_at > 0 && --park_at == 0)
		park(park_in);
}

/* ---- The one who deletes ---- */

static struct mslot_slot_def def_of(const struct part *part, uint32_t id, uint64_t gfn, uint64_t n,
				    uint64_t page)
{
	return (struct mslot_slot_def){
	    .key = {.id = id},
	    .gpa = gfn * PAGE,
	    .len_bytes = n * PAGE,
	    .region = part->region,
	    .offset_bytes = page * PAGE,
	};
}

/* Its pages are not congruent: single ones. */
static struct mslot_slot_def big_of(const struct part *part)
{
	return def_of(part, 1, 0, BIG_PAGES, 1);
}

static struct mslot_slot_def large_of(const struct part *part)
{
	return def_of(part, 3, LARGE_AT, LARGE_PAGES, 0);
}

static void put(struct part *part, struct mslot_slot_def def)
{
	struct mslot_txn *txn;

	CHECK_OK(mslot_txn_begin(part->map, &txn));
	CHECK(mslot_txn_create(txn, &def) >= 0, "create");
	CHECK_OK(mslot_txn_commit(txn, NULL, NULL));
}

static void drop(struct part *part, uint32_t id)
{
	struct mslot_txn *txn;

	CHECK_OK(mslot_txn_begin(part->map, &txn));
	CHECK(mslot_txn_delete(txn, (struct mslot_key){.id = id}) >= 0, "delete");
	CHECK_OK(mslot_txn_commit(txn, NULL, NULL));
}

static void prefault(struct part *part, struct mslot_vcpu *vcpu, uint64_t gfn, uint64_t n)
{
	struct mslot_range range = {gfn * PAGE, n * PAGE};
	const struct mslot_snapshot *snap;
	int64_t mapped = 0;

	/* It stops where a vCPU is asked to poll. */
	while (mapped < (int64_t)n) {
		CHECK_OK(mslot_vcpu_enter(vcpu, &snap));
		mapped = mslot_prefault(vcpu, part->root, range, MSLOT_WRITE);
		mslot_vcpu_leave(vcpu);
		CHECK(mapped >= 0, "prefaulting gave %" PRId64, mapped);
	}
}

static void check_guards(unsigned int most)
{
	CHECK(perturb_guards == 0, "%u guards are held for ever", perturb_guards);
	CHECK(perturb_guards_most <= most, "%u guards were held at once (T3)", perturb_guards_most);
	perturb_guards_most = 0;
}

static void delete_big(struct part *part, struct stress_thread *self, bool bitmaps)
{
	park_in = part;
	/* One guard a frame, or one a table. */
	park_at = rng_range(&self->rng, 1, bitmaps ? BIG_PAGES / 512 : BIG_PAGES);
	drop(part, 1);
	CHECK(park_at == 0, "%" PRIu64 " guards fewer than there are frames or tables", park_at);
	check_guards(1);
}

/* A page in the middle of a large leaf goes: the others stay, in a table. */
static void split_large(struct part *part, struct mslot_vcpu *vcpu, bool bitmaps)
{
	const struct mslot_part cuts[] = {{4, (LARGE_AT + 100) * PAGE},
					  {5, (LARGE_AT + 101) * PAGE}};
	struct mslot_txn *txn;

	put(part, large_of(part));
	prefault(part, vcpu, LARGE_AT, LARGE_PAGES);
	CHECK_OK(mslot_txn_begin(part->map, &txn));
	CHECK(mslot_txn_split(txn, (struct mslot_key){.id = 3}, cuts, 2) >= 0, "split");
	CHECK_OK(mslot_txn_commit(txn, NULL, NULL));
	check_guards(1);
	drop(part, 4);
	/* The small leaves are of a table that nobody has seen: no lock of theirs. */
	CHECK(bitmaps || perturb_guards_most == SPLIT_GUARDS, "a split with %u guards",
	      perturb_guards_most);
	check_guards(SPLIT_GUARDS);
	drop(part, 3);
	drop(part, 5);
	check_guards(1);
	atomic_fetch_add(&splits, 1);
}

static void delete_and_recreate(struct stress_thread *self)
{
	struct part *part = self->arg;
	bool bitmaps = part == &parts[MSLOT_MMU_SLOT_BITMAPS];
	struct mslot_vcpu *vcpu;

	CHECK_OK(mslot_vcpu_create(part->map, NULL, &vcpu));
	while (stress_running() || !self->ops) {
		prefault(part, vcpu, 0, BIG_PAGES);
		delete_big(part, self, bitmaps);
		put(part, big_of(part));
		split_large(part, vcpu, bitmaps);
		self->ops++;
	}
	atomic_store(&part->over, true);
	CHECK_OK(mslot_vcpu_destroy(vcpu));
}

/* ---- Those who fault ---- */

static void fault_one(struct part *part, struct stress_thread *self, struct mslot_vcpu *vcpu)
{
	uint64_t gfn = OTHERS_AT + rng_below(&self->rng, OTHERS_PAGES);
	struct mslot_fault fault = {
	    .addr = gfn * PAGE,
	    .access = rng_chance(&self->rng, 50) ? MSLOT_WRITE : MSLOT_READ,
	};

	CHECK_OK(mslot_fault(vcpu, part->root, &fault, NULL));
	atomic_fetch_add(&part->faults, 1);
	/* For the next one at this page to make a leaf again. */
	(void)mslot_zap_page(NULL, part->root, fault.addr);
	/* What is being deleted is gone for those who fault, whatever has become of its leaves. */
	fault.addr = rng_below(&self->rng, BIG_PAGES) * PAGE;
	if (rng_chance(&self->rng, 5)) {
		int err = mslot_fault(vcpu, part->root, &fault, NULL);

		CHECK(!err || err == -ENOENT, "a fault gave %d", err);
	}
	check_guards(1);
	self->ops++;
}

static void fault_elsewhere(struct stress_thread *self)
{
	struct part *part = self->arg;
	const struct mslot_snapshot *snap;
	struct mslot_vcpu *vcpu;
	unsigned int i;

	CHECK_OK(mslot_vcpu_create(part->map, NULL, &vcpu));
	/* As long as somebody may be parked. */
	while (!atomic_load(&part->over) || !self->ops) {
		CHECK_OK(mslot_vcpu_enter(vcpu, &snap));
		for (i = 0; i < 8; i++)
			fault_one(part, self, vcpu);
		mslot_vcpu_leave(vcpu);
	}
	CHECK_OK(mslot_vcpu_destroy(vcpu));
}

/* ---- Begin and end ---- */

static void part_init(struct part *part, enum mslot_mmu_form form)
{
	const struct mslot_region_options region = {
	    .hva = (void *)(uintptr_t)HVA, .len_bytes = 2 * OTHERS_PAGES * PAGE, .fd = -1};
	const struct mslot_mmu_options opt = {.form = form, .max_leaf_level = 2};
	const struct mslot_root_options direct = {.kind = MSLOT_ROOT_DIRECT};

	CHECK_OK(mslot_map_create(NULL, &part->map));
	CHECK_OK(mslot_region_create(&region, &part->region));
	CHECK_OK(mslot_mmu_create(part->map, &opt, &part->mmu));
	CHECK_OK(mslot_root_create(part->mmu, &direct, &part->root));
	put(part, big_of(part));
	put(part, def_of(part, 2, OTHERS_AT, OTHERS_PAGES, 1));
}

static void part_fini(struct part *part)
{
	const char *why = "";

	CHECK(mslot_check_mmu(part->mmu, &why) == 0, "%s", why);
	CHECK_OK(mslot_root_destroy(part->root));
	CHECK_OK(mslot_mmu_destroy(part->mmu));
	CHECK_OK(mslot_map_destroy(part->map));
	mslot_region_put(part->region);
}

int main(void)
{
	unsigned int i, k;

	stress_begin("T3_fault_beside_a_delete");
	windows_hook = perturb_hook;
	perturb_hook = hook;
	for (i = 0; i < FORMS; i++) {
		part_init(&parts[i], (enum mslot_mmu_form)i);
		stress_spawn("deleter", delete_and_recreate, &parts[i]);
		for (k = 0; k < FAULTERS_OF_A_FORM; k++)
			stress_spawn("faults", fault_elsewhere, &parts[i]);
	}
	stress_run();
	for (i = 0; i < FORMS; i++)
		part_fini(&parts[i]);
	printf("  %" PRIu64 " times parked, %" PRIu64 " splits\n", atomic_load(&parked),
	       atomic_load(&splits));
	return stress_end();
}
