/* SPDX-License-Identifier: MIT */
/* engines.c - the lists of engines.h. */
#include "engines.h"

const struct engine *const bench_engines[] = {
    &engine_mslot,
    &engine_mslot_avx2,
    &engine_mslot_scalar,
};

const size_t bench_nengines = sizeof(bench_engines) / sizeof(bench_engines[0]);

const struct bench_bare_call bench_bare_calls[] = {{0}};
