/* SPDX-License-Identifier: MIT */
/* host.h - host memory of the engines of groups, and why an engine cannot do what it is asked. */
#ifndef MSLOT_BENCH_HOST_H
#define MSLOT_BENCH_HOST_H

#include <stdint.h>

#define BENCH_REASON 160u

/* Address space without memory behind it, or NULL with the reason in `why`. */
void *bench_host(uint64_t len_bytes, char why[BENCH_REASON]);

/* Message in `why`, for what returns NULL then. */
void *bench_cannot(char why[BENCH_REASON], const char *what, int err);

#endif /* MSLOT_BENCH_HOST_H */
