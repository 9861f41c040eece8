/* SPDX-License-Identifier: MIT */
/*
 * zap.h - going over host ranges, for zaps, invalidations and age.
 */
#ifndef MSLOT_MMU_ZAP_H
#define MSLOT_MMU_ZAP_H

#include "mmu/mmu.h"

/* range_run() for all frames that show a range of host bytes. Writer mutex held. */
void range_run_hva(struct range_op *op, struct mslot_range hva);

/* Zap those, and ask vCPUs to flush whether there were any or not. Writer mutex held. */
uint64_t zap_hva(struct mslot_mmu *mmu, struct mslot_range range);

#endif /* MSLOT_MMU_ZAP_H */
