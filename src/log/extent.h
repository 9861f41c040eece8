/* SPDX-License-Identifier: MIT */
/*
 * extent.h - making extents: for views.
 */
#ifndef MSLOT_LOG_EXTENT_H
#define MSLOT_LOG_EXTENT_H

#include "log/log.h"

/* An extent of pages [first, first + npages) with one reference. Returns 0 or -ENOMEM. */
int log_extent_create(uint64_t first, uint64_t npages, const struct log_wants *wants,
		      struct log_extent **out);

#endif /* MSLOT_LOG_EXTENT_H */
