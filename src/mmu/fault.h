/* SPDX-License-Identifier: MIT */
/*
 * fault.h - mslot_fault() with a choice.
 */
#ifndef MSLOT_MMU_FAULT_H
#define MSLOT_MMU_FAULT_H

#include "mmu/mmu.h"

/*
 * As mslot_fault(). Without `marks` nothing is marked dirty and no cache is filled, and *out has
 * only the length of the whole leaf.
 */
int fault_page(struct mslot_vcpu *vcpu, struct mslot_root *root, const struct mslot_fault *fault,
	       bool marks, struct mslot_translation *out);

#endif /* MSLOT_MMU_FAULT_H */
