/* SPDX-License-Identifier: MIT */
/*
 * ops_mmu.c - software MMUs, roots and faults while memory runs out, and commits that an MMU
 * listens to: refused, they leave every translation as it was (W1).
 */
#include "ops_mmu.h"

#include <errno.h>

#define UNIT_ID 26000u
#define UNIT_GFN UINT64_C(0x104000) /* a multiple of 512, as is the offset in the region */
#define UNIT_PAGES 512u
#define CUT_PAGES 100u

static struct {
	struct mslot_mmu *mmu;
	struct mslot_root *root;
	struct mslot_vcpu *vcpu;
} our;

static struct mslot_mmu_options form_of(const struct op *op)
{
	return (struct mslot_mmu_options){.form = op->arg & MMU_BITMAPS ? MSLOT_MMU_SLOT_BITMAPS
									: MSLOT_MMU_REVERSE_MAPS};
}

int run_mmu_create(struct world *w, const struct op *op)
{
	const struct mslot_mmu_options opt = form_of(op);
	struct mslot_mmu *mmu = NULL;
	int err = mslot_mmu_create(w->map, &opt, &mmu);

	CHECK(!err == (mmu != NULL), "%d and an MMU", err);
	our.mmu = mmu;
	return err;
}

void finish_mmu_create(struct world *w, const struct op *op)
{
	(void)w;
	(void)op;
	CHECK_OK(mslot_mmu_destroy(our.mmu));
}

void prepare_mmu(struct world *w, const struct op *op)
{
	CHECK_OK(run_mmu_create(w, op));
	w->late = true;
}

int run_root_create(struct world *w, const struct op *op)
{
	const struct mslot_root_options opt = {.space = w->shape->nspaces - 1};
	struct mslot_root *root = NULL;
	int err = mslot_root_create(our.mmu, &opt, &root);

	(void)op;
	CHECK(!err == (root != NULL), "%d and a root", err);
	our.root = root;
	return err;
}

void finish_root_create(struct world *w, const struct op *op)
{
	CHECK_OK(mslot_root_destroy(our.root));
	finish_mmu_create(w, op);
}

/* ---- Faults ----------------------------------------------------------------- */

static int fault_root(struct mslot_root *root, uint64_t addr)
{
	const struct mslot_fault fault = {.addr = addr, .access = MSLOT_WRITE};
	struct mslot_translation t = {.hva = 0};
	int err = mslot_fault(our.vcpu, root, &fault, &t);

	CHECK(!err == (t.hva != 0), "%d and a translation", err);
	return err;
}

/* The vCPU's section is entered; with MMU_SECOND, another root has the leaf. */
void prepare_fault(struct world *w, const struct op *op)
{
	const struct mslot_root_options opt = {.kind = MSLOT_ROOT_DIRECT};
	struct mslot_root *other;

	prepare_mmu(w, op);
	CHECK_OK(mslot_vcpu_create(w->map, NULL, &our.vcpu));
	CHECK_OK(mslot_root_create(our.mmu, &opt, &our.root));
	CHECK_OK(mslot_root_create(our.mmu, &opt, &other));
	CHECK_OK(mslot_vcpu_enter(our.vcpu, &w->snap));
	if (op->arg & MMU_SECOND)
		CHECK_OK(fault_root(other, 0));
	w->result = other;
}

int run_fault(struct world *w, const struct op *op)
{
	(void)w;
	(void)op;
	return fault_root(our.root, 0);
}

int run_prefault(struct world *w, const struct op *op)
{
	int64_t n = mslot_prefault(our.vcpu, our.root, (struct mslot_range){0, 1}, MSLOT_READ);

	(void)w;
	(void)op;
	return n == 1 ? 0 : (int)n;
}

void finish_fault(struct world *w, const struct op *op)
{
	mslot_vcpu_leave(our.vcpu);
	CHECK_OK(mslot_check_mmu(our.mmu, NULL));
	CHECK_OK(mslot_root_destroy(w->result));
	CHECK_OK(mslot_vcpu_destroy(our.vcpu));
	finish_root_create(w, op);
}

/* ---- Commits ----------------------------------------------------------------- */

static struct mslot_translation look(struct world *w, uint64_t gfn)
{
	const struct mslot_snapshot *snap = mslot_enter(w->map);
	struct mslot_translation t = {.hva = 0};

	if (mslot_root_lookup(our.root, gfn * PAGE, &t))
		t.hva = 0;
	mslot_leave(snap);
	return t;
}

/* A part of a large leaf goes; with MMU_SECOND, some of its pages have small leaves elsewhere. */
void prepare_mmu_commit(struct world *w, const struct op *op)
{
	const struct mslot_slot_def def = {
	    .key = {0, UNIT_ID},
	    .gpa = UNIT_GFN * PAGE,
	    .len_bytes = UNIT_PAGES * PAGE,
	    .region = w->plain,
	    .offset_bytes = UNIT_GFN * PAGE,
	};
	const struct mslot_root_options shadow = {.kind = MSLOT_ROOT_SHADOW};
	struct mslot_root *other;
	struct mslot_txn *txn;

	CHECK_OK(mslot_txn_begin(w->map, &txn));
	CHECK_OK(mslot_txn_create(txn, &def));
	CHECK_OK(mslot_txn_commit(txn, NULL, NULL));
	prepare_fault(w, op);
	CHECK_OK(fault_root(our.root, UNIT_GFN * PAGE));
	CHECK_OK(mslot_root_create(our.mmu, &shadow, &other));
	for (uint64_t i = 0; op->arg & MMU_SECOND && i < 3; i++) {
		const struct mslot_fault fault = {.addr = i * PAGE,
						  .walk = {(UNIT_GFN + i) * PAGE, 1, 0}};

		CHECK_OK(mslot_fault(our.vcpu, other, &fault, NULL));
	}
	CHECK(look(w, UNIT_GFN).level == 2, "no large leaf");
	CHECK_OK(mslot_root_destroy(other));
	CHECK_OK(mslot_txn_begin(w->map, &w->txn));
	CHECK_OK(mslot_txn_resize(w->txn, def.key,
				  (struct mslot_range){def.gpa, def.len_bytes - CUT_PAGES * PAGE}));
	w->nevents = 0;
}

int run_mmu_commit(struct world *w, const struct op *op)
{
	const uint64_t last = UNIT_GFN + UNIT_PAGES - 1;
	struct mslot_mmu_stats before, after;
	int err;

	(void)op;
	mslot_mmu_stats_get(our.mmu, &before);
	err = mslot_txn_commit(w->txn, NULL, NULL);
	mslot_mmu_stats_get(our.mmu, &after);
	CHECK(!err || (before.table_bytes == after.table_bytes &&
		       before.list_bytes == after.list_bytes),
	      "%d, but spares stay", err);
	CHECK_OK(mslot_check_mmu(our.mmu, NULL));
	CHECK(look(w, UNIT_GFN).level == (err ? 2 : 1), "%d, but not split likewise", err);
	CHECK((look(w, last).hva != 0) == (err != 0), "%d, but the last page is there or not", err);
	return err;
}

/* T2: with memory, all that stays keeps its leaf. */
void finish_mmu_commit(struct world *w, const struct op *op)
{
	for (uint32_t i = 0; i < UNIT_PAGES; i++)
		CHECK((look(w, UNIT_GFN + i).hva != 0) == (i < UNIT_PAGES - CUT_PAGES),
		      "page %u is there or not", i);
	finish_fault(w, op);
}

/* ---- What never allocates ------------------------------------------------------ */

void quiet_mmu(struct world *w)
{
	const struct mslot_range page = {0, PAGE}, host = {UINT64_C(0x20000000000), PAGE};
	const struct mslot_age age = {.hva = host, .what = MSLOT_AGE_ACCESSED};
	const struct op op = {.arg = 0};
	struct mslot_mmu_stats stats;

	prepare_fault(w, &op);
	CHECK_OK(fault_root(our.root, 0));
	mslot_vcpu_leave(our.vcpu);
	quiet_begin();
	CHECK_OK(mslot_vcpu_root_set(our.vcpu, our.root));
	mslot_mmu_stats_get(our.mmu, &stats);
	mslot_mmu_limit_set(our.mmu, 100);
	CHECK_OK(mslot_check_mmu(our.mmu, NULL));
	CHECK(look(w, 0).hva != 0, "no translation");
	CHECK(mslot_root_stamp(our.root) != 0, "no stamp");
	CHECK(mslot_test_age(our.mmu, &age) == 1 && mslot_age(our.mmu, &age) == 1, "not one leaf");
	CHECK(mslot_write_protect(our.mmu, (struct mslot_key){0, 0}, NULL) == 1, "not one leaf");
	CHECK(mslot_zap_page(NULL, our.root, 0) == 1, "not one leaf");
	CHECK(mslot_zap_gfn(our.mmu, 0, page) == 0, "a leaf");
	CHECK(mslot_zap_hva(our.mmu, host) == 0, "a leaf");
	CHECK_OK(mslot_invalidate_begin(our.mmu, host));
	mslot_invalidate_end(our.mmu, host);
	mslot_zap_all(our.mmu);
	CHECK_OK(mslot_mmu_sync(our.mmu));
	CHECK_OK(mslot_vcpu_root_set(our.vcpu, NULL));
	CHECK_OK(mslot_root_destroy(w->result));
	CHECK_OK(mslot_root_destroy(our.root));
	CHECK_OK(mslot_mmu_destroy(our.mmu));
	quiet_end();
	CHECK_OK(mslot_vcpu_destroy(our.vcpu));
	w->nevents = 0;
}
