/* SPDX-License-Identifier: MIT */
/* engines.c - the lists of engines.h. */
#include "engines.h"

#include "kernel.h"

const struct engine *const bench_engines[] = {
    &engine_mslot,    &engine_mslot_avx2, &engine_mslot_scalar, &engine_array,
    &engine_two_sets, &engine_kernel,     &engine_dpdk_vhost,   &engine_vm_memory,
};

const size_t bench_nengines = sizeof(bench_engines) / sizeof(bench_engines[0]);

const struct bench_bare_call bench_bare_calls[] = {{&engine_kernel, bench_kernel_bare_call_ns},
						   {0}};
