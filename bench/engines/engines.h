/* SPDX-License-Identifier: MIT */
/* engines.h - the engines that this build knows, in the order of every table. */
#ifndef MSLOT_BENCH_ENGINES_H
#define MSLOT_BENCH_ENGINES_H

#include "engine.h"

extern const struct engine *const bench_engines[];
extern const size_t bench_nengines;

/*
 * Engines behind system calls can say what the cheapest call of their kind takes: the part
 * of each edit that is only the way into the kernel. Ends with a NULL engine.
 */
struct bench_bare_call {
	const struct engine *engine;
	double (*ns)(void); /* below 0: cannot be measured */
};

extern const struct bench_bare_call bench_bare_calls[];

#endif /* MSLOT_BENCH_ENGINES_H */
