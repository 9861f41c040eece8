/* SPDX-License-Identifier: MIT */
/* kernel.h - what the engine of the real kernel has beyond struct engine. */
#ifndef MSLOT_BENCH_KERNEL_H
#define MSLOT_BENCH_KERNEL_H

/*
 * bench_kernel_bare_call_ns() - the cost of an ioctl on a VM that does nothing, to take the
 * cost of an edit apart. Median of batches; thread CPU time. Negative where engine_kernel is
 * absent.
 */
double bench_kernel_bare_call_ns(void);

#endif /* MSLOT_BENCH_KERNEL_H */
