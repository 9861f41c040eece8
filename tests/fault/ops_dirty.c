/* SPDX-License-Identifier: MIT */
/*
 * ops_dirty.c - consumers, harvests, KVM's dirty log and final harvests while memory runs out.
 * A scope has some tens of slots at most: each makes several allocations.
 */
#include "ops_dirty.h"

#include <errno.h>

#define SCOPE_PAGES 48u
#define WIDE_PAGES 128u /* 32 slots */
#define MARKED_PAGES 2u /* those of slot 0 */

static struct mslot_dirty *consumer[3];
static unsigned int nconsumers;

static int create_over(struct world *w, uint64_t npages, uint32_t flags)
{
	const struct mslot_dirty_range range = {0, {0, npages * PAGE}};
	const struct mslot_dirty_options opt = {
	    .tag = "fault", .flags = flags, .ranges = &range, .nranges = 1};
	struct mslot_dirty *dirty = NULL;
	int err = mslot_dirty_create(w->map, &opt, &dirty);

	CHECK(!err == (dirty != NULL), "%d and a consumer", err);
	if (!err)
		consumer[nconsumers++] = dirty;
	return err;
}

static int create(struct world *w)
{
	return create_over(w, SCOPE_PAGES, 0);
}

static void mark(struct world *w, uint64_t gpa, uint64_t npages)
{
	const struct mslot_snapshot *snap = mslot_enter(w->map);

	mslot_mark_dirty(snap, (struct mslot_addr){0, gpa}, npages * PAGE);
	mslot_leave(snap);
}

void prepare_consumers(struct world *w, const struct op *op)
{
	nconsumers = 0;
	while (nconsumers < op->arg)
		CHECK_OK(create(w));
	w->nevents = 0;
}

int run_dirty_create(struct world *w, const struct op *op)
{
	(void)op;
	return create(w);
}

/* Over many slots, whose pages all begin as dirty; those of arg consumers are logged already. */
int run_dirty_create_wide(struct world *w, const struct op *op)
{
	(void)op;
	return create_over(w, WIDE_PAGES, MSLOT_DIRTY_INITIALLY_SET);
}

void finish_dirty_wide(struct world *w, const struct op *op)
{
	const uint32_t n = w->shape->nslots < WIDE_PAGES / 4 ? w->shape->nslots : WIDE_PAGES / 4;
	struct mslot_dirty_batch *batch;

	CHECK_OK(mslot_dirty_get(consumer[nconsumers - 1], &batch));
	CHECK(mslot_dirty_pages(batch) == 2 * (uint64_t)n, "not every page of %u slots", n);
	finish_consumers(w, op);
}

void prepare_dirty_wide(struct world *w, const struct op *op)
{
	nconsumers = 0;
	CHECK_OK(run_dirty_create_wide(w, op));
	w->nevents = 0;
}

void finish_consumers(struct world *w, const struct op *op)
{
	(void)op;
	while (nconsumers > 0) {
		w->nevents = 0;
		CHECK_OK(mslot_dirty_destroy(consumer[--nconsumers]));
	}
}

void prepare_dirty_destroy(struct world *w, const struct op *op)
{
	struct mslot_dirty_batch *batch;

	prepare_consumers(w, op);
	mark(w, 0, MARKED_PAGES);
	CHECK_OK(mslot_dirty_get(consumer[0], &batch));
}

int run_dirty_destroy(struct world *w, const struct op *op)
{
	int err = mslot_dirty_destroy(consumer[nconsumers - 1]);

	(void)w;
	(void)op;
	nconsumers -= !err;
	return err;
}

void prepare_dirty_get(struct world *w, const struct op *op)
{
	prepare_consumers(w, op);
	mark(w, 0, MARKED_PAGES);
}

int run_dirty_get(struct world *w, const struct op *op)
{
	struct mslot_dirty_batch *batch = NULL;
	int err = mslot_dirty_get(consumer[0], &batch);

	(void)op;
	CHECK(!err == (batch != NULL), "%d and a batch", err);
	w->result = batch;
	return err;
}

void finish_dirty_get(struct world *w, const struct op *op)
{
	CHECK(mslot_dirty_pages(w->result) == MARKED_PAGES, "pages are lost");
	mslot_dirty_ack(w->result);
	finish_consumers(w, op);
}

/* ---- KVM ---------------------------------------------------------------- */

#define LOG_ID 25500u
#define LOG_GPA UINT64_C(0x400000000)
#define LOG_PAGES 65u

void prepare_kvm_log(struct world *w, const struct op *op)
{
	const struct kvm_userspace_memory_region region = {
	    .slot = LOG_ID,
	    .flags = MSLOT_LOG_DIRTY,
	    .guest_phys_addr = LOG_GPA,
	    .memory_size = LOG_PAGES * PAGE,
	    .userspace_addr = UINT64_C(0x310000000000),
	};

	(void)op;
	CHECK_OK(mslot_kvm_set_user_memory_region(w->map, &region));
	mark(w, LOG_GPA + PAGE, 64);
	w->nevents = 0;
}

static uint64_t log_words[2];

int run_kvm_get(struct world *w, const struct op *op)
{
	const struct kvm_dirty_log log = {.slot = LOG_ID, .dirty_bitmap = log_words};

	(void)op;
	log_words[0] = log_words[1] = 0;
	return mslot_kvm_get_dirty_log(w->map, &log);
}

/* Of 64 dirty pages the arg goes first. */
int run_kvm_clear(struct world *w, const struct op *op)
{
	uint64_t mask[2] = {2, 0};
	const struct kvm_clear_dirty_log log = {
	    .slot = LOG_ID, .num_pages = LOG_PAGES, .dirty_bitmap = mask};

	(void)op;
	return mslot_kvm_clear_dirty_log(w->map, &log);
}

/* arg: a clear, whose page a get must not have any more. */
void finish_kvm_log(struct world *w, const struct op *op)
{
	if (op->arg)
		CHECK_OK(run_kvm_get(w, op));
	CHECK(log_words[0] == (op->arg ? ~UINT64_C(3) : ~UINT64_C(1)) && log_words[1] == 1,
	      "other pages");
}

/* ---- Final harvests ----------------------------------------------------- */

void prepare_final(struct world *w, const struct op *op)
{
	prepare_kvm_log(w, op);
	CHECK_OK(mslot_txn_begin(w->map, &w->txn));
	CHECK_OK(mslot_txn_delete(w->txn, (struct mslot_key){0, LOG_ID}));
}

int run_final(struct world *w, const struct op *op)
{
	struct mslot_final *final = NULL;
	const struct mslot_commit_options opt = {.final = &final};
	int err = mslot_txn_commit(w->txn, &opt, NULL);

	(void)op;
	CHECK(!err == (final != NULL), "%d and a final harvest", err);
	w->result = final;
	return err;
}

void finish_final(struct world *w, const struct op *op)
{
	(void)op;
	CHECK(mslot_final_count(w->result) == 1, "another number of ranges");
	mslot_final_destroy(w->result);
}

/* ---- Rings -------------------------------------------------------------- */

#define RING_BYTES 4096u

/* Two logs that need bits for rings. */
void prepare_rings(struct world *w, const struct op *op)
{
	prepare_kvm_log(w, op);
	CHECK_OK(mslot_txn_begin(w->map, &w->txn));
	CHECK_OK(mslot_txn_set_flags(w->txn, (struct mslot_key){0, 0}, MSLOT_LOG_DIRTY));
	CHECK_OK(mslot_txn_commit(w->txn, NULL, NULL));
	w->nevents = 0;
}

int run_ring_enable(struct world *w, const struct op *op)
{
	(void)op;
	return mslot_ring_enable(w->map, RING_BYTES, MSLOT_RING_WITH_BITMAP);
}

int run_kvm_rings(struct world *w, const struct op *op)
{
	const struct kvm_enable_cap cap = {.cap = KVM_CAP_DIRTY_LOG_RING, .args = {RING_BYTES}};

	(void)op;
	return mslot_kvm_enable_cap(w->map, &cap);
}

void finish_rings(struct world *w, const struct op *op)
{
	CHECK(run_ring_enable(w, op) == -EBUSY, "no rings");
}

void prepare_ring_vcpu(struct world *w, const struct op *op)
{
	CHECK_OK(run_ring_enable(w, op));
}

/* ---- Commits of many logged slots ----------------------------------------- */

static uint32_t many(const struct world *w, const struct op *op)
{
	return op->arg < w->shape->nslots ? op->arg : w->shape->nslots;
}

/* The logs of arg slots begin. */
void prepare_log_many(struct world *w, const struct op *op)
{
	CHECK_OK(mslot_txn_begin(w->map, &w->txn));
	for (uint32_t id = 0; id < many(w, op); id++)
		CHECK_OK(mslot_txn_set_flags(w->txn, (struct mslot_key){0, id}, MSLOT_LOG_DIRTY));
}

void finish_log_many(struct world *w, const struct op *op)
{
	for (uint32_t id = 0; id < many(w, op); id++) {
		const struct kvm_dirty_log log = {.slot = id, .dirty_bitmap = log_words};

		CHECK_OK(mslot_kvm_get_dirty_log(w->map, &log));
	}
}

static void log_many(struct world *w, const struct op *op)
{
	prepare_log_many(w, op);
	CHECK_OK(mslot_txn_commit(w->txn, NULL, NULL));
	mark(w, 0, UINT64_C(4) * many(w, op));
	w->nevents = 0;
}

/* Half of them go, and of the others a page each. */
void prepare_final_many(struct world *w, const struct op *op)
{
	log_many(w, op);
	CHECK_OK(mslot_txn_begin(w->map, &w->txn));
	for (uint32_t id = 0; id < many(w, op); id++) {
		const struct mslot_key key = {0, id};
		const struct mslot_range first = {4 * id * PAGE, PAGE};

		CHECK_OK(id % 2 ? mslot_txn_delete(w->txn, key)
				: mslot_txn_resize(w->txn, key, first));
	}
}

void finish_final_many(struct world *w, const struct op *op)
{
	CHECK(mslot_final_count(w->result) == many(w, op), "another number of ranges");
	mslot_final_destroy(w->result);
}

/* Slots side by side, with a log each, become one that has the bits of all. */
void prepare_merge_logged(struct world *w, const struct op *op)
{
	struct mslot_part part[ROW_SLOTS - 1];
	struct mslot_txn *txn;

	(void)op;
	world_add_row(w);
	w->nevents = 0;
	CHECK_OK(mslot_txn_begin(w->map, &txn));
	for (uint32_t i = 0; i < ROW_SLOTS; i++)
		CHECK_OK(
		    mslot_txn_set_flags(txn, (struct mslot_key){0, ROW_ID + i}, MSLOT_LOG_DIRTY));
	CHECK_OK(mslot_txn_commit(txn, NULL, NULL));
	mark(w, ROW_GFN * PAGE, ROW_SLOTS);
	for (uint32_t i = 0; i + 1 < ROW_SLOTS; i++)
		part[i] = (struct mslot_part){ROW_ID + ROW_SLOTS - 1 - i, 0};
	CHECK_OK(mslot_txn_begin(w->map, &w->txn));
	CHECK_OK(mslot_txn_merge(w->txn, (struct mslot_key){0, ROW_ID}, part, ROW_SLOTS - 1));
	w->nevents = 0;
}

void finish_merge_logged(struct world *w, const struct op *op)
{
	const struct kvm_dirty_log log = {.slot = ROW_ID, .dirty_bitmap = log_words};

	(void)op;
	CHECK_OK(mslot_kvm_get_dirty_log(w->map, &log));
	CHECK(log_words[0] == (UINT64_C(1) << ROW_SLOTS) - 1, "a page is lost");
}
