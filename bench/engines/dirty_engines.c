/* SPDX-License-Identifier: MIT */
/* dirty_engines.c - the lists of dirty_engines.h, in the order of every table. */
#include "dirty_engines.h"

const struct lease_engine *const lease_engines[] = {&lease_mslot, &lease_refcount, &lease_mutex};
const struct mark_engine *const mark_engines[] = {&mark_mslot, &mark_bitmap, &mark_fetch_or};
const struct harvester *const harvesters[] = {&harvest_mslot, &harvest_kernel, &harvest_bitmap,
					      &harvest_scan, &harvest_copy};

const size_t nlease_engines = sizeof(lease_engines) / sizeof(lease_engines[0]);
const size_t nmark_engines = sizeof(mark_engines) / sizeof(mark_engines[0]);
const size_t nharvesters = sizeof(harvesters) / sizeof(harvesters[0]);
