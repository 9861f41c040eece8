/* SPDX-License-Identifier: MIT */
/* clock.h - the CPU time of the calling thread, that of all threads, and the wall clock, in ns. */
#ifndef MSLOT_BENCH_CLOCK_H
#define MSLOT_BENCH_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline uint64_t clock_wall_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static inline uint64_t clock_cpu_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* Of all threads of the process: an engine may work in threads of its own. */
static inline uint64_t clock_process_ns(void)
{
	return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

#endif /* MSLOT_BENCH_CLOCK_H */
