/* SPDX-License-Identifier: MIT */
/* replay_engine.c - apply a trace to a map in the two ways; see replay.h. */
#include "replay.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mslot/kvm.h>

#define REGION_LOWEST UINT64_C(0x10000) /* keeps pointers into the region off NULL */
#define TURN_SPINS 200u

static int refused(struct lines_fault *fault, unsigned long line, int err, const char *reason)
{
	char what[200];

	snprintf(what, sizeof(what), "%s%s%s", strerror(-err), reason[0] != '\0' ? ": " : "",
		 reason);
	return lines_expected_not(fault, line, "a request that the map accepts", what);
}

int engine_init(struct engine *e, const struct replay *r, struct lines_fault *fault)
{
	const struct trace *const t = r->trace;
	const struct mslot_map_options opt = {.nspaces = t->nspaces};
	const uint64_t base = t->hva_lo > REGION_LOWEST ? t->hva_lo : REGION_LOWEST;
	const struct mslot_region_options ropt = {
	    .hva = (void *)(uintptr_t)base,
	    .len_bytes = t->hva_hi > t->hva_lo ? t->hva_hi - t->hva_lo : 1,
	    .fd = -1,
	};
	int ret;

	*e = (struct engine){.replay = r};
	ret = mslot_map_create(&opt, &e->map);
	if (ret < 0)
		return lines_expected_not(fault, 0, "a new map", strerror(-ret));
	ret = mslot_region_create(&ropt, &e->region);
	if (ret == 0)
		return 0;
	mslot_map_destroy(e->map);
	return lines_expected_not(fault, 0, "a new region", strerror(-ret));
}

int engine_fini(struct engine *e, struct lines_fault *fault)
{
	const int ret = mslot_map_destroy(e->map);

	mslot_region_put(e->region);
	*e = (struct engine){0};
	if (ret == 0)
		return 0;
	return lines_expected_not(fault, 0, "the map to end", strerror(-ret));
}

size_t engine_nsteps(const struct engine *e, size_t g)
{
	if (e->replay->as == REPLAY_KVM)
		return e->replay->trace->group[g].nops;
	return e->replay->plan->group[g].nedits > 0 ? 1 : 0;
}

static int kvm_set(struct engine *e, const struct plan_slot *slot, uint64_t size)
{
	const struct kvm_userspace_memory_region request = {
	    .slot = slot->space << 16 | slot->id,
	    .flags = slot->flags,
	    .guest_phys_addr = slot->gpa,
	    .memory_size = size,
	    .userspace_addr = slot->hva,
	};

	return mslot_kvm_set_user_memory_region(e->map, &request);
}

static int step_kvm(struct engine *e, const struct trace_op *op, struct lines_fault *fault)
{
	const struct plan_slot slot = {
	    .space = op->space, .id = op->id, .flags = op->flags, .gpa = op->gpa, .hva = op->hva};
	const int ret = kvm_set(e, &slot, op->size);

	return ret < 0 ? refused(fault, op->line, ret, "") : 0;
}

static int add_edit(struct engine *e, struct mslot_txn *txn, const struct plan_edit *edit,
		    enum mslot_edit_kind kind)
{
	const struct plan_slot *const s = &edit->slot;
	const struct mslot_edit full = {
	    .kind = kind,
	    .def = {.key = {.space = s->space, .id = s->id},
		    .gpa = s->gpa,
		    .len_bytes = s->size,
		    .region = e->region,
		    .offset_bytes = s->hva - e->replay->trace->hva_lo,
		    .flags = s->flags},
	};

	return mslot_txn_add(txn, &full);
}

/* Commit the edits as one transaction; -errno with *result saying which edit is to blame. */
static int commit_edits(struct engine *e, const struct plan_edit *edit, size_t nedits,
			struct mslot_commit_result *result)
{
	struct mslot_txn *txn;
	int ret = mslot_txn_begin(e->map, &txn);

	*result = (struct mslot_commit_result){.failed_edit = MSLOT_NO_EDIT, .reason = ""};
	if (ret < 0)
		return ret;
	for (size_t i = 0; i < nedits && ret >= 0; i++)
		ret = add_edit(e, txn, &edit[i], edit[i].kind);
	if (ret >= 0)
		ret = mslot_txn_commit(txn, NULL, result);
	if (ret < 0)
		mslot_txn_abort(txn);
	return ret;
}

static int step_group(struct engine *e, size_t g, struct lines_fault *fault)
{
	const struct plan_group *const group = &e->replay->plan->group[g];
	const struct plan_edit *const edit = &e->replay->plan->edit[group->first_edit];
	struct mslot_commit_result result;
	const int ret = commit_edits(e, edit, group->nedits, &result);

	if (ret == 0)
		return 0;
	return refused(fault,
		       edit[result.failed_edit < group->nedits ? result.failed_edit : 0].line, ret,
		       result.reason);
}

int engine_step(struct engine *e, size_t g, size_t step, struct lines_fault *fault)
{
	const struct trace *const t = e->replay->trace;

	if (e->replay->as == REPLAY_KVM)
		return step_kvm(e, &t->op[t->group[g].first + step], fault);
	return step_group(e, g, fault);
}

int engine_clear(struct engine *e, struct lines_fault *fault)
{
	const struct plan_state *const final = &e->replay->plan->final;
	struct mslot_commit_result result = {.reason = ""};
	struct mslot_txn *txn = NULL;
	int ret = 0;

	if (final->nslots == 0)
		return 0;
	if (e->replay->as == REPLAY_TRANSACTIONS)
		ret = mslot_txn_begin(e->map, &txn);
	for (size_t i = 0; i < final->nslots && ret >= 0; i++) {
		const struct plan_slot *const s = &final->slot[i];

		if (txn == NULL)
			ret = kvm_set(e, s, 0);
		else
			ret = mslot_txn_delete(txn, (struct mslot_key){s->space, s->id});
	}
	if (txn != NULL && ret >= 0)
		ret = mslot_txn_commit(txn, NULL, &result);
	if (ret >= 0)
		return 0;
	mslot_txn_abort(txn);
	return refused(fault, 0, ret, result.reason);
}

uint64_t engine_nclear(const struct engine *e)
{
	const size_t nslots = e->replay->plan->final.nslots;

	if (e->replay->as == REPLAY_KVM)
		return nslots;
	return nslots > 0 ? 1 : 0;
}

uint64_t engine_npass(const struct engine *e)
{
	return e->replay->as == REPLAY_KVM ? e->replay->plan->nchanges
					   : e->replay->plan->npublished;
}

uint64_t engine_generation(struct engine *e)
{
	const struct mslot_snapshot *const snap = mslot_enter(e->map);
	const uint64_t generation = mslot_snapshot_generation(snap);

	mslot_leave(snap);
	return generation;
}

/* ---- Turns ----------------------------------------------------------------- */

void turn_wait(_Atomic uint32_t *word, uint32_t old)
{
	for (unsigned int i = 0; i < TURN_SPINS; i++) {
		/* Acquire: what the waker wrote before. Pairs with the release of its change. */
		if (atomic_load_explicit(word, memory_order_acquire) != old)
			return;
	}
	while (atomic_load_explicit(word, memory_order_acquire) == old)
		syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
}

void turn_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}
