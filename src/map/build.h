/* SPDX-License-Identifier: MIT */
/* build.h - the indexes of the next snapshot, for commit.c. */
#ifndef MSLOT_MAP_BUILD_H
#define MSLOT_MAP_BUILD_H

#include "map/txn.h"

/*
 * Set the indexes and bytes of c->next, whose other fields are set, from those of c->old and
 * the changes, whose descriptors are made. Returns 0 or -ENOMEM; c->batch is then to be
 * rolled back.
 */
int build_indexes(struct commit *c);

#endif /* MSLOT_MAP_BUILD_H */
