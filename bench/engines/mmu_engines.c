/* SPDX-License-Identifier: MIT */
/* mmu_engines.c - the list of mmu_engines.h, in the order of every table. */
#include "mmu_engines.h"

const struct mmu_engine *const mmu_engines[] = {
    &mmu_reverse,  &mmu_bitmaps, &mmu_invalidate, &mmu_recreated, &mmu_splitting, &mmu_apart,
    &mmu_unmapped, &mmu_array,   &mmu_two_sets,   &mmu_plain,     &mmu_lookup,    &mmu_memory,
};

const size_t nmmu_engines = sizeof(mmu_engines) / sizeof(mmu_engines[0]);
