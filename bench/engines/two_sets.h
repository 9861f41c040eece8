/* SPDX-License-Identifier: MIT */
/* two_sets.h - what tests see of the engine "two-sets" beside engine.h. */
#ifndef MSLOT_BENCH_TWO_SETS_H
#define MSLOT_BENCH_TWO_SETS_H

#include "engine.h"

/* NULL, or which invariant of two_sets.c or of its trees a map breaks. By its writer. */
const char *two_sets_check(struct engine_map *map);

#endif /* MSLOT_BENCH_TWO_SETS_H */
