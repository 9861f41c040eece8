/* SPDX-License-Identifier: MIT */
/*
 * prefault.c - faulting a range in.
 */
#include <errno.h>

#include "access/vcpu.h"
#include "base/page.h"
#include "mmu/fault.h"

/* One page of a root. *npages: how many from `addr` on this has settled. Returns mapped or not. */
static int fault_in(struct mslot_vcpu *vcpu, struct mslot_root *root, uint64_t addr,
		    enum mslot_access access, uint64_t *npages)
{
	struct mslot_fault fault = {.addr = addr, .access = access};
	struct mslot_translation leaf;
	unsigned int shift = root->mmu->page_shift;
	int err;

	*npages = 1;
	do {
		err = 0;
		fault.stamp = mslot_root_stamp(root);
		if (root->opt.kind == MSLOT_ROOT_SHADOW)
			err = root_walk(root, vcpu, &fault);
		if (!err)
			err = fault_page(vcpu, root, &fault, false, &leaf);
	} while (err == -EAGAIN && fault.stamp != mslot_root_stamp(root));
	if (err == -ENOENT || err == -EACCES)
		return 0;
	if (err)
		return err > 0 ? -EINVAL : err;
	*npages = (leaf.len_bytes - (addr & (leaf.len_bytes - 1))) >> shift;
	return 1;
}

int64_t mslot_prefault(struct mslot_vcpu *vcpu, struct mslot_root *root, struct mslot_range range,
		       enum mslot_access access)
{
	unsigned int shift = root->mmu->page_shift;
	uint64_t addr = range.start & ~(page_bytes(shift) - 1), last, n, left;
	uint64_t mapped = 0, looked = 0;
	int err;

	/* Before walk() is called: it counts on the section. */
	if (vcpu_running() != vcpu || vcpu->map != root->mmu->map ||
	    (root->opt.kind == MSLOT_ROOT_SHADOW && !root->opt.walk))
		return -EINVAL;
	if (range.len_bytes == 0)
		return 0;
	if (!range_end(range.start, range.len_bytes - 1, &last))
		return -EINVAL;
	for (;;) {
		err = fault_in(vcpu, root, addr, access, &n);
		if (err < 0)
			return looked > 0 ? (int64_t)mapped : err;
		left = ((last - addr) >> shift) + 1;
		n = u64_min(n, left);
		looked += n;
		mapped += err > 0 ? n : 0;
		if (n == left || mslot_vcpu_pending(vcpu))
			return (int64_t)mapped;
		addr += n << shift;
	}
}
