/* SPDX-License-Identifier: MIT */
/*
 * request.c - the checks of a KVM memory-slot request, in the order in which they win.
 *
 * The order is part of the contract: programs tell errors apart only by errno, and a
 * request may break several rules at once. Checks 1 to 9 look at the request alone
 * (kvm_request_check()), 10 to 12 at the slot of that name (kvm_request_infer()); the
 * rest (overlap, guest_memfd, memory, guest-physical limit, waiting, listeners) is done
 * by txn_commit_locked() on the final map. A delete runs the same checks 1 to 9 as
 * any other request, though it uses only the slot number.
 */
#include "kvm/request.h"

#include <assert.h>
#include <errno.h>
#include <linux/kvm.h>

#include "base/page.h"
#include "map/writer.h"

static_assert(MSLOT_LOG_DIRTY == KVM_MEM_LOG_DIRTY_PAGES, "flags are passed through");
static_assert(MSLOT_READONLY == KVM_MEM_READONLY, "flags are passed through");

static bool flags_valid(const struct kvm_request *req)
{
	if (req->flags & ~req->valid_flags)
		return false;
	/* Memory that only the guest reaches can be neither logged nor write-protected. */
	return !(req->flags & MSLOT_GUEST_MEMFD) || req->flags == MSLOT_GUEST_MEMFD;
}

/* The end may be the limit itself, so an empty range may start there. */
static bool hva_valid(const struct mslot_map_options *opt, const struct kvm_request *req)
{
	if (!page_aligned(req->hva, opt->page_shift))
		return false;
	return req->len_bytes <= opt->hva_limit && req->hva <= opt->hva_limit - req->len_bytes;
}

static bool memfd_valid(const struct mslot_map_options *opt, const struct kvm_request *req)
{
	uint64_t end;

	if (!(req->flags & MSLOT_GUEST_MEMFD))
		return true;
	return page_aligned(req->memfd_offset, opt->page_shift) &&
	       range_end(req->memfd_offset, req->len_bytes, &end);
}

int kvm_request_check(const struct mslot_map_options *opt, const struct kvm_request *req)
{
	uint64_t end;

	if (req->key.id >= opt->max_user_slots)
		return -EINVAL;
	if (!flags_valid(req))
		return -EINVAL;
	if (!page_aligned(req->len_bytes, opt->page_shift))
		return -EINVAL;
	if (!page_aligned(req->gpa, opt->page_shift))
		return -EINVAL;
	if (!hva_valid(opt, req))
		return -EINVAL;
	if (!memfd_valid(opt, req))
		return -EINVAL;
	if (req->key.space >= opt->nspaces)
		return -EINVAL;
	if (!range_end(req->gpa, req->len_bytes, &end))
		return -EINVAL;
	if (req->len_bytes >> opt->page_shift > MSLOT_MAX_SLOT_PAGES)
		return -EINVAL;
	return 0;
}

static int infer_change_of(const struct kvm_request *req, const struct mslot_slot_info *old,
			   struct kvm_plan *plan)
{
	const uint32_t changed = req->flags ^ old->flags;

	if ((req->flags | old->flags) & MSLOT_GUEST_MEMFD)
		return -EINVAL;
	if (req->hva != old->hva || req->len_bytes != old->len_bytes || changed & MSLOT_READONLY)
		return -EINVAL;
	if (req->gpa != old->gpa)
		plan->change = KVM_CHANGE_MOVE;
	else if (changed)
		plan->change = KVM_CHANGE_FLAGS;
	else
		plan->change = KVM_CHANGE_NONE;
	plan->waits = plan->change == KVM_CHANGE_MOVE || changed & req->flags & MSLOT_LOG_DIRTY;
	plan->region = old->region;
	plan->offset_bytes = old->offset_bytes;
	return 0;
}

int kvm_request_infer(const struct kvm_request *req, const struct mslot_slot_info *old,
		      uint64_t map_npages, uint64_t len_pages, struct kvm_plan *plan)
{
	uint64_t sum;

	if (req->len_bytes == 0) {
		if (!old)
			return -EINVAL;
		*plan = (struct kvm_plan){.change = KVM_CHANGE_DELETE, .waits = true};
		return 0;
	}
	if (old)
		return infer_change_of(req, old, plan);
	if (!range_end(map_npages, len_pages, &sum))
		return -EINVAL;
	*plan = (struct kvm_plan){.change = KVM_CHANGE_CREATE, .waits = false};
	return 0;
}

int kvm_request_plan(struct mslot_map *map, const struct kvm_request *req, struct kvm_plan *plan)
{
	const struct mslot_snapshot *snap = map_current(map);
	const struct mslot_slot *slot;
	struct mslot_map_options opt;
	struct mslot_slot_info old;
	int err;

	mslot_map_options_get(map, &opt);
	err = kvm_request_check(&opt, req);
	if (err)
		return err;
	slot = mslot_find_id(snap, req->key);
	if (slot)
		mslot_slot_info_get(slot, &old);
	return kvm_request_infer(req, slot ? &old : NULL, mslot_snapshot_npages(snap),
				 req->len_bytes >> opt.page_shift, plan);
}

int kvm_request_add(struct mslot_map *map, struct mslot_txn *txn, const struct kvm_request *req,
		    const struct kvm_plan *plan)
{
	struct mslot_slot_def def = {
	    .key = req->key,
	    .gpa = req->gpa,
	    .len_bytes = req->len_bytes,
	    .region = plan->region,
	    .offset_bytes = plan->offset_bytes,
	    .flags = req->flags,
	};

	assert(plan->change != KVM_CHANGE_NONE);
	if (plan->change == KVM_CHANGE_DELETE)
		return mslot_txn_delete(txn, req->key);
	if (plan->change != KVM_CHANGE_CREATE)
		return mslot_txn_redefine(txn, &def);
	def.region = map_kvm_region(map);
	def.offset_bytes = req->hva;
	return mslot_txn_create(txn, &def);
}

int kvm_commit(struct mslot_txn *txn, bool waits, int late_errno,
	       struct mslot_commit_result *result)
{
	const struct txn_commit_args args = {
	    .slot_flags = MSLOT_LOG_DIRTY | MSLOT_READONLY | MSLOT_GUEST_MEMFD,
	    .late_errno = late_errno,
	    .would_wait = waits,
	};

	return txn_commit_locked(txn, &args, result);
}
